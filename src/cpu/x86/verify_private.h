/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the verifier share. The rules are at the head of verify.c.
 *
 *   verify.c         a block: its instructions one after the other; numbers that are put in later
 *   verify_access.c  which instructions and operands may be there
 *   verify_facts.c   what becomes known of registers, and of the turns of a loop
 *   verify_flow.c    jumps, calls and returns; what C takes from the block's sites
 */
#ifndef LODGE_CPU_X86_VERIFY_PRIVATE_H
#define LODGE_CPU_X86_VERIFY_PRIVATE_H

#include "cpu/code.h"
#include "cpu/x86/footprint.h"
#include "cpu/x86/verify.h"

#include <Zydis/Zydis.h>

#define PENDING_MAX (BLOCK_MAX_SITES * 4)

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
	TURNS_BYTES,    /* TURNS times @hi, then */
	TURNS_END,      /* ... plus the address of carried pointer @lo; of both the lower halves */
};
struct knowledge {
	u8 fact, write;
	s32 lo, hi;
	u8 of;
};
/* What cpu->loop_end is worth to P0 and P1: until the pointer @leader, which moves by @step each
 * turn, is there, both may move once a turn by up to 1 << @shift bytes, up until their offset in
 * the page is
 * @limit, or, where that is -1, down until it is 0. */
struct turns {
	u8 shift[2];
	s32 limit[2];
	u8 leader;
	s32 step;
	u8 mask;     /* of the pointers for which cpu->loop_end was stored */
	u8 may;      /* of those that may move now: it is not their last turn */
	u8 moved;    /* of those that have moved in this turn */
	u8 compared; /* the leader with loop_end, by the instruction before this one */
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

/* Of what Zydis says of an instruction, what is looked at beside the operands. */
struct host_insn {
	u8 length, operand_count, operand_count_visible, address_width;
	u8 opcode, opcode_map, branch_type;
	ZydisMnemonic mnemonic;
	ZydisInstructionCategory category;
	ZydisInstructionAttributes attributes;
};

/* Nothing but the instruction's bytes decides what Zydis says. */
struct decoded {
	u8 bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
	struct host_insn zi; /* of length 0: none */
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
};
#define DECODED_BITS 11

struct verifier {
	struct decoded decoded[1 << DECODED_BITS];
	struct pending pending[PENDING_MAX];
	u8 starts[MAP_BYTES]; /* an instruction begins */
	u8 fields[MAP_BYTES]; /* the distance of a direct jump inside the block ends */
	u8 varies[MAP_BYTES]; /* part of a number that is put in when the block is taken */
	u8 joins[MAP_BYTES];  /* C comes back here: flow_arrive() */
};

struct verify {
	const struct code_cache *code;
	const struct block *block;
	struct facts now;
	u32 at;
	bool flows;              /* the instruction before this one continues here */
	struct pending *pending; /* room for PENDING_MAX */
	unsigned pending_count;
	u8 *starts, *fields, *varies, *joins; /* MAP_BYTES each; struct verifier */
	const struct footprint *print;        /* what varies in the code; NULL: nothing */
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
	u32 straight; /* since there: no branch, and P0, P1 and the turns are what they were */
	u8 moved_to;  /* mov moved_to, rbx: the instruction that ends at @moved_end */
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
	struct host_insn zi;
	const ZydisDecodedOperand *ops; /* of a struct decoded, or @own */
	ZydisDecodedOperand own[ZYDIS_MAX_OPERAND_COUNT];
	const char *why;
};

/* Keeps the first reason; false. */
static inline bool refuse(struct verify *v, const char *why)
{
	if (!v->why)
		v->why = why;
	return false;
}

_Static_assert(ZYDIS_REGISTER_R15 - ZYDIS_REGISTER_RAX == R15 &&
		       ZYDIS_REGISTER_RSP - ZYDIS_REGISTER_RAX == RSP &&
		       ZYDIS_REGISTER_R15D - ZYDIS_REGISTER_EAX == R15 &&
		       ZYDIS_REGISTER_ESP - ZYDIS_REGISTER_EAX == RSP,
	       "registers are numbered as the manual does");

/* Of the general register that @reg is a part of, or -1. */
static inline int number(ZydisRegister reg)
{
	ZydisRegisterClass rc;

	if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
		return reg - ZYDIS_REGISTER_RAX;
	if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
		return reg - ZYDIS_REGISTER_EAX;
	rc = ZydisRegisterGetClass(reg);
	if (rc != ZYDIS_REGCLASS_GPR8 && rc != ZYDIS_REGCLASS_GPR16 && rc != ZYDIS_REGCLASS_GPR32 &&
	    rc != ZYDIS_REGCLASS_GPR64)
		return -1;
	return ZydisRegisterGetId(
		ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg));
}

static inline bool is_register(const struct verify *v, unsigned op, int reg)
{
	return v->ops[op].type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       number(v->ops[op].reg.value) == reg;
}

static inline bool is_immediate(const struct verify *v, unsigned op)
{
	return v->ops[op].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

/* The operand is [rbp + @off], a field of struct cpu. */
static inline bool state_operand(const struct verify *v, unsigned op, size_t off)
{
	const ZydisDecodedOperand *o = &v->ops[op];

	return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base == ZYDIS_REGISTER_RBP &&
	       o->mem.index == ZYDIS_REGISTER_NONE && o->mem.disp.value + CPU_RBP_BIAS == (s64)off;
}

static inline enum tlb_kind tlb_kind(const struct block *block)
{
	if ((block->ctx >> CTX_CPL_SHIFT & 3) == 3)
		return TLB_USER;
	return block->ctx & CTX_AC ? TLB_KERNEL_AC : TLB_KERNEL;
}

/* Offset of what cpu->stack has for this block. */
static inline size_t stack_of(const struct block *block)
{
	return offsetof(struct cpu, stack) + tlb_kind(block) * sizeof(struct stack_page);
}

/* Offset of the mask that makes an index of the block's TLB. */
static inline size_t mask_of(const struct block *block)
{
	return offsetof(struct cpu, tlb_mask) + tlb_kind(block) * sizeof(u32);
}

static inline void set_bit(u8 *map, u32 bit)
{
	map[bit / 8] |= 1 << bit % 8;
}

static inline bool get_bit(const u8 *map, u32 bit)
{
	return map[bit / 8] >> bit % 8 & 1;
}

/* ---- verify_access.c ------------------------------------------------------------------------- */

enum column { COLUMN_READ, COLUMN_WRITE, COLUMN_HOST, COLUMN_EXEC, COLUMN_NONE };

/* May the instruction be there, and does each of its operands lie where it may? */
bool access_check(struct verify *v);
/* Which column of the block's own TLB is at this offset of struct cpu? */
enum column access_column(const struct verify *v, s64 at);

/* ---- verify_facts.c -------------------------------------------------------------------------- */

/* What is known behind the instruction, which is no branch. */
void facts_update(struct verify *v);
/* What holds at a label holds at every jump to it: @a becomes that of both. */
void facts_meet(struct facts *a, const struct facts *b);
/* What is known where the conditional branch goes, and, in v->now, behind it. */
void facts_branch(struct verify *v, struct facts *taken);
/* The turns of a loop begin here, or a jump of @facts leads back to there. */
bool facts_begin_turns(struct verify *v);
bool facts_end_turns(struct verify *v, const struct facts *facts);
/* Has C seen to it that the pointer it gives at this site may be written to? */
bool facts_may_write(const struct verify *v, const struct site *s);

/* ---- verify_flow.c --------------------------------------------------------------------------- */

bool flow_is_branch(const struct host_insn *zi);
/* Does an exit code name a site of this block, of that kind? */
bool flow_is_site(const struct verify *v, u64 id, enum site_kind kind);
/* Facts at this place: of the instruction before it and of all jumps to it. */
void flow_arrive(struct verify *v);
/* Before the first: marks where it has to look at the sites. */
void flow_find_joins(struct verify *v);
bool flow_branch(struct verify *v);
/* Behind the whole block: its entries, where C comes back, and what C takes from the sites. */
bool flow_check_sites(struct verify *v);

#endif
