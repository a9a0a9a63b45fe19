/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the engine counted, for the monitor ("query-cpu-stats") and for the log (--cpu-stats).
 */
#ifndef LODGE_VMM_COUNTERS_H
#define LODGE_VMM_COUNTERS_H

#include <jansson.h>

struct vm;

/* {"shared": {GROUP: {NAME: N}}, "cpus": [{"cpu-index": I, GROUP: {NAME: N}}]}, owned by the
 * caller; NULL if the engine counts nothing. Any thread. */
json_t *counters_query(const struct vm *vm);
/* The same as lines of the log, the largest numbers of each group first. */
void counters_log(const struct vm *vm);

#endif
