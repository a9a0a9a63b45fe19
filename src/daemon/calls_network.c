/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls about networks. */
#include "daemon/calls.h"
#include "daemon/network_update.h"
#include "daemon/networks.h"
#include "domain/xml.h"

#include <string.h>

static struct keeper *networks(const struct rpc_call *call)
{
	return ((struct daemon *)rpc_call_opaque(call))->networks;
}

/* The network that @net names, by its uuid; NULL: the call has been failed. */
static struct kept *network(struct rpc_call *call, const struct rpc_network *net)
{
	struct kept *kept = keeper_find_uuid(networks(call), net->uuid);

	if (!kept)
		rpc_call_fail(call, VIR_ERR_NO_NETWORK, VIR_FROM_NETWORK,
			      "Network not found: no network with matching uuid and name '%s'",
			      net->name);
	return kept;
}

static struct rpc_network told(struct rpc_call *call, const struct kept *kept)
{
	struct rpc_network net = { .name = rpc_arena_strdup(rpc_call_arena(call), kept->name) };

	memcpy(net.uuid, kept->uuid, UUID_BYTES);
	return net;
}

/* --- lists --- */

static GPtrArray *matching(const struct rpc_call *call, u32 flags)
{
	return keeper_matching(networks(call), flags);
}

static void list_all(struct rpc_call *call, const struct rpc_connect_list_all_networks_args *args)
{
	struct rpc_connect_list_all_networks_ret ret = { 0 };
	GPtrArray *found;

	if (!call_flags(call, args->flags, KEPT_FILTERS))
		return;
	found = matching(call, args->flags);
	ret.ret = found->len;
	if (args->need_results) {
		ret.nets.items =
			rpc_arena_array(rpc_call_arena(call), found->len, sizeof(*ret.nets.items));
		ret.nets.count = ret.nets.items ? found->len : 0;
		for (u32 i = 0; i < ret.nets.count; i++)
			ret.nets.items[i] = told(call, found->pdata[i]);
	}
	g_ptr_array_unref(found);
	rpc_reply_connect_list_all_networks(call, &ret);
}

static void num_of_active(struct rpc_call *call)
{
	const struct rpc_connect_num_of_networks_ret ret = {
		.num = call_count(matching(call, VIR_CONNECT_LIST_NETWORKS_ACTIVE))
	};

	rpc_reply_connect_num_of_networks(call, &ret);
}

static void num_of_inactive(struct rpc_call *call)
{
	const struct rpc_connect_num_of_defined_networks_ret ret = {
		.num = call_count(matching(call, VIR_CONNECT_LIST_NETWORKS_INACTIVE))
	};

	rpc_reply_connect_num_of_defined_networks(call, &ret);
}

static void list_active(struct rpc_call *call, const struct rpc_connect_list_networks_args *args)
{
	struct rpc_connect_list_networks_ret ret;

	ret.names.items = call_names(call, matching(call, VIR_CONNECT_LIST_NETWORKS_ACTIVE),
				     args->maxnames, &ret.names.count);
	rpc_reply_connect_list_networks(call, &ret);
}

static void list_inactive(struct rpc_call *call,
			  const struct rpc_connect_list_defined_networks_args *args)
{
	struct rpc_connect_list_defined_networks_ret ret;

	ret.names.items = call_names(call, matching(call, VIR_CONNECT_LIST_NETWORKS_INACTIVE),
				     args->maxnames, &ret.names.count);
	rpc_reply_connect_list_defined_networks(call, &ret);
}

/* --- one --- */

static void by_name(struct rpc_call *call, const struct rpc_network_lookup_by_name_args *args)
{
	const struct kept *kept = keeper_find_name(networks(call), args->name);
	struct rpc_network_lookup_by_name_ret ret;

	if (!kept) {
		rpc_call_fail(call, VIR_ERR_NO_NETWORK, VIR_FROM_NETWORK,
			      "Network not found: no network with matching name '%s'", args->name);
		return;
	}
	ret.net = told(call, kept);
	rpc_reply_network_lookup_by_name(call, &ret);
}

static void by_uuid(struct rpc_call *call, const struct rpc_network_lookup_by_uuid_args *args)
{
	const struct kept *kept = keeper_find_uuid(networks(call), args->uuid);
	struct rpc_network_lookup_by_uuid_ret ret;

	if (!kept) {
		rpc_call_fail(call, VIR_ERR_NO_NETWORK, VIR_FROM_NETWORK,
			      "Network not found: no network with matching uuid");
		return;
	}
	ret.net = told(call, kept);
	rpc_reply_network_lookup_by_uuid(call, &ret);
}

static void is_active(struct rpc_call *call, const struct rpc_network_is_active_args *args)
{
	const struct kept *kept = network(call, &args->net);
	struct rpc_network_is_active_ret ret;

	if (!kept)
		return;
	ret.active = kept->active;
	rpc_reply_network_is_active(call, &ret);
}

static void is_persistent(struct rpc_call *call, const struct rpc_network_is_persistent_args *args)
{
	const struct kept *kept = network(call, &args->net);
	struct rpc_network_is_persistent_ret ret;

	if (!kept)
		return;
	ret.persistent = kept->persistent;
	rpc_reply_network_is_persistent(call, &ret);
}

static void get_autostart(struct rpc_call *call, const struct rpc_network_get_autostart_args *args)
{
	const struct kept *kept = network(call, &args->net);
	struct rpc_network_get_autostart_ret ret;

	if (!kept)
		return;
	ret.autostart = kept->autostart;
	rpc_reply_network_get_autostart(call, &ret);
}

static void set_autostart(struct rpc_call *call, const struct rpc_network_set_autostart_args *args)
{
	struct kept *kept = network(call, &args->net);
	GError *error = NULL;

	if (kept && !kept_set_autostart(kept, args->autostart, call_kept_done, call, &error))
		fail_call(call, error);
}

static void get_xml_desc(struct rpc_call *call, const struct rpc_network_get_xml_desc_args *args)
{
	struct rpc_network_get_xml_desc_ret ret;
	const struct kept *kept;

	if (!call_flags(call, args->flags, VIR_NETWORK_XML_INACTIVE) ||
	    !(kept = network(call, &args->net)))
		return;
	ret.xml = call_text(call, xml_write(xmlDocGetRootElement(kept->doc)));
	rpc_reply_network_get_xml_desc(call, &ret);
}

static void get_bridge_name(struct rpc_call *call,
			    const struct rpc_network_get_bridge_name_args *args)
{
	struct rpc_network_get_bridge_name_ret ret;
	const struct kept *kept = network(call, &args->net);
	const char *name;

	if (!kept)
		return;
	name = xml_attr(xml_child(xmlDocGetRootElement(kept->doc), "bridge"), "name");
	if (!name) {
		rpc_call_fail(call, VIR_ERR_INTERNAL_ERROR, VIR_FROM_NETWORK,
			      "network '%s' does not have a bridge name.", kept->name);
		return;
	}
	ret.name = rpc_arena_strdup(rpc_call_arena(call), name);
	rpc_reply_network_get_bridge_name(call, &ret);
}

/* Each guest's network has one address, which is always the same and never runs out. */
static void get_dhcp_leases(struct rpc_call *call,
			    const struct rpc_network_get_dhcp_leases_args *args)
{
	const struct rpc_network_get_dhcp_leases_ret ret = { 0 };

	if (network(call, &args->net))
		rpc_reply_network_get_dhcp_leases(call, &ret);
}

static void list_ports(struct rpc_call *call, const struct rpc_network_list_all_ports_args *args)
{
	const struct rpc_network_list_all_ports_ret ret = { 0 };

	if (network(call, &args->network))
		rpc_reply_network_list_all_ports(call, &ret);
}

/* --- definitions --- */

static void done_define(struct kept *kept, const GError *error, void *call)
{
	/* every such answer is one network; this is the one of them that is used for all */
	struct rpc_network_define_xml_ret ret;

	if (error) {
		fail_call(call, g_error_copy(error));
		return;
	}
	ret.net = told(call, kept);
	rpc_call_answer(call, rpc_call_procedure(call), &ret);
}

static void define(struct rpc_call *call, const char *xml)
{
	struct keeper *keeper = networks(call);
	GError *error = NULL;
	xmlDoc *doc = kept_read(keeper, xml, &error);

	if (!doc || !kept_define(keeper, doc, NULL, done_define, call, &error))
		fail_call(call, error);
}

static void define_xml(struct rpc_call *call, const struct rpc_network_define_xml_args *args)
{
	define(call, args->xml);
}

static void define_xml_flags(struct rpc_call *call,
			     const struct rpc_network_define_xml_flags_args *args)
{
	if (call_flags(call, args->flags, VIR_NETWORK_DEFINE_VALIDATE) &&
	    call_validate(call, args->flags, args->xml, "network"))
		define(call, args->xml);
}

/* None that could be changed runs: it is the definition that is meant. */
static void update(struct rpc_call *call, const struct rpc_network_update_args *args)
{
	const u32 known = VIR_NETWORK_UPDATE_AFFECT_LIVE | VIR_NETWORK_UPDATE_AFFECT_CONFIG;
	struct kept *kept;
	GError *error = NULL;
	xmlDoc *doc;

	if (!call_flags(call, args->flags, known) || !(kept = network(call, &args->net)))
		return;
	if (kept->fixed)
		daemon_refuse(
			&error, VIR_ERR_OPERATION_UNSUPPORTED,
			"network '%s' is part of Lodge: each guest has one of its own, of which "
			"nothing can be changed in this version; ports are forwarded by a "
			"guest's <portForward>",
			kept->name);
	else if (args->flags & VIR_NETWORK_UPDATE_AFFECT_LIVE)
		daemon_refuse(&error, VIR_ERR_OPERATION_INVALID,
			      "Requested operation is not valid: network '%s' is not active",
			      kept->name);
	doc = error ? NULL : xmlCopyDoc(kept->doc, 1);
	if (doc && !network_update(doc, args->command, args->section, args->parentIndex, args->xml,
				   &error)) {
		xmlFreeDoc(doc);
		doc = NULL;
	}
	if (!doc || !kept_define(networks(call), doc, NULL, call_kept_done, call, &error))
		fail_call(call, error);
}

static void undefine(struct rpc_call *call, const struct rpc_network_undefine_args *args)
{
	struct kept *kept = network(call, &args->net);
	GError *error = NULL;

	if (kept && !kept_undefine(kept, call_kept_done, call, &error))
		fail_call(call, error);
}

/* --- starting: there is one that runs, and it always does --- */

static void refuse_start(struct rpc_call *call, const char *name)
{
	rpc_call_fail(
		call, VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_NETWORK,
		"network '%s' cannot be started: not in this version, which has the user-mode "
		"network 'default' alone; its definition is kept",
		name);
}

static void create(struct rpc_call *call, const struct rpc_network_create_args *args)
{
	const struct kept *kept = network(call, &args->net);

	if (kept && kept->active)
		rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_NETWORK,
			      "Requested operation is not valid: network is already active");
	else if (kept)
		refuse_start(call, kept->name);
}

static void create_transient(struct rpc_call *call, const char *xml)
{
	GError *error = NULL;
	xmlDoc *doc = kept_read(networks(call), xml, &error);

	if (!doc) {
		fail_call(call, error);
		return;
	}
	rpc_call_fail(
		call, VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_NETWORK,
		"network '%s' cannot be started: not in this version, which has the user-mode "
		"network 'default' alone",
		xml_text(xml_child(xmlDocGetRootElement(doc), "name")));
	xmlFreeDoc(doc);
}

static void create_xml(struct rpc_call *call, const struct rpc_network_create_xml_args *args)
{
	create_transient(call, args->xml);
}

static void create_xml_flags(struct rpc_call *call,
			     const struct rpc_network_create_xml_flags_args *args)
{
	if (call_flags(call, args->flags, VIR_NETWORK_CREATE_VALIDATE) &&
	    call_validate(call, args->flags, args->xml, "network"))
		create_transient(call, args->xml);
}

static void destroy(struct rpc_call *call, const struct rpc_network_destroy_args *args)
{
	const struct kept *kept = network(call, &args->net);

	if (kept && kept->active)
		rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_NETWORK,
			      "Requested operation is not valid: network '%s' is part of Lodge and "
			      "always active",
			      kept->name);
	else if (kept)
		rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_NETWORK,
			      "Requested operation is not valid: network '%s' is not active",
			      kept->name);
}

const struct rpc_handlers calls_network = {
	.connect_list_all_networks = list_all,
	.connect_num_of_networks = num_of_active,
	.connect_num_of_defined_networks = num_of_inactive,
	.connect_list_networks = list_active,
	.connect_list_defined_networks = list_inactive,
	.network_lookup_by_name = by_name,
	.network_lookup_by_uuid = by_uuid,
	.network_is_active = is_active,
	.network_is_persistent = is_persistent,
	.network_get_autostart = get_autostart,
	.network_set_autostart = set_autostart,
	.network_get_xml_desc = get_xml_desc,
	.network_get_bridge_name = get_bridge_name,
	.network_get_dhcp_leases = get_dhcp_leases,
	.network_list_all_ports = list_ports,
	.network_define_xml = define_xml,
	.network_define_xml_flags = define_xml_flags,
	.network_update = update,
	.network_undefine = undefine,
	.network_create = create,
	.network_create_xml = create_xml,
	.network_create_xml_flags = create_xml_flags,
	.network_destroy = destroy,
};
