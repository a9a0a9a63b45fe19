/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The map that tells perf what translated code is: a line for each block and thunk, as it is made,
 *
 *   START SIZE NAME        START and SIZE in hexadecimal, without 0x
 *   7f31c0a01240 5c guest_kernel:ffffffff81000123
 *   7f31c0a012a0 31 guest_kernel:do_idle+0x4e
 *
 * in the file /tmp/perf-PID.map, which the launcher has opened. The name is the block's linear
 * address at the time it was made, or the kernel's function there, if its symbols are given. A
 * block that is entered at another address later, as those of a shared library are, keeps its name.
 *
 * Lines are collected and written when the buffer is full, when a processor stops or halts, and at
 * the end, so a guest that never does is some lines behind. They are never taken back: perf reads
 * the file once, afterwards, and cannot know that an address had two names. What a guest can have
 * written is bounded.
 *
 * The same names go to a jitdump (jitdump.c), with or without a map.
 */
#include "cpu/perf_map.h"
#include "base/log.h"
#include "cpu/jitdump.h"
#include "cpu/symbols.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES 4096
#define LINE_BYTES   256
#define NAME_SHOWN   180 /* characters of a symbol */
#define FILE_BYTES   (256 * MIB)

struct perf_map {
	int fd; /* -1: no more is written */
	size_t used;
	u64 written;
	bool reused;
	struct jitdump *dump;    /* or NULL */
	struct symbols *symbols; /* or NULL */
	bool moved_known;
	u64 moved_by;
	char buffer[BUFFER_BYTES];
};

struct perf_map *perf_map_new(int fd, int dump, int symbols, GError **error)
{
	struct perf_map *map = g_new0(struct perf_map, 1);

	map->fd = fd ? fd : -1;
	map->moved_known = true;
	if (symbols)
		map->symbols = symbols_read(symbols, error);
	if (dump && (!symbols || map->symbols))
		map->dump = jitdump_new(dump, error);
	if ((symbols && !map->symbols) || (dump && !map->dump)) {
		perf_map_free(map);
		return NULL;
	}
	return map;
}

void perf_map_free(struct perf_map *map)
{
	if (!map)
		return;
	perf_map_flush(map);
	jitdump_free(map->dump);
	symbols_free(map->symbols);
	g_free(map);
}

static void give_up(struct perf_map *map, const char *why)
{
	log_warning("cpu", "the map for perf ends after %llu bytes: %s",
		    (unsigned long long)map->written, why);
	map->fd = -1;
}

void perf_map_flush(struct perf_map *map)
{
	size_t done = 0;

	while (map->fd >= 0 && done < map->used) {
		ssize_t n = write(map->fd, map->buffer + done, map->used - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			give_up(map, n ? g_strerror(errno) : "nothing is written any more");
			break;
		}
		done += n;
		map->written += n;
	}
	map->used = 0;
	jitdump_flush(map->dump);
}

static void add_line(struct perf_map *map, const u8 *start, size_t size, const char *name)
{
	char line[LINE_BYTES];
	int length;

	if (map->fd < 0)
		return;
	if (map->written + BUFFER_BYTES > FILE_BYTES) {
		give_up(map, "it is as long as it may be");
		return;
	}
	length = snprintf(line, sizeof(line), "%llx %zx %s\n", (unsigned long long)(uintptr_t)start,
			  size, name);
	if (map->used + length > BUFFER_BYTES)
		perf_map_flush(map);
	memcpy(map->buffer + map->used, line, length);
	map->used += length;
}

/* Of the code at cache offset @at. */
static void add(struct perf_map *map, const struct code_cache *code, u32 at, size_t size,
		const char *format, ...) G_GNUC_PRINTF(5, 6);

static void add(struct perf_map *map, const struct code_cache *code, u32 at, size_t size,
		const char *format, ...)
{
	char name[LINE_BYTES - 40];
	va_list args;

	if (!size)
		return;
	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	add_line(map, code->rx + at, size, name);
	if (map->dump)
		jitdump_add(map->dump, name, code->rx + at, code->buf.base + at, size);
}

struct thunk_name {
	u32 offset;
	const char *name;
};

static int by_offset(const void *a, const void *b)
{
	const struct thunk_name *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

void perf_map_add_thunks(struct perf_map *map, const struct code_cache *code)
{
	const struct thunks *t = &code->thunks;
	struct thunk_name names[] = {
		{ t->enter, "enter" },
		{ t->exit_host, "exit_host" },
		{ t->exit_saved, "exit_saved" },
		{ t->mem, "mem" },
		{ t->stack[TLB_KERNEL], "stack_kernel" },
		{ t->stack[TLB_KERNEL_AC], "stack_kernel_ac" },
		{ t->stack[TLB_USER], "stack_user" },
		{ t->slow, "slow" },
		{ t->exit_signal, "exit_signal" },
		{ t->jump, "jump" },
		{ t->branch, "branch" },
		{ t->jump_return, "jump_return" },
		{ t->call_miss, "call_miss" },
		{ t->call_late, "call_late" },
		{ t->syscall, "syscall" },
		{ t->sysret, "sysret" },
		{ t->lookup, "lookup" },
		{ t->return_empty, "return_empty" },
		{ t->return_stale, "return_stale" },
		{ code->start - code->buf.base, NULL },
	};

	_Static_assert(ARRAY_LEN(names) == sizeof(*t) / sizeof(u32) + 1, "name each thunk");
	qsort(names, ARRAY_LEN(names), sizeof(names[0]), by_offset);
	for (size_t i = 0; i + 1 < ARRAY_LEN(names); i++)
		add(map, code, names[i].offset, names[i + 1].offset - names[i].offset, "lodge:%s",
		    names[i].name);
}

void perf_map_add_block(struct perf_map *map, const struct code_cache *code,
			const struct block *block, gva_t pc)
{
	bool user = (block->ctx >> CTX_CPL_SHIFT & 3) == 3;
	const char *name = NULL;
	u64 offset;

	if (map->symbols && map->moved_known && !user)
		name = symbols_find(map->symbols, pc - map->moved_by, &offset);
	if (name)
		add(map, code, block->code, block->code_end - block->code,
		    "guest_kernel:%.*s+0x%llx", NAME_SHOWN, name, (unsigned long long)offset);
	else
		add(map, code, block->code, block->code_end - block->code, "guest_%s:%llx",
		    user ? "user" : "kernel", (unsigned long long)pc);
}

void perf_map_kernel_moved(struct perf_map *map, bool known, u64 by)
{
	if (map->symbols && !known)
		log_warning("cpu", "the kernel chooses its address by itself: its symbols are not "
				   "used; start it with --unpack host, or with nokaslr");
	map->moved_known = known;
	map->moved_by = by;
}

void perf_map_note_reuse(struct perf_map *map)
{
	if (!map->reused && map->fd >= 0)
		log_warning("cpu", "the code cache was full and is filled again: the map for perf "
				   "now has two names for some addresses");
	map->reused = true;
}
