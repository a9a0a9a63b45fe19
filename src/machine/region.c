/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registry of ports and memory-mapped registers. See region.h.
 */
#include "machine/region.h"

#include <errno.h>
#include <string.h>

void region_map_init(struct region_map *map)
{
	memset(map, 0, offsetof(struct region_map, views)); /* the views are touched when used */
	pthread_mutex_init(&map->lock, NULL);
}

void region_map_destroy(struct region_map *map)
{
	pthread_mutex_destroy(&map->lock);
}

/* The views are written under the lock and read without: plain copies by relaxed atomics, made
 * whole by the sequence count. */
static void view_store(struct region_view *to, struct region_view from)
{
	__atomic_store_n(&to->start, from.start, __ATOMIC_RELAXED);
	__atomic_store_n(&to->end, from.end, __ATOMIC_RELAXED);
	__atomic_store_n(&to->base, from.base, __ATOMIC_RELAXED);
	__atomic_store_n(&to->region, from.region, __ATOMIC_RELAXED);
}

static bool outranks(const struct region *a, const struct region *b)
{
	return a->priority != b->priority ? a->priority > b->priority : a->serial < b->serial;
}

/* The region that answers at @addr and where its answer ends at the latest. */
static struct region *best_at(struct region_map *map, u64 addr, u64 *end)
{
	struct region *best = NULL;
	u64 limit = UINT64_MAX;

	for (unsigned i = 0; i < map->region_count; i++) {
		struct region *r = map->regions[i];

		if (!r->enabled)
			continue;
		if (r->base > addr) {
			limit = r->base < limit ? r->base : limit;
		} else if (addr - r->base < r->bytes) {
			if (r->base + r->bytes < limit)
				limit = r->base + r->bytes;
			if (!best || outranks(r, best))
				best = r;
		}
	}
	*end = limit;
	return best;
}

/* Walks the address space from boundary to boundary; each step ends where some region begins or
 * ends, so there are at most two steps a region. */
static void rebuild_locked(struct region_map *map)
{
	unsigned n = 0;
	u64 addr = 0, end;

	__atomic_store_n(&map->sequence, map->sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	do {
		struct region *r = best_at(map, addr, &end);

		if (r && n && map->views[n - 1].region == r && map->views[n - 1].end == addr)
			__atomic_store_n(&map->views[n - 1].end, end, __ATOMIC_RELAXED);
		else if (r && n < ARRAY_LEN(map->views))
			view_store(&map->views[n++], (struct region_view){ addr, end, r->base, r });
		addr = end;
	} while (end != UINT64_MAX);
	__atomic_store_n(&map->view_count, n, __ATOMIC_RELAXED);
	__atomic_store_n(&map->sequence, map->sequence + 1, __ATOMIC_RELEASE);
}

static bool range_ok(u64 base, u64 bytes)
{
	return bytes && base + bytes > base;
}

int region_map_add(struct region_map *map, struct region *region)
{
	int err = 0;

	pthread_mutex_lock(&map->lock);
	if (map->region_count == REGION_MAX) {
		err = -ENOSPC;
	} else if (region->enabled && !range_ok(region->base, region->bytes)) {
		err = -EINVAL;
	} else {
		region->serial = map->region_count;
		if (!region->width_max)
			region->width_max = 8;
		map->regions[map->region_count++] = region;
		if (region->enabled)
			rebuild_locked(map);
	}
	pthread_mutex_unlock(&map->lock);
	return err;
}

void region_map_move(struct region_map *map, struct region *region, u64 base, bool enabled)
{
	pthread_mutex_lock(&map->lock);
	enabled = enabled && range_ok(base, region->bytes);
	if (enabled != region->enabled || (enabled && base != region->base)) {
		region->base = base;
		region->enabled = enabled;
		rebuild_locked(map);
	}
	pthread_mutex_unlock(&map->lock);
}

static bool find(const struct region_map *map, u64 addr, struct region_view *found)
{
	unsigned low = 0, high = __atomic_load_n(&map->view_count, __ATOMIC_RELAXED);

	while (low < high) {
		unsigned mid = (low + high) / 2;
		const struct region_view *v = &map->views[mid];

		if (addr < __atomic_load_n(&v->start, __ATOMIC_RELAXED)) {
			high = mid;
		} else if (addr >= __atomic_load_n(&v->end, __ATOMIC_RELAXED)) {
			low = mid + 1;
		} else {
			found->end = __atomic_load_n(&v->end, __ATOMIC_RELAXED);
			found->region = __atomic_load_n(&v->region, __ATOMIC_RELAXED);
			found->base = __atomic_load_n(&v->base, __ATOMIC_RELAXED);
			return true;
		}
	}
	return false;
}

/* A consistent copy of the view that covers @addr. */
static bool lookup(const struct region_map *map, u64 addr, struct region_view *found)
{
	u32 before, after;
	bool hit;

	do {
		before = __atomic_load_n(&map->sequence, __ATOMIC_ACQUIRE) & ~1u;
		hit = find(map, addr, found);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		after = __atomic_load_n(&map->sequence, __ATOMIC_RELAXED);
	} while (before != after);
	return hit;
}

void region_map_access(struct region_map *map, u64 addr, unsigned size, u64 *value, bool write)
{
	struct region_view v;
	u64 result = 0;
	unsigned step;

	if (!write)
		*value = size >= 8 ? UINT64_MAX : BIT(8 * size) - 1;
	if (!lookup(map, addr, &v)) {
		if (size == 1)
			return;
		step = size / 2; /* the second half may be somebody's */
	} else if (size <= v.region->width_max && size <= v.end - addr) {
		v.region->access(v.region->dev, addr - v.base, size, value, write);
		return;
	} else {
		step = size / 2;
	}
	/* Halves, at most three deep. */
	for (unsigned i = 0; i < size; i += step) {
		u64 part = *value >> (8 * i);

		if (step < 8)
			part &= BIT(8 * step) - 1;
		region_map_access(map, addr + i, step, &part, write);
		result |= (step < 8 ? part & (BIT(8 * step) - 1) : part) << (8 * i);
	}
	if (!write)
		*value = result;
}
