/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk (virtio 1.2 section 5.2): any number of request queues over one disk.
 *
 *   notify -> virtq_pop -> struct request -> block_submit -> done -> status byte, virtq_push, MSI
 *
 * Requests are taken on the thread that notified: a vCPU's, or that of doorbell.c. Answers that
 * come inside block_submit() (cached reads) gather under one interrupt when the queue is empty;
 * later ones come on the disk's I/O thread.
 */
#include "block/block.h"
#include "device/virtio/virtio.h"
#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define ID_BLK            2
#define QUEUE_SIZE        256
#define SEGMENTS          (QUEUE_SIZE - 2) /* of data, beside header and status */
#define QUEUES_MAX        16
#define SERIAL_MAX        20
#define RANGE_SECTORS_MAX (1u << 22) /* of one discard or write-zeroes: 2 GiB */

#define F_SEG_MAX      BIT(2)
#define F_RO           BIT(5)
#define F_BLK_SIZE     BIT(6)
#define F_FLUSH        BIT(9)
#define F_TOPOLOGY     BIT(10)
#define F_MQ           BIT(12)
#define F_DISCARD      BIT(13)
#define F_WRITE_ZEROES BIT(14)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK, S_IOERR, S_UNSUPP };

struct __attribute__((packed)) blk_config {
	u64 capacity;
	u32 size_max, seg_max;
	u16 cylinders;
	u8 heads, sectors;
	u32 blk_size;
	u8 physical_block_exp, alignment_offset;
	u16 min_io_size;
	u32 opt_io_size;
	u8 writeback, unused0;
	u16 num_queues;
	u32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	u32 max_write_zeroes_sectors, max_write_zeroes_seg;
	u8 write_zeroes_may_unmap, unused1[3];
};

struct blk_header {
	u32 type, reserved;
	u64 sector;
};

struct blk_range {
	u64 sector;
	u32 sectors, flags;
};

/* What a failure of the host's does: the guest is told, is told otherwise, or is stopped and the
 * request tried again when it goes on. */
enum policy { POLICY_REPORT, POLICY_IGNORE, POLICY_STOP, POLICY_ENOSPACE };

struct virtio_blk;

struct request {
	struct block_request block;
	struct virtio_blk *blk;
	unsigned queue;
	u8 *status;           /* in guest memory */
	u64 in_bytes;         /* data for the guest */
	bool trimmed;         /* the last vector lacks the status byte */
	struct request *next; /* in the free list */
	struct virtq_chain chain;
};

struct virtio_blk {
	struct virtio v;
	struct block *block;
	char *serial;
	char *on_write_error, *on_read_error;
	enum policy write_policy, read_policy;
	u64 held[QUEUES_MAX * QUEUE_SIZE / 64]; /* under their queue's lock: heads of requests that
						 * wait for a resume, a bit each */
	u16 queues;
	u32 boot_index; /* for firmware */
	pthread_mutex_t free_lock;
	struct request *free;
	u8 taking[QUEUES_MAX]; /* per queue, under its lock: answers do not interrupt yet */
};

static struct virtio_blk *blk_of(struct virtio *v)
{
	return container_of(v, struct virtio_blk, v);
}

/* Requests are reused; there are never more than the queues have entries. */
static struct request *get_request(struct virtio_blk *b)
{
	struct request *r;

	pthread_mutex_lock(&b->free_lock);
	r = b->free;
	if (r)
		b->free = r->next;
	pthread_mutex_unlock(&b->free_lock);
	return r ? r : g_try_malloc(sizeof(*r));
}

static void put_request(struct virtio_blk *b, struct request *r)
{
	pthread_mutex_lock(&b->free_lock);
	r->next = b->free;
	b->free = r;
	pthread_mutex_unlock(&b->free_lock);
}

static void finish(struct request *r, u8 status)
{
	struct virtio_blk *b = r->blk;
	struct virtq *q = &b->v.queues[r->queue];
	unsigned queue = r->queue;
	u64 written = status == S_OK ? r->in_bytes + 1 : 1;
	bool notify;

	*r->status = status;
	if (r->trimmed)
		r->chain.iov[r->chain.out_count + r->chain.in_count - 1].iov_len++;
	/* The status is the last byte: after a failed read the data before it counts as written, so
	 * that whoever tracks writes sees the status too. */
	if (status != S_OK)
		written = r->chain.in_bytes;
	pthread_mutex_lock(&q->lock);
	virtq_push(q, &r->chain, written);
	notify = !b->taking[queue] && virtq_should_notify(q);
	pthread_mutex_unlock(&q->lock);
	put_request(b, r);
	if (notify)
		virtio_notify(&b->v, queue);
}

static bool is_wrong(int result)
{
	return result == -ENOTSUP || result == -EROFS || result == -EINVAL || result == -ERANGE;
}

/* Puts the request aside until the machine is resumed. */
static void hold(struct request *r, int result)
{
	struct virtio_blk *b = r->blk;
	struct virtq *q = &b->v.queues[r->queue];
	enum block_op op = r->block.op;

	pthread_mutex_lock(&q->lock);
	b->held[(r->queue * QUEUE_SIZE + r->chain.head) / 64] |= BIT(r->chain.head % 64);
	pthread_mutex_unlock(&q->lock);
	put_request(b, r);
	vm_io_failed(b->v.pci.dev.vm, b->block->name, -result, op != BLOCK_READ);
}

static void block_done(struct block_request *block, int result)
{
	struct request *r = container_of(block, struct request, block);
	enum policy policy = block->op == BLOCK_READ ? r->blk->read_policy : r->blk->write_policy;

	if (unlikely(result) && !is_wrong(result)) {
		if (policy == POLICY_STOP ||
		    (policy == POLICY_ENOSPACE && (result == -ENOSPC || result == -EDQUOT))) {
			hold(r, result);
			return;
		}
		if (policy == POLICY_IGNORE)
			result = 0;
	}
	finish(r, !result ? S_OK : result == -ENOTSUP ? S_UNSUPP : S_IOERR);
}

/* Leaves out the first @skip bytes of the readable part, or the last byte of the writable one. */
static unsigned trim_front(struct iovec *iov, unsigned count, u64 skip, struct iovec **start)
{
	while (count && skip >= iov->iov_len) {
		skip -= iov->iov_len;
		iov++;
		count--;
	}
	if (count) {
		iov->iov_base = (u8 *)iov->iov_base + skip;
		iov->iov_len -= skip;
	}
	*start = iov;
	return count;
}

static void submit_io(struct request *r, const struct blk_header *h)
{
	struct virtq_chain *c = &r->chain;
	bool write = h->type == T_OUT;
	struct iovec *iov = c->iov + c->out_count;
	unsigned count = c->in_count;
	u64 bytes = c->in_bytes - 1;

	/* virtq_push needs the writable vectors whole again, the readable ones not. */
	if (write) {
		count = trim_front(c->iov, c->out_count, sizeof(*h), &iov);
		bytes = c->out_bytes - sizeof(*h);
	} else {
		struct iovec *last = &iov[count - 1];

		if (--last->iov_len == 0)
			count--;
		r->in_bytes = bytes;
		r->trimmed = true;
	}
	r->block = (struct block_request){ .op = write ? BLOCK_WRITE : BLOCK_READ,
					   .offset = h->sector * BLOCK_SECTOR,
					   .bytes = bytes,
					   .iov = iov,
					   .iov_count = count,
					   .done = block_done };
	if (h->sector > UINT64_MAX / BLOCK_SECTOR)
		finish(r, S_IOERR);
	else
		block_submit(r->blk->block, &r->block);
}

static void submit_range(struct request *r, const struct blk_header *h)
{
	struct blk_range range;

	if (r->chain.out_bytes != sizeof(*h) + sizeof(range)) {
		finish(r, S_UNSUPP); /* one range a request, as the configuration says */
		return;
	}
	virtq_chain_read(&r->chain, sizeof(*h), &range, sizeof(range));
	if (range.flags & ~(h->type == T_WRITE_ZEROES ? 1u : 0u)) {
		finish(r, S_UNSUPP);
		return;
	}
	if (range.sectors > RANGE_SECTORS_MAX || range.sector > UINT64_MAX / BLOCK_SECTOR) {
		finish(r, S_IOERR);
		return;
	}
	r->block = (struct block_request){ .op = h->type == T_DISCARD ? BLOCK_DISCARD
								      : BLOCK_WRITE_ZEROES,
					   .unmap = range.flags & 1,
					   .offset = range.sector * BLOCK_SECTOR,
					   .bytes = (u64)range.sectors * BLOCK_SECTOR,
					   .done = block_done };
	block_submit(r->blk->block, &r->block);
}

static void submit_flush(struct request *r)
{
	r->block = (struct block_request){ .op = BLOCK_FLUSH, .done = block_done };
	block_submit(r->blk->block, &r->block);
}

static void answer_id(struct request *r)
{
	char id[SERIAL_MAX] = { 0 };

	if (r->blk->serial)
		memcpy(id, r->blk->serial, MIN(strlen(r->blk->serial), sizeof(id)));
	r->in_bytes = MIN(r->chain.in_bytes - 1, sizeof(id));
	virtq_chain_write(&r->chain, 0, id, r->in_bytes);
	/* Data and status are apart; all between them counts as written. */
	r->in_bytes = r->chain.in_bytes - 1;
	finish(r, S_OK);
}

/* A request without room for its header or status cannot be answered: the ring is broken. */
static bool well_formed(struct request *r, struct blk_header *h)
{
	struct virtq_chain *c = &r->chain;
	struct iovec *last;

	if (!c->in_count || virtq_chain_read(c, 0, h, sizeof(*h)) != sizeof(*h))
		return false;
	last = &c->iov[c->out_count + c->in_count - 1];
	r->status = (u8 *)last->iov_base + last->iov_len - 1;
	r->in_bytes = 0;
	r->trimmed = false;
	return true;
}

static void submit(struct request *r, const struct blk_header *h)
{
	switch (h->type) {
	case T_IN:
	case T_OUT: submit_io(r, h); break;
	case T_FLUSH: submit_flush(r); break;
	case T_GET_ID: answer_id(r); break;
	case T_DISCARD:
	case T_WRITE_ZEROES: submit_range(r, h); break;
	default: finish(r, S_UNSUPP);
	}
}

/* 1: one request was taken and submitted; 0: none; -1: the queue is broken. */
static int take_one(struct virtio_blk *b, unsigned queue)
{
	struct virtq *q = &b->v.queues[queue];
	struct request *r = get_request(b);
	struct blk_header h;
	int got;

	if (!r)
		return -1;
	pthread_mutex_lock(&q->lock);
	got = virtq_pop(q, &r->chain);
	r->blk = b;
	r->queue = queue;
	if (got > 0 && !well_formed(r, &h)) {
		q->broken = true;
		got = -1;
	}
	pthread_mutex_unlock(&q->lock);
	if (got > 0)
		submit(r, &h);
	else
		put_request(b, r);
	return got;
}

static void set_taking(struct virtio_blk *b, unsigned queue, int change)
{
	pthread_mutex_lock(&b->v.queues[queue].lock);
	b->taking[queue] += change;
	pthread_mutex_unlock(&b->v.queues[queue].lock);
}

static void blk_notify(struct virtio *v, unsigned queue)
{
	struct virtio_blk *b = blk_of(v);
	struct virtq *q = &v->queues[queue];
	bool notify, more;

	set_taking(b, queue, 1);
	do {
		while (take_one(b, queue) > 0)
			;
		pthread_mutex_lock(&q->lock);
		more = virtq_enable_notify(q);
		pthread_mutex_unlock(&q->lock);
	} while (more);
	pthread_mutex_lock(&q->lock);
	b->taking[queue]--;
	/* Another vCPU that is still taking will decide. */
	notify = !b->taking[queue] && q->used_index != q->signalled && virtq_should_notify(q);
	pthread_mutex_unlock(&q->lock);
	if (notify)
		virtio_notify(v, queue);
}

static void blk_stop(struct virtio *v)
{
	block_drain(blk_of(v)->block);
}

static void blk_forget(struct virtio *v)
{
	struct virtio_blk *b = blk_of(v);

	memset(b->held, 0, sizeof(b->held));
}

/* Submits a request that was held. */
static void submit_again(struct virtio_blk *b, unsigned queue, u16 head)
{
	struct virtq *q = &b->v.queues[queue];
	struct request *r = get_request(b);
	struct blk_header h;
	bool good;

	if (!r)
		return; /* it stays held */
	pthread_mutex_lock(&q->lock);
	b->held[(queue * QUEUE_SIZE + head) / 64] &= ~BIT(head % 64);
	r->blk = b;
	r->queue = queue;
	good = !virtq_again(q, head, &r->chain) && well_formed(r, &h);
	q->broken |= !good;
	pthread_mutex_unlock(&q->lock);
	if (good)
		submit(r, &h);
	else
		put_request(b, r);
}

static void blk_resume(struct device *dev)
{
	struct virtio_blk *b = container_of(dev, struct virtio_blk, v.pci.dev);

	for (unsigned i = 0; b->v.running && i < ARRAY_LEN(b->held); i++)
		for (u64 left = b->held[i]; left; left &= left - 1)
			submit_again(b, i * 64 / QUEUE_SIZE,
				     i * 64 % QUEUE_SIZE + __builtin_ctzll(left));
	virtio_resume(dev);
}

static const struct virtio_class blk_class = {
	.id = ID_BLK,
	.pci_class = 0x010000,
	.notify = blk_notify,
	.stop = blk_stop,
	.forget = blk_forget,
};

static int read_policy(const char *text, enum policy *policy, GError **error)
{
	static const char *const names[] = {
		[POLICY_REPORT] = "report",
		[POLICY_IGNORE] = "ignore",
		[POLICY_STOP] = "stop",
		[POLICY_ENOSPACE] = "enospace",
	};

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (!strcmp(text, names[i])) {
			*policy = i;
			return 0;
		}
	}
	g_set_error(error, VM_ERROR, EINVAL,
		    "'%s' is no way to treat errors; it must be report, ignore, stop or enospace",
		    text);
	return -EINVAL;
}

static void fill_config(struct virtio_blk *b)
{
	const struct block *block = b->block;
	u32 physical = block->physical_block / BLOCK_SECTOR;
	const struct blk_config c = {
		.capacity = block->bytes / BLOCK_SECTOR,
		.seg_max = SEGMENTS,
		.blk_size = BLOCK_SECTOR,
		.physical_block_exp = physical ? __builtin_ctz(physical) : 0,
		.min_io_size = physical,
		.num_queues = b->queues,
		.max_discard_sectors = RANGE_SECTORS_MAX,
		.max_discard_seg = 1,
		.discard_sector_alignment = physical,
		.max_write_zeroes_sectors = RANGE_SECTORS_MAX,
		.max_write_zeroes_seg = 1,
		.write_zeroes_may_unmap = 1,
	};

	memcpy(b->v.config, &c, sizeof(c));
}

static int blk_realize(struct device *dev, GError **error)
{
	struct virtio_blk *b = container_of(dev, struct virtio_blk, v.pci.dev);
	u64 features = F_SEG_MAX | F_BLK_SIZE | F_TOPOLOGY | F_FLUSH;

	pthread_mutex_init(&b->free_lock, NULL);
	if (read_policy(b->on_write_error ?: "enospace", &b->write_policy, error) ||
	    read_policy(b->on_read_error ?: "report", &b->read_policy, error))
		return -EINVAL;
	if (b->queues > 1)
		features |= F_MQ;
	if (b->block->readonly)
		features |= F_RO;
	else
		features |= F_WRITE_ZEROES | (b->block->discard ? F_DISCARD : 0);
	fill_config(b);
	return virtio_realize(&b->v, &blk_class, features, b->queues, QUEUE_SIZE,
			      sizeof(struct blk_config), error);
}

static void blk_destroy(struct device *dev)
{
	struct virtio_blk *b = container_of(dev, struct virtio_blk, v.pci.dev);

	virtio_destroy(dev);
	while (b->free) {
		struct request *r = b->free;

		b->free = r->next;
		g_free(r);
	}
	pthread_mutex_destroy(&b->free_lock);
}

static const struct state_field blk_state[] = {
	VIRTIO_STATE(struct virtio_blk, v),
	STATE(struct virtio_blk, held),
	STATE_END,
};

static const struct device_option blk_options[] = {
	VIRTIO_OPTIONS(struct virtio_blk, v),
	{ .name = "backend",
	  .kind = OPTION_BLOCK,
	  .offset = offsetof(struct virtio_blk, block),
	  .required = true,
	  .help = "the disk" },
	{ .name = "serial",
	  .kind = OPTION_STRING,
	  .offset = offsetof(struct virtio_blk, serial),
	  .max = SERIAL_MAX,
	  .help = "serial number the guest sees" },
	{ .name = "on_write_error",
	  .kind = OPTION_STRING,
	  .offset = offsetof(struct virtio_blk, on_write_error),
	  .max = 8,
	  .help = "report, ignore, stop or enospace (stop if the host has no room; the default)" },
	{ .name = "on_read_error",
	  .kind = OPTION_STRING,
	  .offset = offsetof(struct virtio_blk, on_read_error),
	  .max = 8,
	  .help = "report (the default), ignore or stop" },
	{ .name = "queues",
	  .kind = OPTION_U16,
	  .offset = offsetof(struct virtio_blk, queues),
	  .init = 1,
	  .min = 1,
	  .max = QUEUES_MAX,
	  .help = "request queues" },
	{ .name = "boot_index",
	  .kind = OPTION_U32,
	  .offset = offsetof(struct virtio_blk, boot_index),
	  .max = UINT32_MAX,
	  .help = "place in the firmware's boot order, from 1; 0: none" },
	{ .name = "ioeventfd",
	  .kind = OPTION_BOOL,
	  .offset = offsetof(struct virtio_blk, v.ioeventfd),
	  .init = true,
	  .help = "notifications do not stop the processor, where the engine can do that" },
	{ .name = NULL },
};

const struct device_type device_virtio_blk = {
	.name = "virtio-blk",
	.help = "virtio disk",
	.bytes = sizeof(struct virtio_blk),
	.flags = DEVICE_PCI,
	.options = blk_options,
	.state = blk_state,
	.realize = blk_realize,
	.reset = virtio_reset,
	.quiesce = virtio_quiesce,
	.resume = blk_resume,
	.post_load = virtio_post_load,
	.destroy = blk_destroy,
};
