/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions and interrupts in long mode: vectors, frames, error codes, stacks, double faults. SDM
 * chapter 6; RF in pushed flags: 17.3.1.1.
 */
#include "cases.h"

CODE(divide, "xor %ecx, %ecx", "divl %ecx", "");
CODE(divide_overflow, "mov $0x80000000, %eax; mov $-1, %ecx; cdq", "idivl %ecx", "");
CODE(breakpoint, "", "int3", "");
CODE(icebp, "", ".byte 0xf1", "");
CODE(undefined2, "", "ud2", "");
CODE(undefined1, "", ".byte 0x0f, 0xb9, 0xc0", "");
CODE(undefined0, "", ".byte 0x0f, 0xff, 0xc0", "");
CODE(locked_register, "", ".byte 0xf0, 0x01, 0xc0", "");
CODE(locked_mov, "", ".byte 0xf0, 0x88, 0x07", "");
CODE(into_64, "", ".byte 0xce", "");
CODE(too_long, "", ".fill 15, 1, 0x66; nop", "");
CODE(fifteen_long, "", ".fill 14, 1, 0x66; nop", "");
CODE(soft_int, "", "int $0x50", "");
CODE(soft_last, "", "int $0xff", "");
CODE(load_rax, "", "movb (%rax), %dl", "");
CODE(load_rsp, "mov %rax, %rsp", "movb (%rsp), %dl", "");
CODE(load_rbp, "mov %rax, %rbp", "movb 8(%rbp), %dl", "");
CODE(push_noncanonical, "mov %rax, %rsp", "push %rcx", "");
CODE(fpu_nop, "", "fnop", "");
CODE(fpu_wait, "", "fwait", "");
CODE(mmx_nop, "", "emms", "");
CODE(sse_nop, "", "xorps %xmm0, %xmm0", "");
CODE(nothing, "", "nop", "");
CODE(odd_stack, "lea -4(%rsp), %rsp", "ud2", "");
CODE32(into_32, "mov $0x7f, %al; add $1, %al", "into", "");
CODE32(into_not, "xor %eax, %eax", "into", "");
CODE32(bound_low, "xor %ecx, %ecx; mov %esp, %ebx", "bound %ecx, (%eax)", "");

#define NONCANONICAL 0x8000000000000000ull

static void faults(void)
{
	begin("exception/divide-by-zero", "");
	run_kernel(divide);
	trapped(0, NO_ERROR, divide_at);
	check("cs", trap.cs, SEL_CODE64);
	check("ss", trap.ss, SEL_DATA);
	check("rsp", trap.rsp, (u64)kernel_stack_top);
	end();
	begin("exception/divide-overflow", "");
	run_kernel(divide_overflow);
	trapped(0, NO_ERROR, divide_overflow_at);
	end();
	begin("exception/fault-pushes-rf", "");
	run_kernel(divide);
	check("rf", trap.rflags & FLAG_RF, FLAG_RF);
	check("rf in the handler", trap.handler_flags & FLAG_RF, 0);
	end();
	begin("exception/ud", "ud0 ud1 ud2");
	run_kernel(undefined2);
	trapped(6, NO_ERROR, undefined2_at);
	run_kernel(undefined1);
	trapped(6, NO_ERROR, undefined1_at);
	run_kernel(undefined0);
	trapped(6, NO_ERROR, undefined0_at);
	end();
	begin("exception/lock-is-undefined", "");
	run_kernel(locked_register);
	trapped(6, NO_ERROR, locked_register_at);
	run_kernel(locked_mov);
	trapped(6, NO_ERROR, locked_mov_at);
	end();
	begin("exception/legacy-opcode-in-64-bit", "");
	run_kernel(into_64);
	trapped(6, NO_ERROR, into_64_at);
	end();
	begin("exception/sixteen-bytes", "");
	run_kernel(too_long);
	trapped(13, 0, too_long_at);
	run_kernel(fifteen_long);
	finished();
	end();
	begin("exception/bound", "bound");
	test_reset();
	((u32 *)test_memory[0])[0] = 1;
	((u32 *)test_memory[0])[1] = 5;
	in.rax = TEST(0);
	run_compat(bound_low);
	trapped(5, NO_ERROR, bound_low_at);
	((u32 *)test_memory[0])[0] = 0;
	in.rax = TEST(0);
	run_compat(bound_low);
	finished();
	end();
}

static void traps(void)
{
	begin("exception/int3", "int3");
	run_kernel(breakpoint);
	trapped(3, NO_ERROR, breakpoint_end);
	check("rf", trap.rflags & FLAG_RF, 0);
	end();
	begin("exception/int1", "int1");
	run_kernel(icebp);
	trapped(1, NO_ERROR, icebp_end);
	gate_set(1, 0xe, 0, 0); /* the gate's DPL does not count: Intel SDM vol. 2 INT1 */
	run_user(icebp);
	trapped(1, NO_ERROR, icebp_end);
	end();
	begin("exception/into", "into");
	gate_set(4, 0xe, 3, 0);
	run_compat(into_32);
	trapped(4, NO_ERROR, into_32_end);
	run_user_compat(into_32);
	trapped(4, NO_ERROR, into_32_end);
	gate_set(4, 0xe, 0, 0);
	run_user_compat(into_32);
	trapped(13, 4 * 8 + 2, into_32_at);
	run_compat(into_not);
	finished();
	end();
	begin("exception/int-n", "int");
	run_kernel(soft_int);
	trapped(0x50, NO_ERROR, soft_int_end);
	end();
	begin("exception/int-n-gate-privilege", "int");
	run_user(soft_int);
	trapped(13, 0x50 * 8 + 2, soft_int_at);
	end();
	begin("exception/int-n-not-present", "int");
	gate_set(0x50, 0, 0, 0);
	run_kernel(soft_int);
	trapped(11, 0x50 * 8 + 2, soft_int_at);
	gate_set(0x50, 0xe, 0, 0);
	end();
	begin("exception/idt-limit", "lidt");
	idt_table.limit = 0xff * 16 + 14;
	__asm__ volatile("lidt %0" : : "m"(idt_table));
	run_kernel(soft_last);
	idt_table.limit++;
	__asm__ volatile("lidt %0" : : "m"(idt_table));
	trapped(13, 0xff * 8 + 2, soft_last_at);
	end();
	begin("exception/interrupt-and-trap-gate", "");
	in.rflags = 2 | FLAG_IF;
	run_kernel(breakpoint);
	check("pushed IF", trap.rflags & FLAG_IF, FLAG_IF);
	check("IF through an interrupt gate", trap.handler_flags & FLAG_IF, 0);
	gate_set(3, 0xf, 0, 0);
	in.rflags = 2 | FLAG_IF;
	run_kernel(breakpoint);
	check("IF through a trap gate", trap.handler_flags & FLAG_IF, FLAG_IF);
	gate_set(3, 0xe, 0, 0);
	end();
	begin("exception/flags-cleared", "");
	in.rflags = 2 | FLAG_AC | FLAG_NT | FLAG_DF | FLAG_CF;
	run_kernel(breakpoint);
	check("pushed", trap.rflags, 2 | FLAG_AC | FLAG_NT | FLAG_DF | FLAG_CF);
	check("in the handler", trap.handler_flags & (FLAG_NT | FLAG_DF | FLAG_CF | FLAG_AC),
	      FLAG_DF | FLAG_CF | FLAG_AC);
	end();
}

static void stacks(void)
{
	begin("exception/from-user", "");
	run_user(undefined2);
	trapped(6, NO_ERROR, undefined2_at);
	check("cs", trap.cs, SEL_USER64);
	check("ss", trap.ss, SEL_UDATA);
	check("rsp", trap.rsp, USER(user_stack_top));
	check("handler's frame", trap.handler_rsp, (u64)rsp0_stack_top - 40);
	check("handler's ss", trap.handler_ss, 0);
	check("handler's cs", trap.handler_cs, SEL_CODE64);
	end();
	begin("exception/from-compatibility-mode", "");
	in.rax = 0x1122334455667788;
	run_user_compat(undefined2);
	trapped(6, NO_ERROR, undefined2_at);
	check("cs", trap.cs, SEL_USER32);
	check("rsp", trap.rsp, USER(user_stack_top));
	check("ds stays", trap.ds, SEL_UDATA);
	end();
	begin("exception/stack-is-aligned", "");
	run_kernel(odd_stack);
	trapped(6, NO_ERROR, odd_stack_at);
	check("rsp", trap.rsp, (u64)kernel_stack_top - 4);
	check("handler's frame", trap.handler_rsp, (u64)kernel_stack_top - 16 - 40);
	end();
	begin("exception/ist", "ltr");
	gate_set(6, 0xe, 0, 2);
	tss.ist[1] = (u64)ist_stack_top - 8;
	run_kernel(undefined2);
	gate_set(6, 0xe, 0, 0);
	trapped(6, NO_ERROR, undefined2_at);
	check("handler's frame", trap.handler_rsp, (u64)ist_stack_top - 16 - 40);
	check("handler's ss", trap.handler_ss, SEL_DATA);
	end();
}

static void canonical(void)
{
	begin("exception/non-canonical-data", "");
	in.rax = NONCANONICAL;
	run_kernel(load_rax);
	trapped(13, 0, load_rax_at);
	in.rax = 0x7fffffffffff;
	run_kernel(load_rax);
	trapped(14, 0, load_rax_at);
	end();
	begin("exception/non-canonical-stack", "");
	in.rax = NONCANONICAL;
	run_kernel(load_rbp);
	trapped(12, 0, load_rbp_at);
	end();
	begin("exception/non-canonical-push", "");
	gate_set(12, 0xe, 0, 1);
	in.rax = NONCANONICAL;
	run_kernel(push_noncanonical);
	trapped(12, 0, push_noncanonical_at);
	in.rax = NONCANONICAL;
	run_kernel(load_rsp);
	trapped(12, 0, load_rsp_at);
	gate_set(12, 0xe, 0, 0);
	end();
}

static void fpu_off(void)
{
	const u64 cr0 = READ_CR(0), cr4 = READ_CR(4);

	begin("exception/nm-task-switched", "clts");
	WRITE_CR(0, cr0 | 8);
	run_kernel(fpu_nop);
	trapped(7, NO_ERROR, fpu_nop_at);
	run_kernel(sse_nop);
	trapped(7, NO_ERROR, sse_nop_at);
	run_kernel(fpu_wait);
	trapped(7, NO_ERROR, fpu_wait_at);
	WRITE_CR(0, (cr0 | 8) & ~2ull); /* MP off: WAIT does not look at TS */
	run_kernel(fpu_wait);
	finished();
	__asm__ volatile("clts");
	check("cr0 after clts", READ_CR(0), cr0 & ~2ull);
	WRITE_CR(0, cr0);
	end();
	begin("exception/nm-emulation", "");
	WRITE_CR(0, cr0 | 4);
	run_kernel(fpu_nop);
	trapped(7, NO_ERROR, fpu_nop_at);
	run_kernel(mmx_nop);
	trapped(6, NO_ERROR, mmx_nop_at);
	run_kernel(sse_nop);
	trapped(6, NO_ERROR, sse_nop_at);
	WRITE_CR(0, cr0);
	end();
	begin("exception/ud-without-osfxsr", "");
	WRITE_CR(4, cr4 & ~0x200ull);
	run_kernel(sse_nop);
	trapped(6, NO_ERROR, sse_nop_at);
	WRITE_CR(4, cr4);
	end();
}

static void double_faults(void)
{
	begin("exception/df-no-stack", "");
	tss.rsp[0] = TEST(200); /* not mapped */
	run_user(undefined2);
	tss.rsp[0] = (u64)rsp0_stack_top;
	trapped(8, 0, undefined2_at);
	check("cs", trap.cs, SEL_USER64);
	check("handler's frame", trap.handler_rsp, (u64)ist_stack_top - 40);
	check("cr2", trap.cr2, TEST(200) - 8);
	end();
	begin("exception/df-contributory", "");
	gate_set(0, 0, 0, 0);
	run_kernel(divide);
	trapped(8, 0, divide_at);
	gate_set(0, 0xe, 0, 0);
	end();
	begin("exception/df-page-fault-then-contributory", "");
	gate_set(14, 0, 0, 0);
	in.rax = TEST(200);
	run_kernel(load_rax);
	trapped(8, 0, load_rax_at);
	gate_set(14, 0xe, 0, 0);
	end();
	begin("exception/benign-then-contributory", "");
	gate_set(6, 0, 0, 0);
	run_kernel(undefined2);
	trapped(11, 6 * 8 + 3, undefined2_at);
	gate_set(6, 0xe, 0, 0);
	end();
	begin("exception/contributory-then-page-fault", "");
	gate_set(13, 0xe, 0, 3); /* its stack is not there: #GP, then #PF, one after the other */
	tss.ist[2] = TEST(200);
	in.rax = NONCANONICAL;
	run_kernel(load_rax);
	trapped(14, 2, load_rax_at);
	check("cr2", trap.cr2, TEST(200) - 8);
	gate_set(13, 0xe, 0, 0);
	end();
	begin("exception/gate-to-nowhere", "");
	idt_table.limit = 13 * 16 + 15; /* #PF has no gate: #GP of its entry, which makes #DF */
	__asm__ volatile("lidt %0" : : "m"(idt_table));
	in.rax = TEST(200);
	run_kernel(load_rax);
	idt_table.limit = 256 * 16 - 1;
	__asm__ volatile("lidt %0" : : "m"(idt_table));
	trapped(8, 0, load_rax_at);
	end();
	begin("exception/bad-stack-in-tss", "");
	tss.rsp[0] = NONCANONICAL;
	gate_set(12, 0xe, 0, 1);
	run_user(nothing);
	tss.rsp[0] = (u64)rsp0_stack_top;
	gate_set(12, 0xe, 0, 0);
	trapped(12, 0, nothing_end); /* the INT 0x40 at the end finds no stack; EXT is 0 */
	end();
}

void cases_exception(void)
{
	faults();
	traps();
	stacks();
	canonical();
	fpu_off();
	double_faults();
}
