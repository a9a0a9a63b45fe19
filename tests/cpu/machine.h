/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest guest that can run 64-bit code at the same addresses as this process: page tables,
 * an IDT whose handlers halt, four pages of data and one of code.
 */
#ifndef LODGE_TESTS_CPU_MACHINE_H
#define LODGE_TESTS_CPU_MACHINE_H

#include "cpu/cpu.h"

#define DATA_GVA    0x10000000ull
#define DATA_PAGES  4
#define CODE_GVA    0x20000000ull
#define CODE_PAGES  2
#define IDT_GVA     0x30000000ull
#define HANDLER_GVA 0x30010000ull /* vector v halts at HANDLER_GVA + 16 * v */
#define IST_GVA     0x30020000ull
#define IST_TOP     (IST_GVA + 0x1000)
#define RAM_BYTES   (4 * MIB)

struct machine {
	struct cpu_vm *vm;
	struct cpu *cpu; /* the first of */
	struct cpu *cpus[4];
	u8 *ram;
	u8 *data[DATA_PAGES];   /* host addresses; guest physical pages are not adjacent */
	u8 *code, *code_behind; /* its two pages */
	u64 *data_pte[DATA_PAGES];
	struct x86_state state; /* template */
	/* what a read from where no memory is does, or NULL; it reads ones */
	void (*on_read)(struct machine *m);
};

void machine_init(struct machine *m, bool step);
void machine_init_smp(struct machine *m, bool step, unsigned cpus);
/* Without some optimisations: enum cpu_plain. */
void machine_init_plain(struct machine *m, unsigned plain);
/* With CPUID features hidden: NULL-terminated names. */
void machine_init_without(struct machine *m, const char *const *features_off);
/* With a map for perf on @fd, and the kernel's symbols on @symbols or 0. */
void machine_init_perf_map(struct machine *m, int fd, int symbols);
void machine_init_jitdump(struct machine *m, int fd, int symbols);
/* One whose translations can be saved, or are taken from the descriptor @saved, or 0. */
void machine_init_saved(struct machine *m, bool save, int saved);
/* A sealed memfd with the machine's translations. */
int machine_save(struct machine *m);
void machine_free(struct machine *m);
gpa_t machine_gpa(const struct machine *m, const void *host);

/* Runs until a handler halts. @s goes in and comes out; the vector, or -1 for the INT3 behind the
 * code. On an exception s->rip, rflags and gpr[RSP] are those of the interrupted code. */
int machine_run(struct machine *m, struct x86_state *s);

#endif
