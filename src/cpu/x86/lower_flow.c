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
 *
 * A branch to an address that is not canonical faults before it has done anything (near.c). No
 * check is spent on that: such a target is never in the jump cache, so whoever misses it there has
 * kept what C needs to undo the branch and execute it again: a jump its site, a return its site's
 * number in T2. A call cannot be undone once the return address is written, so it asks the jump
 * cache first.
 *
 * Blocks of one instruction leave their branches to near.c.
 */
#include "cpu/x86/lower_private.h"

/* ---- jumps ---------------------------------------------------------------------------------- */

/* T0 -> T0, a RIP, which outside 64-bit mode has 32 bits. */
static void emit_wrap(struct lower *x)
{
	if (!is_long(x))
		e_mov32(x->b, T0, T0);
}

/* Goes to RIP T0, or to @otherwise. */
static void emit_go(struct lower *x, u32 otherwise)
{
	u8 *miss[2];

	flags_clobber(x, FL_ALL);
	settle(x);
	emit_wrap(x);
	e_lookup(x->b, T2, miss);
	for (unsigned i = 0; i < ARRAY_LEN(miss); i++) {
		e_patch(miss[i], x->b->base + otherwise);
		note_thunk(x, miss[i]);
	}
	e_enter_page(x->b);
	e_jmp_reg(x->b, T2);
	x->ended = true;
}

/* A stub for the misses of a look-up. */
static struct stub *add_miss_stub(struct lower *x, u8 *miss[2], struct site *s)
{
	struct stub *stub = add_stub(x, miss[0], s);

	stub->more = miss[1];
	return stub;
}

/* The instruction, a jump, goes to RIP T0. */
static void emit_jump(struct lower *x)
{
	u8 *miss[2];

	flags_clobber(x, FL_ALL);
	settle(x);
	emit_wrap(x);
	e_lookup(x->b, T2, miss);
	add_miss_stub(x, miss, new_site(x, SITE_BRANCH, x->l->guest[x->i]));
	e_enter_page(x->b);
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

void emit_fall_through(struct lower *x)
{
	s32 next = x->l->guest[x->l->count];
	u8 live = x->l->live_after[x->l->count - 1];

	settle(x);
	if (is_single(x)) {
		emit_exit(x, SITE_NEXT, next);
	} else if (in_page(next)) {
		link_to(x, e_jmp(x->b, true), next, live);
		x->ended = true;
	} else {
		emit_far_target(x, next, live);
		emit_go(x, x->l->thunks->jump);
	}
}

/* The instruction's jump to page offset @target of the current page (or beyond it). */
void emit_direct(struct lower *x, s32 target, u8 live)
{
	settle(x);
	if (!in_page(target)) {
		emit_far_target(x, target, live);
		emit_jump(x);
		return;
	}
	if (target <= x->l->guest[x->i])
		emit_poll(x, live, target);
	link_to(x, e_jmp(x->b, true), target, live);
	x->ended = true;
}

s32 branch_target(const struct lower *x, unsigned i)
{
	return (s32)x->l->guest[i] + x->l->insns[i].len + (s32)x->l->insns[i].imm;
}

void lower_jcc(struct lower *x)
{
	struct code_buf *b = x->b;
	s32 target = branch_target(x, x->i);
	unsigned cc = x->insn->opcode & 15;
	u8 live = x->l->live_taken[x->i];
	enum flags_form form;
	u8 *skip;

	settle(x);
	flags_need_host(x);
	if (carry_branch(x, cc))
		return;
	form = x->form;
	if (target > x->l->guest[x->i] && target < (s32)PAGE_SIZE) {
		link_to(x, e_jcc(b, cc, true), target, live);
	} else if (!in_page(target)) {
		x->fars[x->far_count++] = (struct far){ .jump = e_jcc(b, cc, false),
							.target = target,
							.insn = x->i,
							.form = live ? form : FLAGS_DEAD,
							.live = live };
	} else {
		skip = e_jcc(b, cc ^ 1, false);
		emit_direct(x, target, live);
		e_patch(skip, b->p);
		x->ended = false;
	}
	x->form = form;
}

void emit_fars(struct lower *x)
{
	for (unsigned i = 0; i < x->far_count; i++) {
		const struct far *f = &x->fars[i];

		e_patch(f->jump, x->b->p);
		x->i = f->insn;
		x->insn = &x->l->insns[x->i];
		x->form = f->form;
		emit_direct(x, f->target, f->live);
	}
}

/* LOOP, LOOPcc and JrCXZ: the native instruction decides, on the same RCX. Out of the page C does,
 * as RCX could not be undone. */
void lower_loop(struct lower *x)
{
	struct code_buf *b = x->b;
	s32 target = branch_target(x, x->i);
	enum flags_form form;
	u8 *skip;

	if (!in_page(target)) {
		emit_exit(x, SITE_ALONE, x->l->guest[x->i]);
		return;
	}
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
	set_reg(x, insn->gpr_op ? insn->reg_op : insn->rm, T2, bytes);
}

void lower_leave(struct lower *x)
{
	unsigned bytes = push_bytes(x, x->insn);
	struct ptr at = emit_stack(x, RBP, 0, bytes, MEM_R);

	settle(x);
	e_load_at(x->b, T2, at.reg, at.disp, bytes);
	/* RSP, as far as the stack's width goes, is RBP */
	set_reg(x, RSP, use_reg(x, RBP, T0), stack_width(x));
	x->rsp_pending = bytes;
	settle(x);
	set_reg(x, RBP, T2, bytes);
}

/* ---- calls and returns ---------------------------------------------------------------------- */

/* Return address of a near call into T2. */
static void emit_return_address(struct lower *x)
{
	s32 next = x->l->guest[x->i] + x->insn->len;

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
		return;
	}
	if (x->insn->rm == RSP)
		settle(x);
	src = use_reg(x, x->insn->rm, T0);
	if (bytes == 4)
		e_mov32(b, T0, src);
	else if (src != T0)
		e_mov(b, T0, src);
}

static bool branch_is_direct(const struct insn *insn)
{
	return !insn->has_modrm;
}

/* Behind the host's call: the guest's return came here, its target is in T0, its site's number in
 * T2, the target that the call meant is on our stack. Flags are saved. The first five bytes are
 * replaced by a jump when the block is invalidated, as are the first of the block: the two must not
 * meet. */
static void emit_return_site(struct lower *x)
{
	struct code_buf *b = x->b;
	s32 next = x->l->guest[x->i] + x->insn->len;
	struct site *s = new_site(x, SITE_RETURN, next);
	u8 *other;

	x->form = FLAGS_SAVED;
	s->patch = cache_off(x, b->p);
	e_pop(b, T1);
	e_cmp(b, T1, T0);
	other = e_jcc(b, 5, false);
	e_patch(other, b->base + x->l->thunks->lookup);
	note_thunk(x, other);
	if ((x->l->block->ctx >> CTX_CPL_SHIFT & 3) != 3) { /* STAC or CLAC since then? */
		bool ac = x->l->block->ctx & CTX_AC;

		e_test_state8(b, OFF(ctx), CTX_AC);
		other = e_jcc(b, ac ? 4 : 5, false);
		e_patch(other, b->base + x->l->thunks->lookup);
		note_thunk(x, other);
	}
	if (!in_page(next)) {
		emit_go(x, x->l->thunks->jump_return);
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

static void lower_call_inside(struct lower *x, s32 target, unsigned bytes)
{
	u8 live = x->l->live_taken[x->i];

	emit_return_address(x);
	emit_push(x, T2, bytes);
	settle(x);
	if (target <= x->l->guest[x->i])
		emit_poll(x, live, target);
	e_push(x->b, T2);
	keep_clear_of_entry(x);
	link_to(x, e_call(x->b), target, live);
	emit_return_site(x);
}

/* A register that holds something until the block ends: not that of the group which the coming push
 * belongs to. */
static unsigned reserve_pointer(struct lower *x, unsigned bytes)
{
	const struct group *g = stack_group(x, RSP, -(s32)bytes, bytes, MEM_W);
	unsigned i = g == &x->groups[0];

	x->groups[i].active = 0;
	x->reserved = &x->groups[i];
	return group_register(i);
}

/* The page that RIP, the target, is in. */
static void emit_enter_target(struct lower *x)
{
	if (branch_is_direct(x->insn) && is_long(x)) {
		e_add_state(x->b, OFF(page_base), branch_target(x, x->i) & PAGE_MASK);
		return;
	}
	e_load(x->b, T0, OFF(exit_arg));
	e_enter_page(x->b);
}

static void lower_call_outside(struct lower *x, unsigned bytes)
{
	struct code_buf *b = x->b;
	struct stub *stub;
	unsigned callee;
	u8 *miss[2];

	if (branch_is_direct(x->insn))
		emit_far_target(x, branch_target(x, x->i), FL_ALL);
	else
		emit_target(x, bytes);
	flags_clobber(x, FL_ALL);
	emit_wrap(x);
	if (!branch_is_direct(x->insn) || !is_long(x))
		e_store(b, T0, OFF(exit_arg));
	callee = reserve_pointer(x, bytes);
	e_lookup(b, callee, miss);
	stub = add_miss_stub(x, miss, new_site(x, SITE_CALL, x->l->guest[x->i]));
	stub->site->own = x->rsp_pending;
	stub->back = b->p;
	stub->reg = callee;
	emit_return_address(x);
	emit_push(x, T2, bytes);
	settle(x);
	emit_enter_target(x);
	e_push(b, T2);
	keep_clear_of_entry(x);
	e_call_reg(b, callee);
	emit_return_site(x);
}

void lower_call(struct lower *x)
{
	unsigned bytes = push_bytes(x, x->insn);

	if (branch_is_direct(x->insn) && in_page(branch_target(x, x->i)))
		lower_call_inside(x, branch_target(x, x->i), bytes);
	else
		lower_call_outside(x, bytes);
}

void lower_ret(struct lower *x)
{
	unsigned bytes = push_bytes(x, x->insn);
	unsigned drops = bytes + (x->insn->imm_bytes ? (u16)x->insn->imm : 0);
	struct site *s;
	struct ptr at;

	flags_clobber(x, x->live_in[x->i]);
	at = emit_stack(x, RSP, 0, bytes, MEM_R);
	e_load_at(x->b, T0, at.reg, at.disp, bytes);
	move_rsp(x, drops);
	settle(x);
	if (is_long(x)) {
		s = new_site(x, SITE_BRANCH, x->l->guest[x->i]);
		s->tag_off = drops;
		e_mov_imm(x->b, T2, site_id(x, s));
		note_site(x);
	}
	if (x->l->plain & CPU_PLAIN_RETURNS)
		emit_thunk(x, x->l->thunks->lookup);
	else
		e8(x->b, 0xc3);
	x->ended = true;
}

void lower_jmp(struct lower *x)
{
	if (branch_is_direct(x->insn)) {
		emit_direct(x, branch_target(x, x->i), x->l->live_taken[x->i]);
		return;
	}
	emit_target(x, is_long(x) ? 8 : push_bytes(x, x->insn));
	emit_jump(x);
}
