/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is remembered of page walks: when the TLB answers and when it must not, what fills it, who
 * comes back after having lost a place, its tags for writes, and how long the jump cache's keys
 * last.
 */
#include "cpu/code.h"
#include "cpubox.h"

#include <string.h>

static struct box *box;

static const struct tlb_entry *place(const struct tlb *tlb, gva_t gva)
{
	return &tlb->e[tlb_index(tlb, gva)];
}

static bool hit(gva_t gva, unsigned access)
{
	const struct tlb_entry *e = place(&box->cpu->tlb[TLB_KERNEL_AC], gva);
	u64 tag = access == ACCESS_R   ? e->read_tag
		  : access == ACCESS_W ? e->write_tag
				       : e->exec_tag;

	return tag == (gva & PAGE_MASK);
}

static u32 key_of(struct cpu *cpu, unsigned cpl)
{
	u8 before = cpu->cpl;
	u32 key;

	cpu->cpl = cpl;
	key = cpu_jump_key(cpu) >> 16;
	cpu->cpl = before;
	return key;
}

/* Which switches and flushes let the jump cache keep what it knows: of user code by PCID, of the
 * kernel's while it runs from global pages. */
static void test_epochs(void)
{
	struct cpu *cpu = box->cpu;
	u32 kernel, one, two;

	cpu->cr4 |= CR4_PCIDE;
	cpu->cr3 = 0x1001;
	tlb_flush_all(cpu);
	kernel = key_of(cpu, 0);
	one = key_of(cpu, 3);
	cpu->cr3 = 0x2002;
	tlb_switch(cpu, true); /* nothing of this PCID is known yet */
	two = key_of(cpu, 3);
	g_assert_cmpuint(two, !=, one);
	g_assert_cmpuint(key_of(cpu, 0), ==, kernel);
	cpu->cr3 = 0x1001;
	tlb_switch(cpu, true);
	g_assert_cmpuint(key_of(cpu, 3), ==, one);
	tlb_switch(cpu, false);
	g_assert_cmpuint(key_of(cpu, 3), !=, one);
	cpu->cr3 = 0x2002;
	tlb_switch(cpu, true);
	g_assert_cmpuint(key_of(cpu, 3), ==, two);
	cpu->cr3 = 0x300a; /* shares its place with PCID 2 */
	tlb_switch(cpu, true);
	g_assert_cmpuint(key_of(cpu, 3), !=, two);
	cpu->cr3 = 0x2002;
	tlb_switch(cpu, true);
	g_assert_cmpuint(key_of(cpu, 3), !=, two);

	/* INVLPG of a user page is the user's alone, of the kernel's everybody's */
	two = key_of(cpu, 3);
	code_jumps_note(cpu, 0x400000);
	tlb_flush_page(cpu, 0x400000);
	g_assert_cmpuint(key_of(cpu, 3), !=, two);
	g_assert_cmpuint(key_of(cpu, 0), ==, kernel);
	cpu->cr3 = 0x1001;
	tlb_switch(cpu, false);
	one = key_of(cpu, 3);
	cpu->cr3 = 0x2002;
	tlb_switch(cpu, true);
	tlb_flush_page(cpu, 0xffffffff81000000);
	g_assert_cmpuint(key_of(cpu, 0), !=, kernel);
	cpu->cr3 = 0x1001;
	tlb_switch(cpu, true);
	g_assert_cmpuint(key_of(cpu, 3), !=, one);

	/* a kernel that runs from pages which are not global is forgotten with the address space */
	kernel = key_of(cpu, 0);
	cpu->epochs.local_kernel = true;
	tlb_switch(cpu, true);
	g_assert_cmpuint(key_of(cpu, 0), !=, kernel);
	/* and user code from global ones by any INVLPG */
	kernel = key_of(cpu, 0);
	cpu->epochs.global_user = true;
	tlb_flush_page(cpu, 0x400000);
	g_assert_cmpuint(key_of(cpu, 0), !=, kernel);

	/* numbers run out: nothing old may match again */
	for (unsigned i = 0; i < 70000; i++) {
		tlb_switch(cpu, false);
		g_assert_cmpuint(key_of(cpu, 3), !=, key_of(cpu, 0));
		g_assert_cmpuint(key_of(cpu, 3), <=, 0xffff);
	}
}

static void test_tlb_flush(void)
{
	struct cpu *cpu = box->cpu;

	box_long_mode(box);
	box_put64(box, 0x3000, 0x4007); /* first 2 MiB by 4 KiB pages */
	for (unsigned i = 0; i < 512; i++)
		box_put64(box, 0x4000 + i * 8, i << 12 | 0x67 | (i & 1 ? 0x100 : 0));
	tlb_flush_all(cpu);
	g_assert_nonnull(mmu_fill(cpu, 0x100000, 8, ACCESS_R));
	g_assert_nonnull(mmu_fill(cpu, 0x101000, 8, ACCESS_R));
	g_assert_nonnull(mmu_fill(cpu, 0x400000, 8, ACCESS_R)); /* fragments of one large page */
	g_assert_nonnull(mmu_fill(cpu, 0x5ff000, 8, ACCESS_R));
	g_assert_true(hit(0x100000, ACCESS_R) && hit(0x101000, ACCESS_R));
	g_assert_true(hit(0x100000, ACCESS_W) && hit(0x100000, ACCESS_X));
	tlb_flush_page(cpu, 0x100008);
	g_assert_false(hit(0x100000, ACCESS_R));
	g_assert_true(hit(0x101000, ACCESS_R) && hit(0x400000, ACCESS_R));
	tlb_flush_page(cpu, 0x4f0000);
	g_assert_false(hit(0x400000, ACCESS_R) || hit(0x5ff000, ACCESS_R));
	mmu_fill(cpu, 0x100000, 8, ACCESS_R);
	tlb_flush_nonglobal(cpu);
	g_assert_false(hit(0x100000, ACCESS_R));
	g_assert_true(hit(0x101000, ACCESS_R));
	tlb_flush_page(cpu, 0x101000); /* INVLPG drops global pages too */
	g_assert_false(hit(0x101000, ACCESS_R));
	mmu_fill(cpu, 0x101000, 8, ACCESS_R);
	tlb_flush_all(cpu);
	g_assert_false(hit(0x101000, ACCESS_R));
}

/* No address may match an invalid tag of its slot, in particular 0 and the last page. */
static void test_tlb_empty(void)
{
	static const gva_t tries[] = { 0,
				       0x1000,
				       0x3ff000,
				       0x400000,
				       0xfffffffffffff000,
				       0x00007ffffffff000,
				       0xffff800000000000 };

	box_long_mode(box);
	for (unsigned i = 0; i < ARRAY_LEN(tries); i++)
		for (unsigned off = 0; off < 4096; off += 63) {
			const struct tlb_entry *e =
				place(&box->cpu->tlb[TLB_KERNEL], tries[i] + off);

			for (unsigned size = 1; size <= 64; size *= 2) {
				g_assert_true(tries[i] + off - e->read_tag > PAGE_SIZE - size);
				g_assert_true(tries[i] + off - e->write_tag > PAGE_SIZE - size);
			}
		}
}

/* A clean page is not written directly: the first write must set D. */
static void test_tlb_dirty(void)
{
	struct cpu *cpu = box->cpu;

	box_long_mode(box);
	box_put64(box, 0x3008, 2 * MIB | 0x87);
	tlb_flush_all(cpu);
	g_assert_nonnull(mmu_fill(cpu, 0x200000, 8, ACCESS_R));
	g_assert_false(hit(0x200000, ACCESS_W));
	g_assert_cmphex(box_get64(box, 0x3008), ==, (2 * MIB | 0xa7));
	g_assert_nonnull(mmu_fill(cpu, 0x200000, 8, ACCESS_W));
	g_assert_true(hit(0x200000, ACCESS_W));
	g_assert_cmphex(box_get64(box, 0x3008), ==, (2 * MIB | 0xe7));
}

/* A second miss in a row fills in what follows, as far as the guest has used it and allows the
 * same: never more than the walk of that page would say, and no bit of an entry changes. */
static void test_tlb_ahead(void)
{
	struct cpu *cpu = box->cpu;
	const u64 entries[8] = {
		0x300067,           /* missed */
		0x301067,           /* missed: fills ahead */
		0x305027,           /* elsewhere, clean: read only until it is written */
		0x303067, 0x304007, /* not accessed yet */
		0x306067,
	};

	box_two_pages(box, 0);
	for (unsigned i = 0; i < 8; i++)
		box_put64(box, 0x4000 + 8 * i, entries[i]);
	tlb_flush_all(cpu);
	g_assert_nonnull(mmu_fill(cpu, 0x200000, 8, ACCESS_R));
	g_assert_false(hit(0x201000, ACCESS_R));
	g_assert_nonnull(mmu_fill(cpu, 0x201000, 8, ACCESS_R));
	g_assert_true(hit(0x202000, ACCESS_R));
	g_assert_false(hit(0x202000, ACCESS_W));
	g_assert_true(hit(0x203000, ACCESS_R));
	g_assert_true(hit(0x203000, ACCESS_W));
	g_assert_true(place(&box->cpu->tlb[TLB_KERNEL_AC], 0x202000)->host ==
		      (u64)(uintptr_t)box->ram + 0x305000);
	g_assert_false(hit(0x204000, ACCESS_R)); /* its walk has to set A */
	g_assert_false(hit(0x205000, ACCESS_R)); /* and there it ended */
	for (unsigned i = 0; i < 8; i++)
		g_assert_cmphex(box_get64(box, 0x4000 + 8 * i), ==, entries[i]);
	tlb_flush_page(cpu, 0x203000);
	g_assert_false(hit(0x203000, ACCESS_R));
	g_assert_true(hit(0x202000, ACCESS_R));
}

/* Several streams at once, as in copying: each is gone on with; of a large page more is filled in.
 */
static void test_tlb_streams(void)
{
	struct cpu *cpu = box->cpu;

	box_two_pages(box, 0x301067);
	for (unsigned i = 2; i < 32; i++)
		box_put64(box, 0x4000 + 8 * i, 0x300067 + i * PAGE_SIZE);
	box_put64(box, 0x3010, 2 * MIB | 0xe7); /* 0x400000 */
	tlb_flush_all(cpu);
	for (unsigned page = 0; page < 2; page++)
		for (unsigned k = 0; k < FILL_STREAMS; k++)
			mmu_fill(cpu, (k ? 0x400000 + k * 0x40000 : 0x200000) + page * PAGE_SIZE, 8,
				 ACCESS_R);
	g_assert_true(hit(0x207000, ACCESS_R));
	g_assert_false(hit(0x208000, ACCESS_R));
	for (unsigned k = 1; k < FILL_STREAMS; k++) {
		g_assert_true(hit(0x400000 + k * 0x40000 + 31 * PAGE_SIZE, ACCESS_R));
		g_assert_false(hit(0x400000 + k * 0x40000 + 32 * PAGE_SIZE, ACCESS_R));
	}
}

/* What is revoked for a page is what may write it, under whatever address, and nothing else: many
 * pages, several addresses each, that come and go; lists of writers hold several pages. */
static void test_tlb_writers(void)
{
	struct tlb *tlb = &box->cpu->tlb[TLB_KERNEL_AC];
	const gpa_t first = 4 * MIB;
	u32 random = 12345;

	box_two_pages(box, 0);
	for (unsigned i = 0; i < 512; i++) /* 8 pages, of two lists */
		box_put64(box, 0x4000 + 8 * i,
			  (first + i % 2 * PAGE_SIZE + i / 2 % 4 * 2 * MIB) | 0x67);
	tlb_flush_all(box->cpu);
	for (unsigned turn = 0; turn < 20000; turn++) {
		unsigned i = (random = random * 1103515245 + 12345) >> 16 & 511;
		gva_t gva = 0x200000 + i * PAGE_SIZE;
		u64 host = (u64)box->ram + first + i % 2 * PAGE_SIZE + i / 2 % 4 * 2 * MIB;
		unsigned before = 0, with = 0, after = 0;

		if (turn % 8) {
			mmu_fill(box->cpu, gva, 8, turn % 3 ? ACCESS_W : ACCESS_R);
			continue;
		}
		if (turn % 64 == 0)
			tlb_flush_page(box->cpu, gva ^ PAGE_SIZE);
		for (unsigned k = 0; k < BIT(TLB_SHIFT_MIN); k++) {
			before += tlb->e[k].write_tag != TLB_INVALID(k);
			with += tlb->e[k].write_tag != TLB_INVALID(k) && tlb->e[k].host == host;
		}
		tlb_revoke_write(box->cpu, (void *)host);
		for (unsigned k = 0; k < BIT(TLB_SHIFT_MIN); k++) {
			bool writes = tlb->e[k].write_tag != TLB_INVALID(k);

			g_assert_false(writes && tlb->e[k].host == host);
			after += writes;
		}
		g_assert_cmpuint(after, ==, before - with);
	}
}

static bool faults(gva_t gva, unsigned access)
{
	bool fault = !mmu_fill(box->cpu, gva, 8, access) && box->cpu->fault_pending;

	box->cpu->fault_pending = 0;
	return fault;
}

/* Two pages that share a place: who is put aside comes back without a walk, whatever the tables say
 * by now, until something is flushed or a page gets code. */
static void test_tlb_victims(void)
{
	const gva_t one = 0x200000, other = one + BIT(TLB_SHIFT_MIN) * PAGE_SIZE;
	struct cpu *cpu = box->cpu;
	void *host, *host2;

	g_assert_true(place(cpu->tlb, one) == place(cpu->tlb, other));
	for (unsigned how = 0; how < 5; how++) {
		box_long_mode(box);
		box_put64(box, 0x3008, 2 * MIB | 0xe7);
		box_put64(box, 0x3048, 0xe7 | (how == 3 ? 0x100 : 0));
		tlb_flush_all(cpu);
		host = mmu_fill(cpu, one, 8, ACCESS_W);
		host2 = mmu_fill(cpu, other, 8, ACCESS_W);
		g_assert_true(host == box->ram + 2 * MIB && host2 == box->ram);
		box_put64(box, 0x3008, 0);
		box_put64(box, 0x3048, 0);
		for (unsigned i = 0; i < 3; i++) {
			g_assert_true(mmu_fill(cpu, one, 8, ACCESS_W) == host);
			g_assert_true(hit(one, ACCESS_W) && !hit(other, ACCESS_W));
			g_assert_true(mmu_fill(cpu, other + 8, 8, ACCESS_R) == (u8 *)host2 + 8);
			g_assert_true(hit(other, ACCESS_R) && !hit(one, ACCESS_R));
		}
		g_assert_null(mmu_fill(cpu, one + PAGE_SIZE - 4, 8, ACCESS_W)); /* crosses */
		cpu->stack[TLB_KERNEL_AC] = (struct stack_page){ one, (u64)(uintptr_t)host };
		cpu->fault_pending = 0;
		switch (how) {
		case 0: tlb_flush_all(cpu); break;
		case 1: tlb_flush_page(cpu, 0x7000); break;
		case 2: tlb_flush_page(cpu, one); break;
		case 3: tlb_flush_nonglobal(cpu); break;
		case 4: tlb_revoke_write(cpu, box->ram + 0x5000); break;
		}
		g_assert_true(faults(one, ACCESS_W));
		g_assert_cmphex(cpu->stack[TLB_KERNEL_AC].tag, ==, STACK_NOWHERE);
		g_assert_cmphex(cpu->stack[TLB_KERNEL_AC].host, ==, 0);
	}
	tlb_flush_all(cpu);
}

static void to_pcid(unsigned pcid, bool keep)
{
	box->cpu->cr3 = (box->cpu->cr3 & ~0xfffull) | pcid;
	tlb_switch(box->cpu, keep);
}

enum forgets {
	NOTHING,
	OTHER_PAGE,
	OTHER_PCID,
	PAGE,
	SWITCH,
	PLACE,
	INVPCID,
	PCID,
	NONGLOBAL,
	ALL,
	WRITES,
	HOWS
};

/* What was found under a PCID is there again when the guest comes back to it, with no walk, unless
 * it has been told to forget. */
static void test_tlb_kept(void)
{
	const gva_t gva = 16 * MIB, read_only = gva + PAGE_SIZE, gone = gva + 2 * PAGE_SIZE;
	const u64 pages[] = { 0x123067, 0x124065, 0x125067 };
	u8 *host = box->ram + 0x123000;
	struct cpu *cpu = box->cpu;

	for (enum forgets how = 0; how < HOWS; how++) {
		bool stays = how <= OTHER_PCID;

		box_long_mode(box);
		cpu->cr4 |= CR4_PCIDE;
		cpu->cr0 |= CR0_WP;
		tlb_flush_all(cpu);
		to_pcid(1, false);
		box_put64(box, 0x3040, 0x9000 | 0x67);
		for (unsigned i = 0; i < 3; i++)
			box_put64(box, 0x9000 + 8 * i, pages[i]);
		g_assert_true(mmu_fill(cpu, gva, 8, ACCESS_W) == host);
		g_assert_nonnull(mmu_fill(cpu, read_only, 8, ACCESS_R));
		g_assert_nonnull(mmu_fill(cpu, gone, 8, ACCESS_R));
		for (unsigned i = 0; i < 3; i++)
			box_put64(box, 0x9000 + 8 * i, 0);
		tlb_flush_page(cpu, gone);
		to_pcid(2, true); /* of which nothing is known */
		g_assert_true(faults(gva, ACCESS_R));
		switch (how) {
		case OTHER_PAGE: tlb_flush_page(cpu, gva); break; /* that of PCID 2 */
		case OTHER_PCID: tlb_kept_forget_pcid(cpu, 3); break;
		case PLACE: to_pcid(1 + KEPT_PCIDS, true); break;
		case INVPCID:
			box_put64(box, 0xa000, 1);
			box_put64(box, 0xa008, gva);
			cpu->gpr[0] = 0xa000;
			cpu->gpr[1] = 0;
			box_assert_next(box, "660f388208"); /* invpcid rcx, [rax] */
			break;
		case PCID: tlb_kept_forget_pcid(cpu, 1); break;
		case NONGLOBAL: tlb_flush_nonglobal(cpu); break;
		case ALL: tlb_flush_all(cpu); break;
		case WRITES: tlb_revoke_write(cpu, box->ram + 0x5000); break;
		default: break;
		}
		to_pcid(1, how != SWITCH);
		if (how == PAGE)
			tlb_flush_page(cpu, gva);
		g_assert_true(faults(gone, ACCESS_R));
		g_assert_true(faults(read_only, ACCESS_W));
		g_assert_true(faults(gva, ACCESS_W) == !stays);
		g_assert_true(faults(gva, ACCESS_R) == (!stays && how != WRITES));
		g_assert_true(faults(read_only, ACCESS_R) ==
			      (!stays && how != WRITES && how != PAGE));
		if (stays)
			g_assert_true(mmu_fill(cpu, gva + 8, 8, ACCESS_R) == host + 8);
	}
	cpu->cr4 &= ~CR4_PCIDE; /* nothing is kept */
	tlb_flush_all(cpu);
	box_put64(box, 0x9000, pages[0]);
	g_assert_nonnull(mmu_fill(cpu, gva, 8, ACCESS_W));
	box_put64(box, 0x9000, 0);
	tlb_switch(cpu, true);
	g_assert_true(faults(gva, ACCESS_R));
	tlb_flush_all(cpu);
}

/* Pages @from to @to of what test_tlb_grows() maps. */
static void touch(u64 from, u64 to)
{
	for (u64 k = from; k < to; k++) {
		gva_t gva = 16 * MIB + k * PAGE_SIZE;

		g_assert_true(hit(gva, ACCESS_W) || mmu_fill(box->cpu, gva, 8, ACCESS_W) ==
							    box->ram + 2 * MIB + gva % (2 * MIB));
	}
}

/* As many pages displace others as there are places: then there are four times as many, in which
 * all are found again, and which are flushed and lose write tags like the first ones. */
static void test_tlb_grows(void)
{
	struct cpu *cpu = box->cpu;
	struct tlb *tlb = &cpu->tlb[TLB_KERNEL_AC];

	box_long_mode(box);
	for (unsigned i = 8; i < 512; i++)
		box_put64(box, 0x3000 + 8 * i, 2 * MIB | 0xe7);
	tlb_init(cpu);
	for (u64 entries = BIT(TLB_SHIFT_MIN); entries < TLB_MAX; entries *= 4) {
		touch(0, entries);
		g_assert_cmpuint(tlb->displaced, ==, 0);
		touch(entries, 2 * entries);
		g_assert_cmpuint(tlb->mask, ==, entries - 1);
		g_assert_cmpuint(tlb->displaced, ==, entries);
		touch(2 * entries, 2 * entries + 1);
		g_assert_cmpuint(tlb->mask, ==, 4 * entries - 1);
		g_assert_cmpuint(cpu->tlb_mask[TLB_KERNEL_AC], ==,
				 (4 * entries - 1) * sizeof(struct tlb_entry));
		g_assert_true(hit(16 * MIB + 2 * entries * PAGE_SIZE, ACCESS_W));
		g_assert_false(hit(16 * MIB, ACCESS_W));
		if (4 * entries == TLB_MAX)
			break;
		touch(0, 4 * entries);
		for (u64 k = 0; k < 4 * entries; k++)
			g_assert_true(hit(16 * MIB + k * PAGE_SIZE, ACCESS_W));
		tlb_revoke_write(cpu, box->ram + 2 * MIB + 7 * PAGE_SIZE);
		for (u64 k = 0; k < 4 * entries; k++)
			g_assert_true(hit(16 * MIB + k * PAGE_SIZE, ACCESS_W) == (k % 512 != 7));
		tlb_flush_all(cpu);
		for (u64 k = 0; k < 4 * entries; k++)
			g_assert_false(hit(16 * MIB + k * PAGE_SIZE, ACCESS_R));
	}
	tlb_flush_all(cpu);
	tlb_init(cpu);
}

/* What stands for no page in one place is a page's tag in another. */
static void test_tlb_victims_invalid(void)
{
	const gva_t first = BIT(TLB_SHIFT_MIN) * PAGE_SIZE; /* in place 0 */
	struct cpu *cpu = box->cpu;

	box_long_mode(box);
	for (unsigned i = 0; i < 512; i++) /* read only, or not there */
		box_put64(box, 0x3000 + 8 * i, i < 8 ? 0 : 2 * MIB | 0xa5);
	cpu->cr0 |= CR0_WP;
	tlb_flush_all(cpu);
	for (unsigned slot = 0; slot < 3; slot++)
		for (unsigned k = 0; k < 3; k++)
			g_assert_nonnull(
				mmu_fill(cpu, k * first + first + slot * PAGE_SIZE, 8, ACCESS_R));
	for (gva_t gva = 0; gva < 4 * PAGE_SIZE; gva += PAGE_SIZE) {
		g_assert_true(faults(gva, ACCESS_W));
		g_assert_true(faults(gva, ACCESS_R));
	}
	tlb_flush_all(cpu);
}

static void test_code_page(void)
{
	struct cpu *cpu = box->cpu;
	u32 *info = &box->vm->slots[0].info[0x123];
	u64 value = 0x1122334455667788;

	box_long_mode(box);
	*info = 0;
	g_assert_nonnull(mmu_fill(cpu, 0x123000, 8, ACCESS_W));
	g_assert_cmphex(*info, ==, PAGE_WRITER(0));
	tlb_revoke_write(cpu, box->ram + 0x123000);
	g_assert_false(hit(0x123000, ACCESS_W));
	g_assert_true(hit(0x123000, ACCESS_R));
	*info = PAGE_HAS_CODE;
	g_assert_null(mmu_fill(cpu, 0x123000, 8, ACCESS_W));
	g_assert_cmpint(cpu->fault_pending, ==, 0);
	g_assert_cmphex(*info, ==, PAGE_HAS_CODE);
	g_assert_nonnull(mmu_fill(cpu, 0x123000, 8, ACCESS_R));
	/* the page itself is handed out for one instruction */
	g_assert_true(access_slow(cpu, 0x123008, 8, ACCESS_W) == box->ram + 0x123008);
	g_assert_cmpint(cpu->bounce.direct, ==, 1);
	access_commit(cpu);
	g_assert_true(mem_write(cpu, 0x123010, &value, 8, ACCESS_W));
	g_assert_cmphex(box_get64(box, 0x123010), ==, value);
	*info = 0;
}

/* Another processor has marked the page and waits for the writers to be stopped: who comes second
 * must not translate from it before they have lost their tags either. */
static void test_marked_twice(void)
{
	struct cpu *cpu = box->cpu;
	u32 *info = &box->vm->slots[0].info[0x123];

	box_long_mode(box);
	*info = 0;
	g_assert_nonnull(mmu_fill(cpu, 0x123000, 8, ACCESS_W));
	*info = PAGE_HAS_CODE | PAGE_WRITER(0);
	code_mark_page(cpu, 0x123000);
	g_assert_false(hit(0x123000, ACCESS_W));
	g_assert_cmphex(*info, ==, PAGE_HAS_CODE);
	*info = 0;
}

static gpointer mark(gpointer cpu)
{
	code_mark_page(cpu, 0x123000);
	return NULL;
}

/* While a processor that has marked a page waits to stop the others, one of these makes the page
 * data again: it must be marked when the first one goes on to translate. */
static void test_marked_meanwhile(void)
{
	struct cpu *cpu = box->cpu;
	u32 *info = &box->vm->slots[0].info[0x123];
	GThread *thread;

	box_long_mode(box);
	*info = PAGE_WRITER(1);
	code_exclusive_begin(box->vm, NULL);
	code_leave(cpu, CODE_IN); /* it has been inside for long */
	thread = g_thread_new("mark", mark, cpu);
	while (__atomic_load_n(&cpu->in_code, __ATOMIC_SEQ_CST) != CODE_PARKED)
		g_thread_yield();
	__atomic_fetch_and(info, ~PAGE_HAS_CODE, __ATOMIC_SEQ_CST);
	code_exclusive_end(box->vm, NULL);
	g_thread_join(thread);
	g_assert_cmpuint(cpu->in_code, ==, CODE_IN);
	g_assert_cmphex(*info, ==, PAGE_HAS_CODE);
	code_leave(cpu, CODE_OUT);
	*info = 0;
}

/* What is known of user code is forgotten with the page that it ran from, and with no other. */
static void test_code_of_a_page(void)
{
	const gva_t code = 0x7f0000401000, data = code + 5 * PAGE_SIZE;
	struct cpu *cpu = box->cpu;
	struct epochs *e = &cpu->epochs;
	u32 before;

	box_long_mode(box);
	box_user(box);
	tlb_flush_all(cpu);
	e->local_kernel = e->global_user = false;
	for (unsigned kind = 0; kind < TLB_KINDS; kind++)
		cpu->tlb[kind].any_large = 0;
	before = e->now[JC_USER];
	code_jumps_note(cpu, code + 0x123);
	tlb_flush_page(cpu, data);
	g_assert_cmpuint(e->now[JC_USER], ==, before);
	tlb_flush_page(cpu, code);
	g_assert_cmpuint(e->now[JC_USER], !=, before);
	before = e->now[JC_USER];
	tlb_flush_page(cpu, code); /* nothing has run since */
	g_assert_cmpuint(e->now[JC_USER], ==, before);
	/* a large page that may hold both */
	cpu->tlb[TLB_USER].any_large = 1;
	cpu->tlb[TLB_USER].large_first = code & ~(2 * MIB - 1);
	cpu->tlb[TLB_USER].large_last = code | (2 * MIB - 1);
	tlb_flush_page(cpu, data);
	g_assert_cmpuint(e->now[JC_USER], !=, before);
	cpu->tlb[TLB_USER].any_large = 0;
	/* another address space has seen nothing run */
	cpu->cr4 |= CR4_PCIDE;
	code_jumps_note(cpu, code);
	before = e->now[JC_USER];
	cpu->cr3 |= 1;
	code_jumps_switch(cpu, true);
	g_assert_cmpuint(e->now[JC_USER], !=, before);
	tlb_flush_page(cpu, code);
	cpu->cr3 &= ~0xfffull;
	code_jumps_switch(cpu, true);
	g_assert_cmpuint(e->now[JC_USER], ==, before);
	tlb_flush_page(cpu, code);
	g_assert_cmpuint(e->now[JC_USER], !=, before);
	cpu->cr4 &= ~CR4_PCIDE;
	/* the kernel's half, and a kernel that runs in the user's */
	before = e->now[JC_USER];
	tlb_flush_page(cpu, 0xffffffff81000000);
	g_assert_cmpuint(e->now[JC_USER], !=, before);
	before = e->now[JC_KERNEL];
	e->local_kernel = true;
	tlb_flush_page(cpu, data);
	g_assert_cmpuint(e->now[JC_KERNEL], !=, before);
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	box = box_new(NULL);
	g_test_add_func("/tlb/flush", test_tlb_flush);
	g_test_add_func("/tlb/epochs", test_epochs);
	g_test_add_func("/tlb/empty", test_tlb_empty);
	g_test_add_func("/tlb/dirty", test_tlb_dirty);
	g_test_add_func("/tlb/ahead", test_tlb_ahead);
	g_test_add_func("/tlb/streams", test_tlb_streams);
	g_test_add_func("/tlb/writers", test_tlb_writers);
	g_test_add_func("/tlb/victims", test_tlb_victims);
	g_test_add_func("/tlb/kept", test_tlb_kept);
	g_test_add_func("/tlb/grows", test_tlb_grows);
	g_test_add_func("/tlb/victims-invalid", test_tlb_victims_invalid);
	g_test_add_func("/tlb/code-page", test_code_page);
	g_test_add_func("/tlb/marked-twice", test_marked_twice);
	g_test_add_func("/tlb/marked-meanwhile", test_marked_meanwhile);
	g_test_add_func("/tlb/code-of-a-page", test_code_of_a_page);
	status = g_test_run();
	box_free(box);
	return status;
}
