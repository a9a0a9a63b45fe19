/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the parts of an instruction are: its head (prefixes, opcode, ModRM, SIB), the displacement,
 * the immediate, in this order. The head alone tells the lengths of the other two.
 */
#ifndef LODGE_CPU_X86_SHAPE_H
#define LODGE_CPU_X86_SHAPE_H

#include "cpu/x86/insn.h"

#define SHAPE_BYTES 16 /* what shape_find() may read */

struct shape {
	u8 head;       /* bytes */
	u8 disp_bytes; /* 0, 1, 2, 4 */
	u8 imm_bytes;  /* 0, 1, 2, 4, 8: the instruction's last */
	u8 len;        /* all of it; more than 15 is possible */
	u8 fixed;      /* Instructions that agree in so many bytes differ in nothing but the values
			* of displacement and immediate: @head or @len. */
};

/* @raw: SHAPE_BYTES bytes, zeroes after the last known one. False: not one of the regular
 * instructions that the tables list. Says nothing about validity. */
bool shape_find(enum insn_mode mode, const u8 *raw, struct shape *shape);

#endif
