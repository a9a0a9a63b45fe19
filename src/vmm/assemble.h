/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a plan to a machine: engine, board, backends, devices, boot.
 */
#ifndef LODGE_VMM_ASSEMBLE_H
#define LODGE_VMM_ASSEMBLE_H

#include "base/statistics.h"
#include "machine/boot/boot.h"
#include "vmm/plan.h"
#include <glib.h>

struct accel;
struct block;
struct console;
struct memory_limits;
struct net;
struct vm;

struct assembly {
	struct vm *vm;
	struct boot boot;
	/* By id, in the plan's order; closed after the devices that use them are gone. */
	GPtrArray *consoles, *blocks, *nets;
	struct statistics statistics; /* what they count, by their place there */
};

/* The engine of that name, or NULL with @error set. */
const struct accel *engine_find(const char *name, GError **error);

/* Builds everything, running nothing. NULL with @error set. @plan and @limits (NULL: no memory
 * limits) must outlive the assembly. */
struct assembly *assemble(const struct plan *plan, const struct accel *accel,
			  const struct memory_limits *limits, GError **error);
void assembly_free(struct assembly *assembly);

#endif
