/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storage as the disk has it: a folder and the plain files in it. Every function may take as long
 * as a disk does and is for any thread; none knows of pools or clients.
 *
 * A name is one step: storage_name_is_good() holds for it, and it is opened in the folder without
 * following a link, so that no name leads out.
 */
#ifndef LODGE_DAEMON_STORAGE_H
#define LODGE_DAEMON_STORAGE_H

#include "base/types.h"
#include "daemon/formats.h"

#include <glib.h>
#include <sys/stat.h>

#define STORAGE_FILES_MAX 16384 /* what one answer of the protocol lists */

struct volume {
	char *name;
	const char *format;             /* as lodge-img says */
	char *backing, *backing_format; /* what it is a change of; or NULL */
	u64 capacity;                   /* bytes that a guest sees */
	u64 length;                     /* of the file */
	u64 allocated;                  /* on the disk */
	struct stat st;
};

struct storage_scan {
	GPtrArray *volumes;                 /* struct volume, by name */
	u64 capacity, allocated, available; /* of the file system */
};

/* What a new file is to be. */
struct storage_wish {
	u64 capacity, allocated;
	mode_t mode;
	s64 owner, group; /* -1: whose lodged is */
};

/* A file whose bytes a new one is to have. */
struct storage_source {
	const char *folder, *name;
};

struct storage_resize {
	u64 bytes;
	bool relative, shrink, allocate;
};

/* A part of a file: bytes, or so many zeroes that need not be there. */
struct storage_piece {
	bool hole;
	u8 *bytes;
	u64 length;
};

bool storage_name_is_good(const char *name);
void volume_free(struct volume *volume);

/* The folder's real path, which the caller frees; NULL with @error set: it is none. */
char *storage_real_path(const char *folder, GError **error);
/* Looks at all files; the caller frees scan->volumes. */
bool storage_scan(struct formats *formats, const char *folder, struct storage_scan *scan,
		  GError **error);
/* Makes the folder, and those above it; one that is there is good. */
bool storage_make_folder(const char *folder, mode_t mode, GError **error);
/* Removes it; it must be empty. */
bool storage_remove_folder(const char *folder, GError **error);

/* These three return what is there then; NULL with @error set. With @formats NULL it is raw. */
struct volume *storage_look(struct formats *formats, const char *folder, const char *name,
			    GError **error);
/* @source may be NULL; the new file is at least as long as it. */
struct volume *storage_create(const char *folder, const char *name, const struct storage_wish *wish,
			      const struct storage_source *source, GError **error);
struct volume *storage_resize(struct formats *formats, const char *folder, const char *name,
			      const struct storage_resize *to, GError **error);
bool storage_remove(const char *folder, const char *name, GError **error);
/* Zeroes all that is allocated, in place. */
bool storage_wipe(const char *folder, const char *name, GError **error);

/* A descriptor of the file, which the caller closes; negative with @error set. One to write by
 * holds a lock, which a file that a guest has as its disk does not give. */
int storage_open(const char *folder, const char *name, bool write, GError **error);
/* Reads up to @max bytes into piece->bytes, or finds a hole of up to @hole_max; nothing at the
 * file's end. */
bool storage_read_piece(int fd, u64 offset, u64 max, u64 hole_max, struct storage_piece *piece,
			GError **error);
bool storage_write_piece(int fd, u64 offset, const struct storage_piece *piece, GError **error);
bool storage_sync(int fd, GError **error);

#endif
