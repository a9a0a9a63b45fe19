/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's console on standard input and output, for as long as the guest runs.
 *
 *   keyboard --> escape key? --> guest_fd
 *   screen   <------------------ guest_fd
 *   standard error <------------ messages_fd (what lodge-vmm has to say)
 *
 * It also waits for what else can end a foreground guest: the guest itself, signals, a time limit.
 */
#ifndef LODGE_CLI_CONSOLE_H
#define LODGE_CLI_CONSOLE_H

#include <stdbool.h>
#include <sys/types.h>

/* What the person or a signal asked for; the caller of console_run() acts on it. */
enum console_request {
	CONSOLE_POWERDOWN,
	CONSOLE_RESET,
	CONSOLE_QUIT,
	CONSOLE_TIMEOUT,
	CONSOLE_RESIZED,     /* the terminal has another size */
	CONSOLE_CHILD_ENDED, /* perhaps one of others than the guest */
};

struct console_session {
	int guest_fd;             /* the console, both ways; -1: none */
	int messages_fd;          /* lodge-vmm's standard error */
	pid_t pid;                /* lodge-vmm */
	unsigned timeout_seconds; /* 0: none */
	void (*request)(void *opaque, enum console_request request);
	void *opaque;
};

/* Before the guest is started: takes over the signals that console_run() will wait for. */
void console_block_signals(void);
/* Is there a person at standard input, who needs to know the escape key? */
bool console_is_interactive(void);
/* Returns lodge-vmm's wait status when it has ended, with the terminal as it was before. */
int console_run(const struct console_session *session);

#define CONSOLE_ESCAPE_NAME "Ctrl-]"

#endif
