/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One processor's life: take what is pending, find the block at RIP, run it, see why it left.
 *
 * Hot: everything here is compiled for general registers only, because the guest's vector state
 * stays in the host's registers across the loop. What needs more calls fpu_leave() first; the
 * next entry into translated code loads it again.
 */
#include "cpu/run.h"

#include "cpu/code.h"
#include "cpu/dormant.h"
#include "cpu/helper.h"

/* ---- between C and translated code ------------------------------------------------------------
 */

static void flags_to_saved(struct cpu *cpu)
{
	u32 f = cpu->rflags;

	/* LAHF order has SF ZF AF PF CF where RFLAGS has them */
	cpu->saved_flags = (f & 0xd5) << 8 | (f & FLAG_OF ? 1 : 0);
}

static void flags_from_saved(struct cpu *cpu)
{
	u32 s = cpu->saved_flags;

	cpu->rflags = (cpu->rflags & ~FLAGS_ARITH) | (s >> 8 & 0xd5) | (s & 1 ? FLAG_OF : 0);
}

static u64 wrap_rip(const struct cpu *cpu, u64 rip)
{
	return cpu_64bit(cpu) ? rip : (u32)rip;
}

/* RIP of page offset @off of the page that runs. */
static u64 rip_at(const struct cpu *cpu, s32 off)
{
	u64 linear = cpu->page_base + off;

	return cpu_64bit(cpu) ? linear : (u32)(linear - cpu->seg[SEG_CS].base);
}

static gva_t linear_pc(const struct cpu *cpu)
{
	return cpu_64bit(cpu) ? cpu->rip : (u32)(cpu->rip + cpu->seg[SEG_CS].base);
}

static struct site *site_of(struct cpu *cpu, u32 exit_code)
{
	return &cpu->vm->code->sites[exit_code - EXIT_SITE];
}

/* What an instruction reports before a fault of its operand's address: a pending x87 exception, and
 * the misalignment of an operand that must be aligned. An address of the stack segment that is not
 * canonical is a stack fault. */
static void prefer_others(struct cpu *cpu, const struct site *s, gva_t gva)
{
	if (!cpu->fault_pending)
		return;
	if (cpu->fault.vector == VEC_GP && s->seg == SEG_SS)
		fault_error(cpu, VEC_SS, 0);
	if (s->align && gva & (s->align - 1))
		fault_error(cpu, VEC_GP, 0);
	if (s->x87 && cpu->fpu_loaded && x87_pending())
		fault(cpu, VEC_MF);
}

_Static_assert(sizeof(struct tlb) % sizeof(struct tlb_entry) == 0, "a column's offset tells it");

/* The instruction's own access is fine: is the whole group's, which begins at @first? NULL: each
 * must check for itself (cpu->nogroup). */
static void *group_pointer(struct cpu *cpu, const struct site *s, gva_t first)
{
	size_t off = s->tag_off - offsetof(struct cpu, tlb);
	const struct tlb *tlb = &cpu->tlb[off / sizeof(struct tlb)];
	const struct tlb_entry *e = &tlb->e[tlb_index(tlb, first)];
	const void *tag = (const u8 *)e + off % sizeof(struct tlb_entry);

	if (first - *(const u64 *)tag <= PAGE_SIZE - s->span)
		return (u8 *)(uintptr_t)e->host + (first & ~PAGE_MASK);
	cpu->nogroup = 1;
	return NULL;
}

/* An access whose host address cannot be given, as it crosses a page or writes to one with code,
 * but which can be made here: a read comes out of a buffer; after a store the block goes on behind
 * it.
 */
static void *make_access(struct cpu *cpu, const struct site *s, gva_t gva, bool crosses)
{
	unsigned reg = s->store & 15;
	u8 vector[32];
	void *p;

	if (s->span) {
		cpu->nogroup = crosses;
		return NULL;
	}
	if (s->masked || s->align || (s->access == MEM_R ? !crosses : !s->store))
		return NULL;
	if (s->store >= STORE_VECTOR)
		vector_live(reg, s->size, vector);
	p = access_make(cpu, gva, s->size, s->access,
			s->store >= STORE_VECTOR ? (void *)vector : &cpu->gpr[reg]);
	if (p && s->store)
		cpu->scratch[2] = cpu->code_base + s->stub;
	cpu->stats[STAT_MADE] += !!p;
	return p;
}

/* The slow path of an inline check, called by the thunk. Returns the host address, or NULL to leave
 * the block: with a fault pending, or for a CTX_SLOW run of the instruction. That it is also when
 * the block itself has gone, by what this access writes or by a bit that its walk sets: code.c may
 * have written over the place to go on at, and the next instruction may be another; or when a
 * thread has taken write tags meanwhile, for which pointers in registers still stand. A store is
 * made a second time then, which nobody can tell. */
void *soft_mem_slow(struct cpu *cpu)
{
	struct site *s = site_of(cpu, cpu->exit_code);
	u64 tag = *(u64 *)((u8 *)cpu + s->tag_off + cpu->scratch[1]);
	gva_t first = cpu->scratch[0] + tag;
	gva_t gva = first + s->own;
	u32 taken = cpu->vm->tags_taken;
	bool crosses;
	void *p;

	if (!cpu_64bit(cpu))
		gva = (u32)gva;
	crosses = (gva & ~PAGE_MASK) + s->size > PAGE_SIZE;
	cpu->stats[STAT_TLB_FILLS]++;
	cpu->scratch[2] = cpu->code_base + s->patch;
	p = crosses ? NULL : mmu_fill(cpu, gva, s->size, s->access);
	if (unlikely(!p && !cpu->fault_pending))
		p = make_access(cpu, s, gva, crosses);
	if (unlikely(!s->block->valid || taken != cpu->vm->tags_taken))
		p = NULL;
	if (unlikely(!p))
		prefer_others(cpu, s, gva);
	else if (s->span)
		p = group_pointer(cpu, s, first);
	/* the faulting element may be switched off: look closer */
	if (unlikely(!p && s->masked))
		cpu->fault_pending = 0;
	return p;
}

static bool segment_access(struct cpu *cpu, const struct site *s, u64 offset, gva_t *linear)
{
	if (!(cpu->ctx & CTX_NONFLAT)) {
		*linear = offset;
		return true;
	}
	return seg_check(cpu, s->seg, offset, s->size, s->access, linear);
}

/* A locked access across a page goes through two copies: nobody may look in between. */
static void begin_split_lock(struct cpu *cpu)
{
	code_leave(cpu, CODE_PARKED);
	code_exclusive_begin(cpu->vm, cpu);
	code_leave(cpu, CODE_IN);
	cpu->split_lock = 1;
}

static void end_split_lock(struct cpu *cpu)
{
	cpu->split_lock = 0;
	code_exclusive_end(cpu->vm, cpu);
}

/* One access of a CTX_SLOW block, called by the thunk. */
void *soft_access_slow(struct cpu *cpu)
{
	struct site *s = site_of(cpu, cpu->exit_code);
	gva_t gva;
	void *p = NULL;

	cpu->stats[STAT_SLOW]++;
	if (!segment_access(cpu, s, cpu->scratch[0], &gva))
		return NULL;
	if (s->locked && s->access == MEM_RW && (gva & ~PAGE_MASK) + s->size > PAGE_SIZE)
		begin_split_lock(cpu);
	if (s->masked)
		p = masked_access(cpu, s->block->last, gva);
	else
		p = access_slow(cpu, gva, s->size, s->access);
	if (unlikely(!p))
		prefer_others(cpu, s, gva);
	if (p && !cpu->fpu_loaded)
		fpu_enter(cpu);
	return p;
}

/* cpu_vm_config.check_blocks: do the block's guest bytes still say what they said? */
static bool block_unchanged(const struct block *block, const u8 *host)
{
	return block->page2 != ~0ull || block_sum(host + block->off, block->bytes) == block->sum;
}

/* Another processor may be between its write and the invalidation that follows, even off the host's
 * processor; till then either code may run. Patience is what a writer could need, not the block. */
static bool stays_changed(struct cpu *cpu, const struct block *block, const u8 *host)
{
	struct code_cache *code = cpu->vm->code;
	u64 flushes = code->flushes;

	for (unsigned tries = 0; tries < 50000; tries++) {
		code_leave(cpu, CODE_OUT);
		code_yield();
		code_enter(cpu);
		if (code->flushes != flushes || !block->valid || block_unchanged(block, host))
			return false;
	}
	return true;
}

/* ---- finding code -----------------------------------------------------------------------------
 */

/* May a block be entered other than by find_block()? */
static bool may_lead_to(const struct block *block)
{
	return block->page2 == ~0ull || block_checks_page2(block);
}

static struct jump_entry *jump_find(struct cpu *cpu, gva_t pc)
{
	struct jump_entry *e = &cpu->jc[JC_SLOT(pc)];

	if (e->pc == pc && e->ctx == cpu->jc_key)
		return e;
	e = &cpu->jc[JC_SLOT(pc) ^ JC_SECOND];
	return e->pc == pc && e->ctx == cpu->jc_key ? e : NULL;
}

bool code_fetchable(struct cpu *cpu, u32 ctx, unsigned bytes)
{
	if (likely(!(ctx & CTX_NONFLAT)) || cpu->rip + bytes - 1 <= cpu->seg[SEG_CS].limit)
		return true;
	fault_error(cpu, VEC_GP, 0);
	return false;
}

/* The block at @pc in @ctx, translated if need be. NULL: a fault is pending. */
static struct block *find_block(struct cpu *cpu, gva_t pc, u32 ctx)
{
	struct code_cache *code = cpu->vm->code;
	struct block *block;
	gpa_t page, page2;
	u8 *host, *host2;

	for (;;) {
		if (!mmu_fetch_page(cpu, pc & PAGE_MASK, &page, &host))
			return NULL;
		code_lock(code);
		block = code_find(code, page, pc & ~PAGE_MASK, ctx, ANY_PAGE);
		code_unlock(code);
		cpu->stats[STAT_LOOKUPS]++;
		if (block && block->page2 != ~0ull) {
			if (!code_fetchable(cpu, ctx, PAGE_SIZE - (pc & ~PAGE_MASK) + 1) ||
			    !mmu_fetch_page(cpu, (pc & PAGE_MASK) + PAGE_SIZE, &page2, &host2))
				return NULL;
			code_lock(code);
			block = code_find(code, page, pc & ~PAGE_MASK, ctx, page2);
			code_unlock(code);
		}
		if (block && unlikely(cpu->vm->config.check_blocks) &&
		    !block_unchanged(block, host)) {
			if (!stays_changed(cpu, block, host))
				continue;
			fpu_leave(cpu);
			report_changed(cpu, block);
			cpu->fault_pending = 0;
			return NULL;
		}
		if (block)
			return block;
		block = dormant_wake(cpu, page, pc & ~PAGE_MASK, ctx, host);
		if (block && likely(!cpu->vm->config.verify_blocks))
			return block;
		fpu_leave(cpu);
		if (block)
			translate_verify(cpu, block);
		else
			block = translate(cpu, pc, page, host, ctx);
		if (unlikely(code->refused)) {
			cpu->fault_pending = 0;
			return NULL;
		}
		if (block)
			return block;
		if (cpu->fault_pending)
			return NULL;
		code_leave(cpu, CODE_OUT);
		code_flush(cpu->vm, cpu);
		code_enter(cpu);
	}
}

/* How much of the jump cache a later flush may keep. */
static void note_mapping(struct cpu *cpu, gva_t pc)
{
	bool global = mmu_fetched_global(cpu, pc);

	if (cpu->cpl == 3 && global)
		cpu->epochs.global_user = true;
	else if (cpu->cpl != 3 && (!global || (s64)pc >= 0))
		cpu->epochs.local_kernel = true;
}

/* Is what stands in the first place of @pc to go to the second? Another address of that place, or
 * the same of another address space: processes run the same code in turns. */
static bool worth_keeping(const struct cpu *cpu, const struct jump_entry *e, gva_t pc)
{
	if (JC_SLOT(e->pc) != JC_SLOT(pc) || (e->pc == pc && e->ctx == cpu->jc_key))
		return false;
	return code_epoch_lives(cpu, e->ctx >> 16);
}

static void remember_jump(struct cpu *cpu, gva_t pc, const struct block *block)
{
	struct jump_entry *e = &cpu->jc[JC_SLOT(pc)];

	if (cpu->vm->config.plain & CPU_PLAIN_JUMPS)
		return;
	if (!may_lead_to(block) || (block->ctx & (CTX_SINGLE | CTX_NOGROUP)))
		return;
	note_mapping(cpu, pc);
	if (worth_keeping(cpu, e, pc))
		cpu->jc[JC_SLOT(pc) ^ JC_SECOND] = *e;
	e->pc = pc;
	e->code = (u64)(uintptr_t)cpu->vm->code->rx + block->entry_saved;
	e->ctx = cpu->jc_key;
}

static void forget_jump(struct cpu *cpu, gva_t pc)
{
	cpu->jc[JC_SLOT(pc)].ctx = cpu->jc[JC_SLOT(pc) ^ JC_SECOND].ctx = 0;
}

/* ---- what the outside wants --------------------------------------------------------------------
 */

void cpu_request(struct cpu *cpu, unsigned requests)
{
	/* INIT forgets an earlier SIPI; one that comes after it counts, however late both are seen
	 */
	if (requests & CPU_REQ_INIT)
		cpu_request_clear(cpu, CPU_REQ_SIPI);
	__atomic_fetch_or(&cpu->requests, requests, __ATOMIC_SEQ_CST);
	__atomic_store_n(&cpu->exit_request, 1, __ATOMIC_SEQ_CST);
}

void cpu_request_clear(struct cpu *cpu, unsigned requests)
{
	__atomic_fetch_and(&cpu->requests, ~requests, __ATOMIC_SEQ_CST);
}

void cpu_set_sipi_vector(struct cpu *cpu, u8 vector)
{
	__atomic_store_n(&cpu->sipi_vector, vector, __ATOMIC_RELEASE);
}

static bool interrupts_open(const struct cpu *cpu)
{
	return cpu->rflags & FLAG_IF && !cpu->intr_shadow;
}

bool cpu_has_work(struct cpu *cpu)
{
	u32 r = __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST);

	if (r & (CPU_REQ_STOP | CPU_REQ_INIT))
		return true;
	switch (cpu->activity) {
	case X86_WAIT_SIPI: return r & CPU_REQ_SIPI;
	case X86_HALTED: return r & CPU_REQ_NMI || (r & CPU_REQ_INTR && cpu->rflags & FLAG_IF);
	case X86_SHUTDOWN: return false;
	default: return true;
	}
}

static bool take_interrupt(struct cpu *cpu)
{
	int vector;

	if (!interrupts_open(cpu))
		return true;
	cpu_request_clear(cpu, CPU_REQ_INTR);
	fpu_leave(cpu);
	code_leave(cpu, CODE_OUT);
	vector = cpu->vm->config.bus.interrupt_ack(cpu->vm->config.bus.opaque, cpu->index);
	code_enter(cpu);
	if (vector < 0)
		return true;
	/* there may be more behind it: asked again when interrupts are open */
	__atomic_fetch_or(&cpu->requests, CPU_REQ_INTR, __ATOMIC_SEQ_CST);
	cpu->stats[STAT_INTERRUPTS]++;
	cpu->activity = X86_RUNNING;
	return event_interrupt(cpu, vector);
}

static void take_sipi(struct cpu *cpu)
{
	u8 vector = __atomic_load_n(&cpu->sipi_vector, __ATOMIC_ACQUIRE);

	cpu->seg[SEG_CS].selector = vector << 8;
	cpu->seg[SEG_CS].base = (u64)vector << 12;
	cpu->rip = 0;
	cpu->activity = X86_RUNNING;
	cpu_update_ctx(cpu);
}

/* Takes pending requests. False: leave with *@exit. */
static bool take_requests(struct cpu *cpu, enum cpu_exit *exit)
{
	u32 r;

	__atomic_store_n(&cpu->exit_request, 0, __ATOMIC_SEQ_CST);
	r = __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST);
	if (r & CPU_REQ_STOP) {
		*exit = CPU_EXIT_STOPPED;
		return false;
	}
	if (r & CPU_REQ_INIT) {
		cpu_request_clear(cpu, CPU_REQ_INIT);
		fpu_leave(cpu);
		cpu_reset(cpu, true);
		r = __atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST);
	}
	if (cpu->activity == X86_WAIT_SIPI) {
		if (r & CPU_REQ_SIPI) {
			cpu_request_clear(cpu, CPU_REQ_SIPI);
			take_sipi(cpu);
		} else {
			*exit = CPU_EXIT_HALTED;
			return false;
		}
	} else if (r & CPU_REQ_SIPI) {
		cpu_request_clear(cpu, CPU_REQ_SIPI); /* ignored by a processor that runs */
	}
	*exit = CPU_EXIT_SHUTDOWN;
	if (r & CPU_REQ_NMI && !cpu->nmi_masked && !cpu->intr_shadow) {
		cpu_request_clear(cpu, CPU_REQ_NMI);
		cpu->activity = X86_RUNNING;
		if (!event_interrupt(cpu, VEC_NMI))
			return false;
	}
	if (r & CPU_REQ_INTR && !take_interrupt(cpu))
		return false;
	if (cpu->activity == X86_HALTED) {
		*exit = CPU_EXIT_HALTED;
		return false;
	}
	return true;
}

/* ---- why translated code left -------------------------------------------------------------------
 */

enum next { NEXT_RUN, NEXT_SLOW, NEXT_NOGROUP, NEXT_ALONE, NEXT_SHUTDOWN, NEXT_ERROR };

static enum next deliver(struct cpu *cpu)
{
	cpu->stats[STAT_FAULTS]++;
	cpu->exception_counts[cpu->fault.vector % STAT_VECTORS]++;
	cpu->fault_delivered = 1;
	if (unlikely(cpu->stepping))
		return NEXT_RUN; /* cpu_step() shows it instead */
	return event_deliver(cpu) ? NEXT_RUN : NEXT_SHUTDOWN;
}

static enum next run_helper(struct cpu *cpu, const struct insn *insn)
{
	enum helper_result result;

	cpu->stats[STAT_HELPERS]++;
	cpu->helper_counts[insn->mnemonic % STAT_MNEMONICS]++;
	if (insn->kind == KIND_HELPER || insn->kind == KIND_STRING || insn->kind == KIND_SYSTEM)
		result = helper_execute(cpu, insn);
	else if (insn_is_near_branch(insn))
		result = near_execute(cpu, insn);
	else
		result = vector_execute(cpu, insn);
	switch (result) {
	case HELPER_NEXT: cpu->rip = wrap_rip(cpu, cpu->rip + insn->len); return NEXT_RUN;
	case HELPER_REPEAT: cpu->again = 1; return NEXT_RUN;
	case HELPER_JUMP: return NEXT_RUN;
	case HELPER_FAULT: return deliver(cpu);
	case HELPER_HALT:
		cpu->rip = wrap_rip(cpu, cpu->rip + insn->len);
		cpu->activity = X86_HALTED;
		cpu->stats[STAT_HALTS]++;
		return NEXT_RUN;
	default: return NEXT_SHUTDOWN;
	}
}

/* #UD or #NM, APM vol. 2 table 8-10: a disabled feature is invalid, a lazily saved one unavailable.
 */
static void fault_fpu(struct cpu *cpu, const struct insn *insn)
{
	bool ud;

	switch (insn->fpu) {
	case FPU_X87: ud = insn->isa == ZYDIS_ISA_SET_PENTIUMMMX && cpu->cr0 & CR0_EM; break;
	case FPU_SSE: ud = cpu->cr0 & CR0_EM || !(cpu->cr4 & CR4_OSFXSR); break;
	case FPU_AVX: ud = !(cpu->cr4 & CR4_OSXSAVE) || (cpu->xcr0 & 6) != 6; break;
	default: ud = !(cpu->cr4 & CR4_OSXSAVE) || (cpu->xcr0 & 0xe6) != 0xe6; break;
	}
	fault(cpu, ud ? VEC_UD : VEC_NM);
}

/* @to: where the site's exit went on. */
static void bind_link(struct cpu *cpu, struct site *s, struct block *to)
{
	struct code_cache *code = cpu->vm->code;

	if (cpu->vm->config.plain & CPU_PLAIN_LINKS)
		return;
	if (s->block->page2 != ~0ull || (s->block->ctx & CTX_SINGLE))
		return;
	/* the same page and the site's context always, unless somebody wrote to the page meanwhile
	 */
	if (to->page != s->block->page || (to->ctx ^ s->block->ctx ^ s->flips) & ~CTX_NOGROUP ||
	    !may_lead_to(to))
		return;
	code_lock(code);
	code_bind(code, s, to);
	code_unlock(code);
	cpu->stats[STAT_LINKS]++;
}

/* WAIT looks at TS only if MP is set, and never at EM (SDM vol. 3 table 2-2). */
static enum next leave_fpu(struct cpu *cpu, const struct insn *insn)
{
	const u64 monitored = CR0_MP | CR0_TS;

	if (insn->mnemonic != ZYDIS_MNEMONIC_FWAIT || (cpu->cr0 & monitored) == monitored) {
		fault_fpu(cpu, insn);
		return deliver(cpu);
	}
	if (!cpu->fpu_loaded)
		fpu_enter(cpu);
	if (x87_pending()) {
		fault(cpu, VEC_MF);
		return deliver(cpu);
	}
	cpu->rip = wrap_rip(cpu, cpu->rip + insn->len);
	return NEXT_RUN;
}

static enum next leave_memory(struct cpu *cpu, struct site *s)
{
	bool nogroup = cpu->nogroup;

	cpu->nogroup = 0;
	if (cpu->fault_pending)
		return deliver(cpu);
	if (!nogroup)
		return NEXT_SLOW;
	cpu->stats[STAT_NOGROUP]++;
	cpu->link = s + 1; /* its SITE_ALT */
	return NEXT_NOGROUP;
}

/* The branch of @s has found nothing in the jump cache for @target. Where a branch may not go, it
 * is undone and executed again by near.c, which raises the fault. */
static enum next branch_to(struct cpu *cpu, const struct site *s, u64 target)
{
	if (likely(!cpu_64bit(cpu) || is_canonical(target))) {
		cpu->rip = wrap_rip(cpu, target);
		return NEXT_RUN;
	}
	cpu->rip = rip_at(cpu, s->guest_off);
	cpu->gpr[RSP] -= s->tag_off;
	return NEXT_ALONE;
}

static enum next leave_site(struct cpu *cpu, struct site *s)
{
	cpu->rip = rip_at(cpu, s->guest_off);
	cpu->exit_counts[s->kind % STAT_SITES]++;
	switch (s->kind) {
	case SITE_LINK: cpu->link = s; return NEXT_RUN;
	case SITE_POLL: cpu->stats[STAT_POLLS]++; return NEXT_RUN;
	case SITE_NEXT: return NEXT_RUN;
	case SITE_ALONE: return NEXT_ALONE;
	case SITE_BRANCH: return branch_to(cpu, s, cpu->exit_arg);
	case SITE_CALL: cpu->gpr[RSP] += s->own; return NEXT_ALONE;
	case SITE_MEM: return leave_memory(cpu, s);
	case SITE_SLOW: return deliver(cpu);
	case SITE_HELPER: return run_helper(cpu, s->block->last);
	case SITE_UD: fault(cpu, VEC_UD); return deliver(cpu);
	case SITE_FPU: return leave_fpu(cpu, s->block->last);
	}
	return NEXT_ERROR;
}

/* A host signal inside a block is a guest exception: the silicon refused the instruction. */
static enum next leave_signal(struct cpu *cpu)
{
	struct block *b = code_block_at(cpu->vm->code, cpu->scratch[2]);
	u32 off;
	int i;

	cpu->stats[STAT_SIGNALS]++;
	if (!b)
		return NEXT_ERROR;
	off = cpu->scratch[2] - cpu->code_base - b->code;
	for (i = b->maps - 1; i > 0 && b->map[i].host > off; i--)
		;
	if (b->map[i].guest & 0x8000)
		cpu->rflags = (cpu->rflags & ~FLAGS_ARITH) | (cpu->scratch[3] & FLAGS_ARITH);
	cpu->rip = rip_at(cpu, b->map[i].guest & 0xfff);
	cpu->gpr[RSP] += b->map[i].rsp;
	if (!cpu_64bit(cpu))
		cpu->gpr[RSP] = (u32)cpu->gpr[RSP];
	switch (cpu->exit_arg) {
	case SIGNAL_DE: fault(cpu, VEC_DE); break;
	case SIGNAL_XM: fault(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD); break;
	case SIGNAL_MF: fault(cpu, VEC_MF); break;
	case SIGNAL_GP: fault_error(cpu, VEC_GP, 0); break;
	case SIGNAL_NOWHERE: return NEXT_SLOW;
	case SIGNAL_UD:
		/* virtual hosts raise a stray one now and then: the instruction must mean it */
		if (cpu->ud_rip != cpu->rip) {
			cpu->ud_rip = cpu->rip;
			return NEXT_RUN;
		}
		cpu->ud_rip = ~0ull;
		fault(cpu, VEC_UD);
		break;
	default: return NEXT_ERROR;
	}
	return deliver(cpu);
}

static enum next leave_block(struct cpu *cpu)
{
	u32 code = cpu->exit_code;

	flags_from_saved(cpu);
	if (unlikely(cpu->bounce.size || cpu->bounce.direct))
		access_commit(cpu);
	if (unlikely(cpu->masked.pending))
		masked_commit(cpu);
	if (unlikely(cpu->split_lock))
		end_split_lock(cpu);
	switch (code) {
	case EXIT_JUMP: cpu->rip = wrap_rip(cpu, cpu->exit_arg); return NEXT_RUN;
	case EXIT_RETURN: return branch_to(cpu, site_of(cpu, cpu->scratch[3]), cpu->exit_arg);
	case EXIT_STALE:
		cpu->rip = rip_at(cpu, (u32)cpu->exit_arg);
		forget_jump(cpu, linear_pc(cpu));
		return NEXT_RUN;
	case EXIT_SIGNAL: return leave_signal(cpu);
	default: return leave_site(cpu, site_of(cpu, code));
	}
}

/* ---- the loop
 * ------------------------------------------------------------------------------------ */

static u32 block_ctx(const struct cpu *cpu, enum next how)
{
	u32 ctx = cpu->ctx & 0xffff;

	if (cpu->intr_shadow || cpu->stepping == STEPPING_INSN || how == NEXT_ALONE)
		ctx |= CTX_STEP;
	if (how == NEXT_NOGROUP)
		ctx |= CTX_NOGROUP;
	if (how == NEXT_SLOW || (ctx & CTX_NONFLAT) || (ctx & CTX_MODE_MASK) == CTX_16)
		ctx |= CTX_SLOW;
	return ctx;
}

/* Calls of the kernel and of the user have a stack each; its frames are good for one key, but for
 * CTX_AC, which return sites look at themselves. */
static void choose_shadow(struct cpu *cpu, enum jc_class class)
{
	if (cpu->shadow_class != class) {
		cpu->shadow_resting[cpu->shadow_class] = cpu->shadow_sp;
		cpu->shadow_sp = cpu->shadow_resting[class];
		cpu->shadow_class = class;
	}
	if ((cpu->shadow_key[class] ^ cpu->jc_key) & ~CTX_AC)
		cpu->shadow_sp = cpu_shadow_bottom(cpu, class);
	cpu->shadow_key[class] = cpu->jc_key;
}

/* Into translated code and back, as a call of @thunk (lower_thunks.c) with @cpu and @code. But by
 * jumps: the host predicts returns by the calls that it has seen, and these are the guest's, which
 * will return when this is long over. One call in between, and all of them are mispredicted. */
static void enter(struct cpu *cpu, const u8 *thunk, const u8 *code)
{
	__asm__ volatile("mov %%rsp, %%rbx\n\t" /* which the thunk saves */
			 "sub $128, %%rsp\n\t"  /* below what a function may use without saying */
			 "and $-16, %%rsp\n\t"
			 "lea 1f(%%rip), %%rcx\n\t"
			 "push %%rcx\n\t"
			 "jmp *%%rax\n"
			 "1:\n\t"
			 "mov %%rbx, %%rsp"
			 : "+a"(thunk), "+D"(cpu), "+S"(code)
			 :
			 : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "cc", "memory");
}

static void enter_code(struct cpu *cpu, gva_t pc, const u8 *entry)
{
	struct code_cache *code = cpu->vm->code;

	cpu->page_base = pc & PAGE_MASK;
	cpu->code_base = (u64)(uintptr_t)code->rx;
	cpu->intr_shadow = 0;
	choose_shadow(cpu, cpu_class(cpu));
	flags_to_saved(cpu);
	if (!cpu->fpu_loaded)
		fpu_enter(cpu);
	enter(cpu, code->rx + code->thunks.enter, entry);
}

/* #DB after an instruction that started with TF set, APM vol. 2 section 13.1.4. */
static enum next trap_step(struct cpu *cpu)
{
	cpu->dr[6] |= BIT(14);
	cpu->activity = X86_RUNNING; /* it may have been HLT */
	fault(cpu, VEC_DB);
	return deliver(cpu);
}

/* The jump cache holds plain blocks only; a waiting link wants the block itself. */
static bool enter_cached(struct cpu *cpu, gva_t pc)
{
	const struct jump_entry *e = cpu->link ? NULL : jump_find(cpu, pc);

	if (!e)
		return false;
	enter_code(cpu, pc, (const u8 *)(uintptr_t)e->code);
	return true;
}

static bool enter_found(struct cpu *cpu, gva_t pc, u32 ctx)
{
	struct site *link = cpu->link;
	u64 flushes = cpu->vm->code->flushes;
	struct block *block;

	cpu->link = NULL;
	if (!code_fetchable(cpu, ctx, 1))
		return false;
	block = find_block(cpu, pc, ctx);
	if (!block || !code_fetchable(cpu, ctx, block->first_bytes))
		return false;
	/* a full cache is another epoch: what the old one's jumps and frames say is gone */
	cpu->jc_key = cpu_jump_key(cpu);
	if (link && flushes == cpu->vm->code->flushes)
		bind_link(cpu, link, block);
	if ((s64)pc >= 0)
		code_jumps_note(cpu, pc);
	remember_jump(cpu, pc, block);
	enter_code(cpu, pc, cpu->vm->code->rx + block->entry_found);
	return true;
}

static enum next run_one(struct cpu *cpu, enum next how)
{
	u32 ctx = block_ctx(cpu, how);
	gva_t pc = linear_pc(cpu);
	enum next next;

	cpu->jc_key = cpu_jump_key(cpu);
	cpu->single_step = !!(ctx & CTX_TF);
	if (ctx & (CTX_SINGLE | CTX_NOGROUP) || !enter_cached(cpu, pc))
		if (!enter_found(cpu, pc, ctx))
			return cpu->fault_pending ? deliver(cpu) : NEXT_ERROR;
	next = leave_block(cpu);
	if (unlikely(cpu->single_step) && next == NEXT_RUN && !cpu->fault_delivered)
		next = trap_step(cpu);
	cpu->fault_delivered = 0;
	return next;
}

static enum cpu_exit run_loop(struct cpu *cpu)
{
	enum next next = NEXT_RUN;
	enum cpu_exit exit = CPU_EXIT_ERROR;

	for (;;) {
		if (next == NEXT_RUN &&
		    unlikely(cpu->requests || cpu->exit_request || cpu->activity)) {
			cpu->link = NULL; /* the request may have changed everything */
			if (!take_requests(cpu, &exit))
				return exit;
		}
		next = run_one(cpu, next);
		if (unlikely(next == NEXT_SHUTDOWN)) {
			cpu->activity = X86_SHUTDOWN;
			return CPU_EXIT_SHUTDOWN;
		}
		if (unlikely(next == NEXT_ERROR))
			return CPU_EXIT_ERROR;
		/* an invalidation waits for processors to pass here */
		if (unlikely(__atomic_load_n(&cpu->vm->code->exclusive, __ATOMIC_RELAXED))) {
			cpu->link = NULL;
			code_leave(cpu, CODE_OUT);
			code_enter(cpu);
		}
	}
}

enum cpu_exit cpu_run_hot(struct cpu *cpu)
{
	enum cpu_exit exit;

	code_enter(cpu);
	/* a restored processor may have been in the middle of a delivery */
	if (unlikely(cpu->fault_pending) && deliver(cpu) == NEXT_SHUTDOWN)
		cpu->activity = X86_SHUTDOWN;
	cpu->fault_delivered = cpu->fault.soft = 0;
	exit = cpu->activity == X86_SHUTDOWN ? CPU_EXIT_SHUTDOWN : run_loop(cpu);
	fpu_leave(cpu);
	cpu->link = NULL;
	code_leave(cpu, CODE_OUT);
	return exit;
}

/* A slow access, a string instruction's next piece: the same instruction goes on. */
static enum cpu_exit step_once(struct cpu *cpu)
{
	u64 rip = cpu->rip;
	enum next next = NEXT_RUN;

	do {
		cpu->again = 0;
		next = run_one(cpu, next);
	} while (next == NEXT_SLOW || next == NEXT_NOGROUP || next == NEXT_ALONE ||
		 (cpu->again && cpu->rip == rip && !cpu->fault_pending));
	if (next == NEXT_SHUTDOWN)
		return CPU_EXIT_SHUTDOWN;
	if (next == NEXT_ERROR)
		return CPU_EXIT_ERROR;
	return cpu->activity == X86_HALTED ? CPU_EXIT_HALTED : CPU_EXIT_STOPPED;
}

enum cpu_exit cpu_step_hot(struct cpu *cpu)
{
	enum cpu_exit exit;

	code_enter(cpu);
	exit = step_once(cpu);
	fpu_leave(cpu);
	cpu->link = NULL;
	code_leave(cpu, CODE_OUT);
	return exit;
}
