/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a service manager hands to the process that it starts, and is told by it: listening sockets
 * (sd_listen_fds(3)) and its state (sd_notify(3)). Both are a few variables of the environment, so
 * that no library is needed. Without a service manager all of it is nothing.
 */
#ifndef LODGE_DAEMON_ACTIVATION_H
#define LODGE_DAEMON_ACTIVATION_H

#include <glib.h>
#include <stdbool.h>

struct activation;

/* Takes what the environment has, and clears it: no program that is started later believes that it
 * is meant. NULL with @error set: what was handed over cannot be used. */
struct activation *activation_new(GError **error);
void activation_free(struct activation *activation);

/* Was lodged started as a service? */
bool activation_is_service(const struct activation *activation);
/* The socket that listens at @path, which is the caller's from now on; -1: none was handed over. */
int activation_take(struct activation *activation, const char *path);
/* Logs and closes what nobody has taken. */
void activation_close_rest(struct activation *activation);
/* Tells the manager lines of "NAME=value". */
void activation_notify(const struct activation *activation, const char *lines);

#endif
