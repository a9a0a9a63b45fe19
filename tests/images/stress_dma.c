/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code that a disk writes over code. Each processor owns two adjacent pages full of functions of 16
 * bytes ("slots"), which all processors run, at three addresses. Again and again the owner has the
 * disk read new ones over some that the others have just run: both pages, one, sectors, lines, less
 * than a line, across the pages, or a single function's immediate; or it stores them itself.
 * Meanwhile the others go on running all slots but those. On the disk slot n is a function that
 * returns stream_value(n), so each knows what it must get.
 *
 *   owner                              others
 *   says which slots change            say which slot they run, then look whether it changes: leave
 * it waits until nobody runs those reads, waits for the used ring     run other slots of these
 * pages and the other owners' runs them, says what is new        see a new count: CPUID, run the
 * new ones, acknowledge waits for all, running as they do
 *
 * Half of the reads are begun by an instruction that lies beside the slots that they change, in the
 * same line if these begin inside one: its block goes while the processor is in the device. One in
 * eight is so long that it is answered later, by a thread of the device's, not before the bell's
 * store has ended.
 */
#include "blk.h"
#include "stress.h"

#define SLOT         16
#define PAGE_SLOTS   256
#define SLOTS        (2 * PAGE_SLOTS)
#define SECTOR_SLOTS (BLK_SECTOR / SLOT)
#define LONG_SECTORS 640 /* more than lodge-vmm answers at once */
#define SPOIL_BYTES  65536

struct range {
	u16 first, end; /* slots; none if equal */
};

static struct owner {
	u8 code[SLOTS * SLOT];
	u32 expected[SLOTS];
	u32 changing;       /* a struct range: nobody else may run these */
	u32 fresh;          /* a struct range: what changed last */
	u32 count;          /* of changes */
	u32 seen[CPUS_MAX]; /* the count whose slots this processor has run */
	u32 random;
} __attribute__((aligned(4096))) owners[CPUS_MAX];
static u32 running[CPUS_MAX]; /* owner * SLOTS + slot + 1, or 0 */
static u8 spoil[SPOIL_BYTES]; /* takes what a read brings and nobody wants */
static unsigned cpus;
u32 dma_reads;

static u32 stream_value(u32 n)
{
	return n * 2654435761u + 12345;
}

static u32 random_below(unsigned cpu, u32 n)
{
	u32 x = owners[cpu].random;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	owners[cpu].random = x;
	return x % n;
}

static u32 pack(struct range r)
{
	return r.first | (u32)r.end << 16;
}

static struct range unpack(u32 word)
{
	return (struct range){ word, word >> 16 };
}

static bool in_range(struct range r, unsigned slot)
{
	return slot >= r.first && slot < r.end;
}

/* The slot at one of its addresses: its own, one for all, one that this processor moves about. */
static u64 address(unsigned cpu, unsigned owner, unsigned slot)
{
	const u8 *page = owners[owner].code + slot / PAGE_SLOTS * PAGE;
	unsigned window, at = slot % PAGE_SLOTS * SLOT;

	switch (random_below(cpu, 4)) {
	case 0: window = DMA_WINDOW + 2 * CPUS_MAX + cpu; return window_map(window, page) + at;
	case 1:
		window = DMA_WINDOW + 2 * owner + slot / PAGE_SLOTS;
		return WINDOW + window * PAGE + at;
	default: return (u64)page + at;
	}
}

static void check_slot(unsigned cpu, unsigned owner, unsigned slot)
{
	u32 got;

	serialize();
	got = call(address(cpu, owner, slot));
	if (got != owners[owner].expected[slot])
		failed("code of the disk", got, owners[owner].expected[slot]);
}

/* Unless it changes just now. */
static void run_slot(unsigned cpu, unsigned owner, unsigned slot)
{
	STORE(running[cpu], owner * SLOTS + slot + 1);
	if (!in_range(unpack(LOAD(owners[owner].changing)), slot))
		check_slot(cpu, owner, slot);
	STORE(running[cpu], 0);
}

/* The ends of the range, and some between. */
static void run_range(unsigned cpu, unsigned owner, struct range r)
{
	run_slot(cpu, owner, r.first);
	run_slot(cpu, owner, r.end - 1);
	for (unsigned i = 0; i < 6; i++)
		run_slot(cpu, owner, r.first + random_below(cpu, r.end - r.first));
}

void dma_serve(unsigned cpu)
{
	for (unsigned owner = 0; owner < cpus; owner++) {
		u32 count = LOAD(owners[owner].count);

		if (owner != cpu && count != owners[owner].seen[cpu]) {
			run_range(cpu, owner, unpack(LOAD(owners[owner].fresh)));
			STORE(owners[owner].seen[cpu], count);
		}
		run_slot(cpu, owner, random_below(cpu, SLOTS));
	}
}

static bool anybody_runs(unsigned owner, struct range r)
{
	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		u32 what = LOAD(running[cpu]);

		if (what && (what - 1) / SLOTS == owner && in_range(r, (what - 1) % SLOTS))
			return true;
	}
	return false;
}

static bool all_have_seen(unsigned owner)
{
	for (unsigned cpu = 0; cpu < cpus; cpu++)
		if (cpu != owner && LOAD(owners[owner].seen[cpu]) != owners[owner].count)
			return false;
	return true;
}

static struct range choose(unsigned cpu)
{
	unsigned first = random_below(cpu, SLOTS), page = first & PAGE_SLOTS;

	switch (random_below(cpu, 6)) {
	case 0: return (struct range){ 0, SLOTS };
	case 1: return (struct range){ page, page + PAGE_SLOTS };
	case 2: first -= first % SECTOR_SLOTS; return (struct range){ first, first + SECTOR_SLOTS };
	case 3: first -= first % 4; return (struct range){ first, first + 4 };
	case 4: return (struct range){ first, first + 1 };
	default:
		return (struct range){ PAGE_SLOTS - 1 - random_below(cpu, 40),
				       PAGE_SLOTS + 1 + random_below(cpu, 40) };
	}
}

static unsigned add_piece(struct blk_piece *pieces, unsigned count, void *at, u32 bytes)
{
	if (bytes)
		pieces[count++] = (struct blk_piece){ at, bytes };
	return count;
}

static unsigned add_spoil(struct blk_piece *pieces, unsigned count, u32 bytes)
{
	for (; bytes > SPOIL_BYTES; bytes -= SPOIL_BYTES)
		count = add_piece(pieces, count, spoil, SPOIL_BYTES);
	return add_piece(pieces, count, spoil, bytes);
}

/* @bytes of the disk from @offset on to @to, in two pieces, between what else the sectors hold. */
static void request(unsigned cpu, u32 offset, u8 *to, u32 bytes)
{
	u32 before = offset % BLK_SECTOR, behind = -(offset + bytes) % BLK_SECTOR;
	u32 part = random_below(cpu, bytes + 1);
	struct blk_piece pieces[BLK_PIECES];
	unsigned count;

	if (random_below(cpu, 8) == 0)
		behind += LONG_SECTORS * BLK_SECTOR;
	count = add_spoil(pieces, 0, before);
	count = add_piece(pieces, count, to, part);
	count = add_piece(pieces, count, to + part, bytes - part);
	count = add_spoil(pieces, count, behind);
	blk_read(cpu, offset / BLK_SECTOR, pieces, count);
}

/* mov %si, (%rdi); ret: rings the bell from the slot before the range. */
static void ring_from(u8 *slot)
{
	static const u8 code[] = { 0x66, 0x89, 0x37, 0xc3 };

	for (unsigned i = 0; i < sizeof(code); i++)
		((volatile u8 *)slot)[i] = code[i];
	((void (*)(volatile u16 *, u32))slot)(blk_bell(), 0);
}

static void read_disk(unsigned cpu, struct range r, unsigned bell)
{
	struct owner *o = &owners[cpu];
	u32 slots = blk_sectors() * SECTOR_SLOTS - LONG_SECTORS * SECTOR_SLOTS - SLOTS;
	u32 from = random_below(cpu, slots);
	bool value_only = r.end - r.first == 1, good;

	request(cpu, from * SLOT + (value_only ? 4 : 0),
		o->code + r.first * SLOT + (value_only ? 4 : 0),
		value_only ? 4 : (r.end - r.first) * SLOT);
	if (bell == r.first)
		*blk_bell() = 0;
	else
		ring_from(o->code + bell * SLOT);
	while (!blk_done(cpu, &good))
		dma_serve(cpu);
	if (!good)
		failed("answer of the disk", 1, 0);
	ADD(dma_reads, 1);
	for (unsigned slot = r.first; slot < r.end; slot++)
		o->expected[slot] = stream_value(from + slot - r.first);
	if (bell != r.first)
		put_function(o->code + bell * SLOT, o->expected[bell]);
}

static void store_slots(unsigned cpu, struct range r)
{
	struct owner *o = &owners[cpu];

	for (unsigned slot = r.first; slot < r.end; slot++) {
		o->expected[slot] = o->random ^ slot;
		put_function(o->code + slot * SLOT, o->expected[slot]);
	}
}

void dma_change(unsigned cpu)
{
	struct owner *o = &owners[cpu];
	struct range r = choose(cpu), closed = r;

	if (!blk_bell())
		return;
	if (r.first && random_below(cpu, 2))
		closed.first--;
	STORE(o->changing, pack(closed));
	while (anybody_runs(cpu, closed))
		__asm__ volatile("pause");
	check_slot(cpu, cpu, r.first);
	if (random_below(cpu, 4) == 0)
		store_slots(cpu, r);
	read_disk(cpu, r, closed.first);
	if (random_below(cpu, 4) == 0)
		store_slots(cpu, (struct range){ r.first, r.first + 1 });
	STORE(o->fresh, pack(closed));
	STORE(o->changing, 0);
	run_range(cpu, cpu, closed);
	ADD(o->count, 1);
	while (!all_have_seen(cpu))
		dma_serve(cpu);
}

void dma_begin(unsigned count)
{
	cpus = count;
	for (unsigned i = 0; i < CPUS_MAX; i++) {
		owners[i].random = 2463534242u + i;
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			owners[i].expected[slot] = i << 16 | slot;
			put_function(owners[i].code + slot * SLOT, owners[i].expected[slot]);
		}
		window_map(DMA_WINDOW + 2 * i, owners[i].code);
		window_map(DMA_WINDOW + 2 * i + 1, owners[i].code + PAGE);
	}
	if (!blk_begin())
		print("stress: there is no disk\n");
}
