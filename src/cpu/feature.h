/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The list of CPUID features a guest may see: default deny. A bit that is not here reads as 0,
 * whatever the host has; the decoder asks vm_has() before it accepts an instruction of a feature.
 *
 *   F(identifier, Linux flag name, leaf, subleaf, register, bit, source, needs)
 *
 * source  HOST   the instructions run on the silicon: offered if the host has the bit
 *         SOFT   this room implements it: offered on every host
 *         AMD, INTEL   as SOFT, but only where the host (and so the guest) is of that vendor;
 *                for Hygon read AMD
 *         HOST_AMD     as HOST, on AMD only: on Intel the leaf is reserved or means another thing
 * needs   the feature without which this one is hidden too (hiding avx hides avx2); must be
 *         listed before it
 *
 * Names are those of /proc/cpuinfo where it has one, so that "features_off" reads like
 * clearcpuid=. "never offered" bits need no row.
 */
#ifndef LODGE_CPU_FEATURE_H
#define LODGE_CPU_FEATURE_H

#include "base/types.h"

/* clang-format off */
#define CPU_FEATURES(F)                                                        \
	/* CPUID.1:EDX */                                                      \
	F(FPU,          "fpu",          1, 0, EDX,  0, HOST, FPU)              \
	F(DE,           "de",           1, 0, EDX,  2, SOFT, FPU)              \
	F(PSE,          "pse",          1, 0, EDX,  3, SOFT, FPU)              \
	F(TSC,          "tsc",          1, 0, EDX,  4, HOST, FPU)              \
	F(MSR,          "msr",          1, 0, EDX,  5, SOFT, FPU)              \
	F(PAE,          "pae",          1, 0, EDX,  6, SOFT, FPU)              \
	F(MCE,          "mce",          1, 0, EDX,  7, SOFT, FPU)              \
	F(CX8,          "cx8",          1, 0, EDX,  8, HOST, FPU)              \
	F(APIC,         "apic",         1, 0, EDX,  9, SOFT, FPU)              \
	F(SEP,          "sep",          1, 0, EDX, 11, SOFT, FPU)              \
	F(MTRR,         "mtrr",         1, 0, EDX, 12, SOFT, FPU)              \
	F(PGE,          "pge",          1, 0, EDX, 13, SOFT, FPU)              \
	F(MCA,          "mca",          1, 0, EDX, 14, SOFT, MCE)              \
	F(CMOV,         "cmov",         1, 0, EDX, 15, HOST, FPU)              \
	F(PAT,          "pat",          1, 0, EDX, 16, SOFT, FPU)              \
	F(PSE36,        "pse36",        1, 0, EDX, 17, SOFT, PSE)              \
	F(CLFLUSH,      "clflush",      1, 0, EDX, 19, SOFT, FPU)              \
	F(MMX,          "mmx",          1, 0, EDX, 23, HOST, FPU)              \
	F(FXSR,         "fxsr",         1, 0, EDX, 24, HOST, FPU)              \
	F(SSE,          "sse",          1, 0, EDX, 25, HOST, FXSR)             \
	F(SSE2,         "sse2",         1, 0, EDX, 26, HOST, SSE)              \
	F(HT,           "ht",           1, 0, EDX, 28, SOFT, FPU)              \
	/* CPUID.1:ECX */                                                      \
	F(SSE3,         "pni",          1, 0, ECX,  0, HOST, SSE2)             \
	F(PCLMULQDQ,    "pclmulqdq",    1, 0, ECX,  1, HOST, SSE2)             \
	F(SSSE3,        "ssse3",        1, 0, ECX,  9, HOST, SSE3)             \
	F(CX16,         "cx16",         1, 0, ECX, 13, HOST, FPU)              \
	F(PCID,         "pcid",         1, 0, ECX, 17, SOFT, FPU)              \
	F(SSE4_1,       "sse4_1",       1, 0, ECX, 19, HOST, SSSE3)            \
	F(SSE4_2,       "sse4_2",       1, 0, ECX, 20, HOST, SSE4_1)           \
	F(X2APIC,       "x2apic",       1, 0, ECX, 21, SOFT, APIC)             \
	F(MOVBE,        "movbe",        1, 0, ECX, 22, HOST, FPU)              \
	F(POPCNT,       "popcnt",       1, 0, ECX, 23, HOST, FPU)              \
	F(TSC_DEADLINE, "tsc_deadline_timer", 1, 0, ECX, 24, SOFT, APIC)       \
	F(AES,          "aes",          1, 0, ECX, 25, HOST, SSE2)             \
	F(XSAVE,        "xsave",        1, 0, ECX, 26, HOST, FXSR)             \
	F(AVX,          "avx",          1, 0, ECX, 28, HOST, XSAVE)            \
	F(FMA,          "fma",          1, 0, ECX, 12, HOST, AVX)              \
	F(F16C,         "f16c",         1, 0, ECX, 29, HOST, AVX)              \
	F(RDRAND,       "rdrand",       1, 0, ECX, 30, HOST, FPU)              \
	F(HYPERVISOR,   "hypervisor",   1, 0, ECX, 31, SOFT, FPU)              \
	/* CPUID.6:EAX */                                                      \
	F(ARAT,         "arat",         6, 0, EAX,  2, SOFT, APIC)             \
	/* CPUID.7.0:EBX */                                                    \
	F(FSGSBASE,     "fsgsbase",     7, 0, EBX,  0, SOFT, FPU)              \
	F(TSC_ADJUST,   "tsc_adjust",   7, 0, EBX,  1, SOFT, TSC)              \
	F(BMI1,         "bmi1",         7, 0, EBX,  3, HOST, FPU)              \
	F(AVX2,         "avx2",         7, 0, EBX,  5, HOST, AVX)              \
	F(SMEP,         "smep",         7, 0, EBX,  7, SOFT, FPU)              \
	F(BMI2,         "bmi2",         7, 0, EBX,  8, HOST, FPU)              \
	F(ERMS,         "erms",         7, 0, EBX,  9, HOST, FPU)              \
	F(INVPCID,      "invpcid",      7, 0, EBX, 10, SOFT, FPU)              \
	F(AVX512F,      "avx512f",      7, 0, EBX, 16, HOST, AVX2)             \
	F(AVX512DQ,     "avx512dq",     7, 0, EBX, 17, HOST, AVX512F)          \
	F(RDSEED,       "rdseed",       7, 0, EBX, 18, HOST, FPU)              \
	F(ADX,          "adx",          7, 0, EBX, 19, HOST, FPU)              \
	F(SMAP,         "smap",         7, 0, EBX, 20, SOFT, FPU)              \
	F(AVX512IFMA,   "avx512ifma",   7, 0, EBX, 21, HOST, AVX512F)          \
	F(CLFLUSHOPT,   "clflushopt",   7, 0, EBX, 23, SOFT, CLFLUSH)          \
	F(CLWB,         "clwb",         7, 0, EBX, 24, SOFT, CLFLUSH)          \
	F(AVX512CD,     "avx512cd",     7, 0, EBX, 28, HOST, AVX512F)          \
	F(SHA_NI,       "sha_ni",       7, 0, EBX, 29, HOST, SSE2)             \
	F(AVX512BW,     "avx512bw",     7, 0, EBX, 30, HOST, AVX512F)          \
	F(AVX512VL,     "avx512vl",     7, 0, EBX, 31, HOST, AVX512F)          \
	/* CPUID.7.0:ECX */                                                    \
	F(AVX512VBMI,   "avx512vbmi",   7, 0, ECX,  1, HOST, AVX512F)          \
	F(UMIP,         "umip",         7, 0, ECX,  2, SOFT, FPU)              \
	F(AVX512VBMI2,  "avx512_vbmi2", 7, 0, ECX,  6, HOST, AVX512F)          \
	F(GFNI,         "gfni",         7, 0, ECX,  8, HOST, SSE2)             \
	F(VAES,         "vaes",         7, 0, ECX,  9, HOST, AVX)              \
	F(VPCLMULQDQ,   "vpclmulqdq",   7, 0, ECX, 10, HOST, AVX)              \
	F(AVX512VNNI,   "avx512_vnni",  7, 0, ECX, 11, HOST, AVX512F)          \
	F(AVX512BITALG, "avx512_bitalg", 7, 0, ECX, 12, HOST, AVX512F)         \
	F(AVX512VPOPCNTDQ, "avx512_vpopcntdq", 7, 0, ECX, 14, HOST, AVX512F)   \
	F(RDPID,        "rdpid",        7, 0, ECX, 22, SOFT, FPU)              \
	/* CPUID.7.0:EDX */                                                    \
	F(FSRM,         "fsrm",         7, 0, EDX,  4, HOST, FPU)              \
	F(AVX512VP2INTERSECT, "avx512_vp2intersect", 7, 0, EDX, 8, HOST, AVX512F) \
	F(SPEC_CTRL,    "spec_ctrl",    7, 0, EDX, 26, INTEL, FPU)             \
	F(ARCH_CAPS,    "arch_capabilities", 7, 0, EDX, 29, INTEL, FPU)        \
	/* CPUID.7.1:EAX */                                                    \
	F(AVX_VNNI,     "avx_vnni",     7, 1, EAX,  4, HOST, AVX2)             \
	F(AVX512BF16,   "avx512_bf16",  7, 1, EAX,  5, HOST, AVX512F)          \
	/* CPUID.7.2:EDX */                                                    \
	F(BHI_CTRL,     "bhi_ctrl",     7, 2, EDX,  4, INTEL, SPEC_CTRL)       \
	/* CPUID.D.1:EAX. XSAVEC and XSAVES are not offered (rule 8 of the XSAVE family). */ \
	F(XSAVEOPT,     "xsaveopt",     0xd, 1, EAX, 0, HOST, XSAVE)           \
	F(XGETBV1,      "xgetbv1",      0xd, 1, EAX, 2, HOST, XSAVE)           \
	/* CPUID.80000001:EDX */                                               \
	F(SYSCALL,      "syscall",      0x80000001, 0, EDX, 11, SOFT, FPU)     \
	F(NX,           "nx",           0x80000001, 0, EDX, 20, SOFT, PAE)     \
	F(MMXEXT,       "mmxext",       0x80000001, 0, EDX, 22, HOST_AMD, MMX) \
	F(FXSR_OPT,     "fxsr_opt",     0x80000001, 0, EDX, 25, HOST_AMD, FXSR) \
	F(PDPE1GB,      "pdpe1gb",      0x80000001, 0, EDX, 26, SOFT, PAE)     \
	F(RDTSCP,       "rdtscp",       0x80000001, 0, EDX, 27, SOFT, TSC)     \
	F(LM,           "lm",           0x80000001, 0, EDX, 29, SOFT, PAE)     \
	/* CPUID.80000001:ECX */                                               \
	F(LAHF_LM,      "lahf_lm",      0x80000001, 0, ECX,  0, HOST, LM)      \
	F(CMP_LEGACY,   "cmp_legacy",   0x80000001, 0, ECX,  1, AMD, HT)       \
	F(CR8_LEGACY,   "cr8_legacy",   0x80000001, 0, ECX,  4, AMD, FPU)      \
	F(ABM,          "abm",          0x80000001, 0, ECX,  5, HOST, FPU)     \
	F(SSE4A,        "sse4a",        0x80000001, 0, ECX,  6, HOST_AMD, SSE3) \
	F(MISALIGNSSE,  "misalignsse",  0x80000001, 0, ECX,  7, HOST_AMD, SSE) \
	F(PREFETCHW,    "3dnowprefetch", 0x80000001, 0, ECX, 8, HOST, FPU)     \
	F(TOPOEXT,      "topoext",      0x80000001, 0, ECX, 22, AMD, HT)       \
	/* CPUID.80000007:EDX */                                               \
	F(NONSTOP_TSC,  "nonstop_tsc",  0x80000007, 0, EDX,  8, HOST, TSC)     \
	/* CPUID.80000008:EBX */                                               \
	F(XSAVEERPTR,   "xsaveerptr",   0x80000008, 0, EBX,  2, HOST_AMD, FXSR) \
	F(AMD_SSB_NO,   "ssb_no",       0x80000008, 0, EBX, 26, AMD, FPU)      \
	F(BTC_NO,       "btc_no",       0x80000008, 0, EBX, 29, AMD, FPU)      \
	/* CPUID.80000021:EAX and ECX */                                       \
	F(LFENCE_RDTSC, "lfence_rdtsc", 0x80000021, 0, EAX,  2, HOST_AMD, SSE2) \
	F(NULL_SEL_CLR, "null_sel_clr_base", 0x80000021, 0, EAX, 6, AMD, FPU)  \
	F(AUTOIBRS,     "autoibrs",     0x80000021, 0, EAX,  8, AMD, FPU)      \
	F(SRSO_NO,      "srso_no",      0x80000021, 0, EAX, 29, AMD, FPU)      \
	F(TSA_SQ_NO,    "tsa_sq_no",    0x80000021, 0, ECX,  1, AMD, FPU)      \
	F(TSA_L1_NO,    "tsa_l1_no",    0x80000021, 0, ECX,  2, AMD, FPU)      \
	/* The paravirtual leaves, 0x40000001:EAX */                           \
	F(KVMCLOCK_OLD, "kvmclock_old", 0x40000001, 0, EAX,  0, SOFT, NONSTOP_TSC) \
	F(KVM_NOP_IO,   "kvm_nopiodelay", 0x40000001, 0, EAX, 1, SOFT, FPU)    \
	F(KVMCLOCK,     "kvmclock",     0x40000001, 0, EAX,  3, SOFT, NONSTOP_TSC) \
	F(KVMCLOCK_STABLE, "kvmclock_stable", 0x40000001, 0, EAX, 24, SOFT, KVMCLOCK)
/* clang-format on */

#define CPU_FEATURE_ID(id, ...) FEAT_##id,
enum cpu_feature { CPU_FEATURES(CPU_FEATURE_ID) FEATURE_COUNT };
#undef CPU_FEATURE_ID
#define FEATURE_WORDS ((FEATURE_COUNT + 63) / 64)

#endif
