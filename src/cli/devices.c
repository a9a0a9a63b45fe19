/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that list what is in a guest's XML: disks, network cards, its serial terminal. */
#include "cli/daemon.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOURCE, TARGET, TYPE, DEVICE, MODEL, MAC, LINK, FIELDS };

struct devices {
	const char *element; /* "disk", "interface" */
	GPtrArray *rows;     /* char *[FIELDS] */
	char **row;          /* while in one */
	char *terminal;      /* of the first serial port */
	bool in_serial;
};

static const char *attribute(const char *name, const char **names, const char **values)
{
	for (unsigned i = 0; names[i]; i++)
		if (!strcmp(names[i], name))
			return values[i];
	return NULL;
}

static void keep(char **to, const char *text)
{
	if (text && !*to)
		*to = g_strdup(text);
}

static void on_start(GMarkupParseContext *context, const char *element, const char **names,
		     const char **values, gpointer opaque, GError **error)
{
	static const char *const sources[] = { "file",   "dev",    "dir",    "name",
					       "volume", "bridge", "network" };
	struct devices *d = opaque;

	if (!strcmp(element, d->element)) {
		d->row = g_new0(char *, FIELDS);
		g_ptr_array_add(d->rows, d->row);
		keep(&d->row[TYPE], attribute("type", names, values));
		keep(&d->row[DEVICE], attribute("device", names, values));
	} else if (d->row && !strcmp(element, "source")) {
		for (unsigned i = 0; i < G_N_ELEMENTS(sources); i++)
			keep(&d->row[SOURCE], attribute(sources[i], names, values));
	} else if (d->row && !strcmp(element, "target")) {
		keep(&d->row[TARGET], attribute("dev", names, values));
	} else if (d->row && !strcmp(element, "model")) {
		keep(&d->row[MODEL], attribute("type", names, values));
	} else if (d->row && !strcmp(element, "mac")) {
		keep(&d->row[MAC], attribute("address", names, values));
	} else if (d->row && !strcmp(element, "link")) {
		keep(&d->row[LINK], attribute("state", names, values));
	} else if (!strcmp(element, "serial") || !strcmp(element, "console")) {
		d->in_serial = true;
	} else if (d->in_serial && !strcmp(element, "source")) {
		keep(&d->terminal, attribute("path", names, values));
	}
}

static void on_end(GMarkupParseContext *context, const char *element, gpointer opaque,
		   GError **error)
{
	struct devices *d = opaque;

	if (!strcmp(element, d->element))
		d->row = NULL;
	else if (!strcmp(element, "serial") || !strcmp(element, "console"))
		d->in_serial = false;
}

static void free_row(gpointer row)
{
	for (unsigned i = 0; i < FIELDS; i++)
		g_free(((char **)row)[i]);
	g_free(row);
}

/* False: the library has the error. */
static bool read_devices(struct lodge_domain *domain, const char *element, unsigned flags,
			 struct devices *d)
{
	static const GMarkupParser parser = { .start_element = on_start, .end_element = on_end };
	char *xml = lodge_domain_xml(domain, flags);
	GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, d, NULL);

	*d = (struct devices){ element, g_ptr_array_new_with_free_func(free_row) };
	if (xml)
		g_markup_parse_context_parse(context, xml, -1, NULL);
	g_markup_parse_context_free(context);
	free(xml);
	return xml;
}

static void clear(struct devices *d)
{
	if (d->rows)
		g_ptr_array_unref(d->rows);
	g_free(d->terminal);
}

static void add(struct table *table, const char *text)
{
	if (text)
		table_add_text(table, text);
	else
		table_add_none(table);
}

static void print_disks(const struct devices *d, bool details, bool json)
{
	static const char *const keys[] = { "target", "source", "type", "device", NULL };
	static const char *const titles[] = { "Target", "Source", "Type", "Device", NULL };
	static const char *const short_keys[] = { "target", "source", NULL };
	static const char *const short_titles[] = { "Target", "Source", NULL };
	struct table *table =
		details ? table_new(keys, titles) : table_new(short_keys, short_titles);

	for (unsigned i = 0; i < d->rows->len; i++) {
		char **row = d->rows->pdata[i];

		add(table, row[TARGET]);
		add(table, row[SOURCE]);
		if (!details)
			continue;
		add(table, row[TYPE]);
		table_add_text(table, row[DEVICE] ? row[DEVICE] : "disk");
	}
	table_print(table, json);
	table_free(table);
}

static void print_cards(const struct devices *d, bool json)
{
	static const char *const keys[] = { "interface", "type", "source", "model", "mac", NULL };
	static const char *const titles[] = { "Interface", "Type", "Source", "Model", "MAC", NULL };
	struct table *table = table_new(keys, titles);

	for (unsigned i = 0; i < d->rows->len; i++) {
		char **row = d->rows->pdata[i];

		add(table, row[TARGET]);
		add(table, row[TYPE]);
		add(table, row[SOURCE]);
		add(table, row[MODEL]);
		add(table, row[MAC]);
	}
	table_print(table, json);
	table_free(table);
}

static int list(const struct invocation *invocation)
{
	bool disks = !strcmp(invocation->command->name, "domblklist");
	unsigned flags = invocation_has(invocation, "--inactive") ? LODGE_XML_INACTIVE : 0;
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	bool json = invocation_has(invocation, "--json");
	struct devices d = {};
	bool good = domain && read_devices(domain, disks ? "disk" : "interface", flags, &d);

	if (good && disks)
		print_disks(&d, invocation_has(invocation, "--details") || json, json);
	else if (good)
		print_cards(&d, json);
	clear(&d);
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

/* Of a card, by its address or the name of its interface. */
static int getlink(const struct invocation *invocation)
{
	unsigned flags = invocation_has(invocation, "--config") ? LODGE_XML_INACTIVE : 0;
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	const char *device = argument(invocation, 1);
	struct devices d = {};
	bool good = domain && read_devices(domain, "interface", flags, &d), found = false;

	for (unsigned i = 0; good && !found && i < d.rows->len; i++) {
		char **row = d.rows->pdata[i];

		found = !g_strcmp0(row[TARGET], device) ||
			(row[MAC] && !g_ascii_strcasecmp(row[MAC], device));
		if (found)
			printf("%s %s\n", device, row[LINK] ? row[LINK] : "up");
	}
	if (good && !found)
		fprintf(stderr, "lodge: guest '%s' has no network card '%s'\n",
			lodge_domain_name(domain), device);
	clear(&d);
	lodge_domain_free(domain);
	return daemon_end(c, good) || !found;
}

static int ttyconsole(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	struct devices d = {};
	bool good = domain && read_devices(domain, "", 0, &d), none = good && !d.terminal;

	if (none)
		fprintf(stderr, "lodge: guest '%s' has no terminal on this host now\n",
			lodge_domain_name(domain));
	else if (good)
		printf("%s\n", d.terminal);
	clear(&d);
	lodge_domain_free(domain);
	return daemon_end(c, good) || none;
}

static const struct command_option disk_options[] = {
	{ "--inactive", VALUE_NONE, NULL, "as it will start the next time" },
	{ "--details", VALUE_NONE, NULL, "also what kind of disk it is" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option card_options[] = {
	{ "--inactive", VALUE_NONE, NULL, "as it will start the next time" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option link_options[] = {
	{ "--config", VALUE_NONE, NULL, "as it will start the next time" },
	CONNECT_OPTION,
	{},
};
static const struct command_option plain_options[] = { CONNECT_OPTION, {} };

#define GUEST .arguments = "GUEST", .kind = ARGUMENT_GUEST, .arguments_min = 1, .arguments_max = 1

const struct command commands_devices[] = {
	{ .name = "domblklist",
	  GUEST,
	  .summary = "a guest's disks",
	  .options = disk_options,
	  .action = list },
	{ .name = "domiflist",
	  GUEST,
	  .summary = "a guest's network cards",
	  .options = card_options,
	  .action = list },
	{ .name = "domif-getlink",
	  .arguments = "GUEST INTERFACE",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 2,
	  .arguments_max = 2,
	  .summary = "whether a guest's network card is plugged in",
	  .options = link_options,
	  .action = getlink },
	{ .name = "ttyconsole",
	  GUEST,
	  .summary = "the terminal of a guest's serial port",
	  .options = plain_options,
	  .action = ttyconsole },
	{},
};
