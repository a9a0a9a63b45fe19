/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lowering: guest instructions become host instructions, most of them the very same ones.
 *
 *   guest rax rcx rdx rsi rdi r8-r12     live in the same host registers
 *   guest rbx rsp rbp r13 r14 r15        live in struct cpu ("homed")
 *   host  rbx r13 r14 r15                T0 (addresses), T1, T2, T3
 *   host  rbp                            struct cpu + CPU_RBP_BIAS
 *   host  rsp                            the host's stack, always
 *
 * Arithmetic flags. They live in EFLAGS or, after code of ours had to use EFLAGS, in
 * cpu->saved_flags; the lowering knows which at every point (enum flags_form) and moves them only
 * while somebody may still read them. Every block can be entered with the flags in either place.
 *
 * Precise state. At the start of each guest instruction all registers are where the picture says,
 * and nothing is written before the last access of the instruction that may fault. So a fault, a
 * poll or a host signal needs only to know the instruction.
 *
 * Memory. Each access checks the software TLB inline; a miss goes to soft_mem_slow(). What cannot
 * be handed out directly (MMIO, page-crossing, code pages) leaves the block and runs as a CTX_SLOW
 * block of one instruction, whose accesses go through access_slow() and its bounce buffer.
 */
#include "cpu/x86/lower.h"

#include "cpu/run.h"
#include <Zydis/Zydis.h>

#define OFF(field) offsetof(struct cpu, field)
#define HOME(r)    (offsetof(struct cpu, gpr) + 8 * (r))

_Static_assert(OFF(scratch) + 32 <= 128 + CPU_RBP_BIAS, "hot fields out of 8-bit reach");
_Static_assert(sizeof(struct tlb_entry) == 32 && TLB_ENTRIES == 1024, "index code below");
_Static_assert(sizeof(struct jump_entry) == 16 && JC_ENTRIES == 4096, "index code below");

#define HOMED_MASK (BIT(RBX) | BIT(RSP) | BIT(RBP) | BIT(R13) | BIT(R14) | BIT(R15))
#define HOMED(r)   ((HOMED_MASK >> (r)) & 1)

struct stub {
	u8 *jump; /* rel32 to be pointed here; NULL: fallen into */
	struct site *site;
};

struct lower {
	struct lowering *l;
	struct code_buf *b;
	const struct insn *insn;
	unsigned i;
	enum flags_form form;
	u8 live_in[BLOCK_MAX_INSNS];
	struct stub stubs[BLOCK_MAX_SITES];
	unsigned stub_count;
	bool ended; /* an unconditional exit has been written */
};

static bool is_slow(const struct lower *x)
{
	return x->l->block->ctx & CTX_SLOW;
}
static bool is_single(const struct lower *x)
{
	return x->l->block->ctx & (CTX_SLOW | CTX_STEP | CTX_TF);
}
static bool is_long(const struct lower *x)
{
	return (x->l->block->ctx & CTX_MODE_MASK) == CTX_64;
}
static u8 live_out(const struct lower *x)
{
	return x->l->live_after[x->i];
}
static unsigned stack_width(const struct lower *x)
{
	if (is_long(x))
		return 8;
	return x->l->block->ctx & CTX_SS32 ? 4 : 2;
}

/* ---- flags ---------------------------------------------------------------------------------- */

static void emit_save_flags(struct code_buf *b) /* uses T1 */
{
	e_mov(b, T1, RAX);
	e8(b, 0x9f); /* lahf */
	e8(b, 0x0f); /* seto al */
	e8(b, 0x90);
	e8(b, 0xc0);
	e_store16(b, RAX, OFF(saved_flags));
	e_mov(b, RAX, T1);
}

static void emit_restore_flags(struct code_buf *b) /* uses T1 */
{
	e_mov(b, T1, RAX);
	e_load32(b, RAX, OFF(saved_flags));
	e8(b, 0x04); /* add al, 127: sets OF if al was 1 */
	e8(b, 0x7f);
	e8(b, 0x9e); /* sahf */
	e_mov(b, RAX, T1);
}

/* Code that clobbers EFLAGS follows; @live is what must survive it. */
static void flags_clobber(struct lower *x, u8 live)
{
	if (x->form == FLAGS_SAVED || x->form == FLAGS_DEAD)
		return;
	if (!live) {
		x->form = FLAGS_DEAD;
		return;
	}
	if (x->form == FLAGS_HOST)
		emit_save_flags(x->b);
	x->form = FLAGS_SAVED;
}

/* The next instruction needs the flags in EFLAGS. */
static void flags_need_host(struct lower *x)
{
	if (x->form == FLAGS_SAVED) {
		emit_restore_flags(x->b);
		x->form = FLAGS_BOTH;
	}
}

static bool flags_merge(const struct insn *insn, u8 live)
{
	return insn->flags_read || (insn->flags_modified && (live & ~insn->flags_written));
}

/* Just before the guest's own instruction is emitted, and just after. */
static void flags_before(struct lower *x)
{
	if (flags_merge(x->insn, live_out(x)))
		flags_need_host(x);
	if (x->form == FLAGS_HOST || x->form == FLAGS_BOTH)
		x->l->block->map[x->i].guest |= 0x8000;
}
static void flags_after(struct lower *x)
{
	if (x->insn->flags_modified)
		x->form = FLAGS_HOST;
}

/* ---- sites and stubs ------------------------------------------------------------------------ */

static struct site *new_site(struct lower *x, enum site_kind kind, s32 guest_off)
{
	struct site *s = &x->l->sites[x->l->site_count++];

	memset(s, 0, sizeof(*s));
	s->block = x->l->block;
	s->kind = kind;
	s->insn = x->i;
	s->guest_off = guest_off;
	s->form = x->form;
	s->align = x->insn->align;
	s->x87 = x->insn->x87_waits;
	s->masked = x->insn->masked;
	s->locked = x->insn->prefixes & PFX_LOCK || x->insn->mnemonic == ZYDIS_MNEMONIC_XCHG;
	return s;
}

static u32 site_id(const struct lower *x, const struct site *s)
{
	return EXIT_SITE + x->l->first_site + (s - x->l->sites);
}

static u32 cache_off(const struct lower *x, const u8 *p)
{
	return p - x->b->base;
}

static void add_stub(struct lower *x, u8 *jump, struct site *s)
{
	x->stubs[x->stub_count++] = (struct stub){ jump, s };
}

static void emit_leave(struct lower *x, struct site *s)
{
	const struct thunks *t = x->l->thunks;
	bool host = s->form == FLAGS_HOST;

	e_store_imm32(x->b, OFF(exit_code), site_id(x, s));
	if (s->kind == SITE_MEM)
		e_jmp_to(x->b, x->b->base + t->mem);
	else
		e_jmp_to(x->b, x->b->base + (host ? t->exit_host : t->exit_saved));
}

static void emit_stubs(struct lower *x)
{
	for (unsigned i = 0; i < x->stub_count; i++) {
		struct stub *st = &x->stubs[i];

		st->site->stub = cache_off(x, x->b->p);
		if (st->jump)
			e_patch(st->jump, x->b->p);
		emit_leave(x, st->site);
	}
}

/* Leaves the block for C at this instruction. */
static void emit_exit(struct lower *x, enum site_kind kind, s32 guest_off)
{
	emit_leave(x, new_site(x, kind, guest_off));
	x->ended = true;
}

/* ---- registers ------------------------------------------------------------------------------ */

/* The host register that holds guest register @r, loading a homed one into @temp. */
static unsigned use_reg(struct lower *x, unsigned r, unsigned temp)
{
	if (!HOMED(r))
		return r;
	e_load(x->b, temp, HOME(r));
	return temp;
}

/* ---- memory --------------------------------------------------------------------------------- */

static bool fits32(s64 v)
{
	return v == (s32)v;
}

static void movzx16(struct code_buf *b, unsigned dst, unsigned src)
{
	e_rex(b, 0, dst, src);
	e8(b, 0x0f);
	e8(b, 0xb7);
	e8(b, 0xc0 | (dst & 7) << 3 | (src & 7));
}

/* Effective address of the memory operand (+ @add) into T0; uses T1. No segment base. */
static void emit_effective(struct lower *x, s32 add)
{
	const struct insn_mem *m = &x->insn->mem;
	struct code_buf *b = x->b;
	unsigned w = x->insn->addrsize == 8;
	s64 disp = m->disp + add;
	unsigned base = REG_NONE, index = REG_NONE;

	if (m->base == MEM_RIP) {
		disp += x->l->guest[x->i] + x->insn->len;
		e_load(b, T0, OFF(page_base));
		if (fits32(disp)) {
			e_lea(b, 1, T0, T0, REG_NONE, 1, disp);
		} else {
			e_mov_imm(b, T1, disp);
			e_lea(b, 1, T0, T0, T1, 1, 0);
		}
		if (!w)
			e_mov32(b, T0, T0);
		return;
	}
	if (m->base != REG_NONE)
		base = use_reg(x, m->base, T0);
	if (m->index != REG_NONE)
		index = use_reg(x, m->index, T1);
	if (base == REG_NONE && index == REG_NONE) {
		e_mov_imm(b, T0, w ? (u64)disp : x->insn->addrsize == 4 ? (u32)disp : (u16)disp);
		return;
	}
	if (base == REG_NONE) {
		/* index * scale + disp32 without a base: start from zero */
		e_mov_imm(b, T0, (u64)disp);
		e_lea(b, w, T0, T0, index, m->scale, 0);
	} else if (index == REG_NONE && disp == 0 && w) {
		if (base != T0)
			e_mov(b, T0, base);
	} else {
		e_lea(b, w, T0, base, index, m->scale, disp);
	}
	if (x->insn->addrsize == 2)
		movzx16(b, T0, T0);
}

/* Adds what segmentation adds to T0 (flags clobbered). In CTX_NONFLAT soft_access_slow() does. */
static void emit_segment(struct lower *x, unsigned seg)
{
	u32 ctx = x->l->block->ctx;

	if (ctx & CTX_NONFLAT)
		return;
	if (seg == SEG_FS)
		e_op_state(x->b, 0x03, 1, T0, OFF(fs_base));
	else if (seg == SEG_GS)
		e_op_state(x->b, 0x03, 1, T0, OFF(gs_base));
	else
		return;
	if (!is_long(x))
		e_mov32(x->b, T0, T0);
}

/* T0: linear address (CTX_NONFLAT: offset in @seg) -> host address, for @size bytes of @access.
 * Uses T1, clobbers EFLAGS (the caller has seen to that), keeps T2 and T3. */
static void emit_check(struct lower *x, unsigned size, unsigned access, unsigned seg)
{
	struct code_buf *b = x->b;
	u32 ctx = x->l->block->ctx;
	unsigned kind = (ctx >> CTX_CPL_SHIFT & 3) == 3 ? TLB_USER
			: ctx & CTX_AC                  ? TLB_KERNEL_AC
							: TLB_KERNEL;
	size_t tlb = OFF(tlb) + kind * sizeof(struct tlb);
	size_t tag = tlb + (access & MEM_W ? offsetof(struct tlb_entry, write_tag)
					   : offsetof(struct tlb_entry, read_tag));
	struct site *s;

	if (is_slow(x)) {
		s = new_site(x, SITE_SLOW, x->l->guest[x->i]);
		s->size = size;
		s->access = access;
		s->seg = seg;
		e_store_imm32(b, OFF(exit_code), site_id(x, s));
		e8(b, 0xe8);
		e32(b, (b->base + x->l->thunks->slow) - (b->p + 4));
		return;
	}
	e_mov(b, T1, T0);
	e_shift(b, 1, 5, T1, 7);
	e_arith_imm(b, 0, 4, T1, 0x7fe0);
	e_op_indexed(b, 0x2b, 1, T0, T1, tag); /* sub T0, tag */
	e_arith_imm(b, 1, 7, T0, PAGE_SIZE - size);
	s = new_site(x, SITE_MEM, x->l->guest[x->i]);
	s->size = size;
	s->access = access;
	s->seg = seg;
	s->tag_off = tag;
	add_stub(x, e_jcc(b, 7, false), s); /* ja */
	e_op_indexed(b, 0x03, 1, T0, T1, tlb + offsetof(struct tlb_entry, host));
	s->patch = cache_off(x, b->p);
}

/* The whole way for the instruction's own memory operand: T0 becomes a host address. */
static void emit_memory(struct lower *x, unsigned size, unsigned access, s32 add)
{
	unsigned seg = x->insn->mem.seg;

	flags_clobber(x, x->live_in[x->i]);
	emit_effective(x, add);
	emit_segment(x, seg);
	emit_check(x, size, access, seg);
}

/* ---- copying an instruction ------------------------------------------------------------------ */

enum rm_form { RM_REG, RM_T0, RM_STATE };

struct operands {
	unsigned reg, rm, vvvv, op; /* host numbers for the fields */
	enum rm_form form;
	size_t state; /* RM_STATE: struct cpu offset */
	bool no_rex;  /* AH..DH are among the operands */
};

static void encode_legacy(struct lower *x, const struct operands *o)
{
	const struct insn *insn = x->insn;
	struct code_buf *b = x->b;
	unsigned end = insn->has_modrm ? insn->modrm_offset : insn->imm_offset;
	bool bit_scan =
		insn->mnemonic == ZYDIS_MNEMONIC_BSF || insn->mnemonic == ZYDIS_MNEMONIC_BSR;
	bool p66 = insn->prefixes & PFX_66;
	u8 rex = 0;

	if ((x->l->block->ctx & CTX_MODE_MASK) == CTX_16 && !insn->mandatory && !insn->bytewide)
		p66 = insn->opsize == 2;
	if (insn->prefixes & PFX_LOCK)
		e8(b, 0xf0);
	if (p66)
		e8(b, 0x66);
	/* A hidden LZCNT or TZCNT decodes as a bit scan: its F3 must not reach the host */
	if (insn->prefixes & PFX_REP && !bit_scan)
		e8(b, 0xf3);
	if (insn->prefixes & PFX_REPNE)
		e8(b, 0xf2);
	if (insn->rex)
		rex = 0x40 | (insn->rex & 8);
	if (insn->has_modrm && (o->reg & 8))
		rex |= 0x44;
	if ((insn->has_modrm && o->form == RM_REG && (o->rm & 8)) || (insn->gpr_op && (o->op & 8)))
		rex |= 0x41;
	/* SPL..DIL, and T registers as bytes, need a REX; AH..DH must not have one */
	if (rex && !(o->no_rex && rex == 0x40))
		e8(b, rex);
	if (insn->map == 0 && !insn->has_modrm && !is_long(x) && (insn->opcode & 0xf0) == 0x40) {
		e8(b, 0xff); /* INC and DEC of the one-byte map */
		e8(b, 0xc0 | (insn->opcode & 8) | (o->op & 7));
		return;
	}
	for (unsigned i = insn->opcode_offset; i < end; i++) {
		u8 v = insn->bytes[i];

		if (i == end - 1u && insn->gpr_op)
			v = (v & 0xf8) | (o->op & 7);
		if (insn->map == 0 && i == insn->opcode_offset && v == 0x82)
			v = 0x80; /* alias that 64-bit mode lacks */
		e8(b, v);
	}
}

static void encode_vex(struct lower *x, const struct operands *o)
{
	const u8 *p = x->insn->bytes + x->insn->opcode_offset;
	struct code_buf *b = x->b;
	u8 map = p[0] == 0xc4 ? p[1] & 0x1f : 1;
	u8 last = p[0] == 0xc4 ? p[2] : (p[1] & 0x7f);
	bool rm8 = o->form == RM_REG && (o->rm & 8);

	last = (last & 0x87) | (~o->vvvv & 15) << 3;
	e8(b, 0xc4);
	e8(b, (o->reg & 8 ? 0 : 0x80) | 0x40 | (rm8 ? 0 : 0x20) | map);
	e8(b, last);
	e8(b, x->insn->opcode);
}

static void encode_evex(struct lower *x, const struct operands *o)
{
	const u8 *p = x->insn->bytes + x->insn->opcode_offset;
	struct code_buf *b = x->b;
	u8 p0 = p[1], p1 = p[2];

	p0 = (p0 & ~0x80) | (o->reg & 8 ? 0 : 0x80);
	if (o->form != RM_REG)
		p0 |= 0x60;
	else if (x->insn->gpr_rm)
		p0 = (p0 & ~0x20) | 0x40 | (o->rm & 8 ? 0 : 0x20);
	p1 = (p1 & 0x87) | (~o->vvvv & 15) << 3;
	e8(b, 0x62);
	e8(b, p0);
	e8(b, p1);
	e8(b, p[3]);
	e8(b, x->insn->opcode);
}

static void encode(struct lower *x, const struct operands *o)
{
	const struct insn *insn = x->insn;
	struct code_buf *b = x->b;

	switch (insn->encoding) {
	case ENCODING_LEGACY: encode_legacy(x, o); break;
	case ENCODING_VEX: encode_vex(x, o); break;
	default: encode_evex(x, o); break;
	}
	if (insn->has_modrm) {
		switch (o->form) {
		case RM_REG: e8(b, 0xc0 | (o->reg & 7) << 3 | (o->rm & 7)); break;
		case RM_T0: e8(b, (o->reg & 7) << 3 | T0); break;
		case RM_STATE: e_state(b, o->reg, o->state); break;
		}
	}
	for (unsigned i = insn->imm_offset; i < insn->len; i++)
		e8(b, insn->bytes[i]);
}

/* May the register in ModRM.rm be given as a memory operand (its home) instead? */
static bool rm_takes_memory(const struct insn *insn)
{
	u8 op = insn->opcode;

	if (insn->encoding != ENCODING_LEGACY)
		return false;
	if (insn->map == 0) {
		if (op < 0x40)
			return (op & 7) <= 3;
		switch (op) {
		case 0x63: return insn->mnemonic == ZYDIS_MNEMONIC_MOVSXD;
		case 0x69:
		case 0x6b:
		case 0x80:
		case 0x81:
		case 0x83:
		case 0x84:
		case 0x85:
		case 0x88:
		case 0x89:
		case 0x8a:
		case 0x8b:
		case 0xc0:
		case 0xc1:
		case 0xc6:
		case 0xc7:
		case 0xd0:
		case 0xd1:
		case 0xd2:
		case 0xd3:
		case 0xf6:
		case 0xf7:
		case 0xfe: return true;
		case 0xff: return ((insn->modrm >> 3) & 7) <= 1;
		}
		return false;
	}
	if (insn->map == 1)
		return (op >= 0x40 && op <= 0x4f) || (op >= 0x90 && op <= 0x9f) || op == 0xaf ||
		       op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf;
	return false;
}

/* A general-register operand that lives in memory and goes through a temporary. */
struct moved {
	u8 reg;   /* guest register */
	u8 high;  /* its second byte (AH..BH) */
	u8 width; /* bytes */
	u8 temp;
	u8 loaded;
	u8 store;
};

struct moves {
	struct moved m[4];
	unsigned count;
};

static bool is_high_byte(const struct insn *insn, u8 gpr, unsigned field)
{
	return gpr >> GPR_WIDTH_SHIFT == 1 && !insn->rex && insn->encoding == ENCODING_LEGACY &&
	       field >= 4 && field < 8;
}

static void load_moved(struct lower *x, struct moved *m)
{
	struct code_buf *b = x->b;

	m->loaded = 1;
	if (m->width == 1) { /* movzx temp, byte [home] */
		e_rex(b, 0, m->temp, 0);
		e8(b, 0x0f);
		e8(b, 0xb6);
		e_state(b, m->temp, HOME(m->reg) + m->high);
	} else {
		e_load(b, m->temp, HOME(m->reg));
	}
}

/* Host number of the register field @field, whose operand is @gpr; loads it into @temp if homed. */
static unsigned place(struct lower *x, struct moves *mv, u8 gpr, unsigned field, unsigned temp)
{
	bool high = is_high_byte(x->insn, gpr, field);
	unsigned reg = high ? field - 4 : field;
	unsigned width = gpr >> GPR_WIDTH_SHIFT;
	struct moved *m = NULL;

	if (!gpr || !HOMED(reg))
		return field;
	for (unsigned i = 0; i < mv->count && !m; i++)
		if (mv->m[i].reg == reg && mv->m[i].high == high && mv->m[i].width == width)
			m = &mv->m[i];
	if (!m) {
		m = &mv->m[mv->count++];
		*m = (struct moved){ .reg = reg, .high = high, .width = width, .temp = temp };
	}
	m->store |= !!(gpr & MEM_W);
	/* a narrow write keeps the rest of the register */
	if ((gpr & MEM_R || width < 4) && !m->loaded)
		load_moved(x, m);
	return m->temp;
}

static void store_moves(struct lower *x, const struct moves *mv)
{
	for (unsigned i = 0; i < mv->count; i++) {
		const struct moved *m = &mv->m[i];

		if (!m->store)
			continue;
		if (m->width == 1)
			e_op_state(x->b, 0x88, 0, m->temp, HOME(m->reg) + m->high);
		else
			e_store(x->b, m->temp, HOME(m->reg));
	}
}

/* Re-encodes the instruction; a memory operand's host address is in T0 already. */
static void emit_copy(struct lower *x, bool memory)
{
	const struct insn *insn = x->insn;
	struct operands o = {
		.reg = insn->reg, .rm = insn->rm, .vvvv = insn->vvvv, .op = insn->reg_op
	};
	struct moves mv = { .count = 0 };
	bool reg_high = is_high_byte(insn, insn->gpr_reg, insn->reg) && !HOMED(insn->reg - 4);
	bool rm_high =
		!memory && is_high_byte(insn, insn->gpr_rm, insn->rm) && !HOMED(insn->rm - 4);
	bool legacy_temp = (reg_high || rm_high) && !memory;
	unsigned home;

	flags_before(x);
	o.no_rex = reg_high || rm_high;
	o.form = memory ? RM_T0 : RM_REG;
	if (insn->reg == REG_NONE)
		o.reg = 0;
	if (!memory && insn->gpr_rm) {
		bool high = is_high_byte(insn, insn->gpr_rm, insn->rm);

		home = high ? insn->rm - 4 : insn->rm;
		if (HOMED(home) && rm_takes_memory(insn)) {
			o.form = RM_STATE;
			o.state = HOME(home) + high;
		}
	}
	o.reg = place(x, &mv, insn->gpr_reg, o.reg, legacy_temp ? T0 : T2);
	if (o.form == RM_REG && insn->gpr_rm)
		o.rm = place(x, &mv, insn->gpr_rm, o.rm, legacy_temp ? T0 : T1);
	o.vvvv = place(x, &mv, insn->gpr_vvvv, o.vvvv, T3);
	o.op = place(x, &mv, insn->gpr_op, o.op, T1);
	encode(x, &o);
	if (o.form == RM_STATE && (insn->gpr_rm & MEM_W) && insn->gpr_rm >> GPR_WIDTH_SHIFT == 4)
		e_store_imm32(x->b, o.state + 4, 0);
	store_moves(x, &mv);
	flags_after(x);
}

/* An instruction whose only memory access is its explicit operand. */
static void lower_copy(struct lower *x)
{
	const struct insn *insn = x->insn;
	bool memory = insn->mem.present && insn->mem.access;

	if (memory)
		emit_memory(x, insn->mem.size, insn->mem.access, 0);
	emit_copy(x, memory);
}

/* ---- exits ---------------------------------------------------------------------------------- */

/* T0: RIP to continue at. Looks it up in the jump cache. */
static void emit_indirect(struct lower *x)
{
	struct code_buf *b = x->b;
	size_t jc = OFF(jc);
	u8 *miss[3];

	flags_clobber(x, FL_ALL);
	if (is_single(x)) {
		e_store(b, T0, OFF(exit_arg));
		e_store_imm32(b, OFF(exit_code), EXIT_JUMP);
		e_jmp_to(b, b->base + x->l->thunks->exit_saved);
		x->ended = true;
		return;
	}
	if (!is_long(x))
		e_mov32(b, T0, T0);
	e_mov(b, T1, T0);
	e_shift(b, 1, 5, T1, 10);
	e_xor(b, T1, T0);
	e_arith_imm(b, 0, 4, T1, JC_ENTRIES - 1);
	e_shift(b, 0, 4, T1, 4);
	e_op_indexed(b, 0x3b, 1, T0, T1, jc + offsetof(struct jump_entry, pc));
	miss[0] = e_jcc(b, 5, false);
	e_op_indexed(b, 0x8b, 0, T2, T1, jc + offsetof(struct jump_entry, ctx));
	e_op_state(b, 0x3b, 0, T2, OFF(jc_key));
	miss[1] = e_jcc(b, 5, false);
	e_cmp_state32(b, OFF(exit_request), 0);
	miss[2] = e_jcc(b, 5, false);
	e_op_indexed(b, 0x8b, 0, T2, T1, jc + offsetof(struct jump_entry, code));
	e_op_state(b, 0x03, 1, T2, OFF(code_base));
	e_arith_imm(b, 1, 4, T0, (u32)-4096);
	e_store(b, T0, OFF(page_base));
	e8(b, 0x41); /* jmp r14 */
	e8(b, 0xff);
	e8(b, 0xe0 | (T2 & 7));
	for (unsigned i = 0; i < 3; i++)
		e_patch(miss[i], b->p);
	e_store(b, T0, OFF(exit_arg));
	e_store_imm32(b, OFF(exit_code), EXIT_JUMP);
	e_jmp_to(b, b->base + x->l->thunks->exit_saved);
	x->ended = true;
}

/* Leaves if another thread asked for it; afterwards continues with the flags where x->form says. */
static void emit_poll(struct lower *x, u8 live, s32 target)
{
	struct code_buf *b = x->b;
	u8 *at;

	if (x->form == FLAGS_HOST && live) {
		e_mov(b, T1, RCX);
		e_load32(b, RCX, OFF(exit_request));
		e8(b, 0xe3); /* jrcxz over the way out */
		at = b->p;
		e8(b, 0);
		e_mov(b, RCX, T1);
		add_stub(x, e_jmp(b, false), new_site(x, SITE_POLL, target));
		*at = b->p - (at + 1);
		e_mov(b, RCX, T1);
		return;
	}
	flags_clobber(x, live);
	e_cmp_state32(b, OFF(exit_request), 0);
	at = e_jcc(b, 5, false);
	add_stub(x, at, new_site(x, SITE_POLL, target));
}

/* Unconditional transfer to page offset @target of the current page (or beyond it). */
static void emit_direct(struct lower *x, s32 target, u8 live)
{
	struct code_buf *b = x->b;
	struct site *s;

	if (is_single(x)) {
		emit_exit(x, SITE_NEXT, target);
		return;
	}
	if (target < 0 || target >= (s32)PAGE_SIZE) {
		flags_clobber(x, live);
		e_load(b, T0, OFF(page_base));
		e_lea(b, 1, T0, T0, REG_NONE, 1, target);
		emit_indirect(x);
		return;
	}
	if (target <= x->l->guest[x->i])
		emit_poll(x, live, target);
	if (!live)
		x->form = FLAGS_DEAD;
	s = new_site(x, SITE_LINK, target);
	add_stub(x, e_jmp(b, true), s);
	s->patch = cache_off(x, b->p - 4);
	x->ended = true;
}

static s32 branch_target(const struct lower *x)
{
	return (s32)x->l->guest[x->i] + x->insn->len + (s32)x->insn->imm;
}

static void lower_jcc(struct lower *x)
{
	struct code_buf *b = x->b;
	s32 target = branch_target(x);
	unsigned cc = x->insn->opcode & 15;
	u8 live = x->l->live_taken[x->i];
	enum flags_form form;
	struct site *s;
	u8 *skip;

	flags_need_host(x);
	form = x->form;
	if (!is_single(x) && target > x->l->guest[x->i] && target < (s32)PAGE_SIZE) {
		if (!live)
			x->form = FLAGS_DEAD;
		s = new_site(x, SITE_LINK, target);
		add_stub(x, e_jcc(b, cc, true), s);
		s->patch = cache_off(x, b->p - 4);
	} else {
		skip = e_jcc(b, cc ^ 1, false);
		emit_direct(x, target, live);
		e_patch(skip, b->p);
		x->ended = false;
	}
	x->form = form;
}

/* LOOP, LOOPcc and JrCXZ: the native instruction decides, on the same RCX. */
static void lower_loop(struct lower *x)
{
	struct code_buf *b = x->b;
	s32 target = branch_target(x);
	enum flags_form form;
	u8 *skip;

	if (x->insn->flags_read)
		flags_need_host(x);
	form = x->form;
	if (x->insn->addrsize == 4)
		e8(b, 0x67);
	e8(b, x->insn->opcode);
	e8(b, 5);
	skip = e_jmp(b, false);
	emit_direct(x, target, x->l->live_taken[x->i]);
	e_patch(skip, b->p);
	x->ended = false;
	x->form = form;
}

/* ---- the stack ------------------------------------------------------------------------------ */

static unsigned push_bytes(const struct lower *x)
{
	if (is_long(x))
		return x->insn->prefixes & PFX_66 && !(x->insn->rex & 8) &&
				       x->insn->kind != KIND_CALL && x->insn->kind != KIND_RET
			       ? 2
			       : 8;
	return x->insn->opsize == 2 ? 2 : 4;
}

/* T0 = address for a stack access at T2 */
static void emit_stack_address(struct lower *x)
{
	switch (stack_width(x)) {
	case 8: e_mov(x->b, T0, T2); break;
	case 4: e_mov32(x->b, T0, T2); break;
	default: movzx16(x->b, T0, T2); break;
	}
}

static void emit_store_rsp(struct lower *x)
{
	switch (stack_width(x)) {
	case 8: e_store(x->b, T2, HOME(RSP)); break;
	case 4:
		e_mov32(x->b, T2, T2);
		e_store(x->b, T2, HOME(RSP));
		break;
	default: e_store16(x->b, T2, HOME(RSP)); break;
	}
}

/* Pushes host register @src; the flags have been seen to. Uses T0, T1, T2. */
static void emit_push(struct lower *x, unsigned src, unsigned bytes)
{
	struct code_buf *b = x->b;

	e_load(b, T2, HOME(RSP));
	e_lea(b, 1, T2, T2, REG_NONE, 1, -(s32)bytes);
	emit_stack_address(x);
	emit_check(x, bytes, MEM_W, SEG_SS);
	e_store_t0(b, src, bytes);
	emit_store_rsp(x);
}

/* Reads the top of the stack into T3 (zero-extended 2 and 4) without moving RSP. */
static void emit_peek(struct lower *x, unsigned bytes)
{
	e_load(x->b, T2, HOME(RSP));
	emit_stack_address(x);
	emit_check(x, bytes, MEM_R, SEG_SS);
	if (bytes == 2)
		e_mov_imm(x->b, T3, 0);
	e_load_t0(x->b, T3, bytes);
}

static void lower_push(struct lower *x)
{
	const struct insn *insn = x->insn;
	unsigned bytes = push_bytes(x);
	unsigned src = T3;

	flags_clobber(x, x->live_in[x->i]);
	if (insn->mem.present) {
		emit_memory(x, bytes, MEM_R, 0);
		e_load_t0(x->b, T3, bytes);
	} else if (insn->gpr_op || insn->gpr_rm) {
		src = use_reg(x, insn->gpr_op ? insn->reg_op : insn->rm, T3);
	} else {
		e_mov_imm(x->b, T3, insn->imm);
	}
	emit_push(x, src, bytes);
}

static void emit_move_rsp(struct lower *x, u32 bytes)
{
	e_load(x->b, T2, HOME(RSP));
	e_lea(x->b, 1, T2, T2, REG_NONE, 1, bytes);
	emit_store_rsp(x);
}

/* T3 -> guest register of @bytes (2: merged, 4: zero-extended) */
static void emit_set_reg(struct lower *x, unsigned reg, unsigned bytes)
{
	struct code_buf *b = x->b;

	if (HOMED(reg)) {
		if (bytes == 2)
			e_store16(b, T3, HOME(reg));
		else
			e_store(b, T3, HOME(reg));
		return;
	}
	if (bytes == 2)
		e8(b, 0x66);
	if (bytes == 8)
		e_mov(b, reg, T3);
	else
		e_mov32(b, reg, T3);
}

static void lower_pop(struct lower *x)
{
	const struct insn *insn = x->insn;
	unsigned bytes = push_bytes(x);

	flags_clobber(x, x->live_in[x->i]);
	emit_peek(x, bytes);
	if (insn->mem.present) {
		/* the address is computed with RSP already moved */
		emit_memory(x, bytes, MEM_W, insn->mem.base == RSP ? bytes : 0);
		e_store_t0(x->b, T3, bytes);
		emit_move_rsp(x, bytes);
		return;
	}
	emit_move_rsp(x, bytes);
	emit_set_reg(x, insn->gpr_op ? insn->reg_op : insn->rm, bytes);
}

static void lower_leave(struct lower *x)
{
	unsigned bytes = push_bytes(x);

	flags_clobber(x, x->live_in[x->i]);
	e_load(x->b, T2, HOME(RBP));
	emit_stack_address(x);
	emit_check(x, bytes, MEM_R, SEG_SS);
	if (bytes == 2)
		e_mov_imm(x->b, T3, 0);
	e_load_t0(x->b, T3, bytes);
	e_load(x->b, T2, HOME(RBP));
	e_lea(x->b, 1, T2, T2, REG_NONE, 1, bytes);
	emit_store_rsp(x);
	emit_set_reg(x, RBP, bytes);
}

/* Return address of a near call into T3. */
static void emit_return_address(struct lower *x)
{
	s32 next = x->l->guest[x->i] + x->insn->len;

	if (x->l->block->ctx & CTX_NONFLAT) {
		/* one instruction a block: C has set cpu->rip */
		e_load(x->b, T3, OFF(rip));
		e_lea(x->b, 1, T3, T3, REG_NONE, 1, x->insn->len);
		return;
	}
	e_load(x->b, T3, OFF(page_base));
	e_lea(x->b, 1, T3, T3, REG_NONE, 1, next);
}

/* Target of an indirect branch (register or memory) into scratch[3]. */
static void emit_target(struct lower *x, unsigned bytes)
{
	struct code_buf *b = x->b;
	unsigned src;

	if (x->insn->mem.present) {
		emit_memory(x, bytes, MEM_R, 0);
		if (bytes == 2)
			e_mov_imm(b, T3, 0);
		e_load_t0(b, T3, bytes);
		src = T3;
	} else {
		src = use_reg(x, x->insn->rm, T3);
		if (bytes == 4) {
			e_mov32(b, T3, src);
			src = T3;
		} else if (bytes == 2) {
			movzx16(b, T3, src);
			src = T3;
		}
	}
	e_store(b, src, OFF(scratch[3]));
}

static bool branch_is_direct(const struct insn *insn)
{
	return !insn->has_modrm;
}

static void lower_call(struct lower *x)
{
	unsigned bytes = push_bytes(x);

	flags_clobber(x, FL_ALL & x->live_in[x->i]);
	if (branch_is_direct(x->insn)) {
		emit_return_address(x);
		emit_push(x, T3, bytes);
		emit_direct(x, branch_target(x), x->l->live_taken[x->i]);
		return;
	}
	emit_target(x, bytes);
	emit_return_address(x);
	emit_push(x, T3, bytes);
	e_load(x->b, T0, OFF(scratch[3]));
	emit_indirect(x);
}

static void lower_ret(struct lower *x)
{
	unsigned bytes = push_bytes(x);

	flags_clobber(x, x->live_in[x->i]);
	emit_peek(x, bytes);
	emit_move_rsp(x, bytes + (x->insn->imm_bytes ? (u16)x->insn->imm : 0));
	e_mov(x->b, T0, T3);
	emit_indirect(x);
}

static void lower_jmp(struct lower *x)
{
	if (branch_is_direct(x->insn)) {
		emit_direct(x, branch_target(x), x->l->live_taken[x->i]);
		return;
	}
	flags_clobber(x, x->live_in[x->i]);
	emit_target(x, is_long(x) ? 8 : push_bytes(x));
	e_load(x->b, T0, OFF(scratch[3]));
	emit_indirect(x);
}

/* ---- instructions with a lowering of their own ----------------------------------------------- */

static void lower_lea(struct lower *x)
{
	const struct insn *insn = x->insn;
	struct code_buf *b = x->b;
	unsigned dst = HOMED(insn->reg) ? T3 : insn->reg;

	emit_effective(x, 0);
	if (insn->opsize == 2) {
		if (dst == T3)
			e_load(b, T3, HOME(insn->reg));
		e8(b, 0x66);
		e_mov32(b, dst, T0);
	} else if (insn->opsize == 4) {
		e_mov32(b, dst, T0);
	} else {
		e_mov(b, dst, T0);
	}
	if (dst == T3)
		e_store(b, T3, HOME(insn->reg));
}

/* MOV between the accumulator and an absolute address has no ModRM to rewrite. */
static void lower_mov(struct lower *x)
{
	const struct insn *insn = x->insn;
	struct code_buf *b = x->b;

	if (insn->map != 0 || insn->opcode < 0xa0 || insn->opcode > 0xa3) {
		lower_copy(x);
		return;
	}
	emit_memory(x, insn->bytewide ? 1 : insn->opsize, insn->opcode < 0xa2 ? MEM_R : MEM_W, 0);
	if (!insn->bytewide && insn->opsize == 2)
		e8(b, 0x66);
	e_rex(b, !insn->bytewide && insn->opsize == 8, 0, 0);
	e8(b, (insn->opcode < 0xa2 ? 0x8a : 0x88) | !insn->bytewide);
	e8(b, RAX << 3 | T0);
}

/* BT and friends with a register bit offset reach beyond the operand in memory. */
static void lower_bt(struct lower *x)
{
	const struct insn *insn = x->insn;
	struct code_buf *b = x->b;
	unsigned size = insn->opsize;
	unsigned shift = size == 8 ? 6 : size == 4 ? 5 : 4;
	struct operands o = { .reg = T2, .form = RM_T0 };
	unsigned src;

	if (!insn->mem.present || insn->imm_bytes) {
		lower_copy(x);
		return;
	}
	flags_clobber(x, x->live_in[x->i]);
	emit_effective(x, 0);
	src = use_reg(x, insn->reg, T2);
	/* T3 = sign-extended bit offset, T2 = the bit within the operand */
	e_rex(b, 1, T3, src);
	if (size == 8) {
		e8(b, 0x8b);
	} else if (size == 4) {
		e8(b, 0x63); /* movsxd */
	} else {
		e8(b, 0x0f); /* movsx */
		e8(b, 0xbf);
	}
	e8(b, 0xc0 | (T3 & 7) << 3 | (src & 7));
	e_mov32(b, T2, T3);
	e_arith_imm(b, 0, 4, T2, size * 8 - 1);
	e_shift(b, 1, 7, T3, shift);
	e_lea(b, insn->addrsize == 8, T0, T0, T3, size, 0);
	if (insn->addrsize == 2)
		movzx16(b, T0, T0);
	emit_segment(x, insn->mem.seg);
	emit_check(x, size, insn->mem.access, insn->mem.seg);
	flags_before(x);
	encode(x, &o);
	flags_after(x);
}

/* CMPXCHG8B/16B wants guest RBX in host RBX, which is T0. */
static void lower_cmpxchg8b(struct lower *x)
{
	const struct insn *insn = x->insn;
	struct code_buf *b = x->b;
	bool wide = insn->rex & 8;

	emit_memory(x, wide ? 16 : 8, MEM_RW, 0);
	flags_before(x);
	e_mov(b, T2, T0);
	e_load(b, RBX, HOME(RBX));
	if (insn->prefixes & PFX_LOCK)
		e8(b, 0xf0);
	e8(b, wide ? 0x49 : 0x41);
	e8(b, 0x0f);
	e8(b, 0xc7);
	e8(b, 1 << 3 | (T2 & 7)); /* [r14] */
	flags_after(x);
}

static void lower_clflush(struct lower *x)
{
	emit_memory(x, 1, MEM_R, 0);
}

static bool fpu_is_off(const struct lower *x)
{
	u32 ctx = x->l->block->ctx;

	switch (x->insn->fpu) {
	case FPU_X87: return ctx & CTX_NO_X87;
	case FPU_SSE: return ctx & CTX_NO_SSE;
	case FPU_AVX: return ctx & CTX_NO_AVX;
	case FPU_AVX512: return ctx & CTX_NO_AVX512;
	default: return false;
	}
}

bool insn_needs_helper(const struct insn *insn)
{
	switch (insn->kind) {
	case KIND_HELPER:
	case KIND_FPENV:
	case KIND_GATHER:
	case KIND_MASKMOV: return true;
	default: return insn->mem.present && insn->mem.access && insn->mem.size == 0;
	}
}

bool insn_ends_block(const struct insn *insn)
{
	switch (insn->kind) {
	case KIND_DENY:
	case KIND_UD:
	case KIND_CALL:
	case KIND_RET:
	case KIND_JMP: return true;
	default: return !insn->allowed || insn_needs_helper(insn);
	}
}

static void lower_insn(struct lower *x)
{
	u16 here = x->l->guest[x->i];

	if (!x->insn->allowed || x->insn->kind == KIND_DENY || x->insn->kind == KIND_UD) {
		emit_exit(x, SITE_UD, here);
		return;
	}
	if (fpu_is_off(x)) {
		emit_exit(x, SITE_FPU, here);
		return;
	}
	if (insn_needs_helper(x->insn)) {
		emit_exit(x, SITE_HELPER, here);
		return;
	}
	switch (x->insn->kind) {
	case KIND_NOP: break;
	case KIND_PUSH: lower_push(x); break;
	case KIND_POP: lower_pop(x); break;
	case KIND_CALL: lower_call(x); break;
	case KIND_RET: lower_ret(x); break;
	case KIND_JMP: lower_jmp(x); break;
	case KIND_JCC: lower_jcc(x); break;
	case KIND_LOOP: lower_loop(x); break;
	case KIND_LEA: lower_lea(x); break;
	case KIND_LEAVE: lower_leave(x); break;
	case KIND_CMPXCHG8B: lower_cmpxchg8b(x); break;
	case KIND_BT: lower_bt(x); break;
	case KIND_CLFLUSH: lower_clflush(x); break;
	case KIND_MOV: lower_mov(x); break;
	default: lower_copy(x); break;
	}
}

/* ---- the block ------------------------------------------------------------------------------ */

/* Will the lowering of this instruction use EFLAGS for itself? */
static bool insn_clobbers(const struct insn *insn)
{
	switch (insn->kind) {
	case KIND_PUSH:
	case KIND_POP:
	case KIND_CALL:
	case KIND_RET:
	case KIND_LEAVE: return true;
	case KIND_LEA:
	case KIND_NOP: return false;
	default: return insn->mem.present && insn->mem.access;
	}
}

static void compute_liveness(struct lower *x)
{
	struct lowering *l = x->l;
	u8 live;

	for (int i = l->count - 1; i >= 0; i--) {
		const struct insn *insn = &l->insns[i];

		if (i + 1 < (int)l->count)
			l->live_after[i] = x->live_in[i + 1];
		if (l->block->ctx & (CTX_STEP | CTX_SLOW | CTX_TF))
			l->live_after[i] = l->live_taken[i] = FL_ALL;
		live = l->live_after[i];
		if (insn->kind == KIND_JCC || insn->kind == KIND_LOOP || insn->kind == KIND_JMP ||
		    insn->kind == KIND_CALL)
			live |= l->live_taken[i];
		if (insn_needs_helper(insn) || !insn->allowed || insn->kind == KIND_UD)
			live = FL_ALL;
		if (insn->kind == KIND_RET || insn->kind == KIND_CALL)
			live = FL_ALL;
		x->live_in[i] = insn->flags_read | (live & ~insn->flags_written);
		if (insn_needs_helper(insn))
			x->live_in[i] = FL_ALL;
	}
}

/* Where the block would like to find the flags when it starts. */
static enum flags_form preferred_form(const struct lower *x)
{
	const struct lowering *l = x->l;

	if (!x->live_in[0])
		return FLAGS_DEAD;
	for (unsigned i = 0; i < l->count; i++) {
		const struct insn *insn = &l->insns[i];

		if (insn_needs_helper(insn) || !insn->allowed || insn_clobbers(insn))
			return FLAGS_SAVED;
		if (flags_merge(insn, l->live_after[i]))
			return FLAGS_HOST;
	}
	return FLAGS_SAVED;
}

static void emit_entries(struct lower *x)
{
	struct block *block = x->l->block;
	struct code_buf *b = x->b;

	block->prefers = x->form = preferred_form(x);
	block->entry_host = block->entry_saved = cache_off(x, b->p);
	if (x->form == FLAGS_HOST) {
		emit_restore_flags(b);
		block->entry_host = cache_off(x, b->p);
	} else if (x->form == FLAGS_SAVED) {
		emit_save_flags(b);
		block->entry_saved = cache_off(x, b->p);
	}
}

void lower_block(struct lowering *l)
{
	struct lower x = { .l = l, .b = l->buf };
	struct block *block = l->block;

	l->site_count = 0;
	block->code = cache_off(&x, x.b->p);
	compute_liveness(&x);
	emit_entries(&x);
	for (x.i = 0; x.i < l->count && !x.ended; x.i++) {
		x.insn = &l->insns[x.i];
		block->map[x.i].host = cache_off(&x, x.b->p) - block->code;
		block->map[x.i].guest = l->guest[x.i];
		lower_insn(&x);
	}
	block->insns = x.i;
	if (!x.ended) {
		x.i = l->count - 1;
		emit_direct(&x, l->guest[l->count], l->live_after[l->count - 1]);
	}
	emit_stubs(&x);
	while (cache_off(&x, x.b->p) < block->entry_saved + BLOCK_MIN_CODE)
		e8(x.b, 0xcc);
	block->code_end = cache_off(&x, x.b->p);
	block->site_count = l->site_count;
}

/* ---- the common code ------------------------------------------------------------------------ */

static const u8 pinned[] = { RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11, R12 };
static const u8 callee_saved[] = { RBX, RBP, R12, R13, R14, R15 };

static void emit_spill(struct code_buf *b)
{
	for (unsigned i = 0; i < ARRAY_LEN(pinned); i++)
		e_store(b, pinned[i], HOME(pinned[i]));
}
static void emit_reload(struct code_buf *b)
{
	for (unsigned i = 0; i < ARRAY_LEN(pinned); i++)
		e_load(b, pinned[i], HOME(pinned[i]));
}
static void e_push(struct code_buf *b, unsigned r)
{
	e_rex(b, 0, 0, r);
	e8(b, 0x50 | (r & 7));
}
static void e_pop(struct code_buf *b, unsigned r)
{
	e_rex(b, 0, 0, r);
	e8(b, 0x58 | (r & 7));
}

static void emit_call_c(struct code_buf *b, void *function)
{
	e_lea(b, 1, RDI, ST, REG_NONE, 1, -CPU_RBP_BIAS);
	e_mov_imm(b, RAX, (u64)(uintptr_t)function);
	e8(b, 0xff); /* call rax */
	e8(b, 0xd0);
}

void lower_thunks(struct code_buf *b, struct thunks *t)
{
	u8 *out;

	/* enter(cpu, code): six pushes and the return address leave rsp 8 short of 16 */
	t->enter = b->p - b->base;
	for (unsigned i = 0; i < ARRAY_LEN(callee_saved); i++)
		e_push(b, callee_saved[i]);
	e_arith_imm(b, 1, 5, RSP, 8);
	e_lea(b, 1, ST, RDI, REG_NONE, 1, CPU_RBP_BIAS);
	e_store(b, RSP, OFF(host_rsp));
	e_mov(b, T1, RSI);
	emit_reload(b);
	e8(b, 0x41); /* jmp r13 */
	e8(b, 0xff);
	e8(b, 0xe0 | (T1 & 7));

	t->exit_host = b->p - b->base;
	emit_save_flags(b);
	t->exit_saved = b->p - b->base;
	emit_spill(b);
	out = b->p;
	e_load(b, RSP, OFF(host_rsp));
	e_arith_imm(b, 1, 0, RSP, 8);
	for (int i = ARRAY_LEN(callee_saved) - 1; i >= 0; i--)
		e_pop(b, callee_saved[i]);
	e8(b, 0xc3);

	/* slow path of a check: T0 = address - tag, T1 = offset of the entry */
	t->mem = b->p - b->base;
	emit_spill(b);
	e_store(b, T0, OFF(scratch[0]));
	e_store(b, T1, OFF(scratch[1]));
	emit_call_c(b, soft_mem_slow);
	e8(b, 0x48); /* test rax, rax */
	e8(b, 0x85);
	e8(b, 0xc0);
	e_patch(e_jcc(b, 4, false), out);
	e_mov(b, T0, RAX);
	emit_reload(b);
	e8(b, 0xff); /* jmp [scratch2] */
	e_state(b, 4, OFF(scratch[2]));

	/* slow access: called, T0 = address or segment offset */
	t->slow = b->p - b->base;
	emit_spill(b);
	e_store(b, T0, OFF(scratch[0]));
	e_arith_imm(b, 1, 5, RSP, 8);
	emit_call_c(b, soft_access_slow);
	e_arith_imm(b, 1, 0, RSP, 8);
	e8(b, 0x48);
	e8(b, 0x85);
	e8(b, 0xc0);
	e_patch(e_jcc(b, 4, false), out);
	e_mov(b, T0, RAX);
	emit_reload(b);
	e8(b, 0xc3);

	t->exit_signal = b->p - b->base;
	e_store_imm32(b, OFF(exit_code), EXIT_SIGNAL);
	e_jmp_to(b, b->base + t->exit_saved);
}
