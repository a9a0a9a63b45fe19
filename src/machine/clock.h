/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's time: one clock, and a thread of its own that fires the devices' timers.
 *
 * Time is the nanoseconds that the machine has run; it stands while the machine is stopped, and a
 * restored machine continues from the saved value. In tests the clock is stepped by hand
 * (clock_advance) and has no thread.
 *
 * The thread sleeps on a timerfd, so that arming an earlier timer is a system call and no thread
 * switch; and a vCPU that halts takes its own timer along (adopt), so that an idle guest's tick
 * wakes one thread, not two.
 *
 * A timer's function runs on the clock's thread with no lock held; it takes its device's lock and
 * looks whether it is still wanted, because a deadline may have moved while it was on its way.
 */
#ifndef LODGE_MACHINE_CLOCK_H
#define LODGE_MACHINE_CLOCK_H

#include "base/types.h"
#include <glib.h>
#include <pthread.h>
#include <time.h>

struct vm_timer {
	void (*fire)(void *opaque);
	void *opaque;
	u64 deadline_ns;
	unsigned slot; /* 1 + its place in the heap, 0: not armed; the clock's */
};

#define TIMERS_MAX 4096 /* armed at once in one machine */

struct vm_clock {
	pthread_mutex_t lock;
	pthread_t thread;
	int timer_fd;
	u64 programmed_ns; /* when timer_fd will wake the thread, UINT64_MAX: not */
	bool manual, threaded, running, quit;
	u64 origin_ns;  /* host monotonic time at machine time 0 (may wrap below 0) */
	u64 stopped_ns; /* machine time while not running */
	u64 manual_ns;
	struct vm_timer **heap; /* by deadline, earliest first */
	unsigned count, capacity;
};

/* @manual: stepped by clock_advance() only. */
void vm_clock_init(struct vm_clock *clock, bool manual);
int vm_clock_start_thread(struct vm_clock *clock, GError **error); /* not for a manual clock */
void vm_clock_destroy(struct vm_clock *clock);                     /* joins the thread */

u64 vm_clock_now(const struct vm_clock *clock);
/* Only while the machine is stopped: continues at @now_ns (restore). */
void vm_clock_set(struct vm_clock *clock, u64 now_ns);
/* Whether time passes and timers fire; initially they do not. */
void vm_clock_run(struct vm_clock *clock, bool running);

void vm_timer_init(struct vm_timer *timer, void (*fire)(void *opaque), void *opaque);
/* Any thread: (re)arms for an absolute time; one in the past fires as soon as possible. */
void vm_timer_arm(struct vm_clock *clock, struct vm_timer *timer, u64 deadline_ns);
void vm_timer_disarm(struct vm_clock *clock, struct vm_timer *timer);
/* For a thread about to sleep: takes an armed timer out of the clock and returns its deadline; the
 * caller fires it when it is due, or gives it back. UINT64_MAX: it is not armed, or time stands. */
u64 vm_timer_adopt(struct vm_clock *clock, struct vm_timer *timer);
/* Arms an adopted timer again unless somebody has armed it meanwhile. */
void vm_timer_give_back(struct vm_clock *clock, struct vm_timer *timer, u64 deadline_ns);
/* Machine time as host monotonic time, for such a sleep. */
struct timespec vm_clock_host_time(const struct vm_clock *clock, u64 ns);
bool vm_timer_armed(struct vm_clock *clock, const struct vm_timer *timer);

/* Manual clocks: steps through every deadline within @ns, firing on the calling thread. */
void vm_clock_advance(struct vm_clock *clock, u64 ns);

/* a * b / c without overflow of the product; the result must fit. */
static inline u64 mul_div_u64(u64 a, u64 b, u64 c)
{
	return (u64)((unsigned __int128)a * b / c);
}

#endif
