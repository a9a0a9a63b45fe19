/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions, interrupts and software interrupts: through the IDT to the first instruction of the
 * handler (SDM vol. 3 chapter 6; APM vol. 2 chapter 8). Hot.
 *
 *   event_deliver()   the pending fault, with the rules of double and triple faults
 *     event_enter()   one try; the mode chooses the form of table and frame
 *       enter_real()      IVT of 4-byte entries, 16-bit frame, no error codes
 *       enter_legacy()    8-byte gates; 16- and 32-bit frames; stack switch from the TSS
 *       enter_long()      16-byte gates; IST; aligned 64-bit frame
 *
 * A try that fails has written to the new stack at most: registers change after the last check.
 *
 * Deviations: a task gate raises #TS with the selector of the gate's TSS (no task switching).
 */
#include "cpu/helper.h"

/* ---- raising --------------------------------------------------------------------------------- */

void fault(struct cpu *cpu, unsigned vector)
{
	cpu->fault = (struct fault){ .vector = vector };
	cpu->fault_pending = 1;
}

void fault_error(struct cpu *cpu, unsigned vector, u32 error)
{
	cpu->fault = (struct fault){ .vector = vector, .has_error = 1, .error = error };
	cpu->fault_pending = 1;
}

void fault_page(struct cpu *cpu, gva_t gva, u32 error)
{
	cpu->fault = (struct fault){ .vector = VEC_PF, .has_error = 1, .error = error, .cr2 = gva };
	cpu->fault_pending = 1;
}

static bool fail(struct cpu *cpu, unsigned vector, u32 error)
{
	fault_error(cpu, vector, error);
	return false;
}

/* ---- what all modes share -------------------------------------------------------------------- */

/* EXT: the event came from outside the program, or is itself an exception (SDM 6.13). */
static u32 ext_of(const struct fault *f)
{
	return !f->soft;
}

/* Error code that names an IDT entry. */
static u32 idt_error(const struct fault *f)
{
	return f->vector << 3 | 2 | ext_of(f);
}

static bool is_benign(const struct fault *f)
{
	switch (f->vector) {
	case VEC_DE:
	case VEC_DF:
	case VEC_TS:
	case VEC_NP:
	case VEC_SS:
	case VEC_GP:
	case VEC_PF: return f->soft || f->external;
	default: return true;
	}
}

/* RFLAGS as pushed: a fault is restarted with RF set, so that an instruction breakpoint does not
 * fire twice; traps and interrupts have finished their instruction (SDM vol. 3 section 17.3.1.1).
 */
static u64 pushed_flags(const struct cpu *cpu, const struct fault *f)
{
	u64 flags = (cpu->rflags & ~FLAG_RF) | 2;
	bool trap = f->soft || f->external || f->vector == VEC_DB;

	return trap ? flags : flags | FLAG_RF;
}

/* A code segment for a handler. @ext is OR-ed into error codes. */
static bool handler_cs(struct cpu *cpu, u16 selector, u32 ext, struct desc *cs)
{
	u32 error = sel_error(selector) | ext;

	if (sel_is_null(selector))
		return fail(cpu, VEC_GP, ext);
	if (!desc_read(cpu, selector, cs, VEC_GP, error))
		return false;
	if (!desc_is_code(cs) || desc_dpl(cs) > cpu->cpl)
		return fail(cpu, VEC_GP, error);
	if (cpu_long_mode(cpu) && (!(cs->raw & DESC_L) || (cs->raw & DESC_DB)))
		return fail(cpu, VEC_GP, error);
	if (!(cs->raw & DESC_P))
		return fail(cpu, VEC_NP, error);
	return desc_touch(cpu, cs);
}

static unsigned handler_cpl(const struct cpu *cpu, const struct desc *cs)
{
	return cs->raw & DESC_CONFORMING ? cpu->cpl : desc_dpl(cs);
}

static void clear_flags(struct cpu *cpu, bool interrupt_gate)
{
	cpu->rflags &= ~(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM);
	if (interrupt_gate)
		cpu->rflags &= ~FLAG_IF;
}

/* ---- long mode ------------------------------------------------------------------------------- */

struct gate {
	u16 selector;
	u8 type; /* with the S bit, which must be 0 */
	u8 dpl;
	u8 ist;
	bool present;
	u64 offset;
};

static struct gate gate_decode(u64 low, u64 high)
{
	return (struct gate){ .selector = low >> 16,
			      .type = low >> 40 & 0x1f,
			      .dpl = low >> 45 & 3,
			      .ist = low >> 32 & 7,
			      .present = low >> 47 & 1,
			      .offset = (low & 0xffff) | (low >> 32 & 0xffff0000) | high << 32 };
}

/* Reads and checks the gate of @f; @size is 8 or 16 bytes. */
static bool gate_read(struct cpu *cpu, const struct fault *f, unsigned size, struct gate *gate)
{
	unsigned at = f->vector * size;
	u64 raw[2] = { 0, 0 };
	bool known;

	if (at + size - 1 > cpu->idtr.limit)
		return fail(cpu, VEC_GP, idt_error(f));
	if (!mem_read(cpu, cpu->idtr.base + at, raw, size, ACCESS_R | ACCESS_SYSTEM))
		return false;
	*gate = gate_decode(raw[0], raw[1]);
	known = (gate->type & 0x1e) == 0xe ||
		(size == 8 && ((gate->type & 0x1e) == 6 || gate->type == 5));
	if (!known || (f->soft && gate->dpl < cpu->cpl))
		return fail(cpu, VEC_GP, idt_error(f));
	if (!gate->present)
		return fail(cpu, VEC_NP, idt_error(f));
	return true;
}

/* Stack for a handler at privilege @cpl: IST, the TSS's, or the current one. */
static bool long_stack(struct cpu *cpu, const struct gate *gate, unsigned cpl, u32 ext,
		       struct stack *stack)
{
	u64 rsp = cpu->gpr[RSP];

	if (gate->ist) {
		if (!tss_stack_long(cpu, 36 + (gate->ist - 1) * 8, ext, &rsp))
			return false;
	} else if (cpl != cpu->cpl) {
		if (!tss_stack_long(cpu, 4 + cpl * 8, ext, &rsp))
			return false;
	}
	stack_open_at(stack, NULL, rsp & ~15ull);
	stack->error = ext;
	if (cpl == cpu->cpl)
		stack->access = 0;
	return true;
}

static bool enter_long(struct cpu *cpu, const struct fault *f)
{
	u32 ext = ext_of(f);
	struct stack stack;
	struct gate gate;
	struct desc cs;
	unsigned cpl;

	if (!gate_read(cpu, f, 16, &gate) || !handler_cs(cpu, gate.selector, ext, &cs))
		return false;
	cpl = handler_cpl(cpu, &cs);
	if (!is_canonical(gate.offset))
		return fail(cpu, VEC_GP, ext);
	if (!long_stack(cpu, &gate, cpl, ext, &stack) ||
	    !stack_push(cpu, &stack, cpu->seg[SEG_SS].selector, 8) ||
	    !stack_push(cpu, &stack, cpu->gpr[RSP], 8) ||
	    !stack_push(cpu, &stack, pushed_flags(cpu, f), 8) ||
	    !stack_push(cpu, &stack, cpu->seg[SEG_CS].selector, 8) ||
	    !stack_push(cpu, &stack, cpu->rip, 8) ||
	    (f->has_error && !stack_push(cpu, &stack, f->error, 8)))
		return false;

	if (cpl != cpu->cpl)
		seg_install_null_ss(cpu, cpl);
	seg_install_cs(cpu, gate.selector, &cs, cpl);
	cpu->gpr[RSP] = stack.sp;
	cpu->rip = gate.offset;
	clear_flags(cpu, !(gate.type & 1));
	return true;
}

/* ---- protected mode -------------------------------------------------------------------------- */

static bool legacy_stack(struct cpu *cpu, unsigned cpl, u32 ext, struct stack *stack)
{
	struct x86_segment ss;
	u16 selector;
	u32 esp;

	if (cpl == cpu->cpl) {
		stack_open(cpu, stack);
		stack->error = ext;
		return true;
	}
	if (!tss_stack_legacy(cpu, cpl, ext, &selector, &esp) ||
	    !seg_prepare_ss(cpu, selector, cpl, VEC_TS, ext, false, &ss))
		return false;
	stack_open_at(stack, &ss, esp);
	stack->error = sel_error(selector) | ext;
	return true;
}

static bool legacy_frame(struct cpu *cpu, const struct fault *f, struct stack *stack, unsigned size,
			 bool inner)
{
	if (inner && (!stack_push(cpu, stack, cpu->seg[SEG_SS].selector, size) ||
		      !stack_push(cpu, stack, cpu->gpr[RSP], size)))
		return false;
	return stack_push(cpu, stack, pushed_flags(cpu, f), size) &&
	       stack_push(cpu, stack, cpu->seg[SEG_CS].selector, size) &&
	       stack_push(cpu, stack, cpu->rip, size) &&
	       (!f->has_error || stack_push(cpu, stack, f->error, size));
}

static bool enter_legacy(struct cpu *cpu, const struct fault *f)
{
	u32 ext = ext_of(f);
	struct x86_segment target;
	struct stack stack;
	struct gate gate;
	struct desc cs;
	unsigned cpl;
	bool inner;

	if (!gate_read(cpu, f, 8, &gate))
		return false;
	if (gate.type == 5) /* task gate */
		return fail(cpu, VEC_TS, sel_error(gate.selector) | ext);
	if (!handler_cs(cpu, gate.selector, ext, &cs))
		return false;
	if (!(gate.type & 8))
		gate.offset &= 0xffff;
	target = desc_segment(&cs, gate.selector);
	cpl = handler_cpl(cpu, &cs);
	inner = cpl != cpu->cpl;
	if (!legacy_stack(cpu, cpl, ext, &stack))
		return false;
	if (!seg_in_limit(&target, (u32)gate.offset, 1))
		return fail(cpu, VEC_GP, ext);
	if (!legacy_frame(cpu, f, &stack, gate.type & 8 ? 4 : 2, inner))
		return false;

	if (inner) {
		seg_install(cpu, SEG_SS, &stack.ss);
		cpu->gpr[RSP] = 0; /* only SP is below a 16-bit stack */
	}
	stack_commit(cpu, &stack);
	seg_install_cs(cpu, gate.selector, &cs, cpl);
	cpu->rip = (u32)gate.offset;
	clear_flags(cpu, !(gate.type & 1));
	return true;
}

/* ---- real mode ------------------------------------------------------------------------------- */

static bool enter_real(struct cpu *cpu, const struct fault *f)
{
	unsigned at = f->vector * 4;
	struct stack stack;
	u32 target;

	if (at + 3 > cpu->idtr.limit)
		return fail(cpu, VEC_GP, 0);
	if (!mem_read(cpu, cpu->idtr.base + at, &target, 4, ACCESS_R | ACCESS_SYSTEM))
		return false;
	stack_open(cpu, &stack);
	if (!stack_push(cpu, &stack, pushed_flags(cpu, f), 2) ||
	    !stack_push(cpu, &stack, cpu->seg[SEG_CS].selector, 2) ||
	    !stack_push(cpu, &stack, cpu->rip, 2))
		return false;
	stack_commit(cpu, &stack);
	seg_install_real(cpu, SEG_CS, target >> 16);
	cpu->rip = target & 0xffff;
	cpu->rflags &= ~(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
	return true;
}

/* ---- delivery -------------------------------------------------------------------------------- */

bool event_enter(struct cpu *cpu, const struct fault *f)
{
	bool program = !f->soft && !f->external;
	bool ok;

	if (f->vector == VEC_PF && program)
		cpu->cr2 = f->cr2;
	if (!is_protected(cpu))
		ok = enter_real(cpu, f);
	else if (cpu_long_mode(cpu))
		ok = enter_long(cpu, f);
	else
		ok = enter_legacy(cpu, f);
	if (!ok)
		return false;
	if (f->vector == VEC_DB && program)
		cpu->dr[7] &= ~BIT(13); /* GD: the handler may use the debug registers */
	cpu->intr_shadow = 0;
	cpu_update_ctx(cpu);
	return true;
}

/* @second was raised while @first was delivered: SDM vol. 3 table 6-5. False: shutdown. */
static bool combine(struct fault *first, const struct fault *second)
{
	bool worse = !is_benign(first) && !is_benign(second);

	if (first->vector == VEC_DF && worse)
		return false;
	/* a page fault after a contributory exception is simply delivered */
	if (worse && !(first->vector != VEC_PF && second->vector == VEC_PF))
		*first = (struct fault){ .vector = VEC_DF, .has_error = 1 };
	else
		*first = *second;
	return true;
}

bool event_deliver(struct cpu *cpu)
{
	struct fault f = cpu->fault;

	cpu->fault_pending = 0;
	while (!event_enter(cpu, &f)) {
		cpu->fault_pending = 0;
		if (!combine(&f, &cpu->fault))
			return false;
	}
	return true;
}

bool event_interrupt(struct cpu *cpu, unsigned vector)
{
	cpu->fault = (struct fault){ .vector = vector, .external = 1 };
	if (vector == VEC_NMI)
		cpu->nmi_masked = 1;
	return event_deliver(cpu);
}

/* ---- software interrupts --------------------------------------------------------------------- */

/* Delivered here rather than as a pending fault: the frame names the next instruction, but a fault
 * on the way names this one. */
static enum helper_result interrupt_self(struct cpu *cpu, const struct insn *insn, unsigned vector,
					 bool soft)
{
	struct fault f = { .vector = vector, .soft = soft };
	u64 rip = cpu->rip;

	cpu->rip = (rip + insn->len) & (cpu_64bit(cpu) ? ~0ull : 0xffffffff);
	if (event_enter(cpu, &f)) {
		cpu->single_step = 0; /* TF went with the event */
		return HELPER_JUMP;
	}
	cpu->rip = rip;
	return HELPER_FAULT;
}

enum helper_result do_int(struct cpu *cpu, const struct insn *insn)
{
	return interrupt_self(cpu, insn, insn->imm & 0xff, true);
}

enum helper_result do_int3(struct cpu *cpu, const struct insn *insn)
{
	return interrupt_self(cpu, insn, VEC_BP, true);
}

enum helper_result do_into(struct cpu *cpu, const struct insn *insn)
{
	if (!(cpu->rflags & FLAG_OF))
		return HELPER_NEXT;
	return interrupt_self(cpu, insn, VEC_OF, true);
}

/* INT1 is a trap that ignores the gate's DPL, like the hardware's own #DB. */
enum helper_result do_int1(struct cpu *cpu, const struct insn *insn)
{
	return interrupt_self(cpu, insn, VEC_DB, false);
}
