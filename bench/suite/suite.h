/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rows of the speed suite.
 *
 * A row is an amount of work that is the same on every engine: @run does @n units of it and returns
 * a checksum of everything that it computed, which must be the same everywhere. What a row needs
 * beforehand (memory that is present, files, tables) is made by @setup, which is not measured.
 * Rows run one after another in one process; what they leave behind would be paid by the next.
 */
#ifndef BENCH_SUITE_H
#define BENCH_SUITE_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

struct row {
	const char *name, *group;
	u64 (*run)(u64 n);
	u64 n;                 /* units of work: 0.1 to 0.3 s of a processor of 2025 */
	void (*setup)(u64 n);  /* or NULL */
	int (*possible)(void); /* or NULL: always */
	int cpus;              /* processors of the computer; 0 means 1 */
};

/* Each table ends with a row without name. */
extern const struct row integer_rows[], branchy_rows[], pointer_rows[], call_rows[], interp_rows[],
	fp_rows[], simd_rows[], string_rows[], memory_rows[], system_rows[], process_rows[],
	fault_rows[], smc_rows[], everyday_rows[], scaling_rows[];

/* main.c */
extern const char *suite_directory, *suite_busybox;

void fail(const char *what) __attribute__((noreturn)); /* ends the row as failed, with errno */
void *arena(size_t bytes); /* zeroed, present memory; unmapped when the row has ended */

static inline u64 mix(u64 hash, u64 value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15;
	return hash ^ hash >> 29;
}

static inline u64 mix_bytes(u64 hash, const void *data, size_t bytes)
{
	const u8 *p = data;

	while (bytes--)
		hash = mix(hash, *p++);
	return hash;
}

/* xorshift64: the same numbers everywhere. The state must not be 0. */
static inline u64 random_next(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Hides from the compiler where a value comes from, so that nothing is computed at build time. */
#define HIDE(value) __asm__ volatile("" : "+r"(value))
/* The compiler must assume that memory was read and written here. */
#define TOUCH()     __asm__ volatile("" ::: "memory")

#endif
