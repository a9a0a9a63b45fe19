/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is in a disk image. See probe.h. */
#include "img/probe.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR         512
#define DISK_BYTES_MAX ((u64)G_MAXINT64 & ~(u64)(SECTOR - 1))
#define TEXT_BYTES_MAX (20 * SECTOR) /* of a descriptor in text */
#define JSON_BYTES_MAX (4 * MIB)
#define ENTRIES_MAX    2047 /* of a table of VHDX, by its specification */

struct reader {
	const struct image_source *source;
	struct image_info *info;
	GError **error;
	u8 head[SECTOR]; /* zeroes beyond the file's end */
};

GQuark image_error_quark(void)
{
	return g_quark_from_static_string("lodge-image");
}

static bool fail(const struct reader *r, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static bool fail(const struct reader *r, const char *fmt, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, fmt);
	text = g_strdup_vprintf(fmt, args);
	va_end(args);
	g_set_error(r->error, IMAGE_ERROR, 0, "it looks like a %s image and is none: %s",
		    r->info->format, text);
	return false;
}

/* --- bytes --- */

static u16 be16(const u8 *p)
{
	return (u16)(p[0] << 8 | p[1]);
}

static u32 be32(const u8 *p)
{
	return (u32)be16(p) << 16 | be16(p + 2);
}

static u64 be64(const u8 *p)
{
	return (u64)be32(p) << 32 | be32(p + 4);
}

static u16 le16(const u8 *p)
{
	return (u16)(p[1] << 8 | p[0]);
}

static u32 le32(const u8 *p)
{
	return (u32)le16(p + 2) << 16 | le16(p);
}

static u64 le64(const u8 *p)
{
	return (u64)le32(p + 4) << 32 | le32(p);
}

static bool get(const struct reader *r, u64 offset, void *data, size_t bytes)
{
	u64 end;

	if (__builtin_add_overflow(offset, bytes, &end) || end > r->source->bytes)
		return fail(r, "its header goes on beyond the file's end");
	return r->source->read(r->source->opaque, offset, data, bytes) ||
	       fail(r, "it cannot be read");
}

/* The name at @offset, for people: what is no text becomes U+FFFD. */
static char *get_name(const struct reader *r, u64 offset, u32 bytes)
{
	char name[IMAGE_NAME_MAX];

	if (bytes > sizeof(name)) {
		fail(r, "the name of another file in it has %u bytes", bytes);
		return NULL;
	}
	return get(r, offset, name, bytes) ? g_utf8_make_valid(name, strnlen(name, bytes)) : NULL;
}

static bool set_disk(const struct reader *r, u64 bytes)
{
	if (bytes > DISK_BYTES_MAX)
		return fail(r, "a disk of %" G_GUINT64_FORMAT " bytes is too large", bytes);
	r->info->disk_bytes = bytes;
	return true;
}

static bool set_sectors(const struct reader *r, u64 sectors)
{
	return sectors <= DISK_BYTES_MAX / SECTOR
		       ? set_disk(r, sectors * SECTOR)
		       : fail(r, "a disk of %" G_GUINT64_FORMAT " sectors is too large", sectors);
}

static bool set_cluster(const struct reader *r, u64 bytes, u64 least, u64 most)
{
	if (bytes < least || bytes > most || bytes & (bytes - 1))
		return fail(r, "clusters of %" G_GUINT64_FORMAT " bytes", bytes);
	r->info->cluster_bytes = bytes;
	return true;
}

/* --- qcow and qcow2: QEMU, docs/interop/qcow2.txt --- */

enum {
	QCOW2_DIRTY = 1,
	QCOW2_CORRUPT = 2,
	QCOW2_DATA_FILE = 4,
	QCOW2_HEADER = 72,
	QCOW2_HEADER_3 = 104,
	EXTENSION_END = 0,
	EXTENSION_BACKING_FORMAT = (int)0xe2792aca,
	EXTENSION_DATA_FILE = 0x44415441,
};

static bool is_qcow(const struct reader *r)
{
	return !memcmp(r->head, "QFI\xfb", 4) && be32(r->head + 4) == 1;
}

static bool read_backing(const struct reader *r, u64 offset, u32 bytes)
{
	if (!offset)
		return true;
	r->info->backing = get_name(r, offset, bytes);
	return r->info->backing;
}

static bool read_qcow(const struct reader *r)
{
	u8 bits = r->head[32];
	u32 method = be32(r->head + 36);

	r->info->version = 1;
	r->info->encryption = method ? "aes" : NULL;
	return set_cluster(r, bits < 32 ? 1ull << bits : 0, 512, 64 * KIB) &&
	       set_disk(r, be64(r->head + 24)) &&
	       read_backing(r, be64(r->head + 8), be32(r->head + 16));
}

static bool is_qcow2(const struct reader *r)
{
	return !memcmp(r->head, "QFI\xfb", 4) && be32(r->head + 4) != 1;
}

static bool read_extension(const struct reader *r, u32 type, u64 offset, u32 bytes)
{
	char **name = type == (u32)EXTENSION_BACKING_FORMAT ? &r->info->backing_format
		      : type == EXTENSION_DATA_FILE         ? &r->info->data_file
							    : NULL;

	if (!name)
		return true;
	if (*name)
		return fail(r, "an extension of its header is there twice");
	*name = get_name(r, offset, bytes);
	return *name;
}

/* Each is 8 bytes longer than what is in it, and all are in the first cluster. */
static bool read_extensions(const struct reader *r, u64 at, u64 end)
{
	u8 head[8];

	while (at + sizeof(head) <= end) {
		u32 type, bytes;

		if (!get(r, at, head, sizeof(head)))
			return false;
		type = be32(head);
		bytes = be32(head + 4);
		at += sizeof(head);
		if (type == EXTENSION_END)
			return true;
		if (bytes > end - at)
			return fail(r, "an extension of its header is too long");
		if (!read_extension(r, type, at, bytes))
			return false;
		at += ((u64)bytes + 7) & ~7ull;
	}
	return true;
}

static bool read_qcow2_3(const struct reader *r, u32 *length)
{
	u64 features = be64(r->head + 72);

	*length = be32(r->head + 100);
	if (*length < QCOW2_HEADER_3 || *length > r->info->cluster_bytes || *length % 8)
		return fail(r, "its header has %u bytes", *length);
	r->info->dirty = features & QCOW2_DIRTY;
	r->info->corrupt = features & QCOW2_CORRUPT;
	return true;
}

static bool read_qcow2(const struct reader *r)
{
	u32 version = be32(r->head + 4), bits = be32(r->head + 20), method = be32(r->head + 32);
	u64 backing = be64(r->head + 8), end;
	u32 length = QCOW2_HEADER;

	r->info->version = version;
	if (version < 2 || version > 3)
		return fail(r, "its version is %u", version);
	if (method > 2)
		return fail(r, "its encryption is number %u", method);
	r->info->encryption = method == 1 ? "aes" : method == 2 ? "luks" : NULL;
	r->info->snapshots = be32(r->head + 60);
	if (r->info->snapshots > 65536)
		return fail(r, "it has %u snapshots", r->info->snapshots);
	if (!set_cluster(r, bits < 32 ? 1ull << bits : 0, 512, 2 * MIB) ||
	    !set_disk(r, be64(r->head + 24)) || (version == 3 && !read_qcow2_3(r, &length)))
		return false;
	end = backing ? backing : r->info->cluster_bytes;
	if (backing && (backing < length || backing > r->info->cluster_bytes))
		return fail(r, "the name of its backing file is not in the first cluster");
	return read_extensions(r, length, MIN(end, r->source->bytes)) &&
	       read_backing(r, backing, be32(r->head + 16));
}

/* --- QED: QEMU, docs/interop/qed_spec.txt --- */

static bool is_qed(const struct reader *r)
{
	return !memcmp(r->head, "QED", 4);
}

static bool read_qed(const struct reader *r)
{
	u64 features = le64(r->head + 16);

	r->info->dirty = features & 2;
	if (!set_cluster(r, le32(r->head + 4), 4 * KIB, 64 * MIB) ||
	    !set_disk(r, le64(r->head + 48)))
		return false;
	if (!(features & 1))
		return true;
	if (features & 4)
		r->info->backing_format = g_strdup("raw");
	return read_backing(r, le32(r->head + 56), le32(r->head + 60)) &&
	       ((r->info->backing && *r->info->backing) || fail(r, "its backing file has no name"));
}

/* --- VMDK: VMware, Virtual Disk Format 5.0 --- */

static bool is_vmdk_text(const struct reader *r)
{
	return g_str_has_prefix((const char *)r->head, "# Disk DescriptorFile");
}

static bool is_vmdk(const struct reader *r)
{
	return !memcmp(r->head, "KDMV", 4) || !memcmp(r->head, "COWD", 4) || is_vmdk_text(r);
}

/* An extent: "RW 4192256 SPARSE "name"". */
static bool add_extent(const struct reader *r, const char *line, u64 *sectors)
{
	static const char *const accesses[] = { "RW ", "RDONLY ", "NOACCESS " };

	for (unsigned i = 0; i < ARRAY_LEN(accesses); i++)
		if (g_str_has_prefix(line, accesses[i])) {
			u64 more = g_ascii_strtoull(line + strlen(accesses[i]), NULL, 10);

			if (__builtin_add_overflow(*sectors, more, sectors))
				return fail(r, "its extents are too long");
		}
	return true;
}

static void read_parent(const struct reader *r, const char *line)
{
	const char *name = "parentFileNameHint=\"", *end;

	if (!g_str_has_prefix(line, name) || r->info->backing)
		return;
	line += strlen(name);
	end = strchrnul(line, '"');
	r->info->backing = g_utf8_make_valid(line, MIN(end - line, IMAGE_NAME_MAX));
}

/* @sectors gets how long its extents are together. */
static bool read_descriptor(const struct reader *r, u64 offset, u64 bytes, u64 *sectors)
{
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	bytes = MIN(bytes, TEXT_BYTES_MAX);
	text = g_malloc0(bytes + 1);
	if (!get(r, offset, text, bytes))
		return false;
	lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		read_parent(r, lines[i]);
		if (!add_extent(r, lines[i], sectors))
			return false;
	}
	return true;
}

static bool read_vmdk(const struct reader *r)
{
	u64 sectors = 0, descriptor, length;

	if (is_vmdk_text(r))
		return read_descriptor(r, 0, r->source->bytes, &sectors) && set_sectors(r, sectors);
	r->info->version = le32(r->head + 4);
	if (!memcmp(r->head, "COWD", 4))
		return set_sectors(r, le32(r->head + 12));
	if (r->info->version < 1 || r->info->version > 3)
		return fail(r, "its version is %u", r->info->version);
	descriptor = le64(r->head + 28);
	length = le64(r->head + 36);
	/* more than that is no cluster, times 512 or not */
	if (!set_cluster(r, MIN(le64(r->head + 20), 64 * MIB) * SECTOR, SECTOR, 64 * MIB))
		return false;
	if (descriptor > r->source->bytes / SECTOR || length > r->source->bytes / SECTOR)
		return fail(r, "its descriptor is beyond the file's end");
	return set_sectors(r, le64(r->head + 12)) &&
	       (!descriptor ||
		read_descriptor(r, descriptor * SECTOR,
				MIN(length * SECTOR, r->source->bytes - descriptor * SECTOR),
				&sectors));
}

/* --- VDI: VirtualBox --- */

static bool is_vdi(const struct reader *r)
{
	return le32(r->head + 0x40) == 0xbeda107f;
}

static bool read_vdi(const struct reader *r)
{
	u32 type = le32(r->head + 0x4c);

	r->info->version = le32(r->head + 0x44) >> 16;
	if (r->info->version != 1)
		return fail(r, "its version is %u", r->info->version);
	if (type < 1 || type > 4)
		return fail(r, "it is of type %u", type);
	return set_cluster(r, le32(r->head + 0x178), 4 * KIB, 256 * MIB) &&
	       set_disk(r, le64(r->head + 0x170));
}

/* --- VHD: Microsoft, Virtual Hard Disk Image Format Specification --- */

enum { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4, VHD_PARENT_BYTES = 512 };

static bool vhd_sum_is_right(const u8 *footer)
{
	u32 sum = 0;

	for (unsigned i = 0; i < SECTOR; i++)
		sum += i >= 64 && i < 68 ? 0 : footer[i];
	return be32(footer + 64) == ~sum;
}

/* A fixed one has its header at its end alone, where a raw image's guest writes too: so only
 * with the right sum. */
static bool is_vhd(const struct reader *r)
{
	u8 footer[SECTOR];

	if (!memcmp(r->head, "conectix", 8))
		return true;
	return r->source->bytes > SECTOR &&
	       r->source->read(r->source->opaque, r->source->bytes - SECTOR, footer, SECTOR) &&
	       !memcmp(footer, "conectix", 8) && vhd_sum_is_right(footer);
}

static bool read_vhd_parent(const struct reader *r, u64 offset)
{
	u8 head[64 + VHD_PARENT_BYTES];
	gunichar2 name[VHD_PARENT_BYTES / 2 + 1] = { 0 };

	if (!get(r, offset, head, sizeof(head)))
		return false;
	for (unsigned i = 0; i < VHD_PARENT_BYTES / 2; i++)
		name[i] = be16(head + 64 + i * 2);
	r->info->backing = g_utf16_to_utf8(name, -1, NULL, NULL, NULL);
	return r->info->backing || fail(r, "the name of its parent is no text");
}

static bool read_vhd(const struct reader *r)
{
	bool first = !memcmp(r->head, "conectix", 8);
	u8 footer[SECTOR], dynamic[64];
	u32 type;

	if (!get(r, first ? 0 : r->source->bytes - SECTOR, footer, SECTOR))
		return false;
	r->info->version = be32(footer + 12) >> 16;
	type = be32(footer + 60);
	if (!vhd_sum_is_right(footer))
		return fail(r, "the sum of its footer is wrong");
	if (type != VHD_FIXED && type != VHD_DYNAMIC && type != VHD_DIFFERENCING)
		return fail(r, "it is of type %u", type);
	if (!set_disk(r, be64(footer + 48)))
		return false;
	if (type == VHD_FIXED)
		return r->info->disk_bytes <= r->source->bytes ||
		       fail(r, "it is fixed, and shorter than its disk");
	return get(r, be64(footer + 16), dynamic, sizeof(dynamic)) &&
	       (!memcmp(dynamic, "cxsparse", 8) || fail(r, "its dynamic header is none")) &&
	       set_cluster(r, be32(dynamic + 32), SECTOR, 256 * MIB) &&
	       (type != VHD_DIFFERENCING || read_vhd_parent(r, be64(footer + 16)));
}

/* --- VHDX: Microsoft, MS-VHDX --- */

#define VHDX_REGIONS  (192 * KIB)
#define VHDX_METADATA "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"
#define VHDX_SIZE     "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"
#define VHDX_FILE     "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"

enum { GUID_BYTES = 16, VHDX_ENTRY = 32 };

static bool is_vhdx(const struct reader *r)
{
	return !memcmp(r->head, "vhdxfile", 8);
}

/* The entry of @guid in the table at @table, whose entries begin at @first. */
static bool find_entry(const struct reader *r, u64 table, unsigned first, u32 count,
		       const char *guid, u8 entry[VHDX_ENTRY])
{
	if (count > ENTRIES_MAX)
		return fail(r, "a table has %u entries", count);
	for (u32 i = 0; i < count; i++) {
		if (!get(r, table + first + (u64)i * VHDX_ENTRY, entry, VHDX_ENTRY))
			return false;
		if (!memcmp(entry, guid, GUID_BYTES))
			return true;
	}
	return fail(r, "an entry is missing in its tables");
}

static bool read_vhdx(const struct reader *r)
{
	u8 head[VHDX_ENTRY], entry[VHDX_ENTRY], value[8];
	u64 metadata;
	u16 items;

	if (!get(r, VHDX_REGIONS, head, sizeof(head)))
		return false;
	if (memcmp(head, "regi", 4))
		return fail(r, "its table of regions is none");
	if (!find_entry(r, VHDX_REGIONS, GUID_BYTES, le32(head + 8), VHDX_METADATA, entry))
		return false;
	metadata = le64(entry + 16);
	if (metadata > r->source->bytes || !get(r, metadata, head, sizeof(head)))
		return metadata <= r->source->bytes ? false
						    : fail(r, "its metadata is beyond its end");
	if (memcmp(head, "metadata", 8))
		return fail(r, "its metadata is none");
	items = le16(head + 10);
	if (!find_entry(r, metadata, VHDX_ENTRY, items, VHDX_SIZE, entry) ||
	    !get(r, metadata + le32(entry + 16), value, sizeof(value)) ||
	    !set_disk(r, le64(value)) ||
	    !find_entry(r, metadata, VHDX_ENTRY, items, VHDX_FILE, entry) ||
	    !get(r, metadata + le32(entry + 16), value, sizeof(value)))
		return false;
	r->info->version = 1;
	return set_cluster(r, le32(value), MIB, 256 * MIB);
}

/* --- LUKS: cryptsetup, the on-disk format specifications of version 1 and 2 --- */

#define LUKS2_JSON 4096

static bool is_luks(const struct reader *r)
{
	return !memcmp(r->head, "LUKS\xba\xbe", 6);
}

/* Where the first segment of version 2 begins; its header is JSON. */
static bool luks2_offset(const struct reader *r, u64 *offset)
{
	u64 bytes = be64(r->head + 8);
	g_autofree char *text = NULL;
	const char *given = NULL;
	json_t *root, *segment;

	if (bytes < 2 * LUKS2_JSON || bytes > JSON_BYTES_MAX)
		return fail(r, "its header has %" G_GUINT64_FORMAT " bytes", bytes);
	bytes -= LUKS2_JSON;
	text = g_malloc0(bytes + 1);
	if (!get(r, LUKS2_JSON, text, bytes))
		return false;
	root = json_loads(text, 0, NULL);
	segment = json_object_get(json_object_get(root, "segments"), "0");
	given = json_string_value(json_object_get(segment, "offset"));
	*offset = given ? g_ascii_strtoull(given, NULL, 10) : 0;
	json_decref(root);
	return *offset || fail(r, "it does not say where its disk begins");
}

static bool read_luks(const struct reader *r)
{
	u64 offset = (u64)be32(r->head + 104) * SECTOR;

	r->info->version = be16(r->head + 6);
	r->info->encryption = "luks";
	if (r->info->version != 1 && r->info->version != 2)
		return fail(r, "its version is %u", r->info->version);
	if (r->info->version == 2 && !luks2_offset(r, &offset))
		return false;
	if (offset > r->source->bytes)
		return fail(r, "its disk begins beyond the file's end");
	return set_disk(r, r->source->bytes - offset);
}

/* --- ISO 9660: ECMA-119, 8.4 --- */

#define ISO_DESCRIPTOR (16 * 2048)

static bool is_iso(const struct reader *r)
{
	u8 head[6];

	return r->source->bytes >= ISO_DESCRIPTOR + 2048 &&
	       r->source->read(r->source->opaque, ISO_DESCRIPTOR, head, sizeof(head)) &&
	       !memcmp(head + 1, "CD001", 5);
}

static bool read_iso(const struct reader *r)
{
	char label[32];

	if (!get(r, ISO_DESCRIPTOR + 40, label, sizeof(label)))
		return false;
	r->info->label = g_strchomp(g_utf8_make_valid(label, strnlen(label, sizeof(label))));
	return set_disk(r, r->source->bytes);
}

/* --- all --- */

static const struct {
	const char *format;
	bool (*is)(const struct reader *r);
	bool (*read)(const struct reader *r);
} rows[] = {
	{ "qcow", is_qcow, read_qcow }, { "qcow2", is_qcow2, read_qcow2 },
	{ "qed", is_qed, read_qed },    { "vmdk", is_vmdk, read_vmdk },
	{ "vdi", is_vdi, read_vdi },    { "vhdx", is_vhdx, read_vhdx },
	{ "luks", is_luks, read_luks }, { "vpc", is_vhd, read_vhd },
	{ "iso", is_iso, read_iso },
};

bool probe_image(const struct image_source *source, struct image_info *info, GError **error)
{
	struct reader r = { .source = source, .info = info, .error = error };

	*info = (struct image_info){ .format = "raw",
				     .disk_bytes = source->bytes,
				     .file_bytes = source->bytes };
	if (!source->read(source->opaque, 0, r.head, MIN(sizeof(r.head), source->bytes))) {
		g_set_error(error, IMAGE_ERROR, 0, "it cannot be read");
		return false;
	}
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].is(&r)) {
			info->format = rows[i].format;
			return rows[i].read(&r);
		}
	return true;
}

void image_info_clear(struct image_info *info)
{
	g_free(info->backing);
	g_free(info->backing_format);
	g_free(info->data_file);
	g_free(info->label);
	*info = (struct image_info){ 0 };
}
