/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening what a domain names with the authority of whoever asked for it, not with the launcher's
 * own: a daemon that runs as root must not read for a user what that user could not.
 *
 * Linux has a user, a group and groups for the file system in each thread, beside those of the
 * process (setfsuid(2), and setgroups(2) as a system call instead of the library's, which changes
 * all threads). With a user other than root the kernel takes away what lets root pass by modes.
 * Only the thread that opens changes, and only while it does.
 *
 * What /proc has behind its links is opened by no path of another's: there it would be the
 * launcher's own.
 */
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static bool is_own(const struct launch_options *options)
{
	return !options->authority || options->authority->uid == geteuid();
}

static bool set_groups(size_t count, const gid_t *groups)
{
	return !syscall(SYS_setgroups, count, groups);
}

/* These calls have no error: asked for the impossible number, they say what is set. */
static bool set_ids(uid_t uid, gid_t gid)
{
	setfsgid(gid);
	setfsuid(uid);
	return (gid_t)setfsgid(-1) == gid && (uid_t)setfsuid(-1) == uid;
}

bool authority_take(const struct launch_options *options, struct own_authority *own)
{
	const struct launch_authority *wanted = options->authority;
	int count;

	*own = (struct own_authority){ 0 };
	if (is_own(options))
		return true;
	count = MAX(getgroups(0, NULL), 0);
	own->groups = g_new0(gid_t, count + 1);
	own->count = MAX(getgroups(count, own->groups), 0);
	own->changed = true;
	if (set_groups(wanted->group_count, wanted->groups) && set_ids(wanted->uid, wanted->gid))
		return true;
	authority_drop(own);
	errno = EPERM;
	return false;
}

void authority_drop(struct own_authority *own)
{
	int number = errno;

	if (!own->changed)
		return;
	/* the user first: it brings back what the groups need */
	if (!set_ids(geteuid(), getegid()) || !set_groups(own->count, own->groups))
		g_error("cannot take back the launcher's own authority"); /* never a mixture */
	g_free(own->groups);
	*own = (struct own_authority){ 0 };
	errno = number;
}

/* As open(2), without following what /proc calls links and are none. */
static int open_plainly(const char *path, int flags, mode_t mode)
{
	const struct open_how how = { .flags = flags,
				      .mode = flags & O_CREAT ? mode : 0,
				      .resolve = RESOLVE_NO_MAGICLINKS };
	int fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	struct statfs fs;

	if (fd < 0 || (!fstatfs(fd, &fs) && fs.f_type != PROC_SUPER_MAGIC))
		return fd;
	close(fd);
	errno = EACCES;
	return -1;
}

int authority_open(const struct launch_options *options, const char *path, int flags, mode_t mode)
{
	struct own_authority own;
	int fd;

	if (is_own(options))
		return open(path, flags, mode);
	if (!authority_take(options, &own))
		return -1;
	fd = open_plainly(path, flags, mode);
	authority_drop(&own);
	return fd;
}

int authority_open_volume(const struct launch_options *options, const char *path, int flags)
{
	if (!is_own(options) && options->pooled &&
	    g_strv_contains((const char *const *)options->pooled, path))
		return open(path, flags | O_NOFOLLOW);
	return authority_open(options, path, flags, 0);
}
