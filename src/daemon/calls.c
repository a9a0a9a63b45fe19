/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of calls share. */
#include "daemon/calls.h"
#include "domain/schema.h"

#include <string.h>

struct guest *call_guest(struct rpc_call *call, const struct rpc_domain *dom)
{
	struct daemon *daemon = rpc_call_opaque(call);
	struct guest *guest = guests_find_uuid(daemon->guests, dom->uuid);

	if (!guest)
		rpc_call_fail(call, VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU,
			      "Domain not found: no domain with matching uuid and name '%s'",
			      dom->name);
	return guest;
}

struct rpc_domain call_domain(struct rpc_call *call, const struct guest *guest)
{
	struct rpc_domain dom = { .name = rpc_arena_strdup(rpc_call_arena(call), guest->name),
				  .id = guest->id };

	memcpy(dom.uuid, guest->uuid, UUID_BYTES);
	return dom;
}

const struct launch_authority *call_authority(struct rpc_call *call)
{
	static const struct launch_authority nobody = { .uid = 65534, .gid = 65534 };
	const struct rpc_identity *identity = rpc_client_identity(rpc_call_client(call));
	const struct daemon *daemon = rpc_call_opaque(call);
	struct launch_authority *authority;

	if (authority_is_own(identity, daemon->trusted))
		return NULL;
	authority = rpc_arena_alloc(rpc_call_arena(call), sizeof(*authority));
	if (!authority)
		return &nobody; /* never more than it may, not even for want of memory */
	authority->uid = identity->uid;
	authority->gid = identity->gid;
	authority->groups = (gid_t *)identity->groups;
	authority->group_count = identity->group_count;
	return authority;
}

char *call_text(struct rpc_call *call, char *text)
{
	char *copy = rpc_arena_strdup(rpc_call_arena(call), text);

	g_free(text);
	return copy;
}

bool call_flags(struct rpc_call *call, u32 flags, u32 known)
{
	if (!(flags & ~known))
		return true;
	rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, "unsupported flags (0x%x) in %s",
		      flags & ~known, rpc_call_procedure(call)->name);
	return false;
}

bool call_validate(struct rpc_call *call, bool wanted, const char *xml, const char *root)
{
	GError *error = NULL;

	if (!wanted || schema_check(xml, root, &error))
		return true;
	fail_call(call, error);
	return false;
}

bool call_affects(struct rpc_call *call, const struct guest *guest, u32 flags, bool *live,
		  bool *config)
{
	bool neither = !(flags & (VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG));

	*live = (flags & VIR_DOMAIN_AFFECT_LIVE) || (neither && guest_is_active(guest));
	*config = (flags & VIR_DOMAIN_AFFECT_CONFIG) || (neither && !guest_is_active(guest));
	if (*live && (!guest_is_active(guest) || guest->starting))
		rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
			      "Requested operation is not valid: domain '%s' is not running",
			      guest->name);
	else if (*config && !guest->config)
		rpc_call_fail(
			call, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
			"Requested operation is not valid: domain '%s' has no definition: it is "
			"transient",
			guest->name);
	else
		return true;
	return false;
}

/* All calls that return nothing answer alike. */
void call_done(struct guest *guest, const GError *error, void *call)
{
	if (error)
		fail_call(call, g_error_copy(error));
	else
		rpc_call_answer(call, rpc_call_procedure(call), NULL);
}

void call_done_domain(struct guest *guest, const GError *error, void *call)
{
	/* every such answer is one domain; this is the one of them that is used for all */
	struct rpc_domain_create_with_flags_ret ret;

	if (error) {
		fail_call(call, g_error_copy(error));
		return;
	}
	ret.dom = call_domain(call, guest);
	rpc_call_answer(call, rpc_call_procedure(call), &ret);
}

void call_kept_done(struct kept *kept, const GError *error, void *call)
{
	(void)kept;
	call_done(NULL, error, call);
}

u32 call_count(GPtrArray *found)
{
	u32 n = found->len;

	g_ptr_array_unref(found);
	return n;
}

char **call_names(struct rpc_call *call, GPtrArray *found, s32 max, u32 *n)
{
	char **items;

	*n = MIN(found->len, (u32)MAX(max, 0));
	items = rpc_arena_array(rpc_call_arena(call), *n, sizeof(char *));
	for (u32 i = 0; i < *n; i++)
		items[i] = rpc_arena_strdup(rpc_call_arena(call),
					    ((struct kept *)found->pdata[i])->name);
	g_ptr_array_unref(found);
	return items;
}
