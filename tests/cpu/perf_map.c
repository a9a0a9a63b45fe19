/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The map for perf: each block and thunk has one well-formed line, lines do not overlap, and names
 * tell address and ring.
 */
#include "cpu/code.h"
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

	machine_init_perf_map(&m, fd);
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

	machine_init_perf_map(&m, fd);
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

	machine_init_perf_map(&m, fd);
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/perf-map/lines", test_lines);
	g_test_add_func("/perf-map/full", test_full);
	g_test_add_func("/perf-map/memory", test_memory);
	return g_test_run();
}
