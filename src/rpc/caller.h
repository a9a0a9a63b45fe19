/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The asking side of libvirt's protocol: one connection, which any number of threads call through.
 *
 *   thread A --call 7--> |        | <--reply 8--
 *   thread B --call 8--> | socket | <--event---- lodged
 *   main loop <--fd----- |        | <--reply 7--
 *
 * Whoever waits for a reply and finds nobody reading reads for all: replies go to their threads,
 * events into a queue.
 *
 * Events wait until somebody asks for the next one. rpc_caller_fd() is readable when one is there,
 * or when something comes in while nobody calls; a main loop watches it. Pings are answered by
 * whoever reads.
 *
 * What comes in is decoded by codec.c, which trusts no byte. An answer that is none ends the
 * connection: every call, also those under way, then fails with the reason.
 */
#ifndef LODGE_RPC_CALLER_H
#define LODGE_RPC_CALLER_H

#include "rpc/carried.h"
#include "rpc/codec.h"
#include "rpc/procedure.h"

#define RPC_EVENTS_MAX 65536 /* that nobody has asked for: older ones go */
#define RPC_STREAM_QUEUE_MAX \
	(64u << 20) /* bytes of a stream that nobody takes: then it has failed */

struct rpc_caller;
struct rpc_credentials;
struct rpc_tls;

/* Why a call failed: what the server said, or, with VIR_ERR_RPC, what became of the connection. */
struct rpc_failure {
	s32 code;      /* VIR_ERR_* */
	s32 domain;    /* VIR_FROM_* */
	char *message; /* free with g_free() */
};

/* Takes over @fd, a connected stream socket, and with TLS @tls, whose handshake is done, and the
 * credentials that it uses; else NULL. */
struct rpc_caller *rpc_caller_new(int fd, struct rpc_tls *tls, struct rpc_credentials *credentials);
/* Its socket is a UNIX socket of the server's own: descriptors may pass. Before the first call. */
void rpc_caller_allow_files(struct rpc_caller *caller);
/* No call may be under way. */
void rpc_caller_free(struct rpc_caller *caller);
/*
 * Any thread: calls and waits for the answer, which lives in @arena. @args and @ret are of the
 * procedure's types, or NULL where it has none. False: @failure says why.
 */
bool rpc_caller_ask(struct rpc_caller *caller, const struct rpc_procedure *procedure,
		    const void *args, struct rpc_arena *arena, void *ret,
		    struct rpc_failure *failure);
/* The same for a call with which descriptors go: those in @out, which stay the caller's and may be
 * closed when this returns, or none, with NULL. Those of the answer are the caller's, in @in, or
 * are closed, with NULL. */
bool rpc_caller_ask_files(struct rpc_caller *caller, const struct rpc_procedure *procedure,
			  const void *args, const struct rpc_fds *out, struct rpc_arena *arena,
			  void *ret, struct rpc_fds *in, struct rpc_failure *failure);
/* Owned by @caller; watch it for input. */
int rpc_caller_fd(const struct rpc_caller *caller);
/*
 * Any thread: reads what has come in, without waiting. The oldest event that is waiting: its
 * procedure, and in *@value, which lives in @arena, its arguments. NULL: there is none.
 */
const struct rpc_procedure *rpc_caller_next_event(struct rpc_caller *caller,
						  struct rpc_arena *arena, void **value);

/* --- streams: bytes both ways beside the calls. One thread at a time uses each. --- */

struct rpc_caller_stream;

/* Makes a call that opens one, as rpc_caller_ask(). NULL: @failure says why. */
struct rpc_caller_stream *rpc_caller_open_stream(struct rpc_caller *caller,
						 const struct rpc_procedure *procedure,
						 const void *args, struct rpc_failure *failure);
/* Ends it, if rpc_caller_stream_finish() has not: then the server learns that it was given up. */
void rpc_caller_stream_free(struct rpc_caller_stream *stream);
/* Sends all of it, waiting while the server does not read. False: the stream has failed. */
bool rpc_caller_stream_send(struct rpc_caller_stream *stream, const u8 *bytes, size_t n,
			    struct rpc_failure *failure);
#define RPC_NOTHING_YET (-2)
/* Up to @n bytes, waiting for some if @wait is set, else RPC_NOTHING_YET: rpc_caller_fd() is
 * readable when there may be more. 0: no more come. -1: the stream has failed. */
ssize_t rpc_caller_stream_receive(struct rpc_caller_stream *stream, u8 *bytes, size_t n, bool wait,
				  struct rpc_failure *failure);
/* Says that all has been sent, and waits for the server to agree. */
bool rpc_caller_stream_finish(struct rpc_caller_stream *stream, struct rpc_failure *failure);

/* Has the connection ended? */
bool rpc_caller_is_broken(struct rpc_caller *caller);

#endif
