/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks. See lodge/network.h. */
#include "private.h"

#include <stdlib.h>
#include <string.h>

struct lodge_network {
	struct object object;
};

static struct lodge_network *network_new(struct lodge_connection *connection,
					 const struct rpc_network *wire)
{
	struct lodge_network *network = g_new0(struct lodge_network, 1);

	object_init(&network->object, connection, wire->name, wire->uuid);
	return network;
}

static struct rpc_network network_wire(const struct lodge_network *network)
{
	struct rpc_network wire = { .name = network->object.name };

	memcpy(wire.uuid, network->object.uuid, sizeof(wire.uuid));
	return wire;
}

static struct rpc_caller *caller_of(const struct lodge_network *network)
{
	return network->object.connection->caller;
}

/* The end of a call whose answer is one. */
static struct lodge_network *asked_network(struct asking *asking, bool good,
					   struct lodge_connection *connection,
					   const struct rpc_network *wire, const char *function)
{
	struct lodge_network *network = good ? network_new(connection, wire) : NULL;

	asked(asking, good, function);
	return network;
}

LODGE_PUBLIC void lodge_network_free(struct lodge_network *network)
{
	if (!network)
		return;
	object_clear(&network->object);
	g_free(network);
}

static void free_network(void *member)
{
	lodge_network_free(member);
}

LODGE_PUBLIC void lodge_networks_free(struct lodge_network **networks)
{
	objects_free(networks, free_network);
}

LODGE_PUBLIC struct lodge_network **lodge_network_list(struct lodge_connection *connection,
						       unsigned flags)
{
	struct rpc_connect_list_all_networks_args args = { 1, flags };
	struct rpc_connect_list_all_networks_ret ret;
	struct lodge_network **networks = NULL;
	struct asking a = {};
	bool good = rpc_ask_connect_list_all_networks(connection->caller, &args, &a.arena, &ret,
						      &a.failure);

	if (good) {
		networks = g_new0(struct lodge_network *, ret.nets.count + 1);
		for (unsigned i = 0; i < ret.nets.count; i++)
			networks[i] = network_new(connection, &ret.nets.items[i]);
	}
	asked(&a, good, __func__);
	return networks;
}

LODGE_PUBLIC struct lodge_network *lodge_network_by_name(struct lodge_connection *connection,
							 const char *name, unsigned flags)
{
	struct rpc_network_lookup_by_name_args args = { (char *)name };
	struct rpc_network_lookup_by_name_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	return asked_network(&a,
			     rpc_ask_network_lookup_by_name(connection->caller, &args, &a.arena,
							    &ret, &a.failure),
			     connection, &ret.net, __func__);
}

LODGE_PUBLIC struct lodge_network *lodge_network_find(struct lodge_connection *connection,
						      const char *text, unsigned flags)
{
	struct rpc_network_lookup_by_uuid_args args;
	struct rpc_network_lookup_by_uuid_ret ret;
	struct asking a = {};

	if (!object_parse_uuid(text, args.uuid))
		return lodge_network_by_name(connection, text, flags);
	if (!flags_none(flags, __func__))
		return NULL;
	return asked_network(&a,
			     rpc_ask_network_lookup_by_uuid(connection->caller, &args, &a.arena,
							    &ret, &a.failure),
			     connection, &ret.net, __func__);
}

LODGE_PUBLIC const char *lodge_network_name(const struct lodge_network *network)
{
	return network->object.name;
}

LODGE_PUBLIC void lodge_network_uuid(const struct lodge_network *network,
				     char text[LODGE_UUID_CHARS])
{
	object_uuid(&network->object, text);
}

LODGE_PUBLIC struct lodge_network *lodge_network_define(struct lodge_connection *connection,
							const char *xml, unsigned flags)
{
	struct rpc_network_define_xml_flags_args args = { (char *)xml, flags };
	struct rpc_network_define_xml_flags_ret ret;
	struct asking a = {};

	return asked_network(&a,
			     rpc_ask_network_define_xml_flags(connection->caller, &args, &a.arena,
							      &ret, &a.failure),
			     connection, &ret.net, __func__);
}

/* Old servers take command and section for each other. */
static bool has_order(struct lodge_connection *connection)
{
	struct rpc_connect_supports_feature_args args = {
		VIR_DRV_FEATURE_NETWORK_UPDATE_HAS_CORRECT_ORDER
	};
	struct rpc_connect_supports_feature_ret ret;
	struct asking a = {};
	bool good = rpc_ask_connect_supports_feature(connection->caller, &args, &a.arena, &ret,
						     &a.failure);

	return !asked(&a, good, __func__) && ret.supported;
}

LODGE_PUBLIC int lodge_network_update(struct lodge_network *network,
				      enum lodge_network_update_command command, unsigned section,
				      int parent, const char *xml, unsigned flags)
{
	bool order = has_order(network->object.connection);
	struct rpc_network_update_args args = { network_wire(network),
						order ? command : section,
						order ? section : command,
						parent,
						(char *)xml,
						flags };
	struct asking a = {};

	return asked(&a, rpc_ask_network_update(caller_of(network), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_network_undefine(struct lodge_network *network, unsigned flags)
{
	struct rpc_network_undefine_args args = { network_wire(network) };
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return -1;
	return asked(&a, rpc_ask_network_undefine(caller_of(network), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_network_start(struct lodge_network *network, unsigned flags)
{
	struct rpc_network_create_args args = { network_wire(network) };
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return -1;
	return asked(&a, rpc_ask_network_create(caller_of(network), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_network_stop(struct lodge_network *network, unsigned flags)
{
	struct rpc_network_destroy_args args = { network_wire(network) };
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return -1;
	return asked(&a, rpc_ask_network_destroy(caller_of(network), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC char *lodge_network_xml(struct lodge_network *network, unsigned flags)
{
	struct rpc_network_get_xml_desc_args args = { network_wire(network), flags };
	struct rpc_network_get_xml_desc_ret ret;
	struct asking a = {};

	return asked_string(
		&a,
		rpc_ask_network_get_xml_desc(caller_of(network), &args, &a.arena, &ret, &a.failure),
		&ret.xml, __func__);
}

LODGE_PUBLIC int lodge_network_is_active(struct lodge_network *network)
{
	struct rpc_network_is_active_args args = { network_wire(network) };
	struct rpc_network_is_active_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_network_is_active(caller_of(network), &args, &a.arena, &ret,
					       &a.failure),
		     __func__)
		       ? -1
		       : !!ret.active;
}

LODGE_PUBLIC int lodge_network_autostart(struct lodge_network *network)
{
	struct rpc_network_get_autostart_args args = { network_wire(network) };
	struct rpc_network_get_autostart_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_network_get_autostart(caller_of(network), &args, &a.arena, &ret,
						   &a.failure),
		     __func__)
		       ? -1
		       : !!ret.autostart;
}

LODGE_PUBLIC int lodge_network_set_autostart(struct lodge_network *network, int autostart,
					     unsigned flags)
{
	struct rpc_network_set_autostart_args args = { network_wire(network), !!autostart };
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return -1;
	return asked(&a,
		     rpc_ask_network_set_autostart(caller_of(network), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC struct lodge_network *lodge_network_create(struct lodge_connection *connection,
							const char *xml, unsigned flags)
{
	struct rpc_network_create_xml_flags_args args = { (char *)xml, flags };
	struct rpc_network_create_xml_flags_ret ret;
	struct asking a = {};

	return asked_network(&a,
			     rpc_ask_network_create_xml_flags(connection->caller, &args, &a.arena,
							      &ret, &a.failure),
			     connection, &ret.net, __func__);
}

LODGE_PUBLIC int lodge_network_is_persistent(struct lodge_network *network)
{
	struct rpc_network_is_persistent_args args = { network_wire(network) };
	struct rpc_network_is_persistent_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_network_is_persistent(caller_of(network), &args, &a.arena, &ret,
						   &a.failure),
		     __func__)
		       ? -1
		       : !!ret.persistent;
}

static void put(char *to, size_t size, const char *text)
{
	g_strlcpy(to, text ? text : "", size);
}

LODGE_PUBLIC struct lodge_lease *lodge_network_leases(struct lodge_network *network,
						      const char *mac, unsigned *count,
						      unsigned flags)
{
	struct rpc_network_get_dhcp_leases_args args = { network_wire(network), (char *)mac, 1,
							 flags };
	struct rpc_network_get_dhcp_leases_ret ret;
	struct lodge_lease *leases = NULL;
	struct asking a = {};
	bool good = rpc_ask_network_get_dhcp_leases(caller_of(network), &args, &a.arena, &ret,
						    &a.failure);

	if (good) {
		*count = ret.leases.count;
		leases = calloc(*count + 1, sizeof(*leases));
	}
	for (unsigned i = 0; leases && i < *count; i++) {
		const struct rpc_network_dhcp_lease *from = &ret.leases.items[i];
		struct lodge_lease *to = &leases[i];

		to->expires = from->expirytime;
		to->type = from->type;
		to->prefix = from->prefix;
		put(to->interface, sizeof(to->interface), from->iface);
		put(to->mac, sizeof(to->mac), from->mac);
		put(to->address, sizeof(to->address), from->ipaddr);
		put(to->hostname, sizeof(to->hostname), from->hostname);
		put(to->client, sizeof(to->client), from->clientid);
	}
	asked(&a, good, __func__);
	return leases;
}
