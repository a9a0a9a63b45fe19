/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes a guest with an empty disk in a storage pool, which must be active, and starts it: provision
 * NAME POOL KERNEL. What has been made is removed again when a later step fails.
 *
 *   cc -o provision provision.c $(pkg-config --cflags --libs lodge) */
#include <lodge/lodge.h>
#include <stdio.h>
#include <stdlib.h>

#define XML_MAX 8192

static int fail(const char *what)
{
	const struct lodge_error *error = lodge_last_error();

	fprintf(stderr, "provision: %s: %s\n", what, error->message);
	if (error->hint)
		fprintf(stderr, "provision: %s\n", error->hint);
	return 1;
}

/* Names and paths come from whoever runs this, so they are written into XML as they are. */
static struct lodge_volume *make_disk(struct lodge_pool *pool, const char *name)
{
	char xml[XML_MAX];

	snprintf(xml, sizeof(xml),
		 "<volume><name>%s.img</name><capacity unit='GiB'>1</capacity>"
		 "<allocation>0</allocation></volume>",
		 name);
	return lodge_volume_create(pool, xml, 0);
}

static struct lodge_domain *define(struct lodge_connection *c, const char *name, const char *kernel,
				   const char *disk)
{
	char xml[XML_MAX];

	snprintf(xml, sizeof(xml),
		 "<domain type='kvm'><name>%s</name><memory unit='MiB'>64</memory>"
		 "<os><type arch='x86_64' machine='q35'>hvm</type><kernel>%s</kernel>"
		 "<cmdline>console=ttyS0</cmdline></os><features><acpi/></features><devices>"
		 "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
		 "<source file='%s'/><target dev='vda' bus='virtio'/></disk>"
		 "<serial type='pty'/></devices></domain>",
		 name, kernel, disk);
	return lodge_domain_define(c, xml, 0);
}

int main(int argc, char **argv)
{
	struct lodge_connection *c = argc == 4 ? lodge_connection_open(NULL, 0) : NULL;
	struct lodge_pool *pool = c ? lodge_pool_by_name(c, argv[2], 0) : NULL;
	struct lodge_volume *disk = pool ? make_disk(pool, argv[1]) : NULL;
	char *path = disk ? lodge_volume_path(disk, 0) : NULL;
	struct lodge_domain *guest = path ? define(c, argv[1], argv[3], path) : NULL;
	int status = 0;

	if (argc != 4) {
		fprintf(stderr, "usage: provision NAME POOL KERNEL\n");
		return 2;
	}
	if (!guest || lodge_domain_start(guest, 0)) {
		status = fail(argv[1]);
		if (guest)
			lodge_domain_undefine(guest, 0);
		if (disk)
			lodge_volume_delete(disk, 0);
	} else {
		printf("%s runs, with the disk %s\n", lodge_domain_name(guest), path);
	}
	free(path);
	lodge_domain_free(guest);
	lodge_volume_free(disk);
	lodge_pool_free(pool);
	lodge_connection_free(c);
	return status;
}
