/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images: one interface for every format and every place they are kept.
 *
 *   device -> block_submit(request) -> driver -> file
 *          <- request->done(result) <- driver's I/O thread, or block_submit() itself
 *
 * A driver is one file with one struct block_driver. Requests are independent: a driver may run
 * them in any order, and a flush covers the writes that were done before it was submitted.
 *
 * submit may be called from any thread. done() is called exactly once, on an I/O thread of the
 * driver or, when the answer is at hand, inside block_submit(): hold no lock that done() takes.
 */
#ifndef LODGE_BLOCK_BLOCK_H
#define LODGE_BLOCK_BLOCK_H

#include "base/statistics.h"
#include "base/types.h"
#include <glib.h>
#include <sys/uio.h>

#define BLOCK_ERROR block_error_quark()
GQuark block_error_quark(void); /* codes are errno values */

#define BLOCK_SECTOR 512

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

struct block_request {
	enum block_op op;
	bool unmap;              /* write zeroes: the range may be deallocated */
	u64 offset, bytes;       /* in bytes, within the disk; multiples of the sector size */
	const struct iovec *iov; /* reads and writes: exactly @bytes; stays until done */
	unsigned iov_count;
	/* @result: 0 or -errno; -ENOTSUP: discard or zeroes cannot be done here; -EROFS, -EINVAL,
	 * -ERANGE: the request is wrong. Everything else is the host's failure. */
	void (*done)(struct block_request *request, int result);
	/* The core's and the driver's while they have the request. */
	struct block *block;
	u64 start_ns;
	struct block_request *next;
	u64 progress;
	void *driver;
};

enum block_cache {
	BLOCK_CACHE_WRITEBACK,
	BLOCK_CACHE_NONE,
	BLOCK_CACHE_WRITETHROUGH,
	BLOCK_CACHE_DIRECTSYNC,
	BLOCK_CACHE_UNSAFE
};

struct block_config {
	const char *driver; /* "raw" */
	const char *name;   /* for messages; copied */
	int fd;             /* ownership passes when opening succeeds */
	bool readonly;
	bool discard;           /* hand discards through to the host */
	enum block_cache cache; /* of the guest; the host's is bypassed when @fd has O_DIRECT */
	struct statistics_disk *statistics; /* where requests are counted, or NULL */
	bool no_uring;                      /* tests: the thread pool even where io_uring works */
};

struct block {
	const struct block_driver *driver;
	char *name;
	u64 failures; /* of the host; drivers report them with block_failed() */
	struct statistics_disk *statistics; /* of the config, or own_statistics */
	struct statistics_disk own_statistics;
	u64 bytes;
	u32 physical_block; /* bytes; a power of two */
	bool readonly, discard;
	enum block_cache cache;
};

struct block_driver {
	const char *name;
	const char *help;
	/* NULL with @error set. The driver's own struct begins with struct block. */
	struct block *(*open)(const struct block_config *config, GError **error);
	void (*submit)(struct block *block, struct block_request *request);
	/* Bytes that the image takes on the host. */
	u64 (*allocated)(struct block *block);
	/* Returns when no request is under way. */
	void (*drain)(struct block *block);
	void (*close)(struct block *block);
};

struct block *block_open(const struct block_config *config, GError **error);
/* Checks the range against the disk, so that drivers need not. */
void block_submit(struct block *block, struct block_request *request);
/* For drivers, any thread: the host failed a request with -@err. The log hears of the first one
 * and of each after which their number has doubled. */
void block_failed(struct block *block, const struct block_request *request, int err);
/* For drivers: counts the request and calls its done(). */
void block_finish(struct block_request *request, int result);
void block_drain(struct block *block);
void block_close(struct block *block); /* drains first; NULL is ignored */

extern const struct block_driver block_driver_raw;       /* raw.c */
extern const struct block_driver *const block_drivers[]; /* NULL-terminated */

#endif
