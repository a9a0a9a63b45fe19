/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening sockets, who may connect, and the clock of keepalive. See server.h. */
#include "base/log.h"
#include "rpc/private.h"

#include <errno.h>
#include <glib-unix.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_PAUSE_MS 200 /* after a failure that would only repeat itself */

enum listener_kind { LISTEN_UNIX, LISTEN_TCP, LISTEN_TLS };

struct listener {
	struct rpc_server *server;
	enum listener_kind kind;
	int fd;
	bool read_only;
	const struct rpc_credentials *credentials; /* of LISTEN_TLS */
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

static struct rpc_client *adopt(struct rpc_server *server, int fd, struct rpc_tls *tls,
				const struct rpc_identity *identity)
{
	struct rpc_client *client = rpc_client_new(server, fd, tls, identity);

	g_ptr_array_add(server->clients, client);
	if (server->options.come)
		server->options.come(client, server->options.opaque);
	return client;
}

static void describe(const struct rpc_identity *identity, char *text, size_t size)
{
	if (identity->remote)
		snprintf(text, size, "%s", identity->remote);
	else
		snprintf(text, size, "user %u, process %d", identity->uid, identity->pid);
}

void rpc_server_greet(struct rpc_server *server, int fd, struct rpc_tls *tls,
		      const struct rpc_identity *identity)
{
	char who[RPC_REMOTE_BYTES];

	describe(identity, who, sizeof(who));
	if (is_too_many(server, identity->uid)) {
		log_warning("rpc", "%s is refused: there are too many connections", who);
	} else if (server->options.admit &&
		   !server->options.admit(identity, server->options.opaque)) {
		log_info("rpc", "%s may not connect", who);
	} else {
		adopt(server, fd, tls, identity);
		return;
	}
	rpc_tls_free(tls);
	close(fd);
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
	rpc_server_greet(server, fd, NULL, &identity);
}

static void take(struct listener *listener, int fd)
{
	switch (listener->kind) {
	case LISTEN_UNIX: take_connection(listener->server, fd, listener->read_only); break;
	case LISTEN_TCP: rpc_remote_take(listener->server, fd); break;
	case LISTEN_TLS: rpc_remote_take_tls(listener->server, fd, listener->credentials); break;
	}
}

static gboolean on_connection(gint fd, GIOCondition condition, gpointer opaque)
{
	struct listener *listener = opaque;
	int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (connection >= 0) {
		take(listener, connection);
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
	return adopt(server, fd, NULL, identity);
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
	server->newcomers = g_ptr_array_new();
	server->keepalive = g_timeout_source_new_seconds(RPC_KEEPALIVE_SECONDS);
	g_source_set_callback(server->keepalive, on_keepalive, server, NULL);
	g_source_attach(server->keepalive, server->context);
	return server;
}

static struct listener *listen_at(struct rpc_server *server, int fd, enum listener_kind kind)
{
	struct listener *listener = g_new0(struct listener, 1);

	listener->server = server;
	listener->kind = kind;
	listener->fd = fd;
	watch(listener);
	g_ptr_array_add(server->listeners, listener);
	return listener;
}

void rpc_server_listen(struct rpc_server *server, int fd, bool read_only)
{
	listen_at(server, fd, LISTEN_UNIX)->read_only = read_only;
}

void rpc_server_listen_tcp(struct rpc_server *server, int fd)
{
	listen_at(server, fd, LISTEN_TCP);
}

void rpc_server_listen_tls(struct rpc_server *server, int fd,
			   const struct rpc_credentials *credentials)
{
	listen_at(server, fd, LISTEN_TLS)->credentials = credentials;
}

void rpc_server_free(struct rpc_server *server)
{
	if (!server)
		return;
	g_ptr_array_unref(server->listeners);
	rpc_remote_drop(server);
	while (server->clients->len)
		rpc_client_close(server->clients->pdata[server->clients->len - 1], NULL);
	g_ptr_array_unref(server->clients);
	g_ptr_array_unref(server->newcomers);
	g_source_destroy(server->keepalive);
	g_source_unref(server->keepalive);
	g_main_context_unref(server->context);
	g_free(server);
}
