/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The XML of pools and volumes, as clients write and read it. */
#include "daemon/pools.h"
#include "domain/domain.h"
#include "domain/xml.h"
#include "rpc_constants.h"

#include <stdlib.h>
#include <string.h>

#define VOLUME_MODE  0600
#define VOLUME_MODES 07777

static void add_bytes(xmlNode *after, const char *name, u64 bytes)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
	xmlNode *node = xmlNewTextChild(after->parent, NULL, BAD_CAST name, BAD_CAST text);

	xml_set(node, "unit", "bytes");
	xmlUnlinkNode(node);
	xmlAddNextSibling(after, node);
}

char *pool_xml(const struct kept *kept)
{
	const struct storage_scan *scan = pool_scan(kept);
	xmlDoc *doc = xmlCopyDoc(kept->doc, 1);
	xmlNode *root = xmlDocGetRootElement(doc), *uuid = xml_child(root, "uuid");
	char *text;

	add_bytes(uuid, "available", scan ? scan->available : 0);
	add_bytes(uuid, "allocation", scan ? scan->allocated : 0);
	add_bytes(uuid, "capacity", scan ? scan->capacity : 0);
	text = xml_write(root);
	xmlFreeDoc(doc);
	return text;
}

/* What it is a change of, by its own words: nothing is opened by them. */
static char *backing_xml(const struct volume *v)
{
	if (!v->backing)
		return g_strdup("");
	return g_markup_printf_escaped("  <backingStore>\n"
				       "    <path>%s</path>\n"
				       "    <format type='%s'/>\n"
				       "  </backingStore>\n",
				       v->backing, v->backing_format ? v->backing_format : "raw");
}

char *volume_xml(const struct kept *kept, const struct volume *v)
{
	g_autofree char *path = g_build_filename(pool_target(kept), v->name, NULL);
	g_autofree char *backing = backing_xml(v), *text = NULL;
	const struct stat *st = &v->st;

	text = g_markup_printf_escaped(
		"<volume type='file'>\n"
		"  <name>%s</name>\n"
		"  <key>%s</key>\n"
		"  <capacity unit='bytes'>%" G_GUINT64_FORMAT "</capacity>\n"
		"  <allocation unit='bytes'>%" G_GUINT64_FORMAT "</allocation>\n"
		"  <physical unit='bytes'>%" G_GUINT64_FORMAT "</physical>\n"
		"  <target>\n"
		"    <path>%s</path>\n"
		"    <format type='%s'/>\n"
		"    <permissions>\n"
		"      <mode>0%03o</mode>\n"
		"      <owner>%u</owner>\n"
		"      <group>%u</group>\n"
		"    </permissions>\n"
		"    <timestamps>\n"
		"      <atime>%lld.%09ld</atime>\n"
		"      <mtime>%lld.%09ld</mtime>\n"
		"      <ctime>%lld.%09ld</ctime>\n"
		"    </timestamps>\n"
		"  </target>\n",
		v->name, path, v->capacity, v->allocated, v->length, path, v->format,
		st->st_mode & VOLUME_MODES, st->st_uid, st->st_gid, (long long)st->st_atim.tv_sec,
		st->st_atim.tv_nsec, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
		(long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
	return g_strconcat(text, backing, "</volume>\n", NULL);
}

/* --- a new volume --- */

/* @bytes stays what it is where @node is missing. */
static bool read_bytes(const xmlNode *node, u64 *bytes, GError **error)
{
	const char *unit = xml_attr(node, "unit");

	if (!node || (domain_size_bytes(xml_text(node), unit ? unit : "bytes", bytes) &&
		      *bytes <= G_MAXINT64))
		return true;
	g_set_error(error, DAEMON_ERROR, VIR_ERR_XML_ERROR,
		    "the <%s> of the volume, '%s', is no amount that a file can have",
		    (const char *)node->name, xml_text(node));
	return false;
}

/* An owner or a group; -1, as where @node is missing, leaves it. */
static bool read_id(const xmlNode *node, s64 *id, GError **error)
{
	const char *text = xml_text(node);
	char *end;

	*id = -1;
	if (!text || !strcmp(text, "-1"))
		return true;
	*id = g_ascii_strtoll(text, &end, 10);
	return (*text && !*end && *id >= 0 && *id < G_MAXUINT32) ||
	       daemon_refuse(error, VIR_ERR_XML_ERROR,
			     "<owner> and <group> of a volume are numbers, or -1");
}

static bool read_permissions(const xmlNode *node, struct storage_wish *wish, GError **error)
{
	const char *mode = xml_text(xml_child(node, "mode"));
	char *end;
	long bits;

	wish->mode = VOLUME_MODE;
	if (mode) {
		bits = strtol(mode, &end, 8);
		if (!*mode || *end || bits < 0 || bits > 0777)
			return daemon_refuse(
				error, VIR_ERR_XML_ERROR,
				"the <mode> of a volume is an octal number up to 0777");
		wish->mode = bits;
	}
	return read_id(xml_child(node, "owner"), &wish->owner, error) &&
	       read_id(xml_child(node, "group"), &wish->group, error);
}

static bool read_wish(const xmlNode *root, struct storage_wish *wish, GError **error)
{
	const xmlNode *format = xml_find(root, "target/format");

	if (strcmp((const char *)root->name, "volume"))
		return daemon_refuse(error, VIR_ERR_XML_ERROR, "the XML of a volume is a <volume>");
	if (xml_attr(root, "type") && !xml_attr_is(root, "type", "file"))
		return daemon_refuse(error, VIR_ERR_CONFIG_UNSUPPORTED,
				     "a storage pool of type 'dir' has volumes of type 'file'");
	if (format && !xml_attr_is(format, "type", "raw"))
		return daemon_refuse(
			error, VIR_ERR_CONFIG_UNSUPPORTED,
			"only raw volumes can be created in this version; write <format "
			"type='raw'/> (virt-install: --disk size=...,format=raw)");
	if (xml_child(root, "backingStore") || xml_find(root, "target/encryption"))
		return daemon_refuse(
			error, VIR_ERR_CONFIG_UNSUPPORTED,
			"volumes with a backing store or encryption are not in this version");
	if (!xml_child(root, "capacity"))
		return daemon_refuse(error, VIR_ERR_XML_ERROR,
				     "a volume needs a <capacity>; add it");
	if (!read_bytes(xml_child(root, "capacity"), &wish->capacity, error))
		return false;
	wish->allocated = wish->capacity;
	return read_bytes(xml_child(root, "allocation"), &wish->allocated, error) &&
	       read_permissions(xml_find(root, "target/permissions"), wish, error);
}

char *volume_read(const char *xml, struct storage_wish *wish, GError **error)
{
	xmlDoc *doc = xml_read(xml, strlen(xml), "volume XML", error);
	const xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	const char *name = root ? xml_text(xml_child(root, "name")) : NULL;
	char *copy = NULL;

	if (root && read_wish(root, wish, error)) {
		if (name && storage_name_is_good(name))
			copy = g_strdup(name);
		else
			daemon_refuse(
				error, VIR_ERR_XML_ERROR,
				"the <name> of a volume is a file's name, without '/' and '..'");
	}
	xmlFreeDoc(doc);
	return copy;
}
