/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic on the ISA bus: by it a guest's kernel says that it has panicked, which from outside
 * looks like a guest that is idle or one that restarts for no reason.
 *
 * Reading gives the events that may be reported, writing reports them: bit 0 a panic that ends the
 * guest, bit 1 one after which it goes on to save its memory. The DSDT names the port.
 */
#include "device/chipset/pvpanic.h"

#include "machine/vm.h"
#include "state/state.h"

#define PORT         0x505
#define PANICKED     BIT(0)
#define CRASH_LOADED BIT(1)

struct pvpanic {
	struct device dev;
	struct region ports;
};

void pvpanic_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	if (!write)
		*value = offset ? 0 : PANICKED | CRASH_LOADED;
	else if (!offset && (*value & PANICKED))
		vm_request(dev->vm, VM_REQUEST_CRASH, VM_CRASH_PANIC);
	else if (!offset && (*value & CRASH_LOADED))
		vm_request(dev->vm, VM_REQUEST_CRASH_LOADED, 0);
}

static void pvpanic_reset(struct device *dev)
{
}

static int pvpanic_realize(struct device *dev, GError **error)
{
	struct pvpanic *p = container_of(dev, struct pvpanic, dev);

	return device_add_ports(dev, &p->ports, PORT, 1, pvpanic_access, error);
}

static const struct state_field pvpanic_state[] = { STATE_END };

const struct device_type device_pvpanic = {
	.name = "pvpanic",
	.help = "panic notifier on the ISA bus",
	.bytes = sizeof(struct pvpanic),
	.state = pvpanic_state,
	.realize = pvpanic_realize,
	.reset = pvpanic_reset,
};
