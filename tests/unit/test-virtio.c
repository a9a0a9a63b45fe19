/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI and virtio as a driver sees them: enumeration, MSI-X, the status machine, disks through real
 * rings, and a driver that lies.
 */
#include "block/block.h"
#include "device/virtio/virtio.h"
#include "machine/boot/boot.h"
#include "machine/layout.h"
#include "machine/pci.h"
#include "testvm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RINGS  0x10000ull
#define DATA   0x20000ull
#define VECTOR 0x50

static u32 config_read(struct vm *vm, unsigned bus, unsigned slot, unsigned offset, unsigned size)
{
	return mmio_read(vm, ECAM_BASE + (bus << 20 | slot << 15 | offset), size);
}

static void config_write(struct vm *vm, unsigned bus, unsigned slot, unsigned offset, unsigned size,
			 u32 value)
{
	mmio_write(vm, ECAM_BASE + (bus << 20 | slot << 15 | offset), size, value);
}

/* One disk behind a root port. */
struct disk {
	struct vm *vm;
	struct block *block;
	struct virtio *v;
	int fd;
	u64 bar;
	u16 next, used; /* driver's indices */
};

#define SIZE 16 /* of the queue */

static u32 common_read(struct disk *d, unsigned offset, unsigned size)
{
	return mmio_read(d->vm, d->bar + offset, size);
}

static void common_write(struct disk *d, unsigned offset, unsigned size, u64 value)
{
	mmio_write(d->vm, d->bar + offset, size, value);
}

/* What the next disk does when the host fails it; NULL: the defaults. */
static const char *on_write_error, *on_read_error;
static bool ioeventfd;

static void disk_init(struct disk *d, u64 bytes, bool no_uring)
{
	struct device *port, *dev;
	struct block_config config;

	memset(d, 0, sizeof(*d));
	d->vm = test_vm_new(2, 4 * MIB);
	d->fd = memfd_create("disk", MFD_CLOEXEC);
	g_assert_cmpint(ftruncate(d->fd, bytes), ==, 0);
	config = (struct block_config){
		.driver = "raw", .fd = dup(d->fd), .discard = true, .no_uring = no_uring
	};
	d->block = block_open(&config, NULL);
	g_assert_nonnull(d->block);
	port = test_device_new(d->vm, "pcie-root-port", "pci.1");
	device_set_number(port, "slot", 2, NULL);
	test_device_realize(port);
	dev = test_device_new(d->vm, "virtio-blk", "disk");
	device_set_number(dev, "bus", 1, NULL);
	device_set_string(dev, "serial", "abc123", NULL);
	device_set_bool(dev, "ioeventfd", ioeventfd, NULL);
	if (on_write_error)
		device_set_string(dev, "on_write_error", on_write_error, NULL);
	if (on_read_error)
		device_set_string(dev, "on_read_error", on_read_error, NULL);
	device_set_backend(dev, "backend", OPTION_BLOCK, d->block, NULL);
	test_device_realize(dev);
	d->v = container_of(dev, struct virtio, pci.dev);
	pci_assign(d->vm);
	d->bar = config_read(d->vm, 1, 0, 0x10, 4) & ~15ull;
	d->bar |= (u64)config_read(d->vm, 1, 0, 0x14, 4) << 32;
	config_write(d->vm, 1, 0, 4, 2, 6);
}

static void disk_free(struct disk *d)
{
	vm_free(d->vm);
	block_close(d->block);
	close(d->fd);
}

static u64 features(struct disk *d)
{
	u64 low;

	common_write(d, 0x00, 4, 0);
	low = common_read(d, 0x04, 4);
	common_write(d, 0x00, 4, 1);
	return low | (u64)common_read(d, 0x04, 4) << 32;
}

static void negotiate(struct disk *d, u64 wanted)
{
	common_write(d, 0x14, 1, 0);
	common_write(d, 0x14, 1, 3);
	common_write(d, 0x08, 4, 0);
	common_write(d, 0x0c, 4, (u32)wanted);
	common_write(d, 0x08, 4, 1);
	common_write(d, 0x0c, 4, wanted >> 32);
	common_write(d, 0x14, 1, 11);
}

static void setup_queue(struct disk *d, u64 desc, u64 avail, u64 used)
{
	common_write(d, 0x16, 2, 0);
	common_write(d, 0x18, 2, SIZE);
	common_write(d, 0x1a, 2, 0);
	common_write(d, 0x20, 4, desc);
	common_write(d, 0x24, 4, desc >> 32);
	common_write(d, 0x28, 8, avail);
	common_write(d, 0x30, 8, used);
	common_write(d, 0x1c, 2, 1);
}

static void enable_msix(struct disk *d)
{
	unsigned cap = config_read(d->vm, 1, 0, 0x34, 1);

	while (config_read(d->vm, 1, 0, cap, 1) != PCI_CAP_ID_MSIX)
		cap = config_read(d->vm, 1, 0, cap + 1, 1);
	mmio_write(d->vm, d->bar + 0x4000, 8, 0xfee00000);
	mmio_write(d->vm, d->bar + 0x4008, 4, VECTOR);
	mmio_write(d->vm, d->bar + 0x400c, 4, 0);
	config_write(d->vm, 1, 0, cap + 2, 2, 0x8000);
	cpu_mmio_write(d->vm, 0, LAPIC_BASE + 0xf0, 0x1ff);
}

#define DESC  RINGS
#define AVAIL (RINGS + 0x1000)
#define USED  (RINGS + 0x2000)

static void start(struct disk *d, u64 extra)
{
	enable_msix(d);
	negotiate(d, VIRTIO_F_VERSION_1 | extra);
	g_assert_cmphex(common_read(d, 0x14, 1), ==, 11);
	setup_queue(d, DESC, AVAIL, USED);
	common_write(d, 0x14, 1, 15);
	g_assert_cmphex(common_read(d, 0x14, 1), ==, 15);
	d->next = d->used = 0;
}

static void put_desc(struct disk *d, gpa_t table, unsigned i, u64 address, u32 bytes, u16 flags,
		     u16 next)
{
	struct {
		u64 address;
		u32 bytes;
		u16 flags, next;
	} desc = { address, bytes, flags, next };

	vm_mem_write(d->vm, table + 16 * i, &desc, 16);
}

static void offer(struct disk *d, u16 head)
{
	u16 index = d->next + 1;

	vm_mem_write(d->vm, AVAIL + 4 + 2 * (d->next % SIZE), &head, 2);
	vm_mem_write(d->vm, AVAIL + 2, &index, 2);
	d->next++;
}

static void notify(struct disk *d)
{
	mmio_write(d->vm, d->bar + 0x3000, 2, 0);
}

static u16 used_index(struct disk *d)
{
	return __atomic_load_n((u16 *)vm_mem_ptr(d->vm, USED + 2, 2), __ATOMIC_ACQUIRE);
}

/* Waits for the next used element; returns its length, its head in *@head. */
static u32 wait_used(struct disk *d, u32 *head)
{
	u32 element[2];

	for (int i = 0; used_index(d) == d->used; i++) {
		g_assert_cmpint(i, <, 10000);
		g_usleep(500);
	}
	vm_mem_read(d->vm, USED + 4 + 8 * (d->used % SIZE), element, 8);
	d->used++;
	if (head)
		*head = element[0];
	return element[1];
}

static void put_header(struct disk *d, u32 type, u64 sector)
{
	const struct {
		u32 type, reserved;
		u64 sector;
	} h = { type, 0, sector };

	vm_mem_write(d->vm, DATA, &h, 16);
}

/* A request of header, one data buffer and status in descriptors 0 to 2; returns the status. */
static u8 request(struct disk *d, u32 type, u64 sector, u64 data, u32 bytes, bool to_guest,
		  u32 *written)
{
	u8 status = 0xee;
	u32 n;

	put_header(d, type, sector);
	vm_mem_write(d->vm, DATA + 0x100, &status, 1);
	put_desc(d, DESC, 0, DATA, 16, 1, bytes ? 1 : 2);
	put_desc(d, DESC, 1, data, bytes, 1 | (to_guest ? 2 : 0), 2);
	put_desc(d, DESC, 2, DATA + 0x100, 1, 2, 0);
	offer(d, 0);
	notify(d);
	n = wait_used(d, NULL);
	if (written)
		*written = n;
	vm_mem_read(d->vm, DATA + 0x100, &status, 1);
	return status;
}

static bool needs_reset(struct disk *d)
{
	return common_read(d, 0x14, 1) & 64;
}

/* PCI. */

static void test_enumeration(void)
{
	struct disk d;
	u32 bar;

	disk_init(&d, MIB, false);
	g_assert_cmphex(config_read(d.vm, 0, 0, 0, 4), ==, 0x29c08086);
	g_assert_cmphex(config_read(d.vm, 0, 31, 0, 4), ==, 0x29188086);
	g_assert_cmphex(config_read(d.vm, 0, 5, 0, 4), ==, 0xffffffff);
	g_assert_cmphex(config_read(d.vm, 0, 2, 0x18, 4) & 0xffffff, ==, 0x010100);
	g_assert_cmphex(config_read(d.vm, 1, 0, 0, 4), ==, 0x10421af4);
	g_assert_cmphex(config_read(d.vm, 1, 1, 0, 4), ==, 0xffffffff);
	g_assert_cmphex(config_read(d.vm, 1, 0, 0x100, 4), ==, 0);
	/* the other way in */
	pio_write(d.vm, 0xcf8, 4, 0x80010000);
	g_assert_cmphex(pio_read(d.vm, 0xcfc, 4), ==, 0x10421af4);
	g_assert_cmphex(pio_read(d.vm, 0xcfe, 2), ==, 0x1042);
	g_assert_cmphex(pio_read(d.vm, 0xcf8, 4), ==, 0x80010000);
	pio_write(d.vm, 0xcf8, 4, 0);
	g_assert_cmphex(pio_read(d.vm, 0xcfc, 4), ==, 0xffffffff);
	/* sizing, and read-only registers */
	bar = config_read(d.vm, 1, 0, 0x10, 4);
	g_assert_cmphex(bar & 15, ==, 0xc);
	config_write(d.vm, 1, 0, 0x10, 4, 0xffffffff);
	g_assert_cmphex(config_read(d.vm, 1, 0, 0x10, 4), ==, 0xffff800c);
	config_write(d.vm, 1, 0, 0x10, 4, bar);
	config_write(d.vm, 1, 0, 0, 4, 0);
	g_assert_cmphex(config_read(d.vm, 1, 0, 0, 4), ==, 0x10421af4);
	/* decoding off and on, and elsewhere */
	g_assert_cmpuint(common_read(&d, 0x12, 2), ==, 1);
	config_write(d.vm, 1, 0, 4, 2, 4);
	g_assert_cmphex(common_read(&d, 0x12, 2), ==, 0xffff);
	config_write(d.vm, 1, 0, 0x10, 4, 0xd0000000);
	config_write(d.vm, 1, 0, 0x14, 4, 0);
	config_write(d.vm, 1, 0, 4, 2, 6);
	d.bar = 0xd0000000;
	g_assert_cmpuint(common_read(&d, 0x12, 2), ==, 1);
	/* bridges renumbered at will, loops included */
	config_write(d.vm, 0, 2, 0x18, 4, 0x00ff00);
	config_write(d.vm, 0, 2, 0x18, 4, 0xff0500);
	g_assert_cmphex(config_read(d.vm, 5, 0, 0, 4), ==, 0x10421af4);
	g_assert_cmphex(config_read(d.vm, 6, 0, 0, 4), ==, 0xffffffff);
	disk_free(&d);
}

static void test_assignment(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	unsigned windows = 0;

	for (unsigned i = 1; i <= 14; i++) {
		char id[16];
		struct device *dev;

		g_snprintf(id, sizeof(id), "pci.%u", i);
		dev = test_device_new(vm, "pcie-root-port", id);
		device_set_number(dev, "slot", i, NULL);
		test_device_realize(dev);
		if (i % 2)
			continue;
		g_snprintf(id, sizeof(id), "rng%u", i);
		dev = test_device_new(vm, "virtio-rng", id);
		device_set_number(dev, "bus", i, NULL);
		test_device_realize(dev);
	}
	pci_assign(vm);
	for (unsigned i = 1; i <= 14; i++) {
		u64 base = config_read(vm, 0, i, 0x24, 2) & 0xfff0;
		u64 limit = config_read(vm, 0, i, 0x26, 2) & 0xfff0;
		u64 bar;

		base = base << 16 | (u64)config_read(vm, 0, i, 0x28, 4) << 32;
		limit = limit << 16 | 0xfffff | (u64)config_read(vm, 0, i, 0x2c, 4) << 32;
		g_assert_cmphex(config_read(vm, 0, i, 0x19, 1), ==, i);
		if (i % 2) {
			g_assert_cmphex(base, >, limit); /* closed */
			continue;
		}
		bar = config_read(vm, i, 0, 0x10, 4) & ~15u;
		bar |= (u64)config_read(vm, i, 0, 0x14, 4) << 32;
		g_assert_cmphex(bar, >=, base);
		g_assert_cmphex(bar + 0x7fff, <=, limit);
		windows++;
	}
	g_assert_cmpuint(windows, ==, 7);
	vm_free(vm);
}

/* MSI-X. */

static void test_msix_masks(void)
{
	struct disk d;

	disk_init(&d, MIB, false);
	start(&d, 0);
	mmio_write(d.vm, d.bar + 0x400c, 4, 1); /* masked */
	g_assert_cmpint(request(&d, 4, 0, 0, 0, false, NULL), ==, 0);
	for (int i = 0; !(mmio_read(d.vm, d.bar + 0x4800, 8) & 1); i++) {
		g_assert_cmpint(i, <, 1000);
		g_usleep(1000);
	}
	g_assert_cmpint(interrupt_ack(d.vm, 0), ==, -1);
	mmio_write(d.vm, d.bar + 0x400c, 4, 0);
	g_assert_cmpint(interrupt_ack(d.vm, 0), ==, VECTOR);
	g_assert_cmphex(mmio_read(d.vm, d.bar + 0x4800, 8), ==, 0);
	disk_free(&d);
}

static void test_intx(void)
{
	struct disk d;
	u8 status = 9;

	disk_init(&d, MIB, false);
	negotiate(&d, VIRTIO_F_VERSION_1);
	setup_queue(&d, DESC, AVAIL, USED);
	common_write(&d, 0x14, 1, 15);
	status = request(&d, 4, 0, 0, 0, false, NULL);
	g_assert_cmpint(status, ==, 0);
	for (int i = 0; !d.vm->irq.asserted[18]; i++) { /* slot 2 of the root, pin A */
		g_assert_cmpint(i, <, 1000);
		g_usleep(1000);
	}
	g_assert_cmphex(config_read(d.vm, 1, 0, 6, 2) & 8, ==, 8);
	g_assert_cmphex(mmio_read(d.vm, d.bar + 0x1000, 1), ==, 1);
	g_assert_cmpuint(d.vm->irq.asserted[18], ==, 0);
	g_assert_cmphex(mmio_read(d.vm, d.bar + 0x1000, 1), ==, 0);
	disk_free(&d);
}

/* Status. */

static void test_negotiation(void)
{
	struct disk d;

	disk_init(&d, MIB, false);
	g_assert_cmphex(features(&d) &
				(VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX),
			==, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX);
	negotiate(&d, 0); /* no VERSION_1 */
	g_assert_cmphex(common_read(&d, 0x14, 1), ==, 3);
	negotiate(&d, VIRTIO_F_VERSION_1 | BIT(50));
	g_assert_cmphex(common_read(&d, 0x14, 1), ==, 3);
	common_write(&d, 0x14, 1, 7); /* DRIVER_OK without FEATURES_OK */
	g_assert_cmphex(common_read(&d, 0x14, 1), ==, 3);
	negotiate(&d, VIRTIO_F_VERSION_1);
	g_assert_cmphex(common_read(&d, 0x14, 1), ==, 11);
	common_write(&d, 0x16, 2, 7); /* no such queue */
	g_assert_cmpuint(common_read(&d, 0x18, 2), ==, 0);
	common_write(&d, 0x16, 2, 0);
	g_assert_cmpuint(common_read(&d, 0x18, 2), ==, 256);
	common_write(&d, 0x18, 2, 100); /* not a power of two */
	g_assert_cmpuint(common_read(&d, 0x18, 2), ==, 256);
	common_write(&d, 0x1a, 2, 9); /* no such vector */
	g_assert_cmphex(common_read(&d, 0x1a, 2), ==, 0xffff);
	setup_queue(&d, 16 * MIB, AVAIL, USED); /* outside of memory */
	common_write(&d, 0x14, 1, 15);
	g_assert_true(needs_reset(&d));
	common_write(&d, 0x14, 1, 0);
	g_assert_cmphex(common_read(&d, 0x14, 1), ==, 0);
	start(&d, 0);
	disk_free(&d);
}

/* What the driver writes to the queue's registers after DRIVER_OK changes nothing. */
static void test_frozen(void)
{
	struct disk d;

	disk_init(&d, MIB, false);
	start(&d, 0);
	setup_queue(&d, 0xdead0000, 0xbeef0000, 0x1000);
	common_write(&d, 0x16, 2, 0);
	common_write(&d, 0x18, 2, 2);
	g_assert_cmpint(request(&d, 4, 0, 0, 0, false, NULL), ==, 0);
	g_assert_false(needs_reset(&d));
	disk_free(&d);
}

static void test_no_bus_master(void)
{
	struct disk d;

	disk_init(&d, MIB, false);
	start(&d, 0);
	config_write(d.vm, 1, 0, 4, 2, 2);
	put_header(&d, 4, 0);
	put_desc(&d, DESC, 0, DATA, 16, 1, 2);
	put_desc(&d, DESC, 2, DATA + 0x100, 1, 2, 0);
	offer(&d, 0);
	notify(&d);
	g_usleep(10000);
	g_assert_cmpuint(used_index(&d), ==, 0);
	disk_free(&d);
}

/* The capability by which firmware without a mapping reaches the BAR. */
static void test_config_access_capability(void)
{
	struct disk d;
	unsigned cap;

	disk_init(&d, MIB, false);
	for (cap = config_read(d.vm, 1, 0, 0x34, 1); cap; cap = config_read(d.vm, 1, 0, cap + 1, 1))
		if (config_read(d.vm, 1, 0, cap, 1) == 9 &&
		    config_read(d.vm, 1, 0, cap + 3, 1) == 5)
			break;
	g_assert_cmpuint(cap, !=, 0);
	config_write(d.vm, 1, 0, cap + 4, 1, 0);
	config_write(d.vm, 1, 0, cap + 8, 4, 0x14);
	config_write(d.vm, 1, 0, cap + 12, 4, 1);
	config_write(d.vm, 1, 0, cap + 16, 1, 3);
	g_assert_cmphex(common_read(&d, 0x14, 1), ==, 3);
	config_write(d.vm, 1, 0, cap + 8, 4, 0x12);
	config_write(d.vm, 1, 0, cap + 12, 4, 2);
	g_assert_cmphex(config_read(d.vm, 1, 0, cap + 16, 2), ==, 1);
	config_write(d.vm, 1, 0, cap + 8, 4, 0xfffffffc);
	config_write(d.vm, 1, 0, cap + 12, 4, 4);
	config_read(d.vm, 1, 0, cap + 16, 4);
	disk_free(&d);
}

/* Disk. */

static void use_disk(bool no_uring)
{
	struct disk d;
	u8 buf[4096];
	u32 written;

	disk_init(&d, 16 * MIB, no_uring);
	g_assert_cmpuint(mmio_read(d.vm, d.bar + 0x2000, 8), ==, 16 * MIB / 512);
	start(&d, features(&d));
	memset(buf, 0x5a, sizeof(buf));
	vm_mem_write(d.vm, DATA + 0x1000, buf, sizeof(buf));
	g_assert_cmpint(request(&d, 1, 100, DATA + 0x1000, 4096, false, &written), ==, 0);
	g_assert_cmpuint(written, ==, 1);
	g_assert_cmpint(request(&d, 4, 0, 0, 0, false, NULL), ==, 0);
	memset(buf, 0, sizeof(buf));
	g_assert_cmpint(pread(d.fd, buf, 4096, 100 * 512), ==, 4096);
	for (unsigned i = 0; i < 4096; i++)
		g_assert_cmphex(buf[i], ==, 0x5a);
	/* back, into another place */
	g_assert_cmpint(request(&d, 0, 104, DATA + 0x3000, 2048, true, &written), ==, 0);
	g_assert_cmpuint(written, ==, 2049);
	g_assert_cmphex(*(u8 *)vm_mem_ptr(d.vm, DATA + 0x3000 + 2047, 1), ==, 0x5a);
	g_assert_cmphex(*(u8 *)vm_mem_ptr(d.vm, DATA + 0x3000 + 2048, 1), ==, 0);
	/* serial number */
	g_assert_cmpint(request(&d, 8, 0, DATA + 0x4000, 20, true, NULL), ==, 0);
	g_assert_cmpstr(vm_mem_ptr(d.vm, DATA + 0x4000, 20), ==, "abc123");
	/* zeroes and discard: one range each */
	{
		const struct {
			u64 sector;
			u32 sectors, flags;
		} range = { 100, 4, 1 };

		vm_mem_write(d.vm, DATA + 0x5000, &range, 16);
		g_assert_cmpint(request(&d, 13, 0, DATA + 0x5000, 16, false, NULL), ==, 0);
		g_assert_cmpint(pread(d.fd, buf, 4096, 100 * 512), ==, 4096);
		g_assert_cmphex(buf[0], ==, 0);
		g_assert_cmphex(buf[2047], ==, 0);
		g_assert_cmphex(buf[2048], ==, 0x5a);
		g_assert_cmpint(request(&d, 11, 0, DATA + 0x5000, 16, false, NULL), ==,
				2); /* flags */
	}
	/* beyond the end, unknown type, too many ranges */
	g_assert_cmpint(request(&d, 0, 16 * MIB / 512 - 1, DATA + 0x3000, 1024, true, NULL), ==, 1);
	g_assert_cmpint(request(&d, 1, UINT64_MAX / 512 + 5, DATA + 0x3000, 512, false, NULL), ==,
			1);
	g_assert_cmpint(request(&d, 0, 0, DATA + 0x3000, 100, true, NULL), ==, 1);
	g_assert_cmpint(request(&d, 77, 0, 0, 0, false, NULL), ==, 2);
	g_assert_cmpint(request(&d, 13, 0, DATA + 0x5000, 32, false, NULL), ==, 2);
	g_assert_false(needs_reset(&d));
	disk_free(&d);
}

static void test_disk(void)
{
	use_disk(false);
}

static void test_disk_pool(void)
{
	use_disk(true);
}

/* Header split over descriptors, data in an indirect table, status beside data. */
static void test_layouts(void)
{
	struct disk d;
	u8 status;

	disk_init(&d, MIB, false);
	start(&d, VIRTIO_F_INDIRECT);
	g_assert_cmpint(pwrite(d.fd, "marker", 6, 512), ==, 6);
	put_header(&d, 0, 1);
	put_desc(&d, DESC, 0, DATA, 5, 1, 1);
	put_desc(&d, DESC, 1, DATA + 5, 11, 1, 2);
	put_desc(&d, DESC, 2, DATA + 0x1000, 100, 3, 3);
	put_desc(&d, DESC, 3, DATA + 0x1064, 413, 2, 0); /* 412 bytes of data and the status */
	offer(&d, 0);
	notify(&d);
	g_assert_cmpuint(wait_used(&d, NULL), ==, 513);
	g_assert_cmpint(memcmp(vm_mem_ptr(d.vm, DATA + 0x1000, 6), "marker", 6), ==, 0);
	vm_mem_read(d.vm, DATA + 0x1064 + 412, &status, 1);
	g_assert_cmpint(status, ==, 0);

	put_desc(&d, DATA + 0x800, 0, DATA, 16, 1, 2);
	put_desc(&d, DATA + 0x800, 2, DATA + 0x2000, 512, 3, 1);
	put_desc(&d, DATA + 0x800, 1, DATA + 0x100, 1, 2, 0);
	put_desc(&d, DESC, 7, DATA + 0x800, 48, 4, 0);
	offer(&d, 7);
	notify(&d);
	{
		u32 head;

		g_assert_cmpuint(wait_used(&d, &head), ==, 513);
		g_assert_cmpuint(head, ==, 7);
	}
	g_assert_cmpint(memcmp(vm_mem_ptr(d.vm, DATA + 0x2000, 6), "marker", 6), ==, 0);
	disk_free(&d);
}

/* One request, until its interrupt has been raised too, which comes after the used ring. */
static void request_and_interrupt(struct disk *d)
{
	g_assert_cmpint(request(d, 0, 0, DATA + 0x1000, 512, true, NULL), ==, 0);
	block_drain(d->block);
}

/* Event indices: an interrupt only when the driver's threshold is passed. */
static void test_event_index(void)
{
	struct disk d;
	u16 event = 2;

	disk_init(&d, MIB, false);
	start(&d, VIRTIO_F_EVENT_IDX);
	vm_mem_write(d.vm, AVAIL + 4 + 2 * SIZE, &event, 2);
	request_and_interrupt(&d);
	interrupt_ack(d.vm, 0); /* the first decision may always notify */
	cpu_mmio_write(d.vm, 0, LAPIC_BASE + 0xb0, 0);
	request_and_interrupt(&d);
	g_assert_cmpint(interrupt_ack(d.vm, 0), ==, -1);
	request_and_interrupt(&d);
	g_assert_cmpint(interrupt_ack(d.vm, 0), ==, VECTOR);
	g_assert_cmpuint(*(u16 *)vm_mem_ptr(d.vm, USED + 4 + 8 * SIZE, 2), ==, 3); /* avail_event */
	disk_free(&d);
}

/* Lies. Each must end in DEVICE_NEEDS_RESET, and the device works again after a reset. */

static void lie_index(struct disk *d)
{
	u16 index = SIZE + 1;

	vm_mem_write(d->vm, AVAIL + 2, &index, 2);
}

static void lie_head(struct disk *d)
{
	offer(d, SIZE);
}

static void lie_loop(struct disk *d)
{
	put_desc(d, DESC, 0, DATA, 16, 1, 1);
	put_desc(d, DESC, 1, DATA, 16, 1, 0);
	offer(d, 0);
}

static void lie_next(struct disk *d)
{
	put_desc(d, DESC, 0, DATA, 16, 1, 999);
	offer(d, 0);
}

static void lie_address(struct disk *d)
{
	put_desc(d, DESC, 0, 0xfee00000, 16, 0, 0);
	offer(d, 0);
}

static void lie_wrap(struct disk *d)
{
	put_desc(d, DESC, 0, UINT64_MAX - 7, 16, 0, 0);
	offer(d, 0);
}

static void lie_length(struct disk *d)
{
	put_desc(d, DESC, 0, DATA, UINT32_MAX, 0, 0);
	offer(d, 0);
}

static void lie_order(struct disk *d)
{
	put_desc(d, DESC, 0, DATA, 16, 3, 1);
	put_desc(d, DESC, 1, DATA + 16, 16, 0, 0);
	offer(d, 0);
}

static void lie_indirect_size(struct disk *d)
{
	put_desc(d, DESC, 0, DATA, 17, 4, 0);
	offer(d, 0);
}

static void lie_indirect_nested(struct disk *d)
{
	put_desc(d, DATA, 0, DATA, 16, 4, 0);
	put_desc(d, DESC, 0, DATA, 16, 4, 0);
	offer(d, 0);
}

static void lie_indirect_next(struct disk *d)
{
	put_desc(d, DESC, 0, DATA, 16, 5, 1);
	offer(d, 0);
}

static void lie_indirect_outside(struct disk *d)
{
	put_desc(d, DESC, 0, 3 * GIB, 32, 4, 0);
	offer(d, 0);
}

static void lie_indirect_long(struct disk *d)
{
	for (unsigned i = 0; i < 300; i++)
		put_desc(d, DATA, i, DATA, 16, 1, i + 1);
	put_desc(d, DATA, 300, DATA, 16, 2, 0);
	put_desc(d, DESC, 0, DATA, 301 * 16, 4, 0);
	offer(d, 0);
}

static void lie_no_status(struct disk *d)
{
	put_header(d, 4, 0);
	put_desc(d, DESC, 0, DATA, 16, 0, 0);
	offer(d, 0);
}

static void lie_short_header(struct disk *d)
{
	put_desc(d, DESC, 0, DATA, 15, 1, 1);
	put_desc(d, DESC, 1, DATA, 1, 2, 0);
	offer(d, 0);
}

static void test_lies(void)
{
	static void (*const lies[])(struct disk *) = {
		lie_index,         lie_head,
		lie_loop,          lie_next,
		lie_address,       lie_wrap,
		lie_length,        lie_order,
		lie_indirect_size, lie_indirect_nested,
		lie_indirect_next, lie_indirect_outside,
		lie_indirect_long, lie_no_status,
		lie_short_header,
	};
	struct disk d;

	disk_init(&d, MIB, false);
	for (unsigned i = 0; i < ARRAY_LEN(lies); i++) {
		u8 zeros[0x3000] = { 0 };

		vm_mem_write(d.vm, RINGS, zeros, sizeof(zeros));
		start(&d, VIRTIO_F_INDIRECT);
		lies[i](&d);
		notify(&d);
		if (!needs_reset(&d))
			g_error("lie %u went unnoticed", i);
		g_assert_cmpuint(used_index(&d), ==, 0);
		notify(&d); /* and nothing more until the reset */
		vm_mem_write(d.vm, RINGS, zeros, sizeof(zeros));
		start(&d, VIRTIO_F_INDIRECT);
		g_assert_cmpint(request(&d, 4, 0, 0, 0, false, NULL), ==, 0);
	}
	disk_free(&d);
}

/* Rings full of noise, most of it nearly right. */
static void test_noise(void)
{
	GRand *rand = g_rand_new_with_seed(3);
	struct disk d;

	disk_init(&d, MIB, false);
	for (unsigned round = 0; round < 400; round++) {
		start(&d, g_rand_boolean(rand) ? VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX : 0);
		for (unsigned i = 0; i < SIZE; i++)
			put_desc(&d, DESC, i, DATA + g_rand_int_range(rand, 0, 0x4000),
				 g_rand_int_range(rand, 0, 3000), g_rand_int_range(rand, 0, 8),
				 g_rand_int_range(rand, 0, SIZE + (round % 8 == 0)));
		put_header(&d, g_rand_int_range(rand, 0, 14), g_rand_int_range(rand, 0, 3000));
		d.next = 0;
		vm_mem_zero(d.vm, USED, 0x100);
		for (int i = 0, n = g_rand_int_range(rand, 1, SIZE); i < n; i++)
			offer(&d, g_rand_int_range(rand, 0, SIZE));
		notify(&d);
	}
	disk_free(&d);
	g_rand_free(rand);
}

/* A reset while requests are under way waits for them. */
static void test_reset_in_flight(void)
{
	struct disk d;

	disk_init(&d, 16 * MIB, true);
	for (unsigned round = 0; round < 50; round++) {
		start(&d, 0);
		for (unsigned i = 0; i < 5; i++) {
			put_header(&d, 1, 64 * i);
			put_desc(&d, DESC, 3 * i, DATA, 16, 1, 3 * i + 1);
			put_desc(&d, DESC, 3 * i + 1, DATA + 0x1000, 0x8000, 1, 3 * i + 2);
			put_desc(&d, DESC, 3 * i + 2, DATA + 0x100 + i, 1, 2, 0);
			offer(&d, 3 * i);
		}
		notify(&d);
		common_write(&d, 0x14, 1, 0);
		vm_mem_zero(d.vm, RINGS, 0x3000);
		g_usleep(200);
		g_assert_cmpuint(used_index(&d), ==, 0); /* nobody writes to memory any more */
	}
	disk_free(&d);
}

/* ---- a host that fails */

static struct block_driver moody;
static void (*real_submit)(struct block *block, struct block_request *request);
static int mood; /* the errno value that every request gets; 0: none */

static void submit_moody(struct block *block, struct block_request *request)
{
	if (mood)
		request->done(request, -mood);
	else
		real_submit(block, request);
}

static void moody_disk(struct disk *d, const char *writes, const char *reads)
{
	on_write_error = writes;
	on_read_error = reads;
	disk_init(d, 16 * MIB, true);
	on_write_error = on_read_error = NULL;
	moody = *d->block->driver;
	real_submit = moody.submit;
	moody.submit = submit_moody;
	d->block->driver = &moody;
	start(d, 0);
}

/* Request @i writes a sector, or reads one. */
static void offer_sector(struct disk *d, unsigned i, bool write)
{
	const struct {
		u32 type, reserved;
		u64 sector;
	} h = { write, 0, i };
	u8 status = 0xee;

	vm_mem_write(d->vm, DATA + 16 * i, &h, 16);
	vm_mem_write(d->vm, DATA + 0x100 + i, &status, 1);
	put_desc(d, DESC, 3 * i, DATA + 16 * i, 16, 1, 3 * i + 1);
	put_desc(d, DESC, 3 * i + 1, DATA + 0x1000, 512, 1 | (write ? 0 : 2), 3 * i + 2);
	put_desc(d, DESC, 3 * i + 2, DATA + 0x100 + i, 1, 2, 0);
	offer(d, 3 * i);
	notify(d);
}

static u8 sector_status(struct disk *d, unsigned i)
{
	u8 status;

	vm_mem_read(d->vm, DATA + 0x100 + i, &status, 1);
	return status;
}

static void expect_io_error(struct disk *d, int err, bool write)
{
	struct vm_io_error e;

	g_assert_cmpint(vm_wait_request(d->vm, 0, NULL), ==, VM_REQUEST_IO_ERROR);
	e = vm_io_error(d->vm);
	g_assert_cmpstr(e.disk, ==, "disk");
	g_assert_cmpint(e.err, ==, err);
	g_assert_cmpint(e.write, ==, write);
	g_free(e.disk);
	g_assert_cmpint(vm_wait_request(d->vm, 0, NULL), ==, VM_REQUEST_TIMEOUT);
}

static void resume(struct disk *d)
{
	d->v->pci.dev.type->resume(&d->v->pci.dev);
}

static void expect_status(struct disk *d, unsigned i, u8 status)
{
	wait_used(d, NULL);
	g_assert_cmpuint(sector_status(d, i), ==, status);
	g_assert_cmpint(vm_wait_request(d->vm, 0, NULL), ==, VM_REQUEST_TIMEOUT);
}

static void test_no_space(void)
{
	struct disk d;
	u8 sector[512], there[512];

	memset(sector, 0x77, sizeof(sector));
	moody_disk(&d, NULL, NULL);
	vm_mem_write(d.vm, DATA + 0x1000, sector, 512);
	mood = ENOSPC;
	offer_sector(&d, 2, true);
	offer_sector(&d, 4, true);
	expect_io_error(&d, ENOSPC, true);
	resume(&d); /* still no room */
	expect_io_error(&d, ENOSPC, true);
	g_assert_cmpuint(used_index(&d), ==, 0);
	g_assert_cmpuint(sector_status(&d, 2), ==, 0xee);
	mood = 0;
	resume(&d);
	wait_used(&d, NULL);
	wait_used(&d, NULL);
	g_assert_cmpuint(sector_status(&d, 2) | sector_status(&d, 4), ==, 0);
	for (unsigned i = 2; i <= 4; i += 2) {
		g_assert_cmpint(pread(d.fd, there, 512, 512 * i), ==, 512);
		g_assert_cmpint(memcmp(there, sector, 512), ==, 0);
	}
	resume(&d); /* nothing waits any more */
	g_assert_cmpuint(used_index(&d), ==, 2);
	/* other failures are the guest's to hear of, and reads never lack room */
	mood = EIO;
	offer_sector(&d, 0, true);
	expect_status(&d, 0, 1);
	mood = ENOSPC;
	offer_sector(&d, 1, false);
	expect_status(&d, 1, 1);
	/* a reset forgets what waits */
	offer_sector(&d, 3, true);
	expect_io_error(&d, ENOSPC, true);
	common_write(&d, 0x14, 1, 0);
	vm_mem_zero(d.vm, RINGS, 0x3000);
	mood = 0;
	resume(&d);
	start(&d, 0);
	resume(&d);
	g_assert_cmpuint(used_index(&d), ==, 0);
	disk_free(&d);
}

static void test_error_policies(void)
{
	struct disk d;

	moody_disk(&d, "stop", "stop");
	mood = EIO;
	offer_sector(&d, 0, true);
	expect_io_error(&d, EIO, true);
	offer_sector(&d, 1, false);
	expect_io_error(&d, EIO, false);
	mood = 0;
	resume(&d);
	wait_used(&d, NULL);
	wait_used(&d, NULL);
	g_assert_cmpuint(sector_status(&d, 0) | sector_status(&d, 1), ==, 0);
	disk_free(&d);

	moody_disk(&d, "ignore", "ignore");
	mood = EIO;
	offer_sector(&d, 0, true);
	expect_status(&d, 0, 0);
	offer_sector(&d, 1, false);
	expect_status(&d, 1, 0);
	mood = 0;
	disk_free(&d);

	moody_disk(&d, "report", "report");
	mood = ENOSPC;
	offer_sector(&d, 0, true);
	expect_status(&d, 0, 1);
	mood = 0;
	disk_free(&d);

	/* what is wrong with the request itself waits for nobody */
	moody_disk(&d, "stop", "stop");
	mood = 0;
	g_assert_cmpuint(request(&d, 1, 16 * MIB / 512, DATA + 0x1000, 512, false, NULL), ==, 1);
	disk_free(&d);
}

/* Another device in a slot of the root, driven by the same helpers through its queue 0. */
/* A read of sector 0 that waits for its notification. */
static void offer_read(struct disk *d)
{
	put_header(d, 0, 0);
	put_desc(d, DESC, 0, DATA, 16, 1, 1);
	put_desc(d, DESC, 1, DATA + 0x1000, 512, 1 | 2, 2);
	put_desc(d, DESC, 2, DATA + 0x100, 1, 2, 0);
	offer(d, 0);
}

static void ring(int fd)
{
	const u64 one = 1;

	g_assert_cmpint(write(fd, &one, sizeof(one)), ==, sizeof(one));
}

static void test_doorbell(void)
{
	struct disk d;
	u64 elsewhere;
	int fd;

	ioeventfd = true;
	disk_init(&d, MIB, false);
	ioeventfd = false;
	fd = fake_doorbell(d.vm, d.bar + 0x3000);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(fake_doorbell(d.vm, d.bar + 0x3004), ==, -1); /* it has one queue */
	start(&d, 0);
	/* while the machine stands nothing is done; it has not gone on yet */
	offer_read(&d);
	ring(fd);
	g_usleep(50000);
	g_assert_cmpuint(used_index(&d), ==, 0);
	resume(&d);
	g_assert_cmpuint(wait_used(&d, NULL), ==, 513);
	offer_read(&d);
	ring(fd);
	g_assert_cmpuint(wait_used(&d, NULL), ==, 513);
	/* the other way stays, and another width */
	offer_read(&d);
	notify(&d);
	wait_used(&d, NULL);
	offer_read(&d);
	mmio_write(d.vm, d.bar + 0x3000, 4, 0);
	wait_used(&d, NULL);
	d.v->pci.dev.type->quiesce(&d.v->pci.dev);
	offer_read(&d);
	ring(fd);
	g_usleep(50000);
	g_assert_cmpuint(used_index(&d), ==, d.used);
	resume(&d);
	wait_used(&d, NULL);
	/* wherever the BAR is, and only while it is */
	elsewhere = d.bar + 0x10000;
	config_write(d.vm, 1, 0, 0x10, 4, elsewhere);
	g_assert_cmpint(fake_doorbell(d.vm, d.bar + 0x3000), ==, -1);
	g_assert_cmpint(fake_doorbell(d.vm, elsewhere + 0x3000), ==, fd);
	config_write(d.vm, 1, 0, 4, 2, 4);
	g_assert_cmpint(fake_doorbell(d.vm, elsewhere + 0x3000), ==, -1);
	config_write(d.vm, 1, 0, 4, 2, 6);
	g_assert_cmpint(fake_doorbell(d.vm, elsewhere + 0x3000), ==, fd);
	/* a notification of a queue that is no more */
	d.v->pci.dev.type->quiesce(&d.v->pci.dev);
	d.v->pci.dev.type->reset(&d.v->pci.dev);
	g_assert_cmpint(fake_doorbell(d.vm, elsewhere + 0x3000), ==, -1);
	ring(fd);
	resume(&d);
	disk_free(&d);
}

static struct device *other_device(struct disk *d, const char *type, unsigned slot)
{
	struct device *dev = test_device_new(d->vm, type, type);

	device_set_number(dev, "slot", slot, NULL);
	test_device_realize(dev);
	pci_assign(d->vm);
	config_write(d->vm, 0, slot, 4, 2, 6);
	d->bar = (config_read(d->vm, 0, slot, 0x10, 4) & ~15ull) |
		 (u64)config_read(d->vm, 0, slot, 0x14, 4) << 32;
	negotiate(d, features(d) & ~VIRTIO_F_EVENT_IDX);
	setup_queue(d, DESC, AVAIL, USED);
	common_write(d, 0x14, 1, 15);
	g_assert_cmphex(common_read(d, 0x14, 1), ==, 15);
	return dev;
}

static void test_balloon(void)
{
	static const u32 pages[] = { 0x200, 0x201, 0x203, 0xa0, 0xfee00, 0xffffffff, 0x200 };
	struct disk d;
	u64 one = 1;

	disk_init(&d, MIB, false);
	other_device(&d, "virtio-balloon", 3);
	for (u32 page = 0x200; page < 0x205; page++)
		vm_mem_write(d.vm, page << 12, &one, 8);
	vm_mem_write(d.vm, DATA, pages, sizeof(pages));
	put_desc(&d, DESC, 0, DATA, sizeof(pages), 0, 0);
	offer(&d, 0);
	notify(&d);
	g_assert_cmpuint(wait_used(&d, NULL), ==, 0);
	for (u32 page = 0x200; page < 0x205; page++) {
		u64 value;

		vm_mem_read(d.vm, page << 12, &value, 8);
		g_assert_cmpuint(value, ==, page == 0x202 || page == 0x204);
	}
	/* the target is configuration; what was reached is the driver's to write */
	d.vm->balloon.set_target(d.vm, 3 * MIB);
	g_assert_cmpuint(mmio_read(d.vm, d.bar + 0x2000, 4), ==, 256);
	mmio_write(d.vm, d.bar + 0x2000, 4, 1);
	g_assert_cmpuint(mmio_read(d.vm, d.bar + 0x2000, 4), ==, 256);
	mmio_write(d.vm, d.bar + 0x2004, 4, 100);
	g_assert_cmpuint(d.vm->balloon.get_actual(d.vm), ==, 4 * MIB - 100 * 4096);
	mmio_write(d.vm, d.bar + 0x2004, 4, 0xffffffff);
	g_assert_cmpuint(d.vm->balloon.get_actual(d.vm), ==, 0);
	/* free page reporting: queue 2; only whole pages */
	common_write(&d, 0x14, 1, 0);
	vm_mem_zero(d.vm, RINGS, 0x3000);
	negotiate(&d, features(&d));
	common_write(&d, 0x16, 2, 2);
	common_write(&d, 0x18, 2, SIZE);
	common_write(&d, 0x20, 8, DESC);
	common_write(&d, 0x28, 8, AVAIL);
	common_write(&d, 0x30, 8, USED);
	common_write(&d, 0x1c, 2, 1);
	common_write(&d, 0x14, 1, 15);
	d.next = d.used = 0;
	put_desc(&d, DESC, 0, 0x202000, 0x1000, 3, 1);
	put_desc(&d, DESC, 1, 0x204000, 0x800, 2, 0);
	offer(&d, 0);
	mmio_write(d.vm, d.bar + 0x3008, 2, 2);
	wait_used(&d, NULL);
	g_assert_cmpuint(*(u64 *)vm_mem_ptr(d.vm, 0x202000, 8), ==, 0);
	g_assert_cmpuint(*(u64 *)vm_mem_ptr(d.vm, 0x204000, 8), ==, 1);
	disk_free(&d);
}

static void test_rng(void)
{
	struct disk d;
	u8 zero[64] = { 0 };

	disk_init(&d, MIB, false);
	other_device(&d, "virtio-rng", 3);
	put_desc(&d, DESC, 0, DATA, 64, 2, 0);
	offer(&d, 0);
	notify(&d);
	g_assert_cmpuint(wait_used(&d, NULL), ==, 64);
	g_assert_cmpint(memcmp(vm_mem_ptr(d.vm, DATA, 64), zero, 64), !=, 0);
	/* the quota: 1 MiB a second, then silence until the next one */
	put_desc(&d, DESC, 0, DATA, 4096, 2, 0);
	for (unsigned i = 0; i < 256; i++) {
		offer(&d, 0);
		notify(&d);
	}
	g_assert_cmpuint((u16)(used_index(&d) - d.used), ==, 256);
	d.used += 256;
	offer(&d, 0);
	notify(&d);
	g_assert_cmpuint(used_index(&d), ==, d.used);
	vm_clock_advance(&d.vm->clock, 1000000000);
	g_assert_cmpuint(wait_used(&d, NULL), ==, 4096);
	disk_free(&d);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pci/enumeration", test_enumeration);
	g_test_add_func("/pci/assignment", test_assignment);
	g_test_add_func("/pci/msix-masks", test_msix_masks);
	g_test_add_func("/pci/intx", test_intx);
	g_test_add_func("/virtio/negotiation", test_negotiation);
	g_test_add_func("/virtio/frozen", test_frozen);
	g_test_add_func("/virtio/no-bus-master", test_no_bus_master);
	g_test_add_func("/virtio/config-access-capability", test_config_access_capability);
	g_test_add_func("/virtio/lies", test_lies);
	g_test_add_func("/virtio/noise", test_noise);
	g_test_add_func("/blk/disk", test_disk);
	g_test_add_func("/blk/disk-pool", test_disk_pool);
	g_test_add_func("/blk/layouts", test_layouts);
	g_test_add_func("/blk/event-index", test_event_index);
	g_test_add_func("/blk/reset-in-flight", test_reset_in_flight);
	g_test_add_func("/blk/doorbell", test_doorbell);
	g_test_add_func("/blk/no-space", test_no_space);
	g_test_add_func("/blk/error-policies", test_error_policies);
	g_test_add_func("/rng", test_rng);
	g_test_add_func("/balloon", test_balloon);
	return g_test_run();
}
