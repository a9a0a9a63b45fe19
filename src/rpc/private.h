/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the serving side share. */
#ifndef LODGE_RPC_PRIVATE_H
#define LODGE_RPC_PRIVATE_H

#include "rpc/carried.h"
#include "rpc/message.h"
#include "rpc/server.h"
#include "rpc/tls.h"

#define RPC_READ_BYTES   65536
#define RPC_REMOTE_BYTES 300 /* of a remote client's name, in messages */

struct rpc_server {
	struct rpc_server_options options;
	GMainContext *context;
	GPtrArray *listeners; /* struct listener */
	GPtrArray *clients;   /* struct rpc_client, referenced */
	GPtrArray *newcomers; /* of remote.c: their handshakes are under way */
	size_t buffered;      /* bytes of messages, of all clients */
	u32 carried;          /* descriptors that have come and belong to no call yet, of all */
	GSource *keepalive;
	u8 input[RPC_READ_BYTES];
};

struct rpc_client {
	unsigned references;
	struct rpc_server *server; /* NULL once it is closed */
	int fd;
	struct rpc_tls *tls; /* NULL: none */
	struct rpc_identity identity;
	bool open, read_only, local; /* by a UNIX socket */
	GSource *source;
	void *tag;                  /* of fd in the source */
	GIOCondition condition;     /* what it waits for there */
	GByteArray *in;             /* NULL when there is nothing */
	struct rpc_carried carried; /* descriptors of it */
	GQueue out;                 /* struct packet */
	size_t out_sent, out_bytes; /* of the first; of all that are queued */
	unsigned calls;             /* that wait for their answer */
	unsigned holds;             /* streams whose owner has enough for now */
	bool keepalive, alive;      /* wants pings; something came since the last one */
	unsigned unanswered;
	GPtrArray *streams; /* struct rpc_stream, that are open */
	void *data;
	GDestroyNotify destroy;
};

/* --- server.c --- */
void rpc_server_forget(struct rpc_server *server, struct rpc_client *client);
/* Takes over @fd and @tls, whose peer is known: a new client, unless it may not connect. */
void rpc_server_greet(struct rpc_server *server, int fd, struct rpc_tls *tls,
		      const struct rpc_identity *identity);

/* --- remote.c --- */
/* Take over @fd, an accepted connection, and learn who that is. */
void rpc_remote_take(struct rpc_server *server, int fd);
void rpc_remote_take_tls(struct rpc_server *server, int fd,
			 const struct rpc_credentials *credentials);
/* Closes what has not said who it is. */
void rpc_remote_drop(struct rpc_server *server);

/* --- client.c --- */
struct rpc_client *rpc_client_new(struct rpc_server *server, int fd, struct rpc_tls *tls,
				  const struct rpc_identity *identity);
/* Ends the connection; @why is for the log, or NULL. */
void rpc_client_close(struct rpc_client *client, const char *why);
/* Takes over @message and sends it when the client reads. */
void rpc_client_queue(struct rpc_client *client, GByteArray *message);
/* The same for a descriptor. */
void rpc_client_queue_fd(struct rpc_client *client, int fd);
/* A call has been answered: the next may be taken in. */
void rpc_client_call_done(struct rpc_client *client);
/* It is not read from while more streams hold it than have let it go. */
void rpc_client_hold(struct rpc_client *client, bool hold);
/* The keepalive clock has ticked. */
void rpc_client_tick(struct rpc_client *client);

/* --- dispatch.c --- */
/* Takes in one complete message, and of @fds, which came with it, what it wants. */
void rpc_dispatch(struct rpc_client *client, const u8 *message, size_t bytes, struct rpc_fds *fds);

/* --- stream.c --- */
struct rpc_stream *rpc_stream_new(struct rpc_client *client, const struct rpc_header *header,
				  const struct rpc_stream_callbacks *callbacks, void *opaque);
/* Takes in a packet of a stream. */
void rpc_stream_take(struct rpc_client *client, const struct rpc_header *header, const u8 *payload,
		     size_t bytes);
/* The client has read: streams that waited for it may go on. */
void rpc_streams_resume(struct rpc_client *client);
/* The client has gone. */
void rpc_streams_end(struct rpc_client *client);

/* --- call.c --- */
/* Gives it the descriptors that came with it, which are closed with it: none is left in @fds. */
void rpc_call_set_fds(struct rpc_call *call, struct rpc_fds *fds);
/* A call that is to be answered; its arguments are not decoded yet. */
struct rpc_call *rpc_call_new(struct rpc_client *client, const struct rpc_header *header,
			      const struct rpc_procedure *procedure);
/* False: they are none. */
bool rpc_call_decode(struct rpc_call *call, const u8 *bytes, size_t length);
const void *rpc_call_args(const struct rpc_call *call);
/* Ends a call that gets no answer. */
void rpc_call_drop(struct rpc_call *call);
/* Appends an error to @message. */
void rpc_error_encode(int code, int domain, const char *text, GByteArray *message);

#endif
