/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block layer's core: finding drivers, checking requests. See block.h.
 */
#include "block/block.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <time.h>

const struct block_driver *const block_drivers[] = { &block_driver_raw, NULL };

GQuark block_error_quark(void)
{
	return g_quark_from_static_string("lodge-block");
}

static void count_allocated(struct block *block)
{
	__atomic_store_n(&block->statistics->allocated, block->driver->allocated(block),
			 __ATOMIC_RELAXED);
}

struct block *block_open(const struct block_config *config, GError **error)
{
	for (unsigned i = 0; block_drivers[i]; i++) {
		struct block *block;

		if (strcmp(block_drivers[i]->name, config->driver))
			continue;
		block = block_drivers[i]->open(config, error);
		if (block) {
			block->driver = block_drivers[i];
			block->name = g_strdup(config->name ?: "disk");
			block->readonly = config->readonly;
			block->discard = config->discard;
			block->cache = config->cache;
			block->statistics = config->statistics ?: &block->own_statistics;
			block->statistics->capacity = block->bytes;
			count_allocated(block);
		}
		return block;
	}
	g_set_error(error, BLOCK_ERROR, ENOTSUP, "there is no disk image driver '%s'",
		    config->driver);
	return NULL;
}

static int check(const struct block *block, const struct block_request *r)
{
	if (r->op != BLOCK_READ && r->op != BLOCK_FLUSH && block->readonly)
		return -EROFS;
	if (r->op == BLOCK_FLUSH)
		return 0;
	if (r->offset % BLOCK_SECTOR || r->bytes % BLOCK_SECTOR)
		return -EINVAL;
	return r->offset > block->bytes || r->bytes > block->bytes - r->offset ? -ERANGE : 0;
}

static u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

void block_submit(struct block *block, struct block_request *request)
{
	int err = check(block, request);

	request->progress = 0;
	request->next = NULL;
	request->block = block;
	if (!err && !request->bytes && request->op != BLOCK_FLUSH) {
		request->done(request, 0);
	} else if (!err && request->op == BLOCK_DISCARD && !block->discard) {
		request->done(request, 0); /* a hint that this disk does not take */
	} else if (err) {
		request->done(request, err);
	} else {
		request->start_ns = now_ns();
		block->driver->submit(block, request);
	}
}

static void count(struct statistics_disk *s, const struct block_request *request)
{
	u64 ns = now_ns() - request->start_ns;

	switch (request->op) {
	case BLOCK_READ:
		statistics_add(&s->read_requests, 1);
		statistics_add(&s->read_bytes, request->bytes);
		statistics_add(&s->read_ns, ns);
		break;
	case BLOCK_WRITE:
		statistics_add(&s->write_requests, 1);
		statistics_add(&s->write_bytes, request->bytes);
		statistics_add(&s->write_ns, ns);
		break;
	case BLOCK_FLUSH:
		statistics_add(&s->flush_requests, 1);
		statistics_add(&s->flush_ns, ns);
		count_allocated(request->block);
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		statistics_add(&s->discard_requests, 1);
		statistics_add(&s->discard_bytes, request->bytes);
		statistics_add(&s->discard_ns, ns);
		break;
	}
}

void block_finish(struct block_request *request, int result)
{
	struct statistics_disk *s = request->block->statistics;

	if (!result)
		count(s, request);
	else if (result != -ENOTSUP)
		statistics_add(&s->failures, 1);
	request->done(request, result);
}

void block_failed(struct block *block, const struct block_request *request, int err)
{
	static const char *const names[] = {
		[BLOCK_READ] = "reading",         [BLOCK_WRITE] = "writing",
		[BLOCK_FLUSH] = "flushing",       [BLOCK_DISCARD] = "discarding",
		[BLOCK_WRITE_ZEROES] = "zeroing",
	};
	u64 count = __atomic_add_fetch(&block->failures, 1, __ATOMIC_RELAXED);

	if (count & (count - 1))
		return;
	log_error("block", "%s: %s %llu bytes at %llu failed: %s (error %llu)", block->name,
		  names[request->op], (unsigned long long)request->bytes,
		  (unsigned long long)request->offset, g_strerror(-err), (unsigned long long)count);
}

void block_drain(struct block *block)
{
	block->driver->drain(block);
}

void block_close(struct block *block)
{
	char *name;

	if (!block)
		return;
	name = block->name;
	block->driver->drain(block);
	block->driver->close(block);
	g_free(name);
}
