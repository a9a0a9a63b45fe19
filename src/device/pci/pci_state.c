/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state table of an MSI-X entry, which PCI_STATE() puts into every PCI device's table. */
#include "device/pci/pci_state.h"
#include "machine/pci.h"

const struct state_field pci_msix_entry_state[] = {
	STATE(struct msix_entry, address),
	STATE(struct msix_entry, data),
	STATE(struct msix_entry, control),
	STATE_END,
};
