/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memcpy, memset and memcmp for hot code, which may call no library.
 */
#ifndef LODGE_CPU_BYTES_H
#define LODGE_CPU_BYTES_H

#include "base/types.h"

/* x86 needs no alignment; C must be told. */
typedef u16 __attribute__((aligned(1), may_alias)) u16_any;
typedef u32 __attribute__((aligned(1), may_alias)) u32_any;
typedef u64 __attribute__((aligned(1), may_alias)) u64_any;

static inline void copy_bytes(void *to, const void *from, u64 bytes)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

static inline void clear_bytes(void *to, u64 bytes)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(0) : "memory");
}

/* An integer of 1, 2, 4 or 8 bytes, wherever it lies. */
static inline u64 load_bytes(const void *from, unsigned bytes)
{
	return bytes == 8   ? *(const u64_any *)from
	       : bytes == 4 ? *(const u32_any *)from
	       : bytes == 2 ? *(const u16_any *)from
			    : *(const u8 *)from;
}

static inline void store_bytes(void *to, u64 value, unsigned bytes)
{
	switch (bytes) {
	case 8: *(u64_any *)to = value; break;
	case 4: *(u32_any *)to = value; break;
	case 2: *(u16_any *)to = value; break;
	default: *(u8 *)to = value;
	}
}

static inline bool same_bytes(const void *a, const void *b, u64 bytes)
{
	const u8 *p = a, *q = b;

	for (; bytes >= 8; bytes -= 8, p += 8, q += 8)
		if (load_bytes(p, 8) != load_bytes(q, 8))
			return false;
	for (; bytes; bytes--)
		if (*p++ != *q++)
			return false;
	return true;
}

/* copy_bytes() for a few. Compilers make calls of memcpy() of such loops, if they know them. */
static inline void copy_few(void *to, const void *from, unsigned bytes)
{
	u8 *p = to;
	const u8 *q = from;

	for (; bytes >= 8; bytes -= 8, p += 8, q += 8) {
		store_bytes(p, load_bytes(q, 8), 8);
		__asm__("" : "+r"(p));
	}
	for (; bytes; bytes--) {
		*p++ = *q++;
		__asm__("" : "+r"(p));
	}
}

#endif
