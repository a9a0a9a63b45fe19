/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The common code at the start of the cache: in, out, and the ways to C and back.
 *
 * Translated code has a stack of its own (cpu->shadow), C has the thread's. Every crossing changes
 * rsp: cpu->shadow_sp and cpu->host_rsp keep the one that is not in use.
 */
#include "cpu/x86/lower_private.h"

static const u8 pinned[] = { RAX, RCX, RDX, RSP, RSI, RDI, R8, R9, R10 };
static const u8 callee_saved[] = { RBX, RBP, R12, R13, R14, R15 };

static void emit_spill(struct code_buf *b)
{
	for (unsigned i = 0; i < ARRAY_LEN(pinned); i++)
		e_store(b, PINNED(pinned[i]), HOME(pinned[i]));
}
static void emit_reload(struct code_buf *b)
{
	for (unsigned i = 0; i < ARRAY_LEN(pinned); i++)
		e_load(b, PINNED(pinned[i]), HOME(pinned[i]));
}

/* Calls function(cpu) on C's stack. */
static void emit_call_c(struct code_buf *b, void *function)
{
	e_store(b, RSP, OFF(shadow_sp));
	e_load(b, RSP, OFF(host_rsp));
	e_lea(b, 1, RDI, ST, REG_NONE, 1, -CPU_RBP_BIAS);
	e_mov_imm(b, RAX, (u64)(uintptr_t)function);
	e_call_reg(b, RAX);
}

static void emit_test_rax(struct code_buf *b)
{
	e8(b, 0x48);
	e8(b, 0x85);
	e8(b, 0xc0);
}

/* Back on the translated code's stack with what C returned in T0. */
static void emit_resume(struct code_buf *b)
{
	e_load(b, RSP, OFF(shadow_sp));
	e_mov(b, T0, RAX);
	emit_reload(b);
}

_Static_assert(sizeof(struct jump_entry) == 16 && JC_ENTRIES == 16384, "index code below");

/* e_lookup(), in an address's first or second place. */
static void emit_probe(struct code_buf *b, unsigned to, bool second, u8 *miss[3])
{
	size_t jc = OFF(jc);

	e_mov(b, T1, T0);
	e_shift(b, 1, 5, T1, 10);
	e_xor(b, T1, T0);
	e_arith_imm(b, 0, 4, T1, JC_ENTRIES - 1);
	if (second)
		e_arith_imm(b, 0, 6, T1, JC_SECOND);
	e_shift(b, 0, 4, T1, 4);
	e_op_indexed(b, 0x3b, 1, T0, T1, jc + offsetof(struct jump_entry, pc));
	miss[0] = e_jcc(b, 5, false);
	e_op_indexed(b, 0x8b, 0, to, T1, jc + offsetof(struct jump_entry, ctx));
	e_op_state(b, 0x3b, 0, to, OFF(jc_key));
	miss[1] = e_jcc(b, 5, false);
	e_cmp_state32(b, OFF(exit_request), 0);
	miss[2] = e_jcc(b, 5, false);
	e_op_indexed(b, 0x8b, 0, to, T1, jc + offsetof(struct jump_entry, code));
	e_op_state(b, 0x03, 1, to, OFF(code_base));
}

void e_lookup(struct code_buf *b, unsigned to, u8 *miss[3])
{
	emit_probe(b, to, false, miss);
}

void e_enter_page(struct code_buf *b)
{
	e_arith_imm(b, 1, 4, T0, (u32)-4096);
	e_store(b, T0, OFF(page_base));
}

void e_lookup_or(struct code_buf *b, const u8 *otherwise)
{
	u8 *miss[3];

	e_lookup(b, T2, miss);
	for (unsigned i = 0; i < ARRAY_LEN(miss); i++)
		e_patch(miss[i], otherwise);
	e_enter_page(b);
}

static void emit_move_sp(struct code_buf *b, s32 bytes)
{
	e_lea(b, 1, RSP, RSP, REG_NONE, 1, bytes);
}

/* A call's target, T0, is not in the jump cache: called by the block. T2 = what to call instead, or
 * leaves at the block's SITE_CALL if the call is to be refused. */
static void emit_call_miss(struct code_buf *b, struct thunks *t)
{
	u8 *refused, *miss[3];

	t->call_late = b->p - b->base;
	e_store_imm32(b, OFF(exit_code), EXIT_JUMP);
	e_jmp_to(b, b->base + t->exit_saved);

	t->call_miss = b->p - b->base;
	emit_probe(b, T2, true, miss);
	e8(b, 0xc3);
	for (unsigned i = 0; i < ARRAY_LEN(miss); i++)
		e_patch(miss[i], b->p);
	e_store(b, T0, OFF(exit_arg));
	e_mov(b, T1, T0);
	e_shift(b, 1, 4, T1, 16);
	e_shift(b, 1, 7, T1, 16);
	e_cmp(b, T1, T0);
	refused = e_jcc(b, 5, false);
	e_mov_imm(b, T2, t->call_late);
	e_op_state(b, 0x03, 1, T2, OFF(code_base));
	e8(b, 0xc3);
	e_patch(refused, b->p);
	emit_move_sp(b, 8);
	e_jmp_to(b, b->base + t->exit_saved);
}

/* An address off RSP that is not in the page of cpu->stack. */
static void emit_stack_page(struct code_buf *b, struct thunks *t, enum tlb_kind kind)
{
	size_t tlb = OFF(tlb) + kind * sizeof(struct tlb);
	size_t page = OFF(stack) + kind * sizeof(struct stack_page);
	size_t tag = tlb + offsetof(struct tlb_entry, write_tag);
	u8 *miss;

	t->stack[kind] = b->p - b->base;
	e_op_state(b, 0x03, 1, T0, page + offsetof(struct stack_page, tag)); /* add */
	emit_tlb_index(b, T0);
	e_op_indexed(b, 0x2b, 1, T0, T1, tag);       /* sub */
	e_op_state(b, 0x3b, 1, T0, OFF(scratch[1])); /* cmp */
	miss = e_jcc(b, 7, false);
	e_store(b, T0, OFF(scratch[0]));
	e_op_indexed(b, 0x8b, 1, T0, T1, tag); /* mov */
	e_store(b, T0, page + offsetof(struct stack_page, tag));
	e_op_indexed(b, 0x8b, 1, T0, T1, tlb + offsetof(struct tlb_entry, host));
	e_store(b, T0, page + offsetof(struct stack_page, host));
	e_load(b, T1, OFF(scratch[0]));
	e_lea(b, 1, T0, T0, T1, 1, 0);
	e_patch(miss, b->p);
	e8(b, 0xc3);
}

void lower_thunks(struct code_buf *b, struct thunks *t)
{
	u8 *out, *failed, *miss[3];

	/* enter(cpu, code): six pushes and the return address leave rsp 8 short of 16. It is
	 * entered and left by jumps (run.c). */
	t->enter = b->p - b->base;
	for (unsigned i = 0; i < ARRAY_LEN(callee_saved); i++)
		e_push(b, callee_saved[i]);
	e_arith_imm(b, 1, 5, RSP, 8);
	e_lea(b, 1, ST, RDI, REG_NONE, 1, CPU_RBP_BIAS);
	e_store(b, RSP, OFF(host_rsp));
	e_load(b, RSP, OFF(shadow_sp));
	e_mov(b, T1, RSI);
	emit_reload(b);
	e_jmp_reg(b, T1);

	t->exit_host = b->p - b->base;
	emit_save_flags(b);
	t->exit_saved = b->p - b->base;
	emit_spill(b);
	e_store(b, RSP, OFF(shadow_sp));
	e_load(b, RSP, OFF(host_rsp));
	out = b->p; /* on C's stack */
	e_arith_imm(b, 1, 0, RSP, 8);
	for (int i = ARRAY_LEN(callee_saved) - 1; i >= 0; i--)
		e_pop(b, callee_saved[i]);
	e_pop(b, RCX);
	e_jmp_reg(b, RCX);

	/* slow path of a check: T0 = address - tag, T1 = offset of the entry */
	t->mem = b->p - b->base;
	emit_spill(b);
	e_store(b, T0, OFF(scratch[0]));
	e_store(b, T1, OFF(scratch[1]));
	emit_call_c(b, soft_mem_slow);
	emit_test_rax(b);
	e_patch(e_jcc(b, 4, false), out);
	emit_resume(b);
	e8(b, 0xff); /* jmp [scratch2] */
	e_state(b, 4, OFF(scratch[2]));

	for (unsigned kind = 0; kind < TLB_KINDS; kind++)
		emit_stack_page(b, t, kind);

	/* slow access: called, T0 = address or segment offset */
	t->slow = b->p - b->base;
	emit_spill(b);
	e_store(b, T0, OFF(scratch[0]));
	emit_call_c(b, soft_access_slow);
	emit_test_rax(b);
	failed = e_jcc(b, 4, false);
	emit_resume(b);
	e8(b, 0xc3);
	e_patch(failed, b->p); /* nobody returns into the block: drop its return address */
	e8(b, 0x48);
	e8(b, 0x83);
	e_state(b, 0, OFF(shadow_sp));
	e8(b, 8);
	e_jmp_to(b, out);

	t->exit_signal = b->p - b->base;
	e_store_imm32(b, OFF(exit_code), EXIT_SIGNAL);
	e_jmp_to(b, b->base + t->exit_saved);

	/* the jump cache does not know T0 in its first place */
	t->jump = b->p - b->base;
	e_store_imm32(b, OFF(exit_code), EXIT_JUMP);
	t->branch = b->p - b->base;
	emit_probe(b, T2, true, miss);
	e_mov(b, T1, T0); /* which leaves T0 as it is */
	e_arith_imm(b, 1, 4, T1, (u32)-4096);
	e_store(b, T1, OFF(page_base));
	e_jmp_reg(b, T2);
	for (unsigned i = 0; i < ARRAY_LEN(miss); i++)
		e_patch(miss[i], b->p);
	e_store(b, T0, OFF(exit_arg));
	e_jmp_to(b, b->base + t->exit_saved);

	/* nor where a return wants to go */
	t->jump_return = b->p - b->base;
	e_store(b, T2, OFF(scratch[3]));
	e_store_imm32(b, OFF(exit_code), EXIT_RETURN);
	e_jmp_to(b, b->base + t->branch);

	emit_call_miss(b, t);

	/* a return whose call's block is no more: the frame's other half is still there */
	t->return_stale = b->p - b->base;
	emit_move_sp(b, 16);
	/* a return without a call: the address of this lies at the bottom of the stack, and stays
	 */
	t->return_empty = b->p - b->base;
	emit_move_sp(b, -8);
	t->lookup = b->p - b->base;
	e_lookup_or(b, b->base + t->jump_return);
	e_jmp_reg(b, T2);
}
