/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * decode_cached() must say what insn_decode() says, in every field and for every byte string.
 *
 *   cpu-decode [--cases N] [--seed S]
 *
 * The strings are random ones and real code (this process's own: program, libc and other
 * libraries) with everything behind some byte changed, again and again behind the same beginning:
 * this is what finds a template that was filled wrongly or should not have been kept. Prefixes are
 * put before them, and the strings are cut short. In the end it is counted how much real code is
 * answered from memory: one that never answers would pass all else.
 */
#include "cpu/x86/decode.h"
#include "cpu/x86/decode_cache.h"

#include <getopt.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARIANTS     7
#define RUN_INSNS    64
#define MAX_SEGMENTS 32

static const char *const mode_name[] = { "16-bit", "32-bit", "64-bit" };

struct run {
	struct insn_contract contract;
	struct decode_cache *cache;
	u64 random;
	u64 compared, failed;
	struct {
		const u8 *code;
		size_t bytes;
	} segment[MAX_SEGMENTS];
	unsigned segments;
	u64 code_bytes;
};

static u64 rnd(struct run *run)
{
	u64 z = run->random += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void report(const u8 *code, unsigned bytes, enum insn_mode mode, const char *what)
{
	printf("# %s code", mode_name[mode]);
	for (unsigned i = 0; i < bytes; i++)
		printf(" %02x", code[i]);
	printf(": %s\n", what);
}

/* Returns what insn_decode() does. */
static int compare(struct run *run, enum insn_mode mode, const u8 *code, unsigned bytes)
{
	struct insn want, got;
	char what[80];
	int a, b;

	run->compared++;
	memset(&want, 0, sizeof(want));
	memset(&got, 0, sizeof(got));
	a = insn_decode(&run->contract, mode, code, bytes, &want);
	b = decode_cached(run->cache, &run->contract, mode, code, bytes, &got);
	if (a == b && (a <= 0 || !memcmp(&want, &got, sizeof(want))))
		return a;
	if (run->failed++ < 20) {
		unsigned i = 0;

		while (i < sizeof(want) - 1 && ((u8 *)&want)[i] == ((u8 *)&got)[i])
			i++;
		snprintf(what, sizeof(what), "length %d, from memory %d; differs at byte %u", a, b,
			 i);
		report(code, bytes, mode, what);
	}
	return a;
}

/* @code and others with the same beginning. */
static void compare_variants(struct run *run, enum insn_mode mode, const u8 *code)
{
	u8 bytes[15];
	int len;

	memcpy(bytes, code, sizeof(bytes));
	len = compare(run, mode, bytes, sizeof(bytes));
	for (unsigned i = 0; i < VARIANTS; i++) {
		u64 r = rnd(run), v = rnd(run);
		unsigned at = 1 + (r & 0xff) % (len > 1 ? len : 8);

		/* small numbers have zero bytes and FF bytes */
		if (r & 0x100)
			v = (s64)(s8)v;
		memcpy(bytes + at, &v, at > 7 ? 15 - at : 8);
		compare(run, mode, bytes, r & 0xe00 ? 15 : (r >> 12) % 15);
		memcpy(bytes + at, code + at, sizeof(bytes) - at);
	}
}

static unsigned put_prefixes(struct run *run, u8 *bytes)
{
	static const u8 prefix[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36,
				     0x3e, 0x64, 0x65, 0x48, 0x41, 0x44, 0x4f, 0x40 };
	u64 r = rnd(run);
	unsigned n = 0;

	while (n < 7 && (r & 3) == 0) {
		bytes[n++] = prefix[r >> 2 & 15];
		r >>= 6;
	}
	return n;
}

static void compare_random(struct run *run)
{
	static const u8 escape[][3] = {
		{ 0x0f },       { 0x0f, 0x38 }, { 0x0f, 0x3a }, { 0xc5, 0xf8 },
		{ 0xc4, 0xe2 }, { 0xc4, 0xe3 }, { 0xc4, 0xe1 }, { 0x62, 0xf1, 0x7d },
	};
	u8 bytes[32];
	u64 r[4] = { rnd(run), rnd(run), rnd(run), rnd(run) };
	unsigned n = put_prefixes(run, bytes);

	memcpy(bytes + n, r, sizeof(bytes) - n);
	if (r[3] & 1) {
		const u8 *e = escape[r[3] >> 1 & 7];

		for (unsigned i = 0; i < 3 && e[i]; i++)
			bytes[n++] = e[i];
		/* R, X, B, vvvv and W at random too */
		if (r[3] & 0x10 && e[0] != 0x0f)
			bytes[n - 1] ^= r[3] >> 8;
	}
	compare_variants(run, r[3] >> 16 & 0xff ? (r[3] >> 24) % 3 : INSN_64, bytes);
}

/* ---- real code --------------------------------------------------------------------------------
 */

static int find_code(struct dl_phdr_info *info, size_t size, void *opaque)
{
	struct run *run = opaque;

	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum && run->segments < MAX_SEGMENTS; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || !(p->p_flags & PF_R) ||
		    p->p_memsz < 4096)
			continue;
		run->segment[run->segments].code = (const u8 *)info->dlpi_addr + p->p_vaddr;
		run->segment[run->segments++].bytes = p->p_memsz;
		run->code_bytes += p->p_memsz;
	}
	return 0;
}

/* Some place in all the code, with @room bytes behind it. */
static const u8 *random_place(struct run *run, unsigned room)
{
	u64 at = rnd(run) % run->code_bytes;
	unsigned i = 0;

	while (at >= run->segment[i].bytes)
		at -= run->segment[i++].bytes;
	if (at > run->segment[i].bytes - room)
		at = run->segment[i].bytes - room;
	return run->segment[i].code + at;
}

/* Instructions in a row, from a random place on. */
static void compare_code(struct run *run)
{
	const u8 *code = random_place(run, RUN_INSNS * 15);

	for (unsigned i = 0; i < RUN_INSNS; i++) {
		struct insn insn;
		u8 copy[32];
		unsigned n = i % 4 == 0 ? put_prefixes(run, copy) : 0;
		int len = insn_decode(&run->contract, INSN_64, code, 15, &insn);

		memcpy(copy + n, code, 15);
		compare_variants(run, i % 8 ? INSN_64 : (unsigned)(rnd(run) % 3), copy);
		code += len > 0 ? len : 1;
	}
}

/* Percent of the code that a cache which knows some of it answers from memory. */
static unsigned share_known(struct run *run)
{
	struct decode_cache *cache = decode_cache_new();
	u64 asked = 0, missed = 0;

	for (unsigned round = 0; round < 4000; round++) {
		const u8 *code = random_place(run, RUN_INSNS * 15);
		struct insn insn;

		if (round == 2000) {
			asked = 0;
			missed = decode_cache_misses(cache);
		}
		for (unsigned i = 0; i < RUN_INSNS; i++) {
			int len = decode_cached(cache, &run->contract, INSN_64, code, 15, &insn);

			code += len > 0 ? len : 1;
			asked++;
		}
	}
	missed = decode_cache_misses(cache) - missed;
	decode_cache_free(cache);
	return 100 - 100 * missed / asked;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "cases", 1, 0, 'n' },
						 { "seed", 1, 0, 's' },
						 { 0 } };
	static struct run run = { .random = 1 };
	u64 cases = 2 * 1000 * 1000;
	unsigned known;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n': cases = strtoull(optarg, NULL, 0); break;
		case 's': run.random = strtoull(optarg, NULL, 0); break;
		default: return 2;
		}
	}
	insn_contract_init(&run.contract);
	insn_contract_hide(&run.contract, ZYDIS_ISA_SET_LZCNT);
	run.cache = decode_cache_new();
	dl_iterate_phdr(find_code, &run);
	printf("1..3\n");
	while (run.compared < cases / 2)
		compare_random(&run);
	printf("%s 1 - random bytes\n", run.failed ? "not ok" : "ok");
	run.failed = 0;
	while (run.compared < cases)
		compare_code(&run);
	printf("%s 2 - real code and what is like it\n", run.failed ? "not ok" : "ok");
	known = share_known(&run);
	printf("%s 3 - real code is answered from memory # %u %%\n", known < 75 ? "not ok" : "ok",
	       known);
	decode_cache_free(run.cache);
	return 0;
}
