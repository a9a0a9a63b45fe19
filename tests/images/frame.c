/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The frame of the cases: tables of the processor, running a piece of code, saying what came out.
 */
#include "cases.h"

struct tss tss;
struct table idt_table, gdt_table;
u64 test_pt[512] __attribute__((aligned(4096)));
u8 test_memory[TEST_PAGES][4096] __attribute__((aligned(4096)));
u64 *test_pde;

static u64 idt[256][2];
static u64 user_pd[512] __attribute__((aligned(4096)));
static u64 test_pd[512] __attribute__((aligned(4096)));
static u64 device_pd[512] __attribute__((aligned(4096)));

static const char *case_name, *case_rows;
static unsigned case_count, case_bad;

/* ---- tables ---------------------------------------------------------------------------------- */

static u64 *boot_pdpt(void)
{
	return (u64 *)(boot_pml4[0] & ~0xfffull);
}

void gate_set(unsigned vector, unsigned type, unsigned dpl, unsigned ist)
{
	u64 at = (u64)trap_stubs + vector * 16;

	idt[vector][0] = (at & 0xffff) | SEL_CODE64 << 16 | (u64)ist << 32 |
			 (u64)(type ? 0x80 | type : 0xe) << 40 | (u64)dpl << 45 | (at >> 16) << 48;
	idt[vector][1] = at >> 32;
}

u16 gdt_set(unsigned index, u64 descriptor)
{
	boot_gdt[index] = descriptor;
	return index * 8;
}

void test_map(unsigned page, u64 flags)
{
	u64 at = TEST(page);

	test_pt[page] = flags ? ((u64)test_memory[page % TEST_PAGES] | flags) : 0;
	*test_pde = (u64)test_pt | PTE_P | PTE_W | PTE_U;
	__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
}

void test_reset(void)
{
	u64 *to = (u64 *)test_memory;

	for (unsigned i = 0; i < sizeof(test_memory) / 8; i++)
		to[i] = 0;
	for (unsigned i = 0; i < TEST_PAGES; i++)
		test_map(i, PTE_P | PTE_W | PTE_U);
}

static void map_init(void)
{
	const u64 *pd = (u64 *)(boot_pdpt()[0] & ~0xfffull);

	for (unsigned i = 0; i < 512; i++)
		user_pd[i] = pd[i] | PTE_U;
	test_pde = &test_pd[0];
	device_pd[0x1f7] = 0xfee00000 | PTE_P | PTE_W | PTE_PS | 0x18; /* local APIC, uncached */
	boot_pdpt()[1] = (u64)user_pd | PTE_P | PTE_W | PTE_U;
	boot_pdpt()[2] = (u64)test_pd | PTE_P | PTE_W | PTE_U;
	boot_pdpt()[3] = (u64)device_pd | PTE_P | PTE_W;
	test_reset();
}

void frame_init(void)
{
	outb(0x21, 0xff); /* firmware may have left the PIC's timer interrupt on */
	outb(0xa1, 0xff);
	for (unsigned i = 0; i < 256; i++)
		gate_set(i, 0xe, 0, 0);
	gate_set(DONE, 0xe, 3, 0);
	gate_set(8, 0xe, 0, 1);
	idt_table = (struct table){ sizeof(idt) - 1, (u64)idt };
	__asm__ volatile("lidt %0" : : "m"(idt_table));
	__asm__ volatile("sgdt %0" : "=m"(gdt_table));
	tss.rsp[0] = (u64)rsp0_stack_top;
	tss.ist[0] = (u64)ist_stack_top;
	tss.iomap = offsetof(struct tss, map);
	for (unsigned i = 0; i < sizeof(tss.map); i++)
		tss.map[i] = 0xff;
	gdt_set(8, DESCRIPTOR((u64)&tss, sizeof(tss) - 1, 0x89, 0));
	gdt_set(9, (u64)&tss >> 32);
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
	map_init();
	in_reset();
}

/* ---- running --------------------------------------------------------------------------------- */

void enter_code(void);

void in_reset(void)
{
	in = (struct registers){ .rflags = 2, .ds = SEL_UDATA };
}

static void run(u64 rip, u16 cs, u16 ss, u64 rsp)
{
	in.rip = in.rip ? in.rip : rip;
	in.cs = in.cs ? in.cs : cs;
	in.ss = in.ss ? in.ss : ss;
	in.rsp = in.rsp ? in.rsp : rsp;
	trap.vector = 0xfff;
	enter_code();
	in_reset();
}

void run_kernel(const char *code)
{
	run((u64)code, SEL_CODE64, SEL_DATA, (u64)kernel_stack_top);
}

void run_user(const char *code)
{
	run(USER(code), SEL_USER64, SEL_UDATA, USER(user_stack_top));
}

void run_compat(const char *code)
{
	run((u64)code, SEL_CODE32, SEL_DATA, (u64)kernel_stack_top);
}

void run_user_compat(const char *code)
{
	run(USER(code), SEL_USER32, SEL_UDATA, USER(user_stack_top));
}

/* ---- judging --------------------------------------------------------------------------------- */

void begin(const char *name, const char *rows)
{
	case_name = name;
	case_rows = rows;
	case_bad = 0;
	case_count++;
	in_reset();
}

static void wrong(void)
{
	print(case_bad++ ? ", " : "not ok ");
	if (case_bad == 1) {
		print(case_name);
		print(": ");
	}
}

void check(const char *what, u64 got, u64 want)
{
	if (got == want)
		return;
	wrong();
	print(what);
	print(" got ");
	print_hex(got);
	print(" want ");
	print_hex(want);
}

void trapped(u64 vector, s64 error, const void *rip)
{
	u64 at = trap.cs & 3 ? USER(rip) : (u64)rip;

	check("vector", trap.vector, vector);
	if (trap.vector != vector)
		check("there error", trap.error, 0xdead);
	check("error", trap.error, error);
	if (rip)
		check("rip", trap.rip, at);
}

void finished(void)
{
	check("vector", trap.vector, DONE);
	if (trap.vector != DONE) {
		check("its error", trap.error, 0xdead);
		check("its rip", trap.rip, 0);
	}
}

void end(void)
{
	if (!case_bad) {
		print("ok ");
		print(case_name);
	}
	if (*case_rows) {
		print(" # rows: ");
		print(case_rows);
	}
	print("\n");
}

void skip(const char *name, const char *rows, const char *why)
{
	case_count++;
	print("skip ");
	print(name);
	print(": ");
	print(why);
	if (*rows) {
		print(" # rows: ");
		print(rows);
	}
	print("\n");
}

void plan_end(void)
{
	print("cases ");
	print_hex(case_count);
	print("\n");
}

bool cpu_is_amd(void)
{
	u32 id[4];

	cpuid(0, 0, id);
	return id[1] == 0x68747541 || id[1] == 0x6f677948; /* Auth[enticAMD], Hygo[nGenuine] */
}

bool cpu_is_tcg(void)
{
	u32 id[4];

	cpuid(0x40000000, 0, id);
	return id[1] == 0x54474354 && id[2] == 0x43544743; /* TCGTCGTCGTCG */
}

bool cpu_has(u32 leaf, u32 subleaf, unsigned reg, unsigned bit)
{
	u32 id[4];

	cpuid(leaf & 0x80000000, 0, id);
	if (id[0] < leaf)
		return false;
	cpuid(leaf, subleaf, id);
	return id[reg] >> bit & 1;
}
