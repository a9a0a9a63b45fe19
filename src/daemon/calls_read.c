/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that read a domain's state. None asks the guest. */
#include "daemon/calls.h"

#include <string.h>

static u64 cpu_time_ns(const struct guest *guest)
{
	struct guest_statistics statistics;

	return guest->driver->statistics(guest, &statistics) ? statistics.cpu_ns : 0;
}

/* --- state --- */

static void get_state(struct rpc_call *call, const struct rpc_domain_get_state_args *args)
{
	struct rpc_domain_get_state_ret ret;
	const struct guest *guest;

	if (!call_flags(call, args->flags, 0) || !(guest = call_guest(call, &args->dom)))
		return;
	ret.state = guest->state;
	ret.reason = guest->reason;
	rpc_reply_domain_get_state(call, &ret);
}

static void get_info(struct rpc_call *call, const struct rpc_domain_get_info_args *args)
{
	const struct guest *guest = call_guest(call, &args->dom);
	struct rpc_domain_get_info_ret ret;
	const struct domain *domain;

	if (!guest)
		return;
	domain = guest_domain(guest);
	ret.state = guest->state;
	ret.maxMem = domain->memory_kib;
	ret.memory = domain->current_kib;
	ret.nrVirtCpu = domain->vcpus_current;
	ret.cpuTime = cpu_time_ns(guest);
	rpc_reply_domain_get_info(call, &ret);
}

static void is_active(struct rpc_call *call, const struct rpc_domain_is_active_args *args)
{
	const struct guest *guest = call_guest(call, &args->dom);
	struct rpc_domain_is_active_ret ret;

	if (!guest)
		return;
	ret.active = guest_is_active(guest);
	rpc_reply_domain_is_active(call, &ret);
}

static void is_persistent(struct rpc_call *call, const struct rpc_domain_is_persistent_args *args)
{
	const struct guest *guest = call_guest(call, &args->dom);
	struct rpc_domain_is_persistent_ret ret;

	if (!guest)
		return;
	ret.persistent = guest->config != NULL;
	rpc_reply_domain_is_persistent(call, &ret);
}

static void is_updated(struct rpc_call *call, const struct rpc_domain_is_updated_args *args)
{
	const struct rpc_domain_is_updated_ret ret = { .updated = 0 };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_is_updated(call, &ret);
}

static void get_os_type(struct rpc_call *call, const struct rpc_domain_get_os_type_args *args)
{
	const struct rpc_domain_get_os_type_ret ret = { .type = (char *)"hvm" };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_get_os_type(call, &ret);
}

static void get_max_memory(struct rpc_call *call, const struct rpc_domain_get_max_memory_args *args)
{
	const struct guest *guest = call_guest(call, &args->dom);
	struct rpc_domain_get_max_memory_ret ret;

	if (!guest)
		return;
	ret.memory = guest_domain(guest)->memory_kib;
	rpc_reply_domain_get_max_memory(call, &ret);
}

static void get_max_vcpus(struct rpc_call *call, const struct rpc_domain_get_max_vcpus_args *args)
{
	const struct guest *guest = call_guest(call, &args->dom);
	struct rpc_domain_get_max_vcpus_ret ret;

	if (!guest)
		return;
	ret.num = guest_domain(guest)->vcpus;
	rpc_reply_domain_get_max_vcpus(call, &ret);
}

static void get_vcpus_flags(struct rpc_call *call,
			    const struct rpc_domain_get_vcpus_flags_args *args)
{
	const struct guest *guest;
	const struct domain *domain;
	struct rpc_domain_get_vcpus_flags_ret ret;

	if (args->flags & VIR_DOMAIN_VCPU_GUEST) {
		rpc_call_fail(call, VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU,
			      "guest agents, which --guest is for, are not asked in this version");
		return;
	}
	if (!call_flags(call, args->flags,
			VIR_DOMAIN_VCPU_LIVE | VIR_DOMAIN_VCPU_CONFIG | VIR_DOMAIN_VCPU_MAXIMUM) ||
	    !(guest = call_guest(call, &args->dom)))
		return;
	domain = (args->flags & VIR_DOMAIN_VCPU_CONFIG) ? guest->config : guest_domain(guest);
	if (!domain || ((args->flags & VIR_DOMAIN_VCPU_LIVE) && !guest_is_active(guest))) {
		rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
			      "Requested operation is not valid: domain '%s' is not %s",
			      guest->name, domain ? "running" : "persistent");
		return;
	}
	ret.num = args->flags & VIR_DOMAIN_VCPU_MAXIMUM ? domain->vcpus : domain->vcpus_current;
	rpc_reply_domain_get_vcpus_flags(call, &ret);
}

/* --- what is not there yet, and counts as none --- */

static void has_managed_save(struct rpc_call *call,
			     const struct rpc_domain_has_managed_save_image_args *args)
{
	const struct rpc_domain_has_managed_save_image_ret ret = { .result = 0 };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_has_managed_save_image(call, &ret);
}

static void snapshot_num(struct rpc_call *call, const struct rpc_domain_snapshot_num_args *args)
{
	const struct rpc_domain_snapshot_num_ret ret = { .num = 0 };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_snapshot_num(call, &ret);
}

static void list_snapshots(struct rpc_call *call,
			   const struct rpc_domain_list_all_snapshots_args *args)
{
	const struct rpc_domain_list_all_snapshots_ret ret = { 0 };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_list_all_snapshots(call, &ret);
}

static void list_checkpoints(struct rpc_call *call,
			     const struct rpc_domain_list_all_checkpoints_args *args)
{
	const struct rpc_domain_list_all_checkpoints_ret ret = { 0 };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_list_all_checkpoints(call, &ret);
}

static void get_job_info(struct rpc_call *call, const struct rpc_domain_get_job_info_args *args)
{
	const struct rpc_domain_get_job_info_ret ret = { .type = VIR_DOMAIN_JOB_NONE };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_get_job_info(call, &ret);
}

static void get_job_stats(struct rpc_call *call, const struct rpc_domain_get_job_stats_args *args)
{
	const struct rpc_domain_get_job_stats_ret ret = { .type = VIR_DOMAIN_JOB_NONE };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_get_job_stats(call, &ret);
}

static void get_block_job_info(struct rpc_call *call,
			       const struct rpc_domain_get_block_job_info_args *args)
{
	const struct rpc_domain_get_block_job_info_ret ret = { .found = 0 };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_get_block_job_info(call, &ret);
}

static void has_current_snapshot(struct rpc_call *call,
				 const struct rpc_domain_has_current_snapshot_args *args)
{
	const struct rpc_domain_has_current_snapshot_ret ret = { .result = 0 };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_has_current_snapshot(call, &ret);
}

static void list_snapshot_names(struct rpc_call *call,
				const struct rpc_domain_snapshot_list_names_args *args)
{
	const struct rpc_domain_snapshot_list_names_ret ret = { 0 };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_snapshot_list_names(call, &ret);
}

static void fail_snapshot(struct rpc_call *call,
			  const struct rpc_domain_snapshot_lookup_by_name_args *args)
{
	if (call_guest(call, &args->dom))
		rpc_call_fail(call, VIR_ERR_NO_DOMAIN_SNAPSHOT, VIR_FROM_DOMAIN_SNAPSHOT,
			      "Domain snapshot not found: no domain snapshot with matching name "
			      "'%s'",
			      args->name);
}

static void get_iothread_info(struct rpc_call *call,
			      const struct rpc_domain_get_iothread_info_args *args)
{
	const struct rpc_domain_get_iothread_info_ret ret = { 0 };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_get_iothread_info(call, &ret);
}

/* Guests' networks are their own, and their addresses nobody else's to know. */
static void interface_addresses(struct rpc_call *call,
				const struct rpc_domain_interface_addresses_args *args)
{
	const struct rpc_domain_interface_addresses_ret ret = { 0 };

	if (!call_guest(call, &args->dom))
		return;
	if (args->source == VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
		rpc_call_fail(call, VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU,
			      "guest agents are not asked in this version");
	else
		rpc_reply_domain_interface_addresses(call, &ret);
}

static void get_control_info(struct rpc_call *call,
			     const struct rpc_domain_get_control_info_args *args)
{
	const struct rpc_domain_get_control_info_ret ret = { .state = VIR_DOMAIN_CONTROL_OK };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_get_control_info(call, &ret);
}

/* What keeps this version from starting it, for g_free(), or NULL. */
static char *cannot_start(const struct guest *guest)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *left_out = NULL;
	struct domain *live =
		guest->config ? domain_make_live(guest->config, &left_out, &error) : NULL;

	domain_free(live);
	return error ? g_strconcat("its definition cannot start in this version: ", error->message,
				   NULL)
		     : NULL;
}

/* What this start left out of the definition, whether lodged knows all that was done to it, and
 * whether its next start can be. */
static void get_messages(struct rpc_call *call, const struct rpc_domain_get_messages_args *args)
{
	const struct guest *guest = call_guest(call, &args->dom);
	struct rpc_domain_get_messages_ret ret = { 0 };
	char *texts[4], *why;

	if (!guest)
		return;
	why = cannot_start(guest);
	if (why)
		texts[ret.msgs.count++] = call_text(call, why);
	if (guest->left_out)
		texts[ret.msgs.count++] = rpc_arena_strdup(rpc_call_arena(call), guest->left_out);
	if (guest->unrestrained && domain_has_limits(guest->live))
		texts[ret.msgs.count++] = call_text(
			call, g_strconcat("not held to its limits: ", guest->unrestrained, NULL));
	if (guest->tainted)
		texts[ret.msgs.count++] = (char *)"tainted: custom monitor control commands issued";
	ret.msgs.items = texts;
	rpc_reply_domain_get_messages(call, &ret);
}

const struct rpc_handlers calls_read = {
	.domain_get_state = get_state,
	.domain_get_info = get_info,
	.domain_is_active = is_active,
	.domain_is_persistent = is_persistent,
	.domain_is_updated = is_updated,
	.domain_get_os_type = get_os_type,
	.domain_get_max_memory = get_max_memory,
	.domain_get_max_vcpus = get_max_vcpus,
	.domain_get_vcpus_flags = get_vcpus_flags,
	.domain_has_managed_save_image = has_managed_save,
	.domain_snapshot_num = snapshot_num,
	.domain_list_all_snapshots = list_snapshots,
	.domain_list_all_checkpoints = list_checkpoints,
	.domain_get_job_info = get_job_info,
	.domain_get_control_info = get_control_info,
	.domain_get_job_stats = get_job_stats,
	.domain_get_block_job_info = get_block_job_info,
	.domain_has_current_snapshot = has_current_snapshot,
	.domain_snapshot_list_names = list_snapshot_names,
	.domain_snapshot_lookup_by_name = fail_snapshot,
	.domain_get_iothread_info = get_iothread_info,
	.domain_interface_addresses = interface_addresses,
	.domain_get_messages = get_messages,
};
