/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What targets share: failing, seeds from files, inputs as numbers. See fuzz.h. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

static int by_name(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Adds the files of @path to @names, in a stable order. */
static void list_folder(const char *path, GPtrArray *names)
{
	GPtrArray *mine = g_ptr_array_new();
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;

	if (!dir) {
		fprintf(stderr, "cannot read the seeds in %s; set LODGE_SOURCE\n", path);
		exit(1);
	}
	while ((name = g_dir_read_name(dir)))
		g_ptr_array_add(mine, g_build_filename(path, name, NULL));
	g_dir_close(dir);
	g_ptr_array_sort(mine, by_name);
	g_ptr_array_extend_and_steal(names, mine);
}

bool fuzz_seed_file(const char *const *folders, unsigned index, GByteArray *seed)
{
	static GPtrArray *names;
	char *path, *text;
	size_t bytes;

	if (!names) {
		names = g_ptr_array_new();
		for (; *folders; folders++) {
			path = g_build_filename(g_getenv("LODGE_SOURCE") ?: ".", *folders, NULL);
			list_folder(path, names);
			g_free(path);
		}
	}
	if (index >= names->len)
		return false;
	if (g_file_get_contents(names->pdata[index], &text, &bytes, NULL)) {
		g_byte_array_append(seed, (const u8 *)text, bytes);
		g_free(text);
	}
	return true;
}

u64 fuzz_take(struct fuzz_bytes *bytes, unsigned count)
{
	u64 value = 0;
	size_t n = MIN(bytes->left, count);

	memcpy(&value, bytes->next, n);
	bytes->next += n;
	bytes->left -= n;
	return value;
}

void fuzz_give(GByteArray *seed, u64 value, unsigned count)
{
	g_byte_array_append(seed, (const u8 *)&value, count);
}
