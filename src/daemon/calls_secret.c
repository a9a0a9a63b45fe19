/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls about secrets. */
#include "daemon/calls.h"
#include "daemon/secrets.h"
#include "domain/xml.h"

#include <string.h>

#define FILTERS                                                                       \
	(VIR_CONNECT_LIST_SECRETS_EPHEMERAL | VIR_CONNECT_LIST_SECRETS_NO_EPHEMERAL | \
	 VIR_CONNECT_LIST_SECRETS_PRIVATE | VIR_CONNECT_LIST_SECRETS_NO_PRIVATE)

static struct keeper *secrets(const struct rpc_call *call)
{
	return ((struct daemon *)rpc_call_opaque(call))->secrets;
}

/* The secret that @named names, by its uuid; NULL: the call has been failed. */
static struct kept *secret(struct rpc_call *call, const struct rpc_secret *named)
{
	struct kept *kept = keeper_find_uuid(secrets(call), named->uuid);

	if (!kept)
		rpc_call_fail(call, VIR_ERR_NO_SECRET, VIR_FROM_SECRET,
			      "Secret not found: no secret with matching uuid");
	return kept;
}

static struct rpc_secret told(struct rpc_call *call, const struct kept *kept)
{
	struct rpc_secret out;
	const char *id;

	memcpy(out.uuid, kept->uuid, UUID_BYTES);
	out.usageType = secret_usage(kept, &id);
	out.usageID = rpc_arena_strdup(rpc_call_arena(call), id);
	return out;
}

/* Every answer that is one secret looks alike; the type of one of these calls is used for all. */
static void answer_secret(struct rpc_call *call, const struct kept *kept)
{
	const struct rpc_secret_lookup_by_uuid_ret ret = { .secret = told(call, kept) };

	rpc_call_answer(call, rpc_call_procedure(call), &ret);
}

/* --- lists --- */

/* A pair of which no flag is given does not choose. */
static bool is_listed(const struct kept *kept, u32 flags)
{
	u32 has = secret_is_ephemeral(kept) ? VIR_CONNECT_LIST_SECRETS_EPHEMERAL
					    : VIR_CONNECT_LIST_SECRETS_NO_EPHEMERAL;

	has |= secret_is_private(kept) ? VIR_CONNECT_LIST_SECRETS_PRIVATE
				       : VIR_CONNECT_LIST_SECRETS_NO_PRIVATE;
	for (u32 pair = 3; pair < FILTERS; pair <<= 2)
		if ((flags & pair) && !(flags & pair & has))
			return false;
	return true;
}

static void list_all(struct rpc_call *call, const struct rpc_connect_list_all_secrets_args *args)
{
	struct rpc_connect_list_all_secrets_ret ret = { 0 };
	GPtrArray *all;

	if (!call_flags(call, args->flags, FILTERS))
		return;
	all = keeper_all(secrets(call));
	ret.secrets.items =
		rpc_arena_array(rpc_call_arena(call), all->len, sizeof(*ret.secrets.items));
	for (guint i = 0; i < all->len; i++) {
		if (!is_listed(all->pdata[i], args->flags))
			continue;
		if (args->need_results && ret.secrets.items)
			ret.secrets.items[ret.secrets.count++] = told(call, all->pdata[i]);
		ret.ret++;
	}
	g_ptr_array_unref(all);
	rpc_reply_connect_list_all_secrets(call, &ret);
}

static void num_of(struct rpc_call *call)
{
	const struct rpc_connect_num_of_secrets_ret ret = { .num = call_count(
								    keeper_all(secrets(call))) };

	rpc_reply_connect_num_of_secrets(call, &ret);
}

static void list(struct rpc_call *call, const struct rpc_connect_list_secrets_args *args)
{
	GPtrArray *all = keeper_all(secrets(call));
	struct rpc_connect_list_secrets_ret ret = { 0 };

	ret.uuids.items = rpc_arena_array(rpc_call_arena(call), all->len, sizeof(char *));
	ret.uuids.count = ret.uuids.items ? MIN(all->len, (u32)MAX(args->maxuuids, 0)) : 0;
	for (u32 i = 0; i < ret.uuids.count; i++)
		ret.uuids.items[i] = rpc_arena_strdup(rpc_call_arena(call),
						      ((struct kept *)all->pdata[i])->uuid_text);
	g_ptr_array_unref(all);
	rpc_reply_connect_list_secrets(call, &ret);
}

/* --- one --- */

static void by_uuid(struct rpc_call *call, const struct rpc_secret_lookup_by_uuid_args *args)
{
	const struct kept *kept = keeper_find_uuid(secrets(call), args->uuid);

	if (kept)
		answer_secret(call, kept);
	else
		rpc_call_fail(call, VIR_ERR_NO_SECRET, VIR_FROM_SECRET,
			      "Secret not found: no secret with matching uuid");
}

static void by_usage(struct rpc_call *call, const struct rpc_secret_lookup_by_usage_args *args)
{
	const struct kept *kept = secret_find_usage(secrets(call), args->usageType, args->usageID);

	if (kept)
		answer_secret(call, kept);
	else
		rpc_call_fail(call, VIR_ERR_NO_SECRET, VIR_FROM_SECRET,
			      "Secret not found: no secret with matching usage '%s'",
			      args->usageID);
}

static void get_xml_desc(struct rpc_call *call, const struct rpc_secret_get_xml_desc_args *args)
{
	struct rpc_secret_get_xml_desc_ret ret;
	const struct kept *kept;

	if (!call_flags(call, args->flags, 0) || !(kept = secret(call, &args->secret)))
		return;
	ret.xml = call_text(call, xml_write(xmlDocGetRootElement(kept->doc)));
	rpc_reply_secret_get_xml_desc(call, &ret);
}

static void done_define(struct kept *kept, const GError *error, void *call)
{
	if (error) {
		fail_call(call, g_error_copy(error));
		return;
	}
	secret_defined(kept);
	answer_secret(call, kept);
}

static void define_xml(struct rpc_call *call, const struct rpc_secret_define_xml_args *args)
{
	struct keeper *keeper = secrets(call);
	GError *error = NULL;
	xmlDoc *doc;

	if (!call_flags(call, args->flags, VIR_SECRET_DEFINE_VALIDATE) ||
	    !call_validate(call, args->flags, args->xml, "secret"))
		return;
	doc = kept_read(keeper, args->xml, &error);
	if (!doc || !kept_define(keeper, doc, NULL, done_define, call, &error))
		fail_call(call, error);
}

static void undefine(struct rpc_call *call, const struct rpc_secret_undefine_args *args)
{
	struct kept *kept = secret(call, &args->secret);
	GError *error = NULL;

	if (kept && !secret_undefine(kept, call_kept_done, call, &error))
		fail_call(call, error);
}

/* --- values --- */

static void set_value(struct rpc_call *call, const struct rpc_secret_set_value_args *args)
{
	struct kept *kept;

	if (call_flags(call, args->flags, 0) && (kept = secret(call, &args->secret)))
		secret_set_value(kept, args->value.items, args->value.count, call_kept_done, call);
}

static void get_value(struct rpc_call *call, const struct rpc_secret_get_value_args *args)
{
	struct rpc_secret_get_value_ret ret;
	const struct kept *kept;
	gsize length;

	if (!call_flags(call, args->flags, 0) || !(kept = secret(call, &args->secret)))
		return;
	if (secret_is_private(kept)) {
		rpc_call_fail(call, VIR_ERR_INVALID_SECRET, VIR_FROM_SECRET,
			      "Invalid secret: secret is private");
	} else if (!secret_value(kept)) {
		rpc_call_fail(call, VIR_ERR_NO_SECRET, VIR_FROM_SECRET,
			      "Secret not found: secret '%s' does not have a value",
			      kept->uuid_text);
	} else {
		ret.value.items = (u8 *)g_bytes_get_data(secret_value(kept), &length);
		ret.value.count = length;
		rpc_reply_secret_get_value(call, &ret);
	}
}

const struct rpc_handlers calls_secret = {
	.connect_list_all_secrets = list_all,
	.connect_num_of_secrets = num_of,
	.connect_list_secrets = list,
	.secret_lookup_by_uuid = by_uuid,
	.secret_lookup_by_usage = by_usage,
	.secret_get_xml_desc = get_xml_desc,
	.secret_define_xml = define_xml,
	.secret_undefine = undefine,
	.secret_set_value = set_value,
	.secret_get_value = get_value,
};
