/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing the plan (docs/plan.md): a domain and the numbers of its descriptors as flat JSON.
 * Nothing is decided here but the form.
 */
#include "launch/private.h"

#include <string.h>

#define PLAN_VERSION 1
#define QUEUES_MAX   64

/* --- small parts --- */

static json_t *with_address(json_t *device, const struct domain_address *address)
{
	json_object_set_new(device, "bus", json_integer(address->bus));
	json_object_set_new(device, "slot", json_integer(address->slot));
	json_object_set_new(device, "function", json_integer(address->function));
	return device;
}

static json_t *new_device(const char *type, const char *id)
{
	return json_pack("{s:s, s:s}", "type", type, "id", id);
}

static const char *action(enum domain_lifecycle lifecycle)
{
	static const char *const names[] = {
		[LIFECYCLE_DESTROY] = "destroy",
		[LIFECYCLE_RESTART] = "restart",
		[LIFECYCLE_PRESERVE] = "preserve",
	};

	return names[lifecycle];
}

static json_t *json_set(const struct number_set *set)
{
	g_autofree char *text = number_set_format(set);

	return json_string(text);
}

/* Processors that are there at the start; what could be added later has no place in a plan. */
static json_t *plan_vcpus(const struct domain *domain)
{
	const struct domain_placement *placement = &domain->placement;
	bool all = domain->vcpus_current == domain->vcpus, pinned = false;
	json_t *pins = json_array();
	json_t *vcpus = json_pack("{s:i, s:i, s:i, s:i}", "count", domain->vcpus_current, "sockets",
				  all ? domain->topology.sockets * domain->topology.dies
				      : domain->vcpus_current,
				  "cores", all ? domain->topology.cores : 1, "threads",
				  all ? domain->topology.threads : 1);

	for (unsigned i = 0; i < domain->vcpus_current; i++) {
		json_array_append_new(pins, json_set(&placement->vcpus[i]));
		pinned = pinned || !number_set_empty(&placement->vcpus[i]);
	}
	if (pinned)
		json_object_set(vcpus, "pins", pins);
	json_decref(pins);
	if (!number_set_empty(&placement->others))
		json_object_set_new(vcpus, "others", json_set(&placement->others));
	return vcpus;
}

static json_t *plan_memory(const struct launch_private *p)
{
	const struct domain_placement *placement = &p->domain->placement;
	json_t *memory = json_pack("{s:I, s:b}", "bytes", (json_int_t)(p->domain->memory_kib * KIB),
				   "shared", p->domain->memory_shared);

	if (placement->huge_pages)
		json_object_set_new(memory, "huge_page_bytes",
				    json_integer(p->huge_page_kib * KIB));
	if (placement->allocated)
		json_object_set_new(memory, "allocated", json_true());
	if (placement->numa_mode) {
		json_object_set_new(memory, "numa_mode", json_string(placement->numa_mode));
		json_object_set_new(memory, "numa_nodes", json_set(&placement->nodes));
	}
	return memory;
}

static json_t *plan_engine(const struct launch *launch)
{
	json_t *engine = json_pack("{s:s, s:s}", "name", launch->engine, "why", launch->engine_why);

	if (launch->private->kvm)
		json_object_set_new(engine, "fd", json_integer(launch->private->kvm));
	if (launch->private->kvm && launch->private->options.movable)
		json_object_set_new(engine, "movable", json_true());
	return engine;
}

static json_t *plan_cpu(const struct launch_private *p)
{
	g_autoptr(GPtrArray) required = cpu_features_required(p->domain);
	json_t *off = json_array(), *cpu;

	if (p->kvm)
		cpu_hide_hardware(p->domain, p->features_off);
	for (unsigned i = 0; i < p->features_off->len; i++)
		json_array_append_new(off, json_string(p->features_off->pdata[i]));
	cpu = json_pack("{s:o}", "features_off", off);
	if (required->len) {
		json_t *list = json_array();

		for (unsigned i = 0; i < required->len; i++)
			json_array_append_new(list, json_string(required->pdata[i]));
		json_object_set_new(cpu, "features_required", list);
	}
	if (kvm_tsc_is_stable())
		json_object_set_new(cpu, "tsc_stable", json_true());
	if (p->domain->code_cache_kib)
		json_object_set_new(cpu, "code_cache_bytes",
				    json_integer(p->domain->code_cache_kib * KIB));
	if (p->code_from) {
		json_object_set_new(cpu, "code_from", json_integer(p->code_from));
		json_object_set_new(cpu, "code_checked", json_true()); /* by code_store() */
	}
	if (p->code_to)
		json_object_set_new(cpu, "code_to", json_integer(p->code_to));
	return cpu;
}

static json_t *plan_lifecycle(const struct launch *launch)
{
	const struct domain *domain = launch->private->domain;
	bool no_reboot = launch->private->options.no_reboot;

	return json_pack("{s:s, s:s, s:s, s:s}", "poweroff", action(domain->on_poweroff), "reboot",
			 no_reboot ? "destroy" : action(domain->on_reboot), "crash",
			 no_reboot ? "destroy" : action(domain->on_crash), "watchdog",
			 domain->watchdog_action ?: "reset");
}

/*
 * Whether the kernel's own decompressor runs, in the guest. KVM runs it as fast as the host's
 * libraries do, and the guest begins sooner. A movable guest may come to run it on the software
 * CPU.
 */
static bool unpack_in_guest(const struct launch_private *p)
{
	const struct launch_options *options = &p->options;

	if (options->unpack)
		return !strcmp(options->unpack, "guest");
	return p->kvm && !options->movable && !options->no_kaslr;
}

static json_t *plan_boot(const struct launch *launch)
{
	const struct launch_private *p = launch->private;
	const char *cmdline = p->domain->cmdline;
	json_t *boot = json_object();

	json_object_set_new(boot, "kernel", json_integer(p->kernel));
	/* a path need not be UTF-8, JSON must be: then there is no name */
	if (g_utf8_validate(p->domain->kernel, -1, NULL))
		json_object_set_new(boot, "kernel-name", json_string(p->domain->kernel));
	if (p->initrd >= 0)
		json_object_set_new(boot, "initrd", json_integer(p->initrd));
	json_object_set_new(boot, "cmdline", json_string(cmdline ? cmdline : ""));
	json_object_set_new(boot, "classic", json_boolean(unpack_in_guest(p)));
	if (p->options.paused)
		json_object_set_new(boot, "paused", json_true());
	json_object_set_new(boot, "kaslr", json_boolean(!p->options.no_kaslr));
	return boot;
}

/* --- backends and devices, in pairs --- */

struct lists {
	json_t *backends, *devices;
};

/* The backend has the name that the guest's owner gave the disk. */
static void add_disk(struct lists *lists, const struct domain *domain,
		     const struct opened_disk *opened)
{
	const struct domain_disk *disk = opened->disk;
	const char *id = disk->target;
	json_t *device = with_address(new_device("virtio-blk", disk->alias), &disk->address);

	json_array_append_new(lists->backends,
			      json_pack("{s:s, s:s, s:s, s:i, s:b, s:b, s:s}", "id", id, "kind",
					"block", "driver", "raw", "fd", opened->number, "readonly",
					disk->readonly, "discard", disk->discard, "cache",
					disk->cache));
	json_object_set_new(device, "backend", json_string(id));
	json_object_set_new(device, "serial", json_string(disk->serial ? disk->serial : ""));
	json_object_set_new(device, "on_write_error", json_string(disk->on_write_error));
	json_object_set_new(device, "on_read_error", json_string(disk->on_read_error));
	json_object_set_new(
		device, "queues",
		json_integer(disk->queues ? disk->queues : MIN(domain->vcpus_current, QUEUES_MAX)));
	if (!disk->ioeventfd)
		json_object_set_new(device, "ioeventfd", json_false());
	if (disk->boot_order)
		json_object_set_new(device, "boot_index", json_integer(disk->boot_order));
	json_array_append_new(lists->devices, device);
}

static void add_net(struct lists *lists, const struct opened_net *opened, unsigned index)
{
	const struct domain_interface *interface = opened->interface;
	char *id = g_strdup_printf("net%u", index);
	json_t *device =
		with_address(new_device("virtio-net", interface->alias), &interface->address);

	json_array_append_new(lists->backends,
			      json_pack("{s:s, s:s, s:s, s:i}", "id", id, "kind", "net", "driver",
					"socket", "fd", opened->number));
	json_object_set_new(device, "backend", json_string(id));
	json_object_set_new(device, "mac", json_string(interface->mac));
	if (interface->link_down)
		json_object_set_new(device, "link", json_false());
	json_array_append_new(lists->devices, device);
	g_free(id);
}

/* The device that @chardev is for the guest, without what is behind it. */
static json_t *chardev_device(const struct domain_chardev *chardev)
{
	static const char *const types[] = {
		[CHARDEV_SERIAL] = "isa-serial",
		[CHARDEV_DEBUGCON] = "debugcon",
		[CHARDEV_CONSOLE] = "virtserialport",
		[CHARDEV_CHANNEL] = "virtserialport",
	};
	json_t *device = new_device(types[chardev->kind], chardev->alias);

	switch (chardev->kind) {
	case CHARDEV_SERIAL:
		json_object_set_new(device, "index", json_integer(chardev->port));
		break;
	case CHARDEV_DEBUGCON:
		json_object_set_new(device, "port", json_integer(chardev->iobase));
		break;
	case CHARDEV_CONSOLE:
	case CHARDEV_CHANNEL:
		json_object_set_new(device, "controller", json_string(chardev->controller));
		json_object_set_new(device, "port", json_integer(chardev->port));
		json_object_set_new(device, "console",
				    json_boolean(chardev->kind == CHARDEV_CONSOLE));
		if (chardev->name)
			json_object_set_new(device, "name", json_string(chardev->name));
		break;
	}
	return device;
}

static void add_console(struct lists *lists, const struct opened_console *opened, unsigned index)
{
	json_t *device = chardev_device(opened->chardev);
	char *id = g_strdup_printf("console%u", index);
	json_t *backend =
		json_pack("{s:s, s:s, s:s}", "id", id, "kind", "console", "driver", opened->driver);

	if (!strcmp(opened->driver, "fd")) {
		json_object_set_new(backend, "fd_in", json_integer(opened->number));
		json_object_set_new(backend, "fd_out", json_integer(opened->number));
	} else if (opened->number >= 0) {
		json_object_set_new(backend, "fd", json_integer(opened->number));
	}
	if (opened->log) {
		json_object_set_new(backend, "log_fd", json_integer(opened->log));
		json_object_set_new(backend, "log_bytes", json_integer(CONSOLE_LOG_BYTES));
	}
	if (opened->log_old)
		json_object_set_new(backend, "log_old_fd", json_integer(opened->log_old));
	json_array_append_new(lists->backends, backend);
	json_object_set_new(device, "backend", json_string(id));
	if (opened->columns && opened->rows) {
		json_object_set_new(device, "columns", json_integer(opened->columns));
		json_object_set_new(device, "rows", json_integer(opened->rows));
	}
	json_array_append_new(lists->devices, device);
	g_free(id);
}

static void add_controllers(struct lists *lists, const struct domain *domain)
{
	for (unsigned i = 0; i < domain->controllers->len; i++) {
		const struct domain_controller *c = domain->controllers->pdata[i];
		json_t *device;

		if (c->kind == CONTROLLER_PCI && strcmp(c->model, "pcie-root-port"))
			continue; /* pcie-root is the machine itself */
		device = with_address(
			new_device(c->kind == CONTROLLER_PCI ? "pcie-root-port" : "virtio-serial",
				   c->alias),
			&c->address);
		if (c->kind == CONTROLLER_PCI) {
			json_object_set_new(device, "chassis", json_integer(c->chassis));
			json_object_set_new(device, "port", json_integer(c->port));
		} else {
			json_object_set_new(device, "ports", json_integer(c->ports));
		}
		json_array_append_new(lists->devices, device);
	}
}

static void add_pci(struct lists *lists, const char *type, const struct domain_device *device)
{
	json_array_append_new(lists->devices,
			      with_address(new_device(type, device->alias), &device->address));
}

static void add_rest(struct lists *lists, const struct domain *domain)
{
	for (unsigned i = 0; i < domain->rngs->len; i++)
		add_pci(lists, "virtio-rng", domain->rngs->pdata[i]);
	if (domain->memballoon)
		add_pci(lists, "virtio-balloon", domain->memballoon);
	for (unsigned i = 0; i < domain->watchdogs->len; i++) {
		const struct domain_device *watchdog = domain->watchdogs->pdata[i];

		if (strcmp(watchdog->model, "itco")) /* that is the machine's own */
			add_pci(lists, watchdog->model, watchdog);
	}
	for (unsigned i = 0; i < domain->panics->len; i++) {
		const struct domain_device *panic = domain->panics->pdata[i];

		if (!strcmp(panic->model, "pvpanic"))
			add_pci(lists, "pvpanic-pci", panic);
		else
			json_array_append_new(lists->devices, new_device("pvpanic", panic->alias));
	}
}

static void add_fw_cfg(struct lists *lists, const struct launch_private *p)
{
	for (unsigned i = 0; i < p->fw_cfg->len; i++) {
		const struct domain_fw_cfg *entry = p->domain->fw_cfg->pdata[i];
		char *id = g_strdup_printf("fwcfg%u", i);
		json_t *device = new_device("fw-cfg-file", id);

		json_object_set_new(device, "name", json_string(entry->name));
		json_object_set_new(device, "data", json_string(p->fw_cfg->pdata[i]));
		json_array_append_new(lists->devices, device);
		g_free(id);
	}
}

static void add_lists(json_t *plan, const struct launch_private *p)
{
	struct lists lists = { json_array(), json_array() };

	add_controllers(&lists, p->domain);
	for (unsigned i = 0; i < p->consoles->len; i++)
		add_console(&lists, p->consoles->pdata[i], i);
	for (unsigned i = 0; i < p->disks->len; i++)
		add_disk(&lists, p->domain, p->disks->pdata[i]);
	for (unsigned i = 0; i < p->nets->len; i++)
		add_net(&lists, p->nets->pdata[i], i);
	add_rest(&lists, p->domain);
	add_fw_cfg(&lists, p);
	json_object_set_new(plan, "backends", lists.backends);
	json_object_set_new(plan, "devices", lists.devices);
}

/* --- the whole --- */

static void add_debug(json_t *plan, const struct launch_private *p)
{
	const struct launch_options *options = &p->options;
	json_t *debug;

	if (!options->cpu_step && !options->cpu_check_blocks && !options->cpu_stats &&
	    !p->perf_map && !p->jitdump)
		return;
	debug = json_pack("{s:b, s:b, s:b}", "step", options->cpu_step, "check_blocks",
			  options->cpu_check_blocks, "stats", options->cpu_stats);
	if (p->perf_map)
		json_object_set_new(debug, "perf_map", json_integer(p->perf_map));
	if (p->jitdump)
		json_object_set_new(debug, "jitdump", json_integer(p->jitdump));
	if (p->guest_symbols)
		json_object_set_new(debug, "guest_symbols", json_integer(p->guest_symbols));
	json_object_set_new(plan, "cpu_debug", debug);
}

static void add_channels(json_t *plan, const struct launch_private *p)
{
	if (p->monitor >= 0)
		json_object_set_new(plan, "monitor", json_pack("{s:i}", "fd", p->monitor));
	if (p->log >= 0)
		json_object_set_new(plan, "log",
				    json_pack("{s:i, s:s}", "fd", p->log, "level",
					      p->options.verbose_log ? "debug" : "info"));
	if (p->statistics)
		json_object_set_new(plan, "statistics", json_pack("{s:i}", "fd", p->statistics));
}

json_t *plan_make(const struct launch *launch)
{
	const struct launch_private *p = launch->private;
	const struct domain *domain = p->domain;
	json_t *plan;

	plan = json_pack("{s:i, s:s, s:s, s:s}", "version", PLAN_VERSION, "name", domain->name,
			 "uuid", domain->uuid, "machine", domain->machine);
	json_object_set_new(plan, "engine", plan_engine(launch));
	json_object_set_new(plan, "memory", plan_memory(p));
	json_object_set_new(plan, "vcpus", plan_vcpus(domain));
	json_object_set_new(plan, "cpu", plan_cpu(p));
	add_debug(plan, p);
	json_object_set_new(plan, "clock",
			    json_pack("{s:s}", "offset",
				      domain->clock == CLOCK_LOCALTIME ? "localtime" : "utc"));
	json_object_set_new(plan, "lifecycle", plan_lifecycle(launch));
	json_object_set_new(plan, "boot", plan_boot(launch));
	add_lists(plan, p);
	add_channels(plan, p);
	return plan;
}
