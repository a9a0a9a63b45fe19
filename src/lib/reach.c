/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a URI to a connected socket: SCHEME://[HOST[:PORT]]/system|session[?NAME=VALUE&...], where
 * SCHEME is lodge or qemu, alone (this host) or with +unix, +tcp, +tls or +ssh. See
 * lodge/connection.h.
 */
#include "reach.h"
#include "private.h"

#include "rpc/caller.h"
#include "rpc/tls.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TCP_PORT "16509"
#define TLS_PORT "16514"
#define SHAKE_MS 30000 /* of silence in a handshake, then the server is none */

enum transport { OVER_UNIX, OVER_TCP, OVER_TLS, OVER_SSH };

struct target {
	enum transport transport;
	bool session;
	bool read_only;
	char *socket;               /* of OVER_UNIX; of OVER_SSH, or NULL */
	char *host, *port;          /* of the others */
	char *pki;                  /* of OVER_TLS: a folder, or NULL: the usual ones */
	char *user, *key, *program; /* of OVER_SSH, or NULL */
	bool no_tty;
};

static void clear_target(struct target *target)
{
	g_free(target->socket);
	g_free(target->host);
	g_free(target->port);
	g_free(target->pki);
	g_free(target->user);
	g_free(target->key);
	g_free(target->program);
}

/* --- what the URI says --- */

static const char *default_uri(void)
{
	const char *uri = getenv("LODGE_URI");

	return uri && *uri ? uri : geteuid() ? "lodge:///session" : "lodge:///system";
}

static bool find_transport(const char *scheme, enum transport *transport)
{
	static const struct {
		const char *name;
		enum transport transport;
	} all[] = {
		{ "lodge", OVER_UNIX },    { "lodge+unix", OVER_UNIX }, { "lodge+tcp", OVER_TCP },
		{ "lodge+tls", OVER_TLS }, { "lodge+ssh", OVER_SSH },   { "qemu+ssh", OVER_SSH },
		{ "qemu", OVER_UNIX },     { "qemu+unix", OVER_UNIX },  { "qemu+tcp", OVER_TCP },
		{ "qemu+tls", OVER_TLS },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
		if (strcmp(all[i].name, scheme))
			continue;
		*transport = all[i].transport;
		return true;
	}
	return false;
}

static bool find_path(const char *path, bool *session)
{
	*session = !strcmp(path, "/session");
	return *session || !strcmp(path, "/system") || !strcmp(path, "/") || !*path;
}

static char *usual_socket(const struct target *target)
{
	if (target->session)
		return g_build_filename(g_get_user_runtime_dir(), "libvirt", "libvirt-sock", NULL);
	return g_strdup(target->read_only ? REACH_SYSTEM_SOCKET "-ro" : REACH_SYSTEM_SOCKET);
}

/* Where the value of a parameter goes; NULL: the transport has no such. */
static char **parameter(struct target *target, const char *name)
{
	if (!strcmp(name, "socket") && target->transport != OVER_TCP &&
	    target->transport != OVER_TLS)
		return &target->socket;
	if (!strcmp(name, "pkipath") && target->transport == OVER_TLS)
		return &target->pki;
	if (target->transport != OVER_SSH)
		return NULL;
	return !strcmp(name, "keyfile")   ? &target->key
	       : !strcmp(name, "command") ? &target->program
					  : NULL;
}

/* False: @why is what it must not say, or NULL. */
static bool read_parameters(const char *query, struct target *target, const char **why)
{
	GUriParamsIter iter;

	g_uri_params_iter_init(&iter, query ? query : "", -1, "&", G_URI_PARAMS_NONE);
	for (;;) {
		g_autofree char *name = NULL, *value = NULL;
		char **place;

		if (!g_uri_params_iter_next(&iter, &name, &value, NULL))
			return true;
		place = parameter(target, name);
		if (place && !*place) {
			*place = g_steal_pointer(&value);
		} else if (!strcmp(name, "no_tty")) {
			target->no_tty = strcmp(value, "0");
		} else if (!strcmp(name, "no_verify") && strcmp(value, "0")) {
			*why = "a server that is not verified is no server";
			return false;
		}
	}
}

static bool read_uri(const char *text, struct target *target, const char **why)
{
	g_autoptr(GUri) uri = g_uri_parse(text, G_URI_FLAGS_NONE, NULL);
	const char *host;

	if (*text == '/') {
		target->socket = g_strdup(text);
		return true;
	}
	if (!uri || !find_transport(g_uri_get_scheme(uri), &target->transport) ||
	    !find_path(g_uri_get_path(uri), &target->session) ||
	    !read_parameters(g_uri_get_query(uri), target, why))
		return false;
	host = g_uri_get_host(uri);
	if (target->transport == OVER_UNIX) {
		if (!target->socket)
			target->socket = usual_socket(target);
		return !host || !*host;
	}
	target->host = g_strdup(host && *host ? host : "localhost");
	target->user = g_strdup(g_uri_get_userinfo(uri));
	if (g_uri_get_port(uri) > 0)
		target->port = g_strdup_printf("%d", g_uri_get_port(uri));
	else if (target->transport != OVER_SSH)
		target->port = g_strdup(target->transport == OVER_TLS ? TLS_PORT : TCP_PORT);
	return true;
}

/* --- sockets --- */

static const char *hint_for(int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		return "start the daemon: `lodged --system` as root, `lodged --session`, or for a "
		       "path `lodged --root DIR`";
	case EACCES: return "connect as root, as a member of the socket's group, or read-only";
	default: return NULL;
	}
}

static int connect_unix(const char *path, const char *function)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path)) {
		error_set(function, LODGE_ERR_INVALID_ARG, NULL,
			  "the path %s is too long for a socket", path);
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		return fd;
	error_set(function, LODGE_ERR_NO_CONNECT, hint_for(errno), "cannot connect to %s: %s", path,
		  g_strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* -1: errno says why. */
static int connect_one(const struct addrinfo *address)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1, error;

	if (fd < 0)
		return -1;
	if (!connect(fd, address->ai_addr, address->ai_addrlen)) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
		return fd;
	}
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

static int connect_tcp(const struct target *target, const char *function)
{
	const struct addrinfo wanted = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	int failed = getaddrinfo(target->host, target->port, &wanted, &found), fd = -1;

	for (const struct addrinfo *i = found; i && fd < 0; i = i->ai_next)
		fd = connect_one(i);
	if (fd < 0)
		error_set(function, LODGE_ERR_NO_CONNECT,
			  "is `lodged` there started with --listen-tls or --listen-tcp?",
			  "cannot connect to %s port %s: %s", target->host, target->port,
			  failed ? gai_strerror(failed) : g_strerror(errno));
	if (found)
		freeaddrinfo(found);
	return fd;
}

/* --- TLS --- */

static struct rpc_credentials *load_from(const char *folder, GError **error)
{
	g_autofree char *authority = g_build_filename(folder, "cacert.pem", NULL);
	g_autofree char *certificate = g_build_filename(folder, "clientcert.pem", NULL);
	g_autofree char *key = g_build_filename(folder, "clientkey.pem", NULL);
	g_autofree char *revoked = g_build_filename(folder, "cacrl.pem", NULL);

	return rpc_credentials_load(&(struct rpc_pki){ authority, revoked, certificate, key },
				    error);
}

/* Where libvirt's clients look as well. */
static struct rpc_credentials *load_usual(GError **error)
{
	const struct rpc_pki system = { "/etc/pki/CA/cacert.pem", "/etc/pki/CA/cacrl.pem",
					"/etc/pki/libvirt/clientcert.pem",
					"/etc/pki/libvirt/private/clientkey.pem" };
	g_autofree char *own = g_build_filename(g_get_home_dir(), ".pki", "libvirt", NULL);
	g_autofree char *mark = g_build_filename(own, "clientcert.pem", NULL);

	return access(mark, F_OK) ? rpc_credentials_load(&system, error) : load_from(own, error);
}

/* False: it has failed, or nothing has come for SHAKE_MS. */
static bool shake(struct rpc_tls *tls, int fd, const char **why)
{
	for (;;) {
		struct pollfd socket = { .fd = fd };
		int ready;

		switch (rpc_tls_handshake(tls)) {
		case RPC_TLS_DONE: return true;
		case RPC_TLS_FAILED: *why = rpc_tls_problem(tls); return false;
		case RPC_TLS_WANTS_INPUT: socket.events = POLLIN; break;
		case RPC_TLS_WANTS_OUTPUT: socket.events = POLLOUT; break;
		}
		do
			ready = poll(&socket, 1, SHAKE_MS);
		while (ready < 0 && errno == EINTR);
		if (ready <= 0) {
			*why = "it does not answer";
			return false;
		}
	}
}

/* NULL: the thread's error is set. */
static struct rpc_tls *secure(struct rpc_credentials *credentials, int fd,
			      const struct target *target, const char *function)
{
	struct rpc_tls *tls = rpc_tls_new(credentials, fd, target->host);
	const char *why = "GnuTLS makes no session";

	if (tls && shake(tls, fd, &why))
		return tls;
	error_set(function, LODGE_ERR_NO_CONNECT, "its log says more", "%s port %s: %s",
		  target->host, target->port, why);
	rpc_tls_free(tls);
	return NULL;
}

static struct rpc_caller *reach_tls(const struct target *target, const char *function)
{
	g_autoptr(GError) error = NULL;
	struct rpc_credentials *credentials =
		target->pki ? load_from(target->pki, &error) : load_usual(&error);
	struct rpc_tls *tls;
	int fd;

	if (!credentials) {
		error_set(function, LODGE_ERR_NO_CONNECT,
			  "give the folder of cacert.pem, clientcert.pem and clientkey.pem with "
			  "?pkipath=DIR",
			  "%s", error->message);
		return NULL;
	}
	fd = connect_tcp(target, function);
	tls = fd < 0 ? NULL : secure(credentials, fd, target, function);
	if (tls)
		return rpc_caller_new(fd, tls, credentials);
	if (fd >= 0)
		close(fd);
	rpc_credentials_free(credentials);
	return NULL;
}

/* --- all of it --- */

static int reach_ssh(const struct target *target, const char *function)
{
	const struct ssh_target ssh = { .host = target->host,
					.user = target->user,
					.port = target->port,
					.socket = target->socket,
					.key = target->key,
					.program = target->program,
					.session = target->session,
					.read_only = target->read_only,
					.no_tty = target->no_tty };

	return ssh_connect(&ssh, function);
}

static struct rpc_caller *reach_target(const struct target *target, const char *function)
{
	struct rpc_caller *caller;
	int fd;

	if (target->transport == OVER_TLS)
		return reach_tls(target, function);
	fd = target->transport == OVER_TCP   ? connect_tcp(target, function)
	     : target->transport == OVER_SSH ? reach_ssh(target, function)
					     : connect_unix(target->socket, function);
	if (fd < 0)
		return NULL;
	caller = rpc_caller_new(fd, NULL, NULL);
	if (target->transport == OVER_UNIX)
		rpc_caller_allow_files(caller);
	return caller;
}

/* What the server shall open: on a socket of its own it knows that itself. */
static const char *name_of(const char *uri, const struct target *target)
{
	if (target->session)
		return "qemu:///session";
	return *uri == '/' || strstr(uri, "socket=") ? NULL : "qemu:///system";
}

/* False: the thread's error is set. */
static bool find(const char *uri, struct target *target, const char *function)
{
	const char *why = NULL;

	if (read_uri(uri, target, &why))
		return true;
	error_set(function, LODGE_ERR_NO_CONNECT,
		  "use lodge:///system, lodge:///session, lodge+unix:///system?socket=PATH, "
		  "lodge+ssh://HOST/system, lodge+tls://HOST/system or "
		  "lodge+tcp://localhost/system",
		  why ? "the connection %s cannot be had: %s"
		      : "there is no connection of the kind %s%s",
		  uri, why ? why : "");
	return false;
}

struct rpc_caller *reach(const char *uri, unsigned flags, struct reached *reached,
			 const char *function)
{
	struct target target = { .read_only = flags & LODGE_OPEN_READ_ONLY };
	struct rpc_caller *caller = NULL;

	if (!uri)
		uri = default_uri();
	if (find(uri, &target, function))
		caller = reach_target(&target, function);
	reached->name = name_of(uri, &target);
	reached->by_ssh = target.transport == OVER_SSH;
	clear_target(&target);
	return caller;
}

int reach_socket(const char *uri, unsigned flags, const char *function)
{
	struct target target = { .read_only = flags & LODGE_OPEN_READ_ONLY };
	int fd = -1;

	if (!uri)
		uri = default_uri();
	if (!find(uri, &target, function))
		fd = -1;
	else if (target.transport == OVER_UNIX)
		fd = connect_unix(target.socket, function);
	else
		error_set(function, LODGE_ERR_INVALID_ARG, NULL, "%s is not on this host", uri);
	clear_target(&target);
	return fd;
}

LODGE_PUBLIC char *lodge_connection_socket(const char *uri, unsigned flags)
{
	struct target target = { .read_only = flags & LODGE_OPEN_READ_ONLY };
	char *path = NULL;

	if (!uri)
		uri = default_uri();
	if (!flags_none(flags & ~LODGE_OPEN_READ_ONLY, __func__))
		return NULL;
	if (find(uri, &target, __func__) && target.transport == OVER_UNIX)
		path = strdup(target.socket); /* the program's, so not GLib's */
	else if (target.transport != OVER_UNIX)
		error_set(__func__, LODGE_ERR_INVALID_ARG, NULL, "%s is not on this host", uri);
	clear_target(&target);
	return path;
}
