/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptors that pass with messages over a UNIX socket. A message of type RPC_CALL_FDS or
 * RPC_REPLY_FDS begins its payload with their number; behind it comes one byte for each, which
 * carries it (SCM_RIGHTS, unix(7)) and which no length counts:
 *
 *   length | header | count = 2 | payload | . | . | length | header ...
 *                                           ^   ^
 *                                          fd  fd
 *
 * The kernel ends a read with the byte that carries something, so that it is known which byte that
 * was. What another byte carries, or a byte carries beside its one descriptor, is nobody's: the
 * sender's connection ends, and everything that came is closed.
 */
#ifndef LODGE_RPC_CARRIED_H
#define LODGE_RPC_CARRIED_H

#include "base/types.h"

#include <sys/types.h>

#define RPC_FDS_MAX 32 /* with one message */

/* Open descriptors, whose owner is whoever has the struct. */
struct rpc_fds {
	u32 count;
	int items[RPC_FDS_MAX];
};

/* Closes them all; there are none then. */
void rpc_fds_close(struct rpc_fds *fds);
/* Takes over @fd. False: there are RPC_FDS_MAX already, and it is closed. */
bool rpc_fds_add(struct rpc_fds *fds, int fd);

/* Those of a queue of bytes, by the place of the byte that carries each; in their order. */
struct rpc_carried {
	u32 count, room;
	struct rpc_carrier {
		size_t at;
		int fd;
	} * items;
};

/* Takes over @fd. False: there are RPC_FDS_MAX already, and it is closed. */
bool rpc_carried_keep(struct rpc_carried *carried, size_t at, int fd);
/* Those of the @count bytes at @at. False: one of them carries nothing. */
bool rpc_carried_take(struct rpc_carried *carried, size_t at, u32 count, struct rpc_fds *fds);
/* The first @bytes leave the queue. False: one of them carries something still, which is closed. */
bool rpc_carried_advance(struct rpc_carried *carried, size_t bytes);
void rpc_carried_clear(struct rpc_carried *carried);

/* As recv() with MSG_DONTWAIT; *@fd is what the last byte carries, or -1. More than one descriptor
 * is EPROTO, as is one for which there is no room. */
ssize_t rpc_carried_receive(int socket, void *bytes, size_t n, int *fd);
/* As send() of one byte with MSG_DONTWAIT, which carries @fd. */
ssize_t rpc_carried_send(int socket, int fd);

#endif
