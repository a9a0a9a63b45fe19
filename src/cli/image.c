/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See image.h. File systems of the ext family are read by e2fsprogs' debugfs, which can look into
 * an image at an offset without mounting it; ISO 9660 by libarchive.
 */
#include "cli/image.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECTOR         512
#define PARTITIONS_MAX 128
#define ENTRIES_MAX    4096 /* of an ISO, until the kernel is found */

#define EXT_SUPERBLOCK 1024
#define EXT_MAGIC      0x38 /* offsets in it */
#define EXT_UUID       0x68

GQuark cli_error_quark(void)
{
	return g_quark_from_static_string("lodge-cli");
}

bool cli_fail(GError **error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (error)
		*error = g_error_new_valist(CLI_ERROR, 1, fmt, args);
	va_end(args);
	return false;
}

void boot_clear(struct boot *boot)
{
	g_free(boot->kernel);
	g_free(boot->initrd);
	g_free(boot->cmdline);
	*boot = (struct boot){};
}

static bool read_at(int fd, uint64_t offset, void *bytes, size_t n)
{
	return pread(fd, bytes, n, offset) == (ssize_t)n;
}

static uint32_t le32(const uint8_t *bytes)
{
	uint32_t n;

	memcpy(&n, bytes, sizeof(n));
	return GUINT32_FROM_LE(n);
}

static uint64_t le64(const uint8_t *bytes)
{
	uint64_t n;

	memcpy(&n, bytes, sizeof(n));
	return GUINT64_FROM_LE(n);
}

bool image_probe(const char *path, enum image_kind *kind, GError **error)
{
	static const struct {
		unsigned offset, n;
		const char *magic;
		enum image_kind kind;
	} magics[] = {
		{ 0, 4, "QFI\xfb", IMAGE_QCOW2 },
		{ 0, 4,
		  "\x7f"
		  "ELF",
		  IMAGE_KERNEL },
		{ 0x202, 4, "HdrS", IMAGE_KERNEL }, /* the kernel's boot protocol */
		{ 0x8001, 5, "CD001", IMAGE_ISO },  /* ECMA-119, 8.1 */
	};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char bytes[8];

	if (fd < 0)
		return cli_fail(error, "%s: %s", path, g_strerror(errno));
	*kind = IMAGE_DISK;
	for (unsigned i = 0; i < G_N_ELEMENTS(magics); i++)
		if (*kind == IMAGE_DISK && read_at(fd, magics[i].offset, bytes, magics[i].n) &&
		    !memcmp(bytes, magics[i].magic, magics[i].n))
			*kind = magics[i].kind;
	close(fd);
	return true;
}

/* --- where file systems are --- */

struct places {
	GArray *ext;     /* struct place: those that we read */
	GString *others; /* how a person calls those that we do not */
};

struct place {
	uint64_t offset;
	unsigned partition; /* from 1; 0: the whole disk */
	char uuid[40];      /* of the file system */
};

static void look_for_others(int fd, struct places *places, uint64_t offset, unsigned partition)
{
	static const struct {
		const char *name, *magic;
		unsigned at;
	} others[] = {
		{ "XFS", "XFSB", 0 },
		{ "btrfs", "_BHRfS_M", 0x10040 },
		{ "an LVM volume", "LABELONE", 512 },
		{ "an encrypted volume (LUKS)", "LUKS\xba\xbe", 0 },
		{ "F2FS", "\x10\x20\xf5\xf2", 1024 },
		{ "NTFS", "NTFS    ", 3 },
	};
	char found[8];

	for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
		size_t n = strlen(others[i].magic);

		if (offset > INT64_MAX / 2 || !read_at(fd, offset + others[i].at, found, n) ||
		    memcmp(found, others[i].magic, n))
			continue;
		g_string_append_printf(places->others, "%s%s", places->others->len ? ", " : "",
				       others[i].name);
		if (partition)
			g_string_append_printf(places->others, " on partition %u", partition);
	}
}

/* Adds the place if there is a file system of the ext family. */
static void look_at(int fd, struct places *places, uint64_t offset, unsigned partition)
{
	struct place place = { offset, partition };
	uint8_t block[EXT_UUID + 16];
	char *to = place.uuid;

	if (offset > INT64_MAX / 2 || !read_at(fd, offset + EXT_SUPERBLOCK, block, sizeof(block)) ||
	    block[EXT_MAGIC] != 0x53 || block[EXT_MAGIC + 1] != 0xef) {
		look_for_others(fd, places, offset, partition);
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		to += sprintf(to, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			      block[EXT_UUID + i]);
	g_array_append_val(places->ext, place);
}

/* UEFI 5.3: the header is in the second sector, and says where the entries are. */
static bool look_into_gpt(int fd, struct places *places)
{
	uint8_t header[92], entry[40];
	uint64_t entries, first;
	uint32_t count, size;

	if (!read_at(fd, SECTOR, header, sizeof(header)) || memcmp(header, "EFI PART", 8))
		return false;
	entries = le64(header + 72);
	count = MIN(le32(header + 80), PARTITIONS_MAX);
	size = le32(header + 84);
	if (size < 128 || size > 4096 || entries > INT64_MAX / SECTOR / 2)
		return true;
	for (uint32_t i = 0; i < count; i++) {
		if (!read_at(fd, entries * SECTOR + (uint64_t)i * size, entry, sizeof(entry)))
			return true;
		first = le64(entry + 32);
		if (first && first < INT64_MAX / SECTOR / 2)
			look_at(fd, places, first * SECTOR, i + 1);
	}
	return true;
}

/* The four entries of the first sector. */
static void look_into_mbr(int fd, struct places *places)
{
	uint8_t sector[SECTOR];

	if (!read_at(fd, 0, sector, sizeof(sector)) || sector[510] != 0x55 || sector[511] != 0xaa)
		return;
	for (unsigned i = 0; i < 4; i++) {
		uint32_t first = le32(sector + 446 + i * 16 + 8);

		if (first)
			look_at(fd, places, (uint64_t)first * SECTOR, i + 1);
	}
}

static void find_places(const char *path, struct places *places)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	*places = (struct places){ g_array_new(FALSE, TRUE, sizeof(struct place)),
				   g_string_new(NULL) };
	if (fd < 0)
		return;
	look_at(fd, places, 0, 0);
	if (!places->ext->len && !places->others->len && !look_into_gpt(fd, places))
		look_into_mbr(fd, places);
	close(fd);
}

/* --- a file system of the ext family --- */

/* One request of debugfs, at @place of the image that the link @image leads to. */
static char *ask_debugfs(const char *image, const struct place *place, const char *request,
			 GError **error)
{
	g_autofree char *device =
		g_strdup_printf("%s?offset=%" G_GUINT64_FORMAT, image, place->offset);
	g_autofree char *program = g_find_program_in_path("debugfs");
	const char *argv[] = { program ? program : "/usr/sbin/debugfs", "-R", request, device,
			       NULL };
	char *said = NULL;
	int status;

	if (access(argv[0], X_OK)) {
		cli_fail(error,
			 "debugfs is missing, which looks into an image; as root: apt-get install "
			 "e2fsprogs");
		return NULL;
	}
	if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &said,
			  NULL, &status, error))
		return NULL;
	return said;
}

static bool is_plain(const char *name)
{
	return *name && strlen(name) < 128 &&
	       strspn(name,
		      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+~-") ==
		       strlen(name);
}

/* What lies in @folder: each line of debugfs is "/inode/mode/user/group/name/size/". */
static GPtrArray *list_folder(const char *image, const struct place *place, const char *folder,
			      GError **error)
{
	g_autofree char *request = g_strdup_printf("ls -p %s", folder);
	g_autofree char *said = ask_debugfs(image, place, request, error);
	g_auto(GStrv) lines = said ? g_strsplit(said, "\n", ENTRIES_MAX) : NULL;
	GPtrArray *names;

	if (!said)
		return NULL;
	names = g_ptr_array_new_with_free_func(g_free);
	for (char **line = lines; *line; line++) {
		g_auto(GStrv) fields = g_strsplit(*line, "/", 8);

		if (g_strv_length(fields) >= 6 && is_plain(fields[5]))
			g_ptr_array_add(names, g_strdup(fields[5]));
	}
	return names;
}

static bool has_name(const GPtrArray *names, const char *name)
{
	return g_ptr_array_find_with_equal_func((GPtrArray *)names, name, g_str_equal, NULL);
}

/* The newest one: "vmlinuz-VERSION", as all but the smallest systems call it. */
static const char *newest_kernel(const GPtrArray *names)
{
	const char *newest = NULL;

	for (unsigned i = 0; i < names->len; i++) {
		const char *name = names->pdata[i];

		if (g_str_has_prefix(name, "vmlinuz-") && !strstr(name, "rescue") &&
		    (!newest || strverscmp(name, newest) > 0))
			newest = name;
	}
	return newest ? newest : has_name(names, "vmlinuz") ? "vmlinuz" : NULL;
}

/* Debian's, Fedora's and SUSE's names for the initial RAM disk of @kernel; NULL: there is none. */
static char *initrd_of(const GPtrArray *names, const char *kernel)
{
	static const char *const forms[] = { "initrd.img-%s", "initramfs-%s.img", "initrd-%s",
					     "initramfs-%s" };
	const char *version = strchr(kernel, '-');

	for (unsigned i = 0; version && i < G_N_ELEMENTS(forms); i++) {
		g_auto(GStrv) around = g_strsplit(forms[i], "%s", 2);
		g_autofree char *name = g_strconcat(around[0], version + 1, around[1], NULL);

		if (has_name(names, name))
			return g_steal_pointer(&name);
	}
	return !version && has_name(names, "initrd.img") ? g_strdup("initrd.img") : NULL;
}

static char *dump(const char *image, const struct place *place, const char *from,
		  const char *folder, const char *to, GError **error)
{
	g_autofree char *path = g_build_filename(folder, to, NULL);
	g_autofree char *request = g_strdup_printf("dump \"%s\" \"%s\"", from, path);
	g_autofree char *said = ask_debugfs(image, place, request, error);

	if (!said)
		return NULL;
	if (access(path, R_OK)) {
		cli_fail(error, "%s cannot be read from the image", from);
		return NULL;
	}
	return g_steal_pointer(&path);
}

/* Of @place, if a kernel is there: in /boot, or at the top of a file system for that alone. True
 * with boot->kernel NULL: it has none. */
static bool take_from(const char *image, const struct place *place, const char *folder,
		      struct boot *boot, GError **error)
{
	static const char *const folders[] = { "/boot", "/" };

	for (unsigned i = 0; i < G_N_ELEMENTS(folders) && !boot->kernel; i++) {
		g_autoptr(GPtrArray) names = list_folder(image, place, folders[i], error);
		const char *kernel = names ? newest_kernel(names) : NULL;
		g_autofree char *initrd = kernel ? initrd_of(names, kernel) : NULL;
		g_autofree char *from = NULL;

		if (!names)
			return false;
		if (!kernel)
			continue;
		from = g_build_filename(folders[i], kernel, NULL);
		boot->kernel = dump(image, place, from, folder, "kernel", error);
		if (boot->kernel && initrd) {
			g_autofree char *path = g_build_filename(folders[i], initrd, NULL);

			boot->initrd = dump(image, place, path, folder, "initrd", error);
		}
		return boot->kernel && !initrd == !boot->initrd;
	}
	return true;
}

/* The file system that has the system in it; with one alone, that. */
static const struct place *find_root(const char *image, const GArray *places)
{
	for (unsigned i = 0; i < places->len; i++) {
		const struct place *place = &g_array_index(places, struct place, i);
		g_autoptr(GPtrArray) names = list_folder(image, place, "/", NULL);

		if (names && has_name(names, "etc") && has_name(names, "usr"))
			return place;
	}
	return &g_array_index(places, struct place, 0);
}

static bool fail_without_kernel(const char *path, const struct places *places, GError **error)
{
	g_autofree char *others =
		places->others->len ? g_strdup_printf("it has %s, and Lodge", places->others->str)
				    : g_strdup("Lodge");

	return cli_fail(
		error,
		"no kernel is found in %s: %s has no firmware in this version and looks for one "
		"in /boot of an ext4 file system%s; give it with --kernel FILE --initrd FILE "
		"--cmdline TEXT",
		path, others, places->others->len ? " alone" : "");
}

static bool take_from_places(const char *path, const char *folder, const struct places *found,
			     struct boot *boot, GError **error)
{
	g_autofree char *image = g_build_filename(folder, "image", NULL); /* a name without '?' */
	g_autofree char *target = g_canonicalize_filename(path, NULL);
	const GArray *places = found->ext;
	const struct place *root;

	unlink(image);
	if (symlink(target, image))
		return cli_fail(error, "%s: %s", image, g_strerror(errno));
	for (unsigned i = 0; i < places->len && !boot->kernel; i++)
		if (!take_from(image, &g_array_index(places, struct place, i), folder, boot, error))
			return false;
	if (!boot->kernel)
		return fail_without_kernel(path, found, error);
	root = find_root(image, places);
	if (boot->initrd)
		boot->cmdline = g_strdup_printf("root=UUID=%s ro console=ttyS0", root->uuid);
	else if (root->partition)
		boot->cmdline =
			g_strdup_printf("root=/dev/vda%u ro console=ttyS0", root->partition);
	else
		boot->cmdline = g_strdup("root=/dev/vda ro console=ttyS0");
	return true;
}

static bool take_from_disk(const char *path, const char *folder, struct boot *boot, GError **error)
{
	struct places places;
	bool good;

	find_places(path, &places);
	good = take_from_places(path, folder, &places, boot, error);
	g_array_unref(places.ext);
	g_string_free(places.others, TRUE);
	return good;
}

/* --- an ISO --- */

/* Where installers and live systems have their kernels, and what these are to be told. */
static const struct {
	const char *kernel, *initrd, *cmdline;
} isos[] = {
	{ "install.amd/vmlinuz", "install.amd/initrd.gz", "console=ttyS0" }, /* Debian */
	{ "linux", "initrd.gz", "console=ttyS0" },                           /* Debian, mini.iso */
	{ "casper/vmlinuz", "casper/initrd", "console=ttyS0" },              /* Ubuntu */
	{ "live/vmlinuz", "live/initrd.img",
	  "boot=live components console=ttyS0" }, /* Debian Live */
	{ "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img",
	  "inst.stage2=hd:/dev/vda console=ttyS0" }, /* Fedora */
	{ "boot/x86_64/loader/linux", "boot/x86_64/loader/initrd",
	  "install=hd:/?device=vda console=ttyS0" }, /* SUSE */
	{ "boot/vmlinuz-virt", "boot/initramfs-virt",
	  "modules=loop,squashfs,virtio_blk console=ttyS0" }, /* Alpine */
};

static bool extract(struct archive *from, const char *to, GError **error)
{
	int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool good = fd >= 0 && archive_read_data_into_fd(from, fd) == ARCHIVE_OK;

	if (!good)
		cli_fail(error, "cannot write %s: %s", to,
			 fd < 0 ? g_strerror(errno) : archive_error_string(from));
	if (fd >= 0)
		close(fd);
	return good;
}

/* "./casper/vmlinuz;1" as "casper/vmlinuz" */
static char *plain_name(const char *name)
{
	char *plain = g_strdup(g_str_has_prefix(name, "./") ? name + 2 : name);
	char *version = strrchr(plain, ';');

	if (version)
		*version = '\0';
	return plain;
}

static bool take_entries(struct archive *iso, char *kernels[], char *initrds[], const char *folder,
			 GError **error)
{
	struct archive_entry *entry;

	for (unsigned n = 0; n < ENTRIES_MAX && archive_read_next_header(iso, &entry) == ARCHIVE_OK;
	     n++) {
		const char *given = archive_entry_pathname(entry);
		g_autofree char *name = plain_name(given ? given : "");

		for (unsigned i = 0; i < G_N_ELEMENTS(isos); i++) {
			bool kernel = !g_ascii_strcasecmp(name, isos[i].kernel);
			bool initrd = !g_ascii_strcasecmp(name, isos[i].initrd);
			g_autofree char *to =
				g_strdup_printf("%s/%s%u", folder, kernel ? "kernel" : "initrd", i);

			if (!kernel && !initrd)
				continue;
			if (!extract(iso, to, error))
				return false;
			*(kernel ? &kernels[i] : &initrds[i]) = g_steal_pointer(&to);
			break;
		}
	}
	return true;
}

static bool take_from_iso(const char *path, const char *folder, struct boot *boot, GError **error)
{
	char *kernels[G_N_ELEMENTS(isos)] = {}, *initrds[G_N_ELEMENTS(isos)] = {};
	struct archive *iso = archive_read_new();
	bool good;

	archive_read_support_format_iso9660(iso);
	good = archive_read_open_filename(iso, path, 64 * 1024) == ARCHIVE_OK ||
	       cli_fail(error, "%s: %s", path, archive_error_string(iso));
	good = good && take_entries(iso, kernels, initrds, folder, error);
	archive_read_free(iso);
	for (unsigned i = 0; i < G_N_ELEMENTS(isos); i++) {
		if (good && !boot->kernel && kernels[i] && initrds[i]) {
			boot->kernel = g_steal_pointer(&kernels[i]);
			boot->initrd = g_steal_pointer(&initrds[i]);
			boot->cmdline = g_strdup(isos[i].cmdline);
		}
		g_free(kernels[i]);
		g_free(initrds[i]);
	}
	if (good && !boot->kernel)
		return cli_fail(
			error,
			"no kernel is found in %s where Debian, Ubuntu, Fedora, SUSE and "
			"Alpine have theirs; Lodge has no firmware in this version: give it "
			"with --kernel FILE --initrd FILE --cmdline TEXT",
			path);
	return good;
}

bool image_take_boot(const char *path, enum image_kind kind, const char *folder, struct boot *boot,
		     GError **error)
{
	return kind == IMAGE_ISO ? take_from_iso(path, folder, boot, error)
				 : take_from_disk(path, folder, boot, error);
}

char *image_convert(const char *path, const char *folder, GError **error)
{
	g_autofree char *program = g_find_program_in_path("qemu-img");
	g_autofree char *raw = g_build_filename(folder, "raw", NULL);
	const char *argv[] = { program, "convert", "-f", "qcow2", "-O", "raw", path, raw, NULL };
	g_autofree char *said = NULL;
	int status;

	if (!program) {
		cli_fail(
			error,
			"%s is a qcow2 image, which this version does not read; make it a raw one: "
			"qemu-img convert -O raw (as root: apt-get install qemu-utils)",
			path);
		return NULL;
	}
	if (!g_spawn_sync(NULL, (char **)argv, NULL, 0, NULL, NULL, NULL, &said, &status, error))
		return NULL;
	if (!g_spawn_check_wait_status(status, NULL)) {
		cli_fail(error, "%s", g_strstrip(said));
		return NULL;
	}
	return g_steal_pointer(&raw);
}
