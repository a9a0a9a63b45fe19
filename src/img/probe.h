/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is in a disk image, by what its headers say: the format, the size of the disk in it, and
 * what else it names. The headers are hostile: every number is checked against the file and a
 * named maximum, nothing is followed, and a header that contradicts itself is an error, not raw.
 *
 *   probe_image() --> rows of formats, each: is it that? read it --> struct image_info
 *
 * A raw image's content is its guest's, which can write any header there. So what this says is for
 * showing; an image is opened as what its owner says it is.
 */
#ifndef LODGE_IMG_PROBE_H
#define LODGE_IMG_PROBE_H

#include "base/types.h"

#include <glib.h>

#define IMAGE_NAME_MAX 1023 /* bytes of a file's name in a header */

/* Bytes of a file; @read fills all of @bytes or returns false. */
struct image_source {
	u64 bytes;
	bool (*read)(void *opaque, u64 offset, void *data, size_t bytes);
	void *opaque;
};

struct image_info {
	const char *format; /* a static string, as qemu-img and libvirt call it */
	u64 disk_bytes;     /* of the disk in it */
	u64 file_bytes;
	unsigned version;               /* of the format; 0: it has none */
	u64 cluster_bytes;              /* 0: it has none */
	const char *encryption;         /* a static string, or NULL */
	char *backing, *backing_format; /* what it is a change of; or NULL */
	char *data_file;                /* where its bytes are instead; or NULL */
	char *label;                    /* of an ISO image; or NULL */
	unsigned snapshots;
	bool dirty, corrupt;
};

#define IMAGE_ERROR image_error_quark()
GQuark image_error_quark(void);

/* False with @error set: it says that it is of a format, and is not. Clear @info in any case. */
bool probe_image(const struct image_source *source, struct image_info *info, GError **error);
void image_info_clear(struct image_info *info);

#endif
