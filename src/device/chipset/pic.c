/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two 8259A interrupt controllers of a PC, cascaded at pin 2 (Intel 8259A datasheet).
 *
 * INTR follows from the registers and is recomputed after every change (update_locked). The edge
 * or level mode of each pin is the chipset's ELCR (ports 0x4d0, 0x4d1).
 */
#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>

#define CASCADE 2

struct pic_chip {
	u8 irr, isr, imr, levels, elcr;
	u8 base;      /* ICW2: vector of pin 0 */
	u8 init_step; /* 0: ready; else which ICW is expected next at the data port (2..4) */
	u8 icw1, icw4;
	u8 lowest; /* pin with the lowest priority */
	bool read_isr, special_mask, poll, rotate_auto;
};

struct pic {
	struct device dev;
	struct region ports[3];
	pthread_mutex_t lock;
	struct pic_chip chip[2]; /* master, slave */
	bool intr;
};

/* The pin with the highest priority in @bits, or -1; rotation starts after the lowest. */
static int highest(const struct pic_chip *c, u8 bits)
{
	for (unsigned i = 1; i <= 8; i++)
		if (bits & BIT((c->lowest + i) & 7))
			return (c->lowest + i) & 7;
	return -1;
}

static unsigned rank(const struct pic_chip *c, unsigned pin)
{
	return (pin - c->lowest - 1) & 7;
}

/* The pin that may interrupt now, or -1. A slave in service does not block a higher one of the
 * same slave only in special fully nested mode (ICW4 bit 4). */
static int pending(const struct pic_chip *c, bool master)
{
	int pin = highest(c, c->irr & ~c->imr);
	u8 blocking = c->isr;
	int active;

	if (pin < 0 || c->init_step)
		return -1;
	if (c->special_mask)
		blocking &= ~c->imr;
	if (master && (c->icw4 & 0x10) && pin == CASCADE)
		blocking &= ~BIT(CASCADE);
	active = highest(c, blocking);
	return active >= 0 && rank(c, active) <= rank(c, pin) ? -1 : pin;
}

static void set_pin_locked(struct pic_chip *c, unsigned pin, bool level)
{
	u8 bit = BIT(pin);

	if (level && ((c->elcr & bit) || !(c->levels & bit)))
		c->irr |= bit;
	else if (!level)
		c->irr &= ~bit; /* a request must last until acknowledged, in both modes */
	c->levels = level ? c->levels | bit : c->levels & ~bit;
}

static void update_locked(struct pic *p)
{
	struct lapic_ops const *ops = p->dev.vm->irq.lapic;
	struct device *lapic = p->dev.vm->vcpus[0]->lapic;
	bool intr;

	set_pin_locked(&p->chip[0], CASCADE, pending(&p->chip[1], false) >= 0);
	intr = pending(&p->chip[0], true) >= 0;
	if (intr == p->intr)
		return;
	p->intr = intr;
	if (ops && lapic)
		ops->lint0(lapic, intr);
}

static void pic_set(struct device *dev, unsigned irq, bool level)
{
	struct pic *p = container_of(dev, struct pic, dev);

	pthread_mutex_lock(&p->lock);
	set_pin_locked(&p->chip[irq / 8], irq % 8, level);
	update_locked(p);
	pthread_mutex_unlock(&p->lock);
}

static void in_service(struct pic_chip *c, unsigned pin)
{
	if (!(c->elcr & BIT(pin)))
		c->irr &= ~BIT(pin);
	if (!(c->icw4 & 2))
		c->isr |= BIT(pin);
	else if (c->rotate_auto)
		c->lowest = pin;
}

/* A request that vanished gives the spurious vector of pin 7. */
static u8 ack_chip(struct pic_chip *c, bool master, int *pin)
{
	*pin = pending(c, master);
	if (*pin < 0)
		return c->base + 7;
	in_service(c, *pin);
	return c->base + *pin;
}

static int pic_ack(struct device *dev)
{
	struct pic *p = container_of(dev, struct pic, dev);
	int pin, vector;

	pthread_mutex_lock(&p->lock);
	vector = ack_chip(&p->chip[0], true, &pin);
	if (pin == CASCADE)
		vector = ack_chip(&p->chip[1], false, &pin);
	update_locked(p);
	pthread_mutex_unlock(&p->lock);
	return vector;
}

static void write_icw1(struct pic_chip *c, u8 value)
{
	c->icw1 = value;
	c->init_step = 2;
	c->imr = c->isr = 0;
	c->irr = c->levels & c->elcr; /* edges are forgotten */
	c->lowest = 7;
	c->read_isr = c->special_mask = c->poll = c->rotate_auto = false;
	if (!(value & 1))
		c->icw4 = 0;
}

static void write_eoi(struct pic_chip *c, u8 value)
{
	unsigned command = value >> 5, pin = value & 7;
	int active = highest(c, c->isr);

	switch (command) {
	case 0: c->rotate_auto = false; break;
	case 4: c->rotate_auto = true; break;
	case 1: /* non-specific EOI, and with rotation */
	case 5:
		if (active >= 0) {
			c->isr &= ~BIT(active);
			if (command == 5)
				c->lowest = active;
		}
		break;
	case 3:
	case 7:
		c->isr &= ~BIT(pin);
		if (command == 7)
			c->lowest = pin;
		break;
	case 6: c->lowest = pin; break;
	}
}

static void write_command(struct pic_chip *c, u8 value)
{
	if (value & 0x10) {
		write_icw1(c, value);
	} else if (value & 0x08) { /* OCW3 */
		if (value & 0x04)
			c->poll = true;
		if (value & 0x02)
			c->read_isr = value & 1;
		if (value & 0x40)
			c->special_mask = value & 0x20;
	} else {
		write_eoi(c, value);
	}
}

static void write_data(struct pic_chip *c, u8 value)
{
	switch (c->init_step) {
	case 0: c->imr = value; break;
	case 2:
		c->base = value & 0xf8;
		c->init_step = c->icw1 & 2 ? (c->icw1 & 1 ? 4 : 0) : 3;
		break;
	case 3: c->init_step = c->icw1 & 1 ? 4 : 0; break;
	case 4:
		c->icw4 = value;
		c->init_step = 0;
		break;
	}
}

static u8 read_chip(struct pic_chip *c, bool master, bool data)
{
	int pin;

	if (c->poll) {
		c->poll = false;
		ack_chip(c, master, &pin);
		return pin < 0 ? 0 : 0x80 | pin;
	}
	return data ? c->imr : c->read_isr ? c->isr : c->irr;
}

static void pic_access(struct pic *p, unsigned chip, u64 offset, u64 *value, bool write)
{
	struct pic_chip *c = &p->chip[chip];

	pthread_mutex_lock(&p->lock);
	if (!write)
		*value = read_chip(c, chip == 0, offset);
	else if (offset)
		write_data(c, *value);
	else
		write_command(c, *value);
	update_locked(p);
	pthread_mutex_unlock(&p->lock);
}

static void master_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	pic_access(container_of(dev, struct pic, dev), 0, offset, value, write);
}

static void slave_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	pic_access(container_of(dev, struct pic, dev), 1, offset, value, write);
}

/* Pins 0, 1, 2, 8 and 13 are always edge-triggered. */
static void elcr_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct pic *p = container_of(dev, struct pic, dev);

	pthread_mutex_lock(&p->lock);
	if (write)
		p->chip[offset].elcr = *value & (offset ? 0xde : 0xf8);
	else
		*value = p->chip[offset].elcr;
	update_locked(p);
	pthread_mutex_unlock(&p->lock);
}

/* Pins keep their levels: they are the devices' outputs. */
static void pic_reset(struct device *dev)
{
	struct pic *p = container_of(dev, struct pic, dev);

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < 2; i++) {
		p->chip[i].elcr = 0;
		write_icw1(&p->chip[i], 0);
		p->chip[i].init_step = 0;
		p->chip[i].imr = 0xff;
		p->chip[i].base = 0;
	}
	update_locked(p);
	pthread_mutex_unlock(&p->lock);
}

static int pic_realize(struct device *dev, GError **error)
{
	struct pic *p = container_of(dev, struct pic, dev);
	struct irq_router *irq = &dev->vm->irq;
	int err;

	pthread_mutex_init(&p->lock, NULL);
	irq->pic = dev;
	irq->pic_set = pic_set;
	irq->pic_ack = pic_ack;
	err = device_add_ports(dev, &p->ports[0], 0x20, 2, master_access, error);
	if (!err)
		err = device_add_ports(dev, &p->ports[1], 0xa0, 2, slave_access, error);
	if (!err)
		err = device_add_ports(dev, &p->ports[2], 0x4d0, 2, elcr_access, error);
	return err;
}

static int pic_post_load(struct device *dev)
{
	struct pic *p = container_of(dev, struct pic, dev);

	for (unsigned i = 0; i < 2; i++)
		if (p->chip[i].init_step > 4 || p->chip[i].lowest > 7)
			return -EINVAL;
	return 0;
}

static void pic_destroy(struct device *dev)
{
	pthread_mutex_destroy(&container_of(dev, struct pic, dev)->lock);
}

static const struct state_field chip_state[] = {
	STATE(struct pic_chip, irr),
	STATE(struct pic_chip, isr),
	STATE(struct pic_chip, imr),
	STATE(struct pic_chip, levels),
	STATE(struct pic_chip, elcr),
	STATE(struct pic_chip, base),
	STATE(struct pic_chip, init_step),
	STATE(struct pic_chip, icw1),
	STATE(struct pic_chip, icw4),
	STATE(struct pic_chip, lowest),
	STATE(struct pic_chip, read_isr),
	STATE(struct pic_chip, special_mask),
	STATE(struct pic_chip, poll),
	STATE(struct pic_chip, rotate_auto),
	STATE_END,
};

static const struct state_field pic_state[] = {
	STATE_STRUCTS(struct pic, chip, chip_state, struct pic_chip),
	STATE(struct pic, intr),
	STATE_END,
};

const struct device_type device_pic = {
	.name = "pic",
	.help = "pair of 8259A interrupt controllers",
	.bytes = sizeof(struct pic),
	.flags = DEVICE_BOARD,
	.state = pic_state,
	.realize = pic_realize,
	.reset = pic_reset,
	.post_load = pic_post_load,
	.destroy = pic_destroy,
};
