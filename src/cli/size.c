/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See size.h. */
#include "cli/size.h"

#include <glib.h>
#include <string.h>

uint64_t size_parse(const char *text, uint64_t bare)
{
	static const char units[] = "KMGT";
	char *rest;
	guint64 n = g_ascii_strtoull(text, &rest, 10), unit = bare;
	const char *found = *rest ? strchr(units, g_ascii_toupper(*rest)) : NULL;

	if (found)
		unit = 1ull << 10 * (found - units + 1);
	if (rest == text || *text == '-' || *text == '+' || n > G_MAXUINT64 / unit)
		return 0;
	rest += !!found;
	if (found && (!strcmp(rest, "iB") || !strcmp(rest, "B")))
		rest = "";
	return *rest ? 0 : n * unit;
}
