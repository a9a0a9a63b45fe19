/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System instructions that a kernel executes all the time, in 64-bit mode: the common case of each
 * inline. Everything else of them, faults included, is their helper's: the instruction leaves by
 * SITE_ALONE and runs again as a block of its own.
 *
 * What they work on (struct cpu: rflags, requests, the TSC's offset, the bases of GS) belongs to
 * the processor's thread; @requests is anybody's, and a request that comes after it was looked at
 * has set exit_request, which the next poll sees.
 */
#include "cpu/x86/lower_private.h"

/* ---- encodings of this file ------------------------------------------------------------------ */

/* and/or/xor dword [state], imm32 (sub: 1 or, 4 and, 6 xor): flags */
static void e_logic_state32(struct code_buf *b, unsigned sub, size_t off, u32 imm)
{
	e8(b, 0x81);
	e_state(b, sub, off);
	e32(b, imm);
}

/* movzx reg, byte [state] */
static void e_load8(struct code_buf *b, unsigned reg, size_t off)
{
	e_rex(b, 0, reg, 0);
	e8(b, 0x0f);
	e8(b, 0xb6);
	e_state(b, reg, off);
}

static void e_or(struct code_buf *b, unsigned dst, unsigned src) /* 64 bit; flags */
{
	e_rex(b, 1, src, dst);
	e8(b, 0x09);
	e8(b, 0xc0 | (src & 7) << 3 | (dst & 7));
}

static void e_bytes(struct code_buf *b, const char *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		e8(b, bytes[i]);
}

/* ---- the instructions ------------------------------------------------------------------------ */

static bool is_kernel(const struct lower *x)
{
	return !(x->l->block->ctx >> CTX_CPL_SHIFT & 3);
}

/* The condition @cc means that the helper must look at it. */
static void alone_if(struct lower *x, unsigned cc)
{
	add_stub(x, e_jcc(x->b, cc, false), new_site(x, SITE_ALONE, x->l->guest[x->i]));
}

static void lower_interrupt_flag(struct lower *x, bool on)
{
	struct code_buf *b = x->b;

	if (!on) {
		e_logic_state32(b, 4, OFF(rflags), ~(u32)FLAG_IF);
		return;
	}
	/* Nothing waits: nothing can come between this and the next instruction, which is in
	 * this block and is reached without a poll. So the shadow need not be told. */
	e_op_state(b, 0x83, 0, 7, OFF(requests)); /* cmp */
	e8(b, 0);
	alone_if(x, 5); /* jne */
	e_logic_state32(b, 1, OFF(rflags), FLAG_IF);
}

/* The image of the flags: what cpu->rflags has, and the arithmetic ones from where they are saved.
 */
static void lower_pushfq(struct lower *x)
{
	struct code_buf *b = x->b;
	struct ptr to;

	e_load32(b, T2, OFF(rflags));
	e_arith_imm(b, 0, 4, T2, ~(u32)(FLAGS_ARITH | FLAG_RF | FLAG_VM));
	e_load8(b, T1, OFF(saved_flags) + 1); /* SF ZF AF PF CF where the image has them */
	e_arith_imm(b, 0, 4, T1, FLAGS_ARITH & 0xff);
	e_or(b, T2, T1);
	e_load8(b, T1, OFF(saved_flags));
	e_arith_imm(b, 0, 4, T1, 1);
	e_shift(b, 0, 4, T1, 11);
	e_or(b, T2, T1);
	to = emit_stack(x, RSP, -8, 8, MEM_W);
	e_store_at(b, T2, to.reg, to.disp, 8);
	x->rsp_pending -= 8;
}

static void lower_swapgs(struct lower *x)
{
	struct code_buf *b = x->b;

	e_load(b, T1, OFF(gs_base));
	e_load(b, T2, OFF(msr.kernel_gs_base));
	e_store(b, T1, OFF(msr.kernel_gs_base));
	e_store(b, T2, OFF(gs_base));
	e_store(b, T2, OFF(seg[SEG_GS].base));
	for (unsigned i = 0; i < GROUPS; i++)
		if (x->groups[i].key.seg == SEG_GS)
			x->groups[i].active = 0;
}

static void lower_tsc(struct lower *x, bool ordered)
{
	struct code_buf *b = x->b;

	if (!is_kernel(x)) {
		e_test_state8(b, OFF(cr4), CR4_TSD);
		alone_if(x, 5); /* jnz */
	}
	if (ordered)
		e_bytes(b, "\x0f\xae\xe8", 3);        /* lfence: as in do_rdtscp() */
	e_bytes(b, "\x0f\x31", 2);                    /* rdtsc */
	e_bytes(b, "\x48\xc1\xe2\x20", 4);            /* shl rdx, 32 */
	e_bytes(b, "\x48\x09\xd0", 3);                /* or rax, rdx */
	e_op_state(b, 0x03, 1, RAX, OFF(tsc_offset)); /* add */
	e_mov(b, RDX, RAX);
	e_shift(b, 1, 5, RDX, 32);
	e_mov32(b, RAX, RAX);
	if (ordered)
		e_load32(b, RCX, OFF(msr.tsc_aux));
}

bool lower_system(struct lower *x)
{
	const struct insn *insn = x->insn;
	bool last = x->i + 1 == x->l->count;

	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_CLD:
	case ZYDIS_MNEMONIC_STD:
	case ZYDIS_MNEMONIC_RDTSC:
	case ZYDIS_MNEMONIC_RDTSCP: break;
	case ZYDIS_MNEMONIC_PUSHFQ:
		if (insn->opsize != 8)
			return false;
		break;
	case ZYDIS_MNEMONIC_STI:
		if (!is_kernel(x) || last)
			return false;
		break;
	default:
		if (!is_kernel(x))
			return false;
	}
	settle(x);
	flags_clobber(x, x->live_in[x->i]);
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_CLI: lower_interrupt_flag(x, false); break;
	case ZYDIS_MNEMONIC_STI: lower_interrupt_flag(x, true); break;
	case ZYDIS_MNEMONIC_CLD: e_logic_state32(x->b, 4, OFF(rflags), ~(u32)FLAG_DF); break;
	case ZYDIS_MNEMONIC_STD: e_logic_state32(x->b, 1, OFF(rflags), FLAG_DF); break;
	case ZYDIS_MNEMONIC_PUSHFQ: lower_pushfq(x); break;
	case ZYDIS_MNEMONIC_SWAPGS: lower_swapgs(x); break;
	case ZYDIS_MNEMONIC_RDTSC: lower_tsc(x, false); break;
	default: lower_tsc(x, true);
	}
	return true;
}
