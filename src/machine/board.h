/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boards: which devices a machine has before the plan adds any. A machine type is a versioned name
 * of a board; a version's table never changes once released.
 */
#ifndef LODGE_MACHINE_BOARD_H
#define LODGE_MACHINE_BOARD_H

#include "machine/device.h"

struct board_device {
	const char *type, *id;
	u8 slot, function; /* PCI devices, on bus 0 */
	bool per_vcpu;     /* one for each processor, its option "index" counting */
};

struct board {
	const char *name;                   /* "lodge-q35-1.0" */
	const struct board_device *devices; /* ends with type NULL */
};

extern const struct board *const boards[]; /* NULL-terminated */

const struct board *board_find(const char *name);
/* Creates and realizes the board's devices; @types is what the program knows. */
int board_build(struct vm *vm, const struct board *board, const struct device_type *const *types,
		GError **error);

#endif
