/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge-net: a guest's user network, in a process of its own.
 *
 *   lodge-vmm <--frames--> socket <--> lodge-net (libslirp) <--TCP, UDP--> the host's network
 *
 * The guest sees a router at 10.0.2.2 that is also the host, a name server at 10.0.2.3, and gets
 * 10.0.2.15 by DHCP. Nothing reaches it from outside but through forwarded ports.
 *
 * One message of the socket (SOCK_SEQPACKET) is one Ethernet frame behind a header of
 * FRAME_HEADER_BYTES, the network header of virtio 1.2, 5.1.6. What the guest sends may lack its
 * checksum or be longer than the link takes (segmentation offload); what it gets never does.
 *
 * Whoever takes over lodge-vmm can send anything here: lengths are checked before libslirp sees
 * a frame, and the process can open no file but the resolver's configuration, start no program and
 * make no socket but of the Internet families (confine.c). One thread.
 */
#ifndef LODGE_NET_HELPER_HELPER_H
#define LODGE_NET_HELPER_HELPER_H

#include "base/types.h"

#include <glib.h>
#include <slirp/libslirp.h>
#include <sys/socket.h>

#define FRAME_HEADER_BYTES 12
#define FRAME_BYTES_MAX    (65536 + 22)
#define QUEUE_FRAMES_MAX   1024 /* for a guest that does not read; then the newest is dropped */

#define HELPER_ERROR g_quark_from_static_string("lodge-net")

struct timer;

struct helper {
	int fd; /* the guest's socket */
	Slirp *slirp;
	GQueue *waiting;   /* GBytes: frames for the guest that its socket did not take */
	GPtrArray *timers; /* struct timer */
	GArray *polled;    /* struct pollfd; [0] is the guest's socket */
};

/* --- frames.c --- */

/*
 * Makes a frame from the guest complete: checks its header against its length and fills in the
 * checksum that it asks for. @message is header and frame, @bytes long. False: drop it.
 */
bool frame_complete(u8 *message, size_t bytes);
/* Sends a frame to the guest, or queues it behind those that wait. */
void frame_to_guest(struct helper *helper, const void *frame, size_t bytes);
/* Sends what waits, as far as the socket takes it. */
void frames_flush(struct helper *helper);

/* --- stack.c --- */
bool stack_open(struct helper *helper, GError **error);
/* @text: "PROTO,[ADDRESS],FIRST-LAST,TO". */
bool stack_forward(struct helper *helper, const char *text, GError **error);
void stack_close(struct helper *helper);
/* Milliseconds until the next timer, at most @most. */
u32 stack_timer_wait(const struct helper *helper, u32 most);
void stack_run_timers(struct helper *helper);

/* --- loop.c --- */
/* Until the guest's end of the socket closes. */
void loop_run(struct helper *helper);

/* --- confine.c --- */
/* From here on only what a running network needs. */
bool confine(GError **error);

#endif
