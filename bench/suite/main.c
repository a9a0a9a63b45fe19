// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The speed suite: one static program, run by bench/suite.py natively and in guests.
 *
 *   suite --list             the rows: "INDEX NAME GROUP CPUS"
 *   suite DIRECTORY BUSYBOX  serve on standard input and output; DIRECTORY is on a tmpfs
 *   (as process 1)           mount what is needed, then serve on /dev/ttyS0
 *
 * The host sends "INDEX PERMILLE\n", is answered "bench: ready", sends one more "\n" and is
 * answered "bench: done CHECKSUM CPU_NS" (CPU_NS as this kernel counts it: of interest natively
 * only), "bench: skip" or "bench: fail WHY". Between these two lines a row's work is done, and
 * nothing else: the host takes the time. Rows run in a process of their own (the worker), so that a
 * row that crashes is one failed row; the next one gets a new worker.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "suite.h"

static const struct row *const tables[] = {
	integer_rows, branchy_rows, pointer_rows, call_rows,     interp_rows,
	fp_rows,      simd_rows,    string_rows,  memory_rows,   system_rows,
	process_rows, fault_rows,   smc_rows,     everyday_rows, scaling_rows,
};

#define TABLES (sizeof(tables) / sizeof(tables[0]))

const char *suite_directory = "/tmp", *suite_busybox = "/bin/busybox";

static struct {
	void *base;
	size_t bytes;
} arenas[8];

void fail(const char *what)
{
	printf("bench: fail %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(2);
}

void *arena(size_t bytes)
{
	for (unsigned i = 0; i < sizeof(arenas) / sizeof(arenas[0]); i++)
		if (!arenas[i].base) {
			void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

			if (p == MAP_FAILED)
				fail("mmap");
			memset(p, 0, bytes);
			arenas[i].base = p;
			arenas[i].bytes = bytes;
			return p;
		}
	errno = ENOSPC;
	fail("arena");
}

static void arenas_free(void)
{
	for (unsigned i = 0; i < sizeof(arenas) / sizeof(arenas[0]); i++)
		if (arenas[i].base) {
			munmap(arenas[i].base, arenas[i].bytes);
			arenas[i].base = NULL;
		}
}

static const struct row *row_find(unsigned index)
{
	for (unsigned t = 0; t < TABLES; t++)
		for (const struct row *row = tables[t]; row->name; row++)
			if (!index--)
				return row;
	return NULL;
}

static void rows_list(void)
{
	const struct row *row;

	for (unsigned i = 0; (row = row_find(i)); i++)
		printf("%u %s %s %d\n", i, row->name, row->group, row->cpus ? row->cpus : 1);
}

/* CPU time of this process and of the children that it has waited for. */
static u64 cpu_ns(void)
{
	struct timespec own;
	struct rusage children;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	return own.tv_sec * 1000000000ull + own.tv_nsec +
	       (children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1000000000ull +
	       (children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1000ull;
}

/* Natively, a row for one processor must not be given two. */
static void limit_cpus(int cpus)
{
	static cpu_set_t all;
	cpu_set_t one;

	if (!CPU_COUNT(&all))
		sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), cpus > 1 ? &all : &one);
}

static void row_serve(const struct row *row, unsigned permille)
{
	u64 n = row->n * permille / 1000;
	u64 checksum, before;

	if (row->possible && !row->possible()) {
		puts("bench: skip");
		return;
	}
	n = n ? n : 1;
	limit_cpus(row->cpus);
	if (row->setup)
		row->setup(n);
	puts("bench: ready");
	fflush(stdout);
	if (getchar() != '\n')
		_exit(0);
	before = cpu_ns();
	checksum = row->run(n);
	printf("bench: done %016llx %llu\n", (unsigned long long)checksum,
	       (unsigned long long)(cpu_ns() - before));
	fflush(stdout);
	arenas_free();
}

static void work(void)
{
	unsigned index, permille;
	char line[64];

	setvbuf(stdin, NULL, _IONBF, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (fgets(line, sizeof(line), stdin)) {
		const struct row *row = NULL;

		if (sscanf(line, "%u %u", &index, &permille) == 2)
			row = row_find(index);
		if (row)
			row_serve(row, permille);
		else
			puts("bench: fail no such row");
		fflush(stdout);
	}
	_exit(0);
}

static void serve(void)
{
	int status;

	for (;;) {
		pid_t worker = fork();

		if (!worker)
			work();
		while (waitpid(worker, &status, 0) < 0 && errno == EINTR)
			;
		if (WIFEXITED(status) && !WEXITSTATUS(status))
			return;
		if (WIFSIGNALED(status))
			printf("bench: fail signal %d\n", WTERMSIG(status));
		fflush(stdout);
	}
}

static void become_init(void)
{
	struct termios line;
	int fd;

	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mkdir("/tmp", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) || mount("dev", "/dev", "devtmpfs", 0, NULL) ||
	    mount("tmp", "/tmp", "tmpfs", 0, NULL))
		fail("mount");
	fd = open("/dev/ttyS0", O_RDWR | O_NOCTTY);
	if (fd < 0)
		fail("/dev/ttyS0");
	tcgetattr(fd, &line);
	cfmakeraw(&line);
	tcsetattr(fd, TCSANOW, &line);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	setenv("PATH", "/bin", 1);
	puts("bench: booted");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--nothing")) /* the program that the exec row starts */
		return 0;
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		rows_list();
		return 0;
	}
	if (getpid() == 1) {
		become_init();
		serve();
		for (;;)
			pause();
	}
	if (argc != 3) {
		fprintf(stderr, "usage: suite --list | suite DIRECTORY BUSYBOX\n");
		return 2;
	}
	suite_directory = argv[1];
	suite_busybox = argv[2];
	serve();
	return 0;
}
