/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Storage pools and the volumes in them. See connection.h for what holds everywhere. */
#ifndef LODGE_STORAGE_H
#define LODGE_STORAGE_H

#include <lodge/connection.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lodge_pool;
struct lodge_volume;

enum lodge_pool_list_flags {
	LODGE_POOLS_INACTIVE = 1 << 0, /* neither of these two: both */
	LODGE_POOLS_ACTIVE = 1 << 1,
	LODGE_POOLS_PERSISTENT = 1 << 2,
	LODGE_POOLS_TRANSIENT = 1 << 3,
	LODGE_POOLS_AUTOSTART = 1 << 4,
	LODGE_POOLS_NO_AUTOSTART = 1 << 5,
};

struct lodge_pool_info {
	int state; /* libvirt's number: 0 inactive, 2 running */
	uint64_t capacity_bytes, allocation_bytes, available_bytes;
};

struct lodge_volume_info {
	int type; /* libvirt's number: 0 file, 1 block device, 2 folder */
	uint64_t capacity_bytes, allocation_bytes;
};

/* An array that ends with NULL; free with lodge_pools_free(). */
struct lodge_pool **lodge_pool_list(struct lodge_connection *connection, unsigned flags);
void lodge_pools_free(struct lodge_pool **pools);
struct lodge_pool *lodge_pool_by_name(struct lodge_connection *connection, const char *name,
				      unsigned flags);
/* By what people type: a UUID or a name. */
struct lodge_pool *lodge_pool_find(struct lodge_connection *connection, const char *text,
				   unsigned flags);
void lodge_pool_free(struct lodge_pool *pool);

const char *lodge_pool_name(const struct lodge_pool *pool);
void lodge_pool_uuid(const struct lodge_pool *pool, char text[LODGE_UUID_CHARS]);

struct lodge_pool *lodge_pool_define(struct lodge_connection *connection, const char *xml,
				     unsigned flags);
/* Starts one that is gone when it is stopped. */
struct lodge_pool *lodge_pool_create(struct lodge_connection *connection, const char *xml,
				     unsigned flags);
/* Removes what it lies on, as an empty folder. */
int lodge_pool_delete(struct lodge_pool *pool, unsigned flags);
int lodge_pool_is_persistent(struct lodge_pool *pool);
int lodge_pool_undefine(struct lodge_pool *pool, unsigned flags);
/* Makes what it lies on, as a folder. */
int lodge_pool_build(struct lodge_pool *pool, unsigned flags);
int lodge_pool_start(struct lodge_pool *pool, unsigned flags);
int lodge_pool_stop(struct lodge_pool *pool, unsigned flags);
/* Looks anew what volumes there are. */
int lodge_pool_refresh(struct lodge_pool *pool, unsigned flags);
int lodge_pool_info(struct lodge_pool *pool, struct lodge_pool_info *info, unsigned flags);
char *lodge_pool_xml(struct lodge_pool *pool, unsigned flags);
/* 1, 0, or -1. */
int lodge_pool_is_active(struct lodge_pool *pool);
int lodge_pool_autostart(struct lodge_pool *pool);
int lodge_pool_set_autostart(struct lodge_pool *pool, int autostart, unsigned flags);

/* An array that ends with NULL; free with lodge_volumes_free(). */
struct lodge_volume **lodge_volume_list(struct lodge_pool *pool, unsigned flags);
void lodge_volumes_free(struct lodge_volume **volumes);
struct lodge_volume *lodge_volume_by_name(struct lodge_pool *pool, const char *name,
					  unsigned flags);
struct lodge_volume *lodge_volume_by_path(struct lodge_connection *connection, const char *path,
					  unsigned flags);
void lodge_volume_free(struct lodge_volume *volume);

const char *lodge_volume_name(const struct lodge_volume *volume);
const char *lodge_volume_pool_name(const struct lodge_volume *volume);
char *lodge_volume_path(struct lodge_volume *volume, unsigned flags);

enum lodge_volume_create_flags {
	LODGE_VOLUME_VALIDATE = 1 << 2, /* as LODGE_DEFINE_VALIDATE */
};

struct lodge_volume *lodge_volume_create(struct lodge_pool *pool, const char *xml, unsigned flags);
/* A new one with what is in @from. */
struct lodge_volume *lodge_volume_clone(struct lodge_pool *pool, const char *xml,
					struct lodge_volume *from, unsigned flags);
/* By what the daemon calls it: of a file, its path. */
struct lodge_volume *lodge_volume_by_key(struct lodge_connection *connection, const char *key,
					 unsigned flags);
const char *lodge_volume_key(const struct lodge_volume *volume);

enum lodge_volume_resize_flags {
	LODGE_RESIZE_ALLOCATE = 1 << 0,
	LODGE_RESIZE_DELTA = 1 << 1,
	LODGE_RESIZE_SHRINK = 1 << 2, /* what is cut off is lost */
};

int lodge_volume_resize(struct lodge_volume *volume, uint64_t capacity_bytes, unsigned flags);
/* Writes zeros over it. */
int lodge_volume_wipe(struct lodge_volume *volume, unsigned flags);
int lodge_volume_delete(struct lodge_volume *volume, unsigned flags);
int lodge_volume_info(struct lodge_volume *volume, struct lodge_volume_info *info, unsigned flags);
char *lodge_volume_xml(struct lodge_volume *volume, unsigned flags);

#ifdef __cplusplus
}
#endif
#endif
