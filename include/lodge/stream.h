/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Streams: a guest's console, a volume's bytes. One thread at a time uses each; others may use the
 * connection meanwhile. See connection.h for what holds everywhere.
 */
#ifndef LODGE_STREAM_H
#define LODGE_STREAM_H

#include <lodge/connection.h>
#include <lodge/domain.h>
#include <lodge/storage.h>

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lodge_stream;

enum lodge_console_flags {
	LODGE_CONSOLE_FORCE = 1 << 0, /* even if somebody else has it: they lose it */
};

/* A console of a guest that runs, both ways: by its alias, as "serial0", or NULL for the first. */
struct lodge_stream *lodge_domain_console(struct lodge_domain *domain, const char *device,
					  unsigned flags);
/* @bytes of a volume from @offset on, into or out of it; of a download, 0: all that there are. */
struct lodge_stream *lodge_volume_upload(struct lodge_volume *volume, uint64_t offset,
					 uint64_t bytes, unsigned flags);
struct lodge_stream *lodge_volume_download(struct lodge_volume *volume, uint64_t offset,
					   uint64_t bytes, unsigned flags);
/* Ends it; without lodge_stream_finish(), as one that was given up. NULL is fine. */
void lodge_stream_free(struct lodge_stream *stream);

/* Sends all of @bytes, waiting as long as that takes. */
int lodge_stream_send(struct lodge_stream *stream, const void *bytes, size_t n);

enum lodge_receive_flags {
	LODGE_RECEIVE_NO_WAIT = 1 << 0,
};
#define LODGE_NOTHING_YET (-2)
/* Takes up to @n bytes, waiting for the first. 0: no more come. LODGE_NOTHING_YET, only with
 * LODGE_RECEIVE_NO_WAIT: none are there; lodge_connection_fd() is readable when some may be. */
ssize_t lodge_stream_receive(struct lodge_stream *stream, void *bytes, size_t n, unsigned flags);
/* All has been sent, or received: waits until the daemon agrees, which of an upload means that it
 * is on the disk. */
int lodge_stream_finish(struct lodge_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
