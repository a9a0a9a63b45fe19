/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about volumes of storage pools. A volume is a path, or a name with --pool. */
#include "cli/daemon.h"
#include "cli/size.h"
#include "cli/table.h"
#include "cli/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The pool that @name says; the volume commands end with it in one place. */
struct asked_of {
	struct lodge_connection *connection;
	struct lodge_pool *pool; /* NULL: the volume is a path */
	struct lodge_volume *volume;
};

static bool find_pool(struct asked_of *a, const char *name)
{
	a->pool = a->connection ? lodge_pool_find(a->connection, name, 0) : NULL;
	return a->pool;
}

static bool find_volume(struct asked_of *a, const struct invocation *invocation, unsigned flags)
{
	const char *pool = invocation_value(invocation, "--pool"), *text = argument(invocation, 0);

	*a = (struct asked_of){ daemon_connect(invocation, flags) };
	if (!a->connection || (pool && !find_pool(a, pool)))
		return false;
	a->volume = pool ? lodge_volume_by_name(a->pool, text, 0)
			 : lodge_volume_by_path(a->connection, text, 0);
	return a->volume;
}

static int end(struct asked_of *a, bool good)
{
	lodge_volume_free(a->volume);
	lodge_pool_free(a->pool);
	return daemon_end(a->connection, good);
}

static int list(const struct invocation *invocation)
{
	static const char *const keys[] = { "name", "path", NULL };
	static const char *const titles[] = { "Name", "Path", NULL };
	static const char *const more_keys[] = { "name", "path", "capacity_bytes",
						 "allocation_bytes", NULL };
	static const char *const more_titles[] = { "Name", "Path", "Capacity", "Allocation", NULL };
	bool details = invocation_has(invocation, "--details");
	bool json = invocation_has(invocation, "--json");
	struct asked_of a = { daemon_connect(invocation, LODGE_OPEN_READ_ONLY) };
	struct lodge_volume **volumes = NULL;
	struct table *table;

	if (find_pool(&a, argument(invocation, 0)))
		volumes = lodge_volume_list(a.pool, 0);
	if (!volumes)
		return end(&a, false);
	table = details ? table_new(more_keys, more_titles) : table_new(keys, titles);
	for (unsigned i = 0; volumes[i]; i++) {
		char *path = lodge_volume_path(volumes[i], 0);
		struct lodge_volume_info info = {};

		table_add_text(table, lodge_volume_name(volumes[i]));
		if (path)
			table_add_text(table, path);
		else
			table_add_none(table);
		free(path);
		if (!details)
			continue;
		lodge_volume_info(volumes[i], &info, 0); /* zeros, if it has gone meanwhile */
		table_add_bytes(table, info.capacity_bytes, json);
		table_add_bytes(table, info.allocation_bytes, json);
	}
	table_print(table, json);
	table_free(table);
	lodge_volumes_free(volumes);
	return end(&a, true);
}

static int info(const struct invocation *invocation)
{
	static const char *const keys[] = { "name", "pool", "capacity_bytes", "allocation_bytes",
					    NULL };
	static const char *const titles[] = { "Name", "Pool", "Capacity", "Allocation", NULL };
	bool json = invocation_has(invocation, "--json");
	bool bytes = invocation_has(invocation, "--bytes");
	struct lodge_volume_info info;
	struct table *table;
	struct asked_of a;

	if (!find_volume(&a, invocation, LODGE_OPEN_READ_ONLY) ||
	    lodge_volume_info(a.volume, &info, 0))
		return end(&a, false);
	table = table_new(keys, titles);
	table_add_text(table, lodge_volume_name(a.volume));
	table_add_text(table, lodge_volume_pool_name(a.volume));
	table_add_bytes(table, info.capacity_bytes, json || bytes);
	table_add_bytes(table, info.allocation_bytes, json || bytes);
	table_print_fields(table, json);
	table_free(table);
	return end(&a, true);
}

/* A text about a volume, by the name of the command. */
static int text(const struct invocation *invocation)
{
	bool path = !strcmp(invocation->command->name, "vol-path");
	char *said = NULL;
	struct asked_of a;
	bool good;

	if (find_volume(&a, invocation, LODGE_OPEN_READ_ONLY))
		said = path ? lodge_volume_path(a.volume, 0) : lodge_volume_xml(a.volume, 0);
	good = said && xml_print(invocation, said);
	end(&a, said);
	free(said);
	return good ? 0 : 1;
}

static unsigned volume_flags(const struct invocation *invocation)
{
	return invocation_has(invocation, "--validate") ? LODGE_VOLUME_VALIDATE : 0;
}

static int create(const struct invocation *invocation)
{
	g_autofree char *xml = daemon_read_file(argument(invocation, 1));
	struct asked_of a = {};

	if (!xml)
		return 1;
	a.connection = daemon_connect(invocation, 0);
	if (find_pool(&a, argument(invocation, 0)))
		a.volume = lodge_volume_create(a.pool, xml, volume_flags(invocation));
	if (a.volume)
		printf("Volume '%s' created from %s\n", lodge_volume_name(a.volume),
		       daemon_file_name(argument(invocation, 1)));
	return end(&a, a.volume);
}

static int create_as(const struct invocation *invocation)
{
	guint64 capacity = size_parse(argument(invocation, 2), 1);
	const char *wanted = invocation_value(invocation, "--format");
	const char *allocation = invocation_value(invocation, "--allocation");
	guint64 given = allocation ? size_parse(allocation, 1) : 0;
	g_autofree char *name = g_markup_escape_text(argument(invocation, 1), -1);
	g_autofree char *format = g_markup_escape_text(wanted ? wanted : "raw", -1);
	g_autofree char *xml = NULL;
	struct asked_of a = {};

	if (!capacity) {
		fprintf(stderr,
			"lodge vol-create-as: '%s' is no size; as in 20G, 512M or 1048576\n",
			argument(invocation, 2));
		return EXIT_USAGE;
	}
	if (allocation && !given && strcmp(allocation, "0")) {
		fprintf(stderr,
			"lodge vol-create-as: '%s' is no size; as in 20G, 512M or 1048576\n",
			allocation);
		return EXIT_USAGE;
	}
	xml = g_strdup_printf("<volume><name>%s</name><capacity>%" G_GUINT64_FORMAT
			      "</capacity><allocation>%" G_GUINT64_FORMAT
			      "</allocation><target><format type='%s'/></target></volume>",
			      name, capacity, given, format);
	if (invocation_has(invocation, "--print-xml")) {
		printf("%s\n", xml);
		return 0;
	}
	a.connection = daemon_connect(invocation, 0);
	if (find_pool(&a, argument(invocation, 0)))
		a.volume = lodge_volume_create(a.pool, xml, 0);
	if (a.volume)
		printf("Volume '%s' created\n", lodge_volume_name(a.volume));
	return end(&a, a.volume);
}

/* The pool that a volume is in; NULL: the library has the error. */
static struct lodge_pool *pool_of(struct asked_of *a)
{
	return lodge_pool_by_name(a->connection, lodge_volume_pool_name(a->volume), 0);
}

/* A copy in the same pool. */
static int clone_volume(const struct invocation *invocation)
{
	g_autofree char *name = g_markup_escape_text(argument(invocation, 1), -1);
	struct lodge_volume *copy = NULL;
	struct lodge_volume_info info;
	g_autofree char *xml = NULL;
	struct asked_of a;

	if (!find_volume(&a, invocation, 0) || (!a.pool && !(a.pool = pool_of(&a))) ||
	    lodge_volume_info(a.volume, &info, 0))
		return end(&a, false);
	xml = g_strdup_printf("<volume><name>%s</name><capacity>%" G_GUINT64_FORMAT
			      "</capacity></volume>",
			      name, info.capacity_bytes);
	copy = lodge_volume_clone(a.pool, xml, a.volume, 0);
	if (copy)
		printf("Volume '%s' cloned from '%s'\n", lodge_volume_name(copy),
		       lodge_volume_name(a.volume));
	lodge_volume_free(copy);
	return end(&a, copy);
}

/* The XML says what becomes of the volume that the third argument names. */
static int create_from(const struct invocation *invocation)
{
	const char *from_pool = invocation_value(invocation, "--inputpool");
	g_autofree char *xml = daemon_read_file(argument(invocation, 1));
	struct lodge_volume *copy = NULL;
	struct lodge_pool *input = NULL;
	struct asked_of a = {};

	if (!xml)
		return 1;
	a.connection = daemon_connect(invocation, 0);
	if (find_pool(&a, argument(invocation, 0)) && from_pool)
		input = lodge_pool_find(a.connection, from_pool, 0);
	if (a.pool && from_pool)
		a.volume = input ? lodge_volume_by_name(input, argument(invocation, 2), 0) : NULL;
	else if (a.pool)
		a.volume = lodge_volume_by_path(a.connection, argument(invocation, 2), 0);
	if (a.volume)
		copy = lodge_volume_clone(a.pool, xml, a.volume, volume_flags(invocation));
	if (copy)
		printf("Volume '%s' created from '%s'\n", lodge_volume_name(copy),
		       lodge_volume_name(a.volume));
	lodge_volume_free(copy);
	lodge_pool_free(input);
	return end(&a, copy);
}

static int resize(const struct invocation *invocation)
{
	guint64 capacity = size_parse(argument(invocation, 1), 1);
	unsigned flags = (invocation_has(invocation, "--shrink") ? LODGE_RESIZE_SHRINK : 0) |
			 (invocation_has(invocation, "--delta") ? LODGE_RESIZE_DELTA : 0) |
			 (invocation_has(invocation, "--allocate") ? LODGE_RESIZE_ALLOCATE : 0);
	struct asked_of a;
	bool good;

	if (!capacity) {
		fprintf(stderr, "lodge vol-resize: '%s' is no size; as in 20G, 512M or 1048576\n",
			argument(invocation, 1));
		return EXIT_USAGE;
	}
	good = find_volume(&a, invocation, 0) && !lodge_volume_resize(a.volume, capacity, flags);
	if (good)
		printf("Volume '%s' resized\n", lodge_volume_name(a.volume));
	return end(&a, good);
}

static int wipe(const struct invocation *invocation)
{
	struct asked_of a;
	bool good = find_volume(&a, invocation, 0) && !lodge_volume_wipe(a.volume, 0);

	if (good)
		printf("Volume '%s' wiped\n", lodge_volume_name(a.volume));
	return end(&a, good);
}

/* One word about a volume, by the name of the command. */
static int word(const struct invocation *invocation)
{
	const char *command = invocation->command->name;
	struct asked_of a;
	bool good = find_volume(&a, invocation, LODGE_OPEN_READ_ONLY);

	if (good)
		printf("%s\n", !strcmp(command, "vol-key")    ? lodge_volume_key(a.volume)
			       : !strcmp(command, "vol-name") ? lodge_volume_name(a.volume)
							      : lodge_volume_pool_name(a.volume));
	return end(&a, good);
}

static int delete (const struct invocation *invocation)
{
	struct asked_of a;
	bool good = find_volume(&a, invocation, 0) && !lodge_volume_delete(a.volume, 0);

	if (good)
		printf("Volume '%s' deleted\n", lodge_volume_name(a.volume));
	return end(&a, good);
}

#define POOL_OPTION                                                                       \
	{                                                                                 \
		"--pool", VALUE_TEXT, "POOL", "VOLUME is a name in this pool, not a path" \
	}

static const struct command_option list_options[] = {
	{ "--details", VALUE_NONE, NULL, "also how large they are" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option info_options[] = {
	{ "--bytes", VALUE_NONE, NULL, "print sizes in bytes" },
	POOL_OPTION,
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option volume_options[] = { POOL_OPTION, CONNECT_OPTION, {} };
static const struct command_option xml_options[] = {
	POOL_OPTION, XPATH_OPTIONS, CONNECT_OPTION, {}
};
static const struct command_option as_options[] = {
	{ "--allocation", VALUE_TEXT, "SIZE", "how much of it is provided now" },
	{ "--format", VALUE_TEXT, "FORMAT", "raw, if it is not given" },
	{ "--print-xml", VALUE_NONE, NULL, "print its XML and do nothing" },
	CONNECT_OPTION,
	{},
};
static const struct command_option from_options[] = {
	{ "--inputpool", VALUE_TEXT, "POOL", "where VOLUME is, which is a path otherwise" },
	VALIDATE_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option resize_options[] = {
	{ "--shrink", VALUE_NONE, NULL, "also to less: what is cut off is lost" },
	{ "--delta", VALUE_NONE, NULL, "by that much, not to that much" },
	{ "--allocate", VALUE_NONE, NULL, "provide what is new now" },
	POOL_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option validate_options[] = { VALIDATE_OPTION, CONNECT_OPTION, {} };

#define VOLUME .arguments = "VOLUME", .arguments_min = 1, .arguments_max = 1

const struct command commands_volumes[] = {
	{ .name = "vol-list",
	  .arguments = "POOL",
	  .kind = ARGUMENT_POOL,
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "list a pool's volumes",
	  .options = list_options,
	  .action = list },
	{ .name = "vol-info",
	  VOLUME,
	  .summary = "how large a volume is",
	  .options = info_options,
	  .action = info },
	{ .name = "vol-path",
	  VOLUME,
	  .summary = "where a volume lies",
	  .options = volume_options,
	  .action = text },
	{ .name = "vol-dumpxml",
	  VOLUME,
	  .summary = "a volume's description",
	  .options = xml_options,
	  .action = text },
	{ .name = "vol-create",
	  .arguments = "POOL FILE.xml",
	  .kind = ARGUMENT_POOL,
	  .arguments_min = 2,
	  .arguments_max = 2,
	  .summary = "make a volume from its XML",
	  .options = validate_options,
	  .action = create },
	{ .name = "vol-create-as",
	  .arguments = "POOL NAME SIZE",
	  .kind = ARGUMENT_POOL,
	  .arguments_min = 3,
	  .arguments_max = 3,
	  .summary = "make an empty volume of a size, as 20G",
	  .options = as_options,
	  .action = create_as },
	{ .name = "vol-clone",
	  .arguments = "VOLUME NAME",
	  .arguments_min = 2,
	  .arguments_max = 2,
	  .summary = "copy a volume within its pool",
	  .options = volume_options,
	  .action = clone_volume },
	{ .name = "vol-create-from",
	  .arguments = "POOL FILE.xml VOLUME",
	  .kind = ARGUMENT_POOL,
	  .arguments_min = 3,
	  .arguments_max = 3,
	  .summary = "make a volume of a file's XML, with what another one holds",
	  .options = from_options,
	  .action = create_from },
	{ .name = "vol-resize",
	  .arguments = "VOLUME SIZE",
	  .arguments_min = 2,
	  .arguments_max = 2,
	  .summary = "make a volume larger, or smaller",
	  .options = resize_options,
	  .action = resize },
	{ .name = "vol-wipe",
	  VOLUME,
	  .summary = "write zeros over a volume",
	  .options = volume_options,
	  .action = wipe },
	{ .name = "vol-key",
	  VOLUME,
	  .summary = "what the daemon calls a volume",
	  .options = volume_options,
	  .action = word },
	{ .name = "vol-name",
	  VOLUME,
	  .summary = "a volume's name in its pool",
	  .options = volume_options,
	  .action = word },
	{ .name = "vol-pool",
	  VOLUME,
	  .summary = "the pool that a volume is in",
	  .options = volume_options,
	  .action = word },
	{ .name = "vol-delete",
	  VOLUME,
	  .summary = "delete a volume and what is in it",
	  .options = volume_options,
	  .action = delete },
	{},
};
