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

/* What waits to be sent: bytes, or one byte that carries a descriptor. */
struct packet {
	GByteArray *bytes; /* NULL: that one */
	int fd;
};

static size_t packet_bytes(const struct packet *packet)
{
	return packet->bytes ? packet->bytes->len : 1;
}

static void free_packet(gpointer opaque)
{
	struct packet *packet = opaque;

	if (packet->bytes)
		g_byte_array_unref(packet->bytes);
	else
		close(packet->fd);
	g_free(packet);
}

static void drop_buffers(struct rpc_client *client)
{
	client->server->carried -= client->carried.count;
	rpc_carried_clear(&client->carried);
	if (client->in) {
		client->server->buffered -= client->in->len;
		g_byte_array_unref(client->in);
		client->in = NULL;
	}
	client->server->buffered -= client->out_bytes;
	client->out_bytes = 0;
	g_queue_clear_full(&client->out, free_packet);
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

/* The bytes of the message at @at, and how many behind it carry descriptors; 0: not all of it is
 * here, -1: it is none. */
static s64 find_message(const struct rpc_client *client, size_t at, u32 *carriers)
{
	size_t left = client->in ? client->in->len - at : 0;
	s64 bytes = left ? rpc_message_bytes(client->in->data + at, left) : 0;

	*carriers = 0;
	if (bytes <= 0 || bytes > (s64)left)
		return MIN(bytes, 0);
	*carriers = rpc_message_carriers(client->in->data + at, bytes);
	/* too many are not waited for */
	return *carriers > RPC_FDS_MAX || bytes + *carriers <= (s64)left ? bytes : 0;
}

/* Is there a whole message, or one that can be none? */
static bool has_message(const struct rpc_client *client)
{
	u32 carriers;

	return find_message(client, 0, &carriers) != 0;
}

static void update_source(struct rpc_client *client)
{
	bool take = may_take(client);
	bool more = take && (has_message(client) || rpc_tls_pending(client->tls));
	GIOCondition condition = (take && !more ? G_IO_IN : 0) | (client->out_bytes ? G_IO_OUT : 0);

	if (condition != client->condition) /* else the loop would be woken for nothing */
		g_source_modify_unix_fd(client->source, client->tag, condition);
	client->condition = condition;
	g_source_set_ready_time(client->source, more ? 0 : -1);
}

static void flush(struct rpc_client *client)
{
	struct packet *packet;

	while ((packet = g_queue_peek_head(&client->out))) {
		ssize_t n = packet->bytes ? rpc_tls_send(client->tls, client->fd,
							 packet->bytes->data + client->out_sent,
							 packet->bytes->len - client->out_sent)
					  : rpc_carried_send(client->fd, packet->fd);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			rpc_client_close(client, NULL);
			return;
		}
		client->out_sent += n;
		client->out_bytes -= n;
		client->server->buffered -= n;
		if (client->out_sent == packet_bytes(packet)) {
			free_packet(g_queue_pop_head(&client->out));
			client->out_sent = 0;
		}
	}
}

static void queue(struct rpc_client *client, GByteArray *bytes, int fd)
{
	struct packet *packet = g_new(struct packet, 1);
	size_t n;

	*packet = (struct packet){ bytes, fd };
	n = packet_bytes(packet);
	if (!client->server || !account(client, n)) {
		free_packet(packet);
		return;
	}
	rpc_client_ref(client);
	g_queue_push_tail(&client->out, packet);
	client->out_bytes += n;
	if (client->out_bytes == n) /* nothing waited before it */
		flush(client);
	if (client->server)
		update_source(client);
	rpc_client_unref(client);
}

void rpc_client_queue(struct rpc_client *client, GByteArray *message)
{
	queue(client, message, -1);
}

void rpc_client_queue_fd(struct rpc_client *client, int fd)
{
	queue(client, NULL, fd);
}

/* What waits behind the message that is being sent, which may be a large answer. */
static size_t backlog(const struct rpc_client *client)
{
	const struct packet *first = client->out.head ? client->out.head->data : NULL;

	return first ? client->out_bytes - (packet_bytes(first) - client->out_sent) : 0;
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

/* Can it pass descriptors? Those that another client sends are discarded by the kernel. */
static bool may_carry(const struct rpc_client *client)
{
	return client->local && !client->read_only;
}

/* The descriptors of the @count bytes at @at. False: the client has been closed. */
static bool take_fds(struct rpc_client *client, size_t at, u32 count, struct rpc_fds *fds)
{
	fds->count = 0;
	if (count > RPC_FDS_MAX) {
		rpc_client_close(client, "it sent too many descriptors");
		return false;
	}
	if (!count || !may_carry(client))
		return true;
	if (!rpc_carried_take(&client->carried, at, count, fds)) {
		rpc_client_close(client, "it sent fewer descriptors than it had counted");
		return false;
	}
	client->server->carried -= count;
	return true;
}

/* The first @bytes of what has come are done with. */
static void forget_input(struct rpc_client *client, size_t bytes)
{
	u32 before = client->carried.count;
	bool good = rpc_carried_advance(&client->carried, bytes);

	client->server->carried -= before - client->carried.count;
	client->server->buffered -= bytes;
	g_byte_array_remove_range(client->in, 0, bytes);
	if (!good)
		rpc_client_close(client, "it sent a descriptor that belongs to no message");
}

/* Takes whole messages off what has come, FRAMES_A_TURN at most. */
static void take_messages(struct rpc_client *client)
{
	size_t at = 0;

	for (unsigned i = 0; i < FRAMES_A_TURN && client->in && may_take(client); i++) {
		struct rpc_fds fds;
		u32 carriers;
		s64 bytes = find_message(client, at, &carriers);

		if (bytes < 0) {
			rpc_client_close(client, "it sent a length that is none");
			return;
		}
		if (!bytes)
			break;
		if (!take_fds(client, at + bytes, carriers, &fds))
			return;
		client->alive = true;
		rpc_dispatch(client, client->in->data + at, bytes, &fds);
		rpc_fds_close(&fds);
		at += bytes + carriers;
	}
	if (client->in)
		forget_input(client, at);
	if (!client->in)
		return;
	if (!client->in->len) { /* most connections are silent: they hold no memory */
		g_byte_array_unref(client->in);
		client->in = NULL;
	}
}

/* What the last byte that has come carries is kept. False: the client has been closed. */
static bool keep_fd(struct rpc_client *client, int fd)
{
	if (client->server->carried == RPC_CARRIED_MAX) {
		close(fd);
		rpc_client_close(client, "all clients together sent too many descriptors");
		return false;
	}
	if (!rpc_carried_keep(&client->carried, client->in->len - 1, fd)) {
		rpc_client_close(client, "it sent more descriptors than go with a message");
		return false;
	}
	client->server->carried++;
	return true;
}

static void read_some(struct rpc_client *client)
{
	struct rpc_server *server = client->server;
	int fd = -1;
	ssize_t n = may_carry(client) ? rpc_carried_receive(client->fd, server->input,
							    sizeof(server->input), &fd)
				      : rpc_tls_receive(client->tls, client->fd, server->input,
							sizeof(server->input));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		rpc_client_close(client, n && errno == EPROTO
						 ? "it sent descriptors that cannot be taken"
						 : NULL);
		return;
	}
	if (!account(client, n)) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (!client->in)
		client->in = g_byte_array_new();
	g_byte_array_append(client->in, server->input, n);
	if (fd >= 0 && !keep_fd(client, fd))
		return;
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

bool rpc_client_is_local(const struct rpc_client *client)
{
	return client->local;
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

static bool is_unix(int fd)
{
	int domain;
	socklen_t size = sizeof(domain);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) && domain == AF_UNIX;
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
	client->local = is_unix(fd);
	g_queue_init(&client->out);
	client->streams = g_ptr_array_new();
	client->source = g_source_new(&source_functions, sizeof(struct client_source));
	((struct client_source *)client->source)->client = client;
	/* It is never dispatched within itself, as nothing runs the loop in a call. Unless it says
	 * so it would be taken off the loop for each dispatch, which wakes the loop twice. */
	g_source_set_can_recurse(client->source, TRUE);
	client->condition = G_IO_IN;
	client->tag = g_source_add_unix_fd(client->source, fd, client->condition);
	g_source_attach(client->source, server->context);
	update_source(client); /* the first call may be here already */
	return client;
}
