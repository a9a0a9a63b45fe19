/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Open files for guests. See lodge/domain.h. */
#include "private.h"

static struct rpc_caller *caller_of(const struct lodge_domain *domain)
{
	return domain_connection(domain)->caller;
}

/* False: there are too many, and the thread's error says so. */
static bool take(const int *fds, unsigned count, struct rpc_fds *out, const char *function)
{
	out->count = 0;
	if (count > RPC_FDS_MAX) {
		error_set(function, VIR_ERR_INVALID_ARG, NULL,
			  "%u descriptors are more than the %d that one call takes", count,
			  RPC_FDS_MAX);
		return false;
	}
	for (unsigned i = 0; i < count; i++)
		out->items[out->count++] = fds[i];
	return true;
}

LODGE_PUBLIC int lodge_domain_fd_associate(struct lodge_domain *domain, const char *name,
					   const int *fds, unsigned count, unsigned flags)
{
	struct rpc_domain_fd_associate_args args = { domain_wire(domain), (char *)name, flags };
	struct asking a = {};
	struct rpc_fds out;

	if (!take(fds, count, &out, __func__))
		return -1;
	return asked(&a,
		     rpc_ask_domain_fd_associate(caller_of(domain), &args, &out, &a.arena, NULL,
						 &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_start_with_files(struct lodge_domain *domain, const int *fds,
					       unsigned count, unsigned flags)
{
	struct rpc_domain_create_with_files_args args = { domain_wire(domain), flags };
	struct rpc_domain_create_with_files_ret ret;
	struct asking a = {};
	struct rpc_fds out;

	if (!take(fds, count, &out, __func__))
		return -1;
	return asked(&a,
		     rpc_ask_domain_create_with_files(caller_of(domain), &args, &out, &a.arena,
						      &ret, NULL, &a.failure),
		     __func__);
}

LODGE_PUBLIC struct lodge_domain *
lodge_domain_create_with_files(struct lodge_connection *connection, const char *xml, const int *fds,
			       unsigned count, unsigned flags)
{
	struct rpc_domain_create_xml_with_files_args args = { (char *)xml, flags };
	struct rpc_domain_create_xml_with_files_ret ret;
	struct lodge_domain *domain = NULL;
	struct asking a = {};
	struct rpc_fds out;
	bool good;

	if (!take(fds, count, &out, __func__))
		return NULL;
	good = rpc_ask_domain_create_xml_with_files(connection->caller, &args, &out, &a.arena, &ret,
						    NULL, &a.failure);
	if (good)
		domain = domain_new(connection, &ret.dom);
	asked(&a, good, __func__);
	return domain;
}
