/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time under KVM: each processor's TSC is the host's plus an offset, kvm-clock is one of the VM.
 *
 * While the machine stands, both go on in KVM, and so do the timers of the local APICs. What they
 * were when it stopped is therefore put back before it goes on.
 */
#include "accel/kvm.h"

#include <string.h>

#define MSR_TSC          0x10
#define MSR_TSC_DEADLINE 0x6e0
#define TIMER_CURRENT    (0x390)

u64 kvm_tsc_hz(struct accel_vm *vm)
{
	return ((struct kvm_machine *)vm)->tsc_hz;
}

/* KVM before Linux 5.16 has only the counter itself, which is then off by the time of a call. */

s64 kvm_tsc_offset(struct accel_vcpu *vcpu)
{
	struct kvm_cpu *cpu = (struct kvm_cpu *)vcpu;
	u64 offset = 0;
	const struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					      .attr = KVM_VCPU_TSC_OFFSET,
					      .addr = (uintptr_t)&offset };

	if (!cpu->vm->has_tsc_offset)
		return kvm_get_msr(cpu, MSR_TSC) - __builtin_ia32_rdtsc();
	kvm_call(cpu->fd, KVM_GET_DEVICE_ATTR, &attr);
	return offset;
}

void kvm_set_tsc_offset(struct accel_vcpu *vcpu, s64 offset)
{
	struct kvm_cpu *cpu = (struct kvm_cpu *)vcpu;
	const struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					      .attr = KVM_VCPU_TSC_OFFSET,
					      .addr = (uintptr_t)&offset };

	if (cpu->vm->has_tsc_offset)
		kvm_call(cpu->fd, KVM_SET_DEVICE_ATTR, &attr);
	else
		kvm_set_msr(cpu, MSR_TSC, __builtin_ia32_rdtsc() + offset);
}

static void keep_timer(struct kvm_cpu *cpu)
{
	struct kvm_lapic_state lapic = { 0 };

	cpu->stood = (struct kvm_stood_timer){ .deadline = kvm_get_msr(cpu, MSR_TSC_DEADLINE) };
	if (!kvm_call(cpu->fd, KVM_GET_LAPIC, &lapic))
		memcpy(&cpu->stood.current, lapic.regs + TIMER_CURRENT, 4);
}

/* Interrupts that came in meanwhile stay; setting the registers starts the count anew. */
static void put_back_timer(struct kvm_cpu *cpu)
{
	struct kvm_lapic_state lapic = { 0 };

	if (cpu->stood.current && !kvm_call(cpu->fd, KVM_GET_LAPIC, &lapic)) {
		memcpy(lapic.regs + TIMER_CURRENT, &cpu->stood.current, 4);
		kvm_call(cpu->fd, KVM_SET_LAPIC, &lapic);
	}
	if (cpu->stood.deadline)
		kvm_set_msr(cpu, MSR_TSC_DEADLINE, cpu->stood.deadline);
}

void kvm_time_stands(struct accel_vm *accel_vm)
{
	struct kvm_machine *vm = (struct kvm_machine *)accel_vm;
	struct kvm_clock_data clock = { 0 };

	kvm_call(vm->fd, KVM_GET_CLOCK, &clock);
	vm->stood_clock = clock.clock;
	vm->stands = true;
	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		if (!vm->cpus[i])
			continue;
		keep_timer(vm->cpus[i]);
		/* it is told that it stood, so that its watchdogs forgive; -EINVAL: no kvm-clock */
		kvm_call(vm->cpus[i]->fd, KVM_KVMCLOCK_CTRL, NULL);
	}
}

u64 kvm_clock(struct accel_vm *vm, u64 host_tsc)
{
	return ((struct kvm_machine *)vm)->stood_clock;
}

void kvm_set_clock(struct accel_vm *accel_vm, u64 ns, u64 host_tsc)
{
	struct kvm_machine *vm = (struct kvm_machine *)accel_vm;

	vm->stood_clock = ns;
	vm->tsc_base = host_tsc - (unsigned __int128)ns * vm->tsc_hz / 1000000000;
}

void kvm_tsc_skip(struct accel_vm *accel_vm, u64 ticks)
{
	struct kvm_machine *vm = (struct kvm_machine *)accel_vm;
	const struct kvm_clock_data clock = { .clock = vm->stood_clock };

	vm->tsc_base += ticks;
	vm->stands = false;
	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		struct accel_vcpu *vcpu = (struct accel_vcpu *)vm->cpus[i];

		if (vcpu)
			kvm_set_tsc_offset(vcpu, kvm_tsc_offset(vcpu) - ticks);
	}
	kvm_call(vm->fd, KVM_SET_CLOCK, &clock);
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		if (vm->cpus[i])
			put_back_timer(vm->cpus[i]);
}
