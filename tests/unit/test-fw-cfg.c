/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fw_cfg as firmware and kernels use it: items and files by bytes and by direct memory access, and
 * requests that reach for what is no RAM.
 */
#include "device/chipset/fw_cfg.h"
#include "testvm.h"

#include <string.h>

#define REQUEST 0x2000
#define TARGET  0x3000

#define DMA_ERROR  BIT(0)
#define DMA_READ   BIT(1)
#define DMA_SKIP   BIT(2)
#define DMA_SELECT BIT(3)
#define DMA_WRITE  BIT(4)

static struct vm *machine(void)
{
	struct vm *vm = test_vm_new(2, 4 * MIB);
	struct device *dev = test_device_new(vm, "fw-cfg-file", "file");

	device_set_string(dev, "name", "opt/a", NULL);
	device_set_string(dev, "data", "aGVsbG8=", NULL); /* hello */
	test_device_realize(dev);
	return vm;
}

static void select_item(struct vm *vm, u16 key)
{
	pio_write(vm, 0x510, 2, key);
}

static void read_bytes(struct vm *vm, void *out, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		((u8 *)out)[i] = pio_read(vm, 0x511, 1);
}

static u32 read_be32(struct vm *vm)
{
	u32 value;

	read_bytes(vm, &value, 4);
	return GUINT32_FROM_BE(value);
}

static void test_items(void)
{
	struct vm *vm = machine();
	char text[8] = "";
	u64 bytes;
	u32 id;
	u16 cpus;

	read_bytes(vm, text, 4); /* selected at reset */
	g_assert_cmpstr(text, ==, "QEMU");
	read_bytes(vm, text, 4); /* nothing behind it */
	g_assert_cmpmem(text, 4, "\0\0\0\0", 4);
	select_item(vm, 1);
	read_bytes(vm, &id, 4);
	g_assert_cmphex(id, ==, 3);
	select_item(vm, 3);
	read_bytes(vm, &bytes, 8);
	g_assert_cmphex(bytes, ==, 4 * MIB);
	select_item(vm, 5);
	read_bytes(vm, &cpus, 2);
	g_assert_cmpuint(cpus, ==, 2);
	select_item(vm, 0xffff);
	g_assert_cmphex(pio_read(vm, 0x511, 1), ==, 0);
	g_assert_cmphex(pio_read(vm, 0x510, 2), ==, 0);
	pio_write(vm, 0x511, 1, 'x'); /* nothing is written */
	g_assert_cmpint(vm_reset(vm, NULL), ==, 0);
	read_bytes(vm, text, 4);
	g_assert_cmpmem(text, 4, "QEMU", 4);
	vm_free(vm);
}

static void test_directory(void)
{
	struct vm *vm = machine();
	char name[56], text[8] = "";
	u16 key[2];

	select_item(vm, 0x19);
	g_assert_cmpuint(read_be32(vm), ==, 2);
	g_assert_cmpuint(read_be32(vm), ==, 20); /* one entry: the machine has no high memory */
	read_bytes(vm, key, 4);
	g_assert_cmphex(GUINT16_FROM_BE(key[0]), ==, 0x20);
	read_bytes(vm, name, sizeof(name));
	g_assert_cmpstr(name, ==, "etc/e820");
	g_assert_cmpuint(read_be32(vm), ==, 5);
	read_bytes(vm, key, 4);
	g_assert_cmphex(GUINT16_FROM_BE(key[0]), ==, 0x21);
	read_bytes(vm, name, sizeof(name));
	g_assert_cmpstr(name, ==, "opt/a");
	select_item(vm, 0x21);
	read_bytes(vm, text, 6);
	g_assert_cmpstr(text, ==, "hello");
	vm_free(vm);
}

/* One request; what its control says afterwards. */
static u32 dma(struct vm *vm, gpa_t at, u32 control, u32 bytes, u64 address)
{
	struct {
		u32 control, bytes;
		u64 address;
	} request = { GUINT32_TO_BE(control), GUINT32_TO_BE(bytes), GUINT64_TO_BE(address) };

	vm_mem_write(vm, at, &request, sizeof(request));
	pio_write(vm, 0x514, 4, GUINT32_TO_BE((u32)(at >> 32)));
	pio_write(vm, 0x518, 4, GUINT32_TO_BE((u32)at));
	vm_mem_read(vm, at, &request, sizeof(request));
	return GUINT32_FROM_BE(request.control);
}

static void test_dma(void)
{
	struct vm *vm = machine();
	u64 written;
	char text[16];

	g_assert_cmphex(pio_read(vm, 0x514, 4), ==, GUINT32_TO_BE(0x51454d55));
	g_assert_cmphex(pio_read(vm, 0x518, 4), ==, GUINT32_TO_BE(0x20434647));
	memset(vm_mem_ptr(vm, TARGET, 64), 0xee, 64);
	written = fake_written(vm);
	g_assert_cmphex(dma(vm, REQUEST, 0x21 << 16 | DMA_SELECT | DMA_READ, 8, TARGET), ==, 0);
	g_assert_cmpuint(fake_written(vm), >=, written + 8); /* translated code hears of it */
	vm_mem_read(vm, TARGET, text, 9);
	g_assert_cmpmem(text, 9, "hello\0\0\0\xee", 9);
	/* skipping, then going on; bytes and requests share the place */
	g_assert_cmphex(dma(vm, REQUEST, 0x21 << 16 | DMA_SELECT | DMA_SKIP, 1, 0), ==, 0);
	g_assert_cmphex(dma(vm, REQUEST, DMA_READ, 2, TARGET), ==, 0);
	g_assert_cmpmem(vm_mem_ptr(vm, TARGET, 2), 2, "el", 2);
	g_assert_cmphex(pio_read(vm, 0x511, 1), ==, 'l');
	/* nothing can be written */
	g_assert_cmphex(dma(vm, REQUEST, DMA_WRITE, 2, TARGET), ==, DMA_ERROR);
	/* beyond RAM: nothing is touched */
	vm_mem_zero(vm, 4 * MIB - 4, 4);
	g_assert_cmphex(dma(vm, REQUEST, 0x21 << 16 | DMA_SELECT | DMA_READ, 8, 4 * MIB - 4), ==,
			DMA_ERROR);
	g_assert_cmpmem(vm_mem_ptr(vm, 4 * MIB - 4, 4), 4, "\0\0\0\0", 4);
	g_assert_cmphex(dma(vm, REQUEST, DMA_READ, 0xffffffff, TARGET), ==, DMA_ERROR);
	g_assert_cmphex(dma(vm, REQUEST, DMA_READ, 16, UINT64_MAX - 7), ==, DMA_ERROR);
	g_assert_cmphex(dma(vm, REQUEST, DMA_READ, 0, UINT64_MAX), ==, 0);
	g_assert_cmphex(dma(vm, REQUEST, DMA_SKIP, 0xffffffff, 0), ==, 0);
	g_assert_cmphex(dma(vm, REQUEST, DMA_SKIP, 0xffffffff, 0), ==, 0);
	g_assert_cmphex(pio_read(vm, 0x511, 1), ==, 0);
	/* the request itself is no RAM */
	pio_write(vm, 0x514, 4, 0xffffffff);
	pio_write(vm, 0x518, 4, 0xffffffff);
	pio_write(vm, 0x514, 1, 0);
	pio_write(vm, 0x518, 2, 0);
	vm_free(vm);
}

static void test_refused(void)
{
	static const struct {
		const char *name, *data, *text;
	} cases[] = { { "opt/a", "QUJD", "one of that name is there already" },
		      { "opt/b", "not base64!", "not base64" },
		      { "", "QUJD", "its name is empty" } };
	struct vm *vm = machine();
	GError *error = NULL;

	for (unsigned i = 0; i < ARRAY_LEN(cases) + FW_CFG_FILES_MAX; i++) {
		char id[16], name[16];
		struct device *dev;

		g_snprintf(id, sizeof(id), "file%u", i);
		g_snprintf(name, sizeof(name), "opt/%u", i);
		dev = test_device_new(vm, "fw-cfg-file", id);
		device_set_string(dev, "name", i < ARRAY_LEN(cases) ? cases[i].name : name, NULL);
		device_set_string(dev, "data", i < ARRAY_LEN(cases) ? cases[i].data : "", NULL);
		if (!device_realize(dev, &error))
			continue;
		g_assert_nonnull(strstr(error->message, i < ARRAY_LEN(cases)
								? cases[i].text
								: "there are too many"));
		g_clear_error(&error);
	}
	vm_free(vm);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/fw-cfg/items", test_items);
	g_test_add_func("/fw-cfg/directory", test_directory);
	g_test_add_func("/fw-cfg/dma", test_dma);
	g_test_add_func("/fw-cfg/refused", test_refused);
	return g_test_run();
}
