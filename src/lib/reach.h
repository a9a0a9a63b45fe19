/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where daemons are, and how to get there. */
#ifndef LODGE_LIB_REACH_H
#define LODGE_LIB_REACH_H

#include <stdbool.h>

#define REACH_SYSTEM_SOCKET "/run/libvirt/libvirt-sock"

struct rpc_caller;

struct ssh_target {
	const char *host, *user, *port; /* the latter two NULL: ssh's choice */
	const char *socket;             /* the daemon's there; NULL: the usual one */
	const char *key, *program;      /* files; NULL: the usual ones */
	bool session, read_only, no_tty;
};

/* --- reach.c --- */
struct reached {
	const char *name; /* what to open there, or NULL */
	bool by_ssh;      /* which may still fail */
};
/* Connects to what @uri names (NULL: the usual one). NULL: the thread's error is set. */
struct rpc_caller *reach(const char *uri, unsigned flags, struct reached *reached,
			 const char *function);
/* The socket alone, of a daemon on this host; -1: the thread's error is set. */
int reach_socket(const char *uri, unsigned flags, const char *function);

/* --- ssh.c --- */
/* A socket whose other end is the daemon there, or ssh, which may still fail; -1: the thread's
 * error is set. */
int ssh_connect(const struct ssh_target *target, const char *function);

#endif
