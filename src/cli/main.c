/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lodge: the command line. */
#include "cli/command.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

static int run_command(const struct command *command, int argc, char **argv)
{
	GError *error = NULL;
	struct invocation *invocation;
	int status;

	if (asks_for_help(argc, argv)) {
		help_print_command(command);
		return 0;
	}
	invocation = invocation_parse(command, argc, argv, &error);
	if (!invocation) {
		fprintf(stderr, "lodge %s\n", error->message);
		g_clear_error(&error);
		return EXIT_USAGE;
	}
	status = command->action(invocation);
	invocation_free(invocation);
	return status;
}

int main(int argc, char **argv)
{
	const struct command *command;
	const char *word;

	setlocale(LC_ALL, "");
	if (argc > 2 && (!strcmp(argv[1], "--connect") || !strcmp(argv[1], "-c"))) {
		g_setenv("LODGE_URI", argv[2], TRUE);
		argc -= 2;
		argv += 2;
	}
	word = argc > 1 ? argv[1] : NULL;
	if (!word || !strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
		command = word && argc > 2 ? command_find(argv[2]) : NULL;
		if (command)
			help_print_command(command);
		else
			help_print();
		return word ? 0 : EXIT_USAGE;
	}
	if (!strcmp(word, "--version")) {
		printf("lodge " LODGE_VERSION "\n");
		return 0;
	}
	if (!strcmp(word, "--complete")) {
		complete_print(argc - 2, argv + 2);
		return 0;
	}
	command = command_find(word);
	if (!command) {
		fprintf(stderr, "lodge: there is no command '%s'; see lodge --help\n", word);
		return EXIT_USAGE;
	}
	return run_command(command, argc - 2, argv + 2);
}
