/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections by TCP: who is at the other end.
 *
 * Without TLS it must be a socket of this host, whose owner the kernel tells (NETLINK_SOCK_DIAG,
 * see sock_diag(7)); there is no password, and nothing is believed of other hosts. With TLS it is
 * the certificate: a newcomer has RPC_HANDSHAKE_SECONDS to show one that is good, and holds up
 * nobody meanwhile.
 */
#include "base/log.h"
#include "rpc/private.h"

#include <errno.h>
#include <grp.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GROUPS_MAX 65536 /* what Linux has */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* --- the owner of a socket on this host --- */

/* IPv4's addresses in IPv6's clothes as what they are. */
static bool read_address(const union address *address, u8 *family, u32 *words, u16 *port)
{
	if (address->any.sa_family == AF_INET) {
		*family = AF_INET;
		*port = address->v4.sin_port;
		words[0] = address->v4.sin_addr.s_addr;
		return true;
	}
	if (address->any.sa_family != AF_INET6)
		return false;
	*port = address->v6.sin6_port;
	if (IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr)) {
		*family = AF_INET;
		words[0] = address->v6.sin6_addr.s6_addr32[3];
	} else {
		*family = AF_INET6;
		memcpy(words, &address->v6.sin6_addr, 16);
	}
	return true;
}

/* What the kernel answers about the connection seen from its other end. */
static bool ask_owner(int netlink, const struct inet_diag_sockid *id, u8 family, uid_t *uid)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 body;
	} request = {
		.head = { .nlmsg_len = sizeof(request),
			  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST },
		.body = { .sdiag_family = family,
			  .sdiag_protocol = IPPROTO_TCP,
			  .idiag_states = ~0u,
			  .id = *id },
	};
	struct {
		struct nlmsghdr head;
		struct inet_diag_msg body;
		u8 attributes[512];
	} answer;
	ssize_t n;

	if (send(netlink, &request, sizeof(request), 0) != sizeof(request))
		return false;
	n = recv(netlink, &answer, sizeof(answer), 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(answer.body)) ||
	    answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return false;
	*uid = answer.body.idiag_uid;
	return true;
}

static bool owner_of_peer(int fd, uid_t *uid)
{
	union address here, there;
	socklen_t here_size = sizeof(here), there_size = sizeof(there);
	struct inet_diag_sockid id = { .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } };
	u8 family, same;
	int netlink;
	bool found;

	if (getsockname(fd, &here.any, &here_size) || getpeername(fd, &there.any, &there_size) ||
	    !read_address(&there, &family, id.idiag_src, &id.idiag_sport) ||
	    !read_address(&here, &same, id.idiag_dst, &id.idiag_dport) || same != family)
		return false;
	netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (netlink < 0)
		return false;
	found = ask_owner(netlink, &id, family, uid);
	close(netlink);
	return found;
}

/* What the user database says of identity->uid, as no process can be asked: its groups, which the
 * caller frees. NULL: there is no such user, who could be nobody's owner either. */
static gid_t *find_groups(struct rpc_identity *identity)
{
	const struct passwd *user = getpwuid(identity->uid);
	gid_t *groups = NULL;
	int n = 64, room;

	if (!user)
		return NULL;
	identity->gid = user->pw_gid;
	do {
		room = n;
		groups = g_renew(gid_t, groups, room);
		if (getgrouplist(user->pw_name, user->pw_gid, groups, &n) >= 0)
			identity->group_count = n;
	} while (n > room && n <= GROUPS_MAX);
	return groups;
}

/* For messages. */
static char *address_of(int fd)
{
	union address there;
	socklen_t size = sizeof(there);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getpeername(fd, &there.any, &size) ||
	    getnameinfo(&there.any, size, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return g_strdup("somewhere");
	return g_strdup_printf("%s port %s", host, port);
}

static void no_delay(int fd)
{
	int yes = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

static void refuse(int fd, const char *why)
{
	g_autofree char *address = address_of(fd);

	log_info("rpc", "%s is refused: %s", address, why);
	close(fd);
}

void rpc_remote_take(struct rpc_server *server, int fd)
{
	struct rpc_identity identity = {};
	g_autofree gid_t *groups = NULL;

	if (!owner_of_peer(fd, &identity.uid)) {
		refuse(fd, "its user is not known, as it is no socket of this host");
		return;
	}
	identity.groups = groups = find_groups(&identity);
	if (!groups) {
		refuse(fd, "its user is not in this host's user database");
		return;
	}
	no_delay(fd);
	rpc_server_greet(server, fd, NULL, &identity);
}

/* --- newcomers with TLS --- */

struct newcomer {
	struct rpc_server *server;
	struct rpc_tls *tls;
	int fd;
	char *address;
	GSource *source; /* of the socket; its ready time ends the patience */
	void *tag;
};

struct newcomer_source {
	GSource source;
	struct newcomer *newcomer;
};

/* Out of the list and of the main loop; the descriptor and the session stay. */
static void let_go(struct newcomer *newcomer)
{
	g_ptr_array_remove_fast(newcomer->server->newcomers, newcomer);
	g_source_destroy(newcomer->source);
	g_source_unref(newcomer->source);
	g_free(newcomer->address);
	g_free(newcomer);
}

static void send_away(struct newcomer *newcomer, const char *why)
{
	if (why)
		log_info("rpc", "%s is refused: %s", newcomer->address, why);
	rpc_tls_free(newcomer->tls);
	close(newcomer->fd);
	let_go(newcomer);
}

/* Its user is ours: whom to let in was decided by who signed, and by rpc_credentials_allow(). */
static void welcome(struct newcomer *newcomer)
{
	g_autofree char *who =
		g_strdup_printf("%s, %s", rpc_tls_peer_name(newcomer->tls), newcomer->address);
	const struct rpc_identity identity = { .remote = who, .uid = geteuid(), .gid = getegid() };
	struct rpc_server *server = newcomer->server;
	struct rpc_tls *tls = newcomer->tls;
	int fd = newcomer->fd;

	let_go(newcomer);
	log_info("rpc", "%s has come", who);
	rpc_server_greet(server, fd, tls, &identity);
}

static gboolean on_newcomer(GSource *source, GSourceFunc callback, gpointer opaque)
{
	struct newcomer *newcomer = ((struct newcomer_source *)source)->newcomer;

	if (!g_source_query_unix_fd(source, newcomer->tag)) {
		send_away(newcomer, "its TLS handshake takes too long");
		return G_SOURCE_REMOVE;
	}
	switch (rpc_tls_handshake(newcomer->tls)) {
	case RPC_TLS_WANTS_INPUT:
		g_source_modify_unix_fd(source, newcomer->tag, G_IO_IN);
		return G_SOURCE_CONTINUE;
	case RPC_TLS_WANTS_OUTPUT:
		g_source_modify_unix_fd(source, newcomer->tag, G_IO_OUT);
		return G_SOURCE_CONTINUE;
	case RPC_TLS_FAILED: send_away(newcomer, rpc_tls_problem(newcomer->tls)); break;
	case RPC_TLS_DONE: welcome(newcomer); break;
	}
	return G_SOURCE_REMOVE;
}

static GSourceFuncs newcomer_functions = { .dispatch = on_newcomer };

void rpc_remote_take_tls(struct rpc_server *server, int fd,
			 const struct rpc_credentials *credentials)
{
	struct newcomer *newcomer;
	struct rpc_tls *tls = server->newcomers->len < RPC_NEWCOMERS_MAX
				      ? rpc_tls_new(credentials, fd, NULL)
				      : NULL;

	if (!tls) {
		log_warning("rpc", "a connection is refused: too many are at their TLS handshake");
		close(fd);
		return;
	}
	no_delay(fd);
	newcomer = g_new0(struct newcomer, 1);
	newcomer->server = server;
	newcomer->tls = tls;
	newcomer->fd = fd;
	newcomer->address = address_of(fd);
	newcomer->source = g_source_new(&newcomer_functions, sizeof(struct newcomer_source));
	((struct newcomer_source *)newcomer->source)->newcomer = newcomer;
	newcomer->tag = g_source_add_unix_fd(newcomer->source, fd, G_IO_IN);
	g_source_set_ready_time(newcomer->source,
				g_get_monotonic_time() + RPC_HANDSHAKE_SECONDS * G_USEC_PER_SEC);
	g_source_attach(newcomer->source, server->context);
	g_ptr_array_add(server->newcomers, newcomer);
}

void rpc_remote_drop(struct rpc_server *server)
{
	while (server->newcomers->len)
		send_away(server->newcomers->pdata[0], NULL);
}
