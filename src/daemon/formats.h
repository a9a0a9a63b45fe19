/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Formats of images, as lodge-img tells them; what it has told is remembered until the file
 * changes. Any thread; it may take as long as a disk does.
 */
#ifndef LODGE_DAEMON_FORMATS_H
#define LODGE_DAEMON_FORMATS_H

#include "base/types.h"

#include <sys/stat.h>

#define FORMATS_MAX 64 /* that are asked for at once */

struct formats;

struct image_format {
	const char *name;               /* a static string, as clients know it: "raw", "qcow2" */
	u64 capacity;                   /* bytes of the disk in it */
	char *backing, *backing_format; /* what it is a change of; or NULL */
};

struct formats *formats_new(void);
void formats_free(struct formats *formats); /* NULL is ignored */
/* What is open as @fds, which are @stats; where that cannot be told, raw. The caller clears all. */
void formats_find(struct formats *formats, const int *fds, const struct stat *stats, unsigned count,
		  struct image_format *found);
void image_format_clear(struct image_format *format);

#endif
