/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Real mode: the vector table, frames of words, limits of 64 KiB, 16-bit addresses and counters.
 * SDM chapter 20; vol. 2 for the instructions; where an instruction lies, 5.3.
 */
#include "legacy.h"

CODE16(real_nothing, "", "nop", "");
CODE16(real_int, "", "int $0x50", "");
CODE16(real_int3, "", "int3", "");
CODE16(real_into, "mov $0x7f, %al; add $1, %al", "into", "");
CODE16(real_divide, "xor %cx, %cx", "div %cx", "");
CODE16(real_undefined, "", "ud2", "");
CODE16(real_iret, "push %bx; push %cs; push $1f - real_iret", "iretw", "ud2; 1: nop");
CODE16(real_iretl, "pushl %ebx; push $0; push %cs; pushl $1f - real_iretl", "iretl",
       "ud2; 1: pushfl; popl %ecx");
CODE16(real_popf, "push %bx", "popf", "pushfl; popl %ecx");
CODE16(real_load, "", "movw (%bx), %ax", "");
CODE16(real_load_si, "", "movw (%bx, %si), %ax", "");
CODE16(real_load_bp, "", "movw (%bp), %ax", "");
CODE16(real_load_32, "", "movb (%ebx), %al", "");
CODE16(real_lea, "", "leaw -2(%bx, %si), %ax", "leal -2(%ebx, %esi), %ecx");
CODE16(real_push, "", "pushw %ax", "");
CODE16(real_push_32, "", "pushl %eax", "popl %ebx");
CODE16(real_pop, "", "popw %ax", "");
CODE16(real_segments, "mov $0x5001, %ax", "mov %ax, %ds",
       "movw 0, %bx; movw %es:16, %cx; movw %cs:0, %dx");
CODE16(real_high, "mov $0xffff, %ax", "mov %ax, %ds", "movb 0x10, %bl");
CODE16(real_far_call, "mov %sp, %si", "lcall $0x3001, $(2f - real_far_call - 16)",
       "jmp 3f; .balign 16; 2: mov %cs, %bx; mov %sp, %di; lret; 3: mov %cs, %dx");
CODE16(real_far_jump, "", "ljmpw *(%bx)", "");
/* LOOP counts in CX, or with the prefix in ECX; JCXZ and JECXZ. */
CODE16(real_loop, "xor %ax, %ax; 1: inc %ax", "loop 1b", "");
CODE16(real_loop_32, "xor %ax, %ax; 1: inc %ax", "addr32 loop 1b", "");
CODE16(real_loopne, "1: dec %ax", "loopne 1b", "");
CODE16(real_jcxz, "xor %ax, %ax", "jcxz 1f", "inc %ax; 1: jecxz 2f; inc %ax; 2:");
/* Strings go by SI, DI and CX. */
CODE16(real_movs, "", "rep movsb", "");
CODE16(real_movs_down, "std", "rep movsw", "cld");
CODE16(real_movs_seg, "", "rep movsb %cs:(%si), %es:(%di)", "");
CODE16(real_stos, "", "rep stosw", "");
CODE16(real_lods, "", "lodsw", "");
CODE16(real_scas, "", "repne scasb", "");
CODE16(real_cmps, "", "repe cmpsb", "");
CODE16(real_movs_32, "", "addr32 rep movsb", "");
/* Near branches: 16 bits of target, 32 with the prefix. */
CODE16(real_jump, "", "jmp *%ax", "");
CODE16(real_jump_32, "", "jmpl *%eax", "");
CODE16(real_call, "mov %sp, %si", "call 1f", "mov %sp, %di; jmp 2f; 1: mov %sp, %bx; ret; 2:");
CODE16(real_call_32, "mov %sp, %si", "calll 1f", "mov %sp, %di; jmp 2f; 1: mov %sp, %bx; retl; 2:");
CODE16(real_call_ax, "", "call *%ax", "");
CODE16(real_ret_32, "pushl %eax", "retl", "");
CODE16(real_sidt, "", "sidt (%bx)", "smsw %ax");
CODE16(real_lldt, "", "lldt %ax", "");
CODE16(real_str, "", "str %ax", "");
CODE16(real_verr, "", "verr %ax", "");
CODE16(real_pusha, "", "pusha", "popa");
CODE16(real_cpl, "", "hlt_is_allowed = .; mov %cr0, %eax", "mov %eax, %cr0; wbinvd; mov %cs, %cx");

#define AT(piece, label) ((u64)((label) - (piece)))
#define DATA(offset)     (*(u16 *)real_at(REAL_DATA, offset))
#define STACK(offset)    (*(u16 *)real_at(REAL_STACK, offset))

static void real_trapped(u64 vector, u64 ip)
{
	check("vector", trap.vector, vector);
	check("ip", trap.rip, ip);
	check("cs", trap.cs, REAL_CODE);
	check("frame", trap.rsp - trap.handler_rsp, 6);
}

#define TRAPPED(vector, piece, label) real_trapped(vector, AT(piece, label))

static void events(void)
{
	begin("real/int", "int");
	in.rflags = 2 | FLAG_IF | FLAG_CF;
	run_real(real_int);
	TRAPPED(0x50, real_int, real_int_end);
	check("flags", trap.rflags, 2 | FLAG_IF | FLAG_CF);
	check("if", trap.handler_flags & (FLAG_IF | FLAG_TF), 0);
	check("sp", trap.rsp, 0x1000);
	check("pushed flags", STACK(0xffe), 2 | FLAG_IF | FLAG_CF);
	check("pushed cs", STACK(0xffc), REAL_CODE);
	check("pushed ip", STACK(0xffa), AT(real_int, real_int_end));
	end();
	begin("real/int3-into", "int3 into");
	run_real(real_int3);
	TRAPPED(3, real_int3, real_int3_end);
	run_real(real_into);
	TRAPPED(4, real_into, real_into_end);
	end();
	begin("real/faults", "");
	run_real(real_divide);
	TRAPPED(0, real_divide, real_divide_at);
	run_real(real_undefined);
	TRAPPED(6, real_undefined, real_undefined_at);
	end();
	begin("real/iret", "iret");
	in.rbx = 0x4ad7;
	run_real(real_iret);
	finished();
	check("flags", trap.rflags, 0x4ad7);
	check("sp", trap.rsp, 0x1000);
	end();
	begin("real/iretd", "iretd");
	in.rbx = 0x240ad7;
	run_real(real_iretl);
	finished();
	check("flags", out.rcx & 0x240ad7, 0x240ad7);
	check("sp", trap.rsp, 0x1000);
	end();
	begin("real/popf", "popf");
	in.rbx = 0x7ad7; /* IOPL too */
	run_real(real_popf);
	finished();
	check("flags", out.rcx & 0xffff, 0x7ad7);
	end();
	begin("real/idt-limit", "");
	world.idt_limit = 0x50 * 4 + 2;
	run_real(real_int);
	TRAPPED(13, real_int, real_int_at);
	world.idt_limit = 0x50 * 4 + 3;
	run_real(real_int);
	TRAPPED(0x50, real_int, real_int_end);
	end();
	begin("real/protected-only", "lldt str verr");
	run_real(real_lldt);
	TRAPPED(6, real_lldt, real_lldt_at);
	run_real(real_str);
	TRAPPED(6, real_str, real_str_at);
	run_real(real_verr);
	TRAPPED(6, real_verr, real_verr_at);
	end();
	begin("real/system", "sidt smsw");
	in.rbx = 0x100;
	run_real(real_sidt);
	finished();
	check("limit", DATA(0x100), 0x3ff);
	check("base", DATA(0x102) | (DATA(0x104) & 0xff) << 16, 0x2a000); /* 24 bits of it */
	check("pe", out.rax & 1, 0);
	run_real(real_cpl);
	finished();
	check("pe", out.rax & 1, 0);
	end();
}

static void memory(void)
{
	DATA(0xfffe) = 0x1122;
	DATA(0) = 0x3344;
	begin("real/segments", "");
	DATA(16) = 0x5566;
	run_real(real_segments);
	finished();
	check("ds", out.rbx & 0xffff, 0x5566);
	check("es", out.rcx & 0xffff, 0x5566);
	check("selector", trap.ds, 0x5001);
	end();
	begin("real/above-1-mib", ""); /* FFFF:0010, with A20 open */
	run_real(real_high);
	finished();
	check("byte", out.rbx & 0xff, *(u8 *)0x100000);
	end();
	begin("real/limit", "");
	in.rbx = 0xfffe;
	run_real(real_load);
	finished();
	check("ax", out.rax, 0x1122);
	in.rbx = 0xffff;
	run_real(real_load);
	TRAPPED(13, real_load, real_load_at);
	in.rbp = 0xffff;
	run_real(real_load_bp);
	TRAPPED(12, real_load_bp, real_load_bp_at);
	in.rbx = 0x10000;
	run_real(real_load_32);
	TRAPPED(13, real_load_32, real_load_32_at);
	end();
	begin("real/addresses-wrap", "lea");
	in.rbx = 0x1234fff0;
	in.rsi = 0x10;
	run_real(real_load_si);
	finished();
	check("ax", out.rax, 0x3344);
	in.rbx = 0xfffffffe;
	in.rsi = 3;
	in.rax = 0x12340000;
	run_real(real_lea);
	finished();
	check("16 bits", out.rax, 0x1234ffff);
	check("32 bits", out.rcx, 0xffffffff);
	end();
}

static void stack(void)
{
	begin("real/stack-wraps", "push pop");
	in.rax = 0xbeef;
	in.rsp = 0x12340000;
	run_real(real_push); /* INT 0x40 then pushes at fffc */
	finished();
	check("sp", trap.rsp, 0x1234fffe);
	check("top", STACK(0xfffe), 0xbeef);
	in.rsp = 0x1234fffe;
	run_real(real_pop);
	finished();
	check("sp", trap.rsp, 0x12340000);
	check("ax", out.rax & 0xffff, 0xbeef);
	end();
	begin("real/stack-32-bit-operand", "push pop");
	in.rax = 0x11223344;
	run_real(real_push_32);
	finished();
	check("ebx", out.rbx, 0x11223344);
	check("sp", trap.rsp, 0x1000);
	end();
	begin("real/pusha", "pusha popa");
	in.rax = 0x12345678;
	in.rbp = 0xaaaabbbb;
	in.rdi = 0xccccdddd;
	in.rsp = 0x2000; /* the frame of INT 0x40 overwrites only the first three words */
	run_real(real_pusha);
	finished();
	check("sp", trap.rsp, 0x2000);
	check("sp, pushed", STACK(0x1ff6), 0x2000);
	check("bp", STACK(0x1ff4), 0xbbbb);
	check("di", STACK(0x1ff0), 0xdddd);
	check("eax", out.rax, 0x12345678);
	end();
}

static void counters(void)
{
	begin("real/loop", "loop");
	in.rcx = 0xabcd0003;
	run_real(real_loop);
	finished();
	check("rounds", out.rax & 0xffff, 3);
	check("ecx", out.rcx, 0xabcd0000);
	in.rcx = 3;
	run_real(real_loop_32);
	finished();
	check("rounds", out.rax & 0xffff, 3);
	check("ecx", out.rcx, 0);
	in.rcx = 0x10001;
	run_real(real_loop_32);
	finished();
	check("rounds of 65537", out.rax & 0xffff, 1);
	in.rax = 4;
	in.rcx = 9;
	run_real(real_loopne);
	finished();
	check("cx", out.rcx, 5);
	end();
	begin("real/jcxz", "jcxz jecxz");
	in.rcx = 0x10000;
	run_real(real_jcxz);
	finished();
	check("jcxz", out.rax & 0xffff, 1);
	run_real(real_jcxz);
	finished();
	check("both", out.rax & 0xffff, 0);
	in.rcx = 1;
	run_real(real_jcxz);
	finished();
	check("neither", out.rax & 0xffff, 2);
	end();
}

static void strings(void)
{
	u8 *data = real_at(REAL_DATA, 0);

	for (unsigned i = 0; i < 0x10000; i++)
		data[i] = i * 7 + (i >> 8);
	begin("real/movs-wraps", "movsb"); /* SI and DI, and the upper halves stay */
	in.rsi = 0x1234fffe;
	in.rdi = 0x56780200;
	in.rcx = 0x10004;
	run_real(real_movs);
	finished();
	check("esi", out.rsi, 0x12340002);
	check("edi", out.rdi, 0x56780204);
	check("ecx", out.rcx, 0x10000);
	check("data", *(u32 *)&data[0x200],
	      (u32)(data[0xfffe] | data[0xffff] << 8 | data[0] << 16) | (u32)data[1] << 24);
	end();
	begin("real/movs-down", "movsw");
	in.rsi = 2;
	in.rdi = 0x302;
	in.rcx = 3;
	run_real(real_movs_down);
	finished();
	check("si", out.rsi, 0xfffc);
	check("di", out.rdi, 0x2fc);
	check("data",
	      DATA(0x302) == DATA(2) && DATA(0x300) == DATA(0) && DATA(0x2fe) == DATA(0xfffe), 1);
	end();
	begin("real/movs-limit", "movsw"); /* a word at ffff */
	in.rsi = 1;
	in.rdi = 0x303;
	in.rcx = 3;
	run_real(real_movs_down);
	TRAPPED(13, real_movs_down, real_movs_down_at);
	check("si", out.rsi, 0xffff);
	check("cx", out.rcx, 2);
	end();
	begin("real/movs-segment", "movsb");
	in.rdi = 0x400;
	in.rcx = 4;
	run_real(real_movs_seg);
	finished();
	check("data", *(u32 *)&data[0x400], *(u32 *)real_at(REAL_CODE, 0));
	end();
	begin("real/movs-32", "movsb"); /* 32-bit addresses, 64 KiB of limit */
	in.rsi = 0xfffe;
	in.rdi = 0x500;
	in.rcx = 4;
	run_real(real_movs_32);
	TRAPPED(13, real_movs_32, real_movs_32_at);
	check("esi", out.rsi, 0x10000);
	check("ecx", out.rcx, 2);
	end();
	begin("real/stos-lods", "stosw lodsw");
	in.rax = 0xa55a;
	in.rdi = 0xfffc;
	in.rcx = 4;
	run_real(real_stos);
	finished();
	check("di", out.rdi, 4);
	check("data",
	      DATA(0xfffc) == 0xa55a && DATA(0xfffe) == 0xa55a && DATA(0) == 0xa55a &&
		      DATA(2) == 0xa55a && DATA(4) != 0xa55a,
	      1);
	in.rsi = 0xfffe;
	run_real(real_lods);
	finished();
	check("si", out.rsi, 0);
	check("ax", out.rax, 0xa55a);
	end();
	begin("real/scas-cmps", "scasb cmpsb");
	data[5] = 0xee;
	in.rax = 0xee;
	in.rdi = 0xfffe;
	in.rcx = 0xffff;
	run_real(real_scas);
	finished();
	check("di", out.rdi, 6);
	check("cx", out.rcx, 0xffff - 8);
	for (unsigned i = 0; i < 16; i++)
		data[0x600 + i] = data[(0xfff8 + i) & 0xffff];
	data[0x60c] ^= 1;
	in.rsi = 0xfff8;
	in.rdi = 0x600;
	in.rcx = 16;
	run_real(real_cmps);
	finished();
	check("si", out.rsi, 5);
	check("cx", out.rcx, 3);
	check("zf", trap.rflags & FLAG_ZF, 0);
	end();
}

static void branches(void)
{
	static u16 *const pointer = (u16 *)(REAL_DATA * 16 + 0x700);
	u8 *code = real_at(REAL_CODE, 0);

	begin("real/far-call", "call ret");
	run_real(real_far_call);
	finished();
	check("cs", out.rbx & 0xffff, 0x3001);
	check("frame", (out.rsi - out.rdi) & 0xffff, 4);
	check("cs after", out.rdx & 0xffff, REAL_CODE);
	end();
	begin("real/far-jump", "jmp");
	pointer[0] = AT(real_far_jump, real_far_jump_end) + 0x100;
	pointer[1] = REAL_CODE - 0x10;
	in.rbx = 0x700;
	run_real(real_far_jump);
	check("vector", trap.vector, DONE);
	check("cs", trap.cs, REAL_CODE - 0x10);
	end();
	begin("real/near", "jmp call ret");
	in.rax = 0x12340000 | AT(real_jump, real_jump_end);
	run_real(real_jump);
	finished();
	run_real(real_call);
	finished();
	check("frame", (out.rsi - out.rbx) & 0xffff, 2);
	check("sp", (out.rsi - out.rdi) & 0xffff, 0);
	run_real(real_call_32);
	finished();
	check("frame of 32 bits", (out.rsi - out.rbx) & 0xffff, 4);
	check("sp", (out.rsi - out.rdi) & 0xffff, 0);
	end();
	begin("real/beyond-the-limit", "jmp ret"); /* of 64 KiB, at the branch */
	in.rax = 0x10000 | AT(real_jump_32, real_jump_32_end);
	run_real(real_jump_32);
	TRAPPED(13, real_jump_32, real_jump_32_at);
	in.rax = 0x10000;
	run_real(real_ret_32);
	TRAPPED(13, real_ret_32, real_ret_32_at);
	check("sp", trap.rsp, 0xffc);
	end();
	/* A displacement takes IP around; INT 0x40 lies at 0x210 and at ff80. */
	begin("real/ip-wraps", "jmp jz call loop");
	code[0xff80] = code[0x210] = 0xcd;
	code[0xff81] = code[0x211] = DONE;
	code[0xff00] = 0xe9; /* jmp 0x210 */
	*(u16 *)&code[0xff01] = (u16)(0x210 - 0xff03);
	in.rip = 0xff00;
	run_real(real_nothing);
	real_trapped(DONE, 0x212);
	code[0xff10] = 0x0f; /* jz 0x210 */
	code[0xff11] = 0x84;
	*(u16 *)&code[0xff12] = (u16)(0x210 - 0xff14);
	in.rflags = 2 | FLAG_ZF;
	in.rip = 0xff10;
	run_real(real_nothing);
	real_trapped(DONE, 0x212);
	code[0xff20] = 0xe8; /* call 0x210 */
	*(u16 *)&code[0xff21] = (u16)(0x210 - 0xff23);
	in.rip = 0xff20;
	run_real(real_nothing);
	real_trapped(DONE, 0x212);
	check("return address", STACK(0xffe), 0xff23);
	code[0x220] = 0xe9; /* jmp back to ff80 */
	*(u16 *)&code[0x221] = (u16)(0xff80 - 0x223);
	in.rip = 0x220;
	run_real(real_nothing);
	real_trapped(DONE, 0xff82);
	code[0xfff0] = 0xe2; /* loop 0 */
	code[0xfff1] = 0x0e;
	in.rip = 0xfff0;
	in.rcx = 2;
	run_real(real_nothing);
	TRAPPED(DONE, real_nothing, real_nothing_end + 2);
	check("cx", out.rcx, 1);
	end();
	/* Nothing is fetched beyond the limit: neither an instruction's first byte nor its last. */
	begin("real/runs-off", "");
	code[0xffff] = 0x90;
	in.rip = 0xffff;
	run_real(real_nothing);
	check("vector", trap.vector, 13);
	code[0xfffe] = 0x66;
	code[0xffff] = 0x90;
	in.rip = 0xffff;
	code[0xffff] = 0xb0; /* mov $n, %al, whose n is beyond */
	run_real(real_nothing);
	real_trapped(13, 0xffff);
	end();
}

void cases_real(void)
{
	events();
	memory();
	stack();
	counters();
	strings();
	branches();
}
