/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The map for perf: each block and thunk has one well-formed line, lines do not overlap, and names
 * tell address and ring.
 */
#include "cpu/code.h"
#include "cpu/symbols.h"
#include "machine.h"

#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define USER_OFF 0x800
#define MANY     200 /* blocks: more than the buffer holds */

struct line {
	u64 start, size;
	char name[64];
};

struct map {
	char *text;
	GArray *lines;
};

static int by_start(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Exactly "START SIZE NAME", in lower-case digits without leading zeros, one space between. */
static struct line parse_line(const char *text)
{
	char again[128];
	struct line l;

	g_assert_cmpint(sscanf(text, "%" SCNx64 " %" SCNx64 " %63s", &l.start, &l.size, l.name), ==,
			3);
	snprintf(again, sizeof(again), "%" PRIx64 " %" PRIx64 " %s", l.start, l.size, l.name);
	g_assert_cmpstr(again, ==, text);
	g_assert_cmpuint(l.size, >, 0);
	return l;
}

static struct map read_map(int fd)
{
	off_t bytes = lseek(fd, 0, SEEK_END);
	struct map map = { g_malloc0(bytes + 1), g_array_new(FALSE, FALSE, sizeof(struct line)) };
	char **lines;

	g_assert_cmpint(pread(fd, map.text, bytes, 0), ==, bytes);
	g_assert_true(!bytes || map.text[bytes - 1] == '\n');
	lines = g_strsplit(map.text, "\n", -1);
	for (char **l = lines; *l && **l; l++) {
		struct line line = parse_line(*l);

		g_array_append_val(map.lines, line);
	}
	g_strfreev(lines);
	g_array_sort(map.lines, by_start);
	for (unsigned i = 1; i < map.lines->len; i++) {
		const struct line *a = &g_array_index(map.lines, struct line, i - 1);
		const struct line *b = &g_array_index(map.lines, struct line, i);

		g_assert_cmphex(a->start + a->size, <=, b->start);
	}
	return map;
}

static void free_map(struct map map)
{
	g_free(map.text);
	g_array_unref(map.lines);
}

static const struct line *find(const struct map *map, u64 start)
{
	for (unsigned i = 0; i < map->lines->len; i++) {
		const struct line *l = &g_array_index(map->lines, struct line, i);

		if (l->start == start)
			return l;
	}
	return NULL;
}

static unsigned count(const struct map *map, const char *begin)
{
	unsigned n = 0;

	for (unsigned i = 0; i < map->lines->len; i++)
		n += g_str_has_prefix(g_array_index(map->lines, struct line, i).name, begin);
	return n;
}

/* @n blocks, jumps over nothing, and INT3. */
static void put_jumps(u8 *code, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		memcpy(code + 2 * i, "\xeb\x00", 2); /* jmp +0 */
	code[2 * n] = 0xcc;
}

static void to_user(struct x86_state *s)
{
	for (int i = 0; i < 6; i++)
		s->seg[i] = (struct x86_segment){ 0, 0xffffffff, 0x2b, 0xc0f3 };
	s->seg[SEG_CS] = (struct x86_segment){ 0, 0xffffffff, 0x33, 0xa0fb };
}

/* Every block of the cache, valid or not any more, has its line. */
static void check_blocks(struct machine *m, const struct map *map)
{
	const struct code_cache *code = m->vm->code;
	unsigned guest = count(map, "guest_kernel:") + count(map, "guest_user:");

	g_assert_cmpuint(guest, ==, code->block_count);
	for (unsigned i = 0; i < code->block_count; i++) {
		const struct block *b = &code->blocks[i];
		const struct line *l = find(map, (u64)(uintptr_t)code->rx + b->code);
		bool user = (b->ctx >> CTX_CPL_SHIFT & 3) == 3;
		const char *name;

		g_assert_nonnull(l);
		g_assert_cmphex(l->size, ==, b->code_end - b->code);
		name = user ? "guest_user:" : "guest_kernel:";
		g_assert_true(g_str_has_prefix(l->name, name));
		g_assert_cmphex(strtoull(l->name + strlen(name), NULL, 16) & 0xfff, ==, b->off);
	}
}

static void check_thunks(struct machine *m, const struct map *map)
{
	const struct code_cache *code = m->vm->code;
	const struct line *enter = find(map, (u64)(uintptr_t)code->rx + code->thunks.enter);
	u64 bytes = 0;

	g_assert_nonnull(enter);
	g_assert_cmpstr(enter->name, ==, "lodge:enter");
	g_assert_cmpstr(find(map, (u64)(uintptr_t)code->rx + code->thunks.exit_host)->name, ==,
			"lodge:exit_host");
	for (unsigned i = 0; i < map->lines->len; i++) {
		const struct line *l = &g_array_index(map->lines, struct line, i);

		if (g_str_has_prefix(l->name, "lodge:"))
			bytes += l->size;
	}
	g_assert_cmphex(bytes, ==, code->start - code->buf.base);
}

static void run_both(struct machine *m)
{
	struct x86_state s = m->state;

	put_jumps(m->code, MANY);
	put_jumps(m->code + USER_OFF, 3);
	s.rip = CODE_GVA;
	g_assert_cmpint(machine_run(m, &s), ==, -1);
	s = m->state;
	to_user(&s);
	s.rip = CODE_GVA + USER_OFF;
	/* the INT3 behind it may not be called by users */
	g_assert_cmpint(machine_run(m, &s), ==, VEC_GP);
}

static void test_lines(void)
{
	int fd = memfd_create("map", MFD_CLOEXEC);
	static struct machine m;
	struct map map;
	char *name;

	machine_init_perf_map(&m, fd, 0);
	run_both(&m);
	/* the processor has halted: nothing is held back */
	map = read_map(fd);
	check_blocks(&m, &map);
	check_thunks(&m, &map);
	for (unsigned i = 0; i < MANY; i++) {
		name = g_strdup_printf(" guest_kernel:%llx\n", CODE_GVA + 2 * i);
		g_assert_nonnull(strstr(map.text, name));
		g_free(name);
	}
	for (unsigned i = 0; i < 3; i++) {
		name = g_strdup_printf(" guest_user:%llx\n", CODE_GVA + USER_OFF + 2 * i);
		g_assert_nonnull(strstr(map.text, name));
		g_free(name);
	}
	free_map(map);
	machine_free(&m);
	close(fd);
}

/* A map that cannot be written ends; the guest goes on. */
static void test_full(void)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	static struct machine m;

	machine_init_perf_map(&m, fd, 0);
	run_both(&m);
	run_both(&m);
	machine_free(&m);
	close(fd);
}

/* Where perf looks a map up: memory that /proc/PID/maps calls /dev/zero, not a memfd. */
static void test_memory(void)
{
	int fd = memfd_create("map", MFD_CLOEXEC);
	static struct machine m;
	char *maps, *start, *line;

	machine_init_perf_map(&m, fd, 0);
	g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
	start = g_strdup_printf("%llx-", (unsigned long long)(uintptr_t)m.vm->code->rx);
	line = strstr(maps, start);
	g_assert_nonnull(line);
	*strchrnul(line, '\n') = '\0';
	g_assert_nonnull(strstr(line, " r-xs "));
	g_assert_nonnull(strstr(line, " /dev/zero"));
	g_free(start);
	g_free(maps);
	machine_free(&m);
	close(fd);
}

/* --- symbols --- */

static const char *find_symbol(const struct symbols *s, u64 address)
{
	static char text[64];
	u64 offset;
	const char *name = symbols_find(s, address, &offset);

	if (!name)
		return "none";
	snprintf(text, sizeof(text), "%s+0x%" PRIx64, name, offset);
	return text;
}

static void test_symbols(void)
{
	/* not by address; nm's undefined ones, data, per-processor offsets and modules left out */
	static const char text[] = "ffffffff81000300 t last\n"
				   "0000000000001000 T low\n"
				   "                 U undefined\n"
				   "ffffffff81000000 t __alias\n"
				   "ffffffff81000000 t first\n"
				   "ffffffff81000000 W weak\n"
				   "ffffffff81000180 D data\n"
				   "ffffffff81000280 t module\t[snd]\n"
				   "ffffffff81000200 T sec.ond";
	GError *error = NULL;
	struct symbols *s = symbols_parse(text, strlen(text), &error);

	g_assert_no_error(error);
	g_assert_cmpstr(find_symbol(s, 0xffffffff80ffffff), ==, "none");
	g_assert_cmpstr(find_symbol(s, 0x1000), ==, "none");
	g_assert_cmpstr(find_symbol(s, 0xffffffff81000000), ==, "first+0x0");
	g_assert_cmpstr(find_symbol(s, 0xffffffff810001ff), ==, "first+0x1ff");
	g_assert_cmpstr(find_symbol(s, 0xffffffff81000200), ==, "sec.ond+0x0");
	g_assert_cmpstr(find_symbol(s, 0xffffffff810002ff), ==, "sec.ond+0xff");
	g_assert_cmpstr(find_symbol(s, 0xffffffff81000300), ==, "none");
	g_assert_cmpstr(find_symbol(s, ~0ull), ==, "none");
	symbols_free(s);
}

static void test_symbols_refused(void)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "", "no function of a kernel" },
		{ "0000000000000000 T hidden\n", "no function of a kernel" },
		{ "ffffffffffffffff B The\n", "no function of a kernel" },
		{ "ffffffff81000000 T a\n\n", "line 2: it is not ADDRESS" },
		{ "ffffffff81000000 T\n", "line 1: it is not ADDRESS" },
		{ "ffffffff81000000 T \n", "line 1: it is not ADDRESS" },
		{ "ffffffff810000000 T a\n", "line 1: it is not ADDRESS" },
		{ "ffffffff8100000g T a\n", "line 1: it is not ADDRESS" },
		{ "ffffffff81000000 5 a\n", "line 1: it is not ADDRESS" },
		{ "ffffffff81000000 Tt a\n", "line 1: it is not ADDRESS" },
		{ "ffffffff81000000 T a b\n", "line 1: it is not ADDRESS" },
		{ "ffffffff81000000 T a\t[m\n", "line 1: it is not ADDRESS" },
		{ "ffffffff81000000 T a\033b\n", "line 1: it is not ADDRESS" },
		{ "\177ELF", "line 1: it is not ADDRESS" },
	};
	GString *longest = g_string_new("ffffffff81000000 T ");
	GError *error = NULL;
	struct symbols *s;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		g_assert_null(symbols_parse(cases[i].text, strlen(cases[i].text), &error));
		if (!strstr(error->message, cases[i].message))
			g_error("'%s' lacks '%s'", error->message, cases[i].message);
		g_clear_error(&error);
	}
	for (unsigned i = 0; i < SYMBOL_NAME_MAX; i++)
		g_string_append_c(longest, 'a');
	s = symbols_parse(longest->str, longest->len, &error);
	g_assert_no_error(error);
	symbols_free(s);
	g_string_append_c(longest, 'a');
	g_assert_null(symbols_parse(longest->str, longest->len, &error));
	g_assert_nonnull(strstr(error->message, "line 1: "));
	g_clear_error(&error);
	g_string_free(longest, TRUE);
}

static int file_of(const char *text)
{
	int fd = memfd_create("symbols", MFD_CLOEXEC);

	g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* The box's kernel runs low: it is said to have moved there, around the end of the numbers. */
static void test_names(void)
{
	const u64 linked = 0xffffffff81000000;
	int fd = memfd_create("map", MFD_CLOEXEC);
	int symbols = file_of("ffffffff81000000 T begin\nffffffff81000004 T middle\n"
			      "ffffffff81010000 T end\n");
	static struct machine m;
	struct map map;

	machine_init_perf_map(&m, fd, symbols);
	cpu_vm_kernel_moved(m.vm, true, CODE_GVA - linked);
	run_both(&m);
	map = read_map(fd);
	g_assert_nonnull(strstr(map.text, " guest_kernel:begin+0x0\n"));
	g_assert_nonnull(strstr(map.text, " guest_kernel:begin+0x2\n"));
	g_assert_nonnull(strstr(map.text, " guest_kernel:middle+0x0\n"));
	g_assert_nonnull(strstr(map.text, " guest_kernel:middle+0x10\n"));
	g_assert_null(strstr(map.text, " guest_kernel:20000"));
	/* beyond the last one: the handlers; and no user has the kernel's names */
	g_assert_nonnull(strstr(map.text, " guest_kernel:30010"));
	g_assert_nonnull(strstr(map.text, " guest_user:20000800\n"));
	free_map(map);
	machine_free(&m);
	close(fd);
	close(symbols);
}

static void test_moved_unknown(void)
{
	int fd = memfd_create("map", MFD_CLOEXEC);
	int symbols = file_of("ffffffff81000000 T begin\nffffffff81010000 T end\n");
	static struct machine m;
	struct map map;

	machine_init_perf_map(&m, fd, symbols);
	cpu_vm_kernel_moved(m.vm, false, CODE_GVA - 0xffffffff81000000);
	run_both(&m);
	map = read_map(fd);
	g_assert_nonnull(strstr(map.text, " guest_kernel:20000000\n"));
	g_assert_null(strstr(map.text, "begin"));
	free_map(map);
	machine_free(&m);
	close(fd);
	close(symbols);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/perf-map/lines", test_lines);
	g_test_add_func("/perf-map/full", test_full);
	g_test_add_func("/perf-map/memory", test_memory);
	g_test_add_func("/perf-map/symbols", test_symbols);
	g_test_add_func("/perf-map/symbols-refused", test_symbols_refused);
	g_test_add_func("/perf-map/names", test_names);
	g_test_add_func("/perf-map/moved-unknown", test_moved_unknown);
	return g_test_run();
}
