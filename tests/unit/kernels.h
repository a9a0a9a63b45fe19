/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small kernels for tests and fuzzing, shaped like real ones: an ELF file with text, data, a PVH
 * note and a relocation table, packed by any compressor into a bzImage.
 */
#ifndef LODGE_TESTS_UNIT_KERNELS_H
#define LODGE_TESTS_UNIT_KERNELS_H

#include "base/types.h"
#include <glib.h>

#define LINKED     0x1000000ull /* where the test kernel is linked */
#define KERNEL_MAP 0xffffffff80000000ull
#define TEXT_BYTES 0x3000
#define DATA_PADDR (LINKED + 0x200000)
#define DATA_BYTES 0x1000
#define DATA_MEM   0x3000
#define INIT_SIZE  0x300000
#define ALIGNMENT  0x200000

#define TEXT_OFFSET 0x200000 /* of text in the files of real kernels */
#define DATA_OFFSET 0x4000   /* of data in the file, behind text's */

enum packer { PACK_NONE, PACK_GZIP, PACK_BZIP2, PACK_LZMA, PACK_XZ, PACK_LZ4, PACK_ZSTD, PACKERS };

/* Text stands at @text_offset of the file. Each field to relocate holds its own address: 64-bit at
 * text + 0x100, 32-bit at data + 0x10, inverse 32-bit at text + 0x200. The caller frees it. */
GByteArray *kernel_make_elf(u64 text_offset, bool relocations, bool middle_list);
/* The same as a bzImage. */
GByteArray *kernel_make_bzimage(u64 text_offset, enum packer packer, bool relocations,
				bool middle_list);
/* A little-endian number of @bytes in the image at @at. */
void kernel_put(GByteArray *image, unsigned at, u64 value, unsigned bytes);

#endif
