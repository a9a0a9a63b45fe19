/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The boot processor's registers at a kernel's first instruction. Private to boot/. */
#ifndef LODGE_MACHINE_BOOT_STATE_H
#define LODGE_MACHINE_BOOT_STATE_H

#include "base/types.h"

struct vm;

#define BOOT_GDT            0x500
#define BOOT_PAGE_TABLES    0x9000
#define BOOT_IDENTITY_BYTES (4ull << 30) /* what the page tables map */

/* 64-bit mode, paging on with the first 4 GiB mapped one to one, RSI = @rsi (64-bit boot protocol,
 * Linux Documentation/arch/x86/boot.rst). -errno if the engine refuses the state. */
int boot_enter_long_mode(struct vm *vm, u64 rip, u64 rsi);
/* 32-bit protected mode with flat segments, paging off, EBX = @ebx (PVH). */
int boot_enter_pvh(struct vm *vm, u32 eip, u32 ebx);

#endif
