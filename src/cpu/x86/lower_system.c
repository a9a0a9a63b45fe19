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

/* movzx reg, word [state] */
static void e_load16(struct code_buf *b, unsigned reg, size_t off)
{
	e_rex(b, 0, reg, 0);
	e8(b, 0x0f);
	e8(b, 0xb7);
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

static void forget_groups(struct lower *x, unsigned seg)
{
	for (unsigned i = 0; i < GROUPS; i++)
		if (x->groups[i].key.seg == seg)
			x->groups[i].active = 0;
}

static void lower_swapgs(struct lower *x)
{
	struct code_buf *b = x->b;

	e_load(b, T1, OFF(gs_base));
	e_load(b, T2, OFF(msr.kernel_gs_base));
	e_store(b, T1, OFF(msr.kernel_gs_base));
	e_store(b, T2, OFF(gs_base));
	e_store(b, T2, OFF(seg[SEG_GS].base));
	forget_groups(x, SEG_GS);
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

/* STAC, CLAC. Without SMAP the context has CTX_AC whatever the flag says, so one that has not knows
 * that SMAP is on and the flag clear. What follows is in a block of the new context. */
static void lower_ac(struct lower *x, bool on)
{
	struct code_buf *b = x->b;
	bool now = x->l->block->ctx & CTX_AC;

	if (now && !on) {
		e_test_state8(b, OFF(cr4) + 2, CR4_SMAP >> 16);
		alone_if(x, 4); /* jz */
	}
	if (on)
		e_logic_state32(b, 1, OFF(rflags), FLAG_AC);
	else if (now)
		e_logic_state32(b, 4, OFF(rflags), ~(u32)FLAG_AC);
	if (now == on)
		return;
	e_logic_state32(b, on ? 1 : 4, OFF(ctx), on ? CTX_AC : ~(u32)CTX_AC);
	e_logic_state32(b, on ? 1 : 4, OFF(jc_key), on ? CTX_AC : ~(u32)CTX_AC);
	x->flips = CTX_AC;
}

static void lower_mov_from_segment(struct lower *x)
{
	unsigned seg = x->insn->modrm >> 3 & 7;

	e_load16(x->b, T2,
		 OFF(seg) + seg * sizeof(struct x86_segment) +
			 offsetof(struct x86_segment, selector));
	set_reg(x, x->insn->rm, T2, x->insn->opsize);
}

static void lower_mov_from_control(struct lower *x)
{
	static const size_t registers[] = { OFF(cr0), 0, OFF(cr2), OFF(cr3), OFF(cr4) };

	e_load(x->b, T2, registers[x->insn->modrm >> 3 & 7]);
	set_reg(x, (x->insn->modrm & 7) | (x->insn->rex & 1 ? 8 : 0), T2, 8);
}

/* RDFSBASE, WRFSBASE and the same of GS. */
static void lower_base(struct lower *x, enum x86_seg seg, bool write)
{
	size_t mirror = seg == SEG_FS ? OFF(fs_base) : OFF(gs_base);
	struct code_buf *b = x->b;
	bool wide = x->insn->rex & 8;
	unsigned src;

	e_test_state8(b, OFF(cr4) + 2, CR4_FSGSBASE >> 16);
	alone_if(x, 4); /* jz */
	if (!write) {
		e_load(b, T2, mirror);
		set_reg(x, x->insn->rm, T2, wide ? 8 : 4);
		return;
	}
	src = use_reg(x, x->insn->rm, T2);
	if (!wide) {
		e_mov32(b, T2, src);
	} else {
		e_mov(b, T2, src);
		e_mov(b, T1, src);
		e_shift(b, 1, 4, T1, 16);
		e_shift(b, 1, 7, T1, 16);
		e_cmp(b, T1, T2);
		alone_if(x, 5); /* jne: not canonical */
	}
	e_store(b, T2, mirror);
	e_store(b, T2, seg == SEG_FS ? OFF(seg[SEG_FS].base) : OFF(seg[SEG_GS].base));
	forget_groups(x, seg);
}

/* The host's own, and a count: at its end the helper looks. */
static void lower_pause(struct lower *x)
{
	struct code_buf *b = x->b;

	e_sub_state32(b, OFF(pauses_left), 1);
	alone_if(x, 2); /* jb */
	e_bytes(b, "\xf3\x90", 2);
}

/* By a thunk, which leaves for the helper where the case is not the common one. */
static void lower_ring(struct lower *x, u32 thunk)
{
	struct code_buf *b = x->b;
	struct site *s;

	e_load(b, T0, OFF(page_base));
	e_lea(b, 1, T0, T0, REG_NONE, 1, x->l->guest[x->i] + x->insn->len);
	s = new_site(x, SITE_ALONE, x->l->guest[x->i]);
	emit_site(x, s);
	emit_thunk(x, thunk);
	x->ended = true;
}

bool lower_system(struct lower *x)
{
	const struct insn *insn = x->insn;
	bool last = x->i + 1 == x->l->count;

	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_CLD:
	case ZYDIS_MNEMONIC_STD:
	case ZYDIS_MNEMONIC_PAUSE:
	case ZYDIS_MNEMONIC_MOV:
		if (insn->map && !is_kernel(x))
			return false;
		break;
	case ZYDIS_MNEMONIC_RDFSBASE:
	case ZYDIS_MNEMONIC_RDGSBASE:
	case ZYDIS_MNEMONIC_WRFSBASE:
	case ZYDIS_MNEMONIC_WRGSBASE:
	case ZYDIS_MNEMONIC_RDTSC:
	case ZYDIS_MNEMONIC_RDTSCP: break;
	case ZYDIS_MNEMONIC_SYSCALL:
		if ((x->l->block->ctx >> CTX_CPL_SHIFT & 3) != 3)
			return false;
		break;
	case ZYDIS_MNEMONIC_SYSRET:
		if (!is_kernel(x) || !(insn->rex & 8))
			return false;
		break;
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
	case ZYDIS_MNEMONIC_STAC: lower_ac(x, true); break;
	case ZYDIS_MNEMONIC_CLAC: lower_ac(x, false); break;
	case ZYDIS_MNEMONIC_MOV:
		if (insn->map)
			lower_mov_from_control(x);
		else
			lower_mov_from_segment(x);
		break;
	case ZYDIS_MNEMONIC_PAUSE: lower_pause(x); break;
	case ZYDIS_MNEMONIC_SYSCALL: lower_ring(x, x->l->thunks->syscall); break;
	case ZYDIS_MNEMONIC_SYSRET: lower_ring(x, x->l->thunks->sysret); break;
	case ZYDIS_MNEMONIC_RDFSBASE: lower_base(x, SEG_FS, false); break;
	case ZYDIS_MNEMONIC_RDGSBASE: lower_base(x, SEG_GS, false); break;
	case ZYDIS_MNEMONIC_WRFSBASE: lower_base(x, SEG_FS, true); break;
	case ZYDIS_MNEMONIC_WRGSBASE: lower_base(x, SEG_GS, true); break;
	case ZYDIS_MNEMONIC_RDTSC: lower_tsc(x, false); break;
	default: lower_tsc(x, true);
	}
	return true;
}
