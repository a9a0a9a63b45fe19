/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests as objects: what is defined, what runs, and in which state.
 *
 *              define                 start                   (driver)
 *   (nothing) --------> inactive ---------------> starting ------------> running <--> paused
 *       ^                 |  ^                        |                     |           |
 *       '----undefine-----'  '---------- ended -------'---------------------'-----------'
 *
 * A guest without a definition (transient) is gone when it ends. What a client is told is kept:
 * definitions and autostart marks are answered when the store has them.
 *
 * All of it belongs to the main loop.
 */
#ifndef LODGE_DAEMON_GUEST_H
#define LODGE_DAEMON_GUEST_H

#include "daemon/authority.h"
#include "daemon/daemon.h"
#include "daemon/driver.h"
#include "domain/domain.h"

#define GUESTS_MAX 16384 /* what one answer of the protocol lists */
#define UUID_BYTES 16

struct guest {
	struct daemon *daemon;
	unsigned references;
	bool listed; /* among the guests that clients find */
	u8 uuid[UUID_BYTES];
	char *uuid_text, *name;
	struct domain *config; /* folded; NULL: it is transient */
	struct domain *given;  /* what its running one was started from, if that is not config */
	bool saving;           /* its definition is being written */
	struct domain *live;   /* NULL: it is inactive */
	char *failed_disk;     /* whose failure has stopped it, or NULL */
	bool failed_space;     /* for want of space */
	char *cgroup;          /* of the running one, once it is known */
	char *unrestrained;    /* why the running one is not held to its limits, or NULL */
	bool limiting;         /* they are being changed */
	char *left_out;        /* what this start left out of the definition, or NULL */
	bool autostart;
	struct launch_authority *definer;   /* of the config; NULL: lodged's own authority */
	struct launch_authority *marked_by; /* who wanted that; NULL: lodged's own authority */
	struct launch_authority *starter;   /* the same for the start that is under way */
	int id;                             /* -1: it is inactive */
	int state, reason;                  /* VIR_DOMAIN_* */
	bool starting, stopping;
	bool tainted; /* a client has given its monitor commands by hand */
	const struct driver *driver;
	void *run;               /* the driver's */
	struct console *console; /* of a client, or NULL */
	u64 console_start; /* where in its console log its output begins; 0: that is not known */
	GPtrArray *files, *start_files; /* files.h: its groups, and those of the start; or NULL */
	struct rpc_client *owner;       /* with whose connection it ends, or NULL; only compared */
	GQueue start_waiters, stop_waiters;
};

/* Why a guest is no more. */
enum guest_ending { ENDED_SHUTDOWN, ENDED_DESTROYED, ENDED_CRASHED, ENDED_FAILED };

/* --- guests.c: all of them --- */

struct guests *guests_new(struct daemon *daemon);
/* Reads the state directories; what is wrong in them is logged and left alone. */
void guests_load(struct guests *guests);
/* Starts those that are marked, once in the host's uptime. */
void guests_autostart(struct guests *guests);
void guests_free(struct guests *guests);

struct guest *guests_find_uuid(const struct guests *guests, const u8 uuid[UUID_BYTES]);
struct guest *guests_find_name(const struct guests *guests, const char *name);
struct guest *guests_find_id(const struct guests *guests, int id);
/* All of them, by name; the caller unrefs the array. */
GPtrArray *guests_all(const struct guests *guests);
unsigned guests_count(const struct guests *guests);
int guests_next_id(struct guests *guests);
void guests_add(struct guests *guests, struct guest *guest);
void guests_remove(struct guests *guests, struct guest *guest);
/* Takes over @name, which no other has. */
void guests_rename(struct guests *guests, struct guest *guest, char *name);

/* --- define.c: definitions --- */

/* Reads and completes XML of a client. */
struct domain *define_read(const char *xml, GError **error);
/* Gives a guest, which may be new, the definition @domain, which it takes over, in the name of @by,
 * which is copied (guest_start()). NULL with @error
 * set when that cannot be; else @done follows, when it is kept or not. */
struct guest *define_guest(struct daemon *daemon, struct domain *domain,
			   const struct launch_authority *by, guest_done *done, void *opaque,
			   GError **error);
/* A guest to be started at once as @domain, which it takes over; it need have no definition, and if
 * it has one, keeps it. */
struct guest *define_transient(struct daemon *daemon, struct domain *domain, GError **error);
/* A guest of define_transient() that cannot be started. */
void define_give_up(struct guest *guest);
/* A copy of a definition that may be changed through its tree, and then made a definition again:
 * NULL with @error set if it is none any more. The caller, or define_guest(), frees it. */
struct domain *define_copy(const struct domain *domain, GError **error);
struct domain *define_again(struct domain *changed, GError **error);
/* The same of a copy of what runs: what its devices are called stays. */
struct domain *define_live_again(struct domain *changed, GError **error);
/* In whose name a part of its definition is changed by @by: whoever of both may less. */
const struct launch_authority *define_whose(const struct guest *guest,
					    const struct launch_authority *by);
/* Gives an inactive guest another name; like define_guest(). */
bool define_rename(struct guest *guest, const char *name, const struct launch_authority *by,
		   guest_done *done, void *opaque, GError **error);
/* What is kept of a definition, and back: NULL with @error set, it is none. The caller frees all.
 */
char *definition_write(const char *text, const struct launch_authority *definer);
struct domain *definition_read(const char *path, struct launch_authority **definer, GError **error);
bool undefine_guest(struct guest *guest, guest_done *done, void *opaque, GError **error);
/* It starts with @by's authority, which is copied. */
void define_autostart(struct guest *guest, bool autostart, const struct launch_authority *by,
		      guest_done *done, void *opaque);

/* --- guest.c: one --- */

struct guest *guest_new(struct daemon *daemon, const struct domain *domain);
struct guest *guest_ref(struct guest *guest);
void guest_unref(struct guest *guest);
bool guest_is_active(const struct guest *guest);
/* What runs, or what is defined. */
const struct domain *guest_domain(const struct guest *guest);
/* Writes the uuid of @text; it is one, by its domain. */
void guest_parse_uuid(const char *text, u8 uuid[UUID_BYTES]);

/* Files are opened as who defined it, which cannot be more than the definer may: another user's
 * guest is no way to root's files. What root defined, and what is started without a definition, has
 * @authority, which is copied. @done, which may be NULL, is called when it runs or cannot. False
 * with @error set, and no call: it cannot even be tried. */
bool guest_start(struct guest *guest, const struct launch_authority *authority, bool paused,
		 guest_done *done, void *opaque, GError **error);
bool guest_stop(struct guest *guest, bool graceful, guest_done *done, void *opaque, GError **error);
/* Has it give back memory, down to @kib, or take it again. */
bool guest_set_memory(struct guest *guest, u64 kib, guest_done *done, void *opaque, GError **error);
bool guest_command(struct guest *guest, enum guest_command command, guest_done *done, void *opaque,
		   GError **error);
bool guest_press(struct guest *guest, const u8 *keys, unsigned count, u32 hold_ms, guest_done *done,
		 void *opaque, GError **error);
bool guest_set_link(struct guest *guest, const char *alias, bool up, guest_done *done, void *opaque,
		    GError **error);

/* What drivers tell. */
void guest_started(struct guest *guest, bool paused);
void guest_start_failed(struct guest *guest, const GError *error);
void guest_ended(struct guest *guest, enum guest_ending ending);
void guest_stop_failed(struct guest *guest, const GError *error);
void guest_paused(struct guest *guest, int reason);
void guest_resumed(struct guest *guest);
void guest_rebooted(struct guest *guest);
/* It powers off by itself, or was told to. */
void guest_shutting_down(struct guest *guest, bool by_guest);
void guest_crashed(struct guest *guest);
/* The disk with that target has failed, and it will stand still. */
void guest_disk_failed(struct guest *guest, const char *target, bool space);
void guest_watchdog(struct guest *guest, const char *action);
/* What its balloon leaves it. */
void guest_balloon(struct guest *guest, u64 kib);

/* --- running.c: the records of what runs --- */

/* Where the record of a guest is, each start having its own; the caller frees it. */
char *running_path(const struct guest *guest);
/* The record of a guest that is about to run as @live. */
char *running_text(int id, const struct domain *live);
/* What runs by the record, and its number; NULL with @error set when it is none. */
struct domain *running_read(const char *path, int *id, GError **error);

/* --- events.c --- */

/* A client has come, or gone. */
void events_join(struct rpc_client *client);
void events_lifecycle(struct guest *guest, int event, int detail);
void events_reboot(struct guest *guest);
void events_balloon(struct guest *guest, u64 kib);
/* VIR_DOMAIN_EVENT_WATCHDOG_*. */
void events_watchdog(struct guest *guest, int action);
/* A disk has failed, for want of space or otherwise; VIR_DOMAIN_EVENT_IO_ERROR_*. */
void events_io_error(struct guest *guest, const struct domain_disk *disk, int action, bool space);
/* Its monitor has told something; @data may be NULL. */
void events_monitor(struct guest *guest, const char *name, const struct json_t *data);
/* Something was noted in it, VIR_DOMAIN_METADATA_*; @uri may be NULL. */
void events_metadata(struct guest *guest, int type, const char *uri);

#endif
