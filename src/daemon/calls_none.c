/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls about kinds of objects of which this version has none: devices and network cards of the
 * host, packet filters. Clients that list everything are told so, and that a name names nothing,
 * rather than that the question makes no sense.
 */
#include "daemon/calls.h"

/* --- devices of the host --- */

static void list_all_devices(struct rpc_call *call,
			     const struct rpc_connect_list_all_node_devices_args *args)
{
	const struct rpc_connect_list_all_node_devices_ret ret = { 0 };

	rpc_reply_connect_list_all_node_devices(call, &ret);
}

static void num_of_devices(struct rpc_call *call, const struct rpc_node_num_of_devices_args *args)
{
	const struct rpc_node_num_of_devices_ret ret = { 0 };

	rpc_reply_node_num_of_devices(call, &ret);
}

static void list_devices(struct rpc_call *call, const struct rpc_node_list_devices_args *args)
{
	const struct rpc_node_list_devices_ret ret = { 0 };

	rpc_reply_node_list_devices(call, &ret);
}

static void device_by_name(struct rpc_call *call,
			   const struct rpc_node_device_lookup_by_name_args *args)
{
	rpc_call_fail(call, VIR_ERR_NO_NODE_DEVICE, VIR_FROM_NODEDEV,
		      "Node device not found: no node device with matching name '%s'", args->name);
}

/* --- network cards of the host --- */

static void list_all_interfaces(struct rpc_call *call,
				const struct rpc_connect_list_all_interfaces_args *args)
{
	const struct rpc_connect_list_all_interfaces_ret ret = { 0 };

	rpc_reply_connect_list_all_interfaces(call, &ret);
}

static void num_of_interfaces(struct rpc_call *call)
{
	const struct rpc_connect_num_of_interfaces_ret ret = { 0 };

	rpc_reply_connect_num_of_interfaces(call, &ret);
}

static void num_of_defined_interfaces(struct rpc_call *call)
{
	const struct rpc_connect_num_of_defined_interfaces_ret ret = { 0 };

	rpc_reply_connect_num_of_defined_interfaces(call, &ret);
}

static void list_interfaces(struct rpc_call *call,
			    const struct rpc_connect_list_interfaces_args *args)
{
	const struct rpc_connect_list_interfaces_ret ret = { 0 };

	rpc_reply_connect_list_interfaces(call, &ret);
}

static void list_defined_interfaces(struct rpc_call *call,
				    const struct rpc_connect_list_defined_interfaces_args *args)
{
	const struct rpc_connect_list_defined_interfaces_ret ret = { 0 };

	rpc_reply_connect_list_defined_interfaces(call, &ret);
}

static void fail_interface(struct rpc_call *call, const char *what, const char *given)
{
	rpc_call_fail(call, VIR_ERR_NO_INTERFACE, VIR_FROM_INTERFACE,
		      "Interface not found: couldn't find interface with %s '%s'", what, given);
}

static void interface_by_name(struct rpc_call *call,
			      const struct rpc_interface_lookup_by_name_args *args)
{
	fail_interface(call, "name", args->name);
}

static void interface_by_mac(struct rpc_call *call,
			     const struct rpc_interface_lookup_by_mac_string_args *args)
{
	fail_interface(call, "MAC address", args->mac);
}

/* --- packet filters --- */

static void list_all_filters(struct rpc_call *call,
			     const struct rpc_connect_list_all_nwfilters_args *args)
{
	const struct rpc_connect_list_all_nwfilters_ret ret = { 0 };

	rpc_reply_connect_list_all_nwfilters(call, &ret);
}

static void num_of_filters(struct rpc_call *call)
{
	const struct rpc_connect_num_of_nwfilters_ret ret = { 0 };

	rpc_reply_connect_num_of_nwfilters(call, &ret);
}

static void list_filters(struct rpc_call *call, const struct rpc_connect_list_nwfilters_args *args)
{
	const struct rpc_connect_list_nwfilters_ret ret = { 0 };

	rpc_reply_connect_list_nwfilters(call, &ret);
}

static void filter_by_name(struct rpc_call *call,
			   const struct rpc_nwfilter_lookup_by_name_args *args)
{
	rpc_call_fail(call, VIR_ERR_NO_NWFILTER, VIR_FROM_NWFILTER,
		      "Network filter not found: no nwfilter with matching name '%s'", args->name);
}

static void list_all_bindings(struct rpc_call *call,
			      const struct rpc_connect_list_all_nwfilter_bindings_args *args)
{
	const struct rpc_connect_list_all_nwfilter_bindings_ret ret = { 0 };

	rpc_reply_connect_list_all_nwfilter_bindings(call, &ret);
}

/* --- labels of the host's security modules --- */

static void get_security_model(struct rpc_call *call)
{
	const struct rpc_node_get_security_model_ret ret = { 0 };

	rpc_reply_node_get_security_model(call, &ret);
}

static void get_security_labels(struct rpc_call *call,
				const struct rpc_domain_get_security_label_list_args *args)
{
	const struct rpc_domain_get_security_label_list_ret ret = { 0 };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_get_security_label_list(call, &ret);
}

static void get_security_label(struct rpc_call *call,
			       const struct rpc_domain_get_security_label_args *args)
{
	const struct rpc_domain_get_security_label_ret ret = { 0 };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_get_security_label(call, &ret);
}

const struct rpc_handlers calls_none = {
	.connect_list_all_node_devices = list_all_devices,
	.node_num_of_devices = num_of_devices,
	.node_list_devices = list_devices,
	.node_device_lookup_by_name = device_by_name,
	.connect_list_all_interfaces = list_all_interfaces,
	.connect_num_of_interfaces = num_of_interfaces,
	.connect_num_of_defined_interfaces = num_of_defined_interfaces,
	.connect_list_interfaces = list_interfaces,
	.connect_list_defined_interfaces = list_defined_interfaces,
	.interface_lookup_by_name = interface_by_name,
	.interface_lookup_by_mac_string = interface_by_mac,
	.connect_list_all_nwfilters = list_all_filters,
	.connect_num_of_nwfilters = num_of_filters,
	.connect_list_nwfilters = list_filters,
	.nwfilter_lookup_by_name = filter_by_name,
	.connect_list_all_nwfilter_bindings = list_all_bindings,
	.node_get_security_model = get_security_model,
	.domain_get_security_label_list = get_security_labels,
	.domain_get_security_label = get_security_label,
};
