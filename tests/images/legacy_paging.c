/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PAE paging and 32-bit paging, outside long mode: rights, error codes, reserved bits, when PDPTEs
 * are loaded. SDM 4.3, 4.4, 4.6, 4.7; accessed and dirty: 4.8.
 */
#include "legacy.h"

CODE32(read_32, "", "movb (%eax), %dl", "");
CODE32(write_32, "", "movb %dl, (%eax)", "");
CODE32(jump_32, "", "jmp *%eax", "");
CODE32(load_cr3, "", "mov %eax, %cr3", "mov %cr3, %ebx");
/* PDPTEs are the processor's own: (%esi) = %ecx is the fourth's new value, (%eax) lies behind it.
 */
CODE32(change_pdpte, "movl %ecx, (%esi)", "movb (%eax), %dl", "");
CODE32(change_and_load, "movl %ecx, (%esi); mov %cr3, %ebx; mov %ebx, %cr3", "movb (%eax), %dl",
       "");
CODE32(change_and_toggle, "movl %ecx, (%esi); mov %cr4, %ebx; xor $0x80, %ebx; mov %ebx, %cr4",
       "movb (%eax), %dl", "");
CODE32(change_and_disable_caches,
       "movl %ecx, (%esi); mov %cr0, %ebx; xor $0x40000000, %ebx; mov %ebx, %cr0",
       "movb (%eax), %dl", "xor $0x40000000, %ebx; mov %ebx, %cr0");
CODE32(change_and_write_protect,
       "movl %ecx, (%esi); mov %cr0, %ebx; xor $0x10000, %ebx; mov %ebx, %cr0", "movb (%eax), %dl",
       "");
CODE32(bad_toggle, "movl %ecx, (%esi); mov %cr4, %ebx; xor $0x80, %ebx", "mov %ebx, %cr4", "");
CODE32(bad_paging_on, "mov %cr0, %ebx; or $0x80000000, %ebx", "mov %ebx, %cr0", "");
CODE32(pae_off, "mov %cr4, %ebx; and $~0x20, %ebx", "mov %ebx, %cr4", "movb (%eax), %dl");

#define P   PTE_P
#define W   PTE_W
#define U   PTE_U
#define ALL (P | W | U)

static void fault_at(bool user, const char *code, const char *at, u64 address, u64 error)
{
	in.rax = address;
	if (user)
		run_legacy_user(code);
	else
		run_legacy(code);
	trapped(14, error, at);
	check("cr2", trap.cr2, address);
}

static void passes(bool user, const char *code, unsigned page)
{
	in.rax = TEST(page);
	if (user)
		run_legacy_user(code);
	else
		run_legacy(code);
	finished();
}

static void jump_fault(bool user, unsigned page, u64 error)
{
	test_memory[page][0] = 0xcd;
	test_memory[page][1] = DONE;
	in.rax = TEST(page);
	if (user)
		run_legacy_user(jump_32);
	else
		run_legacy(jump_32);
	check("vector", trap.vector, 14);
	check("error", trap.error, error);
	check("rip", trap.rip, TEST(page));
	check("cr2", trap.cr2, TEST(page));
}

/* What both forms have in common; @map sets the page's entry. */
static void permissions(void (*map)(unsigned page, u64 flags), u64 fetch)
{
	map(1, 0);
	fault_at(false, read_32, read_32_at, TEST(1) + 5, 0);
	fault_at(false, write_32, write_32_at, TEST(1) + 5, 2);
	fault_at(true, read_32, read_32_at, TEST(1) + 5, 4);
	fault_at(true, write_32, write_32_at, TEST(1) + 5, 6);
	jump_fault(false, 1, fetch);
	jump_fault(true, 1, 4 | fetch);
	map(1, P | W);
	fault_at(true, read_32, read_32_at, TEST(1), 5);
	fault_at(true, write_32, write_32_at, TEST(1), 7);
	jump_fault(true, 1, 5 | fetch);
	passes(false, write_32, 1);
	map(1, P | U);
	fault_at(true, write_32, write_32_at, TEST(1), 7);
	fault_at(false, write_32, write_32_at, TEST(1), 3);
	passes(true, read_32, 1);
	passes(false, read_32, 1);
	world.cr0 &= ~0x10000u; /* WP */
	passes(false, write_32, 1);
	fault_at(true, write_32, write_32_at, TEST(1), 7);
	world.cr0 |= 0x10000;
	map(1, ALL);
	passes(true, write_32, 1);
}

/* ---- PAE ------------------------------------------------------------------------------------- */

static void pae_rights(void)
{
	test_reset();
	world_pae();
	begin("pae/permissions", "");
	permissions(test_map, 0x10);
	end();
	begin("pae/no-execute", "");
	test_map(1, ALL | PTE_NX);
	jump_fault(true, 1, 0x15);
	jump_fault(false, 1, 0x11);
	passes(true, write_32, 1);
	end();
	begin("pae/page-directory", "");
	test_map(1, ALL);
	*test_pde = (u64)test_pt | P | U;
	fault_at(true, write_32, write_32_at, TEST(1), 7);
	*test_pde = (u64)test_pt | P | W;
	fault_at(true, read_32, read_32_at, TEST(1), 5);
	*test_pde = (u64)test_pt | ALL | PTE_NX;
	jump_fault(false, 1, 0x11);
	*test_pde = 0;
	fault_at(false, read_32, read_32_at, TEST(1), 0);
	test_reset();
	end();
	begin("pae/without-nxe", "");
	world.efer = 0;
	test_map(1, 0);
	jump_fault(true, 1, 4); /* the error code does not tell fetches */
	test_map(1, ALL | PTE_NX);
	fault_at(false, read_32, read_32_at, TEST(1), 9); /* reserved */
	test_reset();
	world_pae();
	end();
	begin("pae/smep", "");
	if (cpu_has(7, 0, 1, 7)) {
		world.cr4 |= 1 << 20;
		world.efer = 0;
		jump_fault(false, 1, 0x11);
		world_pae();
	}
	end();
}

static void pae_reserved(void)
{
	begin("pae/reserved-address-bits", "");
	for (unsigned bit = 52; bit < 63; bit += 5) {
		test_map(1, ALL | 1ull << bit);
		fault_at(false, read_32, read_32_at, TEST(1), 9);
		fault_at(true, write_32, write_32_at, TEST(1), 0xf);
		test_map(1, ALL);
		*test_pde = (u64)test_pt | ALL | 1ull << bit;
		fault_at(false, read_32, read_32_at, TEST(1), 9);
		test_reset();
	}
	test_map(1, 1ull << 52 | W | U); /* not present: not looked at */
	fault_at(false, read_32, read_32_at, TEST(1), 0);
	test_reset();
	end();
	begin("pae/large-page", "");
	*(u64 *)test_memory[3] = 0x1122334455667788;
	*test_pde = ((u64)test_memory & ~0x1fffffull) | ALL | PTE_PS;
	in.rax = 0x80000000 + ((u64)test_memory[3] & 0x1fffff);
	run_legacy(read_32);
	finished();
	check("byte", out.rdx & 0xff, 0x88);
	check("accessed", *test_pde & (PTE_A | PTE_D), PTE_A);
	in.rax = 0x80000000 + ((u64)test_memory[3] & 0x1fffff);
	run_legacy_user(write_32);
	finished();
	check("dirty", *test_pde & (PTE_A | PTE_D), PTE_A | PTE_D);
	*test_pde = ((u64)test_memory & ~0x1fffffull) | ALL | PTE_PS | 0x2000;
	fault_at(false, read_32, read_32_at, TEST(1), 9);
	test_reset();
	end();
}

static void pdptes(void)
{
	static u64 bad[4] __attribute__((aligned(32)));
	const u64 was = pae_pdpt[2];

	begin("pae/pdpte-not-present", "");
	pae_pdpt[2] = was & ~1ull;
	fault_at(false, read_32, read_32_at, TEST(1), 0);
	fault_at(true, write_32, write_32_at, TEST(1), 6);
	pae_pdpt[2] = 0x1e6 | 1ull << 62; /* not present: reserved bits may be set */
	fault_at(false, read_32, read_32_at, TEST(1), 0);
	pae_pdpt[2] = was;
	end();
	begin("pae/pdptes-are-registers", "");
	in.rsi = (u64)&pae_pdpt[2];
	in.rax = TEST(1);
	run_legacy(change_pdpte);
	finished();
	pae_pdpt[2] = was;
	in.rsi = (u64)&pae_pdpt[2];
	in.rax = TEST(1);
	run_legacy(change_and_write_protect);
	finished();
	pae_pdpt[2] = was;
	end();
	begin("pae/pdptes-loaded-by-cr3", "");
	in.rsi = (u64)&pae_pdpt[2];
	in.rax = TEST(1);
	run_legacy(change_and_load);
	trapped(14, 0, change_and_load_at);
	pae_pdpt[2] = was;
	end();
	begin("pae/pdptes-loaded-by-cr4", "");
	in.rsi = (u64)&pae_pdpt[2];
	in.rax = TEST(1);
	run_legacy(change_and_toggle);
	trapped(14, 0, change_and_toggle_at);
	pae_pdpt[2] = was;
	end();
	begin("pae/pdptes-loaded-by-cr0", "");
	in.rsi = (u64)&pae_pdpt[2];
	in.rax = TEST(1);
	run_legacy(change_and_disable_caches);
	trapped(14, 0, change_and_disable_caches_at);
	pae_pdpt[2] = was;
	end();
	begin("pae/reserved-in-pdpte", "");
	for (unsigned bit = 1; bit < 64; bit = bit < 8 ? bit + 1 : bit + 11) {
		if (bit == 3 || bit == 4)
			continue; /* PWT and PCD */
		for (unsigned i = 0; i < 4; i++)
			bad[i] = pae_pdpt[i];
		bad[3] |= 1ull << (bit < 8 ? bit : bit + 43 < 64 ? bit + 43 : 63);
		in.rax = (u64)bad;
		run_legacy(load_cr3);
		trapped(13, 0, load_cr3_at);
	}
	for (unsigned i = 0; i < 4; i++)
		bad[i] = pae_pdpt[i] | 0x18 | 0xe00;
	in.rax = (u64)bad | 0x18;
	run_legacy(load_cr3);
	finished();
	check("cr3", out.rbx, (u64)bad | 0x18);
	end();
	begin("pae/refused-by-cr4", "");
	in.rsi = (u64)&pae_pdpt[2];
	in.rcx = (was & 0xffffffff) | 2;
	run_legacy(bad_toggle);
	trapped(13, 0, bad_toggle_at);
	pae_pdpt[2] = was;
	end();
	begin("pae/refused-by-cr0", "");
	bad[0] = pae_pdpt[0] | 0x100;
	world.cr0 &= 0x7fffffff;
	world.cr3 = (u64)bad;
	run_legacy(bad_paging_on);
	trapped(13, 0, bad_paging_on_at);
	world_pae();
	end();
	/* The same CR3 read as a page directory: its first entries are the PDPTEs'. */
	begin("pae/switched-off", "");
	world.cr3 = (u32)(u64)two_pd;
	world.cr0 &= 0x7fffffff;
	in.rax = (u64)test_memory;
	run_legacy(pae_off);
	finished();
	world_pae();
	end();
}

/* ---- 32-bit paging --------------------------------------------------------------------------- */

static void map_two(unsigned page, u64 flags)
{
	test_map32(page, flags);
}

void cases_two_level(void)
{
	const u32 was = two_pd[512];

	test_reset();
	world_two_level();
	begin("two-level/permissions", "");
	permissions(map_two, 0);
	end();
	begin("two-level/page-directory", "");
	two_pd[512] = (u32)(u64)two_pt | P | U;
	fault_at(true, write_32, write_32_at, TEST(1), 7);
	two_pd[512] = (u32)(u64)two_pt | P | W;
	fault_at(true, read_32, read_32_at, TEST(1), 5);
	two_pd[512] = 0;
	fault_at(false, read_32, read_32_at, TEST(1), 0);
	two_pd[512] = was;
	end();
	begin("two-level/accessed-and-dirty", "");
	two_pd[512] = was & ~0x60u;
	test_map32(1, ALL);
	passes(false, read_32, 1);
	check("pde", two_pd[512] & (PTE_A | PTE_D), PTE_A);
	check("pte", two_pt[1] & (PTE_A | PTE_D), PTE_A);
	passes(true, write_32, 1);
	check("pde", two_pd[512] & (PTE_A | PTE_D), PTE_A);
	check("pte after", two_pt[1] & (PTE_A | PTE_D), PTE_A | PTE_D);
	test_map32(1, P);
	fault_at(false, write_32, write_32_at, TEST(1), 3);
	check("refused", two_pt[1] & (PTE_A | PTE_D), 0);
	test_map32(1, ALL);
	end();
	begin("two-level/large-page", "");
	test_memory[3][0] = 0x88;
	two_pd[512] = ((u32)(u64)test_memory & ~0x3fffffu) | ALL | PTE_PS;
	in.rax = 0x80000000 + ((u64)test_memory[3] & 0x3fffff);
	run_legacy_user(read_32);
	finished();
	check("byte", out.rdx & 0xff, 0x88);
	check("accessed", two_pd[512] & (PTE_A | PTE_D), PTE_A);
	in.rax = 0x80000000 + ((u64)test_memory[3] & 0x3fffff);
	run_legacy(write_32);
	finished();
	check("dirty", two_pd[512] & (PTE_A | PTE_D), PTE_A | PTE_D);
	two_pd[512] |= 1 << 21; /* reserved, PSE-36 or not */
	fault_at(true, read_32, read_32_at, TEST(1), 0xd);
	two_pd[512] = was;
	end();
	begin("two-level/ignored-bits", "");
	two_pd[512] = was | 0xe00;
	test_map32(1, ALL | 0xe00);
	passes(true, write_32, 1);
	two_pd[512] = was;
	test_map32(1, ALL);
	end();
	begin("two-level/smep", "");
	if (cpu_has(7, 0, 1, 7)) {
		world.cr4 |= 1 << 20;
		jump_fault(false, 1, 0x11);
		test_map32(1, 0);
		jump_fault(true, 1, 0x14);
		test_map32(1, ALL);
	}
	end();
	world_flat();
}

void cases_pae(void)
{
	pae_rights();
	pae_reserved();
	pdptes();
	world_flat();
}
