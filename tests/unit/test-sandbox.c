/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge-vmm's confinement, from inside: a child enters it with a second thread at hand, then both
 * threads try what a guest that broke out would try. The child reports by its exit status, since a
 * confined program cannot say much else.
 */
#include "vmm/sandbox.h"

#include "base/types.h"
#include "vmm/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define KNOCKING 64 /* clients of a socket, more than a monitor has */

static int other_socket; /* was there before */
static int listening;    /* in each child: KNOCKING wait there */

/* Each returns true when the attempt succeeded. */

static bool can_read_file(void)
{
	return open("/proc/self/exe", O_RDONLY | O_CLOEXEC) >= 0;
}

/* Its size and times; the flag is what fstat() of the C library has. */
static bool can_look_at_path(void)
{
	struct stat st;

	return fstatat(AT_FDCWD, "/etc/passwd", &st, AT_EMPTY_PATH) == 0;
}

static bool can_create_file(void)
{
	return open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) >= 0;
}

static bool can_remove(void)
{
	return unlink("/tmp/lodge-sandbox-nothing") == 0 || errno == ENOENT;
}

static bool can_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool can_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool can_exec(void)
{
	char *const argv[] = { "true", NULL };

	execv("/bin/true", argv); /* would end this program with status 0 */
	return errno != EPERM && errno != EACCES;
}

static bool can_fork(void)
{
	pid_t pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return pid > 0;
}

static bool can_make_code(void)
{
	return mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static bool can_turn_into_code(void)
{
	void *p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED || mprotect(p, PAGE_SIZE, PROT_READ | PROT_EXEC) == 0;
}

static bool can_signal_others(void)
{
	return kill(getppid(), 0) == 0;
}

static bool can_signal_threads(void)
{
	return syscall(SYS_tgkill, getppid(), getppid(), 0) == 0;
}

static bool can_signal_by_file(void)
{
	return syscall(SYS_pidfd_open, getppid(), 0) >= 0;
}

static bool can_trace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

/* Memory of a neighbour, who has this variable where we have it. */
static bool can_look_into_others(void)
{
	static int there = 1;
	int here = 0;
	struct iovec to = { &here, sizeof(here) }, from = { &there, sizeof(there) };

	return process_vm_readv(getppid(), &to, 1, &from, 1, 0) == sizeof(here) && here;
}

static bool can_connect(void)
{
	const struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };

	return connect(other_socket, (const struct sockaddr *)&to, sizeof(to)) == 0 ||
	       (errno != EPERM && errno != EACCES);
}

static bool can_unshare(void)
{
	return unshare(CLONE_NEWUSER) == 0;
}

static bool can_make_ring(void)
{
	char parameters[120] = { 0 };

	return syscall(SYS_io_uring_setup, 1, parameters) >= 0;
}

/* How many of those who knock get in, before one does not or up to @most. */
static unsigned let_in(unsigned most)
{
	unsigned n = 0;

	while (n < most && accept4(listening, NULL, NULL, SOCK_CLOEXEC) >= 0)
		n++;
	return n;
}

static bool can_hold_many(void)
{
	return let_in(KNOCKING) == KNOCKING;
}

static bool can_lock_memory(void)
{
	return mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) !=
	       MAP_FAILED;
}

static bool can_change_limits(void)
{
	struct rlimit now = { 0, 0 };

	return setrlimit(RLIMIT_CORE, &now) == 0;
}

static const struct {
	const char *name;
	bool (*try)(void);
} attempts[] = {
	{ "read-file", can_read_file },
	{ "look-at-path", can_look_at_path },
	{ "create-file", can_create_file },
	{ "remove", can_remove },
	{ "socket", can_socket },
	{ "unix-socket", can_unix_socket },
	{ "exec", can_exec },
	{ "fork", can_fork },
	{ "make-code", can_make_code },
	{ "into-code", can_turn_into_code },
	{ "signal", can_signal_others },
	{ "signal-threads", can_signal_threads },
	{ "signal-by-file", can_signal_by_file },
	{ "trace", can_trace },
	{ "look-into-others", can_look_into_others },
	{ "connect", can_connect },
	{ "unshare", can_unshare },
	{ "ring", can_make_ring },
	{ "hold-many", can_hold_many },
	{ "lock-memory", can_lock_memory },
	{ "change-limits", can_change_limits },
};

enum { REFUSED = 40, ALLOWED, BROKEN }; /* exit statuses */

struct attempt {
	bool (*try)(void);
	pthread_barrier_t sealed;
};

static void *other_thread(void *arg)
{
	struct attempt *a = arg;

	pthread_barrier_wait(&a->sealed);
	return a->try() ? a : NULL;
}

/* In the child: the attempt on the thread that sealed or on one that was there before. */
static int confined(bool (*try)(void), bool in_other)
{
	struct attempt a = { .try = try };
	pthread_t thread;
	void *allowed = NULL;

	if (sandbox_enter(NULL))
		return BROKEN;
	if (in_other && (pthread_barrier_init(&a.sealed, NULL, 2) ||
			 pthread_create(&thread, NULL, other_thread, &a)))
		return BROKEN;
	if (sandbox_seal(NULL))
		return BROKEN;
	if (!in_other)
		return try() ? ALLOWED : REFUSED;
	pthread_barrier_wait(&a.sealed);
	pthread_join(thread, &allowed);
	return allowed ? ALLOWED : REFUSED;
}

/* They stay connected for as long as the child lives. */
static bool knock(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX }; /* the kernel makes up a name */
	socklen_t bytes = sizeof(address);
	bool good;

	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	good = !bind(listening, (struct sockaddr *)&address, sizeof(address.sun_family)) &&
	       !listen(listening, KNOCKING) &&
	       !getsockname(listening, (struct sockaddr *)&address, &bytes);
	for (unsigned i = 0; i < KNOCKING && good; i++)
		good = !connect(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
				(struct sockaddr *)&address, bytes);
	return good;
}

static int status_of_child(int (*run)(bool (*try)(void), bool), bool (*try)(void), bool in_other)
{
	pid_t pid = fork();
	int status;

	g_assert_cmpint(pid, >=, 0);
	if (pid == 0)
		_exit(knock() ? run(try, in_other) : BROKEN);
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int unconfined(bool (*try)(void), bool in_other)
{
	return try() ? ALLOWED : REFUSED;
}

static void test_attempt(gconstpointer data)
{
	bool (*try)(void) = attempts[GPOINTER_TO_UINT(data)].try;
	int before = status_of_child(unconfined, try, false);

	if (before == REFUSED) { /* then a refusal would prove nothing */
		g_test_skip("this host refuses it to everybody");
		return;
	}
	g_assert_cmpint(status_of_child(confined, try, false), ==, REFUSED);
	g_assert_cmpint(status_of_child(confined, try, true), ==, REFUSED);
}

/* What a machine does go on doing. */
static bool works(void)
{
	int pipes[2] = { -1, -1 };
	void *p = malloc(1 << 20);
	struct stat st;
	time_t now = time(NULL);
	struct tm tm;

	free(p);
	return p && fstat(0, &st) == 0 && write(1, "", 0) == 0 && localtime_r(&now, &tm) &&
	       pipe(pipes) < 0 && errno == EPERM &&
	       let_in(MONITOR_CLIENTS_MAX + 1) == MONITOR_CLIENTS_MAX + 1;
}

static void test_works(void)
{
	g_assert_cmpint(status_of_child(confined, works, false), ==, ALLOWED);
	g_assert_cmpint(status_of_child(confined, works, true), ==, ALLOWED);
}

/* Landlock alone, as it holds before the seal and for calls that the seal lets through. */
static int landlocked(bool (*try)(void), bool in_other)
{
	if (sandbox_enter(NULL))
		return BROKEN;
	if (getuid() == 0 && setuid(1) == 0) /* root only where there is nobody else */
		return BROKEN;
	return try() || errno != EACCES ? ALLOWED : REFUSED;
}

static void test_landlock(void)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1) {
		g_test_skip("this kernel has no Landlock");
		return;
	}
	g_assert_cmpint(status_of_child(landlocked, can_create_file, false), ==, REFUSED);
	g_assert_cmpint(status_of_child(landlocked, can_read_file, false), ==, REFUSED);
}

/* From before the guest's memory is there, and for good, whatever seccomp would say of it. */
static int without_core(bool (*try)(void), bool in_other)
{
	struct rlimit core = { RLIM_INFINITY, RLIM_INFINITY };
	bool none;

	if (sandbox_enter(NULL) || getrlimit(RLIMIT_CORE, &core))
		return BROKEN;
	none = core.rlim_cur == 0 && core.rlim_max == 0;
	if (getuid() == 0 && setuid(1) == 0) /* root only where there is nobody else */
		return BROKEN;
	core.rlim_max = core.rlim_cur = 1 << 20;
	return none && setrlimit(RLIMIT_CORE, &core) ? REFUSED : ALLOWED;
}

static void test_core(void)
{
	g_assert_cmpint(status_of_child(without_core, NULL, false), ==, REFUSED);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	other_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (unsigned i = 0; i < ARRAY_LEN(attempts); i++) {
		char *path = g_strdup_printf("/sandbox/%s", attempts[i].name);

		g_test_add_data_func(path, GUINT_TO_POINTER(i), test_attempt);
		g_free(path);
	}
	g_test_add_func("/sandbox/works", test_works);
	g_test_add_func("/sandbox/landlock", test_landlock);
	g_test_add_func("/sandbox/core", test_core);
	return g_test_run();
}
