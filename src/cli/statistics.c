/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that show numbers of guests and of the host, by the protocol's names. */
#include "cli/daemon.h"
#include "cli/table.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_value(struct table *table, const struct lodge_value *value)
{
	char text[32];

	switch (value->kind) {
	case LODGE_VALUE_SIGNED: table_add_number(table, value->signed_number); break;
	case LODGE_VALUE_UNSIGNED: table_add_number(table, value->unsigned_number); break;
	case LODGE_VALUE_BOOLEAN: table_add_bool(table, value->unsigned_number); break;
	case LODGE_VALUE_REAL:
		snprintf(text, sizeof(text), "%g", value->real);
		table_add_text(table, text);
		break;
	case LODGE_VALUE_TEXT: table_add_text(table, value->text); break;
	}
}

int daemon_print_values(struct lodge_connection *c, struct lodge_value *values, bool json)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	struct table *table;

	for (unsigned i = 0; values && values[i].name; i++)
		g_ptr_array_add(names, values[i].name);
	g_ptr_array_add(names, NULL);
	if (names->len > 1) {
		table = table_new((const char *const *)names->pdata,
				  (const char *const *)names->pdata);
		for (unsigned i = 0; values[i].name; i++)
			add_value(table, &values[i]);
		table_print_fields(table, json);
		table_free(table);
	} else if (values && json) {
		printf("{}\n");
	}
	lodge_values_free(values);
	return daemon_end(c, values);
}

/* Of a guest, by the name of the command; the second argument is the device. */
static int of_guest(const struct invocation *invocation)
{
	const char *command = invocation->command->name, *device = argument(invocation, 1);
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	struct lodge_value *values = NULL;

	if (domain && !strcmp(command, "domblkstat"))
		values = lodge_domain_disk_values(domain, device, 0);
	else if (domain && !strcmp(command, "domifstat"))
		values = lodge_domain_interface_values(domain, device, 0);
	else if (domain)
		values = lodge_domain_memory_values(domain, 0);
	lodge_domain_free(domain);
	return daemon_print_values(c, values, invocation_has(invocation, "--json"));
}

static int of_host(const struct invocation *invocation)
{
	bool cpu = !strcmp(invocation->command->name, "nodecpustats");
	const char *which = cpu ? invocation_value(invocation, "--cpu") : NULL;
	struct lodge_connection *c;
	guint64 number = 0;

	if (which && !g_ascii_string_to_unsigned(which, 10, 0, G_MAXINT32, &number, NULL)) {
		fprintf(stderr, "lodge nodecpustats: '%s' is no processor's number\n", which);
		return EXIT_USAGE;
	}
	c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	if (!c)
		return 1;
	return daemon_print_values(c,
				   cpu ? lodge_connection_cpu_values(c, which ? (int)number : -1, 0)
				       : lodge_connection_memory_values(c, 0),
				   invocation_has(invocation, "--json"));
}

/* --- domstats --- */

static unsigned stats_groups(const struct invocation *invocation)
{
	static const struct {
		const char *option;
		unsigned group; /* VIR_DOMAIN_STATS_* */
	} groups[] = { { "--state", 1 << 0 },    { "--cpu-total", 1 << 1 }, { "--balloon", 1 << 2 },
		       { "--vcpu", 1 << 3 },     { "--interface", 1 << 4 }, { "--block", 1 << 5 },
		       { "--perf", 1 << 6 },     { "--iothread", 1 << 7 },  { "--memory", 1 << 8 },
		       { "--dirtyrate", 1 << 9 } };
	unsigned flags = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++)
		flags |= invocation_has(invocation, groups[i].option) ? groups[i].group : 0;
	return flags;
}

static json_t *json_of(const struct lodge_value *value)
{
	switch (value->kind) {
	case LODGE_VALUE_SIGNED: return json_integer(value->signed_number);
	case LODGE_VALUE_UNSIGNED: return json_integer(value->unsigned_number);
	case LODGE_VALUE_BOOLEAN: return json_boolean(value->unsigned_number);
	case LODGE_VALUE_REAL: return json_real(value->real);
	default: return json_string(value->text);
	}
}

static void print_text(const struct lodge_domain *domain, const struct lodge_value *values)
{
	printf("Guest: '%s'\n", lodge_domain_name(domain));
	for (; values->name; values++) {
		json_t *value = json_of(values);
		char *text = json_dumps(value, JSON_ENCODE_ANY);

		printf("  %s=%s\n", values->name,
		       values->kind == LODGE_VALUE_TEXT ? values->text : text);
		free(text);
		json_decref(value);
	}
	printf("\n");
}

static bool print_stats(struct lodge_domain *domain, unsigned groups, json_t *all)
{
	struct lodge_value *values = lodge_domain_values(domain, groups, 0);
	json_t *object;

	if (!values)
		return false;
	if (all) {
		object = json_pack("{s:s}", "name", lodge_domain_name(domain));
		for (unsigned i = 0; values[i].name; i++)
			json_object_set_new(object, values[i].name, json_of(&values[i]));
		json_array_append_new(all, object);
	} else {
		print_text(domain, values);
	}
	lodge_values_free(values);
	return true;
}

static struct lodge_domain **one(struct lodge_domain *domain)
{
	struct lodge_domain **domains = domain ? g_new0(struct lodge_domain *, 2) : NULL;

	if (domains)
		domains[0] = domain;
	return domains;
}

static unsigned guests_wanted(const struct invocation *invocation)
{
	static const struct {
		const char *option;
		unsigned flag;
	} filters[] = { { "--list-active", LODGE_DOMAINS_ACTIVE },
			{ "--list-inactive", LODGE_DOMAINS_INACTIVE },
			{ "--list-persistent", LODGE_DOMAINS_PERSISTENT },
			{ "--list-transient", LODGE_DOMAINS_TRANSIENT },
			{ "--list-running", LODGE_DOMAINS_RUNNING },
			{ "--list-paused", LODGE_DOMAINS_PAUSED },
			{ "--list-shutoff", LODGE_DOMAINS_SHUTOFF },
			{ "--list-other", LODGE_DOMAINS_OTHER } };
	unsigned flags = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(filters); i++)
		flags |= invocation_has(invocation, filters[i].option) ? filters[i].flag : 0;
	return flags;
}

static int domstats(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	bool named = argument(invocation, 0), good;
	struct lodge_domain **domains = !c      ? NULL
					: named ? one(daemon_domain(c, invocation))
						: lodge_domain_list(c, guests_wanted(invocation));
	json_t *all = invocation_has(invocation, "--json") ? json_array() : NULL;

	good = domains;
	for (unsigned i = 0; good && domains[i]; i++)
		good = print_stats(domains[i], stats_groups(invocation), all);
	if (good && all) {
		char *text = json_dumps(all, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

		printf("%s\n", text);
		free(text);
	}
	json_decref(all);
	lodge_domains_free(domains);
	return daemon_end(c, good);
}

/* --- tables --- */

static int domblkinfo(const struct invocation *invocation)
{
	static const char *const keys[] = { "capacity_bytes", "allocation_bytes", "physical_bytes",
					    NULL };
	static const char *const titles[] = { "Capacity", "Allocation", "Physical", NULL };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	bool json = invocation_has(invocation, "--json"), good;
	struct lodge_disk_info info;

	good = domain && !lodge_domain_disk_info(domain, argument(invocation, 1), &info, 0);
	if (good) {
		struct table *table = table_new(keys, titles);

		table_add_bytes(table, info.capacity_bytes, json);
		table_add_bytes(table, info.allocation_bytes, json);
		table_add_bytes(table, info.physical_bytes, json);
		table_print_fields(table, json);
		table_free(table);
	}
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

static int vcpuinfo(const struct invocation *invocation)
{
	static const char *const keys[] = { "vcpu", "state", "cpu", "time_ns", NULL };
	static const char *const titles[] = { "VCPU", "State", "CPU", "CPU time", NULL };
	static const char *const states[] = { "offline", "running", "blocked" };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	bool json = invocation_has(invocation, "--json");
	unsigned count = 0;
	struct lodge_vcpu *vcpus = domain ? lodge_domain_vcpu_list(domain, &count, 0) : NULL;
	struct table *table = table_new(keys, titles);

	for (unsigned i = 0; i < count; i++) {
		g_autofree char *time = g_strdup_printf("%.1f s", vcpus[i].time_ns / 1e9);
		unsigned state = vcpus[i].state;

		table_add_number(table, vcpus[i].number);
		table_add_text(table, state < G_N_ELEMENTS(states) ? states[state] : "unknown");
		if (vcpus[i].cpu >= 0)
			table_add_number(table, vcpus[i].cpu);
		else
			table_add_none(table);
		if (json)
			table_add_number(table, vcpus[i].time_ns);
		else
			table_add_text(table, time);
	}
	if (vcpus)
		table_print(table, json);
	table_free(table);
	free(vcpus);
	lodge_domain_free(domain);
	return daemon_end(c, vcpus);
}

static const struct command_option json_options[] = { JSON_OPTION, CONNECT_OPTION, {} };
static const struct command_option cpu_options[] = {
	{ "--cpu", VALUE_TEXT, "NUMBER", "of one processor; without it of all together" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option stats_options[] = {
	{ "--state", VALUE_NONE, NULL, "only whether it runs, and why" },
	{ "--cpu-total", VALUE_NONE, NULL, "only processor time" },
	{ "--balloon", VALUE_NONE, NULL, "only memory" },
	{ "--vcpu", VALUE_NONE, NULL, "only virtual processors" },
	{ "--interface", VALUE_NONE, NULL, "only network cards" },
	{ "--block", VALUE_NONE, NULL, "only disks" },
	{ "--perf", VALUE_NONE, NULL, "only performance counters" },
	{ "--iothread", VALUE_NONE, NULL, "only I/O threads" },
	{ "--memory", VALUE_NONE, NULL, "only the host's memory that it uses" },
	{ "--dirtyrate", VALUE_NONE, NULL, "only how fast it writes memory" },
	{ "--list-active", VALUE_NONE, NULL, "of guests that are active; these choose among all" },
	{ "--list-inactive", VALUE_NONE, NULL, "of those that are not" },
	{ "--list-persistent", VALUE_NONE, NULL, "of those with a definition" },
	{ "--list-transient", VALUE_NONE, NULL, "of those without" },
	{ "--list-running", VALUE_NONE, NULL, "of those that run" },
	{ "--list-paused", VALUE_NONE, NULL, "of those that are paused" },
	{ "--list-shutoff", VALUE_NONE, NULL, "of those that are off" },
	{ "--list-other", VALUE_NONE, NULL, "of those in another state" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};

#define GUEST .arguments = "GUEST", .kind = ARGUMENT_GUEST, .arguments_min = 1, .arguments_max = 1
#define GUEST_AND(what) \
	.arguments = "GUEST " what, .kind = ARGUMENT_GUEST, .arguments_min = 2, .arguments_max = 2

const struct command commands_statistics[] = {
	{ .name = "domstats",
	  .arguments = "[GUEST]",
	  .kind = ARGUMENT_GUEST,
	  .arguments_max = 1,
	  .summary = "all numbers of a guest, or of all",
	  .options = stats_options,
	  .action = domstats },
	{ .name = "domblkstat",
	  GUEST_AND("DISK"),
	  .summary = "what a guest's disk has done",
	  .options = json_options,
	  .action = of_guest },
	{ .name = "domblkinfo",
	  GUEST_AND("DISK"),
	  .summary = "how large a guest's disk is",
	  .options = json_options,
	  .action = domblkinfo },
	{ .name = "domifstat",
	  GUEST_AND("INTERFACE"),
	  .summary = "what a guest's network card has done",
	  .options = json_options,
	  .action = of_guest },
	{ .name = "dommemstat",
	  GUEST,
	  .summary = "a guest's memory, in KiB",
	  .options = json_options,
	  .action = of_guest },
	{ .name = "vcpuinfo",
	  GUEST,
	  .summary = "what a guest's processors have done",
	  .options = json_options,
	  .action = vcpuinfo },
	{ .name = "nodecpustats",
	  .arguments = "",
	  .summary = "the host's processor time, in nanoseconds",
	  .options = cpu_options,
	  .action = of_host },
	{ .name = "nodememstats",
	  .arguments = "",
	  .summary = "the host's memory, in KiB",
	  .options = json_options,
	  .action = of_host },
	{},
};
