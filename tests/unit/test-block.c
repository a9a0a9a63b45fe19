/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images: what is written is read again, by io_uring and by threads, through the host's page
 * cache and past it, from memory that is aligned as a disk's sectors are and from memory that is
 * not; discards and zeroes give the host its blocks back; what the host cannot do the log tells.
 */
#include "base/log.h"
#include "block/block.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_BYTES (8 * MIB)
#define DATA_BYTES (1 * MIB)

struct disk {
	struct block *block;
	char *path;
	int fd; /* a second one, to look at the file */
};

/* In the working directory, which is the build's: /tmp may be in memory, where nothing is direct.
 */
static struct disk disk_new(enum block_cache cache, bool direct, bool uring)
{
	struct block_config config = {
		.driver = "raw", .discard = true, .cache = cache, .no_uring = !uring
	};
	struct disk disk = { .path = g_strdup("block-XXXXXX") };
	GError *error = NULL;

	disk.fd = g_mkstemp(disk.path);
	g_assert_cmpint(disk.fd, >=, 0);
	g_assert_cmpint(ftruncate(disk.fd, DISK_BYTES), ==, 0);
	config.fd = open(disk.path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
	if (config.fd < 0 && errno == EINVAL) {
		g_test_skip("the build's file system has no direct I/O");
		return disk;
	}
	disk.block = block_open(&config, &error);
	g_assert_no_error(error);
	return disk;
}

static void disk_free(struct disk *disk)
{
	block_close(disk->block);
	close(disk->fd);
	unlink(disk->path);
	g_free(disk->path);
}

struct answer {
	struct block_request request;
	int result;
};

static void answered(struct block_request *request, int result)
{
	container_of(request, struct answer, request)->result = result;
}

static int ask(struct disk *disk, enum block_op op, u64 offset, u64 bytes, const struct iovec *iov,
	       unsigned count)
{
	struct answer a = { .request = { .op = op,
					 .unmap = true,
					 .offset = offset,
					 .bytes = bytes,
					 .iov = iov,
					 .iov_count = count,
					 .done = answered },
			    .result = 1 };

	block_submit(disk->block, &a.request);
	block_drain(disk->block);
	return a.result;
}

/* Memory at @skew bytes past a page, in vectors of uneven lengths when @skew is not 0. */
static unsigned cut(u8 *data, unsigned skew, struct iovec iov[4])
{
	const size_t odd = skew ? 1000 + skew : PAGE_SIZE;

	iov[0] = (struct iovec){ data + skew, odd };
	iov[1] = (struct iovec){ data + skew + odd, 300 * KIB };
	iov[2] = (struct iovec){ data + skew + odd + 300 * KIB, DATA_BYTES - 300 * KIB - odd };
	return 3;
}

static void check_round_trip(struct disk *disk, unsigned skew)
{
	u8 *out = aligned_alloc(PAGE_SIZE, DATA_BYTES + PAGE_SIZE);
	u8 *in = aligned_alloc(PAGE_SIZE, DATA_BYTES + PAGE_SIZE);
	struct iovec iov[4];

	for (size_t i = 0; i < DATA_BYTES + PAGE_SIZE; i++)
		out[i] = i * 7 + i / 251 + skew;
	memset(in, 0, DATA_BYTES + PAGE_SIZE);
	g_assert_cmpint(
		ask(disk, BLOCK_WRITE, 3 * BLOCK_SECTOR, DATA_BYTES, iov, cut(out, skew, iov)), ==,
		0);
	g_assert_cmpint(ask(disk, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	g_assert_cmpint(
		ask(disk, BLOCK_READ, 3 * BLOCK_SECTOR, DATA_BYTES, iov, cut(in, skew, iov)), ==,
		0);
	g_assert_cmpmem(in + skew, DATA_BYTES, out + skew, DATA_BYTES);
	g_assert_cmpint(pread(disk->fd, in, DATA_BYTES, 3 * BLOCK_SECTOR), ==, DATA_BYTES);
	g_assert_cmpmem(in, DATA_BYTES, out + skew, DATA_BYTES);
	free(in);
	free(out);
}

static u64 host_bytes(const struct disk *disk)
{
	struct stat st;

	g_assert_cmpint(fsync(disk->fd), ==, 0); /* blocks may be given at that time only */
	g_assert_cmpint(fstat(disk->fd, &st), ==, 0);
	return st.st_blocks * 512ull;
}

static void test_transfers(gconstpointer opaque)
{
	static const enum block_cache caches[] = { BLOCK_CACHE_WRITEBACK, BLOCK_CACHE_NONE,
						   BLOCK_CACHE_WRITETHROUGH, BLOCK_CACHE_DIRECTSYNC,
						   BLOCK_CACHE_UNSAFE };
	bool uring = GPOINTER_TO_INT(opaque);

	for (unsigned i = 0; i < ARRAY_LEN(caches); i++) {
		bool direct = caches[i] == BLOCK_CACHE_NONE || caches[i] == BLOCK_CACHE_DIRECTSYNC;
		struct disk disk = disk_new(caches[i], direct, uring);

		if (disk.block) {
			check_round_trip(&disk, 0);
			check_round_trip(&disk, 7);
		}
		disk_free(&disk);
	}
}

/* Nothing that is moved directly stays in the page cache. */
static void test_direct(void)
{
	struct disk disk = disk_new(BLOCK_CACHE_NONE, true, true);
	unsigned char resident[DATA_BYTES / PAGE_SIZE];
	unsigned count = 0;
	struct iovec iov;
	u8 *data = aligned_alloc(PAGE_SIZE, DATA_BYTES);
	void *map;

	if (disk.block) {
		memset(data, 0x5a, DATA_BYTES);
		iov = (struct iovec){ data, DATA_BYTES };
		g_assert_cmpint(ask(&disk, BLOCK_WRITE, 0, DATA_BYTES, &iov, 1), ==, 0);
		g_assert_cmpint(ask(&disk, BLOCK_READ, 0, DATA_BYTES, &iov, 1), ==, 0);
		map = mmap(NULL, DATA_BYTES, PROT_READ, MAP_SHARED, disk.fd, 0);
		g_assert_true(map != MAP_FAILED);
		g_assert_cmpint(mincore(map, DATA_BYTES, resident), ==, 0);
		for (size_t i = 0; i < sizeof(resident); i++)
			count += resident[i] & 1;
		g_assert_cmpuint(count, ==, 0);
		munmap(map, DATA_BYTES);
	}
	free(data);
	disk_free(&disk);
}

static void check_freed(enum block_op op)
{
	struct disk disk = disk_new(BLOCK_CACHE_WRITEBACK, false, true);
	u64 before;

	check_round_trip(&disk, 0);
	before = host_bytes(&disk);
	g_assert_cmpuint(before, >=, DATA_BYTES);
	g_assert_cmpint(ask(&disk, op, 64 * KIB, 512 * KIB, NULL, 0), ==, 0);
	if (host_bytes(&disk) == before)
		g_test_skip("the build's file system has no holes");
	else
		g_assert_cmpuint(host_bytes(&disk), ==, before - 512 * KIB);
	disk_free(&disk);
}

static void test_discard(void)
{
	check_freed(BLOCK_DISCARD);
}

static void test_zeroes(void)
{
	check_freed(BLOCK_WRITE_ZEROES);
}

/* A file that cannot be written any more. */
static void test_failures(void)
{
	static u8 data[4096];
	const struct iovec iov = { data, sizeof(data) };
	struct block_config config = { .driver = "raw", .name = "disk7" };
	struct disk disk = { .fd = memfd_create("disk", MFD_ALLOW_SEALING) };
	int log = memfd_create("log", 0);
	char text[4096] = "";

	g_assert_cmpint(ftruncate(disk.fd, DISK_BYTES), ==, 0);
	g_assert_cmpint(fcntl(disk.fd, F_ADD_SEALS, F_SEAL_WRITE), ==, 0);
	config.fd = dup(disk.fd);
	disk.block = block_open(&config, NULL);
	g_assert_nonnull(disk.block);
	log_open(log, LOG_INFO);
	for (int i = 0; i < 3; i++)
		g_assert_cmpint(ask(&disk, BLOCK_WRITE, 8192, sizeof(data), &iov, 1), ==, -EPERM);
	g_assert_cmpuint(disk.block->statistics->failures, ==, 3);
	g_assert_cmpuint(disk.block->statistics->write_requests, ==, 0);
	log_open(STDERR_FILENO, LOG_INFO);
	g_assert_cmpint(pread(log, text, sizeof(text) - 1, 0), >, 0);
	g_assert_nonnull(strstr(text, "disk7: writing 4096 bytes at 8192 failed: Operation not "
				      "permitted (error 1)"));
	g_assert_nonnull(strstr(text, "(error 2)")); /* and then at the fourth */
	g_assert_null(strstr(text, "(error 3)"));
	block_close(disk.block);
	close(disk.fd);
	close(log);
}

/* What is asked for is what is read by those who look at the published file. */
static void test_statistics(void)
{
	static u8 data[8192];
	const struct iovec iov = { data, sizeof(data) };
	struct block_config config = { .driver = "raw", .discard = true };
	int page = memfd_create("statistics", 0), fd = memfd_create("disk", MFD_ALLOW_SEALING);
	struct statistics mine, read;
	struct disk disk = { .fd = fd };
	const struct statistics_disk *s;

	g_assert_cmpint(ftruncate(page, statistics_bytes(2, 1) - 1), ==, 0);
	g_assert_false(statistics_map(&mine, page, 2, 1)); /* too short */
	g_assert_cmpint(ftruncate(page, statistics_bytes(2, 1)), ==, 0);
	g_assert_false(statistics_read(&read, page, 2, 1)); /* not written yet */
	g_assert_true(statistics_map(&mine, page, 2, 1));
	g_assert_cmpint(ftruncate(fd, DISK_BYTES), ==, 0);
	config.fd = dup(fd);
	config.statistics = &mine.disks[1];
	disk.block = block_open(&config, NULL);
	for (unsigned i = 0; i < 3; i++)
		g_assert_cmpint(ask(&disk, BLOCK_WRITE, 0, sizeof(data), &iov, 1), ==, 0);
	for (unsigned i = 0; i < 2; i++)
		g_assert_cmpint(ask(&disk, BLOCK_READ, 512 * i, sizeof(data), &iov, 1), ==, 0);
	g_assert_cmpint(ask(&disk, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	g_assert_cmpint(ask(&disk, BLOCK_DISCARD, 4096, 4096, NULL, 0), ==, 0);
	g_assert_cmpint(ask(&disk, BLOCK_WRITE_ZEROES, 4096, 8192, NULL, 0), ==, 0);
	g_assert_cmpint(ask(&disk, BLOCK_READ, DISK_BYTES, sizeof(data), &iov, 1), ==, -ERANGE);
	g_assert_true(statistics_read(&read, page, 2, 1));
	s = &read.disks[1];
	g_assert_cmpuint(s->write_requests, ==, 3);
	g_assert_cmpuint(s->write_bytes, ==, 3 * sizeof(data));
	g_assert_cmpuint(s->read_requests, ==, 2);
	g_assert_cmpuint(s->read_bytes, ==, 2 * sizeof(data));
	g_assert_cmpuint(s->flush_requests, ==, 1);
	g_assert_cmpuint(s->discard_requests, ==, 2);
	g_assert_cmpuint(s->discard_bytes, ==, 12288);
	g_assert_cmpuint(s->capacity, ==, DISK_BYTES);
	g_assert_cmpuint(s->failures, ==, 0); /* the last read was no failure of the host's */
	g_assert_cmpuint(s->write_ns, >, 0);
	g_assert_cmpuint(s->read_ns, >, 0);
	g_assert_cmpuint(read.disks[0].write_requests, ==, 0);
	statistics_clear(&read);
	g_assert_false(statistics_read(&read, page, 1, 1)); /* another guest's */
	g_assert_false(statistics_read(&read, page, 2, 2));
	g_assert_false(statistics_read(&read, page, STATISTICS_MAX + 1, 0));
	mine.header->magic++;
	g_assert_false(statistics_read(&read, page, 2, 1));
	block_close(disk.block);
	statistics_unmap(&mine);
	close(page);
	close(fd);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/block/transfers-uring", GINT_TO_POINTER(true), test_transfers);
	g_test_add_data_func("/block/transfers-threads", GINT_TO_POINTER(false), test_transfers);
	g_test_add_func("/block/direct", test_direct);
	g_test_add_func("/block/discard", test_discard);
	g_test_add_func("/block/write-zeroes", test_zeroes);
	g_test_add_func("/block/failures", test_failures);
	g_test_add_func("/block/statistics", test_statistics);
	return g_test_run();
}
