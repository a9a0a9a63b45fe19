/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw images: a file or block device whose bytes are the disk's.
 *
 *   submit --read in the page cache--> preadv2(RWF_NOWAIT), done at once: no thread switch
 *          --everything else---------> queue -> I/O thread -> io_uring (or the call itself)
 *
 * Waking another thread costs some 100 us on a nested host, copying a cached page less than one.
 * The ring belongs to the I/O thread alone; submitters hand requests over in a locked list and
 * wake it through an eventfd that the ring polls. Where io_uring is not to be had, POOL_THREADS
 * threads take requests from the same list and make the calls themselves.
 *
 * Cache modes: a write is done once the host has it (writeback, none, unsafe) or once the disk has
 * it (writethrough, directsync); a flush does nothing (unsafe) or reaches the disk. none and
 * directsync come with a descriptor that has O_DIRECT, where data moves in whole sectors between
 * the disk and memory that is aligned as sectors are; a request whose memory is not goes through a
 * buffer of ours, piece by piece.
 */
#include "block/block.h"

#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_ENTRIES     128
#define POOL_THREADS     4
#define NOWAIT_MAX_BYTES (256 * KIB)
#define BOUNCE_BYTES     (256 * KIB)
#define TOUCHES_MAX      100 /* of one request's memory, before it counts as failed */

struct raw {
	struct block block;
	int fd, wake_fd;
	bool device, uring, direct;
	struct io_uring ring;
	unsigned in_ring; /* I/O thread only */
	u64 wake_count;   /* target of the ring's read of wake_fd */
	pthread_t threads[POOL_THREADS];
	unsigned thread_count;

	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct block_request *head, **tail;
	unsigned outstanding; /* handed in, not done */
	bool quit, woken;
};

static struct raw *raw_of(struct block *block)
{
	return container_of(block, struct raw, block);
}

static void complete(struct raw *raw, struct block_request *r, int result)
{
	if (result < 0 && result != -ENOTSUP)
		block_failed(&raw->block, r, result);
	block_finish(r, result);
	pthread_mutex_lock(&raw->lock);
	if (--raw->outstanding == 0)
		pthread_cond_broadcast(&raw->idle);
	pthread_mutex_unlock(&raw->lock);
}

/* Part of a transfer is done: the rest of its vectors, at most IOV_PART of them at a time. */
#define IOV_PART 64

static unsigned remaining(const struct block_request *r, struct iovec part[IOV_PART])
{
	u64 skip = r->progress;
	unsigned n = 0;

	for (unsigned i = 0; i < r->iov_count && n < IOV_PART; i++) {
		if (skip >= r->iov[i].iov_len) {
			skip -= r->iov[i].iov_len;
			continue;
		}
		part[n].iov_base = (u8 *)r->iov[i].iov_base + skip;
		part[n++].iov_len = r->iov[i].iov_len - skip;
		skip = 0;
	}
	return n;
}

static int deallocate(struct raw *raw, int mode, u64 offset, u64 bytes)
{
	u64 range[2] = { offset, bytes };

	if (raw->device && (mode & FALLOC_FL_PUNCH_HOLE))
		return ioctl(raw->fd, BLKDISCARD, range) ? -errno : 0;
	if (raw->device)
		return ioctl(raw->fd, BLKZEROOUT, range) ? -errno : 0;
	return fallocate(raw->fd, mode | FALLOC_FL_KEEP_SIZE, offset, bytes) ? -errno : 0;
}

static int write_zeros_by_hand(struct raw *raw, u64 offset, u64 bytes)
{
	static const u8 zeros[64 * KIB] __attribute__((aligned(PAGE_SIZE)));

	while (bytes) {
		ssize_t n = pwrite(raw->fd, zeros, MIN(bytes, sizeof(zeros)), offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		offset += n;
		bytes -= n;
	}
	return 0;
}

static int write_zeroes(struct raw *raw, const struct block_request *r)
{
	int mode = r->unmap && raw->block.discard && !raw->device ? FALLOC_FL_PUNCH_HOLE
								  : FALLOC_FL_ZERO_RANGE;
	int err = deallocate(raw, mode, r->offset, r->bytes);

	return err == -EOPNOTSUPP || err == -EINVAL ? write_zeros_by_hand(raw, r->offset, r->bytes)
						    : err;
}

/* The host answers a transfer to memory that it cannot provide with EFAULT. A touch of the same
 * memory waits for it (machine/fault.h). */
static void touch(const struct iovec *iov, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const volatile u8 *p = iov[i].iov_base;

		for (size_t at = 0; at < iov[i].iov_len; at += PAGE_SIZE)
			(void)p[at];
		if (iov[i].iov_len)
			(void)p[iov[i].iov_len - 1];
	}
}

/* --- direct I/O --- */

static bool aligned(const struct block_request *r)
{
	for (unsigned i = 0; i < r->iov_count; i++)
		if (((uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len) % BLOCK_SECTOR)
			return false;
	return true;
}

static bool needs_bounce(const struct raw *raw, const struct block_request *r)
{
	return raw->direct && (r->op == BLOCK_READ || r->op == BLOCK_WRITE) && !aligned(r);
}

/* Between @bounce and @bytes of the request's memory from its progress on. */
static void copy_bounce(const struct block_request *r, u8 *bounce, size_t bytes)
{
	u64 skip = r->progress;

	for (unsigned i = 0; i < r->iov_count && bytes; i++) {
		u8 *base = r->iov[i].iov_base;
		size_t n;

		if (skip >= r->iov[i].iov_len) {
			skip -= r->iov[i].iov_len;
			continue;
		}
		n = MIN(bytes, r->iov[i].iov_len - skip);
		if (r->op == BLOCK_READ)
			memcpy(base + skip, bounce, n);
		else
			memcpy(bounce, base + skip, n);
		bounce += n;
		bytes -= n;
		skip = 0;
	}
}

static int transfer_through(struct raw *raw, struct block_request *r, u8 *bounce)
{
	while (r->progress < r->bytes) {
		size_t n = MIN(r->bytes - r->progress, BOUNCE_BYTES);
		u64 offset = r->offset + r->progress;
		ssize_t done;

		if (r->op == BLOCK_WRITE)
			copy_bounce(r, bounce, n);
		do
			done = r->op == BLOCK_READ ? pread(raw->fd, bounce, n, offset)
						   : pwrite(raw->fd, bounce, n, offset);
		while (done < 0 && errno == EINTR);
		/* less than a sector is the end of a file that shrank */
		if (done < (ssize_t)BLOCK_SECTOR)
			return done < 0 ? -errno : -EIO;
		done = ALIGN_DOWN(done, BLOCK_SECTOR);
		if (r->op == BLOCK_READ)
			copy_bounce(r, bounce, done);
		r->progress += done;
	}
	return 0;
}

static int transfer_bounced(struct raw *raw, struct block_request *r)
{
	void *bounce;
	int err;

	if (posix_memalign(&bounce, PAGE_SIZE, BOUNCE_BYTES))
		return -ENOMEM;
	err = transfer_through(raw, r, bounce);
	free(bounce);
	return err;
}

/* --- the calls --- */

/* Whatever the ring does not do, and everything in the pool: the calls, made to block. */
static int transfer_blocking(struct raw *raw, struct block_request *r)
{
	struct iovec part[IOV_PART];
	unsigned touched = 0;

	if (needs_bounce(raw, r))
		return transfer_bounced(raw, r);
	while (r->progress < r->bytes) {
		unsigned n = remaining(r, part);
		ssize_t done = r->op == BLOCK_READ
				       ? preadv(raw->fd, part, n, r->offset + r->progress)
				       : pwritev(raw->fd, part, n, r->offset + r->progress);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EFAULT && touched++ < TOUCHES_MAX) {
			touch(part, n);
			continue;
		}
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		r->progress += done;
	}
	return 0;
}

static bool writes_through(const struct raw *raw)
{
	return raw->block.cache == BLOCK_CACHE_WRITETHROUGH ||
	       raw->block.cache == BLOCK_CACHE_DIRECTSYNC;
}

/* @err, or that of the sync which ends a write where writes go through. */
static int end_write(const struct raw *raw, int err)
{
	return !err && writes_through(raw) && fdatasync(raw->fd) ? -errno : err;
}

static int run_blocking(struct raw *raw, struct block_request *r)
{
	int err;

	switch (r->op) {
	case BLOCK_READ: return transfer_blocking(raw, r);
	case BLOCK_WRITE: return end_write(raw, transfer_blocking(raw, r));
	case BLOCK_FLUSH:
		if (raw->block.cache == BLOCK_CACHE_UNSAFE)
			return 0;
		return fdatasync(raw->fd) ? -errno : 0;
	case BLOCK_DISCARD:
		err = deallocate(raw, FALLOC_FL_PUNCH_HOLE, r->offset, r->bytes);
		return err == -EOPNOTSUPP ? 0 : err; /* a hint */
	default: return end_write(raw, write_zeroes(raw, r));
	}
}

static struct block_request *take_locked(struct raw *raw)
{
	struct block_request *r = raw->head;

	if (r) {
		raw->head = r->next;
		if (!raw->head)
			raw->tail = &raw->head;
	}
	return r;
}

static void *pool_thread(void *arg)
{
	struct raw *raw = arg;
	struct block_request *r;

	pthread_setname_np(pthread_self(), "disk");
	pthread_mutex_lock(&raw->lock);
	for (;;) {
		r = take_locked(raw);
		if (!r && raw->quit)
			break;
		if (!r) {
			pthread_cond_wait(&raw->work, &raw->lock);
			continue;
		}
		pthread_mutex_unlock(&raw->lock);
		complete(raw, r, run_blocking(raw, r));
		pthread_mutex_lock(&raw->lock);
	}
	pthread_mutex_unlock(&raw->lock);
	return NULL;
}

/* The ring. A transfer takes one entry, with as many vectors as the request has; a short one is
 * submitted again for the rest by blocking calls, which happens at end of file and on errors. */

static bool ring_does(const struct raw *raw, const struct block_request *r)
{
	if (r->op == BLOCK_FLUSH)
		return raw->block.cache != BLOCK_CACHE_UNSAFE;
	if (needs_bounce(raw, r) || r->iov_count > 1024)
		return false;
	return r->op == BLOCK_READ || (r->op == BLOCK_WRITE && !writes_through(raw));
}

static void queue_entry(struct raw *raw, struct block_request *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&raw->ring);

	if (r->op == BLOCK_READ)
		io_uring_prep_readv(sqe, raw->fd, r->iov, r->iov_count, r->offset);
	else if (r->op == BLOCK_WRITE)
		io_uring_prep_writev(sqe, raw->fd, r->iov, r->iov_count, r->offset);
	else
		io_uring_prep_fsync(sqe, raw->fd, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_data(sqe, r);
	raw->in_ring++;
}

static void queue_wake(struct raw *raw)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&raw->ring);

	io_uring_prep_read(sqe, raw->wake_fd, &raw->wake_count, sizeof(raw->wake_count), 0);
	io_uring_sqe_set_data(sqe, NULL);
}

static void reap(struct raw *raw, struct block_request *r, int result)
{
	raw->in_ring--;
	if (r->op == BLOCK_FLUSH) {
		complete(raw, r, MIN(result, 0));
		return;
	}
	if (result == -EFAULT || (result >= 0 && (u64)result < r->bytes)) {
		r->progress = MAX(result, 0);
		result = transfer_blocking(raw, r);
	}
	complete(raw, r, MIN(result, 0));
}

/* Moves requests from the list to the ring; what the ring does not do is done here and now. */
static void feed_ring(struct raw *raw)
{
	struct block_request *r;

	while (raw->in_ring < RING_ENTRIES - 1) {
		pthread_mutex_lock(&raw->lock);
		r = take_locked(raw);
		pthread_mutex_unlock(&raw->lock);
		if (!r)
			return;
		if (ring_does(raw, r))
			queue_entry(raw, r);
		else
			complete(raw, r, run_blocking(raw, r));
	}
}

static bool quitting(struct raw *raw)
{
	bool quit;

	pthread_mutex_lock(&raw->lock);
	quit = raw->quit && !raw->head && !raw->in_ring;
	pthread_mutex_unlock(&raw->lock);
	return quit;
}

static void *ring_thread(void *arg)
{
	struct raw *raw = arg;
	struct io_uring_cqe *cqe;

	pthread_setname_np(pthread_self(), "disk");
	queue_wake(raw);
	while (!quitting(raw)) {
		feed_ring(raw);
		io_uring_submit_and_wait(&raw->ring, 1);
		while (io_uring_peek_cqe(&raw->ring, &cqe) == 0) {
			struct block_request *r = io_uring_cqe_get_data(cqe);
			int result = cqe->res;

			io_uring_cqe_seen(&raw->ring, cqe);
			if (r) {
				reap(raw, r, result);
				continue;
			}
			pthread_mutex_lock(&raw->lock);
			raw->woken = false;
			pthread_mutex_unlock(&raw->lock);
			queue_wake(raw);
		}
	}
	return NULL;
}

/* Submitting. */

/* A read that the page cache can answer. Any failure just takes the long way. */
static bool read_at_once(struct raw *raw, struct block_request *r)
{
	ssize_t n;

	if (raw->direct || r->op != BLOCK_READ || r->bytes > NOWAIT_MAX_BYTES ||
	    r->iov_count > IOV_MAX)
		return false;
	n = preadv2(raw->fd, r->iov, r->iov_count, r->offset, RWF_NOWAIT);
	return n == (ssize_t)r->bytes;
}

static void raw_submit(struct block *block, struct block_request *r)
{
	struct raw *raw = raw_of(block);
	const u64 one = 1;
	bool wake;

	if (read_at_once(raw, r)) {
		block_finish(r, 0);
		return;
	}
	pthread_mutex_lock(&raw->lock);
	raw->outstanding++;
	*raw->tail = r;
	raw->tail = &r->next;
	wake = !raw->woken;
	raw->woken = raw->uring;
	pthread_cond_signal(&raw->work);
	pthread_mutex_unlock(&raw->lock);
	if (raw->uring && wake && write(raw->wake_fd, &one, sizeof(one)) < 0)
		log_error("block", "cannot wake the disk's thread: %s", g_strerror(errno));
}

static void raw_drain(struct block *block)
{
	struct raw *raw = raw_of(block);

	pthread_mutex_lock(&raw->lock);
	while (raw->outstanding)
		pthread_cond_wait(&raw->idle, &raw->lock);
	pthread_mutex_unlock(&raw->lock);
}

static void stop_threads(struct raw *raw)
{
	const u64 one = 1;

	pthread_mutex_lock(&raw->lock);
	raw->quit = true;
	pthread_cond_broadcast(&raw->work);
	pthread_mutex_unlock(&raw->lock);
	if (raw->uring && write(raw->wake_fd, &one, sizeof(one)) < 0)
		log_error("block", "cannot wake the disk's thread: %s", g_strerror(errno));
	for (unsigned i = 0; i < raw->thread_count; i++)
		pthread_join(raw->threads[i], NULL);
}

static void free_raw(struct raw *raw)
{
	if (raw->uring)
		io_uring_queue_exit(&raw->ring);
	if (raw->wake_fd >= 0)
		close(raw->wake_fd);
	pthread_cond_destroy(&raw->work);
	pthread_cond_destroy(&raw->idle);
	pthread_mutex_destroy(&raw->lock);
	g_free(raw);
}

static void raw_close(struct block *block)
{
	struct raw *raw = raw_of(block);

	stop_threads(raw);
	close(raw->fd);
	free_raw(raw);
}

static u64 raw_allocated(struct block *block)
{
	const struct raw *raw = raw_of(block);
	struct stat st;

	return raw->device || fstat(raw->fd, &st) < 0 ? block->bytes : (u64)st.st_blocks * 512;
}

static int measure(struct raw *raw, GError **error)
{
	unsigned physical = 0;
	struct stat st;
	off_t end;

	if (fstat(raw->fd, &st) < 0)
		goto fail;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		g_set_error(error, BLOCK_ERROR, EINVAL,
			    "a raw image must be a file or a block device");
		return -EINVAL;
	}
	raw->device = S_ISBLK(st.st_mode);
	end = lseek(raw->fd, 0, SEEK_END);
	if (end < 0)
		goto fail;
	raw->block.bytes = ALIGN_DOWN(end, BLOCK_SECTOR);
	raw->block.physical_block =
		raw->device && !ioctl(raw->fd, BLKPBSZGET, &physical) && physical >= 512 ? physical
											 : 4096;
	return 0;
fail:
	g_set_error(error, BLOCK_ERROR, errno, "cannot measure the disk image: %s",
		    g_strerror(errno));
	return -errno;
}

/* A disk of ours has sectors of 512 bytes. Storage that moves larger ones only, such as 4096, says
 * so when it is asked for a smaller one. */
static int check_direct(struct raw *raw, GError **error)
{
	void *sector;
	int err = 0;

	raw->direct = fcntl(raw->fd, F_GETFL) & O_DIRECT;
	if (!raw->direct)
		return 0;
	if (posix_memalign(&sector, BLOCK_SECTOR, BLOCK_SECTOR))
		err = ENOMEM;
	else if (pread(raw->fd, sector, BLOCK_SECTOR,
		       raw->block.bytes ? raw->block.bytes - BLOCK_SECTOR : 0) < 0)
		err = errno;
	if (err != ENOMEM)
		free(sector);
	if (err == EINVAL)
		g_set_error(error, BLOCK_ERROR, err,
			    "its storage takes no direct I/O in sectors of %d bytes; use a cache "
			    "mode other than none and directsync",
			    BLOCK_SECTOR);
	else if (err)
		g_set_error(error, BLOCK_ERROR, err, "cannot read the disk image: %s",
			    g_strerror(err));
	return -err;
}

/* The ring may read, write and sync what is open, and nothing else: seccomp does not see what is
 * asked of it. (By system call: Debian 12's library does not export the functions.) */
static bool open_ring(struct raw *raw)
{
	struct io_uring_restriction restrictions[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC },
	};

	if (io_uring_queue_init(RING_ENTRIES, &raw->ring, IORING_SETUP_R_DISABLED))
		return false;
	if (syscall(SYS_io_uring_register, raw->ring.ring_fd, IORING_REGISTER_RESTRICTIONS,
		    restrictions, ARRAY_LEN(restrictions)) ||
	    syscall(SYS_io_uring_register, raw->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
		    0)) {
		io_uring_queue_exit(&raw->ring);
		return false;
	}
	return true;
}

static int start_threads(struct raw *raw, GError **error)
{
	unsigned wanted = raw->uring ? 1 : POOL_THREADS;
	int err = 0;

	while (raw->thread_count < wanted && !err) {
		err = thread_start(&raw->threads[raw->thread_count],
				   raw->uring ? ring_thread : pool_thread, raw);
		if (!err)
			raw->thread_count++;
	}
	if (err)
		g_set_error(error, BLOCK_ERROR, err, "cannot start a disk's thread: %s",
			    g_strerror(err));
	return -err;
}

static struct block *raw_open(const struct block_config *config, GError **error)
{
	struct raw *raw = g_new0(struct raw, 1);

	raw->fd = config->fd;
	raw->wake_fd = -1;
	raw->tail = &raw->head;
	pthread_mutex_init(&raw->lock, NULL);
	pthread_cond_init(&raw->work, NULL);
	pthread_cond_init(&raw->idle, NULL);
	if (measure(raw, error) || check_direct(raw, error)) {
		free_raw(raw);
		return NULL;
	}
	if (!config->no_uring) {
		raw->wake_fd = eventfd(0, EFD_CLOEXEC);
		raw->uring = raw->wake_fd >= 0 && open_ring(raw);
	}
	if (start_threads(raw, error)) {
		stop_threads(raw);
		free_raw(raw);
		return NULL;
	}
	return &raw->block;
}

const struct block_driver block_driver_raw = {
	.name = "raw",
	.help = "the file's bytes are the disk's",
	.open = raw_open,
	.submit = raw_submit,
	.allocated = raw_allocated,
	.drain = raw_drain,
	.close = raw_close,
};
