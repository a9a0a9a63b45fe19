/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clients of other hosts (TLS), and of this one by TCP. Nobody listens there unless it was asked
 * for. See rpc/server.h for who is let in.
 */
#include "daemon/remote.h"
#include "daemon/daemon.h"

#include "base/log.h"
#include "rpc/tls.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TCP_PORT "16509"
#define TLS_PORT "16514"
#define BACKLOG  128

/* --- ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT, :PORT --- */

/* The caller frees both; *host is NULL where none is given. */
static void split(const char *text, char **host, char **port)
{
	const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
	bool has_port = colon && (bracket ? bracket < colon : strchr(text, ':') == colon);
	size_t n = has_port ? (size_t)(colon - text) : strlen(text);

	*port = has_port && colon[1] ? g_strdup(colon + 1) : NULL;
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']')
		*host = g_strndup(text + 1, n - 2);
	else
		*host = n ? g_strndup(text, n) : NULL;
}

static bool is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 ==
		       IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* -1: errno says why. */
static int listen_one(const struct addrinfo *address)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = 1, error;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (address->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	if (!bind(fd, address->ai_addr, address->ai_addrlen) && !listen(fd, BACKLOG))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

struct place {
	const char *text; /* as it was given */
	const char *port; /* where none is given */
	bool any;         /* all of this host's addresses where none is given, else its loopback */
};

/* A host without IPv6 still listens at what a name has of IPv4. */
static bool is_missing_family(int error)
{
	return error == EAFNOSUPPORT || error == EADDRNOTAVAIL;
}

/* NULL: not there. An array of descriptors. */
static GArray *listen_at(const struct place *place, GError **error)
{
	const struct addrinfo wanted = { .ai_socktype = SOCK_STREAM,
					 .ai_flags = place->any ? AI_PASSIVE : 0 };
	g_autofree char *host = NULL, *port = NULL;
	struct addrinfo *found = NULL;
	GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
	int failed, last = 0;

	split(place->text, &host, &port);
	failed = getaddrinfo(host, port ? port : place->port, &wanted, &found);
	for (const struct addrinfo *i = found; i && !last; i = i->ai_next) {
		int fd = listen_one(i);

		if (fd >= 0)
			g_array_append_val(fds, fd);
		else if (!is_missing_family(errno) || (!i->ai_next && !fds->len))
			last = errno;
	}
	if (found)
		freeaddrinfo(found);
	if (!failed && !last)
		return fds;
	for (guint i = 0; i < fds->len; i++)
		close(g_array_index(fds, int, i));
	g_array_unref(fds);
	g_set_error(error, DAEMON_ERROR, 0, "cannot listen at '%s': %s", place->text,
		    failed ? gai_strerror(failed) : g_strerror(last));
	return NULL;
}

/* Port 0 is any: the log says which. */
static void say(int fd, const char *who)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (!getsockname(fd, (struct sockaddr *)&address, &size) &&
	    !getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port, sizeof(port),
			 NI_NUMERICHOST | NI_NUMERICSERV))
		log_info("lodged", "%s may come to %s port %s", who, host, port);
}

/* --- TCP --- */

/* Of other hosts nothing is known without TLS, so none shall come. */
static bool check_loopback(const char *text, const GArray *fds, GError **error)
{
	struct sockaddr_storage address;

	for (guint i = 0; i < fds->len; i++) {
		socklen_t size = sizeof(address);

		if (!getsockname(g_array_index(fds, int, i), (struct sockaddr *)&address, &size) &&
		    is_loopback((const struct sockaddr *)&address))
			continue;
		g_set_error(error, DAEMON_ERROR, 0,
			    "'%s' is not only this host: without TLS, clients come to 127.0.0.1 "
			    "and ::1; for others use --listen-tls",
			    text);
		return false;
	}
	return true;
}

static bool open_tcp(struct daemon *daemon, const char *text, GError **error)
{
	const struct place place = { text, TCP_PORT, false };
	g_autoptr(GArray) fds = listen_at(&place, error);
	bool good = fds && check_loopback(text, fds, error);

	for (guint i = 0; fds && i < fds->len; i++) {
		int fd = g_array_index(fds, int, i);

		if (!good) {
			close(fd);
			continue;
		}
		say(fd, "users of this host");
		rpc_server_listen_tcp(daemon->server, fd);
	}
	return good;
}

/* --- TLS --- */

static struct rpc_credentials *load(const char *folder, GError **error)
{
	const struct rpc_pki usual = { "/etc/pki/CA/cacert.pem", "/etc/pki/CA/cacrl.pem",
				       "/etc/pki/libvirt/servercert.pem",
				       "/etc/pki/libvirt/private/serverkey.pem" };
	g_autofree char *authority = NULL, *revoked = NULL, *certificate = NULL, *key = NULL;

	if (!folder)
		return rpc_credentials_load(&usual, error);
	authority = g_build_filename(folder, "cacert.pem", NULL);
	revoked = g_build_filename(folder, "cacrl.pem", NULL);
	certificate = g_build_filename(folder, "servercert.pem", NULL);
	key = g_build_filename(folder, "serverkey.pem", NULL);
	return rpc_credentials_load(&(struct rpc_pki){ authority, revoked, certificate, key },
				    error);
}

static bool open_tls(struct daemon *daemon, const struct remote_options *options, GError **error)
{
	const struct place place = { options->tls, TLS_PORT, true };
	g_autoptr(GArray) fds = NULL;

	daemon->credentials = load(options->pki, error);
	if (!daemon->credentials) {
		g_prefix_error(error, "--listen-tls: ");
		return false;
	}
	rpc_credentials_allow(daemon->credentials, (const char *const *)options->allow);
	fds = listen_at(&place, error);
	for (guint i = 0; fds && i < fds->len; i++) {
		int fd = g_array_index(fds, int, i);

		say(fd, "who has a certificate");
		rpc_server_listen_tls(daemon->server, fd, daemon->credentials);
	}
	return fds;
}

bool remote_listen(struct daemon *daemon, const struct remote_options *options, GError **error)
{
	if (!options->tls && (options->pki || options->allow))
		return daemon_refuse(error, 0, "--pki and --tls-allow are for --listen-tls");
	return (!options->tcp || open_tcp(daemon, options->tcp, error)) &&
	       (!options->tls || open_tls(daemon, options, error));
}
