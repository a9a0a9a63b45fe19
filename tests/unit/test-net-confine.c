/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge-net's confinement, from inside: what a guest that took it over would try, each in a child
 * of its own, which reports by its exit status.
 */
#include "net-helper/helper.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY_SOCKETS 8192

static int log_fd; /* a file that it has open */

/* Each returns true when it could be done. */

static bool can_look_at_path(void)
{
	struct stat st;

	return fstatat(AT_FDCWD, "/etc/passwd", &st, 0) == 0 ||
	       fstatat(AT_FDCWD, "/etc/passwd", &st, AT_EMPTY_PATH) == 0;
}

static bool can_look_at_link(void)
{
	struct stat st;

	return lstat("/usr", &st) == 0;
}

static bool can_look_by_statx(void)
{
	struct statx st;

	return statx(AT_FDCWD, "/usr", 0, STATX_SIZE, &st) == 0;
}

static bool can_write_file(void)
{
	return open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) >= 0;
}

static bool can_fill_log(void)
{
	return write(log_fd, "x", 1) == 1;
}

static bool can_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool can_hold_many(void)
{
	int n = 0;

	while (n < MANY_SOCKETS && socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0)
		n++;
	return n == MANY_SOCKETS;
}

static bool can_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid > 0;
}

static bool can_lock_memory(void)
{
	return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) !=
	       MAP_FAILED;
}

static bool can_use_much_memory(void)
{
	return mmap(NULL, 4 * GIB, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static bool can_change_limits(void)
{
	const struct rlimit none = { 0, 0 };

	return setrlimit(RLIMIT_CORE, &none) == 0;
}

static const struct {
	const char *name;
	bool (*can)(void);
} rows[] = {
	{ "look at a path", can_look_at_path },
	{ "look at a link", can_look_at_link },
	{ "look by statx", can_look_by_statx },
	{ "write a file", can_write_file },
	{ "fill a log", can_fill_log },
	{ "make a UNIX socket", can_unix_socket },
	{ "hold many sockets", can_hold_many },
	{ "make a process", can_fork },
	{ "lock memory", can_lock_memory },
	{ "use 4 GiB of memory", can_use_much_memory },
	{ "change its limits", can_change_limits },
};

enum { REFUSED = 40, ALLOWED, BROKEN }; /* exit statuses */

static int status_of_child(bool (*can)(void), bool confined)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(confined && !confine(NULL) ? BROKEN : can() ? ALLOWED : REFUSED);
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_attempt(gconstpointer number)
{
	bool (*can)(void) = rows[GPOINTER_TO_UINT(number)].can;

	if (status_of_child(can, false) != ALLOWED) { /* then a refusal would prove nothing */
		g_test_skip("this host refuses it to everybody");
		return;
	}
	g_assert_cmpint(status_of_child(can, true), ==, REFUSED);
}

/* As libslirp reads the resolver's configuration: has it changed, and what does it say? */
static bool works(void)
{
	struct stat st;
	char line[256];
	FILE *file;
	bool good = stat("/etc/passwd", &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;

	file = fopen("/etc/passwd", "r");
	good = good && file && fgets(line, sizeof(line), file);
	return good && socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 &&
	       fstat(log_fd, &st) == 0;
}

static void test_works(void)
{
	g_assert_cmpint(status_of_child(works, true), ==, ALLOWED);
}

/* stat() is no way around Landlock: it looks at what may be opened. */
static bool sees_others(void)
{
	struct stat st;

	return stat("/usr/bin/env", &st) == 0;
}

static void test_elsewhere(void)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1) {
		g_test_skip("this kernel has no Landlock");
		return;
	}
	g_assert_cmpint(status_of_child(sees_others, false), ==, ALLOWED);
	g_assert_cmpint(status_of_child(sees_others, true), ==, REFUSED);
}

int main(int argc, char **argv)
{
	char path[] = "/tmp/net-confine-XXXXXX";
	struct rlimit files;

	g_test_init(&argc, &argv, NULL);
	log_fd = mkstemp(path);
	unlink(path);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max; /* so that it is confine() that refuses many */
	setrlimit(RLIMIT_NOFILE, &files);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		g_autofree char *name = g_strconcat("/net-confine/", rows[i].name, NULL);

		g_test_add_data_func(name, GUINT_TO_POINTER(i), test_attempt);
	}
	g_test_add_func("/net-confine/works", test_works);
	g_test_add_func("/net-confine/elsewhere", test_elsewhere);
	return g_test_run();
}
