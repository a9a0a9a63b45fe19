/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TLS by GnuTLS. See tls.h. */
#include "rpc/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WELCOME 1 /* the byte by which a server says that the client's certificate is good */

struct rpc_credentials {
	gnutls_certificate_credentials_t x509;
	GPtrArray *allowed; /* patterns; NULL: all may come */
};

enum phase { SHAKING, WELCOMING, OVER };

struct rpc_tls {
	GMutex lock; /* of the session */
	gnutls_session_t session;
	const struct rpc_credentials *credentials;
	char *host; /* the server's name; NULL: we serve */
	enum phase phase;
	bool unsent; /* the session keeps what it could not send */
	char *problem, *peer;
};

/* --- credentials --- */

static G_DEFINE_QUARK(rpc - tls, rpc_tls_error);

static bool check(int status, const char *doing, const char *path, GError **error)
{
	if (status >= 0)
		return true;
	g_set_error(error, rpc_tls_error_quark(), 0, "cannot %s %s: %s", doing, path,
		    gnutls_strerror(status));
	return false;
}

/* GnuTLS says of all that it cannot read that there was an error while reading. */
static bool can_read(const char *path, GError **error)
{
	if (!access(path, R_OK))
		return true;
	g_set_error(error, rpc_tls_error_quark(), 0, "cannot read %s: %s", path, g_strerror(errno));
	return false;
}

static bool load(gnutls_certificate_credentials_t x509, const struct rpc_pki *pki, GError **error)
{
	const gnutls_x509_crt_fmt_t pem = GNUTLS_X509_FMT_PEM;
	int found;

	if (!can_read(pki->authority, error) || !can_read(pki->certificate, error) ||
	    !can_read(pki->key, error))
		return false;
	found = gnutls_certificate_set_x509_trust_file(x509, pki->authority, pem);
	if (!check(found, "use the authority's certificate", pki->authority, error))
		return false;
	if (!found) {
		g_set_error(error, rpc_tls_error_quark(), 0, "%s holds no certificate",
			    pki->authority);
		return false;
	}
	if (pki->revoked && !access(pki->revoked, F_OK) &&
	    !check(gnutls_certificate_set_x509_crl_file(x509, pki->revoked, pem),
		   "use the list of revoked certificates", pki->revoked, error))
		return false;
	return check(gnutls_certificate_set_x509_key_file(x509, pki->certificate, pki->key, pem),
		     "use the certificate and its key", pki->certificate, error);
}

struct rpc_credentials *rpc_credentials_load(const struct rpc_pki *pki, GError **error)
{
	struct rpc_credentials *credentials = g_new0(struct rpc_credentials, 1);

	if (gnutls_certificate_allocate_credentials(&credentials->x509))
		g_error("no memory for credentials");
	if (load(credentials->x509, pki, error))
		return credentials;
	rpc_credentials_free(credentials);
	return NULL;
}

void rpc_credentials_allow(struct rpc_credentials *credentials, const char *const *names)
{
	if (!names || !*names)
		return;
	credentials->allowed = g_ptr_array_new_with_free_func((GDestroyNotify)g_pattern_spec_free);
	for (; *names; names++)
		g_ptr_array_add(credentials->allowed, g_pattern_spec_new(*names));
}

void rpc_credentials_free(struct rpc_credentials *credentials)
{
	if (!credentials)
		return;
	gnutls_certificate_free_credentials(credentials->x509);
	if (credentials->allowed)
		g_ptr_array_unref(credentials->allowed);
	g_free(credentials);
}

/* --- the other's certificate --- */

static void G_GNUC_PRINTF(2, 3) problem(struct rpc_tls *tls, const char *fmt, ...)
{
	va_list args;

	g_free(tls->problem);
	va_start(args, fmt);
	tls->problem = g_strdup_vprintf(fmt, args);
	va_end(args);
}

static bool is_valid(struct rpc_tls *tls)
{
	gnutls_datum_t text = {};
	unsigned status;
	int failed = gnutls_certificate_verify_peers2(tls->session, &status);

	if (failed == GNUTLS_E_NO_CERTIFICATE_FOUND) {
		problem(tls, "it showed no certificate");
		return false;
	}
	if (failed) {
		problem(tls, "its certificate cannot be verified: %s", gnutls_strerror(failed));
		return false;
	}
	if (!status)
		return true;
	if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0))
		problem(tls, "its certificate is not good");
	else
		problem(tls, "%s", g_strstrip((char *)text.data));
	gnutls_free(text.data);
	return false;
}

static bool is_allowed(const struct rpc_credentials *credentials, const char *name)
{
	if (!credentials->allowed)
		return true;
	for (guint i = 0; i < credentials->allowed->len; i++)
		if (g_pattern_spec_match_string(credentials->allowed->pdata[i], name))
			return true;
	return false;
}

/* What is in a certificate goes to logs, and its name may hold anything. */
static char *printable(const gnutls_datum_t *text)
{
	char *copy = g_utf8_make_valid((const char *)text->data, text->size);

	for (char *c = copy; *c; c++)
		if (g_ascii_iscntrl(*c))
			*c = '?';
	return copy;
}

static bool read_name(struct rpc_tls *tls, gnutls_x509_crt_t certificate)
{
	unsigned count;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(tls->session, &count);
	gnutls_datum_t name = {};

	if (!chain || !count ||
	    gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) ||
	    gnutls_x509_crt_get_dn3(certificate, &name, 0))
		return false;
	tls->peer = printable(&name);
	gnutls_free(name.data);
	return true;
}

static bool has_good_certificate(struct rpc_tls *tls)
{
	gnutls_x509_crt_t certificate;
	bool good = false;

	if (!is_valid(tls) || gnutls_x509_crt_init(&certificate))
		return false;
	if (!read_name(tls, certificate))
		problem(tls, "its certificate cannot be read");
	else if (tls->host && !gnutls_x509_crt_check_hostname(certificate, tls->host))
		problem(tls, "its certificate, of %s, is not for the name %s", tls->peer,
			tls->host);
	else if (!tls->host && !is_allowed(tls->credentials, tls->peer))
		problem(tls, "the name in its certificate, %s, is not allowed", tls->peer);
	else
		good = true;
	gnutls_x509_crt_deinit(certificate);
	return good;
}

/* --- the handshake --- */

static bool set_up(struct rpc_tls *tls, int fd)
{
	gnutls_session_t session = tls->session;

	if (gnutls_set_default_priority(session) ||
	    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->credentials->x509))
		return false;
	if (!tls->host)
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
	else if (!g_hostname_is_ip_address(tls->host))
		gnutls_server_name_set(session, GNUTLS_NAME_DNS, tls->host, strlen(tls->host));
	gnutls_transport_set_int(session, fd);
	return true;
}

struct rpc_tls *rpc_tls_new(const struct rpc_credentials *credentials, int fd, const char *host)
{
	const unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL;
	struct rpc_tls *tls = g_new0(struct rpc_tls, 1);

	g_mutex_init(&tls->lock);
	tls->credentials = credentials;
	tls->host = g_strdup(host);
	if (!fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) &&
	    !gnutls_init(&tls->session, flags | (host ? GNUTLS_CLIENT : GNUTLS_SERVER)) &&
	    set_up(tls, fd))
		return tls;
	rpc_tls_free(tls);
	return NULL;
}

void rpc_tls_free(struct rpc_tls *tls)
{
	if (!tls)
		return;
	if (tls->phase == OVER)
		gnutls_bye(tls->session, GNUTLS_SHUT_WR);
	if (tls->session)
		gnutls_deinit(tls->session);
	g_mutex_clear(&tls->lock);
	g_free(tls->host);
	g_free(tls->problem);
	g_free(tls->peer);
	g_free(tls);
}

static enum rpc_tls_step wants(const struct rpc_tls *tls)
{
	return gnutls_record_get_direction(tls->session) ? RPC_TLS_WANTS_OUTPUT
							 : RPC_TLS_WANTS_INPUT;
}

static bool is_again(ssize_t status)
{
	return status == GNUTLS_E_AGAIN || status == GNUTLS_E_INTERRUPTED;
}

static enum rpc_tls_step shake(struct rpc_tls *tls)
{
	int status = gnutls_handshake(tls->session);

	if (status < 0 && !gnutls_error_is_fatal(status))
		return wants(tls);
	if (status == GNUTLS_E_FATAL_ALERT_RECEIVED)
		problem(tls, "it refuses: %s",
			gnutls_alert_get_name(gnutls_alert_get(tls->session)));
	else if (status == GNUTLS_E_PREMATURE_TERMINATION)
		problem(tls, "it has closed the connection");
	else if (status < 0)
		problem(tls, "the TLS handshake failed: %s", gnutls_strerror(status));
	else if (has_good_certificate(tls))
		return RPC_TLS_DONE;
	if (status >= 0)
		gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, GNUTLS_A_BAD_CERTIFICATE);
	return RPC_TLS_FAILED;
}

/* In TLS 1.3 a client learns only here that its certificate was refused. */
static enum rpc_tls_step await_welcome(struct rpc_tls *tls)
{
	u8 byte = 0;
	ssize_t n = gnutls_record_recv(tls->session, &byte, 1);

	if (is_again(n))
		return wants(tls);
	if (n == 1 && byte == WELCOME)
		return RPC_TLS_DONE;
	if (n == GNUTLS_E_FATAL_ALERT_RECEIVED)
		problem(tls, "it refuses our certificate: %s",
			gnutls_alert_get_name(gnutls_alert_get(tls->session)));
	else
		problem(tls, "it refuses our certificate");
	return RPC_TLS_FAILED;
}

static enum rpc_tls_step welcome(struct rpc_tls *tls)
{
	const u8 byte = WELCOME;
	ssize_t n = tls->unsent ? gnutls_record_send(tls->session, NULL, 0)
				: gnutls_record_send(tls->session, &byte, 1);

	tls->unsent = is_again(n);
	if (tls->unsent)
		return wants(tls);
	if (n == 1)
		return RPC_TLS_DONE;
	problem(tls, "the TLS handshake failed: %s", gnutls_strerror(n));
	return RPC_TLS_FAILED;
}

enum rpc_tls_step rpc_tls_handshake(struct rpc_tls *tls)
{
	enum rpc_tls_step step = RPC_TLS_DONE;

	g_mutex_lock(&tls->lock);
	while (step == RPC_TLS_DONE && tls->phase != OVER) {
		if (tls->phase == SHAKING)
			step = shake(tls);
		else
			step = tls->host ? await_welcome(tls) : welcome(tls);
		if (step == RPC_TLS_DONE)
			tls->phase++;
	}
	g_mutex_unlock(&tls->lock);
	return step;
}

const char *rpc_tls_problem(const struct rpc_tls *tls)
{
	return tls->problem;
}

const char *rpc_tls_peer_name(const struct rpc_tls *tls)
{
	return tls->peer;
}

/* --- bytes --- */

static ssize_t as_errno(ssize_t n)
{
	if (n >= 0)
		return n;
	if (n == GNUTLS_E_PREMATURE_TERMINATION) /* a process that was killed says no good-bye */
		return 0;
	errno = n == GNUTLS_E_AGAIN ? EAGAIN : n == GNUTLS_E_INTERRUPTED ? EINTR : EPROTO;
	return -1;
}

ssize_t rpc_tls_receive(struct rpc_tls *tls, int fd, void *bytes, size_t n)
{
	ssize_t got;

	if (!tls)
		return recv(fd, bytes, n, MSG_DONTWAIT);
	g_mutex_lock(&tls->lock);
	got = gnutls_record_recv(tls->session, bytes, n);
	g_mutex_unlock(&tls->lock);
	return as_errno(got);
}

/* What the session could not send it has copied, and sends by being called with nothing. */
ssize_t rpc_tls_send(struct rpc_tls *tls, int fd, const void *bytes, size_t n)
{
	ssize_t sent;

	if (!tls)
		return send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	g_mutex_lock(&tls->lock);
	sent = tls->unsent ? gnutls_record_send(tls->session, NULL, 0)
			   : gnutls_record_send(tls->session, bytes, n);
	tls->unsent = is_again(sent);
	g_mutex_unlock(&tls->lock);
	return as_errno(sent);
}

bool rpc_tls_pending(struct rpc_tls *tls)
{
	bool pending;

	if (!tls)
		return false;
	g_mutex_lock(&tls->lock);
	pending = gnutls_record_check_pending(tls->session);
	g_mutex_unlock(&tls->lock);
	return pending;
}
