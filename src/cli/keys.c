/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See keys.h. */
#include "cli/keys.h"

#include <glib.h>
#include <linux/input-event-codes.h>
#include <string.h>

#define K(name)             \
	{                   \
#name, name \
	}

static const struct {
	const char *name;
	unsigned number;
} keys[] = {
	K(KEY_A),         K(KEY_B),          K(KEY_C),         K(KEY_D),          K(KEY_E),
	K(KEY_F),         K(KEY_G),          K(KEY_H),         K(KEY_I),          K(KEY_J),
	K(KEY_K),         K(KEY_L),          K(KEY_M),         K(KEY_N),          K(KEY_O),
	K(KEY_P),         K(KEY_Q),          K(KEY_R),         K(KEY_S),          K(KEY_T),
	K(KEY_U),         K(KEY_V),          K(KEY_W),         K(KEY_X),          K(KEY_Y),
	K(KEY_Z),         K(KEY_0),          K(KEY_1),         K(KEY_2),          K(KEY_3),
	K(KEY_4),         K(KEY_5),          K(KEY_6),         K(KEY_7),          K(KEY_8),
	K(KEY_9),         K(KEY_F1),         K(KEY_F2),        K(KEY_F3),         K(KEY_F4),
	K(KEY_F5),        K(KEY_F6),         K(KEY_F7),        K(KEY_F8),         K(KEY_F9),
	K(KEY_F10),       K(KEY_F11),        K(KEY_F12),       K(KEY_ESC),        K(KEY_ENTER),
	K(KEY_TAB),       K(KEY_SPACE),      K(KEY_BACKSPACE), K(KEY_DELETE),     K(KEY_INSERT),
	K(KEY_HOME),      K(KEY_END),        K(KEY_PAGEUP),    K(KEY_PAGEDOWN),   K(KEY_UP),
	K(KEY_DOWN),      K(KEY_LEFT),       K(KEY_RIGHT),     K(KEY_LEFTCTRL),   K(KEY_RIGHTCTRL),
	K(KEY_LEFTALT),   K(KEY_RIGHTALT),   K(KEY_LEFTSHIFT), K(KEY_RIGHTSHIFT), K(KEY_LEFTMETA),
	K(KEY_RIGHTMETA), K(KEY_CAPSLOCK),   K(KEY_NUMLOCK),   K(KEY_SCROLLLOCK), K(KEY_SYSRQ),
	K(KEY_PAUSE),     K(KEY_MINUS),      K(KEY_EQUAL),     K(KEY_LEFTBRACE),  K(KEY_RIGHTBRACE),
	K(KEY_SEMICOLON), K(KEY_APOSTROPHE), K(KEY_GRAVE),     K(KEY_BACKSLASH),  K(KEY_COMMA),
	K(KEY_DOT),       K(KEY_SLASH),      K(KEY_POWER),     K(KEY_SLEEP),      K(KEY_WAKEUP),
	K(KEY_MENU),      K(KEY_COMPOSE),    K(KEY_102ND),     K(KEY_KPENTER),    K(KEY_KPPLUS),
	K(KEY_KPMINUS),   K(KEY_KPASTERISK), K(KEY_KPSLASH),   K(KEY_KPDOT),      K(KEY_KP0),
	K(KEY_KP1),       K(KEY_KP2),        K(KEY_KP3),       K(KEY_KP4),        K(KEY_KP5),
	K(KEY_KP6),       K(KEY_KP7),        K(KEY_KP8),       K(KEY_KP9),        K(KEY_MUTE),
	K(KEY_VOLUMEUP),  K(KEY_VOLUMEDOWN),
};

bool key_parse(const char *text, bool names, unsigned *key)
{
	guint64 number;

	for (unsigned i = 0; names && i < G_N_ELEMENTS(keys); i++)
		if (!strcmp(keys[i].name, text)) {
			*key = keys[i].number;
			return true;
		}
	if (!g_ascii_string_to_unsigned(text, 10, 0, 0xffff, &number, NULL) &&
	    !(g_str_has_prefix(text, "0x") &&
	      g_ascii_string_to_unsigned(text + 2, 16, 0, 0xffff, &number, NULL)))
		return false;
	*key = number;
	return true;
}
