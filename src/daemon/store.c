/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are whole or not there. See store.h. */
#include "daemon/store.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BATCH_MAX  256
#define UNFINISHED ".new"

struct job {
	char *path;
	char *text; /* NULL: remove */
	store_done *done;
	void *opaque;
	GError *error;
	struct store *store;
};

struct store {
	GThread *thread;
	GAsyncQueue *jobs; /* struct job; one without a path ends the thread */
	GMainContext *context;
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

/* Puts a complete file in its place; the directory does not know it for sure yet. */
static bool replace(const char *path, const char *text, GError **error)
{
	g_autofree char *temporary = g_strconcat(path, UNFINISHED, NULL);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool good;

	if (fd < 0)
		return fail(error, "create", temporary);
	good = write_all(fd, text, strlen(text)) && !fsync(fd);
	if (!good)
		fail(error, "write", temporary);
	if (close(fd) && good)
		good = fail(error, "write", temporary);
	if (good && rename(temporary, path))
		good = fail(error, "rename a file to", path);
	if (!good)
		unlink(temporary);
	return good;
}

static bool sync_directory(const char *directory, GError **error)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && !fsync(fd);

	if (!good)
		fail(error, "write", directory);
	if (fd >= 0)
		close(fd);
	return good;
}

bool store_write_now(const char *path, const char *text, GError **error)
{
	g_autofree char *directory = g_path_get_dirname(path);

	return replace(path, text, error) && sync_directory(directory, error);
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

/* --- the thread --- */

static void run_job(struct job *job)
{
	log_debug("store", "%s %s", job->text ? "write" : "remove", job->path);
	if (job->text)
		replace(job->path, job->text, &job->error);
	else if (unlink(job->path) && errno != ENOENT)
		fail(&job->error, "remove", job->path);
}

static void free_job(struct job *job)
{
	g_clear_error(&job->error);
	g_free(job->path);
	g_free(job->text);
	g_free(job);
}

static gboolean answer(gpointer opaque)
{
	struct job *job = opaque;

	if (job->done)
		job->done(job->error, job->opaque);
	free_job(job);
	return G_SOURCE_REMOVE;
}

/* Has the answer given on the store's context, and on no other thread: not even while nothing runs
 * there yet. */
static void post(struct store *store, struct job *job)
{
	GSource *source = g_idle_source_new();

	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, answer, job, NULL);
	g_source_attach(source, store->context);
	g_source_unref(source);
}

/* A directory that cannot be written keeps none of its files. */
static void sync_directories(GPtrArray *batch)
{
	GHashTable *results = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (guint i = 0; i < batch->len; i++) {
		struct job *job = batch->pdata[i];
		char *directory = g_path_get_dirname(job->path);
		gpointer known;

		if (job->error) {
			g_free(directory);
		} else if (g_hash_table_lookup_extended(results, directory, NULL, &known)) {
			if (known)
				job->error = g_error_copy(known);
			g_free(directory);
		} else {
			sync_directory(directory, &job->error);
			g_hash_table_insert(results, directory, job->error);
		}
	}
	g_hash_table_unref(results);
}

static void *store_thread(void *opaque)
{
	struct store *store = opaque;
	GPtrArray *batch = g_ptr_array_new();
	bool end = false;

	while (!end) {
		struct job *job = g_async_queue_pop(store->jobs);

		g_ptr_array_set_size(batch, 0);
		while (job) {
			if (!job->path) {
				end = true;
				free_job(job);
				break;
			}
			run_job(job);
			g_ptr_array_add(batch, job);
			job = batch->len < BATCH_MAX ? g_async_queue_try_pop(store->jobs) : NULL;
		}
		sync_directories(batch);
		for (guint i = 0; i < batch->len; i++)
			post(store, batch->pdata[i]);
	}
	g_ptr_array_unref(batch);
	return NULL;
}

static void push(struct store *store, const char *path, char *text, store_done *done, void *opaque)
{
	struct job *job = g_new0(struct job, 1);

	job->path = g_strdup(path);
	job->text = text;
	job->done = done;
	job->opaque = opaque;
	g_async_queue_push(store->jobs, job);
}

void store_write(struct store *store, const char *path, char *text, store_done *done, void *opaque)
{
	push(store, path, text, done, opaque);
}

void store_remove(struct store *store, const char *path, store_done *done, void *opaque)
{
	push(store, path, NULL, done, opaque);
}

struct store *store_new(void)
{
	struct store *store = g_new0(struct store, 1);

	store->context = g_main_context_ref_thread_default();
	store->jobs = g_async_queue_new();
	store->thread = g_thread_new("store", store_thread, store);
	return store;
}

void store_free(struct store *store)
{
	if (!store)
		return;
	push(store, NULL, NULL, NULL, NULL);
	g_thread_join(store->thread);
	g_async_queue_unref(store->jobs);
	g_main_context_unref(store->context);
	g_free(store);
}
