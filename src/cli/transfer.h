/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of files and volumes, from one to the other. */
#ifndef LODGE_CLI_TRANSFER_H
#define LODGE_CLI_TRANSFER_H

#include <glib.h>
#include <lodge/lodge.h>
#include <stdbool.h>
#include <stddef.h>

/* A line on a terminal that is written over while something goes on. */
struct progress {
	const char *what;
	guint64 done, all; /* bytes; @all 0: not known */
	gint64 shown;      /* when, in microseconds */
};

void progress_show(struct progress *progress, bool end);

/* @fd into the volume from @offset on, or the volume from there into @fd: @length bytes, or with 0
 * all that there are. When it fails, *@local says whose fault it was: the file's, and errno tells
 * which, or the daemon's (lodge_last_error()). */
bool transfer_upload(struct lodge_volume *volume, int fd, guint64 offset, guint64 length,
		     bool *local);
bool transfer_download(struct lodge_volume *volume, int fd, guint64 offset, guint64 length,
		       bool *local);
/* The same into a new volume, which is all zeros: holes of the file are left out. Ends early, with
 * errno EINTR, when *@interrupted is set. */
bool transfer_fill(struct lodge_volume *volume, int fd, const char *what,
		   const volatile int *interrupted, bool *local);

#endif
