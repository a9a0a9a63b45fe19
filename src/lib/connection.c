/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening a connection, and what is asked of the daemon as a whole. See lodge/connection.h. */
#include "private.h"
#include "reach.h"

#include <string.h>

/* --- connecting --- */

/* Who we are the socket or a certificate has told, so there is nothing to prove. */
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
	struct rpc_caller *caller;
	struct reached reached;

	if (!flags_none(flags & ~LODGE_OPEN_READ_ONLY, __func__))
		return NULL;
	caller = reach(uri, flags, &reached, __func__);
	if (!caller)
		return NULL;
	c = g_new0(struct lodge_connection, 1);
	c->references = 1;
	c->caller = caller;
	c->watches = g_ptr_array_new_with_free_func(g_free);
	g_mutex_init(&c->lock);
	if (!introduce(c, reached.name, flags, __func__))
		return c;
	if (reached.by_ssh && rpc_caller_is_broken(caller))
		error_set(__func__, LODGE_ERR_NO_CONNECT,
			  "what ssh and `lodge bridge` there have printed says why",
			  "ssh has ended before a daemon answered");
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

LODGE_PUBLIC char **lodge_connection_cpu_models(struct lodge_connection *connection,
						const char *arch, unsigned flags)
{
	struct rpc_connect_get_cpu_model_names_args args = { (char *)arch, 1, flags };
	struct rpc_connect_get_cpu_model_names_ret ret;
	struct asking a = {};
	char **models = NULL;
	bool good = rpc_ask_connect_get_cpu_model_names(connection->caller, &args, &a.arena, &ret,
							&a.failure);

	if (good) {
		models = g_new0(char *, ret.models.count + 1);
		for (unsigned i = 0; i < ret.models.count; i++)
			models[i] = g_strdup(ret.models.items[i]);
	}
	asked(&a, good, __func__);
	return models;
}

LODGE_PUBLIC void lodge_cpu_models_free(char **models)
{
	g_strfreev(models);
}

LODGE_PUBLIC int lodge_connection_max_vcpus(struct lodge_connection *connection, const char *type)
{
	struct rpc_connect_get_max_vcpus_args args = { (char *)type };
	struct rpc_connect_get_max_vcpus_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_connect_get_max_vcpus(connection->caller, &args, &a.arena, &ret,
						   &a.failure),
		     __func__)
		       ? -1
		       : ret.max_vcpus;
}

LODGE_PUBLIC int lodge_connection_free_memory(struct lodge_connection *connection, uint64_t *bytes,
					      unsigned flags)
{
	struct rpc_node_get_free_memory_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__) ||
	    asked(&a, rpc_ask_node_get_free_memory(connection->caller, &a.arena, &ret, &a.failure),
		  __func__))
		return -1;
	*bytes = ret.freeMem;
	return 0;
}
