/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 4-level paging: what is refused and with which error code, accessed and dirty bits, what a stale
 * translation may not survive. SDM 4.5 to 4.10; error codes: 4.7.
 */
#include "cases.h"

CODE(read_byte, "", "movb (%rax), %dl", "");
CODE(write_byte, "", "movb %dl, (%rax)", "");
CODE(write_ac, "stac", "movb %dl, (%rax)", "clac");
CODE(read_ac, "stac", "movb (%rax), %dl", "clac");
/* The flag changes in functions and between them, for the first hundred turns in one of them only:
 * what comes after it is to go by the flag as it is then, however the code got there before. */
CODE(ac_calls,
     "mov $200, %ecx; xor %esi, %esi; xor %edi, %edi; 1: call 2f; call 3f; call 6f; add %rbx, %rsi;"
     "call 4f; call 6f; add %rbx, %rdi; dec %ecx; jnz 1b; stac; call 4f; jmp 5f;"
     "2: stac; movb (%rax), %dl; clac; ret; 3: cmp $100, %ecx; ja 7f; stac; 7: ret; 4: clac; ret;"
     "6: pushf; pop %rbx; shr $18, %rbx; and $1, %ebx; ret; 5:",
     "movb (%rax), %dl", "");
CODE(jump_rax, "", "jmp *%rax", "");
CODE(exchange, "", "cmpxchg %cl, (%rax)", "");
CODE(load_ds, "stac", "mov %ecx, %ds", "");
CODE(invlpg_rax, "", "invlpg (%rax)", "");
CODE(invpcid_rcx, "", "invpcid (%rax), %rcx", "");
CODE(move_cr3, "mov %cr3, %rsi", "mov %rax, %cr3", "mov %rsi, %cr3");
CODE(move_cr4, "mov %cr4, %rsi", "mov %rax, %cr4", "mov %rsi, %cr4");

#define P   PTE_P
#define W   PTE_W
#define U   PTE_U
#define ALL (P | W | U)

/* INT 0x40 at the start of page @page, for jumps into it. */
static void put_end(unsigned page)
{
	test_memory[page][0] = 0xcd;
	test_memory[page][1] = DONE;
}

static void fault_at(bool user, const char *code, const char *at, u64 address, u64 error)
{
	in.rax = address;
	if (user)
		run_user(code);
	else
		run_kernel(code);
	trapped(14, error, at);
	check("cr2", trap.cr2, address);
}

static void jump_fault(bool user, unsigned page, u64 error)
{
	put_end(page);
	in.rax = TEST(page);
	if (user)
		run_user(jump_rax);
	else
		run_kernel(jump_rax);
	check("vector", trap.vector, 14);
	check("error", trap.error, error);
	check("rip", trap.rip, TEST(page));
	check("cr2", trap.cr2, TEST(page));
}

static void passes(bool user, const char *code, unsigned page)
{
	in.rax = TEST(page);
	if (user)
		run_user(code);
	else
		run_kernel(code);
	finished();
}

static void permissions(void)
{
	test_reset();
	begin("paging/not-present", "");
	test_map(1, 0);
	fault_at(false, read_byte, read_byte_at, TEST(1) + 5, 0);
	fault_at(false, write_byte, write_byte_at, TEST(1) + 5, 2);
	fault_at(true, read_byte, read_byte_at, TEST(1) + 5, 4);
	fault_at(true, write_byte, write_byte_at, TEST(1) + 5, 6);
	jump_fault(false, 1, 0x10);
	jump_fault(true, 1, 0x14);
	end();
	begin("paging/supervisor-page", "");
	test_map(1, P | W);
	fault_at(true, read_byte, read_byte_at, TEST(1), 5);
	fault_at(true, write_byte, write_byte_at, TEST(1), 7);
	jump_fault(true, 1, 0x15);
	passes(false, write_byte, 1);
	end();
	begin("paging/read-only", "");
	test_map(1, P | U);
	fault_at(true, write_byte, write_byte_at, TEST(1), 7);
	passes(true, read_byte, 1);
	test_map(1, P);
	fault_at(false, write_byte, write_byte_at, TEST(1), 3);
	passes(false, read_byte, 1);
	end();
	begin("paging/write-protect-off", "");
	WRITE_CR(0, READ_CR(0) & ~0x10000ull);
	test_map(1, P);
	passes(false, write_byte, 1);
	check("dirty", test_pt[1] & PTE_D, PTE_D);
	test_map(1, P | U);
	fault_at(true, write_byte, write_byte_at, TEST(1), 7);
	WRITE_CR(0, READ_CR(0) | 0x10000);
	end();
	begin("paging/no-execute", "");
	test_map(1, P | U | PTE_NX);
	jump_fault(true, 1, 0x15);
	test_map(1, P | PTE_NX);
	jump_fault(false, 1, 0x11);
	passes(false, read_byte, 1);
	end();
	begin("paging/exchange-is-a-write", "");
	test_map(1, P | U);
	in.rax = TEST(1);
	in.rcx = 1;
	run_user(exchange); /* compares equal or not: it writes */
	trapped(14, 7, exchange_at);
	in.rax = TEST(1) + 1;
	test_memory[1][1] = 0xaa;
	run_user(exchange);
	trapped(14, 7, exchange_at);
	end();
	begin("paging/upper-levels", "");
	test_map(1, ALL);
	*test_pde = (*test_pde & ~W) | PTE_A;
	WRITE_CR(3, READ_CR(3));
	fault_at(true, write_byte, write_byte_at, TEST(1), 7);
	*test_pde = (*test_pde | W) & ~U;
	WRITE_CR(3, READ_CR(3));
	fault_at(true, read_byte, read_byte_at, TEST(1), 5);
	*test_pde = (*test_pde | U) | PTE_NX;
	WRITE_CR(3, READ_CR(3));
	jump_fault(true, 1, 0x15);
	*test_pde &= ~(PTE_NX | P);
	WRITE_CR(3, READ_CR(3));
	fault_at(false, read_byte, read_byte_at, TEST(1), 0);
	test_map(1, ALL);
	end();
}

static void reserved(void)
{
	u32 id[4];
	u64 efer = rdmsr(0xc0000080);

	cpuid(0x80000008, 0, id);
	begin("paging/reserved-address-bits", "");
	if ((id[0] & 0xff) < 52) {
		test_map(1, ALL | 1ull << 51);
		fault_at(false, read_byte, read_byte_at, TEST(1), 9);
		fault_at(true, write_byte, write_byte_at, TEST(1), 0xf);
		jump_fault(true, 1, 0x1d);
	}
	end();
	begin("paging/reserved-not-present", "");
	test_map(1, ALL | 1ull << 51);
	test_pt[1] &= ~P;
	fault_at(false, read_byte, read_byte_at, TEST(1), 0);
	end();
	begin("paging/nx-is-reserved-without-nxe", "");
	wrmsr(0xc0000080, efer & ~0x800ull);
	test_map(1, ALL | PTE_NX);
	fault_at(true, read_byte, read_byte_at, TEST(1), 0xd);
	test_map(1, 0);
	in.rax = TEST(1);
	run_user(jump_rax); /* no NXE and no SMEP: the I bit is not told */
	check("vector", trap.vector, 14);
	check("error", trap.error, 4);
	wrmsr(0xc0000080, efer);
	end();
	begin("paging/large-page-reserved-bits", "");
	test_pde[1] = (u64)0x200000 | ALL | PTE_PS | 1 << 13;
	WRITE_CR(3, READ_CR(3));
	fault_at(false, read_byte, read_byte_at, TEST(512), 9);
	test_pde[1] = 0;
	WRITE_CR(3, READ_CR(3));
	end();
	begin("paging/ps-in-pml4e", "");
	boot_pml4[1] = boot_pml4[0] | PTE_PS;
	fault_at(false, read_byte, read_byte_at, 1ull << 39, 9);
	boot_pml4[1] = 0;
	WRITE_CR(3, READ_CR(3));
	end();
}

static void supervisor_protection(void)
{
	const u64 cr4 = READ_CR(4);

	if (!cpu_has(7, 0, 1, 7)) {
		skip("paging/smep", "", "not offered");
	} else {
		begin("paging/smep", "");
		WRITE_CR(4, cr4 | 1 << 20);
		test_map(1, ALL);
		jump_fault(false, 1, 0x11);
		test_map(1, P | W);
		passes(false, jump_rax, 1);
		test_map(1, ALL);
		passes(true, jump_rax, 1);
		WRITE_CR(4, cr4);
		passes(false, jump_rax, 1);
		end();
	}
	if (!cpu_has(7, 0, 1, 20)) {
		skip("paging/smap", "stac clac", "not offered");
		return;
	}
	begin("paging/smap", "stac clac");
	WRITE_CR(4, cr4 | 1 << 21);
	test_map(1, ALL);
	fault_at(false, read_byte, read_byte_at, TEST(1), 1);
	fault_at(false, write_byte, write_byte_at, TEST(1), 3);
	passes(false, read_ac, 1);
	passes(false, write_ac, 1);
	passes(true, write_byte, 1);
	in.rax = TEST(1);
	in.rflags = 2 | FLAG_AC;
	run_kernel(write_byte);
	finished();
	end();
	begin("paging/smap-in-calls", "stac clac");
	fault_at(false, ac_calls, ac_calls_at, TEST(1), 1);
	check("turns with AC after STAC", out.rsi, 100);
	check("turns with AC after CLAC", out.rdi, 0);
	end();
	begin("paging/smap-implicit-access", "");
	test_map(2, ALL);
	((u64 *)test_memory[2])[1] = DESCRIPTOR(0, 0xfffff, 0xf3, 0xc);
	gdt_set(12, DESCRIPTOR(TEST(2) & 0xffffffff, 0xfff, 0x82, 0));
	gdt_set(13, 0);
	__asm__ volatile("lldt %w0" : : "r"(12 * 8));
	in.rcx = 8 | 4; /* AC does not help where the processor looks by itself */
	run_kernel(load_ds);
	trapped(14, 1, load_ds_at);
	check("cr2", trap.cr2, TEST(2) + 8);
	__asm__ volatile("lldt %w0" : : "r"(0));
	WRITE_CR(4, cr4);
	end();
	begin("paging/stac-is-the-kernels", "stac clac");
	run_user(read_ac);
	trapped(6, NO_ERROR, read_ac);
	end();
}

static void accessed(void)
{
	begin("paging/accessed", "");
	test_map(1, ALL);
	*test_pde &= ~PTE_A;
	WRITE_CR(3, READ_CR(3));
	passes(true, read_byte, 1);
	check("pte", test_pt[1] & (PTE_A | PTE_D), PTE_A);
	check("pde", *test_pde & (PTE_A | PTE_D), PTE_A);
	end();
	begin("paging/dirty", "");
	test_map(1, ALL);
	passes(true, write_byte, 1);
	check("pte", test_pt[1] & (PTE_A | PTE_D), PTE_A | PTE_D);
	test_map(1, ALL);
	passes(true, read_byte, 1);
	passes(true, write_byte, 1);
	check("pte read first", test_pt[1] & (PTE_A | PTE_D), PTE_A | PTE_D);
	end();
	begin("paging/no-dirty-when-refused", "");
	test_map(1, P | U);
	fault_at(true, write_byte, write_byte_at, TEST(1), 7);
	check("pte", test_pt[1] & PTE_D, 0);
	end();
	begin("paging/fetch-is-accessed", "");
	test_map(1, ALL);
	put_end(1);
	passes(true, jump_rax, 1);
	check("pte", test_pt[1] & (PTE_A | PTE_D), PTE_A);
	end();
	begin("paging/large-page", "");
	test_pde[1] = (u64)0x200000 | ALL | PTE_PS;
	WRITE_CR(3, READ_CR(3));
	in.rax = TEST(512) + 0x12345;
	run_kernel(read_byte);
	finished();
	check("pde read", test_pde[1] & (PTE_A | PTE_D), PTE_A);
	in.rax = TEST(512) + 0x12345;
	in.rdx = 0x5a;
	run_kernel(write_byte);
	finished();
	check("pde written", test_pde[1] & (PTE_A | PTE_D), PTE_A | PTE_D);
	check("the byte", *(volatile u8 *)(0x200000 + 0x12345), 0x5a);
	test_pde[1] = 0;
	WRITE_CR(3, READ_CR(3));
	end();
}

/* Page 1 shows memory page @memory, without telling the processor. */
static void remap_silently(unsigned memory, u64 flags)
{
	test_pt[1] = (u64)test_memory[memory] | flags;
}

static u64 seen(void)
{
	in.rax = TEST(1);
	run_kernel(read_byte);
	finished();
	return out.rdx & 0xff;
}

static void invalidation(void)
{
	const u64 cr4 = READ_CR(4);

	test_reset();
	for (unsigned i = 0; i < TEST_PAGES; i++)
		test_memory[i][0] = i;
	begin("paging/invlpg", "invlpg");
	check("before", seen(), 1);
	remap_silently(2, ALL);
	in.rax = TEST(1) + 77;
	run_kernel(invlpg_rax);
	finished();
	check("after", seen(), 2);
	in.rax = 1ull << 63; /* not canonical: nothing happens */
	run_kernel(invlpg_rax);
	finished();
	run_user(invlpg_rax);
	trapped(13, 0, invlpg_rax_at);
	end();
	begin("paging/mov-cr3-forgets", "");
	remap_silently(3, ALL);
	WRITE_CR(3, READ_CR(3));
	check("after", seen(), 3);
	end();
	begin("paging/global", "");
	WRITE_CR(4, cr4 | 0x80);
	remap_silently(4, ALL | PTE_G);
	WRITE_CR(3, READ_CR(3));
	seen();
	remap_silently(5, ALL | PTE_G);
	__asm__ volatile("invlpg (%0)" : : "r"(TEST(1)) : "memory");
	check("after invlpg", seen(), 5);
	remap_silently(6, ALL | PTE_G);
	WRITE_CR(4, cr4);
	check("after PGE changed", seen(), 6);
	remap_silently(7, ALL);
	WRITE_CR(4, cr4 | 0x80);
	check("after PGE changed back", seen(), 7);
	WRITE_CR(4, cr4);
	end();
	begin("paging/more-rights-without-invalidation", "");
	test_map(1, P); /* a fault is never from a stale entry: SDM 4.10.4.2 */
	seen();
	fault_at(true, read_byte, read_byte_at, TEST(1), 5);
	test_pt[1] |= U | W;
	in.rax = TEST(1);
	run_user(read_byte);
	if (trap.vector == 14) { /* one spurious fault is allowed */
		in.rax = TEST(1);
		run_user(read_byte);
	}
	finished();
	end();
}

static void pcid(void)
{
	const u64 cr3 = READ_CR(3), cr4 = READ_CR(4);
	static struct {
		u64 pcid, address;
	} descriptor __attribute__((aligned(16)));

	if (!cpu_has(1, 0, 2, 17)) {
		skip("paging/pcid", "", "not offered");
	} else {
		begin("paging/pcid", "");
		in.rax = cr3 | 1ull << 63; /* reserved while PCIDE is off */
		run_kernel(move_cr3);
		trapped(13, 0, move_cr3_at);
		WRITE_CR(3, cr3 | 8); /* PWT: nonzero low bits */
		in.rax = cr4 | 1 << 17;
		run_kernel(move_cr4);
		trapped(13, 0, move_cr4_at);
		WRITE_CR(3, cr3);
		WRITE_CR(4, cr4 | 1 << 17);
		WRITE_CR(3, cr3 | 5);
		remap_silently(8, ALL);
		WRITE_CR(3, cr3 | 5);
		check("after the same PCID", seen(), 8);
		WRITE_CR(3, cr3 | 6 | 1ull << 63);
		check("cr3 reads without bit 63", READ_CR(3), cr3 | 6);
		remap_silently(9, ALL);
		WRITE_CR(3, cr3 | 5);
		check("after another one", seen(), 9);
		WRITE_CR(3, cr3);
		WRITE_CR(4, cr4);
		end();
	}
	if (!cpu_has(7, 0, 1, 10)) {
		skip("paging/invpcid", "invpcid", "not offered");
		return;
	}
	begin("paging/invpcid", "invpcid");
	for (unsigned type = 0; type < 4; type++) {
		remap_silently(10, ALL);
		WRITE_CR(3, cr3);
		seen();
		remap_silently(11 + type, ALL);
		descriptor.address = TEST(1);
		in.rax = (u64)&descriptor;
		in.rcx = type;
		run_kernel(invpcid_rcx);
		finished();
		check("what is seen", seen(), 11 + type);
	}
	in.rax = (u64)&descriptor;
	in.rcx = 4;
	run_kernel(invpcid_rcx);
	trapped(13, 0, invpcid_rcx_at);
	descriptor.pcid = 1ull << 12;
	in.rax = (u64)&descriptor;
	run_kernel(invpcid_rcx);
	trapped(13, 0, invpcid_rcx_at);
	descriptor.pcid = 0;
	descriptor.address = 1ull << 63;
	in.rax = (u64)&descriptor;
	run_kernel(invpcid_rcx); /* an address that is not canonical, where it counts: type 0 */
	trapped(13, 0, invpcid_rcx_at);
	descriptor.pcid = 1; /* only 0 without PCIDE */
	descriptor.address = TEST(1);
	in.rax = (u64)&descriptor;
	run_kernel(invpcid_rcx);
	trapped(13, 0, invpcid_rcx_at);
	in.rax = USER(&descriptor);
	run_user(invpcid_rcx);
	trapped(13, 0, invpcid_rcx_at);
	end();
}

void cases_paging(void)
{
	permissions();
	reserved();
	supervisor_protection();
	accessed();
	invalidation();
	pcid();
	test_reset();
}
