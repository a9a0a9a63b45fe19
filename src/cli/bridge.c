/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lodge bridge: a daemon's socket on the standard streams, for clients that come by ssh. */
#include "cli/daemon.h"
#include "lib/reach.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* One direction. What was read and not yet written is between @from and @to. */
struct pipe_way {
	int in, out;
	bool ended; /* the input has */
	size_t from, to;
	char bytes[65536];
};

static void read_more(struct pipe_way *way)
{
	ssize_t n = read(way->in, way->bytes, sizeof(way->bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	way->ended = n <= 0;
	way->from = 0;
	way->to = n > 0 ? n : 0;
}

/* False: nobody reads there. */
static bool write_some(struct pipe_way *way)
{
	ssize_t n = write(way->out, way->bytes + way->from, way->to - way->from);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	way->from += n;
	return true;
}

static bool waits_to_write(const struct pipe_way *way)
{
	return way->from < way->to;
}

static void want(const struct pipe_way *way, struct pollfd *in, struct pollfd *out)
{
	if (waits_to_write(way))
		out->events |= POLLOUT;
	else if (!way->ended)
		in->events |= POLLIN;
}

static bool move(struct pipe_way *way, const struct pollfd *in, const struct pollfd *out)
{
	if (waits_to_write(way))
		return !(out->revents & (POLLOUT | POLLERR | POLLHUP)) || write_some(way);
	if (!way->ended && (in->revents & (POLLIN | POLLHUP | POLLERR)))
		read_more(way);
	return true;
}

/* Until the daemon has no more to say, or nobody listens to it. */
static void carry(int daemon)
{
	struct pipe_way *there = g_new0(struct pipe_way, 1), *back = g_new0(struct pipe_way, 1);
	bool good = true, told = false;

	there->in = STDIN_FILENO;
	there->out = back->in = daemon;
	back->out = STDOUT_FILENO;
	while (good && !(back->ended && !waits_to_write(back))) {
		struct pollfd fds[] = { { STDIN_FILENO, 0, 0 },
					{ STDOUT_FILENO, 0, 0 },
					{ daemon, 0, 0 } };

		want(there, &fds[0], &fds[2]);
		want(back, &fds[2], &fds[1]);
		if (!fds[0].events) /* its end would wake us without an end */
			fds[0].fd = -1;
		if (poll(fds, G_N_ELEMENTS(fds), -1) < 0)
			continue;
		good = move(there, &fds[0], &fds[2]) && move(back, &fds[2], &fds[1]) &&
		       !(fds[1].revents & POLLERR);
		if (there->ended && !waits_to_write(there) && !told) {
			shutdown(daemon, SHUT_WR);
			told = true;
		}
	}
	g_free(there);
	g_free(back);
}

static int run_bridge(const struct invocation *invocation)
{
	const char *uri = invocation->arguments->len ? invocation->arguments->pdata[0] : NULL;
	unsigned flags = invocation_has(invocation, "--read-only") ? LODGE_OPEN_READ_ONLY : 0;
	int fd = reach_socket(uri, flags, __func__);

	if (fd < 0)
		return daemon_failed();
	carry(fd);
	close(fd);
	return EXIT_SUCCESS;
}

static const struct command_option options[] = {
	{ "--read-only", VALUE_NONE, NULL, "the socket for those who only look" },
	{ NULL },
};

const struct command commands_bridge[] = {
	{ .name = "bridge",
	  .arguments = "[URI]",
	  .kind = ARGUMENT_TEXT,
	  .arguments_max = 1,
	  .summary = "carry a daemon's protocol on the standard streams",
	  .description = "Connects the standard streams with the daemon's socket on this host. It "
			 "is what\n"
			 "lodge+ssh://HOST/system runs on HOST.",
	  .options = options,
	  .action = run_bridge },
	{ NULL },
};
