/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which port of which virtio-serial controller a console or channel is.
 *
 * libvirt's rules: what is given stays; then consoles and after them channels get the first free
 * port of the first controller that has one, port 0 being for consoles only (a driver that knows
 * one port takes it for its console); where none is free, or none is there, a controller is added.
 * libvirt leaves the numbers of consoles to QEMU; here they are written down like all others.
 */
#include "domain/virtio_serial.h"

#include "domain/message.h"
#include "domain/xml.h"

#include <stdlib.h>
#include <string.h>

#define CONTROLLERS 256

struct serial_map {
	struct domain *domain;
	xmlNode *devices;
	const xmlNode *controller[CONTROLLERS];
	const xmlNode **owner[CONTROLLERS]; /* of its ports; NULL: nobody has one */
};

static unsigned number(const xmlNode *node, const char *name, unsigned otherwise)
{
	const char *value = xml_attr(node, name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

static bool is_port(const xmlNode *node)
{
	return xml_attr_is(xml_child(node, "target"), "type", "virtio");
}

static const xmlNode *given_address(const xmlNode *node)
{
	const xmlNode *address = xml_child(node, "address");

	return xml_attr_is(address, "type", "virtio-serial") ? address : NULL;
}

static bool is_console(const xmlNode *node)
{
	return !strcmp((const char *)node->name, "console");
}

static void collect_controllers(struct serial_map *map)
{
	xml_for_each(node, map->devices,
		     "controller") if (xml_attr_is(node, "type", "virtio-serial"))
		map->controller[number(node, "index", 0) % CONTROLLERS] = node;
}

static void add_controller(struct serial_map *map, unsigned index)
{
	xmlNode *node = xml_add(map->devices, "controller", NULL);

	xml_set(node, "type", "virtio-serial");
	xml_set(node, "index", "%u", index);
	map->controller[index] = node;
}

static unsigned port_count(const struct serial_map *map, unsigned controller)
{
	return number(map->controller[controller], "ports", VIRTIO_SERIAL_PORTS);
}

static const xmlNode *owner_of(const struct serial_map *map, unsigned controller, unsigned port)
{
	return map->owner[controller] ? map->owner[controller][port] : NULL;
}

static void take(struct serial_map *map, xmlNode *node, unsigned controller, unsigned port)
{
	xmlNode *address = xml_ensure(node, "address");

	if (!map->owner[controller])
		map->owner[controller] = g_new0(const xmlNode *, VIRTIO_SERIAL_PORTS);
	map->owner[controller][port] = node;
	xml_set(address, "type", "virtio-serial");
	xml_set(address, "controller", "%u", controller);
	xml_default(address, "bus", "0");
	xml_set(address, "port", "%u", port);
}

static bool take_given(struct serial_map *map, xmlNode *node, GError **error)
{
	const xmlNode *address = given_address(node), *other;
	unsigned controller = number(address, "controller", 0);
	const char *text = xml_attr(address, "port");
	u64 port;

	if (!map->controller[controller])
		add_controller(map, controller);
	if (!text)
		return true;
	if (!g_ascii_string_to_unsigned(text, 10, 0, VIRTIO_SERIAL_PORTS - 1, &port, NULL) ||
	    port >= port_count(map, controller))
		return domain_fail(map->domain, error, DOMAIN_ERROR_VALUE, address,
				   "port='%s': controller %u has the ports 0 to %u; write one of "
				   "them, or leave the <address> out",
				   text, controller, port_count(map, controller) - 1);
	if (!port && !is_console(node))
		return domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, address,
				   "port='0' is for a console; use another, or leave the <address> "
				   "out");
	other = owner_of(map, controller, port);
	if (other)
		return domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, address,
				   "port %u of controller %u is already that of the <%s> on line "
				   "%ld; give each its own, or leave the <address> out",
				   (unsigned)port, controller, (const char *)other->name,
				   xmlGetLineNo((xmlNode *)other));
	take(map, node, controller, port);
	return true;
}

/* A free port of @controller for @node; VIRTIO_SERIAL_PORTS: there is none. */
static unsigned free_port(const struct serial_map *map, unsigned controller, const xmlNode *node)
{
	unsigned count = map->controller[controller] ? port_count(map, controller) : 0;

	for (unsigned port = is_console(node) ? 0 : 1; port < count; port++)
		if (!owner_of(map, controller, port))
			return port;
	return VIRTIO_SERIAL_PORTS;
}

static bool place(struct serial_map *map, xmlNode *node, GError **error)
{
	const xmlNode *address = given_address(node);
	unsigned from = number(address, "controller", 0);
	unsigned to = address ? from : CONTROLLERS - 1;

	for (unsigned controller = from; controller <= to; controller++) {
		unsigned port;

		if (!map->controller[controller] && !address)
			continue;
		port = free_port(map, controller, node);
		if (port == VIRTIO_SERIAL_PORTS)
			continue;
		take(map, node, controller, port);
		return true;
	}
	for (unsigned index = 0; !address && index < CONTROLLERS; index++) {
		if (map->controller[index])
			continue;
		add_controller(map, index);
		take(map, node, index, is_console(node) ? 0 : 1);
		return true;
	}
	return domain_fail(map->domain, error, DOMAIN_ERROR_CONFLICT, node,
			   "no port of a virtio-serial controller is left for it; raise the "
			   "controller's ports='...', or remove some channels");
}

static bool each_port(struct serial_map *map, bool given, GError **error)
{
	static const char *const elements[] = { "console", "channel" };

	for (size_t i = 0; i < ARRAY_LEN(elements); i++)
		xml_for_each(node, map->devices, elements[i])
		{
			bool has = given_address(node) && xml_attr(given_address(node), "port");

			if (!is_port(node))
				continue;
			if (given && given_address(node) && !take_given(map, node, error))
				return false;
			if (!given && !has && !place(map, node, error))
				return false;
		}
	return true;
}

bool domain_assign_virtio_serial(struct domain *domain, GError **error)
{
	struct serial_map *map = g_new0(struct serial_map, 1);
	bool good;

	map->domain = domain;
	map->devices = xml_ensure(xmlDocGetRootElement(domain->doc), "devices");
	collect_controllers(map);
	good = each_port(map, true, error) && each_port(map, false, error);
	for (unsigned i = 0; i < CONTROLLERS; i++)
		g_free(map->owner[i]);
	g_free(map);
	return good;
}
