/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Model-specific registers, and the paravirtual clock that hangs on some of them.
 *
 * Unknown registers are #GP in both directions, as the manuals say; Linux probes with that in mind.
 * Cold: fpu_leave() before anything. References: APM vol. 2 appendix A, SDM vol. 4; pvclock: the
 * KVM paravirtual interface (struct of 32 bytes, version odd while being written).
 */
#include "cpu/run.h"

#include <string.h>
#include <time.h>

enum {
	MSR_TSC = 0x10,
	MSR_PLATFORM_ID = 0x17,
	MSR_APIC_BASE = 0x1b,
	MSR_TSC_ADJUST = 0x3b,
	MSR_SPEC_CTRL = 0x48,
	MSR_PRED_CMD = 0x49,
	MSR_BIOS_SIGN_ID = 0x8b,
	MSR_MTRRCAP = 0xfe,
	MSR_ARCH_CAPABILITIES = 0x10a,
	MSR_SYSENTER_CS = 0x174,
	MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176,
	MSR_MCG_CAP = 0x179,
	MSR_MCG_STATUS = 0x17a,
	MSR_MCG_CTL = 0x17b,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_DEBUGCTL = 0x1d9,
	MSR_MTRR_PHYS0 = 0x200,
	MSR_MTRR_FIX64K = 0x250,
	MSR_MTRR_FIX16K = 0x258,
	MSR_MTRR_FIX4K = 0x268,
	MSR_PAT = 0x277,
	MSR_MTRR_DEF_TYPE = 0x2ff,
	MSR_MC0_CTL = 0x400,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_X2APIC_FIRST = 0x800,
	MSR_X2APIC_LAST = 0x8ff,
	MSR_KVM_WALL_CLOCK_OLD = 0x11,
	MSR_KVM_SYSTEM_TIME_OLD = 0x12,
	MSR_KVM_WALL_CLOCK = 0x4b564d00,
	MSR_KVM_SYSTEM_TIME = 0x4b564d01,
};
#define MSR_EFER            0xc0000080
#define MSR_STAR            0xc0000081
#define MSR_LSTAR           0xc0000082
#define MSR_CSTAR           0xc0000083
#define MSR_SFMASK          0xc0000084
#define MSR_FS_BASE         0xc0000100
#define MSR_GS_BASE         0xc0000101
#define MSR_KERNEL_GS_BASE  0xc0000102
#define MSR_TSC_AUX         0xc0000103
#define MSR_AMD_SYSCFG      0xc0010010
#define MSR_AMD_HWCR        0xc0010015
#define MSR_AMD_NB_CFG      0xc001001f
#define MSR_AMD_PATCH       0xc0010020
#define MSR_AMD_INT_PENDING 0xc0010055
#define MSR_AMD_VM_CR       0xc0010114
#define MSR_AMD_OSVW_LEN    0xc0010140
#define MSR_AMD_OSVW        0xc0010141
#define MSR_AMD_DE_CFG      0xc0011029
#define MSR_AMD_LS_CFG      0xc0011020
#define MSR_AMD_BU_CFG2     0xc001102a

#define MTRR_VARIABLE 8
#define MC_BANKS      10
#define MCG_CAP       (MC_BANKS | BIT(8)) /* MCG_CTL present */

static bool canonical(u64 v)
{
	return (s64)(v << 16) >> 16 == (s64)v;
}

/* ---- paravirtual clock
 * ---------------------------------------------------------------------------- */

struct pvclock_time {
	u32 version;
	u32 pad0;
	u64 tsc_timestamp;
	u64 system_time;
	u32 tsc_to_system_mul;
	s8 tsc_shift;
	u8 flags;
	u8 pad[2];
};

#define PVCLOCK_TSC_STABLE 1

/* ns = ((ticks << shift) * mul) >> 32 */
static void clock_scale(u64 hz, u32 *mul, s8 *shift)
{
	u64 scaled = 1000000000, base = hz;

	*shift = 0;
	while (base > scaled * 2) {
		base >>= 1;
		--*shift;
	}
	while (base <= scaled) {
		base <<= 1;
		++*shift;
	}
	*mul = ((unsigned __int128)scaled << 32) / base;
}

static u64 ticks_to_ns(u64 ticks, u64 hz)
{
	return (unsigned __int128)ticks * 1000000000 / hz;
}

static bool guest_write(struct cpu *cpu, gpa_t gpa, const void *data, unsigned bytes)
{
	const struct ram_slot *slot;
	u8 *host;

	/* the structures are aligned by the guest's promise; one that crosses a page is refused */
	if ((gpa & ~PAGE_MASK) + bytes > PAGE_SIZE)
		return false;
	host = ram_ptr(cpu->vm, gpa, &slot);
	if (!host)
		return false;
	memcpy(host, data, bytes);
	dirty_note(cpu->vm, slot, gpa);
	cpu_vm_memory_written(cpu->vm, gpa, bytes);
	return true;
}

static void write_system_time(struct cpu *cpu, u64 value)
{
	struct pvclock_time t = { 0 };
	u64 now = __builtin_ia32_rdtsc();

	cpu->msr.kvm_system_time = value;
	if (!(value & 1))
		return;
	t.version = 2;
	t.tsc_timestamp = now + cpu->tsc_offset;
	t.system_time = ticks_to_ns(now - cpu->vm->tsc_base, cpu->vm->tsc_hz);
	clock_scale(cpu->vm->tsc_hz, &t.tsc_to_system_mul, &t.tsc_shift);
	t.flags = vm_has(cpu->vm, FEAT_KVMCLOCK_STABLE) ? PVCLOCK_TSC_STABLE : 0;
	guest_write(cpu, value & ~1ull, &t, sizeof(t));
}

u64 cpu_vm_clock(const struct cpu_vm *vm, u64 host_tsc)
{
	return ticks_to_ns(host_tsc - vm->tsc_base, vm->tsc_hz);
}

/* What guests read is written when they ask for it: those that have asked get it anew. */
void cpu_vm_set_clock(struct cpu_vm *vm, u64 ns, u64 host_tsc)
{
	vm->tsc_base = host_tsc - (unsigned __int128)ns * vm->tsc_hz / 1000000000;
	for (unsigned i = 0; i < vm->config.cpus; i++)
		if (vm->cpus[i])
			write_system_time(vm->cpus[i], vm->cpus[i]->msr.kvm_system_time);
}

/* Wall clock at the moment kvm-clock read zero. */
static void write_wall_clock(struct cpu *cpu, u64 value)
{
	struct timespec now;
	u64 ns;
	u32 w[3];

	cpu->msr.kvm_wall_clock = value;
	clock_gettime(CLOCK_REALTIME, &now);
	ns = now.tv_sec * 1000000000ull + now.tv_nsec -
	     ticks_to_ns(__builtin_ia32_rdtsc() - cpu->vm->tsc_base, cpu->vm->tsc_hz);
	w[0] = 2;
	w[1] = ns / 1000000000;
	w[2] = ns % 1000000000;
	guest_write(cpu, value, w, sizeof(w));
}

/* ---- memory types
 * ---------------------------------------------------------------------------------- */

static bool pat_valid(u64 v)
{
	for (unsigned i = 0; i < 64; i += 8) {
		u8 type = v >> i;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

static bool mtrr_types_valid(u64 v)
{
	for (unsigned i = 0; i < 64; i += 8) {
		u8 type = v >> i;

		if (type > 6 || type == 2 || type == 3)
			return false;
	}
	return true;
}

/* The MTRR register @index, or NULL. */
static u64 *mtrr(struct cpu *cpu, u32 index)
{
	struct x86_msrs *m = &cpu->msr;

	if (index >= MSR_MTRR_PHYS0 && index < MSR_MTRR_PHYS0 + 2 * MTRR_VARIABLE)
		return index & 1 ? &m->mtrr_mask[(index - MSR_MTRR_PHYS0) / 2]
				 : &m->mtrr_base[(index - MSR_MTRR_PHYS0) / 2];
	if (index == MSR_MTRR_FIX64K)
		return &m->mtrr_fixed[0];
	if (index >= MSR_MTRR_FIX16K && index < MSR_MTRR_FIX16K + 2)
		return &m->mtrr_fixed[1 + index - MSR_MTRR_FIX16K];
	if (index >= MSR_MTRR_FIX4K && index < MSR_MTRR_FIX4K + 8)
		return &m->mtrr_fixed[3 + index - MSR_MTRR_FIX4K];
	if (index == MSR_MTRR_DEF_TYPE)
		return &m->mtrr_def_type;
	return NULL;
}

static bool mtrr_write(struct cpu *cpu, u32 index, u64 value)
{
	u64 *r = mtrr(cpu, index);
	u64 physical = BIT(cpu->vm->maxphyaddr) - 1;

	if (index == MSR_MTRR_DEF_TYPE) {
		if (value & ~0xcffull || !mtrr_types_valid(value & 0xff))
			return false;
	} else if (index >= MSR_MTRR_FIX64K) {
		if (!mtrr_types_valid(value))
			return false;
	} else if (index & 1) {
		if (value & ~physical || value & 0x7ff)
			return false;
	} else if (value & ~physical || value & 0xf00 || !mtrr_types_valid(value & 0xff)) {
		return false;
	}
	*r = value;
	return true;
}

/* ---- EFER
 * -------------------------------------------------------------------------------------------- */

static bool efer_write(struct cpu *cpu, u64 value)
{
	u64 allowed = EFER_LMA | EFER_LME;

	if (vm_has(cpu->vm, FEAT_SYSCALL))
		allowed |= EFER_SCE;
	if (vm_has(cpu->vm, FEAT_NX))
		allowed |= EFER_NXE;
	if (vm_has(cpu->vm, FEAT_FXSR_OPT))
		allowed |= EFER_FFXSR;
	if (vm_has(cpu->vm, FEAT_AUTOIBRS))
		allowed |= BIT(21);
	if (value & ~allowed)
		return false;
	if ((value ^ cpu->efer) & EFER_LME && cpu->cr0 & CR0_PG)
		return false;
	if ((value ^ cpu->efer) & EFER_NXE)
		tlb_flush_all(cpu);
	cpu->efer = (value & ~EFER_LMA) | (cpu->efer & EFER_LMA);
	cpu_update_ctx(cpu);
	return true;
}

/* ---- the registers
 * ------------------------------------------------------------------------------------ */

static bool is_bus_msr(u32 index)
{
	return index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE ||
	       (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST);
}

static bool bus_msr(struct cpu *cpu, u32 index, u64 *value, bool write)
{
	return cpu->vm->config.bus.msr(cpu->vm->config.bus.opaque, cpu->index, index, value, write);
}

static u64 *mc_bank(struct cpu *cpu, u32 index)
{
	if (index < MSR_MC0_CTL || index >= MSR_MC0_CTL + 4 * MC_BANKS)
		return NULL;
	return &cpu->msr.mc_bank[(index - MSR_MC0_CTL) / 4][index & 3];
}

/* Registers that are storage and nothing else, with their canonical-address rule. */
static u64 *plain(struct cpu *cpu, u32 index, bool *address)
{
	struct x86_msrs *m = &cpu->msr;

	*address = false;
	switch (index) {
	case MSR_STAR: return &m->star;
	case MSR_SFMASK: return &m->sfmask;
	case MSR_TSC_AUX: return vm_has(cpu->vm, FEAT_RDTSCP) ? &m->tsc_aux : NULL;
	case MSR_SYSENTER_CS: return &m->sysenter_cs;
	case MSR_DEBUGCTL: return &m->debugctl;
	case MSR_MCG_STATUS: return &m->mcg_status;
	case MSR_MCG_CTL: return &m->mcg_ctl;
	case MSR_MISC_ENABLE: return &m->misc_enable;
	}
	*address = true;
	switch (index) {
	case MSR_LSTAR: return &m->lstar;
	case MSR_CSTAR: return &m->cstar;
	case MSR_KERNEL_GS_BASE: return &m->kernel_gs_base;
	case MSR_SYSENTER_ESP: return &m->sysenter_esp;
	case MSR_SYSENTER_EIP: return &m->sysenter_eip;
	}
	return NULL;
}

/* AMD registers that Linux reads without a net: their reset values. Writes are dropped. */
static bool amd_fixed(struct cpu *cpu, u32 index, u64 *value)
{
	if (!cpu->vm->vendor_amd)
		return false;
	switch (index) {
	case MSR_AMD_SYSCFG:
	case MSR_AMD_NB_CFG:
	case MSR_AMD_PATCH:
	case MSR_AMD_INT_PENDING:
	case MSR_AMD_OSVW_LEN:
	case MSR_AMD_OSVW:
	case MSR_AMD_LS_CFG:
	case MSR_AMD_BU_CFG2: *value = 0; return true;
	case MSR_AMD_HWCR: *value = BIT(24); return true;  /* the TSC counts at P0 */
	case MSR_AMD_VM_CR: *value = BIT(4); return true;  /* SVM disabled */
	case MSR_AMD_DE_CFG: *value = BIT(1); return true; /* LFENCE serialises */
	default: return false;
	}
}

bool msr_read(struct cpu *cpu, u32 index, u64 *value)
{
	bool address;
	u64 *r;

	fpu_leave(cpu);
	*value = 0;
	if (is_bus_msr(index))
		return bus_msr(cpu, index, value, false);
	r = plain(cpu, index, &address);
	if (!r)
		r = mtrr(cpu, index);
	if (!r)
		r = mc_bank(cpu, index);
	if (r) {
		*value = *r;
		return true;
	}
	switch (index) {
	case MSR_TSC: *value = cpu_tsc(cpu); return true;
	case MSR_TSC_ADJUST: *value = cpu->msr.tsc_adjust; return vm_has(cpu->vm, FEAT_TSC_ADJUST);
	case MSR_EFER: *value = cpu->efer; return true;
	case MSR_FS_BASE: *value = cpu->seg[SEG_FS].base; return true;
	case MSR_GS_BASE: *value = cpu->seg[SEG_GS].base; return true;
	case MSR_PAT: *value = cpu->msr.pat; return true;
	case MSR_MTRRCAP: *value = MTRR_VARIABLE | BIT(8) | BIT(10); return true;
	case MSR_MCG_CAP: *value = MCG_CAP; return true;
	case MSR_BIOS_SIGN_ID:
		*value = cpu->vm->vendor_amd ? 0x01000065 : 0x100000000ull;
		return true;
	case MSR_PLATFORM_ID: return !cpu->vm->vendor_amd;
	case MSR_SPEC_CTRL: *value = cpu->msr.spec_ctrl; return vm_has(cpu->vm, FEAT_SPEC_CTRL);
	case MSR_ARCH_CAPABILITIES:
		*value = cpu->vm->arch_caps;
		return vm_has(cpu->vm, FEAT_ARCH_CAPS);
	case MSR_KVM_SYSTEM_TIME:
		*value = cpu->msr.kvm_system_time;
		return vm_has(cpu->vm, FEAT_KVMCLOCK);
	case MSR_KVM_WALL_CLOCK:
		*value = cpu->msr.kvm_wall_clock;
		return vm_has(cpu->vm, FEAT_KVMCLOCK);
	case MSR_KVM_SYSTEM_TIME_OLD:
		*value = cpu->msr.kvm_system_time;
		return vm_has(cpu->vm, FEAT_KVMCLOCK_OLD);
	case MSR_KVM_WALL_CLOCK_OLD:
		*value = cpu->msr.kvm_wall_clock;
		return vm_has(cpu->vm, FEAT_KVMCLOCK_OLD);
	default: return amd_fixed(cpu, index, value);
	}
}

/* IBRS, STIBP, SSBD and BHI_DIS_S (Intel SDM volume 4, table 2-2): kept, without effect. */
static u64 spec_ctrl_bits(const struct cpu_vm *vm)
{
	return 7 | (vm_has(vm, FEAT_BHI_CTRL) ? BIT(10) : 0);
}

/* Writing the TSC moves the offset, and TSC_ADJUST with it (SDM vol. 3 section 18.17.3). */
static void tsc_write(struct cpu *cpu, u64 value)
{
	s64 delta = value - cpu_tsc(cpu);

	cpu->tsc_offset += delta;
	cpu->msr.tsc_adjust += delta;
}

static bool mc_write(struct cpu *cpu, u32 index, u64 value)
{
	/* status and address registers take zero only, unless HWCR says otherwise (it does not) */
	if ((index & 3) == 1 && value)
		return false;
	*mc_bank(cpu, index) = value;
	return true;
}

bool msr_write(struct cpu *cpu, u32 index, u64 value)
{
	bool address;
	u64 *r, ignored;

	fpu_leave(cpu);
	if (is_bus_msr(index))
		return bus_msr(cpu, index, &value, true);
	r = plain(cpu, index, &address);
	if (r) {
		if (address && !canonical(value))
			return false;
		if (index == MSR_SFMASK || index == MSR_TSC_AUX || index == MSR_SYSENTER_CS)
			value = (u32)value;
		*r = value;
		return true;
	}
	if (mtrr(cpu, index))
		return mtrr_write(cpu, index, value);
	if (mc_bank(cpu, index))
		return mc_write(cpu, index, value);
	switch (index) {
	case MSR_TSC: tsc_write(cpu, value); return true;
	case MSR_TSC_ADJUST:
		if (!vm_has(cpu->vm, FEAT_TSC_ADJUST))
			return false;
		cpu->tsc_offset += value - cpu->msr.tsc_adjust;
		cpu->msr.tsc_adjust = value;
		return true;
	case MSR_EFER: return efer_write(cpu, value);
	case MSR_FS_BASE:
	case MSR_GS_BASE:
		if (!canonical(value))
			return false;
		seg_set_base(cpu, index == MSR_FS_BASE ? SEG_FS : SEG_GS, value);
		return true;
	case MSR_PAT:
		if (!pat_valid(value))
			return false;
		cpu->msr.pat = value;
		return true;
	case MSR_BIOS_SIGN_ID: return true; /* part of the microcode query */
	case MSR_SPEC_CTRL:
		if (!vm_has(cpu->vm, FEAT_SPEC_CTRL) || value & ~spec_ctrl_bits(cpu->vm))
			return false;
		cpu->msr.spec_ctrl = value;
		return true;
	case MSR_PRED_CMD: return vm_has(cpu->vm, FEAT_SPEC_CTRL) && !(value & ~1ull);
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_OLD:
		if (!vm_has(cpu->vm,
			    index == MSR_KVM_SYSTEM_TIME ? FEAT_KVMCLOCK : FEAT_KVMCLOCK_OLD))
			return false;
		write_system_time(cpu, value);
		return true;
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_OLD:
		if (!vm_has(cpu->vm,
			    index == MSR_KVM_WALL_CLOCK ? FEAT_KVMCLOCK : FEAT_KVMCLOCK_OLD))
			return false;
		write_wall_clock(cpu, value);
		return true;
	default: return amd_fixed(cpu, index, &ignored);
	}
}
