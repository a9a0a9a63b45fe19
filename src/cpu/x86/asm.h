/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An assembler of the few instructions that the lowering adds around a guest's own.
 *
 * Operand order is the manual's: destination first. Offsets @off are struct cpu offsets: the
 * operand is [rbp + off - CPU_RBP_BIAS], with the short displacement where it fits. Nothing here
 * touches the flags unless its comment says so. The buffer must have room: the caller reserves.
 */
#ifndef LODGE_CPU_X86_ASM_H
#define LODGE_CPU_X86_ASM_H

#include "cpu/vcpu.h"

#include <string.h>

/* Host registers of the lowering; see the picture at the head of lower.c. */
#define T0 3  /* rbx: address temporary, a legacy register so that AH..DH stay encodable */
#define T1 13 /* r13 */
#define T2 14 /* r14 */
#define P0 15 /* r15: pointers of groups */
#define P1 12 /* r12 */
#define SP 11 /* r11: guest rsp */
#define ST 5  /* rbp: struct cpu */

struct code_buf {
	u8 *p;    /* where the next byte is written */
	u8 *base; /* writable view of the code cache */
	u8 *limit;
	bool bmi2; /* the host has it */
};

static inline void e8(struct code_buf *b, u8 v)
{
	*b->p++ = v;
}
static inline void e32(struct code_buf *b, u32 v)
{
	memcpy(b->p, &v, 4);
	b->p += 4;
}
static inline void e64(struct code_buf *b, u64 v)
{
	memcpy(b->p, &v, 8);
	b->p += 8;
}

/* ModRM and displacement for [rbp + off]. */
static inline void e_state(struct code_buf *b, unsigned reg, size_t off)
{
	s32 d = (s32)off - CPU_RBP_BIAS;

	if (d >= -128 && d <= 127) {
		e8(b, 0x45 | (reg & 7) << 3);
		e8(b, d);
	} else {
		e8(b, 0x85 | (reg & 7) << 3);
		e32(b, d);
	}
}
static inline void e_rex(struct code_buf *b, unsigned w, unsigned reg, unsigned rm)
{
	u8 rex = 0x40 | w << 3 | (reg & 8) >> 1 | (rm & 8) >> 3;

	if (rex != 0x40)
		e8(b, rex);
}

/* op reg, [state] and op [state], reg with a 64 (w=1) or 32 bit operand */
static inline void e_op_state(struct code_buf *b, u8 op, unsigned w, unsigned reg, size_t off)
{
	e_rex(b, w, reg, 0);
	e8(b, op);
	e_state(b, reg, off);
}
#define e_load(b, reg, off)    e_op_state(b, 0x8b, 1, reg, off)
#define e_load32(b, reg, off)  e_op_state(b, 0x8b, 0, reg, off)
#define e_store(b, reg, off)   e_op_state(b, 0x89, 1, reg, off)
#define e_store32(b, reg, off) e_op_state(b, 0x89, 0, reg, off)

static inline void e_store16(struct code_buf *b, unsigned reg, size_t off)
{
	e8(b, 0x66);
	e_op_state(b, 0x89, 0, reg, off);
}
static inline void e_store_imm32(struct code_buf *b, size_t off, u32 v) /* mov dword [state], v */
{
	e8(b, 0xc7);
	e_state(b, 0, off);
	e32(b, v);
}
static inline void e_store_imm64(struct code_buf *b, size_t off, s32 v) /* mov qword [state], v */
{
	e8(b, 0x48);
	e_store_imm32(b, off, v);
}
static inline void e_mov(struct code_buf *b, unsigned dst, unsigned src)
{
	e_rex(b, 1, src, dst);
	e8(b, 0x89);
	e8(b, 0xc0 | (src & 7) << 3 | (dst & 7));
}
static inline void e_mov32(struct code_buf *b, unsigned dst, unsigned src)
{
	e_rex(b, 0, src, dst);
	e8(b, 0x89);
	e8(b, 0xc0 | (src & 7) << 3 | (dst & 7));
}
static inline void e_mov_imm(struct code_buf *b, unsigned dst, u64 v)
{
	if (v == (u32)v) {
		e_rex(b, 0, 0, dst);
		e8(b, 0xb8 | (dst & 7));
		e32(b, v);
	} else if ((s64)v == (s32)v) {
		e_rex(b, 1, 0, dst);
		e8(b, 0xc7);
		e8(b, 0xc0 | (dst & 7));
		e32(b, v);
	} else {
		e_rex(b, 1, 0, dst);
		e8(b, 0xb8 | (dst & 7));
		e64(b, v);
	}
}
/* lea dst, [base + index * scale + disp]; index may be REG_NONE; w: 64-bit result */
static inline void e_lea(struct code_buf *b, unsigned w, unsigned dst, unsigned base,
			 unsigned index, unsigned scale, s32 disp)
{
	bool sib = index != REG_NONE || (base & 7) == 4;
	unsigned mod = disp == 0 && (base & 7) != 5 ? 0 : disp >= -128 && disp <= 127 ? 1 : 2;
	u8 rex = 0x40 | w << 3 | (dst & 8) >> 1 | (base & 8) >> 3;

	if (index != REG_NONE)
		rex |= (index & 8) >> 2;
	if (rex != 0x40)
		e8(b, rex);
	e8(b, 0x8d);
	e8(b, mod << 6 | (dst & 7) << 3 | (sib ? 4 : base & 7));
	if (sib)
		e8(b, (scale == 8   ? 3
		       : scale == 4 ? 2
		       : scale == 2
			       ? 1
			       : 0) << 6 |
			      (index != REG_NONE ? index & 7 : 4) << 3 | (base & 7));
	if (mod == 1)
		e8(b, disp);
	else if (mod == 2)
		e32(b, disp);
}
/* op reg, [rbp + index + off], 64 bit */
static inline void e_op_indexed(struct code_buf *b, u8 op, unsigned w, unsigned reg, unsigned index,
				size_t off)
{
	e8(b, 0x40 | w << 3 | (reg & 8) >> 1 | (index & 8) >> 2);
	e8(b, op);
	e8(b, 0x84 | (reg & 7) << 3);
	e8(b, (index & 7) << 3 | ST);
	e32(b, (s32)off - CPU_RBP_BIAS);
}
/* Shift by immediate (sub: 4 shl, 5 shr, 7 sar): clobbers the flags */
static inline void e_shift(struct code_buf *b, unsigned w, unsigned sub, unsigned reg, u8 count)
{
	e_rex(b, w, 0, reg);
	e8(b, 0xc1);
	e8(b, 0xc0 | sub << 3 | (reg & 7));
	e8(b, count);
}
/* rorx: 32 bit, BMI2; the flags stay */
static inline void e_rorx(struct code_buf *b, unsigned dst, unsigned src, u8 count)
{
	e8(b, 0xc4);
	e8(b, (dst & 8 ? 0 : 0x80) | 0x40 | (src & 8 ? 0 : 0x20) | 3);
	e8(b, 0x7b);
	e8(b, 0xf0);
	e8(b, 0xc0 | (dst & 7) << 3 | (src & 7));
	e8(b, count);
}
/* Arithmetic with imm32 (sub: 0 add, 4 and, 5 sub, 7 cmp): clobbers the flags */
static inline void e_arith_imm(struct code_buf *b, unsigned w, unsigned sub, unsigned reg, u32 imm)
{
	e_rex(b, w, 0, reg);
	if ((s32)imm >= -128 && (s32)imm <= 127) {
		e8(b, 0x83);
		e8(b, 0xc0 | sub << 3 | (reg & 7));
		e8(b, imm);
	} else {
		e8(b, 0x81);
		e8(b, 0xc0 | sub << 3 | (reg & 7));
		e32(b, imm);
	}
}
static inline void e_imul32(struct code_buf *b, unsigned dst, unsigned src, u32 imm) /* flags */
{
	e_rex(b, 0, dst, src);
	e8(b, 0x69);
	e8(b, 0xc0 | (dst & 7) << 3 | (src & 7));
	e32(b, imm);
}
static inline void e_xor(struct code_buf *b, unsigned dst, unsigned src) /* 64 bit; flags */
{
	e_rex(b, 1, src, dst);
	e8(b, 0x31);
	e8(b, 0xc0 | (src & 7) << 3 | (dst & 7));
}
static inline void e_sub(struct code_buf *b, unsigned dst, unsigned src) /* 64 bit; flags */
{
	e_rex(b, 1, src, dst);
	e8(b, 0x29);
	e8(b, 0xc0 | (src & 7) << 3 | (dst & 7));
}
static inline void e_neg(struct code_buf *b, unsigned reg) /* 64 bit; flags */
{
	e_rex(b, 1, 0, reg);
	e8(b, 0xf7);
	e8(b, 0xc0 | 3 << 3 | (reg & 7));
}
/* test byte [state], imm8: flags */
static inline void e_test_state8(struct code_buf *b, size_t off, u8 imm)
{
	e8(b, 0xf6);
	e_state(b, 0, off);
	e8(b, imm);
}
/* add qword [state], imm32: flags */
static inline void e_add_state(struct code_buf *b, size_t off, s32 imm)
{
	e_rex(b, 1, 0, 0);
	e8(b, 0x81);
	e_state(b, 0, off);
	e32(b, imm);
}
/* cmp dword [state], imm8: flags */
static inline void e_cmp_state32(struct code_buf *b, size_t off, s8 imm)
{
	e8(b, 0x83);
	e_state(b, 7, off);
	e8(b, imm);
}
/* sub dword [state], imm8: flags */
static inline void e_sub_state32(struct code_buf *b, size_t off, s8 imm)
{
	e8(b, 0x83);
	e_state(b, 5, off);
	e8(b, imm);
}
/* cmova dst, src: 64 bit */
static inline void e_cmova(struct code_buf *b, unsigned dst, unsigned src)
{
	e_rex(b, 1, dst, src);
	e8(b, 0x0f);
	e8(b, 0x47);
	e8(b, 0xc0 | (dst & 7) << 3 | (src & 7));
}
/* ModRM and displacement for [base + disp]; @base as the low four bits of a register number, whose
 * high bit the caller has put into REX. @wide: an 8-bit displacement means something else (EVEX).
 */
static inline void e_based(struct code_buf *b, unsigned reg, unsigned base, s32 disp, bool wide)
{
	unsigned mod = disp == 0 && (base & 7) != 5           ? 0
		       : disp >= -128 && disp <= 127 && !wide ? 1
							      : 2;

	e8(b, mod << 6 | (reg & 7) << 3 | (base & 7));
	if ((base & 7) == 4)
		e8(b, 0x24);
	if (mod == 1)
		e8(b, disp);
	else if (mod == 2)
		e32(b, disp);
}
/* mov reg, [base + disp] and mov [base + disp], reg of 2, 4 or 8 bytes; loads of 2 keep the upper
 * bits */
static inline void e_load_at(struct code_buf *b, unsigned reg, unsigned base, s32 disp,
			     unsigned bytes)
{
	if (bytes == 2)
		e8(b, 0x66);
	e_rex(b, bytes == 8, reg, base);
	e8(b, 0x8b);
	e_based(b, reg, base, disp, false);
}
static inline void e_store_at(struct code_buf *b, unsigned reg, unsigned base, s32 disp,
			      unsigned bytes)
{
	if (bytes == 2)
		e8(b, 0x66);
	e_rex(b, bytes == 8, reg, base);
	e8(b, 0x89);
	e_based(b, reg, base, disp, false);
}
static inline void e_push(struct code_buf *b, unsigned r)
{
	e_rex(b, 0, 0, r);
	e8(b, 0x50 | (r & 7));
}
static inline void e_pop(struct code_buf *b, unsigned r)
{
	e_rex(b, 0, 0, r);
	e8(b, 0x58 | (r & 7));
}
/* cmp a, b: flags */
static inline void e_cmp(struct code_buf *b, unsigned x, unsigned y)
{
	e_rex(b, 1, y, x);
	e8(b, 0x39);
	e8(b, 0xc0 | (y & 7) << 3 | (x & 7));
}
static inline void e_jmp_reg(struct code_buf *b, unsigned reg)
{
	e_rex(b, 0, 0, reg);
	e8(b, 0xff);
	e8(b, 0xe0 | (reg & 7));
}
static inline void e_call_reg(struct code_buf *b, unsigned reg)
{
	e_rex(b, 0, 0, reg);
	e8(b, 0xff);
	e8(b, 0xd0 | (reg & 7));
}
/* A NOP, if the four bytes @ahead of here would not lie inside eight aligned ones: those are
 * written at once for whoever executes them meanwhile (AMD vol. 2, 7.3.2; Intel vol. 3, 9.1.1). */
static inline void e_pad(struct code_buf *b, unsigned ahead)
{
	static const u8 nops[][3] = { { 0x90 }, { 0x66, 0x90 }, { 0x0f, 0x1f, 0xc0 } };
	unsigned at = (uintptr_t)(b->p + ahead) & 7;

	for (unsigned i = 0; at > 4 && i < 8 - at; i++)
		e8(b, nops[7 - at][i]);
}

/* jmp/jcc rel32 with the target unknown: returns where the rel32 is. @align lets it be patched
 * while others execute. */
static inline u8 *e_jmp(struct code_buf *b, bool align)
{
	if (align)
		e_pad(b, 1);
	e8(b, 0xe9);
	e32(b, 0);
	return b->p - 4;
}
static inline u8 *e_call(struct code_buf *b) /* aligned */
{
	e_pad(b, 1);
	e8(b, 0xe8);
	e32(b, 0);
	return b->p - 4;
}
static inline u8 *e_jcc(struct code_buf *b, unsigned cc, bool align)
{
	if (align)
		e_pad(b, 2);
	e8(b, 0x0f);
	e8(b, 0x80 | cc);
	e32(b, 0);
	return b->p - 4;
}
static inline void e_patch(u8 *rel32, const u8 *target)
{
	s32 d = target - (rel32 + 4);

	__atomic_store_n((s32 *)rel32, d, __ATOMIC_RELEASE);
}
static inline void e_call_to(struct code_buf *b, const u8 *target)
{
	e8(b, 0xe8);
	e32(b, target - (b->p + 4));
}
static inline void e_jmp_to(struct code_buf *b, const u8 *target)
{
	u8 *at = e_jmp(b, false);
	s32 d = target - (at + 4);

	memcpy(at, &d, 4);
}

#endif
