/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dump of translated code for perf, read as the kernel's jitdump-specification.txt says: each
 * block and thunk is there once for each time it was made, with its bytes.
 */
#include "cpu/jitdump.h"
#include "cpu/code.h"
#include "machine.h"

#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HEADER_BYTES 40
#define LOAD_BYTES   56

struct record {
	u64 time, address, size, index;
	const char *name;
	const u8 *code;
};

struct dump {
	u8 *bytes;
	GArray *records;
};

static u32 get32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, 4);
	return v;
}

static u64 get64(const u8 *p)
{
	u64 v;

	memcpy(&v, p, 8);
	return v;
}

static void read_header(const u8 *p, size_t bytes)
{
	g_assert_cmpuint(bytes, >=, HEADER_BYTES);
	g_assert_cmphex(get32(p), ==, 0x4a695444);
	g_assert_cmpuint(get32(p + 4), ==, 1);
	g_assert_cmpuint(get32(p + 8), ==, HEADER_BYTES);
	g_assert_cmpuint(get32(p + 12), ==, 62); /* EM_X86_64 */
	g_assert_cmpuint(get32(p + 20), ==, getpid());
	g_assert_cmphex(get64(p + 32), ==, 0);
}

static struct record read_load(const u8 *p, size_t bytes)
{
	struct record r = { .time = get64(p + 8),
			    .address = get64(p + 32),
			    .size = get64(p + 40),
			    .index = get64(p + 48),
			    .name = (const char *)p + LOAD_BYTES };

	g_assert_cmpuint(bytes, >, LOAD_BYTES);
	g_assert_cmpuint(get32(p), ==, 0); /* JIT_CODE_LOAD */
	g_assert_cmpuint(get32(p + 16), ==, getpid());
	g_assert_cmpuint(get32(p + 20), ==, getpid());
	g_assert_cmphex(get64(p + 24), ==, r.address);
	g_assert_cmpuint(r.size, >, 0);
	g_assert_cmpuint(LOAD_BYTES + strlen(r.name) + 1 + r.size, ==, bytes);
	r.code = p + bytes - r.size;
	return r;
}

static struct dump read_dump(int fd)
{
	off_t bytes = lseek(fd, 0, SEEK_END), at = HEADER_BYTES;
	struct dump dump = { g_malloc0(bytes + 1),
			     g_array_new(FALSE, FALSE, sizeof(struct record)) };
	struct timespec now;
	u64 last;

	g_assert_cmpint(pread(fd, dump.bytes, bytes, 0), ==, bytes);
	read_header(dump.bytes, bytes);
	last = get64(dump.bytes + 24);
	while (at < bytes) {
		u32 length = get32(dump.bytes + at + 4);
		struct record r;

		g_assert_cmpuint(length, <=, bytes - at);
		r = read_load(dump.bytes + at, length);
		g_assert_cmpuint(r.index, ==, dump.records->len);
		g_assert_cmpuint(r.time, >=, last);
		last = r.time;
		g_array_append_val(dump.records, r);
		at += length;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	g_assert_cmpuint(last, <=, now.tv_sec * 1000000000ull + now.tv_nsec);
	return dump;
}

static void free_dump(struct dump dump)
{
	g_free(dump.bytes);
	g_array_unref(dump.records);
}

/* The last one of that address. */
static const struct record *find(const struct dump *dump, u64 address)
{
	for (unsigned i = dump->records->len; i-- > 0;) {
		const struct record *r = &g_array_index(dump->records, struct record, i);

		if (r->address == address)
			return r;
	}
	return NULL;
}

/* Sixteen blocks, jumps over nothing, and INT3. */
static void run(struct machine *m)
{
	struct x86_state s = m->state;

	for (unsigned i = 0; i < 16; i++)
		memcpy(m->code + 2 * i, "\xeb\x00", 2);
	m->code[32] = 0xcc;
	s.rip = CODE_GVA;
	g_assert_cmpint(machine_run(m, &s), ==, -1);
}

/* Is cache offset @at in a link's field, which is another one when the link is bound? */
static bool in_link(const struct code_cache *code, const struct block *b, u32 at)
{
	for (u32 i = 0; i < b->site_count; i++) {
		const struct site *s = &code->sites[b->sites + i];

		if ((s->kind == SITE_LINK || s->kind == SITE_ALT) && at - s->patch < 4)
			return true;
	}
	return false;
}

static void check_blocks(const struct machine *m, const struct dump *dump)
{
	const struct code_cache *code = m->vm->code;

	g_assert_cmpuint(code->block_count, >, 16);
	for (unsigned i = 0; i < code->block_count; i++) {
		const struct block *b = &code->blocks[i];
		const struct record *r = find(dump, (u64)(uintptr_t)code->rx + b->code);

		g_assert_nonnull(r);
		g_assert_cmpuint(r->size, ==, b->code_end - b->code);
		g_assert_true(g_str_has_prefix(r->name, "guest_kernel:"));
		for (u32 k = 0; b->valid && k < r->size; k++)
			if (!in_link(code, b, b->code + k))
				g_assert_cmphex(r->code[k], ==, code->rx[b->code + k]);
	}
}

static void check_thunks(const struct machine *m, const struct dump *dump)
{
	const struct code_cache *code = m->vm->code;
	const struct record *r = find(dump, (u64)(uintptr_t)code->rx + code->thunks.enter);

	g_assert_nonnull(r);
	g_assert_cmpstr(r->name, ==, "lodge:enter");
	g_assert_cmpmem(r->code, r->size, code->rx + code->thunks.enter, r->size);
}

static void test_records(void)
{
	int fd = memfd_create("dump", MFD_CLOEXEC);
	static struct machine m;
	struct dump dump;

	machine_init_jitdump(&m, fd, 0);
	run(&m);
	/* the processor has halted: nothing is held back */
	dump = read_dump(fd);
	check_blocks(&m, &dump);
	check_thunks(&m, &dump);
	g_assert_cmpstr(
		find(&dump, (u64)(uintptr_t)m.vm->code->rx + m.vm->code->blocks[0].code)->name, ==,
		"guest_kernel:20000000");
	free_dump(dump);
	machine_free(&m);
	close(fd);
}

/* Where other code is later, both are told. */
static void test_reuse(void)
{
	int fd = memfd_create("dump", MFD_CLOEXEC);
	static struct machine m;
	struct dump dump;
	unsigned first;

	machine_init_jitdump(&m, fd, 0);
	run(&m);
	dump = read_dump(fd);
	first = dump.records->len;
	free_dump(dump);
	code_flush(m.vm, NULL);
	run(&m);
	dump = read_dump(fd);
	g_assert_cmpuint(dump.records->len, >, first + 16);
	check_blocks(&m, &dump);
	free_dump(dump);
	machine_free(&m);
	close(fd);
}

/* perf finds the file by this. */
static void test_mapping(void)
{
	int fd = memfd_create("dump-that-perf-finds", MFD_CLOEXEC);
	static struct machine m;
	char *maps, *line;

	machine_init_jitdump(&m, fd, 0);
	g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
	line = strstr(maps, "dump-that-perf-finds");
	g_assert_nonnull(line);
	*line = '\0';
	line = strrchr(maps, '\n');
	g_assert_nonnull(strstr(line, " r-xp 00000000 "));
	g_free(maps);
	machine_free(&m);
	close(fd);
}

/* A dump that cannot grow ends; the guest goes on. */
static void test_full(void)
{
	int fd = memfd_create("dump", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	static struct machine m;

	machine_init_jitdump(&m, fd, 0);
	g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), ==, 0);
	run(&m);
	run(&m);
	machine_free(&m);
	close(fd);
}

static void test_refused(void)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	GError *error = NULL;

	g_assert_null(jitdump_new(fd, &error));
	g_assert_nonnull(strstr(error->message, "cannot map the dump"));
	g_error_free(error);
	close(fd);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/jitdump/records", test_records);
	g_test_add_func("/jitdump/reuse", test_reuse);
	g_test_add_func("/jitdump/mapping", test_mapping);
	g_test_add_func("/jitdump/full", test_full);
	g_test_add_func("/jitdump/refused", test_refused);
	return g_test_run();
}
