/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine's counters as JSON and as lines of the log. See counters.h. */
#include "vmm/counters.h"

#include "accel/accel.h"
#include "base/log.h"
#include "machine/vm.h"

#include <string.h>

#define LOGGED_MAX 32 /* counters of a group: a line of the log is bounded */

static void add_counter(void *opaque, const char *group, const char *name, u64 value)
{
	json_t *groups = opaque, *members = json_object_get(groups, group);

	if (!members) {
		members = json_object();
		json_object_set_new(groups, group, members);
	}
	json_object_set_new(members, name, json_integer(value));
}

static json_t *counters_of(const struct vm *vm, int vcpu)
{
	json_t *groups = json_object();

	vm->accel->counters(vm->accel_vm, vcpu, add_counter, groups);
	return groups;
}

json_t *counters_query(const struct vm *vm)
{
	json_t *cpus;

	if (!vm->accel->counters)
		return NULL;
	cpus = json_array();
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		json_t *cpu = counters_of(vm, i);

		json_object_set_new(cpu, "cpu-index", json_integer(i));
		json_array_append_new(cpus, cpu);
	}
	return json_pack("{s:o,s:o}", "shared", counters_of(vm, -1), "cpus", cpus);
}

struct counter {
	const char *name;
	json_int_t value;
};

static gint larger_first(gconstpointer a, gconstpointer b)
{
	json_int_t x = ((const struct counter *)a)->value, y = ((const struct counter *)b)->value;

	return x < y ? 1 : x > y ? -1 : 0;
}

static void log_group(const char *where, const char *group, json_t *members)
{
	GArray *all = g_array_new(FALSE, FALSE, sizeof(struct counter));
	GString *line = g_string_new(NULL);
	const char *name;
	json_t *value;

	json_object_foreach (members, name, value) {
		const struct counter counter = { name, json_integer_value(value) };

		g_array_append_val(all, counter);
	}
	g_array_sort(all, larger_first);
	for (guint i = 0; i < MIN(all->len, LOGGED_MAX); i++) {
		const struct counter *counter = &g_array_index(all, struct counter, i);

		g_string_append_printf(line, "%s%s %lld", i ? ", " : "", counter->name,
				       (long long)counter->value);
	}
	log_info("vmm", "%s: %s: %s%s", where, group, line->str,
		 all->len > LOGGED_MAX ? ", ..." : "");
	g_string_free(line, TRUE);
	g_array_free(all, TRUE);
}

static void log_groups(const char *where, json_t *groups)
{
	const char *group;
	json_t *members;

	json_object_foreach (groups, group, members)
		log_group(where, group, members);
	json_decref(groups);
}

void counters_log(const struct vm *vm)
{
	char where[16];

	if (!vm->accel->counters)
		return;
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		g_snprintf(where, sizeof(where), "vCPU %u", i);
		log_groups(where, counters_of(vm, i));
	}
	log_groups("all vCPUs", counters_of(vm, -1));
}
