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
/* Of the host's processors that it used: "cpu_time", and where that is known "user_time" and
 * "system_time", in nanoseconds. */
struct lodge_value *lodge_domain_cpu_values(struct lodge_domain *domain, unsigned flags);
/* What the daemon is doing with a guest: @type is libvirt's number, 0 for nothing. */
struct lodge_value *lodge_domain_job(struct lodge_domain *domain, int *type, unsigned flags);

/* --- limits of a guest's share of the host (src/lib/parameters.c) --- */

enum lodge_parameter_kind {
	LODGE_PARAMETERS_SCHEDULER,
	LODGE_PARAMETERS_MEMORY,
	LODGE_PARAMETERS_BLOCK,
	LODGE_PARAMETERS_NUMA,
	LODGE_PARAMETERS_DISK, /* of one of its disks: these two want a device */
	LODGE_PARAMETERS_INTERFACE,
};

/* @device: NULL, or the disk or interface; @flags: of enum lodge_affect_flags. */
struct lodge_value *lodge_domain_parameters(struct lodge_domain *domain,
					    enum lodge_parameter_kind kind, const char *device,
					    unsigned flags);
/* Changes those in @values, which ends with one without a name. Numbers of either sign, and truth
 * values, fit any number. */
int lodge_domain_set_parameters(struct lodge_domain *domain, enum lodge_parameter_kind kind,
				const char *device, const struct lodge_value *values,
				unsigned flags);
/* How the host's kernel treats memory that guests share. */
struct lodge_value *lodge_connection_memory_parameters(struct lodge_connection *connection,
						       unsigned flags);

#ifdef __cplusplus
}
#endif
#endif
