// SPDX-License-Identifier: GPL-2.0-or-later
/* Calls and returns: recursion, calls through pointers, library calls that call back. */
#include <stdlib.h>

#include "suite.h"

__attribute__((noinline)) static u64 fib(u64 n)
{
	u64 sum = 1;

	/* Only one of the two calls may become a loop: the row is about calls. */
	if (n < 2)
		return n;
	sum = fib(n - 1);
	HIDE(sum);
	return sum + fib(n - 2);
}

static u64 run_fib(u64 n)
{
	u64 sum = 0;

	while (n--)
		sum += fib(27);
	return sum;
}

struct shape {
	u64 (*area)(const struct shape *);
	u32 a, b;
};

static u64 area_rectangle(const struct shape *s)
{
	return (u64)s->a * s->b;
}

static u64 area_triangle(const struct shape *s)
{
	return (u64)s->a * s->b / 2;
}

static u64 area_square(const struct shape *s)
{
	return (u64)s->a * s->a;
}

static u64 area_frame(const struct shape *s)
{
	return 2 * ((u64)s->a + s->b);
}

static u64 run_virtual(u64 n)
{
	static u64 (*const kinds[])(const struct shape *) = { area_rectangle, area_triangle,
							      area_square, area_frame };
	static struct shape shapes[1024];
	u64 seed = 47, sum = 0;

	for (int i = 0; i < 1024; i++) {
		u64 r = random_next(&seed);

		shapes[i] = (struct shape){ kinds[r >> 20 & 3], r >> 32 & 0xff, r >> 48 & 0xff };
	}
	while (n--)
		for (int i = 0; i < 1024; i++)
			sum += shapes[i].area(&shapes[i]);
	return sum;
}

static int compare(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return x < y ? -1 : x > y;
}

#define NUMBERS 50000

static u64 run_qsort(u64 n)
{
	static u32 numbers[NUMBERS];
	u64 seed = 53, hash = 0;

	while (n--) {
		for (int i = 0; i < NUMBERS; i++)
			numbers[i] = random_next(&seed);
		qsort(numbers, NUMBERS, sizeof(*numbers), compare);
		hash = mix(hash, numbers[NUMBERS / 2]);
	}
	return hash;
}

const struct row call_rows[] = {
	{ "fib", "call", run_fib, 150 },
	{ "virtual", "call", run_virtual, 60000 },
	{ "qsort", "call", run_qsort, 20 },
	{},
};
