/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls with which open files come. */
#include "daemon/calls.h"
#include "daemon/files.h"

/* Both are about security labels, of which guests have none. */
#define ASSOCIATE_FLAGS \
	(VIR_DOMAIN_FD_ASSOCIATE_SECLABEL_RESTORE | VIR_DOMAIN_FD_ASSOCIATE_SECLABEL_WRITABLE)

static void fd_associate(struct rpc_call *call, const struct rpc_domain_fd_associate_args *args)
{
	struct guest *guest;
	GError *error = NULL;
	unsigned count;
	const int *fds = rpc_call_fds(call, &count);

	if (!call_flags(call, args->flags, ASSOCIATE_FLAGS) ||
	    !(guest = call_guest(call, &args->dom)))
		return;
	if (files_associate(guest, rpc_call_client(call), args->name, fds, count, &error))
		rpc_reply_domain_fd_associate(call);
	else
		fail_call(call, error);
}

static void create_with_files(struct rpc_call *call,
			      const struct rpc_domain_create_with_files_args *args)
{
	if (call_flags(call, args->flags, CALL_START_FLAGS))
		call_start(call, &args->dom, args->flags, call_done_domain);
}

static void create_xml_with_files(struct rpc_call *call,
				  const struct rpc_domain_create_xml_with_files_args *args)
{
	call_create(call, args->xml_desc, args->flags);
}

const struct rpc_handlers calls_files = {
	.domain_fd_associate = fd_associate,
	.domain_create_with_files = create_with_files,
	.domain_create_xml_with_files = create_xml_with_files,
};
