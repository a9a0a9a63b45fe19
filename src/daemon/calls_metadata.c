/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls that read and write what people and tools note in a domain: its title, its description, and
 * elements of other namespaces below <metadata>. Nothing here changes how a guest runs, so that a
 * running one's may change too: its record is then written again.
 */
#include "daemon/calls.h"
#include "daemon/store.h"
#include "domain/xml.h"

#include <string.h>

struct note {
	int type; /* VIR_DOMAIN_METADATA_* */
	const char *text, *key, *uri;
};

static bool fail(GError **error, int code, const char *text)
{
	g_set_error_literal(error, DAEMON_ERROR, code, text);
	return false;
}

static const char *element_of(int type)
{
	return type == VIR_DOMAIN_METADATA_DESCRIPTION ? "description"
	       : type == VIR_DOMAIN_METADATA_TITLE     ? "title"
						       : NULL;
}

static xmlNode *find_foreign(const xmlNode *root, const char *uri)
{
	xml_for_each(node, xml_child(root, "metadata"),
		     NULL) if (node->ns && node->ns->href &&
			       !g_strcmp0((const char *)node->ns->href, uri)) return node;
	return NULL;
}

static bool check_type(int type, const char *uri, GError **error)
{
	if (element_of(type) || (type == VIR_DOMAIN_METADATA_ELEMENT && uri))
		return true;
	return fail(error, VIR_ERR_INVALID_ARG,
		    "metadata is a description, a title, or an element with its namespace");
}

/* --- reading --- */

static void leave_in_element(xmlNode *element, const xmlNs *left)
{
	if (element->ns == left)
		element->ns = NULL;
	for (xmlAttr *attribute = element->properties; attribute; attribute = attribute->next)
		if (attribute->ns == left)
			attribute->ns = NULL;
}

/* Names are in no namespace, as they were when the element was given: it is known which is meant.
 */
static void leave_namespace(xmlNode *top)
{
	const xmlNs *left = top->ns;
	xmlNode *node = top;

	while (node) {
		if (node->type == XML_ELEMENT_NODE)
			leave_in_element(node, left);
		if (node->children && node->type == XML_ELEMENT_NODE) {
			node = node->children;
			continue;
		}
		while (node != top && !node->next)
			node = node->parent;
		node = node == top ? NULL : node->next;
	}
	for (xmlNs **at = &top->nsDef; *at; at = &(*at)->next) {
		if (*at != left)
			continue;
		*at = (*at)->next;
		xmlFreeNs((xmlNs *)left);
		return;
	}
}

/* The element on its own, with the other namespaces it needs; the caller frees it. */
static char *format_foreign(const xmlNode *node)
{
	xmlNode *copy = xmlCopyNode((xmlNode *)node, 1);
	xmlBuffer *buffer = xmlBufferCreate();
	char *text;

	leave_namespace(copy);
	xmlNodeDump(buffer, NULL, copy, 0, 0);
	text = g_strdup((const char *)xmlBufferContent(buffer));
	xmlBufferFree(buffer);
	xmlFreeNode(copy);
	return text;
}

static char *read_note(const struct domain *domain, int type, const char *uri)
{
	xmlDoc *doc = domain_tree(domain);
	const xmlNode *root = xmlDocGetRootElement(doc);
	const xmlNode *node =
		element_of(type) ? xml_child(root, element_of(type)) : find_foreign(root, uri);
	char *text = NULL;

	if (node)
		text = element_of(type) ? g_strdup(xml_text(node)) : format_foreign(node);
	xmlFreeDoc(doc);
	return text;
}

static void get_metadata(struct rpc_call *call, const struct rpc_domain_get_metadata_args *args)
{
	const struct guest *guest = call_guest(call, &args->dom);
	struct rpc_domain_get_metadata_ret ret;
	GError *error = NULL;
	bool live, config;
	char *text;

	if (!guest ||
	    !call_flags(call, args->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG))
		return;
	if (!check_type(args->type, args->uri, &error)) {
		fail_call(call, error);
		return;
	}
	if (!call_affects(call, guest, args->flags, &live, &config))
		return;
	text = read_note(live ? guest->live : guest->config, args->type, args->uri);
	if (!text) {
		rpc_call_fail(call, VIR_ERR_NO_DOMAIN_METADATA, VIR_FROM_QEMU,
			      "metadata not found: Requested metadata element is not present");
		return;
	}
	ret.metadata = call_text(call, text);
	rpc_reply_domain_get_metadata(call, &ret);
}

/* --- writing --- */

static bool write_foreign(xmlNode *root, const struct note *note, GError **error)
{
	xmlNode *old = find_foreign(root, note->uri), *node;
	xmlDoc *doc = NULL;

	if (note->text) {
		doc = xml_read(note->text, strlen(note->text), "metadata", error);
		if (!doc)
			return false;
	}
	if (old)
		xml_remove(old);
	if (doc) {
		node = xmlDocCopyNode(xmlDocGetRootElement(doc), root->doc, 1);
		xmlSetNs(node,
			 xmlNewNs(node, (const xmlChar *)note->uri, (const xmlChar *)note->key));
		xmlAddChild(xml_ensure(root, "metadata"), node);
		xmlFreeDoc(doc);
	}
	return true;
}

static bool write_note(struct domain *domain, const struct note *note, GError **error)
{
	xmlNode *root = xmlDocGetRootElement(domain->doc);
	const char *element = element_of(note->type);
	xmlNode *node;

	if (!element)
		return write_foreign(root, note, error);
	node = xml_child(root, element);
	if (note->text)
		xml_set_text(node ? node : xml_add(root, element, NULL), note->text);
	else if (node)
		xml_remove(node);
	return true;
}

/* What a client may note: names that XML takes, a title of one line. */
static bool check_note(const struct note *note, GError **error)
{
	if (!check_type(note->type, note->uri, error))
		return false;
	if (note->text && !g_utf8_validate(note->text, -1, NULL))
		return fail(error, VIR_ERR_INVALID_ARG, "metadata must be UTF-8");
	if (note->type == VIR_DOMAIN_METADATA_TITLE && note->text && strchr(note->text, '\n'))
		return fail(error, VIR_ERR_INVALID_ARG, "a title has one line");
	if (note->type == VIR_DOMAIN_METADATA_ELEMENT && note->text &&
	    (!note->key || xmlValidateNCName((const xmlChar *)note->key, 0)))
		return fail(error, VIR_ERR_INVALID_ARG,
			    "the key must be a name that XML takes as a prefix");
	return true;
}

/* A copy of @domain with the note; NULL with @error set. */
static struct domain *with_note(const struct domain *domain, const struct note *note,
				GError **error)
{
	g_autofree char *xml = domain_format(domain);
	g_autofree char *changed = NULL;
	struct domain *copy = domain_parse(xml, strlen(xml), domain->file, NULL, error), *result;

	if (!copy || !write_note(copy, note, error)) {
		domain_free(copy);
		return NULL;
	}
	/* once more through the parser: what is kept must be readable */
	changed = domain_format(copy);
	result = domain_parse(changed, strlen(changed), domain->file, NULL, error);
	domain_free(copy);
	return result;
}

/* What an answer and an event need of a note whose arguments are gone. */
struct noted {
	struct rpc_call *call;
	int type;
	char *uri;
};

static void done(struct guest *guest, const GError *error, void *opaque)
{
	struct noted *noted = opaque;

	call_done(guest, error, noted->call);
	if (!error)
		events_metadata(guest, noted->type, noted->uri);
	g_free(noted->uri);
	g_free(noted);
}

/* The definition first, if both change: it is the one that can fail. */
static bool write_both(struct rpc_call *call, struct guest *guest, const struct note *note,
		       bool live, bool config, GError **error)
{
	struct domain *new_live = NULL, *new_config = NULL;
	struct noted *noted;

	if (!check_note(note, error))
		return false;
	noted = g_new0(struct noted, 1);
	*noted = (struct noted){ call, note->type, g_strdup(note->uri) };
	if ((live && !(new_live = with_note(guest->live, note, error))) ||
	    (config && !(new_config = with_note(guest->config, note, error))) ||
	    (config &&
	     !define_guest(guest->daemon, new_config, define_whose(guest, call_authority(call)),
			   done, noted, error))) {
		domain_free(new_live);
		g_free(noted->uri);
		g_free(noted);
		return false;
	}
	if (live) {
		g_autofree char *path = running_path(guest);

		domain_free(guest->live);
		guest->live = new_live;
		store_write(guest->daemon->store, path, running_text(guest->id, new_live), NULL,
			    NULL);
	}
	if (!config)
		done(guest, NULL, noted);
	return true;
}

static void set_metadata(struct rpc_call *call, const struct rpc_domain_set_metadata_args *args)
{
	const struct note note = { args->type, args->metadata, args->key, args->uri };
	struct guest *guest = call_guest(call, &args->dom);
	GError *error = NULL;
	bool live, config;

	if (!guest ||
	    !call_flags(call, args->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG) ||
	    !call_affects(call, guest, args->flags, &live, &config))
		return;
	if (!write_both(call, guest, &note, live, config, &error))
		fail_call(call, error);
}

const struct rpc_handlers calls_metadata = {
	.domain_get_metadata = get_metadata,
	.domain_set_metadata = set_metadata,
};
