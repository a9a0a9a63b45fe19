/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System instructions: flags and privilege, SYSCALL and its kin, control and debug registers, MSRs,
 * ports, and the instructions that 64-bit mode no longer has. Results from SDM vol. 2 and 3.
 */
#include "cpubox.h"

static struct box *box;
static struct cpu *cpu;

/* ---- flags ----------------------------------------------------------------------------------- */

#define POPF "9d"

static u64 popf(unsigned cpl, unsigned iopl, u64 value)
{
	box_long_mode(box);
	if (cpl == 3)
		box_user(box);
	cpu->rflags = 2 | (u64)iopl << 12;
	box_put64(box, 0x20000, value);
	box_assert_next(box, POPF);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20008);
	return cpu->rflags;
}

static void test_popf(void)
{
	const u64 user = 0x244dd7; /* all but IF, IOPL, RF, VM, VIF, VIP */

	g_assert_cmphex(popf(0, 0, ~0ull), ==, user | FLAG_IF | FLAG_IOPL);
	g_assert_cmphex(popf(0, 3, 0), ==, 2);
	g_assert_cmphex(popf(3, 0, ~0ull), ==, user);
	g_assert_cmphex(popf(3, 3, ~0ull), ==, user | FLAG_IF | FLAG_IOPL);
	g_assert_cmphex(popf(3, 3, 0), ==, 2 | FLAG_IOPL);
	/* 16 bits */
	box_long_mode(box);
	cpu->rflags = 2 | FLAG_AC | FLAG_ID;
	box_put64(box, 0x20000, 0xffff);
	box_assert_next(box, "66 9d");
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20002);
	g_assert_cmphex(cpu->rflags, ==, FLAG_AC | FLAG_ID | (user & 0xffff) | FLAG_IF | FLAG_IOPL);
}

static void test_pushf(void)
{
	box_long_mode(box);
	cpu->rflags = 0x3f7fd7 & ~FLAG_VM;
	box_assert_next(box, "9c");
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x1fff8);
	g_assert_cmphex(box_get64(box, 0x1fff8), ==, cpu->rflags & ~FLAG_RF);
	box_assert_next(box, "66 9c");
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x1fff6);
}

static void test_interrupt_flag(void)
{
	box_long_mode(box);
	box_assert_next(box, "fb");
	g_assert_true(cpu->rflags & FLAG_IF);
	g_assert_cmpuint(cpu->intr_shadow, ==, 1);
	cpu->intr_shadow = 0;
	box_assert_next(box, "fb"); /* no shadow if it was on */
	g_assert_cmpuint(cpu->intr_shadow, ==, 0);
	box_assert_next(box, "fa");
	g_assert_false(cpu->rflags & FLAG_IF);
	box_user(box);
	box_assert_fault(box, "fa", VEC_GP, 0);
	box_assert_fault(box, "fb", VEC_GP, 0);
	box_assert_fault(box, "f4", VEC_GP, 0);
	cpu->rflags |= FLAG_IOPL;
	box_assert_next(box, "fa");
}

/* It does nothing that can be seen, however often, in any ring; every so many times the host's
 * processor is given up. */
static void test_pause(void)
{
	struct x86_state before, after;
	unsigned given_up = 0;

	box_long_mode(box);
	for (unsigned ring = 0; ring < 2; ring++) {
		cpu_get_state(cpu, &before);
		for (unsigned i = 0; i < 3 * (PAUSES_MAX + 1); i++) {
			box_assert_next(box, "f3 90");
			given_up += cpu->pauses_left == PAUSES_MAX;
			cpu->rip = before.rip;
		}
		cpu_get_state(cpu, &after);
		after.tsc = before.tsc;
		g_assert_cmpmem(&before, sizeof(before), &after, sizeof(after));
		box_user(box);
	}
	g_assert_cmpuint(given_up, >=, 5);
	g_assert_cmpuint(given_up, <=, 7);
}

static void test_ac(void)
{
	box_long_mode(box);
	cpu->cr4 |= CR4_SMAP;
	cpu_update_ctx(cpu);
	g_assert_false(cpu->ctx & CTX_AC);
	box_assert_next(box, "0f 01 cb"); /* stac */
	g_assert_true(cpu->rflags & FLAG_AC);
	g_assert_true(cpu->ctx & CTX_AC);
	box_assert_next(box, "0f 01 ca");
	g_assert_false(cpu->rflags & FLAG_AC);
	g_assert_false(cpu->ctx & CTX_AC);
	box_user(box);
	box_assert_fault(box, "0f 01 cb", VEC_UD, -1);
}

/* ---- system calls ---------------------------------------------------------------------------- */

static void test_syscall(void)
{
	box_long_mode(box);
	box_user(box);
	cpu->msr.star = 0x0023001000000000ull; /* user base 0x23, kernel base 0x10 */
	cpu->msr.lstar = 0xffffffff81000000;
	cpu->msr.sfmask = FLAG_IF | FLAG_DF | FLAG_TF;
	cpu->rflags = 2 | FLAG_IF | FLAG_DF | FLAG_ZF;
	g_assert_cmpint(box_exec(box, "0f 05"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0xffffffff81000000);
	g_assert_cmphex(cpu->gpr[RCX], ==, 0x30002);
	g_assert_cmphex(cpu->gpr[R11], ==, 2 | FLAG_IF | FLAG_DF | FLAG_ZF);
	g_assert_cmphex(cpu->rflags, ==, 2 | FLAG_ZF);
	g_assert_cmpuint(cpu->cpl, ==, 0);
	g_assert_cmphex(cpu->seg[SEG_CS].selector, ==, 0x10);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, 0x18);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000);
	g_assert_cmpuint(cpu->ctx & CTX_MODE_MASK, ==, CTX_64);

	cpu->gpr[R11] = 0xffffffffffffffff & ~FLAG_TF;
	g_assert_cmpint(box_exec(box, "48 0f 07"), ==, HELPER_JUMP); /* sysretq */
	g_assert_cmphex(cpu->rip, ==, 0x30002);
	g_assert_cmphex(cpu->rflags, ==, 0x3c7fd7 & ~FLAG_TF);
	g_assert_cmphex(cpu->seg[SEG_CS].selector, ==, 0x33);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, 0x2b);
	g_assert_cmpuint(cpu->cpl, ==, 3);
	box_assert_fault(box, "48 0f 07", VEC_GP, 0);

	box_long_mode(box);
	cpu->msr.star = 0x0023001000000000ull;
	cpu->gpr[RCX] = 0x1122334455667788;
	g_assert_cmpint(box_exec(box, "0f 07"), ==, HELPER_JUMP); /* sysretl */
	g_assert_cmphex(cpu->rip, ==, 0x55667788);
	g_assert_cmphex(cpu->seg[SEG_CS].selector, ==, 0x23);
	g_assert_cmpuint(cpu->ctx & CTX_MODE_MASK, ==, CTX_32);

	box_long_mode(box);
	cpu->efer &= ~EFER_SCE;
	box_assert_fault(box, "0f 05", VEC_UD, -1);
	box_assert_fault(box, "48 0f 07", VEC_UD, -1);
}

static void test_sysenter(void)
{
	box_protected_mode(box);
	box_user(box);
	cpu->msr.sysenter_cs = 0;
	box_assert_fault(box, "0f 34", VEC_GP, 0);
	cpu->msr.sysenter_cs = 0x48;
	cpu->msr.sysenter_esp = 0x11223344;
	cpu->msr.sysenter_eip = 0x55667788;
	cpu->rflags |= FLAG_IF;
	g_assert_cmpint(box_exec(box, "0f 34"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0x55667788);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x11223344);
	g_assert_cmphex(cpu->seg[SEG_CS].selector, ==, 0x48);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, 0x50);
	g_assert_false(cpu->rflags & FLAG_IF);
	cpu->gpr[RDX] = 0x1000;
	cpu->gpr[RCX] = 0x2000;
	g_assert_cmpint(box_exec(box, "0f 35"), ==, HELPER_JUMP);
	g_assert_cmphex(cpu->rip, ==, 0x1000);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x2000);
	g_assert_cmphex(cpu->seg[SEG_CS].selector, ==, 0x5b);
	g_assert_cmphex(cpu->seg[SEG_SS].selector, ==, 0x63);
	g_assert_cmpuint(cpu->cpl, ==, 3);
	box_assert_fault(box, "0f 35", VEC_GP, 0);
	if (box->vm->vendor_amd) {
		box_long_mode(box);
		box_assert_fault(box, "0f 34", VEC_UD, -1);
	}
}

static void test_bases(void)
{
	box_long_mode(box);
	seg_set_base(cpu, SEG_GS, 0x1111);
	cpu->msr.kernel_gs_base = 0x2222;
	box_assert_next(box, "0f 01 f8"); /* swapgs */
	g_assert_cmphex(cpu->gs_base, ==, 0x2222);
	g_assert_cmphex(cpu->msr.kernel_gs_base, ==, 0x1111);
	box_assert_fault(box, "f3 48 0f ae c0", VEC_UD, -1); /* rdfsbase without CR4.FSGSBASE */
	cpu->cr4 |= CR4_FSGSBASE;
	cpu->gpr[RAX] = 0xffff800012345678;
	box_assert_next(box, "f3 48 0f ae d0"); /* wrfsbase rax */
	g_assert_cmphex(cpu->fs_base, ==, 0xffff800012345678);
	g_assert_cmphex(cpu->seg[SEG_FS].base, ==, 0xffff800012345678);
	box_assert_next(box, "f3 0f ae c3"); /* rdfsbase ebx */
	g_assert_cmphex(cpu->gpr[RBX], ==, 0x12345678);
	box_assert_next(box, "f3 0f ae d8"); /* wrgsbase eax: zero-extended */
	g_assert_cmphex(cpu->gs_base, ==, 0x12345678);
	cpu->gpr[RAX] = 0x0000800000000000;
	box_assert_fault(box, "f3 48 0f ae d8", VEC_GP, 0);
	box_user(box);
	box_assert_fault(box, "0f 01 f8", VEC_GP, 0);
	seg_set_base(cpu, SEG_GS, 0x12345678);
	box_assert_next(box, "f3 48 0f ae c8"); /* rdgsbase needs no privilege */
	g_assert_cmphex(cpu->gpr[RAX], ==, 0x12345678);
}

/* ---- control registers
 * --------------------------------------------------------------------------- */

static void expect_cr0(u64 value, bool ok)
{
	u64 old = cpu->cr0;

	cpu->gpr[RAX] = value;
	if (ok) {
		box_assert_next(box, "0f 22 c0");
	} else {
		box_assert_fault(box, "0f 22 c0", VEC_GP, 0);
		g_assert_cmphex(cpu->cr0, ==, old);
	}
}

static void test_cr0(void)
{
	box_long_mode(box);
	expect_cr0(cpu->cr0 | BIT(32), false);
	expect_cr0(cpu->cr0 | CR0_NW, false);
	expect_cr0(cpu->cr0 | CR0_NW | CR0_CD, true);
	expect_cr0(cpu->cr0 & ~CR0_PE, false);
	expect_cr0(cpu->cr0 & ~CR0_PG, false); /* in 64-bit mode */
	expect_cr0(cpu->cr0 & ~CR0_ET, true);
	g_assert_true(cpu->cr0 & CR0_ET);
	expect_cr0(cpu->cr0 | CR0_TS, true);
	g_assert_cmphex(cpu->ctx & CTX_ANY_FPU_OFF, ==, CTX_ANY_FPU_OFF);
	box_assert_next(box, "0f 06"); /* clts */
	g_assert_cmphex(cpu->ctx & (CTX_NO_X87 | CTX_NO_SSE), ==, 0);
	box_protected_mode(box);
	cpu->efer |= EFER_LME; /* long mode needs PAE */
	expect_cr0(cpu->cr0 | CR0_PG, false);
	cpu->cr4 |= CR4_PAE;
	cpu->seg[SEG_CS].attr |= SEG_ATTR_L;
	expect_cr0(cpu->cr0 | CR0_PG, false);
	cpu->seg[SEG_CS].attr &= ~SEG_ATTR_L;
	expect_cr0(cpu->cr0 | CR0_PG, true);
	/* LMSW cannot leave protected mode */
	box_protected_mode(box);
	cpu->gpr[RAX] = 0xfff8;
	box_assert_next(box, "0f 01 f0");
	g_assert_cmphex(cpu->cr0, ==, CR0_PE | CR0_ET | CR0_NE | CR0_TS);
	box_user(box);
	box_assert_fault(box, "0f 22 c0", VEC_GP, 0);
	box_assert_fault(box, "0f 20 c0", VEC_GP, 0);
	box_assert_fault(box, "0f 06", VEC_GP, 0);
	box_assert_next(box, "0f 01 e0"); /* smsw eax */
	g_assert_cmphex(cpu->gpr[RAX], ==, cpu->cr0);
}

static void expect_cr4(u64 value, bool ok)
{
	cpu->gpr[RAX] = value;
	if (ok)
		box_assert_next(box, "0f 22 e0");
	else
		box_assert_fault(box, "0f 22 e0", VEC_GP, 0);
}

static void test_cr4(void)
{
	box_long_mode(box);
	expect_cr4(cpu->cr4 & ~CR4_PAE, false);
	expect_cr4(cpu->cr4 | CR4_LA57, false);
	expect_cr4(cpu->cr4 | CR4_VME, false); /* not offered */
	expect_cr4(cpu->cr4 | BIT(13), false); /* VMX */
	expect_cr4(cpu->cr4 | CR4_PKE, false);
	expect_cr4(cpu->cr4 | BIT(40), false);
	expect_cr4(cpu->cr4 | CR4_PCIDE, true);
	expect_cr0(cpu->cr0 & ~CR0_PG, false);
	expect_cr4(cpu->cr4 & ~CR4_PCIDE, true);
	cpu->cr3 |= 1;
	expect_cr4(cpu->cr4 | CR4_PCIDE, false);
	expect_cr4(cpu->cr4 | CR4_SMEP | CR4_SMAP | CR4_UMIP | CR4_FSGSBASE | CR4_DE | CR4_TSD,
		   true);
	expect_cr4(cpu->cr4 | CR4_OSXSAVE, vm_has(box->vm, FEAT_XSAVE));
	box_protected_mode(box);
	expect_cr4(CR4_PCIDE, false); /* long mode only */
}

static void test_cr3(void)
{
	u64 beyond = BIT(box->vm->maxphyaddr);

	box_long_mode(box);
	cpu->gpr[RAX] = 0x1018; /* PCD, PWT */
	box_assert_next(box, "0f 22 d8");
	box_assert_next(box, "0f 20 db");
	g_assert_cmphex(cpu->gpr[RBX], ==, 0x1018);
	cpu->gpr[RAX] = 0x1000 | BIT(63);
	box_assert_fault(box, "0f 22 d8", VEC_GP, 0);
	cpu->gpr[RAX] = 0x1000 | beyond;
	box_assert_fault(box, "0f 22 d8", VEC_GP, 0);
	cpu->cr4 |= CR4_PCIDE;
	cpu->gpr[RAX] = 0x1005 | BIT(63);
	box_assert_next(box, "0f 22 d8");
	g_assert_cmphex(cpu->cr3, ==, 0x1005);
}

static void test_cr8_and_none(void)
{
	box_long_mode(box);
	cpu->gpr[RAX] = 7;
	box_assert_next(box, "44 0f 22 c0");
	g_assert_cmpuint(box->log_count, ==, 1);
	g_assert_cmphex(box->log[0].data, ==, 7);
	cpu->gpr[RAX] = 16;
	box_assert_fault(box, "44 0f 22 c0", VEC_GP, 0);
	box_assert_next(box, "44 0f 20 c0");
	g_assert_cmphex(cpu->gpr[RAX], ==, 5);
	box_assert_fault(box, "0f 20 c8", VEC_UD, -1); /* CR1 */
	box_assert_fault(box, "0f 20 e8", VEC_UD, -1); /* CR5 */
}

static void test_debug_registers(void)
{
	box_long_mode(box);
	cpu->gpr[RAX] = 0xffffffff;
	box_assert_next(box, "0f 23 f8");
	g_assert_cmphex(cpu->dr[7], ==, 0xffff27ff);
	box_assert_fault(box, "0f 23 f8", VEC_DB, -1); /* GD */
	g_assert_true(cpu->dr[6] & BIT(13));
	cpu->dr[7] = 0x400;
	box_assert_next(box, "0f 23 f0");
	g_assert_cmphex(cpu->dr[6], ==, 0xffffeeff + 0x100); /* bits 12 and 11:4 fixed */
	cpu->gpr[RAX] = BIT(32);
	box_assert_fault(box, "0f 23 f8", VEC_GP, 0);
	box_assert_fault(box, "0f 23 f0", VEC_GP, 0);
	box_assert_next(box, "0f 23 c0");
	g_assert_cmphex(cpu->dr[0], ==, BIT(32));
	box_assert_next(box, "0f 21 e3"); /* DR4 is DR6... */
	g_assert_cmphex(cpu->gpr[RBX], ==, cpu->dr[6]);
	cpu->cr4 |= CR4_DE; /* ...unless CR4.DE */
	box_assert_fault(box, "0f 21 e3", VEC_UD, -1);
	box_user(box);
	box_assert_fault(box, "0f 21 fb", VEC_GP, 0);
}

static void test_invalidation(void)
{
	box_long_mode(box);
	box_put64(box, 0x5000, 0);
	box_put64(box, 0x5008, 0x200000);
	for (u64 type = 0; type < 4; type++) {
		cpu->gpr[RBX] = type;
		box_assert_next(box, "66 0f 38 82 1c 25 00 50 00 00");
	}
	cpu->gpr[RBX] = 4;
	box_assert_fault(box, "66 0f 38 82 1c 25 00 50 00 00", VEC_GP, 0);
	cpu->gpr[RBX] = 0;
	box_put64(box, 0x5000, 1); /* a PCID without CR4.PCIDE */
	box_assert_fault(box, "66 0f 38 82 1c 25 00 50 00 00", VEC_GP, 0);
	cpu->cr4 |= CR4_PCIDE;
	box_assert_next(box, "66 0f 38 82 1c 25 00 50 00 00");
	box_put64(box, 0x5008, 0x800000000000);
	box_assert_fault(box, "66 0f 38 82 1c 25 00 50 00 00", VEC_GP, 0);
	box_put64(box, 0x5000, 0x1000); /* reserved */
	box_assert_fault(box, "66 0f 38 82 1c 25 00 50 00 00", VEC_GP, 0);
	cpu->gpr[RAX] = 0x800000000000;
	box_assert_next(box, "0f 01 38"); /* invlpg of nowhere */
	box_user(box);
	box_assert_fault(box, "0f 01 38", VEC_GP, 0);
	box_assert_fault(box, "66 0f 38 82 1c 25 00 50 00 00", VEC_GP, 0);
	box_assert_fault(box, "0f 09", VEC_GP, 0);
}

/* ---- model-specific registers
 * ----------------------------------------------------------------------- */

static void expect_msr(u32 msr, u64 value, bool ok)
{
	cpu->gpr[RCX] = msr;
	cpu->gpr[RAX] = (u32)value;
	cpu->gpr[RDX] = value >> 32;
	if (!ok) {
		box_assert_fault(box, "0f 30", VEC_GP, 0);
		return;
	}
	box_assert_next(box, "0f 30");
	cpu->gpr[RAX] = cpu->gpr[RDX] = ~0ull;
	box_assert_next(box, "0f 32");
	g_assert_cmphex(cpu->gpr[RAX] | cpu->gpr[RDX] << 32, ==, value);
}

static void test_msrs(void)
{
	u64 high = BIT(box->vm->maxphyaddr);

	box_long_mode(box);
	expect_msr(0xc0000081, 0x0023001012345678, true);
	expect_msr(0xc0000082, 0xffff800012345678, true);
	expect_msr(0xc0000082, 0x0000800012345678, false);
	expect_msr(0xc0000084, 0x47700, true);
	expect_msr(0xc0000100, 0x7f0012345678, true);
	g_assert_cmphex(cpu->fs_base, ==, 0x7f0012345678);
	expect_msr(0xc0000101, 0x0000800000000000, false);
	expect_msr(0xc0000102, 0xffff888000000000, true);
	expect_msr(0xc0000080, EFER_LME | EFER_LMA | EFER_SCE, true);
	expect_msr(0xc0000080, EFER_LMA | EFER_SCE, false); /* LME while paging */
	expect_msr(0xc0000080, cpu->efer | BIT(1), false);
	expect_msr(0x277, 0x0007040600070406, true);
	expect_msr(0x277, 0x0007040600070402, false);
	expect_msr(0x277, 0x0807040600070406, false);
	expect_msr(0x2ff, 0xc06, true);
	expect_msr(0x2ff, 0xc02, false);
	expect_msr(0x2ff, 0x1c06, false);
	expect_msr(0x200, 0x80000006, true);
	expect_msr(0x200, 0x80000106, false);
	expect_msr(0x200, high | 6, false);
	expect_msr(0x201, (high - 1) & ~0x7ffull, true);
	expect_msr(0x250, 0x0606060606060606, true);
	expect_msr(0x250, 0x0606060606060602, false);
	expect_msr(0x401, 1, false); /* MC0_STATUS */
	expect_msr(0x401, 0, true);
	expect_msr(0x400, ~0ull, true);
	expect_msr(0x428, 0, false); /* behind the last bank */
	expect_msr(0x12345678, 0, false);
	expect_msr(0xfe, 0, false); /* read-only */
	/* TSC and its adjustment go together */
	expect_msr(0x3b, 0, true);
	cpu->gpr[RCX] = 0x10;
	cpu->gpr[RAX] = 0;
	cpu->gpr[RDX] = 0x100;
	box_assert_next(box, "0f 30");
	g_assert_cmphex(cpu->msr.tsc_adjust, !=, 0);
	box_assert_next(box, "0f 31");
	g_assert_cmphex(cpu->gpr[RDX], ==, 0x100);
	expect_msr(0x3b, 0, true);
	box_user(box);
	box_assert_fault(box, "0f 30", VEC_GP, 0);
	box_assert_fault(box, "0f 32", VEC_GP, 0);
	box_assert_next(box, "0f 31");
	cpu->cr4 |= CR4_TSD;
	box_assert_fault(box, "0f 31", VEC_GP, 0);
	box_assert_fault(box, "0f 01 f9", VEC_GP, 0);
	box_assert_fault(box, "0f 33", VEC_GP, 0); /* rdpmc */
}

static u64 clock_ns(gpa_t page, u64 tsc)
{
	u32 mul = box_get32(box, page + 24);
	s8 shift = box->ram[page + 28];
	u64 ticks = tsc - box_get64(box, page + 8);

	ticks = shift < 0 ? ticks >> -shift : ticks << shift;
	return box_get64(box, page + 16) + (u64)((unsigned __int128)ticks * mul >> 32);
}

static void test_kvm_clock(void)
{
	u64 tsc = 123456789012345;

	if (!vm_has(box->vm, FEAT_KVMCLOCK)) {
		g_test_skip("the host's TSC is not invariant");
		return;
	}
	box_long_mode(box);
	expect_msr(0x4b564d01, 0x5001, true);
	expect_msr(0x12, 0x6001, true);
	g_assert_cmphex(box_get32(box, 0x5000) & 1, ==, 0);
	g_assert_cmphex(box_get32(box, 0x5000), !=, 0);
	g_assert_cmphex(box->ram[0x501d], ==, 1); /* stable */
	/* the test VM's TSC is said to run at 2 GHz: both pages agree, half a ns a tick */
	g_assert_cmpint(llabs((s64)(clock_ns(0x5000, tsc) - clock_ns(0x6000, tsc))), <=, 1);
	g_assert_cmpint(clock_ns(0x5000, tsc + 2000000000) - clock_ns(0x5000, tsc), ==, 1000000000);
	expect_msr(0x4b564d00, 0x7000, true);
	g_assert_cmphex(box_get32(box, 0x7000) & 1, ==, 0);
	g_assert_cmpint(llabs((s64)box_get32(box, 0x7004) - (s64)(g_get_real_time() / 1000000)), <,
			10);
	expect_msr(0x4b564d03, 0, false); /* steal time is not offered */
}

/* ---- ports --------------------------------------------------------------------------------------
 */

static void test_ports(void)
{
	box_long_mode(box);
	cpu->gpr[RAX] = 0x1122334455667788;
	cpu->gpr[RDX] = 0x3f8;
	box_assert_next(box, "ee"); /* out dx, al */
	box_assert_next(box, "66 ef");
	box_assert_next(box, "ef");
	box_assert_next(box, "e6 80"); /* out 0x80, al */
	g_assert_cmpuint(box->log_count, ==, 4);
	g_assert_cmphex(box->log[0].data & 0xff, ==, 0x88);
	g_assert_cmpuint(box->log[0].size, ==, 1);
	g_assert_cmphex(box->log[1].data & 0xffff, ==, 0x7788);
	g_assert_cmphex(box->log[2].data, ==, 0x55667788);
	g_assert_cmphex(box->log[3].gpa, ==, 0x80);
	box_assert_next(box, "ec"); /* in al, dx */
	g_assert_cmphex(cpu->gpr[RAX], ==, 0x11223344556677f8);
	box_assert_next(box, "66 ed");
	g_assert_cmphex(cpu->gpr[RAX], ==, 0x11223344556603f8);
	box_assert_next(box, "ed");
	g_assert_cmphex(cpu->gpr[RAX], ==, 0x03f803f8);
	box_assert_next(box, "e5 92");
	g_assert_cmphex(cpu->gpr[RAX], ==, 0x00920092);
}

static void test_port_permission(void)
{
	box_long_mode(box);
	box_user(box);
	cpu->gpr[RDX] = 0x3f8;
	box_assert_fault(box, "ee", VEC_GP, 0); /* the bitmap is beyond the limit */
	cpu->rflags |= FLAG_IOPL;
	box_assert_next(box, "ee");
	cpu->rflags &= ~FLAG_IOPL;
	cpu->seg[SEG_TR].limit = 0x68 + 0x3f8 / 8 + 1;
	box->ram[0xa066] = 0x68;
	box_assert_next(box, "ee");
	box->ram[0xa068 + 0x3f8 / 8] = 0x02; /* port 0x3f9 */
	box_assert_next(box, "ee");
	box_assert_fault(box, "66 ef", VEC_GP, 0);
	cpu->gpr[RDX] = 0x400; /* its second byte lies behind the limit */
	box_assert_fault(box, "ee", VEC_GP, 0);
}

static void test_port_strings(void)
{
	box_long_mode(box);
	cpu->gpr[RDX] = 0x1f0;
	cpu->gpr[RDI] = 0x5000;
	cpu->gpr[RCX] = 3;
	box_assert_next(box, "f3 66 6d"); /* rep insw */
	g_assert_cmphex(box_get64(box, 0x5000), ==, 0x01f001f001f0);
	g_assert_cmphex(cpu->gpr[RDI], ==, 0x5006);
	g_assert_cmphex(cpu->gpr[RCX], ==, 0);
	g_assert_cmpuint(box->log_count, ==, 3);
	cpu->gpr[RSI] = 0x5002;
	cpu->gpr[RCX] = 2;
	cpu->rflags |= FLAG_DF;
	box_put64(box, 0x5000, 0x44332211);
	box_assert_next(box, "f3 66 6f"); /* rep outsw, downwards */
	g_assert_cmphex(box->log[3].data & 0xffff, ==, 0x4433);
	g_assert_cmphex(box->log[4].data & 0xffff, ==, 0x2211);
	g_assert_cmphex(cpu->gpr[RSI], ==, 0x4ffe);
	/* nothing is read from the port if it cannot be stored */
	cpu->gpr[RDI] = 0x40000000;
	g_assert_cmpint(box_exec(box, "6c"), ==, HELPER_FAULT);
	g_assert_cmpuint(cpu->fault.vector, ==, VEC_PF);
	g_assert_cmpuint(box->log_count, ==, 5);
	cpu->fault_pending = 0;
	/* with the count 0 nothing happens, permission or not */
	box_user(box);
	cpu->gpr[RCX] = 0;
	box_assert_next(box, "f3 6c");
}

/* ---- identity
 * ------------------------------------------------------------------------------------ */

static void cpuid(u32 leaf, u32 subleaf)
{
	cpu->gpr[RAX] = leaf;
	cpu->gpr[RCX] = subleaf;
	box_assert_next(box, "0f a2");
}

static void test_cpuid(void)
{
	box_long_mode(box);
	cpuid(1, 0);
	g_assert_true(cpu->gpr[RCX] & BIT(31));
	g_assert_false(cpu->gpr[RCX] & BIT(27));
	g_assert_false(cpu->gpr[RCX] & (BIT(3) | BIT(5))); /* MONITOR, VMX */
	if (vm_has(box->vm, FEAT_XSAVE)) {
		cpu->cr4 |= CR4_OSXSAVE;
		cpuid(1, 0);
		g_assert_true(cpu->gpr[RCX] & BIT(27));
		cpuid(0xd, 0);
		g_assert_cmphex(cpu->gpr[RAX], ==, box->vm->xcr0_mask);
		g_assert_cmpuint(cpu->gpr[RBX], ==, 576); /* XCR0 is 1 */
		g_assert_cmpuint(cpu->gpr[RCX], ==, box->vm->xsave_bytes);
	}
	cpuid(0x40000000, 0);
	g_assert_cmphex(cpu->gpr[RBX], ==, 0x4b4d564b);
	g_assert_cmphex(cpu->gpr[RCX], ==, 0x564b4d56);
	g_assert_cmphex(cpu->gpr[RDX], ==, 0x4d);
	cpuid(0x40000010, 0);
	g_assert_cmpuint(cpu->gpr[RAX], ==, 2000000);
	cpuid(0x13579bdf, 0);
	g_assert_cmphex(cpu->gpr[RAX] | cpu->gpr[RBX] | cpu->gpr[RCX] | cpu->gpr[RDX], ==, 0);
	/* rows: vmcall vmmcall */
	cpu->gpr[RAX] = 5; /* KVM_HC_KICK_CPU is not offered */
	box_assert_next(box, "0f 01 c1");
	g_assert_cmphex(cpu->gpr[RAX], ==, (u64)-1000);
	box_assert_next(box, "0f 01 d9");
	box_assert_fault(box, "0f 01 c8", VEC_UD, -1); /* monitor */
	cpu->msr.tsc_aux = 0x12345;
	box_assert_next(box, "0f 01 f9");
	g_assert_cmphex(cpu->gpr[RCX], ==, 0x12345);
	box_assert_next(box, "f3 0f c7 fb"); /* rdpid rbx */
	g_assert_cmphex(cpu->gpr[RBX], ==, 0x12345);
}

/* ---- instructions of old
 * ----------------------------------------------------------------------------- */

static u64 with_al(const char *hex, u16 ax, u64 flags)
{
	cpu->gpr[RAX] = 0xabcd0000 | ax;
	cpu->rflags = 2 | flags;
	box_assert_next(box, hex);
	g_assert_cmphex(cpu->gpr[RAX] >> 16, ==, 0xabcd);
	return cpu->gpr[RAX] & 0xffff;
}

static u64 carries(void)
{
	return cpu->rflags & (FLAG_CF | FLAG_AF);
}

static void test_decimal(void)
{
	box_protected_mode(box);
	g_assert_cmphex(with_al("27", 0x00ae, 0), ==, 0x14); /* DAA: SDM's example 0xae -> 0x14 */
	g_assert_cmphex(carries(), ==, FLAG_CF | FLAG_AF);
	g_assert_cmphex(with_al("27", 0x002e, 0), ==, 0x34);
	g_assert_cmphex(carries(), ==, FLAG_AF);
	g_assert_cmphex(with_al("2f", 0x0012, 0), ==, 0x12);
	g_assert_cmphex(with_al("2f", 0x00ee, FLAG_CF | FLAG_AF), ==, 0x88);
	g_assert_cmphex(carries(), ==, FLAG_CF | FLAG_AF);
	g_assert_cmphex(with_al("2f", 0x0003, FLAG_AF), ==, 0xfd); /* the borrow carries */
	g_assert_cmphex(carries(), ==, FLAG_CF | FLAG_AF);
	g_assert_cmphex(with_al("37", 0x00fa, 0), ==, 0x0200); /* AAA: AX + 0x106 */
	g_assert_cmphex(carries(), ==, FLAG_CF | FLAG_AF);
	g_assert_cmphex(with_al("37", 0x0135, 0), ==, 0x0105);
	g_assert_cmphex(carries(), ==, 0);
	g_assert_cmphex(with_al("3f", 0x02fa, 0), ==, 0x0104); /* AAS */
	g_assert_cmphex(carries(), ==, FLAG_CF | FLAG_AF);
	g_assert_cmphex(with_al("d4 0a", 0x1148, 0), ==, 0x0702); /* AAM: 72 */
	g_assert_cmphex(with_al("d5 0a", 0x0702, 0), ==, 0x0048); /* AAD */
	g_assert_cmphex(with_al("d5 10", 0x0f0f, 0), ==, 0x00ff);
	g_assert_true(cpu->rflags & FLAG_SF);
	box_assert_fault(box, "d4 00", VEC_DE, -1);
	g_assert_cmphex(with_al("d6", 0x1234, FLAG_CF), ==, 0x12ff); /* SALC */
	g_assert_cmphex(with_al("d6", 0x1234, 0), ==, 0x1200);
}

static void test_composites(void)
{
	box_protected_mode(box);
	for (unsigned i = 0; i < 8; i++)
		cpu->gpr[i] = i == RSP ? 0x20000 : 0x11110000 + i;
	box_assert_next(box, "60"); /* pushad */
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x1ffe0);
	g_assert_cmphex(box_get32(box, 0x1ffe0), ==, 0x11110000 + RDI);
	g_assert_cmphex(box_get32(box, 0x1ffec), ==, 0x20000);
	g_assert_cmphex(box_get32(box, 0x1fffc), ==, 0x11110000);
	for (unsigned i = 0; i < 8; i++)
		if (i != RSP)
			cpu->gpr[i] = 0;
	box_assert_next(box, "61");
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x20000);
	g_assert_cmphex(cpu->gpr[RDI], ==, 0x11110000 + RDI);
	g_assert_cmphex(cpu->gpr[RAX], ==, 0x11110000);
	/* a fault half-way changes no register */
	cpu->seg[SEG_SS].limit = 0x1fff0;
	cpu->gpr[RSP] = 0x1fff0 - 15;
	box_assert_fault(box, "61", VEC_SS, 0);
	g_assert_cmphex(cpu->gpr[RDI], ==, 0x11110000 + RDI);

	box_protected_mode(box);
	box_put64(box, 0x5000, 0x00000005fffffffb); /* -5 to 5 */
	cpu->gpr[RAX] = (u32)-5;
	box_assert_next(box, "62 05 00 50 00 00");
	cpu->gpr[RAX] = 6;
	box_assert_fault(box, "62 05 00 50 00 00", VEC_BR, -1);
	cpu->gpr[RAX] = (u32)-6;
	box_assert_fault(box, "62 05 00 50 00 00", VEC_BR, -1);

	cpu->gpr[RBX] = 0x5000;
	cpu->gpr[RAX] = 0xffffff04;
	box->ram[0x5004] = 0x5a;
	box_assert_next(box, "d7");
	g_assert_cmphex(cpu->gpr[RAX], ==, 0xffffff5a);
}

static void test_enter(void)
{
	box_long_mode(box);
	cpu->gpr[RBP] = 0x1f000;
	box_assert_next(box, "c8 20 00 00"); /* enter 32, 0 */
	g_assert_cmphex(cpu->gpr[RBP], ==, 0x1fff8);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x1fff8 - 32);
	g_assert_cmphex(box_get64(box, 0x1fff8), ==, 0x1f000);
	/* level 3 copies two frame pointers and pushes its own */
	box_long_mode(box);
	cpu->gpr[RBP] = 0x1f000;
	box_put64(box, 0x1eff8, 0xaaaa);
	box_put64(box, 0x1eff0, 0xbbbb);
	box_assert_next(box, "c8 10 00 03");
	g_assert_cmphex(box_get64(box, 0x1fff8), ==, 0x1f000);
	g_assert_cmphex(box_get64(box, 0x1fff0), ==, 0xaaaa);
	g_assert_cmphex(box_get64(box, 0x1ffe8), ==, 0xbbbb);
	g_assert_cmphex(box_get64(box, 0x1ffe0), ==, 0x1fff8);
	g_assert_cmphex(cpu->gpr[RBP], ==, 0x1fff8);
	g_assert_cmphex(cpu->gpr[RSP], ==, 0x1ffe0 - 16);
	/* the new top of the stack must be writable */
	box_long_mode(box);
	cpu->gpr[RSP] = 0x2001000;
	box_put64(box, 0x3000 + 15 * 8, 0);
	tlb_flush_all(cpu);
	cpu->gpr[RSP] = 0x1e00008 + 0x200000;
	cpu->gpr[RBP] = 1;
	box_put64(box, 0x3000 + 16 * 8, 16 * 2 * MIB | 0xe7);
	g_assert_cmpint(box_exec(box, "c8 00 01 00"), ==, HELPER_FAULT);
	g_assert_cmphex(cpu->fault.cr2, ==, 0x2000008 - 8 - 0x100);
	g_assert_cmphex(cpu->gpr[RBP], ==, 1);
	cpu->fault_pending = 0;
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	box = box_new(NULL);
	cpu = box->cpu;
	g_test_add_func("/sys/popf", test_popf);
	g_test_add_func("/sys/pushf", test_pushf);
	g_test_add_func("/sys/interrupt-flag", test_interrupt_flag);
	g_test_add_func("/sys/pause", test_pause);
	g_test_add_func("/sys/ac", test_ac);
	g_test_add_func("/sys/syscall", test_syscall);
	g_test_add_func("/sys/sysenter", test_sysenter);
	g_test_add_func("/sys/bases", test_bases);
	g_test_add_func("/sys/cr0", test_cr0);
	g_test_add_func("/sys/cr3", test_cr3);
	g_test_add_func("/sys/cr4", test_cr4);
	g_test_add_func("/sys/cr8", test_cr8_and_none);
	g_test_add_func("/sys/debug-registers", test_debug_registers);
	g_test_add_func("/sys/invalidation", test_invalidation);
	g_test_add_func("/sys/msrs", test_msrs);
	g_test_add_func("/sys/kvm-clock", test_kvm_clock);
	g_test_add_func("/sys/ports", test_ports);
	g_test_add_func("/sys/port-permission", test_port_permission);
	g_test_add_func("/sys/port-strings", test_port_strings);
	g_test_add_func("/sys/cpuid", test_cpuid);
	g_test_add_func("/legacy/decimal", test_decimal);
	g_test_add_func("/legacy/composites", test_composites);
	g_test_add_func("/legacy/enter", test_enter);
	status = g_test_run();
	box_free(box);
	return status;
}
