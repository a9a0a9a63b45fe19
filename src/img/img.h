/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge-img: what disk images are.
 *
 *   lodge-img --fork--> child: confine(), probe_image() --a line--> pipe --> lodge-img --> output
 *       '-----fork--> ...      one for each image
 *
 * A child holds one image and its end of a pipe before it reads the image's first byte. Whoever
 * takes it over by a hostile image can say anything of that image and do nothing else: it opens no
 * file, makes no socket and no process (confine.c), knows no other image, and what it writes is
 * bounded and cleaned of what controls terminals before it goes on.
 */
#ifndef LODGE_IMG_IMG_H
#define LODGE_IMG_IMG_H

#include "img/probe.h"

#define IMAGES_MAX 64 /* in one run */

/* --- confine.c --- */
/* From here on only what reading @fd and writing standard output needs. */
bool confine(int fd, GError **error);

/* --- info.c --- */
/* Tells of one image on standard output; @name is for people, or NULL. The exit status. */
int info_image(int fd, const char *name, bool json);

#endif
