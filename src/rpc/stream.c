/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams: bytes both ways beside the calls, under the serial number of the call that opened them.
 * See server.h.
 */
#include "rpc/private.h"

#include "rpc_constants.h"
#include "rpc_protocol.h"

struct rpc_stream {
	struct rpc_client *client; /* NULL once it has gone */
	struct rpc_header header;
	struct rpc_stream_callbacks callbacks;
	void *opaque;
	bool closed; /* its owner knows it no longer */
	bool full;   /* rpc_stream_send() has said so */
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

static void send_packet(struct rpc_stream *stream, enum rpc_status status, const u8 *bytes,
			size_t n)
{
	struct rpc_header header = stream->header;
	GByteArray *message;

	header.status = status;
	message = rpc_message_new(&header);
	if (n)
		g_byte_array_append(message, bytes, n);
	rpc_message_finish(message);
	rpc_client_queue(stream->client, message);
}

bool rpc_stream_send(struct rpc_stream *stream, const u8 *bytes, size_t n)
{
	struct rpc_client *client = rpc_client_ref(stream->client);

	bool more;

	for (size_t at = 0; at < n && client->server; at += RPC_STREAM_BYTES_MAX)
		send_packet(stream, RPC_CONTINUE, bytes + at, MIN(n - at, RPC_STREAM_BYTES_MAX));
	more = client->server && client->out_bytes < RPC_OUTPUT_PAUSE;
	if (client->server) /* else it has just gone, and taken the stream with it */
		stream->full = !more;
	rpc_client_unref(client);
	return more;
}

void rpc_stream_close(struct rpc_stream *stream)
{
	stream->closed = true;
	send_packet(stream, RPC_CONTINUE, NULL, 0);
}

static void end(struct rpc_stream *stream)
{
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

void rpc_stream_take(struct rpc_client *client, const struct rpc_header *header, const u8 *payload,
		     size_t bytes)
{
	struct rpc_stream *stream = find(client, header);

	if (!stream || header->type != RPC_STREAM)
		return;
	if (header->status == RPC_CONTINUE) {
		if (!stream->closed)
			stream->callbacks.data(stream, payload, bytes, stream->opaque);
		return;
	}
	/* it finishes, or aborts: either is answered by an end without error */
	g_ptr_array_remove(client->streams, stream);
	rpc_client_ref(client);
	send_packet(stream, RPC_OK, NULL, 0);
	end(stream);
	rpc_client_unref(client);
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
