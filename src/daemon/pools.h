/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storage pools: folders whose plain files are volumes, as they are (type 'dir') or with a file
 * system mounted on them while the pool is active ('fs', 'netfs').
 *
 *   call --> pool_run(job) --thread: work()--> storage.c --main loop: finish()--> answer
 *
 * A pool is worked on as who has defined it, with that user's authority for files and no more; so
 * it is refreshed and started by whoever.
 *
 * What a disk is asked for is a job; those of one pool run one after the other, those of different
 * pools do not wait for each other. What was found last is what lists and lookups tell.
 *
 *   run/pools/UUID.xml    it is active, as this; so it is again when lodged starts again
 */
#ifndef LODGE_DAEMON_POOLS_H
#define LODGE_DAEMON_POOLS_H

#include "daemon/kept.h"
#include "daemon/storage.h"

struct startup;

struct pool_job {
	struct kept *kept;
	struct rpc_call *call; /* that it answers, or NULL */
	/* What has to be done, on a thread, and then on the main loop; finish() answers. */
	void (*work)(struct pool_job *job);
	void (*finish)(struct pool_job *job);
	void (*answer)(struct pool_job *job); /* of pool_start() and _stop() */
	bool held;                            /* it goes on after finish() */
	struct startup *startup;              /* of lodged, that waits for it; or NULL */
	struct launch_authority *authority;   /* as whom it is done; NULL: lodged's own */
	char *source, *format;                /* what is mounted on the folder, or NULL */
	char *folder, *name;                  /* the pool's target; a volume's name or NULL */
	bool build;                           /* make the folder first */
	mode_t mode;                          /* of the folder */
	u32 flags;
	struct storage_wish wish;
	char *from_folder, *from_name; /* whose bytes it gets, or NULL */
	struct storage_resize resize;
	void *data; /* its owner's */
	/* What came of it. */
	struct storage_scan scan;
	struct volume *volume;
	GError *error;
};

/* What knows the formats of volumes. */
static inline struct formats *job_formats(const struct pool_job *job)
{
	return job->kept->keeper->daemon->formats;
}

/* All of them; active ones and those with a mark are started. */
struct keeper *pools_open(struct daemon *daemon);
/* Waits for the jobs that run. NULL is ignored. */
void pools_close(struct keeper *keeper);

/* An absolute path without '.', '..' and needless slashes; the caller frees it. */
char *pool_canonical_path(const char *given);
const char *pool_target(const struct kept *kept);
/* Its type is 'dir', 'fs' or 'netfs'. */
bool pool_is_of(const struct kept *kept, const char *type);
/* What was found last; NULL: it is not active. */
const struct storage_scan *pool_scan(const struct kept *kept);
struct volume *pool_find_volume(const struct kept *kept, const char *name);
/* The active pool whose target is the folder of @path, and the name of the volume; or NULL. */
struct kept *pool_of_path(const struct keeper *keeper, const char *path, const char **name);
/* Another pool with the same target, or NULL. */
struct kept *pool_conflict(const struct keeper *keeper, const xmlDoc *doc);
/* What clients see of it; the caller frees it. */
char *pool_xml(const struct kept *kept);
char *volume_xml(const struct kept *kept, const struct volume *volume);
/* Reads a new volume's XML; the caller frees the name. NULL with @error set: it is none. */
char *volume_read(const char *xml, struct storage_wish *wish, GError **error);

/* A job of a pool, for @call. */
struct pool_job *pool_job_new(struct kept *kept, struct rpc_call *call, const char *name);
/* Takes it over. */
void pool_run(struct pool_job *job);
/* Makes it active; job->answer() is called when that is kept, or with job->error set. */
void pool_start(struct pool_job *job);
/* Not active any more; job->answer() is called when that is kept, or with job->error set. */
void pool_stop(struct pool_job *job);
/* Puts in what a job has found: the whole, or one volume. */
void pool_take_scan(struct pool_job *job);
void pool_take_volume(struct pool_job *job);
void pool_forget_volume(struct kept *kept, const char *name);

#endif
