/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls about what a guest may use of the host: virsh's schedinfo, memtune, blkiotune and numatune.
 * Each is a list of named parameters, which the tables here bind to limits of the domain's XML. A
 * running guest's are changed in its cgroup first (restraint.h) and then noted in its live XML.
 */
#include "daemon/calls.h"
#include "daemon/restraint.h"
#include "daemon/store.h"
#include "domain/tune.h"
#include "domain/xml.h"

#include <string.h>

#define PERIOD_USEC 100000 /* the kernel's, where no period is named */
#define WEIGHT      100

/* One parameter: a limit, or (VIR_TYPED_PARAM_STRING) one of each device. */
struct row {
	const char *field;
	int type;
	unsigned limit; /* enum domain_limit or domain_io_limit */
	s64 otherwise;  /* what a running guest has that names none */
	s64 none;       /* the same for a definition */
};

struct family {
	const struct row *rows;
	unsigned count;
};

static const struct row scheduler_rows[] = {
	{ VIR_DOMAIN_SCHEDULER_CPU_SHARES, VIR_TYPED_PARAM_ULLONG, LIMIT_CPU_SHARES, WEIGHT, 0 },
	{ VIR_DOMAIN_SCHEDULER_VCPU_PERIOD, VIR_TYPED_PARAM_ULLONG, LIMIT_VCPU_PERIOD, PERIOD_USEC,
	  0 },
	{ VIR_DOMAIN_SCHEDULER_VCPU_QUOTA, VIR_TYPED_PARAM_LLONG, LIMIT_VCPU_QUOTA, -1, 0 },
	{ VIR_DOMAIN_SCHEDULER_EMULATOR_PERIOD, VIR_TYPED_PARAM_ULLONG, LIMIT_EMULATOR_PERIOD,
	  PERIOD_USEC, 0 },
	{ VIR_DOMAIN_SCHEDULER_EMULATOR_QUOTA, VIR_TYPED_PARAM_LLONG, LIMIT_EMULATOR_QUOTA, -1, 0 },
	{ VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD, VIR_TYPED_PARAM_ULLONG, LIMIT_GLOBAL_PERIOD,
	  PERIOD_USEC, 0 },
	{ VIR_DOMAIN_SCHEDULER_GLOBAL_QUOTA, VIR_TYPED_PARAM_LLONG, LIMIT_GLOBAL_QUOTA, -1, 0 },
};

static const struct row memory_rows[] = {
	{ VIR_DOMAIN_MEMORY_HARD_LIMIT, VIR_TYPED_PARAM_ULLONG, LIMIT_MEMORY_HARD,
	  DOMAIN_MEMORY_UNLIMITED, DOMAIN_MEMORY_UNLIMITED },
	{ VIR_DOMAIN_MEMORY_SOFT_LIMIT, VIR_TYPED_PARAM_ULLONG, LIMIT_MEMORY_SOFT,
	  DOMAIN_MEMORY_UNLIMITED, DOMAIN_MEMORY_UNLIMITED },
	{ VIR_DOMAIN_MEMORY_SWAP_HARD_LIMIT, VIR_TYPED_PARAM_ULLONG, LIMIT_SWAP_HARD,
	  DOMAIN_MEMORY_UNLIMITED, DOMAIN_MEMORY_UNLIMITED },
};

static const struct row blkio_rows[] = {
	{ VIR_DOMAIN_BLKIO_WEIGHT, VIR_TYPED_PARAM_UINT, LIMIT_IO_WEIGHT, WEIGHT, 0 },
	{ VIR_DOMAIN_BLKIO_DEVICE_WEIGHT, VIR_TYPED_PARAM_STRING, IO_LIMIT_WEIGHT, 0, 0 },
	{ VIR_DOMAIN_BLKIO_DEVICE_READ_IOPS, VIR_TYPED_PARAM_STRING, IO_LIMIT_READ_IOPS, 0, 0 },
	{ VIR_DOMAIN_BLKIO_DEVICE_WRITE_IOPS, VIR_TYPED_PARAM_STRING, IO_LIMIT_WRITE_IOPS, 0, 0 },
	{ VIR_DOMAIN_BLKIO_DEVICE_READ_BPS, VIR_TYPED_PARAM_STRING, IO_LIMIT_READ_BYTES, 0, 0 },
	{ VIR_DOMAIN_BLKIO_DEVICE_WRITE_BPS, VIR_TYPED_PARAM_STRING, IO_LIMIT_WRITE_BYTES, 0, 0 },
};

static const struct family scheduler = { scheduler_rows, ARRAY_LEN(scheduler_rows) };
static const struct family memory = { memory_rows, ARRAY_LEN(memory_rows) };
static const struct family blkio = { blkio_rows, ARRAY_LEN(blkio_rows) };

/* --- telling --- */

/* "PATH,AMOUNT,PATH,AMOUNT" */
static char *device_text(struct rpc_call *call, const struct domain_limits *limits, unsigned limit)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < limits->devices->len; i++) {
		const struct domain_io_device *device = limits->devices->pdata[i];

		if (device->amounts[limit])
			g_string_append_printf(text, "%s%s,%" G_GUINT64_FORMAT,
					       text->len ? "," : "", device->path,
					       device->amounts[limit]);
	}
	return call_text(call, g_string_free(text, FALSE));
}

static void tell(struct rpc_call *call, const struct row *row, const struct domain_limits *limits,
		 bool live, struct rpc_typed_param *param)
{
	s64 amount = row->type == VIR_TYPED_PARAM_STRING ? 0 : limits->amounts[row->limit];

	param->field = (char *)row->field;
	param->value.type = row->type;
	amount = amount ? amount : live ? row->otherwise : row->none;
	if (row->type == VIR_TYPED_PARAM_STRING)
		param->value.s = device_text(call, limits, row->limit);
	else if (row->type == VIR_TYPED_PARAM_UINT)
		param->value.ui = amount;
	else
		param->value.l = amount; /* of a union, and as wide as ul */
}

/* The limits that are asked about; NULL: the call has been failed. */
static const struct domain_limits *asked(struct rpc_call *call, const struct rpc_domain *dom,
					 u32 flags, bool *live)
{
	const struct guest *guest = call_guest(call, dom);
	GError *error = NULL;
	bool config;

	if (!guest ||
	    !call_flags(call, flags,
			VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG |
				VIR_TYPED_PARAM_STRING_OKAY) ||
	    !call_affects(call, guest, flags, live, &config))
		return NULL;
	if (*live && config) {
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
			      "ask for the limits of the running guest or of its definition, not "
			      "both");
		return NULL;
	}
	if (*live && !restraint_check(guest, &error)) {
		fail_call(call, error);
		return NULL;
	}
	return *live ? &guest->live->limits : &guest->config->limits;
}

/* Up to @max parameters, in the call's arena; with 0, *@count is how many there are. */
static struct rpc_typed_param *tell_all(struct rpc_call *call, const struct family *family,
					const struct domain_limits *limits, bool live, u32 flags,
					s32 max, u32 *count)
{
	struct rpc_typed_param *params =
		rpc_arena_array(rpc_call_arena(call), family->count, sizeof(*params));

	*count = 0;
	for (unsigned i = 0; params && i < family->count; i++) {
		const struct row *row = &family->rows[i];

		if (row->type == VIR_TYPED_PARAM_STRING && !(flags & VIR_TYPED_PARAM_STRING_OKAY))
			continue;
		if (!max || *count < (u32)MAX(max, 0))
			tell(call, row, limits, live, &params[(*count)++]);
	}
	return params;
}

static void get_scheduler_type(struct rpc_call *call,
			       const struct rpc_domain_get_scheduler_type_args *args)
{
	const struct rpc_domain_get_scheduler_type_ret ret = { .type = (char *)"posix",
							       .nparams =
								       ARRAY_LEN(scheduler_rows) };

	if (call_guest(call, &args->dom))
		rpc_reply_domain_get_scheduler_type(call, &ret);
}

static void get_scheduler_flags(struct rpc_call *call,
				const struct rpc_domain_get_scheduler_parameters_flags_args *args)
{
	struct rpc_domain_get_scheduler_parameters_flags_ret ret = { 0 };
	bool live;
	const struct domain_limits *limits = asked(call, &args->dom, args->flags, &live);

	if (!limits)
		return;
	ret.params.items = tell_all(call, &scheduler, limits, live, args->flags,
				    MAX(args->nparams, 1), &ret.params.count);
	rpc_reply_domain_get_scheduler_parameters_flags(call, &ret);
}

static void get_scheduler(struct rpc_call *call,
			  const struct rpc_domain_get_scheduler_parameters_args *args)
{
	struct rpc_domain_get_scheduler_parameters_ret ret = { 0 };
	bool live;
	const struct domain_limits *limits = asked(call, &args->dom, 0, &live);

	if (!limits)
		return;
	ret.params.items = tell_all(call, &scheduler, limits, live, 0, MAX(args->nparams, 1),
				    &ret.params.count);
	rpc_reply_domain_get_scheduler_parameters(call, &ret);
}

static void get_memory(struct rpc_call *call,
		       const struct rpc_domain_get_memory_parameters_args *args)
{
	struct rpc_domain_get_memory_parameters_ret ret = { 0 };
	bool live;
	const struct domain_limits *limits = asked(call, &args->dom, args->flags, &live);
	u32 count;

	if (!limits)
		return;
	ret.params.items =
		tell_all(call, &memory, limits, live, args->flags, args->nparams, &count);
	ret.nparams = count;
	ret.params.count = args->nparams ? count : 0;
	rpc_reply_domain_get_memory_parameters(call, &ret);
}

static void get_blkio(struct rpc_call *call,
		      const struct rpc_domain_get_blkio_parameters_args *args)
{
	struct rpc_domain_get_blkio_parameters_ret ret = { 0 };
	bool live;
	const struct domain_limits *limits = asked(call, &args->dom, args->flags, &live);
	u32 count;

	if (!limits)
		return;
	ret.params.items = tell_all(call, &blkio, limits, live, args->flags, args->nparams, &count);
	ret.nparams = count;
	ret.params.count = args->nparams ? count : 0;
	rpc_reply_domain_get_blkio_parameters(call, &ret);
}

/* --- changing --- */

static const struct row *find_row(const struct family *family, const char *field)
{
	for (unsigned i = 0; i < family->count; i++)
		if (!strcmp(family->rows[i].field, field))
			return &family->rows[i];
	return NULL;
}

/* Whole numbers of any type, as some clients have but one. */
static bool read_number(const struct rpc_typed_param_value *value, s64 *amount)
{
	switch (value->type) {
	case VIR_TYPED_PARAM_INT: *amount = value->i; return true;
	case VIR_TYPED_PARAM_UINT: *amount = value->ui; return true;
	case VIR_TYPED_PARAM_LLONG: *amount = value->l; return true;
	case VIR_TYPED_PARAM_ULLONG: *amount = MIN(value->ul, (u64)G_MAXINT64); return true;
	default: return false;
	}
}

/* Is it an amount as the tables know them? Ranges are the XML's to check. */
static bool check_param(const struct family *family, const struct rpc_typed_param *param,
			GError **error)
{
	const struct row *row = find_row(family, param->field);
	s64 amount = 0;

	if (!row)
		return daemon_refuse(error, VIR_ERR_INVALID_ARG, "parameter '%s' not supported",
				     param->field);
	if (row->type == VIR_TYPED_PARAM_STRING ? param->value.type != VIR_TYPED_PARAM_STRING
						: !read_number(&param->value, &amount))
		return daemon_refuse(error, VIR_ERR_INVALID_ARG,
				     "parameter '%s' has a value of another type", param->field);
	if (family == &memory && amount <= 0)
		return daemon_refuse(
			error, VIR_ERR_INVALID_ARG,
			"%s: a guest cannot do without memory; -1 in virsh is no limit",
			param->field);
	return true;
}

static bool set_devices(xmlNode *root, const struct row *row, const char *text, GError **error)
{
	g_auto(GStrv) words = g_strsplit(text, ",", -1);
	guint count = g_strv_length(words);

	if (count % 2)
		return daemon_refuse(error, VIR_ERR_INVALID_ARG,
				     "%s: '%s' is not PATH,AMOUNT and so on", row->field, text);
	for (guint i = 0; i < count; i += 2) {
		guint64 amount;

		if (*words[i] != '/' ||
		    !g_ascii_string_to_unsigned(words[i + 1], 10, 0, G_MAXINT64, &amount, NULL))
			return daemon_refuse(
				error, VIR_ERR_INVALID_ARG,
				"%s: '%s,%s' is not the path of a device and an amount", row->field,
				words[i], words[i + 1]);
		domain_set_io_limit(root, words[i], row->limit, amount);
	}
	return true;
}

/* What is asked for, in the call's arena. */
struct wish {
	struct rpc_call *call;
	const struct family *family;
	const struct rpc_typed_param *params;
	u32 count;
	struct domain *config; /* the definition with it, or NULL */
};

static bool set_param(xmlNode *root, const struct wish *wish, const struct rpc_typed_param *param,
		      GError **error)
{
	const struct row *row = find_row(wish->family, param->field);
	s64 amount = 0;

	if (row->type == VIR_TYPED_PARAM_STRING)
		return set_devices(root, row, param->value.s, error);
	read_number(&param->value, &amount);
	if (wish->family == &memory && (u64)amount >= DOMAIN_MEMORY_UNLIMITED)
		amount = 0;
	domain_set_limit(root, row->limit, amount);
	return true;
}

/* A copy of the definition, or of what runs, with it; NULL with @error set. */
static struct domain *with_wish(const struct guest *guest, bool live, const struct wish *wish,
				GError **error)
{
	struct domain *copy = define_copy(live ? guest->live : guest->config, error);

	for (u32 i = 0; copy && i < wish->count; i++)
		if (!set_param(xmlDocGetRootElement(copy->doc), wish, &wish->params[i], error))
			g_clear_pointer(&copy, domain_free);
	if (!copy)
		return NULL;
	return live ? define_live_again(copy, error) : define_again(copy, error);
}

static void keep_config(struct guest *guest, struct wish *wish)
{
	struct rpc_call *call = wish->call;
	GError *error = NULL;

	if (!wish->config)
		call_done(guest, NULL, call);
	else if (!define_guest(guest->daemon, wish->config,
			       define_whose(guest, call_authority(call)), call_done, call, &error))
		fail_call(call, error);
	g_free(wish);
}

/* What else was changed of the live domain meanwhile stays. */
static bool note_live(struct guest *guest, const struct wish *wish, GError **error)
{
	g_autofree char *path = running_path(guest);
	struct domain *changed = with_wish(guest, true, wish, error);

	if (!changed)
		return false;
	domain_free(guest->live);
	guest->live = changed;
	store_write(guest->daemon->store, path, running_text(guest->id, changed), NULL, NULL);
	return true;
}

static void on_applied(struct guest *guest, const GError *error, void *opaque)
{
	struct wish *wish = opaque;
	GError *ours = error ? g_error_copy(error) : NULL;

	guest->limiting = false;
	if (!ours && note_live(guest, wish, &ours)) {
		keep_config(guest, wish);
		return;
	}
	fail_call(wish->call, ours);
	domain_free(wish->config);
	g_free(wish);
}

static bool apply_live(struct guest *guest, struct wish *wish, GError **error)
{
	struct domain *changed;

	if (!restraint_check(guest, error))
		return false;
	if (guest->limiting)
		return daemon_refuse(error, VIR_ERR_RESOURCE_BUSY,
				     "the limits of domain '%s' are just being changed; try again",
				     guest->name);
	changed = with_wish(guest, true, wish, error);
	if (!changed)
		return false;
	guest->limiting = true;
	restraint_apply(guest, changed, on_applied, wish);
	domain_free(changed);
	return true;
}

static bool try_change(struct guest *guest, struct wish *wish, bool live, bool config,
		       GError **error)
{
	for (u32 i = 0; i < wish->count; i++)
		if (!check_param(wish->family, &wish->params[i], error))
			return false;
	if (config && !(wish->config = with_wish(guest, false, wish, error)))
		return false;
	if (live)
		return apply_live(guest, wish, error);
	keep_config(guest, wish);
	return true;
}

static void change(struct rpc_call *call, const struct rpc_domain *dom, const struct family *family,
		   const struct rpc_typed_param *params, u32 count, u32 flags)
{
	struct guest *guest = call_guest(call, dom);
	GError *error = NULL;
	struct wish *wish;
	bool live, config;

	if (!guest || !call_flags(call, flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG) ||
	    !call_affects(call, guest, flags, &live, &config))
		return;
	wish = g_new0(struct wish, 1);
	*wish = (struct wish){ .call = call, .family = family, .params = params, .count = count };
	if (try_change(guest, wish, live, config, &error))
		return;
	domain_free(wish->config);
	g_free(wish);
	fail_call(call, error);
}

static void set_scheduler_flags(struct rpc_call *call,
				const struct rpc_domain_set_scheduler_parameters_flags_args *args)
{
	change(call, &args->dom, &scheduler, args->params.items, args->params.count, args->flags);
}

static void set_scheduler(struct rpc_call *call,
			  const struct rpc_domain_set_scheduler_parameters_args *args)
{
	change(call, &args->dom, &scheduler, args->params.items, args->params.count, 0);
}

static void set_memory(struct rpc_call *call,
		       const struct rpc_domain_set_memory_parameters_args *args)
{
	change(call, &args->dom, &memory, args->params.items, args->params.count, args->flags);
}

static void set_blkio(struct rpc_call *call,
		      const struct rpc_domain_set_blkio_parameters_args *args)
{
	change(call, &args->dom, &blkio, args->params.items, args->params.count, args->flags);
}

/* --- memory nodes: from the start on, and not changed later --- */

static const char *const numa_modes[] = {
	[VIR_DOMAIN_NUMATUNE_MEM_STRICT] = "strict",
	[VIR_DOMAIN_NUMATUNE_MEM_PREFERRED] = "preferred",
	[VIR_DOMAIN_NUMATUNE_MEM_INTERLEAVE] = "interleave",
	[VIR_DOMAIN_NUMATUNE_MEM_RESTRICTIVE] = "restrictive",
};

static int numa_mode(const struct domain_placement *placement)
{
	for (unsigned i = 0; placement->numa_mode && i < ARRAY_LEN(numa_modes); i++)
		if (!strcmp(numa_modes[i], placement->numa_mode))
			return i;
	return VIR_DOMAIN_NUMATUNE_MEM_STRICT;
}

static void get_numa(struct rpc_call *call, const struct rpc_domain_get_numa_parameters_args *args)
{
	struct rpc_typed_param params[2] = { { .field = (char *)VIR_DOMAIN_NUMA_MODE },
					     { .field = (char *)VIR_DOMAIN_NUMA_NODESET } };
	struct rpc_domain_get_numa_parameters_ret ret = { .params.items = params };
	bool strings = args->flags & VIR_TYPED_PARAM_STRING_OKAY, live, config;
	const struct guest *guest = call_guest(call, &args->dom);
	const struct domain_placement *placement;

	if (!guest ||
	    !call_flags(call, args->flags,
			VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG |
				VIR_TYPED_PARAM_STRING_OKAY) ||
	    !call_affects(call, guest, args->flags, &live, &config))
		return;
	placement = &(config ? guest->config : guest->live)->placement;
	params[0].value.type = VIR_TYPED_PARAM_INT;
	params[0].value.i = numa_mode(placement);
	params[1].value.type = VIR_TYPED_PARAM_STRING;
	params[1].value.s = call_text(call, number_set_format(&placement->nodes));
	ret.nparams = strings ? 2 : 1;
	if (args->nparams)
		ret.params.count = ret.nparams = MIN(ret.nparams, MAX(args->nparams, 0));
	rpc_reply_domain_get_numa_parameters(call, &ret);
}

static bool set_numa_param(xmlNode *node, const struct rpc_typed_param *param, GError **error)
{
	struct number_set nodes;

	if (!strcmp(param->field, VIR_DOMAIN_NUMA_MODE) &&
	    param->value.type == VIR_TYPED_PARAM_INT && param->value.i >= 0 &&
	    param->value.i < (int)ARRAY_LEN(numa_modes))
		xml_set(node, "mode", "%s", numa_modes[param->value.i]);
	else if (!strcmp(param->field, VIR_DOMAIN_NUMA_NODESET) &&
		 param->value.type == VIR_TYPED_PARAM_STRING &&
		 number_set_parse(param->value.s, &nodes))
		xml_set(node, "nodeset", "%s", param->value.s);
	else
		return daemon_refuse(error, VIR_ERR_INVALID_ARG,
				     "parameter '%s' is not known, or has a wrong value",
				     param->field);
	return true;
}

static struct domain *with_numa(const struct guest *guest,
				const struct rpc_domain_set_numa_parameters_args *args,
				GError **error)
{
	struct domain *copy = define_copy(guest->config, error);
	xmlNode *node;

	if (!copy)
		return NULL;
	node = xml_ensure(xml_ensure(xmlDocGetRootElement(copy->doc), "numatune"), "memory");
	for (u32 i = 0; i < args->params.count; i++)
		if (!set_numa_param(node, &args->params.items[i], error)) {
			domain_free(copy);
			return NULL;
		}
	xml_default(node, "mode", "strict");
	return define_again(copy, error);
}

static void set_numa(struct rpc_call *call, const struct rpc_domain_set_numa_parameters_args *args)
{
	struct guest *guest = call_guest(call, &args->dom);
	struct domain *config_domain;
	GError *error = NULL;
	bool live, config;

	if (!guest ||
	    !call_flags(call, args->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG) ||
	    !call_affects(call, guest, args->flags, &live, &config))
		return;
	if (live) {
		rpc_call_fail(call, VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU,
			      "moving the memory of a running guest is not supported in this "
			      "version; --config changes where its next start takes it from");
		return;
	}
	config_domain = with_numa(guest, args, &error);
	if (!config_domain ||
	    !define_guest(guest->daemon, config_domain, define_whose(guest, call_authority(call)),
			  call_done, call, &error))
		fail_call(call, error);
}

const struct rpc_handlers calls_limit = {
	.domain_get_scheduler_type = get_scheduler_type,
	.domain_get_scheduler_parameters = get_scheduler,
	.domain_get_scheduler_parameters_flags = get_scheduler_flags,
	.domain_set_scheduler_parameters = set_scheduler,
	.domain_set_scheduler_parameters_flags = set_scheduler_flags,
	.domain_get_memory_parameters = get_memory,
	.domain_set_memory_parameters = set_memory,
	.domain_get_blkio_parameters = get_blkio,
	.domain_set_blkio_parameters = set_blkio,
	.domain_get_numa_parameters = get_numa,
	.domain_set_numa_parameters = set_numa,
};
