/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notifications that do not stop the processor: where the engine can, a write to a queue's place in
 * the notification area counts in an eventfd, and a thread of the device's does the work.
 *
 *   driver's write --engine--> eventfd --> thread: virtio_kick(), as the vCPU's thread would
 *
 * The engine knows the addresses only while the BAR is mapped; what it does not take (other widths,
 * the configuration access capability, another engine) comes by the BAR as always, and both ways
 * may be used at once.
 *
 * While the machine stands nobody is notified: the thread holds @lock while it works, and waits
 * while @stands. What came meanwhile stays in the eventfds; virtio_resume() looks at all queues
 * anyway.
 */
#include "device/virtio/doorbell.h"

#include "base/log.h"
#include "device/virtio/virtio.h"
#include "machine/vm.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct virtio_doorbell {
	struct virtio *v;
	unsigned offset, stride; /* of the notification area in its BAR, of a queue in that */
	pthread_t thread;
	bool has_thread;
	struct pollfd fds[VIRTIO_QUEUES_MAX + 1]; /* the last: somebody wants the thread */
	u64 base;                                 /* where the engine knows them; NOWHERE */
	pthread_mutex_t lock;
	pthread_cond_t goes_on;
	bool stands, quit; /* the machine stands at first */
};

#define NOWHERE UINT64_MAX

static void take(int fd)
{
	u64 count;

	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

static void serve_locked(struct virtio_doorbell *d)
{
	for (unsigned i = 0; i < d->v->queue_count; i++) {
		if (!d->fds[i].revents)
			continue;
		take(d->fds[i].fd);
		virtio_kick(d->v, i);
	}
}

static void *doorbell_thread(void *arg)
{
	struct virtio_doorbell *d = arg;
	unsigned count = d->v->queue_count;

	pthread_setname_np(pthread_self(), "doorbell");
	for (;;) {
		while (poll(d->fds, count + 1, -1) < 0 && errno == EINTR)
			;
		if (d->fds[count].revents)
			take(d->fds[count].fd);
		pthread_mutex_lock(&d->lock);
		while (d->stands && !d->quit)
			pthread_cond_wait(&d->goes_on, &d->lock);
		if (!d->quit)
			serve_locked(d);
		if (d->quit)
			break;
		pthread_mutex_unlock(&d->lock);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/* The engine's part: @on at @base, or off where they are. */
static void tell_engine(struct virtio_doorbell *d, u64 base, bool on)
{
	for (unsigned i = 0; i < d->v->queue_count; i++)
		vm_doorbell(d->v->pci.dev.vm, base + d->offset + i * d->stride, d->fds[i].fd, on);
}

void virtio_doorbell_move(struct virtio_doorbell *d, u64 base, bool enabled)
{
	u64 now = enabled ? base : NOWHERE;

	if (!d || now == d->base)
		return;
	if (d->base != NOWHERE)
		tell_engine(d, d->base, false);
	d->base = now;
	if (now != NOWHERE)
		tell_engine(d, now, true);
}

static void set_stands(struct virtio_doorbell *d, bool stands)
{
	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	d->stands = stands;
	pthread_cond_signal(&d->goes_on);
	pthread_mutex_unlock(&d->lock);
}

void virtio_doorbell_stand(struct virtio_doorbell *d)
{
	set_stands(d, true);
}

void virtio_doorbell_go_on(struct virtio_doorbell *d)
{
	set_stands(d, false);
}

static int open_events(struct virtio_doorbell *d)
{
	for (unsigned i = 0; i <= d->v->queue_count; i++) {
		d->fds[i] = (struct pollfd){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
					     .events = POLLIN };
		if (d->fds[i].fd < 0)
			return -errno;
	}
	return 0;
}

struct virtio_doorbell *virtio_doorbell_new(struct virtio *v, unsigned offset, unsigned stride,
					    GError **error)
{
	struct virtio_doorbell *d = g_new0(struct virtio_doorbell, 1);
	int err;

	d->v = v;
	d->offset = offset;
	d->stride = stride;
	d->base = NOWHERE;
	d->stands = true;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->goes_on, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(d->fds); i++)
		d->fds[i].fd = -1;
	err = open_events(d);
	if (!err)
		err = -pthread_create(&d->thread, NULL, doorbell_thread, d);
	d->has_thread = !err;
	if (!err)
		return d;
	g_set_error(error, VM_ERROR, -err, "no thread for its notifications: %s", g_strerror(-err));
	virtio_doorbell_free(d);
	return NULL;
}

static void end_thread(struct virtio_doorbell *d)
{
	const u64 one = 1;

	pthread_mutex_lock(&d->lock);
	d->quit = true;
	pthread_cond_signal(&d->goes_on);
	pthread_mutex_unlock(&d->lock);
	if (write(d->fds[d->v->queue_count].fd, &one, sizeof(one)) < 0)
		log_warning("virtio", "%s: its thread cannot be woken", d->v->pci.dev.id);
	pthread_join(d->thread, NULL);
}

void virtio_doorbell_free(struct virtio_doorbell *d)
{
	if (!d)
		return;
	virtio_doorbell_move(d, 0, false);
	if (d->has_thread)
		end_thread(d);
	for (unsigned i = 0; i < ARRAY_LEN(d->fds); i++)
		if (d->fds[i].fd >= 0)
			close(d->fds[i].fd);
	pthread_cond_destroy(&d->goes_on);
	pthread_mutex_destroy(&d->lock);
	g_free(d);
}
