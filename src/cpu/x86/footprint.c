// SPDX-License-Identifier: GPL-2.0-or-later
#include "cpu/x86/footprint.h"

#include <string.h>

/* Is the immediate the last thing of an instruction that the lowering copies, and does nothing but
 * compute with it? Arithmetic, tests, multiplications and moves; not shifts, whose count decides
 * what becomes of the flags. */
static bool only_computes(const struct insn *insn)
{
	u8 op = insn->opcode;

	if (insn->encoding != ENCODING_LEGACY || insn->map || !insn->imm_bytes ||
	    insn->imm2_bytes || insn->imm_offset + insn->imm_bytes != insn->len ||
	    (insn->kind != KIND_COPY && insn->kind != KIND_MOV) || !insn->allowed)
		return false;
	if (op < 0x40)
		return (op & 7) == 4 || (op & 7) == 5;
	switch (op) {
	case 0x69:
	case 0x6b:
	case 0x80:
	case 0x81:
	case 0x83:
	case 0xa8:
	case 0xa9:
	case 0xc6:
	case 0xc7:
	case 0xf6:
	case 0xf7: return true;
	default: return op >= 0xb0 && op <= 0xbf;
	}
}

/* Registers that addresses are made of: the lowering follows constants that are added to them. */
static u16 address_registers(const struct lowering *l)
{
	u16 mask = BIT(RSP);

	for (unsigned i = 0; i < l->count; i++) {
		const struct insn_mem *m = &l->insns[i].mem;

		if (m->base < 16)
			mask |= BIT(m->base);
		if (m->index < 16)
			mask |= BIT(m->index);
	}
	return mask;
}

static bool is_step(const struct insn *insn, u16 addresses)
{
	return insn->writes & addresses && insn->opcode != 0xc6 && insn->opcode != 0xc7 &&
	       (insn->opcode & 0xf0) != 0xb0;
}

/* Where the instruction has a displacement that is left out: the offset in it, or 0. */
static unsigned large_displacement(const struct insn *insn)
{
	unsigned at = insn->imm_offset - 4u, mod = insn->modrm >> 6, rm = insn->modrm & 7;
	s32 disp;

	if (!insn->allowed || !insn->has_modrm || !insn->mem.present || insn->addrsize < 4 ||
	    insn->imm2_bytes || mod == 3 || mod == 1 || at <= insn->modrm_offset || at > 11)
		return 0;
	if (mod == 0 && rm != 5 && !(rm == 4 && (insn->bytes[insn->modrm_offset + 1] & 7) == 5))
		return 0;
	memcpy(&disp, insn->bytes + at, sizeof(disp));
	if (disp != insn->mem.disp || (disp < FOOTPRINT_DISP_MIN && disp > -FOOTPRINT_DISP_MIN))
		return 0;
	/* LEA may be a step of an address */
	return insn->kind == KIND_LEA && insn->mem.index == REG_NONE && insn->mem.base == insn->reg
		       ? 0
		       : at;
}

void footprint_begin(struct footprint_draft *d)
{
	memset(&d->print, 0, sizeof(d->print));
	memset(d->of_insn, 0, sizeof(d->of_insn));
	memset(d->family, 0, sizeof(d->family));
	d->families = d->fixed = 0;
	d->full = false;
	d->print.field = d->field;
	d->print.move = d->move;
	d->print.byte = d->byte;
}

void footprint_range(struct footprint_draft *d, u16 off)
{
	if (d->print.ranges == FOOTPRINT_RANGES)
		d->full = true;
	else
		d->print.range[d->print.ranges++] = (struct footprint_range){ .off = off };
}

static void add_bytes(struct footprint_draft *d, const struct insn *insn)
{
	struct footprint *f = &d->print;

	if (!insn->mnemonic)
		d->full = true; /* it is not valid: nobody knows how many bytes say so */
	memcpy(f->byte + f->bytes, insn->bytes, insn->len);
	f->bytes += insn->len;
	f->range[f->ranges - 1].bytes += insn->len;
}

/* Leaves out @bytes at offset @at of the instruction that was added last. */
static struct footprint_field *leave_out(struct footprint_draft *d, const struct insn *insn,
					 unsigned at, unsigned bytes)
{
	struct footprint *f = &d->print;
	struct footprint_field *field = &f->field[f->fields++];

	at += f->bytes - insn->len;
	*field = (struct footprint_field){ .at = at, .bytes = bytes };
	memset(f->byte + at, 0, bytes);
	return field;
}

void footprint_seen(struct footprint_draft *d, const struct insn *insn)
{
	unsigned at = large_displacement(insn);

	if (d->full)
		return;
	add_bytes(d, insn);
	if (at)
		leave_out(d, insn, at, 4);
	if (only_computes(insn))
		leave_out(d, insn, insn->imm_offset, insn->imm_bytes);
}

static u8 own_segment(const struct insn_mem *m)
{
	return m->seg == SEG_FS || m->seg == SEG_GS ? m->seg : SEG_DS;
}

/* Can the two accesses share a pointer? */
static bool same_expression(const struct insn *a, const struct insn *b)
{
	const struct insn_mem *x = &a->mem, *y = &b->mem;

	return x->base == y->base && x->index == y->index && x->scale == y->scale &&
	       own_segment(x) == own_segment(y) && a->addrsize == b->addrsize;
}

static unsigned family_of(struct footprint_draft *d, const struct lowering *l, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (d->family[k] && same_expression(&l->insns[k], &l->insns[i]))
			return d->family[k];
	return d->families + 1 < FOOTPRINT_FAMILIES ? ++d->families : 0;
}

static void leave_out_displacement(struct footprint_draft *d, const struct lowering *l, unsigned i)
{
	const struct insn *insn = &l->insns[i];
	unsigned at = large_displacement(insn), family = at ? family_of(d, l, i) : 0;
	struct footprint_field *field;

	if (!family || insn_has_helper(insn) || insn->masked) /* C reads block->last */
		return;
	d->family[i] = family;
	d->values[d->print.fields] = (u32)insn->mem.disp;
	field = leave_out(d, insn, at, 4);
	field->family = family;
	field->value = insn->mem.disp;
}

void footprint_block(struct footprint_draft *d, const struct lowering *l)
{
	u16 addresses = address_registers(l);

	footprint_range(d, l->block->off);
	for (unsigned i = 0; i < l->count; i++) {
		const struct insn *insn = &l->insns[i];

		add_bytes(d, insn);
		leave_out_displacement(d, l, i);
		if (!only_computes(insn) || is_step(insn, addresses))
			continue;
		d->values[d->print.fields] = insn->imm;
		leave_out(d, insn, insn->imm_offset, insn->imm_bytes);
		d->of_insn[i] = d->print.fields;
	}
}

/* Marks a field that must be part of the footprint after all. */
#define NOT_ONCE 0xffff

void footprint_immediate(struct footprint_draft *d, unsigned i, u32 host)
{
	struct footprint_field *field;

	if (!d->of_insn[i])
		return;
	field = &d->field[d->of_insn[i] - 1];
	field->host = field->host || host >= NOT_ONCE ? NOT_ONCE : host;
}

void footprint_displacement(struct footprint_draft *d, unsigned i, u32 host, s32 value)
{
	struct footprint *f = &d->print;

	if (!d->family[i])
		return;
	if (!host || host >= NOT_ONCE || f->moves == FOOTPRINT_MOVES) {
		d->fixed |= BIT(d->family[i]);
		return;
	}
	f->move[f->moves++] =
		(struct footprint_move){ .host = host, .family = d->family[i], .value = value };
}

/* The block's own immediates must stand in the translation exactly once; its displacements, in the
 * form that they were written in. */
bool footprint_end(struct footprint_draft *d)
{
	struct footprint *f = &d->print;
	unsigned kept = 0;

	if (d->full)
		return false;
	for (unsigned i = 0; i < f->fields; i++) {
		const struct footprint_field *field = &f->field[i];
		bool own = field->at < f->range[0].bytes;
		bool stays = field->family ? d->fixed >> field->family & 1
					   : !field->host || field->host == NOT_ONCE;

		if (own && stays)
			memcpy(f->byte + field->at, &d->values[i], field->bytes);
		else
			f->field[kept++] = *field;
	}
	f->fields = kept;
	kept = 0;
	for (unsigned i = 0; i < f->moves; i++)
		if (!(d->fixed >> f->move[i].family & 1))
			f->move[kept++] = f->move[i];
	f->moves = kept;
	return true;
}
