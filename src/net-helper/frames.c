/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames in and out of the guest's socket; see helper.h for their form. */
#include "net-helper/helper.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#define NEEDS_CSUM 1 /* VIRTIO_NET_HDR_F_NEEDS_CSUM */

/* virtio 1.2, 5.1.6; little-endian, as this host is */
struct net_header {
	u8 flags, gso_type;
	u16 hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

_Static_assert(sizeof(struct net_header) == FRAME_HEADER_BYTES, "the header has 12 bytes");

#define ETHERNET_BYTES 14

/* The Internet checksum of RFC 1071 over @bytes bytes. */
static u16 checksum(const u8 *data, size_t bytes)
{
	u64 sum = 0;

	for (; bytes >= 2; data += 2, bytes -= 2)
		sum += data[0] << 8 | data[1];
	if (bytes)
		sum += data[0] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

bool frame_complete(u8 *message, size_t bytes)
{
	struct net_header header;
	u8 *frame = message + FRAME_HEADER_BYTES;
	size_t length, at;
	u16 sum;

	if (bytes < FRAME_HEADER_BYTES + ETHERNET_BYTES)
		return false;
	memcpy(&header, message, sizeof(header));
	length = bytes - FRAME_HEADER_BYTES;
	if (!(header.flags & NEEDS_CSUM))
		return true;
	at = header.csum_start + header.csum_offset;
	if (header.csum_start < ETHERNET_BYTES || header.csum_start >= length || at + 2 > length)
		return false;
	/* the field holds the sum over the pseudo header, which belongs in */
	sum = checksum(frame + header.csum_start, length - header.csum_start);
	if (sum == 0)
		sum = 0xffff; /* in UDP, 0 would say "none" */
	frame[at] = sum >> 8;
	frame[at + 1] = sum;
	return true;
}

/* False when the socket is full. A guest that has gone is noticed by the loop. */
static bool send_frame(int fd, const void *frame, size_t bytes)
{
	struct net_header header = { .num_buffers = 0 };
	struct iovec parts[2] = { { &header, sizeof(header) }, { (void *)frame, bytes } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = ARRAY_LEN(parts) };

	return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
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
