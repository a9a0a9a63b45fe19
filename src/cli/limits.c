/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands that show and change the limits of a guest's share of the host: one row each.
 *
 * An option is the parameter of its name, with underscores, behind the row's prefix; what is no
 * option can be named with --set NAME=VALUE. Whether a value is a number or a text is as it is told
 * by the daemon.
 */
#include "cli/daemon.h"
#include "cli/size.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNLIMITED 9007199254740991ull /* VIR_DOMAIN_MEMORY_PARAM_UNLIMITED */

static const struct limits {
	const char *command;
	enum lodge_parameter_kind kind;
	const char *prefix; /* of the parameters that are options */
	bool kib;           /* sizes are told in KiB */
} rows[] = {
	{ "schedinfo", LODGE_PARAMETERS_SCHEDULER, "", false },
	{ "memtune", LODGE_PARAMETERS_MEMORY, "", true },
	{ "blkiotune", LODGE_PARAMETERS_BLOCK, "", false },
	{ "numatune", LODGE_PARAMETERS_NUMA, "numa_", false },
	{ "blkdeviotune", LODGE_PARAMETERS_DISK, "", false },
	{ "domiftune", LODGE_PARAMETERS_INTERFACE, "", false },
};

static const char *const numa_modes[] = { "strict", "preferred", "interleave", "restrictive" };

static const struct limits *row_of(const struct invocation *invocation)
{
	unsigned i = 0;

	while (strcmp(rows[i].command, invocation->command->name))
		i++;
	return &rows[i];
}

static unsigned affect_flags(const struct invocation *invocation)
{
	return (invocation_has(invocation, "--live") ? LODGE_AFFECT_LIVE : 0) |
	       (invocation_has(invocation, "--config") ? LODGE_AFFECT_DEFINITION : 0);
}

/* --- what is wanted: pairs of a parameter's name and a text --- */

static void want(GPtrArray *wanted, char *name, const char *text)
{
	g_ptr_array_add(wanted, name);
	g_ptr_array_add(wanted, g_strdup(text));
}

/* "average,peak,burst,floor", of which each may be left out. */
static void want_rates(GPtrArray *wanted, const char *direction, const char *text)
{
	static const char *const names[] = { "average", "peak", "burst", "floor" };
	g_auto(GStrv) parts = g_strsplit(text, ",", G_N_ELEMENTS(names));

	for (unsigned i = 0; parts[i]; i++)
		if (*parts[i])
			want(wanted, g_strdup_printf("%s.%s", direction, names[i]), parts[i]);
}

static char *parameter_name(const struct limits *row, const char *option)
{
	char *name = g_strdup_printf("%s%s", row->prefix, option + strlen("--"));

	/* the one that the protocol calls otherwise than virsh */
	if (!strcmp(name, "device-weights"))
		name[strlen("device-weight")] = 0;
	return g_strdelimit(name, "-", '_');
}

/* False: a word is no NAME=VALUE. */
static bool want_pair(GPtrArray *wanted, const char *pair)
{
	const char *equals = strchr(pair, '=');

	if (equals && equals > pair)
		want(wanted, g_strndup(pair, equals - pair), equals + 1);
	else
		fprintf(stderr, "lodge: '%s' is no NAME=VALUE\n", pair);
	return equals && equals > pair;
}

static bool is_plain(const char *option)
{
	static const char *const others[] = { "--set",  "--live",    "--config",
					      "--json", "--connect", NULL };

	return !g_strv_contains(others, option);
}

static bool collect(const struct invocation *invocation, const struct limits *row,
		    GPtrArray *wanted)
{
	const struct command_option *option = invocation->command->options;
	const char *pair;
	bool good = true;

	for (; option->name; option++) {
		const char *text = invocation_value(invocation, option->name);

		if (!text || !is_plain(option->name))
			continue;
		if (row->kind == LODGE_PARAMETERS_INTERFACE)
			want_rates(wanted, option->name + strlen("--"), text);
		else
			want(wanted, parameter_name(row, option->name), text);
	}
	for (unsigned i = 0; good && (pair = invocation_nth(invocation, "--set", i)); i++)
		good = want_pair(wanted, pair);
	for (unsigned i = 1;
	     good && row->kind == LODGE_PARAMETERS_SCHEDULER && (pair = argument(invocation, i));
	     i++)
		good = want_pair(wanted, pair);
	return good;
}

/* --- and as the daemon takes it --- */

static bool number_of(const struct limits *row, const char *text, struct lodge_value *value)
{
	char *rest;
	guint64 bytes;

	for (unsigned i = 0; !strcmp(value->name, "numa_mode") && i < G_N_ELEMENTS(numa_modes); i++)
		if (!strcmp(text, numa_modes[i])) {
			value->signed_number = i;
			return true;
		}
	value->signed_number = g_ascii_strtoll(text, &rest, 10);
	if (row->kib && (!strcmp(text, "unlimited") || !strcmp(text, "-1"))) {
		value->signed_number = UNLIMITED;
	} else if (row->kib) {
		bytes = size_parse(text, 1024);
		value->signed_number = bytes / 1024;
		return bytes || !strcmp(text, "0");
	} else {
		return *text && !*rest;
	}
	return true;
}

/* False: it has been said which is wrong. */
static bool to_value(const struct limits *row, const struct lodge_value *now, char *name,
		     char *text, struct lodge_value *to)
{
	while (now->name && strcmp(now->name, name))
		now++;
	*to = (struct lodge_value){ .name = name, .kind = LODGE_VALUE_SIGNED };
	if (!now->name) {
		fprintf(stderr, "lodge %s: there is no limit '%s' here\n", row->command, name);
		return false;
	}
	if (now->kind == LODGE_VALUE_TEXT) {
		to->kind = LODGE_VALUE_TEXT;
		to->text = text;
		return true;
	}
	if (!number_of(row, text, to)) {
		fprintf(stderr, "lodge %s: %s is a number, not '%s'\n", row->command, name, text);
		return false;
	}
	return true;
}

/* A usage error, 2, or 0, or 1 with the library's error. */
static int change(struct lodge_domain *domain, const struct limits *row, const char *device,
		  GPtrArray *wanted, unsigned flags)
{
	const unsigned both = LODGE_AFFECT_LIVE | LODGE_AFFECT_DEFINITION;
	struct lodge_value *now = lodge_domain_parameters(
		domain, row->kind, device, flags == both ? LODGE_AFFECT_DEFINITION : flags);
	g_autofree struct lodge_value *to = g_new0(struct lodge_value, wanted->len / 2 + 1);
	int status = now ? 0 : 1;

	for (unsigned i = 0; now && i < wanted->len && !status; i += 2)
		if (!to_value(row, now, wanted->pdata[i], wanted->pdata[i + 1], &to[i / 2]))
			status = EXIT_USAGE;
	if (!status)
		status = !!lodge_domain_set_parameters(domain, row->kind, device, to, flags);
	lodge_values_free(now);
	return status;
}

/* For people: what is not bounded, and modes, in words. */
static void say_in_words(const struct limits *row, struct lodge_value *values)
{
	for (; values && values->name; values++) {
		const char *word = NULL;
		gint64 number = values->kind == LODGE_VALUE_SIGNED
					? values->signed_number
					: (gint64)values->unsigned_number;

		if (values->kind == LODGE_VALUE_TEXT)
			continue;
		if (row->kib && (guint64)number == UNLIMITED)
			word = "unlimited";
		if (!strcmp(values->name, "numa_mode") && number >= 0 &&
		    number < (gint64)G_N_ELEMENTS(numa_modes))
			word = numa_modes[number];
		if (word) {
			values->kind = LODGE_VALUE_TEXT;
			values->text = g_strdup(word);
		}
	}
}

static int limits(const struct invocation *invocation)
{
	const struct limits *row = row_of(invocation);
	bool of_device =
		row->kind == LODGE_PARAMETERS_DISK || row->kind == LODGE_PARAMETERS_INTERFACE;
	const char *device = of_device ? argument(invocation, 1) : NULL;
	g_autoptr(GPtrArray) wanted = g_ptr_array_new_with_free_func(g_free);
	bool json = invocation_has(invocation, "--json");
	struct lodge_value *values = NULL;
	struct lodge_connection *c;
	struct lodge_domain *domain;
	int status = 1;

	if (!collect(invocation, row, wanted))
		return EXIT_USAGE;
	c = daemon_connect(invocation, wanted->len ? 0 : LODGE_OPEN_READ_ONLY);
	domain = daemon_domain(c, invocation);
	if (domain && wanted->len)
		status = change(domain, row, device, wanted, affect_flags(invocation));
	else if (domain)
		values = lodge_domain_parameters(domain, row->kind, device,
						 affect_flags(invocation));
	lodge_domain_free(domain);
	if (!wanted->len) {
		if (!json)
			say_in_words(row, values);
		return daemon_print_values(c, values, json);
	}
	if (status == EXIT_USAGE) {
		lodge_connection_free(c);
		return status;
	}
	return daemon_end(c, !status);
}

#define AFFECT_OPTIONS                                                                          \
	{ "--current", VALUE_NONE, NULL, "of what runs, else of its definition; the default" }, \
		{ "--live", VALUE_NONE, NULL, "of the guest that runs" },                       \
	{                                                                                       \
		"--config", VALUE_NONE, NULL, "of its definition: for the next start"           \
	}
#define SET_OPTION                                                                            \
	{                                                                                     \
		"--set", VALUE_TEXT, "NAME=VALUE", "change a limit; may be given often", true \
	}
#define LIMIT(option, value, help)                     \
	{                                              \
		option, VALUE_TEXT, value, help, false \
	}
#define COMMON                                                   \
	AFFECT_OPTIONS, SET_OPTION, JSON_OPTION, CONNECT_OPTION, \
	{                                                        \
	}

static const struct command_option scheduler_options[] = { COMMON };
static const struct command_option memory_options[] = {
	LIMIT("--hard-limit", "SIZE", "of its process, in all; a bare number is KiB, -1 for none"),
	LIMIT("--soft-limit", "SIZE", "beyond which the host takes memory back first"),
	LIMIT("--swap-hard-limit", "SIZE", "of memory and swap together"),
	COMMON,
};
static const struct command_option block_options[] = {
	LIMIT("--weight", "NUMBER", "its share of disks' time, 1 to 10000"),
	LIMIT("--device-weights", "LIST", "/dev/A,NUMBER,/dev/B,NUMBER: the same of devices"),
	LIMIT("--device-read-iops-sec", "LIST", "requests in a second, by device"),
	LIMIT("--device-write-iops-sec", "LIST", "requests in a second, by device"),
	LIMIT("--device-read-bytes-sec", "LIST", "bytes in a second, by device"),
	LIMIT("--device-write-bytes-sec", "LIST", "bytes in a second, by device"),
	COMMON,
};
static const struct command_option numa_options[] = {
	LIMIT("--mode", "MODE", "strict, preferred, interleave or restrictive"),
	LIMIT("--nodeset", "NODES", "where memory comes from, as 0-3,^2"),
	COMMON,
};
static const struct command_option disk_options[] = {
	LIMIT("--total-bytes-sec", "NUMBER", "bytes in a second"),
	LIMIT("--read-bytes-sec", "NUMBER", "bytes read in a second"),
	LIMIT("--write-bytes-sec", "NUMBER", "bytes written in a second"),
	LIMIT("--total-iops-sec", "NUMBER", "requests in a second"),
	LIMIT("--read-iops-sec", "NUMBER", "reading requests in a second"),
	LIMIT("--write-iops-sec", "NUMBER", "writing requests in a second"),
	COMMON,
};
static const struct command_option interface_options[] = {
	LIMIT("--inbound", "AVERAGE[,PEAK[,BURST]]", "kilobytes in a second; KiB at once"),
	LIMIT("--outbound", "AVERAGE[,PEAK[,BURST]]", "the same of what it sends"),
	COMMON,
};

#define GUEST(what, most)                                                                      \
	.arguments = "GUEST" what, .kind = ARGUMENT_GUEST, .arguments_min = 1 + !!(most == 2), \
	.arguments_max = most

const struct command commands_limits[] = {
	{ .name = "schedinfo",
	  GUEST(" [NAME=VALUE]...", 16),
	  .summary = "show or change a guest's share of processor time",
	  .options = scheduler_options,
	  .action = limits },
	{ .name = "memtune",
	  GUEST("", 1),
	  .summary = "show or change how much of the host's memory a guest may take",
	  .options = memory_options,
	  .action = limits },
	{ .name = "blkiotune",
	  GUEST("", 1),
	  .summary = "show or change a guest's share of the host's disks",
	  .options = block_options,
	  .action = limits },
	{ .name = "numatune",
	  GUEST("", 1),
	  .summary = "show or change which nodes a guest's memory comes from",
	  .options = numa_options,
	  .action = limits },
	{ .name = "blkdeviotune",
	  GUEST(" DISK", 2),
	  .summary = "show or change how fast a guest's disk may be",
	  .options = disk_options,
	  .action = limits },
	{ .name = "domiftune",
	  GUEST(" INTERFACE", 2),
	  .summary = "show or change how fast a guest's network card may be",
	  .options = interface_options,
	  .action = limits },
	{},
};
