/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop: frames from the guest to libslirp, and whatever libslirp waits for.
 *
 * While frames wait for a guest that does not read, libslirp's sockets are left alone: then the
 * senders on the other side wait as well, which is what TCP is for. The guest's own frames are
 * still taken, because among them are those that open its windows again.
 */
#include "net-helper/helper.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define MESSAGE_BYTES_MAX (FRAME_HEADER_BYTES + FRAME_BYTES_MAX)
#define FRAMES_A_TURN     64   /* before others get theirs */
#define WAIT_MS_MAX       1000 /* libslirp ages connections by being called */

static const struct {
	int slirp, poll;
} events[] = { { SLIRP_POLL_IN, POLLIN },
	       { SLIRP_POLL_OUT, POLLOUT },
	       { SLIRP_POLL_PRI, POLLPRI },
	       { SLIRP_POLL_ERR, POLLERR },
	       { SLIRP_POLL_HUP, POLLHUP } };

static int add_poll(int fd, int wanted, void *opaque)
{
	struct helper *helper = opaque;
	struct pollfd entry = { .fd = fd };

	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (wanted & events[i].slirp)
			entry.events |= events[i].poll;
	g_array_append_val(helper->polled, entry);
	return helper->polled->len - 1;
}

static int get_events(int index, void *opaque)
{
	struct helper *helper = opaque;
	short found = g_array_index(helper->polled, struct pollfd, index).revents;
	int result = 0;

	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (found & events[i].poll)
			result |= events[i].slirp;
	return result;
}

/* False when the guest's end has closed. */
static bool read_frames(struct helper *helper, u8 *message)
{
	for (unsigned i = 0; i < FRAMES_A_TURN; i++) {
		ssize_t n = recv(helper->fd, message, MESSAGE_BYTES_MAX, MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0)
			return false;
		if (n <= MESSAGE_BYTES_MAX && frame_complete(message, n))
			slirp_input(helper->slirp, message + FRAME_HEADER_BYTES,
				    n - FRAME_HEADER_BYTES);
	}
	return true;
}

/* One turn; false at the end. */
static bool turn(struct helper *helper, u8 *message)
{
	bool blocked = !g_queue_is_empty(helper->waiting), open = true;
	struct pollfd guest = { .fd = helper->fd, .events = POLLIN | (blocked ? POLLOUT : 0) };
	u32 wait = WAIT_MS_MAX;
	int count;

	g_array_set_size(helper->polled, 0);
	g_array_append_val(helper->polled, guest);
	if (!blocked)
		slirp_pollfds_fill(helper->slirp, &wait, add_poll, helper);
	wait = stack_timer_wait(helper, MIN(wait, WAIT_MS_MAX));
	count = poll((struct pollfd *)helper->polled->data, helper->polled->len, wait);
	if (count < 0 && errno != EINTR)
		return false;
	guest = g_array_index(helper->polled, struct pollfd, 0);
	if (!blocked)
		slirp_pollfds_poll(helper->slirp, count < 0, get_events, helper);
	if (count > 0 && (guest.revents & POLLOUT))
		frames_flush(helper);
	if (count > 0 && (guest.revents & (POLLIN | POLLHUP | POLLERR)))
		open = read_frames(helper, message);
	stack_run_timers(helper);
	return open;
}

void loop_run(struct helper *helper)
{
	u8 *message = g_malloc(MESSAGE_BYTES_MAX);

	while (turn(helper, message))
		;
	g_free(message);
}
