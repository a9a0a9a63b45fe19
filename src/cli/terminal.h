/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The person's terminal in raw mode while a guest's console is on it. There is one terminal, so
 * its saved state is the one thing here that belongs to the process: fatal signals restore it too.
 */
#ifndef LODGE_CLI_TERMINAL_H
#define LODGE_CLI_TERMINAL_H

#include <stdbool.h>

/* Makes @fd raw; false, and nothing changed, when it is no terminal. */
bool terminal_enter_raw(int fd);
/* As it was before. May be called any number of times, also from a signal handler. */
void terminal_restore(void);
/* After a stop: raw again, if it was raw. */
void terminal_resume(void);
/* How many characters the terminal on standard output shows; false: it is none, or does not say. */
bool terminal_size(unsigned short *columns, unsigned short *rows);

#endif
