/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testdisk.h"

#include "machine/layout.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

u32 config_read(struct vm *vm, unsigned bus, unsigned slot, unsigned offset, unsigned size)
{
	return mmio_read(vm, ECAM_BASE + (bus << 20 | slot << 15 | offset), size);
}

void config_write(struct vm *vm, unsigned bus, unsigned slot, unsigned offset, unsigned size,
		  u32 value)
{
	mmio_write(vm, ECAM_BASE + (bus << 20 | slot << 15 | offset), size, value);
}

u32 common_read(struct disk *d, unsigned offset, unsigned size)
{
	return mmio_read(d->vm, d->bar + offset, size);
}

void common_write(struct disk *d, unsigned offset, unsigned size, u64 value)
{
	mmio_write(d->vm, d->bar + offset, size, value);
}

void disk_init(struct disk *d, u64 bytes, const struct disk_settings *settings)
{
	struct device *port, *dev;
	struct block_config config;

	memset(d, 0, sizeof(*d));
	d->vm = test_vm_new(2, 4 * MIB);
	d->fd = memfd_create("disk", MFD_CLOEXEC);
	g_assert_cmpint(ftruncate(d->fd, bytes), ==, 0);
	config = (struct block_config){
		.driver = "raw", .fd = dup(d->fd), .discard = true, .no_uring = settings->no_uring
	};
	d->block = block_open(&config, NULL);
	g_assert_nonnull(d->block);
	port = test_device_new(d->vm, "pcie-root-port", "pci.1");
	device_set_number(port, "slot", 2, NULL);
	test_device_realize(port);
	dev = test_device_new(d->vm, "virtio-blk", "disk");
	device_set_number(dev, "bus", 1, NULL);
	device_set_string(dev, "serial", "abc123", NULL);
	device_set_bool(dev, "ioeventfd", settings->ioeventfd, NULL);
	if (settings->on_write_error)
		device_set_string(dev, "on_write_error", settings->on_write_error, NULL);
	if (settings->on_read_error)
		device_set_string(dev, "on_read_error", settings->on_read_error, NULL);
	device_set_backend(dev, "backend", OPTION_BLOCK, d->block, NULL);
	test_device_realize(dev);
	d->v = container_of(dev, struct virtio, pci.dev);
	pci_assign(d->vm);
	d->bar = config_read(d->vm, 1, 0, 0x10, 4) & ~15ull;
	d->bar |= (u64)config_read(d->vm, 1, 0, 0x14, 4) << 32;
	config_write(d->vm, 1, 0, 4, 2, 6);
}

void disk_free(struct disk *d)
{
	vm_free(d->vm);
	block_close(d->block);
	close(d->fd);
}

u64 features(struct disk *d)
{
	u64 low;

	common_write(d, 0x00, 4, 0);
	low = common_read(d, 0x04, 4);
	common_write(d, 0x00, 4, 1);
	return low | (u64)common_read(d, 0x04, 4) << 32;
}

void negotiate(struct disk *d, u64 wanted)
{
	common_write(d, 0x14, 1, 0);
	common_write(d, 0x14, 1, 3);
	common_write(d, 0x08, 4, 0);
	common_write(d, 0x0c, 4, (u32)wanted);
	common_write(d, 0x08, 4, 1);
	common_write(d, 0x0c, 4, wanted >> 32);
	common_write(d, 0x14, 1, 11);
}

void setup_queue(struct disk *d, u64 desc, u64 avail, u64 used)
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

void start(struct disk *d, u64 extra)
{
	enable_msix(d);
	negotiate(d, VIRTIO_F_VERSION_1 | extra);
	g_assert_cmphex(common_read(d, 0x14, 1), ==, 11);
	setup_queue(d, DESC, AVAIL, USED);
	common_write(d, 0x14, 1, 15);
	g_assert_cmphex(common_read(d, 0x14, 1), ==, 15);
	d->next = d->used = 0;
}

void put_desc(struct disk *d, gpa_t table, unsigned i, u64 address, u32 bytes, u16 flags, u16 next)
{
	struct {
		u64 address;
		u32 bytes;
		u16 flags, next;
	} desc = { address, bytes, flags, next };

	vm_mem_write(d->vm, table + 16 * i, &desc, 16);
}

void offer(struct disk *d, u16 head)
{
	u16 index = d->next + 1;

	vm_mem_write(d->vm, AVAIL + 4 + 2 * (d->next % SIZE), &head, 2);
	vm_mem_write(d->vm, AVAIL + 2, &index, 2);
	d->next++;
}

void notify(struct disk *d)
{
	mmio_write(d->vm, d->bar + 0x3000, 2, 0);
}

u16 used_index(struct disk *d)
{
	return __atomic_load_n((u16 *)vm_mem_ptr(d->vm, USED + 2, 2), __ATOMIC_ACQUIRE);
}

u32 wait_used(struct disk *d, u32 *head)
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

void put_header(struct disk *d, u32 type, u64 sector)
{
	const struct {
		u32 type, reserved;
		u64 sector;
	} h = { type, 0, sector };

	vm_mem_write(d->vm, DATA, &h, 16);
}

u8 request(struct disk *d, u32 type, u64 sector, u64 data, u32 bytes, bool to_guest, u32 *written)
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

bool needs_reset(struct disk *d)
{
	return common_read(d, 0x14, 1) & 64;
}
