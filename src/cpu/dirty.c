/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages the processors write, while somebody wants to know.
 *
 * A page counts as written when a processor gets a write tag for it, because from then on it writes
 * without a word, and when it is written without one (commit_ram() in mmu.c). Who collects takes
 * all write tags away, so that the next write to each page is heard of again. While nobody wants to
 * know this costs nothing: tags are given as always.
 *
 * Why no write is lost: a processor notes the page before it has the tag, and stores in the same
 * stay in the code (CODE_IN); tags are taken, and notes read, in an exclusive section, when nobody
 * is there. Where a processor was parked in between, it does not go on with what it had: tags_taken
 * tells.
 */
#include "cpu/code.h"

#include <errno.h>

/* Exclusive. The next write to each page of @slot comes to mmu.c. */
static void take_tags(struct cpu_vm *vm, const struct ram_slot *slot)
{
	vm->tags_taken++;
	for (unsigned i = 0; i < vm->config.cpus; i++)
		if (vm->cpus[i])
			tlb_revoke_writes(vm->cpus[i], slot->hva, slot->bytes);
}

static void clear(struct ram_slot *slot)
{
	for (u64 i = 0; i < dirty_words(slot); i++)
		slot->dirty[i] = 0;
}

int cpu_vm_dirty_start(struct cpu_vm *vm)
{
	code_exclusive_begin(vm, NULL);
	for (unsigned i = 0; i < vm->slot_count; i++) {
		struct ram_slot *slot = &vm->slots[i];

		if (!slot->dirty)
			slot->dirty = g_new0(u64, dirty_words(slot));
		clear(slot);
		take_tags(vm, slot);
	}
	vm->logging = true;
	code_exclusive_end(vm, NULL);
	return 0;
}

void cpu_vm_dirty_stop(struct cpu_vm *vm)
{
	code_exclusive_begin(vm, NULL);
	vm->logging = false;
	code_exclusive_end(vm, NULL);
}

static bool any(const struct ram_slot *slot)
{
	for (u64 i = 0; i < dirty_words(slot); i++)
		if (__atomic_load_n(&slot->dirty[i], __ATOMIC_SEQ_CST))
			return true;
	return false;
}

/* Processors stand only if there is something to tell. */
int cpu_vm_dirty_collect(struct cpu_vm *vm, unsigned slot, u64 *pages)
{
	struct ram_slot *s = &vm->slots[slot];

	if (!vm->logging || slot >= vm->slot_count)
		return -EINVAL;
	if (!any(s))
		return 0;
	code_exclusive_begin(vm, NULL);
	take_tags(vm, s);
	for (u64 i = 0; i < dirty_words(s); i++)
		pages[i] |= s->dirty[i];
	clear(s);
	code_exclusive_end(vm, NULL);
	return 0;
}
