/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What firmware would do to PCI before a kernel starts: number the buses, place every BAR, open
 * the windows of bridges, write down interrupt lines. Resources come from three pools that only
 * grow; a bridge's window is what its bus took, rounded to the window's granularity.
 */
#include "machine/layout.h"
#include "machine/pci.h"
#include "machine/vm.h"

#include <string.h>

struct pool {
	u64 next, end;
};

struct assignment {
	struct pool io, mem32, mem64;
	unsigned last_bus;
};

static u64 take(struct pool *pool, u64 bytes)
{
	u64 at = ALIGN_UP(pool->next, bytes);

	if (at + bytes > pool->end || at + bytes < at)
		return 0;
	pool->next = at + bytes;
	return at;
}

static void config_write(struct pci_device *pci, unsigned offset, u32 value, unsigned bytes)
{
	memcpy(pci->config + offset, &value, bytes);
}

static void assign_bars(struct pci_device *pci, struct assignment *a)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &pci->bars[i];
		unsigned at = PCI_BAR0 + 4 * i;
		u64 address;

		switch (bar->kind) {
		case PCI_BAR_NONE: continue;
		case PCI_BAR_IO: address = take(&a->io, MAX(bar->region.bytes, 16)); break;
		case PCI_BAR_MEM32:
			address = take(&a->mem32, MAX(bar->region.bytes, PAGE_SIZE));
			break;
		default: address = take(&a->mem64, MAX(bar->region.bytes, PAGE_SIZE)); break;
		}
		config_write(pci, at, (u32)address | (pci->initial[at] & 15), 4);
		if (bar->kind == PCI_BAR_MEM64)
			config_write(pci, at + 4, address >> 32, 4);
	}
}

static void assign_bus(struct pci_bus *bus, struct assignment *a, unsigned depth);

/* An empty window has its base above its limit. */
static void assign_bridge(struct pci_device *bridge, struct assignment *a, unsigned depth)
{
	u64 io, mem32, mem64;
	bool has_io, has_mem32, has_mem64;

	a->io.next = io = ALIGN_UP(a->io.next, 4 * KIB);
	a->mem32.next = mem32 = ALIGN_UP(a->mem32.next, MIB);
	a->mem64.next = mem64 = ALIGN_UP(a->mem64.next, MIB);
	bridge->config[PCI_SECONDARY] = ++a->last_bus;
	assign_bus(bridge->secondary, a, depth + 1);
	bridge->config[PCI_SUBORDINATE] = a->last_bus;

	has_io = a->io.next > io;
	has_mem32 = a->mem32.next > mem32;
	has_mem64 = a->mem64.next > mem64;
	a->io.next = ALIGN_UP(a->io.next, 4 * KIB);
	a->mem32.next = ALIGN_UP(a->mem32.next, MIB);
	a->mem64.next = ALIGN_UP(a->mem64.next, MIB);
	config_write(bridge, 0x1c,
		     has_io ? (io >> 8 & 0xf0) | ((a->io.next - 1) & 0xf000) | 0x0101 : 0x01f1, 2);
	config_write(bridge, 0x20,
		     has_mem32 ? mem32 >> 16 | ((a->mem32.next - 1) & 0xfff00000) : 0x0000fff0, 4);
	config_write(bridge, 0x24,
		     has_mem64
			     ? (mem64 >> 16 & 0xfff0) | ((a->mem64.next - 1) & 0xfff00000) | 0x10001
			     : 0x0001fff1,
		     4);
	config_write(bridge, 0x28, has_mem64 ? mem64 >> 32 : 0, 4);
	config_write(bridge, 0x2c, has_mem64 ? (a->mem64.next - 1) >> 32 : 0, 4);
	bridge->config[PCI_COMMAND] |= PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
}

static void assign_bus(struct pci_bus *bus, struct assignment *a, unsigned depth)
{
	unsigned number = a->last_bus;

	if (depth >= PCI_DEPTH_MAX)
		return;
	for (unsigned i = 0; i < ARRAY_LEN(bus->devices); i++) {
		struct pci_device *pci = bus->devices[i];

		if (!pci)
			continue;
		assign_bars(pci, a);
		if (pci->initial[PCI_PIN])
			pci->config[PCI_LINE] = pci_gsi(pci);
		if (pci->secondary && a->last_bus < 255) {
			pci->config[PCI_PRIMARY] = number;
			assign_bridge(pci, a, depth);
		}
	}
}

void pci_assign(struct vm *vm)
{
	u64 high = pci64_base(&vm->memory);
	struct assignment a = {
		.io = { PCI_IO_BASE, PCI_IO_END },
		.mem32 = { PCI32_BASE, PCI32_END },
		.mem64 = { high, high + PCI64_BYTES },
	};

	if (!vm->pci)
		return;
	pthread_mutex_lock(&vm->pci->config_lock);
	assign_bus(vm->pci, &a, 0);
	pthread_mutex_unlock(&vm->pci->config_lock);
}
