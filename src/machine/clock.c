/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's clock and timer thread: a binary heap under one mutex. See clock.h.
 */
#include "machine/clock.h"

#include "machine/vm.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

static u64 host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

void vm_clock_init(struct vm_clock *clock, bool manual)
{
	pthread_condattr_t attr;

	memset(clock, 0, sizeof(*clock));
	pthread_mutex_init(&clock->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&clock->changed, &attr);
	pthread_condattr_destroy(&attr);
	clock->manual = manual;
	clock->origin_ns = host_ns();
}

u64 vm_clock_now(const struct vm_clock *clock)
{
	if (clock->manual)
		return __atomic_load_n(&clock->manual_ns, __ATOMIC_RELAXED);
	return host_ns() - __atomic_load_n(&clock->origin_ns, __ATOMIC_RELAXED);
}

void vm_clock_set(struct vm_clock *clock, u64 now_ns)
{
	pthread_mutex_lock(&clock->lock);
	__atomic_store_n(&clock->manual_ns, now_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&clock->origin_ns, host_ns() - now_ns, __ATOMIC_RELAXED);
	pthread_cond_signal(&clock->changed);
	pthread_mutex_unlock(&clock->lock);
}

static void place(struct vm_clock *clock, unsigned i, struct vm_timer *timer)
{
	clock->heap[i] = timer;
	timer->slot = i + 1;
}

static void sift_up(struct vm_clock *clock, unsigned i, struct vm_timer *timer)
{
	while (i > 0) {
		unsigned parent = (i - 1) / 2;

		if (clock->heap[parent]->deadline_ns <= timer->deadline_ns)
			break;
		place(clock, i, clock->heap[parent]);
		i = parent;
	}
	place(clock, i, timer);
}

static void sift_down(struct vm_clock *clock, unsigned i, struct vm_timer *timer)
{
	for (;;) {
		unsigned child = 2 * i + 1;

		if (child >= clock->count)
			break;
		if (child + 1 < clock->count &&
		    clock->heap[child + 1]->deadline_ns < clock->heap[child]->deadline_ns)
			child++;
		if (timer->deadline_ns <= clock->heap[child]->deadline_ns)
			break;
		place(clock, i, clock->heap[child]);
		i = child;
	}
	place(clock, i, timer);
}

static void remove_locked(struct vm_clock *clock, struct vm_timer *timer)
{
	unsigned i = timer->slot - 1;
	struct vm_timer *last = clock->heap[--clock->count];

	timer->slot = 0;
	if (last == timer)
		return;
	if (i > 0 && clock->heap[(i - 1) / 2]->deadline_ns > last->deadline_ns)
		sift_up(clock, i, last);
	else
		sift_down(clock, i, last);
}

void vm_timer_init(struct vm_timer *timer, void (*fire)(void *opaque), void *opaque)
{
	*timer = (struct vm_timer){ .fire = fire, .opaque = opaque };
}

/* The number of timers is fixed by the devices there are, so the heap has a natural bound. */
static void reserve_locked(struct vm_clock *clock)
{
	if (clock->count < clock->capacity)
		return;
	g_assert(clock->capacity < TIMERS_MAX);
	clock->capacity = clock->capacity ? clock->capacity * 2 : 32;
	clock->heap = g_renew(struct vm_timer *, clock->heap, clock->capacity);
}

void vm_timer_arm(struct vm_clock *clock, struct vm_timer *timer, u64 deadline_ns)
{
	u64 earliest;

	pthread_mutex_lock(&clock->lock);
	earliest = clock->count ? clock->heap[0]->deadline_ns : UINT64_MAX;
	if (timer->slot)
		remove_locked(clock, timer);
	timer->deadline_ns = deadline_ns;
	reserve_locked(clock);
	sift_up(clock, clock->count++, timer);
	/* A later deadline than the thread sleeps for needs no wake-up. */
	if (deadline_ns < earliest && clock->threaded)
		pthread_cond_signal(&clock->changed);
	pthread_mutex_unlock(&clock->lock);
}

void vm_timer_disarm(struct vm_clock *clock, struct vm_timer *timer)
{
	pthread_mutex_lock(&clock->lock);
	if (timer->slot)
		remove_locked(clock, timer);
	pthread_mutex_unlock(&clock->lock);
}

bool vm_timer_armed(struct vm_clock *clock, const struct vm_timer *timer)
{
	bool armed;

	pthread_mutex_lock(&clock->lock);
	armed = timer->slot != 0;
	pthread_mutex_unlock(&clock->lock);
	return armed;
}

/* Fires the earliest timer if it is due at @now_ns; the lock is released meanwhile. */
static bool fire_one_locked(struct vm_clock *clock, u64 now_ns)
{
	struct vm_timer *timer;

	if (!clock->count || clock->heap[0]->deadline_ns > now_ns)
		return false;
	timer = clock->heap[0];
	remove_locked(clock, timer);
	pthread_mutex_unlock(&clock->lock);
	timer->fire(timer->opaque);
	pthread_mutex_lock(&clock->lock);
	return true;
}

static void *clock_thread(void *arg)
{
	struct vm_clock *clock = arg;

	pthread_setname_np(pthread_self(), "clock");
	prctl(PR_SET_TIMERSLACK, 1); /* the default of 50 us is late for a guest's clock */
	pthread_mutex_lock(&clock->lock);
	while (!clock->quit) {
		if (clock->running && fire_one_locked(clock, vm_clock_now(clock)))
			continue;
		if (clock->running && clock->count) {
			u64 at = clock->heap[0]->deadline_ns + clock->origin_ns;
			struct timespec ts = { .tv_sec = at / 1000000000,
					       .tv_nsec = at % 1000000000 };

			if (clock->heap[0]->deadline_ns > INT64_MAX / 2)
				pthread_cond_wait(&clock->changed, &clock->lock);
			else
				pthread_cond_timedwait(&clock->changed, &clock->lock, &ts);
		} else {
			pthread_cond_wait(&clock->changed, &clock->lock);
		}
	}
	pthread_mutex_unlock(&clock->lock);
	return NULL;
}

int vm_clock_start_thread(struct vm_clock *clock, GError **error)
{
	int err = pthread_create(&clock->thread, NULL, clock_thread, clock);

	if (err) {
		g_set_error(error, VM_ERROR, err, "cannot start the clock thread: %s",
			    g_strerror(err));
		return -err;
	}
	clock->threaded = true;
	return 0;
}

void vm_clock_run(struct vm_clock *clock, bool running)
{
	pthread_mutex_lock(&clock->lock);
	clock->running = running;
	pthread_cond_signal(&clock->changed);
	pthread_mutex_unlock(&clock->lock);
}

void vm_clock_advance(struct vm_clock *clock, u64 ns)
{
	u64 end = clock->manual_ns + ns;

	pthread_mutex_lock(&clock->lock);
	for (;;) {
		u64 next = clock->count ? clock->heap[0]->deadline_ns : UINT64_MAX;

		if (next > end)
			break;
		if (next > clock->manual_ns)
			__atomic_store_n(&clock->manual_ns, next, __ATOMIC_RELAXED);
		fire_one_locked(clock, clock->manual_ns);
	}
	__atomic_store_n(&clock->manual_ns, end, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&clock->lock);
}

void vm_clock_destroy(struct vm_clock *clock)
{
	if (clock->threaded) {
		pthread_mutex_lock(&clock->lock);
		clock->quit = true;
		pthread_cond_signal(&clock->changed);
		pthread_mutex_unlock(&clock->lock);
		pthread_join(clock->thread, NULL);
	}
	g_free(clock->heap);
	pthread_cond_destroy(&clock->changed);
	pthread_mutex_destroy(&clock->lock);
}
