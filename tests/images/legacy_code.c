/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where code of protected mode may lie and how wide its instruction pointer is: limits of code
 * segments, at the branch and at the fetch, and near branches with 16-bit operands. SDM 5.3; vol.
 * 2, JMP, CALL, RET, Jcc, LOOP.
 */
#include "legacy.h"

/* 32-bit code whose segment begins with it. */
CODE32(walk,
       "mov %esp, %esi; call 1f; mov $3, %ecx; 2: dec %eax; loop 2b; jmp 3f; 1: mov %esp, %edi; "
       "ret; ud2; 3:",
       "jecxz 4f",
       "ud2; 4: push $5f - walk; ret; ud2; 5: mov $6f - walk, %ebx; jmp *%ebx; ud2; 6:");
CODE32(jump_far_away, "", "jmp . + 0x800", "");
CODE32(jump_if, "", "jz . + 0x800", "");
CODE32(jump_to_eax, "", "jmp *%eax", "");
CODE32(call_far_away, "", "call . + 0x800", "");
CODE32(call_eax, "nop", "call *%eax", "");
CODE32(return_to_eax, "push %eax", "ret", "");
CODE32(loop_away, "", "loop . + 0x70", "");
CODE32(four_nops, "nop; nop; nop", "nop", "");
/* Operands of 16 bits: in a flat segment these go to the first 64 KiB. */
CODE32(narrow_jump, "", ".byte 0x66, 0xe9, 0x00, 0x01", "");
CODE32(narrow_short, "", ".byte 0x66, 0xeb, 0x20", "");
CODE32(narrow_jz, "", ".byte 0x66, 0x0f, 0x84, 0x00, 0x01", "");
CODE32(narrow_loop, "", ".byte 0x66, 0xe2, 0x20", "");
CODE32(narrow_call, "", ".byte 0x66, 0xe8, 0x00, 0x01", "");
CODE32(narrow_jump_ax, "", ".byte 0x66; jmp *%eax", "");
CODE32(narrow_call_memory, "", ".byte 0x66; call *(%eax)", "");
CODE32(narrow_return, "pushw %ax", ".byte 0x66; ret", "");
CODE32(counts_in_cx, "xor %eax, %eax; 1: inc %eax", "addr16 loop 1b", "jcxz 2f; ud2; 2:");
CODE16(flat_jump, "", "jmp . + 0x103", "");
CODE16(flat_jump_32, "", ".byte 0x66, 0xe9, 2, 0, 0, 0", "ud2");

#define SEG  (10 * 8)
#define TOP  ((u64)kernel_stack_top)
#define WORD 0x7f0 /* free, in the first 64 KiB */

/* Runs @code as a segment of its own, of @bytes. */
static void run_segment(const char *code, u32 bytes)
{
	gdt_set(SEG / 8, DESCRIPTOR((u64)code, bytes - 1, 0x9b, 4));
	in.cs = SEG;
	run_legacy(NULL);
}

static void refused(const char *code, const char *at, u64 rsp)
{
	check("vector", trap.vector, 13);
	check("error", trap.error, 0);
	check("rip", trap.rip, at - code);
	check("esp", trap.rsp, rsp);
}

static void limits(void)
{
	begin("code/jump-beyond-the-limit", "jmp jz loop");
	run_segment(jump_far_away, 0x800);
	refused(jump_far_away, jump_far_away_at, TOP);
	in.rflags = 2 | FLAG_ZF;
	run_segment(jump_if, 0x800);
	refused(jump_if, jump_if_at, TOP);
	run_segment(jump_if, 0x800);
	finished();
	in.rax = 0x800;
	run_segment(jump_to_eax, 0x800);
	refused(jump_to_eax, jump_to_eax_at, TOP);
	in.rcx = 5;
	run_segment(loop_away, 0x70);
	refused(loop_away, loop_away_at, TOP);
	check("ecx", out.rcx, 5);
	in.rcx = 1;
	run_segment(loop_away, 0x70);
	finished();
	end();
	begin("code/call-beyond-the-limit", "call"); /* nothing is pushed */
	run_segment(call_far_away, 0x800);
	refused(call_far_away, call_far_away_at, TOP);
	world_pae();
	*(u32 *)(user_stack_top - 4) = 0x5a5a;
	in.rax = 0x800;
	gdt_set(SEG / 8, DESCRIPTOR(USER(call_eax), 0x7ff, 0xfb, 4));
	in.cs = SEG | 3;
	in.rip = call_eax_at - call_eax;
	run_legacy_user(NULL);
	refused(call_eax, call_eax_at, USER(user_stack_top));
	check("below", *(u32 *)(user_stack_top - 4), 0x5a5a);
	world_flat();
	end();
	begin("code/return-beyond-the-limit", "ret");
	in.rax = 0x800;
	run_segment(return_to_eax, 0x800);
	refused(return_to_eax, return_to_eax_at, TOP - 4);
	end();
	begin("code/runs-off", "");
	run_segment(four_nops, 4);
	refused(four_nops, four_nops_end, TOP);
	run_segment(four_nops, 5); /* INT 0x40 has two bytes */
	refused(four_nops, four_nops_end, TOP);
	run_segment(four_nops, 6);
	finished();
	end();
	/* The limit ends with a page: the next one, which is not there, is not asked for. */
	begin("code/runs-off-a-page", "");
	world_pae();
	for (unsigned round = 0; round < 2; round++) {
		test_map(1, round ? 0 : PTE_P | PTE_W);
		test_memory[0][0xffe] = 0xb0; /* mov $n, %al; then, in the next page, INT 0x40 */
		test_memory[1][0] = 0xcd;
		test_memory[1][1] = DONE;
		for (u32 limit = 0xfff + !round * 2; limit >= 0xfff; limit -= 2) {
			gdt_set(SEG / 8, DESCRIPTOR(TEST(0), limit, 0x9b, 4));
			in.cs = SEG;
			in.rip = 0xffe;
			run_legacy(NULL);
			check("vector", trap.vector, limit > 0xfff ? DONE : 13);
			check("eip", trap.rip, limit > 0xfff ? 0x1002 : 0x1000);
		}
		test_memory[0][0xfff] = 0xb0; /* itself across the pages */
		gdt_set(SEG / 8, DESCRIPTOR(TEST(0), 0xfff, 0x9b, 4));
		in.cs = SEG;
		in.rip = 0xfff;
		run_legacy(NULL);
		check("vector, across", trap.vector, 13);
		check("eip, across", trap.rip, 0xfff);
		test_memory[0][0xfff] = 0;
	}
	test_reset();
	world_flat();
	end();
}

/* Where a 16-bit displacement leads, an INT 0x40. */
static void end_at(u64 target)
{
	u8 *low = (u8 *)(target & 0xffff);

	low[0] = 0xcd;
	low[1] = DONE;
}

static void run_narrow(const char *code, const char *next, u64 distance)
{
	end_at((u64)next + distance);
	run_legacy(code);
	finished();
	check("rip", trap.rip, (((u64)next + distance) & 0xffff) + 2);
}

static void narrow(void)
{
	begin("code/16-bit-jump", "jmp jz loop");
	run_narrow(narrow_jump, narrow_jump_end, 0x100);
	run_narrow(narrow_short, narrow_short_end, 0x20);
	in.rflags = 2 | FLAG_ZF;
	run_narrow(narrow_jz, narrow_jz_end, 0x100);
	run_legacy(narrow_jz);
	finished();
	check("not taken", trap.rip, (u64)narrow_jz_end + 2);
	in.rcx = 2;
	run_narrow(narrow_loop, narrow_loop_end, 0x20);
	in.rax = 0x12340000 | WORD;
	end_at(WORD);
	run_legacy(narrow_jump_ax);
	finished();
	check("register", trap.rip, WORD + 2);
	end();
	begin("code/16-bit-call", "call ret");
	run_narrow(narrow_call, narrow_call_end, 0x100);
	check("esp", trap.rsp, TOP - 2);
	check("return address", *(u16 *)(TOP - 2), (u16)(u64)narrow_call_end);
	*(u32 *)test_memory[0] = 0x12340000 | WORD;
	in.rax = (u64)test_memory[0];
	end_at(WORD);
	run_legacy(narrow_call_memory);
	finished();
	check("esp", trap.rsp, TOP - 2);
	check("rip", trap.rip, WORD + 2);
	in.rax = WORD;
	run_legacy(narrow_return);
	finished();
	check("esp", trap.rsp, TOP);
	check("rip", trap.rip, WORD + 2);
	end();
	begin("code/counts-in-cx", "loop jcxz");
	in.rcx = 0xabcd0004;
	run_legacy(counts_in_cx);
	finished();
	check("rounds", out.rax, 4);
	check("ecx", out.rcx, 0xabcd0000);
	end();
	if (cpu_is_tcg()) {
		skip("code/16-bit-flat-segment", "",
		     "TCG has no EIP beyond 64 KiB there, and is lost");
		return;
	}
	begin("code/16-bit-flat-segment", "jmp");
	gdt_set(SEG / 8, DESCRIPTOR(0, 0xfffff, 0x9b, 8));
	end_at((u64)flat_jump + 0x103);
	in.cs = SEG;
	run_legacy(flat_jump);
	finished();
	check("rip", trap.rip, (((u64)flat_jump + 0x103) & 0xffff) + 2);
	in.cs = SEG;
	run_legacy(flat_jump_32);
	finished();
	check("32 bits", trap.rip, (u64)flat_jump_32_end + 4);
	end();
}

void cases_code(void)
{
	static const char *const beyond[] = { "code/jump-beyond-the-limit",
					      "code/call-beyond-the-limit",
					      "code/return-beyond-the-limit", "code/runs-off",
					      "code/runs-off-a-page" };

	world_flat();
	begin("code/segment-with-a-base", "call ret jmp loop jecxz");
	run_segment(walk, 0x100);
	finished();
	check("frame", out.rsi - out.rdi, 4);
	end();
	if (cpu_is_tcg())
		for (unsigned i = 0; i < ARRAY_LEN(beyond); i++)
			skip(beyond[i], "",
			     "TCG does not check limits, and would run what is there");
	else
		limits();
	narrow();
}
