/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Single ports of a PC board that hold next to nothing: port 92 (fast reset; the A20 gate is
 * always open), the POST code port 0x80 and the delay port 0xed that kernels write to wait.
 */
#include "machine/vm.h"
#include "state/state.h"

struct ports {
	struct device dev;
	struct region port92, post, delay;
	u8 port92_value, post_value;
};

static void port92_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct ports *p = container_of(dev, struct ports, dev);
	u8 old = p->port92_value;

	if (!write) {
		*value = old | 2;
		return;
	}
	p->port92_value = *value & 3;
	if ((*value & 1) && !(old & 1))
		vm_request(dev->vm, VM_REQUEST_RESET, 0);
}

static void post_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct ports *p = container_of(dev, struct ports, dev);

	if (write)
		p->post_value = *value;
	else
		*value = p->post_value;
}

static void ports_reset(struct device *dev)
{
	struct ports *p = container_of(dev, struct ports, dev);

	p->port92_value = p->post_value = 0;
}

static int ports_realize(struct device *dev, GError **error)
{
	struct ports *p = container_of(dev, struct ports, dev);
	int err = device_add_ports(dev, &p->port92, 0x92, 1, port92_access, error);

	if (!err)
		err = device_add_ports(dev, &p->post, 0x80, 1, post_access, error);
	return err ? err : device_add_ports(dev, &p->delay, 0xed, 1, post_access, error);
}

static const struct state_field ports_state[] = {
	STATE(struct ports, port92_value),
	STATE(struct ports, post_value),
	STATE_END,
};

const struct device_type device_board_ports = {
	.name = "board-ports",
	.help = "port 92, POST code and delay ports",
	.bytes = sizeof(struct ports),
	.flags = DEVICE_BOARD,
	.state = ports_state,
	.realize = ports_realize,
	.reset = ports_reset,
};
