/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's processors, memory and devices. See lodge/connection.h and lodge/value.h. */
#include "private.h"

#include <stdlib.h>
#include <string.h>

#define PARAMETERS_MAX 64 /* the protocol's bound */

LODGE_PUBLIC int lodge_connection_compare_cpu(struct lodge_connection *connection, const char *xml,
					      int with_hypervisor, unsigned flags)
{
	struct rpc_connect_compare_hypervisor_cpu_args hypervisor = { .xmlCPU = (char *)xml,
								      .flags = flags };
	struct rpc_connect_compare_cpu_args host = { (char *)xml, flags };
	struct rpc_connect_compare_hypervisor_cpu_ret of_hypervisor = {};
	struct rpc_connect_compare_cpu_ret of_host = {};
	struct asking a = {};
	bool good;

	good = with_hypervisor ? rpc_ask_connect_compare_hypervisor_cpu(connection->caller,
									&hypervisor, &a.arena,
									&of_hypervisor, &a.failure)
			       : rpc_ask_connect_compare_cpu(connection->caller, &host, &a.arena,
							     &of_host, &a.failure);
	if (asked(&a, good, __func__))
		return -1;
	return with_hypervisor ? of_hypervisor.result : of_host.result;
}

LODGE_PUBLIC char *lodge_connection_baseline_cpu(struct lodge_connection *connection,
						 const char *const *xml, unsigned count,
						 int with_hypervisor, unsigned flags)
{
	struct rpc_connect_baseline_hypervisor_cpu_args hypervisor = { .flags = flags };
	struct rpc_connect_baseline_hypervisor_cpu_ret of_hypervisor = {};
	struct rpc_connect_baseline_cpu_args host = { .flags = flags };
	struct rpc_connect_baseline_cpu_ret of_host = {};
	struct asking a = {};
	bool good;

	hypervisor.xmlCPUs.items = host.xmlCPUs.items = (char **)xml;
	hypervisor.xmlCPUs.count = host.xmlCPUs.count = count;
	good = with_hypervisor ? rpc_ask_connect_baseline_hypervisor_cpu(connection->caller,
									 &hypervisor, &a.arena,
									 &of_hypervisor, &a.failure)
			       : rpc_ask_connect_baseline_cpu(connection->caller, &host, &a.arena,
							      &of_host, &a.failure);
	return asked_string(&a, good, with_hypervisor ? &of_hypervisor.cpu : &of_host.cpu,
			    __func__);
}

LODGE_PUBLIC char *lodge_connection_sysinfo(struct lodge_connection *connection, unsigned flags)
{
	struct rpc_connect_get_sysinfo_args args = { flags };
	struct rpc_connect_get_sysinfo_ret ret;
	struct asking a = {};

	return asked_string(
		&a,
		rpc_ask_connect_get_sysinfo(connection->caller, &args, &a.arena, &ret, &a.failure),
		&ret.sysinfo, __func__);
}

LODGE_PUBLIC char *lodge_connection_pool_capabilities(struct lodge_connection *connection,
						      unsigned flags)
{
	struct rpc_connect_get_storage_pool_capabilities_args args = { flags };
	struct rpc_connect_get_storage_pool_capabilities_ret ret;
	struct asking a = {};

	return asked_string(&a,
			    rpc_ask_connect_get_storage_pool_capabilities(
				    connection->caller, &args, &a.arena, &ret, &a.failure),
			    &ret.capabilities, __func__);
}

LODGE_PUBLIC int lodge_connection_free_pages(struct lodge_connection *connection, unsigned page_kib,
					     int node, uint64_t *pages, unsigned flags)
{
	struct rpc_node_get_free_pages_args args = { .startCell = node,
						     .cellCount = 1,
						     .flags = flags };
	struct rpc_node_get_free_pages_ret ret;
	struct asking a = {};
	bool good;

	args.pages.items = &page_kib;
	args.pages.count = 1;
	good = rpc_ask_node_get_free_pages(connection->caller, &args, &a.arena, &ret, &a.failure);
	if (good)
		*pages = ret.counts.count ? ret.counts.items[0] : 0;
	return asked(&a, good, __func__);
}

LODGE_PUBLIC int lodge_connection_alloc_pages(struct lodge_connection *connection,
					      unsigned page_kib, uint64_t count, int first_node,
					      unsigned nodes, unsigned flags)
{
	struct rpc_node_alloc_pages_args args = { .startCell = first_node,
						  .cellCount = nodes,
						  .flags = flags };
	struct rpc_node_alloc_pages_ret ret;
	struct asking a = {};

	args.pageSizes.items = &page_kib;
	args.pageCounts.items = &count;
	args.pageSizes.count = args.pageCounts.count = 1;
	return asked(&a,
		     rpc_ask_node_alloc_pages(connection->caller, &args, &a.arena, &ret,
					      &a.failure),
		     __func__)
		       ? -1
		       : ret.ret;
}

LODGE_PUBLIC uint8_t *lodge_connection_cpu_map(struct lodge_connection *connection, unsigned *cpus,
					       unsigned *online, size_t *bytes, unsigned flags)
{
	struct rpc_node_get_cpu_map_args args = { 1, 1, flags };
	struct rpc_node_get_cpu_map_ret ret;
	struct asking a = {};
	uint8_t *map = NULL;
	bool good = rpc_ask_node_get_cpu_map(connection->caller, &args, &a.arena, &ret, &a.failure);

	if (good) {
		*cpus = MAX(ret.ret, 0);
		*online = ret.online;
		*bytes = ret.cpumap.count;
		map = calloc(*bytes + 1, 1);
		if (map && *bytes)
			memcpy(map, ret.cpumap.items, *bytes);
	}
	asked(&a, good, __func__);
	return map;
}

LODGE_PUBLIC struct lodge_value *
lodge_connection_memory_parameters(struct lodge_connection *connection, unsigned flags)
{
	struct rpc_node_get_memory_parameters_args args = { PARAMETERS_MAX, flags };
	struct rpc_node_get_memory_parameters_ret ret;
	struct lodge_value *values = NULL;
	struct asking a = {};
	bool good = rpc_ask_node_get_memory_parameters(connection->caller, &args, &a.arena, &ret,
						       &a.failure);

	if (good)
		values = values_of_params(ret.params.items, ret.params.count);
	asked(&a, good, __func__);
	return values;
}

/* --- devices --- */

LODGE_PUBLIC char **lodge_device_list(struct lodge_connection *connection, unsigned flags)
{
	struct rpc_connect_list_all_node_devices_args args = { 1, flags };
	struct rpc_connect_list_all_node_devices_ret ret;
	struct asking a = {};
	char **names = NULL;
	bool good = rpc_ask_connect_list_all_node_devices(connection->caller, &args, &a.arena, &ret,
							  &a.failure);

	if (good) {
		names = g_new0(char *, ret.devices.count + 1);
		for (unsigned i = 0; i < ret.devices.count; i++)
			names[i] = g_strdup(ret.devices.items[i].name);
	}
	asked(&a, good, __func__);
	return names;
}

LODGE_PUBLIC void lodge_devices_free(char **names)
{
	g_strfreev(names);
}

LODGE_PUBLIC char *lodge_device_xml(struct lodge_connection *connection, const char *name,
				    unsigned flags)
{
	struct rpc_node_device_get_xml_desc_args args = { (char *)name, flags };
	struct rpc_node_device_get_xml_desc_ret ret;
	struct asking a = {};

	return asked_string(&a,
			    rpc_ask_node_device_get_xml_desc(connection->caller, &args, &a.arena,
							     &ret, &a.failure),
			    &ret.xml, __func__);
}

LODGE_PUBLIC char *lodge_device_parent(struct lodge_connection *connection, const char *name)
{
	struct rpc_node_device_get_parent_args args = { (char *)name };
	struct rpc_node_device_get_parent_ret ret;
	struct asking a = {};
	char *parent = NULL;
	bool good = rpc_ask_node_device_get_parent(connection->caller, &args, &a.arena, &ret,
						   &a.failure);

	if (good)
		parent = strdup(ret.parentName ? ret.parentName : "");
	asked(&a, good, __func__);
	return parent;
}

/* --- network cards --- */

static void put_interface(struct lodge_interface *to, const struct rpc_interface *from)
{
	g_strlcpy(to->name, from->name, sizeof(to->name));
	g_strlcpy(to->mac, from->mac, sizeof(to->mac));
}

LODGE_PUBLIC struct lodge_interface *lodge_interface_list(struct lodge_connection *connection,
							  unsigned *count, unsigned flags)
{
	struct rpc_connect_list_all_interfaces_args args = { 1, flags };
	struct rpc_connect_list_all_interfaces_ret ret;
	struct lodge_interface *list = NULL;
	struct asking a = {};
	bool good = rpc_ask_connect_list_all_interfaces(connection->caller, &args, &a.arena, &ret,
							&a.failure);

	if (good) {
		*count = ret.ifaces.count;
		list = calloc(*count + 1, sizeof(*list));
	}
	for (unsigned i = 0; list && i < *count; i++)
		put_interface(&list[i], &ret.ifaces.items[i]);
	asked(&a, good, __func__);
	return list;
}

LODGE_PUBLIC int lodge_interface_find_name(struct lodge_connection *connection, const char *name,
					   struct lodge_interface *interface)
{
	struct rpc_interface_lookup_by_name_args args = { (char *)name };
	struct rpc_interface_lookup_by_name_ret ret;
	struct asking a = {};
	bool good = rpc_ask_interface_lookup_by_name(connection->caller, &args, &a.arena, &ret,
						     &a.failure);

	if (good)
		put_interface(interface, &ret.iface);
	return asked(&a, good, __func__);
}

LODGE_PUBLIC int lodge_interface_find_mac(struct lodge_connection *connection, const char *mac,
					  struct lodge_interface *interface)
{
	struct rpc_interface_lookup_by_mac_string_args args = { (char *)mac };
	struct rpc_interface_lookup_by_mac_string_ret ret;
	struct asking a = {};
	bool good = rpc_ask_interface_lookup_by_mac_string(connection->caller, &args, &a.arena,
							   &ret, &a.failure);

	if (good)
		put_interface(interface, &ret.iface);
	return asked(&a, good, __func__);
}

/* The protocol names one by both, lodged knows it by the first. */
static struct rpc_interface wire(const char *name)
{
	return (struct rpc_interface){ .name = (char *)name, .mac = (char *)"" };
}

LODGE_PUBLIC int lodge_interface_is_active(struct lodge_connection *connection, const char *name)
{
	struct rpc_interface_is_active_args args = { wire(name) };
	struct rpc_interface_is_active_ret ret;
	struct asking a = {};
	bool good =
		rpc_ask_interface_is_active(connection->caller, &args, &a.arena, &ret, &a.failure);

	return asked(&a, good, __func__) ? -1 : !!ret.active;
}

LODGE_PUBLIC char *lodge_interface_xml(struct lodge_connection *connection, const char *name,
				       unsigned flags)
{
	struct rpc_interface_get_xml_desc_args args = { wire(name), flags };
	struct rpc_interface_get_xml_desc_ret ret;
	struct asking a = {};

	return asked_string(&a,
			    rpc_ask_interface_get_xml_desc(connection->caller, &args, &a.arena,
							   &ret, &a.failure),
			    &ret.xml, __func__);
}
