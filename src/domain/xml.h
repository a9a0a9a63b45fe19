/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XML as the domain room uses it: a tree that was read without network, document types or
 * entities, small questions to its nodes, and the one way it is written again.
 *
 * Strings that a question returns belong to the tree and live until that node changes.
 */
#ifndef LODGE_DOMAIN_XML_H
#define LODGE_DOMAIN_XML_H

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

/* The longest document that is read: what a client may send in one call, 4 MiB. */
#define XML_BYTES_MAX (4u << 20)

/* --- xml_read.c --- */

/*
 * Reads @length bytes of @text; @file only names it in messages. The tree is freed with
 * xmlFreeDoc(). libxml2 refuses nesting deeper than 256, which bounds every recursion over it.
 */
xmlDoc *xml_read(const char *text, size_t length, const char *file, GError **error);

/* --- xml_node.c --- */

/* The first element child of @node called @name (any when NULL), or NULL; @node may be NULL. */
xmlNode *xml_child(const xmlNode *node, const char *name);
/* The next sibling element called @name (any when NULL). */
xmlNode *xml_next(const xmlNode *node, const char *name);
/* Follows "devices/memballoon" from @node; NULL when a step is missing. */
xmlNode *xml_find(const xmlNode *node, const char *path);
/* The value of an attribute, or NULL. */
const char *xml_attr(const xmlNode *node, const char *name);
/* Is the attribute there with this very value? */
bool xml_attr_is(const xmlNode *node, const char *name, const char *value);
/* The text of @node ("" when it has none); NULL when @node is NULL. */
const char *xml_text(const xmlNode *node);
/* The node's name with its namespace prefix, as in "qemu:commandline"; the caller frees it. */
char *xml_name(const xmlNode *node);
/* Adds an element at the end of @parent; @text may be NULL. */
xmlNode *xml_add(xmlNode *parent, const char *name, const char *text);
/* The child called @name, added when it is missing. */
xmlNode *xml_ensure(xmlNode *parent, const char *name);
/* Sets an attribute to formatted text. */
void xml_set(xmlNode *node, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Sets it only when it is missing. */
void xml_default(xmlNode *node, const char *name, const char *value);
void xml_unset(xmlNode *node, const char *name);
void xml_set_text(xmlNode *node, const char *text);
void xml_remove(xmlNode *node);

#define xml_for_each(child, parent, name) \
	for (xmlNode *child = xml_child(parent, name); child; child = xml_next(child, name))

/* --- xml_write.c --- */

/*
 * The tree as text: two blanks a level, attributes in single quotes, elements in the order of the
 * element table; <metadata> is written exactly as it was read. The caller frees it.
 */
char *xml_write(const xmlNode *root);

#endif
