/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the owner of a guest left open, decided once: a stored domain says everything that shapes
 * the guest, so that a newer version of Lodge starts the same guest from it.
 *
 * The defaults are libvirt's, with these differences: a machine is q35 when nothing is said, a
 * network card is virtio when nothing is said, and no controller is added that this version lacks
 * (USB, SATA).
 */
#include "domain/complete.h"

#include "domain/message.h"
#include "domain/pci.h"
#include "domain/virtio_serial.h"
#include "domain/xml.h"

#include <stdlib.h>
#include <string.h>

#define MAC_PREFIX "52:54:00" /* what libvirt gives guests of the types kvm and qemu */

/* --- the guest as a whole --- */

/* The digits of a UUID in lower case, with dashes where they belong. */
static char *canonical_uuid(const char *given)
{
	GString *text = g_string_new(NULL);

	for (unsigned digits = 0; *given; given++) {
		if (*given == '-')
			continue;
		if (digits == 8 || digits == 12 || digits == 16 || digits == 20)
			g_string_append_c(text, '-');
		g_string_append_c(text, g_ascii_tolower(*given));
		digits++;
	}
	return g_string_free(text, FALSE);
}

static void complete_identity(xmlNode *root)
{
	xmlNode *node = xml_ensure(root, "uuid");
	const char *given = xml_text(node);
	char *uuid = *given ? canonical_uuid(given) : g_uuid_string_random();

	xml_set_text(node, uuid);
	g_free(uuid);
}

static void write_kib(xmlNode *node, u64 bytes)
{
	char *text = g_strdup_printf("%" G_GUINT64_FORMAT, (bytes + 1023) / 1024);

	xml_set_text(node, text);
	xml_set(node, "unit", "KiB");
	g_free(text);
}

static void complete_memory(xmlNode *root)
{
	static const char *const names[] = { "maxMemory", "memory", "currentMemory" };
	u64 bytes = 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		xmlNode *node = xml_child(root, names[i]);

		if (node && domain_size_bytes(xml_text(node), xml_attr(node, "unit"), &bytes))
			write_kib(node, bytes);
		else if (!node && i == 2) /* currentMemory: all of <memory> */
			write_kib(xml_add(root, names[i], NULL), bytes);
	}
}

static void complete_vcpus(xmlNode *root)
{
	xmlNode *vcpu = xml_child(root, "vcpu");

	if (!vcpu)
		vcpu = xml_add(root, "vcpu", "1");
	xml_default(vcpu, "placement", "static");
}

static bool complete_machine(struct domain *domain, xmlNode *type, GError **error)
{
	const char *machine = xml_attr(type, "machine");

	if (!machine || !strcmp(machine, "q35")) {
		xml_set(type, "machine", "%s", DOMAIN_MACHINE);
	} else if (g_str_has_prefix(machine, "pc-q35-")) {
		domain_note(domain, type, "machine='%s' is run as Lodge's own %s", machine,
			    DOMAIN_MACHINE);
	} else if (g_str_has_prefix(machine, "lodge-") && strcmp(machine, DOMAIN_MACHINE)) {
		return domain_fail(domain, error, DOMAIN_ERROR_UNSUPPORTED, type,
				   "machine='%s' is not one this version knows; it knows %s",
				   machine, DOMAIN_MACHINE);
	} else if (strcmp(machine, DOMAIN_MACHINE)) {
		return domain_fail(domain, error, DOMAIN_ERROR_UNSUPPORTED, type,
				   "machine='%s' is not in this version; use machine='q35'",
				   machine);
	}
	xml_default(type, "arch", "x86_64");
	return true;
}

static bool any_device_boots(const xmlNode *root)
{
	xml_for_each(device, xml_child(root, "devices"),
		     NULL) if (xml_child(device, "boot")) return true;
	return false;
}

static bool complete_os(struct domain *domain, xmlNode *root, GError **error)
{
	xmlNode *os = xml_child(root, "os");

	if (!complete_machine(domain, xml_child(os, "type"), error))
		return false;
	if (!xml_child(os, "kernel") && !xml_child(os, "boot") && !any_device_boots(root))
		xml_set(xml_add(os, "boot", NULL), "dev", "hd");
	return true;
}

static void complete_cpu(xmlNode *root)
{
	xmlNode *cpu = xml_ensure(root, "cpu");
	xmlNode *topology = xml_child(cpu, "topology");

	if (!xml_child(cpu, "model")) {
		/* what is not said is all that the engine has (launch/cpu.c); clients show it */
		xml_default(cpu, "mode", "host-passthrough");
	} else {
		xml_default(cpu, "mode", "custom");
		if (xml_attr_is(cpu, "mode", "custom"))
			xml_default(cpu, "match", "exact");
	}
	if (topology)
		xml_default(topology, "dies", "1");
	xml_for_each(feature, cpu, "feature") xml_default(feature, "policy", "require");
}

static void complete_lifecycle(xmlNode *root)
{
	static const char *const defaults[][2] = { { "on_poweroff", "destroy" },
						   { "on_reboot", "restart" },
						   { "on_crash", "destroy" } };

	for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
		if (!xml_child(root, defaults[i][0]))
			xml_add(root, defaults[i][0], defaults[i][1]);
	xml_default(xml_ensure(root, "clock"), "offset", "utc");
}

/* --- devices --- */

static const char *bus_of_target(const char *dev)
{
	static const char *const buses[][2] = { { "vd", "virtio" }, { "sd", "scsi" },
						{ "hd", "ide" },    { "fd", "fdc" },
						{ "xvd", "xen" },   { "ubd", "uml" },
						{ "nvme", "nvme" } };

	for (size_t i = 0; i < ARRAY_LEN(buses); i++)
		if (g_str_has_prefix(dev, buses[i][0]))
			return buses[i][1];
	return "virtio";
}

static void complete_disk(xmlNode *disk)
{
	xmlNode *driver, *target = xml_child(disk, "target");

	xml_default(disk, "type", "file");
	xml_default(disk, "device", "disk");
	driver = xml_ensure(disk, "driver");
	xml_default(driver, "name", "qemu");
	xml_default(driver, "type", "raw");
	xml_default(target, "bus", bus_of_target(xml_attr(target, "dev")));
	if (xml_attr_is(disk, "device", "cdrom"))
		xml_ensure(disk, "readonly");
}

static void complete_interface(xmlNode *interface)
{
	xmlNode *mac = xml_ensure(interface, "mac"), *model;
	guint32 random = g_random_int();

	if (!xml_attr(mac, "address"))
		xml_set(mac, "address", MAC_PREFIX ":%02x:%02x:%02x", random & 0xff,
			random >> 8 & 0xff, random >> 16 & 0xff);
	model = xml_ensure(interface, "model");
	xml_default(model, "type", "virtio");
}

/* Indexes of controllers other than PCI's; the parts of one EHCI controller share theirs. */
static void complete_controller_index(xmlNode *devices, xmlNode *controller)
{
	const char *type = xml_attr(controller, "type"), *model = xml_attr(controller, "model");
	unsigned index = 0;
	bool taken = true;

	if (!strcmp(type, "pci") || xml_attr(controller, "index"))
		return;
	while (taken && !(model && g_str_has_prefix(model, "ich9-"))) {
		taken = false;
		xml_for_each(other, devices, "controller")
		{
			const char *used = xml_attr(other, "index");

			if (xml_attr_is(other, "type", type) && used &&
			    strtoul(used, NULL, 0) == index)
				taken = true;
		}
		index += taken;
	}
	xml_set(controller, "index", "%u", index);
}

static bool port_in_use(const xmlNode *devices, unsigned port)
{
	xml_for_each(serial, devices, "serial")
	{
		const char *used = xml_attr(xml_child(serial, "target"), "port");

		if (used && strtoul(used, NULL, 0) == port)
			return true;
	}
	return false;
}

static void complete_serial(xmlNode *devices, xmlNode *serial)
{
	xmlNode *target = xml_ensure(serial, "target");
	bool debug = xml_attr_is(target, "type", "isa-debug");
	unsigned port = 0;

	xml_default(target, "type", "isa-serial");
	if (!xml_attr(target, "port")) {
		while (!debug && port_in_use(devices, port))
			port++;
		xml_set(target, "port", "%u", port);
	}
	xml_default(xml_ensure(target, "model"), "name", debug ? "isa-debugcon" : "isa-serial");
}

/* A copy of @from, a serial port or console, as an element called @name at its place. */
static xmlNode *mirror_chardev(xmlNode *devices, const xmlNode *from, const char *name)
{
	xmlNode *copy = xml_add(devices, name, NULL);
	const xmlNode *source = xml_child(from, "source"), *log = xml_child(from, "log");

	xml_set(copy, "type", "%s", xml_attr(from, "type"));
	if (source)
		xmlAddChild(copy, xmlDocCopyNode((xmlNode *)source, devices->doc, 1));
	if (log)
		xmlAddChild(copy, xmlDocCopyNode((xmlNode *)log, devices->doc, 1));
	return copy;
}

/* The first console is another name of the first serial port, whichever of them was given. */
static void complete_console(xmlNode *devices)
{
	xmlNode *console = xml_child(devices, "console"), *serial = xml_child(devices, "serial");
	xmlNode *target;

	if (console && !xml_attr(xml_child(console, "target"), "type"))
		xml_set(xml_ensure(console, "target"), "type", "serial");
	if (console && !xml_attr_is(xml_child(console, "target"), "type", "serial"))
		return;
	if (!serial && !console)
		return;
	if (!serial) {
		serial = mirror_chardev(devices, console, "serial");
		complete_serial(devices, serial);
	}
	if (!console)
		console = mirror_chardev(devices, serial, "console");
	target = xml_ensure(console, "target");
	xml_default(target, "type", "serial");
	xml_default(target, "port", xml_attr(xml_child(serial, "target"), "port"));
}

/* A console's port is its place among the consoles. */
static void complete_console_ports(xmlNode *devices)
{
	unsigned count = 0;

	xml_for_each(console, devices, "console")
	{
		xmlNode *target = xml_child(console, "target");

		if (target && !xml_attr(target, "port"))
			xml_set(target, "port", "%u", count);
		count++;
	}
}

/* Names that a running guest's devices had are not its owner's. */
static void drop_alias(xmlNode *device)
{
	xmlNode *alias = xml_child(device, "alias"), *target = xml_child(device, "target");

	if (alias && target && !strcmp((const char *)device->name, "interface") &&
	    xml_attr_is(target, "dev", xml_attr(alias, "name")))
		xml_remove(target);
	if (alias && !g_str_has_prefix(xml_attr(alias, "name"), "ua-"))
		xml_remove(alias);
}

static void complete_devices(xmlNode *root)
{
	xmlNode *devices = xml_ensure(root, "devices");

	xml_for_each(device, devices, NULL) drop_alias(device);
	xml_for_each(disk, devices, "disk") complete_disk(disk);
	xml_for_each(interface, devices, "interface") complete_interface(interface);
	xml_for_each(controller, devices, "controller")
		complete_controller_index(devices, controller);
	xml_for_each(serial, devices, "serial") complete_serial(devices, serial);
	complete_console(devices);
	complete_console_ports(devices);
	xml_for_each(watchdog, devices, "watchdog") xml_default(watchdog, "action", "reset");
	xml_for_each(panic, devices, "panic") xml_default(panic, "model", "isa");
	if (!xml_child(devices, "memballoon"))
		xml_set(xml_add(devices, "memballoon", NULL), "model", "virtio");
}

bool domain_complete(struct domain *domain, GError **error)
{
	xmlNode *root = xmlDocGetRootElement(domain->doc);

	xml_unset(root, "id");
	complete_identity(root);
	complete_memory(root);
	complete_vcpus(root);
	if (!complete_os(domain, root, error))
		return false;
	complete_cpu(root);
	complete_lifecycle(root);
	complete_devices(root);
	if (!domain_assign_virtio_serial(domain, error) || !domain_assign_pci(domain, error))
		return false;
	domain_read(domain);
	return true;
}
