/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net (virtio 1.2 section 5.1): one receive and one transmit queue and a control queue.
 *
 *   transmit: notify -> pop -> net_send, header and all, straight from guest memory
 *             no room: the request goes back, net_client.writable continues
 *   receive:  backend's thread -> one frame into as many buffers as it needs (mergeable) -> one
 *             interrupt for each batch; no buffers: the backend waits for the driver's notification
 *
 * Checksum and segmentation offload are the backend's: frames carry virtio's header (net.h).
 *
 * Whether the card is plugged in is known by its configuration alone, which is part of its state.
 * While it is not, frames of both directions are taken and dropped.
 */
#include "net/net.h"
#include "device/virtio/virtio.h"
#include "machine/vm.h"
#include "state/state.h"

#include <string.h>

#define ID_NET             1
#define QUEUE_SIZE         256
#define HEADER_BYTES       12
#define NUM_BUFFERS_OFFSET 10 /* in the header */
#define RX_CHAINS_MAX      64 /* buffers that one frame may be spread over */

#define F_CSUM      BIT(0)
#define F_MAC       BIT(5)
#define F_HOST_TSO4 BIT(11)
#define F_HOST_TSO6 BIT(12)
#define F_MRG_RXBUF BIT(15)
#define F_STATUS    BIT(16)
#define F_CTRL_VQ   BIT(17)
#define F_CTRL_RX   BIT(18)

enum { Q_RX, Q_TX, Q_CTRL, QUEUES };

struct __attribute__((packed)) net_config_space {
	u8 mac[6];
	u16 status; /* bit 0: the link is up */
};

#define STATUS_OFFSET offsetof(struct net_config_space, status)
#define LINK_UP       BIT(0)

struct virtio_net {
	struct virtio v;
	struct net *net;
	u8 mac[6];
	bool link;       /* the plan's: how it begins */
	bool rx_pending; /* under the receive queue's lock: pushed without an interrupt so far */
	/* Of the queue whose lock is held. */
	struct virtq_chain rx_first, rx_chain, tx_chain, ctrl_chain;
};

static struct virtio_net *net_of(struct virtio *v)
{
	return container_of(v, struct virtio_net, v);
}

/* Any thread. */
static bool link_is_up(const struct virtio_net *n)
{
	return __atomic_load_n(&n->v.config[STATUS_OFFSET], __ATOMIC_RELAXED) & LINK_UP;
}

/* Transmit. */

/* False: no room now. What is no frame counts as sent. */
static bool transmit_chain(struct virtio_net *n)
{
	const struct virtq_chain *c = &n->tx_chain;

	if (c->out_bytes < NET_FRAME_MIN || c->out_bytes > NET_FRAME_MAX || !n->net ||
	    !link_is_up(n))
		return true;
	return net_send(n->net, c->iov, c->out_count);
}

static void transmit(struct virtio_net *n)
{
	struct virtq *q = &n->v.queues[Q_TX];
	bool notify = false, full = false;

	pthread_mutex_lock(&q->lock);
	do {
		virtq_disable_notify(q);
		while (!full && virtq_pop(q, &n->tx_chain) > 0) {
			full = !transmit_chain(n);
			if (full)
				virtq_unpop(q, 1);
			else
				virtq_push(q, &n->tx_chain, 0);
		}
	} while (!full && virtq_enable_notify(q));
	if (q->used_index != q->signalled)
		notify = virtq_should_notify(q);
	pthread_mutex_unlock(&q->lock);
	if (notify)
		virtio_notify(&n->v, Q_TX);
}

static void net_writable(void *opaque)
{
	struct virtio_net *n = opaque;

	if (__atomic_load_n(&n->v.running, __ATOMIC_ACQUIRE))
		transmit(n);
}

/* Receive. */

/* Takes a buffer, asking to be told about new ones if there is none. */
static bool pop_buffer(struct virtq *q, struct virtq_chain *chain)
{
	for (;;) {
		int got = virtq_pop(q, chain);

		if (got)
			return got > 0;
		if (!virtq_enable_notify(q))
			return false;
	}
}

static void report(struct virtq *q, const struct virtq_chain *c, u64 written)
{
	for (unsigned i = 0; i < c->in_count && written; i++) {
		u64 bytes = MIN(c->iov[c->out_count + i].iov_len, written);

		vm_mem_written(q->vm, c->gpa[c->out_count + i], bytes);
		written -= bytes;
	}
}

/* Spreads one frame over buffers. False: there are too few now. The first buffer's header says how
 * many there are, so all become visible to the driver together. */
static bool receive_locked(struct virtio_net *n, struct virtq *q, const u8 *frame, size_t bytes)
{
	u16 count = 0, limit = virtio_has(&n->v, F_MRG_RXBUF) ? RX_CHAINS_MAX : 1;
	u64 done = 0;

	while (done < bytes && count < limit) {
		struct virtq_chain *c = count ? &n->rx_chain : &n->rx_first;
		u64 put;

		if (!pop_buffer(q, c)) {
			virtq_unpop(q, count);
			return false;
		}
		if (!count && c->in_bytes < NET_HEADER_BYTES) {
			q->broken = true;
			return true;
		}
		put = virtq_chain_write(c, 0, frame + done, bytes - done);
		done += put;
		report(q, c, put);
		virtq_fill(q, count++, c->head, put);
	}
	if (done < bytes) { /* buffers too small for it: the frame is dropped */
		virtq_unpop(q, count);
		return true;
	}
	virtq_chain_write(&n->rx_first, NUM_BUFFERS_OFFSET, &count, sizeof(count));
	virtq_publish(q, count);
	n->rx_pending = true;
	return true;
}

static bool net_receive(void *opaque, const u8 *frame, size_t bytes)
{
	struct virtio_net *n = opaque;
	struct virtq *q = &n->v.queues[Q_RX];
	bool taken, broken;

	if (!__atomic_load_n(&n->v.running, __ATOMIC_ACQUIRE) || !pci_bus_master(&n->v.pci) ||
	    !link_is_up(n))
		return true; /* nobody is listening */
	pthread_mutex_lock(&q->lock);
	taken = !q->size || q->broken || receive_locked(n, q, frame, bytes);
	broken = q->broken;
	pthread_mutex_unlock(&q->lock);
	if (broken)
		virtio_needs_reset(&n->v, "the receive ring is broken");
	return taken || broken;
}

static void net_batch_end(void *opaque)
{
	struct virtio_net *n = opaque;
	struct virtq *q = &n->v.queues[Q_RX];
	bool notify;

	pthread_mutex_lock(&q->lock);
	notify = n->rx_pending && virtq_should_notify(q);
	n->rx_pending = false;
	pthread_mutex_unlock(&q->lock);
	if (notify)
		virtio_notify(&n->v, Q_RX);
}

/* Control: promiscuous mode and the like. Every frame is delivered anyway, so all is well. */
static void control(struct virtio_net *n)
{
	struct virtq *q = &n->v.queues[Q_CTRL];
	bool notify = false;

	pthread_mutex_lock(&q->lock);
	do {
		while (virtq_pop(q, &n->ctrl_chain) > 0) {
			u8 command[2] = { 0 }, ack;

			virtq_chain_read(&n->ctrl_chain, 0, command, sizeof(command));
			/* receive modes and the MAC filter: every frame comes anyway */
			ack = command[0] == 0 || (command[0] == 1 && command[1] == 0) ? 0 : 1;
			virtq_push(q, &n->ctrl_chain,
				   virtq_chain_write(&n->ctrl_chain, 0, &ack, 1));
		}
	} while (virtq_enable_notify(q));
	if (q->used_index != q->signalled)
		notify = virtq_should_notify(q);
	pthread_mutex_unlock(&q->lock);
	if (notify)
		virtio_notify(&n->v, Q_CTRL);
}

static void net_notify(struct virtio *v, unsigned queue)
{
	struct virtio_net *n = net_of(v);

	if (queue == Q_TX)
		transmit(n);
	else if (queue == Q_CTRL)
		control(n);
	else if (n->net)
		net_resume(n->net);
}

static void net_start(struct virtio *v)
{
	if (net_of(v)->net)
		net_resume(net_of(v)->net);
}

static const struct virtio_class net_class = {
	.id = ID_NET,
	.pci_class = 0x020000,
	.notify = net_notify,
	.start = net_start,
};

static void attach(struct virtio_net *n, bool on)
{
	const struct net_client client = { .opaque = n,
					   .receive = net_receive,
					   .batch_end = net_batch_end,
					   .writable = net_writable };

	if (n->net)
		net_attach(n->net, on ? &client : NULL);
}

/* While the machine is stopped frames wait in the socket. */
static void net_quiesce(struct device *dev)
{
	attach(container_of(dev, struct virtio_net, v.pci.dev), false);
}

static void net_resume_device(struct device *dev)
{
	attach(container_of(dev, struct virtio_net, v.pci.dev), true);
	virtio_resume(dev);
}

/* What waits for buffers or for room is dropped, too, when its side is woken the next time; for the
 * frame that has come already, that is now. */
static void net_set_link(struct device *dev, bool up)
{
	struct virtio_net *n = container_of(dev, struct virtio_net, v.pci.dev);

	pthread_mutex_lock(&n->v.lock);
	if (link_is_up(n) != up) {
		__atomic_store_n(&n->v.config[STATUS_OFFSET], up ? LINK_UP : 0, __ATOMIC_RELAXED);
		virtio_config_changed(&n->v, true);
	}
	pthread_mutex_unlock(&n->v.lock);
	if (n->net)
		net_resume(n->net);
}

static int net_realize(struct device *dev, GError **error)
{
	struct virtio_net *n = container_of(dev, struct virtio_net, v.pci.dev);
	struct net_config_space c = { .status = n->link ? LINK_UP : 0 };

	memcpy(c.mac, n->mac, sizeof(c.mac));
	memcpy(n->v.config, &c, sizeof(c));
	return virtio_realize(&n->v, &net_class,
			      F_CSUM | F_MAC | F_HOST_TSO4 | F_HOST_TSO6 | F_MRG_RXBUF | F_STATUS |
				      F_CTRL_VQ | F_CTRL_RX,
			      QUEUES, QUEUE_SIZE, sizeof(c), error);
}

static void net_destroy(struct device *dev)
{
	attach(container_of(dev, struct virtio_net, v.pci.dev), false);
	virtio_destroy(dev);
}

static const struct state_field net_state[] = {
	VIRTIO_STATE(struct virtio_net, v),
	STATE_END,
};

static const struct device_option net_options[] = {
	VIRTIO_OPTIONS(struct virtio_net, v),
	{ .name = "backend",
	  .kind = OPTION_NET,
	  .offset = offsetof(struct virtio_net, net),
	  .help = "what it is plugged into; nothing if absent" },
	{ .name = "mac",
	  .kind = OPTION_MAC,
	  .offset = offsetof(struct virtio_net, mac),
	  .required = true,
	  .help = "MAC address" },
	{ .name = "link",
	  .kind = OPTION_BOOL,
	  .offset = offsetof(struct virtio_net, link),
	  .init = true,
	  .help = "whether it is plugged in" },
	{ .name = NULL },
};

const struct device_type device_virtio_net = {
	.name = "virtio-net",
	.help = "virtio network card",
	.bytes = sizeof(struct virtio_net),
	.flags = DEVICE_PCI,
	.options = net_options,
	.state = net_state,
	.realize = net_realize,
	.reset = virtio_reset,
	.quiesce = net_quiesce,
	.resume = net_resume_device,
	.set_link = net_set_link,
	.post_load = virtio_post_load,
	.destroy = net_destroy,
};
