/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions: MOVS, STOS, LODS, SCAS, CMPS and their repeat prefixes.
 *
 * Forward MOVS and STOS go by pieces that stay, on each side, inside one page or several that the
 * TLB knows and that follow each other in the host too, with the host's own REP MOVS or REP STOS on
 * host addresses: two guest pages overlap exactly when their host pages do, so overlapping copies
 * come out as on the silicon. Everything else goes element by element. After each piece the
 * registers say how far it came, so a fault or an interrupt is precise; a pending request ends the
 * instruction with HELPER_REPEAT.
 *
 * Hot. Reference: SDM vol. 1 section 7.3.9, vol. 2 "REP".
 */
#include "cpu/run.h"

struct string_op {
	struct cpu *cpu;
	unsigned size;     /* bytes of an element */
	unsigned addrsize; /* 2, 4, 8 */
	unsigned seg;      /* of the source */
	bool backward;
};

static u64 reg_get(const struct string_op *op, unsigned reg)
{
	u64 v = op->cpu->gpr[reg];

	return op->addrsize == 8 ? v : op->addrsize == 4 ? (u32)v : (u16)v;
}

static void reg_set(const struct string_op *op, unsigned reg, u64 v)
{
	u64 *r = &op->cpu->gpr[reg];

	*r = op->addrsize == 8 ? v : op->addrsize == 4 ? (u32)v : (*r & ~0xffffull) | (u16)v;
}

static void reg_advance(const struct string_op *op, unsigned reg, u64 elements)
{
	u64 bytes = elements * op->size;

	reg_set(op, reg, reg_get(op, reg) + (op->backward ? -bytes : bytes));
}

/* Linear address of an element at @reg (RSI: source segment, RDI: ES). */
static bool element(const struct string_op *op, unsigned reg, unsigned access, gva_t *linear)
{
	struct cpu *cpu = op->cpu;
	unsigned seg = reg == RDI ? SEG_ES : op->seg;
	u64 offset = reg_get(op, reg);

	if (cpu->ctx & CTX_NONFLAT)
		return seg_check(cpu, seg, offset, op->size, access, linear);
	if (seg == SEG_FS || seg == SEG_GS)
		offset += cpu->seg[seg].base;
	*linear = cpu_64bit(cpu) ? offset : (u32)offset;
	return true;
}

static const struct tlb *current_tlb(const struct cpu *cpu)
{
	if (cpu->cpl == 3)
		return &cpu->tlb[TLB_USER];
	return &cpu->tlb[cpu->ctx & CTX_AC ? TLB_KERNEL_AC : TLB_KERNEL];
}

/* Host address of @gva for direct access to the rest of its page; NULL: fault pending or not
 * direct. */
static u8 *direct(struct cpu *cpu, gva_t gva, unsigned access)
{
	const struct tlb *tlb = current_tlb(cpu);
	const struct tlb_entry *e = &tlb->e[tlb_index(tlb, gva)];
	u64 tag = access == ACCESS_W ? e->write_tag : e->read_tag;

	if (likely(tag == (gva & PAGE_MASK)))
		return (u8 *)(uintptr_t)(e->host + (gva & ~PAGE_MASK));
	return mmu_fill(cpu, gva, 1, access);
}

#define REACH_MAX (64 * KIB) /* of a piece: requests wait for its end */

static u64 room_in_page(gva_t gva)
{
	return PAGE_SIZE - (gva & ~PAGE_MASK);
}

/* How many whole elements, at least 0, fit before the page ends on both sides. */
static u64 piece(const struct string_op *op, u64 count, gva_t a, gva_t b)
{
	u64 room = MIN(room_in_page(a), room_in_page(b)) / op->size;
	u64 wrap =
		op->addrsize == 2 ? 64 : ~0ull; /* stay clear of the 64 KiB wrap: few at a time */

	return MIN(MIN(count, room), wrap);
}

/* How many bytes, up to about @want, may be accessed so from @gva on, which is at @host; of
 * addresses that do not wrap before. */
static u64 reach(const struct string_op *op, gva_t gva, const u8 *host, unsigned access, u64 want)
{
	const struct tlb *tlb = current_tlb(op->cpu);
	u64 bytes = room_in_page(gva);

	while (bytes < want && bytes < REACH_MAX) {
		const struct tlb_entry *e = &tlb->e[tlb_index(tlb, gva + bytes)];
		u64 tag = access == ACCESS_W ? e->write_tag : e->read_tag;

		if (tag != gva + bytes || e->host != (u64)host + bytes)
			break;
		bytes += PAGE_SIZE;
	}
	return bytes;
}

static void native_movs(unsigned size, u8 *to, const u8 *from, u64 n)
{
	switch (size) {
	case 1: __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); break;
	case 2: __asm__ volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); break;
	case 4: __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); break;
	default: __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); break;
	}
}

static void native_stos(unsigned size, u8 *to, u64 value, u64 n)
{
	switch (size) {
	case 1: __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory"); break;
	case 2: __asm__ volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(value) : "memory"); break;
	case 4: __asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(value) : "memory"); break;
	default: __asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(value) : "memory"); break;
	}
}

/* One piece of MOVS, at most @count elements. Returns how many were moved; 0: fault pending. */
static u64 movs(const struct string_op *op, u64 count)
{
	struct cpu *cpu = op->cpu;
	gva_t src, dst;
	u8 *from, *to;
	u64 value, n;

	if (!element(op, RSI, MEM_R, &src) || !element(op, RDI, MEM_W, &dst))
		return 0;
	n = op->backward || cpu->ctx & CTX_NONFLAT ? 0 : piece(op, count, src, dst);
	if (n) {
		from = direct(cpu, src, ACCESS_R);
		to = from ? direct(cpu, dst, ACCESS_W) : NULL;
		if (to && n < count && op->addrsize == 8) {
			u64 room = reach(op, src, from, ACCESS_R, count * op->size);

			room = MIN(room, reach(op, dst, to, ACCESS_W, count * op->size));
			n = MIN(count, MAX(n, room / op->size));
		}
		if (to) {
			native_movs(op->size, to, from, n);
			return n;
		}
		if (cpu->fault_pending)
			return 0;
	}
	if (!mem_read(cpu, src, &value, op->size, ACCESS_R) ||
	    !mem_write(cpu, dst, &value, op->size, ACCESS_W))
		return 0;
	return 1;
}

/* A page that holds code takes its bytes in one go, so that it is looked at once. */
static bool stos_bounced(struct cpu *cpu, gva_t dst, unsigned size, u64 value, u64 *n)
{
	u64 buffer[32];
	gpa_t gpa;

	*n = MIN(*n, sizeof(buffer) / size);
	if (!mmu_translate(cpu, dst, ACCESS_W, &gpa))
		return false;
	if (!ram_ptr(cpu->vm, gpa, NULL))
		*n = 1; /* a device sees elements */
	native_stos(size, (u8 *)buffer, value, *n);
	return mem_write(cpu, dst, buffer, *n * size, ACCESS_W);
}

static u64 stos(const struct string_op *op, u64 count)
{
	struct cpu *cpu = op->cpu;
	u64 value = cpu->gpr[RAX], n;
	gva_t dst;
	u8 *to;

	if (!element(op, RDI, MEM_W, &dst))
		return 0;
	n = op->backward || cpu->ctx & CTX_NONFLAT ? 0 : piece(op, count, dst, dst);
	if (n) {
		to = direct(cpu, dst, ACCESS_W);
		if (to && n < count && op->addrsize == 8) {
			u64 room = reach(op, dst, to, ACCESS_W, count * op->size);

			n = MIN(count, MAX(n, room / op->size));
		}
		if (to) {
			native_stos(op->size, to, value, n);
			return n;
		}
		if (cpu->fault_pending)
			return 0;
		return stos_bounced(cpu, dst, op->size, value, &n) ? n : 0;
	}
	return mem_write(cpu, dst, &value, op->size, ACCESS_W);
}

static u64 lods(const struct string_op *op)
{
	u64 *rax = &op->cpu->gpr[RAX];
	u64 value = 0;
	gva_t src;

	if (!element(op, RSI, MEM_R, &src) || !mem_read(op->cpu, src, &value, op->size, ACCESS_R))
		return 0;
	switch (op->size) {
	case 1: *rax = (*rax & ~0xffull) | value; break;
	case 2: *rax = (*rax & ~0xffffull) | value; break;
	default: *rax = value;
	}
	return 1;
}

/* Flags of @a - @b in the operand size, by the host's own CMP. */
static void compare(struct cpu *cpu, unsigned size, u64 a, u64 b)
{
	unsigned shift = 64 - 8 * size;
	u8 diff = a - b, overflow;
	u64 flags;
	u16 ax;

	/* shifted to the top, all but AF and PF come out as in the narrow size */
	__asm__("cmp %3, %2\n\tlahf\n\tseto %1"
		: "=&a"(ax), "=q"(overflow)
		: "r"(a << shift), "r"(b << shift)
		: "cc");
	flags = (ax >> 8) & (FLAG_CF | FLAG_ZF | FLAG_SF);
	flags |= overflow ? FLAG_OF : 0;
	flags |= (a & 15) < (b & 15) ? FLAG_AF : 0;
	flags |= __builtin_parity(diff) ? 0 : FLAG_PF;
	cpu->rflags = (cpu->rflags & ~FLAGS_ARITH) | flags;
}

static u64 scas(const struct string_op *op)
{
	u64 value = 0;
	gva_t dst;

	if (!element(op, RDI, MEM_R, &dst) || !mem_read(op->cpu, dst, &value, op->size, ACCESS_R))
		return 0;
	compare(op->cpu, op->size, op->cpu->gpr[RAX], value);
	return 1;
}

static u64 cmps(const struct string_op *op)
{
	u64 a = 0, b = 0;
	gva_t src, dst;

	if (!element(op, RSI, MEM_R, &src) || !element(op, RDI, MEM_R, &dst) ||
	    !mem_read(op->cpu, src, &a, op->size, ACCESS_R) ||
	    !mem_read(op->cpu, dst, &b, op->size, ACCESS_R))
		return 0;
	compare(op->cpu, op->size, a, b);
	return 1;
}

enum string_kind { MOVS, CMPS, STOS, LODS, SCAS };

static enum string_kind kind_of(const struct insn *insn)
{
	switch (insn->opcode & ~1) {
	case 0xa4: return MOVS;
	case 0xa6: return CMPS;
	case 0xaa: return STOS;
	case 0xac: return LODS;
	default: return SCAS;
	}
}

static u64 run(const struct string_op *op, enum string_kind kind, u64 count)
{
	switch (kind) {
	case MOVS: return movs(op, count);
	case STOS: return stos(op, count);
	case LODS: return lods(op);
	case SCAS: return scas(op);
	default: return cmps(op);
	}
}

static void advance(const struct string_op *op, enum string_kind kind, u64 n)
{
	if (kind == MOVS || kind == LODS || kind == CMPS)
		reg_advance(op, RSI, n);
	if (kind != LODS)
		reg_advance(op, RDI, n);
}

/* A request, or a single-step trap after each repetition (SDM vol. 3 section 17.3.1.4). */
static bool must_stop(const struct cpu *cpu)
{
	return unlikely((cpu->rflags & FLAG_TF) ||
			__atomic_load_n(&cpu->exit_request, __ATOMIC_RELAXED));
}

enum helper_result string_execute(struct cpu *cpu, const struct insn *insn)
{
	struct string_op op = { .cpu = cpu,
				.size = insn->opcode & 1 ? insn->opsize : 1,
				.addrsize = insn->addrsize,
				.seg = insn->mem.seg,
				.backward = cpu->rflags & FLAG_DF };
	enum string_kind kind = kind_of(insn);
	bool rep = insn->prefixes & (PFX_REP | PFX_REPNE);
	bool conditional = kind == CMPS || kind == SCAS;
	u64 n, count;

	if (!rep) {
		n = run(&op, kind, 1);
		if (!n)
			return HELPER_FAULT;
		advance(&op, kind, n);
		return HELPER_NEXT;
	}
	while ((count = reg_get(&op, RCX))) {
		n = run(&op, kind, cpu->rflags & FLAG_TF ? 1 : count);
		if (!n)
			return HELPER_FAULT;
		advance(&op, kind, n);
		reg_set(&op, RCX, count - n);
		if (conditional && !(insn->prefixes & PFX_REP) == !!(cpu->rflags & FLAG_ZF))
			break;
		if (must_stop(cpu) && count != n)
			return HELPER_REPEAT;
	}
	return HELPER_NEXT;
}
