/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A running guest's places in the file system:
 *
 *   $XDG_RUNTIME_DIR/lodge/NAME/   monitor.sock, consoles; only this user enters; gone at the end
 *                         lock     locked while anything of the guest runs: a name runs once
 *   $XDG_STATE_HOME/lodge/NAME.log what happened, over all starts
 *
 * or in the directories that the launch's options name. The lock's descriptor goes to lodge-vmm
 * too, so that a guest whose launcher died still counts as running; the file names the launcher in
 * its first line and lodge-vmm in its second. What a crash leaves behind is taken over by the next
 * start of that name.
 */
#include "base/statistics.h"
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOG_BYTES_MAX (4 * MIB) /* then it becomes NAME.log.1 */

/* --- directories --- */

/* Makes a directory that belongs to us alone; with what is in the way, it fails. */
static bool private_directory(const char *path, GError **error)
{
	struct stat st;

	if (g_mkdir_with_parents(path, 0700)) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN, "cannot make %s: %s", path,
			    g_strerror(errno));
		return false;
	}
	if (lstat(path, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 022)) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN,
			    "%s is not a directory that only this user writes; remove it, or set "
			    "XDG_RUNTIME_DIR",
			    path);
		return false;
	}
	return true;
}

static char *runtime_base(const struct launch_options *options)
{
	const char *given = g_getenv("XDG_RUNTIME_DIR");
	char *temporary;

	if (options->runtime_directory)
		return g_strdup(options->runtime_directory);
	if (given && *given == '/' && !access(given, W_OK))
		return g_build_filename(given, "lodge", NULL);
	if (geteuid() == 0 && !access("/run", W_OK))
		return g_strdup("/run/lodge");
	temporary = g_strdup_printf("%s/lodge-%u", g_get_tmp_dir(), geteuid());
	return temporary;
}

/* --- the lock --- */

static void fail_running(const char *name, int fd, GError **error)
{
	char pid[16] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
	g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_BUSY,
		    "a guest called '%s' is running already%s%s; end it, or give this one another "
		    "name",
		    name, *pid ? ", started by process " : "", pid);
}

/* Is the file that was locked still the one at @path? Its last owner may just have removed it. */
static bool still_there(int fd, const char *path)
{
	struct stat mine, named;

	return !fstat(fd, &mine) && !stat(path, &named) && mine.st_ino == named.st_ino &&
	       mine.st_dev == named.st_dev;
}

static int lock_name(const char *directory, const char *name, GError **error)
{
	char *path = g_build_filename(directory, "lock", NULL);
	int fd = -1;

	while (fd < 0) {
		if (!private_directory(directory, error))
			break;
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0) {
			g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN, "cannot open %s: %s",
				    path, g_strerror(errno));
			break;
		}
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			fail_running(name, fd, error);
			close(fd);
			fd = -1;
			break;
		}
		if (still_there(fd, path))
			break;
		close(fd);
		fd = -1;
	}
	g_free(path);
	if (fd >= 0 && (ftruncate(fd, 0) || dprintf(fd, "%d\n", getpid()) < 0))
		return fd; /* the number is only for messages */
	return fd;
}

/* --- sockets --- */

int runtime_listen(struct launch *launch, const char *path, GError **error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (strlen(path) >= sizeof(address.sun_path)) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN,
			    "%s is too long for a socket's path (%zu bytes at most); use a shorter "
			    "one",
			    path, sizeof(address.sun_path) - 1);
		close(fd);
		return -1;
	}
	strcpy(address.sun_path, path);
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode))
		unlink(path); /* what an earlier run left */
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || chmod(path, 0600) ||
	    listen(fd, 16)) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN, "cannot listen at %s: %s", path,
			    g_strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	g_ptr_array_add(launch->private->sockets, g_strdup(path));
	return fd;
}

/* A guest with a very long name has no monitor socket rather than no start. */
static bool open_monitor(struct launch *launch, GError **error)
{
	struct launch_private *p = launch->private;
	char *path = g_build_filename(p->directory, "monitor.sock", NULL);
	int fd;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		g_free(path);
		return true;
	}
	fd = runtime_listen(launch, path, error);
	if (fd < 0) {
		g_free(path);
		return false;
	}
	p->monitor = fd_map_add(&p->map, fd);
	launch->monitor_path = path;
	return true;
}

/* --- the log --- */

/* A log that cannot be opened does not stop a guest: log_path stays NULL, log_trouble says why. */
static void open_log(struct launch *launch, const char *name)
{
	struct launch_private *p = launch->private;
	char *directory = p->options.log_directory
				  ? g_strdup(p->options.log_directory)
				  : g_build_filename(g_get_user_state_dir(), "lodge", NULL);
	char *file = g_strconcat(name, ".log", NULL);
	char *path = g_build_filename(directory, file, NULL);
	char *old = g_strconcat(path, ".1", NULL);
	struct stat st;

	g_mkdir_with_parents(directory, 0700);
	if (!stat(path, &st) && st.st_size > (off_t)LOG_BYTES_MAX)
		rename(path, old);
	p->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p->log_fd >= 0) {
		p->log = fd_map_add(&p->map, fcntl(p->log_fd, F_DUPFD_CLOEXEC, 0));
		launch->log_path = g_strdup(path);
	} else {
		launch->log_trouble = g_strdup_printf("%s: %s", path, g_strerror(errno));
	}
	g_free(old);
	g_free(path);
	g_free(file);
	g_free(directory);
}

/* --- statistics --- */

/* A guest without statistics runs as well: what stands in the way is said in the log. */
static void open_statistics(struct launch *launch)
{
	struct launch_private *p = launch->private;
	char *path = g_build_filename(p->directory, STATISTICS_FILE, NULL);
	int fd;

	unlink(path); /* never the file that another process has mapped */
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 &&
	    !posix_fallocate(fd, 0, /* what is mapped must be there, also on a full disk */
			     statistics_bytes(p->domain->disks->len, p->domain->interfaces->len))) {
		p->statistics = fd_map_add(&p->map, fd);
	} else {
		write_log(launch, "there are no statistics: %s: %s", path, g_strerror(errno));
		if (fd >= 0)
			close(fd);
	}
	g_free(path);
}

/* --- all --- */

bool runtime_open(struct launch *launch, GError **error)
{
	struct launch_private *p = launch->private;
	const char *name = p->domain->name;
	char *base = runtime_base(&p->options);
	int lock;

	p->directory = g_build_filename(base, name, NULL);
	g_free(base);
	lock = lock_name(p->directory, name, error);
	if (lock < 0) {
		g_clear_pointer(&p->directory, g_free); /* it is another's to remove */
		return false;
	}
	p->lock_fd = lock;
	fd_map_add(&p->map, fcntl(lock, F_DUPFD_CLOEXEC, 0));
	open_log(launch, name);
	open_statistics(launch);
	return open_monitor(launch, error);
}

/* Where a user has it made, with that user's authority: who owns the directory may have made its
 * path lead elsewhere meanwhile. */
static void remove_socket(const struct launch_private *p, const char *path)
{
	struct own_authority own = { 0 };

	if ((p->directory && g_str_has_prefix(path, p->directory)) ||
	    authority_take(&p->options, &own))
		unlink(path);
	authority_drop(&own);
}

void runtime_close(struct launch *launch)
{
	struct launch_private *p = launch->private;

	for (unsigned i = 0; i < p->sockets->len; i++)
		remove_socket(p, p->sockets->pdata[i]);
	if (p->directory) {
		g_autofree char *lock = g_build_filename(p->directory, "lock", NULL);
		g_autofree char *statistics = g_build_filename(p->directory, STATISTICS_FILE, NULL);

		unlink(statistics);
		unlink(lock);
		rmdir(p->directory);
	}
	if (p->lock_fd >= 0)
		close(p->lock_fd);
	if (p->log_fd >= 0)
		close(p->log_fd);
}
