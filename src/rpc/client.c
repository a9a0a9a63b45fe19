/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection: bytes in, messages out. See server.h.
 *
 * A source of the server's context wakes for the socket, and by its ready time when there are
 * complete messages left that were not taken in at once: after FRAMES_A_TURN the others have
 * theirs. While it may not take in a call, a client is not read from.
 */
#include "base/log.h"
#include "rpc/private.h"

#include "rpc_protocol.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAMES_A_TURN 32

struct client_source {
	GSource source;
	struct rpc_client *client;
};

struct rpc_client *rpc_client_ref(struct rpc_client *client)
{
	client->references++;
	return client;
}

void rpc_client_unref(struct rpc_client *client)
{
	if (--client->references)
		return;
	if (client->destroy)
		client->destroy(client->data);
	g_ptr_array_unref(client->streams);
	g_free((gid_t *)client->identity.groups);
	g_free((char *)client->identity.remote);
	g_free(client);
}

static void drop_buffers(struct rpc_client *client)
{
	if (client->in) {
		client->server->buffered -= client->in->len;
		g_byte_array_unref(client->in);
		client->in = NULL;
	}
	client->server->buffered -= client->out_bytes;
	client->out_bytes = 0;
	g_queue_clear_full(&client->out, (GDestroyNotify)g_byte_array_unref);
}

void rpc_client_close(struct rpc_client *client, const char *why)
{
	struct rpc_server *server = client->server;

	if (!server)
		return;
	if (why && client->identity.remote)
		log_info("rpc", "connection of %s closed: %s", client->identity.remote, why);
	else if (why)
		log_info("rpc", "connection of user %u, process %d, closed: %s",
			 client->identity.uid, client->identity.pid, why);
	drop_buffers(client);
	client->server = NULL;
	rpc_streams_end(client);
	g_source_destroy(client->source);
	g_source_unref(client->source);
	rpc_tls_free(client->tls);
	client->tls = NULL;
	close(client->fd);
	client->fd = -1;
	if (server->options.gone)
		server->options.gone(client, server->options.opaque);
	rpc_server_forget(server, client);
}

/* Counts bytes that are to be kept for a client; false: they are too many, and it is closed. */
static bool account(struct rpc_client *client, size_t bytes)
{
	if (client->server->buffered + bytes > RPC_BUFFERED_MAX) {
		rpc_client_close(client, "all clients together sent or left unread too much");
		return false;
	}
	client->server->buffered += bytes;
	return true;
}

/* --- out --- */

static bool may_take(const struct rpc_client *client)
{
	return client->server && client->calls < RPC_CALLS_MAX && !client->holds &&
	       client->out_bytes < RPC_OUTPUT_PAUSE;
}

/* Is there a whole message, or one that can be none? */
static bool has_message(const struct rpc_client *client)
{
	size_t have = client->in ? client->in->len : 0;
	s64 bytes = have > client->skip ? rpc_message_bytes(client->in->data + client->skip,
							    have - client->skip)
					: 0;

	return bytes < 0 || (bytes && client->skip + bytes <= (s64)have);
}

static void update_source(struct rpc_client *client)
{
	bool take = may_take(client);
	bool more = take && (has_message(client) || rpc_tls_pending(client->tls));
	GIOCondition condition = (take && !more ? G_IO_IN : 0) | (client->out_bytes ? G_IO_OUT : 0);

	g_source_modify_unix_fd(client->source, client->tag, condition);
	g_source_set_ready_time(client->source, more ? 0 : -1);
}

static void flush(struct rpc_client *client)
{
	GByteArray *message;

	while ((message = g_queue_peek_head(&client->out))) {
		ssize_t n = rpc_tls_send(client->tls, client->fd, message->data + client->out_sent,
					 message->len - client->out_sent);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			rpc_client_close(client, NULL);
			return;
		}
		client->out_sent += n;
		client->out_bytes -= n;
		client->server->buffered -= n;
		if (client->out_sent == message->len) {
			g_byte_array_unref(g_queue_pop_head(&client->out));
			client->out_sent = 0;
		}
	}
}

void rpc_client_queue(struct rpc_client *client, GByteArray *message)
{
	if (!client->server || !account(client, message->len)) {
		g_byte_array_unref(message);
		return;
	}
	rpc_client_ref(client);
	g_queue_push_tail(&client->out, message);
	client->out_bytes += message->len;
	if (client->out_bytes == message->len) /* nothing waited before it */
		flush(client);
	if (client->server)
		update_source(client);
	rpc_client_unref(client);
}

/* What waits behind the message that is being sent, which may be a large answer. */
static size_t backlog(const struct rpc_client *client)
{
	const GByteArray *first = client->out.head ? client->out.head->data : NULL;

	return first ? client->out_bytes - (first->len - client->out_sent) : 0;
}

void rpc_client_send_event(struct rpc_client *client, const struct rpc_procedure *procedure,
			   const void *args)
{
	const struct rpc_header header = { .program = procedure->program,
					   .version = RPC_VERSION,
					   .procedure = procedure->number,
					   .type = RPC_EVENT };
	GByteArray *message;

	if (!client->server)
		return;
	message = rpc_message_new(&header);
	if (!rpc_encode(procedure->args, args, message)) {
		log_warning("rpc", "an event, %s, cannot be sent: it is too large",
			    procedure->name);
		g_byte_array_unref(message);
	} else if (backlog(client) + message->len > RPC_OUTPUT_MAX) {
		g_byte_array_unref(message);
		rpc_client_close(client, "it does not read its events");
	} else {
		rpc_message_finish(message);
		rpc_client_queue(client, message);
	}
}

/* --- in --- */

/* Takes whole messages off what has come, FRAMES_A_TURN at most. */
static void take_messages(struct rpc_client *client)
{
	size_t at = 0;

	for (unsigned i = 0; i < FRAMES_A_TURN && client->in && may_take(client); i++) {
		size_t skipped = MIN(client->skip, client->in->len - at), left;
		s64 bytes;

		at += skipped;
		client->skip -= skipped;
		left = client->in->len - at;
		bytes = rpc_message_bytes(client->in->data + at, left);
		if (bytes < 0) {
			rpc_client_close(client, "it sent a length that is none");
			return;
		}
		if (!bytes || bytes > (s64)left)
			break;
		client->alive = true;
		rpc_dispatch(client, client->in->data + at, bytes);
		at += bytes;
	}
	if (!client->in)
		return;
	client->server->buffered -= at;
	g_byte_array_remove_range(client->in, 0, at);
	if (!client->in->len) { /* most connections are silent: they hold no memory */
		g_byte_array_unref(client->in);
		client->in = NULL;
	}
}

static void read_some(struct rpc_client *client)
{
	struct rpc_server *server = client->server;
	ssize_t n = rpc_tls_receive(client->tls, client->fd, server->input, sizeof(server->input));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		rpc_client_close(client, NULL);
		return;
	}
	if (!account(client, n))
		return;
	if (!client->in)
		client->in = g_byte_array_new();
	g_byte_array_append(client->in, server->input, n);
	take_messages(client);
}

static gboolean on_source(GSource *source, GSourceFunc callback, gpointer opaque)
{
	struct rpc_client *client = rpc_client_ref(((struct client_source *)source)->client);
	GIOCondition condition = g_source_query_unix_fd(source, client->tag);

	g_source_set_ready_time(source, -1);
	if (condition & G_IO_OUT)
		flush(client);
	if (client->server && client->out_bytes < RPC_OUTPUT_PAUSE)
		rpc_streams_resume(client);
	if (client->server && may_take(client) && !has_message(client) &&
	    rpc_tls_pending(client->tls))
		condition |= G_IO_IN;
	if (client->server && (condition & G_IO_IN))
		read_some(client);
	else if (client->server && (condition & (G_IO_HUP | G_IO_ERR)))
		rpc_client_close(client, NULL);
	else if (client->server && client->in)
		take_messages(client);
	if (client->server)
		update_source(client);
	rpc_client_unref(client);
	return G_SOURCE_CONTINUE;
}

void rpc_client_call_done(struct rpc_client *client)
{
	client->calls--;
	if (client->server)
		update_source(client);
}

void rpc_client_hold(struct rpc_client *client, bool hold)
{
	client->holds += hold ? 1 : -1;
	if (client->server)
		update_source(client);
}

/* --- keepalive --- */

void rpc_client_keepalive(struct rpc_client *client)
{
	client->keepalive = client->alive = true;
}

void rpc_client_tick(struct rpc_client *client)
{
	const struct rpc_header ping = { .program = RPC_PROGRAM_KEEPALIVE,
					 .version = RPC_VERSION,
					 .procedure = RPC_KEEPALIVE_PROC_PING,
					 .type = RPC_EVENT };
	bool quiet = client->keepalive && !client->alive && !client->calls && !client->holds;
	GByteArray *message;

	client->alive = false;
	if (!quiet) {
		client->unanswered = 0;
	} else if (client->unanswered++ == RPC_KEEPALIVE_COUNT) {
		rpc_client_close(client, "it answers no keepalive message");
	} else {
		message = rpc_message_new(&ping);
		rpc_message_finish(message);
		rpc_client_queue(client, message);
	}
}

/* --- the rest --- */

const struct rpc_identity *rpc_client_identity(const struct rpc_client *client)
{
	return &client->identity;
}

void rpc_client_opened(struct rpc_client *client, bool read_only)
{
	client->open = true;
	client->read_only |= read_only;
}

bool rpc_client_is_read_only(const struct rpc_client *client)
{
	return client->read_only;
}

void rpc_client_set_data(struct rpc_client *client, void *data, GDestroyNotify destroy)
{
	client->data = data;
	client->destroy = destroy;
}

void *rpc_client_data(const struct rpc_client *client)
{
	return client->data;
}

static GSourceFuncs source_functions = { .dispatch = on_source };

struct rpc_client *rpc_client_new(struct rpc_server *server, int fd, struct rpc_tls *tls,
				  const struct rpc_identity *identity)
{
	struct rpc_client *client = g_new0(struct rpc_client, 1);

	client->references = 1;
	client->server = server;
	client->fd = fd;
	client->tls = tls;
	client->identity = *identity;
	client->identity.remote = g_strdup(identity->remote);
	client->identity.groups =
		g_memdup2(identity->groups, identity->group_count * sizeof(gid_t));
	client->read_only = identity->read_only;
	g_queue_init(&client->out);
	client->streams = g_ptr_array_new();
	client->source = g_source_new(&source_functions, sizeof(struct client_source));
	((struct client_source *)client->source)->client = client;
	client->tag = g_source_add_unix_fd(client->source, fd, G_IO_IN);
	g_source_attach(client->source, server->context);
	update_source(client); /* the first call may be here already */
	return client;
}
