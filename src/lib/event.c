/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watches and their events. The daemon numbers the watches, those of each kind of objects for
 * themselves perhaps; our number of one is the daemon's with the kind above it. An event says whose
 * it is, and comes after the answer that told the number. A watch may end while an event of its is
 * on its way: that is dropped.
 */
#include "private.h"

#include <string.h>

#define KIND_SHIFT 24 /* of a number of ours */

/* The others are KIND_OBJECTS + enum lodge_object_kind. */
enum { KIND_DOMAIN, KIND_MONITOR, KIND_OBJECTS };

static struct watch *find_locked(struct lodge_connection *connection, int id)
{
	for (unsigned i = 0; i < connection->watches->len; i++) {
		struct watch *watch = connection->watches->pdata[i];

		if (watch->id == id)
			return watch;
	}
	return NULL;
}

static int keep_locked(struct lodge_connection *connection, unsigned kind, int id,
		       struct watch watch)
{
	struct watch *kept = g_new0(struct watch, 1);

	*kept = watch;
	kept->id = id | (int)(kind << KIND_SHIFT);
	g_ptr_array_add(connection->watches, kept);
	return kept->id;
}

static int watch_domain(struct lodge_connection *connection, struct lodge_domain *domain, int event,
			struct watch watch, const char *function)
{
	struct rpc_connect_domain_event_callback_register_any_args args = { .eventID = event };
	struct rpc_connect_domain_event_callback_register_any_ret ret;
	struct asking a = {};
	struct rpc_domain dom;
	int id = -1;

	if (domain) {
		dom = domain_wire(domain);
		args.dom = &dom;
	}
	/* events of the watch may be in the queue before it is in the list: they are delivered with
	 * the lock */
	g_mutex_lock(&connection->lock);
	if (!asked(&a,
		   rpc_ask_connect_domain_event_callback_register_any(connection->caller, &args,
								      &a.arena, &ret, &a.failure),
		   function))
		id = keep_locked(connection, KIND_DOMAIN, ret.callbackID, watch);
	g_mutex_unlock(&connection->lock);
	return id;
}

LODGE_PUBLIC int lodge_domain_watch(struct lodge_connection *connection,
				    struct lodge_domain *domain, lodge_domain_event_fn *fn,
				    void *opaque, unsigned flags)
{
	if (!flags_none(flags, __func__))
		return -1;
	return watch_domain(connection, domain, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
			    (struct watch){ .domain_event = fn, .opaque = opaque }, __func__);
}

LODGE_PUBLIC int lodge_domain_watch_other(struct lodge_connection *connection,
					  struct lodge_domain *domain,
					  enum lodge_domain_event event,
					  lodge_domain_other_event_fn *fn, void *opaque,
					  unsigned flags)
{
	if (!flags_none(flags, __func__))
		return -1;
	switch (event) {
	case LODGE_EVENT_REBOOT:
	case LODGE_EVENT_WATCHDOG:
	case LODGE_EVENT_IO_ERROR:
	case LODGE_EVENT_IO_ERROR_REASON:
	case LODGE_EVENT_BALLOON_CHANGE:
	case LODGE_EVENT_METADATA_CHANGE:
		return watch_domain(connection, domain, event,
				    (struct watch){ .other_event = fn, .opaque = opaque },
				    __func__);
	}
	error_set(__func__, LODGE_ERR_INVALID_ARG, NULL, "there is no event %d of guests", event);
	return -1;
}

LODGE_PUBLIC int lodge_monitor_watch(struct lodge_connection *connection,
				     struct lodge_domain *domain, const char *event,
				     lodge_monitor_event_fn *fn, void *opaque, unsigned flags)
{
	struct rpc_qemu_connect_domain_monitor_event_register_args args = {
		.event = (char *)event,
		.flags = flags,
	};
	struct rpc_qemu_connect_domain_monitor_event_register_ret ret;
	struct asking a = {};
	struct rpc_domain dom;
	int id = -1;

	if (domain) {
		dom = domain_wire(domain);
		args.dom = &dom;
	}
	g_mutex_lock(&connection->lock);
	if (!asked(&a,
		   rpc_ask_qemu_connect_domain_monitor_event_register(connection->caller, &args,
								      &a.arena, &ret, &a.failure),
		   __func__))
		id = keep_locked(connection, KIND_MONITOR, ret.callbackID,
				 (struct watch){ .monitor_event = fn, .opaque = opaque });
	g_mutex_unlock(&connection->lock);
	return id;
}

/* Registers for what happens to all objects of one kind, or ends that. */
#define REGISTER(what)                                                            \
	({                                                                        \
		struct rpc_connect_##what##_event_register_any_args args = {};    \
		struct rpc_connect_##what##_event_register_any_ret ret = {};      \
		bool good = rpc_ask_connect_##what##_event_register_any(          \
			connection->caller, &args, &a->arena, &ret, &a->failure); \
                                                                                  \
		*id = ret.callbackID;                                             \
		good;                                                             \
	})
#define DEREGISTER(what)                                                                      \
	({                                                                                    \
		struct rpc_connect_##what##_deregister_any_args args = { id };                \
                                                                                              \
		rpc_ask_connect_##what##_deregister_any(connection->caller, &args, &a->arena, \
							&a->failure);                         \
	})

static bool ask_register(struct lodge_connection *connection, enum lodge_object_kind kind,
			 struct asking *a, int *id)
{
	switch (kind) {
	case LODGE_OBJECT_NETWORK: return REGISTER(network);
	case LODGE_OBJECT_POOL: return REGISTER(storage_pool);
	case LODGE_OBJECT_SECRET: return REGISTER(secret);
	case LODGE_OBJECT_DEVICE: return REGISTER(node_device);
	}
	return false;
}

static bool ask_deregister(struct lodge_connection *connection, unsigned kind, int id,
			   struct asking *a)
{
	struct rpc_qemu_connect_domain_monitor_event_deregister_args monitor = { id };

	switch (kind) {
	case KIND_MONITOR:
		return rpc_ask_qemu_connect_domain_monitor_event_deregister(
			connection->caller, &monitor, &a->arena, &a->failure);
	case KIND_OBJECTS + LODGE_OBJECT_NETWORK: return DEREGISTER(network_event);
	case KIND_OBJECTS + LODGE_OBJECT_POOL: return DEREGISTER(storage_pool_event);
	case KIND_OBJECTS + LODGE_OBJECT_SECRET: return DEREGISTER(secret_event);
	case KIND_OBJECTS + LODGE_OBJECT_DEVICE: return DEREGISTER(node_device_event);
	default: return DEREGISTER(domain_event_callback);
	}
}

LODGE_PUBLIC int lodge_object_watch(struct lodge_connection *connection,
				    enum lodge_object_kind kind, lodge_object_event_fn *fn,
				    void *opaque, unsigned flags)
{
	struct asking a = {};
	int id = -1, number;

	if (!flags_none(flags, __func__))
		return -1;
	if ((unsigned)kind > LODGE_OBJECT_DEVICE) {
		error_set(__func__, LODGE_ERR_INVALID_ARG, NULL, "there is no kind %d of objects",
			  kind);
		return -1;
	}
	g_mutex_lock(&connection->lock);
	if (!asked(&a, ask_register(connection, kind, &a, &number), __func__))
		id = keep_locked(connection, KIND_OBJECTS + kind, number,
				 (struct watch){ .object_event = fn, .opaque = opaque });
	g_mutex_unlock(&connection->lock);
	return id;
}

LODGE_PUBLIC int lodge_unwatch(struct lodge_connection *connection, int id)
{
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
		     ask_deregister(connection, (unsigned)id >> KIND_SHIFT,
				    id & ((1 << KIND_SHIFT) - 1), &a),
		     __func__);
}

/* A copy, because the callback, which is called without the lock, may begin and end watches. */
static struct watch watch_of(struct lodge_connection *connection, unsigned kind, int id)
{
	const struct watch *found;
	struct watch watch = {};

	g_mutex_lock(&connection->lock);
	found = find_locked(connection, id | (int)(kind << KIND_SHIFT));
	if (found)
		watch = *found;
	g_mutex_unlock(&connection->lock);
	return watch;
}

static void deliver_domain(struct lodge_connection *connection,
			   const struct rpc_domain_event_callback_lifecycle_args *args)
{
	struct watch watch = watch_of(connection, KIND_DOMAIN, args->callbackID);
	struct lodge_domain *domain;

	if (!watch.domain_event)
		return;
	domain = domain_new(connection, &args->msg.dom);
	watch.domain_event(domain, args->msg.event, args->msg.detail, watch.opaque);
	lodge_domain_free(domain);
}

static void deliver_other(struct lodge_connection *connection, int id, const struct rpc_domain *dom,
			  enum lodge_domain_event event, struct lodge_event_details details)
{
	struct watch watch = watch_of(connection, KIND_DOMAIN, id);
	struct lodge_domain *domain;

	if (!watch.other_event)
		return;
	domain = domain_new(connection, dom);
	watch.other_event(domain, event, &details, watch.opaque);
	lodge_domain_free(domain);
}

/* False: it is none of those. */
static bool deliver_others(struct lodge_connection *connection, unsigned procedure,
			   const void *value)
{
	const struct rpc_domain_event_callback_reboot_args *reboot = value;
	const struct rpc_domain_event_callback_watchdog_args *watchdog = value;
	const struct rpc_domain_event_callback_io_error_args *io = value;
	const struct rpc_domain_event_callback_io_error_reason_args *reason = value;
	const struct rpc_domain_event_callback_balloon_change_args *balloon = value;
	const struct rpc_domain_event_callback_metadata_change_args *metadata = value;

#define DELIVER(args, domain, event, ...)                               \
	deliver_other(connection, (args)->callbackID, &(domain), event, \
		      (struct lodge_event_details){ __VA_ARGS__ })
	switch (procedure) {
	case RPC_PROC_DOMAIN_EVENT_CALLBACK_REBOOT:
		DELIVER(reboot, reboot->msg.dom, LODGE_EVENT_REBOOT, 0);
		return true;
	case RPC_PROC_DOMAIN_EVENT_CALLBACK_WATCHDOG:
		DELIVER(watchdog, watchdog->msg.dom, LODGE_EVENT_WATCHDOG, watchdog->msg.action);
		return true;
	case RPC_PROC_DOMAIN_EVENT_CALLBACK_IO_ERROR:
		DELIVER(io, io->msg.dom, LODGE_EVENT_IO_ERROR, io->msg.action,
			.path = io->msg.srcPath, .device = io->msg.devAlias);
		return true;
	case RPC_PROC_DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON:
		DELIVER(reason, reason->msg.dom, LODGE_EVENT_IO_ERROR_REASON, reason->msg.action,
			.path = reason->msg.srcPath, .device = reason->msg.devAlias,
			.text = reason->msg.reason);
		return true;
	case RPC_PROC_DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE:
		DELIVER(balloon, balloon->msg.dom, LODGE_EVENT_BALLOON_CHANGE,
			.kib = balloon->msg.actual);
		return true;
	case RPC_PROC_DOMAIN_EVENT_CALLBACK_METADATA_CHANGE:
		DELIVER(metadata, metadata->dom, LODGE_EVENT_METADATA_CHANGE, metadata->type,
			.text = metadata->nsuri);
		return true;
	default: return false;
	}
#undef DELIVER
}

static void deliver_monitor(struct lodge_connection *connection,
			    const struct rpc_qemu_domain_monitor_event_args *args)
{
	struct watch watch = watch_of(connection, KIND_MONITOR, args->callbackID);
	struct lodge_domain *domain;

	if (!watch.monitor_event)
		return;
	domain = domain_new(connection, &args->dom);
	watch.monitor_event(domain, args->event, args->seconds, args->micros, args->details,
			    watch.opaque);
	lodge_domain_free(domain);
}

static void deliver_object(struct lodge_connection *connection, enum lodge_object_kind kind, int id,
			   const char *name, int event, int detail)
{
	struct watch watch = watch_of(connection, KIND_OBJECTS + kind, id);

	if (watch.object_event)
		watch.object_event(name, event, detail, watch.opaque);
}

static void deliver_secret(struct lodge_connection *connection,
			   const struct rpc_secret_event_lifecycle_args *args)
{
	char uuid[LODGE_UUID_CHARS];

	uuid_text(args->secret.uuid, uuid);
	deliver_object(connection, LODGE_OBJECT_SECRET, args->callbackID, uuid, args->event,
		       args->detail);
}

static void deliver(struct lodge_connection *connection, const struct rpc_procedure *procedure,
		    const void *value)
{
	const struct rpc_network_event_lifecycle_args *network = value;
	const struct rpc_storage_pool_event_lifecycle_args *pool = value;
	const struct rpc_node_device_event_lifecycle_args *device = value;

	if (procedure->program == RPC_PROGRAM_QEMU &&
	    procedure->number == RPC_PROC_QEMU_DOMAIN_MONITOR_EVENT)
		deliver_monitor(connection, value);
	if (procedure->program != RPC_PROGRAM_REMOTE ||
	    deliver_others(connection, procedure->number, value))
		return;
	switch (procedure->number) {
	case RPC_PROC_DOMAIN_EVENT_CALLBACK_LIFECYCLE: deliver_domain(connection, value); break;
	case RPC_PROC_NETWORK_EVENT_LIFECYCLE:
		deliver_object(connection, LODGE_OBJECT_NETWORK, network->callbackID,
			       network->net.name, network->event, network->detail);
		break;
	case RPC_PROC_STORAGE_POOL_EVENT_LIFECYCLE:
		deliver_object(connection, LODGE_OBJECT_POOL, pool->callbackID, pool->pool.name,
			       pool->event, pool->detail);
		break;
	case RPC_PROC_SECRET_EVENT_LIFECYCLE: deliver_secret(connection, value); break;
	case RPC_PROC_NODE_DEVICE_EVENT_LIFECYCLE:
		deliver_object(connection, LODGE_OBJECT_DEVICE, device->callbackID,
			       device->dev.name, device->event, device->detail);
		break;
	default: break;
	}
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
