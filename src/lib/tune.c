/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is changed of guests beside their life. See lodge/domain.h. */
#include "private.h"

#include <stdlib.h>
#include <string.h>

static struct rpc_caller *caller_of(const struct lodge_domain *domain)
{
	return domain_connection(domain)->caller;
}

LODGE_PUBLIC int lodge_domain_set_memory(struct lodge_domain *domain, uint64_t kib, unsigned flags)
{
	struct rpc_domain_set_memory_flags_args args = { domain_wire(domain), kib, flags };
	struct asking a = {};

	return asked(
		&a, rpc_ask_domain_set_memory_flags(caller_of(domain), &args, &a.arena, &a.failure),
		__func__);
}

LODGE_PUBLIC int lodge_domain_set_vcpus(struct lodge_domain *domain, unsigned count, unsigned flags)
{
	struct rpc_domain_set_vcpus_flags_args args = { domain_wire(domain), count, flags };
	struct asking a = {};

	return asked(&a,
		     rpc_ask_domain_set_vcpus_flags(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_vcpus(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_get_vcpus_flags_args args = { domain_wire(domain), flags };
	struct rpc_domain_get_vcpus_flags_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_domain_get_vcpus_flags(caller_of(domain), &args, &a.arena, &ret,
						    &a.failure),
		     __func__)
		       ? -1
		       : ret.num;
}

LODGE_PUBLIC char *lodge_domain_metadata(struct lodge_domain *domain, enum lodge_metadata_kind kind,
					 const char *uri, unsigned flags)
{
	struct rpc_domain_get_metadata_args args = { domain_wire(domain), kind, (char *)uri,
						     flags };
	struct rpc_domain_get_metadata_ret ret;
	struct asking a = {};

	return asked_string(
		&a,
		rpc_ask_domain_get_metadata(caller_of(domain), &args, &a.arena, &ret, &a.failure),
		&ret.metadata, __func__);
}

LODGE_PUBLIC int lodge_domain_set_metadata(struct lodge_domain *domain,
					   enum lodge_metadata_kind kind, const char *text,
					   const char *key, const char *uri, unsigned flags)
{
	struct rpc_domain_set_metadata_args args = { domain_wire(domain), kind,        (char *)text,
						     (char *)key,         (char *)uri, flags };
	struct asking a = {};

	return asked(&a,
		     rpc_ask_domain_set_metadata(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_rename(struct lodge_domain *domain, const char *name, unsigned flags)
{
	struct rpc_domain_rename_args args = { domain_wire(domain), (char *)name, flags };
	struct rpc_domain_rename_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_domain_rename(caller_of(domain), &args, &a.arena, &ret, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_disk_info(struct lodge_domain *domain, const char *disk,
					struct lodge_disk_info *info, unsigned flags)
{
	struct rpc_domain_get_block_info_args args = { domain_wire(domain), (char *)disk, flags };
	struct rpc_domain_get_block_info_ret ret;
	struct asking a = {};

	if (asked(&a,
		  rpc_ask_domain_get_block_info(caller_of(domain), &args, &a.arena, &ret,
						&a.failure),
		  __func__))
		return -1;
	*info = (struct lodge_disk_info){ ret.capacity, ret.allocation, ret.physical };
	return 0;
}

LODGE_PUBLIC struct lodge_vcpu *lodge_domain_vcpu_list(struct lodge_domain *domain, unsigned *count,
						       unsigned flags)
{
	struct rpc_domain_get_vcpus_args args = { domain_wire(domain) };
	struct rpc_domain_get_vcpus_ret ret;
	struct lodge_vcpu *vcpus = NULL;
	struct asking a = {};
	bool good;
	int max;

	if (!flags_none(flags, __func__))
		return NULL;
	max = lodge_domain_vcpus(domain, 0);
	if (max < 0)
		return NULL;
	args.maxinfo = max;
	good = rpc_ask_domain_get_vcpus(caller_of(domain), &args, &a.arena, &ret, &a.failure);
	if (good) {
		*count = ret.info.count;
		vcpus = calloc(*count + 1, sizeof(*vcpus));
		for (unsigned i = 0; i < *count; i++)
			vcpus[i] =
				(struct lodge_vcpu){ ret.info.items[i].number,
						     ret.info.items[i].state, ret.info.items[i].cpu,
						     ret.info.items[i].cpu_time };
	}
	asked(&a, good, __func__);
	return vcpus;
}

LODGE_PUBLIC char *lodge_domain_monitor_command(struct lodge_domain *domain, const char *command,
						unsigned flags)
{
	struct rpc_qemu_domain_monitor_command_args args = { domain_wire(domain), (char *)command,
							     flags };
	struct rpc_qemu_domain_monitor_command_ret ret;
	struct asking a = {};

	return asked_string(&a,
			    rpc_ask_qemu_domain_monitor_command(caller_of(domain), &args, &a.arena,
								&ret, &a.failure),
			    &ret.result, __func__);
}

LODGE_PUBLIC char **lodge_domain_messages(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_get_messages_args args = { domain_wire(domain), flags };
	struct rpc_domain_get_messages_ret ret;
	struct asking a = {};
	char **messages = NULL;
	bool good =
		rpc_ask_domain_get_messages(caller_of(domain), &args, &a.arena, &ret, &a.failure);

	if (good) {
		messages = g_new0(char *, ret.msgs.count + 1);
		for (unsigned i = 0; i < ret.msgs.count; i++)
			messages[i] = g_strdup(ret.msgs.items[i]);
	}
	asked(&a, good, __func__);
	return messages;
}

LODGE_PUBLIC void lodge_messages_free(char **messages)
{
	g_strfreev(messages);
}
