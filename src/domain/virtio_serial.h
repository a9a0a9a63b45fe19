/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The addresses of consoles and channels at their virtio-serial controllers. */
#ifndef LODGE_DOMAIN_VIRTIO_SERIAL_H
#define LODGE_DOMAIN_VIRTIO_SERIAL_H

#include "domain/domain.h"

#define VIRTIO_SERIAL_PORTS 31 /* of a controller, when it does not say */

/*
 * Gives every virtio console and channel a controller and a port, adding controllers where they
 * lack. Before PCI addresses are assigned. Addresses that are there are kept and checked.
 */
bool domain_assign_virtio_serial(struct domain *domain, GError **error);

#endif
