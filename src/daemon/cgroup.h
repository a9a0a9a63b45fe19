/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's cgroup of version 2 (Linux, Documentation/admin-guide/cgroup-v2.rst):
 *
 *   PARENT/                delegated to us: a systemd scope of the guest's, or what --cgroup names
 *     GROUP/               the guest's processes; cpu.weight, memory.max, io.max ...
 *       vcpuN/, emulator/  threaded, and only where their threads have a quota of their own
 *
 * It is all reading and writing of small files, which may wait for the kernel to move a process:
 * none of it is for the main loop. What an amount of 0 asks for is what the kernel has without us;
 * a controller that is not there fails only the amounts that need it.
 */
#ifndef LODGE_DAEMON_CGROUP_H
#define LODGE_DAEMON_CGROUP_H

#include "domain/domain.h"

#include <glib.h>
#include <sys/types.h>

/* The group that process @pid is in, as a path; NULL: it cannot be found. The caller frees it. */
char *cgroup_of(pid_t pid);
/* Is @folder one in which groups can be made? Makes it if only its parent is there. */
bool cgroup_open_parent(const char *folder, GError **error);
/* Makes @group and moves processes there; those that have ended are left out. */
bool cgroup_enter(const char *group, const pid_t *pids, unsigned count, GError **error);
/* The processes in @group itself; the caller frees them. */
pid_t *cgroup_processes(const char *group, unsigned *count);
/* Sets what @limits say of the whole guest. */
bool cgroup_limit(const char *group, const struct domain_limits *limits, GError **error);
/* The same of its threads, @vcpus being those of its processors, 0 where one is not known. */
bool cgroup_limit_threads(const char *group, const struct domain_limits *limits, const pid_t *vcpus,
			  unsigned count, GError **error);
/* Removes @group if nothing runs in it. */
void cgroup_remove(const char *group);

#endif
