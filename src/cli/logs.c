/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge logs: what a guest's process has to say, and what its console said where that is kept. The
 * protocol has no call for logs, so they are read where the daemon writes them (lodged(8)): that is
 * known from its socket, and is on this host alone.
 */
#include "cli/logs.h"

#include "base/file.h"
#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK      65536
#define LOOK_EACH  200 /* milliseconds, with --follow */
#define SYSTEM_LOG "/var/log/lodge"

char *logs_own_folder(void)
{
	return g_build_filename(g_get_user_state_dir(), "lodge", NULL);
}

char *logs_folder(const char *uri)
{
	g_autofree char *root = daemon_root(uri);
	char *socket = lodge_connection_socket(uri, 0);
	char *folder = NULL;

	if (root)
		folder = g_build_filename(root, "log", NULL);
	else if (socket && g_str_has_prefix(socket, "/run/libvirt/"))
		folder = g_strdup(SYSTEM_LOG);
	else if (socket && g_str_has_prefix(socket, g_get_user_runtime_dir()))
		folder = g_build_filename(g_get_user_state_dir(), "lodge", "session", NULL);
	free(socket);
	return folder;
}

/* The guest's log in one of the folders; NULL: it has been said why not. */
static char *find_log(const char *uri, const char *guest, bool console)
{
	g_autofree char *daemons = logs_folder(uri), *own = logs_own_folder();
	const char *const folders[] = { daemons ? daemons : own, own };
	g_autofree char *name = g_strconcat(guest, console ? ".console.log" : ".log", NULL);

	if (strchr(guest, '/')) {
		fprintf(stderr, "lodge logs: '%s' is no name of a guest\n", guest);
		return NULL;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autofree char *path = g_build_filename(folders[i], name, NULL);

		if (!access(path, R_OK))
			return g_steal_pointer(&path);
		if (errno != ENOENT) {
			fprintf(stderr, "lodge logs: %s: %s\n", path, g_strerror(errno));
			return NULL;
		}
	}
	fprintf(stderr, "lodge logs: there is no %s of a guest '%s' in %s%s%s\n",
		console ? "console log" : "log", guest, folders[0],
		strcmp(folders[0], own) ? " or " : "", strcmp(folders[0], own) ? own : "");
	return NULL;
}

/* Where the last @lines lines of @fd begin. */
static off_t find_lines(int fd, guint64 lines)
{
	off_t at = lseek(fd, 0, SEEK_END);
	char bytes[CHUNK];
	guint64 seen = 0;
	bool last = true; /* the end of the last line begins no other */

	while (at > 0) {
		off_t from = MAX(0, at - CHUNK);
		ssize_t n = pread(fd, bytes, at - from, from);

		if (n <= 0)
			return 0;
		while (n--) {
			if (bytes[n] == '\n' && !last && ++seen == lines)
				return from + n + 1;
			last = false;
		}
		at = from;
	}
	return 0;
}

static bool print_rest(int fd)
{
	char bytes[CHUNK];
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		if (!write_all(STDOUT_FILENO, bytes, n))
			return false;
	return !n;
}

/* The log is renamed when it has become large: then another file has its name. */
static int reopened(const char *path, int fd)
{
	struct stat named, open_file;
	int new;

	if (stat(path, &named) || fstat(fd, &open_file) || named.st_ino == open_file.st_ino)
		return fd;
	new = open(path, O_RDONLY | O_CLOEXEC);
	if (new < 0)
		return fd;
	close(fd);
	return new;
}

static int logs(const struct invocation *invocation)
{
	const char *text = invocation_value(invocation, "--lines");
	bool follow = invocation_has(invocation, "--follow"), good;
	g_autofree char *path = NULL;
	guint64 lines = 0;
	int fd;

	if (text && !g_ascii_string_to_unsigned(text, 10, 1, G_MAXUINT32, &lines, NULL)) {
		fprintf(stderr, "lodge logs: --lines: '%s' is no number from 1 on\n", text);
		return EXIT_USAGE;
	}
	path = find_log(invocation_value(invocation, "--connect"), argument(invocation, 0),
			invocation_has(invocation, "--console"));
	fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return 1;
	lseek(fd, lines ? find_lines(fd, lines) : 0, SEEK_SET);
	good = print_rest(fd);
	while (good && follow) {
		poll(NULL, 0, LOOK_EACH);
		good = print_rest(fd);
		if (good)
			fd = reopened(path, fd);
	}
	close(fd);
	return good ? 0 : 1;
}

static const struct command_option options[] = {
	{ "--console", VALUE_NONE, NULL, "what its console said, where that is kept" },
	{ "--lines", VALUE_TEXT, "COUNT", "only so many of the last" },
	{ "--follow", VALUE_NONE, NULL, "go on with what is written, until Ctrl-C" },
	CONNECT_OPTION,
	{},
};

const struct command commands_logs[] = {
	{ .name = "logs",
	  .arguments = "GUEST",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "a guest's log",
	  .description = "Prints what happened to a guest, over all its starts: of a daemon's on "
			 "this host, or of 'lodge run'.\n"
			 "It need not be defined any more.",
	  .options = options,
	  .action = logs },
	{},
};
