/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Consoles: where a guest's character devices end.
 *
 *   device --console_write--> buffer --> descriptor
 *   device <--receive()------ console thread <-- descriptor
 *
 * A backend is one file with one struct console_backend. Output is gathered up to a line's end or
 * a few milliseconds, so that a guest that prints bytewise costs one system call a line. A slow
 * reader never stops a vCPU: the buffer is bounded and the device sees how much room is left; what
 * a device writes beyond it is dropped.
 *
 * receive() and writable() are called on the console's thread with no lock held; console_write,
 * console_room and console_accept may be called on any thread, also with the device's lock held.
 */
#ifndef LODGE_CONSOLE_CONSOLE_H
#define LODGE_CONSOLE_CONSOLE_H

#include "base/types.h"
#include <glib.h>

struct console;

#define CONSOLE_BUFFER_BYTES 65536 /* of output that the descriptor has not taken */
#define CONSOLE_ERROR        console_error_quark()
GQuark console_error_quark(void); /* codes are errno values */

struct console_config {
	const char *driver; /* "fd", "pty", "listen", "file", "null" */
	const char *name;   /* for messages; copied */
	int fd;             /* pty master, listening socket or file; ownership passes */
	int fd_in, fd_out;  /* "fd": may be the same; not closed */
	/* What it prints is written there, too (console/log.h); log_bytes 0: it is not. Ownership
	 * passes. */
	int log_fd, log_old_fd;
	u64 log_bytes;
};

struct console_client {
	void *opaque;
	/* How many bytes the device can take now; then it gets at most that many. */
	size_t (*ready)(void *opaque);
	void (*receive)(void *opaque, const u8 *data, size_t bytes);
	void (*writable)(void *opaque); /* optional: there is room again after there was none */
	void (*connected)(void *opaque, bool open); /* optional: somebody came or left */
};

struct console_backend {
	const char *name;
	const char *help;
	bool input;          /* reads */
	bool accept;         /* the descriptor is a listening socket */
	bool hangup_is_idle; /* a pty whose other end closed is nobody there, not an end */
	bool discard;
};

/* Opens a console and starts its thread. NULL with @error set. */
struct console *console_open(const struct console_config *config, GError **error);
/* Flushes what the descriptor takes at once, ends the thread. After the device is gone. */
void console_close(struct console *console);

/* The device that uses it; NULL: none, input is left unread. Returns when no call is under way. */
void console_attach(struct console *console, const struct console_client *client);

/* Returns how many bytes were taken. */
size_t console_write(struct console *console, const void *data, size_t bytes);
/* The same for a device that cannot try again: what is not taken is lost, but for the log. */
void console_push(struct console *console, const void *data, size_t bytes);
size_t console_room(struct console *console);
/* Is somebody there? Where that cannot be known (a terminal, a file), yes. Any thread. */
bool console_connected(struct console *console);
/* ready() would now return more than 0. */
void console_accept(struct console *console);

extern const struct console_backend *const console_backends[]; /* NULL-terminated */

#endif
