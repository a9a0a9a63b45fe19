/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of commands. */
#include "cli/command.h"

#include <string.h>

#define NAME_MAX_CHARS 32 /* of what is compared with names */

static const struct {
	const char *title; /* of a heading in front of it; NULL: none */
	const struct command *rows;
} groups[] = {
	{ "Guests", &command_run },
	{ NULL, commands_create },
	{ NULL, commands_guests },
	{ NULL, commands_life },
	{ NULL, commands_definitions },
	{ NULL, commands_edit },
	{ NULL, commands_delete },
	{ NULL, commands_import },
	{ "What guests have, and may take", commands_tune },
	{ NULL, commands_limits },
	{ NULL, commands_pins },
	{ NULL, commands_devices },
	{ NULL, commands_plug },
	{ NULL, commands_amend },
	{ NULL, commands_details },
	{ "What guests have done", commands_statistics },
	{ "Networks", commands_networks },
	{ "Storage", commands_pools },
	{ NULL, commands_volumes },
	{ "Secrets", commands_secrets },
	{ "Consoles, contents of volumes, logs", commands_streams },
	{ NULL, commands_bridge },
	{ NULL, commands_top },
	{ NULL, commands_logs },
	{ NULL, commands_events },
	{ "The host and its daemon", commands_host },
	{ NULL, commands_processors },
	{ NULL, commands_nodes },
	{ NULL, commands_node_devices },
	{ NULL, commands_interfaces },
	{ NULL, commands_doctor },
	{ NULL, commands_report },
};

/* A group ends with a command that has no name; the first is one command. */
const struct command *command_at(unsigned index)
{
	if (!index--)
		return groups[0].rows;
	for (unsigned i = 1; i < G_N_ELEMENTS(groups); i++)
		for (const struct command *command = groups[i].rows; command->name; command++)
			if (!index--)
				return command;
	return NULL;
}

const char *command_title(const struct command *command)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++)
		if (groups[i].rows == command)
			return groups[i].title;
	return NULL;
}

const struct command *command_find(const char *name)
{
	const struct command *command;

	for (unsigned i = 0; (command = command_at(i)); i++)
		if (!strcmp(command->name, name))
			return command;
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

/* How many letters have to be changed, put in or left out to make one of the other. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_CHARS + 1], length = strlen(b);

	if (length > NAME_MAX_CHARS || strlen(a) > NAME_MAX_CHARS)
		return G_MAXUINT;
	for (unsigned j = 0; j <= length; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= length; j++) {
			unsigned kept = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(kept, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[length];
}

const char *command_like(const char *name)
{
	unsigned least = strlen(name) > 4 ? 3 : 2; /* that is too far */
	const struct command *command;
	const char *like = NULL;

	for (unsigned i = 0; (command = command_at(i)); i++) {
		unsigned far = distance(name, command->name);

		if (far < least) {
			least = far;
			like = command->name;
		}
	}
	return like;
}
