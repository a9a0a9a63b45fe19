/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every feature bit, offered and not: a hidden feature's CPUID bit is clear and its instructions
 * are #UD; an offered one's run. A hidden LZCNT or TZCNT is the bit scan it was before.
 */
#include "machine.h"

#include "cpu/vcpu.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

struct sample {
	const char *feature;
	const char *hex; /* one instruction on registers, or on [rdi] */
	bool same;       /* means something else where hidden, instead of #UD */
};

static const struct sample samples[] = {
	{ "mmx", "0ffcc1", false },        /* paddb mm0, mm1 */
	{ "sse", "0f58c1", false },        /* addps */
	{ "sse2", "660f58c1", false },     /* addpd */
	{ "pni", "660fd0c1", false },      /* addsubpd */
	{ "ssse3", "660f3800c1", false },  /* pshufb */
	{ "sse4_1", "660f3840c1", false }, /* pmulld */
	{ "sse4_2", "660f3837c1", false }, /* pcmpgtq */
	{ "pclmulqdq", "660f3a44c100", false },
	{ "aes", "660f38dcc1", false }, /* aesenc */
	{ "popcnt", "f30fb8c1", false },
	{ "movbe", "0f38f007", false },
	{ "cx16", "480fc70f", false }, /* cmpxchg16b [rdi] */
	{ "cmov", "0f44c1", false },
	{ "rdrand", "0fc7f0", false },
	{ "rdseed", "0fc7f8", false },
	{ "avx", "c5f458c1", false },      /* vaddps ymm */
	{ "avx2", "c5f5fec1", false },     /* vpaddd ymm */
	{ "fma", "c4e27598c1", false },    /* vfmadd132ps ymm */
	{ "f16c", "c4e27913c1", false },   /* vcvtph2ps */
	{ "bmi1", "c4e270f2c1", false },   /* andn */
	{ "bmi1", "f30fbcc1", true },      /* tzcnt, or bsf */
	{ "bmi2", "c4e37bf0c101", false }, /* rorx */
	{ "abm", "f30fbdc1", true },       /* lzcnt, or bsr */
	{ "adx", "660f38f6c1", false },    /* adcx */
	{ "sha_ni", "0f38c8c1", false },   /* sha1nexte */
	{ "gfni", "660f38cfc1", false },   /* gf2p8mulb */
	{ "vaes", "c4e275dcc1", false },   /* vaesenc ymm */
	{ "vpclmulqdq", "c4e37544c100", false },
	{ "avx_vnni", "c4e27550c1", false },     /* vpdpbusd ymm */
	{ "avx512f", "62f1744858c1", false },    /* vaddps zmm */
	{ "avx512dq", "62f1f54854c1", false },   /* vandpd zmm */
	{ "avx512bw", "62f17548fcc1", false },   /* vpaddb zmm */
	{ "avx512vl", "62f1742858c1", false },   /* vaddps ymm, EVEX */
	{ "avx512cd", "62f27d48c4c1", false },   /* vpconflictd */
	{ "avx512vbmi", "62f275488dc1", false }, /* vpermb */
	{ "avx512_vnni", "62f2754850c1", false },
	{ "avx512_bitalg", "62f27d4854c1", false },
	{ "avx512_vpopcntdq", "62f27d4855c1", false },
	{ "fsgsbase", "f3480faec0", false }, /* rdfsbase rax */
	{ "rdtscp", "0f01f9", false },
	{ "rdpid", "f3480fc7f8", false },
	{ "clflushopt", "660fae3f", false },
	{ "clwb", "660fae37", false },
	{ "xgetbv1", "0f01d0", true }, /* xgetbv, ECX 0 */
	{ "syscall", "", true },
};

static const char *const names[] = {
#define NAME(id, name, ...) name,
	CPU_FEATURES(NAME)
#undef NAME
};

static unsigned parse(const char *hex, u8 *bytes)
{
	unsigned n = 0, v;

	for (; hex[0]; hex += 2, n++) {
		g_assert_cmpint(sscanf(hex, "%2x", &v), ==, 1);
		bytes[n] = v;
	}
	bytes[n] = 0xcc;
	return n;
}

/* The vector the sample ends with; -1: it ran. */
static int run(struct machine *m, const struct sample *sample)
{
	struct x86_state s = m->state;
	u8 code[32];
	unsigned n = parse(sample->hex, code);

	memcpy(m->code, code, n + 1);
	cpu_vm_memory_written(m->vm, machine_gpa(m, m->code), n + 1);
	s.rip = CODE_GVA;
	s.gpr[RDI] = DATA_GVA;
	s.gpr[RSP] = DATA_GVA + PAGE_SIZE;
	s.cr4 |= CR4_FSGSBASE;
	if (m->vm->xcr0_mask)
		s.xcr0 = m->vm->xcr0_mask;
	else
		s.cr4 &= ~CR4_OSXSAVE;
	return machine_run(m, &s);
}

static bool offered(struct machine *m, const char *name)
{
	for (unsigned i = 0; i < FEATURE_COUNT; i++)
		if (!strcmp(names[i], name))
			return vm_has(m->vm, i);
	g_error("no feature %s", name);
}

static void test_offered(void)
{
	static struct machine m;

	machine_init(&m, false);
	for (unsigned i = 0; i < ARRAY_LEN(samples); i++) {
		const struct sample *s = &samples[i];

		if (!offered(&m, s->feature)) {
			g_test_message("%s: not on this host", s->feature);
			continue;
		}
		if (run(&m, s) != -1)
			g_error("%s offered: %s faults", s->feature, s->hex);
	}
	machine_free(&m);
}

static void test_hidden(void)
{
	static struct machine m;

	for (unsigned i = 0; i < ARRAY_LEN(samples); i++) {
		const struct sample *s = &samples[i];
		const char *const off[] = { s->feature, NULL };
		int want = s->same ? -1 : VEC_UD, got;

		machine_init_without(&m, off);
		g_assert_false(offered(&m, s->feature));
		got = run(&m, s);
		if (got != want)
			g_error("%s hidden: %s gives %d, not %d", s->feature, s->hex, got, want);
		machine_free(&m);
	}
}

/* Every bit of the list, with or without instructions of its own. */
static void test_bits(void)
{
	for (unsigned i = 0; i < FEATURE_COUNT; i++) {
		const char *const off[] = { names[i], NULL };
		static struct machine m;

		if (!strcmp(names[i], "fpu") || !strcmp(names[i], "lm") || !strcmp(names[i], "pae"))
			continue; /* the box itself runs in long mode */
		machine_init_without(&m, off);
		g_assert_false(vm_has(m.vm, i));
		machine_free(&m);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/features/offered", test_offered);
	g_test_add_func("/features/hidden", test_hidden);
	g_test_add_func("/features/bits", test_bits);
	return g_test_run();
}
