/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The I/O APIC (82093AA datasheet; version 0x20 with the EOI register of later chipsets).
 *
 * A pin's level is remembered. An edge entry sends on the rising edge; a level entry sends while
 * the pin is high and no earlier one waits for its EOI (remote IRR). Unmasking a level entry whose
 * pin is high sends, and so does the EOI of one that is still high. An edge that comes while the
 * entry is masked is kept and sent at unmasking: real parts lose it, guests expect otherwise.
 */
#include "machine/layout.h"
#include "machine/vm.h"
#include "state/state.h"

#include <string.h>

#define IOAPIC_BYTES 0x1000
#define PINS         GSI_COUNT

#define ENTRY_LOGICAL    BIT(11)
#define ENTRY_PENDING    BIT(12)
#define ENTRY_LOW        BIT(13)
#define ENTRY_REMOTE_IRR BIT(14)
#define ENTRY_LEVEL      BIT(15)
#define ENTRY_MASKED     BIT(16)
#define ENTRY_READ_ONLY  (ENTRY_PENDING | ENTRY_REMOTE_IRR)

struct ioapic {
	struct device dev;
	struct region region;
	pthread_mutex_t lock;
	u32 id;
	u8 select;
	u64 entries[PINS];
	u32 levels; /* of the pins */
	u32 edges;  /* arrived while masked */
};

static struct irq_message message_of(u64 entry)
{
	return (struct irq_message){
		.dest = entry >> 56,
		.vector = entry & 0xff,
		.mode = (entry >> 8) & 7,
		.logical = entry & ENTRY_LOGICAL,
		.level_triggered = entry & ENTRY_LEVEL,
	};
}

static void send_locked(struct ioapic *io, unsigned pin)
{
	u64 e = io->entries[pin];
	const struct irq_message m = message_of(e);

	if (e & ENTRY_LEVEL)
		io->entries[pin] |= ENTRY_REMOTE_IRR;
	if (io->dev.vm->irq.lapic && m.mode != IRQ_EXTINT)
		io->dev.vm->irq.lapic->deliver(io->dev.vm, &m);
}

/* Local APICs of the engine must know beforehand whose end is to be reported. What a masked entry
 * says may still be in service, so that stays. */
static void announce_locked(struct ioapic *io, unsigned pin)
{
	const struct lapic_ops *lapic = io->dev.vm->irq.lapic;
	struct irq_message m = message_of(io->entries[pin]);

	if (lapic && lapic->level_pin && m.level_triggered && m.vector >= 16 &&
	    !(io->entries[pin] & ENTRY_MASKED))
		lapic->level_pin(io->dev.vm, pin, &m);
}

/* Sends what the pin's state now calls for. */
static void service_locked(struct ioapic *io, unsigned pin)
{
	u64 e = io->entries[pin];

	if (e & ENTRY_MASKED)
		return;
	if (e & ENTRY_LEVEL) {
		if ((io->levels & BIT(pin)) && !(e & ENTRY_REMOTE_IRR))
			send_locked(io, pin);
	} else if (io->edges & BIT(pin)) {
		io->edges &= ~BIT(pin);
		send_locked(io, pin);
	}
}

static void ioapic_set(struct device *dev, unsigned pin, bool level)
{
	struct ioapic *io = container_of(dev, struct ioapic, dev);

	pthread_mutex_lock(&io->lock);
	if (level && !(io->levels & BIT(pin)))
		io->edges |= BIT(pin);
	io->levels = level ? io->levels | BIT(pin) : io->levels & ~BIT(pin);
	if (level)
		service_locked(io, pin);
	pthread_mutex_unlock(&io->lock);
}

static void ioapic_eoi(struct device *dev, u8 vector)
{
	struct ioapic *io = container_of(dev, struct ioapic, dev);

	pthread_mutex_lock(&io->lock);
	for (unsigned pin = 0; pin < PINS; pin++) {
		u64 e = io->entries[pin];

		if ((e & 0xff) == vector && (e & ENTRY_LEVEL) && (e & ENTRY_REMOTE_IRR)) {
			io->entries[pin] &= ~ENTRY_REMOTE_IRR;
			service_locked(io, pin);
		}
	}
	pthread_mutex_unlock(&io->lock);
}

static u32 read_window_locked(struct ioapic *io)
{
	switch (io->select) {
	case 0x00: return io->id;
	case 0x01: return 0x20 | (PINS - 1) << 16;
	case 0x02: return io->id; /* arbitration */
	case 0x10 ... 0x10 + 2 * PINS - 1:
		return io->entries[(io->select - 0x10) / 2] >> (32 * (io->select & 1));
	default: return 0;
	}
}

static void write_entry_locked(struct ioapic *io, unsigned pin, bool high, u32 value)
{
	u64 *e = &io->entries[pin];
	u64 old = *e;

	if (high)
		*e = (u32)old | (u64)value << 32;
	else
		*e = (old & (0xffffffff00000000 | ENTRY_READ_ONLY)) |
		     (value & 0x1ffff & ~ENTRY_READ_ONLY);
	if (!(*e & ENTRY_LEVEL))
		*e &= ~ENTRY_REMOTE_IRR;
	announce_locked(io, pin);
	/* An edge from before the entry had any meaning is no interrupt. */
	if ((*e & ENTRY_LEVEL) || !(old & 0xff))
		io->edges &= ~BIT(pin);
	service_locked(io, pin);
}

static void write_window_locked(struct ioapic *io, u32 value)
{
	if (io->select == 0)
		io->id = value & 0x0f000000;
	else if (io->select >= 0x10 && io->select < 0x10 + 2 * PINS)
		write_entry_locked(io, (io->select - 0x10) / 2, io->select & 1, value);
}

static void ioapic_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct ioapic *io = container_of(dev, struct ioapic, dev);

	if (offset == 0x40 && write) { /* EOI register */
		ioapic_eoi(dev, *value);
		return;
	}
	pthread_mutex_lock(&io->lock);
	if (offset == 0x00 && write)
		io->select = *value;
	else if (offset == 0x00)
		*value = io->select;
	else if (offset == 0x10 && write)
		write_window_locked(io, *value);
	else if (offset == 0x10)
		*value = read_window_locked(io);
	else if (!write)
		*value = 0;
	pthread_mutex_unlock(&io->lock);
}

static void ioapic_reset(struct device *dev)
{
	struct ioapic *io = container_of(dev, struct ioapic, dev);

	pthread_mutex_lock(&io->lock);
	io->id = 0;
	io->select = 0;
	io->edges = 0;
	for (unsigned i = 0; i < PINS; i++)
		io->entries[i] = ENTRY_MASKED;
	pthread_mutex_unlock(&io->lock);
}

static void ioapic_engine_changed(struct device *dev)
{
	struct ioapic *io = container_of(dev, struct ioapic, dev);

	pthread_mutex_lock(&io->lock);
	for (unsigned pin = 0; pin < PINS; pin++)
		announce_locked(io, pin);
	pthread_mutex_unlock(&io->lock);
}

static int ioapic_post_load(struct device *dev)
{
	ioapic_engine_changed(dev);
	return 0;
}

static int ioapic_realize(struct device *dev, GError **error)
{
	struct ioapic *io = container_of(dev, struct ioapic, dev);
	struct irq_router *irq = &dev->vm->irq;

	pthread_mutex_init(&io->lock, NULL);
	irq->ioapic = dev;
	irq->ioapic_set = ioapic_set;
	irq->ioapic_eoi = ioapic_eoi;
	return device_add_mmio(dev, &io->region, IOAPIC_BASE, IOAPIC_BYTES, ioapic_access, error);
}

static void ioapic_destroy(struct device *dev)
{
	pthread_mutex_destroy(&container_of(dev, struct ioapic, dev)->lock);
}

static const struct state_field ioapic_state[] = {
	STATE(struct ioapic, id),     STATE(struct ioapic, select), STATE(struct ioapic, entries),
	STATE(struct ioapic, levels), STATE(struct ioapic, edges),  STATE_END,
};

const struct device_type device_ioapic = {
	.name = "ioapic",
	.help = "I/O APIC with 24 pins",
	.bytes = sizeof(struct ioapic),
	.flags = DEVICE_BOARD,
	.state = ioapic_state,
	.realize = ioapic_realize,
	.reset = ioapic_reset,
	.engine_changed = ioapic_engine_changed,
	.post_load = ioapic_post_load,
	.destroy = ioapic_destroy,
};
