/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-balloon (virtio 1.2 section 5.5): the guest gives memory back to the host.
 *
 *   inflate queue    arrays of page numbers whose contents the guest gives up
 *   deflate queue    page numbers it takes back: nothing to do, the host provides on touch
 *   reporting queue  ranges of free memory, given up without being asked
 *
 * Memory given up is punched out of the memfd: the next touch finds zeros. Pages are taken in runs,
 * at most PAGES_MAX for one request; what a guest lists beyond that stays where it is.
 */
#include "device/virtio/virtio.h"
#include "machine/vm.h"
#include "state/state.h"

#include <string.h>

#define ID_BALLOON 5
#define QUEUE_SIZE 128
#define PAGES_MAX  16384

#define F_DEFLATE_ON_OOM BIT(2)
#define F_REPORTING      BIT(5)

enum { Q_INFLATE, Q_DEFLATE, Q_REPORTING, QUEUES };

struct balloon_config {
	u32 num_pages, actual; /* 4 KiB pages: wanted and reached */
};

struct virtio_balloon {
	struct virtio v;
	struct virtq_chain chain; /* under the queue's lock it came from; see notify */
	pthread_mutex_t work;     /* one queue at a time */
};

static struct virtio_balloon *balloon_of(struct virtio *v)
{
	return container_of(v, struct virtio_balloon, v);
}

/* Page numbers come in any order, mostly neighbours. */
static void inflate(struct virtio_balloon *b)
{
	struct vm *vm = b->v.pci.dev.vm;
	u64 count = MIN(b->chain.out_bytes / 4, PAGES_MAX), run = 0;
	gpa_t start = 0;

	for (u64 i = 0; i < count; i++) {
		gpa_t page;
		u32 number;

		virtq_chain_read(&b->chain, 4 * i, &number, 4);
		page = (u64)number << PAGE_SHIFT;
		if (run && page == start + run) {
			run += PAGE_SIZE;
			continue;
		}
		if (run)
			vm_mem_discard(vm, start, run);
		start = page;
		run = PAGE_SIZE;
	}
	if (run)
		vm_mem_discard(vm, start, run);
}

/* The writable part of the chain is the memory itself. */
static void give_up(struct virtio_balloon *b)
{
	struct virtq_chain *c = &b->chain;

	for (unsigned i = 0; i < c->in_count; i++) {
		gpa_t start = c->gpa[c->out_count + i];
		u64 bytes = c->iov[c->out_count + i].iov_len;

		if (!(start % PAGE_SIZE) && !(bytes % PAGE_SIZE))
			vm_mem_discard(b->v.pci.dev.vm, start, bytes);
	}
}

static void balloon_notify(struct virtio *v, unsigned queue)
{
	struct virtio_balloon *b = balloon_of(v);
	struct virtq *q = &v->queues[queue];
	bool notify = false;

	pthread_mutex_lock(&b->work);
	pthread_mutex_lock(&q->lock);
	do {
		while (virtq_pop(q, &b->chain) > 0) {
			if (queue == Q_INFLATE)
				inflate(b);
			else if (queue == Q_REPORTING)
				give_up(b);
			virtq_push(q, &b->chain, 0);
		}
	} while (virtq_enable_notify(q));
	if (q->used_index != q->signalled)
		notify = virtq_should_notify(q);
	pthread_mutex_unlock(&q->lock);
	pthread_mutex_unlock(&b->work);
	if (notify)
		virtio_notify(v, queue);
}

static const struct virtio_class balloon_class = {
	.id = ID_BALLOON,
	.pci_class = 0x00ff00,
	.notify = balloon_notify,
};

static struct balloon_config get_config(const struct virtio_balloon *b)
{
	struct balloon_config c;

	memcpy(&c, b->v.config, sizeof(c));
	return c;
}

/* Asks the guest to come down, or up, to @bytes. */
static void set_target(struct vm *vm, u64 bytes)
{
	struct virtio_balloon *b =
		container_of(vm->balloon.device, struct virtio_balloon, v.pci.dev);
	u32 pages = bytes < vm->memory.bytes ? (vm->memory.bytes - bytes) >> PAGE_SHIFT : 0;

	pthread_mutex_lock(&b->v.lock);
	memcpy(b->v.config + offsetof(struct balloon_config, num_pages), &pages, 4);
	virtio_config_changed(&b->v, true);
	pthread_mutex_unlock(&b->v.lock);
}

static u64 get_actual(struct vm *vm)
{
	struct virtio_balloon *b =
		container_of(vm->balloon.device, struct virtio_balloon, v.pci.dev);
	u64 taken;

	pthread_mutex_lock(&b->v.lock);
	taken = (u64)get_config(b).actual << PAGE_SHIFT;
	pthread_mutex_unlock(&b->v.lock);
	return taken < vm->memory.bytes ? vm->memory.bytes - taken : 0;
}

static int balloon_realize(struct device *dev, GError **error)
{
	struct virtio_balloon *b = container_of(dev, struct virtio_balloon, v.pci.dev);

	pthread_mutex_init(&b->work, NULL);
	memset(b->v.config_writable + offsetof(struct balloon_config, actual), 0xff, 4);
	dev->vm->balloon.device = dev;
	dev->vm->balloon.set_target = set_target;
	dev->vm->balloon.get_actual = get_actual;
	return virtio_realize(&b->v, &balloon_class, F_DEFLATE_ON_OOM | F_REPORTING, QUEUES,
			      QUEUE_SIZE, sizeof(struct balloon_config), error);
}

static void balloon_reset(struct device *dev)
{
	struct virtio_balloon *b = container_of(dev, struct virtio_balloon, v.pci.dev);

	virtio_reset(dev);
	memset(b->v.config, 0, sizeof(struct balloon_config));
}

static void balloon_destroy(struct device *dev)
{
	virtio_destroy(dev);
	pthread_mutex_destroy(&container_of(dev, struct virtio_balloon, v.pci.dev)->work);
}

static const struct state_field balloon_state[] = {
	VIRTIO_STATE(struct virtio_balloon, v),
	STATE_END,
};

static const struct device_option balloon_options[] = {
	VIRTIO_OPTIONS(struct virtio_balloon, v),
	{ .name = NULL },
};

const struct device_type device_virtio_balloon = {
	.name = "virtio-balloon",
	.help = "virtio memory balloon",
	.bytes = sizeof(struct virtio_balloon),
	.flags = DEVICE_PCI,
	.options = balloon_options,
	.state = balloon_state,
	.realize = balloon_realize,
	.reset = balloon_reset,
	.resume = virtio_resume,
	.post_load = virtio_post_load,
	.destroy = balloon_destroy,
};
