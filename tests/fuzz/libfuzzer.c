/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hands our seeds to libFuzzer: from time to time it mutates one of them instead of its own. */
#include "fuzz.h"

#include <string.h>

#define SEED_EVERY 32

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned random);

static unsigned count_seeds(void)
{
	static unsigned count;
	GByteArray *seed = g_byte_array_new();

	while (!count || fuzz_seed(count, seed))
		count++;
	g_byte_array_unref(seed);
	return count;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned random)
{
	GByteArray *seed;

	if (random % SEED_EVERY == 0) {
		seed = g_byte_array_new();
		fuzz_seed(random / SEED_EVERY % count_seeds(), seed);
		size = MIN(seed->len, size_max);
		memcpy(data, seed->data, size);
		g_byte_array_unref(seed);
	}
	return LLVMFuzzerMutate(data, size, size_max);
}
