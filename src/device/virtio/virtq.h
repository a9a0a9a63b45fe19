/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split virtqueues (virtio 1.2 section 2.7), seen from the device.
 *
 *   driver: descriptor chain -> available ring
 *   device: virtq_pop -> struct virtq_chain -> work -> virtq_push -> used ring -> notify?
 *
 * Nothing in the rings is trusted: indices, lengths, flags and addresses are read once, checked,
 * then used. A ring that breaks the rules marks the queue broken; the device then asks for a reset
 * as the specification says (2.1.2), and the queue gives nothing more until it gets one.
 *
 * The addresses and the size are those of the moment of DRIVER_OK; what the driver writes to the
 * registers later has no effect (virtio.c keeps both apart).
 *
 * Locks: all functions but virtq_init want the queue's lock, which the caller takes.
 */
#ifndef LODGE_DEVICE_VIRTIO_VIRTQ_H
#define LODGE_DEVICE_VIRTIO_VIRTQ_H

#include "base/types.h"
#include <pthread.h>
#include <sys/uio.h>

struct vm;

#define VIRTQ_SIZE_MAX     1024
#define VIRTQ_SEGMENTS_MAX 256 /* descriptors in one chain */

struct virtq {
	struct vm *vm;
	pthread_mutex_t lock;
	u16 size;              /* entries, a power of two; 0: not active */
	u64 desc, avail, used; /* guest physical */
	bool indirect, event_idx;
	bool broken;
	u16 next_avail; /* the next entry of the available ring to look at */
	u16 used_index; /* entries ever put into the used ring */
	u16 signalled;  /* used_index at the last notification decision */
	bool signalled_valid;
};

/* One request: what the driver gives to read, then what it gives to write. Pointers are good until
 * the chain is pushed. */
struct virtq_chain {
	u16 head;
	unsigned out_count, in_count;
	u64 out_bytes, in_bytes;
	struct iovec iov[VIRTQ_SEGMENTS_MAX]; /* out_count readable ones, then in_count writable */
	gpa_t gpa[VIRTQ_SEGMENTS_MAX];
};

void virtq_init(struct virtq *q, struct vm *vm);
/* Starts the queue with these rings. -EINVAL: they are misaligned, of a bad size, or not RAM. */
int virtq_start(struct virtq *q, u16 size, u64 desc, u64 avail, u64 used, bool indirect,
		bool event_idx);
void virtq_stop(struct virtq *q);

/* Takes the next request: 1 with *@chain filled in, 0 none, -EINVAL the ring is broken. */
int virtq_pop(struct virtq *q, struct virtq_chain *chain);
/* Reads a request again that was popped and not pushed, by its head. 0; -EINVAL: what the guest has
 * made of it meanwhile breaks the rules. */
int virtq_again(struct virtq *q, u16 head, struct virtq_chain *chain);
/* Gives the last @count requests popped back, as if they had not been. */
void virtq_unpop(struct virtq *q, unsigned count);
/* Returns a request: @written bytes went to its writable part. Tells the accelerator. */
void virtq_push(struct virtq *q, const struct virtq_chain *chain, u32 written);
/* The same in two steps, for answers of several requests that the driver must see at once: fill the
 * @n-th next used entry, then publish @count of them. The writer reports its writes itself. */
void virtq_fill(struct virtq *q, unsigned n, u16 head, u32 written);
void virtq_publish(struct virtq *q, unsigned count);
/* Does the driver want an interrupt for what was pushed since the last call? */
bool virtq_should_notify(struct virtq *q);
/* Asks the driver to notify about requests that come later; true: some have come meanwhile. */
bool virtq_enable_notify(struct virtq *q);
/* Asks it not to, as a hint. */
void virtq_disable_notify(struct virtq *q);

/* Copies from the readable or to the writable part; returns how many bytes there were. */
size_t virtq_chain_read(const struct virtq_chain *chain, u64 offset, void *buf, size_t bytes);
size_t virtq_chain_write(const struct virtq_chain *chain, u64 offset, const void *buf,
			 size_t bytes);

#endif
