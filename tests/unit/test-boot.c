/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel loading from bytes: every compressor, relocation, placement, and hostile files. The
 * kernels are made by kernels.c, shaped like real ones but small.
 */
#include "kernels.h"
#include "machine/boot/boot.h"
#include "machine/boot/image.h"
#include "machine/boot/unpack.h"
#include "testvm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static u64 fixed_random(void *opaque)
{
	return *(u64 *)opaque;
}

struct guest {
	struct boot_ram ram;
	struct kernel_entry entry;
};

static void guest_init(struct guest *g, u64 bytes)
{
	*g = (struct guest){ .ram = { .bytes = bytes, .ceiling = bytes } };
	g->ram.ram = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void guest_free(struct guest *g)
{
	munmap(g->ram.ram, g->ram.bytes);
}

static void check_placed(const struct guest *g, u64 load, u64 delta, bool middle_list)
{
	const u8 *text = g->ram.ram + load, *data = text + (DATA_PADDR - LINKED);
	u64 wide;
	u32 narrow, down;

	g_assert_cmphex(g->entry.rip, ==, load);
	for (unsigned i = 0x300; i < 0x800; i++)
		g_assert_cmphex(text[i], ==, (u8)(i * 7));
	for (unsigned i = 0x20; i < DATA_BYTES; i++)
		g_assert_cmphex(data[i], ==, (u8)(i * 13 + 1));
	for (unsigned i = DATA_BYTES; i < DATA_MEM; i++)
		g_assert_cmphex(data[i], ==, 0);
	memcpy(&wide, text + 0x100, 8);
	memcpy(&narrow, data + 0x10, 4);
	memcpy(&down, text + 0x200, 4);
	g_assert_cmphex(wide, ==, KERNEL_MAP + LINKED + 0x100 + delta);
	g_assert_cmphex(narrow, ==, (u32)(KERNEL_MAP + DATA_PADDR + 0x10 + delta));
	g_assert_cmphex(down, ==, (u32)(0x1000 - (middle_list ? delta : 0)));
}

static int load(const GByteArray *f, struct guest *g, u64 *random, GError **error)
{
	struct bzimage image;
	int err = bzimage_parse(f->data, f->len, &image, error);

	return err ? err
		   : bzimage_load_unpacked(&image, &g->ram, random ? fixed_random : NULL, random,
					   &g->entry, error);
}

static void test_packers(void)
{
	for (unsigned packer = 0; packer < PACKERS; packer++) {
		GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, packer, false, false);
		GError *error = NULL;
		struct guest g;

		guest_init(&g, 64 * MIB);
		g_assert_cmpint(load(f, &g, NULL, &error), ==, 0);
		g_assert_no_error(error);
		check_placed(&g, LINKED, 0, false);
		g_assert_false(g.entry.virtual_kaslr);
		guest_free(&g);
		g_byte_array_free(f, TRUE);
	}
}

static void test_kaslr(void)
{
	for (unsigned i = 0; i < 40; i++) {
		bool middle = i & 1;
		GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, PACK_LZ4, true, middle);
		u64 random = i * 0x9e3779b97f4a7c15ull, delta, load_at;
		GError *error = NULL;
		struct guest g;

		guest_init(&g, 64 * MIB);
		g_assert_cmpint(load(f, &g, &random, &error), ==, 0);
		g_assert_no_error(error);
		g_assert_true(g.entry.virtual_kaslr);
		load_at = g.entry.start;
		g_assert_cmpuint(load_at % ALIGNMENT, ==, 0);
		g_assert_cmpuint(load_at, >=, LINKED);
		g_assert_cmpuint(load_at + INIT_SIZE, <=, 64 * MIB);
		memcpy(&delta, g.ram.ram + load_at + 0x100, 8);
		delta -= KERNEL_MAP + LINKED + 0x100;
		g_assert_cmpuint(delta % ALIGNMENT, ==, 0);
		g_assert_cmpuint(g.entry.delta, ==, delta);
		g_assert_cmpuint(LINKED + delta + INIT_SIZE, <=, GIB);
		check_placed(&g, load_at, delta, middle);
		guest_free(&g);
		g_byte_array_free(f, TRUE);
	}
}

/* Without its relocations a kernel moves physically only. */
static void test_kaslr_without_table(void)
{
	GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, PACK_LZ4, false, false);
	u64 random = 12345;
	struct guest g;

	guest_init(&g, 64 * MIB);
	g_assert_cmpint(load(f, &g, &random, NULL), ==, 0);
	g_assert_false(g.entry.virtual_kaslr);
	g_assert_cmpuint(g.entry.delta, ==, 0);
	g_assert_cmpuint(g.entry.start, >, LINKED);
	check_placed(&g, g.entry.start, 0, false);
	guest_free(&g);
	g_byte_array_free(f, TRUE);
}

static void test_too_little_memory(void)
{
	GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, PACK_LZ4, true, true);
	GError *error = NULL;
	struct guest g;

	guest_init(&g, 18 * MIB);
	g_assert_cmpint(load(f, &g, NULL, &error), ==, -ENOSPC);
	g_assert_nonnull(strstr(error->message, "needs 19 MiB"));
	g_clear_error(&error);
	guest_free(&g);
	g_byte_array_free(f, TRUE);
}

static void test_classic(void)
{
	GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, PACK_XZ, true, true);
	struct bzimage image;
	struct guest g;

	guest_init(&g, 64 * MIB);
	g_assert_cmpint(bzimage_parse(f->data, f->len, &image, NULL), ==, 0);
	g_assert_cmpint(bzimage_load_classic(&image, &g.ram, &g.entry, NULL), ==, 0);
	g_assert_cmphex(g.entry.rip, ==, MIB + 0x200);
	g_assert_cmpint(memcmp(g.ram.ram + MIB, f->data + 5 * 512, f->len - 5 * 512), ==, 0);
	guest_free(&g);
	g_byte_array_free(f, TRUE);
}

static void test_pvh(void)
{
	GByteArray *f = kernel_make_elf(TEXT_OFFSET, false, false);
	GError *error = NULL;
	struct guest g;

	guest_init(&g, 64 * MIB);
	memset(g.ram.ram + DATA_PADDR, 0xff, DATA_MEM);
	g_assert_cmpint(pvh_load(f->data, f->len, &g.ram, &g.entry, &error), ==, 0);
	g_assert_cmphex(g.entry.rip, ==, LINKED + 0x40);
	g.entry.rip = LINKED;
	check_placed(&g, LINKED, 0, false);
	f->data[TEXT_OFFSET + 0x808] = 17; /* another note */
	g_assert_cmpint(pvh_load(f->data, f->len, &g.ram, &g.entry, &error), ==, -ENOTSUP);
	g_assert_nonnull(strstr(error->message, "PVH"));
	g_clear_error(&error);
	guest_free(&g);
	g_byte_array_free(f, TRUE);
}

/* Hostile files: an error with a message, or success; never a crash, never a byte outside. The
 * guest's RAM lies between pages that fault. */

static void guarded_init(struct guest *g, u64 bytes)
{
	u8 *p = mmap(NULL, bytes + 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*g = (struct guest){ .ram = { .ram = p + PAGE_SIZE, .bytes = bytes, .ceiling = bytes } };
	g_assert_cmpint(mprotect(g->ram.ram, bytes, PROT_READ | PROT_WRITE), ==, 0);
}

static void try_any(const u8 *data, size_t bytes, struct guest *g)
{
	u8 *copy = g_memdup2(data, bytes); /* so that reads beyond the end are seen by ASan */
	u64 random = 99;
	GError *error = NULL;
	int err;

	if (bzimage_recognise(copy, bytes)) {
		GByteArray f = { copy, bytes };

		err = load(&f, g, &random, &error);
		g_assert_true((err != 0) == (error != NULL));
		g_clear_error(&error);
	} else if (elf_recognise(copy, bytes)) {
		err = pvh_load(copy, bytes, &g->ram, &g->entry, &error);
		g_assert_true((err != 0) == (error != NULL));
		g_clear_error(&error);
	}
	g_free(copy);
}

static void test_cut(void)
{
	for (unsigned packer = 0; packer < PACKERS; packer++) {
		GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, packer, true, true);
		struct guest g;

		guarded_init(&g, 32 * MIB);
		for (unsigned i = 0; i < 40; i++)
			try_any(f->data, f->len * i / 40, &g);
		for (unsigned i = 1; i < 8; i++)
			try_any(f->data, f->len - i, &g);
		munmap(g.ram.ram - PAGE_SIZE, g.ram.bytes + 2 * PAGE_SIZE);
		g_byte_array_free(f, TRUE);
	}
}

static void corrupt(GByteArray *f, unsigned rounds, unsigned from, unsigned to)
{
	GRand *rand = g_rand_new_with_seed(7);
	struct guest g;

	guarded_init(&g, 32 * MIB);
	for (unsigned i = 0; i < rounds; i++) {
		u8 saved[4];
		unsigned at[4];

		for (unsigned k = 0; k < 4; k++) {
			at[k] = g_rand_int_range(rand, from, to);
			saved[k] = f->data[at[k]];
			f->data[at[k]] = g_rand_int(rand);
		}
		try_any(f->data, f->len, &g);
		for (unsigned k = 4; k-- > 0;)
			f->data[at[k]] = saved[k];
	}
	munmap(g.ram.ram - PAGE_SIZE, g.ram.bytes + 2 * PAGE_SIZE);
	g_rand_free(rand);
}

static void test_corrupted_header(void)
{
	GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, PACK_LZ4, true, true);

	corrupt(f, 400, 0x1f1, 0x270);
	g_byte_array_free(f, TRUE);
}

static void test_corrupted_payload(void)
{
	for (unsigned packer = PACK_GZIP; packer < PACKERS; packer++) {
		GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, packer, true, true);

		corrupt(f, 30, 5 * 512 + 0x400, f->len);
		g_byte_array_free(f, TRUE);
	}
}

/* ELF headers and relocations inside an unpacked payload. */
static void test_corrupted_elf(void)
{
	GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, PACK_NONE, true, true);

	corrupt(f, 600, 5 * 512 + 0x400, 5 * 512 + 0x400 + 0x100);
	corrupt(f, 100, f->len - 24, f->len);
	g_byte_array_free(f, TRUE);
	f = kernel_make_elf(TEXT_OFFSET, false, false);
	corrupt(f, 600, 0, 0x100);
	corrupt(f, 100, TEXT_OFFSET + 0x800, TEXT_OFFSET + 0x820);
	g_byte_array_free(f, TRUE);
}

static void test_messages(void)
{
	GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, PACK_LZ4, true, true);
	GError *error = NULL;
	struct guest g;

	guest_init(&g, 64 * MIB);
	kernel_put(f, 0x206, 0x0204, 2);
	g_assert_cmpint(load(f, &g, NULL, &error), ==, -ENOTSUP);
	g_assert_nonnull(strstr(error->message, "2.4"));
	g_clear_error(&error);
	kernel_put(f, 0x206, 0x020f, 2);
	memcpy(f->data + 5 * 512 + 0x400, "\x89LZO", 4);
	g_assert_cmpint(load(f, &g, NULL, &error), ==, -ENOTSUP);
	g_assert_nonnull(strstr(error->message, "--unpack guest"));
	g_clear_error(&error);
	f->len -= 100;
	g_assert_cmpint(load(f, &g, NULL, &error), ==, -EINVAL);
	g_assert_nonnull(strstr(error->message, "cut"));
	g_clear_error(&error);
	f->len += 100;
	guest_free(&g);
	g_byte_array_free(f, TRUE);
}

/* The whole way, into a machine: boot_params, ACPI, registers. */

static int file_of(const void *data, size_t bytes)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	g_assert_cmpint(write(fd, data, bytes), ==, bytes);
	return fd;
}

static u8 sum(struct vm *vm, gpa_t at, unsigned bytes)
{
	u8 *p = vm_mem_ptr(vm, at, bytes), total = 0;

	g_assert_nonnull(p);
	while (bytes--)
		total += *p++;
	return total;
}

static u64 read_le(struct vm *vm, gpa_t at, unsigned bytes)
{
	u64 value = 0;

	g_assert_cmpint(vm_mem_read(vm, at, &value, bytes), ==, 0);
	return value;
}

static void check_acpi(struct vm *vm)
{
	static const char *const wanted[] = { "FACP", "APIC", "MCFG", "HPET", "SSDT" };
	u64 xsdt, n;

	g_assert_cmpint(sum(vm, 0xf0000, 20), ==, 0);
	g_assert_cmpint(sum(vm, 0xf0000, 36), ==, 0);
	xsdt = read_le(vm, 0xf0018, 8);
	n = (read_le(vm, xsdt + 4, 4) - 36) / 8;
	g_assert_cmpint(sum(vm, xsdt, 36 + 8 * n), ==, 0);
	g_assert_cmpuint(n, ==, ARRAY_LEN(wanted));
	for (unsigned i = 0; i < n; i++) {
		u64 table = read_le(vm, xsdt + 36 + 8 * i, 8);

		g_assert_cmpint(memcmp(vm_mem_ptr(vm, table, 4), wanted[i], 4), ==, 0);
		g_assert_cmpint(sum(vm, table, read_le(vm, table + 4, 4)), ==, 0);
	}
}

static void boot_and_check(struct vm *vm, struct boot *boot)
{
	struct x86_state state;
	GError *error = NULL;
	char cmdline[64];

	vm->boot = boot_direct;
	vm->boot_opaque = boot;
	vm_reset(vm, &error);
	g_assert_no_error(error);
	vcpu_get_state(vm->vcpus[0], &state, 0);
	g_assert_cmphex(state.efer, ==, EFER_LME | EFER_LMA);
	g_assert_cmphex(state.seg[SEG_CS].selector, ==, 0x10);
	g_assert_cmphex(read_le(vm, state.gpr[RSI] + 0x202, 4), ==, 0x53726448);
	g_assert_cmphex(read_le(vm, state.gpr[RSI] + 0x70, 8), ==, 0xf0000);
	g_assert_cmpuint(read_le(vm, state.gpr[RSI] + 0x1e8, 1), ==, 6);
	vm_mem_read(vm, read_le(vm, state.gpr[RSI] + 0x228, 4), cmdline, sizeof(cmdline));
	g_assert_cmpstr(cmdline, ==, boot->cmdline);
	g_assert_cmpuint(read_le(vm, state.gpr[RSI] + 0x21c, 4), ==, 1000);
	g_assert_cmphex(read_le(vm, read_le(vm, state.gpr[RSI] + 0x218, 4) + 999, 1), ==, 0x5a);
	/* the first bytes of the text, wherever it went */
	g_assert_cmphex(read_le(vm, state.rip + 0x300, 2), ==, 0x0700);
	/* identity page tables */
	g_assert_cmphex(read_le(vm, state.cr3, 8) & 1, ==, 1);
	check_acpi(vm);
}

static void test_direct(void)
{
	GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, PACK_ZSTD, true, true);
	struct vm *vm = test_vm_new(3, 64 * MIB);
	struct boot boot = { .cmdline = (char *)"console=ttyS0 quiet", .kaslr = true };
	u8 initrd[1000];

	memset(initrd, 0x5a, sizeof(initrd));
	boot.kernel_fd = file_of(f->data, f->len);
	boot.initrd_fd = file_of(initrd, sizeof(initrd));
	boot_and_check(vm, &boot);
	boot_and_check(vm, &boot); /* and again, over what is there */
	close(boot.kernel_fd);
	close(boot.initrd_fd);
	vm_free(vm);
	g_byte_array_free(f, TRUE);
}

static void expect_boot_error(struct vm *vm, struct boot *boot, const char *text)
{
	GError *error = NULL;

	g_assert_cmpint(boot_direct(vm, boot, &error), <, 0);
	g_assert_nonnull(error);
	if (!strstr(error->message, text))
		g_error("'%s' lacks '%s'", error->message, text);
	g_clear_error(&error);
}

static void test_direct_refused(void)
{
	GByteArray *f = kernel_make_bzimage(TEXT_OFFSET, PACK_ZSTD, true, true);
	struct vm *vm = test_vm_new(1, 32 * MIB);
	int null = memfd_create("empty", 0), kernel = file_of(f->data, f->len);
	int big = memfd_create("big", 0), pipes[2];
	char *words = g_strnfill(2048, 'x');

	g_assert_cmpint(pipe(pipes), ==, 0);
	g_assert_cmpint(ftruncate(big, 40 * MIB), ==, 0);
	expect_boot_error(vm, &(struct boot){ null, -1, NULL, false, true, false },
			  "regular file of");
	expect_boot_error(vm, &(struct boot){ pipes[0], -1, NULL, false, true, false },
			  "regular file");
	expect_boot_error(vm, &(struct boot){ -1, -1, NULL, false, true, false },
			  "cannot read the kernel");
	expect_boot_error(vm, &(struct boot){ big, -1, NULL, false, true, false }, "neither");
	expect_boot_error(
		vm, &(struct boot){ .kernel_fd = big, .initrd_fd = -1, .kernel_name = "/big" },
		"/big is neither");
	expect_boot_error(vm, &(struct boot){ kernel, -1, words, false, true, false },
			  "2048 bytes");
	expect_boot_error(vm, &(struct boot){ kernel, big, NULL, false, true, false },
			  "initrd of 40 MiB");
	expect_boot_error(vm, &(struct boot){ kernel, pipes[0], NULL, false, true, false },
			  "initrd");
	vm_free(vm);
	vm = test_vm_new(1, 8 * MIB);
	expect_boot_error(vm, &(struct boot){ kernel, -1, NULL, false, true, false }, "16 MiB");
	vm_free(vm);
	close(null);
	close(kernel);
	close(big);
	close(pipes[0]);
	close(pipes[1]);
	g_free(words);
	g_byte_array_free(f, TRUE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/boot/packers", test_packers);
	g_test_add_func("/boot/kaslr", test_kaslr);
	g_test_add_func("/boot/kaslr-without-table", test_kaslr_without_table);
	g_test_add_func("/boot/too-little-memory", test_too_little_memory);
	g_test_add_func("/boot/classic", test_classic);
	g_test_add_func("/boot/pvh", test_pvh);
	g_test_add_func("/boot/cut", test_cut);
	g_test_add_func("/boot/corrupted-header", test_corrupted_header);
	g_test_add_func("/boot/corrupted-payload", test_corrupted_payload);
	g_test_add_func("/boot/corrupted-elf", test_corrupted_elf);
	g_test_add_func("/boot/messages", test_messages);
	g_test_add_func("/boot/direct", test_direct);
	g_test_add_func("/boot/direct-refused", test_direct_refused);
	return g_test_run();
}
