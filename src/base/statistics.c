/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The counters that a guest's process publishes. See statistics.h. */
#include "base/statistics.h"

#include <errno.h>
#include <glib.h>
#include <sys/mman.h>
#include <unistd.h>

G_STATIC_ASSERT(sizeof(struct statistics_header) == 64);
G_STATIC_ASSERT(sizeof(struct statistics_disk) == 128);
G_STATIC_ASSERT(sizeof(struct statistics_net) == 64);

size_t statistics_bytes(unsigned disks, unsigned nets)
{
	return sizeof(struct statistics_header) + disks * sizeof(struct statistics_disk) +
	       nets * sizeof(struct statistics_net);
}

static void place(struct statistics *s, void *memory, size_t bytes, unsigned disks)
{
	s->bytes = bytes;
	s->header = memory;
	s->disks = (struct statistics_disk *)(s->header + 1);
	s->nets = (struct statistics_net *)(s->disks + disks);
}

bool statistics_map(struct statistics *s, int fd, unsigned disks, unsigned nets)
{
	size_t bytes = statistics_bytes(disks, nets);
	void *memory;

	/* a page beyond the file's end is not to be touched: the file's length is checked once */
	if (lseek(fd, 0, SEEK_END) < (off_t)bytes) {
		errno = EINVAL;
		return false;
	}
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return false;
	place(s, memory, bytes, disks);
	s->header->version = STATISTICS_VERSION;
	s->header->disks = disks;
	s->header->nets = nets;
	__atomic_store_n(&s->header->magic, STATISTICS_MAGIC, __ATOMIC_RELEASE);
	return true;
}

void statistics_unmap(struct statistics *s)
{
	if (s->header)
		munmap(s->header, s->bytes);
	*s = (struct statistics){ 0 };
}

bool statistics_read(struct statistics *s, int fd, unsigned disks, unsigned nets)
{
	size_t bytes = statistics_bytes(disks, nets);
	struct statistics_header *header;

	*s = (struct statistics){ 0 };
	if (disks > STATISTICS_MAX || nets > STATISTICS_MAX)
		return false;
	header = g_malloc0(bytes);
	if (pread(fd, header, bytes, 0) == (ssize_t)bytes && header->magic == STATISTICS_MAGIC &&
	    header->version == STATISTICS_VERSION && header->disks == disks &&
	    header->nets == nets) {
		place(s, header, bytes, disks);
		return true;
	}
	g_free(header);
	return false;
}

void statistics_clear(struct statistics *s)
{
	g_free(s->header);
	*s = (struct statistics){ 0 };
}
