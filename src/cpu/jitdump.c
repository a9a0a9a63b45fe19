/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Translated code itself for perf, as it is when it is made: a file of the format that the kernel's
 * tools/perf/Documentation/jitdump-specification.txt describes, version 1.
 *
 *   header   magic version bytes machine 0 pid time flags
 *   record   id bytes time | pid tid vma address size index name NUL code...
 *   record
 *
 * Numbers are the host's, times those of CLOCK_MONOTONIC in nanoseconds. perf learns of the file by
 * a mapping of it that is executable (for nobody: nothing ever jumps there), which `perf record`
 * notes; `perf inject --jit` then reads it and puts each piece of code where it was, from when it
 * was there on. So other than in the map of perf_map.c an address may have one name after another.
 *
 * Links that are bound later are not bound in these bytes.
 */
#include "cpu/jitdump.h"
#include "base/log.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAGIC          0x4a695444 /* "JiTD" */
#define VERSION        1
#define RECORD_LOAD    0
#define BUFFER_BYTES   (64 * KIB)
#define FILE_BYTES     (1 * GIB) /* what a guest can have written is bounded */
#define NAME_MAX_BYTES 255

struct header {
	u32 magic, version, bytes, machine, reserved, pid;
	u64 time, flags;
};

struct load {
	u32 id, bytes;
	u64 time;
	u32 pid, tid;
	u64 vma, address, size, index;
};

struct jitdump {
	int fd; /* -1: no more is written */
	void *marker;
	size_t marker_bytes;
	u32 pid;
	u64 written, index;
	size_t used;
	u8 buffer[BUFFER_BYTES];
};

static u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void give_up(struct jitdump *dump, const char *why)
{
	log_warning("cpu", "the dump of code for perf ends after %llu bytes: %s",
		    (unsigned long long)dump->written, why);
	dump->fd = -1;
}

void jitdump_flush(struct jitdump *dump)
{
	size_t done = 0;

	while (dump && dump->fd >= 0 && done < dump->used) {
		ssize_t n = write(dump->fd, dump->buffer + done, dump->used - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			give_up(dump, n ? g_strerror(errno) : "nothing is written any more");
			break;
		}
		done += n;
		dump->written += n;
	}
	if (dump)
		dump->used = 0;
}

/* @bytes: at most the buffer's. */
static void put(struct jitdump *dump, const void *data, size_t bytes)
{
	if (dump->used + bytes > BUFFER_BYTES)
		jitdump_flush(dump);
	memcpy(dump->buffer + dump->used, data, bytes);
	dump->used += bytes;
}

struct jitdump *jitdump_new(int fd, GError **error)
{
	struct jitdump *dump = g_new0(struct jitdump, 1);
	const struct header header = { .magic = MAGIC,
				       .version = VERSION,
				       .bytes = sizeof(header),
				       .machine = EM_X86_64,
				       .pid = getpid(),
				       .time = now_ns() };

	_Static_assert(sizeof(struct header) == 40 && sizeof(struct load) == 56, "the format's");
	dump->fd = fd;
	dump->pid = header.pid;
	dump->marker_bytes = sysconf(_SC_PAGESIZE);
	dump->marker = mmap(NULL, dump->marker_bytes, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	if (dump->marker == MAP_FAILED) {
		g_set_error(error, g_quark_from_static_string("lodge-cpu"), errno,
			    "cannot map the dump of code for perf (is its file system mounted "
			    "noexec?): %s",
			    g_strerror(errno));
		g_free(dump);
		return NULL;
	}
	put(dump, &header, sizeof(header));
	jitdump_flush(dump);
	return dump;
}

void jitdump_free(struct jitdump *dump)
{
	if (!dump)
		return;
	jitdump_flush(dump);
	munmap(dump->marker, dump->marker_bytes);
	g_free(dump);
}

void jitdump_add(struct jitdump *dump, const char *name, const u8 *address, const u8 *code,
		 size_t bytes)
{
	size_t length = MIN(strlen(name), NAME_MAX_BYTES);
	struct load load = { .id = RECORD_LOAD,
			     .bytes = sizeof(load) + length + 1 + bytes,
			     .time = now_ns(),
			     .pid = dump->pid,
			     .tid = dump->pid,
			     .vma = (uintptr_t)address,
			     .address = (uintptr_t)address,
			     .size = bytes,
			     .index = dump->index };

	if (dump->fd < 0 || !bytes)
		return;
	if (dump->written + dump->used + load.bytes > FILE_BYTES) {
		jitdump_flush(dump); /* ends with a whole record */
		give_up(dump, "it is as long as it may be");
		return;
	}
	dump->index++;
	if (dump->used + load.bytes > BUFFER_BYTES)
		jitdump_flush(dump);
	put(dump, &load, sizeof(load));
	put(dump, name, length);
	put(dump, "", 1);
	put(dump, code, bytes);
}
