/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segments: loading them, what their descriptors permit, far transfers and returns between
 * privilege levels and modes, call gates. SDM 3.4, 5.2 to 5.8; the instructions: vol. 2.
 */
#include "cases.h"

CODE(load_ds, "", "mov %eax, %ds", "mov %ds, %ecx");
CODE(load_ss, "", "mov %eax, %ss", "mov %ss, %ecx");
CODE(load_cs, "", ".byte 0x8e, 0xc8", "");
CODE(load_fs, "", "mov %eax, %fs", "rdfsbase %rcx");
CODE(load_lfs, "", "lfs (%rax), %ecx", "mov %fs, %edx");
CODE(load_lgs, "", "lgs (%rax), %ecx", "mov %gs, %edx");
CODE(load_lss, "mov %rsp, %rbx", "lss (%rax), %esp", "mov %rsp, %rcx; mov %rbx, %rsp");
CODE(ask_lar, "", "lar %ecx, %edx", "pushfq; pop %rbx");
CODE(ask_lsl, "", "lsl %ecx, %edx", "pushfq; pop %rbx");
CODE(ask_verr, "", "verr %cx", "pushfq; pop %rbx");
CODE(ask_verw, "", "verw %cx", "pushfq; pop %rbx");
CODE(load_tr, "", "ltr %ax", "");
CODE(load_ldt, "", "lldt %ax", "sldt %ecx");
CODE(store_tr, "", "str %eax", "");
CODE(store_tables, "sgdt (%rax)", "sidt 16(%rax)", "");
CODE(load_gdt, "", "lgdt (%rax)", "lgdt (%rcx)");
CODE(machine_word, "", "smsw %rax", "");

static u16 free_gdt(u64 descriptor)
{
	return gdt_set(12, descriptor);
}

static void loads(void)
{
	begin("segment/null", "");
	run_kernel(load_ds);
	finished();
	in.rax = 3;
	run_kernel(load_ds);
	finished();
	run_kernel(load_ss); /* 64-bit mode, CPL 0 */
	finished();
	in.rax = 3;
	run_kernel(load_ss); /* its RPL is not CPL */
	trapped(13, 0, load_ss_at);
	in.rax = 3;
	run_user(load_ss);
	trapped(13, 0, load_ss_at);
	end();
	begin("segment/beyond-the-table", "");
	in.rax = 0x7ff8 | 3;
	run_kernel(load_ds);
	trapped(13, 0x7ff8, load_ds_at);
	in.rax = 0x10 | 4; /* the LDT is null */
	run_kernel(load_ds);
	trapped(13, 0x14, load_ds_at);
	end();
	begin("segment/wrong-type", "");
	in.rax = free_gdt(DESCRIPTOR(0, 0xfffff, 0x98, 0xc)); /* execute only */
	run_kernel(load_ds);
	trapped(13, 12 * 8, load_ds_at);
	in.rax = SEL_TSS;
	run_kernel(load_ds);
	trapped(13, SEL_TSS, load_ds_at);
	in.rax = free_gdt(DESCRIPTOR(0, 0xfffff, 0x90, 0xc)); /* read only, as a stack */
	run_kernel(load_ss);
	trapped(13, 12 * 8, load_ss_at);
	run_kernel(load_cs);
	trapped(6, NO_ERROR, load_cs_at);
	end();
	begin("segment/privilege", "");
	in.rax = SEL_DATA;
	run_user(load_ds);
	trapped(13, SEL_DATA, load_ds_at);
	in.rax = SEL_UDATA;
	run_kernel(load_ss);
	trapped(13, SEL_UDATA & ~3, load_ss_at);
	in.rax = free_gdt(DESCRIPTOR(0, 0xfffff, 0x9e, 0xc)); /* conforming, readable: any level */
	run_user(load_ds);
	finished();
	end();
	begin("segment/not-present", "");
	in.rax = free_gdt(DESCRIPTOR(0, 0xfffff, 0x12, 0xc));
	run_kernel(load_ds);
	trapped(11, 12 * 8, load_ds_at);
	in.rax = 12 * 8;
	run_kernel(load_ss);
	trapped(12, 12 * 8, load_ss_at);
	end();
	begin("segment/accessed", "");
	in.rax = free_gdt(DESCRIPTOR(0, 0xfffff, 0x92, 0xc));
	run_kernel(load_ds);
	finished();
	check("descriptor", boot_gdt[12], DESCRIPTOR(0, 0xfffff, 0x93, 0xc));
	end();
	begin("segment/ldt", "lldt sldt");
	((u64 *)test_memory[1])[2] = DESCRIPTOR(0, 0xfffff, 0xf3, 0xc);
	in.rax = free_gdt(DESCRIPTOR(TEST(1) & 0xffffffff, 23, 0x82, 0));
	gdt_set(13, 0);
	run_kernel(load_ldt);
	finished();
	check("sldt", out.rcx, 12 * 8);
	in.rax = 0x10 | 4 | 3;
	run_user(load_ds);
	finished();
	in.rax = 0x18 | 4;
	run_user(load_ds);
	trapped(13, 0x1c, load_ds_at);
	run_kernel(load_ldt);
	finished();
	in.rax = SEL_DATA;
	run_kernel(load_ldt);
	trapped(13, SEL_DATA, load_ldt_at);
	in.rax = 0;
	run_user(load_ldt);
	trapped(13, 0, load_ldt_at);
	end();
	begin("segment/far-pointers", "lfs lgs lss");
	*(u32 *)test_memory[1] = 0x55667788;
	((u16 *)test_memory[1])[2] = SEL_UDATA;
	in.rax = TEST(1);
	run_kernel(load_lfs);
	check("lfs", out.rcx, 0x55667788);
	check("fs", out.rdx, SEL_UDATA);
	in.rax = TEST(1);
	run_kernel(load_lgs);
	check("gs", out.rdx, SEL_UDATA);
	((u16 *)test_memory[1])[2] = SEL_DATA;
	in.rax = TEST(1);
	run_kernel(load_lss);
	finished();
	check("lss", out.rcx, 0x55667788);
	in.rax = TEST(1);
	run_user(load_lss);
	trapped(13, SEL_DATA, load_lss_at);
	end();
}

static void questions(void)
{
	begin("segment/lar-lsl", "lar lsl");
	in.rcx = SEL_CODE64;
	run_kernel(ask_lar);
	check("lar", out.rdx & 0xf0ff00, 0xa09b00);
	check("zf", out.rbx & FLAG_ZF, FLAG_ZF);
	in.rcx = SEL_DATA;
	in.rdx = 5;
	run_user(ask_lar); /* more privileged than CPL */
	check("left alone", out.rdx, 5);
	check("no zf", out.rbx & FLAG_ZF, 0);
	in.rcx = SEL_UDATA;
	run_user(ask_lsl);
	check("lsl of pages", out.rdx, 0xffffffff);
	in.rcx = SEL_TSS;
	run_kernel(ask_lsl);
	check("lsl of a TSS", out.rdx, sizeof(struct tss) - 1);
	in.rcx = 0;
	run_kernel(ask_lsl);
	check("zf of null", out.rbx & FLAG_ZF, 0);
	end();
	begin("segment/verr-verw", "verr verw");
	in.rcx = SEL_UDATA;
	run_user(ask_verr);
	check("data can be read", out.rbx & FLAG_ZF, FLAG_ZF);
	in.rcx = SEL_UDATA;
	run_user(ask_verw);
	check("and written", out.rbx & FLAG_ZF, FLAG_ZF);
	in.rcx = SEL_USER64;
	run_user(ask_verw);
	check("code cannot", out.rbx & FLAG_ZF, 0);
	in.rcx = SEL_DATA;
	run_user(ask_verr);
	check("nor the kernel's", out.rbx & FLAG_ZF, 0);
	end();
	begin("segment/tables", "sgdt sidt lgdt str ltr");
	in.rax = TEST(1);
	run_kernel(store_tables);
	finished();
	check("gdt limit", *(u16 *)test_memory[1], gdt_table.limit);
	check("gdt base", *(u64 *)(test_memory[1] + 2), gdt_table.base);
	check("idt base", *(u64 *)(test_memory[1] + 18), idt_table.base);
	*(u64 *)(test_memory[1] + 2) = 1ull << 63;
	in.rax = TEST(1);
	in.rcx = (u64)&gdt_table;
	run_kernel(load_gdt);
	trapped(13, 0, load_gdt_at);
	in.rax = TEST(1);
	run_user(load_gdt);
	trapped(13, 0, load_gdt_at);
	run_kernel(store_tr);
	check("str", out.rax & 0xffff, SEL_TSS);
	check("busy", boot_gdt[8] >> 40 & 0xff, 0x8b);
	in.rax = SEL_TSS;
	run_kernel(load_tr);
	trapped(13, SEL_TSS, load_tr_at);
	in.rax = 0;
	run_kernel(load_tr);
	trapped(13, 0, load_tr_at);
	gdt_set(8, DESCRIPTOR((u64)&tss, sizeof(tss) - 1, 0x89, 0)); /* QEMU has none now */
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
	in.rax = SEL_TSS;
	run_user(load_tr);
	trapped(13, 0, load_tr_at);
	end();
	begin("segment/smsw", "smsw");
	run_kernel(machine_word);
	check("cr0", out.rax, READ_CR(0));
	end();
	if (cpu_has(7, 0, 2, 2)) {
		begin("segment/umip", "smsw str sgdt");
		WRITE_CR(4, READ_CR(4) | 1 << 11);
		run_user(machine_word);
		trapped(13, 0, machine_word_at);
		run_user(store_tr);
		trapped(13, 0, store_tr_at);
		in.rax = TEST(1);
		run_user(store_tables);
		trapped(13, 0, store_tables);
		run_kernel(machine_word);
		finished();
		WRITE_CR(4, READ_CR(4) & ~(1ull << 11));
		end();
	} else {
		skip("segment/umip", "", "not offered");
	}
}

/* ---- what segments permit, in compatibility mode --------------------------------------------- */

CODE32(read_eax, "mov %ecx, %ds", "movb (%eax), %dl", "");
CODE32(read_four, "mov %ecx, %ds", "movl (%eax), %edx", "");
CODE32(write_eax, "mov %ecx, %ds", "movb %dl, (%eax)", "");
CODE32(read_stack, "mov %ecx, %ss", "movb (%esp,%eax), %dl", "");
CODE32(read_code, "", "movb %cs:(%eax), %dl", "");
CODE32(write_code, "", "movb %dl, %cs:(%eax)", "");
CODE32(read_null, "mov %ecx, %ds", "movb (%eax), %dl", "");

static void limits(void)
{
	begin("segment/limit", "");
	test_reset();
	test_memory[1][7] = 0x77;
	in.rcx = free_gdt(DESCRIPTOR(TEST(1) & 0xffffffff, 7, 0x93, 4));
	in.rax = 7;
	run_compat(read_eax);
	finished();
	check("base counts", out.rdx & 0xff, 0x77);
	in.rcx = 12 * 8;
	in.rax = 8;
	run_compat(read_eax);
	trapped(13, 0, read_eax_at);
	in.rcx = 12 * 8;
	in.rax = 5;
	run_compat(read_four);
	trapped(13, 0, read_four_at);
	in.rcx = 12 * 8;
	in.rax = 4;
	run_compat(read_four);
	finished();
	end();
	begin("segment/expand-down", "");
	in.rcx = free_gdt(DESCRIPTOR(TEST(1) & 0xffffffff, 0xfff, 0x97, 4));
	in.rax = 0xfff;
	run_compat(read_eax);
	trapped(13, 0, read_eax_at);
	in.rcx = 12 * 8;
	in.rax = 0x1000;
	run_compat(read_eax);
	finished();
	in.rcx = 12 * 8;
	in.rax = 0xfffffffe;
	run_compat(read_four);
	trapped(13, 0, read_four_at);
	end();
	begin("segment/stack-limit", "");
	in.rcx = free_gdt(DESCRIPTOR(0, 0xfff, 0x93, 4));
	in.rax = 0x100000;
	in.rsp = 0x800;
	gate_set(12, 0xe, 0, 1);
	run_compat(read_stack);
	trapped(12, 0, read_stack_at);
	gate_set(12, 0xe, 0, 0);
	end();
	begin("segment/read-only", "");
	in.rcx = free_gdt(DESCRIPTOR(0, 0xfffff, 0x91, 0xc));
	in.rax = TEST(1);
	run_compat(read_eax);
	finished();
	in.rcx = 12 * 8;
	in.rax = TEST(1);
	run_compat(write_eax);
	trapped(13, 0, write_eax_at);
	in.rax = TEST(1);
	run_compat(read_code);
	finished();
	in.rax = TEST(1);
	run_compat(write_code);
	trapped(13, 0, write_code_at);
	end();
	begin("segment/null-use", "");
	in.rax = TEST(1);
	run_compat(read_null);
	trapped(13, 0, read_null_at);
	end();
}

/* ---- far transfers --------------------------------------------------------------------------- */

static struct {
	u64 offset;
	u16 selector;
} __attribute__((packed)) far_pointer;

CODE(far_jump, "", "rex.w ljmp *(%rax)", "");
CODE(far_call, "", "rex.w lcall *(%rax)", "");
CODE(far_target, "", "mov %cs, %eax", "");
CODE(far_return_there, "push %rcx; push %rax", "rex.w lret", "");
CODE(far_returns, "", "rex.w lret", "");
CODE(far_returns_8, "", "rex.w lret $8", "");
CODE(call_and_back, "", "rex.w lcall *(%rax)", "mov $7, %ebx");
CODE(gate_handler, "mov %cs, %ecx; mov %ss, %edx; mov %rsp, %rsi", "rex.w lret", "");
CODE32(to_64, "", "ljmp $0x08, $far_target", "");

static u16 far(const void *target, u16 selector)
{
	far_pointer.offset = (u64)target;
	far_pointer.selector = selector;
	return selector;
}

/* A 64-bit call gate at index 14. */
static void call_gate(const void *target, u16 selector, u8 access)
{
	u64 at = (u64)target;

	gdt_set(14, (at & 0xffff) | (u64)selector << 16 | (u64)access << 40 |
			    (at >> 16 & 0xffff) << 48);
	gdt_set(15, at >> 32);
}

static void far_transfers(void)
{
	begin("far/jump", "");
	far(far_target, SEL_CODE64);
	in.rax = (u64)&far_pointer;
	run_kernel(far_jump);
	finished();
	check("cs", out.rax, SEL_CODE64);
	far(far_target, SEL_DATA);
	in.rax = (u64)&far_pointer;
	run_kernel(far_jump);
	trapped(13, SEL_DATA, far_jump_at);
	far(far_target, 0);
	in.rax = (u64)&far_pointer;
	run_kernel(far_jump);
	trapped(13, 0, far_jump_at);
	far(far_target, SEL_USER64);
	in.rax = (u64)&far_pointer;
	run_kernel(far_jump); /* not to an outer level */
	trapped(13, SEL_USER64 & ~3, far_jump_at);
	far(far_target, free_gdt(DESCRIPTOR(0, 0xfffff, 0x1a, 0xa)));
	in.rax = (u64)&far_pointer;
	run_kernel(far_jump);
	trapped(11, 12 * 8, far_jump_at);
	free_gdt(DESCRIPTOR(0, 0xfffff, 0x9a, 0xe)); /* L and D both */
	in.rax = (u64)&far_pointer;
	run_kernel(far_jump);
	trapped(13, 12 * 8, far_jump_at);
	far((void *)(1ull << 63), SEL_CODE64);
	in.rax = (u64)&far_pointer;
	run_kernel(far_jump);
	trapped(13, 0, far_jump_at);
	end();
	begin("far/conforming", "");
	far((void *)USER(far_target), free_gdt(DESCRIPTOR(0, 0xfffff, 0x9e, 0xa)));
	in.rax = USER(&far_pointer);
	run_user(far_jump);
	finished();
	check("cs keeps CPL", out.rax, 12 * 8 | 3);
	end();
	begin("far/compatibility-to-64", "");
	run_compat(to_64);
	finished();
	check("cs", trap.cs, SEL_CODE64);
	end();
	begin("far/call-and-return", "");
	far(far_returns, SEL_CODE64);
	in.rax = (u64)&far_pointer;
	run_kernel(call_and_back);
	finished();
	check("came back", out.rbx, 7);
	check("rsp", trap.rsp, (u64)kernel_stack_top);
	end();
	begin("far/return-outward", "");
	in.rsp = (u64)kernel_stack_top - 32;
	((u64 *)kernel_stack_top)[-4] = USER(far_target);
	((u64 *)kernel_stack_top)[-3] = SEL_USER64;
	((u64 *)kernel_stack_top)[-2] = USER(user_stack_top) - 8;
	((u64 *)kernel_stack_top)[-1] = SEL_UDATA;
	run_kernel(far_returns);
	finished();
	check("cs", trap.cs, SEL_USER64);
	check("ss", trap.ss, SEL_UDATA);
	check("rsp", trap.rsp, USER(user_stack_top) - 8);
	in.rsp = (u64)kernel_stack_top - 40;
	((u64 *)kernel_stack_top)[-5] = USER(far_target);
	((u64 *)kernel_stack_top)[-4] = SEL_USER64;
	((u64 *)kernel_stack_top)[-3] = 0;
	((u64 *)kernel_stack_top)[-2] = USER(user_stack_top) - 64;
	((u64 *)kernel_stack_top)[-1] = SEL_UDATA;
	run_kernel(far_returns_8);
	finished();
	check("rsp of both stacks moves", trap.rsp, USER(user_stack_top) - 56);
	in.rcx = SEL_CODE64;
	in.rax = USER(far_target);
	run_user(far_return_there); /* not inward */
	trapped(13, SEL_CODE64, far_return_there_at);
	end();
	begin("far/call-gate", "");
	call_gate(gate_handler, SEL_CODE64, 0xec);
	far(0, 14 * 8);
	in.rax = USER(&far_pointer);
	run_user(call_and_back);
	finished();
	check("came back", out.rbx, 7);
	check("cs inside", out.rcx, SEL_CODE64);
	check("ss inside", out.rdx, 0);
	check("rsp inside", out.rsi, (u64)rsp0_stack_top - 32);
	check("pushed rsp", ((u64 *)rsp0_stack_top)[-2], USER(user_stack_top));
	check("pushed ss", ((u64 *)rsp0_stack_top)[-1], SEL_UDATA);
	end();
	begin("far/call-gate-privilege", "");
	call_gate(gate_handler, SEL_CODE64, 0x8c);
	in.rax = USER(&far_pointer);
	run_user(far_call);
	trapped(13, 14 * 8, far_call_at);
	call_gate(gate_handler, SEL_CODE64, 0x6c);
	in.rax = USER(&far_pointer);
	run_user(far_call);
	trapped(11, 14 * 8, far_call_at);
	call_gate(gate_handler, SEL_CODE32, 0xec); /* 64-bit targets only */
	in.rax = USER(&far_pointer);
	run_user(far_call);
	trapped(13, SEL_CODE32, far_call_at);
	end();
}

/* ---- IRET ------------------------------------------------------------------------------------ */

CODE(iret_64, "", "iretq", "");
CODE(iret_32, "", "iretl", "");
CODE(iret_16, "", "iretw", "");
CODE32(iret_legacy, "", "iret", "");

static u64 *frame(u64 rip, u64 cs, u64 flags, u64 rsp, u64 ss)
{
	u64 *f = (u64 *)kernel_stack_top - 5;

	f[0] = rip;
	f[1] = cs;
	f[2] = flags;
	f[3] = rsp;
	f[4] = ss;
	in.rsp = (u64)f;
	return f;
}

static void returns(void)
{
	begin("iret/same-level", "iretq");
	frame((u64)far_target, SEL_CODE64, 2 | FLAG_CF | FLAG_AC | FLAG_ID,
	      (u64)kernel_stack_top - 128, SEL_DATA);
	run_kernel(iret_64);
	finished();
	check("rsp", trap.rsp, (u64)kernel_stack_top - 128);
	check("flags", trap.rflags, 2 | FLAG_CF | FLAG_AC | FLAG_ID);
	frame((u64)far_target, SEL_CODE64, 2, (u64)kernel_stack_top - 128, 0);
	run_kernel(iret_64); /* null SS at CPL 0 of 64-bit mode */
	finished();
	check("ss", trap.ss, 0);
	end();
	begin("iret/outward", "iretq");
	in.ds = SEL_DATA;
	frame(USER(far_target), SEL_USER64, 2 | FLAG_IF, USER(user_stack_top), SEL_UDATA);
	run_kernel(iret_64);
	finished();
	check("cs", trap.cs, SEL_USER64);
	check("ds of the kernel is emptied", trap.ds, 0);
	check("IF", trap.rflags & FLAG_IF, FLAG_IF);
	frame(USER(far_target), SEL_USER64, 2, USER(user_stack_top), 0);
	run_kernel(iret_64);
	trapped(13, 0, iret_64_at);
	frame(USER(far_target), SEL_USER64, 2, USER(user_stack_top), SEL_DATA | 3);
	run_kernel(iret_64);
	trapped(13, SEL_DATA, iret_64_at);
	frame(USER(far_target), SEL_USER64 & ~3, 2, USER(user_stack_top), SEL_UDATA);
	run_kernel(iret_64); /* RPL 0, DPL 3 */
	trapped(13, SEL_USER64 & ~3, iret_64_at);
	frame(USER(far_target), 0, 2, USER(user_stack_top), SEL_UDATA);
	run_kernel(iret_64);
	trapped(13, 0, iret_64_at);
	end();
	begin("iret/inward-is-refused", "iretq");
	((u64 *)user_stack_top)[-5] = (u64)far_target;
	((u64 *)user_stack_top)[-4] = SEL_CODE64;
	((u64 *)user_stack_top)[-3] = 2;
	((u64 *)user_stack_top)[-2] = (u64)kernel_stack_top;
	((u64 *)user_stack_top)[-1] = SEL_DATA;
	in.rsp = USER(user_stack_top) - 40;
	run_user(iret_64);
	trapped(13, SEL_CODE64, iret_64_at);
	end();
	begin("iret/user-flags", "iretq");
	((u64 *)user_stack_top)[-5] = USER(far_target);
	((u64 *)user_stack_top)[-4] = SEL_USER64;
	((u64 *)user_stack_top)[-3] = 2 | FLAG_IOPL | FLAG_IF | FLAG_CF;
	((u64 *)user_stack_top)[-2] = USER(user_stack_top);
	((u64 *)user_stack_top)[-1] = SEL_UDATA;
	in.rsp = USER(user_stack_top) - 40;
	run_user(iret_64);
	finished();
	check("neither IOPL nor IF", trap.rflags, 2 | FLAG_CF);
	end();
	begin("iret/nested-task", "iretq");
	in.rflags = 2 | FLAG_NT;
	frame((u64)far_target, SEL_CODE64, 2, (u64)kernel_stack_top, SEL_DATA);
	run_kernel(iret_64);
	trapped(13, 0, iret_64_at);
	end();
	begin("iret/to-compatibility", "iretq iretd");
	frame(USER(far_target), SEL_USER32, 2, USER(user_stack_top), SEL_UDATA);
	run_kernel(iret_64);
	finished();
	check("cs", trap.cs, SEL_USER32);
	((u32 *)kernel_stack_top)[-5] = USER(far_target);
	((u32 *)kernel_stack_top)[-4] = SEL_USER32;
	((u32 *)kernel_stack_top)[-3] = 2 | FLAG_CF;
	((u32 *)kernel_stack_top)[-2] = USER(user_stack_top);
	((u32 *)kernel_stack_top)[-1] = SEL_UDATA;
	in.rsp = (u64)kernel_stack_top - 20;
	run_kernel(iret_32);
	finished();
	check("cs from 32-bit slots", trap.cs, SEL_USER32);
	check("flags", trap.rflags, 2 | FLAG_CF);
	end();
	begin("iret/in-compatibility", "iretd iret");
	((u32 *)kernel_stack_top)[-3] = (u64)far_target;
	((u32 *)kernel_stack_top)[-2] = SEL_CODE32;
	((u32 *)kernel_stack_top)[-1] = 2 | FLAG_CF;
	in.rsp = (u64)kernel_stack_top - 12;
	run_compat(iret_legacy); /* same level: SS and ESP stay */
	finished();
	check("rsp", trap.rsp, (u64)kernel_stack_top);
	check("flags", trap.rflags, 2 | FLAG_CF);
	((u16 *)kernel_stack_top)[-5] = 0;
	((u16 *)kernel_stack_top)[-4] = SEL_CODE32;
	((u16 *)kernel_stack_top)[-3] = 2;
	((u16 *)kernel_stack_top)[-2] = 0;
	((u16 *)kernel_stack_top)[-1] = SEL_DATA;
	in.rsp = (u64)kernel_stack_top - 10;
	((u16 *)kernel_stack_top)[-4] = 0; /* 16-bit slots, null CS */
	run_kernel(iret_16);
	trapped(13, 0, iret_16_at);
	end();
}

void cases_segment(void)
{
	test_reset();
	if (cpu_has(7, 0, 1, 0)) {
		WRITE_CR(4, READ_CR(4) | 1 << 16);
		begin("segment/base-of-fs", "rdfsbase");
		in.rax = free_gdt(DESCRIPTOR(0x87654321, 0xfffff, 0xf3, 0xc));
		run_kernel(load_fs);
		check("zero-extended", out.rcx, 0x87654321);
		__asm__ volatile("mov %0, %%fs" : : "r"(0));
		WRITE_CR(4, READ_CR(4) & ~(1ull << 16));
		end();
	}
	loads();
	questions();
	limits();
	far_transfers();
	returns();
}
