/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lodged was told by its command line and its settings file, lodged.conf. */
#ifndef LODGE_DAEMON_SETTINGS_H
#define LODGE_DAEMON_SETTINGS_H

#include "daemon/remote.h"

struct settings {
	char *root, *config; /* the command line's alone, as the next three are */
	bool system, session, version;
	char *engine, *kvm_absent, *vmm, *log, *group, *trust, *cgroup;
	int socket_mode, socket_ro_mode; /* -1: as sockets.c has them */
	int patience_seconds;
	bool movable, verbose;
	struct remote_options remote;
	char *file; /* what was read; NULL: there is none */
};

/* --- settings.c --- */
/* Sets all of @settings, for settings_free(), also if it fails. With --version no file is read. */
bool settings_read(struct settings *settings, int argc, char **argv, GError **error);
void settings_free(struct settings *settings);

#endif
