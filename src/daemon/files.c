/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups of descriptors. See files.h. */
#include "daemon/files.h"

#include "rpc/carried.h"
#include "rpc_constants.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct group {
	char *name;
	const struct rpc_client *client; /* with whom it goes; only compared */
	struct rpc_fds fds;
};

static void free_group(gpointer opaque)
{
	struct group *group = opaque;

	rpc_fds_close(&group->fds);
	g_free(group->name);
	g_free(group);
}

void files_free(GPtrArray *groups)
{
	if (groups)
		g_ptr_array_unref(groups);
}

static bool copy(const int *fds, unsigned count, struct rpc_fds *copies, GError **error)
{
	copies->count = 0;
	for (unsigned i = 0; i < count; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			rpc_fds_close(copies);
			return daemon_refuse(error, VIR_ERR_SYSTEM_ERROR,
					     "lodged cannot keep a descriptor: %s",
					     g_strerror(errno));
		}
		rpc_fds_add(copies, fd);
	}
	return true;
}

static struct group *new_group(const char *name, const int *fds, unsigned count, GError **error)
{
	struct group *group = g_new0(struct group, 1);

	if (!copy(fds, count, &group->fds, error)) {
		g_free(group);
		return NULL;
	}
	group->name = g_strdup(name);
	return group;
}

static struct group *find(GPtrArray *groups, const char *name)
{
	for (guint i = 0; groups && i < groups->len; i++) {
		struct group *group = groups->pdata[i];

		if (!strcmp(group->name, name))
			return group;
	}
	return NULL;
}

/* --- of clients --- */

/* How many descriptors the client keeps here, except in the group @name of @guest. */
static unsigned count_of_client(const struct guest *guest, const struct rpc_client *client,
				const char *name)
{
	GPtrArray *all = guests_all(guest->daemon->guests);
	unsigned count = 0;

	for (guint i = 0; i < all->len; i++) {
		const struct guest *each = all->pdata[i];

		for (guint j = 0; each->files && j < each->files->len; j++) {
			const struct group *group = each->files->pdata[j];

			if (group->client == client && (each != guest || strcmp(group->name, name)))
				count += group->fds.count;
		}
	}
	g_ptr_array_unref(all);
	return count;
}

bool files_associate(struct guest *guest, const struct rpc_client *client, const char *name,
		     const int *fds, unsigned count, GError **error)
{
	struct group *group, *before;

	if (!count)
		return daemon_refuse(error, VIR_ERR_INVALID_ARG,
				     "a group of descriptors has one at least");
	if (!*name || strlen(name) > FILES_NAME_MAX)
		return daemon_refuse(error, VIR_ERR_INVALID_ARG,
				     "the name of a group of descriptors has 1 to %d bytes",
				     FILES_NAME_MAX);
	if (count_of_client(guest, client, name) + count > FILES_OF_CLIENT_MAX)
		return daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
				     "a connection keeps at most %d descriptors",
				     FILES_OF_CLIENT_MAX);
	group = new_group(name, fds, count, error);
	if (!group)
		return false;
	group->client = client;
	if (!guest->files)
		guest->files = g_ptr_array_new_with_free_func(free_group);
	before = find(guest->files, name);
	if (before)
		g_ptr_array_remove(guest->files, before);
	g_ptr_array_add(guest->files, group);
	return true;
}

void files_leave(struct guest *guest, const struct rpc_client *client)
{
	for (guint i = guest->files ? guest->files->len : 0; i > 0; i--)
		if (((struct group *)guest->files->pdata[i - 1])->client == client)
			g_ptr_array_remove_index(guest->files, i - 1);
}

int files_first(const struct guest *guest, const char *name)
{
	const struct group *group = find(guest->files, name);

	return group ? group->fds.items[0] : -1;
}

/* --- of a start --- */

static bool is_named(const struct domain *domain, const char *name)
{
	for (guint i = 0; i < domain->disks->len; i++)
		if (!g_strcmp0(((struct domain_disk *)domain->disks->pdata[i])->fd_group, name))
			return true;
	return false;
}

GPtrArray *files_of_start(const struct domain *domain, const int *fds, unsigned count,
			  GError **error)
{
	GPtrArray *groups = g_ptr_array_new_with_free_func(free_group);

	for (unsigned i = 0; i < count; i++) {
		char name[16];
		struct group *group = NULL;

		snprintf(name, sizeof(name), "%u", i);
		if (is_named(domain, name))
			group = new_group(name, fds + i, 1, error);
		else
			/* as of a hypervisor that has no use for any */
			daemon_refuse(error, VIR_ERR_NO_SUPPORT,
				      "this function is not supported by the connection driver: "
				      "no disk of domain '%s' uses descriptor %u; a disk with "
				      "<source file='...' fdgroup='%u'/> does",
				      domain->name, i, i);
		if (!group) {
			g_ptr_array_unref(groups);
			return NULL;
		}
		g_ptr_array_add(groups, group);
	}
	return groups;
}

static bool find_one(const struct guest *guest, const struct domain_disk *disk,
		     struct launch_files *files, GError **error)
{
	const struct group *group = find(guest->start_files, disk->fd_group);
	struct rpc_fds copies;

	if (!group)
		group = find(guest->files, disk->fd_group);
	if (!group)
		return daemon_refuse(error, VIR_ERR_INVALID_ARG,
				     "file descriptor group '%s' of disk '%s' was not associated "
				     "with the domain; virsh dom-fd-associate and virsh start do "
				     "both in one connection",
				     disk->fd_group, disk->target);
	if (!copy(group->fds.items, group->fds.count, &copies, error))
		return false;
	*files = (struct launch_files){ .group = g_strdup(disk->fd_group),
					.fds = g_memdup2(copies.items, copies.count * sizeof(int)),
					.count = copies.count };
	return true;
}

bool files_find(const struct guest *guest, struct launch_files **files, unsigned *count,
		GError **error)
{
	const GPtrArray *disks = guest->live->disks;

	*files = g_new0(struct launch_files, disks->len);
	*count = 0;
	for (guint i = 0; i < disks->len; i++) {
		const struct domain_disk *disk = disks->pdata[i];

		if (!disk->fd_group)
			continue;
		if (!find_one(guest, disk, *files + *count, error)) {
			launch_files_free(*files, *count);
			*files = NULL;
			*count = 0;
			return false;
		}
		++*count;
	}
	return true;
}
