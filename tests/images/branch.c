/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Near branches of 64-bit mode to where no address is: #GP(0) of the branch, before it has changed
 * anything (vol. 2, JMP, CALL, RET, Jcc, LOOP). The last page of the lower half is mapped for those
 * that name their target by a displacement.
 */
#include "cases.h"

CODE(jump_register, "", "jmp *%rax", "");
CODE(jump_memory, "", "jmp *(%rbx)", "");
CODE(call_register, "", "call *%rax", "");
CODE(call_memory, "", "call *(%rbx)", "");
CODE(call_stack, "push %rax; push %rdx", "call *8(%rsp)", "");
CODE(call_after_pushes, "push %rcx; push %rcx", "call *%rax", "");
CODE(return_, "push %rax", "ret", "");
CODE(return_drops, "push %rax", "ret $0x18", "");
/* A function that returns where it was called from a hundred times, and then elsewhere. */
CODE(return_changed, "mov $100, %ecx; jmp 2f; 1: dec %ecx; jnz 3f; mov %rax, (%rsp); 3:", "ret",
     "2: call 1b; jmp 2b");

#define NONCANONICAL 0x800000000000ull
#define EDGE         (NONCANONICAL - PAGE)
#define TOP          ((u64)kernel_stack_top)

static u64 edge_pdpt[512] __attribute__((aligned(4096)));
static u64 edge_pd[512] __attribute__((aligned(4096)));
static u64 edge_pt[512] __attribute__((aligned(4096)));

static void map_edge(void)
{
	test_reset();
	edge_pt[511] = (u64)test_memory[0] | PTE_P | PTE_W;
	edge_pd[511] = (u64)edge_pt | PTE_P | PTE_W;
	edge_pdpt[511] = (u64)edge_pd | PTE_P | PTE_W;
	boot_pml4[255] = (u64)edge_pdpt | PTE_P | PTE_W;
}

static void unmap_edge(void)
{
	boot_pml4[255] = 0;
	WRITE_CR(3, READ_CR(3));
}

static void put(unsigned at, const char *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		test_memory[0][at + i] = bytes[i];
}

static void run_edge(unsigned at)
{
	in.rip = EDGE + at;
	run_kernel(NULL);
}

static void refused(const void *rip, u64 rsp)
{
	trapped(13, 0, rip);
	check("rsp", trap.rsp, rsp);
}

static void jumps(void)
{
	begin("branch/jump", "jmp");
	in.rax = NONCANONICAL;
	run_kernel(jump_register);
	refused(jump_register_at, TOP);
	in.rax = ~NONCANONICAL;
	run_kernel(jump_register);
	refused(jump_register_at, TOP);
	*(u64 *)test_memory[1] = NONCANONICAL + 0x1234;
	in.rbx = TEST(1);
	run_kernel(jump_memory);
	refused(jump_memory_at, TOP);
	end();
}

/* Nothing is pushed: what lies below the stack stays, and a page that cannot be written is not
 * found out about. */
static void calls(void)
{
	u64 *below = (u64 *)(TOP - 8);

	begin("branch/call", "call");
	gate_set(13, 0xe, 0,
		 1); /* on its own stack: its frame leaves alone what lies below this one */
	*below = 0x5a5a;
	in.rax = NONCANONICAL;
	run_kernel(call_register);
	refused(call_register_at, TOP);
	check("below", *below, 0x5a5a);
	*(u64 *)test_memory[1] = NONCANONICAL;
	in.rbx = TEST(1);
	run_kernel(call_memory);
	refused(call_memory_at, TOP);
	check("below", *below, 0x5a5a);
	in.rax = NONCANONICAL;
	run_kernel(call_stack);
	refused(call_stack_at, TOP - 16);
	*(u64 *)(TOP - 24) = 0x5a5a;
	in.rax = NONCANONICAL;
	run_kernel(call_after_pushes);
	refused(call_after_pushes_at, TOP - 16);
	check("below", *(u64 *)(TOP - 24), 0x5a5a);
	test_map(3, 0);
	in.rsp = TEST(4);
	in.rax = NONCANONICAL;
	run_kernel(call_register);
	refused(call_register_at, TEST(4));
	test_reset();
	gate_set(13, 0xe, 0, 0);
	end();
}

static void returns(void)
{
	begin("branch/return", "ret");
	in.rax = NONCANONICAL;
	run_kernel(return_);
	refused(return__at, TOP - 8);
	in.rax = NONCANONICAL;
	run_kernel(return_drops);
	refused(return_drops_at, TOP - 8);
	in.rax = NONCANONICAL;
	run_kernel(return_changed);
	refused(return_changed_at, TOP - 8);
	end();
}

static void edge(void)
{
	map_edge();
	put(0x800, "\xe9\x00\x08\x00\x00", 5);     /* jmp +0x800 */
	put(0x810, "\x74\x02\xcd\x40", 4);         /* jz over int $0x40 */
	put(0x814, "\x0f\x84\x00\x08\x00\x00", 6); /* jz +0x800 */
	put(0x81a, "\xcd\x40", 2);
	put(0x820, "\xe8\x00\x08\x00\x00", 5); /* call +0x800 */
	put(0xff0, "\xe2\x10\xcd\x40", 4);     /* loop +0x10; int $0x40 */
	put(0xff4, "\xe3\x10\xcd\x40", 4);     /* jrcxz +0x10; int $0x40 */
	put(0x840, "\xc3", 1);
	put(0xffb, "\xe8\x40\xf8\xff\xff", 5); /* call 0x840, which returns to the edge */
	begin("branch/edge-jump", "jmp jz");
	run_edge(0x800);
	refused((void *)(EDGE + 0x800), TOP);
	in.rflags = 2 | FLAG_ZF;
	run_edge(0x810);
	refused((void *)(EDGE + 0x814), TOP);
	run_edge(0x814);
	finished();
	end();
	begin("branch/edge-loop", "loop jrcxz");
	in.rcx = 0x1234567800000002;
	run_edge(0xff0);
	refused((void *)(EDGE + 0xff0), TOP);
	check("rcx", out.rcx, 0x1234567800000002);
	in.rcx = 1;
	run_edge(0xff0);
	finished();
	run_edge(0xff4);
	refused((void *)(EDGE + 0xff4), TOP);
	in.rcx = 1;
	run_edge(0xff4);
	finished();
	end();
	begin("branch/edge-call", "call ret");
	gate_set(13, 0xe, 0, 1);
	*(u64 *)(TOP - 8) = 0x5a5a;
	run_edge(0x820);
	refused((void *)(EDGE + 0x820), TOP);
	check("below", *(u64 *)(TOP - 8), 0x5a5a);
	run_edge(0xffb);
	refused((void *)(EDGE + 0x840), TOP - 8);
	check("return address", *(u64 *)(TOP - 8), NONCANONICAL);
	gate_set(13, 0xe, 0, 0);
	end();
	unmap_edge();
}

void cases_branch(void)
{
	jumps();
	calls();
	returns();
	edge();
}
