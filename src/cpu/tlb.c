/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software TLB: what is put into it, what is put aside for that, and what must go. mmu.c
 * decides what goes in; translated code and mmu.c look entries up themselves.
 *
 * It is flushed exactly where the manuals let a processor keep old translations and no later.
 * Whatever drops an entry or takes its write tag forgets the copies of entries too: those put aside
 * and cpu->stack.
 *
 * Hot: runs with the guest's floating-point state live.
 */
#include "cpu/vcpu.h"

static void set_bit(u64 *map, unsigned i, bool on)
{
	if (on)
		map[i / 64] |= BIT(i % 64);
	else
		map[i / 64] &= ~BIT(i % 64);
}

static void drop(struct tlb *tlb, unsigned i)
{
	struct tlb_entry *e = &tlb->e[i];

	e->read_tag = e->write_tag = e->exec_tag = TLB_INVALID(i);
	set_bit(tlb->used, i, false);
	if (!tlb->used[i / 64])
		tlb->used_words[i / 64 / 64] &= ~BIT(i / 64 % 64);
}

static unsigned list_of(u64 host)
{
	return (host >> PAGE_SHIFT) % TLB_LISTS;
}

/* Takes entry @i out of the list that it is in. */
static void unlist_writer(struct tlb *tlb, unsigned i)
{
	u32 *link = &tlb->writers[tlb->listed[i] - 1];

	while (*link != i + 1)
		link = &tlb->next_writer[*link - 1];
	*link = tlb->next_writer[i];
	tlb->listed[i] = 0;
}

/* Entry @i has a write tag: tlb_revoke_write() must find it. */
static void list_writer(struct tlb *tlb, unsigned i)
{
	unsigned list = list_of(tlb->e[i].host);

	if (tlb->listed[i] == list + 1)
		return;
	if (tlb->listed[i])
		unlist_writer(tlb, i);
	tlb->next_writer[i] = tlb->writers[list];
	tlb->writers[list] = i + 1;
	tlb->listed[i] = list + 1;
}

static void put(struct tlb *tlb, unsigned i, const struct tlb_entry *e, u8 shift, bool global)
{
	tlb->e[i] = *e;
	if (e->write_tag != TLB_INVALID(i))
		list_writer(tlb, i);
	tlb->shift[i] = shift;
	set_bit(tlb->used, i, true);
	tlb->used_words[i / 64 / 64] |= BIT(i / 64 % 64);
	set_bit(tlb->global, i, global);
	set_bit(tlb->large, i, shift > PAGE_SHIFT);
}

/* The linear address of the page that entry @i, one in use, is for. */
static gva_t entry_page(const struct tlb_entry *e, unsigned i)
{
	return e->read_tag != TLB_INVALID(i) ? e->read_tag : e->exec_tag;
}

/* For each word of @used that is not 0, while the body may drop entries. */
#define for_used_words(tlb, word)                                         \
	for (unsigned group = 0; group <= (tlb)->mask / 64 / 64; group++) \
		for (u64 left = (tlb)->used_words[group];                 \
		     left && (word = group * 64 + __builtin_ctzll(left), true); left &= left - 1)

/* Drops the entries whose bit is set in @map (at most those in use). */
static void drop_map(struct tlb *tlb, unsigned word, u64 map)
{
	while (map) {
		drop(tlb, word * 64 + __builtin_ctzll(map));
		map &= map - 1;
	}
}

/* An entry may have been dropped or may not be written any more: copies of entries go with it. */
static void forget_copies(struct cpu *cpu, unsigned kind)
{
	cpu->tlb[kind].victims.held = 0;
	cpu->stack[kind] = (struct stack_page){ STACK_NOWHERE, 0 };
}

static void set_size(struct cpu *cpu, unsigned kind, unsigned entries)
{
	cpu->tlb[kind].mask = entries - 1;
	cpu->tlb[kind].displaced = 0;
	cpu->tlb_mask[kind] = (entries - 1) * sizeof(struct tlb_entry);
}

void tlb_init(struct cpu *cpu)
{
	for (unsigned kind = 0; kind < TLB_KINDS; kind++) {
		set_size(cpu, kind, BIT(TLB_SHIFT_MIN));
		forget_copies(cpu, kind);
		drop(&cpu->tlb[kind], 0); /* the one whose invalid tag is not zero */
	}
	code_jumps_flush(cpu);
}

static void drop_all(struct cpu *cpu, unsigned kind)
{
	struct tlb *tlb = &cpu->tlb[kind];
	unsigned word;

	forget_copies(cpu, kind);
	for_used_words(tlb, word) drop_map(tlb, word, tlb->used[word]);
	tlb->any_large = 0;
	tlb->displaced /= 2;
}

void tlb_flush_all(struct cpu *cpu)
{
	for (unsigned kind = 0; kind < TLB_KINDS; kind++)
		drop_all(cpu, kind);
	tlb_kept_forget(cpu);
	code_jumps_flush(cpu);
}

/* What is in use is few beside what it has displaced, and a place of its own for each costs no
 * more than looking for them all once again. */
void tlb_fit(struct cpu *cpu, struct tlb *tlb)
{
	unsigned entries = tlb->mask + 1, kind = tlb - cpu->tlb;

	if (likely(tlb->displaced < entries) || entries == TLB_MAX)
		return;
	drop_all(cpu, kind);
	set_size(cpu, kind, entries * 4);
}

static void drop_nonglobal(struct cpu *cpu)
{
	unsigned word;

	for (unsigned kind = 0; kind < TLB_KINDS; kind++) {
		struct tlb *tlb = &cpu->tlb[kind];

		forget_copies(cpu, kind);
		for_used_words(tlb, word) drop_map(tlb, word, tlb->used[word] & ~tlb->global[word]);
		tlb->displaced /= 2;
	}
}

void tlb_flush_nonglobal(struct cpu *cpu)
{
	drop_nonglobal(cpu);
	tlb_kept_forget(cpu);
	code_jumps_flush(cpu);
}

void tlb_switch(struct cpu *cpu, bool keep)
{
	drop_nonglobal(cpu);
	tlb_kept_switch(cpu, keep);
	code_jumps_switch(cpu, keep);
}

static bool tag_in(const struct tlb *tlb, unsigned i, gva_t gva)
{
	return (entry_page(&tlb->e[i], i) ^ gva) >> tlb->shift[i] == 0;
}

/* INVLPG drops all of a large page, whichever of its addresses is named (SDM vol. 3, 4.10.4.1). */
void tlb_flush_page(struct cpu *cpu, gva_t gva)
{
	bool large = false;
	unsigned word;

	for (unsigned kind = 0; kind < TLB_KINDS; kind++) {
		struct tlb *tlb = &cpu->tlb[kind];
		unsigned index = tlb_index(tlb, gva);

		forget_copies(cpu, kind);
		if ((tlb->used[index / 64] >> (index % 64) & 1) && tag_in(tlb, index, gva))
			drop(tlb, index);
		if (!tlb->any_large || gva < tlb->large_first || gva > tlb->large_last)
			continue;
		large = true;
		for_used_words(tlb, word)
		{
			u64 map = tlb->used[word] & tlb->large[word];

			for (; map; map &= map - 1) {
				unsigned i = word * 64 + __builtin_ctzll(map);

				if (tag_in(tlb, i, gva))
					drop(tlb, i);
			}
		}
	}
	tlb_kept_forget_page(cpu, gva);
	code_jumps_flush_page(cpu, gva, large);
}

/* Takes the write tags for the page at @host, and whoever has none, out of its list. */
static void revoke_writers(struct tlb *tlb, u64 host)
{
	u32 *link = &tlb->writers[list_of(host)];

	while (*link) {
		unsigned i = *link - 1;
		struct tlb_entry *e = &tlb->e[i];

		if (e->host == host)
			e->write_tag = TLB_INVALID(i);
		if (e->write_tag == TLB_INVALID(i)) {
			*link = tlb->next_writer[i];
			tlb->listed[i] = 0;
		} else {
			link = &tlb->next_writer[i];
		}
	}
}

void tlb_revoke_write(struct cpu *cpu, const void *host)
{
	tlb_kept_forget_writes(cpu);
	for (unsigned kind = 0; kind < TLB_KINDS; kind++) {
		forget_copies(cpu, kind);
		revoke_writers(&cpu->tlb[kind], (u64)host);
	}
}

void tlb_revoke_writes(struct cpu *cpu, const u8 *host, u64 bytes)
{
	unsigned word;

	tlb_kept_forget_writes(cpu);
	for (unsigned kind = 0; kind < TLB_KINDS; kind++) {
		struct tlb *tlb = &cpu->tlb[kind];

		forget_copies(cpu, kind);
		for_used_words(tlb, word)
		{
			for (u64 map = tlb->used[word]; map; map &= map - 1) {
				unsigned i = word * 64 + __builtin_ctzll(map);

				if (tlb->e[i].host - (u64)host < bytes)
					tlb->e[i].write_tag = TLB_INVALID(i);
			}
		}
	}
}

/* The entry's place is wanted by another page: it is kept aside. */
static void victim_put(struct tlb *tlb, unsigned i)
{
	struct tlb_victims *v = &tlb->victims;
	unsigned k = v->next++ % TLB_VICTIMS;

	v->e[k] = tlb->e[i];
	v->slot[k] = i;
	v->shift[k] = tlb->shift[i];
	v->held |= 1 << k;
	v->global &= ~(1 << k);
	v->global |= (tlb->global[i / 64] >> (i % 64) & 1) << k;
}

struct tlb_entry *tlb_take_victim(struct tlb *tlb, gva_t gva, unsigned access)
{
	struct tlb_victims *v = &tlb->victims;
	unsigned i = tlb_index(tlb, gva);

	for (unsigned held = v->held; held; held &= held - 1) {
		unsigned k = __builtin_ctz(held);
		struct tlb_entry e = v->e[k];
		bool global = v->global >> k & 1;
		u8 shift = v->shift[k];

		if (v->slot[k] != i ||
		    (access & ACCESS_W ? e.write_tag : e.read_tag) != (gva & PAGE_MASK))
			continue;
		v->next = k;
		if (tlb->used[i / 64] >> (i % 64) & 1)
			victim_put(tlb, i);
		else
			v->held &= ~(1 << k);
		put(tlb, i, &e, shift, global);
		return &tlb->e[i];
	}
	return NULL;
}

/* A fragment of the large page that @gva is in is there. */
static void note_large(struct tlb *tlb, gva_t gva, unsigned shift)
{
	gva_t first = gva & ~(BIT(shift) - 1), last = gva | (BIT(shift) - 1);

	tlb->large_first = tlb->any_large ? MIN(tlb->large_first, first) : first;
	tlb->large_last = tlb->any_large ? MAX(tlb->large_last, last) : last;
	tlb->any_large = 1;
}

struct tlb_entry *tlb_insert(struct tlb *tlb, gva_t gva, const struct tlb_entry *e, u8 shift,
			     bool global)
{
	unsigned i = tlb_index(tlb, gva);

	if ((tlb->used[i / 64] >> (i % 64) & 1) && entry_page(&tlb->e[i], i) != (gva & PAGE_MASK)) {
		victim_put(tlb, i);
		tlb->displaced++;
	}
	put(tlb, i, e, shift, global);
	if (shift > PAGE_SHIFT)
		note_large(tlb, gva, shift);
	return &tlb->e[i];
}
