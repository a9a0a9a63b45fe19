/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls about where a guest's threads run: <vcpupin> and <emulatorpin>. A definition's pins count
 * from the next start on (src/vmm/affinity.c); those of a running guest are set by lodged itself,
 * noted in its live XML, and told as the kernel has them.
 */
#include "base/number_set.h"
#include "daemon/calls.h"
#include "daemon/store.h"
#include "domain/xml.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ALL_OTHERS (-1) /* in place of a processor's number */

/* One change. */
struct pin {
	int vcpu; /* or ALL_OTHERS */
	struct number_set cpus;
};

static unsigned host_cpus(void)
{
	return MIN(sysconf(_SC_NPROCESSORS_CONF), NUMBER_SET_MAX);
}

/* --- maps of bits --- */

/* False: the call has been failed. What is beyond the host's processors is ignored. */
static bool read_map(struct rpc_call *call, const u8 *map, u32 bytes, struct number_set *cpus)
{
	*cpus = (struct number_set){ 0 };
	for (unsigned cpu = 0; cpu < host_cpus() && cpu / 8 < bytes; cpu++)
		if (map[cpu / 8] >> cpu % 8 & 1)
			cpus->bits[cpu / 64] |= 1ull << cpu % 64;
	if (!number_set_empty(cpus))
		return true;
	rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
		      "none of these processors is there: the host has 0 to %u", host_cpus() - 1);
	return false;
}

/* @cpus, all for an empty set. */
static void write_map(const struct number_set *cpus, u8 *map, size_t bytes)
{
	for (unsigned cpu = 0; cpu < host_cpus() && cpu / 8 < bytes; cpu++)
		if (number_set_empty(cpus) || number_set_has(cpus, cpu))
			map[cpu / 8] |= 1u << cpu % 8;
}

/* --- the XML --- */

static xmlNode *find_vcpupin(const xmlNode *tune, int vcpu)
{
	g_autofree char *number = g_strdup_printf("%d", vcpu);

	xml_for_each(pin, tune, "vcpupin") if (xml_attr_is(pin, "vcpu", number)) return pin;
	return NULL;
}

/* A copy of the definition, or of what runs, with the change; NULL with @error set. */
static struct domain *with_pin(const struct guest *guest, bool live, const struct pin *pin,
			       GError **error)
{
	g_autofree char *text = number_set_format(&pin->cpus);
	struct domain *copy = define_copy(live ? guest->live : guest->config, error);
	xmlNode *tune, *node;

	if (!copy)
		return NULL;
	tune = xml_ensure(xmlDocGetRootElement(copy->doc), "cputune");
	if (pin->vcpu == ALL_OTHERS) {
		node = xml_ensure(tune, "emulatorpin");
	} else {
		node = find_vcpupin(tune, pin->vcpu);
		if (!node)
			node = xml_add(tune, "vcpupin", NULL);
		xml_set(node, "vcpu", "%d", pin->vcpu);
	}
	xml_set(node, "cpuset", "%s", text);
	return live ? define_live_again(copy, error) : define_again(copy, error);
}

/* --- changing --- */

/* Now, with a note of it; false with @error set. */
static bool pin_live(struct guest *guest, const struct pin *pin, GError **error)
{
	struct domain *changed = with_pin(guest, true, pin, error);
	g_autofree char *path = running_path(guest);

	if (!changed)
		return false;
	if (!guest->driver->pin(guest, pin->vcpu, &pin->cpus)) {
		domain_free(changed);
		return daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
				     "cannot pin threads of domain '%s': %s", guest->name,
				     g_strerror(errno));
	}
	domain_free(guest->live);
	guest->live = changed;
	store_write(guest->daemon->store, path, running_text(guest->id, changed), NULL, NULL);
	return true;
}

static void change(struct rpc_call *call, const struct rpc_domain *dom, struct pin *pin,
		   const u8 *map, u32 map_bytes, u32 flags)
{
	struct guest *guest = call_guest(call, dom);
	struct domain *changed = NULL;
	GError *error = NULL;
	bool live, config;

	if (!guest || !call_flags(call, flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG) ||
	    !call_affects(call, guest, flags, &live, &config) ||
	    !read_map(call, map, map_bytes, &pin->cpus))
		return;
	if (pin->vcpu != ALL_OTHERS &&
	    pin->vcpu >= (int)(live ? guest->live : guest->config)->vcpus_current) {
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
			      "domain '%s' has no processor %d", guest->name, pin->vcpu);
		return;
	}
	if (config && !(changed = with_pin(guest, false, pin, &error))) {
		fail_call(call, error);
		return;
	}
	if (live && !pin_live(guest, pin, &error)) {
		domain_free(changed);
		fail_call(call, error);
		return;
	}
	if (!config)
		call_done(guest, NULL, call);
	else if (!define_guest(guest->daemon, changed, define_whose(guest, call_authority(call)),
			       call_done, call, &error))
		fail_call(call, error);
}

static void pin_vcpu_flags(struct rpc_call *call, const struct rpc_domain_pin_vcpu_flags_args *args)
{
	struct pin pin = { .vcpu = MIN(args->vcpu, G_MAXINT) };

	change(call, &args->dom, &pin, args->cpumap.items, args->cpumap.count, args->flags);
}

static void pin_vcpu(struct rpc_call *call, const struct rpc_domain_pin_vcpu_args *args)
{
	struct pin pin = { .vcpu = MIN(args->vcpu, G_MAXINT) };

	change(call, &args->dom, &pin, args->cpumap.items, args->cpumap.count,
	       VIR_DOMAIN_AFFECT_LIVE);
}

static void pin_emulator(struct rpc_call *call, const struct rpc_domain_pin_emulator_args *args)
{
	struct pin pin = { .vcpu = ALL_OTHERS };

	change(call, &args->dom, &pin, args->cpumap.items, args->cpumap.count, args->flags);
}

/* --- telling --- */

/* Where it runs now, or would by its definition. */
static void tell(const struct guest *guest, bool live, int vcpu, u8 *map, size_t bytes)
{
	const struct domain_placement *p = live ? NULL : &guest->config->placement;

	if (live)
		guest->driver->affinity(guest, vcpu, map, bytes);
	else if (vcpu == ALL_OTHERS)
		write_map(&p->others, map, bytes);
	else
		write_map(&p->vcpus[vcpu], map, bytes);
}

/* The guest, and which of its domains is asked about; NULL: the call has been failed. */
static const struct guest *asked(struct rpc_call *call, const struct rpc_domain *dom, u32 flags,
				 bool *live)
{
	const struct guest *guest = call_guest(call, dom);
	bool config;

	if (!guest || !call_flags(call, flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG) ||
	    !call_affects(call, guest, flags, live, &config))
		return NULL;
	*live = !config;
	return guest;
}

static void get_vcpu_pin_info(struct rpc_call *call,
			      const struct rpc_domain_get_vcpu_pin_info_args *args)
{
	struct rpc_domain_get_vcpu_pin_info_ret ret = { 0 };
	size_t bytes = MAX(args->maplen, 0);
	bool live;
	const struct guest *guest = asked(call, &args->dom, args->flags, &live);

	if (!guest)
		return;
	ret.num = MIN((live ? guest->live : guest->config)->vcpus_current,
		      (u32)MAX(args->ncpumaps, 0));
	ret.cpumaps.items = rpc_arena_array(rpc_call_arena(call), ret.num, bytes);
	ret.cpumaps.count = ret.cpumaps.items ? ret.num * bytes : 0;
	for (int i = 0; ret.cpumaps.items && i < ret.num; i++)
		tell(guest, live, i, ret.cpumaps.items + i * bytes, bytes);
	rpc_reply_domain_get_vcpu_pin_info(call, &ret);
}

static void get_emulator_pin_info(struct rpc_call *call,
				  const struct rpc_domain_get_emulator_pin_info_args *args)
{
	struct rpc_domain_get_emulator_pin_info_ret ret = { .ret = 1 };
	size_t bytes = MAX(args->maplen, 0);
	bool live;
	const struct guest *guest = asked(call, &args->dom, args->flags, &live);

	if (!guest)
		return;
	ret.cpumaps.items = rpc_arena_array(rpc_call_arena(call), 1, bytes);
	ret.cpumaps.count = ret.cpumaps.items ? bytes : 0;
	if (ret.cpumaps.items)
		tell(guest, live, ALL_OTHERS, ret.cpumaps.items, bytes);
	rpc_reply_domain_get_emulator_pin_info(call, &ret);
}

const struct rpc_handlers calls_pin = {
	.domain_pin_vcpu = pin_vcpu,
	.domain_pin_vcpu_flags = pin_vcpu_flags,
	.domain_pin_emulator = pin_emulator,
	.domain_get_vcpu_pin_info = get_vcpu_pin_info,
	.domain_get_emulator_pin_info = get_emulator_pin_info,
};
