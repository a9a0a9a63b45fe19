/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of helpers share: operands, addresses, the stack, descriptors; and the list of
 * the helpers themselves, one function per instruction or group, grouped by file. sys.c's table
 * says which mnemonic goes where.
 *
 * The rule of all helpers: every check and every access that may fault comes first, then the
 * architectural state changes. A function that returns bool returns false with cpu->fault set.
 */
#ifndef LODGE_CPU_HELPER_H
#define LODGE_CPU_HELPER_H

#include "cpu/run.h"
#include "cpu/vcpu.h"

/* ---- small things ---------------------------------------------------------------------------- */

static inline bool is_canonical(u64 address)
{
	return (u64)((s64)(address << 16) >> 16) == address;
}

static inline bool is_protected(const struct cpu *cpu)
{
	return cpu->cr0 & CR0_PE;
}

static inline unsigned cpu_iopl(const struct cpu *cpu)
{
	return (cpu->rflags & FLAG_IOPL) >> 12;
}

static inline u64 size_mask(unsigned size)
{
	return size >= 8 ? ~0ull : BIT(size * 8) - 1;
}

static inline u64 gpr_get(const struct cpu *cpu, unsigned reg, unsigned size)
{
	return cpu->gpr[reg] & size_mask(size);
}

/* As the silicon writes a register: 32 bits clear the upper half, 8 and 16 keep the rest. */
static inline void gpr_set(struct cpu *cpu, unsigned reg, unsigned size, u64 value)
{
	if (size == 4)
		cpu->gpr[reg] = (u32)value;
	else
		cpu->gpr[reg] = (cpu->gpr[reg] & ~size_mask(size)) | (value & size_mask(size));
}

static inline void flag_set(struct cpu *cpu, u64 flag, bool on)
{
	cpu->rflags = on ? cpu->rflags | flag : cpu->rflags & ~flag;
}

/* A helper that ends with an exception. */
static inline enum helper_result raise_fault(struct cpu *cpu, unsigned vector)
{
	fault(cpu, vector);
	return HELPER_FAULT;
}

static inline enum helper_result raise_error(struct cpu *cpu, unsigned vector, u32 error)
{
	fault_error(cpu, vector, error);
	return HELPER_FAULT;
}

/* ---- operand.c: addresses and operands ------------------------------------------------------- */

/* Effective address of the explicit memory operand, truncated to the address size. */
u64 insn_effective(const struct cpu *cpu, const struct insn *insn);
/* Reads or writes @size bytes of the explicit operand, @at bytes behind its start. */
bool insn_load(struct cpu *cpu, const struct insn *insn, unsigned at, void *data, unsigned size);
bool insn_store(struct cpu *cpu, const struct insn *insn, unsigned at, const void *data,
		unsigned size);
/* The r/m operand, register or memory, at most 8 bytes. */
bool insn_rm_load(struct cpu *cpu, const struct insn *insn, unsigned size, u64 *value);
bool insn_rm_store(struct cpu *cpu, const struct insn *insn, unsigned size, u64 value);
/* Segment of an implicit operand that a prefix may override. */
unsigned insn_segment(const struct cpu *cpu, const struct insn *insn, unsigned standard);
/* Is [@offset, @offset + @size) inside the segment's limit? Legacy modes. */
bool seg_in_limit(const struct x86_segment *seg, u64 offset, unsigned size);

/* A stack while pushes and pops are made; registers change only by stack_commit(). */
struct stack {
	u64 sp;
	u64 mask;  /* which bits of SP count: 64, 32 or 16 */
	bool flat; /* 64-bit mode: no segment */
	struct x86_segment ss;
	unsigned access; /* ACCESS_SYSTEM: of an inner level that is not current yet */
	u32 error;       /* error code of #SS */
};

/* The current stack. */
void stack_open(const struct cpu *cpu, struct stack *stack);
/* Another stack of segment @ss (NULL: 64-bit) with pointer @sp. */
void stack_open_at(struct stack *stack, const struct x86_segment *ss, u64 sp);
bool stack_push(struct cpu *cpu, struct stack *stack, u64 value, unsigned size);
bool stack_pop(struct cpu *cpu, struct stack *stack, u64 *value, unsigned size);
/* Moves SP up over @bytes. */
void stack_skip(struct stack *stack, unsigned bytes);
void stack_commit(struct cpu *cpu, const struct stack *stack);

/* ---- mmu.c: RAM for bulk access -------------------------------------------------------------- */

struct mem_ref {
	u8 *host; /* NULL: a device, or the range crosses a page: use mem_read() and mem_write() */
	gpa_t gpa;
	const struct ram_slot *slot; /* NULL: the TLB vouches for writes */
};

/* Finds the host address of @gva. False: fault. After writing, call mem_ref_written() with the
 * written range relative to @gva, which stays inside the page. */
bool mem_ref(struct cpu *cpu, gva_t gva, unsigned size, unsigned access, struct mem_ref *ref);
void mem_ref_written(struct cpu *cpu, const struct mem_ref *ref, s64 offset, unsigned size);

/* ---- seg.c: descriptors and segment registers ------------------------------------------------ */

struct desc {
	u64 raw;
	u64 high; /* second half of a 16-byte system descriptor, if read */
	gva_t addr;
};

#define DESC_CODE       BIT(43) /* type bit 3 of a code or data descriptor */
#define DESC_CONFORMING BIT(42) /* of code; expand-down of data */
#define DESC_READABLE   BIT(41) /* of code; writable of data */
#define DESC_S          BIT(44)
#define DESC_P          BIT(47)
#define DESC_L          BIT(53)
#define DESC_DB         BIT(54)

static inline unsigned desc_dpl(const struct desc *d)
{
	return d->raw >> 45 & 3;
}

/* Type field; of system descriptors when DESC_S is clear. */
static inline unsigned desc_type(const struct desc *d)
{
	return d->raw >> 40 & 15;
}

static inline bool desc_is_code(const struct desc *d)
{
	return (d->raw & (DESC_S | DESC_CODE)) == (DESC_S | DESC_CODE);
}

static inline u16 sel_error(u16 selector)
{
	return selector & 0xfffc;
}

static inline bool sel_is_null(u16 selector)
{
	return !(selector & 0xfffc);
}

/* Reads the descriptor of a selector that is not null; beyond the table: @vector(@error). */
bool desc_read(struct cpu *cpu, u16 selector, struct desc *d, unsigned vector, u32 error);
/* The second half of a system descriptor in long mode. */
bool desc_read_high(struct cpu *cpu, struct desc *d);
struct x86_segment desc_segment(const struct desc *d, u16 selector);
/* Sets the accessed bit, in memory and in @d. */
bool desc_touch(struct cpu *cpu, struct desc *d);

/* Checks @selector for SS at privilege @cpl and fills @out. Bad: @vector (#GP or #TS) with the
 * selector | @ext, not present: #SS. @null_ok: 64-bit mode takes a null selector. */
bool seg_prepare_ss(struct cpu *cpu, u16 selector, unsigned cpl, unsigned vector, u32 ext,
		    bool null_ok, struct x86_segment *out);
/* Loads DS, ES, FS, GS or SS as MOV does. */
bool seg_load(struct cpu *cpu, unsigned seg, u16 selector);
void seg_install(struct cpu *cpu, unsigned seg, const struct x86_segment *value);
void seg_install_null_ss(struct cpu *cpu, unsigned cpl);
/* Sets CS from a checked descriptor, RPL and CPL to @cpl. */
void seg_install_cs(struct cpu *cpu, u16 selector, const struct desc *d, unsigned cpl);
void seg_install_real(struct cpu *cpu, unsigned seg, u16 selector);
/* SYSCALL and its kin: flat segments that no descriptor backs. */
void seg_install_flat_cs(struct cpu *cpu, u16 selector, bool long_mode, unsigned cpl);
void seg_install_flat_ss(struct cpu *cpu, u16 selector, unsigned cpl);
/* After a return to an outer level: data segments that it may not use become null. */
void seg_drop_inner(struct cpu *cpu);
/* Stack of privilege @cpl from the TSS. */
bool tss_stack_legacy(struct cpu *cpu, unsigned cpl, u32 ext, u16 *ss, u32 *esp);
bool tss_stack_long(struct cpu *cpu, unsigned offset, u32 ext, u64 *rsp);

typedef enum helper_result helper_fn(struct cpu *cpu, const struct insn *insn);

helper_fn do_mov_sreg, do_push_sreg, do_pop_sreg, do_load_far_pointer;
helper_fn do_lgdt, do_lidt, do_sgdt, do_sidt, do_lldt, do_ltr, do_sldt, do_str;
helper_fn do_lar, do_lsl, do_verr, do_verw, do_arpl;

/* ---- event.c --------------------------------------------------------------------------------- */

/* One try to deliver @f; false: a nested fault is pending and nothing has changed. */
bool event_enter(struct cpu *cpu, const struct fault *f);
helper_fn do_int, do_int3, do_into, do_int1;

/* ---- far.c: far transfers, IRET -------------------------------------------------------------- */

helper_fn do_jmp_far, do_call_far, do_ret_far, do_iret;

/* ---- near.c: near branches that are not inline -------------------------------------------------
 */

helper_fn near_execute;

/* ---- syscall.c ------------------------------------------------------------------------------- */

helper_fn do_syscall, do_sysret, do_sysenter, do_sysexit, do_swapgs;
helper_fn do_rdfsbase, do_rdgsbase, do_wrfsbase, do_wrgsbase;

/* ---- control.c: control and debug registers, address translation ----------------------------- */

helper_fn do_mov_cr, do_mov_dr, do_clts, do_lmsw, do_smsw;
helper_fn do_invlpg, do_invpcid;

/* ---- io.c ------------------------------------------------------------------------------------ */

helper_fn do_in, do_out, do_ins, do_outs;

/* ---- legacy.c: decimal arithmetic and other instructions of old ------------------------------ */

helper_fn do_aaa, do_aas, do_aam, do_aad, do_daa, do_das, do_salc, do_xlat;
helper_fn do_bound, do_enter, do_pusha, do_popa;

#endif
