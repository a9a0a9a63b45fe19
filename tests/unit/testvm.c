/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See testvm.h. */
#include "testvm.h"

#include "device/types.h"
#include "machine/board.h"

#include <errno.h>
#include <string.h>

struct accel_vcpu {
	struct accel_vm *vm;
	unsigned index, events;
	u8 sipi_vector;
	s64 tsc_offset;
	struct x86_state state;
	struct x86_lapic lapic;
	bool (*step)(struct vm *vm, unsigned cpu, void *opaque);
	void *opaque;
};

struct accel_vm {
	struct accel_config config;
	struct accel_vcpu *vcpus[256];
	u64 written, clock;
	unsigned replaced;
	struct fake_message message, level[GSI_COUNT];
	GHashTable *doorbells; /* gpa -> fd + 1 */
};

static int fake_probe(GError **error)
{
	return 0;
}

static struct accel_vm *fake_vm_create(const struct accel_config *config, GError **error)
{
	struct accel_vm *vm = g_new0(struct accel_vm, 1);

	vm->doorbells = g_hash_table_new(NULL, NULL);
	vm->config = *config;
	return vm;
}

static void fake_vm_destroy(struct accel_vm *vm)
{
	g_hash_table_destroy(vm->doorbells);
	g_free(vm);
}

static int fake_memory_slot(struct accel_vm *vm, unsigned slot, gpa_t gpa, u64 bytes, void *hva,
			    u32 flags)
{
	return 0;
}

static void fake_memory_written(struct accel_vm *vm, gpa_t gpa, u64 bytes)
{
	__atomic_add_fetch(&vm->written, bytes, __ATOMIC_RELAXED);
}

static void fake_memory_replaced(struct accel_vm *vm)
{
	vm->replaced++;
}

static u64 fake_tsc_hz(struct accel_vm *vm)
{
	return TEST_TSC_HZ;
}

static struct accel_vcpu *fake_vcpu_create(struct accel_vm *vm, unsigned index, GError **error)
{
	struct accel_vcpu *vcpu = g_new0(struct accel_vcpu, 1);

	vcpu->vm = vm;
	vcpu->index = index;
	vm->vcpus[index] = vcpu;
	return vcpu;
}

static void fake_vcpu_destroy(struct accel_vcpu *vcpu)
{
	g_free(vcpu);
}

static void fake_vcpu_reset(struct accel_vcpu *vcpu, bool init)
{
	vcpu->events &= ACCEL_EVENT_STOP;
	memset(&vcpu->state, 0, sizeof(vcpu->state));
}

static enum accel_exit fake_run(struct accel_vcpu *vcpu)
{
	unsigned events = __atomic_load_n(&vcpu->events, __ATOMIC_ACQUIRE);

	if (events & ACCEL_EVENT_STOP)
		return ACCEL_EXIT_STOPPED;
	if (vcpu->step && vcpu->step(vcpu->vm->config.bus.opaque, vcpu->index, vcpu->opaque))
		return ACCEL_EXIT_STOPPED;
	return ACCEL_EXIT_HALTED;
}

static void fake_get_state(struct accel_vcpu *vcpu, struct x86_state *state)
{
	*state = vcpu->state;
}

static int fake_set_state(struct accel_vcpu *vcpu, const struct x86_state *state)
{
	if (state->rip == FAKE_BAD_RIP)
		return -EINVAL;
	vcpu->state = *state;
	return 0;
}

static void fake_raise(struct accel_vcpu *vcpu, unsigned events)
{
	__atomic_or_fetch(&vcpu->events, events, __ATOMIC_SEQ_CST);
}

static void fake_clear(struct accel_vcpu *vcpu, unsigned events)
{
	__atomic_and_fetch(&vcpu->events, ~events, __ATOMIC_SEQ_CST);
}

static void fake_set_sipi_vector(struct accel_vcpu *vcpu, u8 vector)
{
	vcpu->sipi_vector = vector;
}

static bool fake_has_work(struct accel_vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->events, __ATOMIC_ACQUIRE) != 0;
}

static s64 fake_tsc_offset(struct accel_vcpu *vcpu)
{
	return vcpu->tsc_offset;
}

static void fake_set_tsc_offset(struct accel_vcpu *vcpu, s64 offset)
{
	vcpu->tsc_offset = offset;
}

static void fake_tsc_skip(struct accel_vm *vm, u64 ticks)
{
	for (unsigned i = 0; i < vm->config.vcpus; i++)
		vm->vcpus[i]->tsc_offset -= ticks;
}

static u64 fake_clock(struct accel_vm *vm, u64 host_tsc)
{
	return vm->clock;
}

static void fake_set_clock(struct accel_vm *vm, u64 ns, u64 host_tsc)
{
	vm->clock = ns;
}

static int fake_ring(struct accel_vm *vm, gpa_t gpa, int fd, bool on)
{
	void *key = GSIZE_TO_POINTER(gpa);

	if (on && !g_hash_table_contains(vm->doorbells, key))
		return g_hash_table_insert(vm->doorbells, key, GINT_TO_POINTER(fd + 1)) ? 0 : -EIO;
	return !on && g_hash_table_remove(vm->doorbells, key) ? 0 : -EEXIST;
}

const struct accel fake_accel = {
	.doorbell = fake_ring,
	.name = "fake",
	.probe = fake_probe,
	.vm_create = fake_vm_create,
	.vm_destroy = fake_vm_destroy,
	.memory_slot = fake_memory_slot,
	.memory_written = fake_memory_written,
	.memory_replaced = fake_memory_replaced,
	.tsc_hz = fake_tsc_hz,
	.vcpu_create = fake_vcpu_create,
	.vcpu_destroy = fake_vcpu_destroy,
	.vcpu_reset = fake_vcpu_reset,
	.run = fake_run,
	.get_state = fake_get_state,
	.set_state = fake_set_state,
	.raise = fake_raise,
	.clear = fake_clear,
	.sipi_vector = fake_set_sipi_vector,
	.has_work = fake_has_work,
	.tsc_offset = fake_tsc_offset,
	.set_tsc_offset = fake_set_tsc_offset,
	.tsc_skip = fake_tsc_skip,
	.clock = fake_clock,
	.set_clock = fake_set_clock,
};

static void fake_get_lapic(struct accel_vcpu *vcpu, struct x86_lapic *lapic)
{
	*lapic = vcpu->lapic;
}

static int fake_set_lapic(struct accel_vcpu *vcpu, const struct x86_lapic *lapic)
{
	vcpu->lapic = *lapic;
	return 0;
}

static void fake_msi(struct accel_vm *vm, u64 address, u32 data)
{
	vm->message = (struct fake_message){ address, data, vm->message.count + 1 };
}

static void fake_level_pin(struct accel_vm *vm, unsigned pin, u64 address, u32 data)
{
	vm->level[pin] = (struct fake_message){ address, data, vm->level[pin].count + 1 };
}

static const struct accel *accel_with_lapics(void)
{
	static struct accel accel;

	accel = fake_accel;
	accel.name = "fake-lapics";
	accel.has_lapic = true;
	accel.get_lapic = fake_get_lapic;
	accel.set_lapic = fake_set_lapic;
	accel.msi = fake_msi;
	accel.level_pin = fake_level_pin;
	return &accel;
}

int fake_doorbell(struct vm *vm, gpa_t gpa)
{
	return GPOINTER_TO_INT(
		       g_hash_table_lookup(vm->accel_vm->doorbells, GSIZE_TO_POINTER(gpa))) -
	       1;
}

static struct vm *new_vm(const struct accel *accel, const struct accel *other, unsigned vcpus,
			 u64 memory_bytes)
{
	const struct vm_config config = {
		.name = "test",
		.accel = accel,
		.other = other,
		.memory_bytes = memory_bytes,
		.backing.shared = true, /* as a file it can be cut short: test-starve.c */
		.vcpus = vcpus,
		.sockets = vcpus,
		.cores = 1,
		.threads = 1,
		.manual_clock = true,
	};
	GError *error = NULL;
	struct vm *vm = vm_new(&config, &error);

	g_assert_no_error(error);
	return vm;
}

struct vm *test_vm_bare(unsigned vcpus, u64 memory_bytes)
{
	return new_vm(&fake_accel, NULL, vcpus, memory_bytes);
}

static struct vm *build_board(struct vm *vm)
{
	GError *error = NULL;

	board_build(vm, boards[0], device_types, &error);
	g_assert_no_error(error);
	vm_reset(vm, &error);
	g_assert_no_error(error);
	return vm;
}

struct vm *test_vm_new(unsigned vcpus, u64 memory_bytes)
{
	return build_board(test_vm_bare(vcpus, memory_bytes));
}

struct vm *test_vm_new_with_lapics(unsigned vcpus, u64 memory_bytes)
{
	return build_board(new_vm(accel_with_lapics(), NULL, vcpus, memory_bytes));
}

struct vm *test_vm_new_movable(unsigned vcpus, u64 memory_bytes)
{
	return build_board(new_vm(&fake_accel, accel_with_lapics(), vcpus, memory_bytes));
}

struct device *test_device_new(struct vm *vm, const char *type, const char *id)
{
	GError *error = NULL;
	struct device *dev = device_new(vm, device_type_find(device_types, type), id, &error);

	g_assert_no_error(error);
	return dev;
}

void test_device_realize(struct device *dev)
{
	GError *error = NULL;

	device_realize(dev, &error);
	g_assert_no_error(error);
	dev->type->reset(dev);
}

static const struct accel_bus *bus(struct vm *vm)
{
	return &vm->accel_vm->config.bus;
}

u64 pio_read(struct vm *vm, u16 port, unsigned size)
{
	u32 value = 0;

	bus(vm)->pio(vm, 0, port, &value, size, false);
	return value;
}

void pio_write(struct vm *vm, u16 port, unsigned size, u32 value)
{
	bus(vm)->pio(vm, 0, port, &value, size, true);
}

u64 mmio_read(struct vm *vm, gpa_t gpa, unsigned size)
{
	u64 value = 0;

	bus(vm)->mmio(vm, 0, gpa, &value, size, false);
	return value;
}

void mmio_write(struct vm *vm, gpa_t gpa, unsigned size, u64 value)
{
	bus(vm)->mmio(vm, 0, gpa, &value, size, true);
}

u64 cpu_mmio_read(struct vm *vm, unsigned cpu, gpa_t gpa)
{
	u64 value = 0;

	bus(vm)->mmio(vm, cpu, gpa, &value, 4, false);
	return (u32)value;
}

void cpu_mmio_write(struct vm *vm, unsigned cpu, gpa_t gpa, u32 value)
{
	u64 v = value;

	bus(vm)->mmio(vm, cpu, gpa, &v, 4, true);
}

bool cpu_msr_read(struct vm *vm, unsigned cpu, u32 msr, u64 *value)
{
	return bus(vm)->msr(vm, cpu, msr, value, false);
}

bool cpu_msr_write(struct vm *vm, unsigned cpu, u32 msr, u64 value)
{
	return bus(vm)->msr(vm, cpu, msr, &value, true);
}

int interrupt_ack(struct vm *vm, unsigned cpu)
{
	return bus(vm)->interrupt_ack(vm, cpu);
}

unsigned fake_events(struct vm *vm, unsigned cpu)
{
	return vm->accel_vm->vcpus[cpu]->events;
}

void fake_clear_events(struct vm *vm, unsigned cpu, unsigned events)
{
	fake_clear(vm->accel_vm->vcpus[cpu], events);
}

u8 fake_sipi_vector(struct vm *vm, unsigned cpu)
{
	return vm->accel_vm->vcpus[cpu]->sipi_vector;
}

void fake_program(struct vm *vm, unsigned cpu,
		  bool (*step)(struct vm *vm, unsigned cpu, void *opaque), void *opaque)
{
	vm->accel_vm->vcpus[cpu]->step = step;
	vm->accel_vm->vcpus[cpu]->opaque = opaque;
}

struct x86_lapic *fake_lapic(struct vm *vm, unsigned cpu)
{
	return &vm->accel_vm->vcpus[cpu]->lapic;
}

struct fake_message fake_message(struct vm *vm)
{
	return vm->accel_vm->message;
}

struct fake_message fake_level(struct vm *vm, unsigned pin)
{
	return vm->accel_vm->level[pin];
}

void fake_eoi(struct vm *vm, u8 vector)
{
	bus(vm)->eoi(vm, vector);
}

struct x86_state *fake_state(struct vm *vm, unsigned cpu)
{
	return &vm->accel_vm->vcpus[cpu]->state;
}

unsigned fake_replaced(struct vm *vm)
{
	return vm->accel_vm->replaced;
}

u64 *fake_kvm_clock(struct vm *vm)
{
	return &vm->accel_vm->clock;
}

u64 fake_written(struct vm *vm)
{
	return vm->accel_vm->written;
}
