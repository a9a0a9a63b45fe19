/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where lodged keeps things, by how it was started. See daemon.h. */
#include "daemon/daemon.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool make(const char *path, int mode, GError **error)
{
	struct stat st;

	if (g_mkdir_with_parents(path, mode)) {
		g_set_error(error, DAEMON_ERROR, 0, "cannot make %s: %s", path, g_strerror(errno));
		return false;
	}
	if (lstat(path, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 022)) {
		g_set_error(error, DAEMON_ERROR, 0,
			    "%s is not a directory that only this user writes; remove it, or mend "
			    "its owner and mode",
			    path);
		return false;
	}
	return true;
}

static void below_root(struct places *p, const char *given)
{
	g_autofree char *root = g_canonicalize_filename(given, NULL);

	p->state = g_build_filename(root, "state", NULL);
	p->run = g_build_filename(root, "run", NULL);
	p->log = g_build_filename(root, "log", NULL);
	p->cache = g_build_filename(root, "cache", NULL);
	p->socket = g_build_filename(p->run, "lodged-sock", NULL);
	p->socket_ro = g_build_filename(p->run, "lodged-sock-ro", NULL);
}

static void of_system(struct places *p)
{
	p->state = g_strdup("/var/lib/lodge");
	p->run = g_strdup("/run/lodge");
	p->log = g_strdup("/var/log/lodge");
	p->cache = g_strdup("/var/cache/lodge");
	p->socket = g_strdup("/run/libvirt/libvirt-sock");
	p->socket_ro = g_strdup("/run/libvirt/libvirt-sock-ro");
}

static void of_session(struct places *p)
{
	const char *run = g_get_user_runtime_dir();

	p->state = g_build_filename(g_get_user_data_dir(), "lodge", "session", NULL);
	p->run = g_build_filename(run, "lodge-session", NULL);
	p->log = g_build_filename(g_get_user_state_dir(), "lodge", "session", NULL);
	p->cache = g_build_filename(g_get_user_cache_dir(), "lodge", "session", NULL);
	p->socket = g_build_filename(run, "libvirt", "libvirt-sock", NULL);
}

static bool make_all(struct places *p, GError **error)
{
	g_autofree char *sockets = g_path_get_dirname(p->socket), *marks = NULL;
	g_autofree char *pool_marks = NULL, *secret_marks = NULL;

	p->domains = g_build_filename(p->state, "domains", NULL);
	p->autostart = g_build_filename(p->state, "autostart", NULL);
	p->running = g_build_filename(p->state, "running", NULL);
	p->networks = g_build_filename(p->state, "networks", NULL);
	marks = g_build_filename(p->networks, "autostart", NULL);
	p->pools = g_build_filename(p->state, "pools", NULL);
	pool_marks = g_build_filename(p->pools, "autostart", NULL);
	p->secrets = g_build_filename(p->state, "secrets", NULL);
	secret_marks = g_build_filename(p->secrets, "autostart", NULL);
	p->pools_active = g_build_filename(p->run, "pools", NULL);
	p->guests = g_build_filename(p->run, "guests", NULL);
	return make(p->state, 0700, error) && make(p->domains, 0700, error) &&
	       make(p->autostart, 0700, error) && make(p->running, 0700, error) &&
	       make(p->networks, 0700, error) && make(marks, 0700, error) &&
	       make(p->pools, 0700, error) && make(pool_marks, 0700, error) &&
	       make(p->secrets, 0700, error) && make(secret_marks, 0700, error) &&
	       make(p->run, 0755, error) && make(p->pools_active, 0700, error) &&
	       make(p->guests, 0700, error) && make(p->log, 0700, error) &&
	       make(p->cache, 0700, error) &&
	       make(sockets, p->kind == PLACES_SESSION ? 0700 : 0755, error);
}

bool places_open(struct places *places, enum places_kind kind, const char *root, GError **error)
{
	*places = (struct places){ .kind = kind };
	switch (kind) {
	case PLACES_ROOT: below_root(places, root); break;
	case PLACES_SYSTEM: of_system(places); break;
	case PLACES_SESSION: of_session(places); break;
	}
	return make_all(places, error);
}

void places_close(struct places *places)
{
	g_free(places->state);
	g_free(places->domains);
	g_free(places->autostart);
	g_free(places->running);
	g_free(places->networks);
	g_free(places->pools);
	g_free(places->secrets);
	g_free(places->pools_active);
	g_free(places->run);
	g_free(places->guests);
	g_free(places->log);
	g_free(places->cache);
	g_free(places->socket);
	g_free(places->socket_ro);
	*places = (struct places){ 0 };
}
