/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File systems of storage pools of type 'fs' and 'netfs', mounted by mount(8), which knows them. As
 * slow as disks and networks are: for any thread but the main loop's.
 */
#ifndef LODGE_DAEMON_MOUNT_H
#define LODGE_DAEMON_MOUNT_H

#include <glib.h>
#include <stdbool.h>

/* Mounts @source, without devices, programs and set-user-id bits. It is good when it is there
 * already; another one there is not. *@fresh: it was not. @format NULL: mount(8) finds out. */
bool mount_on(const char *source, const char *format, const char *folder, bool *fresh,
	      GError **error);
/* Nothing there is good. */
bool mount_off(const char *folder, GError **error);

#endif
