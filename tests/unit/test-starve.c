/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory that the host cannot provide. A backing file that is too short stands for a full
 * file system (a touch beyond its end is SIGBUS too), three small files for a control group.
 */
#include "block/block.h"
#include "machine/limit.h"
#include "testvm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HOLE (2 * MIB) /* from here on there is no memory until give_memory() */

struct toucher {
	gpa_t at;
	u32 steps, done;
};

/* Writes one byte, then counts on. */
static bool touch_step(struct vm *vm, unsigned cpu, void *opaque)
{
	struct toucher *t = opaque;
	const u8 byte = 0x5a;

	if (t->at && !t->done && vm_mem_write(vm, t->at, &byte, 1) == 0)
		__atomic_store_n(&t->done, 1, __ATOMIC_RELEASE);
	__atomic_add_fetch(&t->steps, 1, __ATOMIC_RELAXED);
	return true;
}

static void take_memory(struct vm *vm)
{
	g_assert_cmpint(ftruncate(vm->memory.fd, HOLE), ==, 0);
}

static void give_memory(struct vm *vm)
{
	g_assert_cmpint(ftruncate(vm->memory.fd, vm->memory.bytes), ==, 0);
}

static void wait_counted(const u32 *counter, u32 more_than)
{
	for (int i = 0; i < 10000 && __atomic_load_n(counter, __ATOMIC_ACQUIRE) <= more_than; i++)
		g_usleep(1000);
	g_assert_cmpuint(__atomic_load_n(counter, __ATOMIC_ACQUIRE), >, more_than);
}

static struct vm *start(struct toucher t[2])
{
	struct vm *vm = test_vm_new(2, 4 * MIB);

	take_memory(vm);
	for (unsigned i = 0; i < 2; i++)
		fake_program(vm, i, touch_step, &t[i]);
	g_assert_cmpint(vm_start(vm, false, NULL), ==, 0);
	return vm;
}

static void expect_starving(struct vm *vm)
{
	g_assert_cmpint(vm_wait_request(vm, 10000, NULL), ==, VM_REQUEST_STARVED);
	vm_starve(vm);
	g_assert_cmpint(vm_state_get(vm), ==, VM_PAUSED);
	g_assert_nonnull(vm_starving(vm));
}

static void test_vcpu(void)
{
	struct toucher t[2] = { { .at = HOLE + 100 }, { 0 } };
	struct vm *vm = start(t);
	u32 steps;
	u8 byte;

	expect_starving(vm);
	g_usleep(20000); /* the other one parks on its own */
	steps = __atomic_load_n(&t[1].steps, __ATOMIC_RELAXED);
	g_usleep(20000);
	g_assert_cmpuint(__atomic_load_n(&t[1].steps, __ATOMIC_RELAXED), ==, steps);

	vm_resume(vm); /* too early */
	expect_starving(vm);
	g_assert_cmpuint(t[0].done, ==, 0);

	give_memory(vm);
	vm_resume(vm);
	wait_counted(&t[0].done, 0);
	wait_counted(&t[1].steps, steps);
	g_assert_null(vm_starving(vm));
	vm_pause(vm);
	g_assert_cmpint(vm_mem_read(vm, HOLE + 100, &byte, 1), ==, 0);
	g_assert_cmphex(byte, ==, 0x5a);
	vm_free(vm);
}

static void test_pause_and_end(void)
{
	struct toucher t[2] = { { .at = HOLE }, { 0 } };
	struct vm *vm = start(t);

	wait_counted(&vm->starved, 0);
	vm_pause(vm); /* does not wait for the thread that waits */
	g_assert_cmpint(vm_state_get(vm), ==, VM_PAUSED);
	vm_free(vm); /* nor does this */
}

static void test_reset_waits(void)
{
	struct toucher t[2] = { { .at = HOLE }, { 0 } };
	struct vm *vm = start(t);

	expect_starving(vm);
	vm_request(vm, VM_REQUEST_RESET, VM_RESET_HOST);
	g_assert_cmpint(vm_wait_request(vm, 50, NULL), ==, VM_REQUEST_TIMEOUT);
	g_assert_cmpint(vm_reset(vm, NULL), ==, -EAGAIN);
	give_memory(vm);
	vm_resume(vm);
	g_assert_cmpint(vm_wait_request(vm, 10000, NULL), ==, VM_REQUEST_RESET);
	g_assert_cmpint(vm_reset(vm, NULL), ==, 0);
	vm_free(vm);
}

/* A disk's transfer to memory that is not there is not an error of the disk. */

struct read {
	struct block_request request;
	u32 done;
	int result;
};

static void on_read(struct block_request *request, int result)
{
	struct read *r = container_of(request, struct read, request);

	r->result = result;
	__atomic_store_n(&r->done, 1, __ATOMIC_RELEASE);
}

static void disk(bool uring)
{
	struct toucher t[2] = { { 0 } };
	struct vm *vm = start(t);
	struct block_config config = { .driver = "raw", .no_uring = !uring };
	struct read r = { .request = { .op = BLOCK_READ, .bytes = 8192, .iov_count = 1 } };
	struct iovec iov = { vm_mem_ptr(vm, HOLE - 4096, 8192), 8192 };
	struct block *block;
	u8 bytes[8192];

	memset(bytes, 0xa5, sizeof(bytes));
	config.fd = memfd_create("disk", MFD_CLOEXEC);
	g_assert_cmpint(write(config.fd, bytes, sizeof(bytes)), ==, sizeof(bytes));
	block = block_open(&config, NULL);
	g_assert_nonnull(block);
	r.request.iov = &iov;
	r.request.done = on_read;
	block_submit(block, &r.request);
	expect_starving(vm);
	g_assert_cmpuint(__atomic_load_n(&r.done, __ATOMIC_ACQUIRE), ==, 0);
	give_memory(vm);
	vm_resume(vm);
	wait_counted(&r.done, 0);
	g_assert_cmpint(r.result, ==, 0);
	g_assert_cmpint(memcmp(iov.iov_base, bytes, sizeof(bytes)), ==, 0);
	block_close(block);
	vm_free(vm);
}

static void test_disk(void)
{
	disk(true);
}

static void test_disk_pool(void)
{
	disk(false);
}

/* Limits. */

struct group {
	struct memory_limits limits;
};

static int file_with(const char *text)
{
	int fd = memfd_create("group", MFD_CLOEXEC);

	g_assert_cmpint(pwrite(fd, text, strlen(text), 0), ==, strlen(text));
	return fd;
}

static void set(int fd, const char *text)
{
	g_assert_cmpint(ftruncate(fd, 0), ==, 0);
	g_assert_cmpint(pwrite(fd, text, strlen(text), 0), ==, strlen(text));
}

static void group_init(struct group *g, const char *limit, const char *usage, const char *stat)
{
	g->limits.count = 1;
	g->limits.levels[0] =
		(struct limit_level){ file_with(limit), file_with(usage), file_with(stat) };
}

static void test_room(void)
{
	struct group g;
	u64 swap;

	group_init(&g, "1000000\n", "1000000\n", "cache 5\nrss 7\n");
	swap = memory_limits_room(&g.limits); /* of this host */
	set(g.limits.levels[0].usage_fd, "400000\n");
	g_assert_cmpuint(memory_limits_room(&g.limits), ==, swap + 600000);
	set(g.limits.levels[0].stat_fd, "anon 1\ninactive_file 1000\nactive_file 200\n");
	g_assert_cmpuint(memory_limits_room(&g.limits), ==, swap + 601200);
	set(g.limits.levels[0].stat_fd, "anon 1\ninactive_file 1\nactive_file 2\n"
					"total_inactive_file 1000\ntotal_active_file 200\n");
	g_assert_cmpuint(memory_limits_room(&g.limits), ==, swap + 601200);
	set(g.limits.levels[0].limit_fd, "max\n");
	g_assert_cmpuint(memory_limits_room(&g.limits), ==, UINT64_MAX);
	set(g.limits.levels[0].limit_fd, "9223372036854771712\n");
	g_assert_cmpuint(memory_limits_room(&g.limits), ==, UINT64_MAX);
	memory_limits_close(&g.limits);
	g_assert_cmpuint(memory_limits_room(&g.limits), ==, UINT64_MAX);
}

static void test_limit(void)
{
	struct toucher t = { .at = 7 * MIB };
	struct group g;
	struct vm_config config = { .name = "limited",
				    .accel = &fake_accel,
				    .memory_bytes = 8 * MIB,
				    .limits = &g.limits,
				    .vcpus = 1,
				    .sockets = 1,
				    .cores = 1,
				    .threads = 1 };
	struct vm *vm;

	group_init(&g, "1000000000\n", "0\n", "");
	vm = vm_new(&config, NULL);
	g_assert_nonnull(vm);
	g_assert_cmpint(vm_mem_zero(vm, MIB, 4 * MIB), ==, 0); /* there is room: nothing happens */
	set(g.limits.levels[0].limit_fd, "1000\n");
	g_assert_cmpint(vm_mem_zero(vm, MIB, 4 * MIB), ==, 0); /* has it already */
	if (memory_limits_room(&g.limits) > 8 * MIB) {
		g_test_skip("this host has swap, which counts as room");
	} else {
		fake_program(vm, 0, touch_step, &t);
		g_assert_cmpint(vm_start(vm, false, NULL), ==, 0);
		expect_starving(vm);
		g_assert_nonnull(strstr(vm_starving(vm), "control group"));
		set(g.limits.levels[0].limit_fd, "1000000000\n");
		vm_resume(vm);
		wait_counted(&t.done, 0);
	}
	vm_free(vm);
	memory_limits_close(&g.limits);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/starve/vcpu", test_vcpu);
	g_test_add_func("/starve/pause-and-end", test_pause_and_end);
	g_test_add_func("/starve/reset-waits", test_reset_waits);
	g_test_add_func("/starve/disk", test_disk);
	g_test_add_func("/starve/disk-pool", test_disk_pool);
	g_test_add_func("/starve/room", test_room);
	g_test_add_func("/starve/limit", test_limit);
	return g_test_run();
}
