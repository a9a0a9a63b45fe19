/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A copy of what a console prints, in a file that does not grow for ever: at its bound it moves to
 * a second file, whose content it replaces. Whoever prints only copies into memory; the console's
 * thread writes, a little later, so that a slow disk never stops a vCPU.
 */
#ifndef LODGE_CONSOLE_LOG_H
#define LODGE_CONSOLE_LOG_H

#include "base/types.h"

#include <stddef.h>

struct console_log;

#define CONSOLE_LOG_DELAY_MS 20 /* how long output may gather */

/* Both descriptors, open for reading and writing, pass over; @old_fd may be -1: then what was there
 * at the bound is gone. @name is for messages, and copied. */
struct console_log *console_log_open(int fd, int old_fd, u64 bytes_max, const char *name);
/* Writes what has gathered. NULL is ignored. */
void console_log_close(struct console_log *log);
/* Any thread. True: nothing had gathered before, and the thread has to be told. */
bool console_log_add(struct console_log *log, const u8 *data, size_t bytes);
/* Has anything gathered? */
bool console_log_waits(struct console_log *log);
/* On one thread at a time. */
void console_log_write(struct console_log *log);

#endif
