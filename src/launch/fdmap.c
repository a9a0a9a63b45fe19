/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of descriptors for a child; see private.h. */
#include "launch/private.h"

#include <unistd.h>

void fd_map_init(struct fd_map *map)
{
	map->fds = g_array_new(FALSE, FALSE, sizeof(int));
}

void fd_map_clear(struct fd_map *map)
{
	for (unsigned i = 0; map->fds && i < map->fds->len; i++)
		if (g_array_index(map->fds, int, i) >= 0)
			close(g_array_index(map->fds, int, i));
	g_clear_pointer(&map->fds, g_array_unref);
}

int fd_map_add(struct fd_map *map, int fd)
{
	g_array_append_val(map->fds, fd);
	return FIRST_PASSED_FD + map->fds->len - 1;
}
