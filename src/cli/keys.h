/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of keys, as Linux has them. */
#ifndef LODGE_CLI_KEYS_H
#define LODGE_CLI_KEYS_H

#include <stdbool.h>

/* "KEY_ENTER" (where @names) or a number, also as 0x1c. False: neither. */
bool key_parse(const char *text, bool names, unsigned *key);

#endif
