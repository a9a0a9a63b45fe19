/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where devices sit on the PCI buses of a q35 machine.
 *
 *   bus 0, the root complex:  00.0 host bridge    01.0 video, when the guest has one
 *                             1b.0 sound (ich9)   1f.0 ISA  1f.2 SATA  1f.3 SMBus
 *                             01.0-1e.7 root ports, eight to a slot
 *   bus N, behind the root port with index N: one slot, 0
 *
 * libvirt's rules, so that a guest that moves between the two finds its devices where they were
 * (tests/compat compares with what libvirt made of the same XML): what is given stays; then, kind
 * by kind in the order of port_order[], each PCI Express device gets the first free root port;
 * when none is free one is added with the lowest free index; a guest whose owner named no port
 * keeps one free for a device that is plugged in later. Conventional PCI devices come last, on bus
 * 0 (see place_conventional()); those that no machine of ours has get no address.
 */
#include "domain/pci.h"

#include "domain/message.h"
#include "domain/xml.h"

#include <stdlib.h>
#include <string.h>

#define BUSES     256
#define SLOTS     32
#define FUNCTIONS 8

enum bus_kind {
	BUS_ABSENT,
	BUS_ROOT,   /* pcie-root */
	BUS_PORT,   /* behind a root port: slot 0 */
	BUS_BRIDGE, /* behind a bridge for conventional devices: slots 1 to 31 */
	BUS_OTHER,  /* switches and expanders: kept, not filled */
};

struct pci_map {
	struct domain *domain;
	xmlNode *devices;
	enum bus_kind kind[BUSES];
	const xmlNode *(*owner[BUSES])[FUNCTIONS]; /* by slot; NULL: nobody is on the bus */
	bool owner_named_ports;
	bool added_ports;
};

/* --- reading --- */

static unsigned number(const xmlNode *node, const char *name, unsigned otherwise)
{
	const char *value = xml_attr(node, name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

struct domain_address domain_pci_address(const void *device)
{
	const xmlNode *address = xml_child(device, "address");
	struct domain_address result = { .set = false };

	if (!xml_attr_is(address, "type", "pci") ||
	    !(xml_attr(address, "bus") || xml_attr(address, "slot")))
		return result;
	result.set = true;
	result.bus = number(address, "bus", 0);
	result.slot = number(address, "slot", 0);
	result.function = number(address, "function", 0);
	return result;
}

static bool is_pci_controller(const xmlNode *node)
{
	return !strcmp((const char *)node->name, "controller") && xml_attr_is(node, "type", "pci");
}

static bool is_root_port(const xmlNode *node)
{
	return is_pci_controller(node) && xml_attr_is(node, "model", "pcie-root-port");
}

static enum bus_kind kind_of_model(const char *model)
{
	if (!strcmp(model, "pcie-root"))
		return BUS_ROOT;
	if (!strcmp(model, "pcie-root-port"))
		return BUS_PORT;
	if (!strcmp(model, "pcie-to-pci-bridge") || !strcmp(model, "pci-bridge") ||
	    !strcmp(model, "dmi-to-pci-bridge"))
		return BUS_BRIDGE;
	return BUS_OTHER;
}

static bool is_virtio(const xmlNode *node, const char *attribute)
{
	const char *value = xml_attr(node, attribute);

	return value && g_str_has_prefix(value, "virtio");
}

/* Is it a PCI Express device, which wants a root port of its own? */
static bool wants_port(const xmlNode *node)
{
	const char *name = (const char *)node->name, *model = xml_attr(node, "model");

	if (!strcmp(name, "interface")) {
		const char *card = xml_attr(xml_child(node, "model"), "type");

		return card && (g_str_has_prefix(card, "virtio") || !strcmp(card, "e1000e"));
	}
	if (!strcmp(name, "controller")) {
		if (xml_attr_is(node, "type", "usb"))
			return model && g_str_has_suffix(model, "-xhci");
		if (xml_attr_is(node, "type", "pci"))
			return model && !strcmp(model, "pcie-to-pci-bridge");
		return xml_attr_is(node, "type", "virtio-serial") ||
		       (xml_attr_is(node, "type", "scsi") && is_virtio(node, "model"));
	}
	if (!strcmp(name, "disk"))
		return xml_attr_is(xml_child(node, "target"), "bus", "virtio");
	if (!strcmp(name, "input"))
		return xml_attr_is(node, "bus", "virtio");
	if (!strcmp(name, "filesystem"))
		return true;
	return is_virtio(node, "model"); /* memballoon, rng, vsock, crypto */
}

/* --- taking places --- */

static const xmlNode *owner_of(const struct pci_map *map, unsigned bus, unsigned slot,
			       unsigned function)
{
	return map->owner[bus] ? map->owner[bus][slot][function] : NULL;
}

static void set_owner(struct pci_map *map, struct domain_address at, const xmlNode *device)
{
	if (!map->owner[at.bus])
		map->owner[at.bus] = g_malloc0_n(SLOTS, sizeof(*map->owner[at.bus]));
	map->owner[at.bus][at.slot][at.function] = device;
}

static void free_map(struct pci_map *map)
{
	for (unsigned i = 0; i < BUSES; i++)
		g_free(map->owner[i]);
	g_free(map);
}

static bool fail_taken(struct pci_map *map, const xmlNode *device, struct domain_address at,
		       GError **error)
{
	const xmlNode *other = owner_of(map, at.bus, at.slot, at.function);
	char *label = domain_element_label(other);

	domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, device,
		    "PCI address %02x:%02x.%x is already that of %s on line %ld; give each its "
		    "own, or leave the <address> out",
		    at.bus, at.slot, at.function, label, xmlGetLineNo((xmlNode *)other));
	g_free(label);
	return false;
}

static bool is_reserved(struct domain_address at, const xmlNode *device)
{
	bool sata = xml_attr_is(device, "type", "sata");

	return at.bus == 0 && (at.slot == 0 || (at.slot == 0x1f && !(at.function == 2 && sata)));
}

static void take(struct pci_map *map, xmlNode *device, struct domain_address at)
{
	xmlNode *address = xml_ensure(device, "address");

	set_owner(map, at, device);
	xml_set(address, "type", "pci");
	xml_set(address, "domain", "0x0000");
	xml_set(address, "bus", "0x%02x", at.bus);
	xml_set(address, "slot", "0x%02x", at.slot);
	xml_set(address, "function", "0x%x", at.function);
}

static bool take_given(struct pci_map *map, xmlNode *device, GError **error)
{
	const xmlNode *address = xml_child(device, "address");
	struct domain_address at = domain_pci_address(device);
	/* a bus that nothing makes yet will be that of a root port */
	enum bus_kind kind = map->kind[at.bus] ? map->kind[at.bus] : BUS_PORT;

	if (number(address, "domain", 0))
		return domain_fail(map->domain, error, DOMAIN_ERROR_VALUE, address,
				   "domain='%s': a machine has PCI domain 0 only; write that",
				   xml_attr(address, "domain"));
	if (is_reserved(at, device))
		return domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, address,
				   "PCI address 00:%02x.%x belongs to the chipset; use another, "
				   "or leave the <address> out",
				   at.slot, at.function);
	if ((kind == BUS_PORT && at.slot != 0) || (kind == BUS_BRIDGE && at.slot == 0))
		return domain_fail(
			map->domain, error, DOMAIN_ERROR_VALUE, address,
			"slot='%s': behind controller %u the slots are %s; write that, or "
			"leave the <address> out",
			xml_attr(address, "slot") ? xml_attr(address, "slot") : "0", at.bus,
			kind == BUS_PORT ? "0 only" : "1 to 31");
	if (owner_of(map, at.bus, at.slot, at.function))
		return fail_taken(map, device, at, error);
	take(map, device, at);
	return true;
}

static bool slot_is_empty(const struct pci_map *map, unsigned bus, unsigned slot)
{
	for (unsigned function = 0; function < FUNCTIONS; function++)
		if (owner_of(map, bus, slot, function))
			return false;
	return true;
}

/* Is a slot of bus 0 empty but for root ports? */
static bool slot_takes_ports(const struct pci_map *map, unsigned slot)
{
	for (unsigned function = 0; function < FUNCTIONS; function++) {
		const xmlNode *owner = owner_of(map, 0, slot, function);

		if (owner && !is_root_port(owner))
			return false;
	}
	return true;
}

/* The next place for a root port: a function of a slot that holds ports, or an empty slot. */
static bool place_port(struct pci_map *map, xmlNode *port, GError **error)
{
	for (unsigned slot = 1; slot < 0x1f; slot++) {
		if (!slot_takes_ports(map, slot))
			continue;
		for (unsigned function = 0; function < FUNCTIONS; function++) {
			if (owner_of(map, 0, slot, function))
				continue;
			take(map, port, (struct domain_address){ true, 0, slot, function });
			return true;
		}
	}
	return domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, port,
			   "no PCI slot is left for another root port; remove some devices");
}

/* --- controllers --- */

static unsigned free_index(const struct pci_map *map)
{
	unsigned index = 1;

	while (index < BUSES && map->kind[index] != BUS_ABSENT)
		index++;
	return index;
}

static xmlNode *add_controller(struct pci_map *map, unsigned index, const char *model)
{
	xmlNode *node = xmlNewNode(NULL, BAD_CAST "controller"), *last = NULL;

	xml_for_each(controller, map->devices, "controller") if (is_pci_controller(controller))
		last = controller;
	xml_set(node, "type", "pci");
	xml_set(node, "index", "%u", index);
	xml_set(node, "model", "%s", model);
	if (last)
		xmlAddNextSibling(last, node);
	else
		xmlAddChild(map->devices, node);
	map->kind[index] = kind_of_model(model);
	return node;
}

static xmlNode *add_port(struct pci_map *map, unsigned index, GError **error)
{
	xmlNode *port;

	if (index >= BUSES) {
		domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, map->devices,
			    "more PCI devices than %d buses hold; remove some", BUSES);
		return NULL;
	}
	port = add_controller(map, index, "pcie-root-port");
	map->added_ports = true;
	return place_port(map, port, error) ? port : NULL;
}

/* Those without an index get the lowest that is free. */
static void number_controllers(struct pci_map *map)
{
	bool used[BUSES] = { true };
	unsigned next = 1;

	xml_for_each(controller, map->devices, "controller") if (is_pci_controller(controller) &&
								 xml_attr(controller, "index"))
		used[number(controller, "index", 0)] = true;
	xml_for_each(controller, map->devices, "controller")
	{
		if (!is_pci_controller(controller) || xml_attr(controller, "index"))
			continue;
		while (next < BUSES && used[next])
			next++;
		if (xml_attr_is(controller, "model", "pcie-root"))
			xml_set(controller, "index", "0");
		else
			xml_set(controller, "index", "%u", next++);
	}
}

static bool collect_controller(struct pci_map *map, const xmlNode *controller, GError **error)
{
	const char *model = xml_attr(controller, "model");
	unsigned index = number(controller, "index", 0);

	if (!strcmp(model, "pci-root"))
		return domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, controller,
				   "model='pci-root' is not of a q35 machine; use 'pcie-root'");
	if (!strcmp(model, "pcie-root") != (index == 0))
		return domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, controller,
				   "index='%u' and model='%s' do not fit: pcie-root, and only it, "
				   "has index 0; correct one of the two",
				   index, model);
	if (index >= BUSES || map->kind[index] != BUS_ABSENT)
		return domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, controller,
				   "index='%u' is taken by another controller or above 255", index);
	map->kind[index] = kind_of_model(model);
	map->owner_named_ports |= index != 0;
	return true;
}

static bool collect_controllers(struct pci_map *map, GError **error)
{
	number_controllers(map);
	xml_for_each(controller, map->devices,
		     "controller") if (is_pci_controller(controller) &&
				       !collect_controller(map, controller, error)) return false;
	if (map->kind[0] == BUS_ABSENT)
		add_controller(map, 0, "pcie-root");
	return true;
}

/* --- the steps --- */

static bool collect_given(struct pci_map *map, GError **error)
{
	xml_for_each(device, map->devices, NULL) if (domain_pci_address(device).set &&
						     !take_given(map, device, error)) return false;
	return true;
}

/* Below the highest bus that a controller makes or an address names, every bus gets a port. */
static bool add_named_buses(struct pci_map *map, GError **error)
{
	unsigned highest = BUSES - 1;

	while (map->kind[highest] == BUS_ABSENT)
		highest--; /* ends at bus 0 */

	xml_for_each(device, map->devices, NULL)
	{
		struct domain_address at = domain_pci_address(device);

		if (at.set)
			highest = MAX(highest, at.bus);
	}
	for (unsigned bus = 1; bus <= highest; bus++)
		if (map->kind[bus] == BUS_ABSENT && !add_port(map, bus, error))
			return false;
	return true;
}

/* Devices of the chipset, and the video card that firmware expects first. */
static void place_fixed(struct pci_map *map)
{
	static const struct {
		const char *element, *child, *attribute, *value;
		struct domain_address at;
	} fixed[] = {
		{ "controller", NULL, "type", "sata", { true, 0, 0x1f, 2 } },
		{ "sound", NULL, "model", "ich9", { true, 0, 0x1b, 0 } },
		{ "video", "model", "type", NULL, { true, 0, 1, 0 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		xmlNode *device = xml_child(map->devices, fixed[i].element);
		const char *value;

		while (device && fixed[i].value &&
		       !xml_attr_is(device, fixed[i].attribute, fixed[i].value))
			device = xml_next(device, fixed[i].element);
		if (!device || xml_child(device, "address"))
			continue;
		value = xml_attr(fixed[i].child ? xml_child(device, fixed[i].child) : device,
				 fixed[i].attribute);
		if (!g_strcmp0(value, "none") ||
		    owner_of(map, 0, fixed[i].at.slot, fixed[i].at.function))
			continue;
		take(map, device, fixed[i].at);
	}
}

static bool place_ports(struct pci_map *map, GError **error)
{
	xml_for_each(port, map->devices,
		     "controller") if (is_root_port(port) && !domain_pci_address(port).set &&
				       !place_port(map, port, error)) return false;
	return true;
}

static unsigned free_port(const struct pci_map *map)
{
	for (unsigned bus = 1; bus < BUSES; bus++)
		if (map->kind[bus] == BUS_PORT && slot_is_empty(map, bus, 0))
			return bus;
	return 0;
}

static bool place_device(struct pci_map *map, xmlNode *device, GError **error)
{
	unsigned bus = free_port(map);

	if (!bus) {
		bus = free_index(map);
		if (!add_port(map, bus, error))
			return false;
	}
	take(map, device, (struct domain_address){ true, bus, 0, 0 });
	return true;
}

static bool place_devices(struct pci_map *map, GError **error)
{
	static const struct {
		const char *element;
		bool pci_controllers;
	} port_order[] = {
		{ "controller", true },  { "filesystem", false }, { "interface", false },
		{ "controller", false }, { "disk", false },       { "memballoon", false },
		{ "rng", false },        { "input", false },      { "vsock", false },
		{ "crypto", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(port_order); i++) {
		xml_for_each(device, map->devices, port_order[i].element)
		{
			const char *type = xml_attr(xml_child(device, "address"), "type");

			if (is_pci_controller(device) != port_order[i].pci_controllers ||
			    !wants_port(device) || domain_pci_address(device).set ||
			    (type && strcmp(type, "pci")))
				continue;
			if (!place_device(map, device, error))
				return false;
		}
	}
	return true;
}

/* Conventional devices that a machine of ours can have: libvirt puts them behind a bridge, which is
 * not there yet, so they get a slot of the root complex. */
static bool is_conventional(const xmlNode *node)
{
	const char *name = (const char *)node->name;

	return (!strcmp(name, "watchdog") && xml_attr_is(node, "model", "i6300esb")) ||
	       (!strcmp(name, "panic") && xml_attr_is(node, "model", "pvpanic"));
}

static bool place_conventional(struct pci_map *map, GError **error)
{
	xml_for_each(device, map->devices, NULL)
	{
		unsigned slot = 1;

		if (!is_conventional(device) || xml_child(device, "address"))
			continue;
		while (slot < 0x1f && !slot_is_empty(map, 0, slot))
			slot++;
		if (slot == 0x1f)
			return domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, device,
					   "no PCI slot is left for it; remove some devices");
		take(map, device, (struct domain_address){ true, 0, slot, 0 });
	}
	return true;
}

static bool keep_one_free(struct pci_map *map, GError **error)
{
	if (map->owner_named_ports || !map->added_ports || free_port(map))
		return true;
	return add_port(map, free_index(map), error) != NULL;
}

static bool mark_multifunction(struct pci_map *map, unsigned bus, unsigned slot, GError **error)
{
	const xmlNode *first = owner_of(map, bus, slot, 0), *other = NULL;

	for (unsigned function = 1; function < FUNCTIONS && !other; function++)
		other = owner_of(map, bus, slot, function);
	if (!other || (bus == 0 && slot == 0x1f))
		return true;
	if (!first)
		return domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, other,
				   "it is at a function of PCI slot %02x:%02x whose function 0 is "
				   "empty, so no guest finds it; put a device there",
				   bus, slot);
	xml_set(xml_child(first, "address"), "multifunction", "on");
	return true;
}

static bool finish(struct pci_map *map, GError **error)
{
	for (unsigned bus = 0; bus < BUSES; bus++)
		for (unsigned slot = 0; slot < SLOTS && map->kind[bus]; slot++)
			if (!mark_multifunction(map, bus, slot, error))
				return false;
	xml_for_each(port, map->devices, "controller")
	{
		struct domain_address at = domain_pci_address(port);
		xmlNode *target;
		char text[16];

		if (!is_root_port(port))
			continue;
		xml_default(xml_ensure(port, "model"), "name", "pcie-root-port");
		target = xml_ensure(port, "target");
		xml_default(target, "chassis", xml_attr(port, "index"));
		g_snprintf(text, sizeof(text), "0x%x", at.slot << 3 | at.function);
		xml_default(target, "port", text);
	}
	return true;
}

bool domain_assign_pci(struct domain *domain, GError **error)
{
	struct pci_map *map = g_new0(struct pci_map, 1);
	bool good;

	map->domain = domain;
	map->devices = xml_ensure(xmlDocGetRootElement(domain->doc), "devices");
	good = collect_controllers(map, error) && collect_given(map, error);
	if (good)
		place_fixed(map);
	good = good && place_ports(map, error) && add_named_buses(map, error) &&
	       place_devices(map, error) && keep_one_free(map, error) &&
	       place_conventional(map, error) && finish(map, error);
	free_map(map);
	return good;
}
