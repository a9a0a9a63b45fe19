/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks that guests are connected to by name. See connection.h for what holds everywhere. */
#ifndef LODGE_NETWORK_H
#define LODGE_NETWORK_H

#include <lodge/connection.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lodge_network;

enum lodge_network_list_flags {
	LODGE_NETWORKS_INACTIVE = 1 << 0, /* neither of these two: both */
	LODGE_NETWORKS_ACTIVE = 1 << 1,
	LODGE_NETWORKS_PERSISTENT = 1 << 2,
	LODGE_NETWORKS_TRANSIENT = 1 << 3,
	LODGE_NETWORKS_AUTOSTART = 1 << 4,
	LODGE_NETWORKS_NO_AUTOSTART = 1 << 5,
};

/* An array that ends with NULL; free with lodge_networks_free(). */
struct lodge_network **lodge_network_list(struct lodge_connection *connection, unsigned flags);
void lodge_networks_free(struct lodge_network **networks);
struct lodge_network *lodge_network_by_name(struct lodge_connection *connection, const char *name,
					    unsigned flags);
/* By what people type: a UUID or a name. */
struct lodge_network *lodge_network_find(struct lodge_connection *connection, const char *text,
					 unsigned flags);
void lodge_network_free(struct lodge_network *network);

const char *lodge_network_name(const struct lodge_network *network);
void lodge_network_uuid(const struct lodge_network *network, char text[LODGE_UUID_CHARS]);

struct lodge_network *lodge_network_define(struct lodge_connection *connection, const char *xml,
					   unsigned flags);
/* Starts one that is gone when it is stopped. */
struct lodge_network *lodge_network_create(struct lodge_connection *connection, const char *xml,
					   unsigned flags);

enum lodge_network_update_command {
	LODGE_NETWORK_MODIFY = 1,
	LODGE_NETWORK_DELETE,
	LODGE_NETWORK_ADD_LAST,
	LODGE_NETWORK_ADD_FIRST,
};

/* Changes a part of it: @section is libvirt's number of the kind of part (VIR_NETWORK_SECTION_*),
 * @xml the part, and @parent of those in an <ip> which one, or -1. @flags: as enum
 * lodge_affect_flags. */
int lodge_network_update(struct lodge_network *network, enum lodge_network_update_command command,
			 unsigned section, int parent, const char *xml, unsigned flags);
int lodge_network_undefine(struct lodge_network *network, unsigned flags);
int lodge_network_start(struct lodge_network *network, unsigned flags);
int lodge_network_stop(struct lodge_network *network, unsigned flags);
char *lodge_network_xml(struct lodge_network *network, unsigned flags);
/* 1, 0, or -1. */
int lodge_network_is_active(struct lodge_network *network);
int lodge_network_is_persistent(struct lodge_network *network);
int lodge_network_autostart(struct lodge_network *network);
int lodge_network_set_autostart(struct lodge_network *network, int autostart, unsigned flags);

struct lodge_lease {
	int64_t expires; /* seconds since 1970 */
	int type;        /* 0 IPv4, 1 IPv6 */
	unsigned prefix;
	char interface[64], mac[20], address[64], hostname[256], client[256];
};

/* What its DHCP server has given away, to @mac alone unless that is NULL: an array of *@count;
 * free() it. */
struct lodge_lease *lodge_network_leases(struct lodge_network *network, const char *mac,
					 unsigned *count, unsigned flags);

#ifdef __cplusplus
}
#endif
#endif
