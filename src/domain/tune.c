/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest may use of the host: the amounts of <cputune>, <memtune> and <blkiotune>. An amount
 * that is absent or 0 is no limit, and so is a quota below 0 and memory of VIR_DOMAIN_MEMORY_
 * PARAM_UNLIMITED, which is how libvirt's clients write "none".
 */
#include "domain/tune.h"

#include "domain/message.h"
#include "domain/xml.h"

#include <string.h>

struct row {
	const char *path;
	bool memory; /* with a unit, and kept in KiB */
	bool negative;
	s64 least, most;
};

/* Shares are a weight in cgroup v2, and were more in v1: a definition may have come from there. */
static const struct row rows[DOMAIN_LIMITS] = {
	[LIMIT_CPU_SHARES] = { "cputune/shares", .least = 1, .most = 262144 },
	[LIMIT_VCPU_PERIOD] = { "cputune/period", .least = 1000, .most = 1000000 },
	[LIMIT_VCPU_QUOTA] = { "cputune/quota", .negative = true, .least = 1000,
			       .most = 17592186044415 },
	[LIMIT_EMULATOR_PERIOD] = { "cputune/emulator_period", .least = 1000, .most = 1000000 },
	[LIMIT_EMULATOR_QUOTA] = { "cputune/emulator_quota", .negative = true, .least = 1000,
				   .most = 17592186044415 },
	[LIMIT_GLOBAL_PERIOD] = { "cputune/global_period", .least = 1000, .most = 1000000 },
	[LIMIT_GLOBAL_QUOTA] = { "cputune/global_quota", .negative = true, .least = 1000,
				 .most = 17592186044415 },
	[LIMIT_MEMORY_HARD] = { "memtune/hard_limit", .memory = true },
	[LIMIT_MEMORY_SOFT] = { "memtune/soft_limit", .memory = true },
	[LIMIT_SWAP_HARD] = { "memtune/swap_hard_limit", .memory = true },
	[LIMIT_IO_WEIGHT] = { "blkiotune/weight", .least = 1, .most = 10000 },
};

static const struct {
	const char *element;
	s64 most;
} io_rows[DOMAIN_IO_LIMITS] = {
	[IO_LIMIT_WEIGHT] = { "weight", 10000 },
	[IO_LIMIT_READ_IOPS] = { "read_iops_sec", G_MAXUINT32 },
	[IO_LIMIT_WRITE_IOPS] = { "write_iops_sec", G_MAXUINT32 },
	[IO_LIMIT_READ_BYTES] = { "read_bytes_sec", G_MAXINT64 },
	[IO_LIMIT_WRITE_BYTES] = { "write_bytes_sec", G_MAXINT64 },
};

/* --- reading --- */

static s64 read_memory(const xmlNode *node)
{
	u64 bytes = 0;

	domain_size_bytes(xml_text(node), xml_attr(node, "unit"), &bytes);
	bytes = bytes / KIB + !!(bytes % KIB);
	return bytes >= DOMAIN_MEMORY_UNLIMITED ? 0 : bytes;
}

static s64 read_amount(const xmlNode *root, const struct row *row)
{
	const xmlNode *node = xml_find(root, row->path);

	if (!node)
		return 0;
	return row->memory ? read_memory(node) : g_ascii_strtoll(xml_text(node), NULL, 10);
}

static void free_device(gpointer data)
{
	struct domain_io_device *device = data;

	g_free(device->path);
	g_free(device);
}

struct domain_limits *domain_limits_copy(const struct domain_limits *limits)
{
	struct domain_limits *copy = g_memdup2(limits, sizeof(*limits));

	copy->devices = g_ptr_array_new_with_free_func(free_device);
	for (guint i = 0; i < limits->devices->len; i++) {
		const struct domain_io_device *from = limits->devices->pdata[i];
		struct domain_io_device *to = g_memdup2(from, sizeof(*from));

		to->path = g_strdup(from->path);
		g_ptr_array_add(copy->devices, to);
	}
	return copy;
}

void domain_limits_free(struct domain_limits *limits)
{
	if (!limits)
		return;
	g_ptr_array_unref(limits->devices);
	g_free(limits);
}

void domain_read_limits(struct domain *domain, const xmlNode *root)
{
	struct domain_limits *limits = &domain->limits;

	for (unsigned i = 0; i < DOMAIN_LIMITS; i++)
		limits->amounts[i] = read_amount(root, &rows[i]);
	limits->devices = g_ptr_array_new_with_free_func(free_device);
	xml_for_each(node, xml_child(root, "blkiotune"), "device")
	{
		struct domain_io_device *device = g_new0(struct domain_io_device, 1);

		device->path = g_strdup(xml_text(xml_child(node, "path")));
		for (unsigned i = 0; i < DOMAIN_IO_LIMITS; i++) {
			const char *text = xml_text(xml_child(node, io_rows[i].element));

			device->amounts[i] = text ? g_ascii_strtoull(text, NULL, 10) : 0;
		}
		g_ptr_array_add(limits->devices, device);
	}
}

bool domain_has_limits(const struct domain *domain)
{
	for (unsigned i = 0; i < DOMAIN_LIMITS; i++)
		if (domain->limits.amounts[i] > 0)
			return true;
	return domain->limits.devices->len;
}

/* --- is it sound? --- */

static bool validate_amount(const struct domain *domain, const xmlNode *node, s64 least, s64 most,
			    bool negative, GError **error)
{
	gint64 amount;

	if (g_ascii_string_to_signed(xml_text(node), 10, negative ? -G_MAXINT64 : 0, most, &amount,
				     NULL) &&
	    (amount <= 0 || amount >= least))
		return true;
	return domain_fail(domain, error, DOMAIN_ERROR_VALUE, node,
			   "'%s' is not a number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
			   "; leave it out for no limit",
			   xml_text(node), least, most);
}

static bool validate_device(const struct domain *domain, const xmlNode *device, GError **error)
{
	const xmlNode *path = xml_child(device, "path");

	if (!path)
		return domain_fail(domain, error, DOMAIN_ERROR_VALUE, device,
				   "<path> is missing; add it");
	xml_for_each(other, xml_child(xmlDocGetRootElement(domain->doc), "blkiotune"), "device")
	{
		const xmlNode *its = xml_child(other, "path");

		if (other != device && its && !strcmp(xml_text(its), xml_text(path)))
			return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, device,
					   "%s is there twice; remove one", xml_text(path));
	}
	for (unsigned i = 0; i < DOMAIN_IO_LIMITS; i++) {
		const xmlNode *node = xml_child(device, io_rows[i].element);

		if (node && !validate_amount(domain, node, 1, io_rows[i].most, false, error))
			return false;
	}
	return true;
}

bool domain_validate_limits(struct domain *domain, const xmlNode *root, GError **error)
{
	const xmlNode *swap = xml_find(root, rows[LIMIT_SWAP_HARD].path);
	const xmlNode *hard = xml_find(root, rows[LIMIT_MEMORY_HARD].path);

	for (unsigned i = 0; i < DOMAIN_LIMITS; i++) {
		const xmlNode *node = xml_find(root, rows[i].path);

		if (node && !rows[i].memory &&
		    !validate_amount(domain, node, rows[i].least, rows[i].most, rows[i].negative,
				     error))
			return false;
	}
	xml_for_each(device, xml_child(root, "blkiotune"),
		     "device") if (!validate_device(domain, device, error)) return false;
	if (xml_child(root, "memtune") || xml_child(root, "blkiotune") ||
	    xml_find(root, "cputune/shares") || xml_find(root, "cputune/quota"))
		domain_note(domain, NULL,
			    "limits of <cputune>, <memtune> and <blkiotune> are for "
			    "lodged, which has a cgroup for each guest; lodge run "
			    "sets none");
	if (!swap || !read_memory(swap) ||
	    (hard && read_memory(hard) && read_memory(swap) >= read_memory(hard)))
		return true;
	return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, swap,
			   "it counts memory and swap together, and so needs a <hard_limit> that "
			   "is not more than it");
}

/* --- writing --- */

static xmlNode *ensure_path(xmlNode *root, const char *path)
{
	g_auto(GStrv) steps = g_strsplit(path, "/", -1);

	for (unsigned i = 0; steps[i]; i++)
		root = xml_ensure(root, steps[i]);
	return root;
}

/* An element without any left goes too. */
static void remove_with_parent(xmlNode *node)
{
	xmlNode *parent = node ? node->parent : NULL;

	if (!node)
		return;
	xml_remove(node);
	if (!xml_child(parent, NULL))
		xml_remove(parent);
}

void domain_set_limit(xmlNode *root, enum domain_limit limit, s64 amount)
{
	const struct row *row = &rows[limit];
	g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, amount);
	xmlNode *node;

	if (!amount) {
		remove_with_parent(xml_find(root, row->path));
		return;
	}
	node = ensure_path(root, row->path);
	xml_set_text(node, text);
	if (row->memory)
		xml_set(node, "unit", "KiB");
}

static xmlNode *find_device(xmlNode *tune, const char *path)
{
	xml_for_each(device, tune, "device") if (!strcmp(xml_text(xml_child(device, "path")),
							 path)) return device;
	return NULL;
}

void domain_set_io_limit(xmlNode *root, const char *path, enum domain_io_limit limit, u64 amount)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, amount);
	const char *element = io_rows[limit].element;
	xmlNode *tune = xml_child(root, "blkiotune"), *device = find_device(tune, path);

	if (amount) {
		if (!device) {
			device = xml_add(xml_ensure(root, "blkiotune"), "device", NULL);
			xml_add(device, "path", path);
		}
		xml_set_text(xml_ensure(device, element), text);
	} else if (device) {
		if (xml_child(device, element))
			xml_remove(xml_child(device, element));
		if (!xml_next(xml_child(device, NULL), NULL))
			remove_with_parent(device);
	}
}
