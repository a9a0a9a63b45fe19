/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lodge-vmm --describe: what this program can build, as JSON. */
#ifndef LODGE_VMM_DESCRIBE_H
#define LODGE_VMM_DESCRIBE_H

#include <jansson.h>

/* Boards, device types with their settings and state, backends. The caller owns the result. */
json_t *describe(void);

#endif
