/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening sockets, who may connect, and the clock of keepalive. See server.h. */
#include "base/log.h"
#include "rpc/private.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_PAUSE_MS 200 /* after a failure that would only repeat itself */

struct listener {
	struct rpc_server *server;
	int fd;
	bool read_only;
	GSource *source;
};

static gboolean on_connection(gint fd, GIOCondition condition, gpointer opaque);

static void watch(struct listener *listener)
{
	listener->source = g_unix_fd_source_new(listener->fd, G_IO_IN);
	g_source_set_callback(listener->source, G_SOURCE_FUNC(on_connection), listener, NULL);
	g_source_attach(listener->source, listener->server->context);
}

static gboolean watch_again(gpointer opaque)
{
	struct listener *listener = opaque;

	g_source_unref(listener->source);
	watch(listener);
	return G_SOURCE_REMOVE;
}

/* No descriptor is left, say: the socket stays ready, and must not keep us busy. */
static void pause_accepting(struct listener *listener)
{
	g_source_unref(listener->source);
	listener->source = g_timeout_source_new(ACCEPT_PAUSE_MS);
	g_source_set_callback(listener->source, watch_again, listener, NULL);
	g_source_attach(listener->source, listener->server->context);
}

static bool identify(int fd, bool read_only, struct rpc_identity *identity)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return false;
	*identity = (struct rpc_identity){
		.pid = peer.pid, .uid = peer.uid, .gid = peer.gid, .read_only = read_only
	};
	return true;
}

/* The peer's groups when it connected, which the caller frees; NULL: it has no others. */
static gid_t *peer_groups(int fd, unsigned *count)
{
	socklen_t size = 0;
	gid_t *groups;

	*count = 0;
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) || errno != ERANGE)
		return NULL;
	groups = g_malloc0(size);
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size))
		*count = size / sizeof(gid_t);
	return groups;
}

static bool is_too_many(const struct rpc_server *server, uid_t uid)
{
	unsigned same = 0;

	if (server->clients->len >= RPC_CLIENTS_MAX)
		return true;
	if (uid == 0 || uid == geteuid())
		return false;
	for (guint i = 0; i < server->clients->len; i++)
		same += ((struct rpc_client *)server->clients->pdata[i])->identity.uid == uid;
	return same >= RPC_CLIENTS_OF_USER_MAX;
}

static void take_connection(struct rpc_server *server, int fd, bool read_only)
{
	g_autofree gid_t *groups = NULL;
	struct rpc_identity identity;

	if (!identify(fd, read_only, &identity)) {
		close(fd);
		return;
	}
	identity.groups = groups = peer_groups(fd, &identity.group_count);
	if (is_too_many(server, identity.uid)) {
		log_warning("rpc", "user %u is refused: there are too many connections",
			    identity.uid);
		close(fd);
	} else if (server->options.admit &&
		   !server->options.admit(&identity, server->options.opaque)) {
		log_info("rpc", "user %u, process %d, may not connect", identity.uid, identity.pid);
		close(fd);
	} else {
		rpc_server_adopt(server, fd, &identity);
	}
}

static gboolean on_connection(gint fd, GIOCondition condition, gpointer opaque)
{
	struct listener *listener = opaque;
	int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (connection >= 0) {
		take_connection(listener->server, connection, listener->read_only);
		return G_SOURCE_CONTINUE;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return G_SOURCE_CONTINUE;
	log_warning("rpc", "cannot take a connection: %s", g_strerror(errno));
	pause_accepting(listener);
	return G_SOURCE_REMOVE;
}

struct rpc_client *rpc_server_adopt(struct rpc_server *server, int fd,
				    const struct rpc_identity *identity)
{
	struct rpc_client *client = rpc_client_new(server, fd, identity);

	g_ptr_array_add(server->clients, client);
	if (server->options.come)
		server->options.come(client, server->options.opaque);
	return client;
}

void rpc_server_forget(struct rpc_server *server, struct rpc_client *client)
{
	g_ptr_array_remove_fast(server->clients, client);
	rpc_client_unref(client);
}

unsigned rpc_server_clients(const struct rpc_server *server)
{
	return server->clients->len;
}

static gboolean on_keepalive(gpointer opaque)
{
	struct rpc_server *server = opaque;

	/* from the end: who is closed is replaced by the last */
	for (guint i = server->clients->len; i > 0; i--)
		rpc_client_tick(server->clients->pdata[i - 1]);
	return G_SOURCE_CONTINUE;
}

static void free_listener(gpointer opaque)
{
	struct listener *listener = opaque;

	g_source_destroy(listener->source);
	g_source_unref(listener->source);
	close(listener->fd);
	g_free(listener);
}

struct rpc_server *rpc_server_new(const struct rpc_server_options *options)
{
	struct rpc_server *server = g_new0(struct rpc_server, 1);

	server->options = *options;
	server->context = g_main_context_ref_thread_default();
	server->listeners = g_ptr_array_new_with_free_func(free_listener);
	server->clients = g_ptr_array_new();
	server->keepalive = g_timeout_source_new_seconds(RPC_KEEPALIVE_SECONDS);
	g_source_set_callback(server->keepalive, on_keepalive, server, NULL);
	g_source_attach(server->keepalive, server->context);
	return server;
}

void rpc_server_listen(struct rpc_server *server, int fd, bool read_only)
{
	struct listener *listener = g_new0(struct listener, 1);

	listener->server = server;
	listener->fd = fd;
	listener->read_only = read_only;
	watch(listener);
	g_ptr_array_add(server->listeners, listener);
}

void rpc_server_free(struct rpc_server *server)
{
	if (!server)
		return;
	g_ptr_array_unref(server->listeners);
	while (server->clients->len)
		rpc_client_close(server->clients->pdata[server->clients->len - 1], NULL);
	g_ptr_array_unref(server->clients);
	g_source_destroy(server->keepalive);
	g_source_unref(server->keepalive);
	g_main_context_unref(server->context);
	g_free(server);
}
