// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory streams over arrays larger than the caches, by the code a compiler makes of plain loops.
 */
#include "suite.h"

#define WORDS (4u << 20) /* 32 MiB each */

static u64 *a, *b;

static void setup_streams(u64 n)
{
	a = arena(WORDS * sizeof(*a));
	b = arena(WORDS * sizeof(*b));
	for (u32 i = 0; i < WORDS; i++)
		a[i] = i * 0x9e3779b9ull;
}

static u64 sample(const u64 *words)
{
	u64 hash = 0;

	for (u32 i = 0; i < WORDS; i += 4093)
		hash = mix(hash, words[i]);
	return hash;
}

static u64 run_copy(u64 n)
{
	while (n--)
		for (u32 i = 0; i < WORDS; i++) {
			u64 word = a[i];

			HIDE(word); /* or it becomes a call of memcpy, a row of its own */
			b[i] = word;
		}
	return sample(b);
}

static u64 run_scale(u64 n)
{
	while (n--) {
		for (u32 i = 0; i < WORDS; i++)
			b[i] = a[i] * 3 + n;
		TOUCH();
	}
	return sample(b);
}

static u64 run_sum(u64 n)
{
	u64 sum = 0;

	while (n--) {
		for (u32 i = 0; i < WORDS; i++)
			sum += a[i] ^ n;
		TOUCH();
	}
	return sum;
}

const struct row memory_rows[] = {
	{ "copy", "memory", run_copy, 20, setup_streams },
	{ "scale", "memory", run_scale, 20, setup_streams },
	{ "sum", "memory", run_sum, 40, setup_streams },
	{},
};
