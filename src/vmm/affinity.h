/* SPDX-License-Identifier: GPL-2.0-or-later */
/* On which of the host's processors the threads of a guest run, as its plan says. */
#ifndef LODGE_VMM_AFFINITY_H
#define LODGE_VMM_AFFINITY_H

#include "vmm/plan.h"
#include <sched.h>

struct vm;

/* Before there are other threads: what this one starts inherits where it runs. *@was: where it ran
 * before. -errno with @error set. */
int affinity_set_others(const struct plan *plan, cpu_set_t *was, GError **error);
/* After the vCPUs' threads have been started. Those without pins run as @was says. */
int affinity_set_vcpus(const struct plan *plan, const struct vm *vm, const cpu_set_t *was,
		       GError **error);

#endif
