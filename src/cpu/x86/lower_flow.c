/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jumps, calls, returns and the stack.
 *
 * Inside a page a direct transfer is a jump that code.c binds to its target's block. To another
 * page, and for indirect ones, the jump cache tells where to go on: its entries are valid for an
 * address, a context and an epoch of address translation.
 *
 * Calls and returns are paired. A call pushes the guest's return address on the guest's stack, as
 * it must, and then a frame of our own on the translated code's stack (struct cpu, @shadow): the
 * same address and, by a host call, the host address behind itself, the return site. A guest's
 * return reads its stack and executes a host return, so that the host's own prediction works. The
 * return site compares where the guest wants to go with where it was called from; a difference
 * costs a look into the jump cache and nothing else. At the bottom of the stack lies the address
 * of a thunk that does the same. run.c empties the stack when the context or the epoch is a
 * different one; a full stack runs into a guard page, and the signal handler empties it.
 */
#include "cpu/x86/lower_private.h"

/* ---- jumps ---------------------------------------------------------------------------------- */

/* Hands T0, a RIP, to C. Flags saved or dead. */
static void emit_leave_to(struct lower *x)
{
	e_jmp_to(x->b, x->b->base + x->l->thunks->jump);
	x->ended = true;
}

/* T0: RIP to continue at; looks it up in the jump cache. */
static void emit_indirect(struct lower *x)
{
	flags_clobber(x, FL_ALL);
	settle(x);
	if (is_single(x)) {
		emit_leave_to(x);
		return;
	}
	if (!is_long(x))
		e_mov32(x->b, T0, T0);
	e_lookup(x->b, x->b->base + x->l->thunks->jump);
	e_jmp_reg(x->b, T2);
	x->ended = true;
}

/* Leaves if another thread asked for it; afterwards continues with the flags where x->form says. */
static void emit_poll(struct lower *x, u8 live, s32 target)
{
	struct code_buf *b = x->b;
	u8 *at;

	settle(x);
	if (x->form == FLAGS_HOST && live) {
		e_mov(b, T1, RCX);
		e_load32(b, RCX, OFF(exit_request));
		e8(b, 0xe3); /* jrcxz over the way out */
		at = b->p;
		e8(b, 0);
		e_mov(b, RCX, T1);
		add_stub(x, e_jmp(b, false), new_site(x, SITE_POLL, target));
		*at = b->p - (at + 1);
		e_mov(b, RCX, T1);
		return;
	}
	flags_clobber(x, live);
	e_cmp_state32(b, OFF(exit_request), 0);
	at = e_jcc(b, 5, false);
	add_stub(x, at, new_site(x, SITE_POLL, target));
}

static bool in_page(s32 target)
{
	return target >= 0 && target < (s32)PAGE_SIZE;
}

/* T0 = RIP of page offset @target, which lies in another page. */
static void emit_far_target(struct lower *x, s32 target, u8 live)
{
	flags_clobber(x, live);
	e_load(x->b, T0, OFF(page_base));
	e_lea(x->b, 1, T0, T0, REG_NONE, 1, target);
}

/* A bindable transfer to @target: the rel32 at @rel. */
static void link_to(struct lower *x, u8 *rel, s32 target, u8 live)
{
	struct site *s;

	if (!live)
		x->form = FLAGS_DEAD;
	s = new_site(x, SITE_LINK, target);
	add_stub(x, rel, s);
	s->patch = cache_off(x, rel);
}

void emit_direct(struct lower *x, s32 target, u8 live)
{
	settle(x);
	if (is_single(x)) {
		emit_exit(x, SITE_NEXT, target);
		return;
	}
	if (!in_page(target)) {
		emit_far_target(x, target, live);
		emit_indirect(x);
		return;
	}
	if (target <= x->l->guest[x->i])
		emit_poll(x, live, target);
	link_to(x, e_jmp(x->b, true), target, live);
	x->ended = true;
}

static s32 branch_target(const struct lower *x)
{
	return (s32)x->l->guest[x->i] + x->insn->len + (s32)x->insn->imm;
}

void lower_jcc(struct lower *x)
{
	struct code_buf *b = x->b;
	s32 target = branch_target(x);
	unsigned cc = x->insn->opcode & 15;
	u8 live = x->l->live_taken[x->i];
	enum flags_form form;
	u8 *skip;

	settle(x);
	flags_need_host(x);
	form = x->form;
	if (!is_single(x) && target > x->l->guest[x->i] && target < (s32)PAGE_SIZE) {
		link_to(x, e_jcc(b, cc, true), target, live);
	} else {
		skip = e_jcc(b, cc ^ 1, false);
		emit_direct(x, target, live);
		e_patch(skip, b->p);
		x->ended = false;
	}
	x->form = form;
}

/* LOOP, LOOPcc and JrCXZ: the native instruction decides, on the same RCX. */
void lower_loop(struct lower *x)
{
	struct code_buf *b = x->b;
	s32 target = branch_target(x);
	enum flags_form form;
	u8 *skip;

	settle(x);
	if (x->insn->flags_read)
		flags_need_host(x);
	form = x->form;
	if (x->insn->addrsize == 4)
		e8(b, 0x67);
	e8(b, x->insn->opcode);
	e8(b, 5);
	skip = e_jmp(b, false);
	emit_direct(x, target, x->l->live_taken[x->i]);
	e_patch(skip, b->p);
	x->ended = false;
	x->form = form;
}

/* ---- the stack ------------------------------------------------------------------------------ */

/* Guest RSP moves by @bytes once the access it goes with is done. */
static void move_rsp(struct lower *x, s32 bytes)
{
	x->rsp_pending += bytes;
	if (stack_width(x) == 2 || is_slow(x))
		settle(x);
}

/* T2 -> guest register of @bytes (2: merged, 4: zero-extended) */
static void emit_set_reg(struct lower *x, unsigned reg, unsigned bytes)
{
	struct code_buf *b = x->b;

	if (HOMED(reg)) {
		if (bytes == 2)
			e_store16(b, T2, HOME(reg));
		else
			e_store(b, T2, HOME(reg));
		return;
	}
	if (bytes == 2)
		e8(b, 0x66);
	if (bytes == 8)
		e_mov(b, reg, T2);
	else
		e_mov32(b, reg, T2);
}

/* Pushes host register @src (T2 or a pinned one). */
static void emit_push(struct lower *x, unsigned src, unsigned bytes)
{
	struct ptr to = emit_stack(x, RSP, -(s32)bytes, bytes, MEM_W);

	e_store_at(x->b, src, to.reg, to.disp, bytes);
	move_rsp(x, -(s32)bytes);
}

void lower_push(struct lower *x)
{
	const struct insn *insn = x->insn;
	unsigned bytes = push_bytes(x, insn);
	unsigned src = T2;
	struct ptr from;

	if (insn->mem.present) {
		from = emit_memory(x, bytes, MEM_R, 0);
		e_load_at(x->b, T2, from.reg, from.disp, bytes);
	} else if (insn->gpr_op || insn->gpr_rm) {
		unsigned reg = insn->gpr_op ? insn->reg_op : insn->rm;

		if (reg == RSP)
			settle(x);
		src = use_reg(x, reg, T2);
	} else {
		e_mov_imm(x->b, T2, insn->imm);
	}
	emit_push(x, src, bytes);
}

void lower_pop(struct lower *x)
{
	const struct insn *insn = x->insn;
	unsigned bytes = push_bytes(x, insn);
	struct ptr at = emit_stack(x, RSP, 0, bytes, MEM_R);

	e_load_at(x->b, T2, at.reg, at.disp, bytes);
	if (insn->mem.present) {
		/* the address is computed with RSP already moved */
		at = emit_memory(x, bytes, MEM_W, insn->mem.base == RSP ? bytes : 0);
		e_store_at(x->b, T2, at.reg, at.disp, bytes);
		move_rsp(x, bytes);
		return;
	}
	move_rsp(x, bytes);
	if ((insn->gpr_op ? insn->reg_op : insn->rm) == RSP)
		settle(x);
	emit_set_reg(x, insn->gpr_op ? insn->reg_op : insn->rm, bytes);
}

void lower_leave(struct lower *x)
{
	unsigned bytes = push_bytes(x, x->insn);
	struct ptr at = emit_stack(x, RBP, 0, bytes, MEM_R);

	settle(x);
	e_load_at(x->b, T2, at.reg, at.disp, bytes);
	/* RSP, as far as the stack's width goes, is RBP */
	e_load(x->b, T0, HOME(RBP));
	if (stack_width(x) == 2)
		e_store16(x->b, T0, HOME(RSP));
	else
		e_store(x->b, T0, HOME(RSP));
	x->rsp_pending = bytes;
	settle(x);
	emit_set_reg(x, RBP, bytes);
}

/* ---- calls and returns ---------------------------------------------------------------------- */

/* Return address of a near call into T2. */
static void emit_return_address(struct lower *x)
{
	s32 next = x->l->guest[x->i] + x->insn->len;

	if (x->l->block->ctx & CTX_NONFLAT) {
		/* one instruction a block: C has set cpu->rip */
		e_load(x->b, T2, OFF(rip));
		e_lea(x->b, 1, T2, T2, REG_NONE, 1, x->insn->len);
		return;
	}
	e_load(x->b, T2, OFF(page_base));
	e_lea(x->b, is_long(x), T2, T2, REG_NONE, 1, next);
}

/* Target of an indirect branch (register or memory) into T0. */
static void emit_target(struct lower *x, unsigned bytes)
{
	struct code_buf *b = x->b;
	struct ptr at;
	unsigned src;

	if (x->insn->mem.present) {
		at = emit_memory(x, bytes, MEM_R, 0);
		e_load_at(b, T0, at.reg, at.disp, bytes);
		if (bytes == 2)
			movzx16(b, T0, T0);
		return;
	}
	if (x->insn->rm == RSP)
		settle(x);
	src = use_reg(x, x->insn->rm, T0);
	if (bytes == 2)
		movzx16(b, T0, src);
	else if (bytes == 4)
		e_mov32(b, T0, src);
	else if (src != T0)
		e_mov(b, T0, src);
}

static bool branch_is_direct(const struct insn *insn)
{
	return !insn->has_modrm;
}

/* Behind the host's call: the guest's return came here, its target is in T0, the target that the
 * call meant is on our stack. Flags are saved. The first five bytes are replaced by a jump when the
 * block is invalidated, as are the first of the block: the two must not meet. */
static void emit_return_site(struct lower *x)
{
	struct code_buf *b = x->b;
	s32 next = x->l->guest[x->i] + x->insn->len;
	struct site *s = new_site(x, SITE_RETURN, next);

	x->form = FLAGS_SAVED;
	s->patch = cache_off(x, b->p);
	e_pop(b, T1);
	e_cmp(b, T1, T0);
	e_patch(e_jcc(b, 5, false), b->base + x->l->thunks->lookup);
	if (!in_page(next)) {
		emit_indirect(x);
		return;
	}
	e_lea(b, 1, T0, T0, REG_NONE, 1, -next);
	e_store(b, T0, OFF(page_base));
	link_to(x, e_jmp(b, true), next, FL_ALL);
	x->ended = true;
}

static void keep_clear_of_entry(struct lower *x)
{
	while (cache_off(x, x->b->p) < x->l->block->entry_saved + BLOCK_MIN_CODE)
		e8(x->b, 0x90);
}

static void lower_call_direct(struct lower *x, unsigned bytes)
{
	s32 target = branch_target(x);
	u8 live = x->l->live_taken[x->i];
	bool near = in_page(target);

	emit_return_address(x);
	emit_push(x, T2, bytes);
	if (is_single(x)) {
		emit_direct(x, target, live);
		return;
	}
	settle(x);
	if (near && target <= x->l->guest[x->i])
		emit_poll(x, live, target);
	if (!near)
		emit_far_target(x, target, FL_ALL);
	e_push(x->b, T2);
	keep_clear_of_entry(x);
	if (near) {
		link_to(x, e_call(x->b), target, live);
	} else {
		if (!is_long(x))
			e_mov32(x->b, T0, T0);
		e_lookup(x->b, x->b->base + x->l->thunks->jump_call);
		e_call_reg(x->b, T2);
	}
	emit_return_site(x);
}

static void lower_call_indirect(struct lower *x, unsigned bytes)
{
	emit_target(x, bytes);
	e_store(x->b, T0, OFF(scratch[3]));
	emit_return_address(x);
	emit_push(x, T2, bytes);
	settle(x);
	flags_clobber(x, FL_ALL);
	e_load(x->b, T0, OFF(scratch[3]));
	if (is_single(x)) {
		emit_leave_to(x);
		return;
	}
	e_push(x->b, T2);
	keep_clear_of_entry(x);
	e_lookup(x->b, x->b->base + x->l->thunks->jump_call);
	e_call_reg(x->b, T2);
	emit_return_site(x);
}

void lower_call(struct lower *x)
{
	unsigned bytes = push_bytes(x, x->insn);

	if (branch_is_direct(x->insn))
		lower_call_direct(x, bytes);
	else
		lower_call_indirect(x, bytes);
}

void lower_ret(struct lower *x)
{
	unsigned bytes = push_bytes(x, x->insn);
	struct ptr at;

	flags_clobber(x, x->live_in[x->i]);
	at = emit_stack(x, RSP, 0, bytes, MEM_R);
	e_load_at(x->b, T0, at.reg, at.disp, bytes);
	if (bytes == 2)
		movzx16(x->b, T0, T0);
	move_rsp(x, bytes + (x->insn->imm_bytes ? (u16)x->insn->imm : 0));
	settle(x);
	if (is_single(x)) {
		emit_leave_to(x);
		return;
	}
	e8(x->b, 0xc3);
	x->ended = true;
}

void lower_jmp(struct lower *x)
{
	if (branch_is_direct(x->insn)) {
		emit_direct(x, branch_target(x), x->l->live_taken[x->i]);
		return;
	}
	emit_target(x, is_long(x) ? 8 : push_bytes(x, x->insn));
	emit_indirect(x);
}
