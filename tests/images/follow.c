/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small program for tools/lockstep to follow: arithmetic, strings, vectors, x87, exceptions,
 * paging, privilege levels, compatibility mode, a clock and a device's register, a few thousand
 * instructions.
 */
#include "image.h"

static struct {
	u16 limit;
	u64 base;
} __attribute__((packed)) idtr;
static u64 idt[64][2];
static u32 words[16];
volatile u64 follow_faults;

static u32 mix(u32 x)
{
	x ^= x << 13;
	x ^= x >> 17;
	return x ^ x << 5;
}

static void sort(void)
{
	u32 seed = 12345;

	for (unsigned i = 0; i < ARRAY_LEN(words); i++)
		words[i] = seed = mix(seed);
	for (unsigned i = 1; i < ARRAY_LEN(words); i++)
		for (unsigned j = i; j && words[j - 1] > words[j]; j--) {
			u32 keep = words[j];

			words[j] = words[j - 1];
			words[j - 1] = keep;
		}
}

/* Handlers: skip the two bytes of the instruction that faults; #PF counts. */
__asm__(".text\n"
	"handle_two_bytes: addq $2, (%rsp); incq follow_faults(%rip); iretq\n"
	"handle_page_fault: addq $8, %rsp; addq $2, (%rsp); incq follow_faults(%rip); iretq\n"
	/* the fence ends with a look at the counter, so that all of it is seen to be there */
	".globl follow_planted\n"
	"follow_planted: lea 5(%rdi, %rdi, 2), %rax; ret\n"
	"compat: .code32; movl %eax, %edx; pushl $7; popl %ecx; imull %ecx, %edx; lret; .code64\n");
extern char handle_two_bytes[], handle_page_fault[], compat[];
u64 follow_planted(u64);

static void gate(unsigned vector, void *handler)
{
	u64 at = (u64)handler;

	idt[vector][0] = (at & 0xffff) | SEL_CODE64 << 16 | 0x8e00ull << 32 | (at >> 16) << 48;
	idt[vector][1] = at >> 32;
}

static void exceptions(void)
{
	gate(0, handle_two_bytes);
	gate(6, handle_two_bytes);
	gate(14, handle_page_fault);
	idtr.limit = sizeof(idt) - 1;
	idtr.base = (u64)idt;
	__asm__ volatile("lidt %0" : : "m"(idtr));
	__asm__ volatile("xor %%ecx, %%ecx; div %%ecx" : : "a"(1), "d"(0) : "ecx", "cc");
	__asm__ volatile("ud2");
	__asm__ volatile("movb (%0), %%al" : : "c"(1ull << 40) : "rax");
}

static void strings(void)
{
	static char from[200], to[200];
	char *source = from, *target = to;
	u64 count = sizeof(from);

	__asm__ volatile("rep stosb" : "+D"(source), "+c"(count) : "a"('x') : "memory");
	source = from;
	count = 50;
	__asm__ volatile("rep movsl" : "+S"(source), "+D"(target), "+c"(count) : : "memory");
	target = to;
	count = sizeof(to);
	__asm__ volatile("repne scasb" : "+D"(target), "+c"(count) : "a"('y') : "cc");
}

static void floating(void)
{
	static const double numbers[2] = { 1.5, 2.25 };
	static double results[4];

	__asm__ volatile("movupd %1, %%xmm0; addpd %%xmm0, %%xmm0; mulpd %%xmm0, %%xmm0;"
			 "movupd %%xmm0, %0"
			 : "=m"(results)
			 : "m"(numbers)
			 : "memory");
	__asm__ volatile("fldl %1; fld1; faddp; fsqrt; fstpl %0"
			 : "=m"(results[2])
			 : "m"(numbers[1])
			 : "memory");
}

static void modes(void)
{
	u32 ax = 11;

	__asm__ volatile("sub $8, %%rsp; movl $compat, (%%rsp); movl %1, 4(%%rsp); lcall *(%%rsp);"
			 "add $8, %%rsp"
			 : "+a"(ax)
			 : "i"(SEL_CODE32)
			 : "rcx", "rdx", "cc", "memory");
	WRITE_CR(0, READ_CR(0) & ~0x10000ull);
	WRITE_CR(3, READ_CR(3));
	WRITE_CR(0, READ_CR(0) | 0x10000);
}

void image_main(void)
{
	u32 id[4];

	sort();
	exceptions();
	strings();
	floating();
	modes();
	cpuid(1, 0, id);
	__asm__ volatile("rdtsc" : : : "rax", "rdx");
	follow_planted(id[0]);
	print("followed\n");
}
