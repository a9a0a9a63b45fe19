/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TLS below libvirt's protocol: GnuTLS, with X.509 certificates on both sides.
 *
 *   client --hello--> server        Both look at the other's certificate: it must be of the
 *   client <--hello-- server        authority, in force and not revoked; the server's must have
 *   client <--'\1'--- server        the name that was connected to, and the client's a name that
 *   client <--calls-> server        is allowed. The byte says that the client's was good.
 *
 * All functions but those of credentials are for any thread; a lock of its own guards each
 * connection's session, and nothing waits: the descriptor does not block.
 */
#ifndef LODGE_RPC_TLS_H
#define LODGE_RPC_TLS_H

#include "base/types.h"

#include <glib.h>
#include <sys/types.h>

/* Files in PEM. */
struct rpc_pki {
	const char *authority;   /* whose certificates are good */
	const char *revoked;     /* its list of those that are not; may be missing, or NULL */
	const char *certificate; /* ours, with those between it and the authority's */
	const char *key;         /* of it */
};

struct rpc_credentials;

/* Loads them; no descriptor stays open. NULL: @error names the file. */
struct rpc_credentials *rpc_credentials_load(const struct rpc_pki *pki, GError **error);
/*
 * Of a server: clients must have one of these distinguished names (RFC 4514, as certtool(1) prints
 * them), in which * and ? stand for any text and any character. NULL or none: all may come.
 */
void rpc_credentials_allow(struct rpc_credentials *credentials, const char *const *names);
/* No connection may use them any more. NULL is ignored. */
void rpc_credentials_free(struct rpc_credentials *credentials);

struct rpc_tls;

/* For @fd, which is the caller's and stops blocking; @host is the server's name, NULL to serve.
 * NULL: GnuTLS has no memory, or no algorithm is allowed on this host. */
struct rpc_tls *rpc_tls_new(const struct rpc_credentials *credentials, int fd, const char *host);
/* Says good-bye, without waiting. NULL is ignored. */
void rpc_tls_free(struct rpc_tls *tls);

enum rpc_tls_step {
	RPC_TLS_DONE,
	RPC_TLS_WANTS_INPUT,
	RPC_TLS_WANTS_OUTPUT,
	RPC_TLS_FAILED, /* rpc_tls_problem() says why */
};

/* As far as it gets: to be called again when the descriptor has what it wants, until it is done. */
enum rpc_tls_step rpc_tls_handshake(struct rpc_tls *tls);
/* Owned by @tls. */
const char *rpc_tls_problem(const struct rpc_tls *tls);
/* The distinguished name in the other's certificate, once it was found good; owned by @tls. */
const char *rpc_tls_peer_name(const struct rpc_tls *tls);

/*
 * As recv() and send() with MSG_DONTWAIT, of a connection with @tls, or with NULL of @fd itself.
 * An error of TLS is EPROTO.
 */
ssize_t rpc_tls_receive(struct rpc_tls *tls, int fd, void *bytes, size_t n);
ssize_t rpc_tls_send(struct rpc_tls *tls, int fd, const void *bytes, size_t n);
/* Does something wait here that poll() does not tell of? NULL: no. */
bool rpc_tls_pending(struct rpc_tls *tls);

#endif
