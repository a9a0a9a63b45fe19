/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What will be in files, before it is there for sure: one file of a fixed size, written in place.
 * Overwriting its blocks and having the disk keep them is much cheaper than making a new file and
 * having the disk keep that, as nothing of the file system's own changes.
 *
 *     0 | header | of 4 KiB each; written in turns, so that one of them is always whole:
 *  4096 | header | the one with the larger generation says which group is the first
 *  8192 | group  | from a block's start: what one write has put there, one change or many
 *       | group  | ... with the next number
 *       | rest   | of what was there before: numbers below the first group's
 *
 *   group   magic, checksum, number, bytes that follow
 *   change  bytes of the path, bytes of the text (-1: it is to be removed), path, text
 *
 * A group is there as a whole or not at all: one whose checksum is wrong was being written when the
 * power failed, and nobody was told of it. Nothing that was told is ever written again, not even a
 * byte beside it. Numbers are little-endian; paths are below the folder and do not begin with '/'.
 *
 * Writing again what a group says changes nothing, so a journal may be read as often as one likes.
 * When all of its files last by themselves, journal_empty() makes room.
 */
#ifndef LODGE_DAEMON_JOURNAL_H
#define LODGE_DAEMON_JOURNAL_H

#include "base/types.h"

#include <glib.h>
#include <stdbool.h>

#define JOURNAL_NAME  "journal"
#define JOURNAL_BYTES MIB

#define JOURNAL_ERROR journal_error_quark()
GQuark journal_error_quark(void);
enum journal_error {
	JOURNAL_ERROR_SYSTEM,
	JOURNAL_ERROR_BUSY,    /* another process has it */
	JOURNAL_ERROR_VERSION, /* it is another version's */
	JOURNAL_ERROR_FOREIGN, /* no header of it is one */
};

struct journal;

/* Makes an empty one in @directory, in the place of what is there. */
struct journal *journal_create(const char *directory, GError **error);
/* Opens the one in @directory, to be read only where it cannot be written; NULL without an error:
 * there is none. */
struct journal *journal_open(const char *directory, GError **error);
/* NULL is ignored. */
void journal_free(struct journal *journal);

bool journal_is_read_only(const struct journal *journal);
/* For people, in messages. */
const char *journal_path(const struct journal *journal);

typedef bool journal_change(const char *path, const char *text, void *opaque, GError **error);

/* Calls @change for the last that is said of each path; @text is NULL where it is to be removed.
 * Ends with false where @change does. *@damaged gets how many groups before the last are lost. */
bool journal_read(struct journal *journal, journal_change *change, void *opaque, unsigned *damaged,
		  GError **error);

/* Puts a change into the next group. False: there is no room; write what is there, have it last,
 * and empty the journal. In an empty one there is none for what is larger than all of it. */
bool journal_add(struct journal *journal, const char *path, const char *text);
/* Writes the group. False: it may be there or not; empty the journal, which drops it. */
bool journal_write(struct journal *journal, GError **error);
/* Forgets all. The files must last. */
bool journal_empty(struct journal *journal, GError **error);

#endif
