/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program lodged: options, the order of starting and of ending. */
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
#define PATIENCE      90
#define PATIENCE_MAX  86400
#define LOG_BYTES_MAX (8 * MIB)

static const struct rpc_handlers *const all_calls[] = {
	&calls_connect, &calls_node,   &calls_lookup,   &calls_define,   &calls_life,
	&calls_read,    &calls_event,  &calls_console,  &calls_metadata, &calls_network,
	&calls_pool,    &calls_volume, &calls_transfer, &calls_host,     &calls_none,
	&calls_stats,   &calls_secret, &calls_tune,     &calls_files,    &calls_monitor,
	&calls_cpu,     &calls_pin,    &calls_limit,    &calls_nodedev,  &calls_device,
	NULL,
};

/* --- options --- */

struct options {
	char *root, *engine, *kvm_absent, *vmm, *log, *group, *trust, *cgroup;
	struct remote_options remote;
	gboolean system, session, movable, verbose, version;
	int patience;
};

static const char description[] =
	"Keeps guests' definitions, starts and watches guests, and serves libvirt's clients: "
	"virsh,\n"
	"virt-install, virt-manager, python-libvirt. It stays in the foreground; SIGTERM or "
	"SIGINT\n"
	"ends it. Guests run on, and the lodged that is started next takes them over. SIGUSR1 "
	"powers\n"
	"guests down and then ends it.\n"
	"\n"
	"One of --root, --system and --session says where it keeps things and where clients find "
	"it:\n"
	"  --root DIR  everything below DIR; clients use\n"
	"              qemu+unix:///system?socket=DIR/run/lodged-sock\n"
	"  --system    /var/lib/lodge, /run/lodge, /var/log/lodge and libvirt's system socket\n"
	"  --session   the user's directories and libvirt's session socket\n";

/* @value, unless NULL, must be one of @words. */
static bool check_word(const char *option, const char *value, const char *const *words,
		       GError **error)
{
	g_autofree char *all = NULL;

	if (!value || g_strv_contains(words, value))
		return true;
	all = g_strjoinv(", ", (char **)words);
	return daemon_refuse(error, 0, "%s is one of %s, not '%s'", option, all, value);
}

static bool check_engine(const struct options *options, GError **error)
{
	static const char *const engines[] = { "auto", "kvm", "soft", NULL };
	static const char *const absent[] = { "soft", "refuse", NULL };

	return check_word("--engine", options->engine, engines, error) &&
	       check_word("--kvm-absent", options->kvm_absent, absent, error);
}

static bool parse_options(struct options *options, int argc, char **argv, GError **error)
{
	const GOptionEntry entries[] = {
		{ "root", 0, 0, G_OPTION_ARG_FILENAME, &options->root, "keep everything below DIR",
		  "DIR" },
		{ "system", 0, 0, G_OPTION_ARG_NONE, &options->system,
		  "serve the system: libvirt's system socket", NULL },
		{ "session", 0, 0, G_OPTION_ARG_NONE, &options->session,
		  "serve this user: libvirt's session socket", NULL },
		{ "engine", 0, 0, G_OPTION_ARG_STRING, &options->engine,
		  "what runs the processors: auto, kvm or soft", "ENGINE" },
		{ "kvm-absent", 0, 0, G_OPTION_ARG_STRING, &options->kvm_absent,
		  "what auto does without KVM: soft or refuse", "WHAT" },
		{ "movable", 0, 0, G_OPTION_ARG_NONE, &options->movable,
		  "make guests under KVM so that they can move to the "
		  "software CPU and back",
		  NULL },
		{ "group", 0, 0, G_OPTION_ARG_STRING, &options->group,
		  "who may have guests beside root: libvirt or lodge with "
		  "--system, none otherwise",
		  "GROUP" },
		{ "trust", 0, 0, G_OPTION_ARG_STRING, &options->trust,
		  "who may do what root may, as libvirtdbus, whom Cockpit asks", "USER" },
		{ "cgroup", 0, 0, G_OPTION_ARG_FILENAME, &options->cgroup,
		  "hold guests to their limits by cgroups made in FOLDER, not by systemd's scopes",
		  "FOLDER" },
		{ "listen-tls", 0, 0, G_OPTION_ARG_STRING, &options->remote.tls,
		  "serve who has a certificate, too: ADDRESS[:PORT], '' "
		  "for all addresses",
		  "ADDRESS" },
		{ "listen-tcp", 0, 0, G_OPTION_ARG_STRING, &options->remote.tcp,
		  "serve this host's users by TCP, too: localhost[:PORT]", "ADDRESS" },
		{ "pki", 0, 0, G_OPTION_ARG_FILENAME, &options->remote.pki,
		  "where cacert.pem, servercert.pem and serverkey.pem are", "DIR" },
		{ "tls-allow", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->remote.allow,
		  "only certificates of these names; * and ? stand for "
		  "what may vary",
		  "NAME" },
		{ "log", 0, 0, G_OPTION_ARG_FILENAME, &options->log,
		  "write the log to FILE, not to standard error or the journal", "FILE" },
		{ "patience", 0, 0, G_OPTION_ARG_INT, &options->patience,
		  "how long guests may take to power off when the host does: 90", "SECONDS" },
		{ "verbose", 0, 0, G_OPTION_ARG_NONE, &options->verbose, "write more into the log",
		  NULL },
		{ "vmm", 0, 0, G_OPTION_ARG_FILENAME, &options->vmm,
		  "for debugging: another lodge-vmm", "PROGRAM" },
		{ "version", 0, 0, G_OPTION_ARG_NONE, &options->version, "print the version",
		  NULL },
		{ 0 }
	};
	GOptionContext *context = g_option_context_new("- the daemon of Lodge");
	bool good;

	g_option_context_add_main_entries(context, entries, NULL);
	g_option_context_set_summary(context, description);
	good = g_option_context_parse(context, &argc, &argv, error);
	g_option_context_free(context);
	if (!good || options->version)
		return good;
	if (argc > 1)
		g_set_error(error, DAEMON_ERROR, 0, "what is '%s'? See lodged --help", argv[1]);
	else if (options->patience < 0 || options->patience > PATIENCE_MAX)
		g_set_error(error, DAEMON_ERROR, 0, "--patience takes 0 to %d seconds",
			    PATIENCE_MAX);
	else if (!!options->root + options->system + options->session != 1)
		g_set_error(error, DAEMON_ERROR, 0,
			    "give one of --root DIR, --system and --session; see lodged --help");
	else
		check_engine(options, error);
	return !*error;
}

static bool open_log(const struct options *options, GError **error)
{
	const enum log_level level = options->verbose ? LOG_DEBUG : LOG_INFO;

	if (options->log && !log_to_file(options->log, level, LOG_BYTES_MAX)) {
		g_set_error(error, DAEMON_ERROR, 0, "cannot open %s: %s", options->log,
			    g_strerror(errno));
		return false;
	}
	if (!options->log && !log_to_journal("lodged", level))
		log_open(STDERR_FILENO, level);
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
static bool find_group(struct daemon *daemon, const struct options *options, GError **error)
{
	static const char *const usual[] = { "libvirt", "lodge" };
	const struct group *found = options->group ? getgrnam(options->group) : NULL;

	daemon->group = -1;
	if (options->group && !found)
		return daemon_refuse(error, 0, "there is no group '%s'; create it (groupadd)",
				     options->group);
	if (options->group && geteuid())
		return daemon_refuse(error, 0,
				     "--group is for root, who can open files as other users");
	for (unsigned i = 0; i < ARRAY_LEN(usual) && options->system && !geteuid() && !found; i++)
		found = getgrnam(usual[i]);
	if (found)
		daemon->group = found->gr_gid;
	return true;
}

/* For a service that looks itself at who asks it. */
static bool find_trusted(struct daemon *daemon, const struct options *options, GError **error)
{
	const struct passwd *found = options->trust ? getpwnam(options->trust) : NULL;

	daemon->trusted = found ? (s64)found->pw_uid : -1;
	if (options->trust && !found)
		return daemon_refuse(error, 0, "there is no user '%s'", options->trust);
	if (options->trust && geteuid())
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

static bool start(struct daemon *daemon, const struct options *options, GError **error)
{
	const struct rpc_server_options server = { .handlers = all_calls,
						   .admit = admit,
						   .come = come,
						   .gone = go,
						   .absent = absent_text,
						   .opaque = daemon };
	enum places_kind kind = options->system    ? PLACES_SYSTEM
				: options->session ? PLACES_SESSION
						   : PLACES_ROOT;

	raise_limits();
	daemon->lock_fd = daemon->socket_fd = daemon->socket_ro_fd = -1;
	daemon->patience_seconds = options->patience;
	daemon->vmm_path = options->vmm;
	daemon->engine = options->engine;
	daemon->kvm_absent = options->kvm_absent;
	daemon->movable = options->movable;
	daemon->clients = g_ptr_array_new();
	daemon->activation = activation_new(error);
	if (!daemon->activation || !open_log(options, error) ||
	    !find_group(daemon, options, error) || !find_trusted(daemon, options, error) ||
	    !places_open(&daemon->places, kind, options->root, error) ||
	    !sockets_claim(daemon, error))
		return false;
	daemon->loop = g_main_loop_new(NULL, FALSE);
	daemon->store = store_new(daemon->places.state, error);
	if (!daemon->store)
		return false;
	daemon->starters = driver_lodge_threads();
	if (!restraint_open(daemon, options->cgroup, error))
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
	if (!sockets_listen(daemon, error) || !remote_listen(daemon, &options->remote, error))
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

static int run(const struct options *options)
{
	struct daemon daemon = { 0 };
	GError *error = NULL;
	int status = 0;

	signal(SIGPIPE, SIG_IGN);
	if (start(&daemon, options, &error)) {
		log_info("lodged", "version " LODGE_VERSION " serves %s", daemon.places.socket);
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
	struct options options = { .patience = PATIENCE };
	GError *error = NULL;
	int status = 0;

	setlocale(LC_ALL, "");
	if (!parse_options(&options, argc, argv, &error)) {
		fprintf(stderr, "lodged: %s\n", error->message);
		g_error_free(error);
		status = EXIT_USAGE;
	} else if (options.version) {
		puts("lodged " LODGE_VERSION);
	} else {
		status = run(&options);
	}
	g_free(options.root);
	g_free(options.engine);
	g_free(options.kvm_absent);
	g_free(options.vmm);
	g_free(options.log);
	g_free(options.group);
	g_free(options.trust);
	g_free(options.cgroup);
	g_free(options.remote.tls);
	g_free(options.remote.tcp);
	g_free(options.remote.pki);
	g_strfreev(options.remote.allow);
	return status;
}
