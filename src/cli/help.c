/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --help, out of the tables. */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#define COLUMN 30 /* where the text behind a name begins */

void help_print(void)
{
	const struct command *command;

	printf("Usage: lodge [--connect URI] COMMAND [OPTION...] [ARGUMENT...]\n");
	for (unsigned i = 0; (command = command_at(i)); i++) {
		if (command_title(command))
			printf("\n%s:\n", command_title(command));
		printf("  %-*s%s\n", COLUMN - 2, command->name, command->summary);
	}
	printf("\n'lodge COMMAND --help' describes one; 'lodge --version' says which this is.\n");
}

void help_print_command(const struct command *command)
{
	printf("Usage: lodge %s [OPTION...]%s%s\n\n%s\n\nOptions:\n", command->name,
	       *command->arguments ? " " : "", command->arguments,
	       command->description ? command->description : command->summary);
	for (const struct command_option *option = command->options; option->name; option++) {
		char *left = g_strdup_printf("  %s%s%s", option->name, option->value ? " " : "",
					     option->value ? option->value : "");

		if (strlen(left) >= COLUMN)
			printf("%s\n%*s", left, COLUMN, "");
		else
			printf("%-*s", COLUMN, left);
		printf("%s\n", option->help);
		g_free(left);
	}
	printf("  %-*s%s\n", COLUMN - 2, "--help", "this text");
}
