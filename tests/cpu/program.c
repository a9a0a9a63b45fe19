/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random programs: see program.h. Every memory operand's registers are loaded right before it, so
 * that the address is known: most land inside the four data pages, many across a page boundary.
 */
#include "program.h"

#include "cpu/x86/lower.h"

#include <stdio.h>
#include <string.h>
#include <Zydis/Zydis.h>

struct generator generator;

u64 rnd(void)
{
	u64 z = generator.rng_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}
u64 below(u64 n)
{
	return rnd() % n;
}

void program_put_mov_imm64(struct program *p, unsigned reg, u64 v)
{
	p->starts[p->count++] = p->len;
	p->bytes[p->len++] = 0x48 | (reg >= 8);
	p->bytes[p->len++] = 0xb8 | (reg & 7);
	memcpy(p->bytes + p->len, &v, 8);
	p->len += 8;
}

u64 random_value(void)
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

/* Processors differ in when it faults, or in what it has done by then; docs/cpu.md tells what Lodge
 * does. */
static bool faults_otherwise(const struct insn *i)
{
	if (i->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ) /* has switched to MMX state, or not */
		return true;
	if (!__builtin_cpu_is("intel") || !i->mem.access)
		return false;
	return i->fpu == FPU_X87 || (i->kind == KIND_GATHER && i->encoding != ENCODING_EVEX) ||
	       (i->mnemonic == ZYDIS_MNEMONIC_MOVSXD && i->opsize == 2) ||
	       i->mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH;
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
	if (generator.faults && faults_otherwise(i))
		return false;
	if (i->mnemonic == ZYDIS_MNEMONIC_RDRAND || i->mnemonic == ZYDIS_MNEMONIC_RDSEED)
		return false;
	if ((i->mem.present || i->kind == KIND_MASKMOV) && has_fs_gs(i))
		return false;
	return !(i->mem.present && i->mem.access && i->addrsize != 8);
}

/* Loads vector register @reg from the small numbers at INDEXES: vmovdqu32 zmm or vmovdqu ymm. */
static void put_load_indexes(struct program *p, unsigned reg)
{
	u8 evex[] = { 0x62, 0x61 | (reg & 8 ? 0 : 0x80) | (reg & 16 ? 0 : 0x10),
		      0x7e, 0x48,
		      0x6f, 0x04 | (reg & 7) << 3,
		      0x25 };
	u8 vex[] = { 0xc5, reg & 8 ? 0x7e : 0xfe, 0x6f, 0x04 | (reg & 7) << 3, 0x25 };
	u32 address = INDEXES;

	p->starts[p->count++] = p->len;
	if (generator.xcr0 & 0x80) {
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
u16 program_put_random(struct program *p)
{
	struct insn i;
	u8 b[15];
	u64 target;

	do {
		random_bytes(b);
	} while (insn_decode(&generator.contract, INSN_64, b, 15, &i) <= 0 || !wanted(&i));

	if (i.kind == KIND_JCC || i.kind == KIND_LOOP) {
		/* over the next instruction: patched when that one is known */
		b[0] = i.kind == KIND_JCC ? 0x70 | (rnd() & 15) : 0xe0 | (rnd() & 3);
		p->starts[p->count++] = p->len;
		p->bytes[p->len++] = b[0];
		p->bytes[p->len++] = 10;
		program_put_mov_imm64(p, below(16), random_value());
		return ~0;
	}
	if (i.kind == KIND_PUSH || i.kind == KIND_POP)
		program_put_mov_imm64(p, RSP, data_address(8));
	if (i.kind == KIND_MASKMOV) {
		if (i.addrsize != 8)
			return ~0;
		program_put_mov_imm64(p, RDI, data_address(16));
	}
	if (i.kind == KIND_GATHER) {
		if (i.mem.base == REG_NONE || i.addrsize != 8)
			return ~0;
		put_load_indexes(p, i.mem.index);
		program_put_mov_imm64(p, i.mem.base, data_address(512) - i.mem.disp);
	} else if (i.kind == KIND_LEAVE)
		program_put_mov_imm64(p, RBP, data_address(8));
	if (i.mem.present && i.mem.access && i.kind != KIND_GATHER) {
		target = data_address(i.mem.size ? i.mem.size : 108);
		if (i.kind == KIND_BT && !i.imm_bytes && !uses_reg(&i, i.reg))
			program_put_mov_imm64(p, i.reg, (rnd() & 0x7fff) - 0x4000);
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
				program_put_mov_imm64(p, i.mem.index, index);
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
			program_put_mov_imm64(p, i.mem.base, v / (i.mem.scale + 1));
		} else {
			u64 index = 0;

			if (i.mem.index != REG_NONE) {
				index = (s64)(s32)rnd();
				program_put_mov_imm64(p, i.mem.index, index);
			}
			program_put_mov_imm64(p, i.mem.base,
					      target - i.mem.disp - index * i.mem.scale);
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
		if (insn_decode(&generator.contract, INSN_64, b, 15, &i) <= 0 || !wanted(&i))
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
void program_put(struct program *p, const u8 *b, unsigned n)
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
	case 0: program_put(p, add, sizeof(add)); break;
	case 1: program_put(p, sub, sizeof(sub)); break;
	case 2: program_put(p, inc, sizeof(inc)); break;
	case 3: program_put(p, lea, sizeof(lea)); break;
	default: /* lea of anything into anything but the base */
		if (((other[2] >> 3 & 7) | (other[0] & 4) << 1) == base)
			return;
		if ((other[3] & 7) == 5) /* would need a displacement */
			other[3] ^= 1;
		program_put(p, other, sizeof(other));
	}
}

/* Accesses that share a base, with what changes it between them: what groups are made of. */
static void put_group(struct program *p)
{
	unsigned base = below(2) ? RSP : below(16), n = 2 + below(6);

	program_put_mov_imm64(p, base, data_address(1 + below(96)));
	while (n-- && p->len < 700) {
		u8 stack[] = { 0x40 | below(2), (below(2) ? 0x50 : 0x58) | below(8) };

		if (base == RSP && below(2) && ((stack[1] & 7) != RSP || stack[0] & 1))
			program_put(p, stack, sizeof(stack));
		else if (below(4) == 0)
			put_step(p, base);
		else
			put_off_base(p, base, BIT(base));
		/* where a base that is written points to, there may be something in one place only
		 */
		if (below(8) == 0 && program_put_random(p) >> base & 1)
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

	program_put_mov_imm64(p, RDI, to);
	program_put_mov_imm64(p, RSI, below(2) ? data_address(8 * count + 8) : to + below(16) - 8);
	program_put_mov_imm64(p, RCX, count);
	if (below(4))
		program_put(p, b, sizeof(b));
	else
		program_put(p, narrow, sizeof(narrow));
}

/* Adds @d to a register in one of the ways that leave its value a known distance from before. */
static void put_add(struct program *p, unsigned reg, s8 d)
{
	u8 rex = 0x48 | reg >> 3, low = reg & 7;
	u8 add[] = { rex, 0x83, 0xc0 | low, d };
	u8 sub[] = { rex, 0x83, 0xe8 | low, -d };
	u8 lea[] = { rex | (reg >> 3) << 2, 0x8d, 0x44 | low << 3, 0x20 | low, d };

	switch (below(3)) {
	case 0: program_put(p, add, sizeof(add)); break;
	case 1: program_put(p, sub, sizeof(sub)); break;
	default: program_put(p, lea, sizeof(lea));
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
	program_put(p, b, sizeof(b));
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
	program_put_mov_imm64(p, base, data_address(PAGE_SIZE) + (step[0] < 0 ? 2 * PAGE_SIZE : 0));
	program_put_mov_imm64(p, other, data_address(2 * PAGE_SIZE));
	program_put_mov_imm64(p, index, 160);
	program_put_mov_imm64(p, counter, turns);
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

			if (program_put_random(p) >> counter & 1) {
				p->len = len;
				p->count = count;
			}
		}
	}
	put_add(p, base, step[0]);
	if (below(3))
		put_add(p, other, step[1]);
	program_put(p, (u8[]){ 0x48 | counter >> 3, 0xff, 0xc8 | (counter & 7) }, 3); /* dec */
	program_put(p, (u8[]){ 0x0f, 0x85 }, 2);
	*(s32 *)(p->bytes + p->len) = (s32)(body - (p->len + 4)); /* jnz */
	p->len += 4;
}

void program_make(struct program *p, unsigned insns)
{
	p->len = p->count = 0;
	p->masked = p->whole = false;
	if (insns > 1 && below(generator.combinations ? 2 : 12) == 0) {
		program_put_whole(p);
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
			program_put_random(p);
	p->bytes[p->len] = 0xcc;
}

/* Other immediates, as code gets that is patched; nothing that is an address or leads elsewhere.
 * False: the program has none. */
bool program_vary(struct program *p)
{
	bool varied = false;
	struct insn i, other;
	u8 b[15];

	if (p->whole)
		return false;
	for (unsigned k = 0; k < p->count; k++) {
		u8 *at = p->bytes + p->starts[k];

		if (insn_decode(&generator.contract, INSN_64, at, 15, &i) <= 0 || !i.imm_bytes ||
		    i.imm_bytes == 8 || i.kind == KIND_JCC || i.kind == KIND_LOOP)
			continue;
		memcpy(b, at, sizeof(b));
		b[i.imm_offset] = below(3) ? b[i.imm_offset] ^ (1 + below(7)) : 0;
		if (insn_decode(&generator.contract, INSN_64, b, 15, &other) != i.len ||
		    !wanted(&other))
			continue;
		memcpy(at, b, i.len);
		varied = true;
	}
	return varied;
}

void program_print(const struct program *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		unsigned end = i + 1 < p->count ? p->starts[i + 1] : p->len;
		struct insn insn;

		printf("  %#llx:", (unsigned long long)CODE_GVA + p->starts[i]);
		for (unsigned k = p->starts[i]; k < end; k++)
			printf(" %02x", p->bytes[k]);
		if (insn_decode(&generator.contract, INSN_64, p->bytes + p->starts[i], 15, &insn) >
		    0)
			printf("   %s", ZydisMnemonicGetString(insn.mnemonic));
		printf("\n");
	}
}
