/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A log file that is bounded, written by several threads, and the areas of debug lines. */
#include "base/log_sink.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS   4
#define LINES     500
#define BYTES_MAX 10000

static char *make_folder(void)
{
	char *folder = g_dir_make_tmp("lodge-log-XXXXXX", NULL);

	g_assert_nonnull(folder);
	return folder;
}

static void remove_folder(char *folder)
{
	static const char *const suffixes[] = { "", ".1", ".2" };

	log_open(STDERR_FILENO, LOG_WARNING);
	for (unsigned i = 0; i < G_N_ELEMENTS(suffixes); i++) {
		char *path = g_strconcat(folder, "/log", suffixes[i], NULL);

		g_unlink(path);
		g_free(path);
	}
	g_assert_cmpint(g_rmdir(folder), ==, 0); /* and nothing else was there */
	g_free(folder);
}

static char *read_log(const char *folder, const char *suffix)
{
	char *path = g_strconcat(folder, "/log", suffix, NULL), *text = NULL;

	g_file_get_contents(path, &text, NULL, NULL);
	g_free(path);
	return text;
}

static void *write_lines(void *opaque)
{
	for (int i = 0; i < LINES; i++)
		log_info("test", "thread %d line %d end", GPOINTER_TO_INT(opaque), i);
	return NULL;
}

/* Each line is whole. */
static void check_lines(const char *text)
{
	char **lines = g_strsplit(text, "\n", -1);
	guint count = g_strv_length(lines);

	g_assert_cmpuint(count, >, 10);
	g_assert_cmpstr(lines[count - 1], ==, "");
	for (guint i = 0; i + 1 < count; i++) {
		g_assert_nonnull(strstr(lines[i], " info test: thread "));
		g_assert_true(g_str_has_suffix(lines[i], " end"));
	}
	g_strfreev(lines);
}

static void test_bounded(void)
{
	static const char *const suffixes[] = { "", ".1", ".2" };
	char *folder = make_folder(), *path = g_strconcat(folder, "/log", NULL), *text;
	GThread *threads[THREADS];

	g_assert_true(log_to_file(path, LOG_INFO, BYTES_MAX));
	for (int i = 0; i < THREADS; i++)
		threads[i] = g_thread_new("log", write_lines, GINT_TO_POINTER(i));
	for (int i = 0; i < THREADS; i++)
		g_thread_join(threads[i]);
	for (unsigned i = 0; i < G_N_ELEMENTS(suffixes); i++) {
		text = read_log(folder, suffixes[i]);
		g_assert_nonnull(text);
		g_assert_cmpuint(strlen(text), <=, BYTES_MAX);
		check_lines(text);
		g_free(text);
	}
	text = read_log(folder, ".3");
	g_assert_null(text);
	g_free(path);
	remove_folder(folder);
}

static void test_appended(void)
{
	char *folder = make_folder(), *path = g_strconcat(folder, "/log", NULL), *text;

	g_assert_true(g_file_set_contents(path, "before\n", -1, NULL));
	g_assert_true(log_to_file(path, LOG_INFO, BYTES_MAX));
	log_info("test", "after");
	log_debug("test", "not this");
	text = read_log(folder, "");
	g_assert_true(g_str_has_prefix(text, "before\n"));
	g_assert_true(g_str_has_suffix(text, " info test: after\n"));
	g_free(text);
	g_assert_false(log_to_file("/nonexistent/log", LOG_INFO, BYTES_MAX));
	g_free(path);
	remove_folder(folder);
}

static bool is_written(const char *areas, const char *area)
{
	char *folder = make_folder(), *path = g_strconcat(folder, "/log", NULL), *text;
	bool found;

	if (areas)
		g_setenv("LODGE_DEBUG", areas, TRUE);
	g_assert_true(log_to_file(path, LOG_INFO, BYTES_MAX));
	g_unsetenv("LODGE_DEBUG");
	log_line(LOG_DEBUG, area, "x");
	log_about(LOG_INFO, area, "guest", "always");
	text = read_log(folder, "");
	g_assert_nonnull(strstr(text, "always"));
	found = strstr(text, ": x\n");
	g_free(text);
	g_free(path);
	remove_folder(folder);
	return found;
}

static void test_areas(void)
{
	g_assert_false(is_written(NULL, "rpc"));
	g_assert_true(is_written("rpc", "rpc"));
	g_assert_true(is_written("store,rpc", "rpc"));
	g_assert_true(is_written("all", "rpc"));
	g_assert_true(is_written("store,all", "rpc"));
	g_assert_false(is_written("store", "rpc"));
	g_assert_false(is_written("rpcx,rp", "rpc"));
	g_assert_false(is_written("", "rpc"));
}

/* What is said of LODGE_DEBUG=@areas, for g_free(). */
static char *said_of(const char *areas)
{
	char *folder = make_folder(), *path = g_strconcat(folder, "/log", NULL), *text;

	g_setenv("LODGE_DEBUG", areas, TRUE);
	g_assert_true(log_to_file(path, LOG_INFO, BYTES_MAX));
	log_check_areas("test");
	g_unsetenv("LODGE_DEBUG");
	text = read_log(folder, "");
	g_free(path);
	remove_folder(folder);
	return text;
}

static void test_unknown_areas(void)
{
	static const char *const good[] = { "", ",", "all", "rpc", "store,,rpc", "kvm,all" };
	static const char *const bad[] = { "nix", "rpc,nix", "all,nix", "nix,rpcx" };

	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autofree char *text = said_of(good[i]);

		g_assert_cmpstr(text, ==, "");
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *text = said_of(bad[i]);

		g_assert_nonnull(strstr(text, " warning test: LODGE_DEBUG: no area 'nix' has "));
		g_assert_nonnull(strstr(text, "rpc,storage"));
		g_assert_null(strstr(text, "rpcx"));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/log/areas", test_areas); /* before there are threads */
	g_test_add_func("/log/unknown-areas", test_unknown_areas);
	g_test_add_func("/log/appended", test_appended);
	g_test_add_func("/log/bounded", test_bounded);
	return g_test_run();
}
