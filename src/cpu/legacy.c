/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions of old that 64-bit mode cannot encode, or that are composites of several accesses:
 * decimal adjustment, BOUND, ENTER, PUSHA, POPA, XLAT. Hot. SDM vol. 2; flags that it leaves
 * undefined are those of the result, as current processors give.
 */
#include "cpu/helper.h"

/* SF, ZF and PF of a byte; CF and AF as given; OF cleared. */
static void flags_of_al(struct cpu *cpu, bool cf, bool af)
{
	u8 al = cpu->gpr[RAX];

	flag_set(cpu, FLAG_CF, cf);
	flag_set(cpu, FLAG_AF, af);
	flag_set(cpu, FLAG_OF, false);
	flag_set(cpu, FLAG_SF, al & 0x80);
	flag_set(cpu, FLAG_ZF, !al);
	flag_set(cpu, FLAG_PF, !__builtin_parity(al));
}

static bool low_digit_carries(const struct cpu *cpu)
{
	return (cpu->gpr[RAX] & 15) > 9 || (cpu->rflags & FLAG_AF);
}

/* AX += @adjust if the low digit is beyond 9; AL keeps one digit. */
static enum helper_result ascii_adjust(struct cpu *cpu, unsigned adjust)
{
	bool carry = low_digit_carries(cpu);

	if (carry)
		gpr_set(cpu, RAX, 2, cpu->gpr[RAX] + adjust);
	gpr_set(cpu, RAX, 1, cpu->gpr[RAX] & 15);
	flags_of_al(cpu, carry, carry);
	return HELPER_NEXT;
}

enum helper_result do_aaa(struct cpu *cpu, const struct insn *insn)
{
	return ascii_adjust(cpu, 0x106);
}

enum helper_result do_aas(struct cpu *cpu, const struct insn *insn)
{
	return ascii_adjust(cpu, -0x106);
}

enum helper_result do_aam(struct cpu *cpu, const struct insn *insn)
{
	u8 al = cpu->gpr[RAX], base = insn->imm;

	if (!base)
		return raise_fault(cpu, VEC_DE);
	gpr_set(cpu, RAX, 2, al / base << 8 | al % base);
	flags_of_al(cpu, false, false);
	return HELPER_NEXT;
}

enum helper_result do_aad(struct cpu *cpu, const struct insn *insn)
{
	u8 al = cpu->gpr[RAX], ah = cpu->gpr[RAX] >> 8, base = insn->imm;

	gpr_set(cpu, RAX, 2, (u8)(al + ah * base));
	flags_of_al(cpu, false, false);
	return HELPER_NEXT;
}

static enum helper_result decimal_adjust(struct cpu *cpu, bool subtract)
{
	u8 al = cpu->gpr[RAX];
	bool low = low_digit_carries(cpu);
	bool high = al > 0x99 || (cpu->rflags & FLAG_CF);
	u8 adjust = (low ? 6 : 0) + (high ? 0x60 : 0);
	/* DAS: the borrow of the low adjustment is a carry too */
	bool borrow = subtract && low && al < 6;

	gpr_set(cpu, RAX, 1, subtract ? al - adjust : al + adjust);
	flags_of_al(cpu, high || borrow, low);
	return HELPER_NEXT;
}

enum helper_result do_daa(struct cpu *cpu, const struct insn *insn)
{
	return decimal_adjust(cpu, false);
}

enum helper_result do_das(struct cpu *cpu, const struct insn *insn)
{
	return decimal_adjust(cpu, true);
}

enum helper_result do_salc(struct cpu *cpu, const struct insn *insn)
{
	gpr_set(cpu, RAX, 1, cpu->rflags & FLAG_CF ? 0xff : 0);
	return HELPER_NEXT;
}

enum helper_result do_xlat(struct cpu *cpu, const struct insn *insn)
{
	u64 offset = (cpu->gpr[RBX] + (u8)cpu->gpr[RAX]) & size_mask(insn->addrsize);
	unsigned seg = insn_segment(cpu, insn, SEG_DS);
	gva_t gva;
	u8 value;

	if (!seg_check(cpu, seg, offset, 1, MEM_R, &gva) ||
	    !mem_read(cpu, gva, &value, 1, ACCESS_R))
		return HELPER_FAULT;
	gpr_set(cpu, RAX, 1, value);
	return HELPER_NEXT;
}

enum helper_result do_bound(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->opsize, shift = 64 - 8 * size;
	s64 index = (s64)(cpu->gpr[insn->reg] << shift) >> shift;
	u64 low = 0, high = 0;

	if (!insn_load(cpu, insn, 0, &low, size) || !insn_load(cpu, insn, size, &high, size))
		return HELPER_FAULT;
	if (index < (s64)(low << shift) >> shift || index > (s64)(high << shift) >> shift)
		return raise_fault(cpu, VEC_BR);
	return HELPER_NEXT;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* Copies @level - 1 frame pointers from the old frame, then pushes the new one. */
static bool enter_nested(struct cpu *cpu, struct stack *stack, unsigned level, unsigned size,
			 u64 frame)
{
	struct stack old = *stack;
	u64 value;

	old.sp = cpu->gpr[RBP];
	for (unsigned i = 1; i < level; i++) {
		old.sp -= size;
		if (!stack_pop(cpu, &old, &value, size) || !stack_push(cpu, stack, value, size))
			return false;
		old.sp -= size;
	}
	return stack_push(cpu, stack, frame, size);
}

enum helper_result do_enter(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->opsize == 2 ? 2 : cpu_64bit(cpu) ? 8 : insn->opsize;
	unsigned level = insn->imm2 & 31;
	struct stack stack;
	gva_t gva;
	u64 frame;

	stack_open(cpu, &stack);
	if (!stack_push(cpu, &stack, cpu->gpr[RBP], size))
		return HELPER_FAULT;
	frame = stack.sp;
	if (level && !enter_nested(cpu, &stack, level, size, frame))
		return HELPER_FAULT;
	stack.sp -= insn->imm & 0xffff;
	/* the new top must be writable: SDM vol. 2, ENTER, page-fault condition */
	gva = stack.sp & stack.mask;
	if (!stack.flat)
		gva = (u32)(gva + stack.ss.base);
	if (!mem_probe(cpu, gva, 1, ACCESS_W))
		return HELPER_FAULT;
	/* the frame pointer is as wide as the operand; the stack's width bounds it */
	gpr_set(cpu, RBP, size, frame & (stack.flat ? ~0ull : stack.mask));
	stack_commit(cpu, &stack);
	return HELPER_NEXT;
}

enum helper_result do_pusha(struct cpu *cpu, const struct insn *insn)
{
	struct stack stack;

	stack_open(cpu, &stack);
	for (unsigned reg = RAX; reg <= RDI; reg++) /* RSP as it was before */
		if (!stack_push(cpu, &stack, cpu->gpr[reg], insn->opsize))
			return HELPER_FAULT;
	stack_commit(cpu, &stack);
	return HELPER_NEXT;
}

enum helper_result do_popa(struct cpu *cpu, const struct insn *insn)
{
	struct stack stack;
	u64 value[8];

	stack_open(cpu, &stack);
	for (unsigned reg = 8; reg--;)
		if (!stack_pop(cpu, &stack, &value[reg], insn->opsize))
			return HELPER_FAULT;
	stack_commit(cpu, &stack);
	for (unsigned reg = RAX; reg <= RDI; reg++)
		if (reg != RSP)
			gpr_set(cpu, reg, insn->opsize, value[reg]);
	return HELPER_NEXT;
}
