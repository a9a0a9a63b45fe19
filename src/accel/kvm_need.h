/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the KVM engine cannot do without: seen by the engine, and by the launcher that chooses it.
 * docs/kvm.md says what each is for, and lists what is used where it is there.
 */
#ifndef LODGE_ACCEL_KVM_NEED_H
#define LODGE_ACCEL_KVM_NEED_H

#include <linux/kvm.h>
#include <stddef.h>
#include <sys/ioctl.h>

/* The first capability that the KVM at descriptor @kvm lacks, by its name; NULL: it has all. All
 * are there from Linux 4.11 on. */
static inline const char *kvm_lacks(int kvm)
{
	static const struct {
		const char *name;
		int capability;
	} needs[] = {
		{ "KVM_CAP_USER_MEMORY", KVM_CAP_USER_MEMORY },
		{ "KVM_CAP_SET_TSS_ADDR", KVM_CAP_SET_TSS_ADDR },
		{ "KVM_CAP_SET_IDENTITY_MAP_ADDR", KVM_CAP_SET_IDENTITY_MAP_ADDR },
		{ "KVM_CAP_EXT_CPUID", KVM_CAP_EXT_CPUID },
		{ "KVM_CAP_MP_STATE", KVM_CAP_MP_STATE },
		{ "KVM_CAP_VCPU_EVENTS", KVM_CAP_VCPU_EVENTS },
		{ "KVM_CAP_DEBUGREGS", KVM_CAP_DEBUGREGS },
		{ "KVM_CAP_XSAVE", KVM_CAP_XSAVE },
		{ "KVM_CAP_ADJUST_CLOCK", KVM_CAP_ADJUST_CLOCK },
		{ "KVM_CAP_GET_TSC_KHZ", KVM_CAP_GET_TSC_KHZ },
		{ "KVM_CAP_IRQ_ROUTING", KVM_CAP_IRQ_ROUTING },
		{ "KVM_CAP_SIGNAL_MSI", KVM_CAP_SIGNAL_MSI },
		{ "KVM_CAP_SPLIT_IRQCHIP", KVM_CAP_SPLIT_IRQCHIP },
		{ "KVM_CAP_IMMEDIATE_EXIT", KVM_CAP_IMMEDIATE_EXIT },
	};

	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (ioctl(kvm, KVM_CHECK_EXTENSION, needs[i].capability) <= 0)
			return needs[i].name;
	return NULL;
}

#endif
