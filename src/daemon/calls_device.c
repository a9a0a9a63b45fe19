/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices of definitions: added, changed and taken away one by one. Running guests keep theirs
 * until they are started again: nothing is plugged into them in this version.
 */
#include "daemon/calls.h"
#include "domain/elements.h"
#include "domain/xml.h"

#include <string.h>

/* --- which one is meant --- */

/* What the text says, without the blanks around it. */
static bool same_text(const xmlNode *wanted, const xmlNode *node)
{
	g_autofree char *a = g_strstrip(g_strdup(xml_text(wanted)));
	g_autofree char *b = g_strstrip(g_strdup(xml_text(node)));

	return xml_child(wanted, NULL) || !strcmp(a, b);
}

static bool agrees(const xmlNode *wanted, const xmlNode *node);

static bool has_child_like(const xmlNode *node, const xmlNode *wanted)
{
	xml_for_each(child, node,
		     (const char *)wanted->name) if (agrees(wanted, child)) return true;
	return false;
}

/* Does @node say all that @wanted says? What it says beside that, nobody has asked. */
static bool agrees(const xmlNode *wanted, const xmlNode *node)
{
	for (const xmlAttr *a = wanted->properties; a; a = a->next)
		if (!xml_attr_is(node, (const char *)a->name,
				 xml_attr(wanted, (const char *)a->name)))
			return false;
	xml_for_each(child, wanted, NULL) if (!has_child_like(node, child)) return false;
	return same_text(wanted, node);
}

/* What a device goes by: one element's attribute; of others all that is said must agree. */
static const struct key {
	const char *device, *element, *attribute;
} keys[] = {
	{ "disk", "target", "dev" },
	{ "interface", "mac", "address" },
};

static const struct key *key_of(const xmlNode *device)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++)
		if (!strcmp(keys[i].device, (const char *)device->name) &&
		    xml_attr(xml_child(device, keys[i].element), keys[i].attribute))
			return &keys[i];
	return NULL;
}

static bool is_meant(const xmlNode *wanted, const xmlNode *device)
{
	const struct key *key = key_of(wanted);
	const char *value;

	if (!key)
		return agrees(wanted, device);
	value = xml_attr(xml_child(device, key->element), key->attribute);
	return value && !g_ascii_strcasecmp(
				value, xml_attr(xml_child(wanted, key->element), key->attribute));
}

static char *name_of(const xmlNode *wanted)
{
	const struct key *key = key_of(wanted);

	return key ? g_strdup_printf("%s %s", wanted->name,
				     xml_attr(xml_child(wanted, key->element), key->attribute))
		   : g_strdup_printf("<%s> of that description", wanted->name);
}

/* The one in @devices; NULL with @error set: there is none, or it might be several. */
static xmlNode *find_device(const xmlNode *devices, const xmlNode *wanted, GError **error)
{
	g_autofree char *name = name_of(wanted);
	xmlNode *found = NULL;
	unsigned count = 0;

	xml_for_each(device, devices, (const char *)wanted->name)
	{
		if (!is_meant(wanted, device))
			continue;
		found = device;
		count++;
	}
	if (!count)
		daemon_refuse(error, VIR_ERR_DEVICE_MISSING,
			      "device not found: the definition has no %s", name);
	else if (count > 1)
		daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
			      "the definition has %u %s: say which, by its <address> or <alias>",
			      count, name);
	return count == 1 ? found : NULL;
}

/* --- the changes --- */

typedef bool device_change(xmlNode *devices, xmlNode *given, GError **error);

static xmlNode *copy_into(xmlNode *devices, xmlNode *given)
{
	return xmlDocCopyNode(given, devices->doc, 1);
}

static bool attach(xmlNode *devices, xmlNode *given, GError **error)
{
	const struct key *key = key_of(given);
	g_autofree char *name = name_of(given);

	xml_for_each(device, key ? devices : NULL, (const char *)given->name)
	{
		if (is_meant(given, device))
			return daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
					     "the definition has %s already", name);
	}
	xmlAddChild(devices, copy_into(devices, given));
	return true;
}

static bool detach(xmlNode *devices, xmlNode *given, GError **error)
{
	xmlNode *device = find_device(devices, given, error);

	if (device)
		xml_remove(device);
	return device;
}

/* It stays in its place, also on its bus unless another is named. */
static bool update(xmlNode *devices, xmlNode *given, GError **error)
{
	xmlNode *device, *fresh, *address;

	if (!key_of(given))
		return daemon_refuse(error, VIR_ERR_OPERATION_UNSUPPORTED,
				     "only a <disk> by its <target dev=> and an <interface> by its "
				     "<mac address=> are changed in this version, not <%s>; change "
				     "the definition (virsh edit)",
				     given->name);
	device = find_device(devices, given, error);
	if (!device)
		return false;
	fresh = copy_into(devices, given);
	address = xml_child(device, "address");
	if (address && !xml_child(fresh, "address"))
		xmlAddChild(fresh, xmlDocCopyNode(address, devices->doc, 1));
	xmlReplaceNode(device, fresh);
	xmlFreeNode(device);
	return true;
}

static bool detach_alias(xmlNode *devices, xmlNode *given, GError **error)
{
	const char *alias = xml_attr(given, "name");

	xml_for_each(device, devices, NULL)
	{
		if (!xml_attr_is(xml_child(device, "alias"), "name", alias))
			continue;
		xml_remove(device);
		return true;
	}
	return daemon_refuse(error, VIR_ERR_DEVICE_MISSING,
			     "device not found: the definition has none with the alias '%s'; "
			     "aliases of one's own begin with ua-",
			     alias);
}

static struct domain *changed(const struct guest *guest, device_change *change, xmlNode *given,
			      GError **error)
{
	struct domain *copy = define_copy(guest->config, error);

	if (!copy)
		return NULL;
	if (change(xml_ensure(xmlDocGetRootElement(copy->doc), "devices"), given, error))
		return define_again(copy, error);
	g_prefix_error(error, "domain '%s': ", guest->name);
	domain_free(copy);
	return NULL;
}

/* --- calls --- */

static void change_definition(struct rpc_call *call, struct guest *guest, device_change *change,
			      xmlNode *given)
{
	GError *error = NULL;
	struct domain *config = changed(guest, change, given, &error);

	if (!config ||
	    !define_guest(guest->daemon, config, define_whose(guest, call_authority(call)),
			  call_done, call, &error))
		fail_call(call, error);
}

/* The guest whose definition is to be changed, or NULL, and the call is answered. */
static struct guest *guest_to_change(struct rpc_call *call, const struct rpc_domain *dom, u32 flags,
				     u32 known)
{
	struct guest *guest = call_guest(call, dom);
	bool live, config;

	if (!guest ||
	    !call_flags(call, flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | known) ||
	    !call_affects(call, guest, flags, &live, &config))
		return NULL;
	if (!live)
		return guest;
	rpc_call_fail(call, VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU,
		      "devices of domain '%s' are not changed while it runs in this version; with "
		      "--config alone its definition is, for the next start",
		      guest->name);
	return NULL;
}

/* A device that nobody knows would do nothing. */
static bool check_device(const xmlNode *device, GError **error)
{
	GHashTable *index = elements_index();
	g_autofree char *path = g_strdup_printf("devices/%s", device->name);
	bool known = elements_find(index, path);

	g_hash_table_unref(index);
	return known || daemon_refuse(error, VIR_ERR_XML_ERROR,
				      "XML error: unknown device type '%s'", device->name);
}

static void change_device(struct rpc_call *call, const struct rpc_domain *dom, const char *xml,
			  u32 flags, u32 known, device_change *change)
{
	struct guest *guest = guest_to_change(call, dom, flags, known);
	GError *error = NULL;
	xmlDoc *doc;

	if (!guest)
		return;
	doc = xml_read(xml, strlen(xml), "the device", &error);
	if (doc && check_device(xmlDocGetRootElement(doc), &error))
		change_definition(call, guest, change, xmlDocGetRootElement(doc));
	else
		fail_call(call, error);
	xmlFreeDoc(doc);
}

/* Without flags it is the running guest that is meant. */
static void attach_plain(struct rpc_call *call, const struct rpc_domain_attach_device_args *args)
{
	change_device(call, &args->dom, args->xml, VIR_DOMAIN_AFFECT_LIVE, 0, attach);
}

static void detach_plain(struct rpc_call *call, const struct rpc_domain_detach_device_args *args)
{
	change_device(call, &args->dom, args->xml, VIR_DOMAIN_AFFECT_LIVE, 0, detach);
}

static void attach_flags(struct rpc_call *call,
			 const struct rpc_domain_attach_device_flags_args *args)
{
	change_device(call, &args->dom, args->xml, args->flags, 0, attach);
}

static void detach_flags(struct rpc_call *call,
			 const struct rpc_domain_detach_device_flags_args *args)
{
	change_device(call, &args->dom, args->xml, args->flags, 0, detach);
}

static void update_flags(struct rpc_call *call,
			 const struct rpc_domain_update_device_flags_args *args)
{
	/* nothing resists: there is no lock of a drive's door to be forced */
	change_device(call, &args->dom, args->xml, args->flags, VIR_DOMAIN_DEVICE_MODIFY_FORCE,
		      update);
}

static void detach_by_alias(struct rpc_call *call,
			    const struct rpc_domain_detach_device_alias_args *args)
{
	struct guest *guest = guest_to_change(call, &args->dom, args->flags, 0);
	xmlNode *alias;

	if (!guest)
		return;
	alias = xmlNewNode(NULL, BAD_CAST "alias");
	xml_set(alias, "name", "%s", args->alias);
	change_definition(call, guest, detach_alias, alias);
	xmlFreeNode(alias);
}

const struct rpc_handlers calls_device = {
	.domain_attach_device = attach_plain,
	.domain_attach_device_flags = attach_flags,
	.domain_detach_device = detach_plain,
	.domain_detach_device_flags = detach_flags,
	.domain_detach_device_alias = detach_by_alias,
	.domain_update_device_flags = update_flags,
};
