/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Walking split virtqueues. See virtq.h.
 */
#include "device/virtio/virtq.h"

#include "machine/vm.h"

#include <errno.h>
#include <string.h>

#define DESC_NEXT     1
#define DESC_WRITE    2
#define DESC_INDIRECT 4

#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY     1

struct desc {
	u64 address;
	u32 bytes;
	u16 flags, next;
};

void virtq_init(struct virtq *q, struct vm *vm)
{
	memset(q, 0, sizeof(*q));
	q->vm = vm;
	pthread_mutex_init(&q->lock, NULL);
}

/* Ring fields. The rings were RAM when the queue started and RAM does not move; a failure here
 * would be our own mistake, and is treated like a broken ring. */

static u16 load16(struct virtq *q, gpa_t at)
{
	const u16 *p = vm_mem_ptr(q->vm, at, 2);

	if (!p) {
		q->broken = true;
		return 0;
	}
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store16(struct virtq *q, gpa_t at, u16 value)
{
	u16 *p = vm_mem_ptr(q->vm, at, 2);

	if (!p) {
		q->broken = true;
		return;
	}
	__atomic_store_n(p, value, __ATOMIC_RELEASE);
	vm_mem_written(q->vm, at, 2);
}

static gpa_t used_event(const struct virtq *q)
{
	return q->avail + 4 + 2 * q->size;
}

static gpa_t avail_event(const struct virtq *q)
{
	return q->used + 4 + 8 * q->size;
}

int virtq_start(struct virtq *q, u16 size, u64 desc, u64 avail, u64 used, bool indirect,
		bool event_idx)
{
	if (!size || size > VIRTQ_SIZE_MAX || (size & (size - 1)) || desc % 16 || avail % 2 ||
	    used % 4 || !vm_mem_ptr(q->vm, desc, 16 * size) ||
	    !vm_mem_ptr(q->vm, avail, 6 + 2 * size) || !vm_mem_ptr(q->vm, used, 6 + 8 * size))
		return -EINVAL;
	q->size = size;
	q->desc = desc;
	q->avail = avail;
	q->used = used;
	q->indirect = indirect;
	q->event_idx = event_idx;
	return 0;
}

void virtq_stop(struct virtq *q)
{
	q->size = 0;
	q->broken = q->signalled_valid = false;
	q->next_avail = q->used_index = q->signalled = 0;
}

static int broken(struct virtq *q)
{
	q->broken = true;
	return -EINVAL;
}

static int add_segment(struct virtq *q, struct virtq_chain *chain, const struct desc *d)
{
	unsigned n = chain->out_count + chain->in_count;
	void *p;

	if (n == VIRTQ_SEGMENTS_MAX || (!(d->flags & DESC_WRITE) && chain->in_count))
		return broken(q); /* too long, or readable after writable (2.7.4.2) */
	if (!d->bytes)
		return 0;
	p = vm_mem_ptr(q->vm, d->address, d->bytes);
	if (!p)
		return broken(q);
	chain->iov[n] = (struct iovec){ p, d->bytes };
	chain->gpa[n] = d->address;
	if (d->flags & DESC_WRITE) {
		chain->in_count++;
		chain->in_bytes += d->bytes;
	} else {
		chain->out_count++;
		chain->out_bytes += d->bytes;
	}
	return 0;
}

/* Follows the chain that starts at @index of a table of @entries. A chain longer than its table
 * loops. */
static int walk(struct virtq *q, struct virtq_chain *chain, gpa_t table, u32 entries, u16 index,
		bool inside)
{
	struct desc d;

	for (u32 steps = 0;; steps++, index = d.next) {
		int err;

		if (index >= entries || steps >= entries ||
		    vm_mem_read(q->vm, table + 16ull * index, &d, sizeof(d)))
			return broken(q);
		if (d.flags & DESC_INDIRECT) {
			if (inside || !q->indirect || (d.flags & DESC_NEXT) || !d.bytes ||
			    d.bytes % 16 || d.bytes / 16 > UINT16_MAX)
				return broken(q);
			return walk(q, chain, d.address, d.bytes / 16, 0, true);
		}
		err = add_segment(q, chain, &d);
		if (err || !(d.flags & DESC_NEXT))
			return err;
	}
}

int virtq_again(struct virtq *q, u16 head, struct virtq_chain *chain)
{
	if (!q->size || q->broken)
		return -EINVAL;
	chain->head = head;
	chain->out_count = chain->in_count = 0;
	chain->out_bytes = chain->in_bytes = 0;
	return walk(q, chain, q->desc, q->size, head, false) || q->broken ? -EINVAL : 0;
}

int virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
	u16 available;

	if (!q->size || q->broken)
		return q->broken ? -EINVAL : 0;
	available = load16(q, q->avail + 2);
	if (available == q->next_avail)
		return 0;
	if ((u16)(available - q->next_avail) > q->size)
		return broken(q);
	if (virtq_again(q, load16(q, q->avail + 4 + 2 * (q->next_avail & (q->size - 1))), chain))
		return -EINVAL;
	q->next_avail++;
	return 1;
}

void virtq_unpop(struct virtq *q, unsigned count)
{
	q->next_avail -= count;
}

/* The writable part of a chain that was written, for the accelerator. */
static void report_written(struct virtq *q, const struct virtq_chain *chain, u64 written)
{
	for (unsigned i = 0; i < chain->in_count && written; i++) {
		unsigned n = chain->out_count + i;
		u64 bytes = chain->iov[n].iov_len < written ? chain->iov[n].iov_len : written;

		vm_mem_written(q->vm, chain->gpa[n], bytes);
		written -= bytes;
	}
}

void virtq_fill(struct virtq *q, unsigned n, u16 head, u32 written)
{
	const u32 element[2] = { head, written };
	u16 index = q->used_index + n;

	if (q->size && !q->broken)
		vm_mem_write(q->vm, q->used + 4 + 8 * (index & (q->size - 1)), element,
			     sizeof(element));
}

void virtq_publish(struct virtq *q, unsigned count)
{
	if (!q->size || q->broken)
		return;
	q->used_index += count;
	store16(q, q->used + 2, q->used_index);
}

void virtq_push(struct virtq *q, const struct virtq_chain *chain, u32 written)
{
	report_written(q, chain, written);
	virtq_fill(q, 0, chain->head, written);
	virtq_publish(q, 1);
}

bool virtq_should_notify(struct virtq *q)
{
	u16 old = q->signalled, now = q->used_index, event;
	bool valid = q->signalled_valid;

	if (!q->size || q->broken)
		return false;
	/* The driver's wish must be read after our index is visible (2.7.7.2). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	q->signalled = now;
	q->signalled_valid = true;
	if (!q->event_idx)
		return !(load16(q, q->avail) & AVAIL_NO_INTERRUPT);
	event = load16(q, used_event(q));
	return !valid || (u16)(now - event - 1) < (u16)(now - old);
}

bool virtq_enable_notify(struct virtq *q)
{
	if (!q->size || q->broken)
		return false;
	if (q->event_idx)
		store16(q, avail_event(q), q->next_avail);
	else
		store16(q, q->used, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(q, q->avail + 2) != q->next_avail;
}

/* With event indices silence is the default: an index already passed never comes. */
void virtq_disable_notify(struct virtq *q)
{
	if (q->size && !q->broken && !q->event_idx)
		store16(q, q->used, USED_NO_NOTIFY);
}

static size_t copy(const struct iovec *iov, unsigned count, u64 offset, u8 *buf, size_t bytes,
		   bool to_guest)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < bytes; i++) {
		size_t n;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		n = iov[i].iov_len - offset;
		if (n > bytes - done)
			n = bytes - done;
		if (to_guest)
			memcpy((u8 *)iov[i].iov_base + offset, buf + done, n);
		else
			memcpy(buf + done, (u8 *)iov[i].iov_base + offset, n);
		done += n;
		offset = 0;
	}
	return done;
}

size_t virtq_chain_read(const struct virtq_chain *chain, u64 offset, void *buf, size_t bytes)
{
	return copy(chain->iov, chain->out_count, offset, buf, bytes, false);
}

size_t virtq_chain_write(const struct virtq_chain *chain, u64 offset, const void *buf, size_t bytes)
{
	return copy(chain->iov + chain->out_count, chain->in_count, offset, (u8 *)buf, bytes, true);
}
