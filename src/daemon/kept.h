/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is kept beside guests, each by its XML with a name and a uuid: networks, storage pools,
 * secrets.
 *
 *   DIRECTORY/UUID.xml          a definition, as it was completed
 *   DIRECTORY/autostart/UUID    it starts with lodged
 *
 * A keeper has all of one kind. What a client is told is kept: changes are answered when the store
 * has them, and until then that object is not changed again. What an object does is not known here
 * but by its kind's owner.
 *
 * All of it belongs to the main loop.
 */
#ifndef LODGE_DAEMON_KEPT_H
#define LODGE_DAEMON_KEPT_H

#include "daemon/daemon.h"
#include "daemon/guest.h"

#include <libxml/tree.h>

#define KEPT_MAX 16384 /* what one answer of the protocol lists */

struct kept;
struct keeper;

enum event_object {
	EVENT_OF_DOMAIN,
	EVENT_OF_NETWORK,
	EVENT_OF_POOL,
	EVENT_OF_NODE_DEVICE,
	EVENT_OF_SECRET,
	EVENT_OF_MONITOR,
};

struct kept_kind {
	enum event_object object;
	const char *root; /* the element of its XML */
	const char *noun; /* in messages: "network" */
	/* What it is called, from what was completed; NULL: its <name>. The caller frees it. */
	char *(*name_of)(const xmlNode *root);
	/* Completes what was read; false: it is none. */
	bool (*complete)(const struct keeper *keeper, xmlDoc *doc, GError **error);
	/* May a known one get this definition? NULL: always. */
	bool (*may_become)(const struct kept *kept, const xmlDoc *doc, GError **error);
	/* Frees what hangs off it; NULL: nothing does. */
	void (*free_data)(void *data);
};

struct kept {
	struct keeper *keeper;
	unsigned references;
	u8 uuid[UUID_BYTES];
	char *uuid_text, *name;
	xmlDoc *doc;
	bool listed, persistent, autostart, active;
	bool fixed;  /* belongs to lodged itself: there is no file, and no change */
	bool saving; /* its definition is being written */
	struct launch_authority *owner; /* who has defined it; NULL: lodged's own authority */
	void *data;                     /* its owner's */
};

struct keeper {
	struct daemon *daemon;
	const struct kept_kind *kind;
	char *directory, *marks;
	GHashTable *by_uuid; /* uuid_text -> struct kept, referenced */
	GHashTable *by_name;
};

/* @error is NULL when the change is kept. */
typedef void kept_done(struct kept *kept, const GError *error, void *opaque);

struct keeper *keeper_new(struct daemon *daemon, const struct kept_kind *kind,
			  const char *directory);
/* Reads the directory; what is wrong in it is logged and left alone. */
void keeper_load(struct keeper *keeper);
/* NULL is ignored. */
void keeper_free(struct keeper *keeper);

struct kept *keeper_find_uuid(const struct keeper *keeper, const u8 uuid[UUID_BYTES]);
struct kept *keeper_find_name(const struct keeper *keeper, const char *name);
/* All of them, by name; the caller unrefs the array. */
GPtrArray *keeper_all(const struct keeper *keeper);

/* Reads and completes XML of a client; the caller frees it. */
xmlDoc *kept_read(const struct keeper *keeper, const char *xml, GError **error);
/* The object that @doc, which it takes over, is of: one that has it already, or a new one that is
 * not listed yet. The caller unrefs it. NULL with @error set: names collide. */
struct kept *kept_find_or_make(struct keeper *keeper, xmlDoc *doc, GError **error);
void kept_list(struct kept *kept);
/* Clients do not find it any more. */
void kept_unlist(struct kept *kept);
struct kept *kept_ref(struct kept *kept);
void kept_unref(struct kept *kept);

/* Gives an object, which may be new, the definition @doc, which it takes over. One that is new is
 * in the name of @by, which is copied; one that is not stays in whose name it is. False with @error
 * set when that cannot be; else @done follows. */
bool kept_define(struct keeper *keeper, xmlDoc *doc, const struct launch_authority *by,
		 kept_done *done, void *opaque, GError **error);
bool kept_undefine(struct kept *kept, kept_done *done, void *opaque, GError **error);
bool kept_set_autostart(struct kept *kept, bool autostart, kept_done *done, void *opaque,
			GError **error);

/* --- events.c --- */

/* The numbers of such an event are alike for all kinds: VIR_NETWORK_EVENT_DEFINED and so on. */
void events_kept(const struct kept *kept, int number, int type);

/* The flags of lists are alike for all kinds (VIR_CONNECT_LIST_NETWORKS_*, ..._STORAGE_POOLS_*). */
#define KEPT_FILTERS 0x3f
/* Those that a list with @flags has, by name; other flags are ignored. The caller unrefs it. */
GPtrArray *keeper_matching(const struct keeper *keeper, u32 flags);

#endif
