/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pinning threads. See affinity.h. */
#include "vmm/affinity.h"

#include "machine/vm.h"

#include <errno.h>
#include <pthread.h>

static int set(pthread_t thread, const struct number_set *pins, const char *what, GError **error)
{
	g_autofree char *text = number_set_format(pins);
	cpu_set_t cpus;
	int err;

	CPU_ZERO(&cpus);
	for (unsigned i = 0; i < MIN(NUMBER_SET_MAX, CPU_SETSIZE); i++)
		if (number_set_has(pins, i))
			CPU_SET(i, &cpus);
	err = pthread_setaffinity_np(thread, sizeof(cpus), &cpus);
	if (err)
		g_set_error(error, PLAN_ERROR, err, "%s cannot run on the host's processors %s: %s",
			    what, text,
			    err == EINVAL ? "none of them is there for this process"
					  : g_strerror(err));
	return -err;
}

int affinity_set_others(const struct plan *plan, cpu_set_t *was, GError **error)
{
	if (sched_getaffinity(0, sizeof(*was), was))
		CPU_ZERO(was);
	return number_set_empty(&plan->others)
		       ? 0
		       : set(pthread_self(), &plan->others, "the emulator", error);
}

static int set_vcpu(const struct plan *plan, const struct vcpu *vcpu, const cpu_set_t *was,
		    GError **error)
{
	const struct number_set *pins = plan->pins ? &plan->pins[vcpu->index] : NULL;
	char what[16];

	if (pins && !number_set_empty(pins)) {
		g_snprintf(what, sizeof(what), "vCPU %u", vcpu->index);
		return set(vcpu->thread, pins, what, error);
	}
	if (!number_set_empty(&plan->others) && CPU_COUNT(was))
		pthread_setaffinity_np(vcpu->thread, sizeof(*was), was);
	return 0;
}

int affinity_set_vcpus(const struct plan *plan, const struct vm *vm, const cpu_set_t *was,
		       GError **error)
{
	int err = 0;

	for (unsigned i = 0; i < vm->vcpu_count && !err; i++)
		err = set_vcpu(plan, vm->vcpus[i], was, error);
	return err;
}
