/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands for where a guest's threads run. */
#include "base/number_set.h"
#include "cli/daemon.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned affect_flags(const struct invocation *invocation)
{
	return (invocation_has(invocation, "--live") ? LODGE_AFFECT_LIVE : 0) |
	       (invocation_has(invocation, "--config") ? LODGE_AFFECT_DEFINITION : 0);
}

static void add_map(struct table *table, const uint8_t *map, size_t bytes)
{
	g_autofree char *text = daemon_map_text(map, bytes);

	table_add_text(table, text);
}

char *daemon_map_text(const uint8_t *map, size_t bytes)
{
	struct number_set set = {};

	for (size_t i = 0; i < MIN(bytes * 8, NUMBER_SET_MAX); i++)
		if (map[i / 8] & 1 << i % 8)
			set.bits[i / 64] |= 1ull << i % 64;
	return number_set_format(&set);
}

static size_t to_map(const struct number_set *set, uint8_t *map)
{
	for (unsigned i = 0; i < NUMBER_SET_MAX; i++)
		if (number_set_has(set, i))
			map[i / 8] |= 1 << i % 8;
	return NUMBER_SET_MAX / 8;
}

static bool print_vcpus(struct lodge_domain *domain, const char *which, unsigned flags, bool json)
{
	static const char *const keys[] = { "vcpu", "cpus", NULL };
	static const char *const titles[] = { "VCPU", "CPU affinity", NULL };
	unsigned count, only = which ? atoi(which) : 0;
	struct table *table;
	size_t bytes;
	uint8_t *maps = lodge_domain_vcpu_pins(domain, &count, &bytes, flags);

	if (!maps)
		return false;
	table = table_new(keys, titles);
	for (unsigned i = 0; i < count; i++) {
		if (which && i != only)
			continue;
		table_add_number(table, i);
		add_map(table, maps + i * bytes, bytes);
	}
	table_print(table, json);
	table_free(table);
	free(maps);
	return true;
}

static bool print_emulator(struct lodge_domain *domain, unsigned flags, bool json)
{
	static const char *const keys[] = { "cpus", NULL };
	static const char *const titles[] = { "CPU affinity", NULL };
	size_t bytes;
	uint8_t *map = lodge_domain_emulator_pin(domain, &bytes, flags);
	struct table *table;

	if (!map)
		return false;
	table = table_new(keys, titles);
	add_map(table, map, bytes);
	table_print_fields(table, json);
	table_free(table);
	free(map);
	return true;
}

/* Of virtual processors, or of all other threads; with a last argument they are changed. */
static int pin(const struct invocation *invocation)
{
	bool vcpus = !strcmp(invocation->command->name, "vcpupin");
	const char *which = vcpus ? argument(invocation, 1) : NULL;
	const char *cpus = argument(invocation, vcpus ? 2 : 1);
	bool json = invocation_has(invocation, "--json"), good = false;
	unsigned flags = affect_flags(invocation);
	uint8_t map[NUMBER_SET_MAX / 8] = {};
	struct lodge_connection *c;
	struct lodge_domain *domain;
	struct number_set set;
	guint64 vcpu = 0;

	if ((which && !g_ascii_string_to_unsigned(which, 10, 0, 65535, &vcpu, NULL)) ||
	    (cpus && !number_set_parse(cpus, &set))) {
		fprintf(stderr, "lodge %s: '%s' is no %s\n", invocation->command->name,
			cpus ? cpus : which,
			cpus ? "list of processors, as 0-3,^2" : "processor of a guest, as 0");
		return EXIT_USAGE;
	}
	c = daemon_connect(invocation, cpus ? 0 : LODGE_OPEN_READ_ONLY);
	domain = daemon_domain(c, invocation);
	if (domain && cpus)
		good = !lodge_domain_pin_vcpu(domain, vcpus ? (int)vcpu : -1, map,
					      to_map(&set, map), flags);
	else if (domain && vcpus)
		good = print_vcpus(domain, which, flags, json);
	else if (domain)
		good = print_emulator(domain, flags, json);
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

static int iothreadinfo(const struct invocation *invocation)
{
	static const char *const keys[] = { "id", "cpus", NULL };
	static const char *const titles[] = { "Thread", "CPUs", NULL };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	unsigned count = 0;
	struct lodge_iothread *threads =
		domain ? lodge_domain_iothreads(domain, &count, affect_flags(invocation)) : NULL;
	struct table *table = table_new(keys, titles);
	int status;

	for (unsigned i = 0; i < count; i++) {
		table_add_number(table, threads[i].id);
		add_map(table, threads[i].map, threads[i].bytes);
	}
	if (threads)
		table_print(table, invocation_has(invocation, "--json"));
	table_free(table);
	lodge_domain_free(domain);
	status = daemon_end(c, threads);
	lodge_iothreads_free(threads, count);
	return status;
}

static const struct command_option pin_options[] = {
	{ "--current", VALUE_NONE, NULL, "of what runs, else of its definition; the default" },
	{ "--live", VALUE_NONE, NULL, "of the guest that runs" },
	{ "--config", VALUE_NONE, NULL, "of its definition: for the next start" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};

const struct command commands_pins[] = {
	{ .name = "vcpupin",
	  .arguments = "GUEST [VCPU [CPUS]]",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 1,
	  .arguments_max = 3,
	  .summary = "show or change where a guest's processors run",
	  .options = pin_options,
	  .action = pin },
	{ .name = "emulatorpin",
	  .arguments = "GUEST [CPUS]",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 1,
	  .arguments_max = 2,
	  .summary = "show or change where a guest's other threads run",
	  .options = pin_options,
	  .action = pin },
	{ .name = "iothreadinfo",
	  .arguments = "GUEST",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "threads that a guest has for its disks alone",
	  .options = pin_options,
	  .action = iothreadinfo },
	{},
};
