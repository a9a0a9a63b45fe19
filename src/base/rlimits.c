/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of a process that gives up its rights, see rlimits.h. */
#include "base/rlimits.h"

#include <errno.h>

int rlimits_set(const struct rlimit_most *limits, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct rlimit now;

		if (limits[i].most == RLIM_INFINITY)
			continue;
		if (getrlimit(limits[i].resource, &now))
			return -errno;
		if (now.rlim_max > limits[i].most)
			now.rlim_max = limits[i].most;
		now.rlim_cur = now.rlim_max;
		if (setrlimit(limits[i].resource, &now))
			return -errno;
	}
	return 0;
}
