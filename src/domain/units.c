/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Amounts of memory. libvirt's units: bytes and b; K, KiB, M, MiB, ... are powers of 1024; KB, MB,
 * ... are powers of 1000; letters in any case; without a unit, KiB.
 */
#include "domain/domain.h"

#include <string.h>

/* The factor of a unit, or 0. */
static u64 unit_factor(const char *unit)
{
	static const char letters[] = "kmgtpe";
	const char *letter;
	u64 base, factor = 1;

	if (!g_ascii_strcasecmp(unit, "b") || !g_ascii_strcasecmp(unit, "byte") ||
	    !g_ascii_strcasecmp(unit, "bytes"))
		return 1;
	letter = *unit ? strchr(letters, g_ascii_tolower(*unit)) : NULL;
	if (!letter)
		return 0;
	if (!unit[1] || !g_ascii_strcasecmp(unit + 1, "ib"))
		base = 1024;
	else if (!g_ascii_strcasecmp(unit + 1, "b"))
		base = 1000;
	else
		return 0;
	for (const char *p = letters; p <= letter; p++)
		factor *= base;
	return factor;
}

bool domain_size_bytes(const char *number, const char *unit, u64 *bytes)
{
	u64 factor = unit_factor(unit ? unit : "KiB");
	u64 count;

	return factor && g_ascii_string_to_unsigned(number, 10, 0, G_MAXUINT64, &count, NULL) &&
	       !__builtin_mul_overflow(count, factor, bytes);
}
