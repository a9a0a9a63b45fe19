/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that somebody else has launched: the lock tells whether it runs, the second line in the
 * lock's file which process it is (runtime.c, spawn.c).
 */
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_TEXT_MAX 64

static pid_t second_line(int fd)
{
	char text[LOCK_TEXT_MAX] = "", *line;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	line = n > 0 ? strchr(text, '\n') : NULL;
	return line && strchr(line + 1, '\n') ? strtol(line + 1, NULL, 10) : 0;
}

enum launch_found launch_find(const char *runtime_directory, const char *name, pid_t *pid,
			      char **monitor_path)
{
	g_autofree char *lock = g_build_filename(runtime_directory, name, "lock", NULL);
	int fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	enum launch_found found = LAUNCH_ENDED;

	*pid = 0;
	*monitor_path = NULL;
	if (fd < 0)
		return LAUNCH_ENDED;
	if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
		*pid = second_line(fd);
		found = *pid > 0 ? LAUNCH_RUNNING : LAUNCH_UNKNOWN;
	}
	close(fd);
	if (found == LAUNCH_RUNNING)
		*monitor_path = g_build_filename(runtime_directory, name, "monitor.sock", NULL);
	return found;
}

int launch_open_statistics(const char *runtime_directory, const char *name)
{
	g_autofree char *path = g_build_filename(runtime_directory, name, STATISTICS_FILE, NULL);

	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

void launch_sweep(const char *runtime_directory, const char *name)
{
	g_autofree char *directory = g_build_filename(runtime_directory, name, NULL);
	GDir *dir = g_dir_open(directory, 0, NULL);
	const char *entry;

	while (dir && (entry = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(directory, entry, NULL);

		unlink(path); /* there are no directories */
	}
	if (dir)
		g_dir_close(dir);
	rmdir(directory);
}
