/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table on standard output: columns for people, or JSON for programs: an array with an object for
 * each row, or, of table_print_fields(), one object.
 *
 * A cell is added after the other, row after row.
 */
#ifndef LODGE_CLI_TABLE_H
#define LODGE_CLI_TABLE_H

#include <stdbool.h>
#include <stdint.h>

struct table;

/* @keys: JSON's names of the columns; @titles: what people read above them. Both end with NULL and
 * outlive the table. */
struct table *table_new(const char *const *keys, const char *const *titles);
void table_free(struct table *table);
void table_add_text(struct table *table, const char *text);
void table_add_number(struct table *table, int64_t number);
/* "20.0 GiB"; the number, where programs read the table (@json). */
void table_add_bytes(struct table *table, uint64_t bytes, bool json);
/* "yes" and "no"; true and false. */
void table_add_bool(struct table *table, bool yes);
/* "-"; null. */
void table_add_none(struct table *table);
void table_print(const struct table *table, bool json);
/* The columns, for people; for g_free(). */
char *table_text(const struct table *table);
/* Of a table with one row: a line for each column. */
void table_print_fields(const struct table *table, bool json);

#endif
