/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices of the host. See nodedev.h. */
#include "daemon/nodedev.h"

#include "rpc_constants.h"

#include <limits.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST      "computer"
#define DEVICES   4096 /* that are looked at, of each kind */
#define PCI_NAMES "/usr/share/misc/pci.ids"
#define NO_UUID   "00000000-0000-0000-0000-000000000000"

/* A kind of device. */
struct nodedev_kind {
	const char *capability;
	u32 flag;
	const char *folder; /* below /sys, with a link for each; NULL: the host */
	/* Its name, or NULL: it is none of these. */
	char *(*name)(const char *path, const char *entry);
	/* Its elements, between <capability> and </capability>. */
	void (*describe)(GString *xml, const char *path);
};

/* --- small files --- */

char *nodedev_line(const char *folder, const char *file)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);
	char *text = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	g_strstrip(text);
	return text;
}

static bool exists(const char *folder, const char *file)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);

	return !access(path, F_OK);
}

/* Where a link leads, by its last step; NULL: there is none. */
static char *link_name(const char *folder, const char *file)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);
	g_autofree char *target = g_file_read_link(path, NULL);

	return target ? g_path_get_basename(target) : NULL;
}

static const char *last(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* --- XML --- */

static void add(GString *xml, unsigned level, const char *element, const char *text)
{
	g_autofree char *line = NULL;

	if (!text || !g_utf8_validate(text, -1, NULL))
		return;
	line = g_markup_printf_escaped("%*s<%s>%s</%s>\n", level * 2, "", element, text, element);
	g_string_append(xml, line);
}

/* The line of a file as an element, if it is there and not empty. */
static void add_line(GString *xml, unsigned level, const char *element, const char *folder,
		     const char *file)
{
	g_autofree char *text = nodedev_line(folder, file);

	if (text && *text)
		add(xml, level, element, text);
}

static void add_number(GString *xml, const char *element, u64 number)
{
	g_string_append_printf(xml, "    <%s>%" G_GUINT64_FORMAT "</%s>\n", element, number,
			       element);
}

/* With an id, and a name where one is known. */
static void add_id(GString *xml, const char *element, unsigned id, const char *name)
{
	g_autofree char *line = name && *name && g_utf8_validate(name, -1, NULL)
					? g_markup_printf_escaped("    <%s id='0x%04x'>%s</%s>\n",
								  element, id, name, element)
					: g_strdup_printf("    <%s id='0x%04x'/>\n", element, id);

	g_string_append(xml, line);
}

static unsigned hex_line(const char *folder, const char *file)
{
	g_autofree char *text = nodedev_line(folder, file);

	return text ? strtoul(text, NULL, 16) : 0;
}

static unsigned number_line(const char *folder, const char *file)
{
	g_autofree char *text = nodedev_line(folder, file);

	return text ? strtoul(text, NULL, 10) : 0;
}

/* --- names: what is no letter or digit becomes _ --- */

static char *plain_name(const char *prefix, const char *entry)
{
	char *name = g_strconcat(prefix, entry, NULL);

	for (char *p = name; *p; p++)
		if (!g_ascii_isalnum(*p))
			*p = '_';
	return name;
}

/* --- the host --- */

static void describe_host(GString *xml, const char *sys)
{
	g_autofree char *dmi = g_build_filename(sys, "class/dmi/id", NULL);
	g_autofree char *uuid = nodedev_line(dmi, "product_uuid"), *lower = NULL;

	lower = g_ascii_strdown(uuid && g_uuid_string_is_valid(uuid) ? uuid : NO_UUID, -1);
	add_line(xml, 2, "product", dmi, "product_name");
	g_string_append(xml, "    <hardware>\n");
	add_line(xml, 3, "vendor", dmi, "sys_vendor");
	add_line(xml, 3, "version", dmi, "product_version");
	add_line(xml, 3, "serial", dmi, "product_serial");
	add(xml, 3, "uuid", lower);
	g_string_append(xml, "    </hardware>\n    <firmware>\n");
	add_line(xml, 3, "vendor", dmi, "bios_vendor");
	add_line(xml, 3, "version", dmi, "bios_version");
	add_line(xml, 3, "release_date", dmi, "bios_date");
	g_string_append(xml, "    </firmware>\n");
}

/* --- PCI --- */

struct pci_address {
	unsigned domain, bus, slot, function;
};

static bool pci_address(const char *entry, struct pci_address *at)
{
	return sscanf(entry, "%x:%x:%x.%u", &at->domain, &at->bus, &at->slot, &at->function) == 4;
}

static char *pci_name(const char *path, const char *entry)
{
	struct pci_address at;

	return pci_address(entry, &at) ? plain_name("pci_", entry) : NULL;
}

/* A line "ID  NAME" at @indent in @text, before one with less; past its end in *@rest. */
static char *find_id(const char *text, unsigned indent, unsigned id, const char **rest)
{
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		unsigned tabs, number, length = 0;

		line += *line == '\n';
		tabs = strspn(line, "\t");
		if (tabs < indent && *line && *line != '#' && *line != '\n')
			return NULL;
		if (tabs != indent || sscanf(line + tabs, "%4x %n", &number, &length) != 1 ||
		    !length || number != id)
			continue;
		line += tabs + length;
		*rest = strchrnul(line, '\n');
		return g_strndup(line, *rest - line);
	}
	return NULL;
}

static void add_pci_names(GString *xml, unsigned vendor, unsigned product)
{
	g_autofree char *text = NULL, *vendor_name = NULL, *product_name = NULL;
	const char *rest;

	if (g_file_get_contents(PCI_NAMES, &text, NULL, NULL)) {
		vendor_name = find_id(text, 0, vendor, &rest);
		product_name = vendor_name ? find_id(rest, 1, product, &rest) : NULL;
	}
	add_id(xml, "product", product, product_name);
	add_id(xml, "vendor", vendor, vendor_name);
}

static void add_address(GString *xml, unsigned level, const char *entry)
{
	struct pci_address at;

	if (entry && pci_address(entry, &at))
		g_string_append_printf(xml,
				       "%*s<address domain='0x%04x' bus='0x%02x' slot='0x%02x' "
				       "function='0x%x'/>\n",
				       level * 2, "", at.domain, at.bus, at.slot, at.function);
}

/* A device that shows itself as several, and one of these. */
static void add_functions(GString *xml, const char *path)
{
	g_autofree char *physical = link_name(path, "physfn");
	unsigned most = number_line(path, "sriov_totalvfs");

	if (physical) {
		g_string_append(xml, "    <capability type='phys_function'>\n");
		add_address(xml, 3, physical);
		g_string_append(xml, "    </capability>\n");
	}
	if (!most)
		return;
	g_string_append_printf(xml, "    <capability type='virt_functions' maxCount='%u'>\n", most);
	for (unsigned i = 0; i < MIN(most, DEVICES); i++) {
		g_autofree char *file = g_strdup_printf("virtfn%u", i);
		g_autofree char *function = link_name(path, file);

		add_address(xml, 3, function);
	}
	g_string_append(xml, "    </capability>\n");
}

static int by_name(gconstpointer a, gconstpointer b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The entries of a folder, by name; the caller unrefs the array. */
static GPtrArray *entries(const char *folder)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	GDir *dir = g_dir_open(folder, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir)) && names->len < DEVICES)
		g_ptr_array_add(names, g_strdup(name));
	if (dir)
		g_dir_close(dir);
	g_ptr_array_sort(names, by_name);
	return names;
}

static void add_iommu(GString *xml, const char *path)
{
	g_autofree char *group = link_name(path, "iommu_group");
	g_autofree char *folder = g_build_filename(path, "iommu_group/devices", NULL);
	GPtrArray *members;

	if (!group)
		return;
	members = entries(folder);
	if (members->len) {
		g_string_append_printf(xml, "    <iommuGroup number='%lu'>\n",
				       strtoul(group, NULL, 10));
		for (guint i = 0; i < members->len; i++)
			add_address(xml, 3, members->pdata[i]);
		g_string_append(xml, "    </iommuGroup>\n");
	}
	g_ptr_array_unref(members);
}

static void describe_pci(GString *xml, const char *path)
{
	unsigned class = hex_line(path, "class");
	g_autofree char *node = nodedev_line(path, "numa_node");
	struct pci_address at = { 0 };

	pci_address(last(path), &at);
	g_string_append_printf(xml, "    <class>0x%06x</class>\n", class & 0xffffff);
	add_number(xml, "domain", at.domain);
	add_number(xml, "bus", at.bus);
	add_number(xml, "slot", at.slot);
	add_number(xml, "function", at.function);
	add_pci_names(xml, hex_line(path, "vendor"), hex_line(path, "device"));
	add_functions(xml, path);
	if (class >> 8 == 0x0604)
		g_string_append(xml, "    <capability type='pci-bridge'/>\n");
	else if (class >> 8 == 0x0607)
		g_string_append(xml, "    <capability type='cardbus-bridge'/>\n");
	add_iommu(xml, path);
	if (node && *node != '-')
		g_string_append_printf(xml, "    <numa node='%lu'/>\n", strtoul(node, NULL, 10));
}

/* --- USB --- */

static char *usb_device_name(const char *path, const char *entry)
{
	return strchr(entry, ':') ? NULL : plain_name("usb_", entry);
}

static char *usb_interface_name(const char *path, const char *entry)
{
	return strchr(entry, ':') ? plain_name("usb_", entry) : NULL;
}

static void describe_usb_device(GString *xml, const char *path)
{
	g_autofree char *product = nodedev_line(path, "product");
	g_autofree char *vendor = nodedev_line(path, "manufacturer");

	add_number(xml, "bus", number_line(path, "busnum"));
	add_number(xml, "device", number_line(path, "devnum"));
	add_id(xml, "product", hex_line(path, "idProduct"), product);
	add_id(xml, "vendor", hex_line(path, "idVendor"), vendor);
}

static void describe_usb_interface(GString *xml, const char *path)
{
	add_number(xml, "number", hex_line(path, "bInterfaceNumber"));
	add_number(xml, "class", hex_line(path, "bInterfaceClass"));
	add_number(xml, "subclass", hex_line(path, "bInterfaceSubClass"));
	add_number(xml, "protocol", hex_line(path, "bInterfaceProtocol"));
	add_line(xml, 2, "description", path, "interface");
}

/* --- network cards --- */

static char *net_name(const char *path, const char *entry)
{
	g_autofree char *address = nodedev_line(path, "address");
	g_autofree char *both =
		g_strconcat(entry, address && *address ? "_" : "", address ? address : "", NULL);

	return plain_name("net_", both);
}

static u32 ethtool(int fd, const char *interface, u32 command)
{
	struct ethtool_value value = { .cmd = command };
	struct ifreq request = { .ifr_data = (char *)&value };

	g_strlcpy(request.ifr_name, interface, sizeof(request.ifr_name));
	return ioctl(fd, SIOCETHTOOL, &request) ? 0 : value.data;
}

static void add_features(GString *xml, const char *interface)
{
	static const struct {
		u32 command, bits; /* of its answer */
		const char *name;
	} rows[] = {
		{ ETHTOOL_GRXCSUM, ~0u, "rx" },
		{ ETHTOOL_GTXCSUM, ~0u, "tx" },
		{ ETHTOOL_GSG, ~0u, "sg" },
		{ ETHTOOL_GTSO, ~0u, "tso" },
		{ ETHTOOL_GGSO, ~0u, "gso" },
		{ ETHTOOL_GGRO, ~0u, "gro" },
		{ ETHTOOL_GFLAGS, ETH_FLAG_LRO, "lro" },
		{ ETHTOOL_GFLAGS, ETH_FLAG_RXVLAN, "rxvlan" },
		{ ETHTOOL_GFLAGS, ETH_FLAG_TXVLAN, "txvlan" },
		{ ETHTOOL_GFLAGS, ETH_FLAG_NTUPLE, "ntuple" },
		{ ETHTOOL_GFLAGS, ETH_FLAG_RXHASH, "rxhash" },
	};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (unsigned i = 0; fd >= 0 && i < ARRAY_LEN(rows); i++)
		if (ethtool(fd, interface, rows[i].command) & rows[i].bits)
			g_string_append_printf(xml, "    <feature name='%s'/>\n", rows[i].name);
	if (fd >= 0)
		close(fd);
}

static void describe_net(GString *xml, const char *path)
{
	g_autofree char *state = nodedev_line(path, "operstate");
	g_autofree char *speed = nodedev_line(path, "speed"), *link = NULL;
	bool fast = speed && g_ascii_isdigit(*speed) && strcmp(speed, "0");

	add(xml, 2, "interface", last(path));
	add_line(xml, 2, "address", path, "address");
	link = g_markup_printf_escaped("    <link%s%s%s state='%s'/>\n", fast ? " speed='" : "",
				       fast ? speed : "", fast ? "'" : "",
				       state && *state ? state : "unknown");
	g_string_append(xml, link);
	add_features(xml, last(path));
	g_string_append_printf(xml, "    <capability type='%s'/>\n",
			       exists(path, "phy80211") ? "80211" : "80203");
}

/* --- disks --- */

static char *block_name(const char *path, const char *entry)
{
	g_autofree char *serial = NULL, *both = NULL;

	if (!exists(path, "device"))
		return NULL; /* of no hardware: a loop, a mapping */
	serial = nodedev_line(path, exists(path, "serial") ? "serial" : "device/serial");
	both = g_strconcat(entry, serial && *serial ? "_" : "", serial ? serial : "", NULL);
	return plain_name("block_", both);
}

/* The bus by what is in the way to it. */
static const char *block_bus(const char *path)
{
	return strstr(path, "/usb")    ? "usb"
	       : strstr(path, "/ata")  ? "ata"
	       : strstr(path, "/nvme") ? "nvme"
	       : strstr(path, "/host") ? "scsi"
				       : NULL;
}

static void add_size(GString *xml, unsigned level, const char *element, const char *path)
{
	u64 sector = number_line(path, "queue/logical_block_size"), bytes;
	g_autofree char *text = nodedev_line(path, "size");

	bytes = text ? g_ascii_strtoull(text, NULL, 10) * 512 : 0; /* whatever its blocks are */
	sector = sector ? sector : 512;
	g_string_append_printf(xml, "%*s<%s>%" G_GUINT64_FORMAT "</%s>\n", level * 2, "", element,
			       bytes, element);
	g_string_append_printf(xml,
			       "%*s<logical_block_size>%" G_GUINT64_FORMAT
			       "</logical_block_size>\n%*s<num_blocks>%" G_GUINT64_FORMAT
			       "</num_blocks>\n",
			       level * 2, "", sector, level * 2, "", bytes / sector);
}

/* SCSI's type 5 is one of optical media. */
static void describe_block(GString *xml, const char *path)
{
	g_autofree char *node = g_strconcat("/dev/", last(path), NULL);
	bool optical = number_line(path, "device/type") == 5;

	add(xml, 2, "block", node);
	add(xml, 2, "bus", block_bus(path));
	add(xml, 2, "drive_type", optical ? "cdrom" : "disk");
	add_line(xml, 2, "model", path, "device/model");
	add_line(xml, 2, "vendor", path, "device/vendor");
	add_line(xml, 2, "serial", path, exists(path, "serial") ? "serial" : "device/serial");
	if (!number_line(path, "removable")) {
		add_size(xml, 2, "size", path);
		return;
	}
	g_string_append_printf(xml,
			       "    <capability type='removable'>\n"
			       "      <media_available>%d</media_available>\n",
			       number_line(path, "size") > 0);
	add_size(xml, 3, "media_size", path);
	g_string_append(xml, "    </capability>\n");
}

/* --- SCSI --- */

static char *scsi_host_name(const char *path, const char *entry)
{
	return plain_name("scsi_", entry);
}

static void describe_scsi_host(GString *xml, const char *path)
{
	g_autofree char *class = g_build_filename(path, "scsi_host", last(path), NULL);

	add_number(xml, "host", strtoul(last(path) + strlen("host"), NULL, 10));
	add_line(xml, 2, "unique_id", class, "unique_id");
}

static bool scsi_address(const char *entry, unsigned at[4])
{
	return sscanf(entry, "%u:%u:%u:%u", &at[0], &at[1], &at[2], &at[3]) == 4;
}

static char *scsi_name(const char *path, const char *entry)
{
	unsigned at[4];

	return scsi_address(entry, at) ? plain_name("scsi_", entry) : NULL;
}

static void describe_scsi(GString *xml, const char *path)
{
	unsigned at[4] = { 0 };

	scsi_address(last(path), at);
	add_number(xml, "host", at[0]);
	add_number(xml, "bus", at[1]);
	add_number(xml, "target", at[2]);
	add_number(xml, "lun", at[3]);
	add(xml, 2, "type", number_line(path, "type") == 5 ? "cdrom" : "disk");
}

static char *scsi_target_name(const char *path, const char *entry)
{
	return g_str_has_prefix(entry, "target") ? plain_name("scsi_", entry) : NULL;
}

static void describe_scsi_target(GString *xml, const char *path)
{
	add(xml, 2, "target", last(path));
}

static char *scsi_generic_name(const char *path, const char *entry)
{
	return plain_name("scsi_generic_", entry);
}

static void describe_scsi_generic(GString *xml, const char *path)
{
	g_autofree char *node = g_strconcat("/dev/", last(path), NULL);

	add(xml, 2, "char", node);
}

/* --- graphics --- */

/* Not its connectors, which are card0-HDMI-A-1 and the like. */
static char *drm_name(const char *path, const char *entry)
{
	return exists(path, "dev") ? plain_name("drm_", entry) : NULL;
}

static void describe_drm(GString *xml, const char *path)
{
	add(xml, 2, "type",
	    g_str_has_prefix(last(path), "render")    ? "render"
	    : g_str_has_prefix(last(path), "control") ? "control"
						      : "primary");
}

/* --- all kinds --- */

static const struct nodedev_kind host_kind = { "system", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SYSTEM,
					       NULL, NULL, describe_host };

static const struct nodedev_kind kinds[] = {
	{ "pci", VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV, "bus/pci/devices", pci_name,
	  describe_pci },
	{ "usb_device", VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV, "bus/usb/devices",
	  usb_device_name, describe_usb_device },
	{ "usb", VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_INTERFACE, "bus/usb/devices",
	  usb_interface_name, describe_usb_interface },
	{ "net", VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET, "class/net", net_name, describe_net },
	{ "scsi_host", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_HOST, "class/scsi_host",
	  scsi_host_name, describe_scsi_host },
	{ "scsi_target", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_TARGET, "bus/scsi/devices",
	  scsi_target_name, describe_scsi_target },
	{ "scsi", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI, "bus/scsi/devices", scsi_name,
	  describe_scsi },
	{ "storage", VIR_CONNECT_LIST_NODE_DEVICES_CAP_STORAGE, "block", block_name,
	  describe_block },
	{ "scsi_generic", VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_GENERIC, "class/scsi_generic",
	  scsi_generic_name, describe_scsi_generic },
	{ "drm", VIR_CONNECT_LIST_NODE_DEVICES_CAP_DRM, "class/drm", drm_name, describe_drm },
};

static void free_device(gpointer data)
{
	struct nodedev *device = data;

	g_free(device->name);
	g_free(device->path);
	g_free(device->parent);
	g_free(device);
}

static void add_entry(GPtrArray *all, const struct nodedev_kind *kind, const char *folder,
		      const char *entry)
{
	g_autofree char *link = g_build_filename(folder, entry, NULL);
	char resolved[PATH_MAX], *name;
	struct nodedev *device;

	if (!realpath(link, resolved))
		return; /* it has just gone */
	name = kind->name(resolved, entry);
	if (!name)
		return;
	device = g_new0(struct nodedev, 1);
	device->kind = kind;
	device->name = name;
	device->path = g_strdup(resolved);
	g_ptr_array_add(all, device);
}

/* The device whose folder is nearest above. */
static char *parent_of(GHashTable *paths, const char *path)
{
	g_autofree char *above = g_path_get_dirname(path);

	while (strlen(above) > 1) {
		const struct nodedev *device = g_hash_table_lookup(paths, above);

		if (device)
			return g_strdup(device->name);
		*strrchr(above, '/') = '\0';
	}
	return g_strdup(HOST);
}

/* One folder may be two things, as a SCSI host and its class's entry: the class's hangs below. */
static void find_parents(GPtrArray *all)
{
	g_autoptr(GHashTable) paths = g_hash_table_new(g_str_hash, g_str_equal);

	for (guint i = 1; i < all->len; i++) {
		struct nodedev *device = all->pdata[i];

		g_hash_table_insert(paths, device->path, device);
	}
	for (guint i = 1; i < all->len; i++) {
		struct nodedev *device = all->pdata[i];

		device->parent = parent_of(paths, device->path);
	}
}

/* /sys/devices/.../host0/scsi_host/host0 is the host in whose folder targets are. */
static void step_out(struct nodedev *device, const char *class)
{
	g_autofree char *above = g_path_get_dirname(device->path);

	if (strcmp(last(above), class))
		return;
	g_free(device->path);
	device->path = g_path_get_dirname(above);
}

GPtrArray *nodedev_all(const char *sys)
{
	GPtrArray *all = g_ptr_array_new_with_free_func(free_device);
	struct nodedev *host = g_new0(struct nodedev, 1);

	host->kind = &host_kind;
	host->name = g_strdup(HOST);
	g_ptr_array_add(all, host);
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		g_autofree char *folder = g_build_filename(sys, kinds[i].folder, NULL);
		GPtrArray *names = entries(folder);

		for (guint j = 0; j < names->len; j++)
			add_entry(all, &kinds[i], folder, names->pdata[j]);
		g_ptr_array_unref(names);
	}
	for (guint i = 1; i < all->len; i++)
		step_out(all->pdata[i], "scsi_host");
	find_parents(all);
	return all;
}

const struct nodedev *nodedev_find(const GPtrArray *all, const char *name)
{
	for (guint i = 0; i < all->len; i++)
		if (!strcmp(((const struct nodedev *)all->pdata[i])->name, name))
			return all->pdata[i];
	return NULL;
}

const char *nodedev_capability(const struct nodedev *device)
{
	return device->kind->capability;
}

u32 nodedev_flag(const struct nodedev *device)
{
	return device->kind->flag;
}

u32 nodedev_flag_of(const char *capability)
{
	if (!strcmp(capability, host_kind.capability))
		return host_kind.flag;
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++)
		if (!strcmp(capability, kinds[i].capability))
			return kinds[i].flag;
	return 0;
}

/* /dev's name of it, as the kernel tells it. */
static void add_node(GString *xml, const char *path)
{
	g_autofree char *file = g_build_filename(path, "uevent", NULL), *text = NULL, *node = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents(file, &text, NULL, NULL))
		return;
	lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; lines[i] && !node; i++)
		if (g_str_has_prefix(lines[i], "DEVNAME="))
			node = g_markup_printf_escaped("  <devnode type='dev'>/dev/%s</devnode>\n",
						       lines[i] + strlen("DEVNAME="));
	if (node)
		g_string_append(xml, node);
}

char *nodedev_xml(const struct nodedev *device)
{
	GString *xml = g_string_new("<device>\n");
	g_autofree char *driver = device->path ? link_name(device->path, "driver") : NULL;

	add(xml, 1, "name", device->name);
	add(xml, 1, "path", device->path);
	if (device->path)
		add_node(xml, device->path);
	add(xml, 1, "parent", device->parent);
	if (driver) {
		g_string_append(xml, "  <driver>\n");
		add(xml, 2, "name", driver);
		g_string_append(xml, "  </driver>\n");
	}
	g_string_append_printf(xml, "  <capability type='%s'>\n", device->kind->capability);
	device->kind->describe(xml, device->path ? device->path : NODEDEV_SYS);
	g_string_append(xml, "  </capability>\n</device>\n");
	return g_string_free(xml, FALSE);
}
