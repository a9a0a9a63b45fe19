/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of written pages against a guest that writes in every way there is (dirty-guest.S), while
 * its processors run: what is told is what was written, and who copies what is told, has it all.
 */
#include "engine.h"

#include "machine/dirty.h"
#include "machine/memory.h"

#include <string.h>

extern const u8 dirty_guest[], dirty_guest_end[], dirty_guest_interrupt[];

#define CPUS 3

/* Where things are. The first 2 MiB are mapped by small pages, the rest by large ones. */
#define PML4        0x2000
#define PDPT        0x3000
#define PD          0x4000
#define PT          0x5000
#define IDT         0x6000
#define GDT         0x7000
#define CODE        0x10000
#define SOURCE      0x12000
#define STACKS      0x20000
/* Page table entries whose A and D bits are not set yet, one to read and one to write first. */
#define READ_FIRST  0x1fe000
#define WRITE_FIRST 0x1ff000
#define AREA(cpu)   (0x400000u + (cpu)*0x200000u)

#define PTE_P       0x01
#define PTE_W       0x02
#define PTE_A       0x20
#define PTE_D       0x40
#define PTE_PS      0x80
#define PTE_PRESENT (PTE_P | PTE_W | PTE_A | PTE_D)

#define PORTS(cpu) (0x100 + (cpu)*16)
#define THE_END    ~0u

/* How many pages each way writes, in the order of dirty-guest.S. */
static const struct {
	const char *name;
	unsigned pages;
	bool xsave;
} ways[] = {
	{ "read", 0 },
	{ "byte", 1 },
	{ "qword", 1 },
	{ "qword across", 2 },
	{ "vector", 1 },
	{ "vector across", 2 },
	{ "x87 across", 2 },
	{ "not temporal", 1 },
	{ "masked", 1 },
	{ "stos", 1 },
	{ "rep stos", 2 },
	{ "rep stos down", 2 },
	{ "movs", 1 },
	{ "movs across", 2 },
	{ "rep movs", 2 },
	{ "ins", 1 },
	{ "rep ins", 2 },
	{ "change", 1 },
	{ "set bit", 1 },
	{ "set flag", 1 },
	{ "exchange", 1 },
	{ "locked", 1 },
	{ "locked across", 2 },
	{ "exchange 8", 1 },
	{ "exchange 16", 1 },
	{ "stack", 1 },
	{ "stack across", 2 },
	{ "call", 1 },
	{ "pop", 1 },
	{ "frame", 1 },
	{ "interrupt", 1 },
	{ "fxsave", 1 },
	{ "fxsave across", 2 },
	{ "environment", 1 },
	{ "control word", 1 },
	{ "table", 1 },
	{ "loop", 2 },
	{ "group", 1 },
	{ "group across", 2 },
	{ "xsave", 1, true },
	{ "xsave across", 2, true },
	{ "churn", 65 },
};
#define READ  0
#define BYTE  1
#define QWORD 2
#define CHURN (ARRAY_LEN(ways) - 1)

static struct order {
	u32 address, way; /* address 0: none */
	unsigned done;
} orders[CPUS];

static void order_port(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct order *order = &orders[offset / 16];

	if (write) {
		__atomic_store_n(&order->address, 0, __ATOMIC_RELEASE);
		__atomic_store_n(&order->done, 1, __ATOMIC_RELEASE);
		return;
	}
	switch (offset % 16) {
	case 0: *value = __atomic_load_n(&order->address, __ATOMIC_ACQUIRE); break;
	case 4: *value = order->way; break;
	default: *value = 0x5a5a5a5a;
	}
}

static void put64(struct vm *vm, u64 gpa, u64 value)
{
	vm_mem_write(vm, gpa, &value, sizeof(value));
}

static void make_tables(struct vm *vm)
{
	u64 handler = CODE + (dirty_guest_interrupt - dirty_guest);

	put64(vm, PML4, PDPT | PTE_PRESENT);
	put64(vm, PDPT, PD | PTE_PRESENT);
	put64(vm, PD, PT | PTE_PRESENT);
	for (u64 i = 1; i < MEMORY / (2 * MIB); i++)
		put64(vm, PD + 8 * i, i * 2 * MIB | PTE_PRESENT | PTE_PS);
	for (u64 i = 0; i < 512; i++)
		put64(vm, PT + 8 * i, i * PAGE_SIZE | PTE_PRESENT);
	put64(vm, PT + READ_FIRST / PAGE_SIZE * 8, READ_FIRST | PTE_P | PTE_W);
	put64(vm, PT + WRITE_FIRST / PAGE_SIZE * 8, WRITE_FIRST | PTE_P | PTE_W);
	put64(vm, GDT + 8, 0x00af9b000000ffff);  /* 64-bit code, accessed */
	put64(vm, GDT + 16, 0x00cf93000000ffff); /* data, accessed */
	put64(vm, IDT + 16 * 0x80, 0x00008e0000080000 | (handler & 0xffff) | handler >> 16 << 48);
	put64(vm, IDT + 16 * 0x80 + 8, 0);
	vm_mem_write(vm, CODE, dirty_guest, dirty_guest_end - dirty_guest);
}

static void put_guest_state(struct vm *vm, unsigned cpu)
{
	struct x86_state *s = g_new0(struct x86_state, 1);

	vcpu_get_state(vm->vcpus[cpu], s, vm_host_tsc(vm));
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		s->seg[i] = (struct x86_segment){ 0, 0xffffffff, 0x10, 0xc093 };
	s->seg[SEG_CS] = (struct x86_segment){ 0, 0xffffffff, 0x08, 0xa09b };
	s->gdtr = (struct x86_table){ GDT, 23 };
	s->idtr = (struct x86_table){ IDT, 0xfff };
	s->cr0 = CR0_PE | CR0_ET | CR0_PG | CR0_NE | CR0_MP;
	s->cr3 = PML4;
	s->cr4 = CR4_PAE | CR4_OSFXSR | (engine_is_kvm() ? 0 : CR4_OSXSAVE);
	s->efer = EFER_LME | EFER_LMA;
	s->rip = CODE;
	s->rflags = 2;
	s->gpr[RSP] = STACKS + (cpu + 1) * PAGE_SIZE;
	s->gpr[R14] = SOURCE;
	s->gpr[R15] = PORTS(cpu);
	s->activity = X86_RUNNING;
	engine_put_state(vm, vm->vcpus[cpu], s);
	g_free(s);
}

static struct vm *writing_guest(void)
{
	static struct region region = { .access = order_port,
					.base = PORTS(0),
					.bytes = PORTS(CPUS) - PORTS(0),
					.enabled = true };
	struct vm *vm = engine_machine(CPUS, &region);
	GError *error = NULL;

	memset(orders, 0, sizeof(orders));
	make_tables(vm);
	g_assert_cmpint(vm_start(vm, true, &error), ==, 0);
	for (unsigned i = 0; i < CPUS; i++)
		put_guest_state(vm, i);
	vm_resume(vm);
	return vm;
}

static void begin(unsigned cpu, u32 address, unsigned way)
{
	orders[cpu].way = way;
	orders[cpu].done = 0;
	__atomic_store_n(&orders[cpu].address, address, __ATOMIC_RELEASE);
}

static void write_so(unsigned cpu, u32 address, unsigned way)
{
	begin(cpu, address, way);
	engine_wait(&orders[cpu].done);
}

static void want(u64 *pages, u32 address, unsigned count)
{
	for (u64 page = address / PAGE_SIZE; count--; page++)
		pages[page / 64] |= BIT(page % 64);
}

/* KVM counts a page as written that is read for the first time, and on AMD's processors tables that
 * are walked. */
static bool may_be_told(u64 page)
{
	bool tables = page >= PML4 / PAGE_SIZE && page <= PT / PAGE_SIZE;
	bool first = page >= READ_FIRST / PAGE_SIZE - 1 && page <= WRITE_FIRST / PAGE_SIZE;

	return engine_is_kvm() && (tables || first);
}

static void expect(struct vm *vm, const u64 *wanted, const char *what, const char *when)
{
	u64 *pages = g_new0(u64, vm_dirty_words(vm));

	g_assert_cmpint(vm_dirty_collect(vm, pages), ==, 0);
	for (u64 i = 0; i < PAGES; i++)
		if ((pages[i / 64] ^ (wanted ? wanted[i / 64] : 0)) >> i % 64 & 1 &&
		    !may_be_told(i))
			g_error("%s, %s: page %" G_GINT64_MODIFIER "x is %stold of", what, when, i,
				pages[i / 64] >> i % 64 & 1 ? "" : "not ");
	g_free(pages);
}

/* One way on all processors at once. */
static void write_all_so(struct vm *vm, u64 *wanted, unsigned way)
{
	if (wanted)
		memset(wanted, 0, vm_dirty_words(vm) * sizeof(u64));
	for (unsigned i = 0; i < CPUS; i++)
		begin(i, AREA(i), way);
	for (unsigned i = 0; i < CPUS; i++) {
		engine_wait(&orders[i].done);
		if (wanted)
			want(wanted, AREA(i), ways[way].pages);
	}
}

/* Twice with the page's tag at hand, once told; told again only if written again. */
static void check_way(struct vm *vm, u64 *wanted, unsigned way)
{
	write_all_so(vm, NULL, READ);
	expect(vm, NULL, ways[way].name, "before it");
	write_all_so(vm, wanted, way);
	write_all_so(vm, wanted, way);
	expect(vm, wanted, ways[way].name, "after it");
	expect(vm, NULL, ways[way].name, "a second time");
	write_all_so(vm, wanted, way);
	expect(vm, wanted, ways[way].name, "after it again");
}

/* The tables' own pages, and those that hold code. */
static void check_places(struct vm *vm, u64 *wanted)
{
	const u64 bytes = vm_dirty_words(vm) * sizeof(u64);

	memset(wanted, 0, bytes);
	want(wanted, PT, 1);
	write_so(0, READ_FIRST - PAGE_SIZE, READ); /* reads the next page too */
	expect(vm, wanted, "an accessed bit", "after it");
	want(wanted, WRITE_FIRST, 1);
	write_so(0, WRITE_FIRST, BYTE);
	expect(vm, wanted, "a dirty bit", "after it");
	memset(wanted, 0, bytes);
	want(wanted, WRITE_FIRST, 1);
	write_so(1, WRITE_FIRST, BYTE);
	expect(vm, wanted, "a dirty bit", "that is set");
	for (unsigned i = 0; i < 3; i++) {
		memset(wanted, 0, bytes);
		want(wanted, CODE, 1);
		write_so(2, CODE + 0xf00, QWORD);
		expect(vm, wanted, "a page with code", "after a write");
		want(wanted, CODE - PAGE_SIZE, 1);
		write_so(0, CODE - PAGE_SIZE + 3, QWORD);
		write_so(1, CODE + 0xf10, QWORD);
		expect(vm, wanted, "a page with code", "and its neighbour");
	}
}

static void end(struct vm *vm)
{
	for (unsigned i = 0; i < CPUS; i++)
		__atomic_store_n(&orders[i].address, THE_END, __ATOMIC_RELEASE);
	vm_dirty_stop(vm);
	vm_free(vm);
}

static bool left_out(unsigned way)
{
	return engine_is_kvm() && ways[way].xsave; /* tools/with-kvm has none */
}

void test_each_write(void)
{
	struct vm *vm = writing_guest();
	u64 *wanted = g_new0(u64, vm_dirty_words(vm));
	GError *error = NULL;

	for (unsigned way = 0; way < CHURN; way++) /* so that there is what must be forgotten */
		if (!left_out(way))
			write_all_so(vm, NULL, way);
	g_assert_cmpint(vm_dirty_start(vm, &error), ==, 0);
	for (unsigned way = 0; way < CHURN; way++)
		if (!left_out(way))
			check_way(vm, wanted, way);
	check_places(vm, wanted);
	g_free(wanted);
	end(vm);
}

static void copy_told(struct vm *vm, u8 *copy, u64 *pages)
{
	memset(pages, 0, vm_dirty_words(vm) * sizeof(u64));
	g_assert_cmpint(vm_dirty_collect(vm, pages), ==, 0);
	for (u64 i = 0; i < PAGES; i++)
		if (pages[i / 64] >> i % 64 & 1)
			vm_mem_read(vm, i * PAGE_SIZE, copy + i * PAGE_SIZE, PAGE_SIZE);
}

/* The hole below 1 MiB, where no RAM is, stays as it is. */
static void copy_all(struct vm *vm, u8 *copy)
{
	for (u64 at = 0; at < MEMORY; at += PAGE_SIZE)
		vm_mem_read(vm, at, copy + at, PAGE_SIZE);
}

static bool all_done(void)
{
	for (unsigned i = 0; i < CPUS; i++)
		if (!__atomic_load_n(&orders[i].done, __ATOMIC_ACQUIRE))
			return false;
	return true;
}

/* Two processors of three write the same pages. */
void test_writes_while_copied(void)
{
	struct vm *vm = writing_guest();
	u64 *pages = g_new0(u64, vm_dirty_words(vm));
	u8 *copy = g_new0(u8, MEMORY), *now = g_new0(u8, MEMORY);
	GError *error = NULL;
	unsigned rounds = 0;

	g_assert_cmpint(vm_dirty_start(vm, &error), ==, 0);
	copy_all(vm, copy);
	begin(0, AREA(0), CHURN);
	begin(1, AREA(0), CHURN);
	begin(2, AREA(1) + 4 * PAGE_SIZE, CHURN);
	while (!all_done()) {
		copy_told(vm, copy, pages);
		g_usleep(++rounds % 4 * 100);
	}
	vm_pause(vm);
	copy_told(vm, copy, pages);
	copy_all(vm, now);
	for (u64 i = 0; i < PAGES; i++)
		if (memcmp(copy + i * PAGE_SIZE, now + i * PAGE_SIZE, PAGE_SIZE))
			g_error("page %" G_GINT64_MODIFIER "x was not told of", i);
	for (unsigned i = 0; i < CPUS; i++) /* the guest did what it was told to */
		g_assert_cmpuint(now[AREA(i < 2 ? 0 : 1) + 4 * PAGE_SIZE], !=, 0);
	g_test_message("copied in %u rounds", rounds);
	vm_resume(vm);
	g_free(pages);
	g_free(copy);
	g_free(now);
	end(vm);
}
