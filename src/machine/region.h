/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which device answers at a port or at a guest physical address: one registry type for both.
 *
 *   vCPU thread -> region_map_access() -> lookup in a flat sorted table -> region->access()
 *
 * Devices add their regions while the machine is assembled and may move or switch them later
 * (PCI base address registers). Where two enabled regions overlap, the one with the higher
 * priority answers, then the one added first; the table is rebuilt on every change, so lookups
 * never see overlaps. Lookups take no lock: they retry when a change happened meanwhile. Tables
 * never grow after assembly, so a guest that remaps forever uses no more memory.
 */
#ifndef LODGE_MACHINE_REGION_H
#define LODGE_MACHINE_REGION_H

#include "base/types.h"
#include <pthread.h>

struct device;

/* One access of @size (1, 2, 4 or 8) bytes at @offset into the region, on a vCPU's thread with no
 * lock held. A read stores into *@value, which comes in as all ones. @opaque is the region's. */
typedef void region_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write);

#define REGION_MAX 512 /* regions in one map */

struct region {
	struct device *dev;
	region_access *access;
	u64 base, bytes;
	u8 width_max; /* wider accesses are split; 0 means 8 */
	u8 priority;
	bool enabled;
	u16 serial; /* order of addition */
};

#define REGION_PRIORITY_BAR      0 /* what the guest places */
#define REGION_PRIORITY_BAR_PART 1 /* MSI-X tables inside a BAR */
#define REGION_PRIORITY_BOARD    2 /* what the board wires */

struct region_view {
	u64 start, end; /* [start, end) */
	u64 base;       /* of the region when the view was made */
	struct region *region;
};

struct region_map {
	pthread_mutex_t lock; /* changes */
	struct region *regions[REGION_MAX];
	unsigned region_count;
	u32 sequence; /* odd while the views change */
	unsigned view_count;
	struct region_view views[2 * REGION_MAX];
};

void region_map_init(struct region_map *map);
void region_map_destroy(struct region_map *map);

/* Adds @region, which must outlive the map's last lookup. -ENOSPC when the map is full, -EINVAL
 * when the range is empty or wraps. Only while no vCPU runs. */
int region_map_add(struct region_map *map, struct region *region);
/* Any thread: moves and switches a region that was added. A range that wraps is disabled. */
void region_map_move(struct region_map *map, struct region *region, u64 base, bool enabled);

/* Performs an access; what nobody answers reads as all ones and swallows writes. */
void region_map_access(struct region_map *map, u64 addr, unsigned size, u64 *value, bool write);

#endif
