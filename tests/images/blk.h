/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio disk (virtio 1.2, section 5.2), read only and polled, for several processors: each has a
 * lane, which holds one request at a time.
 */
#ifndef LODGE_TESTS_IMAGES_BLK_H
#define LODGE_TESTS_IMAGES_BLK_H

#include "image.h"

#define BLK_LANES  4
#define BLK_PIECES 14 /* of one request */
#define BLK_SECTOR 512

struct blk_piece {
	void *at;
	u32 bytes;
};

/* Finds the first one behind any bridge and starts it. False: there is none, or it refuses. */
bool blk_begin(void);
u64 blk_sectors(void);

/* Puts a read of as many sectors as @pieces (at most BLK_PIECES) hold into @lane's place of the
 * ring. The device looks at it when somebody stores 0, 16 bits wide, to blk_bell(). */
void blk_read(unsigned lane, u64 sector, const struct blk_piece *pieces, unsigned count);
volatile u16 *blk_bell(void);
/* Has the request of @lane ended? @good says how. */
bool blk_done(unsigned lane, bool *good);

#endif
