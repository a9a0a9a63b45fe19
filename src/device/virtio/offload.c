/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checksum and segmentation offload in software. See offload.h; RFC 1071, 791, 8200, 9293.
 */
#include "device/virtio/offload.h"

#include <string.h>

#define HEADERS_MAX 256 /* Ethernet to TCP options */
#define SEGMENT_MAX 65535

#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_CWR 0x80

static u16 get_be16(const u8 *p)
{
	return p[0] << 8 | p[1];
}

static void put_be16(u8 *p, u16 value)
{
	p[0] = value >> 8;
	p[1] = value;
}

static u32 get_be32(const u8 *p)
{
	return (u32)get_be16(p) << 16 | get_be16(p + 2);
}

static void put_be32(u8 *p, u32 value)
{
	put_be16(p, value >> 16);
	put_be16(p + 2, value);
}

/* Sums in host order, eight bytes at a time; byte order does not matter to one's complement sums
 * as long as both ends are swapped alike. */
static u64 sum(const u8 *p, size_t bytes, u64 start)
{
	u64 total = start;

	for (; bytes >= 8; p += 8, bytes -= 8) {
		u64 word;

		memcpy(&word, p, 8);
		total += word;
		total += total < word;
	}
	if (bytes) {
		u64 word = 0;

		memcpy(&word, p, bytes);
		total += word;
		total += total < word;
	}
	return total;
}

static u16 fold(u64 total)
{
	total = (total & 0xffffffff) + (total >> 32);
	total = (total & 0xffffffff) + (total >> 32);
	total = (total & 0xffff) + (total >> 16);
	total = (total & 0xffff) + (total >> 16);
	total = (total & 0xffff) + (total >> 16);
	return total;
}

bool offload_checksum(u8 *frame, size_t bytes, unsigned start, unsigned offset)
{
	u16 value;

	if (start >= bytes || (size_t)start + offset + 2 > bytes)
		return false;
	value = ~fold(sum(frame + start, bytes - start, 0));
	if (!value)
		value = 0xffff; /* 0 means "none" to UDP */
	memcpy(frame + start + offset, &value, 2);
	return true;
}

struct packet {
	unsigned ip, tcp, payload; /* offsets */
	bool v6;
};

static bool parse(const u8 *frame, size_t bytes, unsigned tcp, struct packet *p)
{
	unsigned type;

	p->ip = 14;
	if (bytes < 18)
		return false;
	type = get_be16(frame + 12);
	if (type == 0x8100) {
		type = get_be16(frame + 16);
		p->ip = 18;
	}
	p->v6 = type == 0x86dd;
	if ((type != 0x0800 && !p->v6) || tcp < p->ip + (p->v6 ? 40 : 20) ||
	    tcp > HEADERS_MAX - 60 || tcp + 20 > bytes)
		return false;
	if (!p->v6 && (frame[p->ip] >> 4 != 4 || p->ip + 4 * (frame[p->ip] & 15) != tcp ||
		       frame[p->ip + 9] != 6))
		return false;
	if (p->v6 && frame[p->ip] >> 4 != 6)
		return false;
	p->tcp = tcp;
	p->payload = tcp + 4 * (frame[tcp + 12] >> 4);
	return p->payload >= tcp + 20 && p->payload <= bytes && p->payload <= HEADERS_MAX;
}

static void finish_ipv4(u8 *f, const struct packet *p, size_t bytes, unsigned number)
{
	u8 *ip = f + p->ip;
	u16 check;

	put_be16(ip + 2, bytes - p->ip);
	put_be16(ip + 4, get_be16(ip + 4) + number);
	memset(ip + 10, 0, 2);
	check = ~fold(sum(ip, p->tcp - p->ip, 0));
	memcpy(ip + 10, &check, 2);
}

/* Over the pseudo header (addresses, protocol, length) and the segment. */
static void finish_tcp(u8 *f, const struct packet *p, size_t bytes)
{
	u8 tail[8] = { 0 };
	u64 total;
	u16 check;

	put_be32(tail, bytes - p->tcp);
	tail[7] = 6;
	memset(f + p->tcp + 16, 0, 2);
	total = sum(tail, sizeof(tail), 0);
	total = p->v6 ? sum(f + p->ip + 8, 32, total) : sum(f + p->ip + 12, 8, total);
	check = ~fold(sum(f + p->tcp, bytes - p->tcp, total));
	memcpy(f + p->tcp + 16, &check, 2);
}

bool offload_segment(const u8 *frame, size_t bytes, unsigned tcp, unsigned segment,
		     bool (*emit)(void *opaque, const u8 *frame, size_t bytes), void *opaque)
{
	u8 out[HEADERS_MAX + SEGMENT_MAX];
	struct packet p;
	u32 sequence;
	u8 flags;

	if (segment < SEGMENT_MIN || segment > SEGMENT_MAX || !parse(frame, bytes, tcp, &p))
		return false;
	memcpy(out, frame, p.payload);
	sequence = get_be32(frame + p.tcp + 4);
	flags = frame[p.tcp + 13];
	for (size_t at = p.payload, number = 0; at < bytes || !number; number++) {
		size_t n = bytes - at < segment ? bytes - at : segment, total = p.payload + n;
		bool last = at + n == bytes;

		memcpy(out + p.payload, frame + at, n);
		memcpy(out + p.ip, frame + p.ip, p.payload - p.ip);
		put_be32(out + p.tcp + 4, sequence + (at - p.payload));
		out[p.tcp + 13] =
			(last ? flags : flags & ~(TCP_FIN | TCP_PSH)) & (number ? ~TCP_CWR : 0xff);
		if (p.v6)
			put_be16(out + p.ip + 4, total - p.ip - 40);
		else
			finish_ipv4(out, &p, total, number);
		finish_tcp(out, &p, total);
		if (!emit(opaque, out, total))
			return false;
		at += n;
	}
	return true;
}
