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

void footprint_begin(struct footprint_draft *d)
{
	memset(&d->print, 0, sizeof(d->print));
	memset(d->of_insn, 0, sizeof(d->of_insn));
	d->full = false;
	d->print.field = d->field;
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

/* Leaves out the immediate of the instruction that was added last. */
static void leave_out(struct footprint_draft *d, const struct insn *insn)
{
	struct footprint *f = &d->print;
	unsigned at = f->bytes - insn->imm_bytes;

	f->field[f->fields++] = (struct footprint_field){ .at = at, .bytes = insn->imm_bytes };
	memset(f->byte + at, 0, insn->imm_bytes);
}

void footprint_seen(struct footprint_draft *d, const struct insn *insn)
{
	if (d->full)
		return;
	add_bytes(d, insn);
	if (only_computes(insn))
		leave_out(d, insn);
}

void footprint_block(struct footprint_draft *d, const struct lowering *l)
{
	u16 addresses = address_registers(l);

	footprint_range(d, l->block->off);
	for (unsigned i = 0; i < l->count; i++) {
		const struct insn *insn = &l->insns[i];

		add_bytes(d, insn);
		if (!only_computes(insn) || insn->writes & addresses)
			continue;
		d->values[d->print.fields] = insn->imm;
		leave_out(d, insn);
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

/* The block's own immediates must stand in the translation exactly once. */
bool footprint_end(struct footprint_draft *d)
{
	struct footprint *f = &d->print;
	unsigned kept = 0;

	if (d->full)
		return false;
	for (unsigned i = 0; i < f->fields; i++) {
		const struct footprint_field *field = &f->field[i];
		bool own = field->at < f->range[0].bytes;

		if (own && (!field->host || field->host == NOT_ONCE))
			memcpy(f->byte + field->at, &d->values[i], field->bytes);
		else
			f->field[kept++] = *field;
	}
	f->fields = kept;
	return true;
}

bool footprint_fits(const struct footprint *f, const u8 *page_bytes, u64 *values)
{
	u8 now[FOOTPRINT_MAX_INSNS * 15];
	unsigned n = 0;

	for (unsigned i = 0; i < f->ranges; i++) {
		memcpy(now + n, page_bytes + f->range[i].off, f->range[i].bytes);
		n += f->range[i].bytes;
	}
	for (unsigned i = 0; i < f->fields; i++) {
		const struct footprint_field *field = &f->field[i];

		memcpy(&values[i], now + field->at, field->bytes);
		memset(now + field->at, 0, field->bytes);
	}
	return !memcmp(now, f->byte, n);
}
