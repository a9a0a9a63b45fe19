/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables for people and for programs. See table.h. */
#include "cli/table.h"

#include <glib.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

struct table {
	const char *const *keys, *const *titles;
	unsigned columns;
	GPtrArray *cells; /* json_t */
};

static void free_cell(gpointer cell)
{
	json_decref(cell);
}

struct table *table_new(const char *const *keys, const char *const *titles)
{
	struct table *table = g_new0(struct table, 1);

	table->keys = keys;
	table->titles = titles;
	while (keys[table->columns])
		table->columns++;
	table->cells = g_ptr_array_new_with_free_func(free_cell);
	return table;
}

void table_free(struct table *table)
{
	g_ptr_array_free(table->cells, TRUE);
	g_free(table);
}

void table_add_text(struct table *table, const char *text)
{
	g_autofree char *good = g_utf8_make_valid(text, -1);

	g_ptr_array_add(table->cells, json_string(good));
}

void table_add_number(struct table *table, int64_t number)
{
	g_ptr_array_add(table->cells, json_integer(number));
}

void table_add_bytes(struct table *table, uint64_t bytes, bool json)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double size = bytes;
	unsigned unit = 0;
	char text[32];

	if (json) {
		table_add_number(table, bytes);
		return;
	}
	for (; size >= 1024 && unit + 1 < G_N_ELEMENTS(units); unit++)
		size /= 1024;
	snprintf(text, sizeof(text), unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
	table_add_text(table, text);
}

void table_add_bool(struct table *table, bool yes)
{
	g_ptr_array_add(table->cells, json_boolean(yes));
}

void table_add_none(struct table *table)
{
	g_ptr_array_add(table->cells, json_null());
}

static unsigned row_count(const struct table *table)
{
	return table->cells->len / table->columns;
}

static char *cell_text(const struct table *table, unsigned row, unsigned column)
{
	const json_t *cell = table->cells->pdata[row * table->columns + column];

	switch (json_typeof(cell)) {
	case JSON_STRING: return g_strdup(json_string_value(cell));
	case JSON_INTEGER:
		return g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(cell));
	case JSON_TRUE: return g_strdup("yes");
	case JSON_FALSE: return g_strdup("no");
	default: return g_strdup("-");
	}
}

static json_t *row_object(const struct table *table, unsigned row)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < table->columns; i++)
		json_object_set(object, table->keys[i],
				table->cells->pdata[row * table->columns + i]);
	return object;
}

static void print_json(json_t *value)
{
	char *text = json_dumps(value, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

	printf("%s\n", text);
	free(text);
	json_decref(value);
}

static void add_cell(GString *out, const char *text, unsigned width, bool last)
{
	g_string_append_printf(out, "%s%*s", text,
			       last ? 0 : (int)(width - g_utf8_strlen(text, -1)) + 3, "");
}

char *table_text(const struct table *table)
{
	g_autofree unsigned *widths = g_new(unsigned, table->columns);
	GString *out = g_string_new(NULL);

	for (unsigned i = 0; i < table->columns; i++) {
		widths[i] = g_utf8_strlen(table->titles[i], -1);
		for (unsigned row = 0; row < row_count(table); row++) {
			g_autofree char *text = cell_text(table, row, i);

			widths[i] = MAX(widths[i], g_utf8_strlen(text, -1));
		}
	}
	for (unsigned i = 0; i < table->columns; i++)
		add_cell(out, table->titles[i], widths[i], i + 1 == table->columns);
	g_string_append_c(out, '\n');
	for (unsigned row = 0; row < row_count(table); row++) {
		for (unsigned i = 0; i < table->columns; i++) {
			g_autofree char *text = cell_text(table, row, i);

			add_cell(out, text, widths[i], i + 1 == table->columns);
		}
		g_string_append_c(out, '\n');
	}
	return g_string_free(out, FALSE);
}

void table_print(const struct table *table, bool json)
{
	json_t *array;

	if (!json) {
		g_autofree char *text = table_text(table);

		printf("%s", text);
		return;
	}
	array = json_array();
	for (unsigned row = 0; row < row_count(table); row++)
		json_array_append_new(array, row_object(table, row));
	print_json(array);
}

void table_print_fields(const struct table *table, bool json)
{
	int width = 0;

	if (json) {
		print_json(row_object(table, 0));
		return;
	}
	for (unsigned i = 0; i < table->columns; i++)
		width = MAX(width, g_utf8_strlen(table->titles[i], -1));
	for (unsigned i = 0; i < table->columns; i++) {
		g_autofree char *name = g_strdup_printf("%s:", table->titles[i]);
		g_autofree char *text = cell_text(table, 0, i);

		printf("%-*s%s\n", width + 3, name, text);
	}
}
