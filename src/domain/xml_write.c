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

struct writer {
	GString *out;
	GHashTable *index;
	const struct element *first; /* of the table, for ranks */
};

struct ranked {
	const void *item; /* xmlNode or xmlAttr */
	ptrdiff_t rank;
	unsigned position;
};

static void write_element(struct writer *w, const xmlNode *node, const char *path, unsigned depth);

static void append_escaped(GString *out, const char *text, bool attribute)
{
	for (; *text; text++) {
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

static void append_attributes(struct writer *w, const xmlNode *node, const char *path)
{
	GArray *order = g_array_new(FALSE, FALSE, sizeof(struct ranked));
	ptrdiff_t rank = -1;

	for (const xmlNs *ns = node->nsDef; ns; ns = ns->next) {
		g_string_append_printf(w->out, " xmlns%s%s='", ns->prefix ? ":" : "",
				       ns->prefix ? (const char *)ns->prefix : "");
		append_escaped(w->out, (const char *)ns->href, true);
		g_string_append_c(w->out, '\'');
	}
	for (const xmlAttr *attr = node->properties; attr; attr = attr->next) {
		char *full = g_strconcat(path, "@", (const char *)attr->name, NULL);
		const struct element *row = elements_find(w->index, full);
		struct ranked entry = { attr, row ? row - w->first : rank, order->len };

		rank = entry.rank;
		g_array_append_val(order, entry);
		g_free(full);
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

static char *child_path(const char *path, const xmlNode *child)
{
	char *name = xml_name(child);
	char *joined = *path ? g_strconcat(path, "/", name, NULL) : g_strdup(name);

	g_free(name);
	return joined;
}

/* A comment belongs to the element behind it, so it takes that one's place. */
static GArray *rank_children(struct writer *w, const xmlNode *node, const char *path)
{
	GArray *order = g_array_new(FALSE, FALSE, sizeof(struct ranked));
	ptrdiff_t rank = -1;
	unsigned comments = 0;

	for (const xmlNode *child = node->children; child; child = child->next) {
		struct ranked entry = { child, rank, order->len };

		if (child->type == XML_ELEMENT_NODE) {
			char *below = child_path(path, child);
			const struct element *row = elements_find(w->index, below);

			g_free(below);
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

static void write_children(struct writer *w, const xmlNode *node, const char *path, unsigned depth)
{
	GArray *order = rank_children(w, node, path);

	for (unsigned i = 0; i < order->len; i++) {
		const xmlNode *child = g_array_index(order, struct ranked, i).item;

		if (child->type == XML_COMMENT_NODE) {
			write_comment(w, child, depth);
		} else {
			char *below = child_path(path, child);

			write_element(w, child, below, depth);
			g_free(below);
		}
	}
	g_array_free(order, TRUE);
}

static void append_end(GString *out, const char *name)
{
	g_string_append(out, "</");
	g_string_append(out, name);
	g_string_append(out, ">\n");
}

static void write_element(struct writer *w, const xmlNode *node, const char *path, unsigned depth)
{
	const char *text = xml_text(node);
	char *name;

	append_indent(w->out, depth);
	if (!strcmp(path, "metadata") || is_mixed(node)) {
		write_verbatim(w, node);
		return;
	}
	name = xml_name(node);
	g_string_append_c(w->out, '<');
	g_string_append(w->out, name);
	append_attributes(w, node, path);
	if (has_children(node)) {
		g_string_append(w->out, ">\n");
		write_children(w, node, path, depth + 1);
		append_indent(w->out, depth);
		append_end(w->out, name);
	} else if (text[strspn(text, " \t\r\n")]) {
		g_string_append_c(w->out, '>');
		append_escaped(w->out, text, false);
		append_end(w->out, name);
	} else {
		g_string_append(w->out, "/>\n");
	}
	g_free(name);
}

char *xml_write(const xmlNode *root)
{
	struct writer w = { g_string_new(NULL), elements_index(), NULL };
	size_t count;

	w.first = elements_all(&count);
	write_element(&w, root, "", 0);
	g_hash_table_unref(w.index);
	return g_string_free(w.out, FALSE);
}
