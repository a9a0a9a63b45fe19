/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests run by lodge-vmm.
 *
 *   thread:   launch_prepare --> record on disk --> launch_start
 *                                                       |
 *   main loop: pidfd --------- monitor ready? --> query-status --> guest_started()
 *                 '--> exit status, last SHUTDOWN event --> guest_ended() or guest_start_failed()
 *
 * The record is there before the process: whatever kills lodged, the next one finds every guest
 * that runs. A guest that was taken over is no child of ours, so that its exit status is not to be
 * had, and what its monitor said last tells how it ended.
 */
#include "daemon/driver.h"

#include "base/log_sink.h"
#include "base/number_set.h"
#include "base/statistics.h"
#include "daemon/books.h"
#include "daemon/files.h"
#include "daemon/guest.h"
#include "daemon/monitor.h"
#include "daemon/pools.h"
#include "daemon/restraint.h"
#include "daemon/scope.h"
#include "daemon/store.h"
#include "domain/xml.h"
#include "launch/launch.h"
#include "rpc_constants.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS          4
#define READY_SECONDS    60   /* from its process to its monitor's answer */
#define ASK_MS           5    /* between two questions whether it runs */
#define KILL_MS          3000 /* from the request to end to SIGKILL */
#define GRACEFUL_SECONDS 10
#define HELPER_SECONDS   5
#define MESSAGES_MAX     4096
#define PROCESSES_MAX    64 /* of a guest, that are moved into its scope */

/* docs/plan.md */
enum { VMM_POWEROFF = 0, VMM_REBOOT = 3, VMM_CRASH = 4, VMM_QUIT = 5 };

/* A guest's process, from the wish to have it to its end. */
struct run {
	struct guest *guest;   /* referenced */
	struct launch *launch; /* NULL: it was taken over */
	char *record;
	pid_t pid; /* 0: there is none yet */
	int pidfd;
	guint pid_source, messages_source, deadline, helpers, asking;
	guint balloon_source;   /* it is looked what the balloon has come to */
	unsigned balloon_looks; /* that are left */
	u64 balloon_kib;        /* what it is to leave */
	struct monitor *monitor;
	GString *messages;     /* the end of what it said on standard error */
	char *shutdown_reason; /* of its last SHUTDOWN event */
	int pause_reason;      /* what the STOP event that comes next means */
	bool paused;           /* it is to start so */
	bool started;          /* guest_started() was called */
	bool stop_wanted;
	int statistics_fd;                  /* what it publishes; negative: nothing */
	struct launch_authority *authority; /* as whom its files were opened */
	pid_t *vcpus;                       /* threads; 0 as long as one is not known */
	unsigned vcpu_count;
};

/* --- the end --- */

static void clear_deadline(struct run *run)
{
	if (run->deadline)
		g_source_remove(run->deadline);
	run->deadline = 0;
}

static void free_run(struct run *run)
{
	clear_deadline(run);
	if (run->helpers)
		g_source_remove(run->helpers);
	if (run->asking)
		g_source_remove(run->asking);
	if (run->balloon_source)
		g_source_remove(run->balloon_source);
	if (run->pid_source)
		g_source_remove(run->pid_source);
	if (run->messages_source)
		g_source_remove(run->messages_source);
	monitor_free(run->monitor);
	if (run->pidfd >= 0)
		close(run->pidfd);
	if (run->statistics_fd >= 0)
		close(run->statistics_fd);
	g_free(run->vcpus);
	authority_free(run->authority);
	if (run->guest->run == run)
		run->guest->run = NULL;
	guest_unref(run->guest);
	g_string_free(run->messages, TRUE);
	g_free(run->shutdown_reason);
	g_free(run->record);
	g_free(run);
}

static enum guest_ending ending_by_status(const struct run *run, int wait_status)
{
	if (WIFSIGNALED(wait_status))
		return run->stop_wanted ? ENDED_DESTROYED : ENDED_FAILED;
	switch (WEXITSTATUS(wait_status)) {
	case VMM_POWEROFF:
	case VMM_REBOOT: return ENDED_SHUTDOWN;
	case VMM_CRASH: return ENDED_CRASHED;
	case VMM_QUIT: return ENDED_DESTROYED;
	default: return run->stop_wanted ? ENDED_DESTROYED : ENDED_FAILED;
	}
}

static enum guest_ending ending_by_word(const struct run *run)
{
	const char *reason = run->shutdown_reason;

	if (run->stop_wanted || !g_strcmp0(reason, "host-qmp-quit"))
		return ENDED_DESTROYED;
	if (!reason || !strcmp(reason, "host-error"))
		return ENDED_FAILED;
	return !strcmp(reason, "guest-panic") ? ENDED_CRASHED : ENDED_SHUTDOWN;
}

/* Why it never ran: what it said, or how it ended. */
static void say_start_failed(struct run *run, int wait_status)
{
	g_autofree char *said = g_strstrip(g_strdup(run->messages->str));
	GError *error;

	if (run->stop_wanted && !*said)
		error = g_error_new(DAEMON_ERROR, VIR_ERR_OPERATION_ABORTED,
				    "the start of domain '%s' was ended", run->guest->name);
	else if (*said)
		error = g_error_new(DAEMON_ERROR, VIR_ERR_INTERNAL_ERROR, "%s", said);
	else
		error = g_error_new(DAEMON_ERROR, VIR_ERR_INTERNAL_ERROR,
				    "the process of domain '%s' ended at once, with %s %d",
				    run->guest->name,
				    WIFSIGNALED(wait_status) ? "signal" : "status",
				    WIFSIGNALED(wait_status) ? WTERMSIG(wait_status)
							     : WEXITSTATUS(wait_status));
	guest_start_failed(run->guest, error);
	g_error_free(error);
}

static void read_messages(struct run *run);

static gboolean on_process_end(gint fd, GIOCondition condition, gpointer opaque)
{
	struct run *run = opaque;
	struct guest *guest = guest_ref(run->guest);
	int wait_status = 0;

	run->pid_source = 0;
	if (run->monitor)
		monitor_drain(run->monitor);
	if (run->launch) {
		waitpid(run->pid, &wait_status, 0);
		read_messages(run);
		launch_ended(run->launch, wait_status);
		launch_free(run->launch);
	} else {
		launch_sweep(guest->daemon->places.guests, guest->name);
	}
	store_remove(guest->daemon->store, run->record, NULL, NULL);
	guest->run = NULL;
	if (!run->started)
		say_start_failed(run, wait_status);
	else
		guest_ended(guest,
			    run->launch ? ending_by_status(run, wait_status) : ending_by_word(run));
	run->launch = NULL;
	free_run(run);
	guest_unref(guest);
	return G_SOURCE_REMOVE;
}

static void signal_process(const struct run *run, int number)
{
	if (run->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, run->pidfd, number, NULL, 0);
}

static gboolean on_kill(gpointer opaque)
{
	struct run *run = opaque;

	run->deadline = 0;
	log_about(LOG_WARNING, "lodged", run->guest->name, "guest %s does not end, and is killed",
		  run->guest->name);
	signal_process(run, SIGKILL);
	return G_SOURCE_REMOVE;
}

static gboolean on_patience_end(gpointer opaque)
{
	struct run *run = opaque;
	GError *error = g_error_new(DAEMON_ERROR, VIR_ERR_OPERATION_TIMEOUT,
				    "domain '%s' does not end by itself; without --graceful it is "
				    "killed",
				    run->guest->name);

	run->deadline = 0;
	run->stop_wanted = false;
	guest_stop_failed(run->guest, error);
	g_error_free(error);
	return G_SOURCE_REMOVE;
}

/* lodge-vmm takes the first of both as the power button and the second as its end. */
static void end_process(struct run *run, bool graceful)
{
	signal_process(run, SIGTERM);
	signal_process(run, SIGINT);
	clear_deadline(run);
	run->deadline = graceful ? g_timeout_add_seconds(GRACEFUL_SECONDS, on_patience_end, run)
				 : g_timeout_add(KILL_MS, on_kill, run);
}

static void stop(struct guest *guest, bool graceful)
{
	struct run *run = guest->run;

	run->stop_wanted = true;
	if (run->pid)
		end_process(run, graceful);
}

/* --- the monitor --- */

static bool has_monitor(const struct guest *guest, GError **error)
{
	const struct run *run = guest->run;

	if (run->monitor)
		return true;
	g_set_error(error, DAEMON_ERROR, VIR_ERR_OPERATION_FAILED,
		    "domain '%s' cannot be told anything: its monitor is gone", guest->name);
	return false;
}

static bool status_is(json_t *value, const char *status)
{
	return !g_strcmp0(json_string_value(json_object_get(value, "status")), status);
}

static int reason_of(json_t *value)
{
	return status_is(value, "io-error")         ? VIR_DOMAIN_PAUSED_IOERROR
	       : status_is(value, "watchdog")       ? VIR_DOMAIN_PAUSED_WATCHDOG
	       : status_is(value, "guest-panicked") ? VIR_DOMAIN_PAUSED_CRASHED
						    : VIR_DOMAIN_PAUSED_USER;
}

static void on_status(json_t *value, const GError *error, void *opaque);

static gboolean ask_again(gpointer opaque)
{
	struct run *run = opaque;

	run->asking = 0;
	if (run->monitor)
		monitor_execute(run->monitor, "query-status", on_status, run);
	return G_SOURCE_REMOVE;
}

static void on_status(json_t *value, const GError *error, void *opaque)
{
	struct run *run = opaque;
	bool paused = value && !json_is_true(json_object_get(value, "running"));

	if (error || run->stop_wanted)
		return;     /* its end, or the deadline, says what is to be said */
	if (run->started) { /* taken over */
		if (paused)
			guest_paused(run->guest, reason_of(value));
		return;
	}
	if (status_is(value, "prelaunch") || (status_is(value, "paused") && !run->paused)) {
		run->asking = g_timeout_add(ASK_MS, ask_again, run); /* its machine is being made */
		return;
	}
	clear_deadline(run);
	run->started = true;
	guest_started(run->guest, run->paused);
}

static void on_ready(void *opaque)
{
	struct run *run = opaque;

	monitor_execute(run->monitor, "query-status", on_status, run);
}

static void on_shutdown(struct run *run, json_t *data)
{
	const char *reason = json_string_value(json_object_get(data, "reason"));

	g_free(run->shutdown_reason);
	run->shutdown_reason = g_strdup(reason);
	if (run->started && !run->stop_wanted)
		guest_shutting_down(run->guest, json_is_true(json_object_get(data, "guest")));
}

static void on_event(const char *name, json_t *data, void *opaque)
{
	struct run *run = opaque;

	events_monitor(run->guest, name, data);
	if (!strcmp(name, "SHUTDOWN")) {
		on_shutdown(run, data);
	} else if (!run->started) {
		return; /* query-status has the rest */
	} else if (!strcmp(name, "STOP")) {
		guest_paused(run->guest, run->pause_reason);
		run->pause_reason = VIR_DOMAIN_PAUSED_USER;
	} else if (!strcmp(name, "RESUME")) {
		guest_resumed(run->guest);
	} else if (!strcmp(name, "RESET")) {
		guest_rebooted(run->guest);
	} else if (!strcmp(name, "BLOCK_IO_ERROR")) {
		run->pause_reason = VIR_DOMAIN_PAUSED_IOERROR;
		guest_disk_failed(run->guest, json_string_value(json_object_get(data, "device")),
				  json_is_true(json_object_get(data, "nospace")));
	} else if (!strcmp(name, "WATCHDOG")) {
		run->pause_reason = VIR_DOMAIN_PAUSED_WATCHDOG;
		guest_watchdog(run->guest, json_string_value(json_object_get(data, "action")));
	} else if (!strcmp(name, "GUEST_PANICKED")) {
		run->pause_reason = VIR_DOMAIN_PAUSED_CRASHED;
		guest_crashed(run->guest);
	}
}

static void on_closed(void *opaque)
{
	struct run *run = opaque;

	g_clear_pointer(&run->monitor, monitor_free);
}

static const struct monitor_callbacks monitor_callbacks = { on_ready, on_event, on_closed };

struct asked {
	struct guest *guest;
	void (*after)(struct guest *guest); /* when it is done; or NULL */
	guest_done *done;
	void *opaque;
};

static void on_answer(json_t *value, const GError *error, void *opaque)
{
	struct asked *asked = opaque;
	GError *ours = NULL;

	if (error)
		ours = g_error_new(DAEMON_ERROR, VIR_ERR_OPERATION_FAILED, "domain '%s': %s",
				   asked->guest->name, error->message);
	else if (asked->after)
		asked->after(asked->guest);
	asked->done(asked->guest, ours, asked->opaque);
	g_clear_error(&ours);
	guest_unref(asked->guest);
	g_free(asked);
}

/* Takes over @args. */
static void execute(struct guest *guest, const char *name, json_t *args, const struct asked *asked)
{
	struct run *run = guest->run;
	GError *error = NULL;

	if (has_monitor(guest, &error)) {
		guest_ref(guest);
		monitor_execute_with(run->monitor, name, args, on_answer,
				     g_memdup2(asked, sizeof(*asked)));
		return;
	}
	json_decref(args);
	asked->done(guest, error, asked->opaque);
	g_error_free(error);
}

static void now_paused(struct guest *guest)
{
	guest_paused(guest, VIR_DOMAIN_PAUSED_USER);
}

static void command(struct guest *guest, enum guest_command command, guest_done *done, void *opaque)
{
	static const struct {
		const char *name;
		void (*after)(struct guest *guest);
	} commands[] = {
		[COMMAND_SUSPEND] = { "stop", now_paused },
		[COMMAND_RESUME] = { "cont", guest_resumed },
		[COMMAND_SHUTDOWN] = { "system_powerdown" },
		[COMMAND_REBOOT] = { "system_reboot" },
		[COMMAND_RESET] = { "system_reset" },
		[COMMAND_NMI] = { "inject-nmi" },
	};
	const struct asked asked = { guest, commands[command].after, done, opaque };

	execute(guest, commands[command].name, json_object(), &asked);
}

static void press(struct guest *guest, const u8 *keys, unsigned count, u32 hold_ms,
		  guest_done *done, void *opaque)
{
	const struct asked asked = { guest, NULL, done, opaque };
	json_t *codes = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(codes, json_integer(keys[i]));
	execute(guest, "send-key",
		json_pack("{s:o, s:I}", "keys", codes, "hold-time", (json_int_t)hold_ms), &asked);
}

static void set_link(struct guest *guest, const char *alias, bool up, guest_done *done,
		     void *opaque)
{
	const struct asked asked = { guest, NULL, done, opaque };

	execute(guest, "set_link", json_pack("{s:s, s:b}", "name", alias, "up", up), &asked);
}

/* --- the balloon: a guest gives back memory when it likes to --- */

#define BALLOON_LOOK_MS 200
#define BALLOON_LOOKS   150

static gboolean look_at_balloon(gpointer opaque);

static void on_balloon(json_t *value, const GError *error, void *opaque)
{
	struct run *run = opaque;
	json_t *actual = json_object_get(value, "actual");

	if (error || !json_is_integer(actual) || json_integer_value(actual) < 0)
		return; /* it has ended, or waits for memory: then so be it */
	guest_balloon(run->guest, json_integer_value(actual) / KIB);
	if (run->guest->live->current_kib != run->balloon_kib && run->balloon_looks &&
	    !run->balloon_source)
		run->balloon_source = g_timeout_add(BALLOON_LOOK_MS, look_at_balloon, run);
}

static gboolean look_at_balloon(gpointer opaque)
{
	struct run *run = opaque;

	run->balloon_source = 0;
	run->balloon_looks--;
	if (run->monitor)
		monitor_execute(run->monitor, "query-balloon", on_balloon, run);
	return G_SOURCE_REMOVE;
}

static void on_balloon_set(json_t *value, const GError *error, void *opaque)
{
	struct asked *asked = opaque;
	struct run *run = asked->guest->run;
	GError *ours = NULL;

	if (error)
		ours = g_error_new(DAEMON_ERROR, VIR_ERR_OPERATION_FAILED, "domain '%s': %s",
				   asked->guest->name, error->message);
	else if (run && !run->balloon_source)
		run->balloon_source = g_timeout_add(BALLOON_LOOK_MS, look_at_balloon, run);
	asked->done(asked->guest, ours, asked->opaque);
	g_clear_error(&ours);
	guest_unref(asked->guest);
	g_free(asked);
}

static void balloon(struct guest *guest, u64 kib, guest_done *done, void *opaque)
{
	struct run *run = guest->run;
	struct asked *asked;
	GError *error = NULL;

	if (!has_monitor(guest, &error)) {
		done(guest, error, opaque);
		g_error_free(error);
		return;
	}
	run->balloon_kib = kib;
	run->balloon_looks = BALLOON_LOOKS;
	asked = g_new0(struct asked, 1);
	*asked = (struct asked){ .guest = guest_ref(guest), .done = done, .opaque = opaque };
	monitor_execute_with(run->monitor, "balloon",
			     json_pack("{s:I}", "value", (json_int_t)(kib * KIB)), on_balloon_set,
			     asked);
}

/* --- what is passed on --- */

struct passing {
	struct guest *guest;
	guest_passed *done;
	void *opaque;
};

static void on_passed(json_t *value, const GError *error, void *opaque)
{
	struct passing *passing = opaque;
	char *text = error ? NULL : json_dumps(value, JSON_COMPACT);
	GError *ours = error ? g_error_new(DAEMON_ERROR, VIR_ERR_OPERATION_FAILED,
					   "domain '%s': %s", passing->guest->name, error->message)
			     : NULL;

	passing->done(passing->guest, text, ours, passing->opaque);
	free(text);
	g_clear_error(&ours);
	guest_unref(passing->guest);
	g_free(passing);
}

static void pass(struct guest *guest, const json_t *command, guest_passed *done, void *opaque)
{
	struct run *run = guest->run;
	struct passing *passing;
	GError *error = NULL;

	if (!has_monitor(guest, &error)) {
		done(guest, NULL, error, opaque);
		g_error_free(error);
		return;
	}
	passing = g_new(struct passing, 1);
	*passing = (struct passing){ guest_ref(guest), done, opaque };
	monitor_pass(run->monitor, command, on_passed, passing);
}

/* --- what it says --- */

static void note_messages(struct run *run, const char *text, size_t bytes)
{
	g_autofree char *said = g_utf8_make_valid(text, bytes);

	log_about(LOG_INFO, "lodged", run->guest->name, "guest %s says: %s", run->guest->name,
		  g_strchomp(said));
	g_string_append_len(run->messages, text, bytes);
	if (run->messages->len > MESSAGES_MAX)
		g_string_erase(run->messages, 0, run->messages->len - MESSAGES_MAX);
}

static void read_messages(struct run *run)
{
	char chunk[1024];
	ssize_t n;

	while ((n = read(run->launch->messages_fd, chunk, sizeof(chunk))) > 0)
		note_messages(run, chunk, n);
}

static gboolean on_messages(gint fd, GIOCondition condition, gpointer opaque)
{
	struct run *run = opaque;
	char chunk[1024];
	ssize_t n = read(fd, chunk, sizeof(chunk));

	if (n > 0)
		note_messages(run, chunk, n);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return G_SOURCE_CONTINUE;
	run->messages_source = 0;
	return G_SOURCE_REMOVE;
}

static gboolean on_helpers(gpointer opaque)
{
	struct run *run = opaque;
	char *text = launch_helper_ended(run->launch);

	if (text)
		log_about(LOG_WARNING, "lodged", run->guest->name, "guest %s: %s", run->guest->name,
			  text);
	g_free(text);
	return G_SOURCE_CONTINUE;
}

/* --- the process --- */

static struct run *new_run(struct guest *guest)
{
	struct run *run = g_new0(struct run, 1);

	run->guest = guest_ref(guest);
	run->record = running_path(guest);
	run->pidfd = run->statistics_fd = -1;
	run->messages = g_string_new(NULL);
	run->pause_reason = VIR_DOMAIN_PAUSED_USER;
	guest->run = run;
	return run;
}

static bool watch_process(struct run *run, pid_t pid)
{
	run->pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (run->pidfd < 0)
		return false;
	run->pid = pid;
	run->pid_source = g_unix_fd_add(run->pidfd, G_IO_IN, on_process_end, run);
	return true;
}

/* The process runs: what it tells of itself. */
static void open_books(struct run *run)
{
	const struct guest *guest = run->guest;

	run->statistics_fd = launch_open_statistics(guest->daemon->places.guests, guest->name);
	run->vcpu_count = guest->live->vcpus;
	run->vcpus = g_new0(pid_t, run->vcpu_count);
}

static void reach_monitor(struct run *run, const char *path)
{
	GError *error = NULL;

	run->monitor = path ? monitor_open(path, &monitor_callbacks, run, &error) : NULL;
	if (!run->monitor)
		log_about(LOG_WARNING, "lodged", run->guest->name, "guest %s: %s", run->guest->name,
			  error ? error->message : "it has no monitor");
	g_clear_error(&error);
}

/* --- starting --- */

struct start {
	struct run *run;
	struct domain *live; /* the thread's own */
	struct launch_options options;
	GPtrArray *others; /* struct other: disks of guests that run */
	char **pooled;     /* disks that are volumes of active pools */
	struct launch_files *files;
	unsigned file_count;
	struct store *store;
	char *record;
	int id;
	struct launch *launch;
	GError *error;
	bool done; /* the process is there */
};

/* Which terminal the first serial port is: clients look for it in the live XML. */
static void name_terminal(struct domain *live, const char *path)
{
	xmlNode *devices = xml_child(xmlDocGetRootElement(live->doc), "devices");
	xmlNode *serial = xml_child(devices, "serial"), *console = xml_child(devices, "console");

	if (!path)
		return;
	if (serial && xml_attr_is(serial, "type", "pty"))
		xml_set(xml_ensure(serial, "source"), "path", "%s", path);
	if (console && xml_attr_is(console, "type", "pty")) {
		xml_set(console, "tty", "%s", path);
		xml_set(xml_ensure(console, "source"), "path", "%s", path);
	}
}

static void start_failed(struct start *start)
{
	struct run *run = start->run;
	struct guest *guest = run->guest;

	store_remove(guest->daemon->store, run->record, NULL, NULL);
	launch_free(start->launch);
	guest->run = NULL;
	guest_start_failed(guest, start->error);
	free_run(run);
}

static gboolean on_not_ready(gpointer opaque)
{
	struct run *run = opaque;

	run->deadline = 0;
	note_messages(run, "it did not get ready in time", 28);
	signal_process(run, SIGKILL);
	return G_SOURCE_REMOVE;
}

static void start_succeeded(struct start *start)
{
	struct run *run = start->run;
	struct guest *guest = run->guest;
	struct launch *launch = start->launch;
	pid_t pids[PROCESSES_MAX];
	unsigned count;

	run->launch = launch;
	guest->console_start = launch->console_log_start;
	domain_free(guest->live);
	guest->live = start->live;
	start->live = NULL;
	if (!watch_process(run, launch->pid)) {
		start->error =
			g_error_new(DAEMON_ERROR, VIR_ERR_SYSTEM_ERROR,
				    "cannot watch process %d: %s", launch->pid, g_strerror(errno));
		run->launch = NULL;
		start_failed(start);
		return;
	}
	run->messages_source = g_unix_fd_add(launch->messages_fd, G_IO_IN, on_messages, run);
	run->helpers = g_timeout_add_seconds(HELPER_SECONDS, on_helpers, run);
	count = launch_processes(launch, pids, PROCESSES_MAX);
	scope_make(guest, pids, count);
	restraint_enter(guest, pids, count);
	open_books(run);
	reach_monitor(run, launch->monitor_path);
	if (run->stop_wanted)
		end_process(run, false);
	else
		run->deadline = g_timeout_add_seconds(READY_SECONDS, on_not_ready, run);
}

static gboolean on_start(gpointer opaque)
{
	struct start *start = opaque;

	if (start->done)
		start_succeeded(start);
	else
		start_failed(start);
	domain_free(start->live);
	g_clear_error(&start->error);
	g_ptr_array_unref(start->others);
	g_strfreev(start->pooled);
	launch_files_free(start->files, start->file_count);
	g_free(start->record);
	g_free(start);
	return G_SOURCE_REMOVE;
}

/* A disk that a guest has. */
struct other {
	char *name, *path;
};

static void free_other(gpointer opaque)
{
	struct other *other = opaque;

	g_free(other->name);
	g_free(other->path);
	g_free(other);
}

static GPtrArray *disks_of_others(const struct guest *guest)
{
	GPtrArray *found = g_ptr_array_new_with_free_func(free_other);
	GPtrArray *all = guests_all(guest->daemon->guests);

	for (guint i = 0; i < all->len; i++) {
		const struct guest *each = all->pdata[i];

		for (guint j = 0; each != guest && each->live && j < each->live->disks->len; j++) {
			const struct domain_disk *disk = each->live->disks->pdata[j];
			struct other *other = g_new0(struct other, 1);

			other->name = g_strdup(each->name);
			other->path = disk->fd_group ? NULL : g_strdup(disk->path);
			g_ptr_array_add(found, other);
		}
	}
	g_ptr_array_unref(all);
	return found;
}

static bool is_same_file(const char *one, const char *two)
{
	struct stat a, b;

	return one && two && !stat(one, &a) && !stat(two, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* The lock of an image is lodged's own, whoever's guest holds it: which guest that is, is known
 * here.
 */
static void name_holder(struct start *start)
{
	for (guint i = 0; i < start->live->disks->len; i++) {
		const struct domain_disk *disk = start->live->disks->pdata[i];

		for (guint j = 0; j < start->others->len; j++) {
			const struct other *other = start->others->pdata[j];

			if (disk->fd_group || !is_same_file(disk->path, other->path))
				continue;
			g_prefix_error(&start->error, "guest '%s' has %s: ", other->name,
				       disk->path);
			return;
		}
	}
}

static void start_thread(gpointer data, gpointer nothing)
{
	struct start *start = data;
	g_autofree char *text = NULL;

	start->launch = launch_prepare(start->live, &start->options, &start->error);
	if (start->launch) {
		name_terminal(start->live, start->launch->console_path);
		text = running_text(start->id, start->live);
		start->done = store_write_now(start->store, start->record, text, &start->error) &&
			      launch_start(start->launch, &start->error);
	}
	if (g_error_matches(start->error, LAUNCH_ERROR, LAUNCH_ERROR_BUSY))
		name_holder(start);
	g_idle_add_full(G_PRIORITY_DEFAULT, on_start, start, NULL);
}

GThreadPool *driver_lodge_threads(void)
{
	return g_thread_pool_new(start_thread, NULL, THREADS, FALSE, NULL);
}

static void add_pooled(const struct guest *guest, GPtrArray *found, const char *path)
{
	const struct kept *pool;
	const char *name;

	pool = path ? pool_of_path(guest->daemon->pools, path, &name) : NULL;
	if (pool && !pool->owner)
		g_ptr_array_add(found, g_strdup(path));
}

/* What an active pool of lodged's own has is opened with its authority, as the pool is. What a pool
 * of somebody else's has is a file like any other. */
static char **find_pooled(const struct guest *guest)
{
	GPtrArray *found = g_ptr_array_new();

	add_pooled(guest, found, guest->live->kernel);
	add_pooled(guest, found, guest->live->initrd);
	for (guint i = 0; i < guest->live->disks->len; i++) {
		const struct domain_disk *disk = guest->live->disks->pdata[i];

		if (!disk->fd_group)
			add_pooled(guest, found, disk->path);
	}
	g_ptr_array_add(found, NULL);
	return (char **)g_ptr_array_free(found, FALSE);
}

static void start(struct guest *guest, bool paused)
{
	const struct places *places = &guest->daemon->places;
	g_autofree char *xml = domain_format(guest->live);
	struct start *start = g_new0(struct start, 1);

	start->run = new_run(guest);
	start->run->paused = paused;
	start->live = domain_parse(xml, strlen(xml), guest->name, NULL, &start->error);
	start->store = guest->daemon->store;
	start->record = g_strdup(start->run->record);
	start->id = guest->id;
	start->pooled = find_pooled(guest);
	start->others = disks_of_others(guest);
	if (start->live)
		files_find(guest, &start->files, &start->file_count, &start->error);
	start->run->authority = authority_copy(guest->starter);
	start->options = (struct launch_options){
		.engine = guest->daemon->engine,
		.kvm_absent = guest->daemon->kvm_absent,
		.movable = guest->daemon->movable,
		.vmm_path = guest->daemon->vmm_path,
		.console_log = true,
		.paused = paused,
		.authority = start->run->authority,
		.pooled = (const char *const *)start->pooled,
		.files = start->files,
		.file_count = start->file_count,
		.runtime_directory = places->guests,
		.log_directory = places->log,
		.state_directory = places->state,
		.cache_directory = places->cache,
	};
	if (!start->error)
		g_thread_pool_push(guest->daemon->starters, start, NULL);
	else
		g_idle_add_full(G_PRIORITY_DEFAULT, on_start, start, NULL);
}

/* --- taking over --- */

#define LOOK_TIMES 100
#define LOOK_US    10000

/* A process that holds the lock and does not say who it is says so soon. */
static enum launch_found find(const struct guest *guest, pid_t *pid, char **monitor_path)
{
	enum launch_found found = LAUNCH_UNKNOWN;

	for (unsigned i = 0; i < LOOK_TIMES && found == LAUNCH_UNKNOWN; i++) {
		if (i)
			g_usleep(LOOK_US);
		found = launch_find(guest->daemon->places.guests, guest->name, pid, monitor_path);
	}
	return found;
}

static bool adopt(struct guest *guest)
{
	g_autofree char *path = NULL, *again = NULL;
	enum launch_found found;
	struct run *run;
	pid_t pid, same;

	found = find(guest, &pid, &path);
	if (found != LAUNCH_RUNNING) {
		launch_sweep(guest->daemon->places.guests, guest->name);
		return false;
	}
	run = new_run(guest);
	run->started = true;
	/* the number may be another process's by now, unless the guest still runs under it */
	if (!watch_process(run, pid) ||
	    launch_find(guest->daemon->places.guests, guest->name, &same, &again) !=
		    LAUNCH_RUNNING ||
	    same != pid) {
		free_run(run);
		launch_sweep(guest->daemon->places.guests, guest->name);
		return false;
	}
	guest->console_start = 0;
	scope_make_if_none(guest, pid);
	open_books(run);
	reach_monitor(run, path);
	return true;
}

static void leave(struct guest *guest)
{
	struct run *run = guest->run;

	if (run->launch)
		launch_leave(run->launch);
	free_run(run);
}

/* --- statistics --- */

static pid_t process(const struct guest *guest)
{
	const struct run *run = guest->run;

	return run ? run->pid : 0;
}

static bool statistics(const struct guest *guest, struct guest_statistics *out)
{
	const struct run *run = guest->run;

	return run && run->pid && books_process(run->pid, out);
}

static bool counters(const struct guest *guest, struct statistics *out)
{
	const struct run *run = guest->run;

	return run && run->statistics_fd >= 0 &&
	       statistics_read(out, run->statistics_fd, guest->live->disks->len,
			       guest->live->interfaces->len);
}

static bool vcpu(const struct guest *guest, unsigned number, struct guest_vcpu *out, u8 *map,
		 size_t map_bytes)
{
	struct run *run = guest->run;

	if (!run || !run->pid || number >= run->vcpu_count)
		return false;
	if (!run->vcpus[number])
		books_find_vcpus(run->pid, run->vcpus, run->vcpu_count);
	return run->vcpus[number] && books_vcpu(run->pid, run->vcpus[number], out, map, map_bytes);
}

/* The thread of a processor, or the main one; 0: it is not there. */
static pid_t thread_of(const struct guest *guest, int number)
{
	struct run *run = guest->run;

	if (!run || !run->pid || number >= (int)run->vcpu_count)
		return 0;
	if (number < 0)
		return run->pid;
	if (!run->vcpus[number])
		books_find_vcpus(run->pid, run->vcpus, run->vcpu_count);
	return run->vcpus[number];
}

static void affinity(const struct guest *guest, int vcpu, u8 *map, size_t map_bytes)
{
	pid_t thread = thread_of(guest, vcpu);

	if (thread)
		books_affinity(thread, map, map_bytes);
}

static bool pin(const struct guest *guest, int vcpu, const struct number_set *cpus)
{
	const struct run *run = guest->run;
	pid_t thread = thread_of(guest, vcpu);

	if (thread && vcpu >= 0)
		return books_pin(thread, cpus);
	if (thread)
		return books_pin_others(run->pid, cpus);
	errno = ESRCH;
	return false;
}

const struct driver driver_lodge = {
	.name = "lodge",
	.start = start,
	.adopt = adopt,
	.stop = stop,
	.command = command,
	.balloon = balloon,
	.press = press,
	.set_link = set_link,
	.pass = pass,
	.process = process,
	.statistics = statistics,
	.vcpu = vcpu,
	.affinity = affinity,
	.pin = pin,
	.counters = counters,
	.leave = leave,
};
