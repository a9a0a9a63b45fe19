/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of all guests, when the host goes down: each has its power button pressed, and after some
 * time is ended. What is paused cannot power off, and is ended at once; what is just starting has
 * its button pressed when it runs. Nothing starts any more.
 */
#ifndef LODGE_DAEMON_POWERDOWN_H
#define LODGE_DAEMON_POWERDOWN_H

#include "daemon/daemon.h"

/* Quits the main loop when no guest is left; twice is once. */
void powerdown_begin(struct daemon *daemon);

#endif
