/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz targets: one file for each kind of foreign bytes, with libFuzzer's entry point.
 *
 *   fuzz_seed(0), fuzz_seed(1), ... --> corpus --mutate--> LLVMFuzzerTestOneInput() --> new edges?
 *                                          ^                                                |
 *                                          '------------------------ keep it ---------------'
 *
 * Built by gcc, a target is driven by driver.c: a fixed seed and a fixed number of inputs, so that
 * two runs do the same. Built by clang it is driven by libFuzzer, and libfuzzer.c hands it the
 * same seeds. Either way the rooms under test are compiled a second time, with AddressSanitizer,
 * UndefinedBehaviorSanitizer and edge counters. Seeds are text in the tree or made by the target:
 * there are no binary files.
 *
 * A target says what must hold by FUZZ_CHECK(); nothing an input does may end the process.
 */
#ifndef LODGE_TESTS_FUZZ_FUZZ_H
#define LODGE_TESTS_FUZZ_FUZZ_H

#include "base/types.h"
#include <glib.h>

/* --- the target --- */

/* Runs one input; always returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Appends the @index-th seed to @seed; false: there are no more. */
bool fuzz_seed(unsigned index, GByteArray *seed);
/* The longest input that is worth trying, in bytes. */
extern const size_t fuzz_bytes_max;
/* Inputs are lines of words. */
extern const bool fuzz_text;

/* --- seeds.c --- */

#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_failed(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_failed(const char *file, int line, const char *what);

/* For fuzz_seed(): the @index-th file of these folders (a NULL-terminated list, always the same)
 * below $LODGE_SOURCE. */
bool fuzz_seed_file(const char *const *folders, unsigned index, GByteArray *seed);

/* An input read as numbers; behind its end there are zeros. */
struct fuzz_bytes {
	const u8 *next;
	size_t left;
};

/* The next @bytes (at most 8) as a little-endian number. */
u64 fuzz_take(struct fuzz_bytes *bytes, unsigned count);
/* For fuzz_seed(): the inverse. */
void fuzz_give(GByteArray *seed, u64 value, unsigned count);

#endif
