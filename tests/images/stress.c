/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that gives its processors no rest: each changes code that it runs itself, moves code
 * between pages and addresses, and all run code that the first one patches and a page that it
 * replaces, with the shootdown by IPI that the manual asks for (SDM vol. 3 4.10.5 and 8.1.3). Each
 * result is checked.
 *
 *   own page     mov $n, %eax; ret  written, called, moved to another page, remapped, called
 *   patched      the same for all; the first processor stores n + 1, publishes it, and so on: a
 *                call never returns less than was published before it, nor more than is stored
 *                after it
 *   shared page  says its generation; the old page is poisoned once all have acknowledged
 *   disk's code  stress_dma.c
 */
#include "stress.h"

#define ROUNDS   1000
#define REMAPS   8  /* rounds a shootdown */
#define READS    10 /* rounds a read from the disk */
#define APIC     0xfee00000ull
#define SHARED   (WINDOW + 64 * PAGE)
#define POISON   0xdeadbeef
#define VECTOR   0x50
#define TOLD_MAX 50 /* failures */

static struct cpu_place {
	u8 code[2][4096];
	u8 stack[8192];
} places[CPUS_MAX] __attribute__((aligned(4096)));
static u32 shared_pages[2][1024] __attribute__((aligned(4096)));
static u8 patched[4096] __attribute__((aligned(4096)));
static u64 window_pd[512] __attribute__((aligned(4096))),
	window_pt[512] __attribute__((aligned(4096)));
static u64 device_pd[512] __attribute__((aligned(4096))), idt[256][2];
static struct {
	u16 limit;
	u64 base;
} __attribute__((packed)) idtr = { sizeof(idt) - 1, 0 };

static unsigned cpus = 1;
static u32 console, published, generation, acknowledged, finished, failures, started;
extern char ap_boot[], ap_boot_end[];
extern u32 ap_stack;

static volatile u32 *apic(unsigned offset)
{
	return (u32 *)(APIC + offset);
}

void failed(const char *what, u64 got, u64 want)
{
	if (ADD(failures, 1) > TOLD_MAX)
		return;
	lock(&console);
	print("wrong: ");
	print(what);
	print(" got ");
	print_hex(got);
	print(" want ");
	print_hex(want);
	print("\n");
	unlock(&console);
}

u64 window_map(unsigned index, const void *page)
{
	u64 at = WINDOW + index * PAGE;

	window_pt[index] = (u64)page | 3;
	flush_page(at);
	return at;
}

struct interrupt_frame;
__attribute__((interrupt)) static void shootdown(struct interrupt_frame *frame)
{
	flush_page(SHARED);
	ADD(acknowledged, 1);
	*apic(0xb0) = 0;
}

static void own_page(unsigned cpu, u32 round)
{
	struct cpu_place *place = &places[cpu];
	u64 here = WINDOW + cpu * PAGE;
	unsigned slot = round * 16 % 4064;
	u32 value = round * 2654435761u + cpu, got;

	put_function(place->code[0] + slot, value);
	got = call((u64)place->code[0] + slot);
	if (got != value)
		failed("own code", got, value);
	put_function(place->code[1] + slot, ~value);
	for (unsigned page = 0; page < 2; page++) {
		window_map(cpu, place->code[page]);
		got = call(here + slot);
		if (got != (page ? ~value : value))
			failed("moved code", got, page ? ~value : value);
	}
	put_function((u8 *)here + slot, value + 1); /* through the other address */
	got = call((u64)place->code[1] + slot);
	if (got != value + 1)
		failed("code changed through its alias", got, value + 1);
}

static void run_patched(void)
{
	u32 before = LOAD(published), got, after;

	serialize();
	got = call((u64)patched);
	after = LOAD(published);
	if (got < before || got > after + 1)
		failed("patched code", got, before);
}

static void read_shared(void)
{
	u32 before = LOAD(generation), got = *(volatile u32 *)SHARED;
	u32 after = LOAD(generation);

	if (got == POISON || got < before || got > after + 1)
		failed("shared page", got, before);
}

/* The next generation in the other page; the old one is poisoned when nobody can see it. */
static void replace_shared(void)
{
	u32 next = generation + 1, *fresh = shared_pages[next & 1], *old = shared_pages[~next & 1];

	*fresh = next;
	STORE(acknowledged, 0);
	window_pt[64] = (u64)fresh | 3;
	flush_page(SHARED);
	*apic(0x310) = 0;
	*apic(0x300) = 0xc4000 | VECTOR; /* all but self */
	while (LOAD(acknowledged) < cpus - 1)
		__asm__ volatile("pause");
	STORE(generation, next);
	*old = POISON;
}

static void work(unsigned cpu)
{
	for (u32 round = 1; round <= ROUNDS; round++) {
		own_page(cpu, round);
		run_patched();
		read_shared();
		dma_serve(cpu);
		if (round % READS == cpu)
			dma_change(cpu);
		if (cpu)
			continue;
		put_function(patched, round);
		STORE(published, round);
		if (round % REMAPS == 0)
			replace_shared();
	}
	ADD(finished, 1);
	/* whoever changes something waits for all, so nobody leaves before the last has ended */
	while (LOAD(finished) < cpus) {
		read_shared();
		dma_serve(cpu);
	}
}

static void interrupts_on(void)
{
	__asm__ volatile("lidt %0" : : "m"(idtr));
	*apic(0xf0) = 0x1ff;
	__asm__ volatile("sti");
}

void image_ap_main(void)
{
	unsigned cpu = cpus;

	interrupts_on();
	STORE(started, 1);
	while (LOAD(started) != 2)
		__asm__ volatile("pause");
	work(cpu);
	__asm__ volatile("cli");
	for (;;)
		__asm__ volatile("hlt");
}

static void start_others(void)
{
	for (unsigned i = 0; i < (u64)(ap_boot_end - ap_boot); i++)
		((volatile u8 *)0x8000)[i] = ap_boot[i];
	while (cpus < CPUS_MAX) {
		STORE(started, 0);
		ap_stack = (u64)places[cpus].stack + sizeof(places[cpus].stack);
		*apic(0x310) = cpus << 24;
		*apic(0x300) = 0x4500; /* INIT */
		*apic(0x310) = cpus << 24;
		*apic(0x300) = 0x4608; /* SIPI to 0x8000 */
		for (u32 wait = 0; wait < 50000000 && !LOAD(started); wait++)
			__asm__ volatile("pause");
		if (!LOAD(started))
			break;
		cpus++;
	}
}

static void map_all(void)
{
	u64 *pdpt = (u64 *)(boot_pml4[0] & ~0xfffull);
	u64 at = (u64)shootdown;

	device_pd[0x1f7] = APIC | 0x9b;
	window_pd[0] = (u64)window_pt | 3;
	pdpt[1] = (u64)window_pd | 3;
	pdpt[3] = (u64)device_pd | 3;
	window_pt[64] = (u64)shared_pages[0] | 3;
	idt[VECTOR][0] = (at & 0xffff) | SEL_CODE64 << 16 | 0x8e00ull << 32 | (at >> 16) << 48;
	idt[VECTOR][1] = at >> 32;
	idtr.base = (u64)idt;
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	put_function(patched, 0);
}

void image_main(void)
{
	map_all();
	interrupts_on();
	start_others();
	dma_begin(cpus);
	STORE(started, 2);
	work(0);
	lock(&console);
	print("stress: ");
	print_hex(cpus);
	print(" processors, ");
	print_hex(failures);
	print(" failures, ");
	print_hex(dma_reads);
	print(" reads of code\n");
	image_status = failures ? 1 : 0;
}
