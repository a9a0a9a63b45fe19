/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory that the host cannot provide: the file system behind it is full, or the control
 * group would be over its limit.
 *
 *   touch --SIGBUS / SIGSEGV--> handler --> vm_wait_for_memory() --cont--> the touch again
 *
 * The thread that touched the page stays in the signal handler, where it cannot do harm, until the
 * machine is told to continue; the machine is paused meanwhile (vm.h). Nothing is lost: the
 * instruction that faulted is then executed again.
 */
#ifndef LODGE_MACHINE_FAULT_H
#define LODGE_MACHINE_FAULT_H

#include "base/types.h"
#include <glib.h>

struct vm;

/* Has faults on @vm's memory handled from here on, before handlers that were installed earlier.
 * -errno with @error set. */
int fault_register(struct vm *vm, GError **error);
void fault_unregister(struct vm *vm);

#endif
