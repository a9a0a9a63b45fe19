// SPDX-License-Identifier: GPL-2.0-or-later
/* The same work done by one thread and by two. What counts is the time on the clock, and whether
 * the second thread costs processor time of its own. */
#include <errno.h>
#include <pthread.h>

#include "suite.h"

struct part {
	u64 from, to, sum;
};

/* Lengths of Collatz sequences: registers, branches and a small table in memory. */
static void *collatz(void *argument)
{
	struct part *part = argument;
	u32 lengths[256] = { 0 };

	for (u64 i = part->from; i < part->to; i++) {
		u32 length = 0;

		for (u64 x = i; x != 1; length++)
			x = x & 1 ? 3 * x + 1 : x / 2;
		lengths[i & 255] ^= length;
		part->sum += length;
	}
	for (int i = 0; i < 256; i++)
		part->sum = mix(part->sum, lengths[i]);
	return NULL;
}

static u64 run_one(u64 n)
{
	struct part first = { 1, n }, second = { n, 2 * n };

	collatz(&first);
	collatz(&second);
	return mix(first.sum, second.sum);
}

static u64 run_two(u64 n)
{
	struct part first = { 1, n }, second = { n, 2 * n };
	pthread_t thread;

	errno = pthread_create(&thread, NULL, collatz, &first);
	if (errno)
		fail("pthread_create");
	collatz(&second);
	pthread_join(thread, NULL);
	return mix(first.sum, second.sum);
}

struct shared {
	pthread_mutex_t mutex;
	u64 n, count, sum;
};

static void *contend(void *argument)
{
	struct shared *shared = argument;

	for (u64 i = 0; i < shared->n; i++) {
		pthread_mutex_lock(&shared->mutex);
		shared->count++;
		pthread_mutex_unlock(&shared->mutex);
		for (u64 k = 0; k < 20; k++)
			TOUCH();
	}
	return NULL;
}

/* Two threads want one mutex. */
static u64 run_contended(u64 n)
{
	struct shared shared = { PTHREAD_MUTEX_INITIALIZER, n };
	pthread_t thread;

	errno = pthread_create(&thread, NULL, contend, &shared);
	if (errno)
		fail("pthread_create");
	contend(&shared);
	pthread_join(thread, NULL);
	return shared.count;
}

const struct row scaling_rows[] = {
	{ "one-thread", "scaling", run_one, 500000, .cpus = 2 },
	{ "two-threads", "scaling", run_two, 500000, .cpus = 2 },
	{ "contended", "scaling", run_contended, 1000000, .cpus = 2 },
	{},
};
