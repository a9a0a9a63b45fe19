// SPDX-License-Identifier: GPL-2.0-or-later
/* Code that writes code, as compilers at run time do, in memory that may be written and run. */
#include <string.h>
#include <sys/mman.h>

#include "suite.h"

#define BYTES (256 * 1024)

typedef u64 (*function)(u64);

static u8 *code;

static void setup_code(u64 n)
{
	code = mmap(NULL, BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	if (code == MAP_FAILED)
		fail("mmap");
	memset(code, 0xc3, BYTES);
}

static u8 *put(u8 *p, const char *bytes, size_t count)
{
	memcpy(p, bytes, count);
	return p + count;
}

static u8 *put32(u8 *p, u32 value)
{
	memcpy(p, &value, sizeof(value));
	return p + sizeof(value);
}

/* mov rax, rdi; then @steps times: add rax, imm32; rol rax, 5; xor rax, imm32; then ret */
static size_t emit(u8 *p, u32 seed, int steps)
{
	u8 *start = p;

	p = put(p, "\x48\x89\xf8", 3);
	while (steps--) {
		seed = seed * 1664525 + 1013904223;
		p = put32(put(p, "\x48\x05", 2), seed);
		p = put(p, "\x48\xc1\xc0\x05", 4);
		p = put32(put(p, "\x48\x35", 2), seed >> 3);
	}
	*p++ = 0xc3;
	return p - start;
}

static u64 call(const u8 *at, u64 argument)
{
	TOUCH();
	return ((function)(uintptr_t)at)(argument);
}

/* One immediate operand of a function changes before each call. */
static u64 run_patch(u64 n)
{
	u64 sum = 0;

	emit(code, 1, 4);
	for (u64 i = 0; i < n; i++) {
		put32(code + 5, i * 77);
		sum = call(code, sum);
	}
	munmap(code, BYTES);
	return sum;
}

static u64 emit_and_run(u64 n, int times)
{
	u64 sum = 0;

	for (u64 i = 0; i < n; i++) {
		emit(code, i, 20);
		for (int k = 0; k < times; k++)
			sum = call(code, sum);
	}
	munmap(code, BYTES);
	return sum;
}

static u64 run_emit_once(u64 n)
{
	return emit_and_run(n, 1);
}

static u64 run_emit_100(u64 n)
{
	return emit_and_run(n, 100);
}

/* Functions are written one behind the other into a region that is reused when it is full, while
 * older ones in it still run: what a JIT compiler with a moving frontier does. */
static u64 run_jit(u64 n)
{
	const u8 *known[16] = { NULL };
	u64 sum = 0;
	size_t used = 0;

	for (u64 i = 0; i < n; i++) {
		if (used > BYTES - 4096) {
			used = 0;
			memset(known, 0, sizeof(known));
		}
		known[i & 15] = code + used;
		used += (emit(code + used, i, 10 + (i & 31)) + 15) & ~15ul;
		for (int k = 0; k < 64; k++)
			if (known[k & 15])
				sum = call(known[k & 15], sum + k);
	}
	munmap(code, BYTES);
	return sum;
}

/* A region is mapped, filled, run and given back. */
static u64 run_churn(u64 n)
{
	u64 sum = 0;

	munmap(code, BYTES);
	for (u64 i = 0; i < n; i++) {
		u8 *p = mmap(NULL, 16384, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			fail("mmap");
		for (int k = 0; k < 4; k++)
			emit(p + k * 4096, i + k, 30);
		for (int k = 0; k < 200; k++)
			sum = call(p + (k & 3) * 4096, sum);
		munmap(p, 16384);
	}
	return sum;
}

const struct row smc_rows[] = {
	{ "patch", "smc", run_patch, 500000, setup_code },
	{ "emit-once", "smc", run_emit_once, 40000, setup_code },
	{ "emit-100", "smc", run_emit_100, 20000, setup_code },
	{ "jit", "smc", run_jit, 20000, setup_code },
	{ "churn", "smc", run_churn, 800, setup_code },
	{},
};
