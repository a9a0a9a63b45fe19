/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every element and attribute of a domain held against its row of the table.
 *
 * What has no row is kept and noted: a newer libvirt may define it, or it is a misspelling, which
 * the note then guesses at. The recursion is as deep as the XML, which the reader bounds.
 */
#include "domain/check.h"

#include "domain/elements.h"
#include "domain/message.h"

#include <string.h>

#define CLOSE_ENOUGH 2 /* letters by which a misspelling may differ */

struct check {
	struct domain *domain;
	GHashTable *index;
	GError **error;
};

/* --- values --- */

static bool fail_value(struct check *check, const xmlNode *node, const char *attribute,
		       const char *value, const char *expected)
{
	char *subject = attribute ? g_strdup_printf("%s='%s'", attribute, value)
				  : g_strdup_printf("'%s'", value);

	domain_fail(check->domain, check->error, DOMAIN_ERROR_VALUE, node, "%s is not %s", subject,
		    expected);
	g_free(subject);
	return false;
}

static bool check_number(struct check *check, const struct element *row, const xmlNode *node,
			 const char *attribute, const char *value)
{
	char *second;
	u64 low = g_ascii_strtoull(row->values, &second, 10);
	u64 high = g_ascii_strtoull(second, NULL, 10);
	bool hexadecimal = g_str_has_prefix(value, "0x");
	u64 number;
	bool good = g_ascii_string_to_unsigned(value + (hexadecimal ? 2 : 0), hexadecimal ? 16 : 10,
					       low, high, &number, NULL);

	if (!good) {
		char *expected = g_strdup_printf(
			"a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, low, high);

		fail_value(check, node, attribute, value, expected);
		g_free(expected);
	}
	return good;
}

static bool check_word(struct check *check, const struct element *row, const xmlNode *node,
		       const char *attribute, const char *value)
{
	char *words, *expected;

	if (element_word_mark(row, value))
		return true;
	words = element_words(row);
	expected = g_strdup_printf("one of %s", words);
	fail_value(check, node, attribute, value, expected);
	g_free(expected);
	g_free(words);
	return false;
}

static bool is_uuid(const char *text)
{
	unsigned digits = 0;

	for (; *text; text++) {
		if (g_ascii_isxdigit(*text))
			digits++;
		else if (*text != '-' || digits == 0)
			return false;
	}
	return digits == 32;
}

static bool is_mac(const char *text)
{
	if (strlen(text) != 17)
		return false;
	for (unsigned i = 0; i < 17; i++)
		if (i % 3 == 2 ? text[i] != ':' : !g_ascii_isxdigit(text[i]))
			return false;
	return true;
}

static bool check_size(struct check *check, const xmlNode *node, const char *value)
{
	const char *unit = xml_attr(node, "unit");
	u64 bytes;

	if (domain_size_bytes(value, unit, &bytes) && bytes <= G_MAXINT64)
		return true;
	if (unit && !domain_size_bytes("1", unit, &bytes))
		return fail_value(check, node, "unit", unit, "a unit: use KiB, MiB or GiB");
	return fail_value(check, node, NULL, value, "an amount of memory");
}

static bool check_path(struct check *check, const xmlNode *node, const char *attribute,
		       const char *value)
{
	if (*value == '/' || (*value && check->domain->directory))
		return true;
	return fail_value(check, node, attribute, value,
			  *value ? "an absolute path, which it must be here" : "a path");
}

static bool check_value(struct check *check, const struct element *row, const xmlNode *node,
			const char *attribute, const char *value)
{
	switch (row->kind) {
	case KIND_NUMBER: return check_number(check, row, node, attribute, value);
	case KIND_WORD: return check_word(check, row, node, attribute, value);
	case KIND_SIZE: return check_size(check, node, value);
	case KIND_PATH: return check_path(check, node, attribute, value);
	case KIND_UUID:
		return is_uuid(value) ||
		       fail_value(check, node, attribute, value, "a UUID of 32 hexadecimal digits");
	case KIND_MAC:
		return is_mac(value) || fail_value(check, node, attribute, value,
						   "a MAC address like 52:54:00:12:34:56");
	case KIND_LINE:
		if (!*value)
			return domain_fail(check->domain, check->error, DOMAIN_ERROR_VALUE, node,
					   "%s is empty; fill it in, or leave it out",
					   attribute ? attribute : "it");
		return !strchr(value, '\n') ||
		       fail_value(check, node, attribute, value, "one line of text");
	default: return true;
	}
}

/* --- tidying --- */

static void make_absolute(struct check *check, const struct element *row, xmlNode *node,
			  const char *attribute, const char *value)
{
	char *path;

	if (row->kind != KIND_PATH || *value == '/')
		return;
	path = g_canonicalize_filename(value, check->domain->directory);
	if (attribute)
		xml_set(node, attribute, "%s", path);
	else
		xml_set_text(node, path);
	g_free(path);
}

/* The only text of a leaf, without blanks around it; NULL when something else is in there. */
static const char *tidy_text(const struct element *row, xmlNode *node)
{
	char *copy;

	if (node->children && (node->children->next || node->children->type != XML_TEXT_NODE))
		return NULL;
	if (row->kind == KIND_TEXT || !node->children)
		return xml_text(node);
	copy = g_strstrip(g_strdup(xml_text(node)));
	if (strcmp(copy, xml_text(node)))
		xml_set_text(node, copy);
	g_free(copy);
	return xml_text(node);
}

/* --- what has no row --- */

static unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[32], columns = strlen(b);

	if (columns >= ARRAY_LEN(row))
		return columns;
	for (unsigned j = 0; j <= columns; j++)
		row[j] = j;
	for (unsigned i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= columns; j++) {
			unsigned above = row[j];
			unsigned same = diagonal + (a[i - 1] != b[j - 1]);

			row[j] = MIN(same, MIN(above, row[j - 1]) + 1);
			diagonal = above;
		}
	}
	return row[columns];
}

/* A name that has a row beside @path and looks like it, or NULL. */
static const char *similar_name(const char *path)
{
	size_t count, parent = 0;
	const struct element *rows = elements_all(&count);

	for (size_t i = 0; path[i]; i++)
		if (path[i] == '/' || path[i] == '@')
			parent = i + 1;
	for (size_t i = 0; i < count; i++) {
		const char *name = rows[i].path + parent;

		if (strlen(rows[i].path) > parent && !strncmp(rows[i].path, path, parent) &&
		    !strpbrk(name, "/@") && edit_distance(name, path + parent) <= CLOSE_ENOUGH)
			return name;
	}
	return NULL;
}

static void note_unknown(struct check *check, const xmlNode *node, const char *path,
			 const char *attribute)
{
	const char *similar = similar_name(path);
	const char *what = attribute ? attribute : "this element";

	if (similar)
		domain_note(check->domain, node,
			    "%s is not known: kept, but without effect; did you mean %s?", what,
			    similar);
	else
		domain_note(check->domain, node, "%s is not known: kept, but without effect", what);
}

/* --- the walk --- */

/* Attributes without a row are noted where rows are complete, which they are not for a tree. */
static bool check_attributes(struct check *check, xmlNode *node, const char *path, bool complete)
{
	bool good = true;

	for (xmlAttr *attr = node->properties; attr && good; attr = attr->next) {
		const char *name = (const char *)attr->name;
		char *full = g_strconcat(path, "@", name, NULL);
		const struct element *row = elements_find(check->index, full);

		if (row) {
			good = check_value(check, row, node, name, xml_attr(node, name));
			if (good)
				make_absolute(check, row, node, name, xml_attr(node, name));
		} else if (complete && !attr->ns) {
			note_unknown(check, node, full, name);
		}
		g_free(full);
	}
	return good;
}

static bool check_leaf(struct check *check, const struct element *row, xmlNode *node)
{
	const char *text = tidy_text(row, node);

	if (!text)
		return domain_fail(check->domain, check->error, DOMAIN_ERROR_VALUE, node,
				   "only text can stand in it; move what else is there");
	if (row->kind == KIND_FLAG)
		return !*text ||
		       fail_value(check, node, NULL, text, "expected in an empty element");
	if (!check_value(check, row, node, NULL, text))
		return false;
	make_absolute(check, row, node, NULL, text);
	return true;
}

static bool check_repeated(struct check *check, const struct element *row, const xmlNode *node)
{
	for (const xmlNode *other = node->prev; other; other = other->prev) {
		if (other->type != XML_ELEMENT_NODE ||
		    strcmp((const char *)other->name, (const char *)node->name))
			continue;
		return domain_fail(check->domain, check->error, DOMAIN_ERROR_CONFLICT, node,
				   "there is one on line %ld already; keep one of them",
				   xmlGetLineNo((xmlNode *)other));
	}
	return true;
}

static bool check_children(struct check *check, xmlNode *node, const char *path);

/* A device takes a place on a bus by its address, also one of which nothing else is looked at. */
static bool check_address(struct check *check, const xmlNode *node, const char *path)
{
	xmlNode *address = xml_child(node, "address");
	char *below = g_strconcat(path, "/address", NULL);
	bool is_device = !strcmp((const char *)node->parent->name, "devices") &&
			 g_str_has_prefix(path, "devices/");
	bool good = !address || !is_device || check_attributes(check, address, below, false);

	g_free(below);
	return good;
}

static bool check_element(struct check *check, xmlNode *node, const char *path)
{
	const struct element *row = elements_find(check->index, path);

	if (!row) {
		note_unknown(check, node, path, NULL);
		return check_address(check, node, path);
	}
	if (!row->many && row->use == USE_FULL && !check_repeated(check, row, node))
		return false;
	if (!check_attributes(check, node, path, row->kind != KIND_TREE))
		return false;
	if (row->kind == KIND_TREE)
		return check_address(check, node, path);
	return row->kind == KIND_PARENT ? check_children(check, node, path)
					: check_leaf(check, row, node);
}

static bool check_children(struct check *check, xmlNode *node, const char *path)
{
	bool good = true;

	for (xmlNode *child = node->children; child && good; child = child->next) {
		char *name, *below;

		if (child->type == XML_TEXT_NODE && !xmlIsBlankNode(child))
			return domain_fail(check->domain, check->error, DOMAIN_ERROR_XML, node,
					   "text stands between its elements; remove it");
		if (child->type != XML_ELEMENT_NODE)
			continue;
		name = xml_name(child);
		below = *path ? g_strconcat(path, "/", name, NULL) : g_strdup(name);
		good = check_element(check, child, below);
		g_free(below);
		g_free(name);
	}
	return good;
}

bool domain_check_values(struct domain *domain, GError **error)
{
	struct check check = { domain, elements_index(), error };
	xmlNode *root = xmlDocGetRootElement(domain->doc);
	bool good = false;

	if (!root || strcmp((const char *)root->name, "domain"))
		domain_fail(domain, error, DOMAIN_ERROR_XML, root,
			    "the outermost element must be <domain>");
	else
		good = check_attributes(&check, root, "", true) && check_children(&check, root, "");
	g_hash_table_unref(check.index);
	return good;
}
