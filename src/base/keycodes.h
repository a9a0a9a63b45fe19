/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys of a keyboard, by the numbers that Linux's input events have for them (KEY_* in
 * linux/input-event-codes.h), and what other sets of numbers call them.
 */
#ifndef LODGE_BASE_KEYCODES_H
#define LODGE_BASE_KEYCODES_H

#include "base/types.h"

struct keycode {
	u8 linux_code;
	u16 set1; /* of an AT keyboard; 0xe0NN: NN behind a byte 0xe0 */
	u16 set2; /* the same */
	u8 usb;   /* usage in the page "keyboard" (HID usage tables, 10); 0: none */
};

enum keycode_set {
	KEYCODES_LINUX,
	KEYCODES_SET1,
	KEYCODES_SET2,
	KEYCODES_USB,
	KEYCODES_QNUM /* set 1 in one byte: bit 7 for 0xe0 */
};

/* The key that @set calls @code, or NULL: no keyboard of ours has it. */
const struct keycode *keycode_find(enum keycode_set set, unsigned code);

#endif
