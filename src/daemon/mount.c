/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See mount.h. */
#include "daemon/mount.h"

#include "daemon/daemon.h"
#include "rpc_constants.h"

#include <string.h>

#define MOUNTS       "/proc/self/mounts"
#define OPTIONS      "nodev,nosuid,noexec"
#define SAID_MAX     512 /* of what mount(8) says */
#define SOURCE_FIELD 0
#define FOLDER_FIELD 1

/* What is mounted on the folder, the last one if there are several; NULL: nothing. The caller frees
 * it. fstab(5): what would end a field is in octal, which g_strcompress() reads. */
static char *find_source(const char *folder)
{
	g_autofree char *text = NULL, *found = NULL;
	g_auto(GStrv) lines = NULL;

	if (!g_file_get_contents(MOUNTS, &text, NULL, NULL))
		return NULL;
	lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		g_auto(GStrv) fields = g_strsplit(*line, " ", FOLDER_FIELD + 2);
		g_autofree char *where = NULL;

		if (g_strv_length(fields) <= FOLDER_FIELD)
			continue;
		where = g_strcompress(fields[FOLDER_FIELD]);
		if (strcmp(where, folder))
			continue;
		g_free(found);
		found = g_strcompress(fields[SOURCE_FIELD]);
	}
	return g_steal_pointer(&found);
}

static bool run(const char *const *argv, GError **error)
{
	g_autofree char *said = NULL;
	GError *why = NULL;
	int status;

	if (!g_spawn_sync("/", (char **)argv, NULL,
			  G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &said,
			  &status, &why)) {
		g_set_error(error, DAEMON_ERROR, VIR_ERR_SYSTEM_ERROR, "cannot run %s: %s", argv[0],
			    why->message);
		g_error_free(why);
		return false;
	}
	if (g_spawn_check_wait_status(status, NULL))
		return true;
	g_strstrip(said);
	if (strlen(said) > SAID_MAX)
		said[SAID_MAX] = '\0';
	g_set_error(error, DAEMON_ERROR, VIR_ERR_OPERATION_FAILED, "operation failed: %s: %s",
		    argv[0], *said ? said : "it failed without a word");
	return false;
}

bool mount_on(const char *source, const char *format, const char *folder, bool *fresh,
	      GError **error)
{
	const char *const argv[] = { "mount", "-t",    format ? format : "auto",
				     "-o",    OPTIONS, "--",
				     source,  folder,  NULL };
	g_autofree char *there = find_source(folder);

	*fresh = !there;
	if (!there)
		return run(argv, error);
	return !strcmp(there, source) ||
	       daemon_refuse(error, VIR_ERR_OPERATION_INVALID,
			     "Requested operation is not valid: %s is mounted on %s, and not %s; "
			     "unmount it",
			     there, folder, source);
}

bool mount_off(const char *folder, GError **error)
{
	const char *const argv[] = { "umount", "--", folder, NULL };
	g_autofree char *there = find_source(folder);

	return !there || run(argv, error);
}
