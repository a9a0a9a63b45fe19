/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One machine: everything hangs off struct vm.
 *
 *   vm_new -> devices created and realized -> vm_set_boot -> vm_start
 *   control thread: vm_wait_request / vm_pause / vm_resume / vm_reset ... vm_free
 *
 * The control thread is the one that made the machine; it alone starts, stops and resets it. Any
 * other thread (a vCPU that hits the reset port, the monitor) asks through vm_request().
 *
 * States:   CREATED --start--> RUNNING <--pause/resume--> PAUSED
 *           reset works in every state and keeps it.
 *
 * When the host cannot provide guest memory, the thread that touched it waits (fault.h), the
 * machine is PAUSED and starving: processors stand, but a thread may be in the middle of an access,
 * so nothing is saved or reset; a reset that is asked for waits. Resuming has the access tried
 * again.
 */
#ifndef LODGE_MACHINE_VM_H
#define LODGE_MACHINE_VM_H

#include "base/types.h"
#include "machine/backing.h"
#include "machine/clock.h"
#include "machine/device.h"
#include "machine/irq.h"
#include "machine/memory.h"
#include "machine/region.h"
#include "machine/vcpu.h"
#include <glib.h>
#include <pthread.h>

struct accel;
struct accel_vm;
struct pci_bus;

/* Error codes in this domain are errno values. */
#define VM_ERROR vm_error_quark()
GQuark vm_error_quark(void);

#define VM_VCPUS_MAX 255
#define VM_KEYS_MAX  16            /* pressed at once */
#define LAPIC_HZ     1000000000ull /* input of the local APIC timers */

enum vm_state { VM_CREATED, VM_RUNNING, VM_PAUSED };

/* What the outside or the guest asks of the control thread. */
enum vm_request {
	VM_REQUEST_RESET,     /* reset port, keyboard controller, ...; value: enum vm_reset */
	VM_REQUEST_POWEROFF,  /* ACPI S5 */
	VM_REQUEST_CRASH,     /* value: enum vm_crash */
	VM_REQUEST_EXIT,      /* isa-debug-exit; value: its status */
	VM_REQUEST_ERROR,     /* the engine failed */
	VM_REQUEST_QUIT,      /* monitor, signals */
	VM_REQUEST_POWERDOWN, /* press the power button */
	VM_REQUEST_REBOOT,    /* the same, and start over when the guest powers off */
	VM_REQUEST_STARVED,   /* the host has no memory for the guest: vm_starve() */
	VM_REQUEST_IO_ERROR,  /* the host failed a disk, whose request waits: vm_io_error() */
	VM_REQUEST_ENGINE,    /* move to the other engine; value: enum vm_engine */
	VM_REQUEST_PAUSE,
	VM_REQUEST_RESUME,
	VM_REQUEST_CRASH_LOADED, /* the guest panicked and saves its memory by itself */
	VM_REQUEST_WATCHDOG,     /* a watchdog has bitten */
	VM_REQUEST_TIMEOUT,      /* vm_wait_request() waited long enough */
};

enum vm_reset { VM_RESET_GUEST, VM_RESET_HOST };
enum vm_crash { VM_CRASH_TRIPLE_FAULT, VM_CRASH_PANIC };

/* A disk that the host failed. */
struct vm_io_error {
	char *disk; /* its name; NULL: there was no error */
	int err;    /* an errno value */
	bool write;
};

struct vm_config {
	const char *name; /* copied */
	u8 uuid[16];      /* in the order it is written */
	const struct accel *accel;
	/* One that the machine can be moved to while it runs: engine.h. NULL: none. One of the two
	 * is KVM. */
	const struct accel *other;
	bool tsc_stable; /* see struct accel_config */
	u64 memory_bytes;
	struct memory_backing backing; /* of memory */
	unsigned vcpus, sockets, cores, threads;
	bool step, check_blocks, dirty_bitmaps;
	bool save_code, saved_code_checked;
	u64 code_cache_bytes;
	/* of struct accel_config, all of these */
	int saved_code, perf_map, jitdump, guest_symbols, kvm_fd;
	const char *const *features_off, *const *features_required;
	const struct memory_limits *limits; /* NULL: none; outlives the machine */
	bool manual_clock;                  /* tests */
	bool rtc_localtime;                 /* the real-time clock shows local time */
};

struct vm {
	char *name;
	u8 uuid[16];
	const char *machine; /* the board's name; NULL: it has none */
	const struct accel *accel;
	struct accel_vm *accel_vm;
	struct engine *other; /* where it can be moved to, or NULL */
	struct guest_memory memory;
	struct region_map pio, mmio;
	struct vm_clock clock;
	struct irq_router irq;
	struct vcpu *vcpus[VM_VCPUS_MAX];
	unsigned vcpu_count;
	GPtrArray *devices;                  /* struct device *, in order of creation */
	struct pci_bus *pci;                 /* the root bus, set by the host bridge */
	void (*power_button)(struct vm *vm); /* set by the power-management device */
	struct device *power_device;
	struct { /* set by the balloon device */
		struct device *device;
		void (*set_target)(struct vm *vm, u64 bytes); /* of memory the guest should use */
		u64 (*get_actual)(struct vm *vm);
	} balloon;
	struct { /* set by the keyboard's controller */
		struct device *device;
		/* Presses keys, by Linux's numbers (base/keycodes.h has them all), in this order,
		 * and lets them go after @hold_ms, 0: 100. Why it cannot be, or NULL. */
		const char *(*press)(struct vm *vm, const u8 *keys, unsigned count,
				     unsigned hold_ms);
	} keyboard;

	/* Called at every reset after the devices', to put the guest's first instruction in place
	 * (boot/). May be NULL: the processors start at the reset vector. */
	int (*boot)(struct vm *vm, void *opaque, GError **error);
	void *boot_opaque;

	pthread_mutex_t run_lock; /* vCPU parking and the fields below */
	pthread_cond_t run_changed;
	enum vm_state state;
	unsigned requests; /* BIT(enum vm_request) */
	int exit_value, reset_value, crash_value;
	unsigned moves;           /* to another engine that were tried */
	const char *pause_reason; /* a static text, NULL: it was asked for */
	bool needs_reset;         /* its processors cannot go on, */
	bool reset_asked;         /* ... but will: the reset is on its way */
	unsigned starved;         /* threads that wait for guest memory */
	const char *starved_why;  /* a static text */
	unsigned memory_tries;    /* counted up when they shall try again */
	bool ending;              /* they shall not wait any more */
	struct vm_io_error io_error;
	bool starving;   /* paused because of them */
	bool quiescing;  /* the control thread waits for devices */
	bool quiesced;   /* control thread only */
	bool tsc_stands; /* the host's counter is taken to be stopped_tsc */
	u64 stopped_tsc;
	pthread_t control;
	bool rtc_localtime;
};

/* Makes a machine with memory, clock and processors, but no devices. NULL with @error set. */
struct vm *vm_new(const struct vm_config *config, GError **error);
void vm_free(struct vm *vm); /* ends its threads first */

/* Control thread only. */
int vm_start(struct vm *vm, bool paused, GError **error); /* resets, then runs unless @paused */
void vm_pause(struct vm *vm);                             /* returns when nothing moves any more */
/* The same for @reason (a static text, QMP's word for the state); with @needs_reset only a reset
 * makes it run again. */
void vm_pause_for(struct vm *vm, const char *reason, bool needs_reset);
void vm_resume(struct vm *vm);
void vm_nmi(struct vm *vm); /* to all processors */
/* 0; -EAGAIN: the machine starves, and the request has been put off until it is resumed. */
int vm_reset(struct vm *vm, GError **error);
void vm_starve(struct vm *vm); /* after VM_REQUEST_STARVED: pauses */
/* Blocks for up to @timeout_ms (-1: for ever) and returns the most urgent request. */
enum vm_request vm_wait_request(struct vm *vm, int timeout_ms, int *value);

/* Any thread. A request that ends or restarts the guest stops its processors at once. */
void vm_request(struct vm *vm, enum vm_request request, int value);
enum vm_state vm_state_get(struct vm *vm);
/* Waits up to @timeout_ms for the control thread to bring about @state; false: it has not. */
bool vm_wait_state(struct vm *vm, enum vm_state state, int timeout_ms);

/* What vm_pause_for() said; NULL: nothing. Any thread. */
const char *vm_pause_reason(struct vm *vm);
bool vm_needs_reset(struct vm *vm); /* and none has been asked for */
/* Why the machine starves (a static text), NULL: it does not. */
const char *vm_starving(struct vm *vm);

/* Any thread: a device keeps a request on @disk that failed with @err, until the machine is resumed
 * and it tries again. */
void vm_io_failed(struct vm *vm, const char *disk, int err, bool write);
/* The last such error since the last call; @disk is the caller's to free. */
struct vm_io_error vm_io_error(struct vm *vm);

enum vm_memory { VM_MEMORY_RETRY, VM_MEMORY_ENDS, VM_MEMORY_FATAL };
/* Any thread, for fault.c: waits until the touch should be tried again, or the machine ends and the
 * thread must only get on. FATAL: this is the control thread, which nobody could continue. */
enum vm_memory vm_wait_for_memory(struct vm *vm, const char *why);

/* Devices: can a processor's write count in an eventfd, whatever engine the guest goes on under? */
bool vm_has_doorbells(const struct vm *vm);
/* Any thread: a write at @gpa does so from now on or, with the same words, no longer: accel.h. */
int vm_doorbell(struct vm *vm, gpa_t gpa, int fd, bool on);
u64 vm_tsc_hz(struct vm *vm); /* of the guest's time-stamp counters */

#endif
