// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the software CPU counted, for people who ask where the time goes.
 *
 * Counting is always on: a counter is one increment on a path that has left translated code, or
 * makes some. Each processor's counters are written by its own thread alone and may be read by
 * any; numbers read while the guest runs belong to slightly different moments.
 */
#include "cpu/code.h"
#include "cpu/x86/decode_cache.h"

#include <Zydis/Zydis.h>

_Static_assert(ZYDIS_MNEMONIC_MAX_VALUE < STAT_MNEMONICS, "grow cpu->helper_counts");
_Static_assert(SITE_NEXT < STAT_SITES, "grow cpu->exit_counts");

static void visit_counter(const u64 *counter, const char *group, const char *name,
			  cpu_counter_fn *visit, void *opaque)
{
	u64 value = __atomic_load_n(counter, __ATOMIC_RELAXED);

	if (value)
		visit(opaque, group, name, value);
}

static void visit_helpers(const struct cpu *cpu, cpu_counter_fn *visit, void *opaque)
{
	for (unsigned i = 0; i <= ZYDIS_MNEMONIC_MAX_VALUE; i++) {
		const char *name = i ? ZydisMnemonicGetString(i) : "invalid";

		visit_counter(&cpu->helper_counts[i], "helpers", name, visit, opaque);
	}
}

void cpu_counters(const struct cpu *cpu, cpu_counter_fn *visit, void *opaque)
{
	static const char *const names[STAT_COUNT] = {
		[STAT_BLOCKS] = "blocks-translated",
		[STAT_INSNS] = "instructions-translated",
		[STAT_GUEST_BYTES] = "guest-bytes-translated",
		[STAT_HOST_BYTES] = "host-bytes-made",
		[STAT_LOOKUPS] = "block-lookups",
		[STAT_TLB_FILLS] = "tlb-misses",
		[STAT_SLOW] = "slow-accesses",
		[STAT_MADE] = "made-accesses",
		[STAT_HELPERS] = "helper-calls",
		[STAT_FAULTS] = "exceptions",
		[STAT_INTERRUPTS] = "interrupts",
		[STAT_POLLS] = "polls",
		[STAT_LINKS] = "links",
		[STAT_SIGNALS] = "host-signals",
		[STAT_HALTS] = "halts",
		[STAT_NOGROUP] = "groups-refused",
		[STAT_MMIO] = "mmio-accesses",
		[STAT_PIO] = "port-accesses",
		[STAT_MSR] = "apic-msr-accesses",
		[STAT_INVALIDATIONS] = "code-overwritten",
		[STAT_WOKEN] = "blocks-woken",
		[STAT_SAVED] = "blocks-from-cache",
		[STAT_SAVED_INSNS] = "instructions-from-cache",
		[STAT_SAVED_BAD] = "blocks-refused",
		[STAT_UNSAVED] = "blocks-not-cacheable",
	};
	static const char *const sites[STAT_SITES] = {
		[SITE_LINK] = "direct-jump", [SITE_POLL] = "poll",     [SITE_MEM] = "memory",
		[SITE_SLOW] = "slow-access", [SITE_HELPER] = "helper", [SITE_UD] = "undefined",
		[SITE_FPU] = "fpu",          [SITE_NEXT] = "single",   [SITE_ALONE] = "alone",
	};
	char vector[8];
	u64 us, misses, saved;

	for (unsigned i = 0; i < STAT_COUNT; i++)
		if (names[i])
			visit_counter(&cpu->stats[i], "events", names[i], visit, opaque);
	us = (unsigned __int128)__atomic_load_n(&cpu->stats[STAT_TRANSLATION_TICKS],
						__ATOMIC_RELAXED) *
	     1000000 / cpu->vm->tsc_hz;
	visit_counter(&us, "events", "translation-us", visit, opaque);
	saved = (unsigned __int128)__atomic_load_n(&cpu->stats[STAT_SAVED_TICKS],
						   __ATOMIC_RELAXED) *
		1000000 / cpu->vm->tsc_hz;
	visit_counter(&saved, "events", "from-cache-us", visit, opaque);
	misses = decode_cache_misses(cpu->decoded);
	visit_counter(&misses, "events", "decode-misses", visit, opaque);
	visit_helpers(cpu, visit, opaque);
	for (unsigned i = 0; i < STAT_SITES; i++)
		visit_counter(&cpu->exit_counts[i], "exits", sites[i] ? sites[i] : "other", visit,
			      opaque);
	for (unsigned i = 0; i < STAT_VECTORS; i++) {
		g_snprintf(vector, sizeof(vector), "%u", i);
		visit_counter(&cpu->exception_counts[i], "exceptions", vector, visit, opaque);
	}
}

void cpu_vm_counters(struct cpu_vm *vm, cpu_counter_fn *visit, void *opaque)
{
	struct code_cache *code = vm->code;
	u64 blocks, bytes, tables, flushes, invalidated;

	code_lock(code);
	blocks = code->block_count;
	bytes = code->buf.p - code->start;
	tables = code_table_bytes(code);
	flushes = code->flushes;
	invalidated = code->invalidated;
	code_unlock(code);
	visit(opaque, "code-cache", "blocks", blocks);
	visit(opaque, "code-cache", "bytes", bytes);
	visit(opaque, "code-cache", "table-bytes", tables);
	visit(opaque, "code-cache", "bytes-at-most", code->bytes);
	visit(opaque, "code-cache", "flushes", flushes);
	visit(opaque, "code-cache", "blocks-invalidated", invalidated);
}
