/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a network card is plugged into: something that takes and gives Ethernet frames.
 *
 *   device -> net_send(frame) -> backend -> helper process, tap, ...
 *   device <- receive(frame) <- backend's thread
 *
 * A backend is one file with one struct net_backend. Offloads: a frame may carry a virtio network
 * header (virtio 1.2 section 5.1.6) of NET_HEADER_BYTES when both sides agreed to net_features.
 */
#ifndef LODGE_NET_NET_H
#define LODGE_NET_NET_H

#include "base/types.h"
#include <glib.h>
#include <sys/uio.h>

#define NET_ERROR net_error_quark()
GQuark net_error_quark(void); /* codes are errno values */

#define NET_HEADER_BYTES 12
#define NET_FRAME_MAX    (65536 + 22) /* largest frame with segmentation offload */

#define NET_FEATURE_CSUM BIT(0) /* frames may lack their checksum, the header says where */
#define NET_FEATURE_TSO  BIT(1) /* frames may be larger than the link's MTU */

struct net;

struct net_client {
	void *opaque;
	/* On the backend's thread: one frame, its header first if one was agreed. False: no room
	 * now; the backend keeps it and waits for net_resume(). */
	bool (*receive)(void *opaque, const u8 *frame, size_t bytes);
};

struct net_config {
	const char *driver; /* "socket" */
	int fd;             /* ownership passes when opening succeeds */
};

struct net_backend {
	const char *name;
	const char *help;
	struct net *(*open)(const struct net_config *config, GError **error);
	u64 (*features)(struct net *net); /* NET_FEATURE_* that it can take and give */
	void (*set_features)(struct net *net, u64 features);
	/* Any thread. False: no room now; the client's frame is dropped or tried again. */
	bool (*send)(struct net *net, const struct iovec *iov, unsigned count);
	void (*attach)(struct net *net, const struct net_client *client); /* NULL: none */
	void (*resume)(struct net *net);
	void (*close)(struct net *net);
};

/* The backend's own struct begins with this. */
struct net {
	const struct net_backend *backend;
};

struct net *net_open(const struct net_config *config, GError **error);
void net_close(struct net *net); /* NULL is ignored */

extern const struct net_backend *const net_backends[]; /* NULL-terminated */

#endif
