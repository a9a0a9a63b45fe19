/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a process that a guest, an image or the network may take over can use of the host at most:
 * setrlimit(2), soft and hard, so that it cannot raise its limits again.
 */
#ifndef LODGE_BASE_RLIMITS_H
#define LODGE_BASE_RLIMITS_H

#include <sys/resource.h>

struct rlimit_most {
	int resource; /* RLIMIT_... */
	rlim_t most;  /* RLIM_INFINITY: as it is; what is less already stays so, too */
};

/* For this process and what it starts. 0, or -errno when one is not set. */
int rlimits_set(const struct rlimit_most *limits, unsigned count);

#endif
