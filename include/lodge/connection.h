/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection to lodged, or to anything else that serves libvirt's protocol.
 *
 * Any number of threads may use one connection, and the objects that come from it, at once; the
 * exceptions are said where they are. Objects hold their connection: it ends when the last of them
 * has been freed. After a fork() only the parent may go on using it.
 *
 * Functions return NULL or -1 when they fail: lodge_last_error() says why. Strings that they return
 * as char * are the caller's: free() them. Flags that have no names yet must be 0.
 */
#ifndef LODGE_CONNECTION_H
#define LODGE_CONNECTION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LODGE_UUID_BYTES 16
#define LODGE_UUID_CHARS 37 /* "8-4-4-4-12" and the zero byte */

struct lodge_connection;

/* Of the ..._define() functions, and lodge_network_create(): an element or attribute that is not
 * known at its place is an error, VIR_ERR_XML_INVALID_SCHEMA; else it is kept, without effect. */
enum lodge_define_flags {
	LODGE_DEFINE_VALIDATE = 1 << 0,
};

enum lodge_open_flags {
	LODGE_OPEN_READ_ONLY = 1 << 0, /* for listing and watching; no root needed */
};

/*
 * Connects. @uri is one of
 *   lodge:///system, qemu:///system        the system's daemon (/run/libvirt/libvirt-sock)
 *   lodge:///session, qemu:///session      this user's own
 *   lodge+unix:///?socket=PATH             the daemon that listens there; also qemu+unix://...
 *   /PATH                                  the same
 *   lodge+ssh://[USER@]HOST[:PORT]/system  another host's, by ssh(1), which `lodge` or netcat must
 *                                          be reached with; also qemu+ssh://
 *   lodge+tls://HOST[:PORT]/system         another host's, by TLS: it shows a certificate for the
 *                                          name HOST, and is shown ours (below); also qemu+tls://
 *   lodge+tcp://localhost[:PORT]/system    this host's, by TCP; also qemu+tcp://
 * and with NULL what $LODGE_URI says, else the system's daemon for root and the session's for
 * everybody else. Free with lodge_connection_free().
 *
 * With ssh, ?socket=PATH is the daemon's socket there, keyfile=FILE what ssh is to prove itself by,
 * no_tty=1 keeps it from asking for passwords, and command=PROGRAM is another ssh.
 *
 * With TLS, ?pkipath=DIR names the folder of cacert.pem, clientcert.pem, clientkey.pem and, if
 * there is one, cacrl.pem. Without it they are in ~/.pki/libvirt, or else where libvirt keeps them
 * below /etc/pki. Blocks while it connects, and at most 30 s for each answer in the handshake.
 */
struct lodge_connection *lodge_connection_open(const char *uri, unsigned flags);
/* The path of the socket on this host that lodge_connection_open() with the same arguments connects
 * to; NULL: there is none, as for another host. */
char *lodge_connection_socket(const char *uri, unsigned flags);
/* What holds the connection ends: this is one of them, each object another. NULL is fine. */
void lodge_connection_free(struct lodge_connection *connection);

/* Has the connection been lost? Everything asked of it fails then; open another. */
int lodge_connection_is_lost(struct lodge_connection *connection);
/* "qemu:///system", as the daemon calls itself. */
char *lodge_connection_uri(struct lodge_connection *connection, unsigned flags);
char *lodge_connection_hostname(struct lodge_connection *connection, unsigned flags);
/* XML: what the host can do, and what a guest on it can have. */
char *lodge_connection_capabilities(struct lodge_connection *connection, unsigned flags);
char *lodge_connection_domain_capabilities(struct lodge_connection *connection, unsigned flags);
/* major * 1000000 + minor * 1000 + micro, of the interface and of the hypervisor. */
int lodge_connection_versions(struct lodge_connection *connection, uint64_t *interface,
			      uint64_t *hypervisor, unsigned flags);

struct lodge_node {
	char model[32]; /* of the processors */
	uint64_t memory_kib;
	int cpus, mhz, numa_nodes, sockets, cores, threads;
};

int lodge_connection_node(struct lodge_connection *connection, struct lodge_node *node,
			  unsigned flags);

/* Names of processor models that guests can have: an array that ends with NULL, for
 * lodge_cpu_models_free(). */
char **lodge_connection_cpu_models(struct lodge_connection *connection, const char *arch,
				   unsigned flags);
void lodge_cpu_models_free(char **models);
/* -1: failed. */
int lodge_connection_max_vcpus(struct lodge_connection *connection, const char *type);
int lodge_connection_free_memory(struct lodge_connection *connection, uint64_t *bytes,
				 unsigned flags);

/* --- the host (src/lib/host.c) --- */

/* Of a <cpu> element with what this host's processor, or what its engine gives guests
 * (@with_hypervisor), has: 0 lacks something, 1 the same, 2 more than asked for; -1: failed. */
int lodge_connection_compare_cpu(struct lodge_connection *connection, const char *xml,
				 int with_hypervisor, unsigned flags);
/* A <cpu> element that @count hosts, whose own are @xml, have in common. */
char *lodge_connection_baseline_cpu(struct lodge_connection *connection, const char *const *xml,
				    unsigned count, int with_hypervisor, unsigned flags);
/* XML: what the host's firmware says of it, and what storage pools there can be. */
char *lodge_connection_sysinfo(struct lodge_connection *connection, unsigned flags);
char *lodge_connection_pool_capabilities(struct lodge_connection *connection, unsigned flags);
int lodge_connection_free_pages(struct lodge_connection *connection, unsigned page_kib, int node,
				uint64_t *pages, unsigned flags);
enum lodge_alloc_pages_flags {
	LODGE_ALLOC_PAGES_SET = 1 << 0, /* so many in all; else so many more */
};

/* Has the host set pages of @page_kib apart on @nodes of its nodes from @first_node on (-1: on
 * all), @count on each. How many were, or -1. */
int lodge_connection_alloc_pages(struct lodge_connection *connection, unsigned page_kib,
				 uint64_t count, int first_node, unsigned nodes, unsigned flags);
/* A bit for each processor that is online: free() it. */
uint8_t *lodge_connection_cpu_map(struct lodge_connection *connection, unsigned *cpus,
				  unsigned *online, size_t *bytes, unsigned flags);

/* Names of the host's devices that are told of: an array that ends with NULL, for
 * lodge_devices_free(). @flags: libvirt's, of what kinds of them. */
char **lodge_device_list(struct lodge_connection *connection, unsigned flags);
void lodge_devices_free(char **names);
char *lodge_device_xml(struct lodge_connection *connection, const char *name, unsigned flags);
/* "" for one that has none. */
char *lodge_device_parent(struct lodge_connection *connection, const char *name);

enum lodge_interfaces_flags {
	LODGE_INTERFACES_INACTIVE = 1 << 0, /* neither of these two: both */
	LODGE_INTERFACES_ACTIVE = 1 << 1,
};

struct lodge_interface {
	char name[64], mac[64];
};

enum lodge_interface_xml_flags {
	LODGE_INTERFACE_XML_INACTIVE = 1 << 0, /* as it is set up, whatever it is now */
};

/* The host's network cards, as its kernel calls them: an array of *@count; free() it. @flags: of
 * enum lodge_interfaces_flags. */
struct lodge_interface *lodge_interface_list(struct lodge_connection *connection, unsigned *count,
					     unsigned flags);
/* By its name and by its address: 0, or -1 with LODGE_ERR_NO_INTERFACE where there is none. */
int lodge_interface_find_name(struct lodge_connection *connection, const char *name,
			      struct lodge_interface *interface);
int lodge_interface_find_mac(struct lodge_connection *connection, const char *mac,
			     struct lodge_interface *interface);
/* 1 when it is up, 0 when not, -1 with the error set. */
int lodge_interface_is_active(struct lodge_connection *connection, const char *name);
/* @flags: of enum lodge_interface_xml_flags. */
char *lodge_interface_xml(struct lodge_connection *connection, const char *name, unsigned flags);

/* --- events ---
 *
 * They are delivered by lodge_connection_dispatch(), so from the caller's own main loop, which
 * watches the descriptor for input:
 *
 *   struct pollfd p = { lodge_connection_fd(connection), POLLIN };
 *   while (poll(&p, 1, -1) > 0 && lodge_connection_dispatch(connection) >= 0)
 *           ;
 *
 * Callbacks run in the thread that dispatches, one at a time, and may call anything but
 * lodge_connection_dispatch().
 */

int lodge_connection_fd(struct lodge_connection *connection);
/* Calls back for each event that is waiting; never waits for one. How many there were, or -1 when
 * the connection is lost. One thread at a time. */
int lodge_connection_dispatch(struct lodge_connection *connection);
enum lodge_object_kind {
	LODGE_OBJECT_NETWORK,
	LODGE_OBJECT_POOL,
	LODGE_OBJECT_SECRET, /* whose name is its UUID */
	LODGE_OBJECT_DEVICE,
};

/* @event and @detail are libvirt's numbers: the life cycle's of that kind. */
typedef void lodge_object_event_fn(const char *name, int event, int detail, void *opaque);
/* Has @fn called for what happens to objects of a kind. The ID of this watch, or -1. */
int lodge_object_watch(struct lodge_connection *connection, enum lodge_object_kind kind,
		       lodge_object_event_fn *fn, void *opaque, unsigned flags);
/* Ends a watch that one of the functions lodge_*_watch() began with @id. */
int lodge_unwatch(struct lodge_connection *connection, int id);

#ifdef __cplusplus
}
#endif
#endif
