/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Proof that a block keeps inside: see verify.c.
 */
#ifndef LODGE_CPU_X86_VERIFY_H
#define LODGE_CPU_X86_VERIFY_H

#include "base/types.h"

struct code_cache;
struct block;
struct footprint;

/* What the verifications of one code cache share. */
struct verifier *verifier_new(void);
void verifier_free(struct verifier *v);
/* Is the block safe, before any of its links is bound? False: *@why says what is wrong (static).
 * @values: it is, whatever numbers will be written where this says; NULL: none. With the code
 * cache's lock held. */
bool block_verify(const struct code_cache *code, const struct block *block,
		  const struct footprint *values, const char **why);

#endif
