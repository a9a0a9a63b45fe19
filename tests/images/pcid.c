/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two address spaces with PCIDs, whose code differs at one linear address: what a processor has
 * kept of one must not run in the other, however it got there. SDM 4.10; vol. 2, INVPCID, MOV to
 * control registers.
 */
#include "cases.h"

/* The page's code in each space: says which it is; calls RBX in between and says it again. */
CODE(in_a, "mov $0xa, %eax", "call *%rbx", "mov $0xa, %ecx");
CODE(in_b, "mov $0xb, %eax", "call *%rbx", "mov $0xb, %ecx");
CODE(in_c, "mov $0xc, %eax", "call *%rbx", "mov $0xc, %ecx");
/* What they call: nothing; the kernel's, CR3 becomes RDX; the user's, stopped half-way. */
CODE(only_return, "", "ret", "");
CODE(switch_return, "mov %rdx, %cr3", "ret", "");
CODE(stop_return, "", "int $0x40", "ret");
/* Around the page: five times there, in RSI's and RDI's space by turns; R8 gathers what it said. */
CODE(both_ways,
     "xor %r8d, %r8d; mov $5, %r9d; 1: mov %rsi, %cr3; call *%r10; shl $4, %r8; or %rax, %r8; "
     "mov %rdi, %cr3; call *%r10; shl $4, %r8; or %rax, %r8; dec %r9d; jnz 1b",
     "nop", "");
CODE(say_a, "mov $0xa, %eax", "ret", "");
CODE(say_b, "mov $0xb, %eax", "ret", "");
CODE(invpcid_kernel, "", "invpcid (%rax), %rcx", "");

#define KEEP   (1ull << 63)
#define PCIDE  (1ull << 17)
#define CODE_1 TEST(8)

static struct space {
	u64 pml4[512], pdpt[512], pd[512], pt[512];
} spaces[2] __attribute__((aligned(4096)));

static u64 flags = PTE_P | PTE_W | PTE_U; /* of the page */

static void copy(unsigned page, const char *code)
{
	for (unsigned i = 0; i < 64; i++)
		test_memory[page][i] = code[i];
}

/* The page of @space becomes test_memory[@page]. */
static void show(unsigned space, unsigned page)
{
	spaces[space].pt[8] = (u64)test_memory[page] | flags;
}

static void space_init(struct space *s)
{
	const u64 *pdpt = (u64 *)(boot_pml4[0] & ~0xfffull);

	for (unsigned i = 0; i < 512; i++) {
		s->pml4[i] = boot_pml4[i];
		s->pdpt[i] = pdpt[i];
		s->pd[i] = 0;
		s->pt[i] = test_pt[i];
	}
	s->pd[0] = (u64)s->pt | PTE_P | PTE_W | PTE_U;
	s->pdpt[2] = (u64)s->pd | PTE_P | PTE_W | PTE_U;
	s->pml4[0] = (u64)s->pdpt | PTE_P | PTE_W | PTE_U;
}

static u64 cr3(unsigned space, unsigned pcid)
{
	return (u64)spaces[space].pml4 | pcid;
}

static void run_page(bool user, const char *callee)
{
	in.rip = CODE_1;
	in.rbx = user ? USER(callee) : (u64)callee;
	if (user)
		run_user(NULL);
	else
		run_kernel(NULL);
}

static void says(const char *what, bool user, u64 want)
{
	run_page(user, only_return);
	finished();
	check(what, out.rax, want);
	check("behind the call", out.rcx, want);
}

static void switches(bool user, unsigned pcid_a, unsigned pcid_b)
{
	show(0, 0);
	show(1, 1);
	WRITE_CR(3, cr3(0, pcid_a)); /* what an earlier case left of these PCIDs goes */
	WRITE_CR(3, cr3(1, pcid_b));
	for (unsigned i = 0; i < 16; i++) {
		u64 keep_a = i & 1 ? KEEP : 0, keep_b = i & 2 ? KEEP : 0;

		WRITE_CR(3, cr3(0, pcid_a) | keep_a);
		says("a", user, 0xa);
		says("a again", user, 0xa);
		WRITE_CR(3, cr3(1, pcid_b) | keep_b);
		says("b", user, 0xb);
	}
}

/* A return into a page that is another by now. */
static void returns(u64 keep)
{
	for (unsigned i = 0; i < 6; i++) {
		unsigned to = i & 1;

		WRITE_CR(3, cr3(!to, to ? 1 : 2) | keep);
		in.rdx = cr3(to, to ? 2 : 1) | keep;
		run_page(false, switch_return);
		finished();
		check("before", out.rax, to ? 0xa : 0xb);
		check("behind the call", out.rcx, to ? 0xb : 0xa);
		/* the user's: stopped in what it called, and resumed in the other space */
		WRITE_CR(3, cr3(!to, to ? 1 : 2) | keep);
		run_page(true, stop_return);
		check("stopped", trap.rip, USER(stop_return_end));
		WRITE_CR(3, cr3(to, to ? 2 : 1) | keep);
		in.rip = trap.rip;
		in.rsp = trap.rsp;
		run_user(NULL);
		finished();
		check("user's, behind the call", out.rcx, to ? 0xb : 0xa);
	}
}

/* Space 0's page becomes another while space 1 is there; @forget makes that known. */
static void remapped(const char *what, u64 keep, int type)
{
	static struct {
		u64 pcid, address;
	} descriptor __attribute__((aligned(16)));

	/* the other's code runs in between, or not: it may push out what is kept */
	for (unsigned i = 0; i < 4; i++) {
		bool user = i & 1, both = i & 2;

		show(0, 0);
		WRITE_CR(3, cr3(0, 1));
		says("before", user, 0xa);
		WRITE_CR(3, cr3(1, 2) | KEEP);
		if (both)
			says("the other", user, 0xb);
		show(0, 2);
		if (type >= 0) {
			descriptor.pcid = type < 2;
			descriptor.address = type ? 0 : CODE_1;
			in.rax = (u64)&descriptor;
			in.rcx = type;
			run_kernel(invpcid_kernel);
			finished();
			if (both)
				says("the other after it", user, 0xb);
		}
		WRITE_CR(3, cr3(0, 1) | keep);
		says(what, user, 0xc);
	}
}

/* The same while that space is there. */
static void remapped_here(int type)
{
	static struct {
		u64 pcid, address;
	} descriptor __attribute__((aligned(16)));

	for (unsigned user = 0; user < 2; user++) {
		show(0, 0);
		WRITE_CR(3, cr3(0, 1));
		says("before", user, 0xa);
		show(0, 2);
		descriptor.pcid = type < 2;
		descriptor.address = type ? 0 : CODE_1;
		in.rax = (u64)&descriptor;
		in.rcx = type;
		run_kernel(invpcid_kernel);
		finished();
		says("after", user, 0xc);
		if (flags & PTE_G)
			continue;
		WRITE_CR(3, cr3(1, 2) | KEEP);
		says("the other", user, 0xb);
		WRITE_CR(3, cr3(0, 1) | KEEP);
		says("back", user, 0xc);
	}
}

static void invalidation(void)
{
	static const char *const names[] = { "pcid/invpcid-address", "pcid/invpcid-context",
					     "pcid/invpcid-all", "pcid/invpcid-all-but-global" };

	show(1, 1);
	begin("pcid/mov-cr3-forgets", "");
	remapped("after it", 0, -1);
	end();
	for (int type = 0; type < 4; type++) {
		if (!cpu_has(7, 0, 1, 10)) {
			skip(names[type], "invpcid", "not offered");
			continue;
		}
		begin(names[type], "invpcid");
		remapped("kept, but for INVPCID", KEEP, type);
		remapped_here(type);
		end();
	}
	if (cpu_has(7, 0, 1, 10)) {
		begin("pcid/invpcid-global", "invpcid"); /* type 2 forgets global pages too */
		flags |= PTE_G;
		WRITE_CR(4, READ_CR(4) | 0x80);
		remapped_here(2);
		WRITE_CR(4, READ_CR(4) & ~0x80ull);
		flags &= ~PTE_G;
		end();
	}
	begin("pcid/invlpg", "invlpg");
	for (unsigned user = 0; user < 2; user++) {
		show(0, 0);
		WRITE_CR(3, cr3(0, 1));
		says("before", user, 0xa);
		show(0, 2);
		__asm__ volatile("invlpg (%0)" : : "r"(CODE_1) : "memory");
		says("after", user, 0xc);
	}
	end();
	begin("pcid/switched-off", "");
	show(0, 0);
	WRITE_CR(3, cr3(0, 1));
	says("before", true, 0xa);
	WRITE_CR(3, cr3(0, 0));
	says("before", true, 0xa);
	show(0, 2);
	WRITE_CR(4, READ_CR(4) & ~PCIDE); /* forgets everything */
	says("after", true, 0xc);
	WRITE_CR(4, READ_CR(4) | PCIDE);
	end();
}

void cases_pcid(void)
{
	const u64 was3 = READ_CR(3), was4 = READ_CR(4);

	if (!cpu_has(1, 0, 2, 17)) {
		skip("pcid/user-code", "", "not offered");
		return;
	}
	test_reset();
	space_init(&spaces[0]);
	space_init(&spaces[1]);
	copy(0, in_a);
	copy(1, in_b);
	copy(2, in_c);
	copy(3, say_a);
	copy(4, say_b);
	WRITE_CR(4, was4 | PCIDE);
	begin("pcid/user-code", "");
	switches(true, 1, 2);
	switches(true, 1, 9); /* what is kept may have few places */
	switches(true, 0, 0xfff);
	end();
	begin("pcid/kernel-code", "");
	switches(false, 1, 2);
	switches(false, 1, 9);
	end();
	begin("pcid/return-into-the-other", "call ret");
	returns(0);
	returns(KEEP);
	end();
	begin("pcid/calls-around", "call ret");
	show(0, 3);
	show(1, 4);
	for (unsigned i = 0; i < 4; i++) {
		in.rsi = cr3(0, 1) | (i & 1 ? KEEP : 0);
		in.rdi = cr3(1, 2) | (i & 2 ? KEEP : 0);
		WRITE_CR(3, cr3(0, 1));
		WRITE_CR(3, cr3(1, 2));
		in.r10 = CODE_1;
		run_kernel(both_ways);
		finished();
		check("said", out.r8, 0xabababababull);
	}
	end();
	invalidation();
	WRITE_CR(3, cr3(0, 0));
	WRITE_CR(4, was4);
	WRITE_CR(3, was3);
	test_reset();
}
