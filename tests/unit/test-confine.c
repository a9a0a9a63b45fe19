/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process that reads a hostile image can still do when that has taken it over: nothing. */
#include "img/img.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each returns true when it could be done. */
static bool can_open(void)
{
	return open("/etc/passwd", O_RDONLY) >= 0 || open("/dev/null", O_WRONLY) >= 0;
}

static bool can_stat(void)
{
	struct stat st;

	return !stat("/etc/passwd", &st);
}

static bool can_make_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static bool can_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid > 0;
}

static bool can_run(void)
{
	char *const words[] = { "/bin/true", NULL };

	execv(words[0], words);
	return false;
}

static bool can_signal(void)
{
	return !kill(getppid(), 0) || !syscall(SYS_kill, 1, 0);
}

static bool can_trace(void)
{
	return !ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static bool can_make_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	       MAP_FAILED;
}

static bool can_use_much_memory(void)
{
	return mmap(NULL, 4ul << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	       MAP_FAILED;
}

static bool has_other_descriptors(void)
{
	for (int fd = 3; fd < 1024; fd++)
		if (lseek(fd, 0, SEEK_CUR) >= 0 || errno != EBADF)
			return true;
	return false;
}

static bool can_change_image(void)
{
	return write(STDIN_FILENO, "x", 1) == 1;
}

static const struct {
	const char *name;
	bool (*can)(void);
} rows[] = {
	{ "open a file", can_open },
	{ "look for a file", can_stat },
	{ "make a socket", can_make_socket },
	{ "make a process", can_fork },
	{ "run a program", can_run },
	{ "signal others", can_signal },
	{ "be traced, or trace", can_trace },
	{ "make code", can_make_code },
	{ "use 4 GiB of memory", can_use_much_memory },
	{ "use what else was open", has_other_descriptors },
	{ "change the image", can_change_image },
};

/* The status: 0 it can read and not do that, 1 it can, 2 it is not even confined. */
static void G_GNUC_NORETURN attack(int fd, bool (*can)(void))
{
	GError *error = NULL;
	char byte;

	if (!confine(fd, &error) || pread(STDIN_FILENO, &byte, 1, 0) != 1 || byte != 'i')
		_exit(2);
	_exit(can());
}

static void test_attack(gconstpointer number)
{
	char path[] = "/tmp/confine-XXXXXX";
	int made = mkstemp(path), fd, status;
	pid_t pid;

	g_assert_cmpint(write(made, "image", 5), ==, 5);
	close(made);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	unlink(path);
	pid = fork();
	if (!pid)
		attack(fd, rows[GPOINTER_TO_UINT(number)].can);
	close(fd);
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		g_autofree char *name = g_strconcat("/confine/", rows[i].name, NULL);

		g_test_add_data_func(name, GUINT_TO_POINTER(i), test_attack);
	}
	return g_test_run();
}
