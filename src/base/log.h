/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of one process: lines "LEVEL area: text" with a time stamp, written to one descriptor.
 *
 * Every line is one write(2), so lines of several threads never mix. Nothing a guest does may
 * write an unbounded number of lines: use log_guest_once() for what a guest can repeat.
 */
#ifndef LODGE_BASE_LOG_H
#define LODGE_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* Sends lines to @fd (owned by the caller) from @level up; the default is stderr and LOG_WARNING.
 */
void log_open(int fd, enum log_level level);
/* Says once, in the area of the program that starts, that LODGE_DEBUG names one that is none. */
void log_check_areas(const char *program_area);
bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *area, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(area, ...)   log_line(LOG_ERROR, area, __VA_ARGS__)
#define log_warning(area, ...) log_line(LOG_WARNING, area, __VA_ARGS__)
#define log_info(area, ...)    log_line(LOG_INFO, area, __VA_ARGS__)
#define log_debug(area, ...)                                    \
	do {                                                    \
		if (log_enabled(LOG_DEBUG))                     \
			log_line(LOG_DEBUG, area, __VA_ARGS__); \
	} while (0)

/* For what a guest can provoke at will: only the first occurrence at this call site is written. */
#define log_guest_once(area, ...)                                     \
	do {                                                          \
		static char done;                                     \
		if (!__atomic_exchange_n(&done, 1, __ATOMIC_RELAXED)) \
			log_line(LOG_WARNING, area, __VA_ARGS__);     \
	} while (0)

#endif
