/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verifier of lowered blocks (src/cpu/x86/verify.c) says yes to what the lowering makes, and no
 * to each way of breaking it: a few bytes of a good block are changed, and the reason must be the
 * right one.
 */
#include "cpu/x86/verify.h"
#include "cpu/code.h"
#include "cpu/x86/asm.h"
#include "machine.h"

#include <stdio.h>
#include <string.h>

static struct machine m;
static unsigned count, failed;

static void result(bool ok, const char *what, const char *why)
{
	count++;
	failed += !ok;
	printf("%s %u - %s%s%s\n", ok ? "ok" : "not ok", count, what, why ? ": " : "",
	       why ? why : "");
}

/* The plain block at @code's first byte, after it ran once. */
static struct block *make_block(const u8 *code, size_t bytes)
{
	struct x86_state s = m.state;

	memcpy(m.code, code, bytes);
	m.code[bytes] = 0xcc;
	cpu_vm_memory_written(m.vm, machine_gpa(&m, m.code), PAGE_SIZE);
	s.rip = CODE_GVA;
	s.gpr[RSI] = s.gpr[RDI] = DATA_GVA;
	s.gpr[RSP] = DATA_GVA + 2048;
	machine_run(&m, &s);
	return code_find(m.vm->code, machine_gpa(&m, m.code), 0, m.cpu->ctx & 0xffff, ~0ull);
}

struct change {
	const char *what, *why;
	u8 from[12], to[12];
	u8 bytes; /* of @from and @to */
	u8 skip;  /* from where in @from it is changed; for reading only */
};

/* movl $1, (%rsi); addl 4(%rsi), %eax; and INT3, which C executes: no link is bound */
static const u8 program[] = { 0xc7, 0x06, 1, 0, 0, 0, 0x03, 0x46, 0x04 };

static const struct change changes[] = {
	/* mov dword [r15], 1; 41 c7 07 */
	{ "the kernel is called",
	  "a forbidden instruction",
	  { 0x41, 0xc7, 0x07, 1, 0, 0, 0 },
	  { 0x0f, 0x05, 0x90, 0x90, 0x90, 0x90, 0x90 },
	  7 },
	{ "the host's identity is read",
	  "a forbidden instruction",
	  { 0x41, 0xc7, 0x07, 1, 0, 0, 0 },
	  { 0x0f, 0x01, 0xf9, 0x90, 0x90, 0x90, 0x90 },
	  7 },
	{ "CPUID",
	  "an instruction that no row lets the host run",
	  { 0x41, 0xc7, 0x07, 1, 0, 0, 0 },
	  { 0x0f, 0xa2, 0x90, 0x90, 0x90, 0x90, 0x90 },
	  7 },
	{ "a segment prefix",
	  "a forbidden instruction",
	  { 0x41, 0xc7, 0x07, 1, 0, 0, 0 },
	  { 0x64, 0x41, 0x89, 0x07, 0x90, 0x90, 0x90 },
	  7 },
	{ "a store off another register",
	  "guest operand off a register that is no checked pointer",
	  { 0x41, 0xc7, 0x07, 1, 0, 0, 0 },
	  { 0x41, 0xc7, 0x00, 1, 0, 0, 0 },
	  7 },
	{ "a store off the stack",
	  "memory operand off no register, or off the stack",
	  { 0x41, 0xc7, 0x07, 1, 0, 0, 0 },
	  { 0x48, 0x89, 0x04, 0x24, 0x90, 0x90, 0x90 },
	  7 },
	{ "rsp is written",
	  "rsp is written",
	  { 0x41, 0xc7, 0x07, 1, 0, 0, 0 },
	  { 0x48, 0x89, 0xc4, 0x90, 0x90, 0x90, 0x90 },
	  7 },
	{ "rbp is written",
	  "rbp is written",
	  { 0x41, 0xc7, 0x07, 1, 0, 0, 0 },
	  { 0x48, 0x89, 0xc5, 0x90, 0x90, 0x90, 0x90 },
	  7 },
	{ "a store behind what was checked",
	  "guest operand outside what was checked",
	  { 0x41, 0x03, 0x47, 0x04 },
	  { 0x41, 0x03, 0x47, 0x05 },
	  4 },
	{ "a load before it",
	  "guest operand outside what was checked",
	  { 0x41, 0x03, 0x47, 0x04 },
	  { 0x41, 0x03, 0x47, 0xff },
	  4 },
	{ "a range wider than the page allows",
	  "guest operand outside what was checked",
	  { 0x49, 0x81, 0xff, 0xf8, 0x0f, 0, 0 },
	  { 0x49, 0x81, 0xff, 0xff, 0x0f, 0, 0 },
	  7 },
	{ "a jump out of the block",
	  "a jump out of the block",
	  { 0x0f, 0x87 },
	  { 0x0f, 0x87, 0, 0, 0, 0x10 },
	  2,
	  6 },
	{ "the way out taken when it is above or equal only",
	  "guest operand off a register that is no checked pointer",
	  { 0x0f, 0x87 },
	  { 0x0f, 0x83 },
	  2 },
	{ "a branch into an instruction",
	  "a miss without the entry of the TLB",
	  { 0x0f, 0x87 },
	  { 0x0f, 0x87, 4, 0, 0, 0 },
	  2,
	  6 },
};

static u8 *find(struct code_cache *code, const struct block *b, const u8 *bytes, unsigned n)
{
	u8 *end = code->buf.base + b->code_end;

	for (u8 *p = code->buf.base + b->code; p + n <= end; p++)
		if (!memcmp(p, bytes, n))
			return p;
	return NULL;
}

/* Puts @to over @n bytes at @at: refused for that reason? */
static void check_bytes(const struct block *b, const char *what, const char *wanted, u8 *at,
			const u8 *to, unsigned n)
{
	const char *why = NULL;
	u8 saved[32];
	bool good;

	if (!at) {
		result(false, what, "the lowering makes other code now: mend this test");
		return;
	}
	memcpy(saved, at, n);
	memcpy(at, to, n);
	good = block_verify(m.vm->code, b, NULL, &why);
	memcpy(at, saved, n);
	result(!good && !strcmp(why, wanted), what, why);
}

static void check_change(struct block *b, const struct change *c)
{
	u8 *at = find(m.vm->code, b, c->from, c->bytes);

	check_bytes(b, c->what, c->why, at, c->to, c->skip ? c->skip : c->bytes);
}

/* ---- state and control: what is there and what becomes of it, in the lowering's own words -------
 */

static const char outside[] =
	"operand outside the fields of struct cpu that translated code may use";

/* FROM and TO write to @e; what is left of FROM's bytes becomes NOPs. */
#define CHANGE(b, what, why, FROM, TO)                                                         \
	do {                                                                                   \
		u8 from_[32], to_[32];                                                         \
		struct code_buf *e, from_buf = { .p = from_, .base = from_ };                  \
		struct code_buf to_buf = { .p = to_, .base = to_ };                            \
		e = &from_buf;                                                                 \
		FROM;                                                                          \
		e = &to_buf;                                                                   \
		TO;                                                                            \
		while (to_buf.p - to_ < from_buf.p - from_)                                    \
			e8(e, 0x90);                                                           \
		check_bytes(b, what, why, find(m.vm->code, b, from_, from_buf.p - from_), to_, \
			    to_buf.p - to_);                                                   \
	} while (0)

#define OFF(field) offsetof(struct cpu, field)

/* and, or, xor dword [rflags], imm32 (sub: 4, 1, 6) */
static void flags_logic(struct code_buf *e, unsigned sub, u32 imm)
{
	e8(e, 0x81);
	e_state(e, sub, OFF(rflags));
	e32(e, imm);
}

static void state_logic(struct code_buf *e, unsigned sub, size_t at, u32 imm)
{
	e8(e, 0x81);
	e_state(e, sub, at);
	e32(e, imm);
}

static void bytes(struct code_buf *e, const char *p, unsigned n)
{
	memcpy(e->p, p, n);
	e->p += n;
}

static void system_instructions(void)
{
	/* cli; sti; pushfq; std; cld; swapgs; rdtsc; rdtscp */
	static const u8 code[] = { 0xfa, 0xfb, 0x9c, 0xfd, 0xfc, 0x0f, 0x01,
				   0xf8, 0x0f, 0x31, 0x0f, 0x01, 0xf9 };
	struct block *b = make_block(code, sizeof(code));

	CHANGE(b, "CLI clears IOPL too", outside, flags_logic(e, 4, ~(u32)FLAG_IF),
	       flags_logic(e, 4, ~(u32)(FLAG_IF | FLAG_IOPL)));
	CHANGE(b, "STI sets IOPL too", outside, flags_logic(e, 1, FLAG_IF),
	       flags_logic(e, 1, FLAG_IF | FLAG_IOPL));
	CHANGE(b, "STD sets TF too", outside, flags_logic(e, 1, FLAG_DF),
	       flags_logic(e, 1, FLAG_DF | FLAG_TF));
	CHANGE(b, "CLD clears all flags", outside, flags_logic(e, 4, ~(u32)FLAG_DF),
	       flags_logic(e, 4, 0));
	CHANGE(b, "a flag is turned over", outside, flags_logic(e, 1, FLAG_DF),
	       flags_logic(e, 6, FLAG_DF));
	CHANGE(b, "flags are added to", outside, flags_logic(e, 1, FLAG_DF),
	       flags_logic(e, 0, FLAG_DF));
	CHANGE(b, "flags are stored", outside, flags_logic(e, 1, FLAG_DF),
	       e_store32(e, RAX, OFF(rflags)));
	CHANGE(b, "flags are ANDed with a register", outside, flags_logic(e, 4, ~(u32)FLAG_DF),
	       e_op_state(e, 0x21, 0, RAX, OFF(rflags)));
	CHANGE(b, "another field is ANDed", outside, flags_logic(e, 4, ~(u32)FLAG_DF),
	       (e8(e, 0x81), e_state(e, 4, OFF(cr0)), e32(e, ~(u32)FLAG_DF)));
	CHANGE(b, "SWAPGS writes another register", outside,
	       e_store(e, T1, OFF(msr.kernel_gs_base)), e_store(e, T1, OFF(msr.lstar)));
	CHANGE(b, "SWAPGS writes another segment", outside, e_store(e, T2, OFF(seg[SEG_GS].base)),
	       e_store(e, T2, OFF(seg[SEG_SS].base)));
	CHANGE(b, "SWAPGS writes the segment's limit", outside,
	       e_store(e, T2, OFF(seg[SEG_GS].base)), e_store(e, T2, OFF(seg[SEG_GS].base) + 4));
	CHANGE(b, "SWAPGS reads EFER", outside, e_load(e, T2, OFF(msr.kernel_gs_base)),
	       e_load(e, T2, OFF(efer)));
	CHANGE(b, "RDTSC moves the guest's time", outside,
	       e_op_state(e, 0x03, 1, RAX, OFF(tsc_offset)),
	       e_op_state(e, 0x01, 1, RAX, OFF(tsc_offset)));
	CHANGE(b, "RDPMC", "a forbidden instruction", bytes(e, "\x0f\x31", 2),
	       bytes(e, "\x0f\x33", 2));
	CHANGE(b, "the host's RDTSCP", "a forbidden instruction", bytes(e, "\x0f\xae\xe8", 3),
	       bytes(e, "\x0f\x01\xf9", 3));
	CHANGE(b, "RDTSCP reads EFER", outside, e_load32(e, RCX, OFF(msr.tsc_aux)),
	       e_load32(e, RCX, OFF(efer)));
	CHANGE(b, "STI takes the requests away", outside,
	       (e_op_state(e, 0x83, 0, 7, OFF(requests)), e8(e, 0)),
	       (e_op_state(e, 0x83, 0, 4, OFF(requests)), e8(e, 0)));
}

/* In the test's kernel, which has no SMAP, so the context always has CTX_AC. */
static void access_flag(void)
{
	struct block *b = make_block((const u8 *)"\x0f\x01\xca", 3); /* clac */

	CHANGE(b, "CLAC clears IOPL too", outside, flags_logic(e, 4, ~(u32)FLAG_AC),
	       flags_logic(e, 4, ~(u32)(FLAG_AC | FLAG_IOPL)));
	CHANGE(b, "CLAC changes the context's mode", outside, state_logic(e, 4, OFF(ctx), ~CTX_AC),
	       state_logic(e, 4, OFF(ctx), ~(CTX_AC | CTX_64)));
	CHANGE(b, "CLAC makes the context the user's", outside,
	       state_logic(e, 4, OFF(ctx), ~CTX_AC),
	       state_logic(e, 1, OFF(ctx), 3 << CTX_CPL_SHIFT));
	CHANGE(b, "CLAC changes the epoch", outside, state_logic(e, 4, OFF(jc_key), ~CTX_AC),
	       state_logic(e, 4, OFF(jc_key), ~(CTX_AC | 1 << 16)));
	CHANGE(b, "CLAC changes a control register", outside, state_logic(e, 4, OFF(ctx), ~CTX_AC),
	       state_logic(e, 4, OFF(cr4), ~CTX_AC));
	b = make_block((const u8 *)"\xf3\x90", 2); /* pause */
	CHANGE(b, "PAUSE counts in another field", outside, e_sub_state32(e, OFF(pauses_left), 1),
	       e_sub_state32(e, OFF(exit_request), 1));
	CHANGE(b, "PAUSE counts up", outside, e_sub_state32(e, OFF(pauses_left), 1),
	       (e8(e, 0x83), e_state(e, 0, OFF(pauses_left)), e8(e, 1)));
	b = make_block((const u8 *)"\x8c\xd8\x90", 3); /* mov %ds, %eax */
	CHANGE(b, "a selector is written", outside,
	       (bytes(e, "\x44\x0f\xb7", 3), e_state(e, T2, OFF(seg[SEG_DS].selector))),
	       (bytes(e, "\x66", 1), e_store32(e, T2, OFF(seg[SEG_DS].selector))));
	b = make_block((const u8 *)"\x0f\x20\xd0\x90", 4); /* mov %cr2, %rax */
	CHANGE(b, "CR2 is written", outside, e_load(e, T2, OFF(cr2)), e_store(e, T2, OFF(cr2)));
	CHANGE(b, "EFER is read", outside, e_load(e, T2, OFF(cr2)), e_load(e, T2, OFF(efer)));
}

/* What the kernel's blocks may and the user's may not. */
static void check_user(const char *what, const u8 *code, unsigned n, const char *wanted)
{
	struct block *b = make_block(code, n);
	const char *why = NULL;
	bool good;

	b->ctx |= 3 << CTX_CPL_SHIFT;
	good = block_verify(m.vm->code, b, NULL, &why);
	b->ctx &= ~(3 << CTX_CPL_SHIFT);
	result(wanted ? !good && !strcmp(why, wanted) : good, what, why);
}

static void user_blocks(void)
{
	check_user("CLI of the user", (const u8 *)"\xfa", 1, outside);
	check_user("SWAPGS of the user", (const u8 *)"\x0f\x01\xf8", 3, outside);
	check_user("CLAC of the user", (const u8 *)"\x0f\x01\xca", 3, outside);
	check_user("CR2 of the user", (const u8 *)"\x0f\x20\xd0\x90", 4, outside);
	check_user("SYSRET of the user", (const u8 *)"\x48\x0f\x07", 3, "a jump out of the block");
	check_user("a selector is the user's to read", (const u8 *)"\x8c\xd8\x90", 3, NULL);
	check_user("STD and CLD are the user's too", (const u8 *)"\xfd\xfc", 2, NULL);
	check_user("the kernel's TLB", program, sizeof(program),
		   "table operand without its index masked, or of another context");
}

static void jumps(void)
{
	struct block *b = make_block((const u8 *)"\xff\xe0", 2); /* jmp *%rax */
	const size_t jc = OFF(jc);

	CHANGE(b, "the epoch is written", outside, e_op_state(e, 0x3b, 1, T2, OFF(jc_key)),
	       e_op_state(e, 0x89, 1, T2, OFF(jc_key)));
	CHANGE(b, "the jump cache is written", "a table is written or scaled",
	       e_op_indexed(e, 0x3b, 1, T0, T1, jc + offsetof(struct jump_entry, pc)),
	       e_op_indexed(e, 0x89, 1, T0, T1, jc + offsetof(struct jump_entry, pc)));
	CHANGE(b, "an index beyond the jump cache",
	       "table operand without its index masked, or of another context",
	       e_arith_imm(e, 0, 4, T1, (JC_ENTRIES - 1) * sizeof(struct jump_entry)),
	       e_arith_imm(e, 0, 4, T1, (2 * JC_ENTRIES - 1) * sizeof(struct jump_entry)));
	CHANGE(b, "what lies behind the jump cache",
	       "table operand without its index masked, or of another context",
	       e_op_indexed(e, 0x8b, 1, T2, T1, jc + offsetof(struct jump_entry, code)),
	       e_op_indexed(e, 0x8b, 1, T2, T1, jc + sizeof(struct jump_entry)));
	CHANGE(b, "the address for the code",
	       "an indirect jump to what the jump cache did not give",
	       e_op_indexed(e, 0x8b, 1, T2, T1, jc + offsetof(struct jump_entry, code)),
	       e_op_indexed(e, 0x8b, 1, T2, T1, jc + offsetof(struct jump_entry, pc)));
	CHANGE(b, "the context for the code",
	       "an indirect jump to what the jump cache did not give",
	       e_op_indexed(e, 0x8b, 1, T2, T1, jc + offsetof(struct jump_entry, code)),
	       e_op_indexed(e, 0x8b, 1, T2, T1, jc + offsetof(struct jump_entry, ctx)));
	CHANGE(b, "half of the code's address",
	       "an indirect jump to what the jump cache did not give",
	       e_op_indexed(e, 0x8b, 1, T2, T1, jc + offsetof(struct jump_entry, code)),
	       e_op_indexed(e, 0x8b, 0, T2, T1, jc + offsetof(struct jump_entry, code)));
	CHANGE(b, "the request to leave is taken away", outside,
	       e_op_state(e, 0x3b, 1, T2, OFF(jc_key)), e_op_state(e, 0x21, 1, T2, OFF(jc_key)));
	CHANGE(b, "the base of the code is read", outside, e_op_state(e, 0x3b, 1, T2, OFF(jc_key)),
	       e_load(e, T2, OFF(code_base)));
	CHANGE(b, "a jump to another register",
	       "an indirect jump to what the jump cache did not give", e_jmp_reg(e, T2),
	       e_jmp_reg(e, T1));
	CHANGE(b, "an exit of another block's site", "a jump out of the block",
	       e_store_imm32(e, OFF(exit_code), EXIT_SITE + b->sites),
	       e_store_imm32(e, OFF(exit_code), EXIT_SITE + b->sites + b->site_count));
}

static u32 site_of_kind(const struct block *b, enum site_kind kind)
{
	for (u32 i = b->sites; i < b->sites + b->site_count; i++)
		if (m.vm->code->sites[i].kind == kind)
			return EXIT_SITE + i;
	return 0;
}

static void calls_and_returns(void)
{
	struct block *b = make_block((const u8 *)"\xc3", 1);
	u32 id = site_of_kind(b, SITE_BRANCH);

	CHANGE(b, "a return names no site", "a return without its site", e_mov_imm(e, T2, id),
	       e_mov_imm(e, T2, 0));
	CHANGE(b, "a return names another block's", "a return without its site",
	       e_mov_imm(e, T2, id), e_mov_imm(e, T2, EXIT_SITE + b->sites + b->site_count));
	CHANGE(b, "a return names a site of another kind", "a return without its site",
	       e_mov_imm(e, T2, id), e_mov_imm(e, T2, site_of_kind(b, SITE_MEM)));
	CHANGE(b, "a return drops bytes", "a return that drops bytes",
	       (e_mov_imm(e, T2, id), e8(e, 0xc3)),
	       (e_mov_imm(e, T2, id), e8(e, 0xc2), e8(e, 8), e8(e, 0)));
	b = make_block((const u8 *)"\xe8\x00\x10\x00\x00", 5); /* into the next page */
	id = site_of_kind(b, SITE_CALL);
	CHANGE(b, "a call of another register",
	       "an indirect call of what the jump cache did not give", e_call_reg(e, P0),
	       e_call_reg(e, P1));
	CHANGE(b, "a call of what the guest pushed",
	       "an indirect call of what the jump cache did not give", e_call_reg(e, P0),
	       e_call_reg(e, T2));
	CHANGE(b, "an unknown callee without a site", "a call without its site",
	       e_store_imm32(e, OFF(exit_code), id), e_store_imm32(e, OFF(exit_code), 0));
	CHANGE(b, "an unknown callee with another site", "a call without its site",
	       e_store_imm32(e, OFF(exit_code), id),
	       e_store_imm32(e, OFF(exit_code), site_of_kind(b, SITE_MEM)));
	CHANGE(b, "what to call instead is not taken", "a jump backward that is no resumption",
	       e_mov(e, P0, T2), (void)e);
	CHANGE(b, "what to call instead is something else", "a jump backward that is no resumption",
	       e_mov(e, P0, T2), e_mov(e, P0, RAX));
	CHANGE(b, "the base of the code is moved for the page's", outside,
	       e_add_state(e, OFF(page_base), 0x1000), e_add_state(e, OFF(code_base), 0x1000));
}

/* A site of a block changes: refused for that reason? */
#define CHANGE_SITE(b, what, wanted, s, CHANGED)                  \
	do {                                                      \
		struct site saved = *(s);                         \
		const char *why = NULL;                           \
		bool good;                                        \
                                                                  \
		CHANGED;                                          \
		good = block_verify(m.vm->code, b, NULL, &why);   \
		*(s) = saved;                                     \
		result(!good && !strcmp(why, wanted), what, why); \
	} while (0)

static void stores(void)
{
	/* mov [rsi], rax; mov [rdi], rcx: each with a check of its own */
	struct block *b = make_block((const u8 *)"\x48\x89\x06\x48\x89\x0f", 6);
	struct site *s = &m.vm->code->sites[b->sites], *other = s + 1;
	static const char where[] = "C would go on elsewhere than behind its store";
	static const char cannot[] = "a store that C cannot make";
	const char *why = NULL;
	bool good = block_verify(m.vm->code, b, NULL, &why);

	result(good && s->store == STORE_GPR + RAX && other->store == STORE_GPR + RCX,
	       "stores as they are", why);
	CHANGE_SITE(b, "C goes on behind the next store", where, s, s->stub = other->stub);
	CHANGE_SITE(b, "C goes on before the check", where, s, s->stub = b->entry_saved);
	CHANGE_SITE(b, "C goes on inside an instruction", cannot, s, s->stub--);
	CHANGE_SITE(b, "C makes a group's store", cannot, s, s->span = 64);
	CHANGE_SITE(b, "C makes an exit's store", cannot, s, s->kind = SITE_LINK);
}

static void index_mask(void)
{
	/* mov [rsi], rax, by the kernel, SMAP being off */
	struct block *b = make_block((const u8 *)"\x48\x89\x06", 3);
	const size_t mask = OFF(tlb_mask[TLB_KERNEL_AC]);
	static const char no_index[] =
		"table operand without its index masked, or of another context";

	CHANGE(b, "the index is not masked", no_index, e_op_state(e, 0x23, 0, T1, mask), (void)e);
	CHANGE(b, "the index is masked with more", no_index, e_op_state(e, 0x23, 0, T1, mask),
	       e_op_state(e, 0x23, 1, T1, mask));
	CHANGE(b, "the index is the mask or more", no_index, e_op_state(e, 0x23, 0, T1, mask),
	       e_op_state(e, 0x0b, 0, T1, mask));
	CHANGE(b, "the mask of another TLB", no_index, e_op_state(e, 0x23, 0, T1, mask),
	       e_op_state(e, 0x23, 0, T1, OFF(tlb_mask[TLB_USER])));
	CHANGE(b, "the mask is written", outside, e_op_state(e, 0x23, 0, T1, mask),
	       e_op_state(e, 0x21, 0, T1, mask));
}

static void stack_page(void)
{
	/* push rax; push rcx; pop rdx: the page of the kernel's stack, SMAP being off */
	struct block *b = make_block((const u8 *)"\x50\x51\x5a", 3);
	const size_t at = OFF(stack[TLB_KERNEL_AC]), user = OFF(stack[TLB_USER]);
	const size_t tag = offsetof(struct stack_page, tag),
		     host = offsetof(struct stack_page, host);
	static const char none[] = "guest operand off a register that is no checked pointer";
	static const char nobody[] = "the stack's page is asked for by no site, or for too little";
	u32 id = site_of_kind(b, SITE_MEM);
	const char *why = NULL;
	bool good = block_verify(m.vm->code, b, NULL, &why);

	result(good, "a stack as it is", why);
	CHANGE(b, "the page of another context's stack", outside,
	       e_op_state(e, 0x2b, 1, P0, at + tag), e_op_state(e, 0x2b, 1, P0, user + tag));
	CHANGE(b, "the host's page of another context's stack", outside,
	       e_op_state(e, 0x03, 1, P0, at + host), e_op_state(e, 0x03, 1, P0, user + host));
	CHANGE(b, "the tag twice", none, e_op_state(e, 0x03, 1, P0, at + host),
	       e_op_state(e, 0x03, 1, P0, at + tag));
	CHANGE(b, "something else is subtracted", none, e_op_state(e, 0x2b, 1, P0, at + tag),
	       e_op_state(e, 0x2b, 1, P0, at + host));
	CHANGE(b, "the stack's page is written", outside, e_op_state(e, 0x03, 1, P0, at + host),
	       e_op_state(e, 0x01, 1, P0, at + host));
	CHANGE(b, "a stack wider than the page allows", "guest operand outside what was checked",
	       e_arith_imm(e, 1, 7, P0, PAGE_SIZE - 16), e_arith_imm(e, 1, 7, P0, PAGE_SIZE - 8));
	CHANGE(b, "the thunk may answer for less", nobody,
	       e_store_imm64(e, OFF(scratch[1]), PAGE_SIZE - 16),
	       e_store_imm64(e, OFF(scratch[1]), PAGE_SIZE - 15));
	CHANGE(b, "the thunk is told nothing", nobody,
	       e_store_imm64(e, OFF(scratch[1]), PAGE_SIZE - 16), (void)e);
	CHANGE(b, "the thunk is told a register", nobody,
	       e_store_imm64(e, OFF(scratch[1]), PAGE_SIZE - 16), e_store(e, RAX, OFF(scratch[1])));
	CHANGE(b, "the thunk is asked by no site", nobody, e_store_imm32(e, OFF(exit_code), id),
	       e_store_imm32(e, OFF(exit_code), 0));
	CHANGE(b, "no answer is taken for one", "a jump backward that is no resumption",
	       e_mov(e, P0, T0), (void)e);
}

/* Without a counted step a pointer is none at the loop's end, and so none at its start. */
static void carried_pointers(void)
{
	/* a loop: mov (%rdx), %eax; add %eax, (%rdi); add $8, %rdx; sub $4, %rdi; test $128, %dl;
	 * jz. P0 goes up by 8 with 4 bytes to read, P1 down by 4 with 4 bytes to write. RDX leads
	 * nowhere: no link is bound. */
	static const u8 code[] = { 0x8b, 0x02, 0x01, 0x07, 0x48, 0x83, 0xc2, 0x08, 0x48,
				   0x83, 0xef, 0x04, 0xf6, 0xc2, 0x80, 0x74, 0xef };
	static const char none[] = "guest operand outside what was checked";
	const size_t end = OFF(loop_end);
	struct block *b = make_block(code, sizeof(code));
	const char *why = NULL;
	bool good = block_verify(m.vm->code, b, NULL, &why);

	result(good, "a loop as it is", why);
	CHANGE(b, "a pointer goes up too far", none, e_lea(e, 1, P0, P0, REG_NONE, 1, 8),
	       e_lea(e, 1, P0, P0, REG_NONE, 1, 9));
	CHANGE(b, "a pointer goes down that was counted up", none,
	       e_lea(e, 1, P0, P0, REG_NONE, 1, 8), e_lea(e, 1, P0, P0, REG_NONE, 1, -8));
	CHANGE(b, "a pointer goes down too far", none, e_lea(e, 1, P1, P1, REG_NONE, 1, -4),
	       e_lea(e, 1, P1, P1, REG_NONE, 1, -5));
	CHANGE(b, "a pointer goes up that was counted down", none,
	       e_lea(e, 1, P1, P1, REG_NONE, 1, -4), e_lea(e, 1, P1, P1, REG_NONE, 1, 4));
	CHANGE(b, "a pointer moves by another", none, e_lea(e, 1, P1, P1, REG_NONE, 1, -4),
	       e_lea(e, 1, P1, P0, REG_NONE, 1, -4));
	CHANGE(b, "a pointer is cut to 32 bits",
	       "guest operand off a register that is no checked pointer",
	       (e_lea(e, 1, P0, P0, REG_NONE, 1, 8), e_lea(e, 1, P1, P1, REG_NONE, 1, -4)),
	       (e8(e, 0x67), e_lea(e, 1, P0, P0, REG_NONE, 1, 8)));
	CHANGE(b, "another pointer is looked at", none, e_op_state(e, 0x3b, 0, P0, end),
	       e_op_state(e, 0x3b, 0, P1, end));
	CHANGE(b, "more of a pointer is looked at than there is of its end", outside,
	       e_op_state(e, 0x3b, 0, P0, end), e_op_state(e, 0x3b, 1, P0, end));
	CHANGE(b, "a pointer is compared with something else", none,
	       e_op_state(e, 0x3b, 0, P0, end), e_op_state(e, 0x3b, 0, P0, OFF(saved_flags)));
	CHANGE(b, "no pointer is looked at", none, e_op_state(e, 0x3b, 0, P0, end), (void)e);
	CHANGE(b, "the way out is taken while turns are left", none,
	       (e_op_state(e, 0x3b, 0, P0, end), bytes(e, "\x0f\x84", 2)),
	       (e_op_state(e, 0x3b, 0, P0, end), bytes(e, "\x0f\x85", 2)));
	CHANGE(b, "the way out is taken when it is too late", none,
	       (e_op_state(e, 0x3b, 0, P0, end), bytes(e, "\x0f\x84", 2)),
	       (e_op_state(e, 0x3b, 0, P0, end), bytes(e, "\x0f\x87", 2)));
	CHANGE(b, "the end is more than as many steps away", none, e_imul32(e, T2, T2, 8),
	       e_imul32(e, T2, T2, 9));
	CHANGE(b, "the end lies where the pointer comes from", none, e_imul32(e, T2, T2, 8),
	       e_imul32(e, T2, T2, -8));
	CHANGE(b, "the end is a number of turns", none, e_imul32(e, T2, T2, 8), (void)e);
	CHANGE(b, "the end is another number of turns", none, e_imul32(e, T2, T2, 8),
	       e_imul32(e, T2, T0, 8));
	CHANGE(b, "the end is another pointer's", none, e_lea(e, 0, T2, T2, P0, 1, 0),
	       e_lea(e, 0, T2, T2, P1, 1, 0));
	CHANGE(b, "the end is twice as far away", none, e_lea(e, 0, T2, T2, P0, 1, 0),
	       e_lea(e, 0, T2, P0, T2, 2, 0));
	CHANGE(b, "the pointer does not move that is looked at",
	       "guest operand off a register that is no checked pointer",
	       e_lea(e, 1, P0, P0, REG_NONE, 1, 8), (void)e);
	CHANGE(b, "turns are compared and then taken as they are", none, e_cmova(e, T2, T0),
	       bytes(e, "\x77\x00\x66\x90", 4));
	CHANGE(b, "of the pointer's page more is taken", none,
	       e_arith_imm(e, 0, 4, T2, PAGE_SIZE - 1),
	       e_arith_imm(e, 0, 4, T2, 2 * PAGE_SIZE - 1));
	CHANGE(b, "what is used of the page is taken for what is left", none, e_neg(e, T2),
	       (void)e);
	CHANGE(b, "more is left of the page than is", none, e_arith_imm(e, 1, 0, T2, PAGE_SIZE - 4),
	       e_arith_imm(e, 1, 0, T2, PAGE_SIZE));
	CHANGE(b, "more turns than there is room for", none, e_shift(e, 1, 5, T2, 3),
	       e_shift(e, 1, 5, T2, 2));
	CHANGE(b, "more turns down than there is room for", none, e_shift(e, 1, 5, T0, 2),
	       e_shift(e, 1, 5, T0, 1));
	CHANGE(b, "the larger number of turns", none, e_cmova(e, T2, T0),
	       bytes(e, "\x4c\x0f\x46\xf3", 4));
	CHANGE(b, "the turns of one pointer for both", none, e_cmova(e, T2, T0), (void)e);
	CHANGE(b, "an end that nobody knows", none, e_store32(e, T2, end), e_store32(e, RSI, end));
	CHANGE(b, "a constant end", none, (e_lea(e, 0, T2, T2, P0, 1, 0), e_store32(e, T2, end)),
	       e_store_imm32(e, end, 7));
}

static void counted_turns(void)
{
	/* a loop: add %eax, (%rdx); sub $1, %ecx; jnz. No pointer moves. */
	struct block *b = make_block((const u8 *)"\x01\x02\x83\xe9\x01\x75\xf9", 7);
	const char *why = NULL;
	bool good = block_verify(m.vm->code, b, NULL, &why);

	result(good, "a loop that counts", why);
	CHANGE(b, "turns are not counted down", outside, e_sub_state32(e, OFF(loop_end), 1),
	       e_sub_state32(e, OFF(loop_end), 0));
	CHANGE(b, "turns are counted up", outside, e_sub_state32(e, OFF(loop_end), 1),
	       e_sub_state32(e, OFF(loop_end), -1));
	CHANGE(b, "something else is counted down", outside, e_sub_state32(e, OFF(loop_end), 1),
	       e_sub_state32(e, OFF(exit_request), 1));
}

/* The verifier remembers instructions, a few thousand, where a hash of their bytes says. So of so
 * many that differ in their number alone, some come to where the good one is. */
static void remembered_instructions(const struct block *b)
{
	static const u8 good[] = { 0x49, 0x81, 0xff, 0xf8, 0x0f, 0, 0 };
	u8 *at = find(m.vm->code, b, good, sizeof(good));
	unsigned taken = 0, refused = 0;
	const char *why;

	for (u32 limit = 0xff9; at && limit < 0xff9 + 40000; limit++) {
		taken += block_verify(m.vm->code, b, NULL, &why);
		memcpy(at + 3, &limit, 4);
		refused += !block_verify(m.vm->code, b, NULL, &why);
		memcpy(at, good, sizeof(good));
	}
	result(taken == 40000 && refused == 40000, "no instruction is taken for another", NULL);
}

int main(void)
{
	struct block *b;
	const char *why = NULL;

	machine_init(&m, false);
	b = make_block(program, sizeof(program));
	result(b != NULL, "the block is there", NULL);
	if (!b)
		return 1;
	result(m.vm->code->verified >= 1 && !m.vm->code->refused, "blocks are verified", NULL);
	result(block_verify(m.vm->code, b, NULL, &why), "as it is", why);
	for (size_t i = 0; i < ARRAY_LEN(changes); i++)
		check_change(b, &changes[i]);
	remembered_instructions(b);
	system_instructions();
	access_flag();
	user_blocks();
	jumps();
	calls_and_returns();
	stores();
	index_mask();
	stack_page();
	carried_pointers();
	counted_turns();
	printf("1..%u\n", count);
	machine_free(&m);
	return failed != 0;
}
