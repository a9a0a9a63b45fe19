/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about storage pools. */
#include "cli/daemon.h"
#include "cli/table.h"
#include "cli/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct lodge_pool *pool_of(struct lodge_connection *c, const struct invocation *invocation)
{
	return c ? lodge_pool_find(c, argument(invocation, 0), 0) : NULL;
}

static unsigned list_flags(const struct invocation *invocation)
{
	unsigned flags = invocation_has(invocation, "--all")        ? 0
			 : invocation_has(invocation, "--inactive") ? LODGE_POOLS_INACTIVE
								    : LODGE_POOLS_ACTIVE;

	return flags | (invocation_has(invocation, "--persistent") ? LODGE_POOLS_PERSISTENT : 0) |
	       (invocation_has(invocation, "--transient") ? LODGE_POOLS_TRANSIENT : 0) |
	       (invocation_has(invocation, "--autostart") ? LODGE_POOLS_AUTOSTART : 0) |
	       (invocation_has(invocation, "--no-autostart") ? LODGE_POOLS_NO_AUTOSTART : 0);
}

static void print_words(const struct invocation *invocation, struct lodge_pool **pools)
{
	bool names = invocation_has(invocation, "--name");
	bool uuids = invocation_has(invocation, "--uuid");

	for (unsigned i = 0; pools[i]; i++) {
		char uuid[LODGE_UUID_CHARS];

		lodge_pool_uuid(pools[i], uuid);
		printf("%s%s%s\n", uuids ? uuid : "", uuids && names ? " " : "",
		       names ? lodge_pool_name(pools[i]) : "");
	}
}

static int list(const struct invocation *invocation)
{
	static const char *const keys[] = { "name", "active", "autostart", "uuid", NULL };
	static const char *const titles[] = { "Name", "Active", "Autostart", "UUID", NULL };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	unsigned flags = list_flags(invocation);
	struct lodge_pool **pools = c ? lodge_pool_list(c, flags) : NULL;
	struct table *table;

	if (!pools)
		return daemon_end(c, false);
	table = table_new(keys, titles);
	for (unsigned i = 0; pools[i]; i++) {
		char uuid[LODGE_UUID_CHARS];

		table_add_text(table, lodge_pool_name(pools[i]));
		table_add_bool(table, lodge_pool_is_active(pools[i]) > 0);
		table_add_bool(table, lodge_pool_autostart(pools[i]) > 0);
		lodge_pool_uuid(pools[i], uuid);
		table_add_text(table, uuid);
	}
	if (invocation_has(invocation, "--name") || invocation_has(invocation, "--uuid"))
		print_words(invocation, pools);
	else
		table_print(table, invocation_has(invocation, "--json"));
	table_free(table);
	lodge_pools_free(pools);
	return daemon_end(c, true);
}

static bool print_info(struct lodge_pool *pool, bool json)
{
	static const char *const keys[] = { "name",
					    "uuid",
					    "active",
					    "autostart",
					    "capacity_bytes",
					    "allocation_bytes",
					    "available_bytes",
					    NULL };
	static const char *const titles[] = { "Name",     "UUID",       "Active",    "Autostart",
					      "Capacity", "Allocation", "Available", NULL };
	int active = lodge_pool_is_active(pool), autostart = lodge_pool_autostart(pool);
	char uuid[LODGE_UUID_CHARS];
	struct lodge_pool_info info;
	struct table *table;

	if (active < 0 || autostart < 0 || lodge_pool_info(pool, &info, 0))
		return false;
	table = table_new(keys, titles);
	table_add_text(table, lodge_pool_name(pool));
	lodge_pool_uuid(pool, uuid);
	table_add_text(table, uuid);
	table_add_bool(table, active);
	table_add_bool(table, autostart);
	table_add_bytes(table, info.capacity_bytes, json);
	table_add_bytes(table, info.allocation_bytes, json);
	table_add_bytes(table, info.available_bytes, json);
	table_print_fields(table, json);
	table_free(table);
	return true;
}

static int info(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_pool *pool = pool_of(c, invocation);
	bool good = pool && print_info(pool, invocation_has(invocation, "--json"));

	lodge_pool_free(pool);
	return daemon_end(c, good);
}

static int dumpxml(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_pool *pool = pool_of(c, invocation);
	char *xml = pool ? lodge_pool_xml(pool, 0) : NULL;
	bool good = xml && xml_print(invocation, xml);

	daemon_end(c, xml);
	lodge_pool_free(pool);
	free(xml);
	return good ? 0 : 1;
}

static int define(const struct invocation *invocation)
{
	g_autofree char *xml = daemon_read_file(argument(invocation, 0));
	struct lodge_connection *c = xml ? daemon_connect(invocation, 0) : NULL;
	struct lodge_pool *pool =
		c ? lodge_pool_define(c, xml, daemon_define_flags(invocation)) : NULL;
	int status;

	if (pool)
		printf("Pool '%s' defined from %s\n", lodge_pool_name(pool),
		       daemon_file_name(argument(invocation, 0)));
	status = daemon_end(c, pool);
	lodge_pool_free(pool);
	return status;
}

static int create(const struct invocation *invocation)
{
	g_autofree char *xml = daemon_read_file(argument(invocation, 0));
	struct lodge_connection *c = xml ? daemon_connect(invocation, 0) : NULL;
	struct lodge_pool *pool =
		c ? lodge_pool_create(c, xml, invocation_has(invocation, "--build")) : NULL;
	int status;

	if (pool)
		printf("Pool '%s' created from %s\n", lodge_pool_name(pool),
		       daemon_file_name(argument(invocation, 0)));
	status = daemon_end(c, pool);
	lodge_pool_free(pool);
	return status;
}

/* <source>, of what options say of it; empty without. */
static void append_source(GString *xml, const struct invocation *invocation)
{
	static const struct {
		const char *option, *form;
	} parts[] = {
		{ "--source-host", "<host name='%s'/>" },
		{ "--source-path", "<dir path='%s'/>" },
		{ "--source-dev", "<device path='%s'/>" },
		{ "--source-name", "<name>%s</name>" },
		{ "--source-format", "<format type='%s'/>" },
		{ "--source-protocol-ver", "<protocol ver='%s'/>" },
	};
	const char *value;

	g_string_append(xml, "<source>");
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
		g_autofree char *escaped = NULL;
		g_auto(GStrv) around = g_strsplit(parts[i].form, "%s", 2);

		value = invocation_value(invocation, parts[i].option);
		if (!value)
			continue;
		escaped = g_markup_escape_text(value, -1);
		g_string_append_printf(xml, "%s%s%s", around[0], escaped, around[1]);
	}
	g_string_append(xml, "</source>");
}

static char *pool_xml(const struct invocation *invocation, const char *target)
{
	g_autofree char *name = g_markup_escape_text(argument(invocation, 0), -1);
	g_autofree char *type = g_markup_escape_text(argument(invocation, 1), -1);
	g_autofree char *path = g_markup_escape_text(target, -1);
	GString *xml = g_string_new(NULL);

	g_string_append_printf(xml, "<pool type='%s'><name>%s</name>", type, name);
	append_source(xml, invocation);
	g_string_append_printf(xml, "<target><path>%s</path></target></pool>", path);
	return g_string_free(xml, FALSE);
}

/* A pool that options describe: pool-define-as, and pool-create-as, which starts it. */
static int make_as(const struct invocation *invocation)
{
	bool start = !strcmp(invocation->command->name, "pool-create-as");
	const char *target = invocation_value(invocation, "--target");
	g_autofree char *xml = pool_xml(invocation, target ? target : "");
	struct lodge_connection *c;
	struct lodge_pool *pool;
	int status;

	if (!target) {
		fprintf(stderr, "lodge %s: --target FOLDER is missing\n",
			invocation->command->name);
		return EXIT_USAGE;
	}
	if (invocation_has(invocation, "--print-xml")) {
		printf("%s\n", xml);
		return 0;
	}
	c = daemon_connect(invocation, 0);
	pool = !c      ? NULL
	       : start ? lodge_pool_create(c, xml, invocation_has(invocation, "--build"))
		       : lodge_pool_define(c, xml, 0);
	if (pool)
		printf("Pool '%s' %s\n", lodge_pool_name(pool), start ? "created" : "defined");
	status = daemon_end(c, pool);
	lodge_pool_free(pool);
	return status;
}

static int name(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_pool *pool = pool_of(c, invocation);
	bool good = pool;

	if (good)
		printf("%s\n", lodge_pool_name(pool));
	lodge_pool_free(pool);
	return daemon_end(c, good);
}

static int uuid(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_pool *pool = pool_of(c, invocation);
	char text[LODGE_UUID_CHARS];
	bool good = pool;

	if (good) {
		lodge_pool_uuid(pool, text);
		printf("%s\n", text);
	}
	lodge_pool_free(pool);
	return daemon_end(c, good);
}

/* Commands that do one thing to one pool, and what they then say. */
static const struct {
	const char *name, *done;
	int (*fn)(struct lodge_pool *pool, unsigned flags);
} changes[] = {
	{ "pool-build", "built", lodge_pool_build },
	{ "pool-start", "started", lodge_pool_start },
	{ "pool-destroy", "stopped", lodge_pool_stop },
	{ "pool-refresh", "refreshed", lodge_pool_refresh },
	{ "pool-delete", "has been removed from where it lay", lodge_pool_delete },
	{ "pool-undefine", "has been undefined", lodge_pool_undefine },
};

static int change(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_pool *pool = pool_of(c, invocation);
	unsigned i = 0;
	bool good;

	while (strcmp(changes[i].name, invocation->command->name))
		i++;
	good = pool && !changes[i].fn(pool, invocation_has(invocation, "--build"));
	if (good)
		printf("Pool '%s' %s\n", lodge_pool_name(pool), changes[i].done);
	lodge_pool_free(pool);
	return daemon_end(c, good);
}

static int autostart(const struct invocation *invocation)
{
	bool on = !invocation_has(invocation, "--disable");
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_pool *pool = pool_of(c, invocation);
	bool good = pool && !lodge_pool_set_autostart(pool, on, 0);

	if (good)
		printf("Pool '%s' %s with the daemon\n", lodge_pool_name(pool),
		       on ? "starts" : "no longer starts");
	lodge_pool_free(pool);
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
static const struct command_option as_options[] = {
	{ "--target", VALUE_FILE, "FOLDER", "where it lies" },
	{ "--source-host", VALUE_TEXT, "HOST", "whose it is, of a netfs pool" },
	{ "--source-path", VALUE_TEXT, "PATH", "its folder there" },
	{ "--source-dev", VALUE_FILE, "DEVICE", "the disk that it is on, of an fs pool" },
	{ "--source-name", VALUE_TEXT, "NAME", "how its source calls it" },
	{ "--source-format", VALUE_TEXT, "FORMAT", "of its file system, as ext4 or nfs" },
	{ "--source-protocol-ver", VALUE_TEXT, "VERSION", "of NFS" },
	{ "--print-xml", VALUE_NONE, NULL, "print its XML and do nothing" },
	{ "--build", VALUE_NONE, NULL, "of pool-create-as: make what it lies on before" },
	CONNECT_OPTION,
	{},
};
#define BUILD_OPTION                                                       \
	{                                                                  \
		"--build", VALUE_NONE, NULL, "make what it lies on before" \
	}
static const struct command_option build_options[] = { BUILD_OPTION, CONNECT_OPTION, {} };
static const struct command_option validate_options[] = { VALIDATE_OPTION, CONNECT_OPTION, {} };
static const struct command_option xml_options[] = { XPATH_OPTIONS, CONNECT_OPTION, {} };
static const struct command_option plain_options[] = { CONNECT_OPTION, {} };
static const struct command_option autostart_options[] = {
	{ "--disable", VALUE_NONE, NULL, "no longer" },
	CONNECT_OPTION,
	{},
};

#define POOL .arguments = "POOL", .kind = ARGUMENT_POOL, .arguments_min = 1, .arguments_max = 1

const struct command commands_pools[] = {
	{ .name = "pool-list",
	  .arguments = "",
	  .summary = "list storage pools",
	  .options = list_options,
	  .action = list },
	{ .name = "pool-info",
	  POOL,
	  .summary = "what a pool is and how full",
	  .options = json_options,
	  .action = info },
	{ .name = "pool-dumpxml",
	  POOL,
	  .summary = "a pool's definition",
	  .options = xml_options,
	  .action = dumpxml },
	{ .name = "pool-define",
	  .arguments = "FILE.xml",
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "add or change a pool",
	  .options = validate_options,
	  .action = define },
	{ .name = "pool-define-as",
	  .arguments = "NAME TYPE",
	  .kind = ARGUMENT_TEXT,
	  .arguments_min = 2,
	  .arguments_max = 2,
	  .summary = "add a pool, as of the type dir",
	  .options = as_options,
	  .action = make_as },
	{ .name = "pool-create",
	  .arguments = "FILE.xml",
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "start a pool that is gone when it stops",
	  .options = build_options,
	  .action = create },
	{ .name = "pool-create-as",
	  .arguments = "NAME TYPE",
	  .kind = ARGUMENT_TEXT,
	  .arguments_min = 2,
	  .arguments_max = 2,
	  .summary = "the same, by options",
	  .options = as_options,
	  .action = make_as },
	{ .name = "pool-name",
	  POOL,
	  .summary = "a storage pool's name, by its UUID",
	  .options = plain_options,
	  .action = name },
	{ .name = "pool-uuid",
	  POOL,
	  .summary = "a pool's UUID",
	  .options = plain_options,
	  .action = uuid },
	{ .name = "pool-delete",
	  POOL,
	  .summary = "remove what a pool lies on, if it is empty",
	  .options = plain_options,
	  .action = change },
	{ .name = "pool-build",
	  POOL,
	  .summary = "make what a pool lies on",
	  .options = plain_options,
	  .action = change },
	{ .name = "pool-start",
	  POOL,
	  .summary = "start a pool",
	  .options = build_options,
	  .action = change },
	{ .name = "pool-destroy",
	  POOL,
	  .summary = "stop a pool; nothing is removed",
	  .options = plain_options,
	  .action = change },
	{ .name = "pool-refresh",
	  POOL,
	  .summary = "look anew what a pool holds",
	  .options = plain_options,
	  .action = change },
	{ .name = "pool-undefine",
	  POOL,
	  .summary = "remove a pool's definition",
	  .options = plain_options,
	  .action = change },
	{ .name = "pool-autostart",
	  POOL,
	  .summary = "start a pool with the daemon",
	  .options = autostart_options,
	  .action = autostart },
	{},
};
