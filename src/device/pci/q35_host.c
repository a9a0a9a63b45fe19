/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host bridge of the q35 family at 00:00.0, and the two ways to configuration space: ports
 * 0xcf8/0xcfc (PCI 3.0 section 3.2.2.3.2) and ECAM (PCIe 5.0 section 7.2.2). The reset control
 * register at 0xcf9 is a byte inside the address port.
 */
#include "device/pci/pci_state.h"
#include "machine/acpi/acpi.h"
#include "machine/layout.h"
#include "machine/pci.h"
#include "machine/vm.h"

struct q35_host {
	struct pci_device pci;
	struct pci_bus root;
	struct region address_port, data_port, ecam;
	u32 address;
	u8 reset_control;
};

static struct q35_host *host_of(struct device *dev)
{
	return container_of(dev, struct q35_host, pci.dev);
}

/* Bit 2 rising resets; bit 1 would make it a hard reset, which it always is. */
static void reset_control_access(struct q35_host *h, u64 *value, bool write)
{
	u8 old = h->reset_control;

	if (!write) {
		*value = old;
		return;
	}
	h->reset_control = *value & 0x0e;
	if ((*value & 4) && !(old & 4))
		vm_request(h->pci.dev.vm, VM_REQUEST_RESET, 0);
}

/* Only whole words reach the address register. */
static void address_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct q35_host *h = host_of(dev);

	if (size == 1 && offset == ACPI_RESET_PORT - 0xcf8)
		reset_control_access(h, value, write);
	else if (size == 4 && write)
		__atomic_store_n(&h->address, *value & 0x80fffffc, __ATOMIC_RELAXED);
	else if (size == 4)
		*value = __atomic_load_n(&h->address, __ATOMIC_RELAXED);
}

static void data_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct q35_host *h = host_of(dev);
	u32 a = __atomic_load_n(&h->address, __ATOMIC_RELAXED);

	if (a & 0x80000000)
		pci_config_access(&h->root, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + offset,
				  size, value, write);
}

static void ecam_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	pci_config_access(&host_of(dev)->root, offset >> 20, offset >> 12 & 0xff, offset & 0xfff,
			  size, value, write);
}

static void host_reset(struct device *dev)
{
	struct q35_host *h = host_of(dev);

	pci_device_reset(&h->pci);
	h->address = 0;
	h->reset_control = 0;
}

static int host_realize(struct device *dev, GError **error)
{
	static const struct pci_identity id = {
		.vendor = 0x8086,
		.device = 0x29c0,
		.class_code = 0x060000,
		.revision = 2,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
	};
	struct q35_host *h = host_of(dev);
	int err;

	pci_root_init(&h->root, dev->vm);
	err = pci_device_init(&h->pci, &id, error);
	if (!err)
		err = device_add_ports(dev, &h->address_port, 0xcf8, 4, address_access, error);
	if (!err)
		err = device_add_ports(dev, &h->data_port, 0xcfc, 4, data_access, error);
	if (!err)
		err = device_add_mmio(dev, &h->ecam, ECAM_BASE, ECAM_BYTES, ecam_access, error);
	h->address_port.width_max = h->data_port.width_max = 4;
	h->ecam.width_max = 4;
	return err;
}

static int host_post_load(struct device *dev)
{
	return pci_device_post_load(&host_of(dev)->pci);
}

static void host_destroy(struct device *dev)
{
	struct q35_host *h = host_of(dev);

	pci_device_destroy(&h->pci);
	pci_root_destroy(&h->root);
}

static const struct state_field host_state[] = {
	PCI_STATE(struct q35_host, pci),
	STATE(struct q35_host, address),
	STATE(struct q35_host, reset_control),
	STATE_END,
};

static const struct device_option host_options[] = {
	PCI_OPTIONS(struct q35_host, pci),
	{ .name = NULL },
};

const struct device_type device_q35_host = {
	.name = "q35-host",
	.help = "host bridge and PCI configuration access",
	.bytes = sizeof(struct q35_host),
	.flags = DEVICE_BOARD | DEVICE_PCI,
	.options = host_options,
	.state = host_state,
	.realize = host_realize,
	.reset = host_reset,
	.post_load = host_post_load,
	.destroy = host_destroy,
};
