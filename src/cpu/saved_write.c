/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpu/saved.h"

#include "base/log.h"
#include "cpu/run.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct writer {
	struct code_cache *code;
	int fd;
	u8 *base;
	u64 at, limit, allocated;
	struct saved_slot *slots;
	u32 mask, blocks;
};

/* ---- the index ------------------------------------------------------------------------------ */

/* The guest bytes of two records, and what is left out of them. */
static bool same_print(const struct writer *w, u64 at, u64 other)
{
	const struct saved_code_header header = { .index = w->limit };
	const struct saved_code all = { .base = w->base, .header = &header };
	const struct saved_block *a = (const void *)(w->base + at);
	const struct saved_block *b = (const void *)(w->base + other);
	struct saved_parts pa, pb;

	return a->ctx == b->ctx && a->off == b->off && a->ranges == b->ranges &&
	       a->fields == b->fields && a->print_bytes == b->print_bytes &&
	       saved_parts(&all, at, &pa) && saved_parts(&all, other, &pb) &&
	       !memcmp(pa.ranges, pb.ranges, a->ranges * sizeof(*pa.ranges)) &&
	       !memcmp(pa.print, pb.print, a->print_bytes);
}

/* Takes the record at the end of what is written into the index, unless its like is there. */
static void keep(struct writer *w, u64 key)
{
	const struct saved_block *r = (const void *)(w->base + w->at);
	u32 i = key;

	for (; w->slots[i & w->mask].at; i++) {
		const struct saved_slot *s = &w->slots[i & w->mask];

		if (s->key == (u32)(key >> 32) && same_print(w, (u64)s->at * SAVED_ALIGN, w->at))
			return;
	}
	w->slots[i & w->mask] = (struct saved_slot){ key >> 32, w->at / SAVED_ALIGN };
	w->at += r->bytes;
	w->blocks++;
}

/* Memory of the file is asked for before it is written: too little of it raises no SIGBUS then. */
#define ROOM_STEP (4 * MIB)

static bool has_room(struct writer *w, u64 bytes)
{
	while (w->at + bytes > w->allocated) {
		u64 step = MIN(ROOM_STEP, w->limit - w->allocated);

		if (!step || fallocate(w->fd, 0, w->allocated, step))
			return false;
		w->allocated += step;
	}
	return w->blocks < w->mask;
}

/* ---- records -------------------------------------------------------------------------------- */

static u16 code_offset(const struct block *b, u32 at)
{
	return at >= b->code && at < b->code_end ? at - b->code : SAVED_NONE;
}

static void write_sites(const struct writer *w, const struct block *b, struct saved_site *to)
{
	for (u32 i = 0; i < b->site_count; i++) {
		const struct site *s = &w->code->sites[b->sites + i];
		size_t column = s->kind == SITE_MEM ? (s->tag_off - offsetof(struct cpu, tlb)) %
							      sizeof(struct tlb_entry)
						    : 0;

		to[i] = (struct saved_site){
			.kind = s->kind,
			.form = s->form,
			.access = s->access,
			.align = s->align,
			.size = s->size,
			.own = s->own,
			.span = s->span,
			.masked = s->masked,
			.locked = s->locked,
			.x87 = s->x87,
			.store = s->store,
			.seg = s->seg,
			.insn = s->insn,
			.flips = s->flips,
			.guest_off = s->guest_off,
			.patch = code_offset(b, s->patch),
			.stub = code_offset(b, s->stub),
			.tag = s->kind == SITE_MEM ? column == offsetof(struct tlb_entry, write_tag)
						   : s->tag_off,
		};
	}
}

/* The host code as it was when it was made, but for what depends on where it stands. */
static void write_code(const struct writer *w, const struct block *b, u8 *to)
{
	const struct footprint *f = b->footprint;

	memcpy(to, w->code->buf.base + b->code, b->code_end - b->code);
	for (u32 i = 0; i < b->site_count; i++) {
		const struct site *s = &w->code->sites[b->sites + i];
		s32 d = s->stub - (s->patch + 4);

		if (s->kind == SITE_RETURN && !b->valid)
			memcpy(to + s->patch - b->code, f->back, sizeof(f->back));
		if (s->to)
			memcpy(to + s->patch - b->code, &d, 4);
	}
	if (!b->valid)
		memcpy(to + b->entry_saved - b->code, f->entry, BLOCK_MIN_CODE);
	for (unsigned i = 0; i < b->place_count; i++) {
		u16 place = w->code->places[b->places + i];
		u32 at = PLACE_OFFSET(place), v;

		memcpy(&v, to + at, 4);
		v += place & PLACE_SITE ? -(EXIT_SITE + b->sites) : b->code + at + 4;
		memcpy(to + at, &v, 4);
	}
	for (unsigned i = 0; i < f->fields + f->moves; i++) {
		unsigned bytes, host = footprint_place(f, i, &bytes);

		if (host)
			memset(to + host, 0, bytes);
	}
}

static unsigned key_bytes(const struct block *b)
{
	const struct footprint *f = b->footprint;
	unsigned known = f->range[0].bytes, n = 16;

	for (unsigned i = 0; i < f->fields; i++)
		known = MIN(known, f->field[i].at);
	while (n > known)
		n /= 2;
	return n;
}

static u16 last_offset(const struct block *b)
{
	return b->last ? b->last_off : SAVED_NONE;
}

static void write_block(struct writer *w, const struct block *b)
{
	struct saved_block *r = (void *)(w->base + w->at);
	const struct footprint *f = b->footprint;
	unsigned n = key_bytes(b);
	u8 *p = (u8 *)(r + 1);

	*r = (struct saved_block){
		.ctx = b->ctx,
		.off = b->off,
		.guest_bytes = b->bytes,
		.code_bytes = b->code_end - b->code,
		.entry_host = b->entry_host - b->code,
		.entry_saved = b->entry_saved - b->code,
		.last = last_offset(b),
		.print_bytes = f->bytes,
		.fields = f->fields,
		.places = b->place_count,
		.sites = b->site_count,
		.insns = b->insns,
		.maps = b->maps,
		.first_bytes = b->first_bytes,
		.prefers = b->prefers,
		.ranges = f->ranges,
		.moves = f->moves,
		.key_bytes = n,
	};
	write_sites(w, b, (void *)p);
	p += b->site_count * sizeof(struct saved_site);
	memcpy(p, f->field, f->fields * sizeof(*f->field));
	p += f->fields * sizeof(*f->field);
	memcpy(p, f->move, f->moves * sizeof(*f->move));
	p += f->moves * sizeof(*f->move);
	memcpy(p, f->range, f->ranges * sizeof(*f->range));
	p += f->ranges * sizeof(*f->range);
	memcpy(p, &w->code->places[b->places], b->place_count * sizeof(u16));
	p += b->place_count * sizeof(u16);
	memcpy(p, b->map, b->maps * sizeof(*b->map));
	p += b->maps * sizeof(*b->map);
	memcpy(p, f->byte, f->bytes);
	p += f->bytes;
	write_code(w, b, p);
	p += r->code_bytes;
	while ((uintptr_t)p % SAVED_ALIGN)
		*p++ = 0;
	r->bytes = p - (u8 *)r;
	keep(w, saved_key(b->ctx, b->off, f->byte, n));
}

/* More than any record takes. */
#define RECORD_MAX                                                                          \
	(sizeof(struct saved_block) + BLOCK_MAX_SITES * sizeof(struct saved_site) +         \
	 FOOTPRINT_MAX_FIELDS * sizeof(struct footprint_field) + FOOTPRINT_MAX_INSNS * 15 + \
	 FOOTPRINT_MOVES * sizeof(struct footprint_move) + BLOCK_MAX_PLACES * sizeof(u16) + \
	 BLOCK_MAX_MAPS * sizeof(struct host_map) + BLOCK_MAX_CODE + 64)

static void write_new(struct writer *w)
{
	for (u32 i = 0; i < w->code->block_count && has_room(w, RECORD_MAX); i++) {
		const struct block *b = &w->code->blocks[i];

		if (b->footprint && !b->saved && b->recorded)
			write_block(w, b);
	}
}

/* Records of the file that the guest began with: those that were used, or the others. */
static void write_old(struct writer *w, bool used)
{
	const struct saved_code *old = w->code->saved;
	struct saved_parts parts;

	for (u32 i = 0; i < old->header->slots; i++) {
		u64 at = (u64)old->index[i].at * SAVED_ALIGN;
		const struct saved_block *r = (const void *)(old->base + at);

		if (!at || !saved_parts(old, at, &parts) || *saved_use(old, r) == SAVED_BAD ||
		    (*saved_use(old, r) == SAVED_USED) != used)
			continue;
		if (!has_room(w, r->bytes))
			break;
		memcpy(w->base + w->at, r, r->bytes);
		keep(w, saved_key(r->ctx, r->off, parts.print, r->key_bytes));
	}
}

static s64 write_all(struct writer *w)
{
	struct saved_code_header *h = (void *)w->base;

	if (!has_room(w, sizeof(*h)))
		return -ENOSPC;
	w->at = sizeof(*h);
	if (w->code->saved)
		write_old(w, true);
	write_new(w);
	if (w->code->saved)
		write_old(w, false);
	w->limit += (w->mask + 1) * sizeof(*w->slots);
	if (!has_room(w, (w->mask + 1) * sizeof(*w->slots)))
		return -ENOSPC;
	memcpy(w->base + w->at, w->slots, (w->mask + 1) * sizeof(*w->slots));
	*h = (struct saved_code_header){
		.magic = SAVED_CODE_MAGIC,
		.version = SAVED_CODE_VERSION,
		.header_bytes = sizeof(*h),
		.bytes = w->at + (w->mask + 1) * sizeof(*w->slots),
		.blocks = w->blocks,
		.slots = w->mask + 1,
		.index = w->at,
	};
	saved_identity(w->code->vm, h->build, h->contract);
	if (w->code->saved) /* of any contract when they are only checked */
		memcpy(h->contract, w->code->saved->header->contract, sizeof(h->contract));
	return w->blocks;
}

/* Is so little new that the old file does? One in so many blocks. */
#define WORTH_WRITING 50

static bool is_worth_writing(const struct code_cache *code)
{
	u32 fresh = 0;

	for (u32 i = 0; i < code->block_count; i++)
		fresh += code->blocks[i].recorded;
	return !code->saved || fresh > code->saved->header->blocks / WORTH_WRITING;
}

s64 saved_write_all(struct cpu_vm *vm, int fd)
{
	struct code_cache *code = vm->code;
	u64 blocks = code->block_count + (code->saved ? code->saved->header->blocks : 0);
	struct writer w = { .code = code, .fd = fd, .mask = 1023 };
	struct stat st;
	s64 ret;

	while (w.mask < blocks * 3 / 2)
		w.mask = w.mask * 2 + 1;
	if (fstat(fd, &st))
		return -errno;
	w.limit = MIN((u64)st.st_size, SAVED_CODE_BYTES_MAX);
	if (w.limit <
	    sizeof(struct saved_code_header) + (w.mask + 1) * sizeof(*w.slots) + RECORD_MAX)
		return -ENOSPC;
	w.base = mmap(NULL, w.limit, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (w.base == MAP_FAILED)
		return -errno;
	w.slots = g_new0(struct saved_slot, w.mask + 1);
	w.limit -= (w.mask + 1) * sizeof(*w.slots);
	code_lock(code);
	ret = write_all(&w);
	code_unlock(code);
	g_free(w.slots);
	munmap(w.base, MIN((u64)st.st_size, SAVED_CODE_BYTES_MAX));
	return ret;
}

s64 saved_write(struct cpu_vm *vm, int fd)
{
	return is_worth_writing(vm->code) ? saved_write_all(vm, fd) : 0;
}
