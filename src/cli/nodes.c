/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the host's memory and processors, by nodes. */
#include "cli/daemon.h"
#include "cli/size.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool number(const struct invocation *invocation, const char *option, guint64 *value)
{
	const char *text = invocation_value(invocation, option);

	if (!text || g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT32, value, NULL))
		return true;
	fprintf(stderr, "lodge %s: %s is a number, not '%s'\n", invocation->command->name, option,
		text);
	return false;
}

static int freepages(const struct invocation *invocation)
{
	static const char *const keys[] = { "node", "page_kib", "free", NULL };
	static const char *const titles[] = { "Node", "Page KiB", "Free", NULL };
	static const unsigned usual[] = { 4, 2048, 1048576 };
	const char *size = invocation_value(invocation, "--pagesize");
	guint64 page = size ? size_parse(size, 1024) / 1024 : 0, node = 0;
	const char *only = invocation_value(invocation, "--cellno");
	struct lodge_connection *c;
	struct lodge_node host;
	struct table *table;
	unsigned asked = 0;
	uint64_t pages;

	if (!number(invocation, "--cellno", &node))
		return EXIT_USAGE;
	if (size && (!page || page > G_MAXUINT32)) {
		fprintf(stderr, "lodge freepages: '%s' is no size of pages, as 2M\n", size);
		return EXIT_USAGE;
	}
	c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	if (!c || lodge_connection_node(c, &host, 0))
		return daemon_end(c, false);
	table = table_new(keys, titles);
	for (guint64 n = only ? node : 0; n < (only ? node + 1 : (guint64)host.numa_nodes); n++)
		for (unsigned i = 0; i < (size ? 1 : G_N_ELEMENTS(usual)); i++) {
			unsigned kib = size ? page : usual[i];

			/* not every host has pages of each of the usual sizes */
			if (lodge_connection_free_pages(c, kib, n, &pages, 0))
				continue;
			table_add_number(table, n);
			table_add_number(table, kib);
			table_add_number(table, pages);
			asked++;
		}
	if (asked)
		table_print(table, invocation_has(invocation, "--json"));
	table_free(table);
	return daemon_end(c, asked);
}

/* One size of pages, on one node, on all together or on each. */
static int allocpages(const struct invocation *invocation)
{
	const char *size = argument(invocation, 0), *wanted = argument(invocation, 1);
	guint64 page = size_parse(size, 1024) / 1024, count, node = 0;
	unsigned flags = invocation_has(invocation, "--add") ? 0 : LODGE_ALLOC_PAGES_SET;
	bool each = invocation_has(invocation, "--all");
	struct lodge_connection *c;
	struct lodge_node host;
	int first = -1;

	if (!number(invocation, "--cellno", &node))
		return EXIT_USAGE;
	if (!page || page > G_MAXUINT32 ||
	    !g_ascii_string_to_unsigned(wanted, 10, 0, G_MAXINT32, &count, NULL)) {
		fprintf(stderr,
			"lodge allocpages: '%s' and '%s' are no size of pages and number of "
			"them, as 2M 512\n",
			size, wanted);
		return EXIT_USAGE;
	}
	if (each && invocation_has(invocation, "--cellno")) {
		fprintf(stderr, "lodge allocpages: --all or --cellno, not both\n");
		return EXIT_USAGE;
	}
	c = daemon_connect(invocation, 0);
	if (!c || (each && lodge_connection_node(c, &host, 0)))
		return daemon_end(c, false);
	if (each || invocation_has(invocation, "--cellno"))
		first = node;
	return daemon_end(c, lodge_connection_alloc_pages(c, page, count, first,
							  each ? host.numa_nodes : 1, flags) >= 0);
}

static int nodecpumap(const struct invocation *invocation)
{
	static const char *const keys[] = { "present", "online", "map", NULL };
	static const char *const titles[] = { "CPUs present", "CPUs online", "CPU map", NULL };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	g_autofree char *text = NULL;
	struct table *table;
	unsigned cpus, online;
	uint8_t *map;
	size_t bytes;

	map = c ? lodge_connection_cpu_map(c, &cpus, &online, &bytes, 0) : NULL;
	if (!map)
		return daemon_end(c, false);
	text = daemon_map_text(map, bytes);
	table = table_new(keys, titles);
	table_add_number(table, cpus);
	table_add_number(table, online);
	table_add_text(table, text);
	table_print_fields(table, invocation_has(invocation, "--json"));
	table_free(table);
	free(map);
	return daemon_end(c, true);
}

static int node_memory_tune(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);

	if (!c)
		return 1;
	return daemon_print_values(c, lodge_connection_memory_parameters(c, 0),
				   invocation_has(invocation, "--json"));
}

static int echo(const struct invocation *invocation)
{
	for (unsigned i = 0; argument(invocation, i); i++)
		printf("%s%s", i ? " " : "", argument(invocation, i));
	printf("\n");
	return 0;
}

static const struct command_option json_options[] = { JSON_OPTION, CONNECT_OPTION, {} };
static const struct command_option plain_options[] = { {} };
static const struct command_option page_options[] = {
	{ "--cellno", VALUE_TEXT, "NODE", "of that one alone" },
	{ "--pagesize", VALUE_TEXT, "SIZE", "of that size alone, as 2M; a bare number is KiB" },
	{ "--all", VALUE_NONE, NULL, "of all nodes and sizes, as without options" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};

static const struct command_option alloc_options[] = {
	{ "--cellno", VALUE_TEXT, "NODE", "on that node; else on all together" },
	{ "--all", VALUE_NONE, NULL, "so many on each node" },
	{ "--add", VALUE_NONE, NULL, "so many more, not so many in all" },
	CONNECT_OPTION,
	{},
};

const struct command commands_nodes[] = {
	{ .name = "freepages",
	  .arguments = "",
	  .summary = "the host's free pages, by node and size",
	  .options = page_options,
	  .action = freepages },
	{ .name = "allocpages",
	  .arguments = "SIZE COUNT",
	  .kind = ARGUMENT_TEXT,
	  .arguments_min = 2,
	  .arguments_max = 2,
	  .summary = "have the host set large pages apart",
	  .options = alloc_options,
	  .action = allocpages },
	{ .name = "nodecpumap",
	  .arguments = "",
	  .summary = "which of the host's processors are there",
	  .options = json_options,
	  .action = nodecpumap },
	{ .name = "node-memory-tune",
	  .arguments = "",
	  .summary = "how the host treats memory that guests share",
	  .options = json_options,
	  .action = node_memory_tune },
	{ .name = "echo",
	  .arguments = "[WORD]...",
	  .kind = ARGUMENT_TEXT,
	  .arguments_max = 1000,
	  .summary = "print words, as the interactive lodge has read them",
	  .options = plain_options,
	  .action = echo },
	{},
};
