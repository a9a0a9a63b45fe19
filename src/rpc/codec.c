/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The walker over the protocol's types, in both directions, and its arena. See codec.h. */
#include "rpc/codec.h"

#include "rpc_constants.h"

#include <string.h>

#define CHUNK_BYTES     4096
#define ARENA_BYTES_MAX ((size_t)RPC_MESSAGE_MAX * RPC_DECODE_FACTOR)
#define ALIGNMENT       16

/* --- the arena --- */

struct rpc_chunk {
	struct rpc_chunk *next;
	size_t bytes;
	_Alignas(ALIGNMENT) u8 data[];
};

void *rpc_arena_alloc(struct rpc_arena *arena, size_t bytes)
{
	size_t need = ALIGN_UP(MAX(bytes, 1), ALIGNMENT), room = MAX(need, CHUNK_BYTES);
	struct rpc_chunk *chunk = arena->chunks;

	if (bytes > ARENA_BYTES_MAX || arena->bytes + need > ARENA_BYTES_MAX)
		return NULL;
	if (need > arena->left) {
		chunk = g_try_malloc0(sizeof(*chunk) + room);
		if (!chunk)
			return NULL;
		chunk->next = arena->chunks;
		chunk->bytes = room;
		arena->chunks = chunk;
		arena->left = room;
	}
	arena->left -= need;
	arena->bytes += need;
	/* from the end down: what is left is the beginning */
	return chunk->data + arena->left;
}

void *rpc_arena_array(struct rpc_arena *arena, size_t count, size_t element_bytes)
{
	size_t bytes;

	return __builtin_mul_overflow(count, element_bytes, &bytes) ? NULL
								    : rpc_arena_alloc(arena, bytes);
}

char *rpc_arena_strdup(struct rpc_arena *arena, const char *text)
{
	size_t bytes = text ? strlen(text) + 1 : 0;
	char *copy = text ? rpc_arena_alloc(arena, bytes) : NULL;

	return copy ? memcpy(copy, text, bytes) : NULL;
}

void rpc_arena_clear(struct rpc_arena *arena)
{
	struct rpc_chunk *next;

	for (struct rpc_chunk *chunk = arena->chunks; chunk; chunk = next) {
		next = chunk->next;
		g_free(chunk);
	}
	*arena = (struct rpc_arena){ 0 };
}

/* --- both ways --- */

/* What a struct's field made by rpc_list() looks like, whatever its elements are. */
struct any_list {
	u32 count;
	void *items;
};

static size_t padding(size_t bytes)
{
	return -bytes & 3;
}

static size_t element_bytes(const struct rpc_field *field)
{
	static const u8 bytes[] = {
		[RPC_U8] = sizeof(u8),
		[RPC_I8] = sizeof(s8),
		[RPC_U16] = sizeof(u16),
		[RPC_U32] = sizeof(u32),
		[RPC_I32] = sizeof(s32),
		[RPC_U64] = sizeof(u64),
		[RPC_I64] = sizeof(s64),
		[RPC_F64] = sizeof(double),
		[RPC_STRING] = sizeof(char *),
		[RPC_OPAQUE] = sizeof(u8),
		[RPC_PARAM_VALUE] = sizeof(struct rpc_typed_param_value),
	};

	return field->kind == RPC_STRUCT ? field->type->size : bytes[field->kind];
}

/* What one element takes on the wire at least: no count is believed that this refutes. */
static size_t element_wire_min(const struct rpc_field *field)
{
	switch (field->kind) {
	case RPC_U64:
	case RPC_I64:
	case RPC_F64:
	case RPC_PARAM_VALUE: return 8;
	case RPC_OPAQUE: return 1;
	case RPC_STRUCT: return field->type->wire_min;
	default: return 4;
	}
}

u32 rpc_get_u32(const u8 *bytes)
{
	return (u32)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

/* --- decoding --- */

struct reader {
	const u8 *next;
	size_t left;
	struct rpc_arena *arena;
};

static bool read_u32(struct reader *r, u32 *value)
{
	if (r->left < 4)
		return false;
	*value = rpc_get_u32(r->next);
	r->next += 4;
	r->left -= 4;
	return true;
}

static bool read_u64(struct reader *r, u64 *value)
{
	u32 high, low;

	if (!read_u32(r, &high) || !read_u32(r, &low))
		return false;
	*value = (u64)high << 32 | low;
	return true;
}

static bool read_bytes(struct reader *r, void *out, size_t bytes)
{
	size_t all = bytes + padding(bytes);

	if (r->left < all)
		return false;
	memcpy(out, r->next, bytes);
	for (size_t i = bytes; i < all; i++)
		if (r->next[i])
			return false;
	r->next += all;
	r->left -= all;
	return true;
}

static bool read_string(struct reader *r, char **out)
{
	u32 length;

	*out = NULL;
	if (!read_u32(r, &length) || length > RPC_STRING_MAX || length > r->left)
		return false;
	*out = rpc_arena_alloc(r->arena, (size_t)length + 1);
	return *out && read_bytes(r, *out, length) && !memchr(*out, 0, length);
}

static bool read_param_value(struct reader *r, struct rpc_typed_param_value *value)
{
	u32 type;

	if (!read_u32(r, &type))
		return false;
	value->type = type;
	switch (type) {
	case VIR_TYPED_PARAM_INT:
	case VIR_TYPED_PARAM_BOOLEAN:
	case VIR_TYPED_PARAM_UINT: return read_u32(r, &value->ui);
	case VIR_TYPED_PARAM_LLONG:
	case VIR_TYPED_PARAM_DOUBLE: /* the same bits */
	case VIR_TYPED_PARAM_ULLONG: return read_u64(r, &value->ul);
	case VIR_TYPED_PARAM_STRING: return read_string(r, &value->s);
	default: return false;
	}
}

static bool decode_fields(struct reader *r, const struct rpc_type *type, u8 *out);

/* A number that has a word of its own must fit: what is cut off would be another value. */
static bool read_small(struct reader *r, enum rpc_kind kind, void *out)
{
	u32 word;

	if (!read_u32(r, &word))
		return false;
	switch (kind) {
	case RPC_U8: *(u8 *)out = word; return word <= UINT8_MAX;
	case RPC_I8: *(s8 *)out = word; return (s32)word >= INT8_MIN && (s32)word <= INT8_MAX;
	case RPC_U16: *(u16 *)out = word; return word <= UINT16_MAX;
	default: *(u32 *)out = word; return true;
	}
}

static bool decode_element(struct reader *r, const struct rpc_field *field, void *out)
{
	switch (field->kind) {
	case RPC_U64:
	case RPC_I64:
	case RPC_F64: return read_u64(r, out);
	case RPC_STRING: return read_string(r, out);
	case RPC_STRUCT: return decode_fields(r, field->type, out);
	case RPC_PARAM_VALUE: return read_param_value(r, out);
	default: return read_small(r, field->kind, out);
	}
}

static bool decode_array(struct reader *r, const struct rpc_field *field, u32 count, u8 *out)
{
	size_t bytes = element_bytes(field);
	bool good = true;

	if (field->kind == RPC_OPAQUE)
		return read_bytes(r, out, count);
	for (u32 i = 0; good && i < count; i++)
		good = decode_element(r, field, out + i * bytes);
	return good;
}

static bool decode_list(struct reader *r, const struct rpc_field *field, struct any_list *list)
{
	u32 count;

	if (!read_u32(r, &count) || count > field->max ||
	    count * (u64)element_wire_min(field) > r->left)
		return false;
	list->items = rpc_arena_array(r->arena, count, element_bytes(field));
	list->count = count;
	return list->items && decode_array(r, field, count, list->items);
}

static bool decode_optional(struct reader *r, const struct rpc_field *field, void **out)
{
	u32 present;

	if (!read_u32(r, &present) || present > 1)
		return false;
	if (!present)
		return true;
	if (field->kind == RPC_STRING)
		return read_string(r, (char **)out);
	*out = rpc_arena_alloc(r->arena, element_bytes(field));
	return *out && decode_element(r, field, *out);
}

static bool decode_fields(struct reader *r, const struct rpc_type *type, u8 *out)
{
	bool good = true;

	for (u32 i = 0; good && i < type->field_count; i++) {
		const struct rpc_field *field = &type->fields[i];
		void *at = out + field->offset;

		switch (field->shape) {
		case RPC_ONE: good = decode_element(r, field, at); break;
		case RPC_OPTIONAL: good = decode_optional(r, field, at); break;
		case RPC_FIXED: good = decode_array(r, field, field->max, at); break;
		case RPC_LIST: good = decode_list(r, field, at); break;
		}
	}
	return good;
}

bool rpc_decode(const struct rpc_type *type, const u8 *bytes, size_t length,
		struct rpc_arena *arena, void *value)
{
	struct reader r = { .next = bytes, .left = length, .arena = arena };

	if (type->size)
		memset(value, 0, type->size);
	return decode_fields(&r, type, value) && !r.left;
}

/* --- encoding --- */

static const u8 zeros[4];

void rpc_put_u32(GByteArray *out, u32 value)
{
	const u8 bytes[4] = { value >> 24, value >> 16, value >> 8, value };

	g_byte_array_append(out, bytes, sizeof(bytes));
}

static void put_u64(GByteArray *out, u64 value)
{
	rpc_put_u32(out, value >> 32);
	rpc_put_u32(out, value);
}

static bool put_bytes(GByteArray *out, const void *bytes, size_t length)
{
	if (length > RPC_MESSAGE_MAX || out->len + length + 4 > RPC_MESSAGE_MAX)
		return false;
	if (length)
		g_byte_array_append(out, bytes, length);
	g_byte_array_append(out, zeros, padding(length));
	return true;
}

static bool put_string(GByteArray *out, const char *text)
{
	size_t length = text ? strlen(text) : 0;

	if (!text || length > RPC_STRING_MAX)
		return false;
	rpc_put_u32(out, length);
	return put_bytes(out, text, length);
}

static bool put_param_value(GByteArray *out, const struct rpc_typed_param_value *value)
{
	rpc_put_u32(out, value->type);
	switch (value->type) {
	case VIR_TYPED_PARAM_INT:
	case VIR_TYPED_PARAM_BOOLEAN:
	case VIR_TYPED_PARAM_UINT: rpc_put_u32(out, value->ui); return true;
	case VIR_TYPED_PARAM_LLONG:
	case VIR_TYPED_PARAM_DOUBLE:
	case VIR_TYPED_PARAM_ULLONG: put_u64(out, value->ul); return true;
	case VIR_TYPED_PARAM_STRING: return put_string(out, value->s);
	default: return false;
	}
}

static bool encode_fields(const struct rpc_type *type, const u8 *in, GByteArray *out);

static bool encode_element(const struct rpc_field *field, const void *in, GByteArray *out)
{
	switch (field->kind) {
	case RPC_U8: rpc_put_u32(out, *(const u8 *)in); return true;
	case RPC_I8: rpc_put_u32(out, *(const s8 *)in); return true;
	case RPC_U16: rpc_put_u32(out, *(const u16 *)in); return true;
	case RPC_U32:
	case RPC_I32: rpc_put_u32(out, *(const u32 *)in); return true;
	case RPC_U64:
	case RPC_I64:
	case RPC_F64: put_u64(out, *(const u64 *)in); return true;
	case RPC_STRING: return put_string(out, *(char *const *)in);
	case RPC_STRUCT: return encode_fields(field->type, in, out);
	case RPC_PARAM_VALUE: return put_param_value(out, in);
	case RPC_OPAQUE: return false; /* there is no single one */
	}
	return false;
}

static bool encode_array(const struct rpc_field *field, u32 count, const u8 *in, GByteArray *out)
{
	size_t bytes = element_bytes(field);
	bool good = true;

	if (field->kind == RPC_OPAQUE)
		return put_bytes(out, in, count);
	for (u32 i = 0; good && i < count; i++)
		good = out->len <= RPC_MESSAGE_MAX && encode_element(field, in + i * bytes, out);
	return good;
}

static bool encode_list(const struct rpc_field *field, const struct any_list *list, GByteArray *out)
{
	if (list->count > field->max)
		return false;
	rpc_put_u32(out, list->count);
	return encode_array(field, list->count, list->items, out);
}

static bool encode_optional(const struct rpc_field *field, void *const *in, GByteArray *out)
{
	rpc_put_u32(out, *in ? 1 : 0);
	if (!*in)
		return true;
	return encode_element(field, field->kind == RPC_STRING ? (const void *)in : *in, out);
}

static bool encode_fields(const struct rpc_type *type, const u8 *in, GByteArray *out)
{
	bool good = true;

	for (u32 i = 0; good && i < type->field_count; i++) {
		const struct rpc_field *field = &type->fields[i];
		const void *at = in + field->offset;

		switch (field->shape) {
		case RPC_ONE: good = encode_element(field, at, out); break;
		case RPC_OPTIONAL: good = encode_optional(field, at, out); break;
		case RPC_FIXED: good = encode_array(field, field->max, at, out); break;
		case RPC_LIST: good = encode_list(field, at, out); break;
		}
	}
	return good;
}

bool rpc_encode(const struct rpc_type *type, const void *value, GByteArray *out)
{
	guint before = out->len;

	if (encode_fields(type, value, out) && out->len <= RPC_MESSAGE_MAX)
		return true;
	g_byte_array_set_size(out, before);
	return false;
}
