/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor: JSON commands and events over a UNIX socket, in QMP's framing and with QMP's names,
 * so that existing clients work.
 *
 *   client --{"execute": "stop"}--> monitor thread --vm_request--> control thread
 *   client <--{"return": {}}------- monitor thread
 *   clients <--{"event": "STOP"}--- monitor_event() from the control thread
 *
 * One thread serves all clients; commands run on it and never touch the machine but through
 * vm_request() and reads. A client that sends garbage, more than MONITOR_INPUT_MAX bytes for one
 * command, or does not read its answers is disconnected, and nothing else happens.
 */
#ifndef LODGE_VMM_MONITOR_H
#define LODGE_VMM_MONITOR_H

#include <glib.h>
#include <jansson.h>

#define MONITOR_CLIENTS_MAX 16
#define MONITOR_INPUT_MAX   65536
#define MONITOR_OUTPUT_MAX  (1024 * 1024)

struct monitor;
struct vm;

/* Will serve @listen_fd, whose ownership passes. NULL with @error set. */
struct monitor *monitor_new(struct vm *vm, int listen_fd, GError **error);
/* Clients are taken from now on: whom it answers knows that the guest has been started. @monitor
 * may be NULL. */
void monitor_open(struct monitor *monitor);
/* Any thread: sends an event to every client that negotiated. Takes over @data, which may be NULL.
 * @monitor may be NULL. */
void monitor_event(struct monitor *monitor, const char *name, json_t *data);
/* Sends what is queued, for a second at most, and ends. NULL is ignored. */
void monitor_free(struct monitor *monitor);

#endif
