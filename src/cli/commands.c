/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of commands. */
#include "cli/command.h"

#include <string.h>

const struct command *const commands[] = { &command_run, NULL };

const struct command *command_find(const char *name)
{
	for (const struct command *const *command = commands; *command; command++)
		if (!strcmp((*command)->name, name))
			return *command;
	return NULL;
}

const struct command_option *command_option_find(const struct command *command, const char *name,
						 size_t length)
{
	for (const struct command_option *option = command->options; option->name; option++)
		if (strlen(option->name) == length && !strncmp(option->name, name, length))
			return option;
	return NULL;
}
