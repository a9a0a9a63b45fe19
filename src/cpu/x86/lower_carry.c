/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loops that carry their pointers.
 *
 * Where a block is a loop and its addresses move by constants from turn to turn, the pointer of a
 * group (lower_memory.c) moves by the same constants, as long as it stays in the page. Such a block
 * has two copies of the loop. The first one checks as every block does, and then counts how many
 * turns the pages leave to its groups. The second one takes the pointers as they are, for as many
 * turns as were counted:
 *
 *      entry:  checks, body
 *              jcc count
 *      out:    jmp to the next block
 *      count:  loop_end = pointer + turns until the first of the pages ends * its step
 *      next:   cmp pointer, loop_end
 *              je  again
 *              pointers += their steps
 *              body
 *              jcc next
 *              jmp to the next block
 *      again:  poll; jmp entry
 *
 * Which turn is the last is read off one of the pointers that move, by the lower half of its
 * address: to count in memory would have each turn wait for the one before. Where none moves,
 * loop_end is counted down all the same.
 *
 * It stands in for the poll too: there are never more turns than a page has bytes. The pointers are
 * good for that long for the same reason that they are good in the rest of a block: nothing takes a
 * translation back between two polls.
 */
#include "cpu/x86/lower_private.h"

#define CARRY_INSNS_MAX (BLOCK_MAX_INSNS / 2)
#define CARRY_STEP_MAX  1024 /* bytes: larger ones leave too few turns */
#define CARRY_LOOKED_AT 8    /* pointers that might be worth it */
#define CARRY_NEAR      128  /* bytes between accesses that go off one pointer */
#define CARRY_TURNS     1024 /* where no pointer moves */

struct candidate {
	struct carried pointer;
	unsigned uses;
};

static bool may_carry(const struct lower *x, const struct insn *insn)
{
	if (!insn->allowed || insn_needs_helper(insn) || fpu_is_off(x, insn))
		return false;
	switch (insn->kind) {
	case KIND_COPY:
	case KIND_JCC:
	case KIND_LEA:
	case KIND_MOV:
	case KIND_NOP: return true;
	default: return false;
	}
}

/* The index of the branch to the block's own first instruction, or -1. */
static int find_branch_back(const struct lower *x)
{
	for (unsigned i = 0; i < MIN(x->l->count, CARRY_INSNS_MAX); i++) {
		const struct insn *insn = &x->l->insns[i];

		if (!may_carry(x, insn))
			return -1;
		if (insn->kind == KIND_JCC && branch_target(x, i) == x->l->guest[0])
			return x->l->live_taken[i] ? -1 : (int)i;
	}
	return -1;
}

/* What a turn adds to the key's value; false: nobody knows, or too much. */
static bool step_of(const struct lower *x, const struct group_key *key, unsigned last, s64 *step)
{
	s64 shift;

	*step = 0;
	for (unsigned i = 0; i <= last; i++) {
		if (!key_after(x, i, key, &shift))
			return false;
		*step += shift;
	}
	return *step >= -CARRY_STEP_MAX && *step <= CARRY_STEP_MAX;
}

static bool is_for(const struct carried *c, const struct group_key *key, s64 at)
{
	return same_key(&c->key, key) && at - c->at <= CARRY_NEAR && c->at - at <= CARRY_NEAR;
}

int carry_index(const struct lower *x, const struct group_key *key, s64 disp)
{
	for (unsigned k = 0; k < x->carry.count; k++)
		if (is_for(&x->carry.pointers[k], key, disp + x->carry.pointers[k].shift))
			return k;
	return -1;
}

void carry_update(struct lower *x)
{
	s64 shift;

	for (unsigned k = 0; k < x->carry.count; k++)
		if (key_after(x, x->i, &x->carry.pointers[k].key, &shift))
			x->carry.pointers[k].shift += shift;
}

/* What the loop has added to the key's value before instruction @i. */
static s64 shift_before(const struct lower *x, const struct group_key *key, unsigned i)
{
	s64 sum = 0, shift;

	while (i--)
		if (key_after(x, i, key, &shift))
			sum += shift;
	return sum;
}

static unsigned find_candidates(const struct lower *x, unsigned last, struct candidate *found)
{
	unsigned n = 0, k;

	for (unsigned i = 0; i <= last; i++) {
		struct carried c = { 0 };
		s64 disp;

		if (!memory_key(x, i, &c.key, &disp) || !step_of(x, &c.key, last, &c.step))
			continue;
		c.at = disp + shift_before(x, &c.key, i);
		for (k = 0; k < n && !is_for(&found[k].pointer, &c.key, c.at); k++)
			;
		if (k < n)
			found[k].uses++;
		else if (n < CARRY_LOOKED_AT)
			found[n++] = (struct candidate){ c, 1 };
	}
	return n;
}

void carry_plan(struct lower *x)
{
	struct candidate found[CARRY_LOOKED_AT];
	struct carry *c = &x->carry;
	unsigned n, best;
	int last;

	if (x->l->block->ctx & CTX_NOGROUP || is_single(x) ||
	    x->l->plain & (CPU_PLAIN_GROUPS | CPU_PLAIN_LOOPS))
		return;
	last = find_branch_back(x);
	if (last < 0)
		return;
	n = find_candidates(x, last, found);
	for (; n && c->count < GROUPS; found[best] = found[--n]) {
		best = 0;
		for (unsigned k = 1; k < n; k++)
			if (found[k].uses > found[best].uses)
				best = k;
		c->pointers[c->count++] = found[best].pointer;
	}
	if (!c->count)
		return;
	c->last = last;
	x->l->count = last + 1;
}

bool carry_branch(struct lower *x, unsigned cc)
{
	struct carry *c = &x->carry;

	if (!c->count || x->i != c->last)
		return false;
	if (c->next) {
		e_patch(e_jcc(x->b, cc, false), c->next);
		return true;
	}
	for (unsigned k = 0; k < c->count; k++)
		if (!x->groups[k].active)
			return false;
	c->enter = e_jcc(x->b, cc, false);
	return true;
}

static unsigned log2_above(u64 n)
{
	return n > 1 ? 64 - __builtin_clzll(n - 1) : 0;
}

/* @reg = a number of turns that keeps the group's range in its page, not the largest unless the
 * step is a power of two. */
static void emit_turns(struct code_buf *b, unsigned reg, const struct group *g, s64 step)
{
	e_mov32(b, reg, g->reg);
	e_arith_imm(b, 0, 4, reg, PAGE_SIZE - 1);
	if (step > 0) {
		e_neg(b, reg);
		e_arith_imm(b, 1, 0, reg, PAGE_SIZE - (g->hi - g->lo));
	}
	e_shift(b, 1, 5, reg, log2_above(step > 0 ? step : -step));
}

/* loop_end, off the first pointer that moves. */
static void emit_end(struct lower *x)
{
	struct carry *c = &x->carry;
	struct code_buf *b = x->b;

	for (unsigned k = 0; k < c->count; k++) {
		s64 step = c->pointers[k].step;

		if (!step)
			continue;
		emit_turns(b, c->moves ? T0 : T2, &x->groups[k], step);
		if (c->moves) {
			e_cmp(b, T2, T0);
			e_cmova(b, T2, T0);
		} else {
			c->moves = true;
			c->leader = k;
		}
	}
	if (!c->moves) {
		e_store_imm32(b, OFF(loop_end), CARRY_TURNS);
		return;
	}
	e_imul32(b, T2, T2, c->pointers[c->leader].step);
	e_lea(b, 0, T2, T2, x->groups[c->leader].reg, 1, 0);
	e_store32(b, T2, OFF(loop_end));
}

/* Returns the rel32 of the jump that is taken when no turn is left. */
static u8 *emit_last_turn(struct lower *x)
{
	struct code_buf *b = x->b;

	if (!x->carry.moves) {
		e_sub_state32(b, OFF(loop_end), 1);
		return e_jcc(b, 2, false);
	}
	e_op_state(b, 0x3b, 0, x->groups[x->carry.leader].reg, OFF(loop_end)); /* cmp */
	return e_jcc(b, 4, false);
}

/* The pointers go on by a turn; for the groups everything stays where it was from the first
 * instruction's point of view. */
static void emit_steps(struct lower *x)
{
	for (unsigned k = 0; k < x->carry.count; k++) {
		struct group *g = &x->groups[k];
		s64 step = x->carry.pointers[k].step;

		x->carry.pointers[k].shift = 0;
		g->ref += step;
		g->lo += step;
		g->hi += step;
		g->age = 0;
		if (step)
			e_lea(x->b, 1, g->reg, g->reg, REG_NONE, 1, step);
	}
	for (unsigned i = x->carry.count; i < GROUPS; i++)
		x->groups[i].active = 0;
}

void carry_copy(struct lower *x)
{
	struct code_buf *b = x->b;
	u8 *again;

	if (!x->carry.enter)
		return;
	e_patch(x->carry.enter, b->p);
	x->map_shift = x->l->block->maps;
	x->form = FLAGS_DEAD;
	x->ended = false;
	emit_end(x);
	x->carry.next = b->p;
	again = emit_last_turn(x);
	emit_steps(x);
	lower_insns(x);
	x->l->block->maps += x->i;
	x->i = x->carry.last;
	if (!x->ended)
		emit_fall_through(x);
	e_patch(again, b->p);
	x->form = FLAGS_DEAD;
	x->ended = false;
	emit_direct(x, x->l->guest[0], 0);
}
