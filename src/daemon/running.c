/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of a guest that runs: a line of numbers, then its live XML. */
#include "daemon/guest.h"

#include <stdio.h>
#include <string.h>

#define HEAD "lodge-running 1 "

char *running_path(const struct guest *guest)
{
	g_autofree char *file = g_strdup_printf("%s.%010d", guest->uuid_text, guest->id);

	return g_build_filename(guest->daemon->places.running, file, NULL);
}

char *running_text(int id, const struct domain *live)
{
	g_autofree char *xml = domain_format(live);

	return g_strdup_printf(HEAD "%d\n%s", id, xml);
}

struct domain *running_read(const char *path, int *id, GError **error)
{
	g_autofree char *text = NULL;
	gsize length;
	char *end;

	if (!g_file_get_contents(path, &text, &length, error))
		return NULL;
	end = strchr(text, '\n');
	if (!end || sscanf(text, HEAD "%d", id) != 1 || *id < 0) {
		g_set_error(error, DAEMON_ERROR, 0, "%s does not begin as a record does", path);
		return NULL;
	}
	return domain_parse(end + 1, length - (end + 1 - text), path, NULL, error);
}
