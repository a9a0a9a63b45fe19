/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Models of processors, and the features that they differ in. See cpu_model.h.
 *
 * Models differ in more than that (family and stepping numbers, mitigations); what the engine does
 * not emulate is not in the lists.
 */
#include "launch/cpu_model.h"

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
	NULL,
};

/* What XML may also require or forbid by name: there on every guest unless forbidden. */
static const char *const common[] = {
	"fpu",         "de",   "pse",        "tsc",     "msr",     "pae",
	"mce",         "cx8",  "apic",       "sep",     "mtrr",    "pge",
	"mca",         "cmov", "pat",        "pse36",   "clflush", "mmx",
	"fxsr",        "sse",  "sse2",       "ht",      "x2apic",  "tsc_deadline_timer",
	"hypervisor",  "arat", "tsc_adjust", "syscall", "nx",      "lm",
	"nonstop_tsc", NULL,
};

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

/* --- names of features --- */

/* libvirt's names of features that are not Linux's; further ones only have - or . for _. */
static const char *const renamed[][2] = {
	{ "pclmuldq", "pclmulqdq" },
	{ "tsc-deadline", "tsc_deadline_timer" },
	{ "invtsc", "nonstop_tsc" },
	{ "avx512vbmi2", "avx512_vbmi2" },
	{ "avx512vnni", "avx512_vnni" },
	{ "avx512bitalg", "avx512_bitalg" },
	{ "sse4.1", "sse4_1" },
	{ "sse4.2", "sse4_2" },
	{ "sha-ni", "sha_ni" },
	{ "avx-vnni", "avx_vnni" },
	{ "avx512-vpopcntdq", "avx512_vpopcntdq" },
	{ "avx512-vp2intersect", "avx512_vp2intersect" },
	{ "avx512-bf16", "avx512_bf16" },
};

/* Others that people write. */
static const char *const also[][2] = { { "sse3", "pni" }, { "lzcnt", "abm" } };

char *cpu_feature_linux_name(const char *name)
{
	char *copy;

	for (size_t i = 0; i < ARRAY_LEN(renamed); i++)
		if (!strcmp(renamed[i][0], name))
			return g_strdup(renamed[i][1]);
	for (size_t i = 0; i < ARRAY_LEN(also); i++)
		if (!strcmp(also[i][0], name))
			return g_strdup(also[i][1]);
	copy = g_strdup(name);
	return g_strdelimit(copy, "-.", '_');
}

const char *cpu_feature_libvirt_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(renamed); i++)
		if (!strcmp(renamed[i][1], name))
			return renamed[i][0];
	return name;
}

bool cpu_feature_is_offered(const char *name)
{
	return g_strv_contains(optional, name) || g_strv_contains(common, name);
}

const char *const *cpu_features_optional(void)
{
	return optional;
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

static const struct cpu_model *find_exactly(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(models); i++)
		if (!strcmp(models[i].name, name))
			return &models[i];
	return NULL;
}

bool cpu_model_has(const struct cpu_model *model, const char *feature)
{
	for (; model; model = model->parent ? find_exactly(model->parent) : NULL) {
		char **added = g_strsplit(model->added, " ", -1);
		bool has = g_strv_contains((const char *const *)added, feature);

		g_strfreev(added);
		if (has)
			return true;
	}
	return false;
}

const struct cpu_model *cpu_model_find(const char *name)
{
	g_autofree char *base = base_name(name);

	return find_exactly(base);
}

const struct cpu_model *cpu_model_at(unsigned index)
{
	return index < ARRAY_LEN(models) ? &models[index] : NULL;
}

const char *cpu_model_name(const struct cpu_model *model)
{
	return model->name;
}

const char *cpu_model_vendor(const struct cpu_model *model)
{
	for (; model; model = model->parent ? find_exactly(model->parent) : NULL)
		if (!strcmp(model->name, "Opteron_G1"))
			return CPU_VENDOR_AMD;
		else if (!strcmp(model->name, "Conroe"))
			return CPU_VENDOR_INTEL;
	return NULL;
}
