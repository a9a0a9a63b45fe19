/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM. See memory.h for the layout; nothing here touches a page of it.
 */
#include "machine/memory.h"

#include "accel/accel.h"
#include "machine/limit.h"
#include "machine/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define LIMIT_RESERVE (32 * MIB) /* what guest RAM leaves to the rest of the process */

/* All of it at once: what a limit allows piece by piece, is asked for so. */
static int allocate(struct guest_memory *mem, GError **error)
{
	if (!mem->limits)
		return backing_allocate(mem->hva, mem->bytes, error);
	for (u64 offset = 0; offset < mem->bytes; offset += MEM_PIECE) {
		const char *why = guest_memory_provide(mem, mem->hva + offset);

		if (!why)
			continue;
		g_set_error(error, VM_ERROR, ENOMEM,
			    "cannot provide all %llu MiB of guest memory at once: %s",
			    (unsigned long long)(mem->bytes / MIB), why);
		return -ENOMEM;
	}
	return 0;
}

int guest_memory_init(struct guest_memory *mem, u64 bytes, const struct memory_backing *backing,
		      const struct memory_limits *limits, GError **error)
{
	int err = 0;

	*mem = (struct guest_memory){ .fd = -1, .bytes = bytes };
	mem->discard_bytes = MAX(backing->huge_page_bytes, PAGE_SIZE);
	pthread_mutex_init(&mem->pieces_lock, NULL);
	if (bytes < MEM_BYTES_MIN || bytes > MEM_BYTES_MAX || bytes % PAGE_SIZE) {
		g_set_error(error, VM_ERROR, EINVAL,
			    "guest memory of %llu bytes is not a multiple of 4 KiB between 2 MiB "
			    "and 1 TiB",
			    (unsigned long long)bytes);
		return -EINVAL;
	}
	mem->low_bytes = bytes > MEM_LOW_MAX ? MEM_LOW_SPLIT : bytes;
	mem->high_bytes = bytes - mem->low_bytes;

	if (backing->huge_page_bytes) /* a group's limit does not count those */
		limits = NULL;
	mem->hva = backing_map(backing, bytes, limits ? PROT_NONE : PROT_READ | PROT_WRITE,
			       &mem->fd, error);
	if (!mem->hva)
		return -ENOMEM;
	mem->limits = limits;
	if (limits)
		mem->pieces = g_malloc0(bytes / MEM_PIECE + 1);
	/* Advice only: a host without huge pages says no, and that is fine. */
	madvise(mem->hva, bytes, MADV_HUGEPAGE);
	madvise(mem->hva, bytes, MADV_DONTDUMP);
	if (backing->allocated)
		err = allocate(mem, error);
	if (err)
		guest_memory_destroy(mem);
	return err;
}

bool guest_memory_range(const struct guest_memory *mem, unsigned slot,
			struct guest_memory_range *range)
{
	const struct guest_memory_range ranges[] = {
		{ 0, MEM_VIDEO_HOLE_START, 0 },
		{ MEM_VIDEO_HOLE_END, mem->low_bytes - MEM_VIDEO_HOLE_END, MEM_VIDEO_HOLE_END },
		{ MEM_HIGH_BASE, mem->high_bytes, mem->low_bytes },
	};

	if (slot >= ARRAY_LEN(ranges))
		return false;
	*range = ranges[slot];
	return true;
}

int guest_memory_attach(struct guest_memory *mem, const struct accel *accel,
			struct accel_vm *accel_vm, GError **error)
{
	struct guest_memory_range range;

	for (unsigned i = 0; guest_memory_range(mem, i, &range); i++) {
		int err;

		if (!range.bytes)
			continue;
		err = accel->memory_slot(accel_vm, i, range.gpa, range.bytes,
					 mem->hva + range.offset, 0);
		if (err) {
			g_set_error(error, VM_ERROR, -err,
				    "the %s engine refuses guest memory at 0x%llx: %s", accel->name,
				    (unsigned long long)range.gpa, g_strerror(-err));
			return err;
		}
	}
	/* Who reaches memory past our handler of faults must find it accessible. */
	if (mem->limits && accel->walks_memory) {
		if (mprotect(mem->hva, mem->bytes, PROT_READ | PROT_WRITE)) {
			g_set_error(error, VM_ERROR, errno,
				    "cannot make guest memory accessible: %s", g_strerror(errno));
			return -errno;
		}
		memset(mem->pieces, 1, mem->bytes / MEM_PIECE + 1);
	}
	mem->accel = accel;
	mem->accel_vm = accel_vm;
	return 0;
}

void guest_memory_destroy(struct guest_memory *mem)
{
	if (mem->hva)
		munmap(mem->hva, mem->bytes);
	if (mem->fd >= 0)
		close(mem->fd);
	g_clear_pointer(&mem->pieces, g_free);
	g_clear_pointer(&mem->written, g_free);
	mem->hva = NULL;
	mem->fd = -1;
}

static bool inside(gpa_t gpa, u64 bytes, gpa_t start, gpa_t end)
{
	return gpa >= start && gpa < end && bytes <= end - gpa;
}

void *guest_memory_ptr(const struct guest_memory *mem, gpa_t gpa, u64 bytes)
{
	if (!bytes)
		return NULL;
	if (inside(gpa, bytes, MEM_VIDEO_HOLE_END, mem->low_bytes) ||
	    inside(gpa, bytes, 0, MEM_VIDEO_HOLE_START))
		return mem->hva + gpa;
	if (inside(gpa, bytes, MEM_HIGH_BASE, MEM_HIGH_BASE + mem->high_bytes))
		return mem->hva + mem->low_bytes + (gpa - MEM_HIGH_BASE);
	return NULL;
}

bool guest_memory_affords(const struct guest_memory *mem, u64 bytes)
{
	return !mem->limits || memory_limits_room(mem->limits) >= bytes + LIMIT_RESERVE;
}

static const char *provide_locked(struct guest_memory *mem, u64 piece)
{
	u8 *start = mem->hva + piece * MEM_PIECE;
	u64 bytes = MIN(MEM_PIECE, mem->bytes - piece * MEM_PIECE);

	if (mem->pieces[piece])
		return NULL;
	if (!guest_memory_affords(mem, bytes))
		return "the control group's memory limit leaves no room for its memory";
	if (mprotect(start, bytes, PROT_READ | PROT_WRITE))
		return "the host refuses access to its memory";
	/* Where this fails, touching the pages tells whether they can be had: SIGBUS. */
	madvise(start, bytes, MADV_POPULATE_WRITE);
	__atomic_store_n(&mem->pieces[piece], 1, __ATOMIC_RELEASE);
	return NULL;
}

const char *guest_memory_provide(struct guest_memory *mem, const void *hva)
{
	const char *why;

	pthread_mutex_lock(&mem->pieces_lock);
	why = provide_locked(mem, ((const u8 *)hva - mem->hva) / MEM_PIECE);
	pthread_mutex_unlock(&mem->pieces_lock);
	return why;
}

/* System calls that are handed a pointer do not wait for memory as a touch does: touch first. */
static void touch(const struct guest_memory *mem, const u8 *p, u64 bytes)
{
	u64 first = (p - mem->hva) / MEM_PIECE, last = (p + bytes - 1 - mem->hva) / MEM_PIECE;

	for (u64 piece = first; piece <= last; piece++)
		if (!__atomic_load_n(&mem->pieces[piece], __ATOMIC_ACQUIRE))
			(void)*(const volatile u8 *)MAX(p, mem->hva + piece * MEM_PIECE);
}

void guest_memory_populate(struct guest_memory *mem, gpa_t gpa, u64 bytes)
{
	gpa_t start = ALIGN_DOWN(gpa, PAGE_SIZE);
	u64 length = ALIGN_UP(gpa + bytes, PAGE_SIZE) - start;
	u8 *p = guest_memory_ptr(mem, start, length);

	if (!p)
		return;
	if (!mem->limits)
		madvise(p, length, MADV_POPULATE_WRITE);
	else
		touch(mem, p, length);
}

int vm_mem_read(struct vm *vm, gpa_t gpa, void *buf, u64 bytes)
{
	void *p = guest_memory_ptr(&vm->memory, gpa, bytes);

	if (!p)
		return bytes ? -EFAULT : 0;
	memcpy(buf, p, bytes);
	return 0;
}

int vm_mem_write(struct vm *vm, gpa_t gpa, const void *buf, u64 bytes)
{
	void *p = guest_memory_ptr(&vm->memory, gpa, bytes);

	if (!p)
		return bytes ? -EFAULT : 0;
	memcpy(p, buf, bytes);
	vm_mem_written(vm, gpa, bytes);
	return 0;
}

int vm_mem_zero(struct vm *vm, gpa_t gpa, u64 bytes)
{
	void *p = guest_memory_ptr(&vm->memory, gpa, bytes);

	if (!p)
		return bytes ? -EFAULT : 0;
	memset(p, 0, bytes);
	vm_mem_written(vm, gpa, bytes);
	return 0;
}

void vm_mem_discard(struct vm *vm, gpa_t gpa, u64 bytes)
{
	struct guest_memory *mem = &vm->memory;
	u8 *p = guest_memory_ptr(mem, gpa, bytes);
	int err;

	if (!p || (p - mem->hva) % mem->discard_bytes || bytes % mem->discard_bytes)
		return;
	err = mem->fd < 0 ? madvise(p, bytes, MADV_DONTNEED)
			  : fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				      p - mem->hva, bytes);
	if (!err)
		vm_mem_written(vm, gpa, bytes);
}

void *vm_mem_ptr(struct vm *vm, gpa_t gpa, u64 bytes)
{
	void *p = guest_memory_ptr(&vm->memory, gpa, bytes);

	if (p && vm->memory.limits)
		touch(&vm->memory, p, bytes);
	return p;
}

static void log_written(struct guest_memory *mem, gpa_t gpa, u64 bytes)
{
	const u8 *p = guest_memory_ptr(mem, gpa, bytes);

	for (u64 page = p ? (p - mem->hva) / PAGE_SIZE : 1;
	     p && page <= (p - mem->hva + bytes - 1) / PAGE_SIZE; page++)
		__atomic_fetch_or(&mem->written[page / 64], BIT(page % 64), __ATOMIC_SEQ_CST);
}

void vm_mem_written(struct vm *vm, gpa_t gpa, u64 bytes)
{
	if (unlikely(__atomic_load_n(&vm->memory.logging, __ATOMIC_ACQUIRE)))
		log_written(&vm->memory, gpa, bytes);
	if (vm->memory.accel)
		vm->memory.accel->memory_written(vm->memory.accel_vm, gpa, bytes);
}
