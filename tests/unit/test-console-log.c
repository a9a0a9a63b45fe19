/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a console prints is kept, whoever reads it and however much it is. */
#include "console/console.h"
#include "console/log.h"

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

struct places {
	char *folder, *log, *old;
};

static void set_up(struct places *p, gconstpointer nothing)
{
	p->folder = g_dir_make_tmp("console-log-XXXXXX", NULL);
	p->log = g_build_filename(p->folder, "log", NULL);
	p->old = g_build_filename(p->folder, "log.1", NULL);
}

static void tear_down(struct places *p, gconstpointer nothing)
{
	g_unlink(p->log);
	g_unlink(p->old);
	g_rmdir(p->folder);
	g_free(p->log);
	g_free(p->old);
	g_free(p->folder);
}

static char *text_of(const char *path)
{
	char *text = NULL;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	return text;
}

static int open_log(const char *path)
{
	return open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static struct console_log *open_both(const struct places *p, u64 most)
{
	return console_log_open(open_log(p->log), open(p->old, O_RDWR | O_CREAT | O_CLOEXEC, 0600),
				most, "test");
}

static void print(struct console_log *log, const char *text)
{
	console_log_add(log, (const u8 *)text, strlen(text));
	console_log_write(log);
}

static void is(const char *path, const char *expected)
{
	g_autofree char *text = text_of(path);

	g_assert_cmpstr(text, ==, expected);
}

static void test_bound(struct places *p, gconstpointer nothing)
{
	struct console_log *log = open_both(p, 10);

	print(log, "one\n");
	print(log, "two\n");
	is(p->log, "one\ntwo\n");
	is(p->old, "");
	print(log, "three\n"); /* would be 14 */
	is(p->log, "three\n");
	is(p->old, "one\ntwo\n");
	print(log, "longer than the bound\n"); /* never cut */
	is(p->log, "longer than the bound\n");
	is(p->old, "three\n");
	console_log_close(log);
	log = open_both(p, 10); /* what is there counts */
	print(log, "x");
	is(p->log, "x");
	is(p->old, "longer than the bound\n");
	console_log_close(log);
}

static void test_without_old(struct places *p, gconstpointer nothing)
{
	struct console_log *log = console_log_open(open_log(p->log), -1, 10, "test");

	print(log, "12345678");
	print(log, "9abc");
	is(p->log, "9abc");
	g_assert_false(console_log_waits(log));
	g_assert_true(console_log_add(log, (const u8 *)"d", 1));
	g_assert_false(console_log_add(log, (const u8 *)"e", 1));
	g_assert_true(console_log_waits(log));
	console_log_close(log); /* writes it */
	is(p->log, "9abcde");   /* 6 bytes */
}

static void test_too_much(struct places *p, gconstpointer nothing)
{
	struct console_log *log = open_both(p, 16 * MIB);
	g_autofree char *text = NULL, *much = g_strnfill(MIB + 77, 'x');

	console_log_add(log, (const u8 *)much, MIB + 77);
	console_log_close(log);
	text = text_of(p->log);
	g_assert_cmpuint(strspn(text, "x"), ==, MIB);
	g_assert_cmpstr(text + MIB, ==, "\n[77 bytes are left out: the disk is too slow]\n");
}

static bool has(const struct places *p, const char *expected)
{
	g_autofree char *text = text_of(p->log);

	return !strcmp(text, expected);
}

/* By the console's own thread, a moment later; also where nobody can read it at all. */
static void test_console(struct places *p, gconstpointer driver)
{
	int ends[2] = { -1, -1 };
	struct console_config config = { .driver = driver, .fd = -1, .fd_in = -1, .fd_out = -1 };
	struct console *console;

	g_assert_cmpint(pipe2(ends, O_CLOEXEC | O_NONBLOCK), ==, 0);
	config.fd_out = ends[1];
	config.log_fd = open_log(p->log);
	config.log_old_fd = -1;
	config.log_bytes = MIB;
	console = console_open(&config, NULL);
	g_assert_nonnull(console);
	console_write(console, "login: ", 7);
	console_push(console, "x", 1);
	while (!has(p, "login: x"))
		g_usleep(1000);
	if (!strcmp(driver, "fd")) {
		static const u8 much[CONSOLE_BUFFER_BYTES];
		size_t taken = 0, n;

		/* nobody reads the pipe */
		while ((n = console_write(console, much, sizeof(much))))
			taken += n;
		console_push(console, "y", 1);
		console_close(console);
		g_assert_cmpuint(taken, >, 0);
		console = NULL;
	}
	console_close(console);
	if (!strcmp(driver, "fd")) {
		g_autofree char *text = NULL;
		gsize length;

		g_assert_true(g_file_get_contents(p->log, &text, &length, NULL));
		g_assert_cmpint(text[length - 1], ==, 'y'); /* lost but for the log */
	}
	close(ends[0]);
	close(ends[1]);
}

/* A pseudo terminal that nobody has open holds up no guest, and keeps nothing for who comes. */
static void test_nobody_there(void)
{
	static const u8 much[2 * CONSOLE_BUFFER_BYTES];
	struct console_config config = { .driver = "pty" };
	struct console *console;
	char name[64], text[16];
	int other;
	ssize_t n;

	config.fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	g_assert_cmpint(config.fd, >=, 0);
	g_assert_cmpint(unlockpt(config.fd), ==, 0);
	g_assert_cmpint(ptsname_r(config.fd, name, sizeof(name)), ==, 0);
	other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	g_assert_cmpint(other, >=, 0);
	close(other);
	console = console_open(&config, NULL);
	g_assert_nonnull(console);
	for (size_t done = 0; done < sizeof(much);) {
		size_t taken = console_write(console, much, MIN(sizeof(much) - done, 4096));

		g_assert_cmpuint(taken, >, 0);
		done += taken;
	}
	while (console_room(console) < CONSOLE_BUFFER_BYTES)
		g_usleep(1000);
	other = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	g_assert_cmpint(read(other, text, sizeof(text)), ==, -1);
	console_write(console, "here\n", 5);
	while ((n = read(other, text, sizeof(text))) < 0)
		g_usleep(1000);
	g_assert_cmpint(n, >=, 5);
	g_assert_cmpint(memcmp(text, "here", 4), ==, 0);
	console_close(console);
	close(other);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/console-log/bound", struct places, NULL, set_up, test_bound, tear_down);
	g_test_add("/console-log/without-old", struct places, NULL, set_up, test_without_old,
		   tear_down);
	g_test_add("/console-log/too-much", struct places, NULL, set_up, test_too_much, tear_down);
	g_test_add("/console-log/null", struct places, "null", set_up, test_console, tear_down);
	g_test_add("/console-log/descriptors", struct places, "fd", set_up, test_console,
		   tear_down);
	g_test_add_func("/console-log/nobody-there", test_nobody_there);
	return g_test_run();
}
