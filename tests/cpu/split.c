/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads and stores that cross into another page or write to one with code, and that soft_mem_slow()
 * makes itself, where the differential tester does not come, or seldom: over code, even the block's
 * own, into a device, one element for the lanes of a mask; and that it does make them.
 */
#include "machine.h"

#include "cpu/vcpu.h"

#include <glib.h>
#include <string.h>

static struct machine m;

/* Runs @bytes of @code with RSI = @rsi; returns how many accesses were made without leaving. */
static u64 run(const void *code, unsigned bytes, u64 rsi, struct x86_state *s)
{
	u64 before = m.cpu->stats[STAT_MADE];

	memcpy(m.code, code, bytes);
	m.code[bytes] = 0xcc;
	cpu_vm_memory_written(m.vm, machine_gpa(&m, m.code), PAGE_SIZE);
	s->rip = CODE_GVA;
	s->gpr[RSI] = rsi;
	s->gpr[RSP] = IST_TOP - 2048;
	g_assert_cmpint(machine_run(&m, s), ==, -1);
	return m.cpu->stats[STAT_MADE] - before;
}

/* Each form, a few times in a loop, at each place where it crosses. */
static void test_made(void)
{
	static const struct form {
		const char *what;
		u8 code[10], bytes, size;
		bool store;
	} forms[] = {
		{ "mov [rsi], rax", { 0x48, 0x89, 0x06 }, 3, 8, true },
		{ "mov [rsi], ebx", { 0x89, 0x1e }, 2, 4, true },
		{ "mov [rsi], bp", { 0x66, 0x89, 0x2e }, 3, 2, true },
		{ "mov [rsi], r13", { 0x4c, 0x89, 0x2e }, 3, 8, true },
		{ "mov [rsi], rsp", { 0x48, 0x89, 0x26 }, 3, 8, true },
		{ "movups [rsi], xmm5", { 0x0f, 0x11, 0x2e }, 3, 16, true },
		{ "movdqu [rsi], xmm14", { 0xf3, 0x44, 0x0f, 0x7f, 0x36 }, 5, 16, true },
		{ "movsd [rsi], xmm5", { 0xf2, 0x0f, 0x11, 0x2e }, 4, 8, true },
		{ "mov rdx, [rsi]", { 0x48, 0x8b, 0x16 }, 3, 8, false },
		{ "mov r12, [rsi]", { 0x4c, 0x8b, 0x26 }, 3, 8, false },
		{ "add edx, [rsi]", { 0x03, 0x16 }, 2, 4, false },
		{ "movups xmm0, [rsi]", { 0x0f, 0x10, 0x06 }, 3, 16, false },
	};

	machine_init(&m, false);
	for (unsigned i = 0; i < ARRAY_LEN(forms); i++) {
		const struct form *f = &forms[i];

		for (unsigned first = 1; first < f->size; first++) {
			struct x86_state s = m.state;
			u8 code[32] = { 0xb9, 3, 0, 0, 0 }; /* mov ecx, 3 */
			u64 made;

			memcpy(code + 5, f->code, f->bytes);
			memcpy(code + 5 + f->bytes, "\xff\xc9\x75", 3); /* dec ecx; jnz */
			code[5 + f->bytes + 3] = -(f->bytes + 4);
			made = run(code, 9 + f->bytes, DATA_GVA + PAGE_SIZE - first, &s);
			if (made != 3)
				g_error("%s, %u bytes before the end: %u of 3 made there", f->what,
					first, (unsigned)made);
		}
	}
	machine_free(&m);
}

/* The second page holds code, which the store changes. */
static void test_code(void)
{
	/* call rdi; mov [rsi], rax; call rdi */
	static const u8 code[] = { 0xff, 0xd7, 0x48, 0x89, 0x06, 0xff, 0xd7 };
	static const u8 one[] = { 0x81, 0xc1, 1, 0, 0, 0, 0xc3 }; /* add ecx, 1; ret */
	struct x86_state s;

	machine_init(&m, false);
	memcpy(m.data[2], one, sizeof(one));
	s = m.state;
	s.gpr[RAX] = 0x0010c18100000000; /* add ecx, 16 */
	s.gpr[RDI] = DATA_GVA + 2 * PAGE_SIZE;
	run(code, sizeof(code), DATA_GVA + 2 * PAGE_SIZE - 4, &s);
	g_assert_cmpuint(s.gpr[RCX], ==, 17);
	g_assert_cmphex(m.data[2][2], ==, 16);
	machine_free(&m);
}

/* A store changes the instruction behind it, in its own block: across pages or not. */
static void test_own(void)
{
	/* mov [rsi], rax; add ecx, 1 */
	static const u8 code[] = { 0x48, 0x89, 0x06, 0x81, 0xc1, 1, 0, 0, 0 };

	machine_init(&m, false);
	for (int off = -2; off <= 5; off++) {
		struct x86_state s = m.state;
		u8 bytes[8 + sizeof(code) + 8] = { 0 };

		memcpy(m.code_behind, code, sizeof(code));
		m.code_behind[sizeof(code)] = 0xcc;
		cpu_vm_memory_written(m.vm, machine_gpa(&m, m.code_behind), PAGE_SIZE);
		memcpy(bytes + 8, code, sizeof(code));
		bytes[8 + sizeof(code)] = 0xcc;
		bytes[8 + 5] = 16; /* what is added */
		memcpy(&s.gpr[RAX], bytes + 8 + off, 8);
		s.gpr[RCX] = 0;
		s.gpr[RSI] = CODE_GVA + PAGE_SIZE + off;
		s.gpr[RSP] = IST_TOP - 2048;
		s.rip = CODE_GVA + PAGE_SIZE;
		g_assert_cmpint(machine_run(&m, &s), ==, -1);
		g_assert_cmpuint(s.gpr[RCX], ==, 16);
	}
	machine_free(&m);
}

/* Stores beside code, in its page. */
static void test_beside(void)
{
	/* call rdi; mov [rsi], rax; call rdi; mov [rsi+8], rax */
	static const u8 code[] = {
		0xff, 0xd7, 0x48, 0x89, 0x06, 0xff, 0xd7, 0x48, 0x89, 0x46, 0x08
	};
	static const u8 one[] = { 0x81, 0xc1, 1, 0, 0, 0, 0xc3 }; /* add ecx, 1; ret */
	struct x86_state s;

	machine_init(&m, false);
	memcpy(m.data[2], one, sizeof(one));
	s = m.state;
	s.gpr[RAX] = 0x1234;
	s.gpr[RDI] = DATA_GVA + 2 * PAGE_SIZE;
	g_assert_cmpuint(run(code, sizeof(code), DATA_GVA + 2 * PAGE_SIZE + 1024, &s), >=, 1);
	g_assert_cmpuint(s.gpr[RCX], ==, 2);
	g_assert_cmphex(m.data[2][1024], ==, 0x34);
	g_assert_cmphex(m.data[2][1032], ==, 0x34);
	machine_free(&m);
}

/* The second page is a device's: nothing is made here, and what the device says comes in. */
static void test_device(void)
{
	static const u8 code[] = { 0x48, 0x8b, 0x06 }; /* mov rax, [rsi] */
	struct x86_state s;

	machine_init(&m, false);
	*m.data_pte[2] = RAM_BYTES | 0x67;
	memset(m.data[1] + PAGE_SIZE - 3, 0x55, 3);
	s = m.state;
	g_assert_cmpuint(run(code, sizeof(code), DATA_GVA + 2 * PAGE_SIZE - 3, &s), ==, 0);
	g_assert_cmphex(s.gpr[RAX], ==, 0xffffffffff555555);
	machine_free(&m);
}

/* What the pages hold, in linear order. */
static void get_data(u8 *data)
{
	for (unsigned i = 0; i < DATA_PAGES; i++)
		memcpy(data + i * PAGE_SIZE, m.data[i], PAGE_SIZE);
}

/* Pages 0 and 1 and pages 2 and 3 follow each other in the host, 1 and 2 do not; then page 3 goes.
 */
static void test_string(void)
{
	static const u8 movs[] = { 0xf3, 0xa4 }, stos[] = { 0xf3, 0x48, 0xab };
	static u8 want[DATA_PAGES * PAGE_SIZE], have[DATA_PAGES * PAGE_SIZE];
	static const struct {
		unsigned from, to, count;
	} tries[] = { { 0, 9000, 7000 }, { 100, 124, 16000 },  { 5000, 10, 11000 },
		      { 4095, 8191, 1 }, { 8000, 8001, 8000 }, { 1, 4096, 12288 },
		      { 0, 8192, 8192 } };
	struct x86_state s;

	machine_init(&m, false);
	*m.data_pte[1] = machine_gpa(&m, m.data[0] + PAGE_SIZE) | 0x67;
	*m.data_pte[3] = machine_gpa(&m, m.data[2] + PAGE_SIZE) | 0x67;
	m.data[1] = m.data[0] + PAGE_SIZE;
	m.data[3] = m.data[2] + PAGE_SIZE;
	for (unsigned i = 0; i < ARRAY_LEN(tries) * 2; i++) {
		unsigned k = i / 2, from = tries[k].from, to = tries[k].to, n = tries[k].count;
		bool store = i % 2;

		for (unsigned b = 0; b < sizeof(want); b++)
			m.data[b / PAGE_SIZE][b % PAGE_SIZE] = b * 7 + b / 251 + i;
		get_data(want);
		s = m.state;
		s.gpr[RCX] = store ? n / 8 : n;
		s.gpr[RAX] = 0x1122334455667788;
		s.gpr[RDI] = DATA_GVA + to;
		for (unsigned b = 0; b < (store ? n / 8 * 8 : n); b++)
			want[to + b] = store ? s.gpr[RAX] >> 8 * (b % 8) : want[from + b];
		if (store)
			run(stos, sizeof(stos), DATA_GVA + from, &s);
		else
			run(movs, sizeof(movs), DATA_GVA + from, &s);
		get_data(have);
		g_assert_cmpint(memcmp(want, have, sizeof(want)), ==, 0);
		g_assert_cmpuint(s.gpr[RCX], ==, 0);
		g_assert_cmphex(s.gpr[RDI], ==, DATA_GVA + to + (store ? n / 8 * 8 : n));
	}
	*m.data_pte[3] = 0;
	s = m.state;
	memcpy(m.code, movs, sizeof(movs));
	m.code[sizeof(movs)] = 0xcc;
	cpu_vm_memory_written(m.vm, machine_gpa(&m, m.code), PAGE_SIZE);
	s.rip = CODE_GVA;
	s.gpr[RCX] = 10000;
	s.gpr[RSI] = DATA_GVA;
	s.gpr[RDI] = DATA_GVA + 3 * PAGE_SIZE - 6000;
	s.gpr[RSP] = IST_TOP - 2048;
	g_assert_cmpint(machine_run(&m, &s), ==, VEC_PF);
	g_assert_cmpuint(s.gpr[RCX], ==, 4000);
	g_assert_cmphex(s.gpr[RSI], ==, DATA_GVA + 6000);
	g_assert_cmphex(s.cr2, ==, DATA_GVA + 3 * PAGE_SIZE);
	machine_free(&m);
}

/* One element for all lanes, of which the mask wants some: the first or not. */
static void test_broadcast(void)
{
	static const struct form {
		u8 code[6], size;
		unsigned lanes;
	} forms[] = {
		{ { 0x62, 0xf2, 0x7d, 0x29, 0x58, 0x0e }, 4, 8 }, /* vpbroadcastd ymm1{k1}, [rsi] */
		{ { 0x62, 0xf2, 0x7d, 0x29, 0x19, 0x0e }, 8, 4 }, /* vbroadcastf32x2 ymm1{k1} */
		{ { 0x62, 0xf1, 0xff, 0x09, 0x12, 0x0e }, 8, 2 }, /* vmovddup xmm1{k1}, [rsi] */
	};
	/* vpxor ymm1, ymm1, ymm1; kmovw k1, eax; ...; vmovdqu [rdi], ymm1 */
	u8 code[] = { 0xc5, 0xf5, 0xef, 0xc9, 0xc5, 0xf8, 0x92, 0xc8, 0,   0,
		      0,    0,    0,    0,    0xc5, 0xfe, 0x7f, 0x0f, 0xcc };

	if (!__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq")) {
		g_test_skip("this processor has no AVX-512");
		return;
	}
	machine_init(&m, false);
	for (unsigned i = 0; i < ARRAY_LEN(forms) * 16; i++) {
		const struct form *f = &forms[i / 16];
		unsigned lane = i % f->lanes, parts = f->size == 8 && f->lanes == 4 ? 2 : 1;
		struct x86_state s = m.state, again;
		u8 want[32] = { 0 };

		memcpy(m.data[0] + PAGE_SIZE - 3, "\x11\x22\x33", 3);
		memcpy(m.data[1], "\x44\x55\x66\x77\x88", 5);
		memcpy(want + lane * f->size, "\x11\x22\x33\x44\x55\x66\x77\x88", f->size);
		memcpy(code + 8, f->code, sizeof(f->code));
		memcpy(m.code, code, sizeof(code));
		cpu_vm_memory_written(m.vm, machine_gpa(&m, m.code), PAGE_SIZE);
		s.xcr0 = m.vm->xcr0_mask;
		s.rip = CODE_GVA;
		s.gpr[RSP] = IST_TOP - 2048;
		s.gpr[RAX] = ((1 << parts) - 1) << lane * parts;
		s.gpr[RSI] = DATA_GVA + PAGE_SIZE - 3;
		s.gpr[RDI] = DATA_GVA + 2 * PAGE_SIZE;
		again = s;
		g_assert_cmpint(machine_run(&m, &s), ==, -1);
		g_assert_cmpmem(m.data[2], sizeof(want), want, sizeof(want));

		*m.data_pte[1] &= ~1ull; /* a lane that wants it faults */
		g_assert_cmpint(machine_run(&m, &again), ==, VEC_PF);
		*m.data_pte[1] |= 1;
	}
	machine_free(&m);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/split/made", test_made);
	g_test_add_func("/split/code", test_code);
	g_test_add_func("/split/own", test_own);
	g_test_add_func("/split/beside", test_beside);
	g_test_add_func("/split/device", test_device);
	g_test_add_func("/split/string", test_string);
	g_test_add_func("/split/broadcast", test_broadcast);
	return g_test_run();
}
