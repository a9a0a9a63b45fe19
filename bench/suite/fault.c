// SPDX-License-Identifier: GPL-2.0-or-later
/* Page faults and signals. */
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

#define PAGES 256

static u8 *map_pages(int protection)
{
	u8 *p = mmap(NULL, PAGES * 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

static u64 run_touch(u64 n)
{
	u64 sum = 0;

	while (n--) {
		u8 *p = map_pages(PROT_READ | PROT_WRITE);

		for (int i = 0; i < PAGES; i++) {
			sum += p[i * 4096 + 8];
			p[i * 4096] = i + n;
		}
		for (int i = 0; i < PAGES; i++)
			sum = mix(sum, p[i * 4096]);
		munmap(p, PAGES * 4096);
	}
	return sum;
}

/* A child writes to every page that it shares with its parent. */
static u64 run_cow(u64 n)
{
	u8 *p = map_pages(PROT_READ | PROT_WRITE);
	u64 sum = 0;

	memset(p, 1, PAGES * 4096);
	while (n--) {
		pid_t child = fork();
		int status;

		if (child < 0)
			fail("fork");
		if (!child) {
			for (int i = 0; i < PAGES; i++)
				p[i * 4096] += i + n;
			_exit(p[7 * 4096] & 0x3f);
		}
		if (waitpid(child, &status, 0) != child)
			fail("waitpid");
		sum = mix(sum, status + p[7 * 4096]);
	}
	munmap(p, PAGES * 4096);
	return sum;
}

static volatile u64 caught;

static void on_signal(int signal)
{
	caught++;
}

static u64 run_signal(u64 n)
{
	struct sigaction action = { .sa_handler = on_signal }, old;

	sigaction(SIGUSR1, &action, &old);
	caught = 0;
	while (n--)
		raise(SIGUSR1);
	sigaction(SIGUSR1, &old, NULL);
	return caught;
}

static u8 *guarded;

static void on_fault(int signal, siginfo_t *about, void *context)
{
	u8 *page = (u8 *)((uintptr_t)about->si_addr & ~4095ul);

	if (page < guarded || page >= guarded + PAGES * 4096)
		_exit(3);
	caught++;
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

/* Each page of a protected range is written to, and opened by the handler of the fault. */
static u64 run_sigsegv(u64 n)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, old;
	u64 sum = 0;

	sigaction(SIGSEGV, &action, &old);
	caught = 0;
	guarded = map_pages(PROT_READ | PROT_WRITE);
	while (n--) {
		mprotect(guarded, PAGES * 4096, PROT_NONE);
		for (int i = 0; i < PAGES; i++)
			guarded[i * 4096] += i;
		sum = mix(sum, guarded[4096]);
	}
	munmap(guarded, PAGES * 4096);
	sigaction(SIGSEGV, &old, NULL);
	return mix(sum, caught);
}

static sigjmp_buf escape;

static void on_null(int signal)
{
	siglongjmp(escape, 1);
}

static u64 run_longjmp(u64 n)
{
	struct sigaction action = { .sa_handler = on_null }, old;
	volatile u64 i, escapes = 0;

	sigaction(SIGSEGV, &action, &old);
	for (i = 0; i < n; i++) {
		volatile int *null = (int *)16;

		HIDE(null);
		if (sigsetjmp(escape, 1))
			escapes++;
		else
			*null = 1;
	}
	sigaction(SIGSEGV, &old, NULL);
	return escapes;
}

const struct row fault_rows[] = {
	{ "touch", "system", run_touch, 50 },        { "cow", "system", run_cow, 30 },
	{ "signal", "system", run_signal, 25000 },   { "sigsegv", "system", run_sigsegv, 25 },
	{ "longjmp", "system", run_longjmp, 15000 }, {},
};
