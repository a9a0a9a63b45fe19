/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the daemon, its host, and what happens there. */
#include "cli/daemon.h"
#include "cli/table.h"
#include "cli/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One text about the daemon, by the name of the command. */
static int text(const struct invocation *invocation)
{
	static const struct {
		const char *name;
		char *(*fn)(struct lodge_connection *connection, unsigned flags);
		bool writes; /* is for those who may change things, by the protocol's rule */
	} texts[] = {
		{ "uri", lodge_connection_uri },
		{ "hostname", lodge_connection_hostname },
		{ "sysinfo", lodge_connection_sysinfo },
		{ "pool-capabilities", lodge_connection_pool_capabilities },
		{ "capabilities", lodge_connection_capabilities },
		{ "domcapabilities", lodge_connection_domain_capabilities, true },
	};
	struct lodge_connection *c;
	char *said = NULL;
	unsigned i = 0;
	bool good;

	while (strcmp(texts[i].name, invocation->command->name))
		i++;
	c = daemon_connect(invocation, texts[i].writes ? 0 : LODGE_OPEN_READ_ONLY);
	if (c)
		said = texts[i].fn(c, 0);
	good = said && xml_print(invocation, said);
	daemon_end(c, said);
	free(said);
	return good ? 0 : 1;
}

static int nodeinfo(const struct invocation *invocation)
{
	static const char *const keys[] = { "model",      "cpus",       "mhz",
					    "sockets",    "cores",      "threads",
					    "numa_nodes", "memory_kib", NULL };
	static const char *const titles[] = { "CPU model",     "CPU(s)",           "CPU MHz",
					      "CPU socket(s)", "Cores per socket", "Threads",
					      "NUMA cells",    "Memory KiB",       NULL };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_node node;
	struct table *table;

	if (!c || lodge_connection_node(c, &node, 0))
		return daemon_end(c, false);
	table = table_new(keys, titles);
	table_add_text(table, node.model);
	table_add_number(table, node.cpus);
	table_add_number(table, node.mhz);
	table_add_number(table, node.sockets);
	table_add_number(table, node.cores);
	table_add_number(table, node.threads);
	table_add_number(table, node.numa_nodes);
	table_add_number(table, node.memory_kib);
	table_print_fields(table, invocation_has(invocation, "--json"));
	table_free(table);
	return daemon_end(c, true);
}

static void add_version(struct table *table, uint64_t version)
{
	g_autofree char *text =
		g_strdup_printf("%" G_GUINT64_FORMAT ".%" G_GUINT64_FORMAT ".%" G_GUINT64_FORMAT,
				version / 1000000, version / 1000 % 1000, version % 1000);

	table_add_text(table, text);
}

/* The daemon's numbers are those of the interface it speaks and the hypervisor it stands for. */
static int version(const struct invocation *invocation)
{
	static const char *const keys[] = { "lodge", "interface", "hypervisor", NULL };
	static const char *const titles[] = { "lodge", "Interface", "Hypervisor", NULL };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	uint64_t interface, hypervisor;
	struct table *table;

	if (!c || lodge_connection_versions(c, &interface, &hypervisor, 0))
		return daemon_end(c, false);
	table = table_new(keys, titles);
	table_add_text(table, LODGE_VERSION);
	add_version(table, interface);
	add_version(table, hypervisor);
	table_print_fields(table, invocation_has(invocation, "--json"));
	table_free(table);
	return daemon_end(c, true);
}

static int maxvcpus(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	int count = c ? lodge_connection_max_vcpus(c, NULL) : -1;

	if (count >= 0)
		printf("%d\n", count);
	return daemon_end(c, count >= 0);
}

static int freecell(const struct invocation *invocation)
{
	static const char *const keys[] = { "free_bytes", NULL };
	static const char *const titles[] = { "Total", NULL };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	bool json = invocation_has(invocation, "--json");
	struct table *table;
	uint64_t bytes;

	if (!c || lodge_connection_free_memory(c, &bytes, 0))
		return daemon_end(c, false);
	table = table_new(keys, titles);
	table_add_bytes(table, bytes, json);
	table_print_fields(table, json);
	table_free(table);
	return daemon_end(c, true);
}

static int cpu_models(const struct invocation *invocation)
{
	const char *arch = argument(invocation, 0);
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	char **models = c ? lodge_connection_cpu_models(c, arch ? arch : "x86_64", 0) : NULL;

	for (unsigned i = 0; models && models[i]; i++)
		printf("%s\n", models[i]);
	lodge_cpu_models_free(models);
	return daemon_end(c, models);
}

static const struct command_option xml_options[] = { XPATH_OPTIONS, CONNECT_OPTION, {} };
static const struct command_option plain_options[] = { CONNECT_OPTION, {} };
static const struct command_option json_options[] = { JSON_OPTION, CONNECT_OPTION, {} };
const struct command commands_host[] = {
	{ .name = "nodeinfo",
	  .arguments = "",
	  .summary = "the host's processors and memory",
	  .options = json_options,
	  .action = nodeinfo },
	{ .name = "freecell",
	  .arguments = "",
	  .summary = "the host's free memory",
	  .options = json_options,
	  .action = freecell },
	{ .name = "maxvcpus",
	  .arguments = "",
	  .summary = "how many processors a guest there may have",
	  .options = plain_options,
	  .action = maxvcpus },
	{ .name = "cpu-models",
	  .arguments = "[ARCHITECTURE]",
	  .kind = ARGUMENT_TEXT,
	  .arguments_max = 1,
	  .summary = "processor models that guests there can have",
	  .options = plain_options,
	  .action = cpu_models },
	{ .name = "version",
	  .arguments = "",
	  .summary = "versions of this program and the daemon",
	  .options = json_options,
	  .action = version },
	{ .name = "hostname",
	  .arguments = "",
	  .summary = "the host's name",
	  .options = plain_options,
	  .action = text },
	{ .name = "uri",
	  .arguments = "",
	  .summary = "what the daemon calls itself",
	  .options = plain_options,
	  .action = text },
	{ .name = "capabilities",
	  .arguments = "",
	  .summary = "what the host can do, as XML",
	  .options = xml_options,
	  .action = text },
	{ .name = "sysinfo",
	  .arguments = "",
	  .summary = "what the host's firmware says of it, as XML",
	  .options = plain_options,
	  .action = text },
	{ .name = "pool-capabilities",
	  .arguments = "",
	  .summary = "what storage pools there can be, as XML",
	  .options = xml_options,
	  .action = text },
	{ .name = "domcapabilities",
	  .arguments = "",
	  .summary = "what a guest there can have, as XML",
	  .options = xml_options,
	  .action = text },
	{},
};
