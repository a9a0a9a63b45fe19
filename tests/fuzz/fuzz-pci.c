/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration space, BARs, MSI-X tables and everything else that answers at a port or an address,
 * accessed by a guest that obeys nothing. Identities stay, lookups end, a reset restores what was,
 * and the state saves, loads and saves again alike.
 *
 *   input: operations: u8 what, its numbers
 */
#include "device/types.h"
#include "fuzz.h"
#include "machine/layout.h"
#include "machine/pci.h"
#include "state/state.h"
#include "testvm.h"

#include <string.h>

const size_t fuzz_bytes_max = 2 * KIB;
const bool fuzz_text = false;

#define MEMORY    (4 * MIB)
#define PCI_COUNT 16
#define VCPUS     2
#define TIME_MAX  10000000 /* ns of one step: no timer may fire without end in it */

enum operation { ECAM, CF8, BAR, MSIX, INTX, PORT, MMIO, MSR, TIME, RESET, SAVE, OPERATIONS };

struct machine {
	struct vm *vm;
	struct pci_device *pci[PCI_COUNT];
	unsigned count;
};

static struct device *add(struct machine *m, const char *type, const char *id, unsigned bus,
			  unsigned slot)
{
	struct device *dev = test_device_new(m->vm, type, id);

	device_set_number(dev, "bus", bus, NULL);
	device_set_number(dev, "slot", slot, NULL);
	test_device_realize(dev);
	return dev;
}

static void build(struct machine *m)
{
	m->vm = test_vm_new(VCPUS, MEMORY);
	add(m, "pcie-root-port", "pci.1", 0, 2);
	add(m, "pcie-root-port", "pci.2", 0, 3);
	add(m, "i6300esb", "watchdog", 0, 4);
	add(m, "pvpanic-pci", "panic", 0, 5);
	test_device_realize(test_device_new(m->vm, "pvpanic", "isa-panic"));
	add(m, "virtio-rng", "rng", 1, 0);
	add(m, "virtio-balloon", "balloon", 2, 0);
	for (guint i = 0; i < m->vm->devices->len; i++) {
		struct device *dev = g_ptr_array_index(m->vm->devices, i);

		if ((dev->type->flags & DEVICE_PCI) && m->count < PCI_COUNT)
			m->pci[m->count++] = container_of(dev, struct pci_device, dev);
	}
	pci_assign(m->vm);
}

static void give(GByteArray *seed, enum operation operation, u64 a, unsigned a_bytes, u64 b,
		 unsigned b_bytes, u64 c, unsigned c_bytes)
{
	fuzz_give(seed, operation, 1);
	fuzz_give(seed, a, a_bytes);
	fuzz_give(seed, b, b_bytes);
	fuzz_give(seed, c, c_bytes);
}

/* ECAM and MMIO: address, how, value. How: bits 0-1 log2 of the size, bit 7 a write. */
bool fuzz_seed(unsigned index, GByteArray *seed)
{
	switch (index) {
	case 0: /* turn decoding on, move a BAR, size it */
		give(seed, ECAM, 0x100004, 4, 0x81, 1, 7, 8);
		give(seed, ECAM, 0x100010, 4, 0x82, 1, 0xd0000000, 8);
		give(seed, ECAM, 0x100014, 4, 0x82, 1, 0xffffffff, 8);
		give(seed, ECAM, 0x100010, 4, 2, 1, 0, 8);
		break;
	case 1: /* renumber the bridges, both to the same bus */
		give(seed, ECAM, 0x10018, 4, 0x82, 1, 0x00ff0100, 8);
		give(seed, ECAM, 0x18018, 4, 0x82, 1, 0x00ff0100, 8);
		give(seed, CF8, 0x80010000, 4, 2, 1, 0, 8);
		break;
	case 2: /* MSI-X: enable, fill an entry, fire, unmask */
		give(seed, ECAM, 0x100004, 4, 0x81, 1, 6, 8);
		for (unsigned i = 0; i < 16; i++)
			give(seed, BAR, 0x14000 + 8 * i, 3, 0x83, 1, 0xfee00000 + i, 8);
		for (unsigned at = 0x40; at < 0x100; at += 4)
			give(seed, ECAM, 0x100000 + at, 4, 0x82, 1, 0x80000000, 8);
		give(seed, MSIX, 2, 1, 0, 1, 0, 0);
		give(seed, INTX, 2, 1, 1, 1, 0, 0);
		break;
	case 3: /* timers, and time passing */
		give(seed, PORT, 0x43, 2, 0x80, 1, 0x34, 4);
		give(seed, PORT, 0x40, 2, 0x80, 1, 1, 4);
		give(seed, PORT, 0x40, 2, 0x80, 1, 0, 4);
		give(seed, MMIO, HPET_BASE + 0x10, 4, 0x83, 1, 1, 8);
		give(seed, MMIO, HPET_BASE + 0x100, 4, 0x83, 1, 0x4c, 8);
		give(seed, MMIO, HPET_BASE + 0x108, 4, 0x83, 1, 1, 8);
		give(seed, MMIO, LAPIC_BASE + 0x320, 4, 0x82, 1, 0x20030, 8);
		give(seed, MMIO, LAPIC_BASE + 0x380, 4, 0x82, 1, 1, 8);
		give(seed, TIME, 1000000, 4, 0, 0, 0, 0);
		break;
	case 4: /* x2APIC and the deadline timer */
		give(seed, MSR, 0x1b, 4, 0x80, 1, 0xfee00d00, 8);
		give(seed, MSR, 0x830, 4, 0x80, 1, 0x000c4500, 8);
		give(seed, MSR, 0x832, 4, 0x80, 1, 0x40030, 8);
		give(seed, MSR, 0x6e0, 4, 0x80, 1, 1, 8);
		give(seed, TIME, 1000000, 4, 0, 0, 0, 0);
		break;
	case 5: /* interrupt controllers */
		give(seed, PORT, 0x20, 2, 0x80, 1, 0x11, 4);
		give(seed, PORT, 0x21, 2, 0x80, 1, 0x30, 4);
		give(seed, MMIO, IOAPIC_BASE, 4, 0x82, 1, 0x14, 8);
		give(seed, MMIO, IOAPIC_BASE + 0x10, 4, 0x82, 1, 0x8030, 8);
		give(seed, INTX, 3, 1, 1, 1, 0, 0);
		give(seed, MMIO, LAPIC_BASE + 0xb0, 4, 0x82, 1, 0, 8);
		break;
	case 6: /* power, clock, keyboard */
		give(seed, PORT, 0x604, 2, 0x81, 1, 0x3c01, 4);
		give(seed, PORT, 0x70, 2, 0x80, 1, 0x0b, 4);
		give(seed, PORT, 0x71, 2, 0x80, 1, 0x72, 4);
		give(seed, PORT, 0x64, 2, 0x80, 1, 0xd1, 4);
		give(seed, PORT, 0x60, 2, 0x80, 1, 0xfe, 4);
		give(seed, PORT, 0xcf9, 2, 0x80, 1, 6, 4);
		break;
	case 7: /* the watchdogs: start them, let them bite, and the panic notifiers */
		give(seed, MMIO, RCRB_BASE + 0x3410, 4, 0x82, 1, 0, 8);
		give(seed, PORT, 0x660, 2, 0x81, 1, 1, 4);
		give(seed, PORT, 0x668, 2, 0x81, 1, 0, 4);
		give(seed, ECAM, 0x20004, 4, 0x81, 1, 2, 8);
		give(seed, BAR, 0x3000c, 3, 0x81, 1, 0x80, 8);
		give(seed, BAR, 0x3000c, 3, 0x81, 1, 0x86, 8);
		give(seed, BAR, 0x30000, 3, 0x82, 1, 1, 8);
		give(seed, ECAM, 0x20068, 4, 0x80, 1, 2, 8);
		give(seed, TIME, 10000000, 4, 0, 0, 0, 0);
		give(seed, PORT, 0x505, 2, 0x80, 1, 3, 4);
		give(seed, BAR, 0x20000, 3, 0x80, 1, 2, 8);
		break;
	case 8: /* fw_cfg: by bytes, and by a request that is no RAM */
		give(seed, PORT, 0x510, 2, 0x81, 1, 0x19, 4);
		give(seed, PORT, 0x511, 2, 0, 1, 0, 4);
		give(seed, PORT, 0x514, 2, 0x82, 1, 0xffffffff, 4);
		give(seed, PORT, 0x518, 2, 0x82, 1, 0xf0ffffff, 4);
		give(seed, PORT, 0x518, 2, 0x82, 1, 0x00100000, 4);
		break;
	default: return false;
	}
	fuzz_give(seed, SAVE, 1);
	fuzz_give(seed, RESET, 1);
	return true;
}

static void access_mmio(struct machine *m, gpa_t at, struct fuzz_bytes *in)
{
	u8 how = fuzz_take(in, 1);
	u64 value = fuzz_take(in, 8);

	at &= ~((1ull << (how & 3)) - 1);
	if (how & 0x80)
		mmio_write(m->vm, at, 1 << (how & 3), value);
	else
		mmio_read(m->vm, at, 1 << (how & 3));
}

static void access_port(struct machine *m, u16 port, struct fuzz_bytes *in)
{
	u8 how = fuzz_take(in, 1);
	u32 value = fuzz_take(in, 4);

	if (how & 0x80)
		pio_write(m->vm, port, 1 << (how & 3) % 3, value);
	else
		pio_read(m->vm, port, 1 << (how & 3) % 3);
}

static void access_cf8(struct machine *m, struct fuzz_bytes *in)
{
	u32 address = fuzz_take(in, 4);

	pio_write(m->vm, 0xcf8, 4, address);
	access_port(m, 0xcfc + (address & 3), in);
}

/* Into a BAR of the second half of the devices, wherever the guest has put it. */
static void access_bar(struct machine *m, struct fuzz_bytes *in)
{
	u32 where = fuzz_take(in, 3);
	const struct pci_device *pci = m->pci[m->count - 1 - where / 0x10000 % 4 % m->count];
	u32 low, high;

	memcpy(&low, pci->config + PCI_BAR0, 4);
	memcpy(&high, pci->config + PCI_BAR0 + 4, 4);
	access_mmio(m, ((u64)high << 32 | (low & ~15u)) + where % 0x10000, in);
}

static void access_msr(struct machine *m, struct fuzz_bytes *in)
{
	u32 msr = fuzz_take(in, 4);
	u8 how = fuzz_take(in, 1);
	u64 value = fuzz_take(in, 8);

	if (how & 0x80)
		cpu_msr_write(m->vm, how % VCPUS, msr, value);
	else
		cpu_msr_read(m->vm, how % VCPUS, msr, &value);
	interrupt_ack(m->vm, how % VCPUS);
}

static void save_and_load(struct machine *m)
{
	GByteArray *first = g_byte_array_new(), *second = g_byte_array_new();
	GError *error = NULL;

	state_save_vm(m->vm, first);
	FUZZ_CHECK(vm_reset(m->vm, NULL) == 0);
	if (state_load_vm(m->vm, first->data, first->len, &error))
		fuzz_failed(__FILE__, __LINE__, error->message);
	state_save_vm(m->vm, second);
	FUZZ_CHECK(first->len == second->len && !memcmp(first->data, second->data, first->len));
	g_byte_array_unref(first);
	g_byte_array_unref(second);
}

static void operate(struct machine *m, struct fuzz_bytes *in)
{
	struct pci_device *pci;

	switch ((enum operation)(fuzz_take(in, 1) % OPERATIONS)) {
	case ECAM: access_mmio(m, ECAM_BASE + fuzz_take(in, 4) % ECAM_BYTES, in); break;
	case CF8: access_cf8(m, in); break;
	case BAR: access_bar(m, in); break;
	case MSIX:
		pci = m->pci[fuzz_take(in, 1) % m->count];
		pci_msix_notify(pci, fuzz_take(in, 1));
		break;
	case INTX:
		pci = m->pci[fuzz_take(in, 1) % m->count];
		if (pci->config[PCI_PIN])
			pci_intx_set(pci, fuzz_take(in, 1) & 1);
		break;
	case PORT: access_port(m, fuzz_take(in, 2), in); break;
	case MMIO: access_mmio(m, fuzz_take(in, 4), in); break;
	case MSR: access_msr(m, in); break;
	case TIME: vm_clock_advance(&m->vm->clock, fuzz_take(in, 4) % TIME_MAX); break;
	case RESET: FUZZ_CHECK(vm_reset(m->vm, NULL) == 0); break;
	case SAVE: save_and_load(m); break;
	case OPERATIONS: break;
	}
}

static void check_end(struct machine *m)
{
	u8 ids[PCI_COUNT][4];

	for (unsigned i = 0; i < m->count; i++)
		memcpy(ids[i], m->pci[i]->config, 4);
	FUZZ_CHECK(vm_reset(m->vm, NULL) == 0);
	for (unsigned i = 0; i < m->count; i++) {
		FUZZ_CHECK(!memcmp(ids[i], m->pci[i]->config, 4));
		FUZZ_CHECK(!memcmp(m->pci[i]->config, m->pci[i]->initial, PCI_CONFIG_BYTES));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes in = { data, size };
	struct machine m = { .count = 0 };

	build(&m);
	vm_clock_run(&m.vm->clock, true);
	while (in.left)
		operate(&m, &in);
	check_end(&m);
	vm_free(m.vm);
	return 0;
}
