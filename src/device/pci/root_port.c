/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pcie-root-port: a bridge of the root complex with one link below it (PCIe 5.0 section 7.5).
 * Windows and bus numbers are kept as written; there is no hot-plug yet.
 */
#include "device/pci/pci_state.h"
#include "machine/pci.h"
#include "machine/vm.h"

#include <errno.h>

struct root_port {
	struct pci_device pci;
	u8 chassis, port;
};

static struct root_port *port_of(struct device *dev)
{
	return container_of(dev, struct root_port, pci.dev);
}

static void root_port_reset(struct device *dev)
{
	pci_device_reset(&port_of(dev)->pci);
}

static int root_port_realize(struct device *dev, GError **error)
{
	static const struct pci_identity id = {
		.vendor = 0x1b36,
		.device = 0x000c,
		.class_code = 0x060400,
		.header = 1,
		.intx = true,
	};
	struct root_port *p = port_of(dev);
	int err = pci_device_init(&p->pci, &id, error);

	if (err)
		return err;
	pci_bridge_init(&p->pci);
	return pci_add_express(&p->pci, 4, p->port, p->chassis) < 0 ? -ENOSPC : 0;
}

static int root_port_post_load(struct device *dev)
{
	return pci_device_post_load(&port_of(dev)->pci);
}

static void root_port_destroy(struct device *dev)
{
	pci_device_destroy(&port_of(dev)->pci);
}

static const struct state_field root_port_state[] = {
	PCI_STATE(struct root_port, pci),
	STATE_END,
};

static const struct device_option root_port_options[] = {
	PCI_OPTIONS(struct root_port, pci),
	{ .name = "chassis",
	  .kind = OPTION_U8,
	  .offset = offsetof(struct root_port, chassis),
	  .max = 255,
	  .help = "physical slot number" },
	{ .name = "port",
	  .kind = OPTION_U8,
	  .offset = offsetof(struct root_port, port),
	  .max = 255,
	  .help = "port number of the link" },
	{ .name = NULL },
};

const struct device_type device_pcie_root_port = {
	.name = "pcie-root-port",
	.help = "PCI Express root port",
	.bytes = sizeof(struct root_port),
	.flags = DEVICE_PCI,
	.options = root_port_options,
	.state = root_port_state,
	.realize = root_port_realize,
	.reset = root_port_reset,
	.post_load = root_port_post_load,
	.destroy = root_port_destroy,
};
