/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the tree to the fields of struct domain. Every value has been checked by its row, so
 * reading cannot fail: what is missing gets the default that completion would have written.
 */
#include "domain/complete.h"

#include "domain/pci.h"
#include "domain/placement.h"
#include "domain/tune.h"
#include "domain/virtio_serial.h"
#include "domain/xml.h"

#include <stdlib.h>
#include <string.h>

#define DEBUGCON_PORT 0x402 /* where firmware writes its messages */

static char *attr_copy(const xmlNode *node, const char *name)
{
	return g_strdup(xml_attr(node, name));
}

static unsigned attr_number(const xmlNode *node, const char *name, unsigned otherwise)
{
	const char *value = xml_attr(node, name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

static char *alias_of(const xmlNode *device)
{
	return attr_copy(xml_child(device, "alias"), "name");
}

/* The entry of @words that @value is; the first when it is none of them. */
static unsigned word_number(const char *value, const char *const *words)
{
	for (unsigned i = 0; value && words[i]; i++)
		if (!strcmp(value, words[i]))
			return i;
	return 0;
}

/* --- the guest as a whole --- */

static u64 read_kib(const xmlNode *node)
{
	u64 bytes = 0;

	if (node)
		domain_size_bytes(xml_text(node), xml_attr(node, "unit"), &bytes);
	return (bytes + 1023) / 1024;
}

static bool read_shared(const xmlNode *root)
{
	const char *source = xml_attr(xml_find(root, "memoryBacking/source"), "type");
	const char *access = xml_attr(xml_find(root, "memoryBacking/access"), "mode");

	return (source && !strcmp(source, "memfd")) || (access && !strcmp(access, "shared"));
}

static void read_vcpus(struct domain *domain, const xmlNode *root)
{
	const xmlNode *vcpu = xml_child(root, "vcpu"), *topology = xml_find(root, "cpu/topology");

	domain->vcpus = vcpu ? strtoul(xml_text(vcpu), NULL, 10) : 1;
	domain->vcpus_current = attr_number(vcpu, "current", domain->vcpus);
	domain->topology.sockets = attr_number(topology, "sockets", domain->vcpus);
	domain->topology.dies = attr_number(topology, "dies", 1);
	domain->topology.cores =
		attr_number(topology, "cores", 1) * attr_number(topology, "clusters", 1);
	domain->topology.threads = attr_number(topology, "threads", 1);
}

static void read_cpu(struct domain *domain, const xmlNode *root)
{
	static const char *const modes[] = { "custom", "host-model", "host-passthrough", "maximum",
					     NULL };
	const xmlNode *cpu = xml_child(root, "cpu");
	const char *mode = xml_attr(cpu, "mode");

	domain->cpu.mode = mode ? modes[word_number(mode, modes)] : NULL;
	domain->cpu.model = g_strdup(xml_text(xml_child(cpu, "model")));
	domain->cpu.line = cpu ? xmlGetLineNo((xmlNode *)cpu) : 0;
	domain->cpu.disable = g_ptr_array_new_with_free_func(g_free);
	domain->cpu.require = g_ptr_array_new_with_free_func(g_free);
	xml_for_each(feature, cpu, "feature")
	{
		const char *policy = xml_attr(feature, "policy");
		char *name = attr_copy(feature, "name");

		if (!g_strcmp0(policy, "disable") || !g_strcmp0(policy, "forbid"))
			g_ptr_array_add(domain->cpu.disable, name);
		else if (!g_strcmp0(policy, "optional"))
			g_free(name); /* there when the engine has it, which it then shows anyway */
		else
			g_ptr_array_add(domain->cpu.require, name);
	}
}

static void read_os(struct domain *domain, const xmlNode *root)
{
	const xmlNode *os = xml_child(root, "os");
	const char *machine = xml_attr(xml_child(os, "type"), "machine");

	/* every name that completion lets through means the one machine there is */
	domain->machine = machine ? g_strdup(DOMAIN_MACHINE) : NULL;
	domain->os_line = os ? xmlGetLineNo((xmlNode *)os) : 0;
	domain->kernel = g_strdup(xml_text(xml_child(os, "kernel")));
	domain->initrd = g_strdup(xml_text(xml_child(os, "initrd")));
	domain->cmdline = g_strdup(xml_text(xml_child(os, "cmdline")));
}

static enum domain_lifecycle read_lifecycle(const xmlNode *root, const char *event,
					    enum domain_lifecycle otherwise)
{
	static const char *const actions[] = { "destroy", "restart", "preserve", NULL };
	const char *text = xml_text(xml_child(root, event));

	return text ? word_number(text, actions) : otherwise;
}

static void fw_cfg_free(gpointer data)
{
	struct domain_fw_cfg *entry = data;

	g_free(entry->name);
	g_free(entry->text);
	g_free(entry->path);
	g_free(entry);
}

static void read_fw_cfg(struct domain *domain, const xmlNode *root)
{
	domain->fw_cfg = g_ptr_array_new_with_free_func(fw_cfg_free);
	xml_for_each(sysinfo, root, "sysinfo")
	{
		xml_for_each(node, sysinfo, "entry")
		{
			struct domain_fw_cfg *entry = g_new0(struct domain_fw_cfg, 1);

			entry->name = attr_copy(node, "name");
			entry->text = g_strdup(xml_text(node));
			entry->path = attr_copy(node, "file");
			entry->line = xmlGetLineNo((xmlNode *)node);
			g_ptr_array_add(domain->fw_cfg, entry);
		}
	}
}

static void read_general(struct domain *domain, const xmlNode *root)
{
	static const char *const offsets[] = { "utc", "localtime", NULL };

	domain->name = g_strdup(xml_text(xml_child(root, "name")));
	domain->uuid = g_strdup(xml_text(xml_child(root, "uuid")));
	domain->memory_kib = read_kib(xml_child(root, "memory"));
	domain->code_cache_kib = read_kib(xml_find(root, "features/tcg/tb-cache"));
	domain->memory_shared = read_shared(root);
	domain->current_kib = read_kib(xml_child(root, "currentMemory"));
	domain->clock = word_number(xml_attr(xml_child(root, "clock"), "offset"), offsets);
	domain->on_poweroff = read_lifecycle(root, "on_poweroff", LIFECYCLE_DESTROY);
	domain->on_reboot = read_lifecycle(root, "on_reboot", LIFECYCLE_RESTART);
	domain->on_crash = read_lifecycle(root, "on_crash", LIFECYCLE_DESTROY);
}

/* --- devices --- */

static void disk_free(gpointer data)
{
	struct domain_disk *disk = data;

	g_free(disk->alias);
	g_free(disk->target);
	g_free(disk->path);
	g_free(disk->fd_group);
	g_free(disk->serial);
	g_free(disk);
}

/* Errors of reads follow error_policy where rerror_policy is silent; a read never lacks space. */
static void read_error_policies(struct domain_disk *disk, const xmlNode *driver)
{
	static const char *const policies[] = { "enospace", "stop", "report", "ignore", NULL };
	const char *given = xml_attr(driver, "error_policy");
	const char *reads = xml_attr(driver, "rerror_policy");

	disk->on_write_error = policies[word_number(given, policies)];
	disk->on_read_error = policies[word_number(reads ? reads : given, policies)];
	if (!strcmp(disk->on_read_error, "enospace"))
		disk->on_read_error = "report";
}

static struct domain_disk *read_disk(const xmlNode *node)
{
	static const char *const caches[] = { "writeback",  "none",   "writethrough",
					      "directsync", "unsafe", NULL };
	const xmlNode *driver = xml_child(node, "driver"), *source = xml_child(node, "source");
	struct domain_disk *disk = g_new0(struct domain_disk, 1);

	disk->block_device = xml_attr_is(node, "type", "block");
	disk->alias = alias_of(node);
	disk->target = attr_copy(xml_child(node, "target"), "dev");
	disk->path = attr_copy(source, disk->block_device ? "dev" : "file");
	disk->fd_group = attr_copy(source, "fdgroup");
	disk->serial = g_strdup(xml_text(xml_child(node, "serial")));
	disk->readonly = xml_child(node, "readonly") != NULL;
	disk->shareable = xml_child(node, "shareable") != NULL;
	disk->discard = xml_attr_is(driver, "discard", "unmap");
	disk->raw = !xml_attr(driver, "type") || xml_attr_is(driver, "type", "raw");
	disk->cache = caches[word_number(xml_attr(driver, "cache"), caches)];
	read_error_policies(disk, driver);
	disk->queues = attr_number(driver, "queues", 0);
	disk->ioeventfd = !xml_attr_is(driver, "ioeventfd", "off");
	disk->boot_order = attr_number(xml_child(node, "boot"), "order", 0);
	disk->address = domain_pci_address(node);
	disk->line = xmlGetLineNo((xmlNode *)node);
	return disk;
}

static void forward_free(gpointer data)
{
	struct domain_forward *forward = data;

	g_free(forward->address);
	g_free(forward);
}

static void read_forwards(GPtrArray *forwards, const xmlNode *interface)
{
	xml_for_each(node, interface, "portForward")
	{
		xml_for_each(range, node, "range")
		{
			struct domain_forward *forward;

			if (xml_attr_is(range, "exclude", "yes"))
				continue;
			forward = g_new0(struct domain_forward, 1);
			forward->udp = xml_attr_is(node, "proto", "udp");
			forward->address = attr_copy(node, "address");
			forward->first = attr_number(range, "start", 0);
			forward->last = attr_number(range, "end", forward->first);
			forward->to = attr_number(range, "to", forward->first);
			g_ptr_array_add(forwards, forward);
		}
	}
}

static void interface_free(gpointer data)
{
	struct domain_interface *interface = data;

	g_free(interface->alias);
	g_free(interface->mac);
	g_free(interface->target);
	g_ptr_array_unref(interface->forwards);
	g_free(interface);
}

static struct domain_interface *read_interface(const xmlNode *node)
{
	struct domain_interface *interface = g_new0(struct domain_interface, 1);

	interface->alias = alias_of(node);
	interface->mac = attr_copy(xml_child(node, "mac"), "address");
	interface->target = attr_copy(xml_child(node, "target"), "dev");
	interface->forwards = g_ptr_array_new_with_free_func(forward_free);
	read_forwards(interface->forwards, node);
	interface->boot_order = attr_number(xml_child(node, "boot"), "order", 0);
	interface->link_down = xml_attr_is(xml_child(node, "link"), "state", "down");
	interface->address = domain_pci_address(node);
	interface->line = xmlGetLineNo((xmlNode *)node);
	return interface;
}

static void chardev_free(gpointer data)
{
	struct domain_chardev *chardev = data;

	g_free(chardev->alias);
	g_free(chardev->path);
	g_free(chardev->log_path);
	g_free(chardev->controller);
	g_free(chardev->name);
	g_free(chardev);
}

/* What serial ports, consoles and channels have in common. */
static struct domain_chardev *read_chardev(const xmlNode *node, enum domain_chardev_kind kind)
{
	static const char *const types[] = { "pty", "file", "unix", "null", "stdio", NULL };
	const xmlNode *target = xml_child(node, "target"), *source = xml_child(node, "source");
	struct domain_chardev *chardev = g_new0(struct domain_chardev, 1);

	chardev->kind = kind;
	chardev->type = word_number(xml_attr(node, "type"), types);
	chardev->alias = alias_of(node);
	/* a pty's path is a result of the last start, not a wish */
	chardev->path = chardev->type == CHARDEV_PTY ? NULL : attr_copy(source, "path");
	chardev->append = xml_attr_is(source, "append", "on");
	chardev->log_path = attr_copy(xml_child(node, "log"), "file");
	chardev->log_append = xml_attr_is(xml_child(node, "log"), "append", "on");
	chardev->connect = chardev->type == CHARDEV_UNIX && xml_attr_is(source, "mode", "connect");
	chardev->port = attr_number(target, "port", 0);
	chardev->line = xmlGetLineNo((xmlNode *)node);
	return chardev;
}

static struct domain_chardev *read_serial(const xmlNode *node)
{
	bool debug = xml_attr_is(xml_child(node, "target"), "type", "isa-debug");
	struct domain_chardev *chardev =
		read_chardev(node, debug ? CHARDEV_DEBUGCON : CHARDEV_SERIAL);

	chardev->iobase = attr_number(xml_child(node, "address"), "iobase", DEBUGCON_PORT);
	return chardev;
}

/* The alias of the virtio-serial controller with @index. */
static char *serial_controller(const xmlNode *devices, unsigned index)
{
	xml_for_each(node, devices, "controller") if (xml_attr_is(node, "type", "virtio-serial") &&
						      attr_number(node, "index", 0) ==
							      index) return alias_of(node);
	return NULL;
}

static struct domain_chardev *read_virtio_port(const xmlNode *devices, const xmlNode *node,
					       enum domain_chardev_kind kind)
{
	const xmlNode *address = xml_child(node, "address");
	struct domain_chardev *chardev = read_chardev(node, kind);

	chardev->controller = serial_controller(devices, attr_number(address, "controller", 0));
	chardev->port = attr_number(address, "port", 0);
	chardev->name = attr_copy(xml_child(node, "target"), "name");
	return chardev;
}

static void read_virtio_ports(struct domain *domain, const xmlNode *devices, const char *element,
			      enum domain_chardev_kind kind)
{
	xml_for_each(node, devices,
		     element) if (xml_attr_is(xml_child(node, "target"), "type", "virtio"))
		g_ptr_array_add(domain->chardevs, read_virtio_port(devices, node, kind));
}

static void controller_free(gpointer data)
{
	struct domain_controller *controller = data;

	g_free(controller->alias);
	g_free(controller->model);
	g_free(controller);
}

static struct domain_controller *read_controller(const xmlNode *node)
{
	const xmlNode *target = xml_child(node, "target");
	struct domain_controller *controller = g_new0(struct domain_controller, 1);

	controller->kind =
		xml_attr_is(node, "type", "pci") ? CONTROLLER_PCI : CONTROLLER_VIRTIO_SERIAL;
	controller->alias = alias_of(node);
	controller->ports = attr_number(node, "ports", VIRTIO_SERIAL_PORTS);
	controller->model = attr_copy(node, "model");
	controller->index = attr_number(node, "index", 0);
	controller->chassis = attr_number(target, "chassis", 0);
	controller->port = attr_number(target, "port", 0);
	controller->address = domain_pci_address(node);
	controller->line = xmlGetLineNo((xmlNode *)node);
	return controller;
}

static void device_free(gpointer data)
{
	struct domain_device *device = data;

	if (!device)
		return;
	g_free(device->alias);
	g_free(device->model);
	g_free(device);
}

static struct domain_device *read_device(const xmlNode *node)
{
	struct domain_device *device = g_new0(struct domain_device, 1);

	device->alias = alias_of(node);
	device->model = attr_copy(node, "model");
	device->address = domain_pci_address(node);
	device->line = xmlGetLineNo((xmlNode *)node);
	return device;
}

static void read_each(GPtrArray **list, const xmlNode *devices, const char *element)
{
	*list = g_ptr_array_new_with_free_func(device_free);
	xml_for_each(node, devices, element) g_ptr_array_add(*list, read_device(node));
}

static void read_devices(struct domain *domain, const xmlNode *devices)
{
	const xmlNode *balloon = xml_child(devices, "memballoon");

	domain->disks = g_ptr_array_new_with_free_func(disk_free);
	domain->interfaces = g_ptr_array_new_with_free_func(interface_free);
	domain->chardevs = g_ptr_array_new_with_free_func(chardev_free);
	domain->controllers = g_ptr_array_new_with_free_func(controller_free);
	xml_for_each(node, devices, "disk") g_ptr_array_add(domain->disks, read_disk(node));
	xml_for_each(node, devices, "interface")
		g_ptr_array_add(domain->interfaces, read_interface(node));
	xml_for_each(node, devices, "serial") g_ptr_array_add(domain->chardevs, read_serial(node));
	read_virtio_ports(domain, devices, "console", CHARDEV_CONSOLE);
	read_virtio_ports(domain, devices, "channel", CHARDEV_CHANNEL);
	xml_for_each(node, devices, "controller") if (xml_attr_is(node, "type", "pci") ||
						      xml_attr_is(node, "type", "virtio-serial"))
		g_ptr_array_add(domain->controllers, read_controller(node));
	read_each(&domain->rngs, devices, "rng");
	read_each(&domain->watchdogs, devices, "watchdog");
	read_each(&domain->panics, devices, "panic");
	domain->watchdog_action = attr_copy(xml_child(devices, "watchdog"), "action");
	if (balloon && !xml_attr_is(balloon, "model", "none"))
		domain->memballoon = read_device(balloon);
}

void domain_read(struct domain *domain)
{
	const xmlNode *root = xmlDocGetRootElement(domain->doc);

	domain_forget(domain);
	read_general(domain, root);
	read_vcpus(domain, root);
	domain_read_placement(domain, root);
	domain_read_limits(domain, root);
	read_cpu(domain, root);
	read_os(domain, root);
	read_fw_cfg(domain, root);
	read_devices(domain, xml_child(root, "devices"));
}

void domain_forget(struct domain *domain)
{
	g_clear_pointer(&domain->name, g_free);
	g_clear_pointer(&domain->uuid, g_free);
	g_clear_pointer(&domain->machine, g_free);
	g_clear_pointer(&domain->kernel, g_free);
	g_clear_pointer(&domain->initrd, g_free);
	g_clear_pointer(&domain->cmdline, g_free);
	g_clear_pointer(&domain->placement.vcpus, g_free);
	g_clear_pointer(&domain->limits.devices, g_ptr_array_unref);
	g_clear_pointer(&domain->cpu.model, g_free);
	g_clear_pointer(&domain->cpu.disable, g_ptr_array_unref);
	g_clear_pointer(&domain->cpu.require, g_ptr_array_unref);
	g_clear_pointer(&domain->fw_cfg, g_ptr_array_unref);
	g_clear_pointer(&domain->disks, g_ptr_array_unref);
	g_clear_pointer(&domain->interfaces, g_ptr_array_unref);
	g_clear_pointer(&domain->chardevs, g_ptr_array_unref);
	g_clear_pointer(&domain->controllers, g_ptr_array_unref);
	g_clear_pointer(&domain->rngs, g_ptr_array_unref);
	g_clear_pointer(&domain->watchdogs, g_ptr_array_unref);
	g_clear_pointer(&domain->panics, g_ptr_array_unref);
	g_clear_pointer(&domain->watchdog_action, g_free);
	g_clear_pointer(&domain->memballoon, device_free);
}
