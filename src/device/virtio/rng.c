/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-rng (virtio 1.2 section 5.4): the host's random numbers, at most QUOTA_BYTES a second.
 *
 * The quota keeps a guest that reads in a loop from spending a host core; when it is used up,
 * requests wait for the next period.
 */
#include "device/virtio/virtio.h"
#include "machine/vm.h"
#include "state/state.h"

#include <sys/random.h>

#define ID_RNG      4
#define QUEUE_SIZE  64
#define QUOTA_BYTES (1 * MIB)
#define PERIOD_NS   1000000000ull
#define PIECE_BYTES 4096 /* of one request; the rest is left unwritten, as the driver expects */

struct virtio_rng {
	struct virtio v;
	struct vm_timer timer;
	u64 period_start_ns, left; /* under the queue's lock */
	struct virtq_chain chain;  /* likewise */
};

static bool quota_locked(struct virtio_rng *r)
{
	struct vm_clock *clock = &r->v.pci.dev.vm->clock;
	u64 now = vm_clock_now(clock);

	if (now - r->period_start_ns >= PERIOD_NS) {
		r->period_start_ns = now;
		r->left = QUOTA_BYTES;
	}
	if (r->left)
		return true;
	vm_timer_arm(clock, &r->timer, r->period_start_ns + PERIOD_NS);
	return false;
}

static void fill_locked(struct virtio_rng *r, struct virtq *q)
{
	u8 bytes[PIECE_BYTES];
	size_t n = MIN(MIN(r->chain.in_bytes, sizeof(bytes)), r->left);
	ssize_t got = getrandom(bytes, n, 0);

	n = got > 0 ? virtq_chain_write(&r->chain, 0, bytes, got) : 0;
	r->left -= n;
	virtq_push(q, &r->chain, n);
}

static void rng_notify(struct virtio *v, unsigned queue)
{
	struct virtio_rng *r = container_of(v, struct virtio_rng, v);
	struct virtq *q = &v->queues[queue];
	bool notify = false;

	pthread_mutex_lock(&q->lock);
	do {
		while (quota_locked(r) && virtq_pop(q, &r->chain) > 0)
			fill_locked(r, q);
	} while (virtq_enable_notify(q) && r->left);
	if (q->used_index != q->signalled)
		notify = virtq_should_notify(q);
	pthread_mutex_unlock(&q->lock);
	if (notify)
		virtio_notify(v, queue);
}

static void rng_timer(void *opaque)
{
	struct virtio_rng *r = opaque;

	if (__atomic_load_n(&r->v.running, __ATOMIC_ACQUIRE))
		rng_notify(&r->v, 0);
}

static const struct virtio_class rng_class = {
	.id = ID_RNG,
	.pci_class = 0x00ff00,
	.notify = rng_notify,
};

static int rng_realize(struct device *dev, GError **error)
{
	struct virtio_rng *r = container_of(dev, struct virtio_rng, v.pci.dev);

	vm_timer_init(&r->timer, rng_timer, r);
	return virtio_realize(&r->v, &rng_class, 0, 1, QUEUE_SIZE, 0, error);
}

static void rng_reset(struct device *dev)
{
	struct virtio_rng *r = container_of(dev, struct virtio_rng, v.pci.dev);

	virtio_reset(dev);
	vm_timer_disarm(&dev->vm->clock, &r->timer);
	r->period_start_ns = 0;
	r->left = QUOTA_BYTES;
}

static const struct state_field rng_state[] = {
	VIRTIO_STATE(struct virtio_rng, v),
	STATE(struct virtio_rng, period_start_ns),
	STATE(struct virtio_rng, left),
	STATE_END,
};

static const struct device_option rng_options[] = {
	VIRTIO_OPTIONS(struct virtio_rng, v),
	{ .name = NULL },
};

const struct device_type device_virtio_rng = {
	.name = "virtio-rng",
	.help = "virtio random number source",
	.bytes = sizeof(struct virtio_rng),
	.flags = DEVICE_PCI,
	.options = rng_options,
	.state = rng_state,
	.realize = rng_realize,
	.reset = rng_reset,
	.resume = virtio_resume,
	.post_load = virtio_post_load,
	.destroy = virtio_destroy,
};
