/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the stress guest share: the shape of the code that they change and call, and
 * how they tell of a wrong result.
 *
 *   stress.c      code that processors store, move and remap
 *   stress_dma.c  code that the disk writes
 *   blk.c         the disk
 */
#ifndef LODGE_TESTS_IMAGES_STRESS_H
#define LODGE_TESTS_IMAGES_STRESS_H

#include "image.h"

#define CPUS_MAX 4
#define WINDOW   0x40000000ull /* the second GiB: 4 KiB pages of our own */

#define LOAD(x)     __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v) __atomic_store_n(&(x), v, __ATOMIC_SEQ_CST)
#define ADD(x, v)   __atomic_add_fetch(&(x), v, __ATOMIC_SEQ_CST)

typedef u32 function(void);

static inline void flush_page(u64 at)
{
	__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
}

static inline void serialize(void)
{
	u32 id[4];

	cpuid(0, 0, id);
}

static inline void lock(u32 *word)
{
	while (__atomic_exchange_n(word, 1, __ATOMIC_SEQ_CST))
		__asm__ volatile("pause");
}

static inline void unlock(u32 *word)
{
	STORE(*word, 0);
}

/* mov $value, %eax; ret, in 16 bytes whose immediate does not cross an aligned 8 bytes. */
static inline void put_function(u8 *at, u32 value)
{
	at[3] = 0xb8;
	__atomic_store_n((u32 *)(at + 4), value, __ATOMIC_SEQ_CST);
	at[8] = 0xc3;
}

static inline u32 call(u64 at)
{
	return ((function *)(at + 3))();
}

/* stress.c: says what came instead of what, and counts it. Any processor. */
void failed(const char *what, u64 got, u64 want);
/* stress.c: linear WINDOW + @index pages is @page from now on; this processor alone knows at once.
 */
u64 window_map(unsigned index, const void *page);

/* stress_dma.c */
#define DMA_WINDOW 128         /* its first page of the window */
void dma_begin(unsigned cpus); /* the first processor, before there are others */
void dma_change(unsigned cpu); /* new code from the disk, which all have run on return */
void dma_serve(
	unsigned cpu); /* runs what others have read; whoever waits calls it again and again */
extern u32 dma_reads;  /* transfers that ended well */

#endif
