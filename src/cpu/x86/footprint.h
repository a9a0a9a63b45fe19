/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest bytes that a translation came from: the block itself and what was looked at behind its
 * ways out. Left out are immediates that stand in the translation as they stand in the guest's code
 * and decide nothing else about it: with another value there it is the translation of other bytes.
 */
#ifndef LODGE_CPU_X86_FOOTPRINT_H
#define LODGE_CPU_X86_FOOTPRINT_H

#include "cpu/x86/lower.h"

#define FOOTPRINT_RANGES 8

/* An immediate that is left out. */
struct footprint_field {
	u16 at;   /* index into the bytes */
	u16 host; /* where it stands in the translation, from the block's first byte; 0: nowhere */
	u8 bytes;
};

struct footprint {
	struct footprint_range {
		u16 off, bytes; /* page offset */
	} range[FOOTPRINT_RANGES];
	u8 ranges;
	u16 fields, bytes; /* how many @field and @byte have */
	struct footprint_field *field;
	u8 *byte; /* of all ranges in order; immediates that are left out are zero */
	/* what the translation had where code.c wrote its ways out, while it sleeps */
	u8 entry[BLOCK_MIN_CODE]; /* at entry_saved */
	u8 back[5];               /* at its SITE_RETURN */
};

#define FOOTPRINT_MAX_INSNS (BLOCK_MAX_INSNS + 6 * FOOTPRINT_RANGES)

/* A footprint while the block is made. */
struct footprint_draft {
	struct footprint print;
	bool full;                   /* there will be none: too much, or bytes that say nothing */
	u8 of_insn[BLOCK_MAX_INSNS]; /* 1 + index of an instruction's field, 0: none */
	u64 values[BLOCK_MAX_INSNS]; /* of the block's own fields */
	struct footprint_field field[FOOTPRINT_MAX_INSNS];
	u8 byte[FOOTPRINT_MAX_INSNS * 15];
};

void footprint_begin(struct footprint_draft *d);
/* First of all: the block's own instructions. */
void footprint_block(struct footprint_draft *d, const struct lowering *l);
/* Instructions that were looked at for their flags: a range from @off on, then each of them. */
void footprint_range(struct footprint_draft *d, u16 off);
void footprint_seen(struct footprint_draft *d, const struct insn *insn);
/* The lowering writes the immediate of the block's instruction @i at @host, from the block's first
 * byte. */
void footprint_immediate(struct footprint_draft *d, unsigned i, u32 host);
/* The block is lowered. False: it has no footprint. */
bool footprint_end(struct footprint_draft *d);

/* Are the bytes of the page at @page_bytes those of the footprint? Then @values has the immediates
 * that are left out (room for FOOTPRINT_MAX_INSNS). */
bool footprint_fits(const struct footprint *f, const u8 *page_bytes, u64 *values);

#endif
