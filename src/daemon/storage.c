/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A folder and its files. See storage.h. */
#include "daemon/storage.h"

#include "daemon/daemon.h"
#include "rpc_constants.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME_BYTES_MAX 255
#define COPY_BYTES     (1u << 20)

static bool fail(GError **error, int code, const char *doing, const char *folder, const char *name)
{
	int number = errno;

	g_set_error(error, DAEMON_ERROR, code, "cannot %s %s%s%s: %s", doing, folder,
		    name ? "/" : "", name ? name : "", g_strerror(number));
	return false;
}

bool storage_name_is_good(const char *name)
{
	if (!*name || strlen(name) > NAME_BYTES_MAX || !strcmp(name, ".") || strstr(name, "..") ||
	    !g_utf8_validate(name, -1, NULL))
		return false;
	for (const char *p = name; *p; p++)
		if (*p == '/' || g_ascii_iscntrl(*p))
			return false;
	return true;
}

void volume_free(struct volume *volume)
{
	if (!volume)
		return;
	g_free(volume->backing);
	g_free(volume->backing_format);
	g_free(volume->name);
	g_free(volume);
}

/* --- folders --- */

/* Whose folder it is may have put links in its way, but none through /proc into what lodged has. */
static int open_folder(const char *folder, GError **error)
{
	const struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				      .resolve = RESOLVE_NO_MAGICLINKS };
	int fd = syscall(SYS_openat2, AT_FDCWD, folder, &how, sizeof(how));

	if (fd < 0 && errno == ENOENT)
		g_set_error(error, DAEMON_ERROR, VIR_ERR_SYSTEM_ERROR,
			    "cannot open the folder %s: %s; virsh pool-build makes a pool's",
			    folder, g_strerror(ENOENT));
	else if (fd < 0)
		fail(error, VIR_ERR_SYSTEM_ERROR, "open the folder", folder, NULL);
	return fd;
}

char *storage_real_path(const char *folder, GError **error)
{
	int fd = open_folder(folder, error);
	char *real;

	if (fd < 0)
		return NULL;
	real = realpath(folder, NULL);
	close(fd);
	if (!real)
		fail(error, VIR_ERR_SYSTEM_ERROR, "find", folder, NULL);
	return real;
}

bool storage_make_folder(const char *folder, mode_t mode, GError **error)
{
	g_autofree char *above = g_path_get_dirname(folder);
	int fd;

	if (g_mkdir_with_parents(above, 0755))
		return fail(error, VIR_ERR_SYSTEM_ERROR, "make the folder", above, NULL);
	if (!mkdir(folder, 0700))
		return !chmod(folder, mode) ||
		       fail(error, VIR_ERR_SYSTEM_ERROR, "set the mode of", folder, NULL);
	if (errno != EEXIST)
		return fail(error, VIR_ERR_SYSTEM_ERROR, "make the folder", folder, NULL);
	fd = open_folder(folder, error);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

bool storage_remove_folder(const char *folder, GError **error)
{
	return !rmdir(folder) ||
	       fail(error, VIR_ERR_SYSTEM_ERROR, "remove the folder", folder, NULL);
}

/* --- one file --- */

/* As raw. NULL: it is no plain file. */
static struct volume *describe(const char *name, const struct stat *st)
{
	struct volume *volume;

	if (!S_ISREG(st->st_mode))
		return NULL;
	volume = g_new0(struct volume, 1);
	volume->name = g_strdup(name);
	volume->st = *st;
	volume->format = "raw";
	volume->capacity = volume->length = st->st_size;
	volume->allocated = (u64)st->st_blocks * 512;
	return volume;
}

/* Some files whose formats are asked for together. */
struct batch {
	struct volume *volumes[FORMATS_MAX];
	int fds[FORMATS_MAX];
	unsigned count;
};

static void tell_formats(struct formats *formats, struct batch *batch)
{
	struct image_format found[FORMATS_MAX];
	struct stat stats[FORMATS_MAX];

	for (unsigned i = 0; i < batch->count; i++)
		stats[i] = batch->volumes[i]->st;
	if (formats)
		formats_find(formats, batch->fds, stats, batch->count, found);
	for (unsigned i = 0; i < batch->count; i++) {
		close(batch->fds[i]);
		if (!formats)
			continue;
		batch->volumes[i]->format = found[i].name;
		batch->volumes[i]->capacity = found[i].capacity;
		batch->volumes[i]->backing = found[i].backing;
		batch->volumes[i]->backing_format = found[i].backing_format;
	}
	batch->count = 0;
}

/* NULL without an error: it is gone, or nothing that is listed. A file that cannot be read is raw:
 * nobody but its owner can tell; the format of another is told by tell_formats(), of which there
 * must be one before @batch is full. */
static struct volume *look_in(int folder, const char *name, struct batch *batch)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct volume *volume = NULL;
	struct stat st;

	if (fd >= 0 ? !fstat(fd, &st) : !fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW))
		volume = describe(name, &st);
	if (fd >= 0 && volume) {
		batch->volumes[batch->count] = volume;
		batch->fds[batch->count++] = fd;
	} else if (fd >= 0) {
		close(fd);
	}
	return volume;
}

static struct volume *look_at(struct formats *formats, int folder, const char *name)
{
	struct batch batch = { .count = 0 };
	struct volume *volume = look_in(folder, name, &batch);

	tell_formats(formats, &batch);
	return volume;
}

struct volume *storage_look(struct formats *formats, const char *folder, const char *name,
			    GError **error)
{
	int fd = open_folder(folder, error);
	struct volume *volume;

	if (fd < 0)
		return NULL;
	volume = look_at(formats, fd, name);
	close(fd);
	if (!volume)
		g_set_error(error, DAEMON_ERROR, VIR_ERR_NO_STORAGE_VOL,
			    "Storage volume not found: there is no file %s/%s any more", folder,
			    name);
	return volume;
}

/* Takes the space up to @bytes, which costs nothing where it is taken. */
static bool allocate(int fd, u64 bytes)
{
	int number = bytes ? posix_fallocate(fd, 0, bytes) : 0;

	errno = number;
	return !number;
}

static bool copy_range(int from, int to, u8 *buffer, off_t at, off_t end)
{
	while (at < end) {
		ssize_t n = pread(from, buffer, MIN(end - at, COPY_BYTES), at);
		ssize_t done = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return !n; /* it has become shorter meanwhile */
		while (done < n) {
			ssize_t more = pwrite(to, buffer + done, n - done, at + done);

			if (more < 0 && errno != EINTR)
				return false;
			done += MAX(more, 0);
		}
		at += n;
	}
	return true;
}

/* Where @from has holes, @to stays as it is: new, and zero. */
static bool copy_data(int from, int to)
{
	g_autofree u8 *buffer = g_malloc(COPY_BYTES);
	off_t at = 0, end;

	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		end = lseek(from, at, SEEK_HOLE);
		if (end < 0 || !copy_range(from, to, buffer, at, end))
			return false;
		at = end;
	}
	return errno == ENXIO; /* no more data: lseek(2) */
}

/* A negative @from has nothing. */
static bool fill(int fd, const struct storage_wish *wish, int from)
{
	u64 length = wish->capacity;
	struct stat st;

	if (from >= 0) {
		if (fstat(from, &st))
			return false;
		length = MAX(length, (u64)st.st_size);
	}
	return !ftruncate(fd, length) && (from < 0 || copy_data(from, fd)) &&
	       allocate(fd, MIN(wish->allocated, length)) &&
	       ((wish->owner < 0 && wish->group < 0) || !fchown(fd, wish->owner, wish->group)) &&
	       !fchmod(fd, wish->mode) && !fsync(fd);
}

/* Negative with @error set: it is no plain file. */
static int open_source(const struct storage_source *source, GError **error)
{
	int at = open_folder(source->folder, error), fd;
	struct stat st;

	if (at < 0)
		return -1;
	fd = openat(at, source->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	close(at);
	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode))
		return fd;
	g_set_error(error, DAEMON_ERROR, VIR_ERR_NO_STORAGE_VOL,
		    "Storage volume not found: %s/%s is no file that can be read", source->folder,
		    source->name);
	if (fd >= 0)
		close(fd);
	return -1;
}

static struct volume *create_from(const char *folder, const char *name,
				  const struct storage_wish *wish, int from, GError **error)
{
	int at = open_folder(folder, error), fd;
	struct volume *volume = NULL;
	struct stat st;

	if (at < 0)
		return NULL;
	fd = openat(at, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST) {
		g_set_error(error, DAEMON_ERROR, VIR_ERR_STORAGE_VOL_EXIST,
			    "storage volume '%s' exists already", name);
	} else if (fd < 0) {
		fail(error, VIR_ERR_SYSTEM_ERROR, "create", folder, name);
	} else if (!fill(fd, wish, from) || fsync(at) || fstat(fd, &st)) {
		fail(error, VIR_ERR_SYSTEM_ERROR, "create", folder, name);
		unlinkat(at, name, 0);
	} else {
		volume = describe(name, &st);
	}
	if (fd >= 0)
		close(fd);
	close(at);
	return volume;
}

struct volume *storage_create(const char *folder, const char *name, const struct storage_wish *wish,
			      const struct storage_source *source, GError **error)
{
	int from = source ? open_source(source, error) : -1;
	struct volume *volume = NULL;

	if (from >= 0 || !source)
		volume = create_from(folder, name, wish, from, error);
	if (from >= 0)
		close(from);
	return volume;
}

bool storage_remove(const char *folder, const char *name, GError **error)
{
	int at = open_folder(folder, error);
	bool good;

	if (at < 0)
		return false;
	good = (!unlinkat(at, name, 0) || errno == ENOENT) && !fsync(at);
	if (!good)
		fail(error, VIR_ERR_SYSTEM_ERROR, "remove", folder, name);
	close(at);
	return good;
}

/* The length that @to asks for, of a file that is now @volume. */
static bool new_length(const struct volume *volume, const struct storage_resize *to, u64 *length,
		       GError **error)
{
	const char *wrong = NULL;

	*length = to->bytes;
	if (strcmp(volume->format, "raw"))
		wrong = "only raw volumes can be resized in this version";
	else if (to->relative && to->shrink && to->bytes > volume->capacity)
		wrong = "it is smaller than what is to be taken away";
	else if (to->relative && to->shrink)
		*length = volume->capacity - to->bytes;
	else if (to->relative && __builtin_add_overflow(volume->capacity, to->bytes, length))
		wrong = "it would be too large";
	if (!wrong && *length > G_MAXINT64)
		wrong = "it would be too large";
	else if (!wrong && *length < volume->capacity && !to->shrink)
		wrong = "it would be smaller than it is; ask to shrink it";
	else if (!wrong && *length < volume->capacity && *length < volume->allocated)
		wrong = "it would be smaller than what is allocated in it";
	if (wrong)
		g_set_error(error, DAEMON_ERROR, VIR_ERR_INVALID_ARG,
			    "volume '%s' is not resized: %s", volume->name, wrong);
	return !wrong;
}

static bool resize_open(int fd, const char *folder, const struct volume *volume,
			const struct storage_resize *to, GError **error)
{
	const char *name = volume->name;
	bool good;
	u64 length;

	good = new_length(volume, to, &length, error);
	if (good && (ftruncate(fd, length) || (to->allocate && !allocate(fd, length)) || fsync(fd)))
		good = fail(error, VIR_ERR_SYSTEM_ERROR, "resize", folder, name);
	return good;
}

struct volume *storage_resize(struct formats *formats, const char *folder, const char *name,
			      const struct storage_resize *to, GError **error)
{
	int at = open_folder(folder, error), fd;
	struct volume *before = NULL, *volume = NULL;

	if (at < 0)
		return NULL;
	fd = openat(at, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fail(error, VIR_ERR_SYSTEM_ERROR, "open", folder, name);
	else
		before = look_at(formats, at, name);
	if (before && resize_open(fd, folder, before, to, error))
		volume = look_at(formats, at, name);
	if (fd >= 0)
		close(fd);
	close(at);
	if (before)
		volume_free(before);
	if (!volume && error && !*error)
		g_set_error(error, DAEMON_ERROR, VIR_ERR_NO_STORAGE_VOL,
			    "Storage volume not found: there is no file %s/%s any more", folder,
			    name);
	return volume;
}

/* --- its bytes --- */

static bool fail_piece(GError **error, const char *doing)
{
	g_set_error(error, DAEMON_ERROR, VIR_ERR_SYSTEM_ERROR, "cannot %s the volume: %s", doing,
		    g_strerror(errno));
	return false;
}

int storage_open(const char *folder, const char *name, bool write, GError **error)
{
	int at = open_folder(folder, error), fd;
	struct stat st;

	if (at < 0)
		return -1;
	fd = openat(at, name, (write ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	close(at);
	if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = -1;
		errno = ENOENT;
	}
	if (fd < 0) {
		fail(error, errno == ENOENT ? VIR_ERR_NO_STORAGE_VOL : VIR_ERR_SYSTEM_ERROR, "open",
		     folder, name);
	} else if (write && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
		close(fd);
		fd = -1;
		g_set_error(error, DAEMON_ERROR, VIR_ERR_RESOURCE_BUSY,
			    "volume '%s' is in use, by a guest or by another who writes it; end "
			    "that first",
			    name);
	}
	return fd;
}

/* How long the hole at @offset is, up to the file's end; 0: there is none. *@data gets how long
 * what is there is. */
static bool measure(int fd, u64 offset, u64 *hole, u64 *data)
{
	off_t next = lseek(fd, offset, SEEK_DATA), end;
	struct stat st;

	*hole = *data = 0;
	if (next < 0 && errno != ENXIO)
		return false;
	if (next < 0 && fstat(fd, &st))
		return false;
	if (next < 0) {
		*hole = st.st_size > (off_t)offset ? st.st_size - offset : 0;
		return true;
	}
	*hole = next - offset;
	end = lseek(fd, next, SEEK_HOLE);
	*data = end > next ? end - next : 0;
	return end >= 0;
}

bool storage_read_piece(int fd, u64 offset, u64 max, u64 hole_max, struct storage_piece *piece,
			GError **error)
{
	u64 hole = 0, data = max;
	ssize_t n;

	if (hole_max && !measure(fd, offset, &hole, &data))
		return fail_piece(error, "look at");
	piece->hole = hole;
	if (hole) {
		piece->length = MIN(hole, hole_max);
		return true;
	}
	do
		n = pread(fd, piece->bytes, MIN(data, max), offset);
	while (n < 0 && errno == EINTR);
	piece->length = MAX(n, 0);
	return n >= 0 || fail_piece(error, "read");
}

static bool write_bytes(int fd, const u8 *bytes, u64 length, u64 offset)
{
	while (length) {
		ssize_t n = pwrite(fd, bytes, MIN(length, COPY_BYTES), offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		bytes += n;
		offset += n;
		length -= n;
	}
	return true;
}

static bool write_zeroes(int fd, u64 offset, u64 length)
{
	g_autofree u8 *zeroes = g_malloc0(COPY_BYTES);

	while (length) {
		u64 step = MIN(length, COPY_BYTES);

		if (!write_bytes(fd, zeroes, step, offset))
			return false;
		offset += step;
		length -= step;
	}
	return true;
}

/* Zeroes from @offset on, which take no room where the file system can have it so. */
static bool write_hole(int fd, u64 offset, u64 length)
{
	struct stat st;
	u64 inside;

	if (fstat(fd, &st))
		return false;
	inside = st.st_size > (off_t)offset ? MIN(length, st.st_size - offset) : 0;
	if (inside && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, inside) &&
	    !write_zeroes(fd, offset, inside))
		return false;
	return inside == length || !ftruncate(fd, offset + length);
}

bool storage_write_piece(int fd, u64 offset, const struct storage_piece *piece, GError **error)
{
	bool good = piece->hole ? write_hole(fd, offset, piece->length)
				: write_bytes(fd, piece->bytes, piece->length, offset);

	return good || fail_piece(error, "write");
}

bool storage_sync(int fd, GError **error)
{
	return !fsync(fd) || fail_piece(error, "write");
}

static bool zero_data(int fd)
{
	u64 offset = 0, hole, data;

	do {
		if (!measure(fd, offset, &hole, &data) || !write_zeroes(fd, offset + hole, data))
			return false;
		offset += hole + data;
	} while (data);
	return !fsync(fd);
}

bool storage_wipe(const char *folder, const char *name, GError **error)
{
	int fd = storage_open(folder, name, true, error);
	bool good = fd >= 0 && (zero_data(fd) || fail_piece(error, "wipe"));

	if (fd >= 0)
		close(fd);
	return good;
}

/* --- all files --- */

static int compare_names(gconstpointer a, gconstpointer b)
{
	const struct volume *one = *(struct volume *const *)a, *two = *(struct volume *const *)b;

	return strcmp(one->name, two->name);
}

bool storage_scan(struct formats *formats, const char *folder, struct storage_scan *scan,
		  GError **error)
{
	struct batch batch = { .count = 0 };
	int fd = open_folder(folder, error);
	struct statvfs fs;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return false;
	if (fstatvfs(fd, &fs) || !(dir = fdopendir(fd))) {
		fail(error, VIR_ERR_SYSTEM_ERROR, "look into", folder, NULL);
		close(fd);
		return false;
	}
	scan->capacity = (u64)fs.f_blocks * fs.f_frsize;
	scan->available = (u64)fs.f_bfree * fs.f_frsize;
	scan->allocated = scan->capacity - scan->available;
	scan->volumes = g_ptr_array_new_with_free_func((GDestroyNotify)volume_free);
	while (scan->volumes->len < STORAGE_FILES_MAX && (entry = readdir(dir))) {
		const char *name = entry->d_name;
		struct volume *volume =
			storage_name_is_good(name) ? look_in(fd, name, &batch) : NULL;

		if (volume)
			g_ptr_array_add(scan->volumes, volume);
		if (batch.count == FORMATS_MAX)
			tell_formats(formats, &batch);
	}
	tell_formats(formats, &batch);
	g_ptr_array_sort(scan->volumes, compare_names);
	closedir(dir); /* and its descriptor */
	return true;
}
