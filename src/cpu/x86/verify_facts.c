/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes known of the registers, instruction by instruction: which of them a check has made a
 * pointer, to how many bytes, and how often the pointers of a carrying loop may move.
 */
#include "cpu/x86/verify_private.h"

#include <string.h>

/* [rbp + r13 + a column of the TLB], or COLUMN_NONE */
static enum column table_operand(const struct verify *v, unsigned op)
{
	const ZydisDecodedOperand *o = &v->ops[op];

	if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.base != ZYDIS_REGISTER_RBP ||
	    o->mem.index != ZYDIS_REGISTER_R13 || v->now.reg[T1].fact != TLB_SCALED)
		return COLUMN_NONE;
	return access_column(v, o->mem.disp.value + CPU_RBP_BIAS);
}

static bool jump_column(const struct verify *v, unsigned op, size_t field)
{
	const ZydisDecodedOperand *o = &v->ops[op];

	return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base == ZYDIS_REGISTER_RBP &&
	       o->mem.index == ZYDIS_REGISTER_R13 && v->now.reg[T1].fact == JC_SCALED &&
	       o->mem.disp.value + CPU_RBP_BIAS == (s64)(offsetof(struct cpu, jc) + field);
}

/* The index of a pointer that a loop may carry, or -1. */
static int carried(int reg)
{
	return reg == P0 ? 0 : reg == P1 ? 1 : -1;
}

/* lea end, [bytes + pointer] */
static struct knowledge learn_end(const struct verify *v, const struct knowledge *old)
{
	const ZydisDecodedOperand *o = v->ops;
	int leader = carried(number(o[1].mem.index));
	struct knowledge k = { ANYTHING };

	if (o[0].size == 32 && v->zi.address_width == 64 && old->fact == TURNS_BYTES &&
	    number(o[1].mem.base) >= 0 && &v->now.reg[number(o[1].mem.base)] == old &&
	    leader >= 0 && old->of >> leader & 1 && o[1].mem.scale == 1 && !o[1].mem.disp.value)
		k = (struct knowledge){ TURNS_END, 0, leader, old->hi, old->of };
	return k;
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
	case ZYDIS_MNEMONIC_IMUL:
		if (o[0].size != 32 || old->fact != TURNS || from < 0 || &v->now.reg[from] != old ||
		    !is_immediate(v, 2))
			break;
		k.fact = TURNS_BYTES;
		k.hi = o[2].imm.value.s;
		break;
	case ZYDIS_MNEMONIC_LEA: return learn_end(v, old);
	default: break;
	}
	return k;
}

/* Counting down, or what the instruction has stored as the end. */
static void learn_count(struct verify *v)
{
	struct turns *t = &v->now.turns;
	const struct knowledge *k;
	int from;

	v->straight = v->at + v->zi.length;
	t->mask = t->may = 0;
	from = v->ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER ? number(v->ops[1].reg.value) : -1;
	k = from >= 0 && v->zi.mnemonic == ZYDIS_MNEMONIC_MOV ? &v->now.reg[from] : NULL;
	if (!k || k->fact != TURNS_END)
		return;
	t->mask = k->of;
	t->leader = k->lo;
	t->step = k->hi;
}

/* cmp leader, loop_end; a je follows, or it counts for nothing. */
static bool compares_end(const struct verify *v, int reg)
{
	const struct turns *t = &v->now.turns;

	return v->zi.mnemonic == ZYDIS_MNEMONIC_CMP && t->mask && carried(reg) == t->leader &&
	       v->ops[0].size == 32 && state_operand(v, 1, offsetof(struct cpu, loop_end));
}

/* Pointer @p is not what it was when turns were counted. */
static void drop_turns(struct turns *t, int p)
{
	t->mask &= p == t->leader ? 0 : ~(1 << p);
	t->may &= t->mask;
}

/* Turns were counted for where pointer @p was: what is left of that in registers counts no more. */
static void forget_turns(struct verify *v, int p)
{
	for (unsigned i = 0; i < 16; i++) {
		struct knowledge *k = &v->now.reg[i];
		bool counted = k->fact >= TURNS;

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
	if (p == t->leader && step != t->step)
		return false;
	if (t->limit[p] < 0
		    ? step > 0 || -step > 1 << t->shift[p]
		    : step < 0 || step > 1 << t->shift[p] || t->limit[p] != (s32)PAGE_SIZE - k->hi)
		return false;
	t->may &= ~(1 << p);
	t->moved |= 1 << p;
	forget_turns(v, p);
	v->straight = v->at + v->zi.length;
	return true;
}

/* Has C seen to it that the pointer it gives at this site may be written to? */
bool facts_may_write(const struct verify *v, const struct site *s)
{
	return s->span ? access_column(v, s->tag_off) == COLUMN_WRITE : s->access & MEM_W;
}

/* The pointer into the stack's page in rbx is, from here on, as good as the one that C would give.
 */
static bool stack_is_written(const struct verify *v)
{
	for (u32 i = 0; i < v->block->site_count; i++) {
		const struct site *s = &v->code->sites[v->block->sites + i];

		if (s->kind == SITE_MEM && s->patch == v->at + v->zi.length)
			return facts_may_write(v, s);
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
		if (reg == T1 && o[0].size == 32 && state_operand(v, 1, mask_of(v->block)))
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
		if (is_immediate(v, 1) && reg == T2 && flow_is_site(v, imm, SITE_BRANCH))
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
		v->straight = v->at + v->zi.length;
		forget_turns(v, p);
		drop_turns(&v->now.turns, p);
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

	drop_turns(t, old->of);
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

void facts_update(struct verify *v)
{
	struct knowledge first = { ANYTHING }, old;
	int reg = -1;

	if (v->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER && v->zi.operand_count_visible)
		reg = number(v->ops[0].reg.value);
	if (v->zi.mnemonic == ZYDIS_MNEMONIC_CMP && reg >= 0 && v->ops[0].size == 64 &&
	    compared(v, reg))
		return;
	v->now.turns.compared = compares_end(v, reg);
	if (state_operand(v, 0, offsetof(struct cpu, loop_end)))
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

void facts_branch(struct verify *v, struct facts *taken)
{
	*taken = v->now;
	if (v->now.turns.compared) { /* there: nothing is left that would count */
		v->now.turns.may = v->zi.mnemonic == ZYDIS_MNEMONIC_JZ ? v->now.turns.mask : 0;
		taken->turns.mask = 0;
	}
	v->now.turns.compared = taken->turns.compared = 0;
	for (unsigned i = 0; i < 16; i++) {
		struct knowledge *k = &v->now.reg[i];

		if (is_compared(k)) {
			k->fact = v->zi.mnemonic == ZYDIS_MNEMONIC_JNBE && k->fact != TURNS_COMPARED
					  ? k->fact + 1
					  : ANYTHING;
			taken->reg[i].fact = ANYTHING;
		}
	}
}

static bool same_turns(const struct turns *a, const struct turns *b)
{
	return a->shift[0] == b->shift[0] && a->shift[1] == b->shift[1] &&
	       a->limit[0] == b->limit[0] && a->limit[1] == b->limit[1] && a->leader == b->leader &&
	       a->step == b->step;
}

/* What holds at a label holds at every jump to it. */
void facts_meet(struct facts *a, const struct facts *b)
{
	bool turns = same_turns(&a->turns, &b->turns);

	a->turns.mask = turns ? a->turns.mask & b->turns.mask : 0;
	a->turns.may &= a->turns.mask & b->turns.may;
	a->turns.moved &= b->turns.moved;
	a->turns.compared = 0;
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

/* The turns of a loop begin here. What holds at their end is not known yet: of what holds now,
 * only that the pointers are carried is expected of it. */
bool facts_begin_turns(struct verify *v)
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
	for (unsigned p = 0; p < 2; p++)
		if (v->not_carried >> p & 1)
			drop_turns(&f->turns, p);
	f->turns.may = f->turns.moved = f->turns.compared = 0;
	v->now = *f;
	return true;
}

/* A jump back to there: what was expected must hold. A leader that has not moved would never come
 * to its end. */
bool facts_end_turns(struct verify *v, const struct facts *facts)
{
	const struct facts *f = &v->head.facts;
	bool led = facts->turns.moved >> f->turns.leader & 1;

	for (unsigned p = 0; p < 2; p++) {
		const struct knowledge *want = &f->reg[p ? P1 : P0];
		const struct knowledge *have = &facts->reg[p ? P1 : P0];
		bool kept = have->fact == POINTER && have->lo <= want->lo && have->hi >= want->hi &&
			    have->write >= want->write;
		bool counted =
			led && facts->turns.mask >> p & 1 && same_turns(&f->turns, &facts->turns);

		if ((want->fact == POINTER && !kept) || (f->turns.mask >> p & 1 && !counted))
			v->not_carried |= 1 << p;
	}
	v->once_again = (f->reg[P0].fact == POINTER && v->not_carried & 1) ||
			(f->reg[P1].fact == POINTER && v->not_carried & 2) ||
			f->turns.mask & v->not_carried;
	return !v->once_again;
}
