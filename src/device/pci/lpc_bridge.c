/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ICH9 LPC bridge at 00:1f.0: by it guests know that there are ISA devices. Its interrupt
 * routing registers are kept as written; interrupts follow the fixed wiring of the DSDT.
 */
#include "device/pci/pci_state.h"
#include "machine/acpi/acpi.h"
#include "machine/layout.h"
#include "machine/pci.h"
#include "machine/vm.h"

#include <string.h>

struct lpc_bridge {
	struct pci_device pci;
};

static void lpc_reset(struct device *dev)
{
	pci_device_reset(&container_of(dev, struct lpc_bridge, pci.dev)->pci);
}

static int lpc_realize(struct device *dev, GError **error)
{
	static const struct pci_identity id = {
		.vendor = 0x8086,
		.device = 0x2918,
		.class_code = 0x060100,
		.revision = 2,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
	};
	struct pci_device *pci = &container_of(dev, struct lpc_bridge, pci.dev)->pci;
	u32 pmbase = ACPI_PM1_EVT_PORT | 1, rcba = RCRB_BASE | 1;
	int err = pci_device_init(pci, &id, error);

	if (err)
		return err;
	memcpy(pci->initial + 0x40, &pmbase, 4);
	pci->initial[0x44] = 0x80;            /* ACPI registers decode */
	memset(pci->initial + 0x60, 0x80, 4); /* PIRQ A-D: not routed */
	memset(pci->initial + 0x68, 0x80, 4);
	memcpy(pci->initial + 0xf0, &rcba, 4);
	memset(pci->writable + 0x60, 0x8f, 4);
	memset(pci->writable + 0x68, 0x8f, 4);
	return 0;
}

static int lpc_post_load(struct device *dev)
{
	return pci_device_post_load(&container_of(dev, struct lpc_bridge, pci.dev)->pci);
}

static void lpc_destroy(struct device *dev)
{
	pci_device_destroy(&container_of(dev, struct lpc_bridge, pci.dev)->pci);
}

static const struct state_field lpc_state[] = {
	PCI_STATE(struct lpc_bridge, pci),
	STATE_END,
};

static const struct device_option lpc_options[] = {
	PCI_OPTIONS(struct lpc_bridge, pci),
	{ .name = NULL },
};

const struct device_type device_lpc_bridge = {
	.name = "lpc-bridge",
	.help = "ICH9 LPC bridge",
	.bytes = sizeof(struct lpc_bridge),
	.flags = DEVICE_BOARD | DEVICE_PCI,
	.options = lpc_options,
	.state = lpc_state,
	.realize = lpc_realize,
	.reset = lpc_reset,
	.post_load = lpc_post_load,
	.destroy = lpc_destroy,
};
