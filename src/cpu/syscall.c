/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fast ways between user and kernel: SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, and the FS
 * and GS base instructions. Hot.
 *
 * SDM vol. 2 and APM vol. 3. The vendors differ; the guest has the host's vendor and gets its
 * behaviour: SYSCALL and SYSRET outside 64-bit mode exist on AMD only, SYSENTER in long mode on
 * Intel only, and Intel checks a non-canonical RIP in SYSRET itself.
 *
 * SYSCALL and SYSRET of 64-bit code are mostly executed by thunks (x86/lower_thunks.c), which do
 * what is here.
 */
#include "cpu/helper.h"

static void interrupts_may_wait(struct cpu *cpu)
{
	if ((cpu->rflags & FLAG_IF) && __atomic_load_n(&cpu->requests, __ATOMIC_RELAXED))
		__atomic_store_n(&cpu->exit_request, 1, __ATOMIC_SEQ_CST);
}

/* After these two instructions the trap looks at the new TF, not at the old one, so that SFMASK can
 * keep a debugger of user code out of the kernel (Linux relies on it: tools/testing/selftests/x86).
 */
static void single_step_by_new_flags(struct cpu *cpu)
{
	cpu->single_step = !!(cpu->rflags & FLAG_TF);
}

enum helper_result do_syscall(struct cpu *cpu, const struct insn *insn)
{
	u64 next = cpu->rip + insn->len;
	u16 selector = cpu->msr.star >> 32;

	if (!(cpu->efer & EFER_SCE) || !is_protected(cpu) ||
	    (!cpu_64bit(cpu) && !cpu->vm->vendor_amd))
		return raise_fault(cpu, VEC_UD);
	if (cpu_long_mode(cpu)) {
		cpu->gpr[RCX] = next;
		cpu->gpr[R11] = cpu->rflags & ~FLAG_RF;
		cpu->rip = cpu_64bit(cpu) ? cpu->msr.lstar : cpu->msr.cstar;
		cpu->rflags = (cpu->rflags & ~(cpu->msr.sfmask & 0xffffffff) & ~FLAG_RF) | 2;
	} else {
		cpu->gpr[RCX] = (u32)next;
		cpu->rip = (u32)cpu->msr.star;
		cpu->rflags &= ~(FLAG_IF | FLAG_VM | FLAG_RF);
	}
	seg_install_flat_cs(cpu, selector, cpu_long_mode(cpu), 0);
	seg_install_flat_ss(cpu, selector + 8, 0);
	single_step_by_new_flags(cpu);
	cpu_update_ctx(cpu);
	return HELPER_JUMP;
}

enum helper_result do_sysret(struct cpu *cpu, const struct insn *insn)
{
	u16 selector = cpu->msr.star >> 48;
	bool wide = insn->rex & 8;

	if (!(cpu->efer & EFER_SCE) || !is_protected(cpu) ||
	    (!cpu_64bit(cpu) && !cpu->vm->vendor_amd))
		return raise_fault(cpu, VEC_UD);
	if (cpu->cpl || (wide && !cpu->vm->vendor_amd && !is_canonical(cpu->gpr[RCX])))
		return raise_error(cpu, VEC_GP, 0);
	cpu->rip = wide ? cpu->gpr[RCX] : (u32)cpu->gpr[RCX];
	if (cpu_long_mode(cpu))
		cpu->rflags = (cpu->gpr[R11] & FLAGS_SYSRET) | 2;
	else
		cpu->rflags |= FLAG_IF;
	seg_install_flat_cs(cpu, wide ? selector + 16 : selector, wide, 3);
	seg_install_flat_ss(cpu, selector + 8, 3);
	single_step_by_new_flags(cpu);
	cpu_update_ctx(cpu);
	interrupts_may_wait(cpu);
	return HELPER_JUMP;
}

enum helper_result do_sysenter(struct cpu *cpu, const struct insn *insn)
{
	u16 selector = cpu->msr.sysenter_cs;
	bool wide = cpu_long_mode(cpu);

	if (wide && cpu->vm->vendor_amd)
		return raise_fault(cpu, VEC_UD);
	if (!is_protected(cpu) || sel_is_null(selector))
		return raise_error(cpu, VEC_GP, 0);
	cpu->rflags &= ~(FLAG_VM | FLAG_IF | FLAG_RF);
	cpu->gpr[RSP] = wide ? cpu->msr.sysenter_esp : (u32)cpu->msr.sysenter_esp;
	cpu->rip = wide ? cpu->msr.sysenter_eip : (u32)cpu->msr.sysenter_eip;
	seg_install_flat_cs(cpu, selector, wide, 0);
	seg_install_flat_ss(cpu, selector + 8, 0);
	cpu_update_ctx(cpu);
	return HELPER_JUMP;
}

enum helper_result do_sysexit(struct cpu *cpu, const struct insn *insn)
{
	u16 selector = cpu->msr.sysenter_cs;
	bool wide = insn->rex & 8;

	if (cpu_long_mode(cpu) && cpu->vm->vendor_amd)
		return raise_fault(cpu, VEC_UD);
	if (!is_protected(cpu) || cpu->cpl || sel_is_null(selector))
		return raise_error(cpu, VEC_GP, 0);
	if (wide && (!is_canonical(cpu->gpr[RDX]) || !is_canonical(cpu->gpr[RCX])))
		return raise_error(cpu, VEC_GP, 0);
	cpu->gpr[RSP] = wide ? cpu->gpr[RCX] : (u32)cpu->gpr[RCX];
	cpu->rip = wide ? cpu->gpr[RDX] : (u32)cpu->gpr[RDX];
	seg_install_flat_cs(cpu, selector + (wide ? 32 : 16), wide, 3);
	seg_install_flat_ss(cpu, selector + (wide ? 40 : 24), 3);
	cpu_update_ctx(cpu);
	return HELPER_JUMP;
}

enum helper_result do_swapgs(struct cpu *cpu, const struct insn *insn)
{
	u64 base = cpu->gs_base;

	if (!cpu_64bit(cpu))
		return raise_fault(cpu, VEC_UD);
	if (cpu->cpl)
		return raise_error(cpu, VEC_GP, 0);
	seg_set_base(cpu, SEG_GS, cpu->msr.kernel_gs_base);
	cpu->msr.kernel_gs_base = base;
	return HELPER_NEXT;
}

/* ---- FSGSBASE: the register is the r/m operand ----------------------------------------------- */

static bool base_allowed(struct cpu *cpu)
{
	if (cpu_64bit(cpu) && (cpu->cr4 & CR4_FSGSBASE))
		return true;
	fault(cpu, VEC_UD);
	return false;
}

static enum helper_result read_base(struct cpu *cpu, const struct insn *insn, u64 base)
{
	if (!base_allowed(cpu))
		return HELPER_FAULT;
	gpr_set(cpu, insn->rm, insn->rex & 8 ? 8 : 4, base);
	return HELPER_NEXT;
}

static enum helper_result write_base(struct cpu *cpu, const struct insn *insn, enum x86_seg seg)
{
	u64 base = gpr_get(cpu, insn->rm, insn->rex & 8 ? 8 : 4);

	if (!base_allowed(cpu))
		return HELPER_FAULT;
	if (!is_canonical(base))
		return raise_error(cpu, VEC_GP, 0);
	seg_set_base(cpu, seg, base);
	return HELPER_NEXT;
}

enum helper_result do_rdfsbase(struct cpu *cpu, const struct insn *insn)
{
	return read_base(cpu, insn, cpu->fs_base);
}

enum helper_result do_rdgsbase(struct cpu *cpu, const struct insn *insn)
{
	return read_base(cpu, insn, cpu->gs_base);
}

enum helper_result do_wrfsbase(struct cpu *cpu, const struct insn *insn)
{
	return write_base(cpu, insn, SEG_FS);
}

enum helper_result do_wrgsbase(struct cpu *cpu, const struct insn *insn)
{
	return write_base(cpu, insn, SEG_GS);
}
