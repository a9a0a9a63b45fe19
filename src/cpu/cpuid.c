/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's CPUID contract: computed once when the computer is made, never looked up on the host
 * again. The features come from the list in feature.h; everything else is written leaf by leaf
 * here, and a leaf that is not here reads as zero.
 *
 * Leaf numbers and fields: SDM vol. 2A "CPUID", APM vol. 3 appendix E; the hypervisor leaves from
 * 0x40000000 are the KVM paravirtual interface.
 */
#include "base/cpu_names.h"
#include "cpu/run.h"

#include <errno.h>
#include <string.h>

enum reg { EAX, EBX, ECX, EDX };
enum source { HOST, SOFT, AMD, INTEL, HOST_AMD };

struct feature_row {
	const char *name;
	u32 leaf;
	u32 subleaf;
	u8 reg, bit, source, needs;
};

#define FEATURE_ROW(id, name, leaf, subleaf, reg, bit, source, needs) \
	[FEAT_##id] = { name, leaf, subleaf, reg, bit, source, FEAT_##needs },
static const struct feature_row features[FEATURE_COUNT] = { CPU_FEATURES(FEATURE_ROW) };

static void host_cpuid(u32 leaf, u32 subleaf, u32 out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(subleaf));
}

/* CPUID traps where the host is virtual itself, tens of microseconds each: every leaf is asked
 * once. */
struct host_leaves {
	struct {
		u32 leaf, subleaf, out[4];
	} known[32];
	unsigned count;
};

static const u32 *host_leaf(struct host_leaves *h, u32 leaf, u32 subleaf)
{
	unsigned i;

	for (i = 0; i < h->count; i++)
		if (h->known[i].leaf == leaf && h->known[i].subleaf == subleaf)
			return h->known[i].out;
	if (h->count == ARRAY_LEN(h->known))
		i = --h->count; /* more leaves than the feature list has: the last one makes room */
	h->known[i].leaf = leaf;
	h->known[i].subleaf = subleaf;
	host_cpuid(leaf, subleaf, h->known[i].out);
	h->count++;
	return h->known[i].out;
}

static bool host_has(struct host_leaves *h, u32 leaf, u32 subleaf, unsigned reg, unsigned bit)
{
	if (leaf > host_leaf(h, leaf & 0x80000000, 0)[0])
		return false;
	return host_leaf(h, leaf, subleaf)[reg] >> bit & 1;
}

static bool host_is_amd(void)
{
	u32 r[4];
	char name[12];

	host_cpuid(0, 0, r);
	memcpy(name, &r[1], 4);
	memcpy(name + 4, &r[3], 4);
	memcpy(name + 8, &r[2], 4);
	return !memcmp(name, "AuthenticAMD", 12) || !memcmp(name, "HygonGenuine", 12);
}

static u64 host_xcr0(struct host_leaves *host)
{
	u32 lo, hi;

	if (!host_has(host, 1, 0, ECX, 27))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo | (u64)hi << 32;
}

/* ---- features
 * ------------------------------------------------------------------------------------ */

static bool offered(const struct cpu_vm *vm, struct host_leaves *leaves,
		    const struct feature_row *f)
{
	bool host = host_has(leaves, f->leaf, f->subleaf, f->reg, f->bit);

	switch (f->source) {
	case HOST: return host;
	case SOFT: return true;
	case AMD: return vm->vendor_amd;
	case INTEL: return !vm->vendor_amd;
	default: return vm->vendor_amd && host;
	}
}

/* State that XCR0 on the host does not hold cannot be offered, whatever CPUID says. */
static bool state_missing(enum cpu_feature f, u64 xcr0)
{
	if (f == FEAT_AVX)
		return (xcr0 & 6) != 6;
	if (f == FEAT_AVX512F)
		return (xcr0 & 0xe6) != 0xe6;
	return false;
}

static bool switched_off(const struct cpu_vm *vm, const char *name)
{
	const char *const *off = vm->config.features_off;

	for (; off && *off; off++)
		if (!strcmp(*off, name))
			return true;
	return false;
}

/* What no software gives: known, so that a domain can hide them whatever runs it. */
static const char *const hardware_only[] = { CPU_HARDWARE_ONLY };

static bool known_name(const char *name)
{
	for (unsigned i = 0; i < FEATURE_COUNT; i++)
		if (!strcmp(name, features[i].name))
			return true;
	for (unsigned i = 0; i < ARRAY_LEN(hardware_only); i++)
		if (!strcmp(name, hardware_only[i]))
			return true;
	return false;
}

static int check_names(const struct cpu_vm *vm, GError **error)
{
	const char *const *off = vm->config.features_off;

	for (; off && *off; off++) {
		if (!known_name(*off)) {
			g_set_error(
				error, g_quark_from_static_string("lodge-cpu"), EINVAL,
				"CPU feature '%s' is not known: use a name from the flags line of "
				"/proc/cpuinfo",
				*off);
			return -EINVAL;
		}
	}
	return 0;
}

/* A clock needs a counter that does not stop: CPUID says so, or the host's kernel trusts it. */
static bool needed_is_there(const struct cpu_vm *vm, enum cpu_feature feature)
{
	return vm_has(vm, feature) || (feature == FEAT_NONSTOP_TSC && vm->config.tsc_stable);
}

static bool has_name(const struct cpu_vm *vm, const char *name)
{
	for (unsigned i = 0; i < FEATURE_COUNT; i++)
		if (!strcmp(name, features[i].name))
			return vm_has(vm, i);
	return false;
}

static int check_required(const struct cpu_vm *vm, GError **error)
{
	const char *const *name = vm->config.features_required;

	for (; name && *name; name++) {
		if (has_name(vm, *name))
			continue;
		g_set_error(error, g_quark_from_static_string("lodge-cpu"), ENOTSUP,
			    "the domain requires the CPU feature '%s', which this host's processor "
			    "cannot give its guest; remove it, or make its policy 'optional'",
			    *name);
		return -ENOTSUP;
	}
	return 0;
}

static void choose_features(struct cpu_vm *vm)
{
	struct host_leaves host = { .count = 0 };
	u64 xcr0 = host_xcr0(&host);

	for (unsigned i = 0; i < FEATURE_COUNT; i++) {
		const struct feature_row *f = &features[i];

		if (!offered(vm, &host, f) || state_missing(i, xcr0) || switched_off(vm, f->name))
			continue;
		if (f->needs != i && !needed_is_there(vm, f->needs))
			continue;
		vm->features[i / 64] |= BIT(i % 64);
	}
	vm->xcr0_mask = 0;
	if (vm_has(vm, FEAT_XSAVE)) {
		vm->xcr0_mask = 3;
		if (vm_has(vm, FEAT_AVX))
			vm->xcr0_mask |= 4;
		if (vm_has(vm, FEAT_AVX512F))
			vm->xcr0_mask |= 0xe0;
	}
}

/* ---- leaves
 * -------------------------------------------------------------------------------------- */

struct leaves {
	struct cpu_vm *vm;
	GArray *all;
};

static struct cpu_cpuid *add(struct leaves *l, u32 leaf, int subleaf)
{
	struct cpu_cpuid c = { .leaf = leaf,
			       .subleaf = subleaf < 0 ? 0 : subleaf,
			       .has_subleaf = subleaf >= 0 };

	g_array_append_val(l->all, c);
	return &g_array_index(l->all, struct cpu_cpuid, l->all->len - 1);
}

/* Sets the feature bits of this leaf. */
static void add_features(struct leaves *l, struct cpu_cpuid *c)
{
	u32 *regs[] = { &c->eax, &c->ebx, &c->ecx, &c->edx };

	for (unsigned i = 0; i < FEATURE_COUNT; i++) {
		const struct feature_row *f = &features[i];

		if (f->leaf == c->leaf && f->subleaf == c->subleaf && vm_has(l->vm, i))
			*regs[f->reg] |= 1u << f->bit;
	}
}

static unsigned bits_for(unsigned n)
{
	unsigned bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

static void add_basic(struct leaves *l)
{
	const struct cpu_vm_config *config = &l->vm->config;
	struct cpu_cpuid *c;
	u32 r[4];

	host_cpuid(0, 0, r);
	c = add(l, 0, -1);
	c->eax = l->vm->vendor_amd ? 0xd : 0x16;
	c->ebx = r[1];
	c->ecx = r[2];
	c->edx = r[3];

	host_cpuid(1, 0, r);
	c = add(l, 1, -1);
	add_features(l, c);
	c->eax = r[0];
	/* CLFLUSH line, logical processors of the package; the APIC ID is filled in at query time
	 */
	c->ebx = 8 << 8 | config->cores * config->threads << 16;
	if (config->cores * config->threads == 1)
		c->edx &= ~BIT(28);

	c = add(l, 6, -1);
	add_features(l, c);
	c = add(l, 7, 0);
	add_features(l, c);
	c->eax = 2;
	c = add(l, 7, 1);
	add_features(l, c);
	c = add(l, 7, 2);
	add_features(l, c);
}

/* One level of cache for leaf 4 and 0x8000001d: both describe them the same way. */
struct cache {
	u8 type, level;
	u32 kib, ways;
	bool package; /* shared by all of it */
};
static const struct cache caches[] = { { 1, 1, 32, 8, false },
				       { 2, 1, 32, 8, false },
				       { 3, 2, 1024, 8, false },
				       { 3, 3, 16384, 16, true } };

static void add_caches(struct leaves *l, u32 leaf)
{
	const struct cpu_vm_config *config = &l->vm->config;
	struct cpu_cpuid *c;

	for (unsigned i = 0; i < ARRAY_LEN(caches); i++) {
		const struct cache *k = &caches[i];
		unsigned sharing = k->package ? config->cores * config->threads : config->threads;

		c = add(l, leaf, i);
		c->eax = k->type | k->level << 5 | 1 << 8 | (sharing - 1) << 14;
		if (leaf == 4)
			c->eax |= ((1u << bits_for(config->cores)) - 1) << 26;
		c->ebx = 63 | (k->ways - 1) << 22;
		c->ecx = k->kib * 1024 / 64 / k->ways - 1;
	}
	add(l, leaf, ARRAY_LEN(caches));
}

/* Levels of leaf 0xb: threads of a core, then of the package. x2APIC ID is filled in at query. */
static void add_topology(struct leaves *l, u32 leaf)
{
	const struct cpu_vm_config *config = &l->vm->config;
	struct cpu_cpuid *c;

	c = add(l, leaf, 0);
	c->eax = bits_for(config->threads);
	c->ebx = config->threads;
	c->ecx = 1 << 8;
	c = add(l, leaf, 1);
	c->eax = bits_for(config->threads) + bits_for(config->cores);
	c->ebx = config->threads * config->cores;
	c->ecx = 1 | 2 << 8;
	c = add(l, leaf, 2);
	c->ecx = 2;
}

static void add_xsave(struct leaves *l)
{
	struct cpu_vm *vm = l->vm;
	struct cpu_cpuid *c;
	u32 end = 576, r[4];

	for (unsigned i = 2; i < 8; i++) {
		if (!(vm->xcr0_mask >> i & 1))
			continue;
		host_cpuid(0xd, i, r);
		end = MAX(end, r[0] + r[1]);
	}
	vm->xsave_bytes = end;
	if (!vm_has(vm, FEAT_XSAVE))
		return;
	c = add(l, 0xd, 0);
	c->eax = vm->xcr0_mask;
	c->ebx = end; /* of the current XCR0: filled in at query time */
	c->ecx = end;
	c = add(l, 0xd, 1);
	add_features(l, c);
	for (unsigned i = 2; i < 8; i++) {
		if (!(vm->xcr0_mask >> i & 1))
			continue;
		host_cpuid(0xd, i, r);
		c = add(l, 0xd, i);
		c->eax = r[0];
		c->ebx = r[1];
	}
}

static void add_hypervisor(struct leaves *l)
{
	struct cpu_cpuid *c;

	c = add(l, 0x40000000, -1);
	c->eax = 0x40000010;
	memcpy(&c->ebx, "KVMK", 4);
	memcpy(&c->ecx, "VMKV", 4);
	memcpy(&c->edx, "M\0\0\0", 4);
	c = add(l, 0x40000001, -1);
	add_features(l, c);
	c = add(l, 0x40000010, -1);
	c->eax = l->vm->tsc_hz / 1000;
	c->ebx = l->vm->config.lapic_hz / 1000;
}

static void add_extended(struct leaves *l)
{
	const struct cpu_vm_config *config = &l->vm->config;
	struct cpu_vm *vm = l->vm;
	struct cpu_cpuid *c;
	u32 r[4], max[4];

	host_cpuid(0x80000000, 0, max);
	host_cpuid(0, 0, r);
	c = add(l, 0x80000000, -1);
	c->eax = vm->vendor_amd ? 0x80000021 : 0x80000008;
	c->ebx = vm->vendor_amd ? r[1] : 0;
	c->ecx = vm->vendor_amd ? r[2] : 0;
	c->edx = vm->vendor_amd ? r[3] : 0;

	host_cpuid(1, 0, r);
	c = add(l, 0x80000001, -1);
	c->eax = vm->vendor_amd ? r[0] : 0;
	add_features(l, c);
	if (vm->vendor_amd) {
		/* AMD repeats leaf 1's bits here */
		c->edx |= g_array_index(l->all, struct cpu_cpuid, 1).edx & 0x0183f3ff;
		if (config->cores * config->threads == 1)
			c->ecx &= ~BIT(1);
	}
	for (u32 leaf = 0x80000002; leaf <= 0x80000004 && leaf <= max[0]; leaf++) {
		host_cpuid(leaf, 0, r);
		c = add(l, leaf, -1);
		c->eax = r[0];
		c->ebx = r[1];
		c->ecx = r[2];
		c->edx = r[3];
	}
	c = add(l, 0x80000006, -1);
	c->ecx = 1024 << 16 | 6 << 12 | 1 << 8 | 64;
	c = add(l, 0x80000007, -1);
	add_features(l, c);
	c = add(l, 0x80000008, -1);
	add_features(l, c);
	c->eax = vm->maxphyaddr | 48 << 8;
	if (vm->vendor_amd)
		c->ecx = (config->cores * config->threads - 1) |
			 bits_for(config->cores * config->threads) << 12;
	if (!vm->vendor_amd)
		return;
	if (vm_has(vm, FEAT_TOPOEXT)) {
		add_caches(l, 0x8000001d);
		c = add(l, 0x8000001e, -1); /* IDs filled in at query time */
		c->ebx = (config->threads - 1) << 8;
	}
	c = add(l, 0x80000021, -1);
	add_features(l, c);
}

static u8 choose_maxphyaddr(void)
{
	u32 r[4];

	host_cpuid(0x80000000, 0, r);
	if (r[0] < 0x80000008)
		return 36;
	host_cpuid(0x80000008, 0, r);
	return CLAMP(r[0] & 0xff, 36, 48);
}

/*
 * IA32_ARCH_CAPABILITIES (Intel SDM volume 4, table 2-2), for guests on Intel hosts: what they need
 * not defend themselves against, as their own defence would change nothing.
 * docs/threat-model.md argues each bit.
 */
#define ARCH_CAPS                                                                               \
	(BIT(0) /* RDCL_NO */ | BIT(1) /* IBRS_ALL */ | BIT(3) /* no L1D flush on VM entry */ | \
	 BIT(4) /* SSB_NO */ | BIT(5) /* MDS_NO */ | BIT(6) /* IF_PSCHANGE_MC_NO */ |           \
	 BIT(8) /* TAA_NO */ | BIT(13) /* SBDR_SSDP_NO */ | BIT(14) /* FBSDP_NO */ |            \
	 BIT(15) /* PSDP_NO */ | BIT(20) /* BHI_NO */ | BIT(24) /* PBRSB_NO */ |                \
	 BIT(26) /* GDS_NO */ | BIT(27) /* RFDS_NO */ | BIT(62) /* ITS_NO */)

static u32 host_mxcsr_mask(void)
{
	u8 area[512] __attribute__((aligned(16))) = { 0 };
	u32 mask;

	__asm__ volatile("fxsave %0" : "=m"(area));
	memcpy(&mask, area + 28, 4);
	return mask ? mask : 0xffbf;
}

int cpuid_init(struct cpu_vm *vm, GError **error)
{
	struct leaves l = { .vm = vm };
	struct cpu_cpuid *c;

	if (check_names(vm, error))
		return -EINVAL;
	vm->vendor_amd = host_is_amd();
	vm->maxphyaddr = choose_maxphyaddr();
	vm->mxcsr_mask = host_mxcsr_mask();
	vm->tsc_base = __builtin_ia32_rdtsc();
	vm->arch_caps = ARCH_CAPS;
	choose_features(vm);
	if (check_required(vm, error))
		return -ENOTSUP;

	l.all = g_array_new(FALSE, TRUE, sizeof(struct cpu_cpuid));
	add_basic(&l);
	if (!vm->vendor_amd)
		add_caches(&l, 4);
	add_topology(&l, 0xb);
	add_xsave(&l);
	if (!vm->vendor_amd) {
		c = add(&l, 0x16, -1);
		c->eax = c->ebx = vm->tsc_hz / 1000000;
	}
	add_hypervisor(&l);
	add_extended(&l);
	vm->cpuid_count = l.all->len;
	vm->cpuid = (struct cpu_cpuid *)g_array_free(l.all, FALSE);
	return 0;
}

const char *cpu_feature_name(u32 leaf, u32 subleaf, unsigned reg, unsigned bit)
{
	for (unsigned i = 0; i < FEATURE_COUNT; i++) {
		const struct feature_row *f = &features[i];

		if (f->leaf == leaf && f->subleaf == subleaf && f->reg == reg && f->bit == bit)
			return f->name;
	}
	return NULL;
}

struct cpu_cpuid *cpu_contract(const struct cpu_vm_config *config, size_t *count, GError **error)
{
	struct cpu_vm *vm = g_new0(struct cpu_vm, 1);
	struct cpu_cpuid *leaves = NULL;

	vm->config = *config;
	vm->tsc_hz = config->tsc_hz;
	if (!cpuid_init(vm, error)) {
		leaves = vm->cpuid;
		*count = vm->cpuid_count;
	}
	g_free(vm);
	return leaves;
}

/* ---- what one processor sees
 * ----------------------------------------------------------------------- */

static u32 apic_id(const struct cpu *cpu)
{
	return cpu->index; /* topologies are powers of two or flat: see the machine's MADT */
}

static u32 xsave_bytes_now(const struct cpu *cpu)
{
	u32 end = 576;

	for (size_t i = 0; i < cpu->vm->cpuid_count; i++) {
		const struct cpu_cpuid *c = &cpu->vm->cpuid[i];

		if (c->leaf == 0xd && c->subleaf >= 2 && cpu->xcr0 >> c->subleaf & 1)
			end = MAX(end, c->eax + c->ebx);
	}
	return end;
}

static void per_processor(const struct cpu *cpu, u32 leaf, u32 subleaf, u32 out[4])
{
	switch (leaf) {
	case 1:
		out[EBX] |= apic_id(cpu) << 24;
		if (cpu->cr4 & CR4_OSXSAVE)
			out[ECX] |= BIT(27);
		break;
	case 7: break;
	case 0xb:
		out[ECX] |= subleaf & 0xff;
		out[EDX] = apic_id(cpu);
		break;
	case 0xd:
		if (subleaf == 0)
			out[EBX] = xsave_bytes_now(cpu);
		else if (subleaf == 1)
			out[EBX] = 0;
		break;
	case 0x8000001e:
		out[EAX] = apic_id(cpu);
		out[EBX] |= apic_id(cpu) / cpu->vm->config.threads;
		break;
	}
}

void cpuid_query(const struct cpu *cpu, u32 leaf, u32 subleaf, u32 out[4])
{
	const struct cpu_vm *vm = cpu->vm;

	out[0] = out[1] = out[2] = out[3] = 0;
	for (size_t i = 0; i < vm->cpuid_count; i++) {
		const struct cpu_cpuid *c = &vm->cpuid[i];

		if (c->leaf != leaf || (c->has_subleaf && c->subleaf != subleaf))
			continue;
		out[EAX] = c->eax;
		out[EBX] = c->ebx;
		out[ECX] = c->ecx;
		out[EDX] = c->edx;
		per_processor(cpu, leaf, subleaf, out);
		return;
	}
	if (leaf == 0xb) {
		out[ECX] = subleaf & 0xff;
		out[EDX] = apic_id(cpu);
	}
}
