/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cases outside long mode. The frame (cases.h) runs in long mode; a piece runs in a world of its
 * own: 32-bit protected mode with one of its forms of paging, or real mode. enter_legacy() goes
 * there and, at whatever traps, comes back.
 *
 *   world_pae();                              chooses; stays until the next one
 *   run_legacy(load) or run_legacy_user(load)  as run_kernel() and run_user(): CODE32 pieces
 *   run_real(name)                            a CODE16 piece; trap.rip is its offset in REAL_CODE
 *
 * Linear addresses are those of long mode: the image where it is linked, for user code at
 * USER_OFFSET, and the region of TEST(). world_two_level() has page tables of its own for that:
 * test_map32().
 */
#ifndef LODGE_TESTS_IMAGES_LEGACY_H
#define LODGE_TESTS_IMAGES_LEGACY_H

#include "cases.h"

#define WORLD_CR0  0
#define WORLD_CR3  4
#define WORLD_CR4  8
#define WORLD_EFER 12
#define WORLD_TR   16
#define WORLD_IDT  18
#define WORLD_REAL 24

#define SEL_TSS32  (40 * 8) /* and another one behind it, to leave with */
#define SEL_CODE16 (42 * 8)
#define SEL_DATA16 (43 * 8)

/* Real mode: what switches, the pieces, their stack and their data (DS and ES), 64 KiB each. */
#define REAL_SEG   0x2800
#define REAL_CODE  0x3000
#define REAL_STACK 0x4000
#define REAL_DATA  0x5000

/* What enter_legacy() and the block in real mode tell each other, in that block. */
#define REAL_EAX    0
#define REAL_EBX    4
#define REAL_ECX    8
#define REAL_EDX    12
#define REAL_ESI    16
#define REAL_EDI    20
#define REAL_EBP    24
#define REAL_ESP    28
#define REAL_IP     32
#define REAL_CS     34
#define REAL_FLAGS  36
#define REAL_SS     38
#define REAL_DS     40
#define REAL_ES     42
#define REAL_VECTOR 44
#define REAL_HFLAGS 46
#define REAL_HESP   48
#define REAL_IDT    52
#define REAL_GDT    58
#define REAL_BYTES  64

#ifndef __ASSEMBLER__
#define CODE16(name, before, at, after) CODE_WIDTH(16, name, before, at, after)

extern struct world {
	u32 cr0, cr3, cr4, efer;
	u16 tr, idt_limit;
	u32 idt_base, real;
} __attribute__((packed)) world;

struct tss32 {
	u32 link, esp0, ss0, rest[22];
	u16 trap, iomap;
};
extern struct tss32 tss32;
extern u64 pae_pdpt[4], idt32[256];
extern u32 two_pd[1024], two_pt[1024];

void legacy_init(void);
void world_flat(void); /* no paging */
void world_two_level(void);
void world_pae(void);
void run_legacy(const char *code);
void run_legacy_user(const char *code);
void run_real(const char *code);
/* Gate @vector of idt32: type 0xe, 0xf, 6, 7; 0: not present. */
void gate32_set(unsigned vector, unsigned type, unsigned dpl);
/* As test_map(), of world_two_level(). */
void test_map32(unsigned page, u32 flags);
/* The descriptor of the TSS, of that type and limit; run_legacy() loads it. */
void tss32_set(unsigned type, u32 limit);
static inline u8 *real_at(unsigned segment, unsigned offset)
{
	return (u8 *)(u64)(segment * 16 + offset);
}

void cases_pae(void);
void cases_two_level(void);
void cases_gate(void);
void cases_code(void);
void cases_real(void);
#endif
#endif
