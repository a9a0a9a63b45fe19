/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events and who wants them. A client registers for an event of one domain or of all and is given
 * a number, which the event then carries; clients of old register without and get old messages.
 * Every event of libvirt's can be registered for; sent are those that happen here.
 */
#include "daemon/guest.h"
#include "rpc_constants.h"
#include "rpc_protocol.h"

#include <string.h>

#define REGISTRATIONS_MAX 1024

struct registration {
	int id, event;
	bool one, old;
	u8 uuid[UUID_BYTES]; /* of one */
};

struct connection {
	GArray *registrations;
	int last_id;
};

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
	rpc_client_set_data(client, connection, free_connection);
}

/* --- sending --- */

struct event {
	int event; /* VIR_DOMAIN_EVENT_ID_* */
	struct guest *guest;
	struct rpc_domain dom;
	int type, detail; /* of a lifecycle event */
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

static void send_to(struct rpc_client *client, const struct event *event)
{
	struct connection *connection = rpc_client_data(client);

	for (guint i = 0; i < connection->registrations->len; i++) {
		const struct registration *r =
			&g_array_index(connection->registrations, struct registration, i);

		if (r->event != event->event ||
		    (r->one && memcmp(r->uuid, event->guest->uuid, UUID_BYTES)))
			continue;
		if (event->event == VIR_DOMAIN_EVENT_ID_LIFECYCLE)
			send_lifecycle(client, r, event);
		else
			send_reboot(client, r, event);
	}
}

static void send_all(struct guest *guest, struct event *event)
{
	GPtrArray *clients = guest->daemon->clients;

	event->guest = guest;
	event->dom.name = guest->name;
	memcpy(event->dom.uuid, guest->uuid, UUID_BYTES);
	event->dom.id = guest->id;
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

void events_lifecycle(struct guest *guest, int type, int detail)
{
	struct event event = { .event = VIR_DOMAIN_EVENT_ID_LIFECYCLE,
			       .type = type,
			       .detail = detail };

	send_all(guest, &event);
}

void events_reboot(struct guest *guest)
{
	struct event event = { .event = VIR_DOMAIN_EVENT_ID_REBOOT };

	send_all(guest, &event);
}

/* --- registering --- */

static int add(struct rpc_call *call, int event, bool old, const struct rpc_domain *dom)
{
	struct connection *connection = rpc_client_data(rpc_call_client(call));
	struct registration r = { .event = event, .old = old, .one = dom };

	if (event < 0 || event > VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE) {
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
	if (dom)
		memcpy(r.uuid, dom->uuid, UUID_BYTES);
	r.id = ++connection->last_id;
	g_array_append_val(connection->registrations, r);
	return r.id;
}

/* Of clients of old, those that are for @event; else the one with that number. */
static bool drop(struct rpc_call *call, int number, bool old)
{
	struct connection *connection = rpc_client_data(rpc_call_client(call));

	for (guint i = 0; i < connection->registrations->len; i++) {
		const struct registration *r =
			&g_array_index(connection->registrations, struct registration, i);

		if (r->old != old || (old ? r->event : r->id) != number)
			continue;
		g_array_remove_index(connection->registrations, i);
		return true;
	}
	rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
		      "no such event is registered on this connection");
	return false;
}

static void
callback_register_any(struct rpc_call *call,
		      const struct rpc_connect_domain_event_callback_register_any_args *args)
{
	struct rpc_connect_domain_event_callback_register_any_ret ret;

	ret.callbackID = add(call, args->eventID, false, args->dom);
	if (ret.callbackID >= 0)
		rpc_reply_connect_domain_event_callback_register_any(call, &ret);
}

static void
callback_deregister_any(struct rpc_call *call,
			const struct rpc_connect_domain_event_callback_deregister_any_args *args)
{
	if (drop(call, args->callbackID, false))
		rpc_reply_connect_domain_event_callback_deregister_any(call);
}

static void register_any(struct rpc_call *call,
			 const struct rpc_connect_domain_event_register_any_args *args)
{
	if (add(call, args->eventID, true, NULL) >= 0)
		rpc_reply_connect_domain_event_register_any(call);
}

static void deregister_any(struct rpc_call *call,
			   const struct rpc_connect_domain_event_deregister_any_args *args)
{
	if (drop(call, args->eventID, true))
		rpc_reply_connect_domain_event_deregister_any(call);
}

static void register_lifecycle(struct rpc_call *call)
{
	const struct rpc_connect_domain_event_register_ret ret = { .cb_registered = 1 };

	if (add(call, VIR_DOMAIN_EVENT_ID_LIFECYCLE, true, NULL) >= 0)
		rpc_reply_connect_domain_event_register(call, &ret);
}

static void deregister_lifecycle(struct rpc_call *call)
{
	const struct rpc_connect_domain_event_deregister_ret ret = { .cb_registered = 0 };

	if (drop(call, VIR_DOMAIN_EVENT_ID_LIFECYCLE, true))
		rpc_reply_connect_domain_event_deregister(call, &ret);
}

const struct rpc_handlers calls_event = {
	.connect_domain_event_callback_register_any = callback_register_any,
	.connect_domain_event_callback_deregister_any = callback_deregister_any,
	.connect_domain_event_register_any = register_any,
	.connect_domain_event_deregister_any = deregister_any,
	.connect_domain_event_register = register_lifecycle,
	.connect_domain_event_deregister = deregister_lifecycle,
};
