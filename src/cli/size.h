/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes as people write them. */
#ifndef LODGE_CLI_SIZE_H
#define LODGE_CLI_SIZE_H

#include <stdint.h>

/* "20G" in bytes, by powers of 1024; a bare number counts in units of @bare bytes. 0: it is none.
 */
uint64_t size_parse(const char *text, uint64_t bare);

#endif
