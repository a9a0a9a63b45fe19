/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net against a socket: frames both ways, buffers of all sizes, offloads, a slow reader. */
#include "device/virtio/offload.h"
#include "device/virtio/virtio.h"
#include "machine/layout.h"
#include "machine/pci.h"
#include "net/net.h"
#include "testvm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE         64
#define HEAD         12
#define RX           0
#define TX           1
#define RING(queue)  (0x10000ull + (queue)*0x4000)
#define AVAIL(queue) (RING(queue) + 0x1000)
#define USED(queue)  (RING(queue) + 0x2000)
#define DATA         0x40000ull

#define F_MRG_RXBUF BIT(15)

struct card {
	struct vm *vm;
	struct net *net;
	struct virtio *v;
	u64 bar;
	int peer;
	u16 next[2], used[2];
};

static void setup_queue(struct card *c, unsigned queue)
{
	mmio_write(c->vm, c->bar + 0x16, 2, queue);
	mmio_write(c->vm, c->bar + 0x18, 2, SIZE);
	mmio_write(c->vm, c->bar + 0x20, 8, RING(queue));
	mmio_write(c->vm, c->bar + 0x28, 8, AVAIL(queue));
	mmio_write(c->vm, c->bar + 0x30, 8, USED(queue));
	mmio_write(c->vm, c->bar + 0x1c, 2, 1);
}

static void card_init(struct card *c, u64 features)
{
	struct device *dev;
	int fds[2];

	memset(c, 0, sizeof(*c));
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), ==, 0);
	c->peer = fds[1];
	c->net = net_open(&(struct net_config){ "socket", fds[0] }, NULL);
	c->vm = test_vm_new(1, 4 * MIB);
	dev = test_device_new(c->vm, "virtio-net", "net");
	device_set_number(dev, "slot", 3, NULL);
	device_set_string(dev, "mac", "52:54:00:12:34:56", NULL);
	device_set_backend(dev, "backend", OPTION_NET, c->net, NULL);
	test_device_realize(dev);
	dev->type->resume(dev);
	c->v = container_of(dev, struct virtio, pci.dev);
	pci_assign(c->vm);
	mmio_write(c->vm, ECAM_BASE + 0x18004, 2, 6);
	c->bar = mmio_read(c->vm, ECAM_BASE + 0x18010, 4) & ~15ull;
	c->bar |= mmio_read(c->vm, ECAM_BASE + 0x18014, 4) << 32;
	mmio_write(c->vm, c->bar + 0x14, 1, 3);
	mmio_write(c->vm, c->bar + 0x08, 4, 0);
	mmio_write(c->vm, c->bar + 0x0c, 4, (u32)features);
	mmio_write(c->vm, c->bar + 0x08, 4, 1);
	mmio_write(c->vm, c->bar + 0x0c, 4, 1);
	mmio_write(c->vm, c->bar + 0x14, 1, 11);
	setup_queue(c, RX);
	setup_queue(c, TX);
	mmio_write(c->vm, c->bar + 0x14, 1, 15);
	g_assert_cmphex(mmio_read(c->vm, c->bar + 0x14, 1), ==, 15);
}

static void card_free(struct card *c)
{
	vm_free(c->vm);
	net_close(c->net);
	close(c->peer);
}

static void offer(struct card *c, unsigned queue, u16 desc, u64 address, u32 bytes)
{
	struct {
		u64 address;
		u32 bytes;
		u16 flags, next;
	} d = { address, bytes, queue == RX ? 2 : 0, 0 };
	u16 index = ++c->next[queue];

	vm_mem_write(c->vm, RING(queue) + 16 * desc, &d, 16);
	vm_mem_write(c->vm, AVAIL(queue) + 4 + 2 * ((index - 1) % SIZE), &desc, 2);
	vm_mem_write(c->vm, AVAIL(queue) + 2, &index, 2);
}

static void notify(struct card *c, unsigned queue)
{
	mmio_write(c->vm, c->bar + 0x3000 + 4 * queue, 2, queue);
}

static u16 used_index(struct card *c, unsigned queue)
{
	return __atomic_load_n((u16 *)vm_mem_ptr(c->vm, USED(queue) + 2, 2), __ATOMIC_ACQUIRE);
}

static u32 wait_used(struct card *c, unsigned queue)
{
	u32 element[2];

	for (int i = 0; used_index(c, queue) == c->used[queue]; i++) {
		g_assert_cmpint(i, <, 10000);
		g_usleep(500);
	}
	vm_mem_read(c->vm, USED(queue) + 4 + 8 * (c->used[queue] % SIZE), element, 8);
	c->used[queue]++;
	return element[1];
}

/* Sends what is at DATA: header and frame. */
static void transmit(struct card *c, const void *header, const void *frame, size_t bytes)
{
	u8 zero[HEAD] = { 0 };

	vm_mem_write(c->vm, DATA, header ? header : zero, HEAD);
	vm_mem_write(c->vm, DATA + HEAD, frame, bytes);
	offer(c, TX, c->next[TX] % SIZE, DATA, HEAD + bytes);
	notify(c, TX);
}

static void fill(u8 *frame, size_t bytes, unsigned seed)
{
	for (size_t i = 0; i < bytes; i++)
		frame[i] = i * 31 + seed;
}

static void test_transmit(void)
{
	struct card c;
	u8 frame[1514], got[2000];

	card_init(&c, F_MRG_RXBUF);
	g_assert_cmphex(mmio_read(c.vm, c.bar + 0x2000, 4), ==, 0x12005452);
	fill(frame, sizeof(frame), 1);
	transmit(&c, NULL, frame, sizeof(frame));
	g_assert_cmpint(recv(c.peer, got, sizeof(got), 0), ==, sizeof(frame));
	g_assert_cmpmem(frame, sizeof(frame), got, sizeof(frame));
	wait_used(&c, TX);
	/* too short, too long, without header: answered and dropped */
	transmit(&c, NULL, frame, 13);
	wait_used(&c, TX);
	offer(&c, TX, 5, DATA, 7);
	notify(&c, TX);
	wait_used(&c, TX);
	offer(&c, TX, 6, DATA, 200000);
	notify(&c, TX);
	wait_used(&c, TX);
	transmit(&c, NULL, frame, 60);
	g_assert_cmpint(recv(c.peer, got, sizeof(got), 0), ==, 60);
	card_free(&c);
}

/* A reader that sleeps: requests wait in the ring, nothing is lost, order stays. */
static void test_transmit_slow_reader(void)
{
	struct card c;
	u8 frame[1500], got[2000];
	u32 sent = 0, received = 0;

	card_init(&c, F_MRG_RXBUF);
	for (; sent < 20000; sent++) {
		if ((u16)(c.next[TX] - used_index(&c, TX)) >= SIZE)
			break; /* the ring is full: the backend had no room */
		memset(frame, 0, sizeof(frame));
		memcpy(frame, &sent, 4);
		vm_mem_write(c.vm, DATA + 2048 * (sent % SIZE) + HEAD, frame, sizeof(frame));
		offer(&c, TX, sent % SIZE, DATA + 2048 * (sent % SIZE), HEAD + sizeof(frame));
		notify(&c, TX);
	}
	g_assert_cmpuint(sent, <, 20000);
	while (received < sent) {
		u32 number;

		g_assert_cmpint(recv(c.peer, got, sizeof(got), 0), ==, sizeof(frame));
		memcpy(&number, got, 4);
		g_assert_cmpuint(number, ==, received);
		received++;
	}
	card_free(&c);
}

static void test_receive(void)
{
	struct card c;
	u8 frame[1514], *p;

	card_init(&c, F_MRG_RXBUF);
	fill(frame, sizeof(frame), 2);
	offer(&c, RX, 0, DATA, 2048);
	notify(&c, RX);
	g_assert_cmpint(send(c.peer, frame, sizeof(frame), 0), ==, sizeof(frame));
	g_assert_cmpuint(wait_used(&c, RX), ==, HEAD + sizeof(frame));
	p = vm_mem_ptr(c.vm, DATA, 2048);
	g_assert_cmpint(p[10], ==, 1); /* num_buffers */
	g_assert_cmpmem(p + HEAD, sizeof(frame), frame, sizeof(frame));
	/* no buffers: the frame waits for them */
	g_assert_cmpint(send(c.peer, frame, 100, 0), ==, 100);
	g_usleep(20000);
	g_assert_cmpuint(used_index(&c, RX), ==, 1);
	for (unsigned i = 0; i < 3; i++)
		offer(&c, RX, i, DATA + 64 * i, 64);
	notify(&c, RX);
	/* spread over two buffers, published together */
	g_assert_cmpuint(wait_used(&c, RX), ==, 64);
	g_assert_cmpuint(used_index(&c, RX), ==, 3);
	g_assert_cmpuint(wait_used(&c, RX), ==, 100 - 52);
	g_assert_cmpint(p[10], ==, 2);
	g_assert_cmpmem(p + HEAD, 52, frame, 52);
	g_assert_cmpmem(p + 64, 48, frame + 52, 48);
	card_free(&c);
}

/* Without mergeable buffers a frame larger than its buffer is dropped, and the buffer stays. */
static void test_receive_too_small(void)
{
	struct card c;
	u8 frame[1514];

	card_init(&c, 0);
	fill(frame, sizeof(frame), 3);
	offer(&c, RX, 0, DATA, 200);
	notify(&c, RX);
	g_assert_cmpint(send(c.peer, frame, 1000, 0), ==, 1000);
	g_assert_cmpint(send(c.peer, frame, 100, 0), ==, 100);
	g_assert_cmpuint(wait_used(&c, RX), ==, HEAD + 100);
	card_free(&c);
}

static void test_receive_broken_ring(void)
{
	struct card c;
	u8 frame[100] = { 0 };

	card_init(&c, F_MRG_RXBUF);
	offer(&c, RX, 0, DATA, 4); /* no room for a header */
	notify(&c, RX);
	g_assert_cmpint(send(c.peer, frame, sizeof(frame), 0), ==, sizeof(frame));
	for (int i = 0; !(mmio_read(c.vm, c.bar + 0x14, 1) & 64); i++) {
		g_assert_cmpint(i, <, 10000);
		g_usleep(500);
	}
	card_free(&c);
}

static void test_peer_gone(void)
{
	struct card c;
	u8 frame[100] = { 0 };

	card_init(&c, F_MRG_RXBUF);
	close(c.peer);
	transmit(&c, NULL, frame, sizeof(frame));
	wait_used(&c, TX);
	card_free(&c);
}

/* Offloads. */

static u16 plain_sum(const u8 *p, size_t bytes, u32 total)
{
	for (size_t i = 0; i < bytes; i++)
		total += i & 1 ? p[i] : p[i] << 8;
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return total;
}

static void test_checksum(void)
{
	GRand *rand = g_rand_new_with_seed(4);
	u8 frame[600];

	for (unsigned i = 0; i < 2000; i++) {
		unsigned bytes = g_rand_int_range(rand, 60, 600),
			 start = g_rand_int_range(rand, 14, 50);
		unsigned offset = g_rand_int_range(rand, 0, 20);
		u16 want;

		for (unsigned k = 0; k < bytes; k++)
			frame[k] = g_rand_int(rand);
		want = ~plain_sum(frame + start, bytes - start, 0);
		if (!want)
			want = 0xffff;
		if (start + offset + 2 > bytes) {
			g_assert_false(offload_checksum(frame, bytes, start, offset));
			continue;
		}
		g_assert_true(offload_checksum(frame, bytes, start, offset));
		g_assert_cmphex(frame[start + offset] << 8 | frame[start + offset + 1], ==, want);
	}
	g_assert_false(offload_checksum(frame, 60, 60, 0));
	g_assert_false(offload_checksum(frame, 60, 50, 9));
	g_assert_false(offload_checksum(frame, 60, 65535, 65535));
	g_rand_free(rand);
}

/* A TCP packet with @payload bytes: returns its length; *@tcp is where TCP begins. */
static size_t make_tcp(u8 *f, bool v6, size_t payload, unsigned *tcp)
{
	unsigned ip = 14;

	memset(f, 0, 14 + 40 + 20);
	f[12] = v6 ? 0x86 : 0x08;
	f[13] = v6 ? 0xdd : 0x00;
	*tcp = ip + (v6 ? 40 : 20);
	if (v6) {
		f[ip] = 0x60;
		f[ip + 6] = 6;
		memset(f + ip + 8, 0x11, 32);
	} else {
		f[ip] = 0x45;
		f[ip + 4] = 0x12;
		f[ip + 9] = 6;
		memset(f + ip + 12, 0x22, 8);
	}
	f[*tcp + 7] = 100; /* sequence */
	f[*tcp + 12] = 0x50;
	f[*tcp + 13] = 0x99; /* CWR, ACK, PSH, FIN */
	fill(f + *tcp + 20, payload, 9);
	return *tcp + 20 + payload;
}

struct collected {
	u8 payload[70000];
	size_t bytes;
	unsigned frames, tcp;
	bool v6;
	u8 last_flags;
};

static bool collect(void *opaque, const u8 *f, size_t bytes)
{
	struct collected *c = opaque;
	const u8 *ip = f + 14, *tcp = f + c->tcp;
	u32 sequence = tcp[4] << 24 | tcp[5] << 16 | tcp[6] << 8 | tcp[7];
	u32 pseudo = 6 + (bytes - c->tcp);

	g_assert_cmpuint(sequence, ==, 100 + c->bytes);
	if (c->v6) {
		g_assert_cmpuint(ip[4] << 8 | ip[5], ==, bytes - 14 - 40);
		pseudo += plain_sum(ip + 8, 32, 0);
	} else {
		g_assert_cmpuint(ip[2] << 8 | ip[3], ==, bytes - 14);
		g_assert_cmpuint(ip[4] << 8 | ip[5], ==, 0x1200 + c->frames);
		g_assert_cmphex(plain_sum(ip, 20, 0), ==, 0xffff);
		pseudo += plain_sum(ip + 12, 8, 0);
	}
	g_assert_cmphex(plain_sum(tcp, bytes - c->tcp, pseudo), ==, 0xffff);
	g_assert_cmphex(tcp[13] & 0x80, ==, c->frames ? 0 : 0x80);
	c->last_flags = tcp[13];
	memcpy(c->payload + c->bytes, tcp + 20, bytes - c->tcp - 20);
	c->bytes += bytes - c->tcp - 20;
	c->frames++;
	return true;
}

static void test_segment(void)
{
	static const size_t sizes[] = { 0, 1, 1460, 1461, 14600, 60000 };
	struct collected *c = g_new(struct collected, 1);
	u8 *f = g_malloc(70000), *want = g_malloc(70000);

	for (unsigned i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
		size_t payload = sizes[i / 2], bytes;

		memset(c, 0, sizeof(*c));
		c->v6 = i & 1;
		bytes = make_tcp(f, c->v6, payload, &c->tcp);
		g_assert_true(offload_segment(f, bytes, c->tcp, 1460, collect, c));
		g_assert_cmpuint(c->bytes, ==, payload);
		g_assert_cmpuint(c->frames, ==, payload ? (payload + 1459) / 1460 : 1);
		g_assert_cmphex(c->last_flags & 0x19, ==, 0x19);
		fill(want, payload, 9);
		g_assert_cmpmem(c->payload, payload, want, payload);
	}
	g_free(want);
	g_free(f);
	g_free(c);
}

static bool count_frame(void *opaque, const u8 *f, size_t bytes)
{
	(*(unsigned *)opaque)++;
	return true;
}

static void test_segment_hostile(void)
{
	GRand *rand = g_rand_new_with_seed(8);
	u8 *f = g_malloc(4000);
	unsigned tcp, frames = 0;
	size_t bytes = make_tcp(f, false, 3000, &tcp);

	g_assert_false(offload_segment(f, bytes, tcp, 1, count_frame, &frames));
	g_assert_false(offload_segment(f, bytes, tcp + 4, 1000, count_frame, &frames));
	g_assert_false(offload_segment(f, 30, tcp, 1000, count_frame, &frames));
	g_assert_false(offload_segment(f, bytes, 65535, 1000, count_frame, &frames));
	g_assert_cmpuint(frames, ==, 0);
	for (unsigned i = 0; i < 20000; i++) {
		u8 *copy;
		size_t n = g_rand_int_range(rand, 0, bytes);

		make_tcp(f, i & 1, 3000, &tcp);
		for (unsigned k = 0; k < 3; k++)
			f[g_rand_int_range(rand, 12, 80)] = g_rand_int(rand);
		copy = g_memdup2(f, n);
		offload_segment(copy, n, g_rand_int_range(rand, 0, 100),
				g_rand_int_range(rand, 0, 3000), count_frame, &frames);
		offload_checksum(copy, n, g_rand_int_range(rand, 0, 4000),
				 g_rand_int_range(rand, 0, 4000));
		g_free(copy);
	}
	g_free(f);
	g_rand_free(rand);
}

/* Through the device: a 10 KiB packet leaves as frames. */
static void test_transmit_segmented(void)
{
	struct collected *got = g_new0(struct collected, 1);
	u8 *f = g_malloc(20000), frame[2000];
	u16 header[6] = { 1 | 1 << 8, 54, 1000, 0, 16, 0 }; /* checksum, TCPv4, 1000 bytes each */
	struct card c;
	size_t bytes;

	card_init(&c, F_MRG_RXBUF | BIT(0) | BIT(11));
	bytes = make_tcp(f, false, 10000, &got->tcp);
	header[3] = got->tcp;
	transmit(&c, header, f, bytes);
	while (got->bytes < 10000) {
		ssize_t n = recv(c.peer, frame, sizeof(frame), 0);

		g_assert_cmpint(n, >, 0);
		collect(got, frame, n);
	}
	g_assert_cmpuint(got->frames, ==, 10);
	wait_used(&c, TX);
	card_free(&c);
	g_free(f);
	g_free(got);
}

static void test_pause(void)
{
	struct card c;
	u8 frame[100] = { 1, 2, 3 };

	card_init(&c, F_MRG_RXBUF);
	offer(&c, RX, 0, DATA, 2048);
	c.v->pci.dev.type->quiesce(&c.v->pci.dev);
	g_assert_cmpint(send(c.peer, frame, sizeof(frame), 0), ==, sizeof(frame));
	g_usleep(20000);
	g_assert_cmpuint(used_index(&c, RX), ==, 0);
	c.v->pci.dev.type->resume(&c.v->pci.dev);
	g_assert_cmpuint(wait_used(&c, RX), ==, HEAD + sizeof(frame));
	card_free(&c);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/net/transmit", test_transmit);
	g_test_add_func("/net/transmit-slow-reader", test_transmit_slow_reader);
	g_test_add_func("/net/transmit-segmented", test_transmit_segmented);
	g_test_add_func("/net/receive", test_receive);
	g_test_add_func("/net/receive-too-small", test_receive_too_small);
	g_test_add_func("/net/receive-broken-ring", test_receive_broken_ring);
	g_test_add_func("/net/peer-gone", test_peer_gone);
	g_test_add_func("/net/pause", test_pause);
	g_test_add_func("/offload/checksum", test_checksum);
	g_test_add_func("/offload/segment", test_segment);
	g_test_add_func("/offload/segment-hostile", test_segment_hostile);
	return g_test_run();
}
