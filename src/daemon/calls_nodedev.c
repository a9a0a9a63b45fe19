/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls about devices and network cards of the host. They are shown as the kernel has them now
 * (nodedev.h); making, changing and giving them to guests is not there (absent.c).
 */
#include "daemon/calls.h"
#include "daemon/nodedev.h"

#include <string.h>

#define KINDS_MASK \
	(VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPD | (VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPD - 1))
#define CARD "80203" /* what every network card of the kernel's is, wireless or not */

/* --- devices --- */

/* Those of the kinds in @flags, all if there are none; the caller unrefs the array, whose devices
 * are @all's. */
static GPtrArray *matching(const GPtrArray *all, u32 flags)
{
	u32 states = flags & (VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE |
			      VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE);
	GPtrArray *found = g_ptr_array_new();

	for (guint i = 0; i < all->len; i++) {
		struct nodedev *device = all->pdata[i];

		if ((!(flags & KINDS_MASK) || flags & nodedev_flag(device)) &&
		    states != VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE)
			g_ptr_array_add(found, device);
	}
	return found;
}

static void list_all_devices(struct rpc_call *call,
			     const struct rpc_connect_list_all_node_devices_args *args)
{
	struct rpc_connect_list_all_node_devices_ret ret = { 0 };
	struct rpc_arena *arena = rpc_call_arena(call);
	GPtrArray *all, *found;

	if (!call_flags(call, args->flags,
			KINDS_MASK | VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE |
				VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE))
		return;
	all = nodedev_all(NODEDEV_SYS);
	found = matching(all, args->flags);
	ret.ret = found->len;
	if (args->need_results)
		ret.devices.items = rpc_arena_array(arena, found->len, sizeof(*ret.devices.items));
	for (guint i = 0; ret.devices.items && i < found->len; i++) {
		const struct nodedev *device = found->pdata[i];

		ret.devices.items[i].name = rpc_arena_strdup(arena, device->name);
		ret.devices.count++;
	}
	g_ptr_array_unref(found);
	g_ptr_array_unref(all);
	rpc_reply_connect_list_all_node_devices(call, &ret);
}

/* Those with a capability, by the calls of old; NULL is all. */
static GPtrArray *with_capability(const GPtrArray *all, const char *capability)
{
	u32 flag = capability ? nodedev_flag_of(capability) : 0;

	return capability && !flag ? g_ptr_array_new() : matching(all, flag);
}

static void num_of_devices(struct rpc_call *call, const struct rpc_node_num_of_devices_args *args)
{
	struct rpc_node_num_of_devices_ret ret = { 0 };
	GPtrArray *all, *found;

	if (!call_flags(call, args->flags, 0))
		return;
	all = nodedev_all(NODEDEV_SYS);
	found = with_capability(all, args->cap);
	ret.num = call_count(found);
	g_ptr_array_unref(all);
	rpc_reply_node_num_of_devices(call, &ret);
}

static void list_devices(struct rpc_call *call, const struct rpc_node_list_devices_args *args)
{
	struct rpc_node_list_devices_ret ret = { 0 };
	struct rpc_arena *arena = rpc_call_arena(call);
	GPtrArray *all, *found;
	u32 most;

	if (!call_flags(call, args->flags, 0))
		return;
	all = nodedev_all(NODEDEV_SYS);
	found = with_capability(all, args->cap);
	most = MIN(found->len, (u32)MAX(args->maxnames, 0));
	ret.names.items = rpc_arena_array(arena, most, sizeof(char *));
	for (guint i = 0; ret.names.items && i < most; i++) {
		const struct nodedev *device = found->pdata[i];

		ret.names.items[ret.names.count++] = rpc_arena_strdup(arena, device->name);
	}
	g_ptr_array_unref(found);
	g_ptr_array_unref(all);
	rpc_reply_node_list_devices(call, &ret);
}

/* NULL: the call has been failed; else the caller unrefs *@all. */
static const struct nodedev *find_device(struct rpc_call *call, const char *name, GPtrArray **all)
{
	const struct nodedev *device;

	*all = nodedev_all(NODEDEV_SYS);
	device = nodedev_find(*all, name);
	if (device)
		return device;
	g_ptr_array_unref(*all);
	rpc_call_fail(call, VIR_ERR_NO_NODE_DEVICE, VIR_FROM_NODEDEV,
		      "Node device not found: no node device with matching name '%s'", name);
	return NULL;
}

static void device_by_name(struct rpc_call *call,
			   const struct rpc_node_device_lookup_by_name_args *args)
{
	const struct rpc_node_device_lookup_by_name_ret ret = { .dev.name = args->name };
	GPtrArray *all;

	if (!find_device(call, args->name, &all))
		return;
	g_ptr_array_unref(all);
	rpc_reply_node_device_lookup_by_name(call, &ret);
}

static void device_xml(struct rpc_call *call, const struct rpc_node_device_get_xml_desc_args *args)
{
	struct rpc_node_device_get_xml_desc_ret ret;
	const struct nodedev *device;
	GPtrArray *all;

	if (!call_flags(call, args->flags, 0) || !(device = find_device(call, args->name, &all)))
		return;
	ret.xml = call_text(call, nodedev_xml(device));
	g_ptr_array_unref(all);
	rpc_reply_node_device_get_xml_desc(call, &ret);
}

static void device_parent(struct rpc_call *call, const struct rpc_node_device_get_parent_args *args)
{
	struct rpc_node_device_get_parent_ret ret = { 0 };
	const struct nodedev *device;
	GPtrArray *all;

	device = find_device(call, args->name, &all);
	if (!device)
		return;
	if (device->parent)
		ret.parentName = rpc_arena_strdup(rpc_call_arena(call), device->parent);
	g_ptr_array_unref(all);
	rpc_reply_node_device_get_parent(call, &ret);
}

static bool is_card(const struct nodedev *device)
{
	return nodedev_flag(device) == VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET;
}

static void num_of_capabilities(struct rpc_call *call,
				const struct rpc_node_device_num_of_caps_args *args)
{
	struct rpc_node_device_num_of_caps_ret ret = { .num = 1 };
	const struct nodedev *device;
	GPtrArray *all;

	device = find_device(call, args->name, &all);
	if (!device)
		return;
	ret.num += is_card(device);
	g_ptr_array_unref(all);
	rpc_reply_node_device_num_of_caps(call, &ret);
}

static void list_capabilities(struct rpc_call *call,
			      const struct rpc_node_device_list_caps_args *args)
{
	struct rpc_node_device_list_caps_ret ret = { 0 };
	char *names[2];
	const struct nodedev *device;
	GPtrArray *all;

	device = find_device(call, args->name, &all);
	if (!device)
		return;
	names[0] = (char *)nodedev_capability(device);
	names[1] = (char *)CARD;
	ret.names.items = names;
	ret.names.count = MIN(1u + is_card(device), (u32)MAX(args->maxnames, 0));
	g_ptr_array_unref(all);
	rpc_reply_node_device_list_caps(call, &ret);
}

/* All are there now, and come again with the host. */
static void device_is_active(struct rpc_call *call,
			     const struct rpc_node_device_is_active_args *args)
{
	const struct rpc_node_device_is_active_ret ret = { .active = 1 };
	GPtrArray *all;

	if (!find_device(call, args->name, &all))
		return;
	g_ptr_array_unref(all);
	rpc_reply_node_device_is_active(call, &ret);
}

static void device_is_persistent(struct rpc_call *call,
				 const struct rpc_node_device_is_persistent_args *args)
{
	const struct rpc_node_device_is_persistent_ret ret = { .persistent = 1 };
	GPtrArray *all;

	if (!find_device(call, args->name, &all))
		return;
	g_ptr_array_unref(all);
	rpc_reply_node_device_is_persistent(call, &ret);
}

static void device_autostart(struct rpc_call *call,
			     const struct rpc_node_device_get_autostart_args *args)
{
	const struct rpc_node_device_get_autostart_ret ret = { .autostart = 1 };
	GPtrArray *all;

	if (!find_device(call, args->name, &all))
		return;
	g_ptr_array_unref(all);
	rpc_reply_node_device_get_autostart(call, &ret);
}

/* --- network cards: those of hardware --- */

static bool has_hardware(const struct nodedev *device)
{
	g_autofree char *link = g_build_filename(device->path, "device", NULL);

	return g_file_test(link, G_FILE_TEST_EXISTS);
}

static bool is_up(const struct nodedev *device)
{
	g_autofree char *state = nodedev_line(device->path, "operstate");

	return g_strcmp0(state, "down") != 0;
}

static const char *card_name(const struct nodedev *device)
{
	return strrchr(device->path, '/') + 1;
}

/* The caller unrefs both arrays. */
static GPtrArray *cards(GPtrArray **all, bool up, bool down)
{
	GPtrArray *found = g_ptr_array_new();

	*all = nodedev_all(NODEDEV_SYS);
	for (guint i = 0; i < (*all)->len; i++) {
		struct nodedev *device = (*all)->pdata[i];

		if (is_card(device) && has_hardware(device) && (is_up(device) ? up : down))
			g_ptr_array_add(found, device);
	}
	return found;
}

static struct rpc_interface told(struct rpc_call *call, const struct nodedev *card)
{
	struct rpc_arena *arena = rpc_call_arena(call);
	char *mac = nodedev_line(card->path, "address");

	return (struct rpc_interface){ .name = rpc_arena_strdup(arena, card_name(card)),
				       .mac = call_text(call, mac ? mac : g_strdup("")) };
}

static void list_all_cards(struct rpc_call *call,
			   const struct rpc_connect_list_all_interfaces_args *args)
{
	const u32 states =
		VIR_CONNECT_LIST_INTERFACES_ACTIVE | VIR_CONNECT_LIST_INTERFACES_INACTIVE;
	struct rpc_connect_list_all_interfaces_ret ret = { 0 };
	u32 flags = args->flags & states ? args->flags : states;
	GPtrArray *all, *found;

	if (!call_flags(call, args->flags, states))
		return;
	found = cards(&all, flags & VIR_CONNECT_LIST_INTERFACES_ACTIVE,
		      flags & VIR_CONNECT_LIST_INTERFACES_INACTIVE);
	ret.ret = found->len;
	if (args->need_results)
		ret.ifaces.items = rpc_arena_array(rpc_call_arena(call), found->len,
						   sizeof(*ret.ifaces.items));
	for (guint i = 0; ret.ifaces.items && i < found->len; i++)
		ret.ifaces.items[ret.ifaces.count++] = told(call, found->pdata[i]);
	g_ptr_array_unref(found);
	g_ptr_array_unref(all);
	rpc_reply_connect_list_all_interfaces(call, &ret);
}

static u32 count_cards(bool up)
{
	GPtrArray *all, *found = cards(&all, up, !up);
	u32 count = call_count(found);

	g_ptr_array_unref(all);
	return count;
}

static void num_of_cards(struct rpc_call *call)
{
	const struct rpc_connect_num_of_interfaces_ret ret = { .num = count_cards(true) };

	rpc_reply_connect_num_of_interfaces(call, &ret);
}

static void num_of_cards_down(struct rpc_call *call)
{
	const struct rpc_connect_num_of_defined_interfaces_ret ret = { .num = count_cards(false) };

	rpc_reply_connect_num_of_defined_interfaces(call, &ret);
}

static char **names_of_cards(struct rpc_call *call, bool up, s32 max, u32 *count)
{
	GPtrArray *all, *found = cards(&all, up, !up);
	char **names;

	*count = MIN(found->len, (u32)MAX(max, 0));
	names = rpc_arena_array(rpc_call_arena(call), *count, sizeof(char *));
	for (u32 i = 0; names && i < *count; i++)
		names[i] = rpc_arena_strdup(rpc_call_arena(call), card_name(found->pdata[i]));
	*count = names ? *count : 0;
	g_ptr_array_unref(found);
	g_ptr_array_unref(all);
	return names;
}

static void list_cards(struct rpc_call *call, const struct rpc_connect_list_interfaces_args *args)
{
	struct rpc_connect_list_interfaces_ret ret = { 0 };

	ret.names.items = names_of_cards(call, true, args->maxnames, &ret.names.count);
	rpc_reply_connect_list_interfaces(call, &ret);
}

static void list_cards_down(struct rpc_call *call,
			    const struct rpc_connect_list_defined_interfaces_args *args)
{
	struct rpc_connect_list_defined_interfaces_ret ret = { 0 };

	ret.names.items = names_of_cards(call, false, args->maxnames, &ret.names.count);
	rpc_reply_connect_list_defined_interfaces(call, &ret);
}

/* By its name or, if that is NULL, its address. NULL: the call has been failed; else the caller
 * unrefs *@all. */
static const struct nodedev *find_card(struct rpc_call *call, const char *name, const char *mac,
				       GPtrArray **all)
{
	GPtrArray *found = cards(all, true, true);
	const struct nodedev *card = NULL;

	for (guint i = 0; !card && i < found->len; i++) {
		struct rpc_interface its = told(call, found->pdata[i]);

		if (name ? !g_strcmp0(its.name, name)
			 : its.mac && !g_ascii_strcasecmp(its.mac, mac))
			card = found->pdata[i];
	}
	g_ptr_array_unref(found);
	if (card)
		return card;
	g_ptr_array_unref(*all);
	rpc_call_fail(call, VIR_ERR_NO_INTERFACE, VIR_FROM_INTERFACE,
		      "Interface not found: couldn't find interface with %s '%s'",
		      name ? "name" : "MAC address", name ? name : mac);
	return NULL;
}

static void card_by_name(struct rpc_call *call,
			 const struct rpc_interface_lookup_by_name_args *args)
{
	struct rpc_interface_lookup_by_name_ret ret;
	const struct nodedev *card;
	GPtrArray *all;

	card = find_card(call, args->name, NULL, &all);
	if (!card)
		return;
	ret.iface = told(call, card);
	g_ptr_array_unref(all);
	rpc_reply_interface_lookup_by_name(call, &ret);
}

static void card_by_mac(struct rpc_call *call,
			const struct rpc_interface_lookup_by_mac_string_args *args)
{
	struct rpc_interface_lookup_by_mac_string_ret ret;
	const struct nodedev *card;
	GPtrArray *all;

	card = find_card(call, NULL, args->mac, &all);
	if (!card)
		return;
	ret.iface = told(call, card);
	g_ptr_array_unref(all);
	rpc_reply_interface_lookup_by_mac_string(call, &ret);
}

static char *card_text(const struct nodedev *card)
{
	g_autofree char *mac = nodedev_line(card->path, "address");
	g_autofree char *state = nodedev_line(card->path, "operstate");
	g_autofree char *speed = nodedev_line(card->path, "speed");
	bool fast = speed && g_ascii_isdigit(*speed) && strcmp(speed, "0");

	return g_markup_printf_escaped("<interface type='ethernet' name='%s'>\n"
				       "  <link%s%s%s state='%s'/>\n"
				       "  <mac address='%s'/>\n"
				       "</interface>\n",
				       card_name(card), fast ? " speed='" : "", fast ? speed : "",
				       fast ? "'" : "", state ? state : "unknown", mac ? mac : "");
}

static void card_xml(struct rpc_call *call, const struct rpc_interface_get_xml_desc_args *args)
{
	struct rpc_interface_get_xml_desc_ret ret;
	const struct nodedev *card;
	GPtrArray *all;

	card = find_card(call, args->iface.name, NULL, &all);
	if (!card)
		return;
	ret.xml = call_text(call, card_text(card));
	g_ptr_array_unref(all);
	rpc_reply_interface_get_xml_desc(call, &ret);
}

static void card_is_active(struct rpc_call *call, const struct rpc_interface_is_active_args *args)
{
	struct rpc_interface_is_active_ret ret;
	const struct nodedev *card;
	GPtrArray *all;

	card = find_card(call, args->iface.name, NULL, &all);
	if (!card)
		return;
	ret.active = is_up(card);
	g_ptr_array_unref(all);
	rpc_reply_interface_is_active(call, &ret);
}

const struct rpc_handlers calls_nodedev = {
	.connect_list_all_node_devices = list_all_devices,
	.node_num_of_devices = num_of_devices,
	.node_list_devices = list_devices,
	.node_device_lookup_by_name = device_by_name,
	.node_device_get_xml_desc = device_xml,
	.node_device_get_parent = device_parent,
	.node_device_num_of_caps = num_of_capabilities,
	.node_device_list_caps = list_capabilities,
	.node_device_is_active = device_is_active,
	.node_device_is_persistent = device_is_persistent,
	.node_device_get_autostart = device_autostart,
	.connect_list_all_interfaces = list_all_cards,
	.connect_num_of_interfaces = num_of_cards,
	.connect_num_of_defined_interfaces = num_of_cards_down,
	.connect_list_interfaces = list_cards,
	.connect_list_defined_interfaces = list_cards_down,
	.interface_lookup_by_name = card_by_name,
	.interface_lookup_by_mac_string = card_by_mac,
	.interface_get_xml_desc = card_xml,
	.interface_is_active = card_is_active,
};
