/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-serial as a driver sees it: ports and their names are told, bytes go both ways through
 * real sockets, readers that sleep and guests that do not listen hold their own bytes back and
 * nothing else, and a driver that lies harms only itself.
 */
#include "device/virtio/serial.h"
#include "machine/pci.h"
#include "testvm.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RINGS      0x10000ull
#define RING_STEP  0x4000ull
#define DATA       0x100000ull /* 4 KiB for each entry of each queue */
#define SIZE       16
#define QUEUES     8
#define F_SIZE     BIT(0)
#define F_MULTI    BIT(1)
#define AGENT      "org.qemu.guest_agent.0"
#define CONTROL_RX 2
#define CONTROL_TX 3

enum {
	DEVICE_READY,
	PORT_ADD,
	PORT_REMOVE,
	PORT_READY,
	CONSOLE_PORT,
	RESIZE,
	PORT_OPEN,
	PORT_NAME
};

struct message {
	u32 port;
	u16 event, value;
	char rest[64];
};

struct fixture {
	struct vm *vm;
	struct virtio *v;
	struct console *consoles[2];
	int far[2]; /* the other ends */
	u64 bar;
	u16 next[QUEUES], used[QUEUES];
};

/* --- the driver --- */

static void common(struct fixture *f, unsigned offset, unsigned size, u64 value)
{
	mmio_write(f->vm, f->bar + offset, size, value);
}

static gpa_t data(unsigned queue, unsigned entry)
{
	return DATA + (queue * SIZE + entry % SIZE) * PAGE_SIZE;
}

/* Puts one buffer of @bytes into @queue, for the device to read or to write. */
static void put(struct fixture *f, unsigned queue, u32 bytes, bool device_writes)
{
	u16 entry = f->next[queue] % SIZE, index = ++f->next[queue];
	gpa_t rings = RINGS + queue * RING_STEP;
	const struct {
		u64 address;
		u32 bytes;
		u16 flags, next;
	} desc = { data(queue, entry), bytes, device_writes ? 2 : 0, 0 };

	vm_mem_write(f->vm, rings + 16 * entry, &desc, 16);
	vm_mem_write(f->vm, rings + 0x1000 + 4 + 2 * entry, &entry, 2);
	vm_mem_write(f->vm, rings + 0x1000 + 2, &index, 2);
	mmio_write(f->vm, f->bar + 0x3000 + 4 * queue, 2, queue);
}

static u16 used_index(struct fixture *f, unsigned queue)
{
	return __atomic_load_n((u16 *)vm_mem_ptr(f->vm, RINGS + queue * RING_STEP + 0x2002, 2),
			       __ATOMIC_ACQUIRE);
}

static bool answered(struct fixture *f, unsigned queue)
{
	return used_index(f, queue) != f->used[queue];
}

/* The next used buffer of @queue: its length, and its bytes in @out. */
static u32 take(struct fixture *f, unsigned queue, void *out, size_t bytes)
{
	u32 element[2];

	for (int i = 0; !answered(f, queue); i++) {
		g_assert_cmpint(i, <, 20000);
		g_usleep(500);
	}
	vm_mem_read(f->vm, RINGS + queue * RING_STEP + 0x2004 + 8 * (f->used[queue]++ % SIZE),
		    element, 8);
	if (out)
		vm_mem_read(f->vm, data(queue, element[0]), out, MIN(bytes, element[1]));
	return element[1];
}

static void start(struct fixture *f, u64 features)
{
	common(f, 0x14, 1, 0);
	common(f, 0x14, 1, 3);
	common(f, 0x08, 4, 0);
	common(f, 0x0c, 4, features);
	common(f, 0x08, 4, 1);
	common(f, 0x0c, 4, 1);
	common(f, 0x14, 1, 11);
	vm_mem_zero(f->vm, RINGS, QUEUES * RING_STEP);
	for (unsigned i = 0; i < QUEUES; i++) {
		u64 rings = RINGS + i * RING_STEP;

		common(f, 0x16, 2, i);
		common(f, 0x18, 2, SIZE);
		common(f, 0x20, 8, rings);
		common(f, 0x28, 8, rings + 0x1000);
		common(f, 0x30, 8, rings + 0x2000);
		common(f, 0x1c, 2, 1);
		f->next[i] = f->used[i] = 0;
	}
	common(f, 0x14, 1, 15);
	g_assert_cmphex(mmio_read(f->vm, f->bar + 0x14, 1), ==, 15);
}

static void say(struct fixture *f, u32 port, u16 event, u16 value)
{
	const struct message m = { port, event, value, "" };

	vm_mem_write(f->vm, data(CONTROL_TX, f->next[CONTROL_TX]), &m, 8);
	put(f, CONTROL_TX, 8, false);
	take(f, CONTROL_TX, NULL, 0);
}

static struct message hear(struct fixture *f)
{
	struct message m = { .port = 99 };

	take(f, CONTROL_RX, &m, sizeof(m));
	put(f, CONTROL_RX, sizeof(m), true);
	return m;
}

static void expect(struct fixture *f, u32 port, u16 event, u16 value)
{
	struct message m = hear(f);

	g_assert_cmpuint(m.port, ==, port);
	g_assert_cmpuint(m.event, ==, event);
	g_assert_cmpuint(m.value, ==, value);
}

static void give_control_buffers(struct fixture *f)
{
	for (unsigned i = 0; i < SIZE; i++)
		put(f, CONTROL_RX, sizeof(struct message), true);
}

/* --- the machine: port 0 a console, port 1 a channel --- */

static struct console *socket_console(int *far)
{
	struct console_config config = { .driver = "fd" };
	struct console *console;
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	config.fd_in = config.fd_out = pair[0];
	*far = pair[1];
	console = console_open(&config, NULL);
	g_assert_nonnull(console);
	return console;
}

static struct device *add_port(struct fixture *f, unsigned number, const char *name)
{
	char id[16];
	struct device *dev;

	g_snprintf(id, sizeof(id), "port%u", number);
	dev = test_device_new(f->vm, "virtserialport", id);
	device_set_string(dev, "controller", "serial", NULL);
	device_set_number(dev, "port", number, NULL);
	device_set_bool(dev, "console", !name, NULL);
	if (name)
		device_set_string(dev, "name", name, NULL);
	device_set_backend(dev, "backend", OPTION_CONSOLE, f->consoles[number], NULL);
	test_device_realize(dev);
	return dev;
}

/* @channel is port 1's console, or NULL for a socket of its own. */
static void init(struct fixture *f, struct console *channel)
{
	struct device *dev;

	memset(f, 0, sizeof(*f));
	f->vm = test_vm_new(1, 4 * MIB);
	f->far[1] = -1;
	f->consoles[0] = socket_console(&f->far[0]);
	f->consoles[1] = channel ? channel : socket_console(&f->far[1]);
	dev = test_device_new(f->vm, "virtio-serial", "serial");
	device_set_number(dev, "slot", 5, NULL);
	test_device_realize(dev);
	f->v = container_of(dev, struct virtio, pci.dev);
	add_port(f, 0, NULL);
	add_port(f, 1, AGENT);
	pci_assign(f->vm);
	memcpy(&f->bar, f->v->pci.config + PCI_BAR0, 8);
	f->bar &= ~15ull;
	mmio_write(f->vm, 0xb0000000 + (5 << 15) + PCI_COMMAND, 2,
		   PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (guint i = 0; i < f->vm->devices->len; i++) {
		dev = g_ptr_array_index(f->vm->devices, i);
		if (dev->type->resume)
			dev->type->resume(dev);
	}
}

static void finish(struct fixture *f)
{
	vm_free(f->vm);
	for (unsigned i = 0; i < 2; i++) {
		int fd = f->far[i];

		console_close(f->consoles[i]);
		if (fd >= 0)
			close(fd);
	}
}

/* As Linux does it: both ports are made known, the channel is opened. */
static void bring_up(struct fixture *f)
{
	struct message m;

	start(f, F_SIZE | F_MULTI);
	give_control_buffers(f);
	say(f, 0, DEVICE_READY, 1);
	expect(f, 0, PORT_ADD, 1);
	expect(f, 1, PORT_ADD, 1);
	say(f, 0, PORT_READY, 1);
	expect(f, 0, CONSOLE_PORT, 1);
	expect(f, 0, PORT_OPEN, 1);
	say(f, 1, PORT_READY, 1);
	m = hear(f);
	g_assert_cmpuint(m.port, ==, 1);
	g_assert_cmpuint(m.event, ==, PORT_NAME);
	g_assert_cmpstr(m.rest, ==, AGENT);
}

/* The queue to the driver of @port, and from it. */
static unsigned rx(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

static unsigned tx(unsigned port)
{
	return rx(port) + 1;
}

static void transmit(struct fixture *f, unsigned port, const void *bytes, size_t count)
{
	vm_mem_write(f->vm, data(tx(port), f->next[tx(port)]), bytes, count);
	put(f, tx(port), count, false);
}

static void expect_far(int fd, const char *text)
{
	char buf[64] = "";
	size_t got = 0;

	while (got < strlen(text)) {
		ssize_t n = recv(fd, buf + got, strlen(text) - got, 0);

		g_assert_cmpint(n, >, 0);
		got += n;
	}
	g_assert_cmpstr(buf, ==, text);
}

/* --- tests --- */

static void test_ports(void)
{
	struct fixture f;
	char buf[64] = "";

	init(&f, NULL);
	g_assert_cmpuint(mmio_read(f.vm, f.bar + 0x2004, 4), ==, 31); /* max_nr_ports */
	g_assert_cmpuint(mmio_read(f.vm, f.bar + 0x12, 2), ==, 64);   /* queues */
	bring_up(&f);
	expect(&f, 1, PORT_OPEN, 1);
	transmit(&f, 0, "hello\n", 6);
	take(&f, tx(0), NULL, 0);
	expect_far(f.far[0], "hello\n");
	/* input waits until the driver has a buffer and has the port open */
	g_assert_cmpint(send(f.far[1], "ping", 4, 0), ==, 4);
	put(&f, rx(1), 64, true);
	g_usleep(20000);
	g_assert_false(answered(&f, rx(1)));
	say(&f, 1, PORT_OPEN, 1);
	g_assert_cmpuint(take(&f, rx(1), buf, sizeof(buf)), ==, 4);
	g_assert_cmpstr(buf, ==, "ping");
	transmit(&f, 1, "pong", 4);
	expect_far(f.far[1], "pong");
	/* and in pieces, as the buffers are */
	g_assert_cmpint(send(f.far[1], "abcdef", 6, 0), ==, 6);
	put(&f, rx(1), 4, true);
	put(&f, rx(1), 4, true);
	g_assert_cmpuint(take(&f, rx(1), buf, sizeof(buf)), ==, 4);
	g_assert_cmpuint(take(&f, rx(1), buf, sizeof(buf)), ==, 2);
	g_assert_cmpmem(buf, 2, "ef", 2);
	finish(&f);
}

/* The host's end comes and goes: the driver is told. */
static void test_host_connects(void)
{
	struct console_config config = { .driver = "listen" };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length = sizeof(address);
	struct fixture f;
	char buf[16] = "";

	config.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* the kernel chooses an abstract name */
	g_assert_cmpint(bind(config.fd, (struct sockaddr *)&address, sizeof(sa_family_t)), ==, 0);
	g_assert_cmpint(getsockname(config.fd, (struct sockaddr *)&address, &length), ==, 0);
	g_assert_cmpint(listen(config.fd, 1), ==, 0);
	init(&f, console_open(&config, NULL));
	bring_up(&f); /* without an OPEN: nobody is there */
	for (unsigned i = 0; i < 3; i++) {
		int far = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		g_assert_cmpint(connect(far, (struct sockaddr *)&address, length), ==, 0);
		expect(&f, 1, PORT_OPEN, 1);
		transmit(&f, 1, "x", 1);
		take(&f, tx(1), NULL, 0);
		expect_far(far, "x");
		/* what was sent before it left arrives, also when nobody listened then */
		g_assert_cmpint(send(far, "bye", 3, 0), ==, 3);
		close(far);
		say(&f, 1, PORT_OPEN, 1);
		put(&f, rx(1), 16, true);
		g_assert_cmpuint(take(&f, rx(1), buf, sizeof(buf)), ==, 3);
		g_assert_cmpstr(buf, ==, "bye");
		expect(&f, 1, PORT_OPEN, 0);
		say(&f, 1, PORT_OPEN, 0);
	}
	/* output without a reader is gone, not stuck */
	transmit(&f, 1, "lost", 4);
	take(&f, tx(1), NULL, 0);
	finish(&f);
}

/* A reader that does not read: requests wait, in order, and the vCPU does not. */
static void test_slow_reader(void)
{
	struct fixture f;
	u8 piece[4096], *back;
	size_t sent = 0, got = 0;
	unsigned waiting = 0;

	init(&f, NULL);
	bring_up(&f);
	expect(&f, 1, PORT_OPEN, 1);
	while (waiting < SIZE) {
		for (unsigned i = 0; i < sizeof(piece); i++)
			piece[i] = (sent + i) % 251;
		transmit(&f, 1, piece, sizeof(piece));
		sent += sizeof(piece);
		g_assert_cmpuint(sent, <, 16 * MIB); /* else nothing would hold it back */
		if (answered(&f, tx(1)))
			take(&f, tx(1), NULL, 0);
		else
			waiting++;
	}
	/* other ports go on meanwhile */
	transmit(&f, 0, "still\n", 6);
	expect_far(f.far[0], "still\n");
	back = g_malloc(sent);
	while (got < sent) {
		ssize_t n = recv(f.far[1], back + got, sent - got, 0);

		g_assert_cmpint(n, >, 0);
		got += n;
	}
	for (size_t i = 0; i < sent; i++)
		g_assert_cmpuint(back[i], ==, i % 251);
	for (; waiting; waiting--)
		take(&f, tx(1), NULL, 0);
	g_free(back);
	finish(&f);
}

/* A reader that goes away while requests wait for it lets them go. */
static void test_reader_leaves(void)
{
	struct fixture f;
	u8 piece[4096] = { 0 };
	unsigned waiting = 0;

	init(&f, NULL);
	bring_up(&f);
	expect(&f, 1, PORT_OPEN, 1);
	while (waiting < SIZE) {
		transmit(&f, 1, piece, sizeof(piece));
		if (answered(&f, tx(1)))
			take(&f, tx(1), NULL, 0);
		else
			waiting++;
	}
	close(f.far[1]);
	f.far[1] = -1;
	for (; waiting; waiting--)
		take(&f, tx(1), NULL, 0);
	expect(&f, 1, PORT_OPEN, 0);
	finish(&f);
}

static void test_resize(void)
{
	struct fixture f;
	struct device *console;
	struct message m;
	u16 size[2];

	init(&f, NULL);
	bring_up(&f);
	expect(&f, 1, PORT_OPEN, 1);
	console = vm_find_device(f.vm, "port0");
	console->type->resize(console, 132, 50);
	m = hear(&f);
	g_assert_cmpuint(m.port, ==, 0);
	g_assert_cmpuint(m.event, ==, RESIZE);
	memcpy(size, m.rest, sizeof(size));
	g_assert_cmpuint(size[0], ==, 132);
	g_assert_cmpuint(size[1], ==, 50);
	/* and where drivers of one port look */
	g_assert_cmpuint(mmio_read(f.vm, f.bar + 0x2000, 2), ==, 132);
	g_assert_cmpuint(mmio_read(f.vm, f.bar + 0x2002, 2), ==, 50);
	/* a driver that starts later hears it as well */
	start(&f, F_SIZE | F_MULTI);
	give_control_buffers(&f);
	say(&f, 0, DEVICE_READY, 1);
	expect(&f, 0, PORT_ADD, 1);
	expect(&f, 1, PORT_ADD, 1);
	say(&f, 0, PORT_READY, 1);
	expect(&f, 0, CONSOLE_PORT, 1);
	expect(&f, 0, RESIZE, 1);
	finish(&f);
}

/* A driver that knows nothing of ports has one. */
static void test_single_port(void)
{
	struct fixture f;
	char buf[16] = "";

	init(&f, NULL);
	start(&f, 0);
	transmit(&f, 0, "plain", 5);
	expect_far(f.far[0], "plain");
	put(&f, rx(0), 16, true);
	g_assert_cmpint(send(f.far[0], "in", 2, 0), ==, 2);
	g_assert_cmpuint(take(&f, rx(0), buf, sizeof(buf)), ==, 2);
	g_assert_cmpstr(buf, ==, "in");
	finish(&f);
}

/* Ports that are not there, messages that are cut, buffers too small for an answer. */
static void test_liar(void)
{
	struct fixture f;
	const u16 head = 200;

	init(&f, NULL);
	start(&f, F_MULTI);
	for (unsigned i = 0; i < 4; i++)
		put(&f, CONTROL_RX, 3, true);
	say(&f, 0xffffffff, PORT_READY, 1);
	say(&f, 30, PORT_OPEN, 1);
	say(&f, 7, 0xffff, 0xffff);
	put(&f, CONTROL_TX, 2, false);
	take(&f, CONTROL_TX, NULL, 0);
	say(&f, 0, DEVICE_READY, 1);
	g_assert_cmpuint(take(&f, CONTROL_RX, NULL, 0), ==, 3);
	g_assert_cmpuint(take(&f, CONTROL_RX, NULL, 0), ==, 3);
	/* a ring whose entry does not exist costs the driver the device */
	vm_mem_write(f.vm, RINGS + tx(1) * RING_STEP + 0x1004 + 2 * (f.next[tx(1)] % SIZE), &head,
		     2);
	put(&f, tx(1), 1, false);
	vm_mem_write(f.vm, RINGS + tx(1) * RING_STEP + 0x1004, &head, 2);
	start(&f, F_MULTI);
	give_control_buffers(&f);
	finish(&f);
}

/* Wrong plans. */
static void test_refused(void)
{
	static const struct {
		const char *controller;
		unsigned number;
		const char *text;
	} cases[] = { { "nobody", 2, "no virtio-serial controller 'nobody' before it" },
		      { "pit", 2, "no virtio-serial controller 'pit' before it" },
		      { "serial", 1, "port 1 of 'serial' is taken" } };
	struct fixture f;

	init(&f, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		GError *error = NULL;
		char id[16];
		struct device *dev;

		g_snprintf(id, sizeof(id), "wrong%u", i);
		dev = test_device_new(f.vm, "virtserialport", id);
		device_set_string(dev, "controller", cases[i].controller, NULL);
		device_set_number(dev, "port", cases[i].number, NULL);
		g_assert_cmpint(device_realize(dev, &error), <, 0);
		g_assert_nonnull(strstr(error->message, cases[i].text));
		g_error_free(error);
	}
	finish(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtio-serial/ports", test_ports);
	g_test_add_func("/virtio-serial/host-connects", test_host_connects);
	g_test_add_func("/virtio-serial/slow-reader", test_slow_reader);
	g_test_add_func("/virtio-serial/reader-leaves", test_reader_leaves);
	g_test_add_func("/virtio-serial/resize", test_resize);
	g_test_add_func("/virtio-serial/single-port", test_single_port);
	g_test_add_func("/virtio-serial/liar", test_liar);
	g_test_add_func("/virtio-serial/refused", test_refused);
	return g_test_run();
}
