/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio disk of blk.h: modern PCI transport (virtio 1.2, section 4.1), one split ring, no
 * interrupts, no features but VERSION_1.
 *
 * Descriptors LANE_DESCS * lane and on are the lane's own, so that only the ring's indices need a
 * lock.
 */
#include "blk.h"

#include "stress.h"

#define QUEUE_SIZE 64
#define LANE_DESCS (QUEUE_SIZE / BLK_LANES)
_Static_assert(LANE_DESCS >= BLK_PIECES + 2, "a request has a header and a status as well");

#define PCI_BUSES         32
#define PCI_MASTER_MEMORY 6
#define CAP_VENDOR        9

enum { DESC_NEXT = 1, DESC_WRITE = 2 };
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_DEVICE = 4 };

struct common {
	u32 feature_select, feature, driver_feature_select, driver_feature;
	u16 config_vector, queues;
	u8 status, generation;
	u16 queue_select, queue_size, queue_vector, queue_enable, queue_notify_offset;
	u64 desc, avail, used;
};

static struct {
	u64 address;
	u32 bytes;
	u16 flags, next;
} descs[QUEUE_SIZE] __attribute__((aligned(16)));
static struct {
	u16 flags, index, ring[QUEUE_SIZE];
} avail __attribute__((aligned(2)));
static struct {
	u16 flags, index;
	struct {
		u32 id, bytes;
	} ring[QUEUE_SIZE];
} used __attribute__((aligned(4)));

static struct lane {
	struct {
		u32 type, reserved;
		u64 sector;
	} header;
	u8 status;
	u32 ended;
} lanes[BLK_LANES];

static u64 pages[512] __attribute__((aligned(4096)));
static volatile struct common *common;
static volatile u16 *bell;
static u64 sectors;
static u32 ring_lock;
static u16 used_seen;

static u32 config(u32 device, unsigned at)
{
	outl(0xcf8, 0x80000000 | device | (at & 0xfc));
	return inl(0xcfc);
}

static void config_write(u32 device, unsigned at, u32 value)
{
	outl(0xcf8, 0x80000000 | device | at);
	outl(0xcfc, value);
}

/* The first virtio block device of function 0 that any bus shows, or 0. */
static u32 find_device(void)
{
	for (u32 device = 0; device < PCI_BUSES << 16; device += 1 << 11)
		if (config(device, 0) == 0x10421af4)
			return device;
	return 0;
}

/* Registers lie where they are physically, which may be beyond what start.S has mapped. */
static void *map_registers(u64 at)
{
	u64 *pdpt = (u64 *)(boot_pml4[0] & ~0xfffull), *entry = &pdpt[at >> 30];

	if (at >> 39)
		return NULL;
	if (!*entry)
		*entry = (u64)pages | 3;
	((u64 *)(*entry & ~0xfffull))[at >> 21 & 511] = (at & ~0x1fffffull) | 0x9b;
	flush_page(at);
	return (void *)at;
}

/* Where the structure of capability @type is; *@cap is the capability's place. */
static void *structure(u32 device, u8 type, unsigned *cap)
{
	for (*cap = config(device, 0x34) & 0xfc; *cap; *cap = config(device, *cap) >> 8 & 0xfc) {
		u32 head = config(device, *cap);
		unsigned bar = 0x10 + 4 * (config(device, *cap + 4) & 7);
		u64 base = config(device, bar);

		if ((head & 0xff) != CAP_VENDOR || head >> 24 != type)
			continue;
		if ((base & 6) == 4)
			base |= (u64)config(device, bar + 4) << 32;
		return map_registers((base & ~15ull) + config(device, *cap + 8));
	}
	return NULL;
}

static bool choose_features(void)
{
	common->status = 0;
	while (common->status)
		;
	common->status = ACKNOWLEDGE;
	common->status = ACKNOWLEDGE | DRIVER;
	for (unsigned half = 0; half < 2; half++) {
		common->driver_feature_select = half;
		common->driver_feature = half; /* VERSION_1 is bit 32 */
	}
	common->status = ACKNOWLEDGE | DRIVER | FEATURES_OK;
	return common->status & FEATURES_OK;
}

static void set_address(volatile u64 *field, const void *at)
{
	((volatile u32 *)field)[0] = (u64)at;
	((volatile u32 *)field)[1] = (u64)at >> 32;
}

static bool start_queue(void)
{
	common->queue_select = 0;
	if (common->queue_size < QUEUE_SIZE)
		return false;
	avail.flags = 1; /* no interrupts */
	common->queue_size = QUEUE_SIZE;
	set_address(&common->desc, descs);
	set_address(&common->avail, &avail);
	set_address(&common->used, &used);
	common->queue_enable = 1;
	common->status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
	return true;
}

bool blk_begin(void)
{
	u32 device = find_device();
	volatile u32 *capacity;
	unsigned cap;
	u8 *notify;

	if (!device)
		return false;
	config_write(device, 4, PCI_MASTER_MEMORY);
	common = structure(device, CAP_COMMON, &cap);
	capacity = structure(device, CAP_DEVICE, &cap);
	notify = structure(device, CAP_NOTIFY, &cap);
	if (!common || !capacity || !notify || !choose_features())
		return false;
	common->queue_select = 0;
	bell = (u16 *)(notify + common->queue_notify_offset * config(device, cap + 16));
	sectors = capacity[0] | (u64)capacity[1] << 32;
	return start_queue();
}

u64 blk_sectors(void)
{
	return sectors;
}

volatile u16 *blk_bell(void)
{
	return bell;
}

static void describe(unsigned index, const void *at, u32 bytes, u16 flags)
{
	descs[index].address = (u64)at;
	descs[index].bytes = bytes;
	descs[index].flags = flags;
	descs[index].next = index + 1;
}

void blk_read(unsigned number, u64 sector, const struct blk_piece *pieces, unsigned count)
{
	struct lane *lane = &lanes[number];
	unsigned first = number * LANE_DESCS, at = first;

	lane->header.type = 0;
	lane->header.sector = sector;
	lane->status = 0xff;
	STORE(lane->ended, 0);
	describe(at++, &lane->header, sizeof(lane->header), DESC_NEXT);
	while (count--) {
		describe(at++, pieces->at, pieces->bytes, DESC_NEXT | DESC_WRITE);
		pieces++;
	}
	describe(at, &lane->status, 1, DESC_WRITE);
	lock(&ring_lock);
	avail.ring[avail.index % QUEUE_SIZE] = first;
	STORE(avail.index, avail.index + 1);
	unlock(&ring_lock);
}

bool blk_done(unsigned number, bool *good)
{
	lock(&ring_lock);
	while (LOAD(used.index) != used_seen)
		STORE(lanes[used.ring[used_seen++ % QUEUE_SIZE].id / LANE_DESCS].ended, 1);
	unlock(&ring_lock);
	*good = LOAD(lanes[number].status) == 0;
	return LOAD(lanes[number].ended);
}
