/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls that change amounts in a domain's definition, and its name: memory, processors. A running
 * guest gives back memory by its balloon, and keeps the processors it has.
 */
#include "daemon/calls.h"
#include "domain/xml.h"

/* Which of the two is meant; false: the call has been failed, as the running one cannot be changed.
 */
static bool check_target(struct rpc_call *call, const struct guest *guest, u32 flags,
			 const char *what)
{
	bool live, config;

	if (!call_affects(call, guest, flags, &live, &config))
		return false;
	if (live)
		rpc_call_fail(
			call, VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU,
			"changing the %s of domain '%s' while it runs is not in this version; "
			"--config changes them from its next start on",
			what, guest->name);
	return !live;
}

/* Takes over @config, the definition with the change; NULL: it is none, as @error says. */
static void keep(struct rpc_call *call, struct guest *guest, struct domain *config, GError *error)
{
	if (!config ||
	    !define_guest(guest->daemon, config, define_whose(guest, call_authority(call)),
			  call_done, call, &error))
		fail_call(call, error);
}

/* --- memory --- */

static void set_kib(xmlNode *root, const char *element, u64 kib)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, kib);
	xmlNode *node = xml_ensure(root, element);

	xml_set_text(node, text);
	xml_set(node, "unit", "KiB");
}

static struct domain *with_memory(const struct guest *guest, u64 kib, bool maximum, GError **error)
{
	struct domain *copy = define_copy(guest->config, error);
	xmlNode *root = copy ? xmlDocGetRootElement(copy->doc) : NULL;

	if (!copy)
		return NULL;
	if (maximum)
		set_kib(root, "memory", kib);
	if (!maximum || kib < copy->current_kib)
		set_kib(root, "currentMemory", kib);
	return define_again(copy, error);
}

/* A change of the definition that is followed by one of the running guest. */
struct both {
	struct rpc_call *call;
	u64 kib;
};

static void set_live(struct rpc_call *call, struct guest *guest, u64 kib)
{
	GError *error = NULL;

	if (!guest_set_memory(guest, kib, call_done, call, &error))
		fail_call(call, error);
}

static void config_done(struct guest *guest, const GError *error, void *opaque)
{
	struct both *both = opaque;

	if (error)
		fail_call(both->call, g_error_copy(error));
	else
		set_live(both->call, guest, both->kib);
	g_free(both);
}

static void set_config(struct rpc_call *call, struct guest *guest, u64 kib, bool maximum, bool live)
{
	struct both *both = g_new(struct both, 1);
	GError *error = NULL;
	struct domain *config;

	*both = (struct both){ call, kib };
	config = with_memory(guest, kib, maximum, &error);
	if (config &&
	    define_guest(guest->daemon, config, define_whose(guest, call_authority(call)),
			 live ? config_done : call_done, live ? (void *)both : call, &error)) {
		if (!live)
			g_free(both);
		return;
	}
	g_free(both);
	fail_call(call, error);
}

static void set_memory(struct rpc_call *call, const struct rpc_domain *dom, u64 kib, u32 flags)
{
	struct guest *guest = call_guest(call, dom);
	bool maximum = flags & VIR_DOMAIN_MEM_MAXIMUM, live, config;

	if (!guest)
		return;
	live = (flags & VIR_DOMAIN_AFFECT_LIVE) ||
	       (!(flags & VIR_DOMAIN_AFFECT_CONFIG) && guest_is_active(guest));
	config = (flags & VIR_DOMAIN_AFFECT_CONFIG) || !live;
	if (live && !maximum && !config) {
		set_live(call, guest, kib);
		return;
	}
	if (!check_target(call, guest,
			  maximum ? flags
				  : (flags & ~VIR_DOMAIN_AFFECT_LIVE) | VIR_DOMAIN_AFFECT_CONFIG,
			  "maximum memory"))
		return;
	if (!kib || kib > G_MAXINT64 / KIB || (!maximum && kib > guest->config->memory_kib)) {
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
			      "%" G_GUINT64_FORMAT
			      " KiB is no amount of memory for domain '%s': at least one, and not "
			      "more than its maximum, which is %" G_GUINT64_FORMAT " KiB",
			      kib, guest->name, guest->config->memory_kib);
		return;
	}
	if (live && !guest_is_active(guest))
		check_target(call, guest, VIR_DOMAIN_AFFECT_LIVE, ""); /* says so */
	else
		set_config(call, guest, kib, maximum, live);
}

static void set_memory_flags(struct rpc_call *call,
			     const struct rpc_domain_set_memory_flags_args *args)
{
	if (call_flags(call, args->flags,
		       VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_DOMAIN_MEM_MAXIMUM))
		set_memory(call, &args->dom, args->memory, args->flags);
}

/* The calls of old: of the running guest, and of either. */
static void set_memory_live(struct rpc_call *call, const struct rpc_domain_set_memory_args *args)
{
	set_memory(call, &args->dom, args->memory, VIR_DOMAIN_AFFECT_LIVE);
}

static void set_max_memory(struct rpc_call *call, const struct rpc_domain_set_max_memory_args *args)
{
	set_memory(call, &args->dom, args->memory, VIR_DOMAIN_MEM_MAXIMUM);
}

/* --- processors --- */

static struct domain *with_vcpus(const struct guest *guest, unsigned count, bool maximum,
				 GError **error)
{
	struct domain *copy = define_copy(guest->config, error);
	xmlNode *vcpu = copy ? xml_ensure(xmlDocGetRootElement(copy->doc), "vcpu") : NULL;
	unsigned most, current;

	if (!copy)
		return NULL;
	most = maximum ? count : copy->vcpus;
	current = maximum ? MIN(count, copy->vcpus_current) : count;
	if (maximum && copy->vcpus_current == copy->vcpus)
		current = most; /* all there were, all there are */
	if (maximum) {
		g_autofree char *text = g_strdup_printf("%u", most);

		xml_set_text(vcpu, text);
	}
	if (current == most)
		xml_unset(vcpu, "current");
	else
		xml_set(vcpu, "current", "%u", current);
	return define_again(copy, error);
}

static void set_vcpus(struct rpc_call *call, const struct rpc_domain *dom, u32 count, u32 flags)
{
	struct guest *guest = call_guest(call, dom);
	bool maximum = flags & VIR_DOMAIN_VCPU_MAXIMUM;
	GError *error = NULL;
	struct domain *config;
	u32 most;

	if (!guest || !check_target(call, guest, flags, "processors"))
		return;
	most = maximum ? DOMAIN_VCPUS_MAX : guest->config->vcpus;
	if (!count || count > most) {
		rpc_call_fail(
			call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
			"domain '%s' cannot have %u processors: at least one, and not more than "
			"%u",
			guest->name, count, most);
		return;
	}
	config = with_vcpus(guest, count, maximum, &error);
	keep(call, guest, config, error);
}

static void set_vcpus_flags(struct rpc_call *call,
			    const struct rpc_domain_set_vcpus_flags_args *args)
{
	if (args->flags & VIR_DOMAIN_VCPU_GUEST)
		rpc_call_fail(call, VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU,
			      "guest agents, which --guest is for, are not asked in this version");
	else if (args->flags & VIR_DOMAIN_VCPU_HOTPLUGGABLE)
		rpc_call_fail(call, VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU,
			      "processors that a running guest could lose, which --hotpluggable is "
			      "for, are not in this version; leave it out");
	else if (call_flags(call, args->flags,
			    VIR_DOMAIN_VCPU_LIVE | VIR_DOMAIN_VCPU_CONFIG |
				    VIR_DOMAIN_VCPU_MAXIMUM))
		set_vcpus(call, &args->dom, args->nvcpus, args->flags);
}

static void set_vcpus_live(struct rpc_call *call, const struct rpc_domain_set_vcpus_args *args)
{
	set_vcpus(call, &args->dom, args->nvcpus, VIR_DOMAIN_AFFECT_LIVE);
}

/* --- what becomes of it when it ends --- */

static void set_lifecycle_action(struct rpc_call *call,
				 const struct rpc_domain_set_lifecycle_action_args *args)
{
	static const char *const elements[] = {
		[VIR_DOMAIN_LIFECYCLE_POWEROFF] = "on_poweroff",
		[VIR_DOMAIN_LIFECYCLE_REBOOT] = "on_reboot",
		[VIR_DOMAIN_LIFECYCLE_CRASH] = "on_crash",
	};
	static const char *const actions[] = {
		[VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY] = "destroy",
		[VIR_DOMAIN_LIFECYCLE_ACTION_RESTART] = "restart",
		[VIR_DOMAIN_LIFECYCLE_ACTION_RESTART_RENAME] = "rename-restart",
		[VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE] = "preserve",
		[VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_DESTROY] = "coredump-destroy",
		[VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_RESTART] = "coredump-restart",
	};
	struct guest *guest;
	GError *error = NULL;
	struct domain *copy;

	if (!call_flags(call, args->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG) ||
	    !(guest = call_guest(call, &args->dom)) ||
	    !check_target(call, guest, args->flags, "end"))
		return;
	if (args->type >= ARRAY_LEN(elements) || args->action >= ARRAY_LEN(actions)) {
		rpc_call_fail(
			call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
			"there is no such end of a domain, or nothing that could become of it");
		return;
	}
	copy = define_copy(guest->config, &error);
	if (copy) {
		xml_set_text(xml_ensure(xmlDocGetRootElement(copy->doc), elements[args->type]),
			     actions[args->action]);
		copy = define_again(copy, &error);
	}
	keep(call, guest, copy, error);
}

/* --- the name --- */

static void done_rename(struct guest *guest, const GError *error, void *call)
{
	const struct rpc_domain_rename_ret ret = { .retcode = 0 };

	if (error)
		fail_call(call, g_error_copy(error));
	else
		rpc_reply_domain_rename(call, &ret);
}

static void rename_domain(struct rpc_call *call, const struct rpc_domain_rename_args *args)
{
	struct guest *guest;
	GError *error = NULL;

	if (!call_flags(call, args->flags, 0) || !(guest = call_guest(call, &args->dom)))
		return;
	if (!args->new_name || !*args->new_name)
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
			      "a domain needs a name of at least one letter");
	else if (!define_rename(guest, args->new_name, call_authority(call), done_rename, call,
				&error))
		fail_call(call, error);
}

const struct rpc_handlers calls_tune = {
	.domain_set_memory_flags = set_memory_flags,
	.domain_set_memory = set_memory_live,
	.domain_set_max_memory = set_max_memory,
	.domain_set_vcpus_flags = set_vcpus_flags,
	.domain_set_vcpus = set_vcpus_live,
	.domain_set_lifecycle_action = set_lifecycle_action,
	.domain_rename = rename_domain,
};
