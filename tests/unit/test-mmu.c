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

/* ---- slow accesses -----------------------------------------------------------------------------
 */

static void test_crossing(void)
{
	struct cpu *cpu = box->cpu;
	u64 value = 0x8877665544332211, back = 0;
	u8 *p;

	box_two_pages(box, 0x500067);
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

	box_two_pages(box, 0x500065); /* read-only */
	box_put64(box, 0x300ff8, 0);
	g_assert_false(mem_write(cpu, 0x200ffd, &value, 8, ACCESS_W));
	g_assert_cmphex(cpu->fault.cr2, ==, 0x201000);
	g_assert_cmphex(cpu->fault.error, ==, PF_P | PF_W);
	g_assert_cmphex(box_get64(box, 0x300ff8), ==, 0);
	g_assert_null(access_slow(cpu, 0x200ffd, 8, ACCESS_R | ACCESS_W));
	g_assert_cmphex(cpu->fault.cr2, ==, 0x201000);
	box_two_pages(box, 0);
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
	g_test_add_func("/mmu/slow/crossing", test_crossing);
	g_test_add_func("/mmu/slow/crossing-faults", test_crossing_faults);
	g_test_add_func("/mmu/slow/wrap", test_wrap);
	g_test_add_func("/mmu/slow/mmio", test_mmio);
	g_test_add_func("/mmu/slow/rom", test_rom);
	status = g_test_run();
	box_free(box);
	return status;
}
