/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The controller of virtio-serial: what driver and device say to each other about ports (virtio 1.2
 * section 5.3.6). See serial.h.
 *
 *   driver: DEVICE_READY             device: PORT_ADD for each port
 *           PORT_READY  (port)               CONSOLE, NAME, RESIZE, OPEN, as far as they apply
 *           PORT_OPEN   (port, 0 or 1)       OPEN whenever the host's end changes
 *
 * A driver without F_MULTIPORT has port 0 only, always open, and no control queues.
 */
#include "device/virtio/serial.h"

#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>
#include <string.h>

#define ID_CONSOLE 3
#define QUEUE_SIZE 128

#define F_SIZE      BIT(0)
#define F_MULTIPORT BIT(1)

enum event {
	DEVICE_READY,
	PORT_ADD,
	PORT_REMOVE,
	PORT_READY,
	CONSOLE_PORT,
	RESIZE,
	PORT_OPEN,
	PORT_NAME,
};

struct control {
	u32 port;
	u16 event, value;
};

struct config_space {
	u16 columns, rows; /* of port 0, for drivers without F_MULTIPORT */
	u32 max_nr_ports, emerg_wr;
};

/* A message with what follows it: a name with its NUL, or a size. */
#define MESSAGE_MAX (sizeof(struct control) + SERIAL_NAME_MAX + 1)

static struct virtio_serial *serial_of(struct device *dev)
{
	return container_of(dev, struct virtio_serial, v.pci.dev);
}

static struct virtq *control_in(struct virtio_serial *s)
{
	return &s->v.queues[SERIAL_CONTROL_IN];
}

bool serial_port_open(const struct virtio_serial *s, const struct serial_port *port)
{
	return __atomic_load_n(&s->v.running, __ATOMIC_ACQUIRE) &&
	       (__atomic_load_n(&port->guest_open, __ATOMIC_RELAXED) ||
		(!port->number && !virtio_has(&s->v, F_MULTIPORT)));
}

/* --- to the driver --- */

static size_t make_message(struct serial_port *port, enum event event, u8 *out)
{
	struct control c = { .port = port->number, .event = event, .value = 1 };
	/* as the section says; older Linux drivers take the first for rows */
	const u16 size[2] = { port->columns, port->rows };
	size_t bytes = sizeof(c);

	if (event == PORT_NAME) {
		memcpy(out + bytes, port->name, strlen(port->name) + 1);
		bytes += strlen(port->name) + 1;
	} else if (event == RESIZE) {
		memcpy(out + bytes, size, sizeof(size));
		bytes += sizeof(size);
	} else if (event == PORT_OPEN) {
		port->told_open = !port->console || console_connected(port->console);
		c.value = port->told_open;
	}
	memcpy(out, &c, sizeof(c));
	return bytes;
}

/* The next thing a driver is to hear of, in the order it needs; NULL: none. */
static struct serial_port *next_news(struct virtio_serial *s, enum event *event)
{
	static const enum event order[] = { PORT_ADD, CONSOLE_PORT, PORT_NAME, RESIZE, PORT_OPEN };

	for (unsigned i = 0; i < s->port_count; i++) {
		struct serial_port *port = s->ports[i];

		for (unsigned k = 0; port && k < ARRAY_LEN(order); k++) {
			if (!(port->news & BIT(order[k])))
				continue;
			*event = order[k];
			return port;
		}
	}
	return NULL;
}

/* Takes a buffer, asking to be told about new ones if there is none. */
static bool pop_buffer(struct virtq *q, struct virtq_chain *chain)
{
	for (;;) {
		int got = virtq_pop(q, chain);

		if (got)
			return got > 0;
		if (!virtq_enable_notify(q))
			return false;
	}
}

static bool send_news_locked(struct virtio_serial *s)
{
	struct virtq *q = control_in(s);
	u8 message[MESSAGE_MAX];
	struct serial_port *port;
	enum event event;

	while ((port = next_news(s, &event)) && pop_buffer(q, &s->control_in)) {
		size_t bytes = make_message(port, event, message);

		port->news &= ~BIT(event);
		virtq_push(q, &s->control_in, virtq_chain_write(&s->control_in, 0, message, bytes));
	}
	return q->used_index != q->signalled && virtq_should_notify(q);
}

static void send_news(struct virtio_serial *s)
{
	struct virtq *q = control_in(s);
	bool notify = false, broken;

	pthread_mutex_lock(&q->lock);
	if (__atomic_load_n(&s->v.running, __ATOMIC_ACQUIRE) && pci_bus_master(&s->v.pci))
		notify = send_news_locked(s);
	broken = q->broken;
	pthread_mutex_unlock(&q->lock);
	if (notify)
		virtio_notify(&s->v, SERIAL_CONTROL_IN);
	if (broken)
		virtio_needs_reset(&s->v, "the control receive ring is broken");
}

void serial_host_changed(struct virtio_serial *s, struct serial_port *port)
{
	struct virtq *q = control_in(s);
	bool open = !port->console || console_connected(port->console);

	pthread_mutex_lock(&q->lock);
	if (port->driver_knows && port->told_open != open)
		port->news |= BIT(PORT_OPEN);
	pthread_mutex_unlock(&q->lock);
	send_news(s);
}

void serial_port_resized(struct virtio_serial *s, struct serial_port *port, u16 columns, u16 rows)
{
	const u16 size[2] = { columns, rows };
	struct virtq *q = control_in(s);

	pthread_mutex_lock(&q->lock);
	port->columns = columns;
	port->rows = rows;
	if (port->driver_knows && virtio_has(&s->v, F_SIZE))
		port->news |= BIT(RESIZE);
	pthread_mutex_unlock(&q->lock);
	if (!port->number) {
		pthread_mutex_lock(&s->v.lock);
		memcpy(s->v.config, size, sizeof(size));
		virtio_config_changed(&s->v, true);
		pthread_mutex_unlock(&s->v.lock);
	}
	send_news(s);
}

/* --- from the driver --- */

static void device_ready(struct virtio_serial *s)
{
	for (unsigned i = 0; i < s->port_count; i++) {
		struct serial_port *port = s->ports[i];

		if (!port)
			continue;
		port->guest_open = port->driver_knows = port->told_open = false;
		port->news = BIT(PORT_ADD);
	}
}

static void port_ready(struct virtio_serial *s, struct serial_port *port)
{
	port->driver_knows = true;
	if (port->is_console)
		port->news |= BIT(CONSOLE_PORT);
	if (port->is_console && virtio_has(&s->v, F_SIZE) && port->columns)
		port->news |= BIT(RESIZE);
	if (port->name)
		port->news |= BIT(PORT_NAME);
	if (!port->console || console_connected(port->console))
		port->news |= BIT(PORT_OPEN);
}

static void obey(struct virtio_serial *s, const struct control *c)
{
	struct serial_port *port = c->port < s->port_count ? s->ports[c->port] : NULL;

	pthread_mutex_lock(&control_in(s)->lock);
	if (c->event == DEVICE_READY && c->value) {
		device_ready(s);
	} else if (port && c->event == PORT_READY && c->value) {
		port_ready(s, port);
	} else if (port && c->event == PORT_OPEN) {
		__atomic_store_n(&port->guest_open, c->value != 0, __ATOMIC_RELAXED);
		serial_port_receive(port);
	}
	pthread_mutex_unlock(&control_in(s)->lock);
}

/* The queue's lock is dropped for each message, which may take another's. */
static void take_control(struct virtio_serial *s)
{
	struct virtq *q = &s->v.queues[SERIAL_CONTROL_OUT];
	bool notify = false, more = true;

	while (more) {
		struct control c;
		bool got, whole = false;

		pthread_mutex_lock(&q->lock);
		got = virtq_pop(q, &s->control_out) > 0;
		if (got) {
			whole = virtq_chain_read(&s->control_out, 0, &c, sizeof(c)) == sizeof(c);
			virtq_push(q, &s->control_out, 0);
			notify |= virtq_should_notify(q);
		} else {
			more = virtq_enable_notify(q);
		}
		pthread_mutex_unlock(&q->lock);
		if (whole)
			obey(s, &c);
	}
	if (notify)
		virtio_notify(&s->v, SERIAL_CONTROL_OUT);
	send_news(s);
}

static void serial_notify(struct virtio *v, unsigned queue)
{
	struct virtio_serial *s = container_of(v, struct virtio_serial, v);
	unsigned number = queue < 2 ? 0 : queue / 2 - 1;
	struct serial_port *port = number < s->port_count ? s->ports[number] : NULL;

	if (queue == SERIAL_CONTROL_IN)
		send_news(s);
	else if (queue == SERIAL_CONTROL_OUT)
		take_control(s);
	else if (port && queue % 2)
		serial_port_transmit(port);
	else if (port)
		serial_port_receive(port);
}

static void serial_forget(struct virtio *v)
{
	struct virtio_serial *s = container_of(v, struct virtio_serial, v);

	pthread_mutex_lock(&control_in(s)->lock);
	for (unsigned i = 0; i < s->port_count; i++)
		if (s->ports[i])
			serial_port_forget(s->ports[i]);
	pthread_mutex_unlock(&control_in(s)->lock);
}

static const struct virtio_class serial_class = {
	.id = ID_CONSOLE,
	.pci_class = 0x078000,
	.notify = serial_notify,
	.forget = serial_forget,
};

/* --- ports come and go --- */

int serial_add_port(struct virtio_serial *s, struct serial_port *port, GError **error)
{
	if (port->number >= s->port_count || s->ports[port->number]) {
		g_set_error(error, VM_ERROR, EINVAL, "port %u of '%s' is %s", port->number,
			    s->v.pci.dev.id,
			    port->number < s->port_count ? "taken" : "beyond the last one");
		return -EINVAL;
	}
	s->ports[port->number] = port;
	return 0;
}

void serial_remove_port(struct virtio_serial *s, struct serial_port *port)
{
	s->ports[port->number] = NULL;
}

static int serial_realize(struct device *dev, GError **error)
{
	struct virtio_serial *s = serial_of(dev);
	const struct config_space c = { .max_nr_ports = s->port_count };

	memcpy(s->v.config, &c, sizeof(c));
	return virtio_realize(&s->v, &serial_class, F_SIZE | F_MULTIPORT, 2 * s->port_count + 2,
			      QUEUE_SIZE, sizeof(c), error);
}

static const struct state_field serial_state[] = {
	VIRTIO_STATE(struct virtio_serial, v),
	STATE_END,
};

static const struct device_option serial_options[] = {
	VIRTIO_OPTIONS(struct virtio_serial, v),
	{ .name = "ports",
	  .kind = OPTION_U32,
	  .offset = offsetof(struct virtio_serial, port_count),
	  .init = SERIAL_PORTS_MAX,
	  .min = 1,
	  .max = SERIAL_PORTS_MAX,
	  .help = "how many ports there can be" },
	{ .name = NULL },
};

const struct device_type device_virtio_serial = {
	.name = "virtio-serial",
	.help = "virtio console and channel controller",
	.bytes = sizeof(struct virtio_serial),
	.flags = DEVICE_PCI,
	.options = serial_options,
	.state = serial_state,
	.realize = serial_realize,
	.reset = virtio_reset,
	.resume = virtio_resume,
	.post_load = virtio_post_load,
	.destroy = virtio_destroy,
};
