/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The board's interrupt controllers, timers and legacy devices, register by register, with time
 * stepped by hand. Expectations are written from the manuals named in the devices' files.
 */
#include "base/log.h"
#include "console/console.h"
#include "testvm.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define LAPIC  0xfee00000ull
#define IOAPIC 0xfec00000ull
#define HPET   0xfed00000ull
#define MS     1000000ull

static void enable_lapic(struct vm *vm, unsigned cpu)
{
	cpu_mmio_write(vm, cpu, LAPIC + 0xf0, 0x1ff);
}

static void eoi(struct vm *vm, unsigned cpu)
{
	cpu_mmio_write(vm, cpu, LAPIC + 0xb0, 0);
}

static bool intr(struct vm *vm, unsigned cpu)
{
	return fake_events(vm, cpu) & ACCEL_EVENT_INTR;
}

static void msi(struct vm *vm, unsigned dest, unsigned vector)
{
	vm_msi(vm, 0xfee00000 | dest << 12, vector);
}

/* Local APIC. */

static void test_lapic_reset(void)
{
	struct vm *vm = test_vm_new(2, 4 * MIB);
	u64 base;

	g_assert_cmphex(cpu_mmio_read(vm, 1, LAPIC + 0x20), ==, 0x01000000);
	g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + 0x30) & 0xff, ==, 0x14);
	g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + 0xf0), ==, 0xff);
	g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + 0xe0), ==, 0xffffffff);
	for (unsigned reg = 0x320; reg <= 0x370; reg += 0x10)
		g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + reg), ==, 0x10000);
	g_assert_true(cpu_msr_read(vm, 0, 0x1b, &base));
	g_assert_cmphex(base, ==, LAPIC | 0x900);
	g_assert_true(cpu_msr_read(vm, 1, 0x1b, &base));
	g_assert_cmphex(base, ==, LAPIC | 0x800);
	vm_free(vm);
}

static void test_lapic_priority(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	msi(vm, 0, 0x40); /* software-disabled: lost */
	g_assert_false(intr(vm, 0));
	enable_lapic(vm, 0);
	msi(vm, 0, 0x41);
	msi(vm, 0, 0x55);
	g_assert_true(intr(vm, 0));
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x55);
	g_assert_false(intr(vm, 0)); /* 0x41 is of a lower class than what is in service */
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	msi(vm, 0, 0x5f); /* the same class does not interrupt either */
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	msi(vm, 0, 0x60);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x60);
	g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + 0xa0), ==, 0x60);
	eoi(vm, 0);
	g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + 0xa0), ==, 0x50);
	eoi(vm, 0);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x5f);
	eoi(vm, 0);
	/* the task priority, by register and by CR8 */
	cpu_mmio_write(vm, 0, LAPIC + 0x80, 0x40);
	g_assert_false(intr(vm, 0));
	g_assert_cmpuint(vm->irq.lapic->cr8(vm->vcpus[0]->lapic, 0, false), ==, 4);
	vm->irq.lapic->cr8(vm->vcpus[0]->lapic, 3, true);
	g_assert_true(intr(vm, 0));
	g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + 0x80), ==, 0x30);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x41);
	vm_free(vm);
}

static void test_lapic_ipi(void)
{
	struct vm *vm = test_vm_new(3, 4 * MIB);

	for (unsigned i = 0; i < 3; i++)
		enable_lapic(vm, i);
	cpu_mmio_write(vm, 0, LAPIC + 0x310, 2 << 24);
	cpu_mmio_write(vm, 0, LAPIC + 0x300, 0x0040f1);
	g_assert_cmpint(interrupt_ack(vm, 2), ==, 0xf1);
	g_assert_cmpint(interrupt_ack(vm, 1), ==, -1);
	cpu_mmio_write(vm, 1, LAPIC + 0x300, 0x0c4031); /* all but self */
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x31);
	g_assert_cmpint(interrupt_ack(vm, 1), ==, -1);
	cpu_mmio_write(vm, 1, LAPIC + 0x300, 0x044032); /* self */
	g_assert_cmpint(interrupt_ack(vm, 1), ==, 0x32);
	cpu_mmio_write(vm, 0, LAPIC + 0x310, 1 << 24);
	cpu_mmio_write(vm, 0, LAPIC + 0x300, 0x4400); /* NMI */
	g_assert_cmphex(fake_events(vm, 1) & ACCEL_EVENT_NMI, !=, 0);
	cpu_mmio_write(vm, 0, LAPIC + 0x300, 0xc500); /* INIT, level, assert */
	g_assert_cmphex(fake_events(vm, 1) & ACCEL_EVENT_INIT, !=, 0);
	g_assert_cmphex(cpu_mmio_read(vm, 1, LAPIC + 0xf0), ==, 0xff); /* reset with it */
	fake_clear_events(vm, 1, ACCEL_EVENT_INIT);
	cpu_mmio_write(vm, 0, LAPIC + 0x300, 0x8500); /* de-assert: nothing */
	g_assert_cmphex(fake_events(vm, 1) & ACCEL_EVENT_INIT, ==, 0);
	cpu_mmio_write(vm, 0, LAPIC + 0x300, 0x469a); /* SIPI */
	g_assert_cmphex(fake_events(vm, 1) & ACCEL_EVENT_SIPI, !=, 0);
	g_assert_cmphex(fake_sipi_vector(vm, 1), ==, 0x9a);
	vm_free(vm);
}

static void test_lapic_logical(void)
{
	struct vm *vm = test_vm_new(3, 4 * MIB);

	for (unsigned i = 0; i < 3; i++) {
		enable_lapic(vm, i);
		cpu_mmio_write(vm, i, LAPIC + 0xd0, 1u << (24 + i));
	}
	vm_msi(vm, 0xfee05004, 0x40); /* flat: 0 and 2 */
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x40);
	g_assert_cmpint(interrupt_ack(vm, 1), ==, -1);
	g_assert_cmpint(interrupt_ack(vm, 2), ==, 0x40);
	/* lowest priority: one of them, the least busy */
	vm_msi(vm, 0xfee0700c, 0x150);
	g_assert_cmpint(interrupt_ack(vm, 1), ==, 0x50);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	/* cluster 2, members 0 and 1 */
	for (unsigned i = 0; i < 3; i++) {
		eoi(vm, i);
		cpu_mmio_write(vm, i, LAPIC + 0xe0, 0x0fffffff);
		cpu_mmio_write(vm, i, LAPIC + 0xd0, 0x20000000 | 1u << (24 + i));
	}
	vm_msi(vm, 0xfee23004, 0x60);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x60);
	g_assert_cmpint(interrupt_ack(vm, 1), ==, 0x60);
	g_assert_cmpint(interrupt_ack(vm, 2), ==, -1);
	vm_free(vm);
}

static void test_lapic_timer(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	enable_lapic(vm, 0);
	cpu_mmio_write(vm, 0, LAPIC + 0x3e0, 0x3); /* by 16 */
	cpu_mmio_write(vm, 0, LAPIC + 0x320, 0x40);
	cpu_mmio_write(vm, 0, LAPIC + 0x380, 62500); /* 1 ms at 1 GHz / 16 */
	vm_clock_advance(&vm->clock, MS / 2);
	g_assert_cmpuint(cpu_mmio_read(vm, 0, LAPIC + 0x390), ==, 31250);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	vm_clock_advance(&vm->clock, MS / 2);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x40);
	g_assert_cmpuint(cpu_mmio_read(vm, 0, LAPIC + 0x390), ==, 0);
	eoi(vm, 0);
	vm_clock_advance(&vm->clock, 10 * MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);

	cpu_mmio_write(vm, 0, LAPIC + 0x320, 0x20041); /* periodic */
	cpu_mmio_write(vm, 0, LAPIC + 0x380, 62500);
	for (int i = 0; i < 5; i++) {
		vm_clock_advance(&vm->clock, MS);
		g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x41);
		eoi(vm, 0);
	}
	cpu_mmio_write(vm, 0, LAPIC + 0x320, 0x30041); /* masked: counts on in silence */
	vm_clock_advance(&vm->clock, MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	cpu_mmio_write(vm, 0, LAPIC + 0x380, 0);
	vm_clock_advance(&vm->clock, 5 * MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	vm_free(vm);
}

static void test_lapic_deadline(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	u64 value;

	enable_lapic(vm, 0);
	g_assert_true(cpu_msr_write(vm, 0, 0x6e0, 1)); /* another mode: ignored */
	g_assert_true(cpu_msr_read(vm, 0, 0x6e0, &value));
	g_assert_cmpuint(value, ==, 0);
	cpu_mmio_write(vm, 0, LAPIC + 0x320, 0x40042);
	vm_clock_advance(&vm->clock, MS);
	g_assert_true(cpu_msr_write(vm, 0, 0x6e0, vcpu_tsc(vm->vcpus[0]) + TEST_TSC_HZ / 500));
	vm_clock_advance(&vm->clock, 2 * MS - 1000);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	vm_clock_advance(&vm->clock, 2000);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x42);
	g_assert_true(cpu_msr_read(vm, 0, 0x6e0, &value));
	g_assert_cmpuint(value, ==, 0);
	eoi(vm, 0);
	/* in the past: at once; 0 disarms; leaving the mode disarms */
	g_assert_true(cpu_msr_write(vm, 0, 0x6e0, 1));
	vm_clock_advance(&vm->clock, 1000);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x42);
	eoi(vm, 0);
	g_assert_true(cpu_msr_write(vm, 0, 0x6e0, vcpu_tsc(vm->vcpus[0]) + 1000));
	g_assert_true(cpu_msr_write(vm, 0, 0x6e0, 0));
	vm_clock_advance(&vm->clock, MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	g_assert_true(cpu_msr_write(vm, 0, 0x6e0, vcpu_tsc(vm->vcpus[0]) + 1000));
	cpu_mmio_write(vm, 0, LAPIC + 0x320, 0x42);
	vm_clock_advance(&vm->clock, MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	/* so far away that the product would overflow */
	cpu_mmio_write(vm, 0, LAPIC + 0x320, 0x40042);
	g_assert_true(cpu_msr_write(vm, 0, 0x6e0, UINT64_MAX));
	vm_clock_advance(&vm->clock, 1000 * MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	vm_free(vm);
}

static void test_lapic_x2apic(void)
{
	struct vm *vm = test_vm_new(2, 4 * MIB);
	u64 value;

	g_assert_false(cpu_msr_read(vm, 1, 0x802, &value));        /* not enabled */
	g_assert_false(cpu_msr_write(vm, 1, 0x1b, LAPIC | 0x400)); /* x2APIC without enable */
	g_assert_false(cpu_msr_write(vm, 1, 0x1b, BIT(60) | LAPIC | 0xc00));
	g_assert_true(cpu_msr_write(vm, 1, 0x1b, LAPIC | 0xc00));
	g_assert_false(cpu_msr_write(vm, 1, 0x1b, LAPIC | 0x800)); /* back only by way of off */
	g_assert_true(cpu_msr_read(vm, 1, 0x802, &value));
	g_assert_cmpuint(value, ==, 1);
	g_assert_true(cpu_msr_read(vm, 1, 0x80d, &value));
	g_assert_cmphex(value, ==, 0x2);
	g_assert_false(cpu_msr_write(vm, 1, 0x80d, 0));     /* LDR is read-only */
	g_assert_false(cpu_msr_write(vm, 1, 0x80b, 1));     /* EOI takes 0 only */
	g_assert_false(cpu_msr_read(vm, 1, 0x80e, &value)); /* no DFR */
	g_assert_false(cpu_msr_write(vm, 1, 0x808, BIT(32)));
	g_assert_true(cpu_msr_write(vm, 1, 0x80f, 0x1ff));
	g_assert_true(cpu_msr_write(vm, 1, 0x83f, 0x77)); /* self IPI */
	g_assert_cmpint(interrupt_ack(vm, 1), ==, 0x77);
	g_assert_true(cpu_msr_write(vm, 1, 0x80b, 0));
	enable_lapic(vm, 0);
	g_assert_true(cpu_msr_write(vm, 1, 0x830, 0x78)); /* to 0, physical */
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x78);
	g_assert_true(cpu_msr_write(vm, 1, 0x830, 0xffffffff00000079));
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1); /* no higher class than 0x78 */
	eoi(vm, 0);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x79);
	g_assert_cmpint(interrupt_ack(vm, 1), ==, 0x79);
	g_assert_cmphex(cpu_mmio_read(vm, 1, LAPIC + 0x30), ==, 0xffffffff); /* no page any more */
	g_assert_true(cpu_msr_write(vm, 1, 0x1b, 0));                        /* off */
	g_assert_false(cpu_msr_read(vm, 1, 0x802, &value));
	vm_free(vm);
}

static void test_lapic_errors(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	enable_lapic(vm, 0);
	cpu_mmio_write(vm, 0, LAPIC + 0x370, 0x90);
	cpu_mmio_write(vm, 0, LAPIC + 0x300, 0x4405 & ~0x700); /* vector 5 */
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x90);
	eoi(vm, 0);
	g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + 0x280), ==, 0);
	cpu_mmio_write(vm, 0, LAPIC + 0x280, 0);
	g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + 0x280), ==, 0x20);
	/* an error entry with an illegal vector must not run away */
	cpu_mmio_write(vm, 0, LAPIC + 0x370, 0x03);
	cpu_mmio_write(vm, 0, LAPIC + 0x3d0, 1); /* a register that is not there */
	cpu_mmio_write(vm, 0, LAPIC + 0x280, 0);
	g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + 0x280), ==, 0xc0);
	vm_free(vm);
}

static void test_lapic_moved(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	g_assert_true(cpu_msr_write(vm, 0, 0x1b, 0xd0000000 | 0x900));
	g_assert_cmphex(cpu_mmio_read(vm, 0, 0xd0000030) & 0xff, ==, 0x14);
	g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + 0x30), ==, 0xffffffff);
	vm_free(vm);
}

/* I/O APIC. */

static void ioapic_write(struct vm *vm, u8 reg, u32 value)
{
	mmio_write(vm, IOAPIC, 4, reg);
	mmio_write(vm, IOAPIC + 0x10, 4, value);
}

static u32 ioapic_read(struct vm *vm, u8 reg)
{
	mmio_write(vm, IOAPIC, 4, reg);
	return mmio_read(vm, IOAPIC + 0x10, 4);
}

static void test_ioapic_edge(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	struct irq_line line;

	enable_lapic(vm, 0);
	g_assert_cmphex(ioapic_read(vm, 1), ==, 0x170020);
	irq_line_init(&line, vm, 5);
	ioapic_write(vm, 0x10 + 2 * 5, 0x31);
	irq_line_set(&line, true);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x31);
	eoi(vm, 0);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1); /* the level alone is nothing */
	irq_line_set(&line, false);
	irq_line_set(&line, true);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x31);
	eoi(vm, 0);
	/* an edge while masked waits */
	irq_line_set(&line, false);
	ioapic_write(vm, 0x10 + 2 * 5, 0x10031);
	irq_line_set(&line, true);
	irq_line_set(&line, false);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	ioapic_write(vm, 0x10 + 2 * 5, 0x31);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x31);
	vm_free(vm);
}

static void test_ioapic_level(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	struct irq_line line;

	enable_lapic(vm, 0);
	irq_line_init(&line, vm, 17);
	ioapic_write(vm, 0x10 + 2 * 17, 0x8035);
	irq_line_set(&line, true);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x35);
	g_assert_cmphex(ioapic_read(vm, 0x10 + 2 * 17), ==, 0xc035); /* remote IRR */
	eoi(vm, 0);                                                  /* still high: again */
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x35);
	irq_line_set(&line, false);
	eoi(vm, 0);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	g_assert_cmphex(ioapic_read(vm, 0x10 + 2 * 17), ==, 0x8035);
	/* remote IRR is read-only; the EOI register clears it too */
	irq_line_set(&line, true);
	ioapic_write(vm, 0x10 + 2 * 17, 0x8035);
	g_assert_cmphex(ioapic_read(vm, 0x10 + 2 * 17), ==, 0xc035);
	irq_line_set(&line, false);
	mmio_write(vm, IOAPIC + 0x40, 4, 0x35);
	g_assert_cmphex(ioapic_read(vm, 0x10 + 2 * 17), ==, 0x8035);
	vm_free(vm);
}

/* 8259 pair. */

static void init_pics(struct vm *vm)
{
	pio_write(vm, 0x20, 1, 0x11);
	pio_write(vm, 0x21, 1, 0x20);
	pio_write(vm, 0x21, 1, 0x04);
	pio_write(vm, 0x21, 1, 0x01);
	pio_write(vm, 0xa0, 1, 0x11);
	pio_write(vm, 0xa1, 1, 0x28);
	pio_write(vm, 0xa1, 1, 0x02);
	pio_write(vm, 0xa1, 1, 0x01);
	pio_write(vm, 0x21, 1, 0x00);
	pio_write(vm, 0xa1, 1, 0x00);
	cpu_mmio_write(vm, 0, LAPIC + 0xf0, 0x1ff);
	cpu_mmio_write(vm, 0, LAPIC + 0x350, 0x700); /* LINT0: ExtINT */
}

static void test_pic(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	struct irq_line a, b;

	init_pics(vm);
	irq_line_init(&a, vm, 5);
	irq_line_init(&b, vm, 12);
	irq_line_set(&a, true);
	g_assert_true(intr(vm, 0));
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x25);
	g_assert_false(intr(vm, 0));
	irq_line_set(&b, true); /* of the slave, so at the master's pin 2: higher than 5 */
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x2c);
	pio_write(vm, 0x20, 1, 0x0b);
	g_assert_cmphex(pio_read(vm, 0x20, 1), ==, 0x24); /* ISR */
	pio_write(vm, 0xa0, 1, 0x20);
	pio_write(vm, 0x20, 1, 0x20);
	g_assert_cmphex(pio_read(vm, 0x20, 1), ==, 0x20);
	pio_write(vm, 0x20, 1, 0x65); /* specific EOI */
	g_assert_cmphex(pio_read(vm, 0x20, 1), ==, 0x00);
	/* masked, then gone before it is acknowledged: spurious */
	irq_line_set(&a, false);
	irq_line_set(&a, true);
	irq_line_set(&a, false);
	g_assert_cmpint(vm->irq.pic_ack(vm->irq.pic), ==, 0x27);
	/* level-triggered by ELCR: asks until it falls */
	pio_write(vm, 0x4d0, 1, 0x20);
	irq_line_set(&a, true);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x25);
	pio_write(vm, 0x20, 1, 0x20);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x25);
	irq_line_set(&a, false);
	pio_write(vm, 0x20, 1, 0x20);
	g_assert_false(intr(vm, 0));
	g_assert_cmphex(pio_read(vm, 0x21, 1), ==, 0x00);
	vm_free(vm);
}

/* 8254. */

static void test_pit_periodic(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	init_pics(vm);
	pio_write(vm, 0x43, 1, 0x34); /* channel 0, both bytes, mode 2 */
	pio_write(vm, 0x40, 1, 11932 & 0xff);
	pio_write(vm, 0x40, 1, 11932 >> 8); /* 10 ms */
	for (int i = 0; i < 3; i++) {
		g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
		vm_clock_advance(&vm->clock, 10 * MS + 2000);
		g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x20);
		pio_write(vm, 0x20, 1, 0x20);
	}
	vm_free(vm);
}

static void test_pit_one_shot(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	unsigned n;

	init_pics(vm);
	pio_write(vm, 0x43, 1, 0x30); /* mode 0 */
	pio_write(vm, 0x40, 1, 0xff);
	pio_write(vm, 0x40, 1, 0x0f);
	vm_clock_advance(&vm->clock, MS);
	pio_write(vm, 0x43, 1, 0x00); /* latch */
	n = pio_read(vm, 0x40, 1);
	n |= pio_read(vm, 0x40, 1) << 8;
	g_assert_cmpint(n, ==, 4095 - 1193);
	pio_write(vm, 0x43, 1, 0xe2); /* read back the status of channel 0 */
	g_assert_cmphex(pio_read(vm, 0x40, 1), ==, 0x30);
	vm_clock_advance(&vm->clock, 3 * MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x20);
	pio_write(vm, 0x43, 1, 0xe2);
	g_assert_cmphex(pio_read(vm, 0x40, 1), ==, 0xb0); /* output high */
	vm_free(vm);
}

/* Kernels calibrate with channel 2: gate by port 0x61, output at its bit 5. */
static void test_pit_speaker_channel(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	pio_write(vm, 0x61, 1, 0x01);
	pio_write(vm, 0x43, 1, 0xb0);
	pio_write(vm, 0x42, 1, 0x9b);
	pio_write(vm, 0x42, 1, 0x2e); /* 11931: 10 ms */
	g_assert_cmphex(pio_read(vm, 0x61, 1) & 0x20, ==, 0);
	vm_clock_advance(&vm->clock, 9 * MS);
	g_assert_cmphex(pio_read(vm, 0x61, 1) & 0x20, ==, 0);
	vm_clock_advance(&vm->clock, 2 * MS);
	g_assert_cmphex(pio_read(vm, 0x61, 1) & 0x20, ==, 0x20);
	vm_free(vm);
}

/* HPET. */

static void test_hpet(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	u64 caps = mmio_read(vm, HPET, 8);

	enable_lapic(vm, 0);
	ioapic_write(vm, 0x10 + 2 * 2, 0x50);
	ioapic_write(vm, 0x10 + 2 * 21, 0x8061);
	g_assert_cmpuint(caps >> 32, ==, 10000000); /* 10 ns in fs */
	g_assert_cmpuint(mmio_read(vm, HPET + 0xf0, 8), ==, 0);
	vm_clock_advance(&vm->clock, MS);
	g_assert_cmpuint(mmio_read(vm, HPET + 0xf0, 4), ==, 0); /* stopped */

	/* comparator 0, periodic at 1 ms, legacy replacement: pin 2 */
	mmio_write(vm, HPET + 0x100, 4, 0x14c & ~0x100);
	mmio_write(vm, HPET + 0x108, 8, 100000);
	mmio_write(vm, HPET + 0x108, 8, 100000);
	mmio_write(vm, HPET + 0x10, 4, 3);
	for (int i = 0; i < 3; i++) {
		vm_clock_advance(&vm->clock, MS);
		g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x50);
		eoi(vm, 0);
	}
	g_assert_cmpuint(mmio_read(vm, HPET + 0xf0, 8), ==, 300000);
	mmio_write(vm, HPET + 0x100, 4, 0);

	/* comparator 2, one-shot, level at pin 21 */
	mmio_write(vm, HPET + 0x140, 4, 21 << 9 | 0x106);
	mmio_write(vm, HPET + 0x148, 4, 350000);
	vm_clock_advance(&vm->clock, MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x61);
	g_assert_cmphex(mmio_read(vm, HPET + 0x20, 4), ==, 4);
	mmio_write(vm, HPET + 0x20, 4, 4);
	eoi(vm, 0);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	vm_clock_advance(&vm->clock, 100 * MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	/* the counter wraps at 32 bits for that comparator */
	mmio_write(vm, HPET + 0x10, 4, 0);
	mmio_write(vm, HPET + 0xf0, 8, 0xfffffff0);
	mmio_write(vm, HPET + 0x148, 4, 0x10);
	mmio_write(vm, HPET + 0x10, 4, 1);
	vm_clock_advance(&vm->clock, 400);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x61);
	vm_free(vm);
}

/* The PIT must be silent while the HPET has taken its place. */
static void test_hpet_replaces_pit(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	enable_lapic(vm, 0);
	ioapic_write(vm, 0x10 + 2 * 2, 0x50);
	pio_write(vm, 0x43, 1, 0x30);
	pio_write(vm, 0x40, 1, 0);
	pio_write(vm, 0x40, 1, 1);
	mmio_write(vm, HPET + 0x10, 4, 2);
	vm_clock_advance(&vm->clock, 10 * MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	mmio_write(vm, HPET + 0x10, 4, 0); /* its output is high: that is an edge */
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x50);
	vm_free(vm);
}

/* RTC. */

static u8 cmos_read(struct vm *vm, u8 reg)
{
	pio_write(vm, 0x70, 1, reg);
	return pio_read(vm, 0x71, 1);
}

static void cmos_write(struct vm *vm, u8 reg, u8 value)
{
	pio_write(vm, 0x70, 1, reg);
	pio_write(vm, 0x71, 1, value);
}

static void test_rtc_time(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB); /* starts at 2001-09-09 01:46:40 UTC, a Sunday */

	g_assert_cmphex(cmos_read(vm, 0), ==, 0x40);
	g_assert_cmphex(cmos_read(vm, 2), ==, 0x46);
	g_assert_cmphex(cmos_read(vm, 4), ==, 0x01);
	g_assert_cmphex(cmos_read(vm, 6), ==, 1);
	g_assert_cmphex(cmos_read(vm, 7), ==, 0x09);
	g_assert_cmphex(cmos_read(vm, 8), ==, 0x09);
	g_assert_cmphex(cmos_read(vm, 9), ==, 0x01);
	g_assert_cmphex(cmos_read(vm, 0x32), ==, 0x20);
	vm_clock_advance(&vm->clock, 80000 * MS); /* 80 s */
	g_assert_cmphex(cmos_read(vm, 0), ==, 0x00);
	g_assert_cmphex(cmos_read(vm, 2), ==, 0x48);
	vm_clock_advance(&vm->clock, 999 * MS + 900000);
	g_assert_cmphex(cmos_read(vm, 0x0a) & 0x80, ==, 0x80); /* update in progress */
	/* set it: binary, 12-hour, 2024-02-29 23:59:58 */
	cmos_write(vm, 0x0b, 0x84);
	cmos_write(vm, 0, 58);
	cmos_write(vm, 2, 59);
	cmos_write(vm, 4, 0x80 | 11);
	cmos_write(vm, 7, 29);
	cmos_write(vm, 8, 2);
	cmos_write(vm, 9, 24);
	cmos_write(vm, 0x32, 20);
	cmos_write(vm, 0x0b, 0x04);
	vm_clock_advance(&vm->clock, 3000 * MS);
	g_assert_cmpuint(cmos_read(vm, 0), ==, 1);
	g_assert_cmphex(cmos_read(vm, 4), ==, 12); /* 12 am */
	g_assert_cmpuint(cmos_read(vm, 7), ==, 1);
	g_assert_cmpuint(cmos_read(vm, 8), ==, 3);
	cmos_write(vm, 0x40, 0x5a);
	g_assert_cmpint(vm_reset(vm, NULL), ==, 0);
	g_assert_cmphex(cmos_read(vm, 0x40), ==, 0x5a); /* the battery */
	g_assert_cmpuint(cmos_read(vm, 8), ==, 3);
	vm_free(vm);
}

static void test_rtc_interrupts(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	enable_lapic(vm, 0);
	ioapic_write(vm, 0x10 + 2 * 8, 0x70);
	cmos_write(vm, 0x0b, 0x12); /* update-ended */
	vm_clock_advance(&vm->clock, 1000 * MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x70);
	eoi(vm, 0);
	g_assert_cmphex(cmos_read(vm, 0x0c), ==, 0x90);
	g_assert_cmphex(cmos_read(vm, 0x0c), ==, 0);
	cmos_write(vm, 0x0b, 0x22); /* alarm at 01:46:43 */
	cmos_write(vm, 1, 0x43);
	cmos_write(vm, 3, 0xff);
	cmos_write(vm, 5, 0xff);
	vm_clock_advance(&vm->clock, 1000 * MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	vm_clock_advance(&vm->clock, 1000 * MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x70);
	eoi(vm, 0);
	g_assert_cmphex(cmos_read(vm, 0x0c) & 0x20, ==, 0x20);
	cmos_write(vm, 0x0a, 0x26); /* periodic, 1024 Hz */
	cmos_write(vm, 0x0b, 0x42);
	vm_clock_advance(&vm->clock, MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x70);
	eoi(vm, 0);
	g_assert_cmphex(cmos_read(vm, 0x0c), ==, 0xc0);
	vm_clock_advance(&vm->clock, MS);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x70);
	vm_free(vm);
}

/* Power, reset, small ports. */

static enum vm_request request(struct vm *vm)
{
	return vm_wait_request(vm, 0, NULL);
}

static void test_power(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	u32 a, b;

	enable_lapic(vm, 0);
	ioapic_write(vm, 0x10 + 2 * 9, 0x8080);
	a = pio_read(vm, 0x608, 4);
	vm_clock_advance(&vm->clock, 1000 * MS);
	b = pio_read(vm, 0x608, 4);
	g_assert_cmpuint(b - a, ==, 3579545);
	g_assert_cmphex(pio_read(vm, 0x604, 2), ==, 1);
	pio_write(vm, 0x602, 2, 0x100);
	vm->power_button(vm);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x80);
	g_assert_cmphex(pio_read(vm, 0x600, 2), ==, 0x100);
	pio_write(vm, 0x600, 2, 0x100);
	eoi(vm, 0);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, -1);
	g_assert_cmpint(request(vm), ==, VM_REQUEST_TIMEOUT);
	pio_write(vm, 0x604, 2, 0x2000 | 3 << 10); /* not S5 */
	g_assert_cmpint(request(vm), ==, VM_REQUEST_TIMEOUT);
	pio_write(vm, 0x604, 2, 0x2000 | 5 << 10);
	g_assert_cmpint(request(vm), ==, VM_REQUEST_POWEROFF);
	/* the timer's status when bit 31 changes: after 600 s */
	pio_write(vm, 0x602, 2, 1);
	vm_clock_advance(&vm->clock, 700000 * MS);
	g_assert_cmphex(pio_read(vm, 0x600, 2), ==, 1);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x80);
	vm_free(vm);
}

static void test_resets(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	pio_write(vm, 0xcf9, 1, 0x02);
	g_assert_cmpint(request(vm), ==, VM_REQUEST_TIMEOUT);
	pio_write(vm, 0xcf9, 1, 0x06);
	g_assert_cmpint(request(vm), ==, VM_REQUEST_RESET);
	pio_write(vm, 0x92, 1, 0x03);
	g_assert_cmpint(request(vm), ==, VM_REQUEST_RESET);
	pio_write(vm, 0x64, 1, 0xfe);
	g_assert_cmpint(request(vm), ==, VM_REQUEST_RESET);
	vm_free(vm);
}

static void test_i8042(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	pio_write(vm, 0x64, 1, 0xaa);
	g_assert_cmphex(pio_read(vm, 0x64, 1) & 1, ==, 1);
	g_assert_cmphex(pio_read(vm, 0x60, 1), ==, 0x55);
	g_assert_cmphex(pio_read(vm, 0x64, 1) & 1, ==, 0);
	pio_write(vm, 0x64, 1, 0x60);
	pio_write(vm, 0x60, 1, 0x25);
	pio_write(vm, 0x64, 1, 0x20);
	g_assert_cmphex(pio_read(vm, 0x60, 1), ==, 0x25);
	pio_write(vm, 0x64, 1, 0xd3); /* loop to the second port */
	pio_write(vm, 0x60, 1, 0x5a);
	g_assert_cmphex(pio_read(vm, 0x64, 1) & 0x21, ==, 0x21);
	g_assert_cmphex(pio_read(vm, 0x60, 1), ==, 0x5a);
	pio_write(vm, 0x60, 1, 0xff);
	g_assert_cmphex(pio_read(vm, 0x60, 1), ==, 0xfa);
	g_assert_cmphex(pio_read(vm, 0x60, 1), ==, 0xaa);
	pio_write(vm, 0x60, 1, 0xf2);
	g_assert_cmphex(pio_read(vm, 0x60, 1), ==, 0xfa);
	g_assert_cmphex(pio_read(vm, 0x60, 1), ==, 0xab);
	g_assert_cmphex(pio_read(vm, 0x60, 1), ==, 0x83);
	for (int i = 0; i < 100; i++) /* more than it can hold */
		pio_write(vm, 0x60, 1, 0xff);
	vm_free(vm);
}

static void test_debug_ports(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	struct device *exit = test_device_new(vm, "isa-debug-exit", "e");
	struct device *con = test_device_new(vm, "debugcon", "d");
	int value;

	test_device_realize(exit);
	test_device_realize(con);
	g_assert_cmphex(pio_read(vm, 0x402, 1), ==, 0xe9);
	pio_write(vm, 0x402, 1, 'x');
	pio_write(vm, 0x501, 1, 0x10);
	g_assert_cmpint(vm_wait_request(vm, 0, &value), ==, VM_REQUEST_EXIT);
	g_assert_cmpint(value, ==, 0x21);
	pio_write(vm, 0x80, 1, 0x77);
	g_assert_cmphex(pio_read(vm, 0x80, 1), ==, 0x77);
	g_assert_cmphex(pio_read(vm, 0x1234, 4), ==, 0xffffffff);
	g_assert_cmphex(mmio_read(vm, 0xd0000000, 8), ==, UINT64_MAX);
	vm_free(vm);
}

/* 16550. */

/* Output that the host cannot write is lost, and the log says so once. */
static void test_full_console(void)
{
	const struct console_config config = { .driver = "file",
					       .name = "console3",
					       .fd = open("/dev/full", O_WRONLY | O_CLOEXEC) };
	struct console *console = console_open(&config, NULL);
	int log = memfd_create("log", 0);
	char text[4096] = "";
	const char *line;

	g_assert_nonnull(console);
	log_open(log, LOG_INFO);
	for (int i = 0; i < 3; i++) {
		g_assert_cmpuint(console_write(console, "word\n", 5), ==, 5);
		for (int spins = 0; console_room(console) < CONSOLE_BUFFER_BYTES && spins < 5000;
		     spins++)
			g_usleep(1000);
	}
	console_close(console);
	log_open(STDERR_FILENO, LOG_INFO);
	g_assert_cmpint(pread(log, text, sizeof(text) - 1, 0), >, 0);
	line = strstr(text, "console3: its output is lost: No space left on device");
	g_assert_nonnull(line);
	g_assert_null(strstr(strchr(line, '\n'), "is lost"));
	close(log);
}

static struct vm *serial_vm(struct console **console, int *peer)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	struct device *dev = test_device_new(vm, "isa-serial", "s");
	int fds[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
	*console = console_open(
		&(struct console_config){ .driver = "fd", .fd_in = fds[0], .fd_out = fds[0] },
		NULL);
	g_assert_nonnull(*console);
	device_set_backend(dev, "backend", OPTION_CONSOLE, *console, NULL);
	test_device_realize(dev);
	*peer = fds[1];
	return vm;
}

static void read_exactly(int fd, char *buf, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = read(fd, buf + done, bytes - done);

		g_assert_cmpint(n, >, 0);
		done += n;
	}
}

static void test_serial(void)
{
	struct console *console;
	int peer;
	struct vm *vm = serial_vm(&console, &peer);
	char buf[64];
	int spins;

	enable_lapic(vm, 0);
	ioapic_write(vm, 0x10 + 2 * 4, 0x64);
	g_assert_cmphex(pio_read(vm, 0x3fd, 1), ==, 0x60);
	for (const char *p = "hello\n"; *p; p++)
		pio_write(vm, 0x3f8, 1, *p);
	read_exactly(peer, buf, 6);
	g_assert_cmpint(memcmp(buf, "hello\n", 6), ==, 0);
	pio_write(vm, 0x3f8, 1, '$'); /* no end of line: after a moment */
	read_exactly(peer, buf, 1);

	/* FIFO on, interrupts on */
	pio_write(vm, 0x3fa, 1, 0x87); /* trigger at 8 */
	pio_write(vm, 0x3fc, 1, 0x0b);
	pio_write(vm, 0x3f9, 1, 0x03);
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x64);
	g_assert_cmphex(pio_read(vm, 0x3fa, 1), ==, 0xc2); /* transmitter empty, read: gone */
	g_assert_cmphex(pio_read(vm, 0x3fa, 1), ==, 0xc1);
	eoi(vm, 0);
	g_assert_cmpint(write(peer, "abcdefghijklmnopqrstuvwxyz", 26), ==, 26);
	for (spins = 0; !(pio_read(vm, 0x3fd, 1) & 1) && spins < 5000; spins++)
		g_usleep(1000);
	for (unsigned i = 0; i < 26; i++) { /* more than the FIFO holds: nothing is lost */
		for (spins = 0; !(pio_read(vm, 0x3fd, 1) & 1) && spins < 5000; spins++)
			g_usleep(1000);
		g_assert_cmpint(pio_read(vm, 0x3f8, 1), ==, 'a' + i);
	}
	g_assert_cmphex(pio_read(vm, 0x3fd, 1) & 2, ==, 0);
	vm_free(vm);
	console_close(console);
	close(peer);
}

static void test_serial_probe(void)
{
	struct console *console;
	int peer;
	struct vm *vm = serial_vm(&console, &peer);

	/* what kernels try: IER bits, loopback of modem lines and data, scratch, divisor */
	pio_write(vm, 0x3f9, 1, 0xff);
	g_assert_cmphex(pio_read(vm, 0x3f9, 1), ==, 0x0f);
	pio_write(vm, 0x3f9, 1, 0);
	pio_write(vm, 0x3fc, 1, 0x1a);
	g_assert_cmphex(pio_read(vm, 0x3fe, 1) & 0xf0, ==, 0x90);
	pio_write(vm, 0x3f8, 1, 0x42);
	g_assert_cmphex(pio_read(vm, 0x3fd, 1) & 1, ==, 1);
	g_assert_cmphex(pio_read(vm, 0x3f8, 1), ==, 0x42);
	pio_write(vm, 0x3fc, 1, 0);
	pio_write(vm, 0x3ff, 1, 0xa5);
	g_assert_cmphex(pio_read(vm, 0x3ff, 1), ==, 0xa5);
	pio_write(vm, 0x3fb, 1, 0x83);
	pio_write(vm, 0x3f8, 1, 0x01);
	pio_write(vm, 0x3f9, 1, 0x02);
	g_assert_cmphex(pio_read(vm, 0x3f8, 1), ==, 0x01);
	g_assert_cmphex(pio_read(vm, 0x3f9, 1), ==, 0x02);
	pio_write(vm, 0x3fb, 1, 0x03);
	g_assert_cmphex(pio_read(vm, 0x3f9, 1), ==, 0);
	vm_free(vm);
	console_close(console);
	close(peer);
}

/* A reader that does not read stops the transmitter, not the machine, and loses nothing. */
static void test_serial_flow_control(void)
{
	struct console *console;
	int peer;
	struct vm *vm = serial_vm(&console, &peer);
	char buf[4096];
	u32 sent = 0, got = 0;

	for (; pio_read(vm, 0x3fd, 1) & 0x20; sent++) {
		g_assert_cmpuint(sent, <, 10000000);
		pio_write(vm, 0x3f8, 1, sent & 0x7f);
	}
	while (got < sent) {
		ssize_t n = read(peer, buf, sizeof(buf));

		g_assert_cmpint(n, >, 0);
		for (ssize_t i = 0; i < n; i++)
			g_assert_cmpint(buf[i], ==, (got + i) & 0x7f);
		got += n;
	}
	for (int spins = 0; !(pio_read(vm, 0x3fd, 1) & 0x20); spins++) {
		g_assert_cmpint(spins, <, 5000);
		g_usleep(1000);
	}
	vm_free(vm);
	console_close(console);
	close(peer);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lapic/reset", test_lapic_reset);
	g_test_add_func("/lapic/priority", test_lapic_priority);
	g_test_add_func("/lapic/ipi", test_lapic_ipi);
	g_test_add_func("/lapic/logical", test_lapic_logical);
	g_test_add_func("/lapic/timer", test_lapic_timer);
	g_test_add_func("/lapic/deadline", test_lapic_deadline);
	g_test_add_func("/lapic/x2apic", test_lapic_x2apic);
	g_test_add_func("/lapic/errors", test_lapic_errors);
	g_test_add_func("/lapic/moved", test_lapic_moved);
	g_test_add_func("/ioapic/edge", test_ioapic_edge);
	g_test_add_func("/ioapic/level", test_ioapic_level);
	g_test_add_func("/pic", test_pic);
	g_test_add_func("/pit/periodic", test_pit_periodic);
	g_test_add_func("/pit/one-shot", test_pit_one_shot);
	g_test_add_func("/pit/speaker-channel", test_pit_speaker_channel);
	g_test_add_func("/hpet/comparators", test_hpet);
	g_test_add_func("/hpet/replaces-pit", test_hpet_replaces_pit);
	g_test_add_func("/rtc/time", test_rtc_time);
	g_test_add_func("/rtc/interrupts", test_rtc_interrupts);
	g_test_add_func("/power", test_power);
	g_test_add_func("/resets", test_resets);
	g_test_add_func("/i8042", test_i8042);
	g_test_add_func("/debug-ports", test_debug_ports);
	g_test_add_func("/serial/data", test_serial);
	g_test_add_func("/serial/full-console", test_full_console);
	g_test_add_func("/serial/probe", test_serial_probe);
	g_test_add_func("/serial/flow-control", test_serial_flow_control);
	return g_test_run();
}
