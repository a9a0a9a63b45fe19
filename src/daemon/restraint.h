/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holding guests to the limits of their domains (domain/tune.c) by cgroups (cgroup.h).
 *
 * A lodged that is a service of systemd has a scope for each guest (scope.h), which is delegated to
 * it; one that is not makes guests' groups in the cgroup that --cgroup names. With neither, a guest
 * with limits runs without them, and whoever asks is told so.
 *
 * All of it belongs to the main loop; what touches cgroups is done by one thread, in turn.
 */
#ifndef LODGE_DAEMON_RESTRAINT_H
#define LODGE_DAEMON_RESTRAINT_H

#include "daemon/guest.h"

/* @folder is --cgroup's, or NULL. */
bool restraint_open(struct daemon *daemon, const char *folder, GError **error);
void restraint_close(struct daemon *daemon);

/* Processes of a guest that is being started: from here on they are held to its limits. */
void restraint_enter(struct guest *guest, const pid_t *pids, unsigned count);
/* It runs, or is taken over: its threads are there. */
void restraint_started(struct guest *guest);
/* It has ended. */
void restraint_leave(struct guest *guest);

/* Can the limits of a running guest be told and changed? False with @error set: they are not held.
 */
bool restraint_check(const struct guest *guest, GError **error);
/* Holds it to those of @domain; @done follows. */
void restraint_apply(struct guest *guest, const struct domain *domain, guest_done *done,
		     void *opaque);

#endif
