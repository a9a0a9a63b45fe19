/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the host's network cards. */
#include "cli/daemon.h"
#include "cli/table.h"
#include "cli/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARS_MAX 15 /* of a network card, to Linux; addresses are longer */

/* False: the library has the error. */
static bool print_list(struct lodge_connection *c, const struct lodge_interface *list,
		       unsigned count, bool json)
{
	static const char *const keys[] = { "name", "state", "mac", NULL };
	static const char *const titles[] = { "Name", "State", "MAC", NULL };
	struct table *table = table_new(keys, titles);
	bool good = true;

	for (unsigned i = 0; good && i < count; i++) {
		int active = lodge_interface_is_active(c, list[i].name);

		good = active >= 0;
		table_add_text(table, list[i].name);
		table_add_text(table, active ? "active" : "inactive");
		table_add_text(table, list[i].mac);
	}
	if (good)
		table_print(table, json);
	table_free(table);
	return good;
}

static int iface_list(const struct invocation *invocation)
{
	unsigned flags = invocation_has(invocation, "--all")        ? 0
			 : invocation_has(invocation, "--inactive") ? LODGE_INTERFACES_INACTIVE
								    : LODGE_INTERFACES_ACTIVE;
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	unsigned count = 0;
	struct lodge_interface *list = c ? lodge_interface_list(c, &count, flags) : NULL;
	bool good = list && print_list(c, list, count, invocation_has(invocation, "--json"));

	free(list);
	return daemon_end(c, good);
}

static int iface_mac(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_interface card;
	bool good = c && !lodge_interface_find_name(c, argument(invocation, 0), &card);

	if (good)
		puts(card.mac);
	return daemon_end(c, good);
}

static int iface_name(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_interface card;
	bool good = c && !lodge_interface_find_mac(c, argument(invocation, 0), &card);

	if (good)
		puts(card.name);
	return daemon_end(c, good);
}

/* Of the card with this name or address. */
static char *read_xml(struct lodge_connection *c, const char *name, unsigned flags)
{
	struct lodge_interface card;

	if (strlen(name) <= NAME_CHARS_MAX)
		return lodge_interface_xml(c, name, flags);
	return lodge_interface_find_mac(c, name, &card) ? NULL
							: lodge_interface_xml(c, card.name, flags);
}

static int iface_dumpxml(const struct invocation *invocation)
{
	unsigned flags =
		invocation_has(invocation, "--inactive") ? LODGE_INTERFACE_XML_INACTIVE : 0;
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	char *xml = c ? read_xml(c, argument(invocation, 0), flags) : NULL;
	bool good = xml && xml_print(invocation, xml);

	daemon_end(c, xml);
	free(xml);
	return good ? 0 : 1;
}

static const struct command_option list_options[] = {
	{ "--all", VALUE_NONE, NULL, "also those that are down" },
	{ "--inactive", VALUE_NONE, NULL, "only those that are down" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option xml_options[] = {
	{ "--inactive", VALUE_NONE, NULL, "as it is set up, whatever it is now" },
	XPATH_OPTIONS,
	CONNECT_OPTION,
	{},
};
static const struct command_option plain_options[] = { CONNECT_OPTION, {} };

#define ROW(command, words, function, its_options, text)                                        \
	{                                                                                       \
		.name = command, .arguments = words, .kind = ARGUMENT_TEXT, .arguments_min = 1, \
		.arguments_max = 1, .summary = text, .options = its_options, .action = function \
	}

const struct command commands_interfaces[] = {
	{ .name = "iface-list",
	  .arguments = "",
	  .summary = "the host's network cards",
	  .options = list_options,
	  .action = iface_list },
	ROW("iface-dumpxml", "INTERFACE", iface_dumpxml, xml_options,
	    "what a network card of the host is, as XML"),
	ROW("iface-mac", "INTERFACE", iface_mac, plain_options,
	    "a network card's address, by its name"),
	ROW("iface-name", "INTERFACE", iface_name, plain_options,
	    "a network card's name, by its address"),
	{},
};
