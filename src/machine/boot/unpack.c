/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One function for each compressor, found by its magic number. All write straight into the
 * caller's buffer: a kernel goes from its file to guest RAM without a copy between.
 */
#include "machine/boot/unpack.h"

#include "machine/vm.h"

#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

struct stream {
	const u8 *in;
	u64 in_bytes;
	u8 *out;
	u64 room, bytes;
};

/* LZ4's legacy frame: magic, then blocks of at most 8 MiB, each with its packed size before it.
 * Concatenated frames repeat the magic; what cannot be a block size ends the data. */
#define LZ4_MAGIC 0x184c2102u
#define LZ4_BLOCK (8 * MIB)

static u32 get_le32(const u8 *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24;
}

static int unpack_lz4(struct stream *s)
{
	u64 at = 4;

	while (at + 4 <= s->in_bytes) {
		u32 packed = get_le32(s->in + at);
		u64 room = MIN(s->room - s->bytes, LZ4_BLOCK);
		int n;

		at += 4;
		if (packed == LZ4_MAGIC)
			continue;
		if (!packed || packed > LZ4_COMPRESSBOUND(LZ4_BLOCK) || packed > s->in_bytes - at)
			break; /* the size trailer of the payload, or the end */
		n = LZ4_decompress_safe((const char *)s->in + at, (char *)s->out + s->bytes, packed,
					room);
		if (n < 0)
			return -EINVAL;
		s->bytes += n;
		at += packed;
		if ((u64)n < LZ4_BLOCK)
			break; /* only the last one is short */
	}
	return s->bytes ? 0 : -EINVAL;
}

static int unpack_zstd(struct stream *s)
{
	size_t frame = ZSTD_findFrameCompressedSize(s->in, s->in_bytes), n;

	if (ZSTD_isError(frame))
		return -EINVAL;
	n = ZSTD_decompress(s->out, s->room, s->in, frame);
	if (ZSTD_isError(n))
		return -EINVAL;
	s->bytes = n;
	return 0;
}

/* The decoder's dictionary is as large as the file says; more than this no kernel uses. */
#define LZMA_MEMORY_MAX (192 * MIB)

static int run_lzma(struct stream *s, lzma_stream *lzma)
{
	lzma_ret ret;

	lzma->next_in = s->in;
	lzma->avail_in = s->in_bytes;
	lzma->next_out = s->out;
	lzma->avail_out = s->room;
	ret = lzma_code(lzma, LZMA_RUN);
	s->bytes = lzma->total_out;
	/* An .lzma file without an end mark ends where its header says; the call stops there. */
	lzma_end(lzma);
	if (ret == LZMA_MEMLIMIT_ERROR || ret == LZMA_MEM_ERROR)
		return -ENOMEM;
	return ret == LZMA_STREAM_END ? 0 : -EINVAL;
}

static int unpack_xz(struct stream *s)
{
	lzma_stream lzma = LZMA_STREAM_INIT;

	if (lzma_stream_decoder(&lzma, LZMA_MEMORY_MAX, 0) != LZMA_OK)
		return -ENOMEM;
	return run_lzma(s, &lzma);
}

static int unpack_lzma(struct stream *s)
{
	lzma_stream lzma = LZMA_STREAM_INIT;

	if (lzma_alone_decoder(&lzma, LZMA_MEMORY_MAX) != LZMA_OK)
		return -ENOMEM;
	return run_lzma(s, &lzma);
}

static int unpack_gzip(struct stream *s)
{
	z_stream z = { .next_in = (Bytef *)s->in,
		       .avail_in = MIN(s->in_bytes, UINT32_MAX),
		       .next_out = s->out,
		       .avail_out = MIN(s->room, UINT32_MAX) };
	int ret;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return -ENOMEM;
	ret = inflate(&z, Z_FINISH);
	s->bytes = z.total_out;
	inflateEnd(&z);
	return ret == Z_STREAM_END ? 0 : -EINVAL;
}

static int unpack_bzip2(struct stream *s)
{
	bz_stream z = { .next_in = (char *)s->in,
			.avail_in = MIN(s->in_bytes, UINT32_MAX),
			.next_out = (char *)s->out,
			.avail_out = MIN(s->room, UINT32_MAX) };
	int ret;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return -ENOMEM;
	ret = BZ2_bzDecompress(&z);
	s->bytes = (u64)z.total_out_hi32 << 32 | z.total_out_lo32;
	BZ2_bzDecompressEnd(&z);
	return ret == BZ_STREAM_END ? 0 : -EINVAL;
}

static int unpack_none(struct stream *s)
{
	if (s->in_bytes > s->room)
		return -ENOSPC;
	memcpy(s->out, s->in, s->in_bytes);
	s->bytes = s->in_bytes;
	return 0;
}

static const struct {
	const char *name;
	u8 magic[6], magic_bytes;
	int (*unpack)(struct stream *s);
} formats[] = {
	{ "gzip", { 0x1f, 0x8b }, 2, unpack_gzip },
	{ "bzip2", { 'B', 'Z', 'h' }, 3, unpack_bzip2 },
	{ "LZMA", { 0x5d, 0x00, 0x00 }, 3, unpack_lzma },
	{ "xz", { 0xfd, '7', 'z', 'X', 'Z', 0x00 }, 6, unpack_xz },
	{ "LZ4", { 0x02, 0x21, 0x4c, 0x18 }, 4, unpack_lz4 },
	{ "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4, unpack_zstd },
	{ "ELF", { 0x7f, 'E', 'L', 'F' }, 4, unpack_none },
};

int unpack(const u8 *in, u64 in_bytes, u8 *out, u64 room, u64 *bytes, GError **error)
{
	struct stream s = { in, in_bytes, out, room, 0 };
	int err;

	for (unsigned i = 0; i < ARRAY_LEN(formats); i++) {
		if (in_bytes < formats[i].magic_bytes ||
		    memcmp(in, formats[i].magic, formats[i].magic_bytes))
			continue;
		err = formats[i].unpack(&s);
		*bytes = s.bytes;
		if (err)
			g_set_error(error, VM_ERROR, -err, "cannot unpack the kernel's %s data: %s",
				    formats[i].name,
				    err == -EINVAL ? "damaged, cut, or larger than its header says"
						   : g_strerror(-err));
		return err;
	}
	g_set_error(error, VM_ERROR, ENOTSUP,
		    "the kernel is packed in an unknown way (LZO?); let it unpack itself (--unpack "
		    "guest)");
	return -ENOTSUP;
}
