/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Uncompressed ELF kernels with a PVH entry point: a note names a 32-bit physical address to
 * jump to (xen/include/public/elfnote.h and arch-x86/hvm/start_info.h).
 */
#include "machine/boot/elf.h"
#include "machine/boot/image.h"
#include "machine/vm.h"

#include <errno.h>
#include <string.h>

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define NOTES_MAX                256

/* Finds the entry among the notes of one segment: name size, descriptor size, type, then name and
 * descriptor, each padded to 4 bytes. */
static bool find_entry(const u8 *p, u64 bytes, u32 *entry)
{
	u64 at = 0;

	for (unsigned i = 0; i < NOTES_MAX && bytes - at >= 12; i++) {
		u32 head[3];
		u64 name, desc, next;

		memcpy(head, p + at, sizeof(head));
		name = at + 12;
		desc = name + ALIGN_UP(head[0], 4);
		next = desc + ALIGN_UP(head[1], 4);
		if (next > bytes)
			return false;
		if (head[2] == XEN_ELFNOTE_PHYS32_ENTRY && head[0] == 4 &&
		    !memcmp(p + name, "Xen", 4) && head[1] >= 4) {
			memcpy(entry, p + desc, 4);
			return true;
		}
		at = next;
	}
	return false;
}

static int place(const u8 *file, const struct elf_segment *s, struct boot_ram *ram, GError **error)
{
	if (s->paddr < MIB || s->paddr > ram->ceiling || s->mem_bytes > ram->ceiling - s->paddr) {
		g_set_error(
			error, VM_ERROR, ENOSPC,
			"the kernel wants memory up to 0x%llx, the guest has it from 0x100000 to "
			"0x%llx; give the guest more",
			(unsigned long long)(s->paddr + s->mem_bytes),
			(unsigned long long)ram->ceiling);
		return -ENOSPC;
	}
	if (ram->copy && ram->copy(ram->opaque, s->offset, s->paddr, s->file_bytes))
		return 0;
	if (ram->prepare)
		ram->prepare(ram->opaque, s->paddr, s->file_bytes);
	memcpy(ram->ram + s->paddr, file + s->offset, s->file_bytes);
	return 0;
}

/* Memory of a fresh machine is zero; that of a restarted one is not. Pages nobody has touched
 * stay untouched. */
static void clear_rest(const struct elf_segment *s, struct boot_ram *ram)
{
	if (!ram->fresh)
		memset(ram->ram + s->paddr + s->file_bytes, 0, s->mem_bytes - s->file_bytes);
}

int pvh_load(const u8 *file, u64 bytes, struct boot_ram *ram, struct kernel_entry *entry,
	     GError **error)
{
	struct elf elf;
	u32 rip = 0;
	bool found = false;
	int err = elf_parse(file, bytes, &elf, error);

	for (unsigned i = 0; i < elf.notes && !err && !found; i++)
		found = find_entry(file + elf.note[i].offset, elf.note[i].file_bytes, &rip);
	if (!err && !found) {
		g_set_error(error, VM_ERROR, ENOTSUP,
			    "the kernel is an ELF file without a PVH entry (CONFIG_PVH); use its "
			    "bzImage");
		err = -ENOTSUP;
	}
	for (unsigned i = 0; i < elf.loads && !err; i++) {
		err = place(file, &elf.load[i], ram, error);
		if (!err)
			clear_rest(&elf.load[i], ram);
	}
	if (err)
		return err;
	*entry = (struct kernel_entry){
		.rip = rip,
		.start = elf.load[0].paddr,
		.end = elf.load[elf.loads - 1].paddr + elf.load[elf.loads - 1].mem_bytes,
	};
	if (rip < entry->start || rip >= entry->end) {
		g_set_error(error, VM_ERROR, EINVAL, "the kernel's PVH entry 0x%x is outside it",
			    rip);
		return -EINVAL;
	}
	return 0;
}
