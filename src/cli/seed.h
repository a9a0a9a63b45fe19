/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a new guest is told at its first boot, for cloud-init: an ISO 9660 image with the volume
 * name "cidata" (its data source NoCloud).
 */
#ifndef LODGE_CLI_SEED_H
#define LODGE_CLI_SEED_H

#include <glib.h>
#include <stdbool.h>

struct seed {
	char *host;     /* name */
	char *user;     /* who may become root by sudo */
	char *password; /* of that user, made up; for the console alone, SSH takes none */
	char *key;      /* SSH's, public; NULL: none */
};

/* @user and @key_file are what was asked for, or NULL: the caller's own. False: they do not do. */
bool seed_init(struct seed *seed, const char *guest, const char *user, const char *key_file,
	       GError **error);
void seed_clear(struct seed *seed);
bool seed_write(const struct seed *seed, const char *path, GError **error);

#endif
