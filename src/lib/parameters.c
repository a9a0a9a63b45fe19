/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Limits of a guest's share of the host, by their names, and where its threads run. See
 * lodge/value.h.
 *
 * The protocol has a pair of calls for each kind, all of one shape. On the wire a value has one of
 * seven types, and the daemon refuses any but its own: who changes a value is asked for its name
 * alone, so the types are taken from what the daemon tells of them.
 */
#include "private.h"

#include <stdlib.h>
#include <string.h>

#define PARAMETERS_MAX 16 /* the protocol's bounds */
#define DISK_MAX       32
#define CPU_BYTES      (1024 / 8) /* of maps of the host's processors */
#define MAPS_MAX       8388608

struct parameters {
	struct rpc_typed_param *items;
	unsigned count;
};

static struct rpc_caller *caller_of(const struct lodge_domain *domain)
{
	return domain_connection(domain)->caller;
}

/* One of the calls that tell parameters: its arguments behind the domain. */
#define ASK_GET(call, ...)                                                                       \
	({                                                                                       \
		struct rpc_domain_get_##call##_args args = { domain_wire(domain), __VA_ARGS__ }; \
		struct rpc_domain_get_##call##_ret ret;                                          \
		bool good = rpc_ask_domain_get_##call(caller_of(domain), &args, &a->arena, &ret, \
						      &a->failure);                              \
                                                                                                 \
		if (good)                                                                        \
			*now = (struct parameters){ ret.params.items, ret.params.count };        \
		good;                                                                            \
	})

static bool ask_get(struct lodge_domain *domain, enum lodge_parameter_kind kind, char *device,
		    unsigned flags, struct asking *a, struct parameters *now)
{
	unsigned text = flags | VIR_TYPED_PARAM_STRING_OKAY;

	switch (kind) {
	case LODGE_PARAMETERS_SCHEDULER:
		return ASK_GET(scheduler_parameters_flags, PARAMETERS_MAX, text);
	case LODGE_PARAMETERS_MEMORY: return ASK_GET(memory_parameters, PARAMETERS_MAX, text);
	case LODGE_PARAMETERS_BLOCK: return ASK_GET(blkio_parameters, PARAMETERS_MAX, text);
	case LODGE_PARAMETERS_NUMA: return ASK_GET(numa_parameters, PARAMETERS_MAX, text);
	case LODGE_PARAMETERS_DISK: return ASK_GET(block_io_tune, device, DISK_MAX, text);
	case LODGE_PARAMETERS_INTERFACE:
		return ASK_GET(interface_parameters, device, PARAMETERS_MAX, text);
	}
	return false;
}

#define ASK_SET(call, ...)                                                                   \
	({                                                                                   \
		struct rpc_domain_set_##call##_args args = { .dom = domain_wire(domain),     \
							     __VA_ARGS__,                    \
							     .flags = flags };               \
                                                                                             \
		args.params.items = to->items;                                               \
		args.params.count = to->count;                                               \
		rpc_ask_domain_set_##call(caller_of(domain), &args, &a->arena, &a->failure); \
	})

static bool ask_set(struct lodge_domain *domain, enum lodge_parameter_kind kind, char *device,
		    unsigned flags, struct asking *a, const struct parameters *to)
{
	switch (kind) {
	case LODGE_PARAMETERS_SCHEDULER: return ASK_SET(scheduler_parameters_flags, .params = {});
	case LODGE_PARAMETERS_MEMORY: return ASK_SET(memory_parameters, .params = {});
	case LODGE_PARAMETERS_BLOCK: return ASK_SET(blkio_parameters, .params = {});
	case LODGE_PARAMETERS_NUMA: return ASK_SET(numa_parameters, .params = {});
	case LODGE_PARAMETERS_DISK: return ASK_SET(block_io_tune, .disk = device);
	case LODGE_PARAMETERS_INTERFACE: return ASK_SET(interface_parameters, .device = device);
	}
	return false;
}

static bool is_kind(enum lodge_parameter_kind kind, const char *device, const char *function)
{
	bool of_device = kind == LODGE_PARAMETERS_DISK || kind == LODGE_PARAMETERS_INTERFACE;

	if ((unsigned)kind <= LODGE_PARAMETERS_INTERFACE && of_device == !!device)
		return true;
	error_set(function, LODGE_ERR_INVALID_ARG, NULL,
		  (unsigned)kind > LODGE_PARAMETERS_INTERFACE ? "there is no kind %d of parameters"
							      : "parameters of kind %d: a device "
								"is named for those of disks and "
								"interfaces alone",
		  kind);
	return false;
}

LODGE_PUBLIC struct lodge_value *lodge_domain_parameters(struct lodge_domain *domain,
							 enum lodge_parameter_kind kind,
							 const char *device, unsigned flags)
{
	struct lodge_value *values = NULL;
	struct parameters now;
	struct asking a = {};
	bool good;

	if (!is_kind(kind, device, __func__))
		return NULL;
	good = ask_get(domain, kind, (char *)device, flags, &a, &now);
	if (good)
		values = values_of_params(now.items, now.count);
	asked(&a, good, __func__);
	return values;
}

/* --- changes --- */

static const struct rpc_typed_param *find(const struct parameters *now, const char *name)
{
	for (unsigned i = 0; i < now->count; i++)
		if (!strcmp(now->items[i].field, name))
			return &now->items[i];
	return NULL;
}

static int64_t as_signed(const struct lodge_value *value)
{
	return value->kind == LODGE_VALUE_SIGNED ? value->signed_number : value->unsigned_number;
}

static uint64_t as_unsigned(const struct lodge_value *value)
{
	return value->kind == LODGE_VALUE_SIGNED ? value->signed_number : value->unsigned_number;
}

/* False: @value does not fit the type that the parameter has. */
static bool convert(const struct lodge_value *value, const struct rpc_typed_param *like,
		    struct rpc_typed_param *to)
{
	bool number = value->kind == LODGE_VALUE_SIGNED || value->kind == LODGE_VALUE_UNSIGNED ||
		      value->kind == LODGE_VALUE_BOOLEAN;

	*to = (struct rpc_typed_param){ like->field, { .type = like->value.type } };
	switch (like->value.type) {
	case VIR_TYPED_PARAM_INT:
		to->value.i = as_signed(value);
		return number && to->value.i == as_signed(value);
	case VIR_TYPED_PARAM_UINT:
		to->value.ui = as_unsigned(value);
		return number && to->value.ui == as_unsigned(value);
	case VIR_TYPED_PARAM_LLONG: to->value.l = as_signed(value); return number;
	case VIR_TYPED_PARAM_ULLONG: to->value.ul = as_unsigned(value); return number;
	case VIR_TYPED_PARAM_BOOLEAN: to->value.b = !!as_unsigned(value); return number;
	case VIR_TYPED_PARAM_DOUBLE:
		to->value.d = value->kind == LODGE_VALUE_REAL ? value->real : as_signed(value);
		return number || value->kind == LODGE_VALUE_REAL;
	default: to->value.s = value->text; return value->kind == LODGE_VALUE_TEXT && value->text;
	}
}

static bool convert_all(const struct lodge_value *values, const struct parameters *now,
			struct parameters *to, const char *function)
{
	for (const struct lodge_value *value = values; value->name; value++) {
		const struct rpc_typed_param *like = find(now, value->name);

		if (like && to->count < DISK_MAX && convert(value, like, &to->items[to->count++]))
			continue;
		error_set(function, LODGE_ERR_INVALID_ARG, NULL,
			  like ? "'%s' is not of that kind" : "there is no parameter '%s'",
			  value->name);
		return false;
	}
	return true;
}

LODGE_PUBLIC int lodge_domain_set_parameters(struct lodge_domain *domain,
					     enum lodge_parameter_kind kind, const char *device,
					     const struct lodge_value *values, unsigned flags)
{
	const unsigned both = LODGE_AFFECT_LIVE | LODGE_AFFECT_DEFINITION;
	struct rpc_typed_param items[DISK_MAX];
	struct parameters now, to = { items, 0 };
	struct asking a = {};
	bool good;

	if (!is_kind(kind, device, __func__))
		return -1;
	good = ask_get(domain, kind, (char *)device,
		       flags == both ? LODGE_AFFECT_DEFINITION : flags, &a, &now);
	if (good && !convert_all(values, &now, &to, __func__)) {
		rpc_arena_clear(&a.arena);
		return -1;
	}
	good = good && ask_set(domain, kind, (char *)device, flags, &a, &to);
	return asked(&a, good, __func__);
}

/* --- where threads run --- */

LODGE_PUBLIC int lodge_domain_pin_vcpu(struct lodge_domain *domain, int vcpu, const uint8_t *cpus,
				       size_t bytes, unsigned flags)
{
	struct rpc_domain_pin_vcpu_flags_args one = { .dom = domain_wire(domain),
						      .vcpu = vcpu,
						      .flags = flags };
	struct rpc_domain_pin_emulator_args rest = { .dom = domain_wire(domain), .flags = flags };
	struct asking a = {};

	one.cpumap.items = rest.cpumap.items = (u8 *)cpus;
	one.cpumap.count = rest.cpumap.count = bytes;
	return asked(&a,
		     vcpu < 0 ? rpc_ask_domain_pin_emulator(caller_of(domain), &rest, &a.arena,
							    &a.failure)
			      : rpc_ask_domain_pin_vcpu_flags(caller_of(domain), &one, &a.arena,
							      &a.failure),
		     __func__);
}

static uint8_t *copy_maps(const u8 *maps, size_t bytes)
{
	uint8_t *copy = calloc(bytes + 1, 1);

	if (copy && bytes)
		memcpy(copy, maps, bytes);
	return copy;
}

LODGE_PUBLIC uint8_t *lodge_domain_vcpu_pins(struct lodge_domain *domain, unsigned *count,
					     size_t *bytes, unsigned flags)
{
	struct rpc_domain_get_vcpu_pin_info_args args = { .dom = domain_wire(domain),
							  .maplen = CPU_BYTES,
							  .flags = flags };
	int vcpus = lodge_domain_vcpus(domain, flags | LODGE_AFFECT_MAXIMUM);
	struct rpc_domain_get_vcpu_pin_info_ret ret;
	struct asking a = {};
	uint8_t *maps = NULL;
	bool good;

	if (vcpus < 0)
		return NULL;
	args.ncpumaps = MIN(vcpus, MAPS_MAX / CPU_BYTES);
	good = rpc_ask_domain_get_vcpu_pin_info(caller_of(domain), &args, &a.arena, &ret,
						&a.failure);
	if (good) {
		*count = MIN((unsigned)MAX(ret.num, 0), ret.cpumaps.count / CPU_BYTES);
		*bytes = CPU_BYTES;
		maps = copy_maps(ret.cpumaps.items, (size_t)*count * CPU_BYTES);
	}
	asked(&a, good, __func__);
	return maps;
}

LODGE_PUBLIC uint8_t *lodge_domain_emulator_pin(struct lodge_domain *domain, size_t *bytes,
						unsigned flags)
{
	struct rpc_domain_get_emulator_pin_info_args args = { domain_wire(domain), CPU_BYTES,
							      flags };
	struct rpc_domain_get_emulator_pin_info_ret ret;
	struct asking a = {};
	uint8_t *map = NULL;
	bool good = rpc_ask_domain_get_emulator_pin_info(caller_of(domain), &args, &a.arena, &ret,
							 &a.failure);

	if (good) {
		*bytes = ret.cpumaps.count;
		map = copy_maps(ret.cpumaps.items, *bytes);
	}
	asked(&a, good, __func__);
	return map;
}
