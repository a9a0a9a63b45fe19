/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fw_cfg: numbered items and named files that the machine's owner gives to firmware and kernel, as
 * QEMU's specification of the device (docs/specs/fw_cfg) has them.
 *
 *   port 0x510  which item (16 bits); reading begins at its first byte
 *   port 0x511  its bytes, one after the other; zeros behind the last
 *   port 0x514  address of a struct dma_access, big-endian: the item is copied to guest memory
 *
 * Nothing can be written into an item. Direct memory access reaches RAM only, and a request that
 * does not says so in its struct; one whose struct is no RAM has no place to say it.
 */
#include "device/chipset/fw_cfg.h"

#include "machine/memory.h"
#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>
#include <string.h>

#define PORT         0x510
#define PORT_DMA     0x514
#define DMA_IDENTITY 0x51454d5520434647ull /* "QEMU CFG" */

enum key {
	KEY_SIGNATURE = 0x00,
	KEY_ID = 0x01,
	KEY_UUID = 0x02,
	KEY_RAM_SIZE = 0x03,
	KEY_NOGRAPHIC = 0x04,
	KEY_CPUS = 0x05,
	KEY_MAX_CPUS = 0x0f,
	KEY_DIRECTORY = 0x19,
	KEY_FIRST_FILE = 0x20,
};

#define ID_TRADITIONAL BIT(0)
#define ID_DMA         BIT(1)

#define DMA_ERROR  BIT(0)
#define DMA_READ   BIT(1)
#define DMA_SKIP   BIT(2)
#define DMA_SELECT BIT(3)
#define DMA_WRITE  BIT(4)

struct dma_access { /* in guest memory, big-endian */
	u32 control, bytes;
	u64 address;
};

struct __attribute__((packed)) directory_entry { /* big-endian */
	u32 bytes;
	u16 key, reserved;
	char name[FW_CFG_NAME_MAX + 1];
};

struct file {
	char name[FW_CFG_NAME_MAX + 1];
	GBytes *content;
};

struct fw_cfg {
	struct device dev;
	struct region ports, dma;
	pthread_mutex_t lock;
	struct file files[FW_CFG_FILES_MAX];
	unsigned file_count;
	u16 key;
	u32 offset; /* of the next byte of the item */
	u32 dma_high;
};

static struct fw_cfg *fw_cfg_of(struct device *dev)
{
	return container_of(dev, struct fw_cfg, dev);
}

/* --- items --- */

/* Small items are made when they are looked at. */
#define ITEM_MAX (4 + FW_CFG_FILES_MAX * sizeof(struct directory_entry))

static size_t make_directory(const struct fw_cfg *f, u8 *out)
{
	u32 count = GUINT32_TO_BE(f->file_count);

	memcpy(out, &count, 4);
	for (unsigned i = 0; i < f->file_count; i++) {
		struct directory_entry e = {
			.bytes = GUINT32_TO_BE(g_bytes_get_size(f->files[i].content)),
			.key = GUINT16_TO_BE(KEY_FIRST_FILE + i),
		};

		memcpy(e.name, f->files[i].name, sizeof(e.name));
		memcpy(out + 4 + i * sizeof(e), &e, sizeof(e));
	}
	return 4 + f->file_count * sizeof(struct directory_entry);
}

static size_t put(u8 *out, u64 value, size_t bytes)
{
	memcpy(out, &value, bytes);
	return bytes;
}

static size_t make_item(const struct fw_cfg *f, u16 key, u8 *out)
{
	const struct vm *vm = f->dev.vm;

	switch (key) {
	case KEY_SIGNATURE: memcpy(out, "QEMU", 4); return 4;
	case KEY_ID: return put(out, ID_TRADITIONAL | ID_DMA, 4);
	case KEY_UUID: memcpy(out, vm->uuid, sizeof(vm->uuid)); return sizeof(vm->uuid);
	case KEY_RAM_SIZE: return put(out, vm->memory.bytes, 8);
	case KEY_NOGRAPHIC: return put(out, 1, 2);
	case KEY_CPUS: return put(out, vm->vcpu_count, 2);
	case KEY_MAX_CPUS: return put(out, vm->vcpu_count, 2);
	case KEY_DIRECTORY: return make_directory(f, out);
	default: return 0;
	}
}

/* The item that is selected: its bytes and how many; @buffer is of ITEM_MAX. */
static const u8 *item(const struct fw_cfg *f, u8 *buffer, size_t *bytes)
{
	unsigned file = f->key - KEY_FIRST_FILE;

	if (f->key >= KEY_FIRST_FILE && file < f->file_count)
		return g_bytes_get_data(f->files[file].content, bytes);
	*bytes = make_item(f, f->key, buffer);
	return buffer;
}

static void select_locked(struct fw_cfg *f, u16 key)
{
	f->key = key & ~0x4000u; /* the bit that once allowed writing */
	f->offset = 0;
}

static void advance_locked(struct fw_cfg *f, u32 bytes)
{
	f->offset += MIN(bytes, UINT32_MAX - f->offset);
}

static u8 next_byte_locked(struct fw_cfg *f)
{
	u8 buffer[ITEM_MAX], byte;
	size_t bytes;
	const u8 *data = item(f, buffer, &bytes);

	byte = f->offset < bytes ? data[f->offset] : 0;
	advance_locked(f, 1);
	return byte;
}

/* --- direct memory access --- */

/* The item's bytes, then zeros. */
static bool copy_out_locked(struct fw_cfg *f, gpa_t to, u32 count)
{
	u8 buffer[ITEM_MAX];
	size_t bytes, n;
	const u8 *data = item(f, buffer, &bytes);

	if (count && !vm_mem_ptr(f->dev.vm, to, count))
		return false;
	n = f->offset < bytes ? MIN(bytes - f->offset, count) : 0;
	if (vm_mem_write(f->dev.vm, to, data + MIN(f->offset, bytes), n))
		return false;
	return !vm_mem_zero(f->dev.vm, to + n, count - n);
}

static void dma_locked(struct fw_cfg *f, gpa_t at)
{
	struct vm *vm = f->dev.vm;
	struct dma_access d;
	u32 control, count, result = 0;

	if (vm_mem_read(vm, at, &d, sizeof(d)))
		return;
	control = GUINT32_FROM_BE(d.control);
	count = GUINT32_FROM_BE(d.bytes);
	if (control & DMA_SELECT)
		select_locked(f, control >> 16);
	if (control & DMA_READ) {
		if (!copy_out_locked(f, GUINT64_FROM_BE(d.address), count))
			result = DMA_ERROR;
	} else if (control & DMA_WRITE) {
		result = DMA_ERROR;
	}
	if (control & (DMA_READ | DMA_SKIP))
		advance_locked(f, count);
	result = GUINT32_TO_BE(result);
	vm_mem_write(vm, at, &result, sizeof(result));
}

/* --- ports --- */

static void fw_cfg_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct fw_cfg *f = fw_cfg_of(dev);

	pthread_mutex_lock(&f->lock);
	if (write && offset == 0 && size == 2)
		select_locked(f, *value);
	else if (!write && offset == 1 && size == 1)
		*value = next_byte_locked(f);
	else if (!write)
		*value = 0;
	pthread_mutex_unlock(&f->lock);
}

/* Two big-endian halves of an address; the lower one starts. */
static void dma_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct fw_cfg *f = fw_cfg_of(dev);
	u32 half = GUINT32_FROM_BE((u32)*value);

	pthread_mutex_lock(&f->lock);
	if (!write) {
		*value = size == 4 ? GUINT32_TO_BE((u32)(DMA_IDENTITY >> (offset ? 0 : 32))) : 0;
	} else if (size == 4 && offset == 0) {
		f->dma_high = half;
	} else if (size == 4 && offset == 4) {
		dma_locked(f, (u64)f->dma_high << 32 | half);
		f->dma_high = 0;
	}
	pthread_mutex_unlock(&f->lock);
}

/* --- files --- */

int fw_cfg_add_file(struct vm *vm, const char *name, GBytes *content, GError **error)
{
	struct device *dev = vm_find_device(vm, "fwcfg");
	struct fw_cfg *f = dev ? fw_cfg_of(dev) : NULL;
	const char *why = f ? NULL : "the machine has no fw_cfg";

	for (unsigned i = 0; f && i < f->file_count; i++)
		if (!strcmp(f->files[i].name, name))
			why = "one of that name is there already";
	if (f && f->file_count == FW_CFG_FILES_MAX)
		why = "there are too many";
	if (why) {
		g_set_error(error, VM_ERROR, EEXIST, "cannot add the file '%s': %s", name, why);
		g_bytes_unref(content);
		return -EEXIST;
	}
	g_strlcpy(f->files[f->file_count].name, name, sizeof(f->files[0].name));
	f->files[f->file_count++].content = content;
	return 0;
}

/* --- life --- */

static void fw_cfg_reset(struct device *dev)
{
	struct fw_cfg *f = fw_cfg_of(dev);

	pthread_mutex_lock(&f->lock);
	select_locked(f, KEY_SIGNATURE);
	f->dma_high = 0;
	pthread_mutex_unlock(&f->lock);
}

/* The map of the guest's RAM, for firmware: entries of address, length and type. */
static int add_e820(struct fw_cfg *f, GError **error)
{
	const struct guest_memory *mem = &f->dev.vm->memory;
	GByteArray *map = g_byte_array_new();
	const struct {
		u64 base, bytes;
	} ranges[] = { { 0, mem->low_bytes }, { MEM_HIGH_BASE, mem->high_bytes } };
	const u32 ram = 1;

	for (unsigned i = 0; i < ARRAY_LEN(ranges) && ranges[i].bytes; i++) {
		g_byte_array_append(map, (const u8 *)&ranges[i], sizeof(ranges[i]));
		g_byte_array_append(map, (const u8 *)&ram, sizeof(ram));
	}
	return fw_cfg_add_file(f->dev.vm, "etc/e820", g_byte_array_free_to_bytes(map), error);
}

static int fw_cfg_realize(struct device *dev, GError **error)
{
	struct fw_cfg *f = fw_cfg_of(dev);
	int err;

	pthread_mutex_init(&f->lock, NULL);
	err = device_add_ports(dev, &f->ports, PORT, 2, fw_cfg_access, error);
	f->ports.width_max = 2;
	if (!err)
		err = device_add_ports(dev, &f->dma, PORT_DMA, 8, dma_access, error);
	f->dma.width_max = 4;
	return err ? err : add_e820(f, error);
}

static void fw_cfg_destroy(struct device *dev)
{
	struct fw_cfg *f = fw_cfg_of(dev);

	for (unsigned i = 0; i < f->file_count; i++)
		g_bytes_unref(f->files[i].content);
	pthread_mutex_destroy(&f->lock);
}

static const struct state_field fw_cfg_state[] = {
	STATE(struct fw_cfg, key),
	STATE(struct fw_cfg, offset),
	STATE(struct fw_cfg, dma_high),
	STATE_END,
};

const struct device_type device_fw_cfg = {
	.name = "fw-cfg",
	.help = "what the owner tells firmware and kernel",
	.bytes = sizeof(struct fw_cfg),
	.flags = DEVICE_BOARD,
	.state = fw_cfg_state,
	.realize = fw_cfg_realize,
	.reset = fw_cfg_reset,
	.destroy = fw_cfg_destroy,
};
