/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's side of guest RAM. See backing.h. */
#include "machine/backing.h"

#include "base/log.h"
#include "machine/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define HUGE_PAGE (2 * MIB) /* as the host gives them out without being asked */

/* Guest RAM is never executed by the host. Kernels before 6.3 do not know the flag that says so. */
static int open_memfd(u64 huge_page_bytes)
{
	unsigned flags = MFD_CLOEXEC;
	int fd;

	if (huge_page_bytes)
		flags |= MFD_HUGETLB | (unsigned)__builtin_ctzll(huge_page_bytes) << MAP_HUGE_SHIFT;
	fd = memfd_create("guest-ram", flags | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("guest-ram", flags);
	return fd;
}

/* Begins where a huge page can: what is mapped too much goes back. */
static void *map_private(u64 bytes, int prot)
{
	u8 *all = mmap(NULL, bytes + HUGE_PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	u8 *start;

	if (all == MAP_FAILED)
		return MAP_FAILED;
	start = (u8 *)ALIGN_UP((uintptr_t)all, HUGE_PAGE);
	if (start > all)
		munmap(all, start - all);
	munmap(start + bytes, all + HUGE_PAGE - start);
	return start;
}

/* Without MAP_NORESERVE huge pages are the guest's from now on, or refused now: no touch can find
 * later that there is none left. */
static void *map(const struct memory_backing *b, u64 bytes, int prot, int *fd)
{
	unsigned huge = 0;

	*fd = -1;
	if (!b->shared && !b->huge_page_bytes)
		return map_private(bytes, prot);
	if (b->huge_page_bytes)
		huge = MAP_HUGETLB | (unsigned)__builtin_ctzll(b->huge_page_bytes)
					     << MAP_HUGE_SHIFT;
	if (!b->shared)
		return mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | huge, -1, 0);
	*fd = open_memfd(b->huge_page_bytes);
	if (*fd < 0 || ftruncate(*fd, bytes) < 0)
		return MAP_FAILED;
	return mmap(NULL, bytes, prot, MAP_SHARED | (b->huge_page_bytes ? 0 : MAP_NORESERVE), *fd,
		    0);
}

static void fail_map(const struct memory_backing *b, u64 bytes, int err, GError **error)
{
	if (!b->huge_page_bytes)
		g_set_error(error, VM_ERROR, err, "cannot provide %llu MiB of guest memory: %s",
			    (unsigned long long)(bytes / MIB), g_strerror(err));
	else
		g_set_error(error, VM_ERROR, err,
			    "cannot provide %llu MiB of guest memory in huge pages of %llu KiB: "
			    "%s; set more of them apart in /sys/kernel/mm/hugepages, or remove "
			    "<hugepages>",
			    (unsigned long long)(bytes / MIB),
			    (unsigned long long)(b->huge_page_bytes / KIB),
			    err == ENOMEM ? "too few are free" : g_strerror(err));
}

/* Hosts whose kernels know no nodes have one, number 0. */
static bool only_node(const struct number_set *nodes)
{
	return number_set_has(nodes, 0) && nodes->bits[0] == 1;
}

static int bind_to_nodes(const struct memory_backing *b, void *start, u64 bytes, GError **error)
{
	static const int modes[] = {
		[NUMA_STRICT] = MPOL_BIND,
		[NUMA_PREFERRED] = MPOL_PREFERRED,
		[NUMA_INTERLEAVE] = MPOL_INTERLEAVE,
	};
	g_autofree char *nodes = NULL;
	int err;

	if (b->numa_mode == NUMA_ANY ||
	    !syscall(SYS_mbind, start, bytes, modes[b->numa_mode], b->numa_nodes.bits,
		     (unsigned long)NUMBER_SET_MAX + 1, 0))
		return 0;
	err = errno;
	if (err == ENOSYS && only_node(&b->numa_nodes))
		return 0;
	nodes = number_set_format(&b->numa_nodes);
	g_set_error(error, VM_ERROR, err,
		    "cannot take guest memory from the host's memory nodes %s: %s", nodes,
		    err == EINVAL ? "there are no such nodes" : g_strerror(err));
	return -err;
}

void *backing_map(const struct memory_backing *backing, u64 bytes, int prot, int *fd,
		  GError **error)
{
	void *start;

	*fd = -1;
	if (backing->huge_page_bytes && bytes % backing->huge_page_bytes) {
		g_set_error(error, VM_ERROR, EINVAL,
			    "%llu KiB of guest memory are not a multiple of its huge pages of %llu "
			    "KiB; change <memory>, or the size of <page>",
			    (unsigned long long)(bytes / KIB),
			    (unsigned long long)(backing->huge_page_bytes / KIB));
		return NULL;
	}
	start = map(backing, bytes, prot, fd);
	if (start == MAP_FAILED) {
		fail_map(backing, bytes, errno, error);
	} else if (!bind_to_nodes(backing, start, bytes, error)) {
		return start;
	} else {
		munmap(start, bytes);
	}
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return NULL;
}

/* Kernels before 5.14 have no call for it. */
static void touch_all(u8 *start, u64 bytes)
{
	for (u64 offset = 0; offset < bytes; offset += PAGE_SIZE)
		__atomic_fetch_or(start + offset, 0, __ATOMIC_RELAXED);
}

int backing_allocate(void *start, u64 bytes, GError **error)
{
	int err = madvise(start, bytes, MADV_POPULATE_WRITE) ? errno : 0;

	if (err == EINVAL) {
		touch_all(start, bytes);
		err = 0;
	}
	if (err)
		g_set_error(error, VM_ERROR, err,
			    "cannot provide all %llu MiB of guest memory at once: %s",
			    (unsigned long long)(bytes / MIB), g_strerror(err));
	return -err;
}
