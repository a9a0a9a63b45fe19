/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file of saved translations (src/cpu/saved.h) with any content: whatever is in it, what the
 * verifier lets through is inside the tables, and a guest that takes its blocks goes on.
 *
 *   input: the file from its first byte; build and contract are put in
 */
#include "cpu/saved.h"
#include "fuzz.h"
#include "machine.h"

#include <string.h>
#include <unistd.h>

const size_t fuzz_bytes_max = 16384;
const bool fuzz_text = false;

/* Loads and stores, a loop, a call, an immediate. */
static const u8 program[] = { 0x48, 0xc7, 0xc1, 3,    0,    0,    0,    0x48, 0x8b,
			      0x06, 0x48, 0x01, 0x46, 0x08, 0xff, 0xc9, 0x75, 0xf5,
			      0xe8, 1,    0,    0,    0,    0xcc, 0xc3 };

static void run_program(struct machine *m)
{
	struct x86_state s = m->state;

	memcpy(m->code, program, sizeof(program));
	cpu_vm_memory_written(m->vm, machine_gpa(m, m->code), PAGE_SIZE);
	s.rip = CODE_GVA;
	s.gpr[RSI] = s.gpr[RDI] = DATA_GVA;
	s.gpr[RSP] = DATA_GVA + 2048;
	machine_run(m, &s);
}

bool fuzz_seed(unsigned index, GByteArray *seed)
{
	static struct machine m;
	struct saved_code_header h;
	int fd;

	if (index)
		return false;
	machine_init_saved(&m, true, 0);
	run_program(&m);
	fd = machine_save(&m);
	machine_free(&m);
	if (pread(fd, &h, sizeof(h), 0) != sizeof(h))
		return false;
	g_byte_array_set_size(seed, h.bytes);
	FUZZ_CHECK(pread(fd, seed->data, h.bytes, 0) == (ssize_t)h.bytes);
	close(fd);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m;
	struct saved_code_header h;
	struct saved_parts parts;
	u8 *file;

	if (!m.vm)
		machine_init(&m, false);
	if (size < sizeof(h))
		return 0;
	file = g_malloc(size);
	memcpy(file, data, size);
	memcpy(&h, file, sizeof(h));
	saved_identity(m.vm, h.build, h.contract);
	memcpy(file, &h, sizeof(h));
	if (!saved_why_not(m.vm, (void *)file, size, false)) {
		struct code_cache *code = m.vm->code;

		code->saved = saved_use_memory(file, size);
		for (u64 at = sizeof(h); saved_parts(code->saved, at, &parts);
		     at += ((const struct saved_block *)(file + at))->bytes)
			saved_check(code, (const void *)(file + at));
		run_program(&m);
		FUZZ_CHECK(!code->refused);
		g_free(code->saved->use);
		g_free(code->saved);
		code->saved = NULL;
	}
	g_free(file);
	return 0;
}
