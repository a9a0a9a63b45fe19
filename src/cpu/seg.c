/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segment registers and the tables behind them: loads with all their checks, descriptor table
 * registers, and the instructions that ask about a selector. Hot.
 *
 * SDM vol. 3 chapters 3, 5 and 7; vol. 2 for each instruction. A hidden part is never recomputed:
 * real mode sets base and selector and leaves limit and attributes, which is what makes "unreal"
 * mode work as on the silicon.
 *
 * Deviation: a null selector clears the base on every vendor (NullSelectorClearsBase is offered).
 */
#include "cpu/helper.h"

static bool fail(struct cpu *cpu, unsigned vector, u32 error)
{
	fault_error(cpu, vector, error);
	return false;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

bool desc_read(struct cpu *cpu, u16 selector, struct desc *d, unsigned vector, u32 error)
{
	const struct x86_segment *ldt = &cpu->seg[SEG_LDT];
	bool local = selector & 4;
	u64 base = local ? ldt->base : cpu->gdtr.base;
	u32 limit = local ? ldt->limit : cpu->gdtr.limit;

	if ((local && !(ldt->attr & SEG_ATTR_P)) || (selector | 7) > limit)
		return fail(cpu, vector, error);
	d->addr = base + (selector & ~7u);
	if (!cpu_long_mode(cpu))
		d->addr = (u32)d->addr;
	d->high = 0;
	return mem_read(cpu, d->addr, &d->raw, 8, ACCESS_R | ACCESS_SYSTEM);
}

bool desc_read_high(struct cpu *cpu, struct desc *d)
{
	return mem_read(cpu, d->addr + 8, &d->high, 8, ACCESS_R | ACCESS_SYSTEM);
}

struct x86_segment desc_segment(const struct desc *d, u16 selector)
{
	u32 limit = (d->raw & 0xffff) | (d->raw >> 32 & 0xf0000);
	u16 attr = d->raw >> 40 & 0xf0ff;

	return (struct x86_segment){
		.base = (d->raw >> 16 & 0xffffff) | (d->raw >> 32 & 0xff000000) | d->high << 32,
		.limit = attr & SEG_ATTR_G ? limit << 12 | 0xfff : limit,
		.selector = selector,
		.attr = attr,
	};
}

bool desc_touch(struct cpu *cpu, struct desc *d)
{
	if (d->raw & BIT(40))
		return true;
	d->raw |= BIT(40);
	return mem_or_byte(cpu, d->addr + 5, 1, ACCESS_SYSTEM);
}

/* ---- installing ------------------------------------------------------------------------------ */

void seg_install(struct cpu *cpu, unsigned seg, const struct x86_segment *value)
{
	cpu->seg[seg] = *value;
	seg_set_base(cpu, seg, value->base);
}

static void install_null(struct cpu *cpu, unsigned seg, u16 selector)
{
	const struct x86_segment null = { .selector = selector };

	seg_install(cpu, seg, &null);
}

void seg_install_null_ss(struct cpu *cpu, unsigned cpl)
{
	const struct x86_segment null = { .selector = cpl, .attr = cpl << 5 };

	seg_install(cpu, SEG_SS, &null);
}

void seg_install_cs(struct cpu *cpu, u16 selector, const struct desc *d, unsigned cpl)
{
	cpu->seg[SEG_CS] = desc_segment(d, (selector & ~3) | cpl);
	cpu->cpl = cpl;
}

void seg_install_real(struct cpu *cpu, unsigned seg, u16 selector)
{
	cpu->seg[seg].selector = selector;
	seg_set_base(cpu, seg, (u64)selector << 4);
}

void seg_install_flat_cs(struct cpu *cpu, u16 selector, bool long_mode, unsigned cpl)
{
	/* code, execute and read, accessed */
	u16 attr = 0x9b | cpl << 5 | SEG_ATTR_G | (long_mode ? SEG_ATTR_L : SEG_ATTR_DB);

	cpu->seg[SEG_CS] = (struct x86_segment){ .limit = 0xffffffff,
						 .selector = (selector & ~3) | cpl,
						 .attr = attr };
	cpu->cpl = cpl;
}

void seg_install_flat_ss(struct cpu *cpu, u16 selector, unsigned cpl)
{
	/* data, read and write, accessed */
	const struct x86_segment ss = { .limit = 0xffffffff,
					.selector = (selector & ~3) | cpl,
					.attr = 0x93 | cpl << 5 | SEG_ATTR_G | SEG_ATTR_DB };

	seg_install(cpu, SEG_SS, &ss);
}

void seg_drop_inner(struct cpu *cpu)
{
	static const u8 data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (unsigned i = 0; i < ARRAY_LEN(data); i++) {
		const struct x86_segment *s = &cpu->seg[data[i]];
		bool conforming = (s->attr & 0xc) == 0xc;

		if ((s->attr & SEG_ATTR_P) && !conforming && SEG_ATTR_DPL(s->attr) < cpu->cpl)
			install_null(cpu, data[i], 0);
	}
}

/* ---- loading --------------------------------------------------------------------------------- */

bool seg_prepare_ss(struct cpu *cpu, u16 selector, unsigned cpl, unsigned vector, u32 ext,
		    bool null_ok, struct x86_segment *out)
{
	u32 error = sel_error(selector) | ext;
	struct desc d;

	if (sel_is_null(selector)) {
		if (!null_ok || cpl == 3 || (selector & 3) != cpl)
			return fail(cpu, vector, ext);
		*out = (struct x86_segment){ .selector = selector, .attr = cpl << 5 };
		return true;
	}
	if (!desc_read(cpu, selector, &d, vector, error))
		return false;
	if ((selector & 3) != cpl || desc_dpl(&d) != cpl ||
	    (d.raw & (DESC_S | DESC_CODE | DESC_READABLE)) != (DESC_S | DESC_READABLE))
		return fail(cpu, vector, error);
	if (!(d.raw & DESC_P))
		return fail(cpu, VEC_SS, error);
	if (!desc_touch(cpu, &d))
		return false;
	*out = desc_segment(&d, selector);
	return true;
}

static bool prepare_data(struct cpu *cpu, u16 selector, struct x86_segment *out)
{
	u32 error = sel_error(selector);
	unsigned rpl = selector & 3;
	bool code, conforming;
	struct desc d;

	if (sel_is_null(selector)) {
		*out = (struct x86_segment){ .selector = selector };
		return true;
	}
	if (!desc_read(cpu, selector, &d, VEC_GP, error))
		return false;
	code = desc_is_code(&d);
	conforming = code && (d.raw & DESC_CONFORMING);
	if (!(d.raw & DESC_S) || (code && !(d.raw & DESC_READABLE)))
		return fail(cpu, VEC_GP, error);
	if (!conforming && (rpl > desc_dpl(&d) || cpu->cpl > desc_dpl(&d)))
		return fail(cpu, VEC_GP, error);
	if (!(d.raw & DESC_P))
		return fail(cpu, VEC_NP, error);
	if (!desc_touch(cpu, &d))
		return false;
	*out = desc_segment(&d, selector);
	return true;
}

bool seg_load(struct cpu *cpu, unsigned seg, u16 selector)
{
	struct x86_segment value;
	bool ok;

	if (!is_protected(cpu)) {
		seg_install_real(cpu, seg, selector);
		cpu_update_ctx(cpu);
		return true;
	}
	if (seg == SEG_SS)
		ok = seg_prepare_ss(cpu, selector, cpu->cpl, VEC_GP, 0, cpu_64bit(cpu), &value);
	else
		ok = prepare_data(cpu, selector, &value);
	if (!ok)
		return false;
	seg_install(cpu, seg, &value);
	cpu_update_ctx(cpu);
	return true;
}

/* ---- MOV, PUSH, POP, LDS and kin ------------------------------------------------------------- */

/* Segment register named by ModRM.reg or by a one-byte opcode. SEG_COUNT: none. */
static unsigned sreg_of_modrm(const struct insn *insn)
{
	unsigned n = insn->modrm >> 3 & 7;

	return n <= SEG_GS ? n : SEG_COUNT;
}

static unsigned sreg_of_opcode(const struct insn *insn)
{
	/* 06 ES 0E CS 16 SS 1E DS, POP one higher; 0F A0 FS, 0F A8 GS */
	if (insn->map == 1)
		return insn->opcode >> 3 & 1 ? SEG_GS : SEG_FS;
	return insn->opcode >> 3 & 3;
}

/* After MOV SS and POP SS neither an interrupt nor a single-step trap comes before the next
 * instruction is done (SDM vol. 3 section 6.8.3): it may load RSP. */
static void stack_shadow(struct cpu *cpu)
{
	cpu->intr_shadow = 1;
	cpu->single_step = 0;
}

enum helper_result do_mov_sreg(struct cpu *cpu, const struct insn *insn)
{
	unsigned seg = sreg_of_modrm(insn);
	u64 selector;

	if (insn->opcode == 0x8c) {
		if (seg == SEG_COUNT)
			return raise_fault(cpu, VEC_UD);
		selector = cpu->seg[seg].selector;
		if (insn->rm == REG_NONE)
			return insn_store(cpu, insn, 0, &selector, 2) ? HELPER_NEXT : HELPER_FAULT;
		gpr_set(cpu, insn->rm, insn->opsize, selector);
		return HELPER_NEXT;
	}
	if (seg == SEG_COUNT || seg == SEG_CS)
		return raise_fault(cpu, VEC_UD);
	if (!insn_rm_load(cpu, insn, 2, &selector) || !seg_load(cpu, seg, selector))
		return HELPER_FAULT;
	if (seg == SEG_SS)
		stack_shadow(cpu);
	return HELPER_NEXT;
}

enum helper_result do_push_sreg(struct cpu *cpu, const struct insn *insn)
{
	struct stack stack;

	stack_open(cpu, &stack);
	if (!stack_push(cpu, &stack, cpu->seg[sreg_of_opcode(insn)].selector, insn->opsize))
		return HELPER_FAULT;
	stack_commit(cpu, &stack);
	return HELPER_NEXT;
}

enum helper_result do_pop_sreg(struct cpu *cpu, const struct insn *insn)
{
	unsigned seg = sreg_of_opcode(insn);
	struct stack stack;
	u64 selector;

	stack_open(cpu, &stack);
	if (!stack_pop(cpu, &stack, &selector, insn->opsize) || !seg_load(cpu, seg, selector))
		return HELPER_FAULT;
	stack_commit(cpu, &stack);
	if (seg == SEG_SS)
		stack_shadow(cpu);
	return HELPER_NEXT;
}

/* LES C4, LDS C5; 0F B2 LSS, B4 LFS, B5 LGS */
enum helper_result do_load_far_pointer(struct cpu *cpu, const struct insn *insn)
{
	static const u8 of_opcode[8] = { [2] = SEG_SS, [4] = SEG_FS, [5] = SEG_GS };
	unsigned seg =
		insn->map == 1 ? of_opcode[insn->opcode & 7] : (insn->opcode & 1 ? SEG_DS : SEG_ES);
	u64 offset = 0;
	u16 selector;

	if (!insn_load(cpu, insn, 0, &offset, insn->opsize) ||
	    !insn_load(cpu, insn, insn->opsize, &selector, 2) || !seg_load(cpu, seg, selector))
		return HELPER_FAULT;
	gpr_set(cpu, insn->reg, insn->opsize, offset);
	return HELPER_NEXT;
}

/* ---- descriptor table registers -------------------------------------------------------------- */

static enum helper_result load_table(struct cpu *cpu, const struct insn *insn,
				     struct x86_table *table)
{
	bool wide = cpu_64bit(cpu);
	u64 base = 0;
	u16 limit;

	if (cpu->cpl)
		return raise_error(cpu, VEC_GP, 0);
	if (!insn_load(cpu, insn, 0, &limit, 2) || !insn_load(cpu, insn, 2, &base, wide ? 8 : 4))
		return HELPER_FAULT;
	if (!is_canonical(base))
		return raise_error(cpu, VEC_GP, 0);
	if (!wide && insn->opsize == 2)
		base &= 0xffffff;
	table->base = base;
	table->limit = limit;
	return HELPER_NEXT;
}

/* SGDT, SIDT, SLDT, STR, SMSW outside the kernel: #GP if the guest turned UMIP on. */
static bool umip_refuses(struct cpu *cpu)
{
	if (!cpu->cpl || !(cpu->cr4 & CR4_UMIP))
		return false;
	fault_error(cpu, VEC_GP, 0);
	return true;
}

static enum helper_result store_table(struct cpu *cpu, const struct insn *insn,
				      const struct x86_table *table)
{
	unsigned base_bytes = cpu_64bit(cpu) ? 8 : 4;
	u8 image[10];

	if (umip_refuses(cpu))
		return HELPER_FAULT;
	for (unsigned i = 0; i < 2 + base_bytes; i++)
		image[i] = i < 2 ? table->limit >> i * 8 : table->base >> (i - 2) * 8;
	return insn_store(cpu, insn, 0, image, 2 + base_bytes) ? HELPER_NEXT : HELPER_FAULT;
}

enum helper_result do_lgdt(struct cpu *cpu, const struct insn *insn)
{
	return load_table(cpu, insn, &cpu->gdtr);
}

enum helper_result do_lidt(struct cpu *cpu, const struct insn *insn)
{
	return load_table(cpu, insn, &cpu->idtr);
}

enum helper_result do_sgdt(struct cpu *cpu, const struct insn *insn)
{
	return store_table(cpu, insn, &cpu->gdtr);
}

enum helper_result do_sidt(struct cpu *cpu, const struct insn *insn)
{
	return store_table(cpu, insn, &cpu->idtr);
}

static bool type_in(unsigned type, u32 set)
{
	return set >> type & 1;
}

/* Reads a system descriptor from the GDT whose type must be in @types. */
static bool system_desc(struct cpu *cpu, u16 selector, u32 types, struct desc *d)
{
	u32 error = sel_error(selector);

	if (selector & 4)
		return fail(cpu, VEC_GP, error);
	if (!desc_read(cpu, selector, d, VEC_GP, error))
		return false;
	if ((d->raw & DESC_S) || !type_in(desc_type(d), types))
		return fail(cpu, VEC_GP, error);
	if (!(d->raw & DESC_P))
		return fail(cpu, VEC_NP, error);
	if (!cpu_long_mode(cpu))
		return true;
	if ((selector | 7u) + 8 > cpu->gdtr.limit)
		return fail(cpu, VEC_GP, error);
	if (!desc_read_high(cpu, d))
		return false;
	if ((d->high >> 40 & 0x1f) || !is_canonical(desc_segment(d, 0).base))
		return fail(cpu, VEC_GP, error);
	return true;
}

/* LLDT and LTR begin alike. */
static bool system_selector(struct cpu *cpu, const struct insn *insn, u64 *selector)
{
	if (!is_protected(cpu)) {
		fault(cpu, VEC_UD);
		return false;
	}
	if (cpu->cpl)
		return fail(cpu, VEC_GP, 0);
	return insn_rm_load(cpu, insn, 2, selector);
}

enum helper_result do_lldt(struct cpu *cpu, const struct insn *insn)
{
	struct x86_segment ldt;
	struct desc d;
	u64 selector;

	if (!system_selector(cpu, insn, &selector))
		return HELPER_FAULT;
	if (sel_is_null(selector)) {
		install_null(cpu, SEG_LDT, selector);
		return HELPER_NEXT;
	}
	if (!system_desc(cpu, selector, BIT(2), &d))
		return HELPER_FAULT;
	ldt = desc_segment(&d, selector);
	seg_install(cpu, SEG_LDT, &ldt);
	return HELPER_NEXT;
}

enum helper_result do_ltr(struct cpu *cpu, const struct insn *insn)
{
	u32 types = cpu_long_mode(cpu) ? BIT(9) : BIT(1) | BIT(9);
	struct x86_segment tr;
	struct desc d;
	u64 selector;

	if (!system_selector(cpu, insn, &selector))
		return HELPER_FAULT;
	if (sel_is_null(selector))
		return raise_error(cpu, VEC_GP, 0);
	if (!system_desc(cpu, selector, types, &d) ||
	    !mem_or_byte(cpu, d.addr + 5, 2, ACCESS_SYSTEM)) /* busy */
		return HELPER_FAULT;
	tr = desc_segment(&d, selector);
	tr.attr |= 2;
	seg_install(cpu, SEG_TR, &tr);
	return HELPER_NEXT;
}

static enum helper_result store_selector(struct cpu *cpu, const struct insn *insn, unsigned seg)
{
	u64 selector = cpu->seg[seg].selector;

	if (!is_protected(cpu))
		return raise_fault(cpu, VEC_UD);
	if (umip_refuses(cpu))
		return HELPER_FAULT;
	if (!insn_rm_store(cpu, insn, insn->rm == REG_NONE ? 2 : insn->opsize, selector))
		return HELPER_FAULT;
	return HELPER_NEXT;
}

enum helper_result do_sldt(struct cpu *cpu, const struct insn *insn)
{
	return store_selector(cpu, insn, SEG_LDT);
}

enum helper_result do_str(struct cpu *cpu, const struct insn *insn)
{
	return store_selector(cpu, insn, SEG_TR);
}

/* ---- the TSS --------------------------------------------------------------------------------- */

bool tss_stack_long(struct cpu *cpu, unsigned offset, u32 ext, u64 *rsp)
{
	const struct x86_segment *tr = &cpu->seg[SEG_TR];

	if (offset + 7 > tr->limit)
		return fail(cpu, VEC_TS, sel_error(tr->selector) | ext);
	if (!mem_read(cpu, tr->base + offset, rsp, 8, ACCESS_R | ACCESS_SYSTEM))
		return false;
	if (!is_canonical(*rsp))
		return fail(cpu, VEC_SS, ext);
	return true;
}

bool tss_stack_legacy(struct cpu *cpu, unsigned cpl, u32 ext, u16 *ss, u32 *esp)
{
	const struct x86_segment *tr = &cpu->seg[SEG_TR];
	unsigned size = tr->attr & 8 ? 4 : 2; /* of the TSS's own format */
	unsigned at = size * (2 * cpl + 1);
	u32 error = sel_error(tr->selector) | ext;

	if (!(tr->attr & SEG_ATTR_P) || at + size + 1 > tr->limit)
		return fail(cpu, VEC_TS, error);
	*esp = 0;
	return mem_read(cpu, (u32)(tr->base + at), esp, size, ACCESS_R | ACCESS_SYSTEM) &&
	       mem_read(cpu, (u32)(tr->base + at + size), ss, 2, ACCESS_R | ACCESS_SYSTEM);
}

/* ---- questions about a selector -------------------------------------------------------------- */

/* The descriptor that the r/m16 operand selects, if the code may see it. *@seen false: ZF is to be
 * cleared. False: fault. @system: set of system types the instruction knows. */
static bool look_at(struct cpu *cpu, const struct insn *insn, u32 system, struct desc *d,
		    bool *seen)
{
	unsigned least;
	u64 selector;

	*seen = false;
	if (!is_protected(cpu)) {
		fault(cpu, VEC_UD);
		return false;
	}
	if (!insn_rm_load(cpu, insn, 2, &selector))
		return false;
	if (sel_is_null(selector))
		return true;
	if (!desc_read(cpu, selector, d, VEC_GP, 0)) {
		if (cpu->fault.vector == VEC_PF)
			return false;
		cpu->fault_pending = 0;
		return true;
	}
	if (!(d->raw & DESC_S) && !type_in(desc_type(d), system))
		return true;
	least = (selector & 3) > cpu->cpl ? selector & 3 : cpu->cpl;
	*seen = least <= desc_dpl(d) || (desc_is_code(d) && (d->raw & DESC_CONFORMING));
	return true;
}

enum helper_result do_lar(struct cpu *cpu, const struct insn *insn)
{
	u32 types = cpu_long_mode(cpu) ? 0x1a04 : 0x1a3e; /* LDT, TSS, gates */
	struct desc d;
	bool seen;

	if (!look_at(cpu, insn, types, &d, &seen))
		return HELPER_FAULT;
	flag_set(cpu, FLAG_ZF, seen);
	if (seen)
		gpr_set(cpu, insn->reg, insn->opsize, d.raw >> 32 & 0x00ffff00);
	return HELPER_NEXT;
}

enum helper_result do_lsl(struct cpu *cpu, const struct insn *insn)
{
	u32 types = cpu_long_mode(cpu) ? 0x0a04 : 0x0a0e;
	struct desc d;
	bool seen;

	if (!look_at(cpu, insn, types, &d, &seen))
		return HELPER_FAULT;
	flag_set(cpu, FLAG_ZF, seen);
	if (seen)
		gpr_set(cpu, insn->reg, insn->opsize, desc_segment(&d, 0).limit);
	return HELPER_NEXT;
}

enum helper_result do_verr(struct cpu *cpu, const struct insn *insn)
{
	struct desc d;
	bool seen;

	if (!look_at(cpu, insn, 0, &d, &seen))
		return HELPER_FAULT;
	flag_set(cpu, FLAG_ZF, seen && (!desc_is_code(&d) || (d.raw & DESC_READABLE)));
	return HELPER_NEXT;
}

enum helper_result do_verw(struct cpu *cpu, const struct insn *insn)
{
	struct desc d;
	bool seen;

	if (!look_at(cpu, insn, 0, &d, &seen))
		return HELPER_FAULT;
	flag_set(cpu, FLAG_ZF, seen && !desc_is_code(&d) && (d.raw & DESC_READABLE));
	return HELPER_NEXT;
}

enum helper_result do_arpl(struct cpu *cpu, const struct insn *insn)
{
	u64 selector, rpl = cpu->gpr[insn->reg] & 3;

	if (!is_protected(cpu))
		return raise_fault(cpu, VEC_UD);
	if (!insn_rm_load(cpu, insn, 2, &selector))
		return HELPER_FAULT;
	if ((selector & 3) < rpl) {
		if (!insn_rm_store(cpu, insn, 2, (selector & ~3ull) | rpl))
			return HELPER_FAULT;
		flag_set(cpu, FLAG_ZF, true);
	} else {
		flag_set(cpu, FLAG_ZF, false);
	}
	return HELPER_NEXT;
}
