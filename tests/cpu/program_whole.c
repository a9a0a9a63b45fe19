/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random programs that are whole: functions with frames that call each other, with loops and random
 * instructions in them.
 */
#include "program.h"

#include <string.h>

/* The stack is where no other access of a program goes, so every return finds its address. */
#define WHOLE_STACK     (DATA_GVA + 448)
#define FUNCTIONS_MAX   4
#define FRAME           40 /* bytes */
#define REFERENCES_MAX  24
#define PAIRS_OF_PUSHES 2

/* A call or jump whose function is not placed yet. */
struct reference {
	unsigned at; /* of the rel32 or of the imm64 */
	u8 function;
	bool absolute;
};

struct whole {
	struct reference references[REFERENCES_MAX];
	unsigned count, functions;
	unsigned entry[FUNCTIONS_MAX];
};

static unsigned not_rsp(void)
{
	unsigned reg;

	do
		reg = below(16);
	while (reg == RSP);
	return reg;
}

static void refer(struct whole *w, unsigned at, unsigned function, bool absolute)
{
	w->references[w->count++] = (struct reference){ at, function, absolute };
}

/* A call of a function with a larger number than @self, so that none comes back to itself. */
static void put_call(struct program *p, struct whole *w, unsigned first)
{
	unsigned function = first + below(w->functions - first), reg = not_rsp();

	if (w->count == REFERENCES_MAX)
		return;
	if (below(3)) {
		program_put(p, (u8[]){ 0xe8, 0, 0, 0, 0 }, 5);
		refer(w, p->len - 4, function, false);
		return;
	}
	program_put_mov_imm64(p, reg, 0);
	refer(w, p->len - 8, function, true);
	program_put(p, (u8[]){ 0x40 | reg >> 3, 0xff, 0xd0 | (reg & 7) }, 3);
}

/* MOV, ADD or SUB between a register and the frame, either way. */
static void put_frame_access(struct program *p)
{
	static const u8 opcodes[] = { 0x89, 0x8b, 0x01, 0x03, 0x29, 0x2b };
	unsigned reg = not_rsp();

	program_put(p,
		    (u8[]){ (below(3) ? 0x48 : 0x40) | (reg & 8) >> 1, opcodes[below(6)],
			    0x44 | (reg & 7) << 3, 0x24, 8 + below(FRAME - 16) },
		    5);
}

/* Anything that leaves RSP alone. */
static void put_plain_insn(struct program *p)
{
	unsigned len = p->len, count = p->count;
	bool masked = p->masked;

	if (program_put_random(p) >> RSP & 1) {
		p->len = len;
		p->count = count;
		p->masked = masked;
		put_frame_access(p);
	}
}

static void put_pieces(struct program *p, struct whole *w, unsigned first)
{
	for (unsigned n = 1 + below(4); n--;) {
		switch (below(6)) {
		case 0:
			if (first < w->functions)
				put_call(p, w, first);
			break;
		case 1: put_plain_insn(p); break;
		default: put_frame_access(p);
		}
	}
}

/* push, push; sub rsp; pieces, some of them in a loop counted in the frame; add rsp; pop, pop; ret,
 * or a jump to another function, which returns for this one. */
static void put_function(struct program *p, struct whole *w, unsigned self)
{
	unsigned reg[PAIRS_OF_PUSHES], pushes = below(PAIRS_OF_PUSHES + 1), body;

	w->entry[self] = p->len;
	for (unsigned i = 0; i < pushes; i++) {
		reg[i] = not_rsp();
		program_put(p, (u8[]){ 0x40 | reg[i] >> 3, 0x50 | (reg[i] & 7) }, 2);
	}
	program_put(p, (u8[]){ 0x48, 0x83, 0xec, FRAME }, 4);
	put_pieces(p, w, self + 1);
	if (below(2)) {
		program_put(p, (u8[]){ 0x48, 0xc7, 0x04, 0x24, 1 + below(5), 0, 0, 0 }, 8);
		body = p->len;
		put_pieces(p, w, self + 1);
		program_put(p, (u8[]){ 0x48, 0xff, 0x0c, 0x24 }, 4); /* dec qword [rsp] */
		program_put(p, (u8[]){ 0x0f, 0x85 }, 2);
		*(s32 *)(p->bytes + p->len) = (s32)(body - (p->len + 4));
		p->len += 4;
	}
	program_put(p, (u8[]){ 0x48, 0x83, 0xc4, FRAME }, 4);
	while (pushes--)
		program_put(p, (u8[]){ 0x40 | reg[pushes] >> 3, 0x58 | (reg[pushes] & 7) }, 2);
	if (self + 1 < w->functions && below(5) == 0 && w->count < REFERENCES_MAX) {
		program_put(p, (u8[]){ 0xe9, 0, 0, 0, 0 }, 5);
		refer(w, p->len - 4, self + 1, false);
	} else {
		program_put(p, (u8[]){ 0xc3 }, 1);
	}
}

void program_put_whole(struct program *p)
{
	struct whole w = { .functions = 1 + below(FUNCTIONS_MAX) };

	p->whole = true;
	program_put_mov_imm64(p, RSP, WHOLE_STACK);
	for (unsigned n = 1 + below(3); n--;) {
		put_call(p, &w, 0);
		put_plain_insn(p);
	}
	program_put(p, (u8[]){ 0xcc }, 1);
	for (unsigned i = 0; i < w.functions; i++) {
		if (below(4) == 0 && p->len < PAGE_SIZE - 64) { /* about the page's end */
			unsigned to = PAGE_SIZE - 64 + below(128);

			memset(p->bytes + p->len, 0xcc, to - p->len);
			p->len = to;
		}
		put_function(p, &w, i);
	}
	for (unsigned i = 0; i < w.count; i++) {
		const struct reference *r = &w.references[i];
		u64 address = CODE_GVA + w.entry[r->function];
		s32 off = w.entry[r->function] - (r->at + 4);

		if (r->absolute)
			memcpy(p->bytes + r->at, &address, 8);
		else
			memcpy(p->bytes + r->at, &off, 4);
	}
}
