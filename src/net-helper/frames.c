/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames to the guest; see helper.h for their form. */
#include "net-helper/helper.h"

#include <errno.h>

/* False when the socket is full. A guest that has gone is noticed by the loop. */
static bool send_frame(int fd, const void *frame, size_t bytes)
{
	return send(fd, frame, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
	       (errno != EAGAIN && errno != ENOBUFS);
}

void frame_to_guest(struct helper *helper, const void *frame, size_t bytes)
{
	if (g_queue_is_empty(helper->waiting) && send_frame(helper->fd, frame, bytes))
		return;
	if (g_queue_get_length(helper->waiting) < QUEUE_FRAMES_MAX)
		g_queue_push_tail(helper->waiting, g_bytes_new(frame, bytes));
}

void frames_flush(struct helper *helper)
{
	while (!g_queue_is_empty(helper->waiting)) {
		GBytes *frame = g_queue_peek_head(helper->waiting);
		gsize bytes;
		const void *data = g_bytes_get_data(frame, &bytes);

		if (!send_frame(helper->fd, data, bytes))
			return;
		g_queue_pop_head(helper->waiting);
		g_bytes_unref(frame);
	}
}
