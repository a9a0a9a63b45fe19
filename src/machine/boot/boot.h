/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct boot: what firmware and a boot loader would have done for a Linux or PVH kernel.
 *
 *   0x00500  GDT                 0x06000  PVH start info     0x10000  boot_params
 *   0x09000  identity page tables (PML4, PDPT, 4 PDs)        0x20000  command line
 *   0xf0000  RSDP                end of low RAM: initrd, then ACPI tables
 *
 * Runs again at every reset, from the same descriptors, so that a restarted guest finds what a
 * fresh one finds; its kernel gets another random address.
 */
#ifndef LODGE_MACHINE_BOOT_BOOT_H
#define LODGE_MACHINE_BOOT_BOOT_H

#include "base/types.h"
#include <glib.h>

struct vm;

struct boot {
	int kernel_fd, initrd_fd; /* owned by the caller; initrd_fd -1: none */
	char *cmdline;            /* owned by the caller */
	bool classic;             /* through the kernel's own decompressor */
	bool kaslr;
	bool used;               /* guest RAM is no longer fresh */
	const char *kernel_name; /* for messages; owned by the caller, or NULL */
};

/* For vm->boot, @opaque is a struct boot: loads everything and sets the boot CPU's registers. */
int boot_direct(struct vm *vm, void *opaque, GError **error);

#endif
