/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every virtio device there is, and a driver that lies: registers, rings and requests in any order,
 * on real backends. No device ends the process, and after a reset each works from the start.
 *
 *   input: u8 device, then operations: u8 what, its numbers
 */
#include "block/block.h"
#include "console/console.h"
#include "device/types.h"
#include "device/virtio/virtio.h"
#include "fuzz.h"
#include "net/net.h"
#include "testvm.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

const size_t fuzz_bytes_max = 2 * KIB;
const bool fuzz_text = false;

#define MEMORY    (4 * MIB)
#define RINGS     0x10000ull
#define RING_STEP 0x4000ull /* a queue's descriptors, available and used ring */
#define QUEUES    6         /* that are set up */
#define SIZE      16
#define ID_SERIAL 3
#define DATA      0x100000ull
#define DATA_MASK 0x1ffffull

enum operation {
	SETUP,
	REGISTER,
	PUT_DESC,
	PUT_DATA,
	OFFER,
	NOTIFY,
	PUT_WORD,
	FRAME,
	TIME,
	PAUSE,
	RESET,
	OPERATIONS
};

struct machine {
	struct vm *vm;
	struct virtio *v;
	struct block *block;
	struct net *net;
	struct console *console;
	int wire;    /* the other end of the network */
	int line[2]; /* the console's end and the other one, which nobody reads */
	u64 bar;
	u16 next[QUEUES];
};

/* --- the machine --- */

static const struct device_type *virtio_type(unsigned number)
{
	const struct device_type *types[32];
	unsigned count = 0;

	for (unsigned i = 0; device_types[i] && count < ARRAY_LEN(types); i++)
		if (g_str_has_prefix(device_types[i]->name, "virtio-"))
			types[count++] = device_types[i];
	return types[number % count];
}

static void open_backends(struct machine *m)
{
	struct console_config console = { .driver = "fd" };
	struct block_config block = { .driver = "raw", .discard = true, .no_uring = true };
	struct net_config net = { .driver = "socket" };
	int pair[2];

	block.fd = memfd_create("disk", MFD_CLOEXEC);
	FUZZ_CHECK(block.fd >= 0 && ftruncate(block.fd, MIB) == 0);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	net.fd = pair[0];
	m->wire = pair[1];
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, m->line) == 0);
	console.fd_in = console.fd_out = m->line[0];
	m->block = block_open(&block, NULL);
	m->net = net_open(&net, NULL);
	m->console = console_open(&console, NULL);
	FUZZ_CHECK(m->block && m->net && m->console);
}

static void connect_backends(struct machine *m, struct device *dev)
{
	for (const struct device_option *o = dev->type->options; o && o->name; o++) {
		if (o->kind == OPTION_BLOCK)
			device_set_backend(dev, o->name, o->kind, m->block, NULL);
		else if (o->kind == OPTION_NET)
			device_set_backend(dev, o->name, o->kind, m->net, NULL);
		else if (o->kind == OPTION_CONSOLE)
			device_set_backend(dev, o->name, o->kind, m->console, NULL);
		else if (o->kind == OPTION_MAC)
			device_set_string(dev, o->name, "52:54:00:00:00:01", NULL);
	}
}

/* A console without and a channel with something behind it. */
static void add_ports(struct machine *m)
{
	for (unsigned i = 0; i < 2; i++) {
		struct device *port = test_device_new(m->vm, "virtserialport", i ? "one" : "zero");

		device_set_string(port, "controller", "dut", NULL);
		device_set_number(port, "port", i, NULL);
		device_set_bool(port, "console", !i, NULL);
		if (i) {
			device_set_string(port, "name", "channel", NULL);
			connect_backends(m, port);
		}
		test_device_realize(port);
	}
}

static void build(struct machine *m, const struct device_type *type)
{
	struct device *dev;

	open_backends(m);
	m->vm = test_vm_new(1, MEMORY);
	dev = test_device_new(m->vm, type->name, "dut");
	device_set_number(dev, "slot", 5, NULL);
	connect_backends(m, dev);
	test_device_realize(dev);
	m->v = container_of(dev, struct virtio, pci.dev);
	if (m->v->class->id == ID_SERIAL)
		add_ports(m);
	pci_assign(m->vm);
	memcpy(&m->bar, m->v->pci.config + PCI_BAR0, 8);
	m->bar &= ~15ull;
	mmio_write(m->vm, 0xb0000000 + (5 << 15) + PCI_COMMAND, 2,
		   PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void destroy(struct machine *m)
{
	vm_free(m->vm);
	block_close(m->block);
	net_close(m->net);
	console_close(m->console);
	close(m->wire);
	close(m->line[0]);
	close(m->line[1]);
}

/* --- the driver --- */

static void common_write(struct machine *m, unsigned offset, unsigned size, u64 value)
{
	mmio_write(m->vm, m->bar + offset, size, value);
}

/* As a good driver begins, with the features of @features that there are. */
static void setup(struct machine *m, u64 features)
{
	common_write(m, 0x14, 1, 0);
	common_write(m, 0x14, 1, 3);
	features = (features | VIRTIO_F_VERSION_1) & m->v->features;
	common_write(m, 0x08, 4, 0);
	common_write(m, 0x0c, 4, (u32)features);
	common_write(m, 0x08, 4, 1);
	common_write(m, 0x0c, 4, features >> 32);
	common_write(m, 0x14, 1, 11);
	for (unsigned i = 0; i < QUEUES; i++) {
		u64 rings = RINGS + i * RING_STEP;

		common_write(m, 0x16, 2, i);
		common_write(m, 0x18, 2, SIZE);
		common_write(m, 0x20, 8, rings);
		common_write(m, 0x28, 8, rings + 0x1000);
		common_write(m, 0x30, 8, rings + 0x2000);
		common_write(m, 0x1c, 2, 1);
		m->next[i] = 0;
	}
	vm_mem_zero(m->vm, RINGS, QUEUES * RING_STEP);
	common_write(m, 0x14, 1, 15);
}

static void put_desc(struct machine *m, struct fuzz_bytes *in)
{
	u8 queue = fuzz_take(in, 1) % QUEUES, index = fuzz_take(in, 1) % (2 * SIZE);
	struct {
		u64 address;
		u32 bytes;
		u16 flags, next;
	} desc;

	desc.address = DATA + fuzz_take(in, 3);
	desc.bytes = fuzz_take(in, 3);
	desc.flags = fuzz_take(in, 1);
	desc.next = fuzz_take(in, 1);
	vm_mem_write(m->vm, RINGS + queue * RING_STEP + 16 * index, &desc, sizeof(desc));
}

static void put_data(struct machine *m, struct fuzz_bytes *in)
{
	gpa_t at = DATA + (fuzz_take(in, 3) & DATA_MASK);
	unsigned n = fuzz_take(in, 1) % 64;

	for (; n; n -= MIN(n, 8), at += 8) {
		u64 value = fuzz_take(in, MIN(n, 8));

		vm_mem_write(m->vm, at, &value, 8);
	}
}

static void offer(struct machine *m, unsigned queue, u16 head)
{
	gpa_t avail = RINGS + queue * RING_STEP + 0x1000;
	u16 index = m->next[queue] + 1;

	vm_mem_write(m->vm, avail + 4 + 2 * (m->next[queue]++ % SIZE), &head, 2);
	vm_mem_write(m->vm, avail + 2, &index, 2);
}

static void access_register(struct machine *m, struct fuzz_bytes *in)
{
	u16 offset = fuzz_take(in, 2);
	u8 how = fuzz_take(in, 1);
	u64 value = fuzz_take(in, 8);
	gpa_t at = m->bar + (offset & ~((1u << (how & 3)) - 1));

	if (how & 0x80)
		mmio_write(m->vm, at, 1 << (how & 3), value);
	else
		mmio_read(m->vm, at, 1 << (how & 3));
}

/* A frame or input arrives, and the backend's thread gets time to deliver it. */
static void receive_frame(struct machine *m, unsigned bytes)
{
	u8 frame[2048] = { 0 };
	bool serial = m->v->class->id == ID_SERIAL;

	if (m->v->class->id != 1 && !serial)
		return;
	if (send(serial ? m->line[1] : m->wire, frame, MIN(bytes, sizeof(frame)), MSG_DONTWAIT) > 0)
		g_usleep(100);
}

static void pause_and_resume(struct machine *m)
{
	for (int resume = 0; resume < 2; resume++)
		for (guint i = 0; i < m->vm->devices->len; i++) {
			struct device *dev = g_ptr_array_index(m->vm->devices, i);
			void (*f)(struct device *) =
				resume ? dev->type->resume : dev->type->quiesce;

			if (f)
				f(dev);
		}
}

static void operate(struct machine *m, struct fuzz_bytes *in)
{
	unsigned queue;
	u16 value;

	switch ((enum operation)(fuzz_take(in, 1) % OPERATIONS)) {
	case SETUP: setup(m, fuzz_take(in, 8)); break;
	case REGISTER: access_register(m, in); break;
	case PUT_DESC: put_desc(m, in); break;
	case PUT_DATA: put_data(m, in); break;
	case OFFER:
		queue = fuzz_take(in, 1) % QUEUES;
		offer(m, queue, fuzz_take(in, 1));
		break;
	case NOTIFY: common_write(m, 0x3000 + 4 * (fuzz_take(in, 1) % QUEUES), 2, 0); break;
	case PUT_WORD:
		queue = fuzz_take(in, 2) % (QUEUES * RING_STEP);
		value = fuzz_take(in, 2);
		vm_mem_write(m->vm, RINGS + queue, &value, 2);
		break;
	case FRAME: receive_frame(m, fuzz_take(in, 2)); break;
	case TIME: vm_clock_advance(&m->vm->clock, fuzz_take(in, 4)); break;
	case PAUSE: pause_and_resume(m); break;
	case RESET: FUZZ_CHECK(vm_reset(m->vm, NULL) == 0); break;
	case OPERATIONS: break;
	}
}

/* --- seeds --- */

static void give_desc(GByteArray *seed, u8 queue, u8 index, u32 offset, u32 bytes, u8 flags,
		      u8 next)
{
	fuzz_give(seed, PUT_DESC, 1);
	fuzz_give(seed, queue, 1);
	fuzz_give(seed, index, 1);
	fuzz_give(seed, offset, 3);
	fuzz_give(seed, bytes, 3);
	fuzz_give(seed, flags, 1);
	fuzz_give(seed, next, 1);
}

static void give_pair(GByteArray *seed, enum operation operation, u8 a, u8 b)
{
	fuzz_give(seed, operation, 1);
	fuzz_give(seed, a, 1);
	if (operation == OFFER)
		fuzz_give(seed, b, 1);
}

/* A request of a header, a buffer and a status byte in each queue of each device, with header type
 * @index, and time to answer. */
bool fuzz_seed(unsigned index, GByteArray *seed)
{
	if (index >= 64)
		return false;
	fuzz_give(seed, index % 8, 1);
	fuzz_give(seed, SETUP, 1);
	fuzz_give(seed, index & 16 ? UINT64_MAX : 0, 8);
	fuzz_give(seed, PUT_DATA, 1);
	fuzz_give(seed, 0, 3);
	fuzz_give(seed, 16, 1);
	fuzz_give(seed, index / 8 * 2 + index % 2, 8);
	fuzz_give(seed, 8, 8);
	for (u8 queue = 0; queue < QUEUES; queue++) {
		give_desc(seed, queue, 0, 0, 16, 1, 1);
		give_desc(seed, queue, 1, 0x1000, 0x400, index & 8 ? 3 : 1, 2);
		give_desc(seed, queue, 2, 0x2000, 1, 2, 0);
		give_desc(seed, queue, 3, 0x3000, 0x800, 2, 0);
		give_pair(seed, OFFER, queue, index & 32 ? 3 : 0);
		give_pair(seed, OFFER, queue, 0);
		give_pair(seed, NOTIFY, queue, 0);
	}
	fuzz_give(seed, FRAME, 1);
	fuzz_give(seed, 90, 2);
	fuzz_give(seed, PAUSE, 1);
	fuzz_give(seed, TIME, 1);
	fuzz_give(seed, 1000000000, 4);
	fuzz_give(seed, RESET, 1);
	fuzz_give(seed, SETUP, 1);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes in = { data, size };
	struct machine m = { .bar = 0 };

	build(&m, virtio_type(fuzz_take(&in, 1)));
	vm_clock_run(&m.vm->clock, true);
	while (in.left)
		operate(&m, &in);
	FUZZ_CHECK(vm_reset(m.vm, NULL) == 0);
	setup(&m, UINT64_MAX); /* may fail where BARs have moved, but not harm */
	destroy(&m);
	return 0;
}
