/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Building a machine as a plan says. See assemble.h.
 */
#include "vmm/assemble.h"

#include "accel/accel.h"
#include "block/block.h"
#include "console/console.h"
#include "device/types.h"
#include "machine/board.h"
#include "machine/vm.h"
#include "net/net.h"

#include <errno.h>
#include <string.h>

static const struct accel *const engines[] = { &accel_kvm, &accel_soft };

const struct accel *engine_find(const char *name, GError **error)
{
	for (unsigned i = 0; i < ARRAY_LEN(engines); i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i]->probe(error) ? NULL : engines[i];
	g_set_error(error, PLAN_ERROR, ENOTSUP, "the engine '%s' is not in this version", name);
	return NULL;
}

/* Backends: their ids are parallel to the arrays of what they opened. */
struct opened {
	const char *id;
	void *backend;
};

static void remember(GPtrArray *list, const char *id, void *backend)
{
	struct opened *o = g_new(struct opened, 1);

	*o = (struct opened){ id, backend };
	g_ptr_array_add(list, o);
}

static void *find_opened(GPtrArray *list, const char *id)
{
	for (guint i = 0; i < list->len; i++) {
		const struct opened *o = g_ptr_array_index(list, i);

		if (!strcmp(o->id, id))
			return o->backend;
	}
	return NULL;
}

static int need_fd(const struct plan_backend *b, GError **error)
{
	if (b->fd >= 0)
		return 0;
	g_set_error(error, PLAN_ERROR, EINVAL, "plan: backend '%s' lacks its descriptor \"fd\"",
		    b->id);
	return -EINVAL;
}

static int open_console(struct assembly *a, const struct plan_backend *b, GError **error)
{
	const struct console_config config = { .driver = b->driver,
					       .name = b->id,
					       .fd = b->fd,
					       .fd_in = b->fd_in,
					       .fd_out = b->fd_out,
					       .log_fd = b->log_fd,
					       .log_old_fd = b->log_old_fd,
					       .log_bytes = b->log_bytes };
	struct console *console;

	if (strcmp(b->driver, "null") && strcmp(b->driver, "fd") && need_fd(b, error))
		return -EINVAL;
	console = console_open(&config, error);
	if (!console)
		return -EINVAL;
	remember(a->consoles, b->id, console);
	return 0;
}

static int open_block(struct assembly *a, const struct plan_backend *b, GError **error)
{
	static const char *const caches[] = {
		[BLOCK_CACHE_WRITEBACK] = "writeback",
		[BLOCK_CACHE_NONE] = "none",
		[BLOCK_CACHE_WRITETHROUGH] = "writethrough",
		[BLOCK_CACHE_DIRECTSYNC] = "directsync",
		[BLOCK_CACHE_UNSAFE] = "unsafe",
	};
	struct block_config config = { .driver = b->driver,
				       .name = b->id,
				       .fd = b->fd,
				       .readonly = b->readonly,
				       .discard = b->discard,
				       .statistics = a->statistics.header
							     ? &a->statistics.disks[a->blocks->len]
							     : NULL };
	struct block *block;

	if (need_fd(b, error))
		return -EINVAL;
	for (unsigned i = 0; i < ARRAY_LEN(caches); i++)
		if (!strcmp(caches[i], b->cache))
			config.cache = i;
	block = block_open(&config, error);
	if (!block) {
		g_prefix_error(error, "disk '%s': ", b->id);
		return -EINVAL;
	}
	remember(a->blocks, b->id, block);
	return 0;
}

static int open_net(struct assembly *a, const struct plan_backend *b, GError **error)
{
	const struct net_config config = { .driver = b->driver,
					   .fd = b->fd,
					   .statistics = a->statistics.header
								 ? &a->statistics.nets[a->nets->len]
								 : NULL };
	struct net *net;

	if (need_fd(b, error))
		return -EINVAL;
	net = net_open(&config, error);
	if (!net) {
		g_prefix_error(error, "network '%s': ", b->id);
		return -EINVAL;
	}
	remember(a->nets, b->id, net);
	return 0;
}

static int open_statistics(struct assembly *a, const struct plan *plan, GError **error)
{
	unsigned disks = 0, nets = 0;

	if (plan->statistics_fd < 0)
		return 0;
	for (unsigned i = 0; i < plan->backend_count; i++) {
		disks += !strcmp(plan->backends[i].kind, "block");
		nets += !strcmp(plan->backends[i].kind, "net");
	}
	if (statistics_map(&a->statistics, plan->statistics_fd, disks, nets))
		return 0;
	g_set_error(error, PLAN_ERROR, errno, "cannot map the file of the statistics: %s",
		    g_strerror(errno));
	return -EINVAL;
}

static int open_backends(struct assembly *a, const struct plan *plan, GError **error)
{
	for (unsigned i = 0; i < plan->backend_count; i++) {
		const struct plan_backend *b = &plan->backends[i];
		int err;

		if (!strcmp(b->kind, "console"))
			err = open_console(a, b, error);
		else if (!strcmp(b->kind, "block"))
			err = open_block(a, b, error);
		else
			err = open_net(a, b, error);
		if (err)
			return err;
	}
	return 0;
}

/* Devices: the plan's members become settings. */

static GPtrArray *backends_of(struct assembly *a, enum option_kind kind)
{
	return kind == OPTION_CONSOLE ? a->consoles : kind == OPTION_BLOCK ? a->blocks : a->nets;
}

static int set_text(struct assembly *a, struct device *dev, const char *name, const char *text,
		    GError **error)
{
	const struct device_option *o = device_type_option(dev->type, name);
	void *backend;

	if (!o || o->kind < OPTION_CONSOLE)
		return device_set_string(dev, name, text, error);
	backend = find_opened(backends_of(a, o->kind), text);
	if (!backend) {
		g_set_error(error, PLAN_ERROR, EINVAL,
			    "plan: device '%s' wants the backend '%s', which is not there or of "
			    "another kind",
			    dev->id, text);
		return -EINVAL;
	}
	return device_set_backend(dev, name, o->kind, backend, error);
}

static int set_option(struct assembly *a, struct device *dev, const char *name, json_t *value,
		      GError **error)
{
	if (json_is_boolean(value))
		return device_set_bool(dev, name, json_is_true(value), error);
	if (json_is_integer(value))
		return device_set_number(dev, name, json_integer_value(value), error);
	if (json_is_string(value))
		return set_text(a, dev, name, json_string_value(value), error);
	g_set_error(error, PLAN_ERROR, EINVAL,
		    "plan: '%s' of device '%s' must be a number, a string, true or false", name,
		    dev->id);
	return -EINVAL;
}

static int build_device(struct assembly *a, json_t *node, GError **error)
{
	const char *type_name = json_string_value(json_object_get(node, "type"));
	const char *id = json_string_value(json_object_get(node, "id"));
	const struct device_type *type = device_type_find(device_types, type_name);
	struct device *dev;
	const char *name;
	json_t *value;

	if (!type || (type->flags & DEVICE_BOARD)) {
		g_set_error(error, PLAN_ERROR, ENODEV,
			    "plan: device '%s' is of the unknown type '%s'", id, type_name);
		return -ENODEV;
	}
	dev = device_new(a->vm, type, id, error);
	if (!dev)
		return -EEXIST;
	json_object_foreach (node, name, value)
		if (strcmp(name, "type") && strcmp(name, "id") &&
		    set_option(a, dev, name, value, error))
			return -EINVAL;
	return device_realize(dev, error);
}

/* Two passes: what is behind a root port needs the port first. */
static int build_devices(struct assembly *a, const struct plan *plan, GError **error)
{
	for (int pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < plan->device_count; i++) {
			const char *type =
				json_string_value(json_object_get(plan->devices[i], "type"));
			bool port = !strcmp(type, "pcie-root-port");

			if (port == (pass == 0) && build_device(a, plan->devices[i], error))
				return -EINVAL;
		}
	}
	return 0;
}

/* Hexadecimal digits, with dashes anywhere; what is none leaves zeros. */
static void parse_uuid(const char *text, u8 uuid[16])
{
	for (unsigned digits = 0; *text && digits < 32; text++) {
		int value = g_ascii_xdigit_value(*text);

		if (value < 0)
			continue;
		uuid[digits / 2] |= value << (digits % 2 ? 0 : 4);
		digits++;
	}
}

static int build_machine(struct assembly *a, const struct plan *plan, const struct accel *accel,
			 const struct memory_limits *limits, GError **error)
{
	struct vm_config config = {
		.name = plan->name,
		.accel = accel,
		.memory_bytes = plan->memory_bytes,
		.backing = plan->memory,
		.limits = limits,
		.vcpus = MIN(plan->vcpus, UINT32_MAX),
		.sockets = MIN(plan->sockets, UINT32_MAX),
		.cores = MIN(plan->cores, UINT32_MAX),
		.threads = MIN(plan->threads, UINT32_MAX),
		.code_cache_bytes = plan->code_cache_bytes,
		.step = plan->cpu_step,
		.check_blocks = plan->cpu_check_blocks,
		.save_code = plan->code_to_fd >= 0,
		.saved_code = MAX(plan->code_from_fd, 0),
		.saved_code_checked = plan->code_checked,
		.perf_map = MAX(plan->perf_map_fd, 0),
		.jitdump = MAX(plan->jitdump_fd, 0),
		.guest_symbols = MAX(plan->guest_symbols_fd, 0),
		.kvm_fd = MAX(plan->kvm_fd, 0),
		.tsc_stable = plan->tsc_stable,
		.other = !plan->movable        ? NULL
			 : accel == &accel_kvm ? &accel_soft
					       : &accel_kvm,
		.features_off = (const char *const *)plan->features_off,
		.features_required = (const char *const *)plan->features_required,
		.rtc_localtime = !strcmp(plan->clock_offset, "localtime"),
	};
	const struct board *board = board_find(plan->machine);

	if (!board) {
		g_set_error(error, PLAN_ERROR, ENODEV,
			    "plan: there is no machine '%s'; this version has %s", plan->machine,
			    boards[0]->name);
		return -ENODEV;
	}
	parse_uuid(plan->uuid, config.uuid);
	a->vm = vm_new(&config, error);
	return a->vm ? board_build(a->vm, board, device_types, error) : -EINVAL;
}

static int plan_boot(struct assembly *a, const struct plan *plan, GError **error)
{
	if (plan->kernel_fd < 0) {
		g_set_error(
			error, PLAN_ERROR, EINVAL,
			"plan: boot.kernel is missing; this version boots kernels directly only");
		return -EINVAL;
	}
	a->boot = (struct boot){ .kernel_fd = plan->kernel_fd,
				 .kernel_name = plan->kernel_name,
				 .initrd_fd = plan->initrd_fd,
				 .cmdline = (char *)plan->cmdline,
				 .classic = plan->classic,
				 .kaslr = plan->kaslr };
	a->vm->boot = boot_direct;
	a->vm->boot_opaque = &a->boot;
	return 0;
}

struct assembly *assemble(const struct plan *plan, const struct accel *accel,
			  const struct memory_limits *limits, GError **error)
{
	struct assembly *a = g_new0(struct assembly, 1);

	a->consoles = g_ptr_array_new();
	a->blocks = g_ptr_array_new();
	a->nets = g_ptr_array_new();
	if (build_machine(a, plan, accel, limits, error) || open_statistics(a, plan, error) ||
	    open_backends(a, plan, error) || build_devices(a, plan, error) ||
	    plan_boot(a, plan, error)) {
		assembly_free(a);
		return NULL;
	}
	return a;
}

static void close_all(GPtrArray *list, void (*close_one)(void *))
{
	for (guint i = 0; i < list->len; i++) {
		struct opened *o = g_ptr_array_index(list, i);

		close_one(o->backend);
		g_free(o);
	}
	g_ptr_array_free(list, TRUE);
}

static void close_console(void *backend)
{
	console_close(backend);
}

static void close_block(void *backend)
{
	block_close(backend);
}

static void close_net(void *backend)
{
	net_close(backend);
}

void assembly_free(struct assembly *a)
{
	if (!a)
		return;
	vm_free(a->vm);
	close_all(a->consoles, close_console);
	close_all(a->blocks, close_block);
	close_all(a->nets, close_net);
	statistics_unmap(&a->statistics);
	g_free(a);
}
