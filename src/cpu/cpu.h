/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software CPU: the public face of this room, seen by accel/soft.c and by tests.
 *
 *   struct cpu_vm   what the processors of one guest share: memory slots, the CPUID contract,
 *                   the translated code
 *   struct cpu      one processor; its functions belong to the thread that runs it unless a
 *                   comment says "any thread"
 *
 * The room knows no device: everything outside RAM leaves through struct cpu_bus.
 */
#ifndef LODGE_CPU_CPU_H
#define LODGE_CPU_CPU_H

#include "base/types.h"
#include "cpu/arch.h"
#include <glib.h>

struct cpu;
struct cpu_vm;

/* What the processors need from the outside. All are called on the thread of processor @index,
 * with host floating-point control words loaded, and may block. @size is 1, 2, 4 or 8 bytes. */
struct cpu_bus {
	void *opaque;
	/* Access to a guest physical address that is not RAM. Reads store into *@data. */
	void (*mmio)(void *opaque, unsigned index, gpa_t gpa, u64 *data, unsigned size, bool write);
	void (*pio)(void *opaque, unsigned index, u16 port, u32 *data, unsigned size, bool write);
	/* MSRs that belong to the interrupt controller (0x1b, 0x6e0, 0x800-0x8ff).
	 * False: the guest gets #GP. */
	bool (*msr)(void *opaque, unsigned index, u32 msr, u64 *data, bool write);
	/* The highest pending interrupt that its priority lets through, moved to in-service:
	 * its vector, or -1. Called only while the processor can take an interrupt. */
	int (*interrupt_ack)(void *opaque, unsigned index);
	/* CR8 (bits 3:0 = task priority class). */
	u64 (*cr8)(void *opaque, unsigned index, u64 value, bool write);
};

/* One CPUID leaf of the guest's contract. */
struct cpu_cpuid {
	u32 leaf, subleaf;
	u32 has_subleaf; /* 1: @subleaf must match */
	u32 eax, ebx, ecx, edx;
};

/* What makes translated code fast, and can be left out to find what makes it wrong. */
enum cpu_plain {
	CPU_PLAIN_GROUPS = 1 << 0,  /* every access checks for itself */
	CPU_PLAIN_LOOPS = 1 << 1,   /* no loop carries its pointers */
	CPU_PLAIN_STACK = 1 << 2,   /* the stack is looked for in the TLB, as everything else */
	CPU_PLAIN_FLAGS = 1 << 3,   /* all flags are wanted everywhere */
	CPU_PLAIN_LINKS = 1 << 4,   /* blocks are not chained */
	CPU_PLAIN_JUMPS = 1 << 5,   /* the jump cache stays empty */
	CPU_PLAIN_RETURNS = 1 << 6, /* returns ask the jump cache */
	CPU_PLAIN_SLEEP = 1 << 7,   /* no overwritten block is kept */
	CPU_PLAIN_ALL = (1 << 8) - 1,
};

struct cpu_vm_config {
	unsigned cpus;                    /* processors that may be created, 1..255 */
	unsigned sockets, cores, threads; /* topology; sockets * cores * threads == cpus */
	/* What translated code may take, and what its tables may take; 0: 64 MiB. A full cache is
	 * emptied. */
	size_t code_cache_bytes;
	bool step;               /* one instruction a block, no chaining, exact flags */
	bool check_blocks;       /* debug: compare a block's guest bytes at every entry */
	bool verify_blocks;      /* debug: take new blocks apart again (x86/verify.c) */
	unsigned plain;          /* debug: enum cpu_plain */
	bool save_code;          /* cpu_vm_save_code() will be called */
	int saved_code;          /* descriptor of what it wrote, sealed; 0: none */
	bool saved_code_checked; /* all its blocks came out of cpu_check_saved_code() */
	int perf_map;            /* descriptor that perf_map.c writes to; 0: none */
	int jitdump;             /* the same for jitdump.c, open for reading too */
	int guest_symbols;       /* ... and of symbols.c's file for it; 0: none */
	bool tsc_stable; /* the host's kernel keeps time by its TSC, whatever CPUID says of that */
	u64 tsc_hz;      /* 0: measure the host's */
	u64 lapic_hz;    /* frequency of the local APIC timer's input, for CPUID */
	const char *const *features_off; /* NULL-terminated Linux names of CPUID bits to hide */
	const char *const *features_required; /* ... of those without which there is no computer */
	struct cpu_bus bus;
};

/* Creates the shared part. NULL with @error set if the host cannot run it. */
struct cpu_vm *cpu_vm_new(const struct cpu_vm_config *config, GError **error);
void cpu_vm_free(struct cpu_vm *vm); /* after all its processors */

#define CPU_SLOT_READONLY BIT(0) /* guest writes go to cpu_bus.mmio */
/* Maps @bytes at @hva (owned by the caller, page aligned, must stay mapped) to guest physical
 * @gpa. Slots must not overlap; @bytes 0 removes slot @slot (0..31). Only while no processor runs.
 */
int cpu_vm_set_slot(struct cpu_vm *vm, unsigned slot, gpa_t gpa, u64 bytes, void *hva, u32 flags);

/* Any thread: somebody other than a processor (DMA, debugger, balloon) wrote guest RAM.
 * Must be called after the bytes are there and before the guest is told. */
void cpu_vm_memory_written(struct cpu_vm *vm, gpa_t gpa, u64 bytes);

/* While no processor runs: all of guest RAM may have been written. */
void cpu_vm_memory_replaced(struct cpu_vm *vm);

/* Which pages processors write. Any thread that is no processor's, and holds no lock that a device
 * takes; also while they run, which then stand for a moment. Collect adds a bit to @pages for each
 * page of slot @slot, its first page first, that was written since the last time; -errno. */
int cpu_vm_dirty_start(struct cpu_vm *vm);
void cpu_vm_dirty_stop(struct cpu_vm *vm);
int cpu_vm_dirty_collect(struct cpu_vm *vm, unsigned slot, u64 *pages);

/* Any thread: the kernel runs @by above where it was linked; its symbols move along. !@known:
 * nobody knows where, and they are not used. */
void cpu_vm_kernel_moved(struct cpu_vm *vm, bool known, u64 by);

/* While no processor runs: writes the guest's translations, for cpu_vm_config.saved_code of the
 * next guest of the same kind, to @fd, a memfd as large as may be written. Returns how many, or
 * -errno.
 */
s64 cpu_vm_save_code(struct cpu_vm *vm, int fd);

/* Verifies all blocks that a guest's cpu_vm_save_code() has written, of whatever contract, to
 * @from, a sealed memfd, and writes those that are safe to @to, a memfd as large as may be written.
 * Returns how many, or -errno. @seal is called when all memory that it needs to execute is there,
 * before anything of @from is looked at. For a process that runs no guest. */
s64 cpu_check_saved_code(int from, int to, int (*seal)(GError **error), GError **error);

u64 cpu_vm_tsc_hz(const struct cpu_vm *vm);
/* The CPUID contract, computed once; *@count entries, owned by @vm. */
const struct cpu_cpuid *cpu_vm_cpuid(const struct cpu_vm *vm, size_t *count);

/* The same for a computer that is not made: g_free() it. NULL with @error set. */
struct cpu_cpuid *cpu_contract(const struct cpu_vm_config *config, size_t *count, GError **error);
/* The feature with this bit, as features_off names it; NULL: no guest has it here. */
const char *cpu_feature_name(u32 leaf, u32 subleaf, unsigned reg, unsigned bit);
/* While no processor runs, at host counter @host_tsc: what kvm-clock reads, in nanoseconds. */
u64 cpu_vm_clock(const struct cpu_vm *vm, u64 host_tsc);
void cpu_vm_set_clock(struct cpu_vm *vm, u64 ns, u64 host_tsc);

struct cpu *cpu_new(struct cpu_vm *vm, unsigned index, GError **error);
void cpu_free(struct cpu *cpu);

/* Power-on or INIT state. @bsp: starts at the reset vector, otherwise waits for a SIPI. */
void cpu_reset(struct cpu *cpu, bool init);
void cpu_get_state(struct cpu *cpu, struct x86_state *state);
int cpu_set_state(struct cpu *cpu, const struct x86_state *state); /* -EINVAL: impossible state */

enum cpu_exit {
	CPU_EXIT_STOPPED,  /* cpu_request(CPU_REQ_STOP) */
	CPU_EXIT_HALTED,   /* HLT, or waiting for SIPI; call again when a request was raised */
	CPU_EXIT_SHUTDOWN, /* triple fault */
	CPU_EXIT_ERROR,    /* our own failure; the log says what */
};

/* Runs the guest on the calling thread until one of the above. */
enum cpu_exit cpu_run(struct cpu *cpu);

/* For tools: runs one instruction, a repeated string instruction to its end, or with @block one
 * translated block, then returns CPU_EXIT_STOPPED. An exception is not delivered: it is in the
 * state's event_* fields and cr2; the other registers are as they are before delivery. */
enum cpu_exit cpu_step(struct cpu *cpu, bool block);

enum cpu_request {
	CPU_REQ_INTR = 1 << 0, /* interrupt_ack may have something */
	CPU_REQ_NMI = 1 << 1,
	CPU_REQ_INIT = 1 << 2,
	CPU_REQ_SIPI = 1 << 3, /* with cpu_set_sipi_vector() before */
	CPU_REQ_STOP = 1 << 4,
	CPU_REQ_FLUSH = 1 << 5, /* internal: flush cached translations of addresses */
	CPU_REQ_SYNC =
		1 << 6, /* internal: another processor waits for this one to leave the code */
};

/* Any thread: raises requests; the processor sees them at its next poll (a few blocks at most). */
void cpu_request(struct cpu *cpu, unsigned requests);
/* Any thread: takes a request back (CPU_REQ_INTR when the line fell, CPU_REQ_STOP to resume). */
void cpu_request_clear(struct cpu *cpu, unsigned requests);
void cpu_set_sipi_vector(struct cpu *cpu, u8 vector);
/* Any thread: would cpu_run() have something to do now, or return CPU_EXIT_HALTED at once?
 * A halted processor with interrupts off and only CPU_REQ_INTR raised has nothing to do. */
bool cpu_has_work(struct cpu *cpu);

/* Any thread, also while processors run: what was counted since power-on, in groups ("helpers":
 * calls of C by mnemonic). Counters that are 0 are left out. Names are valid during the call. */
typedef void cpu_counter_fn(void *opaque, const char *group, const char *name, u64 value);
void cpu_counters(const struct cpu *cpu, cpu_counter_fn *visit, void *opaque);
void cpu_vm_counters(struct cpu_vm *vm, cpu_counter_fn *visit, void *opaque); /* what they share */

#endif
