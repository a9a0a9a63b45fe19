/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guest's serial ports, consoles and channels end in: opened here, named to lodge-vmm by
 * number. */
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define PTS_NAME_BYTES 128

static int fail_errno(GError **error, const char *doing, const char *what)
{
	g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN, "cannot %s%s%s: %s", doing,
		    what ? " " : "", what ? what : "", g_strerror(errno));
	return -1;
}

/* The console that options speak of: the first serial port, or the first virtio console of a guest
 * that has no serial port. */
static const struct domain_chardev *first_console(const struct domain *domain)
{
	const struct domain_chardev *console = NULL;

	for (unsigned i = 0; i < domain->chardevs->len; i++) {
		const struct domain_chardev *chardev = domain->chardevs->pdata[i];

		if (chardev->kind == CHARDEV_SERIAL)
			return chardev;
		if (chardev->kind == CHARDEV_CONSOLE && !console)
			console = chardev;
	}
	return console;
}

static bool is_first(const struct launch_private *p, const struct domain_chardev *chardev)
{
	return first_console(p->domain) == chardev;
}

/* What @chardev ends in, the caller's option for the first port being stronger than the XML. */
static enum launch_console ending(const struct launch_private *p,
				  const struct domain_chardev *chardev)
{
	static const enum launch_console of_type[] = {
		[CHARDEV_PTY] = LAUNCH_CONSOLE_PTY,    [CHARDEV_FILE] = LAUNCH_CONSOLE_FILE,
		[CHARDEV_UNIX] = LAUNCH_CONSOLE_UNIX,  [CHARDEV_NULL] = LAUNCH_CONSOLE_NONE,
		[CHARDEV_STDIO] = LAUNCH_CONSOLE_NONE,
	};

	if (is_first(p, chardev) && p->options.console != LAUNCH_CONSOLE_XML)
		return p->options.console;
	return of_type[chardev->type];
}

static int open_pty(struct launch *launch, bool first, GError **error)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), other;
	char name[PTS_NAME_BYTES];
	struct termios raw;

	if (fd < 0 || grantpt(fd) || unlockpt(fd) || ptsname_r(fd, name, sizeof(name)))
		return fail_errno(error, "make a pseudo terminal", NULL);
	if (!tcgetattr(fd, &raw)) {
		cfmakeraw(&raw);
		tcsetattr(fd, TCSANOW, &raw);
	}
	/* One that has never been open counts as one that is: it would fill, and stop the guest. */
	other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (other >= 0)
		close(other);
	if (first) {
		g_free(launch->console_path);
		launch->console_path = g_strdup(name);
	}
	return fd;
}

static int open_file(const struct launch *launch, const char *path, bool append, GError **error)
{
	int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | (append ? 0 : O_TRUNC);
	int fd = authority_open(&launch->private->options, path, flags, 0600);

	return fd >= 0 ? fd : fail_errno(error, "open", path);
}

static int open_socket(struct launch *launch, const struct domain_chardev *chardev,
		       const char *wanted, bool first, GError **error)
{
	char *own = g_strdup_printf("%s/%s.sock", launch->private->directory, chardev->alias);
	const char *path = wanted ? wanted : own;
	struct own_authority self = { 0 };
	int fd = -1;

	/* in the guest's directory it is ours */
	if (wanted && !authority_take(&launch->private->options, &self))
		fail_errno(error, "listen at", path);
	else
		fd = runtime_listen(launch, path, error);
	authority_drop(&self);

	if (fd >= 0 && first) {
		g_free(launch->console_path);
		launch->console_path = g_strdup(path);
	}
	g_free(own);
	return fd;
}

/* Somebody else listens there, and must do so now: lodge-vmm makes no connections. */
static int open_connection(const struct launch *launch, const char *path, GError **error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct own_authority self;
	int fd, result;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return fail_errno(error, "connect to", path);
	}
	strcpy(address.sun_path, path);
	if (!authority_take(&launch->private->options, &self))
		return fail_errno(error, "connect to", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	result = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof(address));
	authority_drop(&self);
	if (!result)
		return fd;
	fail_errno(error, "connect to", path);
	if (fd >= 0)
		close(fd);
	return -1;
}

static int open_for_caller(struct launch *launch, GError **error)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return fail_errno(error, "make a socket for the console", NULL);
	launch->console_fd = ends[0];
	return ends[1];
}

static int open_ending(struct launch *launch, const struct domain_chardev *chardev,
		       const char **driver, GError **error)
{
	const struct launch_private *p = launch->private;
	bool first = is_first(p, chardev);
	bool option = first && p->options.console != LAUNCH_CONSOLE_XML;
	const char *path = option ? p->options.console_path : chardev->path;

	switch (ending(p, chardev)) {
	case LAUNCH_CONSOLE_PTY: *driver = "pty"; return open_pty(launch, first, error);
	case LAUNCH_CONSOLE_UNIX:
		*driver = chardev->connect && !option ? "fd" : "listen";
		if (chardev->connect && !option)
			return open_connection(launch, path, error);
		return open_socket(launch, chardev, path, first, error);
	case LAUNCH_CONSOLE_FILE:
		*driver = "file";
		return open_file(launch, path, !option && chardev->append, error);
	case LAUNCH_CONSOLE_CALLER: *driver = "fd"; return open_for_caller(launch, error);
	default: *driver = "null"; return -1;
	}
}

/* --- what is kept of what they print --- */

static int open_log_file(const struct launch *launch, const char *path, bool own, bool append)
{
	int flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | (append ? 0 : O_TRUNC);

	/* what the domain names is opened as it is; in our own folder nobody makes links */
	return own ? open(path, flags | O_NOFOLLOW, 0600)
		   : authority_open(&launch->private->options, path, flags, 0600);
}

static void open_old_file(struct launch *launch, struct opened_console *opened, const char *path,
			  bool own)
{
	g_autofree char *old = g_strconcat(path, ".1", NULL);
	/* pwrite() would append to a file that was opened so */
	int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW;
	int fd = own ? open(old, flags, 0600)
		     : authority_open(&launch->private->options, old, flags, 0600);

	if (fd >= 0)
		opened->log_old = fd_map_add(&launch->private->map, fd);
}

/* The console's, which always has one, in the log directory; or what <log file> names, which the
 * guest does not start without. */
static bool open_log(struct launch *launch, struct opened_console *opened, GError **error)
{
	struct launch_private *p = launch->private;
	const struct domain_chardev *chardev = opened->chardev;
	bool own = !chardev->log_path;
	g_autofree char *file = g_strconcat(p->name, ".console.log", NULL);
	g_autofree char *path = own ? g_build_filename(p->options.log_directory, file, NULL)
				    : g_strdup(chardev->log_path);
	struct stat st;
	int fd = open_log_file(launch, path, own, own || chardev->log_append);

	if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = -1;
		errno = EINVAL;
	}
	if (fd < 0 && own) {
		write_log(launch, "what the console prints is not kept: %s: %s", path,
			  g_strerror(errno));
		return true;
	}
	if (fd < 0) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN,
			    "%s:%u: <log>: cannot open %s: %s", p->domain->file, chardev->line,
			    path, g_strerror(errno));
		return false;
	}
	opened->log = fd_map_add(&p->map, fd);
	open_old_file(launch, opened, path, own);
	if (own) {
		launch->console_log_path = g_strdup(path);
		launch->console_log_start = st.st_size;
	}
	return true;
}

static bool has_log(const struct launch_private *p, const struct domain_chardev *chardev)
{
	return chardev->log_path ||
	       (p->options.console_log && p->options.log_directory && is_first(p, chardev));
}

/* A serial port has no size; a virtio console has that of the terminal that shows it. */
static void note_size(struct launch *launch, struct opened_console *opened)
{
	const struct launch_private *p = launch->private;

	if (opened->chardev->kind != CHARDEV_CONSOLE ||
	    ending(p, opened->chardev) != LAUNCH_CONSOLE_CALLER)
		return;
	launch->console_id = g_strdup(opened->chardev->alias);
	opened->columns = p->options.console_columns;
	opened->rows = p->options.console_rows;
}

bool chardevs_open(struct launch *launch, GError **error)
{
	static const char *const elements[] = {
		[CHARDEV_SERIAL] = "serial",
		[CHARDEV_DEBUGCON] = "serial",
		[CHARDEV_CONSOLE] = "console",
		[CHARDEV_CHANNEL] = "channel",
	};
	struct launch_private *p = launch->private;

	for (unsigned i = 0; i < p->domain->chardevs->len; i++) {
		const struct domain_chardev *chardev = p->domain->chardevs->pdata[i];
		struct opened_console *opened = g_new0(struct opened_console, 1);
		int fd = open_ending(launch, chardev, &opened->driver, error);

		opened->chardev = chardev;
		opened->number = fd < 0 ? -1 : fd_map_add(&p->map, fd);
		note_size(launch, opened);
		g_ptr_array_add(p->consoles, opened);
		if (fd < 0 && strcmp(opened->driver, "null")) {
			g_prefix_error(error, "%s:%u: <%s>: ", p->domain->file, chardev->line,
				       elements[chardev->kind]);
			return false;
		}
		if (has_log(p, chardev) && !open_log(launch, opened, error))
			return false;
	}
	return true;
}
