/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Secrets, as keys of disks: the daemon keeps them for guests. See connection.h for what holds
 * everywhere. */
#ifndef LODGE_SECRET_H
#define LODGE_SECRET_H

#include <lodge/connection.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lodge_secret;

/* An array that ends with NULL; free with lodge_secrets_free(). */
struct lodge_secret **lodge_secret_list(struct lodge_connection *connection, unsigned flags);
void lodge_secrets_free(struct lodge_secret **secrets);
struct lodge_secret *lodge_secret_by_uuid(struct lodge_connection *connection,
					  const uint8_t uuid[LODGE_UUID_BYTES], unsigned flags);
/* By what people type: a UUID. */
struct lodge_secret *lodge_secret_find(struct lodge_connection *connection, const char *text,
				       unsigned flags);
void lodge_secret_free(struct lodge_secret *secret);

void lodge_secret_uuid(const struct lodge_secret *secret, char text[LODGE_UUID_CHARS]);
/* libvirt's number: 0 none, 1 volume, 2 ceph, 3 iscsi, 4 tls, 5 vtpm; and what it is used for. */
int lodge_secret_usage_type(const struct lodge_secret *secret);
const char *lodge_secret_usage(const struct lodge_secret *secret);

struct lodge_secret *lodge_secret_define(struct lodge_connection *connection, const char *xml,
					 unsigned flags);
int lodge_secret_undefine(struct lodge_secret *secret, unsigned flags);
char *lodge_secret_xml(struct lodge_secret *secret, unsigned flags);
int lodge_secret_set_value(struct lodge_secret *secret, const void *value, size_t bytes,
			   unsigned flags);
/* The caller's own copy, of *@bytes, and a zero byte behind them: free() it. Of private secrets,
 * the daemon gives none. */
void *lodge_secret_value(struct lodge_secret *secret, size_t *bytes, unsigned flags);

#ifdef __cplusplus
}
#endif
#endif
