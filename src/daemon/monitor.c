/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client of a guest's monitor on a main loop. See monitor.h. */
#include "daemon/monitor.h"

#include "base/log.h"

#include "base/types.h"

#include <errno.h>
#include <glib-unix.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct command {
	struct monitor *monitor;
	json_int_t id;
	monitor_answer *answer;
	void *opaque;
	guint timeout;
	bool whole; /* the answer is all of the message, an error's too */
};

struct monitor {
	int fd;
	guint source;
	struct monitor_callbacks callbacks;
	void *opaque;
	GString *input;
	GQueue commands; /* struct command, in the order of their ids */
	json_int_t next_id;
	bool ready, busy, freed; /* busy: callbacks may free it, which then comes later */
};

static GQuark monitor_quark(void)
{
	return g_quark_from_static_string("lodge-monitor");
}

static void finish(struct command *command, json_t *value, const char *why)
{
	GError *error = value ? NULL : g_error_new(monitor_quark(), 0, "%s", why);

	g_queue_remove(&command->monitor->commands, command);
	if (command->timeout)
		g_source_remove(command->timeout);
	if (command->answer)
		command->answer(value, error, command->opaque);
	g_clear_error(&error);
	g_free(command);
}

static gboolean on_timeout(gpointer opaque)
{
	struct command *command = opaque;

	command->timeout = 0;
	finish(command, NULL, "the guest's process does not answer");
	return G_SOURCE_REMOVE;
}

/* A line that the socket does not take at once finds a guest that has not read for very long. */
static bool send_message(struct monitor *m, const json_t *message)
{
	char *text = json_dumps(message, JSON_COMPACT), *line = g_strconcat(text, "\n", NULL);
	size_t length = strlen(line);
	bool sent = send(m->fd, line, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length;

	log_debug("monitor", "%s: %s", sent ? "ask" : "cannot ask", text);
	g_free(line);
	free(text);
	return sent;
}

/* @message gets the number under which it is answered. */
static void execute(struct monitor *monitor, json_t *message, bool whole, monitor_answer *answer,
		    void *opaque)
{
	struct command *command = g_new0(struct command, 1);

	command->monitor = monitor;
	command->id = ++monitor->next_id;
	command->whole = whole;
	command->answer = answer;
	command->opaque = opaque;
	json_object_set_new(message, "id", json_integer(command->id));
	g_queue_push_tail(&monitor->commands, command);
	if (!send_message(monitor, message))
		finish(command, NULL, "the guest's process does not read its monitor");
	else
		command->timeout = g_timeout_add(MONITOR_TIMEOUT_MS, on_timeout, command);
}

void monitor_execute(struct monitor *monitor, const char *name, monitor_answer *answer,
		     void *opaque)
{
	json_t *message = json_pack("{s:s}", "execute", name);

	execute(monitor, message, false, answer, opaque);
	json_decref(message);
}

void monitor_execute_with(struct monitor *monitor, const char *name, json_t *arguments,
			  monitor_answer *answer, void *opaque)
{
	json_t *message = json_pack("{s:s, s:o}", "execute", name, "arguments", arguments);

	execute(monitor, message, false, answer, opaque);
	json_decref(message);
}

void monitor_pass(struct monitor *monitor, const json_t *command, monitor_answer *answer,
		  void *opaque)
{
	json_t *message = json_copy((json_t *)command);

	execute(monitor, message, true, answer, opaque);
	json_decref(message);
}

static struct command *find_command(struct monitor *m, json_int_t id)
{
	for (GList *at = m->commands.head; at; at = at->next)
		if (((struct command *)at->data)->id == id)
			return at->data;
	return NULL; /* it has timed out */
}

static void take_answer(struct monitor *m, json_t *message)
{
	struct command *command =
		find_command(m, json_integer_value(json_object_get(message, "id")));
	json_t *error = json_object_get(message, "error");
	const char *why = json_string_value(json_object_get(error, "desc"));

	if (command && command->whole)
		finish(command, message, NULL);
	else if (command)
		finish(command, error ? NULL : json_object_get(message, "return"),
		       why ? why : "the guest's process answered what is no answer");
}

static void on_ready(json_t *value, const GError *error, void *opaque)
{
	struct monitor *m = opaque;

	m->ready = value;
	if (m->ready && !m->freed)
		m->callbacks.ready(m->opaque);
}

static void take_message(struct monitor *m, json_t *message)
{
	const char *event = json_string_value(json_object_get(message, "event"));

	if (json_object_get(message, "QMP"))
		monitor_execute(m, "qmp_capabilities", on_ready, m);
	else if (event)
		m->callbacks.event(event, json_object_get(message, "data"), m->opaque);
	else
		take_answer(m, message);
}

/* False: what came is no monitor's. */
static bool take_lines(struct monitor *m)
{
	char *end;

	while (!m->freed && (end = memchr(m->input->str, '\n', m->input->len))) {
		size_t bytes = end - m->input->str;
		json_t *message = json_loadb(m->input->str, bytes, 0, NULL);

		g_string_erase(m->input, 0, bytes + 1);
		if (!json_is_object(message)) {
			json_decref(message);
			return false;
		}
		take_message(m, message);
		json_decref(message);
	}
	return m->input->len <= MONITOR_LINE_MAX;
}

static void destroy(struct monitor *m)
{
	g_string_free(m->input, TRUE);
	g_free(m);
}

static gboolean on_input(gint fd, GIOCondition condition, gpointer opaque)
{
	struct monitor *m = opaque;
	char chunk[4096];
	ssize_t n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	bool good = n > 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	m->busy = true;
	if (n > 0) {
		g_string_append_len(m->input, chunk, n);
		good = take_lines(m);
	}
	m->busy = false;
	if (m->freed) {
		destroy(m);
		return G_SOURCE_REMOVE;
	}
	if (good)
		return G_SOURCE_CONTINUE;
	m->source = 0;
	m->callbacks.closed(m->opaque); /* may free it */
	return G_SOURCE_REMOVE;
}

void monitor_drain(struct monitor *monitor)
{
	char chunk[4096];
	ssize_t n;

	monitor->busy = true;
	do {
		n = recv(monitor->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n > 0)
			g_string_append_len(monitor->input, chunk, n);
	} while (n > 0 && take_lines(monitor));
	monitor->busy = false;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && strlen(path) < sizeof(address.sun_path)) {
		strcpy(address.sun_path, path);
		if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
			return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

struct monitor *monitor_open(const char *path, const struct monitor_callbacks *callbacks,
			     void *opaque, GError **error)
{
	int fd = connect_to(path);
	struct monitor *m;

	if (fd < 0) {
		g_set_error(error, monitor_quark(), errno,
			    "cannot reach the guest's monitor %s: %s", path, g_strerror(errno));
		return NULL;
	}
	m = g_new0(struct monitor, 1);
	m->fd = fd;
	m->callbacks = *callbacks;
	m->opaque = opaque;
	m->input = g_string_new(NULL);
	g_queue_init(&m->commands);
	m->source = g_unix_fd_add(fd, G_IO_IN, on_input, m);
	return m;
}

void monitor_free(struct monitor *monitor)
{
	if (!monitor)
		return;
	monitor->freed = true;
	if (monitor->source && !monitor->busy)
		g_source_remove(monitor->source);
	while (monitor->commands.head)
		finish(monitor->commands.head->data, NULL, "the guest has ended");
	close(monitor->fd);
	if (!monitor->busy)
		destroy(monitor);
}
