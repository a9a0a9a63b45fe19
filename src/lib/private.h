/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of liblodge share.
 *
 * Each public function fills in its arguments, asks by the call that the generator made for it
 * (rpc_ask_NAME()) and ends with asked(), which keeps the thread's error and lets the arena go:
 *
 *   struct asking a = {};
 *
 *   return asked(&a, rpc_ask_NAME(..., &a.arena, &ret, &a.failure), __func__);
 */
#ifndef LODGE_LIB_PRIVATE_H
#define LODGE_LIB_PRIVATE_H

#include <lodge/lodge.h>

#include "rpc_ask.h"
#include "rpc_constants.h"

#include <glib.h>

#define LODGE_PUBLIC __attribute__((visibility("default")))

struct lodge_connection {
	gint references;
	struct rpc_caller *caller;
	GMutex lock;        /* of the watches */
	GPtrArray *watches; /* struct watch */
};

/* One lodge_*_watch(). */
struct watch {
	int id;
	lodge_domain_event_fn *domain_event; /* one of these */
	lodge_object_event_fn *object_event;
	lodge_monitor_event_fn *monitor_event;
	lodge_domain_other_event_fn *other_event;
	void *opaque;
};

/* What domains, networks and pools have in common. */
struct object {
	struct lodge_connection *connection;
	char *name;
	u8 uuid[LODGE_UUID_BYTES];
};

struct asking {
	struct rpc_arena arena;
	struct rpc_failure failure;
};

/* --- error.c --- */
/* The end of every call. 0, or -1 if it was not @good: then the thread's error is that failure. */
int asked(struct asking *asking, bool good, const char *function);
/* The same for a call whose answer is one string: the program's own copy, or NULL. */
char *asked_string(struct asking *asking, bool good, char *const *text, const char *function);
/* Keeps the error of flags that are none; false then. */
bool flags_none(unsigned flags, const char *function);
/* Keeps an error of our own. */
void error_set(const char *function, int code, const char *hint, const char *fmt, ...)
	G_GNUC_PRINTF(4, 5);

/* --- connection.c --- */
struct lodge_connection *connection_ref(struct lodge_connection *connection);

/* --- object.c --- */
void object_init(struct object *object, struct lodge_connection *connection, const char *name,
		 const u8 *uuid);
void object_clear(struct object *object);
/* Of text that people type; false: it is none. */
bool object_parse_uuid(const char *text, u8 uuid[LODGE_UUID_BYTES]);
void uuid_text(const u8 uuid[LODGE_UUID_BYTES], char text[LODGE_UUID_CHARS]);
void object_uuid(const struct object *object, char text[LODGE_UUID_CHARS]);
/* Frees an array that ends with NULL, and each of its members by @free_one; NULL is fine. */
void objects_free(void *array, void (*free_one)(void *member));

/* --- domain.c --- */
struct lodge_domain *domain_new(struct lodge_connection *connection, const struct rpc_domain *dom);
struct rpc_domain domain_wire(const struct lodge_domain *domain);
struct lodge_connection *domain_connection(const struct lodge_domain *domain);

/* --- value.c --- */
struct lodge_value *values_of_params(const struct rpc_typed_param *params, unsigned count);

/* --- pool.c --- */
struct rpc_storage_pool pool_wire(const struct lodge_pool *pool);
struct lodge_connection *pool_connection(const struct lodge_pool *pool);

/* --- volume.c --- */
struct rpc_storage_vol volume_wire(const struct lodge_volume *volume);
struct lodge_connection *volume_connection(const struct lodge_volume *volume);

#endif
