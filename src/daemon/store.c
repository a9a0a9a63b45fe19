/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are whole or not there. See store.h. */
#include "daemon/store.h"

#include "base/file.h"
#include "base/log.h"
#include "daemon/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_MAX  256
#define UNFINISHED ".new"
/* files that are made to last each for itself; more: with all others, if these have no more */
#define FEW        16
#define OTHERS_MAX (64 * MIB)
#define SETTLE_US  (2 * G_USEC_PER_SEC) /* without a change, until files are made to last */

struct job {
	char *path;
	char *text; /* NULL: remove */
	bool secret;
	bool direct; /* not by the journal: its directory is to be synchronized */
	store_done *done;
	void *opaque;
	GError *error;
	struct store *store;
};

struct store {
	GThread *thread;
	GMutex lock;
	GCond wake;
	GQueue jobs; /* struct job, by the lock; one without a path ends the thread */
	GQueue done; /* the same, by the lock, to be answered */
	int done_fd; /* an eventfd: something is done */
	GSource *answers;
	char *prefix;            /* of paths that the journal takes: its folder, and a '/' */
	struct journal *journal; /* NULL: there is none */
	GHashTable *loose;       /* paths of which the journal alone is sure */
	GPtrArray *group;        /* jobs that are in the group that the journal makes */
	GError *stuck;           /* set once, by whoever has the journal */
};

static GQuark store_quark(void)
{
	return g_quark_from_static_string("lodge-store");
}

static bool fail(GError **error, const char *doing, const char *path)
{
	g_set_error(error, store_quark(), errno, "cannot %s %s: %s", doing, path,
		    g_strerror(errno));
	return false;
}

/* What the journal calls it; NULL: it is not below the folder. */
static const char *below_prefix(const struct store *store, const char *path)
{
	const char *rest = path + strlen(store->prefix);

	return g_str_has_prefix(path, store->prefix) ? rest : NULL;
}

/* --- files --- */

static char *name_beside(const char *path)
{
	return g_strconcat(path, UNFINISHED, NULL);
}

/* Makes a complete file beside @path; @last: and has the disk keep it. */
static bool write_beside(const char *path, const char *text, bool last, GError **error)
{
	g_autofree char *beside = name_beside(path);
	int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool good;

	if (fd < 0)
		return fail(error, "create", beside);
	good = write_all(fd, text, strlen(text)) && (!last || !fsync(fd));
	if (!good)
		fail(error, "write", beside);
	if (close(fd) && good)
		good = fail(error, "write", beside);
	if (!good)
		unlink(beside);
	return good;
}

static bool put_in_place(const char *path, GError **error)
{
	g_autofree char *beside = name_beside(path);

	return !rename(beside, path) || fail(error, "rename a file to", path);
}

static void drop_beside(const char *path)
{
	g_autofree char *beside = name_beside(path);

	unlink(beside);
}

/* Puts a complete file in its place; the directory does not know it for sure yet. */
static bool replace(const char *path, const char *text, GError **error)
{
	if (!write_beside(path, text, true, error))
		return false;
	if (put_in_place(path, error))
		return true;
	drop_beside(path);
	return false;
}

static bool remove_file(const char *path, GError **error)
{
	return !unlink(path) || errno == ENOENT || fail(error, "remove", path);
}

/* @sync: fsync, or syncfs for all that is in its file system. */
static bool sync_directory(const char *directory, int (*sync)(int fd), GError **error)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && !sync(fd);

	if (!good)
		fail(error, "write", directory);
	if (fd >= 0)
		close(fd);
	return good;
}

bool store_write_now(struct store *store, const char *path, const char *text, GError **error)
{
	g_autofree char *directory = g_path_get_dirname(path);
	const GError *stuck = g_atomic_pointer_get(&store->stuck);

	if (stuck && below_prefix(store, path)) {
		g_propagate_error(error, g_error_copy(stuck));
		return false;
	}
	return replace(path, text, error) && sync_directory(directory, fsync, error);
}

void store_sweep(const char *directory)
{
	GDir *dir = g_dir_open(directory, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(directory, name, NULL);

		if (g_str_has_suffix(name, UNFINISHED))
			unlink(path);
	}
	if (dir)
		g_dir_close(dir);
}

/* --- from the journal's files to files that last --- */

/* Takes over @error. */
static void get_stuck(struct store *store, GError *error)
{
	g_prefix_error(&error, "nothing can be changed until lodged is started again: ");
	log_error("store", "%s", error->message);
	g_atomic_pointer_set(&store->stuck, error);
}

/* What has gone again needs nothing. */
static int open_loose(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* Has the disk begin with all of them, so that the first that is waited for finds many done. */
static void start_writing(const struct store *store)
{
	GHashTableIter iter;
	gpointer path;

	g_hash_table_iter_init(&iter, store->loose);
	while (g_hash_table_iter_next(&iter, &path, NULL)) {
		int fd = open_loose(path);

		if (fd < 0)
			continue;
		sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
		close(fd);
	}
}

static bool sync_file(const char *path, GError **error)
{
	int fd = open_loose(path);
	bool good = fd >= 0 ? !fsync(fd) : errno == ENOENT;

	if (!good)
		fail(error, "write", path);
	if (fd >= 0)
		close(fd);
	return good;
}

static bool sync_each(const struct store *store, GError **error)
{
	GHashTableIter iter;
	bool good = true;
	gpointer path;

	start_writing(store);
	g_hash_table_iter_init(&iter, store->loose);
	while (good && g_hash_table_iter_next(&iter, &path, NULL))
		good = sync_file(path, error);
	return good;
}

/* What waits to be written of all of the host's files; as much as there can be: who knows. */
static u64 dirty_bytes(void)
{
	g_autofree char *text = NULL;
	const char *row = NULL;

	if (g_file_get_contents("/proc/meminfo", &text, NULL, NULL))
		row = strstr(text, "\nDirty:");
	return row ? g_ascii_strtoull(row + strlen("\nDirty:"), NULL, 10) * KIB : G_MAXUINT64;
}

static GHashTable *loose_folders(const struct store *store)
{
	GHashTable *folders = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	GHashTableIter iter;
	gpointer path;

	g_hash_table_iter_init(&iter, store->loose);
	while (g_hash_table_iter_next(&iter, &path, NULL))
		g_hash_table_add(folders, g_path_get_dirname(path));
	return folders;
}

/* Each of many files would have the disk write its caches. To write all that the file system has
 * does so once, and tells of failures since Linux 5.8; but guests' disks may be there too: it is
 * done when that is not much. */
static bool may_share(const struct store *store)
{
	return g_hash_table_size(store->loose) >= FEW && dirty_bytes() <= OTHERS_MAX;
}

static bool sync_loose(const struct store *store, GError **error)
{
	bool shared = may_share(store);
	bool good = shared || sync_each(store, error);
	GHashTable *folders = loose_folders(store);
	GHashTableIter iter;
	gpointer folder;

	g_hash_table_iter_init(&iter, folders);
	while (good && g_hash_table_iter_next(&iter, &folder, NULL))
		good = sync_directory(folder, shared ? syncfs : fsync, error);
	g_hash_table_unref(folders);
	return good;
}

/* After it the journal need not know anything. */
static void settle(struct store *store)
{
	const guint count = g_hash_table_size(store->loose);
	GError *error = NULL;

	if (store->stuck)
		return;
	log_debug("store", "%u files are made to last", count);
	if (!sync_loose(store, &error) || !journal_empty(store->journal, &error)) {
		get_stuck(store, error);
		return;
	}
	g_hash_table_remove_all(store->loose);
	log_debug("store", "%u files last, and the journal is empty", count);
}

/* --- one job --- */

/* What would fail must do so before the journal says that it is done. */
static bool may_remove(const char *path, GError **error)
{
	g_autofree char *directory = g_path_get_dirname(path);

	return !faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) ||
	       fail(error, "remove", path);
}

static bool is_there(const char *path)
{
	struct stat st;

	return !lstat(path, &st) || errno != ENOENT;
}

/* The journal has it, so it is kept whatever happens here. */
static void finish_job(struct store *store, const struct job *job)
{
	GError *error = NULL;
	bool good = job->text ? put_in_place(job->path, &error) : remove_file(job->path, &error);

	if (good)
		g_hash_table_add(store->loose, g_strdup(job->path));
	else if (store->stuck)
		g_error_free(error);
	else
		get_stuck(store, error);
}

/* Writes what the journal was given, and then does it. */
static void commit(struct store *store)
{
	GError *error = NULL;
	bool good = journal_write(store->journal, &error);

	for (guint i = 0; i < store->group->len; i++) {
		struct job *job = store->group->pdata[i];

		if (good) {
			finish_job(store, job);
			continue;
		}
		job->error = g_error_copy(error);
		if (job->text)
			drop_beside(job->path);
	}
	g_ptr_array_set_size(store->group, 0);
	if (!good) {
		settle(store); /* nobody knows whether the disk has it */
		g_error_free(error);
	}
}

static void run_direct(struct store *store, struct job *job)
{
	if (g_hash_table_contains(store->loose, job->path)) {
		commit(store);
		settle(store); /* what the journal says of it would undo this */
	}
	if (store->stuck && below_prefix(store, job->path)) {
		job->error = g_error_copy(store->stuck);
		return;
	}
	job->direct = true;
	if (job->text)
		replace(job->path, job->text, &job->error);
	else
		remove_file(job->path, &job->error);
}

/* Has the journal take it; false: it is too large. */
static bool add(struct store *store, struct job *job)
{
	const char *rest = below_prefix(store, job->path);

	if (!journal_add(store->journal, rest, job->text)) {
		commit(store);
		settle(store);
		if (store->stuck || !journal_add(store->journal, rest, job->text))
			return false;
	}
	g_ptr_array_add(store->group, job);
	return true;
}

static void run_journaled(struct store *store, struct job *job)
{
	if (job->text ? !write_beside(job->path, job->text, false, &job->error)
		      : !is_there(job->path) || !may_remove(job->path, &job->error))
		return;
	if (add(store, job))
		return;
	if (job->text)
		drop_beside(job->path);
	run_direct(store, job);
}

static void run_job(struct store *store, struct job *job)
{
	log_debug("store", "%s %s", job->text ? "write" : "remove", job->path);
	if (store->journal && !store->stuck && !job->secret && below_prefix(store, job->path))
		run_journaled(store, job);
	else
		run_direct(store, job);
}

static void free_job(struct job *job)
{
	g_clear_error(&job->error);
	g_free(job->path);
	g_free(job->text);
	g_free(job);
}

/* --- the thread --- */

static gboolean answer(gint fd, GIOCondition condition, gpointer opaque)
{
	struct store *store = opaque;
	struct job *job;
	GQueue done;
	u64 times;

	(void)!read(fd, &times, sizeof(times));
	g_mutex_lock(&store->lock);
	done = store->done;
	g_queue_init(&store->done);
	g_mutex_unlock(&store->lock);
	while ((job = g_queue_pop_head(&done))) {
		if (job->done)
			job->done(job->error, job->opaque);
		free_job(job);
	}
	return G_SOURCE_CONTINUE;
}

/* Has them answered on the store's context, which is not locked when it is woken. */
static void post(struct store *store, GPtrArray *batch)
{
	const u64 once = 1;

	g_mutex_lock(&store->lock);
	for (guint i = 0; i < batch->len; i++)
		g_queue_push_tail(&store->done, batch->pdata[i]);
	g_mutex_unlock(&store->lock);
	(void)!write(store->done_fd, &once, sizeof(once));
}

static void listen(struct store *store)
{
	store->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	store->answers = g_unix_fd_source_new(store->done_fd, G_IO_IN);
	g_source_set_can_recurse(store->answers, TRUE); /* it does not; see rpc_client_new() */
	g_source_set_callback(store->answers, G_SOURCE_FUNC(answer), store, NULL);
	g_source_attach(store->answers, g_main_context_get_thread_default());
}

/* A directory that cannot be written keeps none of its files. */
static void sync_directories(GPtrArray *batch)
{
	GHashTable *results = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (guint i = 0; i < batch->len; i++) {
		struct job *job = batch->pdata[i];
		char *directory;
		gpointer known;

		if (job->error || !job->direct)
			continue;
		directory = g_path_get_dirname(job->path);
		if (g_hash_table_lookup_extended(results, directory, NULL, &known)) {
			if (known)
				job->error = g_error_copy(known);
			g_free(directory);
		} else {
			sync_directory(directory, fsync, &job->error);
			g_hash_table_insert(results, directory, job->error);
		}
	}
	g_hash_table_unref(results);
}

static bool names(const GPtrArray *batch, const char *path)
{
	for (guint i = 0; i < batch->len; i++)
		if (!strcmp(((struct job *)batch->pdata[i])->path, path))
			return true;
	return false;
}

static void run_batch(struct store *store, GPtrArray *batch)
{
	guint before = g_hash_table_size(store->loose) / FEW;

	for (guint i = 0; i < batch->len; i++)
		run_job(store, batch->pdata[i]);
	if (store->group->len)
		commit(store);
	sync_directories(batch);
	if (batch->len)
		post(store, batch);
	g_ptr_array_set_size(batch, 0);
	/* what comes meanwhile waits: for a few at a time, or for all at once */
	if (g_hash_table_size(store->loose) / FEW > before && !may_share(store))
		settle(store);
}

static struct job *take_job(struct store *store)
{
	struct job *job;

	g_mutex_lock(&store->lock);
	job = g_queue_pop_head(&store->jobs);
	g_mutex_unlock(&store->lock);
	return job;
}

/* Waits for the next job, and has files made to last where none comes for a while. */
static struct job *wait_for_job(struct store *store)
{
	bool loose = g_hash_table_size(store->loose) && !store->stuck, quiet = false;
	gint64 end = g_get_monotonic_time() + SETTLE_US;
	struct job *job;

	g_mutex_lock(&store->lock);
	while (!(job = g_queue_pop_head(&store->jobs)) && !quiet) {
		if (loose)
			quiet = !g_cond_wait_until(&store->wake, &store->lock, end);
		else
			g_cond_wait(&store->wake, &store->lock);
	}
	g_mutex_unlock(&store->lock);
	if (!job)
		settle(store);
	return job;
}

static void *store_thread(void *opaque)
{
	struct store *store = opaque;
	GPtrArray *batch = g_ptr_array_new();
	struct job *job = NULL;
	bool end = false;

	while (!end) {
		if (!job)
			job = wait_for_job(store);
		/* a file has one name beside it, so it is once in a batch */
		while (job && job->path && batch->len < BATCH_MAX && !names(batch, job->path)) {
			g_ptr_array_add(batch, job);
			job = take_job(store);
		}
		run_batch(store, batch);
		if (job && !job->path) {
			end = true;
			free_job(job);
		}
	}
	if (g_hash_table_size(store->loose))
		settle(store);
	g_ptr_array_unref(batch);
	return NULL;
}

static void push(struct store *store, struct job job, const char *path)
{
	job.path = g_strdup(path);
	g_mutex_lock(&store->lock);
	g_queue_push_tail(&store->jobs, g_memdup2(&job, sizeof(job)));
	g_mutex_unlock(&store->lock);
	g_cond_signal(&store->wake); /* when it can have the lock at once */
}

void store_write(struct store *store, const char *path, char *text, store_done *done, void *opaque)
{
	push(store, (struct job){ .text = text, .done = done, .opaque = opaque }, path);
}

void store_write_secret(struct store *store, const char *path, char *text, store_done *done,
			void *opaque)
{
	push(store, (struct job){ .text = text, .secret = true, .done = done, .opaque = opaque },
	     path);
}

void store_remove(struct store *store, const char *path, store_done *done, void *opaque)
{
	push(store, (struct job){ .done = done, .opaque = opaque }, path);
}

/* --- the start --- */

static bool make_again(const char *rest, const char *text, void *opaque, GError **error)
{
	struct store *store = opaque;
	g_autofree char *path = g_strconcat(store->prefix, rest, NULL), *there = NULL;

	g_hash_table_add(store->loose, g_strdup(path));
	if (!text)
		return remove_file(path, error);
	if (g_file_get_contents(path, &there, NULL, NULL) && !strcmp(there, text))
		return true;
	return write_beside(path, text, false, error) && put_in_place(path, error);
}

static void make_all_again(struct store *store)
{
	unsigned damaged = 0, count;
	GError *error = NULL;
	bool good = journal_read(store->journal, make_again, store, &damaged, &error);

	count = g_hash_table_size(store->loose);
	if (damaged)
		log_error("store",
			  "%s is damaged: %u groups of changes are lost, unless their "
			  "files are there",
			  journal_path(store->journal), damaged);
	if (!good) {
		get_stuck(store, error);
	} else if (count) {
		log_info("store", "%u files were made as %s says", count,
			 journal_path(store->journal));
		settle(store);
	} else if (journal_is_read_only(store->journal)) { /* as it is empty, it need not be */
		g_clear_pointer(&store->journal, journal_free);
	}
}

/* What is no journal is kept for whoever wants to look at it. */
static void set_aside(const char *directory, const GError *why)
{
	g_autofree char *path = g_build_filename(directory, JOURNAL_NAME, NULL);
	g_autofree char *aside = g_strconcat(path, ".damaged", NULL);

	log_error("store", "%s, and is now %s; the files are taken as they are", why->message,
		  aside);
	if (rename(path, aside))
		log_error("store", "cannot rename %s: %s", path, g_strerror(errno));
}

static bool open_journal(struct store *store, const char *directory, GError **error)
{
	GError *why = NULL;

	store->journal = journal_open(directory, &why);
	if (store->journal)
		return true;
	if (g_error_matches(why, JOURNAL_ERROR, JOURNAL_ERROR_BUSY) ||
	    g_error_matches(why, JOURNAL_ERROR, JOURNAL_ERROR_VERSION)) {
		g_propagate_error(error, why);
		return false;
	}
	if (g_error_matches(why, JOURNAL_ERROR, JOURNAL_ERROR_FOREIGN))
		set_aside(directory, why);
	else if (why)
		get_stuck(store, g_error_copy(why));
	g_clear_error(&why);
	if (store->stuck)
		return true;
	store->journal = journal_create(directory, &why);
	if (!store->journal)
		log_warning("store", "%s; changes are kept without it", why->message);
	g_clear_error(&why);
	return true;
}

struct store *store_new(const char *directory, GError **error)
{
	struct store *store = g_new0(struct store, 1);

	store->prefix = g_strconcat(directory, "/", NULL);
	store->loose = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	store->group = g_ptr_array_new();
	if (!open_journal(store, directory, error)) {
		store_free(store);
		return NULL;
	}
	if (store->journal)
		make_all_again(store);
	g_mutex_init(&store->lock);
	g_cond_init(&store->wake);
	g_queue_init(&store->jobs);
	g_queue_init(&store->done);
	listen(store);
	store->thread = g_thread_new("store", store_thread, store);
	return store;
}

void store_free(struct store *store)
{
	if (!store)
		return;
	if (store->thread) {
		push(store, (struct job){ 0 }, NULL);
		g_thread_join(store->thread);
		g_source_destroy(store->answers);
		g_source_unref(store->answers);
		close(store->done_fd);
		g_queue_clear_full(&store->done, (GDestroyNotify)free_job);
		g_mutex_clear(&store->lock);
		g_cond_clear(&store->wake);
	}
	journal_free(store->journal);
	g_hash_table_unref(store->loose);
	g_ptr_array_unref(store->group);
	g_clear_error(&store->stuck);
	g_free(store->prefix);
	g_free(store);
}
