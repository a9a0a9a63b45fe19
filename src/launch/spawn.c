/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting a program that holds exactly the descriptors it was handed.
 *
 * Between fork and exec only async-signal-safe calls are made, because lodged has threads. The
 * descriptors are first copied above every number that will be used, so that putting one in its
 * place never overwrites another; then everything above the last is closed, whoever leaked it.
 */
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STREAMS       3
#define EXEC_FAILED   127
#define PASSED_FD_MAX 1024 /* bound of a plan's descriptors */
#define PID_DIGITS    20

/* What a child that does not get as far as exec says. */
struct failure {
	int number; /* errno; 0: it has not failed */
	int file;   /* in making spawn.files[file - 1]; 0: in something else */
};

struct child {
	const struct spawn *spawn;
	int fds[STREAMS + PASSED_FD_MAX]; /* by their number in the child; -1: /dev/null */
	unsigned count;
	int status_fd; /* gets a struct failure when exec fails; closed by exec when it does not */
	pid_t parent;
	char made[SPAWN_FILES][PATH_MAX]; /* paths of the files made, or empty */
};

static void child_report(const struct child *child, const struct failure *failure)
{
	(void)!write(child->status_fd, failure, sizeof(*failure));
	_exit(EXEC_FAILED);
}

static void remove_files(const struct child *child)
{
	for (unsigned i = 0; i < SPAWN_FILES; i++)
		if (child->made[i][0])
			unlink(child->made[i]);
}

static void child_fail(const struct child *child, int number)
{
	const struct failure failure = { .number = number };

	remove_files(child);
	child_report(child, &failure);
}

/* @pid as text in @digits, with nothing that is not async-signal-safe. */
static const char *pid_text(char digits[PID_DIGITS + 1], pid_t pid)
{
	char *first = digits + PID_DIGITS;

	*first = '\0';
	do
		*--first = '0' + pid % 10;
	while (pid /= 10);
	return first;
}

/* The path for process @pid, with nothing that is not async-signal-safe. False: too long. */
static bool file_path(char path[PATH_MAX], const struct spawn_file *file, pid_t pid)
{
	char digits[PID_DIGITS + 1];

	if (strlen(file->begin) + PID_DIGITS + strlen(file->end) >= PATH_MAX)
		return false;
	strcpy(path, file->begin);
	strcat(path, pid_text(digits, pid));
	strcat(path, file->end);
	return true;
}

/* Never a file that is there: it may be another process's, or a trap in a folder for everybody. */
static void make_file(struct child *child, unsigned i)
{
	const struct spawn_file *file = &child->spawn->files[i];
	int flags = O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_APPEND;
	struct failure failure = { .number = ENAMETOOLONG, .file = i + 1 };
	char path[PATH_MAX];
	int fd = -1;

	if (file_path(path, file, getpid())) {
		fd = open(path, flags | (file->readable ? O_RDWR : O_WRONLY), 0644);
		failure.number = errno;
	}
	if (fd < 0) {
		remove_files(child);
		child_report(child, &failure);
	}
	strcpy(child->made[i], path);
	child->fds[file->number] = fd;
}

static void place_descriptors(struct child *child)
{
	int status_fd = fcntl(child->status_fd, F_DUPFD_CLOEXEC, child->count + 1);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (status_fd < 0 || null < 0)
		child_fail(child, errno);
	child->status_fd = status_fd;
	for (unsigned i = 0; i < child->count; i++) {
		int from = child->fds[i] < 0 ? null : child->fds[i];

		child->fds[i] = fcntl(from, F_DUPFD_CLOEXEC, child->count + 1);
		if (child->fds[i] < 0)
			child_fail(child, errno);
	}
	for (unsigned i = 0; i < child->count; i++)
		if (dup2(child->fds[i], i) < 0)
			child_fail(child, errno);
	/* the status descriptor moves to the first free number and alone survives above */
	if (dup3(child->status_fd, child->count, O_CLOEXEC) < 0)
		child_fail(child, errno);
	child->status_fd = child->count;
	if (syscall(SYS_close_range, child->count + 1, ~0u, 0) && errno != ENOSYS)
		child_fail(child, errno);
}

static void reset_signals(void)
{
	struct sigaction standard = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		sigaction(number, &standard, NULL); /* KILL and STOP fail, which is right */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* From now on whoever finds the file locked knows who holds the lock. */
static void write_pid(const struct child *child)
{
	char digits[PID_DIGITS + 1], line[PID_DIGITS + 2];

	strcpy(line, pid_text(digits, getpid()));
	strcat(line, "\n");
	if (write(child->spawn->pid_fd, line, strlen(line)) < 0)
		child_fail(child, errno);
}

static void run_child(struct child *child)
{
	const struct spawn *spawn = child->spawn;

	reset_signals();
	if (spawn->pid_fd)
		write_pid(child);
	if (!spawn->die_with_parent)
		setsid();
	if (spawn->die_with_parent) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL))
			child_fail(child, errno);
		if (getppid() != child->parent) /* it ended before the line above */
			_exit(EXEC_FAILED);
	}
	for (unsigned i = 0; i < SPAWN_FILES; i++)
		if (spawn->files[i].number)
			make_file(child, i);
	place_descriptors(child);
	execv(spawn->argv[0], (char **)spawn->argv);
	child_fail(child, errno);
}

/* Why exec failed; number 0 when it did not. */
static struct failure exec_result(int fd)
{
	struct failure failure = { 0 };
	ssize_t n;

	do
		n = read(fd, &failure, sizeof(failure));
	while (n < 0 && errno == EINTR);
	return n == sizeof(failure) ? failure : (struct failure){ 0 };
}

static void say_failure(const struct spawn *spawn, pid_t pid, const struct failure *failure,
			GError **error)
{
	char path[PATH_MAX] = "a file";

	if (!failure->file) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_SPAWN, "cannot start %s: %s",
			    spawn->argv[0], g_strerror(failure->number));
		return;
	}
	file_path(path, &spawn->files[failure->file - 1], pid);
	g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_SPAWN, "cannot create %s for perf: %s%s",
		    path, g_strerror(failure->number),
		    failure->number == EEXIST
			    ? "; an earlier process has left it: remove it, or try again"
			    : "");
}

static bool fill_child(struct child *child, const struct spawn *spawn, GError **error)
{
	unsigned passed = spawn->map ? spawn->map->fds->len : 0;

	if (passed > PASSED_FD_MAX) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_SPAWN,
			    "the guest needs %u open files and devices, more than %u; remove some",
			    passed, PASSED_FD_MAX);
		return false;
	}
	child->spawn = spawn;
	for (unsigned i = 0; i < SPAWN_FILES; i++)
		child->made[i][0] = '\0';
	child->fds[0] = spawn->in;
	child->fds[1] = spawn->out;
	child->fds[2] = spawn->err;
	for (unsigned i = 0; i < passed; i++)
		child->fds[STREAMS + i] = g_array_index(spawn->map->fds, int, i);
	child->count = STREAMS + passed;
	child->parent = getpid();
	return true;
}

pid_t spawn_program(const struct spawn *spawn, GError **error)
{
	struct child child;
	struct failure failure;
	int status[2];
	pid_t pid;

	if (!fill_child(&child, spawn, error))
		return -1;
	if (pipe2(status, O_CLOEXEC)) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_SPAWN, "cannot make a pipe: %s",
			    g_strerror(errno));
		return -1;
	}
	child.status_fd = status[1];
	pid = fork();
	if (pid == 0)
		run_child(&child);
	failure = (struct failure){ .number = pid < 0 ? errno : 0 };
	close(status[1]);
	if (pid > 0)
		failure = exec_result(status[0]);
	close(status[0]);
	if (!failure.number)
		return pid;
	if (pid > 0)
		waitpid(pid, NULL, 0);
	say_failure(spawn, pid, &failure, error);
	return -1;
}

char *spawn_find(const char *name, GError **error)
{
	char *self = g_file_read_link("/proc/self/exe", NULL);
	char *beside = self ? g_path_get_dirname(self) : NULL;
	const char *const places[] = { beside ? beside : LODGE_LIBEXECDIR, LODGE_LIBEXECDIR };
	char *path = NULL;

	for (size_t i = 0; i < ARRAY_LEN(places) && !path; i++) {
		path = g_build_filename(places[i], name, NULL);
		if (access(path, X_OK))
			g_clear_pointer(&path, g_free);
	}
	if (!path)
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_SPAWN,
			    "%s is neither in %s nor in %s; install Lodge as a whole", name,
			    places[0], places[1]);
	g_free(beside);
	g_free(self);
	return path;
}
