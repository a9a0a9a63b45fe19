/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A message of libvirt's protocol: a length word, a header of six words, a payload.
 *
 *   length | program version procedure type serial status | payload
 *   `------------------- counted by length -----------------------'
 */
#ifndef LODGE_RPC_MESSAGE_H
#define LODGE_RPC_MESSAGE_H

#include "rpc/carried.h"
#include "rpc/codec.h"

#define RPC_VERSION      1 /* of each program */
#define RPC_LENGTH_BYTES 4
#define RPC_HEADER_BYTES 24

enum rpc_message_type {
	RPC_CALL,
	RPC_REPLY,
	RPC_EVENT,
	RPC_STREAM,
	RPC_CALL_FDS,
	RPC_REPLY_FDS,
	RPC_STREAM_HOLE,
};

enum rpc_status { RPC_OK, RPC_FAILED, RPC_CONTINUE };

struct rpc_header {
	u32 program, version;
	s32 procedure;
	s32 type; /* enum rpc_message_type, if the other side is well-behaved */
	u32 serial;
	s32 status;
};

/* The bytes of the message that begins at @bytes, its length word included; 0 when that word is
 * not there yet, -1 when it is no length. */
s64 rpc_message_bytes(const u8 *bytes, size_t available);
/* How many bytes behind that complete message carry descriptors; more than RPC_FDS_MAX: it does not
 * say, or lies. */
u32 rpc_message_carriers(const u8 *message, size_t bytes);
/* Reads the header of a complete message. */
struct rpc_header rpc_header_read(const u8 *message);
/* A message with a header and no payload yet. */
GByteArray *rpc_message_new(const struct rpc_header *header);
/* Writes the length word, when the payload is complete. */
void rpc_message_finish(GByteArray *message);

#endif
