/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes that carry descriptors. See carried.h. */
#include "rpc/carried.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void rpc_fds_close(struct rpc_fds *fds)
{
	for (u32 i = 0; i < fds->count; i++)
		close(fds->items[i]);
	fds->count = 0;
}

bool rpc_fds_add(struct rpc_fds *fds, int fd)
{
	if (fds->count == RPC_FDS_MAX) {
		close(fd);
		return false;
	}
	fds->items[fds->count++] = fd;
	return true;
}

bool rpc_carried_keep(struct rpc_carried *carried, size_t at, int fd)
{
	if (carried->count == RPC_FDS_MAX) {
		close(fd);
		return false;
	}
	if (carried->count == carried->room) {
		carried->room = carried->room ? carried->room * 2 : 2;
		carried->items = g_renew(struct rpc_carrier, carried->items, carried->room);
	}
	carried->items[carried->count++] = (struct rpc_carrier){ at, fd };
	return true;
}

/* Most queues carry nothing: then they have no memory. */
static void drop_first(struct rpc_carried *carried, u32 count)
{
	carried->count -= count;
	memmove(carried->items, carried->items + count, carried->count * sizeof(*carried->items));
	if (!carried->count) {
		g_clear_pointer(&carried->items, g_free);
		carried->room = 0;
	}
}

bool rpc_carried_take(struct rpc_carried *carried, size_t at, u32 count, struct rpc_fds *fds)
{
	fds->count = 0;
	if (count > carried->count || count > RPC_FDS_MAX)
		return false;
	for (u32 i = 0; i < count; i++)
		if (carried->items[i].at != at + i)
			return false;
	for (u32 i = 0; i < count; i++)
		fds->items[i] = carried->items[i].fd;
	fds->count = count;
	if (count)
		drop_first(carried, count);
	return true;
}

bool rpc_carried_advance(struct rpc_carried *carried, size_t bytes)
{
	u32 left = 0;

	while (left < carried->count && carried->items[left].at < bytes)
		close(carried->items[left++].fd);
	if (left)
		drop_first(carried, left);
	for (u32 i = 0; i < carried->count; i++)
		carried->items[i].at -= bytes;
	return !left;
}

void rpc_carried_clear(struct rpc_carried *carried)
{
	for (u32 i = 0; i < carried->count; i++)
		close(carried->items[i].fd);
	if (carried->count)
		drop_first(carried, carried->count);
}

/* --- the socket --- */

/* With room for one more than may come, so that it is seen. */
union control {
	struct cmsghdr header;
	u8 bytes[CMSG_SPACE(2 * sizeof(int))];
};

/* False: it is not one, and what came is closed. */
static bool take_rights(struct msghdr *message, int *fd)
{
	struct rpc_fds all = { 0 };

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0;
		     i < n && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS; i++) {
			int one;

			memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(one));
			rpc_fds_add(&all, one);
		}
	}
	if (all.count > 1 || (message->msg_flags & MSG_CTRUNC)) {
		rpc_fds_close(&all);
		return false;
	}
	*fd = all.count ? all.items[0] : -1;
	return true;
}

ssize_t rpc_carried_receive(int socket, void *bytes, size_t n, int *fd)
{
	union control control;
	struct iovec part = { bytes, n };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control.bytes,
				  .msg_controllen = sizeof(control.bytes) };
	ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*fd = -1;
	if (got < 0 || take_rights(&message, fd))
		return got;
	errno = EPROTO;
	return -1;
}

ssize_t rpc_carried_send(int socket, int fd)
{
	union control control = { .bytes = { 0 } };
	struct iovec part = { (u8[]){ 0 }, 1 };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = control.bytes,
				  .msg_controllen = CMSG_SPACE(sizeof(fd)) };
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
	return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}
