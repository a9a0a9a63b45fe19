/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A processor's registers between KVM's structures and the neutral ones of cpu/arch.h.
 *
 * Only while the processor does not run. What this KVM lacks is left out: the MSRs are tried once,
 * when the first processor is made, and those that are there are kept in a list.
 */
#include "accel/kvm.h"
#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define MSR_APIC_BASE    0x1b
#define MSR_TSC_DEADLINE 0x6e0

#define TIMER_CURRENT (0x390 / 16)

#define MC_BANKS 10
#define MCG_CTL  BIT(8) /* in MCG_CAP: there is that MSR */

struct msr_row {
	u32 msr;
	u32 offset; /* in struct x86_state */
};

#define ROW(number, member)                                \
	{                                                  \
		number, offsetof(struct x86_state, member) \
	}
#define MTRR(n) ROW(0x200 + 2 * (n), msr.mtrr_base[n]), ROW(0x201 + 2 * (n), msr.mtrr_mask[n])
#define BANK(n)                                                                           \
	ROW(0x400 + 4 * (n), msr.mc_bank[n][0]), ROW(0x401 + 4 * (n), msr.mc_bank[n][1]), \
		ROW(0x402 + 4 * (n), msr.mc_bank[n][2]), ROW(0x403 + 4 * (n), msr.mc_bank[n][3])

/* SDM vol. 4, APM vol. 2 appendix A; from 0x4b564d00 on KVM's own. */
static const struct msr_row msr_rows[] = {
	ROW(0xc0000081, msr.star),
	ROW(0xc0000082, msr.lstar),
	ROW(0xc0000083, msr.cstar),
	ROW(0xc0000084, msr.sfmask),
	ROW(0xc0000102, msr.kernel_gs_base),
	ROW(0xc0000103, msr.tsc_aux),
	ROW(0x174, msr.sysenter_cs),
	ROW(0x175, msr.sysenter_esp),
	ROW(0x176, msr.sysenter_eip),
	ROW(0x277, msr.pat),
	ROW(0x1a0, msr.misc_enable),
	ROW(0x048, msr.spec_ctrl),
	ROW(0x1d9, msr.debugctl),
	ROW(0x2ff, msr.mtrr_def_type),
	ROW(0x250, msr.mtrr_fixed[0]),
	ROW(0x258, msr.mtrr_fixed[1]),
	ROW(0x259, msr.mtrr_fixed[2]),
	ROW(0x268, msr.mtrr_fixed[3]),
	ROW(0x269, msr.mtrr_fixed[4]),
	ROW(0x26a, msr.mtrr_fixed[5]),
	ROW(0x26b, msr.mtrr_fixed[6]),
	ROW(0x26c, msr.mtrr_fixed[7]),
	ROW(0x26d, msr.mtrr_fixed[8]),
	ROW(0x26e, msr.mtrr_fixed[9]),
	ROW(0x26f, msr.mtrr_fixed[10]),
	MTRR(0),
	MTRR(1),
	MTRR(2),
	MTRR(3),
	MTRR(4),
	MTRR(5),
	MTRR(6),
	MTRR(7),
	ROW(0x17a, msr.mcg_status),
	ROW(0x17b, msr.mcg_ctl),
	BANK(0),
	BANK(1),
	BANK(2),
	BANK(3),
	BANK(4),
	BANK(5),
	BANK(6),
	BANK(7),
	BANK(8),
	BANK(9),
	ROW(0x03b, msr.tsc_adjust),
	ROW(0x4b564d01, msr.kvm_system_time),
	ROW(0x4b564d00, msr.kvm_wall_clock),
	ROW(0x4b564d03, msr.kvm_steal_time),
	ROW(0x4b564d02, msr.kvm_async_pf),
	ROW(0x4b564d04, msr.kvm_pv_eoi),
	ROW(0x4b564d05, msr.kvm_poll_control),
};
_Static_assert(ARRAY_LEN(msr_rows) <= KVM_MSRS_MAX, "kvm_machine.msrs is too short");

/* struct kvm_msrs with room for entries. */
struct msr_batch {
	u32 nmsrs, pad;
	struct kvm_msr_entry entries[KVM_MSRS_MAX];
};

u64 kvm_get_msr(struct kvm_cpu *cpu, u32 msr)
{
	struct msr_batch batch = { .nmsrs = 1, .entries[0].index = msr };

	return kvm_call(cpu->fd, KVM_GET_MSRS, &batch) == 1 ? batch.entries[0].data : 0;
}

int kvm_set_msr(struct kvm_cpu *cpu, u32 msr, u64 value)
{
	struct msr_batch batch = { .nmsrs = 1, .entries[0] = { .index = msr, .data = value } };
	int done = kvm_call(cpu->fd, KVM_SET_MSRS, &batch);

	return done == 1 ? 0 : done < 0 ? done : -EINVAL;
}

/* As many banks as the software CPU has, so that their registers can be moved. */
static void set_up_mce(struct kvm_machine *vm, struct kvm_cpu *cpu)
{
	u64 supported = 0, wanted = MC_BANKS | MCG_CTL;

	if (!kvm_has(vm, KVM_CAP_MCE) ||
	    kvm_call(vm->kvm, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported) < 0)
		return;
	wanted &= supported | 0xff;
	if (kvm_call(cpu->fd, KVM_X86_SETUP_MCE, &wanted) < 0)
		log_warning("kvm", "vCPU %u: KVM gives it no machine checks", cpu->index);
}

void kvm_find_msrs(struct kvm_machine *vm, struct kvm_cpu *cpu)
{
	struct msr_batch batch = { .nmsrs = 0 };

	set_up_mce(vm, cpu);
	if (cpu->index)
		return;
	vm->msr_count = 0;
	for (unsigned i = 0; i < ARRAY_LEN(msr_rows); i++) {
		batch.nmsrs = 1;
		batch.entries[0] = (struct kvm_msr_entry){ .index = msr_rows[i].msr };
		if (kvm_call(cpu->fd, KVM_GET_MSRS, &batch) == 1)
			vm->msrs[vm->msr_count++] = i;
	}
}

static u64 *msr_member(struct x86_state *s, const struct msr_row *row)
{
	return (u64 *)((char *)s + row->offset);
}

static void get_msrs(struct kvm_cpu *cpu, struct x86_state *s)
{
	const struct kvm_machine *vm = cpu->vm;
	struct msr_batch batch = { .nmsrs = vm->msr_count };
	int done;

	for (unsigned i = 0; i < vm->msr_count; i++)
		batch.entries[i].index = msr_rows[vm->msrs[i]].msr;
	done = kvm_call(cpu->fd, KVM_GET_MSRS, &batch);
	for (int i = 0; i < done; i++)
		*msr_member(s, &msr_rows[vm->msrs[i]]) = batch.entries[i].data;
	if (done != (int)vm->msr_count)
		log_warning("kvm", "vCPU %u: KVM told %d of %u MSRs", cpu->index, done,
			    vm->msr_count);
}

/* One that KVM refuses (a value that this host's processor cannot have) is left as it is. */
static void set_msrs(struct kvm_cpu *cpu, const struct x86_state *s)
{
	const struct kvm_machine *vm = cpu->vm;
	unsigned from = 0;

	while (from < vm->msr_count) {
		struct msr_batch batch = { .nmsrs = vm->msr_count - from };
		int done;

		for (unsigned i = from; i < vm->msr_count; i++) {
			const struct msr_row *row = &msr_rows[vm->msrs[i]];

			batch.entries[i - from] = (struct kvm_msr_entry){
				.index = row->msr, .data = *msr_member((struct x86_state *)s, row)
			};
		}
		done = kvm_call(cpu->fd, KVM_SET_MSRS, &batch);
		from += MAX(done, 0);
		if (from < vm->msr_count)
			log_debug("kvm", "vCPU %u: KVM refuses MSR 0x%x = 0x%llx", cpu->index,
				  msr_rows[vm->msrs[from]].msr,
				  (unsigned long long)batch.entries[MAX(done, 0)].data);
		from++;
	}
}

/* General and segment registers. */

static void get_regs(struct kvm_cpu *cpu, struct x86_state *s)
{
	struct kvm_regs r = { 0 };

	if (kvm_call(cpu->fd, KVM_GET_REGS, &r))
		return;
	memcpy(s->gpr,
	       (u64[16]){ r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10,
			  r.r11, r.r12, r.r13, r.r14, r.r15 },
	       sizeof(s->gpr));
	s->rip = r.rip;
	s->rflags = r.rflags;
}

static int set_regs(struct kvm_cpu *cpu, const struct x86_state *s)
{
	const u64 *g = s->gpr;
	const struct kvm_regs r = {
		.rax = g[RAX],
		.rcx = g[RCX],
		.rdx = g[RDX],
		.rbx = g[RBX],
		.rsp = g[RSP],
		.rbp = g[RBP],
		.rsi = g[RSI],
		.rdi = g[RDI],
		.r8 = g[R8],
		.r9 = g[R9],
		.r10 = g[R10],
		.r11 = g[R11],
		.r12 = g[R12],
		.r13 = g[R13],
		.r14 = g[R14],
		.r15 = g[R15],
		.rip = s->rip,
		.rflags = s->rflags | 2,
	};

	return kvm_call(cpu->fd, KVM_SET_REGS, &r);
}

static struct x86_segment segment_of(const struct kvm_segment *k)
{
	return (struct x86_segment){
		.base = k->base,
		.limit = k->limit,
		.selector = k->selector,
		.attr = k->type | k->s << 4 | k->dpl << 5 | (k->present && !k->unusable) << 7 |
			k->avl << 12 | k->l << 13 | k->db << 14 | k->g << 15,
	};
}

static struct kvm_segment kvm_segment_of(const struct x86_segment *s)
{
	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->attr & SEG_ATTR_TYPE,
		.s = s->attr >> 4 & 1,
		.dpl = SEG_ATTR_DPL(s->attr),
		.present = s->attr >> 7 & 1,
		.avl = s->attr >> 12 & 1,
		.l = s->attr >> 13 & 1,
		.db = s->attr >> 14 & 1,
		.g = s->attr >> 15 & 1,
		.unusable = !(s->attr & SEG_ATTR_P),
	};
}

static void get_sregs(struct kvm_cpu *cpu, struct x86_state *s)
{
	struct kvm_sregs k = { 0 };

	if (kvm_call(cpu->fd, KVM_GET_SREGS, &k))
		return;
	s->seg[SEG_ES] = segment_of(&k.es);
	s->seg[SEG_CS] = segment_of(&k.cs);
	s->seg[SEG_SS] = segment_of(&k.ss);
	s->seg[SEG_DS] = segment_of(&k.ds);
	s->seg[SEG_FS] = segment_of(&k.fs);
	s->seg[SEG_GS] = segment_of(&k.gs);
	s->seg[SEG_LDT] = segment_of(&k.ldt);
	s->seg[SEG_TR] = segment_of(&k.tr);
	s->gdtr = (struct x86_table){ k.gdt.base, k.gdt.limit };
	s->idtr = (struct x86_table){ k.idt.base, k.idt.limit };
	s->cr0 = k.cr0;
	s->cr2 = k.cr2;
	s->cr3 = k.cr3;
	s->cr4 = k.cr4;
	s->cr8 = k.cr8;
	s->efer = k.efer;
}

/* The local APIC's base is not a register of this state; the bitmap would queue an interrupt. */
static int set_sregs(struct kvm_cpu *cpu, const struct x86_state *s)
{
	struct kvm_sregs k = { 0 };
	int err = kvm_call(cpu->fd, KVM_GET_SREGS, &k);

	if (err)
		return err;
	k.es = kvm_segment_of(&s->seg[SEG_ES]);
	k.cs = kvm_segment_of(&s->seg[SEG_CS]);
	k.ss = kvm_segment_of(&s->seg[SEG_SS]);
	k.ds = kvm_segment_of(&s->seg[SEG_DS]);
	k.fs = kvm_segment_of(&s->seg[SEG_FS]);
	k.gs = kvm_segment_of(&s->seg[SEG_GS]);
	k.ldt = kvm_segment_of(&s->seg[SEG_LDT]);
	k.tr = kvm_segment_of(&s->seg[SEG_TR]);
	k.gdt = (struct kvm_dtable){ .base = s->gdtr.base, .limit = s->gdtr.limit };
	k.idt = (struct kvm_dtable){ .base = s->idtr.base, .limit = s->idtr.limit };
	k.cr0 = s->cr0;
	k.cr2 = s->cr2;
	k.cr3 = s->cr3;
	k.cr4 = s->cr4;
	k.cr8 = s->cr8;
	k.efer = s->efer;
	memset(k.interrupt_bitmap, 0, sizeof(k.interrupt_bitmap));
	return kvm_call(cpu->fd, KVM_SET_SREGS, &k);
}

/* Vector and debug registers. */

static void get_vectors(struct kvm_cpu *cpu, struct x86_state *s)
{
	struct kvm_xsave xsave = { 0 };
	struct kvm_xcrs xcrs = { 0 };

	_Static_assert(sizeof(xsave) == X86_XSAVE_BYTES, "the XSAVE area has another size");
	if (!kvm_call(cpu->fd, KVM_GET_XSAVE, &xsave))
		memcpy(s->xsave, &xsave, sizeof(s->xsave));
	s->xcr0 = 1;
	if (kvm_has(cpu->vm, KVM_CAP_XCRS) && !kvm_call(cpu->fd, KVM_GET_XCRS, &xcrs) &&
	    xcrs.nr_xcrs)
		s->xcr0 = xcrs.xcrs[0].value;
}

static int set_vectors(struct kvm_cpu *cpu, const struct x86_state *s)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = s->xcr0 };
	struct kvm_xsave xsave = { 0 };
	int err = 0;

	if (kvm_has(cpu->vm, KVM_CAP_XCRS))
		err = kvm_call(cpu->fd, KVM_SET_XCRS, &xcrs);
	memcpy(&xsave, s->xsave, sizeof(xsave));
	return err ? err : kvm_call(cpu->fd, KVM_SET_XSAVE, &xsave);
}

static void get_debug(struct kvm_cpu *cpu, struct x86_state *s)
{
	struct kvm_debugregs k = { 0 };

	if (kvm_call(cpu->fd, KVM_GET_DEBUGREGS, &k))
		return;
	for (unsigned i = 0; i < 4; i++)
		s->dr[i] = k.db[i];
	s->dr[6] = k.dr6;
	s->dr[7] = k.dr7;
}

static int set_debug(struct kvm_cpu *cpu, const struct x86_state *s)
{
	const struct kvm_debugregs k = {
		.db = { s->dr[0], s->dr[1], s->dr[2], s->dr[3] },
		.dr6 = s->dr[6],
		.dr7 = s->dr[7],
	};

	return kvm_call(cpu->fd, KVM_SET_DEBUGREGS, &k);
}

/* What is on its way into the guest. INT3 and INTO are exceptions to KVM, but, as INT n, they are
 * at their instruction still. */

static void get_events(struct kvm_cpu *cpu, struct x86_state *s)
{
	struct kvm_vcpu_events k = { 0 };

	if (kvm_call(cpu->fd, KVM_GET_VCPU_EVENTS, &k))
		return;
	if (k.exception.injected) {
		s->event_pending = 1;
		s->event_vector = k.exception.nr;
		s->event_has_error = k.exception.has_error_code;
		s->event_error = k.exception.error_code;
		s->event_soft = k.exception.nr == VEC_BP || k.exception.nr == VEC_OF;
	} else if (k.interrupt.injected) {
		s->event_pending = 1;
		s->event_vector = k.interrupt.nr;
		s->event_soft = k.interrupt.soft;
	} else if (k.nmi.injected) {
		s->event_pending = 1;
		s->event_vector = VEC_NMI;
	}
	s->intr_shadow = !!k.interrupt.shadow;
	s->nmi_masked = k.nmi.masked;
	s->nmi_pending = k.nmi.pending;
}

static int set_events(struct kvm_cpu *cpu, const struct x86_state *s)
{
	struct kvm_vcpu_events k = {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
		.interrupt.shadow = s->intr_shadow ? KVM_X86_SHADOW_INT_STI : 0,
		.nmi.masked = s->nmi_masked,
		.nmi.pending = s->nmi_pending,
	};

	if (s->init_pending) {
		k.flags |= KVM_VCPUEVENT_VALID_SMM;
		k.smi.latched_init = 1;
	}
	if (s->event_pending && s->event_vector == VEC_NMI) {
		k.nmi.injected = 1;
	} else if (s->event_pending && s->event_vector >= 32) {
		k.interrupt.injected = 1;
		k.interrupt.nr = s->event_vector;
		k.interrupt.soft = s->event_soft;
	} else if (s->event_pending) {
		k.exception.injected = 1;
		k.exception.nr = s->event_vector;
		k.exception.has_error_code = s->event_has_error;
		k.exception.error_code = s->event_error;
	}
	return kvm_call(cpu->fd, KVM_SET_VCPU_EVENTS, &k);
}

static void get_activity(struct kvm_cpu *cpu, struct x86_state *s)
{
	struct kvm_mp_state k = { .mp_state = KVM_MP_STATE_RUNNABLE };

	kvm_call(cpu->fd, KVM_GET_MP_STATE, &k);
	switch (k.mp_state) {
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_SIPI_RECEIVED: s->activity = X86_WAIT_SIPI; break;
	case KVM_MP_STATE_HALTED: s->activity = X86_HALTED; break;
	default: s->activity = X86_RUNNING;
	}
}

/* Not KVM_MP_STATE_UNINITIALIZED, which takes a start-up message only after another INIT. */
static int set_activity(struct kvm_cpu *cpu, const struct x86_state *s)
{
	const struct kvm_mp_state k = {
		.mp_state = s->activity == X86_WAIT_SIPI ? KVM_MP_STATE_INIT_RECEIVED
			    : s->activity == X86_HALTED  ? KVM_MP_STATE_HALTED
							 : KVM_MP_STATE_RUNNABLE,
	};

	return kvm_call(cpu->fd, KVM_SET_MP_STATE, &k);
}

/* A start-up message that waits: sent again. Its vector is nowhere else to be set. KVM finds no
 * local APIC that was not written since the processor was made. */
static void put_sipi(struct kvm_cpu *cpu, const struct x86_state *s)
{
	const struct kvm_msi message = {
		.address_lo = 0xfee00000 | cpu->index << 12,
		.data = 6 << 8 | s->sipi_vector, /* SDM vol. 3, 11.6.1: start-up */
	};

	struct kvm_lapic_state lapic = { 0 };

	if (!s->sipi_pending)
		return;
	if (kvm_call(cpu->fd, KVM_GET_LAPIC, &lapic) || kvm_call(cpu->fd, KVM_SET_LAPIC, &lapic) ||
	    kvm_call(cpu->vm->fd, KVM_SIGNAL_MSI, &message) <= 0)
		log_warning("kvm", "vCPU %u: KVM takes no start-up message", cpu->index);
}

/* The activity first: asking for it has KVM take INIT and SIPI that wait. */
void kvm_get_state(struct accel_vcpu *vcpu, struct x86_state *s)
{
	struct kvm_cpu *cpu = (struct kvm_cpu *)vcpu;

	memset(s, 0, sizeof(*s));
	get_activity(cpu, s);
	get_regs(cpu, s);
	get_sregs(cpu, s);
	get_vectors(cpu, s);
	get_debug(cpu, s);
	get_msrs(cpu, s);
	get_events(cpu, s);
	s->tsc = __builtin_ia32_rdtsc() + kvm_tsc_offset(vcpu);
}

int kvm_set_state(struct accel_vcpu *vcpu, const struct x86_state *s)
{
	struct kvm_cpu *cpu = (struct kvm_cpu *)vcpu;
	int err = set_sregs(cpu, s);

	if (!err)
		err = set_regs(cpu, s);
	if (!err)
		err = set_vectors(cpu, s);
	if (!err)
		err = set_debug(cpu, s);
	if (err) {
		log_error("kvm", "vCPU %u: KVM refuses its state: %s", cpu->index, strerror(-err));
		return -EINVAL;
	}
	set_msrs(cpu, s);
	err = set_events(cpu, s);
	if (!err)
		err = set_activity(cpu, s);
	put_sipi(cpu, s);
	kvm_set_tsc_offset(vcpu, s->tsc - __builtin_ia32_rdtsc());
	cpu->unfinished = false;
	return err;
}

/* Power-on values: APM vol. 2 table 14-1. INIT is KVM's own business. */
void kvm_reset(struct accel_vcpu *vcpu, bool init)
{
	static const struct x86_segment data = { 0, 0xffff, 0, 0x0093 };
	struct kvm_cpu *cpu = (struct kvm_cpu *)vcpu;
	struct x86_state *s = g_new0(struct x86_state, 1);

	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = data;
	s->seg[SEG_CS] = (struct x86_segment){ 0xffff0000, 0xffff, 0xf000, 0x009b };
	s->seg[SEG_LDT].attr = 0x0082;
	s->seg[SEG_TR].attr = 0x008b;
	s->gdtr = s->idtr = (struct x86_table){ 0, 0xffff };
	for (unsigned i = 0; i < cpu->vm->cpuid->nent; i++)
		if (cpu->vm->cpuid->entries[i].function == 1)
			s->gpr[RDX] = cpu->vm->cpuid->entries[i].eax;
	s->rip = 0xfff0;
	s->rflags = 2;
	s->cr0 = CR0_ET | CR0_CD | CR0_NW;
	s->dr[6] = 0xffff0ff0;
	s->dr[7] = 0x400;
	s->xcr0 = 1;
	*(u16 *)s->xsave = 0x40;
	*(u32 *)(s->xsave + 24) = 0x1f80;
	*(u64 *)(s->xsave + 512) = 1;
	s->msr.pat = 0x0007040600070406;
	s->msr.misc_enable = 1;
	s->msr.mcg_ctl = ~0ull;
	for (unsigned i = 0; i < MC_BANKS; i++)
		s->msr.mc_bank[i][0] = ~0ull;
	s->activity = cpu->index ? X86_WAIT_SIPI : X86_RUNNING;
	kvm_clear(vcpu, ACCEL_EVENT_NMI | ACCEL_EVENT_INTR);
	kvm_set_state(vcpu, s);
	kvm_set_tsc_offset(vcpu, -(s64)cpu->vm->tsc_base);
	g_free(s);
}

/* The local APIC. Its base first: KVM reads the registers as that says. */

void kvm_get_lapic(struct accel_vcpu *vcpu, struct x86_lapic *lapic)
{
	struct kvm_cpu *cpu = (struct kvm_cpu *)vcpu;
	struct kvm_lapic_state k = { 0 };

	kvm_call(cpu->fd, KVM_GET_LAPIC, &k);
	lapic->base = kvm_get_msr(cpu, MSR_APIC_BASE);
	lapic->tsc_deadline = kvm_get_msr(cpu, MSR_TSC_DEADLINE);
	for (unsigned i = 0; i < ARRAY_LEN(lapic->regs); i++)
		memcpy(&lapic->regs[i], k.regs + 16 * i, 4);
	if (cpu->vm->stands) {
		lapic->tsc_deadline = cpu->stood.deadline;
		lapic->regs[TIMER_CURRENT] = cpu->stood.current;
	}
}

int kvm_set_lapic(struct accel_vcpu *vcpu, const struct x86_lapic *lapic)
{
	struct kvm_cpu *cpu = (struct kvm_cpu *)vcpu;
	struct kvm_lapic_state k = { 0 };
	int err = kvm_set_msr(cpu, MSR_APIC_BASE, lapic->base);

	cpu->stood = (struct kvm_stood_timer){ lapic->tsc_deadline, lapic->regs[TIMER_CURRENT] };
	for (unsigned i = 0; i < ARRAY_LEN(lapic->regs); i++)
		memcpy(k.regs + 16 * i, &lapic->regs[i], 4);
	if (!err)
		err = kvm_call(cpu->fd, KVM_SET_LAPIC, &k);
	if (!err)
		err = kvm_set_msr(cpu, MSR_TSC_DEADLINE, lapic->tsc_deadline);
	if (err)
		log_error("kvm", "vCPU %u: KVM refuses its local APIC: %s", cpu->index,
			  strerror(-err));
	return err;
}
