/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plan: what the launcher wants built, parsed strictly (docs/plan.md). Members that are not
 * known, missing or of the wrong type are refused by name.
 */
#ifndef LODGE_VMM_PLAN_H
#define LODGE_VMM_PLAN_H

#include "base/log.h"
#include "base/types.h"
#include "machine/backing.h"
#include <glib.h>
#include <jansson.h>

#define PLAN_BYTES_MAX (4 * MIB)
#define PLAN_ITEMS_MAX 256 /* backends, devices */

struct plan_backend {
	const char *id, *kind, *driver, *cache;
	int fd, fd_in, fd_out;
	int log_fd, log_old_fd;
	u64 log_bytes;
	bool readonly, discard;
};

/* Strings belong to @root. Descriptors that are absent are -1. */
struct plan {
	json_t *root;
	const char *name, *uuid, *machine;
	const char *engine, *engine_why;
	int kvm_fd;   /* /dev/kvm, for the engine kvm */
	bool movable; /* to the other engine, and back */
	bool tsc_stable;
	u64 memory_bytes;
	struct memory_backing memory;
	u64 vcpus, sockets, cores, threads;
	struct number_set *pins;  /* of each vCPU; an empty one: anywhere. NULL: none has any */
	struct number_set others; /* of all other threads */
	const char **features_off, **features_required; /* NULL-terminated */
	u64 code_cache_bytes;                           /* 0: the default */
	bool cpu_step, cpu_check_blocks, cpu_stats;
	int perf_map_fd, jitdump_fd, guest_symbols_fd;
	bool code_checked;
	int code_from_fd, code_to_fd; /* saved translations: the old ones, the new ones */
	const char *clock_offset;
	const char *on_poweroff, *on_reboot, *on_crash, *on_watchdog;
	int kernel_fd, initrd_fd;
	const char *kernel_name; /* for messages, or NULL */
	const char *cmdline;
	bool classic, kaslr;
	bool paused; /* the guest waits for "cont" */
	struct plan_backend *backends;
	unsigned backend_count;
	json_t **devices; /* objects; "type" and "id" are there and are strings */
	unsigned device_count;
	int monitor_fd, log_fd, statistics_fd;
	enum log_level log_level;
};

/* Pure function over the text, for tests and fuzzing. NULL with @error set. */
struct plan *plan_parse(const char *text, size_t bytes, GError **error);
struct plan *plan_read(int fd, GError **error);
void plan_free(struct plan *plan);

#define PLAN_ERROR plan_error_quark()
GQuark plan_error_quark(void); /* codes are errno values */

#endif
