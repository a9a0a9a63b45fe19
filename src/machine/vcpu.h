/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual processor's thread: runs the accelerator, sleeps on HLT, parks when the machine stops.
 *
 * Waking is by a futex word. A sleeper announces itself, looks again whether there is work and
 * only then sleeps; whoever raises an event does so first and looks at the announcement after, so
 * no wake-up is lost. A sleeper polls for a short time when its last sleeps were short, because
 * sleeping and waking cost some 100 us on a nested host.
 */
#ifndef LODGE_MACHINE_VCPU_H
#define LODGE_MACHINE_VCPU_H

#include "base/types.h"
#include <glib.h>
#include <pthread.h>

struct accel_vcpu;
struct device;
struct vm;
struct vm_timer;
struct x86_lapic;
struct x86_state;

struct vcpu {
	struct vm *vm;
	unsigned index;
	struct accel_vcpu *accel;
	struct device *lapic;
	struct vm_timer *timer; /* the local APIC's; fired here while the processor halts */
	pthread_t thread;
	bool started;
	bool pause; /* asked to park; under vm->run_lock, read without */
	bool parked;
	bool quit;
	u32 asleep; /* futex word */
	u64 poll_ns;
	u64 halts; /* statistics */
};

struct vcpu *vcpu_new(struct vm *vm, unsigned index, GError **error);
int vcpu_start(struct vcpu *vcpu, GError **error); /* starts its thread, parked */
void vcpu_destroy(struct vcpu *vcpu);              /* ends and joins the thread */

/* Only while the thread is parked: the architectural state. -EINVAL: an impossible one. The time-
 * stamp counter is taken and placed as of host counter @host_tsc: whoever saves or loads several
 * processors gives all of them the same, and they keep their distances. */
void vcpu_get_state(struct vcpu *vcpu, struct x86_state *state, u64 host_tsc);
int vcpu_set_state(struct vcpu *vcpu, const struct x86_state *state, u64 host_tsc);

/* The same for the local APIC, where vm_engine_has_lapics(). */
void vcpu_get_lapic(struct vcpu *vcpu, struct x86_lapic *lapic);
int vcpu_set_lapic(struct vcpu *vcpu, const struct x86_lapic *lapic);

/* The host's time-stamp counter, which stands while the machine is stopped; in machines with a
 * stepped clock it follows that clock. The second: as if the machine ran. */
u64 vm_host_tsc(struct vm *vm);
u64 vm_running_tsc(struct vm *vm);
u64 vcpu_tsc(struct vcpu *vcpu); /* any thread: the guest's, now */

/* Any thread, for its local APIC: an interrupt is deliverable or no longer is, an NMI, INIT, or
 * start-up message arrived. Wakes the thread if it sleeps. */
void vcpu_set_interrupt(struct vcpu *vcpu, bool deliverable);
void vcpu_nmi(struct vcpu *vcpu);
void vcpu_init(struct vcpu *vcpu);
void vcpu_sipi(struct vcpu *vcpu, u8 vector);

/* With vm->run_lock held: ask every thread to park, wait until all are (false: some thread waits
 * for guest memory, and that may not happen), let them go on. */
void vcpus_pause_locked(struct vm *vm);
bool vcpus_wait_parked_locked(struct vm *vm);
void vcpus_continue_locked(struct vm *vm);

#endif
