/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes off RSP is looked up in cpu->stack before the TLB is asked, and the accesses of a frame
 * share checks: stacks that cross pages, that nobody mapped, or that hold code.
 */
#include "machine.h"

#include <glib.h>
#include <string.h>

#define NOWHERE 0x8000000000000000ull

static struct machine m;

/* Runs @bytes of @code with this stack pointer. */
static int run(const void *code, unsigned bytes, u64 rsp, struct x86_state *s)
{
	memcpy(m.code, code, bytes);
	m.code[bytes] = 0xcc;
	cpu_vm_memory_written(m.vm, machine_gpa(&m, m.code), PAGE_SIZE);
	s->rip = CODE_GVA;
	s->gpr[RSP] = rsp;
	return machine_run(&m, s);
}

/* Frames on both sides of a page's end, and over it. */
static void test_pages(const void *step)
{
	/* mov ecx, 50; again: call function; dec ecx; jnz again; jmp out
	 * function: push rbx; sub rsp, 24; mov [rsp+8], rcx; add rdx, [rsp+8]; add [rsp+20], cl;
	 * add rsp, 24; pop rbx; ret; out: */
	static const u8 code[] = { 0xb9, 50,   0,    0,    0,    0xe8, 6,    0,    0,    0,    0xff,
				   0xc9, 0x75, 0xf7, 0xeb, 25,   0x53, 0x48, 0x83, 0xec, 0x18, 0x48,
				   0x89, 0x4c, 0x24, 0x08, 0x48, 0x03, 0x54, 0x24, 0x08, 0x00, 0x4c,
				   0x24, 0x14, 0x48, 0x83, 0xc4, 0x18, 0x5b, 0xc3 };

	machine_init(&m, step != NULL);
	for (int off = -32; off <= 72; off++) {
		struct x86_state s = m.state;
		u64 rsp = DATA_GVA + 2 * PAGE_SIZE + off;

		s.gpr[RBX] = 0x1122334455667788;
		s.gpr[RDX] = 0;
		g_assert_cmpint(run(code, sizeof(code), rsp, &s), ==, -1);
		g_assert_cmpuint(s.gpr[RDX], ==, 50 * 51 / 2);
		g_assert_cmphex(s.gpr[RBX], ==, 0x1122334455667788);
		g_assert_cmphex(s.gpr[RSP], ==, rsp);
	}
	machine_free(&m);
}

static void find_refused(void *opaque, const char *group, const char *name, u64 value)
{
	(void)group;
	if (!strcmp(name, "groups-refused"))
		*(u64 *)opaque = value;
}

static u64 refused(void)
{
	u64 n = 0;

	cpu_counters(m.cpu, find_refused, &n);
	return n;
}

/* What the function in frames[] does to RDX, called with @n down to 1. */
static u64 frames_result(u64 x, unsigned n)
{
	for (; n; n--) {
		u64 first = x, middle = n;

		x += n;
		middle += x;
		x += middle;
		x = (x & ~0xffffffffull) | (u32)(x + n);
		x += first + first;
	}
	return x;
}

/* Large frames with the ends of pages at every place of theirs. What a page's end has made of the
 * block is found again the next time: nothing leaves it. */
static void test_frames(const void *step)
{
	/* again: call function; dec ecx; jnz again; jmp out
	 * function: push rbx; sub rsp, 200; mov [rsp], rcx; mov [rsp+8], rdx; mov [rsp+96], rcx;
	 * mov [rsp+184], rdx; mov [rsp+192], rbx; add rdx, [rsp]; add [rsp+96], rdx;
	 * add rdx, [rsp+96]; call leaf; mov rbx, [rsp+192]; add rdx, [rsp+184]; add rdx, [rsp+8];
	 * add rsp, 200; pop rbx; ret
	 * leaf: push rdx; add [rsp], ecx; pop rdx; ret; out: */
	static const u8 code[] = { 0xe8, 0x06, 0x00, 0x00, 0x00, 0xff, 0xc9, 0x75, 0xf7, 0xeb, 0x5d,
				   0x53, 0x48, 0x81, 0xec, 0xc8, 0x00, 0x00, 0x00, 0x48, 0x89, 0x0c,
				   0x24, 0x48, 0x89, 0x54, 0x24, 0x08, 0x48, 0x89, 0x4c, 0x24, 0x60,
				   0x48, 0x89, 0x94, 0x24, 0xb8, 0x00, 0x00, 0x00, 0x48, 0x89, 0x9c,
				   0x24, 0xc0, 0x00, 0x00, 0x00, 0x48, 0x03, 0x14, 0x24, 0x48, 0x01,
				   0x54, 0x24, 0x60, 0x48, 0x03, 0x54, 0x24, 0x60, 0xe8, 0x1e, 0x00,
				   0x00, 0x00, 0x48, 0x8b, 0x9c, 0x24, 0xc0, 0x00, 0x00, 0x00, 0x48,
				   0x03, 0x94, 0x24, 0xb8, 0x00, 0x00, 0x00, 0x48, 0x03, 0x54, 0x24,
				   0x08, 0x48, 0x81, 0xc4, 0xc8, 0x00, 0x00, 0x00, 0x5b, 0xc3, 0x52,
				   0x01, 0x0c, 0x24, 0x5a, 0xc3 };
	u64 before = 0;

	machine_init(&m, step != NULL);
	for (unsigned i = 0; i < 4 * 280; i++) {
		/* each place twice in a row; aligned ones, then all of them */
		unsigned place = i / 2 % 280;
		struct x86_state s = m.state;
		u64 rsp = DATA_GVA + 2 * PAGE_SIZE - 16 + place - (i < 560 ? place % 8 : 0);

		s.rip = CODE_GVA;
		s.gpr[RCX] = 1 + place % 5;
		s.gpr[RBX] = 0x1122334455667788;
		s.gpr[RDX] = 0x123456789abc * place;
		s.gpr[RSP] = rsp;
		if (i)
			g_assert_cmpint(machine_run(&m, &s), ==, -1);
		else
			g_assert_cmpint(run(code, sizeof(code), rsp, &s), ==, -1);
		g_assert_cmphex(s.gpr[RDX], ==,
				frames_result(0x123456789abc * place, 1 + place % 5));
		g_assert_cmphex(s.gpr[RBX], ==, 0x1122334455667788);
		g_assert_cmphex(s.gpr[RSP], ==, rsp);
		if (i & 1)
			g_assert_cmpuint(refused(), ==, before);
		before = refused();
	}
	g_assert_true(step || before);
	machine_free(&m);
}

/* An address that is not canonical is #SS(0), with everything as it was: the very one that stands
 * for no page too. */
static void test_nowhere(const void *step)
{
	static const struct {
		u8 code[8], bytes;
	} tries[] = {
		{ { 0x50 }, 1 },                         /* push rax */
		{ { 0x50, 0x53, 0x55 }, 3 },             /* push rax; push rbx; push rbp */
		{ { 0x58 }, 1 },                         /* pop rax */
		{ { 0x5b, 0x58 }, 2 },                   /* pop rbx; pop rax */
		{ { 0x48, 0x8b, 0x04, 0x24 }, 4 },       /* mov rax, [rsp] */
		{ { 0x48, 0x01, 0x44, 0x24, 0x10 }, 5 }, /* add [rsp+16], rax */
		{ { 0xe8, 0, 0, 0, 0 }, 5 },             /* call */
		{ { 0xff, 0xd6 }, 2 },                   /* call rsi */
		{ { 0xc3 }, 1 },                         /* ret */
		{ { 0x9c }, 1 },                         /* pushfq */
	};
	static const u64 stacks[] = { NOWHERE + 0x800, NOWHERE + 0x10, NOWHERE, NOWHERE + 0xff8 };

	machine_init(&m, step != NULL);
	for (unsigned i = 0; i < ARRAY_LEN(tries); i++) {
		for (unsigned k = 0; k < ARRAY_LEN(stacks); k++) {
			struct x86_state s = m.state, before;

			s.gpr[RAX] = 0x1111;
			s.gpr[RSI] = CODE_GVA + 64;
			s.rflags |= FLAG_CF | FLAG_ZF;
			before = s;
			g_assert_cmpint(run(tries[i].code, tries[i].bytes, stacks[k], &s), ==,
					VEC_SS);
			g_assert_cmphex(s.rip, ==, CODE_GVA);
			g_assert_cmphex(s.gpr[RSP], ==, stacks[k]);
			g_assert_cmphex(s.gpr[RAX], ==, before.gpr[RAX]);
			g_assert_cmphex(s.gpr[RBX], ==, before.gpr[RBX]);
			g_assert_cmphex(s.rflags & FLAGS_ARITH, ==, before.rflags & FLAGS_ARITH);
		}
	}
	machine_free(&m);
}

/* The stack's page gets code while it is the stack's, and a push writes over that code. */
static void test_code(const void *step)
{
	/* push rdx; pop rdx; call r8; mov rsp, r9; push rax; mov rsp, r10; call r8 */
	static const u8 code[] = { 0x52, 0x5a, 0x41, 0xff, 0xd0, 0x4c, 0x89, 0xcc,
				   0x50, 0x4c, 0x89, 0xd4, 0x41, 0xff, 0xd0 };
	static const u8 one[] = { 0xb9, 1, 0, 0, 0, 0xc3 }; /* mov ecx, 1; ret */
	struct x86_state s;

	machine_init(&m, step != NULL);
	memcpy(m.data[1] + 0x7c0, one, sizeof(one));
	s = m.state;
	s.gpr[RAX] = 0xc300000002b9; /* mov ecx, 2; ret */
	s.gpr[R8] = DATA_GVA + 0x17c0;
	s.gpr[R9] = DATA_GVA + 0x17c8;
	s.gpr[R10] = DATA_GVA + 0x1900;
	g_assert_cmpint(run(code, sizeof(code), DATA_GVA + 0x1a00, &s), ==, -1);
	g_assert_cmpuint(s.gpr[RCX], ==, 2);
	machine_free(&m);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/stack/pages", NULL, test_pages);
	g_test_add_data_func("/stack/pages-step", "step", test_pages);
	g_test_add_data_func("/stack/frames", NULL, test_frames);
	g_test_add_data_func("/stack/frames-step", "step", test_frames);
	g_test_add_data_func("/stack/nowhere", NULL, test_nowhere);
	g_test_add_data_func("/stack/nowhere-step", "step", test_nowhere);
	g_test_add_data_func("/stack/code", NULL, test_code);
	g_test_add_data_func("/stack/code-step", "step", test_code);
	return g_test_run();
}
