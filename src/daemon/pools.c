/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Storage pools. See pools.h. */
#include "daemon/pools.h"

#include "base/log.h"
#include "daemon/mount.h"
#include "daemon/store.h"
#include "domain/xml.h"
#include "rpc_constants.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS         8
#define JOBS_MAX        1024 /* of one pool, that wait */
#define STARTUP_SECONDS 5    /* that lodged's start waits for disks */

struct pool {
	struct storage_scan scan;
	GQueue waiting; /* struct pool_job */
	bool running;   /* one of its jobs is on a thread */
};

static void free_scan(struct storage_scan *scan)
{
	if (scan->volumes)
		g_ptr_array_unref(scan->volumes);
	*scan = (struct storage_scan){ 0 };
}

static void free_pool(void *opaque)
{
	struct pool *pool = opaque;

	free_scan(&pool->scan);
	g_free(pool);
}

static struct pool *pool_of(struct kept *kept)
{
	if (!kept->data) {
		struct pool *pool = g_new0(struct pool, 1);

		g_queue_init(&pool->waiting);
		kept->data = pool;
	}
	return kept->data;
}

/* --- definitions --- */

static const char *target_of(const xmlDoc *doc)
{
	return xml_text(xml_find(xmlDocGetRootElement(doc), "target/path"));
}

const char *pool_target(const struct kept *kept)
{
	return target_of(kept->doc);
}

char *pool_canonical_path(const char *given)
{
	while (given[0] == '/' && given[1] == '/') /* which POSIX lets mean something else */
		given++;
	return g_canonicalize_filename(given, "/");
}

static bool is_below(const char *path, const char *folder)
{
	size_t length = strlen(folder);

	return !strncmp(path, folder, length) && (!path[length] || path[length] == '/');
}

/* Volumes are made and removed there: never among what the host or lodged itself lives on. */
static bool check_folder(const struct places *places, const char *path, GError **error)
{
	const char *const never[] = { "/dev",      "/proc",     "/sys",       places->state,
				      places->run, places->log, places->cache };
	g_autofree char *images = g_build_filename(places->state, "images", NULL);

	for (size_t i = 0; i < ARRAY_LEN(never); i++) {
		if (!is_below(path, never[i]) || is_below(path, images))
			continue;
		g_set_error(error, DAEMON_ERROR, VIR_ERR_CONFIG_UNSUPPORTED,
			    "%s cannot be a pool: %s is no place for volumes; use another folder",
			    path, never[i]);
		return false;
	}
	return true;
}

bool pool_is_of(const struct kept *kept, const char *type)
{
	return xml_attr_is(xmlDocGetRootElement(kept->doc), "type", type);
}

/* One word for mount(8), that it takes for no option. */
static bool is_word(const char *text)
{
	for (const char *p = text; p && *p; p++)
		if (g_ascii_isspace(*p) || g_ascii_iscntrl(*p))
			return false;
	return text && *text && *text != '-';
}

static bool check_format(const xmlNode *root, const char *const *known, GError **error)
{
	const char *format = xml_attr(xml_find(root, "source/format"), "type");

	if (!format || g_strv_contains(known, format))
		return true;
	g_set_error(error, DAEMON_ERROR, VIR_ERR_CONFIG_UNSUPPORTED,
		    "the <format> of the pool's <source>, '%s', is none that is mounted", format);
	return false;
}

static bool check_type(const xmlNode *root, GError **error)
{
	static const char *const disk[] = { "auto",  "ext2", "ext3",    "ext4", "xfs",
					    "btrfs", "vfat", "iso9660", "udf",  NULL };
	static const char *const net[] = { "auto", "nfs", "cifs", "glusterfs", NULL };
	const char *device = xml_attr(xml_find(root, "source/device"), "path");
	const char *host = xml_attr(xml_find(root, "source/host"), "name");
	const char *dir = xml_attr(xml_find(root, "source/dir"), "path");

	if (xml_attr_is(root, "type", "dir"))
		return true;
	if (xml_attr_is(root, "type", "fs"))
		return check_format(root, disk, error) &&
		       ((is_word(device) && *device == '/') ||
			daemon_refuse(error, VIR_ERR_XML_ERROR,
				      "a pool of type 'fs' needs the <device path='/dev/...'> of "
				      "its <source>"));
	if (xml_attr_is(root, "type", "netfs"))
		return check_format(root, net, error) &&
		       ((is_word(host) && is_word(dir)) ||
			daemon_refuse(error, VIR_ERR_XML_ERROR,
				      "a pool of type 'netfs' needs the <host name='...'> and the "
				      "<dir path='...'> of its <source>"));
	return daemon_refuse(error, VIR_ERR_CONFIG_UNSUPPORTED,
			     "only storage pools of type 'dir', 'fs' and 'netfs' are in this "
			     "version");
}

static bool complete(const struct keeper *keeper, xmlDoc *doc, GError **error)
{
	static const char *const found[] = { "capacity", "allocation", "available" };
	xmlNode *root = xmlDocGetRootElement(doc), *node;
	const char *given = target_of(doc);
	g_autofree char *path = NULL;

	if (!check_type(root, error))
		return false;
	if (!given || *given != '/')
		return daemon_refuse(error, VIR_ERR_XML_ERROR,
				     "the <path> of the pool's <target> must be absolute");
	if (g_str_has_suffix(given, "/..") || strstr(given, "/../"))
		return daemon_refuse(error, VIR_ERR_XML_ERROR,
				     "the <path> of the pool's <target> must have no '..'");
	path = pool_canonical_path(given);
	if (!check_folder(&keeper->daemon->places, path, error))
		return false;
	xml_set_text(xml_find(root, "target/path"), path);
	for (size_t i = 0; i < ARRAY_LEN(found); i++) /* is told, and not defined */
		while ((node = xml_child(root, found[i])))
			xml_remove(node);
	return true;
}

static bool may_become(const struct kept *kept, const xmlDoc *doc, GError **error)
{
	if (!kept->active || !strcmp(pool_target(kept), target_of(doc)))
		return true;
	g_set_error(error, DAEMON_ERROR, VIR_ERR_OPERATION_INVALID,
		    "Requested operation is not valid: storage pool '%s' is active, and its target "
		    "cannot become another; stop it first",
		    kept->name);
	return false;
}

static const struct kept_kind pool_kind = {
	.object = EVENT_OF_POOL,
	.root = "pool",
	.noun = "storage pool",
	.complete = complete,
	.may_become = may_become,
	.free_data = free_pool,
};

struct kept *pool_conflict(const struct keeper *keeper, const xmlDoc *doc)
{
	const char *uuid = xml_text(xml_child(xmlDocGetRootElement(doc), "uuid"));
	GHashTableIter iter;
	gpointer other;

	g_hash_table_iter_init(&iter, keeper->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &other)) {
		struct kept *kept = other;

		if (strcmp(kept->uuid_text, uuid) && !strcmp(pool_target(kept), target_of(doc)))
			return kept;
	}
	return NULL;
}

/* --- jobs --- */

/* What mount(8) calls it. */
static void name_source(struct pool_job *job)
{
	const xmlNode *root = xmlDocGetRootElement(job->kept->doc);
	const char *format = xml_attr(xml_find(root, "source/format"), "type");
	const char *host = xml_attr(xml_find(root, "source/host"), "name");
	const char *dir = xml_attr(xml_find(root, "source/dir"), "path");
	bool net = pool_is_of(job->kept, "netfs");

	if (pool_is_of(job->kept, "fs"))
		job->source = g_strdup(xml_attr(xml_find(root, "source/device"), "path"));
	else if (net && !g_strcmp0(format, "cifs"))
		job->source = g_strdup_printf("//%s/%s", host, dir + (*dir == '/'));
	else if (net)
		job->source = g_strdup_printf("%s:%s", host, dir);
	if (g_strcmp0(format, "auto"))
		job->format = g_strdup(format);
	if (net && !job->format)
		job->format = g_strdup("nfs");
}

struct pool_job *pool_job_new(struct kept *kept, struct rpc_call *call, const char *name)
{
	struct pool_job *job = g_new0(struct pool_job, 1);

	job->kept = kept_ref(kept);
	job->call = call;
	job->authority = authority_copy(kept->owner);
	job->folder = g_strdup(pool_target(kept));
	job->name = g_strdup(name);
	name_source(job);
	return job;
}

static void free_job(struct pool_job *job)
{
	free_scan(&job->scan);
	volume_free(job->volume);
	g_clear_error(&job->error);
	authority_free(job->authority);
	g_free(job->source);
	g_free(job->format);
	g_free(job->from_folder);
	g_free(job->from_name);
	g_free(job->folder);
	g_free(job->name);
	kept_unref(job->kept);
	g_free(job);
}

static void run_next(struct kept *kept)
{
	struct pool *pool = pool_of(kept);
	struct pool_job *job = pool->running ? NULL : g_queue_pop_head(&pool->waiting);

	if (!job)
		return;
	pool->running = true;
	g_thread_pool_push(kept->keeper->daemon->storage, job, NULL);
}

/* On the main loop again. */
static gboolean come_back(gpointer opaque)
{
	struct pool_job *job = opaque;
	struct kept *kept = kept_ref(job->kept);

	pool_of(kept)->running = false;
	run_next(kept);
	job->finish(job);
	if (!job->held)
		free_job(job);
	kept_unref(kept);
	return G_SOURCE_REMOVE;
}

static void work_as_owner(struct pool_job *job)
{
	const struct launch_options as = { .authority = job->authority };
	struct own_authority own;

	log_debug("storage", "a job in %s%s%s", job->folder, job->name ? " about " : "",
		  job->name ? job->name : "");
	if (authority_take(&as, &own)) {
		job->work(job);
		authority_drop(&own);
	} else {
		g_set_error(&job->error, DAEMON_ERROR, VIR_ERR_SYSTEM_ERROR,
			    "cannot look at %s as user %u, whose storage pool it is: %s",
			    job->folder, job->authority->uid, g_strerror(errno));
	}
}

static void run_on_thread(gpointer opaque, gpointer unused)
{
	struct pool_job *job = opaque;
	GSource *source = g_idle_source_new();

	work_as_owner(job);
	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, come_back, job, NULL);
	g_source_attach(source, NULL);
	g_source_unref(source);
}

void pool_run(struct pool_job *job)
{
	struct kept *kept = job->kept;

	if (pool_of(kept)->waiting.length >= JOBS_MAX) {
		g_set_error(&job->error, DAEMON_ERROR, VIR_ERR_RESOURCE_BUSY,
			    "too much is asked of storage pool '%s' at a time; try again",
			    kept->name);
		job->finish(job);
		free_job(job);
		return;
	}
	g_queue_push_tail(&pool_of(kept)->waiting, job);
	run_next(kept);
}

/* --- active or not --- */

static char *active_path(const struct kept *kept)
{
	g_autofree char *file = g_strconcat(kept->uuid_text, ".xml", NULL);

	return g_build_filename(kept->keeper->daemon->places.pools_active, file, NULL);
}

/* Who else mounts could put a file system of its own making before the kernel. */
static bool may_mount(struct pool_job *job)
{
	return (!job->authority && !geteuid()) ||
	       daemon_refuse(
		       &job->error, VIR_ERR_OPERATION_DENIED,
		       "mounting is for root's lodged and root's storage pools; a pool of type "
		       "'dir' can be where root has mounted %s",
		       job->source);
}

static void look_into(struct pool_job *job)
{
	char *real;

	real = storage_real_path(job->folder, &job->error);
	if (!real)
		return;
	/* where links lead counts, not only what was written */
	if (check_folder(&job->kept->keeper->daemon->places, real, &job->error))
		storage_scan(job_formats(job), job->folder, &job->scan, &job->error);
	free(real);
}

static void work_start(struct pool_job *job)
{
	bool mounted = false;

	if (job->build && !storage_make_folder(job->folder, job->mode, &job->error))
		return;
	if (job->source && (!may_mount(job) || !mount_on(job->source, job->format, job->folder,
							 &mounted, &job->error)))
		return;
	look_into(job);
	if (job->error && mounted)
		mount_off(job->folder, NULL);
}

static void stop_now(struct kept *kept)
{
	kept->active = false;
	free_scan(&pool_of(kept)->scan);
	if (!kept->persistent)
		kept_unlist(kept);
}

static void start_kept(const GError *error, void *opaque)
{
	struct pool_job *job = opaque;

	if (error) {
		job->error = g_error_copy(error);
		if (job->kept->active)
			stop_now(job->kept);
	} else {
		events_kept(job->kept, VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
			    VIR_STORAGE_POOL_EVENT_STARTED);
	}
	job->answer(job);
	free_job(job);
}

/* What was found may have become out of date meanwhile. */
static void check_start(struct pool_job *job)
{
	const struct kept *kept = job->kept;

	if (job->error)
		return;
	if (kept->active)
		g_set_error(&job->error, DAEMON_ERROR, VIR_ERR_OPERATION_INVALID,
			    "Requested operation is not valid: storage pool '%s' is already active",
			    kept->name);
	else if (!kept->listed || strcmp(job->folder, pool_target(kept)))
		g_set_error(&job->error, DAEMON_ERROR, VIR_ERR_OPERATION_INVALID,
			    "Requested operation is not valid: storage pool '%s' was changed while "
			    "it was started",
			    kept->name);
}

static void finish_start(struct pool_job *job)
{
	struct kept *kept = job->kept;
	g_autofree char *path = active_path(kept);

	check_start(job);
	if (job->error) {
		if (!kept->persistent && !kept->active)
			kept_unlist(kept);
		job->answer(job);
		return;
	}
	kept->active = true;
	pool_take_scan(job);
	job->held = true;
	store_write(kept->keeper->daemon->store, path,
		    authority_mark(xml_write(xmlDocGetRootElement(kept->doc)), kept->owner),
		    start_kept, job);
}

void pool_start(struct pool_job *job)
{
	job->work = work_start;
	job->finish = finish_start;
	pool_run(job);
}

static void stop_kept(const GError *error, void *opaque)
{
	struct pool_job *job = opaque;

	events_kept(job->kept, VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, VIR_STORAGE_POOL_EVENT_STOPPED);
	job->error = error ? g_error_copy(error) : NULL;
	job->answer(job);
	free_job(job);
}

static void work_stop(struct pool_job *job)
{
	if (job->source && may_mount(job))
		mount_off(job->folder, &job->error);
}

static void finish_stop(struct pool_job *job)
{
	struct kept *kept = job->kept;
	g_autofree char *path = active_path(kept);

	if (!job->error && !kept->active)
		daemon_refuse(&job->error, VIR_ERR_OPERATION_INVALID,
			      "Requested operation is not valid: storage pool '%s' is not active",
			      kept->name);
	if (job->error) {
		job->answer(job);
		return;
	}
	stop_now(kept);
	job->held = true;
	store_remove(kept->keeper->daemon->store, path, stop_kept, job);
}

void pool_stop(struct pool_job *job)
{
	job->work = work_stop;
	job->finish = finish_stop;
	pool_run(job);
}

/* --- what was found --- */

const struct storage_scan *pool_scan(const struct kept *kept)
{
	const struct pool *pool = kept->data;

	return kept->active && pool ? &pool->scan : NULL;
}

static bool find_index(const struct kept *kept, const char *name, guint *index)
{
	const struct storage_scan *scan = pool_scan(kept);

	for (guint i = 0; scan && i < scan->volumes->len; i++) {
		if (strcmp(((struct volume *)scan->volumes->pdata[i])->name, name))
			continue;
		*index = i;
		return true;
	}
	return false;
}

struct volume *pool_find_volume(const struct kept *kept, const char *name)
{
	guint index;

	return find_index(kept, name, &index) ? pool_scan(kept)->volumes->pdata[index] : NULL;
}

void pool_take_scan(struct pool_job *job)
{
	struct pool *pool = pool_of(job->kept);

	if (!job->kept->active)
		return;
	free_scan(&pool->scan);
	pool->scan = job->scan;
	job->scan.volumes = NULL;
}

void pool_forget_volume(struct kept *kept, const char *name)
{
	guint index;

	if (find_index(kept, name, &index))
		g_ptr_array_remove_index(pool_of(kept)->scan.volumes, index);
}

void pool_take_volume(struct pool_job *job)
{
	struct storage_scan *scan = &pool_of(job->kept)->scan;
	guint at = 0;

	if (!job->kept->active)
		return;
	pool_forget_volume(job->kept, job->volume->name);
	while (at < scan->volumes->len &&
	       strcmp(((struct volume *)scan->volumes->pdata[at])->name, job->volume->name) < 0)
		at++;
	g_ptr_array_insert(scan->volumes, at, g_steal_pointer(&job->volume));
}

struct kept *pool_of_path(const struct keeper *keeper, const char *path, const char **name)
{
	g_autofree char *folder = g_path_get_dirname(path);
	const char *slash = strrchr(path, '/');
	GHashTableIter iter;
	gpointer kept;

	if (!slash)
		return NULL;
	*name = slash + 1;
	g_hash_table_iter_init(&iter, keeper->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &kept))
		if (!strcmp(pool_target(kept), folder) && pool_find_volume(kept, *name))
			return kept;
	return NULL;
}

/* --- lodged starts and ends --- */

struct startup {
	GMainLoop *loop;
	unsigned left; /* pools that are being started, and the one who waits */
};

static void leave(struct startup *startup)
{
	if (--startup->left == 1)
		g_main_loop_quit(startup->loop);
	if (startup->left)
		return;
	g_main_loop_unref(startup->loop);
	g_free(startup);
}

static void answer_startup(struct pool_job *job)
{
	if (job->error)
		log_error("lodged", "storage pool %s does not start: %s", job->kept->name,
			  job->error->message);
	leave(job->startup);
}

static void start_again(struct kept *kept, struct startup *startup)
{
	struct pool_job *job = pool_job_new(kept, NULL, NULL);

	startup->left++;
	job->startup = startup;
	job->answer = answer_startup;
	pool_start(job);
}

/* The pool that was active by that file: a known one, or one that was created without being kept.
 */
static struct kept *was_active(struct keeper *keeper, const char *path)
{
	g_autofree char *text = NULL;
	struct launch_authority *owner = NULL;
	GError *error = NULL;
	struct kept *kept = NULL;
	xmlDoc *doc = NULL;
	gsize length;

	if (g_file_get_contents(path, &text, &length, &error)) {
		if (authority_unmark(text, &length, &owner))
			doc = kept_read(keeper, text, &error);
		else
			daemon_refuse(&error, 0, "it does not say in whose name it is");
	}
	if (doc)
		kept = kept_find_or_make(keeper, doc, &error);
	if (!kept) {
		log_error("lodged", "the record of an active pool, %s, is left alone: %s", path,
			  error->message);
		g_error_free(error);
		authority_free(owner);
		return NULL;
	}
	if (kept->doc != doc)
		xmlFreeDoc(doc);
	if (kept->listed)
		authority_free(owner);
	else
		kept->owner = owner;
	kept_list(kept);
	return kept;
}

static void start_all(struct keeper *keeper, struct startup *startup)
{
	const char *directory = keeper->daemon->places.pools_active, *name;
	GHashTable *done = g_hash_table_new(NULL, NULL);
	GDir *dir = g_dir_open(directory, 0, NULL);
	GPtrArray *all;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(directory, name, NULL);
		struct kept *kept =
			g_str_has_suffix(name, ".xml") ? was_active(keeper, path) : NULL;

		if (!kept)
			continue;
		if (g_hash_table_add(done, kept))
			start_again(kept, startup);
		kept_unref(kept);
	}
	if (dir)
		g_dir_close(dir);
	all = keeper_all(keeper);
	for (guint i = 0; i < all->len; i++) {
		struct kept *kept = all->pdata[i];

		if (kept->autostart && !g_hash_table_contains(done, kept))
			start_again(kept, startup);
	}
	g_ptr_array_unref(all);
	g_hash_table_unref(done);
}

static gboolean is_late(gpointer opaque)
{
	g_main_loop_quit(opaque);
	return G_SOURCE_CONTINUE;
}

struct keeper *pools_open(struct daemon *daemon)
{
	struct keeper *keeper = keeper_new(daemon, &pool_kind, daemon->places.pools);
	struct startup *startup = g_new0(struct startup, 1);
	guint timeout;

	daemon->storage = g_thread_pool_new(run_on_thread, NULL, THREADS, FALSE, NULL);
	keeper_load(keeper);
	startup->loop = g_main_loop_new(NULL, FALSE);
	startup->left = 1;
	start_all(keeper, startup);
	if (startup->left > 1) {
		timeout = g_timeout_add_seconds(STARTUP_SECONDS, is_late, startup->loop);
		g_main_loop_run(startup->loop);
		g_source_remove(timeout);
	}
	leave(startup);
	return keeper;
}

void pools_close(struct keeper *keeper)
{
	if (!keeper)
		return;
	g_thread_pool_free(keeper->daemon->storage, FALSE, TRUE);
	keeper_free(keeper);
}
