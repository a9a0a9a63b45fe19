/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A processor under KVM: in, out, and why.
 *
 * Other threads ask for attention by request bits. The runner announces that it is about to enter
 * KVM, then looks at the bits; whoever sets one does so first and looks at the announcement after.
 * If that is there, immediate_exit keeps a runner out that has not entered yet, and a signal takes
 * one out that has. The signal is never sent to a thread elsewhere, so that no other system call is
 * interrupted; in the rare case that it arrives after the runner came out, SA_RESTART hides it.
 *
 * Interrupts of our PIC are injected by hand, when KVM says that the processor would take one.
 */
#include "accel/kvm.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KICK SIGUSR1

#define LVT_LINT1  (0x360 / 16)
#define LVT_MASKED BIT(16)
#define LVT_NMI    (4u << 8)

static void kicked(int signo)
{
}

void kvm_install_kick(void)
{
	struct sigaction action = { .sa_handler = kicked, .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	sigaction(KICK, &action, NULL);
}

static void adopt_thread(struct kvm_cpu *cpu)
{
	pid_t tid = syscall(SYS_gettid);
	sigset_t set;

	if (cpu->tid == tid)
		return;
	sigemptyset(&set);
	sigaddset(&set, KICK);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	__atomic_store_n(&cpu->tid, tid, __ATOMIC_RELAXED);
}

void kvm_raise(struct accel_vcpu *vcpu, unsigned events)
{
	struct kvm_cpu *cpu = (struct kvm_cpu *)vcpu;

	__atomic_fetch_or(&cpu->requests, events, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&cpu->in_run, __ATOMIC_SEQ_CST))
		return;
	__atomic_store_n(&cpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_tgkill, getpid(), cpu->tid, KICK);
}

void kvm_clear(struct accel_vcpu *vcpu, unsigned events)
{
	__atomic_fetch_and(&((struct kvm_cpu *)vcpu)->requests, ~events, __ATOMIC_SEQ_CST);
}

static u32 requests(const struct kvm_cpu *cpu)
{
	return __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST);
}

bool kvm_has_work(struct accel_vcpu *vcpu)
{
	return requests((struct kvm_cpu *)vcpu);
}

/* Before entering. */

/* The board's NMI is wired to LINT1, which the guest may have masked. */
static void inject_nmi(struct kvm_cpu *cpu)
{
	struct kvm_lapic_state lapic = { 0 };
	u32 lint1;

	if (kvm_call(cpu->fd, KVM_GET_LAPIC, &lapic))
		return;
	memcpy(&lint1, lapic.regs + 16 * LVT_LINT1, sizeof(lint1));
	if (!(lint1 & LVT_MASKED) && (lint1 & 0x700) == LVT_NMI)
		kvm_call(cpu->fd, KVM_NMI, NULL);
}

/* The PIC wants to interrupt: now, or as soon as the processor would let it. */
static void inject_pic(struct kvm_cpu *cpu)
{
	const struct accel_bus *bus = &cpu->vm->config.bus;
	struct kvm_interrupt interrupt;
	int vector;

	if (cpu->run->ready_for_interrupt_injection) {
		cpu->run->ready_for_interrupt_injection = 0;
		vector = bus->interrupt_ack(bus->opaque, cpu->index);
		interrupt.irq = vector;
		if (vector >= 0 && kvm_call(cpu->fd, KVM_INTERRUPT, &interrupt))
			log_warning("kvm", "KVM takes no interrupt of the PIC");
	}
	cpu->run->request_interrupt_window = !!(requests(cpu) & ACCEL_EVENT_INTR);
}

static void serve_requests(struct kvm_cpu *cpu)
{
	u32 wanted = requests(cpu);

	if (wanted & ACCEL_EVENT_NMI) {
		kvm_clear((struct accel_vcpu *)cpu, ACCEL_EVENT_NMI);
		inject_nmi(cpu);
	}
	cpu->run->request_interrupt_window = 0;
	if (wanted & ACCEL_EVENT_INTR)
		inject_pic(cpu);
}

/* Something came after serve_requests(). */
static bool requests_left(const struct kvm_cpu *cpu)
{
	u32 wanted = requests(cpu);

	return wanted & (ACCEL_EVENT_STOP | ACCEL_EVENT_NMI) ||
	       (wanted & ACCEL_EVENT_INTR && !cpu->run->request_interrupt_window);
}

/* 0, or -errno: -EINTR when somebody wants attention. */
static int enter(struct kvm_cpu *cpu, bool only_finish)
{
	int err = -EINTR;

	__atomic_store_n(&cpu->run->immediate_exit, only_finish, __ATOMIC_SEQ_CST);
	__atomic_store_n(&cpu->in_run, 1, __ATOMIC_SEQ_CST);
	if (only_finish || !requests_left(cpu))
		err = ioctl(cpu->fd, KVM_RUN, 0) ? -errno : 0;
	__atomic_store_n(&cpu->in_run, 0, __ATOMIC_SEQ_CST);
	return err;
}

/* After it came out. */

static void serve_pio(struct kvm_cpu *cpu)
{
	const struct accel_bus *bus = &cpu->vm->config.bus;
	struct kvm_run *run = cpu->run;
	u8 *data = (u8 *)run + run->io.data_offset;
	bool write = run->io.direction == KVM_EXIT_IO_OUT;

	for (u32 i = 0; i < run->io.count; i++, data += run->io.size) {
		u32 value = 0;

		if (write)
			memcpy(&value, data, run->io.size);
		bus->pio(bus->opaque, cpu->index, run->io.port, &value, run->io.size, write);
		if (!write)
			memcpy(data, &value, run->io.size);
	}
}

/* KVM hands over up to eight bytes of any length; the bus takes powers of two. */
static void serve_mmio(struct kvm_cpu *cpu)
{
	const struct accel_bus *bus = &cpu->vm->config.bus;
	struct kvm_run *run = cpu->run;
	unsigned at = 0, left = run->mmio.len;

	while (left) {
		unsigned size = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
		u64 value = 0;

		if (run->mmio.is_write)
			memcpy(&value, run->mmio.data + at, size);
		bus->mmio(bus->opaque, cpu->index, run->mmio.phys_addr + at, &value, size,
			  run->mmio.is_write);
		if (!run->mmio.is_write)
			memcpy(run->mmio.data + at, &value, size);
		at += size;
		left -= size;
	}
}

/* Registers that neither KVM nor the machine has: #GP, as on every processor. */
static void serve_msr(struct kvm_cpu *cpu, bool write)
{
	log_guest_once("kvm", "guest %s the MSR 0x%x, which is not there",
		       write ? "writes" : "reads", cpu->run->msr.index);
	cpu->run->msr.error = 1;
}

static enum accel_exit failed(struct kvm_cpu *cpu)
{
	const struct kvm_run *run = cpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_FAIL_ENTRY:
		log_error("kvm", "vCPU %u: the processor refuses to enter the guest: reason 0x%llx",
			  cpu->index,
			  (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		log_error("kvm", "vCPU %u: KVM failed: %s (suberror %u)", cpu->index,
			  run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
				  ? "it cannot emulate an instruction"
				  : "internal error",
			  run->internal.suberror);
		break;
	default:
		log_error("kvm", "vCPU %u: KVM came out for an unknown reason %u", cpu->index,
			  run->exit_reason);
	}
	kvm_report(cpu);
	return ACCEL_EXIT_ERROR;
}

/* ACCEL_EXIT_HALTED stands for: on with it. */
#define GOES_ON ACCEL_EXIT_HALTED

static enum accel_exit serve_exit(struct kvm_cpu *cpu)
{
	const struct accel_bus *bus = &cpu->vm->config.bus;

	cpu->unfinished = false;
	kvm_note_exit(cpu);
	switch (cpu->run->exit_reason) {
	case KVM_EXIT_IO:
		cpu->counts[COUNT_PIO]++;
		cpu->unfinished = true;
		serve_pio(cpu);
		return GOES_ON;
	case KVM_EXIT_MMIO:
		cpu->counts[COUNT_MMIO]++;
		cpu->unfinished = true;
		serve_mmio(cpu);
		return GOES_ON;
	case KVM_EXIT_IOAPIC_EOI:
		cpu->counts[COUNT_EOI]++;
		bus->eoi(bus->opaque, cpu->run->eoi.vector);
		return GOES_ON;
	case KVM_EXIT_IRQ_WINDOW_OPEN: cpu->counts[COUNT_WINDOW]++; return GOES_ON;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		cpu->counts[COUNT_MSR]++;
		cpu->unfinished = true;
		serve_msr(cpu, cpu->run->exit_reason == KVM_EXIT_X86_WRMSR);
		return GOES_ON;
	case KVM_EXIT_INTR: return GOES_ON;
	case KVM_EXIT_DIRTY_RING_FULL: kvm_dirty_ring_full(cpu->vm); return GOES_ON;
	case KVM_EXIT_SHUTDOWN:
	case KVM_EXIT_SYSTEM_EVENT: kvm_report(cpu); return ACCEL_EXIT_SHUTDOWN;
	default: cpu->counts[COUNT_OTHER]++; return failed(cpu);
	}
}

static enum accel_exit refused(const struct kvm_cpu *cpu, int err)
{
	if (err == -EFAULT)
		log_error("kvm", "vCPU %u: the host does not provide memory of the guest",
			  cpu->index);
	else
		log_error("kvm", "vCPU %u: KVM does not run it: %s", cpu->index, strerror(-err));
	return ACCEL_EXIT_ERROR;
}

enum accel_exit kvm_run(struct accel_vcpu *vcpu)
{
	struct kvm_cpu *cpu = (struct kvm_cpu *)vcpu;
	enum accel_exit exit = GOES_ON;

	adopt_thread(cpu);
	while (exit == GOES_ON) {
		bool stop = requests(cpu) & ACCEL_EVENT_STOP;
		int err;

		if (stop && !cpu->unfinished)
			return ACCEL_EXIT_STOPPED;
		if (!stop)
			serve_requests(cpu);
		err = enter(cpu, stop);
		if (err == -EINTR || err == -EAGAIN) {
			cpu->counts[COUNT_KICK]++;
			cpu->unfinished = cpu->unfinished && !stop;
		} else if (err) {
			exit = refused(cpu, err);
		} else {
			exit = serve_exit(cpu);
		}
	}
	return exit;
}

/* Counting. */

void kvm_counters(struct accel_vm *vm, int vcpu, accel_counter_fn *visit, void *opaque)
{
	static const char *const names[COUNT_COUNT] = {
		[COUNT_PIO] = "pio",       [COUNT_MMIO] = "mmio", [COUNT_EOI] = "eoi",
		[COUNT_WINDOW] = "window", [COUNT_MSR] = "msr",   [COUNT_KICK] = "kick",
		[COUNT_OTHER] = "other",
	};
	const struct kvm_cpu *cpu = vcpu < 0 ? NULL : ((struct kvm_machine *)vm)->cpus[vcpu];

	for (unsigned i = 0; cpu && i < COUNT_COUNT; i++)
		if (__atomic_load_n(&cpu->counts[i], __ATOMIC_RELAXED))
			visit(opaque, "exits", names[i], cpu->counts[i]);
}
