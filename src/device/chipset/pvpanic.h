/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The register of pvpanic, whatever it sits behind: one byte. */
#ifndef LODGE_DEVICE_CHIPSET_PVPANIC_H
#define LODGE_DEVICE_CHIPSET_PVPANIC_H

#include "machine/region.h"

region_access pvpanic_access;

#endif
