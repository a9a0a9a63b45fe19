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
#include "cpu/x86/verify.h"
#include "cpu/code.h"
#include "cpu/x86/footprint.h"
#include "cpu/x86/shape.h"

#include <string.h>
#include <Zydis/Zydis.h>

#define FIELD(name)                                                         \
	{                                                                   \
		offsetof(struct cpu, name), sizeof(((struct cpu *)0)->name) \
	}
#define INSNS_MAX   8192
#define PENDING_MAX (BLOCK_MAX_SITES * 4)

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
					 FIELD(fs_base),
					 FIELD(gs_base),
					 FIELD(rip),
					 FIELD(rflags),
					 FIELD(cr4),
					 FIELD(requests),
					 FIELD(tsc_offset),
					 FIELD(msr.tsc_aux),
					 FIELD(ctx),
					 FIELD(seg[SEG_ES].selector),
					 FIELD(seg[SEG_CS].selector),
					 FIELD(seg[SEG_SS].selector),
					 FIELD(seg[SEG_DS].selector),
					 FIELD(seg[SEG_FS].selector),
					 FIELD(seg[SEG_GS].selector) };
/* By blocks of the guest's kernel: read, and of these the last one written, by SWAPGS. */
static const struct field privileged[] = { FIELD(cr0), FIELD(cr2), FIELD(cr3), FIELD(cr4),
					   FIELD(msr.kernel_gs_base) };

/* What is known of a register. */
enum fact {
	ANYTHING,
	SUBTRACTED, /* a tag was subtracted: of the TLB, or, @of, of cpu->stack */
	COMPARED,   /* ... and compared with @hi */
	BOUNDED,    /* ... and is at most @hi */
	POINTER,    /* host address; [lo, hi) from it may be accessed */
	TLB_SCALED, /* r13: an offset of a TLB entry */
	JC_SCALED,  /* r13: an offset of an entry of the jump cache */
	TARGET,     /* an address in the code cache, from the jump cache */
	SITE,       /* r14: number of a SITE_BRANCH of this block */
	BIT_OFFSET, /* less than @hi */
	CONSTANT,   /* @hi */
	/* MOVS and STOS: @hi is the binary logarithm of an element's size */
	COUNT,         /* rcx compared with @lo; then */
	COUNT_MAX,     /* ... at most @lo */
	COUNT_COPY,    /* r14: rcx, then */
	COUNT_BYTES,   /* ... shifted by @hi, then */
	COUNT_NEG,     /* ... negated, then */
	ROOM,          /* ... plus the size of a page: the last offset at which all of it fits */
	ROOM_COMPARED, /* as COMPARED, BOUNDED, POINTER: for rcx elements */
	ROOM_BOUNDED,
	ROOM_POINTER,
	/* lower_carry.c; @of is the index of a carried pointer, P0 or P1 */
	LOW_BITS,       /* of the pointer, then */
	PAGE_OFFSET,    /* ... within its page, then, where it goes up, */
	MINUS_OFFSET,   /* ... negated, then */
	BYTES_LEFT,     /* ... plus @hi */
	TURNS,          /* at most what struct turns says of the pointers of the mask @of */
	TURNS_COMPARED, /* ... compared with another such number */
};
struct knowledge {
	u8 fact, write;
	s32 lo, hi;
	u8 of;
};
/* What cpu->loop_left is worth to P0 and P1: that often they may move by up to 1 << @shift bytes,
 * up until their offset in the page is @limit, or, where that is -1, down until it is 0. */
struct turns {
	u8 shift[2];
	s32 limit[2];
	u8 mask; /* of the pointers for which cpu->loop_left was stored */
	u8 may;  /* of those that may move now: it has been counted down */
	u8 down; /* it was counted down by the instruction before this one */
};
struct facts {
	struct knowledge reg[16];
	struct turns turns;
	u32 exit_code, stack_limit; /* last stored, the other one to scratch[1]; 0: nobody knows */
};

struct pending {
	u32 to;
	struct facts facts;
};

#define MAP_BYTES (BLOCK_MAX_CODE / 8 + 1) /* a bit for each byte of a block */

struct verifier {
	struct pending pending[PENDING_MAX];
	u8 starts[MAP_BYTES]; /* an instruction begins */
	u8 fields[MAP_BYTES]; /* the distance of a direct jump inside the block ends */
	u8 varies[MAP_BYTES]; /* part of a number that is put in when the block is taken */
};

struct verify {
	const struct code_cache *code;
	const struct block *block;
	struct facts now;
	u32 at;
	bool flows;              /* the instruction before this one continues here */
	struct pending *pending; /* room for PENDING_MAX */
	unsigned pending_count;
	u8 *starts, *fields, *varies;  /* MAP_BYTES each; struct verifier */
	const struct footprint *print; /* what varies in the code; NULL: nothing */
	unsigned call_count;
	u32 call_end; /* where the guest's return comes back to */
	struct {
		u32 from, to;
		u8 reg; /* rbx was just moved to it */
	} back[BLOCK_MAX_SITES];
	unsigned back_count;
	struct {
		u32 at; /* behind the check that has made @reg a pointer to @bytes */
		u8 reg, write;
		s32 bytes;
	} made[BLOCK_MAX_SITES];
	unsigned made_count;
	u8 moved_to; /* mov moved_to, rbx: the instruction that ends at @moved_end */
	u32 moved_end;
	u32 answered; /* behind the call of a thunk for the stack's page */
	u32 resume;   /* where a call goes on that the jump cache does not know; what it needs there
		       */
	struct facts resume_facts;
	struct {
		u32 at; /* 0: there is none */
		struct facts facts;
	} head;          /* where the turns of a carrying loop begin */
	u8 not_carried;  /* mask of pointers that turned out not to be known at its end */
	bool once_again; /* because of that */
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	const char *why;
};

static bool refuse(struct verify *v, const char *why)
{
	if (!v->why)
		v->why = why;
	return false;
}

static int number(ZydisRegister reg)
{
	ZydisRegisterClass rc = ZydisRegisterGetClass(reg);

	if (rc != ZYDIS_REGCLASS_GPR8 && rc != ZYDIS_REGCLASS_GPR16 && rc != ZYDIS_REGCLASS_GPR32 &&
	    rc != ZYDIS_REGCLASS_GPR64)
		return -1;
	return ZydisRegisterGetId(
		ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg));
}

static bool is_register(const struct verify *v, unsigned op, int reg)
{
	return v->ops[op].type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       number(v->ops[op].reg.value) == reg;
}

static bool is_immediate(const struct verify *v, unsigned op)
{
	return v->ops[op].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

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

/* cpu->loop_left is stored to and counted down by one. */
static bool counts_turns(const struct verify *v, s64 at)
{
	return at == offsetof(struct cpu, loop_left) && v->ops[0].size == 32 &&
	       (v->zi.mnemonic == ZYDIS_MNEMONIC_MOV ||
		(v->zi.mnemonic == ZYDIS_MNEMONIC_SUB && is_immediate(v, 1) &&
		 v->ops[1].imm.value.u == 1));
}

static enum tlb_kind tlb_kind(const struct block *block)
{
	if ((block->ctx >> CTX_CPL_SHIFT & 3) == 3)
		return TLB_USER;
	return block->ctx & CTX_AC ? TLB_KERNEL_AC : TLB_KERNEL;
}

/* Offset of what cpu->stack has for this block. */
static size_t stack_of(const struct block *block)
{
	return offsetof(struct cpu, stack) + tlb_kind(block) * sizeof(struct stack_page);
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

enum column { COLUMN_READ, COLUMN_WRITE, COLUMN_HOST, COLUMN_EXEC, COLUMN_NONE };

/* Which column of the block's own TLB is at this offset? */
static enum column column_of(const struct verify *v, s64 at)
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
	if (index->fact == TLB_SCALED && o->size == 64 && column_of(v, at) != COLUMN_NONE)
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
static bool is_string(const ZydisDecodedInstruction *zi)
{
	return zi->meta.category == ZYDIS_CATEGORY_STRINGOP &&
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

static bool is_forbidden(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.category) {
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
		return zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ||
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

static bool check_instruction(struct verify *v)
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

/* ---- what becomes known ---------------------------------------------------------------------- */

/* [rbp + r13 + a column of the TLB], or COLUMN_NONE */
static enum column table_operand(const struct verify *v, unsigned op)
{
	const ZydisDecodedOperand *o = &v->ops[op];

	if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.base != ZYDIS_REGISTER_RBP ||
	    o->mem.index != ZYDIS_REGISTER_R13 || v->now.reg[T1].fact != TLB_SCALED)
		return COLUMN_NONE;
	return column_of(v, o->mem.disp.value + CPU_RBP_BIAS);
}

static bool jump_column(const struct verify *v, unsigned op, size_t field)
{
	const ZydisDecodedOperand *o = &v->ops[op];

	return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base == ZYDIS_REGISTER_RBP &&
	       o->mem.index == ZYDIS_REGISTER_R13 && v->now.reg[T1].fact == JC_SCALED &&
	       o->mem.disp.value + CPU_RBP_BIAS == (s64)(offsetof(struct cpu, jc) + field);
}

static bool state_operand(const struct verify *v, unsigned op, size_t off)
{
	const ZydisDecodedOperand *o = &v->ops[op];

	return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base == ZYDIS_REGISTER_RBP &&
	       o->mem.index == ZYDIS_REGISTER_NONE && o->mem.disp.value + CPU_RBP_BIAS == (s64)off;
}

/* Does an exit code name a site of this block, of that kind? */
static bool is_site(const struct verify *v, u64 id, enum site_kind kind)
{
	u64 i = id - EXIT_SITE - v->block->sites;

	return i < v->block->site_count && v->code->sites[v->block->sites + i].kind == kind;
}

/* The index of a pointer that a loop may carry, or -1. */
static int carried(int reg)
{
	return reg == P0 ? 0 : reg == P1 ? 1 : -1;
}

/* What the steps of counting turns make of a register. */
static struct knowledge learn_turns(const struct verify *v, const struct knowledge *old)
{
	const ZydisDecodedOperand *o = v->ops;
	struct knowledge k = { ANYTHING };
	u64 imm = is_immediate(v, 1) ? o[1].imm.value.u : 0;
	int from = o[1].type == ZYDIS_OPERAND_TYPE_REGISTER ? number(o[1].reg.value) : -1;
	bool wide = o[0].size == 64;

	k.of = old->of;
	switch (v->zi.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		if (o[0].size != 32 || carried(from) < 0 || v->now.reg[from].fact != POINTER)
			break;
		k.fact = LOW_BITS;
		k.of = carried(from);
		break;
	case ZYDIS_MNEMONIC_AND:
		if (o[0].size == 32 && old->fact == LOW_BITS && imm == PAGE_SIZE - 1)
			k.fact = PAGE_OFFSET;
		break;
	case ZYDIS_MNEMONIC_NEG:
		if (wide && old->fact == PAGE_OFFSET)
			k.fact = MINUS_OFFSET;
		break;
	case ZYDIS_MNEMONIC_ADD:
		if (!wide || old->fact != MINUS_OFFSET || !is_immediate(v, 1) || imm > PAGE_SIZE)
			break;
		k.fact = BYTES_LEFT;
		k.hi = imm;
		break;
	case ZYDIS_MNEMONIC_SHR:
		if (!wide || (old->fact != BYTES_LEFT && old->fact != PAGE_OFFSET) ||
		    !is_immediate(v, 1))
			break;
		k.fact = TURNS;
		k.of = 1 << old->of;
		break;
	case ZYDIS_MNEMONIC_CMOVNBE: /* the smaller of two */
		if (!wide || from < 0 || old->fact != TURNS_COMPARED ||
		    v->now.reg[from].fact != TURNS)
			break;
		k.fact = TURNS;
		k.of |= v->now.reg[from].of;
		break;
	default: break;
	}
	return k;
}

/* Counting down, or what the instruction has stored as the count. */
static void learn_count(struct verify *v)
{
	struct turns *t = &v->now.turns;
	int from;

	t->down = v->zi.mnemonic == ZYDIS_MNEMONIC_SUB;
	t->may = 0;
	if (t->down)
		return;
	t->mask = 0;
	from = v->ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER ? number(v->ops[1].reg.value) : -1;
	if (from >= 0 && v->now.reg[from].fact == TURNS)
		t->mask = v->now.reg[from].of;
}

/* Turns were counted for where pointer @p was: what is left of that in registers counts no more. */
static void forget_turns(struct verify *v, int p)
{
	for (unsigned i = 0; i < 16; i++) {
		struct knowledge *k = &v->now.reg[i];
		bool counted = k->fact == TURNS || k->fact == TURNS_COMPARED;

		if (k->fact >= LOW_BITS && (counted ? k->of >> p & 1 : k->of == p))
			k->fact = ANYTHING;
	}
}

/* lea pointer, [pointer + step], one that has been counted: the pointer is as good as before. */
static bool moves_by_a_turn(struct verify *v, int reg)
{
	struct turns *t = &v->now.turns;
	const struct knowledge *k = &v->now.reg[reg];
	const ZydisDecodedOperand *from = &v->ops[1];
	s64 step = from->mem.disp.value;
	int p = carried(reg);

	if (v->zi.mnemonic != ZYDIS_MNEMONIC_LEA || p < 0 || !(t->may >> p & 1) ||
	    v->ops[0].size != 64 || v->zi.address_width != 64 || number(from->mem.base) != reg ||
	    from->mem.index != ZYDIS_REGISTER_NONE || k->fact != POINTER || k->lo)
		return false;
	if (t->limit[p] < 0
		    ? step > 0 || -step > 1 << t->shift[p]
		    : step < 0 || step > 1 << t->shift[p] || t->limit[p] != (s32)PAGE_SIZE - k->hi)
		return false;
	t->may &= ~(1 << p);
	forget_turns(v, p);
	return true;
}

/* Has C seen to it that the pointer it gives at this site may be written to? */
static bool may_write(const struct verify *v, const struct site *s)
{
	return s->span ? column_of(v, s->tag_off) == COLUMN_WRITE : s->access & MEM_W;
}

/* The pointer into the stack's page in rbx is, from here on, as good as the one that C would give.
 */
static bool stack_is_written(const struct verify *v)
{
	for (u32 i = 0; i < v->block->site_count; i++) {
		const struct site *s = &v->code->sites[v->block->sites + i];

		if (s->kind == SITE_MEM && s->patch == v->at + v->zi.length)
			return may_write(v, s);
	}
	return true;
}

/* The new knowledge of the first operand, a general register. */
static struct knowledge learn(const struct verify *v, int reg)
{
	const struct knowledge *old = &v->now.reg[reg];
	const ZydisDecodedOperand *o = v->ops;
	struct knowledge k = { ANYTHING }, turns = learn_turns(v, old);
	bool wide = o[0].size == 64;
	u64 imm = is_immediate(v, 1) ? o[1].imm.value.u : 0;
	enum column column;
	int from;

	if (turns.fact != ANYTHING)
		return turns;
	switch (v->zi.mnemonic) {
	case ZYDIS_MNEMONIC_AND:
		if (reg == T1 && imm == (TLB_ENTRIES - 1) * sizeof(struct tlb_entry) &&
		    o[0].size == 32)
			k.fact = TLB_SCALED;
		else if (reg == T1 && o[0].size == 32 &&
			 imm == (JC_ENTRIES - 1) * sizeof(struct jump_entry))
			k.fact = JC_SCALED;
		else if (is_immediate(v, 1) && imm < 64 && o[0].size == 32)
			k = (struct knowledge){ BIT_OFFSET, 0, 0, imm + 1 };
		return k;
	case ZYDIS_MNEMONIC_NEG:
		if (wide && (old->fact == COUNT_COPY || old->fact == COUNT_BYTES))
			k = (struct knowledge){ COUNT_NEG, 0, old->lo, old->hi };
		return k;
	case ZYDIS_MNEMONIC_SHL:
		if (wide && old->fact == COUNT_COPY && is_immediate(v, 1) && imm <= 3)
			k = (struct knowledge){ COUNT_BYTES, 0, old->lo, imm };
		return k;
	case ZYDIS_MNEMONIC_SUB:
		column = table_operand(v, 1);
		if (wide && (column == COLUMN_READ || column == COLUMN_WRITE))
			k = (struct knowledge){ SUBTRACTED, column == COLUMN_WRITE, 0, 0 };
		if (wide &&
		    state_operand(v, 1, stack_of(v->block) + offsetof(struct stack_page, tag)))
			k = (struct knowledge){ SUBTRACTED, 1, 0, 0, .of = 1 };
		return k;
	case ZYDIS_MNEMONIC_ADD:
		if (wide && old->fact == BOUNDED &&
		    (old->of ? state_operand(v, 1,
					     stack_of(v->block) + offsetof(struct stack_page, host))
			     : table_operand(v, 1) == COLUMN_HOST))
			k = (struct knowledge){ POINTER,
						old->write && (!old->of || reg != T0 ||
							       stack_is_written(v)),
						0, PAGE_SIZE - old->hi };
		else if (wide && old->fact == ROOM_BOUNDED && !old->of &&
			 table_operand(v, 1) == COLUMN_HOST)
			k = (struct knowledge){ ROOM_POINTER, old->write, 0, old->hi };
		else if (wide && old->fact == COUNT_NEG && imm == PAGE_SIZE &&
			 (u64)old->lo << old->hi <= PAGE_SIZE)
			k = (struct knowledge){ ROOM, 0, 0, old->hi };
		return k;
	case ZYDIS_MNEMONIC_MOV:
		if (wide && jump_column(v, 1, offsetof(struct jump_entry, code)))
			k.fact = TARGET;
		from = o[1].type == ZYDIS_OPERAND_TYPE_REGISTER ? number(o[1].reg.value) : -1;
		if (is_immediate(v, 1) && imm <= PAGE_SIZE)
			k = (struct knowledge){ CONSTANT, 0, 0, imm };
		if (is_immediate(v, 1) && reg == T2 && is_site(v, imm, SITE_BRANCH))
			k = (struct knowledge){ SITE, 0, 0, 0 };
		if (wide && from >= 0 &&
		    (v->now.reg[from].fact == POINTER || v->now.reg[from].fact == ROOM_POINTER ||
		     v->now.reg[from].fact == TARGET))
			k = v->now.reg[from];
		if (wide && from == RCX && v->now.reg[from].fact == COUNT_MAX)
			k = (struct knowledge){ COUNT_COPY, 0, v->now.reg[from].lo, 0 };
		return k;
	case ZYDIS_MNEMONIC_LEA:
		from = number(o[1].mem.base);
		if (wide && v->zi.address_width == 64 && from >= 0 &&
		    o[1].mem.index == ZYDIS_REGISTER_NONE && v->now.reg[from].fact == POINTER) {
			k = v->now.reg[from];
			k.lo -= o[1].mem.disp.value;
			k.hi -= o[1].mem.disp.value;
		}
		return k;
	default: return k;
	}
}

static void forget(struct verify *v, int reg)
{
	int p = carried(reg);

	v->now.reg[reg] = (struct knowledge){ ANYTHING };
	for (unsigned i = 0; reg == RCX && i < 16; i++)
		if (v->now.reg[i].fact >= COUNT && v->now.reg[i].fact <= ROOM_POINTER)
			v->now.reg[i].fact = ANYTHING;
	if (p >= 0) {
		forget_turns(v, p);
		v->now.turns.mask &= ~(1 << p);
		v->now.turns.may &= ~(1 << p);
	}
	/* an entry is one thing: tag and host address by the same index */
	for (unsigned i = 0; reg == T1 && i < 16; i++)
		if ((v->now.reg[i].fact >= SUBTRACTED && v->now.reg[i].fact <= BOUNDED) ||
		    v->now.reg[i].fact == ROOM_COMPARED || v->now.reg[i].fact == ROOM_BOUNDED)
			v->now.reg[i].fact = ANYTHING;
}

static bool is_compared(const struct knowledge *k)
{
	return k->fact == COMPARED || k->fact == COUNT || k->fact == ROOM_COMPARED ||
	       k->fact == TURNS_COMPARED;
}

/* A comparison that a ja may follow, which makes it count. */
static bool compared(struct verify *v, int reg)
{
	struct knowledge *k = &v->now.reg[reg], with = { ANYTHING };
	const ZydisDecodedOperand *o = &v->ops[1];

	if (is_immediate(v, 1) && o->imm.value.u <= PAGE_SIZE)
		with = (struct knowledge){ CONSTANT, 0, 0, o->imm.value.u };
	else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && number(o->reg.value) >= 0)
		with = v->now.reg[number(o->reg.value)];
	if (k->fact == TURNS && with.fact == TURNS) {
		k->fact = TURNS_COMPARED;
		return true;
	}
	if (k->fact == SUBTRACTED && (with.fact == CONSTANT || with.fact == ROOM)) {
		k->fact = with.fact == CONSTANT ? COMPARED : ROOM_COMPARED;
		k->hi = with.hi;
		return true;
	}
	if (reg != RCX || with.fact != CONSTANT)
		return false;
	*k = (struct knowledge){ COUNT, 0, with.hi, 0 };
	return true;
}

/* A shift has made TURNS of what was left of a page: by how many bits, of how much. */
static void note_shift(struct verify *v, const struct knowledge *old)
{
	struct turns *t = &v->now.turns;

	t->mask &= ~(1 << old->of);
	t->may &= ~(1 << old->of);
	forget_turns(v, old->of); /* this one is new, and noted after this */
	t->shift[old->of] = v->ops[1].imm.value.u;
	t->limit[old->of] = old->fact == BYTES_LEFT ? old->hi : -1;
}

static bool touches_exit_code(const struct verify *v)
{
	const ZydisDecodedOperand *o = &v->ops[0];
	s64 at = o->mem.disp.value + CPU_RBP_BIAS - (s64)offsetof(struct cpu, exit_code);

	return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base == ZYDIS_REGISTER_RBP &&
	       o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE && at < 4 && at + o->size / 8 > 0;
}

static void update(struct verify *v)
{
	struct knowledge first = { ANYTHING }, old;
	int reg = -1;

	if (v->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER && v->zi.operand_count_visible)
		reg = number(v->ops[0].reg.value);
	if (v->zi.mnemonic == ZYDIS_MNEMONIC_CMP && reg >= 0 && v->ops[0].size == 64 &&
	    compared(v, reg))
		return;
	v->now.turns.down = 0;
	if (state_operand(v, 0, offsetof(struct cpu, loop_left)))
		learn_count(v);
	if (reg >= 0 && moves_by_a_turn(v, reg))
		return;
	if (touches_exit_code(v))
		v->now.exit_code =
			is_immediate(v, 1) && v->ops[0].size == 32 ? v->ops[1].imm.value.u : 0;
	if (state_operand(v, 0, offsetof(struct cpu, scratch[1])))
		v->now.stack_limit = is_immediate(v, 1) && v->ops[0].size == 64 &&
						     v->ops[1].imm.value.u < PAGE_SIZE
					     ? v->ops[1].imm.value.u
					     : 0;
	if (reg >= 0 && v->ops[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) {
		old = v->now.reg[reg];
		first = learn(v, reg);
		if (first.fact == TURNS && v->zi.mnemonic == ZYDIS_MNEMONIC_SHR)
			note_shift(v, &old);
	}
	/* the comparison counts for the very next instruction only */
	for (unsigned i = 0; i < 16; i++)
		if (is_compared(&v->now.reg[i]))
			v->now.reg[i].fact = ANYTHING;
	for (unsigned i = 0; i < v->zi.operand_count; i++) {
		const ZydisDecodedOperand *o = &v->ops[i];

		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && number(o->reg.value) >= 0 &&
		    o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
			forget(v, number(o->reg.value));
	}
	if (reg >= 0 && first.fact != ANYTHING)
		v->now.reg[reg] = first;
	if (first.fact == POINTER && v->zi.mnemonic == ZYDIS_MNEMONIC_ADD &&
	    v->made_count < ARRAY_LEN(v->made)) {
		v->made[v->made_count].at = v->at + v->zi.length;
		v->made[v->made_count].reg = reg;
		v->made[v->made_count].write = first.write;
		v->made[v->made_count++].bytes = first.hi;
	}
	if (v->zi.mnemonic == ZYDIS_MNEMONIC_MOV && reg >= 0 && v->ops[0].size == 64 &&
	    is_register(v, 1, T0)) {
		v->moved_to = reg;
		v->moved_end = v->at + v->zi.length;
	}
}

/* ---- control --------------------------------------------------------------------------------- */

static bool same_turns(const struct turns *a, const struct turns *b)
{
	return a->shift[0] == b->shift[0] && a->shift[1] == b->shift[1] &&
	       a->limit[0] == b->limit[0] && a->limit[1] == b->limit[1];
}

/* What holds at a label holds at every jump to it. */
static void meet(struct facts *a, const struct facts *b)
{
	bool turns = same_turns(&a->turns, &b->turns);

	a->turns.mask = turns ? a->turns.mask & b->turns.mask : 0;
	a->turns.may &= a->turns.mask & b->turns.may;
	a->turns.down = 0;
	a->exit_code = a->exit_code == b->exit_code ? a->exit_code : 0;
	a->stack_limit = a->stack_limit == b->stack_limit ? a->stack_limit : 0;
	for (unsigned i = 0; i < 16; i++) {
		struct knowledge *k = &a->reg[i];
		const struct knowledge *o = &b->reg[i];

		if (k->fact != o->fact || k->fact >= LOW_BITS) {
			k->fact = ANYTHING;
			continue;
		}
		if (k->fact != POINTER && (k->hi != o->hi || k->lo != o->lo || k->of != o->of))
			k->fact = ANYTHING;
		k->write &= o->write;
		k->lo = MAX(k->lo, o->lo);
		k->hi = MIN(k->hi, o->hi);
	}
}

/* SYSCALL is the user's and SYSRET the kernel's, of 64-bit code, and each has its helper behind it.
 */
static bool is_ring_thunk(const struct verify *v, u32 at)
{
	const struct thunks *t = &v->code->thunks;
	unsigned cpl = v->block->ctx >> CTX_CPL_SHIFT & 3;

	return ((at == t->syscall && cpl == 3) || (at == t->sysret && cpl == 0)) &&
	       (v->block->ctx & CTX_MODE_MASK) == CTX_64 &&
	       is_site(v, v->now.exit_code, SITE_ALONE);
}

/* The thunks that want no more than what is in registers, and those that a site is named to. */
static bool is_thunk(const struct verify *v, u32 at)
{
	const struct thunks *t = &v->code->thunks;
	bool ours = v->now.exit_code - EXIT_SITE - v->block->sites < v->block->site_count;

	if ((v->now.exit_code == EXIT_STALE && at == t->exit_saved) || is_ring_thunk(v, at))
		return true;
	if (at == t->exit_host || at == t->exit_saved || at == t->mem || at == t->branch)
		return ours;
	return at == t->jump || at == t->lookup || at == t->jump_return;
}

/* Back into a call with what it is to call instead: is all known that was known there? */
static bool resumes(const struct verify *v, s64 to, const struct facts *facts)
{
	if (!v->resume || to != v->resume)
		return false;
	for (unsigned i = 0; i < 16; i++) {
		const struct knowledge *want = &v->resume_facts.reg[i], *have = &facts->reg[i];

		if (want->fact != ANYTHING &&
		    (want->fact != have->fact || want->write != have->write ||
		     want->lo != have->lo || want->hi != have->hi || want->of != have->of))
			return false;
	}
	return true;
}

/* The turns of a loop begin here. What holds at their end is not known yet: of what holds now,
 * only that the pointers are carried is expected of it. */
static bool begin_turns(struct verify *v)
{
	struct facts *f = &v->head.facts;

	if (v->head.at)
		return refuse(v, "turns are counted in two places");
	v->head.at = v->at;
	memset(f, 0, sizeof(*f));
	for (unsigned p = 0; p < 2; p++) {
		unsigned reg = p ? P1 : P0;

		if (v->now.reg[reg].fact == POINTER && !(v->not_carried >> p & 1))
			f->reg[reg] = v->now.reg[reg];
	}
	f->turns = v->now.turns;
	f->turns.mask &= ~v->not_carried;
	f->turns.may = f->turns.down = 0;
	v->now = *f;
	return true;
}

/* A jump back to there: what was expected must hold. */
static bool end_turns(struct verify *v, const struct facts *facts)
{
	const struct facts *f = &v->head.facts;

	for (unsigned p = 0; p < 2; p++) {
		const struct knowledge *want = &f->reg[p ? P1 : P0];
		const struct knowledge *have = &facts->reg[p ? P1 : P0];
		bool kept = have->fact == POINTER && have->lo <= want->lo && have->hi >= want->hi &&
			    have->write >= want->write;
		bool counted = facts->turns.mask >> p & 1 && same_turns(&f->turns, &facts->turns);

		if ((want->fact == POINTER && !kept) || (f->turns.mask >> p & 1 && !counted))
			v->not_carried |= 1 << p;
	}
	v->once_again = (f->reg[P0].fact == POINTER && v->not_carried & 1) ||
			(f->reg[P1].fact == POINTER && v->not_carried & 2) ||
			f->turns.mask & v->not_carried;
	return !v->once_again;
}

static void set_bit(u8 *map, u32 bit)
{
	map[bit / 8] |= 1 << bit % 8;
}

static bool get_bit(const u8 *map, u32 bit)
{
	return map[bit / 8] >> bit % 8 & 1;
}

static bool jump_to(struct verify *v, s64 to, const struct facts *facts)
{
	if (to == v->code->thunks.mem && facts->reg[T1].fact != TLB_SCALED)
		return refuse(v, "a miss without the entry of the TLB");
	if (is_thunk(v, to))
		return true;
	if (to < v->block->code || to >= v->block->code_end)
		return refuse(v, "a jump out of the block");
	if (v->zi.length > 4)
		set_bit(v->fields, v->at + v->zi.length - v->block->code);
	if (resumes(v, to, facts))
		return true;
	if (v->zi.mnemonic == ZYDIS_MNEMONIC_JBE && v->at == v->answered) {
		if (to == v->code->sites[v->now.exit_code - EXIT_SITE].patch)
			return true; /* as soft_mem_slow() would */
		return refuse(v, "the stack's page is not taken to where it was asked for");
	}
	if (v->head.at && to == v->head.at)
		return end_turns(v, facts);
	if (to <= v->at) { /* back from soft_mem_slow(), which check_back() looks at */
		if (v->back_count == ARRAY_LEN(v->back))
			return refuse(v, "too many jumps backward");
		v->back[v->back_count].from = v->at;
		v->back[v->back_count].reg = v->moved_end == v->at ? v->moved_to : T0;
		v->back[v->back_count++].to = to;
		return true;
	}
	if (v->pending_count == PENDING_MAX)
		return refuse(v, "too many jumps");
	v->pending[v->pending_count++] = (struct pending){ to, *facts };
	return true;
}

/* The thunk answers for as many bytes as scratch[1] leaves of a page: at least those of its site.
 */
static bool asks_for_stack(struct verify *v)
{
	const struct site *s = &v->code->sites[v->now.exit_code - EXIT_SITE];

	if (!is_site(v, v->now.exit_code, SITE_MEM) || !v->now.stack_limit ||
	    v->now.stack_limit + MAX(s->size, s->span) > PAGE_SIZE)
		return refuse(v, "the stack's page is asked for by no site, or for too little");
	v->answered = v->at + v->zi.length;
	for (unsigned i = 0; i < 16; i++)
		v->now.reg[i].fact = ANYTHING;
	v->now.reg[T1].fact = TLB_SCALED; /* if it has not found the page */
	return true;
}

static bool check_call(struct verify *v)
{
	s64 to;

	if (!is_immediate(v, 0)) {
		int reg = v->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER
				  ? number(v->ops[0].reg.value)
				  : -1;

		if (reg < 0 || v->now.reg[reg].fact != TARGET)
			return refuse(v, "an indirect call of what the jump cache did not give");
	} else {
		to = v->at + v->zi.length + v->ops[0].imm.value.s;
		if (to == v->code->thunks.call_miss) {
			if (!is_site(v, v->now.exit_code, SITE_CALL))
				return refuse(v, "a call without its site");
			v->now.reg[T1].fact = ANYTHING;
			v->now.reg[T2] = (struct knowledge){ TARGET, 0, 0, 0 };
			return true;
		}
		if (to == v->code->thunks.stack[tlb_kind(v->block)])
			return asks_for_stack(v);
		if (to == v->code->thunks.slow) {
			const struct site *s = &v->code->sites[v->now.exit_code - EXIT_SITE];

			if (!is_site(v, v->now.exit_code, SITE_SLOW))
				return refuse(v, "a slow access of no site");
			v->now.reg[T0] = /* C keeps the others that hold something */
				(struct knowledge){ POINTER, !!(s->access & MEM_W), 0, s->size };
			return true;
		}
		if (to < v->block->code || to >= v->block->code_end)
			return refuse(v, "a call out of the block");
		if (!jump_to(v, to, &(struct facts){ 0 }))
			return false;
	}
	memset(&v->now, 0, sizeof(v->now)); /* the guest's return comes back here */
	v->call_end = v->at + v->zi.length;
	return !v->call_count++ || refuse(v, "a second call");
}

static bool check_branch(struct verify *v)
{
	struct facts taken;

	switch (v->zi.mnemonic) {
	case ZYDIS_MNEMONIC_CALL: return check_call(v);
	case ZYDIS_MNEMONIC_RET:
		v->flows = false;
		if (is_immediate(v, 0))
			return refuse(v, "a return that drops bytes");
		if ((v->block->ctx & CTX_MODE_MASK) == CTX_64 && v->now.reg[T2].fact != SITE)
			return refuse(v, "a return without its site");
		return true;
	case ZYDIS_MNEMONIC_INT3: v->flows = false; return true;
	case ZYDIS_MNEMONIC_JMP: v->flows = false; break;
	default: break;
	}
	if (!is_immediate(v, 0)) {
		if (v->zi.mnemonic == ZYDIS_MNEMONIC_JMP && is_register(v, 0, T2) &&
		    v->now.reg[T2].fact == TARGET)
			return true;
		return refuse(v, "an indirect jump to what the jump cache did not give");
	}
	taken = v->now;
	if (v->now.turns.down) { /* below zero: nothing is left that would count */
		v->now.turns.may = v->zi.mnemonic == ZYDIS_MNEMONIC_JB ? v->now.turns.mask : 0;
		taken.turns.mask = 0;
	}
	v->now.turns.down = taken.turns.down = 0;
	for (unsigned i = 0; i < 16; i++) {
		struct knowledge *k = &v->now.reg[i];

		if (is_compared(k)) {
			k->fact = v->zi.mnemonic == ZYDIS_MNEMONIC_JNBE ? k->fact + 1 : ANYTHING;
			taken.reg[i].fact = ANYTHING;
		}
	}
	return jump_to(v, v->at + v->zi.length + v->ops[0].imm.value.s, &taken);
}

static bool is_branch(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_RET: return true;
	default: return zi->mnemonic == ZYDIS_MNEMONIC_INT3;
	}
}

/* Facts at this place: of the instruction before it and of all jumps to it. */
static void arrive(struct verify *v)
{
	bool any = v->flows;

	for (unsigned i = 0; i < v->pending_count; i++) {
		if (v->pending[i].to != v->at)
			continue;
		if (any)
			meet(&v->now, &v->pending[i].facts);
		else
			v->now = v->pending[i].facts;
		any = true;
		v->pending[i--] = v->pending[--v->pending_count];
	}
	if (!any || v->at == v->block->entry_host || v->at == v->block->entry_saved ||
	    v->at == v->block->entry_found)
		memset(&v->now, 0, sizeof(v->now)); /* an entry, a return site, a resumption */
	for (u32 i = 0; i < v->block->site_count; i++) {
		const struct site *s = &v->code->sites[v->block->sites + i];

		if (s->kind != SITE_CALL || s->patch != v->at)
			continue;
		v->now.reg[T0].fact = v->now.reg[T1].fact = v->now.reg[T2].fact = ANYTHING;
		v->resume = v->at;
		v->resume_facts = v->now;
	}
}

/* Is the pointer that C gives at this site, in @reg, as good as what its check would have made? */
static bool answers(const struct verify *v, const struct site *s, u32 at, int reg)
{
	for (unsigned i = 0; i < v->made_count; i++)
		if (v->made[i].at == at && v->made[i].reg == reg)
			return v->made[i].bytes <= MAX(s->size, s->span) &&
			       (may_write(v, s) || !v->made[i].write);
	return false;
}

/* C goes on where a check was left, with the pointer in rbx: there itself, or in a stub's "mov reg,
 * rbx; jmp back". Nothing else jumps backward. */
static bool check_back(struct verify *v)
{
	for (unsigned i = 0; i < v->back_count; i++) {
		bool known = false;

		for (u32 k = 0; k < v->block->site_count && !known; k++) {
			const struct site *s = &v->code->sites[v->block->sites + k];

			known = s->kind == SITE_MEM && s->patch == v->back[i].from - 3 &&
				answers(v, s, v->back[i].to, v->back[i].reg);
		}
		if (!known)
			return refuse(v, "a jump backward that is no resumption");
	}
	for (u32 k = 0; k < v->block->site_count; k++) {
		const struct site *s = &v->code->sites[v->block->sites + k];
		bool known = s->kind != SITE_MEM || answers(v, s, s->patch, T0);

		for (unsigned i = 0; i < v->back_count && !known; i++)
			known = s->patch == v->back[i].from - 3;
		if (!known)
			return refuse(v, "C would go on where no check was left");
	}
	return true;
}

/* Where code.c may write into the block to bind it to another: the distance of a direct jump that
 * leads to the site's stub. */
static bool check_link(struct verify *v, const struct site *s)
{
	s32 d;

	if (s->patch < v->block->code || s->patch + 4 > v->block->code_end || (s->patch & 7) > 4 ||
	    !get_bit(v->fields, s->patch + 4 - v->block->code))
		return refuse(v, "a link that is no jump");
	memcpy(&d, v->code->buf.base + s->patch, sizeof(d));
	return s->patch + 4 + d == s->stub || refuse(v, "a link that leads elsewhere");
}

static bool check_return_site(struct verify *v, const struct site *s)
{
	return (v->call_count && s->patch == v->call_end &&
		s->patch >= v->block->entry_saved + BLOCK_MIN_CODE &&
		s->patch + 5 <= v->block->code_end) ||
	       refuse(v, "a return site that is behind no call");
}

/* What C takes from the sites. */
static bool check_sites(struct verify *v)
{
	unsigned returns = 0;

	for (u32 i = 0; i < v->block->site_count; i++) {
		const struct site *s = &v->code->sites[v->block->sites + i];
		bool last = i + 1 == v->block->site_count;

		if ((s->kind == SITE_ALT || s->kind == SITE_LINK) && !check_link(v, s))
			return false;
		if (s->kind == SITE_MEM && s->span && (last || s[1].kind != SITE_ALT))
			return refuse(v, "a group without its twin");
		if (s->kind == SITE_SLOW && !(v->block->ctx & CTX_SINGLE))
			return refuse(v, "a slow access in a block of many instructions");
		if (s->kind == SITE_RETURN && (returns++ || !check_return_site(v, s)))
			return refuse(v, "a second return site");
	}
	return returns == v->call_count || refuse(v, "a call without its return site");
}

static bool starts_at(const struct verify *v, u32 at)
{
	return at >= v->block->code && at < v->block->code_end &&
	       get_bit(v->starts, at - v->block->code);
}

static bool check_entries(struct verify *v)
{
	const struct block *b = v->block;

	return (starts_at(v, b->entry_host) && starts_at(v, b->entry_saved) &&
		starts_at(v, b->entry_found) && b->entry_saved + BLOCK_MIN_CODE <= b->code_end) ||
	       refuse(v, "an entry that is no instruction, or too close to the end");
}

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
	    shape.fixed != shape.head || is_branch(&v->zi) || varies(v, 0, shape.head))
		return refuse(v, "a value in an instruction's head, or in a branch");
	imm = shape.len - shape.imm_bytes;
	if (varies(v, shape.head, imm)) {
		if (v->zi.mnemonic != ZYDIS_MNEMONIC_LEA ||
		    !is_value(v, shape.head, shape.disp_bytes))
			return refuse(v, "a value in an address");
		v->ops[1].mem.base = ZYDIS_REGISTER_NONE;
		v->ops[1].mem.index = ZYDIS_REGISTER_NONE;
	}
	if (!varies(v, imm, shape.len))
		return true;
	if (!is_value(v, imm, shape.imm_bytes))
		return refuse(v, "a value in a part of a number");
	for (unsigned i = 0; i < v->zi.operand_count; i++)
		if (v->ops[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
			v->ops[i].type = ZYDIS_OPERAND_TYPE_UNUSED;
	return true;
}

static bool counts_down(const struct verify *v)
{
	return v->zi.mnemonic == ZYDIS_MNEMONIC_SUB &&
	       state_operand(v, 0, offsetof(struct cpu, loop_left));
}

static void verify_all(struct verify *v, const ZydisDecoder *decoder)
{
	while (!v->why && !v->once_again && v->at < v->block->code_end) {
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, v->code->buf.base + v->at,
							 v->block->code_end - v->at, &v->zi,
							 v->ops))) {
			refuse(v, "bytes that are no instruction");
			break;
		}
		set_bit(v->starts, v->at - v->block->code);
		arrive(v);
		v->flows = true;
		if (v->print && varies(v, 0, v->zi.length) && !forget_values(v))
			break;
		if (counts_down(v) && !begin_turns(v))
			break;
		if (!check_instruction(v) || (is_branch(&v->zi) && !check_branch(v)))
			break;
		if (!is_branch(&v->zi))
			update(v);
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
				     .at = block->code,
				     .not_carried = v.not_carried };
		if (block->code_end - block->code > BLOCK_MAX_CODE) {
			refuse(&v, "a block of more bytes than are reserved");
			break;
		}
		clear(v.starts, block);
		clear(v.fields, block);
		clear(v.varies, block);
		if (values)
			mark_values(&v);
		verify_all(&v, &decoder);
	}
	if (v.flows)
		refuse(&v, "the block runs off its end");
	if (v.pending_count)
		refuse(&v, "a jump into the middle of an instruction");
	if (!v.why && check_entries(&v) && check_back(&v))
		check_sites(&v);
	*why = v.why;
	return !v.why;
}
