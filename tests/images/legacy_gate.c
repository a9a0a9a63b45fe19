/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events and call gates of 32-bit protected mode: gates of 32 and 16 bits, frames, the stack of the
 * TSS, the way back. SDM 5.8, 6.11 to 6.13, 7.2; vol. 2, INT n, IRET, CALL, RET.
 */
#include "legacy.h"

CODE32(int_50, "", "int $0x50", "");
CODE32(int_51, "", "int $0x51", "");
CODE32(int_50_sti, "sti", "int $0x50", "");
CODE32(divide_32, "xor %ecx, %ecx", "div %ecx", "");
CODE32(undefined_32, "", "ud2", "");
CODE32(load_fs, "", "mov %eax, %fs", "");
CODE32(nothing_32, "", "nop", "");
/* To ring 3 and its first instruction. */
CODE32(return_outward, "mov %ecx, %fs; push $0x2b; push %ebx; push $0x202; push $0x23; push %edx",
       "iretl", "");
CODE32(return_same, "push $0xad7; mov %cs, %ecx; push %ecx; push %edx", "iretl", "");
CODE32(return_words, "pushw $0xad7; mov %cs, %ecx; push %cx; push %dx", "iretw", "");
CODE32(show_fs, "mov %fs, %ecx", "nop", "");
CODE32(call_gate, "push $0x11111111; push $0x22222222; mov %esp, %esi", "lcall *(%eax)",
       "mov %esp, %edi");
CODE32(jump_gate, "", "ljmp *(%eax)", "");
CODE32(return_32, "mov %cs, %ecx; mov %ss, %edx; mov %esp, %ebx; mov 8(%esp), %eax", "lret $8", "");
CODE32(stop_32, "mov %esp, %ebx", "nop", "");

extern char legacy_stub16[];

#define GATE      10 /* indexes of the GDT that are free here */
#define FREE      11
#define STUB16    12
#define RSP0      ((u64)rsp0_stack_top)
#define TOP       ((u64)kernel_stack_top)
#define USER_TOP  USER(user_stack_top)
#define SS32(dpl) DESCRIPTOR(0, 0xfffff, 0x93 | (dpl) << 5, 0xc)

static void frames(void)
{
	gate32_set(0x50, 0xe, 3);
	gate32_set(0x51, 0xf, 3);
	begin("gate32/interrupt", "int");
	in.rflags = 2 | FLAG_IF | FLAG_CF;
	run_legacy(int_50);
	trapped(0x50, NO_ERROR, int_50_end);
	check("flags", trap.rflags, 2 | FLAG_IF | FLAG_CF);
	check("if", trap.handler_flags & FLAG_IF, 0);
	check("cs", trap.cs, SEL_CODE32);
	check("frame", TOP - trap.handler_rsp, 12);
	end();
	begin("gate32/trap", "int");
	in.rflags = 2 | FLAG_IF;
	run_legacy(int_51);
	trapped(0x51, NO_ERROR, int_51_end);
	check("if", trap.handler_flags & FLAG_IF, FLAG_IF);
	end();
	begin("gate32/clears-tf-nt", "");
	in.rflags = 2 | FLAG_NT | FLAG_DF;
	run_legacy(undefined_32);
	check("iret with nt", trap.vector, 6);
	check("flags", trap.rflags & (FLAG_NT | FLAG_DF), FLAG_NT | FLAG_DF);
	check("in the handler", trap.handler_flags & (FLAG_NT | FLAG_TF | FLAG_DF), FLAG_DF);
	end();
	begin("gate32/faults", "");
	run_legacy(divide_32);
	trapped(0, NO_ERROR, divide_32_at);
	check("rf", trap.rflags & FLAG_RF, FLAG_RF);
	run_legacy(undefined_32);
	trapped(6, NO_ERROR, undefined_32_at);
	in.rax = SEL_FREE + 0x100;
	run_legacy(load_fs);
	trapped(13, SEL_FREE + 0x100, load_fs_at);
	check("frame", TOP - trap.handler_rsp, 12);
	end();
}

static void inner(void)
{
	begin("gate32/inner-stack", "int");
	in.rflags = 2 | FLAG_IF;
	run_legacy_user(int_50);
	trapped(0x50, NO_ERROR, int_50_end);
	check("cs", trap.cs, SEL_USER32);
	check("ss", trap.ss, SEL_UDATA);
	check("esp", trap.rsp, USER_TOP);
	check("handler ss", trap.handler_ss, SEL_DATA);
	check("handler cs", trap.handler_cs, SEL_CODE32);
	check("frame", RSP0 - trap.handler_rsp, 20);
	check("ds", trap.ds, SEL_UDATA); /* data segments stay */
	end();
	begin("gate32/inner-error-code", "");
	in.rax = SEL_DATA;
	run_legacy_user(load_fs);
	trapped(13, SEL_DATA, load_fs_at);
	check("esp", trap.rsp, USER_TOP);
	end();
	begin("gate32/privilege", "int");
	gate32_set(0x50, 0xe, 0);
	run_legacy_user(int_50);
	trapped(13, 0x50 * 8 + 2, int_50_at);
	gate32_set(0x50, 0xe, 3);
	end();
	begin("gate32/not-present", "int");
	gate32_set(0x50, 0, 3);
	run_legacy_user(int_50);
	trapped(11, 0x50 * 8 + 2, int_50_at);
	gate32_set(0x50, 0xe, 3);
	end();
	begin("gate32/idt-limit", "int");
	world.idt_limit = 0x50 * 8 + 6;
	run_legacy_user(int_50);
	trapped(13, 0x50 * 8 + 2, int_50_at);
	world.idt_limit = 0x50 * 8 + 7;
	run_legacy_user(int_50);
	trapped(0x50, NO_ERROR, int_50_end);
	world.idt_limit = sizeof(idt32) - 1;
	end();
	begin("gate32/bad-type", "int");
	idt32[0x50] ^= 1ull << 43 | 1ull << 41; /* type 4: a call gate */
	run_legacy_user(int_50);
	trapped(13, 0x50 * 8 + 2, int_50_at);
	gate32_set(0x50, 0xe, 3);
	end();
	begin("gate32/null-code", "int");
	idt32[0x50] &= ~0xffff0000ull;
	run_legacy(int_50);
	trapped(13, 0, int_50_at);
	gate32_set(0x50, 0xe, 3);
	end();
	begin("gate32/outer-code", "int");
	idt32[0x50] = (idt32[0x50] & ~0xffff0000ull) | SEL_USER32 << 16;
	run_legacy(int_50);
	trapped(13, SEL_USER32 & ~3, int_50_at);
	gate32_set(0x50, 0xe, 3);
	end();
}

/* What is wrong with the inner stack is found out in the outer level: #TS and #SS go by a gate
 * whose code is the outer level's own, which 16-bit gates do not reach; so they are double faults,
 * unless the handler's stack is good: the stack is bad for 0x50 alone, as ring 1's. */
static void bad_stack(u32 ss1, u64 descriptor, u64 vector, u64 error)
{
	tss32.rest[0] = (u32)(u64)ist_stack_top; /* ESP1 */
	tss32.rest[1] = ss1;
	gdt_set(FREE, descriptor);
	run_legacy_user(int_50);
	trapped(vector, error, int_50_at);
	check("esp", trap.rsp, USER_TOP);
}

static void stacks(void)
{
	u16 code1 = gdt_set(GATE, DESCRIPTOR(0, 0xfffff, 0xbb, 0xc)) | 1;
	u16 free = FREE * 8;

	/* through ring 1, which may run in kernel pages only without paging's user bit: no paging
	 * here */
	idt32[0x50] = (idt32[0x50] & ~0xffff0000ull) | (u64)code1 << 16;
	begin("gate32/tss-stack-null", "int");
	bad_stack(0, 0, 10, 0);
	end();
	begin("gate32/tss-stack-privilege", "int");
	bad_stack(free, SS32(1), 10, free); /* RPL */
	bad_stack(free | 1, SS32(0), 10, free);
	bad_stack(free | 1, SS32(2), 10, free);
	end();
	begin("gate32/tss-stack-type", "int");
	bad_stack(free | 1, DESCRIPTOR(0, 0xfffff, 0xb1, 0xc), 10, free); /* read only */
	bad_stack(free | 1, DESCRIPTOR(0, 0xfffff, 0xbb, 0xc), 10, free); /* code */
	bad_stack(0x3f1, 0, 10, 0x3f0);                                   /* beyond the table */
	end();
	begin("gate32/tss-stack-not-present", "int");
	bad_stack(free | 1, DESCRIPTOR(0, 0xfffff, 0x33, 0xc), 12, free);
	end();
	begin("gate32/tss-stack-limit", "int");
	bad_stack(free | 1, DESCRIPTOR(0, 0xfff, 0xb3, 0x4), 12, free);
	end();
	begin("gate32/tss-limit", "int");
	tss32_set(9, 16); /* SS1 is at 16 */
	bad_stack(free | 1, SS32(1), 10, SEL_TSS32);
	tss32_set(9, sizeof(tss32) - 1);
	end();
	gate32_set(0x50, 0xe, 3);
}

static void words(void)
{
	static struct {
		u16 link, sp0, ss0, rest[19];
	} tss16;

	gdt_set(STUB16, DESCRIPTOR((u64)legacy_stub16, 0xffff, 0x9b, 0x4));
	idt32[0x50] = STUB16 * 8 << 16 | 0x8600ull << 32 | 3ull << 45;
	idt32[0x51] = STUB16 * 8 << 16 | 0x8700ull << 32 | 3ull << 45;
	begin("gate16/interrupt", "int");
	in.rflags = 2 | FLAG_IF | FLAG_CF;
	run_legacy(int_50);
	check("vector", trap.vector, 0x200);
	check("ip", trap.rip, (u16)(u64)int_50_end);
	check("cs", trap.cs, SEL_CODE32);
	check("flags", trap.rflags, 2 | FLAG_IF | FLAG_CF);
	check("if", trap.handler_flags & FLAG_IF, 0);
	check("frame", TOP - trap.handler_rsp, 6);
	in.rflags = 2 | FLAG_IF;
	run_legacy(int_51);
	check("vector", trap.vector, 0x200);
	check("if of a trap", trap.handler_flags & FLAG_IF, FLAG_IF);
	end();
	begin("gate16/inner", "int");
	run_legacy_user(int_50);
	check("vector", trap.vector, 0x200);
	check("ss", trap.ss, SEL_UDATA);
	check("sp", trap.rsp, (u16)USER_TOP);
	check("frame", RSP0 - trap.handler_rsp, 10);
	end();
	begin("gate16/offset", "int"); /* its upper half is not used */
	idt32[0x50] |= 0xffffull << 48;
	run_legacy(int_50);
	check("vector", trap.vector, 0x200);
	end();
	gate32_set(0x50, 0xe, 3);
	gate32_set(0x51, 0xf, 3);
	/* SS0:SP0 of words; the stack ends below 64 KiB of its segment */
	begin("gate32/tss-of-16-bits", "int");
	gdt_set(FREE, DESCRIPTOR((u64)rsp0_stack_top - 0x1000, 0xffff, 0x93, 0));
	tss16.sp0 = 0x1000;
	tss16.ss0 = FREE * 8;
	gdt_set(SEL_TSS32 / 8, DESCRIPTOR((u64)&tss16, sizeof(tss16) - 1, 0x81, 0));
	run_legacy_user(int_50);
	trapped(0x50, NO_ERROR, int_50_end);
	check("handler ss", trap.handler_ss, FREE * 8);
	check("handler sp", trap.handler_rsp & 0xffff, 0x1000 - 20);
	check("esp", trap.rsp, USER_TOP);
	tss32_set(9, sizeof(tss32) - 1);
	end();
}

static void returns(void)
{
	begin("iret32/same-level", "iretd");
	in.rdx = (u64)nothing_32;
	run_legacy(return_same);
	finished();
	check("flags", trap.rflags & 0xfff, 0xad7);
	check("esp", trap.rsp, TOP);
	end();
	begin("iret32/words", "iret");
	in.rdx = (u64)nothing_32;
	run_legacy(return_words);
	check("vector", trap.vector == DONE && trap.rip == (u64)nothing_32, 0); /* IP has 16 bits */
	end();
	begin("iret32/outward", "iretd");
	in.rbx = USER_TOP - 64;
	in.rcx = SEL_DATA;
	in.rdx = USER(show_fs);
	in.ds = SEL_UDATA;
	run_legacy(return_outward);
	finished();
	check("cs", trap.cs, SEL_USER32);
	check("ss", trap.ss, SEL_UDATA);
	check("esp", trap.rsp, USER_TOP - 64);
	check("if", trap.rflags & FLAG_IF, FLAG_IF);
	check("fs, the kernel's, is null", out.rcx & 0xffff, 0);
	check("ds stays", trap.ds, SEL_UDATA);
	end();
}

static void call_gates(void)
{
	static struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) pointer = { 0xdead, GATE * 8 | 3 };
	u64 at = (u64)return_32;

	gdt_set(GATE,
		(at & 0xffff) | SEL_CODE32 << 16 | 2ull << 32 | 0xecull << 40 | at >> 16 << 48);
	begin("call-gate32/inward-and-back", "call ret");
	in.rax = USER(&pointer);
	run_legacy_user(call_gate);
	finished();
	check("cs", out.rcx & 0xffff, SEL_CODE32);
	check("ss", out.rdx & 0xffff, SEL_DATA);
	check("frame", RSP0 - out.rbx, 24);
	check("parameter", out.rax, 0x22222222);
	check("esp after", out.rdi, USER_TOP);
	end();
	begin("call-gate32/same-level", "call");
	in.rax = (u64)&pointer;
	run_legacy(call_gate);
	finished();
	check("frame", out.rsi - out.rbx, 8); /* no parameters are copied */
	check("parameter", out.rax, 0x22222222);
	end();
	begin("call-gate32/jump", "jmp");
	in.rax = USER(&pointer);
	run_legacy_user(jump_gate);
	trapped(13, SEL_CODE32, jump_gate_at);
	end();
	begin("call-gate32/privilege", "call");
	boot_gdt[GATE] &= ~(3ull << 45);
	in.rax = USER(&pointer);
	run_legacy_user(call_gate);
	trapped(13, GATE * 8, call_gate_at);
	boot_gdt[GATE] |= 3ull << 45;
	boot_gdt[GATE] &= ~(1ull << 47);
	in.rax = USER(&pointer);
	run_legacy_user(call_gate);
	trapped(11, GATE * 8, call_gate_at);
	end();
	at = (u64)legacy_stub16; /* words: IP, CS and one parameter of a gate of 16 bits */
	gdt_set(GATE, STUB16 * 8 << 16 | 1ull << 32 | 0xe4ull << 40 | 0xffffull << 48);
	begin("call-gate32/words", "call");
	in.rax = USER(&pointer);
	run_legacy_user(call_gate);
	check("vector", trap.vector, 0x200);
	check("ip", trap.rip, (u16)USER(call_gate_end));
	check("cs", trap.cs, SEL_USER32);
	check("parameter", trap.rflags, 0x2222);
	check("frame", RSP0 - trap.handler_rsp, 10);
	check("sp", trap.rsp, (u16)(USER_TOP - 8));
	check("ss", trap.ss, SEL_UDATA);
	end();
}

void cases_gate(void)
{
	world_pae();
	frames();
	inner();
	world_two_level();
	stacks();
	world_pae();
	words();
	returns();
	call_gates();
	world_flat();
}
