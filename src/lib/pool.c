/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Storage pools. See lodge/storage.h. */
#include "private.h"

#include <string.h>

struct lodge_pool {
	struct object object;
};

static struct lodge_pool *pool_new(struct lodge_connection *connection,
				   const struct rpc_storage_pool *wire)
{
	struct lodge_pool *pool = g_new0(struct lodge_pool, 1);

	object_init(&pool->object, connection, wire->name, wire->uuid);
	return pool;
}

struct rpc_storage_pool pool_wire(const struct lodge_pool *pool)
{
	struct rpc_storage_pool wire = { .name = pool->object.name };

	memcpy(wire.uuid, pool->object.uuid, sizeof(wire.uuid));
	return wire;
}

static struct rpc_caller *caller_of(const struct lodge_pool *pool)
{
	return pool->object.connection->caller;
}

/* The end of a call whose answer is one. */
static struct lodge_pool *asked_pool(struct asking *asking, bool good,
				     struct lodge_connection *connection,
				     const struct rpc_storage_pool *wire, const char *function)
{
	struct lodge_pool *pool = good ? pool_new(connection, wire) : NULL;

	asked(asking, good, function);
	return pool;
}

LODGE_PUBLIC void lodge_pool_free(struct lodge_pool *pool)
{
	if (!pool)
		return;
	object_clear(&pool->object);
	g_free(pool);
}

static void free_pool(void *member)
{
	lodge_pool_free(member);
}

LODGE_PUBLIC void lodge_pools_free(struct lodge_pool **pools)
{
	objects_free(pools, free_pool);
}

LODGE_PUBLIC struct lodge_pool **lodge_pool_list(struct lodge_connection *connection,
						 unsigned flags)
{
	struct rpc_connect_list_all_storage_pools_args args = { 1, flags };
	struct rpc_connect_list_all_storage_pools_ret ret;
	struct lodge_pool **pools = NULL;
	struct asking a = {};
	bool good = rpc_ask_connect_list_all_storage_pools(connection->caller, &args, &a.arena,
							   &ret, &a.failure);

	if (good) {
		pools = g_new0(struct lodge_pool *, ret.pools.count + 1);
		for (unsigned i = 0; i < ret.pools.count; i++)
			pools[i] = pool_new(connection, &ret.pools.items[i]);
	}
	asked(&a, good, __func__);
	return pools;
}

LODGE_PUBLIC struct lodge_pool *lodge_pool_by_name(struct lodge_connection *connection,
						   const char *name, unsigned flags)
{
	struct rpc_storage_pool_lookup_by_name_args args = { (char *)name };
	struct rpc_storage_pool_lookup_by_name_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	return asked_pool(&a,
			  rpc_ask_storage_pool_lookup_by_name(connection->caller, &args, &a.arena,
							      &ret, &a.failure),
			  connection, &ret.pool, __func__);
}

LODGE_PUBLIC struct lodge_pool *lodge_pool_find(struct lodge_connection *connection,
						const char *text, unsigned flags)
{
	struct rpc_storage_pool_lookup_by_uuid_args args;
	struct rpc_storage_pool_lookup_by_uuid_ret ret;
	struct asking a = {};

	if (!object_parse_uuid(text, args.uuid))
		return lodge_pool_by_name(connection, text, flags);
	if (!flags_none(flags, __func__))
		return NULL;
	return asked_pool(&a,
			  rpc_ask_storage_pool_lookup_by_uuid(connection->caller, &args, &a.arena,
							      &ret, &a.failure),
			  connection, &ret.pool, __func__);
}

LODGE_PUBLIC const char *lodge_pool_name(const struct lodge_pool *pool)
{
	return pool->object.name;
}

LODGE_PUBLIC void lodge_pool_uuid(const struct lodge_pool *pool, char text[LODGE_UUID_CHARS])
{
	object_uuid(&pool->object, text);
}

LODGE_PUBLIC struct lodge_pool *lodge_pool_define(struct lodge_connection *connection,
						  const char *xml, unsigned flags)
{
	struct rpc_storage_pool_define_xml_args args = { (char *)xml, flags };
	struct rpc_storage_pool_define_xml_ret ret;
	struct asking a = {};

	return asked_pool(&a,
			  rpc_ask_storage_pool_define_xml(connection->caller, &args, &a.arena, &ret,
							  &a.failure),
			  connection, &ret.pool, __func__);
}

LODGE_PUBLIC int lodge_pool_undefine(struct lodge_pool *pool, unsigned flags)
{
	struct rpc_storage_pool_undefine_args args = { pool_wire(pool) };
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return -1;
	return asked(&a,
		     rpc_ask_storage_pool_undefine(caller_of(pool), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_pool_build(struct lodge_pool *pool, unsigned flags)
{
	struct rpc_storage_pool_build_args args = { pool_wire(pool), flags };
	struct asking a = {};

	return asked(&a, rpc_ask_storage_pool_build(caller_of(pool), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_pool_start(struct lodge_pool *pool, unsigned flags)
{
	struct rpc_storage_pool_create_args args = { pool_wire(pool), flags };
	struct asking a = {};

	return asked(&a, rpc_ask_storage_pool_create(caller_of(pool), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_pool_stop(struct lodge_pool *pool, unsigned flags)
{
	struct rpc_storage_pool_destroy_args args = { pool_wire(pool) };
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return -1;
	return asked(&a, rpc_ask_storage_pool_destroy(caller_of(pool), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_pool_refresh(struct lodge_pool *pool, unsigned flags)
{
	struct rpc_storage_pool_refresh_args args = { pool_wire(pool), flags };
	struct asking a = {};

	return asked(&a, rpc_ask_storage_pool_refresh(caller_of(pool), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC char *lodge_pool_xml(struct lodge_pool *pool, unsigned flags)
{
	struct rpc_storage_pool_get_xml_desc_args args = { pool_wire(pool), flags };
	struct rpc_storage_pool_get_xml_desc_ret ret;
	struct asking a = {};

	return asked_string(&a,
			    rpc_ask_storage_pool_get_xml_desc(caller_of(pool), &args, &a.arena,
							      &ret, &a.failure),
			    &ret.xml, __func__);
}

LODGE_PUBLIC int lodge_pool_is_active(struct lodge_pool *pool)
{
	struct rpc_storage_pool_is_active_args args = { pool_wire(pool) };
	struct rpc_storage_pool_is_active_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_storage_pool_is_active(caller_of(pool), &args, &a.arena, &ret,
						    &a.failure),
		     __func__)
		       ? -1
		       : !!ret.active;
}

LODGE_PUBLIC int lodge_pool_autostart(struct lodge_pool *pool)
{
	struct rpc_storage_pool_get_autostart_args args = { pool_wire(pool) };
	struct rpc_storage_pool_get_autostart_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_storage_pool_get_autostart(caller_of(pool), &args, &a.arena, &ret,
							&a.failure),
		     __func__)
		       ? -1
		       : !!ret.autostart;
}

LODGE_PUBLIC int lodge_pool_set_autostart(struct lodge_pool *pool, int autostart, unsigned flags)
{
	struct rpc_storage_pool_set_autostart_args args = { pool_wire(pool), !!autostart };
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return -1;
	return asked(
		&a,
		rpc_ask_storage_pool_set_autostart(caller_of(pool), &args, &a.arena, &a.failure),
		__func__);
}

LODGE_PUBLIC int lodge_pool_info(struct lodge_pool *pool, struct lodge_pool_info *info,
				 unsigned flags)
{
	struct rpc_storage_pool_get_info_args args = { pool_wire(pool) };
	struct rpc_storage_pool_get_info_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__) ||
	    asked(&a,
		  rpc_ask_storage_pool_get_info(caller_of(pool), &args, &a.arena, &ret, &a.failure),
		  __func__))
		return -1;
	*info = (struct lodge_pool_info){ ret.state, ret.capacity, ret.allocation, ret.available };
	return 0;
}

LODGE_PUBLIC struct lodge_pool *lodge_pool_create(struct lodge_connection *connection,
						  const char *xml, unsigned flags)
{
	struct rpc_storage_pool_create_xml_args args = { (char *)xml, flags };
	struct rpc_storage_pool_create_xml_ret ret;
	struct asking a = {};

	return asked_pool(&a,
			  rpc_ask_storage_pool_create_xml(connection->caller, &args, &a.arena, &ret,
							  &a.failure),
			  connection, &ret.pool, __func__);
}

LODGE_PUBLIC int lodge_pool_delete(struct lodge_pool *pool, unsigned flags)
{
	struct rpc_storage_pool_delete_args args = { pool_wire(pool), flags };
	struct asking a = {};

	return asked(&a, rpc_ask_storage_pool_delete(caller_of(pool), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_pool_is_persistent(struct lodge_pool *pool)
{
	struct rpc_storage_pool_is_persistent_args args = { pool_wire(pool) };
	struct rpc_storage_pool_is_persistent_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_storage_pool_is_persistent(caller_of(pool), &args, &a.arena, &ret,
							&a.failure),
		     __func__)
		       ? -1
		       : !!ret.persistent;
}

struct lodge_connection *pool_connection(const struct lodge_pool *pool)
{
	return pool->object.connection;
}
