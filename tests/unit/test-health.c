/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a machine learns that its guest is ill: the panic notifiers and the watchdogs, register by
 * register, and what is asked of the control thread.
 */
#include "device/virtio/virtio.h"
#include "machine/layout.h"
#include "machine/pci.h"
#include "testvm.h"

#include <string.h>

#define SECOND 1000000000ull

/* --- helpers --- */

static enum vm_request next_request(struct vm *vm, int *value)
{
	return vm_wait_request(vm, 0, value);
}

static void expect_quiet(struct vm *vm)
{
	g_assert_cmpint(next_request(vm, NULL), ==, VM_REQUEST_TIMEOUT);
}

static void expect_bite(struct vm *vm)
{
	g_assert_cmpint(next_request(vm, NULL), ==, VM_REQUEST_WATCHDOG);
	expect_quiet(vm);
}

static struct vm *running_machine(const char *type, u64 *bar)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	struct device *dev;
	u32 low;

	if (type) {
		dev = test_device_new(vm, type, "dut");
		if (dev->type->flags & DEVICE_PCI)
			device_set_number(dev, "slot", 5, NULL);
		test_device_realize(dev);
		pci_assign(vm);
		if (dev->type->flags & DEVICE_PCI) {
			struct pci_device *pci = container_of(dev, struct pci_device, dev);

			mmio_write(vm, ECAM_BASE + (5 << 15) + PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
			memcpy(&low, pci->config + PCI_BAR0, 4);
			*bar = low & ~15u;
		}
	}
	vm_clock_run(&vm->clock, true);
	return vm;
}

/* --- panic --- */

static void test_pvpanic_isa(void)
{
	struct vm *vm = running_machine("pvpanic", NULL);
	int value = -1;

	g_assert_cmphex(pio_read(vm, 0x505, 1), ==, 3);
	pio_write(vm, 0x505, 1, 0xfc); /* events that do not exist */
	expect_quiet(vm);
	pio_write(vm, 0x505, 1, 2);
	g_assert_cmpint(next_request(vm, NULL), ==, VM_REQUEST_CRASH_LOADED);
	pio_write(vm, 0x505, 1, 1);
	g_assert_cmpint(next_request(vm, &value), ==, VM_REQUEST_CRASH);
	g_assert_cmpint(value, ==, VM_CRASH_PANIC);
	vm_free(vm);
	/* without it the port is empty, by which the DSDT knows */
	vm = running_machine(NULL, NULL);
	g_assert_cmphex(pio_read(vm, 0x505, 1), ==, 0xff);
	vm_free(vm);
}

static void test_pvpanic_pci(void)
{
	u64 bar;
	struct vm *vm = running_machine("pvpanic-pci", &bar);

	g_assert_cmphex(mmio_read(vm, ECAM_BASE + (5 << 15), 4), ==, 0x00111b36);
	g_assert_cmphex(mmio_read(vm, bar, 1), ==, 3);
	mmio_write(vm, bar + 1, 1, 1);
	expect_quiet(vm);
	mmio_write(vm, bar, 1, 1);
	g_assert_cmpint(next_request(vm, NULL), ==, VM_REQUEST_CRASH);
	vm_free(vm);
}

/* --- pausing for a reason --- */

static void test_paused_for(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	g_assert_cmpint(vm_start(vm, false, NULL), ==, 0);
	g_assert_null(vm_pause_reason(vm));
	vm_pause_for(vm, "guest-panicked", true);
	g_assert_cmpstr(vm_pause_reason(vm), ==, "guest-panicked");
	vm_resume(vm); /* refused */
	g_assert_cmpint(vm_state_get(vm), ==, VM_PAUSED);
	g_assert_cmpint(vm_reset(vm, NULL), ==, 0);
	g_assert_cmpint(vm_state_get(vm), ==, VM_PAUSED);
	g_assert_null(vm_pause_reason(vm));
	vm_resume(vm);
	g_assert_cmpint(vm_state_get(vm), ==, VM_RUNNING);
	vm_pause_for(vm, "watchdog", false);
	vm_resume(vm);
	g_assert_cmpint(vm_state_get(vm), ==, VM_RUNNING);
	g_assert_null(vm_pause_reason(vm));
	vm_free(vm);
}

/* --- TCO --- */

#define TCO 0x660
#define GCS (RCRB_BASE + 0x3410)

/* As Linux's driver begins: NO_REBOOT off, @ticks of 0.6 s, reload, run. */
static void tco_start(struct vm *vm, u16 ticks)
{
	mmio_write(vm, GCS, 4, 0);
	pio_write(vm, TCO + 0x12, 2, ticks);
	pio_write(vm, TCO, 2, 1);
	pio_write(vm, TCO + 8, 2, 0);
}

static void test_tco(void)
{
	struct vm *vm = running_machine(NULL, NULL);

	/* found where the chipset says */
	g_assert_cmphex(mmio_read(vm, ECAM_BASE + (31 << 15) + 0xf0, 4), ==, RCRB_BASE | 1);
	g_assert_cmphex(mmio_read(vm, GCS, 4), ==, 0x20);
	g_assert_cmphex(mmio_read(vm, RCRB_BASE, 4), ==, 0);
	/* halted until a driver comes */
	vm_clock_advance(&vm->clock, 100 * SECOND);
	expect_quiet(vm);
	tco_start(vm, 10);
	g_assert_cmpuint(pio_read(vm, TCO, 2), ==, 10);
	vm_clock_advance(&vm->clock, 3 * SECOND);
	g_assert_cmpuint(pio_read(vm, TCO, 2), ==, 5);
	g_assert_cmphex(pio_read(vm, TCO + 4, 2), ==, 0);
	/* fed, it waits */
	pio_write(vm, TCO, 2, 1);
	vm_clock_advance(&vm->clock, 5 * SECOND);
	g_assert_cmphex(pio_read(vm, TCO + 4, 2), ==, 0);
	vm_clock_advance(&vm->clock, SECOND + 1);
	g_assert_cmphex(pio_read(vm, TCO + 4, 2), ==, 8);
	expect_quiet(vm);
	pio_write(vm, TCO + 4, 1, 8); /* cleared by a one */
	g_assert_cmphex(pio_read(vm, TCO + 4, 1), ==, 0);
	/* and after the second time it bites */
	vm_clock_advance(&vm->clock, 3 * SECOND);
	g_assert_cmphex(pio_read(vm, TCO + 6, 2), ==, 2);
	expect_bite(vm);
	/* halting keeps what is left; locked it cannot be halted */
	tco_start(vm, 10);
	vm_clock_advance(&vm->clock, 3 * SECOND);
	pio_write(vm, TCO + 8, 2, 0x800);
	vm_clock_advance(&vm->clock, 60 * SECOND);
	g_assert_cmpuint(pio_read(vm, TCO, 2), ==, 5);
	pio_write(vm, TCO + 8, 2, 0x1000);
	pio_write(vm, TCO + 8, 2, 0x800);
	g_assert_cmphex(pio_read(vm, TCO + 8, 2), ==, 0x1000);
	vm_clock_advance(&vm->clock, 7 * SECOND);
	expect_bite(vm);
	/* NO_REBOOT, and nonsense */
	mmio_write(vm, GCS, 4, 0xffffffff);
	g_assert_cmphex(mmio_read(vm, GCS, 1), ==, 0x20);
	vm_clock_advance(&vm->clock, 60 * SECOND);
	expect_quiet(vm);
	pio_write(vm, TCO + 0x12, 2, 1);
	g_assert_cmpuint(pio_read(vm, TCO + 0x12, 2), ==, 10);
	g_assert_cmpint(vm_reset(vm, NULL), ==, 0);
	g_assert_cmphex(pio_read(vm, TCO + 8, 2), ==, 0x800);
	vm_free(vm);
}

/* --- i6300esb --- */

#define ESB (ECAM_BASE + (5 << 15))

static void esb_write(struct vm *vm, u64 bar, unsigned offset, u32 value)
{
	mmio_write(vm, bar + 0xc, 2, 0x80);
	mmio_write(vm, bar + 0xc, 2, 0x86);
	mmio_write(vm, bar + offset, offset == 0xc ? 2 : 4, value);
}

static void test_i6300esb(void)
{
	u64 bar;
	struct vm *vm = running_machine("i6300esb", &bar);

	g_assert_cmphex(mmio_read(vm, ESB, 4), ==, 0x25ab8086);
	esb_write(vm, bar, 0, 1000);
	esb_write(vm, bar, 4, 1000);
	mmio_write(vm, bar, 4, 1); /* locked: ignored */
	mmio_write(vm, ESB + 0x60, 2, 3);
	mmio_write(vm, ESB + 0x68, 1, 2);
	g_assert_cmphex(mmio_read(vm, ESB + 0x68, 1), ==, 2);
	vm_clock_advance(&vm->clock, 900000000);
	g_assert_cmphex(mmio_read(vm, bar + 8, 4), ==, 0);
	esb_write(vm, bar, 0xc, 0x100); /* fed */
	vm_clock_advance(&vm->clock, 900000000);
	g_assert_cmphex(mmio_read(vm, bar + 8, 4), ==, 0);
	vm_clock_advance(&vm->clock, 200000000);
	g_assert_cmphex(mmio_read(vm, bar + 8, 4), ==, 1);
	expect_quiet(vm);
	vm_clock_advance(&vm->clock, SECOND);
	g_assert_cmphex(mmio_read(vm, bar + 0xc, 2), ==, 0x200);
	expect_bite(vm);
	/* once */
	vm_clock_advance(&vm->clock, 100 * SECOND);
	expect_quiet(vm);
	/* the flag tells the next guest, until it clears it */
	g_assert_cmpint(vm_reset(vm, NULL), ==, 0);
	pci_assign(vm);
	mmio_write(vm, ESB + PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	g_assert_cmphex(mmio_read(vm, bar + 0xc, 2), ==, 0x200);
	esb_write(vm, bar, 0xc, 0x200);
	g_assert_cmphex(mmio_read(vm, bar + 0xc, 2), ==, 0);
	/* locked, nothing stops it; told not to reset, it does not bite */
	esb_write(vm, bar, 0, 1000);
	esb_write(vm, bar, 4, 1000);
	mmio_write(vm, ESB + 0x68, 1, 3);
	mmio_write(vm, ESB + 0x68, 1, 0);
	g_assert_cmphex(mmio_read(vm, ESB + 0x68, 1), ==, 3);
	mmio_write(vm, ESB + 0x60, 2, 0x20);
	vm_clock_advance(&vm->clock, 3 * SECOND);
	g_assert_cmphex(mmio_read(vm, bar + 0xc, 2), ==, 0x200);
	expect_quiet(vm);
	vm_free(vm);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/health/pvpanic-isa", test_pvpanic_isa);
	g_test_add_func("/health/pvpanic-pci", test_pvpanic_pci);
	g_test_add_func("/health/paused-for", test_paused_for);
	g_test_add_func("/health/tco", test_tco);
	g_test_add_func("/health/i6300esb", test_i6300esb);
	return g_test_run();
}
