/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See kernels.h. */
#include "kernels.h"

#include <bzlib.h>
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

GByteArray *kernel_make_elf(u64 text_offset, bool relocations, bool middle_list)
{
	const u64 data_offset = text_offset + DATA_OFFSET;
	GByteArray *f = g_byte_array_new();
	Elf64_Ehdr h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			 .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_version = 1,
			 .e_entry = LINKED,
			 .e_phoff = sizeof(h),
			 .e_ehsize = sizeof(h),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 3 };
	struct {
		u32 namesz, descsz, type;
		char name[4];
		u64 entry;
	} note = { 4, 8, 18, "Xen", LINKED + 0x40 };
	Elf64_Phdr p[3] = {
		{ .p_type = PT_LOAD,
		  .p_offset = text_offset,
		  .p_paddr = LINKED,
		  .p_filesz = TEXT_BYTES,
		  .p_memsz = TEXT_BYTES },
		{ .p_type = PT_LOAD,
		  .p_offset = data_offset,
		  .p_paddr = DATA_PADDR,
		  .p_filesz = DATA_BYTES,
		  .p_memsz = DATA_MEM },
		{ .p_type = PT_NOTE,
		  .p_offset = text_offset + 0x800,
		  .p_filesz = sizeof(note),
		  .p_memsz = sizeof(note) },
	};
	u64 wide = KERNEL_MAP + LINKED + 0x100;
	u32 narrow = (u32)(KERNEL_MAP + DATA_PADDR + 0x10), down = 0x1000;

	g_byte_array_set_size(f, data_offset + DATA_BYTES);
	memset(f->data, 0, f->len);
	for (unsigned i = 0; i < TEXT_BYTES; i++)
		f->data[text_offset + i] = i * 7;
	for (unsigned i = 0; i < DATA_BYTES; i++)
		f->data[data_offset + i] = i * 13 + 1;
	memcpy(f->data, &h, sizeof(h));
	memcpy(f->data + sizeof(h), p, sizeof(p));
	memcpy(f->data + text_offset + 0x800, &note, sizeof(note));
	memcpy(f->data + text_offset + 0x100, &wide, 8);
	memcpy(f->data + data_offset + 0x10, &narrow, 4);
	memcpy(f->data + text_offset + 0x200, &down, 4);
	if (relocations) {
		const u32 table[] = {
			0, (u32)wide, 0, (u32)(KERNEL_MAP + LINKED + 0x200), 0, narrow
		};
		const u32 newer[] = { 0, (u32)wide, 0, narrow };

		if (middle_list)
			g_byte_array_append(f, (const u8 *)table, sizeof(table));
		else
			g_byte_array_append(f, (const u8 *)newer, sizeof(newer));
	}
	return f;
}

static size_t pack_gzip(const GByteArray *in, u8 *out, size_t room)
{
	z_stream z = {
		.next_in = in->data, .avail_in = in->len, .next_out = out, .avail_out = room
	};

	g_assert_cmpint(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, 0), ==, Z_OK);
	g_assert_cmpint(deflate(&z, Z_FINISH), ==, Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static size_t pack_lzma(const GByteArray *in, u8 *out, size_t room, bool xz)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_options_lzma options;
	lzma_filter filters[] = { { LZMA_FILTER_X86, NULL },
				  { LZMA_FILTER_LZMA2, &options },
				  { LZMA_VLI_UNKNOWN, NULL } };

	lzma_lzma_preset(&options, 0);
	if (xz) /* as the kernel's build does it: x86 filter, CRC32 */
		g_assert_cmpint(lzma_stream_encoder(&s, filters, LZMA_CHECK_CRC32), ==, LZMA_OK);
	else
		g_assert_cmpint(lzma_alone_encoder(&s, &options), ==, LZMA_OK);
	s.next_in = in->data;
	s.avail_in = in->len;
	s.next_out = out;
	s.avail_out = room;
	g_assert_cmpint(lzma_code(&s, LZMA_FINISH), ==, LZMA_STREAM_END);
	room = s.total_out;
	lzma_end(&s);
	return room;
}

static size_t pack_lz4(const GByteArray *in, u8 *out, size_t room)
{
	const u32 magic = 0x184c2102;
	int n = LZ4_compress_default((const char *)in->data, (char *)out + 8, in->len, room - 8);

	memcpy(out, &magic, 4);
	memcpy(out + 4, &n, 4);
	return n + 8;
}

static GByteArray *pack(const GByteArray *in, enum packer packer)
{
	GByteArray *out = g_byte_array_new();
	unsigned room = in->len + 65536, n = room;

	g_byte_array_set_size(out, room);
	switch (packer) {
	case PACK_GZIP: n = pack_gzip(in, out->data, room); break;
	case PACK_BZIP2:
		BZ2_bzBuffToBuffCompress((char *)out->data, &n, (char *)in->data, in->len, 1, 0, 0);
		break;
	case PACK_LZMA: n = pack_lzma(in, out->data, room, false); break;
	case PACK_XZ: n = pack_lzma(in, out->data, room, true); break;
	case PACK_LZ4: n = pack_lz4(in, out->data, room); break;
	case PACK_ZSTD: n = ZSTD_compress(out->data, room, in->data, in->len, 1); break;
	default: memcpy(out->data, in->data, in->len); n = in->len;
	}
	g_byte_array_set_size(out, n);
	if (packer != PACK_NONE && packer != PACK_GZIP) /* the trailer with the size */
		g_byte_array_append(out, (const u8 *)&in->len, 4);
	return out;
}

void kernel_put(GByteArray *f, unsigned at, u64 value, unsigned bytes)
{
	memcpy(f->data + at, &value, bytes);
}

GByteArray *kernel_make_bzimage(u64 text_offset, enum packer packer, bool relocations,
				bool middle_list)
{
	GByteArray *elf = kernel_make_elf(text_offset, relocations, middle_list),
		   *payload = pack(elf, packer);
	GByteArray *f = g_byte_array_new();

	g_byte_array_set_size(f, 5 * 512 + 0x400);
	memset(f->data, 0, f->len);
	kernel_put(f, 0x1f1, 4, 1);
	kernel_put(f, 0x1fe, 0xaa55, 2);
	kernel_put(f, 0x200, 0x6aeb, 2);
	memcpy(f->data + 0x202, "HdrS", 4);
	kernel_put(f, 0x206, 0x020f, 2);
	kernel_put(f, 0x211, 1, 1);
	kernel_put(f, 0x22c, 0x7fffffff, 4);
	kernel_put(f, 0x230, ALIGNMENT, 4);
	kernel_put(f, 0x236, 0x7f, 2);
	kernel_put(f, 0x238, 2047, 4);
	kernel_put(f, 0x248, 0x400, 4);
	kernel_put(f, 0x24c, payload->len, 4);
	kernel_put(f, 0x258, LINKED, 8);
	kernel_put(f, 0x260, INIT_SIZE, 4);
	g_byte_array_append(f, payload->data, payload->len);
	g_byte_array_free(payload, TRUE);
	g_byte_array_free(elf, TRUE);
	return f;
}
