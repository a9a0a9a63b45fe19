/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The common code at the start of the cache: in, out, and the ways to C and back.
 *
 * Translated code has a stack of its own (cpu->shadow), C has the thread's. Every crossing changes
 * rsp: cpu->shadow_sp and cpu->host_rsp keep the one that is not in use.
 */
#include "cpu/x86/lower_private.h"

static const u8 pinned[] = { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 };
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

_Static_assert(sizeof(struct jump_entry) == 32 && JC_ENTRIES == 1 << (32 - 18), "JC_SLOT");
_Static_assert(OFF(exit_request) == OFF(jc_key) + 4, "compared in one");

/* T1 = offset of the first or second place of RIP @pc. */
static void emit_slot(struct code_buf *b, unsigned pc, bool second)
{
	e_imul32(b, T1, pc, JC_HASH);
	e_shift(b, 0, 5, T1, 18 - 5);
	e_arith_imm(b, 0, 4, T1, (JC_ENTRIES - 1) * sizeof(struct jump_entry));
	if (second)
		e_arith_imm(b, 0, 6, T1, JC_SECOND * sizeof(struct jump_entry));
}

/* e_lookup(), in an address's first or second place. */
static void emit_probe(struct code_buf *b, unsigned to, bool second, u8 *miss[2])
{
	size_t jc = OFF(jc);

	emit_slot(b, T0, second);
	e_op_indexed(b, 0x3b, 1, T0, T1, jc + offsetof(struct jump_entry, pc));
	miss[0] = e_jcc(b, 5, false);
	e_op_indexed(b, 0x8b, 1, to, T1, jc + offsetof(struct jump_entry, ctx));
	e_op_state(b, 0x3b, 1, to, OFF(jc_key));
	miss[1] = e_jcc(b, 5, false);
	e_op_indexed(b, 0x8b, 1, to, T1, jc + offsetof(struct jump_entry, code));
}

void e_lookup(struct code_buf *b, unsigned to, u8 *miss[2])
{
	emit_probe(b, to, false, miss);
}

void e_enter_page(struct code_buf *b)
{
	e_arith_imm(b, 1, 4, T0, (u32)-4096);
	e_store(b, T0, OFF(page_base));
}

/* Both, with T2, or goes to @otherwise. */
static void e_lookup_or(struct code_buf *b, const u8 *otherwise)
{
	u8 *miss[2];

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
	u8 *refused, *miss[2];

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
	emit_tlb_index(b, kind, T0);
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

/* ---- SYSCALL and SYSRET ------------------------------------------------------------------------
 *
 * What do_syscall() and do_sysret() of syscall.c and run.c behind them do, where nothing stands in
 * the way: nobody wants anything, and the jump cache knows the target. The rest leaves for the exit
 * code that the block has stored, before anything has changed. Guest RCX is the host's, R11 lives
 * in struct cpu; P0 is free.
 */

struct ring {
	enum jc_class from, to;
	u8 cpl;
	u8 leave_count;
	u8 *leave[10];
};

/* The condition @cc of the flags leaves. */
static void leave_if(struct code_buf *b, struct ring *ring, unsigned cc)
{
	ring->leave[ring->leave_count++] = e_jcc(b, cc, false);
}

static void e_store_imm8(struct code_buf *b, size_t off, u8 v)
{
	e8(b, 0xc6);
	e_state(b, 0, off);
	e8(b, v);
}

/* T1 = offset of RIP @target's first or second place if it is there, for the key in scratch[1]; T2
 * becomes its page. Else takes one of the jumps @miss. */
static void emit_find_place(struct code_buf *b, unsigned target, bool second, u8 *miss[2])
{
	size_t jc = OFF(jc);

	if (target == T2)
		e_load(b, T2, OFF(msr.lstar));
	else
		e_mov(b, T2, target);
	emit_slot(b, T2, second);
	e_op_indexed(b, 0x3b, 1, T2, T1, jc + offsetof(struct jump_entry, pc));
	miss[0] = e_jcc(b, 5, false);
	e_arith_imm(b, 1, 4, T2, (u32)-4096);
	e_store(b, T2, OFF(scratch[0]));
	e_op_indexed(b, 0x8b, 0, T2, T1, jc + offsetof(struct jump_entry, ctx));
	e_op_state(b, 0x3b, 0, T2, OFF(scratch[1]));
	miss[1] = e_jcc(b, 5, false);
}

/* The context, whose new value T2 holds, and the key that goes with it, into scratch[2] and
 * scratch[1]; T1 = the code of RIP @target (RCX, or T2: the system call's). */
static void emit_find(struct code_buf *b, struct ring *ring, unsigned target)
{
	u8 *first[2], *second[2], *found;

	e_load32(b, T1, OFF(epochs.now) + ring->to * sizeof(u32));
	e_shift(b, 0, 4, T1, 16);
	e_store32(b, T2, OFF(scratch[2]));
	e_xor(b, T1, T2); /* no bit is in both */
	e_store32(b, T1, OFF(scratch[1]));
	emit_find_place(b, target, false, first);
	found = e_jmp(b, false);
	e_patch(first[0], b->p);
	e_patch(first[1], b->p);
	emit_find_place(b, target, true, second);
	ring->leave[ring->leave_count++] = second[0];
	ring->leave[ring->leave_count++] = second[1];
	e_patch(found, b->p);
	e_op_indexed(b, 0x8b, 1, T1, T1, OFF(jc) + offsetof(struct jump_entry, code));
}

/* The flags are T0: nothing of them is in EFLAGS. Clobbers T0 and T2. */
static void emit_set_flags(struct code_buf *b)
{
	e_store(b, T0, OFF(rflags));
	e_mov32(b, T2, T0);
	e_arith_imm(b, 0, 4, T2, 0xd5);
	e_shift(b, 0, 4, T2, 8);
	e_shift(b, 0, 5, T0, 11);
	e_arith_imm(b, 0, 4, T0, 1);
	e_xor(b, T2, T0);
	e_store32(b, T2, OFF(saved_flags));
}

/* A flat segment; T0: a selector whose low bits count no more, which it keeps but for them. */
static void emit_set_segment(struct code_buf *b, enum x86_seg seg, unsigned cpl, u16 attr)
{
	size_t at = OFF(seg) + seg * sizeof(struct x86_segment);

	e_arith_imm(b, 0, 4, T0, 0xfffc);
	e_mov32(b, T2, T0);
	e_arith_imm(b, 0, 1, T2, cpl | (u32)(attr | cpl << 5) << 16);
	e_rex(b, 1, 0, 0);
	e_store_imm32(b, at + offsetof(struct x86_segment, base), 0);
	e_store_imm32(b, at + offsetof(struct x86_segment, limit), 0xffffffff);
	e_store32(b, T2, at + offsetof(struct x86_segment, selector));
}

/* The other ring's context, stack of frames and code. */
static void emit_cross(struct code_buf *b, struct ring *ring)
{
	size_t resting = OFF(shadow_resting), keys = OFF(shadow_key);
	u8 *same;

	e_load(b, T0, OFF(scratch[0]));
	e_store(b, T0, OFF(page_base));
	e_store_imm8(b, OFF(cpl), ring->cpl);
	e_load32(b, T0, OFF(scratch[2]));
	e_store32(b, T0, OFF(ctx));
	e_load32(b, T0, OFF(scratch[1]));
	e_store32(b, T0, OFF(jc_key));
	e_store(b, RSP, resting + ring->from * sizeof(u64));
	e_load(b, RSP, resting + ring->to * sizeof(u64));
	e_store_imm8(b, OFF(shadow_class), ring->to);
	e_load32(b, T2, keys + ring->to * sizeof(u32));
	e_xor(b, T2, T0);
	e_arith_imm(b, 0, 4, T2, ~(u32)CTX_AC);
	same = e_jcc(b, 4, false);
	e_load(b, RSP, OFF(shadow)); /* cpu_shadow_bottom() */
	e_lea(b, 1, RSP, RSP, REG_NONE, 1, (ring->to + 1) * SHADOW_STRIDE - 64);
	e_patch(same, b->p);
	e_store32(b, T0, keys + ring->to * sizeof(u32));
	e_jmp_reg(b, T1);
}

static void emit_ring_end(struct code_buf *b, struct thunks *t, const struct ring *ring)
{
	for (unsigned i = 0; i < ring->leave_count; i++)
		e_patch(ring->leave[i], b->p);
	e_jmp_to(b, b->base + t->exit_saved);
}

static void emit_syscall(struct code_buf *b, struct thunks *t)
{
	struct ring ring = { .from = JC_USER, .to = JC_KERNEL, .cpl = 0 };

	t->syscall = b->p - b->base;
	e_test_state8(b, OFF(efer), EFER_SCE);
	leave_if(b, &ring, 4);
	e_cmp_state32(b, OFF(exit_request), 0);
	leave_if(b, &ring, 5);
	/* so that the kernel's context is the one without CTX_AC */
	e_test_state8(b, OFF(cr4) + 2, CR4_SMAP >> 16);
	leave_if(b, &ring, 4);
	e_test_state8(b, OFF(msr.sfmask) + 2, FLAG_AC >> 16);
	leave_if(b, &ring, 4);
	e_load32(b, T2, OFF(ctx));
	e_arith_imm(b, 0, 4, T2, ~(u32)(3 << CTX_CPL_SHIFT));
	emit_find(b, &ring, T2);

	e_mov(b, RCX, T0);
	e_load(b, P0, OFF(rflags));
	e_arith_imm(b, 1, 4, P0, ~(u32)(FLAGS_ARITH | FLAG_RF));
	e_load32(b, T0, OFF(saved_flags));
	e_mov32(b, T2, T0);
	e_shift(b, 0, 5, T2, 8);
	e_arith_imm(b, 0, 4, T2, 0xd5);
	e_xor(b, P0, T2);
	e_arith_imm(b, 0, 4, T0, 1);
	e_shift(b, 0, 4, T0, 11);
	e_xor(b, P0, T0);
	e_store(b, P0, HOME(R11));
	e_load32(b, T0, OFF(msr.sfmask));
	e_rex(b, 1, 0, T0); /* not */
	e8(b, 0xf7);
	e8(b, 0xc0 | 2 << 3 | (T0 & 7));
	e_rex(b, 1, P0, T0); /* and */
	e8(b, 0x21);
	e8(b, 0xc0 | (P0 & 7) << 3 | (T0 & 7));
	e_arith_imm(b, 1, 1, T0, 2);
	emit_set_flags(b);
	e_load(b, T0, OFF(msr.star));
	e_shift(b, 1, 5, T0, 32);
	emit_set_segment(b, SEG_CS, 0, 0x9b | SEG_ATTR_G | SEG_ATTR_L);
	e_arith_imm(b, 0, 0, T0, 8);
	emit_set_segment(b, SEG_SS, 0, 0x93 | SEG_ATTR_G | SEG_ATTR_DB);
	emit_cross(b, &ring);
	emit_ring_end(b, t, &ring);
}

static void emit_sysret(struct code_buf *b, struct thunks *t)
{
	struct ring ring = { .from = JC_KERNEL, .to = JC_USER, .cpl = 3 };

	t->sysret = b->p - b->base;
	e_test_state8(b, OFF(efer), EFER_SCE);
	leave_if(b, &ring, 4);
	e_cmp_state32(b, OFF(exit_request), 0);
	leave_if(b, &ring, 5);
	e_cmp_state32(b, OFF(requests), 0); /* which IF may let in */
	leave_if(b, &ring, 5);
	e_mov(b, T0, RCX);
	e_shift(b, 1, 5, T0, 47);
	leave_if(b, &ring, 5); /* not the user's half */
	e_load(b, P0, HOME(R11));
	e_rex(b, 0, 0, P0); /* test P0, imm32 */
	e8(b, 0xf7);
	e8(b, 0xc0 | (P0 & 7));
	e32(b, FLAG_TF);
	leave_if(b, &ring, 5);
	e_load32(b, T2, OFF(ctx));
	e_arith_imm(b, 0, 4, T2, ~(u32)CTX_AC);
	e_arith_imm(b, 0, 1, T2, 3 << CTX_CPL_SHIFT);
	emit_find(b, &ring, RCX);

	e_mov(b, T0, P0);
	e_arith_imm(b, 0, 4, T0, FLAGS_SYSRET);
	e_arith_imm(b, 0, 1, T0, 2);
	emit_set_flags(b);
	e_load(b, T0, OFF(msr.star));
	e_shift(b, 1, 5, T0, 48);
	e_arith_imm(b, 0, 0, T0, 8);
	emit_set_segment(b, SEG_SS, 3, 0x93 | SEG_ATTR_G | SEG_ATTR_DB);
	e_arith_imm(b, 0, 0, T0, 8);
	emit_set_segment(b, SEG_CS, 3, 0x9b | SEG_ATTR_G | SEG_ATTR_L);
	emit_cross(b, &ring);
	emit_ring_end(b, t, &ring);
}

void lower_thunks(struct code_buf *b, struct thunks *t)
{
	u8 *out, *failed, *miss[2];

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
	emit_syscall(b, t);
	emit_sysret(b, t);

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
