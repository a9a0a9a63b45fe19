/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the lowering share. The picture of the registers is at the head of lower.c.
 *
 *   lower.c         a block: flags, liveness, entries, ways out; what each kind becomes
 *   lower_memory.c  guest addresses to host pointers: checks, and the groups that share one
 *   lower_carry.c   loops that need no check for most of their turns
 *   lower_copy.c    re-encoding an instruction with its operands placed
 *   lower_flow.c    jumps, calls, returns, the stack
 *   lower_string.c  MOVS and STOS
 *   lower_system.c  what kernels execute all the time
 *   lower_thunks.c  the common code at the start of the cache
 */
#ifndef LODGE_CPU_X86_LOWER_PRIVATE_H
#define LODGE_CPU_X86_LOWER_PRIVATE_H

#include "cpu/x86/lower.h"

#include <Zydis/Zydis.h>

#define OFF(field) offsetof(struct cpu, field)
#define HOME(r)    (offsetof(struct cpu, gpr) + 8 * (r))

/* Those that compilers use last live in memory. */
#define HOMED_MASK (BIT(R9) | BIT(R10) | BIT(R11) | BIT(R12) | BIT(R13) | BIT(R14) | BIT(R15))
#define HOMED(r)   ((HOMED_MASK >> (r)) & 1)
/* Where a guest register that is not homed lives. */
#define PINNED(r)  ((r) == RSP ? SP : (r) == RBX ? R10 : (r) == RBP ? R9 : (r))

/* A host pointer to a guest operand: [reg + disp]. */
struct ptr {
	u8 reg;
	s32 disp;
};

/* An address expression whose value changes by known constants only. */
struct group_key {
	u8 base, index, scale;
	u8 seg;   /* SEG_FS, SEG_GS, or SEG_DS for all flat ones */
	u8 width; /* bytes of the address: 4, 8 */
};

/* Accesses off one address expression that share one check: @reg holds the host address of the
 * expression plus @ref. Displacements in [lo, hi) may be accessed. */
struct group {
	u8 active, reg, access;
	u8 age; /* index of the instruction that used it last */
	struct group_key key;
	s64 ref, lo, hi;
};
#define GROUPS         2 /* lower_call_outside() takes one register */
/* Wider groups miss more often because a page ends in them. */
#define GROUP_SPAN     256
/* Conditional branches out of the page: few leave a block, which may have a second copy. */
#define BLOCK_MAX_FARS (2 * BLOCK_MAX_INSNS)

struct stub {
	u8 *jump; /* rel32 to be pointed here */
	u8 *more; /* SITE_BRANCH, SITE_CALL: this too */
	u8 *back; /* SITE_MEM, SITE_CALL: where to go on */
	struct site *site;
	struct site *alt; /* SITE_MEM of a group: its SITE_ALT */
	u8 stack;         /* SITE_MEM: it is cpu->stack that does not have the page */
	u8 reg; /* SITE_MEM: holds the address, takes the pointer; SITE_CALL: takes what to call */
};

/* The block is a loop whose groups' pointers are carried from one turn to the next. */
struct carry {
	unsigned count; /* of pointers; 0: it is none */
	struct carried {
		struct group_key key;
		s64 at;    /* about there, from the key's value at the loop's start */
		s64 step;  /* what a turn adds to the key's value */
		s64 shift; /* what this turn has added so far */
	} pointers[GROUPS];
	unsigned last; /* index of the branch back */
	bool moves;    /* one of the pointers, of which @leader is the first */
	unsigned leader;
	u8 *enter; /* rel32 of the checked copy's jump to the other one */
	u8 *next;  /* the other one's next turn; NULL: not begun */
};

struct lower {
	struct lowering *l;
	struct code_buf *b;
	const struct insn *insn;
	unsigned i;
	enum flags_form form;
	unsigned stub_count;
	bool ended;                   /* an unconditional exit has been written */
	struct group groups[GROUPS];  /* the first are those of @carry.pointers */
	const struct group *reserved; /* its register holds something else */
	struct carry carry;
	unsigned map_shift; /* of block->map for the instructions of a second copy */
	s32 rsp_pending;    /* guest RSP is SP plus this */
	u8 flips;           /* CTX_AC, if the context of what comes is not the block's there */
	struct far {
		u8 *jump; /* rel32 of a conditional branch to @target, which is not in the page */
		s32 target;
		u8 insn, form, live;
	} fars[BLOCK_MAX_FARS];
	unsigned far_count;
	u8 live_in[BLOCK_MAX_INSNS];
	struct stub stubs[BLOCK_MAX_SITES]; /* large: add_stub() clears what it takes */
};

static inline bool is_slow(const struct lower *x)
{
	return x->l->block->ctx & CTX_SLOW;
}
static inline bool is_single(const struct lower *x)
{
	return x->l->block->ctx & CTX_SINGLE;
}
static inline bool is_long(const struct lower *x)
{
	return (x->l->block->ctx & CTX_MODE_MASK) == CTX_64;
}
static inline u8 live_out(const struct lower *x)
{
	return x->l->live_after[x->i];
}
static inline bool fits32(s64 v)
{
	return v == (s32)v;
}
static inline u32 cache_off(const struct lower *x, const u8 *p)
{
	return p - x->b->base;
}

static inline struct host_map *map_here(const struct lower *x)
{
	return &x->l->block->map[x->map_shift + x->i];
}

/* ---- lower.c -------------------------------------------------------------------------------- */

void emit_save_flags(struct code_buf *b);    /* uses T1 */
void emit_restore_flags(struct code_buf *b); /* uses T1 */
/* Code that clobbers EFLAGS follows; @live is what must survive it. */
void flags_clobber(struct lower *x, u8 live);
/* The next instruction needs the flags in EFLAGS. */
void flags_need_host(struct lower *x);
/* Just before the guest's own instruction is emitted, and just after. */
void flags_before(struct lower *x);
void flags_after(struct lower *x);
bool flags_merge(const struct insn *insn, u8 live);

/* Brings SP up to date; uses T1, keeps the flags. Before every way out. */
void settle(struct lower *x);
struct site *new_site(struct lower *x, enum site_kind kind, s32 guest_off);
u32 site_id(const struct lower *x, const struct site *s);
/* cpu->exit_code = the site's number. */
void emit_site(struct lower *x, const struct site *s);
/* Jumps to a thunk. */
void emit_thunk(struct lower *x, u32 thunk);
/* Keep for lowering.places: the distance of a thunk at @rel32; the number of a site, in the four
 * bytes just written. */
void note_thunk(struct lower *x, const u8 *rel32);
void note_site(struct lower *x);
struct stub *add_stub(struct lower *x, u8 *jump, struct site *s);
void emit_leave(struct lower *x, struct site *s);
/* Do the control bits of the block's context forbid the instruction? */
bool fpu_is_off(const struct lower *x, const struct insn *insn);
/* Lowers the instructions of the block from the first one on, until the block ends. */
void lower_insns(struct lower *x);
/* Leaves the block for C at this instruction. */
void emit_exit(struct lower *x, enum site_kind kind, s32 guest_off);
/* The host register that holds guest register @r, loading a homed one into @temp. */
unsigned use_reg(struct lower *x, unsigned r, unsigned temp);
/* Host register @from -> guest register @r, @bytes of it: 2 are merged, 4 zero-extended (a home
 * takes all 8: the upper half of @from must be zero). */
void set_reg(struct lower *x, unsigned r, unsigned from, unsigned bytes);

/* ---- lower_memory.c ---------------------------------------------------------------------------
 */

void movzx16(struct code_buf *b, unsigned dst, unsigned src);
/* Effective address of the memory operand (+ @add) into @dst (T0, T2 or a group's register); uses
 * T1, keeps the flags. No segment base. */
void emit_effective(struct lower *x, unsigned dst, s32 add);
/* Adds what segmentation adds to @dst (flags clobbered). In CTX_NONFLAT soft_access_slow() does. */
void emit_segment(struct lower *x, unsigned dst, unsigned seg);
/* The TLB that the block's accesses use, and its struct cpu offset. */
enum tlb_kind tlb_kind(const struct lower *x);
size_t tlb_offset(const struct lower *x);
/* T1 = tlb_index(@reg) times the entry's size. Clobbers EFLAGS. */
void emit_tlb_index(struct code_buf *b, enum tlb_kind kind, unsigned reg);
/* The two halves of an inline check. First: T1 = the TLB entry of linear address @reg, which
 * becomes the offset in its page, or something larger if @access is not in the TLB. Then, with T1
 * as it was:
 * @reg becomes the host address. Both clobber EFLAGS. */
void emit_tlb_entry(struct lower *x, unsigned reg, unsigned access);
void emit_tlb_host(struct lower *x, unsigned reg);
/* T0: linear address (CTX_NONFLAT: offset in @seg) -> host address, for @size bytes of @access.
 * Uses T1, clobbers EFLAGS (the caller has seen to that), keeps T2. */
void emit_check(struct lower *x, unsigned size, unsigned access, unsigned seg);
/* The whole way for the instruction's own memory operand plus @add bytes. Uses T0 and T1. */
struct ptr emit_memory(struct lower *x, unsigned size, unsigned access, s32 add);
/* @size bytes at @off from guest register @base (RSP, RBP) in the stack segment. */
struct ptr emit_stack(struct lower *x, unsigned base, s32 off, unsigned size, unsigned access);
unsigned stack_width(const struct lower *x);
/* Bytes that PUSH, POP, CALL, RET of this instruction move. */
unsigned push_bytes(const struct lower *x, const struct insn *insn);
/* The group that emit_stack() would take the pointer from, or NULL; the register of one. */
const struct group *stack_group(struct lower *x, unsigned base, s32 off, unsigned size,
				unsigned access);
unsigned group_register(unsigned group);
/* What the instruction did to registers makes groups invalid, or moves them. */
void groups_update(struct lower *x);
/* The key of instruction @i's memory operand and its displacement; false: it takes no part. */
bool memory_key(const struct lower *x, unsigned i, struct group_key *key, s64 *disp);
bool same_key(const struct group_key *a, const struct group_key *b);
/* What instruction @i does to a key's value: false, nobody knows; else it moves by *@shift. */
bool key_after(const struct lower *x, unsigned i, const struct group_key *key, s64 *shift);

/* ---- lower_carry.c ------------------------------------------------------------------------------
 */

/* Looks whether the block is a loop that carries pointers; if so it ends behind its branch back. */
void carry_plan(struct lower *x);
/* The branch back of condition @cc; false: not of such a loop. */
bool carry_branch(struct lower *x, unsigned cc);
/* The carried pointer that an access @disp from the key's value now is for, or -1. */
int carry_index(const struct lower *x, const struct group_key *key, s64 disp);
/* After each instruction. */
void carry_update(struct lower *x);
/* Behind the block: the copy for the other turns, if carry_branch() jumped to it. */
void carry_copy(struct lower *x);

/* ---- lower_copy.c -------------------------------------------------------------------------------
 */

enum rm_form { RM_REG, RM_PTR, RM_STATE };

struct operands {
	unsigned reg, rm, vvvv, op; /* host numbers for the fields */
	enum rm_form form;
	struct ptr ptr; /* RM_PTR */
	size_t state;   /* RM_STATE: struct cpu offset */
	bool no_rex;    /* AH..DH are among the operands */
	bool turned;    /* the opcode for the other direction: @reg and @rm have changed places */
};

void encode(struct lower *x, const struct operands *o);
/* An instruction whose only memory access is its explicit operand. */
void lower_copy(struct lower *x);

/* ---- lower_system.c -----------------------------------------------------------------------------
 */

/* False: not inline here, nothing written. Not in a block of one instruction. */
bool lower_system(struct lower *x);

/* ---- lower_string.c -----------------------------------------------------------------------------
 */

/* MOVS or STOS with 64-bit addresses; not in a block of one instruction. */
void lower_string(struct lower *x);

/* ---- lower_thunks.c -----------------------------------------------------------------------------
 */

/* @to (T2, P0, P1) = host address of the block at RIP T0, or takes one of the jumps @miss, whose
 * rel32 fields the caller points somewhere (the second one: or to leave is asked for). T0 stays;
 * before the first of them, @to does too. What the jump cache knows is a canonical address.
 * Clobbers T1, EFLAGS. */
void e_lookup(struct code_buf *b, unsigned to, u8 *miss[2]);
/* cpu->page_base = the page of RIP T0; clobbers both. */
void e_enter_page(struct code_buf *b);

/* ---- lower_flow.c -------------------------------------------------------------------------------
 */

s32 branch_target(const struct lower *x, unsigned i);
/* The instruction's jump to page offset @target of the current page (or beyond it). */
void emit_direct(struct lower *x, s32 target, u8 live);
/* The block ends where the next one begins. */
void emit_fall_through(struct lower *x);
void lower_jcc(struct lower *x);
/* Behind the block: where its conditional branches go that leave the page. */
void emit_fars(struct lower *x);
void lower_loop(struct lower *x);
void lower_push(struct lower *x);
void lower_pop(struct lower *x);
void lower_leave(struct lower *x);
void lower_call(struct lower *x);
void lower_ret(struct lower *x);
void lower_jmp(struct lower *x);

#endif
