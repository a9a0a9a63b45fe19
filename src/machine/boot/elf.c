/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ELF headers, copied out of the file before they are looked at. See elf.h.
 */
#include "machine/boot/elf.h"

#include "machine/boot/image.h"
#include "machine/vm.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int bad(GError **error, const char *what)
{
	g_set_error(error, VM_ERROR, EINVAL, "the kernel's ELF file is damaged: %s", what);
	return -EINVAL;
}

bool elf_recognise(const u8 *file, u64 bytes)
{
	return bytes >= EI_NIDENT && !memcmp(file, ELFMAG, SELFMAG);
}

static int by_address(const void *a, const void *b)
{
	const struct elf_segment *x = a, *y = b;

	return x->paddr < y->paddr ? -1 : x->paddr > y->paddr;
}

static bool fits(u64 offset, u64 bytes, u64 limit)
{
	return offset <= limit && bytes <= limit - offset;
}

static int add_segment(struct elf *elf, u32 type, const struct elf_segment *s, u64 bytes,
		       GError **error)
{
	if (type != PT_LOAD && type != PT_NOTE)
		return 0;
	if (!fits(s->offset, s->file_bytes, bytes))
		return bad(error, "a segment lies outside the file");
	elf->file_end = MAX(elf->file_end, s->offset + s->file_bytes);
	if (type == PT_NOTE) {
		elf->note[elf->notes++] = *s;
		return 0;
	}
	if (s->mem_bytes < s->file_bytes || s->paddr + s->mem_bytes < s->paddr)
		return bad(error, "a segment's size makes no sense");
	if (s->mem_bytes)
		elf->load[elf->loads++] = *s;
	return 0;
}

static int check_loads(struct elf *elf, GError **error)
{
	if (!elf->loads)
		return bad(error, "nothing to load");
	qsort(elf->load, elf->loads, sizeof(elf->load[0]), by_address);
	for (unsigned i = 1; i < elf->loads; i++)
		if (elf->load[i - 1].paddr + elf->load[i - 1].mem_bytes > elf->load[i].paddr)
			return bad(error, "segments overlap");
	return 0;
}

static int parse64(const u8 *file, u64 bytes, struct elf *elf, GError **error)
{
	Elf64_Ehdr h;
	Elf64_Phdr p;
	int err = 0;

	if (bytes < sizeof(h))
		return bad(error, "cut");
	memcpy(&h, file, sizeof(h));
	if (h.e_machine != EM_X86_64 || h.e_phentsize != sizeof(p) ||
	    h.e_phnum > ELF_SEGMENTS_MAX || !fits(h.e_phoff, h.e_phnum * sizeof(p), bytes))
		return bad(error, "its program headers");
	elf->entry = h.e_entry;
	if (fits(h.e_shoff, (u64)h.e_shnum * h.e_shentsize, bytes))
		elf->file_end = h.e_shoff + (u64)h.e_shnum * h.e_shentsize;
	for (unsigned i = 0; i < h.e_phnum && !err; i++) {
		memcpy(&p, file + h.e_phoff + i * sizeof(p), sizeof(p));
		err = add_segment(
			elf, p.p_type,
			&(struct elf_segment){ p.p_offset, p.p_paddr, p.p_filesz, p.p_memsz },
			bytes, error);
	}
	return err;
}

static int parse32(const u8 *file, u64 bytes, struct elf *elf, GError **error)
{
	Elf32_Ehdr h;
	Elf32_Phdr p;
	int err = 0;

	if (bytes < sizeof(h))
		return bad(error, "cut");
	memcpy(&h, file, sizeof(h));
	if (h.e_machine != EM_386 || h.e_phentsize != sizeof(p) || h.e_phnum > ELF_SEGMENTS_MAX ||
	    !fits(h.e_phoff, h.e_phnum * sizeof(p), bytes))
		return bad(error, "its program headers");
	elf->entry = h.e_entry;
	for (unsigned i = 0; i < h.e_phnum && !err; i++) {
		memcpy(&p, file + h.e_phoff + i * sizeof(p), sizeof(p));
		err = add_segment(
			elf, p.p_type,
			&(struct elf_segment){ p.p_offset, p.p_paddr, p.p_filesz, p.p_memsz },
			bytes, error);
	}
	return err;
}

int elf_parse(const u8 *file, u64 bytes, struct elf *elf, GError **error)
{
	int err;

	memset(elf, 0, sizeof(*elf));
	if (!elf_recognise(file, bytes))
		return bad(error, "no ELF header");
	err = file[EI_CLASS] == ELFCLASS64 ? parse64(file, bytes, elf, error)
					   : parse32(file, bytes, elf, error);
	return err ? err : check_loads(elf, error);
}
