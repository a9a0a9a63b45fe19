/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open files that clients hand to guests: groups of descriptors, each of which has a name, by which
 * a disk uses them in place of its path (<source file='...' fdgroup='NAME'/>).
 *
 *   virDomainFDAssociate          a group of the guest, which is there for each start until its
 *                                 client's connection ends, or the guest has no definition any more
 *   virDomainCreate...WithFiles   descriptors of one start: number N of them is the group "N"
 *
 * What has been started has its own descriptors, and keeps them.
 */
#ifndef LODGE_DAEMON_FILES_H
#define LODGE_DAEMON_FILES_H

#include "daemon/guest.h"

#define FILES_OF_CLIENT_MAX 256 /* descriptors, of all groups */
#define FILES_NAME_MAX      256 /* bytes of a group's name */

/* Copies of the @count descriptors at @fds are the group @name of @guest from now on, in place of
 * those that were. */
bool files_associate(struct guest *guest, const struct rpc_client *client, const char *name,
		     const int *fds, unsigned count, GError **error);
/* The client has gone: its groups go. */
void files_leave(struct guest *guest, const struct rpc_client *client);
void files_free(GPtrArray *groups); /* NULL is ignored */

/* Groups of one start, of copies of @fds; NULL with @error set: not all of them are disks of
 * @domain. The caller calls files_free(). */
GPtrArray *files_of_start(const struct domain *domain, const int *fds, unsigned count,
			  GError **error);
/* Copies for the disks of the guest's live domain, *count of them, from those of this start
 * and then from its groups. False with @error set: there is no such group. The caller calls
 * launch_files_free(). */
bool files_find(const struct guest *guest, struct launch_files **files, unsigned *count,
		GError **error);
/* The first descriptor of a group of the guest, which stays its own; -1: there is none. */
int files_first(const struct guest *guest, const char *name);

#endif
