/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page walks, from the manuals: SDM vol. 3 chapter 4. Permissions are compared for every
 * combination of bits with the sentences of section 4.6 written down as predicates; structure,
 * reserved bits, A and D, large pages, PSE-36 and PAE case by case.
 */
#include "cpu/code.h"
#include "cpubox.h"

#include <string.h>

static struct box *box;

/* Translates; returns the error code of #PF, or -1 if it worked, -2 for #GP(0). */
static s64 access_error(gva_t gva, unsigned access, gpa_t *gpa)
{
	struct cpu *cpu = box->cpu;
	gpa_t ignored;

	cpu->fault_pending = 0;
	if (mmu_translate(cpu, gva, access, gpa ? gpa : &ignored)) {
		g_assert_cmpint(cpu->fault_pending, ==, 0);
		return -1;
	}
	g_assert_cmpint(cpu->fault_pending, ==, 1);
	cpu->fault_pending = 0;
	if (cpu->fault.vector == VEC_GP) {
		g_assert_cmphex(cpu->fault.error, ==, 0);
		return -2;
	}
	g_assert_cmpuint(cpu->fault.vector, ==, VEC_PF);
	g_assert_cmphex(cpu->fault.cr2, ==, gva);
	return cpu->fault.error;
}

static gpa_t must_map(gva_t gva, unsigned access)
{
	gpa_t gpa = ~0ull;

	g_assert_cmpint(access_error(gva, access, &gpa), ==, -1);
	return gpa;
}

/* ---- permissions ----------------------------------------------------------------------------- */

struct world {
	bool user_mode, ac, wp, smep, smap, nxe;
	bool u1, u2, w1, w2, xd; /* of an upper entry and of the page */
};

/* Section 4.6.1, sentence by sentence. */
static bool allowed(const struct world *w, unsigned access)
{
	bool user_address = w->u1 && w->u2;
	bool writable = w->w1 && w->w2;

	if (access == ACCESS_X) {
		if (w->nxe && w->xd)
			return false;
		if (w->user_mode)
			return user_address;
		return !(user_address && w->smep);
	}
	if (w->user_mode)
		return user_address && (access == ACCESS_R || writable);
	if (user_address && w->smap && !w->ac)
		return false;
	return access == ACCESS_R || writable || !w->wp;
}

static u32 expected_error(const struct world *w, unsigned access)
{
	return PF_P | (access == ACCESS_W ? PF_W : 0) | (w->user_mode ? PF_U : 0) |
	       (access == ACCESS_X && (w->nxe || w->smep) ? PF_I : 0);
}

static void check_world(const struct world *w)
{
	static const unsigned kinds[] = { ACCESS_R, ACCESS_W, ACCESS_X };
	struct cpu *cpu = box->cpu;
	u64 upper = 1 | (w->w1 ? 2 : 0) | (w->u1 ? 4 : 0);
	u64 page = 1 | (w->w2 ? 2 : 0) | (w->u2 ? 4 : 0) | (w->nxe && w->xd ? BIT(63) : 0);

	box_put64(box, 0x1000, 0x2000 | upper);
	box_put64(box, 0x2000, 0x3000 | 7);
	box_put64(box, 0x3000, 0x4000 | 7);
	box_put64(box, 0x4000, 0x100000 | page);
	cpu->cr0 = CR0_PE | CR0_PG | (w->wp ? CR0_WP : 0);
	cpu->cr4 = CR4_PAE | (w->smep ? CR4_SMEP : 0) | (w->smap ? CR4_SMAP : 0);
	cpu->efer = EFER_LME | EFER_LMA | (w->nxe ? EFER_NXE : 0);
	cpu->rflags = 2 | (w->ac ? FLAG_AC : 0);
	cpu->cpl = w->user_mode ? 3 : 0;
	tlb_flush_all(cpu);
	cpu_update_ctx(cpu);
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		s64 error = access_error(0x123, kinds[i], NULL);
		s64 want = allowed(w, kinds[i]) ? -1 : (s64)expected_error(w, kinds[i]);

		g_assert_cmpint(error, ==, want);
		/* the TLB must agree, whatever was filled before */
		if (kinds[i] != ACCESS_X) {
			void *host = mmu_fill(cpu, 0x123, 1, kinds[i]);

			g_assert_true((host != NULL) == (want == -1));
			cpu->fault_pending = 0;
			host = mmu_fill(cpu, 0x123, 1, kinds[i]);
			g_assert_true((host != NULL) == (want == -1));
			cpu->fault_pending = 0;
		}
	}
}

static void test_permissions(void)
{
	box_long_mode(box);
	for (unsigned n = 0; n < 1 << 11; n++) {
		const struct world w = { n & 1,  n & 2,   n & 4,   n & 8,   n & 16,  n & 32,
					 n & 64, n & 128, n & 256, n & 512, n & 1024 };

		check_world(&w);
	}
}

/* Descriptor tables and the TSS are read as supervisor at any CPL, and AC does not open SMAP. */
static void test_implicit_access(void)
{
	struct cpu *cpu = box->cpu;
	u64 data;

	box_long_mode(box);
	box_user(box);
	box_put64(box, 0x3000, 0xe3); /* supervisor page */
	tlb_flush_all(cpu);
	g_assert_false(mem_read(cpu, 0x8000, &data, 8, ACCESS_R));
	g_assert_cmphex(cpu->fault.error, ==, PF_P | PF_U);
	cpu->fault_pending = 0;
	g_assert_true(mem_read(cpu, 0x8000, &data, 8, ACCESS_R | ACCESS_SYSTEM));
	box_put64(box, 0x3000, 0xe7); /* user page */
	cpu->cr4 |= CR4_SMAP;
	cpu->rflags |= FLAG_AC;
	tlb_flush_all(cpu);
	g_assert_false(mem_read(cpu, 0x8000, &data, 8, ACCESS_R | ACCESS_SYSTEM));
	g_assert_cmphex(cpu->fault.error, ==, PF_P);
	cpu->fault_pending = 0;
}

/* ---- structure ------------------------------------------------------------------------------- */

static void test_long_mode(void)
{
	struct cpu *cpu = box->cpu;
	gva_t gva = 3ull << 39 | 5ull << 30 | 7ull << 21 | 9ull << 12 | 0x123;
	static const gpa_t where[] = { 0x1018, 0x2028, 0x3038, 0x4048 };
	static const u64 good[] = { 0x2007, 0x3007, 0x4007, 0x100007 };
	u64 beyond = BIT(box->vm->maxphyaddr);

	box_long_mode(box);
	for (unsigned i = 0; i < 4; i++)
		box_put64(box, where[i], good[i]);
	g_assert_cmphex(must_map(gva, ACCESS_R), ==, 0x100123);
	for (unsigned i = 0; i < 4; i++) { /* A everywhere, D nowhere yet */
		g_assert_cmphex(box_get64(box, where[i]), ==, good[i] | 0x20);
	}
	must_map(gva, ACCESS_W);
	g_assert_cmphex(box_get64(box, where[3]), ==, good[3] | 0x60);
	g_assert_cmphex(box_get64(box, where[2]), ==, good[2] | 0x20);

	for (unsigned i = 0; i < 4; i++) {
		box_put64(box, where[i], 0);
		g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, 0);
		g_assert_cmphex(access_error(gva, ACCESS_W, NULL), ==, PF_W);
		box_put64(box, where[i], good[i] & ~1ull);
		g_assert_cmphex(access_error(gva, ACCESS_X, NULL), ==, PF_I);
		if (box->vm->maxphyaddr < 52) {
			box_put64(box, where[i], good[i] | beyond);
			g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, PF_P | PF_RSV);
		}
		box_put64(box, where[i], good[i] | BIT(63));
		g_assert_cmphex(access_error(gva, ACCESS_X, NULL), ==, PF_P | PF_I);
		g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, -1);
		cpu->efer &= ~EFER_NXE; /* then the bit is reserved */
		g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, PF_P | PF_RSV);
		g_assert_cmphex(access_error(gva, ACCESS_X, NULL), ==, PF_P | PF_RSV);
		cpu->efer |= EFER_NXE;
		box_put64(box, where[i], good[i]);
	}
	/* PS in a PML4 entry is reserved */
	box_put64(box, where[0], good[0] | 0x80);
	g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, PF_P | PF_RSV);
	box_put64(box, where[0], good[0]);
	/* a table outside RAM is as good as none */
	box_put64(box, where[2], 0x40000007);
	g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, 0);
}

static void test_large_pages(void)
{
	gva_t gva = 5ull << 30 | 7ull << 21 | 0x12345;

	box_long_mode(box);
	box_put64(box, 0x2028, 0x4007);
	box_put64(box, 0x4038, 0x00600083); /* 2 MiB, supervisor */
	g_assert_cmphex(must_map(gva, ACCESS_R), ==, 0x612345);
	g_assert_cmphex(box_get64(box, 0x4038), ==, 0x006000a3);
	must_map(gva, ACCESS_W);
	g_assert_cmphex(box_get64(box, 0x4038), ==, 0x006000e3);
	box_put64(box, 0x4038, 0x00601083); /* bit 12 is PAT */
	g_assert_cmphex(must_map(gva, ACCESS_R), ==, 0x612345);
	for (unsigned bit = 13; bit <= 20; bit++) {
		box_put64(box, 0x4038, 0x00600083 | BIT(bit));
		g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, PF_P | PF_RSV);
	}
	box_put64(box, 0x2028, 0x40000083); /* 1 GiB */
	g_assert_cmphex(must_map(gva, ACCESS_R), ==, 0x40e12345);
	for (unsigned bit = 13; bit <= 29; bit++) {
		box_put64(box, 0x2028, 0x40000083 | BIT(bit));
		g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, PF_P | PF_RSV);
	}
}

static void test_canonical(void)
{
	box_long_mode(box);
	g_assert_cmpint(access_error(0x0000800000000000, ACCESS_R, NULL), ==, -2);
	g_assert_cmpint(access_error(0xffff7fffffffffff, ACCESS_W, NULL), ==, -2);
	g_assert_cmpint(access_error(0x00007ffffffff000, ACCESS_R, NULL), ==, 0);
	g_assert_cmpint(access_error(0xffff800000000000, ACCESS_R, NULL), ==, 0);
}

static void test_no_1g_pages(void)
{
	static const char *const off[] = { "pdpe1gb", NULL };
	struct box *saved = box;

	box = box_new(off);
	box_long_mode(box);
	box_put64(box, 0x2028, 0x40000083);
	g_assert_cmphex(access_error(5ull << 30, ACCESS_R, NULL), ==, PF_P | PF_RSV);
	box_free(box);
	box = saved;
}

static void test_32bit(void)
{
	struct cpu *cpu = box->cpu;
	gva_t gva = 3u << 22 | 5u << 12 | 0x321;
	u32 *pd, *pt;

	box_protected_mode(box);
	pd = (u32 *)(box->ram + 0x1000);
	pt = (u32 *)(box->ram + 0x2000);
	cpu->cr3 = 0x1000;
	cpu->cr0 |= CR0_PG | CR0_WP;
	tlb_flush_all(cpu);
	pd[3] = 0x2003;
	pt[5] = 0x00123003;
	g_assert_cmphex(must_map(gva, ACCESS_W), ==, 0x123321);
	g_assert_cmphex(pd[3], ==, 0x2023);
	g_assert_cmphex(pt[5], ==, 0x00123063);
	pt[5] = 0x00123001;
	g_assert_cmphex(access_error(gva, ACCESS_W, NULL), ==, PF_P | PF_W);
	g_assert_cmphex(access_error(gva, ACCESS_X, NULL), ==, -1); /* no NX here */
	pt[5] = 0;
	g_assert_cmphex(access_error(gva, ACCESS_X, NULL), ==, 0); /* and I not told */
	/* PS is ignored until CR4.PSE */
	pd[3] = 0x2083;
	pt[5] = 0x00123003;
	g_assert_cmphex(must_map(gva, ACCESS_R), ==, 0x123321);
	cpu->cr4 |= CR4_PSE;
	pd[3] = 0x00c00083;
	g_assert_cmphex(must_map(gva, ACCESS_R), ==, 0xc05321);
	/* PSE-36: bits 20:13 are address bits 39:32, bit 21 is reserved */
	pd[3] = 0x00c00083 | 0x12 << 13;
	g_assert_cmphex(must_map(gva, ACCESS_R), ==, 0x1200c05321);
	pd[3] = 0x00e00083;
	g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, PF_P | PF_RSV);
}

static void test_pae(void)
{
	struct cpu *cpu = box->cpu;
	gva_t gva = 2u << 30 | 3u << 21 | 4u << 12 | 0x555;

	box_protected_mode(box);
	box_put64(box, 0x1030, 0x2001); /* PDPTE 2 of the table at 0x1020 */
	box_put64(box, 0x2018, 0x3003);
	box_put64(box, 0x3020, 0x124003);
	cpu->cr3 = 0x1020;
	cpu->cr4 |= CR4_PAE;
	cpu->gpr[RAX] = cpu->cr0 | CR0_PG;
	box_assert_next(box, "0f 22 c0"); /* mov cr0, eax loads the PDPTEs */
	g_assert_cmphex(must_map(gva, ACCESS_R), ==, 0x124555);
	g_assert_cmphex(box_get64(box, 0x1030), ==, 0x2001); /* has no A bit */
	g_assert_cmphex(access_error(0, ACCESS_R, NULL), ==, 0);
	/* a changed PDPTE counts from the next CR3 load on */
	box_put64(box, 0x1030, 0);
	must_map(gva, ACCESS_R);
	cpu->gpr[RAX] = 0x1020;
	box_assert_next(box, "0f 22 d8");
	g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, 0);
	for (unsigned i = 0; i < 3; i++) { /* reserved bits: #GP, nothing loaded */
		static const u64 bad[] = { 2, 0x20, 0x100 };

		box_put64(box, 0x1030, 0x2001 | bad[i]);
		box_assert_fault(box, "0f 22 d8", VEC_GP, 0);
	}
	box_put64(box, 0x1030, 0x2001);
	box_assert_next(box, "0f 22 d8");
	/* bits 62:52 are reserved without long mode; NX with EFER.NXE only */
	box_put64(box, 0x3020, 0x124003 | BIT(60));
	g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, PF_P | PF_RSV);
	box_put64(box, 0x3020, 0x124003 | BIT(63));
	g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, PF_P | PF_RSV);
	cpu->efer |= EFER_NXE;
	g_assert_cmphex(access_error(gva, ACCESS_R, NULL), ==, -1);
	g_assert_cmphex(access_error(gva, ACCESS_X, NULL), ==, PF_P | PF_I);
	box_put64(box, 0x2018, 0x00a00083); /* 2 MiB whatever CR4.PSE says */
	g_assert_cmphex(must_map(gva, ACCESS_R), ==, 0xa04555);
}

static void test_no_paging(void)
{
	box_protected_mode(box);
	g_assert_cmphex(must_map(0xfee00123, ACCESS_W), ==, 0xfee00123);
}

/* ---- TLB ------------------------------------------------------------------------------------- */

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

/* Maps linear 0x200000 to physical 0x300000 and the page behind it to @second. */
static void two_pages(gpa_t second)
{
	box_long_mode(box);
	box_put64(box, 0x3008, 0x4007);
	box_put64(box, 0x4000, 0x300067);
	box_put64(box, 0x4008, second);
	tlb_flush_all(box->cpu);
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

	two_pages(0);
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

	two_pages(0x301067);
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

	two_pages(0);
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

/* ---- slow accesses -----------------------------------------------------------------------------
 */

static void test_crossing(void)
{
	struct cpu *cpu = box->cpu;
	u64 value = 0x8877665544332211, back = 0;
	u8 *p;

	two_pages(0x500067);
	box_put64(box, 0x300ff8, 0xaaaaaaaaaaaaaaaa);
	box_put64(box, 0x500000, 0xbbbbbbbbbbbbbbbb);
	g_assert_null(mmu_fill(cpu, 0x200ffd, 8, ACCESS_W));
	g_assert_cmpint(cpu->fault_pending, ==, 0);
	g_assert_true(mem_write(cpu, 0x200ffd, &value, 8, ACCESS_W));
	g_assert_cmphex(box_get64(box, 0x300ff8), ==, 0x332211aaaaaaaaaa);
	g_assert_cmphex(box_get64(box, 0x500000), ==, 0xbbbbbb8877665544);
	g_assert_true(mem_read(cpu, 0x200ffd, &back, 8, ACCESS_R));
	g_assert_cmphex(back, ==, value);

	p = access_slow(cpu, 0x200ffe, 4, ACCESS_R | ACCESS_W);
	g_assert_nonnull(p);
	g_assert_cmpuint((u64)p & 63, ==, 0x200ffe & 63);
	g_assert_cmpmem(p, 4, ((u8[]){ 0x22, 0x33, 0x44, 0x55 }), 4);
	memcpy(p, (u8[]){ 4, 3, 2, 1 }, 4);
	access_commit(cpu);
	g_assert_cmphex(box_get16(box, 0x300ffe), ==, 0x0304);
	g_assert_cmphex(box_get16(box, 0x500000), ==, 0x0102);
	g_assert_cmpint(cpu->bounce.size, ==, 0);
}

static void test_crossing_faults(void)
{
	struct cpu *cpu = box->cpu;
	u64 value = 0x8877665544332211;

	two_pages(0x500065); /* read-only */
	box_put64(box, 0x300ff8, 0);
	g_assert_false(mem_write(cpu, 0x200ffd, &value, 8, ACCESS_W));
	g_assert_cmphex(cpu->fault.cr2, ==, 0x201000);
	g_assert_cmphex(cpu->fault.error, ==, PF_P | PF_W);
	g_assert_cmphex(box_get64(box, 0x300ff8), ==, 0);
	g_assert_null(access_slow(cpu, 0x200ffd, 8, ACCESS_R | ACCESS_W));
	g_assert_cmphex(cpu->fault.cr2, ==, 0x201000);
	two_pages(0);
	g_assert_null(access_slow(cpu, 0x200ffd, 8, ACCESS_R));
	g_assert_cmphex(cpu->fault.cr2, ==, 0x201000);
	g_assert_cmphex(cpu->fault.error, ==, 0);
	cpu->fault_pending = 0;
	/* the end of the lower half */
	box_put64(box, 0x1000 + 255 * 8, 0x2007);
	box_put64(box, 0x2000 + 511 * 8, 0x3007);
	box_put64(box, 0x3000 + 511 * 8, 0x4007);
	box_put64(box, 0x4000 + 511 * 8, 0x300067);
	g_assert_false(mem_read(cpu, 0x00007ffffffffffd, &value, 8, ACCESS_R));
	g_assert_cmpuint(cpu->fault.vector, ==, VEC_GP);
	cpu->fault_pending = 0;
}

/* Without 64-bit code an access at the end of 4 GiB goes on at 0. */
static void test_wrap(void)
{
	struct cpu *cpu = box->cpu;
	u32 value;

	box_protected_mode(box);
	box_put64(box, 0, 0x4433);
	g_assert_true(mem_read(cpu, 0xfffffffe, &value, 4, ACCESS_R));
	g_assert_cmphex(value, ==, 0x4433fffe);
	g_assert_cmpuint(box->log_count, ==, 1);
	g_assert_cmphex(box->log[0].gpa, ==, 0xfffffffe);
	g_assert_cmpuint(box->log[0].size, ==, 2);
	/* in compatibility mode too, where the tables could go on */
	box_long_mode(box);
	cpu->seg[SEG_CS].attr = 0xc09b;
	cpu_update_ctx(cpu);
	box_put64(box, 0x2018, 0x4007);
	box_put64(box, 0x4ff8, 0x4000e7);
	box_put64(box, 0x2020, 0x5007);
	box_put64(box, 0x5000, 0x6000e7);
	box_put64(box, 0x5ffff8, 0xaaaa000000000000);
	box_put64(box, 0, 0x5555);
	g_assert_true(mem_read(cpu, 0xfffffffe, &value, 4, ACCESS_R));
	g_assert_cmphex(value, ==, 0x5555aaaa);
}

static void test_mmio(void)
{
	struct cpu *cpu = box->cpu;
	u8 data[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	static const struct {
		unsigned size, pieces[4];
	} cases[] = { { 1, { 1 } },     { 2, { 2 } },     { 4, { 4 } },      { 8, { 8 } },
		      { 16, { 8, 8 } }, { 10, { 8, 2 } }, { 7, { 4, 2, 1 } } };
	u8 *p;

	box_protected_mode(box);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		box->log_count = 0;
		g_assert_null(mmu_fill(cpu, 0xd0000000, cases[i].size, ACCESS_R));
		g_assert_true(mem_write(cpu, 0xd0000000, data, cases[i].size, ACCESS_W));
		for (unsigned k = 0, at = 0; k < 4 && cases[i].pieces[k]; k++) {
			g_assert_cmphex(box->log[k].gpa, ==, 0xd0000000 + at);
			g_assert_cmpuint(box->log[k].size, ==, cases[i].pieces[k]);
			g_assert_true(box->log[k].write);
			g_assert_cmpint(memcmp(&box->log[k].data, data + at, box->log[k].size), ==,
					0);
			at += cases[i].pieces[k];
		}
	}
	/* a write does not read the device, a read does not write it, a modification does both */
	box->log_count = 0;
	p = access_slow(cpu, 0xd0000010, 4, ACCESS_W);
	g_assert_cmpuint(box->log_count, ==, 0);
	*(u32 *)p = 0xdeadbeef;
	access_commit(cpu);
	g_assert_cmpuint(box->log_count, ==, 1);
	g_assert_cmphex(box->log[0].data, ==, 0xdeadbeef);
	p = access_slow(cpu, 0xd0000010, 4, ACCESS_R);
	g_assert_cmphex(*(u32 *)p, ==, 0xd0000010);
	access_commit(cpu);
	g_assert_cmpuint(box->log_count, ==, 2);
	p = access_slow(cpu, 0xd0000010, 4, ACCESS_R | ACCESS_W);
	++*(u32 *)p;
	access_commit(cpu);
	g_assert_cmpuint(box->log_count, ==, 4);
	g_assert_cmphex(box->log[3].data, ==, 0xd0000011);
}

static void test_rom(void)
{
	struct cpu *cpu = box->cpu;
	u32 value = 7;

	box_protected_mode(box);
	box->rom[0x10] = 0x5a;
	g_assert_true(mmu_fill(cpu, BOX_ROM + 0x10, 4, ACCESS_R) == box->rom + 0x10);
	g_assert_null(mmu_fill(cpu, BOX_ROM + 0x10, 4, ACCESS_W));
	g_assert_true(mem_write(cpu, BOX_ROM + 0x10, &value, 4, ACCESS_W));
	g_assert_cmphex(box->rom[0x10], ==, 0x5a);
	g_assert_cmpuint(box->log_count, ==, 1);
	g_assert_cmphex(box->log[0].gpa, ==, BOX_ROM + 0x10);
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
	g_test_add_func("/mmu/permissions", test_permissions);
	g_test_add_func("/mmu/implicit-access", test_implicit_access);
	g_test_add_func("/mmu/long-mode", test_long_mode);
	g_test_add_func("/mmu/large-pages", test_large_pages);
	g_test_add_func("/mmu/canonical", test_canonical);
	g_test_add_func("/mmu/no-1g-pages", test_no_1g_pages);
	g_test_add_func("/mmu/32-bit", test_32bit);
	g_test_add_func("/mmu/pae", test_pae);
	g_test_add_func("/mmu/no-paging", test_no_paging);
	g_test_add_func("/mmu/tlb/flush", test_tlb_flush);
	g_test_add_func("/mmu/tlb/epochs", test_epochs);
	g_test_add_func("/mmu/tlb/empty", test_tlb_empty);
	g_test_add_func("/mmu/tlb/dirty", test_tlb_dirty);
	g_test_add_func("/mmu/tlb/ahead", test_tlb_ahead);
	g_test_add_func("/mmu/tlb/streams", test_tlb_streams);
	g_test_add_func("/mmu/tlb/writers", test_tlb_writers);
	g_test_add_func("/mmu/tlb/victims", test_tlb_victims);
	g_test_add_func("/mmu/tlb/kept", test_tlb_kept);
	g_test_add_func("/mmu/tlb/grows", test_tlb_grows);
	g_test_add_func("/mmu/tlb/victims-invalid", test_tlb_victims_invalid);
	g_test_add_func("/mmu/tlb/code-page", test_code_page);
	g_test_add_func("/mmu/tlb/marked-twice", test_marked_twice);
	g_test_add_func("/mmu/tlb/marked-meanwhile", test_marked_meanwhile);
	g_test_add_func("/mmu/slow/crossing", test_crossing);
	g_test_add_func("/mmu/slow/crossing-faults", test_crossing_faults);
	g_test_add_func("/mmu/slow/wrap", test_wrap);
	g_test_add_func("/mmu/slow/mmio", test_mmio);
	g_test_add_func("/mmu/code-of-a-page", test_code_of_a_page);
	g_test_add_func("/mmu/slow/rom", test_rom);
	status = g_test_run();
	box_free(box);
	return status;
}
