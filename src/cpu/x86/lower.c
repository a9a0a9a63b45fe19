/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lowering: guest instructions become host instructions, most of them the very same ones.
 *
 *   guest rax rcx rdx rsi rdi r8         live in the same host registers
 *   guest rbp rbx rsp                    live in host r9, r10 and r11 (SP)
 *   guest r9-r15                         live in struct cpu ("homed")
 *   host  rbx r13 r14                    T0 (addresses), T1, T2
 *   host  r15 r12                        P0, P1: pointers shared by several accesses of a block
 *   host  rbp                            struct cpu + CPU_RBP_BIAS
 *   host  rsp                            the translated code's own stack (lower_flow.c)
 *
 * Arithmetic flags. They live in EFLAGS or, after code of ours had to use EFLAGS, in
 * cpu->saved_flags; the lowering knows which at every point (enum flags_form) and moves them only
 * while somebody may still read them. Every block can be entered with the flags in either place.
 *
 * Precise state. At the start of each guest instruction all registers are where the picture says,
 * and nothing is written before the last access of the instruction that may fault. So a fault, a
 * poll or a host signal needs only to know the instruction. The one exception is guest RSP: its
 * register lags behind by @rsp_pending. Every way out brings it up to date first (settle()), and
 * for a host signal the block's map tells the difference.
 *
 * Memory. Accesses check the software TLB inline (lower_memory.c); a miss goes to soft_mem_slow().
 * Loads and plain stores that cross into another page it makes itself. What else cannot be handed
 * out directly (MMIO, other accesses that cross, code pages) leaves the block and runs as a
 * CTX_SLOW block of one instruction, whose accesses go through access_slow() and its bounce buffer.
 */
#include "cpu/x86/lower_private.h"

_Static_assert(OFF(stack[TLB_USER].host) < 128 + CPU_RBP_BIAS, "hot fields out of 8-bit reach");

/* ---- flags ---------------------------------------------------------------------------------- */

void emit_save_flags(struct code_buf *b)
{
	e_mov(b, T1, RAX);
	e8(b, 0x9f); /* lahf */
	e8(b, 0x0f); /* seto al */
	e8(b, 0x90);
	e8(b, 0xc0);
	e_store16(b, RAX, OFF(saved_flags));
	e_mov(b, RAX, T1);
}

void emit_restore_flags(struct code_buf *b)
{
	e_mov(b, T1, RAX);
	e8(b, 0x0f); /* movzx eax, word: as wide as the store, which a wider load would wait for */
	e8(b, 0xb7);
	e_state(b, RAX, OFF(saved_flags));
	e8(b, 0x04); /* add al, 127: sets OF if al was 1 */
	e8(b, 0x7f);
	e8(b, 0x9e); /* sahf */
	e_mov(b, RAX, T1);
}

void flags_clobber(struct lower *x, u8 live)
{
	if (x->form == FLAGS_SAVED || x->form == FLAGS_DEAD)
		return;
	if (!live) {
		x->form = FLAGS_DEAD;
		return;
	}
	if (x->form == FLAGS_HOST)
		emit_save_flags(x->b);
	x->form = FLAGS_SAVED;
}

void flags_need_host(struct lower *x)
{
	if (x->form == FLAGS_SAVED) {
		emit_restore_flags(x->b);
		x->form = FLAGS_BOTH;
	}
}

bool flags_merge(const struct insn *insn, u8 live)
{
	return insn->flags_read || (insn->flags_modified && (live & ~insn->flags_written));
}

void flags_before(struct lower *x)
{
	if (flags_merge(x->insn, live_out(x)))
		flags_need_host(x);
	if (x->form == FLAGS_HOST || x->form == FLAGS_BOTH)
		map_here(x)->guest |= 0x8000;
}
void flags_after(struct lower *x)
{
	if (x->insn->flags_modified)
		x->form = FLAGS_HOST;
}

/* ---- registers ------------------------------------------------------------------------------ */

unsigned use_reg(struct lower *x, unsigned r, unsigned temp)
{
	if (!HOMED(r))
		return PINNED(r);
	e_load(x->b, temp, HOME(r));
	return temp;
}

void set_reg(struct lower *x, unsigned r, unsigned from, unsigned bytes)
{
	struct code_buf *b = x->b;

	if (HOMED(r)) {
		if (bytes == 2)
			e_store16(b, from, HOME(r));
		else
			e_store(b, from, HOME(r));
		return;
	}
	if (bytes == 2)
		e8(b, 0x66);
	if (bytes == 8)
		e_mov(b, PINNED(r), from);
	else
		e_mov32(b, PINNED(r), from);
}

void settle(struct lower *x)
{
	struct code_buf *b = x->b;

	if (!x->rsp_pending)
		return;
	if (stack_width(x) == 2) {
		e_lea(b, 0, T1, SP, REG_NONE, 1, x->rsp_pending);
		set_reg(x, RSP, T1, 2);
	} else {
		e_lea(b, stack_width(x) == 8, SP, SP, REG_NONE, 1, x->rsp_pending);
	}
	x->rsp_pending = 0;
	map_here(x)->rsp = 0; /* only what follows may raise a signal */
}

/* ---- sites and stubs ------------------------------------------------------------------------ */

struct site *new_site(struct lower *x, enum site_kind kind, s32 guest_off)
{
	struct site *s = &x->l->sites[x->l->site_count++];

	memset(s, 0, sizeof(*s));
	s->block = x->l->block;
	s->kind = kind;
	s->insn = x->i;
	s->guest_off = guest_off;
	s->form = x->form;
	s->flips = x->flips;
	s->align = x->insn->align;
	s->x87 = x->insn->x87_waits;
	s->masked = x->insn->masked;
	s->locked = x->insn->prefixes & PFX_LOCK || x->insn->mnemonic == ZYDIS_MNEMONIC_XCHG;
	return s;
}

u32 site_id(const struct lower *x, const struct site *s)
{
	return EXIT_SITE + x->l->first_site + (s - x->l->sites);
}

/* The field at @field says something else when the block stands elsewhere. */
static void note_place(struct lower *x, const u8 *field, u16 kind)
{
	struct lowering *l = x->l;

	if (l->places && l->place_count < BLOCK_MAX_PLACES)
		l->places[l->place_count++] = kind | (cache_off(x, field) - l->block->code);
}

void note_thunk(struct lower *x, const u8 *rel32)
{
	note_place(x, rel32, PLACE_THUNK);
}

void note_site(struct lower *x)
{
	note_place(x, x->b->p - 4, PLACE_SITE);
}

void emit_site(struct lower *x, const struct site *s)
{
	e_store_imm32(x->b, OFF(exit_code), site_id(x, s));
	note_site(x);
}

void emit_thunk(struct lower *x, u32 thunk)
{
	e_jmp_to(x->b, x->b->base + thunk);
	note_thunk(x, x->b->p - 4);
}

struct stub *add_stub(struct lower *x, u8 *jump, struct site *s)
{
	struct stub *st = &x->stubs[x->stub_count++];

	*st = (struct stub){ .jump = jump, .site = s, .reg = T0 };
	return st;
}

void emit_leave(struct lower *x, struct site *s)
{
	const struct thunks *t = x->l->thunks;

	emit_site(x, s);
	emit_thunk(x, s->form == FLAGS_HOST ? t->exit_host : t->exit_saved);
}

/* A jump that code.c may bind to the block's twin; until then it goes on. */
static void emit_alternative(struct lower *x, struct site *alt)
{
	struct code_buf *b = x->b;
	u8 *rel;

	if (!alt)
		return;
	rel = e_jmp(b, true);
	alt->patch = cache_off(x, rel);
	alt->stub = cache_off(x, b->p);
	e_patch(rel, b->p);
}

/* The page is not that of cpu->stack: has the TLB it? The rel32 that is taken then. */
static u8 *emit_stack_stub(struct lower *x, const struct stub *st)
{
	struct code_buf *b = x->b;

	if (st->reg != T0)
		e_mov(b, T0, st->reg);
	emit_site(x, st->site);
	e_store_imm64(b, OFF(scratch[1]), PAGE_SIZE - MAX(st->site->span, st->site->size));
	e_call_to(b, b->base + x->l->thunks->stack[tlb_kind(x)]);
	note_thunk(x, b->p - 4);
	return e_jcc(b, 6, false); /* jbe */
}

/* The way to soft_mem_slow() and back. A group's may be bound to the block's twin, which then takes
 * its misses. */
static void emit_memory_stub(struct lower *x, const struct stub *st)
{
	struct code_buf *b = x->b;
	u8 *found = NULL;

	if (st->stack) {
		found = emit_stack_stub(x, st);
		emit_alternative(x, st->alt);
	} else {
		emit_alternative(x, st->alt);
		if (st->reg != T0)
			e_mov(b, T0, st->reg);
		emit_site(x, st->site);
	}
	emit_thunk(x, x->l->thunks->mem);
	if (st->reg == T0) {
		st->site->patch = cache_off(x, st->back);
		if (found)
			e_patch(found, st->back);
		return;
	}
	st->site->patch = cache_off(x, b->p);
	if (found)
		e_patch(found, b->p);
	e_mov(b, st->reg, T0);
	e_jmp_to(b, st->back);
}

/* The call goes on with another thing to call, or is refused. */
static void emit_call_stub(struct lower *x, const struct stub *st)
{
	struct code_buf *b = x->b;

	emit_site(x, st->site);
	e_call_to(b, b->base + x->l->thunks->call_miss);
	note_thunk(x, b->p - 4);
	e_mov(b, st->reg, T2);
	st->site->patch = cache_off(x, st->back);
	e_jmp_to(b, st->back);
}

static void emit_stubs(struct lower *x)
{
	for (unsigned i = 0; i < x->stub_count; i++) {
		struct stub *st = &x->stubs[i];

		if (!st->site->store)
			st->site->stub = cache_off(x, x->b->p);
		e_patch(st->jump, x->b->p);
		if (st->more)
			e_patch(st->more, x->b->p);
		switch (st->site->kind) {
		case SITE_MEM: emit_memory_stub(x, st); break;
		case SITE_CALL: emit_call_stub(x, st); break;
		case SITE_BRANCH:
			emit_site(x, st->site);
			emit_thunk(x, x->l->thunks->branch);
			break;
		default: emit_leave(x, st->site);
		}
	}
}

void emit_exit(struct lower *x, enum site_kind kind, s32 guest_off)
{
	settle(x);
	emit_leave(x, new_site(x, kind, guest_off));
	x->ended = true;
}

/* ---- instructions with a lowering of their own ----------------------------------------------- */

static void lower_lea(struct lower *x)
{
	const struct insn *insn = x->insn;
	const struct insn_mem *m = &insn->mem;
	struct code_buf *b = x->b;
	bool homed = HOMED(insn->reg);
	unsigned dst = T0;

	if (insn->reg == RSP)
		settle(x);
	/* into the register itself where no step between could change what is still needed */
	if (!homed && insn->opsize == 8 && insn->addrsize == 8 && m->base != MEM_RIP &&
	    m->base != REG_NONE && m->index != insn->reg && fits32(m->disp + x->rsp_pending))
		dst = PINNED(insn->reg);
	emit_effective(x, dst, 0);
	if (dst != T0)
		return;
	if (homed && insn->opsize == 4)
		e_mov32(b, T0, T0);
	set_reg(x, insn->reg, T0, insn->opsize);
}

/* MOV between the accumulator and an absolute address has no ModRM to rewrite. */
static void lower_mov(struct lower *x)
{
	const struct insn *insn = x->insn;
	struct code_buf *b = x->b;
	struct ptr at;

	if (insn->map != 0 || insn->opcode < 0xa0 || insn->opcode > 0xa3) {
		lower_copy(x);
		return;
	}
	at = emit_memory(x, insn->bytewide ? 1 : insn->opsize, insn->opcode < 0xa2 ? MEM_R : MEM_W,
			 0);
	if (!insn->bytewide && insn->opsize == 2)
		e8(b, 0x66);
	e_rex(b, !insn->bytewide && insn->opsize == 8, RAX, at.reg);
	e8(b, (insn->opcode < 0xa2 ? 0x8a : 0x88) | !insn->bytewide);
	e_based(b, RAX, at.reg, at.disp, false);
}

/* BT and friends with a register bit offset reach beyond the operand in memory. */
static void lower_bt(struct lower *x)
{
	const struct insn *insn = x->insn;
	struct code_buf *b = x->b;
	unsigned size = insn->opsize;
	unsigned shift = size == 8 ? 6 : size == 4 ? 5 : 4;
	struct operands o = { .reg = T2, .form = RM_PTR, .ptr = { T0, 0 } };
	unsigned src;

	if (!insn->mem.present || insn->imm_bytes) {
		lower_copy(x);
		return;
	}
	settle(x);
	flags_clobber(x, x->live_in[x->i]);
	emit_effective(x, T0, 0);
	src = use_reg(x, insn->reg, T2);
	/* T2 = sign-extended bit offset, T1 = the operands to go, then T2 = the bit in the operand
	 */
	e_rex(b, 1, T2, src);
	if (size == 8) {
		e8(b, 0x8b);
	} else if (size == 4) {
		e8(b, 0x63); /* movsxd */
	} else {
		e8(b, 0x0f); /* movsx */
		e8(b, 0xbf);
	}
	e8(b, 0xc0 | (T2 & 7) << 3 | (src & 7));
	e_mov(b, T1, T2);
	e_shift(b, 1, 7, T1, shift);
	e_arith_imm(b, 0, 4, T2, size * 8 - 1);
	e_lea(b, insn->addrsize == 8, T0, T0, T1, size, 0);
	if (insn->addrsize == 2)
		movzx16(b, T0, T0);
	emit_segment(x, T0, insn->mem.seg);
	emit_check(x, size, insn->mem.access, insn->mem.seg);
	flags_before(x);
	encode(x, &o);
	flags_after(x);
}

/* CMPXCHG8B/16B wants guest RBX in host RBX, which is T0. */
static void lower_cmpxchg8b(struct lower *x)
{
	const struct insn *insn = x->insn;
	struct code_buf *b = x->b;
	bool wide = insn->rex & 8;
	struct ptr at = emit_memory(x, wide ? 16 : 8, MEM_RW, 0);

	flags_before(x);
	e_lea(b, 1, T2, at.reg, REG_NONE, 1, at.disp);
	e_mov(b, RBX, use_reg(x, RBX, RBX));
	if (insn->prefixes & PFX_LOCK)
		e8(b, 0xf0);
	e8(b, wide ? 0x49 : 0x41);
	e8(b, 0x0f);
	e8(b, 0xc7);
	e8(b, 1 << 3 | (T2 & 7)); /* [r14] */
	flags_after(x);
}

static void lower_clflush(struct lower *x)
{
	emit_memory(x, 1, MEM_R, 0);
}

bool fpu_is_off(const struct lower *x, const struct insn *insn)
{
	u32 ctx = x->l->block->ctx;

	switch (insn->fpu) {
	case FPU_X87: return ctx & CTX_NO_X87;
	case FPU_SSE: return ctx & CTX_NO_SSE;
	case FPU_AVX: return ctx & CTX_NO_AVX;
	case FPU_AVX512: return ctx & CTX_NO_AVX512;
	default: return false;
	}
}

bool insn_needs_helper(const struct insn *insn)
{
	switch (insn->kind) {
	case KIND_HELPER:
	case KIND_FPENV:
	case KIND_GATHER:
	case KIND_MASKMOV: return true;
	default: return insn->mem.present && insn->mem.access && insn->mem.size == 0;
	}
}

bool insn_is_near_branch(const struct insn *insn)
{
	switch (insn->kind) {
	case KIND_CALL:
	case KIND_RET:
	case KIND_JMP:
	case KIND_JCC:
	case KIND_LOOP: return true;
	default: return false;
	}
}

bool insn_has_helper(const struct insn *insn)
{
	return insn_needs_helper(insn) || insn->kind == KIND_STRING || insn->kind == KIND_SYSTEM;
}

bool insn_changes_context(const struct insn *insn)
{
	return insn->kind == KIND_SYSTEM &&
	       (insn->mnemonic == ZYDIS_MNEMONIC_STAC || insn->mnemonic == ZYDIS_MNEMONIC_CLAC);
}

bool insn_changes_ring(const struct insn *insn)
{
	return insn->kind == KIND_SYSTEM && (insn->mnemonic == ZYDIS_MNEMONIC_SYSCALL ||
					     insn->mnemonic == ZYDIS_MNEMONIC_SYSRET);
}

bool insn_ends_block(const struct insn *insn)
{
	switch (insn->kind) {
	case KIND_DENY:
	case KIND_UD:
	case KIND_CALL:
	case KIND_RET:
	case KIND_JMP:
	case KIND_STRING: return true;
	case KIND_SYSTEM: return insn_changes_context(insn) || insn_changes_ring(insn);
	default: return !insn->allowed || insn_needs_helper(insn);
	}
}

/* Its target has 16 bits, or it counts in CX, which the silicon's 64-bit mode cannot. */
static bool branch_is_narrow(const struct insn *insn)
{
	return insn_is_near_branch(insn) &&
	       (insn->opsize == 2 || (insn->kind == KIND_LOOP && insn->addrsize == 2));
}

static void lower_insn(struct lower *x)
{
	u16 here = x->l->guest[x->i];

	if (!x->insn->allowed || x->insn->kind == KIND_DENY || x->insn->kind == KIND_UD) {
		emit_exit(x, SITE_UD, here);
		return;
	}
	if (fpu_is_off(x, x->insn)) {
		emit_exit(x, SITE_FPU, here);
		return;
	}
	if (insn_needs_helper(x->insn) ||
	    (is_single(x) && (insn_has_helper(x->insn) || insn_is_near_branch(x->insn)))) {
		emit_exit(x, SITE_HELPER, here);
		return;
	}
	if (!is_long(x) && branch_is_narrow(x->insn)) {
		emit_exit(x, SITE_ALONE, here);
		return;
	}
	switch (x->insn->kind) {
	case KIND_NOP: break;
	case KIND_PUSH: lower_push(x); break;
	case KIND_POP: lower_pop(x); break;
	case KIND_CALL: lower_call(x); break;
	case KIND_RET: lower_ret(x); break;
	case KIND_JMP: lower_jmp(x); break;
	case KIND_JCC: lower_jcc(x); break;
	case KIND_LOOP: lower_loop(x); break;
	case KIND_LEA: lower_lea(x); break;
	case KIND_LEAVE: lower_leave(x); break;
	case KIND_CMPXCHG8B: lower_cmpxchg8b(x); break;
	case KIND_BT: lower_bt(x); break;
	case KIND_CLFLUSH: lower_clflush(x); break;
	case KIND_MOV: lower_mov(x); break;
	case KIND_STRING: lower_string(x); break;
	case KIND_SYSTEM:
		if (!lower_system(x))
			emit_exit(x, SITE_ALONE, here);
		break;
	default: lower_copy(x); break;
	}
}

/* ---- the block ------------------------------------------------------------------------------ */

/* Will the lowering of this instruction use EFLAGS for itself? */
static bool insn_clobbers(const struct insn *insn)
{
	switch (insn->kind) {
	case KIND_PUSH:
	case KIND_POP:
	case KIND_CALL:
	case KIND_RET:
	case KIND_STRING:
	case KIND_SYSTEM:
	case KIND_LEAVE: return true;
	case KIND_LEA:
	case KIND_NOP: return false;
	default: return insn->mem.present && insn->mem.access;
	}
}

static void compute_liveness(struct lower *x)
{
	struct lowering *l = x->l;
	u8 live;

	for (int i = l->count - 1; i >= 0; i--) {
		const struct insn *insn = &l->insns[i];

		if (i + 1 < (int)l->count)
			l->live_after[i] = x->live_in[i + 1];
		if (l->block->ctx & CTX_SINGLE || l->plain & CPU_PLAIN_FLAGS)
			l->live_after[i] = l->live_taken[i] = FL_ALL;
		live = l->live_after[i];
		if (insn->kind == KIND_JCC || insn->kind == KIND_LOOP)
			live |= l->live_taken[i];
		if (insn->kind == KIND_JMP || insn->kind == KIND_CALL)
			live = l->live_taken[i];
		if (insn_needs_helper(insn) || !insn->allowed || insn->kind == KIND_UD)
			live = FL_ALL;
		if (insn->kind == KIND_RET)
			live = FL_ALL;
		x->live_in[i] = insn->flags_read | (live & ~insn->flags_written);
		if (insn_needs_helper(insn) || insn->mnemonic == ZYDIS_MNEMONIC_PUSHFQ ||
		    insn_changes_ring(insn))
			x->live_in[i] = FL_ALL;
	}
}

/* Where the block would like to find the flags when it starts. */
static enum flags_form preferred_form(const struct lower *x)
{
	const struct lowering *l = x->l;

	if (!x->live_in[0])
		return FLAGS_DEAD;
	for (unsigned i = 0; i < l->count; i++) {
		const struct insn *insn = &l->insns[i];

		if (insn_needs_helper(insn) || !insn->allowed || insn_clobbers(insn))
			return FLAGS_SAVED;
		if (flags_merge(insn, l->live_after[i]))
			return FLAGS_HOST;
	}
	return FLAGS_SAVED;
}

void emit_stale(struct code_buf *b, const struct thunks *thunks, u16 off)
{
	e_store_imm32(b, OFF(exit_arg), off);
	e_store_imm32(b, OFF(exit_code), EXIT_STALE);
	e_jmp_to(b, b->base + thunks->exit_saved);
}

/* An instruction that goes on in the next page: is that still the page it was decoded from? */
static void emit_page2_check(struct lower *x)
{
	struct code_buf *b = x->b;
	u8 *over, *other;

	e_load(b, T0, OFF(page_base));
	e_lea(b, 1, T0, T0, REG_NONE, 1, PAGE_SIZE);
	emit_tlb_index(b, tlb_kind(x), T0);
	e_op_indexed(b, 0x3b, 1, T0, T1, tlb_offset(x) + offsetof(struct tlb_entry, exec_tag));
	other = e_jcc(b, 5, false);
	e_mov_imm(b, T2, (u64)(uintptr_t)x->l->host2);
	e_op_indexed(b, 0x3b, 1, T2, T1, tlb_offset(x) + offsetof(struct tlb_entry, host));
	over = e_jcc(b, 4, false);
	e_patch(other, b->p);
	emit_stale(b, x->l->thunks, x->l->block->off);
	e_patch(over, b->p);
}

static void emit_crossing_entries(struct lower *x)
{
	struct block *block = x->l->block;

	block->prefers = x->form = FLAGS_SAVED;
	block->entry_host = cache_off(x, x->b->p);
	emit_save_flags(x->b);
	block->entry_saved = cache_off(x, x->b->p);
	emit_page2_check(x);
	block->entry_found = cache_off(x, x->b->p);
}

static void emit_entries(struct lower *x)
{
	struct block *block = x->l->block;
	struct code_buf *b = x->b;

	if (block->page2 != ~0ull && block_checks_page2(block) && !is_single(x)) {
		emit_crossing_entries(x);
		return;
	}

	block->prefers = x->form = preferred_form(x);
	block->entry_host = block->entry_saved = cache_off(x, b->p);
	if (x->form == FLAGS_HOST) {
		emit_restore_flags(b);
		block->entry_host = cache_off(x, b->p);
	} else if (x->form == FLAGS_SAVED) {
		emit_save_flags(b);
		block->entry_saved = cache_off(x, b->p);
	}
	block->entry_found = block->entry_saved;
}

void lower_insns(struct lower *x)
{
	for (x->i = 0; x->i < x->l->count && !x->ended; x->i++) {
		x->insn = &x->l->insns[x->i];
		*map_here(x) = (struct host_map){
			.host = cache_off(x, x->b->p) - x->l->block->code,
			.guest = x->l->guest[x->i],
			.rsp = x->rsp_pending,
		};
		lower_insn(x);
		groups_update(x);
	}
}

void lower_block(struct lowering *l)
{
	struct block *block = l->block;
	struct lower x;

	memset(&x, 0, offsetof(struct lower, live_in)); /* compute_liveness() fills that */
	x.l = l;
	x.b = l->buf;
	l->site_count = l->place_count = 0;
	block->code = cache_off(&x, x.b->p);
	compute_liveness(&x);
	carry_plan(&x);
	emit_entries(&x);
	lower_insns(&x);
	block->insns = block->maps = x.i;
	if (!x.ended) {
		x.i = l->count - 1;
		emit_fall_through(&x);
	}
	carry_copy(&x);
	emit_fars(&x);
	emit_stubs(&x);
	while (cache_off(&x, x.b->p) < block->entry_saved + BLOCK_MIN_CODE)
		e8(x.b, 0xcc);
	block->code_end = cache_off(&x, x.b->p);
	block->site_count = l->site_count;
}
