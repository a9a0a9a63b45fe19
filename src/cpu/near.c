/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Near branches in C: JMP, CALL, RET, Jcc, LOOP and JCXZ of blocks of one instruction, with all
 * that the inline forms leave out. Hot.
 *
 * A branch checks its target before it changes anything: a target that is not canonical, or beyond
 * the code segment's limit, is #GP(0) of the branch, with RSP, RCX and the stack as they were (SDM
 * vol. 2, JMP, CALL, RET, Jcc, LOOP). Inline forms find out that a target is not canonical when the
 * jump cache does not know it, and come here (run.c). With a 16-bit operand the target is 16 bits
 * wide; 64-bit mode knows no such branches.
 */
#include "cpu/helper.h"

#include <Zydis/Zydis.h>

static unsigned branch_size(const struct cpu *cpu, const struct insn *insn)
{
	if (cpu_64bit(cpu))
		return 8;
	return insn->opsize == 2 ? 2 : 4;
}

static enum helper_result go(struct cpu *cpu, u64 target)
{
	cpu->rip = target;
	return HELPER_JUMP;
}

static bool may_go(struct cpu *cpu, u64 target)
{
	if (cpu_64bit(cpu) ? is_canonical(target) : target <= cpu->seg[SEG_CS].limit)
		return true;
	fault_error(cpu, VEC_GP, 0);
	return false;
}

static u64 relative_target(const struct cpu *cpu, const struct insn *insn)
{
	return (cpu->rip + insn->len + insn->imm) & size_mask(branch_size(cpu, insn));
}

/* The target of JMP and CALL. False: it cannot be read, or may not be gone to. */
static bool find_target(struct cpu *cpu, const struct insn *insn, u64 *target)
{
	if (!insn->has_modrm)
		*target = relative_target(cpu, insn);
	else if (!insn_rm_load(cpu, insn, branch_size(cpu, insn), target))
		return false;
	return may_go(cpu, *target);
}

static enum helper_result jump(struct cpu *cpu, const struct insn *insn)
{
	u64 target;

	return find_target(cpu, insn, &target) ? go(cpu, target) : HELPER_FAULT;
}

static enum helper_result call(struct cpu *cpu, const struct insn *insn)
{
	struct stack stack;
	u64 target;

	stack_open(cpu, &stack);
	if (!find_target(cpu, insn, &target) ||
	    !stack_push(cpu, &stack, cpu->rip + insn->len, branch_size(cpu, insn)))
		return HELPER_FAULT;
	stack_commit(cpu, &stack);
	return go(cpu, target);
}

static enum helper_result ret(struct cpu *cpu, const struct insn *insn)
{
	struct stack stack;
	u64 target;

	stack_open(cpu, &stack);
	if (!stack_pop(cpu, &stack, &target, branch_size(cpu, insn)) || !may_go(cpu, target))
		return HELPER_FAULT;
	stack_skip(&stack, insn->imm & 0xffff);
	stack_commit(cpu, &stack);
	return go(cpu, target);
}

/* SDM vol. 1 appendix B: the low four bits of the opcode. */
static bool condition(u64 flags, unsigned cc)
{
	bool less = !(flags & FLAG_SF) != !(flags & FLAG_OF), holds;

	switch (cc >> 1) {
	case 0: holds = flags & FLAG_OF; break;
	case 1: holds = flags & FLAG_CF; break;
	case 2: holds = flags & FLAG_ZF; break;
	case 3: holds = flags & (FLAG_CF | FLAG_ZF); break;
	case 4: holds = flags & FLAG_SF; break;
	case 5: holds = flags & FLAG_PF; break;
	case 6: holds = less; break;
	default: holds = less || flags & FLAG_ZF;
	}
	return holds != (cc & 1);
}

static enum helper_result jump_if(struct cpu *cpu, const struct insn *insn)
{
	u64 target = relative_target(cpu, insn);

	if (!condition(cpu->rflags, insn->opcode & 15))
		return HELPER_NEXT;
	return may_go(cpu, target) ? go(cpu, target) : HELPER_FAULT;
}

/* LOOP, LOOPcc and JrCXZ: the counter is as wide as addresses. */
static enum helper_result loop(struct cpu *cpu, const struct insn *insn)
{
	u64 count = cpu->gpr[RCX], target = relative_target(cpu, insn);
	bool zero = cpu->rflags & FLAG_ZF, counts = insn->opcode != 0xe3, taken;

	count = (count - counts) & size_mask(insn->addrsize);
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_LOOP: taken = count; break;
	case ZYDIS_MNEMONIC_LOOPE: taken = count && zero; break;
	case ZYDIS_MNEMONIC_LOOPNE: taken = count && !zero; break;
	default: taken = !count;
	}
	if (taken && !may_go(cpu, target))
		return HELPER_FAULT;
	if (counts)
		gpr_set(cpu, RCX, insn->addrsize, count);
	return taken ? go(cpu, target) : HELPER_NEXT;
}

enum helper_result near_execute(struct cpu *cpu, const struct insn *insn)
{
	switch (insn->kind) {
	case KIND_JMP: return jump(cpu, insn);
	case KIND_CALL: return call(cpu, insn);
	case KIND_RET: return ret(cpu, insn);
	case KIND_JCC: return jump_if(cpu, insn);
	default: return loop(cpu, insn);
	}
}
