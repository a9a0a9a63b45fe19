/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making and unmaking a software computer's processors.
 */
#include "base/log.h"
#include "cpu/code.h"
#include "cpu/perf_map.h"
#include "cpu/run.h"
#include "cpu/saved.h"
#include "cpu/x86/decode_cache.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* ---- the bus, wrapped --------------------------------------------------------------------------
 */

/* A device may hold its lock while another thread of it writes guest memory and so waits for this
 * processor to leave the code: a processor inside a device access counts as parked. */

struct parked {
	struct cpu *cpu;
	u32 presence;
};

static struct parked park(struct cpu_vm *vm, unsigned index)
{
	struct parked p = { vm->cpus[index], vm->cpus[index]->in_code };

	if (p.presence == CODE_IN)
		code_leave(p.cpu, CODE_PARKED);
	return p;
}

static void unpark(struct parked p)
{
	if (p.presence == CODE_IN)
		code_enter(p.cpu);
}

static void bus_mmio(void *opaque, unsigned index, gpa_t gpa, u64 *data, unsigned size, bool write)
{
	struct cpu_vm *vm = opaque;
	struct parked p = park(vm, index);

	p.cpu->stats[STAT_MMIO]++;
	vm->bus.mmio(vm->bus.opaque, index, gpa, data, size, write);
	unpark(p);
}

static void bus_pio(void *opaque, unsigned index, u16 port, u32 *data, unsigned size, bool write)
{
	struct cpu_vm *vm = opaque;
	struct parked p = park(vm, index);

	p.cpu->stats[STAT_PIO]++;
	vm->bus.pio(vm->bus.opaque, index, port, data, size, write);
	unpark(p);
}

static bool bus_msr(void *opaque, unsigned index, u32 msr, u64 *data, bool write)
{
	struct cpu_vm *vm = opaque;
	struct parked p = park(vm, index);
	bool ok = vm->bus.msr && vm->bus.msr(vm->bus.opaque, index, msr, data, write);

	p.cpu->stats[STAT_MSR]++;
	unpark(p);
	return ok;
}

static int bus_ack(void *opaque, unsigned index)
{
	struct cpu_vm *vm = opaque;
	struct parked p = park(vm, index);
	int vector = vm->bus.interrupt_ack ? vm->bus.interrupt_ack(vm->bus.opaque, index) : -1;

	unpark(p);
	return vector;
}

static u64 bus_cr8(void *opaque, unsigned index, u64 value, bool write)
{
	struct cpu_vm *vm = opaque;
	struct parked p = park(vm, index);
	u64 cr8 = vm->bus.cr8 ? vm->bus.cr8(vm->bus.opaque, index, value, write) : 0;

	unpark(p);
	return cr8;
}

/* ---- time
 * ---------------------------------------------------------------------------------------- */

/* TSC and clock at one moment: the closest of some tries, as we may lose the processor in between.
 */
static void sample_clocks(u64 *tsc, u64 *ns)
{
	u64 best = ~0ull;

	for (unsigned i = 0; i < 8; i++) {
		u64 before = __builtin_ia32_rdtsc(), after;
		struct timespec now;

		clock_gettime(CLOCK_MONOTONIC_RAW, &now);
		after = __builtin_ia32_rdtsc();
		if (after - before >= best)
			continue;
		best = after - before;
		*tsc = before + best / 2;
		*ns = now.tv_sec * 1000000000ull + now.tv_nsec;
	}
}

/* The host's TSC frequency by CPUID (hypervisor or crystal leaf), else by measuring 20 ms, asleep.
 */
static u64 host_tsc_hz(void)
{
	struct timespec left = { .tv_nsec = 20000000 };
	u64 t0, t1, ns0, ns1;
	u32 eax, ebx, ecx, edx, max;

	__asm__ volatile("cpuid" : "=a"(max), "=b"(ebx), "=c"(ecx), "=d"(edx) : "a"(0), "c"(0));
	__asm__ volatile("cpuid" : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx) : "a"(1), "c"(0));
	if (ecx & BIT(31)) {
		__asm__ volatile("cpuid"
				 : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx)
				 : "a"(0x40000000), "c"(0));
		if (eax >= 0x40000010 && eax < 0x40010000) {
			__asm__ volatile("cpuid"
					 : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx)
					 : "a"(0x40000010), "c"(0));
			if (eax)
				return eax * 1000ull;
		}
	}
	if (max >= 0x15) {
		__asm__ volatile("cpuid"
				 : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx)
				 : "a"(0x15), "c"(0));
		if (eax && ebx && ecx)
			return (u64)ecx * ebx / eax;
	}
	sample_clocks(&t0, &ns0);
	while (nanosleep(&left, &left) && errno == EINTR)
		;
	sample_clocks(&t1, &ns1);
	return (unsigned __int128)(t1 - t0) * 1000000000 / (ns1 - ns0) / 1000 * 1000;
}

/* ---- the shared part
 * ------------------------------------------------------------------------------ */

struct cpu_vm *cpu_vm_new(const struct cpu_vm_config *config, GError **error)
{
	struct cpu_vm *vm;
	int ret;

	ret = signals_install();
	if (ret) {
		g_set_error(error, g_quark_from_static_string("lodge-cpu"), -ret,
			    "cannot install signal handlers: %s", g_strerror(-ret));
		return NULL;
	}
	vm = g_new0(struct cpu_vm, 1);
	vm->config = *config;
	if (config->check_blocks) /* every entry comes by run.c */
		vm->config.plain |= CPU_PLAIN_LINKS | CPU_PLAIN_JUMPS;
	vm->bus = config->bus;
	vm->config.bus = (struct cpu_bus){ .opaque = vm,
					   .mmio = bus_mmio,
					   .pio = bus_pio,
					   .msr = bus_msr,
					   .interrupt_ack = bus_ack,
					   .cr8 = bus_cr8 };
	vm->cpus = g_new0(struct cpu *, config->cpus);
	vm->tsc_hz = config->tsc_hz ? config->tsc_hz : host_tsc_hz();
	if (cpuid_init(vm, error) || code_cache_new(vm, config->code_cache_bytes, error)) {
		cpu_vm_free(vm);
		return NULL;
	}
	cpuid_apply_contract(vm, &vm->code->contract);
	vm->code->recording = config->save_code;
	if (config->saved_code)
		vm->code->saved = saved_open(vm, config->saved_code, false);
	return vm;
}

void cpu_vm_free(struct cpu_vm *vm)
{
	if (!vm)
		return;
	code_cache_free(vm->code);
	for (unsigned i = 0; i < CPU_SLOTS; i++) {
		g_free(vm->slots[i].dirty);
		if (vm->slots[i].info)
			munmap(vm->slots[i].info, (vm->slots[i].bytes >> PAGE_SHIFT) * sizeof(u32));
	}
	g_free(vm->cpuid);
	g_free(vm->cpus);
	g_free(vm);
}

void cpu_vm_memory_replaced(struct cpu_vm *vm)
{
	code_flush(vm, NULL);
}

void cpu_vm_memory_written(struct cpu_vm *vm, gpa_t gpa, u64 bytes)
{
	/* the bytes must be seen by whoever sets PAGE_HAS_CODE after we looked: translate.c */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	while (bytes) {
		u64 n = MIN(bytes, PAGE_SIZE - (gpa & ~PAGE_MASK));
		const struct ram_slot *slot;

		if (ram_ptr(vm, gpa, &slot) &&
		    __atomic_load_n(&slot->info[(gpa - slot->gpa) >> PAGE_SHIFT],
				    __ATOMIC_SEQ_CST) &
			    PAGE_HAS_CODE)
			code_written(vm, gpa, n);
		gpa += n;
		bytes -= n;
	}
}

void cpu_vm_kernel_moved(struct cpu_vm *vm, bool known, u64 by)
{
	struct code_cache *code = vm->code;

	if (!code->perf_map)
		return;
	code_lock(code);
	perf_map_kernel_moved(code->perf_map, known, by);
	code_unlock(code);
}

s64 cpu_check_saved_code(int from, int to, int (*seal)(GError **error), GError **error)
{
	const struct cpu_vm_config config = { .cpus = 1, .sockets = 1, .cores = 1, .threads = 1 };
	struct cpu_vm *vm = cpu_vm_new(&config, error);
	s64 ret = -EINVAL;

	if (!vm)
		return -ENOMEM;
	if (!saved_is_sealed(from)) {
		g_set_error(error, g_quark_from_static_string("lodge-cpu"), EPERM,
			    "the descriptor is not sealed");
		cpu_vm_free(vm);
		return -EPERM;
	}
	if (seal(error)) {
		cpu_vm_free(vm);
		return -EPERM;
	}
	vm->code->saved = saved_open(vm, from, true);
	if (vm->code->saved)
		ret = saved_check_all(vm->code, to);
	else
		g_set_error(error, g_quark_from_static_string("lodge-cpu"), EINVAL,
			    "these are no translations of this program; the log says why");
	cpu_vm_free(vm);
	return ret;
}

s64 cpu_vm_save_code(struct cpu_vm *vm, int fd)
{
	return saved_write(vm, fd);
}

u64 cpu_vm_tsc_hz(const struct cpu_vm *vm)
{
	return vm->tsc_hz;
}

const struct cpu_cpuid *cpu_vm_cpuid(const struct cpu_vm *vm, size_t *count)
{
	*count = vm->cpuid_count;
	return vm->cpuid;
}

/* ---- one processor
 * -------------------------------------------------------------------------------- */

/* The translated code's stacks, each behind a guard page. */
static int shadow_new(struct cpu_vm *vm, struct cpu *cpu)
{
	u64 bottom, empty = (u64)(uintptr_t)(vm->code->rx + vm->code->thunks.return_empty);

	cpu->shadow = mmap(NULL, JC_CLASSES * SHADOW_STRIDE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (cpu->shadow == MAP_FAILED)
		return -errno;
	for (unsigned class = 0; class < JC_CLASSES; class ++) {
		if (mprotect(cpu->shadow + class * SHADOW_STRIDE, PAGE_SIZE, PROT_NONE)) {
			munmap(cpu->shadow, JC_CLASSES * SHADOW_STRIDE);
			return -errno;
		}
		bottom = cpu_shadow_bottom(cpu, class);
		memcpy((void *)(uintptr_t)bottom, &empty, sizeof(empty));
		cpu->shadow_resting[class] = bottom;
	}
	cpu->shadow_sp = cpu->shadow_resting[cpu->shadow_class];
	return 0;
}

struct cpu *cpu_new(struct cpu_vm *vm, unsigned index, GError **error)
{
	struct cpu *cpu = mmap(NULL, sizeof(*cpu), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (cpu == MAP_FAILED) {
		g_set_error(error, g_quark_from_static_string("lodge-cpu"), errno,
			    "no memory for processor %u", index);
		return NULL;
	}
	cpu->decoded = decode_cache_new();
	if (!cpu->decoded || shadow_new(vm, cpu)) {
		g_set_error(error, g_quark_from_static_string("lodge-cpu"), errno,
			    "no memory for processor %u", index);
		decode_cache_free(cpu->decoded);
		munmap(cpu, sizeof(*cpu));
		return NULL;
	}
	cpu->vm = vm;
	cpu->index = index;
	__atomic_store_n(&vm->cpus[index], cpu, __ATOMIC_RELEASE);
	tlb_init(cpu);
	cpu_reset(cpu, false);
	return cpu;
}

void cpu_free(struct cpu *cpu)
{
	if (!cpu)
		return;
	cpu->vm->cpus[cpu->index] = NULL;
	munmap(cpu->shadow, JC_CLASSES * SHADOW_STRIDE);
	decode_cache_free(cpu->decoded);
	munmap(cpu, sizeof(*cpu));
}

enum cpu_exit cpu_run(struct cpu *cpu)
{
	struct code_cache *code = cpu->vm->code;
	enum cpu_exit exit;

	if (signals_thread_start(cpu)) {
		log_error("cpu", "no alternate signal stack for processor %u", cpu->index);
		return CPU_EXIT_ERROR;
	}
	if (cpu->vm->config.step)
		cpu->ctx |= CTX_STEP;
	exit = cpu_run_hot(cpu);
	signals_thread_leave();
	if (unlikely(code->perf_map)) {
		code_lock(code);
		perf_map_flush(code->perf_map);
		code_unlock(code);
	}
	if (exit == CPU_EXIT_ERROR)
		log_error("cpu", "processor %u: internal error at rip %#llx", cpu->index,
			  (unsigned long long)cpu->rip);
	return exit;
}

enum cpu_exit cpu_step(struct cpu *cpu, bool block)
{
	enum cpu_exit exit;

	if (signals_thread_start(cpu))
		return CPU_EXIT_ERROR;
	cpu->stepping = block ? STEPPING_BLOCK : STEPPING_INSN;
	cpu->fault_pending = 0;
	exit = cpu_step_hot(cpu);
	if (cpu->fault_pending && cpu->fault.vector == VEC_PF)
		cpu->cr2 = cpu->fault.cr2;
	cpu->stepping = STEPPING_NOT;
	signals_thread_leave();
	return exit;
}
