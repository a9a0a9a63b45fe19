/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The console core: one output ring, one thread that polls. See console.h.
 *
 * The thread sleeps in poll() and is woken through an eventfd: when output begins to gather (it
 * then waits FLUSH_MS for more), when the device can take input again, and at the end. A whole
 * line is written by whoever completed it, if the descriptor takes it without blocking.
 */
#include "console/console.h"

#include "base/log.h"
#include "base/thread.h"
#include "console/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLUSH_MS   2
#define IDLE_MS    100 /* how often a pty without a reader is looked at */
#define READ_BYTES 512

struct console {
	const struct console_backend *backend;
	int listen_fd, in_fd, out_fd, wake_fd;
	bool own_fds;
	bool socket; /* out_fd is one: send with MSG_DONTWAIT */
	pthread_t thread;
	struct console_log *log; /* or NULL */

	pthread_mutex_t client_lock; /* held during calls of the client */
	struct console_client client;

	pthread_mutex_t lock; /* below */
	u8 ring[CONSOLE_BUFFER_BYTES];
	size_t head, count;
	bool gathering, blocked, starved, quit, input_closed, was_full;
	bool hung_up; /* the other end of a connected socket has gone for good */
	bool leaving; /* a socket's peer has gone; what it sent is not read yet */
	bool losing;  /* output cannot be written, and the log says so */
	char *name;
};

GQuark console_error_quark(void)
{
	return g_quark_from_static_string("lodge-console");
}

/* "fd": standard input and output. "file": output only. */
static const struct console_backend backend_fd = {
	.name = "fd",
	.help = "a pair of descriptors",
	.input = true,
};
static const struct console_backend backend_pty = {
	.name = "pty",
	.help = "master side of a pseudo terminal",
	.input = true,
	.hangup_is_idle = true,
};
static const struct console_backend backend_listen = {
	.name = "listen",
	.help = "listening socket, one peer at a time",
	.input = true,
	.accept = true,
};
static const struct console_backend backend_file = {
	.name = "file",
	.help = "file that output is appended to",
};
static const struct console_backend backend_null = {
	.name = "null",
	.help = "nothing",
	.discard = true,
};

const struct console_backend *const console_backends[] = {
	&backend_fd, &backend_pty, &backend_listen, &backend_file, &backend_null, NULL,
};

static void wake(struct console *c)
{
	const u64 one = 1;

	if (write(c->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is awake already */
}

/* Writes without blocking where the descriptor allows it to be known. */
static ssize_t write_some(struct console *c, const u8 *data, size_t bytes)
{
	struct pollfd p = { .fd = c->out_fd, .events = POLLOUT };

	if (c->socket)
		return send(c->out_fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	/* The terminal belongs to others too, so it is not switched to O_NONBLOCK; after a POLLOUT
	 * a tty or pipe takes some bytes without blocking for long. A pty that nobody has open
	 * takes some as well, and would show the stalest of all to who opens it next. */
	if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT) ||
	    (c->backend->hangup_is_idle && (p.revents & POLLHUP))) {
		errno = p.revents & (POLLHUP | POLLERR) ? EPIPE : EAGAIN;
		return -1;
	}
	return write(c->out_fd, data, MIN(bytes, 4096));
}

/* Nobody there: output is lost as on a cut cable. Anything else is worth a line, the first time. */
static void lose_output_locked(struct console *c, int err)
{
	c->head = c->count = 0;
	if (c->losing || err == EPIPE || err == ECONNRESET || err == EIO)
		return;
	c->losing = true;
	log_error("console", "%s: its output is lost: %s", c->name, g_strerror(err));
}

/* True: more waits and the descriptor would block. */
static bool flush_locked(struct console *c)
{
	while (c->count && c->out_fd >= 0) {
		size_t n = MIN(c->count, sizeof(c->ring) - c->head);
		ssize_t done = write_some(c, c->ring + c->head, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN)
			return true;
		if (done <= 0) {
			lose_output_locked(c, done < 0 ? errno : EPIPE);
			break;
		}
		c->losing = false;
		c->head = (c->head + done) % sizeof(c->ring);
		c->count -= done;
	}
	c->gathering = false;
	return false;
}

/* Is there anything for a thread to do? */
static bool has_thread(const struct console *c)
{
	return !c->backend->discard || c->log;
}

static void note(struct console *c, const u8 *data, size_t bytes)
{
	if (c->log && bytes && console_log_add(c->log, data, bytes))
		wake(c);
}

static size_t print(struct console *c, const u8 *p, size_t bytes)
{
	size_t n;

	if (c->backend->discard)
		return bytes;
	pthread_mutex_lock(&c->lock);
	if (c->out_fd < 0) { /* nobody is connected */
		pthread_mutex_unlock(&c->lock);
		return bytes;
	}
	n = MIN(bytes, sizeof(c->ring) - c->count);
	for (size_t i = 0; i < n; i++)
		c->ring[(c->head + c->count + i) % sizeof(c->ring)] = p[i];
	c->count += n;
	c->was_full = c->count == sizeof(c->ring);
	if (n && !c->blocked && (p[n - 1] == '\n' || c->count >= 1024)) {
		c->blocked = flush_locked(c);
		if (c->blocked)
			wake(c);
	} else if (n && !c->gathering && !c->blocked) {
		c->gathering = true;
		wake(c);
	}
	pthread_mutex_unlock(&c->lock);
	return n;
}

size_t console_write(struct console *c, const void *data, size_t bytes)
{
	size_t n = print(c, data, bytes);

	note(c, data, n);
	return n;
}

void console_push(struct console *c, const void *data, size_t bytes)
{
	print(c, data, bytes);
	note(c, data, bytes);
}

size_t console_room(struct console *c)
{
	size_t room;

	pthread_mutex_lock(&c->lock);
	room = sizeof(c->ring) - c->count;
	pthread_mutex_unlock(&c->lock);
	return room;
}

bool console_connected(struct console *c)
{
	bool connected;

	if (c->backend->discard)
		return true;
	pthread_mutex_lock(&c->lock);
	connected = c->out_fd >= 0 && !c->hung_up;
	pthread_mutex_unlock(&c->lock);
	return connected;
}

void console_accept(struct console *c)
{
	bool was;

	pthread_mutex_lock(&c->lock);
	was = c->starved;
	c->starved = false;
	pthread_mutex_unlock(&c->lock);
	if (was)
		wake(c);
}

static void tell_connected(struct console *c, bool open)
{
	pthread_mutex_lock(&c->client_lock);
	if (c->client.connected)
		c->client.connected(c->client.opaque, open);
	pthread_mutex_unlock(&c->client_lock);
}

static void tell_writable(struct console *c)
{
	pthread_mutex_lock(&c->client_lock);
	if (c->client.writable)
		c->client.writable(c->client.opaque);
	pthread_mutex_unlock(&c->client_lock);
}

static void drop_peer(struct console *c)
{
	bool was_full;

	pthread_mutex_lock(&c->lock);
	close(c->in_fd);
	c->in_fd = c->out_fd = -1;
	c->head = c->count = 0;
	was_full = c->was_full;
	c->blocked = c->gathering = c->was_full = false;
	pthread_mutex_unlock(&c->lock);
	if (was_full)
		tell_writable(c);
	tell_connected(c, false);
}

static void input_ended(struct console *c)
{
	if (c->backend->accept) {
		drop_peer(c);
		return;
	}
	pthread_mutex_lock(&c->lock);
	c->input_closed = true;
	c->hung_up = c->socket;
	pthread_mutex_unlock(&c->lock);
	if (c->hung_up)
		tell_connected(c, false);
}

/* A device that takes nothing now may still want what was sent before the peer left. */
static void hung_up(struct console *c, bool starved)
{
	u8 byte;

	if (starved && recv(c->in_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		c->leaving = true;
	else
		input_ended(c);
}

/* One read of what the device can take. */
static void read_input(struct console *c)
{
	u8 data[READ_BYTES];
	size_t room = 0;
	ssize_t n;

	pthread_mutex_lock(&c->client_lock);
	/* Said before asking, so that an accept that comes in between is not lost. */
	pthread_mutex_lock(&c->lock);
	c->starved = true;
	pthread_mutex_unlock(&c->lock);
	if (c->client.ready)
		room = c->client.ready(c->client.opaque);
	if (room) {
		pthread_mutex_lock(&c->lock);
		c->starved = false;
		pthread_mutex_unlock(&c->lock);
		c->leaving = false; /* what is left is looked at again */
		n = read(c->in_fd, data, MIN(room, sizeof(data)));
		if (n > 0)
			c->client.receive(c->client.opaque, data, n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR && errno != EIO))
			room = SIZE_MAX;
	}
	pthread_mutex_unlock(&c->client_lock);
	if (room == SIZE_MAX)
		input_ended(c);
}

static void accept_peer(struct console *c)
{
	int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	pthread_mutex_lock(&c->lock);
	c->in_fd = c->out_fd = fd;
	c->starved = c->leaving = false;
	pthread_mutex_unlock(&c->lock);
	tell_connected(c, true);
}

/* Output when the gathering time is over or the descriptor takes more. */
static void write_output(struct console *c)
{
	bool room_again;

	pthread_mutex_lock(&c->lock);
	c->blocked = flush_locked(c);
	room_again = c->was_full && c->count < sizeof(c->ring) / 2;
	if (room_again)
		c->was_full = false;
	pthread_mutex_unlock(&c->lock);
	if (room_again)
		tell_writable(c);
}

static u64 now_ms(void)
{
	return g_get_monotonic_time() / 1000;
}

/* Not at every line: a guest that prints much has its lines written together. */
static void keep_log(struct console *c, u64 *kept_ms)
{
	u64 now = now_ms();

	if (now - *kept_ms < CONSOLE_LOG_DELAY_MS)
		return;
	*kept_ms = now;
	console_log_write(c->log);
}

static void *console_thread(void *arg)
{
	struct console *c = arg;
	struct pollfd fds[3];
	u64 counter, kept_ms = 0;

	pthread_setname_np(pthread_self(), "console");
	for (;;) {
		bool idle_pty = false;
		int timeout = -1;

		pthread_mutex_lock(&c->lock);
		if (c->quit) {
			pthread_mutex_unlock(&c->lock);
			return NULL;
		}
		fds[0] = (struct pollfd){ .fd = c->wake_fd, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = -1 };
		fds[2] = (struct pollfd){ .fd = -1 };
		if (c->backend->accept && c->in_fd < 0)
			fds[1] = (struct pollfd){ .fd = c->listen_fd, .events = POLLIN };
		else if (c->backend->input && !c->input_closed &&
			 (!c->starved || (c->socket && !c->leaving)))
			fds[1] = (struct pollfd){ .fd = c->in_fd,
						  .events = c->starved ? 0 : POLLIN };
		if (c->blocked)
			fds[2] = (struct pollfd){ .fd = c->out_fd, .events = POLLOUT };
		if (c->gathering)
			timeout = FLUSH_MS;
		pthread_mutex_unlock(&c->lock);
		if (timeout < 0 && c->log && console_log_waits(c->log))
			timeout = CONSOLE_LOG_DELAY_MS;

		if (poll(fds, 3, timeout) < 0)
			continue;
		if (c->log && timeout >= 0)
			keep_log(c, &kept_ms);
		if (fds[0].revents && read(c->wake_fd, &counter, sizeof(counter)) < 0)
			counter = 0;
		if (fds[1].revents && fds[1].fd == c->listen_fd)
			accept_peer(c);
		else if (fds[1].revents & POLLIN)
			read_input(c);
		else if (fds[1].revents && c->backend->hangup_is_idle)
			idle_pty = true;
		else if (fds[1].revents)
			hung_up(c, fds[1].events == 0);
		if (fds[2].revents || (c->gathering && !fds[0].revents))
			write_output(c);
		if (idle_pty) /* poll() reports the hang-up at once for as long as it lasts */
			poll(fds, 1,
			     c->log && console_log_waits(c->log) ? CONSOLE_LOG_DELAY_MS : IDLE_MS);
	}
}

static bool is_socket(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static const struct console_backend *find_backend(const char *name)
{
	for (unsigned i = 0; console_backends[i]; i++)
		if (!strcmp(console_backends[i]->name, name))
			return console_backends[i];
	return NULL;
}

static void assign_fds(struct console *c, const struct console_config *config)
{
	c->listen_fd = c->in_fd = c->out_fd = -1;
	if (c->backend == &backend_fd) {
		c->in_fd = config->fd_in;
		c->out_fd = config->fd_out;
		c->input_closed = config->fd_in < 0;
	} else if (c->backend->accept) {
		c->listen_fd = config->fd;
		c->own_fds = true;
	} else if (!c->backend->discard) {
		c->in_fd = c->out_fd = config->fd;
		c->own_fds = true;
	}
	c->socket = c->backend->accept || is_socket(c->out_fd);
}

struct console *console_open(const struct console_config *config, GError **error)
{
	const struct console_backend *backend = find_backend(config->driver);
	struct console *c;
	int err;

	if (!backend) {
		g_set_error(error, CONSOLE_ERROR, EINVAL, "there is no console driver '%s'",
			    config->driver);
		return NULL;
	}
	c = g_new0(struct console, 1);
	c->backend = backend;
	c->name = g_strdup(config->name ?: "console");
	c->wake_fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->client_lock, NULL);
	assign_fds(c, config);
	if (config->log_bytes)
		c->log = console_log_open(config->log_fd, config->log_old_fd, config->log_bytes,
					  c->name);
	if (!has_thread(c))
		return c;
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = c->wake_fd < 0 ? errno : 0;
	if (!err)
		err = thread_start(&c->thread, console_thread, c);
	if (err) {
		g_set_error(error, CONSOLE_ERROR, err, "cannot start a console's thread: %s",
			    g_strerror(err));
		if (c->wake_fd >= 0)
			close(c->wake_fd);
		console_log_close(c->log);
		g_free(c->name);
		g_free(c);
		return NULL;
	}
	return c;
}

void console_attach(struct console *c, const struct console_client *client)
{
	pthread_mutex_lock(&c->client_lock);
	c->client = client ? *client : (struct console_client){ 0 };
	pthread_mutex_unlock(&c->client_lock);
	if (has_thread(c))
		console_accept(c);
}

void console_close(struct console *c)
{
	if (!c)
		return;
	if (has_thread(c)) {
		pthread_mutex_lock(&c->lock);
		flush_locked(c);
		c->quit = true;
		pthread_mutex_unlock(&c->lock);
		wake(c);
		pthread_join(c->thread, NULL);
		close(c->wake_fd);
		if (c->listen_fd >= 0)
			close(c->listen_fd);
		if (c->own_fds && c->in_fd >= 0)
			close(c->in_fd);
	}
	console_log_close(c->log);
	pthread_mutex_destroy(&c->client_lock);
	pthread_mutex_destroy(&c->lock);
	g_free(c->name);
	g_free(c);
}
