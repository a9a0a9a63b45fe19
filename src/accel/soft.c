/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software engine: the accelerator table on top of the CPU room. The two interfaces mirror
 * each other; this file is the only one that sees both.
 */
#include "accel/accel.h"
#include "cpu/cpu.h"
#include "cpu/vcpu.h" /* the TSC's offset and base */

static int soft_probe(GError **error)
{
	return 0;
}

static void add_names(GPtrArray *names, const struct cpu_cpuid *leaf)
{
	const u32 registers[] = { leaf->eax, leaf->ebx, leaf->ecx, leaf->edx };

	for (unsigned bit = 0; bit < 32 * ARRAY_LEN(registers); bit++) {
		const char *name =
			registers[bit / 32] >> bit % 32 & 1
				? cpu_feature_name(leaf->leaf, leaf->subleaf, bit / 32, bit % 32)
				: NULL;

		if (name)
			g_ptr_array_add(names, (char *)name);
	}
}

static const char **soft_features(void)
{
	const struct cpu_vm_config any = { .cpus = 1,
					   .sockets = 1,
					   .cores = 1,
					   .threads = 1,
					   .tsc_hz = 1000000000,
					   .lapic_hz = 1000000000 };
	GPtrArray *names = g_ptr_array_new();
	size_t count = 0;
	struct cpu_cpuid *leaves = cpu_contract(&any, &count, NULL);

	for (size_t i = 0; i < count; i++)
		add_names(names, &leaves[i]);
	g_free(leaves);
	g_ptr_array_add(names, NULL);
	return (const char **)g_ptr_array_free(names, FALSE);
}

static struct accel_vm *soft_vm_create(const struct accel_config *config, GError **error)
{
	const struct cpu_vm_config cpu = {
		.cpus = config->vcpus,
		.sockets = config->sockets,
		.cores = config->cores,
		.threads = config->threads,
		.code_cache_bytes = config->code_cache_bytes,
		.step = config->step,
		.check_blocks = config->check_blocks,
		.verify_blocks = config->check_blocks,
		.save_code = config->save_code,
		.saved_code = config->saved_code,
		.saved_code_checked = config->saved_code_checked,
		.perf_map = config->perf_map,
		.jitdump = config->jitdump,
		.guest_symbols = config->guest_symbols,
		.features_off = config->features_off,
		.features_required = config->features_required,
		.lapic_hz = 1000000000,
		.tsc_hz = config->tsc_hz,
		.tsc_stable = config->tsc_stable,
		.bus = { .opaque = config->bus.opaque,
			 .mmio = config->bus.mmio,
			 .pio = config->bus.pio,
			 .msr = config->bus.msr,
			 .interrupt_ack = config->bus.interrupt_ack,
			 .cr8 = config->bus.cr8 },
	};

	return (struct accel_vm *)cpu_vm_new(&cpu, error);
}

static void soft_vm_destroy(struct accel_vm *vm)
{
	cpu_vm_free((struct cpu_vm *)vm);
}

static int soft_memory_slot(struct accel_vm *vm, unsigned slot, gpa_t gpa, u64 bytes, void *hva,
			    u32 flags)
{
	return cpu_vm_set_slot((struct cpu_vm *)vm, slot, gpa, bytes, hva,
			       flags & ACCEL_SLOT_READONLY ? CPU_SLOT_READONLY : 0);
}

static void soft_memory_written(struct accel_vm *vm, gpa_t gpa, u64 bytes)
{
	cpu_vm_memory_written((struct cpu_vm *)vm, gpa, bytes);
}

static void soft_memory_replaced(struct accel_vm *vm)
{
	cpu_vm_memory_replaced((struct cpu_vm *)vm);
}

static s64 soft_save_code(struct accel_vm *vm, int fd)
{
	return cpu_vm_save_code((struct cpu_vm *)vm, fd);
}

static void soft_kernel_moved(struct accel_vm *vm, bool known, u64 by)
{
	cpu_vm_kernel_moved((struct cpu_vm *)vm, known, by);
}

static u64 soft_tsc_hz(struct accel_vm *vm)
{
	return cpu_vm_tsc_hz((struct cpu_vm *)vm);
}

static struct accel_vcpu *soft_vcpu_create(struct accel_vm *vm, unsigned index, GError **error)
{
	return (struct accel_vcpu *)cpu_new((struct cpu_vm *)vm, index, error);
}

static void soft_vcpu_destroy(struct accel_vcpu *vcpu)
{
	cpu_free((struct cpu *)vcpu);
}

static void soft_vcpu_reset(struct accel_vcpu *vcpu, bool init)
{
	cpu_reset((struct cpu *)vcpu, init);
}

static enum accel_exit soft_run(struct accel_vcpu *vcpu)
{
	static const enum accel_exit exits[] = {
		[CPU_EXIT_STOPPED] = ACCEL_EXIT_STOPPED,
		[CPU_EXIT_HALTED] = ACCEL_EXIT_HALTED,
		[CPU_EXIT_SHUTDOWN] = ACCEL_EXIT_SHUTDOWN,
		[CPU_EXIT_ERROR] = ACCEL_EXIT_ERROR,
	};

	return exits[cpu_run((struct cpu *)vcpu)];
}

static void soft_get_state(struct accel_vcpu *vcpu, struct x86_state *state)
{
	cpu_get_state((struct cpu *)vcpu, state);
}

static int soft_set_state(struct accel_vcpu *vcpu, const struct x86_state *state)
{
	return cpu_set_state((struct cpu *)vcpu, state);
}

/* The first five request bits have the same meaning and value on both sides. */
_Static_assert((int)CPU_REQ_INTR == (int)ACCEL_EVENT_INTR, "request bits differ");
_Static_assert((int)CPU_REQ_NMI == (int)ACCEL_EVENT_NMI, "request bits differ");
_Static_assert((int)CPU_REQ_INIT == (int)ACCEL_EVENT_INIT, "request bits differ");
_Static_assert((int)CPU_REQ_SIPI == (int)ACCEL_EVENT_SIPI, "request bits differ");
_Static_assert((int)CPU_REQ_STOP == (int)ACCEL_EVENT_STOP, "request bits differ");

static void soft_raise(struct accel_vcpu *vcpu, unsigned events)
{
	cpu_request((struct cpu *)vcpu, events);
}

static void soft_clear(struct accel_vcpu *vcpu, unsigned events)
{
	cpu_request_clear((struct cpu *)vcpu, events);
}

static void soft_sipi_vector(struct accel_vcpu *vcpu, u8 vector)
{
	cpu_set_sipi_vector((struct cpu *)vcpu, vector);
}

static bool soft_has_work(struct accel_vcpu *vcpu)
{
	return cpu_has_work((struct cpu *)vcpu);
}

static s64 soft_tsc_offset(struct accel_vcpu *vcpu)
{
	return __atomic_load_n(&((struct cpu *)vcpu)->tsc_offset, __ATOMIC_RELAXED);
}

static void soft_set_tsc_offset(struct accel_vcpu *vcpu, s64 offset)
{
	__atomic_store_n(&((struct cpu *)vcpu)->tsc_offset, offset, __ATOMIC_RELAXED);
}

static void soft_tsc_skip(struct accel_vm *accel_vm, u64 ticks)
{
	struct cpu_vm *vm = (struct cpu_vm *)accel_vm;

	vm->tsc_base += ticks;
	for (unsigned i = 0; i < vm->config.cpus; i++)
		if (vm->cpus[i])
			__atomic_store_n(&vm->cpus[i]->tsc_offset, vm->cpus[i]->tsc_offset - ticks,
					 __ATOMIC_RELAXED);
}

static u64 soft_clock(struct accel_vm *vm, u64 host_tsc)
{
	return cpu_vm_clock((struct cpu_vm *)vm, host_tsc);
}

static void soft_set_clock(struct accel_vm *vm, u64 ns, u64 host_tsc)
{
	cpu_vm_set_clock((struct cpu_vm *)vm, ns, host_tsc);
}

static int soft_dirty_start(struct accel_vm *vm)
{
	return cpu_vm_dirty_start((struct cpu_vm *)vm);
}

static void soft_dirty_stop(struct accel_vm *vm)
{
	cpu_vm_dirty_stop((struct cpu_vm *)vm);
}

static int soft_dirty_collect(struct accel_vm *vm, unsigned slot, u64 *pages)
{
	return cpu_vm_dirty_collect((struct cpu_vm *)vm, slot, pages);
}

static void soft_counters(struct accel_vm *accel_vm, int vcpu, accel_counter_fn *visit,
			  void *opaque)
{
	struct cpu_vm *vm = (struct cpu_vm *)accel_vm;

	if (vcpu < 0)
		cpu_vm_counters(vm, visit, opaque);
	else if (vm->cpus[vcpu])
		cpu_counters(vm->cpus[vcpu], visit, opaque);
}

const struct accel accel_soft = {
	.name = "soft",
	.has_lapic = false,
	.probe = soft_probe,
	.features = soft_features,
	.vm_create = soft_vm_create,
	.vm_destroy = soft_vm_destroy,
	.memory_slot = soft_memory_slot,
	.memory_written = soft_memory_written,
	.memory_replaced = soft_memory_replaced,
	.kernel_moved = soft_kernel_moved,
	.save_code = soft_save_code,
	.check_code = cpu_check_saved_code,
	.tsc_hz = soft_tsc_hz,
	.vcpu_create = soft_vcpu_create,
	.vcpu_destroy = soft_vcpu_destroy,
	.vcpu_reset = soft_vcpu_reset,
	.run = soft_run,
	.get_state = soft_get_state,
	.set_state = soft_set_state,
	.raise = soft_raise,
	.clear = soft_clear,
	.sipi_vector = soft_sipi_vector,
	.has_work = soft_has_work,
	.tsc_offset = soft_tsc_offset,
	.set_tsc_offset = soft_set_tsc_offset,
	.tsc_skip = soft_tsc_skip,
	.clock = soft_clock,
	.set_clock = soft_set_clock,
	.dirty_start = soft_dirty_start,
	.dirty_stop = soft_dirty_stop,
	.dirty_collect = soft_dirty_collect,
	.counters = soft_counters,
};
