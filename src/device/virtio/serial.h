/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-serial (virtio 1.2 section 5.3, "Console Device"): a controller and its ports.
 *
 *   virtio-serial   one PCI function: control queues, the ports' flags            serial.c
 *   virtserialport  one port: bytes between its two queues and a console backend  serial_port.c
 *
 * A port is a device of its own that names its controller, so that ports are listed, saved and one
 * day plugged like everything else. Port N has the queues 2N + 2 and 2N + 3, but port 0 has 0 and
 * 1, because 2 and 3 are the controller's.
 *
 * What the driver has to be told is kept as bits, one set a port, not as a list of messages:
 * however slow it is, it hears the latest state of everything, and nothing grows.
 *
 * Locks: the lock of the control receive queue guards the flags of all ports; a data queue's lock
 * guards what its direction needs. Never two of them at once.
 */
#ifndef LODGE_DEVICE_VIRTIO_SERIAL_H
#define LODGE_DEVICE_VIRTIO_SERIAL_H

#include "console/console.h"
#include "device/virtio/virtio.h"

#define SERIAL_PORTS_MAX 31 /* as many as virtio's queues allow */
#define SERIAL_NAME_MAX  255

enum { SERIAL_CONTROL_IN = 2, SERIAL_CONTROL_OUT = 3 }; /* queues; in: to the driver */

struct serial_port;

struct virtio_serial {
	struct virtio v;
	u32 port_count;                              /* option: how many there can be */
	struct serial_port *ports[SERIAL_PORTS_MAX]; /* that there are */
	struct virtq_chain control_in, control_out;  /* each under its queue's lock */
};

struct serial_port {
	struct device dev;
	struct virtio_serial *serial;
	struct console *console; /* or NULL */
	char *controller, *name; /* options */
	u8 number;
	bool is_console;
	u16 columns, rows; /* of the terminal behind it, 0: not known */

	bool guest_open;   /* the driver has it open */
	bool driver_knows; /* it has answered PORT_READY */
	bool told_open;    /* what it heard of the host's end */
	u8 news;           /* BIT() of the messages that it is to get */

	u32 out_done;               /* bytes of the next transmitted request that are through */
	struct virtq_chain in, out; /* each under its queue's lock */
};

/* --- serial.c --- */

extern const struct device_type device_virtio_serial;

/* In a port's realize and destroy. -errno with @error set if the number is wrong or taken. */
int serial_add_port(struct virtio_serial *serial, struct serial_port *port, GError **error);
void serial_remove_port(struct virtio_serial *serial, struct serial_port *port);
/* Any thread: the host's end of @port was opened or closed. */
void serial_host_changed(struct virtio_serial *serial, struct serial_port *port);
/* Any thread: the terminal behind @port has another size. */
void serial_port_resized(struct virtio_serial *serial, struct serial_port *port, u16 columns,
			 u16 rows);
/* Can bytes flow to the driver? Any thread. */
bool serial_port_open(const struct virtio_serial *serial, const struct serial_port *port);

/* --- serial_port.c --- */

extern const struct device_type device_virtserialport;

/* Any vCPU's thread, with or without the flags' lock: the driver has a buffer to be filled, or has
 * opened the port. */
void serial_port_receive(struct serial_port *port);
/* Any vCPU's thread: the driver has put something into the transmit queue. */
void serial_port_transmit(struct serial_port *port);
/* The driver has reset the device. The flags' lock is held. */
void serial_port_forget(struct serial_port *port);

static inline unsigned serial_queue(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

#endif
