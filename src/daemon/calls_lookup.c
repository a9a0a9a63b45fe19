/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that list domains and find one. */
#include "daemon/calls.h"

#include <string.h>

/* --- lists --- */

#define ACTIVE    (VIR_CONNECT_LIST_DOMAINS_ACTIVE | VIR_CONNECT_LIST_DOMAINS_INACTIVE)
#define KEPT      (VIR_CONNECT_LIST_DOMAINS_PERSISTENT | VIR_CONNECT_LIST_DOMAINS_TRANSIENT)
#define SAVED     (VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE | VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE)
#define AUTOSTART (VIR_CONNECT_LIST_DOMAINS_AUTOSTART | VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART)
#define SNAPSHOT  (VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT | VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT)
#define CHECKPOINT \
	(VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT | VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT)
#define STATE                                                                 \
	(VIR_CONNECT_LIST_DOMAINS_RUNNING | VIR_CONNECT_LIST_DOMAINS_PAUSED | \
	 VIR_CONNECT_LIST_DOMAINS_SHUTOFF | VIR_CONNECT_LIST_DOMAINS_OTHER)
#define ALL_FILTERS (ACTIVE | KEPT | SAVED | AUTOSTART | SNAPSHOT | CHECKPOINT | STATE)

/* The flags that a guest has: one of each group. */
static u32 traits(const struct guest *guest)
{
	u32 traits = VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE |
		     VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT | VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT;

	traits |= guest_is_active(guest) ? VIR_CONNECT_LIST_DOMAINS_ACTIVE
					 : VIR_CONNECT_LIST_DOMAINS_INACTIVE;
	traits |= guest->config ? VIR_CONNECT_LIST_DOMAINS_PERSISTENT
				: VIR_CONNECT_LIST_DOMAINS_TRANSIENT;
	traits |= guest->autostart ? VIR_CONNECT_LIST_DOMAINS_AUTOSTART
				   : VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART;
	switch (guest->state) {
	case VIR_DOMAIN_RUNNING: return traits | VIR_CONNECT_LIST_DOMAINS_RUNNING;
	case VIR_DOMAIN_PAUSED: return traits | VIR_CONNECT_LIST_DOMAINS_PAUSED;
	case VIR_DOMAIN_SHUTOFF: return traits | VIR_CONNECT_LIST_DOMAINS_SHUTOFF;
	default: return traits | VIR_CONNECT_LIST_DOMAINS_OTHER;
	}
}

/* A group of which no flag is given does not choose. */
bool call_filter(const struct guest *guest, u32 flags)
{
	static const u32 groups[] = { ACTIVE, KEPT, SAVED, AUTOSTART, SNAPSHOT, CHECKPOINT, STATE };
	u32 has = traits(guest);

	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		if ((flags & groups[i]) && !(flags & groups[i] & has))
			return false;
	return true;
}

GPtrArray *call_matching(const struct daemon *daemon, u32 flags)
{
	GPtrArray *all = guests_all(daemon->guests);
	guint kept = 0;

	for (guint i = 0; i < all->len; i++)
		if (call_filter(all->pdata[i], flags))
			all->pdata[kept++] = all->pdata[i];
	g_ptr_array_set_size(all, kept);
	return all;
}

static void list_all(struct rpc_call *call, const struct rpc_connect_list_all_domains_args *args)
{
	struct rpc_connect_list_all_domains_ret ret = { 0 };
	GPtrArray *found;

	if (!call_flags(call, args->flags, ALL_FILTERS))
		return;
	found = call_matching(rpc_call_opaque(call), args->flags);
	ret.ret = found->len;
	if (args->need_results) {
		ret.domains.items = rpc_arena_array(rpc_call_arena(call), found->len,
						    sizeof(*ret.domains.items));
		ret.domains.count = ret.domains.items ? found->len : 0;
		for (u32 i = 0; i < ret.domains.count; i++)
			ret.domains.items[i] = call_domain(call, found->pdata[i]);
	}
	g_ptr_array_unref(found);
	rpc_reply_connect_list_all_domains(call, &ret);
}

static u32 count(const struct rpc_call *call, u32 flags)
{
	GPtrArray *found = call_matching(rpc_call_opaque(call), flags);
	u32 n = found->len;

	g_ptr_array_unref(found);
	return n;
}

static void num_of_domains(struct rpc_call *call)
{
	const struct rpc_connect_num_of_domains_ret ret = {
		.num = count(call, VIR_CONNECT_LIST_DOMAINS_ACTIVE)
	};

	rpc_reply_connect_num_of_domains(call, &ret);
}

static void num_of_defined_domains(struct rpc_call *call)
{
	const struct rpc_connect_num_of_defined_domains_ret ret = {
		.num = count(call, VIR_CONNECT_LIST_DOMAINS_INACTIVE)
	};

	rpc_reply_connect_num_of_defined_domains(call, &ret);
}

static void list_domains(struct rpc_call *call, const struct rpc_connect_list_domains_args *args)
{
	GPtrArray *found = call_matching(rpc_call_opaque(call), VIR_CONNECT_LIST_DOMAINS_ACTIVE);
	struct rpc_connect_list_domains_ret ret;

	ret.ids.count = MIN(found->len, (u32)MAX(args->maxids, 0));
	ret.ids.items = rpc_arena_array(rpc_call_arena(call), ret.ids.count, sizeof(s32));
	for (u32 i = 0; i < ret.ids.count; i++)
		ret.ids.items[i] = ((struct guest *)found->pdata[i])->id;
	g_ptr_array_unref(found);
	rpc_reply_connect_list_domains(call, &ret);
}

static void list_defined_domains(struct rpc_call *call,
				 const struct rpc_connect_list_defined_domains_args *args)
{
	GPtrArray *found = call_matching(rpc_call_opaque(call), VIR_CONNECT_LIST_DOMAINS_INACTIVE);
	struct rpc_connect_list_defined_domains_ret ret;

	ret.names.count = MIN(found->len, (u32)MAX(args->maxnames, 0));
	ret.names.items = rpc_arena_array(rpc_call_arena(call), ret.names.count, sizeof(char *));
	for (u32 i = 0; i < ret.names.count; i++)
		ret.names.items[i] = rpc_arena_strdup(rpc_call_arena(call),
						      ((struct guest *)found->pdata[i])->name);
	g_ptr_array_unref(found);
	rpc_reply_connect_list_defined_domains(call, &ret);
}

/* --- one --- */

static void by_name(struct rpc_call *call, const struct rpc_domain_lookup_by_name_args *args)
{
	const struct daemon *daemon = rpc_call_opaque(call);
	const struct guest *guest = guests_find_name(daemon->guests, args->name);
	struct rpc_domain_lookup_by_name_ret ret;

	if (!guest) {
		rpc_call_fail(call, VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU,
			      "Domain not found: no domain with matching name '%s'", args->name);
		return;
	}
	ret.dom = call_domain(call, guest);
	rpc_reply_domain_lookup_by_name(call, &ret);
}

static void by_uuid(struct rpc_call *call, const struct rpc_domain_lookup_by_uuid_args *args)
{
	const struct daemon *daemon = rpc_call_opaque(call);
	const struct guest *guest = guests_find_uuid(daemon->guests, args->uuid);
	struct rpc_domain_lookup_by_uuid_ret ret;

	if (!guest) {
		rpc_call_fail(call, VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU,
			      "Domain not found: no domain with matching uuid");
		return;
	}
	ret.dom = call_domain(call, guest);
	rpc_reply_domain_lookup_by_uuid(call, &ret);
}

static void by_id(struct rpc_call *call, const struct rpc_domain_lookup_by_id_args *args)
{
	const struct daemon *daemon = rpc_call_opaque(call);
	const struct guest *guest = guests_find_id(daemon->guests, args->id);
	struct rpc_domain_lookup_by_id_ret ret;

	if (!guest) {
		rpc_call_fail(call, VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU,
			      "Domain not found: no domain with matching id %d", args->id);
		return;
	}
	ret.dom = call_domain(call, guest);
	rpc_reply_domain_lookup_by_id(call, &ret);
}

const struct rpc_handlers calls_lookup = {
	.connect_list_all_domains = list_all,
	.connect_num_of_domains = num_of_domains,
	.connect_num_of_defined_domains = num_of_defined_domains,
	.connect_list_domains = list_domains,
	.connect_list_defined_domains = list_defined_domains,
	.domain_lookup_by_name = by_name,
	.domain_lookup_by_uuid = by_uuid,
	.domain_lookup_by_id = by_id,
};
