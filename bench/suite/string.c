// SPDX-License-Identifier: GPL-2.0-or-later
/* String instructions by hand, and the C library's functions, for small and for large blocks. */
#include <string.h>

#include "suite.h"

#define LARGE 65536

static u8 *from, *to;

static void setup_buffers(u64 n)
{
	u64 seed = 67;

	from = arena(LARGE + 4096);
	to = arena(LARGE + 4096);
	for (int i = 0; i < LARGE; i++)
		from[i] = (random_next(&seed) >> 30 & 0x7f) | 1;
	from[LARGE] = 0;
}

static void rep_movsb(void *to, const void *from, size_t bytes)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
}

static void rep_movsq(void *to, const void *from, size_t words)
{
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words)::"memory");
}

static void rep_stosb(void *to, u8 value, size_t bytes)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
}

static u64 run_rep_small(u64 n)
{
	for (u64 i = 0; i < n; i++) {
		rep_movsb(to + (i & 0x3ff), from + (i * 7 & 0x3ff), 16 + (i & 0x7f));
		rep_stosb(to + 2048 + (i & 0x3f), i, 64);
	}
	return mix_bytes(0, to, 4096);
}

static u64 run_rep_large(u64 n)
{
	for (u64 i = 0; i < n; i++) {
		rep_movsq(to, from + (i & 0xff), LARGE / 8);
		rep_movsb(to + 24, to + LARGE / 2, LARGE / 2 - 24);
		rep_stosb(to + (i & 0xff), i, LARGE / 4);
	}
	return mix_bytes(0, to, LARGE);
}

static void *(*volatile copy)(void *, const void *, size_t) = memcpy;
static void *(*volatile fill)(void *, int, size_t) = memset;
static size_t (*volatile length)(const char *) = strlen;
static void *(*volatile find)(const void *, int, size_t) = memchr;
static int (*volatile compare)(const void *, const void *, size_t) = memcmp;

static u64 run_libc_small(u64 n)
{
	u64 sum = 0;

	for (u64 i = 0; i < n; i++) {
		size_t bytes = 1 + (i * 11 & 0x7f);

		copy(to + (i & 0x1ff), from + (i & 0x3ff), bytes);
		fill(to + 2048, i, bytes);
		to[2048 + bytes] = 0;
		sum += length((char *)to + 2048 + (i & 1));
		sum += compare(to + (i & 0x1ff), from + (i & 0x3ff), bytes);
		sum += (u8 *)find(from + (i & 0xff), from[i & 0xfff], LARGE) - from;
	}
	return mix_bytes(sum, to, 4096);
}

static u64 run_libc_large(u64 n)
{
	u64 sum = 0;

	for (u64 i = 0; i < n; i++) {
		copy(to, from + (i & 0xff), LARGE - 256);
		sum += length((char *)from + (i & 0xff));
		sum += find(from, 0, LARGE + 1) ? 1 : 0;
		sum += compare(from, from + 1, LARGE) != 0;
		fill(to + (i & 0xff), i, LARGE / 2);
	}
	return mix_bytes(sum, to, LARGE);
}

const struct row string_rows[] = {
	{ "rep-small", "string", run_rep_small, 4000000, setup_buffers },
	{ "rep-large", "string", run_rep_large, 40000, setup_buffers },
	{ "libc-small", "string", run_libc_small, 6000000, setup_buffers },
	{ "libc-large", "string", run_libc_large, 40000, setup_buffers },
	{},
};
