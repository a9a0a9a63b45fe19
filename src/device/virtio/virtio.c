/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio PCI transport. See virtio.h.
 *
 *   BAR 0:  0x0000 common configuration   0x1000 ISR status   0x2000 device configuration
 *           0x3000 notifications, 4 bytes a queue   0x4000 MSI-X table   0x4800 MSI-X pending bits
 */
#include "device/virtio/virtio.h"

#include "base/log.h"
#include "device/virtio/doorbell.h"
#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>
#include <string.h>

#define BAR_BYTES     0x8000
#define COMMON_OFFSET 0x0000
#define COMMON_BYTES  0x38
#define ISR_OFFSET    0x1000
#define CONFIG_OFFSET 0x2000
#define NOTIFY_OFFSET 0x3000
#define NOTIFY_STRIDE 4
#define TABLE_OFFSET  0x4000
#define PBA_OFFSET    0x4800

#define STATUS_DRIVER_OK   4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 64

#define ISR_QUEUE  1
#define ISR_CONFIG 2

#define NO_VECTOR 0xffff

static struct virtio *virtio_of(struct device *dev)
{
	return container_of(dev, struct virtio, pci.dev);
}

/* Interrupts. */

static void interrupt(struct virtio *v, u16 vector, u8 isr)
{
	if (pci_msix_enabled(&v->pci)) {
		if (vector != NO_VECTOR)
			pci_msix_notify(&v->pci, vector);
		return;
	}
	pthread_mutex_lock(&v->isr_lock);
	v->isr |= isr;
	pci_intx_set(&v->pci, true);
	pthread_mutex_unlock(&v->isr_lock);
}

/* Reading clears it and lowers the line (4.1.4.5). */
static u8 take_isr(struct virtio *v)
{
	u8 isr;

	pthread_mutex_lock(&v->isr_lock);
	isr = v->isr;
	v->isr = 0;
	pci_intx_set(&v->pci, false);
	pthread_mutex_unlock(&v->isr_lock);
	return isr;
}

void virtio_notify(struct virtio *v, unsigned queue)
{
	interrupt(v, __atomic_load_n(&v->setup[queue].vector, __ATOMIC_RELAXED), ISR_QUEUE);
}

static void config_changed_locked(struct virtio *v)
{
	v->generation++;
	if (v->status & STATUS_DRIVER_OK)
		interrupt(v, v->config_vector, ISR_CONFIG);
}

void virtio_config_changed(struct virtio *v, bool lock_held)
{
	if (!lock_held)
		pthread_mutex_lock(&v->lock);
	config_changed_locked(v);
	if (!lock_held)
		pthread_mutex_unlock(&v->lock);
}

static void needs_reset_locked(struct virtio *v, const char *why)
{
	if (v->status & STATUS_NEEDS_RESET)
		return;
	log_guest_once("virtio", "%s: %s; the guest must reset the device", v->pci.dev.id, why);
	v->status |= STATUS_NEEDS_RESET;
	config_changed_locked(v);
}

void virtio_needs_reset(struct virtio *v, const char *why)
{
	pthread_mutex_lock(&v->lock);
	needs_reset_locked(v, why);
	pthread_mutex_unlock(&v->lock);
}

/* The status machine. */

static void reset_setup(struct virtio *v)
{
	for (unsigned i = 0; i < v->queue_count; i++)
		v->setup[i] = (struct virtio_queue_setup){ .size = v->queue_size_max,
							   .vector = NO_VECTOR };
}

static void stop_locked(struct virtio *v)
{
	if (v->running && v->class->stop)
		v->class->stop(v);
	__atomic_store_n(&v->running, false, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < v->queue_count; i++) {
		pthread_mutex_lock(&v->queues[i].lock);
		virtq_stop(&v->queues[i]);
		pthread_mutex_unlock(&v->queues[i].lock);
	}
}

static void reset_locked(struct virtio *v)
{
	stop_locked(v);
	if (v->class->forget)
		v->class->forget(v);
	v->driver_features = 0;
	v->feature_select = v->driver_feature_select = 0;
	v->queue_select = 0;
	v->config_vector = NO_VECTOR;
	v->status = v->generation = 0;
	take_isr(v);
	reset_setup(v);
}

static int start_queue(struct virtio *v, unsigned i)
{
	const struct virtio_queue_setup *s = &v->setup[i];
	int err;

	if (!s->enabled)
		return 0;
	pthread_mutex_lock(&v->queues[i].lock);
	err = virtq_start(&v->queues[i], s->size, s->desc, s->avail, s->used,
			  virtio_has(v, VIRTIO_F_INDIRECT), virtio_has(v, VIRTIO_F_EVENT_IDX));
	pthread_mutex_unlock(&v->queues[i].lock);
	return err;
}

static void start_locked(struct virtio *v)
{
	for (unsigned i = 0; i < v->queue_count; i++) {
		if (start_queue(v, i)) {
			needs_reset_locked(v, "a queue's rings are not in memory");
			return;
		}
	}
	if (v->class->start)
		v->class->start(v);
	__atomic_store_n(&v->running, true, __ATOMIC_SEQ_CST);
}

/* Section 2.1.2: bits are only added; FEATURES_OK stays off if the choice is not acceptable. */
static void write_status_locked(struct virtio *v, u8 value)
{
	u8 added = value & ~v->status;

	if (!value) {
		reset_locked(v);
		return;
	}
	if ((added & STATUS_FEATURES_OK) &&
	    ((v->driver_features & ~v->features) || !virtio_has(v, VIRTIO_F_VERSION_1)))
		value &= ~STATUS_FEATURES_OK;
	if ((added & STATUS_DRIVER_OK) && !((v->status | value) & STATUS_FEATURES_OK))
		value &= ~STATUS_DRIVER_OK;
	added = value & ~v->status;
	v->status |= value & ~STATUS_NEEDS_RESET;
	if (added & STATUS_DRIVER_OK)
		start_locked(v);
}

/* Common configuration, section 4.1.4.3. Offsets of its fields. */
enum {
	C_FEATURE_SELECT = 0x00,
	C_FEATURE = 0x04,
	C_DRIVER_FEATURE_SELECT = 0x08,
	C_DRIVER_FEATURE = 0x0c,
	C_CONFIG_VECTOR = 0x10,
	C_QUEUES = 0x12,
	C_STATUS = 0x14,
	C_GENERATION = 0x15,
	C_QUEUE_SELECT = 0x16,
	C_QUEUE_SIZE = 0x18,
	C_QUEUE_VECTOR = 0x1a,
	C_QUEUE_ENABLE = 0x1c,
	C_QUEUE_NOTIFY_OFFSET = 0x1e,
	C_QUEUE_DESC = 0x20,
	C_QUEUE_AVAIL = 0x28,
	C_QUEUE_USED = 0x30,
};

static struct virtio_queue_setup *selected(struct virtio *v)
{
	return v->queue_select < v->queue_count ? &v->setup[v->queue_select] : NULL;
}

static u64 read_queue(struct virtio *v, unsigned field)
{
	const struct virtio_queue_setup *s = selected(v);

	if (!s)
		return 0;
	switch (field) {
	case C_QUEUE_SIZE: return s->size;
	case C_QUEUE_VECTOR: return s->vector;
	case C_QUEUE_ENABLE: return s->enabled;
	case C_QUEUE_NOTIFY_OFFSET: return v->queue_select;
	case C_QUEUE_DESC: return s->desc;
	case C_QUEUE_AVAIL: return s->avail;
	case C_QUEUE_USED: return s->used;
	default: return 0;
	}
}

static u64 read_common(struct virtio *v, unsigned field)
{
	switch (field) {
	case C_FEATURE_SELECT: return v->feature_select;
	case C_FEATURE:
		return v->feature_select > 1 ? 0 : (u32)(v->features >> (32 * v->feature_select));
	case C_DRIVER_FEATURE_SELECT: return v->driver_feature_select;
	case C_DRIVER_FEATURE:
		return v->driver_feature_select > 1
			       ? 0
			       : (u32)(v->driver_features >> (32 * v->driver_feature_select));
	case C_CONFIG_VECTOR: return v->config_vector;
	case C_QUEUES: return v->queue_count;
	case C_STATUS: return v->status;
	case C_GENERATION: return v->generation;
	case C_QUEUE_SELECT: return v->queue_select;
	default: return read_queue(v, field);
	}
}

static u16 check_vector(const struct virtio *v, u16 vector)
{
	return vector < v->pci.msix.vectors ? vector : NO_VECTOR;
}

static void write_half(u64 *field, unsigned shift, unsigned size, u64 value)
{
	u64 mask = size == 8 ? UINT64_MAX : 0xffffffffull << shift;

	*field = (*field & ~mask) | (value << shift & mask);
}

static void write_queue(struct virtio *v, unsigned offset, unsigned size, u64 value)
{
	struct virtio_queue_setup *s = selected(v);

	if (!s)
		return;
	switch (offset) {
	case C_QUEUE_SIZE:
		if (value <= v->queue_size_max && !(value & (value - 1)) && value)
			s->size = value;
		break;
	case C_QUEUE_VECTOR:
		__atomic_store_n(&s->vector, check_vector(v, value), __ATOMIC_RELAXED);
		break;
	case C_QUEUE_ENABLE:
		if (value == 1)
			s->enabled = true;
		break;
	case C_QUEUE_DESC:
	case C_QUEUE_DESC + 4: write_half(&s->desc, 8 * (offset & 4), size, value); break;
	case C_QUEUE_AVAIL:
	case C_QUEUE_AVAIL + 4: write_half(&s->avail, 8 * (offset & 4), size, value); break;
	case C_QUEUE_USED:
	case C_QUEUE_USED + 4: write_half(&s->used, 8 * (offset & 4), size, value); break;
	}
}

static void write_common(struct virtio *v, unsigned offset, unsigned size, u64 value)
{
	switch (offset) {
	case C_FEATURE_SELECT: v->feature_select = value; break;
	case C_DRIVER_FEATURE_SELECT: v->driver_feature_select = value; break;
	case C_DRIVER_FEATURE:
		if (v->driver_feature_select <= 1 && !(v->status & STATUS_FEATURES_OK))
			write_half(&v->driver_features, 32 * v->driver_feature_select, 4, value);
		break;
	case C_CONFIG_VECTOR: v->config_vector = check_vector(v, value); break;
	case C_STATUS: write_status_locked(v, value); break;
	case C_QUEUE_SELECT: v->queue_select = value; break;
	default: write_queue(v, offset, size, value);
	}
}

static unsigned field_of(unsigned offset)
{
	return offset >= C_QUEUE_DESC ? offset & ~7u : offset;
}

static void common_access(struct virtio *v, unsigned offset, unsigned size, u64 *value, bool write)
{
	pthread_mutex_lock(&v->lock);
	if (write)
		write_common(v, offset, size, *value);
	else
		*value = read_common(v, field_of(offset)) >> (8 * (offset - field_of(offset)));
	pthread_mutex_unlock(&v->lock);
}

static void config_access(struct virtio *v, unsigned offset, unsigned size, u64 *value, bool write)
{
	pthread_mutex_lock(&v->lock);
	if (write) {
		for (unsigned i = 0; i < size && offset + i < v->config_bytes; i++) {
			u8 mask = v->config_writable[offset + i], byte = *value >> (8 * i);

			v->config[offset + i] = (v->config[offset + i] & ~mask) | (byte & mask);
		}
		if (v->class->config_written && offset < v->config_bytes)
			v->class->config_written(v, offset, size);
	} else {
		*value = 0;
		for (unsigned i = 0; i < size && offset + i < v->config_bytes; i++)
			*value |= (u64)v->config[offset + i] << (8 * i);
	}
	pthread_mutex_unlock(&v->lock);
}

void virtio_kick(struct virtio *v, unsigned queue)
{
	bool bad;

	if (queue >= v->queue_count || !__atomic_load_n(&v->running, __ATOMIC_ACQUIRE) ||
	    !pci_bus_master(&v->pci))
		return;
	v->class->notify(v, queue);
	pthread_mutex_lock(&v->queues[queue].lock);
	bad = v->queues[queue].broken;
	pthread_mutex_unlock(&v->queues[queue].lock);
	if (bad)
		virtio_needs_reset(v, "a queue's ring is broken");
}

static void bar_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct virtio *v = virtio_of(dev);

	if (offset < COMMON_OFFSET + COMMON_BYTES)
		common_access(v, offset, size, value, write);
	else if (offset >= NOTIFY_OFFSET && offset < TABLE_OFFSET && write)
		virtio_kick(v, (offset - NOTIFY_OFFSET) / NOTIFY_STRIDE);
	else if (offset >= CONFIG_OFFSET && offset < NOTIFY_OFFSET)
		config_access(v, offset - CONFIG_OFFSET, size, value, write);
	else if (!write)
		*value = offset == ISR_OFFSET ? take_isr(v) : 0;
}

/* The configuration access capability (4.1.4.9): BAR accesses by way of configuration space, for
 * firmware that has no mapping of the BAR. Its window is 4 bytes at cap + 16. */

static bool window_access(struct virtio *v, bool write)
{
	u8 *c = v->pci.config + v->access_cap;
	u32 offset, bytes;
	u64 value = 0;

	memcpy(&offset, c + 8, 4);
	memcpy(&bytes, c + 12, 4);
	if (c[4] != 0 || (bytes != 1 && bytes != 2 && bytes != 4) || offset % bytes ||
	    offset >= TABLE_OFFSET)
		return false;
	if (write)
		memcpy(&value, c + 16, bytes);
	bar_access(&v->pci.dev, offset, bytes, &value, write);
	if (!write)
		memcpy(c + 16, &value, bytes);
	return true;
}

static bool in_window(const struct virtio *v, unsigned offset, unsigned bytes)
{
	return v->access_cap && offset < v->access_cap + 20u &&
	       offset + bytes > v->access_cap + 16u;
}

static void pci_written(struct pci_device *pci, unsigned offset, unsigned bytes)
{
	struct virtio *v = container_of(pci, struct virtio, pci);

	if (in_window(v, offset, bytes))
		window_access(v, true);
}

static void pci_read(struct pci_device *pci, unsigned offset, unsigned bytes)
{
	struct virtio *v = container_of(pci, struct virtio, pci);

	if (in_window(v, offset, bytes))
		window_access(v, false);
}

static void pci_bar_moved(struct pci_device *pci, unsigned bar, u64 base, bool enabled)
{
	virtio_doorbell_move(container_of(pci, struct virtio, pci)->doorbell, base, enabled);
}

/* Making. */

static int add_capability(struct virtio *v, u8 type, u32 offset, u32 bytes, u32 extra, u8 cap_bytes)
{
	u8 content[18] = { cap_bytes, type, 0, 0, 0, 0 };
	u8 writable[18] = { 0 };

	memcpy(content + 6, &offset, 4);
	memcpy(content + 10, &bytes, 4);
	memcpy(content + 14, &extra, 4);
	if (type == 5)
		memset(writable + 2, 0xff, sizeof(writable) - 2);
	return pci_add_capability(&v->pci, PCI_CAP_ID_VENDOR, cap_bytes, content, writable);
}

static int add_capabilities(struct virtio *v)
{
	int at;

	if (add_capability(v, 1, COMMON_OFFSET, COMMON_BYTES, 0, 16) < 0 ||
	    add_capability(v, 3, ISR_OFFSET, 4, 0, 16) < 0 ||
	    add_capability(v, 4, CONFIG_OFFSET, v->config_bytes ? v->config_bytes : 4, 0, 16) < 0 ||
	    add_capability(v, 2, NOTIFY_OFFSET, NOTIFY_STRIDE * v->queue_count, NOTIFY_STRIDE, 20) <
		    0)
		return -ENOSPC;
	at = add_capability(v, 5, 0, 0, 0, 20);
	if (at < 0 || pci_add_express(&v->pci, v->pci.bus_number ? 0 : 9, 0, 0) < 0)
		return -ENOSPC;
	v->access_cap = at;
	return 0;
}

static int add_doorbell(struct virtio *v, GError **error)
{
	if (!v->ioeventfd || !vm_has_doorbells(v->pci.dev.vm))
		return 0;
	v->doorbell = virtio_doorbell_new(v, NOTIFY_OFFSET, NOTIFY_STRIDE, error);
	v->pci.bar_moved = pci_bar_moved;
	return v->doorbell ? 0 : -EIO;
}

int virtio_realize(struct virtio *v, const struct virtio_class *class, u64 features,
		   unsigned queues, u16 queue_size, unsigned config_bytes, GError **error)
{
	const struct pci_identity id = {
		.vendor = 0x1af4,
		.device = 0x1040 + class->id,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.class_code = class->pci_class,
		.revision = 1,
		.intx = true,
	};
	int err;

	g_assert(queues <= VIRTIO_QUEUES_MAX && config_bytes <= VIRTIO_CONFIG_MAX);
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->isr_lock, NULL);
	v->class = class;
	v->features = features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX;
	v->queue_count = queues;
	v->queue_size_max = queue_size;
	v->config_bytes = config_bytes;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		virtq_init(&v->queues[i], v->pci.dev.vm);
	v->pci.config_written = pci_written;
	v->pci.config_read = pci_read;
	err = pci_device_init(&v->pci, &id, error);
	if (!err)
		err = pci_add_bar(&v->pci, 0, PCI_BAR_MEM64, BAR_BYTES, bar_access, error);
	if (!err)
		err = pci_add_msix(&v->pci, MIN(queues + 1, PCI_MSIX_MAX), 0, TABLE_OFFSET,
				   PBA_OFFSET, error);
	if (!err && add_capabilities(v)) {
		g_set_error(error, VM_ERROR, ENOSPC, "no room for its PCI capabilities");
		err = -ENOSPC;
	}
	return err ? err : add_doorbell(v, error);
}

void virtio_reset(struct device *dev)
{
	struct virtio *v = virtio_of(dev);

	pthread_mutex_lock(&v->lock);
	reset_locked(v);
	pthread_mutex_unlock(&v->lock);
	pci_device_reset(&v->pci);
}

void virtio_quiesce(struct device *dev)
{
	struct virtio *v = virtio_of(dev);

	virtio_doorbell_stand(v->doorbell);
	pthread_mutex_lock(&v->lock);
	if (v->running && v->class->stop)
		v->class->stop(v);
	pthread_mutex_unlock(&v->lock);
}

/* Requests that came while nobody looked. */
void virtio_resume(struct device *dev)
{
	struct virtio *v = virtio_of(dev);

	for (unsigned i = 0; i < v->queue_count; i++)
		virtio_kick(v, i);
	virtio_doorbell_go_on(v->doorbell);
}

int virtio_post_load(struct device *dev)
{
	struct virtio *v = virtio_of(dev);

	if (pci_device_post_load(&v->pci) ||
	    ((v->status & STATUS_FEATURES_OK) && (v->driver_features & ~v->features)))
		return -EINVAL;
	for (unsigned i = 0; i < v->queue_count; i++) {
		struct virtio_queue_setup *s = &v->setup[i];

		if (!s->size || s->size > v->queue_size_max || (s->size & (s->size - 1)) ||
		    s->vector != check_vector(v, s->vector))
			return -EINVAL;
	}
	v->config_vector = check_vector(v, v->config_vector);
	if (!(v->status & STATUS_DRIVER_OK))
		return 0;
	pthread_mutex_lock(&v->lock);
	start_locked(v);
	pthread_mutex_unlock(&v->lock);
	return 0;
}

void virtio_destroy(struct device *dev)
{
	struct virtio *v = virtio_of(dev);

	virtio_doorbell_free(v->doorbell);
	if (v->running && v->class->stop)
		v->class->stop(v);
	pci_device_destroy(&v->pci);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		pthread_mutex_destroy(&v->queues[i].lock);
	pthread_mutex_destroy(&v->isr_lock);
	pthread_mutex_destroy(&v->lock);
}

const struct state_field virtio_setup_state[] = {
	STATE(struct virtio_queue_setup, desc),
	STATE(struct virtio_queue_setup, avail),
	STATE(struct virtio_queue_setup, used),
	STATE(struct virtio_queue_setup, size),
	STATE(struct virtio_queue_setup, vector),
	STATE(struct virtio_queue_setup, enabled),
	STATE_END,
};

/* Rings are started again from the setup; these are what the rings do not say. */
const struct state_field virtio_queue_state[] = {
	STATE(struct virtq, next_avail), STATE(struct virtq, used_index),
	STATE(struct virtq, signalled),  STATE(struct virtq, signalled_valid),
	STATE(struct virtq, broken),     STATE_END,
};
