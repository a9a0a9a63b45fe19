/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A memory of what was decoded: programs are made of few different instructions, code that changes
 * itself is decoded again with one immediate changed, and looking ahead decodes what a block will
 * decode soon.
 *
 * An entry answers for every code that begins with its bytes, since an instruction's bytes alone
 * tell where it ends. So a lookup need not know the length: it asks at three places, which are
 * chosen by the first two, four and seven bytes, and an instruction is kept at the longest of them
 * that it fills.
 */
#include "cpu/x86/decode_cache.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define ENTRIES 1024 /* of each length */
#define LENGTHS 3

static const u8 prefix[LENGTHS] = { 2, 4, 7 };

struct decode_cache {
	struct entry {
		u8 mode; /* 1 + enum insn_mode; 0: empty */
		struct insn insn;
	} entry[LENGTHS][ENTRIES];
};

struct decode_cache *decode_cache_new(void)
{
	void *p = mmap(NULL, sizeof(struct decode_cache), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void decode_cache_free(struct decode_cache *cache)
{
	if (cache)
		munmap(cache, sizeof(*cache));
}

static struct entry *place(struct decode_cache *cache, unsigned length, const u8 *raw)
{
	u64 v;

	memcpy(&v, raw, sizeof(v));
	v &= BIT(8 * prefix[length]) - 1;
	return &cache->entry[length][(v * 0x9e3779b97f4a7c15ull) >> 54];
}

_Static_assert(ENTRIES == 1 << (64 - 54), "the hash above");

static const struct insn *find(struct decode_cache *cache, enum insn_mode mode, const u8 *raw,
			       unsigned bytes)
{
	for (unsigned i = 0; i < LENGTHS; i++) {
		const struct entry *e = place(cache, i, raw);

		if (e->mode == 1 + mode && e->insn.len <= bytes &&
		    !memcmp(e->insn.bytes, raw, e->insn.len))
			return &e->insn;
	}
	return NULL;
}

static void keep(struct decode_cache *cache, enum insn_mode mode, const struct insn *insn)
{
	u8 raw[16] = { 0 };
	struct entry *e;
	unsigned i = LENGTHS - 1;

	if (insn->len < prefix[0])
		return; /* as quick to decode */
	while (insn->len < prefix[i])
		i--;
	memcpy(raw, insn->bytes, insn->len);
	e = place(cache, i, raw);
	e->mode = 1 + mode;
	e->insn = *insn;
}

int decode_cached(struct decode_cache *cache, const struct insn_contract *contract,
		  enum insn_mode mode, const u8 *code, unsigned bytes, struct insn *insn)
{
	const struct insn *known;
	u8 raw[16] = { 0 };
	int len;

	/* a copy: the guest may change the bytes meanwhile */
	memcpy(raw, code, bytes);
	known = find(cache, mode, raw, bytes);
	if (known) {
		*insn = *known;
		return insn->len;
	}
	len = insn_decode(contract, mode, raw, bytes, insn);
	if (len > 0)
		keep(cache, mode, insn);
	return len;
}
