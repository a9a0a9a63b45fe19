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
/* No processor runs on this thread any more (it may be freed); the stack stays for the next one. */
void signals_thread_leave(void);
void signals_thread_stop(void);
/* The processor of @vm that runs on this thread, or NULL. */
struct cpu *signals_current(const struct cpu_vm *vm);

/* What signals_install()'s handler tells leave_signal() in exit_arg. */
enum signal_cause {
	SIGNAL_OTHER,
	SIGNAL_DE,
	SIGNAL_XM,
	SIGNAL_MF,
	SIGNAL_GP,
	SIGNAL_UD,
	SIGNAL_NOWHERE
};

/* The hot parts of cpu_run() and cpu_step(). */
enum cpu_exit cpu_run_hot(struct cpu *cpu);
enum cpu_exit cpu_step_hot(struct cpu *cpu);

/* cpuid.c */
int cpuid_init(struct cpu_vm *vm, GError **error);

/* isa.c: hides from the decoder what the CPUID contract lacks. */
struct insn_contract;
void cpuid_apply_contract(const struct cpu_vm *vm, struct insn_contract *contract);

/* seg.c: offset @offset of segment @seg -> linear address, with type and limit checks for an access
 * of @size bytes (MEM_R, MEM_W). False: #GP or #SS is pending. Legacy modes. */
bool seg_check(struct cpu *cpu, unsigned seg, u64 offset, unsigned size, unsigned access,
	       gva_t *linear);

#endif
