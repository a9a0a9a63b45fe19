/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The code cache: all translations of one guest, shared by its processors.
 *
 *   code.c       finding, binding and invalidating blocks; stopping the others (hot)
 *   translate.c  making blocks (hot)
 *   saved.c      taking blocks from a file of an earlier run (cold)
 *   dormant.c    waking blocks whose bytes have come back (cold)
 *
 * Locking. @lock guards everything here; it is never held across a device access or a wait for
 * another processor. Blocks are invalidated only inside an exclusive section, when no processor
 * is CODE_IN; their memory is reused only after a full flush, when none is CODE_PARKED either.
 */
#ifndef LODGE_CPU_CODE_H
#define LODGE_CPU_CODE_H

#include "cpu/vcpu.h"
#include "cpu/x86/decode.h"
#include "cpu/x86/lower.h"

/* cpu->in_code */
enum code_presence {
	CODE_OUT,    /* holds no pointer into the cache */
	CODE_IN,     /* runs translated code or looks at blocks */
	CODE_PARKED, /* in a device access or wait below translated code: returns into a block */
};

#define CODE_HASH          65536
#define CODE_CACHE_DEFAULT (64 * MIB)

struct code_cache {
	struct cpu_vm *vm;
	int fd; /* -1: memory without a name */
	size_t bytes;
	u8 *rx; /* executable view; buf.base is the writable one */
	struct code_buf buf;
	u8 *start; /* first byte behind the thunks */
	size_t sites_populated, blocks_populated, maps_populated;
	size_t populated; /* bytes of the code memory that the host was asked for */
	struct thunks thunks;
	struct insn_contract contract;

	u32 lock;
	u32 writes;    /* counts writes to pages that hold code; changed under @lock */
	u32 exclusive; /* 1 + index of the processor that stops the others, ~0: another thread */

	struct block *blocks;
	u32 block_count, block_max;
	struct site *sites;
	u32 site_count, site_max;
	struct host_map *maps;
	u32 map_count, map_max;
	struct insn *insns;
	u32 insn_count, insn_max;
	struct block **hash;    /* by page, offset and context */
	struct block **dormant; /* the same for blocks that sleep (dormant.h) */
	u8 *footprints;
	size_t footprint_used, footprint_bytes;
	u16 *places; /* of the blocks that saved_write() may write */
	u32 place_count, place_max;
	bool recording;           /* blocks are made so that saved_write() can write them */
	struct saved_code *saved; /* cpu_vm_config.saved_code, or NULL */
	struct block **pages;     /* by page, through page_next */
	u64 flushes, invalidated;
	struct verifier *verifier;
	u32 verified; /* cpu_vm_config.verify_blocks: blocks that x86/verify.c took apart, */
	u8 refused;   /* ... and found one wrong: nothing runs any more */
	struct perf_map *perf_map; /* cpu_vm_config.perf_map, or NULL */
};

int code_cache_new(struct cpu_vm *vm, size_t bytes, GError **error);
void code_cache_free(struct code_cache *code);

void code_lock(struct code_cache *code);
void code_unlock(struct code_cache *code);

/* Valid block for (@page, @off, @ctx), or NULL. Lock held. With @page2: only one that crosses into
 * that page; ANY_PAGE: any. */
#define ANY_PAGE (~0ull)
struct block *code_find(struct code_cache *code, gpa_t page, unsigned off, u32 ctx, gpa_t page2);
void code_insert(struct code_cache *code, struct block *block);
/* Binds a SITE_LINK to @to, if both are still valid. Lock held. */
void code_bind(struct code_cache *code, struct site *site, struct block *to);
/* The block whose code contains host address @pc of the executable view, or NULL. */
struct block *code_block_at(struct code_cache *code, u64 pc);

/* Becoming CODE_IN: waits while another thread is exclusive. */
void code_enter(struct cpu *cpu);
void code_leave(struct cpu *cpu, enum code_presence presence);
/* Lets other threads of the host run. */
void code_yield(void);
/* Stops all processors but @self (NULL: the caller is none) outside blocks. Nests. */
void code_exclusive_begin(struct cpu_vm *vm, struct cpu *self);
void code_exclusive_end(struct cpu_vm *vm, struct cpu *self);

/* What the tables take that grow with the blocks. */
static inline size_t code_table_bytes(const struct code_cache *code)
{
	return code->block_count * sizeof(struct block) + code->site_count * sizeof(struct site) +
	       code->map_count * sizeof(struct host_map) + code->insn_count * sizeof(struct insn) +
	       code->footprint_used;
}

/* Is there room for one more block of any size? Neither the code nor its tables outgrow @bytes. */
bool code_has_room(const struct code_cache *code);
/* Forgets everything. The caller is CODE_OUT and holds nothing of the cache. */
void code_flush(struct cpu_vm *vm, struct cpu *self);

/* The 64-byte lines of a page that @bytes (at least 1) at offset @off touch, a bit each. */
static inline u64 code_lines(unsigned off, unsigned bytes)
{
	unsigned first = off / 64, last = (off + bytes - 1) / 64;

	if (last > 63)
		last = 63;
	return (~0ull << first) & (~0ull >> (63 - last));
}

/* FNV-1a of guest code. */
static inline u64 block_sum(const u8 *p, unsigned bytes)
{
	u64 h = 0xcbf29ce484222325;

	while (bytes--)
		h = (h ^ *p++) * 0x100000001b3;
	return h;
}
/* Says which block's bytes changed unnoticed. Cold. */
void report_changed(struct cpu *cpu, const struct block *block);

/* cpu_vm_config.verify_blocks, of a block that has been woken. Cold. */
void translate_verify(struct cpu *cpu, const struct block *block);
/* translate.c (cold): makes the block for code at linear @pc (page at @host, guest physical @page).
 * NULL: no room (flush and try again), or cpu->fault_pending for a second page that cannot be read.
 */
struct block *translate(struct cpu *cpu, gva_t pc, gpa_t page, const u8 *host, u32 ctx);
/* May @bytes be fetched at RIP? Those beyond the limit of the code segment, where one counts, may
 * not: #GP(0), SDM vol. 3 section 5.3. */
bool code_fetchable(struct cpu *cpu, u32 ctx, unsigned bytes);
/* Marks the page as holding code; the guest's direct writes to it stop. */
void code_mark_page(struct cpu *cpu, gpa_t page);
/* Is it marked, so that every write to it is noticed? */
bool code_page_marked(struct cpu_vm *vm, gpa_t page);
/* Closes the block's entries: jump caches may still hold them. Nobody executes translated code. */
void code_make_stale(struct code_cache *code, const struct block *block);
/* Where the list of sleeping blocks of this place (and perhaps others) begins. Lock held. */
struct block **code_dormant_slot(struct code_cache *code, gpa_t page, unsigned off, u32 ctx);
static inline bool code_same_place(const struct block *b, gpa_t page, unsigned off, u32 ctx)
{
	return b->page == page && b->off == off && b->ctx == ctx;
}

#endif
