/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The KVM engine's insides, shared by its files:
 *
 *   kvm.c        the accelerator table, the VM, interrupts
 *   kvm_run.c    one processor running: exits, kicks, injection
 *   kvm_state.c  registers and local APIC, from and to the neutral structures
 *   kvm_time.c   time-stamp counters and kvm-clock, while the machine runs and while it stands
 *   kvm_dirty.c  which pages are written
 *   kvm_report.c what is known of a processor that ends badly
 *   kvm_cpuid.c  the guest's CPUID contract, cut to what KVM can do
 *
 * The interrupt chip is split: local APICs are KVM's, I/O APIC, PIC and PIT are ours. Everything
 * that KVM can be asked for and is, is listed in docs/kvm.md.
 */
#ifndef LODGE_ACCEL_KVM_H
#define LODGE_ACCEL_KVM_H

#include "accel/accel.h"
#include <linux/kvm.h>
#include <pthread.h>
#include <sys/types.h>

#define KVM_IOAPIC_PINS 24
#define KVM_MSRS_MAX    112
#define KVM_SLOTS       3

enum kvm_counter {
	COUNT_PIO,
	COUNT_MMIO,
	COUNT_EOI,
	COUNT_WINDOW, /* the PIC could interrupt */
	COUNT_MSR,
	COUNT_KICK, /* somebody wanted its attention */
	COUNT_OTHER,
	COUNT_COUNT
};

/* The bits of struct kvm_lapic_state and an MSR that stand with the machine. */
struct kvm_stood_timer {
	u64 deadline;
	u32 current; /* count */
};

/* An exit, for kvm_report.c. */
#define KVM_LAST 16
struct kvm_last {
	u64 ticks; /* of the host's counter */
	u64 where; /* port, address, MSR, vector */
	u32 reason;
	u8 size; /* of an access; 0: none */
	bool write;
};

struct kvm_cpu {
	struct kvm_machine *vm;
	unsigned index;
	int fd;
	struct kvm_run *run;
	u32 requests;    /* enum accel_event; any thread */
	u32 in_run;      /* KVM_RUN is called or about to be; any thread reads */
	pid_t tid;       /* of the thread in it */
	bool unfinished; /* the last exit's access is only complete after another KVM_RUN */
	struct kvm_stood_timer stood;
	struct kvm_dirty_gfn *ring; /* NULL: there is none */
	unsigned ring_next;         /* entry to look at; under vm->dirty_lock */
	u64 counts[COUNT_COUNT];
	struct kvm_last last[KVM_LAST];
	u64 last_count;
};

struct kvm_machine {
	int fd;  /* the VM */
	int kvm; /* /dev/kvm; the plan's */
	struct accel_config config;
	size_t run_bytes; /* of struct kvm_run with what follows it */
	struct kvm_cpu **cpus;
	struct kvm_cpuid2 *cpuid; /* but for what differs between processors */
	GPtrArray *lacks;         /* names of features; NULL-terminated once there is a vCPU */
	u32 msrs[KVM_MSRS_MAX];   /* those of kvm_state.c's table that this KVM has */
	unsigned msr_count;

	u64 tsc_hz;
	u64 tsc_base;        /* host TSC at which the guest's reads 0 */
	bool has_tsc_offset; /* as an attribute of the vCPU */
	bool stands;         /* the machine does */
	u64 stood_clock;     /* kvm-clock, while it does */

	struct kvm_userspace_memory_region slots[KVM_SLOTS];
	bool dirty_rings;           /* else the log of written pages comes as bitmaps */
	pthread_mutex_t dirty_lock; /* for what follows, and the rings */
	u64 *dirty[KVM_SLOTS];      /* what was written, while that is asked for */

	bool reported; /* kvm_report() has */

	pthread_mutex_t routes_lock;
	u32 routed; /* pins that have a level-triggered message */
	struct kvm_irq_routing_msi routes[KVM_IOAPIC_PINS];
};

/* ioctl() that is not interrupted: its result or -errno. */
int kvm_call(int fd, unsigned long request, const void *argument);
/* The number that KVM_CHECK_EXTENSION tells; 0: it lacks it. */
int kvm_has(const struct kvm_machine *vm, unsigned long capability);

/* --- kvm_run.c --- */

void kvm_install_kick(void);
enum accel_exit kvm_run(struct accel_vcpu *vcpu);
void kvm_raise(struct accel_vcpu *vcpu, unsigned events);
void kvm_clear(struct accel_vcpu *vcpu, unsigned events);
bool kvm_has_work(struct accel_vcpu *vcpu);
void kvm_counters(struct accel_vm *vm, int vcpu, accel_counter_fn *visit, void *opaque);

/* --- kvm_state.c --- */

void kvm_find_msrs(struct kvm_machine *vm, struct kvm_cpu *cpu);
void kvm_reset(struct accel_vcpu *vcpu, bool init);
void kvm_get_state(struct accel_vcpu *vcpu, struct x86_state *state);
int kvm_set_state(struct accel_vcpu *vcpu, const struct x86_state *state);
void kvm_get_lapic(struct accel_vcpu *vcpu, struct x86_lapic *lapic);
int kvm_set_lapic(struct accel_vcpu *vcpu, const struct x86_lapic *lapic);
u64 kvm_get_msr(struct kvm_cpu *cpu, u32 msr); /* 0 if it has none */
int kvm_set_msr(struct kvm_cpu *cpu, u32 msr, u64 value);

/* --- kvm_time.c --- */

u64 kvm_tsc_hz(struct accel_vm *vm);
s64 kvm_tsc_offset(struct accel_vcpu *vcpu);
void kvm_set_tsc_offset(struct accel_vcpu *vcpu, s64 offset);
void kvm_time_stands(struct accel_vm *vm);
void kvm_tsc_skip(struct accel_vm *vm, u64 ticks);
u64 kvm_clock(struct accel_vm *vm, u64 host_tsc);
void kvm_set_clock(struct accel_vm *vm, u64 ns, u64 host_tsc);

/* --- kvm_dirty.c --- */

void kvm_dirty_init(struct kvm_machine *vm);
void kvm_dirty_destroy(struct kvm_machine *vm);
int kvm_dirty_map_ring(struct kvm_cpu *cpu);
void kvm_dirty_unmap_ring(struct kvm_cpu *cpu);
void kvm_dirty_ring_full(struct kvm_machine *vm);
int kvm_dirty_start(struct accel_vm *accel_vm);
void kvm_dirty_stop(struct accel_vm *accel_vm);
int kvm_dirty_collect(struct accel_vm *accel_vm, unsigned slot, u64 *pages);

/* --- kvm_report.c --- */

void kvm_note_exit(struct kvm_cpu *cpu);
/* On the thread that runs it. Writes to the log, once in a machine's life. */
void kvm_report(struct kvm_cpu *cpu);

/* --- kvm_cpuid.c --- */

/* The contract for all processors; g_free() it. */
struct kvm_cpuid2 *kvm_cpuid_new(struct kvm_machine *vm, GError **error);
const char *const *kvm_cpuid_lacks(struct accel_vm *vm);
int kvm_cpuid_set(struct kvm_cpu *cpu);

#endif
