/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's own instruction, encoded again: registers that live elsewhere are replaced, the
 * memory operand becomes a host pointer, everything else stays as it was.
 */
#include "cpu/x86/footprint.h"
#include "cpu/x86/lower_private.h"

/* Does the host's ModRM.rm need its extension bit? */
static bool rm_high(const struct operands *o)
{
	return (o->form == RM_REG && o->rm & 8) || (o->form == RM_PTR && o->ptr.reg & 8);
}

/* Does a 66 prefix choose between 16 and 32 bits? For what has state of its own (MMX, SSE), and for
 * a few others, it is part of the opcode: another instruction, which may access more. */
static bool sized_by_prefix(const struct insn *insn)
{
	if (insn->fpu != FPU_NONE || insn->mandatory == 0x66 || insn->bytewide)
		return false;
	switch (insn->map) {
	case 0: return true;
	case 1: /* fences; MOVNTI */ return insn->opcode != 0xae && insn->opcode != 0xc3;
	case 2: /* MOVBE, CRC32 */ return insn->opcode == 0xf0 || insn->opcode == 0xf1;
	default: return false;
	}
}

static void encode_legacy(struct lower *x, const struct operands *o)
{
	const struct insn *insn = x->insn;
	struct code_buf *b = x->b;
	unsigned end = insn->has_modrm ? insn->modrm_offset : insn->imm_offset;
	bool bit_scan =
		insn->mnemonic == ZYDIS_MNEMONIC_BSF || insn->mnemonic == ZYDIS_MNEMONIC_BSR;
	bool p66 = insn->prefixes & PFX_66;
	u8 rex = 0;

	if ((x->l->block->ctx & CTX_MODE_MASK) == CTX_16 && sized_by_prefix(insn))
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
	if ((insn->has_modrm && rm_high(o)) || (insn->gpr_op && (o->op & 8)))
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
		if (o->turned && v != 0x85) /* TEST has one direction, in which it makes no odds */
			v |= 2;
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
	bool rm8 = rm_high(o);

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
		p0 = (p0 & ~0x20) | 0x40 | (rm_high(o) ? 0 : 0x20);
	else if (x->insn->gpr_rm)
		p0 = (p0 & ~0x20) | 0x40 | (o->rm & 8 ? 0 : 0x20);
	p1 = (p1 & 0x87) | (~o->vvvv & 15) << 3;
	e8(b, 0x62);
	e8(b, p0);
	e8(b, p1);
	e8(b, p[3]);
	e8(b, x->insn->opcode);
}

void encode(struct lower *x, const struct operands *o)
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
		case RM_PTR:
			e_based(b, o->reg, o->ptr.reg, o->ptr.disp,
				insn->encoding == ENCODING_EVEX);
			break;
		case RM_STATE: e_state(b, o->reg, o->state); break;
		}
	}
	if (x->l->footprint)
		footprint_immediate(x->l->footprint, x->i, cache_off(x, b->p) - x->l->block->code);
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
		case 0xc6:
		case 0xc7:
		case 0xd0:
		case 0xd1:
		case 0xd2:
		case 0xd3:
		case 0xf6:
		case 0xf7:
		case 0xfe: return true;
		/* what ROL and ROR by an immediate make of OF may be another thing in memory */
		case 0xc0:
		case 0xc1: return ((insn->modrm >> 3) & 7) > 1;
		case 0xff: return ((insn->modrm >> 3) & 7) <= 1;
		}
		return false;
	}
	if (insn->map == 1)
		return (op >= 0x40 && op <= 0x4f) || (op >= 0x90 && op <= 0x9f) || op == 0xaf ||
		       op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf;
	return false;
}

/* Of a homed and a pinned register, the homed one in ModRM.reg: can they change places, so that the
 * homed one may be a memory operand? */
static bool can_turn(const struct insn *insn)
{
	u8 op = insn->opcode;

	return insn->encoding == ENCODING_LEGACY && insn->map == 0 && insn->has_modrm &&
	       ((op < 0x40 && (op & 7) == 1) || op == 0x85 || op == 0x89) && insn->gpr_reg &&
	       insn->gpr_rm && HOMED(insn->reg) && !HOMED(insn->rm);
}

/* XOR or SUB of a register and itself: what it was does not count. */
static bool is_zeroing(const struct insn *insn)
{
	return insn->encoding == ENCODING_LEGACY && insn->map == 0 && !insn->bytewide &&
	       (insn->mnemonic == ZYDIS_MNEMONIC_XOR || insn->mnemonic == ZYDIS_MNEMONIC_SUB) &&
	       insn->gpr_reg && insn->gpr_rm && insn->reg == insn->rm && insn->opsize >= 4;
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
	if (!m->high) {
		if (HOMED(m->reg))
			e_load(b, m->temp, HOME(m->reg));
		else
			e_mov(b, m->temp, PINNED(m->reg));
		return;
	}
	e_store(b, PINNED(m->reg), HOME(m->reg));
	e_rex(b, 0, m->temp, 0); /* movzx temp, byte [home + 1] */
	e8(b, 0x0f);
	e8(b, 0xb6);
	e_state(b, m->temp, HOME(m->reg) + 1);
}

/* Host number of the register field @field, whose operand is @gpr; loads it into @temp if it is
 * homed, is BH, or, @legacy, has no number without a REX. */
static unsigned place(struct lower *x, struct moves *mv, u8 gpr, unsigned field, unsigned temp,
		      bool legacy)
{
	bool high = is_high_byte(x->insn, gpr, field);
	unsigned reg = high ? field - 4 : field;
	unsigned width = gpr >> GPR_WIDTH_SHIFT;
	struct moved *m = NULL;

	if (!gpr || (high && reg != RBX))
		return field;
	if (!HOMED(reg) && !high && !(legacy && PINNED(reg) >= 8))
		return PINNED(reg);
	for (unsigned i = 0; i < mv->count && !m; i++)
		if (mv->m[i].reg == reg && mv->m[i].high == high && mv->m[i].width == width)
			m = &mv->m[i];
	if (!m) {
		m = &mv->m[mv->count++];
		*m = (struct moved){ .reg = reg, .high = high, .width = width, .temp = temp };
	}
	m->store |= !!(gpr & MEM_W);
	/* a narrow write keeps the rest of the register */
	if ((gpr & MEM_R || width < 4) && !m->loaded && !is_zeroing(x->insn))
		load_moved(x, m);
	return m->temp;
}

static void store_moves(struct lower *x, const struct moves *mv)
{
	/* BH last: BL's temporary holds what it was */
	for (unsigned high = 0; high < 2; high++) {
		for (unsigned i = 0; i < mv->count; i++) {
			const struct moved *m = &mv->m[i];

			if (!m->store || m->high != high)
				continue;
			if (!m->high) {
				set_reg(x, m->reg, m->temp, 8);
				continue;
			}
			e_store(x->b, PINNED(m->reg), HOME(m->reg));
			e_op_state(x->b, 0x88, 0, m->temp, HOME(m->reg) + 1);
			e_load(x->b, PINNED(m->reg), HOME(m->reg));
		}
	}
}

/* A home is read in full width later: after a narrow store the host's load would wait for it to
 * reach the cache. */
static bool writes_part(u8 gpr)
{
	return gpr & MEM_W && gpr >> GPR_WIDTH_SHIFT < 8;
}

/* Re-encodes the instruction; @memory: the host's view of its memory operand, or NULL. */
static void emit_copy(struct lower *x, const struct ptr *memory)
{
	const struct insn *insn = x->insn;
	struct operands o = {
		.reg = insn->reg, .rm = insn->rm, .vvvv = insn->vvvv, .op = insn->reg_op
	};
	struct moves mv = { .count = 0 };
	/* BH, whose RBX lives elsewhere, goes through memory */
	bool reg_high = is_high_byte(insn, insn->gpr_reg, insn->reg) && insn->reg - 4 != RBX;
	bool rm_is_high =
		!memory && is_high_byte(insn, insn->gpr_rm, insn->rm) && insn->rm - 4 != RBX;
	bool legacy_temp = (reg_high || rm_is_high) && !memory;

	flags_before(x);
	o.no_rex = reg_high || rm_is_high;
	o.form = memory ? RM_PTR : RM_REG;
	if (memory)
		o.ptr = *memory;
	if (o.no_rex && memory && memory->reg != T0) { /* AH..DH cannot stand beside r12 or r15 */
		e_mov(x->b, T0, memory->reg);
		o.ptr.reg = T0;
	}
	if (insn->reg == REG_NONE)
		o.reg = 0;
	if (!memory && insn->gpr_rm) {
		bool high = is_high_byte(insn, insn->gpr_rm, insn->rm);

		if (!high && HOMED(insn->rm) && rm_takes_memory(insn) && !is_zeroing(insn) &&
		    !writes_part(insn->gpr_rm)) {
			o.form = RM_STATE;
			o.state = HOME(insn->rm);
		}
	}
	if (!memory && can_turn(insn)) {
		o.turned = true;
		o.reg = PINNED(insn->rm);
		o.form = RM_STATE;
		o.state = HOME(insn->reg);
		encode(x, &o);
		flags_after(x);
		return;
	}
	o.reg = place(x, &mv, insn->gpr_reg, o.reg, legacy_temp ? T0 : T2, legacy_temp);
	if (o.form == RM_REG && insn->gpr_rm)
		o.rm = place(x, &mv, insn->gpr_rm, o.rm, legacy_temp ? T0 : T1, legacy_temp);
	o.vvvv = place(x, &mv, insn->gpr_vvvv, o.vvvv, memory ? T1 : T0, false);
	o.op = place(x, &mv, insn->gpr_op, o.op, T1, false);
	encode(x, &o);
	store_moves(x, &mv);
	flags_after(x);
}

/* Is RSP named as an operand (an address does not count)? */
static bool names_rsp(const struct insn *insn)
{
	return (insn->gpr_reg && insn->reg == RSP) || (insn->gpr_rm && insn->rm == RSP) ||
	       (insn->gpr_vvvv && insn->vvvv == RSP) || (insn->gpr_op && insn->reg_op == RSP);
}

/* Does it store a register's lowest bytes and nothing else? site.store, or 0. */
static u8 plain_store(const struct insn *insn)
{
	if (insn->mem.access != MEM_W || insn->align || insn->encoding > ENCODING_VEX)
		return 0;
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_MOV: return insn->opcode == 0x89 ? STORE_GPR + insn->reg : 0;
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_MOVSS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_VMOVDQU:
	case ZYDIS_MNEMONIC_VMOVSD:
	case ZYDIS_MNEMONIC_VMOVSS:
	case ZYDIS_MNEMONIC_VMOVUPD:
	case ZYDIS_MNEMONIC_VMOVUPS: return STORE_VECTOR + insn->reg;
	default: return 0;
	}
}

/* The instruction is done, and @count of the block's sites are older. soft_mem_slow() may do the
 * whole of it, if its pointer is wanted for nothing else. */
static void note_store(struct lower *x, unsigned count)
{
	struct site *s = &x->l->sites[count];

	if (x->l->site_count == count + 1 && s->kind == SITE_MEM && !s->span) {
		s->store = plain_store(x->insn);
		s->stub = cache_off(x, x->b->p);
	}
}

void lower_copy(struct lower *x)
{
	const struct insn *insn = x->insn;
	unsigned sites = x->l->site_count;
	struct ptr ptr;

	if (names_rsp(insn))
		settle(x);
	if (!insn->mem.present || !insn->mem.access) {
		emit_copy(x, NULL);
		return;
	}
	ptr = emit_memory(x, insn->mem.size, insn->mem.access, 0);
	emit_copy(x, &ptr);
	note_store(x, sites);
}
