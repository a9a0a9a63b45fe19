/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code of 16 bits, whose instructions run as 64-bit code on the host: there a 66 prefix must choose
 * the operand's size where 16 bits are the default, and must not become part of an opcode. Results
 * are the manual's.
 */
#include "machine.h"

#include <glib.h>
#include <string.h>

/* Runs @bytes of @code with RAX and RCX in 16-bit code of a compatibility segment; RCX. */
static u64 run(const char *code, unsigned bytes, u64 rax, u64 rcx)
{
	static struct machine m;
	struct x86_state s;

	machine_init(&m, false);
	memcpy(m.code, code, bytes);
	m.code[bytes] = 0xcc;
	s = m.state;
	s.seg[SEG_CS] = (struct x86_segment){ 0, 0xffffffff, 8, 0x009b };
	s.seg[SEG_SS].attr &= ~0x4000;
	s.rip = CODE_GVA;
	s.gpr[RAX] = rax;
	s.gpr[RCX] = rcx;
	s.gpr[RBX] = 0x8000; /* [bx]: the segment begins in front of the data */
	s.seg[SEG_DS] = (struct x86_segment){ DATA_GVA - 0x8000, 0xffff, 16, 0x0093 };
	s.gpr[RSP] = DATA_GVA + PAGE_SIZE;
	g_assert_cmpint(machine_run(&m, &s), ==, -1);
	machine_free(&m);
	return s.gpr[RCX];
}

#define RUN(code, rax, rcx) run(code, sizeof(code) - 1, rax, rcx)

static void test_mmx(void)
{
	/* movd mm0, eax; pshufw mm0, mm0, 1; movd ecx, mm0 */
	g_assert_cmphex(RUN("\x0f\x6e\xc0\x0f\x70\xc0\x01\x0f\x7e\xc1", 0x12345678, 0), ==,
			0x56781234);
	/* movd mm0, eax; psubw mm0, [bx]; movd ecx, mm0: the memory is zero */
	g_assert_cmphex(RUN("\x0f\x6e\xc0\x0f\xf9\x07\x0f\x7e\xc1", 0x12345678, 0), ==, 0x12345678);
}

static void test_sse(void)
{
	/* movd xmm0, eax; addps xmm0, xmm0; movd ecx, xmm0 */
	g_assert_cmphex(RUN("\x66\x0f\x6e\xc0\x0f\x58\xc0\x66\x0f\x7e\xc1", 0x3f800000, 0), ==,
			0x40000000);
	/* movd xmm0, eax; cvtss2si ecx, xmm0 */
	g_assert_cmphex(RUN("\x66\x0f\x6e\xc0\xf3\x0f\x2d\xc8", 0x47800000, 0), ==, 0x10000);
}

static void test_counts(void)
{
	/* popcnt cx, ax and ecx, eax */
	g_assert_cmphex(RUN("\xf3\x0f\xb8\xc8", 0xffff0001, 0x55551234), ==, 0x55550001);
	g_assert_cmphex(RUN("\x66\xf3\x0f\xb8\xc8", 0xffff0001, 0x55551234), ==, 17);
	/* bsr cx, ax */
	g_assert_cmphex(RUN("\x0f\xbd\xc8", 0x80000100, 0x55551234), ==, 0x55550008);
}

static void test_fences(void)
{
	/* mfence; lfence; sfence; movnti [bx], eax; mov ecx, [bx] */
	g_assert_cmphex(
		RUN("\x0f\xae\xf0\x0f\xae\xe8\x0f\xae\xf8\x0f\xc3\x07\x66\x8b\x0f", 0x11223344, 0),
		==, 0x11223344);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/narrow/mmx", test_mmx);
	g_test_add_func("/narrow/sse", test_sse);
	g_test_add_func("/narrow/counts", test_counts);
	g_test_add_func("/narrow/fences", test_fences);
	return g_test_run();
}
