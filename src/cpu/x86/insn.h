/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One decoded instruction, as translator and helpers see it. Filled by decode.c.
 */
#ifndef LODGE_CPU_X86_INSN_H
#define LODGE_CPU_X86_INSN_H

#include "base/types.h"

#define REG_NONE 0xff
#define REG_RIP  0xfe /* insn_mem.base: address is next RIP + disp */

#define PFX_LOCK  1
#define PFX_REP   2 /* F3 as REP / REPE */
#define PFX_REPNE 4
#define PFX_66    8
#define PFX_67    16

#define MEM_R 1
#define MEM_W 2
#define MEM_RW 3

struct insn_mem {
	u8 present;  /* an explicit (ModRM or moffs) memory operand */
	u8 seg;      /* enum x86_seg, default or overridden */
	u8 base;     /* enum x86_gpr, REG_RIP or REG_NONE */
	u8 index;    /* enum x86_gpr or REG_NONE (a vector register number for gathers) */
	u8 scale;    /* 1, 2, 4, 8 */
	u8 access;   /* MEM_R, MEM_W, MEM_RW; 0: address only (lea, prefetch) */
	u16 size;    /* bytes accessed; 0 if not fixed by the instruction */
	s64 disp;    /* sign-extended; EVEX disp8*N already scaled */
};

struct insn {
	u16 mnemonic;  /* ZydisMnemonic */
	u8 kind;       /* enum insn_kind, from the row */
	u8 len;        /* 1..15 */
	u8 map;        /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A, higher: as in VEX/EVEX/XOP */
	u8 opcode;
	u8 modrm;
	u8 has_modrm;
	u8 rex;        /* the REX byte or 0 */
	u8 encoding;   /* 0 legacy, 1 VEX, 2 EVEX, 3 other */
	u8 prefixes;   /* PFX_* */
	u8 opsize;     /* effective operand size: 2, 4, 8 (1 is told by the opcode, see @bytewide) */
	u8 bytewide;   /* the general operand is one byte */
	u8 addrsize;   /* 2, 4, 8 */
	u8 reg;        /* ModRM.reg with REX.R: GPR, CR, DR or segment number as the opcode says */
	u8 rm;         /* ModRM.rm with REX.B, if it names a register; else REG_NONE */
	u8 imm_bytes;  /* size of the first immediate, 0 if none */
	u8 imm2_bytes;
	u64 imm;       /* first immediate, sign-extended to 64 bits (branch: displacement) */
	u64 imm2;      /* second immediate (enter, far pointers: selector) */
	struct insn_mem mem;
	u8 flags_read; /* bits as in LAHF order: FLAGS_ARITH folded, see FL_* */
	u8 flags_written;
	u8 bytes[15];
};

/* The arithmetic flags in the order LAHF and SETO give them. */
#define FL_CF 0x01
#define FL_PF 0x04
#define FL_AF 0x10
#define FL_ZF 0x40
#define FL_SF 0x80
#define FL_OF 0x02 /* its own bit in LAHF's reserved place */
#define FL_ALL (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#endif
