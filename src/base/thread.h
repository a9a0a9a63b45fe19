/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting threads that leave signals to the main thread.
 */
#ifndef LODGE_BASE_THREAD_H
#define LODGE_BASE_THREAD_H

#include <pthread.h>

/* Starts a thread on which every signal is blocked but those about a thread's own fault: they must
 * reach their handlers, or the host kills the process. 0 or an errno value. */
int thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);

#endif
