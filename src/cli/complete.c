/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Completion for shells: `lodge --complete WORD...` prints one candidate a line for the last word.
 * COMPLETE_FILE, "<file>", means that a file name fits, which the shell knows better how to
 * complete.
 */
#include "cli/daemon.h"

#include <stdio.h>
#include <string.h>

static void add_if(GPtrArray *found, const char *candidate, const char *begun)
{
	if (g_str_has_prefix(candidate, begun))
		g_ptr_array_add(found, g_strdup(candidate));
}

static void add_values(GPtrArray *found, const struct command_option *option, const char *begun)
{
	char **words;

	if (option->kind == VALUE_FILE) {
		g_ptr_array_add(found, g_strdup(COMPLETE_FILE));
		return;
	}
	if (option->kind != VALUE_WORD)
		return;
	words = g_strsplit(option->value, "|", -1);
	for (char **word = words; *word; word++)
		add_if(found, *word, begun);
	g_strfreev(words);
}

static void add_arguments(GPtrArray *found, const struct command *command, const char *begun)
{
	GPtrArray *names;

	if (!command->arguments_max)
		return;
	if (command->kind == ARGUMENT_FILE) {
		g_ptr_array_add(found, g_strdup(COMPLETE_FILE));
		return;
	}
	names = daemon_names(command->kind);
	for (unsigned i = 0; i < names->len; i++)
		add_if(found, names->pdata[i], begun);
	g_ptr_array_unref(names);
}

static void add_words(GPtrArray *found, int count, char **words)
{
	const char *begun = count ? words[count - 1] : "";
	const struct command *command = count > 1 ? command_find(words[0]) : NULL;
	const struct command_option *before = NULL;

	if (!command) {
		for (unsigned i = 0; (command = command_at(i)); i++)
			add_if(found, command->name, begun);
		return;
	}
	if (count > 2)
		before = command_option_find(command, words[count - 2], strlen(words[count - 2]));
	if (before && before->kind != VALUE_NONE) {
		add_values(found, before, begun);
		return;
	}
	if (*begun != '-') {
		add_arguments(found, command, begun);
		return;
	}
	for (const struct command_option *option = command->options; option->name; option++)
		add_if(found, option->name, begun);
	add_if(found, "--help", begun);
}

GPtrArray *complete_words(int count, char **words)
{
	GPtrArray *found = g_ptr_array_new_with_free_func(g_free);

	add_words(found, count, words);
	return found;
}

void complete_print(int count, char **words)
{
	g_autoptr(GPtrArray) found = complete_words(count, words);

	for (unsigned i = 0; i < found->len; i++)
		printf("%s\n", (const char *)found->pdata[i]);
}
