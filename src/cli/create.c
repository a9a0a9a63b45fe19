/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge create NAME --from SOURCE: a guest out of what people have.
 *
 *   SOURCE --image.c--> kernel, initial RAM disk --.
 *      |   --seed.c---> who may log in           --+--> volumes of a pool --> domain XML
 *      '-------------------------------------------'                             '--> start
 *
 * All goes through the daemon, also the bytes, so that it may be elsewhere. What has been made is
 * removed again when a later step fails, or when somebody presses Ctrl-C.
 */
#include "cli/daemon.h"
#include "cli/debian.h"
#include "cli/files.h"
#include "cli/image.h"
#include "cli/seed.h"
#include "cli/size.h"
#include "cli/table.h"
#include "cli/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEBIAN_NAME "debian-12"
#define DISK_BYTES  (8ull << 30) /* of a Debian guest, unless --disk says */
#define POOL        "default"
#define SYSTEM_POOL "/var/lib/libvirt/images" /* as other tools do */

struct creation {
	const struct invocation *invocation;
	const char *name;
	guint64 memory_bytes, disk_bytes; /* the latter 0: as large as the image */
	guint64 vcpus, ssh_port;          /* the latter 0: none */
	const char *from;                 /* a file */
	enum image_kind kind;
	char *folder, *made; /* for what is taken out of images; an image of our own making */
	struct boot boot;
	struct seed seed;
	bool seeded;

	struct lodge_connection *connection;
	struct lodge_pool *pool;
	GPtrArray *volumes;                  /* that have been made */
	char *kernel, *initrd, *disk, *disc; /* paths of volumes; the last is read-only */
	struct lodge_domain *domain;
};

static volatile int interrupted;

static void on_signal(int number)
{
	interrupted = 1;
}

static bool fail_interrupted(GError **error)
{
	return cli_fail(error, "interrupted");
}

/* --- what was asked for --- */

static const char *value(const struct creation *c, const char *option)
{
	return invocation_value(c->invocation, option);
}

static bool read_size(const struct creation *c, const char *option, guint64 bare, guint64 *bytes,
		      GError **error)
{
	const char *text = value(c, option);

	if (!text)
		return true;
	*bytes = size_parse(text, bare);
	return *bytes || cli_fail(error, "%s: '%s' is no size; as in 20G or 512M", option, text);
}

static bool read_number(const struct creation *c, const char *option, guint64 max, guint64 *number,
			GError **error)
{
	const char *text = value(c, option);

	return !text || g_ascii_string_to_unsigned(text, 10, 1, max, number, NULL) ||
	       cli_fail(error, "%s: '%s' is no number from 1 to %" G_GUINT64_FORMAT, option, text,
			max);
}

static bool read_options(struct creation *c, GError **error)
{
	const char *network = value(c, "--network");

	c->memory_bytes = 1ull << 30;
	c->vcpus = 2;
	if (!read_size(c, "--memory", 1 << 20, &c->memory_bytes, error) ||
	    !read_size(c, "--disk", 1ull << 30, &c->disk_bytes, error) ||
	    !read_number(c, "--vcpus", 255, &c->vcpus, error) ||
	    !read_number(c, "--ssh-port", 65535, &c->ssh_port, error))
		return false;
	if (c->ssh_port && network && strcmp(network, "user"))
		return cli_fail(error, "--ssh-port goes through --network user");
	return true;
}

/* --- the source --- */

/* A guest that is to be seeded has a disk that cloud-init may be on. */
static bool find_source(struct creation *c, GError **error)
{
	const char *from = value(c, "--from");

	if (!strcmp(from, DEBIAN_NAME) && access(from, F_OK)) {
		c->made = debian_image(error);
		c->from = c->made;
		c->disk_bytes = c->disk_bytes ? c->disk_bytes : DISK_BYTES;
		c->kind = IMAGE_DISK;
		return c->from;
	}
	c->from = from;
	if (access(from, F_OK) && !strchr(from, '/'))
		return cli_fail(error,
				"--from: there is no file '%s' here, and the only system that is "
				"made by its name is " DEBIAN_NAME,
				from);
	return image_probe(from, &c->kind, error);
}

/* What is booted, out of what was given; or out of the image. */
static bool find_boot(struct creation *c, GError **error)
{
	const char *kernel = c->kind == IMAGE_KERNEL ? c->from : value(c, "--kernel");
	const char *cmdline = value(c, "--cmdline");

	if (c->kind == IMAGE_QCOW2) {
		c->made = image_convert(c->from, c->folder, error);
		c->from = c->made;
		c->kind = IMAGE_DISK;
		if (!c->made)
			return false;
	}
	if (value(c, "--initrd") && !kernel)
		return cli_fail(error, "--initrd needs --kernel");
	if (kernel) {
		c->boot.kernel = g_strdup(kernel);
		c->boot.initrd = g_strdup(value(c, "--initrd"));
		c->boot.cmdline = g_strdup("console=ttyS0");
	} else if (!image_take_boot(c->from, c->kind, c->folder, &c->boot, error)) {
		return false;
	}
	if (cmdline) {
		g_free(c->boot.cmdline);
		c->boot.cmdline = g_strdup(cmdline);
	}
	return true;
}

/* --- volumes --- */

/* What the library said last, as an error of ours. */
static bool fail_asked(GError **error)
{
	const struct lodge_error *last = lodge_last_error();

	return cli_fail(error, "%s%s%s", last->message, last->hint ? "; " : "",
			last->hint ? last->hint : "");
}

/* Where the pool that is made at the first call keeps its files: where other tools have it, but for
 * a daemon with a root of its own, which shares no folder with others. */
static char *pool_path(const struct creation *c)
{
	g_autofree char *root = daemon_root(value(c, "--connect"));
	char *uri = lodge_connection_uri(c->connection, 0);
	bool session = uri && g_str_has_suffix(uri, "/session");

	free(uri);
	if (root)
		return g_build_filename(root, "images", NULL);
	return session ? g_build_filename(g_get_user_data_dir(), "libvirt", "images", NULL)
		       : g_strdup(SYSTEM_POOL);
}

static struct lodge_pool *make_pool(const struct creation *c)
{
	g_autofree char *path = pool_path(c);
	g_autofree char *xml = g_markup_printf_escaped(
		"<pool type='dir'><name>" POOL "</name><target><path>%s</path></target></pool>",
		path);
	struct lodge_pool *pool = lodge_pool_define(c->connection, xml, 0);

	if (pool && (lodge_pool_build(pool, 0) || lodge_pool_set_autostart(pool, 1, 0))) {
		lodge_pool_undefine(pool, 0);
		lodge_pool_free(pool);
		return NULL;
	}
	return pool;
}

static bool open_pool(struct creation *c, GError **error)
{
	const char *name = value(c, "--pool");
	int active;

	c->pool = lodge_pool_by_name(c->connection, name ? name : POOL, 0);
	if (!c->pool && !name && lodge_last_error()->code == LODGE_ERR_NO_STORAGE_POOL)
		c->pool = make_pool(c);
	active = c->pool ? lodge_pool_is_active(c->pool) : -1;
	return active > 0 || (!active && !lodge_pool_start(c->pool, 0)) || fail_asked(error);
}

/* Makes the volume NAME + @suffix of @bytes, or as large as @file, and fills it with that, unless
 * NULL. *@path is where it lies. */
static bool make_volume(struct creation *c, const char *suffix, const char *file, guint64 bytes,
			char **path, GError **error)
{
	g_autofree char *name = g_strconcat(c->name, suffix, NULL), *xml = NULL;
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	struct lodge_volume *volume;
	bool local, filled;
	struct stat st;
	char *where;

	if (file && (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))) {
		cli_fail(error, "%s: %s", file, fd < 0 ? g_strerror(errno) : "it is no file");
		if (fd >= 0)
			close(fd);
		return false;
	}
	xml = g_markup_printf_escaped("<volume><name>%s</name><capacity>%" G_GUINT64_FORMAT
				      "</capacity><allocation>0</allocation></volume>",
				      name, file ? MAX(bytes, (guint64)st.st_size) : bytes);
	volume = lodge_volume_create(c->pool, xml, 0);
	if (!volume) {
		fail_asked(error);
		if (fd >= 0)
			close(fd);
		return false;
	}
	g_ptr_array_add(c->volumes, volume);
	filled = !file || transfer_fill(volume, fd, name, &interrupted, &local);
	if (!filled && local)
		cli_fail(error, "%s: %s", file, g_strerror(errno));
	if (fd >= 0)
		close(fd);
	where = filled ? lodge_volume_path(volume, 0) : NULL;
	*path = g_strdup(where);
	free(where);
	return *path || (!filled && local ? false : fail_asked(error));
}

static bool check_disk_size(const struct creation *c, GError **error)
{
	struct stat st;

	if (c->kind != IMAGE_DISK || !c->disk_bytes || stat(c->from, &st) ||
	    c->disk_bytes >= (guint64)st.st_size)
		return true;
	return cli_fail(error, "--disk: the image is larger, %" G_GUINT64_FORMAT " MiB",
			(guint64)st.st_size >> 20);
}

static bool make_volumes(struct creation *c, GError **error)
{
	const char *image = c->kind == IMAGE_DISK ? c->from : NULL;
	g_autofree char *seed = g_build_filename(c->folder, "seed", NULL);

	if (!check_disk_size(c, error) || !open_pool(c, error) ||
	    !make_volume(c, "-vmlinuz", c->boot.kernel, 0, &c->kernel, error) ||
	    (c->boot.initrd && !make_volume(c, "-initrd", c->boot.initrd, 0, &c->initrd, error)))
		return false;
	if ((image || c->disk_bytes) &&
	    !make_volume(c, ".img", image, c->disk_bytes, &c->disk, error))
		return false;
	if (c->kind == IMAGE_ISO)
		return make_volume(c, ".iso", c->from, 0, &c->disc, error);
	return !c->seeded || (seed_write(&c->seed, seed, error) &&
			      make_volume(c, "-seed.iso", seed, 0, &c->disc, error));
}

/* --- the guest --- */

static void add_disk(GString *xml, const char *path, char letter, bool read_only)
{
	g_autofree char *source = g_markup_printf_escaped("      <source file='%s'/>\n", path);

	g_string_append_printf(xml,
			       "    <disk type='file' device='disk'>\n"
			       "      <driver name='qemu' type='raw'%s/>\n"
			       "%s"
			       "      <target dev='vd%c' bus='virtio'/>\n"
			       "%s"
			       "    </disk>\n",
			       read_only ? "" : " discard='unmap'", source, letter,
			       read_only ? "      <readonly/>\n" : "");
}

static void add_interface(GString *xml, const struct creation *c)
{
	const char *network = value(c, "--network");
	g_autofree char *text = NULL;

	if (!network)
		network = c->ssh_port ? "user" : "default";
	if (!strcmp(network, "none"))
		return;
	if (!strcmp(network, "user"))
		text = g_strdup("    <interface type='user'>\n");
	else
		text = g_markup_printf_escaped("    <interface type='network'>\n"
					       "      <source network='%s'/>\n",
					       network);
	g_string_append(xml, text);
	if (c->ssh_port)
		g_string_append_printf(xml,
				       "      <portForward proto='tcp' address='127.0.0.1'>\n"
				       "        <range start='%" G_GUINT64_FORMAT "' to='22'/>\n"
				       "      </portForward>\n",
				       c->ssh_port);
	g_string_append(xml, "      <model type='virtio'/>\n    </interface>\n");
}

static char *domain_xml(const struct creation *c)
{
	GString *xml = g_string_new(NULL);
	g_autofree char *head =
		g_markup_printf_escaped("<domain type='kvm'>\n"
					"  <name>%s</name>\n"
					"  <memory unit='KiB'>%" G_GUINT64_FORMAT "</memory>\n"
					"  <vcpu>%" G_GUINT64_FORMAT "</vcpu>\n"
					"  <os>\n"
					"    <type arch='x86_64' machine='q35'>hvm</type>\n"
					"    <kernel>%s</kernel>\n",
					c->name, c->memory_bytes / 1024, c->vcpus, c->kernel);
	g_autofree char *initrd =
		c->initrd ? g_markup_printf_escaped("    <initrd>%s</initrd>\n", c->initrd) : NULL;
	g_autofree char *middle = g_markup_printf_escaped("    <cmdline>%s</cmdline>\n"
							  "  </os>\n"
							  "  <features><acpi/><apic/></features>\n"
							  "  <cpu mode='host-passthrough'/>\n"
							  "  <devices>\n",
							  c->boot.cmdline);

	g_string_append(xml, head);
	if (initrd)
		g_string_append(xml, initrd);
	g_string_append(xml, middle);
	/* An installer's disc is the first, for that is what its command line says. */
	if (c->disc && c->kind == IMAGE_ISO)
		add_disk(xml, c->disc, 'a', true);
	if (c->disk)
		add_disk(xml, c->disk, c->kind == IMAGE_ISO ? 'b' : 'a', false);
	if (c->disc && c->kind != IMAGE_ISO)
		add_disk(xml, c->disc, 'b', true);
	add_interface(xml, c);
	g_string_append(xml, "    <serial type='pty'/>\n"
			     "    <rng model='virtio'>\n"
			     "      <backend model='random'>/dev/urandom</backend>\n"
			     "    </rng>\n"
			     "    <memballoon model='virtio'/>\n"
			     "  </devices>\n"
			     "</domain>\n");
	return g_string_free(xml, FALSE);
}

static bool define_and_start(struct creation *c, GError **error)
{
	g_autofree char *xml = domain_xml(c);

	if (interrupted)
		return fail_interrupted(error);
	c->domain = lodge_domain_define(c->connection, xml, 0);
	if (!c->domain)
		return fail_asked(error);
	return invocation_has(c->invocation, "--no-start") || !lodge_domain_start(c->domain, 0) ||
	       fail_asked(error);
}

/* Before anything takes long: is the daemon there, and the name free? */
static bool check_name(struct creation *c, GError **error)
{
	struct lodge_domain *there;

	if (strchr(c->name, '/'))
		return cli_fail(error, "'%s' is no name of a guest: it has a '/'", c->name);
	c->connection = lodge_connection_open(value(c, "--connect"), 0);
	if (!c->connection)
		return fail_asked(error);
	there = lodge_domain_by_name(c->connection, c->name, 0);
	if (there) {
		lodge_domain_free(there);
		return cli_fail(error,
				"there is a guest '%s' already; 'lodge delete %s' deletes it",
				c->name, c->name);
	}
	return lodge_last_error()->code == LODGE_ERR_NO_DOMAIN || fail_asked(error);
}

static bool make_all(struct creation *c, GError **error)
{
	c->folder = g_dir_make_tmp("lodge-create-XXXXXX", error);
	if (!c->folder || !check_name(c, error) || !read_options(c, error) ||
	    !find_source(c, error))
		return false;
	c->seeded = c->kind == IMAGE_DISK || c->kind == IMAGE_QCOW2;
	return (!c->seeded ||
		seed_init(&c->seed, c->name, value(c, "--user"), value(c, "--ssh-key"), error)) &&
	       find_boot(c, error) && make_volumes(c, error) && define_and_start(c, error);
}

/* --- the end --- */

static void undo(struct creation *c)
{
	if (c->domain)
		lodge_domain_undefine(c->domain, 0);
	for (unsigned i = c->volumes->len; i--;)
		lodge_volume_delete(c->volumes->pdata[i], 0);
}

static void print_json(const struct creation *c, bool runs)
{
	static const char *const keys[] = { "name",     "uuid",    "running",  "disk",
					    "kernel",   "initrd",  "disc",     "user",
					    "password", "ssh_key", "ssh_port", NULL };
	struct table *table = table_new(keys, keys);
	const char *const texts[] = { c->disk,      c->kernel,        c->initrd,  c->disc,
				      c->seed.user, c->seed.password, c->seed.key };
	char uuid[LODGE_UUID_CHARS];

	lodge_domain_uuid(c->domain, uuid);
	table_add_text(table, c->name);
	table_add_text(table, uuid);
	table_add_bool(table, runs);
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
		if (texts[i])
			table_add_text(table, texts[i]);
		else
			table_add_none(table);
	}
	if (c->ssh_port)
		table_add_number(table, c->ssh_port);
	else
		table_add_none(table);
	table_print_fields(table, true);
	table_free(table);
}

static void print_next_steps(const struct creation *c, bool runs)
{
	printf("Guest '%s' has been created%s\n\n", c->name, runs ? " and runs" : "");
	if (!runs)
		printf("  lodge start %s      starts it\n", c->name);
	printf("  lodge console %s    its console; Ctrl-] leaves it\n", c->name);
	if (c->ssh_port)
		printf("  ssh -p %" G_GUINT64_FORMAT " %s@127.0.0.1\n", c->ssh_port,
		       c->seeded ? c->seed.user : "USER");
	printf("  lodge shutdown %s   presses its power button\n"
	       "  lodge delete %s     deletes it and its disks\n",
	       c->name, c->name);
	if (!c->seeded)
		return;
	printf("\nUser '%s', who may do all with sudo, has the password %s on the console",
	       c->seed.user, c->seed.password);
	printf(c->seed.key ? "\nand your SSH key.\n"
			   : ".\nThere is no SSH key to let in: make one with ssh-keygen first, or "
			     "name one with --ssh-key.\n");
	printf("It has effect if the image has cloud-init, as %s and cloud images do.\n",
	       DEBIAN_NAME);
}

static void clear_folder(const char *folder)
{
	GDir *dir = folder ? g_dir_open(folder, 0, NULL) : NULL;
	const char *entry;

	while (dir && (entry = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(folder, entry, NULL);

		unlink(path);
	}
	if (!dir)
		return;
	g_dir_close(dir);
	rmdir(folder);
}

static void clear(struct creation *c)
{
	clear_folder(c->folder);
	lodge_domain_free(c->domain);
	g_ptr_array_unref(c->volumes);
	lodge_pool_free(c->pool);
	lodge_connection_free(c->connection);
	boot_clear(&c->boot);
	seed_clear(&c->seed);
	g_free(c->folder);
	g_free(c->made);
	g_free(c->kernel);
	g_free(c->initrd);
	g_free(c->disk);
	g_free(c->disc);
}

/* The signals that end a program set a mark until the end, so that there is time to clean up. */
static void catch_signals(bool on)
{
	struct sigaction action = { .sa_handler = on ? on_signal : SIG_DFL };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static int create_from_source(const struct invocation *invocation)
{
	struct creation c = { invocation, argument(invocation, 0),
			      .volumes = g_ptr_array_new_with_free_func(
				      (GDestroyNotify)lodge_volume_free) };
	bool runs = !invocation_has(invocation, "--no-start"), good;
	g_autoptr(GError) error = NULL;
	int status = 0;

	catch_signals(true);
	good = make_all(&c, &error);
	if (!good) {
		undo(&c);
		fprintf(stderr, "lodge create: %s\n", interrupted ? "interrupted" : error->message);
		status = 1;
	} else if (invocation_has(invocation, "--json")) {
		print_json(&c, runs);
	} else {
		print_next_steps(&c, runs);
		fflush(stdout);
	}
	catch_signals(false);
	if (good && runs && invocation_has(invocation, "--console"))
		status = console_open(c.connection, c.domain, NULL, 0) ? 0 : 1;
	clear(&c);
	return status;
}

/* Options that say how a guest is made of a source, and nothing of one that is described by XML. */
static int create(const struct invocation *invocation)
{
	static const char *const ours[] = { "--memory",  "--vcpus",    "--disk",    "--user",
					    "--ssh-key", "--ssh-port", "--network", "--kernel",
					    "--initrd",  "--cmdline",  "--pool",    "--no-start",
					    "--console", "--json" };

	if (invocation_has(invocation, "--from")) {
		if (invocation_has(invocation, "--paused"))
			fprintf(stderr, "lodge create: --paused is for FILE.xml; --no-start "
					"starts nothing\n");
		else if (invocation_has(invocation, "--pass-fds") ||
			 invocation_has(invocation, "--validate"))
			fprintf(stderr,
				"lodge create: --pass-fds and --validate are for FILE.xml\n");
		else
			return create_from_source(invocation);
		return EXIT_USAGE;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(ours); i++) {
		if (!invocation_has(invocation, ours[i]))
			continue;
		fprintf(stderr, "lodge create: %s needs --from\n", ours[i]);
		return EXIT_USAGE;
	}
	if (strcmp(argument(invocation, 0), "-") && access(argument(invocation, 0), F_OK)) {
		fprintf(stderr,
			"lodge create: there is no file '%s'; a guest of that name is made with "
			"--from " DEBIAN_NAME ", an image, an ISO or a kernel\n",
			argument(invocation, 0));
		return 1;
	}
	return definitions_create(invocation);
}

static const struct command_option options[] = {
	{ "--from", VALUE_FILE, "debian-12|FILE",
	  "make it of Debian 12, of a disk image, an ISO or a kernel" },
	{ "--memory", VALUE_TEXT, "SIZE", "as 512M or 2G (default: 1G)" },
	{ "--vcpus", VALUE_TEXT, "COUNT", "virtual processors (default: 2)" },
	{ "--disk", VALUE_TEXT, "SIZE",
	  "size of its disk, as 20G (default: the image's; Debian: 8G)" },
	{ "--user", VALUE_TEXT, "NAME", "who may log in (default: your name)" },
	{ "--ssh-key", VALUE_FILE, "FILE", "that user's public key (default: yours in ~/.ssh)" },
	{ "--ssh-port", VALUE_TEXT, "PORT", "of this host, that leads to the guest's SSH server" },
	{ "--network", VALUE_TEXT, "NAME", "default, user or none, or a network's name" },
	{ "--kernel", VALUE_FILE, "FILE", "to boot, instead of the one in the image" },
	{ "--initrd", VALUE_FILE, "FILE", "the kernel's initial RAM disk" },
	{ "--cmdline", VALUE_TEXT, "TEXT", "the kernel's command line" },
	{ "--pool", VALUE_TEXT, "POOL", "where its disks lie (default: default)" },
	{ "--no-start", VALUE_NONE, NULL, "only define it" },
	{ "--console", VALUE_NONE, NULL, "connect this terminal to its console" },
	{ "--paused", VALUE_NONE, NULL, "of FILE.xml: stop it before its first instruction" },
	FILES_OPTION,
	VALIDATE_OPTION,
	JSON_OPTION,
	CONNECT_OPTION,
	{},
};

const struct command commands_create[] = {
	{ .name = "create",
	  .arguments = "NAME --from SOURCE | FILE.xml",
	  .kind = ARGUMENT_FILE,
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "make a guest of Debian 12, an image, an ISO or a kernel",
	  .description =
		  "With --from, makes a guest: its disks become volumes of a storage pool, it is "
		  "defined and\n"
		  "started, and you are told how to get in. debian-12 is built by mmdebstrap, at "
		  "the "
		  "first time.\n"
		  "A disk image is copied, its kernel taken out of its /boot, and cloud-init told "
		  "who may log in.\n"
		  "With FILE.xml alone, starts the guest described there, which is gone when it "
		  "ends.",
	  .options = options,
	  .action = create },
	{},
};
