/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about networks. */
#include "cli/daemon.h"
#include "cli/table.h"
#include "cli/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lodge_network *network_of(struct lodge_connection *c,
					const struct invocation *invocation)
{
	return c ? lodge_network_find(c, argument(invocation, 0), 0) : NULL;
}

static unsigned list_flags(const struct invocation *invocation)
{
	unsigned flags = invocation_has(invocation, "--all")        ? 0
			 : invocation_has(invocation, "--inactive") ? LODGE_NETWORKS_INACTIVE
								    : LODGE_NETWORKS_ACTIVE;

	return flags |
	       (invocation_has(invocation, "--persistent") ? LODGE_NETWORKS_PERSISTENT : 0) |
	       (invocation_has(invocation, "--transient") ? LODGE_NETWORKS_TRANSIENT : 0) |
	       (invocation_has(invocation, "--autostart") ? LODGE_NETWORKS_AUTOSTART : 0) |
	       (invocation_has(invocation, "--no-autostart") ? LODGE_NETWORKS_NO_AUTOSTART : 0);
}

static void print_words(const struct invocation *invocation, struct lodge_network **networks)
{
	bool names = invocation_has(invocation, "--name");
	bool uuids = invocation_has(invocation, "--uuid");

	for (unsigned i = 0; networks[i]; i++) {
		char uuid[LODGE_UUID_CHARS];

		lodge_network_uuid(networks[i], uuid);
		printf("%s%s%s\n", uuids ? uuid : "", uuids && names ? " " : "",
		       names ? lodge_network_name(networks[i]) : "");
	}
}

static int list(const struct invocation *invocation)
{
	static const char *const keys[] = { "name", "active", "autostart", "uuid", NULL };
	static const char *const titles[] = { "Name", "Active", "Autostart", "UUID", NULL };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	unsigned flags = list_flags(invocation);
	struct lodge_network **networks = c ? lodge_network_list(c, flags) : NULL;
	struct table *table;

	if (!networks)
		return daemon_end(c, false);
	table = table_new(keys, titles);
	for (unsigned i = 0; networks[i]; i++) {
		char uuid[LODGE_UUID_CHARS];

		table_add_text(table, lodge_network_name(networks[i]));
		table_add_bool(table, lodge_network_is_active(networks[i]) > 0);
		table_add_bool(table, lodge_network_autostart(networks[i]) > 0);
		lodge_network_uuid(networks[i], uuid);
		table_add_text(table, uuid);
	}
	if (invocation_has(invocation, "--name") || invocation_has(invocation, "--uuid"))
		print_words(invocation, networks);
	else
		table_print(table, invocation_has(invocation, "--json"));
	table_free(table);
	lodge_networks_free(networks);
	return daemon_end(c, true);
}

static int dumpxml(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_network *network = network_of(c, invocation);
	char *xml = network ? lodge_network_xml(network, 0) : NULL;
	bool good = xml && xml_print(invocation, xml);

	daemon_end(c, xml);
	lodge_network_free(network);
	free(xml);
	return good ? 0 : 1;
}

static int define(const struct invocation *invocation)
{
	g_autofree char *xml = daemon_read_file(argument(invocation, 0));
	struct lodge_connection *c = xml ? daemon_connect(invocation, 0) : NULL;
	struct lodge_network *network =
		c ? lodge_network_define(c, xml, daemon_define_flags(invocation)) : NULL;
	int status;

	if (network)
		printf("Network '%s' defined from %s\n", lodge_network_name(network),
		       daemon_file_name(argument(invocation, 0)));
	status = daemon_end(c, network);
	lodge_network_free(network);
	return status;
}

static int create(const struct invocation *invocation)
{
	g_autofree char *xml = daemon_read_file(argument(invocation, 0));
	struct lodge_connection *c = xml ? daemon_connect(invocation, 0) : NULL;
	struct lodge_network *network =
		c ? lodge_network_create(c, xml, daemon_define_flags(invocation)) : NULL;
	int status;

	if (network)
		printf("Network '%s' created from %s\n", lodge_network_name(network),
		       daemon_file_name(argument(invocation, 0)));
	status = daemon_end(c, network);
	lodge_network_free(network);
	return status;
}

/* The place of @word among @words, or -1, and it has been said what there are. */
static int choose(const char *what, const char *word, const char *const *words)
{
	g_autofree char *all = NULL;

	for (unsigned i = 0; words[i]; i++)
		if (*words[i] && !strcmp(words[i], word))
			return i;
	all = g_strjoinv(", ", (char **)words + 1);
	fprintf(stderr, "lodge net-update: '%s' is no %s: they are %s\n", word, what, all);
	return -1;
}

/* In place, or out of a file. */
static char *read_part(const char *text)
{
	return *text == '<' ? g_strdup(text) : daemon_read_file(text);
}

static int update(const struct invocation *invocation)
{
	static const char *const commands[] = { "",         "modify",    "delete",
						"add-last", "add-first", NULL };
	static const char *const sections[] = { "",
						"bridge",
						"domain",
						"ip",
						"ip-dhcp-host",
						"ip-dhcp-range",
						"forward",
						"forward-interface",
						"forward-pf",
						"portgroup",
						"dns-host",
						"dns-txt",
						"dns-srv",
						NULL };
	const char *word = argument(invocation, 1), *index;
	int command = choose("command", strcmp(word, "add") ? word : "add-last", commands);
	int section = command < 0 ? -1 : choose("section", argument(invocation, 2), sections);
	unsigned flags = (invocation_has(invocation, "--live") ? LODGE_AFFECT_LIVE : 0) |
			 (invocation_has(invocation, "--config") ? LODGE_AFFECT_DEFINITION : 0);
	g_autofree char *xml = NULL;
	struct lodge_connection *c;
	struct lodge_network *network;
	gint64 parent = -1;
	bool good;

	index = invocation_value(invocation, "--parent-index");
	if (section < 0 ||
	    (index && !g_ascii_string_to_signed(index, 10, -1, G_MAXINT, &parent, NULL))) {
		if (section >= 0)
			fprintf(stderr, "lodge net-update: '%s' is no number of an <ip>\n", index);
		return EXIT_USAGE;
	}
	xml = read_part(argument(invocation, 3));
	if (!xml)
		return 1;
	c = daemon_connect(invocation, 0);
	network = network_of(c, invocation);
	good = network && !lodge_network_update(network, command, section, parent, xml, flags);
	if (good)
		printf("Network '%s' has been changed\n", lodge_network_name(network));
	lodge_network_free(network);
	return daemon_end(c, good);
}

static int info(const struct invocation *invocation)
{
	static const char *const keys[] = { "name",       "uuid",      "active",
					    "persistent", "autostart", NULL };
	static const char *const titles[] = { "Name",       "UUID",      "Active",
					      "Persistent", "Autostart", NULL };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_network *network = network_of(c, invocation);
	int active = network ? lodge_network_is_active(network) : -1;
	int persistent = active >= 0 ? lodge_network_is_persistent(network) : -1;
	int starts = persistent > 0 ? lodge_network_autostart(network) : persistent;
	char uuid[LODGE_UUID_CHARS];

	if (starts >= 0) {
		struct table *table = table_new(keys, titles);

		lodge_network_uuid(network, uuid);
		table_add_text(table, lodge_network_name(network));
		table_add_text(table, uuid);
		table_add_bool(table, active);
		table_add_bool(table, persistent);
		table_add_bool(table, starts);
		table_print_fields(table, invocation_has(invocation, "--json"));
		table_free(table);
	}
	lodge_network_free(network);
	return daemon_end(c, starts >= 0);
}

static int leases(const struct invocation *invocation)
{
	static const char *const keys[] = { "expires",  "mac",    "protocol", "address",
					    "hostname", "client", NULL };
	static const char *const titles[] = { "Expires",  "MAC",    "Protocol", "Address",
					      "Hostname", "Client", NULL };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_network *network = network_of(c, invocation);
	struct lodge_lease *found = NULL;
	struct table *table;
	unsigned count;

	if (network)
		found = lodge_network_leases(network, argument(invocation, 1), &count, 0);
	lodge_network_free(network);
	if (!found)
		return daemon_end(c, false);
	table = table_new(keys, titles);
	for (unsigned i = 0; i < count; i++) {
		g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(found[i].expires);
		g_autofree char *when = time ? g_date_time_format(time, "%F %T") : NULL;
		g_autofree char *address =
			g_strdup_printf("%s/%u", found[i].address, found[i].prefix);

		table_add_text(table, when ? when : "");
		table_add_text(table, found[i].mac);
		table_add_text(table, found[i].type ? "ipv6" : "ipv4");
		table_add_text(table, address);
		table_add_text(table, found[i].hostname);
		table_add_text(table, found[i].client);
	}
	table_print(table, invocation_has(invocation, "--json"));
	table_free(table);
	free(found);
	return daemon_end(c, true);
}

static int name(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_network *network = network_of(c, invocation);
	bool good = network;

	if (good)
		printf("%s\n", lodge_network_name(network));
	lodge_network_free(network);
	return daemon_end(c, good);
}

static int uuid(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_network *network = network_of(c, invocation);
	char text[LODGE_UUID_CHARS];
	bool good = network;

	if (good) {
		lodge_network_uuid(network, text);
		printf("%s\n", text);
	}
	lodge_network_free(network);
	return daemon_end(c, good);
}

/* Commands that do one thing to one network, and what they then say. */
static const struct {
	const char *name, *done;
	int (*fn)(struct lodge_network *network, unsigned flags);
} changes[] = {
	{ "net-start", "started", lodge_network_start },
	{ "net-destroy", "stopped", lodge_network_stop },
	{ "net-undefine", "has been undefined", lodge_network_undefine },
};

static int change(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_network *network = network_of(c, invocation);
	unsigned i = 0;
	bool good;

	while (strcmp(changes[i].name, invocation->command->name))
		i++;
	good = network && !changes[i].fn(network, 0);
	if (good)
		printf("Network '%s' %s\n", lodge_network_name(network), changes[i].done);
	lodge_network_free(network);
	return daemon_end(c, good);
}

static int autostart(const struct invocation *invocation)
{
	bool on = !invocation_has(invocation, "--disable");
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_network *network = network_of(c, invocation);
	bool good = network && !lodge_network_set_autostart(network, on, 0);

	if (good)
		printf("Network '%s' %s with the daemon\n", lodge_network_name(network),
		       on ? "starts" : "no longer starts");
	lodge_network_free(network);
	return daemon_end(c, good);
}

static const struct command_option list_options[] = {
	{ "--all", VALUE_NONE, NULL, "also those that are not active" },
	{ "--inactive", VALUE_NONE, NULL, "only those that are not active" },
	{ "--persistent", VALUE_NONE, NULL, "only those with a definition" },
	{ "--transient", VALUE_NONE, NULL, "only those without" },
	{ "--autostart", VALUE_NONE, NULL, "only those that start with the daemon" },
	{ "--no-autostart", VALUE_NONE, NULL, "only those that do not" },
	{ "--name", VALUE_NONE, NULL, "print names only" },
	{ "--uuid", VALUE_NONE, NULL, "print UUIDs only" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option json_options[] = { JSON_OPTION, CONNECT_OPTION, {} };
static const struct command_option validate_options[] = { VALIDATE_OPTION, CONNECT_OPTION, {} };
static const struct command_option xml_options[] = { XPATH_OPTIONS, CONNECT_OPTION, {} };
static const struct command_option plain_options[] = { CONNECT_OPTION, {} };
static const struct command_option autostart_options[] = {
	{ "--disable", VALUE_NONE, NULL, "no longer" },
	CONNECT_OPTION,
	{},
};

#define NETWORK \
	.arguments = "NETWORK", .kind = ARGUMENT_NETWORK, .arguments_min = 1, .arguments_max = 1

static const struct command_option update_options[] = {
	{ "--parent-index", VALUE_TEXT, "NUMBER", "of which <ip>, the first being 0" },
	{ "--current", VALUE_NONE, NULL, "as it is now; the default" },
	{ "--live", VALUE_NONE, NULL, "what runs" },
	{ "--config", VALUE_NONE, NULL, "its definition" },
	CONNECT_OPTION,
	{},
};

const struct command commands_networks[] = {
	{ .name = "net-list",
	  .arguments = "",
	  .summary = "list networks",
	  .options = list_options,
	  .action = list },
	{ .name = "net-dumpxml",
	  NETWORK,
	  .summary = "a network's definition",
	  .options = xml_options,
	  .action = dumpxml },
	{ .name = "net-info",
	  NETWORK,
	  .summary = "what a network is",
	  .options = json_options,
	  .action = info },
	{ .name = "net-name",
	  NETWORK,
	  .summary = "a network's name, by its UUID",
	  .options = plain_options,
	  .action = name },
	{ .name = "net-dhcp-leases",
	  .arguments = "NETWORK [MAC]",
	  .kind = ARGUMENT_NETWORK,
	  .arguments_min = 1,
	  .arguments_max = 2,
	  .summary = "addresses that a network has given to guests",
	  .options = json_options,
	  .action = leases },
	{ .name = "net-uuid",
	  NETWORK,
	  .summary = "a network's UUID",
	  .options = plain_options,
	  .action = uuid },
	{ .name = "net-create",
	  .arguments = "FILE.xml",
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "start a network that is gone when it stops",
	  .options = validate_options,
	  .action = create },
	{ .name = "net-define",
	  .arguments = "FILE.xml",
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "add or change a network",
	  .options = validate_options,
	  .action = define },
	{ .name = "net-update",
	  .arguments = "NETWORK COMMAND SECTION XML",
	  .kind = ARGUMENT_NETWORK,
	  .arguments_min = 4,
	  .arguments_max = 4,
	  .summary = "change a part of a network's definition",
	  .description = "COMMAND is add-first, add-last, delete or modify, SECTION what kind of "
			 "part it is, as\n"
			 "ip-dhcp-host or dns-txt, and XML the part itself, or a file that has it.",
	  .options = update_options,
	  .action = update },
	{ .name = "net-start",
	  NETWORK,
	  .summary = "start a network",
	  .options = plain_options,
	  .action = change },
	{ .name = "net-destroy",
	  NETWORK,
	  .summary = "stop a network",
	  .options = plain_options,
	  .action = change },
	{ .name = "net-undefine",
	  NETWORK,
	  .summary = "remove a network",
	  .options = plain_options,
	  .action = change },
	{ .name = "net-autostart",
	  NETWORK,
	  .summary = "start a network with the daemon",
	  .options = autostart_options,
	  .action = autostart },
	{},
};
