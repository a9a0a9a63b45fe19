/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a network card is plugged into: something that takes and gives Ethernet frames.
 *
 *   device -> net_send(frame) -> backend -> helper process, tap, ...
 *   device <- receive(frame)... batch_end() <- backend's thread
 *
 * A backend is one file with one struct net_backend. A frame is an Ethernet frame without its
 * checksum, behind a network header of NET_HEADER_BYTES (virtio 1.2 section 5.1.6.1): what the
 * guest sends may lack a checksum or be a TCP packet of up to 64 KiB, as its header says; what it
 * gets is complete, and num_buffers is the device's to fill in. A backend without room says so and
 * calls writable() later; so does the client, which calls net_resume().
 *
 * receive(), batch_end() and writable() are called on the backend's thread with no lock held;
 * net_send() and net_resume() on any thread, also with the device's locks held.
 */
#ifndef LODGE_NET_NET_H
#define LODGE_NET_NET_H

#include "base/statistics.h"
#include "base/types.h"
#include <glib.h>
#include <sys/uio.h>

#define NET_ERROR net_error_quark()
GQuark net_error_quark(void); /* codes are errno values */

#define NET_HEADER_BYTES 12
#define NET_FRAME_MIN    (NET_HEADER_BYTES + 14)
#define NET_FRAME_MAX    (NET_HEADER_BYTES + 65536 + 22)

struct net;

struct net_client {
	void *opaque;
	/* One frame. False: no room now; the backend keeps it and waits for net_resume(). */
	bool (*receive)(void *opaque, const u8 *frame, size_t bytes);
	/* No frame waits at this moment: time for an interrupt. */
	void (*batch_end)(void *opaque);
	/* There is room again after net_send() said there was none. */
	void (*writable)(void *opaque);
};

struct net_config {
	const char *driver;                /* "socket" */
	int fd;                            /* ownership passes when opening succeeds */
	struct statistics_net *statistics; /* where frames are counted, or NULL */
};

struct net_backend {
	const char *name;
	const char *help;
	struct net *(*open)(const struct net_config *config, GError **error);
	bool (*send)(struct net *net, const struct iovec *iov, unsigned count);
	void (*attach)(struct net *net, const struct net_client *client);
	void (*resume)(struct net *net);
	void (*close)(struct net *net);
};

/* The backend's own struct begins with this. */
struct net {
	const struct net_backend *backend;
	struct statistics_net *statistics; /* of the config, or own_statistics */
	struct statistics_net own_statistics;
};

struct net *net_open(const struct net_config *config, GError **error);
void net_close(struct net *net); /* NULL is ignored */

/* The device that uses it, or NULL: none, frames are left unread. Returns when no call of the old
 * client is under way. */
void net_attach(struct net *net, const struct net_client *client);
/* Sends a frame of NET_FRAME_MIN to NET_FRAME_MAX bytes. False: no room now, writable() follows. A
 * frame that nobody takes because the other end is gone counts as sent. */
bool net_send(struct net *net, const struct iovec *iov, unsigned count);
/* receive() would take a frame again. */
void net_resume(struct net *net);

/* For backends: the client has taken a frame of so many bytes. */
void net_count_received(struct net *net, size_t bytes);

extern const struct net_backend net_backend_socket;    /* socket.c */
extern const struct net_backend *const net_backends[]; /* NULL-terminated */

#endif
