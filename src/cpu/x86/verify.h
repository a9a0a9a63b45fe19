/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Proof that a block keeps inside: see verify.c.
 */
#ifndef LODGE_CPU_X86_VERIFY_H
#define LODGE_CPU_X86_VERIFY_H

#include "base/types.h"

struct code_cache;
struct block;

/* Just lowered, before any of its links is bound. False: *@why says what is wrong (static). */
bool block_verify(const struct code_cache *code, const struct block *block, const char **why);

#endif
