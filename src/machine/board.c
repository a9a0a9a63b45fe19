/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The boards there are. See board.h.
 */
#include "machine/board.h"

#include "machine/vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct board_device q35_devices[] = {
	{ .type = "lapic", .id = "lapic", .per_vcpu = true },
	{ .type = "pic", .id = "pic" },
	{ .type = "ioapic", .id = "ioapic" },
	{ .type = "pit", .id = "pit" },
	{ .type = "hpet", .id = "hpet" },
	{ .type = "rtc", .id = "rtc" },
	{ .type = "acpi-pm", .id = "pm" },
	{ .type = "i8042", .id = "i8042" },
	{ .type = "board-ports", .id = "ports" },
	{ .type = "q35-host", .id = "host" },
	{ .type = "tco", .id = "tco" },
	{ .type = "fw-cfg", .id = "fwcfg" },
	{ .type = "lpc-bridge", .id = "lpc", .slot = 31 },
	{ .type = NULL },
};

static const struct board q35_1_0 = { "lodge-q35-1.0", q35_devices };

const struct board *const boards[] = { &q35_1_0, NULL };

const struct board *board_find(const char *name)
{
	for (unsigned i = 0; boards[i]; i++)
		if (!strcmp(boards[i]->name, name))
			return boards[i];
	return NULL;
}

static int build_device(struct vm *vm, const struct board_device *d, unsigned index,
			const struct device_type *type, GError **error)
{
	struct device *dev;
	char id[32];

	if (d->per_vcpu)
		snprintf(id, sizeof(id), "%s%u", d->id, index);
	else
		snprintf(id, sizeof(id), "%s", d->id);
	dev = device_new(vm, type, id, error);
	if (!dev)
		return -EEXIST;
	if (d->per_vcpu && device_set_number(dev, "index", index, error))
		return -EINVAL;
	if ((type->flags & DEVICE_PCI) && (device_set_number(dev, "slot", d->slot, error) ||
					   device_set_number(dev, "function", d->function, error)))
		return -EINVAL;
	return device_realize(dev, error);
}

int board_build(struct vm *vm, const struct board *board, const struct device_type *const *types,
		GError **error)
{
	vm->machine = board->name;
	for (const struct board_device *d = board->devices; d->type; d++) {
		const struct device_type *type = device_type_find(types, d->type);
		unsigned count = d->per_vcpu ? vm->vcpu_count : 1;

		if (!type) {
			g_set_error(error, VM_ERROR, ENODEV, "board %s needs the device type %s",
				    board->name, d->type);
			return -ENODEV;
		}
		for (unsigned i = 0; i < count; i++) {
			int err = build_device(vm, d, i, type, error);

			if (err)
				return err;
		}
	}
	return 0;
}
