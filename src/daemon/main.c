/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program lodged: the order of starting and of ending. */
#include "base/log_sink.h"
#include "daemon/activation.h"
#include "daemon/authority.h"
#include "daemon/files.h"
#include "daemon/formats.h"
#include "daemon/guest.h"
#include "daemon/networks.h"
#include "daemon/pools.h"
#include "daemon/powerdown.h"
#include "daemon/remote.h"
#include "daemon/restraint.h"
#include "daemon/scope.h"
#include "daemon/secrets.h"
#include "daemon/settings.h"
#include "daemon/store.h"
#include "launch/processor.h"
#include "rpc/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <grp.h>
#include <locale.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define EXIT_USAGE    2
#define LOG_BYTES_MAX (8 * MIB)

static const struct rpc_handlers *const all_calls[] = {
	&calls_connect, &calls_node,   &calls_lookup,   &calls_define,   &calls_life,
	&calls_read,    &calls_event,  &calls_console,  &calls_metadata, &calls_network,
	&calls_pool,    &calls_volume, &calls_transfer, &calls_host,     &calls_none,
	&calls_stats,   &calls_secret, &calls_tune,     &calls_files,    &calls_monitor,
	&calls_cpu,     &calls_pin,    &calls_limit,    &calls_nodedev,  &calls_device,
	NULL,
};

static bool open_log(const struct settings *settings, GError **error)
{
	const enum log_level level = settings->verbose ? LOG_DEBUG : LOG_INFO;

	if (settings->log && !log_to_file(settings->log, level, LOG_BYTES_MAX)) {
		g_set_error(error, DAEMON_ERROR, 0, "cannot open %s: %s", settings->log,
			    g_strerror(errno));
		return false;
	}
	if (!settings->log && !log_to_journal("lodged", level))
		log_open(STDERR_FILENO, level);
	log_check_areas("lodged");
	return true;
}

/* --- clients --- */

/* Lodged's user and root may do what lodged may; members of the group have guests, whose files are
 * opened with their own authority. */
static bool admit(const struct rpc_identity *identity, void *opaque)
{
	const struct daemon *daemon = opaque;

	return identity->read_only || authority_is_own(identity, daemon->trusted) ||
	       (daemon->group >= 0 && authority_is_member(identity, daemon->group));
}

/* Members of it are served by root's lodged alone, which can open files as others. */
static bool find_group(struct daemon *daemon, const struct settings *settings, GError **error)
{
	static const char *const usual[] = { "libvirt", "lodge" };
	const struct group *found = settings->group ? getgrnam(settings->group) : NULL;

	daemon->group = -1;
	if (settings->group && !found)
		return daemon_refuse(error, 0, "there is no group '%s'; create it (groupadd)",
				     settings->group);
	if (settings->group && geteuid())
		return daemon_refuse(error, 0,
				     "--group is for root, who can open files as other users");
	for (unsigned i = 0; i < ARRAY_LEN(usual) && settings->system && !geteuid() && !found; i++)
		found = getgrnam(usual[i]);
	if (found)
		daemon->group = found->gr_gid;
	return true;
}

/* For a service that looks itself at who asks it. */
static bool find_trusted(struct daemon *daemon, const struct settings *settings, GError **error)
{
	const struct passwd *found = settings->trust ? getpwnam(settings->trust) : NULL;

	daemon->trusted = found ? (s64)found->pw_uid : -1;
	if (settings->trust && !found)
		return daemon_refuse(error, 0, "there is no user '%s'", settings->trust);
	if (settings->trust && geteuid())
		return daemon_refuse(error, 0, "--trust is for root, whose files are lent");
	return true;
}

static void come(struct rpc_client *client, void *opaque)
{
	struct daemon *daemon = opaque;

	events_join(client);
	g_ptr_array_add(daemon->clients, client);
}

static void say_stop_failed(struct guest *guest, const GError *error, void *opaque)
{
	if (error)
		log_about(LOG_WARNING, "lodged", guest->name, "guest %s: %s", guest->name,
			  error->message);
}

/* Guests that were to live as long as the connection end with it. */
static void go(struct rpc_client *client, void *opaque)
{
	struct daemon *daemon = opaque;
	GPtrArray *all = guests_all(daemon->guests);

	g_ptr_array_remove(daemon->clients, client);
	for (guint i = 0; i < all->len; i++) {
		struct guest *guest = all->pdata[i];

		files_leave(guest, client);
		if (guest->owner == client && guest_is_active(guest))
			guest_stop(guest, false, say_stop_failed, NULL, NULL);
	}
	g_ptr_array_unref(all);
}

/* --- the order of things --- */

static void end_or_power_down(bool going_down, struct daemon *daemon)
{
	if (going_down)
		powerdown_begin(daemon);
	else
		g_main_loop_quit(daemon->loop);
}

/* A service is told in the same way that it is to be restarted and that the host goes down. */
static gboolean on_signal(gpointer opaque)
{
	struct daemon *daemon = opaque;

	activation_notify(daemon->activation, "STOPPING=1");
	if (activation_is_service(daemon->activation) && !daemon->asked_to_end)
		scope_ask_going_down(daemon, end_or_power_down);
	else
		g_main_loop_quit(daemon->loop); /* once more: now */
	daemon->asked_to_end = true;
	return G_SOURCE_CONTINUE;
}

static gboolean on_power_down(gpointer opaque)
{
	struct daemon *daemon = opaque;

	daemon->asked_to_end = true;
	powerdown_begin(daemon);
	return G_SOURCE_CONTINUE;
}

/* They are acted upon when the loop runs. */
static void obey_signals(struct daemon *daemon)
{
	g_unix_signal_add(SIGTERM, on_signal, daemon);
	g_unix_signal_add(SIGINT, on_signal, daemon);
	g_unix_signal_add(SIGUSR1, on_power_down, daemon);
}

/* Every client and every guest takes descriptors. */
static void raise_limits(void)
{
	struct rlimit files;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static bool start(struct daemon *daemon, const struct settings *settings, GError **error)
{
	const struct rpc_server_options server = { .handlers = all_calls,
						   .admit = admit,
						   .come = come,
						   .gone = go,
						   .absent = absent_text,
						   .opaque = daemon };
	enum places_kind kind = settings->system    ? PLACES_SYSTEM
				: settings->session ? PLACES_SESSION
						    : PLACES_ROOT;

	raise_limits();
	daemon->lock_fd = daemon->socket_fd = daemon->socket_ro_fd = -1;
	daemon->patience_seconds = settings->patience_seconds;
	daemon->vmm_path = settings->vmm;
	daemon->engine = settings->engine;
	daemon->kvm_absent = settings->kvm_absent;
	daemon->movable = settings->movable;
	daemon->socket_mode = settings->socket_mode;
	daemon->socket_ro_mode = settings->socket_ro_mode;
	daemon->clients = g_ptr_array_new();
	daemon->activation = activation_new(error);
	if (!daemon->activation || !open_log(settings, error) ||
	    !find_group(daemon, settings, error) || !find_trusted(daemon, settings, error) ||
	    !places_open(&daemon->places, kind, settings->root, error) ||
	    !sockets_claim(daemon, error))
		return false;
	daemon->loop = g_main_loop_new(NULL, FALSE);
	daemon->store = store_new(daemon->places.state, error);
	if (!daemon->store)
		return false;
	daemon->starters = driver_lodge_threads();
	if (!restraint_open(daemon, settings->cgroup, error))
		return false;
	daemon->guests = guests_new(daemon);
	guests_load(daemon->guests);
	daemon->networks = networks_open(daemon, error);
	if (!daemon->networks)
		return false;
	daemon->secrets = secrets_open(daemon);
	daemon->formats = formats_new();
	daemon->pools = pools_open(daemon);
	daemon->server = rpc_server_new(&server);
	obey_signals(daemon); /* who sees the socket may send one */
	if (!sockets_listen(daemon, error) || !remote_listen(daemon, &settings->remote, error))
		return false;
	guests_autostart(daemon->guests);
	return true;
}

static void finish(struct daemon *daemon)
{
	sockets_close(daemon);
	rpc_server_free(daemon->server);
	rpc_credentials_free(daemon->credentials);
	if (daemon->starters) /* starts that are under way come to their end, and are found again */
		g_thread_pool_free(daemon->starters, TRUE, TRUE);
	guests_free(daemon->guests);
	restraint_close(daemon);
	pools_close(daemon->pools);
	formats_free(daemon->formats);
	keeper_free(daemon->secrets);
	keeper_free(daemon->networks);
	store_free(daemon->store);
	if (daemon->loop)
		g_main_loop_unref(daemon->loop);
	g_ptr_array_unref(daemon->clients);
	processor_free(daemon->processor);
	places_close(&daemon->places);
	activation_free(daemon->activation);
}

static int run(const struct settings *settings)
{
	struct daemon daemon = { 0 };
	GError *error = NULL;
	int status = 0;

	signal(SIGPIPE, SIG_IGN);
	if (start(&daemon, settings, &error)) {
		log_info("lodged", "version " LODGE_VERSION " serves %s", daemon.places.socket);
		if (settings->file)
			log_info("lodged", "settings are those of %s", settings->file);
		activation_notify(daemon.activation, "READY=1\nSTATUS=Serving clients");
		g_main_loop_run(daemon.loop);
	} else {
		fprintf(stderr, "lodged: %s\n", error->message);
		g_error_free(error);
		status = EXIT_FAILURE;
	}
	finish(&daemon);
	return status;
}

int main(int argc, char **argv)
{
	struct settings settings;
	GError *error = NULL;
	int status = 0;

	setlocale(LC_ALL, "");
	if (!settings_read(&settings, argc, argv, &error)) {
		fprintf(stderr, "lodged: %s\n", error->message);
		g_error_free(error);
		status = EXIT_USAGE;
	} else if (settings.version) {
		puts("lodged " LODGE_VERSION);
	} else {
		status = run(&settings);
	}
	settings_free(&settings);
	return status;
}
