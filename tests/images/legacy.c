/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The worlds of legacy.h: their tables, and running a piece in one. */
#include "legacy.h"

struct world world;
struct tss32 tss32;
u64 pae_pdpt[4] __attribute__((aligned(32)));
u64 idt32[256];
u32 two_pd[1024] __attribute__((aligned(4096))), two_pt[1024] __attribute__((aligned(4096)));

void enter_legacy(void);
extern char legacy_stubs[], real_begin[], real_end[], real_area[], real_stubs[];

#define CR0_PE    1u
#define CR0_WORLD 0x10033u /* WP, NE, ET, MP, PE */
#define CR0_PG    0x80000000u
#define CR4_WORLD 0x600u /* OSFXSR, OSXMMEXCPT */
#define CR4_PSE   0x10u
#define CR4_PAE   0x20u

#define REAL_IVT 0x2a000 /* behind the block */

/* ---- tables ---------------------------------------------------------------------------------- */

void gate32_set(unsigned vector, unsigned type, unsigned dpl)
{
	u64 at = (u64)legacy_stubs + vector * 16;

	idt32[vector] = (at & 0xffff) | SEL_CODE32 << 16 | (u64)(type ? 0x80 | type : 0xe) << 40 |
			(u64)dpl << 45 | (at >> 16) << 48;
}

void tss32_set(unsigned type, u32 limit)
{
	gdt_set(SEL_TSS32 / 8, DESCRIPTOR((u64)&tss32, limit, 0x80 | type, 0));
}

void test_map32(unsigned page, u32 flags)
{
	two_pt[page] = flags ? (u32)(u64)test_memory[page % TEST_PAGES] | flags : 0;
}

/* 4 MiB pages: the image, and for users at USER_OFFSET; the region's page table. */
static void two_level_init(void)
{
	for (u32 i = 0; i < 256; i++) {
		two_pd[i] = i << 22 | PTE_P | PTE_W | PTE_A | PTE_D | PTE_PS;
		two_pd[256 + i] = two_pd[i] | PTE_U;
	}
	two_pd[512] = (u32)(u64)two_pt | PTE_P | PTE_W | PTE_U;
	for (unsigned i = 0; i < TEST_PAGES; i++)
		test_map32(i, PTE_P | PTE_W | PTE_U);
}

static void pae_init(void)
{
	const u64 *pdpt = (u64 *)(boot_pml4[0] & ~0xfffull);

	for (unsigned i = 0; i < 4; i++)
		pae_pdpt[i] = (pdpt[i] & ~0xfffull) | PTE_P;
}

static void real_init(void)
{
	u32 *ivt = (u32 *)REAL_IVT;

	for (unsigned i = 0; i < 256; i++)
		ivt[i] = REAL_SEG << 16 | (u32)(real_stubs - real_begin + i * 8);
	for (unsigned i = 0; i < (u64)(real_end - real_begin); i++)
		real_at(REAL_SEG, 0)[i] = real_begin[i];
}

void legacy_init(void)
{
	for (unsigned i = 0; i < 256; i++)
		gate32_set(i, 0xe, 0);
	gate32_set(DONE, 0xe, 3);
	tss32.esp0 = (u32)(u64)rsp0_stack_top;
	tss32.ss0 = SEL_DATA;
	tss32.iomap = sizeof(tss32);
	tss32_set(9, sizeof(tss32) - 1);
	gdt_set(SEL_TSS32 / 8 + 1, boot_gdt[SEL_TSS32 / 8]);
	gdt_set(SEL_CODE16 / 8, DESCRIPTOR(REAL_SEG << 4, 0xffff, 0x9b, 0));
	gdt_set(SEL_DATA16 / 8, DESCRIPTOR(0, 0xffff, 0x93, 0));
	world.tr = SEL_TSS32;
	world.idt_base = (u32)(u64)idt32;
	pae_init();
	two_level_init();
	real_init();
	world_flat();
}

/* ---- worlds ---------------------------------------------------------------------------------- */

void world_flat(void)
{
	world.cr0 = CR0_WORLD;
	world.cr3 = world.efer = 0;
	world.cr4 = CR4_WORLD;
	world.idt_limit = sizeof(idt32) - 1;
}

void world_two_level(void)
{
	world_flat();
	world.cr0 |= CR0_PG;
	world.cr3 = (u32)(u64)two_pd;
	world.cr4 |= CR4_PSE;
}

void world_pae(void)
{
	world_flat();
	world.cr0 |= CR0_PG;
	world.cr3 = (u32)(u64)pae_pdpt;
	world.cr4 |= CR4_PAE;
	world.efer = 0x800; /* NXE */
}

/* ---- running --------------------------------------------------------------------------------- */

static void clear(void *data, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		((char *)data)[i] = 0;
}

/* The task register of long mode again: its descriptor has become busy. */
static void back_to_long(void)
{
	__asm__ volatile("lidt %0" : : "m"(idt_table));
	boot_gdt[SEL_TSS / 8] &= ~(2ull << 40);
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

static void go(void)
{
	clear(&out, sizeof(out));
	clear(&trap, sizeof(trap));
	trap.vector = 0xfff;
	boot_gdt[SEL_TSS32 / 8] &= ~(2ull << 40);
	enter_legacy();
	back_to_long();
	in_reset();
}

static void run(u64 rip, u16 cs, u16 ss, u64 rsp)
{
	in.rip = in.rip ? in.rip : rip;
	in.cs = in.cs ? in.cs : cs;
	in.ss = in.ss ? in.ss : ss;
	in.rsp = in.rsp ? in.rsp : rsp;
	world.real = 0;
	go();
}

void run_legacy(const char *code)
{
	run((u64)code, SEL_CODE32, SEL_DATA, (u64)kernel_stack_top);
}

void run_legacy_user(const char *code)
{
	run(USER(code), SEL_USER32, SEL_UDATA, USER(user_stack_top));
}

/* ---- real mode ------------------------------------------------------------------------------- */

struct area {
	u32 eax, ebx, ecx, edx, esi, edi, ebp, esp;
	u16 ip, cs, flags, ss, ds, es, vector, handler_flags;
	u32 handler_esp;
	u16 idt_limit;
	u32 idt_base;
	u16 gdt_limit;
	u32 gdt_base;
} __attribute__((packed));
_Static_assert(sizeof(struct area) == REAL_BYTES && offsetof(struct area, idt_limit) == REAL_IDT,
	       "as legacy.h says");

void run_real(const char *code)
{
	struct area *a = (void *)real_at(REAL_SEG, real_area - real_begin);
	u16 limit = world.idt_limit;

	for (unsigned i = 0; i < 0x200; i++)
		real_at(REAL_CODE, 0)[i] = code[i];
	world_flat();
	world.real = 1;
	*a = (struct area){ in.rax,
			    in.rbx,
			    in.rcx,
			    in.rdx,
			    in.rsi,
			    in.rdi,
			    in.rbp,
			    in.rsp ? in.rsp : 0x1000,
			    in.rip,
			    in.cs ? in.cs : REAL_CODE,
			    in.rflags,
			    in.ss ? in.ss : REAL_STACK,
			    in.ds == SEL_UDATA ? REAL_DATA : in.ds,
			    in.ds == SEL_UDATA ? REAL_DATA : in.ds,
			    .idt_limit = limit == sizeof(idt32) - 1 ? 0x3ff : limit,
			    .idt_base = REAL_IVT,
			    .gdt_limit = gdt_table.limit,
			    .gdt_base = gdt_table.base };
	go();
	out = (struct registers){ .rax = a->eax,
				  .rbx = a->ebx,
				  .rcx = a->ecx,
				  .rdx = a->edx,
				  .rsi = a->esi,
				  .rdi = a->edi,
				  .rbp = a->ebp };
	trap.vector = a->vector;
	trap.error = NO_ERROR;
	trap.rip = a->ip;
	trap.cs = a->cs;
	trap.rflags = a->flags;
	trap.rsp = a->esp;
	trap.ss = a->ss;
	trap.ds = a->ds;
	trap.es = a->es;
	trap.handler_flags = a->handler_flags;
	trap.handler_rsp = a->handler_esp;
}

void image_main(void)
{
	frame_init();
	legacy_init();
	cases_pae();
	cases_two_level();
	cases_gate();
	cases_code();
	cases_real();
	plan_end();
}
