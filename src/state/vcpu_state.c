/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state table of a processor. A member that arch.h gains is added here.
 */
#include "state/vcpu_state.h"

static const struct state_field segment_fields[] = {
	STATE(struct x86_segment, base),
	STATE(struct x86_segment, limit),
	STATE(struct x86_segment, selector),
	STATE(struct x86_segment, attr),
	STATE_END,
};

static const struct state_field table_fields[] = {
	STATE(struct x86_table, base),
	STATE(struct x86_table, limit),
	STATE_END,
};

#define MSR(member) STATE(struct x86_msrs, member)

static const struct state_field msr_fields[] = {
	MSR(star),
	MSR(lstar),
	MSR(cstar),
	MSR(sfmask),
	MSR(kernel_gs_base),
	MSR(tsc_aux),
	MSR(sysenter_cs),
	MSR(sysenter_esp),
	MSR(sysenter_eip),
	MSR(pat),
	MSR(apic_base),
	MSR(misc_enable),
	MSR(spec_ctrl),
	MSR(debugctl),
	MSR(mtrr_def_type),
	MSR(mtrr_fixed),
	MSR(mtrr_base),
	MSR(mtrr_mask),
	MSR(mcg_status),
	MSR(mcg_ctl),
	{ .name = "mc_bank",
	  .offset = offsetof(struct x86_msrs, mc_bank),
	  .element_bytes = 8,
	  .since = 1,
	  .count = 40 },
	MSR(kvm_system_time),
	MSR(kvm_wall_clock),
	MSR(kvm_steal_time),
	MSR(kvm_async_pf),
	MSR(kvm_pv_eoi),
	MSR(kvm_poll_control),
	MSR(tsc_adjust),
	STATE_END,
};

#define CPU(member) STATE(struct x86_state, member)

const struct state_field vcpu_state_fields[] = {
	CPU(gpr),
	CPU(rip),
	CPU(rflags),
	STATE_STRUCTS(struct x86_state, seg, segment_fields, struct x86_segment),
	STATE_STRUCTS(struct x86_state, gdtr, table_fields, struct x86_table),
	STATE_STRUCTS(struct x86_state, idtr, table_fields, struct x86_table),
	CPU(cr0),
	CPU(cr2),
	CPU(cr3),
	CPU(cr4),
	CPU(cr8),
	CPU(efer),
	CPU(xcr0),
	CPU(dr),
	CPU(tsc),
	STATE_STRUCTS(struct x86_state, msr, msr_fields, struct x86_msrs),
	CPU(activity),
	CPU(intr_shadow),
	CPU(nmi_masked),
	CPU(nmi_pending),
	CPU(init_pending),
	CPU(sipi_pending),
	CPU(sipi_vector),
	CPU(event_pending),
	CPU(event_vector),
	CPU(event_has_error),
	CPU(event_soft),
	CPU(event_error),
	CPU(xsave),
	STATE_END,
};
