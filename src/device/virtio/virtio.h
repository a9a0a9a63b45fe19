/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio devices over PCI, modern interface only (virtio 1.2 sections 2, 3 and 4.1).
 *
 *   driver -> common configuration -> status machine -> class->start at DRIVER_OK
 *   driver -> notify -> class->notify(queue) -> virtq_pop ... virtq_push -> virtio_notify
 *
 * A device's struct begins with struct virtio; its file fills in a struct virtio_class, calls
 * virtio_realize() from realize, and puts the functions below into its device_type.
 *
 * Registers may be written at any time, but a queue's addresses and size are copied when the driver
 * says DRIVER_OK and stay until reset. A driver that breaks the rules gets DEVICE_NEEDS_RESET.
 *
 * Locks: the device's lock orders register accesses and status changes; each queue has its own
 * (virtq.h). class->notify is called with neither.
 */
#ifndef LODGE_DEVICE_VIRTIO_VIRTIO_H
#define LODGE_DEVICE_VIRTIO_VIRTIO_H

#include "device/pci/pci_state.h"
#include "device/virtio/virtq.h"
#include "machine/pci.h"

#define VIRTIO_QUEUES_MAX 64
#define VIRTIO_CONFIG_MAX 256 /* bytes of device-specific configuration */

#define VIRTIO_F_INDIRECT  BIT(28)
#define VIRTIO_F_EVENT_IDX BIT(29)
#define VIRTIO_F_VERSION_1 BIT(32)

struct virtio;
struct virtio_doorbell;

struct virtio_class {
	u16 id; /* virtio device ID, section 5 */
	u32 pci_class;
	/* The driver put something into @queue, or the machine continues. Any vCPU's thread, or the
	 * device's own (doorbell.h). */
	void (*notify)(struct virtio *v, unsigned queue);
	/* Optional. DRIVER_OK: features and queues are final. Device lock held. */
	void (*start)(struct virtio *v);
	/* Optional. Returns when nothing is under way; the queues end afterwards. Device lock held.
	 */
	void (*stop)(struct virtio *v);
	/* Optional. The device was reset, its queues have ended. Device lock held. */
	void (*forget)(struct virtio *v);
	/* Optional. The driver wrote @bytes at @offset of v->config. Device lock held. */
	void (*config_written)(struct virtio *v, unsigned offset, unsigned bytes);
};

/* A queue as the driver sets it up; copied into the virtq at DRIVER_OK. */
struct virtio_queue_setup {
	u64 desc, avail, used;
	u16 size, vector;
	bool enabled;
};

struct virtio {
	struct pci_device pci;
	const struct virtio_class *class;
	pthread_mutex_t lock;
	pthread_mutex_t isr_lock; /* the ISR byte and pin A together; innermost */
	u64 features;             /* offered */
	unsigned queue_count;
	u16 queue_size_max;
	u8 config[VIRTIO_CONFIG_MAX], config_writable[VIRTIO_CONFIG_MAX];
	unsigned config_bytes;

	u64 driver_features;
	u32 feature_select, driver_feature_select;
	u16 queue_select, config_vector;
	u8 status, isr, generation;
	bool running;  /* DRIVER_OK and no reset since */
	u8 access_cap; /* offset of the configuration access capability */
	struct virtio_queue_setup setup[VIRTIO_QUEUES_MAX];
	struct virtq queues[VIRTIO_QUEUES_MAX];
	bool ioeventfd;                   /* notifications do not stop the processor */
	struct virtio_doorbell *doorbell; /* ... as far as the engine can; NULL: it cannot */
};

/* In realize: @features without the transport's; @queues of up to @queue_size entries; the first
 * @config_bytes of v->config are filled in by the caller before or after. */
int virtio_realize(struct virtio *v, const struct virtio_class *class, u64 features,
		   unsigned queues, u16 queue_size, unsigned config_bytes, GError **error);
void virtio_reset(struct device *dev);
void virtio_quiesce(struct device *dev); /* waits for what is under way, keeps queues */
void virtio_resume(struct device *dev);
int virtio_post_load(struct device *dev);
void virtio_destroy(struct device *dev);

/* Any thread: the driver notified @queue. */
void virtio_kick(struct virtio *v, unsigned queue);
/* Any thread, no queue lock needed: an interrupt for @queue. */
void virtio_notify(struct virtio *v, unsigned queue);
/* Any thread: the configuration changed; @lock_held if the device lock is. */
void virtio_config_changed(struct virtio *v, bool lock_held);
/* Any thread, device lock not held: the driver broke the rules. */
void virtio_needs_reset(struct virtio *v, const char *why);
static inline bool virtio_has(const struct virtio *v, u64 feature)
{
	return (v->driver_features & feature) != 0;
}

/* Rows for state tables and options of all virtio devices. */
extern const struct state_field virtio_setup_state[], virtio_queue_state[];
#define VIRTIO_STATE(type, member)                                                                \
	PCI_STATE(type, member.pci), STATE(type, member.config),                                  \
		STATE(type, member.driver_features), STATE(type, member.feature_select),          \
		STATE(type, member.driver_feature_select), STATE(type, member.queue_select),      \
		STATE(type, member.config_vector), STATE(type, member.status),                    \
		STATE(type, member.isr), STATE(type, member.generation),                          \
		STATE_STRUCTS(type, member.setup, virtio_setup_state, struct virtio_queue_setup), \
		STATE_STRUCTS(type, member.queues, virtio_queue_state, struct virtq)
#define VIRTIO_OPTIONS(type, member) PCI_OPTIONS(type, member.pci)

#endif
