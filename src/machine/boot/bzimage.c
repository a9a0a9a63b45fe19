/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bzImages (Linux Documentation/arch/x86/boot.rst): header, payload, relocation.
 *
 * The payload is a packed ELF file followed by a relocation table. It is unpacked in place: its
 * first byte goes 2 MiB below the load address, because that is where the first segment begins in
 * the file of every x86-64 kernel so far; then the text, by far the largest part, is already where
 * it belongs and the other segments move a little.
 *
 *   RAM:  load-2M          load                                    load+init_size
 *         | ELF header ... | text, rodata | data | percpu | init   |
 *
 * The relocation table, little-endian 32-bit words, sign-extended kernel addresses of fields to
 * change by the distance between where the kernel runs and where it was linked:
 *
 *   0, addresses of 64-bit fields, 0, of 32-bit fields to decrease, 0, of 32-bit fields to increase
 *
 * Kernels from 6.15 on lack the middle list.
 */
#include "machine/boot/elf.h"
#include "machine/boot/image.h"
#include "machine/boot/unpack.h"
#include "machine/vm.h"

#include <errno.h>
#include <string.h>

#define HEADER_START      0x1f1
#define BEFORE_TEXT       (2 * MIB)
#define KERNEL_MAP        0xffffffff80000000ull /* __START_KERNEL_map */
#define KERNEL_IMAGE_SIZE (1 * GIB)             /* of kernels with KASLR */

static u64 field(const struct bzimage *image, unsigned offset, unsigned bytes)
{
	u64 value = 0;

	memcpy(&value, image->header + offset - HEADER_START, bytes);
	return value;
}

static int bad(GError **error, const char *what)
{
	g_set_error(error, VM_ERROR, EINVAL, "the kernel image is damaged: %s", what);
	return -EINVAL;
}

bool bzimage_recognise(const u8 *file, u64 bytes)
{
	return bytes >= 0x206 && !memcmp(file + 0x202, "HdrS", 4) && file[0x1fe] == 0x55 &&
	       file[0x1ff] == 0xaa;
}

static int parse_payload(struct bzimage *image, GError **error)
{
	u64 rest = image->file_bytes - image->setup_bytes;
	u64 offset = field(image, 0x248, 4), bytes = field(image, 0x24c, 4);

	if (offset > rest || bytes > rest - offset || bytes < 8)
		return bad(error, "its payload lies outside the file; is it cut?");
	image->payload = image->setup_bytes + offset;
	image->payload_bytes = bytes;
	return 0;
}

int bzimage_parse(const u8 *file, u64 bytes, struct bzimage *image, GError **error)
{
	unsigned version;

	memset(image, 0, sizeof(*image));
	image->file = file;
	image->file_bytes = bytes;
	if (!bzimage_recognise(file, bytes) || bytes < 0x290)
		return bad(error, "no boot header");
	memcpy(image->header, file + HEADER_START, sizeof(image->header));
	version = field(image, 0x206, 2);
	if (version < 0x20c) {
		g_set_error(error, VM_ERROR, ENOTSUP,
			    "the kernel speaks boot protocol %u.%u; 2.12 (Linux 3.8) is the oldest "
			    "that can be booted directly",
			    version >> 8, version & 0xff);
		return -ENOTSUP;
	}
	image->setup_bytes = ((field(image, 0x1f1, 1) ?: 4) + 1) * 512;
	image->header_bytes =
		MIN(0x202 + field(image, 0x201, 1) - HEADER_START, sizeof(image->header));
	if (image->setup_bytes >= bytes)
		return bad(error, "it is cut");
	image->pref_address = field(image, 0x258, 8);
	image->alignment = field(image, 0x230, 4);
	image->init_size = field(image, 0x260, 4);
	image->initrd_max = field(image, 0x22c, 4);
	image->cmdline_max = field(image, 0x238, 4);
	image->long_mode = field(image, 0x236, 2) & 1;
	if (image->pref_address < MIB || image->pref_address > GIB ||
	    image->alignment < PAGE_SIZE || image->alignment > GIB ||
	    (image->alignment & (image->alignment - 1)) || image->init_size < PAGE_SIZE ||
	    image->init_size > GIB)
		return bad(error, "its boot header makes no sense");
	return parse_payload(image, error);
}

/* Relocations. */

struct relocations {
	u32 *words;
	u64 count;
	/* Half-open ranges of @words; @down is empty in newer kernels. */
	u64 wide[2], down[2], up[2];
};

/* Finds the lists between the zeros. False: there is no table, or none that is understood. */
static bool split_relocations(struct relocations *r)
{
	u64 zeros[3], n = 0;

	if (r->count < 3 || r->words[0])
		return false;
	for (u64 i = 0; i < r->count; i++) {
		if (r->words[i])
			continue;
		if (n == ARRAY_LEN(zeros))
			return false;
		zeros[n++] = i;
	}
	if (n < 2)
		return false;
	r->wide[0] = 1;
	r->wide[1] = zeros[1];
	if (n == 3) {
		r->down[0] = zeros[1] + 1;
		r->down[1] = zeros[2];
	}
	r->up[0] = zeros[n - 1] + 1;
	r->up[1] = r->count;
	return true;
}

/* Copies the table away before segments move over it. */
static bool take_relocations(const u8 *file, u64 bytes, const struct elf *elf,
			     struct relocations *r)
{
	u64 size = bytes - MIN(elf->file_end, bytes);

	memset(r, 0, sizeof(*r));
	if (size % 4 || size < 12)
		return false;
	r->words = g_try_malloc(size);
	if (!r->words)
		return false;
	memcpy(r->words, file + elf->file_end, size);
	r->count = size / 4;
	return split_relocations(r);
}

struct placed {
	u8 *image; /* host address of the kernel's first byte */
	u64 bytes;
	u64 linked; /* physical address it was linked for */
};

static int relocate_list(const struct relocations *r, const u64 range[2], const struct placed *p,
			 unsigned width, u64 delta, GError **error)
{
	for (u64 i = range[0]; i < range[1]; i++) {
		u64 at = (u64)(s64)(s32)r->words[i] - KERNEL_MAP - p->linked;
		u64 value = 0;

		if (at >= p->bytes || width > p->bytes - at)
			return bad(error, "a relocation lies outside the kernel");
		memcpy(&value, p->image + at, width);
		value += delta;
		memcpy(p->image + at, &value, width);
	}
	return 0;
}

static int relocate(const struct relocations *r, const struct placed *p, u64 delta, GError **error)
{
	int err = relocate_list(r, r->wide, p, 8, delta, error);

	if (!err)
		err = relocate_list(r, r->down, p, 4, -delta, error);
	return err ? err : relocate_list(r, r->up, p, 4, delta, error);
}

/* A virtual address offset like the kernel's own choice: a multiple of the alignment between where
 * it was linked and the end of the kernel's address range. */
static u64 choose_delta(const struct bzimage *image, u64 random)
{
	u64 first = image->pref_address, slots;

	if (first + image->init_size > KERNEL_IMAGE_SIZE)
		return 0;
	slots = 1 + (KERNEL_IMAGE_SIZE - first - image->init_size) / image->alignment;
	return random % slots * image->alignment;
}

/* Placing. */

/* Any aligned address between the preferred one and the ceiling. */
static int choose_load(const struct bzimage *image, const struct boot_ram *ram, bool randomise,
		       u64 random, u64 *load, GError **error)
{
	u64 first = ALIGN_UP(image->pref_address, image->alignment), last;

	if (image->init_size > ram->ceiling || first > ram->ceiling - image->init_size ||
	    first < MIB + BEFORE_TEXT) {
		g_set_error(error, VM_ERROR, ENOSPC,
			    "the kernel needs %llu MiB of memory to start and %llu MiB are free; "
			    "give the guest more",
			    (unsigned long long)((first + image->init_size + MIB - 1) / MIB),
			    (unsigned long long)(ram->ceiling / MIB));
		return -ENOSPC;
	}
	last = ALIGN_DOWN(ram->ceiling - image->init_size, image->alignment);
	*load = first;
	if (randomise)
		*load += random % ((last - first) / image->alignment + 1) * image->alignment;
	return 0;
}

/* Moves segments from where they were unpacked to their places. Those that move down go first to
 * last, those that move up last to first; a mixture in which one would cover another's source does
 * not occur and is refused. */
static int move_segments(const struct elf *elf, u8 *unpacked, const struct placed *p,
			 GError **error)
{
	bool up = false, down = false;

	for (unsigned i = 0; i < elf->loads; i++) {
		const struct elf_segment *s = &elf->load[i];
		u8 *to;

		if (s->paddr < p->linked || s->paddr - p->linked > p->bytes ||
		    s->mem_bytes > p->bytes - (s->paddr - p->linked))
			return bad(error, "a segment lies outside the kernel's memory");
		if (i && s->offset < elf->load[i - 1].offset)
			return bad(error, "its segments are out of order");
		to = p->image + (s->paddr - p->linked);
		up |= to > unpacked + s->offset;
		down |= to < unpacked + s->offset;
	}
	if (up && down)
		return bad(error, "its segments are laid out in an unknown way");
	for (unsigned n = 0; n < elf->loads; n++) {
		const struct elf_segment *s = &elf->load[up ? elf->loads - 1 - n : n];
		u8 *to = p->image + (s->paddr - p->linked);

		if (to != unpacked + s->offset)
			memmove(to, unpacked + s->offset, s->file_bytes);
	}
	return 0;
}

/* Between and behind the segments there may be remains of the file. */
static void clear_gaps(const struct elf *elf, const struct placed *p, u64 dirty)
{
	for (unsigned i = 0; i < elf->loads; i++) {
		const struct elf_segment *s = &elf->load[i];
		u64 start = s->paddr - p->linked + s->file_bytes;
		u64 end = i + 1 < elf->loads
				  ? elf->load[i + 1].paddr - p->linked
				  : MAX(s->paddr - p->linked + s->mem_bytes, MIN(dirty, p->bytes));

		if (end > start)
			memset(p->image + start, 0, end - start);
	}
}

struct choice {
	u64 load, delta;
	bool randomise;
};

static int place_kernel(const struct bzimage *image, u8 *unpacked, u64 bytes, struct choice *choice,
			const struct placed *p, struct kernel_entry *entry, GError **error)
{
	struct relocations r = { 0 };
	struct elf elf;
	int err = elf_parse(unpacked, bytes, &elf, error);

	if (err)
		return err;
	if (elf.entry < p->linked || elf.entry - p->linked >= p->bytes)
		return bad(error, "its entry is outside it");
	choice->randomise = choice->randomise && take_relocations(unpacked, bytes, &elf, &r);
	if (!choice->randomise)
		choice->delta = 0;
	err = move_segments(&elf, unpacked, p, error);
	if (!err) {
		clear_gaps(&elf, p, bytes > BEFORE_TEXT ? bytes - BEFORE_TEXT : 0);
		if (choice->delta)
			err = relocate(&r, p, choice->delta, error);
	}
	g_free(r.words);
	entry->rip = choice->load + (elf.entry - p->linked);
	return err;
}

int bzimage_load_unpacked(const struct bzimage *image, struct boot_ram *ram, boot_random *random,
			  void *random_opaque, struct kernel_entry *entry, GError **error)
{
	struct choice choice = { .randomise = random != NULL };
	struct placed p;
	u8 *unpacked;
	u64 room, bytes = 0;
	int err;

	err = choose_load(image, ram, choice.randomise, random ? random(random_opaque) : 0,
			  &choice.load, error);
	if (err)
		return err;
	if (choice.randomise)
		choice.delta = choose_delta(image, random(random_opaque));
	unpacked = ram->ram + choice.load - BEFORE_TEXT;
	room = image->init_size + BEFORE_TEXT;
	if (ram->prepare)
		ram->prepare(ram->opaque, choice.load - BEFORE_TEXT, room);
	err = unpack(image->file + image->payload, image->payload_bytes, unpacked, room, &bytes,
		     error);
	if (err)
		return err;
	p = (struct placed){ ram->ram + choice.load, image->init_size, image->pref_address };
	err = place_kernel(image, unpacked, bytes, &choice, &p, entry, error);
	entry->start = choice.load;
	entry->end = choice.load + image->init_size;
	entry->virtual_kaslr = choice.randomise;
	entry->delta = choice.delta;
	return err;
}

/* The 64-bit entry is 0x200 bytes into the protected-mode kernel. It unpacks itself to its
 * preferred address, so that memory must exist too. */
int bzimage_load_classic(const struct bzimage *image, struct boot_ram *ram,
			 struct kernel_entry *entry, GError **error)
{
	u64 bytes = image->file_bytes - image->setup_bytes, load;

	if (!image->long_mode) {
		g_set_error(error, VM_ERROR, ENOTSUP, "the kernel has no 64-bit entry");
		return -ENOTSUP;
	}
	if (choose_load(image, ram, false, 0, &load, error))
		return -ENOSPC;
	if (bytes < 0x400 || bytes > ram->ceiling - MIB)
		return bad(error, "it is cut, or larger than the guest's memory");
	if (ram->prepare)
		ram->prepare(ram->opaque, MIB, bytes);
	memcpy(ram->ram + MIB, image->file + image->setup_bytes, bytes);
	*entry = (struct kernel_entry){ .rip = MIB + 0x200, .start = MIB, .end = MIB + bytes };
	return 0;
}
