/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine's engines. See engine.h. */
#include "machine/engine.h"

#include "accel/accel.h"
#include "base/log.h"

#include <errno.h>
#include <time.h>

struct engine {
	const struct accel *accel;
	struct accel_vm *vm;
	struct accel_vcpu *vcpus[VM_VCPUS_MAX];
	const char **features_off; /* the configuration's, and what the first engine lacks */
};

/* Nothing runs. The monitor may be looking. */
static void exchange(struct vm *vm)
{
	struct engine *other = vm->other;
	const struct accel *accel = vm->accel;
	struct accel_vm *accel_vm = vm->accel_vm;

	pthread_mutex_lock(&vm->run_lock);
	vm->accel = other->accel;
	vm->accel_vm = other->vm;
	other->accel = accel;
	other->vm = accel_vm;
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct accel_vcpu *vcpu = vm->vcpus[i]->accel;

		vm->vcpus[i]->accel = other->vcpus[i];
		other->vcpus[i] = vcpu;
	}
	vm->memory.accel = vm->accel;
	vm->memory.accel_vm = vm->accel_vm;
	pthread_mutex_unlock(&vm->run_lock);
}

static const char **join(const char *const *a, const char *const *b)
{
	GPtrArray *all = g_ptr_array_new();

	for (; a && *a; a++)
		g_ptr_array_add(all, (char *)*a);
	for (; b && *b; b++)
		g_ptr_array_add(all, (char *)*b);
	g_ptr_array_add(all, NULL);
	return (const char **)g_ptr_array_free(all, FALSE);
}

static int create_processors(struct vm *vm, struct engine *e, GError **error)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		e->vcpus[i] = e->accel->vcpu_create(e->vm, i, error);
		if (!e->vcpus[i])
			return -EIO;
	}
	return 0;
}

int engine_add_other(struct vm *vm, const struct vm_config *config, GError **error)
{
	struct accel_config accel = vm_accel_config(vm, config);
	struct engine *e = g_new0(struct engine, 1);
	int err;

	vm->other = e;
	e->accel = vm->accel == config->accel ? config->other : config->accel;
	e->features_off = join(config->features_off,
			       vm->accel->lacks ? vm->accel->lacks(vm->accel_vm) : NULL);
	accel.features_off = e->features_off;
	accel.tsc_hz = vm_tsc_hz(vm);
	e->vm = e->accel->vm_create(&accel, error);
	if (!e->vm)
		return -EIO;
	err = guest_memory_attach(&vm->memory, e->accel, e->vm, error);
	vm->memory.accel = vm->accel;
	vm->memory.accel_vm = vm->accel_vm;
	if (!err)
		err = create_processors(vm, e, error);
	if (!err && vm->accel != config->accel)
		exchange(vm);
	return err;
}

void engine_free_other(struct vm *vm)
{
	struct engine *e = vm->other;

	if (!e)
		return;
	for (unsigned i = 0; i < VM_VCPUS_MAX; i++)
		if (e->vcpus[i])
			e->accel->vcpu_destroy(e->vcpus[i]);
	if (e->vm)
		e->accel->vm_destroy(e->vm);
	g_free(e->features_off);
	g_free(e);
	vm->other = NULL;
}

static void each_device(struct vm *vm, bool before)
{
	for (guint i = 0; i < vm->devices->len; i++) {
		struct device *dev = g_ptr_array_index(vm->devices, i);

		if (before && dev->type->pre_save)
			dev->type->pre_save(dev);
		else if (!before && dev->type->engine_changed)
			dev->type->engine_changed(dev);
	}
}

static int put_states(struct vm *vm, const struct x86_state *states, u64 host_tsc)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		int err = vcpu_set_state(vm->vcpus[i], &states[i], host_tsc);

		if (err)
			return err;
	}
	return 0;
}

/* The machine stands. Interrupts that were raised at the old engine's processors are in the state
 * of those and of the devices, which raise them anew. */
static int move(struct vm *vm)
{
	const unsigned events =
		ACCEL_EVENT_INTR | ACCEL_EVENT_NMI | ACCEL_EVENT_INIT | ACCEL_EVENT_SIPI;
	struct x86_state *states = g_new0(struct x86_state, vm->vcpu_count);
	u64 host_tsc = vm_host_tsc(vm), clock = vm->accel->clock(vm->accel_vm, host_tsc);
	int err;

	each_device(vm, true);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_get_state(vm->vcpus[i], &states[i], host_tsc);
	exchange(vm);
	err = put_states(vm, states, host_tsc);
	if (err) {
		exchange(vm);
	} else {
		vm->accel->set_clock(vm->accel_vm, clock, host_tsc);
		vm->accel->memory_replaced(vm->accel_vm);
		for (unsigned i = 0; i < vm->vcpu_count; i++)
			vm->other->accel->clear(vm->other->vcpus[i], events);
	}
	each_device(vm, false);
	g_free(states);
	return err;
}

static int try_move(struct vm *vm, GError **error)
{
	bool running = vm_state_get(vm) == VM_RUNNING;
	gint64 start = g_get_monotonic_time();
	int err;

	if (!vm->other) {
		g_set_error(error, VM_ERROR, ENOTSUP, "it has one engine only");
		return -ENOTSUP;
	}
	if (vm->memory.logging) {
		g_set_error(error, VM_ERROR, EBUSY, "its memory is being copied");
		return -EBUSY;
	}
	vm_pause(vm);
	if (vm_starving(vm)) {
		g_set_error(error, VM_ERROR, EAGAIN, "the guest waits for memory");
		return -EAGAIN;
	}
	err = move(vm);
	if (err)
		g_set_error(error, VM_ERROR, -err, "the %s engine refuses the guest's state: %s",
			    vm->other->accel->name, g_strerror(-err));
	else
		log_info("vm", "moved to the %s engine; the guest stood for %.1f ms",
			 vm->accel->name, (g_get_monotonic_time() - start) / 1e3);
	if (running)
		vm_resume(vm);
	return err;
}

int vm_move(struct vm *vm, GError **error)
{
	int err = try_move(vm, error);

	pthread_mutex_lock(&vm->run_lock);
	vm->moves++;
	pthread_cond_broadcast(&vm->run_changed);
	pthread_mutex_unlock(&vm->run_lock);
	return err;
}

const char *vm_engine_name(struct vm *vm)
{
	const char *name;

	pthread_mutex_lock(&vm->run_lock);
	name = vm->accel->name;
	pthread_mutex_unlock(&vm->run_lock);
	return name;
}

bool vm_move_asked(struct vm *vm, int timeout_ms)
{
	const char *before = vm_engine_name(vm);
	struct timespec until;
	unsigned moves;
	bool moved;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000 + 1;
	pthread_mutex_lock(&vm->run_lock);
	moves = vm->moves;
	pthread_mutex_unlock(&vm->run_lock);
	vm_request(vm, VM_REQUEST_ENGINE, 0);
	pthread_mutex_lock(&vm->run_lock);
	while (vm->moves == moves)
		if (pthread_cond_timedwait(&vm->run_changed, &vm->run_lock, &until))
			break;
	moved = vm->accel->name != before;
	pthread_mutex_unlock(&vm->run_lock);
	return moved;
}

const unsigned long *vm_engine_requests(const struct vm *vm)
{
	return vm->accel->requests ? vm->accel->requests
	       : vm->other         ? vm->other->accel->requests
				   : NULL;
}
