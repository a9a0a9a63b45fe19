/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One command over a guest's monitor: QMP's greeting, negotiation, command, answer. */
#include "launch/private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_BYTES_MAX 65536

static bool fail(GError **error, const char *what)
{
	g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN, "the guest's monitor %s", what);
	return false;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The next line that is no event, parsed; NULL when none came before @deadline. */
static json_t *next_answer(int fd, GString *pending, gint64 deadline)
{
	for (;;) {
		char *end = memchr(pending->str, '\n', pending->len), chunk[4096];
		gint64 left = (deadline - g_get_monotonic_time()) / 1000;
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		json_t *answer;
		ssize_t n;

		if (end) {
			answer = json_loadb(pending->str, end - pending->str, 0, NULL);
			g_string_erase(pending, 0, end - pending->str + 1);
			if (!answer || !json_object_get(answer, "event"))
				return answer;
			json_decref(answer);
			continue;
		}
		if (left <= 0 || pending->len > LINE_BYTES_MAX || poll(&wait, 1, left) <= 0)
			return NULL;
		n = read(fd, chunk, sizeof(chunk));
		if (n <= 0)
			return NULL;
		g_string_append_len(pending, chunk, n);
	}
}

/* Takes over @command. */
static bool execute(int fd, GString *pending, json_t *command, gint64 deadline, GError **error)
{
	char *text = json_dumps(command, JSON_COMPACT), *line = g_strconcat(text, "\n", NULL);
	bool sent = send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line);
	json_t *answer = sent ? next_answer(fd, pending, deadline) : NULL;
	json_t *problem = json_object_get(answer, "error");
	bool good = answer && !problem;

	if (!answer)
		fail(error, "did not answer");
	else if (problem)
		fail(error, json_string_value(json_object_get(problem, "desc")) ?: "refused");
	json_decref(answer);
	json_decref(command);
	free(text);
	g_free(line);
	return good;
}

static json_t *without_arguments(const char *command)
{
	return json_pack("{s:s}", "execute", command);
}

static bool converse(int fd, json_t *command, gint64 deadline, GError **error)
{
	GString *pending = g_string_new(NULL);
	json_t *greeting = next_answer(fd, pending, deadline);
	bool good = false;

	if (!greeting)
		fail(error, "did not greet");
	else if (execute(fd, pending, without_arguments("qmp_capabilities"), deadline, error))
		good = execute(fd, pending, json_incref(command), deadline, error);
	json_decref(greeting);
	g_string_free(pending, TRUE);
	return good;
}

/* Takes over @command. */
static bool run(const struct launch *launch, json_t *command, unsigned timeout_ms, GError **error)
{
	gint64 deadline = g_get_monotonic_time() + timeout_ms * 1000ll;
	bool good = false;
	int fd = -1;

	if (!launch->monitor_path)
		fail(error, "has no socket, because the guest's name is too long for one");
	else if ((fd = connect_to(launch->monitor_path)) < 0)
		fail(error, "cannot be reached");
	else
		good = converse(fd, command, deadline, error);
	json_decref(command);
	if (fd >= 0)
		close(fd);
	return good;
}

bool launch_monitor_command(const struct launch *launch, const char *command, unsigned timeout_ms,
			    GError **error)
{
	return run(launch, without_arguments(command), timeout_ms, error);
}

bool launch_resize_console(const struct launch *launch, unsigned short columns, unsigned short rows,
			   unsigned timeout_ms, GError **error)
{
	json_t *command =
		json_pack("{s:s, s:{s:s, s:i, s:i}}", "execute", "console-resize", "arguments",
			  "id", launch->console_id, "columns", columns, "rows", rows);

	return run(launch, command, timeout_ms, error);
}
