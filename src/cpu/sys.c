/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The instructions that run in C: one table from mnemonic to function, and the short ones
 * themselves. Hot.
 *
 * A row of x86/rows.txt that says "helper" needs a line here; a mnemonic without one is #UD.
 * Where one mnemonic names instructions of different kinds (MOV, PUSH, JMP...), only the forms
 * that decode.c sends to helpers arrive.
 */
#include "cpu/code.h"
#include "cpu/helper.h"
#include <Zydis/Zydis.h>

/* ---- flags ----------------------------------------------------------------------------------- */

/* IF may have become 1: whatever waits is looked at before the next block. */
static void interrupts_may_wait(struct cpu *cpu)
{
	if ((cpu->rflags & FLAG_IF) && __atomic_load_n(&cpu->requests, __ATOMIC_RELAXED))
		__atomic_store_n(&cpu->exit_request, 1, __ATOMIC_SEQ_CST);
}

static enum helper_result do_cli(struct cpu *cpu, const struct insn *insn)
{
	if (cpu->cpl > cpu_iopl(cpu))
		return raise_error(cpu, VEC_GP, 0);
	cpu->rflags &= ~FLAG_IF;
	return HELPER_NEXT;
}

static enum helper_result do_sti(struct cpu *cpu, const struct insn *insn)
{
	if (cpu->cpl > cpu_iopl(cpu))
		return raise_error(cpu, VEC_GP, 0);
	if (!(cpu->rflags & FLAG_IF))
		cpu->intr_shadow = 1;
	cpu->rflags |= FLAG_IF;
	interrupts_may_wait(cpu);
	return HELPER_NEXT;
}

static enum helper_result do_cld(struct cpu *cpu, const struct insn *insn)
{
	cpu->rflags &= ~FLAG_DF;
	return HELPER_NEXT;
}

static enum helper_result do_std(struct cpu *cpu, const struct insn *insn)
{
	cpu->rflags |= FLAG_DF;
	return HELPER_NEXT;
}

static enum helper_result set_ac(struct cpu *cpu, bool on)
{
	if (cpu->cpl)
		return raise_fault(cpu, VEC_UD);
	flag_set(cpu, FLAG_AC, on);
	cpu_update_ctx(cpu);
	return HELPER_NEXT;
}

static enum helper_result do_clac(struct cpu *cpu, const struct insn *insn)
{
	return set_ac(cpu, false);
}

static enum helper_result do_stac(struct cpu *cpu, const struct insn *insn)
{
	return set_ac(cpu, true);
}

static enum helper_result do_pushf(struct cpu *cpu, const struct insn *insn)
{
	u64 image = (cpu->rflags & ~(FLAG_VM | FLAG_RF)) | 2;
	struct stack stack;

	stack_open(cpu, &stack);
	if (!stack_push(cpu, &stack, image, insn->opsize))
		return HELPER_FAULT;
	stack_commit(cpu, &stack);
	return HELPER_NEXT;
}

/* SDM vol. 2, POPF: IOPL changes at CPL 0 only, IF where CPL <= IOPL; neither faults. */
static enum helper_result do_popf(struct cpu *cpu, const struct insn *insn)
{
	u64 mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT;
	struct stack stack;
	u64 image;

	stack_open(cpu, &stack);
	if (!stack_pop(cpu, &stack, &image, insn->opsize))
		return HELPER_FAULT;
	stack_commit(cpu, &stack);
	if (insn->opsize >= 4)
		mask |= FLAG_AC | FLAG_ID;
	if (cpu->cpl <= cpu_iopl(cpu))
		mask |= FLAG_IF;
	if (cpu->cpl == 0)
		mask |= FLAG_IOPL;
	cpu->rflags = (cpu->rflags & ~(mask | FLAG_RF)) | (image & mask) | 2;
	cpu_update_ctx(cpu);
	interrupts_may_wait(cpu);
	return HELPER_NEXT;
}

/* ---- time and identity ----------------------------------------------------------------------- */

static bool tsc_refused(struct cpu *cpu)
{
	if (!cpu->cpl || !(cpu->cr4 & CR4_TSD))
		return false;
	fault_error(cpu, VEC_GP, 0);
	return true;
}

static enum helper_result do_rdtsc(struct cpu *cpu, const struct insn *insn)
{
	u64 tsc;

	if (tsc_refused(cpu))
		return HELPER_FAULT;
	tsc = cpu_tsc(cpu);
	cpu->gpr[RAX] = (u32)tsc;
	cpu->gpr[RDX] = tsc >> 32;
	return HELPER_NEXT;
}

static enum helper_result do_rdtscp(struct cpu *cpu, const struct insn *insn)
{
	/* It waits until all earlier loads are globally visible (SDM vol. 2B); the host's RDTSC in
	 * do_rdtsc() would run ahead of them, and another processor could see time go backwards. */
	__asm__ volatile("lfence" : : : "memory");
	if (do_rdtsc(cpu, insn) == HELPER_FAULT)
		return HELPER_FAULT;
	cpu->gpr[RCX] = (u32)cpu->msr.tsc_aux;
	return HELPER_NEXT;
}

/* No counters are offered. */
static enum helper_result do_rdpmc(struct cpu *cpu, const struct insn *insn)
{
	return raise_error(cpu, VEC_GP, 0);
}

static enum helper_result do_rdpid(struct cpu *cpu, const struct insn *insn)
{
	gpr_set(cpu, insn->rm, cpu_64bit(cpu) ? 8 : 4, cpu->msr.tsc_aux);
	return HELPER_NEXT;
}

static enum helper_result do_cpuid(struct cpu *cpu, const struct insn *insn)
{
	u32 out[4];

	fpu_leave(cpu);
	cpuid_query(cpu, cpu->gpr[RAX], cpu->gpr[RCX], out);
	cpu->gpr[RAX] = out[0];
	cpu->gpr[RBX] = out[1];
	cpu->gpr[RCX] = out[2];
	cpu->gpr[RDX] = out[3];
	return HELPER_NEXT;
}

static enum helper_result do_rdmsr(struct cpu *cpu, const struct insn *insn)
{
	u64 value;

	fpu_leave(cpu);
	if (cpu->cpl || !msr_read(cpu, cpu->gpr[RCX], &value))
		return raise_error(cpu, VEC_GP, 0);
	cpu->gpr[RAX] = (u32)value;
	cpu->gpr[RDX] = value >> 32;
	return HELPER_NEXT;
}

static enum helper_result do_wrmsr(struct cpu *cpu, const struct insn *insn)
{
	u64 value = cpu->gpr[RDX] << 32 | (u32)cpu->gpr[RAX];

	fpu_leave(cpu);
	if (cpu->cpl || !msr_write(cpu, cpu->gpr[RCX], value))
		return raise_error(cpu, VEC_GP, 0);
	return HELPER_NEXT;
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* Those that only need privilege: caches are the host's business. */
static enum helper_result do_privileged_nop(struct cpu *cpu, const struct insn *insn)
{
	return cpu->cpl ? raise_error(cpu, VEC_GP, 0) : HELPER_NEXT;
}

static enum helper_result do_hlt(struct cpu *cpu, const struct insn *insn)
{
	return cpu->cpl ? raise_error(cpu, VEC_GP, 0) : HELPER_HALT;
}

/* After @PAUSES_MAX of them. Parked, as the instruction itself is in the cache. */
static enum helper_result do_pause(struct cpu *cpu, const struct insn *insn)
{
	if (cpu->pauses_left-- && cpu->pauses_left < PAUSES_MAX)
		return HELPER_NEXT;
	cpu->pauses_left = PAUSES_MAX;
	code_leave(cpu, CODE_PARKED);
	code_yield();
	code_enter(cpu);
	return HELPER_NEXT;
}

static enum helper_result do_ud(struct cpu *cpu, const struct insn *insn)
{
	return raise_fault(cpu, VEC_UD);
}

/* What has no mnemonic: an instruction of more than 15 bytes (SDM vol. 3 section 6.15, #GP), or one
 * that the translator has seen to be forbidden. */
static enum helper_result do_refuse(struct cpu *cpu, const struct insn *insn)
{
	return raise_error(cpu, VEC_GP, 0);
}

/* CLFLUSH, CLFLUSHOPT, CLWB: a read as far as faults go. */
static enum helper_result do_clflush(struct cpu *cpu, const struct insn *insn)
{
	gpa_t gpa;
	gva_t gva;

	if (!insn_linear(cpu, insn, 1, MEM_R, &gva) || !mmu_translate(cpu, gva, ACCESS_R, &gpa))
		return HELPER_FAULT;
	return HELPER_NEXT;
}

#define KVM_EPERM  1
#define KVM_ENOSYS 1000

/* KVM's hypercalls. None is advertised, so every number is unknown. */
static enum helper_result do_hypercall(struct cpu *cpu, const struct insn *insn)
{
	s64 result = cpu->cpl ? -KVM_EPERM : -KVM_ENOSYS;

	gpr_set(cpu, RAX, cpu_64bit(cpu) ? 8 : 4, result);
	return HELPER_NEXT;
}

/* ---- one mnemonic, near and far or general and segment forms --------------------------------- */

static enum helper_result do_mov(struct cpu *cpu, const struct insn *insn)
{
	if (insn->map == 0)
		return do_mov_sreg(cpu, insn);
	return insn->opcode & 1 ? do_mov_dr(cpu, insn) : do_mov_cr(cpu, insn);
}

/* ---- the table ------------------------------------------------------------------------------- */

#define ROW(name, function) [ZYDIS_MNEMONIC_##name] = function
#define SIZES(name, function)                                                   \
	ROW(name##B, function), ROW(name##W, function), ROW(name##D, function), \
		ROW(name##Q, function)
#define SIZES_IO(name, function) \
	ROW(name##B, function), ROW(name##W, function), ROW(name##D, function)

static helper_fn *const table[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
	[ZYDIS_MNEMONIC_INVALID] = do_refuse,
	/* flags */
	ROW(CLI, do_cli),
	ROW(STI, do_sti),
	ROW(CLD, do_cld),
	ROW(STD, do_std),
	ROW(CLAC, do_clac),
	ROW(STAC, do_stac),
	ROW(PUSHF, do_pushf),
	ROW(PUSHFD, do_pushf),
	ROW(PUSHFQ, do_pushf),
	ROW(POPF, do_popf),
	ROW(POPFD, do_popf),
	ROW(POPFQ, do_popf),
	/* segments */
	ROW(MOV, do_mov),
	ROW(PUSH, do_push_sreg),
	ROW(POP, do_pop_sreg),
	ROW(LDS, do_load_far_pointer),
	ROW(LES, do_load_far_pointer),
	ROW(LFS, do_load_far_pointer),
	ROW(LGS, do_load_far_pointer),
	ROW(LSS, do_load_far_pointer),
	ROW(LGDT, do_lgdt),
	ROW(LIDT, do_lidt),
	ROW(SGDT, do_sgdt),
	ROW(SIDT, do_sidt),
	ROW(LLDT, do_lldt),
	ROW(LTR, do_ltr),
	ROW(SLDT, do_sldt),
	ROW(STR, do_str),
	ROW(LAR, do_lar),
	ROW(LSL, do_lsl),
	ROW(VERR, do_verr),
	ROW(VERW, do_verw),
	ROW(ARPL, do_arpl),
	/* far transfers and events */
	ROW(JMP, do_jmp_far),
	ROW(CALL, do_call_far),
	ROW(RET, do_ret_far),
	ROW(IRET, do_iret),
	ROW(IRETD, do_iret),
	ROW(IRETQ, do_iret),
	ROW(INT, do_int),
	ROW(INT1, do_int1),
	ROW(INT3, do_int3),
	ROW(INTO, do_into),
	ROW(UD0, do_ud),
	ROW(UD1, do_ud),
	ROW(UD2, do_ud),
	/* system calls */
	ROW(SYSCALL, do_syscall),
	ROW(SYSRET, do_sysret),
	ROW(SYSENTER, do_sysenter),
	ROW(SYSEXIT, do_sysexit),
	ROW(SWAPGS, do_swapgs),
	ROW(RDFSBASE, do_rdfsbase),
	ROW(RDGSBASE, do_rdgsbase),
	ROW(WRFSBASE, do_wrfsbase),
	ROW(WRGSBASE, do_wrgsbase),
	/* control */
	ROW(CLTS, do_clts),
	ROW(LMSW, do_lmsw),
	ROW(SMSW, do_smsw),
	ROW(XGETBV, fpu_execute),
	ROW(XSETBV, fpu_execute),
	ROW(INVLPG, do_invlpg),
	ROW(INVPCID, do_invpcid),
	ROW(HLT, do_hlt),
	ROW(PAUSE, do_pause),
	ROW(INVD, do_privileged_nop),
	ROW(WBINVD, do_privileged_nop),
	ROW(CLFLUSH, do_clflush),
	ROW(CLFLUSHOPT, do_clflush),
	ROW(CLWB, do_clflush),
	ROW(VMCALL, do_hypercall),
	ROW(VMMCALL, do_hypercall),
	/* time, identity, model-specific registers */
	ROW(CPUID, do_cpuid),
	ROW(RDTSC, do_rdtsc),
	ROW(RDTSCP, do_rdtscp),
	ROW(RDPMC, do_rdpmc),
	ROW(RDPID, do_rdpid),
	ROW(RDMSR, do_rdmsr),
	ROW(WRMSR, do_wrmsr),
	/* ports */
	ROW(IN, do_in),
	ROW(OUT, do_out),
	SIZES_IO(INS, do_ins),
	SIZES_IO(OUTS, do_outs),
	/* strings */
	SIZES(MOVS, string_execute),
	SIZES(STOS, string_execute),
	SIZES(LODS, string_execute),
	SIZES(SCAS, string_execute),
	SIZES(CMPS, string_execute),
	/* floating-point state */
	ROW(FXSAVE, fpu_execute),
	ROW(FXSAVE64, fpu_execute),
	ROW(FXRSTOR, fpu_execute),
	ROW(FXRSTOR64, fpu_execute),
	ROW(XSAVE, fpu_execute),
	ROW(XSAVE64, fpu_execute),
	ROW(XSAVEOPT, fpu_execute),
	ROW(XSAVEOPT64, fpu_execute),
	ROW(XRSTOR, fpu_execute),
	ROW(XRSTOR64, fpu_execute),
	/* legacy */
	ROW(AAA, do_aaa),
	ROW(AAS, do_aas),
	ROW(AAM, do_aam),
	ROW(AAD, do_aad),
	ROW(DAA, do_daa),
	ROW(DAS, do_das),
	ROW(SALC, do_salc),
	ROW(XLAT, do_xlat),
	ROW(BOUND, do_bound),
	ROW(ENTER, do_enter),
	ROW(PUSHA, do_pusha),
	ROW(PUSHAD, do_pusha),
	ROW(POPA, do_popa),
	ROW(POPAD, do_popa),
};

enum helper_result helper_execute(struct cpu *cpu, const struct insn *insn)
{
	helper_fn *function = table[insn->mnemonic];

	return function ? function(cpu, insn) : raise_fault(cpu, VEC_UD);
}
