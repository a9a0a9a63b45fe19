/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 8042 keyboard controller with a keyboard that has no keys, and no mouse.
 *
 * Enough of both that guests find a working controller at once instead of waiting for time-outs,
 * and the pulse command 0xfe that resets the machine. (IBM PS/2 technical reference; AT keyboard
 * commands.)
 */
#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>
#include <string.h>

#define OUT_MAX 16

#define STATUS_OUT_FULL 0x01
#define STATUS_SYSTEM   0x04
#define STATUS_COMMAND  0x08
#define STATUS_UNLOCKED 0x10
#define STATUS_AUX      0x20

#define CONFIG_KBD_IRQ   0x01
#define CONFIG_AUX_IRQ   0x02
#define CONFIG_SYSTEM    0x04
#define CONFIG_KBD_OFF   0x10
#define CONFIG_AUX_OFF   0x20
#define CONFIG_TRANSLATE 0x40

#define FROM_AUX 0x100

struct i8042 {
	struct device dev;
	struct region data_port, command_port;
	struct irq_line kbd_irq, aux_irq;
	pthread_mutex_t lock;
	u8 config;
	u8 command;     /* controller command that waits for its data byte, or 0 */
	u8 kbd_command; /* keyboard command that waits for its parameter, or 0 */
	u8 last_was_command;
	u8 scan_code_set;
	u16 out[OUT_MAX]; /* what the data port will read, FROM_AUX marks the second port */
	u8 out_head, out_count;
};

static void update_locked(struct i8042 *k)
{
	bool full = k->out_count > 0;
	bool aux = full && (k->out[k->out_head] & FROM_AUX);

	irq_line_set(&k->kbd_irq, full && !aux && (k->config & CONFIG_KBD_IRQ));
	irq_line_set(&k->aux_irq, aux && (k->config & CONFIG_AUX_IRQ));
}

static void push_locked(struct i8042 *k, u16 byte)
{
	if (k->out_count < OUT_MAX)
		k->out[(k->out_head + k->out_count++) % OUT_MAX] = byte;
}

/* Bytes written to the keyboard; it acknowledges each. */
static void keyboard_locked(struct i8042 *k, u8 byte)
{
	u8 command = k->kbd_command;

	k->kbd_command = 0;
	if (command == 0xf0 && byte == 0) {
		push_locked(k, 0xfa);
		push_locked(k, k->scan_code_set);
		return;
	}
	if (command) {
		if (command == 0xf0)
			k->scan_code_set = byte;
		push_locked(k, 0xfa);
		return;
	}
	switch (byte) {
	case 0xed: /* LEDs, scan code set, typematic rate: a parameter follows */
	case 0xf0:
	case 0xf3:
		k->kbd_command = byte;
		push_locked(k, 0xfa);
		break;
	case 0xee: push_locked(k, 0xee); break; /* echo */
	case 0xf2:
		push_locked(k, 0xfa);
		push_locked(k, 0xab);
		push_locked(k, k->config & CONFIG_TRANSLATE ? 0x41 : 0x83);
		break;
	case 0xff:
		k->scan_code_set = 2;
		push_locked(k, 0xfa);
		push_locked(k, 0xaa);
		break;
	default: push_locked(k, 0xfa); break;
	}
}

/* The data byte of a controller command. */
static void command_data_locked(struct i8042 *k, u8 command, u8 byte)
{
	switch (command) {
	case 0x60: k->config = byte; break;
	case 0xd2: push_locked(k, byte); break;
	case 0xd3: push_locked(k, byte | FROM_AUX); break;
	case 0xd4: push_locked(k, 0xfe | FROM_AUX); break; /* nobody there: resend, i.e. time-out */
	}
}

/* True: the machine shall reset. */
static bool controller_command_locked(struct i8042 *k, u8 command)
{
	k->command = 0;
	switch (command) {
	case 0x20: push_locked(k, k->config); break;
	case 0x60:
	case 0xd1: /* output port: the A20 gate is always open */
	case 0xd2:
	case 0xd3:
	case 0xd4: k->command = command; break;
	case 0xa7: k->config |= CONFIG_AUX_OFF; break;
	case 0xa8: k->config &= ~CONFIG_AUX_OFF; break;
	case 0xa9: push_locked(k, 0x00); break;
	case 0xaa:
		k->config |= CONFIG_SYSTEM;
		push_locked(k, 0x55);
		break;
	case 0xab: push_locked(k, 0x00); break;
	case 0xad: k->config |= CONFIG_KBD_OFF; break;
	case 0xae: k->config &= ~CONFIG_KBD_OFF; break;
	case 0xc0: push_locked(k, 0x80); break;
	case 0xd0: push_locked(k, 0x03); break;
	case 0xf0 ... 0xff: return !(command & 1); /* bit 0 low pulses the reset line */
	}
	return false;
}

static void data_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);
	u8 command;

	pthread_mutex_lock(&k->lock);
	if (!write) {
		*value = k->out[k->out_head] & 0xff;
		if (k->out_count) {
			k->out_head = (k->out_head + 1) % OUT_MAX;
			k->out_count--;
			/* The next byte is a new edge. */
			irq_line_set(&k->kbd_irq, false);
			irq_line_set(&k->aux_irq, false);
		}
	} else {
		command = k->command;
		k->command = 0;
		k->last_was_command = 0;
		if (command)
			command_data_locked(k, command, *value);
		else
			keyboard_locked(k, *value);
	}
	update_locked(k);
	pthread_mutex_unlock(&k->lock);
}

static void command_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);
	bool reset = false;

	pthread_mutex_lock(&k->lock);
	if (write) {
		k->last_was_command = 1;
		reset = controller_command_locked(k, *value);
		update_locked(k);
	} else {
		*value = STATUS_UNLOCKED | (k->config & CONFIG_SYSTEM ? STATUS_SYSTEM : 0) |
			 (k->last_was_command ? STATUS_COMMAND : 0);
		if (k->out_count)
			*value |=
				STATUS_OUT_FULL | (k->out[k->out_head] & FROM_AUX ? STATUS_AUX : 0);
	}
	pthread_mutex_unlock(&k->lock);
	if (reset)
		vm_request(dev->vm, VM_REQUEST_RESET, 0);
}

static void i8042_reset(struct device *dev)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);

	pthread_mutex_lock(&k->lock);
	k->config = CONFIG_KBD_IRQ | CONFIG_SYSTEM | CONFIG_TRANSLATE | CONFIG_AUX_OFF;
	k->command = k->kbd_command = k->last_was_command = 0;
	k->scan_code_set = 2;
	memset(k->out, 0, sizeof(k->out));
	k->out_head = k->out_count = 0;
	update_locked(k);
	pthread_mutex_unlock(&k->lock);
}

static int i8042_realize(struct device *dev, GError **error)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);
	int err;

	pthread_mutex_init(&k->lock, NULL);
	irq_line_init(&k->kbd_irq, dev->vm, 1);
	irq_line_init(&k->aux_irq, dev->vm, 12);
	err = device_add_ports(dev, &k->data_port, 0x60, 1, data_access, error);
	return err ? err : device_add_ports(dev, &k->command_port, 0x64, 1, command_access, error);
}

static int i8042_post_load(struct device *dev)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);

	if (k->out_head >= OUT_MAX || k->out_count > OUT_MAX)
		return -EINVAL;
	irq_line_restore(&k->kbd_irq);
	irq_line_restore(&k->aux_irq);
	return 0;
}

static void i8042_destroy(struct device *dev)
{
	pthread_mutex_destroy(&container_of(dev, struct i8042, dev)->lock);
}

static const struct state_field i8042_state[] = {
	STATE(struct i8042, config),
	STATE(struct i8042, command),
	STATE(struct i8042, kbd_command),
	STATE(struct i8042, last_was_command),
	STATE(struct i8042, scan_code_set),
	STATE(struct i8042, out),
	STATE(struct i8042, out_head),
	STATE(struct i8042, out_count),
	STATE(struct i8042, kbd_irq.level),
	STATE(struct i8042, aux_irq.level),
	STATE_END,
};

const struct device_type device_i8042 = {
	.name = "i8042",
	.help = "keyboard controller with a keyboard",
	.bytes = sizeof(struct i8042),
	.flags = DEVICE_BOARD,
	.state = i8042_state,
	.realize = i8042_realize,
	.reset = i8042_reset,
	.post_load = i8042_post_load,
	.destroy = i8042_destroy,
};
