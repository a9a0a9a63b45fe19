/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel files: bzImages with every compressor, and PVH ELF files. Whatever is in one, memory below
 * 1 MiB and above the ceiling stays as it was and a refusal has a message.
 *
 *   input: u8 how, then the file
 */
#include "fuzz.h"
#include "kernels.h"
#include "machine/boot/image.h"

#include <string.h>
#include <sys/mman.h>

const size_t fuzz_bytes_max = 48 * KIB;
const bool fuzz_text = false;

#define RAM_BYTES (32 * MIB)
#define CEILING   (RAM_BYTES - MIB)
#define GUARD     MIB

enum { HOW_KASLR = 1, HOW_FRESH = 2, HOW_CLASSIC = 4 };

/* Text right behind the headers: real files have 2 MiB of nothing there. */
#define COMPACT_TEXT 0x1000

bool fuzz_seed(unsigned index, GByteArray *seed)
{
	bool elf = index >= 2 * PACKERS, middle = index & 1;
	GByteArray *file;

	if (index > 2 * PACKERS)
		return false;
	file = elf ? kernel_make_elf(COMPACT_TEXT, false, false)
		   : kernel_make_bzimage(COMPACT_TEXT, index / 2, true, middle);
	fuzz_give(seed, middle ? HOW_KASLR | HOW_FRESH : 0, 1);
	g_byte_array_append(seed, file->data, file->len);
	g_byte_array_unref(file);
	return true;
}

static u64 fixed_random(void *opaque)
{
	return 0x123456789abcdef;
}

/* RAM between two pages nobody may touch, cleared. */
static u8 *guest_ram(void)
{
	static u8 *ram;

	if (!ram) {
		ram = mmap(NULL, RAM_BYTES + 2 * GUARD, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		FUZZ_CHECK(ram != MAP_FAILED);
		ram += GUARD;
		FUZZ_CHECK(mprotect(ram, RAM_BYTES, PROT_READ | PROT_WRITE) == 0);
	}
	FUZZ_CHECK(madvise(ram, RAM_BYTES, MADV_DONTNEED) == 0);
	return ram;
}

static bool is_zero(const u8 *p, size_t bytes)
{
	return !*p && !memcmp(p, p + 1, bytes - 1);
}

static int load(const u8 *file, size_t bytes, u8 how, struct boot_ram *ram,
		struct kernel_entry *entry, GError **error)
{
	struct bzimage image;
	int err;

	if (!bzimage_recognise(file, bytes))
		return pvh_load(file, bytes, ram, entry, error);
	err = bzimage_parse(file, bytes, &image, error);
	if (err)
		return err;
	if (how & HOW_CLASSIC)
		return bzimage_load_classic(&image, ram, entry, error);
	return bzimage_load_unpacked(&image, ram, how & HOW_KASLR ? fixed_random : NULL, NULL,
				     entry, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kernel_entry entry = { .rip = 0 };
	GError *error = NULL;
	struct boot_ram ram;
	int err;

	if (!size)
		return 0;
	ram = (struct boot_ram){ .ram = guest_ram(),
				 .bytes = RAM_BYTES,
				 .ceiling = CEILING,
				 .fresh = data[0] & HOW_FRESH };
	err = load(data + 1, size - 1, data[0], &ram, &entry, &error);
	FUZZ_CHECK(!err == !error);
	FUZZ_CHECK(is_zero(ram.ram, MIB));
	FUZZ_CHECK(is_zero(ram.ram + CEILING, RAM_BYTES - CEILING));
	if (!err) {
		FUZZ_CHECK(entry.start >= MIB && entry.start < entry.end);
		FUZZ_CHECK(entry.end <= CEILING);
		FUZZ_CHECK(entry.rip >= entry.start && entry.rip < entry.end);
	} else {
		FUZZ_CHECK(g_utf8_validate(error->message, -1, NULL));
	}
	g_clear_error(&error);
	return 0;
}
