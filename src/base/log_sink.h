/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a long-lived process logs to, in place of one descriptor (log.h): systemd's journal, with
 * fields that can be searched for, or a file that does not grow for ever.
 *
 * In the journal a line has the fields MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, LODGE_AREA and, where
 * it is about a guest, LODGE_GUEST.
 */
#ifndef LODGE_BASE_LOG_SINK_H
#define LODGE_BASE_LOG_SINK_H

#include "base/log.h"

#include <sys/types.h>

/* If standard error is the journal's, logs there as the program @identifier, a static string.
 * False: it is not, and nothing has changed. */
bool log_to_journal(const char *identifier, enum log_level level);
/* Logs into the file, behind what is in it. Before a line would make it longer than @bytes_max, it
 * becomes PATH.1, PATH.1 becomes PATH.2, and what was that is gone. False with errno set: it cannot
 * be opened. */
bool log_to_file(const char *path, enum log_level level, off_t bytes_max);

/* As log_line(), about a guest. */
void log_about(enum log_level level, const char *area, const char *guest, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
