/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls that threads make through one connection. See caller.h. */
#include "rpc/caller.h"

#include "rpc/message.h"
#include "rpc_constants.h"
#include "rpc_types.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 65536

/* A call under way; on the stack of the thread that makes it. */
struct waiting {
	u32 serial;
	const struct rpc_procedure *procedure;
	GByteArray *reply; /* the whole message; NULL: not yet */
};

struct event {
	const struct rpc_procedure *procedure;
	GBytes *arguments;
};

struct rpc_caller {
	GMutex lock;   /* of all below */
	GCond arrived; /* replies came, or reading is free */
	bool reading;  /* somebody reads the socket, without the lock */
	int fd;
	int epoll;        /* what rpc_caller_fd() says: the socket and... */
	int wake;         /* ...this, which counts while events wait */
	u32 serial;       /* of the last call */
	GPtrArray *calls; /* struct waiting, not owned */
	GByteArray *in;   /* what has come and is no whole message */
	GQueue events;    /* struct event */
	char *broken;     /* why; NULL: it is not */
	u8 input[READ_BYTES];
};

static void free_event(gpointer pointer)
{
	struct event *event = pointer;

	g_bytes_unref(event->arguments);
	g_free(event);
}

struct rpc_caller *rpc_caller_new(int fd)
{
	struct rpc_caller *caller = g_new0(struct rpc_caller, 1);
	struct epoll_event input = { .events = EPOLLIN };

	g_mutex_init(&caller->lock);
	g_cond_init(&caller->arrived);
	g_queue_init(&caller->events);
	caller->fd = fd;
	caller->calls = g_ptr_array_new();
	caller->in = g_byte_array_new();
	caller->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	caller->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (caller->wake < 0 || caller->epoll < 0 ||
	    epoll_ctl(caller->epoll, EPOLL_CTL_ADD, fd, &input) ||
	    epoll_ctl(caller->epoll, EPOLL_CTL_ADD, caller->wake, &input))
		caller->broken =
			g_strdup_printf("no descriptors for a connection: %s", g_strerror(errno));
	return caller;
}

void rpc_caller_free(struct rpc_caller *caller)
{
	if (!caller)
		return;
	close(caller->fd);
	if (caller->wake >= 0)
		close(caller->wake);
	if (caller->epoll >= 0)
		close(caller->epoll);
	g_ptr_array_free(caller->calls, TRUE);
	g_byte_array_free(caller->in, TRUE);
	g_queue_clear_full(&caller->events, free_event);
	g_free(caller->broken);
	g_mutex_clear(&caller->lock);
	g_cond_clear(&caller->arrived);
	g_free(caller);
}

int rpc_caller_fd(const struct rpc_caller *caller)
{
	return caller->epoll;
}

/* --- with the lock held --- */

static void G_GNUC_PRINTF(2, 3) break_locked(struct rpc_caller *caller, const char *fmt, ...)
{
	va_list args;

	if (caller->broken)
		return;
	va_start(args, fmt);
	caller->broken = g_strdup_vprintf(fmt, args);
	va_end(args);
	shutdown(caller->fd, SHUT_RDWR); /* rpc_caller_fd() stays readable */
	g_cond_broadcast(&caller->arrived);
}

/* Blocks while the server does not read: it takes in calls whatever else it does. */
static void send_locked(struct rpc_caller *caller, const u8 *bytes, size_t n)
{
	while (n && !caller->broken) {
		ssize_t sent = send(caller->fd, bytes, n, MSG_NOSIGNAL);

		if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
			struct pollfd wait = { caller->fd, POLLOUT, 0 };

			poll(&wait, 1, -1);
			continue;
		}
		if (sent < 0) {
			break_locked(caller, "the connection to the daemon is lost: %s",
				     g_strerror(errno));
			return;
		}
		bytes += sent;
		n -= sent;
	}
}

static void pong_locked(struct rpc_caller *caller, const struct rpc_header *ping)
{
	struct rpc_header pong = *ping;
	GByteArray *message;

	if (ping->procedure != RPC_KEEPALIVE_PROC_PING)
		return;
	pong.procedure = RPC_KEEPALIVE_PROC_PONG;
	message = rpc_message_new(&pong);
	rpc_message_finish(message);
	send_locked(caller, message->data, message->len);
	g_byte_array_free(message, TRUE);
}

static const struct rpc_procedure *find_event(const struct rpc_header *header)
{
	for (unsigned i = 0; i < RPC_PROCEDURES; i++)
		if (rpc_procedures[i].event && rpc_procedures[i].program == header->program &&
		    rpc_procedures[i].number == header->procedure)
			return &rpc_procedures[i];
	return NULL;
}

static void take_event_locked(struct rpc_caller *caller, const struct rpc_header *header,
			      const u8 *payload, size_t n)
{
	const struct rpc_procedure *procedure = find_event(header);
	struct event *event;

	if (!procedure) /* a newer server's: nobody asked for it */
		return;
	event = g_new(struct event, 1);
	event->procedure = procedure;
	event->arguments = g_bytes_new(payload, n);
	g_queue_push_tail(&caller->events, event);
	if (g_queue_get_length(&caller->events) > RPC_EVENTS_MAX)
		free_event(g_queue_pop_head(&caller->events));
	if (g_queue_get_length(&caller->events) == 1)
		eventfd_write(caller->wake, 1);
}

static void take_reply_locked(struct rpc_caller *caller, const struct rpc_header *header,
			      const u8 *message, size_t n)
{
	for (unsigned i = 0; i < caller->calls->len; i++) {
		struct waiting *call = caller->calls->pdata[i];

		if (call->serial != header->serial || call->reply ||
		    call->procedure->program != header->program ||
		    call->procedure->number != header->procedure)
			continue;
		call->reply = g_byte_array_append(g_byte_array_sized_new(n), message, n);
		g_cond_broadcast(&caller->arrived);
		return;
	}
	break_locked(caller, "the daemon answered a call that nobody made");
}

static void take_message_locked(struct rpc_caller *caller, const u8 *message, size_t n)
{
	struct rpc_header header = rpc_header_read(message);
	size_t head = RPC_LENGTH_BYTES + RPC_HEADER_BYTES;

	if (header.program == RPC_PROGRAM_KEEPALIVE)
		pong_locked(caller, &header);
	else if (header.type == RPC_EVENT)
		take_event_locked(caller, &header, message + head, n - head);
	else if (header.type == RPC_REPLY)
		take_reply_locked(caller, &header, message, n);
	else
		break_locked(caller, "the daemon sent a message of type %d", header.type);
}

static void take_input_locked(struct rpc_caller *caller, ssize_t n, int error)
{
	size_t at = 0;
	s64 bytes;

	if (n < 0 && (error == EAGAIN || error == EINTR))
		return;
	if (n <= 0) {
		break_locked(caller, "the connection to the daemon is lost: %s",
			     n ? g_strerror(error) : "it has ended, or closed it");
		return;
	}
	g_byte_array_append(caller->in, caller->input, n);
	while (!caller->broken) {
		bytes = rpc_message_bytes(caller->in->data + at, caller->in->len - at);
		if (bytes < 0)
			break_locked(caller, "the daemon sent what is no message");
		if (bytes <= 0 || bytes > caller->in->len - at)
			break;
		take_message_locked(caller, caller->in->data + at, bytes);
		at += bytes;
	}
	if (at)
		g_byte_array_remove_range(caller->in, 0, at);
}

/* Reads once for all, without the lock meanwhile; waits for input if it may. */
static void read_locked(struct rpc_caller *caller, bool wait)
{
	ssize_t n;
	int error;

	caller->reading = true;
	g_mutex_unlock(&caller->lock);
	if (wait) {
		struct pollfd input = { caller->fd, POLLIN, 0 };

		poll(&input, 1, -1);
	}
	n = recv(caller->fd, caller->input, sizeof(caller->input), MSG_DONTWAIT);
	error = errno;
	g_mutex_lock(&caller->lock);
	caller->reading = false;
	take_input_locked(caller, n, error);
	g_cond_broadcast(&caller->arrived);
}

/* --- calls --- */

static bool fail(struct rpc_failure *failure, s32 code, s32 domain, const char *message)
{
	failure->code = code;
	failure->domain = domain;
	failure->message = g_strdup(message);
	return false;
}

/* Sends the call and waits: the reply, or NULL when the connection ends first. */
static GByteArray *exchange(struct rpc_caller *caller, const struct rpc_procedure *procedure,
			    GByteArray *message, struct rpc_header *header,
			    struct rpc_failure *failure)
{
	struct waiting call = { .procedure = procedure };

	g_mutex_lock(&caller->lock);
	call.serial = header->serial = ++caller->serial;
	for (unsigned i = 0; i < 4; i++) /* the fifth word of the header */
		message->data[RPC_LENGTH_BYTES + 16 + i] = call.serial >> (24 - 8 * i);
	g_ptr_array_add(caller->calls, &call);
	send_locked(caller, message->data, message->len);
	while (!call.reply && !caller->broken) {
		if (caller->reading)
			g_cond_wait(&caller->arrived, &caller->lock);
		else
			read_locked(caller, true);
	}
	g_ptr_array_remove_fast(caller->calls, &call);
	if (!call.reply)
		fail(failure, VIR_ERR_RPC, VIR_FROM_RPC, caller->broken);
	g_mutex_unlock(&caller->lock);
	return call.reply;
}

static bool take_failure(const u8 *payload, size_t n, struct rpc_failure *failure)
{
	struct rpc_arena arena = {};
	struct rpc_msg_error said;

	if (rpc_decode(&rpc_type_msg_error, payload, n, &arena, &said))
		fail(failure, said.code, said.domain,
		     said.message ? said.message : "no reason given");
	else
		fail(failure, VIR_ERR_RPC, VIR_FROM_RPC, "the daemon sent an error that is none");
	rpc_arena_clear(&arena);
	return false;
}

bool rpc_caller_ask(struct rpc_caller *caller, const struct rpc_procedure *procedure,
		    const void *args, struct rpc_arena *arena, void *ret,
		    struct rpc_failure *failure)
{
	struct rpc_header header = { .program = procedure->program,
				     .version = RPC_VERSION,
				     .procedure = procedure->number,
				     .type = RPC_CALL };
	g_autoptr(GByteArray) message = rpc_message_new(&header);
	g_autoptr(GByteArray) reply = NULL;
	const u8 *payload;
	size_t n;

	if (procedure->args->size && !rpc_encode(procedure->args, args, message))
		return fail(failure, VIR_ERR_INVALID_ARG, VIR_FROM_RPC,
			    "an argument is missing, or longer than the protocol allows");
	rpc_message_finish(message);
	reply = exchange(caller, procedure, message, &header, failure);
	if (!reply)
		return false;
	payload = reply->data + RPC_LENGTH_BYTES + RPC_HEADER_BYTES;
	n = reply->len - RPC_LENGTH_BYTES - RPC_HEADER_BYTES;
	if (rpc_header_read(reply->data).status != RPC_OK)
		return take_failure(payload, n, failure);
	if (procedure->ret->size ? rpc_decode(procedure->ret, payload, n, arena, ret) : !n)
		return true;
	return fail(failure, VIR_ERR_RPC, VIR_FROM_RPC, "the daemon's answer cannot be read");
}

/* --- events --- */

const struct rpc_procedure *rpc_caller_next_event(struct rpc_caller *caller,
						  struct rpc_arena *arena, void **value)
{
	const struct rpc_procedure *procedure = NULL;
	struct event *event;
	eventfd_t count;

	g_mutex_lock(&caller->lock);
	if (!caller->reading && !caller->broken && g_queue_is_empty(&caller->events))
		read_locked(caller, false);
	while (!procedure && (event = g_queue_pop_head(&caller->events))) {
		gsize n;
		const u8 *bytes = g_bytes_get_data(event->arguments, &n);

		*value = rpc_arena_alloc(arena, MAX(event->procedure->args->size, 1));
		if (*value && rpc_decode(event->procedure->args, bytes, n, arena, *value))
			procedure = event->procedure;
		free_event(event);
	}
	if (g_queue_is_empty(&caller->events))
		eventfd_read(caller->wake, &count);
	g_mutex_unlock(&caller->lock);
	return procedure;
}

bool rpc_caller_is_broken(struct rpc_caller *caller)
{
	bool broken;

	g_mutex_lock(&caller->lock);
	broken = caller->broken;
	g_mutex_unlock(&caller->lock);
	return broken;
}
