/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See debian.h. */
#include "cli/debian.h"

#include "cli/image.h"
#include "launch/launch.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUILDER            "lodge-debian"
#define EXIT_HAS_BEEN_SAID 3

/* The recipe is part of the name: another one makes another image. */
static char *image_path(const char *builder, GError **error)
{
	g_autofree char *recipe = NULL, *digest = NULL, *name = NULL;
	gsize n;

	if (!g_file_get_contents(builder, &recipe, &n, error))
		return NULL;
	digest = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guchar *)recipe, n);
	name = g_strdup_printf("debian-12-%.8s.img", digest);
	return g_build_filename(g_get_user_cache_dir(), "lodge", name, NULL);
}

static bool build(const char *builder, const char *to, GError **error)
{
	const char *argv[] = { builder, to, NULL };
	int status;

	fprintf(stderr, "lodge: building a Debian 12 image, once: about 200 MB of packages are "
			"downloaded, some minutes\n");
	if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL,
			  NULL, &status, error))
		return false;
	if (g_spawn_check_wait_status(status, NULL))
		return true;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_HAS_BEEN_SAID)
		return cli_fail(error, "the image cannot be built until that is there");
	return cli_fail(error, "the image could not be built; what mmdebstrap said is above");
}

char *debian_image(GError **error)
{
	g_autofree char *builder = NULL, *path = NULL, *folder = NULL, *unfinished = NULL;

	if (!host_has_program(BUILDER, &builder)) {
		cli_fail(error, "%s", builder);
		return NULL;
	}
	path = image_path(builder, error);
	if (!path || !access(path, R_OK))
		return g_steal_pointer(&path);
	folder = g_path_get_dirname(path);
	g_mkdir_with_parents(folder, 0700);
	unfinished = g_strdup_printf("%s.%d", path, getpid());
	if (build(builder, unfinished, error) &&
	    (!g_rename(unfinished, path) || cli_fail(error, "%s: %s", path, g_strerror(errno))))
		return g_steal_pointer(&path);
	unlink(unfinished);
	return NULL;
}
