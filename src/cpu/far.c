/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Far transfers: JMP, CALL and RET between segments, call gates, and IRET. Hot.
 *
 * SDM vol. 3 section 5.8 and the instruction pages in vol. 2. A transfer collects its target and
 * checks everything, pushes what it must, and installs the new CS last.
 *
 * Deviations: no task switching, so a far transfer to a TSS or task gate is #GP(selector) as in
 * long mode, and IRET with NT set is #GP(0); IRET to virtual-8086 mode is #GP(0).
 */
#include "cpu/helper.h"

static bool fail(struct cpu *cpu, unsigned vector, u32 error)
{
	fault_error(cpu, vector, error);
	return false;
}

/* ---- code segments --------------------------------------------------------------------------- */

/* Types, L and D of a code segment that control is going to. */
static bool check_code(struct cpu *cpu, const struct desc *d, u16 selector)
{
	bool both = (d->raw & DESC_L) && (d->raw & DESC_DB);

	if (!desc_is_code(d) || (cpu_long_mode(cpu) && both))
		return fail(cpu, VEC_GP, sel_error(selector));
	return true;
}

/* May execution begin at @rip of the segment? */
static bool check_target(struct cpu *cpu, const struct desc *d, u64 rip)
{
	struct x86_segment cs = desc_segment(d, 0);

	if (cpu_long_mode(cpu) && (d->raw & DESC_L)) {
		if (is_canonical(rip))
			return true;
	} else if (rip <= cs.limit) {
		return true;
	}
	return fail(cpu, VEC_GP, 0);
}

static enum helper_result finish(struct cpu *cpu, u16 selector, const struct desc *d, unsigned cpl,
				 u64 rip)
{
	seg_install_cs(cpu, selector, d, cpl);
	cpu->rip = rip;
	cpu_update_ctx(cpu);
	return HELPER_JUMP;
}

/* ---- JMP and CALL ---------------------------------------------------------------------------- */

struct far_ptr {
	u16 selector;
	u64 offset;
	unsigned size; /* of the offset and of pushed values */
	bool call;
	u64 next; /* return address of a call */
};

static bool far_operand(struct cpu *cpu, const struct insn *insn, struct far_ptr *p)
{
	p->size = insn->opsize;
	p->next = cpu->rip + insn->len;
	p->offset = 0;
	if (insn->opcode != 0xff) { /* EA, 9A: ptr16:16, ptr16:32 */
		p->offset = insn->imm & size_mask(p->size);
		p->selector = insn->imm2;
		return true;
	}
	return insn_load(cpu, insn, 0, &p->offset, p->size) &&
	       insn_load(cpu, insn, p->size, &p->selector, 2);
}

static bool push_return(struct cpu *cpu, struct stack *stack, const struct far_ptr *p,
			unsigned size)
{
	return stack_push(cpu, stack, cpu->seg[SEG_CS].selector, size) &&
	       stack_push(cpu, stack, p->next, size);
}

static enum helper_result far_real(struct cpu *cpu, const struct far_ptr *p)
{
	struct stack stack;

	stack_open(cpu, &stack);
	if (p->call && !push_return(cpu, &stack, p, p->size))
		return HELPER_FAULT;
	if (p->offset > cpu->seg[SEG_CS].limit)
		return raise_error(cpu, VEC_GP, 0);
	stack_commit(cpu, &stack);
	seg_install_real(cpu, SEG_CS, p->selector);
	cpu->rip = p->offset;
	cpu_update_ctx(cpu);
	return HELPER_JUMP;
}

static enum helper_result far_direct(struct cpu *cpu, const struct far_ptr *p, struct desc *d)
{
	u32 error = sel_error(p->selector);
	unsigned dpl = desc_dpl(d);
	struct stack stack;

	if (!check_code(cpu, d, p->selector))
		return HELPER_FAULT;
	if (d->raw & DESC_CONFORMING ? dpl > cpu->cpl
				     : dpl != cpu->cpl || (p->selector & 3) > cpu->cpl)
		return raise_error(cpu, VEC_GP, error);
	if (!(d->raw & DESC_P))
		return raise_error(cpu, VEC_NP, error);
	stack_open(cpu, &stack);
	if (p->call && !push_return(cpu, &stack, p, p->size))
		return HELPER_FAULT;
	if (!check_target(cpu, d, p->offset) || !desc_touch(cpu, d))
		return HELPER_FAULT;
	stack_commit(cpu, &stack);
	return finish(cpu, p->selector, d, cpu->cpl, p->offset);
}

/* ---- call gates ------------------------------------------------------------------------------ */

struct call_gate {
	u16 selector;
	u64 offset;
	unsigned size;   /* of what is pushed: 2, 4 or 8 */
	unsigned params; /* copied to an inner stack */
	struct desc cs;
};

static bool gate_open(struct cpu *cpu, u16 selector, struct desc *d, struct call_gate *gate)
{
	bool wide = cpu_long_mode(cpu);
	u32 error = sel_error(selector);
	unsigned type = desc_type(d);

	if (type != 12 && (type != 4 || wide))
		return fail(cpu, VEC_GP, error);
	if (desc_dpl(d) < cpu->cpl || desc_dpl(d) < (selector & 3u))
		return fail(cpu, VEC_GP, error);
	if (!(d->raw & DESC_P))
		return fail(cpu, VEC_NP, error);
	if (wide && (!desc_read_high(cpu, d)))
		return false;
	if (wide && (d->high >> 40 & 0x1f))
		return fail(cpu, VEC_GP, error);
	gate->selector = d->raw >> 16;
	gate->offset =
		(d->raw & 0xffff) | (type == 12 ? d->raw >> 32 & 0xffff0000 : 0) | d->high << 32;
	gate->size = wide ? 8 : type == 12 ? 4 : 2;
	gate->params = wide ? 0 : d->raw >> 32 & 31;
	return true;
}

/* The segment behind the gate. */
static bool gate_code(struct cpu *cpu, struct call_gate *gate)
{
	u32 error = sel_error(gate->selector);

	if (sel_is_null(gate->selector))
		return fail(cpu, VEC_GP, 0);
	if (!desc_read(cpu, gate->selector, &gate->cs, VEC_GP, error))
		return false;
	if (!desc_is_code(&gate->cs) || desc_dpl(&gate->cs) > cpu->cpl)
		return fail(cpu, VEC_GP, error);
	if (cpu_long_mode(cpu) && (!(gate->cs.raw & DESC_L) || (gate->cs.raw & DESC_DB)))
		return fail(cpu, VEC_GP, error);
	if (!(gate->cs.raw & DESC_P))
		return fail(cpu, VEC_NP, error);
	return check_target(cpu, &gate->cs, gate->offset) && desc_touch(cpu, &gate->cs);
}

static bool gate_stack(struct cpu *cpu, unsigned cpl, struct stack *stack)
{
	struct x86_segment ss;
	u16 selector;
	u64 rsp;
	u32 esp;

	if (cpu_long_mode(cpu)) {
		if (!tss_stack_long(cpu, 4 + cpl * 8, 0, &rsp))
			return false;
		stack_open_at(stack, NULL, rsp);
		return true;
	}
	if (!tss_stack_legacy(cpu, cpl, 0, &selector, &esp) ||
	    !seg_prepare_ss(cpu, selector, cpl, VEC_TS, 0, false, &ss))
		return false;
	stack_open_at(stack, &ss, esp);
	stack->error = sel_error(selector);
	return true;
}

static bool gate_params(struct cpu *cpu, const struct call_gate *gate, struct stack *to)
{
	struct stack from;
	u64 value[31];

	stack_open(cpu, &from);
	for (unsigned i = 0; i < gate->params; i++)
		if (!stack_pop(cpu, &from, &value[i], gate->size))
			return false;
	for (unsigned i = gate->params; i--;)
		if (!stack_push(cpu, to, value[i], gate->size))
			return false;
	return true;
}

static enum helper_result gate_inner(struct cpu *cpu, const struct far_ptr *p,
				     struct call_gate *gate)
{
	unsigned cpl = desc_dpl(&gate->cs);
	struct stack stack;

	if (!gate_stack(cpu, cpl, &stack) ||
	    !stack_push(cpu, &stack, cpu->seg[SEG_SS].selector, gate->size) ||
	    !stack_push(cpu, &stack, cpu->gpr[RSP], gate->size) ||
	    !gate_params(cpu, gate, &stack) || !push_return(cpu, &stack, p, gate->size))
		return HELPER_FAULT;
	if (stack.flat)
		seg_install_null_ss(cpu, cpl);
	else
		seg_install(cpu, SEG_SS, &stack.ss);
	cpu->gpr[RSP] = 0;
	stack_commit(cpu, &stack);
	return finish(cpu, gate->selector, &gate->cs, cpl, gate->offset);
}

static enum helper_result far_gate(struct cpu *cpu, const struct far_ptr *p, struct desc *d)
{
	struct call_gate gate;
	struct stack stack;
	bool inner;

	if (!gate_open(cpu, p->selector, d, &gate) || !gate_code(cpu, &gate))
		return HELPER_FAULT;
	inner = !(gate.cs.raw & DESC_CONFORMING) && desc_dpl(&gate.cs) < cpu->cpl;
	if (inner && p->call)
		return gate_inner(cpu, p, &gate);
	if (inner) /* a jump cannot change privilege */
		return raise_error(cpu, VEC_GP, sel_error(gate.selector));
	stack_open(cpu, &stack);
	if (cpu_long_mode(
		    cpu)) { /* the frame is 64 bits wide, even out of a compatibility segment */
		stack.flat = true;
		stack.mask = ~0ull;
	}
	if (p->call && !push_return(cpu, &stack, p, gate.size))
		return HELPER_FAULT;
	stack_commit(cpu, &stack);
	return finish(cpu, gate.selector, &gate.cs, cpu->cpl, gate.offset);
}

static enum helper_result far_transfer(struct cpu *cpu, const struct insn *insn, bool call)
{
	struct far_ptr p = { .call = call };
	struct desc d;

	if (!far_operand(cpu, insn, &p))
		return HELPER_FAULT;
	if (!is_protected(cpu))
		return far_real(cpu, &p);
	if (sel_is_null(p.selector))
		return raise_error(cpu, VEC_GP, 0);
	if (!desc_read(cpu, p.selector, &d, VEC_GP, sel_error(p.selector)))
		return HELPER_FAULT;
	return d.raw & DESC_S ? far_direct(cpu, &p, &d) : far_gate(cpu, &p, &d);
}

enum helper_result do_jmp_far(struct cpu *cpu, const struct insn *insn)
{
	return far_transfer(cpu, insn, false);
}

enum helper_result do_call_far(struct cpu *cpu, const struct insn *insn)
{
	return far_transfer(cpu, insn, true);
}

/* ---- RET and IRET ---------------------------------------------------------------------------- */

/* The code segment that a return names. */
static bool return_code(struct cpu *cpu, u16 selector, u64 rip, struct desc *d)
{
	u32 error = sel_error(selector);
	unsigned rpl = selector & 3;

	if (sel_is_null(selector))
		return fail(cpu, VEC_GP, 0);
	if (!desc_read(cpu, selector, d, VEC_GP, error))
		return false;
	if (rpl < cpu->cpl)
		return fail(cpu, VEC_GP, error);
	if (!check_code(cpu, d, selector))
		return false;
	if (d->raw & DESC_CONFORMING ? desc_dpl(d) > rpl : desc_dpl(d) != rpl)
		return fail(cpu, VEC_GP, error);
	if (!(d->raw & DESC_P))
		return fail(cpu, VEC_NP, error);
	return check_target(cpu, d, rip) && desc_touch(cpu, d);
}

/* RSP of the outer level. Of a 16-bit stack only SP is loaded, as the silicon has always done. */
static void load_outer_sp(struct cpu *cpu, const struct x86_segment *ss, bool target_64, u64 sp,
			  unsigned size)
{
	if (target_64 || (size >= 4 && (ss->attr & SEG_ATTR_DB)))
		cpu->gpr[RSP] = sp;
	else if (ss->attr & SEG_ATTR_DB)
		cpu->gpr[RSP] = sp & 0xffff;
	else
		gpr_set(cpu, RSP, 2, sp);
}

static enum helper_result ret_real(struct cpu *cpu, struct stack *stack, u64 rip, u16 selector)
{
	if (rip > cpu->seg[SEG_CS].limit)
		return raise_error(cpu, VEC_GP, 0);
	stack_commit(cpu, stack);
	seg_install_real(cpu, SEG_CS, selector);
	cpu->rip = rip;
	cpu_update_ctx(cpu);
	return HELPER_JUMP;
}

static enum helper_result ret_outer(struct cpu *cpu, struct stack *stack, const struct insn *insn,
				    struct desc *cs, u16 selector, u64 rip)
{
	bool target_64 = cpu_long_mode(cpu) && (cs->raw & DESC_L);
	unsigned rpl = selector & 3;
	struct x86_segment ss;
	u64 sp, ss_sel;

	if (!stack_pop(cpu, stack, &sp, insn->opsize) ||
	    !stack_pop(cpu, stack, &ss_sel, insn->opsize) ||
	    !seg_prepare_ss(cpu, ss_sel, rpl, VEC_GP, 0, target_64, &ss))
		return HELPER_FAULT;
	seg_install(cpu, SEG_SS, &ss);
	load_outer_sp(cpu, &ss, target_64, sp + (insn->imm & 0xffff), insn->opsize);
	seg_install_cs(cpu, selector, cs, rpl);
	seg_drop_inner(cpu);
	cpu->rip = rip;
	cpu_update_ctx(cpu);
	return HELPER_JUMP;
}

enum helper_result do_ret_far(struct cpu *cpu, const struct insn *insn)
{
	struct stack stack;
	struct desc cs;
	u64 rip, selector;

	stack_open(cpu, &stack);
	if (!stack_pop(cpu, &stack, &rip, insn->opsize) ||
	    !stack_pop(cpu, &stack, &selector, insn->opsize))
		return HELPER_FAULT;
	selector &= 0xffff;
	stack_skip(&stack, insn->imm & 0xffff);
	if (!is_protected(cpu))
		return ret_real(cpu, &stack, rip, selector);
	if (!return_code(cpu, selector, rip, &cs))
		return HELPER_FAULT;
	if ((selector & 3) != cpu->cpl)
		return ret_outer(cpu, &stack, insn, &cs, selector, rip);
	stack_commit(cpu, &stack);
	return finish(cpu, selector, &cs, cpu->cpl, rip);
}

/* Which flags IRET may change at the privilege it runs at (SDM vol. 2, IRET). */
static void iret_flags(struct cpu *cpu, u64 flags, unsigned size)
{
	u64 mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT;

	if (size >= 4)
		mask |= FLAG_RF | FLAG_AC | FLAG_ID;
	if (cpu->cpl <= cpu_iopl(cpu))
		mask |= FLAG_IF;
	if (cpu->cpl == 0)
		mask |= FLAG_IOPL | (size >= 4 ? FLAG_VIF | FLAG_VIP : 0);
	cpu->rflags = (cpu->rflags & ~mask) | (flags & mask) | 2;
}

static void iret_done(struct cpu *cpu)
{
	cpu->nmi_masked = 0;
	/* an interrupt or NMI that waited may be taken now */
	if (__atomic_load_n(&cpu->requests, __ATOMIC_RELAXED))
		__atomic_store_n(&cpu->exit_request, 1, __ATOMIC_SEQ_CST);
}

static enum helper_result iret_real(struct cpu *cpu, struct stack *stack, u64 rip, u16 selector,
				    u64 flags, unsigned size)
{
	if (rip > cpu->seg[SEG_CS].limit)
		return raise_error(cpu, VEC_GP, 0);
	stack_commit(cpu, stack);
	seg_install_real(cpu, SEG_CS, selector);
	cpu->rip = rip;
	iret_flags(cpu, flags, size);
	iret_done(cpu);
	cpu_update_ctx(cpu);
	return HELPER_JUMP;
}

static enum helper_result iret_protected(struct cpu *cpu, struct stack *stack, u64 rip,
					 u16 selector, u64 flags, unsigned size)
{
	unsigned rpl = selector & 3;
	struct x86_segment ss;
	u64 sp, ss_sel;
	struct desc cs;
	bool target_64, with_stack;

	if (!cpu_long_mode(cpu) && (flags & FLAG_VM) && cpu->cpl == 0)
		return raise_error(cpu, VEC_GP, 0);
	if (!return_code(cpu, selector, rip, &cs))
		return HELPER_FAULT;
	target_64 = cpu_long_mode(cpu) && (cs.raw & DESC_L);
	with_stack = cpu_64bit(cpu) || rpl != cpu->cpl;
	if (with_stack &&
	    (!stack_pop(cpu, stack, &sp, size) || !stack_pop(cpu, stack, &ss_sel, size) ||
	     !seg_prepare_ss(cpu, ss_sel, rpl, VEC_GP, 0, target_64, &ss)))
		return HELPER_FAULT;

	iret_flags(cpu, flags, size);
	if (with_stack) {
		seg_install(cpu, SEG_SS, &ss);
		load_outer_sp(cpu, &ss, target_64, sp, size);
	} else {
		stack_commit(cpu, stack);
	}
	if (rpl != cpu->cpl) {
		cpu->cpl = rpl;
		seg_drop_inner(cpu);
	}
	iret_done(cpu);
	return finish(cpu, selector, &cs, rpl, rip);
}

enum helper_result do_iret(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->opsize;
	u64 rip, selector, flags;
	struct stack stack;

	if (is_protected(cpu) && (cpu->rflags & FLAG_NT))
		return raise_error(cpu, VEC_GP, 0);
	stack_open(cpu, &stack);
	if (!stack_pop(cpu, &stack, &rip, size) || !stack_pop(cpu, &stack, &selector, size) ||
	    !stack_pop(cpu, &stack, &flags, size))
		return HELPER_FAULT;
	if (!is_protected(cpu))
		return iret_real(cpu, &stack, rip, selector, flags, size);
	return iret_protected(cpu, &stack, rip, selector, flags, size);
}
