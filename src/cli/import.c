/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge import: what another libvirt daemon has kept in its folder, as
 *
 *   qemu/NAME.xml    qemu/networks/NAME.xml    storage/NAME.xml     and autostart/NAME.xml below
 * each
 *
 * is defined here, first what guests need. What is here already stays as it is; nothing is started,
 * and nothing of the folder is changed. Of each guest it says whether this version could start it:
 * the daemon keeps definitions of any.
 */
#include "cli/daemon.h"
#include "cli/table.h"
#include "domain/domain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "/etc/libvirt"

enum imported { EXISTS, DEFINED, FAILED };

/* One kind of object: how to look for one and how to make one. */
struct kind {
	const char *name, *folder;
	bool (*exists)(struct lodge_connection *c, const char *name);
	enum imported (*make)(struct lodge_connection *c, const char *xml, bool autostart);
};

static bool network_exists(struct lodge_connection *c, const char *name)
{
	struct lodge_network *network = lodge_network_by_name(c, name, 0);

	lodge_network_free(network);
	return network;
}

static enum imported make_network(struct lodge_connection *c, const char *xml, bool autostart)
{
	struct lodge_network *network = lodge_network_define(c, xml, 0);
	bool good = network && (!autostart || !lodge_network_set_autostart(network, 1, 0));

	lodge_network_free(network);
	return good ? DEFINED : FAILED;
}

static bool pool_exists(struct lodge_connection *c, const char *name)
{
	struct lodge_pool *pool = lodge_pool_by_name(c, name, 0);

	lodge_pool_free(pool);
	return pool;
}

static enum imported make_pool(struct lodge_connection *c, const char *xml, bool autostart)
{
	struct lodge_pool *pool = lodge_pool_define(c, xml, 0);
	bool good = pool && (!autostart || !lodge_pool_set_autostart(pool, 1, 0));

	lodge_pool_free(pool);
	return good ? DEFINED : FAILED;
}

static bool domain_exists(struct lodge_connection *c, const char *name)
{
	struct lodge_domain *domain = lodge_domain_by_name(c, name, 0);

	lodge_domain_free(domain);
	return domain;
}

static enum imported make_domain(struct lodge_connection *c, const char *xml, bool autostart)
{
	struct lodge_domain *domain = lodge_domain_define(c, xml, 0);
	bool good = domain && (!autostart || !lodge_domain_set_autostart(domain, 1, 0));

	lodge_domain_free(domain);
	return good ? DEFINED : FAILED;
}

static const struct kind kinds[] = {
	{ "network", "qemu/networks", network_exists, make_network },
	{ "pool", "storage", pool_exists, make_pool },
	{ "guest", "qemu", domain_exists, make_domain },
};

struct import {
	struct lodge_connection *connection;
	struct table *table;
	bool dry;
	unsigned found, failed;
};

static void add_row(struct import *import, const struct kind *kind, const char *name,
		    bool autostart, const char *result)
{
	table_add_text(import->table, kind->name);
	table_add_text(import->table, name);
	table_add_bool(import->table, autostart);
	table_add_text(import->table, result);
}

/* What keeps this version from starting the guest, for g_free(); NULL: nothing. @refused: it is not
 * even a definition. */
static char *cannot_start(const char *xml, const char *name, bool *refused)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *left_out = NULL;
	struct domain *domain = domain_parse(xml, strlen(xml), name, NULL, &error);
	struct domain *live = NULL;

	*refused = !domain || !domain_complete(domain, &error);
	if (!*refused)
		live = domain_make_live(domain, &left_out, &error);
	domain_free(live);
	domain_free(domain);
	return error ? g_strdup(error->message) : NULL;
}

/* The name in the file is what counts; it is also that of the file, as libvirt writes them. */
static void import_one(struct import *import, const struct kind *kind, const char *folder,
		       const char *name)
{
	g_autofree char *file = g_strdup_printf("%s/%s.xml", folder, name);
	g_autofree char *mark = g_strdup_printf("%s/autostart/%s.xml", folder, name);
	bool autostart = g_file_test(mark, G_FILE_TEST_IS_SYMLINK | G_FILE_TEST_EXISTS);
	g_autoptr(GError) error = NULL;
	g_autofree char *xml = NULL, *why = NULL, *result = NULL;
	bool guest = kind->make == make_domain, refused = false;

	import->found++;
	if (kind->exists(import->connection, name)) {
		add_row(import, kind, name, autostart, "is here already");
	} else if (!g_file_get_contents(file, &xml, NULL, &error)) {
		add_row(import, kind, name, autostart, error->message);
		import->failed++;
	} else if (guest && (why = cannot_start(xml, name, &refused)) && refused) {
		add_row(import, kind, name, autostart, why);
		import->failed++;
	} else if (import->dry || kind->make(import->connection, xml, autostart) == DEFINED) {
		result = g_strdup_printf("%s%s%s", import->dry ? "would be defined" : "defined",
					 why ? "; it cannot start in this version: " : "",
					 why ? why : "");
		add_row(import, kind, name, autostart, result);
	} else {
		add_row(import, kind, name, autostart, lodge_last_error()->message);
		import->failed++;
	}
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void import_kind(struct import *import, const struct kind *kind, const char *top)
{
	g_autofree char *folder = g_build_filename(top, kind->folder, NULL);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	GDir *dir = g_dir_open(folder, 0, NULL);
	const char *entry;

	while (dir && (entry = g_dir_read_name(dir)))
		if (g_str_has_suffix(entry, ".xml"))
			g_ptr_array_add(names, g_strndup(entry, strlen(entry) - strlen(".xml")));
	if (dir)
		g_dir_close(dir);
	g_ptr_array_sort(names, compare);
	for (unsigned i = 0; i < names->len; i++)
		import_one(import, kind, folder, names->pdata[i]);
}

static int import(const struct invocation *invocation)
{
	static const char *const keys[] = { "kind", "name", "autostart", "result", NULL };
	static const char *const titles[] = { "Kind", "Name", "Autostart", "Result", NULL };
	const char *top = argument(invocation, 0) ? argument(invocation, 0) : FOLDER;
	struct import import = { .dry = invocation_has(invocation, "--dry-run") };
	bool json = invocation_has(invocation, "--json");

	import.connection = daemon_connect(invocation, 0);
	if (!import.connection)
		return 1;
	import.table = table_new(keys, titles);
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
		import_kind(&import, &kinds[i], top);
	if (import.found || json)
		table_print(import.table, json);
	else
		fprintf(stderr, "lodge: there is nothing of libvirt's in %s\n", top);
	table_free(import.table);
	if (import.failed)
		fprintf(stderr, "lodge: %u of %u were not taken over\n", import.failed,
			import.found);
	lodge_connection_free(import.connection);
	return import.failed || !import.found;
}

static const struct command_option options[] = {
	{ "--dry-run", VALUE_NONE, NULL, "only say what would be done" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};

const struct command commands_import[] = {
	{ .name = "import",
	  .arguments = "[FOLDER]",
	  .arguments_max = 1,
	  .summary = "take over another libvirt daemon's definitions",
	  .description =
		  "Defines the networks, pools and guests that another daemon has kept in "
		  "FOLDER, " FOLDER "\n"
		  "without one, with their autostart marks. What is here already stays; nothing is "
		  "started, and\n"
		  "FOLDER is not changed. Of guests that this version cannot start it says why. "
		  "Exit "
		  "status: 0, or 1\n"
		  "when something was not taken over.",
	  .options = options,
	  .action = import },
	{},
};
