/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest's process publishes of itself, so that nobody has to ask it: a file of counters that
 * the process maps and others read.
 *
 *   header | disk 0 | disk 1 ... | network card 0 | network card 1 ...      (in the plan's order)
 *
 * A counter only grows, by one atomic addition, and is read as it stands. Nothing in the file is to
 * be trusted: the process that writes it may be a hostile guest's. It is therefore read, never
 * mapped, by others, and a header that is not of exactly the counts that are expected is none.
 *
 * A field may be added in place of an unused one, which is zero; every other change is a new
 * STATISTICS_VERSION.
 */
#ifndef LODGE_BASE_STATISTICS_H
#define LODGE_BASE_STATISTICS_H

#include "base/types.h"

#define STATISTICS_MAGIC   0x73746174656764ull
#define STATISTICS_VERSION 1
#define STATISTICS_MAX     256 /* of each kind */

struct statistics_header {
	u64 magic; /* written last */
	u32 version, disks, nets, unused32;
	u64 unused[5];
};

/* Requests that were answered, and from when to when they took. */
struct statistics_disk {
	u64 read_requests, read_bytes, read_ns;
	u64 write_requests, write_bytes, write_ns;
	u64 flush_requests, flush_ns;
	u64 discard_requests, discard_bytes, discard_ns; /* and zeroes */
	u64 failures;                                    /* of the host */
	u64 capacity;                                    /* bytes that the guest sees; may change */
	u64 allocated; /* bytes that it took on the host when it was last flushed; 0: not known */
	u64 unused[2];
};

/* As the guest sees it; frames without their checksum. */
struct statistics_net {
	u64 rx_bytes, rx_frames, rx_dropped;
	u64 tx_bytes, tx_frames, tx_dropped;
	u64 unused[2];
};

struct statistics {
	struct statistics_header *header; /* NULL: there are none */
	struct statistics_disk *disks;
	struct statistics_net *nets;
	size_t bytes;
};

/* How long the file is. */
size_t statistics_bytes(unsigned disks, unsigned nets);

/* For the process: maps the file, which is that long. False: errno says why. */
bool statistics_map(struct statistics *statistics, int fd, unsigned disks, unsigned nets);
void statistics_unmap(struct statistics *statistics);

/* For others: reads the file; statistics_clear() frees what was read. False: it is no such file, or
 * not written yet. */
bool statistics_read(struct statistics *statistics, int fd, unsigned disks, unsigned nets);
void statistics_clear(struct statistics *statistics);

static inline void statistics_add(u64 *counter, u64 amount)
{
	__atomic_fetch_add(counter, amount, __ATOMIC_RELAXED);
}

#endif
