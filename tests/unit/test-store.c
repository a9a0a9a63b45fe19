/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that are kept, and the journal that is sure of them: cut off at every byte, damaged at
 * every byte, full, of another version, held by somebody else; and a store whose process or host
 * ends before every single thing that it does to a file.
 *
 * For that, the calls that reach files go through this program (the linker's --wrap), which counts
 * them and keeps beside each folder what a disk would have after a failure of the power: contents
 * as they were at their last fsync, and names as they were at their folder's.
 */
#include "daemon/journal.h"
#include "daemon/store.h"

#include "base/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEADERS     8192
#define BLOCK       4096
#define KILLED      77
#define CHANGES_MAX 64

static void remove_tree(const char *path)
{
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *below = g_build_filename(path, name, NULL);

		remove_tree(below);
	}
	if (dir)
		g_dir_close(dir);
	g_assert_cmpint(g_remove(path), ==, 0);
}

/* In memory where that can be: thousands of files come and go. */
static char *make_folder(void)
{
	char *folder = g_strdup("/dev/shm/lodge-store-XXXXXX");

	if (g_mkdtemp(folder))
		return folder;
	g_free(folder);
	folder = g_dir_make_tmp("lodge-store-XXXXXX", NULL);
	g_assert_nonnull(folder);
	return folder;
}

static void write_file(const char *path, const char *data, gsize bytes)
{
	FILE *out = fopen(path, "w");
	gsize end = bytes; /* zeros there need no memory */

	g_assert_nonnull(out);
	while (end && !data[end - 1])
		end--;
	g_assert_cmpuint(fwrite(data, 1, end, out), ==, end);
	g_assert_cmpint(fflush(out), ==, 0);
	g_assert_cmpint(ftruncate(fileno(out), bytes), ==, 0);
	g_assert_cmpint(fclose(out), ==, 0);
}

/* --- the journal by itself --- */

struct image {
	char *folder, *path;
	char *data;
	gsize bytes;
};

static void load(struct image *image)
{
	g_free(image->data);
	g_assert_true(g_file_get_contents(image->path, &image->data, &image->bytes, NULL));
}

static void save(const struct image *image, gsize bytes)
{
	write_file(image->path, image->data, bytes);
}

/* What has changed of it. */
static void save_part(const struct image *image, gsize from, gsize bytes)
{
	int fd = g_open(image->path, O_WRONLY, 0);

	g_assert_cmpint(pwrite(fd, image->data + from, bytes, from), ==, bytes);
	close(fd);
}

static void begin_image(struct image *image)
{
	*image = (struct image){ .folder = make_folder() };
	image->path = g_build_filename(image->folder, JOURNAL_NAME, NULL);
}

static void end_image(struct image *image)
{
	remove_tree(image->folder);
	g_free(image->folder);
	g_free(image->path);
	g_free(image->data);
}

static bool note(const char *path, const char *text, void *opaque, GError **error)
{
	g_string_append_printf(opaque, "%s=%s;", path, text ? text : "-");
	return true;
}

/* What the journal in that folder says, as "path=text;", or why it says nothing. */
static char *read_all(const char *folder, unsigned *damaged)
{
	GError *error = NULL;
	struct journal *journal = journal_open(folder, &error);
	GString *said = g_string_new(NULL);

	*damaged = 0;
	if (journal)
		g_assert_true(journal_read(journal, note, said, damaged, NULL));
	else
		g_string_printf(said, "error %d", error ? error->code : -1);
	g_clear_error(&error);
	journal_free(journal);
	return g_string_free(said, FALSE);
}

static void check_says(const struct image *image, const char *expected, unsigned lost)
{
	unsigned damaged;
	g_autofree char *said = read_all(image->folder, &damaged);

	g_assert_cmpstr(said, ==, expected);
	g_assert_cmpuint(damaged, ==, lost);
}

static void put(struct journal *journal, const char *path, const char *text)
{
	g_assert_true(journal_add(journal, path, text));
	g_assert_true(journal_write(journal, NULL));
}

#define THREE "domains/a=first;domains/b=second;domains/c=third;"

static void make_three(struct image *image)
{
	struct journal *journal;

	begin_image(image);
	journal = journal_create(image->folder, NULL);
	g_assert_nonnull(journal);
	put(journal, "domains/a", "first");
	put(journal, "domains/b", "second");
	put(journal, "domains/c", "third");
	journal_free(journal);
	load(image);
	g_assert_cmpuint(image->bytes, ==, JOURNAL_BYTES);
}

static void test_what_is_said(void)
{
	struct image image;
	struct journal *journal;
	GString *said = g_string_new(NULL);
	unsigned damaged;

	make_three(&image);
	check_says(&image, THREE, 0);
	journal = journal_open(image.folder, NULL);
	g_assert_true(journal_read(journal, note, said, &damaged, NULL));
	g_assert_cmpstr(said->str, ==, THREE);
	/* the next are behind them; of two about one file the later counts, also within a group */
	g_assert_true(journal_add(journal, "domains/a", "fourth"));
	g_assert_true(journal_add(journal, "domains/d", ""));
	g_assert_true(journal_add(journal, "domains/d", NULL));
	g_assert_true(journal_add(journal, "domains/b", NULL));
	g_assert_true(journal_write(journal, NULL));
	check_says(&image, "domains/a=fourth;domains/b=-;domains/c=third;domains/d=-;", 0);
	journal_free(journal);
	journal = journal_open(image.folder, NULL);
	g_assert_true(journal_read(journal, note, said, &damaged, NULL));
	g_assert_true(journal_empty(journal, NULL));
	check_says(&image, "", 0);
	put(journal, "domains/e", "fifth"); /* in the place of the first: what is behind is older */
	check_says(&image, "domains/e=fifth;", 0);
	journal_free(journal);
	g_string_free(said, TRUE);
	end_image(&image);
}

/* Of the last group so much was written, and the file ends there or has what was there before. */
static void test_cut_at_every_byte(void)
{
	const gsize last = HEADERS + 2 * BLOCK;
	struct image image;
	g_autofree char *whole = NULL;
	gsize end = 0;

	make_three(&image);
	whole = g_memdup2(image.data, image.bytes);
	for (gsize i = last; i < last + BLOCK; i++)
		end = whole[i] ? i + 1 : end;
	g_assert_cmpuint(end, >, last + 32);
	for (gsize cut = last; cut <= end; cut++) {
		memset(image.data + cut, 0, end - cut);
		save_part(&image, last, BLOCK);
		check_says(&image, cut < end ? "domains/a=first;domains/b=second;" : THREE, 0);
		memset(image.data + cut, 0x55, end - cut);
		save_part(&image, last, BLOCK);
		check_says(&image, cut < end ? "domains/a=first;domains/b=second;" : THREE, 0);
		memcpy(image.data + cut, whole + cut, end - cut);
	}
	for (gsize bytes = 0; bytes <= HEADERS + 4 * BLOCK; bytes += bytes < 256 ? 1 : 64) {
		save(&image, bytes);
		check_says(&image,
			   bytes < 40                ? "error 3" /* not even a header */
			   : bytes < HEADERS + BLOCK ? ""
			   : bytes < last            ? "domains/a=first;"
			   : bytes < last + BLOCK    ? "domains/a=first;domains/b=second;"
						     : THREE,
			   0);
	}
	end_image(&image);
}

static void test_damaged_at_every_byte(void)
{
	const gsize second = HEADERS + BLOCK;
	struct image image;

	make_three(&image);
	for (gsize i = 0; i < 2 * BLOCK;
	     i += i % BLOCK < 64 ? 1 : 61) { /* the other header says the same, until then */
		image.data[i] ^= 0x40;
		save_part(&image, i, 1);
		if (i % BLOCK >= 16 && i % BLOCK < 20)
			check_says(&image, "error 2", 0); /* another version's */
		else
			check_says(&image, THREE, 0);
		image.data[i] ^= 0x40;
		save_part(&image, i, 1);
	}
	for (gsize i = second; i < second + 24 + 8 + 9 + 6; i++) {
		image.data[i] ^= 0x40;
		save_part(&image, i, 1);
		check_says(&image, "domains/a=first;domains/c=third;", 1);
		image.data[i] ^= 0x40;
		save_part(&image, i, 1);
	}
	memset(image.data, 0, HEADERS);
	save(&image, image.bytes);
	check_says(&image, "error 3", 0);
	end_image(&image);
}

/* One that was being written when the power failed leaves the other. */
static void test_headers_take_turns(void)
{
	struct image image;
	struct journal *journal;
	g_autofree char *before = NULL;

	begin_image(&image);
	journal = journal_create(image.folder, NULL);
	for (unsigned i = 0; i < 5; i++) {
		load(&image);
		g_free(before);
		before = g_memdup2(image.data, image.bytes);
		put(journal, "a", "text");
		g_assert_true(journal_empty(journal, NULL));
		load(&image);
		for (unsigned block = 0; block < 2; block++)
			g_assert_cmpint(
				!memcmp(before + block * BLOCK, image.data + block * BLOCK, BLOCK),
				==, block != i % 2);
	}
	journal_free(journal);
	end_image(&image);
}

static void test_paths_that_lead_elsewhere(void)
{
	static const char *const bad[] = { "",  "/etc/x", "../x", "a/../../x", "a//x",
					   ".", "a/",     "..",   "a/." };
	struct image image;
	struct journal *journal;

	begin_image(&image);
	journal = journal_create(image.folder, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
		put(journal, bad[i], "text");
	put(journal, "a/...", "good");
	journal_free(journal);
	check_says(&image, "a/...=good;", 0);
	end_image(&image);
}

static void test_no_room(void)
{
	g_autofree char *large = g_strnfill(100000, 'x'),
			*too_large = g_strnfill(JOURNAL_BYTES, 'y');
	struct image image;
	struct journal *journal;
	unsigned count = 0;

	begin_image(&image);
	journal = journal_create(image.folder, NULL);
	g_assert_false(journal_add(journal, "a", too_large));
	for (; journal_add(journal, "a", large); count++)
		g_assert_true(journal_write(journal, NULL));
	g_assert_cmpuint(count, ==, (JOURNAL_BYTES - HEADERS) / (25 * BLOCK));
	g_assert_true(journal_add(journal, "b", "small"));
	g_assert_true(journal_write(journal, NULL));
	g_assert_true(journal_empty(journal, NULL));
	g_assert_false(journal_add(journal, "a", too_large));
	put(journal, "c", "new");
	check_says(&image, "c=new;", 0);
	journal_free(journal);
	end_image(&image);
}

static int in_a_child(int (*run)(const char *folder), const char *folder)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(run(folder));
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int open_code(const char *folder)
{
	GError *error = NULL;

	return journal_open(folder, &error) ? 100 : error ? error->code : 101;
}

static void test_not_two_of_them(void)
{
	struct image image;
	struct journal *journal;

	begin_image(&image);
	g_assert_cmpint(in_a_child(open_code, image.folder), ==, 101);
	journal = journal_create(image.folder, NULL);
	g_assert_cmpint(in_a_child(open_code, image.folder), ==, JOURNAL_ERROR_BUSY);
	journal_free(journal);
	g_assert_cmpint(in_a_child(open_code, image.folder), ==, 100);
	end_image(&image);
}

/* --- what reaches files, counted --- */

enum ending {
	KILL,      /* the process ends */
	REFUSE,    /* one call fails */
	REFUSE_ALL /* it and all behind it */
};

struct shared {
	unsigned left; /* calls until that happens; 0: it does not */
	enum ending ending;
	bool refusing;
	unsigned calls;
	unsigned issued, answered; /* of the script */
	bool failed[CHANGES_MAX];  /* whose answers were errors */
	bool busy;                 /* the host has much to write */
	unsigned shared, each;     /* folders, files that were made to last so */
};

static struct shared *shared;
static char *durable; /* a folder: what the disk has for sure; NULL: nobody wants to know */

int __real_open64(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t bytes);
ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int count, off_t at, int flags);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
gboolean __real_g_file_get_contents(const char *path, char **text, gsize *bytes, GError **error);
int __real_unlink(const char *path);
int __wrap_open64(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t bytes);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t at, int flags);
int __wrap_fsync(int fd);
int __wrap_syncfs(int fd);
gboolean __wrap_g_file_get_contents(const char *path, char **text, gsize *bytes, GError **error);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __wrap_sync_file_range(int fd, off_t from, off_t bytes, unsigned flags);

/* True: the call that follows is to fail. */
static bool step(void)
{
	bool now = durable && shared->left && !--shared->left;

	shared->calls += durable != NULL;
	if (now && shared->ending == KILL)
		_exit(KILLED);
	if (now)
		shared->refusing = true;
	else if (shared->ending == REFUSE)
		return false;
	errno = EIO;
	return durable && shared->refusing;
}

static char *durable_path(const char *kind, u64 number)
{
	return g_strdup_printf("%s/%s-%" G_GUINT64_FORMAT, durable, kind, number);
}

static u64 inode_of(int fd)
{
	struct stat st;

	g_assert_cmpint(fstat(fd, &st), ==, 0);
	return st.st_ino;
}

int __wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	int mode, fd;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, int) : 0;
	va_end(args);
	if ((flags & O_CREAT) && step())
		return -1;
	fd = __real_open64(path, flags, mode);
	if (durable && fd >= 0 && (flags & O_TRUNC)) {
		g_autofree char *kept = durable_path("file", inode_of(fd));

		g_unlink(kept); /* another file had that number */
	}
	return fd;
}

ssize_t __wrap_write(int fd, const void *data, size_t bytes)
{
	struct stat st;
	size_t half;

	if (!durable || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return __real_write(fd, data, bytes);
	half = bytes / 2;
	if (step())
		return -1;
	if (half)
		g_assert_cmpint(__real_write(fd, data, half), ==, half);
	if (step())
		return -1;
	return half + __real_write(fd, (const u8 *)data + half, bytes - half);
}

static void write_durable(int fd, const void *data, size_t bytes, off_t at)
{
	g_autofree char *kept = durable_path("file", inode_of(fd));
	int out = __real_open64(kept, O_WRONLY);

	g_assert_cmpint(out, >=, 0);
	g_assert_cmpint(pwrite(fd, data, bytes, at), ==, bytes);
	g_assert_cmpint(pwrite(out, data, bytes, at), ==, bytes);
	close(out);
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
	const u8 *data = iov->iov_base;
	size_t half = iov->iov_len / 2 / 512 * 512;

	if (!durable)
		return __real_pwritev64v2(fd, iov, count, at, flags);
	g_assert_cmpint(count, ==, 1);
	if (step())
		return -1;
	write_durable(fd, data, half, at);
	if (step())
		return -1;
	write_durable(fd, data + half, iov->iov_len - half, at + half);
	return step() ? -1 : (ssize_t)iov->iov_len;
}

static void keep_names(int fd)
{
	g_autofree char *kept = durable_path("folder", inode_of(fd));
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	GString *list = g_string_new(NULL);
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(path, name, NULL);
		struct stat st;

		if (!lstat(file, &st) && S_ISREG(st.st_mode))
			g_string_append_printf(list, "%s %" G_GUINT64_FORMAT "\n", name,
					       (u64)st.st_ino);
	}
	g_dir_close(dir);
	write_file(kept, list->str, list->len);
	g_string_free(list, TRUE);
}

static void keep_content(int fd)
{
	g_autofree char *kept = durable_path("file", inode_of(fd)), *text = NULL;
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	gsize bytes;

	g_assert_true(g_file_get_contents(path, &text, &bytes, NULL));
	write_file(kept, text, bytes);
}

int __wrap_fsync(int fd)
{
	struct stat st;

	if (!durable)
		return __real_fsync(fd);
	if (step())
		return -1;
	g_assert_cmpint(fstat(fd, &st), ==, 0);
	if (S_ISDIR(st.st_mode))
		keep_names(fd);
	else
		keep_content(fd);
	shared->each += !S_ISDIR(st.st_mode);
	return step() ? -1 : 0;
}

/* Of the folder, which is all of that file system that is asked for; also when half of it is done.
 */
int __wrap_syncfs(int fd)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	const char *name;
	GDir *dir;

	if (!durable)
		return 0;
	if (step())
		return -1;
	dir = g_dir_open(path, 0, NULL);
	while ((name = g_dir_read_name(dir))) {
		int file = openat(fd, name, O_RDONLY);

		keep_content(file);
		close(file);
		step();
	}
	g_dir_close(dir);
	keep_names(fd);
	shared->shared++;
	return step() ? -1 : 0;
}

gboolean __wrap_g_file_get_contents(const char *path, char **text, gsize *bytes, GError **error)
{
	if (strcmp(path, "/proc/meminfo"))
		return __real_g_file_get_contents(path, text, bytes, error);
	*text = g_strdup_printf("MemFree: 1 kB\nDirty: %u kB\n", shared->busy ? 65537 : 65536);
	return TRUE;
}

int __wrap_rename(const char *from, const char *to)
{
	return step() ? -1 : __real_rename(from, to);
}

int __wrap_unlink(const char *path)
{
	return step() ? -1 : __real_unlink(path);
}

int __wrap_sync_file_range(int fd, off_t from, off_t bytes, unsigned flags)
{
	step();
	return 0;
}

/* --- a script of changes --- */

enum { PLAIN, LARGE, HUGE_, SECRET, REMOVE };

#define MANY(path)                                                      \
	{ path "0", '1', PLAIN, true }, { path "1", '1', PLAIN, true }, \
		{ path "2", '1', PLAIN, true },                         \
	{                                                               \
		path "3", '1', PLAIN, true                              \
	}

static const struct change {
	const char *path;
	char letter; /* what the text is made of */
	int how;
	bool together; /* with the next: nobody waits for its answer first */
} script[] = {
	{ "domains/a", '1', PLAIN },
	{ "domains/b", '1', PLAIN },
	MANY("other/1"),
	MANY("other/2"),
	MANY("domains/3"),
	MANY("domains/4"),
	{ "domains/a", '2', PLAIN },
	{ "domains/b", 0, REMOVE, true },
	{ "domains/c", '1', PLAIN, true },
	{ "domains/a", '3', PLAIN },
	{ "other/s", 'S', SECRET },
	{ "domains/c", '2', LARGE },
	{ "domains/d", '1', LARGE, true },
	{ "domains/d", '2', LARGE, true }, /* there is no room left */
	{ "domains/b", '2', PLAIN },
	{ "other/s", 0, REMOVE },
	{ "other/s", 'T', SECRET }, /* the journal has that it is removed */
	{ "domains/a", '4', PLAIN, true },
	{ "domains/a", '5', HUGE_ }, /* larger than the journal, which has another */
	{ "domains/nothing", 0, REMOVE },
	{ "domains/b", 0, REMOVE },
	{ "domains/b", '3', PLAIN },
	{ "other/s", 0, REMOVE, true },
	{ "domains/d", 0, REMOVE },
};

G_STATIC_ASSERT(G_N_ELEMENTS(script) <= CHANGES_MAX);

static char *text_of(const struct change *change)
{
	static const gsize sizes[] = {
		[PLAIN] = 1500, [LARGE] = 400000, [HUGE_] = JOURNAL_BYTES + 1
	};

	if (change->how == REMOVE)
		return NULL;
	return g_strnfill(change->how == SECRET ? 20 : sizes[change->how], change->letter);
}

static void answered(const GError *error, void *opaque)
{
	shared->failed[GPOINTER_TO_UINT(opaque)] = error;
	shared->answered++;
}

static void issue(struct store *store, const char *folder, unsigned number)
{
	const struct change *change = &script[number];
	g_autofree char *path = g_build_filename(folder, change->path, NULL);
	gpointer opaque = GUINT_TO_POINTER(number);

	shared->issued++;
	if (change->how == REMOVE)
		store_remove(store, path, answered, opaque);
	else if (change->how == SECRET)
		store_write_secret(store, path, text_of(change), answered, opaque);
	else
		store_write(store, path, text_of(change), answered, opaque);
}

static int run_script(const char *folder)
{
	GMainContext *context = g_main_context_new();
	struct store *store;

	g_main_context_push_thread_default(context);
	store = store_new(folder, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(script); i++) {
		issue(store, folder, i);
		while (!script[i].together && shared->answered < shared->issued)
			g_main_context_iteration(context, TRUE);
	}
	store_free(store);
	return 0;
}

static int run_start(const char *folder)
{
	store_free(store_new(folder, NULL));
	return 0;
}

/* --- what is there after it --- */

enum loss {
	NOTHING,         /* the process was killed */
	ALL_THAT_MAY_BE, /* the power failed */
	CONTENTS,        /* the same, and the disk had been faster with names */
	LOSSES
};

static void copy_file(const char *from, const char *to)
{
	g_autofree char *text = NULL;
	gsize bytes = 0;

	g_file_get_contents(from, &text, &bytes, NULL);
	write_file(to, text ? text : "", bytes);
}

/* Makes @to what is left of the folder @from. */
static void copy_names(const char *from, const char *to)
{
	GDir *dir = g_dir_open(from, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(from, name, NULL);
		g_autofree char *copy = g_build_filename(to, name, NULL), *kept = NULL;
		struct stat st;

		g_assert_cmpint(lstat(file, &st), ==, 0);
		if (!S_ISREG(st.st_mode))
			continue;
		kept = durable_path("file", st.st_ino);
		copy_file(kept, copy);
	}
	g_dir_close(dir);
}

static void copy_kept(const char *from, const char *to)
{
	g_autofree char *kept = NULL, *list = NULL;
	g_auto(GStrv) lines = NULL;
	struct stat st;

	g_assert_cmpint(stat(from, &st), ==, 0);
	kept = durable_path("folder", st.st_ino);
	if (!g_file_get_contents(kept, &list, NULL, NULL))
		return;
	lines = g_strsplit(list, "\n", -1);
	for (char **line = lines; *line && **line; line++) {
		char *space = strchr(*line, ' ');
		g_autofree char *file = durable_path("file", g_ascii_strtoull(space, NULL, 10));
		g_autofree char *copy = g_strdup_printf("%s/%.*s", to, (int)(space - *line), *line);

		copy_file(file, copy);
	}
}

static void copy_as_is(const char *from, const char *to)
{
	GDir *dir = g_dir_open(from, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(from, name, NULL);
		g_autofree char *copy = g_build_filename(to, name, NULL);

		if (!g_file_test(file, G_FILE_TEST_IS_DIR))
			copy_file(file, copy);
	}
	g_dir_close(dir);
}

static void lose(const char *from, const char *to, enum loss loss)
{
	static void (*const copies[])(const char *from, const char *to) = {
		[NOTHING] = copy_as_is, [ALL_THAT_MAY_BE] = copy_kept, [CONTENTS] = copy_names
	};
	static const char *const folders[] = { "", "domains", "other" };

	for (unsigned i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autofree char *old = g_build_filename(from, folders[i], NULL);
		g_autofree char *new = g_build_filename(to, folders[i], NULL);

		g_assert_cmpint(g_mkdir_with_parents(new, 0700), ==, 0);
		copies[loss](old, new);
	}
}

static char *content(const char *folder, const char *file)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);
	char *text = NULL;

	g_file_get_contents(path, &text, NULL, NULL);
	return text;
}

/* Each file is what it was made by the last change that was kept, or by one that nobody was told
 * of or that failed since. */
static void check_files(const char *folder, const struct shared *at)
{
	for (unsigned f = 0; f < G_N_ELEMENTS(script); f++) {
		const char *file = script[f].path;
		g_autofree char *there = content(folder, file);
		bool good = false, any = false;

		for (unsigned i = at->issued; i-- > 0 && !good;) {
			g_autofree char *text = NULL;

			if (strcmp(script[i].path, file))
				continue;
			text = text_of(&script[i]);
			good = !g_strcmp0(there, text);
			any = i < at->answered && !at->failed[i];
			if (any)
				break;
		}
		if (!good && (any || there))
			g_error("%s is %.20s (%zu bytes) after %u answers of %u", file,
				there ? there : "not there", there ? strlen(there) : 0,
				at->answered, at->issued);
	}
}

static void sweep_and_check(const char *folder, const struct shared *at)
{
	static const char *const folders[] = { "domains", "other" };

	check_files(folder, at);
	for (unsigned i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autofree char *path = g_build_filename(folder, folders[i], NULL);
		GDir *dir;
		const char *name;

		store_sweep(path);
		dir = g_dir_open(path, 0, NULL);
		while ((name = g_dir_read_name(dir)))
			g_assert_false(g_str_has_suffix(name, ".new"));
		g_dir_close(dir);
	}
	check_files(folder, at);
}

struct place {
	char *root, *state, *disk, *state_again, *disk_again, *left;
};

static void make_place(struct place *place)
{
	place->root = make_folder();
	place->state = g_build_filename(place->root, "state", NULL);
	place->disk = g_build_filename(place->root, "disk", NULL);
	place->state_again = g_build_filename(place->root, "again", NULL);
	place->disk_again = g_build_filename(place->root, "disk-again", NULL);
	place->left = g_build_filename(place->root, "left", NULL);
	g_mkdir(place->disk, 0700);
	g_mkdir(place->disk_again, 0700);
	for (unsigned i = 0; i < 2; i++) {
		g_autofree char *path =
			g_build_filename(place->state, i ? "domains" : "other", NULL);

		g_assert_cmpint(g_mkdir_with_parents(path, 0700), ==, 0);
	}
}

static void free_place(struct place *place)
{
	remove_tree(place->root);
	g_free(place->root);
	g_free(place->state);
	g_free(place->disk);
	g_free(place->state_again);
	g_free(place->disk_again);
	g_free(place->left);
}

/* Of a disk that was read again, everything is kept. */
static void keep_all(const char *folder)
{
	static const char *const folders[] = { "", "domains", "other" };

	for (unsigned i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autofree char *path = g_build_filename(folder, folders[i], NULL);
		int fd = __real_open64(path, O_RDONLY | O_DIRECTORY);
		GDir *dir = g_dir_open(path, 0, NULL);
		const char *name;

		keep_names(fd);
		while ((name = g_dir_read_name(dir))) {
			int file = openat(fd, name, O_RDONLY);

			if (strcmp(name, "domains") && strcmp(name, "other"))
				keep_content(file);
			close(file);
		}
		g_dir_close(dir);
		close(fd);
	}
}

/* The store that finds that ends too, in the midst of mending, and the next one finds it all. */
static void check_again(struct place *place, const struct shared *at, enum loss loss,
			unsigned number)
{
	lose(place->state, place->state_again, loss);
	durable = place->disk_again;
	keep_all(place->state_again);
	shared->left = number;
	in_a_child(run_start, place->state_again);
	shared->left = 0;
	lose(place->state_again, place->left, loss);
	durable = NULL;
	g_assert_cmpint(in_a_child(run_start, place->left), ==, 0);
	sweep_and_check(place->left, at);
	remove_tree(place->left);
	remove_tree(place->state_again);
}

/* What is made of these letters is in no other file. */
static void check_no_secret(const char *folder)
{
	g_autofree char *path = g_build_filename(folder, JOURNAL_NAME, NULL), *data = NULL;
	gsize bytes;

	if (!g_file_get_contents(path, &data, &bytes, NULL))
		return;
	g_assert_null(memmem(data, bytes, "SSSSSSSS", 8));
	g_assert_null(memmem(data, bytes, "TTTTTTTT", 8));
}

/* 0: the script came to its end before that call. */
static bool end_before(unsigned call, bool busy)
{
	struct place place;
	struct shared at;
	int status;

	make_place(&place);
	durable = place.disk;
	*shared = (struct shared){ .left = call, .busy = busy };
	status = in_a_child(run_script, place.state);
	at = *shared;
	check_no_secret(place.state);
	g_assert_true(status == KILLED || status == 0);
	for (enum loss loss = NOTHING; loss < LOSSES; loss++) {
		durable = place.disk;
		lose(place.state, place.left, loss);
		durable = NULL;
		g_assert_cmpint(in_a_child(run_start, place.left), ==, 0);
		sweep_and_check(place.left, &at);
		remove_tree(place.left);
		durable = place.disk;
		if (loss == call % LOSSES)
			check_again(&place, &at, loss, 1 + call / LOSSES % 13);
	}
	durable = NULL;
	free_place(&place);
	return status == KILLED;
}

static void check_none_failed(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(script); i++)
		g_assert_false(shared->failed[i]);
}

static void end_everywhere(unsigned apart, bool busy)
{
	unsigned call = 1;

	while (end_before(call, busy))
		call += apart;
	g_assert_cmpuint(shared->answered, ==, G_N_ELEMENTS(script));
	check_none_failed();
	g_assert_cmpuint(call, >, 200);
	g_test_message("%u calls", call - 1);
}

static void test_ends_before_every_call(void)
{
	end_everywhere(1, false);
	g_assert_cmpuint(shared->shared, >, 1);
}

static void test_ends_on_a_busy_host(void)
{
	end_everywhere(5, true);
	g_assert_cmpuint(shared->shared, ==, 0);
	g_assert_cmpuint(shared->each, >, 16);
}

/* A call fails, or all do from then on; then the power does. False: so many calls there are not. */
static bool refuse_from(unsigned call, enum ending ending)
{
	struct place place;
	struct shared at;

	make_place(&place);
	durable = place.disk;
	*shared = (struct shared){ .left = call, .ending = ending, .busy = call % 2 };
	g_assert_cmpint(in_a_child(run_script, place.state), ==, 0);
	at = *shared;
	*shared = (struct shared){ 0 };
	g_assert_cmpuint(at.answered, ==, G_N_ELEMENTS(script));
	for (enum loss loss = NOTHING; loss < LOSSES; loss++) {
		durable = place.disk;
		lose(place.state, place.left, loss);
		durable = NULL;
		g_assert_cmpint(in_a_child(run_start, place.left), ==, 0);
		sweep_and_check(place.left, &at);
		remove_tree(place.left);
	}
	free_place(&place);
	return !at.left;
}

static void test_calls_that_fail(void)
{
	unsigned call = 1;

	log_open(-1, LOG_ERROR); /* it says so each time */
	while (refuse_from(call, REFUSE) && refuse_from(call + 1, REFUSE_ALL))
		call += 3;
	log_open(STDERR_FILENO, LOG_ERROR);
	g_assert_cmpuint(call, >, 200);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	log_open(STDERR_FILENO, LOG_ERROR);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	g_assert_true(shared != MAP_FAILED);
	g_test_add_func("/journal/what-is-said", test_what_is_said);
	g_test_add_func("/journal/cut-at-every-byte", test_cut_at_every_byte);
	g_test_add_func("/journal/damaged-at-every-byte", test_damaged_at_every_byte);
	g_test_add_func("/journal/headers-take-turns", test_headers_take_turns);
	g_test_add_func("/journal/paths-that-lead-elsewhere", test_paths_that_lead_elsewhere);
	g_test_add_func("/journal/no-room", test_no_room);
	g_test_add_func("/journal/not-two-of-them", test_not_two_of_them);
	g_test_add_func("/store/ends-before-every-call", test_ends_before_every_call);
	g_test_add_func("/store/ends-on-a-busy-host", test_ends_on_a_busy_host);
	g_test_add_func("/store/calls-that-fail", test_calls_that_fail);
	return g_test_run();
}
