/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks whose guest bytes were overwritten, kept for the time when the bytes come back.
 *
 * Code that changes itself mostly changes back, or only in its immediates: breakpoints and jump
 * labels, call sites that a compiler patches, functions that are written again; and a page that is
 * taken for data because it is written often holds blocks whose bytes nobody touched. On pages
 * where that has happened once (PAGE_REWRITTEN) blocks have a footprint (x86/footprint.h). With one
 * an invalidated block falls asleep; who would translate its place again compares the bytes, all of
 * them, and wakes it, with new immediates if need be.
 *
 * Sleeping blocks are in @dormant instead of @hash and in no chain of pages. Nothing leads to them
 * but what has always been able to hold a stale block: jump caches and shadow stacks.
 */
#ifndef LODGE_CPU_DORMANT_H
#define LODGE_CPU_DORMANT_H

#include "cpu/code.h"
#include "cpu/x86/footprint.h"

/* Do blocks made now from this page want a footprint? */
bool dormant_page(struct cpu_vm *vm, gpa_t page);
/* Wakes a block that was made from these bytes and has slept since: for code at page offset @off of
 * @page, whose bytes are at @host, and which is marked as holding code. The caller is CODE_IN
 * without the lock; the others are stopped meanwhile. NULL: none fits. Hot. */
struct block *dormant_wake(struct cpu *cpu, gpa_t page, unsigned off, u32 ctx, const u8 *host);

#endif
