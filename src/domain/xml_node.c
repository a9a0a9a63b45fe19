/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions to and changes of one node. They look through libxml2's own structures rather than
 * copy: xml_read() leaves one text node per attribute and no entity references, which is what
 * makes returning pointers into the tree right.
 */
#include "domain/xml.h"

#include <string.h>

static bool is_element(const xmlNode *node, const char *name)
{
	return node->type == XML_ELEMENT_NODE &&
	       (!name || (!strcmp((const char *)node->name, name) && !node->ns));
}

static xmlNode *first_element(xmlNode *node, const char *name)
{
	while (node && !is_element(node, name))
		node = node->next;
	return node;
}

xmlNode *xml_child(const xmlNode *node, const char *name)
{
	return node ? first_element(node->children, name) : NULL;
}

xmlNode *xml_next(const xmlNode *node, const char *name)
{
	return first_element(node->next, name);
}

/* The first of these elements whose name is @length bytes of @step. */
static xmlNode *first_step(xmlNode *node, const char *step, size_t length)
{
	while (node && !(node->type == XML_ELEMENT_NODE && !node->ns &&
			 !strncmp((const char *)node->name, step, length) && !node->name[length]))
		node = node->next;
	return node;
}

xmlNode *xml_find(const xmlNode *node, const char *path)
{
	xmlNode *found = (xmlNode *)node;

	for (const char *step = path; found && *step;) {
		size_t length = strcspn(step, "/");

		found = first_step(found->children, step, length);
		step += length + (step[length] == '/');
	}
	return found;
}

const char *xml_attr(const xmlNode *node, const char *name)
{
	const xmlAttr *attr;

	if (!node)
		return NULL;
	for (attr = node->properties; attr; attr = attr->next)
		if (!attr->ns && !strcmp((const char *)attr->name, name))
			return attr->children ? (const char *)attr->children->content : "";
	return NULL;
}

bool xml_attr_is(const xmlNode *node, const char *name, const char *value)
{
	return !g_strcmp0(xml_attr(node, name), value);
}

const char *xml_text(const xmlNode *node)
{
	const xmlNode *child;

	if (!node)
		return NULL;
	for (child = node->children; child; child = child->next)
		if (child->type == XML_TEXT_NODE)
			return (const char *)child->content;
	return "";
}

char *xml_name(const xmlNode *node)
{
	if (node->ns && node->ns->prefix)
		return g_strdup_printf("%s:%s", node->ns->prefix, node->name);
	return g_strdup((const char *)node->name);
}

xmlNode *xml_add(xmlNode *parent, const char *name, const char *text)
{
	return xmlNewTextChild(parent, NULL, BAD_CAST name, BAD_CAST text);
}

xmlNode *xml_ensure(xmlNode *parent, const char *name)
{
	xmlNode *child = xml_child(parent, name);

	return child ? child : xml_add(parent, name, NULL);
}

void xml_set(xmlNode *node, const char *name, const char *fmt, ...)
{
	va_list args;
	char *value;

	va_start(args, fmt);
	value = g_strdup_vprintf(fmt, args);
	va_end(args);
	xmlSetProp(node, BAD_CAST name, BAD_CAST value);
	g_free(value);
}

void xml_default(xmlNode *node, const char *name, const char *value)
{
	if (!xml_attr(node, name))
		xmlSetProp(node, BAD_CAST name, BAD_CAST value);
}

void xml_unset(xmlNode *node, const char *name)
{
	xmlUnsetProp(node, BAD_CAST name);
}

void xml_set_text(xmlNode *node, const char *text)
{
	xmlNode *child, *next;

	for (child = node->children; child; child = next) {
		next = child->next;
		xml_remove(child);
	}
	xmlAddChild(node, xmlNewText(BAD_CAST text));
}

void xml_remove(xmlNode *node)
{
	xmlUnlinkNode(node);
	xmlFreeNode(node);
}
