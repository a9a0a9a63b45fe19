/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IN, OUT, INS, OUTS, and who may use them: IOPL, then the permission bitmap of the TSS (SDM vol. 1
 * section 19.5). Hot; the bus is called with the guest's FPU state put away.
 */
#include "cpu/helper.h"

static bool refuse(struct cpu *cpu)
{
	fault_error(cpu, VEC_GP, 0);
	return false;
}

/* May the current code use @size ports from @port? #GP(0) if not. */
static bool io_allowed(struct cpu *cpu, u16 port, unsigned size)
{
	const struct x86_segment *tr = &cpu->seg[SEG_TR];
	u16 map, bits;
	u32 at;

	if (!is_protected(cpu) || cpu->cpl <= cpu_iopl(cpu))
		return true;
	if (!(tr->attr & SEG_ATTR_P) || !(tr->attr & 8) || tr->limit < 0x67)
		return refuse(cpu);
	if (!mem_read(cpu, tr->base + 0x66, &map, 2, ACCESS_R | ACCESS_SYSTEM))
		return false;
	at = map + port / 8;
	if (at + 1 > tr->limit)
		return refuse(cpu);
	if (!mem_read(cpu, tr->base + at, &bits, 2, ACCESS_R | ACCESS_SYSTEM))
		return false;
	return bits >> (port & 7) & ((1u << size) - 1) ? refuse(cpu) : true;
}

static u32 io_read(struct cpu *cpu, u16 port, unsigned size)
{
	const struct cpu_bus *bus = &cpu->vm->config.bus;
	u32 value = 0;

	fpu_leave(cpu);
	bus->pio(bus->opaque, cpu->index, port, &value, size, false);
	return value;
}

static void io_write(struct cpu *cpu, u16 port, u32 value, unsigned size)
{
	const struct cpu_bus *bus = &cpu->vm->config.bus;

	fpu_leave(cpu);
	bus->pio(bus->opaque, cpu->index, port, &value, size, true);
}

/* E4..E7 name the port by an immediate, EC..EF by DX; an even opcode moves one byte. */
static u16 port_of(const struct cpu *cpu, const struct insn *insn)
{
	return insn->opcode & 8 ? cpu->gpr[RDX] : insn->imm & 0xff;
}

static unsigned width_of(const struct insn *insn)
{
	if (!(insn->opcode & 1))
		return 1;
	return insn->opsize == 2 ? 2 : 4;
}

enum helper_result do_in(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = width_of(insn);
	u16 port = port_of(cpu, insn);

	if (!io_allowed(cpu, port, size))
		return HELPER_FAULT;
	gpr_set(cpu, RAX, size, io_read(cpu, port, size));
	return HELPER_NEXT;
}

enum helper_result do_out(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = width_of(insn);
	u16 port = port_of(cpu, insn);

	if (!io_allowed(cpu, port, size))
		return HELPER_FAULT;
	io_write(cpu, port, gpr_get(cpu, RAX, size), size);
	return HELPER_NEXT;
}

/* ---- INS and OUTS ---------------------------------------------------------------------------- */

struct port_string {
	unsigned size, asize;
	u16 port;
	bool rep;
};

static struct port_string port_string(const struct cpu *cpu, const struct insn *insn)
{
	return (struct port_string){ .size = width_of(insn),
				     .asize = insn->addrsize,
				     .port = cpu->gpr[RDX],
				     .rep = insn->prefixes & (PFX_REP | PFX_REPNE) };
}

/* One element is through: moves @reg and counts. */
static void step(struct cpu *cpu, const struct port_string *s, unsigned reg)
{
	s64 by = cpu->rflags & FLAG_DF ? -(s64)s->size : s->size;

	gpr_set(cpu, reg, s->asize, cpu->gpr[reg] + by);
	if (s->rep)
		gpr_set(cpu, RCX, s->asize, cpu->gpr[RCX] - 1);
}

static bool finished(const struct cpu *cpu, const struct port_string *s)
{
	return !s->rep || !gpr_get(cpu, RCX, s->asize);
}

static bool must_stop(const struct cpu *cpu)
{
	return (cpu->rflags & FLAG_TF) || __atomic_load_n(&cpu->exit_request, __ATOMIC_RELAXED);
}

/* Nothing is read from the port unless it can be stored. */
static bool ins_one(struct cpu *cpu, const struct port_string *s)
{
	gva_t gva;
	u32 value;

	if (!io_allowed(cpu, s->port, s->size) ||
	    !seg_check(cpu, SEG_ES, gpr_get(cpu, RDI, s->asize), s->size, MEM_W, &gva) ||
	    !mem_probe(cpu, gva, s->size, ACCESS_W))
		return false;
	value = io_read(cpu, s->port, s->size);
	return mem_write(cpu, gva, &value, s->size, ACCESS_W);
}

static bool outs_one(struct cpu *cpu, const struct port_string *s, unsigned seg)
{
	u32 value = 0;
	gva_t gva;

	if (!io_allowed(cpu, s->port, s->size) ||
	    !seg_check(cpu, seg, gpr_get(cpu, RSI, s->asize), s->size, MEM_R, &gva) ||
	    !mem_read(cpu, gva, &value, s->size, ACCESS_R))
		return false;
	io_write(cpu, s->port, value, s->size);
	return true;
}

enum helper_result do_ins(struct cpu *cpu, const struct insn *insn)
{
	struct port_string s = port_string(cpu, insn);

	if (s.rep && finished(cpu, &s))
		return HELPER_NEXT;
	for (;;) {
		if (!ins_one(cpu, &s))
			return HELPER_FAULT;
		step(cpu, &s, RDI);
		if (finished(cpu, &s))
			return HELPER_NEXT;
		if (must_stop(cpu))
			return HELPER_REPEAT;
	}
}

enum helper_result do_outs(struct cpu *cpu, const struct insn *insn)
{
	unsigned seg = insn_segment(cpu, insn, SEG_DS);
	struct port_string s = port_string(cpu, insn);

	if (s.rep && finished(cpu, &s))
		return HELPER_NEXT;
	for (;;) {
		if (!outs_one(cpu, &s, seg))
			return HELPER_FAULT;
		step(cpu, &s, RSI);
		if (finished(cpu, &s))
			return HELPER_NEXT;
		if (must_stop(cpu))
			return HELPER_REPEAT;
	}
}
