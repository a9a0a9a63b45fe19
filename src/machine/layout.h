/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where things are in the guest's physical address space and I/O space: the q35 family.
 *
 *   0x00000000  RAM (with the video hole, see memory.h)
 *   low_bytes   PCI memory, 32-bit
 *   0xb0000000  PCI configuration (ECAM), 256 buses
 *   0xc0000000  PCI memory, 32-bit
 *   0xfec00000  I/O APIC, HPET 0xfed00000, local APICs 0xfee00000
 *   4 GiB       RAM that did not fit below
 *   pci64_base  PCI memory, 64-bit
 */
#ifndef LODGE_MACHINE_LAYOUT_H
#define LODGE_MACHINE_LAYOUT_H

#include "base/types.h"
#include "machine/memory.h"

#define ECAM_BASE   0xb0000000ull
#define ECAM_BYTES  (256 * MIB)
#define PCI32_BASE  0xc0000000ull
#define PCI32_END   0xfec00000ull
#define PCI64_BYTES (32 * GIB)
#define IOAPIC_BASE 0xfec00000ull
#define HPET_BASE   0xfed00000ull
#define RCRB_BASE   0xfed1c000ull /* the ICH9's root complex registers */
#define LAPIC_BASE  0xfee00000ull
#define PCI_IO_BASE 0x1000
#define PCI_IO_END  0x10000

/* Firmware data of a direct boot, all below the first MiB or at the end of low RAM. */
#define EBDA_BASE    0x9fc00ull /* end of conventional memory */
#define RSDP_ADDRESS 0xf0000ull /* where ACPI is looked for */
#define BIOS_AREA    0xf0000ull
#define ACPI_BYTES   (128 * KIB) /* tables, at the end of low RAM */

static inline u64 pci64_base(const struct guest_memory *mem)
{
	return ALIGN_UP(MEM_HIGH_BASE + mem->high_bytes, PCI64_BYTES);
}

#endif
