/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose files a guest may have: those of the client that starts it. Root, and the user lodged runs
 * as, have lodged's own authority, which is NULL here.
 */
#ifndef LODGE_DAEMON_AUTHORITY_H
#define LODGE_DAEMON_AUTHORITY_H

#include "launch/launch.h"
#include "rpc/server.h"

/* Is the peer root, the user lodged runs as, or the one whom the administrator trusts as these (-1:
 * nobody)? */
bool authority_is_own(const struct rpc_identity *identity, s64 trusted);
/* The caller frees it. */
struct launch_authority *authority_copy(const struct launch_authority *authority);
void authority_free(struct launch_authority *authority);

/* A line of text and back, for what is kept; NULL is "". The caller frees both. False: it is no
 * such text. */
char *authority_write(const struct launch_authority *authority);
bool authority_read(const char *text, struct launch_authority **authority);

/* What is kept says in its last line in whose name it is, unless that is lodged's own. */
/* Takes over @text, and gives it that line; the caller frees what is returned. */
char *authority_mark(char *text, const struct launch_authority *authority);
/* Takes the line off, in place. False: it is none that says anything. The caller frees *@authority.
 */
bool authority_unmark(char *text, gsize *length, struct launch_authority **authority);

/* Is the peer in @group, by its own groups? */
bool authority_is_member(const struct rpc_identity *identity, gid_t group);

#endif
