/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls about kinds of objects of which this version has none: packet filters, labels of
 * security modules. Clients that list everything are told so, and that a name names nothing,
 * rather than that the question makes no sense.
 */
#include "daemon/calls.h"

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
	.connect_list_all_nwfilters = list_all_filters,
	.connect_num_of_nwfilters = num_of_filters,
	.connect_list_nwfilters = list_filters,
	.nwfilter_lookup_by_name = filter_by_name,
	.connect_list_all_nwfilter_bindings = list_all_bindings,
	.node_get_security_model = get_security_model,
	.domain_get_security_label_list = get_security_labels,
	.domain_get_security_label = get_security_label,
};
