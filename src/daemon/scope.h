/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * systemd as the manager of the host, asked over D-Bus: a scope for each guest, so that a guest's
 * processes are accounted for and limited on their own and are no part of lodged's service; and
 * whether the host is going down. Only a lodged that is a service asks, and goes on without an
 * answer. All of it belongs to the main loop, and never waits.
 */
#ifndef LODGE_DAEMON_SCOPE_H
#define LODGE_DAEMON_SCOPE_H

#include "daemon/guest.h"

/* Moves the @count processes of an active guest into a scope of its own. */
void scope_make(const struct guest *guest, const pid_t *pids, unsigned count);
/* The same for a guest that was taken over, if it is not in one. */
void scope_make_if_none(const struct guest *guest, pid_t pid);

/* Its scope's weights against others', 0 being systemd's own. */
void scope_weigh(const struct guest *guest, u64 cpu, u64 io);

/* Is the host (or, of a session, the user's manager) going down? */
typedef void scope_answer(bool going_down, struct daemon *daemon);
void scope_ask_going_down(struct daemon *daemon, scope_answer *answer);

#endif
