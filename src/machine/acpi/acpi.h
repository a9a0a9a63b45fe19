/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables (ACPI 6.4 chapter 5). The code (DSDT, SSDT) is ASL compiled at build time; the
 * tables of numbers are structs filled in here; what depends on the machine is patched into named
 * places of the ASL by its compiler's listing of offsets.
 */
#ifndef LODGE_MACHINE_ACPI_ACPI_H
#define LODGE_MACHINE_ACPI_ACPI_H

#include "base/types.h"
#include <glib.h>

struct vm;

/* Fixed hardware: the ports that the FADT names and the power-management device answers at. */
#define ACPI_PM1_EVT_PORT 0x600
#define ACPI_PM1_CNT_PORT 0x604
#define ACPI_PM_TMR_PORT  0x608
#define ACPI_GPE0_PORT    0x620
#define ACPI_TCO_PORT     0x660
#define ACPI_RESET_PORT   0xcf9
#define ACPI_RESET_VALUE  0x0e
#define ACPI_S5_SLP_TYP   5 /* as the DSDT's _S5 says */

/* Writes the tables into guest RAM at @base (at most @bytes of them) and the RSDP at @rsdp.
 * -ENOSPC or -EFAULT with @error set. */
int acpi_build(struct vm *vm, gpa_t base, u64 bytes, gpa_t rsdp, GError **error);

#endif
