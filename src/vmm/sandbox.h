/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What lodge-vmm gives up, so that a guest that takes it over holds the descriptors of the plan and
 * nothing else.
 */
#ifndef LODGE_VMM_SANDBOX_H
#define LODGE_VMM_SANDBOX_H

#include <glib.h>

/* Before any thread is started: gives up root, core files and, by Landlock, every file by name. 0,
 * or -errno with @error set; a kernel without Landlock is no error but a line in the log. */
int sandbox_enter(GError **error);
/* When every thread is started and no guest instruction has run: from here on all threads may make
 * only the system calls of a running machine, and hold only the descriptors that are open and some
 * for who connects to what listens. -errno with @error set. */
int sandbox_seal(GError **error);
/* The same, and these ioctl() requests, 0-terminated (NULL: none), on what is open. */
int sandbox_seal_for(const unsigned long *requests, GError **error);

#endif
