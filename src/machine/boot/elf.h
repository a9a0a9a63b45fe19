/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of an ELF file that loading needs, copied and checked. Private to boot/.
 */
#ifndef LODGE_MACHINE_BOOT_ELF_H
#define LODGE_MACHINE_BOOT_ELF_H

#include "base/types.h"
#include <glib.h>

#define ELF_SEGMENTS_MAX 32

struct elf_segment {
	u64 offset, paddr, file_bytes, mem_bytes;
};

/* Every segment lies inside the file and does not wrap; they do not overlap in memory and are
 * sorted by paddr. */
struct elf {
	u64 entry;
	u64 file_end; /* end of what the headers name */
	struct elf_segment load[ELF_SEGMENTS_MAX];
	unsigned loads;
	struct elf_segment note[ELF_SEGMENTS_MAX];
	unsigned notes;
};

/* Parses a 64-bit or 32-bit x86 ELF executable. -EINVAL with @error set. */
int elf_parse(const u8 *file, u64 bytes, struct elf *elf, GError **error);

#endif
