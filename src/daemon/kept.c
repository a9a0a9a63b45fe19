/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects that are kept by their XML. See kept.h. */
#include "daemon/kept.h"

#include "base/log.h"
#include "daemon/store.h"
#include "domain/xml.h"
#include "rpc_constants.h"

#include <string.h>

#define NAME_MAX_BYTES 255
#define UUID_DIGITS    32

struct change {
	struct kept *kept;
	xmlDoc *before; /* of a definition: what was defined, or NULL */
	bool persistent, autostart;
	kept_done *done;
	void *opaque;
};

/* --- reading --- */

/* The digits in lower case, with dashes where they belong; NULL: it is no uuid. */
static char *canonical_uuid(const char *given)
{
	g_autoptr(GString) text = g_string_new(NULL);
	unsigned digits = 0;

	for (; *given; given++) {
		if (*given == '-')
			continue;
		if (!g_ascii_isxdigit(*given) || digits == UUID_DIGITS)
			return NULL;
		if (digits == 8 || digits == 12 || digits == 16 || digits == 20)
			g_string_append_c(text, '-');
		g_string_append_c(text, g_ascii_tolower(*given));
		digits++;
	}
	return digits == UUID_DIGITS ? g_strdup(text->str) : NULL;
}

static bool complete_uuid(const struct kept_kind *kind, xmlNode *root, GError **error)
{
	xmlNode *node = xml_child(root, "uuid");
	const char *given = xml_text(node);
	g_autofree char *uuid = given && *given ? canonical_uuid(given) : g_uuid_string_random();

	if (!uuid)
		return daemon_refuse(
			error, VIR_ERR_XML_ERROR,
			"the <uuid> of a %s has 32 hexadecimal digits, and '%s' has not",
			kind->noun, given);
	if (!node && xml_child(root, "name")) /* behind it, where readers look for it */
		node = xmlAddNextSibling(xml_child(root, "name"),
					 xmlNewNode(NULL, BAD_CAST "uuid"));
	else if (!node && root->children)
		node = xmlAddPrevSibling(root->children, xmlNewNode(NULL, BAD_CAST "uuid"));
	else if (!node)
		node = xml_add(root, "uuid", NULL);
	xml_set_text(node, uuid);
	return true;
}

/* Names go into messages, logs and what clients make of them: no file is named by one. */
static bool check_name(const struct kept_kind *kind, const xmlNode *root, GError **error)
{
	const char *name = xml_text(xml_child(root, "name"));

	if (kind->name_of) /* what it is called says complete() */
		return true;
	if (!name || !*name)
		return daemon_refuse(error, VIR_ERR_XML_ERROR, "a %s needs a <name>; add it",
				     kind->noun);
	if (strlen(name) > NAME_MAX_BYTES)
		return daemon_refuse(error, VIR_ERR_XML_ERROR,
				     "the name of a %s has at most %d bytes", kind->noun,
				     NAME_MAX_BYTES);
	for (const char *p = name; *p; p++)
		if (*p == '/' || g_ascii_iscntrl(*p))
			return daemon_refuse(
				error, VIR_ERR_XML_ERROR,
				"the name of a %s has no '/' and no control characters",
				kind->noun);
	return true;
}

static xmlDoc *read_xml(const struct keeper *keeper, const char *xml, size_t length,
			const char *file, GError **error)
{
	const struct kept_kind *kind = keeper->kind;
	xmlDoc *doc = xml_read(xml, length, file, error);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	bool good = root;

	if (root && strcmp((const char *)root->name, kind->root))
		good = daemon_refuse(error, VIR_ERR_XML_ERROR,
				     "the XML of a %s is a <%s>, not a <%s>", kind->noun,
				     kind->root, (const char *)root->name);
	if (good && check_name(kind, root, error) && complete_uuid(kind, root, error) &&
	    kind->complete(keeper, doc, error))
		return doc;
	xmlFreeDoc(doc);
	return NULL;
}

xmlDoc *kept_read(const struct keeper *keeper, const char *xml, GError **error)
{
	g_autofree char *file = g_strdup_printf("%s XML", keeper->kind->noun);

	return read_xml(keeper, xml, strlen(xml), file, error);
}

/* --- objects --- */

static struct kept *make(struct keeper *keeper, xmlDoc *doc)
{
	const xmlNode *root = xmlDocGetRootElement(doc);
	struct kept *kept = g_new0(struct kept, 1);

	kept->keeper = keeper;
	kept->references = 1;
	kept->name = keeper->kind->name_of ? keeper->kind->name_of(root)
					   : g_strdup(xml_text(xml_child(root, "name")));
	kept->uuid_text = g_strdup(xml_text(xml_child(root, "uuid")));
	guest_parse_uuid(kept->uuid_text, kept->uuid);
	kept->doc = doc;
	return kept;
}

struct kept *kept_ref(struct kept *kept)
{
	kept->references++;
	return kept;
}

void kept_unref(struct kept *kept)
{
	if (--kept->references)
		return;
	if (kept->data)
		kept->keeper->kind->free_data(kept->data);
	xmlFreeDoc(kept->doc);
	authority_free(kept->owner);
	g_free(kept->name);
	g_free(kept->uuid_text);
	g_free(kept);
}

void kept_list(struct kept *kept)
{
	if (kept->listed)
		return;
	kept->listed = true;
	g_hash_table_insert(kept->keeper->by_uuid, kept->uuid_text, kept_ref(kept));
	g_hash_table_insert(kept->keeper->by_name, kept->name, kept);
}

void kept_unlist(struct kept *kept)
{
	if (!kept->listed)
		return;
	kept->listed = false;
	g_hash_table_remove(kept->keeper->by_name, kept->name);
	g_hash_table_remove(kept->keeper->by_uuid, kept->uuid_text);
	kept_unref(kept);
}

struct kept *kept_find_or_make(struct keeper *keeper, xmlDoc *doc, GError **error)
{
	struct kept *fresh = make(keeper, doc);
	struct kept *same = keeper_find_uuid(keeper, fresh->uuid);
	struct kept *named = keeper_find_name(keeper, fresh->name);
	const char *noun = keeper->kind->noun;

	if (same && same == named) {
		fresh->doc = NULL; /* it goes to the known one, and the caller has it */
		kept_unref(fresh);
		return kept_ref(same);
	}
	if (!same && !named) {
		if (g_hash_table_size(keeper->by_uuid) < KEPT_MAX)
			return fresh;
		daemon_refuse(
			error, VIR_ERR_OPERATION_FAILED,
			"there are %d of the kind %s already, which is as many as there can be",
			KEPT_MAX, noun);
	} else if (same) {
		daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
			      "operation failed: %s '%s' is already defined with uuid %s", noun,
			      same->name, same->uuid_text);
	} else {
		daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
			      "operation failed: %s '%s' already exists with uuid %s", noun,
			      named->name, named->uuid_text);
	}
	kept_unref(fresh);
	return NULL;
}

struct kept *keeper_find_uuid(const struct keeper *keeper, const u8 uuid[UUID_BYTES])
{
	char text[37], *at = text;

	for (unsigned i = 0; i < UUID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at += g_snprintf(at, 3, "%02x", uuid[i]);
	}
	return g_hash_table_lookup(keeper->by_uuid, text);
}

struct kept *keeper_find_name(const struct keeper *keeper, const char *name)
{
	return g_hash_table_lookup(keeper->by_name, name);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	const struct kept *one = *(struct kept *const *)a, *two = *(struct kept *const *)b;

	return strcmp(one->name, two->name);
}

GPtrArray *keeper_all(const struct keeper *keeper)
{
	GPtrArray *all = g_ptr_array_sized_new(g_hash_table_size(keeper->by_uuid));
	GHashTableIter iter;
	gpointer kept;

	g_hash_table_iter_init(&iter, keeper->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &kept))
		g_ptr_array_add(all, kept);
	g_ptr_array_sort(all, compare_names);
	return all;
}

/* The flags that it has: one of each pair. */
static u32 traits(const struct kept *kept)
{
	u32 traits = kept->active ? VIR_CONNECT_LIST_NETWORKS_ACTIVE
				  : VIR_CONNECT_LIST_NETWORKS_INACTIVE;

	traits |= kept->persistent ? VIR_CONNECT_LIST_NETWORKS_PERSISTENT
				   : VIR_CONNECT_LIST_NETWORKS_TRANSIENT;
	traits |= kept->autostart ? VIR_CONNECT_LIST_NETWORKS_AUTOSTART
				  : VIR_CONNECT_LIST_NETWORKS_NO_AUTOSTART;
	return traits;
}

static bool matches(const struct kept *kept, u32 flags)
{
	u32 has = traits(kept);

	/* a pair of which no flag is given does not choose */
	for (u32 pair = 3; pair < KEPT_FILTERS; pair <<= 2)
		if ((flags & pair) && !(flags & pair & has))
			return false;
	return true;
}

GPtrArray *keeper_matching(const struct keeper *keeper, u32 flags)
{
	GPtrArray *all = keeper_all(keeper);
	guint found = 0;

	for (guint i = 0; i < all->len; i++)
		if (matches(all->pdata[i], flags))
			all->pdata[found++] = all->pdata[i];
	g_ptr_array_set_size(all, found);
	return all;
}

/* --- changes --- */

static char *file_of(const char *directory, const struct kept *kept, const char *suffix)
{
	g_autofree char *file = g_strconcat(kept->uuid_text, suffix, NULL);

	return g_build_filename(directory, file, NULL);
}

static bool may_change(const struct kept *kept, GError **error)
{
	const char *noun = kept->keeper->kind->noun;

	if (kept->fixed)
		return daemon_refuse(
			error, VIR_ERR_OPERATION_INVALID,
			"Requested operation is not valid: %s '%s' is part of Lodge and "
			"always there as it is",
			noun, kept->name);
	return !kept->saving ||
	       daemon_refuse(error, VIR_ERR_RESOURCE_BUSY,
			     "the definition of %s '%s' is just being changed; try again", noun,
			     kept->name);
}

static struct change *begin(struct kept *kept, kept_done *done, void *opaque)
{
	struct change *change = g_new0(struct change, 1);

	change->kept = kept_ref(kept);
	change->done = done;
	change->opaque = opaque;
	return change;
}

static void end(struct change *change, const GError *error)
{
	change->done(change->kept, error, change->opaque);
	xmlFreeDoc(change->before);
	kept_unref(change->kept);
	g_free(change);
}

static void defined(const GError *error, void *opaque)
{
	struct change *change = opaque;
	struct kept *kept = change->kept;

	kept->saving = false;
	if (!error) {
		events_kept(kept, VIR_NETWORK_EVENT_ID_LIFECYCLE, VIR_NETWORK_EVENT_DEFINED);
	} else {
		kept->persistent = change->persistent;
		if (change->before) {
			xmlFreeDoc(kept->doc);
			kept->doc = change->before;
			change->before = NULL;
		}
		if (!kept->persistent && !kept->active)
			kept_unlist(kept);
	}
	end(change, error);
}

bool kept_define(struct keeper *keeper, xmlDoc *doc, const struct launch_authority *by,
		 kept_done *done, void *opaque, GError **error)
{
	struct kept *kept = kept_find_or_make(keeper, doc, error);
	g_autofree char *path = NULL;
	struct change *change;

	if (!kept)
		return false;
	if (!may_change(kept, error) || (kept->listed && keeper->kind->may_become &&
					 !keeper->kind->may_become(kept, doc, error))) {
		if (kept->doc != doc)
			xmlFreeDoc(doc);
		kept_unref(kept);
		return false;
	}
	change = begin(kept, done, opaque);
	change->persistent = kept->persistent;
	if (kept->doc != doc)
		change->before = kept->doc;
	kept->doc = doc;
	if (!kept->listed)
		kept->owner = authority_copy(by);
	kept->persistent = kept->saving = true;
	kept_list(kept);
	path = file_of(keeper->directory, kept, ".xml");
	store_write(keeper->daemon->store, path,
		    authority_mark(xml_write(xmlDocGetRootElement(doc)), kept->owner), defined,
		    change);
	kept_unref(kept);
	return true;
}

static void undefined(const GError *error, void *opaque)
{
	struct change *change = opaque;
	struct kept *kept = change->kept;

	kept->saving = false;
	if (!error) {
		kept->persistent = kept->autostart = false;
		events_kept(kept, VIR_NETWORK_EVENT_ID_LIFECYCLE, VIR_NETWORK_EVENT_UNDEFINED);
		if (!kept->active)
			kept_unlist(kept);
	}
	end(change, error);
}

bool kept_undefine(struct kept *kept, kept_done *done, void *opaque, GError **error)
{
	const struct keeper *keeper = kept->keeper;
	g_autofree char *path = file_of(keeper->directory, kept, ".xml");
	g_autofree char *mark = file_of(keeper->marks, kept, "");

	if (!may_change(kept, error))
		return false;
	if (!kept->persistent)
		return daemon_refuse(
			error, VIR_ERR_OPERATION_INVALID,
			"Requested operation is not valid: cannot undefine transient %s '%s'",
			keeper->kind->noun, kept->name);
	kept->saving = true;
	if (kept->autostart)
		store_remove(keeper->daemon->store, mark, NULL, NULL);
	store_remove(keeper->daemon->store, path, undefined, begin(kept, done, opaque));
	return true;
}

static void marked(const GError *error, void *opaque)
{
	struct change *change = opaque;

	if (!error)
		change->kept->autostart = change->autostart;
	end(change, error);
}

bool kept_set_autostart(struct kept *kept, bool autostart, kept_done *done, void *opaque,
			GError **error)
{
	const struct keeper *keeper = kept->keeper;
	g_autofree char *mark = file_of(keeper->marks, kept, "");
	struct change *change;

	if (kept->fixed && autostart) { /* so it is */
		done(kept, NULL, opaque);
		return true;
	}
	if (!may_change(kept, error))
		return false;
	if (!kept->persistent)
		return daemon_refuse(error, VIR_ERR_OPERATION_INVALID,
				     "Requested operation is not valid: cannot set autostart for "
				     "transient %s '%s'",
				     keeper->kind->noun, kept->name);
	change = begin(kept, done, opaque);
	change->autostart = autostart;
	if (autostart)
		store_write(keeper->daemon->store, mark, g_strdup(""), marked, change);
	else
		store_remove(keeper->daemon->store, mark, marked, change);
	return true;
}

/* --- all of a kind --- */

struct keeper *keeper_new(struct daemon *daemon, const struct kept_kind *kind,
			  const char *directory)
{
	struct keeper *keeper = g_new0(struct keeper, 1);

	keeper->daemon = daemon;
	keeper->kind = kind;
	keeper->directory = g_strdup(directory);
	keeper->marks = g_build_filename(directory, "autostart", NULL);
	keeper->by_uuid = g_hash_table_new(g_str_hash, g_str_equal);
	keeper->by_name = g_hash_table_new(g_str_hash, g_str_equal);
	return keeper;
}

static void load_one(struct keeper *keeper, const char *file)
{
	g_autofree char *path = g_build_filename(keeper->directory, file, NULL);
	g_autofree char *mark = NULL, *text = NULL;
	struct launch_authority *owner = NULL;
	GError *error = NULL;
	xmlDoc *doc = NULL;
	struct kept *kept;
	gsize length;

	if (g_file_get_contents(path, &text, &length, &error)) {
		if (authority_unmark(text, &length, &owner))
			doc = read_xml(keeper, text, length, path, &error);
		else
			daemon_refuse(&error, 0, "it does not say in whose name it is");
	}
	if (!doc) {
		log_error("lodged", "%s is left alone: %s", path, error->message);
		g_error_free(error);
		authority_free(owner);
		return;
	}
	kept = make(keeper, doc);
	kept->owner = owner;
	if (keeper_find_uuid(keeper, kept->uuid) || keeper_find_name(keeper, kept->name)) {
		log_error("lodged", "%s is left alone: its name or its uuid is another %s's", path,
			  keeper->kind->noun);
	} else {
		mark = file_of(keeper->marks, kept, "");
		kept->persistent = true;
		kept->autostart = g_file_test(mark, G_FILE_TEST_EXISTS);
		kept_list(kept);
	}
	kept_unref(kept);
}

void keeper_load(struct keeper *keeper)
{
	GDir *dir = g_dir_open(keeper->directory, 0, NULL);
	const char *name;

	store_sweep(keeper->directory);
	store_sweep(keeper->marks);
	while (dir && (name = g_dir_read_name(dir)))
		if (g_str_has_suffix(name, ".xml")) /* no rest of a write, and no directory */
			load_one(keeper, name);
	if (dir)
		g_dir_close(dir);
}

void keeper_free(struct keeper *keeper)
{
	GPtrArray *all;

	if (!keeper)
		return;
	all = keeper_all(keeper);
	for (guint i = 0; i < all->len; i++)
		kept_unlist(all->pdata[i]);
	g_ptr_array_unref(all);
	g_hash_table_unref(keeper->by_uuid);
	g_hash_table_unref(keeper->by_name);
	g_free(keeper->directory);
	g_free(keeper->marks);
	g_free(keeper);
}
