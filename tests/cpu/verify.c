/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verifier of lowered blocks (src/cpu/x86/verify.c) says yes to what the lowering makes, and no
 * to each way of breaking it: a few bytes of a good block are changed, and the reason must be the
 * right one.
 */
#include "cpu/x86/verify.h"
#include "cpu/code.h"
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
	{ "the index is not masked",
	  "table operand without its index masked, or of another context",
	  { 0x41, 0x81, 0xe5, 0xe0, 0xff, 1, 0 },
	  { 0x41, 0x81, 0xe5, 0xe0, 0xff, 3, 0 },
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
	  "a jump into the middle of an instruction",
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

static void check_change(struct block *b, const struct change *c)
{
	struct code_cache *code = m.vm->code;
	unsigned n = c->skip ? c->skip : c->bytes;
	u8 *at = find(code, b, c->from, c->bytes);
	const char *why = NULL;
	u8 saved[16];

	if (!at) {
		result(false, c->what, "the lowering makes other code now: mend this test");
		return;
	}
	memcpy(saved, at, n);
	memcpy(at, c->to, n);
	result(!block_verify(code, b, &why) && !strcmp(why, c->why), c->what, why);
	memcpy(at, saved, n);
}

int main(void)
{
	struct block *b;
	const char *why = NULL;

	machine_init(&m, false);
	b = make_block(program, sizeof(program));
	printf("1..%zu\n", ARRAY_LEN(changes) + 3);
	result(b != NULL, "the block is there", NULL);
	if (!b)
		return 1;
	result(m.vm->code->verified >= 1 && !m.vm->code->refused, "blocks are verified", NULL);
	result(block_verify(m.vm->code, b, &why), "as it is", why);
	for (size_t i = 0; i < ARRAY_LEN(changes); i++)
		check_change(b, &changes[i]);
	machine_free(&m);
	return failed != 0;
}
