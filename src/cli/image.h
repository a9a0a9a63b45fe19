/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What people have to make a guest from, and the kernel in it. Lodge has no firmware yet: a guest's
 * kernel and initial RAM disk are handed to it, so they are taken out of its image first.
 *
 * Nothing of an image is believed: what is read of it has bounds, and names in it are only used
 * when they are plain.
 */
#ifndef LODGE_CLI_IMAGE_H
#define LODGE_CLI_IMAGE_H

#include <glib.h>
#include <stdbool.h>

enum image_kind {
	IMAGE_KERNEL, /* a bzImage, or an ELF file */
	IMAGE_DISK,   /* raw, with or without partitions */
	IMAGE_QCOW2,
	IMAGE_ISO,
};

/* What a guest boots. */
struct boot {
	char *kernel, *initrd; /* files; the latter NULL: none */
	char *cmdline;
};

void boot_clear(struct boot *boot);

bool image_probe(const char *path, enum image_kind *kind, GError **error);
/* Looks into a raw disk image or an ISO, and puts kernel and initial RAM disk into @folder. */
bool image_take_boot(const char *path, enum image_kind kind, const char *folder, struct boot *boot,
		     GError **error);
/* A raw copy of a qcow2 image, by qemu-img where that is installed: a file in @folder, or NULL. */
char *image_convert(const char *path, const char *folder, GError **error);

/* --- by image.c and others that fail in words of their own --- */
GQuark cli_error_quark(void);
#define CLI_ERROR cli_error_quark()
bool cli_fail(GError **error, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

#endif
