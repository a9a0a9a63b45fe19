/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions against two oracles: the host's own instruction on a plain buffer, and, where
 * pages are missing, the loop of the manual (SDM vol. 2 "REP") one element at a time.
 *
 * The guest's window of four pages is scattered over physical memory, so that crossing a page is
 * crossing into other memory; the plain buffer is not.
 */
#include "cpubox.h"

#include <stdio.h>
#include <string.h>

#define WINDOW 0x200000ull
#define PAGES  4
#define BYTES  (PAGES * 4096)

static const gpa_t scattered[PAGES] = { 0x500000, 0x480000, 0x520000, 0x4f0000 };
static struct box *box;
static struct cpu *cpu;
static u8 plain[BYTES];

struct string_case {
	u8 opcode;
	unsigned size;
	bool repe, repne, down;
	u64 rax, rcx, rsi, rdi; /* pointers as offsets into the window */
	u64 flags;
};

static void map_window(unsigned missing)
{
	box_long_mode(box);
	box_put64(box, 0x3008, 0x4007);
	for (unsigned i = 0; i < PAGES; i++)
		box_put64(box, 0x4000 + i * 8, i == missing ? 0 : scattered[i] | 0x67);
	tlb_flush_all(cpu);
}

static u8 *guest_byte(u64 offset)
{
	return box->ram + scattered[offset / 4096] + offset % 4096;
}

/* Few different values, so that comparisons go on for a while. */
static void fill_memory(void)
{
	for (unsigned i = 0; i < BYTES; i++) {
		u8 value = g_test_rand_int_range(0, 40) ? 0x55 : g_test_rand_int();

		plain[i] = value;
		*guest_byte(i) = value;
	}
}

static u64 random_offset(unsigned size)
{
	/* often right before a page */
	s64 near = g_test_rand_int_range(1, PAGES) * 4096 + g_test_rand_int_range(-40, 40);

	return g_test_rand_bit() ? near : g_test_rand_int_range(0, BYTES - size);
}

/* All elements lie inside the window. */
static u64 random_count(const struct string_case *c, u64 offset)
{
	u64 room = c->down ? offset / c->size + 1 : (BYTES - offset) / c->size;
	u64 few = MIN(room, 300);

	return g_test_rand_int_range(0, (g_test_rand_int_range(0, 10) ? few : room) + 1);
}

static struct string_case random_case(void)
{
	static const u8 opcodes[] = { 0xa4, 0xa6, 0xaa, 0xac, 0xae };
	struct string_case c = {
		.opcode = opcodes[g_test_rand_int_range(0, 5)],
		.size = 1u << g_test_rand_int_range(0, 4),
		.down = g_test_rand_bit(),
		.flags = g_test_rand_int() & FLAGS_ARITH,
	};
	unsigned prefix = g_test_rand_int_range(0, 3);
	u64 a, b;

	c.repe = prefix == 1;
	c.repne = prefix == 2;
	c.opcode |= c.size > 1;
	c.rsi = random_offset(c.size);
	c.rdi = random_offset(c.size);
	if (g_test_rand_bit()) { /* overlapping operands */
		s64 near = (s64)c.rsi + g_test_rand_int_range(-20, 20);

		c.rdi = CLAMP(near, 0, BYTES - (s64)c.size);
	}
	c.rax = g_test_rand_bit() ? 0x5555555555555555 : (u64)g_test_rand_int() << 30;
	a = random_count(&c, c.rsi);
	b = random_count(&c, c.rdi);
	c.rcx = MIN(a, b);
	return c;
}

static void hex_of(const struct string_case *c, char *hex)
{
	sprintf(hex, "%s%s%s%02x", c->size == 2 ? "66 " : "",
		c->repe    ? "f3 "
		: c->repne ? "f2 "
			   : "",
		c->size == 8 ? "48 " : "", c->opcode);
}

static void guest_setup(const struct string_case *c)
{
	cpu->gpr[RAX] = c->rax;
	cpu->gpr[RCX] = c->rcx;
	cpu->gpr[RSI] = WINDOW + c->rsi;
	cpu->gpr[RDI] = WINDOW + c->rdi;
	cpu->rflags = 2 | c->flags | (c->down ? FLAG_DF : 0);
}

static void assert_same_memory(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		g_assert_cmpmem(plain + i * 4096, 4096, box->ram + scattered[i], 4096);
}

/* ---- the host -------------------------------------------------------------------------------- */

#define NATIVE(text)                                                                             \
	__asm__ volatile("push %[flags]; popf; " text "; pushf; pop %[flags]; cld"               \
			 : "+a"(r.rax), "+c"(r.rcx), "+S"(rsi), "+D"(rdi), [flags] "+r"(r.flags) \
			 :                                                                       \
			 : "memory", "cc")
#define NATIVE_REP(op)                       \
	do {                                 \
		if (c->repe)                 \
			NATIVE("repe " op);  \
		else if (c->repne)           \
			NATIVE("repne " op); \
		else                         \
			NATIVE(op);          \
	} while (0)
#define NATIVE_SIZES(op)                            \
	do {                                        \
		switch (c->size) {                  \
		case 1: NATIVE_REP(op "b"); break;  \
		case 2: NATIVE_REP(op "w"); break;  \
		case 4: NATIVE_REP(op "l"); break;  \
		default: NATIVE_REP(op "q"); break; \
		}                                   \
	} while (0)

/* The stack is moved away from the red zone by the call itself: nothing else lives here. */
static __attribute__((noinline)) struct string_case native(const struct string_case *c)
{
	struct string_case r = *c;
	u8 *rsi = plain + c->rsi, *rdi = plain + c->rdi;

	r.flags |= c->down ? FLAG_DF : 0;
	switch (c->opcode & ~1) {
	case 0xa4: NATIVE_SIZES("movs"); break;
	case 0xa6: NATIVE_SIZES("cmps"); break;
	case 0xaa: NATIVE_SIZES("stos"); break;
	case 0xac: NATIVE_SIZES("lods"); break;
	default: NATIVE_SIZES("scas"); break;
	}
	r.flags &= FLAGS_ARITH;
	r.rsi = rsi - plain;
	r.rdi = rdi - plain;
	return r;
}

static void test_against_host(void)
{
	char hex[32];

	for (unsigned n = 0; n < 20000; n++) {
		struct string_case c = random_case(), r;

		if (n % 50 == 0) {
			map_window(PAGES);
			fill_memory();
		}
		guest_setup(&c);
		hex_of(&c, hex);
		box_assert_next(box, hex);
		r = native(&c);
		g_assert_cmphex(cpu->gpr[RAX], ==, r.rax);
		g_assert_cmphex(cpu->gpr[RCX], ==, r.rcx);
		g_assert_cmphex(cpu->gpr[RSI], ==, WINDOW + r.rsi);
		g_assert_cmphex(cpu->gpr[RDI], ==, WINDOW + r.rdi);
		g_assert_cmphex(cpu->rflags & FLAGS_ARITH, ==, r.flags);
		assert_same_memory();
	}
}

/* ---- the manual's loop, with a page missing
 * ------------------------------------------------------ */

static bool touches(u64 offset, unsigned size, unsigned page)
{
	return offset / 4096 == page || (offset + size - 1) / 4096 == page;
}

/* Runs the model on plain memory until done or until page @missing is needed. True: fault. */
static bool model(struct string_case *c, unsigned missing)
{
	bool rep = c->repe || c->repne, uses_rsi, uses_rdi;
	s64 step = c->down ? -(s64)c->size : c->size;

	uses_rsi = (c->opcode & ~1) == 0xa4 || (c->opcode & ~1) == 0xac;
	uses_rdi = (c->opcode & ~1) != 0xac;
	for (u64 left = rep ? c->rcx : 1; left; left--) {
		if ((uses_rsi && touches(c->rsi, c->size, missing)) ||
		    (uses_rdi && touches(c->rdi, c->size, missing)))
			return true;
		if (uses_rdi && uses_rsi) {
			memmove(plain + c->rdi, plain + c->rsi, c->size);
		} else if (uses_rdi) {
			memcpy(plain + c->rdi, &c->rax, c->size);
		} else {
			c->rax = c->size == 4 ? 0 : c->rax;
			memcpy(&c->rax, plain + c->rsi, c->size);
		}
		c->rsi += uses_rsi ? step : 0;
		c->rdi += uses_rdi ? step : 0;
		c->rcx -= rep;
	}
	return false;
}

static void test_faults(void)
{
	char hex[32];

	for (unsigned n = 0; n < 20000; n++) {
		struct string_case c = random_case();
		unsigned missing = g_test_rand_int_range(0, PAGES);
		bool faults;

		if ((c.opcode & ~1) == 0xa6 || (c.opcode & ~1) == 0xae)
			continue; /* the comparisons have a test of their own */
		if (n % 50 == 0)
			fill_memory();
		map_window(missing);
		guest_setup(&c);
		hex_of(&c, hex);
		faults = box_exec(box, hex) == HELPER_FAULT;
		g_assert_cmpint(faults, ==, model(&c, missing));
		if (faults) {
			g_assert_cmpuint(cpu->fault.vector, ==, VEC_PF);
			g_assert_cmphex((cpu->fault.cr2 - WINDOW) / 4096, ==, missing);
			cpu->fault_pending = 0;
		}
		g_assert_cmphex(cpu->gpr[RAX], ==, c.rax);
		g_assert_cmphex(cpu->gpr[RCX], ==, c.rcx);
		g_assert_cmphex(cpu->gpr[RSI], ==, WINDOW + c.rsi);
		g_assert_cmphex(cpu->gpr[RDI], ==, WINDOW + c.rdi);
		assert_same_memory();
	}
}

static void test_compare_faults(void)
{
	map_window(1);
	memset(box->ram + scattered[0], 'x', 4096);
	cpu->gpr[RAX] = 'x';
	cpu->gpr[RCX] = 100;
	cpu->gpr[RDI] = WINDOW + 4096 - 10;
	g_assert_cmpint(box_exec(box, "f3 ae"), ==, HELPER_FAULT);
	g_assert_cmphex(cpu->fault.cr2, ==, WINDOW + 4096);
	g_assert_cmphex(cpu->gpr[RDI], ==, WINDOW + 4096);
	g_assert_cmphex(cpu->gpr[RCX], ==, 90);
	/* found before the missing page */
	*guest_byte(4095) = 'y';
	cpu->gpr[RDI] = WINDOW + 4096 - 10;
	cpu->gpr[RCX] = 100;
	box_assert_next(box, "f3 ae");
	g_assert_cmphex(cpu->gpr[RCX], ==, 90);
	g_assert_false(cpu->rflags & FLAG_ZF);
}

/* ---- the rest
 * ------------------------------------------------------------------------------------- */

static void test_repeat(void)
{
	enum helper_result result;
	unsigned times = 0;

	map_window(PAGES);
	memset(box->ram + scattered[0], 0, 4096);
	cpu->gpr[RAX] = 0x77;
	cpu->gpr[RCX] = BYTES;
	cpu->gpr[RDI] = WINDOW;
	do { /* somebody wants the processor all the time: progress anyway */
		cpu->exit_request = 1;
		result = box_exec(box, "f3 aa");
		g_assert_cmphex(cpu->gpr[RDI] - WINDOW + cpu->gpr[RCX], ==, BYTES);
		times++;
	} while (result == HELPER_REPEAT);
	cpu->exit_request = 0;
	g_assert_cmpint(result, ==, HELPER_NEXT);
	g_assert_cmpuint(times, >, 1);
	g_assert_cmphex(*guest_byte(BYTES - 1), ==, 0x77);
	/* single-stepping sees every repetition */
	cpu->rflags |= FLAG_TF;
	cpu->gpr[RCX] = 2;
	cpu->gpr[RDI] = WINDOW;
	g_assert_cmpint(box_exec(box, "f3 aa"), ==, HELPER_REPEAT);
	g_assert_cmphex(cpu->gpr[RCX], ==, 1);
	box_assert_next(box, "f3 aa");
	cpu->rflags &= ~FLAG_TF;
}

static void test_address_size(void)
{
	/* 32-bit addresses in 64-bit mode: truncated, and written back zero-extended */
	map_window(PAGES);
	cpu->gpr[RSI] = 0xaaaa000000000000 | WINDOW;
	cpu->gpr[RDI] = 0xbbbb000000000000 | (WINDOW + 0x100);
	cpu->gpr[RCX] = 0xcccc000000000002;
	box_assert_next(box, "67 f3 a4");
	g_assert_cmphex(cpu->gpr[RSI], ==, WINDOW + 2);
	g_assert_cmphex(cpu->gpr[RDI], ==, WINDOW + 0x102);
	g_assert_cmphex(cpu->gpr[RCX], ==, 0);
	/* a segment override counts for the source */
	seg_set_base(cpu, SEG_FS, 0x1000);
	*guest_byte(0x1005) = 0x99;
	cpu->gpr[RSI] = WINDOW + 5;
	box_assert_next(box, "64 ac");
	g_assert_cmphex(cpu->gpr[RAX] & 0xff, ==, 0x99);
	/* and not for the destination */
	cpu->gpr[RDI] = WINDOW + 5;
	box_assert_next(box, "64 aa");
	g_assert_cmphex(*guest_byte(5), ==, 0x99);
	/* real mode: SI and DI wrap at 64 KiB, limits hold */
	box_real_mode(box);
	seg_install_real(cpu, SEG_ES, 0x2000);
	cpu->gpr[RAX] = 0x41;
	cpu->gpr[RDI] = 0x1234fffe;
	cpu->gpr[RCX] = 0xabcd0004;
	box_assert_next(box, "f3 aa");
	g_assert_cmphex(cpu->gpr[RDI], ==, 0x12340002);
	g_assert_cmphex(cpu->gpr[RCX], ==, 0xabcd0000);
	g_assert_cmphex(box_get16(box, 0x2fffe), ==, 0x4141);
	g_assert_cmphex(box_get16(box, 0x20000), ==, 0x4141);
	cpu->gpr[RDI] = 0xffff;
	box_assert_fault(box, "ab", VEC_GP, 0);
	cpu->gpr[RDI] = 0x123; /* downwards through 0 */
	cpu->rflags |= FLAG_DF;
	cpu->gpr[RDI] = 1;
	cpu->gpr[RCX] = 3;
	box_assert_next(box, "f3 aa");
	g_assert_cmphex(cpu->gpr[RDI], ==, 0xfffe);
}

static void test_device(void)
{
	box_protected_mode(box);
	cpu->gpr[RDI] = 0xd0000000;
	cpu->gpr[RCX] = 3;
	cpu->gpr[RAX] = 0x11223344;
	box_assert_next(box, "f3 ab");
	g_assert_cmpuint(box->log_count, ==, 3);
	g_assert_cmphex(box->log[2].gpa, ==, 0xd0000008);
	g_assert_cmpuint(box->log[2].size, ==, 4);
	cpu->gpr[RSI] = 0xd0000000;
	cpu->gpr[RDI] = 0x5000;
	cpu->gpr[RCX] = 2;
	box_assert_next(box, "f3 a5");
	g_assert_cmpuint(box->log_count, ==, 5);
	g_assert_cmphex(box_get64(box, 0x5000), ==, 0xd0000004d0000000);
	/* between devices, each element goes through once */
	cpu->gpr[RSI] = 0xd0000000;
	cpu->gpr[RDI] = 0xe0000000;
	box_assert_next(box, "66 a5");
	g_assert_cmpuint(box->log_count, ==, 7);
	g_assert_cmphex(box->log[6].data & 0xffff, ==, 0);
	g_assert_cmphex(box->log[6].gpa, ==, 0xe0000000);
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	box = box_new(NULL);
	cpu = box->cpu;
	g_test_add_func("/string/host", test_against_host);
	g_test_add_func("/string/faults", test_faults);
	g_test_add_func("/string/compare-faults", test_compare_faults);
	g_test_add_func("/string/repeat", test_repeat);
	g_test_add_func("/string/address-size", test_address_size);
	g_test_add_func("/string/device", test_device);
	status = g_test_run();
	box_free(box);
	return status;
}
