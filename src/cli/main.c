/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lodge: the command line. */
#include "cli/command.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
	if (!word && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		return shell_run();
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
	return invoke(argc - 1, argv + 1);
}
