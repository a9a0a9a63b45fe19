/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events and who wants them. A client registers for an event of one domain or of all and is given
 * a number, which the event then carries; clients of old register without and get old messages.
 * Every event of libvirt's can be registered for; sent are those that happen here.
 */
#include "daemon/calls.h"
#include "daemon/secrets.h"
#include "rpc_constants.h"
#include "rpc_protocol.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define REGISTRATIONS_MAX 1024

struct registration {
	enum event_object object;
	int id, event;
	bool one, old;
	GRegex *names;       /* of a monitor's; NULL: all */
	u8 uuid[UUID_BYTES]; /* of one */
};

struct connection {
	GArray *registrations;
	int last_id;
};

static void clear_registration(gpointer opaque)
{
	struct registration *r = opaque;

	if (r->names)
		g_regex_unref(r->names);
}

static void free_connection(gpointer opaque)
{
	struct connection *connection = opaque;

	g_array_unref(connection->registrations);
	g_free(connection);
}

void events_join(struct rpc_client *client)
{
	struct connection *connection = g_new0(struct connection, 1);

	connection->registrations = g_array_new(FALSE, FALSE, sizeof(struct registration));
	g_array_set_clear_func(connection->registrations, clear_registration);
	rpc_client_set_data(client, connection, free_connection);
}

/* --- sending --- */

struct event {
	enum event_object object;
	int event; /* VIR_DOMAIN_EVENT_ID_* and the like */
	const u8 *uuid;
	char *name;
	struct rpc_domain dom;
	int type, detail; /* of a lifecycle event; the type of what was noted; the action */
	char *path, *alias, *reason; /* of a disk's failure */
	char *uri;                   /* of what was noted, or NULL */
	u64 kib;                     /* of a balloon */
	int usage;                   /* of a secret, whose id is its name */
};

static void send_lifecycle(struct rpc_client *client, const struct registration *r,
			   const struct event *event)
{
	const struct rpc_domain_event_lifecycle_args old = { event->dom, event->type,
							     event->detail };
	const struct rpc_domain_event_callback_lifecycle_args args = {
		.callbackID = r->id, .msg = { event->dom, event->type, event->detail }
	};

	if (r->old)
		rpc_event_domain_event_lifecycle(client, &old);
	else
		rpc_event_domain_event_callback_lifecycle(client, &args);
}

static void send_reboot(struct rpc_client *client, const struct registration *r,
			const struct event *event)
{
	const struct rpc_domain_event_reboot_args old = { event->dom };
	const struct rpc_domain_event_callback_reboot_args args = { .callbackID = r->id,
								    .msg = { event->dom } };

	if (r->old)
		rpc_event_domain_event_reboot(client, &old);
	else
		rpc_event_domain_event_callback_reboot(client, &args);
}

static void send_watchdog(struct rpc_client *client, const struct registration *r,
			  const struct event *event)
{
	const struct rpc_domain_event_watchdog_args old = { event->dom, event->type };
	const struct rpc_domain_event_callback_watchdog_args args = {
		.callbackID = r->id, .msg = { event->dom, event->type }
	};

	if (r->old)
		rpc_event_domain_event_watchdog(client, &old);
	else
		rpc_event_domain_event_callback_watchdog(client, &args);
}

static void send_io_error(struct rpc_client *client, const struct registration *r,
			  const struct event *event)
{
	const struct rpc_domain_event_io_error_args old = { event->dom, event->path, event->alias,
							    event->type };
	const struct rpc_domain_event_callback_io_error_args args = {
		.callbackID = r->id, .msg = { event->dom, event->path, event->alias, event->type }
	};

	if (r->old)
		rpc_event_domain_event_io_error(client, &old);
	else
		rpc_event_domain_event_callback_io_error(client, &args);
}

static void send_io_error_reason(struct rpc_client *client, const struct registration *r,
				 const struct event *event)
{
	const struct rpc_domain_event_io_error_reason_args old = { event->dom, event->path,
								   event->alias, event->type,
								   event->reason };
	const struct rpc_domain_event_callback_io_error_reason_args args = {
		.callbackID = r->id,
		.msg = { event->dom, event->path, event->alias, event->type, event->reason }
	};

	if (r->old)
		rpc_event_domain_event_io_error_reason(client, &old);
	else
		rpc_event_domain_event_callback_io_error_reason(client, &args);
}

/* Clients of old do not know it. */
static void send_metadata_change(struct rpc_client *client, const struct registration *r,
				 const struct event *event)
{
	const struct rpc_domain_event_callback_metadata_change_args args = {
		.callbackID = r->id, .dom = event->dom, .type = event->type, .nsuri = event->uri
	};

	if (!r->old)
		rpc_event_domain_event_callback_metadata_change(client, &args);
}

static void send_balloon(struct rpc_client *client, const struct registration *r,
			 const struct event *event)
{
	const struct rpc_domain_event_balloon_change_args old = { event->dom, event->kib };
	const struct rpc_domain_event_callback_balloon_change_args args = {
		.callbackID = r->id, .msg = { event->dom, event->kib }
	};

	if (r->old)
		rpc_event_domain_event_balloon_change(client, &old);
	else
		rpc_event_domain_event_callback_balloon_change(client, &args);
}

static void send_network(struct rpc_client *client, const struct registration *r,
			 const struct event *event)
{
	struct rpc_network_event_lifecycle_args args = { .callbackID = r->id,
							 .net.name = event->name,
							 .event = event->type };

	memcpy(args.net.uuid, event->uuid, UUID_BYTES);
	rpc_event_network_event_lifecycle(client, &args);
}

static void send_secret(struct rpc_client *client, const struct registration *r,
			const struct event *event)
{
	struct rpc_secret_event_lifecycle_args args = { .callbackID = r->id,
							.secret.usageType = event->usage,
							.secret.usageID = event->name,
							.event = event->type };
	struct rpc_secret_event_value_changed_args changed = { .callbackID = r->id };

	memcpy(args.secret.uuid, event->uuid, UUID_BYTES);
	changed.secret = args.secret;
	if (event->event == VIR_SECRET_EVENT_ID_LIFECYCLE)
		rpc_event_secret_event_lifecycle(client, &args);
	else
		rpc_event_secret_event_value_changed(client, &changed);
}

static void send_monitor(struct rpc_client *client, const struct registration *r,
			 const struct event *event)
{
	gint64 now = g_get_real_time();
	const struct rpc_qemu_domain_monitor_event_args args = { .callbackID = r->id,
								 .dom = event->dom,
								 .event = event->name,
								 .seconds = now / G_USEC_PER_SEC,
								 .micros = now % G_USEC_PER_SEC,
								 .details = event->reason };

	if (!r->names || g_regex_match(r->names, event->name, 0, NULL))
		rpc_event_qemu_domain_monitor_event(client, &args);
}

static void send_pool(struct rpc_client *client, const struct registration *r,
		      const struct event *event)
{
	struct rpc_storage_pool_event_lifecycle_args args = { .callbackID = r->id,
							      .pool.name = event->name,
							      .event = event->type };
	struct rpc_storage_pool_event_refresh_args refresh = { .callbackID = r->id };

	memcpy(args.pool.uuid, event->uuid, UUID_BYTES);
	refresh.pool = args.pool;
	if (event->event == VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE)
		rpc_event_storage_pool_event_lifecycle(client, &args);
	else
		rpc_event_storage_pool_event_refresh(client, &refresh);
}

static void send_domain(struct rpc_client *client, const struct registration *r,
			const struct event *event)
{
	static void (*const senders[])(struct rpc_client * client, const struct registration *r,
				       const struct event *event) = {
		[VIR_DOMAIN_EVENT_ID_LIFECYCLE] = send_lifecycle,
		[VIR_DOMAIN_EVENT_ID_REBOOT] = send_reboot,
		[VIR_DOMAIN_EVENT_ID_WATCHDOG] = send_watchdog,
		[VIR_DOMAIN_EVENT_ID_IO_ERROR] = send_io_error,
		[VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON] = send_io_error_reason,
		[VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE] = send_balloon,
		[VIR_DOMAIN_EVENT_ID_METADATA_CHANGE] = send_metadata_change,
	};

	senders[event->event](client, r, event);
}

static void send_to(struct rpc_client *client, const struct event *event)
{
	struct connection *connection = rpc_client_data(client);

	for (guint i = 0; i < connection->registrations->len; i++) {
		const struct registration *r =
			&g_array_index(connection->registrations, struct registration, i);

		if (r->object != event->object || r->event != event->event ||
		    (r->one && memcmp(r->uuid, event->uuid, UUID_BYTES)))
			continue;
		if (event->object == EVENT_OF_NETWORK)
			send_network(client, r, event);
		else if (event->object == EVENT_OF_POOL)
			send_pool(client, r, event);
		else if (event->object == EVENT_OF_SECRET)
			send_secret(client, r, event);
		else if (event->object == EVENT_OF_MONITOR)
			send_monitor(client, r, event);
		else
			send_domain(client, r, event);
	}
}

static void send_all(const struct daemon *daemon, const struct event *event)
{
	GPtrArray *clients = daemon->clients;

	/* from the end: a client that does not read its events is closed, and leaves the list */
	for (guint i = clients->len; i > 0; i--) {
		struct rpc_client *client;

		if (i > clients->len)
			continue;
		client = rpc_client_ref(clients->pdata[i - 1]);
		send_to(client, event);
		rpc_client_unref(client);
	}
}

static void send_of_guest(struct guest *guest, struct event *event)
{
	event->uuid = guest->uuid;
	event->dom.name = guest->name;
	memcpy(event->dom.uuid, guest->uuid, UUID_BYTES);
	event->dom.id = guest->id;
	send_all(guest->daemon, event);
}

void events_lifecycle(struct guest *guest, int type, int detail)
{
	struct event event = { .event = VIR_DOMAIN_EVENT_ID_LIFECYCLE,
			       .type = type,
			       .detail = detail };

	send_of_guest(guest, &event);
}

void events_reboot(struct guest *guest)
{
	struct event event = { .event = VIR_DOMAIN_EVENT_ID_REBOOT };

	send_of_guest(guest, &event);
}

void events_balloon(struct guest *guest, u64 kib)
{
	struct event event = { .event = VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, .kib = kib };

	send_of_guest(guest, &event);
}

void events_watchdog(struct guest *guest, int action)
{
	struct event event = { .event = VIR_DOMAIN_EVENT_ID_WATCHDOG, .type = action };

	send_of_guest(guest, &event);
}

void events_io_error(struct guest *guest, const struct domain_disk *disk, int action, bool space)
{
	struct event event = { .event = VIR_DOMAIN_EVENT_ID_IO_ERROR,
			       .type = action,
			       .path = disk->path ? disk->path : (char *)"",
			       .alias = disk->alias ? disk->alias : disk->target,
			       .reason = (char *)(space ? "enospc" : "") };

	send_of_guest(guest, &event);
	event.event = VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON;
	send_of_guest(guest, &event);
}

void events_metadata(struct guest *guest, int type, const char *uri)
{
	struct event event = { .event = VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
			       .type = type,
			       .uri = (char *)uri };

	send_of_guest(guest, &event);
}

void events_monitor(struct guest *guest, const char *name, const json_t *data)
{
	struct event event = { .object = EVENT_OF_MONITOR, .name = (char *)name };

	event.reason = data ? json_dumps(data, JSON_COMPACT) : NULL;
	send_of_guest(guest, &event);
	free(event.reason);
}

void events_kept(const struct kept *kept, int number, int type)
{
	struct event event = { .object = kept->keeper->kind->object,
			       .event = number,
			       .uuid = kept->uuid,
			       .name = kept->name,
			       .type = type };
	const char *id;

	if (event.object == EVENT_OF_SECRET) {
		event.usage = secret_usage(kept, &id);
		event.name = (char *)id;
	}
	send_all(kept->keeper->daemon, &event);
}

/* --- registering --- */

/* Registers for @event, up to @last, of the object with @uuid or, if that is NULL, of all. */
static int add(struct rpc_call *call, enum event_object object, int event, int last, bool old,
	       const u8 *uuid)
{
	struct connection *connection = rpc_client_data(rpc_call_client(call));
	struct registration r = { .object = object, .event = event, .old = old, .one = uuid };

	if (event < 0 || event > last) {
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
			      "there is no event number %d", event);
		return -1;
	}
	if (connection->registrations->len >= REGISTRATIONS_MAX) {
		rpc_call_fail(call, VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU,
			      "this connection has registered for %d events, which is as many as "
			      "it may",
			      REGISTRATIONS_MAX);
		return -1;
	}
	if (uuid)
		memcpy(r.uuid, uuid, UUID_BYTES);
	r.id = ++connection->last_id;
	g_array_append_val(connection->registrations, r);
	return r.id;
}

/* Of clients of old, those that are for @event; else the one with that number. */
static bool drop(struct rpc_call *call, enum event_object object, int number, bool old)
{
	struct connection *connection = rpc_client_data(rpc_call_client(call));

	for (guint i = 0; i < connection->registrations->len; i++) {
		const struct registration *r =
			&g_array_index(connection->registrations, struct registration, i);

		if (r->object != object || r->old != old || (old ? r->event : r->id) != number)
			continue;
		g_array_remove_index(connection->registrations, i);
		return true;
	}
	rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
		      "no such event is registered on this connection");
	return false;
}

static int add_domain(struct rpc_call *call, int event, bool old, const struct rpc_domain *dom)
{
	return add(call, EVENT_OF_DOMAIN, event, VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE, old,
		   dom ? dom->uuid : NULL);
}

static void
callback_register_any(struct rpc_call *call,
		      const struct rpc_connect_domain_event_callback_register_any_args *args)
{
	struct rpc_connect_domain_event_callback_register_any_ret ret;

	ret.callbackID = add_domain(call, args->eventID, false, args->dom);
	if (ret.callbackID >= 0)
		rpc_reply_connect_domain_event_callback_register_any(call, &ret);
}

static void
callback_deregister_any(struct rpc_call *call,
			const struct rpc_connect_domain_event_callback_deregister_any_args *args)
{
	if (drop(call, EVENT_OF_DOMAIN, args->callbackID, false))
		rpc_reply_connect_domain_event_callback_deregister_any(call);
}

static void register_any(struct rpc_call *call,
			 const struct rpc_connect_domain_event_register_any_args *args)
{
	if (add_domain(call, args->eventID, true, NULL) >= 0)
		rpc_reply_connect_domain_event_register_any(call);
}

static void deregister_any(struct rpc_call *call,
			   const struct rpc_connect_domain_event_deregister_any_args *args)
{
	if (drop(call, EVENT_OF_DOMAIN, args->eventID, true))
		rpc_reply_connect_domain_event_deregister_any(call);
}

static void register_lifecycle(struct rpc_call *call)
{
	const struct rpc_connect_domain_event_register_ret ret = { .cb_registered = 1 };

	if (add_domain(call, VIR_DOMAIN_EVENT_ID_LIFECYCLE, true, NULL) >= 0)
		rpc_reply_connect_domain_event_register(call, &ret);
}

static void deregister_lifecycle(struct rpc_call *call)
{
	const struct rpc_connect_domain_event_deregister_ret ret = { .cb_registered = 0 };

	if (drop(call, EVENT_OF_DOMAIN, VIR_DOMAIN_EVENT_ID_LIFECYCLE, true))
		rpc_reply_connect_domain_event_deregister(call, &ret);
}

/* --- of what is not a domain: all answers are the number alone --- */

static void answer_added(struct rpc_call *call, int number)
{
	const struct rpc_connect_network_event_register_any_ret ret = { .callbackID = number };

	if (number >= 0)
		rpc_call_answer(call, rpc_call_procedure(call), &ret);
}

static void answer_dropped(struct rpc_call *call, bool dropped)
{
	if (dropped)
		rpc_call_answer(call, rpc_call_procedure(call), NULL);
}

static void register_network(struct rpc_call *call,
			     const struct rpc_connect_network_event_register_any_args *args)
{
	answer_added(call,
		     add(call, EVENT_OF_NETWORK, args->eventID, VIR_NETWORK_EVENT_ID_LIFECYCLE,
			 false, args->net ? args->net->uuid : NULL));
}

static void deregister_network(struct rpc_call *call,
			       const struct rpc_connect_network_event_deregister_any_args *args)
{
	answer_dropped(call, drop(call, EVENT_OF_NETWORK, args->callbackID, false));
}

static void register_pool(struct rpc_call *call,
			  const struct rpc_connect_storage_pool_event_register_any_args *args)
{
	answer_added(call,
		     add(call, EVENT_OF_POOL, args->eventID, VIR_STORAGE_POOL_EVENT_ID_REFRESH,
			 false, args->pool ? args->pool->uuid : NULL));
}

static void deregister_pool(struct rpc_call *call,
			    const struct rpc_connect_storage_pool_event_deregister_any_args *args)
{
	answer_dropped(call, drop(call, EVENT_OF_POOL, args->callbackID, false));
}

static void register_device(struct rpc_call *call,
			    const struct rpc_connect_node_device_event_register_any_args *args)
{
	if (args->dev)
		rpc_call_fail(call, VIR_ERR_NO_NODE_DEVICE, VIR_FROM_NODEDEV,
			      "Node device not found: no node device with matching name '%s'",
			      args->dev->name);
	else
		answer_added(call, add(call, EVENT_OF_NODE_DEVICE, args->eventID,
				       VIR_NODE_DEVICE_EVENT_ID_UPDATE, false, NULL));
}

static void deregister_device(struct rpc_call *call,
			      const struct rpc_connect_node_device_event_deregister_any_args *args)
{
	answer_dropped(call, drop(call, EVENT_OF_NODE_DEVICE, args->callbackID, false));
}

static void register_secret(struct rpc_call *call,
			    const struct rpc_connect_secret_event_register_any_args *args)
{
	answer_added(call,
		     add(call, EVENT_OF_SECRET, args->eventID, VIR_SECRET_EVENT_ID_VALUE_CHANGED,
			 false, args->secret ? args->secret->uuid : NULL));
}

static void deregister_secret(struct rpc_call *call,
			      const struct rpc_connect_secret_event_deregister_any_args *args)
{
	answer_dropped(call, drop(call, EVENT_OF_SECRET, args->callbackID, false));
}

#define MONITOR_REGEX    1 /* the name is a regular expression */
#define MONITOR_NO_CASE  2
#define MONITOR_NAME_MAX 1024

/* What names match @given; NULL: all do. False: the call has been failed. */
static bool make_regex(struct rpc_call *call, const char *given, u32 flags, GRegex **regex)
{
	GRegexCompileFlags how = flags & MONITOR_NO_CASE ? G_REGEX_CASELESS : 0;
	g_autofree char *exact = NULL, *pattern = NULL;

	*regex = NULL;
	if (!given)
		return true;
	exact = g_regex_escape_string(given, -1);
	pattern = flags & MONITOR_REGEX ? g_strdup(given) : g_strdup_printf("^%s$", exact);
	if (strlen(given) <= MONITOR_NAME_MAX)
		*regex = g_regex_new(pattern, how, 0, NULL);
	if (!*regex)
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, "'%.80s' names no events",
			      given);
	return *regex;
}

static void register_monitor(struct rpc_call *call,
			     const struct rpc_qemu_connect_domain_monitor_event_register_args *args)
{
	struct connection *connection = rpc_client_data(rpc_call_client(call));
	GRegex *names;
	int number;

	if (!call_flags(call, args->flags, MONITOR_REGEX | MONITOR_NO_CASE) ||
	    !make_regex(call, args->event, args->flags, &names))
		return;
	number = add(call, EVENT_OF_MONITOR, 0, 0, false, args->dom ? args->dom->uuid : NULL);
	if (number >= 0)
		g_array_index(connection->registrations, struct registration,
			      connection->registrations->len - 1)
			.names = names;
	else if (names)
		g_regex_unref(names);
	answer_added(call, number);
}

static void
deregister_monitor(struct rpc_call *call,
		   const struct rpc_qemu_connect_domain_monitor_event_deregister_args *args)
{
	answer_dropped(call, drop(call, EVENT_OF_MONITOR, args->callbackID, false));
}

const struct rpc_handlers calls_event = {
	.qemu_connect_domain_monitor_event_register = register_monitor,
	.qemu_connect_domain_monitor_event_deregister = deregister_monitor,
	.connect_node_device_event_register_any = register_device,
	.connect_node_device_event_deregister_any = deregister_device,
	.connect_secret_event_register_any = register_secret,
	.connect_secret_event_deregister_any = deregister_secret,
	.connect_network_event_register_any = register_network,
	.connect_network_event_deregister_any = deregister_network,
	.connect_storage_pool_event_register_any = register_pool,
	.connect_storage_pool_event_deregister_any = deregister_pool,
	.connect_domain_event_callback_register_any = callback_register_any,
	.connect_domain_event_callback_deregister_any = callback_deregister_any,
	.connect_domain_event_register_any = register_any,
	.connect_domain_event_deregister_any = deregister_any,
	.connect_domain_event_register = register_lifecycle,
	.connect_domain_event_deregister = deregister_lifecycle,
};
