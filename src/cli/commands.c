/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of commands. */
#include "cli/command.h"

#include <string.h>

static const struct command *const groups[] = {
	&command_run,         commands_create,       commands_guests,   commands_life,
	commands_definitions, commands_edit,         commands_delete,   commands_import,
	commands_tune,        commands_limits,       commands_pins,     commands_devices,
	commands_details,     commands_statistics,   commands_networks, commands_pools,
	commands_volumes,     commands_secrets,      commands_streams,  commands_bridge,
	commands_top,         commands_logs,         commands_host,     commands_processors,
	commands_nodes,       commands_node_devices, commands_doctor,   commands_report
};

/* A group ends with a command that has no name; the first is one command. */
const struct command *command_at(unsigned index)
{
	if (!index--)
		return groups[0];
	for (unsigned i = 1; i < G_N_ELEMENTS(groups); i++)
		for (const struct command *command = groups[i]; command->name; command++)
			if (!index--)
				return command;
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
