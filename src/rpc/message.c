/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Length words and headers. See message.h. */
#include "rpc/message.h"

#include <string.h>

s64 rpc_message_bytes(const u8 *bytes, size_t available)
{
	u32 length;

	if (available < RPC_LENGTH_BYTES)
		return 0;
	length = rpc_get_u32(bytes);
	if (length < RPC_LENGTH_BYTES + RPC_HEADER_BYTES ||
	    length > RPC_LENGTH_BYTES + RPC_MESSAGE_MAX)
		return -1;
	return length;
}

u32 rpc_message_carriers(const u8 *message, size_t bytes)
{
	const size_t head = RPC_LENGTH_BYTES + RPC_HEADER_BYTES;
	const struct rpc_header header = rpc_header_read(message);

	if (header.type != RPC_CALL_FDS && header.type != RPC_REPLY_FDS)
		return 0;
	return bytes < head + 4 ? RPC_FDS_MAX + 1 : rpc_get_u32(message + head);
}

struct rpc_header rpc_header_read(const u8 *message)
{
	const u8 *word = message + RPC_LENGTH_BYTES;

	return (struct rpc_header){
		.program = rpc_get_u32(word),
		.version = rpc_get_u32(word + 4),
		.procedure = rpc_get_u32(word + 8),
		.type = rpc_get_u32(word + 12),
		.serial = rpc_get_u32(word + 16),
		.status = rpc_get_u32(word + 20),
	};
}

GByteArray *rpc_message_new(const struct rpc_header *header)
{
	GByteArray *message = g_byte_array_sized_new(128);

	rpc_put_u32(message, 0);
	rpc_put_u32(message, header->program);
	rpc_put_u32(message, header->version);
	rpc_put_u32(message, header->procedure);
	rpc_put_u32(message, header->type);
	rpc_put_u32(message, header->serial);
	rpc_put_u32(message, header->status);
	return message;
}

void rpc_message_finish(GByteArray *message)
{
	const u32 length = GUINT32_TO_BE(message->len);

	memcpy(message->data, &length, sizeof(length));
}
