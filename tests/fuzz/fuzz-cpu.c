/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoder, translator and lowering with any bytes as a guest's code, in every mode: each block is
 * taken apart again by the verifier (src/cpu/x86/verify.c), and runs. Whatever the code does, the
 * verifier has nothing to say and the process goes on.
 *
 *   input: u8 mode, u8 context, u8 where on the page the code begins, u8 steps, u64 seed of
 * registers, the code
 */
#include "cpu/code.h"
#include "fuzz.h"
#include "machine.h"

#include <string.h>

const size_t fuzz_bytes_max = 256;
const bool fuzz_text = false;

#define STEPS_MAX 24

enum how { HOW_16, HOW_32, HOW_64, HOW_MODES, HOW_USER = 4, HOW_EDGE = 8, HOW_STEP = 16 };
enum context { NO_FPU = 1, NO_SSE = 2, AVX = 4, TRAP = 8, NONFLAT = 16, SMAP = 32 };

static void give(GByteArray *seed, unsigned how, unsigned context, const void *code, unsigned bytes)
{
	fuzz_give(seed, how, 1);
	fuzz_give(seed, context, 1);
	fuzz_give(seed, 0, 1);
	fuzz_give(seed, STEPS_MAX, 1);
	fuzz_give(seed, 0x1234567, 8);
	g_byte_array_append(seed, code, bytes);
}

bool fuzz_seed(unsigned index, GByteArray *seed)
{
	static const struct {
		u8 bytes[24], n;
	} codes[] = {
		/* loads, stores, stack, call and ret */
		{ { 0x48, 0x8b, 0x06, 0x48, 0x89, 0x47, 0x10, 0x50, 0x5b, 0xe8, 0, 0, 0, 0, 0xc3 },
		  15 },
		/* loops and conditions */
		{ { 0xff, 0xc8, 0x75, 0xfc, 0xe2, 0xfa, 0x74, 0x02, 0x0f, 0x84, 0, 1, 0, 0 }, 14 },
		/* bits, exchanges, locks, high bytes */
		{ { 0x0f, 0xab, 0x06, 0xf0, 0x0f, 0xc1, 0x07, 0x86, 0x26, 0x0f, 0xc7, 0x0e }, 12 },
		/* MMX and SSE that a 66 prefix makes something else, counts */
		{ { 0x0f, 0xf9, 0x1f, 0x0f, 0x58, 0x07, 0xf3, 0x0f, 0xb8, 0x0f, 0xf2,
		    0x0f, 0x38, 0xf1, 0x07, 0x0f, 0xae, 0xf0, 0x0f, 0xc3, 0x07 },
		  21 },
		/* SSE, AVX, AVX-512 with a mask, x87 */
		{ { 0x0f, 0x58, 0x06, 0xc5, 0xfc, 0x58, 0x0e, 0x62, 0xf1, 0x7c, 0x49, 0x58, 0x06,
		    0xd8, 0x06, 0xdd, 0x37 },
		  17 },
		/* strings, segments, far transfers, interrupts */
		{ { 0xf3, 0xa4, 0x8e, 0xd8, 0xcd, 0x20, 0xff, 0x2e, 0x0f, 0xa2, 0x0f, 0x01, 0xd0 },
		  13 },
		/* system instructions */
		{ { 0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xd8, 0x0f, 0x32, 0x0f, 0x30, 0x0f, 0x05, 0x48,
		    0xcf },
		  14 },
	};
	unsigned code = index % ARRAY_LEN(codes), how = index / ARRAY_LEN(codes);

	if (how >= 6)
		return false;
	give(seed, how % HOW_MODES | (how >= HOW_MODES ? HOW_USER | HOW_EDGE : 0),
	     how & 1 ? AVX : 0, codes[code].bytes, codes[code].n);
	return true;
}

static u64 mix(u64 *state)
{
	*state = *state * 6364136223846793005 + 1442695040888963407;
	return *state >> 33 ^ *state << 17;
}

/* Mostly addresses of data, so that accesses get somewhere. */
static void set_registers(struct x86_state *s, u64 seed)
{
	for (unsigned i = 0; i < 16; i++) {
		u64 random = mix(&seed);

		s->gpr[i] =
			random & 3 ? DATA_GVA + (random >> 2) % (DATA_PAGES * PAGE_SIZE) : random;
	}
	s->gpr[RCX] &= 0xff;
	s->gpr[RSP] = DATA_GVA + PAGE_SIZE + (s->gpr[RSP] & 0xff8);
	s->rflags = 2 | (mix(&seed) & FLAGS_ARITH);
}

static void set_mode(struct x86_state *s, unsigned how, unsigned context)
{
	static const u16 attributes[HOW_MODES] = { 0x009b, 0xc09b, 0xa09b };
	unsigned mode = (how & 3) % HOW_MODES, dpl = how & HOW_USER ? 3 : 0;

	s->seg[SEG_CS] =
		(struct x86_segment){ 0, 0xffffffff, 8 | dpl, attributes[mode] | dpl << 5 };
	for (int i = 0; i < 6; i++)
		if (i != SEG_CS)
			s->seg[i].attr |= dpl << 5;
	if (mode == HOW_16)
		s->seg[SEG_SS].attr &= ~0x4000;
	if (context & NONFLAT && mode != HOW_64)
		s->seg[SEG_DS] = (struct x86_segment){ 0x1000, 0x10ffffff, 16, 0xc093 | dpl << 5 };
	if (context & NO_FPU)
		s->cr0 |= CR0_TS;
	if (context & NO_SSE)
		s->cr4 &= ~(u64)CR4_OSFXSR;
	if (context & TRAP)
		s->rflags |= FLAG_TF;
	if (context & SMAP)
		s->cr4 |= CR4_SMAP;
}

static void set_code(struct machine *m, struct x86_state *s, unsigned how, unsigned where,
		     const struct fuzz_bytes *code)
{
	unsigned n = MIN(code->left, 2 * PAGE_SIZE), off = where * 16 % PAGE_SIZE;

	if (how & HOW_EDGE) /* across the end of the page */
		off = PAGE_SIZE - 1 - where % 16;
	memset(m->code, 0xcc, PAGE_SIZE);
	memset(m->code + PAGE_SIZE, 0xcc, PAGE_SIZE); /* machine.c maps the two side by side */
	memcpy(m->code + off, code->next, MIN(n, 2 * PAGE_SIZE - off));
	cpu_vm_memory_written(m->vm, machine_gpa(m, m->code), 2 * PAGE_SIZE);
	s->rip = CODE_GVA + off;
}

/* The guest may have written its tables: every input begins with the same memory. */
static void restore_memory(struct machine *m, const u8 *clean)
{
	memcpy(m->ram, clean, RAM_BYTES);
	cpu_vm_memory_written(m->vm, 0, RAM_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m;
	static u8 *clean;
	struct fuzz_bytes input = { data, size };
	unsigned how, context, where, steps;
	struct x86_state s;

	if (!m.vm) {
		machine_init(&m, false);
		clean = g_memdup2(m.ram, RAM_BYTES);
	}
	restore_memory(&m, clean);
	how = fuzz_take(&input, 1);
	context = fuzz_take(&input, 1);
	where = fuzz_take(&input, 1);
	steps = fuzz_take(&input, 1) % STEPS_MAX + 1;
	s = m.state;
	set_registers(&s, fuzz_take(&input, 8));
	set_mode(&s, how, context);
	if (context & AVX)
		s.xcr0 = m.vm->xcr0_mask | 1;
	set_code(&m, &s, how, where, &input);
	FUZZ_CHECK(!cpu_set_state(m.cpu, &s));
	for (unsigned i = 0; i < steps; i++) {
		enum cpu_exit exit;

		/* a block that jumps to itself leaves at its poll */
		cpu_request(m.cpu, CPU_REQ_STOP);
		exit = cpu_step(m.cpu, !(how & HOW_STEP));
		cpu_request_clear(m.cpu, CPU_REQ_STOP);
		FUZZ_CHECK(exit != CPU_EXIT_ERROR);
		FUZZ_CHECK(!m.vm->code->refused);
		if (exit != CPU_EXIT_STOPPED)
			break;
	}
	return 0;
}
