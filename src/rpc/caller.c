/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls that threads make through one connection. See caller.h. */
#include "rpc/caller.h"

#include "rpc/message.h"
#include "rpc/tls.h"
#include "rpc_constants.h"
#include "rpc_types.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES     65536
#define RPC_PACKET_MAX 262120 /* bytes in one packet of a stream: what servers of old take */

/* A call under way; on the stack of the thread that makes it. */
struct waiting {
	u32 serial;
	const struct rpc_procedure *procedure;
	GByteArray *reply;  /* the whole message; NULL: not yet */
	struct rpc_fds fds; /* that came with it */
};

struct event {
	const struct rpc_procedure *procedure;
	GBytes *arguments;
};

struct rpc_caller_stream {
	struct rpc_caller *caller;
	u32 serial; /* of the call that opened it */
	const struct rpc_procedure *procedure;
	GByteArray *in; /* what has come and nobody has taken */
	bool no_more;   /* the server has sent its last */
	bool agreed;    /* ...and said that all is well */
	bool failed;    /* for this reason: */
	struct rpc_failure failure;
};

struct rpc_caller {
	GMutex lock;   /* of all below */
	GCond arrived; /* replies came, or reading is free */
	bool reading;  /* somebody reads the socket, without the lock */
	bool files;    /* descriptors pass */
	int fd;
	struct rpc_tls *tls;                 /* NULL: none */
	struct rpc_credentials *credentials; /* of it */
	int epoll;                           /* what rpc_caller_fd() says: the socket and... */
	int wake;                            /* ...this, which counts while events wait */
	u32 serial;                          /* of the last call */
	GPtrArray *calls;                    /* struct waiting, not owned */
	GPtrArray *streams;                  /* struct rpc_caller_stream, not owned */
	bool woken;                          /* @wake counts */
	GByteArray *in;                      /* what has come and is no whole message */
	GByteArray *out;                     /* what is to be sent */
	struct rpc_carried in_carried;       /* descriptors of both */
	struct rpc_carried out_carried;
	GQueue events; /* struct event */
	char *broken;  /* why; NULL: it is not */
	u8 input[READ_BYTES];
};

static void free_event(gpointer pointer)
{
	struct event *event = pointer;

	g_bytes_unref(event->arguments);
	g_free(event);
}

struct rpc_caller *rpc_caller_new(int fd, struct rpc_tls *tls, struct rpc_credentials *credentials)
{
	struct rpc_caller *caller = g_new0(struct rpc_caller, 1);
	struct epoll_event input = { .events = EPOLLIN };

	g_mutex_init(&caller->lock);
	g_cond_init(&caller->arrived);
	g_queue_init(&caller->events);
	caller->fd = fd;
	caller->tls = tls;
	caller->credentials = credentials;
	caller->calls = g_ptr_array_new();
	caller->streams = g_ptr_array_new();
	caller->in = g_byte_array_new();
	caller->out = g_byte_array_new();
	caller->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	caller->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (caller->wake < 0 || caller->epoll < 0 ||
	    epoll_ctl(caller->epoll, EPOLL_CTL_ADD, fd, &input) ||
	    epoll_ctl(caller->epoll, EPOLL_CTL_ADD, caller->wake, &input))
		caller->broken =
			g_strdup_printf("no descriptors for a connection: %s", g_strerror(errno));
	return caller;
}

void rpc_caller_allow_files(struct rpc_caller *caller)
{
	caller->files = true;
}

void rpc_caller_free(struct rpc_caller *caller)
{
	if (!caller)
		return;
	rpc_tls_free(caller->tls);
	rpc_credentials_free(caller->credentials);
	close(caller->fd);
	if (caller->wake >= 0)
		close(caller->wake);
	if (caller->epoll >= 0)
		close(caller->epoll);
	g_ptr_array_free(caller->calls, TRUE);
	g_ptr_array_free(caller->streams, TRUE);
	g_byte_array_free(caller->in, TRUE);
	g_byte_array_free(caller->out, TRUE);
	rpc_carried_clear(&caller->in_carried);
	rpc_carried_clear(&caller->out_carried);
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

/* Behind what others have queued: never between the bytes of a message. */
static void queue_locked(struct rpc_caller *caller, const GByteArray *message)
{
	g_byte_array_append(caller->out, message->data, message->len);
}

/* The same for descriptors, which it takes over, behind their message. Those of other calls may
 * wait, too: then it is RPC_FDS_MAX in all. */
static bool queue_fds_locked(struct rpc_caller *caller, struct rpc_fds *fds)
{
	static const u8 carrier;

	if (caller->out_carried.count + fds->count > RPC_FDS_MAX)
		return false;
	for (u32 i = 0; i < fds->count; i++) {
		g_byte_array_append(caller->out, &carrier, 1);
		rpc_carried_keep(&caller->out_carried, caller->out->len - 1, fds->items[i]);
	}
	fds->count = 0;
	return true;
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
	queue_locked(caller, message);
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
}

/* rpc_caller_fd() is readable while something waits to be taken. */
static void wake_locked(struct rpc_caller *caller)
{
	bool waits = !g_queue_is_empty(&caller->events);
	eventfd_t count;

	for (unsigned i = 0; i < caller->streams->len && !waits; i++) {
		const struct rpc_caller_stream *stream = caller->streams->pdata[i];

		waits = stream->in->len || stream->no_more || stream->failed;
	}
	if (waits && !caller->woken)
		eventfd_write(caller->wake, 1);
	else if (!waits && caller->woken)
		eventfd_read(caller->wake, &count);
	caller->woken = waits;
}

static bool fail(struct rpc_failure *failure, s32 code, s32 domain, const char *message)
{
	failure->code = code;
	failure->domain = domain;
	failure->message = g_strdup(message);
	return false;
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

/* A stream that is gone here may not be so there yet: what comes for it is dropped. */
static void take_packet_locked(struct rpc_caller *caller, const struct rpc_header *header,
			       const u8 *payload, size_t n)
{
	struct rpc_caller_stream *stream = NULL;

	for (unsigned i = 0; i < caller->streams->len && !stream; i++) {
		stream = caller->streams->pdata[i];
		if (stream->serial != header->serial)
			stream = NULL;
	}
	if (!stream || stream->failed || stream->agreed)
		return;
	if (header->status == RPC_FAILED) {
		stream->failed = true;
		take_failure(payload, n, &stream->failure);
	} else if (header->status == RPC_OK) {
		stream->no_more = stream->agreed = true;
	} else if (!n) {
		stream->no_more = true;
	} else if (stream->in->len + n > RPC_STREAM_QUEUE_MAX) {
		stream->failed = true;
		fail(&stream->failure, VIR_ERR_RPC, VIR_FROM_RPC,
		     "more has come than anybody takes");
	} else {
		g_byte_array_append(stream->in, payload, n);
	}
	g_cond_broadcast(&caller->arrived);
}

static void take_reply_locked(struct rpc_caller *caller, const struct rpc_header *header,
			      const u8 *message, size_t n, struct rpc_fds *fds)
{
	for (unsigned i = 0; i < caller->calls->len; i++) {
		struct waiting *call = caller->calls->pdata[i];

		if (call->serial != header->serial || call->reply ||
		    call->procedure->program != header->program ||
		    call->procedure->number != header->procedure ||
		    (header->type == RPC_REPLY_FDS && !call->procedure->files))
			continue;
		call->fds = *fds;
		fds->count = 0;
		call->reply = g_byte_array_append(g_byte_array_sized_new(n), message, n);
		g_cond_broadcast(&caller->arrived);
		return;
	}
	break_locked(caller, "the daemon answered a call that nobody made");
}

static void take_message_locked(struct rpc_caller *caller, const u8 *message, size_t n,
				struct rpc_fds *fds)
{
	struct rpc_header header = rpc_header_read(message);
	size_t head = RPC_LENGTH_BYTES + RPC_HEADER_BYTES;

	if (header.program == RPC_PROGRAM_KEEPALIVE)
		pong_locked(caller, &header);
	else if (header.type == RPC_EVENT)
		take_event_locked(caller, &header, message + head, n - head);
	else if (header.type == RPC_STREAM)
		take_packet_locked(caller, &header, message + head, n - head);
	else if (header.type == RPC_REPLY || header.type == RPC_REPLY_FDS)
		take_reply_locked(caller, &header, message, n, fds);
	else
		break_locked(caller, "the daemon sent a message of type %d", header.type);
}

/* The descriptors of the @count bytes at @at. False: they are not there, and the connection ends.
 */
static bool take_fds_locked(struct rpc_caller *caller, size_t at, u32 count, struct rpc_fds *fds)
{
	fds->count = 0;
	if (count <= RPC_FDS_MAX &&
	    (!count || rpc_carried_take(&caller->in_carried, at, count, fds)))
		return true;
	break_locked(caller, "the daemon sent other descriptors than it had counted");
	return false;
}

/* Takes the message at @at; the bytes that it was, and 0 if it is not all there. */
static size_t take_one_locked(struct rpc_caller *caller, size_t at)
{
	const u8 *message = caller->in->data + at;
	size_t left = caller->in->len - at;
	s64 bytes = rpc_message_bytes(message, left);
	struct rpc_fds fds;
	u32 carriers;

	if (bytes < 0)
		break_locked(caller, "the daemon sent what is no message");
	if (bytes <= 0 || bytes > (s64)left)
		return 0;
	carriers = rpc_message_carriers(message, bytes);
	if (carriers <= RPC_FDS_MAX && bytes + carriers > left)
		return 0;
	if (!take_fds_locked(caller, at + bytes, carriers, &fds))
		return 0;
	take_message_locked(caller, message, bytes, &fds);
	rpc_fds_close(&fds);
	return bytes + carriers;
}

/* @fd: what the last byte carries, or -1. */
static void take_input_locked(struct rpc_caller *caller, ssize_t n, int error, int fd)
{
	size_t at = 0, taken;

	if (n < 0 && (error == EAGAIN || error == EINTR))
		return;
	if (n <= 0) {
		break_locked(caller, "the connection to the daemon is lost: %s",
			     n ? g_strerror(error) : "it has ended, or closed it");
		return;
	}
	g_byte_array_append(caller->in, caller->input, n);
	if (fd >= 0 && !rpc_carried_keep(&caller->in_carried, caller->in->len - 1, fd))
		break_locked(caller, "the daemon sent more descriptors than go with a message");
	while (!caller->broken && (taken = take_one_locked(caller, at)))
		at += taken;
	if (!at)
		return;
	g_byte_array_remove_range(caller->in, 0, at);
	if (!rpc_carried_advance(&caller->in_carried, at))
		break_locked(caller, "the daemon sent a descriptor that belongs to no message");
}

/* Bytes up to the next that carries a descriptor, or that one. */
static ssize_t send_some_locked(struct rpc_caller *caller)
{
	const struct rpc_carried *carried = &caller->out_carried;
	size_t n = carried->count ? carried->items[0].at : caller->out->len;

	return n ? rpc_tls_send(caller->tls, caller->fd, caller->out->data, n)
		 : rpc_carried_send(caller->fd, carried->items[0].fd);
}

/* Sends of what is queued as much as there is room for. False: there is none. */
static bool send_locked(struct rpc_caller *caller)
{
	ssize_t n = 0;

	while (caller->out->len && !caller->broken) {
		n = send_some_locked(caller);
		if (n > 0) {
			g_byte_array_remove_range(caller->out, 0, n);
			rpc_carried_advance(&caller->out_carried, n); /* and closes what is gone */
		} else if (n < 0 && errno == EAGAIN) {
			return false;
		} else if (n < 0 && errno != EINTR) {
			break_locked(caller, "the connection to the daemon is lost: %s",
				     g_strerror(errno));
		}
	}
	return true;
}

/* Without the lock, waits for one of @events, or not at all; then reads for all what is there: what
 * TLS has taken off the socket, no poll() tells of. */
static void read_locked(struct rpc_caller *caller, short events)
{
	ssize_t n;
	int error, fd = -1;

	caller->reading = true;
	do {
		g_mutex_unlock(&caller->lock);
		if (events && !rpc_tls_pending(caller->tls)) {
			struct pollfd socket = { caller->fd, events, 0 };

			poll(&socket, 1, -1);
		}
		n = caller->files ? rpc_carried_receive(caller->fd, caller->input,
							sizeof(caller->input), &fd)
				  : rpc_tls_receive(caller->tls, caller->fd, caller->input,
						    sizeof(caller->input));
		error = errno;
		g_mutex_lock(&caller->lock);
		take_input_locked(caller, n, error, fd);
		events = 0;
	} while (!caller->broken && rpc_tls_pending(caller->tls));
	caller->reading = false;
	send_locked(caller); /* answers to pings */
	wake_locked(caller);
	g_cond_broadcast(&caller->arrived);
}

/* Somebody else reads: waits until there is room to send. */
static void wait_for_room_locked(struct rpc_caller *caller)
{
	struct pollfd socket = { caller->fd, POLLOUT, 0 };

	g_mutex_unlock(&caller->lock);
	poll(&socket, 1, -1);
	g_mutex_lock(&caller->lock);
}

/* Sends what is queued. A server that sends much reads nothing until that is taken: so while there
 * is no room, somebody reads. */
static void flush_locked(struct rpc_caller *caller)
{
	while (!send_locked(caller)) {
		if (caller->reading)
			wait_for_room_locked(caller);
		else
			read_locked(caller, POLLIN | POLLOUT);
	}
}

/* --- calls --- */

/* Sends the call, with @fds, which it takes over, and waits: the reply, and in @fds what came with
 * it; or NULL when the connection ends first. */
static GByteArray *exchange(struct rpc_caller *caller, const struct rpc_procedure *procedure,
			    GByteArray *message, struct rpc_fds *fds,
			    struct rpc_caller_stream *stream, struct rpc_failure *failure)
{
	struct waiting call = { .procedure = procedure };

	g_mutex_lock(&caller->lock);
	call.serial = ++caller->serial;
	for (unsigned i = 0; i < 4; i++) /* the fifth word of the header */
		message->data[RPC_LENGTH_BYTES + 16 + i] = call.serial >> (24 - 8 * i);
	g_ptr_array_add(caller->calls, &call);
	if (stream) { /* its first bytes may come right behind the reply */
		stream->serial = call.serial;
		g_ptr_array_add(caller->streams, stream);
	}
	while (caller->out_carried.count + fds->count > RPC_FDS_MAX && !caller->broken)
		flush_locked(caller); /* those of other threads */
	queue_locked(caller, message);
	queue_fds_locked(caller, fds);
	flush_locked(caller);
	while (!call.reply && !caller->broken) {
		if (caller->reading)
			g_cond_wait(&caller->arrived, &caller->lock);
		else
			read_locked(caller, POLLIN);
	}
	g_ptr_array_remove_fast(caller->calls, &call);
	if (!call.reply)
		fail(failure, VIR_ERR_RPC, VIR_FROM_RPC, caller->broken);
	g_mutex_unlock(&caller->lock);
	rpc_fds_close(fds); /* of a connection that ended before */
	*fds = call.fds;
	return call.reply;
}

/* Copies of @out, for as long as it takes to send them. */
static bool copy_fds(const struct rpc_fds *out, struct rpc_fds *copies)
{
	copies->count = 0;
	for (u32 i = 0; out && i < out->count; i++) {
		int fd = fcntl(out->items[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			rpc_fds_close(copies);
			return false;
		}
		rpc_fds_add(copies, fd);
	}
	return true;
}

/* @fds: what goes with the call, and then what came with its answer. */
static bool ask(struct rpc_caller *caller, const struct rpc_procedure *procedure, const void *args,
		struct rpc_fds *fds, struct rpc_arena *arena, void *ret,
		struct rpc_caller_stream *stream, struct rpc_failure *failure)
{
	struct rpc_header header = { .program = procedure->program,
				     .version = RPC_VERSION,
				     .procedure = procedure->number,
				     .type = fds->count ? RPC_CALL_FDS : RPC_CALL };
	g_autoptr(GByteArray) message = rpc_message_new(&header);
	g_autoptr(GByteArray) reply = NULL;
	struct rpc_header answer;
	const u8 *payload;
	size_t n;

	if (fds->count)
		rpc_put_u32(message, fds->count);
	if (procedure->args->size && !rpc_encode(procedure->args, args, message))
		return fail(failure, VIR_ERR_INVALID_ARG, VIR_FROM_RPC,
			    "an argument is missing, or longer than the protocol allows");
	rpc_message_finish(message);
	reply = exchange(caller, procedure, message, fds, stream, failure);
	if (!reply)
		return false;
	payload = reply->data + RPC_LENGTH_BYTES + RPC_HEADER_BYTES;
	n = reply->len - RPC_LENGTH_BYTES - RPC_HEADER_BYTES;
	answer = rpc_header_read(reply->data);
	if (answer.type == RPC_REPLY_FDS) { /* the count of what came */
		payload += 4;
		n -= 4;
	}
	if (answer.status != RPC_OK)
		return take_failure(payload, n, failure);
	if (procedure->ret->size ? rpc_decode(procedure->ret, payload, n, arena, ret) : !n)
		return true;
	return fail(failure, VIR_ERR_RPC, VIR_FROM_RPC, "the daemon's answer cannot be read");
}

bool rpc_caller_ask(struct rpc_caller *caller, const struct rpc_procedure *procedure,
		    const void *args, struct rpc_arena *arena, void *ret,
		    struct rpc_failure *failure)
{
	struct rpc_fds none = { 0 };

	return ask(caller, procedure, args, &none, arena, ret, NULL, failure);
}

bool rpc_caller_ask_files(struct rpc_caller *caller, const struct rpc_procedure *procedure,
			  const void *args, const struct rpc_fds *out, struct rpc_arena *arena,
			  void *ret, struct rpc_fds *in, struct rpc_failure *failure)
{
	struct rpc_fds fds;
	bool good;

	if (out && out->count && !caller->files)
		return fail(failure, VIR_ERR_NO_SUPPORT, VIR_FROM_RPC,
			    "descriptors pass to a daemon on this host alone, by its UNIX socket");
	if (!copy_fds(out, &fds))
		return fail(failure, VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, g_strerror(errno));
	good = ask(caller, procedure, args, &fds, arena, ret, NULL, failure);
	if (good && in)
		*in = fds;
	else
		rpc_fds_close(&fds);
	return good;
}

/* --- streams --- */

/* The end of the stream's life, with the lock held. */
static void forget_locked(struct rpc_caller_stream *stream)
{
	g_ptr_array_remove_fast(stream->caller->streams, stream);
	wake_locked(stream->caller);
}

static void free_stream(struct rpc_caller_stream *stream)
{
	g_byte_array_free(stream->in, TRUE);
	g_free(stream->failure.message);
	g_free(stream);
}

struct rpc_caller_stream *rpc_caller_open_stream(struct rpc_caller *caller,
						 const struct rpc_procedure *procedure,
						 const void *args, struct rpc_failure *failure)
{
	struct rpc_caller_stream *stream = g_new0(struct rpc_caller_stream, 1);
	struct rpc_arena arena = {};
	struct rpc_fds none = { 0 };
	bool good;

	stream->caller = caller;
	stream->procedure = procedure;
	stream->in = g_byte_array_new();
	good = ask(caller, procedure, args, &none, &arena, NULL, stream, failure);
	rpc_arena_clear(&arena);
	if (good)
		return stream;
	g_mutex_lock(&caller->lock);
	forget_locked(stream);
	g_mutex_unlock(&caller->lock);
	free_stream(stream);
	return NULL;
}

static void send_packet_locked(struct rpc_caller_stream *stream, enum rpc_status status,
			       const u8 *bytes, size_t n)
{
	struct rpc_header header = { .program = stream->procedure->program,
				     .version = RPC_VERSION,
				     .procedure = stream->procedure->number,
				     .type = RPC_STREAM,
				     .serial = stream->serial,
				     .status = status };
	GByteArray *message = rpc_message_new(&header);

	if (n)
		g_byte_array_append(message, bytes, n);
	rpc_message_finish(message);
	queue_locked(stream->caller, message);
	g_byte_array_free(message, TRUE);
	flush_locked(stream->caller);
}

/* Has the stream failed, or its connection? */
static bool failed_locked(const struct rpc_caller_stream *stream, struct rpc_failure *failure)
{
	const struct rpc_caller *caller = stream->caller;

	if (stream->failed)
		fail(failure, stream->failure.code, stream->failure.domain,
		     stream->failure.message);
	else if (caller->broken)
		fail(failure, VIR_ERR_RPC, VIR_FROM_RPC, caller->broken);
	return stream->failed || caller->broken;
}

void rpc_caller_stream_free(struct rpc_caller_stream *stream)
{
	if (!stream)
		return;
	g_mutex_lock(&stream->caller->lock);
	if (!stream->failed && !stream->agreed)
		send_packet_locked(stream, RPC_FAILED, NULL, 0);
	forget_locked(stream);
	g_mutex_unlock(&stream->caller->lock);
	free_stream(stream);
}

bool rpc_caller_stream_send(struct rpc_caller_stream *stream, const u8 *bytes, size_t n,
			    struct rpc_failure *failure)
{
	struct rpc_caller *caller = stream->caller;
	bool good;

	g_mutex_lock(&caller->lock);
	if (!caller->reading)
		read_locked(caller, 0); /* it may say that it has failed */
	while (n && !stream->failed && !caller->broken) {
		size_t some = MIN(n, RPC_PACKET_MAX);

		send_packet_locked(stream, RPC_CONTINUE, bytes, some);
		bytes += some;
		n -= some;
	}
	good = !failed_locked(stream, failure);
	g_mutex_unlock(&caller->lock);
	return good;
}

ssize_t rpc_caller_stream_receive(struct rpc_caller_stream *stream, u8 *bytes, size_t n, bool wait,
				  struct rpc_failure *failure)
{
	struct rpc_caller *caller = stream->caller;
	bool looked = false;
	ssize_t got;

	g_mutex_lock(&caller->lock);
	while (!stream->in->len && !stream->no_more && !stream->failed && !caller->broken &&
	       (wait || !looked)) {
		if (!caller->reading)
			read_locked(caller, wait ? POLLIN : 0);
		else if (wait)
			g_cond_wait(&caller->arrived, &caller->lock);
		looked = true;
	}
	got = MIN(n, stream->in->len);
	if (got) {
		memcpy(bytes, stream->in->data, got);
		g_byte_array_remove_range(stream->in, 0, got);
	} else if (failed_locked(stream, failure)) {
		got = -1;
	} else if (!stream->no_more) {
		got = RPC_NOTHING_YET;
	}
	wake_locked(caller);
	g_mutex_unlock(&caller->lock);
	return got;
}

bool rpc_caller_stream_finish(struct rpc_caller_stream *stream, struct rpc_failure *failure)
{
	struct rpc_caller *caller = stream->caller;
	bool good;

	g_mutex_lock(&caller->lock);
	if (!stream->agreed && !stream->failed)
		send_packet_locked(stream, RPC_OK, NULL, 0);
	while (!stream->agreed && !stream->failed && !caller->broken) {
		if (caller->reading)
			g_cond_wait(&caller->arrived, &caller->lock);
		else
			read_locked(caller, POLLIN);
	}
	good = stream->agreed || !failed_locked(stream, failure);
	g_mutex_unlock(&caller->lock);
	return good;
}

/* --- events --- */

const struct rpc_procedure *rpc_caller_next_event(struct rpc_caller *caller,
						  struct rpc_arena *arena, void **value)
{
	const struct rpc_procedure *procedure = NULL;
	struct event *event;

	g_mutex_lock(&caller->lock);
	if (!caller->reading && !caller->broken && g_queue_is_empty(&caller->events))
		read_locked(caller, 0);
	while (!procedure && (event = g_queue_pop_head(&caller->events))) {
		gsize n;
		const u8 *bytes = g_bytes_get_data(event->arguments, &n);

		*value = rpc_arena_alloc(arena, MAX(event->procedure->args->size, 1));
		if (*value && rpc_decode(event->procedure->args, bytes, n, arena, *value))
			procedure = event->procedure;
		free_event(event);
	}
	wake_locked(caller);
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
