/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watches and their events. The daemon numbers the watches; an event says whose it is, and comes
 * after the answer that told the number. A watch may end while an event of its is on its way: that
 * is dropped.
 */
#include "private.h"

#include <string.h>

static struct watch *find_locked(struct lodge_connection *connection, int id)
{
	for (unsigned i = 0; i < connection->watches->len; i++) {
		struct watch *watch = connection->watches->pdata[i];

		if (watch->id == id)
			return watch;
	}
	return NULL;
}

LODGE_PUBLIC int lodge_domain_watch(struct lodge_connection *connection,
				    struct lodge_domain *domain, lodge_domain_event_fn *fn,
				    void *opaque, unsigned flags)
{
	struct rpc_connect_domain_event_callback_register_any_args args = {
		.eventID = VIR_DOMAIN_EVENT_ID_LIFECYCLE,
	};
	struct rpc_connect_domain_event_callback_register_any_ret ret;
	struct asking a = {};
	struct rpc_domain dom;
	struct watch *watch;

	if (!flags_none(flags, __func__))
		return -1;
	if (domain) {
		dom = domain_wire(domain);
		args.dom = &dom;
	}
	/* events of the watch may be in the queue before it is in the list: they are delivered with
	 * the lock */
	g_mutex_lock(&connection->lock);
	if (asked(&a,
		  rpc_ask_connect_domain_event_callback_register_any(connection->caller, &args,
								     &a.arena, &ret, &a.failure),
		  __func__)) {
		g_mutex_unlock(&connection->lock);
		return -1;
	}
	watch = g_new0(struct watch, 1);
	*watch = (struct watch){ ret.callbackID, fn, opaque };
	g_ptr_array_add(connection->watches, watch);
	g_mutex_unlock(&connection->lock);
	return ret.callbackID;
}

LODGE_PUBLIC int lodge_unwatch(struct lodge_connection *connection, int id)
{
	struct rpc_connect_domain_event_callback_deregister_any_args args = { id };
	struct asking a = {};
	struct watch *watch;

	g_mutex_lock(&connection->lock);
	watch = find_locked(connection, id);
	if (watch)
		g_ptr_array_remove(connection->watches, watch);
	g_mutex_unlock(&connection->lock);
	if (!watch) {
		error_set(__func__, LODGE_ERR_INVALID_ARG, NULL, "there is no watch %d", id);
		return -1;
	}
	return asked(&a,
		     rpc_ask_connect_domain_event_callback_deregister_any(connection->caller, &args,
									  &a.arena, &a.failure),
		     __func__);
}

/* The callback may begin and end watches, so it is called without the lock. */
static void deliver(struct lodge_connection *connection, const struct rpc_procedure *procedure,
		    const void *value)
{
	const struct rpc_domain_event_callback_lifecycle_args *args = value;
	struct watch watch = {};
	struct lodge_domain *domain;
	const struct watch *found;

	if (procedure->number != RPC_PROC_DOMAIN_EVENT_CALLBACK_LIFECYCLE ||
	    procedure->program != RPC_PROGRAM_REMOTE)
		return;
	g_mutex_lock(&connection->lock);
	found = find_locked(connection, args->callbackID);
	if (found)
		watch = *found;
	g_mutex_unlock(&connection->lock);
	if (!watch.domain_event)
		return;
	domain = domain_new(connection, &args->msg.dom);
	watch.domain_event(domain, args->msg.event, args->msg.detail, watch.opaque);
	lodge_domain_free(domain);
}

LODGE_PUBLIC int lodge_connection_fd(struct lodge_connection *connection)
{
	return rpc_caller_fd(connection->caller);
}

LODGE_PUBLIC int lodge_connection_dispatch(struct lodge_connection *connection)
{
	const struct rpc_procedure *procedure;
	struct rpc_arena arena = {};
	int count = 0;
	void *value;

	connection_ref(connection); /* a callback may free it */
	while ((procedure = rpc_caller_next_event(connection->caller, &arena, &value))) {
		deliver(connection, procedure, value);
		rpc_arena_clear(&arena);
		count++;
	}
	if (!count && rpc_caller_is_broken(connection->caller)) {
		error_set(__func__, LODGE_ERR_RPC, "open another connection",
			  "the connection to the daemon is lost");
		count = -1;
	}
	lodge_connection_free(connection);
	return count;
}
