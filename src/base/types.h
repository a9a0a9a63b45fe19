/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Address types and small integer helpers that every room shares.
 *
 * A guest virtual, a guest linear and a guest physical address are all 64-bit numbers, which is
 * how they get mixed up. The names below say which one a function takes; hva is a plain pointer.
 */
#ifndef LODGE_BASE_TYPES_H
#define LODGE_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

typedef u64 gva_t; /* guest linear address: after segmentation, before paging */
typedef u64 gpa_t; /* guest physical address */

#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define GIB (1ull << 30)

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ull
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define BIT(n)                          (1ull << (n))
#define ALIGN_DOWN(x, a)                ((x) & ~((u64)(a)-1))
#define ALIGN_UP(x, a)                  (((x) + ((u64)(a)-1)) & ~((u64)(a)-1))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#endif
