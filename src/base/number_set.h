/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sets of the host's processors or memory nodes, as people write them: "0-3,^2,8".
 */
#ifndef LODGE_BASE_NUMBER_SET_H
#define LODGE_BASE_NUMBER_SET_H

#include "base/types.h"

#include <stdbool.h>

#define NUMBER_SET_MAX 1024 /* numbers are below it */

struct number_set {
	u64 bits[NUMBER_SET_MAX / 64];
};

/* False: @text is none, or empty. */
bool number_set_parse(const char *text, struct number_set *set);
/* Such a text; "" for an empty set. The caller frees it. */
char *number_set_format(const struct number_set *set);
bool number_set_has(const struct number_set *set, unsigned number);
bool number_set_empty(const struct number_set *set);

#endif
