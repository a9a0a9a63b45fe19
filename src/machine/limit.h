/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory the control groups of this process still allow. At its limit a group's processes
 * are killed, so whoever is about to take much memory asks first.
 */
#ifndef LODGE_MACHINE_LIMIT_H
#define LODGE_MACHINE_LIMIT_H

#include "base/types.h"

#define LIMIT_LEVELS_MAX 16

/* One group that has a limit: descriptors of its files, of either version of control groups. */
struct limit_level {
	int limit_fd, usage_fd, stat_fd;
};

struct memory_limits {
	struct limit_level levels[LIMIT_LEVELS_MAX];
	unsigned count;
};

/* Opens what this process's groups, from its own up, say about memory. False: there is no limit
 * (or no control groups), and @limits is empty. */
bool memory_limits_open(struct memory_limits *limits);
void memory_limits_close(struct memory_limits *limits);
/* Bytes until the nearest limit, counting what the host would free for us first: cached files and
 * what fits into swap. UINT64_MAX: no limit. Any thread, in a signal handler as well. */
u64 memory_limits_room(const struct memory_limits *limits);

#endif
