/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that a C function executes, by the pseudocode of SDM vol. 2: decimal adjustment,
 * stack composites, flags, and the string instructions with faults in the middle of what they do.
 */
#include "cases.h"

/* ---- 32-bit code ----------------------------------------------------------------------------- */

CODE32(decimal_aaa, "", "aaa", "pushf; pop %ebx");
CODE32(decimal_aas, "", "aas", "pushf; pop %ebx");
CODE32(decimal_daa, "", "daa", "pushf; pop %ebx");
CODE32(decimal_das, "", "das", "pushf; pop %ebx");
CODE32(decimal_aam, "", "aam", "pushf; pop %ebx");
CODE32(decimal_aam0, "", ".byte 0xd4, 0", "");
CODE32(decimal_aad, "", "aad", "pushf; pop %ebx");
CODE32(carry_salc, "", ".byte 0xd6", "");
CODE32(push_all, "", "pusha", "mov %esp, %eax");
CODE32(push_all16, "", "pushaw", "mov %esp, %eax");
CODE32(pop_all, "pusha; movl $0x11, 12(%esp)", "popa", "");
CODE32(pop_all16, "pushaw; movw $0x11, 6(%esp)", "popaw", "");
CODE32(adjust_rpl, "", "arpl %cx, %ax", "pushf; pop %ebx");
CODE32(load_lds, "", "lds (%eax), %ecx", "mov %ds, %edx");
CODE32(load_les, "", "les (%eax), %ecx", "mov %es, %edx");
CODE32(make_frame, "lea -64(%esp), %ebp; movl $0x77, -4(%ebp)", "enter $16, $2", "");
CODE32(push_popfd, "", "pushf; popf", "pushf; pop %eax");
CODE32(loop_wide, "xor %eax, %eax; 1: inc %eax", "loop 1b", "");
CODE32(loop_narrow, "xor %eax, %eax; 1: inc %eax", ".byte 0x67; loop 1b", "");
CODE32(loop_equal,
       "xor %eax, %eax; 1: inc %eax; cmp $3, %eax; setne %dl; test $0, %dl; cmp $3, %eax",
       "loopne 1b", "");
CODE32(jump_cxz, "mov $0x10000, %ecx; xor %eax, %eax", ".byte 0x67; jecxz 1f; inc %eax; 1:", "");

static void decimal(void)
{
	begin("insn/decimal-add", "aaa daa");
	in.rax = 0x00ff;
	run_compat(decimal_aaa);
	check("aaa", out.rax, 0x0205);
	check("aaa flags", out.rbx & (FLAG_AF | FLAG_CF), FLAG_AF | FLAG_CF);
	in.rax = 0x0105;
	run_compat(decimal_aaa);
	check("aaa of a digit", out.rax, 0x0105);
	check("its flags", out.rbx & (FLAG_AF | FLAG_CF), 0);
	in.rax = 0xae; /* SDM: 79 + 35 */
	run_compat(decimal_daa);
	check("daa", out.rax, 0x14);
	check("daa flags", out.rbx & (FLAG_AF | FLAG_CF | FLAG_SF | FLAG_ZF | FLAG_PF),
	      FLAG_AF | FLAG_CF | FLAG_PF);
	end();
	begin("insn/decimal-subtract", "aas das");
	in.rax = 0x02ff;
	run_compat(decimal_aas);
	check("aas", out.rax, 0x0109);
	check("aas flags", out.rbx & (FLAG_AF | FLAG_CF), FLAG_AF | FLAG_CF);
	in.rax = 0xee; /* SDM: 35 - 47 */
	in.rflags = 2 | FLAG_CF | FLAG_AF;
	run_compat(decimal_das);
	check("das", out.rax, 0x88);
	check("das flags", out.rbx & (FLAG_AF | FLAG_CF | FLAG_SF | FLAG_ZF),
	      FLAG_AF | FLAG_CF | FLAG_SF);
	end();
	begin("insn/decimal-multiply", "aam aad");
	in.rax = 63;
	run_compat(decimal_aam);
	check("aam", out.rax, 0x0603);
	run_compat(decimal_aam0);
	trapped(0, NO_ERROR, decimal_aam0_at);
	in.rax = 0x0603;
	run_compat(decimal_aad);
	check("aad", out.rax, 63);
	end();
	begin("insn/salc", "salc");
	in.rax = 0x1234;
	in.rflags = 2 | FLAG_CF;
	run_compat(carry_salc);
	check("with carry", out.rax, 0x12ff);
	in.rax = 0x1234;
	run_compat(carry_salc);
	check("without", out.rax, 0x1200);
	end();
}

static void composites(void)
{
	u32 *stack;

	begin("insn/pusha", "pusha pushad");
	in.rax = 1;
	in.rcx = 2;
	in.rdi = 8;
	in.rsp = TEST(1) + 0x800;
	test_reset();
	run_compat(push_all);
	finished();
	stack = (u32 *)(test_memory[1] + 0x800 - 32);
	check("esp", out.rax, (u32)TEST(1) + 0x800 - 32);
	check("edi", stack[0], 8);
	check("pushed esp", stack[3], (u32)TEST(1) + 0x800);
	check("ecx", stack[6], 2);
	check("eax", stack[7], 1);
	in.rax = 0xaabb;
	in.rsp = TEST(1) + 0x800;
	run_compat(push_all16);
	check("esp of 16 bit", (u32)out.rax, (u32)TEST(1) + 0x800 - 16);
	check("ax", stack[7] >> 16, 0xaabb);
	in.rsp = TEST(1) + 16; /* the upper half is pushed, the lower half is not there */
	test_map(0, 0);
	gate_set(14, 0xe, 0, 1);
	run_compat(push_all);
	gate_set(14, 0xe, 0, 0);
	trapped(14, 2, push_all_at);
	check("esp after the fault", trap.rsp, TEST(1) + 16);
	test_map(0, PTE_P | PTE_W | PTE_U);
	end();
	begin("insn/popa", "popa popad");
	in.rbx = 0xb;
	in.rdx = 0xd;
	run_compat(pop_all);
	finished();
	check("ebx", out.rbx, 0xb);
	check("edx", out.rdx, 0xd);
	check("esp ignores its image", trap.rsp, (u64)kernel_stack_top);
	in.rbx = 0x1000b;
	run_compat(pop_all16);
	check("bx", out.rbx, 0x1000b);
	end();
	begin("insn/enter", "enter");
	run_compat(make_frame);
	finished();
	check("ebp", out.rbp, (u64)kernel_stack_top - 4);
	check("esp", trap.rsp, (u64)kernel_stack_top - 4 - 8 - 16);
	check("copied frame pointer", ((u32 *)kernel_stack_top)[-2], 0x77);
	check("own frame pointer", ((u32 *)kernel_stack_top)[-3], (u32)(u64)kernel_stack_top - 4);
	end();
	begin("insn/arpl", "arpl");
	in.rax = 0x40;
	in.rcx = 3;
	run_compat(adjust_rpl);
	check("raised", out.rax, 0x43);
	check("zf", out.rbx & FLAG_ZF, FLAG_ZF);
	in.rax = 0x43;
	in.rcx = 2;
	run_compat(adjust_rpl);
	check("kept", out.rax, 0x43);
	check("no zf", out.rbx & FLAG_ZF, 0);
	end();
	begin("insn/lds-les", "lds les");
	((u32 *)test_memory[1])[0] = 0x12345678;
	((u16 *)test_memory[1])[2] = SEL_DATA;
	in.rax = TEST(1);
	run_compat(load_lds);
	finished();
	check("offset", out.rcx, 0x12345678);
	check("ds", trap.ds, SEL_DATA);
	in.rax = TEST(1);
	run_compat(load_les);
	check("es", trap.es, SEL_DATA);
	end();
	begin("insn/loop-width", "");
	in.rcx = 0x10002;
	run_compat(loop_narrow);
	finished();
	check("times, by CX", out.rax, 2);
	check("ecx", out.rcx, 0x10000);
	in.rcx = 3;
	run_compat(loop_wide);
	check("times, by ECX", out.rax, 3);
	in.rcx = 9;
	run_compat(loop_equal);
	check("until equal", out.rax, 3);
	run_compat(jump_cxz);
	finished();
	check("jcxz", out.rax, 0);
	end();
}

CODE(flags_popfq, "push %rax", "popfq", "pushfq; pop %rax");
CODE(flags_popf16, "pushw %ax", "popfw", "pushfw; popw %ax");
CODE(flags_cld_std, "std; pushfq; pop %rax", "cld", "pushfq; pop %rcx");
CODE(table_xlat, "", "xlat", "");

static void flags(void)
{
	begin("insn/popf-kernel", "popf popfq pushf pushfq");
	in.rax = 0xffffffff & ~(FLAG_TF | FLAG_IF | FLAG_NT);
	run_kernel(flags_popfq);
	check("all but the reserved, RF, VM, VIF, VIP", out.rax,
	      2 | FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_DF | FLAG_OF | FLAG_IOPL |
		      FLAG_AC | FLAG_ID);
	in.rax = 0x8d5 | FLAG_IOPL;
	in.rflags = 2 | FLAG_AC;
	run_kernel(flags_popf16);
	check("16 bits", out.rax & 0xffff, 0x8d7 | FLAG_IOPL);
	check("upper half stays", trap.rflags & FLAG_AC, FLAG_AC);
	end();
	begin("insn/popf-user", "popfq");
	in.rax = FLAG_IOPL | FLAG_IF | FLAG_CF;
	run_user(flags_popfq);
	check("neither IOPL nor IF", out.rax, 2 | FLAG_CF);
	in.rax = 0;
	in.rflags = 2 | FLAG_IOPL | FLAG_IF;
	run_user(flags_popfq);
	check("IF with IOPL 3, IOPL stays", out.rax, 2 | FLAG_IOPL);
	end();
	begin("insn/popfd", "popfd pushfd");
	in.rflags = 2 | FLAG_CF | FLAG_OF | FLAG_AC;
	run_compat(push_popfd);
	check("eax", out.rax, 2 | FLAG_CF | FLAG_OF | FLAG_AC);
	end();
	begin("insn/direction", "cld std");
	run_kernel(flags_cld_std);
	check("std", out.rax & FLAG_DF, FLAG_DF);
	check("cld", out.rcx & FLAG_DF, 0);
	end();
	begin("insn/xlat", "xlat");
	test_memory[1][0xf0] = 0x99;
	in.rbx = TEST(1);
	in.rax = 0x11f0;
	run_kernel(table_xlat);
	check("rax", out.rax, 0x1199);
	end();
}

/* ---- strings --------------------------------------------------------------------------------- */

CODE(copy_b, "", "rep movsb", "");
CODE(copy_w, "", "rep movsw", "");
CODE(copy_d, "", "rep movsl", "");
CODE(copy_q, "", "rep movsq", "");
CODE(copy_back, "std", "rep movsb", "cld");
CODE(fill_b, "", "rep stosb", "");
CODE(fill_w, "", "rep stosw", "");
CODE(fill_d, "", "rep stosl", "");
CODE(fill_q, "", "rep stosq", "");
CODE(load_b, "", "lodsb", "");
CODE(load_w, "", "lodsw", "");
CODE(load_d, "", "lodsl", "");
CODE(load_q, "", "lodsq", "");
CODE(scan_b, "", "repne scasb", "pushfq; pop %rbx");
CODE(scan_w, "", "repne scasw", "pushfq; pop %rbx");
CODE(scan_d, "", "repe scasl", "pushfq; pop %rbx");
CODE(scan_q, "", "repe scasq", "pushfq; pop %rbx");
CODE(compare_b, "", "repe cmpsb", "pushfq; pop %rbx");
CODE(compare_w, "", "repe cmpsw", "pushfq; pop %rbx");
CODE(compare_d, "", "repne cmpsl", "pushfq; pop %rbx");
CODE(compare_q, "", "repe cmpsq", "pushfq; pop %rbx");
CODE(copy_narrow, "", ".byte 0x67; rep movsb", "");
CODE(in_b, "mov $0x21, %edx; inb %dx, %al", "insb", "");
CODE(in_w, "mov $0xcfc, %edx; inw %dx, %ax", "insw", "");
CODE(in_d, "mov $0xcf8, %edx; inl %dx, %eax", "insl", "");
CODE(out_b, "mov $0x21, %edx", "outsb", "inb %dx, %al");
CODE(out_w, "mov $0xcfc, %edx", "outsw", "");
CODE(out_d, "mov $0xcf8, %edx", "outsl", "inl %dx, %eax");

static const struct {
	const char *name, *rows, *code, *at;
	unsigned size;
} copies[] = {
	{ "string/movsb", "movsb", copy_b, copy_b_at, 1 },
	{ "string/movsw", "movsw", copy_w, copy_w_at, 2 },
	{ "string/movsd", "movsd", copy_d, copy_d_at, 4 },
	{ "string/movsq", "movsq", copy_q, copy_q_at, 8 },
}, fills[] = {
	{ "string/stosb", "stosb", fill_b, fill_b_at, 1 },
	{ "string/stosw", "stosw", fill_w, fill_w_at, 2 },
	{ "string/stosd", "stosd", fill_d, fill_d_at, 4 },
	{ "string/stosq", "stosq", fill_q, fill_q_at, 8 },
}, loads[] = {
	{ "string/lodsb", "lodsb", load_b, load_b_at, 1 },
	{ "string/lodsw", "lodsw", load_w, load_w_at, 2 },
	{ "string/lodsd", "lodsd", load_d, load_d_at, 4 },
	{ "string/lodsq", "lodsq", load_q, load_q_at, 8 },
};

static u64 sum(const u8 *p, unsigned bytes)
{
	u64 total = 0;

	while (bytes--)
		total = total * 31 + *p++;
	return total;
}

/* Copies and fills that end at a page which is not there: how far they got is in the registers, and
 * what they did before is in memory. */
static void string_moves(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(copies); i++) {
		unsigned size = copies[i].size, room = 64 / size;

		begin(copies[i].name, copies[i].rows);
		test_reset();
		for (unsigned n = 0; n < 256; n++)
			test_memory[1][n] = n * 7 + 1;
		test_map(4, 0);
		in.rsi = TEST(1);
		in.rdi = TEST(4) - 64;
		in.rcx = 100;
		run_kernel(copies[i].code);
		trapped(14, 2, copies[i].at);
		check("cr2", trap.cr2, TEST(4));
		check("rcx", out.rcx, 100 - room);
		check("rsi", out.rsi, TEST(1) + 64);
		check("rdi", out.rdi, TEST(4));
		check("copied", sum(test_memory[3] + 4096 - 64, 64), sum(test_memory[1], 64));
		in.rsi = TEST(4) - size;
		in.rdi = TEST(1);
		in.rcx = 2;
		run_user(copies[i].code);
		trapped(14, 4, copies[i].at);
		check("rcx of the source's fault", out.rcx, 1);
		check("its rdi", out.rdi, TEST(1) + size);
		in.rcx = 0;
		in.rsi = 1ull << 63;
		run_kernel(copies[i].code);
		finished();
		end();
	}
	for (unsigned i = 0; i < ARRAY_LEN(fills); i++) {
		unsigned size = fills[i].size;

		begin(fills[i].name, fills[i].rows);
		test_reset();
		test_map(4, PTE_P | PTE_U);
		in.rax = 0x1122334455667788;
		in.rdi = TEST(4) - 32;
		in.rcx = 1000;
		run_user(fills[i].code);
		trapped(14, 7, fills[i].at);
		check("rcx", out.rcx, 1000 - 32 / size);
		check("rdi", out.rdi, TEST(4));
		check("first byte", test_memory[3][4096 - 32], 0x88);
		check("byte before", test_memory[3][4096 - 33], 0);
		check("last byte", test_memory[3][4095],
		      size == 1   ? 0x88
		      : size == 2 ? 0x77
		      : size == 4 ? 0x55
				  : 0x11);
		end();
	}
	for (unsigned i = 0; i < ARRAY_LEN(loads); i++) {
		unsigned size = loads[i].size;

		begin(loads[i].name, loads[i].rows);
		test_reset();
		*(u64 *)test_memory[1] = 0x8899aabbccddeeff;
		in.rax = 0x1111111111111111;
		in.rsi = TEST(1);
		run_kernel(loads[i].code);
		finished();
		check("rsi", out.rsi, TEST(1) + size);
		check("rax", out.rax,
		      size == 1   ? 0x11111111111111ff
		      : size == 2 ? 0x111111111111eeff
		      : size == 4 ? 0xccddeeff
				  : 0x8899aabbccddeeff);
		end();
	}
}

static void string_searches(void)
{
	begin("string/scas", "scasb scasw scasd scasq");
	test_reset();
	test_map(4, 0);
	test_memory[3][4090] = 7;
	in.rax = 7;
	in.rdi = TEST(3) + 4000;
	in.rcx = 500;
	run_kernel(scan_b);
	finished();
	check("rdi", out.rdi, TEST(3) + 4091);
	check("zf", out.rbx & FLAG_ZF, FLAG_ZF);
	in.rax = 0x1234;
	in.rdi = TEST(4) - 8;
	in.rcx = 500;
	run_kernel(scan_w);
	trapped(14, 0, scan_w_at);
	check("rdi at the fault", out.rdi, TEST(4));
	check("rcx at the fault", out.rcx, 496);
	in.rdi = TEST(1);
	in.rcx = 10;
	run_kernel(scan_d);
	check("scasd to the end", out.rcx, 0);
	check("its zf", out.rbx & FLAG_ZF, FLAG_ZF);
	in.rax = 1;
	in.rdi = TEST(1);
	in.rcx = 10;
	run_kernel(scan_q);
	check("scasq stops", out.rcx, 9);
	check("its carry", out.rbx & (FLAG_ZF | FLAG_CF), 0);
	end();
	begin("string/cmps", "cmpsb cmpsw cmpsd cmpsq");
	test_memory[1][10] = 1;
	in.rsi = TEST(1);
	in.rdi = TEST(2);
	in.rcx = 100;
	run_kernel(compare_b);
	check("rcx", out.rcx, 89);
	check("flags of 1 - 0", out.rbx & (FLAG_ZF | FLAG_CF | FLAG_SF), 0);
	in.rsi = TEST(2);
	in.rdi = TEST(1);
	in.rcx = 100;
	run_kernel(compare_w);
	check("cmpsw", out.rcx, 94);
	check("flags of 0 - 1", out.rbx & (FLAG_ZF | FLAG_CF | FLAG_SF), FLAG_CF | FLAG_SF);
	in.rsi = TEST(1) + 8;
	in.rdi = TEST(2);
	in.rcx = 100;
	run_kernel(compare_d);
	check("cmpsd", out.rcx, 98);
	in.rsi = TEST(4) - 16;
	in.rdi = TEST(2);
	in.rcx = 100;
	test_memory[3][4090] = 0;
	run_kernel(compare_q);
	trapped(14, 0, compare_q_at);
	check("cmpsq", out.rcx, 98);
	check("rsi", out.rsi, TEST(4));
	check("rdi", out.rdi, TEST(2) + 16);
	end();
	begin("string/backwards", "");
	test_reset();
	test_memory[2][0] = 0xaa;
	test_map(1, 0);
	in.rsi = TEST(2) + 3;
	in.rdi = TEST(3) + 3;
	in.rcx = 10;
	run_kernel(copy_back);
	trapped(14, 0, copy_back_at);
	check("rcx", out.rcx, 6);
	check("rsi", out.rsi, TEST(2) - 1);
	check("rdi", out.rdi, TEST(3) - 1);
	check("copied", test_memory[3][0], 0xaa);
	test_map(1, PTE_P | PTE_W | PTE_U);
	end();
	begin("string/address-size", "");
	in.rsi = 0x100000000 | TEST(2);
	in.rdi = 0x200000000 | TEST(3);
	in.rcx = 0x300000002;
	run_kernel(copy_narrow);
	finished();
	check("ecx", out.rcx, 0);
	check("esi", out.rsi, TEST(2) + 2);
	check("edi", out.rdi, TEST(3) + 2);
	end();
}

static void string_ports(void)
{
	outl(0xcf8, 0x80000000);
	begin("string/ins", "insb insw insd");
	test_reset();
	in.rdi = TEST(1);
	run_kernel(in_b);
	finished();
	check("insb", test_memory[1][0], out.rax & 0xff);
	check("rdi", out.rdi, TEST(1) + 1);
	in.rdi = TEST(1);
	run_kernel(in_w);
	check("insw", *(u16 *)test_memory[1], out.rax & 0xffff);
	check("rdi of insw", out.rdi, TEST(1) + 2);
	in.rdi = TEST(1);
	run_kernel(in_d);
	check("insd", *(u32 *)test_memory[1], 0x80000000);
	check("rdi of insd", out.rdi, TEST(1) + 4);
	test_map(1, 0);
	in.rdi = TEST(1);
	run_kernel(in_b);
	trapped(14, 2, in_b_at);
	check("rdi of the fault", out.rdi, TEST(1));
	test_map(1, PTE_P | PTE_W | PTE_U);
	end();
	begin("string/outs", "outsb outsw outsd");
	test_memory[1][0] = 0xfb;
	in.rsi = TEST(1);
	run_kernel(out_b);
	finished();
	check("outsb", out.rax & 0xff, 0xfb);
	check("rsi", out.rsi, TEST(1) + 1);
	outb(0x21, 0xff);
	outl(0xcf8, 0x80000004);
	*(u32 *)test_memory[1] = inl(0xcfc);
	in.rsi = TEST(1);
	run_kernel(out_w);
	finished();
	check("rsi of outsw", out.rsi, TEST(1) + 2);
	*(u32 *)test_memory[1] = 0x80000010;
	in.rsi = TEST(1);
	run_kernel(out_d);
	check("outsd", (u32)out.rax, 0x80000010);
	check("rsi of outsd", out.rsi, TEST(1) + 4);
	end();
}

/* ---- across pages ---------------------------------------------------------------------------- */

CODE(store_8, "", "mov %rcx, (%rax)", "");
CODE(load_8, "", "mov (%rax), %rcx", "");
CODE(add_8, "", "lock addq $1, (%rax)", "");
CODE(store_16, "", "movups %xmm0, (%rax)", "");
CODE(load_aligned, "", "movaps (%rax), %xmm0", "");
CODE(push_8, "mov %rax, %rsp", "push %rcx", "");
CODE(pop_8, "mov %rax, %rsp", "pop %rcx", "");
CODE(pop_memory, "push %rcx", "popq (%rax)", "");
CODE(call_8, "mov %rax, %rsp", "call load_8", "");
CODE(compare_16, "", "lock cmpxchg16b (%rax)", "");
CODE(jump_there, "", "jmp *%rax", "");

static void crossing(void)
{
	test_reset();
	test_map(2, 0);
	begin("crossing/read", "");
	in.rax = TEST(2) - 3;
	run_kernel(load_8);
	trapped(14, 0, load_8_at);
	check("cr2", trap.cr2, TEST(2));
	in.rax = TEST(3) - 3;
	run_kernel(load_8);
	trapped(14, 0, load_8_at);
	check("cr2 in the first page", trap.cr2, TEST(3) - 3);
	end();
	begin("crossing/write-writes-nothing", "");
	test_map(2, PTE_P | PTE_U);
	in.rcx = ~0ull;
	in.rax = TEST(2) - 3;
	run_user(store_8);
	trapped(14, 7, store_8_at);
	check("cr2", trap.cr2, TEST(2));
	check("first page", *(u32 *)(test_memory[1] + 4092), 0);
	in.rax = TEST(2) - 3;
	run_user(add_8);
	trapped(14, 7, add_8_at);
	in.rax = TEST(2) - 9;
	run_user(store_16);
	trapped(14, 7, store_16_at);
	check("first page after the others", *(u64 *)(test_memory[1] + 4088), 0);
	end();
	begin("crossing/both-pages", "");
	test_map(2, PTE_P | PTE_W | PTE_U);
	in.rcx = 0x1122334455667788;
	in.rax = TEST(2) - 3;
	run_kernel(store_8);
	finished();
	check("first page", *(u32 *)(test_memory[1] + 4092) >> 8, 0x667788);
	check("second page", *(u64 *)test_memory[2], 0x1122334455);
	in.rax = TEST(2) - 3;
	run_kernel(add_8);
	check("after the addition", *(u32 *)(test_memory[1] + 4092) >> 8, 0x667789);
	end();
	begin("crossing/pages-swapped", "");
	test_map(5, PTE_P | PTE_W | PTE_U); /* two linear neighbours far apart in memory */
	test_pt[6] = (u64)test_memory[9] | PTE_P | PTE_W | PTE_U;
	__asm__ volatile("invlpg (%0)" : : "r"(TEST(6)) : "memory");
	in.rcx = 0xa1a2a3a4a5a6a7a8;
	in.rax = TEST(6) - 4;
	run_kernel(store_8);
	check("first", *(u32 *)(test_memory[5] + 4092), 0xa5a6a7a8);
	check("second", *(u32 *)test_memory[9], 0xa1a2a3a4);
	check("not the neighbour", *(u32 *)test_memory[6], 0);
	end();
	begin("crossing/alignment", "");
	in.rax = TEST(1) + 8;
	run_kernel(load_aligned);
	trapped(13, 0, load_aligned_at);
	in.rax = TEST(1) + 8;
	run_kernel(compare_16);
	trapped(13, 0, compare_16_at);
	end();
	begin("crossing/stack", "");
	test_map(2, 0);
	in.rax = TEST(2) + 8;
	gate_set(14, 0xe, 0, 1);
	run_kernel(push_8);
	trapped(14, 2, push_8_at);
	check("rsp of push", trap.rsp, TEST(2) + 8);
	in.rax = TEST(2) + 8;
	run_kernel(call_8);
	trapped(14, 2, call_8_at);
	check("rsp of call", trap.rsp, TEST(2) + 8);
	in.rax = TEST(2) - 4;
	in.rcx = 5;
	run_kernel(pop_8);
	trapped(14, 0, pop_8_at);
	check("rsp of pop", trap.rsp, TEST(2) - 4);
	check("rcx", out.rcx, 5);
	in.rax = TEST(2);
	run_kernel(pop_memory);
	trapped(14, 2, pop_memory_at);
	check("rsp of pop to memory", trap.rsp, (u64)kernel_stack_top - 8);
	gate_set(14, 0xe, 0, 0);
	end();
	begin("crossing/fetch", "");
	test_memory[1][4093] = 0xb8; /* mov $imm32, %eax: two bytes of it are there */
	test_memory[1][4094] = 1;
	test_memory[1][4095] = 0;
	in.rax = TEST(2) - 3;
	run_user(jump_there);
	check("vector", trap.vector, 14);
	check("error", trap.error, 0x14);
	check("rip", trap.rip, TEST(2) - 3);
	check("cr2", trap.cr2, TEST(2));
	test_map(2, PTE_P | PTE_W | PTE_U);
	test_memory[2][0] = 0x5a;
	test_memory[2][1] = 0;
	test_memory[2][2] = 0xcd;
	test_memory[2][3] = DONE;
	in.rax = TEST(2) - 3;
	run_user(jump_there);
	finished();
	check("eax", out.rax, 0x5a0001);
	test_memory[2][0] = 0x5b; /* the half in the second page changes */
	in.rax = TEST(2) - 3;
	run_user(jump_there);
	check("eax, changed", out.rax, 0x5b0001);
	end();
}

void cases_instruction(void)
{
	test_reset();
	decimal();
	composites();
	flags();
	string_moves();
	string_searches();
	string_ports();
	crossing();
	test_reset();
}
