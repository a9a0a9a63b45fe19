// SPDX-License-Identifier: GPL-2.0-or-later
/* Clock reads and system calls that do not switch: each returns to its caller. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "suite.h"

static u64 run_clock(u64 n)
{
	struct timespec last = { 0 }, now;
	u64 backwards = 0;

	for (u64 i = 0; i < n; i++) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		backwards += now.tv_sec < last.tv_sec ||
			     (now.tv_sec == last.tv_sec && now.tv_nsec < last.tv_nsec);
		last = now;
	}
	return mix(n, backwards);
}

static u64 run_getppid(u64 n)
{
	long parent = syscall(SYS_getppid);
	u64 same = 0;

	for (u64 i = 0; i < n; i++)
		same += syscall(SYS_getppid) == parent;
	return same;
}

static int open_or_fail(const char *path, int flags)
{
	int fd = open(path, flags, 0600);

	if (fd < 0)
		fail(path);
	return fd;
}

static u64 run_zero_null(u64 n)
{
	int zero = open_or_fail("/dev/zero", O_RDONLY), null = open_or_fail("/dev/null", O_WRONLY);
	static u8 data[4096];
	u64 bytes = 0;

	for (u64 i = 0; i < n; i++) {
		bytes += read(zero, data, sizeof(data));
		bytes += write(null, data, 64);
	}
	close(zero);
	close(null);
	return bytes;
}

/* A file of 256 KiB on a tmpfs, written and read back in pieces of 4 KiB and of 100 bytes. */
static u64 run_file(u64 n)
{
	static u8 data[4096];
	char path[256] = "";
	u64 hash = 0;

	strncat(path, suite_directory, sizeof(path) - 8);
	strcat(path, "/file");
	while (n--) {
		int fd = open_or_fail(path, O_RDWR | O_CREAT | O_TRUNC);
		ssize_t got;

		for (int i = 0; i < 64; i++) {
			memset(data, i + n, sizeof(data));
			hash += write(fd, data, sizeof(data));
		}
		lseek(fd, 0, SEEK_SET);
		for (int i = 0; i < 200; i++) {
			hash += pread(fd, data, 100, i * 1000);
			hash = mix(hash, data[99]);
		}
		while ((got = read(fd, data, sizeof(data))) > 0)
			hash = mix(hash, data[got - 1]);
		close(fd);
	}
	unlink(path);
	return hash;
}

static u64 run_stat(u64 n)
{
	struct stat about;
	u64 hash = 0;

	for (u64 i = 0; i < n; i++)
		hash += stat(i & 1 ? "/dev/null" : suite_directory, &about) == 0 &&
			!(i & 1) == S_ISDIR(about.st_mode);
	return hash;
}

const struct row system_rows[] = {
	{ "clock", "clock", run_clock, 4000000 },
	{ "clock-2cpus", "clock", run_clock, 4000000, .cpus = 2 },
	{ "getppid", "system", run_getppid, 120000 },
	{ "zero-null", "system", run_zero_null, 60000 },
	{ "file", "system", run_file, 200 },
	{ "stat", "system", run_stat, 70000 },
	{},
};
