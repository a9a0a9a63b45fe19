/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains: guests, whether they run or are only defined. What is said of all objects in
 * connection.h holds here too. Numbers are libvirt's.
 */
#ifndef LODGE_DOMAIN_H
#define LODGE_DOMAIN_H

#include <lodge/connection.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lodge_domain;

enum lodge_domain_list_flags {
	LODGE_DOMAINS_ACTIVE = 1 << 0, /* neither of these two: both */
	LODGE_DOMAINS_INACTIVE = 1 << 1,
	LODGE_DOMAINS_PERSISTENT = 1 << 2,
	LODGE_DOMAINS_TRANSIENT = 1 << 3,
	LODGE_DOMAINS_RUNNING = 1 << 4,
	LODGE_DOMAINS_PAUSED = 1 << 5,
	LODGE_DOMAINS_SHUTOFF = 1 << 6,
	LODGE_DOMAINS_OTHER = 1 << 7,
	LODGE_DOMAINS_AUTOSTART = 1 << 10,
	LODGE_DOMAINS_NO_AUTOSTART = 1 << 11,
};

enum lodge_domain_state {
	LODGE_DOMAIN_NO_STATE,
	LODGE_DOMAIN_RUNNING,
	LODGE_DOMAIN_BLOCKED,
	LODGE_DOMAIN_PAUSED,
	LODGE_DOMAIN_SHUTDOWN, /* on its way down */
	LODGE_DOMAIN_SHUTOFF,
	LODGE_DOMAIN_CRASHED,
	LODGE_DOMAIN_PMSUSPENDED,
};

enum lodge_domain_start_flags {
	LODGE_START_PAUSED = 1 << 0,
	LODGE_START_AUTODESTROY = 1 << 1, /* with the connection */
	LODGE_START_VALIDATE = 1 << 4,    /* of lodge_domain_create(): as LODGE_DEFINE_VALIDATE */
};

enum lodge_domain_xml_flags {
	LODGE_XML_SECURE = 1 << 0,   /* with passwords */
	LODGE_XML_INACTIVE = 1 << 1, /* as it will start next time */
	LODGE_XML_UPDATE_CPU = 1 << 2,
	LODGE_XML_MIGRATABLE = 1 << 3, /* for another host */
};

enum lodge_domain_undefine_flags {
	LODGE_UNDEFINE_MANAGED_SAVE = 1 << 0,
	LODGE_UNDEFINE_SNAPSHOTS_METADATA = 1 << 1,
	LODGE_UNDEFINE_NVRAM = 1 << 2,
	LODGE_UNDEFINE_KEEP_NVRAM = 1 << 3,
};

struct lodge_domain_info {
	enum lodge_domain_state state;
	uint64_t max_memory_kib, memory_kib;
	unsigned vcpus;
	uint64_t cpu_time_ns; /* of the host's, since it started */
};

/* An array that ends with NULL; free with lodge_domains_free(). */
struct lodge_domain **lodge_domain_list(struct lodge_connection *connection, unsigned flags);
void lodge_domains_free(struct lodge_domain **domains);

struct lodge_domain *lodge_domain_by_name(struct lodge_connection *connection, const char *name,
					  unsigned flags);
struct lodge_domain *lodge_domain_by_uuid(struct lodge_connection *connection,
					  const uint8_t uuid[LODGE_UUID_BYTES], unsigned flags);
struct lodge_domain *lodge_domain_by_id(struct lodge_connection *connection, int id,
					unsigned flags);
/* By what people type: an ID, a UUID or a name, in this order. */
struct lodge_domain *lodge_domain_find(struct lodge_connection *connection, const char *text,
				       unsigned flags);
/* NULL is fine. */
void lodge_domain_free(struct lodge_domain *domain);

/* These three cost no call. The ID is of when the object was made, -1: it did not run. */
const char *lodge_domain_name(const struct lodge_domain *domain);
int lodge_domain_id(const struct lodge_domain *domain);
void lodge_domain_uuid(const struct lodge_domain *domain, char text[LODGE_UUID_CHARS]);

/* Adds or changes a definition; one of that name and UUID that runs stays as it is until it ends.
 */
struct lodge_domain *lodge_domain_define(struct lodge_connection *connection, const char *xml,
					 unsigned flags);
int lodge_domain_undefine(struct lodge_domain *domain, unsigned flags);
/* Starts a domain that is gone when it ends. */
struct lodge_domain *lodge_domain_create(struct lodge_connection *connection, const char *xml,
					 unsigned flags);
int lodge_domain_start(struct lodge_domain *domain, unsigned flags);
/* Asks the guest to power off, or to start anew; it may take its time or not listen. */
int lodge_domain_shutdown(struct lodge_domain *domain, unsigned flags);
int lodge_domain_reboot(struct lodge_domain *domain, unsigned flags);
/* At once, as the power plug and the reset button do. */
int lodge_domain_destroy(struct lodge_domain *domain, unsigned flags);
int lodge_domain_reset(struct lodge_domain *domain, unsigned flags);
int lodge_domain_suspend(struct lodge_domain *domain, unsigned flags);
int lodge_domain_resume(struct lodge_domain *domain, unsigned flags);

int lodge_domain_info(struct lodge_domain *domain, struct lodge_domain_info *info, unsigned flags);
/* @reason, unless NULL: libvirt's number, whose meaning depends on the state. -1: failed. */
int lodge_domain_state(struct lodge_domain *domain, int *reason, unsigned flags);
char *lodge_domain_xml(struct lodge_domain *domain, unsigned flags);
/* 1, 0, or -1. */
int lodge_domain_is_active(struct lodge_domain *domain);
int lodge_domain_is_persistent(struct lodge_domain *domain);
int lodge_domain_autostart(struct lodge_domain *domain);
int lodge_domain_set_autostart(struct lodge_domain *domain, int autostart, unsigned flags);

/*
 * Open files for guests (src/lib/files.c), by a daemon of this host: a disk of type 'file' with
 * <source file='PATH' fdgroup='NAME'/> is made of them in place of PATH, which is then only a name.
 * The descriptors stay the program's, which may close them when the call returns; the daemon and
 * the guest have copies. A disk needs one that is open for reading and writing, or with <readonly/>
 * one for reading. At most 32 go with one call.
 */

/* They are the group @name for each start of the guest until the connection ends, in place of those
 * that were. @flags: 0. */
int lodge_domain_fd_associate(struct lodge_domain *domain, const char *name, const int *fds,
			      unsigned count, unsigned flags);
/* Of this start alone: the first is the group "0", the next is "1". Each must be one of its disks.
 */
int lodge_domain_start_with_files(struct lodge_domain *domain, const int *fds, unsigned count,
				  unsigned flags);
struct lodge_domain *lodge_domain_create_with_files(struct lodge_connection *connection,
						    const char *xml, const int *fds, unsigned count,
						    unsigned flags);

/* --- what is changed of it (src/lib/tune.c) --- */

/* Of the calls below: what is changed or told. Without one, what runs, or the definition when it
 * does not run. */
enum lodge_affect_flags {
	LODGE_AFFECT_LIVE = 1 << 0,
	LODGE_AFFECT_DEFINITION = 1 << 1,
	LODGE_AFFECT_MAXIMUM = 1 << 2, /* of memory and vCPUs: how far it may go */
};

int lodge_domain_set_memory(struct lodge_domain *domain, uint64_t kib, unsigned flags);
int lodge_domain_set_vcpus(struct lodge_domain *domain, unsigned count, unsigned flags);
/* How many it has, or -1. */
int lodge_domain_vcpus(struct lodge_domain *domain, unsigned flags);

enum lodge_metadata_kind {
	LODGE_METADATA_DESCRIPTION,
	LODGE_METADATA_TITLE,
	LODGE_METADATA_ELEMENT, /* XML of others, of which each has a namespace: @uri */
};

char *lodge_domain_metadata(struct lodge_domain *domain, enum lodge_metadata_kind kind,
			    const char *uri, unsigned flags);
/* @text NULL removes it; @key, the prefix of its names, and @uri are of elements alone. */
int lodge_domain_set_metadata(struct lodge_domain *domain, enum lodge_metadata_kind kind,
			      const char *text, const char *key, const char *uri, unsigned flags);
int lodge_domain_rename(struct lodge_domain *domain, const char *name, unsigned flags);

struct lodge_disk_info {
	uint64_t capacity_bytes, allocation_bytes, physical_bytes;
};

/* @disk: its target, as "vda", or its path. */
int lodge_domain_disk_info(struct lodge_domain *domain, const char *disk,
			   struct lodge_disk_info *info, unsigned flags);

struct lodge_vcpu {
	unsigned number;
	int state; /* 0 offline, 1 running, 2 blocked */
	int cpu;   /* of the host, that it ran on last; -1: not known */
	uint64_t time_ns;
};

/* An array of *@count: free() it. */
struct lodge_vcpu *lodge_domain_vcpu_list(struct lodge_domain *domain, unsigned *count,
					  unsigned flags);
/* A command for its monitor, as it is; who uses it may surprise the daemon. The answer as JSON. */
char *lodge_domain_monitor_command(struct lodge_domain *domain, const char *command,
				   unsigned flags);
/* What people should know of it, as comforts that this version left out, or what keeps its
 * definition from starting: an array that ends with NULL, for lodge_messages_free(). */
char **lodge_domain_messages(struct lodge_domain *domain, unsigned flags);
void lodge_messages_free(char **messages);

/* --- where its threads run (src/lib/parameters.c) ---
 *
 * A map has a bit for each of the host's processors, the lowest of the first byte for the first. */

/* @vcpu -1: all threads that run no vCPU. */
int lodge_domain_pin_vcpu(struct lodge_domain *domain, int vcpu, const uint8_t *cpus, size_t bytes,
			  unsigned flags);
/* A map of *@bytes for each of *@count vCPUs, one behind the other: free() it. */
uint8_t *lodge_domain_vcpu_pins(struct lodge_domain *domain, unsigned *count, size_t *bytes,
				unsigned flags);
uint8_t *lodge_domain_emulator_pin(struct lodge_domain *domain, size_t *bytes, unsigned flags);

/* --- details (src/lib/details.c) --- */

struct lodge_iothread {
	unsigned id;
	uint8_t *map; /* a bit for each processor of the host on which it may run */
	size_t bytes;
};

/* Threads for disks alone, of which a guest may have some: *count of them, for
 * lodge_iothreads_free(). NULL: failed. */
struct lodge_iothread *lodge_domain_iothreads(struct lodge_domain *domain, unsigned *count,
					      unsigned flags);
void lodge_iothreads_free(struct lodge_iothread *threads, unsigned count);

struct lodge_control {
	int state;        /* libvirt's number: 0 ready, 1 a job, 2 occupied, 3 lost */
	int detail;       /* of the last one */
	uint64_t time_ms; /* since when */
};

/* Can the daemon reach a guest's process? */
int lodge_domain_control(struct lodge_domain *domain, struct lodge_control *control,
			 unsigned flags);

struct lodge_disk_error {
	char disk[64];
	int error; /* libvirt's number: 1 any, 2 no room */
};

/* Disks that failed: an array of *@count; free() it. */
struct lodge_disk_error *lodge_domain_disk_errors(struct lodge_domain *domain, unsigned *count,
						  unsigned flags);

enum lodge_address_source {
	LODGE_ADDRESS_LEASE, /* what the network's DHCP server gave */
	LODGE_ADDRESS_AGENT, /* what the guest says */
	LODGE_ADDRESS_ARP,   /* what the host has seen */
};

struct lodge_address {
	char interface[64], mac[20], address[64]; /* which may be empty */
	int type;                                 /* 0 IPv4, 1 IPv6 */
	unsigned prefix;
};

/* An array of *@count: free() it. */
struct lodge_address *lodge_domain_addresses(struct lodge_domain *domain,
					     enum lodge_address_source source, unsigned *count,
					     unsigned flags);
/* The button that has a guest's kernel tell where it is. */
int lodge_domain_inject_nmi(struct lodge_domain *domain, unsigned flags);

enum lodge_codeset {
	LODGE_KEYS_LINUX, /* KEY_* of linux/input-event-codes.h */
	LODGE_KEYS_XT,
	LODGE_KEYS_ATSET1,
	LODGE_KEYS_ATSET2,
	LODGE_KEYS_ATSET3,
	LODGE_KEYS_OSX,
	LODGE_KEYS_XT_KBD,
	LODGE_KEYS_USB,
	LODGE_KEYS_WIN32,
	LODGE_KEYS_QNUM,
};

/* Presses up to 16 keys at once. */
int lodge_domain_send_keys(struct lodge_domain *domain, enum lodge_codeset codeset,
			   unsigned hold_ms, const unsigned *keys, unsigned count, unsigned flags);

enum lodge_lifecycle {
	LODGE_LIFECYCLE_POWEROFF,
	LODGE_LIFECYCLE_REBOOT,
	LODGE_LIFECYCLE_CRASH,
};

enum lodge_lifecycle_action {
	LODGE_ACTION_DESTROY,
	LODGE_ACTION_RESTART,
	LODGE_ACTION_RESTART_RENAME,
	LODGE_ACTION_PRESERVE,
	LODGE_ACTION_COREDUMP_DESTROY,
	LODGE_ACTION_COREDUMP_RESTART,
};

int lodge_domain_set_lifecycle(struct lodge_domain *domain, enum lodge_lifecycle lifecycle,
			       enum lodge_lifecycle_action action, unsigned flags);

/*
 * Devices, as elements of <devices>. In this version the definition alone can be changed:
 * LODGE_AFFECT_DEFINITION, or 0 for a guest that does not run; of one that runs, only the <link> of
 * an <interface>, whose @xml is then as lodge_domain_xml() has it but for that. A <disk> goes by
 * its <target dev=>, an <interface> by its <mac address=>; of another device to detach, @xml says
 * as much as it takes to know it. LODGE_ERR_DEVICE_MISSING: there is none. Only disks and
 * interfaces are updated.
 */
int lodge_domain_attach_device(struct lodge_domain *domain, const char *xml, unsigned flags);
int lodge_domain_detach_device(struct lodge_domain *domain, const char *xml, unsigned flags);
int lodge_domain_update_device(struct lodge_domain *domain, const char *xml, unsigned flags);
/* The one that has this <alias name=>. */
int lodge_domain_detach_device_alias(struct lodge_domain *domain, const char *alias,
				     unsigned flags);

/* What a guest uses; numbers since it started. Disks and cards of a guest are summed up. */
struct lodge_domain_stats {
	struct lodge_domain *domain;
	enum lodge_domain_state state;
	uint64_t cpu_time_ns;  /* of the host's */
	uint64_t vcpus;        /* that it has */
	uint64_t memory_kib;   /* that it has */
	uint64_t resident_kib; /* that its process takes of the host */
	uint64_t disk_read_bytes, disk_written_bytes, net_received_bytes, net_sent_bytes;
};

/* Of all guests that run, in one call: an array of *@count, to be freed with
 * lodge_domain_stats_free(), which frees the domains in it too. */
struct lodge_domain_stats *lodge_domain_stats_list(struct lodge_connection *connection,
						   unsigned *count, unsigned flags);
void lodge_domain_stats_free(struct lodge_domain_stats *stats);

/* --- events --- */

enum lodge_domain_event_kind {
	LODGE_EVENT_DEFINED,
	LODGE_EVENT_UNDEFINED,
	LODGE_EVENT_STARTED,
	LODGE_EVENT_SUSPENDED,
	LODGE_EVENT_RESUMED,
	LODGE_EVENT_STOPPED,
	LODGE_EVENT_SHUTDOWN,
	LODGE_EVENT_PMSUSPENDED,
	LODGE_EVENT_CRASHED,
};

/* @domain is good until the callback returns; @detail is libvirt's number. */
typedef void lodge_domain_event_fn(struct lodge_domain *domain, enum lodge_domain_event_kind kind,
				   int detail, void *opaque);
/* Has @fn called for what happens to @domain, or, with NULL, to any. The ID of this watch, for
 * lodge_unwatch(); -1: failed. */
int lodge_domain_watch(struct lodge_connection *connection, struct lodge_domain *domain,
		       lodge_domain_event_fn *fn, void *opaque, unsigned flags);

/* What else happens to guests; libvirt's numbers. */
enum lodge_domain_event {
	LODGE_EVENT_REBOOT = 1,
	LODGE_EVENT_WATCHDOG = 3,        /* @type: what it does, VIR_DOMAIN_EVENT_WATCHDOG_* */
	LODGE_EVENT_IO_ERROR = 4,        /* of disk @device with image @path; @type: what is done */
	LODGE_EVENT_IO_ERROR_REASON = 6, /* the same with @text, "enospc" or nothing */
	LODGE_EVENT_BALLOON_CHANGE = 13, /* @kib: what it has now */
	LODGE_EVENT_METADATA_CHANGE = 23, /* @type: VIR_DOMAIN_METADATA_*; @text: the namespace */
};
struct lodge_event_details {
	int type;
	uint64_t kib;
	const char *path, *device, *text; /* NULL where the event has none */
};

/* @domain and @details are good until the callback returns. */
typedef void lodge_domain_other_event_fn(struct lodge_domain *domain, enum lodge_domain_event event,
					 const struct lodge_event_details *details, void *opaque);
/* As lodge_domain_watch(), for one of these. */
int lodge_domain_watch_other(struct lodge_connection *connection, struct lodge_domain *domain,
			     enum lodge_domain_event event, lodge_domain_other_event_fn *fn,
			     void *opaque, unsigned flags);

enum lodge_monitor_watch_flags {
	LODGE_MONITOR_WATCH_REGEX = 1 << 0, /* @event is a regular expression */
	LODGE_MONITOR_WATCH_NO_CASE = 1 << 1,
};

/* What a guest's monitor tells, with its time; @details are JSON, or NULL. */
typedef void lodge_monitor_event_fn(struct lodge_domain *domain, const char *event, int64_t seconds,
				    unsigned microseconds, const char *details, void *opaque);
/* The same for what the monitor tells: the events called @event, or with NULL all. */
int lodge_monitor_watch(struct lodge_connection *connection, struct lodge_domain *domain,
			const char *event, lodge_monitor_event_fn *fn, void *opaque,
			unsigned flags);

#ifdef __cplusplus
}
#endif
#endif
