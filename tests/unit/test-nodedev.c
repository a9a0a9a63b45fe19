/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices of a host that has more than the one this runs on: in a folder that looks like /sys. */
#include "daemon/nodedev.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PCI   "devices/pci0000:00/0000:00:1f.0"
#define USB   PCI "/usb1"
#define MOUSE USB "/1-2"
#define HOST  PCI "/ata1/host0"
#define DISK  HOST "/target0:0:0/0:0:0:0"

static char *sys;

static void file(const char *path, const char *text)
{
	g_autofree char *full = g_build_filename(sys, path, NULL);
	g_autofree char *folder = g_path_get_dirname(full);

	g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
	g_assert_true(g_file_set_contents(full, text, -1, NULL));
}

static void linked(const char *path, const char *to)
{
	g_autofree char *full = g_build_filename(sys, path, NULL);
	g_autofree char *target = g_build_filename(sys, to, NULL);
	g_autofree char *folder = g_path_get_dirname(full);

	g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
	g_assert_cmpint(symlink(target, full), ==, 0);
}

static void make(void)
{
	file(PCI "/class", "0x060400\n");
	file(PCI "/vendor", "0x8086\n");
	file(PCI "/device", "0x1234\n");
	file(PCI "/numa_node", "1\n");
	file(PCI "/sriov_totalvfs", "2\n");
	linked(PCI "/virtfn0", "devices/pci0000:00/0000:00:1f.1");
	linked("devices/pci0000:00/0000:00:1f.1/physfn", PCI);
	file("devices/pci0000:00/0000:00:1f.1/class", "0x020000\n");
	linked("bus/pci/devices/0000:00:1f.0", PCI);
	linked("bus/pci/devices/0000:00:1f.1", "devices/pci0000:00/0000:00:1f.1");
	linked("bus/pci/devices/not an address", PCI);
	linked("bus/pci/devices/0000:00:09.0", "devices/that has just gone");
	file("kernel/iommu_groups/7/devices/0000:00:1f.0", "");
	linked(PCI "/iommu_group", "kernel/iommu_groups/7");
	linked(PCI "/driver", "bus/pci/drivers/a driver");
	file("bus/pci/drivers/a driver/x", "");

	file(USB "/busnum", "1\n");
	file(USB "/devnum", "1\n");
	file(MOUSE "/busnum", "1\n");
	file(MOUSE "/devnum", "5\n");
	file(MOUSE "/idVendor", "046d\n");
	file(MOUSE "/idProduct", "c077\n");
	file(MOUSE "/product", "Mouse <&> \xff\n"); /* a device may say anything of itself */
	file(MOUSE "/manufacturer", "A & B\n");
	file(MOUSE "/uevent", "MAJOR=189\nDEVNAME=bus/usb/001/005\n");
	file(MOUSE "/1-2:1.0/bInterfaceClass", "03\n");
	linked("bus/usb/devices/usb1", USB);
	linked("bus/usb/devices/1-2", MOUSE);
	linked("bus/usb/devices/1-2:1.0", MOUSE "/1-2:1.0");

	file(HOST "/scsi_host/host0/unique_id", "3\n");
	linked("class/scsi_host/host0", HOST "/scsi_host/host0");
	file(HOST "/target0:0:0/x", "");
	linked("bus/scsi/devices/target0:0:0", HOST "/target0:0:0");
	file(DISK "/type", "5\n");
	file(DISK "/model", "DVD\n");
	linked("bus/scsi/devices/0:0:0:0", DISK);
	file(DISK "/block/sr0/size", "4096\n");
	file(DISK "/block/sr0/removable", "1\n");
	file(DISK "/block/sr0/queue/logical_block_size", "2048\n");
	linked(DISK "/block/sr0/device", DISK);
	linked("block/sr0", DISK "/block/sr0");
	file("devices/virtual/block/loop0/size", "8\n");
	linked("block/loop0", "devices/virtual/block/loop0");
	file(DISK "/scsi_generic/sg0/dev", "21:0\n");
	linked("class/scsi_generic/sg0", DISK "/scsi_generic/sg0");

	file(PCI "/drm/card0/dev", "226:0\n");
	linked("class/drm/card0", PCI "/drm/card0");
	file(PCI "/drm/card0/card0-HDMI-A-1/status", "x\n");
	linked("class/drm/card0-HDMI-A-1", PCI "/drm/card0/card0-HDMI-A-1");
}

static void remove_all(const char *path)
{
	GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *below = g_build_filename(path, name, NULL);

		remove_all(below);
	}
	if (dir)
		g_dir_close(dir);
	g_remove(path);
}

static void check(const GPtrArray *all, const char *name, const char *parent, const char *text)
{
	const struct nodedev *device = nodedev_find(all, name);
	g_autofree char *xml = NULL;

	g_assert_nonnull(device);
	g_assert_cmpstr(device->parent, ==, parent);
	xml = nodedev_xml(device);
	g_assert_true(g_utf8_validate(xml, -1, NULL));
	if (!strstr(xml, text))
		g_error("'%s' is not in\n%s", text, xml);
}

static void test_all(void)
{
	GPtrArray *all = nodedev_all(sys);

	g_assert_cmpuint(all->len, ==, 12);
	check(all, "pci_0000_00_1f_0", "computer", "<capability type='pci-bridge'/>");
	check(all, "pci_0000_00_1f_0", "computer",
	      "    <iommuGroup number='7'>\n      <address domain='0x0000' bus='0x00' slot='0x1f' "
	      "function='0x0'/>\n");
	check(all, "pci_0000_00_1f_0", "computer", "<numa node='1'/>");
	check(all, "pci_0000_00_1f_0", "computer", "<name>a driver</name>");
	check(all, "pci_0000_00_1f_0", "computer", "<product id='0x1234'");
	check(all, "pci_0000_00_1f_0", "computer",
	      "<capability type='virt_functions' maxCount='2'>\n      <address domain='0x0000' "
	      "bus='0x00' slot='0x1f' function='0x1'/>\n    </capability>");
	check(all, "pci_0000_00_1f_1", "computer", "<capability type='phys_function'>\n");
	check(all, "usb_usb1", "pci_0000_00_1f_0", "<device>1</device>");
	check(all, "usb_1_2", "usb_usb1", "<product id='0xc077'/>"); /* its text is none */
	check(all, "usb_1_2", "usb_usb1", "<vendor id='0x046d'>A &amp; B</vendor>");
	check(all, "usb_1_2", "usb_usb1", "<devnode type='dev'>/dev/bus/usb/001/005</devnode>");
	check(all, "usb_1_2_1_0", "usb_1_2", "<class>3</class>");
	check(all, "scsi_host0", "pci_0000_00_1f_0", "<unique_id>3</unique_id>");
	check(all, "scsi_target0_0_0", "scsi_host0", "<target>target0:0:0</target>");
	check(all, "scsi_0_0_0_0", "scsi_target0_0_0", "<type>cdrom</type>");
	check(all, "block_sr0", "scsi_0_0_0_0",
	      "<media_available>1</media_available>\n"
	      "      <media_size>2097152</media_size>\n"
	      "      <logical_block_size>2048<");
	check(all, "block_sr0", "scsi_0_0_0_0", "<drive_type>cdrom<");
	check(all, "scsi_generic_sg0", "scsi_0_0_0_0", "<char>/dev/sg0</char>");
	check(all, "drm_card0", "pci_0000_00_1f_0", "<type>primary</type>");
	g_assert_null(nodedev_find(all, "block_loop0"));
	g_ptr_array_unref(all);
}

static void test_none(void)
{
	GPtrArray *all = nodedev_all("/nowhere");

	g_assert_cmpuint(all->len, ==, 1);
	check(all, "computer", NULL, "<capability type='system'>");
	g_ptr_array_unref(all);
}

int main(int argc, char **argv)
{
	char resolved[4096];
	int status;

	g_test_init(&argc, &argv, NULL);
	sys = g_dir_make_tmp("nodedev-XXXXXX", NULL);
	g_assert_nonnull(realpath(sys, resolved));
	g_free(sys);
	sys = resolved;
	make();
	g_test_add_func("/nodedev/all", test_all);
	g_test_add_func("/nodedev/none", test_none);
	status = g_test_run();
	remove_all(sys);
	return status;
}
