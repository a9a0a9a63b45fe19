/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtio device's notifications by eventfds and a thread. See doorbell.c. */
#ifndef LODGE_DEVICE_VIRTIO_DOORBELL_H
#define LODGE_DEVICE_VIRTIO_DOORBELL_H

#include "base/types.h"
#include <glib.h>

struct virtio;
struct virtio_doorbell;

/* For all queues of @v, notified at @offset + queue * @stride of its BAR. Makes a thread. All other
 * functions take NULL, too. NULL with @error set. */
struct virtio_doorbell *virtio_doorbell_new(struct virtio *v, unsigned offset, unsigned stride,
					    GError **error);
void virtio_doorbell_free(struct virtio_doorbell *d);
/* The BAR is at @base from now on, or nowhere. Under the lock of configuration space. */
void virtio_doorbell_move(struct virtio_doorbell *d, u64 base, bool enabled);
/* Control thread, no lock of the device's held: returns when nobody is being served; until the
 * other one is called nobody will be. */
void virtio_doorbell_stand(struct virtio_doorbell *d);
void virtio_doorbell_go_on(struct virtio_doorbell *d);

#endif
