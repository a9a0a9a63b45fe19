/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's x87, SSE, AVX and AVX-512 state: in the host's registers while translated code runs,
 * in cpu->xsave (standard XSAVE format) otherwise; and the instructions that save and restore it.
 *
 * The FXSAVE and XSAVE families never run natively on guest memory. XSAVEOPT would remember the
 * host address it last wrote and skip components a guest then misses; and all of them would store
 * the host's instruction and data pointers, which belong to our code cache. Those fields read as
 * zero to the guest, as on a processor without a pending x87 exception.
 *
 * Hot. References: SDM vol. 1 chapter 13, APM vol. 2 section 11.5.
 */
#include "cpu/bytes.h"
#include "cpu/helper.h"

#include <Zydis/Zydis.h>

#define LEGACY_BYTES 512
#define HEADER_BYTES 64
#define XSTATE_BV    512
#define XCOMP_BV     520

#define MXCSR_DEFAULT 0x1f80
#define FCW_DEFAULT   0x37f

/* ---- the boundary between guest and host
 * ---------------------------------------------------------- */

void fpu_enter(struct cpu *cpu)
{
	u64 mask = cpu->vm->xcr0_mask;

	if (mask)
		__asm__ volatile("xrstor64 %0"
				 :
				 : "m"(cpu->xsave), "a"((u32)mask), "d"((u32)(mask >> 32)));
	else
		__asm__ volatile("fxrstor64 %0" : : "m"(cpu->xsave));
	cpu->fpu_loaded = 1;
}

/* The state in the registers to cpu->xsave as well. */
static void fpu_save(struct cpu *cpu)
{
	u64 mask = cpu->vm->xcr0_mask;

	if (!cpu->fpu_loaded)
		return;
	if (mask)
		__asm__ volatile("xsave64 %0"
				 : "+m"(cpu->xsave)
				 : "a"((u32)mask), "d"((u32)(mask >> 32)));
	else
		__asm__ volatile("fxsave64 %0" : "=m"(cpu->xsave));
}

void fpu_leave(struct cpu *cpu)
{
	static const u32 mxcsr = MXCSR_DEFAULT;

	if (!cpu->fpu_loaded)
		return;
	fpu_save(cpu);
	__asm__ volatile("fninit\n\tldmxcsr %0" : : "m"(mxcsr));
	cpu->fpu_loaded = 0;
}

/* ---- instructions
 * ----------------------------------------------------------------------------------- */

/* #UD and #NM of the whole family, APM vol. 4. False: the fault is pending. */
static bool available(struct cpu *cpu, bool xsave)
{
	if (xsave && !(cpu->cr4 & CR4_OSXSAVE)) {
		fault(cpu, VEC_UD);
		return false;
	}
	if (!xsave && cpu->cr0 & CR0_EM) {
		fault(cpu, cpu->cr0 & CR0_EM ? VEC_NM : VEC_UD);
		return false;
	}
	if (cpu->cr0 & CR0_TS) {
		fault(cpu, VEC_NM);
		return false;
	}
	return true;
}

static bool aligned(struct cpu *cpu, gva_t gva, unsigned align)
{
	if (!(gva & (align - 1)))
		return true;
	fault_error(cpu, VEC_GP, 0);
	return false;
}

/* Instruction and data pointers of the last x87 instruction: ours, not the guest's. */
static void hide_pointers(u8 *area)
{
	clear_bytes(area + 6, 18);
}

static u32 load32(const u8 *p)
{
	return *(const u32 *)p;
}
static u64 load64(const u8 *p)
{
	return *(const u64 *)p;
}

static unsigned xmm_bytes(const struct cpu *cpu)
{
	return cpu_64bit(cpu) ? 256 : 128;
}

static bool fxsave(struct cpu *cpu, gva_t gva)
{
	u8 *area = cpu->fpu_area;
	unsigned bytes = 160 + xmm_bytes(cpu);
	bool sse = cpu->cr4 & CR4_OSFXSR;

	/* AMD's FFXSR: at CPL 0 in 64-bit mode the XMM registers stay out */
	if (cpu->efer & EFER_FFXSR && cpu->cpl == 0 && cpu_64bit(cpu))
		sse = false;
	if (!mem_probe(cpu, gva, LEGACY_BYTES, ACCESS_W))
		return false;
	fpu_leave(cpu);
	copy_bytes(area, cpu->xsave, LEGACY_BYTES);
	if (cpu->vm->xcr0_mask && !(load64(cpu->xsave + XSTATE_BV) & 1)) {
		clear_bytes(area, 24);
		clear_bytes(area + 32, 128);
		*(u16 *)area = FCW_DEFAULT;
	}
	if (cpu->vm->xcr0_mask && !(load64(cpu->xsave + XSTATE_BV) & 2))
		clear_bytes(area + 160, 256);
	hide_pointers(area);
	*(u32 *)(area + 24) = load32(cpu->xsave + 24);
	*(u32 *)(area + 28) = cpu->vm->mxcsr_mask;
	return mem_write(cpu, gva, area, sse ? bytes : 160, ACCESS_W);
}

static bool mxcsr_valid(struct cpu *cpu, u32 mxcsr)
{
	if (!(mxcsr & ~cpu->vm->mxcsr_mask))
		return true;
	fault_error(cpu, VEC_GP, 0);
	return false;
}

static bool fxrstor(struct cpu *cpu, gva_t gva)
{
	u8 *area = cpu->fpu_area;
	bool sse = cpu->cr4 & CR4_OSFXSR;

	if (cpu->efer & EFER_FFXSR && cpu->cpl == 0 && cpu_64bit(cpu))
		sse = false;
	if (!mem_read(cpu, gva, area, LEGACY_BYTES, ACCESS_R) ||
	    !mxcsr_valid(cpu, load32(area + 24)))
		return false;
	fpu_leave(cpu);
	hide_pointers(area);
	copy_bytes(cpu->xsave, area, 24);
	copy_bytes(cpu->xsave + 32, area + 32, 128);
	*(u32 *)(cpu->xsave + 24) = load32(area + 24);
	if (sse) {
		/* a component in its initial state has stale bytes in our image */
		if (!(load64(cpu->xsave + XSTATE_BV) & 2))
			clear_bytes(cpu->xsave + 160, 256);
		copy_bytes(cpu->xsave + 160, area + 160, xmm_bytes(cpu));
	}
	*(u64 *)(cpu->xsave + XSTATE_BV) |= sse ? 3 : 1;
	return true;
}

static u64 requested(const struct cpu *cpu)
{
	return (u32)cpu->gpr[RAX] | cpu->gpr[RDX] << 32;
}

/* Standard format: offset and size of extended component @i. */
static bool component(const struct cpu *cpu, unsigned i, u32 *offset, u32 *bytes)
{
	for (size_t k = 0; k < cpu->vm->cpuid_count; k++) {
		const struct cpu_cpuid *c = &cpu->vm->cpuid[k];

		if (c->leaf == 0xd && c->subleaf == i && i >= 2) {
			*bytes = c->eax;
			*offset = c->ebx;
			return true;
		}
	}
	return false;
}

/* What a kernel saves at a switch: to plain memory of one page, with no way to a device or a fault
 * between, so the state may stay in the registers. False: not so, nothing is done. */
static bool xsave_plain(struct cpu *cpu, gva_t gva, u64 rfbm)
{
	const u64 plain = 7; /* x87, SSE, AVX */
	u32 offset = LEGACY_BYTES, bytes = HEADER_BYTES;
	struct mem_ref ref;
	u8 *x = cpu->xsave;
	u64 in_use;

	if ((rfbm & 3) != 3 || rfbm & ~plain || !cpu_64bit(cpu) ||
	    (rfbm & 4 && !component(cpu, 2, &offset, &bytes)) ||
	    (gva & ~PAGE_MASK) + offset + bytes > PAGE_SIZE ||
	    !mem_ref(cpu, gva, offset + bytes, ACCESS_W, &ref) || !ref.host)
		return false;
	fpu_save(cpu);
	in_use = load64(x + XSTATE_BV);
	if (in_use & 1) {
		*(u64 *)ref.host = load64(x);
		copy_bytes(ref.host + 32, x + 32, 128);
	} else {
		*(u64 *)ref.host = FCW_DEFAULT;
		clear_bytes(ref.host + 32, 128);
	}
	*(u64 *)(ref.host + 8) = *(u64 *)(ref.host + 16) = 0; /* hide_pointers() */
	*(u32 *)(ref.host + 24) = load32(x + 24);
	*(u32 *)(ref.host + 28) = cpu->vm->mxcsr_mask;
	if (in_use & 2)
		copy_bytes(ref.host + 160, x + 160, 256);
	else
		clear_bytes(ref.host + 160, 256);
	if (rfbm & 4 && in_use & 4)
		copy_bytes(ref.host + offset, x + offset, bytes);
	else if (rfbm & 4)
		clear_bytes(ref.host + offset, bytes);
	*(u64 *)(ref.host + XSTATE_BV) = (load64(ref.host + XSTATE_BV) & ~rfbm) | (in_use & rfbm);
	mem_ref_written(cpu, &ref, 0, offset + bytes);
	return true;
}

static bool xsave(struct cpu *cpu, gva_t gva)
{
	u64 rfbm = requested(cpu) & cpu->xcr0;
	u64 in_use, header;
	u32 offset, bytes;
	u8 *x = cpu->xsave;

	if (!aligned(cpu, gva, 64))
		return false;
	if (xsave_plain(cpu, gva, rfbm))
		return true;
	if (cpu->fault_pending)
		return false;
	for (unsigned i = 2; i < 63; i++)
		if (rfbm >> i & 1 && component(cpu, i, &offset, &bytes) &&
		    !mem_probe(cpu, gva + offset, bytes, ACCESS_W))
			return false;
	if (!mem_probe(cpu, gva, LEGACY_BYTES + HEADER_BYTES, ACCESS_W) ||
	    !mem_read(cpu, gva + XSTATE_BV, &header, 8, ACCESS_R))
		return false;
	fpu_leave(cpu);
	in_use = load64(x + XSTATE_BV);
	if (!(in_use & 1)) {
		clear_bytes(x, 24);
		clear_bytes(x + 32, 128);
		*(u16 *)x = FCW_DEFAULT;
	}
	if (!(in_use & 2))
		clear_bytes(x + 160, 256);
	hide_pointers(x);
	if (rfbm & 1 && (!mem_write(cpu, gva, x, 24, ACCESS_W) ||
			 !mem_write(cpu, gva + 32, x + 32, 128, ACCESS_W)))
		return false;
	if (rfbm & 6) {
		u32 csr[2] = { load32(x + 24), cpu->vm->mxcsr_mask };

		if (!mem_write(cpu, gva + 24, csr, 8, ACCESS_W))
			return false;
	}
	if (rfbm & 2 && !mem_write(cpu, gva + 160, x + 160, xmm_bytes(cpu), ACCESS_W))
		return false;
	for (unsigned i = 2; i < 63; i++) {
		if (!(rfbm >> i & 1) || !component(cpu, i, &offset, &bytes))
			continue;
		if (!(in_use >> i & 1))
			clear_bytes(x + offset, bytes);
		if (!mem_write(cpu, gva + offset, x + offset, bytes, ACCESS_W))
			return false;
	}
	header = (header & ~rfbm) | (in_use & rfbm);
	return mem_write(cpu, gva + XSTATE_BV, &header, 8, ACCESS_W);
}

static bool header_valid(struct cpu *cpu, const u8 *area)
{
	u64 sum = load64(area + XSTATE_BV) & ~cpu->xcr0;

	for (unsigned i = XCOMP_BV; i < XCOMP_BV + 56; i += 8)
		sum |= i == XCOMP_BV || i < XCOMP_BV + 16 ? load64(area + i) : 0;
	if (!sum)
		return true;
	fault_error(cpu, VEC_GP, 0);
	return false;
}

static bool xrstor(struct cpu *cpu, gva_t gva)
{
	u64 rfbm = requested(cpu) & cpu->xcr0;
	u8 *area = cpu->fpu_area, *x = cpu->xsave;
	u32 offset, bytes;
	u64 bv;

	if (!aligned(cpu, gva, 64) ||
	    !mem_read(cpu, gva, area, LEGACY_BYTES + HEADER_BYTES, ACCESS_R) ||
	    !header_valid(cpu, area))
		return false;
	bv = load64(area + XSTATE_BV);
	for (unsigned i = 2; i < 63; i++)
		if (rfbm & bv & BIT(i) && component(cpu, i, &offset, &bytes) &&
		    !mem_read(cpu, gva + offset, area + offset, bytes, ACCESS_R))
			return false;
	if (rfbm & 6 && !mxcsr_valid(cpu, load32(area + 24)))
		return false;
	if (rfbm != cpu->vm->xcr0_mask || !cpu_64bit(cpu)) /* else nothing of it is left */
		fpu_leave(cpu);
	hide_pointers(area);
	if (rfbm & bv & 1) {
		copy_bytes(x, area, 24);
		copy_bytes(x + 32, area + 32, 128);
	}
	if (rfbm & 6)
		*(u32 *)(x + 24) = load32(area + 24);
	if (rfbm & bv & 2) {
		if (!(load64(x + XSTATE_BV) & 2))
			clear_bytes(x + 160, 256);
		copy_bytes(x + 160, area + 160, xmm_bytes(cpu));
	}
	for (unsigned i = 2; i < 63; i++)
		if (rfbm & bv & BIT(i) && component(cpu, i, &offset, &bytes))
			copy_bytes(x + offset, area + offset, bytes);
	*(u64 *)(x + XSTATE_BV) = (load64(x + XSTATE_BV) & ~rfbm) | (bv & rfbm);
	if (cpu->fpu_loaded)
		fpu_enter(cpu);
	return true;
}

static bool xgetbv(struct cpu *cpu)
{
	u64 value;

	if (!(cpu->cr4 & CR4_OSXSAVE)) {
		fault(cpu, VEC_UD);
		return false;
	}
	switch ((u32)cpu->gpr[RCX]) {
	case 0: value = cpu->xcr0; break;
	case 1:
		if (vm_has(cpu->vm, FEAT_XGETBV1)) {
			fpu_leave(cpu);
			value = load64(cpu->xsave + XSTATE_BV) & cpu->xcr0;
			break;
		}
		/* fall through */
	default: fault_error(cpu, VEC_GP, 0); return false;
	}
	cpu->gpr[RAX] = (u32)value;
	cpu->gpr[RDX] = value >> 32;
	return true;
}

/* APM vol. 4 XSETBV: x87 always on, AVX needs SSE, AVX-512 needs AVX and comes whole. */
static bool xsetbv(struct cpu *cpu)
{
	u64 v = (u32)cpu->gpr[RAX] | cpu->gpr[RDX] << 32;

	if (!(cpu->cr4 & CR4_OSXSAVE)) {
		fault(cpu, VEC_UD);
		return false;
	}
	if (cpu->cpl || (u32)cpu->gpr[RCX] || !(v & 1) || v & ~cpu->vm->xcr0_mask || (v & 6) == 4 ||
	    (v & 0xe0 && (v & 0xe6) != 0xe6)) {
		fault_error(cpu, VEC_GP, 0);
		return false;
	}
	cpu->xcr0 = v;
	cpu_update_ctx(cpu);
	code_jumps_flush(cpu);
	return true;
}

enum helper_result fpu_execute(struct cpu *cpu, const struct insn *insn)
{
	bool ok;
	gva_t gva;

	if (insn->mnemonic == ZYDIS_MNEMONIC_XGETBV)
		return xgetbv(cpu) ? HELPER_NEXT : HELPER_FAULT;
	if (insn->mnemonic == ZYDIS_MNEMONIC_XSETBV)
		return xsetbv(cpu) ? HELPER_NEXT : HELPER_FAULT;
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
		ok = available(cpu, false) && insn_linear(cpu, insn, LEGACY_BYTES, MEM_R, &gva) &&
		     aligned(cpu, gva, 16);
		break;
	default:
		ok = available(cpu, true) &&
		     insn_linear(cpu, insn, LEGACY_BYTES + HEADER_BYTES, MEM_R, &gva);
	}
	if (!ok)
		return HELPER_FAULT;
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64: ok = fxsave(cpu, gva); break;
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64: ok = fxrstor(cpu, gva); break;
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XSAVEOPT:
	case ZYDIS_MNEMONIC_XSAVEOPT64: ok = xsave(cpu, gva); break;
	case ZYDIS_MNEMONIC_XRSTOR:
	case ZYDIS_MNEMONIC_XRSTOR64: ok = xrstor(cpu, gva); break;
	default: fault(cpu, VEC_UD); ok = false;
	}
	return ok ? HELPER_NEXT : HELPER_FAULT;
}
