/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of CPU features that more than one room knows. */
#ifndef LODGE_BASE_CPU_NAMES_H
#define LODGE_BASE_CPU_NAMES_H

/* What hardware alone can give a guest, so KVM but not the software CPU; Linux's names, with commas
 * between. */
#define CPU_HARDWARE_ONLY                                                                        \
	"pku", "la57", "md_clear", "serialize", "spec_ctrl", "intel_stibp", "arch_capabilities", \
		"ssbd", "xsavec", "ibpb", "ibrs", "stibp", "ibrs_always_on", "stibp_always_on",  \
		"amd_ssbd", "virt_ssbd", "kvm_nopiodelay", "kvm_steal_time", "kvm_pv_eoi",       \
		"kvm_pv_unhalt", "kvm_pv_tlb_flush", "kvm_pv_send_ipi", "kvm_poll_control",      \
		"kvm_pv_sched_yield"

#endif
