/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI configuration space. See pci.h.
 */
#include "machine/pci.h"

#include "machine/vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static u16 get16(const u8 *p)
{
	return p[0] | p[1] << 8;
}

static void put(u8 *p, u64 value, unsigned bytes)
{
	memcpy(p, &value, bytes);
}

/* Finding. */

void pci_root_init(struct pci_bus *root, struct vm *vm)
{
	memset(root, 0, sizeof(*root));
	root->vm = vm;
	pthread_mutex_init(&root->config_lock, NULL);
	vm->pci = root;
}

void pci_root_destroy(struct pci_bus *root)
{
	pthread_mutex_destroy(&root->config_lock);
}

void pci_bridge_init(struct pci_device *bridge)
{
	bridge->secondary = g_new0(struct pci_bus, 1);
	bridge->secondary->vm = bridge->dev.vm;
	bridge->secondary->bridge = bridge;
}

/* The bus that the bridges now say has @number. They are the guest's to program, so they may well
 * contradict each other; the first match wins. */
static struct pci_bus *bus_by_number(struct pci_bus *bus, unsigned number, unsigned depth)
{
	for (unsigned i = 0; i < ARRAY_LEN(bus->devices) && depth < PCI_DEPTH_MAX; i++) {
		struct pci_device *d = bus->devices[i];

		if (!d || !d->secondary || number < d->config[PCI_SECONDARY] ||
		    number > d->config[PCI_SUBORDINATE] || !d->config[PCI_SECONDARY])
			continue;
		if (number == d->config[PCI_SECONDARY])
			return d->secondary;
		return bus_by_number(d->secondary, number, depth + 1);
	}
	return NULL;
}

/* The bus that a plan means by its controller index: behind the bridge whose id is pci.N. */
static struct pci_bus *bus_by_index(struct vm *vm, unsigned index)
{
	char id[16];

	if (!index)
		return vm->pci;
	snprintf(id, sizeof(id), "pci.%u", index);
	for (guint i = 0; i < vm->devices->len; i++) {
		struct device *dev = g_ptr_array_index(vm->devices, i);

		if ((dev->type->flags & DEVICE_PCI) && !strcmp(dev->id, id))
			return container_of(dev, struct pci_device, dev)->secondary;
	}
	return NULL;
}

/* Interrupt pins rotate at every bridge (PCI-to-PCI bridge specification 9.1); at the root, slot
 * and pin choose one of eight lines as the DSDT's _PRT says. */
u8 pci_gsi(const struct pci_device *pci)
{
	unsigned pin = 0;

	for (; pci->bus->bridge; pci = pci->bus->bridge)
		pin = (pin + pci->slot) & 3;
	return GSI_PCI_BASE + ((pci->slot + pin) & 7);
}

/* Making. */

static void set_masks(struct pci_device *pci, const struct pci_identity *id)
{
	put(pci->writable + PCI_COMMAND,
	    PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | 0x0140 |
		    PCI_COMMAND_INTX_OFF,
	    2);
	put(pci->clearable + PCI_STATUS, 0xf900, 2);
	pci->writable[0x0c] = 0xff; /* cache line size */
	pci->writable[PCI_LINE] = 0xff;
	if (id->header == 0)
		return;
	put(pci->writable + PCI_PRIMARY, 0xffffff, 3);
	put(pci->writable + 0x1c, 0xf0f0, 2); /* I/O window */
	put(pci->clearable + 0x1e, 0xf900, 2);
	put(pci->writable + 0x20, 0xfff0fff0, 4); /* memory window */
	put(pci->writable + 0x24, 0xfff0fff0, 4); /* prefetchable window */
	put(pci->writable + 0x28, UINT64_MAX, 8);
	put(pci->writable + 0x30, UINT32_MAX, 4); /* I/O window, high */
	put(pci->writable + PCI_BRIDGE_CONTROL, 0x0fff & ~0x0800, 2);
}

static void set_identity(struct pci_device *pci, const struct pci_identity *id)
{
	u8 *c = pci->initial;

	put(c + PCI_VENDOR, id->vendor, 2);
	put(c + PCI_DEVICE, id->device, 2);
	c[PCI_REVISION] = id->revision;
	put(c + PCI_CLASS, id->class_code, 3);
	c[PCI_HEADER] = id->header;
	c[PCI_PIN] = id->intx;
	if (id->header == 0) {
		put(c + PCI_SUBSYSTEM_VENDOR, id->subsystem_vendor, 2);
		put(c + PCI_SUBSYSTEM, id->subsystem, 2);
	} else {
		put(c + 0x1c, 0x0101, 2);     /* 32-bit I/O window */
		put(c + 0x24, 0x00010001, 4); /* 64-bit prefetchable window */
	}
}

/* Function 0 tells that there are others. */
static void mark_multifunction(struct pci_bus *bus, unsigned slot)
{
	struct pci_device *zero = bus->devices[slot * 8];

	for (unsigned f = 1; zero && f < 8; f++)
		if (bus->devices[slot * 8 + f])
			zero->initial[PCI_HEADER] |= 0x80;
}

int pci_device_init(struct pci_device *pci, const struct pci_identity *id, GError **error)
{
	struct vm *vm = pci->dev.vm;
	unsigned devfn = pci->slot * 8 + pci->function;
	struct pci_bus *bus;

	pthread_mutex_init(&pci->msix.lock, NULL);
	bus = bus_by_index(vm, pci->bus_number);
	if (!bus) {
		g_set_error(error, VM_ERROR, ENODEV,
			    "there is no PCI bus %u (a root port named pci.%u)", pci->bus_number,
			    pci->bus_number);
		return -ENODEV;
	}
	if (bus->devices[devfn]) {
		g_set_error(error, VM_ERROR, EBUSY, "PCI address %02x:%02x.%x belongs to '%s'",
			    pci->bus_number, pci->slot, pci->function, bus->devices[devfn]->dev.id);
		return -EBUSY;
	}
	pci->bus = bus;
	bus->devices[devfn] = pci;
	pci->cap_end = 0x40;
	set_masks(pci, id);
	set_identity(pci, id);
	mark_multifunction(pci->bus, pci->slot);
	irq_line_init(&pci->intx, vm, pci_gsi(pci));
	return 0;
}

void pci_device_destroy(struct pci_device *pci)
{
	if (pci->bus)
		pci->bus->devices[pci->slot * 8 + pci->function] = NULL;
	g_free(pci->secondary);
	pci->secondary = NULL;
	pthread_mutex_destroy(&pci->msix.lock);
}

int pci_add_capability(struct pci_device *pci, u8 id, unsigned bytes, const void *content,
		       const void *writable)
{
	unsigned at = pci->cap_end;

	if (at + bytes > PCI_CONFIG_BYTES)
		return -ENOSPC;
	pci->initial[at] = id;
	memcpy(pci->initial + at + 2, content, bytes - 2);
	if (writable)
		memcpy(pci->writable + at + 2, writable, bytes - 2);
	if (pci->last_cap)
		pci->initial[pci->last_cap + 1] = at;
	else
		pci->initial[PCI_CAPABILITIES] = at;
	pci->initial[PCI_STATUS] |= PCI_STATUS_CAPS;
	pci->last_cap = at;
	pci->cap_end = ALIGN_UP(at + bytes, 4);
	return at;
}

/* PCIe 5.0 section 7.5.3, version 2. */
int pci_add_express(struct pci_device *pci, u8 port_type, u8 port_number, u8 slot_number)
{
	u8 c[0x3c] = { 0 }, w[0x3c] = { 0 };
	bool root_port = port_type == 4, link = port_type != 9;

	put(c + 0x02, 2 | port_type << 4 | (root_port ? 0x100 : 0), 2);
	put(c + 0x04, 0x8000, 4); /* role-based error reporting */
	put(w + 0x08, 0x7f0f, 2); /* device control */
	if (link) {
		put(c + 0x0c, (u32)port_number << 24 | (root_port ? 0x00100000 : 0) | 0x0c13, 4);
		put(w + 0x10, 0x0043, 2);
		put(c + 0x12, 0x0013 | (root_port ? 0x2000 : 0), 2); /* 8 GT/s, x1, active */
		put(c + 0x2c, 0x000e, 4);
		put(c + 0x30, 0x0003, 2);
	}
	if (root_port) {
		put(c + 0x14, (u32)slot_number << 19, 4);
		put(w + 0x18, 0x1fff, 2);
		put(c + 0x1a, 0x0040, 2); /* something is in the slot */
		put(w + 0x1c, 0x001f, 2);
	}
	return pci_add_capability(pci, PCI_CAP_ID_PCIE, sizeof(c), c + 2, w + 2);
}

static unsigned bar_offset(unsigned number)
{
	return PCI_BAR0 + 4 * number;
}

int pci_add_bar(struct pci_device *pci, unsigned number, enum pci_bar_kind kind, u64 bytes,
		region_access *access, GError **error)
{
	struct pci_bar *bar = &pci->bars[number];
	unsigned at = bar_offset(number);
	struct vm *vm = pci->dev.vm;
	u64 mask = ~(bytes - 1);
	int err;

	bar->kind = kind;
	bar->prefetchable = kind == PCI_BAR_MEM64;
	bar->region = (struct region){
		.dev = &pci->dev, .access = access, .bytes = bytes, .priority = REGION_PRIORITY_BAR
	};
	if (kind == PCI_BAR_IO)
		pci->initial[at] = 1;
	else if (kind == PCI_BAR_MEM64)
		pci->initial[at] = 0x0c;
	put(pci->writable + at, mask, kind == PCI_BAR_MEM64 ? 8 : 4);
	err = region_map_add(kind == PCI_BAR_IO ? &vm->pio : &vm->mmio, &bar->region);
	if (err)
		g_set_error(error, VM_ERROR, -err, "too many regions for its BAR %u", number);
	return err;
}

/* Where a BAR points, or UINT64_MAX if nowhere useful. */
static u64 bar_address(const struct pci_device *pci, unsigned number)
{
	const struct pci_bar *bar = &pci->bars[number];
	u64 address = 0;

	memcpy(&address, pci->config + bar_offset(number), bar->kind == PCI_BAR_MEM64 ? 8 : 4);
	address &= ~(bar->region.bytes - 1);
	if (bar->kind == PCI_BAR_IO && address > 0xffff)
		return UINT64_MAX;
	return address ? address : UINT64_MAX;
}

static void update_bars(struct pci_device *pci)
{
	struct vm *vm = pci->dev.vm;
	u16 command = get16(pci->config + PCI_COMMAND);

	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &pci->bars[i];
		bool io = bar->kind == PCI_BAR_IO, enabled;
		u64 address;

		if (bar->kind == PCI_BAR_NONE)
			continue;
		address = bar_address(pci, i);
		enabled = (command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) &&
			  address != UINT64_MAX;
		region_map_move(io ? &vm->pio : &vm->mmio, &bar->region, address, enabled);
		if (pci->msix.vectors && pci->msix.bar == i)
			pci_msix_move(pci, address, enabled);
		if (pci->bar_moved)
			pci->bar_moved(pci, i, address, enabled);
	}
}

/* Accesses. */

static void intx_update_locked(struct pci_device *pci)
{
	irq_line_set(&pci->intx,
		     (pci->config[PCI_STATUS] & PCI_STATUS_INTX) &&
			     !(get16(pci->config + PCI_COMMAND) & PCI_COMMAND_INTX_OFF));
}

static void intx_update(struct pci_device *pci)
{
	pthread_mutex_lock(&pci->msix.lock);
	intx_update_locked(pci);
	pthread_mutex_unlock(&pci->msix.lock);
}

static bool touches(unsigned offset, unsigned bytes, unsigned start, unsigned length)
{
	return offset < start + length && start < offset + bytes;
}

static void write_config(struct pci_device *pci, unsigned offset, unsigned size, u64 value)
{
	for (unsigned i = 0; i < size; i++) {
		u8 byte = value >> (8 * i), *c = &pci->config[offset + i];
		u8 w = pci->writable[offset + i];

		*c = ((*c & ~w) | (byte & w)) & ~(byte & pci->clearable[offset + i]);
	}
	if (touches(offset, size, PCI_COMMAND, 2)) {
		update_bars(pci);
		intx_update(pci);
	} else if (touches(offset, size, PCI_BAR0, 4 * PCI_BARS)) {
		update_bars(pci);
	}
	if (pci->msix.vectors && touches(offset, size, pci->msix.cap, 12))
		pci_msix_config_written(pci);
	if (pci->config_written)
		pci->config_written(pci, offset, size);
}

static u64 read_config(struct pci_device *pci, unsigned offset, unsigned size)
{
	u64 value = 0;

	if (pci->config_read)
		pci->config_read(pci, offset, size);
	memcpy(&value, pci->config + offset, size);
	return value;
}

void pci_config_access(struct pci_bus *root, unsigned number, unsigned devfn, unsigned offset,
		       unsigned size, u64 *value, bool write)
{
	struct pci_device *pci = NULL;
	struct pci_bus *bus;

	if (size > 4 || offset % size)
		return;
	pthread_mutex_lock(&root->config_lock);
	bus = number ? bus_by_number(root, number, 0) : root;
	/* A PCIe link has one device at its end. */
	if (bus)
		pci = bus->devices[devfn & 0xff];
	if (pci && offset + size <= PCI_CONFIG_BYTES) {
		if (write)
			write_config(pci, offset, size, *value);
		else
			*value = read_config(pci, offset, size);
	} else if (!write) {
		*value = pci ? 0 : UINT64_MAX >> (64 - 8 * size);
	}
	pthread_mutex_unlock(&root->config_lock);
}

bool pci_bus_master(struct pci_device *pci)
{
	return __atomic_load_n(&pci->config[PCI_COMMAND], __ATOMIC_RELAXED) & PCI_COMMAND_MASTER;
}

/* The status bit is atomic because config_lock, which accesses hold while they call devices, cannot
 * be taken here. */
void pci_intx_set(struct pci_device *pci, bool level)
{
	u8 *status = &pci->config[PCI_STATUS];

	pthread_mutex_lock(&pci->msix.lock);
	if (level)
		__atomic_or_fetch(status, PCI_STATUS_INTX, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(status, (u8)~PCI_STATUS_INTX, __ATOMIC_SEQ_CST);
	intx_update_locked(pci);
	pthread_mutex_unlock(&pci->msix.lock);
}

void pci_device_reset(struct pci_device *pci)
{
	struct pci_bus *root = pci->dev.vm->pci;

	pthread_mutex_lock(&root->config_lock);
	memcpy(pci->config, pci->initial, sizeof(pci->config));
	pci_msix_reset(pci);
	update_bars(pci);
	intx_update(pci);
	pthread_mutex_unlock(&root->config_lock);
}

/* What is read-only must be as this device has it, or the state is of another one. */
int pci_device_post_load(struct pci_device *pci)
{
	for (unsigned i = 0; i < PCI_STATUS; i++)
		if ((pci->config[i] ^ pci->initial[i]) & ~(pci->writable[i] | pci->clearable[i]))
			return -EINVAL;
	update_bars(pci);
	irq_line_restore(&pci->intx);
	return 0;
}
