/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodged's end of a guest's monitor. Nothing here waits: a guest that does not answer, because it
 * is stopped or worse, costs its own callers a timeout and nobody else anything.
 */
#ifndef LODGE_DAEMON_MONITOR_H
#define LODGE_DAEMON_MONITOR_H

#include <glib.h>
#include <jansson.h>

#define MONITOR_TIMEOUT_MS 10000
#define MONITOR_LINE_MAX   65536 /* longer ones are no answers of ours */

struct monitor;

struct monitor_callbacks {
	void (*ready)(void *opaque); /* commands are answered from now on */
	/* @data may be NULL. */
	void (*event)(const char *name, json_t *data, void *opaque);
	void (*closed)(void *opaque); /* by the other side, or for a message that is none */
};

/* @value is what the command returned; with @error set there is none. */
typedef void monitor_answer(json_t *value, const GError *error, void *opaque);

/* NULL with @error set when nobody listens at @path. Answers come on the thread's context. */
struct monitor *monitor_open(const char *path, const struct monitor_callbacks *callbacks,
			     void *opaque, GError **error);
/* Passes on a whole message of somebody else's; what is answered to it is the whole message too. */
void monitor_pass(struct monitor *monitor, const json_t *command, monitor_answer *answer,
		  void *opaque);
/* @answer, which may be NULL, is called once, at the latest after MONITOR_TIMEOUT_MS. */
void monitor_execute(struct monitor *monitor, const char *command, monitor_answer *answer,
		     void *opaque);
/* The same with arguments, which it takes over. */
void monitor_execute_with(struct monitor *monitor, const char *command, json_t *arguments,
			  monitor_answer *answer, void *opaque);
/* Takes in what the other side has sent, for the last time: it has ended. */
void monitor_drain(struct monitor *monitor);
/* Commands without an answer get an error now. No callback is called. NULL is ignored. */
void monitor_free(struct monitor *monitor);

#endif
