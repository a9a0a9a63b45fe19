/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Values of libvirt's protocol in memory and on the wire (XDR, RFC 4506).
 *
 *   types.tsv, procedures.tsv --generate.py--> struct rpc_*, struct rpc_type
 *   bytes --rpc_decode()--> struct rpc_* (in an arena) ... struct rpc_* --rpc_encode()--> bytes
 *
 * One walker for all types reads their descriptions. It trusts no byte: a count is held against
 * its maximum and against the bytes that are left before anything is allocated, so that decoding
 * takes memory in proportion to the message (RPC_DECODE_FACTOR). How deep it nests is a property
 * of the table, which the generator checks, never of the input.
 *
 * Everything that is decoded, and everything that an answer is made of, lives in an arena and goes
 * with it; there is nothing to free one by one.
 */
#ifndef LODGE_RPC_CODEC_H
#define LODGE_RPC_CODEC_H

#include "base/types.h"

#include <glib.h>

#define RPC_STRING_MAX    (4u << 20)
#define RPC_MESSAGE_MAX   (32u << 20) /* without the length word */
#define RPC_DECODE_FACTOR 8           /* bytes of the arena per byte of the message, at most */

enum rpc_kind {
	RPC_U8,
	RPC_I8,
	RPC_U16,
	RPC_U32,
	RPC_I32,
	RPC_U64,
	RPC_I64,
	RPC_F64,
	RPC_STRING, /* char *, never with a zero byte inside */
	RPC_OPAQUE,
	RPC_STRUCT,
	RPC_PARAM_VALUE, /* the protocol's one union */
};

enum rpc_shape {
	RPC_ONE,
	RPC_OPTIONAL, /* a pointer, or NULL */
	RPC_FIXED,    /* an array of `max` */
	RPC_LIST,     /* rpc_list(), of at most `max` */
};

#define rpc_list(element)       \
	struct {                \
		u32 count;      \
		element *items; \
	}

struct rpc_type;

struct rpc_field {
	const char *name;
	enum rpc_kind kind;
	enum rpc_shape shape;
	u32 offset, max;
	const struct rpc_type *type; /* of RPC_STRUCT */
};

struct rpc_type {
	const char *name;
	u32 size;     /* in memory */
	u32 wire_min; /* the fewest bytes it takes on the wire */
	u32 field_count;
	const struct rpc_field *fields;
};

/* A typed parameter's value; @type is one of VIR_TYPED_PARAM_*. */
struct rpc_typed_param_value {
	s32 type;
	union {
		s32 i, b;
		u32 ui;
		s64 l;
		u64 ul;
		double d;
		char *s;
	};
};

/* --- the arena --- */

struct rpc_arena {
	struct rpc_chunk *chunks;
	size_t left;  /* in the first chunk */
	size_t bytes; /* handed out so far */
};

/* Zeroed memory; NULL when there is none, or when the arena holds too much. */
void *rpc_arena_alloc(struct rpc_arena *arena, size_t bytes);
/* An array of @count; the product may overflow. */
void *rpc_arena_array(struct rpc_arena *arena, size_t count, size_t element_bytes);
char *rpc_arena_strdup(struct rpc_arena *arena, const char *text);
void rpc_arena_clear(struct rpc_arena *arena);

/* --- the walker --- */

/*
 * Reads all of @bytes into @value, which has room for type->size. False: they are no such value,
 * end early, or go on after it; @value is then no value.
 */
bool rpc_decode(const struct rpc_type *type, const u8 *bytes, size_t length,
		struct rpc_arena *arena, void *value);
/* Appends @value to @out. False: a string that must be there is NULL, or something is longer than
 * the protocol allows; @out is then what it was. */
bool rpc_encode(const struct rpc_type *type, const void *value, GByteArray *out);

void rpc_put_u32(GByteArray *out, u32 value);
u32 rpc_get_u32(const u8 *bytes);

#endif
