/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What guests use, of all that run in one call. The daemon answers with names and values; those of
 * a disk or a card have its number in their name, as "block.0.rd.bytes", and are summed up.
 */
#include "private.h"

#include <string.h>

static u64 number(const struct rpc_typed_param_value *value)
{
	switch (value->type) {
	case VIR_TYPED_PARAM_INT: return MAX(value->i, 0);
	case VIR_TYPED_PARAM_UINT: return value->ui;
	case VIR_TYPED_PARAM_LLONG: return MAX(value->l, 0);
	case VIR_TYPED_PARAM_ULLONG: return value->ul;
	default: return 0;
	}
}

static void take(struct lodge_domain_stats *stats, const struct rpc_typed_param *param)
{
	static const struct {
		const char *prefix, *suffix; /* of a sum; else the whole name */
		size_t at;
	} fields[] = {
#define AT(field) offsetof(struct lodge_domain_stats, field)
		{ VIR_DOMAIN_STATS_CPU_TIME, NULL, AT(cpu_time_ns) },
		{ VIR_DOMAIN_STATS_VCPU_CURRENT, NULL, AT(vcpus) },
		{ VIR_DOMAIN_STATS_BALLOON_CURRENT, NULL, AT(memory_kib) },
		{ VIR_DOMAIN_STATS_BALLOON_RSS, NULL, AT(resident_kib) },
		{ VIR_DOMAIN_STATS_BLOCK_PREFIX, VIR_DOMAIN_STATS_BLOCK_SUFFIX_RD_BYTES,
		  AT(disk_read_bytes) },
		{ VIR_DOMAIN_STATS_BLOCK_PREFIX, VIR_DOMAIN_STATS_BLOCK_SUFFIX_WR_BYTES,
		  AT(disk_written_bytes) },
		{ VIR_DOMAIN_STATS_NET_PREFIX, VIR_DOMAIN_STATS_NET_SUFFIX_RX_BYTES,
		  AT(net_received_bytes) },
		{ VIR_DOMAIN_STATS_NET_PREFIX, VIR_DOMAIN_STATS_NET_SUFFIX_TX_BYTES,
		  AT(net_sent_bytes) },
#undef AT
	};

	if (!strcmp(param->field, VIR_DOMAIN_STATS_STATE_STATE))
		stats->state = number(&param->value);
	for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
		u64 *to = (u64 *)((char *)stats + fields[i].at);

		if (!fields[i].suffix && !strcmp(param->field, fields[i].prefix))
			*to = number(&param->value);
		else if (fields[i].suffix && g_str_has_prefix(param->field, fields[i].prefix) &&
			 g_str_has_suffix(param->field, fields[i].suffix))
			*to += number(&param->value);
	}
}

LODGE_PUBLIC struct lodge_domain_stats *lodge_domain_stats_list(struct lodge_connection *connection,
								unsigned *count, unsigned flags)
{
	struct rpc_connect_get_all_domain_stats_args args = {
		.stats = VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_CPU_TOTAL |
			 VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_VCPU |
			 VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK,
		.flags = VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE,
	};
	struct rpc_connect_get_all_domain_stats_ret ret;
	struct lodge_domain_stats *stats;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	if (!rpc_ask_connect_get_all_domain_stats(connection->caller, &args, &a.arena, &ret,
						  &a.failure)) {
		asked(&a, false, __func__);
		return NULL;
	}
	*count = ret.retStats.count;
	stats = g_new0(struct lodge_domain_stats, *count + 1);
	for (unsigned i = 0; i < *count; i++) {
		const struct rpc_domain_stats_record *record = &ret.retStats.items[i];

		stats[i].domain = domain_new(connection, &record->dom);
		for (unsigned k = 0; k < record->params.count; k++)
			take(&stats[i], &record->params.items[k]);
	}
	asked(&a, true, __func__);
	return stats;
}

LODGE_PUBLIC void lodge_domain_stats_free(struct lodge_domain_stats *stats)
{
	for (unsigned i = 0; stats && stats[i].domain; i++)
		lodge_domain_free(stats[i].domain);
	g_free(stats);
}
