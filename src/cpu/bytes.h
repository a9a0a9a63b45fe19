/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memcpy and memset for hot code, which may call no library: the host's own string instructions.
 */
#ifndef LODGE_CPU_BYTES_H
#define LODGE_CPU_BYTES_H

#include "base/types.h"

static inline void copy_bytes(void *to, const void *from, u64 bytes)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

static inline void clear_bytes(void *to, u64 bytes)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(0) : "memory");
}

#endif
