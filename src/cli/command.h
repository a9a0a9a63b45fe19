/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands of `lodge`: one row each. The table makes the parser, --help and the completion;
 * a test holds the manual page against it.
 *
 * An option is written "--name VALUE" or "--name=VALUE"; a flag takes no value.
 */
#ifndef LODGE_CLI_COMMAND_H
#define LODGE_CLI_COMMAND_H

#include <glib.h>
#include <stdbool.h>

#define EXIT_USAGE 2

enum value_kind {
	VALUE_NONE, /* a flag */
	VALUE_TEXT,
	VALUE_FILE, /* for completion */
	VALUE_WORD, /* one of `value`, which lists them as "a|b|c" */
};

struct command_option {
	const char *name; /* "--engine" */
	enum value_kind kind;
	const char *value; /* how help calls the value: "auto|kvm|soft", "SECONDS" */
	const char *help;
	bool many; /* may be given more than once */
};

/* What the first argument is, for completion. */
enum argument_kind {
	ARGUMENT_FILE,
	ARGUMENT_GUEST,
	ARGUMENT_NETWORK,
	ARGUMENT_POOL,
	ARGUMENT_TEXT
};

struct invocation;

struct command {
	const char *name;
	const char *arguments; /* "[GUEST.xml]" */
	enum argument_kind kind;
	unsigned arguments_min, arguments_max;
	const char *summary; /* one line */
	const char *description;
	const struct command_option *options; /* ends with a NULL name */
	int (*action)(const struct invocation *invocation);
};

/* One command line, parsed. */
struct invocation {
	const struct command *command;
	GPtrArray *arguments; /* const char * */
	GHashTable *values;   /* option name -> GPtrArray of const char * */
};

/* --- run.c --- */
extern const struct command command_run;

/* --- those that ask a daemon: by the file, in the order of the help --- */
extern const struct command commands_create[], commands_guests[], commands_life[],
	commands_definitions[], commands_networks[], commands_pools[], commands_volumes[],
	commands_streams[], commands_bridge[], commands_top[], commands_devices[], commands_edit[],
	commands_secrets[], commands_statistics[], commands_tune[], commands_logs[],
	commands_report[], commands_delete[], commands_import[], commands_doctor[], commands_host[],
	commands_limits[], commands_pins[], commands_details[], commands_processors[],
	commands_nodes[], commands_node_devices[], commands_interfaces[], commands_events[],
	commands_plug[], commands_amend[];

/* --- commands.c --- */
/* The command at @index in the order of the help, or NULL after the last. */
const struct command *command_at(unsigned index);
const struct command *command_find(const char *name);
/* The heading that the help has in front of @command, or NULL. */
const char *command_title(const struct command *command);
/* The name that was perhaps meant, or NULL. */
const char *command_like(const char *name);
const struct command_option *command_option_find(const struct command *command, const char *name,
						 size_t length);

/* --- parse.c --- */
/* NULL with @error set when the words do not fit the command; free with invocation_free(). */
struct invocation *invocation_parse(const struct command *command, int argc, char **argv,
				    GError **error);
void invocation_free(struct invocation *invocation);
bool invocation_has(const struct invocation *invocation, const char *option);
/* The last value given, or NULL. */
const char *invocation_value(const struct invocation *invocation, const char *option);
/* The value at @index of an option that may be given more than once, or NULL after the last. */
const char *invocation_nth(const struct invocation *invocation, const char *option, unsigned index);

/* --- invoke.c --- */
/* Runs the command that argv[0] names with the words after it; the exit status. */
int invoke(int argc, char **argv);

/* --- absent.c --- */
/* Why there is no command of this name, which virsh has: for g_free(). NULL: virsh has none. */
char *absent_reason(const char *name);

/* --- shell.c --- */
/* Commands from a terminal, until somebody leaves; the exit status. */
int shell_run(void);

/* --- help.c --- */
void help_print(void);
void help_print_command(const struct command *command);

/* --- complete.c --- */
#define COMPLETE_FILE "<file>" /* a name of a file fits */
/* What may stand where the last of @words is; for g_ptr_array_unref(). */
GPtrArray *complete_words(int count, char **words);
/* Prints what may stand where the last of @words is; for the shell's completion script. */
void complete_print(int count, char **words);

#endif
