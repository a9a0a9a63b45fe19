// SPDX-License-Identifier: GPL-2.0-or-later
#include "cpu/dormant.h"

#include "cpu/bytes.h"

bool dormant_page(struct cpu_vm *vm, gpa_t page)
{
	const struct ram_slot *slot;

	return !(vm->config.plain & CPU_PLAIN_SLEEP) && ram_ptr(vm, page, &slot) &&
	       __atomic_load_n(&slot->info[(page - slot->gpa) >> PAGE_SHIFT], __ATOMIC_RELAXED) &
		       PAGE_REWRITTEN;
}

/* Is a processor somewhere in translated code, waiting? It may be in any block, valid or not. */
static bool others_parked(const struct cpu *self)
{
	const struct cpu_vm *vm = self->vm;

	for (unsigned i = 0; i < vm->config.cpus; i++) {
		const struct cpu *other = __atomic_load_n(&vm->cpus[i], __ATOMIC_ACQUIRE);

		if (other && other != self &&
		    __atomic_load_n(&other->in_code, __ATOMIC_SEQ_CST) != CODE_OUT)
			return true;
	}
	return false;
}

static void open_entries(struct code_cache *code, const struct block *block)
{
	copy_few(code->buf.base + block->entry_saved, block->footprint->entry, BLOCK_MIN_CODE);
}

static bool same_values(const struct footprint *f, const u8 *code, const u64 *values)
{
	for (unsigned i = 0; i < f->fields + f->moves; i++) {
		unsigned bytes, host = footprint_place(f, i, &bytes);

		if (host && load_bytes(code + host, bytes) != values[i])
			return false;
	}
	return true;
}

static void write_values(const struct footprint *f, u8 *code, const u64 *values)
{
	for (unsigned i = 0; i < f->fields + f->moves; i++) {
		unsigned bytes, host = footprint_place(f, i, &bytes);

		if (host)
			store_bytes(code + host, values[i], bytes);
	}
}

/* Opens the block with its immediates and addresses. False: they have changed, and somebody may be
 * executing it.
 */
static bool take_values(struct cpu *cpu, struct block *block, const u64 *values)
{
	const struct footprint *f = block->footprint;
	u8 *code = cpu->vm->code->buf.base + block->code;

	open_entries(cpu->vm->code, block); /* whose bytes may hold some of them */
	if (same_values(f, code, values))
		return true;
	if (others_parked(cpu)) {
		code_make_stale(cpu->vm->code, block);
		return false;
	}
	write_values(f, code, values);
	return true;
}

static void open_return(struct code_cache *code, const struct block *block)
{
	for (u32 i = 0; i < block->site_count; i++) {
		const struct site *s = &code->sites[block->sites + i];

		if (s->kind == SITE_RETURN)
			copy_few(code->buf.base + s->patch, block->footprint->back,
				 sizeof(block->footprint->back));
	}
}

static struct block *wake_locked(struct cpu *cpu, gpa_t page, unsigned off, u32 ctx, const u8 *host)
{
	struct code_cache *code = cpu->vm->code;
	struct block **link = code_dormant_slot(code, page, off, ctx);
	u64 values[FOOTPRINT_MAX_VALUES];

	for (; *link; link = &(*link)->hash_next) {
		struct block *block = *link;

		if (!code_same_place(block, page, off, ctx) ||
		    !footprint_fits(block->footprint, host, values) ||
		    !take_values(cpu, block, values))
			continue;
		*link = block->hash_next;
		open_return(code, block);
		block->valid = 1;
		if (cpu->vm->config.check_blocks)
			block->sum = block_sum(host + off, block->bytes);
		code_insert(code, block);
		return block;
	}
	return NULL;
}

static bool may_wake(struct code_cache *code, gpa_t page, unsigned off, u32 ctx)
{
	const struct block *b;

	code_lock(code);
	for (b = *code_dormant_slot(code, page, off, ctx); b; b = b->hash_next)
		if (code_same_place(b, page, off, ctx))
			break;
	code_unlock(code);
	return b;
}

struct block *dormant_wake(struct cpu *cpu, gpa_t page, unsigned off, u32 ctx, const u8 *host)
{
	struct code_cache *code = cpu->vm->code;
	struct block *block = NULL;

	if (ctx & CTX_SINGLE || !dormant_page(cpu->vm, page))
		return NULL;
	code_mark_page(cpu, page);
	if (!may_wake(code, page, off, ctx))
		return NULL;
	code_leave(cpu, CODE_PARKED);
	code_exclusive_begin(cpu->vm, cpu);
	code_lock(code);
	/* while this one was parked the page may have been made data again */
	if (code_page_marked(cpu->vm, page))
		block = wake_locked(cpu, page, off, ctx, host);
	code_unlock(code);
	code_leave(cpu, CODE_IN);
	code_exclusive_end(cpu->vm, cpu);
	if (block)
		cpu->stats[STAT_WOKEN]++;
	return block;
}
