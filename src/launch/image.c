/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images, opened and locked so that no two guests write one image.
 *
 * Two locks are taken, both on the open file and so passed on to lodge-vmm with it:
 *   flock    exclusive for a disk that is written, shared for one that is read or shareable
 *   OFD      single bytes as QEMU and qemu-img lock them (byte 100 + n: "I use permission n",
 *            byte 200 + n: "nobody else may"), so that those refuse an image in use here and
 *            the other way round
 * Both end with the last process that holds the file open, however it ends.
 */
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define USES_BYTE   100
#define DENIES_BYTE 200
#define PERM_READ   0
#define PERM_WRITE  1
#define PERM_RESIZE 3
#define PERMISSIONS 4

static void fail(const struct domain *domain, const struct domain_disk *disk, GError **error,
		 enum launch_error code, const char *text)
{
	g_set_error(error, LAUNCH_ERROR, code, "%s:%u: <disk>: %s: %s", domain->file, disk->line,
		    disk->target, text);
}

/* --- who holds it --- */

/* The process that /proc/locks names for the file, as " by process 12 (lodge run)", or "". */
static char *holder(int fd)
{
	FILE *locks = fopen("/proc/locks", "re");
	struct stat st;
	char line[256];
	int found = 0;

	if (!locks || fstat(fd, &st)) {
		if (locks)
			fclose(locks);
		return g_strdup("");
	}
	while (!found && fgets(line, sizeof(line), locks)) {
		unsigned major_id, minor_id;
		unsigned long inode;
		int pid;

		if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%lu", &pid, &major_id, &minor_id,
			   &inode) == 4 &&
		    inode == st.st_ino && major_id == major(st.st_dev) &&
		    minor_id == minor(st.st_dev) && pid > 0 && pid != getpid())
			found = pid;
	}
	fclose(locks);
	if (!found)
		return g_strdup("");
	return g_strdup_printf(" by process %d", found);
}

/* " (lodge run web1.xml)" for " by process 12", when the process can still be looked at. */
static char *holder_command(const char *by)
{
	char *path, *text = NULL;
	size_t length = 0;
	int pid;

	if (sscanf(by, " by process %d", &pid) != 1)
		return g_strdup("");
	path = g_strdup_printf("/proc/%d/cmdline", pid);
	if (!g_file_get_contents(path, &text, &length, NULL))
		length = 0;
	g_free(path);
	for (size_t i = 0; i + 1 < length; i++)
		if (text[i] == '\0')
			text[i] = ' ';
	path = length ? g_strdup_printf(" (%.120s)", text) : g_strdup("");
	g_free(text);
	return path;
}

/* Another disk of the same guest that is the same file, or NULL. */
static const struct domain_disk *same_file(const struct domain *domain,
					   const struct domain_disk *disk, int fd)
{
	struct stat st, other;

	if (fstat(fd, &st))
		return NULL;
	for (unsigned i = 0; i < domain->disks->len; i++) {
		const struct domain_disk *d = domain->disks->pdata[i];

		if (d != disk && d->path && !d->fd_group && !stat(d->path, &other) &&
		    other.st_dev == st.st_dev && other.st_ino == st.st_ino)
			return d;
	}
	return NULL;
}

static void fail_busy(const struct domain *domain, const struct domain_disk *disk, int fd,
		      GError **error)
{
	char *by = holder(fd), *command = holder_command(by), *text;
	const struct domain_disk *twin = same_file(domain, disk, fd);

	if (twin && !*by)
		text = g_strdup_printf("%s is also disk %s of this guest; remove one of them, or "
				       "mark both <readonly/>",
				       disk->path, twin->target);
	else
		text = g_strdup_printf("%s is in use%s%s; end that first, or mark the disk "
				       "<shareable/> in both or <readonly/>",
				       disk->path, by, command);

	fail(domain, disk, error, LAUNCH_ERROR_BUSY, text);
	g_free(text);
	g_free(command);
	g_free(by);
}

/* --- the locks --- */

static bool lock_byte(int fd, unsigned byte)
{
	struct flock lock = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
	};

	return !fcntl(fd, F_OFD_SETLK, &lock) || errno == EINVAL || errno == ENOLCK;
}

static bool byte_is_free(int fd, unsigned byte)
{
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1
	};

	return fcntl(fd, F_OFD_GETLK, &lock) || lock.l_type == F_UNLCK;
}

/* As QEMU does for a guest's disk: first say what is used and denied, then look for others. */
static bool lock_bytes(int fd, const struct domain_disk *disk)
{
	bool writes = !disk->readonly;
	bool uses[PERMISSIONS] = { [PERM_READ] = true, [PERM_WRITE] = writes };
	bool denies[PERMISSIONS] = {
		[PERM_WRITE] = !disk->shareable, [PERM_RESIZE] = !disk->shareable
	};

	for (unsigned i = 0; i < PERMISSIONS; i++)
		if ((uses[i] && !lock_byte(fd, USES_BYTE + i)) ||
		    (denies[i] && !lock_byte(fd, DENIES_BYTE + i)))
			return false;
	for (unsigned i = 0; i < PERMISSIONS; i++)
		if ((uses[i] && !byte_is_free(fd, DENIES_BYTE + i)) ||
		    (denies[i] && !byte_is_free(fd, USES_BYTE + i)))
			return false;
	return true;
}

static bool lock_image(const struct domain *domain, const struct domain_disk *disk, int fd,
		       GError **error)
{
	int kind = disk->readonly || disk->shareable ? LOCK_SH : LOCK_EX;

	if (flock(fd, kind | LOCK_NB) && errno == EWOULDBLOCK) {
		fail_busy(domain, disk, fd, error);
		return false;
	}
	/* a file system without locks is no reason not to start */
	if (!lock_bytes(fd, disk)) {
		fail_busy(domain, disk, fd, error);
		return false;
	}
	return true;
}

/* --- opening --- */

static const char *remedy(int number)
{
	switch (number) {
	case ENOENT: return "; create it, or correct <source>";
	case EACCES:
	case EPERM: return "; let this user read and write it, or mark the disk <readonly/>";
	case EROFS: return "; mark the disk <readonly/>";
	default: return "";
	}
}

static bool check_type(const struct domain *domain, const struct domain_disk *disk, int fd,
		       GError **error)
{
	struct stat st;
	char *text;
	bool good;

	if (fstat(fd, &st))
		return true; /* the first read will tell */
	good = S_ISBLK(st.st_mode) || (S_ISREG(st.st_mode) && !disk->block_device);
	if (good)
		return true;
	text = g_strdup_printf("%s is not a %s; correct <disk type=...> or <source>", disk->path,
			       disk->block_device ? "block device" : "file or block device");
	fail(domain, disk, error, LAUNCH_ERROR_OPEN, text);
	g_free(text);
	return false;
}

/* Past the host's page cache. Opened first without: a file system that refuses has its own remedy.
 */
static bool go_direct(const struct domain *domain, const struct domain_disk *disk, int fd,
		      GError **error)
{
	char *text;

	if (strcmp(disk->cache, "none") && strcmp(disk->cache, "directsync"))
		return true;
	if (!fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_DIRECT))
		return true;
	text = g_strdup_printf(
		"%s is on a file system without direct I/O (%s), which cache='%s' asks "
		"for; use cache='%s'",
		disk->path, g_strerror(errno), disk->cache,
		strcmp(disk->cache, "none") ? "writethrough" : "writeback");
	fail(domain, disk, error, LAUNCH_ERROR_OPEN, text);
	g_free(text);
	return false;
}

static int open_file(const struct domain_disk *disk, const struct launch_options *options,
		     char **why)
{
	/* O_NONBLOCK: a named pipe must fail here, not hang */
	int flags = (disk->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
	int fd = authority_open_volume(options, disk->path, flags);

	if (fd < 0)
		*why = g_strdup_printf("cannot open %s: %s%s", disk->path, g_strerror(errno),
				       remedy(errno));
	return fd;
}

int image_open(const struct domain *domain, const struct domain_disk *disk,
	       const struct launch_options *options, GError **error)
{
	char *why = NULL;
	int fd = disk->fd_group ? passed_open(options, disk, &why) : open_file(disk, options, &why);

	if (fd < 0) {
		fail(domain, disk, error, LAUNCH_ERROR_OPEN, why);
		g_free(why);
		return -1;
	}
	if (!check_type(domain, disk, fd, error) || !lock_image(domain, disk, fd, error) ||
	    !go_direct(domain, disk, fd, error)) {
		close(fd);
		return -1;
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}
