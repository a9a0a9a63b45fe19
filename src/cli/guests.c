/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that look at guests: list, dominfo, domstate and their like. */
#include "cli/daemon.h"
#include "cli/table.h"
#include "cli/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- list --- */

static unsigned list_flags(const struct invocation *invocation)
{
	static const struct {
		const char *option;
		unsigned flag;
	} filters[] = {
		{ "--persistent", LODGE_DOMAINS_PERSISTENT },
		{ "--transient", LODGE_DOMAINS_TRANSIENT },
		{ "--autostart", LODGE_DOMAINS_AUTOSTART },
		{ "--no-autostart", LODGE_DOMAINS_NO_AUTOSTART },
		{ "--state-running", LODGE_DOMAINS_RUNNING },
		{ "--state-paused", LODGE_DOMAINS_PAUSED },
		{ "--state-shutoff", LODGE_DOMAINS_SHUTOFF },
		{ "--state-other", LODGE_DOMAINS_OTHER },
	};
	unsigned flags = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(filters); i++)
		flags |= invocation_has(invocation, filters[i].option) ? filters[i].flag : 0;
	if (invocation_has(invocation, "--all"))
		return flags;
	return flags | (invocation_has(invocation, "--inactive") ? LODGE_DOMAINS_INACTIVE
								 : LODGE_DOMAINS_ACTIVE);
}

/* Running ones first, by ID; then the others by name. */
static int compare(const void *a, const void *b)
{
	const struct lodge_domain *one = *(struct lodge_domain *const *)a;
	const struct lodge_domain *two = *(struct lodge_domain *const *)b;
	int id_one = lodge_domain_id(one), id_two = lodge_domain_id(two);

	if ((id_one < 0) != (id_two < 0))
		return id_one < 0 ? 1 : -1;
	if (id_one != id_two)
		return id_one < id_two ? -1 : 1;
	return strcmp(lodge_domain_name(one), lodge_domain_name(two));
}

static void add_row(struct table *table, struct lodge_domain *domain, bool with_title)
{
	char uuid[LODGE_UUID_CHARS];
	int state = lodge_domain_state(domain, NULL, 0);

	if (state < 0) /* it has gone meanwhile */
		return;
	if (lodge_domain_id(domain) < 0)
		table_add_none(table);
	else
		table_add_number(table, lodge_domain_id(domain));
	table_add_text(table, lodge_domain_name(domain));
	table_add_text(table, daemon_state_name(state));
	lodge_domain_uuid(domain, uuid);
	table_add_text(table, uuid);
	if (with_title) {
		char *title = lodge_domain_metadata(domain, LODGE_METADATA_TITLE, NULL, 0);

		table_add_text(table, title ? title : "");
		free(title);
	}
}

static void print_words(const struct invocation *invocation, struct lodge_domain **domains)
{
	bool names = invocation_has(invocation, "--name");
	bool uuids = invocation_has(invocation, "--uuid");

	for (unsigned i = 0; domains[i]; i++) {
		char uuid[LODGE_UUID_CHARS];

		if (invocation_has(invocation, "--id")) {
			if (lodge_domain_id(domains[i]) >= 0)
				printf("%d\n", lodge_domain_id(domains[i]));
			continue;
		}

		lodge_domain_uuid(domains[i], uuid);
		printf("%s%s%s\n", uuids ? uuid : "", uuids && names ? " " : "",
		       names ? lodge_domain_name(domains[i]) : "");
	}
}

static int list(const struct invocation *invocation)
{
	static const char *const keys[] = { "id", "name", "state", "uuid", NULL };
	static const char *const titles[] = { "Id", "Name", "State", "UUID", NULL };
	static const char *const more_keys[] = { "id", "name", "state", "uuid", "title", NULL };
	static const char *const more_titles[] = { "Id", "Name", "State", "UUID", "Title", NULL };
	bool with_title = invocation_has(invocation, "--title");
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain **domains = c ? lodge_domain_list(c, list_flags(invocation)) : NULL;
	unsigned count = 0;

	if (!domains)
		return daemon_end(c, false);
	while (domains[count])
		count++;
	qsort(domains, count, sizeof(*domains), compare);
	if (invocation_has(invocation, "--name") || invocation_has(invocation, "--uuid") ||
	    invocation_has(invocation, "--id")) {
		print_words(invocation, domains);
	} else {
		struct table *table =
			with_title ? table_new(more_keys, more_titles) : table_new(keys, titles);

		for (unsigned i = 0; i < count; i++)
			add_row(table, domains[i], with_title);
		table_print(table, invocation_has(invocation, "--json"));
		table_free(table);
	}
	lodge_domains_free(domains);
	return daemon_end(c, true);
}

/* --- one guest --- */

static bool print_info(struct lodge_domain *domain, bool json)
{
	static const char *const keys[] = { "id",
					    "name",
					    "uuid",
					    "state",
					    "vcpus",
					    "cpu_time_ns",
					    "max_memory_bytes",
					    "memory_bytes",
					    "persistent",
					    "autostart",
					    NULL };
	static const char *const titles[] = { "Id",         "Name",        "UUID",
					      "State",      "CPU(s)",      "CPU time",
					      "Max memory", "Used memory", "Persistent",
					      "Autostart",  NULL };
	int persistent = lodge_domain_is_persistent(domain);
	int autostart = persistent > 0 ? lodge_domain_autostart(domain) : 0;
	char uuid[LODGE_UUID_CHARS];
	struct lodge_domain_info info;
	struct table *table;
	char text[64];

	if (persistent < 0 || autostart < 0 || lodge_domain_info(domain, &info, 0))
		return false;
	table = table_new(keys, titles);
	if (lodge_domain_id(domain) < 0)
		table_add_none(table);
	else
		table_add_number(table, lodge_domain_id(domain));
	table_add_text(table, lodge_domain_name(domain));
	lodge_domain_uuid(domain, uuid);
	table_add_text(table, uuid);
	table_add_text(table, daemon_state_name(info.state));
	table_add_number(table, info.vcpus);
	snprintf(text, sizeof(text), "%.1f s", info.cpu_time_ns / 1e9);
	if (json)
		table_add_number(table, info.cpu_time_ns);
	else
		table_add_text(table, text);
	table_add_bytes(table, info.max_memory_kib * 1024, json);
	table_add_bytes(table, info.memory_kib * 1024, json);
	table_add_bool(table, persistent);
	table_add_bool(table, autostart);
	table_print_fields(table, json);
	table_free(table);
	return true;
}

static int dominfo(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	bool good = domain && print_info(domain, invocation_has(invocation, "--json"));

	lodge_domain_free(domain);
	return daemon_end(c, good);
}

/* virsh's words for libvirt's numbers, whose meaning depends on the state. */
static const char *reason_name(int state, int reason)
{
	static const char *const running[] = {
		"unknown",       "booted",   "migrated",           "restored",
		"from snapshot", "unpaused", "migration canceled", "save canceled",
		"event wakeup",  "crashed",  "post-copy"
	};
	static const char *const paused[] = {
		"unknown",   "user",        "migrating",     "saving",          "dumping",
		"I/O error", "watchdog",    "from snapshot", "shutting down",   "creating snapshot",
		"crashed",   "starting up", "post-copy",     "post-copy failed"
	};
	static const char *const shutoff[] = { "unknown", "shutdown",      "destroyed",
					       "crashed", "migrated",      "saved",
					       "failed",  "from snapshot", "daemon" };
	static const char *const others[] = { "unknown", "user" };
	static const char *const crashed[] = { "unknown", "panicked" };
	static const struct {
		const char *const *names;
		int count;
	} states[] = {
		[LODGE_DOMAIN_RUNNING] = { running, G_N_ELEMENTS(running) },
		[LODGE_DOMAIN_PAUSED] = { paused, G_N_ELEMENTS(paused) },
		[LODGE_DOMAIN_SHUTDOWN] = { others, G_N_ELEMENTS(others) },
		[LODGE_DOMAIN_SHUTOFF] = { shutoff, G_N_ELEMENTS(shutoff) },
		[LODGE_DOMAIN_CRASHED] = { crashed, G_N_ELEMENTS(crashed) },
	};

	if (state >= (int)G_N_ELEMENTS(states) || reason < 0 || reason >= states[state].count)
		return others[0];
	return states[state].names[reason];
}

static int domstate(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	int reason, state = domain ? lodge_domain_state(domain, &reason, 0) : -1;

	if (state >= 0 && invocation_has(invocation, "--reason"))
		printf("%s (%s)\n", daemon_state_name(state), reason_name(state, reason));
	else if (state >= 0)
		printf("%s\n", daemon_state_name(state));
	lodge_domain_free(domain);
	return daemon_end(c, state >= 0);
}

/* One word about a guest, by the name of the command. */
static int word(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	const char *command = invocation->command->name;
	char uuid[LODGE_UUID_CHARS];

	if (!domain)
		return daemon_end(c, false);
	lodge_domain_uuid(domain, uuid);
	if (!strcmp(command, "domid") && lodge_domain_id(domain) >= 0)
		printf("%d\n", lodge_domain_id(domain));
	else
		printf("%s\n", !strcmp(command, "domid")     ? "-"
			       : !strcmp(command, "domuuid") ? uuid
							     : lodge_domain_name(domain));
	lodge_domain_free(domain);
	return daemon_end(c, true);
}

static int dumpxml(const struct invocation *invocation)
{
	bool secure = invocation_has(invocation, "--security-info");
	bool migratable = invocation_has(invocation, "--migratable"); /* may have passwords, too */
	struct lodge_connection *c =
		daemon_connect(invocation, secure || migratable ? 0 : LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	unsigned flags = (secure ? LODGE_XML_SECURE : 0) |
			 (invocation_has(invocation, "--inactive") ? LODGE_XML_INACTIVE : 0) |
			 (invocation_has(invocation, "--update-cpu") ? LODGE_XML_UPDATE_CPU : 0) |
			 (migratable ? LODGE_XML_MIGRATABLE : 0);
	char *xml = domain ? lodge_domain_xml(domain, flags) : NULL;
	bool good = xml && xml_print(invocation, xml);

	lodge_domain_free(domain);
	daemon_end(c, xml);
	free(xml);
	return good ? 0 : 1;
}

/* --- the table --- */

static const struct command_option list_options[] = {
	{ "--all", VALUE_NONE, NULL, "also those that do not run" },
	{ "--inactive", VALUE_NONE, NULL, "only those that do not run" },
	{ "--persistent", VALUE_NONE, NULL, "only those with a definition" },
	{ "--transient", VALUE_NONE, NULL, "only those without one" },
	{ "--autostart", VALUE_NONE, NULL, "only those that start with the daemon" },
	{ "--no-autostart", VALUE_NONE, NULL, "only those that do not" },
	{ "--state-running", VALUE_NONE, NULL, "only those that run" },
	{ "--state-paused", VALUE_NONE, NULL, "only those that are paused" },
	{ "--state-shutoff", VALUE_NONE, NULL, "only those that are off" },
	{ "--state-other", VALUE_NONE, NULL, "only those in another state" },
	{ "--title", VALUE_NONE, NULL, "also their titles" },
	{ "--name", VALUE_NONE, NULL, "print names only" },
	{ "--id", VALUE_NONE, NULL, "print IDs only, of those that run" },
	{ "--table", VALUE_NONE, NULL, "a table: the default" },
	{ "--uuid", VALUE_NONE, NULL, "print UUIDs only" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option json_options[] = { JSON_OPTION, CONNECT_OPTION, {} };
static const struct command_option state_options[] = {
	{ "--reason", VALUE_NONE, NULL, "also why" },
	CONNECT_OPTION,
	{},
};
static const struct command_option plain_options[] = { CONNECT_OPTION, {} };
static const struct command_option xml_options[] = {
	{ "--inactive", VALUE_NONE, NULL, "as it will start the next time" },
	{ "--security-info", VALUE_NONE, NULL, "with passwords" },
	{ "--update-cpu", VALUE_NONE, NULL, "with what its processor is on this host" },
	{ "--migratable", VALUE_NONE, NULL, "as another host would take it" },
	XPATH_OPTIONS,
	CONNECT_OPTION,
	{},
};

#define GUEST .arguments = "GUEST", .kind = ARGUMENT_GUEST, .arguments_min = 1, .arguments_max = 1

const struct command commands_guests[] = {
	{ .name = "list",
	  .arguments = "",
	  .summary = "list the guests of a daemon",
	  .description = "Lists guests: those that run, unless options say otherwise.",
	  .options = list_options,
	  .action = list },
	{ .name = "dominfo",
	  GUEST,
	  .summary = "what a guest is and does",
	  .options = json_options,
	  .action = dominfo },
	{ .name = "domstate",
	  GUEST,
	  .summary = "whether a guest runs",
	  .options = state_options,
	  .action = domstate },
	{ .name = "dumpxml",
	  GUEST,
	  .summary = "a guest's definition, or what it runs with",
	  .options = xml_options,
	  .action = dumpxml },
	{ .name = "domid",
	  GUEST,
	  .summary = "a guest's number while it runs",
	  .options = plain_options,
	  .action = word },
	{ .name = "domname",
	  GUEST,
	  .summary = "a guest's name",
	  .options = plain_options,
	  .action = word },
	{ .name = "domuuid",
	  GUEST,
	  .summary = "a guest's UUID",
	  .options = plain_options,
	  .action = word },
	{},
};
