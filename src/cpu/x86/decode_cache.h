/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * insn_decode() with a memory. One for each thread that decodes.
 */
#ifndef LODGE_CPU_X86_DECODE_CACHE_H
#define LODGE_CPU_X86_DECODE_CACHE_H

#include "cpu/x86/decode.h"

struct decode_cache;

/* NULL: no memory. Memory is touched as it fills, at most 0.5 MiB. */
struct decode_cache *decode_cache_new(void);
void decode_cache_free(struct decode_cache *cache);

/* As insn_decode(), with the same @contract always. @code may be changed by others meanwhile: the
 * answer is that of some one state of each byte. */
int decode_cached(struct decode_cache *cache, const struct insn_contract *contract,
		  enum insn_mode mode, const u8 *code, unsigned bytes, struct insn *insn);

/* How often it asked insn_decode(). */
u64 decode_cache_misses(const struct decode_cache *cache);

#endif
