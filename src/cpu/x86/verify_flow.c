/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where control may go: the rule "Control" of verify.c, and what C takes from a block's sites.
 */
#include "cpu/x86/verify_private.h"

#include <string.h>

bool flow_is_site(const struct verify *v, u64 id, enum site_kind kind)
{
	u64 i = id - EXIT_SITE - v->block->sites;

	return i < v->block->site_count && v->code->sites[v->block->sites + i].kind == kind;
}

/* SYSCALL is the user's and SYSRET the kernel's, of 64-bit code, and each has its helper behind it.
 */
static bool is_ring_thunk(const struct verify *v, u32 at)
{
	const struct thunks *t = &v->code->thunks;
	unsigned cpl = v->block->ctx >> CTX_CPL_SHIFT & 3;

	return ((at == t->syscall && cpl == 3) || (at == t->sysret && cpl == 0)) &&
	       (v->block->ctx & CTX_MODE_MASK) == CTX_64 &&
	       flow_is_site(v, v->now.exit_code, SITE_ALONE);
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
		return facts_end_turns(v, facts);
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

	if (!flow_is_site(v, v->now.exit_code, SITE_MEM) || !v->now.stack_limit ||
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
			if (!flow_is_site(v, v->now.exit_code, SITE_CALL))
				return refuse(v, "a call without its site");
			v->now.reg[T1].fact = ANYTHING;
			v->now.reg[T2] = (struct knowledge){ TARGET, 0, 0, 0 };
			return true;
		}
		if (to == v->code->thunks.stack[tlb_kind(v->block)])
			return asks_for_stack(v);
		if (to == v->code->thunks.slow) {
			const struct site *s = &v->code->sites[v->now.exit_code - EXIT_SITE];

			if (!flow_is_site(v, v->now.exit_code, SITE_SLOW))
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

bool flow_branch(struct verify *v)
{
	struct facts taken;

	v->straight = v->at + v->zi.length;
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
	facts_branch(v, &taken);
	return jump_to(v, v->at + v->zi.length + v->ops[0].imm.value.s, &taken);
}

bool flow_is_branch(const struct host_insn *zi)
{
	switch (zi->category) {
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_RET: return true;
	default: return zi->mnemonic == ZYDIS_MNEMONIC_INT3;
	}
}

/* Behind a store that soft_mem_slow() may have made in place of the instruction: of what was known
 * when its check was left, only the groups' pointers and turns can still be known. */
static void arrive_behind(struct verify *v, const struct site *s)
{
	struct facts f = { .turns = v->now.turns };
	bool known = false;

	for (unsigned i = 0; i < v->made_count; i++)
		known |= v->made[i].at == s->patch && v->made[i].reg == T0 &&
			 v->made[i].at >= v->straight;
	if (!known)
		refuse(v, "C would go on elsewhere than behind its store");
	f.reg[P0] = v->now.reg[P0];
	f.reg[P1] = v->now.reg[P1];
	v->now = f;
}

static void mark_join(struct verify *v, u32 at)
{
	if (at >= v->block->code && at < v->block->code_end)
		set_bit(v->joins, at - v->block->code);
}

void flow_find_joins(struct verify *v)
{
	for (u32 i = 0; i < v->block->site_count; i++) {
		const struct site *s = &v->code->sites[v->block->sites + i];

		if (s->store)
			mark_join(v, s->stub);
		if (s->kind == SITE_CALL)
			mark_join(v, s->patch);
	}
}

void flow_arrive(struct verify *v)
{
	bool any = v->flows;

	for (unsigned i = 0; i < v->pending_count; i++) {
		if (v->pending[i].to != v->at)
			continue;
		if (any)
			facts_meet(&v->now, &v->pending[i].facts);
		else
			v->now = v->pending[i].facts;
		any = true;
		v->pending[i--] = v->pending[--v->pending_count];
	}
	if (!any || v->at == v->block->entry_host || v->at == v->block->entry_saved ||
	    v->at == v->block->entry_found)
		memset(&v->now, 0, sizeof(v->now)); /* an entry, a return site, a resumption */
	if (!get_bit(v->joins, v->at - v->block->code))
		return;
	for (u32 i = 0; i < v->block->site_count; i++) {
		const struct site *s = &v->code->sites[v->block->sites + i];

		if (s->store && s->stub == v->at)
			arrive_behind(v, s);
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
			       (facts_may_write(v, s) || !v->made[i].write);
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

static bool starts_at(const struct verify *v, u32 at)
{
	return at >= v->block->code && at < v->block->code_end &&
	       get_bit(v->starts, at - v->block->code);
}

/* What C takes from the sites. */
static bool check_each(struct verify *v)
{
	unsigned returns = 0;

	for (u32 i = 0; i < v->block->site_count; i++) {
		const struct site *s = &v->code->sites[v->block->sites + i];
		bool last = i + 1 == v->block->site_count;

		if (s->store && (s->kind != SITE_MEM || s->span || !starts_at(v, s->stub)))
			return refuse(v, "a store that C cannot make");
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

static bool check_entries(struct verify *v)
{
	const struct block *b = v->block;

	return (starts_at(v, b->entry_host) && starts_at(v, b->entry_saved) &&
		starts_at(v, b->entry_found) && b->entry_saved + BLOCK_MIN_CODE <= b->code_end) ||
	       refuse(v, "an entry that is no instruction, or too close to the end");
}

bool flow_check_sites(struct verify *v)
{
	return check_entries(v) && check_back(v) && check_each(v);
}
