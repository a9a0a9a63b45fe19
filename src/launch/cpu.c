/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the domain's <cpu> to the features that are hidden from the guest.
 *
 * A plan only takes features away: the engine offers all it can. A named model is therefore the
 * list of optional features it has, everything else on optional[] being hidden. Models differ in
 * more than that (family and stepping numbers, mitigations); what the engine does not emulate is
 * not in the lists.
 *
 * libvirt's names of features are partly not Linux's, which plans use: linux_name() knows both.
 */
#include "base/cpu_names.h"
#include "launch/private.h"

#include <string.h>

/* What every x86-64 guest gets is not listed; this is all beyond it that this version offers. */
static const char *const optional[] = {
	"pni",
	"pclmulqdq",
	"ssse3",
	"fma",
	"cx16",
	"pcid",
	"sse4_1",
	"sse4_2",
	"movbe",
	"popcnt",
	"aes",
	"xsave",
	"avx",
	"f16c",
	"rdrand",
	"fsgsbase",
	"bmi1",
	"avx2",
	"smep",
	"bmi2",
	"erms",
	"invpcid",
	"avx512f",
	"avx512dq",
	"rdseed",
	"adx",
	"smap",
	"avx512ifma",
	"clflushopt",
	"clwb",
	"avx512cd",
	"sha_ni",
	"avx512bw",
	"avx512vl",
	"avx512vbmi",
	"umip",
	"gfni",
	"vaes",
	"vpclmulqdq",
	"rdpid",
	"fsrm",
	"avx_vnni",
	"xsaveopt",
	"xgetbv1",
	"pdpe1gb",
	"rdtscp",
	"lahf_lm",
	"abm",
	"sse4a",
	"misalignsse",
	"3dnowprefetch",
	"avx512_vbmi2",
	"avx512_vnni",
	"avx512_bitalg",
	"avx512_vpopcntdq",
	"avx512_vp2intersect",
	"avx512_bf16",
};

/* What XML may also require or forbid by name: there on every guest unless forbidden. */
static const char *const common[] = {
	"fpu",         "de",   "pse",        "tsc",     "msr",     "pae",
	"mce",         "cx8",  "apic",       "sep",     "mtrr",    "pge",
	"mca",         "cmov", "pat",        "pse36",   "clflush", "mmx",
	"fxsr",        "sse",  "sse2",       "ht",      "x2apic",  "tsc_deadline_timer",
	"hypervisor",  "arat", "tsc_adjust", "syscall", "nx",      "lm",
	"nonstop_tsc",
};

/* What KVM gives besides, where the host has it: no named model has any. */
static const char *const hardware[] = { CPU_HARDWARE_ONLY };

struct cpu_model {
	const char *name, *parent, *added;
};

static const struct cpu_model models[] = {
	{ "qemu64", NULL, "pni cx16" },
	{ "kvm64", "qemu64", "" },
	{ "core2duo", "Conroe", "" },
	{ "Conroe", "qemu64", "ssse3 lahf_lm" },
	{ "Penryn", "Conroe", "sse4_1" },
	{ "Nehalem", "Penryn", "sse4_2 popcnt" },
	{ "Westmere", "Nehalem", "aes pclmulqdq" },
	{ "SandyBridge", "Westmere", "xsave avx rdtscp" },
	{ "IvyBridge", "SandyBridge", "f16c rdrand fsgsbase smep erms" },
	{ "Haswell", "IvyBridge", "fma pcid movbe bmi1 avx2 bmi2 invpcid abm" },
	{ "Broadwell", "Haswell", "rdseed adx smap 3dnowprefetch" },
	{ "Skylake-Client", "Broadwell", "xsaveopt xgetbv1" },
	{ "Skylake-Server", "Skylake-Client",
	  "avx512f avx512dq avx512cd avx512bw avx512vl clwb clflushopt pdpe1gb" },
	{ "Cascadelake-Server", "Skylake-Server", "avx512_vnni" },
	{ "Cooperlake", "Cascadelake-Server", "avx512_bf16" },
	{ "Icelake-Server", "Cascadelake-Server",
	  "avx512vbmi avx512_vbmi2 avx512_bitalg avx512_vpopcntdq umip gfni vaes vpclmulqdq" },
	{ "SapphireRapids", "Icelake-Server", "avx512_bf16 avx512ifma avx_vnni sha_ni fsrm rdpid" },
	{ "Opteron_G1", NULL, "pni" },
	{ "Opteron_G2", "Opteron_G1", "cx16 rdtscp lahf_lm" },
	{ "Opteron_G3", "Opteron_G2", "popcnt abm sse4a misalignsse" },
	{ "Opteron_G4", "Opteron_G3",
	  "pclmulqdq ssse3 sse4_1 sse4_2 aes xsave avx pdpe1gb 3dnowprefetch" },
	{ "Opteron_G5", "Opteron_G4", "fma f16c" },
	{ "EPYC", "Opteron_G5",
	  "movbe rdrand fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap clflushopt sha_ni xsaveopt "
	  "xgetbv1" },
	{ "EPYC-Rome", "EPYC", "clwb umip rdpid" },
	{ "EPYC-Milan", "EPYC-Rome", "pcid erms invpcid fsrm" },
	{ "EPYC-Genoa", "EPYC-Milan",
	  "avx512f avx512dq avx512cd avx512bw avx512vl avx512ifma avx512vbmi avx512_vbmi2 "
	  "avx512_vnni avx512_bitalg avx512_vpopcntdq avx512_bf16 gfni vaes vpclmulqdq" },
};

/* Endings of model names that tell variants which differ in nothing listed above. */
static const char *const variants[] = { "-IBRS", "-IBPB", "-noTSX" };

static bool listed(const char *const *list, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i], name))
			return true;
	return false;
}

/* --- names --- */

static const char *const renamed[][2] = {
	{ "pclmuldq", "pclmulqdq" },
	{ "sse3", "pni" },
	{ "tsc-deadline", "tsc_deadline_timer" },
	{ "invtsc", "nonstop_tsc" },
	{ "avx512vbmi2", "avx512_vbmi2" },
	{ "avx512vnni", "avx512_vnni" },
	{ "avx512bitalg", "avx512_bitalg" },
	{ "lzcnt", "abm" },
};

/* The caller frees it. */
static char *linux_name(const char *name)
{
	char *copy;

	for (size_t i = 0; i < ARRAY_LEN(renamed); i++)
		if (!strcmp(renamed[i][0], name))
			return g_strdup(renamed[i][1]);
	copy = g_strdup(name);
	return g_strdelimit(copy, "-.", '_');
}

static bool is_offered(const char *name)
{
	return listed(optional, ARRAY_LEN(optional), name) ||
	       listed(common, ARRAY_LEN(common), name);
}

/* --- models --- */

static char *base_name(const char *name)
{
	char *base = g_strdup(name);
	bool shorter = true;

	while (shorter) {
		char *version = strrchr(base, '-');

		shorter = false;
		for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
			if (g_str_has_suffix(base, variants[i])) {
				base[strlen(base) - strlen(variants[i])] = '\0';
				shorter = true;
			}
		}
		if (version && version[1] == 'v' && g_ascii_isdigit(version[2])) {
			*version = '\0'; /* EPYC-v2 */
			shorter = true;
		}
	}
	return base;
}

static const struct cpu_model *find_model(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(models); i++)
		if (!strcmp(models[i].name, name))
			return &models[i];
	return NULL;
}

static bool model_has(const struct cpu_model *model, const char *feature)
{
	for (; model; model = model->parent ? find_model(model->parent) : NULL) {
		char **added = g_strsplit(model->added, " ", -1);
		bool has = g_strv_contains((const char *const *)added, feature);

		g_strfreev(added);
		if (has)
			return true;
	}
	return false;
}

static void fail_model(const struct domain *domain, GError **error)
{
	GString *known = g_string_new(NULL);

	for (size_t i = 0; i < ARRAY_LEN(models); i++)
		g_string_append_printf(known, "%s%s", i ? ", " : "", models[i].name);
	g_set_error(
		error, DOMAIN_ERROR, DOMAIN_ERROR_UNSUPPORTED,
		"%s:%u: <cpu>: the model '%s' is not in this version; use mode='host-passthrough' "
		"or one of %s",
		domain->file, domain->cpu.line, domain->cpu.model, known->str);
	g_string_free(known, TRUE);
}

static bool contains(GPtrArray *names, const char *name)
{
	return g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL);
}

static void hide(GPtrArray *off, const char *name)
{
	if (!contains(off, name))
		g_ptr_array_add(off, g_strdup(name));
}

/* --- the domain's wishes --- */

/* Linux's names of a list of libvirt's. */
static GPtrArray *translate(GPtrArray *names)
{
	GPtrArray *result = g_ptr_array_new_with_free_func(g_free);

	for (unsigned i = 0; i < names->len; i++)
		g_ptr_array_add(result, linux_name(names->pdata[i]));
	return result;
}

static bool check_required(const struct domain *domain, GPtrArray *required, GError **error)
{
	for (unsigned i = 0; i < required->len; i++) {
		if (is_offered(required->pdata[i]))
			continue;
		g_set_error(error, DOMAIN_ERROR, DOMAIN_ERROR_UNSUPPORTED,
			    "%s:%u: <cpu>: the feature '%s' is not in this version; remove it, or "
			    "make its policy 'optional'",
			    domain->file, domain->cpu.line, (char *)domain->cpu.require->pdata[i]);
		return false;
	}
	return true;
}

static bool hide_beyond_model(const struct domain *domain, GPtrArray *off, GPtrArray *required,
			      GError **error)
{
	char *base = base_name(domain->cpu.model);
	const struct cpu_model *model = find_model(base);

	g_free(base);
	if (!model) {
		fail_model(domain, error);
		return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(optional); i++)
		if (!model_has(model, optional[i]) && !contains(required, optional[i]))
			hide(off, optional[i]);
	return true;
}

void cpu_hide_hardware(const struct domain *domain, GPtrArray *off)
{
	if (!domain->cpu.mode || strcmp(domain->cpu.mode, "custom"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(hardware); i++)
		hide(off, hardware[i]);
}

GPtrArray *cpu_features_off(const struct domain *domain, GError **error)
{
	GPtrArray *off = g_ptr_array_new_with_free_func(g_free);
	GPtrArray *required = translate(domain->cpu.require);
	GPtrArray *disabled = translate(domain->cpu.disable);
	bool good = check_required(domain, required, error);

	if (good && domain->cpu.mode && !strcmp(domain->cpu.mode, "custom"))
		good = hide_beyond_model(domain, off, required, error);
	/* what is not offered needs no hiding */
	for (unsigned i = 0; i < disabled->len; i++)
		if (is_offered(disabled->pdata[i]))
			hide(off, disabled->pdata[i]);
	g_ptr_array_unref(disabled);
	g_ptr_array_unref(required);
	if (!good)
		g_clear_pointer(&off, g_ptr_array_unref);
	return off;
}

GPtrArray *cpu_features_required(const struct domain *domain)
{
	return translate(domain->cpu.require);
}

const char **launch_cpu_models(void)
{
	const char **names = g_new0(const char *, ARRAY_LEN(models) + 1);

	for (size_t i = 0; i < ARRAY_LEN(models); i++)
		names[i] = models[i].name;
	return names;
}
