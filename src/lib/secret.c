/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Secrets. See lodge/secret.h. */
#include "private.h"

#include <stdlib.h>
#include <string.h>

struct lodge_secret {
	struct lodge_connection *connection;
	u8 uuid[LODGE_UUID_BYTES];
	int usage_type;
	char *usage;
};

static struct lodge_secret *secret_new(struct lodge_connection *connection,
				       const struct rpc_secret *wire)
{
	struct lodge_secret *secret = g_new0(struct lodge_secret, 1);

	secret->connection = connection_ref(connection);
	memcpy(secret->uuid, wire->uuid, sizeof(secret->uuid));
	secret->usage_type = wire->usageType;
	secret->usage = g_strdup(wire->usageID);
	return secret;
}

static struct rpc_secret secret_wire(const struct lodge_secret *secret)
{
	struct rpc_secret wire = { .usageType = secret->usage_type, .usageID = secret->usage };

	memcpy(wire.uuid, secret->uuid, sizeof(wire.uuid));
	return wire;
}

static struct rpc_caller *caller_of(const struct lodge_secret *secret)
{
	return secret->connection->caller;
}

/* The end of a call whose answer is one. */
static struct lodge_secret *asked_secret(struct asking *asking, bool good,
					 struct lodge_connection *connection,
					 const struct rpc_secret *wire, const char *function)
{
	struct lodge_secret *secret = good ? secret_new(connection, wire) : NULL;

	asked(asking, good, function);
	return secret;
}

LODGE_PUBLIC void lodge_secret_free(struct lodge_secret *secret)
{
	if (!secret)
		return;
	lodge_connection_free(secret->connection);
	g_free(secret->usage);
	g_free(secret);
}

static void free_secret(void *member)
{
	lodge_secret_free(member);
}

LODGE_PUBLIC void lodge_secrets_free(struct lodge_secret **secrets)
{
	objects_free(secrets, free_secret);
}

LODGE_PUBLIC struct lodge_secret **lodge_secret_list(struct lodge_connection *connection,
						     unsigned flags)
{
	struct rpc_connect_list_all_secrets_args args = { 1, flags };
	struct rpc_connect_list_all_secrets_ret ret;
	struct lodge_secret **secrets = NULL;
	struct asking a = {};
	bool good = rpc_ask_connect_list_all_secrets(connection->caller, &args, &a.arena, &ret,
						     &a.failure);

	if (good) {
		secrets = g_new0(struct lodge_secret *, ret.secrets.count + 1);
		for (unsigned i = 0; i < ret.secrets.count; i++)
			secrets[i] = secret_new(connection, &ret.secrets.items[i]);
	}
	asked(&a, good, __func__);
	return secrets;
}

LODGE_PUBLIC struct lodge_secret *lodge_secret_by_uuid(struct lodge_connection *connection,
						       const uint8_t uuid[LODGE_UUID_BYTES],
						       unsigned flags)
{
	struct rpc_secret_lookup_by_uuid_args args;
	struct rpc_secret_lookup_by_uuid_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	memcpy(args.uuid, uuid, sizeof(args.uuid));
	return asked_secret(&a,
			    rpc_ask_secret_lookup_by_uuid(connection->caller, &args, &a.arena, &ret,
							  &a.failure),
			    connection, &ret.secret, __func__);
}

LODGE_PUBLIC struct lodge_secret *lodge_secret_find(struct lodge_connection *connection,
						    const char *text, unsigned flags)
{
	u8 uuid[LODGE_UUID_BYTES];

	if (object_parse_uuid(text, uuid))
		return lodge_secret_by_uuid(connection, uuid, flags);
	error_set(__func__, LODGE_ERR_INVALID_ARG, "see lodge secret-list", "'%s' is no UUID",
		  text);
	return NULL;
}

LODGE_PUBLIC void lodge_secret_uuid(const struct lodge_secret *secret, char text[LODGE_UUID_CHARS])
{
	struct object object = {};

	memcpy(object.uuid, secret->uuid, sizeof(object.uuid));
	object_uuid(&object, text);
}

LODGE_PUBLIC int lodge_secret_usage_type(const struct lodge_secret *secret)
{
	return secret->usage_type;
}

LODGE_PUBLIC const char *lodge_secret_usage(const struct lodge_secret *secret)
{
	return secret->usage;
}

LODGE_PUBLIC struct lodge_secret *lodge_secret_define(struct lodge_connection *connection,
						      const char *xml, unsigned flags)
{
	struct rpc_secret_define_xml_args args = { (char *)xml, flags };
	struct rpc_secret_define_xml_ret ret;
	struct asking a = {};

	return asked_secret(
		&a,
		rpc_ask_secret_define_xml(connection->caller, &args, &a.arena, &ret, &a.failure),
		connection, &ret.secret, __func__);
}

LODGE_PUBLIC int lodge_secret_undefine(struct lodge_secret *secret, unsigned flags)
{
	struct rpc_secret_undefine_args args = { secret_wire(secret) };
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return -1;
	return asked(&a, rpc_ask_secret_undefine(caller_of(secret), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC char *lodge_secret_xml(struct lodge_secret *secret, unsigned flags)
{
	struct rpc_secret_get_xml_desc_args args = { secret_wire(secret), flags };
	struct rpc_secret_get_xml_desc_ret ret;
	struct asking a = {};

	return asked_string(
		&a,
		rpc_ask_secret_get_xml_desc(caller_of(secret), &args, &a.arena, &ret, &a.failure),
		&ret.xml, __func__);
}

LODGE_PUBLIC int lodge_secret_set_value(struct lodge_secret *secret, const void *value,
					size_t bytes, unsigned flags)
{
	struct rpc_secret_set_value_args args = { secret_wire(secret),
						  { bytes, (u8 *)value },
						  flags };
	struct asking a = {};

	return asked(&a, rpc_ask_secret_set_value(caller_of(secret), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC void *lodge_secret_value(struct lodge_secret *secret, size_t *bytes, unsigned flags)
{
	struct rpc_secret_get_value_args args = { secret_wire(secret), flags };
	struct rpc_secret_get_value_ret ret;
	struct asking a = {};
	u8 *copy = NULL;
	bool good = rpc_ask_secret_get_value(caller_of(secret), &args, &a.arena, &ret, &a.failure);

	if (good) {
		*bytes = ret.value.count;
		copy = calloc(1, *bytes + 1);
		if (*bytes)
			memcpy(copy, ret.value.items, *bytes);
	}
	asked(&a, good, __func__);
	return copy;
}
