/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodged: keeps guests' definitions, starts and watches guests, serves libvirt's clients.
 *
 *   clients --src/rpc--> calls_*.c --> guest.c (objects, states) --struct driver--> driver_lodge.c
 *                           ^               |     |                                     |
 *                           '--events.c-----'     '--> store.c (files)      src/launch, monitor.c
 *
 * Everything but the store's thread and the launching ones runs on the main loop, which waits for
 * no guest and no disk: a call that needs one is answered when that is there.
 *
 * What is where below the root (--root), or in the system's or the user's places:
 *
 *   state/journal              changes of files in state/, until these last (journal.h)
 *   state/domains/UUID.xml     a definition, as it was completed when it was defined
 *   state/autostart/UUID       its guest starts when the host does
 *   state/running/UUID         the intent to run a guest, written before its process exists, with
 *                              its live XML; gone when it has ended
 *   state/networks/            the same for networks (kept.h)
 *   state/pools/               ... and for storage pools
 *   state/secrets/             ... and for secrets (secrets.h)
 *   run/pools/UUID.xml         a storage pool that is active
 *   run/guests/NAME/           what src/launch makes: the lock that says whether it runs, sockets
 *   run/lodged-sock, -ro       where clients come
 *   log/NAME.log, lodged.log
 *
 * A lodged that starts reads all of it: a guest with a locked lock runs on and is taken over, one
 * without has ended meanwhile.
 */
#ifndef LODGE_DAEMON_DAEMON_H
#define LODGE_DAEMON_DAEMON_H

#include "base/types.h"
#include "rpc/server.h"

#include <glib.h>

enum places_kind { PLACES_ROOT, PLACES_SYSTEM, PLACES_SESSION };

struct places {
	enum places_kind kind;
	char *state, *domains, *autostart, *running, *networks, *pools, *secrets;
	char *run, *guests, *pools_active, *log, *cache;
	char *socket, *socket_ro; /* the latter NULL where there is none */
};

struct daemon {
	struct places places;
	struct activation *activation;   /* of a service manager */
	const char *vmm_path;            /* another lodge-vmm, or NULL */
	const char *engine, *kvm_absent; /* as launch_options has them; or NULL */
	bool movable;
	s64 group;   /* whose members may have guests as root has; -1: nobody's */
	s64 trusted; /* who may do what root may; -1: nobody else */
	int socket_mode, socket_ro_mode; /* of those that it binds; -1: as usual */
	GMainLoop *loop;
	struct rpc_server *server;
	struct rpc_credentials *credentials; /* with --listen-tls */
	struct store *store;
	struct guests *guests;
	struct keeper *networks, *pools, *secrets;
	struct restraint *restraint;
	struct formats *formats;
	GThreadPool *storage;                 /* of pools.c: what asks disks */
	GPtrArray *clients;                   /* struct rpc_client, while they are connected */
	GThreadPool *starters;                /* of driver_lodge: what opens and spawns */
	struct processor *processor;          /* this host's, once it was asked for (cpu.h) */
	int lock_fd, socket_fd, socket_ro_fd; /* the latter two: rpc_server's, once it listens */
	bool handed_over;                     /* the sockets are the service manager's */
	unsigned patience_seconds;            /* with guests, when the host goes down */
	bool going_down;                      /* it does */
	bool asked_to_end;                    /* by a signal */
};

#define DAEMON_ERROR daemon_error_quark()
/* The code is one of VIR_ERR_*. */
GQuark daemon_error_quark(void);

/* --- places.c --- */
/* Finds and makes the directories; @root is of PLACES_ROOT. */
bool places_open(struct places *places, enum places_kind kind, const char *root, GError **error);
void places_close(struct places *places);

/* --- sockets.c --- */
/* Makes sure that no other lodged has these places, and no other daemon the sockets. */
bool sockets_claim(struct daemon *daemon, GError **error);
/* Starts to listen. */
bool sockets_listen(struct daemon *daemon, GError **error);
void sockets_close(struct daemon *daemon);

/* --- error.c --- */
/* Answers @call with @error, which it frees. */
void fail_call(struct rpc_call *call, GError *error);
/* Sets @error to one of libvirt's codes (VIR_ERR_*) with that text; false. */
bool daemon_refuse(GError **error, int code, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

/* --- absent.c --- */
/* What a call that is not served would need, as a phrase; NULL: see its name. */
const char *absent_text(const char *procedure);

/* --- capabilities.c --- */
/* The caller frees them; @domain_type etc. are what was asked for, or NULL. */
char *capabilities_xml(struct daemon *daemon);
char *domain_capabilities_xml(struct daemon *daemon, const char *arch, const char *machine,
			      const char *domain_type, const char *emulator, GError **error);

/* --- calls_*.c: what clients may call; one table a file --- */
extern const struct rpc_handlers calls_connect, calls_node, calls_lookup, calls_define, calls_life,
	calls_read, calls_event, calls_console, calls_metadata, calls_network, calls_pool,
	calls_volume, calls_transfer, calls_host, calls_none, calls_stats, calls_secret, calls_tune,
	calls_files, calls_monitor, calls_cpu, calls_pin, calls_limit, calls_nodedev, calls_device;

#endif
