/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a message to the handler that serves it, past the access rules. See server.h. */
#include "base/log.h"
#include "rpc/private.h"

#include "rpc_constants.h"
#include "rpc_protocol.h"

#include <string.h>

/* --- the table --- */

/* The table is sorted: the remote program first, then the others, each by number. */
static int compare(const struct rpc_procedure *procedure, u32 program, s32 number)
{
	bool other = program != RPC_PROGRAM_REMOTE;
	bool row_other = procedure->program != RPC_PROGRAM_REMOTE;

	if (other != row_other)
		return row_other - other;
	if (procedure->program != program)
		return procedure->program < program ? -1 : 1;
	return procedure->number < number ? -1 : procedure->number > number;
}

const struct rpc_procedure *rpc_procedure_find(u32 program, s32 number)
{
	size_t low = 0, high = RPC_PROCEDURES;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = compare(&rpc_procedures[middle], program, number);

		if (!order)
			return rpc_procedures[middle].event ? NULL : &rpc_procedures[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* --- access --- */

static bool applies(const struct rpc_rule *rule, const void *args)
{
	u32 value = 0;

	if (rule->condition != RPC_ALWAYS)
		memcpy(&value, (const u8 *)args + rule->offset, sizeof(value));
	switch (rule->condition) {
	case RPC_ALWAYS: return true;
	case RPC_IF_ANY: return value & rule->flags;
	case RPC_IF_NONE: return !(value & rule->flags);
	case RPC_IF_EQUAL: return value == rule->flags;
	}
	return true;
}

const struct rpc_rule *rpc_procedure_changes(const struct rpc_procedure *procedure,
					     const void *args)
{
	for (u32 i = 0; i < procedure->rule_count; i++)
		if (!procedure->rules[i].reads && applies(&procedure->rules[i], args))
			return &procedure->rules[i];
	return NULL;
}

static bool is_handshake(const struct rpc_procedure *procedure)
{
	return !procedure->rule_count || (procedure->program == RPC_PROGRAM_REMOTE &&
					  (procedure->number == RPC_PROC_CONNECT_OPEN ||
					   procedure->number == RPC_PROC_CONNECT_SUPPORTS_FEATURE));
}

/* --- calls --- */

static const struct rpc_handlers *handlers_of(const struct rpc_server *server,
					      const struct rpc_procedure *procedure)
{
	for (const struct rpc_handlers *const *h = server->options.handlers; *h; h++)
		if (procedure->run(*h, NULL, NULL))
			return *h;
	return NULL;
}

/* Clients know a call that is not there by how this text begins, as they know VIR_ERR_NO_SUPPORT.
 */
static void fail_absent(struct rpc_call *call, const struct rpc_procedure *procedure)
{
	const struct rpc_server_options *options = &rpc_call_client(call)->server->options;
	const char *text = options->absent ? options->absent(procedure->name) : NULL;

	rpc_call_fail(call, VIR_ERR_NO_SUPPORT, VIR_FROM_RPC,
		      "this function is not supported by the connection driver: %s",
		      text ? text : procedure->name);
}

static void fail_unknown(struct rpc_call *call, const struct rpc_header *header)
{
	rpc_call_fail(call, VIR_ERR_RPC, VIR_FROM_RPC, "unknown procedure: %d", header->procedure);
}

/* Why the descriptors that were counted with a call are not taken, or NULL. A read-only client has
 * sent none that have come; the access rules tell it why. */
static const char *refuse_files(const struct rpc_client *client,
				const struct rpc_procedure *procedure, u32 counted)
{
	if (!counted)
		return NULL;
	if (!procedure->files)
		return "it takes no descriptors";
	return client->local ? NULL : "descriptors pass by UNIX sockets of this host alone";
}

/* @counted are the descriptors that the message says come with it, and @fds those that have. */
static void run_call(struct rpc_client *client, const struct rpc_header *header, const u8 *payload,
		     size_t bytes, u32 counted, struct rpc_fds *fds)
{
	const struct rpc_procedure *procedure =
		rpc_procedure_find(header->program, header->procedure);
	const struct rpc_handlers *handlers =
		procedure ? handlers_of(client->server, procedure) : NULL;
	struct rpc_call *call = rpc_call_new(client, header, procedure);
	const struct rpc_rule *rule;
	const char *why;

	rpc_call_set_fds(call, fds);
	if (!procedure) {
		fail_unknown(call, header);
	} else if (!handlers) {
		fail_absent(call, procedure);
	} else if (!client->open && !is_handshake(procedure)) {
		rpc_call_fail(call, VIR_ERR_INVALID_CONN, VIR_FROM_RPC,
			      "the connection is not open yet; the first call must be "
			      "connect_open");
	} else if (!rpc_call_decode(call, payload, bytes)) {
		rpc_client_close(client, "it sent arguments that are none");
		rpc_call_drop(call);
	} else if (client->read_only &&
		   (rule = rpc_procedure_changes(procedure, rpc_call_args(call)))) {
		rpc_call_fail(call, VIR_ERR_OPERATION_DENIED, VIR_FROM_RPC,
			      "operation %s forbidden for read only access: it needs %s:%s",
			      procedure->name, rule->object, rule->permission);
	} else if ((why = refuse_files(client, procedure, counted))) {
		rpc_call_fail(call, VIR_ERR_NO_SUPPORT, VIR_FROM_RPC,
			      "this function is not supported by the connection driver: %s: %s",
			      procedure->name, why);
	} else {
		log_debug("rpc", "user %u calls %s", client->identity.uid, procedure->name);
		procedure->run(handlers, call, rpc_call_args(call));
	}
}

static bool is_known_program(const struct rpc_header *header)
{
	return header->version == RPC_VERSION &&
	       (header->program == RPC_PROGRAM_REMOTE || header->program == RPC_PROGRAM_QEMU);
}

static void answer_keepalive(struct rpc_client *client, const struct rpc_header *header)
{
	struct rpc_header pong = *header;
	GByteArray *message;

	if (header->type != RPC_EVENT || header->version != RPC_VERSION) {
		rpc_client_close(client, "it sent a keepalive message that is none");
		return;
	}
	if (header->procedure != RPC_KEEPALIVE_PROC_PING)
		return;
	pong.procedure = RPC_KEEPALIVE_PROC_PONG;
	message = rpc_message_new(&pong);
	rpc_message_finish(message);
	rpc_client_queue(client, message);
}

void rpc_dispatch(struct rpc_client *client, const u8 *message, size_t bytes, struct rpc_fds *fds)
{
	struct rpc_header header = rpc_header_read(message);
	u32 counted = rpc_message_carriers(message, bytes), skip = 0;
	const u8 *payload = message + RPC_LENGTH_BYTES + RPC_HEADER_BYTES;

	bytes -= RPC_LENGTH_BYTES + RPC_HEADER_BYTES;
	if (header.program == RPC_PROGRAM_KEEPALIVE) {
		answer_keepalive(client, &header);
		return;
	}
	switch (header.type) {
	case RPC_CALL_FDS: skip = sizeof(counted); G_GNUC_FALLTHROUGH;
	case RPC_CALL:
		if (!is_known_program(&header))
			rpc_call_fail(rpc_call_new(client, &header, NULL), VIR_ERR_RPC,
				      VIR_FROM_RPC, "Cannot find program %u version %u",
				      header.program, header.version);
		else
			run_call(client, &header, payload + skip, bytes - skip, counted, fds);
		break;
	case RPC_STREAM:
	case RPC_STREAM_HOLE: rpc_stream_take(client, &header, payload, bytes); break;
	default: rpc_client_close(client, "it sent a message that only servers send");
	}
}
