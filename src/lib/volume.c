/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes of storage pools. See lodge/storage.h. */
#include "private.h"

#include <string.h>

struct lodge_volume {
	struct lodge_connection *connection;
	char *pool, *name, *key;
};

static struct lodge_volume *volume_new(struct lodge_connection *connection,
				       const struct rpc_storage_vol *wire)
{
	struct lodge_volume *volume = g_new0(struct lodge_volume, 1);

	volume->connection = connection_ref(connection);
	volume->pool = g_strdup(wire->pool);
	volume->name = g_strdup(wire->name);
	volume->key = g_strdup(wire->key);
	return volume;
}

struct rpc_storage_vol volume_wire(const struct lodge_volume *volume)
{
	return (struct rpc_storage_vol){ volume->pool, volume->name, volume->key };
}

struct lodge_connection *volume_connection(const struct lodge_volume *volume)
{
	return volume->connection;
}

static struct rpc_caller *caller_of(const struct lodge_volume *volume)
{
	return volume->connection->caller;
}

/* The end of a call whose answer is one. */
static struct lodge_volume *asked_volume(struct asking *asking, bool good,
					 struct lodge_connection *connection,
					 const struct rpc_storage_vol *wire, const char *function)
{
	struct lodge_volume *volume = good ? volume_new(connection, wire) : NULL;

	asked(asking, good, function);
	return volume;
}

LODGE_PUBLIC void lodge_volume_free(struct lodge_volume *volume)
{
	if (!volume)
		return;
	lodge_connection_free(volume->connection);
	g_free(volume->pool);
	g_free(volume->name);
	g_free(volume->key);
	g_free(volume);
}

static void free_volume(void *member)
{
	lodge_volume_free(member);
}

LODGE_PUBLIC void lodge_volumes_free(struct lodge_volume **volumes)
{
	objects_free(volumes, free_volume);
}

LODGE_PUBLIC struct lodge_volume **lodge_volume_list(struct lodge_pool *pool, unsigned flags)
{
	struct rpc_storage_pool_list_all_volumes_args args = { pool_wire(pool), 1, flags };
	struct rpc_storage_pool_list_all_volumes_ret ret;
	struct lodge_connection *connection = pool_connection(pool);
	struct lodge_volume **volumes = NULL;
	struct asking a = {};
	bool good = rpc_ask_storage_pool_list_all_volumes(connection->caller, &args, &a.arena, &ret,
							  &a.failure);

	if (good) {
		volumes = g_new0(struct lodge_volume *, ret.vols.count + 1);
		for (unsigned i = 0; i < ret.vols.count; i++)
			volumes[i] = volume_new(connection, &ret.vols.items[i]);
	}
	asked(&a, good, __func__);
	return volumes;
}

LODGE_PUBLIC struct lodge_volume *lodge_volume_by_name(struct lodge_pool *pool, const char *name,
						       unsigned flags)
{
	struct rpc_storage_vol_lookup_by_name_args args = { pool_wire(pool), (char *)name };
	struct rpc_storage_vol_lookup_by_name_ret ret;
	struct lodge_connection *connection = pool_connection(pool);
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	return asked_volume(&a,
			    rpc_ask_storage_vol_lookup_by_name(connection->caller, &args, &a.arena,
							       &ret, &a.failure),
			    connection, &ret.vol, __func__);
}

LODGE_PUBLIC struct lodge_volume *lodge_volume_by_path(struct lodge_connection *connection,
						       const char *path, unsigned flags)
{
	struct rpc_storage_vol_lookup_by_path_args args = { (char *)path };
	struct rpc_storage_vol_lookup_by_path_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	return asked_volume(&a,
			    rpc_ask_storage_vol_lookup_by_path(connection->caller, &args, &a.arena,
							       &ret, &a.failure),
			    connection, &ret.vol, __func__);
}

LODGE_PUBLIC const char *lodge_volume_name(const struct lodge_volume *volume)
{
	return volume->name;
}

LODGE_PUBLIC const char *lodge_volume_pool_name(const struct lodge_volume *volume)
{
	return volume->pool;
}

LODGE_PUBLIC char *lodge_volume_path(struct lodge_volume *volume, unsigned flags)
{
	struct rpc_storage_vol_get_path_args args = { volume_wire(volume) };
	struct rpc_storage_vol_get_path_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	return asked_string(
		&a,
		rpc_ask_storage_vol_get_path(caller_of(volume), &args, &a.arena, &ret, &a.failure),
		&ret.name, __func__);
}

LODGE_PUBLIC struct lodge_volume *lodge_volume_create(struct lodge_pool *pool, const char *xml,
						      unsigned flags)
{
	struct rpc_storage_vol_create_xml_args args = { pool_wire(pool), (char *)xml, flags };
	struct rpc_storage_vol_create_xml_ret ret;
	struct lodge_connection *connection = pool_connection(pool);
	struct asking a = {};

	return asked_volume(&a,
			    rpc_ask_storage_vol_create_xml(connection->caller, &args, &a.arena,
							   &ret, &a.failure),
			    connection, &ret.vol, __func__);
}

LODGE_PUBLIC int lodge_volume_delete(struct lodge_volume *volume, unsigned flags)
{
	struct rpc_storage_vol_delete_args args = { volume_wire(volume), flags };
	struct asking a = {};

	return asked(&a, rpc_ask_storage_vol_delete(caller_of(volume), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_volume_info(struct lodge_volume *volume, struct lodge_volume_info *info,
				   unsigned flags)
{
	struct rpc_storage_vol_get_info_args args = { volume_wire(volume) };
	struct rpc_storage_vol_get_info_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__) ||
	    asked(&a,
		  rpc_ask_storage_vol_get_info(caller_of(volume), &args, &a.arena, &ret,
					       &a.failure),
		  __func__))
		return -1;
	*info = (struct lodge_volume_info){ ret.type, ret.capacity, ret.allocation };
	return 0;
}

LODGE_PUBLIC char *lodge_volume_xml(struct lodge_volume *volume, unsigned flags)
{
	struct rpc_storage_vol_get_xml_desc_args args = { volume_wire(volume), flags };
	struct rpc_storage_vol_get_xml_desc_ret ret;
	struct asking a = {};

	return asked_string(&a,
			    rpc_ask_storage_vol_get_xml_desc(caller_of(volume), &args, &a.arena,
							     &ret, &a.failure),
			    &ret.xml, __func__);
}

LODGE_PUBLIC struct lodge_volume *lodge_volume_clone(struct lodge_pool *pool, const char *xml,
						     struct lodge_volume *from, unsigned flags)
{
	struct rpc_storage_vol_create_xml_from_args args = { pool_wire(pool), (char *)xml,
							     volume_wire(from), flags };
	struct rpc_storage_vol_create_xml_from_ret ret;
	struct lodge_connection *connection = pool_connection(pool);
	struct asking a = {};

	return asked_volume(&a,
			    rpc_ask_storage_vol_create_xml_from(connection->caller, &args, &a.arena,
								&ret, &a.failure),
			    connection, &ret.vol, __func__);
}

LODGE_PUBLIC struct lodge_volume *lodge_volume_by_key(struct lodge_connection *connection,
						      const char *key, unsigned flags)
{
	struct rpc_storage_vol_lookup_by_key_args args = { (char *)key };
	struct rpc_storage_vol_lookup_by_key_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	return asked_volume(&a,
			    rpc_ask_storage_vol_lookup_by_key(connection->caller, &args, &a.arena,
							      &ret, &a.failure),
			    connection, &ret.vol, __func__);
}

LODGE_PUBLIC const char *lodge_volume_key(const struct lodge_volume *volume)
{
	return volume->key;
}

LODGE_PUBLIC int lodge_volume_resize(struct lodge_volume *volume, uint64_t capacity_bytes,
				     unsigned flags)
{
	struct rpc_storage_vol_resize_args args = { volume_wire(volume), capacity_bytes, flags };
	struct asking a = {};

	return asked(&a, rpc_ask_storage_vol_resize(caller_of(volume), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_volume_wipe(struct lodge_volume *volume, unsigned flags)
{
	struct rpc_storage_vol_wipe_args args = { volume_wire(volume), flags };
	struct asking a = {};

	return asked(&a, rpc_ask_storage_vol_wipe(caller_of(volume), &args, &a.arena, &a.failure),
		     __func__);
}
