/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a command's words to its exit status. */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

int invoke(int argc, char **argv)
{
	const struct command *command = command_find(argv[0]);
	struct invocation *invocation;
	GError *error = NULL;
	int status;

	if (!command) {
		g_autofree char *reason = absent_reason(argv[0]);

		if (reason)
			fprintf(stderr, "lodge: %s\n", reason);
		else if (command_like(argv[0]))
			fprintf(stderr,
				"lodge: there is no command '%s'; did you mean '%s'? See lodge "
				"--help\n",
				argv[0], command_like(argv[0]));
		else
			fprintf(stderr, "lodge: there is no command '%s'; see lodge --help\n",
				argv[0]);
		return EXIT_USAGE;
	}
	if (asks_for_help(argc - 1, argv + 1)) {
		help_print_command(command);
		return 0;
	}
	invocation = invocation_parse(command, argc - 1, argv + 1, &error);
	if (!invocation) {
		fprintf(stderr, "lodge %s\n", error->message);
		g_clear_error(&error);
		return EXIT_USAGE;
	}
	status = command->action(invocation);
	invocation_free(invocation);
	return status;
}
