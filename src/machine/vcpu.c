/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPU threads. See vcpu.h.
 */
#include "machine/vcpu.h"

#include "accel/accel.h"
#include "base/thread.h"
#include "machine/vm.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define POLL_MAX_NS   100000
#define POLL_START_NS 10000

static u64 host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* Until woken or @until (monotonic; NULL: for ever). */
static void futex_wait(u32 *word, u32 value, const struct timespec *until)
{
	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, until, NULL,
		FUTEX_BITSET_MATCH_ANY);
}

static void wake(struct vcpu *vcpu)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&vcpu->asleep, __ATOMIC_RELAXED) &&
	    __atomic_exchange_n(&vcpu->asleep, 0, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &vcpu->asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Raises enum accel_event bits. */
static void raise_events(struct vcpu *vcpu, unsigned events)
{
	vcpu->vm->accel->raise(vcpu->accel, events);
	wake(vcpu);
}

void vcpu_set_interrupt(struct vcpu *vcpu, bool deliverable)
{
	if (deliverable)
		raise_events(vcpu, ACCEL_EVENT_INTR);
	else
		vcpu->vm->accel->clear(vcpu->accel, ACCEL_EVENT_INTR);
}

void vcpu_nmi(struct vcpu *vcpu)
{
	raise_events(vcpu, ACCEL_EVENT_NMI);
}

void vcpu_init(struct vcpu *vcpu)
{
	raise_events(vcpu, ACCEL_EVENT_INIT);
}

void vcpu_sipi(struct vcpu *vcpu, u8 vector)
{
	vcpu->vm->accel->sipi_vector(vcpu->accel, vector);
	raise_events(vcpu, ACCEL_EVENT_SIPI);
}

u64 vm_host_tsc(struct vm *vm)
{
	return __atomic_load_n(&vm->tsc_stands, __ATOMIC_ACQUIRE)
		       ? __atomic_load_n(&vm->stopped_tsc, __ATOMIC_RELAXED)
		       : vm_running_tsc(vm);
}

u64 vm_running_tsc(struct vm *vm)
{
	if (vm->clock.manual)
		return mul_div_u64(vm_clock_now(&vm->clock), vm_tsc_hz(vm), 1000000000);
	return __builtin_ia32_rdtsc();
}

u64 vcpu_tsc(struct vcpu *vcpu)
{
	return vm_host_tsc(vcpu->vm) + vcpu->vm->accel->tsc_offset(vcpu->accel);
}

void vcpu_get_state(struct vcpu *vcpu, struct x86_state *state, u64 host_tsc)
{
	const struct accel *accel = vcpu->vm->accel;

	accel->get_state(vcpu->accel, state);
	state->tsc = host_tsc + accel->tsc_offset(vcpu->accel);
}

int vcpu_set_state(struct vcpu *vcpu, const struct x86_state *state, u64 host_tsc)
{
	const struct accel *accel = vcpu->vm->accel;
	int err = accel->set_state(vcpu->accel, state);

	if (!err)
		accel->set_tsc_offset(vcpu->accel, state->tsc - host_tsc);
	return err;
}

void vcpu_get_lapic(struct vcpu *vcpu, struct x86_lapic *lapic)
{
	vcpu->vm->accel->get_lapic(vcpu->accel, lapic);
}

int vcpu_set_lapic(struct vcpu *vcpu, const struct x86_lapic *lapic)
{
	return vcpu->vm->accel->set_lapic(vcpu->accel, lapic);
}

static bool wanted(struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->pause, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&vcpu->quit, __ATOMIC_RELAXED) ||
	       vcpu->vm->accel->has_work(vcpu->accel);
}

static bool poll_for_work(struct vcpu *vcpu, u64 start)
{
	if (!vcpu->poll_ns)
		return wanted(vcpu);
	do {
		if (wanted(vcpu))
			return true;
		for (int i = 0; i < 32; i++)
			__builtin_ia32_pause();
	} while (host_ns() - start < vcpu->poll_ns);
	return false;
}

/* Polling pays only if the wait is short: it starts after a short sleep, doubles while polling
 * catches wake-ups or nearly does, and ends with the first long sleep. */
static void adapt_polling(struct vcpu *vcpu, u64 waited_ns)
{
	if (waited_ns > POLL_MAX_NS)
		vcpu->poll_ns = 0;
	else if (!vcpu->poll_ns)
		vcpu->poll_ns = POLL_START_NS;
	else if (vcpu->poll_ns < POLL_MAX_NS)
		vcpu->poll_ns *= 2;
}

/* Sleeps until there is work or machine time @deadline. */
static void sleep_until(struct vcpu *vcpu, u64 deadline)
{
	struct vm_clock *clock = &vcpu->vm->clock;
	struct timespec until;

	if (deadline != UINT64_MAX)
		until = vm_clock_host_time(clock, deadline);
	while (deadline == UINT64_MAX || vm_clock_now(clock) < deadline) {
		__atomic_store_n(&vcpu->asleep, 1, __ATOMIC_SEQ_CST);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (wanted(vcpu))
			break;
		futex_wait(&vcpu->asleep, 1, deadline != UINT64_MAX ? &until : NULL);
	}
	__atomic_store_n(&vcpu->asleep, 0, __ATOMIC_RELAXED);
}

static void halt(struct vcpu *vcpu)
{
	struct vm_clock *clock = &vcpu->vm->clock;
	u64 start = host_ns(), deadline;

	vcpu->halts++;
	if (!poll_for_work(vcpu, start)) {
		deadline = vcpu->timer ? vm_timer_adopt(clock, vcpu->timer) : UINT64_MAX;
		sleep_until(vcpu, deadline);
		if (deadline != UINT64_MAX && vm_clock_now(clock) >= deadline)
			vcpu->timer->fire(vcpu->timer->opaque);
		else if (deadline != UINT64_MAX)
			vm_timer_give_back(clock, vcpu->timer, deadline);
	}
	adapt_polling(vcpu, host_ns() - start);
}

/* Stays here while the machine is stopped. False: the thread shall end. */
static bool park_if_asked(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	bool quit;

	if (!__atomic_load_n(&vcpu->pause, __ATOMIC_ACQUIRE))
		return !__atomic_load_n(&vcpu->quit, __ATOMIC_RELAXED);
	pthread_mutex_lock(&vm->run_lock);
	while (vcpu->pause && !vcpu->quit) {
		if (!vcpu->parked) {
			vcpu->parked = true;
			pthread_cond_broadcast(&vm->run_changed);
		}
		pthread_cond_wait(&vm->run_changed, &vm->run_lock);
	}
	vcpu->parked = false;
	quit = vcpu->quit;
	pthread_mutex_unlock(&vm->run_lock);
	return !quit;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	struct vm *vm = vcpu->vm;

	prctl(PR_SET_TIMERSLACK, 1);
	while (park_if_asked(vcpu)) {
		switch (vm->accel->run(vcpu->accel)) {
		case ACCEL_EXIT_STOPPED: break;
		case ACCEL_EXIT_HALTED: halt(vcpu); break;
		case ACCEL_EXIT_SHUTDOWN:
			vm_request(vm, VM_REQUEST_CRASH, VM_CRASH_TRIPLE_FAULT);
			break;
		case ACCEL_EXIT_ERROR: vm_request(vm, VM_REQUEST_ERROR, 0); break;
		}
	}
	return NULL;
}

struct vcpu *vcpu_new(struct vm *vm, unsigned index, GError **error)
{
	struct vcpu *vcpu = g_new0(struct vcpu, 1);

	vcpu->vm = vm;
	vcpu->index = index;
	vcpu->pause = true;
	vcpu->accel = vm->accel->vcpu_create(vm->accel_vm, index, error);
	if (!vcpu->accel) {
		g_prefix_error(error, "vCPU %u: ", index);
		g_free(vcpu);
		return NULL;
	}
	return vcpu;
}

/* A thread begins with the name of the one that starts it: so who looks for a processor's finds it
 * as soon as it is there. */
static int start_named(struct vcpu *vcpu)
{
	char name[16], own[16];
	int err;

	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	pthread_getname_np(pthread_self(), own, sizeof(own));
	pthread_setname_np(pthread_self(), name);
	err = thread_start(&vcpu->thread, vcpu_thread, vcpu);
	pthread_setname_np(pthread_self(), own);
	return err;
}

int vcpu_start(struct vcpu *vcpu, GError **error)
{
	int err = start_named(vcpu);

	if (err) {
		g_set_error(error, VM_ERROR, err, "cannot start the thread of vCPU %u: %s",
			    vcpu->index, g_strerror(err));
		return -err;
	}
	vcpu->started = true;
	return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->started) {
		pthread_mutex_lock(&vcpu->vm->run_lock);
		__atomic_store_n(&vcpu->quit, true, __ATOMIC_RELAXED);
		pthread_cond_broadcast(&vcpu->vm->run_changed);
		pthread_mutex_unlock(&vcpu->vm->run_lock);
		raise_events(vcpu, ACCEL_EVENT_STOP);
		pthread_join(vcpu->thread, NULL);
	}
	vcpu->vm->accel->vcpu_destroy(vcpu->accel);
	g_free(vcpu);
}

void vcpus_pause_locked(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		__atomic_store_n(&vm->vcpus[i]->pause, true, __ATOMIC_RELEASE);
		raise_events(vm->vcpus[i], ACCEL_EVENT_STOP);
	}
}

bool vcpus_wait_parked_locked(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		while (vm->vcpus[i]->started && !vm->vcpus[i]->parked) {
			if (vm->starved)
				return false;
			pthread_cond_wait(&vm->run_changed, &vm->run_lock);
		}
	}
	return !vm->starved;
}

void vcpus_continue_locked(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		vm->accel->clear(vm->vcpus[i]->accel, ACCEL_EVENT_STOP);
		__atomic_store_n(&vm->vcpus[i]->pause, false, __ATOMIC_RELEASE);
	}
	pthread_cond_broadcast(&vm->run_changed);
}
