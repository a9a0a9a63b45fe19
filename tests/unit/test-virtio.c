/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI and virtio as a driver sees them: enumeration, MSI-X, the status machine, a driver that lies,
 * and the small devices.
 */
#include "testdisk.h"

#include <string.h>

static const struct disk_settings plain;

/* PCI. */

static void test_enumeration(void)
{
	struct disk d;
	u32 bar;

	disk_init(&d, MIB, &plain);
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

	disk_init(&d, MIB, &plain);
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

	disk_init(&d, MIB, &plain);
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

	disk_init(&d, MIB, &plain);
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

	disk_init(&d, MIB, &plain);
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

	disk_init(&d, MIB, &plain);
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

	disk_init(&d, MIB, &plain);
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

	disk_init(&d, MIB, &plain);
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

	disk_init(&d, MIB, &plain);
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

/* Another device in a slot of the root, driven by the same helpers through its queue 0. */
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

	disk_init(&d, MIB, &plain);
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

	disk_init(&d, MIB, &plain);
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
	g_test_add_func("/rng", test_rng);
	g_test_add_func("/balloon", test_balloon);
	return g_test_run();
}
