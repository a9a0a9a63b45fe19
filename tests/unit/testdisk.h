/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine of testvm.h with one virtio disk, and its driver: PCI configuration, the registers of a
 * virtio device, and one queue of 16 descriptors at fixed places. Every function fails the test
 * when what it needs does not happen.
 */
#ifndef LODGE_TESTS_UNIT_TESTDISK_H
#define LODGE_TESTS_UNIT_TESTDISK_H

#include "block/block.h"
#include "device/virtio/virtio.h"
#include "machine/pci.h"
#include "testvm.h"

#define RINGS  0x10000ull
#define DESC   RINGS
#define AVAIL  (RINGS + 0x1000)
#define USED   (RINGS + 0x2000)
#define DATA   0x20000ull
#define SIZE   16 /* of the queue */
#define VECTOR 0x50

/* One disk behind a root port. */
struct disk {
	struct vm *vm;
	struct block *block;
	struct virtio *v;
	int fd; /* of its image */
	u64 bar;
	u16 next, used; /* driver's indices */
};

struct disk_settings {
	bool no_uring, ioeventfd;
	const char *on_write_error, *on_read_error; /* NULL: the defaults */
};

u32 config_read(struct vm *vm, unsigned bus, unsigned slot, unsigned offset, unsigned size);
void config_write(struct vm *vm, unsigned bus, unsigned slot, unsigned offset, unsigned size,
		  u32 value);

/* The machine, its disk of @bytes and the place of its registers; memory and bus mastering on. */
void disk_init(struct disk *d, u64 bytes, const struct disk_settings *settings);
void disk_free(struct disk *d);

/* virtio's common configuration structure */
u32 common_read(struct disk *d, unsigned offset, unsigned size);
void common_write(struct disk *d, unsigned offset, unsigned size, u64 value);
u64 features(struct disk *d);
/* Resets the device and writes features and FEATURES_OK; whether it agrees is in its status. */
void negotiate(struct disk *d, u64 wanted);
void setup_queue(struct disk *d, u64 desc, u64 avail, u64 used);
/* From a reset to DRIVER_OK, with MSI-X, VERSION_1 and @extra. */
void start(struct disk *d, u64 extra);
bool needs_reset(struct disk *d);

void put_desc(struct disk *d, gpa_t table, unsigned i, u64 address, u32 bytes, u16 flags, u16 next);
/* The head of a request, at DATA. */
void put_header(struct disk *d, u32 type, u64 sector);
void offer(struct disk *d, u16 head);
void notify(struct disk *d);
u16 used_index(struct disk *d);
/* Waits for the next used element; returns its length, its head in *@head. */
u32 wait_used(struct disk *d, u32 *head);
/* A request of header, one data buffer and status in descriptors 0 to 2; returns the status. */
u8 request(struct disk *d, u32 type, u64 sector, u64 data, u32 bytes, bool to_guest, u32 *written);

#endif
