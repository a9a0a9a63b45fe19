/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk of a new Debian 12 guest. */
#ifndef LODGE_CLI_DEBIAN_H
#define LODGE_CLI_DEBIAN_H

#include <glib.h>

/* The file of the image that all such guests begin as: made by lodge-debian at the first call, and
 * kept below the caller's cache. NULL: failed. Free with g_free(). */
char *debian_image(GError **error);

#endif
