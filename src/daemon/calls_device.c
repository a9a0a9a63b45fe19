/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices of definitions: added, changed and taken away one by one. Running guests keep theirs
 * until they are started again: nothing is plugged into them in this version, except that a network
 * card's <link> goes up and down:
 *
 *   XML of a card that differs in its <link> alone
 *     --> monitor --> the live domain and its record --> the definition, if that is asked for
 */
#include "daemon/calls.h"
#include "daemon/store.h"
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

static bool refuse_live(const struct guest *guest, GError **error)
{
	return daemon_refuse(
		error, VIR_ERR_OPERATION_UNSUPPORTED,
		"devices of domain '%s' are not changed while it runs in this version; with "
		"--config alone its definition is, for the next start",
		guest->name);
}

/* The guest that is meant, and which of its domains; NULL: the call is answered. */
static struct guest *guest_affected(struct rpc_call *call, const struct rpc_domain *dom, u32 flags,
				    u32 known, bool *live, bool *config)
{
	struct guest *guest = call_guest(call, dom);

	if (!guest ||
	    !call_flags(call, flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | known) ||
	    !call_affects(call, guest, flags, live, config))
		return NULL;
	return guest;
}

/* The guest whose definition is to be changed, or NULL, and the call is answered. */
static struct guest *guest_to_change(struct rpc_call *call, const struct rpc_domain *dom, u32 flags,
				     u32 known)
{
	bool live, config;
	struct guest *guest = guest_affected(call, dom, flags, known, &live, &config);
	GError *error = NULL;

	if (!guest || !live)
		return guest;
	refuse_live(guest, &error);
	fail_call(call, error);
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

/* --- the link of a card of a running guest --- */

/* A copy of @device without its <link>, and without what running devices have and XML for them,
 * @given, need not say. */
static xmlNode *comparable(const xmlNode *device, const xmlNode *given)
{
	static const char *const optional[] = { "alias", "address", "target" };
	xmlNode *copy = xmlCopyNode((xmlNode *)device, 1), *link = xml_child(copy, "link");

	if (link)
		xml_remove(link);
	for (unsigned i = 0; i < G_N_ELEMENTS(optional); i++) {
		xmlNode *child = xml_child(copy, optional[i]);

		if (child && !xml_child(given, optional[i]))
			xml_remove(child);
	}
	return copy;
}

static bool same_but_link(const xmlNode *device, const xmlNode *given)
{
	xmlNode *a = comparable(device, given), *b = comparable(given, given);
	bool same = agrees(a, b) && agrees(b, a);

	xmlFreeNode(a);
	xmlFreeNode(b);
	return same;
}

/* The card that is @given but for its link, or NULL. */
static xmlNode *find_card(const struct domain *live, const xmlNode *given)
{
	xmlNode *devices = xml_child(xmlDocGetRootElement(live->doc), "devices");

	if (strcmp((const char *)given->name, "interface") || !key_of(given))
		return NULL;
	xml_for_each(card, devices, "interface")
	{
		if (is_meant(given, card) && xml_child(card, "alias") && same_but_link(card, given))
			return card;
	}
	return NULL;
}

static void copy_link(xmlNode *card, const xmlNode *given)
{
	xmlNode *old = xml_child(card, "link"), *link = xml_child(given, "link");

	if (old)
		xml_remove(old);
	if (link)
		xmlAddChild(card, xmlDocCopyNode(link, card->doc, 1));
}

/* A copy of what runs, with the link as it is given; NULL with @error set: there is none. */
static struct domain *relinked(const struct guest *guest, const xmlNode *given, GError **error)
{
	struct domain *copy = define_copy(guest->live, error);
	xmlNode *card = copy ? find_card(copy, given) : NULL;

	if (!copy)
		return NULL;
	if (card) {
		copy_link(card, given);
		return define_live_again(copy, error);
	}
	refuse_live(guest, error);
	domain_free(copy);
	return NULL;
}

/* A change of a link, until the call is answered. */
struct relink {
	struct rpc_call *call;
	xmlDoc *given;
	bool config; /* of the definition, too */
};

static void end_relink(struct relink *relink)
{
	xmlFreeDoc(relink->given);
	g_free(relink);
}

/* What else was changed of the live domain meanwhile stays. */
static bool note_link(struct guest *guest, const struct relink *relink, GError **error)
{
	g_autofree char *path = NULL;
	struct domain *live;

	if (!guest->live)
		return daemon_refuse(error, VIR_ERR_OPERATION_FAILED, "domain '%s' has ended",
				     guest->name);
	live = relinked(guest, xmlDocGetRootElement(relink->given), error);
	if (!live)
		return false;
	path = running_path(guest);
	domain_free(guest->live);
	guest->live = live;
	store_write(guest->daemon->store, path, running_text(guest->id, live), NULL, NULL);
	return true;
}

static void on_linked(struct guest *guest, const GError *error, void *opaque)
{
	struct relink *relink = opaque;
	GError *ours = error ? g_error_copy(error) : NULL;

	if (ours || !note_link(guest, relink, &ours))
		fail_call(relink->call, ours);
	else if (relink->config && !guest->config) /* undefined meanwhile */
		rpc_call_fail(relink->call, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
			      "the link is changed while domain '%s' runs, but it has no "
			      "definition any more to change",
			      guest->name);
	else if (relink->config)
		change_definition(relink->call, guest, update, xmlDocGetRootElement(relink->given));
	else
		call_done(guest, NULL, relink->call);
	end_relink(relink);
}

/* All that can be wrong with both domains is known before the guest is told. */
static bool try_relink(struct guest *guest, struct relink *relink, GError **error)
{
	xmlNode *given = xmlDocGetRootElement(relink->given), *card = find_card(guest->live, given);
	g_autofree char *alias = NULL;
	struct domain *live, *config = NULL;

	if (!card)
		return refuse_live(guest, error);
	live = relinked(guest, given, error);
	if (!live || (relink->config && !(config = changed(guest, update, given, error)))) {
		domain_free(live);
		return false;
	}
	domain_free(live);
	domain_free(config);
	alias = g_strdup(xml_attr(xml_child(card, "alias"), "name"));
	return guest_set_link(guest, alias, !xml_attr_is(xml_child(given, "link"), "state", "down"),
			      on_linked, relink, error);
}

static void relink(struct rpc_call *call, struct guest *guest, const char *xml, bool config)
{
	struct relink *relink = g_new0(struct relink, 1);
	GError *error = NULL;

	relink->call = call;
	relink->config = config;
	relink->given = xml_read(xml, strlen(xml), "the device", &error);
	if (relink->given && try_relink(guest, relink, &error))
		return;
	fail_call(call, error);
	end_relink(relink);
}

/* --- their handlers --- */

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

/* Nothing resists force: there is no lock of a drive's door. */
static void update_flags(struct rpc_call *call,
			 const struct rpc_domain_update_device_flags_args *args)
{
	bool live, config;
	struct guest *guest = guest_affected(call, &args->dom, args->flags,
					     VIR_DOMAIN_DEVICE_MODIFY_FORCE, &live, &config);

	if (guest && live)
		relink(call, guest, args->xml, config);
	else if (guest)
		change_device(call, &args->dom, args->xml, args->flags,
			      VIR_DOMAIN_DEVICE_MODIFY_FORCE, update);
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
