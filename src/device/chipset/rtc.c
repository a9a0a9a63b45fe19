/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The MC146818 real-time clock with its 128 bytes of CMOS memory (datasheet; ports 0x70, 0x71).
 *
 * The time is the host's plus an offset that a guest changes by setting the clock; with a stepped
 * machine clock it starts at a fixed date, so that tests repeat. One timer fires at the next
 * second if update or alarm interrupts are on, another at the periodic rate.
 */
#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
	REG_SECONDS,
	REG_SECONDS_ALARM,
	REG_MINUTES,
	REG_MINUTES_ALARM,
	REG_HOURS,
	REG_HOURS_ALARM,
	REG_WEEKDAY,
	REG_DAY,
	REG_MONTH,
	REG_YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	REG_CENTURY = 0x32,
};

#define A_UIP    0x80
#define B_SET    0x80
#define B_PIE    0x40
#define B_AIE    0x20
#define B_UIE    0x10
#define B_BINARY 0x04
#define B_24H    0x02
#define C_IRQ    0x80
#define C_PF     0x40
#define C_AF     0x20
#define C_UF     0x10

#define SECOND_NS 1000000000ull
#define UPDATE_NS 244000ull /* UIP rises this long before the second ends */

struct rtc {
	struct device dev;
	struct region ports;
	struct irq_line irq;
	pthread_mutex_t lock;
	struct vm_timer second, periodic;

	u8 index;
	u8 cmos[128];    /* registers A to D included; time registers only while B_SET */
	s64 offset_ns;   /* guest's wall time minus machine time */
	u64 periodic_ns; /* when the last periodic tick was due */
};

static u64 wall_ns(struct rtc *r)
{
	return vm_clock_now(&r->dev.vm->clock) + r->offset_ns;
}

static u8 encode(const struct rtc *r, unsigned n)
{
	return r->cmos[REG_B] & B_BINARY ? n : n % 10 | n / 10 % 10 << 4;
}

static unsigned decode(const struct rtc *r, u8 n)
{
	return r->cmos[REG_B] & B_BINARY ? n : (n & 15) + (n >> 4) * 10;
}

static u8 encode_hour(const struct rtc *r, unsigned hour)
{
	if (r->cmos[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static unsigned decode_hour(const struct rtc *r, u8 n)
{
	if (r->cmos[REG_B] & B_24H)
		return decode(r, n);
	return decode(r, n & 0x7f) % 12 + (n & 0x80 ? 12 : 0);
}

/* Copies the running time into the time registers, as they read. */
static void show_time_locked(struct rtc *r)
{
	time_t t = wall_ns(r) / SECOND_NS;
	struct tm tm;

	gmtime_r(&t, &tm);
	r->cmos[REG_SECONDS] = encode(r, tm.tm_sec);
	r->cmos[REG_MINUTES] = encode(r, tm.tm_min);
	r->cmos[REG_HOURS] = encode_hour(r, tm.tm_hour);
	r->cmos[REG_WEEKDAY] = encode(r, tm.tm_wday + 1);
	r->cmos[REG_DAY] = encode(r, tm.tm_mday);
	r->cmos[REG_MONTH] = encode(r, tm.tm_mon + 1);
	r->cmos[REG_YEAR] = encode(r, tm.tm_year % 100);
	r->cmos[REG_CENTURY] = encode(r, (tm.tm_year + 1900) / 100 % 100);
}

/* The inverse, when the guest ends setting. timegm() accepts and normalises any numbers. */
static void take_time_locked(struct rtc *r)
{
	struct tm tm = {
		.tm_sec = decode(r, r->cmos[REG_SECONDS]),
		.tm_min = decode(r, r->cmos[REG_MINUTES]),
		.tm_hour = decode_hour(r, r->cmos[REG_HOURS]),
		.tm_mday = decode(r, r->cmos[REG_DAY]),
		.tm_mon = (int)decode(r, r->cmos[REG_MONTH]) - 1,
		.tm_year =
			decode(r, r->cmos[REG_CENTURY]) * 100 + decode(r, r->cmos[REG_YEAR]) - 1900,
	};

	r->offset_ns = (s64)((u64)timegm(&tm) * SECOND_NS - vm_clock_now(&r->dev.vm->clock));
}

static void update_irq_locked(struct rtc *r)
{
	bool irq = r->cmos[REG_C] & r->cmos[REG_B] & (C_PF | C_AF | C_UF);

	if (irq)
		r->cmos[REG_C] |= C_IRQ;
	irq_line_set(&r->irq, r->cmos[REG_C] & C_IRQ);
}

static void arm_second_locked(struct rtc *r)
{
	struct vm_clock *clock = &r->dev.vm->clock;

	if ((r->cmos[REG_B] & B_SET) || !(r->cmos[REG_B] & (B_UIE | B_AIE)))
		vm_timer_disarm(clock, &r->second);
	else
		vm_timer_arm(clock, &r->second,
			     vm_clock_now(clock) + SECOND_NS - wall_ns(r) % SECOND_NS);
}

/* Rates 1 and 2 repeat 8 and 9 with the 32 kHz base. */
static u64 period_ns(const struct rtc *r)
{
	unsigned rate = r->cmos[REG_A] & 15;

	if (!rate)
		return 0;
	return (SECOND_NS << ((rate <= 2 ? rate + 7 : rate) - 1)) / 32768;
}

static void arm_periodic_locked(struct rtc *r)
{
	struct vm_clock *clock = &r->dev.vm->clock;
	u64 period = period_ns(r);

	if (!period || !(r->cmos[REG_B] & B_PIE))
		vm_timer_disarm(clock, &r->periodic);
	else
		vm_timer_arm(clock, &r->periodic, r->periodic_ns + period);
}

static bool alarm_matches(struct rtc *r, unsigned alarm, unsigned time)
{
	return r->cmos[alarm] >= 0xc0 || r->cmos[alarm] == r->cmos[time];
}

static void second_fire(void *opaque)
{
	struct rtc *r = opaque;

	pthread_mutex_lock(&r->lock);
	if (!(r->cmos[REG_B] & B_SET)) {
		show_time_locked(r);
		r->cmos[REG_C] |= C_UF;
		if (alarm_matches(r, REG_SECONDS_ALARM, REG_SECONDS) &&
		    alarm_matches(r, REG_MINUTES_ALARM, REG_MINUTES) &&
		    alarm_matches(r, REG_HOURS_ALARM, REG_HOURS))
			r->cmos[REG_C] |= C_AF;
		update_irq_locked(r);
	}
	arm_second_locked(r);
	pthread_mutex_unlock(&r->lock);
}

static void periodic_fire(void *opaque)
{
	struct rtc *r = opaque;
	u64 now = vm_clock_now(&r->dev.vm->clock), period;

	pthread_mutex_lock(&r->lock);
	period = period_ns(r);
	if (period && (r->cmos[REG_B] & B_PIE) && now >= r->periodic_ns + period) {
		r->periodic_ns += (now - r->periodic_ns) / period * period;
		r->cmos[REG_C] |= C_PF;
		update_irq_locked(r);
	}
	arm_periodic_locked(r);
	pthread_mutex_unlock(&r->lock);
}

static u8 read_locked(struct rtc *r)
{
	u8 reg = r->index, value;

	switch (reg) {
	case REG_A:
		value = r->cmos[REG_A];
		if (!(r->cmos[REG_B] & B_SET) && wall_ns(r) % SECOND_NS >= SECOND_NS - UPDATE_NS)
			value |= A_UIP;
		return value;
	case REG_C:
		value = r->cmos[REG_C];
		r->cmos[REG_C] = 0;
		irq_line_set(&r->irq, false);
		return value;
	case REG_D: return 0x80; /* the battery is fine */
	default:
		if (!(r->cmos[REG_B] & B_SET))
			show_time_locked(r);
		return r->cmos[reg];
	}
}

static void write_b_locked(struct rtc *r, u8 value)
{
	u8 old = r->cmos[REG_B];

	if (value & B_SET)
		value &= ~B_UIE;
	if (!(old & B_SET) && (value & B_SET))
		show_time_locked(r);
	if ((old & B_SET) && !(value & B_SET)) {
		r->cmos[REG_B] = value;
		take_time_locked(r);
	}
	if (!(old & B_PIE) && (value & B_PIE))
		r->periodic_ns = vm_clock_now(&r->dev.vm->clock);
	r->cmos[REG_B] = value;
	update_irq_locked(r);
	arm_second_locked(r);
	arm_periodic_locked(r);
}

static bool is_time(u8 reg)
{
	return reg == REG_CENTURY || (reg <= REG_YEAR && reg != REG_SECONDS_ALARM &&
				      reg != REG_MINUTES_ALARM && reg != REG_HOURS_ALARM);
}

static void write_locked(struct rtc *r, u8 value)
{
	switch (r->index) {
	case REG_A:
		r->cmos[REG_A] = value & 0x7f;
		r->periodic_ns = vm_clock_now(&r->dev.vm->clock);
		arm_periodic_locked(r);
		break;
	case REG_B: write_b_locked(r, value); break;
	case REG_C:
	case REG_D: break;
	default:
		if (is_time(r->index) && !(r->cmos[REG_B] & B_SET)) {
			show_time_locked(r);
			r->cmos[r->index] = value;
			take_time_locked(r);
		} else {
			r->cmos[r->index] = value;
		}
	}
}

static void rtc_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct rtc *r = container_of(dev, struct rtc, dev);

	pthread_mutex_lock(&r->lock);
	if (offset == 0 && write)
		r->index = *value & 0x7f; /* bit 7 masks NMIs, which nothing here needs */
	else if (offset == 1 && write)
		write_locked(r, *value);
	else if (offset == 1)
		*value = read_locked(r);
	pthread_mutex_unlock(&r->lock);
}

/* Memory sizes where firmware expects them. */
static void fill_memory_sizes(struct rtc *r)
{
	const struct guest_memory *mem = &r->dev.vm->memory;
	u64 extended = MIN((mem->low_bytes - MIB) / KIB, 0xffff);
	u64 above_16m = mem->low_bytes > 16 * MIB ? (mem->low_bytes - 16 * MIB) / (64 * KIB) : 0;
	u64 above_4g = mem->high_bytes / (64 * KIB);

	r->cmos[0x15] = 640 & 0xff;
	r->cmos[0x16] = 640 >> 8;
	r->cmos[0x17] = r->cmos[0x30] = extended;
	r->cmos[0x18] = r->cmos[0x31] = extended >> 8;
	r->cmos[0x34] = above_16m;
	r->cmos[0x35] = above_16m >> 8;
	r->cmos[0x5b] = above_4g;
	r->cmos[0x5c] = above_4g >> 8;
	r->cmos[0x5d] = above_4g >> 16;
	r->cmos[0x5f] = r->dev.vm->vcpu_count - 1;
}

/* The clock and its memory run on a battery: reset touches the interrupt enables alone. */
static void rtc_reset(struct device *dev)
{
	struct rtc *r = container_of(dev, struct rtc, dev);

	pthread_mutex_lock(&r->lock);
	r->index = 0;
	r->cmos[REG_A] = 0x26;
	r->cmos[REG_B] = (r->cmos[REG_B] & B_BINARY) | B_24H;
	r->cmos[REG_C] = 0;
	fill_memory_sizes(r);
	irq_line_set(&r->irq, false);
	arm_second_locked(r);
	arm_periodic_locked(r);
	pthread_mutex_unlock(&r->lock);
}

static s64 host_wall_ns(bool localtime)
{
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (localtime && localtime_r(&ts.tv_sec, &tm))
		ts.tv_sec += tm.tm_gmtoff;
	return ts.tv_sec * (s64)SECOND_NS + ts.tv_nsec;
}

static int rtc_realize(struct device *dev, GError **error)
{
	struct rtc *r = container_of(dev, struct rtc, dev);
	struct vm_clock *clock = &dev->vm->clock;

	pthread_mutex_init(&r->lock, NULL);
	irq_line_init(&r->irq, dev->vm, GSI_RTC);
	dev->vm->irq.legacy[1] = &r->irq;
	vm_timer_init(&r->second, second_fire, r);
	vm_timer_init(&r->periodic, periodic_fire, r);
	r->offset_ns = clock->manual
			       ? 1000000000 * (s64)SECOND_NS
			       : host_wall_ns(dev->vm->rtc_localtime) - (s64)vm_clock_now(clock);
	return device_add_ports(dev, &r->ports, 0x70, 2, rtc_access, error);
}

static int rtc_post_load(struct device *dev)
{
	struct rtc *r = container_of(dev, struct rtc, dev);

	if (r->index > 127)
		return -EINVAL;
	irq_line_restore(&r->irq);
	arm_second_locked(r);
	arm_periodic_locked(r);
	return 0;
}

static void rtc_destroy(struct device *dev)
{
	pthread_mutex_destroy(&container_of(dev, struct rtc, dev)->lock);
}

static const struct state_field rtc_state[] = {
	STATE(struct rtc, index),       STATE(struct rtc, cmos),      STATE(struct rtc, offset_ns),
	STATE(struct rtc, periodic_ns), STATE(struct rtc, irq.level), STATE_END,
};

const struct device_type device_rtc = {
	.name = "rtc",
	.help = "MC146818 real-time clock and CMOS memory",
	.bytes = sizeof(struct rtc),
	.flags = DEVICE_BOARD,
	.state = rtc_state,
	.realize = rtc_realize,
	.reset = rtc_reset,
	.post_load = rtc_post_load,
	.destroy = rtc_destroy,
};
