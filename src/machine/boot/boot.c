/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct boot: opens the images, decides where things go, tells the kernel. See boot.h.
 */
#include "machine/boot/boot.h"

#include "accel/accel.h"
#include "base/log.h"
#include "machine/acpi/acpi.h"
#include "machine/boot/image.h"
#include "machine/boot/state.h"
#include "machine/layout.h"
#include "machine/pci.h"
#include "machine/vm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define BOOT_PARAMS    0x10000
#define CMDLINE        0x20000
#define CMDLINE_MAX    0x10000
#define PVH_START_INFO 0x6000
#define PVH_MODULES    0x6100
#define PVH_MEMMAP     0x6200

#define KERNEL_BYTES_MAX (1 * GIB)
#define COPY_CHUNK       0x40000
#define BOOT_ROOM        (128 * MIB) /* for kernel, initrd and tables, in sum */

enum { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3 };

struct memory_range {
	u64 start, bytes;
	u32 type;
};

#define RANGES_MAX 8

/* One boot under way. */
struct load {
	struct vm *vm;
	struct boot *boot;
	u8 *kernel; /* mapped file */
	u64 kernel_bytes;
	u64 acpi, acpi_bytes; /* tables */
	u64 initrd, initrd_bytes;
	struct memory_range ranges[RANGES_MAX];
	unsigned range_count;
	struct boot_ram ram;
	struct kernel_entry entry;
	bool kernel_known; /* that its virtual addresses are as @entry says */
};

static int map_kernel(struct load *l, GError **error)
{
	struct stat st;
	int err;

	if (fstat(l->boot->kernel_fd, &st) < 0) {
		err = errno;
		g_set_error(error, VM_ERROR, err, "cannot read the kernel: %s", g_strerror(err));
		return -err;
	}
	if (!S_ISREG(st.st_mode) || st.st_size < 1024 || st.st_size > (off_t)KERNEL_BYTES_MAX) {
		g_set_error(error, VM_ERROR, EINVAL,
			    "the kernel is not a regular file of 1 KiB to 1 GiB");
		return -EINVAL;
	}
	l->kernel_bytes = st.st_size;
	l->kernel = mmap(NULL, l->kernel_bytes, PROT_READ, MAP_PRIVATE, l->boot->kernel_fd, 0);
	if (l->kernel == MAP_FAILED) {
		err = errno;
		l->kernel = NULL;
		g_set_error(error, VM_ERROR, err, "cannot map the kernel: %s", g_strerror(err));
		return -err;
	}
	return 0;
}

static void add_range(struct load *l, u64 start, u64 end, u32 type)
{
	if (end > start && l->range_count < RANGES_MAX)
		l->ranges[l->range_count++] = (struct memory_range){ start, end - start, type };
}

static void plan_memory(struct load *l)
{
	const struct guest_memory *mem = &l->vm->memory;

	l->acpi = ALIGN_DOWN(mem->low_bytes - ACPI_BYTES, PAGE_SIZE);
	l->acpi_bytes = ACPI_BYTES;
	add_range(l, 0, EBDA_BASE, E820_RAM);
	add_range(l, EBDA_BASE, MEM_VIDEO_HOLE_START, E820_RESERVED);
	add_range(l, BIOS_AREA, MIB, E820_RESERVED);
	add_range(l, MIB, l->acpi, E820_RAM);
	add_range(l, l->acpi, l->acpi + l->acpi_bytes, E820_ACPI);
	add_range(l, ECAM_BASE, ECAM_BASE + ECAM_BYTES, E820_RESERVED);
	add_range(l, MEM_HIGH_BASE, MEM_HIGH_BASE + mem->high_bytes, E820_RAM);
}

static void prepare(void *opaque, u64 start, u64 bytes)
{
	struct load *l = opaque;

	guest_memory_populate(&l->vm->memory, start, bytes);
}

/*
 * Reads without having mapped the file, a piece that stays in the processor's cache at a time. Its
 * memory is asked for just before, so that the cache still holds the zeroes that the copy replaces.
 */
static int copy_file(struct load *l, int fd, u64 offset, u64 to, u64 bytes)
{
	u8 *p = vm_mem_ptr(l->vm, to, bytes);

	if (!p)
		return bytes ? -EFAULT : 0;
	while (bytes) {
		u64 piece = MIN(bytes, COPY_CHUNK);
		ssize_t n;

		guest_memory_populate(&l->vm->memory, to, piece);
		n = pread(fd, p, piece, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		offset += n;
		to += n;
		p += n;
		bytes -= n;
	}
	return 0;
}

static bool copy_kernel(void *opaque, u64 offset, u64 to, u64 bytes)
{
	struct load *l = opaque;

	return copy_file(l, l->boot->kernel_fd, offset, to, bytes) == 0;
}

/* As high as allowed, below the ACPI tables; kernels before 5.x cannot take it above 2 GiB. */
static int load_initrd(struct load *l, u64 highest, GError **error)
{
	struct stat st;
	u64 top = MIN(l->acpi, highest + 1);
	int err = 0;

	if (l->boot->initrd_fd < 0)
		return 0;
	if (fstat(l->boot->initrd_fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		g_set_error(error, VM_ERROR, EINVAL, "the initrd is not a regular file");
		return -EINVAL;
	}
	l->initrd_bytes = st.st_size;
	if (!l->initrd_bytes)
		return 0;
	if (l->initrd_bytes > top - MIN(top, 2 * MIB)) {
		g_set_error(
			error, VM_ERROR, ENOSPC,
			"the initrd of %llu MiB does not fit into the guest's memory; give it more",
			(unsigned long long)(l->initrd_bytes / MIB));
		return -ENOSPC;
	}
	l->initrd = ALIGN_DOWN(top - l->initrd_bytes, PAGE_SIZE);
	err = copy_file(l, l->boot->initrd_fd, 0, l->initrd, l->initrd_bytes);
	if (err)
		g_set_error(error, VM_ERROR, -err, "cannot read the initrd: %s", g_strerror(-err));
	vm_mem_written(l->vm, l->initrd, l->initrd_bytes);
	l->ram.ceiling = l->initrd;
	return err;
}

static int write_cmdline(struct load *l, u64 max, GError **error)
{
	const char *cmdline = l->boot->cmdline ?: "";
	size_t bytes = strlen(cmdline) + 1;

	if (bytes - 1 > max || bytes > CMDLINE_MAX) {
		g_set_error(error, VM_ERROR, E2BIG,
			    "the kernel command line has %zu bytes and the kernel takes %llu",
			    bytes - 1, (unsigned long long)MIN(max, CMDLINE_MAX - 1));
		return -E2BIG;
	}
	return vm_mem_write(l->vm, CMDLINE, cmdline, bytes);
}

static u64 host_random(void *opaque)
{
	u64 value = 0;

	if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != sizeof(value))
		value = __builtin_ia32_rdtsc();
	return value;
}

/* A word of the command line. */
static bool cmdline_has(const char *cmdline, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = cmdline; p && (p = strstr(p, word)); p += n)
		if ((p == cmdline || p[-1] == ' ') && (!p[n] || p[n] == ' '))
			return true;
	return false;
}

static void put_le(u8 *params, unsigned offset, u64 value, unsigned bytes)
{
	memcpy(params + offset, &value, bytes);
}

/* The zero page: Linux Documentation/arch/x86/zero-page.rst. */
static int write_boot_params(struct load *l, const struct bzimage *image)
{
	u8 params[4096] = { 0 };
	u8 *e820 = params + 0x2d0;

	memcpy(params + 0x1f1, image->header, image->header_bytes);
	put_le(params, 0x070, RSDP_ADDRESS, 8);
	put_le(params, 0x0c0, l->initrd >> 32, 4);
	put_le(params, 0x0c4, l->initrd_bytes >> 32, 4);
	put_le(params, 0x1fa, 0xffff, 2); /* video mode "normal" */
	params[0x210] = 0xff;             /* loader without a number */
	params[0x211] |= l->entry.virtual_kaslr ? 0x02 : 0;
	put_le(params, 0x218, l->initrd, 4);
	put_le(params, 0x21c, l->initrd_bytes, 4);
	put_le(params, 0x228, CMDLINE, 4);
	put_le(params, 0x250, 0, 8); /* no setup data */
	for (unsigned i = 0; i < l->range_count; i++, e820 += 20) {
		memcpy(e820, &l->ranges[i].start, 8);
		memcpy(e820 + 8, &l->ranges[i].bytes, 8);
		memcpy(e820 + 16, &l->ranges[i].type, 4);
	}
	params[0x1e8] = l->range_count;
	return vm_mem_write(l->vm, BOOT_PARAMS, params, sizeof(params));
}

static int boot_bzimage(struct load *l, GError **error)
{
	bool nokaslr = cmdline_has(l->boot->cmdline, "nokaslr");
	bool kaslr = l->boot->kaslr && !nokaslr, classic;
	struct bzimage image;
	int err = bzimage_parse(l->kernel, l->kernel_bytes, &image, error);

	if (!err)
		err = write_cmdline(l, image.cmdline_max, error);
	if (!err)
		err = load_initrd(l, image.initrd_max, error);
	classic = !err && l->boot->classic &&
		  image.long_mode; /* only older ones than Linux 3.8 have not */
	if (!err && classic)
		err = bzimage_load_classic(&image, &l->ram, &l->entry, error);
	else if (!err)
		err = bzimage_load_unpacked(&image, &l->ram, kaslr ? host_random : NULL, NULL,
					    &l->entry, error);
	if (err)
		return err;
	/* a packed one moves itself, and tells nobody where to */
	l->kernel_known = !classic || nokaslr;
	log_info("boot", "bzImage %s at 0x%llx%s", classic ? "packed" : "unpacked",
		 (unsigned long long)l->entry.start, l->entry.virtual_kaslr ? ", KASLR" : "");
	err = write_boot_params(l, &image);
	if (!err)
		err = boot_enter_long_mode(l->vm, l->entry.rip, BOOT_PARAMS);
	if (err)
		g_set_error(error, VM_ERROR, -err, "cannot enter the kernel: %s", g_strerror(-err));
	return err;
}

/* xen/include/public/arch-x86/hvm/start_info.h */
struct pvh_start_info {
	u32 magic, version, flags, modules;
	u64 module_list, cmdline, rsdp, memmap;
	u32 memmap_entries, reserved;
};

static int write_start_info(struct load *l)
{
	const u64 module[4] = { l->initrd, l->initrd_bytes, 0, 0 };
	struct {
		u64 start, bytes;
		u32 type, reserved;
	} map[RANGES_MAX] = { 0 };
	const struct pvh_start_info info = {
		.magic = 0x336ec578,
		.version = 1,
		.modules = l->initrd_bytes ? 1 : 0,
		.module_list = PVH_MODULES,
		.cmdline = CMDLINE,
		.rsdp = RSDP_ADDRESS,
		.memmap = PVH_MEMMAP,
		.memmap_entries = l->range_count,
	};
	int err;

	for (unsigned i = 0; i < l->range_count; i++) {
		map[i].start = l->ranges[i].start;
		map[i].bytes = l->ranges[i].bytes;
		map[i].type = l->ranges[i].type;
	}
	err = vm_mem_write(l->vm, PVH_START_INFO, &info, sizeof(info));
	if (!err)
		err = vm_mem_write(l->vm, PVH_MODULES, module, sizeof(module));
	return err ? err : vm_mem_write(l->vm, PVH_MEMMAP, map, sizeof(map));
}

static int boot_pvh(struct load *l, GError **error)
{
	int err = write_cmdline(l, CMDLINE_MAX - 1, error);

	if (!err)
		err = load_initrd(l, UINT32_MAX, error);
	if (!err)
		err = pvh_load(l->kernel, l->kernel_bytes, &l->ram, &l->entry, error);
	if (err)
		return err;
	l->kernel_known = true;
	log_info("boot", "PVH kernel at 0x%llx", (unsigned long long)l->entry.start);
	err = write_start_info(l);
	if (!err)
		err = boot_enter_pvh(l->vm, l->entry.rip, PVH_START_INFO);
	if (err)
		g_set_error(error, VM_ERROR, -err, "cannot enter the kernel: %s", g_strerror(-err));
	return err;
}

static int load_any(struct load *l, GError **error)
{
	if (bzimage_recognise(l->kernel, l->kernel_bytes)) {
		/* All of it will be read: mapping it in one go is far cheaper than by faults. */
		madvise(l->kernel, l->kernel_bytes, MADV_POPULATE_READ);
		return boot_bzimage(l, error);
	}
	if (elf_recognise(l->kernel, l->kernel_bytes))
		return boot_pvh(l, error);
	g_set_error(error, VM_ERROR, ENOTSUP,
		    "%s is neither a bzImage nor a PVH ELF file; name a Linux kernel as "
		    "distributions ship it",
		    l->boot->kernel_name ? l->boot->kernel_name : "the kernel");
	return -ENOTSUP;
}

int boot_direct(struct vm *vm, void *opaque, GError **error)
{
	struct load l = { .vm = vm, .boot = opaque };
	int err;

	if (vm->memory.low_bytes < 16 * MIB) {
		g_set_error(error, VM_ERROR, ENOSPC,
			    "direct boot needs at least 16 MiB of guest memory");
		return -ENOSPC;
	}
	if (!guest_memory_affords(&vm->memory, BOOT_ROOM)) {
		g_set_error(error, VM_ERROR, ENOMEM,
			    "the control group's memory limit leaves less than %llu MiB to boot in",
			    (unsigned long long)(BOOT_ROOM / MIB));
		return -ENOMEM;
	}
	plan_memory(&l);
	l.ram = (struct boot_ram){ .ram = vm->memory.hva,
				   .bytes = vm->memory.low_bytes,
				   .ceiling = l.acpi,
				   .fresh = !l.boot->used,
				   .prepare = prepare,
				   .copy = copy_kernel,
				   .opaque = &l };
	pci_assign(vm);
	err = map_kernel(&l, error);
	if (!err)
		err = acpi_build(vm, l.acpi, l.acpi_bytes, RSDP_ADDRESS, error);
	if (!err)
		err = load_any(&l, error);
	if (!err)
		vm_mem_written(vm, l.entry.start - MIN(l.entry.start, 2 * MIB),
			       l.entry.end - l.entry.start + 2 * MIB);
	if (!err && vm->accel->kernel_moved)
		vm->accel->kernel_moved(vm->accel_vm, l.kernel_known, l.entry.delta);
	if (l.kernel)
		munmap(l.kernel, l.kernel_bytes);
	l.boot->used = true;
	return err;
}
