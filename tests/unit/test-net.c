/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net against a socket: frames both ways, buffers of all sizes, a slow reader. */
#include "device/types.h"
#include "device/virtio/virtio.h"
#include "machine/board.h"
#include "machine/layout.h"
#include "machine/pci.h"
#include "net/net.h"
#include "state/state.h"
#include "testvm.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
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

static void card_init_link(struct card *c, u64 features, bool link)
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
	if (!link)
		device_set_bool(dev, "link", false, NULL);
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

static void card_init(struct card *c, u64 features)
{
	card_init_link(c, features, true);
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

/* Sends header and frame, @bytes in all. */
static void transmit(struct card *c, const void *frame, size_t bytes)
{
	vm_mem_write(c->vm, DATA, frame, bytes);
	offer(c, TX, c->next[TX] % SIZE, DATA, bytes);
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
	transmit(&c, frame, sizeof(frame));
	g_assert_cmpint(recv(c.peer, got, sizeof(got), 0), ==, sizeof(frame));
	g_assert_cmpmem(frame, sizeof(frame), got, sizeof(frame));
	wait_used(&c, TX);
	/* too short, too long, without header: answered and dropped */
	transmit(&c, frame, HEAD + 13);
	wait_used(&c, TX);
	offer(&c, TX, 5, DATA, 7);
	notify(&c, TX);
	wait_used(&c, TX);
	offer(&c, TX, 6, DATA, 200000);
	notify(&c, TX);
	wait_used(&c, TX);
	transmit(&c, frame, 60);
	g_assert_cmpint(recv(c.peer, got, sizeof(got), 0), ==, 60);
	g_assert_cmpuint(c.net->statistics->tx_frames, ==, 2);
	g_assert_cmpuint(c.net->statistics->tx_bytes, ==, sizeof(frame) - HEAD + 60 - HEAD);
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
		vm_mem_write(c.vm, DATA + 2048 * (sent % SIZE), frame, sizeof(frame));
		offer(&c, TX, sent % SIZE, DATA + 2048 * (sent % SIZE), sizeof(frame));
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
	g_assert_cmpuint(wait_used(&c, RX), ==, sizeof(frame));
	p = vm_mem_ptr(c.vm, DATA, 2048);
	g_assert_cmpint(p[10], ==, 1); /* num_buffers */
	g_assert_cmpmem(p + HEAD, sizeof(frame) - HEAD, frame + HEAD, sizeof(frame) - HEAD);
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
	g_assert_cmpuint(wait_used(&c, RX), ==, 100 - 64);
	g_assert_cmpint(p[10], ==, 2);
	g_assert_cmpmem(p + HEAD, 52, frame + HEAD, 52);
	g_assert_cmpmem(p + 64, 36, frame + 64, 36);
	g_assert_cmpuint(c.net->statistics->rx_frames, ==, 2);
	g_assert_cmpuint(c.net->statistics->rx_bytes, ==, sizeof(frame) - HEAD + 100 - HEAD);
	g_assert_cmpuint(c.net->statistics->rx_dropped, ==, 0);
	g_assert_cmpint(send(c.peer, frame, 5, 0), ==, 5); /* no frame */
	while (!__atomic_load_n(&c.net->statistics->rx_dropped, __ATOMIC_RELAXED))
		g_usleep(500);
	g_assert_cmpuint(c.net->statistics->rx_frames, ==, 2);
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
	g_assert_cmpuint(wait_used(&c, RX), ==, 100);
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
	transmit(&c, frame, sizeof(frame));
	wait_used(&c, TX);
	card_free(&c);
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
	g_assert_cmpuint(wait_used(&c, RX), ==, sizeof(frame));
	card_free(&c);
}

static int unread(int fd)
{
	int bytes = -1;

	g_assert_cmpint(ioctl(fd, SIOCOUTQ, &bytes), ==, 0);
	return bytes;
}

/* A machine's first start plugs its cards in, as every later one does: frames are taken from the
 * wire, also those that no driver wants yet. */
static void test_first_start(void)
{
	struct card c = { .peer = -1 };
	struct device *dev;
	u8 frame[100] = { 0 };
	int fds[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), ==, 0);
	c.peer = fds[1];
	c.net = net_open(&(struct net_config){ "socket", fds[0] }, NULL);
	c.vm = test_vm_bare(1, 4 * MIB);
	board_build(c.vm, boards[0], device_types, NULL);
	dev = test_device_new(c.vm, "virtio-net", "net");
	device_set_number(dev, "slot", 3, NULL);
	device_set_string(dev, "mac", "52:54:00:12:34:56", NULL);
	device_set_backend(dev, "backend", OPTION_NET, c.net, NULL);
	g_assert_cmpint(device_realize(dev, NULL), ==, 0);
	/* the backend may hold one frame, and no more */
	for (int i = 0; i < 2; i++)
		g_assert_cmpint(send(c.peer, frame, sizeof(frame), 0), ==, sizeof(frame));
	g_usleep(20000);
	g_assert_cmpint(unread(c.peer), >, 0);
	g_assert_cmpint(vm_start(c.vm, false, NULL), ==, 0);
	for (int i = 0; unread(c.peer); i++) {
		g_assert_cmpint(i, <, 20000);
		g_usleep(500);
	}
	card_free(&c);
}

static void set_link(struct card *c, bool up)
{
	c->v->pci.dev.type->set_link(&c->v->pci.dev, up);
}

static unsigned link_status(struct card *c)
{
	return mmio_read(c->vm, c->bar + 0x2006, 2);
}

static void wait_taken(struct card *c, u64 frames)
{
	for (int i = 0; __atomic_load_n(&c->net->statistics->rx_frames, __ATOMIC_RELAXED) != frames;
	     i++) {
		g_assert_cmpint(i, <, 20000);
		g_usleep(500);
	}
}

/* Unplugged, frames are taken from both sides and reach neither; the driver is told of it. */
static void test_link(void)
{
	struct card c;
	u8 frame[100] = { 0 }, got[200];
	u8 generation;

	card_init(&c, F_MRG_RXBUF);
	g_assert_cmphex(link_status(&c), ==, 1);
	offer(&c, RX, 0, DATA + 4096, 2048);
	notify(&c, RX);
	generation = mmio_read(c.vm, c.bar + 0x15, 1);
	set_link(&c, false);
	g_assert_cmphex(link_status(&c), ==, 0);
	g_assert_cmpuint(mmio_read(c.vm, c.bar + 0x15, 1), ==, (u8)(generation + 1));
	set_link(&c, false); /* nothing new */
	g_assert_cmpuint(mmio_read(c.vm, c.bar + 0x15, 1), ==, (u8)(generation + 1));
	transmit(&c, frame, sizeof(frame));
	wait_used(&c, TX);
	g_assert_cmpint(recv(c.peer, got, sizeof(got), MSG_DONTWAIT), ==, -1);
	g_assert_cmpint(send(c.peer, frame, sizeof(frame), 0), ==, sizeof(frame));
	wait_taken(&c, 1);
	g_assert_cmpuint(used_index(&c, RX), ==, 0);
	mmio_write(c.vm, c.bar + 0x2006, 2, 1); /* a driver plugs nothing in */
	g_assert_cmphex(link_status(&c), ==, 0);
	c.v->pci.dev.type->reset(&c.v->pci.dev);
	g_assert_cmphex(c.v->config[6], ==, 0);
	card_free(&c);
	card_init(&c, F_MRG_RXBUF);
	set_link(&c, false);
	set_link(&c, true);
	transmit(&c, frame, sizeof(frame));
	g_assert_cmpint(recv(c.peer, got, sizeof(got), 0), ==, sizeof(frame));
	wait_used(&c, TX);
	offer(&c, RX, 0, DATA + 4096, 2048);
	notify(&c, RX);
	g_assert_cmpint(send(c.peer, frame, sizeof(frame), 0), ==, sizeof(frame));
	g_assert_cmpuint(wait_used(&c, RX), ==, sizeof(frame));
	card_free(&c);
}

/* A frame that waits for a buffer while the card is unplugged does not wait on. */
static void test_link_of_waiting_frame(void)
{
	struct card c;
	u8 frame[100] = { 0 };

	card_init(&c, F_MRG_RXBUF);
	g_assert_cmpint(send(c.peer, frame, sizeof(frame), 0), ==, sizeof(frame));
	g_usleep(20000);
	set_link(&c, false);
	wait_taken(&c, 1);
	card_free(&c);
}

/* The plan says how it begins, a saved state how it goes on. */
static void test_link_is_kept(void)
{
	struct card down, up;
	GByteArray *saved = g_byte_array_new();
	const struct device_type *type;
	GError *error = NULL;

	card_init_link(&down, F_MRG_RXBUF, false);
	g_assert_cmphex(link_status(&down), ==, 0);
	card_init(&up, F_MRG_RXBUF);
	type = up.v->pci.dev.type;
	state_save_fields(type->state, (u8 *)down.v, saved);
	type->reset(&up.v->pci.dev);
	g_assert_cmpint(state_load_fields(type->state, (u8 *)up.v, saved->data, saved->len, &error),
			==, 0);
	g_assert_no_error(error);
	g_assert_cmpint(type->post_load(&up.v->pci.dev), ==, 0);
	g_assert_cmphex(link_status(&up), ==, 0);
	g_byte_array_unref(saved);
	card_free(&down);
	card_free(&up);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/net/transmit", test_transmit);
	g_test_add_func("/net/transmit-slow-reader", test_transmit_slow_reader);
	g_test_add_func("/net/receive", test_receive);
	g_test_add_func("/net/receive-too-small", test_receive_too_small);
	g_test_add_func("/net/receive-broken-ring", test_receive_broken_ring);
	g_test_add_func("/net/peer-gone", test_peer_gone);
	g_test_add_func("/net/pause", test_pause);
	g_test_add_func("/net/first-start", test_first_start);
	g_test_add_func("/net/link", test_link);
	g_test_add_func("/net/link-of-waiting-frame", test_link_of_waiting_frame);
	g_test_add_func("/net/link-is-kept", test_link_is_kept);
	return g_test_run();
}
