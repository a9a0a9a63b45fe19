/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening a connection, and what is asked of the daemon as a whole. See lodge/connection.h. */
#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SYSTEM_SOCKET "/run/libvirt/libvirt-sock"

/* --- where to connect --- */

struct target {
	const char *name; /* what to open there */
	char *socket;
};

static char *session_socket(void)
{
	return g_build_filename(g_get_user_runtime_dir(), "libvirt", "libvirt-sock", NULL);
}

static const char *after(const char *text, const char *prefix)
{
	return g_str_has_prefix(text, prefix) ? text + strlen(prefix) : NULL;
}

/* The value of "socket" in "path?name=value&...", or NULL. */
static char *socket_parameter(const char *rest)
{
	const char *query = strchr(rest, '?');
	g_auto(GStrv) parts = g_strsplit(query ? query + 1 : "", "&", -1);

	for (unsigned i = 0; parts[i]; i++)
		if (after(parts[i], "socket="))
			return g_uri_unescape_string(after(parts[i], "socket="), NULL);
	return NULL;
}

static bool is_session(const char *path)
{
	return g_str_has_prefix(path, "/session");
}

static bool find_target(const char *uri, unsigned flags, struct target *target)
{
	const char *rest = NULL;

	if (*uri == '/') {
		*target = (struct target){ NULL, g_strdup(uri) };
		return true;
	}
	if ((rest = after(uri, "lodge+unix://")) || (rest = after(uri, "qemu+unix://"))) {
		target->socket = socket_parameter(rest);
		target->name = is_session(rest) ? "qemu:///session" : NULL;
		if (target->socket)
			return true;
	}
	if (!rest && !(rest = after(uri, "lodge://")))
		rest = after(uri, "qemu://");
	if (!rest || *rest != '/')
		return false;
	if (is_session(rest)) {
		*target = (struct target){ "qemu:///session", session_socket() };
		return true;
	}
	*target = (struct target){ "qemu:///system",
				   g_strdup(flags & LODGE_OPEN_READ_ONLY ? SYSTEM_SOCKET "-ro"
									 : SYSTEM_SOCKET) };
	return !strcmp(rest, "/system") || g_str_has_prefix(rest, "/system?") || !strcmp(rest, "/");
}

static const char *default_uri(void)
{
	const char *uri = getenv("LODGE_URI");

	return uri && *uri ? uri : geteuid() ? "lodge:///session" : "lodge:///system";
}

/* --- connecting --- */

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

static int connect_to(const char *path, const char *function)
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

/* Who we are is told by the socket itself, so there is nothing to prove. */
static int introduce(struct lodge_connection *c, const char *name, unsigned flags,
		     const char *function)
{
	struct rpc_connect_open_args open = { (char *)name,
					      flags & LODGE_OPEN_READ_ONLY ? VIR_CONNECT_RO : 0 };
	struct rpc_auth_list_ret types;
	struct asking a = {}, b = {};

	if (asked(&a, rpc_ask_auth_list(c->caller, &a.arena, &types, &a.failure), function))
		return -1;
	return asked(&b, rpc_ask_connect_open(c->caller, &open, &b.arena, &b.failure), function);
}

LODGE_PUBLIC struct lodge_connection *lodge_connection_open(const char *uri, unsigned flags)
{
	struct lodge_connection *c;
	struct target target = {};
	int fd;

	if (!flags_none(flags & ~LODGE_OPEN_READ_ONLY, __func__))
		return NULL;
	if (!uri)
		uri = default_uri();
	if (!find_target(uri, flags, &target)) {
		error_set(__func__, LODGE_ERR_NO_CONNECT,
			  "use lodge:///system, lodge:///session or lodge+unix:///?socket=PATH",
			  "there is no connection of the kind %s", uri);
		g_free(target.socket);
		return NULL;
	}
	fd = connect_to(target.socket, __func__);
	g_free(target.socket);
	if (fd < 0)
		return NULL;
	c = g_new0(struct lodge_connection, 1);
	c->references = 1;
	c->caller = rpc_caller_new(fd);
	c->watches = g_ptr_array_new_with_free_func(g_free);
	g_mutex_init(&c->lock);
	if (!introduce(c, target.name, flags, __func__))
		return c;
	lodge_connection_free(c);
	return NULL;
}

struct lodge_connection *connection_ref(struct lodge_connection *connection)
{
	g_atomic_int_inc(&connection->references);
	return connection;
}

LODGE_PUBLIC void lodge_connection_free(struct lodge_connection *connection)
{
	if (!connection || !g_atomic_int_dec_and_test(&connection->references))
		return;
	rpc_caller_free(connection->caller);
	g_ptr_array_free(connection->watches, TRUE);
	g_mutex_clear(&connection->lock);
	g_free(connection);
}

/* --- asking --- */

LODGE_PUBLIC int lodge_connection_is_lost(struct lodge_connection *connection)
{
	return rpc_caller_is_broken(connection->caller);
}

LODGE_PUBLIC char *lodge_connection_uri(struct lodge_connection *connection, unsigned flags)
{
	struct rpc_connect_get_uri_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	return asked_string(&a,
			    rpc_ask_connect_get_uri(connection->caller, &a.arena, &ret, &a.failure),
			    &ret.uri, __func__);
}

LODGE_PUBLIC char *lodge_connection_hostname(struct lodge_connection *connection, unsigned flags)
{
	struct rpc_connect_get_hostname_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	return asked_string(
		&a, rpc_ask_connect_get_hostname(connection->caller, &a.arena, &ret, &a.failure),
		&ret.hostname, __func__);
}

LODGE_PUBLIC char *lodge_connection_capabilities(struct lodge_connection *connection,
						 unsigned flags)
{
	struct rpc_connect_get_capabilities_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	return asked_string(
		&a,
		rpc_ask_connect_get_capabilities(connection->caller, &a.arena, &ret, &a.failure),
		&ret.capabilities, __func__);
}

LODGE_PUBLIC char *lodge_connection_domain_capabilities(struct lodge_connection *connection,
							unsigned flags)
{
	struct rpc_connect_get_domain_capabilities_args args = { .flags = flags };
	struct rpc_connect_get_domain_capabilities_ret ret;
	struct asking a = {};

	return asked_string(&a,
			    rpc_ask_connect_get_domain_capabilities(connection->caller, &args,
								    &a.arena, &ret, &a.failure),
			    &ret.capabilities, __func__);
}

LODGE_PUBLIC int lodge_connection_versions(struct lodge_connection *connection, uint64_t *interface,
					   uint64_t *hypervisor, unsigned flags)
{
	struct rpc_connect_get_lib_version_ret lib;
	struct rpc_connect_get_version_ret version;
	struct asking a = {}, b = {};

	if (!flags_none(flags, __func__) ||
	    asked(&a,
		  rpc_ask_connect_get_lib_version(connection->caller, &a.arena, &lib, &a.failure),
		  __func__) ||
	    asked(&b,
		  rpc_ask_connect_get_version(connection->caller, &b.arena, &version, &b.failure),
		  __func__))
		return -1;
	*interface = lib.lib_ver;
	*hypervisor = version.hv_ver;
	return 0;
}

LODGE_PUBLIC int lodge_connection_node(struct lodge_connection *connection, struct lodge_node *node,
				       unsigned flags)
{
	struct rpc_node_get_info_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__) ||
	    asked(&a, rpc_ask_node_get_info(connection->caller, &a.arena, &ret, &a.failure),
		  __func__))
		return -1;
	*node = (struct lodge_node){ .memory_kib = ret.memory,
				     .cpus = ret.cpus,
				     .mhz = ret.mhz,
				     .numa_nodes = ret.nodes,
				     .sockets = ret.sockets,
				     .cores = ret.cores,
				     .threads = ret.threads };
	memcpy(node->model, ret.model, sizeof(node->model) - 1);
	return 0;
}
