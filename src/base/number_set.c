/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of small numbers. See number_set.h. */
#include "base/number_set.h"

#include <glib.h>
#include <stdlib.h>

static bool read_number(const char **text, unsigned *number)
{
	char *end;
	unsigned long value;

	if (!g_ascii_isdigit(**text))
		return false;
	value = strtoul(*text, &end, 10);
	*text = end;
	*number = MIN(value, NUMBER_SET_MAX);
	return value < NUMBER_SET_MAX;
}

static void change(struct number_set *set, unsigned first, unsigned last, bool in)
{
	for (unsigned i = first; i <= last; i++) {
		if (in)
			set->bits[i / 64] |= BIT(i % 64);
		else
			set->bits[i / 64] &= ~BIT(i % 64);
	}
}

/* One of what commas part: a number, a range, or ^number. */
static bool read_part(const char **text, struct number_set *set)
{
	bool out = **text == '^';
	unsigned first, last;

	*text += out;
	if (!read_number(text, &first))
		return false;
	last = first;
	if (!out && **text == '-') {
		(*text)++;
		if (!read_number(text, &last) || last < first)
			return false;
	}
	change(set, first, last, !out);
	return true;
}

bool number_set_parse(const char *text, struct number_set *set)
{
	bool good;

	*set = (struct number_set){ { 0 } };
	good = read_part(&text, set);
	while (good && *text == ',') {
		text++;
		good = read_part(&text, set);
	}
	return good && !*text && !number_set_empty(set);
}

char *number_set_format(const struct number_set *set)
{
	GString *text = g_string_new(NULL);

	for (unsigned first = 0, last; first < NUMBER_SET_MAX; first = last + 1) {
		last = first;
		if (!number_set_has(set, first))
			continue;
		while (number_set_has(set, last + 1))
			last++;
		g_string_append_printf(text, first == last ? "%s%u" : "%s%u-%u",
				       text->len ? "," : "", first, last);
	}
	return g_string_free(text, FALSE);
}

bool number_set_has(const struct number_set *set, unsigned number)
{
	return number < NUMBER_SET_MAX && set->bits[number / 64] & BIT(number % 64);
}

bool number_set_empty(const struct number_set *set)
{
	for (unsigned i = 0; i < ARRAY_LEN(set->bits); i++)
		if (set->bits[i])
			return false;
	return true;
}
