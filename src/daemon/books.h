/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host knows of a guest's process (/proc, proc(5)): the guest is not asked. */
#ifndef LODGE_DAEMON_BOOKS_H
#define LODGE_DAEMON_BOOKS_H

#include "daemon/driver.h"
#include "daemon/guest.h"

/* Its time and memory. False: there is no such process. */
bool books_process(pid_t pid, struct guest_statistics *out);
/* The threads of its processors, as far as they have begun; others stay as they are. */
void books_find_vcpus(pid_t pid, pid_t *threads, unsigned count);
/* One of these. @map: a bit for each of the host's processors that it may run on; with 0 @map_bytes
 * neither that nor where it runs is looked for. False: there is no such thread. */
bool books_vcpu(pid_t pid, pid_t thread, struct guest_vcpu *out, u8 *map, size_t map_bytes);
/* Where a thread may run: a bit for each of the host's processors. */
void books_affinity(pid_t thread, u8 *map, size_t map_bytes);
/* ... and shall from now on. False with errno set. */
bool books_pin(pid_t thread, const struct number_set *cpus);
/* The same for all threads of a process but those of processors. */
bool books_pin_others(pid_t pid, const struct number_set *cpus);

#endif
