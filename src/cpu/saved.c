/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpu/saved.h"

#include "base/log.h"
#include "build_hash.h"
#include "cpu/run.h"
#include "cpu/x86/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef F_GET_SEALS
#define F_GET_SEALS   1034
#define F_SEAL_SHRINK 2
#define F_SEAL_WRITE  8
#endif

/* ---- the file ------------------------------------------------------------------------------- */

void saved_identity(const struct cpu_vm *vm, u8 build[32], u8 contract[32])
{
	const struct code_cache *code = vm->code;
	GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
	u64 numbers[] = { ZydisGetVersion(),  sizeof(struct cpu),
			  sizeof(struct tlb), code->start - code->buf.base,
			  BLOCK_MAX_CODE,     code->buf.bmi2 };
	gsize n = 32;

	g_checksum_update(sum, (const u8 *)BUILD_HASH, strlen(BUILD_HASH));
	g_checksum_update(sum, (const u8 *)numbers, sizeof(numbers));
	g_checksum_update(sum, (const u8 *)&code->thunks, sizeof(code->thunks));
	g_checksum_get_digest(sum, build, &n);
	g_checksum_reset(sum);
	g_checksum_update(sum, code->contract.hidden, sizeof(code->contract.hidden));
	g_checksum_update(sum, (const u8 *)&vm->config.plain, sizeof(vm->config.plain));
	n = 32;
	g_checksum_get_digest(sum, contract, &n);
	g_checksum_free(sum);
}

const char *saved_why_not(const struct cpu_vm *vm, const struct saved_code_header *h, u64 bytes,
			  bool any)
{
	u8 build[32], contract[32];

	if (bytes < sizeof(*h) || memcmp(h->magic, SAVED_CODE_MAGIC, sizeof(h->magic)))
		return "it is no file of translations";
	if (h->version != SAVED_CODE_VERSION || h->header_bytes != sizeof(*h))
		return "it has the format of another version";
	saved_identity(vm, build, contract);
	if (memcmp(h->build, build, sizeof(build)))
		return "another build of the translator made it";
	if (!any && memcmp(h->contract, contract, sizeof(contract)))
		return "it was made for a processor with other features";
	if (h->bytes > bytes || h->bytes < sizeof(*h) || h->bytes > SAVED_CODE_BYTES_MAX)
		return "it is cut short";
	if (!h->slots || h->slots & (h->slots - 1) || h->index % SAVED_ALIGN ||
	    h->index < sizeof(*h) || h->index > h->bytes ||
	    h->slots > (h->bytes - h->index) / sizeof(struct saved_slot) || h->blocks >= h->slots)
		return "its index is damaged";
	return NULL;
}

bool saved_is_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & F_SEAL_WRITE) && (seals & F_SEAL_SHRINK);
}

struct saved_code *saved_use_memory(const void *base, size_t bytes)
{
	struct saved_code *saved = g_new0(struct saved_code, 1);

	saved->base = base;
	saved->bytes = bytes;
	saved->header = base;
	saved->index = (const void *)(saved->base + saved->header->index);
	saved->use = g_malloc0(bytes / SAVED_BYTES_MIN + 1);
	saved->next = sizeof(struct saved_code_header);
	return saved;
}

struct saved_code *saved_open(struct cpu_vm *vm, int fd, bool any)
{
	struct saved_code *saved;
	const char *why;
	struct stat st;
	void *base;

	if ((!any && !saved_is_sealed(fd)) || fstat(fd, &st)) {
		log_warning("cpu", "saved translations refused: the descriptor is not sealed");
		return NULL;
	}
	base = st.st_size ? mmap(NULL, st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0)
			  : MAP_FAILED;
	if (base == MAP_FAILED) {
		log_warning("cpu", "saved translations refused: they cannot be mapped");
		return NULL;
	}
	why = saved_why_not(vm, base, st.st_size, any);
	if (why) {
		log_warning("cpu", "saved translations refused: %s", why);
		munmap(base, st.st_size);
		return NULL;
	}
	saved = saved_use_memory(base, st.st_size);
	if (vm->config.saved_code_checked)
		memset(saved->use, SAVED_SAFE, st.st_size / SAVED_BYTES_MIN + 1);
	return saved;
}

void saved_close(struct saved_code *saved)
{
	if (!saved)
		return;
	munmap((void *)saved->base, saved->bytes);
	g_free(saved->use);
	g_free(saved);
}

/* ---- records -------------------------------------------------------------------------------- */

static bool fits(u64 at, u64 bytes, u64 limit)
{
	return at <= limit && bytes <= limit - at;
}

bool saved_print(const struct saved_block *r, const struct saved_parts *p, struct footprint *print)
{
	u32 bytes = 0;

	for (unsigned i = 0; i < r->ranges; i++) {
		print->range[i] = p->ranges[i];
		if (!fits(p->ranges[i].off, p->ranges[i].bytes, PAGE_SIZE))
			return false;
		bytes += p->ranges[i].bytes;
	}
	for (unsigned i = 0; i < r->fields; i++) {
		const struct footprint_field *f = &p->fields[i];

		if (!fits(f->at, f->bytes, r->print_bytes) || f->bytes > sizeof(u64) ||
		    f->family >= FOOTPRINT_FAMILIES)
			return false;
	}
	for (unsigned i = 0; i < r->moves; i++)
		if (p->moves[i].family >= FOOTPRINT_FAMILIES)
			return false;
	print->ranges = r->ranges;
	print->fields = r->fields;
	print->moves = r->moves;
	print->bytes = r->print_bytes;
	print->field = (void *)p->fields;
	print->move = (void *)p->moves;
	print->byte = (void *)p->print;
	return r->ranges && bytes == r->print_bytes && p->ranges[0].off == r->off &&
	       p->ranges[0].bytes == r->guest_bytes;
}

static bool good_sites(const struct saved_block *r, const struct saved_parts *p)
{
	for (unsigned i = 0; i < r->sites; i++) {
		const struct saved_site *s = &p->sites[i];

		if (s->kind > SITE_NEXT || s->form > FLAGS_DEAD || s->seg > SEG_GS ||
		    s->insn >= r->insns || s->guest_off < 0 || s->guest_off > (s32)PAGE_SIZE + 15 ||
		    s->access > MEM_RW ||
		    (s->store && s->store >> 4 != STORE_GPR >> 4 &&
		     s->store >> 4 != STORE_VECTOR >> 4))
			return false;
		if ((s->patch != SAVED_NONE && !fits(s->patch, 5, r->code_bytes)) ||
		    (s->stub != SAVED_NONE && s->stub > r->code_bytes))
			return false;
	}
	return true;
}

/* What points into the code. */
static bool good_code(const struct saved_block *r, const struct saved_parts *p)
{
	for (unsigned i = 0; i < r->places; i++) {
		u16 at = PLACE_OFFSET(p->places[i]);
		u32 value;

		if (!fits(at, 4, r->code_bytes))
			return false;
		memcpy(&value, p->code + at, 4);
		if (p->places[i] & PLACE_SITE && value >= r->sites)
			return false;
	}
	for (unsigned i = 0; i < r->maps; i++)
		if (p->maps[i].host >= r->code_bytes)
			return false;
	for (unsigned i = 0; i < r->fields; i++)
		if (!fits(p->fields[i].host, p->fields[i].bytes, r->code_bytes))
			return false;
	for (unsigned i = 0; i < r->moves; i++)
		if (!fits(p->moves[i].host, 4, r->code_bytes))
			return false;
	return fits(r->entry_saved, BLOCK_MIN_CODE, r->code_bytes) && r->entry_host < r->code_bytes;
}

bool saved_parts(const struct saved_code *saved, u64 at, struct saved_parts *parts)
{
	const struct saved_block *r = (const void *)(saved->base + at);
	u64 limit = saved->header->index, bytes = sizeof(*r);
	const u8 *p = (const u8 *)(r + 1);

	if (at < sizeof(struct saved_code_header) || at % SAVED_ALIGN || !fits(at, bytes, limit))
		return false;
	if (r->ranges > FOOTPRINT_RANGES || r->fields > FOOTPRINT_MAX_FIELDS ||
	    r->moves > FOOTPRINT_MOVES || r->print_bytes > FOOTPRINT_MAX_INSNS * 15 ||
	    r->sites > BLOCK_MAX_SITES || r->places > BLOCK_MAX_PLACES ||
	    r->maps > BLOCK_MAX_MAPS || !r->maps || !r->insns || r->insns > BLOCK_MAX_INSNS ||
	    r->code_bytes > BLOCK_MAX_CODE || r->off >= PAGE_SIZE || r->prefers > FLAGS_DEAD ||
	    r->ctx & CTX_SINGLE || r->ctx > 0xffff)
		return false;
	bytes += r->sites * sizeof(*parts->sites) + r->fields * sizeof(*parts->fields) +
		 r->moves * sizeof(*parts->moves) + r->ranges * sizeof(*parts->ranges) +
		 r->places * sizeof(*parts->places) + r->maps * sizeof(*parts->maps) +
		 r->print_bytes + r->code_bytes;
	if (r->bytes != ALIGN_UP(bytes, SAVED_ALIGN) || bytes < SAVED_BYTES_MIN ||
	    !fits(at, r->bytes, limit))
		return false;
	parts->sites = (const void *)p;
	parts->fields = (const void *)(parts->sites + r->sites);
	parts->moves = (const void *)(parts->fields + r->fields);
	parts->ranges = (const void *)(parts->moves + r->moves);
	parts->places = (const void *)(parts->ranges + r->ranges);
	parts->maps = (const void *)(parts->places + r->places);
	parts->print = (const void *)(parts->maps + r->maps);
	parts->code = parts->print + r->print_bytes;
	return true;
}

/* The file is too large for the caches: what is likely to be read next is asked for early. */
#define PREFETCH_BYTES 512

/* ---- finding a block ------------------------------------------------------------------------ */

u64 saved_key(u32 ctx, unsigned off, const u8 *bytes, unsigned n)
{
	u64 low = 0, high = 0, h;

	memcpy(&low, bytes, MIN(n, 8));
	if (n > 8)
		memcpy(&high, bytes + 8, 8);
	h = (low ^ ((u64)ctx << 32 | off << 8 | n) * 0x9e3779b97f4a7c15ull) * 0xd6e8feb86659fd93ull;
	h = (h ^ h >> 32 ^ high) * 0xd6e8feb86659fd93ull;
	h ^= h >> 29;
	return h | BIT(32);
}

/* The record at @at, if it is of code like that. */
static const struct saved_block *match(const struct saved_code *saved, u64 at, unsigned off,
				       u32 ctx, const u8 *host, u64 *values)
{
	const struct saved_block *r = (const void *)(saved->base + at);
	struct saved_parts parts;
	struct footprint print;

	if (!saved_parts(saved, at, &parts) || r->off != off || r->ctx != ctx ||
	    *saved_use(saved, r) == SAVED_BAD || !saved_print(r, &parts, &print) ||
	    !footprint_fits(&print, host, values))
		return NULL;
	return r;
}

static const struct saved_block *find_key(const struct saved_code *saved, u64 key, unsigned off,
					  u32 ctx, const u8 *host, u64 *values)
{
	u32 mask = saved->header->slots - 1;
	const struct saved_block *r = NULL;

	for (u32 n = 0, i = key; n <= mask && !r; n++, i++) {
		const struct saved_slot *s = &saved->index[i & mask];

		if (!s->at)
			return NULL;
		if (s->key == (u32)(key >> 32))
			r = match(saved, (u64)s->at * SAVED_ALIGN, off, ctx, host, values);
	}
	return r;
}

const struct saved_block *saved_find(struct saved_code *saved, unsigned off, u32 ctx,
				     const u8 *host, u64 *values)
{
	const struct saved_block *r = match(saved, saved->next, off, ctx, host, values);

	for (unsigned n = 16; n && !r; n /= 2)
		if (off + n <= PAGE_SIZE)
			r = find_key(saved, saved_key(ctx, off, host + off, n), off, ctx, host,
				     values);
	if (!r)
		return NULL;
	saved->next = (const u8 *)r - saved->base + r->bytes;
	for (unsigned i = 0; i < PREFETCH_BYTES; i += 64)
		__builtin_prefetch((const u8 *)r + r->bytes + i);
	return r;
}

/* ---- making the block ----------------------------------------------------------------------- */

static size_t tag_offset(u32 ctx, u32 write)
{
	unsigned kind = (ctx >> CTX_CPL_SHIFT & 3) == 3 ? TLB_USER
			: ctx & CTX_AC                  ? TLB_KERNEL_AC
							: TLB_KERNEL;

	return offsetof(struct cpu, tlb) + kind * sizeof(struct tlb) +
	       (write ? offsetof(struct tlb_entry, write_tag)
		      : offsetof(struct tlb_entry, read_tag));
}

static void place_sites(struct code_cache *code, const struct saved_block *r,
			const struct saved_parts *p, struct block *block)
{
	for (unsigned i = 0; i < r->sites; i++) {
		const struct saved_site *f = &p->sites[i];
		struct site *s = &code->sites[block->sites + i];

		*s = (struct site){
			.block = block,
			.kind = f->kind,
			.form = f->form,
			.access = f->access,
			.align = f->align,
			.size = f->size,
			.own = f->own,
			.span = f->span,
			.masked = f->masked,
			.locked = f->locked,
			.x87 = f->x87,
			.store = f->store,
			.seg = f->seg,
			.insn = f->insn,
			.flips = f->flips & CTX_AC,
			.guest_off = f->guest_off,
			.patch = f->patch == SAVED_NONE ? 0 : block->code + f->patch,
			.stub = f->stub == SAVED_NONE ? 0 : block->code + f->stub,
			.tag_off = f->kind == SITE_MEM ? tag_offset(r->ctx, f->tag) : f->tag,
		};
	}
}

static void place_code(struct code_cache *code, const struct saved_block *r,
		       const struct saved_parts *p, const u64 *values, struct block *block)
{
	u8 *to = code->buf.base + block->code;

	memcpy(to, p->code, r->code_bytes);
	for (unsigned i = 0; i < r->places; i++) {
		u32 at = PLACE_OFFSET(p->places[i]), v;

		memcpy(&v, to + at, 4);
		v += p->places[i] & PLACE_SITE ? EXIT_SITE + block->sites : -(block->code + at + 4);
		memcpy(to + at, &v, 4);
	}
	for (unsigned i = 0; i < r->fields; i++)
		if (p->fields[i].host && !p->fields[i].family)
			memcpy(to + p->fields[i].host, &values[i], p->fields[i].bytes);
	for (unsigned i = 0; i < r->moves; i++)
		memcpy(to + p->moves[i].host, &values[r->fields + i], 4);
	code->buf.p = to + r->code_bytes;
}

bool saved_place(struct code_cache *code, const struct saved_block *r, const u64 *values,
		 struct block *block)
{
	u64 at = (const u8 *)r - code->saved->base;
	struct saved_parts p;

	if (!saved_parts(code->saved, at, &p) || !good_sites(r, &p) || !good_code(r, &p))
		return false;
	while ((uintptr_t)code->buf.p & 15)
		e8(&code->buf, 0xcc);
	block->code = code->buf.p - code->buf.base;
	block->code_end = block->code + r->code_bytes;
	block->entry_host = block->code + r->entry_host;
	block->entry_saved = block->entry_found = block->code + r->entry_saved;
	block->insns = r->insns;
	block->maps = r->maps;
	block->bytes = r->guest_bytes;
	block->first_bytes = r->first_bytes;
	block->prefers = r->prefers;
	block->saved = 1;
	block->site_count = r->sites;
	for (unsigned i = 0; i < r->ranges; i++)
		block->lines |= code_lines(p.ranges[i].off, MAX(p.ranges[i].bytes, 1));
	place_code(code, r, &p, values, block);
	place_sites(code, r, &p, block);
	memcpy(block->map, p.maps, r->maps * sizeof(*p.maps));
	return true;
}

/* ---- verifying ------------------------------------------------------------------------------ */

/* Is the block safe with any values in its fields? It is placed for that behind the last one, which
 * the next to be placed overwrites. */
static bool is_safe(struct code_cache *code, const struct saved_block *r)
{
	static const u64 values[FOOTPRINT_MAX_VALUES];
	u8 *end = code->buf.p;
	struct block block = { .page2 = ~0ull,
			       .off = r->off,
			       .ctx = r->ctx,
			       .sites = code->site_count,
			       .map = code->maps + code->map_count };
	struct saved_parts parts;
	struct footprint print;
	const char *why = "its numbers make no sense";
	bool safe;

	safe = saved_parts(code->saved, (const u8 *)r - code->saved->base, &parts) &&
	       saved_print(r, &parts, &print) && saved_place(code, r, values, &block) &&
	       block_verify(code, &block, &print, &why);
	code->buf.p = end;
	if (!safe)
		log_warning("cpu", "a saved block of page offset %#x, context %#x is refused: %s",
			    r->off, r->ctx, why);
	return safe;
}

bool saved_check(struct code_cache *code, const struct saved_block *r)
{
	struct saved_code *saved = code->saved;
	const struct saved_block *next = r;
	struct saved_parts parts;

	for (unsigned i = 0; i < SAVED_CHECK_AT_ONCE; i++) {
		if (!saved_parts(saved, (const u8 *)next - saved->base, &parts))
			break;
		if (*saved_use(saved, next) == SAVED_UNKNOWN)
			*saved_use(saved, next) = is_safe(code, next) ? SAVED_SAFE : SAVED_BAD;
		next = (const void *)((const u8 *)next + next->bytes);
	}
	return *saved_use(saved, r) != SAVED_BAD;
}

s64 saved_check_all(struct code_cache *code, int fd)
{
	struct saved_code *saved = code->saved;
	struct saved_parts parts;

	code_lock(code);
	for (u64 at = sizeof(struct saved_code_header); saved_parts(saved, at, &parts);) {
		const struct saved_block *r = (const void *)(saved->base + at);

		saved_check(code, r);
		at += r->bytes;
	}
	code_unlock(code);
	return saved_write_all(code->vm, fd);
}
