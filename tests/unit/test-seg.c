/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segment registers and far transfers: SDM vol. 2 "MOV", "LDS", "LLDT", "LTR", "LAR", "JMP",
 * "CALL", "RET"; vol. 3 sections 5.8 and 7.2.3.
 */
#include "cpubox.h"

static struct box *box;
static struct cpu *cpu;

#define CODE_CONFORMING 0x00cf9f000000ffff
#define CODE_EXEC_ONLY  0x00cf99000000ffff
#define DATA_READ_ONLY  0x00cf91000000ffff
#define DATA_ABSENT     0x00cf13000000ffff
#define DATA_DPL3       0x00cff3000000ffff

/* ---- loads ----------------------------------------------------------------------------------- */

/* mov ds, ax at @cpl; the error code, -1 for success, -0x10000 - x for #NP(x), -0x20000 - x #SS(x)
 */
static s64 load(const char *hex, unsigned cpl, u16 selector, u64 descriptor)
{
	box_protected_mode(box);
	if (cpl == 3)
		box_user(box);
	if ((selector & ~7u) == SEL_FREE)
		box_gdt(box, SEL_FREE, descriptor);
	cpu->gpr[RAX] = selector;
	if (box_exec(box, hex) == HELPER_NEXT)
		return -1;
	switch (cpu->fault.vector) {
	case VEC_GP: return cpu->fault.error;
	case VEC_NP: return -0x10000 - (s64)cpu->fault.error;
	case VEC_SS: return -0x20000 - (s64)cpu->fault.error;
	default: g_assert_not_reached();
	}
}

#define MOV_DS "8e d8"
#define MOV_SS "8e d0"
#define MOV_FS "8e e0"

static void test_data(void)
{
	g_assert_cmpint(load(MOV_DS, 0, SEL_DATA, 0), ==, -1);
	g_assert_cmpint(load(MOV_DS, 0, 0, 0), ==, -1);
	g_assert_cmphex(cpu->seg[SEG_DS].attr & SEG_ATTR_P, ==, 0);
	g_assert_cmpint(load(MOV_DS, 3, 3, 0), ==, -1);
	g_assert_cmphex(load(MOV_DS, 0, 0x80, 0), ==, 0x80);
	g_assert_cmphex(load(MOV_DS, 0, 0x85, 0), ==, 0x84); /* no LDT */
	g_assert_cmphex(load(MOV_DS, 3, SEL_DATA, 0), ==, SEL_DATA);
	g_assert_cmphex(load(MOV_DS, 0, SEL_DATA | 3, 0), ==, SEL_DATA); /* RPL */
	g_assert_cmpint(load(MOV_DS, 3, SEL_UDATA, 0), ==, -1);
	g_assert_cmphex(load(MOV_DS, 0, SEL_TSS, 0), ==, SEL_TSS);
	g_assert_cmpint(load(MOV_DS, 0, SEL_CODE32, 0), ==, -1); /* readable code */
	g_assert_cmphex(load(MOV_DS, 0, SEL_FREE, CODE_EXEC_ONLY), ==, SEL_FREE);
	g_assert_cmpint(load(MOV_DS, 0, SEL_FREE, DATA_READ_ONLY), ==, -1);
	g_assert_cmpint(load(MOV_DS, 0, SEL_FREE, DATA_ABSENT), ==, -0x10000 - SEL_FREE);
	/* conforming code is readable from anywhere */
	g_assert_cmpint(load(MOV_DS, 3, SEL_FREE | 3, CODE_CONFORMING), ==, -1);
}

static void test_hidden_part(void)
{
	/* base 0xab123456, limit 0xfedcb in pages, accessed clear */
	const u64 descriptor = 0xab8f92123456edcb;

	g_assert_cmpint(load(MOV_FS, 0, SEL_FREE, descriptor), ==, -1);
	g_assert_cmphex(cpu->seg[SEG_FS].base, ==, 0xab123456);
	g_assert_cmphex(cpu->fs_base, ==, 0xab123456);
	g_assert_cmphex(cpu->seg[SEG_FS].limit, ==, 0xfedcbfff);
	g_assert_cmphex(cpu->seg[SEG_FS].attr, ==, 0x8093);
	g_assert_cmphex(box_get64(box, 0x8000 + SEL_FREE), ==, descriptor | BIT(40));
}

static void test_stack_segment(void)
{
	g_assert_cmpint(load(MOV_SS, 0, SEL_DATA, 0), ==, -1);
	g_assert_cmpuint(cpu->intr_shadow, ==, 1);
	g_assert_cmphex(load(MOV_SS, 0, 0, 0), ==, 0);
	g_assert_cmphex(load(MOV_SS, 0, SEL_DATA | 3, 0), ==, SEL_DATA);
	g_assert_cmphex(load(MOV_SS, 0, SEL_FREE, DATA_DPL3), ==, SEL_FREE);
	g_assert_cmphex(load(MOV_SS, 0, SEL_FREE, DATA_READ_ONLY), ==, SEL_FREE);
	g_assert_cmphex(load(MOV_SS, 0, SEL_CODE32, 0), ==, SEL_CODE32);
	g_assert_cmpint(load(MOV_SS, 0, SEL_FREE, DATA_ABSENT), ==, -0x20000 - SEL_FREE);
	g_assert_cmpint(load(MOV_SS, 3, SEL_UDATA, 0), ==, -1);
	/* 64-bit mode takes a null SS below CPL 3, if RPL is CPL */
	box_long_mode(box);
	cpu->gpr[RAX] = 0;
	box_assert_next(box, MOV_SS);
	cpu->gpr[RAX] = 1;
	box_assert_fault(box, MOV_SS, VEC_GP, 0);
	box_user(box);
	cpu->gpr[RAX] = 3;
	box_assert_fault(box, MOV_SS, VEC_GP, 0);
}

static void test_forms(void)
{
	box_protected_mode(box);
	box_assert_fault(box, "8e c8", VEC_UD, -1); /* mov cs, ax */
	cpu->gpr[RAX] = 0xffffffffffffffff;
	box_assert_next(box, "8c d8"); /* mov eax, ds: zero-extended */
	g_assert_cmphex(cpu->gpr[RAX], ==, SEL_DATA);
	cpu->gpr[RAX] = 0xffffffff;
	box_assert_next(box, "66 8c d8");
	g_assert_cmphex(cpu->gpr[RAX], ==, 0xffff0000 | SEL_DATA);
	box_assert_next(box, "0e"); /* push cs */
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x1fffc);
	g_assert_cmphex(box_get32(box, 0x1fffc), ==, SEL_CODE32);
	box_assert_next(box, "07"); /* pop es */
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000);
	g_assert_cmphex(cpu->seg[SEG_ES].selector, ==, SEL_CODE32);
	box_put64(box, 0x1fffc, 0x80);
	cpu->gpr[RSP] = 0x1fffc;
	box_assert_fault(box, "0f a1", VEC_GP, 0x80); /* pop fs: RSP stays */
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x1fffc);
	/* lgs ebx, [0x5000] */
	box_put64(box, 0x5000, 0x11223344 | (u64)SEL_DATA << 32);
	box_assert_next(box, "0f b5 1d 00 50 00 00");
	g_assert_cmphex(cpu->gpr[RBX], ==, 0x11223344);
	g_assert_cmphex(cpu->seg[SEG_GS].selector, ==, SEL_DATA);
	box_put64(box, 0x5000, 0x55 | 0x80ull << 32);
	box_assert_fault(box, "0f b5 1d 00 50 00 00", VEC_GP, 0x80);
	g_assert_cmphex(cpu->gpr[RBX], ==, 0x11223344);
}

static void test_real(void)
{
	box_real_mode(box);
	cpu->seg[SEG_DS].limit = 0xffffffff; /* "unreal" */
	cpu->gpr[RAX] = 0x1234;
	box_assert_next(box, MOV_DS);
	g_assert_cmphex(cpu->seg[SEG_DS].base, ==, 0x12340);
	g_assert_cmphex(cpu->seg[SEG_DS].limit, ==, 0xffffffff);
	box_assert_fault(box, "0f 00 d0", VEC_UD, -1); /* lldt ax */
	box_assert_fault(box, "0f 02 c0", VEC_UD, -1); /* lar */
}

/* ---- limits of accesses ------------------------------------------------------------------------
 */

static bool may(unsigned seg, u64 offset, unsigned size, unsigned access, unsigned vector)
{
	gva_t gva;

	cpu->fault_pending = 0;
	if (seg_check(cpu, seg, offset, size, access, &gva))
		return true;
	g_assert_cmpuint(cpu->fault.vector, ==, vector);
	g_assert_cmphex(cpu->fault.error, ==, 0);
	return false;
}

static void test_limits(void)
{
	struct x86_segment *ds = &cpu->seg[SEG_DS];
	gva_t gva;

	box_protected_mode(box);
	*ds = (struct x86_segment){ 0x1000, 0xfff, SEL_DATA, 0x4093 };
	g_assert_true(may(SEG_DS, 0xffc, 4, MEM_W, VEC_GP));
	g_assert_false(may(SEG_DS, 0xffd, 4, MEM_W, VEC_GP));
	g_assert_false(may(SEG_DS, 0xffffffff, 4, MEM_R, VEC_GP));
	g_assert_true(seg_check(cpu, SEG_DS, 0x10, 1, MEM_R, &gva));
	g_assert_cmphex(gva, ==, 0x1010);
	ds->attr = 0x4097; /* expand-down: above the limit */
	g_assert_false(may(SEG_DS, 0xfff, 1, MEM_W, VEC_GP));
	g_assert_true(may(SEG_DS, 0x1000, 1, MEM_W, VEC_GP));
	g_assert_true(may(SEG_DS, 0xfffffffc, 4, MEM_W, VEC_GP));
	g_assert_false(may(SEG_DS, 0xfffffffd, 4, MEM_W, VEC_GP));
	ds->attr = 0x0097; /* of 64 KiB */
	g_assert_true(may(SEG_DS, 0xfffc, 4, MEM_W, VEC_GP));
	g_assert_false(may(SEG_DS, 0xfffd, 4, MEM_W, VEC_GP));
	ds->attr = 0x4091; /* read-only */
	g_assert_true(may(SEG_DS, 0, 4, MEM_R, VEC_GP));
	g_assert_false(may(SEG_DS, 0, 4, MEM_W, VEC_GP));
	ds->attr = 0x4099; /* execute-only */
	g_assert_false(may(SEG_DS, 0, 4, MEM_R, VEC_GP));
	ds->attr = 0x409b;
	g_assert_true(may(SEG_DS, 0, 4, MEM_R, VEC_GP));
	g_assert_false(may(SEG_DS, 0, 4, MEM_W, VEC_GP));
	ds->attr = 0; /* null */
	g_assert_false(may(SEG_DS, 0, 1, MEM_R, VEC_GP));
	cpu->seg[SEG_SS].limit = 0xff;
	g_assert_false(may(SEG_SS, 0x100, 1, MEM_W, VEC_SS));
	/* base and offset add up modulo 4 GiB */
	*ds = (struct x86_segment){ 0xfffff000, 0xffffffff, SEL_DATA, 0xc093 };
	g_assert_true(seg_check(cpu, SEG_DS, 0x2010, 1, MEM_R, &gva));
	g_assert_cmphex(gva, ==, 0x1010);
}

static void test_canonical(void)
{
	gva_t gva;

	box_long_mode(box);
	g_assert_true(may(SEG_DS, 0x00007ffffffffff8, 8, MEM_W, VEC_GP));
	g_assert_false(may(SEG_DS, 0x00007ffffffffff9, 8, MEM_W, VEC_GP));
	g_assert_false(may(SEG_SS, 0x0000800000000000, 8, MEM_W, VEC_SS));
	g_assert_true(may(SEG_DS, 0xffff800000000000, 8, MEM_W, VEC_GP));
	cpu->seg[SEG_DS].base = 0x1000; /* ignored */
	seg_set_base(cpu, SEG_GS, 0xffff888000000000);
	g_assert_true(seg_check(cpu, SEG_DS, 0x10, 1, MEM_R, &gva));
	g_assert_cmphex(gva, ==, 0x10);
	g_assert_true(seg_check(cpu, SEG_GS, 0x10, 1, MEM_R, &gva));
	g_assert_cmphex(gva, ==, 0xffff888000000010);
}

/* ---- tables
 * -------------------------------------------------------------------------------------- */

static void test_table_registers(void)
{
	box_long_mode(box);
	box_put64(box, 0x5000, 0x1fff);
	box_put64(box, 0x5002, 0xffff888012345678);
	box_assert_next(box, "0f 01 14 25 00 50 00 00"); /* lgdt */
	g_assert_cmphex(cpu->gdtr.base, ==, 0xffff888012345678);
	g_assert_cmphex(cpu->gdtr.limit, ==, 0x1fff);
	box_assert_next(box, "0f 01 0c 25 00 51 00 00"); /* sidt */
	g_assert_cmphex(box_get16(box, 0x5100), ==, 0xfff);
	g_assert_cmphex(box_get64(box, 0x5102), ==, 0x9000);
	box_put64(box, 0x5002, 0x0000888012345678);
	box_assert_fault(box, "0f 01 14 25 00 50 00 00", VEC_GP, 0);
	box_long_mode(box);
	box_user(box);
	box_assert_fault(box, "0f 01 14 25 00 50 00 00", VEC_GP, 0);
	box_assert_next(box, "0f 01 0c 25 00 51 00 00");
	cpu->cr4 |= CR4_UMIP;
	box_assert_fault(box, "0f 01 0c 25 00 51 00 00", VEC_GP, 0);
	box_assert_fault(box, "0f 01 04 25 00 51 00 00", VEC_GP, 0); /* sgdt */
	box_assert_fault(box, "0f 00 c0", VEC_GP, 0);                /* sldt */
	box_assert_fault(box, "0f 00 c8", VEC_GP, 0);                /* str */
	box_assert_fault(box, "0f 01 e0", VEC_GP, 0);                /* smsw */
	/* 16-bit operand size: a base of 24 bits */
	box_real_mode(box);
	box_put64(box, 0x5000, 0x123456780fff);
	box_assert_next(box, "0f 01 16 00 50");
	g_assert_cmphex(cpu->gdtr.base, ==, 0x345678);
	box_assert_next(box, "66 0f 01 16 00 50");
	g_assert_cmphex(cpu->gdtr.base, ==, 0x12345678);
}

static s64 system_load(const char *hex, u16 selector, u64 low, u64 high)
{
	box_long_mode(box);
	box_gdt(box, SEL_FREE, low);
	box_gdt(box, SEL_FREE + 8, high);
	cpu->gpr[RAX] = selector;
	if (box_exec(box, hex) == HELPER_NEXT)
		return -1;
	return cpu->fault.vector == VEC_NP ? -0x10000 - (s64)cpu->fault.error : cpu->fault.error;
}

#define LLDT "0f 00 d0"
#define LTR  "0f 00 d8"

static void test_ldt_tr(void)
{
	const u64 ldt = 0x1200823456780fff, tss = 0x1200893456780067, high = 0xffff8880;

	g_assert_cmpint(system_load(LLDT, SEL_FREE, ldt, high), ==, -1);
	g_assert_cmphex(cpu->seg[SEG_LDT].base, ==, 0xffff888012345678);
	g_assert_cmphex(cpu->seg[SEG_LDT].limit, ==, 0xfff);
	g_assert_cmpint(system_load(LLDT, 3, 0, 0), ==, -1);
	g_assert_cmphex(cpu->seg[SEG_LDT].attr & SEG_ATTR_P, ==, 0);
	g_assert_cmphex(system_load(LLDT, SEL_FREE | 4, ldt, high), ==, SEL_FREE | 4);
	g_assert_cmphex(system_load(LLDT, SEL_DATA, ldt, high), ==, SEL_DATA);
	g_assert_cmphex(system_load(LLDT, SEL_FREE, tss, high), ==, SEL_FREE);
	g_assert_cmphex(system_load(LLDT, SEL_FREE, ldt & ~BIT(47), high), ==, -0x10000 - SEL_FREE);
	g_assert_cmphex(system_load(LLDT, SEL_FREE, ldt, 0x00008880), ==, SEL_FREE);
	g_assert_cmphex(system_load(LLDT, SEL_FREE, ldt, high | 0x10000000000), ==, SEL_FREE);

	g_assert_cmpint(system_load(LTR, SEL_FREE, tss, high), ==, -1);
	g_assert_cmphex(cpu->seg[SEG_TR].attr, ==, 0x8b); /* busy, here and in memory */
	g_assert_cmphex(box_get64(box, 0x8000 + SEL_FREE), ==, tss | BIT(41));
	g_assert_cmphex(system_load(LTR, SEL_FREE, tss | BIT(41), high), ==, SEL_FREE);
	g_assert_cmphex(system_load(LTR, 0, tss, high), ==, 0);
	g_assert_cmphex(system_load(LTR, SEL_FREE, ldt, high), ==, SEL_FREE);
	g_assert_cmphex(system_load(LTR, SEL_FREE, tss & ~BIT(47), high), ==, -0x10000 - SEL_FREE);
	box_user(box);
	box_assert_fault(box, LTR, VEC_GP, 0);
	box_assert_fault(box, LLDT, VEC_GP, 0);
}

static void test_ldt_use(void)
{
	box_protected_mode(box);
	box_gdt(box, SEL_FREE, 0x000082005000000f); /* LDT at 0x5000 with two entries */
	cpu->gpr[RAX] = SEL_FREE;
	box_assert_next(box, LLDT);
	box_put64(box, 0x5008, 0x00cf93000000ffff);
	cpu->gpr[RAX] = 0xc;
	box_assert_next(box, MOV_DS);
	cpu->gpr[RAX] = 0x14;
	box_assert_fault(box, MOV_DS, VEC_GP, 0x14);
}

/* ---- questions
 * ------------------------------------------------------------------------------------- */

/* ZF after the instruction on a selector; EBX is the destination. */
static bool ask(const char *hex, unsigned cpl, u16 selector, u64 descriptor)
{
	box_protected_mode(box);
	if (cpl == 3)
		box_user(box);
	box_gdt(box, SEL_FREE, descriptor);
	cpu->gpr[RAX] = selector;
	cpu->gpr[RBX] = 0x5a5a5a5a;
	cpu->rflags ^= FLAG_ZF | FLAG_CF;
	box_assert_next(box, hex);
	g_assert_true(cpu->rflags & FLAG_CF);
	return cpu->rflags & FLAG_ZF;
}

#define LAR  "0f 02 d8"
#define LSL  "0f 03 d8"
#define VERR "0f 00 e0"
#define VERW "0f 00 e8"

static void test_questions(void)
{
	g_assert_true(ask(LAR, 0, SEL_FREE, 0x12cf93345678ffff));
	g_assert_cmphex(cpu->gpr[RBX], ==, 0x00cf9300);
	g_assert_true(ask("66 0f 02 d8", 0, SEL_FREE, 0x12cf93345678ffff));
	g_assert_cmphex(cpu->gpr[RBX], ==, 0x5a5a9300);
	g_assert_false(ask(LAR, 0, 0, 0));
	g_assert_false(ask(LAR, 0, 0x88, 0));
	g_assert_cmphex(cpu->gpr[RBX], ==, 0x5a5a5a5a);
	g_assert_false(ask(LAR, 3, SEL_DATA, 0));
	g_assert_true(ask(LAR, 3, SEL_FREE, CODE_CONFORMING));
	g_assert_true(ask(LSL, 0, SEL_DATA, 0));
	g_assert_cmphex(cpu->gpr[RBX], ==, 0xffffffff);
	g_assert_true(ask(LSL, 0, SEL_FREE, 0x0041930000001234));
	g_assert_cmphex(cpu->gpr[RBX], ==, 0x11234);
	for (unsigned type = 0; type < 16; type++) { /* system types: SDM tables for LAR and LSL */
		u64 descriptor = 0x000080000000ffff | (u64)type << 40;

		g_assert_cmpint(ask(LAR, 0, SEL_FREE, descriptor), ==, 0x1a3e >> type & 1);
		g_assert_cmpint(ask(LSL, 0, SEL_FREE, descriptor), ==, 0x0a0e >> type & 1);
	}
	g_assert_true(ask(VERR, 0, SEL_DATA, 0));
	g_assert_true(ask(VERW, 0, SEL_DATA, 0));
	g_assert_true(ask(VERR, 0, SEL_FREE, DATA_READ_ONLY));
	g_assert_false(ask(VERW, 0, SEL_FREE, DATA_READ_ONLY));
	g_assert_false(ask(VERR, 0, SEL_FREE, CODE_EXEC_ONLY));
	g_assert_true(ask(VERR, 0, SEL_CODE32, 0));
	g_assert_false(ask(VERW, 0, SEL_CODE32, 0));
	g_assert_false(ask(VERR, 3, SEL_DATA, 0));
	g_assert_false(ask(VERR, 0, SEL_TSS, 0));
}

static void test_arpl(void)
{
	box_protected_mode(box);
	cpu->gpr[RAX] = 0x10;
	cpu->gpr[RBX] = 0x33;
	box_assert_next(box, "63 d8"); /* arpl ax, bx */
	g_assert_cmphex(cpu->gpr[RAX], ==, 0x13);
	g_assert_true(cpu->rflags & FLAG_ZF);
	box_assert_next(box, "63 d8");
	g_assert_cmphex(cpu->gpr[RAX], ==, 0x13);
	g_assert_false(cpu->rflags & FLAG_ZF);
}

/* ---- far transfers
 * --------------------------------------------------------------------------------- */

/* jmp far [0x5000], 32-bit offset, from protected mode */
static s64 jump(unsigned cpl, u16 selector, u32 offset, u64 descriptor)
{
	box_protected_mode(box);
	if (cpl == 3)
		box_user(box);
	if ((selector & ~7u) == SEL_FREE)
		box_gdt(box, SEL_FREE, descriptor);
	box_put64(box, 0x5000, offset | (u64)selector << 32);
	if (box_exec(box, "ff 2d 00 50 00 00") == HELPER_JUMP)
		return -1;
	return cpu->fault.vector == VEC_NP ? -0x10000 - (s64)cpu->fault.error : cpu->fault.error;
}

static void test_jump(void)
{
	g_assert_cmpint(jump(0, SEL_CODE32, 0x12345, 0), ==, -1);
	g_assert_cmphex(cpu->rip, ==, 0x12345);
	g_assert_cmphex(jump(0, 0, 0, 0), ==, 0);
	g_assert_cmphex(jump(0, 0x80, 0, 0), ==, 0x80);
	g_assert_cmphex(jump(0, SEL_DATA, 0, 0), ==, SEL_DATA);
	g_assert_cmphex(jump(0, SEL_USER32, 0, 0), ==, SEL_USER32 & ~3);
	g_assert_cmphex(jump(3, SEL_CODE32 | 3, 0, 0), ==, SEL_CODE32);
	g_assert_cmphex(jump(0, SEL_CODE32 | 3, 0, 0), ==, SEL_CODE32); /* RPL > CPL */
	g_assert_cmpint(jump(3, SEL_FREE | 3, 0x77, CODE_CONFORMING), ==, -1);
	g_assert_cmphex(cpu->seg[SEG_CS].selector, ==, SEL_FREE | 3);
	g_assert_cmpuint(cpu->cpl, ==, 3);
	g_assert_cmpint(jump(3, SEL_FREE, 0x77, CODE_CONFORMING), ==, -1);
	g_assert_cmphex(jump(0, SEL_FREE, 0, 0x00cf1b000000ffff), ==, -0x10000 - SEL_FREE);
	g_assert_cmphex(jump(0, SEL_FREE, 0x1000, 0x00409b0000000fff), ==, 0);
	g_assert_cmpint(jump(0, SEL_FREE, 0xfff, 0x00409a0000000fff), ==, -1);
	g_assert_cmphex(box_get64(box, 0x8000 + SEL_FREE), ==, 0x00409b0000000fff);
	g_assert_cmphex(jump(0, SEL_TSS, 0, 0), ==, SEL_TSS); /* no task switching */
	/* direct form, and 16-bit operand size */
	box_protected_mode(box);
	g_assert_cmpint(box_exec(box, "ea 44 33 22 11 18 00"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0x11223344);
	g_assert_cmpint(box_exec(box, "66 ea 44 33 18 00"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0x3344);
}

/* The road from real mode to 64-bit mode, as boot loaders take it. */
static void test_mode_switch(void)
{
	box_long_mode(box); /* for its tables */
	cpu_reset(cpu, false);
	for (unsigned i = 0; i <= SEG_GS; i++)
		seg_install_real(cpu, i, 0);
	cpu->rip = 0x7c00;
	cpu->gdtr = (struct x86_table){ 0x8000, 0x7f };
	g_assert_cmpuint(cpu->ctx & CTX_MODE_MASK, ==, CTX_16);
	g_assert_true(cpu->ctx & CTX_REAL);
	cpu->gpr[RAX] = cpu->cr0 | CR0_PE;
	box_assert_next(box, "0f 22 c0");
	g_assert_false(cpu->ctx & CTX_REAL);
	g_assert_cmpuint(cpu->ctx & CTX_MODE_MASK, ==, CTX_16);
	g_assert_cmpint(box_exec(box, "66 ea 00 10 00 00 18 00"), ==, HELPER_JUMP);
	g_assert_cmpuint(cpu->ctx & CTX_MODE_MASK, ==, CTX_32);
	cpu->gpr[RAX] = CR4_PAE;
	box_assert_next(box, "0f 22 e0");
	cpu->gpr[RAX] = 0x1000;
	box_assert_next(box, "0f 22 d8");
	cpu->gpr[RCX] = 0xc0000080;
	cpu->gpr[RAX] = EFER_LME;
	cpu->gpr[RDX] = 0;
	box_assert_next(box, "0f 30");
	g_assert_false(cpu_long_mode(cpu));
	cpu->gpr[RAX] = cpu->cr0 | CR0_PG;
	box_assert_next(box, "0f 22 c0");
	g_assert_true(cpu_long_mode(cpu));
	g_assert_cmpuint(cpu->ctx & CTX_MODE_MASK, ==, CTX_32); /* compatibility */
	g_assert_cmpint(box_exec(box, "ea 00 20 00 00 08 00"), ==, HELPER_JUMP);
	g_assert_cmpuint(cpu->ctx & CTX_MODE_MASK, ==, CTX_64);
	/* and back: paging may not be turned off in 64-bit mode */
	cpu->gpr[RAX] = cpu->cr0 & ~CR0_PG;
	box_assert_fault(box, "0f 22 c0", VEC_GP, 0);
	box_put64(box, 0x5000, 0x3000 | (u64)SEL_CODE32 << 32);
	g_assert_cmpint(box_exec(box, "ff 2c 25 00 50 00 00"), ==, HELPER_JUMP);
	box_assert_next(box, "0f 22 c0");
	g_assert_false(cpu_long_mode(cpu));
	g_assert_cmphex(cpu->efer, ==, EFER_LME);
}

static void test_call_and_return(void)
{
	box_protected_mode(box);
	g_assert_cmpint(box_exec(box, "9a 44 33 22 11 18 00"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x1fff8);
	g_assert_cmphex(box_get32(box, 0x1fff8), ==, 0x30007);
	g_assert_cmphex(box_get32(box, 0x1fffc), ==, SEL_CODE32);
	g_assert_cmpint(box_exec(box, "ca 10 00"), ==, HELPER_JUMP); /* retf 16 */
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20010);
	g_assert_cmphex(cpu->rip, ==, 0x30007);
	/* to an outer level: the parameters are skipped on both stacks */
	cpu->gpr[RSP] = 0x18000;
	box_put64(box, 0x18000, 0x4000 | (u64)SEL_USER32 << 32);
	box_put64(box, 0x18008 + 8, 0x7000 | (u64)SEL_UDATA << 32);
	g_assert_cmpint(box_exec(box, "ca 08 00"), ==, HELPER_JUMP);
	g_assert_cmpuint(cpu->cpl, ==, 3);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x7008);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, SEL_UDATA);
	g_assert_cmphex(cpu->seg[SEG_DS].selector, ==, 0); /* was a kernel segment */
	cpu->gpr[RSP] = 0x18000;
	box_put64(box, 0x18000, 0x4000 | (u64)SEL_CODE32 << 32);
	box_assert_fault(box, "cb", VEC_GP, SEL_CODE32); /* inward */
	/* real mode */
	box_real_mode(box);
	g_assert_cmpint(box_exec(box, "9a 34 12 00 20"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->seg[SEG_CS].base, ==, 0x20000);
	g_assert_cmphex(cpu->rip, ==, 0x1234);
	g_assert_cmphex(box_get32(box, 0x11ffc), ==, 0x00007c05);
	g_assert_cmpint(box_exec(box, "cb"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0x7c05);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x2000);
}

static void gate32(u16 selector, u32 offset, unsigned params, unsigned dpl)
{
	box_gdt(box, SEL_FREE,
		(offset & 0xffff) | (u64)selector << 16 | (u64)params << 32 |
			(u64)(0x8c | dpl << 5) << 40 | (u64)(offset >> 16) << 48);
}

static void test_call_gate(void)
{
	/* from user mode with two parameters: call 0x4b:0 */
	box_protected_mode(box);
	box_user(box);
	gate32(SEL_CODE32, 0x12345678, 2, 3);
	box_put64(box, 0x20000, 0x2222222211111111);
	g_assert_cmpint(box_exec(box, "9a 00 00 00 00 4b 00"), ==, HELPER_JUMP);
	g_assert_cmpuint(cpu->cpl, ==, 0);
	g_assert_cmphex(cpu->rip, ==, 0x12345678);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x28000 - 24);
	g_assert_cmphex(box_get32(box, 0x27ffc), ==, SEL_UDATA);
	g_assert_cmphex(box_get32(box, 0x27ff8), ==, 0x20000);
	g_assert_cmphex(box_get32(box, 0x27ff4), ==, 0x22222222);
	g_assert_cmphex(box_get32(box, 0x27ff0), ==, 0x11111111);
	g_assert_cmphex(box_get32(box, 0x27fec), ==, SEL_USER32);
	g_assert_cmphex(box_get32(box, 0x27fe8), ==, 0x30007);
	g_assert_cmpint(box_exec(box, "ca 08 00"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20008);
	g_assert_cmpuint(cpu->cpl, ==, 3);
	/* privilege of the gate; jumps do not change levels */
	box_protected_mode(box);
	box_user(box);
	gate32(SEL_CODE32, 0x1000, 0, 0);
	box_assert_fault(box, "9a 00 00 00 00 4b 00", VEC_GP, SEL_FREE);
	gate32(SEL_CODE32, 0x1000, 0, 3);
	box_assert_fault(box, "ea 00 00 00 00 4b 00", VEC_GP, SEL_CODE32);
	gate32(SEL_DATA, 0x1000, 0, 3);
	box_assert_fault(box, "9a 00 00 00 00 4b 00", VEC_GP, SEL_DATA);
	gate32(0, 0x1000, 0, 3);
	box_assert_fault(box, "9a 00 00 00 00 4b 00", VEC_GP, 0);
	/* same level through a gate */
	box_protected_mode(box);
	gate32(SEL_CODE32, 0x1000, 3, 0);
	g_assert_cmpint(box_exec(box, "9a 00 00 00 00 48 00"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x1fff8);
}

static void test_call_gate64(void)
{
	box_long_mode(box);
	box_user(box);
	gate32(SEL_CODE64, 0x12345678, 0, 3);
	box_gdt(box, SEL_FREE + 8, 0xffff8000);
	box_put64(box, 0x5000, (u64)(SEL_FREE | 3) << 32);
	g_assert_cmpint(box_exec(box, "ff 1c 25 00 50 00 00"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0xffff800012345678);
	g_assert_cmpuint(cpu->cpl, ==, 0);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x28000 - 32);
	g_assert_cmphex(box_get64(box, 0x27ff8), ==, SEL_UDATA);
	g_assert_cmphex(box_get64(box, 0x27ff0), ==, 0x20000);
	g_assert_cmphex(box_get64(box, 0x27fe8), ==, SEL_USER64);
	g_assert_cmphex(box_get64(box, 0x27fe0), ==, 0x30007);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, 0);
	g_assert_cmpint(box_exec(box, "48 cb"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000);
	g_assert_cmpuint(cpu->cpl, ==, 3);
	/* type bits in the upper half must be zero */
	box_gdt(box, SEL_FREE + 8, 0xffff8000 | 1ull << 40);
	box_assert_fault(box, "ff 1c 25 00 50 00 00", VEC_GP, SEL_FREE);
	/* the code behind it must be 64-bit */
	gate32(SEL_CODE32, 0x1000, 0, 3);
	box_gdt(box, SEL_FREE + 8, 0);
	box_assert_fault(box, "ff 1c 25 00 50 00 00", VEC_GP, SEL_CODE32);
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	box = box_new(NULL);
	cpu = box->cpu;
	g_test_add_func("/seg/data", test_data);
	g_test_add_func("/seg/hidden-part", test_hidden_part);
	g_test_add_func("/seg/stack", test_stack_segment);
	g_test_add_func("/seg/forms", test_forms);
	g_test_add_func("/seg/real", test_real);
	g_test_add_func("/seg/limits", test_limits);
	g_test_add_func("/seg/canonical", test_canonical);
	g_test_add_func("/seg/table-registers", test_table_registers);
	g_test_add_func("/seg/ldt-tr", test_ldt_tr);
	g_test_add_func("/seg/ldt-use", test_ldt_use);
	g_test_add_func("/seg/questions", test_questions);
	g_test_add_func("/seg/arpl", test_arpl);
	g_test_add_func("/far/jump", test_jump);
	g_test_add_func("/far/mode-switch", test_mode_switch);
	g_test_add_func("/far/call-and-return", test_call_and_return);
	g_test_add_func("/far/call-gate", test_call_gate);
	g_test_add_func("/far/call-gate-64", test_call_gate64);
	status = g_test_run();
	box_free(box);
	return status;
}
