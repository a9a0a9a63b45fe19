/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Headers of disk images: whatever they say, what is told of them is within its bounds and text,
 * and nothing is read beyond the file.
 */
#include "fuzz.h"
#include "img/probe.h"

#include <string.h>

const size_t fuzz_bytes_max = 300 * KIB; /* VHDX has a table at 192 KiB */
const bool fuzz_text = false;

struct part {
	u32 offset;
	const char *bytes;
	u32 length;
};

#define PART(offset, bytes)                      \
	{                                        \
		offset, bytes, sizeof(bytes) - 1 \
	}

/* One good beginning of each format. */
static const struct {
	u32 length;
	struct part parts[6];
} seeds[] = {
	{ 512, { PART(0, "QFI\xfb\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\xa0\0\0") } },
	{ 1024,
	  { PART(0, "QFI\xfb\0\0\0\3\0\0\0\0\0\0\1\0\0\0\0\4\0\0\0\x10\0\0\0\0\0\xa0\0\0"),
	    PART(96, "\0\0\0\4\0\0\0\x68"),
	    PART(104, "\xe2\x79\x2a\xca\0\0\0\3raw\0\0\0\0\0\x44\x41\x54\x41\0\0\0\1d"),
	    PART(256, "back") } },
	{ 512, { PART(0, "QFI\xfb\0\0\0\1"), PART(24, "\0\0\0\0\0\xa0\0\0\x0c\x09") } },
	{ 512,
	  { PART(0, "QED\0\0\0\1\0\4\0\0\0\1\0\0\0\5\0\0\0\0\0\0\0"),
	    PART(48, "\0\0\xa0\0\0\0\0\0\x40\0\0\0\4\0\0\0back") } },
	{ 2048,
	  { PART(0, "KDMV\1\0\0\0\0\0\0\0\0\x50\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0"
		    "\0\0\0\0\0"),
	    PART(512,
		 "# Disk DescriptorFile\nparentFileNameHint=\"base\"\nRW 20480 SPARSE \"a\"\n") } },
	{ 600, { PART(0, "# Disk DescriptorFile\nversion=1\nRW 20480 FLAT \"a-flat.vmdk\" 0\n") } },
	{ 512,
	  { PART(0x40, "\x7f\x10\xda\xbe\1\0\1\0"), PART(0x4c, "\1\0\0\0"),
	    PART(0x170, "\0\0\xa0\0\0\0\0\0\0\0\x10\0") } },
	{ 1536,
	  { PART(0, "conectix\0\0\0\2\0\1\0\0\0\0\0\0\0\0\2\0"),
	    PART(40, "\0\0\0\0\0\xa0\0\0\0\0\0\0\0\xa0\0\0"), PART(60, "\0\0\0\3\xff\xff\xf8\x40"),
	    PART(512, "cxsparse"), PART(544, "\0\x20\0\0") } },
	{ 270336,
	  { PART(0, "vhdxfile"),
	    PART(196608, "regi\0\0\0\0\1\0\0\0\0\0\0\0\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57"
			 "\x5f\x05\x0f\x88\x6e\0\0\4\0\0\0\0\0"),
	    PART(262144, "metadata\0\0\2\0"),
	    PART(262176, "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8\0\x10\0"
			 "\0\x08\0\0\0"),
	    PART(262208, "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b\x08\x10"
			 "\0\0\x08\0\0\0"),
	    PART(266240, "\0\0\xa0\0\0\0\0\0\0\0\x20\0") } },
	{ 4096, { PART(0, "LUKS\xba\xbe\0\1"), PART(104, "\0\0\0\2") } },
	{ 16384,
	  { PART(0, "LUKS\xba\xbe\0\2\0\0\0\0\0\0\x20\0"),
	    PART(4096, "{\"segments\":{\"0\":{\"offset\":\"8192\",\"size\":\"dynamic\"}}}") } },
	{ 36864, { PART(32768, "\1CD001\1"), PART(32808, "A LABEL                         ") } },
};

bool fuzz_seed(unsigned index, GByteArray *seed)
{
	if (index >= ARRAY_LEN(seeds))
		return false;
	g_byte_array_set_size(seed, seeds[index].length);
	memset(seed->data, 0, seed->len);
	for (unsigned i = 0; i < ARRAY_LEN(seeds[index].parts); i++) {
		const struct part *part = &seeds[index].parts[i];

		if (part->bytes)
			memcpy(seed->data + part->offset, part->bytes, part->length);
	}
	return true;
}

struct memory {
	const uint8_t *data;
	size_t bytes;
};

static bool read_memory(void *opaque, u64 offset, void *data, size_t bytes)
{
	const struct memory *memory = opaque;

	FUZZ_CHECK(offset <= memory->bytes && bytes <= memory->bytes - offset);
	memcpy(data, memory->data + offset, bytes);
	return true;
}

static void check_text(const char *text, size_t most)
{
	FUZZ_CHECK(!text || (g_utf8_validate(text, -1, NULL) && strlen(text) <= most));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memory memory = { data, size };
	const struct image_source source = { size, read_memory, &memory };
	struct image_info info;
	GError *error = NULL;
	bool good = probe_image(&source, &info, &error);

	FUZZ_CHECK(good == !error);
	if (error)
		check_text(error->message, 4096);
	g_clear_error(&error);
	FUZZ_CHECK(info.format && info.file_bytes == size);
	FUZZ_CHECK(info.disk_bytes <= G_MAXINT64);
	check_text(info.backing, 3 * IMAGE_NAME_MAX); /* U+FFFD has three bytes */
	check_text(info.backing_format, 3 * IMAGE_NAME_MAX);
	check_text(info.data_file, 3 * IMAGE_NAME_MAX);
	check_text(info.label, 3 * 32);
	image_info_clear(&info);
	return 0;
}
