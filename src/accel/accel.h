/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How virtual CPUs run: one table of functions per engine, shaped like KVM's own interface.
 *
 *   machine --(struct accel)--> kvm.c or soft.c
 *   machine <--(struct accel_bus)-- accesses that are not RAM, interrupt acknowledge
 *
 * The bus functions are called on the thread of the vCPU that made the access, inside
 * accel->run(). No lock of the caller's may be held while calling run().
 */
#ifndef LODGE_ACCEL_ACCEL_H
#define LODGE_ACCEL_ACCEL_H

#include "base/types.h"
#include "cpu/arch.h"
#include <glib.h>

struct accel_vm;
struct accel_vcpu;

/* Same contracts as struct cpu_bus in cpu/cpu.h. */
struct accel_bus {
	void *opaque;
	void (*mmio)(void *opaque, unsigned vcpu, gpa_t gpa, u64 *data, unsigned size, bool write);
	void (*pio)(void *opaque, unsigned vcpu, u16 port, u32 *data, unsigned size, bool write);
	bool (*msr)(void *opaque, unsigned vcpu, u32 msr, u64 *data, bool write);
	int (*interrupt_ack)(void *opaque, unsigned vcpu);
	u64 (*cr8)(void *opaque, unsigned vcpu, u64 value, bool write);
	/* Engines with local APICs of their own: one ended an interrupt of level_pin()'s vector. */
	void (*eoi)(void *opaque, u8 vector);
};

struct accel_config {
	unsigned vcpus, sockets, cores, threads;
	u64 code_cache_bytes;    /* of the software CPU; 0: its default */
	bool step, check_blocks; /* debug switches of the software CPU */
	bool save_code;          /* save_code() will be called */
	bool saved_code_checked; /* see struct cpu_vm_config */
	int saved_code;          /* descriptor of what it wrote before; 0: none */
	int perf_map;            /* descriptor for perf's map of its code; 0: none */
	int jitdump;             /* descriptor for perf of the code itself; 0: none */
	int guest_symbols;       /* ... and of the kernel's symbols for it; 0: none */
	int kvm_fd;              /* descriptor of /dev/kvm; 0: none */
	bool movable;            /* the guest may go on under another engine */
	bool dirty_bitmaps;      /* debug switch: KVM tells written pages so, not by rings */
	bool tsc_stable;         /* the host's kernel keeps time by its TSC */
	u64 tsc_hz;              /* of the guest's counters; 0: the engine's choice */
	const char *const *features_off; /* NULL-terminated CPUID flag names to hide, or NULL */
	const char *const *features_required; /* ... and without which nothing is made */
	struct accel_bus bus;
};

enum accel_exit { ACCEL_EXIT_STOPPED, ACCEL_EXIT_HALTED, ACCEL_EXIT_SHUTDOWN, ACCEL_EXIT_ERROR };

enum accel_event {
	ACCEL_EVENT_INTR = 1 << 0, /* accel_bus.interrupt_ack may have something */
	ACCEL_EVENT_NMI = 1 << 1,
	ACCEL_EVENT_INIT = 1 << 2,
	ACCEL_EVENT_SIPI = 1 << 3,
	ACCEL_EVENT_STOP = 1 << 4, /* run() returns ACCEL_EXIT_STOPPED until cleared */
};

#define ACCEL_SLOT_READONLY BIT(0)

typedef void accel_counter_fn(void *opaque, const char *group, const char *name, u64 value);

struct accel {
	const char *name;  /* "soft", "kvm" */
	bool has_lapic;    /* the engine emulates the local APICs itself */
	bool walks_memory; /* the host's kernel reaches guest memory for it */
	/* ioctl() requests it makes while the guest runs, 0-terminated; NULL: none. */
	const unsigned long *requests;
	/* Can this host run it? -errno and a reason in @error that names the remedy. */
	int (*probe)(GError **error);
	/* Names, as features_off has them, of what a guest from which nothing is hidden has on this
	 * host; NULL-terminated, constants in an array that the caller frees. NULL: only a guest
	 * would tell. */
	const char **(*features)(void);
	struct accel_vm *(*vm_create)(const struct accel_config *config, GError **error);
	void (*vm_destroy)(struct accel_vm *vm);
	int (*memory_slot)(struct accel_vm *vm, unsigned slot, gpa_t gpa, u64 bytes, void *hva,
			   u32 flags);
	/* Any thread: guest RAM was written by somebody other than a vCPU. */
	void (*memory_written)(struct accel_vm *vm, gpa_t gpa, u64 bytes);
	/* While no vCPU executes: all of guest RAM may have been written. */
	void (*memory_replaced)(struct accel_vm *vm);
	/* Any thread: see cpu_vm_kernel_moved() in cpu/cpu.h. NULL: this engine needs not know. */
	void (*kernel_moved)(struct accel_vm *vm, bool known, u64 by);
	u64 (*tsc_hz)(struct accel_vm *vm);
	/* See cpu_vm_save_code() in cpu/cpu.h. NULL: this engine has nothing to save. */
	s64 (*save_code)(struct accel_vm *vm, int fd);
	/* See cpu_check_saved_code() there. */
	s64 (*check_code)(int from, int to, int (*seal)(GError **error), GError **error);

	struct accel_vcpu *(*vcpu_create)(struct accel_vm *vm, unsigned index, GError **error);
	void (*vcpu_destroy)(struct accel_vcpu *vcpu);
	void (*vcpu_reset)(struct accel_vcpu *vcpu, bool init);
	enum accel_exit (*run)(struct accel_vcpu *vcpu); /* on the vCPU's own thread */
	void (*get_state)(struct accel_vcpu *vcpu,
			  struct x86_state *state); /* only while not running */
	int (*set_state)(struct accel_vcpu *vcpu, const struct x86_state *state);
	/* Any thread. The caller wakes a vCPU thread that sleeps after ACCEL_EXIT_HALTED itself. */
	void (*raise)(struct accel_vcpu *vcpu, unsigned events);
	void (*clear)(struct accel_vcpu *vcpu, unsigned events);
	void (*sipi_vector)(struct accel_vcpu *vcpu, u8 vector);
	bool (*has_work)(struct accel_vcpu *vcpu);
	/* The guest's TSC is the host's plus this. Get: any thread. Set: only while not running; it
	 * is how a machine keeps the counters of all processors together, because set_state() can
	 * only place one at a time. */
	s64 (*tsc_offset)(struct accel_vcpu *vcpu);
	void (*set_tsc_offset)(struct accel_vcpu *vcpu, s64 offset);
	/* While no vCPU executes: the machine stands from now on. NULL: it need not know. */
	void (*time_stands)(struct accel_vm *vm);
	/* While no vCPU executes: the machine stood for @ticks of the host's counter. All of the
	 * guest's counters, and kvm-clock, go on as if they had not passed. */
	void (*tsc_skip)(struct accel_vm *vm, u64 ticks);
	/* Machines that are movable, while they stand at host counter @host_tsc: what kvm-clock
	 * reads, in nanoseconds. */
	u64 (*clock)(struct accel_vm *vm, u64 host_tsc);
	void (*set_clock)(struct accel_vm *vm, u64 ns, u64 host_tsc);
	/* Which pages processors write: machine/dirty.h. Any thread, also while they run; collect
	 * adds a bit for each page of @slot, its first page first. NULL: this engine cannot tell.
	 */
	int (*dirty_start)(struct accel_vm *vm);
	void (*dirty_stop)(struct accel_vm *vm);
	int (*dirty_collect)(struct accel_vm *vm, unsigned slot, u64 *pages);
	/* Any thread: with @on, a processor's write at @gpa, of one width or any, counts in eventfd
	 * @fd and does not come to accel_bus.mmio; other threads see it there. Without, no longer:
	 * with the same words. -errno: it comes as always. NULL: this engine's writes all do. */
	int (*doorbell)(struct accel_vm *vm, gpa_t gpa, int fd, bool on);
	/* Names of CPU features that the domain's contract has and this engine lacks, once there is
	 * a vCPU; NULL-terminated, the engine's. NULL: it has all of them. */
	const char *const *(*lacks)(struct accel_vm *vm);
	/* Any thread: what the engine counted in a vCPU, or, with -1, in what they share: see
	 * cpu_counters() in cpu/cpu.h. NULL: this engine counts nothing. */
	void (*counters)(struct accel_vm *vm, int vcpu, accel_counter_fn *visit, void *opaque);

	/* With has_lapic only. The PIC's output is ACCEL_EVENT_INTR, the board's NMI, which arrives
	 * at LINT1, ACCEL_EVENT_NMI. Registers: only while not running. */
	void (*get_lapic)(struct accel_vcpu *vcpu, struct x86_lapic *lapic);
	int (*set_lapic)(struct accel_vcpu *vcpu, const struct x86_lapic *lapic);
	/* Any thread: a message to local APICs. */
	void (*msi)(struct accel_vm *vm, u64 address, u32 data);
	/* Any thread: pin @pin (0..23) of the I/O APIC sends this level-triggered message from now
	 * on; whoever ends its vector is told of by accel_bus.eoi. */
	void (*level_pin)(struct accel_vm *vm, unsigned pin, u64 address, u32 data);
};

extern const struct accel accel_kvm;  /* kvm.c */
extern const struct accel accel_soft; /* soft.c */

#endif
