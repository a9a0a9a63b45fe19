/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine as a whole: its parts in order, its life, and the bus between processors and
 * devices. See vm.h.
 */
#include "machine/vm.h"

#include "accel/accel.h"
#include "base/log.h"
#include "machine/engine.h"
#include "machine/fault.h"

#include <errno.h>
#include <string.h>
#include <time.h>

GQuark vm_error_quark(void)
{
	return g_quark_from_static_string("lodge-vm");
}

/* The bus: what the accelerator calls on a vCPU's thread. */

static void bus_mmio(void *opaque, unsigned index, gpa_t gpa, u64 *data, unsigned size, bool write)
{
	struct vm *vm = opaque;
	struct device *lapic = vm->vcpus[index]->lapic;

	/* Each processor sees its own local APIC, wherever it moved it. */
	if (lapic && (gpa & PAGE_MASK) == vm->irq.lapic->base(lapic))
		vm->irq.lapic->mmio(lapic, gpa & ~PAGE_MASK, size, data, write);
	else
		region_map_access(&vm->mmio, gpa, size, data, write);
}

static void bus_pio(void *opaque, unsigned index, u16 port, u32 *data, unsigned size, bool write)
{
	struct vm *vm = opaque;
	u64 value = *data;

	region_map_access(&vm->pio, port, size, &value, write);
	if (!write)
		*data = value;
}

static bool bus_msr(void *opaque, unsigned index, u32 msr, u64 *data, bool write)
{
	struct vm *vm = opaque;
	struct device *lapic = vm->vcpus[index]->lapic;

	return lapic && vm->irq.lapic->msr(lapic, msr, data, write);
}

static int bus_interrupt_ack(void *opaque, unsigned index)
{
	struct vm *vm = opaque;
	struct device *lapic = vm->vcpus[index]->lapic;

	return lapic ? vm->irq.lapic->ack(lapic) : -1;
}

static u64 bus_cr8(void *opaque, unsigned index, u64 value, bool write)
{
	struct vm *vm = opaque;
	struct device *lapic = vm->vcpus[index]->lapic;

	return lapic ? vm->irq.lapic->cr8(lapic, value, write) : 0;
}

static void bus_eoi(void *opaque, u8 vector)
{
	struct vm *vm = opaque;

	if (vm->irq.ioapic)
		vm->irq.ioapic_eoi(vm->irq.ioapic, vector);
}

/* Making and ending. */

struct accel_config vm_accel_config(struct vm *vm, const struct vm_config *config)
{
	return (struct accel_config){
		.vcpus = config->vcpus,
		.sockets = config->sockets,
		.cores = config->cores,
		.threads = config->threads,
		.code_cache_bytes = config->code_cache_bytes,
		.step = config->step,
		.check_blocks = config->check_blocks,
		.dirty_bitmaps = config->dirty_bitmaps,
		.save_code = config->save_code,
		.saved_code = config->saved_code,
		.saved_code_checked = config->saved_code_checked,
		.perf_map = config->perf_map,
		.jitdump = config->jitdump,
		.guest_symbols = config->guest_symbols,
		.kvm_fd = config->kvm_fd,
		.movable = config->other,
		.tsc_stable = config->tsc_stable,
		.features_off = config->features_off,
		.features_required = config->features_required,
		.bus = { .opaque = vm,
			 .mmio = bus_mmio,
			 .pio = bus_pio,
			 .msr = bus_msr,
			 .interrupt_ack = bus_interrupt_ack,
			 .cr8 = bus_cr8,
			 .eoi = bus_eoi },
	};
}

static int create_engine(struct vm *vm, const struct vm_config *config, GError **error)
{
	const struct accel_config accel = vm_accel_config(vm, config);

	if (!config->vcpus || config->vcpus > VM_VCPUS_MAX ||
	    (u64)config->sockets * config->cores * config->threads != config->vcpus) {
		g_set_error(error, VM_ERROR, EINVAL,
			    "%u vCPUs do not make a topology of %u sockets, %u cores, %u threads",
			    config->vcpus, config->sockets, config->cores, config->threads);
		return -EINVAL;
	}
	vm->accel_vm = vm->accel->vm_create(&accel, error);
	return vm->accel_vm ? 0 : -EIO;
}

static int create_vcpus(struct vm *vm, unsigned count, GError **error)
{
	for (unsigned i = 0; i < count; i++) {
		vm->vcpus[i] = vcpu_new(vm, i, error);
		if (!vm->vcpus[i])
			return -EIO;
		vm->vcpu_count = i + 1;
	}
	return 0;
}

struct vm *vm_new(const struct vm_config *config, GError **error)
{
	struct vm *vm = g_new0(struct vm, 1);
	pthread_condattr_t attr;

	vm->name = g_strdup(config->name);
	memcpy(vm->uuid, config->uuid, sizeof(vm->uuid));
	/* of two engines the one with local APICs, KVM, is made first: engine.h */
	vm->accel = config->other && config->other->has_lapic ? config->other : config->accel;
	vm->rtc_localtime = config->rtc_localtime;
	vm->control = pthread_self();
	vm->quiesced = true; /* devices are told of the first start as of every other */
	vm->memory.fd = -1;
	vm->devices = g_ptr_array_new();
	pthread_mutex_init(&vm->run_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&vm->run_changed, &attr);
	pthread_condattr_destroy(&attr);
	region_map_init(&vm->pio);
	region_map_init(&vm->mmio);
	irq_router_init(&vm->irq);
	vm_clock_init(&vm->clock, config->manual_clock);

	if (create_engine(vm, config, error) ||
	    guest_memory_init(&vm->memory, config->memory_bytes, &config->backing, config->limits,
			      error) ||
	    fault_register(vm, error) ||
	    guest_memory_attach(&vm->memory, vm->accel, vm->accel_vm, error) ||
	    create_vcpus(vm, config->vcpus, error) ||
	    (config->other && engine_add_other(vm, config, error))) {
		vm_free(vm);
		return NULL;
	}
	vm->stopped_tsc = vm_running_tsc(vm);
	vm->tsc_stands = !config->manual_clock;
	return vm;
}

static void free_devices(struct vm *vm)
{
	for (guint i = vm->devices->len; i > 0; i--) {
		struct device *dev = g_ptr_array_index(vm->devices, i - 1);

		if (dev->tried && dev->type->destroy)
			dev->type->destroy(dev);
		for (const struct device_option *o = dev->type->options; o && o->name; o++)
			if (o->kind == OPTION_STRING)
				g_free(*(char **)((char *)dev + o->offset));
		g_free(dev->id);
		g_free(dev);
	}
	g_ptr_array_free(vm->devices, TRUE);
}

/* Threads end before what they use: processors, clock, devices (which end their I/O), engine. */
void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	vm_pause(vm);
	pthread_mutex_lock(&vm->run_lock);
	vm->ending = true;
	pthread_cond_broadcast(&vm->run_changed);
	pthread_mutex_unlock(&vm->run_lock);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_destroy(vm->vcpus[i]);
	vm->vcpu_count = 0;
	vm_clock_destroy(&vm->clock);
	free_devices(vm);
	engine_free_other(vm);
	if (vm->accel_vm)
		vm->accel->vm_destroy(vm->accel_vm);
	fault_unregister(vm);
	guest_memory_destroy(&vm->memory);
	irq_router_destroy(&vm->irq);
	region_map_destroy(&vm->mmio);
	region_map_destroy(&vm->pio);
	pthread_cond_destroy(&vm->run_changed);
	pthread_mutex_destroy(&vm->run_lock);
	g_free(vm->io_error.disk);
	g_free(vm->name);
	g_free(vm);
}

/* Life. */

static void set_state(struct vm *vm, enum vm_state state)
{
	pthread_mutex_lock(&vm->run_lock);
	vm->state = state;
	pthread_cond_broadcast(&vm->run_changed);
	pthread_mutex_unlock(&vm->run_lock);
}

enum vm_state vm_state_get(struct vm *vm)
{
	enum vm_state state;

	pthread_mutex_lock(&vm->run_lock);
	state = vm->state;
	pthread_mutex_unlock(&vm->run_lock);
	return state;
}

/* Calls the optional function at @offset of every realized device's type. */
static void each_device(struct vm *vm, size_t offset)
{
	for (guint i = 0; i < vm->devices->len; i++) {
		struct device *dev = g_ptr_array_index(vm->devices, i);
		void (*f)(struct device *) =
			*(void (*const *)(struct device *))((const char *)dev->type + offset);

		if (f && dev->realized)
			f(dev);
	}
}

static void set_quiescing(struct vm *vm, bool quiescing)
{
	pthread_mutex_lock(&vm->run_lock);
	vm->quiescing = quiescing;
	pthread_cond_broadcast(&vm->run_changed);
	pthread_mutex_unlock(&vm->run_lock);
}

/* Time stands, or goes on: the clock's, and that of the processors' counters. */
static void pass_time(struct vm *vm, bool passes)
{
	if (vm->clock.manual) { /* then the counters follow it */
		vm_clock_run(&vm->clock, passes);
	} else if (passes == !vm->tsc_stands) {
		return;
	} else if (passes) {
		u64 stood = vm_running_tsc(vm) - vm->stopped_tsc;

		vm->accel->tsc_skip(vm->accel_vm, stood);
		__atomic_store_n(&vm->tsc_stands, false, __ATOMIC_RELEASE);
		vm_clock_run(&vm->clock, true);
	} else {
		vm_clock_run(&vm->clock, false);
		__atomic_store_n(&vm->stopped_tsc, vm_running_tsc(vm), __ATOMIC_RELAXED);
		if (vm->accel->time_stands)
			vm->accel->time_stands(vm->accel_vm);
		__atomic_store_n(&vm->tsc_stands, true, __ATOMIC_RELEASE);
	}
}

/* False: a thread waits for memory, so what it holds can be neither waited for nor looked at. */
static bool stop_everything(struct vm *vm)
{
	bool parked;

	pthread_mutex_lock(&vm->run_lock);
	vcpus_pause_locked(vm);
	parked = vcpus_wait_parked_locked(vm);
	vm->starving = !parked;
	pthread_mutex_unlock(&vm->run_lock);
	pass_time(vm, false);
	if (!parked)
		return false;
	set_quiescing(vm, true);
	each_device(vm, offsetof(struct device_type, quiesce));
	set_quiescing(vm, false);
	vm->quiesced = true;
	return true;
}

static void run_everything(struct vm *vm)
{
	if (vm->quiesced)
		each_device(vm, offsetof(struct device_type, resume));
	vm->quiesced = false;
	pass_time(vm, true);
	pthread_mutex_lock(&vm->run_lock);
	vm->starving = false;
	vm->memory_tries++;
	vm->starved = 0;
	vcpus_continue_locked(vm);
	pthread_mutex_unlock(&vm->run_lock);
}

static int reset_everything(struct vm *vm, GError **error)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vm->accel->vcpu_reset(vm->vcpus[i]->accel, false);
	each_device(vm, offsetof(struct device_type, reset));
	return vm->boot ? vm->boot(vm, vm->boot_opaque, error) : 0;
}

int vm_start(struct vm *vm, bool paused, GError **error)
{
	int err = 0;

	if (!vm->clock.manual)
		err = vm_clock_start_thread(&vm->clock, error);
	for (unsigned i = 0; i < vm->vcpu_count && !err; i++)
		err = vcpu_start(vm->vcpus[i], error);
	if (!err)
		err = reset_everything(vm, error);
	if (err)
		return err;
	set_state(vm, paused ? VM_PAUSED : VM_RUNNING);
	if (!paused)
		run_everything(vm);
	return 0;
}

void vm_pause(struct vm *vm)
{
	if (vm_state_get(vm) != VM_RUNNING)
		return;
	stop_everything(vm);
	set_state(vm, VM_PAUSED);
}

static void set_pause_reason(struct vm *vm, const char *reason, bool needs_reset)
{
	pthread_mutex_lock(&vm->run_lock);
	vm->pause_reason = reason;
	vm->needs_reset = needs_reset;
	vm->reset_asked = false;
	pthread_mutex_unlock(&vm->run_lock);
}

void vm_pause_for(struct vm *vm, const char *reason, bool needs_reset)
{
	set_pause_reason(vm, reason, needs_reset);
	vm_pause(vm);
}

const char *vm_pause_reason(struct vm *vm)
{
	const char *reason;

	pthread_mutex_lock(&vm->run_lock);
	reason = vm->pause_reason;
	pthread_mutex_unlock(&vm->run_lock);
	return reason;
}

bool vm_needs_reset(struct vm *vm)
{
	bool needs;

	pthread_mutex_lock(&vm->run_lock);
	needs = vm->needs_reset && !vm->reset_asked;
	pthread_mutex_unlock(&vm->run_lock);
	return needs;
}

void vm_nmi(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpus[i]->lapic)
			vm->irq.lapic->nmi(vm->vcpus[i]->lapic);
}

void vm_resume(struct vm *vm)
{
	bool crashed;

	pthread_mutex_lock(&vm->run_lock);
	crashed = vm->needs_reset;
	pthread_mutex_unlock(&vm->run_lock);
	if (vm_state_get(vm) != VM_PAUSED || crashed)
		return;
	set_pause_reason(vm, NULL, false);
	set_state(vm, VM_RUNNING);
	run_everything(vm);
}

int vm_reset(struct vm *vm, GError **error)
{
	bool running = vm_state_get(vm) == VM_RUNNING;
	int err;

	if (running && !stop_everything(vm))
		set_state(vm, VM_PAUSED);
	if (vm_starving(vm)) {
		vm_request(vm, VM_REQUEST_RESET, vm->reset_value);
		return -EAGAIN;
	}
	set_pause_reason(vm, NULL, false);
	err = reset_everything(vm, error);
	if (!err && running)
		run_everything(vm);
	return err;
}

void vm_starve(struct vm *vm)
{
	pthread_mutex_lock(&vm->run_lock);
	vm->starving = vm->starving || vm->state == VM_RUNNING;
	pthread_mutex_unlock(&vm->run_lock);
	if (vm_state_get(vm) != VM_RUNNING)
		return;
	pass_time(vm, false);
	set_state(vm, VM_PAUSED);
}

const char *vm_starving(struct vm *vm)
{
	const char *why;

	pthread_mutex_lock(&vm->run_lock);
	why = vm->starving ? vm->starved_why : NULL;
	pthread_mutex_unlock(&vm->run_lock);
	return why;
}

#define QUIESCING_RETRY_MS 100 /* nobody would say when to try again */

static struct timespec after_ms(int ms);

enum vm_memory vm_wait_for_memory(struct vm *vm, const char *why)
{
	struct timespec until;
	bool ends;
	unsigned tries;

	if (pthread_equal(pthread_self(), vm->control)) {
		log_error("vm", "no memory for the guest: %s", why);
		return VM_MEMORY_FATAL;
	}
	pthread_mutex_lock(&vm->run_lock);
	vm->starved++;
	vm->starved_why = why;
	vm->requests |= BIT(VM_REQUEST_STARVED);
	vcpus_pause_locked(vm);
	pthread_cond_broadcast(&vm->run_changed);
	tries = vm->memory_tries;
	while (vm->memory_tries == tries && !vm->ending) {
		until = after_ms(QUIESCING_RETRY_MS);
		if (!vm->quiescing)
			pthread_cond_wait(&vm->run_changed, &vm->run_lock);
		else if (pthread_cond_timedwait(&vm->run_changed, &vm->run_lock, &until))
			break;
	}
	ends = vm->ending && vm->memory_tries == tries;
	if (vm->memory_tries == tries) /* else it is counted no longer */
		vm->starved--;
	pthread_mutex_unlock(&vm->run_lock);
	return ends ? VM_MEMORY_ENDS : VM_MEMORY_RETRY;
}

void vm_io_failed(struct vm *vm, const char *disk, int err, bool write)
{
	pthread_mutex_lock(&vm->run_lock);
	g_free(vm->io_error.disk);
	vm->io_error = (struct vm_io_error){ g_strdup(disk), err, write };
	pthread_mutex_unlock(&vm->run_lock);
	vm_request(vm, VM_REQUEST_IO_ERROR, 0);
}

struct vm_io_error vm_io_error(struct vm *vm)
{
	struct vm_io_error e;

	pthread_mutex_lock(&vm->run_lock);
	e = vm->io_error;
	vm->io_error.disk = NULL;
	pthread_mutex_unlock(&vm->run_lock);
	return e;
}

static const unsigned ending_requests =
	BIT(VM_REQUEST_EXIT) | BIT(VM_REQUEST_ERROR) | BIT(VM_REQUEST_QUIT);
static const unsigned stopping_requests = BIT(VM_REQUEST_RESET) | BIT(VM_REQUEST_POWEROFF) |
					  BIT(VM_REQUEST_CRASH) | BIT(VM_REQUEST_EXIT) |
					  BIT(VM_REQUEST_ERROR) | BIT(VM_REQUEST_QUIT);

void vm_request(struct vm *vm, enum vm_request request, int value)
{
	pthread_mutex_lock(&vm->run_lock);
	vm->requests |= BIT(request);
	if (request == VM_REQUEST_EXIT)
		vm->exit_value = value;
	if (request == VM_REQUEST_RESET) {
		vm->reset_value = value;
		vm->reset_asked = true;
	}
	if (request == VM_REQUEST_CRASH)
		vm->crash_value = value;
	if (BIT(request) & ending_requests)
		vm->ending = true;
	if (BIT(request) & stopping_requests)
		vcpus_pause_locked(vm);
	pthread_cond_broadcast(&vm->run_changed);
	pthread_mutex_unlock(&vm->run_lock);
}

static enum vm_request take_request_locked(struct vm *vm)
{
	static const enum vm_request by_urgency[] = {
		VM_REQUEST_ERROR,        VM_REQUEST_QUIT,      VM_REQUEST_EXIT,
		VM_REQUEST_CRASH,        VM_REQUEST_POWEROFF,  VM_REQUEST_STARVED,
		VM_REQUEST_CRASH_LOADED, VM_REQUEST_WATCHDOG,  VM_REQUEST_RESET,
		VM_REQUEST_IO_ERROR,     VM_REQUEST_POWERDOWN, VM_REQUEST_REBOOT,
		VM_REQUEST_ENGINE,       VM_REQUEST_PAUSE,     VM_REQUEST_RESUME,
	};
	unsigned requests = vm->requests & ~(vm->starving ? BIT(VM_REQUEST_RESET) : 0);

	for (unsigned i = 0; i < ARRAY_LEN(by_urgency); i++) {
		if (requests & BIT(by_urgency[i])) {
			vm->requests &= ~BIT(by_urgency[i]);
			return by_urgency[i];
		}
	}
	return VM_REQUEST_TIMEOUT;
}

static struct timespec after_ms(int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000l;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000l;
	}
	return until;
}

bool vm_wait_state(struct vm *vm, enum vm_state state, int timeout_ms)
{
	struct timespec until = after_ms(timeout_ms);
	bool reached;

	pthread_mutex_lock(&vm->run_lock);
	while (vm->state != state)
		if (pthread_cond_timedwait(&vm->run_changed, &vm->run_lock, &until))
			break;
	reached = vm->state == state;
	pthread_mutex_unlock(&vm->run_lock);
	return reached;
}

enum vm_request vm_wait_request(struct vm *vm, int timeout_ms, int *value)
{
	struct timespec until = after_ms(MAX(timeout_ms, 0));
	enum vm_request request;

	pthread_mutex_lock(&vm->run_lock);
	while ((request = take_request_locked(vm)) == VM_REQUEST_TIMEOUT) {
		if (timeout_ms < 0)
			pthread_cond_wait(&vm->run_changed, &vm->run_lock);
		else if (pthread_cond_timedwait(&vm->run_changed, &vm->run_lock, &until))
			break;
	}
	if (value)
		*value = request == VM_REQUEST_RESET   ? vm->reset_value
			 : request == VM_REQUEST_CRASH ? vm->crash_value
						       : vm->exit_value;
	pthread_mutex_unlock(&vm->run_lock);
	return request;
}

bool vm_has_doorbells(const struct vm *vm)
{
	return vm->accel->doorbell && !vm->other;
}

int vm_doorbell(struct vm *vm, gpa_t gpa, int fd, bool on)
{
	return vm->accel->doorbell(vm->accel_vm, gpa, fd, on);
}

u64 vm_tsc_hz(struct vm *vm)
{
	return vm->accel->tsc_hz(vm->accel_vm);
}
