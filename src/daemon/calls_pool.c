/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls about storage pools. */
#include "daemon/calls.h"
#include "daemon/calls_storage.h"
#include "domain/xml.h"

#include <stdlib.h>
#include <string.h>

#define FOLDER_MODE 0755
#define TYPES       (~(u32)KEPT_FILTERS & 0xfffff) /* VIR_CONNECT_LIST_STORAGE_POOLS_DIR and up */
#define BUILD_FLAGS VIR_STORAGE_POOL_BUILD_NO_OVERWRITE /* nothing is overwritten anyway */
#define START_FLAGS \
	(VIR_STORAGE_POOL_CREATE_WITH_BUILD | VIR_STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE)

struct keeper *call_pools(const struct rpc_call *call)
{
	return ((struct daemon *)rpc_call_opaque(call))->pools;
}

/* A refresh, too, only looks: virt-manager and Cockpit show no pools to whom it is refused. */
static bool only_looks(const struct rpc_procedure *procedure)
{
	for (u32 i = 0; i < procedure->rule_count; i++) {
		const struct rpc_rule *rule = &procedure->rules[i];

		if (!rule->reads && strcmp(rule->permission, "refresh") &&
		    g_str_has_prefix(rule->object, "storage_"))
			return false;
	}
	return true;
}

bool call_may(struct rpc_call *call, const struct kept *pool)
{
	const struct launch_authority *by = call_authority(call);
	const struct rpc_procedure *procedure = rpc_call_procedure(call);

	if (!by || (pool->owner && pool->owner->uid == by->uid) || only_looks(procedure))
		return true;
	rpc_call_fail(call, VIR_ERR_AUTH_UNAVAILABLE, VIR_FROM_STORAGE,
		      "%s is for root, and for who has defined storage pool '%s': user %u may use "
		      "what is there",
		      procedure->name, pool->name, by->uid);
	return false;
}

static struct kept *find(struct rpc_call *call, const struct rpc_storage_pool *pool)
{
	struct kept *kept = keeper_find_uuid(call_pools(call), pool->uuid);

	if (kept)
		return call_may(call, kept) ? kept : NULL;
	rpc_call_fail(call, VIR_ERR_NO_STORAGE_POOL, VIR_FROM_STORAGE,
		      "Storage pool not found: no storage pool with matching uuid and name '%s'",
		      pool->name);
	return NULL;
}

struct kept *call_pool_active(struct rpc_call *call, const struct rpc_storage_pool *pool)
{
	struct kept *kept = find(call, pool);

	if (!kept || kept->active)
		return kept;
	rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_STORAGE,
		      "Requested operation is not valid: storage pool '%s' is not active",
		      kept->name);
	return NULL;
}

/* For what must not be done to one that is active. */
static struct kept *find_inactive(struct rpc_call *call, const struct rpc_storage_pool *pool)
{
	struct kept *kept = find(call, pool);

	if (!kept || !kept->active)
		return kept;
	rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_STORAGE,
		      "Requested operation is not valid: storage pool '%s' is still active",
		      kept->name);
	return NULL;
}

struct rpc_storage_pool call_pool_told(struct rpc_call *call, const struct kept *kept)
{
	struct rpc_storage_pool pool = { .name = rpc_arena_strdup(rpc_call_arena(call),
								  kept->name) };

	memcpy(pool.uuid, kept->uuid, UUID_BYTES);
	return pool;
}

/* The end of jobs that return nothing. */
void call_job_done(struct pool_job *job)
{
	if (job->error)
		fail_call(job->call, g_steal_pointer(&job->error));
	else
		rpc_call_answer(job->call, rpc_call_procedure(job->call), NULL);
}

/* --- lists --- */

static GPtrArray *matching(const struct rpc_call *call, u32 flags)
{
	static const struct {
		const char *type;
		u32 flag;
	} types[] = {
		{ "dir", VIR_CONNECT_LIST_STORAGE_POOLS_DIR },
		{ "fs", VIR_CONNECT_LIST_STORAGE_POOLS_FS },
		{ "netfs", VIR_CONNECT_LIST_STORAGE_POOLS_NETFS },
	};
	GPtrArray *found = keeper_matching(call_pools(call), flags);
	guint count = 0;

	if (!(flags & TYPES))
		return found;
	for (guint i = 0; i < found->len; i++)
		for (unsigned j = 0; j < ARRAY_LEN(types); j++)
			if ((flags & types[j].flag) && pool_is_of(found->pdata[i], types[j].type))
				found->pdata[count++] = found->pdata[i];
	g_ptr_array_set_size(found, count);
	return found;
}

static void list_all(struct rpc_call *call,
		     const struct rpc_connect_list_all_storage_pools_args *args)
{
	struct rpc_connect_list_all_storage_pools_ret ret = { 0 };
	GPtrArray *found;

	if (!call_flags(call, args->flags, KEPT_FILTERS | TYPES))
		return;
	found = matching(call, args->flags);
	ret.ret = found->len;
	if (args->need_results) {
		ret.pools.items =
			rpc_arena_array(rpc_call_arena(call), found->len, sizeof(*ret.pools.items));
		ret.pools.count = ret.pools.items ? found->len : 0;
		for (u32 i = 0; i < ret.pools.count; i++)
			ret.pools.items[i] = call_pool_told(call, found->pdata[i]);
	}
	g_ptr_array_unref(found);
	rpc_reply_connect_list_all_storage_pools(call, &ret);
}

static void num_of_active(struct rpc_call *call)
{
	const struct rpc_connect_num_of_storage_pools_ret ret = {
		.num = call_count(matching(call, VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE))
	};

	rpc_reply_connect_num_of_storage_pools(call, &ret);
}

static void num_of_inactive(struct rpc_call *call)
{
	const struct rpc_connect_num_of_defined_storage_pools_ret ret = {
		.num = call_count(matching(call, VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE))
	};

	rpc_reply_connect_num_of_defined_storage_pools(call, &ret);
}

static void list_active(struct rpc_call *call,
			const struct rpc_connect_list_storage_pools_args *args)
{
	struct rpc_connect_list_storage_pools_ret ret;

	ret.names.items = call_names(call, matching(call, VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE),
				     args->maxnames, &ret.names.count);
	rpc_reply_connect_list_storage_pools(call, &ret);
}

static void list_inactive(struct rpc_call *call,
			  const struct rpc_connect_list_defined_storage_pools_args *args)
{
	struct rpc_connect_list_defined_storage_pools_ret ret;

	ret.names.items = call_names(call, matching(call, VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE),
				     args->maxnames, &ret.names.count);
	rpc_reply_connect_list_defined_storage_pools(call, &ret);
}

/* --- one --- */

/* Answers with @kept, or, where that is NULL, that there is none with @what. Every such answer is
 * one pool; the type of one of these calls is used for all. */
static void answer_pool(struct rpc_call *call, const struct kept *kept, const char *what)
{
	struct rpc_storage_pool_lookup_by_name_ret ret;

	if (!kept) {
		rpc_call_fail(call, VIR_ERR_NO_STORAGE_POOL, VIR_FROM_STORAGE,
			      "Storage pool not found: no storage pool with matching %s", what);
		return;
	}
	ret.pool = call_pool_told(call, kept);
	rpc_call_answer(call, rpc_call_procedure(call), &ret);
}

static void by_name(struct rpc_call *call, const struct rpc_storage_pool_lookup_by_name_args *args)
{
	g_autofree char *what = g_strdup_printf("name '%s'", args->name);

	answer_pool(call, keeper_find_name(call_pools(call), args->name), what);
}

static void by_uuid(struct rpc_call *call, const struct rpc_storage_pool_lookup_by_uuid_args *args)
{
	answer_pool(call, keeper_find_uuid(call_pools(call), args->uuid), "uuid");
}

static void by_volume(struct rpc_call *call,
		      const struct rpc_storage_pool_lookup_by_volume_args *args)
{
	g_autofree char *what = g_strdup_printf("name '%s'", args->vol.pool);

	answer_pool(call, keeper_find_name(call_pools(call), args->vol.pool), what);
}

static void by_target_path(struct rpc_call *call,
			   const struct rpc_storage_pool_lookup_by_target_path_args *args)
{
	g_autofree char *path = pool_canonical_path(args->path);
	g_autofree char *what = g_strdup_printf("target path '%s'", args->path);
	GPtrArray *all = keeper_all(call_pools(call));
	const struct kept *found = NULL;

	for (guint i = 0; i < all->len && !found; i++)
		if (((struct kept *)all->pdata[i])->active &&
		    !strcmp(pool_target(all->pdata[i]), path))
			found = all->pdata[i];
	g_ptr_array_unref(all);
	answer_pool(call, found, what);
}

static void is_active(struct rpc_call *call, const struct rpc_storage_pool_is_active_args *args)
{
	const struct kept *kept = find(call, &args->pool);
	struct rpc_storage_pool_is_active_ret ret;

	if (!kept)
		return;
	ret.active = kept->active;
	rpc_reply_storage_pool_is_active(call, &ret);
}

static void is_persistent(struct rpc_call *call,
			  const struct rpc_storage_pool_is_persistent_args *args)
{
	const struct kept *kept = find(call, &args->pool);
	struct rpc_storage_pool_is_persistent_ret ret;

	if (!kept)
		return;
	ret.persistent = kept->persistent;
	rpc_reply_storage_pool_is_persistent(call, &ret);
}

static void get_autostart(struct rpc_call *call,
			  const struct rpc_storage_pool_get_autostart_args *args)
{
	const struct kept *kept = find(call, &args->pool);
	struct rpc_storage_pool_get_autostart_ret ret;

	if (!kept)
		return;
	ret.autostart = kept->autostart;
	rpc_reply_storage_pool_get_autostart(call, &ret);
}

static void set_autostart(struct rpc_call *call,
			  const struct rpc_storage_pool_set_autostart_args *args)
{
	struct kept *kept = find(call, &args->pool);
	GError *error = NULL;

	if (kept && !kept_set_autostart(kept, args->autostart, call_kept_done, call, &error))
		fail_call(call, error);
}

static void get_xml_desc(struct rpc_call *call,
			 const struct rpc_storage_pool_get_xml_desc_args *args)
{
	struct rpc_storage_pool_get_xml_desc_ret ret;
	const struct kept *kept;

	if (!call_flags(call, args->flags, VIR_STORAGE_XML_INACTIVE) ||
	    !(kept = find(call, &args->pool)))
		return;
	ret.xml = call_text(call, pool_xml(kept));
	rpc_reply_storage_pool_get_xml_desc(call, &ret);
}

static void get_info(struct rpc_call *call, const struct rpc_storage_pool_get_info_args *args)
{
	const struct kept *kept = find(call, &args->pool);
	struct rpc_storage_pool_get_info_ret ret = { .state = VIR_STORAGE_POOL_INACTIVE };
	const struct storage_scan *scan;

	if (!kept)
		return;
	scan = pool_scan(kept);
	if (scan) {
		ret.state = VIR_STORAGE_POOL_RUNNING;
		ret.capacity = scan->capacity;
		ret.allocation = scan->allocated;
		ret.available = scan->available;
	}
	rpc_reply_storage_pool_get_info(call, &ret);
}

/* --- definitions --- */

static void done_define(struct kept *kept, const GError *error, void *call)
{
	if (error)
		fail_call(call, g_error_copy(error));
	else
		answer_pool(call, kept, NULL);
}

static const struct kept *known_as(const struct rpc_call *call, const xmlDoc *doc)
{
	u8 uuid[UUID_BYTES];

	guest_parse_uuid(xml_text(xml_child(xmlDocGetRootElement(doc), "uuid")), uuid);
	return keeper_find_uuid(call_pools(call), uuid);
}

/* NULL: the call has been failed. */
static xmlDoc *read_pool(struct rpc_call *call, const char *xml)
{
	GError *error = NULL;
	xmlDoc *doc = kept_read(call_pools(call), xml, &error);
	const struct kept *other = doc ? pool_conflict(call_pools(call), doc) : NULL;
	const struct kept *known = doc ? known_as(call, doc) : NULL;

	if (!doc) {
		fail_call(call, error);
	} else if (known && !call_may(call, known)) {
		xmlFreeDoc(doc);
		doc = NULL;
	} else if (other) {
		rpc_call_fail(
			call, VIR_ERR_OPERATION_FAILED, VIR_FROM_STORAGE,
			"operation failed: Storage source conflict with pool: '%s', which has "
			"the same target",
			other->name);
		xmlFreeDoc(doc);
		doc = NULL;
	}
	return doc;
}

static void define(struct rpc_call *call, const struct rpc_storage_pool_define_xml_args *args)
{
	GError *error = NULL;
	xmlDoc *doc;

	if (!call_flags(call, args->flags, VIR_STORAGE_POOL_DEFINE_VALIDATE) ||
	    !call_validate(call, args->flags, args->xml, "pool") ||
	    !(doc = read_pool(call, args->xml)))
		return;
	if (!kept_define(call_pools(call), doc, call_authority(call), done_define, call, &error))
		fail_call(call, error);
}

static void undefine(struct rpc_call *call, const struct rpc_storage_pool_undefine_args *args)
{
	struct kept *kept = find_inactive(call, &args->pool);
	GError *error = NULL;

	if (kept && !kept_undefine(kept, call_kept_done, call, &error))
		fail_call(call, error);
}

/* --- starting and ending --- */

/* Of the folder, by the definition. */
static mode_t folder_mode(const struct kept *kept)
{
	const char *mode =
		xml_text(xml_find(xmlDocGetRootElement(kept->doc), "target/permissions/mode"));
	long bits = mode ? strtol(mode, NULL, 8) : 0;

	return bits > 0 && bits <= 0777 ? bits : FOLDER_MODE;
}

static struct pool_job *start_job(struct kept *kept, struct rpc_call *call, u32 flags)
{
	struct pool_job *job = pool_job_new(kept, call, NULL);

	job->build = flags & START_FLAGS;
	job->mode = folder_mode(kept);
	return job;
}

static void create(struct rpc_call *call, const struct rpc_storage_pool_create_args *args)
{
	struct pool_job *job;
	struct kept *kept;

	if (!call_flags(call, args->flags, START_FLAGS) || !(kept = find(call, &args->pool)))
		return;
	job = start_job(kept, call, args->flags);
	job->answer = call_job_done;
	pool_start(job);
}

static void created(struct pool_job *job)
{
	if (job->error)
		fail_call(job->call, g_steal_pointer(&job->error));
	else
		answer_pool(job->call, job->kept, NULL);
}

static void create_xml(struct rpc_call *call, const struct rpc_storage_pool_create_xml_args *args)
{
	GError *error = NULL;
	struct pool_job *job;
	struct kept *kept;
	xmlDoc *doc;

	if (!call_flags(call, args->flags, START_FLAGS) || !(doc = read_pool(call, args->xml)))
		return;
	kept = kept_find_or_make(call_pools(call), doc, &error);
	if (!kept) {
		fail_call(call, error);
		return;
	}
	if (kept->listed) {
		rpc_call_fail(call, VIR_ERR_OPERATION_FAILED, VIR_FROM_STORAGE,
			      "operation failed: pool '%s' already exists with uuid %s", kept->name,
			      kept->uuid_text);
		xmlFreeDoc(doc);
	} else {
		kept->owner = authority_copy(call_authority(call));
		kept_list(kept);
		job = start_job(kept, call, args->flags);
		job->answer = created;
		pool_start(job);
	}
	kept_unref(kept);
}

static void destroy(struct rpc_call *call, const struct rpc_storage_pool_destroy_args *args)
{
	struct kept *kept = call_pool_active(call, &args->pool);

	struct pool_job *job;

	if (!kept)
		return;
	job = pool_job_new(kept, call, NULL);
	job->answer = call_job_done;
	pool_stop(job);
}

static void work_build(struct pool_job *job)
{
	storage_make_folder(job->folder, job->mode, &job->error);
}

static void build(struct rpc_call *call, const struct rpc_storage_pool_build_args *args)
{
	struct pool_job *job;
	struct kept *kept;

	if (!call_flags(call, args->flags, BUILD_FLAGS) ||
	    !(kept = find_inactive(call, &args->pool)))
		return;
	job = pool_job_new(kept, call, NULL);
	job->mode = folder_mode(kept);
	job->work = work_build;
	job->finish = call_job_done;
	pool_run(job);
}

static void work_delete(struct pool_job *job)
{
	storage_remove_folder(job->folder, &job->error);
}

static void delete (struct rpc_call *call, const struct rpc_storage_pool_delete_args *args)
{
	struct pool_job *job;
	struct kept *kept;

	if (!call_flags(call, args->flags, 0) || !(kept = find_inactive(call, &args->pool)))
		return;
	job = pool_job_new(kept, call, NULL);
	job->work = work_delete;
	job->finish = call_job_done;
	pool_run(job);
}

static void work_refresh(struct pool_job *job)
{
	storage_scan(job_formats(job), job->folder, &job->scan, &job->error);
}

static void finish_refresh(struct pool_job *job)
{
	if (!job->error) {
		pool_take_scan(job);
		events_kept(job->kept, VIR_STORAGE_POOL_EVENT_ID_REFRESH, 0);
	}
	call_job_done(job);
}

static void refresh(struct rpc_call *call, const struct rpc_storage_pool_refresh_args *args)
{
	struct pool_job *job;
	struct kept *kept;

	if (!call_flags(call, args->flags, 0) || !(kept = call_pool_active(call, &args->pool)))
		return;
	job = pool_job_new(kept, call, NULL);
	job->work = work_refresh;
	job->finish = finish_refresh;
	pool_run(job);
}

#define POOL_CAPABILITIES(type)                      \
	"  <pool type='" type "' supported='yes'>\n" \
	"    <volOptions>\n"                         \
	"      <defaultFormat type='raw'/>\n"        \
	"      <enum name='targetFormatType'>\n"     \
	"        <value>raw</value>\n"               \
	"      </enum>\n"                            \
	"    </volOptions>\n"                        \
	"  </pool>\n"

static void get_capabilities(struct rpc_call *call,
			     const struct rpc_connect_get_storage_pool_capabilities_args *args)
{
	const struct rpc_connect_get_storage_pool_capabilities_ret ret = {
		.capabilities = (char *)"<storagepoolCapabilities>\n" POOL_CAPABILITIES("dir")
			POOL_CAPABILITIES("fs")
				POOL_CAPABILITIES("netfs") "</storagepoolCapabilities>\n"
	};

	if (call_flags(call, args->flags, 0))
		rpc_reply_connect_get_storage_pool_capabilities(call, &ret);
}

const struct rpc_handlers calls_pool = {
	.connect_get_storage_pool_capabilities = get_capabilities,
	.connect_list_all_storage_pools = list_all,
	.connect_num_of_storage_pools = num_of_active,
	.connect_num_of_defined_storage_pools = num_of_inactive,
	.connect_list_storage_pools = list_active,
	.connect_list_defined_storage_pools = list_inactive,
	.storage_pool_lookup_by_name = by_name,
	.storage_pool_lookup_by_uuid = by_uuid,
	.storage_pool_lookup_by_volume = by_volume,
	.storage_pool_lookup_by_target_path = by_target_path,
	.storage_pool_is_active = is_active,
	.storage_pool_is_persistent = is_persistent,
	.storage_pool_get_autostart = get_autostart,
	.storage_pool_set_autostart = set_autostart,
	.storage_pool_get_xml_desc = get_xml_desc,
	.storage_pool_get_info = get_info,
	.storage_pool_define_xml = define,
	.storage_pool_undefine = undefine,
	.storage_pool_create = create,
	.storage_pool_create_xml = create_xml,
	.storage_pool_destroy = destroy,
	.storage_pool_build = build,
	.storage_pool_delete = delete,
	.storage_pool_refresh = refresh,
};
