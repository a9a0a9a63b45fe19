/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands for what else there is to ask of a guest, and to press. */
#include "cli/daemon.h"
#include "cli/keys.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 16

/* A command that asks one thing: what it does with the guest; false: the library has the error. */
typedef bool asking_fn(const struct invocation *invocation, struct lodge_domain *domain);

static int ask(const struct invocation *invocation, unsigned open, asking_fn *fn)
{
	struct lodge_connection *c = daemon_connect(invocation, open);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	bool good = domain && fn(invocation, domain);

	lodge_domain_free(domain);
	return daemon_end(c, good);
}

static const char *word(const char *const *words, unsigned count, unsigned number)
{
	return number < count ? words[number] : "unknown";
}

#define WORD(words, number) word(words, G_N_ELEMENTS(words), number)

static bool ask_control(const struct invocation *invocation, struct lodge_domain *domain)
{
	static const char *const states[] = { "ok", "busy with a job", "occupied", "lost" };
	static const char *const keys[] = { "state", "since_ms", NULL };
	static const char *const titles[] = { "State", "For ms", NULL };
	struct lodge_control control;
	struct table *table;

	if (lodge_domain_control(domain, &control, 0))
		return false;
	table = table_new(keys, titles);
	table_add_text(table, WORD(states, control.state));
	table_add_number(table, control.time_ms);
	table_print_fields(table, invocation_has(invocation, "--json"));
	table_free(table);
	return true;
}

static int domcontrol(const struct invocation *invocation)
{
	return ask(invocation, LODGE_OPEN_READ_ONLY, ask_control);
}

static int domjobinfo(const struct invocation *invocation)
{
	static const char *const types[] = { "none",      "bounded", "unbounded",
					     "completed", "failed",  "cancelled" };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	bool json = invocation_has(invocation, "--json");
	struct lodge_value *values = NULL;
	int type = 0;

	if (domain)
		values = lodge_domain_job(domain, &type, 0);
	if (values && !json)
		printf("Job type: %s\n", WORD(types, (unsigned)type));
	lodge_domain_free(domain);
	return daemon_print_values(c, values, json);
}

static bool ask_errors(const struct invocation *invocation, struct lodge_domain *domain)
{
	static const char *const errors[] = { "none", "error", "no room on the host" };
	static const char *const keys[] = { "disk", "error", NULL };
	static const char *const titles[] = { "Disk", "Error", NULL };
	bool json = invocation_has(invocation, "--json");
	struct lodge_disk_error *found;
	struct table *table;
	unsigned count;

	found = lodge_domain_disk_errors(domain, &count, 0);
	if (!found)
		return false;
	table = table_new(keys, titles);
	for (unsigned i = 0; i < count; i++) {
		table_add_text(table, found[i].disk);
		table_add_text(table, WORD(errors, (unsigned)found[i].error));
	}
	if (count || json)
		table_print(table, json);
	else
		printf("No disk has failed\n");
	table_free(table);
	free(found);
	return true;
}

static int domblkerror(const struct invocation *invocation)
{
	return ask(invocation, LODGE_OPEN_READ_ONLY, ask_errors);
}

static bool ask_addresses(const struct invocation *invocation, struct lodge_domain *domain)
{
	static const char *const sources[] = { "lease", "agent", "arp", NULL };
	static const char *const keys[] = { "interface", "mac", "protocol", "address", NULL };
	static const char *const titles[] = { "Interface", "MAC", "Protocol", "Address", NULL };
	const char *source = invocation_value(invocation, "--source");
	unsigned count, from = 0;
	struct lodge_address *rows;
	struct table *table;

	while (source && sources[from] && strcmp(source, sources[from]))
		from++;
	rows = lodge_domain_addresses(domain, from, &count, 0);
	if (!rows)
		return false;
	table = table_new(keys, titles);
	for (unsigned i = 0; i < count; i++) {
		g_autofree char *address =
			g_strdup_printf("%s/%u", rows[i].address, rows[i].prefix);

		table_add_text(table, rows[i].interface);
		table_add_text(table, rows[i].mac);
		if (*rows[i].address) {
			table_add_text(table, rows[i].type ? "ipv6" : "ipv4");
			table_add_text(table, address);
		} else {
			table_add_none(table);
			table_add_none(table);
		}
	}
	table_print(table, invocation_has(invocation, "--json"));
	table_free(table);
	free(rows);
	return true;
}

static int domifaddr(const struct invocation *invocation)
{
	return ask(invocation, LODGE_OPEN_READ_ONLY, ask_addresses);
}

static int cpu_stats(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	struct lodge_value *values = domain ? lodge_domain_cpu_values(domain, 0) : NULL;

	lodge_domain_free(domain);
	return daemon_print_values(c, values, invocation_has(invocation, "--json"));
}

/* --- what is pressed --- */

static bool press_nmi(const struct invocation *invocation, struct lodge_domain *domain)
{
	if (lodge_domain_inject_nmi(domain, 0))
		return false;
	printf("Guest '%s' has got an NMI\n", lodge_domain_name(domain));
	return true;
}

static int inject_nmi(const struct invocation *invocation)
{
	return ask(invocation, 0, press_nmi);
}

static int send_key(const struct invocation *invocation)
{
	static const char *const sets[] = { "linux", "xt",     "atset1", "atset2", "atset3",
					    "os_x",  "xt_kbd", "usb",    "win32",  "qnum" };
	const char *set = invocation_value(invocation, "--codeset");
	const char *hold = invocation_value(invocation, "--holdtime"), *name;
	unsigned keys[KEYS_MAX], count = 0, codeset = 0;
	struct lodge_connection *c;
	struct lodge_domain *domain;
	guint64 hold_ms = 0;
	bool good;

	while (set && strcmp(set, sets[codeset]))
		codeset++;
	if (hold && !g_ascii_string_to_unsigned(hold, 10, 0, 60000, &hold_ms, NULL)) {
		fprintf(stderr, "lodge send-key: '%s' is no number of milliseconds\n", hold);
		return EXIT_USAGE;
	}
	for (unsigned i = 1; (name = argument(invocation, i)); i++) {
		if (key_parse(name, !codeset, &keys[count++]))
			continue;
		fprintf(stderr, "lodge send-key: there is no key '%s'; as KEY_ENTER, or a number\n",
			name);
		return EXIT_USAGE;
	}
	c = daemon_connect(invocation, 0);
	domain = daemon_domain(c, invocation);
	good = domain && !lodge_domain_send_keys(domain, codeset, hold_ms, keys, count, 0);
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

static int set_lifecycle(const struct invocation *invocation)
{
	static const char *const types[] = { "poweroff", "reboot", "crash" };
	static const char *const actions[] = { "destroy",  "restart",          "rename-restart",
					       "preserve", "coredump-destroy", "coredump-restart" };
	const char *type = argument(invocation, 1), *action = argument(invocation, 2);
	unsigned lifecycle = 0, number = 0;
	struct lodge_connection *c;
	struct lodge_domain *domain;
	bool good;

	while (lifecycle < G_N_ELEMENTS(types) && strcmp(type, types[lifecycle]))
		lifecycle++;
	while (number < G_N_ELEMENTS(actions) && strcmp(action, actions[number]))
		number++;
	if (lifecycle == G_N_ELEMENTS(types) || number == G_N_ELEMENTS(actions)) {
		fprintf(stderr, "lodge set-lifecycle-action: poweroff, reboot or crash, and "
				"destroy, restart, "
				"rename-restart, preserve, coredump-destroy or coredump-restart\n");
		return EXIT_USAGE;
	}
	c = daemon_connect(invocation, 0);
	domain = daemon_domain(c, invocation);
	good = domain &&
	       !lodge_domain_set_lifecycle(
		       domain, lifecycle, number,
		       (invocation_has(invocation, "--live") ? LODGE_AFFECT_LIVE : 0) |
			       (invocation_has(invocation, "--config") ? LODGE_AFFECT_DEFINITION
								       : 0));
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

static const struct command_option plain_options[] = { CONNECT_OPTION, {} };
static const struct command_option json_options[] = { JSON_OPTION, CONNECT_OPTION, {} };
static const struct command_option address_options[] = {
	{ "--source", VALUE_WORD, "lease|agent|arp",
	  "the network's DHCP server (without it), the guest itself, or what the host has seen" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option key_options[] = {
	{ "--codeset", VALUE_WORD, "linux|xt|atset1|atset2|atset3|os_x|xt_kbd|usb|win32|qnum",
	  "whose numbers keys have; linux has names, too" },
	{ "--holdtime", VALUE_TEXT, "MS", "how long they are held" },
	CONNECT_OPTION,
	{},
};
static const struct command_option lifecycle_options[] = {
	{ "--current", VALUE_NONE, NULL, "of what runs, else of its definition; the default" },
	{ "--live", VALUE_NONE, NULL, "of the guest that runs" },
	{ "--config", VALUE_NONE, NULL, "of its definition: for the next start" },
	CONNECT_OPTION,
	{},
};

#define GUEST .arguments = "GUEST", .kind = ARGUMENT_GUEST, .arguments_min = 1, .arguments_max = 1

const struct command commands_details[] = {
	{ .name = "domifaddr",
	  GUEST,
	  .summary = "a guest's addresses in its networks",
	  .options = address_options,
	  .action = domifaddr },
	{ .name = "domblkerror",
	  GUEST,
	  .summary = "disks of a guest that failed",
	  .options = json_options,
	  .action = domblkerror },
	{ .name = "domcontrol",
	  GUEST,
	  .summary = "whether the daemon reaches a guest's process",
	  .options = json_options,
	  .action = domcontrol },
	{ .name = "domjobinfo",
	  GUEST,
	  .summary = "what the daemon is doing with a guest",
	  .options = json_options,
	  .action = domjobinfo },
	{ .name = "cpu-stats",
	  GUEST,
	  .summary = "processor time that a guest has used, in nanoseconds",
	  .options = json_options,
	  .action = cpu_stats },
	{ .name = "set-lifecycle-action",
	  .arguments = "GUEST poweroff|reboot|crash ACTION",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 3,
	  .arguments_max = 3,
	  .summary = "change what follows when a guest powers off, reboots or crashes",
	  .options = lifecycle_options,
	  .action = set_lifecycle },
	{ .name = "inject-nmi",
	  GUEST,
	  .summary = "have a guest's kernel tell where it is",
	  .options = plain_options,
	  .action = inject_nmi },
	{ .name = "send-key",
	  .arguments = "GUEST KEY...",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 2,
	  .arguments_max = 1 + KEYS_MAX,
	  .summary = "press keys of a guest's keyboard, all at once",
	  .options = key_options,
	  .action = send_key },
	{},
};
