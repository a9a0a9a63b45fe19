/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 exceptions, and the areas that FXSAVE and the XSAVE family write and read. SDM vol.
 * 1 8.7, 10.5 and chapter 13; vol. 2: the instructions.
 */
#include "cases.h"

/* a division by zero that is not masked, and then an instruction that must report it */
#define PENDING "fninit; fldcw (%rax); fld1; fldz; fdivrp %st, %st(1)"
CODE(mf_wait, PENDING, "fwait", "fninit");
CODE(mf_arithmetic, PENDING, "fld1", "fninit");
CODE(mf_mmx, PENDING, "paddb %mm0, %mm0", "fninit");
CODE(mf_store, PENDING, "fstpl (%rsi)", "fninit");
CODE(mf_operand, PENDING, "paddq (%rsi), %mm0", "fninit");
CODE(mf_silent, PENDING, "fnstsw %ax", "fninit");
CODE(mf_clear, PENDING "; fnclex", "fwait", "fninit");
CODE(mf_user, PENDING, "fwait", "");
CODE(reset, "", "fninit", "");
CODE(save, "", "fxsave64 (%rax)", "");
CODE(restore, "", "fxrstor64 (%rax)", "");
CODE32(save32, "", "fxsave (%eax)", "");
CODE(load_mxcsr, "", "ldmxcsr (%rax)", "");
CODE(simd_zero, "ldmxcsr (%rax); xorps %xmm1, %xmm1; movaps %xmm1, %xmm2", "divps %xmm2, %xmm1",
     "");
CODE(fill, "fninit; fld1; fldpi", "movq %rcx, %xmm0; movq %rcx, %xmm15", "fxsave64 (%rax)");
CODE(get, "", "xgetbv", "");
CODE(set, "", "xsetbv", "");
CODE(xsave_rdi, "", "xsave64 (%rdi)", "");
CODE(xrstor_rdi, "", "xrstor64 (%rdi)", "");
CODE(xsave_narrow, "", "xsave (%rdi)", "");
CODE(xrstor_narrow, "", "xrstor (%rdi)", "");
CODE(xsaveopt_rdi, "", "xsaveopt64 (%rdi)", "");
CODE(xsaveopt_narrow, "", "xsaveopt (%rdi)", "");
CODE(xsavec_rdi, "", "xsavec64 (%rdi)", "");
CODE(xsaves_rdi, "", "xsaves64 (%rdi)", "");
CODE(load_ymm, "fninit; fld1; ldmxcsr (%rbx)", "vmovups (%rsi), %ymm3", "");
CODE(store_ymm, "", "vmovups %ymm3, (%rsi)", "fnstcw (%rbx); stmxcsr 4(%rbx)");

#define CONTROL 0x37f
#define MXCSR   0x1f80

static u8 *const page0 = test_memory[0], *const page1 = test_memory[1];

static u16 word(const u8 *at)
{
	return *(const u16 *)at;
}

static void x87(void)
{
	const u64 cr0 = READ_CR(0);

	test_reset();
	*(u16 *)page0 = CONTROL & ~4; /* zero divide is not masked */
	begin("x87/reported-by-the-next", "");
	in.rax = TEST(0);
	run_kernel(mf_wait);
	trapped(16, NO_ERROR, mf_wait_at);
	in.rax = TEST(0);
	run_kernel(mf_arithmetic);
	trapped(16, NO_ERROR, mf_arithmetic_at);
	in.rax = TEST(0);
	run_user(mf_user);
	trapped(16, NO_ERROR, mf_user_at);
	run_kernel(reset);
	end();
	begin("x87/before-the-operand", "");
	test_map(3, 0);
	in.rax = TEST(0);
	in.rsi = TEST(3);
	run_kernel(mf_store);
	trapped(16, NO_ERROR, mf_store_at);
	in.rax = TEST(0);
	in.rsi = TEST(3);
	run_kernel(mf_operand);
	trapped(16, NO_ERROR, mf_operand_at);
	test_map(3, PTE_P | PTE_W | PTE_U);
	run_kernel(reset);
	end();
	begin("x87/mmx-reports-too", "");
	in.rax = TEST(0);
	run_kernel(mf_mmx);
	trapped(16, NO_ERROR, mf_mmx_at);
	run_kernel(reset);
	end();
	begin("x87/no-wait-forms", "");
	in.rax = TEST(0);
	run_kernel(mf_silent);
	finished();
	check("ES, ZE, B", out.rax & 0x8084, 0x8084);
	in.rax = TEST(0);
	run_kernel(mf_clear);
	finished();
	end();
	begin("x87/simd-is-another", "");
	*(u32 *)page0 = MXCSR & ~0x80; /* invalid is not masked */
	in.rax = TEST(0);
	WRITE_CR(4, READ_CR(4) & ~0x400ull);
	run_kernel(simd_zero);
	trapped(6, NO_ERROR, simd_zero_at); /* without OSXMMEXCPT */
	WRITE_CR(4, READ_CR(4) | 0x400);
	in.rax = TEST(0);
	run_kernel(simd_zero);
	trapped(19, NO_ERROR, simd_zero_at);
	*(u32 *)page0 = MXCSR;
	in.rax = TEST(0);
	run_kernel(load_mxcsr);
	end();
	WRITE_CR(0, cr0);
}

static void fxsave_area(void)
{
	begin("fxsave/what-is-there", "fxsave64 fxsave");
	test_reset();
	in.rax = TEST(0);
	in.rcx = 0x1122334455667788;
	run_kernel(fill);
	finished();
	check("fcw", word(page0), CONTROL);
	check("top", word(page0 + 2) & 0x3800, 6 << 11);
	check("tags", page0[4], 0xc0);
	check("mxcsr", *(u32 *)(page0 + 24), MXCSR);
	check("st0", *(u64 *)(page0 + 32), 0xc90fdaa22168c235); /* pi */
	check("its exponent", word(page0 + 40), 0x4000);
	check("st1", *(u64 *)(page0 + 48), 1ull << 63);
	check("xmm0", *(u64 *)(page0 + 160), 0x1122334455667788);
	check("xmm15", *(u64 *)(page0 + 160 + 15 * 16), 0x1122334455667788);
	in.rax = TEST(1);
	page1[160 + 15 * 16] = 0x77;
	run_compat(save32);
	finished();
	check("xmm0 of 32 bit", *(u64 *)(page1 + 160), 0x1122334455667788);
	check("xmm15 is not written", page1[160 + 15 * 16], 0x77);
	end();
	begin("fxsave/restore", "fxrstor64 fxrstor");
	run_kernel(reset);
	*(u16 *)page0 = 0x27f;
	in.rax = TEST(0);
	run_kernel(restore);
	finished();
	in.rax = TEST(1);
	run_kernel(save);
	check("fcw", word(page1), 0x27f);
	check("tags", page1[4], 0xc0);
	check("st1", *(u64 *)(page1 + 48), 1ull << 63);
	run_kernel(reset);
	end();
	begin("fxsave/refused", "fxsave fxrstor");
	in.rax = TEST(0) + 8;
	run_kernel(save);
	trapped(13, 0, save_at);
	*(u32 *)(page0 + 24) = 0x80000000;
	in.rax = TEST(0);
	run_kernel(restore);
	trapped(13, 0, restore_at);
	*(u32 *)(page0 + 24) = MXCSR;
	test_map(1, 0);
	in.rax = TEST(1) - 256;
	run_kernel(save);
	trapped(14, 2, save_at);
	check("cr2", trap.cr2 & ~0xfffull, TEST(1));
	in.rax = TEST(1) - 256;
	run_user(restore);
	trapped(14, 4, restore_at);
	test_map(1, PTE_P | PTE_W | PTE_U);
	end();
	begin("fxsave/switched-off", "fxsave fxrstor");
	WRITE_CR(0, READ_CR(0) | 8);
	in.rax = TEST(0);
	run_kernel(save);
	trapped(7, NO_ERROR, save_at);
	WRITE_CR(0, (READ_CR(0) & ~8ull) | 4);
	in.rax = TEST(0);
	run_kernel(restore);
	trapped(7, NO_ERROR, restore_at);
	WRITE_CR(0, READ_CR(0) & ~4ull);
	end();
	begin("fxsave/mxcsr-reserved", "");
	*(u32 *)page0 = 0x10000;
	in.rax = TEST(0);
	run_kernel(load_mxcsr);
	trapped(13, 0, load_mxcsr_at);
	end();
}

/* ---- XSAVE ----------------------------------------------------------------------------------- */

static void set_xcr0(u64 value)
{
	in.rax = value;
	in.rdx = value >> 32;
	run_kernel(set);
}

static void xcr0(void)
{
	begin("xsave/not-enabled", "xsave64 xrstor64 xgetbv xsetbv");
	in.rdi = TEST(0);
	run_kernel(xsave_rdi);
	trapped(6, NO_ERROR, xsave_rdi_at);
	in.rdi = TEST(0);
	run_kernel(xrstor_rdi);
	trapped(6, NO_ERROR, xrstor_rdi_at);
	run_kernel(get);
	trapped(6, NO_ERROR, get_at);
	run_kernel(set);
	trapped(6, NO_ERROR, set_at);
	end();
	WRITE_CR(4, READ_CR(4) | 1 << 18);
	begin("xsave/xcr0", "xgetbv xsetbv");
	set_xcr0(3);
	finished();
	in.rax = in.rdx = ~0ull;
	run_user(get);
	finished();
	check("rax", out.rax, 3);
	check("rdx", out.rdx, 0);
	set_xcr0(2); /* x87 is always on */
	trapped(13, 0, set_at);
	set_xcr0(1ull << 63 | 3);
	trapped(13, 0, set_at);
	set_xcr0(5); /* AVX without SSE */
	trapped(13, 0, set_at);
	in.rcx = 1;
	set_xcr0(3);
	trapped(13, 0, set_at);
	in.rax = 3;
	run_user(set);
	trapped(13, 0, set_at);
	in.rcx = 2;
	run_kernel(get);
	trapped(13, 0, get_at);
	run_kernel(get);
	check("unchanged", out.rax, 3);
	end();
}

static void area(const char *code, u64 mask, u64 at)
{
	in.rdi = at;
	in.rax = mask;
	run_kernel(code);
}

static void xsave_area(void)
{
	begin("xsave/alignment", "xsave64 xrstor64 xsave xrstor");
	area(xsave_rdi, 3, TEST(0) + 16);
	trapped(13, 0, xsave_rdi_at);
	area(xrstor_rdi, 3, TEST(0) + 32);
	trapped(13, 0, xrstor_rdi_at);
	area(xsave_narrow, 3, TEST(0) + 8);
	trapped(13, 0, xsave_narrow_at);
	end();
	begin("xsave/only-what-is-asked", "xsave64 xsave xrstor");
	test_reset();
	run_kernel(reset);
	*(u32 *)(test_memory[2]) = MXCSR | 0x8000;
	in.rax = TEST(2);
	run_kernel(load_mxcsr);
	page0[512] = 4; /* bits that are not asked for stay */
	page0[0] = page0[160] = 0x77;
	area(xsave_rdi, 2, TEST(0));
	finished();
	check("x87 is left alone", page0[0], 0x77);
	check("mxcsr", *(u32 *)(page0 + 24), MXCSR | 0x8000);
	check("bv", page0[512] & 5, 4);
	page0[512] = 0;
	area(xsave_narrow, 1, TEST(0));
	finished();
	check("fcw", word(page0), CONTROL);
	area(xrstor_narrow, 1, TEST(0));
	finished();
	end();
	begin("xsave/restore-initialises", "xrstor64");
	test_reset();
	*(u32 *)(page0 + 24) = MXCSR;
	in.rax = TEST(1);
	in.rcx = 0x5555;
	run_kernel(fill);
	area(xrstor_rdi, 3, TEST(0)); /* XSTATE_BV is 0 */
	finished();
	in.rax = TEST(1);
	run_kernel(save);
	check("tags", page1[4], 0);
	check("fcw", word(page1), CONTROL);
	check("xmm0", *(u64 *)(page1 + 160), 0);
	end();
	begin("xsave/header", "xrstor64");
	page0[512] = 4; /* AVX is not enabled */
	area(xrstor_rdi, 3, TEST(0));
	trapped(13, 0, xrstor_rdi_at);
	page0[512] = 3;
	page0[520] = 1; /* XCOMP_BV */
	area(xrstor_rdi, 3, TEST(0));
	trapped(13, 0, xrstor_rdi_at);
	page0[520] = 0;
	page0[528] = 1;
	area(xrstor_rdi, 3, TEST(0));
	trapped(13, 0, xrstor_rdi_at);
	page0[528] = 0;
	page0[527] = 0x80; /* compacted: #GP where it is not offered */
	if (!cpu_has(0xd, 1, 0, 1)) {
		area(xrstor_rdi, 3, TEST(0));
		trapped(13, 0, xrstor_rdi_at);
	}
	page0[527] = 0;
	*(u32 *)(page0 + 24) = 0x80000000; /* MXCSR */
	area(xrstor_rdi, 2, TEST(0));
	trapped(13, 0, xrstor_rdi_at);
	area(xrstor_rdi, 1, TEST(0)); /* which x87 alone does not load */
	page0[0] = 0x7f;
	page0[1] = 3;
	finished();
	end();
	begin("xsave/page-fault", "xsave64 xrstor64");
	test_reset();
	test_map(1, 0);
	area(xsave_rdi, 3, TEST(1) - 512);
	check("vector", trap.vector, 14);
	check("error", trap.error & ~2, 0); /* the header is read and written */
	check("cr2", trap.cr2 & ~0xfffull, TEST(1));
	area(xrstor_rdi, 3, TEST(1) - 512);
	trapped(14, 0, xrstor_rdi_at);
	test_map(1, PTE_P | PTE_W | PTE_U);
	end();
	begin("xsave/switched-off", "xsave64 xrstor64");
	WRITE_CR(0, READ_CR(0) | 8);
	area(xsave_rdi, 3, TEST(0));
	trapped(7, NO_ERROR, xsave_rdi_at);
	area(xrstor_rdi, 3, TEST(0));
	trapped(7, NO_ERROR, xrstor_rdi_at);
	WRITE_CR(0, READ_CR(0) & ~8ull);
	end();
}

static void avx(void)
{
	if (!cpu_has(1, 0, 2, 28)) {
		skip("xsave/avx", "", "not offered");
		return;
	}
	begin("xsave/avx", "xsave64 xrstor64");
	in.rsi = TEST(2);
	in.rbx = TEST(4);
	*(u32 *)test_memory[4] = MXCSR;
	run_kernel(load_ymm);
	trapped(6, NO_ERROR, load_ymm_at); /* XCR0.AVX is off */
	set_xcr0(7);
	finished();
	test_reset();
	*(u32 *)test_memory[4] = MXCSR;
	for (unsigned i = 0; i < 32; i++)
		test_memory[2][i] = i + 1;
	in.rsi = TEST(2);
	in.rbx = TEST(4);
	run_kernel(load_ymm);
	finished();
	area(xsave_rdi, 7, TEST(0));
	finished();
	check("bv", page0[512], 7);
	check("low", *(u64 *)(page0 + 160 + 3 * 16), 0x0807060504030201);
	check("high", *(u64 *)(page0 + 576 + 3 * 16), 0x1817161514131211);
	*(u64 *)(page0 + 576 + 3 * 16) = 0x99;
	page0[512] = 4; /* the upper half from memory, SSE and x87 anew */
	area(xrstor_rdi, 7, TEST(0));
	finished();
	in.rsi = TEST(3);
	in.rbx = TEST(4);
	run_kernel(store_ymm);
	check("low is new", *(u64 *)test_memory[3], 0);
	check("high is loaded", *(u64 *)(test_memory[3] + 16), 0x99);
	set_xcr0(3);
	end();
}

static void family(void)
{
	if (cpu_has(0xd, 1, 0, 0)) {
		begin("xsave/xsaveopt", "xsaveopt64 xsaveopt");
		test_reset();
		in.rax = TEST(1);
		in.rcx = 0x4242;
		run_kernel(fill);
		area(xsaveopt_rdi, 3, TEST(0));
		finished();
		check("xmm0", *(u64 *)(page0 + 160), 0x4242);
		area(xsaveopt_narrow, 3, TEST(0) + 4);
		trapped(13, 0, xsaveopt_narrow_at);
		end();
	} else {
		skip("xsave/xsaveopt", "xsaveopt xsaveopt64", "not offered");
	}
	if (cpu_has(0xd, 1, 0, 1)) {
		begin("xsave/xsavec", "xsavec64");
		test_reset();
		in.rax = TEST(1);
		in.rcx = 0x4343;
		run_kernel(fill);
		area(xsavec_rdi, 3, TEST(0));
		finished();
		check("xcomp", *(u64 *)(page0 + 520), 1ull << 63 | 3);
		check("xmm0", *(u64 *)(page0 + 160), 0x4343);
		end();
	} else {
		begin("xsave/xsavec-is-not-there", "xsavec xsavec64");
		area(xsavec_rdi, 3, TEST(0));
		trapped(6, NO_ERROR, xsavec_rdi_at);
		end();
	}
	if (!cpu_has(0xd, 1, 0, 3)) {
		begin("xsave/xsaves-is-not-there", "");
		area(xsaves_rdi, 3, TEST(0));
		trapped(6, NO_ERROR, xsaves_rdi_at);
		end();
	}
}

void cases_fpu(void)
{
	x87();
	fxsave_area();
	if (!cpu_has(1, 0, 2, 26)) {
		skip("xsave/all", "", "XSAVE is not offered");
		return;
	}
	xcr0();
	xsave_area();
	avx();
	family();
	WRITE_CR(4, READ_CR(4) & ~(1ull << 18));
}
