/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Consoles and volumes as streams. See lodge/stream.h. */
#include "private.h"

struct lodge_stream {
	struct lodge_connection *connection;
	struct rpc_caller_stream *stream;
};

/* The end of a call that opens one. */
static struct lodge_stream *opened(struct lodge_connection *connection,
				   struct rpc_caller_stream *stream, struct asking *asking,
				   const char *function)
{
	struct lodge_stream *made;

	if (asked(asking, stream, function))
		return NULL;
	made = g_new0(struct lodge_stream, 1);
	made->connection = connection_ref(connection);
	made->stream = stream;
	return made;
}

LODGE_PUBLIC struct lodge_stream *lodge_domain_console(struct lodge_domain *domain,
						       const char *device, unsigned flags)
{
	struct rpc_domain_open_console_args args = { domain_wire(domain), (char *)device, flags };
	struct lodge_connection *connection = domain_connection(domain);
	struct asking a = {};

	return opened(connection,
		      rpc_open_domain_open_console(connection->caller, &args, &a.failure), &a,
		      __func__);
}

LODGE_PUBLIC struct lodge_stream *lodge_volume_upload(struct lodge_volume *volume, uint64_t offset,
						      uint64_t bytes, unsigned flags)
{
	struct rpc_storage_vol_upload_args args = { volume_wire(volume), offset, bytes, flags };
	struct lodge_connection *connection = volume_connection(volume);
	struct asking a = {};

	return opened(connection,
		      rpc_open_storage_vol_upload(connection->caller, &args, &a.failure), &a,
		      __func__);
}

LODGE_PUBLIC struct lodge_stream *
lodge_volume_download(struct lodge_volume *volume, uint64_t offset, uint64_t bytes, unsigned flags)
{
	struct rpc_storage_vol_download_args args = { volume_wire(volume), offset, bytes, flags };
	struct lodge_connection *connection = volume_connection(volume);
	struct asking a = {};

	return opened(connection,
		      rpc_open_storage_vol_download(connection->caller, &args, &a.failure), &a,
		      __func__);
}

LODGE_PUBLIC void lodge_stream_free(struct lodge_stream *stream)
{
	if (!stream)
		return;
	rpc_caller_stream_free(stream->stream);
	lodge_connection_free(stream->connection);
	g_free(stream);
}

LODGE_PUBLIC int lodge_stream_send(struct lodge_stream *stream, const void *bytes, size_t n)
{
	struct asking a = {};

	return asked(&a, rpc_caller_stream_send(stream->stream, bytes, n, &a.failure), __func__);
}

LODGE_PUBLIC ssize_t lodge_stream_receive(struct lodge_stream *stream, void *bytes, size_t n,
					  unsigned flags)
{
	struct asking a = {};
	ssize_t got;

	if (!flags_none(flags & ~LODGE_RECEIVE_NO_WAIT, __func__))
		return -1;
	got = rpc_caller_stream_receive(stream->stream, bytes, n, !(flags & LODGE_RECEIVE_NO_WAIT),
					&a.failure);
	asked(&a, got != -1, __func__);
	return got;
}

LODGE_PUBLIC int lodge_stream_finish(struct lodge_stream *stream)
{
	struct asking a = {};

	return asked(&a, rpc_caller_stream_finish(stream->stream, &a.failure), __func__);
}
