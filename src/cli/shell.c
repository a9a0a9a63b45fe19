/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `lodge` alone on a terminal: commands one after the other, with history and completion. Each
 * runs in a child, so that Ctrl-C ends the command and not this.
 */
#include "cli/command.h"

#include <editline/readline.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HISTORY_LINES 1000
#define WORDS_MAX     256

/* --- completion --- */

/* The words up to the cursor; the last is the one that is begun, perhaps empty. Quotes are not
 * looked at: names seldom need them. */
static GPtrArray *words_before(int start)
{
	g_autofree char *line = g_strndup(rl_line_buffer, start);
	g_auto(GStrv) parts = g_strsplit_set(line, " \t", WORDS_MAX);
	GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

	for (char **part = parts; *part; part++)
		if (**part)
			g_ptr_array_add(words, g_strdup(*part));
	return words;
}

/* As libedit wants them: what all begin with, then each, from malloc(). */
static char **matches_of(const GPtrArray *found)
{
	char **matches = calloc(found->len + 2, sizeof(*matches));
	size_t common = strlen(found->pdata[0]);

	for (unsigned i = 0; i < found->len; i++) {
		const char *one = found->pdata[i];
		size_t n = 0;

		while (n < common && one[n] == ((const char *)found->pdata[0])[n])
			n++;
		common = n;
		matches[i + 1] = strdup(one);
	}
	matches[0] = strndup(found->pdata[0], common);
	return matches;
}

static char **complete(const char *begun, int start, int end)
{
	g_autoptr(GPtrArray) words = words_before(start);
	g_autoptr(GPtrArray) found = NULL;
	bool files = false;

	g_ptr_array_add(words, g_strdup(begun));
	found = complete_words(words->len, (char **)words->pdata);
	for (unsigned i = 0; i < found->len; i++)
		files = files || !strcmp(found->pdata[i], COMPLETE_FILE);
	rl_attempted_completion_over = !files; /* else libedit completes names of files */
	return found->len && !files ? matches_of(found) : NULL;
}

/* --- commands of its own --- */

static void change_folder(int argc, char **argv)
{
	const char *to = argc > 1 ? argv[1] : g_get_home_dir();

	if (chdir(to))
		fprintf(stderr, "lodge: %s: %s\n", to, g_strerror(errno));
}

static void print_folder(int argc, char **argv)
{
	g_autofree char *folder = g_get_current_dir();

	printf("%s\n", folder);
}

/* What the commands after this ask, as `lodge --connect URI`. */
static void choose_daemon(int argc, char **argv)
{
	if (argc > 1)
		g_setenv("LODGE_URI", argv[1], TRUE);
	else
		g_unsetenv("LODGE_URI");
}

static const struct {
	const char *name, *summary;
	void (*run)(int argc, char **argv);
} builtins[] = {
	{ "cd", "go to another folder", change_folder },
	{ "connect", "ask the daemon at this URI from now on", choose_daemon },
	{ "exit", "leave; also quit, and Ctrl-D", NULL },
	{ "pwd", "which folder this is", print_folder },
	{ "quit", "leave", NULL },
};

static int find_builtin(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(builtins); i++)
		if (!strcmp(builtins[i].name, name))
			return i;
	return -1;
}

static void help(int argc, char **argv)
{
	const struct command *command = argc > 1 ? command_find(argv[1]) : NULL;

	if (command) {
		help_print_command(command);
		return;
	}
	help_print();
	printf("\nHere also:\n");
	for (unsigned i = 0; i < G_N_ELEMENTS(builtins); i++)
		printf("  %-28s%s\n", builtins[i].name, builtins[i].summary);
}

/* --- one line after the other --- */

static void run_in_child(int argc, char **argv)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		signal(SIGINT, SIG_DFL);
		status = invoke(argc, argv);
		fflush(NULL);
		_exit(status);
	}
	if (pid < 0) {
		fprintf(stderr, "lodge: %s\n", g_strerror(errno));
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		printf("\n");
}

/* False: it was the last one. */
static bool run_line(const char *line)
{
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) argv = NULL;
	int argc, builtin;

	if (!g_shell_parse_argv(line, &argc, &argv, &error)) {
		if (!g_error_matches(error, G_SHELL_ERROR, G_SHELL_ERROR_EMPTY_STRING))
			fprintf(stderr, "lodge: %s\n", error->message);
		return true;
	}
	builtin = find_builtin(argv[0]);
	if (!strcmp(argv[0], "help"))
		help(argc, argv);
	else if (builtin >= 0 && !builtins[builtin].run)
		return false;
	else if (builtin >= 0)
		builtins[builtin].run(argc, argv);
	else
		run_in_child(argc, argv);
	return true;
}

static char *history_path(void)
{
	g_autofree char *folder = g_build_filename(g_get_user_state_dir(), "lodge", NULL);

	g_mkdir_with_parents(folder, 0700);
	return g_build_filename(folder, "history", NULL);
}

static void ignore(int number)
{
}

int shell_run(void)
{
	struct sigaction action = { .sa_handler = ignore };
	g_autofree char *path = history_path();
	bool more = true;
	char *line;

	rl_readline_name = "lodge";
	rl_initialize();
	rl_attempted_completion_function = complete;
	using_history();
	stifle_history(HISTORY_LINES);
	read_history(path);
	sigaction(SIGINT, &action, NULL);
	printf("Commands of lodge, one a line; 'help' lists them, Tab completes, 'exit' leaves.\n");
	while (more) {
		line = readline("lodge> ");
		if (!line) {
			printf("\n");
			break;
		}
		if (*g_strstrip(line)) {
			add_history(line);
			write_history(path);
		}
		more = run_line(line);
		free(line);
	}
	return 0;
}
