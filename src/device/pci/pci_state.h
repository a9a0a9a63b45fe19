/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows that every PCI device puts first into its state table. */
#ifndef LODGE_DEVICE_PCI_PCI_STATE_H
#define LODGE_DEVICE_PCI_PCI_STATE_H

#include "machine/pci.h"
#include "state/state.h"

extern const struct state_field pci_msix_entry_state[];

#define PCI_STATE(type, member)                                     \
	STATE(type, member.config), STATE(type, member.intx.level), \
		STATE(type, member.msix.pending),                   \
		STATE_STRUCTS(type, member.msix.entries, pci_msix_entry_state, struct msix_entry)

#endif
