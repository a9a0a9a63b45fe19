/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Translations that outlive their guest: written to a file at its end, taken from there by the next
 * one instead of translating again.
 *
 *   header | records, one a block | index
 *
 * A record is a block as it was before anything was bound or patched: the guest bytes it came from
 * with the fields left out that do not decide the translation (x86/footprint.h), the host code, and
 * what code.h knows of a block. In the host code the fields that depend on where it stands
 * (lowering.places) hold the thunk's offset or the site's index. The index is an open hash table; a
 * block's key is its context, its offset in the page and its first guest bytes, as many as are
 * not left out.
 *
 * The file is not trusted. Its writer was a lodge-vmm that had run a hostile guest. What is
 * read is checked against the file's bounds and the tables' sizes, and the block that comes out of
 * it is verified (x86/verify.h) before it may run. That keeps the guest in; it does not make the
 * block the translation of its guest bytes. So a file is for the guest that it comes from alone,
 * which can do nothing to itself by it that it could not do before.
 *
 *   saved.c        the file, finding a block in it, making the block
 *   saved_write.c  writing it
 */
#ifndef LODGE_CPU_SAVED_H
#define LODGE_CPU_SAVED_H

#include "base/saved_code.h"
#include "cpu/code.h"
#include "cpu/x86/footprint.h"

#define SAVED_ALIGN     8
#define SAVED_NONE      0xffff
#define SAVED_BYTES_MIN 64 /* no record takes less */

struct saved_block {
	u32 bytes; /* of the record, a multiple of SAVED_ALIGN */
	u32 ctx;
	u16 off;
	u16 guest_bytes;
	u16 code_bytes;
	u16 entry_host, entry_saved; /* from the first byte of the code */
	u16 last;                    /* page offset of the instruction block->last, or SAVED_NONE */
	u16 print_bytes, fields, places, sites;
	u8 insns, maps, first_bytes, prefers, ranges, moves;
	u8 key_bytes; /* of guest code in the key: 1, 2, 4, 8 or 16 */
	u8 zero;
	/* struct saved_site[sites], struct footprint_field[fields], struct footprint_move[moves],
	 * struct footprint_range[ranges], u16 place[places], struct host_map[maps],
	 * u8 print[print_bytes], u8 code[code_bytes] */
};

struct saved_site {
	u32 tag; /* site.tag_off, of a SITE_MEM 1 for the write tag */
	s16 own, guest_off;
	u16 size, span;
	u16 patch, stub; /* from the first byte of the code; SAVED_NONE: 0 */
	u8 kind, form, access, align;
	u8 insn, store;
	u8 seg : 3, masked : 1, locked : 1, x87 : 1;
	u8 flips;
};

struct saved_slot {
	u32 key; /* upper half of the hash, never 0 */
	u32 at;  /* of the record, in units of SAVED_ALIGN; 0: empty */
};

/* Where the parts of a record are. */
struct saved_parts {
	const struct saved_site *sites;
	const struct footprint_field *fields;
	const struct footprint_move *moves;
	const struct footprint_range *ranges;
	const u16 *places;
	const struct host_map *maps;
	const u8 *print, *code;
};

/* What is known of a record: not verified yet; verified; taken, too; not safe. */
enum saved_use { SAVED_UNKNOWN, SAVED_SAFE, SAVED_USED, SAVED_BAD };

struct saved_code {
	const u8 *base; /* mapped for reading */
	size_t bytes;
	const struct saved_code_header *header;
	const struct saved_slot *index;
	u64 next; /* the record behind the one found last: blocks are asked for as they were made */
	u8 *use;  /* enum saved_use, by the record's place / SAVED_BYTES_MIN */
};

/* A file that fits this translator and contract, or NULL: the log has said why. @fd stays the
 * caller's and may be closed. After the contract is complete. */
/* Why a file that begins with @header is not for this machine, or NULL. @any: contract. */
const char *saved_why_not(const struct cpu_vm *vm, const struct saved_code_header *header,
			  u64 bytes, bool any);
/* A file whose header is good, mapped at @base. */
struct saved_code *saved_use_memory(const void *base, size_t bytes);
/* Nobody can change or shorten it any more: else reading it could raise SIGBUS. */
bool saved_is_sealed(int fd);
/* @any: of any contract, and known to be sealed. */
struct saved_code *saved_open(struct cpu_vm *vm, int fd, bool any);
void saved_close(struct saved_code *saved);
/* What the header of a file for this machine says. */
void saved_identity(const struct cpu_vm *vm, u8 build[32], u8 contract[32]);

/* The record for code at page offset @off, whose page is at @host, with the fields that are left
 * out in @values (room for FOOTPRINT_MAX_VALUES). NULL: none. */
const struct saved_block *saved_find(struct saved_code *saved, unsigned off, u32 ctx,
				     const u8 *host, u64 *values);
static inline u8 *saved_use(const struct saved_code *saved, const struct saved_block *record)
{
	return &saved->use[((const u8 *)record - saved->base) / SAVED_BYTES_MIN];
}

/* Verifies the record, and some behind it that are likely to be asked for next: verifying them one
 * after the other takes half the time. As saved_place() otherwise. False: this one is not safe. */
bool saved_check(struct code_cache *code, const struct saved_block *record);
#define SAVED_CHECK_AT_ONCE 32
/* Writes the block of a record to the end of the tables, as lower_block() would: @block has page,
 * off and ctx. Lock held, there is room. False: its numbers make no sense. What its code does is to
 * be verified. */
bool saved_place(struct code_cache *code, const struct saved_block *record, const u64 *values,
		 struct block *block);
/* The record's parts, if they are inside the file and fit our tables. Their content is anything. */
bool saved_parts(const struct saved_code *saved, u64 at, struct saved_parts *parts);
/* The footprint that the parts are, pointing into them; false: it is none. */
bool saved_print(const struct saved_block *record, const struct saved_parts *parts,
		 struct footprint *print);
/* Key of @n guest bytes. */
u64 saved_key(u32 ctx, unsigned off, const u8 *bytes, unsigned n);

/* Writes all blocks of the guest, and those of the file it began with, to @fd, a file of the size
 * that may be written. Returns how many, or -errno; 0: nothing is written, the old file has nearly
 * all of them. No processor runs. */
s64 saved_write(struct cpu_vm *vm, int fd);
s64 saved_write_all(struct cpu_vm *vm, int fd); /* in any case */
/* Verifies all of code->saved and writes what is safe to @fd, as above. */
s64 saved_check_all(struct code_cache *code, int fd);

#endif
