/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port forwards that are asked for outside the XML: "[tcp:|udp:][ADDRESS:]PORT:GUESTPORT", put
 * into the tree as libvirt writes them. Without an address they are for this host alone: who
 * types a command seldom means to open the guest to the world.
 */
#include "domain/message.h"
#include "domain/xml.h"

#include <string.h>

struct spec {
	const char *proto;
	char *address; /* or NULL */
	u64 port, to;
};

static bool read_port(const char *text, u64 *port)
{
	return g_ascii_string_to_unsigned(text, 10, 1, 65535, port, NULL);
}

/* From the end, because an IPv6 address has colons of its own. */
static bool read_spec(const char *text, struct spec *spec)
{
	char *rest, *colon;
	bool good = false;

	spec->proto = g_str_has_prefix(text, "udp:") ? "udp" : "tcp";
	if (g_str_has_prefix(text, "udp:") || g_str_has_prefix(text, "tcp:"))
		text += strlen("udp:");
	rest = g_strdup(text);
	colon = strrchr(rest, ':');
	if (colon && read_port(colon + 1, &spec->to)) {
		*colon = '\0';
		colon = strrchr(rest, ':');
		good = read_port(colon ? colon + 1 : rest, &spec->port);
		if (good && colon) {
			*colon = '\0';
			spec->address = g_strdup(rest);
			g_strdelimit(spec->address, "[]", ' ');
			g_strstrip(spec->address);
		}
	}
	g_free(rest);
	return good;
}

static xmlNode *user_interface(const struct domain *domain)
{
	xmlNode *devices = xml_child(xmlDocGetRootElement(domain->doc), "devices");

	xml_for_each(interface, devices,
		     "interface") if (xml_attr_is(interface, "type", "user")) return interface;
	return NULL;
}

bool domain_add_forward(struct domain *domain, const char *text, GError **error)
{
	struct spec spec = { .address = NULL };
	xmlNode *interface = user_interface(domain), *forward, *range;

	if (!read_spec(text, &spec)) {
		g_set_error(error, DOMAIN_ERROR, DOMAIN_ERROR_VALUE,
			    "'%s' is not a port forward; write [tcp:|udp:][ADDRESS:]PORT:GUESTPORT",
			    text);
		return false;
	}
	if (!interface) {
		g_free(spec.address);
		return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, NULL,
				   "there is no <interface type='user'> to forward '%s' to", text);
	}
	forward = xml_add(interface, "portForward", NULL);
	xml_set(forward, "proto", "%s", spec.proto);
	xml_set(forward, "address", "%s", spec.address ? spec.address : "127.0.0.1");
	range = xml_add(forward, "range", NULL);
	xml_set(range, "start", "%" G_GUINT64_FORMAT, spec.port);
	xml_set(range, "to", "%" G_GUINT64_FORMAT, spec.to);
	g_free(spec.address);
	return true;
}
