/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Statistics by their names. See lodge/value.h. */
#include "private.h"

#include <string.h>

#define MEMORY_STATS_MAX 1024 /* the protocol's bound */

static struct lodge_value *values_new(unsigned count)
{
	return g_new0(struct lodge_value, count + 1);
}

LODGE_PUBLIC void lodge_values_free(struct lodge_value *values)
{
	for (unsigned i = 0; values && values[i].name; i++) {
		g_free(values[i].name);
		g_free(values[i].text);
	}
	g_free(values);
}

static struct lodge_value of_unsigned(const char *name, uint64_t number)
{
	return (struct lodge_value){ .name = g_strdup(name),
				     .kind = LODGE_VALUE_UNSIGNED,
				     .unsigned_number = number };
}

static struct lodge_value of_signed(const char *name, int64_t number)
{
	return (struct lodge_value){ .name = g_strdup(name),
				     .kind = LODGE_VALUE_SIGNED,
				     .signed_number = number };
}

static struct lodge_value of_param(const struct rpc_typed_param *param)
{
	const struct rpc_typed_param_value *value = &param->value;
	struct lodge_value plain = { .name = g_strdup(param->field) };

	switch (value->type) {
	case VIR_TYPED_PARAM_INT: plain.signed_number = value->i; break;
	case VIR_TYPED_PARAM_LLONG: plain.signed_number = value->l; break;
	case VIR_TYPED_PARAM_UINT:
		plain.kind = LODGE_VALUE_UNSIGNED;
		plain.unsigned_number = value->ui;
		break;
	case VIR_TYPED_PARAM_ULLONG:
		plain.kind = LODGE_VALUE_UNSIGNED;
		plain.unsigned_number = value->ul;
		break;
	case VIR_TYPED_PARAM_DOUBLE:
		plain.kind = LODGE_VALUE_REAL;
		plain.real = value->d;
		break;
	case VIR_TYPED_PARAM_BOOLEAN:
		plain.kind = LODGE_VALUE_BOOLEAN;
		plain.unsigned_number = !!value->b;
		break;
	default: plain.kind = LODGE_VALUE_TEXT; plain.text = g_strdup(value->s);
	}
	return plain;
}

static struct rpc_caller *caller_of(const struct lodge_domain *domain)
{
	return domain_connection(domain)->caller;
}

struct lodge_value *values_of_params(const struct rpc_typed_param *params, unsigned count)
{
	struct lodge_value *values = values_new(count);

	for (unsigned i = 0; i < count; i++)
		values[i] = of_param(&params[i]);
	return values;
}

LODGE_PUBLIC struct lodge_value *lodge_domain_values(struct lodge_domain *domain, unsigned groups,
						     unsigned flags)
{
	struct rpc_domain wire = domain_wire(domain);
	struct rpc_connect_get_all_domain_stats_args args = { .doms = { 1, &wire },
							      .stats = groups,
							      .flags = flags };
	struct rpc_connect_get_all_domain_stats_ret ret;
	struct lodge_value *values = NULL;
	struct asking a = {};
	bool good = rpc_ask_connect_get_all_domain_stats(caller_of(domain), &args, &a.arena, &ret,
							 &a.failure);

	if (good && ret.retStats.count) {
		const struct rpc_domain_stats_record *record = ret.retStats.items;

		values = values_of_params(record->params.items, record->params.count);
	} else if (good) {
		values = values_new(0);
	}
	asked(&a, good, __func__);
	return values;
}

/* The protocol asks twice: first with @nparams 0 how many there are. */
LODGE_PUBLIC struct lodge_value *lodge_domain_disk_values(struct lodge_domain *domain,
							  const char *disk, unsigned flags)
{
	struct rpc_domain_block_stats_flags_args args = { domain_wire(domain), (char *)disk, 0,
							  flags };
	struct rpc_domain_block_stats_flags_ret ret;
	struct lodge_value *values = NULL;
	struct asking a = {};
	bool good = rpc_ask_domain_block_stats_flags(caller_of(domain), &args, &a.arena, &ret,
						     &a.failure);

	args.nparams = good ? ret.nparams : 0;
	good = good && rpc_ask_domain_block_stats_flags(caller_of(domain), &args, &a.arena, &ret,
							&a.failure);
	if (good)
		values = values_of_params(ret.params.items, ret.params.count);
	asked(&a, good, __func__);
	return values;
}

LODGE_PUBLIC struct lodge_value *lodge_domain_interface_values(struct lodge_domain *domain,
							       const char *device, unsigned flags)
{
	struct rpc_domain_interface_stats_args args = { domain_wire(domain), (char *)device };
	struct rpc_domain_interface_stats_ret ret;
	struct lodge_value *values = NULL;
	struct asking a = {};
	bool good;

	if (!flags_none(flags, __func__))
		return NULL;
	good = rpc_ask_domain_interface_stats(caller_of(domain), &args, &a.arena, &ret, &a.failure);
	if (good) {
		values = values_new(8);
		values[0] = of_signed("rx_bytes", ret.rx_bytes);
		values[1] = of_signed("rx_packets", ret.rx_packets);
		values[2] = of_signed("rx_errs", ret.rx_errs);
		values[3] = of_signed("rx_drop", ret.rx_drop);
		values[4] = of_signed("tx_bytes", ret.tx_bytes);
		values[5] = of_signed("tx_packets", ret.tx_packets);
		values[6] = of_signed("tx_errs", ret.tx_errs);
		values[7] = of_signed("tx_drop", ret.tx_drop);
	}
	asked(&a, good, __func__);
	return values;
}

LODGE_PUBLIC struct lodge_value *lodge_domain_memory_values(struct lodge_domain *domain,
							    unsigned flags)
{
	static const char *const names[] = { "swap_in",       "swap_out",    "major_fault",
					     "minor_fault",   "unused",      "available",
					     "actual",        "rss",         "usable",
					     "last_update",   "disk_caches", "hugetlb_pgalloc",
					     "hugetlb_pgfail" };
	struct rpc_domain_memory_stats_args args = { domain_wire(domain), G_N_ELEMENTS(names),
						     flags };
	struct rpc_domain_memory_stats_ret ret;
	struct lodge_value *values = NULL;
	struct asking a = {};
	bool good =
		rpc_ask_domain_memory_stats(caller_of(domain), &args, &a.arena, &ret, &a.failure);

	if (good) {
		values = values_new(ret.stats.count);
		for (unsigned i = 0; i < ret.stats.count; i++) {
			unsigned tag = ret.stats.items[i].tag;

			values[i] = of_unsigned(tag < G_N_ELEMENTS(names) ? names[tag] : "unknown",
						ret.stats.items[i].val);
		}
	}
	asked(&a, good, __func__);
	return values;
}

LODGE_PUBLIC struct lodge_value *lodge_connection_cpu_values(struct lodge_connection *connection,
							     int cpu, unsigned flags)
{
	struct rpc_node_get_cpu_stats_args args = { cpu, 0, flags };
	struct rpc_node_get_cpu_stats_ret ret;
	struct lodge_value *values = NULL;
	struct asking a = {};
	bool good =
		rpc_ask_node_get_cpu_stats(connection->caller, &args, &a.arena, &ret, &a.failure);

	args.nparams = good ? ret.nparams : 0;
	good = good &&
	       rpc_ask_node_get_cpu_stats(connection->caller, &args, &a.arena, &ret, &a.failure);
	if (good) {
		values = values_new(ret.params.count);
		for (unsigned i = 0; i < ret.params.count; i++)
			values[i] =
				of_unsigned(ret.params.items[i].field, ret.params.items[i].value);
	}
	asked(&a, good, __func__);
	return values;
}

LODGE_PUBLIC struct lodge_value *lodge_connection_memory_values(struct lodge_connection *connection,
								unsigned flags)
{
	struct rpc_node_get_memory_stats_args args = { 0, -1, flags };
	struct rpc_node_get_memory_stats_ret ret;
	struct lodge_value *values = NULL;
	struct asking a = {};
	bool good = rpc_ask_node_get_memory_stats(connection->caller, &args, &a.arena, &ret,
						  &a.failure);

	args.nparams = good ? ret.nparams : 0;
	good = good &&
	       rpc_ask_node_get_memory_stats(connection->caller, &args, &a.arena, &ret, &a.failure);
	if (good) {
		values = values_new(ret.params.count);
		for (unsigned i = 0; i < ret.params.count; i++)
			values[i] =
				of_unsigned(ret.params.items[i].field, ret.params.items[i].value);
	}
	asked(&a, good, __func__);
	return values;
}
