/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks that somebody has opened for the guest: <source fdgroup='NAME'/>.
 *
 * What was passed shows that whoever passed it may read the file, or read and write it, and nothing
 * else is taken from it: the file is opened anew by it (proc(5): /proc/self/fd), so that position,
 * flags and locks are the guest's own. Where the launcher may not do that, the descriptor itself is
 * the guest's, unless it has locks: then it is another guest's already, or its owner's.
 */
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CONFIGFS_MAGIC 0x62656570 /* fs/configfs, which has no header */

void launch_files_free(struct launch_files *files, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		for (unsigned n = 0; n < files[i].count; n++)
			close(files[i].fds[n]);
		g_free(files[i].fds);
		g_free(files[i].group);
	}
	g_free(files);
}

static const struct launch_files *find_group(const struct launch_options *options, const char *name)
{
	for (unsigned i = 0; i < options->file_count; i++)
		if (!strcmp(options->files[i].group, name))
			return &options->files[i];
	return NULL;
}

/* How @fd can be used: O_RDONLY, O_RDWR, or -1: neither. */
static int access_of(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
		return -1;
	return flags & O_ACCMODE;
}

/* The descriptor of the group for that access, or -1; more than wanted is the second choice. */
static int choose(const struct launch_files *files, int wanted)
{
	int other = -1;

	for (unsigned i = 0; i < files->count; i++) {
		int has = access_of(files->fds[i]);

		if (has == wanted)
			return files->fds[i];
		if (has == O_RDWR)
			other = files->fds[i];
	}
	return wanted == O_RDONLY ? other : -1;
}

/* File systems of the kernel's own: what is written there is obeyed, by the rights of who has
 * opened it, and opened anew that would be the launcher. */
static bool is_kernels(int fd)
{
	static const unsigned long own[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC,        CGROUP_SUPER_MAGIC,  CGROUP2_SUPER_MAGIC,
		DEBUGFS_MAGIC,    TRACEFS_MAGIC,      SECURITYFS_MAGIC,    SELINUX_MAGIC,
		SMACK_MAGIC,      AAFS_MAGIC,         BPF_FS_MAGIC,        EFIVARFS_MAGIC,
		PSTOREFS_MAGIC,   BINFMTFS_MAGIC,     NSFS_MAGIC,          RDTGROUP_SUPER_MAGIC,
		CONFIGFS_MAGIC,   DEVPTS_SUPER_MAGIC, ANON_INODE_FS_MAGIC,
	};
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if ((unsigned long)fs.f_type == own[i])
			return true;
	return false;
}

/* Why @fd cannot be a disk, or NULL. */
static const char *not_a_disk(int fd, bool writes)
{
	struct stat st;

	if (fstat(fd, &st))
		return g_strerror(errno);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return "it is no file or block device";
	if (is_kernels(fd))
		return "it is the kernel's, and no disk";
	if (writes && (fcntl(fd, F_GETFL) & O_APPEND))
		return "it can only be appended to (O_APPEND)";
	return NULL;
}

/* Is anything locked through this open file, by whatever process? */
static bool has_locks(int fd)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%d", fd);
	g_autofree char *text = NULL;

	return !g_file_get_contents(path, &text, NULL, NULL) || strstr(text, "\nlock:");
}

static int take_itself(int fd, int wanted, char **why)
{
	int reason = errno, own;

	if (access_of(fd) != wanted) {
		*why = g_strdup_printf("it cannot be opened anew for reading alone: %s",
				       g_strerror(reason));
		return -1;
	}
	if (has_locks(fd)) {
		*why = g_strdup("it is locked, by another guest that has it or by who passed it; "
				"pass one that was opened for this start");
		return -1;
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		*why = g_strdup(g_strerror(errno));
	return own;
}

static int take(int fd, int wanted, char **why)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	const char *wrong = not_a_disk(fd, wanted == O_RDWR);
	int own;

	if (wrong) {
		*why = g_strdup(wrong);
		return -1;
	}
	own = open(path, wanted | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return own < 0 ? take_itself(fd, wanted, why) : own;
}

int passed_open(const struct launch_options *options, const struct domain_disk *disk, char **why)
{
	const struct launch_files *files = find_group(options, disk->fd_group);
	int wanted = disk->readonly ? O_RDONLY : O_RDWR, fd, own;
	char *reason = NULL;

	if (!files) {
		*why = g_strdup_printf(
			"no descriptors were passed as group '%s'; lodged takes them (virsh "
			"dom-fd-associate), 'lodge run' does not: remove fdgroup='...'",
			disk->fd_group);
		return -1;
	}
	fd = choose(files, wanted);
	if (fd < 0) {
		*why = g_strdup_printf("no descriptor of the group '%s' is open for reading%s",
				       disk->fd_group,
				       wanted == O_RDWR ? " and writing; pass one that is, or "
							  "mark the disk <readonly/>"
							: "");
		return -1;
	}
	own = take(fd, wanted, &reason);
	if (own < 0)
		*why = g_strdup_printf("the descriptor of the group '%s' cannot be used: %s",
				       disk->fd_group, reason);
	g_free(reason);
	return own;
}
