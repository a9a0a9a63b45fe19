/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Holding guests to their limits. See restraint.h. */
#include "daemon/restraint.h"

#include "base/log_sink.h"
#include "daemon/activation.h"
#include "daemon/books.h"
#include "daemon/cgroup.h"
#include "daemon/scope.h"
#include "rpc_constants.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define PREFIX     "lodge-" /* of guests' groups in the folder of --cgroup */
#define IN_SCOPE   "guest"  /* the group in a guest's scope */
#define LOOKS      200      /* for systemd to have made the scope */
#define LOOK_US    25000
#define REMOVALS   20 /* tries, as the last process may just be ending */
#define REMOVAL_US 10000

enum task { TASK_ENTER, TASK_LIMIT, TASK_LEAVE };

struct restraint {
	char *folder; /* NULL: there are scopes, or nothing */
	bool scopes;
	bool none_came; /* of systemd: the thread's own, which then waits for none any more */
	GThreadPool *thread;
};

/* One piece of work for the thread. */
struct job {
	enum task task;
	struct restraint *restraint;
	struct guest *guest; /* referenced; only the main loop looks into it */
	int id;              /* of the start that it is about */
	char *group;         /* NULL: it is in the process' scope */
	pid_t pid, *pids;
	unsigned count, vcpus;
	struct domain_limits *limits;
	guest_done *done;
	void *opaque;
	GError *error;
};

/* --- the thread --- */

static bool is_there(pid_t pid)
{
	return pid > 0 && (!kill(pid, 0) || errno != ESRCH);
}

/* systemd moves the process when it comes to it. */
static char *find_in_scope(pid_t pid, unsigned looks)
{
	for (unsigned i = 0; i < looks && is_there(pid); i++) {
		g_autofree char *group = cgroup_of(pid);
		char *end = group ? strstr(group, ".scope") : NULL;

		if (end && strstr(group, "/" PREFIX)) {
			end[strlen(".scope")] = '\0';
			return g_build_filename(group, IN_SCOPE, NULL);
		}
		g_usleep(LOOK_US);
	}
	return NULL;
}

/* All that is in the scope moves, as a group with processes passes no controllers on. */
static void enter_scope(struct job *job)
{
	g_autofree char *scope = NULL;

	job->group = find_in_scope(job->pid, job->restraint->none_came ? 1 : LOOKS);
	job->restraint->none_came = !job->group && is_there(job->pid);
	if (!job->group)
		return;
	scope = g_path_get_dirname(job->group);
	g_free(job->pids);
	job->pids = cgroup_processes(scope, &job->count);
}

static bool limit(struct job *job)
{
	g_autofree pid_t *threads = g_new0(pid_t, job->vcpus + 1);

	books_find_vcpus(job->pid, threads, job->vcpus);
	return cgroup_limit(job->group, job->limits, &job->error) &&
	       cgroup_limit_threads(job->group, job->limits, threads, job->vcpus, &job->error);
}

static void remove_group(const char *group)
{
	for (unsigned i = 0; i < REMOVALS && g_file_test(group, G_FILE_TEST_EXISTS); i++) {
		if (i)
			g_usleep(REMOVAL_US);
		cgroup_remove(group);
	}
}

static gboolean finish_job(gpointer opaque);

static void work(gpointer data, gpointer nothing)
{
	struct job *job = data;

	if (!job->group && job->task != TASK_LEAVE)
		enter_scope(job);
	if (job->task == TASK_LEAVE)
		remove_group(job->group);
	else if (!job->group)
		daemon_refuse(&job->error, VIR_ERR_OPERATION_FAILED,
			      "systemd has made no scope for its processes");
	else if (cgroup_enter(job->group, job->pids, job->count, &job->error))
		limit(job);
	g_idle_add_full(G_PRIORITY_DEFAULT, finish_job, job, NULL);
}

/* --- the main loop --- */

static void free_job(struct job *job)
{
	domain_limits_free(job->limits);
	guest_unref(job->guest);
	g_clear_error(&job->error);
	g_free(job->group);
	g_free(job->pids);
	g_free(job);
}

static void set_trouble(struct guest *guest, const char *why)
{
	g_free(guest->unrestrained);
	guest->unrestrained = g_strdup(why);
	if (why && domain_has_limits(guest->live))
		log_about(LOG_WARNING, "lodged", guest->name,
			  "guest %s is not held to its limits: %s", guest->name, why);
}

static gboolean finish_job(gpointer opaque)
{
	struct job *job = opaque;
	struct guest *guest = job->guest;
	bool same = guest_is_active(guest) && guest->id == job->id;

	if (same && job->task != TASK_LEAVE && !job->done)
		set_trouble(guest, job->error ? job->error->message : NULL);
	if (same && !guest->cgroup)
		guest->cgroup = g_strdup(job->group);
	if (job->done) {
		if (!same && !job->error)
			daemon_refuse(&job->error, VIR_ERR_OPERATION_FAILED,
				      "domain '%s' has ended meanwhile", guest->name);
		job->done(guest, job->error, job->opaque);
	}
	free_job(job);
	return G_SOURCE_REMOVE;
}

static struct job *new_job(struct guest *guest, enum task task, const struct domain *domain)
{
	struct restraint *restraint = guest->daemon->restraint;
	struct job *job = g_new0(struct job, 1);
	g_autofree char *name = g_strconcat(PREFIX, guest->uuid_text, NULL);

	job->task = task;
	job->restraint = restraint;
	job->guest = guest_ref(guest);
	job->id = guest->id;
	job->pid = guest->driver->process(guest);
	job->vcpus = domain ? domain->vcpus : 0;
	job->limits = domain ? domain_limits_copy(&domain->limits) : NULL;
	job->group = guest->cgroup       ? g_strdup(guest->cgroup)
		     : restraint->folder ? g_build_filename(restraint->folder, name, NULL)
					 : NULL;
	return job;
}

static void push(struct job *job)
{
	g_thread_pool_push(job->guest->daemon->restraint->thread, job, NULL);
}

static bool has_groups(const struct daemon *daemon)
{
	return daemon->restraint->scopes || daemon->restraint->folder;
}

void restraint_enter(struct guest *guest, const pid_t *pids, unsigned count)
{
	struct job *job;

	/* a scope is waited for when the guest runs */
	if (!guest->daemon->restraint->folder)
		return;
	job = new_job(guest, TASK_ENTER, guest->live);
	job->pids = g_memdup2(pids, count * sizeof(*pids));
	job->count = count;
	push(job);
}

static void weigh(const struct guest *guest, const struct domain *domain)
{
	const s64 *amounts = domain->limits.amounts;

	if (guest->daemon->restraint->scopes &&
	    (amounts[LIMIT_CPU_SHARES] || amounts[LIMIT_IO_WEIGHT]))
		scope_weigh(guest, amounts[LIMIT_CPU_SHARES], amounts[LIMIT_IO_WEIGHT]);
}

void restraint_started(struct guest *guest)
{
	struct job *job;

	if (!has_groups(guest->daemon)) {
		set_trouble(guest, "this lodged has no cgroups for its guests; run it as a service "
				   "of systemd, or with --cgroup FOLDER");
		return;
	}
	weigh(guest, guest->live);
	job = new_job(guest, TASK_LIMIT, guest->live);
	job->pids = g_memdup2(&job->pid, sizeof(job->pid));
	job->count = 1;
	push(job);
}

void restraint_leave(struct guest *guest)
{
	struct job *job;

	g_clear_pointer(&guest->cgroup, g_free);
	g_clear_pointer(&guest->unrestrained, g_free);
	if (!guest->daemon->restraint->folder) /* systemd's scope goes by itself */
		return;
	job = new_job(guest, TASK_LEAVE, NULL);
	push(job);
}

bool restraint_check(const struct guest *guest, GError **error)
{
	return !guest->unrestrained ||
	       daemon_refuse(error, VIR_ERR_OPERATION_INVALID,
			     "Requested operation is not valid: domain '%s' runs without limits: "
			     "%s; --config changes those of its next start",
			     guest->name, guest->unrestrained);
}

void restraint_apply(struct guest *guest, const struct domain *domain, guest_done *done,
		     void *opaque)
{
	struct job *job = new_job(guest, TASK_LIMIT, domain);

	job->done = done;
	job->opaque = opaque;
	weigh(guest, domain);
	push(job);
}

/* --- beginning and end --- */

/* What guests that have ended while no lodged was there have left. */
static void sweep(const char *folder)
{
	GDir *dir = g_dir_open(folder, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *group = g_build_filename(folder, name, NULL);

		if (g_str_has_prefix(name, PREFIX))
			cgroup_remove(group);
	}
	if (dir)
		g_dir_close(dir);
}

bool restraint_open(struct daemon *daemon, const char *folder, GError **error)
{
	struct restraint *restraint = g_new0(struct restraint, 1);

	daemon->restraint = restraint;
	if (folder && !cgroup_open_parent(folder, error))
		return false;
	if (folder)
		sweep(folder);
	restraint->folder = g_strdup(folder);
	restraint->scopes = !folder && activation_is_service(daemon->activation);
	restraint->thread = g_thread_pool_new(work, NULL, 1, FALSE, NULL);
	return true;
}

void restraint_close(struct daemon *daemon)
{
	struct restraint *restraint = daemon->restraint;

	if (!restraint)
		return;
	if (restraint->thread)
		g_thread_pool_free(restraint->thread, FALSE, TRUE);
	g_free(restraint->folder);
	g_free(restraint);
}
