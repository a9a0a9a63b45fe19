/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams: bytes both ways beside the calls, under the serial number of the call that opened them.
 * Holes are packets of another type, which say how many zeroes they stand for. See server.h.
 */
#include "rpc/private.h"

#include "rpc_constants.h"
#include "rpc_protocol.h"

struct rpc_stream {
	struct rpc_client *client; /* NULL once it has gone */
	struct rpc_header header;
	struct rpc_stream_callbacks callbacks;
	void *opaque;
	bool closed;    /* its owner knows it no longer */
	bool full;      /* rpc_stream_send() has said so */
	bool finishing; /* the client has sent all, and waits for the answer */
	bool held;      /* the client is not read from meanwhile */
};

struct rpc_stream *rpc_stream_new(struct rpc_client *client, const struct rpc_header *header,
				  const struct rpc_stream_callbacks *callbacks, void *opaque)
{
	struct rpc_stream *stream;

	if (!client->server || client->streams->len >= RPC_STREAMS_MAX)
		return NULL;
	stream = g_new0(struct rpc_stream, 1);
	stream->client = client;
	stream->header = *header;
	stream->header.type = RPC_STREAM;
	stream->callbacks = *callbacks;
	stream->opaque = opaque;
	g_ptr_array_add(client->streams, stream);
	return stream;
}

static GByteArray *new_packet(const struct rpc_stream *stream, enum rpc_message_type type,
			      enum rpc_status status)
{
	struct rpc_header header = stream->header;

	header.type = type;
	header.status = status;
	return rpc_message_new(&header);
}

static void send_packet(struct rpc_stream *stream, enum rpc_status status, const u8 *bytes,
			size_t n)
{
	GByteArray *message = new_packet(stream, RPC_STREAM, status);

	if (n)
		g_byte_array_append(message, bytes, n);
	rpc_message_finish(message);
	rpc_client_queue(stream->client, message);
}

/* After something was queued: does the client read what it is sent? */
static bool has_room(struct rpc_stream *stream, const struct rpc_client *client)
{
	bool more = client->server && client->out_bytes < RPC_OUTPUT_PAUSE;

	if (client->server) /* else it has just gone, and taken the stream with it */
		stream->full = !more;
	return more;
}

bool rpc_stream_send(struct rpc_stream *stream, const u8 *bytes, size_t n)
{
	struct rpc_client *client = rpc_client_ref(stream->client);
	bool more;

	for (size_t at = 0; at < n && client->server; at += RPC_STREAM_BYTES_MAX)
		send_packet(stream, RPC_CONTINUE, bytes + at, MIN(n - at, RPC_STREAM_BYTES_MAX));
	more = has_room(stream, client);
	rpc_client_unref(client);
	return more;
}

bool rpc_stream_send_hole(struct rpc_stream *stream, u64 bytes)
{
	const struct rpc_stream_hole hole = { .length = bytes };
	struct rpc_client *client = rpc_client_ref(stream->client);
	GByteArray *message = new_packet(stream, RPC_STREAM_HOLE, RPC_CONTINUE);
	bool more;

	rpc_encode(&rpc_type_stream_hole, &hole, message); /* numbers alone: it cannot fail */
	rpc_message_finish(message);
	rpc_client_queue(client, message);
	more = has_room(stream, client);
	rpc_client_unref(client);
	return more;
}

static void hold(struct rpc_stream *stream, bool held)
{
	if (stream->held == held)
		return;
	stream->held = held;
	rpc_client_hold(stream->client, held);
}

void rpc_stream_hold(struct rpc_stream *stream, bool held)
{
	hold(stream, held);
}

void rpc_stream_close(struct rpc_stream *stream)
{
	stream->closed = true;
	send_packet(stream, RPC_CONTINUE, NULL, 0);
}

/* Its owner has said how it ended: nothing of it is left. */
static void forget(struct rpc_stream *stream, GByteArray *last)
{
	struct rpc_client *client = rpc_client_ref(stream->client);

	hold(stream, false);
	g_ptr_array_remove(client->streams, stream);
	g_free(stream);
	rpc_message_finish(last);
	rpc_client_queue(client, last);
	rpc_client_unref(client);
}

void rpc_stream_finish(struct rpc_stream *stream)
{
	forget(stream, new_packet(stream, RPC_STREAM, RPC_OK));
}

void rpc_stream_fail(struct rpc_stream *stream, int code, int domain, const char *text)
{
	GByteArray *message = new_packet(stream, RPC_STREAM, RPC_FAILED);

	rpc_error_encode(code, domain, text, message);
	forget(stream, message);
}

static void end(struct rpc_stream *stream)
{
	hold(stream, false);
	if (!stream->closed)
		stream->callbacks.ended(stream, stream->opaque);
	g_free(stream);
}

static struct rpc_stream *find(const struct rpc_client *client, const struct rpc_header *header)
{
	for (guint i = 0; i < client->streams->len; i++) {
		struct rpc_stream *stream = client->streams->pdata[i];

		if (stream->header.serial == header->serial &&
		    stream->header.program == header->program &&
		    stream->header.procedure == header->procedure)
			return stream;
	}
	return NULL; /* it has ended: the protocol says drop what still comes */
}

/* A hole where none is expected is as wrong as a frame that is none. */
static void take_hole(struct rpc_client *client, struct rpc_stream *stream, const u8 *payload,
		      size_t bytes)
{
	struct rpc_arena arena = { 0 };
	struct rpc_stream_hole hole;

	if (!rpc_decode(&rpc_type_stream_hole, payload, bytes, &arena, &hole) || hole.length < 0 ||
	    !stream->callbacks.hole)
		rpc_client_close(client, "it sent a hole that is none");
	else if (!stream->closed && !stream->finishing)
		stream->callbacks.hole(stream, hole.length, stream->opaque);
	rpc_arena_clear(&arena);
}

static void take_end(struct rpc_client *client, struct rpc_stream *stream, s32 status)
{
	if (status == RPC_OK && stream->callbacks.finish && !stream->closed) {
		if (!stream->finishing) {
			stream->finishing = true;
			stream->callbacks.finish(stream, stream->opaque);
		}
		return;
	}
	/* it finishes, or aborts: either is answered by an end without error */
	g_ptr_array_remove(client->streams, stream);
	rpc_client_ref(client);
	send_packet(stream, RPC_OK, NULL, 0);
	end(stream);
	rpc_client_unref(client);
}

void rpc_stream_take(struct rpc_client *client, const struct rpc_header *header, const u8 *payload,
		     size_t bytes)
{
	struct rpc_stream *stream = find(client, header);

	if (!stream)
		return;
	if (header->type == RPC_STREAM_HOLE)
		take_hole(client, stream, payload, bytes);
	else if (header->status != RPC_CONTINUE)
		take_end(client, stream, header->status);
	else if (!stream->closed && !stream->finishing)
		stream->callbacks.data(stream, payload, bytes, stream->opaque);
}

void rpc_streams_resume(struct rpc_client *client)
{
	for (guint i = 0; i < client->streams->len; i++) {
		struct rpc_stream *stream = client->streams->pdata[i];

		if (!stream->full || stream->closed)
			continue;
		stream->full = false;
		if (stream->callbacks.writable)
			stream->callbacks.writable(stream, stream->opaque);
	}
}

void rpc_streams_end(struct rpc_client *client)
{
	GPtrArray *streams = client->streams;

	client->streams = g_ptr_array_new();
	for (guint i = 0; i < streams->len; i++)
		end(streams->pdata[i]);
	g_ptr_array_unref(streams);
}
