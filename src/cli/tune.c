/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that change what a guest has: memory, processors, name, words about it. */
#include "cli/daemon.h"
#include "cli/size.h"
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned affect_flags(const struct invocation *invocation)
{
	return (invocation_has(invocation, "--live") ? LODGE_AFFECT_LIVE : 0) |
	       (invocation_has(invocation, "--config") ? LODGE_AFFECT_DEFINITION : 0) |
	       (invocation_has(invocation, "--maximum") ? LODGE_AFFECT_MAXIMUM : 0);
}

static int wrong_usage(const struct invocation *invocation, const char *what)
{
	fprintf(stderr, "lodge %s: '%s' is no %s\n", invocation->command->name,
		argument(invocation, 1), what);
	return EXIT_USAGE;
}

/* A bare number is KiB, as virsh has it. */
static int setmem(const struct invocation *invocation)
{
	bool maximum = !strcmp(invocation->command->name, "setmaxmem"), good;
	guint64 bytes = size_parse(argument(invocation, 1), 1024);
	struct lodge_connection *c;
	struct lodge_domain *domain;

	if (!bytes)
		return wrong_usage(invocation, "size; as in 512M, or 524288 for KiB");
	c = daemon_connect(invocation, 0);
	domain = daemon_domain(c, invocation);
	good = domain && !lodge_domain_set_memory(domain, bytes / 1024,
						  affect_flags(invocation) |
							  (maximum ? LODGE_AFFECT_MAXIMUM : 0));
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

static int setvcpus(const struct invocation *invocation)
{
	struct lodge_connection *c;
	struct lodge_domain *domain;
	guint64 count;
	bool good;

	if (!g_ascii_string_to_unsigned(argument(invocation, 1), 10, 1, 65535, &count, NULL))
		return wrong_usage(invocation, "number from 1 on");
	c = daemon_connect(invocation, 0);
	domain = daemon_domain(c, invocation);
	good = domain && !lodge_domain_set_vcpus(domain, count, affect_flags(invocation));
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

/* --- vcpucount --- */

static bool add_count(struct table *table, struct lodge_domain *domain, unsigned flags)
{
	int count = lodge_domain_vcpus(domain, flags);

	if (count >= 0)
		table_add_number(table, count);
	return count >= 0;
}

static int vcpucount(const struct invocation *invocation)
{
	static const char *const keys[] = { "maximum", "current", NULL };
	static const char *const titles[] = { "Maximum", "Current", NULL };
	struct lodge_connection *c = daemon_connect(invocation, LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	unsigned flags = affect_flags(invocation) & ~LODGE_AFFECT_MAXIMUM;
	struct table *table = table_new(keys, titles);
	int count = -1;
	bool good;

	if (domain && invocation_has(invocation, "--maximum")) {
		count = lodge_domain_vcpus(domain, flags | LODGE_AFFECT_MAXIMUM);
		good = count >= 0;
	} else {
		/* of a guest that runs, its maximum is one of the definition alone for some daemons
		 */
		good = domain && add_count(table, domain, flags | LODGE_AFFECT_MAXIMUM) &&
		       add_count(table, domain, flags);
	}
	if (good && count >= 0)
		printf("%d\n", count);
	else if (good)
		table_print_fields(table, invocation_has(invocation, "--json"));
	table_free(table);
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

/* --- words --- */

static bool print_words(struct lodge_domain *domain, enum lodge_metadata_kind kind, const char *uri,
			unsigned flags)
{
	char *text = lodge_domain_metadata(domain, kind, uri, flags);

	if (text)
		printf("%s\n", text);
	free(text);
	return text;
}

/* --title and a description, to be shown or, with the second argument, changed. */
static int desc(const struct invocation *invocation)
{
	enum lodge_metadata_kind kind = invocation_has(invocation, "--title")
						? LODGE_METADATA_TITLE
						: LODGE_METADATA_DESCRIPTION;
	const char *text = argument(invocation, 1);
	struct lodge_connection *c = daemon_connect(invocation, text ? 0 : LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	unsigned flags = affect_flags(invocation);
	bool good = false;

	if (domain && text)
		good = !lodge_domain_set_metadata(domain, kind, *text ? text : NULL, NULL, NULL,
						  flags);
	else if (domain)
		good = print_words(domain, kind, NULL, flags);
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

static int metadata(const struct invocation *invocation)
{
	const char *uri = argument(invocation, 1), *set = invocation_value(invocation, "--set");
	bool change = set || invocation_has(invocation, "--remove");
	struct lodge_connection *c = daemon_connect(invocation, change ? 0 : LODGE_OPEN_READ_ONLY);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	unsigned flags = affect_flags(invocation);
	bool good = false;

	if (domain && change)
		good = !lodge_domain_set_metadata(domain, LODGE_METADATA_ELEMENT, set,
						  invocation_value(invocation, "--key"), uri,
						  flags);
	else if (domain)
		good = print_words(domain, LODGE_METADATA_ELEMENT, uri, flags);
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

static int domrename(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	bool good = domain && !lodge_domain_rename(domain, argument(invocation, 1), 0);

	if (good)
		printf("Guest '%s' is called '%s'\n", lodge_domain_name(domain),
		       argument(invocation, 1));
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

static int monitor(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	char *answer =
		domain ? lodge_domain_monitor_command(domain, argument(invocation, 1), 0) : NULL;
	int status;

	if (answer)
		printf("%s\n", answer);
	lodge_domain_free(domain);
	status = daemon_end(c, answer);
	free(answer);
	return status;
}

#define AFFECT_OPTIONS                                                                          \
	{ "--current", VALUE_NONE, NULL, "of what runs, else of its definition; the default" }, \
		{ "--live", VALUE_NONE, NULL, "of the guest that runs" },                       \
	{                                                                                       \
		"--config", VALUE_NONE, NULL, "of its definition: for the next start"           \
	}

static const struct command_option affect_options[] = { AFFECT_OPTIONS, CONNECT_OPTION, {} };
static const struct command_option vcpus_options[] = {
	AFFECT_OPTIONS,
	{ "--maximum", VALUE_NONE, NULL, "how many it may have" },
	CONNECT_OPTION,
	{},
};
static const struct command_option count_options[] = {
	AFFECT_OPTIONS,
	{ "--maximum", VALUE_NONE, NULL, "only how many it may have" },
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option desc_options[] = {
	AFFECT_OPTIONS,
	{ "--title", VALUE_NONE, NULL, "its title, not its description" },
	CONNECT_OPTION,
	{},
};
static const struct command_option metadata_options[] = {
	AFFECT_OPTIONS,
	{ "--set", VALUE_TEXT, "XML", "what is kept there" },
	{ "--key", VALUE_TEXT, "PREFIX", "of its names" },
	{ "--remove", VALUE_NONE, NULL, "remove it" },
	CONNECT_OPTION,
	{},
};
static const struct command_option plain_options[] = { CONNECT_OPTION, {} };

#define GUEST .arguments = "GUEST", .kind = ARGUMENT_GUEST, .arguments_min = 1, .arguments_max = 1
#define GUEST_AND(what) \
	.arguments = "GUEST " what, .kind = ARGUMENT_GUEST, .arguments_min = 2, .arguments_max = 2

const struct command commands_tune[] = {
	{ .name = "setmem",
	  GUEST_AND("SIZE"),
	  .summary = "change how much memory a guest has",
	  .options = affect_options,
	  .action = setmem },
	{ .name = "setmaxmem",
	  GUEST_AND("SIZE"),
	  .summary = "change how much memory a guest may have",
	  .options = affect_options,
	  .action = setmem },
	{ .name = "setvcpus",
	  GUEST_AND("COUNT"),
	  .summary = "change how many processors a guest has",
	  .options = vcpus_options,
	  .action = setvcpus },
	{ .name = "vcpucount",
	  GUEST,
	  .summary = "how many processors a guest has",
	  .options = count_options,
	  .action = vcpucount },
	{ .name = "desc",
	  .arguments = "GUEST [TEXT]",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 1,
	  .arguments_max = 2,
	  .summary = "show or change a guest's description or title",
	  .options = desc_options,
	  .action = desc },
	{ .name = "metadata",
	  GUEST_AND("URI"),
	  .summary = "show or change what others keep with a guest",
	  .options = metadata_options,
	  .action = metadata },
	{ .name = "domrename",
	  GUEST_AND("NAME"),
	  .summary = "call a guest by another name",
	  .options = plain_options,
	  .action = domrename },
	{ .name = "qemu-monitor-command",
	  GUEST_AND("JSON"),
	  .summary = "a command for a guest's monitor, as it is",
	  .options = plain_options,
	  .action = monitor },
	{},
};
