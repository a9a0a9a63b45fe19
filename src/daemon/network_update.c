/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One row for each section that has parts. See network_update.h. */
#include "daemon/network_update.h"

#include "base/types.h"
#include "daemon/daemon.h"
#include "domain/xml.h"
#include "rpc_constants.h"

#include <string.h>

struct section {
	unsigned number;
	const char *name;   /* as virsh calls it */
	const char *parent; /* of its elements, below <network>; NULL: that itself */
	const char *element;
	const char *keys[4]; /* attributes that tell one from others */
	bool any_key;        /* two that are alike in one of them are the same */
	bool modified;       /* it can be changed, not only added and deleted */
	bool in_dhcp;        /* below an <ip> */
};

static const struct section sections[] = {
	{ VIR_NETWORK_SECTION_IP_DHCP_HOST,
	  "ip-dhcp-host",
	  "dhcp",
	  "host",
	  { "mac", "name", "ip" },
	  true,
	  true,
	  true },
	{ VIR_NETWORK_SECTION_IP_DHCP_RANGE,
	  "ip-dhcp-range",
	  "dhcp",
	  "range",
	  { "start", "end" },
	  false,
	  false,
	  true },
	{ VIR_NETWORK_SECTION_FORWARD_INTERFACE,
	  "forward-interface",
	  "forward",
	  "interface",
	  { "dev" },
	  false,
	  false,
	  false },
	{ VIR_NETWORK_SECTION_PORTGROUP,
	  "portgroup",
	  NULL,
	  "portgroup",
	  { "name" },
	  false,
	  true,
	  false },
	{ VIR_NETWORK_SECTION_DNS_HOST, "dns-host", "dns", "host", { "ip" }, false, false, false },
	{ VIR_NETWORK_SECTION_DNS_TXT, "dns-txt", "dns", "txt", { "name" }, false, false, false },
	{ VIR_NETWORK_SECTION_DNS_SRV,
	  "dns-srv",
	  "dns",
	  "srv",
	  { "service", "protocol", "domain" },
	  false,
	  false,
	  false },
};

static const struct section *find_section(unsigned number)
{
	for (size_t i = 0; i < ARRAY_LEN(sections); i++)
		if (sections[i].number == number)
			return &sections[i];
	return NULL;
}

/* --- where it is --- */

static xmlNode *find_ip(xmlNode *root, int parent)
{
	int n = 0;

	xml_for_each(ip, root, "ip") if (parent < 0 ? xml_child(ip, "dhcp") != NULL
						    : n++ == parent) return ip;
	return parent < 0 ? xml_child(root, "ip") : NULL;
}

/* The element that has the section's, made if there is none; NULL with @error set: it cannot be. */
static xmlNode *find_parent(xmlNode *root, const struct section *section, int parent,
			    GError **error)
{
	xmlNode *above = section->in_dhcp ? find_ip(root, parent) : root;

	if (above)
		return section->parent ? xml_ensure(above, section->parent) : above;
	daemon_refuse(error, VIR_ERR_OPERATION_INVALID,
		      "the network has no <ip> whose <dhcp> could have it");
	return NULL;
}

/* Is @one what @other describes? Of keys that both have: one is enough for some, all must be alike
 * for others. */
static bool is_same(const struct section *section, const xmlNode *one, const xmlNode *other)
{
	unsigned alike = 0, different = 0;

	for (unsigned i = 0; i < ARRAY_LEN(section->keys) && section->keys[i]; i++) {
		const char *a = xml_attr(one, section->keys[i]);
		const char *b = xml_attr(other, section->keys[i]);

		if (!a && !b)
			continue;
		if (a && b && !g_ascii_strcasecmp(a, b))
			alike++;
		else if (!section->any_key || (a && b))
			different++;
	}
	return alike && (section->any_key || !different);
}

static xmlNode *find_same(const xmlNode *parent, const struct section *section,
			  const xmlNode *wanted)
{
	xml_for_each(node, parent,
		     section->element) if (is_same(section, node, wanted)) return node;
	return NULL;
}

/* --- what is done --- */

static bool refuse(const struct section *section, const char *text, GError **error)
{
	return daemon_refuse(error, VIR_ERR_OPERATION_INVALID,
			     "Requested operation is not valid: section '%s' of the network: %s",
			     section->name, text);
}

static bool add(xmlNode *parent, const struct section *section, const xmlNode *part, bool first,
		GError **error)
{
	xmlNode *before = xml_child(parent, section->element);
	xmlNode *copy;

	if (find_same(parent, section, part))
		return refuse(section, "there is one like that already", error);
	copy = xmlDocCopyNode((xmlNode *)part, parent->doc, 1);
	if (first && before)
		xmlAddPrevSibling(before, copy);
	else
		xmlAddChild(parent, copy);
	return true;
}

static bool modify(xmlNode *parent, const struct section *section, const xmlNode *part,
		   GError **error)
{
	xmlNode *same = find_same(parent, section, part);

	if (!section->modified)
		return refuse(section, "its parts are added and deleted, not changed", error);
	if (!same)
		return refuse(section, "there is none like that to change", error);
	xmlReplaceNode(same, xmlDocCopyNode((xmlNode *)part, parent->doc, 1));
	xmlFreeNode(same);
	return true;
}

static bool delete (xmlNode *parent, const struct section *section, const xmlNode *part,
		    GError **error)
{
	xmlNode *same = find_same(parent, section, part);

	if (!same)
		return refuse(section, "there is none like that to delete", error);
	xml_remove(same);
	if (section->parent && !xml_child(parent, NULL) && !parent->properties)
		xml_remove(parent);
	return true;
}

static bool apply(xmlNode *parent, unsigned command, const struct section *section,
		  const xmlNode *part, GError **error)
{
	switch (command) {
	case VIR_NETWORK_UPDATE_COMMAND_MODIFY: return modify(parent, section, part, error);
	case VIR_NETWORK_UPDATE_COMMAND_DELETE: return delete (parent, section, part, error);
	case VIR_NETWORK_UPDATE_COMMAND_ADD_LAST:
	case VIR_NETWORK_UPDATE_COMMAND_ADD_FIRST:
		return add(parent, section, part, command == VIR_NETWORK_UPDATE_COMMAND_ADD_FIRST,
			   error);
	default:
		return daemon_refuse(error, VIR_ERR_NO_SUPPORT,
				     "networks are not changed by a command %u", command);
	}
}

bool network_update(xmlDoc *doc, unsigned command, unsigned number, int parent, const char *xml,
		    GError **error)
{
	const struct section *section = find_section(number);
	xmlDoc *part;
	xmlNode *root, *above;
	bool good = false;

	if (!section)
		return daemon_refuse(error, VIR_ERR_OPERATION_UNSUPPORTED,
				     "this section of networks is not changed in part; define the "
				     "network again (virsh net-edit)");
	part = xml_read(xml, strlen(xml), "part of network XML", error);
	if (!part)
		return false;
	root = xmlDocGetRootElement(part);
	if (strcmp((const char *)root->name, section->element)) {
		daemon_refuse(error, VIR_ERR_XML_ERROR,
			      "a part of the section '%s' is a <%s>, not a <%s>", section->name,
			      section->element, (const char *)root->name);
	} else {
		above = find_parent(xmlDocGetRootElement(doc), section, parent, error);
		good = above && apply(above, command, section, root, error);
	}
	xmlFreeDoc(part);
	return good;
}
