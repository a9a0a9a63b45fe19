/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest's processors are called and can do under KVM.
 *
 * The contract is the software CPU's (cpu/cpuid.c), so that topology, caches and names are the same
 * whatever runs the guest. Of its features those are kept that KVM has as well; what says that the
 * processor is safe from some attack is thereby KVM's word about this host. Then come features that
 * only hardware can have: kvm_only[]. A guest that may be moved to the software CPU gets none of
 * these, and the software CPU hides what KVM lacks.
 */
#include "accel/kvm.h"
#include "cpu/cpu.h"

#include <errno.h>
#include <string.h>

#define ENTRIES_MAX 256

enum reg { EAX, EBX, ECX, EDX };

/* Registers of feature bits; @ours are bits that need nothing of KVM, or that it has without saying
 * so. */
static const struct feature_register {
	u32 leaf, subleaf;
	u8 reg;
	u32 ours;
} feature_registers[] = {
	{ 1, 0, ECX, BIT(31) | BIT(24) }, /* hypervisor, TSC deadline (asked for apart) */
	{ 1, 0, EDX, BIT(28) },           /* HTT: topology */
	{ 6, 0, EAX, BIT(2) },            /* ARAT: its timers do not stop */
	{ 7, 0, EBX, 0 },
	{ 7, 0, ECX, 0 },
	{ 7, 0, EDX, 0 },
	{ 7, 1, EAX, 0 },
	{ 0xd, 1, EAX, 0 },
	{ 0x40000001, 0, EAX, 0 },
	{ 0x80000001, 0, ECX, BIT(1) | BIT(22) }, /* topology */
	{ 0x80000001, 0, EDX, 0 },
	{ 0x80000007, 0, EDX, 0 },
	{ 0x80000008, 0, EBX, 0 },
	{ 0x80000021, 0, EAX, 0 },
	{ 0x80000021, 0, ECX, 0 },
};

/* Names as /proc/cpuinfo has them, or as KVM's documentation; cpu/cpuid.c and launch/cpu.c know
 * them. Linux Documentation/virt/kvm/x86/cpuid.rst for 0x40000001. */
static const struct kvm_feature {
	const char *name;
	u32 leaf, subleaf;
	u8 reg, bit;
} kvm_only[] = {
	{ "pku", 7, 0, ECX, 3 },
	{ "la57", 7, 0, ECX, 16 },
	{ "md_clear", 7, 0, EDX, 10 },
	{ "serialize", 7, 0, EDX, 14 },
	{ "spec_ctrl", 7, 0, EDX, 26 },
	{ "intel_stibp", 7, 0, EDX, 27 },
	{ "arch_capabilities", 7, 0, EDX, 29 },
	{ "ssbd", 7, 0, EDX, 31 },
	{ "xsavec", 0xd, 1, EAX, 1 },
	{ "ibpb", 0x80000008, 0, EBX, 12 },
	{ "ibrs", 0x80000008, 0, EBX, 14 },
	{ "stibp", 0x80000008, 0, EBX, 15 },
	{ "ibrs_always_on", 0x80000008, 0, EBX, 16 },
	{ "stibp_always_on", 0x80000008, 0, EBX, 17 },
	{ "amd_ssbd", 0x80000008, 0, EBX, 24 },
	{ "virt_ssbd", 0x80000008, 0, EBX, 25 },
	{ "kvmclock_old", 0x40000001, 0, EAX, 0 },
	{ "kvm_nopiodelay", 0x40000001, 0, EAX, 1 },
	{ "kvmclock", 0x40000001, 0, EAX, 3 },
	{ "kvm_steal_time", 0x40000001, 0, EAX, 5 },
	{ "kvm_pv_eoi", 0x40000001, 0, EAX, 6 },
	{ "kvm_pv_unhalt", 0x40000001, 0, EAX, 7 },
	{ "kvm_pv_tlb_flush", 0x40000001, 0, EAX, 9 },
	{ "kvm_pv_send_ipi", 0x40000001, 0, EAX, 11 },
	{ "kvm_poll_control", 0x40000001, 0, EAX, 12 },
	{ "kvm_pv_sched_yield", 0x40000001, 0, EAX, 13 },
	{ "kvmclock_stable", 0x40000001, 0, EAX, 24 },
};

static u32 *reg_of(struct kvm_cpuid_entry2 *e, unsigned reg)
{
	u32 *regs[] = { &e->eax, &e->ebx, &e->ecx, &e->edx };

	return regs[reg];
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *all, u32 leaf, u32 subleaf)
{
	for (u32 i = 0; i < all->nent; i++)
		if (all->entries[i].function == leaf && all->entries[i].index == subleaf)
			return &all->entries[i];
	return NULL;
}

static struct kvm_cpuid2 *new_list(void)
{
	return g_malloc0(sizeof(struct kvm_cpuid2) + ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));
}

static struct kvm_cpuid2 *supported(const struct kvm_machine *vm, GError **error)
{
	struct kvm_cpuid2 *list = new_list();
	struct kvm_cpuid_entry2 *e;
	int err;

	list->nent = ENTRIES_MAX;
	err = kvm_call(vm->kvm, KVM_GET_SUPPORTED_CPUID, list);
	if (err < 0) {
		g_set_error(error, g_quark_from_static_string("lodge-kvm"), -err,
			    "KVM does not tell what its processors can do: %s", g_strerror(-err));
		g_free(list);
		return NULL;
	}
	e = find(list, 1, 0);
	if (e && !kvm_has(vm, KVM_CAP_TSC_DEADLINE_TIMER))
		e->ecx &= ~BIT(24);
	return list;
}

/* The contract without features that are switched off, or that turned out to be lacking. */
static struct kvm_cpuid2 *contract(const struct kvm_machine *vm, GError **error)
{
	const struct accel_config *config = &vm->config;
	g_autoptr(GPtrArray) off = g_ptr_array_new();
	const struct cpu_vm_config cpu = {
		.cpus = config->vcpus,
		.sockets = config->sockets,
		.cores = config->cores,
		.threads = config->threads,
		.features_required = config->features_required,
		.tsc_stable = config->tsc_stable,
		.tsc_hz = vm->tsc_hz,
		.lapic_hz = 1000000000,
	};
	struct cpu_vm_config with_off = cpu;
	struct cpu_cpuid *leaves;
	struct kvm_cpuid2 *list;
	size_t count;

	for (const char *const *name = config->features_off; name && *name; name++)
		g_ptr_array_add(off, (char *)*name);
	for (guint i = 0; i < vm->lacks->len; i++)
		g_ptr_array_add(off, vm->lacks->pdata[i]);
	g_ptr_array_add(off, NULL);
	with_off.features_off = (const char *const *)off->pdata;
	leaves = cpu_contract(&with_off, &count, error);
	if (!leaves)
		return NULL;
	list = new_list();
	for (size_t i = 0; i < MIN(count, ENTRIES_MAX); i++)
		list->entries[list->nent++] = (struct kvm_cpuid_entry2){
			.function = leaves[i].leaf,
			.index = leaves[i].has_subleaf ? leaves[i].subleaf : 0,
			.flags = leaves[i].has_subleaf ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = leaves[i].eax,
			.ebx = leaves[i].ebx,
			.ecx = leaves[i].ecx,
			.edx = leaves[i].edx,
		};
	g_free(leaves);
	return list;
}

static void note_lacking(struct kvm_machine *vm, const struct feature_register *f, u32 bits)
{
	for (unsigned bit = 0; bit < 32; bit++) {
		const char *name =
			bits >> bit & 1 ? cpu_feature_name(f->leaf, f->subleaf, f->reg, bit) : NULL;

		if (name && !g_ptr_array_find(vm->lacks, name, NULL))
			g_ptr_array_add(vm->lacks, (char *)name);
	}
}

static void keep_supported(struct kvm_machine *vm, struct kvm_cpuid2 *list, struct kvm_cpuid2 *kvm)
{
	for (unsigned i = 0; i < ARRAY_LEN(feature_registers); i++) {
		const struct feature_register *f = &feature_registers[i];
		struct kvm_cpuid_entry2 *mine = find(list, f->leaf, f->subleaf);
		struct kvm_cpuid_entry2 *theirs = find(kvm, f->leaf, f->subleaf);

		u32 keep = (theirs ? *reg_of(theirs, f->reg) : 0) | f->ours;

		if (!mine)
			continue;
		note_lacking(vm, f, *reg_of(mine, f->reg) & ~keep);
		*reg_of(mine, f->reg) &= keep;
	}
}

static int check_required(const struct kvm_machine *vm, GError **error)
{
	const char *const *name = vm->config.features_required;

	for (; name && *name; name++) {
		if (!g_ptr_array_find_with_equal_func(vm->lacks, *name, g_str_equal, NULL))
			continue;
		g_set_error(error, g_quark_from_static_string("lodge-kvm"), ENOTSUP,
			    "the domain requires the CPU feature '%s', which KVM does not have on "
			    "this host; remove it, or make its policy 'optional'",
			    *name);
		return -ENOTSUP;
	}
	return 0;
}

static bool switched_off(const struct kvm_machine *vm, const char *name)
{
	const char *const *off = vm->config.features_off;

	for (; off && *off; off++)
		if (!strcmp(*off, name))
			return true;
	return false;
}

static void add_hardware_features(const struct kvm_machine *vm, struct kvm_cpuid2 *list,
				  struct kvm_cpuid2 *kvm)
{
	for (unsigned i = 0; i < ARRAY_LEN(kvm_only); i++) {
		const struct kvm_feature *f = &kvm_only[i];
		struct kvm_cpuid_entry2 *mine = find(list, f->leaf, f->subleaf);
		struct kvm_cpuid_entry2 *theirs = find(kvm, f->leaf, f->subleaf);

		if (mine && theirs && !switched_off(vm, f->name))
			*reg_of(mine, f->reg) |= *reg_of(theirs, f->reg) & BIT(f->bit);
	}
}

/* KVM may know fewer bits of an address than this host's processor says. */
static void limit_addresses(struct kvm_cpuid2 *list, struct kvm_cpuid2 *kvm)
{
	struct kvm_cpuid_entry2 *mine = find(list, 0x80000008, 0);
	struct kvm_cpuid_entry2 *theirs = find(kvm, 0x80000008, 0);

	if (mine && theirs && (theirs->eax & 0xff) < (mine->eax & 0xff))
		mine->eax = (mine->eax & ~0xffu) | (theirs->eax & 0xff);
}

/* Features that need one that KVM lacks go with it: a second round leaves them out. */
struct kvm_cpuid2 *kvm_cpuid_new(struct kvm_machine *vm, GError **error)
{
	struct kvm_cpuid2 *kvm = supported(vm, error);
	struct kvm_cpuid2 *list = kvm ? contract(vm, error) : NULL;

	if (list) {
		keep_supported(vm, list, kvm);
		g_free(list);
		list = check_required(vm, error) ? NULL : contract(vm, error);
	}
	if (list) {
		keep_supported(vm, list, kvm);
		if (!vm->config.movable)
			add_hardware_features(vm, list, kvm);
		limit_addresses(list, kvm);
	}
	g_ptr_array_add(vm->lacks, NULL);
	g_free(kvm);
	return list;
}

const char *const *kvm_cpuid_lacks(struct accel_vm *vm)
{
	return (const char *const *)((struct kvm_machine *)vm)->lacks->pdata;
}

/* What differs between processors is their number. */
int kvm_cpuid_set(struct kvm_cpu *cpu)
{
	const struct kvm_machine *vm = cpu->vm;
	size_t bytes = sizeof(*vm->cpuid) + vm->cpuid->nent * sizeof(vm->cpuid->entries[0]);
	struct kvm_cpuid2 *list = g_memdup2(vm->cpuid, bytes);
	int err;

	for (u32 i = 0; i < list->nent; i++) {
		struct kvm_cpuid_entry2 *e = &list->entries[i];

		switch (e->function) {
		case 1: e->ebx |= cpu->index << 24; break;
		case 0xb: e->edx = cpu->index; break;
		case 0x8000001e:
			e->eax = cpu->index;
			e->ebx |= cpu->index / vm->config.threads;
			break;
		}
	}
	err = kvm_call(cpu->fd, KVM_SET_CPUID2, list);
	g_free(list);
	return err;
}
