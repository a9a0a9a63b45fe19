/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved translations (src/cpu/saved.h): a second machine takes the first one's blocks, with other
 * immediates and addresses too; a damaged, foreign or forged file is refused for the right reason.
 */
#include "cpu/saved.h"
#include "cpu/run.h"
#include "cpu/x86/verify.h"
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned count, failed;

static void result(bool ok, const char *what, const char *why)
{
	count++;
	failed += !ok;
	printf("%s %u - %s%s%s\n", ok ? "ok" : "not ok", count, what, why ? ": " : "",
	       why ? why : "");
}

/* mov $imm32, %rdi; mov table(,%rcx,8), %rax; add table + 8(,%rcx,8), %rax; mov %rax, (%rsi);
 * add %rdi, %rax; call 1f; int3; 1: add $1, %rax; ret */
#define IMM_AT    3
#define TABLE_AT  11
#define TABLE2_AT 19
static const u8 program[] = { 0x48, 0xc7, 0xc7, 0x11, 0x22, 0x33, 0x04, 0x48, 0x8b, 0x04,
			      0xcd, 0,    0,    0,    0,    0x48, 0x03, 0x04, 0xcd, 0,
			      0,    0,    0,    0x48, 0x89, 0x06, 0x48, 0x01, 0xf8, 0xe8,
			      1,    0,    0,    0,    0xcc, 0x48, 0x83, 0xc0, 1,    0xc3 };

static void find(void *opaque, const char *group, const char *name, u64 value)
{
	struct {
		const char *name;
		u64 value;
	} *wanted = opaque;

	if (!strcmp(name, wanted->name))
		wanted->value = value;
}

static u64 counter(struct machine *m, const char *name)
{
	struct {
		const char *name;
		u64 value;
	} wanted = { name, 0 };

	cpu_counters(m->cpu, find, &wanted);
	return wanted.value;
}

/* The table lies below -2 GiB + ...: at -index, so that its address is negative as a kernel's is.
 */
static u64 run(struct machine *m, u32 imm, s32 table, s32 table2)
{
	struct x86_state s = m->state;

	memcpy(m->code, program, sizeof(program));
	memcpy(m->code + IMM_AT, &imm, 4);
	memcpy(m->code + TABLE_AT, &table, 4);
	memcpy(m->code + TABLE2_AT, &table2, 4);
	cpu_vm_memory_written(m->vm, machine_gpa(m, m->code), PAGE_SIZE);
	for (unsigned i = 0; i < DATA_PAGES; i++)
		for (unsigned k = 0; k < PAGE_SIZE / 8; k++)
			((u64 *)m->data[i])[k] = 0x1000000000ull * (i + 1) + k * 0x101;
	s.rip = CODE_GVA;
	s.gpr[RSI] = DATA_GVA;
	s.gpr[RCX] = (DATA_GVA + PAGE_SIZE + 0x4000000) / 8;
	s.gpr[RSP] = DATA_GVA + 3 * PAGE_SIZE + 2048;
	return machine_run(m, &s) == -1 ? s.gpr[RAX] : ~0ull;
}

#define TABLE (-0x4000000)

static void take_blocks(int fd)
{
	static struct machine saved, fresh;
	static const struct {
		const char *what;
		u32 imm;
		s32 table, table2;
		u64 made; /* blocks that must be translated after all */
	} ways[] = {
		{ "the same code", 0x4332211, TABLE, TABLE + 8, 0 },
		{ "another immediate", 0x123, TABLE, TABLE + 8, 0 },
		{ "the table elsewhere", 0x4332211, TABLE + 0x40, TABLE + 0x48, 0 },
		{ "both", 77, TABLE - 0x400, TABLE - 0x3f8, 0 },
		{ "only one of two addresses moved", 77, TABLE, TABLE + 0x18, 1 },
	};
	char why[100];

	for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
		u64 got, want, made;

		machine_init_saved(&saved, false, fd);
		machine_init(&fresh, false);
		got = run(&saved, ways[i].imm, ways[i].table, ways[i].table2);
		want = run(&fresh, ways[i].imm, ways[i].table, ways[i].table2);
		made = counter(&saved, "blocks-translated");
		snprintf(why, sizeof(why), "%#llx, should be %#llx; %llu blocks taken, %llu made",
			 (unsigned long long)got, (unsigned long long)want,
			 (unsigned long long)counter(&saved, "blocks-from-cache"),
			 (unsigned long long)made);
		result(got == want && got != ~0ull && !saved.vm->code->refused &&
			       made == ways[i].made && counter(&saved, "blocks-from-cache") >= 2,
		       ways[i].what, why);
		machine_free(&saved);
		machine_free(&fresh);
	}
}

/* ---- the header ----------------------------------------------------------------------------- */

static u8 *copy_of(int fd, size_t *bytes)
{
	struct saved_code_header h;
	u8 *p;

	if (pread(fd, &h, sizeof(h), 0) != sizeof(h))
		exit(1);
	*bytes = h.bytes;
	p = malloc(h.bytes + 64);
	if (pread(fd, p, h.bytes, 0) != (ssize_t)h.bytes)
		exit(1);
	return p;
}

static void check_header(const struct machine *m, const u8 *file, size_t bytes)
{
	struct saved_code_header h, good;
	const char *why;
	unsigned accepted = 0;

	memcpy(&good, file, sizeof(good));
	result(!saved_why_not(m->vm, &good, bytes, false), "as it is", NULL);
	for (unsigned i = 0; i < offsetof(struct saved_code_header, blocks); i++) {
		h = good;
		((u8 *)&h)[i] ^= 0x80;
		why = saved_why_not(m->vm, &h, bytes, false);
		accepted += !why;
	}
	result(!accepted, "a damaged byte anywhere in the head", NULL);
#define REFUSED(what, reason, change)                                           \
	do {                                                                    \
		h = good;                                                       \
		change;                                                         \
		why = saved_why_not(m->vm, &h, bytes, false);                   \
		result(why && !strcmp(why, reason), what, why ? why : "taken"); \
	} while (0)
	REFUSED("another kind of file", "it is no file of translations", h.magic[0] = 'X');
	REFUSED("a newer format", "it has the format of another version", h.version++);
	REFUSED("another head", "it has the format of another version", h.header_bytes += 8);
	REFUSED("a foreign build", "another build of the translator made it", h.build[31] ^= 1);
	REFUSED("a foreign processor", "it was made for a processor with other features",
		h.contract[0] ^= 1);
	REFUSED("more bytes than there are", "it is cut short", h.bytes = bytes + 1);
	REFUSED("fewer bytes than the head", "it is cut short", h.bytes = 8);
	REFUSED("an index beyond the end", "its index is damaged", h.index = h.bytes + 8);
	REFUSED("an index that is not aligned", "its index is damaged", h.index++);
	REFUSED("an index in the head", "its index is damaged", h.index = 8);
	REFUSED("more slots than there are", "its index is damaged", h.slots *= 2);
	REFUSED("slots that are no power of two", "its index is damaged", h.slots--);
	REFUSED("no slots", "its index is damaged", h.slots = 0);
	REFUSED("an index without an end", "its index is damaged", h.blocks = h.slots);
	why = saved_why_not(m->vm, &good, sizeof(good) - 1, false);
	result(why && !strcmp(why, "it is no file of translations"), "a part of the head", why);
	h = good;
	h.contract[0] ^= 1;
	result(!saved_why_not(m->vm, &h, bytes, true), "any processor's, to be checked", NULL);
}

static void open_descriptors(struct machine *m, const u8 *file, size_t bytes)
{
	int fd = memfd_create("saved", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	struct saved_code *saved;

	if (write(fd, file, bytes) != (ssize_t)bytes)
		exit(1);
	result(!saved_open(m->vm, fd, false), "a file that can still be changed is refused", NULL);
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE);
	saved = saved_open(m->vm, fd, false);
	result(saved, "a sealed one is not", NULL);
	saved_close(saved);
	close(fd);
	fd = memfd_create("saved", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE);
	result(!saved_open(m->vm, fd, false), "an empty file is refused", NULL);
	close(fd);
	fd = memfd_create("small", MFD_CLOEXEC);
	if (ftruncate(fd, PAGE_SIZE))
		exit(1);
	result(cpu_vm_save_code(m->vm, fd) == -ENOSPC, "a file that is too small is not written",
	       NULL);
	close(fd);
}

/* ---- records -------------------------------------------------------------------------------- */

static struct machine machine;

/* Is the record at the file's @at safe to take? */
static bool is_taken(u8 *file, size_t bytes, u64 at)
{
	struct code_cache *code = machine.vm->code;
	struct saved_parts parts;
	bool taken;

	code->saved = saved_use_memory(file, bytes);
	taken = saved_parts(code->saved, at, &parts) &&
		saved_check(code, (const void *)(file + at));
	g_free(code->saved->use);
	g_free(code->saved);
	code->saved = NULL;
	return taken;
}

/* The record that has a site of that kind. */
static u64 record_with(const u8 *file, enum site_kind kind, unsigned *site)
{
	const struct saved_code_header *h = (const void *)file;
	u64 at = sizeof(*h);

	while (at < h->index) {
		const struct saved_block *r = (const void *)(file + at);
		const struct saved_site *s = (const void *)(r + 1);

		for (*site = 0; *site < r->sites; ++*site)
			if (s[*site].kind == kind)
				return at;
		at += r->bytes;
	}
	return 0;
}

struct forged {
	u8 *file, *copy;
	size_t bytes;
	u64 at;
	unsigned site;
	struct saved_block *r;
	struct saved_site *s;
	struct saved_parts p;
	u8 *code;
};

static struct forged forge(u8 *file, size_t bytes, enum site_kind kind)
{
	struct forged f = { .file = file, .bytes = bytes };
	struct saved_code *saved;

	f.at = record_with(file, kind, &f.site);
	if (!f.at)
		exit(1);
	f.copy = malloc(bytes + 64);
	memcpy(f.copy, file, bytes);
	f.r = (void *)(f.copy + f.at);
	f.s = (struct saved_site *)(f.r + 1) + f.site;
	saved = saved_use_memory(f.copy, bytes);
	if (!saved_parts(saved, f.at, &f.p))
		exit(1);
	f.code = (u8 *)f.p.code;
	g_free(saved->use);
	g_free(saved);
	return f;
}

#define FORGED(what, kind_, change)                                    \
	do {                                                           \
		struct forged f = forge(file, bytes, kind_);           \
		bool good = is_taken(f.copy, bytes, f.at);             \
		change;                                                \
		result(good && !is_taken(f.copy, bytes, f.at), what,   \
		       good ? NULL : "it was refused as it was, too"); \
		free(f.copy);                                          \
	} while (0)

static void forged_records(u8 *file, size_t bytes)
{
	static const u8 call_the_kernel[] = { 0x0f, 0x05 };

	FORGED("code that calls the kernel", SITE_MEM,
	       memcpy(f.code + f.r->entry_saved, call_the_kernel, 2));
	FORGED("an entry inside an instruction", SITE_MEM, f.r->entry_saved++);
	FORGED("the other entry inside an instruction", SITE_MEM, f.r->entry_host++);
	FORGED("an entry at the end", SITE_MEM, f.r->entry_saved = f.r->code_bytes - 4);
	FORGED("C goes on elsewhere", SITE_MEM, f.s->patch++);
	FORGED("C looks at less", SITE_MEM, (f.s->size--, f.s->span -= !!f.s->span));
	FORGED("a link that is no jump", SITE_LINK, f.s->patch += 4);
	FORGED("a link outside the block", SITE_LINK, f.s->patch = f.r->code_bytes - 2);
	FORGED("a link that leads elsewhere", SITE_LINK, f.s->stub++);
	FORGED("a return site that is none", SITE_RETURN, f.s->patch++);
	FORGED("a call without a return site", SITE_RETURN, f.s->kind = SITE_POLL);
	FORGED("a slow access", SITE_MEM, f.s->kind = SITE_SLOW);
	FORGED("a kind of site that is none", SITE_MEM, f.s->kind = SITE_NEXT + 1);
	FORGED("a group without its twin", SITE_ALT, f.s->kind = SITE_POLL);
	FORGED("a site's number that is none", SITE_MEM,
	       memset(f.code + PLACE_OFFSET(f.p.places[f.r->places - 2]), 0x7f, 3));
	FORGED("a thunk that is none", SITE_MEM,
	       f.code[PLACE_OFFSET(f.p.places[f.r->places - 1])]++);
	FORGED("more code than the record has", SITE_MEM, f.r->code_bytes += 64);
	FORGED("more sites than the record has", SITE_MEM, f.r->sites = BLOCK_MAX_SITES);
	FORGED("a record beyond the index", SITE_MEM, f.r->bytes = bytes);
	FORGED("no map", SITE_MEM, f.r->maps = 0);
	FORGED("a context that single blocks have", SITE_MEM, f.r->ctx |= CTX_SLOW);
	FORGED("another privilege's TLB", SITE_MEM, f.r->ctx ^= 3 << CTX_CPL_SHIFT);
	FORGED("bytes of another page", SITE_MEM,
	       ((struct footprint_range *)f.p.ranges)[0].bytes += PAGE_SIZE);
	FORGED("a value beyond the code", SITE_MEM,
	       ((struct footprint_field *)f.p.fields)[0].host = f.r->code_bytes - 1);
	FORGED("a value over a check's bound", SITE_MEM, {
		u8 *p = f.code;

		while (!(p[0] == 0x0f && p[1] == 0x87)) /* ja; before it cmp with imm32 */
			p++;
		((struct footprint_field *)f.p.fields)[0].host = p - 4 - f.code;
		((struct footprint_field *)f.p.fields)[0].bytes = 4;
		((struct footprint_field *)f.p.fields)[0].family = 0;
	});
	FORGED("a value in an opcode", SITE_MEM, {
		u8 *p = f.code;

		while (!(p[0] == 0x0f && p[1] == 0x87))
			p++;
		((struct footprint_field *)f.p.fields)[0].host = p + 1 - f.code;
		((struct footprint_field *)f.p.fields)[0].bytes = 1;
		((struct footprint_field *)f.p.fields)[0].family = 0;
	});
	FORGED("a value in a jump", SITE_LINK, {
		((struct footprint_field *)f.p.fields)[0].host = f.s->patch;
		((struct footprint_field *)f.p.fields)[0].bytes = 4;
		((struct footprint_field *)f.p.fields)[0].family = 0;
	});
}

/* Any byte of any record changed: refused or not, but nothing else happens. */
static void damaged_records(u8 *file, size_t bytes)
{
	const struct saved_code_header *h = (const void *)file;
	unsigned refused = 0, all = 0;

	for (u64 at = sizeof(*h); at < h->index;) {
		u32 size = ((struct saved_block *)(file + at))->bytes;

		for (u32 i = 0; i < size; i++) {
			file[at + i] ^= 0xff;
			refused += !is_taken(file, bytes, at);
			all++;
			file[at + i] ^= 0xff;
		}
		at += size;
	}
	result(refused > all / 4, "damaged records are taken apart without harm", NULL);
}

int main(void)
{
	static struct machine recorder;
	size_t bytes;
	u8 *file;
	int fd;

	machine_init_saved(&recorder, true, 0);
	result(run(&recorder, 0x4332211, TABLE, TABLE + 8) != ~0ull, "the program runs", NULL);
	fd = machine_save(&recorder);
	file = copy_of(fd, &bytes);
	check_header(&recorder, file, bytes);
	open_descriptors(&recorder, file, bytes);
	take_blocks(fd);
	machine_init(&machine, false);
	forged_records(file, bytes);
	damaged_records(file, bytes);
	machine_free(&machine);
	machine_free(&recorder);
	printf("1..%u\n", count);
	return failed != 0;
}
