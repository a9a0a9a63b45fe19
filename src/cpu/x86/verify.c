/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A second opinion on a block that has just been lowered: takes the host code apart again, with no
 * knowledge of how it was made, and proves what the isolation of the guest rests on.
 *
 * - Instructions: none is privileged, none asks the kernel or reads the host; no segment prefix. An
 *   instruction is either one that the rows let the host run, or of the lowering's few.
 * - State: [rbp + constant] lies inside one of the listed fields of struct cpu, and only those that
 *   translated code may change are written.
 * - Tables: [rbp + r13 + constant] is read only, with r13 masked before to the size of the TLB (of
 *   this block's context) or of the jump cache.
 * - Guest memory: any other operand goes off a register that a check has made a pointer: tag
 *   subtracted, compared, ja out, host address of the same entry added (or soft_access_slow()
 *   called), and the access lies inside the range that was checked; a write needs a write tag.
 * - Registers: rsp moves by push, pop, call and ret only, rbp never.
 * - Control: direct jumps lead to an instruction of this block or to a thunk; indirect ones to what
 *   the jump cache has just given, or the thunk for a call that it does not know; a return of
 *   64-bit mode names its site; the block does not run off its end.
 *
 * Not proved: what the thunks and C do, that a link is bound to the right block (code.c), and
 * speculation. Straight-line: what is known at a label is what is known at every jump to it.
 */
#include "cpu/x86/shape.h"
#include "cpu/x86/verify_private.h"

#include <string.h>

/* ---- numbers that are put in later ---------------------------------------------------------- */

static void mark_values(struct verify *v)
{
	u32 bytes = v->block->code_end - v->block->code;

	for (unsigned i = 0; i < v->print->fields + v->print->moves; i++) {
		unsigned n, host = footprint_place(v->print, i, &n);

		for (unsigned k = 0; host && k < n && host + k < bytes; k++)
			set_bit(v->varies, host + k);
	}
}

static bool varies(const struct verify *v, unsigned from, unsigned to)
{
	u32 off = v->at - v->block->code;

	while (from < to)
		if (get_bit(v->varies, off + from++))
			return true;
	return false;
}

static bool is_value(const struct verify *v, unsigned at, unsigned bytes)
{
	u32 off = v->at - v->block->code + at;

	for (unsigned i = 0; i < v->print->fields + v->print->moves; i++) {
		unsigned n, host = footprint_place(v->print, i, &n);

		if (host == off && n == bytes)
			return true;
	}
	return false;
}

/* The instruction has a number that may be any other when the block is taken: all of its immediate,
 * or of the displacement of a LEA. It is one of which nothing is known. */
static bool forget_values(struct verify *v)
{
	struct shape shape;
	unsigned imm;

	if (!shape_find(INSN_64, v->code->buf.base + v->at, &shape) || shape.len != v->zi.length ||
	    shape.fixed != shape.head || flow_is_branch(&v->zi) || varies(v, 0, shape.head))
		return refuse(v, "a value in an instruction's head, or in a branch");
	if (v->ops != v->own)
		memcpy(v->own, v->ops, sizeof(v->own));
	v->ops = v->own;
	imm = shape.len - shape.imm_bytes;
	if (varies(v, shape.head, imm)) {
		if (v->zi.mnemonic != ZYDIS_MNEMONIC_LEA ||
		    !is_value(v, shape.head, shape.disp_bytes))
			return refuse(v, "a value in an address");
		v->own[1].mem.base = ZYDIS_REGISTER_NONE;
		v->own[1].mem.index = ZYDIS_REGISTER_NONE;
	}
	if (!varies(v, imm, shape.len))
		return true;
	if (!is_value(v, imm, shape.imm_bytes))
		return refuse(v, "a value in a part of a number");
	for (unsigned i = 0; i < v->zi.operand_count; i++)
		if (v->own[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			v->own[i].type = ZYDIS_OPERAND_TYPE_UNUSED;
	return true;
}

/* cpu->loop_end is looked at: once a turn, where it begins. */
static bool begins_turn(const struct verify *v)
{
	return (v->zi.mnemonic == ZYDIS_MNEMONIC_SUB &&
		state_operand(v, 0, offsetof(struct cpu, loop_end))) ||
	       (v->zi.mnemonic == ZYDIS_MNEMONIC_CMP &&
		state_operand(v, 1, offsetof(struct cpu, loop_end)));
}

/* ---- the block ------------------------------------------------------------------------------- */

/* Where what is known of an instruction with these bytes may be. */
static struct decoded *remembered(struct verifier *all, const u8 *bytes, unsigned len)
{
	u64 words[2] = { 0 };

	memcpy(words, bytes, len);
	return &all->decoded[(words[0] ^ words[1] * 5) * 0x9e3779b97f4a7c15ull >>
			     (64 - DECODED_BITS)];
}

static bool ask_zydis(struct verify *v, const ZydisDecoder *decoder, u32 left,
		      ZydisDecodedOperand *ops)
{
	ZydisDecodedInstruction zi;

	if (!ZYAN_SUCCESS(
		    ZydisDecoderDecodeFull(decoder, v->code->buf.base + v->at, left, &zi, ops)))
		return refuse(v, "bytes that are no instruction");
	v->zi = (struct host_insn){
		.length = zi.length,
		.operand_count = zi.operand_count,
		.operand_count_visible = zi.operand_count_visible,
		.address_width = zi.address_width,
		.opcode = zi.opcode,
		.opcode_map = zi.opcode_map,
		.branch_type = zi.meta.branch_type,
		.mnemonic = zi.mnemonic,
		.category = zi.meta.category,
		.attributes = zi.attributes,
	};
	v->ops = ops;
	return true;
}

/* Host code repeats itself: most instructions have been decoded before, byte by byte the same. */
static bool decode(struct verify *v, const ZydisDecoder *decoder)
{
	const u8 *bytes = v->code->buf.base + v->at;
	u32 left = v->block->code_end - v->at;
	struct decoded *d;
	struct shape shape;

	if (left < SHAPE_BYTES || !shape_find(INSN_64, bytes, &shape) ||
	    shape.len > sizeof(d->bytes))
		return ask_zydis(v, decoder, left, v->own);
	d = remembered(v->code->verifier, bytes, shape.len);
	if (d->zi.length != shape.len || memcmp(d->bytes, bytes, shape.len)) {
		d->zi.length = 0;
		if (!ask_zydis(v, decoder, left, d->ops))
			return false;
		if (v->zi.length != shape.len)
			return true;
		memcpy(d->bytes, bytes, shape.len);
		d->zi = v->zi;
	}
	v->zi = d->zi;
	v->ops = d->ops;
	return true;
}

static void verify_all(struct verify *v, const ZydisDecoder *decoder)
{
	while (!v->why && !v->once_again && v->at < v->block->code_end) {
		if (!decode(v, decoder))
			break;
		set_bit(v->starts, v->at - v->block->code);
		flow_arrive(v);
		v->flows = true;
		if (v->print && varies(v, 0, v->zi.length) && !forget_values(v))
			break;
		if (begins_turn(v) && !facts_begin_turns(v))
			break;
		if (!access_check(v) || (flow_is_branch(&v->zi) && !flow_branch(v)))
			break;
		if (!flow_is_branch(&v->zi))
			facts_update(v);
		v->at += v->zi.length;
	}
}

struct verifier *verifier_new(void)
{
	return g_new0(struct verifier, 1);
}

void verifier_free(struct verifier *v)
{
	g_free(v);
}

static void clear(u8 *map, const struct block *block)
{
	memset(map, 0, (block->code_end - block->code) / 8 + 1);
}

bool block_verify(const struct code_cache *code, const struct block *block,
		  const struct footprint *values, const char **why)
{
	struct verifier *all = code->verifier;
	struct verify v = { .once_again = true };
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	while (v.once_again) {
		v = (struct verify){ .code = code,
				     .block = block,
				     .print = values,
				     .pending = all->pending,
				     .starts = all->starts,
				     .fields = all->fields,
				     .varies = all->varies,
				     .joins = all->joins,
				     .at = block->code,
				     .not_carried = v.not_carried };
		if (block->code_end - block->code > BLOCK_MAX_CODE) {
			refuse(&v, "a block of more bytes than are reserved");
			break;
		}
		clear(v.starts, block);
		clear(v.fields, block);
		clear(v.varies, block);
		clear(v.joins, block);
		flow_find_joins(&v);
		if (values)
			mark_values(&v);
		verify_all(&v, &decoder);
	}
	if (v.flows)
		refuse(&v, "the block runs off its end");
	if (v.pending_count)
		refuse(&v, "a jump into the middle of an instruction");
	if (!v.why)
		flow_check_sites(&v);
	*why = v.why;
	return !v.why;
}
