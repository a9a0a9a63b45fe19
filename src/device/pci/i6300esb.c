/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watchdog of Intel's 6300ESB (its datasheet, chapter 17), as a PCI function by itself: the one
 * that guests of libvirt's tools get when they ask for a watchdog.
 *
 *   preload 1 --0--> stage 1 status, preload 2 --0--> timeout, and the watchdog has bitten
 *
 * Registers in the BAR are written only after 0x80 and 0x86 to RELOAD, each time; what starts and
 * locks the timer is in configuration space. The interrupt of stage 1 is wired to an I/O APIC that
 * the board does not have: its status bit is all there is of it.
 *
 * The timeout flag lives over resets, so that a guest can tell what ended the one before it.
 */
#include "device/pci/pci_state.h"
#include "machine/vm.h"

#include <errno.h>

#define BAR_BYTES 16

enum { TIMER1 = 0x0, TIMER2 = 0x4, STATUS = 0x8, RELOAD = 0xc };

#define PRELOAD_MAX    0xfffff
#define STATUS_STAGE1  BIT(0)
#define RELOAD_RELOAD  BIT(8)
#define RELOAD_TIMEOUT BIT(9)
#define UNLOCK_FIRST   0x80
#define UNLOCK_SECOND  0x86

#define CONFIG          0x60
#define CONFIG_FAST     BIT(2) /* counts in 1 us, not in 1 ms */
#define CONFIG_NO_RESET BIT(5)
#define CONFIG_WRITABLE 0x27
#define LOCK            0x68
#define LOCK_LOCKED     BIT(0)
#define LOCK_ENABLED    BIT(1)
#define LOCK_FREE_RUN   BIT(2)
#define LOCK_WRITABLE   0x07

#define STAGE_MIN_NS 1000000 /* so that no guest keeps the clock thread busy */

struct i6300esb {
	struct pci_device pci;
	pthread_mutex_t lock;
	struct vm_timer timer;
	u32 preload[2];
	u8 unlock;  /* how many of the two bytes have come */
	u8 control; /* the LOCK register as it was last accepted */
	u8 stage;   /* 0 or 1 */
	bool stage1_status, timed_out;
	u64 start_ns, length_ns; /* of the stage; length 0: it stands */
};

static struct i6300esb *esb_of(struct device *dev)
{
	return container_of(dev, struct i6300esb, pci.dev);
}

static struct vm_clock *clock_of(struct i6300esb *w)
{
	return &w->pci.dev.vm->clock;
}

static void arm_locked(struct i6300esb *w)
{
	if (w->length_ns)
		vm_timer_arm(clock_of(w), &w->timer, w->start_ns + w->length_ns);
	else
		vm_timer_disarm(clock_of(w), &w->timer);
}

static void stop_locked(struct i6300esb *w)
{
	w->length_ns = 0;
	arm_locked(w);
}

/* The count is of the 33 MHz PCI clock divided by 2^15 or 2^5. */
static void begin_locked(struct i6300esb *w, u8 stage)
{
	unsigned shift = w->pci.config[CONFIG] & CONFIG_FAST ? 5 : 15;
	u64 length = ((u64)w->preload[stage] << shift) * 1000 / 33;

	w->stage = stage;
	w->start_ns = vm_clock_now(clock_of(w));
	w->length_ns = MAX(length, STAGE_MIN_NS);
	arm_locked(w);
}

static bool second_stage_over_locked(struct i6300esb *w)
{
	w->timed_out = true;
	if (w->control & LOCK_FREE_RUN)
		begin_locked(w, 0);
	else
		stop_locked(w);
	return !(w->pci.config[CONFIG] & CONFIG_NO_RESET);
}

static void expire(void *opaque)
{
	struct i6300esb *w = opaque;
	bool bites = false;

	pthread_mutex_lock(&w->lock);
	if (!w->length_ns || vm_clock_now(clock_of(w)) < w->start_ns + w->length_ns) {
		arm_locked(w); /* it changed while this was on its way */
	} else if (w->stage == 0) {
		w->stage1_status = true;
		begin_locked(w, 1);
	} else {
		bites = second_stage_over_locked(w);
	}
	pthread_mutex_unlock(&w->lock);
	if (bites)
		vm_request(w->pci.dev.vm, VM_REQUEST_WATCHDOG, 0);
}

/* --- registers --- */

static void write_reload_locked(struct i6300esb *w, u32 value, bool unlocked)
{
	if (value == UNLOCK_FIRST) {
		w->unlock = 1;
	} else if (value == UNLOCK_SECOND && w->unlock == 1) {
		w->unlock = 2;
	} else if (unlocked) {
		if (value & RELOAD_TIMEOUT)
			w->timed_out = false;
		if ((value & RELOAD_RELOAD) && (w->control & LOCK_ENABLED))
			begin_locked(w, 0);
	}
}

static void write_locked(struct i6300esb *w, u64 offset, u32 value)
{
	bool unlocked = w->unlock == 2;

	if (unlocked)
		w->unlock = 0;
	if (offset == RELOAD)
		write_reload_locked(w, value, unlocked);
	else if (unlocked && (offset == TIMER1 || offset == TIMER2))
		w->preload[offset == TIMER2] = value & PRELOAD_MAX;
	else if (unlocked && offset == STATUS && (value & STATUS_STAGE1))
		w->stage1_status = false;
}

static void esb_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct i6300esb *w = esb_of(dev);
	u32 whole;

	pthread_mutex_lock(&w->lock);
	if (write) {
		write_locked(w, offset, *value);
	} else {
		switch (offset & ~3ull) {
		case STATUS: whole = w->stage1_status ? STATUS_STAGE1 : 0; break;
		case RELOAD: whole = w->timed_out ? RELOAD_TIMEOUT : 0; break;
		default: whole = 0; break; /* preloads can only be written */
		}
		*value = whole >> (8 * (offset & 3));
	}
	pthread_mutex_unlock(&w->lock);
}

/* The LOCK register starts and stops the timer, until it is locked. */
static void config_written(struct pci_device *pci, unsigned offset, unsigned bytes)
{
	struct i6300esb *w = container_of(pci, struct i6300esb, pci);
	u8 value;

	if (offset > LOCK || offset + bytes <= LOCK)
		return;
	pthread_mutex_lock(&w->lock);
	value = pci->config[LOCK];
	if (w->control & LOCK_LOCKED) {
		pci->config[LOCK] = w->control;
	} else {
		bool was = w->control & LOCK_ENABLED, is = value & LOCK_ENABLED;

		w->control = value;
		if (is && !was)
			begin_locked(w, 0);
		else if (was && !is)
			stop_locked(w);
	}
	pthread_mutex_unlock(&w->lock);
}

/* --- life --- */

static void esb_reset(struct device *dev)
{
	struct i6300esb *w = esb_of(dev);

	pthread_mutex_lock(&w->lock);
	w->preload[0] = w->preload[1] = PRELOAD_MAX;
	w->unlock = w->control = w->stage = 0;
	w->stage1_status = false;
	w->start_ns = 0;
	stop_locked(w);
	pthread_mutex_unlock(&w->lock);
	pci_device_reset(&w->pci);
}

static int esb_realize(struct device *dev, GError **error)
{
	static const struct pci_identity id = {
		.vendor = 0x8086,
		.device = 0x25ab,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.class_code = 0x088000,
	};
	struct i6300esb *w = esb_of(dev);
	int err;

	pthread_mutex_init(&w->lock, NULL);
	vm_timer_init(&w->timer, expire, w);
	err = pci_device_init(&w->pci, &id, error);
	if (err)
		return err;
	w->pci.writable[CONFIG] = CONFIG_WRITABLE;
	w->pci.writable[LOCK] = LOCK_WRITABLE;
	w->pci.config_written = config_written;
	return pci_add_bar(&w->pci, 0, PCI_BAR_MEM32, BAR_BYTES, esb_access, error);
}

static int esb_post_load(struct device *dev)
{
	struct i6300esb *w = esb_of(dev);

	if (pci_device_post_load(&w->pci) || w->stage > 1 || w->unlock > 2 ||
	    w->preload[0] > PRELOAD_MAX || w->preload[1] > PRELOAD_MAX ||
	    w->start_ns > vm_clock_now(clock_of(w)) ||
	    (w->length_ns && w->length_ns < STAGE_MIN_NS) ||
	    w->length_ns > ((u64)PRELOAD_MAX << 15) * 1000 / 33)
		return -EINVAL;
	arm_locked(w);
	return 0;
}

static void esb_destroy(struct device *dev)
{
	pci_device_destroy(&esb_of(dev)->pci);
	pthread_mutex_destroy(&esb_of(dev)->lock);
}

static const struct state_field esb_state[] = {
	PCI_STATE(struct i6300esb, pci),   STATE(struct i6300esb, preload),
	STATE(struct i6300esb, unlock),    STATE(struct i6300esb, control),
	STATE(struct i6300esb, stage),     STATE(struct i6300esb, stage1_status),
	STATE(struct i6300esb, timed_out), STATE(struct i6300esb, start_ns),
	STATE(struct i6300esb, length_ns), STATE_END,
};

static const struct device_option esb_options[] = {
	PCI_OPTIONS(struct i6300esb, pci),
	{ .name = NULL },
};

const struct device_type device_i6300esb = {
	.name = "i6300esb",
	.help = "watchdog of Intel's 6300ESB",
	.bytes = sizeof(struct i6300esb),
	.flags = DEVICE_PCI,
	.options = esb_options,
	.state = esb_state,
	.realize = esb_realize,
	.reset = esb_reset,
	.post_load = esb_post_load,
	.destroy = esb_destroy,
};
