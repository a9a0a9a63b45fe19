/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel images: from bytes to guest RAM. Pure functions over byte buffers, so that a fuzzer can
 * call them; nothing in a kernel file may make them touch a byte outside @ram or loop for long.
 *
 * @ram is the guest's RAM from physical address 0, @ram_bytes of it; a kernel goes to 1 MiB or
 * above, below @ceiling.
 */
#ifndef LODGE_MACHINE_BOOT_IMAGE_H
#define LODGE_MACHINE_BOOT_IMAGE_H

#include "base/types.h"
#include <glib.h>

struct boot_ram {
	u8 *ram;
	u64 bytes;
	u64 ceiling; /* what lies above is the initrd's or firmware tables */
	bool fresh;  /* all zero still: nothing needs clearing */
	/* Called before a range is written for the first time; may be NULL. */
	void (*prepare)(void *opaque, u64 start, u64 bytes);
	/* Copies from the kernel's file faster than memcpy can; false: it cannot. May be NULL. */
	bool (*copy)(void *opaque, u64 file_offset, u64 to, u64 bytes);
	void *opaque;
};

/* The start of a bzImage: Linux Documentation/arch/x86/boot.rst. */
struct bzimage {
	const u8 *file;
	u64 file_bytes;
	u64 setup_bytes; /* boot sector and real-mode code; the protected-mode kernel follows */
	u8 header[0x290 - 0x1f1];
	u64 header_bytes; /* valid bytes of @header, for boot_params */
	u64 payload, payload_bytes;
	u64 pref_address, alignment, init_size;
	u64 initrd_max;  /* highest address of an initrd's last byte */
	u64 cmdline_max; /* characters, without the final 0 */
	bool long_mode;  /* has the 64-bit entry */
};

/* Looks whether @file is a bzImage: false, not one; true, @image is filled in or @error set. */
bool bzimage_recognise(const u8 *file, u64 bytes);
int bzimage_parse(const u8 *file, u64 bytes, struct bzimage *image, GError **error);

struct kernel_entry {
	u64 rip;
	u64 start, end; /* physical range that now holds the kernel */
	bool virtual_kaslr;
	u64 delta; /* of its virtual addresses, from where it was linked */
};

/* Random numbers for address choice: a function so that tests and fuzzers repeat. NULL: none. */
typedef u64 boot_random(void *opaque);

/* Unpacks the payload, places its ELF segments and relocates them if @random is given and the
 * image carries its relocations. The entry is the 64-bit one of the kernel proper. */
int bzimage_load_unpacked(const struct bzimage *image, struct boot_ram *ram, boot_random *random,
			  void *random_opaque, struct kernel_entry *entry, GError **error);
/* Places the protected-mode kernel as it is at 1 MiB, to be entered through its 64-bit entry. */
int bzimage_load_classic(const struct bzimage *image, struct boot_ram *ram,
			 struct kernel_entry *entry, GError **error);

/* An ELF kernel with a PVH entry (XEN_ELFNOTE_PHYS32_ENTRY); entry->rip is 32-bit. */
bool elf_recognise(const u8 *file, u64 bytes);
int pvh_load(const u8 *file, u64 bytes, struct boot_ram *ram, struct kernel_entry *entry,
	     GError **error);

#endif
