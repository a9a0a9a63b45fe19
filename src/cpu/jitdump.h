/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Translated code for perf, with its bytes; see jitdump.c. The code cache's lock is held, or nobody
 * else knows the cache. */
#ifndef LODGE_CPU_JITDUMP_H
#define LODGE_CPU_JITDUMP_H

#include "base/types.h"

#include <glib.h>

struct jitdump;

/* Writes to @fd, which stays the caller's and must be open for reading too. NULL with @error set.
 */
struct jitdump *jitdump_new(int fd, GError **error);
/* Writes what is left; NULL is ignored. */
void jitdump_free(struct jitdump *dump);
void jitdump_flush(struct jitdump *dump);
/* From now on there is code @name of @bytes at @address; its contents are at @code. */
void jitdump_add(struct jitdump *dump, const char *name, const u8 *address, const u8 *code,
		 size_t bytes);

#endif
