/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operands of instructions that run in C: effective and linear addresses, segment limits, the
 * stack. Hot.
 *
 * In 64-bit mode only FS and GS have a base and the check is for a canonical address. In the
 * other modes an offset is checked against limit and type (SDM vol. 3 sections 5.3 to 5.5), added
 * to the base, and truncated to 32 bits. A violation is #SS(0) through SS and #GP(0) otherwise.
 */
#include "cpu/helper.h"

/* ---- segments -------------------------------------------------------------------------------- */

bool seg_in_limit(const struct x86_segment *seg, u64 offset, unsigned size)
{
	u64 last = offset + size - 1;
	bool code = seg->attr & 8;

	if (!code && (seg->attr & 4) && (seg->attr & SEG_ATTR_S)) /* expand-down */
		return offset > seg->limit &&
		       last <= (seg->attr & SEG_ATTR_DB ? 0xffffffff : 0xffff);
	/* a segment of 4 GiB wraps around */
	return last <= seg->limit || seg->limit == 0xffffffff;
}

static bool seg_allows(const struct cpu *cpu, const struct x86_segment *seg, unsigned access)
{
	bool code = seg->attr & 8;
	bool writable = seg->attr & 2; /* readable, of code */

	if (!is_protected(cpu))
		return true;
	if (!(seg->attr & SEG_ATTR_P))
		return false;
	if (access & MEM_W)
		return !code && writable;
	return !code || writable;
}

static bool seg_check_flat(struct cpu *cpu, unsigned seg, u64 offset, unsigned size, gva_t *linear)
{
	gva_t gva = offset;

	if (seg == SEG_FS)
		gva += cpu->fs_base;
	else if (seg == SEG_GS)
		gva += cpu->gs_base;
	*linear = gva;
	if (is_canonical(gva) && is_canonical(gva + size - 1))
		return true;
	fault_error(cpu, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
	return false;
}

bool seg_check(struct cpu *cpu, unsigned seg, u64 offset, unsigned size, unsigned access,
	       gva_t *linear)
{
	const struct x86_segment *s = &cpu->seg[seg];

	if (cpu_64bit(cpu))
		return seg_check_flat(cpu, seg, offset, size, linear);
	*linear = (u32)(offset + s->base);
	if (seg_allows(cpu, s, access) && seg_in_limit(s, offset, size))
		return true;
	fault_error(cpu, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
	return false;
}

void seg_set_base(struct cpu *cpu, enum x86_seg seg, u64 base)
{
	cpu->seg[seg].base = base;
	if (seg == SEG_FS)
		cpu->fs_base = base;
	else if (seg == SEG_GS)
		cpu->gs_base = base;
}

unsigned insn_segment(const struct cpu *cpu, const struct insn *insn, unsigned standard)
{
	bool long_mode = cpu_64bit(cpu);

	for (unsigned i = 0; i < insn->opcode_offset; i++) {
		switch (insn->bytes[i]) {
		case 0x64: standard = SEG_FS; break;
		case 0x65: standard = SEG_GS; break;
		case 0x26: standard = long_mode ? standard : SEG_ES; break;
		case 0x2e: standard = long_mode ? standard : SEG_CS; break;
		case 0x36: standard = long_mode ? standard : SEG_SS; break;
		case 0x3e: standard = long_mode ? standard : SEG_DS; break;
		}
	}
	return standard;
}

/* ---- explicit operands ----------------------------------------------------------------------- */

u64 insn_effective(const struct cpu *cpu, const struct insn *insn)
{
	const struct insn_mem *m = &insn->mem;
	u64 address = m->disp;

	if (m->base == MEM_RIP)
		address += cpu->rip + insn->len;
	else if (m->base != REG_NONE)
		address += cpu->gpr[m->base];
	if (m->index != REG_NONE)
		address += cpu->gpr[m->index] * m->scale;
	return address & size_mask(insn->addrsize);
}

bool insn_linear(struct cpu *cpu, const struct insn *insn, unsigned size, unsigned access,
		 gva_t *gva)
{
	return seg_check(cpu, insn->mem.seg, insn_effective(cpu, insn), size, access, gva);
}

/* Only the part that starts @at bytes in is accessed, and checked: offsets wrap with the address
 * size. */
static bool part_linear(struct cpu *cpu, const struct insn *insn, unsigned at, unsigned size,
			unsigned access, gva_t *gva)
{
	u64 offset = (insn_effective(cpu, insn) + at) & size_mask(insn->addrsize);

	return seg_check(cpu, insn->mem.seg, offset, size, access, gva);
}

bool insn_load(struct cpu *cpu, const struct insn *insn, unsigned at, void *data, unsigned size)
{
	gva_t gva;

	return part_linear(cpu, insn, at, size, MEM_R, &gva) &&
	       mem_read(cpu, gva, data, size, ACCESS_R);
}

bool insn_store(struct cpu *cpu, const struct insn *insn, unsigned at, const void *data,
		unsigned size)
{
	gva_t gva;

	return part_linear(cpu, insn, at, size, MEM_W, &gva) &&
	       mem_write(cpu, gva, data, size, ACCESS_W);
}

bool insn_rm_load(struct cpu *cpu, const struct insn *insn, unsigned size, u64 *value)
{
	*value = 0;
	if (insn->rm == REG_NONE)
		return insn_load(cpu, insn, 0, value, size);
	*value = gpr_get(cpu, insn->rm, size);
	return true;
}

bool insn_rm_store(struct cpu *cpu, const struct insn *insn, unsigned size, u64 value)
{
	if (insn->rm == REG_NONE)
		return insn_store(cpu, insn, 0, &value, size);
	gpr_set(cpu, insn->rm, size, value);
	return true;
}

/* ---- the stack ------------------------------------------------------------------------------- */

static u64 stack_mask(const struct x86_segment *ss)
{
	return ss->attr & SEG_ATTR_DB ? 0xffffffff : 0xffff;
}

void stack_open(const struct cpu *cpu, struct stack *stack)
{
	stack->sp = cpu->gpr[RSP];
	stack->flat = cpu_64bit(cpu);
	stack->ss = cpu->seg[SEG_SS];
	stack->mask = stack->flat ? ~0ull : stack_mask(&stack->ss);
	stack->access = 0;
	stack->error = 0;
}

void stack_open_at(struct stack *stack, const struct x86_segment *ss, u64 sp)
{
	stack->sp = sp;
	stack->flat = !ss;
	if (ss)
		stack->ss = *ss;
	stack->mask = ss ? stack_mask(ss) : ~0ull;
	stack->access = ACCESS_SYSTEM;
	stack->error = 0;
}

static bool stack_linear(struct cpu *cpu, const struct stack *stack, u64 sp, unsigned size,
			 gva_t *gva)
{
	sp &= stack->mask;
	if (stack->flat) {
		*gva = sp;
		if (is_canonical(sp) && is_canonical(sp + size - 1))
			return true;
	} else {
		*gva = (u32)(stack->ss.base + sp);
		if (seg_in_limit(&stack->ss, sp, size))
			return true;
	}
	fault_error(cpu, VEC_SS, stack->error);
	return false;
}

bool stack_push(struct cpu *cpu, struct stack *stack, u64 value, unsigned size)
{
	u64 sp = stack->sp - size;
	gva_t gva;

	if (!stack_linear(cpu, stack, sp, size, &gva) ||
	    !mem_write(cpu, gva, &value, size, ACCESS_W | stack->access))
		return false;
	stack->sp = sp;
	return true;
}

bool stack_pop(struct cpu *cpu, struct stack *stack, u64 *value, unsigned size)
{
	gva_t gva;

	*value = 0;
	if (!stack_linear(cpu, stack, stack->sp, size, &gva) ||
	    !mem_read(cpu, gva, value, size, ACCESS_R | stack->access))
		return false;
	stack->sp += size;
	return true;
}

void stack_skip(struct stack *stack, unsigned bytes)
{
	stack->sp += bytes;
}

void stack_commit(struct cpu *cpu, const struct stack *stack)
{
	u64 keep = stack->mask == 0xffff ? cpu->gpr[RSP] & ~0xffffull : 0;

	cpu->gpr[RSP] = keep | (stack->sp & stack->mask);
}
