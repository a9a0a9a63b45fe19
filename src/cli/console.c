/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One poll loop; see console.h. Nothing here blocks but writing to the person's terminal, and a
 * terminal that does not take output only holds up the console, for which lodge-vmm has a buffer.
 *
 * Ctrl-] (the escape key of virsh console) is followed by a letter; help is printed in between.
 */
#include "cli/console.h"

#include "base/types.h"
#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define ESCAPE        0x1d /* Ctrl-] */
#define CHUNK         4096
#define GRACE_SECONDS 10 /* from being told to quit to being killed */

static const int signals[] = {
	SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH
};

enum { IN, GUEST, MESSAGES, SIGNALS, TIMER, POLLED };

struct loop {
	const struct console_session *session;
	int signal_fd, timer_fd;
	bool raw, in_open, guest_open, messages_open, ended;
	bool escaped;  /* Ctrl-] was the last key */
	bool quitting; /* the timer now counts GRACE_SECONDS */
	int status;
	char pending[CHUNK * 2]; /* keys that the guest has not taken */
	size_t pending_bytes;
};

void console_block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

bool console_is_interactive(void)
{
	return isatty(STDIN_FILENO);
}

/* --- output --- */

static bool write_all(int fd, const char *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(fd, data, bytes);

		if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
			struct pollfd wait = { .fd = fd, .events = POLLOUT };

			poll(&wait, 1, -1);
			continue;
		}
		if (n <= 0)
			return false;
		data += n;
		bytes -= n;
	}
	return true;
}

/* A raw terminal does not go to the first column by itself. */
static void say(const struct loop *loop, const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] == '\n' && loop->raw)
			write_all(STDERR_FILENO, "\r", 1);
		write_all(STDERR_FILENO, text + i, 1);
	}
}

static void set_timer(struct loop *loop, unsigned seconds)
{
	struct itimerspec when = { .it_value.tv_sec = seconds };

	timerfd_settime(loop->timer_fd, 0, &when, NULL);
}

static void request(struct loop *loop, enum console_request what)
{
	if (what == CONSOLE_QUIT || what == CONSOLE_TIMEOUT) {
		loop->quitting = true;
		set_timer(loop, GRACE_SECONDS);
	}
	loop->session->request(loop->session->opaque, what);
}

/* --- keys --- */

static void say_help(const struct loop *loop)
{
	static const char help[] =
		"\n[lodge] p power button, r reset, q quit, ] send " CONSOLE_ESCAPE_NAME
		" to the guest, other keys: back\n";

	say(loop, help, strlen(help));
}

static void to_guest(struct loop *loop, char key)
{
	if (loop->pending_bytes < sizeof(loop->pending))
		loop->pending[loop->pending_bytes++] = key;
}

static void escaped_key(struct loop *loop, char key)
{
	loop->escaped = false;
	switch (key) {
	case 'p': request(loop, CONSOLE_POWERDOWN); break;
	case 'r': request(loop, CONSOLE_RESET); break;
	case 'q': request(loop, CONSOLE_QUIT); break;
	case ']':
	case ESCAPE: to_guest(loop, ESCAPE); break;
	}
}

static void take_keys(struct loop *loop, const char *keys, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (loop->escaped) {
			escaped_key(loop, keys[i]);
		} else if (loop->raw && keys[i] == ESCAPE) {
			loop->escaped = true;
			say_help(loop);
		} else {
			to_guest(loop, keys[i]);
		}
	}
}

static void read_keys(struct loop *loop)
{
	char keys[CHUNK];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n > 0)
		take_keys(loop, keys, n);
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		loop->in_open = false;
}

static void flush_keys(struct loop *loop)
{
	ssize_t n = write(loop->session->guest_fd, loop->pending, loop->pending_bytes);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		n = loop->pending_bytes; /* nobody is there any more */
	if (n > 0) {
		loop->pending_bytes -= n;
		memmove(loop->pending, loop->pending + n, loop->pending_bytes);
	}
}

/* --- what the guest side says --- */

static void read_guest(struct loop *loop)
{
	char data[CHUNK];
	ssize_t n = read(loop->session->guest_fd, data, sizeof(data));

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		loop->guest_open = false;
	else if (n > 0 && !write_all(STDOUT_FILENO, data, n)) {
		/* whoever watched has gone: as if the terminal had been closed */
		loop->guest_open = false;
		request(loop, CONSOLE_POWERDOWN);
	}
}

static void read_messages(struct loop *loop)
{
	char data[CHUNK];
	ssize_t n = read(loop->session->messages_fd, data, sizeof(data));

	if (n > 0)
		say(loop, data, n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		loop->messages_open = false;
}

/* --- signals and time --- */

/* Ctrl-Z from outside: the shell gets its terminal back until it continues us. */
static void stop(struct loop *loop)
{
	if (loop->raw)
		terminal_restore();
	raise(SIGSTOP);
	if (loop->raw)
		terminal_resume();
}

static void check_child(struct loop *loop)
{
	if (!loop->ended &&
	    waitpid(loop->session->pid, &loop->status, WNOHANG) == loop->session->pid)
		loop->ended = true;
}

static void read_signal(struct loop *loop)
{
	struct signalfd_siginfo info;

	if (read(loop->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGCHLD:
		check_child(loop);
		if (!loop->ended)
			loop->session->request(loop->session->opaque, CONSOLE_CHILD_ENDED);
		break;
	case SIGTSTP: stop(loop); break;
	case SIGCONT: break;
	case SIGWINCH: loop->session->request(loop->session->opaque, CONSOLE_RESIZED); break;
	default: request(loop, CONSOLE_POWERDOWN); break;
	}
}

static void read_timer(struct loop *loop)
{
	u64 count;

	if (read(loop->timer_fd, &count, sizeof(count)) != sizeof(count))
		return;
	if (loop->quitting)
		kill(loop->session->pid, SIGKILL);
	else
		request(loop, CONSOLE_TIMEOUT);
}

/* --- the loop --- */

static void fill_polled(const struct loop *loop, struct pollfd polled[POLLED])
{
	bool room = loop->pending_bytes < sizeof(loop->pending) - CHUNK;

	polled[IN] = (struct pollfd){ loop->in_open && room ? STDIN_FILENO : -1, POLLIN, 0 };
	polled[GUEST] = (struct pollfd){ loop->guest_open ? loop->session->guest_fd : -1,
					 POLLIN | (loop->pending_bytes ? POLLOUT : 0), 0 };
	polled[MESSAGES] =
		(struct pollfd){ loop->messages_open ? loop->session->messages_fd : -1, POLLIN, 0 };
	polled[SIGNALS] = (struct pollfd){ loop->signal_fd, POLLIN, 0 };
	polled[TIMER] = (struct pollfd){ loop->timer_fd, POLLIN, 0 };
}

static void serve(struct loop *loop, const struct pollfd polled[POLLED])
{
	if (polled[GUEST].revents & (POLLIN | POLLHUP | POLLERR))
		read_guest(loop);
	if (polled[GUEST].revents & POLLOUT && loop->guest_open)
		flush_keys(loop);
	if (polled[IN].revents)
		read_keys(loop);
	if (polled[MESSAGES].revents)
		read_messages(loop);
	if (polled[SIGNALS].revents)
		read_signal(loop);
	if (polled[TIMER].revents)
		read_timer(loop);
}

/* The process is gone; what it wrote before is still on its way. */
static void drain(struct loop *loop)
{
	struct pollfd polled[2];

	do {
		polled[0] = (struct pollfd){ loop->guest_open ? loop->session->guest_fd : -1,
					     POLLIN, 0 };
		polled[1] = (struct pollfd){ loop->messages_open ? loop->session->messages_fd : -1,
					     POLLIN, 0 };
		if (poll(polled, 2, 0) <= 0)
			return;
		if (polled[0].revents)
			read_guest(loop);
		if (polled[1].revents)
			read_messages(loop);
	} while (loop->guest_open || loop->messages_open);
}

static void open_loop(struct loop *loop)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigaddset(&set, signals[i]);
	loop->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	loop->guest_open = loop->session->guest_fd >= 0;
	loop->messages_open = loop->session->messages_fd >= 0;
	loop->in_open = loop->guest_open;
	if (loop->guest_open) {
		int flags = fcntl(loop->session->guest_fd, F_GETFL);

		fcntl(loop->session->guest_fd, F_SETFL, flags | O_NONBLOCK);
		loop->raw = terminal_enter_raw(STDIN_FILENO);
	}
	if (loop->session->timeout_seconds)
		set_timer(loop, loop->session->timeout_seconds);
}

int console_run(const struct console_session *session)
{
	struct loop loop = { .session = session };
	struct pollfd polled[POLLED];

	open_loop(&loop);
	check_child(&loop);
	while (!loop.ended) {
		fill_polled(&loop, polled);
		if (poll(polled, POLLED, -1) > 0)
			serve(&loop, polled);
	}
	drain(&loop);
	terminal_restore();
	close(loop.signal_fd);
	close(loop.timer_fd);
	return loop.status;
}
