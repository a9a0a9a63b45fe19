/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From guest addresses to host pointers.
 *
 * Each access checks the software TLB inline: the address is compared with the tag of its entry,
 * and one comparison tells both that the tag is the right one and that the access stays inside the
 * page. What the check leaves behind is a host pointer.
 *
 * Groups. Accesses in a block that go off the same address expression share one check: the first
 * of them checks the whole range that all of them touch, for all that they do, and its pointer is
 * kept in a register of its own (P0, P1) until an instruction changes the expression by something
 * other than a constant. Most of a function's stack traffic needs one check a block that way.
 *
 * The range may fail where the accesses alone would not: when a page ends inside it, or when only
 * some of them write and the page cannot be written. Then nothing has happened yet, and the rest
 * of the block runs as its CTX_NOGROUP twin, in which every access checks for itself (SITE_ALT).
 * Whether the instruction's own access faults is always decided by that access alone.
 */
#include "cpu/x86/footprint.h"
#include "cpu/x86/lower_private.h"

_Static_assert(sizeof(struct tlb_entry) == 32 && TLB_SHIFT_MAX <= 20, "index code below");

unsigned stack_width(const struct lower *x)
{
	if (is_long(x))
		return 8;
	return x->l->block->ctx & CTX_SS32 ? 4 : 2;
}

unsigned push_bytes(const struct lower *x, const struct insn *insn)
{
	if (is_long(x))
		return insn->prefixes & PFX_66 && !(insn->rex & 8) && insn->kind != KIND_CALL &&
				       insn->kind != KIND_RET
			       ? 2
			       : 8;
	return insn->opsize == 2 ? 2 : 4;
}

void movzx16(struct code_buf *b, unsigned dst, unsigned src)
{
	e_rex(b, 0, dst, src);
	e8(b, 0x0f);
	e8(b, 0xb7);
	e8(b, 0xc0 | (dst & 7) << 3 | (src & 7));
}

/* ---- addresses ------------------------------------------------------------------------------ */

/* The instruction's displacement has been written as part of @disp: as the last four bytes, or
 * otherwise. */
static void note_displacement(struct lower *x, bool last, s32 disp)
{
	struct lowering *l = x->l;

	if (l->footprint)
		footprint_displacement(l->footprint, x->i,
				       last ? cache_off(x, x->b->p - 4) - l->block->code : 0, disp);
}

/* Does e_lea() write it in four bytes? */
static bool is_wide(s64 disp)
{
	return disp < -128 || disp > 127;
}

static void emit_rip_relative(struct lower *x, unsigned dst, s64 disp, unsigned w)
{
	struct code_buf *b = x->b;

	e_load(b, dst, OFF(page_base));
	if (fits32(disp)) {
		e_lea(b, 1, dst, dst, REG_NONE, 1, disp);
		note_displacement(x, is_wide(disp), disp);
	} else {
		note_displacement(x, false, 0);
		e_mov_imm(b, T1, disp);
		e_lea(b, 1, dst, dst, T1, 1, 0);
	}
	if (!w)
		e_mov32(b, dst, dst);
}

/* The page-relative target of a RIP-relative operand. */
static s64 rip_disp(const struct lower *x, unsigned i)
{
	return x->l->insns[i].mem.disp + x->l->guest[i] + x->l->insns[i].len;
}

void emit_effective(struct lower *x, unsigned dst, s32 add)
{
	const struct insn_mem *m = &x->insn->mem;
	struct code_buf *b = x->b;
	unsigned w = x->insn->addrsize == 8;
	s64 disp = m->disp + add;
	unsigned base = REG_NONE, index = REG_NONE;

	if (m->base == MEM_RIP) {
		emit_rip_relative(x, dst, rip_disp(x, x->i) + add, w);
		return;
	}
	if (m->base == RSP)
		disp += x->rsp_pending;
	if (m->base != REG_NONE)
		base = use_reg(x, m->base, dst);
	if (m->index != REG_NONE)
		index = use_reg(x, m->index, T1);
	if (base == REG_NONE && index == REG_NONE) {
		e_mov_imm(b, dst, w ? (u64)disp : x->insn->addrsize == 4 ? (u32)disp : (u16)disp);
		note_displacement(x, false, 0);
		return;
	}
	if (base == REG_NONE) {
		/* index * scale + disp32 without a base: start from zero */
		e_mov_imm(b, dst, (u64)disp);
		note_displacement(x, disp < 0 && fits32(disp), disp);
		e_lea(b, w, dst, dst, index, m->scale, 0);
	} else if (!fits32(disp)) { /* what was added does not fit any more */
		note_displacement(x, false, 0);
		e_lea(b, 1, dst, base, index, m->scale, m->disp);
		e_lea(b, w, dst, dst, REG_NONE, 1, disp - m->disp);
	} else if (index == REG_NONE && disp == 0 && w) {
		if (base != dst)
			e_mov(b, dst, base);
	} else {
		e_lea(b, w, dst, base, index, m->scale, disp);
		note_displacement(x, is_wide(disp), disp);
	}
	if (x->insn->addrsize == 2)
		movzx16(b, dst, dst);
}

void emit_segment(struct lower *x, unsigned dst, unsigned seg)
{
	u32 ctx = x->l->block->ctx;

	if (ctx & CTX_NONFLAT)
		return;
	if (seg == SEG_FS)
		e_op_state(x->b, 0x03, 1, dst, OFF(fs_base));
	else if (seg == SEG_GS)
		e_op_state(x->b, 0x03, 1, dst, OFF(gs_base));
	else
		return;
	if (!is_long(x))
		e_mov32(x->b, dst, dst);
}

/* ---- checks --------------------------------------------------------------------------------- */

enum tlb_kind tlb_kind(const struct lower *x)
{
	u32 ctx = x->l->block->ctx;

	if ((ctx >> CTX_CPL_SHIFT & 3) == 3)
		return TLB_USER;
	return ctx & CTX_AC ? TLB_KERNEL_AC : TLB_KERNEL;
}

size_t tlb_offset(const struct lower *x)
{
	return OFF(tlb) + tlb_kind(x) * sizeof(struct tlb);
}

static size_t tag_offset(const struct lower *x, unsigned access)
{
	return tlb_offset(x) + (access & MEM_W ? offsetof(struct tlb_entry, write_tag)
					       : offsetof(struct tlb_entry, read_tag));
}

void emit_tlb_index(struct code_buf *b, enum tlb_kind kind, unsigned reg)
{
	if (b->bmi2) {
		e_rorx(b, T1, reg, 7); /* what comes in at the top is masked off */
	} else {
		e_mov(b, T1, reg);
		e_shift(b, 0, 5, T1, 7);
	}
	e_op_state(b, 0x23, 0, T1, OFF(tlb_mask) + kind * sizeof(u32)); /* and */
}

void emit_tlb_entry(struct lower *x, unsigned reg, unsigned access)
{
	struct code_buf *b = x->b;

	emit_tlb_index(b, tlb_kind(x), reg);
	e_op_indexed(b, 0x2b, 1, reg, T1, tag_offset(x, access)); /* sub reg, tag */
}

void emit_tlb_host(struct lower *x, unsigned reg)
{
	e_op_indexed(x->b, 0x03, 1, reg, T1, tlb_offset(x) + offsetof(struct tlb_entry, host));
}

/* @reg: linear address -> host address, if @span bytes from there may be accessed so. @stack: it
 * goes off RSP. */
static struct site *emit_inline_check(struct lower *x, unsigned reg, unsigned span, unsigned access,
				      bool stack, struct stub **stub)
{
	size_t page = OFF(stack) + tlb_kind(x) * sizeof(struct stack_page);
	struct code_buf *b = x->b;
	struct site *s;

	if (stack) {
		access = MEM_W;
		e_op_state(b, 0x2b, 1, reg, page + offsetof(struct stack_page, tag)); /* sub */
	} else {
		emit_tlb_entry(x, reg, access);
	}
	e_arith_imm(b, 1, 7, reg, PAGE_SIZE - span);
	s = new_site(x, SITE_MEM, x->l->guest[x->i]);
	s->tag_off = tag_offset(x, access);
	*stub = add_stub(x, e_jcc(b, 7, false), s); /* ja */
	(*stub)->reg = reg;
	(*stub)->stack = stack;
	if (stack)
		e_op_state(b, 0x03, 1, reg, page + offsetof(struct stack_page, host));
	else
		emit_tlb_host(x, reg);
	(*stub)->back = b->p;
	return s;
}

/* As emit_check(). */
static void emit_one_check(struct lower *x, unsigned size, unsigned access, unsigned seg,
			   bool stack)
{
	struct code_buf *b = x->b;
	struct stub *stub;
	struct site *s;

	settle(x);
	if (is_slow(x)) {
		s = new_site(x, SITE_SLOW, x->l->guest[x->i]);
		e_store_imm32(b, OFF(exit_code), site_id(x, s));
		e_call_to(b, b->base + x->l->thunks->slow);
	} else {
		s = emit_inline_check(x, T0, size, access, stack, &stub);
	}
	s->size = size;
	s->access = access;
	s->seg = seg;
}

void emit_check(struct lower *x, unsigned size, unsigned access, unsigned seg)
{
	emit_one_check(x, size, access, seg, false);
}

/* ---- groups --------------------------------------------------------------------------------- */

static u8 key_segment(const struct lower *x, unsigned seg)
{
	return seg == SEG_FS || seg == SEG_GS ? seg : SEG_DS;
}

bool memory_key(const struct lower *x, unsigned i, struct group_key *key, s64 *disp)
{
	const struct insn *insn = &x->l->insns[i];
	const struct insn_mem *m = &insn->mem;

	if (!m->present || !m->access || !m->size || insn->addrsize == 2 || insn->masked ||
	    insn->align > 64 || m->size > 64)
		return false;
	*key = (struct group_key){ .base = m->base,
				   .index = m->index,
				   .scale = m->index == REG_NONE ? 1 : m->scale,
				   .seg = key_segment(x, m->seg),
				   .width = insn->addrsize };
	*disp = m->base == MEM_RIP ? rip_disp(x, i) : m->disp;
	return fits32(*disp); /* not the 64-bit address of a MOV: sums of them may overflow */
}

bool same_key(const struct group_key *a, const struct group_key *b)
{
	return a->base == b->base && a->index == b->index && a->scale == b->scale &&
	       a->seg == b->seg && a->width == b->width;
}

/* Does the instruction only add a constant to one register, in full width? Which, how much. */
static bool constant_step(const struct lower *x, unsigned i, unsigned *reg, s64 *step)
{
	const struct insn *insn = &x->l->insns[i];
	unsigned full = is_long(x) ? 8 : 4;

	switch (insn->kind) {
	case KIND_PUSH:
	case KIND_CALL:
		*reg = RSP;
		*step = -(s64)push_bytes(x, insn);
		return stack_width(x) == full;
	case KIND_POP:
		*reg = RSP;
		*step = push_bytes(x, insn);
		return stack_width(x) == full && !(insn->gpr_op && insn->reg_op == RSP) &&
		       !(insn->gpr_rm && insn->rm == RSP);
	case KIND_LEA:
		*reg = insn->reg;
		*step = insn->mem.disp;
		return insn->opsize == full && insn->addrsize == full &&
		       insn->mem.base == insn->reg && insn->mem.index == REG_NONE;
	case KIND_COPY: break;
	default: return false;
	}
	if (insn->encoding != ENCODING_LEGACY || insn->map || insn->bytewide ||
	    insn->opsize != full || insn->mem.present || !insn->gpr_rm)
		return false;
	*reg = insn->rm;
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_ADD: *step = insn->imm; break;
	case ZYDIS_MNEMONIC_SUB: *step = -insn->imm; break;
	case ZYDIS_MNEMONIC_INC: *step = 1; return true;
	case ZYDIS_MNEMONIC_DEC: *step = -1; return true;
	default: return false;
	}
	return insn->opcode == 0x81 || insn->opcode == 0x83;
}

static u16 key_registers(const struct group_key *key)
{
	u16 mask = 0;

	if (key->base < 16)
		mask |= 1 << key->base;
	if (key->index < 16)
		mask |= 1 << key->index;
	return mask;
}

bool key_after(const struct lower *x, unsigned i, const struct group_key *key, s64 *shift)
{
	u16 mask = key_registers(key);
	unsigned reg;
	s64 step;

	*shift = 0;
	if (!(x->l->insns[i].writes & mask))
		return true;
	if (!constant_step(x, i, &reg, &step) || x->l->insns[i].writes & mask & ~(1 << reg) ||
	    !fits32(step))
		return false;
	if (key->base == reg)
		*shift += step;
	if (key->index == reg)
		*shift += step * key->scale;
	return true;
}

/* An access of a later instruction under a key. */
struct access {
	s64 disp;
	unsigned size, access;
};

/* The accesses of instruction @i under @key (at most two), relative to the key's value before it.
 */
static unsigned accesses_of(const struct lower *x, unsigned i, const struct group_key *key,
			    struct access found[2])
{
	const struct insn *insn = &x->l->insns[i];
	bool on_stack = key->base == RSP && key->index == REG_NONE && key->seg == SEG_DS &&
			key->width == stack_width(x);
	unsigned bytes = push_bytes(x, insn), n = 0;
	struct group_key other;
	s64 disp;

	if (memory_key(x, i, &other, &disp) && same_key(key, &other) && insn->kind != KIND_POP)
		found[n++] = (struct access){ disp, insn->mem.size, insn->mem.access };
	if (!on_stack)
		return n;
	if (insn->kind == KIND_PUSH || insn->kind == KIND_CALL)
		found[n++] = (struct access){ -(s64)bytes, bytes, MEM_W };
	else if (insn->kind == KIND_POP || insn->kind == KIND_RET)
		found[n++] = (struct access){ 0, bytes, MEM_R };
	return n;
}

/* How far a group that begins with @first may reach, and what its accesses do: looks at the rest of
 * the block. True if anybody would share it. */
static bool group_plan(const struct lower *x, const struct group_key *key,
		       const struct access *first, struct group *g)
{
	s64 shift = 0, step;
	unsigned uses = 0;

	*g = (struct group){ .key = *key,
			     .access = first->access,
			     .lo = first->disp,
			     .hi = first->disp + first->size };
	for (unsigned i = x->i; i < x->l->count; i++) {
		struct access found[2];
		unsigned n = accesses_of(x, i, key, found);

		if (i > x->i && insn_needs_helper(&x->l->insns[i]))
			break;
		for (unsigned k = 0; k < n; k++) {
			s64 lo = MIN(g->lo, found[k].disp + shift);
			s64 hi = MAX(g->hi, found[k].disp + shift + found[k].size);

			if (hi - lo > GROUP_SPAN)
				continue;
			g->lo = lo;
			g->hi = hi;
			g->access |= found[k].access;
			uses++;
		}
		if (!key_after(x, i, key, &step))
			break;
		shift += step;
	}
	return uses > 1;
}

static struct group *group_find(struct lower *x, const struct group_key *key,
				const struct access *a)
{
	for (unsigned i = 0; i < GROUPS; i++) {
		struct group *g = &x->groups[i];

		if (g->active && same_key(&g->key, key) && !(a->access & ~g->access) &&
		    a->disp >= g->lo && a->disp + a->size <= g->hi)
			return g;
	}
	return NULL;
}

unsigned group_register(unsigned group)
{
	static const u8 registers[GROUPS] = { P0, P1 };

	return registers[group];
}

/* Where a new group of this key goes; NULL: nowhere. */
static struct group *group_slot(struct lower *x, const struct group_key *key, s64 disp)
{
	struct group *g = &x->groups[x->carry.count];
	int carried = carry_index(x, key, disp);

	if (x->reserved)
		return &x->groups[x->reserved == x->groups];
	if (carried >= 0)
		return x->groups[carried].active ? NULL : &x->groups[carried];
	if (x->carry.count == GROUPS)
		return NULL;
	for (unsigned i = x->carry.count + 1; i < GROUPS; i++)
		if (g->active && (!x->groups[i].active || x->groups[i].age < g->age))
			g = &x->groups[i];
	return g;
}

/* Is it worth looking at cpu->stack first? */
static bool on_stack(const struct lower *x, const struct group_key *key)
{
	return !(x->l->plain & CPU_PLAIN_STACK) && is_long(x) && key->base == RSP &&
	       key->index == REG_NONE && key->seg == SEG_DS && key->width == 8;
}

/* Emits the address of @key's value plus @disp into @reg. */
typedef void emit_address(struct lower *x, unsigned reg, s64 disp);

static struct ptr emit_grouped(struct lower *x, const struct group_key *key, const struct access *a,
			       unsigned seg, emit_address *address)
{
	struct group plan, *g = group_find(x, key, a);
	bool shared;
	struct stub *stub;
	struct site *s;

	if (g) {
		g->age = x->i;
		return (struct ptr){ g->reg, a->disp - g->ref };
	}
	flags_clobber(x, x->live_in[x->i]);
	g = group_slot(x, key, a->disp);
	shared = group_plan(x, key, a, &plan) || (g && g < x->groups + x->carry.count);
	if (!g || !shared || !fits32(plan.lo)) {
		settle(x);
		address(x, T0, a->disp);
		emit_segment(x, T0, seg);
		emit_one_check(x, a->size, a->access, seg, on_stack(x, key));
		return (struct ptr){ T0, 0 };
	}
	*g = plan;
	g->active = 1;
	g->reg = group_register(g - x->groups);
	g->age = x->i;
	g->ref = g->lo;
	settle(x);
	address(x, g->reg, g->lo);
	emit_segment(x, g->reg, seg);
	s = emit_inline_check(x, g->reg, g->hi - g->lo, g->access, on_stack(x, key), &stub);
	s->size = a->size;
	s->access = a->access;
	s->seg = seg;
	s->own = a->disp - g->lo;
	s->span = g->hi - g->lo;
	stub->alt = new_site(x, SITE_ALT, x->l->guest[x->i]);
	return (struct ptr){ g->reg, a->disp - g->ref };
}

static bool may_group(const struct lower *x)
{
	return !(x->l->block->ctx & CTX_NOGROUP) && !is_single(x) &&
	       !(x->l->plain & CPU_PLAIN_GROUPS);
}

static void operand_address(struct lower *x, unsigned reg, s64 disp)
{
	const struct insn_mem *m = &x->insn->mem;

	emit_effective(x, reg, disp - (m->base == MEM_RIP ? rip_disp(x, x->i) : m->disp));
}

struct ptr emit_memory(struct lower *x, unsigned size, unsigned access, s32 add)
{
	unsigned seg = x->insn->mem.seg;
	struct group_key key;
	s64 disp;

	if (may_group(x) && memory_key(x, x->i, &key, &disp) && !add)
		return emit_grouped(x, &key, &(struct access){ disp, size, access }, seg,
				    operand_address);
	flags_clobber(x, x->live_in[x->i]);
	settle(x);
	emit_effective(x, T0, add);
	emit_segment(x, T0, seg);
	emit_check(x, size, access, seg);
	return (struct ptr){ T0, 0 };
}

/* RSP or RBP plus @disp, as wide as the stack's addresses are. */
static void stack_address(struct lower *x, unsigned base, unsigned reg, s64 disp)
{
	if (base == RSP)
		disp += x->rsp_pending;
	base = use_reg(x, base, reg);
	if (disp || stack_width(x) != 8)
		e_lea(x->b, stack_width(x) == 8, reg, base, REG_NONE, 1, disp);
	else if (base != reg)
		e_mov(x->b, reg, base);
	if (stack_width(x) == 2)
		movzx16(x->b, reg, reg);
}
static void rsp_address(struct lower *x, unsigned reg, s64 disp)
{
	stack_address(x, RSP, reg, disp);
}
static void rbp_address(struct lower *x, unsigned reg, s64 disp)
{
	stack_address(x, RBP, reg, disp);
}

static struct group_key stack_key(const struct lower *x, unsigned base)
{
	return (struct group_key){
		.base = base, .index = REG_NONE, .scale = 1, .seg = SEG_DS, .width = stack_width(x)
	};
}

const struct group *stack_group(struct lower *x, unsigned base, s32 off, unsigned size,
				unsigned access)
{
	struct group_key key = stack_key(x, base);

	return group_find(x, &key, &(struct access){ off, size, access });
}

struct ptr emit_stack(struct lower *x, unsigned base, s32 off, unsigned size, unsigned access)
{
	struct group_key key = stack_key(x, base);

	if (may_group(x) && key.width != 2)
		return emit_grouped(x, &key, &(struct access){ off, size, access }, SEG_SS,
				    base == RSP ? rsp_address : rbp_address);
	flags_clobber(x, x->live_in[x->i]);
	settle(x);
	stack_address(x, base, T0, off);
	emit_one_check(x, size, access, SEG_SS, on_stack(x, &key));
	return (struct ptr){ T0, 0 };
}

void groups_update(struct lower *x)
{
	carry_update(x);
	for (unsigned i = 0; i < GROUPS; i++) {
		struct group *g = &x->groups[i];
		s64 shift;

		if (!g->active)
			continue;
		if (!key_after(x, x->i, &g->key, &shift)) {
			g->active = 0;
			continue;
		}
		g->ref -= shift;
		g->lo -= shift;
		g->hi -= shift;
	}
}
