/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of the guest kernel's functions; see symbols.c. */
#ifndef LODGE_CPU_SYMBOLS_H
#define LODGE_CPU_SYMBOLS_H

#include "base/types.h"
#include <glib.h>

#define SYMBOLS_BYTES_MAX (64 * MIB)
#define SYMBOLS_MAX       (1u << 20)
#define SYMBOL_NAME_MAX   511

struct symbols;

/* A pure function over the text, for tests and fuzzing. NULL with @error set. */
struct symbols *symbols_parse(const char *text, size_t bytes, GError **error);
/* Reads @fd, which stays the caller's, to its end. */
struct symbols *symbols_read(int fd, GError **error);
void symbols_free(struct symbols *symbols); /* NULL is ignored */

/* The function that holds @address, as the file says it, and how far in; NULL: none. The name is
 * @symbols' own. */
const char *symbols_find(const struct symbols *symbols, u64 address, u64 *offset);

#endif
