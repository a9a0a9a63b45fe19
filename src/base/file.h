/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What files need that the C library does not have. */
#ifndef LODGE_BASE_FILE_H
#define LODGE_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* Writes all of it, however many calls that takes; false: errno says why not. */
bool write_all(int fd, const void *data, size_t bytes);

#endif
