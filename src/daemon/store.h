/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What must survive lodged: small files that are there as a whole or not at all, also after a
 * crash of the host.
 *
 *   text -> PATH.new -> the journal -> rename to PATH -> "it is kept" -> ... fsync, all at once
 *
 * Until its file lasts by itself, the journal (journal.h) has the change, and the store that is
 * made next makes it again. Files are there for everybody who looks before anybody is told; when
 * nothing has been changed for a while, when the journal is full, and at the end all of them are
 * made to last, with as few fsyncs as they need, and the journal is emptied.
 *
 * Without the journal (the disk is full and there is none yet; what is too large for it; what is
 * not below its folder; secrets, which it must not remember) each file is made to last at once:
 *
 *   text -> PATH.new -> fsync -> rename to PATH -> fsync of the directory -> "it is kept"
 *
 * A thread does this in the order in which it was asked; what waits meanwhile shares the write to
 * the journal, and the directories' fsyncs. Answers come on the context of the thread that made the
 * store.
 *
 * What is in the journal and cannot be put into files is not given up: nothing is changed any more,
 * and each change is told why.
 */
#ifndef LODGE_DAEMON_STORE_H
#define LODGE_DAEMON_STORE_H

#include <glib.h>
#include <stdbool.h>

struct store;

/* @error is NULL when the change is kept. */
typedef void store_done(const GError *error, void *opaque);

/* Has a journal in @directory, and first makes the changes that it was left with. NULL: the journal
 * is another lodged's, or of another version. */
struct store *store_new(const char *directory, GError **error);
/* Removes from a directory what a crash has left there of writes that nobody was told of. */
void store_sweep(const char *directory);
/* Takes over @text; @done may be NULL. */
void store_write(struct store *store, const char *path, char *text, store_done *done, void *opaque);
/* The same; there is no copy of @text anywhere but in that file. */
void store_write_secret(struct store *store, const char *path, char *text, store_done *done,
			void *opaque);
/* A file that is not there is removed already. */
void store_remove(struct store *store, const char *path, store_done *done, void *opaque);
/* Does what was asked, and ends; answers that have not come yet never do. */
void store_free(struct store *store);

/* At once, on the calling thread, any one: a file that was neither written nor removed by the other
 * functions since the store was made. */
bool store_write_now(struct store *store, const char *path, const char *text, GError **error);

#endif
