/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Our processor as the follower of another one: its whole state is put in from the outside, then it
 * goes one instruction at a time, and after each says what it is. tools/lockstep drives it.
 *
 *   cpu-follow RAM BYTES        a file with the guest's memory, which is mapped, not copied
 *
 * JSON lines in, one answer each; all numbers are in hexadecimal without prefix:
 *   {"set": {NAME: VALUE, ...}}  changes these parts of the state; see fields[] for the names
 *   {"memory": true}             somebody else has changed the memory
 *   {"step": true}               one instruction, and the exception it raises
 *   {}                           just the answer
 * The answer: "state" with all parts. After a step also "text" (the instruction), "undefined"
 * (flags that the manual leaves undefined after it), "device" (it read something outside RAM),
 * "exception" (a vector), and "exit" if the processor ended. {"error": ...}: the line was not
 * understood.
 *
 * There is no device here. What an instruction reads from one, the driver has to put in.
 */
#include "cpu/code.h"
#include "cpu/vcpu.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct follower {
	struct cpu_vm *vm;
	struct cpu *cpu;
	struct x86_state state;
	u8 *ram;
	u64 bytes;
	u64 cr8;
	bool device;
};

/* ---- the computer ---------------------------------------------------------------------------- */

static void follow_mmio(void *opaque, unsigned index, gpa_t gpa, u64 *data, unsigned size,
			bool write)
{
	struct follower *f = opaque;

	if (!write) {
		f->device = true;
		*data = ~0ull;
	}
}

static void follow_pio(void *opaque, unsigned index, u16 port, u32 *data, unsigned size, bool write)
{
	struct follower *f = opaque;

	if (!write) {
		f->device = true;
		*data = ~0u;
	}
}

static bool follow_msr(void *opaque, unsigned index, u32 msr, u64 *data, bool write)
{
	struct follower *f = opaque;

	if (!write) {
		f->device = true;
		*data = 0;
	}
	return true;
}

static int no_ack(void *opaque, unsigned index)
{
	return -1;
}

static u64 follow_cr8(void *opaque, unsigned index, u64 value, bool write)
{
	struct follower *f = opaque;

	if (write)
		f->cr8 = value;
	return f->cr8;
}

static bool map_ram(struct follower *f, const char *path, u64 bytes)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	f->bytes = bytes;
	f->ram = fd < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	return f->ram != MAP_FAILED;
}

static bool follower_new(struct follower *f, GError **error)
{
	struct cpu_vm_config config = { .cpus = 1,
					.sockets = 1,
					.cores = 1,
					.threads = 1,
					.step = true,
					.code_cache_bytes = 16 * MIB,
					.tsc_hz = 1000000000,
					.bus = { .opaque = f,
						 .mmio = follow_mmio,
						 .pio = follow_pio,
						 .msr = follow_msr,
						 .interrupt_ack = no_ack,
						 .cr8 = follow_cr8 } };

	f->vm = cpu_vm_new(&config, error);
	f->cpu = f->vm ? cpu_new(f->vm, 0, error) : NULL;
	if (!f->cpu)
		return false;
	cpu_reset(f->cpu, false);
	cpu_get_state(f->cpu, &f->state);
	/* video memory and firmware belong to the other machine */
	return !cpu_vm_set_slot(f->vm, 0, 0, 0xa0000, f->ram, 0) &&
	       !cpu_vm_set_slot(f->vm, 1, MIB, f->bytes - MIB, f->ram + MIB, 0);
}

/* ---- the state by names ------------------------------------------------------------------------
 */

#define STATE(member)      offsetof(struct x86_state, member), sizeof(((struct x86_state *)0)->member)
#define FPU(offset, bytes) offsetof(struct x86_state, xsave) + (offset), bytes
#define SEGMENT(name, index)                                \
	{ name ".selector", STATE(seg[index].selector) },   \
		{ name ".base", STATE(seg[index].base) },   \
		{ name ".limit", STATE(seg[index].limit) }, \
	{                                                   \
		name ".attr", STATE(seg[index].attr)        \
	}
#define VECTOR(n)                                      \
	{ "xmm" #n ".low", FPU(160 + (n)*16, 8) },     \
	{                                              \
		"xmm" #n ".high", FPU(168 + (n)*16, 8) \
	}
#define X87(n)                                       \
	{ "st" #n ".low", FPU(32 + (n)*16, 8) },     \
	{                                            \
		"st" #n ".high", FPU(40 + (n)*16, 2) \
	}

static const struct field {
	const char *name;
	unsigned offset, bytes;
} fields[] = {
	{ "rax", STATE(gpr[RAX]) },
	{ "rcx", STATE(gpr[RCX]) },
	{ "rdx", STATE(gpr[RDX]) },
	{ "rbx", STATE(gpr[RBX]) },
	{ "rsp", STATE(gpr[RSP]) },
	{ "rbp", STATE(gpr[RBP]) },
	{ "rsi", STATE(gpr[RSI]) },
	{ "rdi", STATE(gpr[RDI]) },
	{ "r8", STATE(gpr[R8]) },
	{ "r9", STATE(gpr[R9]) },
	{ "r10", STATE(gpr[R10]) },
	{ "r11", STATE(gpr[R11]) },
	{ "r12", STATE(gpr[R12]) },
	{ "r13", STATE(gpr[R13]) },
	{ "r14", STATE(gpr[R14]) },
	{ "r15", STATE(gpr[R15]) },
	{ "rip", STATE(rip) },
	{ "rflags", STATE(rflags) },
	SEGMENT("es", SEG_ES),
	SEGMENT("cs", SEG_CS),
	SEGMENT("ss", SEG_SS),
	SEGMENT("ds", SEG_DS),
	SEGMENT("fs", SEG_FS),
	SEGMENT("gs", SEG_GS),
	SEGMENT("ldt", SEG_LDT),
	SEGMENT("tr", SEG_TR),
	{ "gdt.base", STATE(gdtr.base) },
	{ "gdt.limit", STATE(gdtr.limit) },
	{ "idt.base", STATE(idtr.base) },
	{ "idt.limit", STATE(idtr.limit) },
	{ "cr0", STATE(cr0) },
	{ "cr2", STATE(cr2) },
	{ "cr3", STATE(cr3) },
	{ "cr4", STATE(cr4) },
	{ "cr8", STATE(cr8) },
	{ "efer", STATE(efer) },
	{ "dr6", STATE(dr[6]) },
	{ "dr7", STATE(dr[7]) },
	{ "star", STATE(msr.star) },
	{ "lstar", STATE(msr.lstar) },
	{ "cstar", STATE(msr.cstar) },
	{ "sfmask", STATE(msr.sfmask) },
	{ "kernel_gs_base", STATE(msr.kernel_gs_base) },
	{ "tsc_aux", STATE(msr.tsc_aux) },
	{ "sysenter_cs", STATE(msr.sysenter_cs) },
	{ "sysenter_esp", STATE(msr.sysenter_esp) },
	{ "sysenter_eip", STATE(msr.sysenter_eip) },
	{ "pat", STATE(msr.pat) },
	{ "xcr0", STATE(xcr0) },
	{ "fctrl", FPU(0, 2) },
	{ "fstat", FPU(2, 2) },
	{ "ftag", FPU(4, 1) },
	{ "mxcsr", FPU(24, 4) },
	X87(0),
	X87(1),
	X87(2),
	X87(3),
	X87(4),
	X87(5),
	X87(6),
	X87(7),
	VECTOR(0),
	VECTOR(1),
	VECTOR(2),
	VECTOR(3),
	VECTOR(4),
	VECTOR(5),
	VECTOR(6),
	VECTOR(7),
	VECTOR(8),
	VECTOR(9),
	VECTOR(10),
	VECTOR(11),
	VECTOR(12),
	VECTOR(13),
	VECTOR(14),
	VECTOR(15),
};

static bool set_field(struct x86_state *s, const char *name, const char *text)
{
	char *end;
	u64 value = text ? strtoull(text, &end, 16) : 0;

	if (!text || !*text || *end)
		return false;
	for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
		if (!strcmp(fields[i].name, name)) {
			memcpy((u8 *)s + fields[i].offset, &value, fields[i].bytes);
			return true;
		}
	}
	return false;
}

static json_t *all_fields(const struct x86_state *s)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < ARRAY_LEN(fields); i++) {
		char text[32];
		u64 value = 0;

		memcpy(&value, (const u8 *)s + fields[i].offset, fields[i].bytes);
		snprintf(text, sizeof(text), "%llx", (unsigned long long)value);
		json_object_set_new(all, fields[i].name, json_string(text));
	}
	return all;
}

static const char *set_fields(struct follower *f, const json_t *wanted)
{
	u64 *present = (u64 *)(f->state.xsave + 512);
	const char *name;
	json_t *value;

	json_object_foreach ((json_t *)wanted, name, value)
		if (!set_field(&f->state, name, json_string_value(value)))
			return "set: no such part of the state, or not a hexadecimal number";
	*present |= 3; /* x87 and SSE come from the fields, not from their initial values */
	f->cr8 = f->state.cr8;
	return cpu_set_state(f->cpu, &f->state) ? "set: the processor cannot be in that state"
						: NULL;
}

/* ---- what the instruction is --------------------------------------------------------------------
 */

/* The bytes at RIP, as far as they can be fetched. */
static unsigned fetch(struct follower *f, u8 *bytes)
{
	struct cpu *cpu = f->cpu;
	u64 at = cpu->rip + (cpu_64bit(cpu) ? 0 : cpu->seg[SEG_CS].base);
	unsigned got = 0;

	if (!cpu_64bit(cpu))
		at = (u32)at;
	for (; got < 15; got++) {
		gpa_t gpa;
		u8 *p;

		if (!mmu_translate(cpu, at + got, ACCESS_X | ACCESS_PROBE, &gpa))
			break;
		p = ram_ptr(f->vm, gpa, NULL);
		if (!p)
			break;
		bytes[got] = *p;
	}
	cpu->fault_pending = 0;
	return got;
}

static const ZydisDecoder *decoder(const struct follower *f)
{
	static const enum insn_mode modes[] = {
		[CTX_16] = INSN_16, [CTX_32] = INSN_32, [CTX_64] = INSN_64
	};

	return &f->vm->code->contract.decoder[modes[f->cpu->ctx & CTX_MODE_MASK]];
}

static void describe(struct follower *f, json_t *answer)
{
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisFormatter formatter;
	char text[128] = "(not an instruction)", flags[16];
	u8 bytes[15];
	unsigned got = fetch(f, bytes);
	u32 undefined = 0;

	if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder(f), bytes, got, &insn, operands))) {
		ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
		ZydisFormatterFormatInstruction(&formatter, &insn, operands,
						insn.operand_count_visible, text, sizeof(text),
						f->cpu->rip, NULL);
		if (insn.cpu_flags)
			undefined = insn.cpu_flags->undefined;
	}
	snprintf(flags, sizeof(flags), "%x", undefined);
	json_object_set_new(answer, "text", json_string(text));
	json_object_set_new(answer, "undefined", json_string(flags));
}

/* ---- one line -------------------------------------------------------------------------------- */

static const char *const exits[] = { [CPU_EXIT_STOPPED] = NULL,
				     [CPU_EXIT_HALTED] = "halted",
				     [CPU_EXIT_SHUTDOWN] = "shutdown",
				     [CPU_EXIT_ERROR] = "error" };

static void step(struct follower *f, json_t *answer)
{
	enum cpu_exit exit;

	describe(f, answer);
	f->device = false;
	exit = cpu_step(f->cpu, false);
	if (f->cpu->fault_pending) {
		json_object_set_new(answer, "exception", json_integer(f->cpu->fault.vector));
		if (!event_deliver(f->cpu))
			exit = CPU_EXIT_SHUTDOWN;
	}
	cpu_get_state(f->cpu, &f->state);
	json_object_set_new(answer, "device", json_boolean(f->device));
	if (exits[exit])
		json_object_set_new(answer, "exit", json_string(exits[exit]));
}

static json_t *execute(struct follower *f, const json_t *line)
{
	json_t *answer = json_object(), *set = json_object_get(line, "set");
	const char *wrong = json_is_object(line) ? NULL : "not a JSON object";

	if (set)
		wrong = set_fields(f, set);
	if (json_is_true(json_object_get(line, "memory"))) {
		cpu_vm_memory_written(f->vm, 0, f->bytes);
		tlb_flush_all(f->cpu);
	}
	if (!wrong && json_is_true(json_object_get(line, "step")))
		step(f, answer);
	if (wrong)
		json_object_set_new(answer, "error", json_string(wrong));
	else
		json_object_set_new(answer, "state", all_fields(&f->state));
	return answer;
}

int main(int argc, char **argv)
{
	struct follower *f = g_aligned_alloc0(1, sizeof(*f), 64);
	GError *error = NULL;
	char *text = NULL;
	size_t room = 0;

	if (argc != 3 || strtoull(argv[2], NULL, 10) < 2 * MIB) {
		fprintf(stderr, "usage: cpu-follow RAM BYTES (at least 2 MiB)\n");
		return 2;
	}
	if (!map_ram(f, argv[1], strtoull(argv[2], NULL, 10)) || !follower_new(f, &error)) {
		fprintf(stderr, "cpu-follow: %s\n", error ? error->message : "cannot map the RAM");
		return 1;
	}
	while (getline(&text, &room, stdin) > 0) {
		json_t *line = json_loads(text, 0, NULL), *answer = execute(f, line);

		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
		json_decref(answer);
		json_decref(line);
	}
	free(text);
	cpu_free(f->cpu);
	cpu_vm_free(f->vm);
	g_aligned_free(f);
	return 0;
}
