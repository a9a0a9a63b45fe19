/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Secrets. See secrets.h. */
#include "daemon/secrets.h"

#include "base/log.h"
#include "daemon/store.h"
#include "domain/xml.h"
#include "rpc_constants.h"

#include <string.h>

/* How a usage is written: <usage type='TYPE'><ELEMENT>ID</ELEMENT></usage>. */
static const struct {
	const char *type, *element;
} usages[] = {
	[VIR_SECRET_USAGE_TYPE_NONE] = { "none", NULL },
	[VIR_SECRET_USAGE_TYPE_VOLUME] = { "volume", "volume" },
	[VIR_SECRET_USAGE_TYPE_CEPH] = { "ceph", "name" },
	[VIR_SECRET_USAGE_TYPE_ISCSI] = { "iscsi", "target" },
	[VIR_SECRET_USAGE_TYPE_TLS] = { "tls", "name" },
	[VIR_SECRET_USAGE_TYPE_VTPM] = { "vtpm", "name" },
};

/* --- definitions --- */

/* -1: there is no such usage. */
static int usage_of(const xmlNode *root, const char **id)
{
	const xmlNode *usage = xml_child(root, "usage");

	*id = "";
	if (!usage)
		return VIR_SECRET_USAGE_TYPE_NONE;
	for (unsigned i = 0; i < ARRAY_LEN(usages); i++) {
		if (!xml_attr_is(usage, "type", usages[i].type))
			continue;
		*id = usages[i].element ? xml_text(xml_child(usage, usages[i].element)) : "";
		return *id && (**id || !usages[i].element) ? (int)i : -1;
	}
	return -1;
}

static bool is_yes_or_no(const xmlNode *root, const char *name)
{
	return !xml_attr(root, name) || xml_attr_is(root, name, "yes") ||
	       xml_attr_is(root, name, "no");
}

static bool complete(const struct keeper *keeper, xmlDoc *doc, GError **error)
{
	xmlNode *root = xmlDocGetRootElement(doc);
	const char *id;

	if (!is_yes_or_no(root, "ephemeral") || !is_yes_or_no(root, "private"))
		return daemon_refuse(error, VIR_ERR_XML_ERROR,
				     "ephemeral and private of a secret are 'yes' or 'no'");
	if (usage_of(root, &id) < 0)
		return daemon_refuse(error, VIR_ERR_XML_ERROR,
				     "the <usage> of a secret is of type volume, ceph, iscsi, tls "
				     "or vtpm, and has a <volume>, <name> or <target>");
	xml_default(root, "ephemeral", "no");
	xml_default(root, "private", "no");
	return true;
}

/* By its usage it is found; one without is named by its uuid. */
static char *name_of(const xmlNode *root)
{
	const char *id;
	int type = usage_of(root, &id);

	return type == VIR_SECRET_USAGE_TYPE_NONE ? g_strdup(xml_text(xml_child(root, "uuid")))
						  : g_strdup_printf("%s %s", usages[type].type, id);
}

static bool may_become(const struct kept *kept, const xmlDoc *doc, GError **error)
{
	const xmlNode *root = xmlDocGetRootElement((xmlDoc *)doc);

	return !secret_is_private(kept) || xml_attr_is(root, "private", "yes") ||
	       daemon_refuse(error, VIR_ERR_OPERATION_DENIED,
			     "a private secret stays private; undefine it first");
}

static void free_value(void *value)
{
	g_bytes_unref(value);
}

static const struct kept_kind secret_kind = {
	.object = EVENT_OF_SECRET,
	.root = "secret",
	.noun = "secret",
	.complete = complete,
	.name_of = name_of,
	.may_become = may_become,
	.free_data = free_value,
};

int secret_usage(const struct kept *kept, const char **id)
{
	return usage_of(xmlDocGetRootElement(kept->doc), id);
}

struct kept *secret_find_usage(const struct keeper *keeper, int type, const char *id)
{
	g_autofree char *name = NULL;

	if (type <= VIR_SECRET_USAGE_TYPE_NONE || type >= (int)ARRAY_LEN(usages))
		return NULL;
	name = g_strdup_printf("%s %s", usages[type].type, id);
	return keeper_find_name(keeper, name);
}

bool secret_is_private(const struct kept *kept)
{
	return xml_attr_is(xmlDocGetRootElement(kept->doc), "private", "yes");
}

bool secret_is_ephemeral(const struct kept *kept)
{
	return xml_attr_is(xmlDocGetRootElement(kept->doc), "ephemeral", "yes");
}

/* --- values --- */

static char *value_path(const struct kept *kept)
{
	g_autofree char *file = g_strconcat(kept->uuid_text, ".base64", NULL);

	return g_build_filename(kept->keeper->directory, file, NULL);
}

static void load_value(struct kept *kept)
{
	g_autofree char *path = value_path(kept), *text = NULL;
	gsize length;
	u8 *bytes;

	if (secret_is_ephemeral(kept) || !g_file_get_contents(path, &text, NULL, NULL))
		return;
	bytes = g_base64_decode(text, &length);
	if (length <= SECRET_VALUE_MAX)
		kept->data = g_bytes_new_take(g_steal_pointer(&bytes), length);
	else
		log_error("lodged", "the value in %s is left alone: it is too long", path);
	g_free(bytes);
}

GBytes *secret_value(const struct kept *kept)
{
	return kept->data;
}

void secret_defined(struct kept *kept)
{
	g_autofree char *path = value_path(kept);

	if (secret_is_ephemeral(kept)) /* it may not have been before */
		store_remove(kept->keeper->daemon->store, path, NULL, NULL);
}

struct change {
	struct kept *kept;
	GBytes *value;
	kept_done *done;
	void *opaque;
};

static void value_kept(const GError *error, void *opaque)
{
	struct change *change = opaque;
	struct kept *kept = change->kept;

	if (!error) {
		if (kept->data)
			g_bytes_unref(kept->data);
		kept->data = g_bytes_ref(change->value);
		events_kept(kept, VIR_SECRET_EVENT_ID_VALUE_CHANGED, 0);
	}
	change->done(kept, error, change->opaque);
	g_bytes_unref(change->value);
	kept_unref(kept);
	g_free(change);
}

void secret_set_value(struct kept *kept, const u8 *bytes, size_t n, kept_done *done, void *opaque)
{
	struct change *change = g_new(struct change, 1);
	g_autofree char *path = value_path(kept);

	*change = (struct change){ kept_ref(kept), g_bytes_new(bytes, n), done, opaque };
	if (secret_is_ephemeral(kept))
		value_kept(NULL, change);
	else
		store_write_secret(kept->keeper->daemon->store, path, g_base64_encode(bytes, n),
				   value_kept, change);
}

bool secret_undefine(struct kept *kept, kept_done *done, void *opaque, GError **error)
{
	g_autofree char *path = value_path(kept);

	/* the value first: none is ever left of a secret that is gone */
	store_remove(kept->keeper->daemon->store, path, NULL, NULL);
	return kept_undefine(kept, done, opaque, error);
}

struct keeper *secrets_open(struct daemon *daemon)
{
	struct keeper *keeper = keeper_new(daemon, &secret_kind, daemon->places.secrets);
	GPtrArray *all;

	keeper_load(keeper);
	all = keeper_all(keeper);
	for (guint i = 0; i < all->len; i++)
		load_value(all->pdata[i]);
	g_ptr_array_unref(all);
	return keeper;
}
