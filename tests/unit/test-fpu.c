/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FXSAVE, XSAVE and their kin: round trips of random state, partial masks, initial components,
 * and every check of SDM vol. 1 chapter 13 with its exception. Layouts from the manual, offsets of
 * extended components from the guest's CPUID leaf 0xD.
 */
#include "cpubox.h"

#include <errno.h>
#include <string.h>

#define AREA      0x20000ull /* linear and physical, in the identity map */
#define AREA2     0x21f00ull /* crosses a page */
#define FXSAVE64  "48 0f ae 00"
#define FXRSTOR64 "48 0f ae 08"
#define XGETBV    "0f 01 d0"
#define XSETBV    "0f 01 d1"

static struct box *box;
static struct cpu *cpu;

static u8 *at(u64 address)
{
	return box->ram + address;
}

static void set_rax(u64 address)
{
	cpu->gpr[RAX] = address;
}

static void start(void)
{
	box_long_mode(box);
	cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	if (vm_has(box->vm, FEAT_XSAVE)) {
		cpu->cr4 |= CR4_OSXSAVE;
		cpu->xcr0 = box->vm->xcr0_mask;
	}
	cpu->gpr[RSP] = 0x80000;
	cpu_update_ctx(cpu);
}

/* A legacy region as software may write it: all values of registers are valid. */
static void random_legacy(u8 *area)
{
	for (unsigned i = 0; i < 512; i++)
		area[i] = g_test_rand_int();
	area[0] = 0x7f; /* FCW */
	area[1] = 0x03;
	area[2] &= 0x7f; /* FSW: no pending exception, TOP anything */
	area[2] &= ~0x3f;
	area[3] &= 0x38;
	area[5] = 0;
	memset(area + 6, 0, 18); /* the pointers read as zero */
	memcpy(area + 24, (u8[]){ 0x80, 0x5f, 0, 0 }, 4);
	for (unsigned i = 0; i < 8; i++) /* 80 of 128 bits */
		memset(area + 32 + i * 16 + 10, 0, 6);
}

static bool no_xsave(void)
{
	if (!vm_has(box->vm, FEAT_XSAVE))
		g_test_skip("the host has no XSAVE");
	return !vm_has(box->vm, FEAT_XSAVE);
}

/* ---- FXSAVE ------------------------------------------------------------------------------------
 */

static void test_fxsave(void)
{
	u8 image[512];

	start();
	random_legacy(image);
	memcpy(at(AREA), image, 512);
	memset(at(AREA + 0x1000), 0xee, 512);
	set_rax(AREA);
	box_assert_next(box, FXRSTOR64);
	set_rax(AREA + 0x1000);
	box_assert_next(box, FXSAVE64);
	g_assert_cmpmem(at(AREA + 0x1000), 28, image, 28);
	g_assert_cmphex(box_get32(box, AREA + 0x1000 + 28), ==, box->vm->mxcsr_mask);
	g_assert_cmpmem(at(AREA + 0x1000 + 32), 416 - 32, image + 32, 416 - 32);
	for (unsigned i = 464; i < 512; i++) /* belongs to software */
		g_assert_cmphex(at(AREA + 0x1000)[i], ==, 0xee);
	/* across a page */
	memset(at(AREA2), 0, 512);
	set_rax(AREA2);
	box_assert_next(box, FXSAVE64);
	g_assert_cmpmem(at(AREA2 + 32), 416 - 32, image + 32, 416 - 32);
}

static void test_fxsave_checks(void)
{
	start();
	set_rax(AREA + 8);
	box_assert_fault(box, FXSAVE64, VEC_GP, 0);
	box_assert_fault(box, FXRSTOR64, VEC_GP, 0);
	set_rax(AREA);
	box_assert_next(box, FXSAVE64);
	at(AREA)[26] = 1; /* a reserved bit of MXCSR */
	box_assert_fault(box, FXRSTOR64, VEC_GP, 0);
	at(AREA)[26] = 0;
	box_assert_next(box, FXRSTOR64);
	cpu->cr0 |= CR0_TS;
	box_assert_fault(box, FXSAVE64, VEC_NM, -1);
	cpu->cr0 = (cpu->cr0 & ~CR0_TS) | CR0_EM;
	box_assert_fault(box, FXRSTOR64, VEC_NM, -1);
	cpu->cr0 &= ~CR0_EM;
	set_rax(0x40000000);
	g_assert_cmpint(box_exec(box, FXSAVE64), ==, HELPER_FAULT);
	g_assert_cmpuint(cpu->fault.vector, ==, VEC_PF);
	cpu->fault_pending = 0;
}

/* Outside 64-bit mode registers 8 to 15 stay out of it. */
static void test_fxsave_legacy(void)
{
	u8 image[512];

	start();
	random_legacy(image);
	memcpy(at(AREA), image, 512);
	set_rax(AREA);
	box_assert_next(box, FXRSTOR64);
	/* the same state, seen from 32-bit code */
	cpu->seg[SEG_CS].attr = 0xc09b;
	cpu_update_ctx(cpu);
	memset(at(AREA + 0x1000), 0xee, 512);
	set_rax(AREA + 0x1000);
	box_assert_next(box, "0f ae 00");
	g_assert_cmpmem(at(AREA + 0x1000 + 32), 256, image + 32, 256);
	for (unsigned i = 288; i < 416; i++)
		g_assert_cmphex(at(AREA + 0x1000)[i], ==, 0xee);
	memset(at(AREA + 0x1000 + 160), 0x11, 256);
	box_assert_next(box, "0f ae 08");
	cpu->seg[SEG_CS].attr = 0xa09b;
	cpu_update_ctx(cpu);
	set_rax(AREA + 0x2000);
	box_assert_next(box, FXSAVE64);
	g_assert_cmpmem(at(AREA + 0x2000 + 288), 128, image + 288, 128);
	for (unsigned i = 160; i < 288; i++)
		g_assert_cmphex(at(AREA + 0x2000)[i], ==, 0x11);
}

/* ---- XSAVE -------------------------------------------------------------------------------------
 */

struct component {
	u32 offset, size;
};

static struct component component(unsigned i)
{
	u32 out[4];

	cpuid_query(cpu, 0xd, i, out);
	return (struct component){ out[1], out[0] };
}

static void xmask(u64 mask)
{
	cpu->gpr[RAX] = (u32)mask;
	cpu->gpr[RDX] = mask >> 32;
}

/* The memory operand uses RBX here, since EDX:EAX is the mask. */
#define XSAVE_RBX    "48 0f ae 23"
#define XSAVEOPT_RBX "48 0f ae 33"
#define XRSTOR_RBX   "48 0f ae 2b"

static void xsave(u64 address, u64 mask)
{
	cpu->gpr[RBX] = address;
	xmask(mask);
	box_assert_next(box, XSAVE_RBX);
}

static void xrstor(u64 address, u64 mask)
{
	cpu->gpr[RBX] = address;
	xmask(mask);
	box_assert_next(box, XRSTOR_RBX);
}

static void random_area(u64 address)
{
	u8 *area = at(address);

	for (unsigned i = 512; i < box->vm->xsave_bytes; i++)
		area[i] = g_test_rand_int();
	random_legacy(area);
	memset(area + 512, 0, 64);
	memcpy(area + 512, &box->vm->xcr0_mask, 8);
}

static void assert_component(u64 a, u64 b, unsigned i)
{
	struct component c = component(i);

	g_assert_cmpmem(at(a + c.offset), c.size, at(b + c.offset), c.size);
}

static void test_xsave_round_trip(void)
{
	static const u64 places[] = { 0x30000, 0x31d00, 0x32fc0 };

	if (no_xsave())
		return;
	start();
	for (unsigned p = 0; p < ARRAY_LEN(places); p++) {
		random_area(AREA);
		xrstor(AREA, ~0ull);
		memset(at(0x30000), 0, 0x4000);
		xsave(places[p], ~0ull);
		g_assert_cmphex(box_get64(box, places[p] + 512), ==, box->vm->xcr0_mask);
		g_assert_cmpmem(at(places[p]), 28, at(AREA), 28);
		g_assert_cmpmem(at(places[p] + 32), 416 - 32, at(AREA + 32), 416 - 32);
		for (unsigned i = 2; i < 8; i++)
			if (box->vm->xcr0_mask >> i & 1)
				assert_component(places[p], AREA, i);
	}
}

/* Registers that were initialised are zero, whatever they held before. */
static void test_initialised(void)
{
	if (no_xsave())
		return;
	start();
	random_area(AREA);
	xrstor(AREA, ~0ull);
	box_put64(box, AREA + 512, 0);
	xrstor(AREA, ~0ull);
	cpu->seg[SEG_CS].attr = 0xc09b;
	cpu_update_ctx(cpu);
	set_rax(AREA);
	box_assert_next(box, "0f ae 08"); /* 32-bit FXRSTOR loads half of them */
	cpu->seg[SEG_CS].attr = 0xa09b;
	cpu_update_ctx(cpu);
	set_rax(AREA + 0x1000);
	box_assert_next(box, FXSAVE64);
	g_assert_cmpmem(at(AREA + 0x1000 + 160), 128, at(AREA + 160), 128);
	for (unsigned i = 288; i < 416; i++)
		g_assert_cmphex(at(AREA + 0x1000)[i], ==, 0);
}

/* Components outside the mask are left alone, in memory and in the registers. */
static void test_xsave_masks(void)
{
	u64 all = box->vm->xcr0_mask;

	if (no_xsave())
		return;
	start();
	random_area(AREA);
	xrstor(AREA, ~0ull);
	memset(at(0x30000), 0xee, 0x1000);
	box_put64(box, 0x30000 + 512, 1);
	xsave(0x30000, 2);
	g_assert_cmphex(box_get64(box, 0x30000 + 512), ==, 3); /* bit 0 stays, bit 1 from XINUSE */
	g_assert_cmphex(at(0x30000)[0], ==, 0xee);
	g_assert_cmphex(at(0x30000)[32], ==, 0xee);
	g_assert_cmphex(at(0x30000)[520], ==, 0xee); /* XCOMP_BV is not written */
	g_assert_cmpmem(at(0x30000 + 160), 256, at(AREA + 160), 256);
	g_assert_cmphex(box_get32(box, 0x30000 + 24), ==, box_get32(box, AREA + 24));
	if (all & 4)
		g_assert_cmphex(at(0x30000)[576], ==, 0xee);
	/* restore x87 alone from another image */
	random_area(0x40000);
	xrstor(0x40000, 1);
	xsave(0x50000, ~0ull);
	g_assert_cmpmem(at(0x50000 + 32), 128, at(0x40000 + 32), 128);
	g_assert_cmpmem(at(0x50000 + 160), 256, at(AREA + 160), 256);
	/* a component that the image does not have becomes initial */
	box_put64(box, 0x40000 + 512, 1);
	xrstor(0x40000, ~0ull);
	xsave(0x50000, ~0ull);
	g_assert_cmphex(box_get64(box, 0x50000 + 512) & ~3ull, ==, 0);
	for (unsigned i = 160; i < 416; i++)
		g_assert_cmphex(at(0x50000)[i], ==, 0);
	/* and MXCSR is loaded nevertheless */
	g_assert_cmphex(box_get32(box, 0x50000 + 24), ==, box_get32(box, 0x40000 + 24));
	/* nothing requested, nothing done */
	memset(at(0x50000), 0xee, 0x1000);
	xsave(0x50000, 0);
	g_assert_cmphex(at(0x50000)[24], ==, 0xee);
}

static void bad_header(unsigned offset, u8 value)
{
	random_area(AREA);
	at(AREA)[offset] |= value;
	cpu->gpr[RBX] = AREA;
	xmask(~0ull);
	box_assert_fault(box, XRSTOR_RBX, VEC_GP, 0);
}

static void test_xsave_checks(void)
{
	if (no_xsave())
		return;
	start();
	bad_header(512 + 1, 0x02); /* a component that does not exist (PKRU) */
	bad_header(512 + 7, 0x80);
	bad_header(520, 1); /* XCOMP_BV: the compacted format is not offered */
	bad_header(527, 0x80);
	bad_header(528, 1); /* and the next eight bytes are reserved */
	bad_header(26, 1);  /* MXCSR */
	cpu->gpr[RBX] = AREA + 32;
	box_assert_fault(box, XSAVE_RBX, VEC_GP, 0);
	box_assert_fault(box, XRSTOR_RBX, VEC_GP, 0);
	cpu->gpr[RBX] = AREA;
	cpu->cr0 |= CR0_TS;
	box_assert_fault(box, XSAVE_RBX, VEC_NM, -1);
	cpu->cr0 &= ~CR0_TS;
	cpu->cr4 &= ~CR4_OSXSAVE;
	box_assert_fault(box, XSAVE_RBX, VEC_UD, -1);
	box_assert_fault(box, XGETBV, VEC_UD, -1);
	cpu->cr4 |= CR4_OSXSAVE;
	/* what XCR0 turned off is neither saved nor accepted */
	cpu->xcr0 = 3;
	random_area(AREA);
	if (box->vm->xcr0_mask != 3)
		bad_header(512, 4);
	box_put64(box, AREA + 512, 3);
	xrstor(AREA, ~0ull);
	/* compacted and supervisor forms do not exist */
	box_assert_fault(box, "48 0f c7 23", VEC_UD, -1);
	box_assert_fault(box, "48 0f c7 2b", VEC_UD, -1);
}

/* A fault on the second page leaves memory and registers alone. */
static void test_xsave_fault(void)
{
	if (no_xsave())
		return;
	start();
	random_area(AREA);
	xrstor(AREA, ~0ull);
	box_put64(box, 0x3000 + 2 * 8, 0); /* 0x400000 is gone */
	tlb_flush_all(cpu);
	memset(at(0x3ff000), 0xee, 0x1000);
	cpu->gpr[RBX] = 0x3fff00;
	xmask(~0ull);
	g_assert_cmpint(box_exec(box, XSAVE_RBX), ==, HELPER_FAULT);
	g_assert_cmphex(cpu->fault.cr2 & PAGE_MASK, ==, 0x400000);
	g_assert_cmphex(at(0x3fff00)[32], ==, 0xee);
	memset(at(0x3ff000), 0, 0x1000);
	g_assert_cmpint(box_exec(box, XRSTOR_RBX), ==, HELPER_FAULT);
	cpu->fault_pending = 0;
	xsave(0x50000, ~0ull);
	g_assert_cmpmem(at(0x50000 + 32), 416 - 32, at(AREA + 32), 416 - 32);
}

/* XSAVEOPT may not skip what it saved elsewhere or what has changed behind its back. */
static void test_xsaveopt(void)
{
	if (!vm_has(box->vm, FEAT_XSAVEOPT)) {
		g_test_skip("the host has no XSAVEOPT");
		return;
	}
	start();
	for (unsigned n = 0; n < 100; n++) {
		random_area(AREA);
		xrstor(AREA, ~0ull);
		cpu->gpr[RBX] = AREA + (n & 1) * 0x10000;
		memset(at(cpu->gpr[RBX] + 32), 0, 416 - 32);
		xmask(~0ull);
		box_assert_next(box, XSAVEOPT_RBX);
		xsave(0x50000, ~0ull);
		g_assert_cmpmem(at(0x50000 + 32), 416 - 32, at(AREA + (n & 1) * 0x10000 + 32),
				416 - 32);
	}
}

static void test_xcr0(void)
{
	u64 all = box->vm->xcr0_mask;
	static const u64 bad[] = { 0, 2, 4, 5, 0x23, 0xe3, 0x27, 0x200 | 3, 1ull << 63 | 1, 9 };

	if (no_xsave())
		return;
	start();
	cpu->gpr[RCX] = 0;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		xmask(bad[i]);
		box_assert_fault(box, XSETBV, VEC_GP, 0);
	}
	xmask(all);
	box_assert_next(box, XSETBV);
	xmask(1);
	box_assert_next(box, XSETBV);
	g_assert_true(cpu->ctx & CTX_NO_AVX);
	xmask(all);
	box_assert_next(box, XSETBV);
	g_assert_cmpint(!(cpu->ctx & CTX_NO_AVX), ==, !!(all & 4));
	box_assert_next(box, XGETBV);
	g_assert_cmphex(cpu->gpr[RAX], ==, all);
	cpu->gpr[RCX] = 2;
	box_assert_fault(box, XGETBV, VEC_GP, 0);
	cpu->gpr[RCX] = 1;
	xmask(all);
	box_assert_fault(box, XSETBV, VEC_GP, 0);
	if (vm_has(box->vm, FEAT_XGETBV1)) {
		random_area(AREA);
		box_put64(box, AREA + 512, 2);
		xrstor(AREA, ~0ull);
		box_assert_next(box, XGETBV);
		g_assert_cmphex(cpu->gpr[RAX] & ~1ull, ==, 2);
	}
	box_user(box);
	cpu->gpr[RCX] = 0;
	box_assert_next(box, XGETBV);
	box_assert_fault(box, XSETBV, VEC_GP, 0);
}

/* Nothing of the host's own floating-point state is seen by the guest, nor the other way round. */
static void test_boundary(void)
{
	u32 mxcsr;
	u16 fcw;

	start();
	random_legacy(at(AREA));
	set_rax(AREA);
	box_assert_next(box, FXRSTOR64);
	fpu_enter(cpu);
	fpu_leave(cpu);
	__asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(fcw));
	g_assert_cmphex(mxcsr & ~0x3f, ==, 0x1f80);
	g_assert_cmphex(fcw, ==, 0x37f);
	__asm__ volatile("pcmpeqd %%xmm3, %%xmm3; fld1; fstp %%st(0)" : : : "xmm3", "st");
	set_rax(AREA + 0x1000);
	box_assert_next(box, FXSAVE64);
	g_assert_cmpmem(at(AREA + 0x1000 + 32), 416 - 32, at(AREA + 32), 416 - 32);
}

/* Saved and loaded again through struct x86_state, which may come from a file. */
static void test_state(void)
{
	struct x86_state *s = g_aligned_alloc(1, sizeof(*s), 64);

	start();
	random_legacy(at(AREA));
	set_rax(AREA);
	box_assert_next(box, FXRSTOR64);
	cpu_get_state(cpu, s);
	g_assert_cmphex(s->cr3, ==, 0x1000);
	cpu_reset(cpu, false);
	g_assert_cmpint(cpu_set_state(cpu, s), ==, 0);
	g_assert_cmpuint(cpu->ctx & CTX_MODE_MASK, ==, CTX_64);
	set_rax(AREA + 0x1000);
	box_assert_next(box, FXSAVE64);
	g_assert_cmpmem(at(AREA + 0x1000 + 32), 416 - 32, at(AREA + 32), 416 - 32);
	/* an event on its way is kept; a software interrupt is simply executed again */
	s->event_pending = 1;
	s->event_vector = VEC_PF;
	g_assert_cmpint(cpu_set_state(cpu, s), ==, 0);
	g_assert_cmpuint(cpu->fault_pending, ==, 1);
	s->event_soft = 1;
	g_assert_cmpint(cpu_set_state(cpu, s), ==, 0);
	g_assert_cmpuint(cpu->fault_pending, ==, 0);
	s->event_vector = 0x80;
	g_assert_cmpint(cpu_set_state(cpu, s), ==, 0);
	memset(s, 0xaa, sizeof(*s));
	cpu_get_state(cpu, s); /* ... and saved again as it came */
	g_assert_cmpuint(s->event_pending, ==, 1);
	g_assert_cmpuint(s->event_soft, ==, 1);
	g_assert_cmphex(s->event_vector, ==, 0x80);
	s->event_pending = 0;
	g_assert_cmpint(cpu_set_state(cpu, s), ==, 0);
	cpu_get_state(cpu, s);
	g_assert_cmpuint(s->event_pending | s->event_soft, ==, 0);
	/* hostile headers must not reach XRSTOR */
	memset(s->xsave + 512, 0xff, 64);
	cpu_set_state(cpu, s);
	fpu_enter(cpu);
	fpu_leave(cpu);
	s->xsave[26] = 0xff;
	g_assert_cmpint(cpu_set_state(cpu, s), ==, -EINVAL);
	g_aligned_free(s);
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	box = box_new(NULL);
	cpu = box->cpu;
	g_test_add_func("/fpu/fxsave", test_fxsave);
	g_test_add_func("/fpu/fxsave-checks", test_fxsave_checks);
	g_test_add_func("/fpu/fxsave-legacy", test_fxsave_legacy);
	g_test_add_func("/fpu/xsave-round-trip", test_xsave_round_trip);
	g_test_add_func("/fpu/initialised", test_initialised);
	g_test_add_func("/fpu/xsave-masks", test_xsave_masks);
	g_test_add_func("/fpu/xsave-checks", test_xsave_checks);
	g_test_add_func("/fpu/xsave-fault", test_xsave_fault);
	g_test_add_func("/fpu/xsaveopt", test_xsaveopt);
	g_test_add_func("/fpu/xcr0", test_xcr0);
	g_test_add_func("/fpu/boundary", test_boundary);
	g_test_add_func("/fpu/state", test_state);
	status = g_test_run();
	box_free(box);
	return status;
}
