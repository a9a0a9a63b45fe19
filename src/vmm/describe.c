/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Turning the tables of device types, boards and drivers into JSON.
 */
#include "vmm/describe.h"

#include "accel/accel.h"
#include "block/block.h"
#include "console/console.h"
#include "device/types.h"
#include "machine/board.h"
#include "net/net.h"
#include "state/state.h"

#include <cpuid.h>
#include <string.h>

static json_t *describe_option(const struct device_option *o)
{
	static const char *const kinds[] = {
		[OPTION_U8] = "number",  [OPTION_U16] = "number",      [OPTION_U32] = "number",
		[OPTION_U64] = "number", [OPTION_BOOL] = "boolean",    [OPTION_STRING] = "string",
		[OPTION_MAC] = "mac",    [OPTION_CONSOLE] = "console", [OPTION_BLOCK] = "block",
		[OPTION_NET] = "net",
	};
	json_t *node = json_pack("{s:s,s:s,s:b,s:s}", "name", o->name, "type", kinds[o->kind],
				 "required", o->required, "help", o->help ? o->help : "");

	if (o->kind <= OPTION_U64) {
		json_object_set_new(node, "min", json_integer(o->min));
		json_object_set_new(node, "max", json_integer(o->max));
	}
	if (o->kind <= OPTION_BOOL && !o->required)
		json_object_set_new(node, "default",
				    o->kind == OPTION_BOOL ? json_boolean(o->init)
							   : json_integer(o->init));
	return node;
}

static json_t *describe_state(const struct state_field *f)
{
	json_t *list = json_array();

	for (; f->name; f++) {
		json_t *node = json_pack("{s:s,s:i,s:i,s:i}", "name", f->name, "bytes",
					 f->sub ? 0 : f->element_bytes, "count", (int)f->count,
					 "since", f->since);

		if (f->sub)
			json_object_set_new(node, "fields", describe_state(f->sub));
		json_array_append_new(list, node);
	}
	return list;
}

static json_t *describe_type(const struct device_type *type)
{
	json_t *options = json_array();

	for (const struct device_option *o = type->options; o && o->name; o++)
		json_array_append_new(options, describe_option(o));
	return json_pack("{s:s,s:s,s:b,s:b,s:o,s:o}", "name", type->name, "help", type->help,
			 "board", (type->flags & DEVICE_BOARD) != 0, "pci",
			 (type->flags & DEVICE_PCI) != 0, "settings", options, "state",
			 describe_state(type->state));
}

static void add_driver(json_t *list, const char *name, const char *help)
{
	json_array_append_new(list, json_pack("{s:s,s:s}", "name", name, "help", help));
}

/* What the software CPU gives guests on this host. */
static json_t *describe_processor(void)
{
	g_autofree const char **names = accel_soft.features();
	json_t *features = json_array();
	u32 words[4] = { 0 }; /* CPUID.0: the vendor in EBX, EDX, ECX */
	char vendor[13] = "";

	for (const char **name = names; *name; name++)
		json_array_append_new(features, json_string(*name));
	__cpuid(0, words[0], words[1], words[3], words[2]);
	memcpy(vendor, &words[1], 12);
	return json_pack("{s:s,s:o}", "vendor", vendor, "features", features);
}

json_t *describe(void)
{
	json_t *devices = json_array(), *machines = json_array(), *consoles = json_array(),
	       *blocks = json_array(), *nets = json_array();

	for (unsigned i = 0; device_types[i]; i++)
		json_array_append_new(devices, describe_type(device_types[i]));
	for (unsigned i = 0; boards[i]; i++)
		json_array_append_new(machines, json_string(boards[i]->name));
	for (unsigned i = 0; console_backends[i]; i++)
		add_driver(consoles, console_backends[i]->name, console_backends[i]->help);
	for (unsigned i = 0; block_drivers[i]; i++)
		add_driver(blocks, block_drivers[i]->name, block_drivers[i]->help);
	for (unsigned i = 0; net_backends[i]; i++)
		add_driver(nets, net_backends[i]->name, net_backends[i]->help);
	return json_pack("{s:s,s:o,s:o,s:o,s:{s:o,s:o,s:o}}", "version", LODGE_VERSION, "machines",
			 machines, "processor", describe_processor(), "devices", devices,
			 "backends", "console", consoles, "block", blocks, "net", nets);
}
