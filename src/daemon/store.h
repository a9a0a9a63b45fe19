/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must survive lodged: small files that are there as a whole or not at all, also after a
 * crash of the host.
 *
 *   text -> PATH.new -> fsync -> rename to PATH -> fsync of the directory -> "it is kept"
 *
 * A thread does this in the order in which it was asked; what waits meanwhile shares the
 * directories' fsyncs. Answers come on the context of the thread that made the store.
 */
#ifndef LODGE_DAEMON_STORE_H
#define LODGE_DAEMON_STORE_H

#include <glib.h>
#include <stdbool.h>

struct store;

/* @error is NULL when the change is kept. */
typedef void store_done(const GError *error, void *opaque);

struct store *store_new(void);
/* Removes from a directory what a crash has left there of writes that nobody was told of. */
void store_sweep(const char *directory);
/* Takes over @text; @done may be NULL. */
void store_write(struct store *store, const char *path, char *text, store_done *done, void *opaque);
/* A file that is not there is removed already. */
void store_remove(struct store *store, const char *path, store_done *done, void *opaque);
/* Does what was asked, and ends; answers that have not come yet never do. */
void store_free(struct store *store);

/* The same at once, on the calling thread. */
bool store_write_now(const char *path, const char *text, GError **error);

#endif
