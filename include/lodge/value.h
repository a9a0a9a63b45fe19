/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What statistics are told in: names, which are the protocol's, and what they are. */
#ifndef LODGE_VALUE_H
#define LODGE_VALUE_H

#include <lodge/connection.h>
#include <lodge/domain.h>

#ifdef __cplusplus
extern "C" {
#endif

enum lodge_value_kind {
	LODGE_VALUE_SIGNED,
	LODGE_VALUE_UNSIGNED,
	LODGE_VALUE_REAL,
	LODGE_VALUE_BOOLEAN, /* in `unsigned_number` */
	LODGE_VALUE_TEXT,
};

struct lodge_value {
	char *name; /* NULL: the one before was the last */
	enum lodge_value_kind kind;
	int64_t signed_number;
	uint64_t unsigned_number;
	double real;
	char *text;
};

/* Of what the functions below return; NULL is fine. */
void lodge_values_free(struct lodge_value *values);

/* All that is known of a guest, by names like "block.0.rd.bytes". @groups: libvirt's numbers
 * (VIR_DOMAIN_STATS_*), 0: all. */
struct lodge_value *lodge_domain_values(struct lodge_domain *domain, unsigned groups,
					unsigned flags);
/* Of one of its disks (by target or path) or network cards (by the name of the interface or the
 * address), of its memory, in KiB. */
struct lodge_value *lodge_domain_disk_values(struct lodge_domain *domain, const char *disk,
					     unsigned flags);
struct lodge_value *lodge_domain_interface_values(struct lodge_domain *domain, const char *device,
						  unsigned flags);
struct lodge_value *lodge_domain_memory_values(struct lodge_domain *domain, unsigned flags);
/* Of the host's processors, in nanoseconds (@cpu -1: all of them), and its memory, in KiB. */
struct lodge_value *lodge_connection_cpu_values(struct lodge_connection *connection, int cpu,
						unsigned flags);
struct lodge_value *lodge_connection_memory_values(struct lodge_connection *connection,
						   unsigned flags);

#ifdef __cplusplus
}
#endif
#endif
