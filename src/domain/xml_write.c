/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing the domain XML. Tools read it with more than XML parsers (Pacemaker's agent greps for
 * <name> on a line of its own), so layout, order and quotes follow what libvirt's tools print.
 *
 * Elements that have a row are written in the order of the rows; one without stays behind the
 * element it followed, so nothing that was read is lost or wanders about.
 */
#include "domain/elements.h"
#include "domain/xml.h"

#include <libxml/xmlsave.h>
#include <string.h>

#define TEXT_BYTES 2048 /* to begin with */
#define PATH_BYTES 128

struct writer {
	GString *out;
	GString *path; /* of the element that is being written */
	GHashTable *index;
	const struct element *first; /* of the table, for ranks */
};

struct ranked {
	const void *item; /* xmlNode or xmlAttr */
	ptrdiff_t rank;
	unsigned position;
};

static void write_element(struct writer *w, const xmlNode *node, unsigned depth);

static void append_escaped(GString *out, const char *text, bool attribute)
{
	for (; *text; text++) {
		size_t plain = strcspn(text, "&<>'\n\t\r");

		g_string_append_len(out, text, plain);
		text += plain;
		if (!*text)
			return;
		switch (*text) {
		case '&': g_string_append(out, "&amp;"); break;
		case '<': g_string_append(out, "&lt;"); break;
		case '>': g_string_append(out, "&gt;"); break;
		case '\'': g_string_append(out, attribute ? "&apos;" : "'"); break;
		case '\n': g_string_append(out, attribute ? "&#10;" : "\n"); break;
		case '\t': g_string_append(out, attribute ? "&#9;" : "\t"); break;
		case '\r': g_string_append(out, "&#13;"); break;
		default: g_string_append_c(out, *text);
		}
	}
}

static void append_indent(GString *out, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		g_string_append(out, "  ");
}

static void append_attribute(GString *out, const xmlAttr *attr)
{
	bool prefixed = attr->ns && attr->ns->prefix;

	g_string_append_c(out, ' ');
	if (prefixed) {
		g_string_append(out, (const char *)attr->ns->prefix);
		g_string_append_c(out, ':');
	}
	g_string_append(out, (const char *)attr->name);
	g_string_append(out, "='");
	if (attr->children && attr->children->content)
		append_escaped(out, (const char *)attr->children->content, true);
	g_string_append_c(out, '\'');
}

static int by_rank(gconstpointer a, gconstpointer b)
{
	const struct ranked *left = a, *right = b;

	if (left->rank != right->rank)
		return left->rank < right->rank ? -1 : 1;
	return left->position < right->position ? -1 : 1;
}

static void append_name(GString *out, const xmlNode *node)
{
	if (node->ns && node->ns->prefix) {
		g_string_append(out, (const char *)node->ns->prefix);
		g_string_append_c(out, ':');
	}
	g_string_append(out, (const char *)node->name);
}

/* Goes down to @child; where it was, for going up again. */
static gsize enter(struct writer *w, const xmlNode *child)
{
	gsize length = w->path->len;

	if (length)
		g_string_append_c(w->path, '/');
	append_name(w->path, child);
	return length;
}

static void append_attributes(struct writer *w, const xmlNode *node)
{
	const gsize length = w->path->len;
	ptrdiff_t rank = -1;
	GArray *order;

	for (const xmlNs *ns = node->nsDef; ns; ns = ns->next) {
		g_string_append_printf(w->out, " xmlns%s%s='", ns->prefix ? ":" : "",
				       ns->prefix ? (const char *)ns->prefix : "");
		append_escaped(w->out, (const char *)ns->href, true);
		g_string_append_c(w->out, '\'');
	}
	if (!node->properties)
		return;
	order = g_array_new(FALSE, FALSE, sizeof(struct ranked));
	for (const xmlAttr *attr = node->properties; attr; attr = attr->next) {
		struct ranked entry = { attr, rank, order->len };
		const struct element *row;

		g_string_append_c(w->path, '@');
		g_string_append(w->path, (const char *)attr->name);
		row = elements_find(w->index, w->path->str);
		g_string_truncate(w->path, length);
		if (row)
			entry.rank = row - w->first;
		rank = entry.rank;
		g_array_append_val(order, entry);
	}
	g_array_sort(order, by_rank);
	for (unsigned i = 0; i < order->len; i++)
		append_attribute(w->out, g_array_index(order, struct ranked, i).item);
	g_array_free(order, TRUE);
}

/* Kept to the byte: a tool's own data may mean something by its blanks. */
static void write_verbatim(struct writer *w, const xmlNode *node)
{
	xmlBuffer *buffer = xmlBufferCreate();
	xmlSaveCtxt *save = xmlSaveToBuffer(buffer, "UTF-8", XML_SAVE_NO_DECL);

	xmlSaveTree(save, (xmlNode *)node);
	xmlSaveClose(save);
	g_string_append(w->out, (const char *)xmlBufferContent(buffer));
	g_string_append_c(w->out, '\n');
	xmlBufferFree(buffer);
}

static void write_comment(struct writer *w, const xmlNode *node, unsigned depth)
{
	append_indent(w->out, depth);
	g_string_append_printf(w->out, "<!--%s-->\n", node->content);
}

/* A comment belongs to the element behind it, so it takes that one's place. */
static GArray *rank_children(struct writer *w, const xmlNode *node)
{
	GArray *order = g_array_new(FALSE, FALSE, sizeof(struct ranked));
	ptrdiff_t rank = -1;
	unsigned comments = 0;

	for (const xmlNode *child = node->children; child; child = child->next) {
		struct ranked entry = { child, rank, order->len };

		if (child->type == XML_ELEMENT_NODE) {
			gsize length = enter(w, child);
			const struct element *row = elements_find(w->index, w->path->str);

			g_string_truncate(w->path, length);
			if (row)
				rank = row - w->first;
			entry.rank = rank;
			for (unsigned i = 1; i <= comments; i++)
				g_array_index(order, struct ranked, order->len - i).rank = rank;
			comments = 0;
		} else if (child->type == XML_COMMENT_NODE) {
			comments++;
		} else {
			continue;
		}
		g_array_append_val(order, entry);
	}
	g_array_sort(order, by_rank);
	return order;
}

static bool has_children(const xmlNode *node)
{
	for (const xmlNode *child = node->children; child; child = child->next)
		if (child->type == XML_ELEMENT_NODE || child->type == XML_COMMENT_NODE)
			return true;
	return false;
}

/* Text beside elements: only trees that are kept as they are may have that. */
static bool is_mixed(const xmlNode *node)
{
	for (const xmlNode *child = node->children; child; child = child->next)
		if (child->type == XML_TEXT_NODE && !xmlIsBlankNode(child))
			return has_children(node);
	return false;
}

static void write_children(struct writer *w, const xmlNode *node, unsigned depth)
{
	GArray *order = rank_children(w, node);

	for (unsigned i = 0; i < order->len; i++) {
		const xmlNode *child = g_array_index(order, struct ranked, i).item;

		if (child->type == XML_COMMENT_NODE) {
			write_comment(w, child, depth);
		} else {
			gsize length = enter(w, child);

			write_element(w, child, depth);
			g_string_truncate(w->path, length);
		}
	}
	g_array_free(order, TRUE);
}

static void append_end(GString *out, const xmlNode *node)
{
	g_string_append(out, "</");
	append_name(out, node);
	g_string_append(out, ">\n");
}

static void write_element(struct writer *w, const xmlNode *node, unsigned depth)
{
	const char *text = xml_text(node);

	append_indent(w->out, depth);
	if (!strcmp(w->path->str, "metadata") || is_mixed(node)) {
		write_verbatim(w, node);
		return;
	}
	g_string_append_c(w->out, '<');
	append_name(w->out, node);
	append_attributes(w, node);
	if (has_children(node)) {
		g_string_append(w->out, ">\n");
		write_children(w, node, depth + 1);
		append_indent(w->out, depth);
		append_end(w->out, node);
	} else if (text[strspn(text, " \t\r\n")]) {
		g_string_append_c(w->out, '>');
		append_escaped(w->out, text, false);
		append_end(w->out, node);
	} else {
		g_string_append(w->out, "/>\n");
	}
}

char *xml_write(const xmlNode *root)
{
	struct writer w = { g_string_sized_new(TEXT_BYTES), g_string_sized_new(PATH_BYTES),
			    elements_index(), NULL };
	size_t count;

	w.first = elements_all(&count);
	write_element(&w, root, 0);
	g_hash_table_unref(w.index);
	g_string_free(w.path, TRUE);
	return g_string_free(w.out, FALSE);
}
