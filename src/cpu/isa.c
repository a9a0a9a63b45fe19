/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which CPUID bit offers which instructions. An instruction set without a line here is hidden, so
 * a set that a newer decoder knows and this table does not stays #UD.
 */
#include "cpu/run.h"
#include "cpu/x86/decode.h"

#include <string.h>

enum reg { EAX, EBX, ECX, EDX };

struct isa_bit {
	u8 isa;
	u32 leaf;
	u8 subleaf;
	u8 reg;
	u8 bit;
};

#define BASE 0xffffffff /* every 64-bit processor has it */
#define ISA(name, leaf, sub, reg, bit)                    \
	{                                                 \
		ZYDIS_ISA_SET_##name, leaf, sub, reg, bit \
	}
#define VL(name, leaf, sub, reg, bit)                                               \
	ISA(name##_128, leaf, sub, reg, bit), ISA(name##_256, leaf, sub, reg, bit), \
		ISA(name##_512, leaf, sub, reg, bit)

static const struct isa_bit bits[] = {
	ISA(I86, BASE, 0, 0, 0),
	ISA(I186, BASE, 0, 0, 0),
	ISA(I386, BASE, 0, 0, 0),
	ISA(I486, BASE, 0, 0, 0),
	ISA(I486REAL, BASE, 0, 0, 0),
	ISA(I286PROTECTED, BASE, 0, 0, 0),
	ISA(I286REAL, BASE, 0, 0, 0),
	ISA(PENTIUMREAL, BASE, 0, 0, 0),
	ISA(PPRO, BASE, 0, 0, 0),
	ISA(FAT_NOP, BASE, 0, 0, 0),
	ISA(LONGMODE, 0x80000001, 0, EDX, 29),
	ISA(LAHF, 0x80000001, 0, ECX, 0),
	ISA(CMOV, 1, 0, EDX, 15),
	ISA(PAUSE, BASE, 0, 0, 0),
	ISA(PREFETCH_NOP, BASE, 0, 0, 0),
	ISA(RDPMC, BASE, 0, 0, 0),
	/* of these only the hypercalls have rows, and a KVM guest may use either */
	ISA(VTX, BASE, 0, 0, 0),
	ISA(SVM, BASE, 0, 0, 0),
	ISA(X87, 1, 0, EDX, 0),
	ISA(FCMOV, 1, 0, EDX, 15),
	ISA(PENTIUMMMX, 1, 0, EDX, 23),
	ISA(SSE, 1, 0, EDX, 25),
	ISA(SSEMXCSR, 1, 0, EDX, 25),
	ISA(SSE_PREFETCH, 1, 0, EDX, 25),
	ISA(SSE2, 1, 0, EDX, 26),
	ISA(SSE2MMX, 1, 0, EDX, 26),
	ISA(FXSAVE, 1, 0, EDX, 24),
	ISA(FXSAVE64, 1, 0, EDX, 24),
	ISA(CLFSH, 1, 0, EDX, 19),
	ISA(SSE3, 1, 0, ECX, 0),
	ISA(SSE3X87, 1, 0, ECX, 0),
	ISA(PCLMULQDQ, 1, 0, ECX, 1),
	ISA(SSSE3, 1, 0, ECX, 9),
	ISA(SSSE3MMX, 1, 0, ECX, 9),
	ISA(FMA, 1, 0, ECX, 12),
	ISA(CMPXCHG16B, 1, 0, ECX, 13),
	ISA(SSE4, 1, 0, ECX, 19),
	ISA(SSE42, 1, 0, ECX, 20),
	ISA(MOVBE, 1, 0, ECX, 22),
	ISA(POPCNT, 1, 0, ECX, 23),
	ISA(AES, 1, 0, ECX, 25),
	ISA(XSAVE, 1, 0, ECX, 26),
	ISA(AVX, 1, 0, ECX, 28),
	ISA(AVXAES, 1, 0, ECX, 25),
	ISA(F16C, 1, 0, ECX, 29),
	ISA(RDRAND, 1, 0, ECX, 30),
	ISA(XSAVEOPT, 0xd, 1, EAX, 0),
	ISA(XSAVEC, 0xd, 1, EAX, 1),
	ISA(RDWRFSGS, 7, 0, EBX, 0),
	ISA(BMI1, 7, 0, EBX, 3),
	ISA(AVX2, 7, 0, EBX, 5),
	ISA(AVX2GATHER, 7, 0, EBX, 5),
	ISA(BMI2, 7, 0, EBX, 8),
	ISA(INVPCID, 7, 0, EBX, 10),
	ISA(RDSEED, 7, 0, EBX, 18),
	ISA(ADOX_ADCX, 7, 0, EBX, 19),
	ISA(SMAP, 7, 0, EBX, 20),
	ISA(CLFLUSHOPT, 7, 0, EBX, 23),
	ISA(CLWB, 7, 0, EBX, 24),
	ISA(SHA, 7, 0, EBX, 29),
	ISA(GFNI, 7, 0, ECX, 8),
	ISA(AVX_GFNI, 7, 0, ECX, 8),
	ISA(VAES, 7, 0, ECX, 9),
	ISA(VPCLMULQDQ, 7, 0, ECX, 10),
	ISA(RDPID, 7, 0, ECX, 22),
	ISA(MOVDIR, 7, 0, ECX, 27),
	ISA(AVX_VNNI, 7, 1, EAX, 4),
	ISA(RDTSCP, 0x80000001, 0, EDX, 27),
	ISA(LZCNT, 0x80000001, 0, ECX, 5),
	ISA(SSE4A, 0x80000001, 0, ECX, 6),
	ISA(AMD, 0x80000001, 0, ECX, 8),
	/* AVX-512 */
	VL(AVX512F, 7, 0, EBX, 16),
	ISA(AVX512F_128N, 7, 0, EBX, 16),
	ISA(AVX512F_KOP, 7, 0, EBX, 16),
	ISA(AVX512F_SCALAR, 7, 0, EBX, 16),
	VL(AVX512DQ, 7, 0, EBX, 17),
	ISA(AVX512DQ_128N, 7, 0, EBX, 17),
	ISA(AVX512DQ_KOP, 7, 0, EBX, 17),
	ISA(AVX512DQ_SCALAR, 7, 0, EBX, 17),
	VL(AVX512_IFMA, 7, 0, EBX, 21),
	VL(AVX512CD, 7, 0, EBX, 28),
	VL(AVX512BW, 7, 0, EBX, 30),
	ISA(AVX512BW_128N, 7, 0, EBX, 30),
	ISA(AVX512BW_KOP, 7, 0, EBX, 30),
	VL(AVX512_VBMI, 7, 0, ECX, 1),
	VL(AVX512_VBMI2, 7, 0, ECX, 6),
	VL(AVX512_GFNI, 7, 0, ECX, 8),
	VL(AVX512_VAES, 7, 0, ECX, 9),
	VL(AVX512_VPCLMULQDQ, 7, 0, ECX, 10),
	VL(AVX512_VNNI, 7, 0, ECX, 11),
	VL(AVX512_BITALG, 7, 0, ECX, 12),
	VL(AVX512_VPOPCNTDQ, 7, 0, ECX, 14),
	VL(AVX512_VP2INTERSECT, 7, 0, EDX, 8),
	VL(AVX512_BF16, 7, 1, EAX, 5),
};

static bool has_bit(const struct cpu_vm *vm, const struct isa_bit *b)
{
	for (size_t i = 0; i < vm->cpuid_count; i++) {
		const struct cpu_cpuid *c = &vm->cpuid[i];
		const u32 regs[] = { c->eax, c->ebx, c->ecx, c->edx };

		if (c->leaf == b->leaf && (!c->has_subleaf || c->subleaf == b->subleaf))
			return regs[b->reg] >> b->bit & 1;
	}
	return false;
}

/* 128- and 256-bit EVEX forms need AVX512VL as well. */
static bool needs_vl(unsigned isa)
{
	const char *name = ZydisISASetGetString(isa);
	size_t n = strlen(name);

	return !strncmp(name, "AVX512", 6) && n > 4 &&
	       (!strcmp(name + n - 4, "_128") || !strcmp(name + n - 4, "_256"));
}

void cpuid_apply_contract(const struct cpu_vm *vm, struct insn_contract *contract)
{
	static const struct isa_bit vl = { 0, 7, 0, EBX, 31 };
	bool have_vl = has_bit(vm, &vl);
	bool offered[ZYDIS_ISA_SET_MAX_VALUE + 1] = { false };

	for (size_t i = 0; i < ARRAY_LEN(bits); i++)
		offered[bits[i].isa] = (bits[i].leaf == BASE || has_bit(vm, &bits[i])) &&
				       (have_vl || !needs_vl(bits[i].isa));
	for (unsigned i = 0; i <= ZYDIS_ISA_SET_MAX_VALUE; i++)
		if (!offered[i])
			insn_contract_hide(contract, i);
}
