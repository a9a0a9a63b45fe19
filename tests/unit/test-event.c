/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Delivery of exceptions and interrupts, and IRET: frames, error codes, stacks and flags as in SDM
 * vol. 3 chapter 6 and vol. 2 "INT n", "IRET".
 */
#include "cpubox.h"

static struct box *box;
static struct cpu *cpu;

/* One try of delivery. */
static bool enter(unsigned vector, s64 error, bool soft, bool external)
{
	const struct fault f = { .vector = vector,
				 .has_error = error >= 0,
				 .soft = soft,
				 .external = external,
				 .error = error < 0 ? 0 : error };

	cpu->fault_pending = 0;
	return event_enter(cpu, &f);
}

static void assert_nested(bool entered, unsigned vector, u32 error)
{
	g_assert_false(entered);
	g_assert_cmpint(cpu->fault_pending, ==, 1);
	g_assert_cmpuint(cpu->fault.vector, ==, vector);
	g_assert_cmphex(cpu->fault.error, ==, error);
	cpu->fault_pending = 0;
}

static void assert_frame64(u64 error_code, bool error, u64 rip, u16 cs, u64 flags, u64 rsp, u16 ss)
{
	u64 at = cpu->gpr[RSP];

	if (error) {
		g_assert_cmphex(box_get64(box, at), ==, error_code);
		at += 8;
	}
	g_assert_cmphex(box_get64(box, at), ==, rip);
	g_assert_cmphex(box_get64(box, at + 8), ==, cs);
	g_assert_cmphex(box_get64(box, at + 16), ==, flags);
	g_assert_cmphex(box_get64(box, at + 24), ==, rsp);
	g_assert_cmphex(box_get64(box, at + 32), ==, ss);
}

/* ---- long mode ---------------------------------------------------------------------------------
 */

static void long_mode(void)
{
	box_long_mode(box);
	cpu->rflags = 2 | FLAG_IF | FLAG_NT | FLAG_CF;
}

static void test_long_same_level(void)
{
	long_mode();
	cpu->gpr[RSP] = 0x2000c; /* is aligned down to 16 */
	box_gate(box, VEC_GP, SEL_CODE64, 0xffff8000aabbccdd, 0xe, 0, 0);
	g_assert_true(enter(VEC_GP, 0x48, false, false));
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000 - 48);
	assert_frame64(0x48, true, 0x30000, SEL_CODE64, 2 | FLAG_IF | FLAG_NT | FLAG_CF | FLAG_RF,
		       0x2000c, SEL_DATA);
	g_assert_cmphex(cpu->rip, ==, 0xffff8000aabbccdd);
	g_assert_cmphex(cpu->rflags, ==, 2 | FLAG_CF);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, SEL_DATA);
}

static void test_long_trap_gate(void)
{
	long_mode();
	cpu->rflags |= FLAG_TF | FLAG_AC;
	box_gate(box, 0x80, SEL_CODE64, 0x50000, 0xf, 0, 0);
	g_assert_true(enter(0x80, -1, false, true));
	assert_frame64(0, false, 0x30000, SEL_CODE64,
		       2 | FLAG_IF | FLAG_NT | FLAG_CF | FLAG_TF | FLAG_AC, 0x20000, SEL_DATA);
	g_assert_cmphex(cpu->rflags, ==, 2 | FLAG_CF | FLAG_IF | FLAG_AC);
}

static void test_long_from_user(void)
{
	long_mode();
	box_user(box);
	box_gate(box, VEC_PF, SEL_CODE64, 0x50000, 0xe, 0, 0);
	cpu->fault = (struct fault){ .vector = VEC_PF, .has_error = 1, .error = 6, .cr2 = 0x1234 };
	g_assert_true(event_deliver(cpu));
	g_assert_cmphex(cpu->cr2, ==, 0x1234);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x28000 - 48);
	assert_frame64(6, true, 0x30000, SEL_USER64, 2 | FLAG_IF | FLAG_NT | FLAG_CF | FLAG_RF,
		       0x20000, SEL_UDATA);
	g_assert_cmpuint(cpu->cpl, ==, 0);
	g_assert_cmphex(cpu->seg[SEG_CS].selector, ==, SEL_CODE64);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, 0);
	g_assert_cmphex(cpu->ctx >> CTX_CPL_SHIFT & 3, ==, 0);
	cpu->gpr[RSP] += 8; /* and back */
	g_assert_cmpint(box_exec(box, "48 cf"), ==, HELPER_JUMP);
	g_assert_cmpuint(cpu->cpl, ==, 3);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, SEL_UDATA);
}

static void test_long_ist(void)
{
	long_mode();
	box_put64(box, 0xa000 + 36 + 2 * 8, 0x44008); /* IST3 */
	box_gate(box, VEC_NMI, SEL_CODE64, 0x50000, 0xe, 0, 3);
	g_assert_true(event_interrupt(cpu, VEC_NMI));
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x44000 - 40);
	g_assert_cmpuint(cpu->nmi_masked, ==, 1);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, SEL_DATA); /* same level: SS stays */
	assert_frame64(0, false, 0x30000, SEL_CODE64, 2 | FLAG_IF | FLAG_NT | FLAG_CF, 0x20000,
		       SEL_DATA);
	cpu->rflags &= ~FLAG_NT;
	g_assert_cmpint(box_exec(box, "48 cf"), ==, HELPER_JUMP);
	g_assert_cmpuint(cpu->nmi_masked, ==, 0);
	g_assert_cmphex(cpu->rip, ==, 0x30000);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000);
	g_assert_cmphex(cpu->rflags, ==, 2 | FLAG_IF | FLAG_NT | FLAG_CF);
}

static void test_long_gate_errors(void)
{
	const u32 ext = 1, idt = 2;

	long_mode();
	cpu->idtr.limit = 0x30 * 16 - 2;
	box_gate(box, 0x2f, SEL_CODE64, 0x50000, 0xe, 0, 0);
	assert_nested(enter(0x2f, -1, false, true), VEC_GP, 0x2f << 3 | idt | ext);
	cpu->idtr.limit++;
	g_assert_true(enter(0x2f, -1, false, true));

	long_mode();
	assert_nested(enter(0x30, -1, false, true), VEC_GP, 0x30 << 3 | idt | ext); /* type 0 */
	box_gate(box, 0x30, SEL_CODE64, 0x50000, 0x6, 0, 0);                        /* 16-bit */
	assert_nested(enter(0x30, -1, false, true), VEC_GP, 0x30 << 3 | idt | ext);
	box_gate(box, 0x30, SEL_CODE64, 0x50000, 0x5, 0, 0); /* task gate */
	assert_nested(enter(0x30, -1, false, true), VEC_GP, 0x30 << 3 | idt | ext);
	box_gate(box, 0x30, SEL_CODE64, 0x50000, 0xe, 0, 0);
	box_put64(box, 0x9300, box_get64(box, 0x9300) & ~BIT(47));
	assert_nested(enter(0x30, -1, false, true), VEC_NP, 0x30 << 3 | idt | ext);
	assert_nested(enter(0x30, -1, true, false), VEC_NP, 0x30 << 3 | idt);

	box_gate(box, 0x30, SEL_CODE64, 0x0000900000000000, 0xe, 0, 0);
	assert_nested(enter(0x30, -1, false, true), VEC_GP, ext);
}

static void test_long_code_errors(void)
{
	static const struct {
		u16 selector;
		u64 descriptor;
		unsigned vector;
		u32 error;
	} cases[] = {
		{ 0, 0, VEC_GP, 1 },
		{ 3, 0, VEC_GP, 1 },
		{ 0x80, 0, VEC_GP, 0x81 },                        /* beyond the limit */
		{ 0x4c, 0x00af9b000000ffff, VEC_GP, 0x4d },       /* LDT: none */
		{ SEL_DATA, 0x00cf93000000ffff, VEC_GP, 0x11 },   /* data */
		{ SEL_CODE32, 0x00cf9b000000ffff, VEC_GP, 0x19 }, /* not L */
		{ SEL_FREE, 0x00ef9b000000ffff, VEC_GP, 0x49 },   /* L and D */
		{ SEL_FREE, 0x00af1b000000ffff, VEC_NP, 0x49 },   /* not present */
		{ SEL_USER64, 0x00affb000000ffff, VEC_GP, 0x31 }, /* DPL > CPL */
		{ SEL_TSS, 0x00008b00a0000067, VEC_GP, 0x39 },    /* system */
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		long_mode();
		box_gdt(box, cases[i].selector & 0x7f, cases[i].descriptor);
		box_gate(box, 0x30, cases[i].selector, 0x50000, 0xe, 0, 0);
		assert_nested(enter(0x30, -1, false, true), cases[i].vector, cases[i].error);
		g_assert_cmphex(cpu->rip, ==, 0x30000);
		g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000);
	}
}

static void test_long_stack_errors(void)
{
	long_mode();
	box_gate(box, 0x30, SEL_CODE64, 0x50000, 0xe, 0, 0);
	box_gate(box, 0x31, SEL_CODE64, 0x50000, 0xe, 0, 7);
	cpu->seg[SEG_TR].limit = 0x5a; /* IST7 ends at 0x5b */
	assert_nested(enter(0x31, -1, false, true), VEC_TS, SEL_TSS | 1);
	cpu->seg[SEG_TR].limit = 0x67;
	box_put64(box, 0xa000 + 36 + 6 * 8, 0x0000800000000000);
	assert_nested(enter(0x31, -1, false, true), VEC_SS, 1);
	cpu->gpr[RSP] = 0x0000800000000010;
	assert_nested(enter(0x30, -1, false, true), VEC_SS, 1);
	cpu->gpr[RSP] = 0x40000010; /* not mapped */
	g_assert_false(enter(0x30, -1, false, true));
	g_assert_cmpuint(cpu->fault.vector, ==, VEC_PF);
	g_assert_cmphex(cpu->fault.error, ==, PF_W);
	g_assert_cmphex(cpu->fault.cr2, ==, 0x40000008);
	box_user(box);
	cpu->seg[SEG_TR].limit = 10; /* RSP0 ends at 0xb */
	cpu->gpr[RSP] = 0x20000;
	assert_nested(enter(0x30, -1, false, true), VEC_TS, SEL_TSS | 1);
}

static void test_soft(void)
{
	long_mode();
	box_gate(box, VEC_BP, SEL_CODE64, 0x50000, 0xe, 3, 0);
	box_gate(box, 0x40, SEL_CODE64, 0x60000, 0xe, 0, 0);
	box_gate(box, VEC_DB, SEL_CODE64, 0x70000, 0xe, 0, 0);
	box_user(box);
	box_assert_fault(box, "cd 40", VEC_GP, 0x40 << 3 | 2);
	g_assert_cmphex(cpu->rip, ==, 0x30000);
	g_assert_cmpint(box_exec(box, "cc"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0x50000);
	assert_frame64(0, false, 0x30001, SEL_USER64, 2 | FLAG_IF | FLAG_NT | FLAG_CF, 0x20000,
		       SEL_UDATA);
	long_mode();
	box_gate(box, VEC_DB, SEL_CODE64, 0x70000, 0xe, 0, 0);
	box_user(box);
	g_assert_cmpint(box_exec(box, "f1"), ==, HELPER_JUMP); /* INT1 ignores the DPL */
	g_assert_cmphex(cpu->rip, ==, 0x70000);
	g_assert_cmphex(box_get64(box, cpu->gpr[RSP]), ==, 0x30001);
}

/* ---- SDM vol. 3 table 6-5
 * ------------------------------------------------------------------------- */

enum second { NOTHING, CONTRIBUTORY, PAGE_FAULT };

/* Delivers @vector whose own gate fails in the way of @second; returns the vector of the handler
 * that runs in the end, or -1 for shutdown. */
static int deliver(unsigned vector, bool external, enum second second)
{
	long_mode();
	for (unsigned v = 0; v < 0x40; v++)
		box_gate(box, v, SEL_CODE64, 0x50000 + v * 0x100, 0xe, 0, 0);
	box_put64(box, 0xa000 + 36, 0x40001000); /* IST1: not mapped */
	if (second == PAGE_FAULT)
		box_gate(box, vector, SEL_CODE64, 0x50000, 0xe, 0, 1);
	if (second == CONTRIBUTORY)
		box_put64(box, 0x9000 + vector * 16,
			  box_get64(box, 0x9000 + vector * 16) & ~BIT(47));
	cpu->fault = (struct fault){ .vector = vector, .external = external, .cr2 = 0x77 };
	cpu->fault.has_error = !external && (vector == VEC_GP || vector == VEC_PF);
	if (!event_deliver(cpu))
		return -1;
	return (cpu->rip - 0x50000) / 0x100;
}

static void test_double_fault(void)
{
	static const struct {
		unsigned first;
		bool external;
		enum second second;
		int result;
	} cases[] = {
		{ VEC_UD, false, CONTRIBUTORY, VEC_NP }, { VEC_UD, false, PAGE_FAULT, VEC_PF },
		{ VEC_DE, false, CONTRIBUTORY, VEC_DF }, { VEC_DE, false, PAGE_FAULT, VEC_PF },
		{ VEC_GP, false, CONTRIBUTORY, VEC_DF }, { VEC_GP, false, PAGE_FAULT, VEC_PF },
		{ VEC_TS, false, CONTRIBUTORY, VEC_DF }, { VEC_SS, false, PAGE_FAULT, VEC_PF },
		{ VEC_PF, false, CONTRIBUTORY, VEC_DF }, { VEC_PF, false, PAGE_FAULT, VEC_DF },
		{ 0x30, true, CONTRIBUTORY, VEC_NP },    { 0x30, true, PAGE_FAULT, VEC_PF },
		{ VEC_NMI, true, CONTRIBUTORY, VEC_NP }, { VEC_AC, false, CONTRIBUTORY, VEC_NP },
		{ VEC_DF, false, CONTRIBUTORY, -1 },     { VEC_DF, false, PAGE_FAULT, -1 },
		{ VEC_NP, false, CONTRIBUTORY, VEC_DF }, { VEC_GP, false, NOTHING, VEC_GP },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		g_assert_cmpint(deliver(cases[i].first, cases[i].external, cases[i].second), ==,
				cases[i].result);
	/* the double fault's error code is 0, and CR2 is that of the last page fault */
	g_assert_cmpint(deliver(VEC_PF, false, PAGE_FAULT), ==, VEC_DF);
	g_assert_cmphex(box_get64(box, cpu->gpr[RSP]), ==, 0);
	g_assert_cmphex(box_get64(box, cpu->gpr[RSP] + 8), ==, 0x30000);
	g_assert_cmphex(cpu->cr2, ==, 0x77);
	g_assert_cmpint(deliver(VEC_GP, false, PAGE_FAULT), ==, VEC_PF);
	g_assert_cmphex(cpu->cr2, ==, 0x40000ff8);
	/* EXT of a fault under an interrupt or another exception */
	g_assert_cmpint(deliver(VEC_UD, false, CONTRIBUTORY), ==, VEC_NP);
	g_assert_cmphex(box_get64(box, cpu->gpr[RSP]), ==, VEC_UD << 3 | 3);
	g_assert_cmpint(deliver(0x30, true, CONTRIBUTORY), ==, VEC_NP);
	g_assert_cmphex(box_get64(box, cpu->gpr[RSP]), ==, 0x30 << 3 | 3);
}

static void test_triple_fault(void)
{
	long_mode();
	cpu->idtr.limit = 0;
	fault(cpu, VEC_UD);
	g_assert_false(event_deliver(cpu));
	box_real_mode(box);
	cpu->idtr.limit = 0;
	g_assert_false(event_interrupt(cpu, 8));
}

/* ---- protected mode
 * ----------------------------------------------------------------------------------- */

static void protected_mode(void)
{
	box_protected_mode(box);
	cpu->rflags = 2 | FLAG_IF | FLAG_SF;
}

static void test_legacy_same_level(void)
{
	protected_mode();
	box_gate(box, VEC_GP, SEL_CODE32, 0x12345678, 0xe, 0, 0);
	g_assert_true(enter(VEC_GP, 0x18, false, false));
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000 - 16);
	g_assert_cmphex(box_get32(box, 0x1fff0), ==, 0x18);
	g_assert_cmphex(box_get32(box, 0x1fff4), ==, 0x30000);
	g_assert_cmphex(box_get32(box, 0x1fff8), ==, SEL_CODE32);
	g_assert_cmphex(box_get32(box, 0x1fffc), ==, 2 | FLAG_IF | FLAG_SF | FLAG_RF);
	g_assert_cmphex(cpu->rip, ==, 0x12345678);
	g_assert_cmphex(cpu->rflags, ==, 2 | FLAG_SF);
}

static void test_legacy_16bit_gate(void)
{
	protected_mode();
	box_gate(box, 0x30, SEL_CODE32, 0x12345678, 7, 0, 0);
	g_assert_true(enter(0x30, -1, false, true));
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000 - 6);
	g_assert_cmphex(box_get16(box, 0x1fffa), ==, 0);
	g_assert_cmphex(box_get16(box, 0x1fffc), ==, SEL_CODE32);
	g_assert_cmphex(box_get16(box, 0x1fffe), ==, 2 | FLAG_IF | FLAG_SF);
	g_assert_cmphex(cpu->rip, ==, 0x5678);
	g_assert_cmphex(cpu->rflags, ==, 2 | FLAG_SF | FLAG_IF);
}

static void test_legacy_inner(void)
{
	protected_mode();
	box_user(box);
	box_gate(box, 0x30, SEL_CODE32, 0x50000, 0xe, 0, 0);
	g_assert_true(enter(0x30, -1, false, true));
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x28000 - 20);
	g_assert_cmphex(box_get32(box, 0x27ffc), ==, SEL_UDATA);
	g_assert_cmphex(box_get32(box, 0x27ff8), ==, 0x20000);
	g_assert_cmphex(box_get32(box, 0x27ff4), ==, 2 | FLAG_IF | FLAG_SF);
	g_assert_cmphex(box_get32(box, 0x27ff0), ==, SEL_USER32);
	g_assert_cmphex(box_get32(box, 0x27fec), ==, 0x30000);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, SEL_DATA);
	g_assert_cmpuint(cpu->cpl, ==, 0);
	/* the way back nulls nothing that user mode may have, and kernel segments if there are */
	seg_load(cpu, SEG_FS, SEL_DATA);
	g_assert_cmpint(box_exec(box, "cf"), ==, HELPER_JUMP);
	g_assert_cmpuint(cpu->cpl, ==, 3);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000);
	g_assert_cmphex(cpu->seg[SEG_CS].selector, ==, SEL_USER32);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, SEL_UDATA);
	g_assert_cmphex(cpu->seg[SEG_FS].selector, ==, 0);
	g_assert_cmphex(cpu->seg[SEG_DS].selector, ==, SEL_UDATA);
	g_assert_cmphex(cpu->rip, ==, 0x30000);
}

static void test_legacy_stack_errors(void)
{
	static const struct {
		u16 ss;
		u64 descriptor;
		unsigned vector;
		u32 error;
	} cases[] = {
		{ 0, 0, VEC_TS, 1 },
		{ 0x80, 0, VEC_TS, 0x81 },
		{ SEL_FREE | 3, 0x00cf93000000ffff, VEC_TS, 0x49 }, /* RPL */
		{ SEL_FREE, 0x00cff3000000ffff, VEC_TS, 0x49 },     /* DPL */
		{ SEL_FREE, 0x00cf91000000ffff, VEC_TS, 0x49 },     /* not writable */
		{ SEL_FREE, 0x00cf9b000000ffff, VEC_TS, 0x49 },     /* code */
		{ SEL_FREE, 0x00cf13000000ffff, VEC_SS, 0x49 },     /* not present */
		{ SEL_FREE, 0x00409300000000ff, VEC_SS, 0x49 },     /* limit */
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		protected_mode();
		box_user(box);
		box_gate(box, 0x30, SEL_CODE32, 0x50000, 0xe, 0, 0);
		box_gdt(box, cases[i].ss & 0x7f, cases[i].descriptor);
		box_put64(box, 0xa004, 0x28000 | (u64)cases[i].ss << 32);
		assert_nested(enter(0x30, -1, false, true), cases[i].vector, cases[i].error);
	}
	protected_mode();
	box_user(box);
	box_gate(box, 0x30, SEL_CODE32, 0x50000, 0xe, 0, 0);
	cpu->seg[SEG_TR].limit = 8;
	assert_nested(enter(0x30, -1, false, true), VEC_TS, SEL_TSS | 1);
	/* same level, stack too small */
	protected_mode();
	box_gate(box, 0x30, SEL_CODE32, 0x50000, 0xe, 0, 0);
	cpu->seg[SEG_SS].limit = 0x1ffff - 1;
	assert_nested(enter(0x30, -1, false, true), VEC_SS, 1);
	/* task gates are refused */
	box_gate(box, 0x30, SEL_TSS, 0, 5, 0, 0);
	assert_nested(enter(0x30, -1, false, true), VEC_TS, SEL_TSS | 1);
	/* target beyond the code segment */
	protected_mode();
	box_gdt(box, SEL_FREE, 0x00409b000000ffff);
	box_gate(box, 0x30, SEL_FREE, 0x10000, 0xe, 0, 0);
	assert_nested(enter(0x30, -1, false, true), VEC_GP, 1);
}

/* A handler in a conforming segment keeps the interrupted level. */
static void test_legacy_conforming(void)
{
	protected_mode();
	box_user(box);
	box_gdt(box, SEL_FREE, 0x00cf9f000000ffff);
	box_gate(box, 0x30, SEL_FREE, 0x50000, 0xe, 0, 0);
	g_assert_true(enter(0x30, -1, false, true));
	g_assert_cmpuint(cpu->cpl, ==, 3);
	g_assert_cmphex(cpu->seg[SEG_CS].selector, ==, SEL_FREE | 3);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000 - 12);
}

/* ---- real mode
 * ------------------------------------------------------------------------------------------- */

static void test_real(void)
{
	box_real_mode(box);
	cpu->rflags = 2 | FLAG_IF | FLAG_TF | FLAG_AC | FLAG_ZF;
	box_put64(box, 0x21 * 4, 0xf0001234);
	g_assert_cmpint(box_exec(box, "cd 21"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0x1234);
	g_assert_cmphex(cpu->seg[SEG_CS].selector, ==, 0xf000);
	g_assert_cmphex(cpu->seg[SEG_CS].base, ==, 0xf0000);
	g_assert_cmphex(cpu->rflags, ==, 2 | FLAG_ZF);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x1ffa);
	g_assert_cmphex(box_get16(box, 0x11ffa), ==, 0x7c02);
	g_assert_cmphex(box_get16(box, 0x11ffc), ==, 0);
	g_assert_cmphex(box_get16(box, 0x11ffe), ==, 2 | FLAG_IF | FLAG_TF | FLAG_ZF);
	g_assert_cmpint(box_exec(box, "cf"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0x7c02);
	g_assert_cmphex(cpu->seg[SEG_CS].base, ==, 0);
	g_assert_cmphex(cpu->rflags, ==, 2 | FLAG_IF | FLAG_TF | FLAG_ZF);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x2000);
	/* no error code in a real-mode frame, and SP wraps in 16 bits */
	cpu->gpr[RSP] = 0xabcd0002;
	box_put64(box, VEC_GP * 4, 0x00005555);
	fault_error(cpu, VEC_GP, 0);
	g_assert_true(event_deliver(cpu));
	g_assert_cmphex(cpu->gpr[RSP], ==, 0xabcdfffc);
}

/* ---- IRET
 * ----------------------------------------------------------------------------------------------------
 */

static void frame64(u64 rip, u64 cs, u64 flags, u64 rsp, u64 ss)
{
	const u64 values[] = { rip, cs, flags, rsp, ss };

	long_mode();
	cpu->rflags &= ~FLAG_NT;
	cpu->gpr[RSP] = 0x18000;
	for (unsigned i = 0; i < 5; i++)
		box_put64(box, 0x18000 + i * 8, values[i]);
}

static void test_iret_long(void)
{
	const u64 all = 0x3fffff & ~(FLAG_VM | FLAG_NT);

	frame64(0x4000, SEL_USER64, all, 0x7000, SEL_UDATA);
	g_assert_cmpint(box_exec(box, "48 cf"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0x4000);
	g_assert_cmpuint(cpu->cpl, ==, 3);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x7000);
	g_assert_cmphex(cpu->rflags, ==, 0x3f7fd7 & all);
	g_assert_cmpuint(cpu->ctx & CTX_MODE_MASK, ==, CTX_64);
	/* CPL 3 and IOPL 0: neither IF nor IOPL */
	frame64(0x4000, SEL_USER64, 0x3002, 0x7000, SEL_UDATA);
	box_user(box);
	g_assert_cmpint(box_exec(box, "48 cf"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rflags, ==, 2 | FLAG_IF);
	/* into a compatibility segment */
	frame64(0x4000, SEL_USER32, 0x202, 0x7000, SEL_UDATA);
	g_assert_cmpint(box_exec(box, "48 cf"), ==, HELPER_JUMP);
	g_assert_cmpuint(cpu->ctx & CTX_MODE_MASK, ==, CTX_32);
	/* null SS inside the kernel only */
	frame64(0x4000, SEL_CODE64, 0x202, 0x7000, 0);
	g_assert_cmpint(box_exec(box, "48 cf"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x7000);
	/* 32-bit operand size: five dwords */
	frame64(0, 0, 0, 0, 0);
	box_put64(box, 0x18000, 0x4000 | (u64)SEL_CODE64 << 32);
	box_put64(box, 0x18008, 0x202 | 0x7000ull << 32);
	box_put64(box, 0x18010, SEL_DATA);
	g_assert_cmpint(box_exec(box, "cf"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0x4000);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x7000);
}

static void test_iret_long_errors(void)
{
	static const struct {
		u64 rip, cs, ss;
		unsigned vector;
		u32 error;
	} cases[] = {
		{ 0x4000, 0, SEL_DATA, VEC_GP, 0 },
		{ 0x4000, SEL_DATA, SEL_DATA, VEC_GP, SEL_DATA },
		{ 0x4000, 0x80, SEL_DATA, VEC_GP, 0x80 },
		{ 0x4000, SEL_USER64 & ~3, SEL_DATA, VEC_GP, SEL_USER64 & ~3 }, /* RPL < DPL */
		{ 0x800000000000, SEL_CODE64, SEL_DATA, VEC_GP, 0 },
		{ 0x4000, SEL_USER64, 0, VEC_GP, 0 },
		{ 0x4000, SEL_USER64, 3, VEC_GP, 0 },
		{ 0x4000, SEL_USER32, 0, VEC_GP, 0 },
		{ 0x4000, SEL_USER64, SEL_DATA, VEC_GP, SEL_DATA },
		{ 0x4000, SEL_USER64, SEL_DATA | 3, VEC_GP, SEL_DATA },
		{ 0x4000, SEL_USER64, SEL_USER32, VEC_GP, SEL_USER32 & ~3 },
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		frame64(cases[i].rip, cases[i].cs, 0x202, 0x7000, cases[i].ss);
		box_assert_fault(box, "48 cf", cases[i].vector, cases[i].error);
		g_assert_cmphex(cpu->gpr[RSP], ==, 0x18000);
		g_assert_cmphex(cpu->rip, ==, 0x30000);
		g_assert_cmpuint(cpu->cpl, ==, 0);
	}
	frame64(0x4000, SEL_CODE64, 0x202, 0x7000, SEL_DATA);
	box_user(box);
	box_assert_fault(box, "48 cf", VEC_GP, SEL_CODE64); /* inward */
	frame64(0x4000, SEL_CODE64, 0x202, 0x7000, SEL_DATA);
	cpu->rflags |= FLAG_NT;
	box_assert_fault(box, "48 cf", VEC_GP, 0);
	frame64(0x4000, SEL_CODE64, 0x202, 0x7000, SEL_DATA);
	cpu->gpr[RSP] = 0x40000000;
	g_assert_cmpint(box_exec(box, "48 cf"), ==, HELPER_FAULT);
	g_assert_cmpuint(cpu->fault.vector, ==, VEC_PF);
	cpu->gpr[RSP] = 0x8000000000000000;
	box_assert_fault(box, "48 cf", VEC_SS, 0);
}

static void test_iret_legacy(void)
{
	protected_mode();
	cpu->gpr[RSP] = 0x18000;
	box_put64(box, 0x18000, 0x4000 | (u64)SEL_CODE32 << 32);
	box_put64(box, 0x18008, 0x202);
	g_assert_cmpint(box_exec(box, "cf"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x1800c);
	g_assert_cmphex(cpu->rip, ==, 0x4000);
	/* virtual-8086 mode is refused */
	cpu->gpr[RSP] = 0x18000;
	box_put64(box, 0x18008, 0x202 | FLAG_VM);
	box_assert_fault(box, "cf", VEC_GP, 0);
	/* 16-bit frame keeps the upper flags */
	cpu->rflags |= FLAG_AC;
	box_put64(box, 0x18000, 0x4000 | SEL_CODE32 << 16 | 0x46ull << 32);
	g_assert_cmpint(box_exec(box, "66 cf"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x18006);
	g_assert_cmphex(cpu->rflags, ==, FLAG_AC | 0x46);
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	box = box_new(NULL);
	cpu = box->cpu;
	g_test_add_func("/event/long/same-level", test_long_same_level);
	g_test_add_func("/event/long/trap-gate", test_long_trap_gate);
	g_test_add_func("/event/long/from-user", test_long_from_user);
	g_test_add_func("/event/long/ist", test_long_ist);
	g_test_add_func("/event/long/gate-errors", test_long_gate_errors);
	g_test_add_func("/event/long/code-errors", test_long_code_errors);
	g_test_add_func("/event/long/stack-errors", test_long_stack_errors);
	g_test_add_func("/event/soft", test_soft);
	g_test_add_func("/event/double-fault", test_double_fault);
	g_test_add_func("/event/triple-fault", test_triple_fault);
	g_test_add_func("/event/legacy/same-level", test_legacy_same_level);
	g_test_add_func("/event/legacy/16-bit-gate", test_legacy_16bit_gate);
	g_test_add_func("/event/legacy/inner", test_legacy_inner);
	g_test_add_func("/event/legacy/stack-errors", test_legacy_stack_errors);
	g_test_add_func("/event/legacy/conforming", test_legacy_conforming);
	g_test_add_func("/event/real", test_real);
	g_test_add_func("/iret/long", test_iret_long);
	g_test_add_func("/iret/long-errors", test_iret_long_errors);
	g_test_add_func("/iret/legacy", test_iret_legacy);
	status = g_test_run();
	box_free(box);
	return status;
}
