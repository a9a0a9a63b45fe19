/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * High precision event timer (IA-PC HPET specification 1.0a): a 100 MHz, 64-bit main counter and
 * three comparators, of which the first can be periodic. Legacy replacement moves comparator 0 to
 * the PIT's interrupt and 1 to the RTC's; otherwise a comparator uses the I/O APIC pin it chose.
 */
#include "machine/layout.h"
#include "machine/vm.h"
#include "state/state.h"

#include <string.h>

#define HPET_BYTES 0x400
#define TICK_NS    10
#define TIMERS     3
#define ROUTES     0x00f00000u /* I/O APIC pins a comparator may use: 20..23 */

#define CFG_ENABLE BIT(0)
#define CFG_LEGACY BIT(1)

#define TN_LEVEL        BIT(1)
#define TN_ENABLE       BIT(2)
#define TN_PERIODIC     BIT(3)
#define TN_PERIODIC_CAP BIT(4)
#define TN_SIZE_CAP     BIT(5)
#define TN_SETVAL       BIT(6)
#define TN_32BIT        BIT(8)
#define TN_ROUTE(c)     (((c) >> 9) & 31)
#define TN_WRITABLE     (TN_LEVEL | TN_ENABLE | TN_PERIODIC | TN_SETVAL | TN_32BIT | 0x1full << 9)

/* A periodic comparator faster than the host can follow fires no more often than this. */
#define PERIOD_MIN_TICKS (20000 / TICK_NS)

struct hpet_timer {
	struct hpet *hpet;
	u64 config, comparator, period;
	u8 index;
	struct vm_timer timer;
};

struct hpet {
	struct device dev;
	struct region region;
	struct irq_line lines[GSI_COUNT];
	pthread_mutex_t lock;
	u64 config, status;
	u64 counter;  /* while stopped */
	u64 start_ns; /* machine time at which the counter was 0, while running (may wrap) */
	struct hpet_timer timers[TIMERS];
};

static u64 counter(struct hpet *h)
{
	if (!(h->config & CFG_ENABLE))
		return h->counter;
	return (vm_clock_now(&h->dev.vm->clock) - h->start_ns) / TICK_NS;
}

static unsigned gsi_of(const struct hpet *h, const struct hpet_timer *t)
{
	if ((h->config & CFG_LEGACY) && t->index < 2)
		return t->index == 0 ? GSI_PIT : GSI_RTC;
	return TN_ROUTE(t->config) % GSI_COUNT;
}

static bool level_triggered(const struct hpet *h, const struct hpet_timer *t)
{
	return (t->config & TN_LEVEL) && !((h->config & CFG_LEGACY) && t->index < 2);
}

static bool routed(const struct hpet *h, const struct hpet_timer *t)
{
	return ((h->config & CFG_LEGACY) && t->index < 2) || (ROUTES & BIT(TN_ROUTE(t->config)));
}

/* Levels follow the status bits; a pin that several comparators chose is their OR. */
static void update_levels_locked(struct hpet *h)
{
	bool level[GSI_COUNT] = { false };

	for (unsigned i = 0; i < TIMERS; i++) {
		struct hpet_timer *t = &h->timers[i];

		if (level_triggered(h, t) && routed(h, t) && (h->status & BIT(i)))
			level[gsi_of(h, t)] = true;
	}
	for (unsigned i = 0; i < GSI_COUNT; i++)
		irq_line_set(&h->lines[i], level[i]);
}

static void interrupt_locked(struct hpet *h, struct hpet_timer *t)
{
	struct irq_line *line = &h->lines[gsi_of(h, t)];

	if (level_triggered(h, t))
		h->status |= BIT(t->index);
	if (!(t->config & TN_ENABLE) || !routed(h, t))
		return;
	if (level_triggered(h, t)) {
		update_levels_locked(h);
	} else {
		irq_line_set(line, false); /* high since the last time */
		irq_line_set(line, true);
	}
}

/* Ticks until the comparator matches next; a 32-bit one matches on every wrap of 32 bits. */
static u64 distance(const struct hpet_timer *t, u64 now)
{
	u64 d = t->comparator - now;

	return t->config & TN_32BIT ? (u32)d : d;
}

static void arm_locked(struct hpet *h, struct hpet_timer *t)
{
	struct vm_clock *clock = &h->dev.vm->clock;
	u64 now = counter(h), d = distance(t, now);

	/* A match more than half the range away has passed already. */
	if (!(h->config & CFG_ENABLE) || !(t->config & TN_ENABLE) ||
	    (!(t->config & TN_32BIT) && d > INT64_MAX / TICK_NS))
		vm_timer_disarm(clock, &t->timer);
	else
		vm_timer_arm(clock, &t->timer, h->start_ns + (now + d) * TICK_NS);
}

static void hpet_fire(void *opaque)
{
	struct hpet_timer *t = opaque;
	struct hpet *h = t->hpet;
	u64 now, late;

	pthread_mutex_lock(&h->lock);
	now = counter(h);
	late = now - t->comparator;
	if (t->config & TN_32BIT)
		late = (u32)late;
	if (!(h->config & CFG_ENABLE) || vm_timer_armed(&h->dev.vm->clock, &t->timer) ||
	    late > (t->config & TN_32BIT ? INT32_MAX : INT64_MAX)) {
		pthread_mutex_unlock(&h->lock);
		return; /* rewritten while this was on its way; whoever did so armed it */
	}
	if ((t->config & TN_PERIODIC) && t->period) {
		u64 period = MAX(t->period, PERIOD_MIN_TICKS);

		t->comparator += (late / period + 1) * period;
		if (t->config & TN_32BIT)
			t->comparator = (u32)t->comparator;
	}
	interrupt_locked(h, t);
	if ((t->config & TN_PERIODIC) && t->period)
		arm_locked(h, t);
	pthread_mutex_unlock(&h->lock);
}

static void write_config_locked(struct hpet *h, u64 value)
{
	u64 old = h->config;

	if ((old & CFG_ENABLE) && !(value & CFG_ENABLE))
		h->counter = counter(h);
	if (!(old & CFG_ENABLE) && (value & CFG_ENABLE))
		h->start_ns = vm_clock_now(&h->dev.vm->clock) - h->counter * TICK_NS;
	h->config = value & (CFG_ENABLE | CFG_LEGACY);
	irq_replace_legacy(h->dev.vm, h->config & CFG_LEGACY);
	for (unsigned i = 0; i < TIMERS; i++)
		arm_locked(h, &h->timers[i]);
	update_levels_locked(h);
}

static u64 timer_config(const struct hpet_timer *t)
{
	return t->config | TN_SIZE_CAP | (t->index == 0 ? TN_PERIODIC_CAP : 0) | (u64)ROUTES << 32;
}

static void write_timer_config_locked(struct hpet *h, struct hpet_timer *t, u64 value)
{
	t->config = value & TN_WRITABLE;
	if (t->index != 0)
		t->config &= ~TN_PERIODIC;
	if (t->config & TN_32BIT)
		t->comparator = (u32)t->comparator;
	arm_locked(h, t);
	update_levels_locked(h);
}

/* A periodic comparator's writes set the period; those after SETVAL also the comparator. */
static void write_comparator_locked(struct hpet *h, struct hpet_timer *t, u64 value)
{
	if (t->config & TN_32BIT)
		value = (u32)value;
	if (!(t->config & TN_PERIODIC) || (t->config & TN_SETVAL))
		t->comparator = value;
	if (t->config & TN_PERIODIC)
		t->period = value & ~BIT(63);
	t->config &= ~TN_SETVAL;
	arm_locked(h, t);
}

static u64 read_register(struct hpet *h, u64 reg)
{
	const struct hpet_timer *t = &h->timers[(reg - 0x100) / 0x20 % TIMERS];

	switch (reg) {
	case 0x00: /* period in fs, vendor, legacy capable, 64 bits, number of comparators, revision
		    */
		return TICK_NS * 1000000ull << 32 | 0x8086ull << 16 | BIT(15) | BIT(13) |
		       (TIMERS - 1) << 8 | 1;
	case 0x10: return h->config;
	case 0x20: return h->status;
	case 0xf0: return counter(h);
	}
	if (reg < 0x100 || reg >= 0x100 + 0x20 * TIMERS)
		return 0;
	switch (reg & 0x1f) {
	case 0x00: return timer_config(t);
	case 0x08: return t->comparator;
	default: return 0;
	}
}

static void write_register_locked(struct hpet *h, u64 reg, u64 value)
{
	struct hpet_timer *t = &h->timers[(reg - 0x100) / 0x20 % TIMERS];

	switch (reg) {
	case 0x10: write_config_locked(h, value); return;
	case 0x20:
		h->status &= ~value;
		update_levels_locked(h);
		return;
	case 0xf0:
		h->counter = value;
		h->start_ns = vm_clock_now(&h->dev.vm->clock) - value * TICK_NS;
		for (unsigned i = 0; i < TIMERS; i++)
			arm_locked(h, &h->timers[i]);
		return;
	}
	if (reg < 0x100 || reg >= 0x100 + 0x20 * TIMERS)
		return;
	if ((reg & 0x1f) == 0)
		write_timer_config_locked(h, t, value);
	else if ((reg & 0x1f) == 8)
		write_comparator_locked(h, t, value);
}

/* Registers are 64 bits wide; a 32-bit write changes its half. */
static void hpet_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct hpet *h = container_of(dev, struct hpet, dev);
	u64 reg = offset & ~7ull, old;
	unsigned shift = 8 * (offset & 7);
	u64 mask = (size >= 8 ? UINT64_MAX : BIT(8 * size) - 1) << shift;

	pthread_mutex_lock(&h->lock);
	if (!write)
		*value = read_register(h, reg) >> shift;
	else if (shift + 8 * size <= 64) {
		/* Status is write-1-to-clear: the other half must not clear anything. */
		old = reg == 0x20 ? 0 : read_register(h, reg);
		write_register_locked(h, reg, (old & ~mask) | (*value << shift & mask));
	}
	pthread_mutex_unlock(&h->lock);
}

static void hpet_reset(struct device *dev)
{
	struct hpet *h = container_of(dev, struct hpet, dev);

	pthread_mutex_lock(&h->lock);
	h->config = h->status = h->counter = h->start_ns = 0;
	for (unsigned i = 0; i < TIMERS; i++) {
		h->timers[i].config = h->timers[i].period = 0;
		h->timers[i].comparator = UINT64_MAX;
		vm_timer_disarm(&dev->vm->clock, &h->timers[i].timer);
	}
	irq_replace_legacy(dev->vm, false);
	update_levels_locked(h);
	pthread_mutex_unlock(&h->lock);
}

static int hpet_realize(struct device *dev, GError **error)
{
	struct hpet *h = container_of(dev, struct hpet, dev);

	pthread_mutex_init(&h->lock, NULL);
	for (unsigned i = 0; i < GSI_COUNT; i++)
		irq_line_init(&h->lines[i], dev->vm, i);
	for (unsigned i = 0; i < TIMERS; i++) {
		h->timers[i].hpet = h;
		h->timers[i].index = i;
		vm_timer_init(&h->timers[i].timer, hpet_fire, &h->timers[i]);
	}
	return device_add_mmio(dev, &h->region, HPET_BASE, HPET_BYTES, hpet_access, error);
}

static int hpet_post_load(struct device *dev)
{
	struct hpet *h = container_of(dev, struct hpet, dev);

	pthread_mutex_lock(&h->lock);
	irq_restore_legacy(dev->vm, h->config & CFG_LEGACY);
	for (unsigned i = 0; i < GSI_COUNT; i++)
		irq_line_restore(&h->lines[i]);
	for (unsigned i = 0; i < TIMERS; i++)
		arm_locked(h, &h->timers[i]);
	pthread_mutex_unlock(&h->lock);
	return 0;
}

static void hpet_destroy(struct device *dev)
{
	pthread_mutex_destroy(&container_of(dev, struct hpet, dev)->lock);
}

static const struct state_field timer_state[] = {
	STATE(struct hpet_timer, config),
	STATE(struct hpet_timer, comparator),
	STATE(struct hpet_timer, period),
	STATE_END,
};

static const struct state_field line_state[] = { STATE(struct irq_line, level), STATE_END };

static const struct state_field hpet_state[] = {
	STATE(struct hpet, config),
	STATE(struct hpet, status),
	STATE(struct hpet, counter),
	STATE(struct hpet, start_ns),
	STATE_STRUCTS(struct hpet, lines, line_state, struct irq_line),
	STATE_STRUCTS(struct hpet, timers, timer_state, struct hpet_timer),
	STATE_END,
};

const struct device_type device_hpet = {
	.name = "hpet",
	.help = "high precision event timer",
	.bytes = sizeof(struct hpet),
	.flags = DEVICE_BOARD,
	.state = hpet_state,
	.realize = hpet_realize,
	.reset = hpet_reset,
	.post_load = hpet_post_load,
	.destroy = hpet_destroy,
};
