/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls about volumes: the plain files of active storage pools. A volume's key is its path. */
#include "daemon/calls.h"
#include "daemon/calls_storage.h"

#include <string.h>

const struct volume *call_volume(struct rpc_call *call, const struct rpc_storage_vol *vol,
				 struct kept **pool)
{
	const struct volume *found;

	*pool = keeper_find_name(call_pools(call), vol->pool);
	found = *pool ? pool_find_volume(*pool, vol->name) : NULL;
	if (!found)
		rpc_call_fail(call, VIR_ERR_NO_STORAGE_VOL, VIR_FROM_STORAGE,
			      "Storage volume not found: no storage vol with matching name '%s' in "
			      "an active pool '%s'",
			      vol->name, vol->pool);
	return found && call_may(call, *pool) ? found : NULL;
}

static char *path_of(struct rpc_call *call, const struct kept *pool, const char *name)
{
	return call_text(call, g_build_filename(pool_target(pool), name, NULL));
}

static struct rpc_storage_vol told(struct rpc_call *call, const struct kept *pool, const char *name)
{
	return (struct rpc_storage_vol){ .pool = rpc_arena_strdup(rpc_call_arena(call), pool->name),
					 .name = rpc_arena_strdup(rpc_call_arena(call), name),
					 .key = path_of(call, pool, name) };
}

/* Every answer that is one volume looks alike; the type of one of these calls is used for all. */
static void answer_volume(struct rpc_call *call, const struct kept *pool, const char *name)
{
	const struct rpc_storage_vol_lookup_by_name_ret ret = { .vol = told(call, pool, name) };

	rpc_call_answer(call, rpc_call_procedure(call), &ret);
}

/* --- lists --- */

static void list_all(struct rpc_call *call,
		     const struct rpc_storage_pool_list_all_volumes_args *args)
{
	struct rpc_storage_pool_list_all_volumes_ret ret = { 0 };
	const struct kept *pool;
	const GPtrArray *all;

	if (!call_flags(call, args->flags, 0) || !(pool = call_pool_active(call, &args->pool)))
		return;
	all = pool_scan(pool)->volumes;
	ret.ret = all->len;
	if (args->need_results) {
		ret.vols.items =
			rpc_arena_array(rpc_call_arena(call), all->len, sizeof(*ret.vols.items));
		ret.vols.count = ret.vols.items ? all->len : 0;
		for (u32 i = 0; i < ret.vols.count; i++)
			ret.vols.items[i] =
				told(call, pool, ((struct volume *)all->pdata[i])->name);
	}
	rpc_reply_storage_pool_list_all_volumes(call, &ret);
}

static void num_of(struct rpc_call *call, const struct rpc_storage_pool_num_of_volumes_args *args)
{
	const struct kept *pool = call_pool_active(call, &args->pool);
	struct rpc_storage_pool_num_of_volumes_ret ret;

	if (!pool)
		return;
	ret.num = pool_scan(pool)->volumes->len;
	rpc_reply_storage_pool_num_of_volumes(call, &ret);
}

static void list(struct rpc_call *call, const struct rpc_storage_pool_list_volumes_args *args)
{
	const struct kept *pool = call_pool_active(call, &args->pool);
	struct rpc_storage_pool_list_volumes_ret ret;
	const GPtrArray *all;

	if (!pool)
		return;
	all = pool_scan(pool)->volumes;
	ret.names.count = MIN(all->len, (u32)MAX(args->maxnames, 0));
	ret.names.items = rpc_arena_array(rpc_call_arena(call), ret.names.count, sizeof(char *));
	for (u32 i = 0; i < ret.names.count; i++)
		ret.names.items[i] = rpc_arena_strdup(rpc_call_arena(call),
						      ((struct volume *)all->pdata[i])->name);
	rpc_reply_storage_pool_list_volumes(call, &ret);
}

/* --- one --- */

static void by_name(struct rpc_call *call, const struct rpc_storage_vol_lookup_by_name_args *args)
{
	const struct kept *pool = call_pool_active(call, &args->pool);

	if (pool && !pool_find_volume(pool, args->name))
		rpc_call_fail(call, VIR_ERR_NO_STORAGE_VOL, VIR_FROM_STORAGE,
			      "Storage volume not found: no storage vol with matching name '%s'",
			      args->name);
	else if (pool)
		answer_volume(call, pool, args->name);
}

static void by_path_or_key(struct rpc_call *call, const char *given, const char *what)
{
	g_autofree char *path = *given == '/' ? pool_canonical_path(given) : NULL;
	const char *name;
	const struct kept *pool = path ? pool_of_path(call_pools(call), path, &name) : NULL;

	if (pool)
		answer_volume(call, pool, name);
	else
		rpc_call_fail(call, VIR_ERR_NO_STORAGE_VOL, VIR_FROM_STORAGE,
			      "Storage volume not found: no storage vol with matching %s '%s'",
			      what, given);
}

static void by_path(struct rpc_call *call, const struct rpc_storage_vol_lookup_by_path_args *args)
{
	by_path_or_key(call, args->path, "path");
}

static void by_key(struct rpc_call *call, const struct rpc_storage_vol_lookup_by_key_args *args)
{
	by_path_or_key(call, args->key, "key");
}

static void get_path(struct rpc_call *call, const struct rpc_storage_vol_get_path_args *args)
{
	struct rpc_storage_vol_get_path_ret ret;
	struct kept *pool;

	if (!call_volume(call, &args->vol, &pool))
		return;
	ret.name = path_of(call, pool, args->vol.name);
	rpc_reply_storage_vol_get_path(call, &ret);
}

/* --- what is asked of the disk --- */

/* The end of a job that is about a volume that may be gone. False: the call has been failed. */
static bool took(struct pool_job *job)
{
	if (job->error) {
		if (job->error->code == VIR_ERR_NO_STORAGE_VOL)
			pool_forget_volume(job->kept, job->name);
		fail_call(job->call, g_steal_pointer(&job->error));
		return false;
	}
	return true;
}

static void work_look(struct pool_job *job)
{
	job->volume = storage_look(job_formats(job), job->folder, job->name, &job->error);
}

static void look(struct rpc_call *call, const struct rpc_storage_vol *vol, u32 flags,
		 void (*finish)(struct pool_job *job))
{
	struct pool_job *job;
	struct kept *pool;

	if (!call_volume(call, vol, &pool))
		return;
	job = pool_job_new(pool, call, vol->name);
	job->flags = flags;
	job->work = work_look;
	job->finish = finish;
	pool_run(job);
}

static void finish_info(struct pool_job *job)
{
	/* both calls have this answer */
	struct rpc_storage_vol_get_info_flags_ret ret = { .type = VIR_STORAGE_VOL_FILE };

	if (!took(job))
		return;
	ret.capacity = job->volume->capacity;
	ret.allocation = job->flags & VIR_STORAGE_VOL_GET_PHYSICAL ? job->volume->length
								   : job->volume->allocated;
	pool_take_volume(job);
	rpc_call_answer(job->call, rpc_call_procedure(job->call), &ret);
}

static void get_info(struct rpc_call *call, const struct rpc_storage_vol_get_info_args *args)
{
	look(call, &args->vol, 0, finish_info);
}

static void get_info_flags(struct rpc_call *call,
			   const struct rpc_storage_vol_get_info_flags_args *args)
{
	if (call_flags(call, args->flags, VIR_STORAGE_VOL_GET_PHYSICAL))
		look(call, &args->vol, args->flags, finish_info);
}

static void finish_xml(struct pool_job *job)
{
	struct rpc_storage_vol_get_xml_desc_ret ret;

	if (!took(job))
		return;
	ret.xml = call_text(job->call, volume_xml(job->kept, job->volume));
	pool_take_volume(job);
	rpc_reply_storage_vol_get_xml_desc(job->call, &ret);
}

static void get_xml_desc(struct rpc_call *call,
			 const struct rpc_storage_vol_get_xml_desc_args *args)
{
	if (call_flags(call, args->flags, 0))
		look(call, &args->vol, 0, finish_xml);
}

static void work_create(struct pool_job *job)
{
	const struct storage_source source = { job->from_folder, job->from_name };

	job->volume = storage_create(job->folder, job->name, &job->wish,
				     job->from_name ? &source : NULL, &job->error);
}

static void finish_create(struct pool_job *job)
{
	if (job->error) {
		fail_call(job->call, g_steal_pointer(&job->error));
		return;
	}
	pool_take_volume(job);
	answer_volume(job->call, job->kept, job->name);
}

/* The job of making what @xml describes in @on; NULL: the call has been failed. */
static struct pool_job *create_job(struct rpc_call *call, const struct rpc_storage_pool *on,
				   const char *xml, u32 flags)
{
	struct storage_wish wish = { 0 };
	g_autofree char *name = NULL;
	GError *error = NULL;
	struct pool_job *job;
	struct kept *pool;

	if (!call_flags(call, flags,
			VIR_STORAGE_VOL_CREATE_VALIDATE |
				VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA) ||
	    !call_validate(call, flags & VIR_STORAGE_VOL_CREATE_VALIDATE, xml, "volume") ||
	    !(pool = call_pool_active(call, on)))
		return NULL;
	name = volume_read(xml, &wish, &error);
	if (name && (flags & VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA))
		daemon_refuse(&error, VIR_ERR_CONFIG_UNSUPPORTED,
			      "raw volumes have no metadata that could be preallocated");
	if (error) {
		fail_call(call, error);
		return NULL;
	}
	if (pool_scan(pool)->volumes->len >= STORAGE_FILES_MAX) {
		rpc_call_fail(call, VIR_ERR_OPERATION_FAILED, VIR_FROM_STORAGE,
			      "there are %d volumes in pool '%s' already, which is as many as are "
			      "listed",
			      STORAGE_FILES_MAX, pool->name);
		return NULL;
	}
	job = pool_job_new(pool, call, name);
	job->wish = wish;
	job->work = work_create;
	job->finish = finish_create;
	return job;
}

static void create(struct rpc_call *call, const struct rpc_storage_vol_create_xml_args *args)
{
	struct pool_job *job = create_job(call, &args->pool, args->xml, args->flags);

	if (job)
		pool_run(job);
}

static void create_xml_from(struct rpc_call *call,
			    const struct rpc_storage_vol_create_xml_from_args *args)
{
	struct pool_job *job;
	struct kept *source;

	if (!call_volume(call, &args->clonevol, &source) ||
	    !(job = create_job(call, &args->pool, args->xml, args->flags)))
		return;
	job->from_folder = g_strdup(pool_target(source));
	job->from_name = g_strdup(args->clonevol.name);
	pool_run(job);
}

static void work_delete(struct pool_job *job)
{
	storage_remove(job->folder, job->name, &job->error);
}

static void finish_delete(struct pool_job *job)
{
	if (!job->error)
		pool_forget_volume(job->kept, job->name);
	call_job_done(job);
}

static void delete (struct rpc_call *call, const struct rpc_storage_vol_delete_args *args)
{
	struct pool_job *job;
	struct kept *pool;

	if (!call_flags(call, args->flags, 0) || !call_volume(call, &args->vol, &pool))
		return;
	job = pool_job_new(pool, call, args->vol.name);
	job->work = work_delete;
	job->finish = finish_delete;
	pool_run(job);
}

static void work_resize(struct pool_job *job)
{
	job->volume =
		storage_resize(job_formats(job), job->folder, job->name, &job->resize, &job->error);
}

static void finish_resize(struct pool_job *job)
{
	if (!took(job))
		return;
	pool_take_volume(job);
	call_job_done(job);
}

static void resize(struct rpc_call *call, const struct rpc_storage_vol_resize_args *args)
{
	const u32 flags = args->flags;
	struct pool_job *job;
	struct kept *pool;

	if (!call_flags(call, flags,
			VIR_STORAGE_VOL_RESIZE_ALLOCATE | VIR_STORAGE_VOL_RESIZE_DELTA |
				VIR_STORAGE_VOL_RESIZE_SHRINK) ||
	    !call_volume(call, &args->vol, &pool))
		return;
	job = pool_job_new(pool, call, args->vol.name);
	job->resize =
		(struct storage_resize){ .bytes = args->capacity,
					 .relative = flags & VIR_STORAGE_VOL_RESIZE_DELTA,
					 .shrink = flags & VIR_STORAGE_VOL_RESIZE_SHRINK,
					 .allocate = flags & VIR_STORAGE_VOL_RESIZE_ALLOCATE };
	job->work = work_resize;
	job->finish = finish_resize;
	pool_run(job);
}

const struct rpc_handlers calls_volume = {
	.storage_pool_list_all_volumes = list_all,
	.storage_pool_num_of_volumes = num_of,
	.storage_pool_list_volumes = list,
	.storage_vol_lookup_by_name = by_name,
	.storage_vol_lookup_by_path = by_path,
	.storage_vol_lookup_by_key = by_key,
	.storage_vol_get_path = get_path,
	.storage_vol_get_info = get_info,
	.storage_vol_get_info_flags = get_info_flags,
	.storage_vol_get_xml_desc = get_xml_desc,
	.storage_vol_create_xml = create,
	.storage_vol_create_xml_from = create_xml_from,
	.storage_vol_delete = delete,
	.storage_vol_resize = resize,
};
