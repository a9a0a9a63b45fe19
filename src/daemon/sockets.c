/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where clients come. lodged takes libvirt's names (--system, --session) only when nobody else has
 * them: not when somebody listens there, and not when a socket of libvirt's modular daemon, which
 * clients look for first, would have them go elsewhere. A service manager may have bound them for
 * lodged: they are its to remove then, and their mode and group are those of its units.
 */
#include "daemon/daemon.h"

#include "base/log.h"
#include "daemon/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG     128
#define CLAIM_TIMES 100
#define CLAIM_US    10000

static bool refuse(GError **error, int code, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

static bool refuse(GError **error, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	*error = g_error_new_valist(DAEMON_ERROR, code, fmt, args);
	va_end(args);
	return false;
}

#define CODE_BUSY        1 /* what may be over in a moment */
#define fail(error, ...) refuse(error, 0, __VA_ARGS__)
#define busy(error, ...) refuse(error, CODE_BUSY, __VA_ARGS__)

/* --- one lodged for one set of places --- */

static bool lock_places(struct daemon *daemon, GError **error)
{
	g_autofree char *path = g_build_filename(daemon->places.run, "lodged.lock", NULL);
	char pid[16] = "";
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return fail(error, "cannot open %s: %s", path, g_strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		(void)!pread(fd, pid, sizeof(pid) - 1, 0);
		pid[strcspn(pid, "\n")] = 0;
		close(fd);
		return busy(error,
			    "another lodged, process %s, has %s; end it, or give this one another "
			    "--root",
			    pid, daemon->places.state);
	}
	if (ftruncate(fd, 0) || dprintf(fd, "%d\n", getpid()) < 0)
		log_warning("lodged", "cannot write %s: %s", path, g_strerror(errno));
	daemon->lock_fd = fd;
	return true;
}

/* --- nobody else at the sockets --- */

static bool fill_address(struct sockaddr_un *address, const char *path, GError **error)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address->sun_path))
		return fail(error,
			    "%s is too long for a socket's path (%zu bytes at most); use a shorter "
			    "--root",
			    path, sizeof(address->sun_path) - 1);
	strcpy(address->sun_path, path);
	return true;
}

static bool somebody_listens(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes = fd >= 0 && (!connect(fd, (const struct sockaddr *)address, sizeof(*address)) ||
			       errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return yes;
}

static bool check_path(const char *path, GError **error)
{
	struct sockaddr_un address;
	struct stat st;

	if (!fill_address(&address, path, error))
		return false;
	if (lstat(path, &st))
		return errno == ENOENT ||
		       fail(error, "cannot look at %s: %s", path, g_strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return fail(error, "%s is in the way, and no socket; remove it", path);
	if (somebody_listens(&address))
		return busy(error,
			    "another daemon answers at %s; stop it (systemctl stop libvirtd "
			    "libvirtd.socket, if it is libvirt's), or use lodged --root",
			    path);
	return true;
}

/* Clients look for this name before ours. */
static bool check_shadow(const struct places *places, GError **error)
{
	g_autofree char *directory = g_path_get_dirname(places->socket);
	g_autofree char *path = g_build_filename(directory, "virtqemud-sock", NULL);

	if (places->kind == PLACES_ROOT || access(path, F_OK))
		return true;
	return fail(error,
		    "%s is there, and clients would go to it and not to lodged; stop what made it "
		    "(systemctl stop virtqemud virtqemud.socket) and remove it, or use lodged "
		    "--root",
		    path);
}

static bool claim(struct daemon *daemon, GError **error)
{
	const struct places *p = &daemon->places;

	if ((daemon->lock_fd < 0 && !lock_places(daemon, error)) || !check_shadow(p, error))
		return false;
	return daemon->handed_over ||
	       (check_path(p->socket, error) && (!p->socket_ro || check_path(p->socket_ro, error)));
}

/* Sockets that the service manager has bound. Who hands over one of two means that one alone. */
static void take_over(struct daemon *daemon)
{
	const struct places *p = &daemon->places;

	daemon->socket_fd = activation_take(daemon->activation, p->socket);
	daemon->socket_ro_fd =
		p->socket_ro ? activation_take(daemon->activation, p->socket_ro) : -1;
	daemon->handed_over = daemon->socket_fd >= 0 || daemon->socket_ro_fd >= 0;
	activation_close_rest(daemon->activation);
}

/*
 * A lodged that was killed while it spawned has left a child that is about to become a guest: until
 * then the child holds all that lodged held.
 */
bool sockets_claim(struct daemon *daemon, GError **error)
{
	take_over(daemon);
	for (unsigned i = 0; i < CLAIM_TIMES; i++) {
		g_clear_error(error);
		if (claim(daemon, error))
			return true;
		if ((*error)->code != CODE_BUSY)
			return false;
		g_usleep(CLAIM_US);
	}
	return false;
}

/* --- listening --- */

/* The mode is there from the beginning: a socket that is open to all for a moment is open. One that
 * gets its @group is the owner's alone until it has. */
static int listen_at(const char *path, mode_t mode, s64 group, GError **error)
{
	struct sockaddr_un address;
	mode_t old;
	int fd, bound;

	if (!fill_address(&address, path, error))
		return -1;
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	old = umask(group >= 0 ? 0177 : ~mode & 0777);
	bound = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, sizeof(address));
	umask(old);
	if (!bound && group >= 0 && (chown(path, -1, group) || chmod(path, mode)))
		bound = -1;
	if (!bound && !listen(fd, BACKLOG))
		return fd;
	fail(error, "cannot listen at %s: %s", path, g_strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static mode_t mode_of(int given, mode_t usual)
{
	return given < 0 ? usual : (mode_t)given;
}

static bool bind_all(struct daemon *daemon, GError **error)
{
	const struct places *p = &daemon->places;
	const mode_t mode = mode_of(daemon->socket_mode, daemon->group < 0 ? 0600 : 0660);
	const mode_t ro_mode = mode_of(daemon->socket_ro_mode, 0666);

	daemon->socket_fd = listen_at(p->socket, mode, daemon->group, error);
	if (daemon->socket_fd < 0 || !p->socket_ro)
		return daemon->socket_fd >= 0;
	daemon->socket_ro_fd = listen_at(p->socket_ro, ro_mode, -1, error);
	return daemon->socket_ro_fd >= 0;
}

bool sockets_listen(struct daemon *daemon, GError **error)
{
	bool good = daemon->handed_over || bind_all(daemon, error);

	if (daemon->handed_over && (daemon->socket_mode >= 0 || daemon->socket_ro_mode >= 0))
		log_warning("lodged", "the sockets' modes are the service manager's, which has "
				      "made them: see its units");
	if (daemon->socket_fd >= 0)
		rpc_server_listen(daemon->server, daemon->socket_fd, false);
	if (daemon->socket_ro_fd >= 0)
		rpc_server_listen(daemon->server, daemon->socket_ro_fd, true);
	return good;
}

void sockets_close(struct daemon *daemon)
{
	if (daemon->lock_fd < 0)
		return; /* they are another's */
	if (daemon->server && !daemon->handed_over) {
		unlink(daemon->places.socket);
		if (daemon->places.socket_ro)
			unlink(daemon->places.socket_ro);
	}
	close(daemon->lock_fd);
	daemon->lock_fd = -1;
}
