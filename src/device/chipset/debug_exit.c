/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * isa-debug-exit: a guest under test writes a value v and lodge-vmm exits with (v << 1) | 1.
 */
#include "machine/vm.h"
#include "state/state.h"

struct debug_exit {
	struct device dev;
	struct region ports;
	u16 port;
};

static void debug_exit_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	if (write)
		vm_request(dev->vm, VM_REQUEST_EXIT, (*value << 1 | 1) & 0xff);
	else
		*value = 0;
}

static void debug_exit_reset(struct device *dev)
{
}

static int debug_exit_realize(struct device *dev, GError **error)
{
	struct debug_exit *d = container_of(dev, struct debug_exit, dev);
	int err = device_add_ports(dev, &d->ports, d->port, 4, debug_exit_access, error);

	d->ports.width_max = 4;
	return err;
}

static const struct state_field debug_exit_state[] = { STATE_END };

static const struct device_option debug_exit_options[] = {
	{ .name = "port",
	  .kind = OPTION_U16,
	  .offset = offsetof(struct debug_exit, port),
	  .init = 0x501,
	  .max = 0xfffc,
	  .help = "first of four I/O ports" },
	{ .name = NULL },
};

const struct device_type device_isa_debug_exit = {
	.name = "isa-debug-exit",
	.help = "lets a guest end the VMM with a status",
	.bytes = sizeof(struct debug_exit),
	.options = debug_exit_options,
	.state = debug_exit_state,
	.realize = debug_exit_realize,
	.reset = debug_exit_reset,
};
