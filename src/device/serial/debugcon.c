/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debug console: a port whose writes appear on a console. Reads give 0xe9, by which firmware and
 * kernels recognise it.
 */
#include "console/console.h"
#include "machine/vm.h"
#include "state/state.h"

struct debugcon {
	struct device dev;
	struct region ports;
	struct console *console;
	u16 port;
};

static void debugcon_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct debugcon *d = container_of(dev, struct debugcon, dev);
	u8 byte = *value;

	if (!write)
		*value = 0xe9;
	else if (d->console)
		console_push(d->console, &byte, 1);
}

static void debugcon_reset(struct device *dev)
{
}

static int debugcon_realize(struct device *dev, GError **error)
{
	struct debugcon *d = container_of(dev, struct debugcon, dev);

	return device_add_ports(dev, &d->ports, d->port, 1, debugcon_access, error);
}

static const struct state_field debugcon_state[] = { STATE_END };

static const struct device_option debugcon_options[] = {
	{ .name = "port",
	  .kind = OPTION_U16,
	  .offset = offsetof(struct debugcon, port),
	  .init = 0x402,
	  .max = 0xffff,
	  .help = "I/O port" },
	{ .name = "backend",
	  .kind = OPTION_CONSOLE,
	  .offset = offsetof(struct debugcon, console),
	  .help = "the console behind it" },
	{ .name = NULL },
};

const struct device_type device_debugcon = {
	.name = "debugcon",
	.help = "write-only debug console port",
	.bytes = sizeof(struct debugcon),
	.options = debugcon_options,
	.state = debugcon_state,
	.realize = debugcon_realize,
	.reset = debugcon_reset,
};
