/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stands between a guest as an object and whatever runs it. A driver never waits: what takes
 * time is answered by the functions of guest.h, on the main loop.
 */
#ifndef LODGE_DAEMON_DRIVER_H
#define LODGE_DAEMON_DRIVER_H

#include "base/types.h"

#include <glib.h>
#include <sys/types.h>

struct guest;
struct domain;
struct number_set;
struct json_t;

enum guest_command {
	COMMAND_SUSPEND,
	COMMAND_RESUME,
	COMMAND_SHUTDOWN, /* press the power button */
	COMMAND_REBOOT,   /* press it, and start over when the guest powers off */
	COMMAND_RESET,
	COMMAND_NMI, /* as by the button of that name; what it does is the kernel's affair */
};

struct statistics;

struct guest_statistics {
	u64 cpu_ns, user_ns, system_ns;
	u64 rss_kib;
};

struct guest_vcpu {
	bool known;
	u64 cpu_ns;
	u64 wait_ns;  /* that it was ready and had no processor of the host */
	int host_cpu; /* where it runs, or ran last */
};

typedef void guest_done(struct guest *guest, const GError *error, void *opaque);

/* @reply is what a monitor answered, as text of JSON. */
typedef void guest_passed(struct guest *guest, const char *reply, const GError *error,
			  void *opaque);

struct driver {
	const char *name;
	/* Starts the guest's live domain; guest_started() or guest_start_failed() follows. */
	void (*start)(struct guest *guest, bool paused);
	/* Takes over a guest that an earlier process has started; false: it does not run. */
	bool (*adopt)(struct guest *guest);
	/* Ends it; guest_ended() follows, unless it is @graceful and the guest will not. */
	void (*stop)(struct guest *guest, bool graceful);
	void (*command)(struct guest *guest, enum guest_command command, guest_done *done,
			void *opaque);
	/* Has its balloon leave it that much; guest_balloon() tells what it comes to. */
	void (*balloon)(struct guest *guest, u64 kib, guest_done *done, void *opaque);
	/* Presses keys, by Linux's numbers, and lets them go after @hold_ms, or as long as keys are
	 * pressed where nobody says: 0. */
	void (*press)(struct guest *guest, const u8 *keys, unsigned count, u32 hold_ms,
		      guest_done *done, void *opaque);
	/* Plugs the card of its live domain that has this alias in, or unplugs it. */
	void (*set_link)(struct guest *guest, const char *alias, bool up, guest_done *done,
			 void *opaque);
	/* Has a client's own command run by its monitor. */
	void (*pass)(struct guest *guest, const struct json_t *command, guest_passed *done,
		     void *opaque);
	/* 0: it has none. */
	pid_t (*process)(const struct guest *guest);
	/* From the host's books. */
	bool (*statistics)(const struct guest *guest, struct guest_statistics *statistics);
	/* The same for one processor; @map, of that many bytes, gets the host's on which it may
	 * run.
	 */
	bool (*vcpu)(const struct guest *guest, unsigned number, struct guest_vcpu *vcpu, u8 *map,
		     size_t map_bytes);
	/* Where thread @vcpu of a processor may run, or, with -1, all its others. */
	void (*affinity)(const struct guest *guest, int vcpu, u8 *map, size_t map_bytes);
	/* ... and may from now on; false with errno set. */
	bool (*pin)(const struct guest *guest, int vcpu, const struct number_set *cpus);
	/* What it publishes, with as many disks and cards as its live domain has; the caller clears
	 * it. */
	bool (*counters)(const struct guest *guest, struct statistics *counters);
	/* lodged ends; the guest does not. */
	void (*leave)(struct guest *guest);
};

extern const struct driver driver_lodge;
/* The threads that open what guests need and spawn them. */
GThreadPool *driver_lodge_threads(void);

#endif
