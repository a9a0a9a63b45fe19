/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 8042 keyboard controller with a keyboard, and no mouse; and the pulse command 0xfe that
 * resets the machine. (IBM PS/2 technical reference; AT keyboard commands.)
 *
 * The keyboard is AT's: scan code sets 1 and 2, of which the controller translates set 2 to set 1
 * unless the guest tells it not to. Its keys are pressed by vm->keyboard (the monitor's send-key).
 * What they say waits in the keyboard while the guest has switched off the way to it, has not taken
 * what came before, or is in the middle of a command: drivers throw away what comes while they wait
 * for an answer, so even a byte that the controller has, and nobody has read, goes back then.
 */
#include "base/keycodes.h"
#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <string.h>

#define OUT_MAX  16
#define KEYS_MAX 256          /* bytes; more than VM_KEYS_MAX keys say, pressed and let go */
#define KEY_SAYS 8            /* bytes, pressed or let go, at most */
#define HOLD_NS  100000000ull /* where nobody says */

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
	u8 silent;         /* the guest does not want to hear of keys */
	u8 keys[KEYS_MAX]; /* what they said and is not in @out yet */
	u16 keys_head, keys_count;
	u8 key_is_out;        /* the first byte in @out is one of them */
	u8 held[VM_KEYS_MAX]; /* keys that are pressed, by Linux's numbers */
	u8 held_count;
	u64 release_ns; /* when they are let go */
	struct vm_timer release;
};

static void push_locked(struct i8042 *k, u16 byte)
{
	if (k->out_count < OUT_MAX)
		k->out[(k->out_head + k->out_count++) % OUT_MAX] = byte;
}

static void update_locked(struct i8042 *k)
{
	bool full, aux;

	if (!k->out_count && k->keys_count && !k->kbd_command && !(k->config & CONFIG_KBD_OFF)) {
		push_locked(k, k->keys[k->keys_head]);
		k->keys_head = (k->keys_head + 1) % KEYS_MAX;
		k->keys_count--;
		k->key_is_out = true;
	}
	full = k->out_count > 0;
	aux = full && (k->out[k->out_head] & FROM_AUX);

	irq_line_set(&k->kbd_irq, full && !aux && (k->config & CONFIG_KBD_IRQ));
	irq_line_set(&k->aux_irq, aux && (k->config & CONFIG_AUX_IRQ));
}

/* --- keys --- */

static void take_back_locked(struct i8042 *k)
{
	if (!k->key_is_out || k->out_count != 1)
		return;
	k->key_is_out = false;
	k->out_count = 0;
	k->keys_head = (k->keys_head + KEYS_MAX - 1) % KEYS_MAX;
	k->keys[k->keys_head] = k->out[k->out_head];
	k->keys_count++;
	irq_line_set(&k->kbd_irq, false);
}

static void say_locked(struct i8042 *k, const u8 *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		k->keys[(k->keys_head + k->keys_count++) % KEYS_MAX] = bytes[i];
}

static bool is_held(const struct i8042 *k, u8 key)
{
	return memchr(k->held, key, k->held_count);
}

/* The key's code in the set that reaches the guest. With Alt, Print Screen is another key. */
static u16 code_of(const struct i8042 *k, const struct keycode *key, bool raw)
{
	if (key->linux_code == KEY_SYSRQ && (is_held(k, KEY_LEFTALT) || is_held(k, KEY_RIGHTALT)))
		return raw ? 0x84 : 0x54;
	return raw ? key->set2 : key->set1;
}

static void press_locked(struct i8042 *k, u8 linux_code, bool down)
{
	static const u8 pause1[] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
	static const u8 pause2[] = { 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77 };
	const bool raw = k->scan_code_set == 2 && !(k->config & CONFIG_TRANSLATE);
	u16 code = code_of(k, keycode_find(KEYCODES_LINUX, linux_code), raw);
	u8 bytes[3];
	unsigned n = 0;

	if (linux_code == KEY_PAUSE) { /* says all when it is pressed */
		if (down)
			say_locked(k, raw ? pause2 : pause1, raw ? sizeof(pause2) : sizeof(pause1));
		return;
	}
	if (code > 0xff)
		bytes[n++] = code >> 8;
	if (raw && !down)
		bytes[n++] = 0xf0;
	bytes[n++] = raw || down ? code : code | 0x80;
	say_locked(k, bytes, n);
}

static void release_locked(struct i8042 *k)
{
	while (k->held_count)
		press_locked(k, k->held[--k->held_count], false);
	vm_timer_disarm(&k->dev.vm->clock, &k->release);
}

static void release(void *opaque)
{
	struct i8042 *k = opaque;

	pthread_mutex_lock(&k->lock);
	release_locked(k);
	update_locked(k);
	pthread_mutex_unlock(&k->lock);
}

static const char *press_keys(struct vm *vm, const u8 *keys, unsigned count, unsigned hold_ms)
{
	struct i8042 *k = container_of(vm->keyboard.device, struct i8042, dev);
	const char *why = NULL;

	g_assert(count <= VM_KEYS_MAX);
	pthread_mutex_lock(&k->lock);
	if (k->silent)
		why = "the guest has switched its keyboard off";
	else if (k->keys_count + (k->held_count + 2 * count) * KEY_SAYS >= KEYS_MAX)
		why = "the guest does not read its keyboard";
	if (!why) {
		release_locked(k);
		for (unsigned i = 0; i < count; i++) {
			press_locked(k, keys[i], true);
			k->held[k->held_count++] = keys[i];
		}
		k->release_ns =
			vm_clock_now(&vm->clock) + (hold_ms ? hold_ms * 1000000ull : HOLD_NS);
		vm_timer_arm(&vm->clock, &k->release, k->release_ns);
		update_locked(k);
	}
	pthread_mutex_unlock(&k->lock);
	return why;
}

/* --- the guest's side --- */

static void forget_keys_locked(struct i8042 *k)
{
	k->keys_head = k->keys_count = k->held_count = 0;
	k->key_is_out = false;
	vm_timer_disarm(&k->dev.vm->clock, &k->release);
}

static void set_defaults_locked(struct i8042 *k, bool silent)
{
	forget_keys_locked(k);
	k->scan_code_set = 2;
	k->silent = silent;
	push_locked(k, 0xfa);
}

/* What a command waits for: its parameter. */
static void parameter_locked(struct i8042 *k, u8 command, u8 byte)
{
	bool set = command == 0xf0;

	if (set && byte > 2) { /* there is no other set: say it again */
		push_locked(k, 0xfe);
		return;
	}
	push_locked(k, 0xfa);
	if (set && !byte)
		push_locked(k, k->scan_code_set);
	else if (set)
		k->scan_code_set = byte;
}

/* Bytes written to the keyboard; it acknowledges each. */
static void keyboard_locked(struct i8042 *k, u8 byte)
{
	u8 command = k->kbd_command;

	take_back_locked(k);
	k->kbd_command = 0;
	if (command) {
		parameter_locked(k, command, byte);
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
	case 0xf4:
		k->silent = false;
		push_locked(k, 0xfa);
		break;
	case 0xf5: set_defaults_locked(k, true); break;
	case 0xf6: set_defaults_locked(k, k->silent); break;
	case 0xff:
		set_defaults_locked(k, false);
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
			k->key_is_out = false;
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
	k->silent = false;
	forget_keys_locked(k);
	memset(k->keys, 0, sizeof(k->keys));
	memset(k->held, 0, sizeof(k->held));
	k->release_ns = 0;
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
	vm_timer_init(&k->release, release, k);
	dev->vm->keyboard.device = dev;
	dev->vm->keyboard.press = press_keys;
	err = device_add_ports(dev, &k->data_port, 0x60, 1, data_access, error);
	return err ? err : device_add_ports(dev, &k->command_port, 0x64, 1, command_access, error);
}

static int i8042_post_load(struct device *dev)
{
	struct i8042 *k = container_of(dev, struct i8042, dev);

	if (k->out_head >= OUT_MAX || k->out_count > OUT_MAX || k->keys_head >= KEYS_MAX ||
	    k->keys_count + k->held_count * KEY_SAYS >= KEYS_MAX || k->held_count > VM_KEYS_MAX ||
	    (k->key_is_out && !k->out_count))
		return -EINVAL;
	for (unsigned i = 0; i < k->held_count; i++)
		if (!keycode_find(KEYCODES_LINUX, k->held[i]))
			return -EINVAL;
	if (k->held_count)
		vm_timer_arm(&dev->vm->clock, &k->release, k->release_ns);
	irq_line_restore(&k->kbd_irq);
	irq_line_restore(&k->aux_irq);
	return 0;
}

static void i8042_destroy(struct device *dev)
{
	dev->vm->keyboard.device = NULL;
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
	STATE(struct i8042, silent),
	STATE(struct i8042, keys),
	STATE(struct i8042, keys_head),
	STATE(struct i8042, keys_count),
	STATE(struct i8042, key_is_out),
	STATE(struct i8042, held),
	STATE(struct i8042, held_count),
	STATE(struct i8042, release_ns),
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
