/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lengths by table (SDM vol. 2, appendix A). Default deny: an opcode without a row has no shape, so
 * two immediates, far pointers, moffs, 3DNow!, XOP, MOV of control registers, opcodes that are
 * illegal or that vendors disagree about have none.
 *
 * A row vouches for more than the length: the decoder's answer depends on the value of displacement
 * and immediate in no way besides these values themselves. Where it does (a shift by zero leaves
 * the flags alone) or may (an immediate that names a register or a predicate) the row says VALUE,
 * and the whole instruction counts.
 */
#include "cpu/x86/shape.h"

#define MAX_PREFIXES 4

enum {
	NONE = 0,  /* no shape */
	PLAIN = 1, /* the opcode is all */
	MODRM = 2, /* ModRM follows */
	TEST = 4,  /* the immediate belongs to /0 and /1 only */
	VALUE = 8, /* the immediate's value matters */
	PREFIX = 16,
	ESCAPE = 32,     /* to another map */
	IMM_8 = 1 << 6,  /* an immediate of one byte, */
	IMM_16 = 2 << 6, /* two, */
	IMM_Z = 3 << 6,  /* as many as the operand has, but at most four, */
	IMM_V = 4 << 6,  /* or as many as the operand has */
	IMM = 7 << 6,

	M = MODRM,
	Mb = MODRM | IMM_8,
	Mz = MODRM | IMM_Z,
	Mv = MODRM | IMM_8 | VALUE,
};

/* clang-format off */
/* INC and DEC of 40 to 4F are REX prefixes in 64-bit mode; what that mode lacks does no harm. */
static const u16 one_byte[256] = {
	[0x00] = M,      M,      M,      M,      IMM_8,  IMM_Z,  PLAIN, PLAIN,
	[0x08] = M,      M,      M,      M,      IMM_8,  IMM_Z,  PLAIN, ESCAPE,
	[0x10] = M,      M,      M,      M,      IMM_8,  IMM_Z,  PLAIN, PLAIN,
	[0x18] = M,      M,      M,      M,      IMM_8,  IMM_Z,  PLAIN, PLAIN,
	[0x20] = M,      M,      M,      M,      IMM_8,  IMM_Z,  PREFIX, PLAIN,
	[0x28] = M,      M,      M,      M,      IMM_8,  IMM_Z,  PREFIX, PLAIN,
	[0x30] = M,      M,      M,      M,      IMM_8,  IMM_Z,  PREFIX, PLAIN,
	[0x38] = M,      M,      M,      M,      IMM_8,  IMM_Z,  PREFIX, PLAIN,
	[0x40 ... 0x5f] = PLAIN,
	[0x60] = PLAIN,  PLAIN,  ESCAPE, M,      PREFIX, PREFIX, PREFIX, PREFIX,
	[0x68] = IMM_Z,  Mz,     IMM_8,  Mb,     PLAIN,  PLAIN,  PLAIN, PLAIN,
	[0x70 ... 0x7f] = IMM_8,
	[0x80] = Mb,     Mz,     NONE,   Mb,     M,      M,      M,     M,
	[0x88] = M,      M,      M,      M,      M,      M,      M,     NONE,
	[0x90 ... 0x99] = PLAIN,
	[0x9b ... 0x9f] = PLAIN,
	[0xa4] = PLAIN,  PLAIN,  PLAIN,  PLAIN,
	[0xa8] = IMM_8,  IMM_Z,  PLAIN,  PLAIN,  PLAIN,  PLAIN,  PLAIN, PLAIN,
	[0xb0 ... 0xb7] = IMM_8,
	[0xb8 ... 0xbf] = IMM_V,
	[0xc0] = Mv,     Mv,     IMM_16, PLAIN,  ESCAPE, ESCAPE, Mb,    Mz,
	[0xc9] = PLAIN,  IMM_16, PLAIN,  PLAIN,  IMM_8,  PLAIN,  PLAIN,
	[0xd0] = M,      M,      M,      M,      IMM_8,  IMM_8,  NONE,  PLAIN,
	[0xd8 ... 0xdf] = M,
	[0xe0 ... 0xe7] = IMM_8,
	[0xe8] = IMM_Z,  IMM_Z,  NONE,   IMM_8,  PLAIN,  PLAIN,  PLAIN, PLAIN,
	[0xf0] = PREFIX, PLAIN,  PREFIX, PREFIX, PLAIN,  PLAIN,  Mb | TEST, Mz | TEST,
	[0xf8] = PLAIN,  PLAIN,  PLAIN,  PLAIN,  PLAIN,  PLAIN,  M,     M,
};

/* VEX and EVEX have no Jcc but are otherwise like this where they have anything. */
static const u16 two_byte[256] = {
	[0x00 ... 0x03] = M,
	[0x05 ... 0x09] = PLAIN,
	[0x0b] = PLAIN,
	[0x0d] = M,
	[0x10 ... 0x1f] = M,
	[0x28 ... 0x2f] = M,
	[0x30 ... 0x35] = PLAIN,
	[0x40 ... 0x6f] = M,
	[0x70] = Mv, Mv, Mv, Mv, M, M, M, PLAIN,
	[0x7c ... 0x7f] = M,
	[0x80 ... 0x8f] = IMM_Z,
	[0x90 ... 0x9f] = M,
	[0xa0] = PLAIN, PLAIN, PLAIN, M, Mv, M,
	[0xa8] = PLAIN, PLAIN, PLAIN, M, Mv, M, M, M,
	[0xb0 ... 0xb8] = M,
	[0xba] = Mb, M, M, M, M, M,
	[0xc0] = M, M, Mv, M, Mv, Mv, Mv, M,
	[0xc8 ... 0xcf] = PLAIN,
	[0xd0 ... 0xfe] = M,
};
/* clang-format on */

/* 0F 38 and 0F 3A, in whatever encoding. MOVDIR64B and ENQCMD have two memory operands. */
static u16 map_row(unsigned map, u8 opcode)
{
	switch (map) {
	case 1: return two_byte[opcode];
	case 2: return opcode == 0xf8 ? NONE : M;
	case 3: return Mv;
	default: return NONE;
	}
}

/* The row of the instruction whose escape is at @raw; @skip: how far its opcode is. */
static u16 escaped(enum insn_mode mode, const u8 *raw, unsigned *skip)
{
	unsigned map;
	u16 row;

	if (raw[0] == 0x0f) {
		map = raw[1] == 0x38 ? 2 : raw[1] == 0x3a ? 3 : 1;
		*skip = map == 1 ? 1 : 2;
		return map_row(map, raw[*skip]);
	}
	if (mode != INSN_64 && raw[1] < 0xc0)
		return NONE; /* BOUND, LES, LDS */
	if (raw[0] == 0xc5) {
		map = 1;
		*skip = 2;
	} else if (raw[0] == 0xc4) {
		map = raw[1] & 31;
		*skip = 3;
	} else {
		map = raw[1] & 7;
		*skip = 4;
	}
	row = map_row(map, raw[*skip]);
	return (row & IMM) == IMM_Z ? NONE : row;
}

/* Displacement's bytes and whether there is a SIB byte, by ModRM.mod (not 3) and rm: SDM vol. 2
 * tables 2-1 and 2-2. */
#define SIB 8
static const u8 form16[3][8] = {
	{ 0, 0, 0, 0, 0, 0, 2, 0 },
	{ 1, 1, 1, 1, 1, 1, 1, 1 },
	{ 2, 2, 2, 2, 2, 2, 2, 2 },
};
static const u8 form32[3][8] = {
	{ 0, 0, 0, 0, SIB, 4, 0, 0 },
	{ 1, 1, 1, 1, SIB | 1, 1, 1, 1 },
	{ 4, 4, 4, 4, SIB | 4, 4, 4, 4 },
};

/* By operand size: 2, 4, 8 bytes. */
static const u8 imm_bytes[][3] = {
	[0] = { 0, 0, 0 },
	[IMM_8 / IMM_8] = { 1, 1, 1 },
	[IMM_16 / IMM_8] = { 2, 2, 2 },
	[IMM_Z / IMM_8] = { 2, 4, 4 },
	[IMM_V / IMM_8] = { 2, 4, 8 },
};

bool shape_find(enum insn_mode mode, const u8 *raw, struct shape *shape)
{
	unsigned at = 0, disp = 0, skip, width = mode == INSN_16 ? 0 : 1;
	bool address16 = mode == INSN_16, scaled = false;
	u16 row = one_byte[raw[0]];

	while (row & PREFIX) {
		if (raw[at] == 0x66)
			width = mode == INSN_16 ? 1 : 0;
		if (raw[at] == 0x67)
			address16 = mode == INSN_32;
		if (++at > MAX_PREFIXES)
			return false;
		row = one_byte[raw[at]];
	}
	if (mode == INSN_64 && (raw[at] & 0xf0) == 0x40) {
		if (raw[at] & 8)
			width = 2;
		row = one_byte[raw[++at]];
		if (row & PREFIX || (raw[at] & 0xf0) == 0x40)
			return false; /* that REX is void */
	}
	if (row & ESCAPE) {
		scaled = raw[at] == 0x62; /* EVEX disp8*N */
		row = escaped(mode, raw + at, &skip);
		at += skip;
	}
	if (!row)
		return false;
	at++;
	if (row & MODRM) {
		u8 modrm = raw[at++], form;

		if (row & TEST && modrm & 0x30)
			row &= ~IMM;
		if (modrm < 0xc0) {
			form = (address16 ? form16 : form32)[modrm >> 6][modrm & 7];
			disp = form & 7;
			if (form & SIB && (raw[at++] & 7) == 5 && modrm < 0x40)
				disp = 4;
		}
	}
	shape->head = at;
	shape->disp_bytes = disp;
	shape->imm_bytes = imm_bytes[(row & IMM) / IMM_8][width];
	shape->len = at + disp + shape->imm_bytes;
	shape->fixed = row & VALUE || (scaled && disp) ? shape->len : at;
	return true;
}
