/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moving a machine, while its guest runs, from one engine to another and back.
 *
 * Both are there from the start, with processors and memory slots, because a confined process can
 * make neither; the one that does not run holds no state. A move is: the machine stands; registers,
 * local APICs and kvm-clock go from one to the other; it goes on. Devices, memory and whatever
 * waits for them stay as they are. A move that fails leaves the machine where it was.
 *
 * The guest's processors are what both engines can be: KVM is made first, and what it lacks the
 * other one hides.
 */
#ifndef LODGE_MACHINE_ENGINE_H
#define LODGE_MACHINE_ENGINE_H

#include "machine/vm.h"

struct accel_config;

/* --- vm.c --- */
struct accel_config vm_accel_config(struct vm *vm, const struct vm_config *config);

/* --- engine.c, for vm.c --- */
/* After the first engine, its memory and processors: makes the other one, and has config->accel be
 * the one that runs. -errno with @error set. */
int engine_add_other(struct vm *vm, const struct vm_config *config, GError **error);
void engine_free_other(struct vm *vm);

/* --- engine.c --- */
/* Control thread: moves the machine to its other engine. -errno with @error set: it has none, it
 * starves, or the other engine refuses the state; then it goes on as before. */
int vm_move(struct vm *vm, GError **error);
/* Any thread: what runs the processors, by name. */
const char *vm_engine_name(struct vm *vm);
/* Any thread: asks the control thread for a move, and waits for it up to @timeout_ms. False: it has
 * not come about. */
bool vm_move_asked(struct vm *vm, int timeout_ms);
/* ioctl() requests of its engines, 0-terminated, or NULL. */
const unsigned long *vm_engine_requests(const struct vm *vm);

#endif
