/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What else there is to ask of a guest, and to press. See lodge/domain.h and lodge/value.h. */
#include "private.h"

#include <stdlib.h>
#include <string.h>

#define ERRORS_MAX 256 /* the protocol's bound */

static struct rpc_caller *caller_of(const struct lodge_domain *domain)
{
	return domain_connection(domain)->caller;
}

LODGE_PUBLIC int lodge_domain_control(struct lodge_domain *domain, struct lodge_control *control,
				      unsigned flags)
{
	struct rpc_domain_get_control_info_args args = { domain_wire(domain), flags };
	struct rpc_domain_get_control_info_ret ret;
	struct asking a = {};

	if (asked(&a,
		  rpc_ask_domain_get_control_info(caller_of(domain), &args, &a.arena, &ret,
						  &a.failure),
		  __func__))
		return -1;
	*control = (struct lodge_control){ ret.state, ret.details, ret.stateTime };
	return 0;
}

LODGE_PUBLIC struct lodge_value *lodge_domain_job(struct lodge_domain *domain, int *type,
						  unsigned flags)
{
	struct rpc_domain_get_job_stats_args args = { domain_wire(domain), flags };
	struct rpc_domain_get_job_stats_ret ret;
	struct lodge_value *values = NULL;
	struct asking a = {};
	bool good =
		rpc_ask_domain_get_job_stats(caller_of(domain), &args, &a.arena, &ret, &a.failure);

	if (good) {
		*type = ret.type;
		values = values_of_params(ret.params.items, ret.params.count);
	}
	asked(&a, good, __func__);
	return values;
}

LODGE_PUBLIC struct lodge_iothread *lodge_domain_iothreads(struct lodge_domain *domain,
							   unsigned *count, unsigned flags)
{
	struct rpc_domain_get_iothread_info_args args = { domain_wire(domain), flags };
	struct rpc_domain_get_iothread_info_ret ret;
	struct lodge_iothread *threads = NULL;
	struct asking a = {};
	bool good = rpc_ask_domain_get_iothread_info(caller_of(domain), &args, &a.arena, &ret,
						     &a.failure);

	if (good) {
		*count = ret.info.count;
		threads = g_new0(struct lodge_iothread, *count + 1);
		for (unsigned i = 0; i < *count; i++) {
			const struct rpc_domain_iothread_info *info = &ret.info.items[i];

			threads[i] = (struct lodge_iothread){ info->iothread_id,
							      g_memdup2(info->cpumap.items,
									info->cpumap.count),
							      info->cpumap.count };
		}
	}
	asked(&a, good, __func__);
	return threads;
}

LODGE_PUBLIC void lodge_iothreads_free(struct lodge_iothread *threads, unsigned count)
{
	for (unsigned i = 0; threads && i < count; i++)
		g_free(threads[i].map);
	g_free(threads);
}

LODGE_PUBLIC struct lodge_disk_error *lodge_domain_disk_errors(struct lodge_domain *domain,
							       unsigned *count, unsigned flags)
{
	struct rpc_domain_get_disk_errors_args args = { domain_wire(domain), ERRORS_MAX, flags };
	struct rpc_domain_get_disk_errors_ret ret;
	struct lodge_disk_error *errors = NULL;
	struct asking a = {};
	bool good = rpc_ask_domain_get_disk_errors(caller_of(domain), &args, &a.arena, &ret,
						   &a.failure);

	if (good) {
		*count = ret.errors.count;
		errors = calloc(*count + 1, sizeof(*errors));
		for (unsigned i = 0; i < *count; i++) {
			g_strlcpy(errors[i].disk, ret.errors.items[i].disk, sizeof(errors[i].disk));
			errors[i].error = ret.errors.items[i].error;
		}
	}
	asked(&a, good, __func__);
	return errors;
}

/* A row for each address; of a card without one, one row without. */
LODGE_PUBLIC struct lodge_address *lodge_domain_addresses(struct lodge_domain *domain,
							  enum lodge_address_source source,
							  unsigned *count, unsigned flags)
{
	struct rpc_domain_interface_addresses_args args = { domain_wire(domain), source, flags };
	struct rpc_domain_interface_addresses_ret ret;
	struct lodge_address *rows = NULL;
	struct asking a = {};
	unsigned n = 0;
	bool good = rpc_ask_domain_interface_addresses(caller_of(domain), &args, &a.arena, &ret,
						       &a.failure);

	for (unsigned i = 0; good && i < ret.ifaces.count; i++)
		n += MAX(ret.ifaces.items[i].addrs.count, 1);
	if (good)
		rows = calloc(n + 1, sizeof(*rows));
	n = 0;
	for (unsigned i = 0; rows && i < ret.ifaces.count; i++) {
		const struct rpc_domain_interface *card = &ret.ifaces.items[i];
		unsigned addresses = card->addrs.count;

		for (unsigned j = 0; j < MAX(addresses, 1); j++, n++) {
			g_strlcpy(rows[n].interface, card->name, sizeof(rows[n].interface));
			g_strlcpy(rows[n].mac, card->hwaddr ? card->hwaddr : "",
				  sizeof(rows[n].mac));
			if (j == addresses)
				continue;
			rows[n].type = card->addrs.items[j].type;
			rows[n].prefix = card->addrs.items[j].prefix;
			g_strlcpy(rows[n].address, card->addrs.items[j].addr,
				  sizeof(rows[n].address));
		}
	}
	*count = n;
	asked(&a, good, __func__);
	return rows;
}

/* The protocol asks twice: first with @nparams 0 how many there are. */
LODGE_PUBLIC struct lodge_value *lodge_domain_cpu_values(struct lodge_domain *domain,
							 unsigned flags)
{
	struct rpc_domain_get_cpu_stats_args args = { domain_wire(domain), 0, -1, 1, flags };
	struct rpc_domain_get_cpu_stats_ret ret;
	struct lodge_value *values = NULL;
	struct asking a = {};
	bool good =
		rpc_ask_domain_get_cpu_stats(caller_of(domain), &args, &a.arena, &ret, &a.failure);

	args.nparams = good ? ret.nparams : 0;
	good = good &&
	       rpc_ask_domain_get_cpu_stats(caller_of(domain), &args, &a.arena, &ret, &a.failure);
	if (good)
		values = values_of_params(ret.params.items, ret.params.count);
	asked(&a, good, __func__);
	return values;
}

LODGE_PUBLIC int lodge_domain_inject_nmi(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_inject_nmi_args args = { domain_wire(domain), flags };
	struct asking a = {};

	return asked(&a, rpc_ask_domain_inject_nmi(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_send_keys(struct lodge_domain *domain, enum lodge_codeset codeset,
					unsigned hold_ms, const unsigned *keys, unsigned count,
					unsigned flags)
{
	struct rpc_domain_send_key_args args = {
		.dom = domain_wire(domain), .codeset = codeset, .holdtime = hold_ms, .flags = flags
	};
	struct asking a = {};

	args.keycodes.items = (u32 *)keys;
	args.keycodes.count = count;
	return asked(&a, rpc_ask_domain_send_key(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_attach_device(struct lodge_domain *domain, const char *xml,
					    unsigned flags)
{
	struct rpc_domain_attach_device_flags_args args = { domain_wire(domain), (char *)xml,
							    flags };
	struct asking a = {};

	return asked(
		&a,
		rpc_ask_domain_attach_device_flags(caller_of(domain), &args, &a.arena, &a.failure),
		__func__);
}

LODGE_PUBLIC int lodge_domain_detach_device(struct lodge_domain *domain, const char *xml,
					    unsigned flags)
{
	struct rpc_domain_detach_device_flags_args args = { domain_wire(domain), (char *)xml,
							    flags };
	struct asking a = {};

	return asked(
		&a,
		rpc_ask_domain_detach_device_flags(caller_of(domain), &args, &a.arena, &a.failure),
		__func__);
}

LODGE_PUBLIC int lodge_domain_update_device(struct lodge_domain *domain, const char *xml,
					    unsigned flags)
{
	struct rpc_domain_update_device_flags_args args = { domain_wire(domain), (char *)xml,
							    flags };
	struct asking a = {};

	return asked(
		&a,
		rpc_ask_domain_update_device_flags(caller_of(domain), &args, &a.arena, &a.failure),
		__func__);
}

LODGE_PUBLIC int lodge_domain_detach_device_alias(struct lodge_domain *domain, const char *alias,
						  unsigned flags)
{
	struct rpc_domain_detach_device_alias_args args = { domain_wire(domain), (char *)alias,
							    flags };
	struct asking a = {};

	return asked(
		&a,
		rpc_ask_domain_detach_device_alias(caller_of(domain), &args, &a.arena, &a.failure),
		__func__);
}

LODGE_PUBLIC int lodge_domain_set_lifecycle(struct lodge_domain *domain,
					    enum lodge_lifecycle lifecycle,
					    enum lodge_lifecycle_action action, unsigned flags)
{
	struct rpc_domain_set_lifecycle_action_args args = { domain_wire(domain), lifecycle, action,
							     flags };
	struct asking a = {};

	return asked(
		&a,
		rpc_ask_domain_set_lifecycle_action(caller_of(domain), &args, &a.arena, &a.failure),
		__func__);
}
