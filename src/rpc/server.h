/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The serving side of libvirt's protocol.
 *
 *   listening socket --> struct rpc_client --frame--> dispatch --> access rule --> handler
 *                              ^                                                     |
 *                              '--bounded queue <-- rpc_reply_NAME(), now or later --'
 *
 * All of it runs on one GMainContext; a handler that has to wait answers later, from that context,
 * and other calls go on meanwhile. Each call is answered exactly once: by rpc_reply_NAME(), which
 * the generator makes for every procedure, or by rpc_call_fail(). An answer to a client that has
 * gone is dropped.
 *
 * What a client may do to others:
 * - a frame that is none, or arguments that cannot be decoded, close its connection;
 * - RPC_CALLS_MAX calls are under way per client; further ones wait in its socket;
 * - a client that does not read has no further calls taken in (RPC_OUTPUT_PAUSE) and is closed
 *   when its events pile up (RPC_OUTPUT_MAX);
 * - descriptors come by UNIX sockets that may change something, with calls that take them, and
 *   belong to their call; a byte that carries one which no message has counted closes the
 *   connection, and a client that counts some and sends them late waits alone;
 * - all clients together hold at most RPC_BUFFERED_MAX bytes of messages: who asks for more, goes;
 * - RPC_CLIENTS_MAX clients, RPC_CLIENTS_OF_USER_MAX of one user, are served at a time.
 *
 * Before connect_open succeeded, only what belongs to the handshake is dispatched. A read-only
 * client is refused every call whose rule asks for more than reading, with the flags it gave.
 */
#ifndef LODGE_RPC_SERVER_H
#define LODGE_RPC_SERVER_H

#include "rpc/procedure.h"

#include <sys/types.h>

#define RPC_CLIENTS_MAX         5000
#define RPC_CLIENTS_OF_USER_MAX 2000 /* root and the server's own user may use all */
#define RPC_NEWCOMERS_MAX       100  /* whose TLS handshake is under way, for at most: */
#define RPC_HANDSHAKE_SECONDS   15
#define RPC_CALLS_MAX           16
#define RPC_CARRIED_MAX         1024   /* descriptors whose message is not all here yet, of all */
#define RPC_STREAMS_MAX         16     /* of one client */
#define RPC_STREAM_BYTES_MAX    262120 /* in one packet: what clients and servers of old take */
#define RPC_OUTPUT_PAUSE        (1u << 20)
#define RPC_OUTPUT_MAX          (8u << 20)
#define RPC_BUFFERED_MAX        (256u << 20)
#define RPC_KEEPALIVE_SECONDS   5
#define RPC_KEEPALIVE_COUNT     5 /* pings without any answer, then the client is gone */

struct rpc_handlers;
struct rpc_server;
struct rpc_client;
struct rpc_call;
struct rpc_credentials;

/* --- dispatch.c --- */

/* The procedure of that number that clients call, or NULL. */
const struct rpc_procedure *rpc_procedure_find(u32 program, s32 number);
/* The first rule of the call with these arguments that asks for more than reading, or NULL. */
const struct rpc_rule *rpc_procedure_changes(const struct rpc_procedure *procedure,
					     const void *args);

/* --- server.c --- */

/* Who is at the other end. */
struct rpc_identity {
	const char *remote; /* by TLS: address and certificate's name, and the user is the server's
			     * own; NULL: somebody on this host */
	pid_t pid;          /* 0: not known (TCP, TLS) */
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* beside that one; as long as the client is there */
	unsigned group_count;
	bool read_only; /* by the socket it came to */
};

struct rpc_server_options {
	/* Tables of handlers; the first that has a procedure serves it. Ends with NULL. */
	const struct rpc_handlers *const *handlers;
	/* May this peer connect? NULL: all may. */
	bool (*admit)(const struct rpc_identity *identity, void *opaque);
	/* A client has come; NULL: nobody asks. */
	void (*come)(struct rpc_client *client, void *opaque);
	/* The client has gone; its data (below) is still there. NULL: nobody asks. */
	void (*gone)(struct rpc_client *client, void *opaque);
	/* What lacks, for people, where no table serves that procedure; NULL: nobody knows. */
	const char *(*absent)(const char *procedure);
	void *opaque;
};

/* Serves on the calling thread's default context. */
struct rpc_server *rpc_server_new(const struct rpc_server_options *options);
/* Takes over @fd, a listening UNIX socket. */
void rpc_server_listen(struct rpc_server *server, int fd, bool read_only);
/* The same for a listening TCP socket. A peer on this host is the user whose socket it is, as with
 * a UNIX socket; all others are turned away. */
void rpc_server_listen_tcp(struct rpc_server *server, int fd);
/* The same, with TLS (rpc/tls.h); @credentials are the caller's, for longer than the server. */
void rpc_server_listen_tls(struct rpc_server *server, int fd,
			   const struct rpc_credentials *credentials);
/* Takes over @fd, a connected socket. */
struct rpc_client *rpc_server_adopt(struct rpc_server *server, int fd,
				    const struct rpc_identity *identity);
unsigned rpc_server_clients(const struct rpc_server *server);
/* Closes everything; calls that still wait for their answer may get it later. NULL is ignored. */
void rpc_server_free(struct rpc_server *server);

/* --- client.c --- */

/* For a while in which it may go. */
struct rpc_client *rpc_client_ref(struct rpc_client *client);
void rpc_client_unref(struct rpc_client *client);
const struct rpc_identity *rpc_client_identity(const struct rpc_client *client);
/* connect_open succeeded; it may have asked for a read-only connection. */
void rpc_client_opened(struct rpc_client *client, bool read_only);
bool rpc_client_is_read_only(const struct rpc_client *client);
/* By a UNIX socket: descriptors pass. */
bool rpc_client_is_local(const struct rpc_client *client);
/* The client understands pings: it is sent some when it is silent. */
void rpc_client_keepalive(struct rpc_client *client);
/* One pointer for the server's owner, freed with the client. */
void rpc_client_set_data(struct rpc_client *client, void *data, GDestroyNotify destroy);
void *rpc_client_data(const struct rpc_client *client);
/* Behind rpc_event_NAME(). */
void rpc_client_send_event(struct rpc_client *client, const struct rpc_procedure *procedure,
			   const void *args);

/* --- stream.c --- */

/*
 * Bytes beside the calls, both ways, from the reply of the call that opened it to its end. What
 * the client sends must be taken at once, and rpc_stream_hold() has it send no more for a while;
 * what it does not read has rpc_stream_send() say no.
 */
struct rpc_stream;

struct rpc_stream_callbacks {
	void (*data)(struct rpc_stream *stream, const u8 *bytes, size_t n, void *opaque);
	/* After rpc_stream_send() said no: the client has read. */
	void (*writable)(struct rpc_stream *stream, void *opaque);
	/* The client has ended it, or gone; the stream goes with this call. */
	void (*ended)(struct rpc_stream *stream, void *opaque);
	/* So many zeroes. NULL: a client that sends a hole is closed. */
	void (*hole)(struct rpc_stream *stream, u64 bytes, void *opaque);
	/* That was all, and rpc_stream_finish() or rpc_stream_fail() answers; ended() may come
	 * before. NULL: ended() is called at once. */
	void (*finish)(struct rpc_stream *stream, void *opaque);
};

/* Before the call is answered. NULL: the client has too many, or has gone. */
struct rpc_stream *rpc_call_open_stream(struct rpc_call *call,
					const struct rpc_stream_callbacks *callbacks, void *opaque);
/* False: send no more until writable() or, if the client went just now, ever: ended() was called.
 */
bool rpc_stream_send(struct rpc_stream *stream, const u8 *bytes, size_t n);
/* The same for @bytes zeroes, to a client that asked for holes. */
bool rpc_stream_send_hole(struct rpc_stream *stream, u64 bytes);
/* While it is held, nothing is taken from the client. */
void rpc_stream_hold(struct rpc_stream *stream, bool hold);
/* Nothing more comes; the stream is the owner's no longer, and no callback is called. */
void rpc_stream_close(struct rpc_stream *stream);
/* All that the client sent is where it belongs. The stream is gone. */
void rpc_stream_finish(struct rpc_stream *stream);
/* It ends with an error (VIR_ERR_*, VIR_FROM_*). The stream is gone. */
void rpc_stream_fail(struct rpc_stream *stream, int code, int domain, const char *text);

/* --- call.c --- */

struct rpc_client *rpc_call_client(const struct rpc_call *call);
void *rpc_call_opaque(const struct rpc_call *call);
const struct rpc_procedure *rpc_call_procedure(const struct rpc_call *call);
/* What an answer is made in; it and the arguments are gone when the call is answered. */
struct rpc_arena *rpc_call_arena(struct rpc_call *call);
/* The descriptors that came with the call, *count of them; they are closed when it is answered. */
const int *rpc_call_fds(const struct rpc_call *call, unsigned *count);
/* Sends @fd, which it takes over, with the answer of a call that has some. False: that cannot be,
 * as there are RPC_FDS_MAX, or the client is not on this host. */
bool rpc_call_add_fd(struct rpc_call *call, int fd);
/* Behind rpc_reply_NAME(); must be of the call's own procedure. */
void rpc_call_answer(struct rpc_call *call, const struct rpc_procedure *procedure, const void *ret);
/* @code and @domain are libvirt's: VIR_ERR_*, VIR_FROM_*. */
void rpc_call_fail(struct rpc_call *call, int code, int domain, const char *fmt, ...)
	G_GNUC_PRINTF(4, 5);

#endif
