/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that start, stop and steer guests. */
#include "cli/daemon.h"
#include "cli/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int life_fn(struct lodge_domain *domain, unsigned flags);

/* What each command calls, and what it then says of the guest. */
static const struct {
	const char *name, *done;
	life_fn *fn;
} lives[] = {
	{ "start", "started", lodge_domain_start },
	{ "shutdown", "is being shut down", lodge_domain_shutdown },
	{ "reboot", "is being rebooted", lodge_domain_reboot },
	{ "destroy", "destroyed", lodge_domain_destroy },
	{ "reset", "was reset", lodge_domain_reset },
	{ "suspend", "suspended", lodge_domain_suspend },
	{ "resume", "resumed", lodge_domain_resume },
};

static unsigned life_flags(const struct invocation *invocation)
{
	const char *mode = invocation_value(invocation, "--mode");
	unsigned flags = 0;

	if (invocation_has(invocation, "--paused"))
		flags |= LODGE_START_PAUSED;
	if (invocation_has(invocation, "--graceful"))
		flags |= 1; /* VIR_DOMAIN_DESTROY_GRACEFUL */
	if (mode)
		flags |= !strcmp(mode, "acpi")
				 ? 1
				 : 2; /* VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN, GUEST_AGENT */
	return flags;
}

/* *@said: it has been said why not. */
static bool start(const struct invocation *invocation, struct lodge_domain *domain, bool *said)
{
	unsigned flags = life_flags(invocation);
	struct passed_files files;

	*said = !files_read(invocation, &files);
	if (*said || !files_associate_all(invocation, domain, said))
		return false;
	return !(files.count ? lodge_domain_start_with_files(domain, files.fds, files.count, flags)
			     : lodge_domain_start(domain, flags));
}

static int live(const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	bool good, said = false;
	unsigned i = 0;

	while (strcmp(lives[i].name, invocation->command->name))
		i++;
	if (lives[i].fn == lodge_domain_start)
		good = domain && start(invocation, domain, &said);
	else
		good = domain && !lives[i].fn(domain, life_flags(invocation));
	if (good)
		printf("Guest '%s' %s\n", lodge_domain_name(domain), lives[i].done);
	if (good && invocation_has(invocation, "--console")) {
		fflush(stdout);
		good = console_open(c, domain, NULL, 0);
	}
	lodge_domain_free(domain);
	if (!said)
		return daemon_end(c, good);
	lodge_connection_free(c);
	return 1;
}

static const struct command_option plain_options[] = { CONNECT_OPTION, {} };
static const struct command_option start_options[] = {
	{ "--paused", VALUE_NONE, NULL, "stop it before its first instruction" },
	{ "--console", VALUE_NONE, NULL, "connect this terminal to its console" },
	FILES_OPTION,
	{ "--fd-group", VALUE_TEXT, "NAME=N,...",
	  "open files that are its <source fdgroup='NAME'/>", true },
	CONNECT_OPTION,
	{},
};
static const struct command_option mode_options[] = {
	{ "--mode", VALUE_WORD, "acpi|agent", "press the power button, or ask the guest's agent" },
	CONNECT_OPTION,
	{},
};
static const struct command_option destroy_options[] = {
	{ "--graceful", VALUE_NONE, NULL, "only if it ends without being killed" },
	CONNECT_OPTION,
	{},
};

#define GUEST                                                                                 \
	.arguments = "GUEST", .kind = ARGUMENT_GUEST, .arguments_min = 1, .arguments_max = 1, \
	.action = live

const struct command commands_life[] = {
	{ .name = "start", GUEST, .summary = "start a guest", .options = start_options },
	{ .name = "shutdown",
	  GUEST,
	  .summary = "ask a guest to power off",
	  .description = "Asks the guest to power off, as pressing its power button does. It may "
			 "take its\n"
			 "time, or not listen; 'lodge destroy' does not ask.",
	  .options = mode_options },
	{ .name = "reboot",
	  GUEST,
	  .summary = "ask a guest to start anew",
	  .options = mode_options },
	{ .name = "destroy",
	  GUEST,
	  .summary = "end a guest at once",
	  .description = "Ends a guest as pulling its plug does. Its definition stays.",
	  .options = destroy_options },
	{ .name = "reset",
	  GUEST,
	  .summary = "reset a guest, as its button does",
	  .options = plain_options },
	{ .name = "suspend", GUEST, .summary = "pause a guest", .options = plain_options },
	{ .name = "resume",
	  GUEST,
	  .summary = "let a paused guest go on",
	  .options = plain_options },
	{},
};
