/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A processor without a translator around it, for tests of the system side: memory, a bus that
 * takes notes, and one instruction at a time through decoder and helper.
 *
 * RAM is [0, 16 MiB); [16 MiB, 17 MiB) is a read-only slot; everything else is the bus, whose reads
 * return the low bits of the address.
 */
#ifndef LODGE_TESTS_UNIT_CPUBOX_H
#define LODGE_TESTS_UNIT_CPUBOX_H

#include "cpu/helper.h"
#include "cpu/vcpu.h"

#define BOX_RAM (16 * MIB)
#define BOX_ROM BOX_RAM

struct box_access {
	gpa_t gpa; /* or port */
	u64 data;
	unsigned size;
	bool write, pio;
};

struct box {
	struct cpu_vm *vm;
	struct cpu *cpu;
	u8 *ram, *rom;
	struct box_access log[64];
	unsigned log_count;
};

struct box *box_new(const char *const *features_off);
void box_free(struct box *box);

void box_put64(struct box *box, gpa_t gpa, u64 value);
u64 box_get64(struct box *box, gpa_t gpa);
u32 box_get32(struct box *box, gpa_t gpa);
u16 box_get16(struct box *box, gpa_t gpa);

/* Identity-mapped modes with flat segments, CPL 0, empty IDT. Tables lie in [0x1000, 0x8000), the
 * GDT at 0x8000, the IDT at 0x9000, the TSS at 0xa000; the stack pointer is 0x20000. */
void box_long_mode(struct box *box);
void box_protected_mode(struct box *box);
void box_real_mode(struct box *box);
/* In long mode: maps linear 0x200000 to physical 0x300000, and the page behind it by the entry
 * @second. */
void box_two_pages(struct box *box, gpa_t second);
/* Selectors of the GDT. */
#define SEL_CODE64 0x08
#define SEL_DATA   0x10
#define SEL_CODE32 0x18
#define SEL_USER32 0x23
#define SEL_UDATA  0x2b
#define SEL_USER64 0x33
#define SEL_TSS    0x38 /* two entries */
#define SEL_FREE   0x48 /* the first one that a test may fill */
/* Puts the processor at CPL 3 with user segments (64-bit code in long mode). */
void box_user(struct box *box);
void box_gdt(struct box *box, u16 selector, u64 descriptor);
/* A gate of @type (0xe interrupt, 0xf trap...) in the format of the mode. */
void box_gate(struct box *box, unsigned vector, u16 selector, u64 offset, unsigned type,
	      unsigned dpl, unsigned ist);

/* Decodes and executes one instruction given in hexadecimal. HELPER_NEXT moves RIP. */
enum helper_result box_exec(struct box *box, const char *hex);
/* Asserts that it faults so; @error -1: without error code. */
void box_assert_fault(struct box *box, const char *hex, unsigned vector, s64 error);
void box_assert_next(struct box *box, const char *hex);

#endif
