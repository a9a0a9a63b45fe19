/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The KVM engine: the accelerator table, the VM, its memory and interrupts. See kvm.h.
 */
#include "accel/kvm.h"
#include "accel/kvm_need.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Where KVM on old Intel processors puts four pages of its own; nothing else is there. */
#define IDENTITY_MAP 0xfffbc000ull
#define TSS_ADDRESS  0xfffbd000ull

#define KVM_ERROR g_quark_from_static_string("lodge-kvm")

int kvm_call(int fd, unsigned long request, const void *argument)
{
	int result;

	do
		result = ioctl(fd, request, argument);
	while (result < 0 && errno == EINTR);
	return result < 0 ? -errno : result;
}

int kvm_has(const struct kvm_machine *vm, unsigned long capability)
{
	return MAX(kvm_call(vm->kvm, KVM_CHECK_EXTENSION, (void *)capability), 0);
}

static int fail(GError **error, const char *doing, int err)
{
	g_set_error(error, KVM_ERROR, -err, "KVM cannot %s: %s", doing, g_strerror(-err));
	return err;
}

/* It was looked at when the engine was chosen; this is another process's descriptor. */
static int check_device(struct kvm_machine *vm, GError **error)
{
	const char *lacks;

	if (vm->kvm <= 0 || kvm_call(vm->kvm, KVM_GET_API_VERSION, NULL) != KVM_API_VERSION) {
		g_set_error(error, KVM_ERROR, ENODEV, "the kvm engine was not handed /dev/kvm");
		return -ENODEV;
	}
	lacks = kvm_lacks(vm->kvm);
	if (!lacks)
		return 0;
	g_set_error(error, KVM_ERROR, ENOTSUP, "KVM lacks %s", lacks);
	return -ENOTSUP;
}

static int enable(struct kvm_machine *vm, u32 capability, u64 argument)
{
	const struct kvm_enable_cap cap = { .cap = capability, .args = { argument } };

	return kvm_call(vm->fd, KVM_ENABLE_CAP, &cap);
}

/* Where these are lacking the guest runs all the same. */
static void enable_helpful(struct kvm_machine *vm)
{
	if (kvm_has(vm, KVM_CAP_X86_USER_SPACE_MSR))
		enable(vm, KVM_CAP_X86_USER_SPACE_MSR,
		       KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL);
}

static int create_vm(struct kvm_machine *vm, GError **error)
{
	const u64 identity_map = IDENTITY_MAP;
	int err = kvm_call(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);

	if (err < 0)
		return fail(error, "tell the size of its vCPUs", err);
	vm->run_bytes = err;
	vm->fd = kvm_call(vm->kvm, KVM_CREATE_VM, NULL);
	if (vm->fd < 0)
		return fail(error, "create a VM", vm->fd);
	err = kvm_call(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	if (!err)
		err = kvm_call(vm->fd, KVM_SET_TSS_ADDR, (void *)TSS_ADDRESS);
	if (err)
		return fail(error, "set its own pages", err);
	err = enable(vm, KVM_CAP_SPLIT_IRQCHIP, KVM_IOAPIC_PINS);
	if (err)
		return fail(error, "provide local APICs alone", err);
	enable_helpful(vm);
	kvm_dirty_init(vm);
	return 0;
}

static void vm_destroy(struct accel_vm *accel_vm)
{
	struct kvm_machine *vm = (struct kvm_machine *)accel_vm;

	if (vm->fd >= 0)
		close(vm->fd);
	pthread_mutex_destroy(&vm->routes_lock);
	kvm_dirty_destroy(vm);
	g_free(vm->cpuid);
	g_ptr_array_free(vm->lacks, TRUE);
	g_free(vm->cpus);
	g_free(vm);
}

static struct accel_vm *vm_create(const struct accel_config *config, GError **error)
{
	struct kvm_machine *vm = g_new0(struct kvm_machine, 1);

	vm->config = *config;
	vm->kvm = config->kvm_fd;
	vm->fd = -1;
	vm->cpus = g_new0(struct kvm_cpu *, config->vcpus);
	vm->lacks = g_ptr_array_new();
	pthread_mutex_init(&vm->routes_lock, NULL);
	kvm_install_kick();
	if (check_device(vm, error) || create_vm(vm, error)) {
		vm_destroy((struct accel_vm *)vm);
		return NULL;
	}
	vm->tsc_base = __builtin_ia32_rdtsc();
	vm->stands = true;
	return (struct accel_vm *)vm;
}

static int memory_slot(struct accel_vm *vm, unsigned slot, gpa_t gpa, u64 bytes, void *hva,
		       u32 flags)
{
	struct kvm_machine *machine = (struct kvm_machine *)vm;
	const struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags & ACCEL_SLOT_READONLY ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)hva,
	};

	if (slot >= KVM_SLOTS)
		return -EINVAL;
	machine->slots[slot] = region;
	return kvm_call(machine->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

/* KVM sees memory as it is. */

static void memory_written(struct accel_vm *vm, gpa_t gpa, u64 bytes)
{
}

static void memory_replaced(struct accel_vm *vm)
{
}

/* Processors. */

static void vcpu_destroy(struct accel_vcpu *vcpu)
{
	struct kvm_cpu *cpu = (struct kvm_cpu *)vcpu;

	kvm_dirty_unmap_ring(cpu);
	if (cpu->run && cpu->run != MAP_FAILED)
		munmap(cpu->run, cpu->vm->run_bytes);
	if (cpu->fd >= 0)
		close(cpu->fd);
	cpu->vm->cpus[cpu->index] = NULL;
	g_free(cpu);
}

/* The first processor tells what all have in common. */
static int learn(struct kvm_machine *vm, struct kvm_cpu *cpu, GError **error)
{
	const struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					      .attr = KVM_VCPU_TSC_OFFSET };
	int khz = kvm_call(cpu->fd, KVM_GET_TSC_KHZ, NULL);

	if (khz <= 0)
		return fail(error, "tell the frequency of the time-stamp counter",
			    khz ? khz : -EIO);
	vm->tsc_hz = khz * 1000ull;
	vm->has_tsc_offset = !kvm_call(cpu->fd, KVM_HAS_DEVICE_ATTR, &attr);
	vm->cpuid = kvm_cpuid_new(vm, error);
	return vm->cpuid ? 0 : -EIO;
}

static int set_up_vcpu(struct kvm_machine *vm, struct kvm_cpu *cpu, GError **error)
{
	int err = 0;

	cpu->fd = kvm_call(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)cpu->index);
	if (cpu->fd < 0)
		return fail(error, "create a vCPU", cpu->fd);
	cpu->run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
	if (cpu->run == MAP_FAILED)
		return fail(error, "share a vCPU's page", -errno);
	err = kvm_dirty_map_ring(cpu);
	if (err)
		return fail(error, "share a vCPU's ring of written pages", err);
	if (!vm->cpuid)
		err = learn(vm, cpu, error);
	if (err)
		return err;
	err = kvm_cpuid_set(cpu);
	if (err)
		return fail(error, "make such a processor", err);
	kvm_find_msrs(vm, cpu);
	return 0;
}

static struct accel_vcpu *vcpu_create(struct accel_vm *accel_vm, unsigned index, GError **error)
{
	struct kvm_machine *vm = (struct kvm_machine *)accel_vm;
	struct kvm_cpu *cpu = g_new0(struct kvm_cpu, 1);

	cpu->vm = vm;
	cpu->index = index;
	cpu->fd = -1;
	vm->cpus[index] = cpu;
	if (set_up_vcpu(vm, cpu, error)) {
		vcpu_destroy((struct accel_vcpu *)cpu);
		return NULL;
	}
	return (struct accel_vcpu *)cpu;
}

/* KVM keeps the vector of a start-up message itself. */
static void sipi_vector(struct accel_vcpu *vcpu, u8 vector)
{
}

/* Interrupts. */

static void msi(struct accel_vm *vm, u64 address, u32 data)
{
	const struct kvm_msi message = {
		.address_lo = address,
		.address_hi = address >> 32,
		.data = data,
	};
	int err = kvm_call(((struct kvm_machine *)vm)->fd, KVM_SIGNAL_MSI, &message);

	/* 0: nobody took it, as when a guest has none of its processors listen */
	if (err < 0)
		log_guest_once("kvm", "KVM refuses the message 0x%x to 0x%llx: %s", data,
			       (unsigned long long)address, strerror(-err));
}

/* KVM comes out at the end of an interrupt whose message it knows to be level-triggered. */
static void level_pin(struct accel_vm *accel_vm, unsigned pin, u64 address, u32 data)
{
	struct kvm_machine *vm = (struct kvm_machine *)accel_vm;
	const struct kvm_irq_routing_msi route = {
		.address_lo = address,
		.address_hi = address >> 32,
		.data = data,
	};
	struct { /* struct kvm_irq_routing with room for entries */
		u32 nr, flags;
		struct kvm_irq_routing_entry entries[KVM_IOAPIC_PINS];
	} table = { .nr = 0 };

	pthread_mutex_lock(&vm->routes_lock);
	if (!(vm->routed & BIT(pin)) || memcmp(&vm->routes[pin], &route, sizeof(route))) {
		vm->routed |= BIT(pin);
		vm->routes[pin] = route;
		for (unsigned i = 0; i < KVM_IOAPIC_PINS; i++)
			if (vm->routed & BIT(i))
				table.entries[table.nr++] =
					(struct kvm_irq_routing_entry){ .gsi = i,
									.type = KVM_IRQ_ROUTING_MSI,
									.u.msi = vm->routes[i] };
		if (kvm_call(vm->fd, KVM_SET_GSI_ROUTING, &table) < 0)
			log_warning("kvm", "KVM takes no route for pin %u", pin);
	}
	pthread_mutex_unlock(&vm->routes_lock);
}

/* A notification of a virtio queue: two bytes, or whatever width where KVM need not look at the
 * instruction then. */
static int doorbell(struct accel_vm *accel_vm, gpa_t gpa, int fd, bool on)
{
	struct kvm_machine *vm = (struct kvm_machine *)accel_vm;
	const struct kvm_ioeventfd event = {
		.addr = gpa,
		.len = kvm_has(vm, KVM_CAP_IOEVENTFD_ANY_LENGTH) ? 0 : 2,
		.fd = fd,
		.flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};

	return kvm_call(vm->fd, KVM_IOEVENTFD, &event);
}

/* What is called once the guest runs, for the sandbox. */
static const unsigned long requests[] = {
	KVM_RUN,
	KVM_GET_REGS,
	KVM_SET_REGS,
	KVM_GET_SREGS,
	KVM_SET_SREGS,
	KVM_GET_MSRS,
	KVM_SET_MSRS,
	KVM_GET_XSAVE,
	KVM_SET_XSAVE,
	KVM_GET_XCRS,
	KVM_SET_XCRS,
	KVM_GET_DEBUGREGS,
	KVM_SET_DEBUGREGS,
	KVM_GET_VCPU_EVENTS,
	KVM_SET_VCPU_EVENTS,
	KVM_GET_MP_STATE,
	KVM_SET_MP_STATE,
	KVM_GET_LAPIC,
	KVM_SET_LAPIC,
	KVM_NMI,
	KVM_INTERRUPT,
	KVM_SIGNAL_MSI,
	KVM_SET_GSI_ROUTING,
	KVM_IOEVENTFD,
	KVM_GET_CLOCK,
	KVM_SET_CLOCK,
	KVM_KVMCLOCK_CTRL,
	KVM_GET_DEVICE_ATTR,
	KVM_SET_DEVICE_ATTR,
	KVM_CHECK_EXTENSION,
	KVM_SET_USER_MEMORY_REGION,
	KVM_GET_DIRTY_LOG,
	KVM_RESET_DIRTY_RINGS,
	0,
};

static int probe(GError **error)
{
	return 0; /* by the launcher, which can open /dev/kvm */
}

const struct accel accel_kvm = {
	.name = "kvm",
	.has_lapic = true,
	.walks_memory = true,
	.requests = requests,
	.probe = probe,
	.vm_create = vm_create,
	.vm_destroy = vm_destroy,
	.memory_slot = memory_slot,
	.memory_written = memory_written,
	.memory_replaced = memory_replaced,
	.tsc_hz = kvm_tsc_hz,
	.vcpu_create = vcpu_create,
	.vcpu_destroy = vcpu_destroy,
	.vcpu_reset = kvm_reset,
	.run = kvm_run,
	.get_state = kvm_get_state,
	.set_state = kvm_set_state,
	.raise = kvm_raise,
	.clear = kvm_clear,
	.sipi_vector = sipi_vector,
	.has_work = kvm_has_work,
	.tsc_offset = kvm_tsc_offset,
	.set_tsc_offset = kvm_set_tsc_offset,
	.time_stands = kvm_time_stands,
	.tsc_skip = kvm_tsc_skip,
	.clock = kvm_clock,
	.set_clock = kvm_set_clock,
	.dirty_start = kvm_dirty_start,
	.dirty_stop = kvm_dirty_stop,
	.dirty_collect = kvm_dirty_collect,
	.lacks = kvm_cpuid_lacks,
	.counters = kvm_counters,
	.get_lapic = kvm_get_lapic,
	.set_lapic = kvm_set_lapic,
	.msi = msi,
	.level_pin = level_pin,
	.doorbell = doorbell,
};
