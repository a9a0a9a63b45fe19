/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM: one mapping, shown to the guest in up to three ranges.
 *
 *   guest physical            offset
 *   0 .. 0xa0000              0                    conventional memory
 *   0xa0000 .. 0xc0000        -                    legacy video hole (not RAM)
 *   0xc0000 .. low_bytes      0xc0000
 *   4 GiB .. 4 GiB + high     low_bytes            what does not fit below the PCI hole
 *
 * Everything that is not a processor reaches RAM through the functions below and nothing else:
 * they check bounds, so DMA can hit RAM only, and they tell the accelerator about writes, so
 * translated code and dirty logs stay right. A pointer from vm_mem_ptr() is good for the one
 * request that asked for it; nobody keeps it.
 *
 * It is private memory, which every kernel gives out in huge pages: a page table walk less for the
 * host at most accesses, and a 512th of the faults when the guest starts. Where another process
 * shall map it too it is a memfd, which few hosts back by huge pages.
 */
#ifndef LODGE_MACHINE_MEMORY_H
#define LODGE_MACHINE_MEMORY_H

#include "base/types.h"
#include "machine/backing.h"
#include <glib.h>
#include <pthread.h>

struct accel;
struct accel_vm;
struct memory_limits;
struct vm;

#define MEM_VIDEO_HOLE_START 0xa0000ull
#define MEM_VIDEO_HOLE_END   0xc0000ull
#define MEM_LOW_MAX          0xb0000000ull /* RAM below the PCI hole never reaches further */
#define MEM_LOW_SPLIT        0x80000000ull /* where it ends when it does not all fit */
#define MEM_HIGH_BASE        0x100000000ull
#define MEM_BYTES_MIN        (2 * MIB)
#define MEM_BYTES_MAX        (1ull << 40)

/* Under a memory limit RAM becomes accessible by pieces of this size, at their first touch, if the
 * limit allows it (fault.h); without a limit it is all accessible and the host fills it. */
#define MEM_PIECE (2 * MIB)

struct guest_memory {
	int fd; /* of shared memory; -1: it is private */
	u8 *hva;
	u64 bytes, low_bytes, high_bytes;
	u64 discard_bytes; /* the host takes back no less */
	const struct accel *accel;
	struct accel_vm *accel_vm;
	const struct memory_limits *limits; /* NULL: there are none */
	pthread_mutex_t pieces_lock;        /* with limits: the next one */
	u8 *pieces;                         /* which are accessible */
	bool logging;                       /* dirty.h: vm_mem_written() notes pages */
	u64 *written;                       /* ... here, a bit each */
};

/* Creates and maps @bytes (a multiple of 4 KiB, MEM_BYTES_MIN..MEM_BYTES_MAX) of zeroed RAM of
 * the kind that @backing says. @limits (NULL: none) stays the caller's. -errno with @error set. */
int guest_memory_init(struct guest_memory *mem, u64 bytes, const struct memory_backing *backing,
		      const struct memory_limits *limits, GError **error);
/* What the guest sees at the accelerator's slot @slot; no bytes: nothing. False: there is no such.
 */
struct guest_memory_range {
	gpa_t gpa;
	u64 bytes, offset;
};
bool guest_memory_range(const struct guest_memory *mem, unsigned slot,
			struct guest_memory_range *range);
/* Hands the ranges to the accelerator; later writes are reported to it. */
int guest_memory_attach(struct guest_memory *mem, const struct accel *accel,
			struct accel_vm *accel_vm, GError **error);
void guest_memory_destroy(struct guest_memory *mem);

/* All of the following: any thread. 0, or -EFAULT if any byte of the range is not RAM (then
 * nothing was transferred). */
int vm_mem_read(struct vm *vm, gpa_t gpa, void *buf, u64 bytes);
int vm_mem_write(struct vm *vm, gpa_t gpa, const void *buf, u64 bytes);
int vm_mem_zero(struct vm *vm, gpa_t gpa, u64 bytes);

/* Gives whole pages back to the host; they read as zeros afterwards. What is not RAM aligned to the
 * pages it is made of is left alone. */
void vm_mem_discard(struct vm *vm, gpa_t gpa, u64 bytes);

/* A host pointer to @bytes (> 0) of RAM at @gpa for the length of one request, or NULL if any
 * byte is not RAM. Who writes through it calls vm_mem_written() when the bytes are there and
 * before the guest is told. */
void *vm_mem_ptr(struct vm *vm, gpa_t gpa, u64 bytes);
void vm_mem_written(struct vm *vm, gpa_t gpa, u64 bytes);

/* The same on a guest_memory that may not belong to a machine yet. */
void *guest_memory_ptr(const struct guest_memory *mem, gpa_t gpa, u64 bytes);
/* Has the host provide the pages of a range in one go: far cheaper than a fault for each. Only a
 * help: what it does not provide, the first touch will. */
void guest_memory_populate(struct guest_memory *mem, gpa_t gpa, u64 bytes);
/* Makes the piece that @hva is in accessible. NULL, or why not (a static text). */
const char *guest_memory_provide(struct guest_memory *mem, const void *hva);
/* Whether the limits allow @bytes more. */
bool guest_memory_affords(const struct guest_memory *mem, u64 bytes);

#endif
