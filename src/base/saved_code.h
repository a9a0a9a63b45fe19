/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The head of a file of translations that outlive the guest they were made for (cpu/saved.h knows
 * the rest). lodge-vmm writes it at its end into a descriptor that the launcher gave it; the
 * launcher checks this much, authenticates the whole and hands it to the next lodge-vmm.
 */
#ifndef LODGE_BASE_SAVED_CODE_H
#define LODGE_BASE_SAVED_CODE_H

#include "base/types.h"

#define SAVED_CODE_MAGIC     "LodgeTC"
#define SAVED_CODE_VERSION   1
#define SAVED_CODE_BYTES_MAX (64 * MIB)

struct saved_code_header {
	char magic[8];
	u32 version;
	u32 header_bytes;
	u64 bytes;       /* of all, this header too */
	u8 build[32];    /* SHA-256 of the translator that made it */
	u8 contract[32]; /* ... and of what else its code depends on */
	u32 blocks;
	u32 slots; /* of the index, a power of two */
	u64 index; /* where it begins */
};

#endif
