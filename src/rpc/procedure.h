/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tables say of a procedure: its types, and what a caller must be allowed. */
#ifndef LODGE_RPC_PROCEDURE_H
#define LODGE_RPC_PROCEDURE_H

#include "rpc/codec.h"

struct rpc_handlers;
struct rpc_call;

enum rpc_condition {
	RPC_ALWAYS,
	RPC_IF_ANY,   /* one of the flags is set in the argument */
	RPC_IF_NONE,  /* none is */
	RPC_IF_EQUAL, /* the argument is this value */
};

/* The caller needs @permission on an @object, as "write" on a "domain". */
struct rpc_rule {
	const char *object, *permission;
	enum rpc_condition condition;
	bool reads; /* a permission that read-only clients have */
	u32 offset; /* of the 32-bit argument */
	u32 flags;
};

struct rpc_procedure {
	const char *name;
	u32 program;
	s32 number;
	bool event, stream;
	bool files; /* descriptors may come with it, and go with its answer */
	bool high;  /* is answered without waiting for guests */
	const struct rpc_type *args, *ret;
	const struct rpc_rule *rules;
	u32 rule_count;
	/* False: @handlers has none for it. Without @call it only looks. */
	bool (*run)(const struct rpc_handlers *handlers, struct rpc_call *call, const void *args);
};

#endif
