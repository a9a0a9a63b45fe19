/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The random differential tester: programs run natively, translated and stepped; all three must
 * agree on registers, flags, vector state, memory and exceptions. Most are short and straight; some
 * are loops over arrays, and some are whole: functions with frames that call each other, with loops
 * and random instructions in them.
 *
 *   cpu-diff [--cases N] [--seed S] [--only SEED] [--length N] [--faults] [--combinations]
 *            [--saved]
 *
 * Every memory operand's registers are loaded right before it, so that the address is known: most
 * land inside the four data pages, many across a page boundary (which the guest's physical memory
 * does not have: its pages are scattered). With --faults one data page is missing or read-only.
 * With --saved another machine translates the programs first, and the one that is tested takes its
 * blocks from what that one saved, also for programs with other immediates.
 * With --combinations the programs, most of them whole, are spread over all combinations of what
 * the translator can leave out (enum cpu_plain). A failure prints the case's seed; --only SEED runs
 * that case and prints everything.
 */
#include "machine.h"
#include "native.h"
#include "program.h"

#include "cpu/run.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_INSNS 12

struct outcome {
	u64 gpr[16], rip, rflags, cr2;
	int vector;
	u8 xsave[X86_XSAVE_BYTES] __attribute__((aligned(64)));
	u8 data[DATA_PAGES * PAGE_SIZE];
};

static u8 *native_data, *native_code;

/* Where the AVX-512 components are; CPUID traps on a virtual host, so it is asked once. */
static struct {
	u32 bytes, off;
} area[8];

static void find_components(void)
{
	for (int c = 5; c < 8; c++) {
		u32 ecx = c, edx;

		__asm__ volatile("cpuid"
				 : "=a"(area[c].bytes), "=b"(area[c].off), "+c"(ecx), "=d"(edx)
				 : "0"(13));
	}
}

static void random_xsave(u8 *x)
{
	memset(x, 0, X86_XSAVE_BYTES);
	*(u16 *)x = 0x37f;
	*(u32 *)(x + 24) = 0x1f80;
	*(u32 *)(x + 28) = 0xffff;
	for (unsigned i = 160; i < 416; i += 4)
		*(u32 *)(x + i) = below(4) ? rnd() : 0x3f800000;
	for (unsigned i = 576; i < 832; i++)
		x[i] = rnd();
	for (int c = 5; c < 8; c++)
		for (unsigned i = 0; generator.xcr0 >> c & 1 && i < area[c].bytes; i += 8)
			*(u64 *)(x + area[c].off + i) = below(4) ? rnd() : below(2) ? ~0ull : 0;
	*(u64 *)(x + 512) = generator.xcr0;
	if (below(8) == 0)
		*(u32 *)(x + 24) = 0x1f80 & ~(rnd() & 0x1f80);
}

/* Bytes of the image that are the same whichever way the code ran. */
static void clean_xsave(u8 *x)
{
	u64 bv = *(u64 *)(x + 512);

	memset(x + 8, 0, 16); /* FIP, FDP */
	memset(x + 6, 0, 2);  /* FOP */
	memset(x + 28, 0, 4);
	memset(x + 464, 0, 48);
	for (int i = 0; i < 8; i++)
		memset(x + 32 + 16 * i + 10, 0, 6);
	if (!(bv & 1)) {
		memset(x, 0, 24);
		memset(x + 32, 0, 128);
		*(u16 *)x = 0x37f;
	}
	if (!(bv & 2))
		memset(x + 160, 0, 256);
	if (!(bv & 4))
		memset(x + 576, 0, 256);
	for (int c = 5; c < 8; c++)
		if (!(bv >> c & 1) && area[c].off + area[c].bytes <= X86_XSAVE_BYTES)
			memset(x + area[c].off, 0, area[c].bytes);
	memset(x + 512, 0, 64);
}

static void run_native(const struct native_state *start, const struct program *p, struct outcome *o)
{
	static struct native_state s;

	s = *start;
	memcpy(native_code, p->bytes, p->len + 1);
	native_run(&s);
	memcpy(o->gpr, s.gpr, sizeof(o->gpr));
	o->rip = s.rip;
	o->rflags = s.rflags & FLAGS_ARITH;
	o->vector = s.vector;
	o->cr2 = s.vector == VEC_PF ? s.cr2 : 0;
	memcpy(o->xsave, s.xsave, sizeof(o->xsave));
	clean_xsave(o->xsave);
}

static void put_code(struct machine *m, u8 *at, const u8 *code, unsigned bytes)
{
	memcpy(at, code, bytes);
	cpu_vm_memory_written(m->vm, machine_gpa(m, at), bytes);
}

static void run_guest(struct machine *m, const struct native_state *start, const struct program *p,
		      struct outcome *o)
{
	static struct x86_state s;

	s = m->state;
	memcpy(s.gpr, start->gpr, sizeof(s.gpr));
	s.rip = CODE_GVA;
	s.rflags = 2 | (start->rflags & FLAGS_ARITH);
	s.xcr0 = generator.xcr0;
	memcpy(s.xsave, start->xsave, sizeof(s.xsave));
	put_code(m, m->code, p->bytes, MIN(p->len + 1, PAGE_SIZE));
	if (p->len >= PAGE_SIZE)
		put_code(m, m->code_behind, p->bytes + PAGE_SIZE, p->len + 1 - PAGE_SIZE);
	o->vector = machine_run(m, &s);
	memcpy(o->gpr, s.gpr, sizeof(o->gpr));
	o->rip = s.rip;
	o->rflags = s.rflags & FLAGS_ARITH;
	o->cr2 = o->vector == VEC_PF ? s.cr2 : 0;
	memcpy(o->xsave, s.xsave, sizeof(o->xsave));
	clean_xsave(o->xsave);
	for (int i = 0; i < DATA_PAGES; i++)
		memcpy(o->data + i * PAGE_SIZE, m->data[i], PAGE_SIZE);
}

static bool differs(const struct outcome *a, const struct outcome *b, bool flags, char *why)
{
	static const char *const names[] = {
		"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"
	};

	if (a->vector != b->vector)
		return sprintf(why, "vector %d, should be %d (rip %#llx, should be %#llx)",
			       b->vector, a->vector, (unsigned long long)b->rip,
			       (unsigned long long)a->rip);
	if (a->rip != b->rip)
		return sprintf(why, "rip %#llx, should be %#llx", (unsigned long long)b->rip,
			       (unsigned long long)a->rip);
	for (int i = 0; i < 16; i++)
		if (a->gpr[i] != b->gpr[i])
			return sprintf(why, "%s %#llx, should be %#llx", names[i],
				       (unsigned long long)b->gpr[i],
				       (unsigned long long)a->gpr[i]);
	if (flags && a->rflags != b->rflags)
		return sprintf(why, "rflags %#llx, should be %#llx", (unsigned long long)b->rflags,
			       (unsigned long long)a->rflags);
	if (a->cr2 != b->cr2)
		return sprintf(why, "cr2 %#llx, should be %#llx", (unsigned long long)b->cr2,
			       (unsigned long long)a->cr2);
	for (unsigned i = 0; i < sizeof(a->data); i++)
		if (a->data[i] != b->data[i])
			return sprintf(why, "data+%#x %#x, should be %#x", i, b->data[i],
				       a->data[i]);
	for (unsigned i = 0; i < sizeof(a->xsave); i++)
		if (a->xsave[i] != b->xsave[i])
			return sprintf(why, "xsave+%u %#x, should be %#x", i, b->xsave[i],
				       a->xsave[i]);
	return false;
}

enum fault_mode { FAULT_NONE, FAULT_ABSENT, FAULT_READONLY };

struct test_case {
	u64 seed;
	struct program p;
	struct native_state start;
	u8 data[DATA_PAGES * PAGE_SIZE];
	enum fault_mode mode;
	unsigned page; /* that @mode is about */
};

static void make_case(struct test_case *c, u64 seed, unsigned length)
{
	generator.rng_state = c->seed = seed;
	program_make(&c->p, 1 + below(length));
	for (int i = 0; i < 16; i++)
		c->start.gpr[i] = random_value();
	/* the host's IRET wants it canonical */
	c->start.gpr[RSP] = (s64)(c->start.gpr[RSP] << 17) >> 17;
	c->start.rip = CODE_GVA;
	c->start.rflags = 2 | (rnd() & FLAGS_ARITH);
	random_xsave(c->start.xsave);
	for (unsigned i = 0; i < sizeof(c->data); i += 8)
		*(u64 *)(c->data + i) = random_value();
	for (unsigned i = 0; i < 64; i += 4) /* small numbers, as dwords and as qwords */
		*(u32 *)(c->data + (INDEXES - DATA_GVA) + i) = i & 4 ? 0 : below(40);
	c->mode = generator.faults ? 1 + below(2) : FAULT_NONE;
	c->page = generator.faults ? below(DATA_PAGES) : 0;
}

static void native_outcome(const struct test_case *c, struct outcome *o)
{
	u8 *page = native_data + c->page * PAGE_SIZE;

	memcpy(native_data, c->data, sizeof(c->data));
	if (c->mode)
		mprotect(page, PAGE_SIZE, c->mode == FAULT_ABSENT ? PROT_NONE : PROT_READ);
	run_native(&c->start, &c->p, o);
	if (c->mode)
		mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE);
	memcpy(o->data, native_data, sizeof(o->data));
}

static void guest_outcome(const struct test_case *c, struct machine *m, struct outcome *o)
{
	u64 pte = *m->data_pte[c->page];

	for (int i = 0; i < DATA_PAGES; i++)
		memcpy(m->data[i], c->data + i * PAGE_SIZE, PAGE_SIZE);
	if (c->mode)
		*m->data_pte[c->page] = c->mode == FAULT_ABSENT ? pte & ~1ull : pte & ~2ull;
	run_guest(m, &c->start, &c->p, o);
	*m->data_pte[c->page] = pte;
}

static bool agree(const struct test_case *c, const struct outcome *want, struct outcome *got,
		  bool flags, char *why)
{
	if (c->p.masked && !((want->cr2 ^ got->cr2) & PAGE_MASK))
		got->cr2 = want->cr2;
	return !differs(want, got, flags || want->vector == -1, why);
}

/* Hosts that are virtual themselves have been seen to raise a stray #UD in native code once in some
 * hundred thousand programs. An oracle that does not repeat itself is asked again, and counted. */
static unsigned unstable, unstable_max;

static bool run_program(const struct test_case *c, struct machine *machines[2], const char *what,
			bool verbose)
{
	static struct outcome want, again, got;
	char why[200], change[200];

	if (verbose) {
		printf("# %s\n", what);
		program_print(&c->p);
	}
	native_outcome(c, &want);
	for (int k = 0; k < 2; k++) {
		guest_outcome(c, machines[k], &got);
		if (agree(c, &want, &got, k == 1, why))
			continue;
		native_outcome(c, &again);
		if (!agree(c, &want, &again, true, change) && unstable < unstable_max) {
			printf("# case %#llx: the host does not repeat itself: %s\n",
			       (unsigned long long)c->seed, change);
			unstable++;
			want = again;
			k = -1; /* from the start, with the new answer */
			continue;
		}
		printf("# case %#llx, %s, %s: %s\n", (unsigned long long)c->seed, what,
		       k ? "stepped" : "translated", why);
		if (!verbose)
			program_print(&c->p);
		return false;
	}
	return true;
}

/* Some programs run three times: as they are, with other immediates, and as they were. */
static bool run_case(struct machine *fast, struct machine *step, u64 seed, unsigned length,
		     bool verbose)
{
	static struct test_case c;
	struct machine *machines[] = { fast, step };
	struct program first;

	make_case(&c, seed, length);
	if (!run_program(&c, machines, "first", verbose))
		return false;
	first = c.p;
	if (c.p.whole &&
	    !run_program(&c, machines, "again", verbose)) /* with what is known by now */
		return false;
	if (below(4) || !program_vary(&c.p))
		return true;
	if (!run_program(&c, machines, "with other immediates", verbose))
		return false;
	c.p = first;
	return run_program(&c, machines, "again", verbose);
}

/* A descriptor of the translations of all the programs. */
static int save_cases(u64 cases, u64 seed, unsigned length)
{
	static struct machine recorder;
	static struct test_case c;
	static struct outcome got;
	int fd;

	machine_init_saved(&recorder, true, 0);
	for (u64 i = 0; i < cases; i++) {
		make_case(&c, seed * 0x100000000ull + i, length);
		guest_outcome(&c, &recorder, &got);
	}
	fd = machine_save(&recorder);
	machine_free(&recorder);
	return fd;
}

static void find_taken(void *taken, const char *group, const char *name, u64 value)
{
	if (!strcmp(name, "blocks-from-cache"))
		*(u64 *)taken = value;
}

static void find_woken(void *woken, const char *group, const char *name, u64 value)
{
	if (!strcmp(name, "blocks-woken"))
		*(u64 *)woken = value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "cases", 1, 0, 'n' },  { "seed", 1, 0, 's' },   { "only", 1, 0, 'o' },
		{ "length", 1, 0, 'l' }, { "faults", 0, 0, 'f' }, { "combinations", 0, 0, 'c' },
		{ "plain", 1, 0, 'p' },  { "saved", 0, 0, 'v' },  { 0 }
	};
	static struct machine fast, step;
	u64 cases = 20000, seed = 1, only = 0, failed = 0, woken = 0, taken = 0;
	bool saved = false;
	unsigned length = MAX_INSNS, plain = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n': cases = strtoull(optarg, NULL, 0); break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'o': only = strtoull(optarg, NULL, 0); break;
		case 'l': length = strtoul(optarg, NULL, 0); break;
		case 'f': generator.faults = true; break;
		case 'c': generator.combinations = true; break;
		case 'p': plain = strtoul(optarg, NULL, 0); break;
		case 'v': saved = true; break;
		default: return 2;
		}
	}
	machine_init_plain(&fast, plain);
	machine_init(&step, true);
	generator.xcr0 = fast.vm->xcr0_mask;
	find_components();
	insn_contract_init(&generator.contract);
	cpuid_apply_contract(fast.vm, &generator.contract);
	if (saved) {
		machine_free(&fast);
		machine_init_saved(&fast, false, save_cases(cases, seed, length));
	}
	native_init(generator.xcr0);
	native_data = mmap((void *)DATA_GVA, DATA_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	native_code =
		mmap((void *)CODE_GVA, CODE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (only)
		return !run_case(&fast, &step, only, length, true);
	unstable_max = 3 + cases / 200000;
	for (u64 i = 0; i < cases && failed < 10; i++) {
		if (generator.combinations && i * (CPU_PLAIN_ALL + 1) / cases != plain) {
			machine_free(&fast);
			machine_init_plain(&fast, ++plain);
			native_go_first();
		}
		failed += !run_case(&fast, &step, seed * 0x100000000ull + i, length, false);
		if (failed && generator.combinations)
			printf("# without %#x of enum cpu_plain\n", plain);
	}
	cpu_counters(fast.cpu, find_woken, &woken);
	printf("# %llu blocks woken\n", (unsigned long long)woken);
	cpu_counters(fast.cpu, find_taken, &taken);
	printf("# %llu blocks from those of another machine\n", (unsigned long long)taken);
	failed += cases >= 10000 && !saved && !woken && !generator.combinations;
	failed += saved && taken < cases / 2;
	printf("1..1\n%s 1 - %llu random programs, seed %llu%s\n", failed ? "not ok" : "ok",
	       (unsigned long long)cases, (unsigned long long)seed,
	       generator.faults ? ", with page faults"
	       : saved          ? ", from saved blocks"
				: "");
	machine_free(&fast);
	machine_free(&step);
	return failed != 0;
}
