/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the host's devices. */
#include "cli/daemon.h"
#include "cli/table.h"
#include "cli/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* By their places: the protocol's flags are 1 << place. */
static const char *const kinds[] = { "system",    "pci",        "usb_device",  "usb",
				     "net",       "scsi_host",  "scsi_target", "scsi",
				     "storage",   "fc_host",    "vports",      "scsi_generic",
				     "drm",       "mdev_types", "mdev",        "ccw",
				     "css",       "vdpa",       "ap_card",     "ap_queue",
				     "ap_matrix", "vpd" };

/* False: a word is none of them. */
static bool kinds_wanted(const char *list, unsigned *flags)
{
	g_auto(GStrv) words = g_strsplit(list ? list : "", ",", -1);

	for (char **word = words; *word; word++) {
		unsigned i = 0;

		while (i < G_N_ELEMENTS(kinds) && strcmp(kinds[i], *word))
			i++;
		if (i == G_N_ELEMENTS(kinds)) {
			fprintf(stderr, "lodge nodedev-list: there is no kind '%s' of devices\n",
				*word);
			return false;
		}
		*flags |= 1u << i;
	}
	return true;
}

static const char *find(char **names, const char *name)
{
	for (; *names; names++)
		if (!strcmp(*names, name))
			return *names;
	return NULL;
}

/* Those below @parent, or with NULL those below none that is listed, and theirs. */
static void print_below(char **names, char **parents, const char *parent, unsigned depth)
{
	for (unsigned i = 0; names[i] && depth < 32; i++) {
		const char *own = parents[i] ? find(names, parents[i]) : NULL;

		if (parent ? g_strcmp0(own, parent) : !!own)
			continue;
		printf("%*s%s\n", depth * 2, "", names[i]);
		print_below(names, parents, names[i], depth + 1);
	}
}

static void print_tree(struct lodge_connection *c, char **names)
{
	unsigned count = g_strv_length(names);
	char **parents = g_new0(char *, count + 1);

	for (unsigned i = 0; i < count; i++)
		parents[i] = lodge_device_parent(c, names[i]); /* one that has gone has none */
	print_below(names, parents, NULL, 0);
	for (unsigned i = 0; i < count; i++)
		free(parents[i]);
	g_free(parents);
}

static void print_list(char **names, bool json)
{
	static const char *const keys[] = { "name", NULL };
	struct table *table = table_new(keys, keys);

	for (unsigned i = 0; names[i]; i++)
		table_add_text(table, names[i]);
	if (json)
		table_print(table, true);
	for (unsigned i = 0; !json && names[i]; i++)
		printf("%s\n", names[i]);
	table_free(table);
}

static int nodedev_list(const struct invocation *invocation)
{
	struct lodge_connection *c;
	unsigned flags = 0;
	char **names;

	if (!kinds_wanted(invocation_value(invocation, "--cap"), &flags))
		return EXIT_USAGE;
	c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	names = c ? lodge_device_list(c, flags) : NULL;
	if (names && invocation_has(invocation, "--tree"))
		print_tree(c, names);
	else if (names)
		print_list(names, invocation_has(invocation, "--json"));
	lodge_devices_free(names);
	return daemon_end(c, names);
}

static int nodedev_dumpxml(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	char *xml = c ? lodge_device_xml(c, argument(invocation, 0), 0) : NULL;
	bool good = xml && xml_print(invocation, xml);

	daemon_end(c, xml);
	free(xml);
	return good ? 0 : 1;
}

static const struct command_option list_options[] = {
	{ "--cap", VALUE_TEXT, "KIND[,KIND]...",
	  "only of these: system, pci, net, storage and others" },
	{ "--tree", VALUE_NONE, NULL, "below what they are attached to" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option xml_options[] = { XPATH_OPTIONS, CONNECT_OPTION, {} };

const struct command commands_node_devices[] = {
	{ .name = "nodedev-list",
	  .arguments = "",
	  .summary = "the host's devices",
	  .options = list_options,
	  .action = nodedev_list },
	{ .name = "nodedev-dumpxml",
	  .arguments = "DEVICE",
	  .kind = ARGUMENT_TEXT,
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "what a device of the host is, as XML",
	  .options = xml_options,
	  .action = nodedev_dumpxml },
	{},
};
