/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the images share: a console on COM1, an end, selectors, instructions that C cannot say.
 * Freestanding: images run under lodge-vmm, QEMU and Bochs, without any library or firmware.
 */
#ifndef LODGE_TESTS_IMAGES_IMAGE_H
#define LODGE_TESTS_IMAGES_IMAGE_H

/* The GDT of start.S; from SEL_FREE on it is the image's. */
#define SEL_CODE64 0x08
#define SEL_DATA   0x10
#define SEL_CODE32 0x18
#define SEL_USER32 0x23
#define SEL_UDATA  0x2b
#define SEL_USER64 0x33
#define SEL_FREE   0x38

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define PAGE         4096ull

extern u64 boot_gdt[64], boot_pml4[512];

/* The image's own. image_main() may return; image_ap_main() belongs to images that start others. */
void image_main(void);
void image_ap_main(void);

/* console.c */
void print(const char *text);
void print_hex(u64 value);
_Noreturn void image_exit(void); /* ends the machine, whatever it is */
extern u32 image_status;         /* for isa-debug-exit: 0 is good */

static inline void outb(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 inb(u16 port)
{
	u8 value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void outl(u16 port, u32 value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline u32 inl(u16 port)
{
	u32 value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u64 rdmsr(u32 index)
{
	u32 low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return (u64)high << 32 | low;
}

static inline void wrmsr(u32 index, u64 value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(index), "a"((u32)value), "d"((u32)(value >> 32))
			 : "memory");
}

#define READ_CR(n)                                                                  \
	({                                                                          \
		u64 value_;                                                         \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(value_) : : "memory"); \
		value_;                                                             \
	})
#define WRITE_CR(n, value) __asm__ volatile("mov %0, %%cr" #n : : "r"((u64)(value)) : "memory")

static inline void cpuid(u32 leaf, u32 subleaf, u32 out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(subleaf));
}
#endif
#endif
