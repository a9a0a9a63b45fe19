// SPDX-License-Identifier: GPL-2.0-or-later
/* Processes and threads: made, ended, and switched between. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

/* One byte goes to and fro between two processes. */
static u64 run_pipe(u64 n)
{
	int there[2], back[2], status;
	u64 sum = 0;
	pid_t child;
	u8 byte;

	if (pipe(there) || pipe(back))
		fail("pipe");
	child = fork();
	if (!child) {
		close(there[1]);
		while (read(there[0], &byte, 1) == 1 && (byte += 3, write(back[1], &byte, 1) == 1))
			;
		_exit(0);
	}
	for (u64 i = 0; i < n; i++) {
		byte = i;
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			fail("pipe");
		sum = mix(sum, byte);
	}
	for (int i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
	waitpid(child, &status, 0);
	return mix(sum, status);
}

static u64 run_fork(u64 n)
{
	u64 sum = 0;

	while (n--) {
		pid_t child = fork();
		int status;

		if (child < 0)
			fail("fork");
		if (!child)
			_exit(n & 0x3f);
		if (waitpid(child, &status, 0) != child)
			fail("waitpid");
		sum = mix(sum, status);
	}
	return sum;
}

static u64 run_exec(u64 n)
{
	u64 sum = 0;

	while (n--) {
		pid_t child = fork();
		int status;

		if (child < 0)
			fail("fork");
		if (!child) {
			execl("/proc/self/exe", "suite", "--nothing", NULL);
			_exit(99);
		}
		if (waitpid(child, &status, 0) != child || status)
			fail("exec");
		sum++;
	}
	return sum;
}

static void *thread_add(void *sum)
{
	__atomic_add_fetch((u64 *)sum, 1, __ATOMIC_RELAXED);
	return NULL;
}

static u64 run_thread(u64 n)
{
	u64 sum = 0;

	while (n--) {
		pthread_t thread;

		errno = pthread_create(&thread, NULL, thread_add, &sum);
		if (errno)
			fail("pthread_create");
		pthread_join(thread, NULL);
	}
	return sum;
}

/* A mutex that nobody else wants: two locked instructions a turn. */
static u64 run_mutex(u64 n)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	u64 sum = 0;

	for (u64 i = 0; i < n; i++) {
		pthread_mutex_lock(&mutex);
		sum = mix(sum, i);
		pthread_mutex_unlock(&mutex);
	}
	return sum;
}

/* Two threads that take turns, each sleeping until the other has been there. */
struct turns {
	u32 turn;
	u64 n, sum;
};

static void take_turns(struct turns *t, u32 me)
{
	for (u64 i = 0; i < t->n; i++) {
		while (__atomic_load_n(&t->turn, __ATOMIC_ACQUIRE) != me)
			syscall(SYS_futex, &t->turn, FUTEX_WAIT_PRIVATE, !me, NULL, NULL, 0);
		t->sum = mix(t->sum, i + me);
		__atomic_store_n(&t->turn, !me, __ATOMIC_RELEASE);
		syscall(SYS_futex, &t->turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	}
}

static void *second_thread(void *turns)
{
	take_turns(turns, 1);
	return NULL;
}

static u64 run_futex(u64 n)
{
	struct turns turns = { .n = n };
	pthread_t thread;

	errno = pthread_create(&thread, NULL, second_thread, &turns);
	if (errno)
		fail("pthread_create");
	take_turns(&turns, 0);
	pthread_join(thread, NULL);
	return turns.sum;
}

const struct row process_rows[] = {
	{ "pipe", "system", run_pipe, 10000 },
	{ "fork", "system", run_fork, 200 },
	{ "exec", "system", run_exec, 60 },
	{ "thread", "system", run_thread, 4000 },
	{ "futex", "system", run_futex, 20000 },
	{ "mutex", "system", run_mutex, 8000000 },
	{},
};
