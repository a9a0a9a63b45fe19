/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making translated blocks: decode along the fall-through path, ask how far the flags live, lower.
 *
 * A block ends at an unconditional transfer, at an instruction that C executes, at the end of the
 * page, or after BLOCK_MAX_INSNS. Conditional branches leave it on their taken side. An instruction
 * that crosses into the next page is a block of its own, bound to both physical pages. Its meaning
 * depends on two mappings: outside 64-bit mode nothing leads to it but run.c, which looks at both;
 * in 64-bit mode it looks at the second one itself.
 *
 * The page is marked as holding code before its bytes are read: a write that comes later finds the
 * mark and invalidates. Bytes that were only looked at to find out about the flags count as read.
 */
#include "base/log.h"
#include "cpu/code.h"
#include "cpu/dormant.h"
#include "cpu/perf_map.h"
#include "cpu/run.h"
#include "cpu/saved.h"
#include "cpu/x86/decode_cache.h"
#include "cpu/x86/verify.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOOKAHEAD_INSNS 6
#define MAX_BRANCHES    4
#define POPULATE_BYTES  (256 * KIB)

static void *pool_new(size_t count, size_t size)
{
	void *p = mmap(NULL, count * size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/*
 * The same memory twice, the second time executable. perf looks names up in its map only for
 * memory without a file, to which it counts shared anonymous memory and not a memfd. That has no
 * descriptor to map again: mremap() of nothing is a second view (mremap(2), old_size 0).
 */
static void map_anonymous(struct code_cache *code, void **rw, void **rx)
{
	code->fd = -1;
	*rx = MAP_FAILED;
	*rw = mmap(NULL, code->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (*rw != MAP_FAILED)
		*rx = mremap(*rw, 0, code->bytes, MREMAP_MAYMOVE);
	if (*rx != MAP_FAILED && mprotect(*rx, code->bytes, PROT_READ | PROT_EXEC))
		*rx = MAP_FAILED;
}

static int map_memfd(struct code_cache *code, void **rw, void **rx, GError **error)
{
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
	code->fd = memfd_create("lodge-code", MFD_CLOEXEC | MFD_EXEC);
	if (code->fd < 0 && errno == EINVAL)
		code->fd = memfd_create("lodge-code", MFD_CLOEXEC);
	if (code->fd < 0 || ftruncate(code->fd, code->bytes)) {
		g_set_error(error, g_quark_from_static_string("lodge-cpu"), errno,
			    "cannot create the code cache of %zu bytes: %s", code->bytes,
			    g_strerror(errno));
		return -1;
	}
	*rw = mmap(NULL, code->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, code->fd, 0);
	*rx = mmap(NULL, code->bytes, PROT_READ | PROT_EXEC, MAP_SHARED, code->fd, 0);
	return 0;
}

static int code_memory(struct code_cache *code, GError **error)
{
	void *rw, *rx;

	if (code->vm->config.perf_map)
		map_anonymous(code, &rw, &rx);
	else if (map_memfd(code, &rw, &rx, error))
		return -1;
	if (rw == MAP_FAILED || rx == MAP_FAILED) {
		g_set_error(error, g_quark_from_static_string("lodge-cpu"), errno,
			    "cannot map the code cache (is execution of memory files forbidden, "
			    "vm.memfd_noexec?): %s",
			    g_strerror(errno));
		return -1;
	}
	code->buf.base = code->buf.p = rw;
	code->buf.limit = code->buf.base + code->bytes;
	code->buf.bmi2 = __builtin_cpu_supports("bmi2") != 0;
	code->rx = rx;
	return 0;
}

int code_cache_new(struct cpu_vm *vm, size_t bytes, GError **error)
{
	struct code_cache *code = g_new0(struct code_cache, 1);
	size_t blocks;

	code->vm = vm;
	vm->code = code;
	code->bytes = bytes ? bytes : CODE_CACHE_DEFAULT;
	if (code_memory(code, error))
		return -1;
	blocks = code->bytes / 128;
	code->block_max = blocks;
	code->site_max = blocks * 8;
	code->map_max = blocks * 8;
	code->insn_max = blocks;
	code->blocks = pool_new(code->block_max, sizeof(*code->blocks));
	code->sites = pool_new(code->site_max, sizeof(*code->sites));
	code->maps = pool_new(code->map_max, sizeof(*code->maps));
	code->insns = pool_new(code->insn_max, sizeof(*code->insns));
	code->hash = pool_new(CODE_HASH, sizeof(*code->hash));
	code->pages = pool_new(CODE_HASH, sizeof(*code->pages));
	code->dormant = pool_new(CODE_HASH, sizeof(*code->dormant));
	code->footprint_bytes = code->bytes / 4;
	code->footprints = pool_new(code->footprint_bytes, 1);
	code->place_max = blocks * 16;
	code->places = pool_new(code->place_max, sizeof(*code->places));
	if (!code->blocks || !code->sites || !code->maps || !code->insns || !code->hash ||
	    !code->pages || !code->dormant || !code->footprints || !code->places) {
		g_set_error(error, g_quark_from_static_string("lodge-cpu"), ENOMEM,
			    "no address space for the tables of the code cache");
		return -1;
	}
	code->verifier = verifier_new();
	insn_contract_init(&code->contract);
	lower_thunks(&code->buf, &code->thunks);
	code->start = code->buf.p;
	if (vm->config.perf_map || vm->config.jitdump) {
		code->perf_map = perf_map_new(vm->config.perf_map, vm->config.jitdump,
					      vm->config.guest_symbols, error);
		if (!code->perf_map)
			return -1;
		perf_map_add_thunks(code->perf_map, code);
	}
	return 0;
}

void code_cache_free(struct code_cache *code)
{
	if (!code)
		return;
	perf_map_free(code->perf_map);
	munmap(code->buf.base, code->bytes);
	munmap(code->rx, code->bytes);
	if (code->fd >= 0)
		close(code->fd);
	munmap(code->blocks, code->block_max * sizeof(*code->blocks));
	munmap(code->sites, code->site_max * sizeof(*code->sites));
	munmap(code->maps, code->map_max * sizeof(*code->maps));
	munmap(code->insns, code->insn_max * sizeof(*code->insns));
	munmap(code->hash, CODE_HASH * sizeof(*code->hash));
	munmap(code->pages, CODE_HASH * sizeof(*code->pages));
	munmap(code->dormant, CODE_HASH * sizeof(*code->dormant));
	munmap(code->footprints, code->footprint_bytes);
	munmap(code->places, code->place_max * sizeof(*code->places));
	saved_close(code->saved);
	verifier_free(code->verifier);
	g_free(code);
}

void code_flush(struct cpu_vm *vm, struct cpu *self)
{
	struct code_cache *code = vm->code;
	unsigned spins = 0;

	code_exclusive_begin(vm, self);
	/* a parked processor returns into a block: wait until it has */
	for (unsigned i = 0; i < vm->config.cpus; i++) {
		struct cpu *other = vm->cpus[i];

		while (other && other != self &&
		       __atomic_load_n(&other->in_code, __ATOMIC_SEQ_CST) != CODE_OUT) {
			code_exclusive_end(vm, self);
			if (++spins % 16 == 0)
				usleep(50);
			code_exclusive_begin(vm, self);
		}
	}
	code_lock(code);
	log_debug("cpu", "code cache full: %u blocks forgotten", code->block_count);
	code->flushes++;
	if (code->perf_map)
		perf_map_note_reuse(code->perf_map);
	code->buf.p = code->start;
	code->block_count = code->site_count = code->map_count = code->insn_count = 0;
	memset(code->hash, 0, CODE_HASH * sizeof(*code->hash));
	memset(code->pages, 0, CODE_HASH * sizeof(*code->pages));
	memset(code->dormant, 0, CODE_HASH * sizeof(*code->dormant));
	code->footprint_used = code->place_count = 0;
	for (unsigned i = 0; i < vm->config.cpus; i++)
		if (vm->cpus[i])
			code_jumps_flush(vm->cpus[i]);
	code_unlock(code);
	code_exclusive_end(vm, self);
}

static enum insn_mode ctx_mode(u32 ctx)
{
	switch (ctx & CTX_MODE_MASK) {
	case CTX_64: return INSN_64;
	case CTX_32: return INSN_32;
	default: return INSN_16;
	}
}

static int decode(struct cpu *cpu, enum insn_mode mode, const u8 *code, unsigned bytes,
		  struct insn *insn)
{
	return decode_cached(cpu->decoded, &cpu->vm->code->contract, mode, code, bytes, insn);
}

/* Which arithmetic flags may the code at page offset @off read before it writes them? */
static u8 look_ahead(struct cpu *cpu, const struct lowering *l, const u8 *host, s32 off)
{
	enum insn_mode mode = ctx_mode(l->block->ctx);
	u8 open = FL_ALL, live = 0;
	s32 start = off;
	struct insn insn;

	if (off < 0 || off >= (s32)PAGE_SIZE)
		return FL_ALL;
	if (l->footprint)
		footprint_range(l->footprint, off);
	for (unsigned i = 0; i < LOOKAHEAD_INSNS && open; i++) {
		int n;

		if (off >= (s32)PAGE_SIZE)
			break;
		n = decode(cpu, mode, host + off, MIN(15, PAGE_SIZE - off), &insn);
		if (n <= 0)
			break;
		off += n;
		if (l->footprint)
			footprint_seen(l->footprint, &insn);
		if (!insn.allowed || insn_needs_helper(&insn) || insn.kind == KIND_UD)
			break;
		live |= insn.flags_read & open;
		open &= ~insn.flags_written;
		if (insn.kind == KIND_JCC || insn.kind == KIND_LOOP || insn_ends_block(&insn))
			break;
	}
	l->block->lines |= code_lines(start, off > start ? off - start : 1);
	return live | open;
}

static s32 target_of(const struct lowering *l, unsigned i)
{
	return (s32)l->guest[i] + l->insns[i].len + (s32)l->insns[i].imm;
}

/* Fills live_after and live_taken at the block's ends. */
static void find_live_flags(struct cpu *cpu, struct lowering *l, const u8 *host, bool crossing)
{
	const struct insn *last = &l->insns[l->count - 1];
	enum insn_mode mode = ctx_mode(l->block->ctx);

	if (crossing || l->block->ctx & CTX_SINGLE) {
		memset(l->live_after, FL_ALL, sizeof(l->live_after));
		memset(l->live_taken, FL_ALL, sizeof(l->live_taken));
		return;
	}
	for (unsigned i = 0; i < l->count; i++) {
		const struct insn *insn = &l->insns[i];

		l->live_after[i] = FL_ALL;
		l->live_taken[i] = FL_ALL;
		if (insn->opsize == 2 && mode != INSN_64)
			continue; /* the target has 16 bits: not where target_of() says */
		if (insn->kind == KIND_JCC || insn->kind == KIND_LOOP ||
		    ((insn->kind == KIND_JMP || insn->kind == KIND_CALL) && !insn->has_modrm))
			l->live_taken[i] = look_ahead(cpu, l, host, target_of(l, i));
	}
	if (!insn_ends_block(last) || last->kind == KIND_STRING || insn_changes_context(last))
		l->live_after[l->count - 1] = look_ahead(cpu, l, host, l->guest[l->count]);
}

/* What does not decode. @len is what insn_decode() said: too long is #GP(0), by the helper of no
 * mnemonic, everything else #UD. */
static void make_invalid(struct insn *insn, int len)
{
	memset(insn, 0, sizeof(*insn));
	insn->kind = len == INSN_TOO_LONG ? KIND_HELPER : KIND_UD;
	insn->allowed = 1;
	insn->len = 1;
	insn->rm = insn->reg = insn->mem.base = insn->mem.index = REG_NONE;
}

/* Protected mode never writes through CS, whose other accesses a flat segment leaves unchecked. */
static bool writes_code_segment(const struct insn *insn, u32 ctx)
{
	return (ctx & CTX_MODE_MASK) != CTX_64 && !(ctx & CTX_REAL) && insn->mem.present &&
	       insn->mem.seg == SEG_CS && insn->mem.access & MEM_W;
}

/* Decodes an instruction whose bytes continue in the next page. False: fault. */
static bool decode_crossing(struct cpu *cpu, struct lowering *l, gva_t pc, const u8 *host,
			    struct insn *insn)
{
	struct block *block = l->block;
	unsigned first = PAGE_SIZE - block->off;
	u8 bytes[15];
	u8 *host2;
	int len;

	if (!code_fetchable(cpu, block->ctx, first + 1) ||
	    !mmu_fetch_page(cpu, (pc & PAGE_MASK) + PAGE_SIZE, &block->page2, &host2))
		return false;
	code_mark_page(cpu, block->page2);
	memcpy(bytes, host + block->off, first);
	memcpy(bytes + first, host2, sizeof(bytes) - first);
	len = decode(cpu, ctx_mode(block->ctx), bytes, sizeof(bytes), insn);
	if (len <= 0)
		make_invalid(insn, len);
	block->lines2 = 1;
	l->host2 = host2;
	return true;
}

/* Decodes the block's instructions. Returns how many, 0 with a fault pending. */
static unsigned decode_block(struct cpu *cpu, struct lowering *l, struct insn *insns, gva_t pc,
			     const u8 *host)
{
	struct block *block = l->block;
	enum insn_mode mode = ctx_mode(block->ctx);
	unsigned max = block->ctx & CTX_SINGLE ? 1 : BLOCK_MAX_INSNS;
	unsigned off = block->off, n = 0, branches = 0;

	while (n < max && off < PAGE_SIZE) {
		struct insn *insn = &insns[n];
		int len = decode(cpu, mode, host + off, MIN(15, PAGE_SIZE - off), insn);

		if (len == -1 && n)
			break;
		if (len == -1 && !decode_crossing(cpu, l, pc, host, insn))
			return 0;
		if (len == 0 || len == INSN_TOO_LONG)
			make_invalid(insn, len);
		if (writes_code_segment(insn, block->ctx)) {
			insn->mnemonic = ZYDIS_MNEMONIC_INVALID;
			insn->kind = KIND_HELPER;
		}
		l->guest[n++] = off;
		off += insn->len;
		if (len == -1 || insn_ends_block(insn))
			break;
		if (insn->kind == KIND_JCC && ++branches == MAX_BRANCHES)
			break;
	}
	l->guest[n] = off;
	block->first_bytes = insns[0].len;
	block->bytes = MIN(off, PAGE_SIZE) - block->off;
	block->lines = code_lines(block->off, block->bytes);
	block->sum = cpu->vm->config.check_blocks ? block_sum(host + block->off, block->bytes) : 0;
	return n;
}

void report_changed(struct cpu *cpu, const struct block *block)
{
	log_error("cpu",
		  "processor %u: the code at guest physical %#llx changed and its block was kept",
		  cpu->index, (unsigned long long)(block->page + block->off));
}

/* cpu_vm_config.verify_blocks */
static void verify(struct code_cache *code, const struct block *block)
{
	const char *why;

	code->verified++;
	if (block_verify(code, block, NULL, &why))
		return;
	log_error("cpu", "the block for guest physical %#llx in context %#x is unsafe: %s",
		  (unsigned long long)(block->page + block->off), block->ctx, why);
	code->refused = 1;
}

void translate_verify(struct cpu *cpu, const struct block *block)
{
	code_lock(cpu->vm->code);
	verify(cpu->vm->code, block);
	code_unlock(cpu->vm->code);
}

/* Asks for a table's next entries at once, as below. */
static void populate_table(void *base, size_t used, size_t *populated, size_t bytes)
{
	size_t more = MIN(POPULATE_BYTES, bytes - *populated);

	if (used + POPULATE_BYTES / 4 < *populated || !more)
		return;
	madvise((u8 *)base + *populated, more, MADV_POPULATE_WRITE);
	*populated += more;
}

/* Asks for the memory of the next blocks at once: page by page it costs two faults each. A host
 * that does not know how (before Linux 5.14) does nothing. */
static void populate(struct code_cache *code)
{
	size_t from = code->populated, bytes = MIN(POPULATE_BYTES, code->bytes - from);

	populate_table(code->sites, code->site_count * sizeof(*code->sites), &code->sites_populated,
		       code->site_max * sizeof(*code->sites));
	populate_table(code->blocks, code->block_count * sizeof(*code->blocks),
		       &code->blocks_populated, code->block_max * sizeof(*code->blocks));
	populate_table(code->maps, code->map_count * sizeof(*code->maps), &code->maps_populated,
		       code->map_max * sizeof(*code->maps));

	if (code->buf.p - code->buf.base + POPULATE_BYTES / 4 < from || !bytes)
		return;
	madvise(code->buf.base + from, bytes, MADV_POPULATE_WRITE);
	madvise(code->rx + from, bytes, MADV_POPULATE_READ);
	code->populated += bytes;
}

/* Where the parts of the next block go. Lock held, as for the two below. */
static void begin_block(struct code_cache *code, struct block *block)
{
	block->sites = code->site_count;
	block->map = code->maps + code->map_count;
}

static void keep_last(struct code_cache *code, struct block *block, const struct insn *insn,
		      unsigned off)
{
	block->last = &code->insns[code->insn_count++];
	*block->last = *insn;
	block->last_off = off;
}

/* All of it is written: it may be found. */
static void finish_block(struct code_cache *code, struct block *block, gva_t pc)
{
	code->site_count += block->site_count;
	code->map_count += block->maps;
	code->block_count++;
	block->valid = 1;
	if (unlikely(code->perf_map))
		perf_map_add_block(code->perf_map, code, block, pc);
	code_insert(code, block);
}

/* Has the block a way to C that wants another instruction than @last (NULL: none)? */
static bool needs_last(const struct code_cache *code, const struct block *block,
		       const struct insn *last)
{
	for (u32 i = 0; i < block->site_count; i++) {
		const struct site *s = &code->sites[block->sites + i];

		if (s->kind == SITE_HELPER && !(last && last->allowed && insn_has_helper(last)))
			return true;
		if (s->kind == SITE_FPU && !(last && last->fpu))
			return true;
	}
	return false;
}

/* The record's block->last, from the guest's code. */
static bool restore_last(struct cpu *cpu, struct block *block, const struct saved_block *record,
			 const u8 *host)
{
	struct code_cache *code = cpu->vm->code;
	struct insn insn;
	int len;

	if (record->last == SAVED_NONE)
		return !needs_last(code, block, NULL);
	if (record->last < block->off || record->last >= block->off + block->bytes)
		return false;
	len = decode(cpu, ctx_mode(block->ctx), host + record->last,
		     MIN(15, PAGE_SIZE - record->last), &insn);
	if (len <= 0 || needs_last(code, block, &insn))
		return false;
	keep_last(code, block, &insn, record->last);
	return true;
}

/* Makes the block from its record, with the lock held. False: it is not safe. */
static bool make_saved(struct cpu *cpu, struct block *block, const struct saved_block *record,
		       const u64 *values, const u8 *host, gva_t pc)
{
	struct code_cache *code = cpu->vm->code;
	u8 *start = code->buf.p;
	u32 insns = code->insn_count;

	begin_block(code, block);
	if (!saved_place(code, record, values, block) || !restore_last(cpu, block, record, host)) {
		code->buf.p = start;
		code->insn_count = insns;
		return false;
	}
	if (unlikely(cpu->vm->config.verify_blocks))
		verify(code, block);
	block->sum = cpu->vm->config.check_blocks ? block_sum(host + block->off, block->bytes) : 0;
	finish_block(code, block, pc);
	return true;
}

/* A copy of the draft for as long as its block lives, or NULL: no room. Lock held. */
static struct footprint *keep_footprint(struct code_cache *code,
					const struct footprint_draft *draft)
{
	size_t fields = draft->print.fields * sizeof(*draft->field);
	size_t moves = draft->print.moves * sizeof(*draft->move);
	size_t bytes = ALIGN_UP(sizeof(struct footprint) + fields + moves + draft->print.bytes, 8);
	struct footprint *f;

	if (bytes > code->footprint_bytes - code->footprint_used)
		return NULL;
	f = (void *)(code->footprints + code->footprint_used);
	code->footprint_used += bytes;
	*f = draft->print;
	f->field = (void *)(f + 1);
	f->move = (void *)((u8 *)f->field + fields);
	f->byte = (u8 *)f->move + moves;
	memcpy(f->field, draft->field, fields);
	memcpy(f->move, draft->move, moves);
	memcpy(f->byte, draft->byte, draft->print.bytes);
	return f;
}

/* A block that an earlier run of the guest has made from these bytes, or NULL. */
static struct block *take_saved(struct cpu *cpu, const struct block *fresh, const u8 *host,
				gva_t pc)
{
	struct code_cache *code = cpu->vm->code;
	u64 values[FOOTPRINT_MAX_VALUES], started = __builtin_ia32_rdtsc();
	const struct saved_block *record;
	struct block *block = NULL;
	u32 writes;

	if (!code->saved || fresh->ctx & CTX_SINGLE)
		return NULL;
	code_mark_page(cpu, fresh->page);
	writes = __atomic_load_n(&code->writes, __ATOMIC_ACQUIRE);
	record = saved_find(code->saved, fresh->off, fresh->ctx, host, values);
	if (!record)
		return NULL;
	code_lock(code);
	if (writes == code->writes && code_has_room(code)) {
		populate(code);
		block = &code->blocks[code->block_count];
		*block = *fresh;
		if ((*saved_use(code->saved, record) == SAVED_UNKNOWN &&
		     !saved_check(code, record)) ||
		    !make_saved(cpu, block, record, values, host, pc)) {
			*saved_use(code->saved, record) = SAVED_BAD;
			cpu->stats[STAT_SAVED_BAD]++;
			block = NULL;
		} else {
			*saved_use(code->saved, record) = SAVED_USED;
		}
	}
	code_unlock(code);
	if (block) {
		cpu->stats[STAT_SAVED]++;
		cpu->stats[STAT_SAVED_INSNS] += block->insns;
	}
	cpu->stats[STAT_SAVED_TICKS] += __builtin_ia32_rdtsc() - started;
	return block;
}

struct block *translate(struct cpu *cpu, gva_t pc, gpa_t page, const u8 *host, u32 ctx)
{
	struct code_cache *code = cpu->vm->code;
	struct insn insns[BLOCK_MAX_INSNS];
	struct block fresh = { .page = page, .page2 = ~0ull, .off = pc & ~PAGE_MASK, .ctx = ctx };
	struct lowering l = { .buf = &code->buf,
			      .thunks = &code->thunks,
			      .insns = insns,
			      .plain = cpu->vm->config.plain };
	struct footprint_draft draft;
	u64 started = __builtin_ia32_rdtsc();
	struct block *block;
	u32 writes;

	block = take_saved(cpu, &fresh, host, pc);
	if (block)
		return block;
	l.block = &fresh;
	do {
		/* a write that lands while the bytes are being read is noticed here or, once
		 * the block is in the tables, invalidates it */
		if (l.count)
			code_unlock(code);
		code_mark_page(cpu, page);
		writes = __atomic_load_n(&code->writes, __ATOMIC_ACQUIRE);
		l.count = decode_block(cpu, &l, insns, pc, host);
		if (!l.count)
			return NULL;
		code_lock(code);
	} while (writes != code->writes);
	if (!code_has_room(code)) {
		code_unlock(code);
		return NULL;
	}
	populate(code);
	block = &code->blocks[code->block_count];
	*block = fresh;
	l.block = block;
	if (!(ctx & CTX_SINGLE) && block->page2 == ~0ull &&
	    (code->recording || dormant_page(cpu->vm, page))) {
		l.footprint = &draft;
		footprint_begin(&draft);
		footprint_block(&draft, &l);
	}
	find_live_flags(cpu, &l, host, block->page2 != ~0ull);
	l.sites = code->sites + code->site_count;
	l.first_site = code->site_count;
	begin_block(code, block);
	if (l.footprint && code->recording &&
	    code->place_count + BLOCK_MAX_PLACES < code->place_max)
		l.places = code->places + code->place_count;
	while ((uintptr_t)code->buf.p & 15)
		e8(&code->buf, 0xcc);
	lower_block(&l);
	if (unlikely(cpu->vm->config.verify_blocks))
		verify(code, block);
	if (insn_has_helper(&insns[l.count - 1]) ||
	    (ctx & CTX_SINGLE && insn_is_near_branch(&insns[l.count - 1])))
		keep_last(code, block, &insns[l.count - 1], l.guest[l.count - 1]);
	if (insns[block->insns - 1].fpu) /* SITE_FPU wants to know which kind */
		keep_last(code, block, &insns[block->insns - 1], l.guest[block->insns - 1]);
	if (l.footprint && footprint_end(&draft))
		block->footprint = keep_footprint(code, &draft);
	if (block->footprint && l.places && l.place_count < BLOCK_MAX_PLACES) {
		block->recorded = 1;
		block->places = code->place_count;
		block->place_count = l.place_count;
		code->place_count += l.place_count;
	} else if (code->recording && !(ctx & CTX_SINGLE)) {
		cpu->stats[STAT_UNSAVED]++;
	}
	finish_block(code, block, pc);
	code_unlock(code);
	cpu->stats[STAT_BLOCKS]++;
	cpu->stats[STAT_INSNS] += block->insns;
	cpu->stats[STAT_GUEST_BYTES] += block->bytes;
	cpu->stats[STAT_HOST_BYTES] += block->code_end - block->code;
	cpu->stats[STAT_TRANSLATION_TICKS] += __builtin_ia32_rdtsc() - started;
	return block;
}
