/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control and debug registers: what decides the mode, and what each change makes stale. EFER is in
 * msr.c, XCR0 in fpu.c. Hot.
 *
 *   CR0.PG, PE, WP      everything in the TLB
 *   CR3                 what is not global, unless it is kept for its PCID (tlb_kept.c)
 *   CR4.PGE PAE PSE SMEP SMAP PCIDE, EFER.NXE   everything
 *   CR4.OSFXSR OSXSAVE, CR0.EM TS MP, XCR0, CPL, EFLAGS.AC TF, segments   the context only
 *
 * SDM vol. 3 sections 2.5, 4.1 and 9.8; APM vol. 2 chapter 3. Breakpoint addresses in DR0 to DR3
 * are kept but do not fire (deviation).
 */
#include "cpu/helper.h"

/* ---- context --------------------------------------------------------------------------------- */

/* A segment that the translator may treat as the whole address space. */
static bool is_flat(const struct x86_segment *s, bool stack_or_data)
{
	u16 want = SEG_ATTR_P | SEG_ATTR_S | (stack_or_data ? 2 : 8);
	u16 mask = SEG_ATTR_P | SEG_ATTR_S | 8 | (stack_or_data ? 2 | 4 : 0);

	return s->base == 0 && s->limit == 0xffffffff && (s->attr & mask) == want;
}

static u32 fpu_ctx(const struct cpu *cpu)
{
	bool ts = cpu->cr0 & CR0_TS, em = cpu->cr0 & CR0_EM;
	bool avx = (cpu->cr4 & CR4_OSXSAVE) && (cpu->xcr0 & 6) == 6;
	u32 ctx = 0;

	if (ts || em)
		ctx |= CTX_NO_X87;
	if (ts || em || !(cpu->cr4 & CR4_OSFXSR))
		ctx |= CTX_NO_SSE;
	if (ts || !avx)
		ctx |= CTX_NO_AVX;
	if (ts || !avx || (cpu->xcr0 & 0xe0) != 0xe0)
		ctx |= CTX_NO_AVX512;
	return ctx;
}

void cpu_update_ctx(struct cpu *cpu)
{
	u32 ctx = fpu_ctx(cpu) | cpu->cpl << CTX_CPL_SHIFT;

	if (cpu_64bit(cpu)) {
		ctx |= CTX_64;
	} else {
		ctx |= cpu->seg[SEG_CS].attr & SEG_ATTR_DB ? CTX_32 : CTX_16;
		if (cpu->seg[SEG_SS].attr & SEG_ATTR_DB)
			ctx |= CTX_SS32;
		if (!is_flat(&cpu->seg[SEG_CS], false) || !is_flat(&cpu->seg[SEG_DS], true) ||
		    !is_flat(&cpu->seg[SEG_ES], true) || !is_flat(&cpu->seg[SEG_SS], true))
			ctx |= CTX_NONFLAT;
		if (!is_protected(cpu))
			ctx |= CTX_REAL;
	}
	if (cpu->cpl < 3 && (!(cpu->cr4 & CR4_SMAP) || (cpu->rflags & FLAG_AC)))
		ctx |= CTX_AC;
	if (cpu->rflags & FLAG_TF)
		ctx |= CTX_TF;
	cpu->ctx = ctx | (cpu->ctx & CTX_STEP);
}

/* ---- what the registers may hold ------------------------------------------------------------- */

static u64 cr4_allowed(const struct cpu_vm *vm)
{
	static const struct {
		u32 bit;
		u16 feature;
	} bits[] = {
		{ CR4_DE, FEAT_DE },
		{ CR4_PSE, FEAT_PSE },
		{ CR4_PAE, FEAT_PAE },
		{ CR4_MCE, FEAT_MCE },
		{ CR4_PGE, FEAT_PGE },
		{ CR4_OSFXSR, FEAT_FXSR },
		{ CR4_OSXMMEXCPT, FEAT_SSE },
		{ CR4_UMIP, FEAT_UMIP },
		{ CR4_FSGSBASE, FEAT_FSGSBASE },
		{ CR4_PCIDE, FEAT_PCID },
		{ CR4_OSXSAVE, FEAT_XSAVE },
		{ CR4_SMEP, FEAT_SMEP },
		{ CR4_SMAP, FEAT_SMAP },
	};
	u64 allowed = CR4_TSD | CR4_PCE;

	for (unsigned i = 0; i < ARRAY_LEN(bits); i++)
		if (vm_has(vm, bits[i].feature))
			allowed |= bits[i].bit;
	return allowed;
}

static u64 beyond_maxphyaddr(const struct cpu_vm *vm)
{
	return ~(BIT(vm->maxphyaddr) - 1);
}

/* SDM vol. 3 section 4.4.1: read once here, not by the walks. False: a reserved bit, or no RAM. */
static bool load_pdptes(struct cpu *cpu, u64 cr3)
{
	u64 reserved = beyond_maxphyaddr(cpu->vm) | 0x1e6;
	const u64 *table = (const u64 *)ram_ptr(cpu->vm, cr3 & 0xffffffe0, NULL);
	u64 pdpte[4];

	if (!table)
		return false;
	for (unsigned i = 0; i < 4; i++) {
		pdpte[i] = __atomic_load_n(&table[i], __ATOMIC_RELAXED);
		if ((pdpte[i] & 1) && (pdpte[i] & reserved))
			return false;
	}
	for (unsigned i = 0; i < 4; i++)
		cpu->pdpte[i] = pdpte[i];
	return true;
}

bool mmu_load_pdptes(struct cpu *cpu)
{
	return load_pdptes(cpu, cpu->cr3);
}

static bool uses_pdptes(u64 cr0, u64 cr4, u64 efer)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LME);
}

/* ---- writes; false: #GP(0) ------------------------------------------------------------------- */

/* What turning paging on requires in long mode (SDM vol. 3 section 9.8.5). */
static bool may_enter_long(const struct cpu *cpu)
{
	const struct x86_segment *tr = &cpu->seg[SEG_TR];
	bool tss16 = (tr->attr & SEG_ATTR_P) && !(tr->attr & 8) && tr->selector;

	return (cpu->cr4 & CR4_PAE) && !(cpu->seg[SEG_CS].attr & SEG_ATTR_L) && !tss16;
}

static bool write_cr0(struct cpu *cpu, u64 value)
{
	u64 old = cpu->cr0;
	u64 changed;

	if (value >> 32)
		return false;
	value = (value & (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW |
			  CR0_CD | CR0_PG)) |
		CR0_ET;
	changed = value ^ old;
	if (((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
		return false;
	if ((changed & CR0_PG) && (value & CR0_PG) && (cpu->efer & EFER_LME) &&
	    !may_enter_long(cpu))
		return false;
	if ((changed & CR0_PG) && !(value & CR0_PG) && (cpu_64bit(cpu) || (cpu->cr4 & CR4_PCIDE)))
		return false;
	if ((changed & (CR0_PG | CR0_CD | CR0_NW)) && uses_pdptes(value, cpu->cr4, cpu->efer) &&
	    !load_pdptes(cpu, cpu->cr3))
		return false;

	if (changed & CR0_PG) {
		if ((value & CR0_PG) && (cpu->efer & EFER_LME))
			cpu->efer |= EFER_LMA;
		else
			cpu->efer &= ~EFER_LMA;
	}
	cpu->cr0 = value;
	if (!(value & CR0_PE))
		cpu->cpl = 0;
	if (changed & (CR0_PG | CR0_PE | CR0_WP))
		tlb_flush_all(cpu);
	cpu_update_ctx(cpu);
	return true;
}

static bool write_cr3(struct cpu *cpu, u64 value)
{
	bool keep = false;

	if (cpu_long_mode(cpu)) {
		if (cpu->cr4 & CR4_PCIDE) {
			keep = value & BIT(63);
			value &= ~BIT(63);
		}
		if (value & beyond_maxphyaddr(cpu->vm))
			return false;
	} else {
		value = (u32)value;
		if (uses_pdptes(cpu->cr0, cpu->cr4, cpu->efer) && !load_pdptes(cpu, value))
			return false;
	}
	cpu->cr3 = value;
	tlb_switch(cpu, keep);
	return true;
}

static bool write_cr4(struct cpu *cpu, u64 value)
{
	u64 changed = value ^ cpu->cr4;

	if (value & ~cr4_allowed(cpu->vm))
		return false;
	if (cpu_long_mode(cpu) && !(value & CR4_PAE))
		return false;
	if ((changed & CR4_PCIDE) && (value & CR4_PCIDE) &&
	    (!cpu_long_mode(cpu) || (cpu->cr3 & 0xfff)))
		return false;
	if ((changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) &&
	    uses_pdptes(cpu->cr0, value, cpu->efer) && !load_pdptes(cpu, cpu->cr3))
		return false;
	cpu->cr4 = value;
	if (changed & (CR4_PGE | CR4_PAE | CR4_PSE | CR4_PCIDE | CR4_SMEP | CR4_SMAP))
		tlb_flush_all(cpu);
	cpu_update_ctx(cpu);
	return true;
}

/* ---- MOV to and from control registers ------------------------------------------------------- */

static u64 bus_cr8(struct cpu *cpu, u64 value, bool write)
{
	const struct cpu_bus *bus = &cpu->vm->config.bus;

	fpu_leave(cpu);
	return bus->cr8(bus->opaque, cpu->index, value, write);
}

static bool write_cr(struct cpu *cpu, unsigned cr, u64 value)
{
	switch (cr) {
	case 0: return write_cr0(cpu, value);
	case 2: cpu->cr2 = value; return true;
	case 3: return write_cr3(cpu, value);
	case 4: return write_cr4(cpu, value);
	default:
		if (value & ~15ull)
			return false;
		bus_cr8(cpu, value, true);
		return true;
	}
}

static u64 read_cr(struct cpu *cpu, unsigned cr)
{
	switch (cr) {
	case 0: return cpu->cr0;
	case 2: return cpu->cr2;
	case 3: return cpu->cr3;
	case 4: return cpu->cr4;
	default: return bus_cr8(cpu, 0, false);
	}
}

/* 0F 20 read, 0F 22 write. The register operand is always all of the register, whatever ModRM.mod.
 */
enum helper_result do_mov_cr(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = cpu_64bit(cpu) ? 8 : 4;
	unsigned reg = (insn->modrm & 7) | (insn->rex & 1 ? 8 : 0);
	unsigned cr = (insn->modrm >> 3 & 7) | (insn->rex & 4 ? 8 : 0);

	if ((insn->prefixes & PFX_LOCK) && cr == 0 && vm_has(cpu->vm, FEAT_CR8_LEGACY))
		cr = 8;
	if (cr != 0 && cr != 2 && cr != 3 && cr != 4 && cr != 8)
		return raise_fault(cpu, VEC_UD);
	if (cpu->cpl)
		return raise_error(cpu, VEC_GP, 0);
	if (insn->opcode == 0x20) {
		gpr_set(cpu, reg, size, read_cr(cpu, cr));
		return HELPER_NEXT;
	}
	if (!write_cr(cpu, cr, gpr_get(cpu, reg, size)))
		return raise_error(cpu, VEC_GP, 0);
	return HELPER_NEXT;
}

enum helper_result do_clts(struct cpu *cpu, const struct insn *insn)
{
	if (cpu->cpl)
		return raise_error(cpu, VEC_GP, 0);
	cpu->cr0 &= ~CR0_TS;
	cpu_update_ctx(cpu);
	return HELPER_NEXT;
}

/* Loads PE, MP, EM and TS; cannot clear PE. */
enum helper_result do_lmsw(struct cpu *cpu, const struct insn *insn)
{
	u64 value;

	if (cpu->cpl)
		return raise_error(cpu, VEC_GP, 0);
	if (!insn_rm_load(cpu, insn, 2, &value))
		return HELPER_FAULT;
	value = (cpu->cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) |
		(value & (CR0_PE | CR0_MP | CR0_EM | CR0_TS));
	if (!write_cr0(cpu, value))
		return raise_error(cpu, VEC_GP, 0);
	return HELPER_NEXT;
}

enum helper_result do_smsw(struct cpu *cpu, const struct insn *insn)
{
	if (cpu->cpl && (cpu->cr4 & CR4_UMIP))
		return raise_error(cpu, VEC_GP, 0);
	if (!insn_rm_store(cpu, insn, insn->rm == REG_NONE ? 2 : insn->opsize, cpu->cr0))
		return HELPER_FAULT;
	return HELPER_NEXT;
}

/* ---- debug registers ------------------------------------------------------------------------- */

static enum helper_result write_dr(struct cpu *cpu, unsigned dr, u64 value)
{
	if (dr >= 6 && value >> 32)
		return raise_error(cpu, VEC_GP, 0);
	if (dr == 6)
		value = (value & 0xe00f) | 0xffff0ff0;
	else if (dr == 7)
		value = (value & ~0xd800ull) | 0x400;
	cpu->dr[dr] = value;
	return HELPER_NEXT;
}

/* 0F 21 read, 0F 23 write */
enum helper_result do_mov_dr(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = cpu_64bit(cpu) ? 8 : 4;
	unsigned reg = (insn->modrm & 7) | (insn->rex & 1 ? 8 : 0);
	unsigned dr = insn->modrm >> 3 & 7;

	if ((insn->rex & 4) || ((dr == 4 || dr == 5) && (cpu->cr4 & CR4_DE)))
		return raise_fault(cpu, VEC_UD);
	if (cpu->cpl)
		return raise_error(cpu, VEC_GP, 0);
	if (cpu->dr[7] & BIT(13)) { /* GD */
		cpu->dr[6] |= BIT(13);
		return raise_fault(cpu, VEC_DB);
	}
	if (dr == 4 || dr == 5)
		dr += 2;
	if (insn->opcode == 0x23)
		return write_dr(cpu, dr, gpr_get(cpu, reg, size));
	gpr_set(cpu, reg, size, cpu->dr[dr]);
	return HELPER_NEXT;
}

/* ---- invalidation ---------------------------------------------------------------------------- */

enum helper_result do_invlpg(struct cpu *cpu, const struct insn *insn)
{
	u64 gva = insn_effective(cpu, insn);

	if (cpu->cpl)
		return raise_error(cpu, VEC_GP, 0);
	/* no segment check; a non-canonical address does nothing */
	if (!cpu_64bit(cpu))
		gva = (u32)(gva + cpu->seg[insn->mem.seg].base);
	else if (insn->mem.seg == SEG_FS || insn->mem.seg == SEG_GS)
		gva += cpu->seg[insn->mem.seg].base;
	if (is_canonical(gva))
		tlb_flush_page(cpu, gva);
	return HELPER_NEXT;
}

enum invpcid_type { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL, INVPCID_ALL_NONGLOBAL };

/* SDM vol. 2, INVPCID: the descriptor's first quadword is the PCID, the second an address. */
enum helper_result do_invpcid(struct cpu *cpu, const struct insn *insn)
{
	u64 type = gpr_get(cpu, insn->reg, cpu_64bit(cpu) ? 8 : 4);
	u64 descriptor[2];
	bool named;

	if (cpu->cpl)
		return raise_error(cpu, VEC_GP, 0);
	if (!insn_load(cpu, insn, 0, descriptor, 16))
		return HELPER_FAULT;
	named = type == INVPCID_ADDRESS || type == INVPCID_CONTEXT;
	if (type > INVPCID_ALL_NONGLOBAL || descriptor[0] >> 12 ||
	    (named && descriptor[0] && !(cpu->cr4 & CR4_PCIDE)) ||
	    (type == INVPCID_ADDRESS && !is_canonical(descriptor[1])))
		return raise_error(cpu, VEC_GP, 0);
	switch (type) {
	case INVPCID_ADDRESS:
		tlb_flush_page(cpu, descriptor[1]);
		if (descriptor[0] != (cpu->cr3 & 0xfff)) {
			tlb_kept_forget_pcid(cpu, descriptor[0]);
			code_jumps_flush(cpu);
		}
		break;
	case INVPCID_ALL: tlb_flush_all(cpu); break;
	default: tlb_flush_nonglobal(cpu);
	}
	return HELPER_NEXT;
}
