/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that make and remove definitions of guests. */
#include "cli/daemon.h"
#include "cli/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct lodge_domain *make_fn(struct lodge_connection *connection, const char *xml,
				     const struct passed_files *files, unsigned flags);

/* Of a guest that is off: what keeps it from starting, if anything does. One that runs has had what
 * is said of it. */
static void say_messages(struct lodge_domain *domain)
{
	char **messages = lodge_domain_is_active(domain) ? NULL : lodge_domain_messages(domain, 0);

	for (unsigned i = 0; messages && messages[i]; i++)
		fprintf(stderr, "lodge: note: guest '%s': %s\n", lodge_domain_name(domain),
			messages[i]);
	lodge_messages_free(messages);
}

/* @done: what is said, with the guest's name and the file's. */
static int make(const struct invocation *invocation, make_fn *fn, unsigned flags, const char *done)
{
	struct passed_files files;
	g_autofree char *xml =
		files_read(invocation, &files) ? daemon_read_file(argument(invocation, 0)) : NULL;
	struct lodge_connection *c = xml ? daemon_connect(invocation, 0) : NULL;
	struct lodge_domain *domain = c ? fn(c, xml, &files, flags) : NULL;
	int status;

	if (domain) {
		printf("Guest '%s' %s %s\n", lodge_domain_name(domain), done,
		       daemon_file_name(argument(invocation, 0)));
		say_messages(domain);
	}
	status = daemon_end(c, domain);
	lodge_domain_free(domain);
	return status;
}

static struct lodge_domain *define_one(struct lodge_connection *connection, const char *xml,
				       const struct passed_files *files, unsigned flags)
{
	return lodge_domain_define(connection, xml, flags);
}

static struct lodge_domain *create_one(struct lodge_connection *connection, const char *xml,
				       const struct passed_files *files, unsigned flags)
{
	if (!files->count)
		return lodge_domain_create(connection, xml, flags);
	return lodge_domain_create_with_files(connection, xml, files->fds, files->count, flags);
}

static int define(const struct invocation *invocation)
{
	return make(invocation, define_one, daemon_define_flags(invocation), "defined from");
}

int definitions_create(const struct invocation *invocation)
{
	unsigned flags = (invocation_has(invocation, "--paused") ? LODGE_START_PAUSED : 0) |
			 (invocation_has(invocation, "--validate") ? LODGE_START_VALIDATE : 0);

	return make(invocation, create_one, flags, "created from");
}

static unsigned undefine_flags(const struct invocation *invocation)
{
	return (invocation_has(invocation, "--managed-save") ? LODGE_UNDEFINE_MANAGED_SAVE : 0) |
	       (invocation_has(invocation, "--snapshots-metadata")
			? LODGE_UNDEFINE_SNAPSHOTS_METADATA
			: 0) |
	       (invocation_has(invocation, "--nvram") ? LODGE_UNDEFINE_NVRAM : 0) |
	       (invocation_has(invocation, "--keep-nvram") ? LODGE_UNDEFINE_KEEP_NVRAM : 0);
}

static bool delete_volumes(const GPtrArray *volumes)
{
	for (unsigned i = 0; i < volumes->len; i++) {
		if (lodge_volume_delete(volumes->pdata[i], 0))
			return false;
		printf("Volume '%s' deleted\n", lodge_volume_name(volumes->pdata[i]));
	}
	return true;
}

static int undefine(const struct invocation *invocation)
{
	const char *list = invocation_value(invocation, "--storage");
	bool all = invocation_has(invocation, "--remove-all-storage"), said = false, good;
	bool with_storage = all || list;
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	GPtrArray *volumes = NULL;

	if (domain && with_storage && lodge_domain_is_active(domain) > 0) {
		fprintf(stderr,
			"lodge undefine: guest '%s' runs: its disks are deleted when it is off\n",
			lodge_domain_name(domain));
		lodge_domain_free(domain);
		lodge_connection_free(c);
		return 1;
	}
	if (domain && with_storage)
		volumes = all ? delete_find_volumes(c, domain)
			      : delete_find_listed(c, domain, list, &said);
	good = domain && (volumes || !with_storage) &&
	       !lodge_domain_undefine(domain, undefine_flags(invocation));
	if (good)
		printf("Guest '%s' has been undefined\n", lodge_domain_name(domain));
	if (volumes) {
		good = good && delete_volumes(volumes);
		g_ptr_array_unref(volumes);
	}
	lodge_domain_free(domain);
	if (!said)
		return daemon_end(c, good);
	lodge_connection_free(c);
	return 1;
}

static int autostart(const struct invocation *invocation)
{
	bool on = !invocation_has(invocation, "--disable");
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	bool good = domain && !lodge_domain_set_autostart(domain, on, 0);

	if (good)
		printf("Guest '%s' %s with the daemon\n", lodge_domain_name(domain),
		       on ? "starts" : "no longer starts");
	lodge_domain_free(domain);
	return daemon_end(c, good);
}

static const struct command_option define_options[] = {
	VALIDATE_OPTION,
	CONNECT_OPTION,
	{},
};
static const struct command_option undefine_options[] = {
	{ "--managed-save", VALUE_NONE, NULL, "with its saved state" },
	{ "--snapshots-metadata", VALUE_NONE, NULL, "with what is known of its snapshots" },
	{ "--nvram", VALUE_NONE, NULL, "with its firmware's variables" },
	{ "--keep-nvram", VALUE_NONE, NULL, "without its firmware's variables" },
	{ "--storage", VALUE_TEXT, "DISK,...",
	  "delete these of its disks, too, by target or path: all that is on them" },
	{ "--remove-all-storage", VALUE_NONE, NULL,
	  "delete its own disks that are volumes, too: all that is on them" },
	CONNECT_OPTION,
	{},
};
static const struct command_option autostart_options[] = {
	{ "--disable", VALUE_NONE, NULL, "no longer" },
	CONNECT_OPTION,
	{},
};

#define FILE_ARGUMENT \
	.arguments = "FILE.xml", .kind = ARGUMENT_FILE, .arguments_min = 1, .arguments_max = 1
#define GUEST .arguments = "GUEST", .kind = ARGUMENT_GUEST, .arguments_min = 1, .arguments_max = 1

const struct command commands_definitions[] = {
	{ .name = "define",
	  FILE_ARGUMENT,
	  .summary = "add or change a guest's definition",
	  .description = "Adds the guest that a domain XML describes, or changes the one of that "
			 "name and\n"
			 "UUID; '-' reads the XML from standard input. It is not started.\n"
			 "What keeps it from starting in this version is noted on standard error.",
	  .options = define_options,
	  .action = define },
	{ .name = "undefine",
	  GUEST,
	  .summary = "remove a guest's definition",
	  .description = "Removes the definition, and none of its disks unless that is asked for. "
			 "A guest that runs goes on "
			 "until it "
			 "ends.",
	  .options = undefine_options,
	  .action = undefine },
	{ .name = "autostart",
	  GUEST,
	  .summary = "start a guest with the daemon",
	  .options = autostart_options,
	  .action = autostart },
	{},
};
