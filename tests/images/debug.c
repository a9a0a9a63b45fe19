/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Single-step, the shadow of MOV SS and of STI, interrupts that wait for them, and the debug
 * registers. SDM 6.8.3, 17.2 and 17.3.1.4; vol. 2 MOV, POP, STI, POPF; APM vol. 2 13.1.4.
 */
#include "cases.h"

CODE(step_nop, "", "nop", "nop");
CODE(step_popf, "pushq $0x102", "popfq", "nop; nop");
CODE(step_ss, "", "mov %ecx, %ss", "nop; nop");
CODE(step_string, "", "rep movsb", "nop");
CODE(step_fault, "", "movb (%rax), %dl", "nop");
CODE(step_int, "", "int $0x50", "nop");
CODE(step_int3, "", "int3", "nop");
CODE(step_syscall, "", "syscall", "nop");
CODE(step_sysret, "", "sysretq", "nop");
CODE(step_jump, "", "jmp 1f; nop; 1:", "nop");
CODE(step_cpuid, "", "cpuid", "nop");
CODE32(step_compat, "", "inc %eax", "nop");
CODE(open_sti, "", "sti", "nop; nop");
CODE(open_sti_cli, "", "sti", "cli; nop");
CODE(open_twice, "sti", "nop", "sti; nop");
CODE(open_popf, "pushq $0x202", "popfq", "nop; nop");
CODE(open_ss_popf, "pushq $0x202; mov %ecx, %ss", "popfq", "nop; nop");
CODE(open_halt, "", "sti; hlt", "nop");
CODE(halted, "", "hlt", "");
CODE(read_dr6, "", "mov %dr6, %rax", "");
CODE(write_dr7, "", "mov %rax, %dr7", "");
CODE(write_dr6, "", "mov %rax, %dr6", "");
CODE(read_dr4, "", "mov %dr4, %rax", "mov %dr5, %rcx");
CODE(read_dr0, "", "mov %dr0, %rax", "");
CODE(clear_if, "", "cli", "");
CODE(set_if, "", "sti", "");

#define READ_DR(n)                                                     \
	({                                                             \
		u64 value_;                                            \
		__asm__ volatile("mov %%dr" #n ", %0" : "=r"(value_)); \
		value_;                                                \
	})
#define WRITE_DR(n, value) __asm__ volatile("mov %0, %%dr" #n : : "r"((u64)(value)))
#define DR6_FIXED          0xffff0ff0ull
#define DR6_BS             0x4000ull
#define DR6_BD             0x2000ull
#define SFMASK             0xc0000084
#define WAITING            0x61 /* the vector of interrupts that wait */

/* ---- single-step ----------------------------------------------------------------------------- */

static void stepped(const char *code, const char *at)
{
	WRITE_DR(6, DR6_FIXED);
	in.rflags |= FLAG_TF;
	run_kernel(code);
	trapped(1, NO_ERROR, at);
	check("BS", READ_DR(6) & DR6_BS, DR6_BS);
	check("pushed TF", trap.rflags & FLAG_TF, FLAG_TF);
	check("TF in the handler", trap.handler_flags & FLAG_TF, 0);
}

static void single_step(void)
{
	begin("step/after-one", "");
	stepped(step_nop, step_nop_end);
	check("pushed RF", trap.rflags & FLAG_RF, 0);
	stepped(step_jump, step_jump_end);
	stepped(step_cpuid, step_cpuid_end);
	end();
	begin("step/compatibility-mode", "");
	WRITE_DR(6, DR6_FIXED);
	in.rflags = 2 | FLAG_TF;
	run_user_compat(step_compat);
	trapped(1, NO_ERROR, step_compat_end);
	end();
	begin("step/popf-takes-effect-behind-the-next", "popfq");
	WRITE_DR(6, DR6_FIXED);
	run_kernel(step_popf);
	trapped(1, NO_ERROR, step_popf_end + 1);
	end();
	begin("step/mov-ss-holds-it-off", "");
	in.rcx = SEL_DATA;
	stepped(step_ss, step_ss_end + 1);
	end();
	begin("step/string-instruction", "movsb");
	test_reset();
	in.rsi = TEST(0);
	in.rdi = TEST(1);
	in.rcx = 3;
	stepped(step_string, step_string_at);
	check("rcx", out.rcx, 2);
	in.rsi = TEST(0);
	in.rdi = TEST(1);
	in.rcx = 1;
	stepped(step_string, step_string_end);
	check("rcx", out.rcx, 0);
	end();
	begin("step/a-fault-comes-first", "");
	test_map(2, 0);
	in.rax = TEST(2);
	in.rflags = 2 | FLAG_TF;
	WRITE_DR(6, DR6_FIXED);
	run_kernel(step_fault);
	trapped(14, 0, step_fault_at);
	check("BS", READ_DR(6) & DR6_BS, 0);
	check("pushed TF", trap.rflags & FLAG_TF, FLAG_TF);
	test_map(2, PTE_P | PTE_W | PTE_U);
	end();
	begin("step/int-n-clears-it", "int int3");
	in.rflags = 2 | FLAG_TF;
	run_kernel(step_int);
	trapped(0x50, NO_ERROR, step_int_end);
	check("TF in the handler", trap.handler_flags & FLAG_TF, 0);
	in.rflags = 2 | FLAG_TF;
	run_kernel(step_int3);
	trapped(3, NO_ERROR, step_int3_end);
	end();
}

/* The trap looks at TF after these two, not before: a kernel that masks TF is not stepped into. */
static void step_system_call(void)
{
	begin("step/syscall-masks-it", "syscall");
	wrmsr(SFMASK, FLAG_TF);
	WRITE_DR(6, DR6_FIXED);
	in.rflags = 2 | FLAG_TF;
	run_user(step_syscall);
	check("vector", trap.vector, 0x100);
	check("r11", out.r11, 2 | FLAG_TF);
	check("BS", READ_DR(6) & DR6_BS, 0);
	end();
	begin("step/sysret-brings-it", "sysret");
	in.rcx = USER(step_sysret_end);
	in.r11 = 2 | FLAG_TF;
	run_kernel(step_sysret);
	trapped(1, NO_ERROR, step_sysret_end);
	check("cs", trap.cs, SEL_USER64);
	end();
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static volatile u32 *apic(unsigned offset)
{
	return (u32 *)(0xfee00000ull + offset);
}

/* Sends this processor an interrupt while it takes none. */
static void make_wait(void)
{
	*apic(0xf0) = 0x1ff;
	*apic(0x300) = 0x40000 | WAITING; /* self */
	while (!(*apic(0x200 + WAITING / 32 * 16) >> WAITING % 32 & 1))
		__asm__ volatile("pause");
}

static void interrupted(const char *code, const char *at)
{
	make_wait();
	run_kernel(code);
	trapped(WAITING, NO_ERROR, at);
	check("pushed IF", trap.rflags & FLAG_IF, FLAG_IF);
	check("IF in the handler", trap.handler_flags & FLAG_IF, 0);
	*apic(0xb0) = 0;
}

static void shadows(void)
{
	begin("shadow/sti", "sti");
	interrupted(open_sti, open_sti_end + 1);
	end();
	begin("shadow/sti-cli", "sti cli");
	make_wait();
	run_kernel(open_sti_cli);
	finished();
	interrupted(open_sti, open_sti_end + 1);
	end();
	begin("shadow/only-when-if-was-clear", "sti");
	in.rflags = 2;
	interrupted(open_twice, open_twice_end);
	end();
	begin("shadow/popf-has-none", "popfq");
	interrupted(open_popf, open_popf_end);
	end();
	begin("shadow/mov-ss", "popfq");
	in.rcx = SEL_DATA;
	interrupted(open_ss_popf, open_ss_popf_end);
	end();
	begin("shadow/iret-has-none", "iretq");
	in.rflags = 2 | FLAG_IF;
	interrupted(step_nop, step_nop);
	end();
	begin("shadow/halt", "hlt sti");
	interrupted(open_halt, open_halt_end);
	end();
	begin("shadow/interrupt-flag-is-privileged", "cli sti hlt");
	run_user(clear_if);
	trapped(13, 0, clear_if_at);
	run_user(set_if);
	trapped(13, 0, set_if_at);
	run_user(halted);
	trapped(13, 0, halted_at);
	in.rflags = 2 | FLAG_IOPL;
	run_user(set_if);
	finished();
	check("IF", trap.rflags & FLAG_IF, FLAG_IF);
	in.rflags = 2 | FLAG_IOPL | FLAG_IF;
	run_user(clear_if);
	finished();
	check("IF", trap.rflags & FLAG_IF, 0);
	in.rflags = 2 | FLAG_IOPL;
	run_user(halted);
	trapped(13, 0, halted_at);
	end();
}

/* ---- debug registers ------------------------------------------------------------------------- */

static void debug_registers(void)
{
	const u64 cr4 = READ_CR(4);

	begin("debug/registers-hold", "");
	WRITE_DR(0, 0x123456789abcdef0);
	WRITE_DR(3, ~0ull);
	check("dr0", READ_DR(0), 0x123456789abcdef0);
	check("dr3", READ_DR(3), ~0ull);
	WRITE_DR(0, 0);
	WRITE_DR(3, 0);
	WRITE_DR(7, 0);
	check("dr7 of 0", READ_DR(7), 0x400);
	WRITE_DR(6, 0);
	check("dr6 of 0", READ_DR(6) & 0xffffe00f, 0xffff0000 & 0xffffe00f);
	WRITE_DR(6, DR6_FIXED | 0xe00f);
	check("dr6 of all", READ_DR(6) & 0xffffe00f, 0xffffe00f);
	WRITE_DR(6, DR6_FIXED);
	end();
	begin("debug/high-halves", "");
	in.rax = 1ull << 32;
	run_kernel(write_dr7);
	trapped(13, 0, write_dr7_at);
	in.rax = 1ull << 32;
	run_kernel(write_dr6);
	trapped(13, 0, write_dr6_at);
	end();
	begin("debug/is-the-kernels", "");
	run_user(read_dr0);
	trapped(13, 0, read_dr0_at);
	run_user(write_dr7);
	trapped(13, 0, write_dr7_at);
	end();
	begin("debug/dr4-dr5", "");
	WRITE_CR(4, cr4 & ~8ull);
	run_kernel(read_dr4);
	finished();
	check("dr4 is dr6", out.rax, READ_DR(6));
	check("dr5 is dr7", out.rcx, READ_DR(7));
	WRITE_CR(4, cr4 | 8);
	run_kernel(read_dr4);
	trapped(6, NO_ERROR, read_dr4_at);
	WRITE_CR(4, cr4);
	end();
	begin("debug/general-detect", "");
	WRITE_DR(6, DR6_FIXED);
	in.rax = 0x2400; /* GD */
	run_kernel(write_dr7);
	finished();
	run_kernel(read_dr6);
	trapped(1, NO_ERROR, read_dr6_at);
	check("BD", READ_DR(6) & DR6_BD, DR6_BD);
	check("GD is off in the handler", READ_DR(7) & 0x2000, 0);
	WRITE_DR(6, DR6_FIXED);
	end();
}

void cases_debug(void)
{
	single_step();
	step_system_call();
	shadows();
	debug_registers();
}
