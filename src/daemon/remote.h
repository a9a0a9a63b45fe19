/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lodged was told of clients that do not come to its UNIX sockets. */
#ifndef LODGE_DAEMON_REMOTE_H
#define LODGE_DAEMON_REMOTE_H

#include "daemon/daemon.h"

/* Addresses are ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT or :PORT. NULL: not that. */
struct remote_options {
	char *tcp;    /* only addresses of the loopback; port 16509 where none is given */
	char *tls;    /* ""  is all addresses of the host; port 16514 */
	char *pki;    /* the folder of cacert.pem, servercert.pem, serverkey.pem; NULL: libvirt's */
	char **allow; /* names of clients, as rpc_credentials_allow() */
};

/* --- remote.c --- */
/* Listens where it was asked to; @daemon has its server, and gets credentials for it. */
bool remote_listen(struct daemon *daemon, const struct remote_options *options, GError **error);

#endif
