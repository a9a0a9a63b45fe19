/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See terminal.h. */
#include "cli/terminal.h"

#include "base/types.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct {
	int fd;
	struct termios before, raw;
	volatile sig_atomic_t active;
} terminal;

static const int fatal[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };

static void restore_and_die(int number)
{
	terminal_restore();
	raise(number); /* SA_RESETHAND: this time it is fatal */
}

static void catch_fatal_signals(void)
{
	struct sigaction action = { .sa_handler = restore_and_die,
				    .sa_flags = SA_RESETHAND | SA_NODEFER };

	for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
		sigaction(fatal[i], &action, NULL);
}

bool terminal_enter_raw(int fd)
{
	if (tcgetattr(fd, &terminal.before))
		return false;
	terminal.fd = fd;
	terminal.raw = terminal.before;
	cfmakeraw(&terminal.raw);
	catch_fatal_signals();
	atexit(terminal_restore);
	terminal.active = 1;
	return !tcsetattr(fd, TCSADRAIN, &terminal.raw);
}

void terminal_restore(void)
{
	if (terminal.active)
		tcsetattr(terminal.fd, TCSADRAIN, &terminal.before);
}

void terminal_resume(void)
{
	if (terminal.active)
		tcsetattr(terminal.fd, TCSADRAIN, &terminal.raw);
}

bool terminal_size(unsigned short *columns, unsigned short *rows)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col || !size.ws_row)
		return false;
	*columns = size.ws_col;
	*rows = size.ws_row;
	return true;
}
