/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A socket that carries one frame a message, header included (SOCK_SEQPACKET or SOCK_DGRAM): the
 * way to helper processes such as lodge-net.
 *
 * Sending is one non-blocking system call on the caller's thread. A thread of its own receives; it
 * sleeps in poll() and is woken through an eventfd to look for room to send, to try a frame again
 * that the client had no room for, and at the end.
 */
#include "net/net.h"

#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_MAX 64 /* frames between two interrupts */

struct net_socket {
	struct net net;
	int fd, wake_fd;
	pthread_t thread;

	pthread_mutex_t client_lock; /* held during calls of the client */
	struct net_client client;

	pthread_mutex_t lock; /* below */
	bool send_blocked, receive_blocked, quit;

	bool ended;  /* the thread's: the other side is gone */
	size_t kept; /* bytes of a frame in @frame that found no room */
	u8 frame[NET_FRAME_MAX];
};

static struct net_socket *socket_of(struct net *net)
{
	return container_of(net, struct net_socket, net);
}

static void wake(struct net_socket *s)
{
	const u64 one = 1;

	if (write(s->wake_fd, &one, sizeof(one)) < 0)
		return; /* awake already */
}

static bool socket_send(struct net *net, const struct iovec *iov, unsigned count)
{
	struct net_socket *s = socket_of(net);
	const struct msghdr message = { .msg_iov = (struct iovec *)iov, .msg_iovlen = count };
	ssize_t n;

	do {
		n = sendmsg(s->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n >= 0 || (errno != EAGAIN && errno != ENOBUFS))
		return true;
	pthread_mutex_lock(&s->lock);
	s->send_blocked = true;
	pthread_mutex_unlock(&s->lock);
	wake(s);
	return false;
}

static void socket_resume(struct net *net)
{
	struct net_socket *s = socket_of(net);
	bool was;

	pthread_mutex_lock(&s->lock);
	was = s->receive_blocked;
	s->receive_blocked = false;
	pthread_mutex_unlock(&s->lock);
	if (was)
		wake(s);
}

static void socket_attach(struct net *net, const struct net_client *client)
{
	struct net_socket *s = socket_of(net);

	pthread_mutex_lock(&s->client_lock);
	s->client = client ? *client : (struct net_client){ 0 };
	pthread_mutex_unlock(&s->client_lock);
	socket_resume(net);
}

/* Said before asking, so that a resume that comes in between is not lost. */
static bool deliver_locked(struct net_socket *s)
{
	bool taken;

	pthread_mutex_lock(&s->lock);
	s->receive_blocked = true;
	pthread_mutex_unlock(&s->lock);
	taken = s->client.receive && s->client.receive(s->client.opaque, s->frame, s->kept);
	if (!taken)
		return false;
	net_count_received(&s->net, s->kept);
	s->kept = 0;
	pthread_mutex_lock(&s->lock);
	s->receive_blocked = false;
	pthread_mutex_unlock(&s->lock);
	return true;
}

/* False: nothing more waits. */
static bool fetch(struct net_socket *s)
{
	struct iovec iov = { s->frame, sizeof(s->frame) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(s->fd, &message, MSG_DONTWAIT);

	if (n <= 0) {
		s->ended = n == 0 || (errno != EAGAIN && errno != EINTR);
		return false;
	}
	/* Frames that are no frames are dropped. */
	s->kept = n >= NET_FRAME_MIN && !(message.msg_flags & MSG_TRUNC) ? n : 0;
	if (!s->kept)
		statistics_add(&s->net.statistics->rx_dropped, 1);
	return true;
}

static void receive_batch(struct net_socket *s)
{
	pthread_mutex_lock(&s->client_lock);
	for (unsigned i = 0; i < BATCH_MAX; i++) {
		if (!s->kept && !fetch(s))
			break;
		if (s->kept && !deliver_locked(s))
			break;
	}
	if (s->client.batch_end)
		s->client.batch_end(s->client.opaque);
	pthread_mutex_unlock(&s->client_lock);
}

static void tell_writable(struct net_socket *s)
{
	pthread_mutex_lock(&s->lock);
	s->send_blocked = false;
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_lock(&s->client_lock);
	if (s->client.writable)
		s->client.writable(s->client.opaque);
	pthread_mutex_unlock(&s->client_lock);
}

static void *socket_thread(void *arg)
{
	struct net_socket *s = arg;
	struct pollfd fds[2];
	bool retry;
	u64 counter;

	pthread_setname_np(pthread_self(), "net");
	for (;;) {
		pthread_mutex_lock(&s->lock);
		if (s->quit) {
			pthread_mutex_unlock(&s->lock);
			return NULL;
		}
		fds[0] = (struct pollfd){ .fd = s->wake_fd, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = s->ended ? -1 : s->fd };
		if (!s->receive_blocked)
			fds[1].events |= POLLIN;
		if (s->send_blocked)
			fds[1].events |= POLLOUT;
		retry = s->kept && !s->receive_blocked;
		pthread_mutex_unlock(&s->lock);

		if (poll(fds, 2, retry ? 0 : -1) < 0)
			continue;
		if (fds[0].revents && read(s->wake_fd, &counter, sizeof(counter)) < 0)
			counter = 0;
		if (fds[1].revents & POLLOUT)
			tell_writable(s);
		if (retry || (fds[1].revents & (POLLIN | POLLHUP | POLLERR)))
			receive_batch(s);
		if (s->ended && fds[1].fd >= 0)
			log_warning("net", "the other end of the network is gone");
	}
}

static void free_socket(struct net_socket *s)
{
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	pthread_mutex_destroy(&s->client_lock);
	pthread_mutex_destroy(&s->lock);
	g_free(s);
}

static struct net *socket_open(const struct net_config *config, GError **error)
{
	struct net_socket *s;
	socklen_t length;
	int type = 0, err;

	length = sizeof(type);
	if (getsockopt(config->fd, SOL_SOCKET, SO_TYPE, &type, &length) ||
	    (type != SOCK_SEQPACKET && type != SOCK_DGRAM)) {
		g_set_error(error, NET_ERROR, EINVAL,
			    "its descriptor is not a socket that keeps messages apart");
		return NULL;
	}
	s = g_new0(struct net_socket, 1);
	s->net.backend = &net_backend_socket;
	s->fd = config->fd;
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&s->client_lock, NULL);
	pthread_mutex_init(&s->lock, NULL);
	err = s->wake_fd < 0 ? errno : thread_start(&s->thread, socket_thread, s);
	if (err) {
		g_set_error(error, NET_ERROR, err, "cannot start a network's thread: %s",
			    g_strerror(err));
		free_socket(s);
		return NULL;
	}
	return &s->net;
}

static void socket_close(struct net *net)
{
	struct net_socket *s = socket_of(net);

	pthread_mutex_lock(&s->lock);
	s->quit = true;
	pthread_mutex_unlock(&s->lock);
	wake(s);
	pthread_join(s->thread, NULL);
	close(s->fd);
	free_socket(s);
}

const struct net_backend net_backend_socket = {
	.name = "socket",
	.help = "a socket that carries one frame a message",
	.open = socket_open,
	.send = socket_send,
	.attach = socket_attach,
	.resume = socket_resume,
	.close = socket_close,
};
