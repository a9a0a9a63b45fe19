/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device types there are. The list is made from the table in meson.build. */
#ifndef LODGE_DEVICE_TYPES_H
#define LODGE_DEVICE_TYPES_H

#include "machine/device.h"

extern const struct device_type *const device_types[]; /* NULL-terminated, sorted by symbol */

#endif
