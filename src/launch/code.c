/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's saved translations between its starts:
 *
 *   $XDG_CACHE_HOME/lodge/NAME.code   magic, HMAC of the guest's name and the rest, the rest
 *   $XDG_STATE_HOME/lodge/code-key    the HMAC's key: random, of this user alone
 *
 * What lodge-vmm writes at its end is taken in only after another lodge-vmm, which runs no guest,
 * has verified it (--check-code). A file is for the guest of its name, which runs once; that
 * another one's is put in its place, the name in the HMAC prevents. The next start gets a sealed
 * copy. Nothing here keeps a guest from starting: trouble goes to its log.
 */
#include "base/saved_code.h"
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAGIC     "LodgeTS"
#define KEY_BYTES 32
#define FILES_MAX 32

struct stored {
	char magic[8];
	u8 mac[32];
};

static bool complain(struct launch *launch, const char *what)
{
	write_log(launch, "saved translations: %s", what);
	return false;
}

static char *code_path(const struct launch *launch)
{
	g_autofree char *file = g_strconcat(launch->private->name, ".code", NULL);

	if (launch->private->options.cache_directory)
		return g_build_filename(launch->private->options.cache_directory, file, NULL);
	return g_build_filename(g_get_user_cache_dir(), "lodge", file, NULL);
}

/* ---- the key ----------------------------------------------------------------------------------
 */

static bool make_key(const char *path, u8 key[KEY_BYTES])
{
	g_autofree char *folder = g_path_get_dirname(path);
	int fd;
	bool good;

	if (g_mkdir_with_parents(folder, 0700) || getrandom(key, KEY_BYTES, 0) != KEY_BYTES)
		return false;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	good = write(fd, key, KEY_BYTES) == KEY_BYTES;
	close(fd);
	return good;
}

static bool read_key(const struct launch *launch, u8 key[KEY_BYTES])
{
	const char *given = launch->private->options.state_directory;
	g_autofree char *path =
		given ? g_build_filename(given, "code-key", NULL)
		      : g_build_filename(g_get_user_state_dir(), "lodge", "code-key", NULL);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	bool good;

	if (fd < 0)
		return errno == ENOENT && make_key(path, key);
	good = !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	       !(st.st_mode & 077) && read(fd, key, KEY_BYTES) == KEY_BYTES;
	close(fd);
	return good;
}

static void sign(const struct launch *launch, const u8 key[KEY_BYTES], const u8 *bytes, size_t n,
		 u8 mac[32])
{
	GHmac *hmac = g_hmac_new(G_CHECKSUM_SHA256, key, KEY_BYTES);
	gsize size = 32;

	g_hmac_update(hmac, (const u8 *)launch->private->name, strlen(launch->private->name) + 1);
	g_hmac_update(hmac, bytes, n);
	g_hmac_get_digest(hmac, mac, &size);
	g_hmac_unref(hmac);
}

/* ---- in ---------------------------------------------------------------------------------------
 */

static bool good_header(const struct saved_code_header *h, u64 bytes)
{
	return bytes >= sizeof(*h) && !memcmp(h->magic, SAVED_CODE_MAGIC, sizeof(h->magic)) &&
	       h->version == SAVED_CODE_VERSION && h->header_bytes == sizeof(*h) &&
	       h->bytes >= sizeof(*h) && h->bytes <= MIN(bytes, SAVED_CODE_BYTES_MAX);
}

static int sealed_copy(const u8 *bytes, size_t n)
{
	int fd = memfd_create("code", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	for (size_t done = 0; fd >= 0 && done < n;) {
		ssize_t step = write(fd, bytes + done, n - done);

		if (step <= 0) {
			close(fd);
			return -1;
		}
		done += step;
	}
	if (fd >= 0)
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	return fd;
}

/* The file's translations, if it is ours, or -1. */
static int load(struct launch *launch, const u8 key[KEY_BYTES], const u8 *file, size_t bytes)
{
	const struct stored *s = (const void *)file;
	u8 mac[32], differs = 0;

	if (bytes < sizeof(*s) || memcmp(s->magic, MAGIC, sizeof(s->magic)) ||
	    !good_header((const void *)(s + 1), bytes - sizeof(*s))) {
		complain(launch, "refused, the file is none or cut short");
		return -1;
	}
	sign(launch, key, (const u8 *)(s + 1), bytes - sizeof(*s), mac);
	for (unsigned i = 0; i < sizeof(mac); i++)
		differs |= mac[i] ^ s->mac[i];
	if (differs) {
		complain(launch, "refused, the file was changed, or is another guest's");
		return -1;
	}
	return sealed_copy((const u8 *)(s + 1), bytes - sizeof(*s));
}

static void open_old(struct launch *launch, const u8 key[KEY_BYTES])
{
	g_autofree char *path = code_path(launch);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), copy = -1;
	struct stat st;
	void *p = MAP_FAILED;

	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0 &&
	    st.st_size <= (off_t)(SAVED_CODE_BYTES_MAX + sizeof(struct stored)))
		p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p != MAP_FAILED) {
		copy = load(launch, key, p, st.st_size);
		munmap(p, st.st_size);
	}
	if (fd >= 0)
		close(fd);
	if (copy >= 0)
		launch->private->code_from = fd_map_add(&launch->private->map, copy);
}

/* As large as may be written. */
static int new_memory(void)
{
	int fd = memfd_create("code", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	if (ftruncate(fd, SAVED_CODE_BYTES_MAX) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK)) {
		close(fd);
		return -1;
	}
	return fd;
}

void code_open(struct launch *launch)
{
	struct launch_private *p = launch->private;
	u8 key[KEY_BYTES];

	if (!p->options.saved_code || strcmp(launch->engine, "soft"))
		return;
	p->code_fd = -1;
	if (strchr(p->name, '/') || !read_key(launch, key)) {
		complain(launch, "there is no key for them");
		return;
	}
	open_old(launch, key);
	p->code_fd = new_memory();
	if (p->code_fd >= 0)
		p->code_to = fd_map_add(&p->map, fcntl(p->code_fd, F_DUPFD_CLOEXEC, 3));
}

/* ---- out --------------------------------------------------------------------------------------
 */

/* Only the newest files are kept. */
static void remove_oldest(const char *folder)
{
	GDir *dir = g_dir_open(folder, 0, NULL);
	g_autofree char *oldest = NULL;
	unsigned files = 0;
	time_t when = 0;
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		char *path = g_build_filename(folder, name, NULL);
		struct stat st;

		if (g_str_has_suffix(name, ".code") && !lstat(path, &st)) {
			files++;
			if (!oldest || st.st_mtime < when) {
				when = st.st_mtime;
				g_free(oldest);
				oldest = g_strdup(path);
			}
		}
		g_free(path);
	}
	if (dir)
		g_dir_close(dir);
	if (files > FILES_MAX)
		unlink(oldest);
}

static bool write_file(struct launch *launch, const struct stored *head, const u8 *bytes, size_t n)
{
	g_autofree char *path = code_path(launch), *folder = g_path_get_dirname(path);
	g_autofree char *temporary = g_strconcat(path, ".XXXXXX", NULL);
	int fd = g_mkdir_with_parents(folder, 0700)
			 ? -1
			 : g_mkstemp_full(temporary, O_WRONLY | O_CLOEXEC, 0600);
	bool good = fd >= 0 && write(fd, head, sizeof(*head)) == sizeof(*head);

	for (size_t done = 0; good && done < n;) {
		ssize_t step = write(fd, bytes + done, n - done);

		good = step > 0;
		done += good ? step : 0;
	}
	if (fd >= 0 && (close(fd) || !good || rename(temporary, path))) {
		unlink(temporary);
		good = false;
	}
	if (good)
		remove_oldest(folder);
	return good;
}

/* Another lodge-vmm copies what is safe of @from to @to. */
static bool check(struct launch *launch, int from, int to)
{
	const struct launch_private *p = launch->private;
	g_autofree char *path =
		p->options.vmm_path ? g_strdup(p->options.vmm_path) : spawn_find("lodge-vmm", NULL);
	struct fd_map map;
	char first[16], second[16];
	const char *argv[] = { path, "--check-code", first, second, NULL };
	const struct spawn spawn = { .argv = argv, .map = &map, .in = -1, .out = -1, .err = -1 };
	int status = -1;
	pid_t pid;

	fd_map_init(&map);
	g_snprintf(first, sizeof(first), "%d", fd_map_add(&map, fcntl(from, F_DUPFD_CLOEXEC, 3)));
	g_snprintf(second, sizeof(second), "%d", fd_map_add(&map, fcntl(to, F_DUPFD_CLOEXEC, 3)));
	pid = path ? spawn_program(&spawn, NULL) : -1;
	fd_map_clear(&map);
	if (pid <= 0)
		return false;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0;
}

static bool store(struct launch *launch, int fd)
{
	struct stored head = { .magic = MAGIC };
	const struct saved_code_header *h;
	u8 key[KEY_BYTES];
	bool good;

	if (!read_key(launch, key))
		return complain(launch, "there is no key for them");
	h = mmap(NULL, SAVED_CODE_BYTES_MAX, PROT_READ, MAP_SHARED, fd, 0);
	if (h == MAP_FAILED)
		return complain(launch, "they cannot be mapped");
	good = good_header(h, SAVED_CODE_BYTES_MAX);
	if (good) {
		sign(launch, key, (const u8 *)h, h->bytes, head.mac);
		good = write_file(launch, &head, (const u8 *)h, h->bytes);
	}
	munmap((void *)h, SAVED_CODE_BYTES_MAX);
	return good || complain(launch, "they cannot be written");
}

void code_store(struct launch *launch)
{
	int fd = launch->private->code_fd, checked = -1;
	struct saved_code_header h;

	if (!launch->private->code_to || fd < 0 || pread(fd, &h, sizeof(h), 0) != sizeof(h) ||
	    !h.bytes)
		return;
	if (!good_header(&h, SAVED_CODE_BYTES_MAX) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL)) {
		complain(launch, "what the guest left is none");
		return;
	}
	checked = new_memory();
	if (checked < 0 || !check(launch, fd, checked))
		complain(launch, "what the guest left is not safe, or could not be checked");
	else if (!fcntl(checked, F_ADD_SEALS, F_SEAL_WRITE))
		store(launch, checked);
	if (checked >= 0)
		close(checked);
}

void code_close(struct launch *launch)
{
	if (launch->private->code_to && launch->private->code_fd >= 0)
		close(launch->private->code_fd);
}
