/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Secrets: values that clients leave here under a uuid and a usage, as passwords of storage.
 *
 *   state/secrets/UUID.xml      what it is for; no value
 *   state/secrets/UUID.base64   its value, unless it is ephemeral
 *
 * One usage names one secret. Who reads a value must be allowed to, and a private one is not given
 * out at all.
 */
#ifndef LODGE_DAEMON_SECRETS_H
#define LODGE_DAEMON_SECRETS_H

#include "daemon/kept.h"

#define SECRET_VALUE_MAX 65536 /* bytes; what the protocol carries */

struct keeper *secrets_open(struct daemon *daemon);

/* What it is for: VIR_SECRET_USAGE_TYPE_*; @id gets a string of the secret's, "" for none. */
int secret_usage(const struct kept *kept, const char **id);
/* The one with that usage, or NULL. */
struct kept *secret_find_usage(const struct keeper *keeper, int type, const char *id);
bool secret_is_private(const struct kept *kept);
bool secret_is_ephemeral(const struct kept *kept);

/* Its definition has just been kept. */
void secret_defined(struct kept *kept);

/* NULL: none was set. */
GBytes *secret_value(const struct kept *kept);
/* @done follows when it is kept. */
void secret_set_value(struct kept *kept, const u8 *bytes, size_t n, kept_done *done, void *opaque);
/* It and its value go; false with @error set: it cannot be tried. */
bool secret_undefine(struct kept *kept, kept_done *done, void *opaque, GError **error);

#endif
