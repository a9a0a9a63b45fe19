/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pvpanic as a PCI function: the same register in a BAR. See chipset/pvpanic.c. */
#include "device/chipset/pvpanic.h"
#include "device/pci/pci_state.h"
#include "machine/vm.h"

#define BAR_BYTES 4096

struct pvpanic_pci {
	struct pci_device pci;
};

static struct pci_device *pci_of(struct device *dev)
{
	return &container_of(dev, struct pvpanic_pci, pci.dev)->pci;
}

static void pvpanic_pci_reset(struct device *dev)
{
	pci_device_reset(pci_of(dev));
}

static int pvpanic_pci_realize(struct device *dev, GError **error)
{
	static const struct pci_identity id = {
		.vendor = 0x1b36,
		.device = 0x0011,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.class_code = 0x088000, /* a system peripheral */
		.revision = 1,
	};
	int err = pci_device_init(pci_of(dev), &id, error);

	return err ? err
		   : pci_add_bar(pci_of(dev), 0, PCI_BAR_MEM32, BAR_BYTES, pvpanic_access, error);
}

static int pvpanic_pci_post_load(struct device *dev)
{
	return pci_device_post_load(pci_of(dev));
}

static void pvpanic_pci_destroy(struct device *dev)
{
	pci_device_destroy(pci_of(dev));
}

static const struct state_field pvpanic_pci_state[] = {
	PCI_STATE(struct pvpanic_pci, pci),
	STATE_END,
};

static const struct device_option pvpanic_pci_options[] = {
	PCI_OPTIONS(struct pvpanic_pci, pci),
	{ .name = NULL },
};

const struct device_type device_pvpanic_pci = {
	.name = "pvpanic-pci",
	.help = "panic notifier on the PCI bus",
	.bytes = sizeof(struct pvpanic_pci),
	.flags = DEVICE_PCI,
	.options = pvpanic_pci_options,
	.state = pvpanic_pci_state,
	.realize = pvpanic_pci_realize,
	.reset = pvpanic_pci_reset,
	.post_load = pvpanic_pci_post_load,
	.destroy = pvpanic_pci_destroy,
};
