/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random programs for the differential tester.
 *
 *   program.c        short and straight ones, groups of accesses, loops; and other immediates
 *   program_whole.c  functions with frames that call each other
 */
#ifndef LODGE_TESTS_CPU_PROGRAM_H
#define LODGE_TESTS_CPU_PROGRAM_H

#include "machine.h"

#include "cpu/x86/decode.h"

struct program {
	u8 bytes[CODE_PAGES * PAGE_SIZE];
	unsigned len;
	unsigned starts[512];
	unsigned count;
	bool whole;  /* other immediates would lose its stack */
	bool masked; /* which byte of a masked operand CR2 names is the processor's choice */
};

/* What programs are made from. */
struct generator {
	u64 rng_state;
	struct insn_contract contract;
	u64 xcr0;
	bool faults;       /* one data page is missing or read-only */
	bool combinations; /* more whole programs */
};
extern struct generator generator;

/* Small numbers, for gathers. */
#define INDEXES (DATA_GVA + 2 * PAGE_SIZE + 0x400)

u64 rnd(void);
u64 below(u64 n);
/* Often a special one. */
u64 random_value(void);

/* ---- program.c ------------------------------------------------------------------------------ */

/* A program of up to @insns instructions, or another kind of one, with INT3 behind it. */
void program_make(struct program *p, unsigned insns);
/* Other immediates, as code gets that is patched; nothing that is an address or leads elsewhere.
 * False: the program has none. */
bool program_vary(struct program *p);
void program_print(const struct program *p);
/* Appends the bytes of one instruction. */
void program_put(struct program *p, const u8 *b, unsigned n);
void program_put_mov_imm64(struct program *p, unsigned reg, u64 v);
/* Appends one instruction with whatever loads its address needs. Returns the general registers that
 * may have changed. */
u16 program_put_random(struct program *p);

/* ---- program_whole.c ------------------------------------------------------------------------ */

void program_put_whole(struct program *p);

#endif
