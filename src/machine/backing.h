/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What guest RAM is made of on the host: private memory, a memfd or huge pages that were set apart,
 * from which of the host's memory nodes, and whether all of it is there from the start.
 */
#ifndef LODGE_MACHINE_BACKING_H
#define LODGE_MACHINE_BACKING_H

#include "base/number_set.h"
#include "base/types.h"
#include <glib.h>

enum numa_mode { NUMA_ANY, NUMA_STRICT, NUMA_PREFERRED, NUMA_INTERLEAVE };

struct memory_backing {
	bool shared;         /* a memfd, which other processes can map */
	u64 huge_page_bytes; /* of pages that the host has set apart; 0: not those */
	bool allocated;      /* it is all there before the guest starts */
	enum numa_mode numa_mode;
	struct number_set numa_nodes; /* unless NUMA_ANY */
};

/* Maps @bytes of zeroed memory with @prot, and binds it to its nodes. *@fd: of shared memory, which
 * becomes the caller's as the mapping does; else -1. NULL with @error set. */
void *backing_map(const struct memory_backing *backing, u64 bytes, int prot, int *fd,
		  GError **error);
/* Has the host provide all of a mapping that is accessible. -errno with @error set. */
int backing_allocate(void *start, u64 bytes, GError **error);

#endif
