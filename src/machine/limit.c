/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading control groups. See limit.h.
 *
 *   /proc/self/cgroup       "4:memory:/a/b" (version 1) or "0::/a/b" (version 2)
 *   /sys/fs/cgroup/...      /a/b and each of its parents may have a limit of its own
 *
 * The files are opened once, before the process is confined, and read through their descriptors.
 */
#include "machine/limit.h"

#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

struct version {
	const char *prefix; /* of the line in /proc/self/cgroup, after its number */
	const char *root;
	const char *limit, *usage;
};

static const struct version versions[] = {
	{ ":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes" },
	{ "::", "/sys/fs/cgroup", "memory.max", "memory.current" },
};

/* "max", and version 1's largest number, are no limit. */
static u64 parse_bytes(const char *text)
{
	u64 value = g_ascii_isdigit(*text) ? strtoull(text, NULL, 10) : UINT64_MAX;

	return value > (u64)INT64_MAX - MIB ? UINT64_MAX : value;
}

static bool read_text(int fd, char *text, size_t bytes)
{
	ssize_t n = pread(fd, text, bytes - 1, 0);

	text[MAX(n, 0)] = 0;
	return n > 0;
}

static u64 read_bytes(int fd, u64 otherwise)
{
	char text[64];

	return read_text(fd, text, sizeof(text)) ? parse_bytes(text) : otherwise;
}

/* Cached files, which the host drops before it runs out; version 1 sums over subgroups as "total_".
 */
static u64 reclaimable(int stat_fd)
{
	static const char *const names[] = { "\ninactive_file ", "\nactive_file " };
	static const char *const totals[] = { "\ntotal_inactive_file ", "\ntotal_active_file " };
	char text[4096];
	u64 sum = 0;

	if (!read_text(stat_fd, text, sizeof(text)))
		return 0;
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		const char *name = strstr(text, totals[i]) ? totals[i] : names[i];
		const char *at = strstr(text, name);

		if (at)
			sum += strtoull(at + strlen(name), NULL, 10);
	}
	return sum;
}

static void close_level(const struct limit_level *level)
{
	const int fds[] = { level->limit_fd, level->usage_fd, level->stat_fd };

	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int open_in(const char *directory, const char *name)
{
	g_autofree char *path = g_build_filename(directory, name, NULL);

	return open(path, O_RDONLY | O_CLOEXEC);
}

static void add_level(struct memory_limits *limits, const struct version *v, const char *directory)
{
	struct limit_level level = {
		.limit_fd = open_in(directory, v->limit),
		.usage_fd = open_in(directory, v->usage),
		.stat_fd = open_in(directory, "memory.stat"),
	};

	if (level.usage_fd >= 0 && limits->count < LIMIT_LEVELS_MAX &&
	    read_bytes(level.limit_fd, UINT64_MAX) != UINT64_MAX)
		limits->levels[limits->count++] = level;
	else
		close_level(&level);
}

/* The group itself and its parents. In a namespace the path may lead out of what is mounted
 * ("/.."): then only the root of what is visible can be asked. */
static void add_levels(struct memory_limits *limits, const struct version *v, const char *path)
{
	g_autofree char *directory =
		g_strconcat(v->root, g_str_has_prefix(path, "/..") ? "/" : path, NULL);

	while (strlen(directory) > strlen(v->root)) {
		add_level(limits, v, directory);
		*strrchr(directory, '/') = 0;
	}
	add_level(limits, v, v->root);
}

bool memory_limits_open(struct memory_limits *limits)
{
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	limits->count = 0;
	if (!g_file_get_contents("/proc/self/cgroup", &text, NULL, NULL))
		return false;
	lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		const char *rest = *line + strspn(*line, "0123456789");

		for (unsigned i = 0; i < ARRAY_LEN(versions); i++)
			if (g_str_has_prefix(rest, versions[i].prefix))
				add_levels(limits, &versions[i], rest + strlen(versions[i].prefix));
	}
	return limits->count > 0;
}

void memory_limits_close(struct memory_limits *limits)
{
	for (unsigned i = 0; i < limits->count; i++)
		close_level(&limits->levels[i]);
	limits->count = 0;
}

u64 memory_limits_room(const struct memory_limits *limits)
{
	u64 room = UINT64_MAX, swap = 0;
	struct sysinfo info;

	if (limits->count && sysinfo(&info) == 0)
		swap = (u64)info.freeswap * info.mem_unit;
	for (unsigned i = 0; i < limits->count; i++) {
		const struct limit_level *level = &limits->levels[i];
		u64 limit = read_bytes(level->limit_fd, UINT64_MAX), used;

		if (limit == UINT64_MAX)
			continue;
		used = read_bytes(level->usage_fd, 0);
		used -= MIN(used, reclaimable(level->stat_fd));
		room = MIN(room, limit + swap > used ? limit + swap - used : 0);
	}
	return room;
}
