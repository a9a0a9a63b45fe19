/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What run.c offers inside the room.
 */
#ifndef LODGE_CPU_RUN_H
#define LODGE_CPU_RUN_H

#include "cpu/vcpu.h"

/* Host signals that translated code may raise; installed once per process, reset never. */
int signals_install(void);
/* Per thread: the alternate stack and which processor runs here. */
int signals_thread_start(struct cpu *cpu);
void signals_thread_stop(void);

/* cpuid.c */
int cpuid_init(struct cpu_vm *vm, GError **error);

#endif
