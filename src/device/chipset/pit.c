/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 8254 programmable interval timer, and port 0x61 which gates and reads its channel 2.
 *
 * Nothing ticks: counts and outputs are computed from the time since a channel was loaded, and
 * only channel 0 in a mode that interrupts owns a timer. (Intel 8254 datasheet; NMI status and
 * control port of the chipset.)
 */
#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>

#define PIT_HZ 1193182ull

enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

struct pit_channel {
	u64 start_ns; /* when counting began */
	u32 reload;   /* 1..65536 */
	u16 latch;
	u8 mode, access, bcd;
	u8 latched; /* bytes of the latch still to be read */
	u8 status, status_latched;
	u8 write_high, read_high; /* ACCESS_BOTH: the high byte is next */
	u8 write_low_byte;
	u8 gate;
	u8 loaded; /* a count was written since the mode */
};

struct pit {
	struct device dev;
	struct region ports, port61;
	struct irq_line irq;
	pthread_mutex_t lock;
	struct vm_timer timer;
	struct pit_channel channel[3];
	u8 speaker;
};

static u64 now_ns(struct pit *p)
{
	return vm_clock_now(&p->dev.vm->clock);
}

static u64 ticks_since(struct pit *p, const struct pit_channel *c)
{
	u64 now = now_ns(p);

	return now > c->start_ns ? mul_div_u64(now - c->start_ns, PIT_HZ, 1000000000) : 0;
}

static u64 tick_time(const struct pit_channel *c, u64 ticks)
{
	return c->start_ns + mul_div_u64(ticks, 1000000000, PIT_HZ) + 1;
}

static bool periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

static bool output(struct pit *p, const struct pit_channel *c)
{
	u64 t = ticks_since(p, c);

	if (!c->loaded)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
	case 1: return t >= c->reload;
	case 2: return !c->gate || t % c->reload != c->reload - 1;
	case 3: return !c->gate || t % c->reload < (c->reload + 1) / 2;
	default: return t != c->reload;
	}
}

static u16 to_bcd(u32 n)
{
	return n % 10 | n / 10 % 10 << 4 | n / 100 % 10 << 8 | n / 1000 % 10 << 12;
}

static u16 count(struct pit *p, const struct pit_channel *c)
{
	u64 t = ticks_since(p, c);
	u32 n;

	if (!c->loaded || (c->mode != 1 && c->mode != 5 && !c->gate))
		n = c->reload;
	else if (c->mode == 2)
		n = c->reload - t % c->reload;
	else if (c->mode == 3)
		n = c->reload - 2 * t % c->reload;
	else
		n = c->reload - t; /* goes on below zero */
	return c->bcd ? to_bcd(n % 10000) : n;
}

/* Channel 0 interrupts when its output rises: at the end of every period, or once. */
static void arm_locked(struct pit *p)
{
	struct pit_channel *c = &p->channel[0];
	u64 t = ticks_since(p, c);
	struct vm_clock *clock = &p->dev.vm->clock;

	if (!c->loaded)
		vm_timer_disarm(clock, &p->timer);
	else if (periodic(c))
		vm_timer_arm(clock, &p->timer, tick_time(c, (t / c->reload + 1) * c->reload));
	else if (t < c->reload)
		vm_timer_arm(clock, &p->timer, tick_time(c, c->reload));
	else
		vm_timer_disarm(clock, &p->timer);
}

static void pit_fire(void *opaque)
{
	struct pit *p = opaque;
	struct pit_channel *c = &p->channel[0];

	pthread_mutex_lock(&p->lock);
	if (c->loaded && ticks_since(p, c) >= c->reload) {
		irq_line_set(&p->irq, false); /* high since the last time, in periodic modes */
		irq_line_set(&p->irq, true);
	}
	if (periodic(c) || !vm_timer_armed(&p->dev.vm->clock, &p->timer))
		arm_locked(p);
	pthread_mutex_unlock(&p->lock);
}

static u32 from_bcd(u16 n)
{
	return (n & 15) + (n >> 4 & 15) * 10 + (n >> 8 & 15) * 100 + (n >> 12) * 1000;
}

/* A count of 0 means the greatest. Guests that load tiny periods get no faster than 20 us. */
static void load_locked(struct pit *p, unsigned i, u16 value)
{
	struct pit_channel *c = &p->channel[i];

	c->reload = c->bcd ? from_bcd(value) : value;
	if (!c->reload)
		c->reload = c->bcd ? 10000 : 65536;
	if (i == 0 && periodic(c) && c->reload < 24)
		c->reload = 24;
	c->start_ns = now_ns(p);
	c->loaded = 1;
	if (i == 0) {
		if (c->mode == 0)
			irq_line_set(&p->irq, false);
		arm_locked(p);
	}
}

static void write_count_locked(struct pit *p, unsigned i, u8 value)
{
	struct pit_channel *c = &p->channel[i];

	switch (c->access) {
	case ACCESS_LOW: load_locked(p, i, value); break;
	case ACCESS_HIGH: load_locked(p, i, value << 8); break;
	case ACCESS_BOTH:
		if (c->write_high)
			load_locked(p, i, value << 8 | c->write_low_byte);
		else
			c->write_low_byte = value;
		c->write_high = !c->write_high;
		break;
	}
}

static void latch_count_locked(struct pit *p, struct pit_channel *c)
{
	if (c->latched)
		return;
	c->latch = count(p, c);
	c->latched = c->access == ACCESS_BOTH ? 2 : 1;
	c->read_high = c->access == ACCESS_HIGH;
}

static void latch_status_locked(struct pit *p, struct pit_channel *c)
{
	if (c->status_latched)
		return;
	c->status = (output(p, c) ? 0x80 : 0) | (c->loaded ? 0 : 0x40) | c->access << 4 |
		    c->mode << 1 | c->bcd;
	c->status_latched = 1;
}

static void write_control_locked(struct pit *p, u8 value)
{
	struct pit_channel *c;

	if (value >> 6 == 3) { /* read-back */
		for (unsigned i = 0; i < 3; i++) {
			if (!(value & BIT(i + 1)))
				continue;
			if (!(value & 0x20))
				latch_count_locked(p, &p->channel[i]);
			if (!(value & 0x10))
				latch_status_locked(p, &p->channel[i]);
		}
		return;
	}
	c = &p->channel[value >> 6];
	if (!(value & 0x30)) {
		latch_count_locked(p, c);
		return;
	}
	c->access = value >> 4 & 3;
	c->mode = (value >> 1 & 7) > 5 ? value >> 1 & 3 : value >> 1 & 7;
	c->bcd = value & 1;
	c->loaded = c->latched = c->status_latched = c->write_high = c->read_high = 0;
	if (c == &p->channel[0]) {
		irq_line_set(&p->irq, false);
		arm_locked(p);
	}
}

static u8 read_count_locked(struct pit *p, struct pit_channel *c)
{
	u16 n;
	bool high;

	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	n = c->latched ? c->latch : count(p, c);
	high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_high);
	if (c->access == ACCESS_BOTH)
		c->read_high = !c->read_high;
	if (c->latched)
		c->latched--;
	return high ? n >> 8 : n;
}

static void pit_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct pit *p = container_of(dev, struct pit, dev);

	pthread_mutex_lock(&p->lock);
	if (write && offset == 3)
		write_control_locked(p, *value);
	else if (write)
		write_count_locked(p, offset, *value);
	else if (offset < 3)
		*value = read_count_locked(p, &p->channel[offset]);
	pthread_mutex_unlock(&p->lock);
}

/* Bits 0 and 1 gate channel 2 and the speaker, 4 toggles with refresh, 5 is channel 2's output. */
static void port61_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct pit *p = container_of(dev, struct pit, dev);
	struct pit_channel *c = &p->channel[2];

	pthread_mutex_lock(&p->lock);
	if (write) {
		u8 gate = *value & 1;

		p->speaker = *value & 0x0f;
		if (gate && !c->gate && c->mode != 0 && c->mode != 4)
			c->start_ns = now_ns(p); /* a rising gate restarts the count */
		c->gate = gate;
	} else {
		*value = p->speaker | (now_ns(p) / 15085 & 1) << 4 | output(p, c) << 5;
	}
	pthread_mutex_unlock(&p->lock);
}

static void pit_reset(struct device *dev)
{
	struct pit *p = container_of(dev, struct pit, dev);

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < 3; i++)
		p->channel[i] = (struct pit_channel){
			.reload = 65536, .mode = 3, .access = ACCESS_BOTH, .gate = i != 2
		};
	p->speaker = 0;
	vm_timer_disarm(&dev->vm->clock, &p->timer);
	irq_line_set(&p->irq, false);
	pthread_mutex_unlock(&p->lock);
}

static int pit_realize(struct device *dev, GError **error)
{
	struct pit *p = container_of(dev, struct pit, dev);
	int err;

	pthread_mutex_init(&p->lock, NULL);
	irq_line_init(&p->irq, dev->vm, GSI_PIT);
	dev->vm->irq.legacy[0] = &p->irq;
	vm_timer_init(&p->timer, pit_fire, p);
	err = device_add_ports(dev, &p->ports, 0x40, 4, pit_access, error);
	return err ? err : device_add_ports(dev, &p->port61, 0x61, 1, port61_access, error);
}

static int pit_post_load(struct device *dev)
{
	struct pit *p = container_of(dev, struct pit, dev);

	for (unsigned i = 0; i < 3; i++) {
		const struct pit_channel *c = &p->channel[i];

		if (!c->reload || c->reload > 65536 || c->mode > 5 || c->access > 3 ||
		    c->latched > 2)
			return -EINVAL;
	}
	arm_locked(p);
	irq_line_restore(&p->irq);
	return 0;
}

static void pit_destroy(struct device *dev)
{
	pthread_mutex_destroy(&container_of(dev, struct pit, dev)->lock);
}

static const struct state_field channel_state[] = {
	STATE(struct pit_channel, start_ns),
	STATE(struct pit_channel, reload),
	STATE(struct pit_channel, latch),
	STATE(struct pit_channel, mode),
	STATE(struct pit_channel, access),
	STATE(struct pit_channel, bcd),
	STATE(struct pit_channel, latched),
	STATE(struct pit_channel, status),
	STATE(struct pit_channel, status_latched),
	STATE(struct pit_channel, write_high),
	STATE(struct pit_channel, read_high),
	STATE(struct pit_channel, write_low_byte),
	STATE(struct pit_channel, gate),
	STATE(struct pit_channel, loaded),
	STATE_END,
};

static const struct state_field pit_state[] = {
	STATE_STRUCTS(struct pit, channel, channel_state, struct pit_channel),
	STATE(struct pit, speaker),
	STATE(struct pit, irq.level),
	STATE_END,
};

const struct device_type device_pit = {
	.name = "pit",
	.help = "8254 interval timer and port 0x61",
	.bytes = sizeof(struct pit),
	.flags = DEVICE_BOARD,
	.state = pit_state,
	.realize = pit_realize,
	.reset = pit_reset,
	.post_load = pit_post_load,
	.destroy = pit_destroy,
};
