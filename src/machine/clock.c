/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's clock and timer thread: a binary heap under one mutex. See clock.h.
 */
#include "machine/clock.h"

#include "machine/vm.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

static u64 host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

void vm_clock_init(struct vm_clock *clock, bool manual)
{
	memset(clock, 0, sizeof(*clock));
	pthread_mutex_init(&clock->lock, NULL);
	clock->timer_fd = -1;
	clock->programmed_ns = UINT64_MAX;
	clock->manual = manual;
	clock->origin_ns = host_ns();
}

u64 vm_clock_now(const struct vm_clock *clock)
{
	if (clock->manual)
		return __atomic_load_n(&clock->manual_ns, __ATOMIC_RELAXED);
	if (!__atomic_load_n(&clock->running, __ATOMIC_ACQUIRE))
		return __atomic_load_n(&clock->stopped_ns, __ATOMIC_RELAXED);
	return host_ns() - __atomic_load_n(&clock->origin_ns, __ATOMIC_RELAXED);
}

struct timespec vm_clock_host_time(const struct vm_clock *clock, u64 ns)
{
	u64 at = ns + __atomic_load_n(&clock->origin_ns, __ATOMIC_RELAXED);

	return (struct timespec){ .tv_sec = at / 1000000000, .tv_nsec = at % 1000000000 };
}

/* Has the thread wake up at @ns of machine time; 0 is at once, UINT64_MAX never. */
static void program_locked(struct vm_clock *clock, u64 ns)
{
	struct itimerspec when = { .it_value.tv_nsec = 1 };

	if (!clock->threaded || clock->programmed_ns == ns)
		return;
	if (ns > INT64_MAX / 2)
		when.it_value.tv_nsec = 0;
	else if (ns)
		when.it_value = vm_clock_host_time(clock, ns);
	timerfd_settime(clock->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
	clock->programmed_ns = ns;
}

static u64 earliest_locked(const struct vm_clock *clock)
{
	return clock->running && clock->count ? clock->heap[0]->deadline_ns : UINT64_MAX;
}

void vm_clock_set(struct vm_clock *clock, u64 now_ns)
{
	pthread_mutex_lock(&clock->lock);
	__atomic_store_n(&clock->manual_ns, now_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&clock->origin_ns, host_ns() - now_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&clock->stopped_ns, now_ns, __ATOMIC_RELAXED);
	program_locked(clock, 0);
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

static void arm_locked(struct vm_clock *clock, struct vm_timer *timer, u64 deadline_ns)
{
	if (timer->slot)
		remove_locked(clock, timer);
	timer->deadline_ns = deadline_ns;
	reserve_locked(clock);
	sift_up(clock, clock->count++, timer);
	/* A thread that wakes too early finds nothing due and sleeps on: not worth a system call.
	 */
	if (earliest_locked(clock) < clock->programmed_ns)
		program_locked(clock, earliest_locked(clock));
}

void vm_timer_arm(struct vm_clock *clock, struct vm_timer *timer, u64 deadline_ns)
{
	pthread_mutex_lock(&clock->lock);
	arm_locked(clock, timer, deadline_ns);
	pthread_mutex_unlock(&clock->lock);
}

u64 vm_timer_adopt(struct vm_clock *clock, struct vm_timer *timer)
{
	u64 deadline = UINT64_MAX;

	pthread_mutex_lock(&clock->lock);
	if (timer->slot && clock->running && !clock->manual) {
		deadline = timer->deadline_ns;
		remove_locked(clock, timer);
		if (clock->programmed_ns == deadline)
			program_locked(clock, earliest_locked(clock));
	}
	pthread_mutex_unlock(&clock->lock);
	return deadline;
}

void vm_timer_give_back(struct vm_clock *clock, struct vm_timer *timer, u64 deadline_ns)
{
	pthread_mutex_lock(&clock->lock);
	if (!timer->slot)
		arm_locked(clock, timer, deadline_ns);
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
	u64 expirations;

	pthread_setname_np(pthread_self(), "clock");
	pthread_mutex_lock(&clock->lock);
	while (!clock->quit) {
		if (clock->running && fire_one_locked(clock, vm_clock_now(clock)))
			continue;
		clock->programmed_ns = 0; /* it has fired: any time is news */
		program_locked(clock, earliest_locked(clock));
		pthread_mutex_unlock(&clock->lock);
		if (read(clock->timer_fd, &expirations, sizeof(expirations)) < 0)
			expirations = 0; /* interrupted: look again */
		pthread_mutex_lock(&clock->lock);
	}
	pthread_mutex_unlock(&clock->lock);
	return NULL;
}

int vm_clock_start_thread(struct vm_clock *clock, GError **error)
{
	int err;

	clock->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	clock->threaded = true; /* before the thread looks */
	err = clock->timer_fd < 0 ? errno
				  : pthread_create(&clock->thread, NULL, clock_thread, clock);
	if (err) {
		clock->threaded = false;
		g_set_error(error, VM_ERROR, err, "cannot start the clock thread: %s",
			    g_strerror(err));
		return -err;
	}
	return 0;
}

void vm_clock_run(struct vm_clock *clock, bool running)
{
	pthread_mutex_lock(&clock->lock);
	if (running && !clock->running)
		__atomic_store_n(&clock->origin_ns, host_ns() - clock->stopped_ns,
				 __ATOMIC_RELAXED);
	else if (!running)
		__atomic_store_n(&clock->stopped_ns, vm_clock_now(clock), __ATOMIC_RELAXED);
	__atomic_store_n(&clock->running, running, __ATOMIC_RELEASE);
	program_locked(clock, 0);
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
		program_locked(clock, 0);
		pthread_mutex_unlock(&clock->lock);
		pthread_join(clock->thread, NULL);
	}
	if (clock->timer_fd >= 0)
		close(clock->timer_fd);
	g_free(clock->heap);
	pthread_mutex_destroy(&clock->lock);
}
