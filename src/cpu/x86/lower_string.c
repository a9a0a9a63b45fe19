/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MOVS and STOS, with and without REP, going forward.
 *
 * One check each side covers all that the instruction is going to touch, as its bytes are known
 * when it begins: then the host's own string instruction runs on host addresses. What reaches over
 * a page's end, goes backward, or misses the TLB is done by string.c, which goes page by page and
 * fills the TLB on its way. Two pages of the guest overlap exactly where their host pages do, so
 * copies onto themselves come out as on the silicon.
 *
 * The instruction is the last of its block: the groups' registers are free.
 */
#include "cpu/x86/lower_private.h"

#define SLOW_WAYS 4

struct string {
	u8 *slow[SLOW_WAYS]; /* rel32 of the jumps to the helper */
	unsigned ways;
};

static void go_slow(struct lower *x, struct string *s, unsigned cc)
{
	s->slow[s->ways++] = e_jcc(x->b, cc, false);
}

static unsigned log2_of(unsigned bytes)
{
	return bytes == 8 ? 3 : bytes == 4 ? 2 : bytes == 2 ? 1 : 0;
}

/* T2 = the last offset in a page at which all bytes still fit. */
static void emit_room(struct lower *x, struct string *s, unsigned bytes)
{
	struct code_buf *b = x->b;

	if (!(x->insn->prefixes & (PFX_REP | PFX_REPNE))) {
		e_mov_imm(b, T2, PAGE_SIZE - bytes);
		return;
	}
	e_arith_imm(b, 1, 7, RCX, PAGE_SIZE / bytes);
	go_slow(x, s, 7); /* ja */
	e_mov(b, T2, RCX);
	if (bytes > 1)
		e_shift(b, 1, 4, T2, log2_of(bytes));
	e_neg(b, T2);
	e_arith_imm(b, 1, 0, T2, PAGE_SIZE);
}

/* @to = host address for guest register @from; uses T1. */
static void emit_side(struct lower *x, struct string *s, unsigned to, unsigned from,
		      unsigned access)
{
	struct code_buf *b = x->b;

	e_mov(b, to, from);
	emit_tlb_entry(x, to, access);
	e_cmp(b, to, T2);
	go_slow(x, s, 7); /* ja */
	emit_tlb_host(x, to);
}

/* @delta = host address in @to less the guest's in @reg, which becomes the host's. */
static void emit_move_over(struct code_buf *b, unsigned delta, unsigned to, unsigned reg)
{
	e_mov(b, delta, to);
	e_sub(b, delta, reg);
	e_mov(b, reg, to);
}

static void emit_string(struct lower *x)
{
	const struct insn *insn = x->insn;

	if (insn->prefixes & (PFX_REP | PFX_REPNE))
		e8(x->b, 0xf3);
	if (!insn->bytewide && insn->opsize == 2)
		e8(x->b, 0x66);
	if (!insn->bytewide && insn->opsize == 8)
		e8(x->b, 0x48);
	e8(x->b, insn->opcode);
}

void lower_string(struct lower *x)
{
	bool movs = (x->insn->opcode & ~1) == 0xa4;
	unsigned bytes = x->insn->bytewide ? 1 : x->insn->opsize;
	u16 here = x->l->guest[x->i];
	struct code_buf *b = x->b;
	struct string s = { .ways = 0 };
	enum flags_form form;

	settle(x);
	flags_clobber(x, x->live_in[x->i]);
	form = x->form;
	e_test_state8(b, OFF(rflags) + 1, FLAG_DF >> 8);
	go_slow(x, &s, 5); /* jnz */
	emit_room(x, &s, bytes);
	emit_side(x, &s, T0, RDI, MEM_W);
	if (movs)
		emit_side(x, &s, P0, RSI, MEM_R);
	emit_move_over(b, T1, T0, RDI);
	if (movs)
		emit_move_over(b, T2, P0, RSI);
	emit_string(x);
	e_sub(b, RDI, T1);
	if (movs)
		e_sub(b, RSI, T2);
	emit_fall_through(x);
	for (unsigned i = 0; i < s.ways; i++)
		e_patch(s.slow[i], b->p);
	x->form = form;
	emit_leave(x, new_site(x, SITE_HELPER, here));
}
