/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A memory of what was decoded: programs are made of few different instructions, code that changes
 * itself is decoded again with one immediate changed, and looking ahead decodes what a block will
 * decode soon.
 *
 * What is remembered is a template: an instruction without its displacement, its immediate and its
 * bytes, which are put in from the code that is decoded. It is found by the bytes that it stands
 * for, those that shape.c calls fixed. What has no shape is decoded anew each time. An answer is
 * kept only if the template gives it back unchanged: so a shape that saw the instruction's parts
 * elsewhere than the decoder is never believed.
 */
#include "cpu/x86/decode_cache.h"

#include "cpu/x86/shape.h"

#include <string.h>
#include <sys/mman.h>

#define SET_BITS 12
#define WAYS     2

/* The bytes of an instruction, in order from the lowest, zeroes after the last. Code has at most
 * 15; in an entry's key the 16th is 1 + enum insn_mode, 0 if it is empty. */
struct raw {
	u64 low, high;
};

struct decode_cache {
	u64 misses;
	struct entry {
		struct raw key;
		u8 head[INSN_HEAD_BYTES]; /* of struct insn */
	} __attribute__((aligned(64))) entry[1 << SET_BITS][WAYS];
};

_Static_assert(sizeof(struct entry) == 64, "a cache line");

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

/* Each byte is read once: the guest may change it meanwhile. */
static struct raw raw_read(const u8 *code, unsigned bytes)
{
	struct raw raw = { 0, 0 };

	if (likely(bytes >= 15)) {
		memcpy(&raw.low, code, 8);
		memcpy(&raw.high, code + 7, 8);
		raw.high >>= 8;
	} else {
		memcpy(&raw, code, bytes);
	}
	return raw;
}

static struct raw raw_cut(struct raw raw, unsigned bytes)
{
	if (bytes < 8) {
		raw.low &= BIT(8 * bytes) - 1;
		raw.high = 0;
	} else {
		raw.high &= BIT(8 * (bytes - 8)) - 1;
	}
	return raw;
}

/* The number of @bytes (0, 1, 2, 4, 8) at @offset, sign-extended. */
static s64 raw_number(struct raw raw, unsigned offset, unsigned bytes)
{
	static const u64 mask[] = { [1] = 0xff, [2] = 0xffff, [4] = 0xffffffff, [8] = ~0ull };
	static const u64 sign[] = { [1] = BIT(7), [2] = BIT(15), [4] = BIT(31), [8] = BIT(63) };
	unsigned __int128 all = (unsigned __int128)raw.high << 64 | raw.low;
	u64 v = (u64)(all >> 8 * offset) & mask[bytes];

	return (v ^ sign[bytes]) - sign[bytes];
}

/* All of an instruction but its head. */
static void fill(struct insn *insn, const struct shape *shape, struct raw raw)
{
	insn->mem.disp = raw_number(raw, shape->head, shape->disp_bytes);
	insn->imm = raw_number(raw, shape->len - shape->imm_bytes, shape->imm_bytes);
	insn->imm2 = 0;
	raw = raw_cut(raw, shape->len);
	memcpy(insn->bytes, &raw.low, 8);
	memcpy(insn->bytes + 8, &raw.high, 7);
	insn->imm_bytes = shape->imm_bytes;
	insn->imm2_bytes = 0;
	insn->imm_offset = shape->len - shape->imm_bytes;
}

static struct raw key_of(enum insn_mode mode, const struct shape *shape, struct raw raw)
{
	raw = raw_cut(raw, shape->fixed);
	raw.high |= (u64)(1 + mode) << 56;
	return raw;
}

static struct entry *set_of(struct decode_cache *cache, struct raw key)
{
	u64 v = (key.low ^ key.high * 0xc2b2ae3d27d4eb4full) * 0x9e3779b97f4a7c15ull;

	return cache->entry[v >> (64 - SET_BITS)];
}

static bool same(struct raw a, struct raw b)
{
	return !((a.low ^ b.low) | (a.high ^ b.high));
}

static void keep(struct entry *set, struct raw key, const struct shape *shape, struct raw raw,
		 const struct insn *insn)
{
	struct insn again = *insn;

	fill(&again, shape, raw);
	if (insn->len != shape->len || (shape->disp_bytes && !insn->mem.present) ||
	    memcmp(&again, insn, sizeof(again)))
		return;
	for (unsigned i = WAYS - 1; i; i--)
		set[i] = set[i - 1];
	set->key = key;
	memcpy(set->head, insn, sizeof(set->head));
}

int decode_cached(struct decode_cache *cache, const struct insn_contract *contract,
		  enum insn_mode mode, const u8 *code, unsigned bytes, struct insn *insn)
{
	struct raw raw = raw_read(code, bytes), key;
	struct entry *set = NULL;
	struct shape shape;
	int len;

	if (shape_find(mode, (const u8 *)&raw, &shape) && shape.len <= bytes) {
		key = key_of(mode, &shape, raw);
		set = set_of(cache, key);
		for (unsigned i = 0; i < WAYS; i++) {
			if (!same(set[i].key, key))
				continue;
			memcpy(insn, set[i].head, sizeof(set[i].head));
			fill(insn, &shape, raw);
			return shape.len;
		}
	}
	cache->misses++;
	len = insn_decode(contract, mode, (const u8 *)&raw, bytes, insn);
	if (set && len > 0)
		keep(set, key, &shape, raw, insn);
	return len;
}

u64 decode_cache_misses(const struct decode_cache *cache)
{
	return __atomic_load_n(&cache->misses, __ATOMIC_RELAXED);
}
