/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mutual TLS 1.3 on GnuTLS.  It decides who is let in: only a peer whose
 * certificate chains to our one CA and has the role of our own.  It never falls
 * back to an older version, to a cipher without authentication or to a peer without
 * a certificate, and never asks the wall clock.
 *
 * Timeouts use SO_RCVTIMEO and SO_SNDTIMEO.  A session whose read or write timed
 * out half way is broken (a record may be half sent), so callers close it.
 */
#include "common/cl_tls.h"
#include "common/cl_cleanup.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#define PRIORITY                                                                                   \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM"
#define NAME_MAX_BYTES 256

struct cl_tls_creds {
	gnutls_certificate_credentials_t cred;
	gnutls_priority_t priority;
	char role[CL_TLS_ROLE_MAX];
	atomic_bool roleless;
};

static __thread char refusal[512];

struct cl_tls {
	gnutls_session_t session;
	int fd;
	char peer[NAME_MAX_BYTES];
};

static int fail(char **ret_error, int err, const char *what, const char *path, const char *why)
{
	if (ret_error && asprintf(ret_error, "%s %s: %s", what, path, why) < 0)
		*ret_error = NULL;
	return -err;
}

static int key_mode_check(const char *path, char **ret_error)
{
	char why[96];
	struct stat st;

	if (stat(path, &st) < 0)
		return fail(ret_error, errno, "private key", path, strerror(errno));
	if (!(st.st_mode & 077))
		return 0;
	(void)snprintf(why, sizeof(why), "mode is %04o, allowed is 0600 or stricter",
		       (unsigned)(st.st_mode & 07777));
	return fail(ret_error, EACCES, "private key", path, why);
}

int cl_tls_creds_load(const char *dir, const char *role, struct cl_tls_creds **ret_creds,
		      char **ret_error)
{
	char ca[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
	struct cl_tls_creds *creds;
	int rc;

	if (ret_error)
		*ret_error = NULL;
	(void)snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
	(void)snprintf(cert, sizeof(cert), "%s/%s.pem", dir, role);
	(void)snprintf(key, sizeof(key), "%s/%s.key", dir, role);
	rc = key_mode_check(key, ret_error);
	if (rc)
		return rc;
	creds = calloc(1, sizeof(*creds));
	if (!creds || gnutls_certificate_allocate_credentials(&creds->cred) < 0) {
		free(creds);
		return -ENOMEM;
	}
	(void)snprintf(creds->role, sizeof(creds->role), "%s", role);
	rc = gnutls_certificate_set_x509_trust_file(creds->cred, ca, GNUTLS_X509_FMT_PEM);
	if (rc < 1) {
		cl_tls_creds_free(creds);
		return fail(ret_error, EBADMSG, "CA certificate", ca,
			    rc ? gnutls_strerror(rc) : "holds no certificate");
	}
	rc = gnutls_certificate_set_x509_key_file(creds->cred, cert, key, GNUTLS_X509_FMT_PEM);
	if (rc < 0) {
		cl_tls_creds_free(creds);
		return fail(ret_error, EBADMSG, "certificate", cert, gnutls_strerror(rc));
	}
	rc = gnutls_priority_init(&creds->priority, PRIORITY, NULL);
	if (rc < 0) {
		cl_tls_creds_free(creds);
		return fail(ret_error, EPROTO, "TLS priority", PRIORITY, gnutls_strerror(rc));
	}
	*ret_creds = creds;
	return 0;
}

void cl_tls_creds_free(struct cl_tls_creds *creds)
{
	if (!creds)
		return;
	gnutls_certificate_free_credentials(creds->cred);
	if (creds->priority)
		gnutls_priority_deinit(creds->priority);
	free(creds);
}

void cl_tls_creds_roleless_set(struct cl_tls_creds *creds, bool taken)
{
	atomic_store(&creds->roleless, taken);
}

const char *cl_tls_refusal(void)
{
	return refusal;
}

/* One role and no other may be named: a second OU is refused as well. */
static int role_check(const struct cl_tls_creds *creds, const char *peer, gnutls_x509_crt_t crt)
{
	char role[NAME_MAX_BYTES] = "", more[NAME_MAX_BYTES];
	size_t len = sizeof(role), len_more = sizeof(more);
	int rc = gnutls_x509_crt_get_dn_by_oid(
		crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, 0, 0, role, &len);

	if (rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE && atomic_load(&creds->roleless))
		return 0;
	if (rc >= 0 && strlen(role) == len && strcmp(role, creds->role) == 0 &&
	    gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, 1, 0,
					  more, &len_more) == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return 0;
	(void)snprintf(refusal, sizeof(refusal),
		       "the certificate of %.64s has the role '%.32s', allowed here is '%s'", peer,
		       rc >= 0 ? role : "", creds->role);
	return -EKEYREJECTED;
}

static int peer_read(const struct cl_tls_creds *creds, struct cl_tls *tls)
{
	unsigned n = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(tls->session, &n);
	size_t len = sizeof(tls->peer);
	gnutls_x509_crt_t crt;
	int rc;

	(void)snprintf(refusal, sizeof(refusal), "the peer's certificate has no name");

	if (!chain || !n || gnutls_x509_crt_init(&crt) < 0)
		return -EKEYREJECTED;
	rc = gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER);
	if (rc >= 0)
		rc = gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0,
						   tls->peer, &len);
	rc = rc < 0 || strlen(tls->peer) != len ? -EKEYREJECTED : role_check(creds, tls->peer, crt);
	gnutls_x509_crt_deinit(crt);
	return rc;
}

/* What the failure of a handshake means, and says so. */
static int handshake_error(int rc)
{
	(void)snprintf(refusal, sizeof(refusal), "TLS: %s", gnutls_strerror(rc));
	if (rc == GNUTLS_E_TIMEDOUT) {
		(void)snprintf(refusal, sizeof(refusal), "the peer did not finish the TLS handshake");
		return -ETIMEDOUT;
	}
	if (rc == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR || rc == GNUTLS_E_CERTIFICATE_ERROR ||
	    rc == GNUTLS_E_CERTIFICATE_REQUIRED || rc == GNUTLS_E_NO_CERTIFICATE_FOUND) {
		(void)snprintf(refusal, sizeof(refusal),
			       "the peer has no certificate of this cluster: %s", gnutls_strerror(rc));
		return -EKEYREJECTED;
	}
	if (rc == GNUTLS_E_PUSH_ERROR || rc == GNUTLS_E_PULL_ERROR ||
	    rc == GNUTLS_E_PREMATURE_TERMINATION)
		return -EPIPE;
	return -EPROTO;
}

static int handshake(const struct cl_tls_creds *creds, struct cl_tls *tls, int timeout_ms)
{
	int rc;

	gnutls_handshake_set_timeout(tls->session, timeout_ms > 0 ? (unsigned)timeout_ms :
								    GNUTLS_INDEFINITE_TIMEOUT);
	do {
		rc = gnutls_handshake(tls->session);
	} while (rc < 0 && !gnutls_error_is_fatal(rc) && rc != GNUTLS_E_TIMEDOUT);
	if (rc < 0)
		return handshake_error(rc);
	if (gnutls_protocol_get_version(tls->session) != GNUTLS_TLS1_3)
		return handshake_error(GNUTLS_E_UNSUPPORTED_VERSION_PACKET);
	return peer_read(creds, tls);
}

static int session_new(struct cl_tls_creds *creds, int fd, unsigned flags, int timeout_ms,
		       struct cl_tls **ret_tls)
{
	struct cl_tls *tls = calloc(1, sizeof(*tls));
	int rc;

	(void)snprintf(refusal, sizeof(refusal), "no memory");
	if (!tls)
		return -ENOMEM;
	tls->fd = -1;
	if (gnutls_init(&tls->session, flags | GNUTLS_NO_SIGNAL) < 0) {
		free(tls);
		return -ENOMEM;
	}
	rc = -EPROTO;
	if (gnutls_priority_set(tls->session, creds->priority) < 0 ||
	    gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, creds->cred) < 0)
		goto fail;
	gnutls_session_set_verify_cert(tls->session, NULL, GNUTLS_VERIFY_DISABLE_TIME_CHECKS);
	if (flags & GNUTLS_SERVER)
		gnutls_certificate_server_set_request(tls->session, GNUTLS_CERT_REQUIRE);
	gnutls_transport_set_int(tls->session, fd);
	rc = handshake(creds, tls, timeout_ms);
	if (rc)
		goto fail;
	tls->fd = fd;
	*ret_tls = tls;
	return 0;
fail:
	gnutls_deinit(tls->session);
	free(tls);
	return rc;
}

int cl_tls_connect(struct cl_tls_creds *creds, int fd, int timeout_ms, struct cl_tls **ret_tls)
{
	return session_new(creds, fd, GNUTLS_CLIENT, timeout_ms, ret_tls);
}

int cl_tls_accept(struct cl_tls_creds *creds, int fd, int timeout_ms, struct cl_tls **ret_tls)
{
	return session_new(creds, fd, GNUTLS_SERVER | GNUTLS_NO_TICKETS, timeout_ms, ret_tls);
}

const char *cl_tls_peer_name(const struct cl_tls *tls)
{
	return tls->peer;
}

int cl_tls_fd(const struct cl_tls *tls)
{
	return tls->fd;
}

static int io_error(ssize_t rc)
{
	return rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_TIMEDOUT ? -ETIMEDOUT :
	       rc == GNUTLS_E_PUSH_ERROR || rc == GNUTLS_E_PULL_ERROR ||
			       rc == GNUTLS_E_PREMATURE_TERMINATION ?
								 -EPIPE :
								 -EPROTO;
}

int cl_tls_write(struct cl_tls *tls, const void *buf, size_t len_bytes)
{
	const char *p = buf;

	while (len_bytes) {
		ssize_t n = gnutls_record_send(tls->session, p, len_bytes);

		if (n == GNUTLS_E_INTERRUPTED)
			continue;
		if (n < 0)
			return io_error(n);
		p += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

int cl_tls_read(struct cl_tls *tls, void *buf, size_t len_bytes)
{
	char *p = buf;

	while (len_bytes) {
		ssize_t n = gnutls_record_recv(tls->session, p, len_bytes);

		if (n == GNUTLS_E_INTERRUPTED)
			continue;
		if (n == 0)
			return -EPIPE;
		if (n < 0)
			return io_error(n);
		p += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

ssize_t cl_tls_read_some(struct cl_tls *tls, void *buf, size_t cap_bytes)
{
	ssize_t n;

	do
		n = gnutls_record_recv(tls->session, buf, cap_bytes);
	while (n == GNUTLS_E_INTERRUPTED);
	return n == 0 ? -EPIPE : n < 0 ? io_error(n) : n;
}

void cl_tls_timeout_set(struct cl_tls *tls, int timeout_ms)
{
	struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };

	(void)setsockopt(tls->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	(void)setsockopt(tls->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

void cl_tls_shutdown(struct cl_tls *tls)
{
	(void)shutdown(tls->fd, SHUT_RDWR);
}

void cl_tls_free(struct cl_tls *tls)
{
	if (!tls)
		return;
	gnutls_deinit(tls->session);
	close(tls->fd);
	free(tls);
}
