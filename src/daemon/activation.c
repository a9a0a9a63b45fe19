/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See activation.h. */
#include "daemon/activation.h"

#include "base/log.h"
#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_FD 3
#define FDS_MAX  16

struct listener {
	int fd; /* -1: it was taken */
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
};

struct activation {
	bool service;
	int notify_fd; /* -1: nobody wants to know */
	struct sockaddr_un notify;
	socklen_t notify_bytes;
	unsigned count;
	struct listener listeners[FDS_MAX];
};

/* --- sockets --- */

static bool is_socket(int fd, int option, int wanted)
{
	int value;
	socklen_t bytes = sizeof(value);

	return !getsockopt(fd, SOL_SOCKET, option, &value, &bytes) && value == wanted;
}

static bool take_listener(struct listener *listener, int fd, GError **error)
{
	struct sockaddr_un address = { 0 };
	socklen_t bytes = sizeof(address);

	if (!is_socket(fd, SO_TYPE, SOCK_STREAM) || !is_socket(fd, SO_ACCEPTCONN, 1) ||
	    getsockname(fd, (struct sockaddr *)&address, &bytes) || address.sun_family != AF_UNIX)
		return daemon_refuse(error, 0,
				     "descriptor %d, which the service manager handed over, is no "
				     "UNIX stream socket that listens; mend the socket unit",
				     fd);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) || fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK))
		return daemon_refuse(error, 0, "cannot prepare descriptor %d: %s", fd,
				     g_strerror(errno));
	listener->fd = fd;
	memcpy(listener->path, address.sun_path, sizeof(address.sun_path));
	return true;
}

/* A number that is all of @text; -1: it is none. */
static gint64 number(const char *text)
{
	guint64 value;

	return text && g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT, &value, NULL)
		       ? (gint64)value
		       : -1;
}

static bool take_listeners(struct activation *activation, GError **error)
{
	gint64 count = number(g_getenv("LISTEN_FDS"));

	if (count <= 0 || number(g_getenv("LISTEN_PID")) != getpid())
		return true;
	if (count > FDS_MAX)
		return daemon_refuse(error, 0,
				     "the service manager handed over %d descriptors, more than "
				     "%d; mend the socket unit",
				     (int)count, FDS_MAX);
	activation->service = true;
	for (int i = 0; i < count; i++) {
		if (!take_listener(&activation->listeners[i], FIRST_FD + i, error))
			return false;
		activation->count++;
	}
	return true;
}

static bool is_same(const char *one, const char *two)
{
	struct stat a, b;

	return !strcmp(one, two) ||
	       (!stat(one, &a) && !stat(two, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

int activation_take(struct activation *activation, const char *path)
{
	for (unsigned i = 0; i < activation->count; i++) {
		struct listener *listener = &activation->listeners[i];
		int fd = listener->fd;

		if (fd < 0 || !is_same(listener->path, path))
			continue;
		listener->fd = -1;
		return fd;
	}
	return -1;
}

void activation_close_rest(struct activation *activation)
{
	for (unsigned i = 0; i < activation->count; i++) {
		struct listener *listener = &activation->listeners[i];

		if (listener->fd < 0)
			continue;
		log_warning("lodged",
			    "the service manager listens at %s, which is none of this lodged's "
			    "sockets",
			    listener->path);
		close(listener->fd);
		listener->fd = -1;
	}
}

/* --- telling --- */

static void open_notify(struct activation *activation)
{
	const char *path = g_getenv("NOTIFY_SOCKET");
	size_t bytes = path ? strlen(path) : 0;

	activation->notify_fd = -1;
	if (!bytes || bytes >= sizeof(activation->notify.sun_path))
		return;
	activation->notify.sun_family = AF_UNIX;
	memcpy(activation->notify.sun_path, path, bytes);
	if (*path == '@')
		activation->notify.sun_path[0] = '\0'; /* a name that is no file's */
	activation->notify_bytes = offsetof(struct sockaddr_un, sun_path) + bytes;
	activation->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	activation->service = true;
}

void activation_notify(const struct activation *activation, const char *lines)
{
	if (activation->notify_fd >= 0 &&
	    sendto(activation->notify_fd, lines, strlen(lines), MSG_NOSIGNAL,
		   (const struct sockaddr *)&activation->notify, activation->notify_bytes) < 0)
		log_warning("lodged", "cannot tell the service manager: %s", g_strerror(errno));
}

/* --- all of it --- */

bool activation_is_service(const struct activation *activation)
{
	return activation->service;
}

struct activation *activation_new(GError **error)
{
	static const char *const variables[] = { "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
						 "NOTIFY_SOCKET" };
	struct activation *activation = g_new0(struct activation, 1);

	open_notify(activation);
	if (!take_listeners(activation, error)) {
		activation_free(activation);
		return NULL;
	}
	for (unsigned i = 0; i < ARRAY_LEN(variables); i++)
		g_unsetenv(variables[i]);
	return activation;
}

void activation_free(struct activation *activation)
{
	if (!activation)
		return;
	for (unsigned i = 0; i < activation->count; i++)
		if (activation->listeners[i].fd >= 0)
			close(activation->listeners[i].fd);
	if (activation->notify_fd >= 0)
		close(activation->notify_fd);
	g_free(activation);
}
