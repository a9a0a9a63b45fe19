/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 16550A serial port (National Semiconductor PC16550D datasheet).
 *
 * Characters leave at once: the transmitter is empty again before the guest looks, unless the
 * console cannot take more, then THRE stays off until it can. Received characters wait in the
 * console until the 16-byte FIFO has room, so nothing overruns.
 *
 * The interrupt line follows the registers (update_locked): line status, received data or its
 * time-out, transmitter empty, modem status, in that priority.
 */
#include "console/console.h"
#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>
#include <string.h>

#define FIFO_BYTES 16

enum { REG_DATA, REG_IER, REG_IIR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCRATCH };

#define IER_RDI      0x01
#define IER_THRI     0x02
#define IER_RLSI     0x04
#define IER_MSI      0x08
#define IIR_NONE     0x01
#define IIR_MSI      0x00
#define IIR_THRI     0x02
#define IIR_RDI      0x04
#define IIR_RLSI     0x06
#define IIR_TIMEOUT  0x0c
#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define LCR_DLAB     0x80
#define MCR_OUT2     0x08
#define MCR_LOOP     0x10
#define LSR_DR       0x01
#define LSR_OE       0x02
#define LSR_THRE     0x20
#define LSR_TEMT     0x40
#define LSR_ERRORS   0x1e
#define MSR_CTS      0x10
#define MSR_DSR      0x20
#define MSR_DCD      0x80

struct serial {
	struct device dev;
	struct region ports;
	struct irq_line irq;
	struct console *console;
	u8 index; /* 0: COM1 ... 3: COM4 */

	pthread_mutex_t lock;
	u8 ier, fcr, lcr, mcr, lsr, msr, scratch;
	u16 divisor;
	u8 thri_pending; /* transmitter-empty interrupt not yet taken */
	u8 fifo[FIFO_BYTES];
	u8 fifo_head, fifo_count;
};

static unsigned fifo_size(const struct serial *s)
{
	return s->fcr & FCR_ENABLE ? FIFO_BYTES : 1;
}

static unsigned trigger(const struct serial *s)
{
	static const u8 levels[] = { 1, 4, 8, 14 };

	return s->fcr & FCR_ENABLE ? levels[s->fcr >> 6] : 1;
}

/* Fewer characters than the trigger level interrupt too, as a time-out, and do so at once:
 * nothing on this line takes the four character times that would be waited for. */
static u8 iir(const struct serial *s)
{
	if ((s->ier & IER_RLSI) && (s->lsr & LSR_ERRORS))
		return IIR_RLSI;
	if ((s->ier & IER_RDI) && (s->lsr & LSR_DR))
		return s->fifo_count >= trigger(s) ? IIR_RDI : IIR_TIMEOUT;
	if ((s->ier & IER_THRI) && s->thri_pending)
		return IIR_THRI;
	if ((s->ier & IER_MSI) && (s->msr & 0x0f))
		return IIR_MSI;
	return IIR_NONE;
}

static void update_locked(struct serial *s)
{
	bool irq = iir(s) != IIR_NONE;

	/* OUT2 gates the interrupt on PC boards; loopback disconnects it. */
	irq_line_set(&s->irq, irq && (s->mcr & MCR_OUT2) && !(s->mcr & MCR_LOOP));
}

static void receive_locked(struct serial *s, u8 byte)
{
	if (s->fifo_count == fifo_size(s)) {
		s->lsr |= LSR_OE;
		return;
	}
	s->fifo[(s->fifo_head + s->fifo_count++) % FIFO_BYTES] = byte;
	s->lsr |= LSR_DR;
}

static size_t serial_ready(void *opaque)
{
	struct serial *s = opaque;
	size_t room;

	pthread_mutex_lock(&s->lock);
	room = s->mcr & MCR_LOOP ? 0 : fifo_size(s) - MIN(s->fifo_count, fifo_size(s));
	pthread_mutex_unlock(&s->lock);
	return room;
}

static void serial_receive(void *opaque, const u8 *data, size_t bytes)
{
	struct serial *s = opaque;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < bytes; i++)
		receive_locked(s, data[i]);
	update_locked(s);
	pthread_mutex_unlock(&s->lock);
}

static void serial_writable(void *opaque)
{
	struct serial *s = opaque;

	pthread_mutex_lock(&s->lock);
	if (!(s->lsr & LSR_THRE)) {
		s->lsr |= LSR_THRE | LSR_TEMT;
		s->thri_pending = 1;
		update_locked(s);
	}
	pthread_mutex_unlock(&s->lock);
}

static void transmit_locked(struct serial *s, u8 byte)
{
	s->thri_pending = 0;
	if (s->mcr & MCR_LOOP) {
		receive_locked(s, byte);
	} else if (s->console) {
		console_push(s->console, &byte, 1);
		if (!console_room(s->console)) {
			s->lsr &= ~(LSR_THRE | LSR_TEMT);
			return;
		}
	}
	s->thri_pending = 1;
}

static u8 read_data_locked(struct serial *s)
{
	u8 byte = 0;

	if (s->fifo_count) {
		byte = s->fifo[s->fifo_head];
		s->fifo_head = (s->fifo_head + 1) % FIFO_BYTES;
		s->fifo_count--;
	}
	if (!s->fifo_count) {
		s->lsr &= ~LSR_DR;
		if (s->console)
			console_accept(s->console);
	}
	return byte;
}

/* In loopback the modem inputs are the modem outputs: RTS-CTS, DTR-DSR, OUT1-RI, OUT2-DCD. */
static u8 modem_inputs(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (s->mcr & 0x02) << 3 | (s->mcr & 0x01) << 5 | (s->mcr & 0x0c) << 4;
}

static void update_modem_locked(struct serial *s)
{
	u8 now = modem_inputs(s), changed = (s->msr ^ now) & 0xf0;

	if (!(now & 0x40) && (s->msr & 0x40))
		s->msr |= 0x04; /* trailing edge of RI; the other deltas are any change */
	s->msr = now | (s->msr & 0x0f) | ((changed & 0xb0) >> 4);
}

static void write_fcr_locked(struct serial *s, u8 value)
{
	if ((value ^ s->fcr) & FCR_ENABLE)
		value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
	if (value & FCR_CLEAR_RX) {
		s->fifo_count = s->fifo_head = 0;
		s->lsr &= ~LSR_DR;
		if (s->console)
			console_accept(s->console);
	}
	if (value & FCR_CLEAR_TX)
		s->thri_pending = 1;
	s->fcr = value & (0xc0 | FCR_ENABLE);
}

static void write_locked(struct serial *s, unsigned reg, u8 value)
{
	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			s->divisor = (s->divisor & 0xff00) | value;
		else
			transmit_locked(s, value);
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB) {
			s->divisor = (s->divisor & 0xff) | value << 8;
			break;
		}
		/* Enabling the interrupt while the transmitter is empty raises it. */
		if ((value & IER_THRI) && !(s->ier & IER_THRI) && (s->lsr & LSR_THRE))
			s->thri_pending = 1;
		s->ier = value & 0x0f;
		break;
	case REG_IIR: write_fcr_locked(s, value); break;
	case REG_LCR: s->lcr = value; break;
	case REG_MCR: {
		u8 was = s->mcr;

		s->mcr = value & 0x1f;
		update_modem_locked(s);
		if ((was & MCR_LOOP) && !(s->mcr & MCR_LOOP) && s->console)
			console_accept(s->console);
		break;
	}
	case REG_SCRATCH: s->scratch = value; break;
	}
}

static u8 read_iir_locked(struct serial *s)
{
	u8 value = iir(s);

	if (value == IIR_THRI)
		s->thri_pending = 0;
	return value | (s->fcr & FCR_ENABLE ? 0xc0 : 0);
}

static u8 read_locked(struct serial *s, unsigned reg)
{
	u8 value;

	switch (reg) {
	case REG_DATA: return s->lcr & LCR_DLAB ? s->divisor & 0xff : read_data_locked(s);
	case REG_IER: return s->lcr & LCR_DLAB ? s->divisor >> 8 : s->ier;
	case REG_IIR: return read_iir_locked(s);
	case REG_LCR: return s->lcr;
	case REG_MCR: return s->mcr;
	case REG_LSR:
		value = s->lsr;
		s->lsr &= ~LSR_ERRORS;
		return value;
	case REG_MSR:
		value = s->msr;
		s->msr &= 0xf0;
		return value;
	default: return s->scratch;
	}
}

static void serial_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct serial *s = container_of(dev, struct serial, dev);

	pthread_mutex_lock(&s->lock);
	if (write)
		write_locked(s, offset, *value);
	else
		*value = read_locked(s, offset);
	update_locked(s);
	pthread_mutex_unlock(&s->lock);
}

static void serial_reset(struct device *dev)
{
	struct serial *s = container_of(dev, struct serial, dev);

	pthread_mutex_lock(&s->lock);
	s->ier = s->fcr = s->lcr = s->mcr = s->scratch = 0;
	s->lsr = LSR_THRE | LSR_TEMT;
	s->msr = MSR_CTS | MSR_DSR | MSR_DCD;
	s->divisor = 12; /* 9600 baud */
	s->thri_pending = 0;
	s->fifo_head = s->fifo_count = 0;
	memset(s->fifo, 0, sizeof(s->fifo));
	update_locked(s);
	pthread_mutex_unlock(&s->lock);
	if (s->console)
		console_accept(s->console);
}

static int serial_realize(struct device *dev, GError **error)
{
	static const struct {
		u16 port;
		u8 irq;
	} com[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };
	struct serial *s = container_of(dev, struct serial, dev);
	const struct console_client client = {
		.opaque = s,
		.ready = serial_ready,
		.receive = serial_receive,
		.writable = serial_writable,
	};

	pthread_mutex_init(&s->lock, NULL);
	irq_line_init(&s->irq, dev->vm, com[s->index].irq);
	if (s->console)
		console_attach(s->console, &client);
	return device_add_ports(dev, &s->ports, com[s->index].port, 8, serial_access, error);
}

static int serial_post_load(struct device *dev)
{
	struct serial *s = container_of(dev, struct serial, dev);

	if (s->fifo_count > FIFO_BYTES || s->fifo_head >= FIFO_BYTES)
		return -EINVAL;
	irq_line_restore(&s->irq);
	/* The console here is another one, with room. */
	s->lsr |= LSR_THRE | LSR_TEMT;
	update_locked(s);
	return 0;
}

static void serial_destroy(struct device *dev)
{
	struct serial *s = container_of(dev, struct serial, dev);

	if (s->console)
		console_attach(s->console, NULL);
	pthread_mutex_destroy(&s->lock);
}

static const struct state_field serial_state[] = {
	STATE(struct serial, ier),          STATE(struct serial, fcr),
	STATE(struct serial, lcr),          STATE(struct serial, mcr),
	STATE(struct serial, lsr),          STATE(struct serial, msr),
	STATE(struct serial, scratch),      STATE(struct serial, divisor),
	STATE(struct serial, thri_pending), STATE(struct serial, fifo),
	STATE(struct serial, fifo_head),    STATE(struct serial, fifo_count),
	STATE(struct serial, irq.level),    STATE_END,
};

static const struct device_option serial_options[] = {
	{ .name = "index",
	  .kind = OPTION_U8,
	  .offset = offsetof(struct serial, index),
	  .max = 3,
	  .help = "0 is COM1, 3 is COM4" },
	{ .name = "backend",
	  .kind = OPTION_CONSOLE,
	  .offset = offsetof(struct serial, console),
	  .help = "the console behind it" },
	{ .name = NULL },
};

const struct device_type device_isa_serial = {
	.name = "isa-serial",
	.help = "16550A serial port",
	.bytes = sizeof(struct serial),
	.options = serial_options,
	.state = serial_state,
	.realize = serial_realize,
	.reset = serial_reset,
	.post_load = serial_post_load,
	.destroy = serial_destroy,
};
