/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The random differential tester: programs run natively, translated and stepped; all three must
 * agree on registers, flags, vector state, memory and exceptions. Most are short and straight; some
 * are loops over arrays, and some are whole: functions with frames that call each other, with loops
 * and random instructions in them.
 *
 *   cpu-diff [--cases N] [--seed S] [--only SEED] [--length N] [--faults] [--combinations]
 *            [--saved]
 *
 * Every memory operand's registers are loaded right before it, so that the address is known: most
 * land inside the four data pages, many across a page boundary (which the guest's physical memory
 * does not have: its pages are scattered). With --faults one data page is missing or read-only.
 * With --saved another machine translates the programs first, and the one that is tested takes its
 * blocks from what that one saved, also for programs with other immediates.
 * With --combinations the programs, most of them whole, are spread over all combinations of what
 * the translator can leave out (enum cpu_plain). A failure prints the case's seed; --only SEED runs
 * that case and prints everything.
 */
#include "machine.h"
#include "native.h"

#include "cpu/run.h"
#include "cpu/x86/decode.h"
#include "cpu/x86/lower.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_INSNS 12

static struct insn_contract contract;
static u64 xcr0;
static bool faults; /* one data page is missing or read-only */
static bool combinations;
static u64 rng_state;

static u64 rnd(void)
{
	u64 z = rng_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}
static u64 below(u64 n)
{
	return rnd() % n;
}

/* ---- programs ---------------------------------------------------------------------------------
 */

struct program {
	u8 bytes[CODE_PAGES * PAGE_SIZE];
	unsigned len;
	unsigned starts[512];
	unsigned count;
	bool whole;  /* other immediates would lose its stack */
	bool masked; /* which byte of a masked operand CR2 names is the processor's choice */
};

static void put_mov_imm64(struct program *p, unsigned reg, u64 v)
{
	p->starts[p->count++] = p->len;
	p->bytes[p->len++] = 0x48 | (reg >= 8);
	p->bytes[p->len++] = 0xb8 | (reg & 7);
	memcpy(p->bytes + p->len, &v, 8);
	p->len += 8;
}

static u64 random_value(void)
{
	static const u64 special[] = { 0,
				       1,
				       2,
				       0x7f,
				       0x80,
				       0xff,
				       0x7fff,
				       0x8000,
				       0xffff,
				       0x7fffffff,
				       0x80000000,
				       0xffffffff,
				       0x7fffffffffffffff,
				       0x8000000000000000,
				       ~0ull };

	switch (below(4)) {
	case 0: return special[below(ARRAY_LEN(special))];
	case 1: return rnd() & 0xff;
	default: return rnd();
	}
}

/* An address for an access of @size: anywhere in the data pages, often across a page end. */
static u64 data_address(unsigned size)
{
	u64 room = DATA_PAGES * PAGE_SIZE - 1024;

	if (below(4) == 0)
		return DATA_GVA + PAGE_SIZE * (1 + below(DATA_PAGES - 1)) - below(size + 1);
	if (below(2))
		return DATA_GVA + 512 + (below(room) & ~63ull);
	return DATA_GVA + 512 + below(room);
}

static bool uses_reg(const struct insn *i, unsigned r)
{
	return i->mem.base == r || i->mem.index == r;
}

static void random_bytes(u8 *b)
{
	unsigned n = 0;
	static const u8 simd_prefix[] = { 0, 0x66, 0xf3, 0xf2 };

	for (unsigned i = 0; i < 15; i++)
		b[i] = rnd();
	switch (below(8)) {
	case 0:
	case 1: /* one-byte map */
		if (below(6) == 0)
			b[n++] = 0x66;
		if (below(10) == 0)
			b[n++] = 0xf0;
		if (below(2))
			b[n++] = 0x40 | (rnd() & 15);
		break;
	case 2:
	case 3: /* 0F, 0F38, 0F3A */
		if (below(2) && simd_prefix[below(4)])
			b[n++] = simd_prefix[1 + below(3)];
		if (below(2))
			b[n++] = 0x40 | (rnd() & 15);
		b[n++] = 0x0f;
		if (below(4) == 0)
			b[n++] = below(2) ? 0x38 : 0x3a;
		break;
	case 4: /* VEX */
		if (below(2)) {
			b[n++] = 0xc5;
		} else {
			b[n++] = 0xc4;
			b[n++] = (rnd() & 0xe0) | (1 + below(3));
		}
		break;
	case 5: /* EVEX */
		b[n++] = 0x62;
		b[n++] = (rnd() & 0xf0) | (1 + below(3));
		b[n++] = rnd() | 4;
		if (below(2))
			b[n + 0] = (b[n] & 0xf8);
		break;
	case 6: /* x87 */ b[n++] = 0xd8 | below(8); break;
	default: break;
	}
}

/* Natively FS and GS are the host's own; an operand that is implicit (MASKMOV's) shows them only
 * here. */
static bool has_fs_gs(const struct insn *i)
{
	for (unsigned k = 0; k < i->opcode_offset; k++)
		if (i->bytes[k] == 0x64 || i->bytes[k] == 0x65)
			return true;
	return false;
}

static bool wanted(const struct insn *i)
{
	if (!i->allowed ||
	    (insn_needs_helper(i) && i->kind != KIND_GATHER && i->kind != KIND_MASKMOV))
		return false;
	switch (i->kind) {
	case KIND_GATHER:
	case KIND_MASKMOV:
	case KIND_COPY:
	case KIND_MOV:
	case KIND_LEA:
	case KIND_BT:
	case KIND_PUSH:
	case KIND_POP:
	case KIND_CMPXCHG8B:
	case KIND_NOP:
	case KIND_JCC:
	case KIND_LOOP:
	case KIND_LEAVE:
	case KIND_CLFLUSH: break;
	default: return false;
	}
	/* a faulting MASKMOVQ has already switched to MMX state on some processors and not on
	 * others */
	if (faults && i->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ)
		return false;
	if (i->mnemonic == ZYDIS_MNEMONIC_RDRAND || i->mnemonic == ZYDIS_MNEMONIC_RDSEED)
		return false;
	if ((i->mem.present || i->kind == KIND_MASKMOV) && has_fs_gs(i))
		return false;
	return !(i->mem.present && i->mem.access && i->addrsize != 8);
}

/* Loads vector register @reg from the small numbers at INDEXES: vmovdqu32 zmm or vmovdqu ymm. */
#define INDEXES (DATA_GVA + 2 * PAGE_SIZE + 0x400)
static void put_load_indexes(struct program *p, unsigned reg)
{
	u8 evex[] = { 0x62, 0x61 | (reg & 8 ? 0 : 0x80) | (reg & 16 ? 0 : 0x10),
		      0x7e, 0x48,
		      0x6f, 0x04 | (reg & 7) << 3,
		      0x25 };
	u8 vex[] = { 0xc5, reg & 8 ? 0x7e : 0xfe, 0x6f, 0x04 | (reg & 7) << 3, 0x25 };
	u32 address = INDEXES;

	p->starts[p->count++] = p->len;
	if (xcr0 & 0x80) {
		memcpy(p->bytes + p->len, evex, sizeof(evex));
		p->len += sizeof(evex);
	} else {
		memcpy(p->bytes + p->len, vex, sizeof(vex));
		p->len += sizeof(vex);
	}
	memcpy(p->bytes + p->len, &address, 4);
	p->len += 4;
}

/* Appends one instruction with whatever loads its address needs. Returns the general registers that
 * may have changed. */
static u16 put_random_insn(struct program *p)
{
	struct insn i;
	u8 b[15];
	u64 target;

	do {
		random_bytes(b);
	} while (insn_decode(&contract, INSN_64, b, 15, &i) <= 0 || !wanted(&i));

	if (i.kind == KIND_JCC || i.kind == KIND_LOOP) {
		/* over the next instruction: patched when that one is known */
		b[0] = i.kind == KIND_JCC ? 0x70 | (rnd() & 15) : 0xe0 | (rnd() & 3);
		p->starts[p->count++] = p->len;
		p->bytes[p->len++] = b[0];
		p->bytes[p->len++] = 10;
		put_mov_imm64(p, below(16), random_value());
		return ~0;
	}
	if (i.kind == KIND_PUSH || i.kind == KIND_POP)
		put_mov_imm64(p, RSP, data_address(8));
	if (i.kind == KIND_MASKMOV) {
		if (i.addrsize != 8)
			return ~0;
		put_mov_imm64(p, RDI, data_address(16));
	}
	if (i.kind == KIND_GATHER) {
		if (i.mem.base == REG_NONE || i.addrsize != 8)
			return ~0;
		put_load_indexes(p, i.mem.index);
		put_mov_imm64(p, i.mem.base, data_address(512) - i.mem.disp);
	} else if (i.kind == KIND_LEAVE)
		put_mov_imm64(p, RBP, data_address(8));
	if (i.mem.present && i.mem.access && i.kind != KIND_GATHER) {
		target = data_address(i.mem.size ? i.mem.size : 108);
		if (i.kind == KIND_BT && !i.imm_bytes && !uses_reg(&i, i.reg))
			put_mov_imm64(p, i.reg, (rnd() & 0x7fff) - 0x4000);
		else if (i.kind == KIND_BT && !i.imm_bytes)
			return ~0;
		if (i.kind == KIND_BT)
			target = DATA_GVA + 2 * PAGE_SIZE + below(64);
		if ((i.kind == KIND_PUSH || i.kind == KIND_POP) && uses_reg(&i, RSP))
			return ~0;
		if (i.mem.base == MEM_RIP) {
			s32 d = target - (CODE_GVA + p->len + i.len);

			memcpy(b + i.modrm_offset + 1, &d, 4);
		} else if (i.mem.base == REG_NONE) {
			u64 index = 0;
			s32 d;

			if (i.mem.index != REG_NONE) {
				index = rnd() & 0xffff;
				put_mov_imm64(p, i.mem.index, index);
			}
			d = target - index * i.mem.scale;
			if (!i.has_modrm) { /* moffs */
				memcpy(b + i.len - 8, &target, 8);
			} else {
				memcpy(b + i.modrm_offset + 2, &d, 4);
			}
		} else if (i.mem.index == i.mem.base) {
			u64 v = target - i.mem.disp;

			if (v % (i.mem.scale + 1))
				v -= v % (i.mem.scale + 1);
			put_mov_imm64(p, i.mem.base, v / (i.mem.scale + 1));
		} else {
			u64 index = 0;

			if (i.mem.index != REG_NONE) {
				index = (s64)(s32)rnd();
				put_mov_imm64(p, i.mem.index, index);
			}
			put_mov_imm64(p, i.mem.base, target - i.mem.disp - index * i.mem.scale);
		}
	}
	p->masked |= i.masked || i.kind == KIND_MASKMOV || i.kind == KIND_GATHER;
	p->starts[p->count++] = p->len;
	memcpy(p->bytes + p->len, b, i.len);
	p->len += i.len;
	/* the loads of addresses are moves to whatever the instruction names */
	return i.writes | (i.mem.present || i.kind == KIND_PUSH || i.kind == KIND_POP ||
					   i.kind == KIND_LEAVE || i.kind == KIND_MASKMOV
				   ? ~0
				   : 0);
}

/* A random instruction that accesses [@base + a small number], the registers of @keep left alone.
 */
static bool put_off_base(struct program *p, unsigned base, u16 keep)
{
	struct insn i;
	u8 b[15];

	for (unsigned tries = 0; tries < 4000; tries++) {
		random_bytes(b);
		if (insn_decode(&contract, INSN_64, b, 15, &i) <= 0 || !wanted(&i))
			continue;
		if (i.mem.base != base || i.mem.index != REG_NONE || !i.has_modrm ||
		    (i.modrm >> 6 != 1 && i.modrm >> 6 != 2) || !i.mem.access || !i.mem.size ||
		    i.encoding == ENCODING_EVEX || i.masked || i.writes & keep ||
		    i.kind == KIND_PUSH || i.kind == KIND_POP || i.kind == KIND_GATHER ||
		    (i.kind == KIND_BT && !i.imm_bytes))
			continue;
		s32 d = (s32)below(160) - 80;
		u8 *disp = b + i.modrm_offset + 1 + ((i.modrm & 7) == 4);

		if (below(3) == 0)
			d &= ~15;
		memcpy(disp, &d, i.modrm >> 6 == 1 ? 1 : 4);
		p->starts[p->count++] = p->len;
		memcpy(p->bytes + p->len, b, i.len);
		p->len += i.len;
		return true;
	}
	return false;
}

/* Bytes of one instruction. */
static void put(struct program *p, const u8 *b, unsigned n)
{
	p->starts[p->count++] = p->len;
	memcpy(p->bytes + p->len, b, n);
	p->len += n;
}

/* What moves a base register by a constant, or makes an address of it. */
static void put_step(struct program *p, unsigned base)
{
	u8 rex = 0x48 | base >> 3, low = base & 7, d = (rnd() & 0x1f) - 16;
	u8 add[] = { rex, 0x83, 0xc0 | low, d };
	u8 sub[] = { rex, 0x83, 0xe8 | low, d };
	u8 inc[] = { rex, 0xff, (below(2) ? 0xc0 : 0xc8) | low };
	u8 lea[] = { rex | (base >> 3) << 2, 0x8d, 0x44 | low << 3, 0x20 | low, d };
	u8 other[] = { 0x48 | (rnd() & 7), 0x8d, 0x04 | below(8) << 3, rnd() };

	switch (below(5)) {
	case 0: put(p, add, sizeof(add)); break;
	case 1: put(p, sub, sizeof(sub)); break;
	case 2: put(p, inc, sizeof(inc)); break;
	case 3: put(p, lea, sizeof(lea)); break;
	default: /* lea of anything into anything but the base */
		if (((other[2] >> 3 & 7) | (other[0] & 4) << 1) == base)
			return;
		if ((other[3] & 7) == 5) /* would need a displacement */
			other[3] ^= 1;
		put(p, other, sizeof(other));
	}
}

/* Accesses that share a base, with what changes it between them: what groups are made of. */
static void put_group(struct program *p)
{
	unsigned base = below(2) ? RSP : below(16), n = 2 + below(6);

	put_mov_imm64(p, base, data_address(1 + below(96)));
	while (n-- && p->len < 700) {
		u8 stack[] = { 0x40 | below(2), (below(2) ? 0x50 : 0x58) | below(8) };

		if (base == RSP && below(2) && ((stack[1] & 7) != RSP || stack[0] & 1))
			put(p, stack, sizeof(stack));
		else if (below(4) == 0)
			put_step(p, base);
		else
			put_off_base(p, base, BIT(base));
		/* where a base that is written points to, there may be something in one place only
		 */
		if (below(8) == 0 && put_random_insn(p) >> base & 1)
			return;
	}
}

/* MOVS or STOS, mostly with a small count and often onto itself. */
static void put_string(struct program *p)
{
	u8 prefix = below(3) ? 0xf3 : below(2) ? 0xf2 : 0x3e;
	u8 op = (below(2) ? 0xa4 : 0xaa) | below(2);
	u8 b[] = { prefix, below(3) ? 0x40 | (below(16) & 9) : 0x40, op };
	u8 narrow[] = { 0x66, prefix, op };
	unsigned count = below(4) ? below(40) : below(520);
	u64 to = data_address(8 * count + 8);

	put_mov_imm64(p, RDI, to);
	put_mov_imm64(p, RSI, below(2) ? data_address(8 * count + 8) : to + below(16) - 8);
	put_mov_imm64(p, RCX, count);
	if (below(4))
		put(p, b, sizeof(b));
	else
		put(p, narrow, sizeof(narrow));
}

/* Adds @d to a register in one of the ways that leave its value a known distance from before. */
static void put_add(struct program *p, unsigned reg, s8 d)
{
	u8 rex = 0x48 | reg >> 3, low = reg & 7;
	u8 add[] = { rex, 0x83, 0xc0 | low, d };
	u8 sub[] = { rex, 0x83, 0xe8 | low, -d };
	u8 lea[] = { rex | (reg >> 3) << 2, 0x8d, 0x44 | low << 3, 0x20 | low, d };

	switch (below(3)) {
	case 0: put(p, add, sizeof(add)); break;
	case 1: put(p, sub, sizeof(sub)); break;
	default: put(p, lea, sizeof(lea));
	}
}

/* A load or store of 1 to 8 bytes at [@base + @index * scale]. */
static void put_indexed(struct program *p, unsigned base, unsigned index, unsigned scale, u16 keep)
{
	unsigned reg = below(16);
	u8 b[] = { 0x40 | (below(2) << 3) | (reg & 8) >> 1 | (index & 8) >> 2 | (base & 8) >> 3,
		   0x88 | below(4), 0x44 | (reg & 7) << 3,
		   scale << 6 | (index & 7) << 3 | (base & 7), below(32) };

	if (keep >> reg & 1)
		b[1] &= ~2;
	put(p, b, sizeof(b));
}

/* A loop over arrays: its addresses move by constants, or do not, or one of them is lost. */
static void put_loop(struct program *p)
{
	unsigned counter = below(16), base, other, index, turns = 1 + below(below(4) ? 20 : 150);
	s8 step[3] = { (rnd() & 0x3f) - 32, below(3) ? 8 << below(3) : 0, 1 - below(3) };
	unsigned scale = below(4), body;
	u16 keep;

	do {
		base = below(16);
		other = below(16);
		index = below(16);
	} while (base == counter || other == counter || base == other || index == base ||
		 index == other || index == counter || index == RSP);
	keep = BIT(counter) | BIT(base) | BIT(other) | BIT(index);
	put_mov_imm64(p, base, data_address(PAGE_SIZE) + (step[0] < 0 ? 2 * PAGE_SIZE : 0));
	put_mov_imm64(p, other, data_address(2 * PAGE_SIZE));
	put_mov_imm64(p, index, 160);
	put_mov_imm64(p, counter, turns);
	body = p->len;
	for (unsigned n = 1 + below(5); n--;) {
		unsigned at = below(3) ? base : other;

		switch (below(6)) {
		case 0: put_indexed(p, at, index, scale, keep); break;
		case 1: put_add(p, at, step[at == other]); break;
		case 2: put_add(p, index, step[2]); break;
		default: put_off_base(p, at, keep);
		}
		if (below(24) == 0) { /* may lose any of them, but must not lose the count */
			unsigned len = p->len, count = p->count;

			if (put_random_insn(p) >> counter & 1) {
				p->len = len;
				p->count = count;
			}
		}
	}
	put_add(p, base, step[0]);
	if (below(3))
		put_add(p, other, step[1]);
	put(p, (u8[]){ 0x48 | counter >> 3, 0xff, 0xc8 | (counter & 7) }, 3); /* dec */
	put(p, (u8[]){ 0x0f, 0x85 }, 2);
	*(s32 *)(p->bytes + p->len) = (s32)(body - (p->len + 4)); /* jnz */
	p->len += 4;
}

/* ---- whole programs --------------------------------------------------------------------------
 */

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
		put(p, (u8[]){ 0xe8, 0, 0, 0, 0 }, 5);
		refer(w, p->len - 4, function, false);
		return;
	}
	put_mov_imm64(p, reg, 0);
	refer(w, p->len - 8, function, true);
	put(p, (u8[]){ 0x40 | reg >> 3, 0xff, 0xd0 | (reg & 7) }, 3);
}

/* MOV, ADD or SUB between a register and the frame, either way. */
static void put_frame_access(struct program *p)
{
	static const u8 opcodes[] = { 0x89, 0x8b, 0x01, 0x03, 0x29, 0x2b };
	unsigned reg = not_rsp();

	put(p,
	    (u8[]){ (below(3) ? 0x48 : 0x40) | (reg & 8) >> 1, opcodes[below(6)],
		    0x44 | (reg & 7) << 3, 0x24, 8 + below(FRAME - 16) },
	    5);
}

/* Anything that leaves RSP alone. */
static void put_plain_insn(struct program *p)
{
	unsigned len = p->len, count = p->count;
	bool masked = p->masked;

	if (put_random_insn(p) >> RSP & 1) {
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
		put(p, (u8[]){ 0x40 | reg[i] >> 3, 0x50 | (reg[i] & 7) }, 2);
	}
	put(p, (u8[]){ 0x48, 0x83, 0xec, FRAME }, 4);
	put_pieces(p, w, self + 1);
	if (below(2)) {
		put(p, (u8[]){ 0x48, 0xc7, 0x04, 0x24, 1 + below(5), 0, 0, 0 }, 8);
		body = p->len;
		put_pieces(p, w, self + 1);
		put(p, (u8[]){ 0x48, 0xff, 0x0c, 0x24 }, 4); /* dec qword [rsp] */
		put(p, (u8[]){ 0x0f, 0x85 }, 2);
		*(s32 *)(p->bytes + p->len) = (s32)(body - (p->len + 4));
		p->len += 4;
	}
	put(p, (u8[]){ 0x48, 0x83, 0xc4, FRAME }, 4);
	while (pushes--)
		put(p, (u8[]){ 0x40 | reg[pushes] >> 3, 0x58 | (reg[pushes] & 7) }, 2);
	if (self + 1 < w->functions && below(5) == 0 && w->count < REFERENCES_MAX) {
		put(p, (u8[]){ 0xe9, 0, 0, 0, 0 }, 5);
		refer(w, p->len - 4, self + 1, false);
	} else {
		put(p, (u8[]){ 0xc3 }, 1);
	}
}

static void put_whole(struct program *p)
{
	struct whole w = { .functions = 1 + below(FUNCTIONS_MAX) };

	p->whole = true;
	put_mov_imm64(p, RSP, WHOLE_STACK);
	for (unsigned n = 1 + below(3); n--;) {
		put_call(p, &w, 0);
		put_plain_insn(p);
	}
	put(p, (u8[]){ 0xcc }, 1);
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

static void make_program(struct program *p, unsigned insns)
{
	p->len = p->count = 0;
	p->masked = p->whole = false;
	if (insns > 1 && below(combinations ? 2 : 12) == 0) {
		put_whole(p);
		p->bytes[p->len] = 0xcc;
		return;
	}
	if (below(16) == 0)
		put_string(p);
	if (insns > 1 && below(12) == 0)
		put_loop(p);
	else if (insns > 1 && below(3) == 0)
		put_group(p);
	else
		for (unsigned k = 0; k < insns; k++)
			put_random_insn(p);
	p->bytes[p->len] = 0xcc;
}

/* Other immediates, as code gets that is patched; nothing that is an address or leads elsewhere.
 * False: the program has none. */
static bool vary(struct program *p)
{
	bool varied = false;
	struct insn i, other;
	u8 b[15];

	if (p->whole)
		return false;
	for (unsigned k = 0; k < p->count; k++) {
		u8 *at = p->bytes + p->starts[k];

		if (insn_decode(&contract, INSN_64, at, 15, &i) <= 0 || !i.imm_bytes ||
		    i.imm_bytes == 8 || i.kind == KIND_JCC || i.kind == KIND_LOOP)
			continue;
		memcpy(b, at, sizeof(b));
		b[i.imm_offset] = below(3) ? b[i.imm_offset] ^ (1 + below(7)) : 0;
		if (insn_decode(&contract, INSN_64, b, 15, &other) != i.len || !wanted(&other))
			continue;
		memcpy(at, b, i.len);
		varied = true;
	}
	return varied;
}

/* ---- cases
 * --------------------------------------------------------------------------------------- */

struct outcome {
	u64 gpr[16], rip, rflags, cr2;
	int vector;
	u8 xsave[X86_XSAVE_BYTES] __attribute__((aligned(64)));
	u8 data[DATA_PAGES * PAGE_SIZE];
};

static u8 *native_data, *native_code;

/* Where the AVX-512 components are; CPUID traps on a virtual host, so it is asked once. */
static struct {
	u32 bytes, off;
} area[8];

static void find_components(void)
{
	for (int c = 5; c < 8; c++) {
		u32 ecx = c, edx;

		__asm__ volatile("cpuid"
				 : "=a"(area[c].bytes), "=b"(area[c].off), "+c"(ecx), "=d"(edx)
				 : "0"(13));
	}
}

static void random_xsave(u8 *x)
{
	memset(x, 0, X86_XSAVE_BYTES);
	*(u16 *)x = 0x37f;
	*(u32 *)(x + 24) = 0x1f80;
	*(u32 *)(x + 28) = 0xffff;
	for (unsigned i = 160; i < 416; i += 4)
		*(u32 *)(x + i) = below(4) ? rnd() : 0x3f800000;
	for (unsigned i = 576; i < 832; i++)
		x[i] = rnd();
	for (int c = 5; c < 8; c++)
		for (unsigned i = 0; xcr0 >> c & 1 && i < area[c].bytes; i += 8)
			*(u64 *)(x + area[c].off + i) = below(4) ? rnd() : below(2) ? ~0ull : 0;
	*(u64 *)(x + 512) = xcr0;
	if (below(8) == 0)
		*(u32 *)(x + 24) = 0x1f80 & ~(rnd() & 0x1f80);
}

/* Bytes of the image that are the same whichever way the code ran. */
static void clean_xsave(u8 *x)
{
	u64 bv = *(u64 *)(x + 512);

	memset(x + 8, 0, 16); /* FIP, FDP */
	memset(x + 6, 0, 2);  /* FOP */
	memset(x + 28, 0, 4);
	memset(x + 464, 0, 48);
	for (int i = 0; i < 8; i++)
		memset(x + 32 + 16 * i + 10, 0, 6);
	if (!(bv & 1)) {
		memset(x, 0, 24);
		memset(x + 32, 0, 128);
		*(u16 *)x = 0x37f;
	}
	if (!(bv & 2))
		memset(x + 160, 0, 256);
	if (!(bv & 4))
		memset(x + 576, 0, 256);
	for (int c = 5; c < 8; c++)
		if (!(bv >> c & 1) && area[c].off + area[c].bytes <= X86_XSAVE_BYTES)
			memset(x + area[c].off, 0, area[c].bytes);
	memset(x + 512, 0, 64);
}

static void run_native(const struct native_state *start, const struct program *p, struct outcome *o)
{
	static struct native_state s;

	s = *start;
	memcpy(native_code, p->bytes, p->len + 1);
	native_run(&s);
	memcpy(o->gpr, s.gpr, sizeof(o->gpr));
	o->rip = s.rip;
	o->rflags = s.rflags & FLAGS_ARITH;
	o->vector = s.vector;
	o->cr2 = s.vector == VEC_PF ? s.cr2 : 0;
	memcpy(o->xsave, s.xsave, sizeof(o->xsave));
	clean_xsave(o->xsave);
}

static void put_code(struct machine *m, u8 *at, const u8 *code, unsigned bytes)
{
	memcpy(at, code, bytes);
	cpu_vm_memory_written(m->vm, machine_gpa(m, at), bytes);
}

static void run_guest(struct machine *m, const struct native_state *start, const struct program *p,
		      struct outcome *o)
{
	static struct x86_state s;

	s = m->state;
	memcpy(s.gpr, start->gpr, sizeof(s.gpr));
	s.rip = CODE_GVA;
	s.rflags = 2 | (start->rflags & FLAGS_ARITH);
	s.xcr0 = xcr0;
	memcpy(s.xsave, start->xsave, sizeof(s.xsave));
	put_code(m, m->code, p->bytes, MIN(p->len + 1, PAGE_SIZE));
	if (p->len >= PAGE_SIZE)
		put_code(m, m->code_behind, p->bytes + PAGE_SIZE, p->len + 1 - PAGE_SIZE);
	o->vector = machine_run(m, &s);
	memcpy(o->gpr, s.gpr, sizeof(o->gpr));
	o->rip = s.rip;
	o->rflags = s.rflags & FLAGS_ARITH;
	o->cr2 = o->vector == VEC_PF ? s.cr2 : 0;
	memcpy(o->xsave, s.xsave, sizeof(o->xsave));
	clean_xsave(o->xsave);
	for (int i = 0; i < DATA_PAGES; i++)
		memcpy(o->data + i * PAGE_SIZE, m->data[i], PAGE_SIZE);
}

static bool differs(const struct outcome *a, const struct outcome *b, bool flags, char *why)
{
	static const char *const names[] = {
		"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"
	};

	if (a->vector != b->vector)
		return sprintf(why, "vector %d, should be %d (rip %#llx, should be %#llx)",
			       b->vector, a->vector, (unsigned long long)b->rip,
			       (unsigned long long)a->rip);
	if (a->rip != b->rip)
		return sprintf(why, "rip %#llx, should be %#llx", (unsigned long long)b->rip,
			       (unsigned long long)a->rip);
	for (int i = 0; i < 16; i++)
		if (a->gpr[i] != b->gpr[i])
			return sprintf(why, "%s %#llx, should be %#llx", names[i],
				       (unsigned long long)b->gpr[i],
				       (unsigned long long)a->gpr[i]);
	if (flags && a->rflags != b->rflags)
		return sprintf(why, "rflags %#llx, should be %#llx", (unsigned long long)b->rflags,
			       (unsigned long long)a->rflags);
	if (a->cr2 != b->cr2)
		return sprintf(why, "cr2 %#llx, should be %#llx", (unsigned long long)b->cr2,
			       (unsigned long long)a->cr2);
	for (unsigned i = 0; i < sizeof(a->data); i++)
		if (a->data[i] != b->data[i])
			return sprintf(why, "data+%#x %#x, should be %#x", i, b->data[i],
				       a->data[i]);
	for (unsigned i = 0; i < sizeof(a->xsave); i++)
		if (a->xsave[i] != b->xsave[i])
			return sprintf(why, "xsave+%u %#x, should be %#x", i, b->xsave[i],
				       a->xsave[i]);
	return false;
}

static void print_program(const struct program *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		unsigned end = i + 1 < p->count ? p->starts[i + 1] : p->len;
		struct insn insn;

		printf("  %#llx:", (unsigned long long)CODE_GVA + p->starts[i]);
		for (unsigned k = p->starts[i]; k < end; k++)
			printf(" %02x", p->bytes[k]);
		if (insn_decode(&contract, INSN_64, p->bytes + p->starts[i], 15, &insn) > 0)
			printf("   %s", ZydisMnemonicGetString(insn.mnemonic));
		printf("\n");
	}
}

enum fault_mode { FAULT_NONE, FAULT_ABSENT, FAULT_READONLY };

struct test_case {
	u64 seed;
	struct program p;
	struct native_state start;
	u8 data[DATA_PAGES * PAGE_SIZE];
	enum fault_mode mode;
	unsigned page; /* that @mode is about */
};

static void make_case(struct test_case *c, u64 seed, unsigned length)
{
	rng_state = c->seed = seed;
	make_program(&c->p, 1 + below(length));
	for (int i = 0; i < 16; i++)
		c->start.gpr[i] = random_value();
	/* the host's IRET wants it canonical */
	c->start.gpr[RSP] = (s64)(c->start.gpr[RSP] << 17) >> 17;
	c->start.rip = CODE_GVA;
	c->start.rflags = 2 | (rnd() & FLAGS_ARITH);
	random_xsave(c->start.xsave);
	for (unsigned i = 0; i < sizeof(c->data); i += 8)
		*(u64 *)(c->data + i) = random_value();
	for (unsigned i = 0; i < 64; i += 4) /* small numbers, as dwords and as qwords */
		*(u32 *)(c->data + (INDEXES - DATA_GVA) + i) = i & 4 ? 0 : below(40);
	c->mode = faults ? 1 + below(2) : FAULT_NONE;
	c->page = faults ? below(DATA_PAGES) : 0;
}

static void native_outcome(const struct test_case *c, struct outcome *o)
{
	u8 *page = native_data + c->page * PAGE_SIZE;

	memcpy(native_data, c->data, sizeof(c->data));
	if (c->mode)
		mprotect(page, PAGE_SIZE, c->mode == FAULT_ABSENT ? PROT_NONE : PROT_READ);
	run_native(&c->start, &c->p, o);
	if (c->mode)
		mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE);
	memcpy(o->data, native_data, sizeof(o->data));
}

static void guest_outcome(const struct test_case *c, struct machine *m, struct outcome *o)
{
	u64 pte = *m->data_pte[c->page];

	for (int i = 0; i < DATA_PAGES; i++)
		memcpy(m->data[i], c->data + i * PAGE_SIZE, PAGE_SIZE);
	if (c->mode)
		*m->data_pte[c->page] = c->mode == FAULT_ABSENT ? pte & ~1ull : pte & ~2ull;
	run_guest(m, &c->start, &c->p, o);
	*m->data_pte[c->page] = pte;
}

static bool agree(const struct test_case *c, const struct outcome *want, struct outcome *got,
		  bool flags, char *why)
{
	if (c->p.masked && !((want->cr2 ^ got->cr2) & PAGE_MASK))
		got->cr2 = want->cr2;
	return !differs(want, got, flags || want->vector == -1, why);
}

/* Hosts that are virtual themselves have been seen to raise a stray #UD in native code once in some
 * hundred thousand programs. An oracle that does not repeat itself is asked again, and counted. */
static unsigned unstable, unstable_max;

static bool run_program(const struct test_case *c, struct machine *machines[2], const char *what,
			bool verbose)
{
	static struct outcome want, again, got;
	char why[200], change[200];

	if (verbose) {
		printf("# %s\n", what);
		print_program(&c->p);
	}
	native_outcome(c, &want);
	for (int k = 0; k < 2; k++) {
		guest_outcome(c, machines[k], &got);
		if (agree(c, &want, &got, k == 1, why))
			continue;
		native_outcome(c, &again);
		if (!agree(c, &want, &again, true, change) && unstable < unstable_max) {
			printf("# case %#llx: the host does not repeat itself: %s\n",
			       (unsigned long long)c->seed, change);
			unstable++;
			want = again;
			k = -1; /* from the start, with the new answer */
			continue;
		}
		printf("# case %#llx, %s, %s: %s\n", (unsigned long long)c->seed, what,
		       k ? "stepped" : "translated", why);
		if (!verbose)
			print_program(&c->p);
		return false;
	}
	return true;
}

/* Some programs run three times: as they are, with other immediates, and as they were. */
static bool run_case(struct machine *fast, struct machine *step, u64 seed, unsigned length,
		     bool verbose)
{
	static struct test_case c;
	struct machine *machines[] = { fast, step };
	struct program first;

	make_case(&c, seed, length);
	if (!run_program(&c, machines, "first", verbose))
		return false;
	first = c.p;
	if (c.p.whole &&
	    !run_program(&c, machines, "again", verbose)) /* with what is known by now */
		return false;
	if (below(4) || !vary(&c.p))
		return true;
	if (!run_program(&c, machines, "with other immediates", verbose))
		return false;
	c.p = first;
	return run_program(&c, machines, "again", verbose);
}

/* A descriptor of the translations of all the programs. */
static int save_cases(u64 cases, u64 seed, unsigned length)
{
	static struct machine recorder;
	static struct test_case c;
	static struct outcome got;
	int fd;

	machine_init_saved(&recorder, true, 0);
	for (u64 i = 0; i < cases; i++) {
		make_case(&c, seed * 0x100000000ull + i, length);
		guest_outcome(&c, &recorder, &got);
	}
	fd = machine_save(&recorder);
	machine_free(&recorder);
	return fd;
}

static void find_taken(void *taken, const char *group, const char *name, u64 value)
{
	if (!strcmp(name, "blocks-from-cache"))
		*(u64 *)taken = value;
}

static void find_woken(void *woken, const char *group, const char *name, u64 value)
{
	if (!strcmp(name, "blocks-woken"))
		*(u64 *)woken = value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "cases", 1, 0, 'n' },  { "seed", 1, 0, 's' },   { "only", 1, 0, 'o' },
		{ "length", 1, 0, 'l' }, { "faults", 0, 0, 'f' }, { "combinations", 0, 0, 'c' },
		{ "plain", 1, 0, 'p' },  { "saved", 0, 0, 'v' },  { 0 }
	};
	static struct machine fast, step;
	u64 cases = 20000, seed = 1, only = 0, failed = 0, woken = 0, taken = 0;
	bool saved = false;
	unsigned length = MAX_INSNS, plain = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n': cases = strtoull(optarg, NULL, 0); break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'o': only = strtoull(optarg, NULL, 0); break;
		case 'l': length = strtoul(optarg, NULL, 0); break;
		case 'f': faults = true; break;
		case 'c': combinations = true; break;
		case 'p': plain = strtoul(optarg, NULL, 0); break;
		case 'v': saved = true; break;
		default: return 2;
		}
	}
	machine_init_plain(&fast, plain);
	machine_init(&step, true);
	xcr0 = fast.vm->xcr0_mask;
	find_components();
	insn_contract_init(&contract);
	cpuid_apply_contract(fast.vm, &contract);
	if (saved) {
		machine_free(&fast);
		machine_init_saved(&fast, false, save_cases(cases, seed, length));
	}
	native_init(xcr0);
	native_data = mmap((void *)DATA_GVA, DATA_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	native_code =
		mmap((void *)CODE_GVA, CODE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (only)
		return !run_case(&fast, &step, only, length, true);
	unstable_max = 3 + cases / 200000;
	for (u64 i = 0; i < cases && failed < 10; i++) {
		if (combinations && i * (CPU_PLAIN_ALL + 1) / cases != plain) {
			machine_free(&fast);
			machine_init_plain(&fast, ++plain);
			native_go_first();
		}
		failed += !run_case(&fast, &step, seed * 0x100000000ull + i, length, false);
		if (failed && combinations)
			printf("# without %#x of enum cpu_plain\n", plain);
	}
	cpu_counters(fast.cpu, find_woken, &woken);
	printf("# %llu blocks woken\n", (unsigned long long)woken);
	cpu_counters(fast.cpu, find_taken, &taken);
	printf("# %llu blocks from those of another machine\n", (unsigned long long)taken);
	failed += cases >= 10000 && !saved && !woken && !combinations;
	failed += saved && taken < cases / 2;
	printf("1..1\n%s 1 - %llu random programs, seed %llu%s\n", failed ? "not ok" : "ok",
	       (unsigned long long)cases, (unsigned long long)seed,
	       faults  ? ", with page faults"
	       : saved ? ", from saved blocks"
		       : "");
	machine_free(&fast);
	machine_free(&step);
	return failed != 0;
}
