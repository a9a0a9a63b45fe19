/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages of guest RAM are written, by processors and by devices, while somebody copies it.
 *
 *   start   from now on every write counts
 *   collect tells, and forgets, what was written since the last time; again and again
 *   stop
 *
 * A page is told at least once after its last write if that write was over when collect was called;
 * so who copies a page after it was told, until nothing more is told while the machine stands, has
 * all of it.
 *
 *   processors -> the engine's log --\
 *                                     +--> one bit a page, page n being the n-th of memory.h's
 * offsets vm_mem_written() -> mem->written -/
 */
#ifndef LODGE_MACHINE_DIRTY_H
#define LODGE_MACHINE_DIRTY_H

#include "base/types.h"
#include <glib.h>

struct vm;

/* Control thread only. -ENOTSUP: this engine cannot tell. The machine is not moved to another
 * engine meanwhile. */
int vm_dirty_start(struct vm *vm, GError **error);
void vm_dirty_stop(struct vm *vm);
/* Adds bits to @pages, which has vm_dirty_words() words; -errno. */
int vm_dirty_collect(struct vm *vm, u64 *pages);
u64 vm_dirty_words(const struct vm *vm);

#endif
