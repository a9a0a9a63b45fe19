/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ICH9's TCO watchdog (ICH9 datasheet sections 10.1.75 and 13.9), which every q35 has: Linux's
 * iTCO_wdt.
 *
 *   count of TCO_TMR ticks --0--> TIMEOUT, 4 ticks --0--> SECOND_TO_STS, and the watchdog has
 * bitten unless NO_REBOOT is set
 *
 * A write to TCO_RLD begins again. After a reset the timer is halted, as firmware leaves it, and
 * NO_REBOOT is set: only a driver that wants it is watched. There is no system management mode, so
 * the interrupt at the first timeout goes nowhere.
 *
 * What a bite means is the plan's to say ("lifecycle.watchdog"), for all watchdogs alike.
 */
#include "machine/acpi/acpi.h"
#include "machine/layout.h"
#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>

#define TICK_NS      600000000ull
#define SECOND_TICKS 4
#define TICKS_MIN    2 /* less is not to be written, and ignored */

/* Registers, from ACPI_TCO_PORT. */
enum {
	TCO_RLD = 0x00,
	TCO_DAT = 0x02, /* in and out, a byte each */
	TCO1_STS = 0x04,
	TCO2_STS = 0x06,
	TCO1_CNT = 0x08,
	TCO2_CNT = 0x0a,
	TCO_MESSAGE = 0x0c, /* two bytes */
	TCO_WDCNT = 0x0e,
	SW_IRQ_GEN = 0x10,
	TCO_TMR = 0x12,
	TCO_BYTES = 0x20
};

#define TCO_TICKS     0x3ff
#define STS1_TIMEOUT  BIT(3)
#define STS1_CLEAR    0x13ff
#define STS2_SECOND   BIT(1)
#define STS2_CLEAR    0x0007
#define CNT1_LOCK     BIT(12)
#define CNT1_HALT     BIT(11)
#define CNT1_WRITABLE 0x1b00
#define TMR_RESET     0x0004

#define RCRB_BYTES    0x4000
#define GCS           0x3410
#define GCS_NO_REBOOT BIT(5)

struct tco {
	struct device dev;
	struct region ports, rcrb;
	pthread_mutex_t lock;
	struct vm_timer timer;
	u16 words[TCO_BYTES / 2]; /* what registers hold, TCO_RLD left out */
	u32 gcs;
	u16 ticks;    /* that the count began with, or has left while halted */
	u64 start_ns; /* when it began */
	bool second;  /* it is the one after a timeout */
};

static u16 *word(struct tco *t, unsigned offset)
{
	return &t->words[offset / 2];
}

static bool halted(struct tco *t)
{
	return *word(t, TCO1_CNT) & CNT1_HALT;
}

static u16 ticks_left(struct tco *t)
{
	u64 passed = (vm_clock_now(&t->dev.vm->clock) - t->start_ns) / TICK_NS;

	if (halted(t))
		return t->ticks;
	return passed < t->ticks ? t->ticks - passed : 0;
}

static void arm_locked(struct tco *t)
{
	if (halted(t))
		vm_timer_disarm(&t->dev.vm->clock, &t->timer);
	else
		vm_timer_arm(&t->dev.vm->clock, &t->timer, t->start_ns + t->ticks * TICK_NS);
}

static void begin_locked(struct tco *t, u16 ticks, bool second)
{
	t->ticks = ticks;
	t->second = second;
	t->start_ns = vm_clock_now(&t->dev.vm->clock);
	arm_locked(t);
}

static void expire(void *opaque)
{
	struct tco *t = opaque;
	bool bites = false;

	pthread_mutex_lock(&t->lock);
	if (halted(t) || vm_clock_now(&t->dev.vm->clock) < t->start_ns + t->ticks * TICK_NS) {
		arm_locked(t); /* it changed while this was on its way */
	} else if (!t->second) {
		*word(t, TCO1_STS) |= STS1_TIMEOUT;
		begin_locked(t, SECOND_TICKS, true);
	} else {
		*word(t, TCO2_STS) |= STS2_SECOND;
		bites = !(t->gcs & GCS_NO_REBOOT);
		begin_locked(t, *word(t, TCO_TMR), false);
	}
	pthread_mutex_unlock(&t->lock);
	if (bites)
		vm_request(t->dev.vm, VM_REQUEST_WATCHDOG, 0);
}

static void write_control_locked(struct tco *t, u16 value)
{
	u16 old = *word(t, TCO1_CNT);

	if (old & CNT1_LOCK)
		value = (value & ~(CNT1_LOCK | CNT1_HALT)) | (old & (CNT1_LOCK | CNT1_HALT));
	if ((value ^ old) & CNT1_HALT)
		t->ticks = MAX(ticks_left(t), 1);
	*word(t, TCO1_CNT) = value & CNT1_WRITABLE;
	if ((value ^ old) & CNT1_HALT)
		begin_locked(t, t->ticks, t->second);
}

/* @value has the register's other byte in it, or for those that are cleared by ones nothing. */
static void write_locked(struct tco *t, unsigned offset, u16 value)
{
	switch (offset) {
	case TCO_RLD: begin_locked(t, *word(t, TCO_TMR), false); break;
	case TCO1_STS: *word(t, offset) &= ~(value & STS1_CLEAR); break;
	case TCO2_STS: *word(t, offset) &= ~(value & STS2_CLEAR); break;
	case TCO1_CNT: write_control_locked(t, value); break;
	case TCO_TMR:
		if ((value & TCO_TICKS) >= TICKS_MIN)
			*word(t, offset) = value & TCO_TICKS;
		break;
	case TCO_DAT:
	case TCO2_CNT:
	case TCO_MESSAGE:
	case TCO_WDCNT:
	case SW_IRQ_GEN: *word(t, offset) = value; break;
	default: break;
	}
}

static void tco_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct tco *t = container_of(dev, struct tco, dev);
	unsigned at = offset & ~1u, shift = 8 * (offset & 1);
	u16 mask = size == 2 ? 0xffff : 0xff << shift, kept, old;

	pthread_mutex_lock(&t->lock);
	old = at == TCO_RLD ? ticks_left(t) : *word(t, at);
	kept = at == TCO1_STS || at == TCO2_STS ? 0 : old & ~mask;
	if (write)
		write_locked(t, at, kept | (*value << shift & mask));
	else
		*value = (old & mask) >> shift;
	pthread_mutex_unlock(&t->lock);
}

/* The root complex's registers, of which only GCS is there. */
static void rcrb_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct tco *t = container_of(dev, struct tco, dev);
	u32 mask = (size >= 4 ? UINT32_MAX : BIT(8 * size) - 1), shift = 8 * (offset & 3);

	pthread_mutex_lock(&t->lock);
	if ((offset & ~3ull) != GCS)
		*value = write ? *value : 0;
	else if (write)
		t->gcs = ((t->gcs & ~(mask << shift)) | (*value << shift & (mask << shift))) &
			 GCS_NO_REBOOT;
	else
		*value = t->gcs >> shift & mask;
	pthread_mutex_unlock(&t->lock);
}

static void tco_reset(struct device *dev)
{
	struct tco *t = container_of(dev, struct tco, dev);

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < ARRAY_LEN(t->words); i++)
		t->words[i] = 0;
	*word(t, TCO_TMR) = TMR_RESET;
	*word(t, TCO1_CNT) = CNT1_HALT;
	t->gcs = GCS_NO_REBOOT;
	t->start_ns = 0;
	t->ticks = TMR_RESET;
	t->second = false;
	arm_locked(t);
	pthread_mutex_unlock(&t->lock);
}

static int tco_realize(struct device *dev, GError **error)
{
	struct tco *t = container_of(dev, struct tco, dev);
	int err;

	pthread_mutex_init(&t->lock, NULL);
	vm_timer_init(&t->timer, expire, t);
	err = device_add_ports(dev, &t->ports, ACPI_TCO_PORT, TCO_BYTES, tco_access, error);
	t->ports.width_max = 2;
	if (!err)
		err = device_add_mmio(dev, &t->rcrb, RCRB_BASE, RCRB_BYTES, rcrb_access, error);
	t->rcrb.width_max = 4;
	return err;
}

static int tco_post_load(struct device *dev)
{
	struct tco *t = container_of(dev, struct tco, dev);

	if (*word(t, TCO_TMR) < TICKS_MIN || *word(t, TCO_TMR) > TCO_TICKS || !t->ticks ||
	    t->ticks > TCO_TICKS || t->start_ns > vm_clock_now(&dev->vm->clock))
		return -EINVAL;
	arm_locked(t);
	return 0;
}

static void tco_destroy(struct device *dev)
{
	pthread_mutex_destroy(&container_of(dev, struct tco, dev)->lock);
}

static const struct state_field tco_state[] = {
	STATE(struct tco, words),    STATE(struct tco, gcs),    STATE(struct tco, ticks),
	STATE(struct tco, start_ns), STATE(struct tco, second), STATE_END,
};

const struct device_type device_tco = {
	.name = "tco",
	.help = "watchdog of the ICH9",
	.bytes = sizeof(struct tco),
	.flags = DEVICE_BOARD,
	.state = tco_state,
	.realize = tco_realize,
	.reset = tco_reset,
	.post_load = tco_post_load,
	.destroy = tco_destroy,
};
