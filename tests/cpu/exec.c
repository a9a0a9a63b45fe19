/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One instruction at a time from the outside: JSON lines in, JSON lines out.
 *
 *   {"mode": "64", "regs": {"rax": 1, "rip": "0x1000"}, "mem": [{"gpa": 8192, "hex": "0011"}],
 *    "code": "4801d8"}
 *   {"regs": {...}, "mem": [{"gpa": ..., "hex": ...}], "exit": "stopped"}
 *
 * mode    "64", "32" (both flat, CPL 0; 64 with identity paging below 1 GiB) or "16" (real)
 * regs    numbers or "0x..." strings; rip 0x10000 (16: 0x7c00), rsp 0x20000 and rflags 2 unless
 *         given; all others 0. Also cr2 in the answer.
 * code    is put at rip
 * engine  "step" (default): one instruction, a repeated string instruction to its end;
 *         "block": one translated block with all its optimisations
 * stop    a gpa where a HLT is put for the run, so that a block ends there
 *
 * The answer lists all registers, the 16-byte pieces of memory that changed, how it ended, and an
 * exception if one arose, undelivered: {"vector": 14, "error": 2}, registers as the manual leaves
 * them. Memory is 4 MiB and fresh for each line. "error" alone: the line was not understood.
 */
#include "cpu/cpu.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RAM    (4 * MIB)
#define TABLES 0x3fe000 /* PML4, PDPT: the last two pages, not reported */

static const char *const names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
				       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };

struct engine {
	struct cpu_vm *vm;
	struct cpu *cpu;
	u8 *ram, *before;
};

/* ---- the computer ---------------------------------------------------------------------------- */

static void no_mmio(void *opaque, unsigned index, gpa_t gpa, u64 *data, unsigned size, bool write)
{
	*data = ~0ull;
}
static void no_pio(void *opaque, unsigned index, u16 port, u32 *data, unsigned size, bool write)
{
	*data = ~0u;
}
static bool no_msr(void *opaque, unsigned index, u32 msr, u64 *data, bool write)
{
	return false;
}
static int no_ack(void *opaque, unsigned index)
{
	return -1;
}
static u64 no_cr8(void *opaque, unsigned index, u64 value, bool write)
{
	return 0;
}

static bool engine_new(struct engine *e, GError **error)
{
	/* check_blocks: no chaining, so that a block is one */
	struct cpu_vm_config config = { .cpus = 1,
					.sockets = 1,
					.cores = 1,
					.threads = 1,
					.check_blocks = true,
					.code_cache_bytes = MIB,
					.tsc_hz = 1000000000,
					.bus = { .mmio = no_mmio,
						 .pio = no_pio,
						 .msr = no_msr,
						 .interrupt_ack = no_ack,
						 .cr8 = no_cr8 } };

	e->vm = cpu_vm_new(&config, error);
	if (!e->vm)
		return false;
	e->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	e->before = malloc(RAM);
	e->cpu = cpu_new(e->vm, 0, error);
	return e->cpu && e->before && e->ram != MAP_FAILED &&
	       !cpu_vm_set_slot(e->vm, 0, 0, RAM, e->ram, 0);
}

static void set_mode(struct engine *e, struct x86_state *s, const char *mode)
{
	u64 pml4 = (TABLES + 0x1000) | 7, pdpte = 0xe7; /* one page of 1 GiB */
	struct x86_segment data = { 0, 0xffffffff, 16, 0xc093 };

	s->rflags = 2;
	s->gpr[RSP] = 0x20000;
	s->rip = 0x10000;
	if (!strcmp(mode, "16")) {
		s->rip = 0x7c00;
		s->seg[SEG_CS] = (struct x86_segment){ 0, 0xffff, 0, 0x9b };
		return;
	}
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		s->seg[i] = data;
	s->seg[SEG_CS] = (struct x86_segment){ 0, 0xffffffff, 8, 0xc09b };
	s->cr0 = CR0_PE | CR0_ET | CR0_NE;
	s->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
	if (strcmp(mode, "64"))
		return;
	memcpy(e->ram + TABLES, &pml4, 8);
	memcpy(e->ram + TABLES + 0x1000, &pdpte, 8);
	s->seg[SEG_CS].attr = 0xa09b;
	s->cr0 |= CR0_PG | CR0_WP;
	s->cr3 = TABLES;
	s->cr4 |= CR4_PAE;
	s->efer = EFER_LME | EFER_LMA | EFER_NXE;
}

/* ---- in -------------------------------------------------------------------------------------- */

static bool number(const json_t *j, u64 *value)
{
	char *end;

	if (json_is_integer(j)) {
		*value = json_integer_value(j);
		return true;
	}
	if (!json_is_string(j))
		return false;
	errno = 0;
	*value = strtoull(json_string_value(j), &end, 0);
	return !errno && !*end && end != json_string_value(j);
}

static bool put_hex(struct engine *e, u64 gpa, const char *hex)
{
	size_t bytes = hex ? strlen(hex) / 2 : 0;

	if (!hex || strlen(hex) % 2 || gpa > TABLES || bytes > TABLES - gpa)
		return false;
	for (size_t i = 0; i < bytes; i++) {
		int high = g_ascii_xdigit_value(hex[2 * i]);
		int low = g_ascii_xdigit_value(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		e->ram[gpa + i] = high << 4 | low;
	}
	return true;
}

static bool set_register(struct x86_state *s, const char *name, u64 value)
{
	if (!strcmp(name, "rip"))
		s->rip = value;
	else if (!strcmp(name, "rflags"))
		s->rflags = value;
	else if (!strcmp(name, "cr2"))
		s->cr2 = value;
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (!strcmp(name, names[i])) {
			s->gpr[i] = value;
			return true;
		}
	}
	return !strcmp(name, "rip") || !strcmp(name, "rflags") || !strcmp(name, "cr2");
}

/* Fills memory and state from a line. NULL: done; else what is wrong with it. */
static const char *prepare(struct engine *e, const json_t *line, struct x86_state *s)
{
	const char *mode = json_string_value(json_object_get(line, "mode")), *name;
	json_t *piece, *value;
	size_t i;
	u64 n;

	if (!mode || (strcmp(mode, "16") && strcmp(mode, "32") && strcmp(mode, "64")))
		return "mode must be \"16\", \"32\" or \"64\"";
	memset(e->ram, 0, RAM);
	cpu_reset(e->cpu, false);
	cpu_get_state(e->cpu, s);
	memset(s->gpr, 0, sizeof(s->gpr));
	set_mode(e, s, mode);
	json_object_foreach (json_object_get(line, "regs"), name, value)
		if (!number(value, &n) || !set_register(s, name, n))
			return "regs: not a register or not a number";
	json_array_foreach (json_object_get(line, "mem"), i, piece)
		if (!number(json_object_get(piece, "gpa"), &n) ||
		    !put_hex(e, n, json_string_value(json_object_get(piece, "hex"))))
			return "mem: needs gpa and hex inside the memory";
	value = json_object_get(line, "code");
	if (value && !put_hex(e, s->rip, json_string_value(value)))
		return "code: not hexadecimal, or rip is outside the memory";
	return NULL;
}

/* ---- out ------------------------------------------------------------------------------------- */

static void set_number(json_t *object, const char *name, u64 value)
{
	char text[32];

	snprintf(text, sizeof(text), "%#llx", (unsigned long long)value);
	json_object_set_new(object, name, json_string(text));
}

static json_t *registers(const struct x86_state *s)
{
	json_t *regs = json_object();

	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		set_number(regs, names[i], s->gpr[i]);
	set_number(regs, "rip", s->rip);
	set_number(regs, "rflags", s->rflags);
	set_number(regs, "cr2", s->cr2);
	return regs;
}

static json_t *changes(const struct engine *e)
{
	json_t *all = json_array();

	for (u32 at = 0; at < TABLES; at += 16) {
		char hex[33];
		json_t *piece;

		if (!memcmp(e->ram + at, e->before + at, 16))
			continue;
		for (unsigned i = 0; i < 16; i++)
			sprintf(hex + 2 * i, "%02x", e->ram[at + i]);
		piece = json_object();
		set_number(piece, "gpa", at);
		json_object_set_new(piece, "hex", json_string(hex));
		json_array_append_new(all, piece);
	}
	return all;
}

static const char *const exits[] = { [CPU_EXIT_STOPPED] = "stopped",
				     [CPU_EXIT_HALTED] = "halted",
				     [CPU_EXIT_SHUTDOWN] = "shutdown",
				     [CPU_EXIT_ERROR] = "error" };

/* ---- one line -------------------------------------------------------------------------------- */

static json_t *execute(struct engine *e, const json_t *line)
{
	const char *engine = json_string_value(json_object_get(line, "engine"));
	struct x86_state s;
	const char *wrong = prepare(e, line, &s);
	enum cpu_exit exit;
	json_t *answer = json_object(), *exception;
	u64 stop = RAM;
	u8 saved = 0;

	if (!wrong && number(json_object_get(line, "stop"), &stop) && stop >= TABLES)
		wrong = "stop: outside the memory";
	if (!wrong && cpu_set_state(e->cpu, &s))
		wrong = "the processor cannot be in that state";
	if (wrong) {
		json_object_set_new(answer, "error", json_string(wrong));
		return answer;
	}
	memcpy(e->before, e->ram, RAM);
	if (stop < TABLES) {
		saved = e->ram[stop];
		e->ram[stop] = 0xf4;
	}
	cpu_vm_memory_written(e->vm, 0, RAM);
	exit = cpu_step(e->cpu, engine && !strcmp(engine, "block"));
	cpu_get_state(e->cpu, &s);
	if (stop < TABLES)
		e->ram[stop] = saved;
	if (exit == CPU_EXIT_HALTED && s.rip == stop + 1) {
		s.rip = stop;
		exit = CPU_EXIT_STOPPED;
	}
	json_object_set_new(answer, "regs", registers(&s));
	json_object_set_new(answer, "mem", changes(e));
	json_object_set_new(answer, "exit", json_string(exits[exit]));
	if (s.event_pending) {
		exception = json_object();
		json_object_set_new(exception, "vector", json_integer(s.event_vector));
		if (s.event_has_error)
			json_object_set_new(exception, "error", json_integer(s.event_error));
		json_object_set_new(answer, "exception", exception);
	}
	return answer;
}

int main(void)
{
	struct engine e;
	GError *error = NULL;
	char *text = NULL;
	size_t room = 0;

	if (!engine_new(&e, &error)) {
		fprintf(stderr, "cpu-exec: %s\n", error ? error->message : "no memory");
		return 1;
	}
	while (getline(&text, &room, stdin) > 0) {
		json_t *line = json_loads(text, 0, NULL), *answer;

		if (line) {
			answer = execute(&e, line);
		} else {
			answer = json_object();
			json_object_set_new(answer, "error", json_string("not JSON"));
		}
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
		json_decref(answer);
		json_decref(line);
	}
	free(text);
	cpu_free(e.cpu);
	cpu_vm_free(e.vm);
	free(e.before);
	return 0;
}
