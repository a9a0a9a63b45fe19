/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One port of virtio-serial: two queues and a console backend. See serial.h.
 *
 *   transmit: notify -> pop -> console_write
 *             no room: the request goes back with a note of how far it got; the console's thread
 *             continues when its reader has read (writable)
 *   receive:  console's thread -> ready() says how large the driver's next buffer is -> receive()
 *             no buffer, or nobody in the guest has the port open: input stays with its sender
 *
 * So neither side waits for the other with a thread of ours, and what is under way is at most one
 * console's buffer.
 */
#include "device/virtio/serial.h"

#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>
#include <string.h>

#define PIECE_BYTES   4096
#define REQUEST_BYTES MIB /* of one request; what a driver puts beyond is dropped */

static struct serial_port *port_of(struct device *dev)
{
	return container_of(dev, struct serial_port, dev);
}

static struct virtq *to_driver(const struct serial_port *p)
{
	return &p->serial->v.queues[serial_queue(p->number)];
}

static struct virtq *from_driver(const struct serial_port *p)
{
	return &p->serial->v.queues[serial_queue(p->number) + 1];
}

static bool may_use_queues(const struct serial_port *p)
{
	return __atomic_load_n(&p->serial->v.running, __ATOMIC_ACQUIRE) &&
	       pci_bus_master(&p->serial->v.pci);
}

/* --- from the guest --- */

/* False: the console takes no more now. */
static bool write_request(struct serial_port *p)
{
	u64 bytes = MIN(p->out.out_bytes, REQUEST_BYTES);
	u8 piece[PIECE_BYTES];

	while (p->console && p->out_done < bytes) {
		size_t n = virtq_chain_read(&p->out, p->out_done, piece,
					    MIN(bytes - p->out_done, sizeof(piece)));
		size_t taken = console_write(p->console, piece, n);

		p->out_done += taken;
		if (taken < n)
			return false;
	}
	p->out_done = 0;
	return true;
}

void serial_port_transmit(struct serial_port *p)
{
	struct virtq *q = from_driver(p);
	bool notify = false, full = false, broken;

	pthread_mutex_lock(&q->lock);
	do {
		virtq_disable_notify(q);
		while (!full && virtq_pop(q, &p->out) > 0) {
			full = !write_request(p);
			if (full)
				virtq_unpop(q, 1);
			else
				virtq_push(q, &p->out, 0);
		}
	} while (!full && virtq_enable_notify(q));
	if (q->used_index != q->signalled)
		notify = virtq_should_notify(q);
	broken = q->broken;
	pthread_mutex_unlock(&q->lock);
	if (notify)
		virtio_notify(&p->serial->v, serial_queue(p->number) + 1);
	if (broken)
		virtio_needs_reset(&p->serial->v, "a port's transmit ring is broken");
}

static void port_writable(void *opaque)
{
	struct serial_port *p = opaque;

	if (may_use_queues(p))
		serial_port_transmit(p);
}

/* --- to the guest --- */

void serial_port_receive(struct serial_port *p)
{
	if (p->console)
		console_accept(p->console);
}

/* How large the driver's next buffer is; 0: there is none, and it will tell. */
static size_t next_buffer_locked(struct serial_port *p, struct virtq *q)
{
	while (virtq_pop(q, &p->in) <= 0)
		if (!virtq_enable_notify(q))
			return 0;
	virtq_unpop(q, 1);
	return p->in.in_bytes;
}

static size_t port_ready(void *opaque)
{
	struct serial_port *p = opaque;
	struct virtq *q = to_driver(p);
	size_t room;

	if (!may_use_queues(p) || !serial_port_open(p->serial, p))
		return 0;
	pthread_mutex_lock(&q->lock);
	room = next_buffer_locked(p, q);
	pthread_mutex_unlock(&q->lock);
	return room;
}

static void port_receive(void *opaque, const u8 *data, size_t bytes)
{
	struct serial_port *p = opaque;
	struct virtq *q = to_driver(p);
	bool notify = false, broken;

	pthread_mutex_lock(&q->lock);
	/* Gone meanwhile only if the driver reset the device: then nobody waits for these bytes. */
	if (virtq_pop(q, &p->in) > 0) {
		virtq_push(q, &p->in, virtq_chain_write(&p->in, 0, data, bytes));
		notify = virtq_should_notify(q);
	}
	broken = q->broken;
	pthread_mutex_unlock(&q->lock);
	if (notify)
		virtio_notify(&p->serial->v, serial_queue(p->number));
	if (broken)
		virtio_needs_reset(&p->serial->v, "a port's receive ring is broken");
}

/* --- life --- */

static void port_connected(void *opaque, bool open)
{
	struct serial_port *p = opaque;

	serial_host_changed(p->serial, p);
}

static void attach(struct serial_port *p, bool on)
{
	const struct console_client client = { .opaque = p,
					       .ready = port_ready,
					       .receive = port_receive,
					       .writable = port_writable,
					       .connected = port_connected };

	if (p->console)
		console_attach(p->console, on ? &client : NULL);
}

void serial_port_forget(struct serial_port *p)
{
	__atomic_store_n(&p->guest_open, false, __ATOMIC_RELAXED);
	p->driver_knows = p->told_open = false;
	p->news = 0;
	p->out_done = 0;
}

static void port_reset(struct device *dev)
{
	/* the controller's reset has had it forget */
}

/* While the machine is stopped input waits where it is. */
static void port_quiesce(struct device *dev)
{
	attach(port_of(dev), false);
}

static void port_resume(struct device *dev)
{
	struct serial_port *p = port_of(dev);

	attach(p, true);
	serial_host_changed(p->serial, p);
	port_writable(p);
}

static void port_resize(struct device *dev, u16 columns, u16 rows)
{
	struct serial_port *p = port_of(dev);

	serial_port_resized(p->serial, p, columns, rows);
}

static int port_realize(struct device *dev, GError **error)
{
	struct serial_port *p = port_of(dev);
	struct device *controller = vm_find_device(dev->vm, p->controller);
	int err;

	if (!controller || controller->type != &device_virtio_serial) {
		g_set_error(error, VM_ERROR, ENODEV,
			    "there is no virtio-serial controller '%s' before it", p->controller);
		return -ENODEV;
	}
	p->serial = container_of(controller, struct virtio_serial, v.pci.dev);
	err = serial_add_port(p->serial, p, error);
	if (err)
		p->serial = NULL;
	else if (p->columns && p->rows)
		serial_port_resized(p->serial, p, p->columns, p->rows);
	return err;
}

static void port_destroy(struct device *dev)
{
	struct serial_port *p = port_of(dev);

	attach(p, false);
	if (p->serial)
		serial_remove_port(p->serial, p);
}

static const struct state_field port_state[] = {
	STATE(struct serial_port, columns),    STATE(struct serial_port, rows),
	STATE(struct serial_port, guest_open), STATE(struct serial_port, driver_knows),
	STATE(struct serial_port, told_open),  STATE(struct serial_port, news),
	STATE(struct serial_port, out_done),   STATE_END,
};

static const struct device_option port_options[] = {
	{ .name = "controller",
	  .kind = OPTION_STRING,
	  .offset = offsetof(struct serial_port, controller),
	  .required = true,
	  .max = 255,
	  .help = "id of its virtio-serial device, which comes before it" },
	{ .name = "port",
	  .kind = OPTION_U8,
	  .offset = offsetof(struct serial_port, number),
	  .max = SERIAL_PORTS_MAX - 1,
	  .help = "number at the controller" },
	{ .name = "name",
	  .kind = OPTION_STRING,
	  .offset = offsetof(struct serial_port, name),
	  .max = SERIAL_NAME_MAX,
	  .help = "by which the guest finds it, as org.qemu.guest_agent.0" },
	{ .name = "console",
	  .kind = OPTION_BOOL,
	  .offset = offsetof(struct serial_port, is_console),
	  .help = "a terminal (hvc) for the guest" },
	{ .name = "columns",
	  .kind = OPTION_U16,
	  .offset = offsetof(struct serial_port, columns),
	  .max = UINT16_MAX,
	  .help = "of the terminal behind it at the start; 0: not known" },
	{ .name = "rows",
	  .kind = OPTION_U16,
	  .offset = offsetof(struct serial_port, rows),
	  .max = UINT16_MAX,
	  .help = "of the terminal behind it at the start" },
	{ .name = "backend",
	  .kind = OPTION_CONSOLE,
	  .offset = offsetof(struct serial_port, console),
	  .help = "what is behind it; nothing if absent" },
	{ .name = NULL },
};

const struct device_type device_virtserialport = {
	.name = "virtserialport",
	.help = "virtio console or channel",
	.bytes = sizeof(struct serial_port),
	.options = port_options,
	.state = port_state,
	.realize = port_realize,
	.reset = port_reset,
	.quiesce = port_quiesce,
	.resume = port_resume,
	.resize = port_resize,
	.destroy = port_destroy,
};
