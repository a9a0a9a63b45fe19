/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way past lodged: commands of a client for a guest's monitor, as they are. Whoever uses it may
 * bring the guest into a state that lodged does not expect; the guest is marked for that, and the
 * log says so.
 */
#include "base/log_sink.h"
#include "daemon/calls.h"

#include <jansson.h>
#include <stdlib.h>

struct passed {
	struct rpc_call *call;
	json_t *id; /* the client's own, or NULL */
};

/* The answer has the client's number, not the one under which lodged asked. */
static char *with_own_id(const char *text, json_t *id)
{
	json_t *message = json_loads(text, 0, NULL);
	char *result;

	if (id)
		json_object_set(message, "id", id);
	else
		json_object_del(message, "id");
	result = json_dumps(message, JSON_COMPACT);
	json_decref(message);
	return result;
}

static void done(struct guest *guest, const char *reply, const GError *error, void *opaque)
{
	struct passed *passed = opaque;
	struct rpc_qemu_domain_monitor_command_ret ret;
	char *text;

	(void)guest;
	if (error) {
		fail_call(passed->call, g_error_copy(error));
	} else {
		text = with_own_id(reply, passed->id);
		ret.result = rpc_arena_strdup(rpc_call_arena(passed->call), text);
		free(text);
		/* both calls answer alike */
		rpc_call_answer(passed->call, rpc_call_procedure(passed->call), &ret);
	}
	json_decref(passed->id);
	g_free(passed);
}

/* The command as JSON; NULL: the call has been failed. */
static json_t *read_command(struct rpc_call *call, const char *text)
{
	json_t *command = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_string(json_object_get(command, "execute")))
		return command;
	json_decref(command);
	rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
		      "a monitor command is JSON like {\"execute\": \"query-status\"}");
	return NULL;
}

static void run(struct rpc_call *call, const struct rpc_domain *dom, const char *text, u32 flags)
{
	struct guest *guest;
	struct passed *passed;
	json_t *command;

	if (!call_flags(call, flags, VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP) ||
	    !(guest = call_guest(call, dom)))
		return;
	if (flags & VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP) {
		rpc_call_fail(
			call, VIR_ERR_ARGUMENT_UNSUPPORTED, VIR_FROM_QEMU,
			"monitors speak QMP alone in this version; without --hmp it is passed "
			"on");
		return;
	}
	if (!guest_is_active(guest) || guest->starting) {
		rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
			      "Requested operation is not valid: domain '%s' is not running",
			      guest->name);
		return;
	}
	command = read_command(call, text);
	if (!command)
		return;
	if (!guest->tainted)
		log_about(LOG_WARNING, "lodged", guest->name,
			  "guest %s is tainted: user %u gives it monitor commands by hand",
			  guest->name, rpc_client_identity(rpc_call_client(call))->uid);
	guest->tainted = true;
	passed = g_new0(struct passed, 1);
	passed->call = call;
	passed->id = json_incref(json_object_get(command, "id"));
	guest->driver->pass(guest, command, done, passed);
	json_decref(command);
}

static void monitor_command(struct rpc_call *call,
			    const struct rpc_qemu_domain_monitor_command_args *args)
{
	run(call, &args->dom, args->cmd, args->flags);
}

static void
monitor_command_with_files(struct rpc_call *call,
			   const struct rpc_qemu_domain_monitor_command_with_files_args *args)
{
	unsigned count;

	rpc_call_fds(call, &count);
	if (count)
		rpc_call_fail(call, VIR_ERR_NO_SUPPORT, VIR_FROM_QEMU,
			      "this function is not supported by the connection driver: monitors "
			      "take no descriptors in this version");
	else
		run(call, &args->dom, args->cmd, args->flags);
}

const struct rpc_handlers calls_monitor = {
	.qemu_domain_monitor_command_with_files = monitor_command_with_files,
	.qemu_domain_monitor_command = monitor_command,
};
