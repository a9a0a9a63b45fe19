/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One call between its arguments and its answer. See server.h. */
#include "rpc/private.h"

#include "rpc_constants.h"
#include "rpc_protocol.h"

#include <string.h>
#include <unistd.h>

#define ERROR_TEXT_MAX 65536

struct rpc_call {
	struct rpc_client *client;
	void *opaque;
	struct rpc_header header;
	const struct rpc_procedure *procedure; /* NULL: there is none of that number */
	struct rpc_arena arena;
	void *args;
	struct rpc_fds *in, *out; /* NULL: none */
};

struct rpc_call *rpc_call_new(struct rpc_client *client, const struct rpc_header *header,
			      const struct rpc_procedure *procedure)
{
	struct rpc_call *call = g_new0(struct rpc_call, 1);

	call->client = rpc_client_ref(client);
	call->opaque = client->server->options.opaque;
	call->header = *header;
	call->procedure = procedure;
	client->calls++;
	return call;
}

void rpc_call_set_fds(struct rpc_call *call, struct rpc_fds *fds)
{
	if (!fds->count)
		return;
	call->in = g_memdup2(fds, sizeof(*fds));
	fds->count = 0;
}

static void drop_fds(struct rpc_fds *fds)
{
	if (fds)
		rpc_fds_close(fds);
	g_free(fds);
}

void rpc_call_drop(struct rpc_call *call)
{
	drop_fds(call->in);
	drop_fds(call->out);
	rpc_client_call_done(call->client);
	rpc_client_unref(call->client);
	rpc_arena_clear(&call->arena);
	g_free(call);
}

bool rpc_call_decode(struct rpc_call *call, const u8 *bytes, size_t length)
{
	const struct rpc_type *type = call->procedure->args;

	call->args = rpc_arena_alloc(&call->arena, type->size);
	return call->args && rpc_decode(type, bytes, length, &call->arena, call->args);
}

const void *rpc_call_args(const struct rpc_call *call)
{
	return call->args;
}

struct rpc_stream *rpc_call_open_stream(struct rpc_call *call,
					const struct rpc_stream_callbacks *callbacks, void *opaque)
{
	g_assert(call->procedure->stream);
	return rpc_stream_new(call->client, &call->header, callbacks, opaque);
}

struct rpc_client *rpc_call_client(const struct rpc_call *call)
{
	return call->client;
}

void *rpc_call_opaque(const struct rpc_call *call)
{
	return call->opaque;
}

const struct rpc_procedure *rpc_call_procedure(const struct rpc_call *call)
{
	return call->procedure;
}

struct rpc_arena *rpc_call_arena(struct rpc_call *call)
{
	return &call->arena;
}

const int *rpc_call_fds(const struct rpc_call *call, unsigned *count)
{
	*count = call->in ? call->in->count : 0;
	return call->in ? call->in->items : NULL;
}

bool rpc_call_add_fd(struct rpc_call *call, int fd)
{
	g_assert(call->procedure->files);
	if (!call->client->local) {
		close(fd);
		return false;
	}
	if (!call->out)
		call->out = g_new0(struct rpc_fds, 1);
	return rpc_fds_add(call->out, fd);
}

static GByteArray *new_answer(const struct rpc_call *call, enum rpc_status status)
{
	struct rpc_header header = call->header;
	GByteArray *message;

	header.type = call->out && status == RPC_OK ? RPC_REPLY_FDS : RPC_REPLY;
	header.status = status;
	message = rpc_message_new(&header);
	if (header.type == RPC_REPLY_FDS)
		rpc_put_u32(message, call->out->count);
	return message;
}

/* Who reads the answer may count on what came with the call being closed. */
static void send_message(struct rpc_call *call, GByteArray *message)
{
	g_clear_pointer(&call->in, drop_fds);
	rpc_message_finish(message);
	rpc_client_queue(call->client, message);
}

void rpc_call_answer(struct rpc_call *call, const struct rpc_procedure *procedure, const void *ret)
{
	GByteArray *message = new_answer(call, RPC_OK);
	u32 count = call->out ? call->out->count : 0;

	g_assert(call->procedure == procedure);
	if (rpc_encode(procedure->ret, ret, message)) {
		send_message(call, message);
		for (u32 i = 0; i < count; i++)
			rpc_client_queue_fd(call->client, call->out->items[i]);
		if (call->out)
			call->out->count = 0;
		rpc_call_drop(call);
		return;
	}
	g_byte_array_unref(message);
	rpc_call_fail(call, VIR_ERR_RPC, VIR_FROM_RPC,
		      "the answer of %s is larger than the protocol allows", procedure->name);
}

void rpc_error_encode(int code, int domain, const char *text, GByteArray *message)
{
	struct rpc_msg_error error = { .code = code,
				       .domain = domain,
				       .level = VIR_ERR_ERROR,
				       .str1 = (char *)"%s",
				       .int1 = -1,
				       .int2 = -1 };

	error.message = g_utf8_make_valid(text, strnlen(text, ERROR_TEXT_MAX));
	error.str2 = error.message;
	rpc_encode(&rpc_type_msg_error, &error, message); /* too short to fail */
	g_free(error.message);
}

void rpc_call_fail(struct rpc_call *call, int code, int domain, const char *fmt, ...)
{
	GByteArray *message = new_answer(call, RPC_FAILED);
	va_list args;
	char *text;

	va_start(args, fmt);
	text = g_strdup_vprintf(fmt, args);
	va_end(args);
	rpc_error_encode(code, domain, text, message);
	g_free(text);
	send_message(call, message);
	rpc_call_drop(call);
}
