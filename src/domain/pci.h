/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI addresses of a q35 machine, assigned by libvirt's rules. */
#ifndef LODGE_DOMAIN_PCI_H
#define LODGE_DOMAIN_PCI_H

#include "domain/domain.h"

/*
 * Gives every PCI device below <devices> an address, adding root ports where none is free, and
 * every root port its chassis and port number. Addresses that are there are kept and checked.
 */
bool domain_assign_pci(struct domain *domain, GError **error);
/* Reads the <address type='pci'> below @device; .set is false when it has none. */
struct domain_address domain_pci_address(const void *device);

#endif
