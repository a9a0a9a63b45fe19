/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One decoded instruction, as translator and helpers see it. Filled by decode.c.
 */
#ifndef LODGE_CPU_X86_INSN_H
#define LODGE_CPU_X86_INSN_H

#include "base/types.h"

#define REG_NONE 0xff
#define MEM_RIP  0xfe /* insn_mem.base: address is next RIP + disp */

#define PFX_LOCK  1
#define PFX_REP   2 /* F3 as REP / REPE */
#define PFX_REPNE 4
#define PFX_66    8
#define PFX_67    16

#define MEM_R           1
#define MEM_W           2
#define MEM_RW          3
#define GPR_WIDTH_SHIFT 4 /* insn.gpr_*: bytes of the operand above the MEM_* bits: 1, 2, 4, 8 */

struct insn_mem {
	u8 present; /* an explicit (ModRM or moffs) memory operand */
	u8 seg;     /* enum x86_seg, default or overridden */
	u8 base;    /* enum x86_gpr, MEM_RIP or REG_NONE */
	u8 index;   /* enum x86_gpr or REG_NONE (a vector register number for gathers) */
	u8 scale;   /* 1, 2, 4, 8 */
	u8 access;  /* MEM_R, MEM_W, MEM_RW; 0: address only (lea, prefetch) */
	u16 size;   /* bytes accessed; 0 if not fixed by the instruction */
	s64 disp;   /* sign-extended; EVEX disp8*N already scaled */
};

/* First, in INSN_HEAD_BYTES up to mem.disp, what prefixes, opcode, ModRM and SIB tell; then the
 * numbers that follow them in the code. */
struct insn {
	u16 mnemonic; /* ZydisMnemonic */
	u16 isa;      /* ZydisISASet */
	u16 writes;   /* general registers it may write, named or implied: a bit each */
	u8 kind;      /* enum insn_kind, from the row */
	u8 len;       /* 1..15 */
	u8 map;       /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A, higher: as in VEX/EVEX/XOP */
	u8 opcode;
	u8 modrm;
	u8 has_modrm;
	u8 rex;      /* the REX byte or 0 */
	u8 encoding; /* enum insn_encoding */
	u8 prefixes; /* PFX_* */
	u8 opsize;   /* effective operand size: 2, 4, 8 (1 is told by the opcode, see @bytewide) */
	u8 bytewide; /* the general operand is one byte */
	u8 addrsize; /* 2, 4, 8 */
	u8 reg;      /* ModRM.reg with REX.R: GPR, CR, DR or segment number as the opcode says */
	u8 rm;       /* ModRM.rm with REX.B, if it names a register; else REG_NONE */
	/* General-register operands and how they are accessed (MEM_R, MEM_W bits; 0: that field
	 * names no general register). @gpr_op: the register in the opcode's low bits. */
	u8 gpr_reg, gpr_rm, gpr_vvvv, gpr_op;
	u8 reg_op;     /* register number of @gpr_op */
	u8 vvvv;       /* VEX/EVEX.vvvv as a number */
	u8 fpu;        /* enum insn_fpu: which state it needs */
	u8 masked;     /* element-masked memory access: faults are per element */
	u8 element;    /* masked: bytes of an element in memory */
	u8 lanes;      /* masked: elements of the vector */
	u8 compressed; /* masked: active elements are contiguous in memory */
	u8 mandatory;  /* 66, F2 or F3 if part of the opcode, else 0 */
	u8 allowed;    /* 0: the guest's CPUID contract lacks it: #UD */
	u8 modrm_offset, opcode_offset;
	u8 align;          /* a memory operand must be aligned to this, or #GP(0); 0: need not */
	u8 x87_waits;      /* reports a pending x87 exception before anything else */
	u8 flags_read;     /* bits as in LAHF order: FLAGS_ARITH folded, see FL_* */
	u8 flags_written;  /* certainly overwritten */
	u8 flags_modified; /* perhaps changed: written, or left alone in some cases */
	struct insn_mem mem;
	u64 imm;  /* first immediate, sign-extended to 64 bits (branch: displacement) */
	u64 imm2; /* second immediate (enter, far pointers: selector) */
	u8 bytes[15];
	u8 imm_bytes; /* size of the first immediate, 0 if none */
	u8 imm2_bytes;
	u8 imm_offset; /* @len if there is none */
};

#define INSN_HEAD_BYTES (offsetof(struct insn, mem) + offsetof(struct insn_mem, disp))

enum insn_kind {
	KIND_DENY, /* no row: #UD */
	KIND_COPY,
	KIND_HELPER,
	KIND_PUSH,
	KIND_POP,
	KIND_CALL,
	KIND_RET,
	KIND_JMP,
	KIND_JCC,
	KIND_LOOP,
	KIND_LEA,
	KIND_LEAVE,
	KIND_CMPXCHG8B,
	KIND_BT,
	KIND_NOP,
	KIND_CLFLUSH,
	KIND_UD,
	KIND_MOV, /* copy, except segment, control and debug registers and moffs */
	KIND_FPENV,
	KIND_GATHER,
	KIND_MASKMOV,
	KIND_SYSTEM, /* inline in its common case, else a helper: see lower_system.c */
	KIND_STRING, /* MOVS, STOS: inline where that is enough, else a helper */
};

enum insn_encoding { ENCODING_LEGACY, ENCODING_VEX, ENCODING_EVEX, ENCODING_OTHER };

enum insn_fpu { FPU_NONE, FPU_X87, FPU_SSE, FPU_AVX, FPU_AVX512 };

enum insn_mode { INSN_16, INSN_32, INSN_64 };

struct insn_contract;

/* Decodes one instruction of at most @bytes (<= 15) at @code. Returns its length, 0 if it is
 * not valid (#UD), -1 if more bytes are needed, or INSN_TOO_LONG (#GP). An instruction that the
 * contract hides or that has no row is decoded, with allowed == 0. Not hot: uses libc and vector
 * registers. */
#define INSN_TOO_LONG (-2)
int insn_decode(const struct insn_contract *contract, enum insn_mode mode, const u8 *code,
		unsigned bytes, struct insn *insn);

/* The arithmetic flags in the order LAHF and SETO give them. */
#define FL_CF  0x01
#define FL_PF  0x04
#define FL_AF  0x10
#define FL_ZF  0x40
#define FL_SF  0x80
#define FL_OF  0x02 /* its own bit in LAHF's reserved place */
#define FL_ALL (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#endif
