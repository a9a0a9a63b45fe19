/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which instructions may be in a block, and which memory each of them may read and write: the rules
 * "Instructions", "State", "Tables", "Guest memory" and "Registers" of verify.c.
 */
#include "cpu/x86/verify_private.h"

#define FIELD(name)                                                         \
	{                                                                   \
		offsetof(struct cpu, name), sizeof(((struct cpu *)0)->name) \
	}

struct field {
	size_t at, bytes;
};
static const struct field written[] = { FIELD(gpr),
					FIELD(page_base),
					FIELD(saved_flags),
					FIELD(exit_code),
					FIELD(exit_arg),
					FIELD(scratch),
					FIELD(fs_base),
					FIELD(gs_base),
					FIELD(seg[SEG_FS].base),
					FIELD(seg[SEG_GS].base) };
static const struct field readable[] = { { offsetof(struct cpu, jc_key), 8 }, /* exit_request too */
					 FIELD(loop_end),
					 FIELD(fs_base),
					 FIELD(gs_base),
					 FIELD(rip),
					 FIELD(rflags),
					 FIELD(cr4),
					 FIELD(requests),
					 FIELD(tsc_offset),
					 FIELD(msr.tsc_aux),
					 FIELD(ctx),
					 FIELD(tlb_mask),
					 FIELD(seg[SEG_ES].selector),
					 FIELD(seg[SEG_CS].selector),
					 FIELD(seg[SEG_SS].selector),
					 FIELD(seg[SEG_DS].selector),
					 FIELD(seg[SEG_FS].selector),
					 FIELD(seg[SEG_GS].selector) };
/* By blocks of the guest's kernel: read, and of these the last one written, by SWAPGS. */
static const struct field privileged[] = { FIELD(cr0), FIELD(cr2), FIELD(cr3), FIELD(cr4),
					   FIELD(msr.kernel_gs_base) };

/* ---- memory ---------------------------------------------------------------------------------- */

static bool inside(const struct field *fields, unsigned count, s64 at, u64 bytes)
{
	for (unsigned i = 0; i < count; i++)
		if (at >= (s64)fields[i].at && at + bytes <= fields[i].at + fields[i].bytes)
			return true;
	return false;
}

static bool is_kernel(const struct verify *v)
{
	return !(v->block->ctx >> CTX_CPL_SHIFT & 3);
}

/* AND or OR of an immediate with the flags that CLI, STI, CLD, STD, CLAC and STAC change, or with
 * what the last two change of the context. */
static bool changes_a_flag(const struct verify *v, s64 at)
{
	u32 may = FLAG_DF | (is_kernel(v) ? FLAG_IF | FLAG_AC : 0);
	u32 imm = v->ops[1].imm.value.u;

	if (at == offsetof(struct cpu, ctx) || at == offsetof(struct cpu, jc_key))
		may = is_kernel(v) ? CTX_AC : 0;
	else if (at != offsetof(struct cpu, rflags))
		return false;
	if (v->ops[0].size != 32 || !is_immediate(v, 1))
		return false;
	switch (v->zi.mnemonic) {
	case ZYDIS_MNEMONIC_AND: return !(~imm & ~may);
	case ZYDIS_MNEMONIC_OR: return !(imm & ~may);
	default: return false;
	}
}

/* cpu->loop_end is stored to and counted down by one. */
static bool counts_turns(const struct verify *v, s64 at)
{
	return at == offsetof(struct cpu, loop_end) && v->ops[0].size == 32 &&
	       (v->zi.mnemonic == ZYDIS_MNEMONIC_MOV ||
		(v->zi.mnemonic == ZYDIS_MNEMONIC_SUB && is_immediate(v, 1) &&
		 v->ops[1].imm.value.u == 1));
}

static bool counts_pauses(const struct verify *v, s64 at)
{
	return at == offsetof(struct cpu, pauses_left) && v->ops[0].size == 32 &&
	       v->zi.mnemonic == ZYDIS_MNEMONIC_SUB && is_immediate(v, 1);
}

static bool check_state(struct verify *v, const ZydisDecodedOperand *o, s64 at, bool write)
{
	const struct field stack = { stack_of(v->block), sizeof(struct stack_page) };

	if (!write && inside(&stack, 1, at, o->size / 8))
		return true;
	if (is_kernel(v) && inside(privileged + (write ? ARRAY_LEN(privileged) - 1 : 0),
				   write ? 1 : ARRAY_LEN(privileged), at, o->size / 8))
		return true;
	if (write && (changes_a_flag(v, at) || counts_turns(v, at) || counts_pauses(v, at)))
		return true;
	if (inside(written, ARRAY_LEN(written), at, o->size / 8) ||
	    (!write && inside(readable, ARRAY_LEN(readable), at, o->size / 8)))
		return true;
	return refuse(v, "operand outside the fields of struct cpu that translated code may use");
}

static size_t tlb_of(const struct block *block)
{
	return offsetof(struct cpu, tlb) + tlb_kind(block) * sizeof(struct tlb);
}

enum column access_column(const struct verify *v, s64 at)
{
	s64 off = at - (s64)tlb_of(v->block);

	if (off == offsetof(struct tlb_entry, read_tag))
		return COLUMN_READ;
	if (off == offsetof(struct tlb_entry, write_tag))
		return COLUMN_WRITE;
	if (off == offsetof(struct tlb_entry, exec_tag))
		return COLUMN_EXEC;
	return off == offsetof(struct tlb_entry, host) ? COLUMN_HOST : COLUMN_NONE;
}

static bool check_table(struct verify *v, const ZydisDecodedOperand *o, s64 at, bool write)
{
	const struct knowledge *index = &v->now.reg[T1];
	s64 jc = at - (s64)offsetof(struct cpu, jc);

	if (write || o->mem.scale > 1)
		return refuse(v, "a table is written or scaled");
	if (index->fact == TLB_SCALED && o->size == 64 && access_column(v, at) != COLUMN_NONE)
		return true;
	if (index->fact == JC_SCALED && jc >= 0 && jc + o->size / 8 <= sizeof(struct jump_entry))
		return true;
	return refuse(v, "table operand without its index masked, or of another context");
}

static bool check_guest(struct verify *v, const ZydisDecodedOperand *o, bool write)
{
	const struct knowledge *k = &v->now.reg[number(o->mem.base)];
	s64 lo = o->mem.disp.value, hi = lo + o->size / 8;

	if (o->mem.index != ZYDIS_REGISTER_NONE || k->fact != POINTER)
		return refuse(v, "guest operand off a register that is no checked pointer");
	if (lo < k->lo || hi > k->hi)
		return refuse(v, "guest operand outside what was checked");
	if (write && !k->write)
		return refuse(v, "guest memory is written without a write tag");
	return true;
}

/* MOVS and STOS: A4, A5, AA, AB */
static bool is_string(const struct host_insn *zi)
{
	return zi->category == ZYDIS_CATEGORY_STRINGOP &&
	       zi->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	       ((zi->opcode & 0xfe) == 0xa4 || (zi->opcode & 0xfe) == 0xaa);
}

/* Off pointers that leave room for one element, or for RCX of them. */
static bool check_string(struct verify *v, const ZydisDecodedOperand *o, bool write)
{
	bool rep = v->zi.attributes &
		   (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
	int base = number(o->mem.base);
	const struct knowledge *k = base < 0 ? NULL : &v->now.reg[base];

	if (!k || k->fact != (rep ? ROOM_POINTER : POINTER) || (write && !k->write))
		return refuse(v, "a string instruction off no checked pointer");
	if (rep ? 8u << k->hi != o->size : k->lo > 0 || k->hi < o->size / 8)
		return refuse(v, "a string instruction beyond what was checked");
	return true;
}

/* The bit that a register names lies inside the operand. */
static bool check_bit_offset(struct verify *v, const ZydisDecodedOperand *o)
{
	int reg;

	switch (v->zi.mnemonic) {
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTC:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTS: break;
	default: return true;
	}
	if (is_immediate(v, 1))
		return true;
	reg = number(v->ops[1].reg.value);
	if (reg >= 0 && v->now.reg[reg].fact == BIT_OFFSET && v->now.reg[reg].hi <= o->size)
		return true;
	return refuse(v, "bit offset not masked");
}

static bool check_memory(struct verify *v, const ZydisDecodedOperand *o)
{
	bool write = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	bool stack = o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
	s64 at = o->mem.disp.value + CPU_RBP_BIAS;

	if (o->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
		return true;
	if (o->mem.type != ZYDIS_MEMOP_TYPE_MEM || v->zi.address_width != 64)
		return refuse(v, "strange memory operand");
	if (is_string(&v->zi))
		return check_string(v, o, write);
	if (stack) {
		switch (v->zi.mnemonic) {
		case ZYDIS_MNEMONIC_PUSH:
		case ZYDIS_MNEMONIC_POP:
		case ZYDIS_MNEMONIC_CALL:
		case ZYDIS_MNEMONIC_RET: return true;
		default: return refuse(v, "implicit memory operand");
		}
	}
	if (!check_bit_offset(v, o))
		return false;
	if (o->mem.base == ZYDIS_REGISTER_RBP && o->mem.index == ZYDIS_REGISTER_NONE)
		return check_state(v, o, at, write);
	if (o->mem.base == ZYDIS_REGISTER_RBP && o->mem.index == ZYDIS_REGISTER_R13)
		return check_table(v, o, at, write);
	if (number(o->mem.base) < 0 || o->mem.base == ZYDIS_REGISTER_RSP)
		return refuse(v, "memory operand off no register, or off the stack");
	return check_guest(v, o, write);
}

/* ---- instructions ---------------------------------------------------------------------------- */

static bool is_forbidden(const struct host_insn *zi)
{
	switch (zi->category) {
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_SYSTEM:
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_IO:
	case ZYDIS_CATEGORY_IOSTRINGOP:
	case ZYDIS_CATEGORY_SEGOP:
	case ZYDIS_CATEGORY_XSAVE:
	case ZYDIS_CATEGORY_XSAVEOPT:
	case ZYDIS_CATEGORY_PKU:
	case ZYDIS_CATEGORY_RDWRFSGS:
	case ZYDIS_CATEGORY_VTX:
		return zi->mnemonic != ZYDIS_MNEMONIC_INT3 && zi->mnemonic != ZYDIS_MNEMONIC_RDTSC;
	case ZYDIS_CATEGORY_STRINGOP: return !is_string(zi);
	default:
		return zi->branch_type == ZYDIS_BRANCH_TYPE_FAR ||
		       zi->attributes & (ZYDIS_ATTRIB_IS_PRIVILEGED | ZYDIS_ATTRIB_HAS_SEGMENT);
	}
}

/* Those that the lowering adds of its own; the rest of them are in the rows as well. */
static bool is_ours(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_LAHF:
	case ZYDIS_MNEMONIC_SAHF:
	case ZYDIS_MNEMONIC_JMP:
	case ZYDIS_MNEMONIC_CALL:
	case ZYDIS_MNEMONIC_RET:
	case ZYDIS_MNEMONIC_INT3: return true;
	default: return false;
	}
}

bool access_check(struct verify *v)
{
	if (is_forbidden(&v->zi))
		return refuse(v, "a forbidden instruction");
	if (!is_ours(v->zi.mnemonic) && !insn_host_may_run(v->zi.mnemonic))
		return refuse(v, "an instruction that no row lets the host run");
	for (unsigned i = 0; i < v->zi.operand_count; i++) {
		const ZydisDecodedOperand *o = &v->ops[i];

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && !check_memory(v, o))
			return false;
		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    !(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		if (number(o->reg.value) == ST)
			return refuse(v, "rbp is written");
		if (number(o->reg.value) == RSP && o->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			return refuse(v, "rsp is written");
	}
	return true;
}
