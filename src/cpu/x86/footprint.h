/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest bytes that a translation came from: the block itself and what was looked at behind its
 * ways out. Left out are immediates that stand in the translation as they stand in the guest's code
 * and decide nothing else about it: with another value there it is the translation of other bytes.
 *
 * Left out too are large displacements, which are addresses of something and move when a kernel is
 * loaded elsewhere. Accesses that may share a pointer (lower_memory.c) are a family: all their
 * displacements must have moved by the same, and what the translation has of them moves along.
 */
#ifndef LODGE_CPU_X86_FOOTPRINT_H
#define LODGE_CPU_X86_FOOTPRINT_H

#include "cpu/x86/lower.h"

#define FOOTPRINT_RANGES 8

/* An immediate or a displacement that is left out. */
struct footprint_field {
	u16 at;   /* index into the bytes */
	u16 host; /* where it stands in the translation, from the block's first byte; 0: nowhere */
	u8 bytes;
	u8 family; /* of a displacement; 0: none */
	s32 value; /* a displacement's */
};

/* What the translation has of a family's displacements: four bytes at @host. */
struct footprint_move {
	u16 host;
	u8 family;
	s32 value; /* when the displacements were those of the fields */
};

#define FOOTPRINT_MOVES    24
#define FOOTPRINT_FAMILIES 32 /* 0 is none */
/* Smaller ones are offsets in something, and may be encoded otherwise. */
#define FOOTPRINT_DISP_MIN (64 * KIB)

struct footprint {
	struct footprint_range {
		u16 off, bytes; /* page offset */
	} range[FOOTPRINT_RANGES];
	u8 ranges;
	u8 moves;
	u16 fields, bytes; /* how many @field and @byte have */
	struct footprint_field *field;
	struct footprint_move *move;
	u8 *byte; /* of all ranges in order; immediates that are left out are zero */
	/* what the translation had where code.c wrote its ways out, while it sleeps */
	u8 entry[BLOCK_MIN_CODE]; /* at entry_saved */
	u8 back[5];               /* at its SITE_RETURN */
};

#define FOOTPRINT_MAX_INSNS  (BLOCK_MAX_INSNS + 6 * FOOTPRINT_RANGES)
#define FOOTPRINT_MAX_FIELDS (2 * FOOTPRINT_MAX_INSNS)
#define FOOTPRINT_MAX_VALUES (FOOTPRINT_MAX_FIELDS + FOOTPRINT_MOVES)

/* A footprint while the block is made. */
struct footprint_draft {
	struct footprint print;
	bool full;                   /* there will be none: too much, or bytes that say nothing */
	u8 of_insn[BLOCK_MAX_INSNS]; /* 1 + index of an instruction's field, 0: none */
	u8 family[BLOCK_MAX_INSNS];  /* of an instruction's displacement, 0: it is not left out */
	u8 families;
	u32 fixed;                       /* mask of families that must not be left out */
	u64 values[2 * BLOCK_MAX_INSNS]; /* of the block's own fields */
	struct footprint_field field[FOOTPRINT_MAX_FIELDS];
	struct footprint_move move[FOOTPRINT_MOVES];
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
/* It writes an address that has the instruction's displacement, and perhaps a constant, in the last
 * four bytes before @host; 0: in another form. */
void footprint_displacement(struct footprint_draft *d, unsigned i, u32 host, s32 value);
/* The block is lowered. False: it has no footprint. */
bool footprint_end(struct footprint_draft *d);

/* Are the bytes of the page at @page_bytes those of the footprint? Then @values (room for
 * FOOTPRINT_MAX_VALUES) has what is to stand in the translation: of the fields, then of the moves.
 */
bool footprint_fits(const struct footprint *f, const u8 *page_bytes, u64 *values);

/* Where value number @i of them stands (0: nowhere) and its size. */
static inline unsigned footprint_place(const struct footprint *f, unsigned i, unsigned *bytes)
{
	if (i >= f->fields) {
		*bytes = 4;
		return f->move[i - f->fields].host;
	}
	*bytes = f->field[i].bytes;
	return f->field[i].family ? 0 : f->field[i].host;
}

#endif
