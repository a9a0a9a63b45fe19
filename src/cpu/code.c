/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding, binding and invalidating translated blocks, and the exclusive sections in which that is
 * safe. Hot: called while the guest's vector registers are live.
 */
#include "cpu/code.h"

#include "cpu/bytes.h"
#include "cpu/run.h"
#include "cpu/x86/footprint.h"

#include <sys/syscall.h>

void code_yield(void)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(SYS_sched_yield) : "rcx", "r11", "memory");
}

static void relax(unsigned *spins)
{
	if (++*spins % 64)
		__builtin_ia32_pause();
	else
		code_yield();
}

void code_lock(struct code_cache *code)
{
	unsigned spins = 0;

	while (__atomic_exchange_n(&code->lock, 1, __ATOMIC_ACQUIRE))
		while (__atomic_load_n(&code->lock, __ATOMIC_RELAXED))
			relax(&spins);
}

void code_unlock(struct code_cache *code)
{
	__atomic_store_n(&code->lock, 0, __ATOMIC_RELEASE);
}

/* ---- who is where ---------------------------------------------------------------------------- */

static u32 exclusive_id(const struct cpu *self)
{
	return self ? self->index + 1 : ~0u;
}

void code_enter(struct cpu *cpu)
{
	struct code_cache *code = cpu->vm->code;
	u32 before = __atomic_load_n(&cpu->in_code, __ATOMIC_RELAXED);
	unsigned spins = 0;
	u32 holder;

	for (;;) {
		__atomic_store_n(&cpu->in_code, CODE_IN, __ATOMIC_SEQ_CST);
		holder = __atomic_load_n(&code->exclusive, __ATOMIC_SEQ_CST);
		if (likely(!holder || holder == exclusive_id(cpu)))
			return;
		__atomic_store_n(&cpu->in_code, before, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&code->exclusive, __ATOMIC_SEQ_CST))
			relax(&spins);
	}
}

void code_leave(struct cpu *cpu, enum code_presence presence)
{
	__atomic_store_n(&cpu->in_code, presence, __ATOMIC_SEQ_CST);
}

void code_exclusive_begin(struct cpu_vm *vm, struct cpu *self)
{
	struct code_cache *code = vm->code;
	unsigned spins = 0;
	u32 free = 0;

	if (self && __atomic_load_n(&code->exclusive, __ATOMIC_RELAXED) == exclusive_id(self)) {
		self->exclusive_depth++;
		return;
	}
	while (!__atomic_compare_exchange_n(&code->exclusive, &free, exclusive_id(self), false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		free = 0;
		relax(&spins);
	}
	for (unsigned i = 0; i < vm->config.cpus; i++) {
		struct cpu *other = __atomic_load_n(&vm->cpus[i], __ATOMIC_ACQUIRE);

		if (!other || other == self)
			continue;
		while (__atomic_load_n(&other->in_code, __ATOMIC_SEQ_CST) == CODE_IN) {
			__atomic_store_n(&other->exit_request, 1, __ATOMIC_SEQ_CST);
			relax(&spins);
		}
	}
}

void code_exclusive_end(struct cpu_vm *vm, struct cpu *self)
{
	if (self && self->exclusive_depth) {
		self->exclusive_depth--;
		return;
	}
	__atomic_store_n(&vm->code->exclusive, 0, __ATOMIC_SEQ_CST);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static unsigned hash_slot(gpa_t page, unsigned off, u32 ctx)
{
	u64 h = (page + off + ctx * 0x85ebca6b00ull) * 0x9e3779b97f4a7c15ull;

	return (h >> 40) % CODE_HASH;
}
static unsigned page_slot(gpa_t page)
{
	return ((page >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> 40) % CODE_HASH;
}

struct block *code_find(struct code_cache *code, gpa_t page, unsigned off, u32 ctx, gpa_t page2)
{
	struct block *b;

	for (b = code->hash[hash_slot(page, off, ctx)]; b; b = b->hash_next)
		if (code_same_place(b, page, off, ctx) && b->valid &&
		    (page2 == ANY_PAGE || b->page2 == page2))
			return b;
	return NULL;
}

void code_insert(struct code_cache *code, struct block *block)
{
	struct block **slot = &code->hash[hash_slot(block->page, block->off, block->ctx)];

	block->hash_next = *slot;
	*slot = block;
	slot = &code->pages[page_slot(block->page)];
	block->page_next = *slot;
	*slot = block;
	if (block->page2 != ~0ull && page_slot(block->page2) != page_slot(block->page)) {
		slot = &code->pages[page_slot(block->page2)];
		block->page2_next = *slot;
		*slot = block;
	}
}

static void patch_code(struct code_cache *code, u32 at, u32 target)
{
	s32 d = (s32)target - (s32)(at + 4);

	__atomic_store_n((s32 *)(code->buf.base + at), d, __ATOMIC_RELEASE);
}

void code_bind(struct code_cache *code, struct site *site, struct block *to)
{
	bool host;

	if (site->to || !site->block->valid || !to->valid)
		return;
	host = site->form == FLAGS_HOST || (site->form != FLAGS_SAVED && to->prefers == FLAGS_HOST);
	site->to = to;
	site->next_in = to->in;
	to->in = site;
	patch_code(code, site->patch, host ? to->entry_host : to->entry_saved);
}

static void unlink_from_list(struct site **list, struct site *site)
{
	for (; *list; list = &(*list)->next_in) {
		if (*list == site) {
			*list = site->next_in;
			return;
		}
	}
}

/* Jump caches may still hold the block: its entry becomes the way out. What is a block for one
 * entry only is in none; and it may be parked in its first access, so close behind its entry that
 * it would return into the way out. */
void code_make_stale(struct code_cache *code, const struct block *block)
{
	struct code_buf at = { .base = code->buf.base, .p = code->buf.base + block->entry_saved };

	if (block->ctx & CTX_SINGLE)
		return;
	if (block->footprint)
		copy_few(block->footprint->entry, at.p, BLOCK_MIN_CODE);
	emit_stale(&at, &code->thunks, block->off);
}

/* Frames on shadow stacks may still hold a return site's address. */
static void make_return_stale(struct code_cache *code, const struct site *s)
{
	struct code_buf at = { .base = code->buf.base, .p = code->buf.base + s->patch };
	struct footprint *f = s->block->footprint;

	if (f)
		copy_few(f->back, at.p, sizeof(f->back));
	e_jmp_to(&at, at.base + code->thunks.return_stale);
}

struct block **code_dormant_slot(struct code_cache *code, gpa_t page, unsigned off, u32 ctx)
{
	return &code->dormant[hash_slot(page, off, ctx)];
}

/* Blocks of one place that may sleep; the oldest is forgotten. */
#define DORMANT_MAX 4

static void fall_asleep(struct code_cache *code, struct block *block)
{
	struct block **slot = code_dormant_slot(code, block->page, block->off, block->ctx);
	struct block **link;
	unsigned same = 1;

	block->hash_next = *slot;
	*slot = block;
	for (link = &block->hash_next; *link; link = &(*link)->hash_next) {
		if (code_same_place(*link, block->page, block->off, block->ctx) &&
		    ++same > DORMANT_MAX) {
			*link = (*link)->hash_next;
			break;
		}
	}
}

/* Nobody executes translated code now. */
static void invalidate_block(struct code_cache *code, struct block *block)
{
	struct block **slot;

	block->valid = 0;
	code->invalidated++;
	while (block->in) {
		struct site *s = block->in;

		block->in = s->next_in;
		s->to = NULL;
		patch_code(code, s->patch, s->stub);
	}
	for (u32 i = 0; i < block->site_count; i++) {
		struct site *s = &code->sites[block->sites + i];

		if (s->to) {
			unlink_from_list(&s->to->in, s);
			s->to = NULL;
			patch_code(code, s->patch, s->stub);
		}
		if (s->kind == SITE_RETURN)
			make_return_stale(code, s);
	}
	code_make_stale(code, block); /* last: a link's field may lie in the bytes it overwrites */
	for (slot = &code->hash[hash_slot(block->page, block->off, block->ctx)]; *slot;
	     slot = &(*slot)->hash_next) {
		if (*slot == block) {
			*slot = block->hash_next;
			break;
		}
	}
	if (block->footprint)
		fall_asleep(code, block);
}

/* How chain number @slot continues behind @b, which may be in two chains. */
static struct block **page_link(struct block *b, unsigned slot)
{
	return page_slot(b->page) == slot ? &b->page_next : &b->page2_next;
}

static bool depends_on(const struct block *b, gpa_t page, u64 lines)
{
	return b->valid && ((b->page == page && (b->lines & lines)) ||
			    (b->page2 == page && (b->lines2 & lines)));
}

/* Does any block depend on these bytes? Lock held. */
static bool page_affected(struct code_cache *code, gpa_t page, u64 lines)
{
	unsigned slot = page_slot(page);

	for (struct block *b = code->pages[slot]; b; b = *page_link(b, slot))
		if (depends_on(b, page, lines))
			return true;
	return false;
}

static void invalidate_lines(struct code_cache *code, gpa_t page, u64 lines)
{
	unsigned slot = page_slot(page);
	struct block **link = &code->pages[slot];

	while (*link) {
		struct block *b = *link;

		if (depends_on(b, page, lines))
			invalidate_block(code, b);
		if (b->valid)
			link = page_link(b, slot);
		else
			*link = *page_link(b, slot);
	}
}

/* The processor running on this thread, if any. Any other thread may write guest memory as well. */
static struct cpu *self_on_this_thread(struct cpu_vm *vm)
{
	return signals_current(vm);
}

static u32 *page_info(struct cpu_vm *vm, gpa_t gpa)
{
	const struct ram_slot *slot;

	return ram_ptr(vm, gpa, &slot) ? &slot->info[(gpa - slot->gpa) >> PAGE_SHIFT] : NULL;
}

/* A page that is written again and again is data by now, whatever ran from it: give it back. */
#define WRITES_BEFORE_DATA 2

static bool page_turned_data(u32 *info)
{
	u32 writes = __atomic_add_fetch(info, PAGE_WRITES_ONE, __ATOMIC_RELAXED) & PAGE_WRITES_MASK;

	return writes >= WRITES_BEFORE_DATA * PAGE_WRITES_ONE;
}

/* Stops the others, drops the blocks that depend on @lines (all: the page is plain data again). */
static void drop_lines(struct cpu_vm *vm, gpa_t page, u64 lines, u32 *info)
{
	struct code_cache *code = vm->code;
	struct cpu *self = self_on_this_thread(vm);
	u32 presence = self ? self->in_code : CODE_OUT;

	if (presence == CODE_IN)
		code_leave(self, CODE_PARKED);
	code_exclusive_begin(vm, self);
	code_lock(code);
	invalidate_lines(code, page, lines);
	if (lines != ~0ull && !page_affected(code, page, ~0ull))
		lines = ~0ull; /* none is left */
	/* again: who was parked in a translation since the first time must not use it */
	__atomic_store_n(&code->writes, code->writes + 1, __ATOMIC_RELEASE);
	__atomic_fetch_or(info, PAGE_REWRITTEN, __ATOMIC_SEQ_CST);
	if (lines == ~0ull)
		__atomic_fetch_and(info, ~(PAGE_HAS_CODE | PAGE_WRITES_MASK), __ATOMIC_SEQ_CST);
	code_unlock(code);
	if (presence == CODE_IN)
		code_leave(self, CODE_IN);
	code_exclusive_end(vm, self);
	if (self)
		self->stats[STAT_INVALIDATIONS]++;
}

void code_written(struct cpu_vm *vm, gpa_t gpa, unsigned bytes)
{
	struct code_cache *code = vm->code;

	while (bytes) {
		gpa_t page = gpa & PAGE_MASK;
		unsigned off = gpa & ~PAGE_MASK;
		unsigned n = MIN(bytes, PAGE_SIZE - off);
		u32 *info = page_info(vm, page);
		u64 lines = code_lines(off, n);
		bool hit;

		if (info && page_turned_data(info))
			lines = ~0ull;
		code_lock(code);
		__atomic_store_n(&code->writes, code->writes + 1, __ATOMIC_RELEASE);
		hit = page_affected(code, page, lines);
		code_unlock(code);
		if (info && (hit || lines == ~0ull))
			drop_lines(vm, page, lines, info);
		gpa += n;
		bytes -= n;
	}
}

/* ---- epochs ---------------------------------------------------------------------------------- */

static unsigned pcid_now(const struct cpu *cpu)
{
	return cpu->cr4 & CR4_PCIDE ? cpu->cr3 & 0xfff : 0;
}

static void epochs_restart(struct cpu *cpu)
{
	struct epochs *e = &cpu->epochs;

	for (unsigned i = 0; e->last && i < JC_ENTRIES; i++) /* if not, they are fresh memory */
		cpu->jc[i].ctx = 0;
	clear_bytes(e, sizeof(*e)); /* a large initializer would be a call */
	e->now[0] = 1;
	e->now[1] = e->last = 2;
	cpu->shadow_key[JC_KERNEL] = cpu->shadow_key[JC_USER] = 0;
}

static void kernel_epoch(struct cpu *cpu)
{
	struct epochs *e = &cpu->epochs;

	if (e->last >= 0xffff) {
		epochs_restart(cpu);
		return;
	}
	e->now[JC_KERNEL] = ++e->last;
	e->local_kernel = false;
}

/* A new epoch for the user code of the current PCID. */
static void user_epoch(struct cpu *cpu)
{
	struct epochs *e = &cpu->epochs;
	unsigned pcid = pcid_now(cpu);

	if (e->last >= 0xffff) {
		epochs_restart(cpu);
		return;
	}
	e->now[JC_USER] = ++e->last;
	e->kept[pcid % EPOCH_PCIDS].pcid = pcid;
	e->kept[pcid % EPOCH_PCIDS].epoch = e->last;
	clear_bytes(e->kept[pcid % EPOCH_PCIDS].pages, sizeof(e->kept[0].pages));
}

static u64 *noted_page(struct cpu *cpu, gva_t gva, u64 *bit)
{
	u64 *pages = cpu->epochs.kept[pcid_now(cpu) % EPOCH_PCIDS].pages;
	unsigned n = gva >> PAGE_SHIFT;

	*bit = BIT(n % 64);
	return &pages[n / 64 % ARRAY_LEN(cpu->epochs.kept[0].pages)];
}

void code_jumps_note(struct cpu *cpu, gva_t pc)
{
	u64 bit, *word = noted_page(cpu, pc, &bit);

	*word |= bit;
}

static bool has_run(struct cpu *cpu, gva_t gva)
{
	u64 bit, *word = noted_page(cpu, gva, &bit);

	return *word & bit;
}

void code_jumps_flush(struct cpu *cpu)
{
	for (unsigned i = 0; i < EPOCH_PCIDS; i++)
		cpu->epochs.kept[i].epoch = 0;
	cpu->epochs.global_user = false;
	kernel_epoch(cpu);
	user_epoch(cpu);
}

void code_jumps_flush_page(struct cpu *cpu, gva_t gva, bool large)
{
	if ((s64)gva < 0 || cpu->epochs.global_user) {
		code_jumps_flush(cpu);
		return;
	}
	/* a kernel that frees a process's memory names every page of it, and few hold code */
	if (!large && !cpu->epochs.local_kernel && !has_run(cpu, gva))
		return;
	user_epoch(cpu);
	if (cpu->epochs.local_kernel)
		kernel_epoch(cpu);
}

void code_jumps_switch(struct cpu *cpu, bool keep)
{
	struct epochs *e = &cpu->epochs;
	unsigned pcid = pcid_now(cpu), slot = pcid % EPOCH_PCIDS;

	if (keep && e->kept[slot].pcid == pcid && e->kept[slot].epoch)
		e->now[JC_USER] = e->kept[slot].epoch;
	else
		user_epoch(cpu);
	if (e->local_kernel)
		kernel_epoch(cpu);
}

bool code_epoch_lives(const struct cpu *cpu, u32 epoch)
{
	const struct epochs *e = &cpu->epochs;

	for (unsigned i = 0; i < EPOCH_PCIDS; i++)
		if (epoch && e->kept[i].epoch == epoch)
			return true;
	return epoch == e->now[JC_KERNEL] || epoch == e->now[JC_USER];
}

struct block *code_block_at(struct code_cache *code, u64 pc)
{
	u32 off = pc - (u64)(uintptr_t)code->rx;
	u32 lo = 0, hi = code->block_count;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (code->blocks[mid].code_end <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < code->block_count && code->blocks[lo].code <= off)
		return &code->blocks[lo];
	return NULL;
}

bool code_has_room(const struct code_cache *code)
{
	const size_t most = sizeof(struct block) + BLOCK_MAX_SITES * sizeof(struct site) +
			    BLOCK_MAX_MAPS * sizeof(struct host_map) + 2 * sizeof(struct insn);

	return (size_t)(code->buf.limit - code->buf.p) > BLOCK_MAX_CODE &&
	       code_table_bytes(code) + most <= code->bytes &&
	       code->block_count < code->block_max &&
	       code->site_count + BLOCK_MAX_SITES < code->site_max &&
	       code->map_count + BLOCK_MAX_MAPS < code->map_max &&
	       code->insn_count < code->insn_max;
}

/* ---- pages that hold code -------------------------------------------------------------------- */

bool code_page_marked(struct cpu_vm *vm, gpa_t page)
{
	u32 *info = page_info(vm, page);
	u32 now = info ? __atomic_load_n(info, __ATOMIC_SEQ_CST) : 0;

	return now & PAGE_HAS_CODE && !(now & PAGE_WRITERS);
}

void code_mark_page(struct cpu *cpu, gpa_t page)
{
	const struct ram_slot *slot;
	u8 *host = ram_ptr(cpu->vm, page, &slot);
	bool shared = cpu->vm->config.cpus > PAGE_WRITER_BITS; /* a bit stands for several */
	u32 own = shared ? 0 : PAGE_WRITER(cpu->index), *info, old;

	if (!host)
		return;
	info = &slot->info[(page - slot->gpa) >> PAGE_SHIFT];
	/* marked, but with writers: whoever marked it is still waiting to take their entries away
	 */
	old = __atomic_load_n(info, __ATOMIC_SEQ_CST);
	if (old & PAGE_WRITES_MASK) /* it is code indeed */
		__atomic_fetch_and(info, ~PAGE_WRITES_MASK, __ATOMIC_RELAXED);
	if ((old & PAGE_HAS_CODE) && !(old & PAGE_WRITERS))
		return;
	old = __atomic_fetch_or(info, PAGE_HAS_CODE, __ATOMIC_SEQ_CST);
	if (old & PAGE_WRITERS & ~own) {
		/* another processor may write the page directly: take its entries away */
		code_leave(cpu, CODE_PARKED);
		code_exclusive_begin(cpu->vm, cpu);
		cpu->vm->tags_taken++;
		for (unsigned i = 0; i < cpu->vm->config.cpus; i++)
			if (cpu->vm->cpus[i])
				tlb_revoke_write(cpu->vm->cpus[i], host);
		__atomic_fetch_and(info, ~PAGE_WRITERS, __ATOMIC_SEQ_CST);
		/* while this one was parked the page may have been made data again */
		__atomic_fetch_or(info, PAGE_HAS_CODE, __ATOMIC_SEQ_CST);
		code_leave(cpu, CODE_IN);
		code_exclusive_end(cpu->vm, cpu);
	} else if (old & own) {
		tlb_revoke_write(cpu, host);
		__atomic_fetch_and(info, ~own, __ATOMIC_SEQ_CST);
	}
}
