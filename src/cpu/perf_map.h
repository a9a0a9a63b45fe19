/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of translated code for perf; see perf_map.c. All functions: the code cache's lock is held,
 * or nobody else knows the cache. */
#ifndef LODGE_CPU_PERF_MAP_H
#define LODGE_CPU_PERF_MAP_H

#include "cpu/code.h"

struct perf_map;

/* Writes lines to @map, and the code itself to @dump (jitdump.h); names the kernel's functions by
 * the file @symbols. Each may be 0, and stays the caller's. NULL with @error set. */
struct perf_map *perf_map_new(int map, int dump, int symbols, GError **error);
/* Writes what is left; NULL is ignored. */
void perf_map_free(struct perf_map *map);
void perf_map_flush(struct perf_map *map);

void perf_map_add_thunks(struct perf_map *map, const struct code_cache *code);
/* A block that is complete but for its place in the tables; @pc: its linear address. */
void perf_map_add_block(struct perf_map *map, const struct code_cache *code,
			const struct block *block, gva_t pc);
/* See cpu_vm_kernel_moved(). */
void perf_map_kernel_moved(struct perf_map *map, bool known, u64 by);
/* The cache was flushed: addresses will be there again with other names. */
void perf_map_note_reuse(struct perf_map *map);

#endif
