/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk as a driver sees it: disks through real rings, notifications by eventfds, and a host
 * that fails.
 */
#include "machine/layout.h"
#include "testdisk.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const struct disk_settings plain, pooled = { .no_uring = true };

static void use_disk(const struct disk_settings *settings)
{
	struct disk d;
	u8 buf[4096];
	u32 written;

	disk_init(&d, 16 * MIB, settings);
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
	use_disk(&plain);
}

static void test_disk_pool(void)
{
	use_disk(&pooled);
}

/* Header split over descriptors, data in an indirect table, status beside data. */
static void test_layouts(void)
{
	struct disk d;
	u8 status;

	disk_init(&d, MIB, &plain);
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

	disk_init(&d, MIB, &plain);
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

/* A reset while requests are under way waits for them. */
static void test_reset_in_flight(void)
{
	struct disk d;

	disk_init(&d, 16 * MIB, &pooled);
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
	const struct disk_settings settings = { .no_uring = true,
						.on_write_error = writes,
						.on_read_error = reads };

	disk_init(d, 16 * MIB, &settings);
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
	const struct disk_settings settings = { .ioeventfd = true };
	struct disk d;
	u64 elsewhere;
	int fd;

	disk_init(&d, MIB, &settings);
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/blk/disk", test_disk);
	g_test_add_func("/blk/disk-pool", test_disk_pool);
	g_test_add_func("/blk/layouts", test_layouts);
	g_test_add_func("/blk/event-index", test_event_index);
	g_test_add_func("/blk/reset-in-flight", test_reset_in_flight);
	g_test_add_func("/blk/doorbell", test_doorbell);
	g_test_add_func("/blk/no-space", test_no_space);
	g_test_add_func("/blk/error-policies", test_error_policies);
	return g_test_run();
}
