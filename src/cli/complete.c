/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Completion for shells: `lodge --complete WORD...` prints one candidate a line for the last word.
 * A line "<file>" means that a file name fits, which the shell knows better how to complete.
 */
#include "cli/daemon.h"

#include <stdio.h>
#include <string.h>

static void print_if(const char *candidate, const char *begun)
{
	if (g_str_has_prefix(candidate, begun))
		printf("%s\n", candidate);
}

static void print_values(const struct command_option *option, const char *begun)
{
	char **words;

	if (option->kind == VALUE_FILE) {
		printf("<file>\n");
		return;
	}
	if (option->kind != VALUE_WORD)
		return;
	words = g_strsplit(option->value, "|", -1);
	for (char **word = words; *word; word++)
		print_if(*word, begun);
	g_strfreev(words);
}

static void print_arguments(const struct command *command, const char *begun)
{
	GPtrArray *names;

	if (!command->arguments_max)
		return;
	if (command->kind == ARGUMENT_FILE) {
		printf("<file>\n");
		return;
	}
	names = daemon_names(command->kind);
	for (unsigned i = 0; i < names->len; i++)
		print_if(names->pdata[i], begun);
	g_ptr_array_unref(names);
}

void complete_print(int count, char **words)
{
	const char *begun = count ? words[count - 1] : "";
	const struct command *command = count > 1 ? command_find(words[0]) : NULL;
	const struct command_option *before = NULL;

	if (!command) {
		for (unsigned i = 0; (command = command_at(i)); i++)
			print_if(command->name, begun);
		return;
	}
	if (count > 2)
		before = command_option_find(command, words[count - 2], strlen(words[count - 2]));
	if (before && before->kind != VALUE_NONE) {
		print_values(before, begun);
		return;
	}
	if (*begun != '-') {
		print_arguments(command, begun);
		return;
	}
	for (const struct command_option *option = command->options; option->name; option++)
		print_if(option->name, begun);
	print_if("--help", begun);
}
