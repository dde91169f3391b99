/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS of the join port; see join_gnutls.h.  A message is a u32 length,
 * little-endian, and so many bytes of JSON.
 */
#include "clusterd/join_gnutls.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "clusterd/paths_linux.h"
#include "clusterd/pki_gnutls.h"
#include "common/cl_cleanup.h"
#include "common/cl_tls.h"
#include "common/cl_wire.h"

#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305"

struct cd_join {
	gnutls_certificate_credentials_t cred;
	gnutls_session_t session;
	int fd;
};

static void join_free(struct cd_join *join)
{
	if (!join)
		return;
	if (join->session)
		gnutls_deinit(join->session);
	if (join->cred)
		gnutls_certificate_free_credentials(join->cred);
	if (join->fd >= 0)
		close(join->fd);
	free(join);
}

static void timeout_set(int fd, int timeout_ms)
{
	struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static struct cd_join *join_new(int fd, unsigned flags)
{
	struct cd_join *join = calloc(1, sizeof(*join));

	if (!join) {
		close(fd);
		return NULL;
	}
	join->fd = fd;
	timeout_set(fd, CD_JOIN_TIMEOUT_MS);
	if (gnutls_certificate_allocate_credentials(&join->cred) < 0 ||
	    gnutls_init(&join->session, flags) < 0 ||
	    gnutls_priority_set_direct(join->session, PRIORITY, NULL) < 0 ||
	    gnutls_credentials_set(join->session, GNUTLS_CRD_CERTIFICATE, join->cred) < 0) {
		join_free(join);
		return NULL;
	}
	gnutls_transport_set_int(join->session, fd);
	gnutls_handshake_set_timeout(join->session, CD_JOIN_TIMEOUT_MS);
	return join;
}

static int handshake(struct cd_join *join)
{
	int rc;

	do
		rc = gnutls_handshake(join->session);
	while (rc < 0 && !gnutls_error_is_fatal(rc) && rc != GNUTLS_E_TIMEDOUT &&
	       rc != GNUTLS_E_AGAIN);
	if (rc == GNUTLS_E_CERTIFICATE_ERROR)
		return -EKEYREJECTED;
	if (rc == GNUTLS_E_TIMEDOUT || rc == GNUTLS_E_AGAIN)
		return -ETIMEDOUT;
	return rc < 0 ? -EPROTO : 0;
}

static int transfer(struct cd_join *join, void *buf, size_t len_bytes, bool send)
{
	for (size_t done = 0; done < len_bytes;) {
		char *p = (char *)buf + done;
		ssize_t n = send ? gnutls_record_send(join->session, p, len_bytes - done) :
				   gnutls_record_recv(join->session, p, len_bytes - done);

		if (n == GNUTLS_E_INTERRUPTED)
			continue;
		if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_TIMEDOUT)
			return -ETIMEDOUT;
		if (n <= 0)
			return -EPIPE;
		done += (size_t)n;
	}
	return 0;
}

static int message_send(struct cd_join *join, const char *text)
{
	size_t len = strlen(text);
	uint8_t head[4];
	struct cl_writer w;
	int rc;

	if (len > CD_JOIN_MESSAGE_MAX)
		return -EMSGSIZE;
	cl_writer_init(&w, head, sizeof(head));
	cl_write_u32(&w, (uint32_t)len);
	rc = transfer(join, head, sizeof(head), true);
	return rc < 0 ? rc : transfer(join, (void *)text, len, true);
}

static int message_receive(struct cd_join *join, char **ret_text)
{
	uint8_t head[4];
	struct cl_reader r;
	uint32_t len;
	char *text;
	int rc = transfer(join, head, sizeof(head), false);

	if (rc < 0)
		return rc;
	cl_reader_init(&r, head, sizeof(head));
	len = cl_read_u32(&r);
	if (len > CD_JOIN_MESSAGE_MAX)
		return -EMSGSIZE;
	text = malloc(len + 1u);
	if (!text)
		return -ENOMEM;
	rc = transfer(join, text, len, false);
	if (rc < 0) {
		free(text);
		return rc;
	}
	text[len] = '\0';
	if (strlen(text) != len) {
		free(text);
		return -EBADMSG;
	}
	*ret_text = text;
	return 0;
}

/* The member's chain holds the CA too, so that the joiner can take its fingerprint. */
static int member_cert_set(struct cd_join *join, const char *tls_dir)
{
	CL_CLEANUP_FREE char *node = NULL, *ca = NULL, *key = NULL, *chain = NULL;
	char path[CD_PATH_MAX];
	gnutls_datum_t cert, priv;
	int rc;

	snprintf(path, sizeof(path), "%s/" CL_TLS_ROLE_JOIN ".pem", tls_dir);
	rc = cd_file_read(path, CD_PEM_MAX, &node, NULL);
	snprintf(path, sizeof(path), "%s/ca.pem", tls_dir);
	if (rc == 0)
		rc = cd_file_read(path, CD_PEM_MAX, &ca, NULL);
	snprintf(path, sizeof(path), "%s/" CL_TLS_ROLE_JOIN ".key", tls_dir);
	if (rc == 0)
		rc = cd_file_read(path, CD_PEM_MAX, &key, NULL);
	if (rc < 0)
		return rc;
	if (asprintf(&chain, "%s\n%s", node, ca) < 0) {
		chain = NULL;
		return -ENOMEM;
	}
	cert = (gnutls_datum_t){ (unsigned char *)chain, (unsigned)strlen(chain) };
	priv = (gnutls_datum_t){ (unsigned char *)key, (unsigned)strlen(key) };
	rc = gnutls_certificate_set_x509_key_mem(join->cred, &cert, &priv, GNUTLS_X509_FMT_PEM);
	gnutls_memset(key, 0, strlen(key));
	return rc < 0 ? -EBADMSG : 0;
}

int cd_join_accept(int fd, const char *tls_dir, struct cd_join **ret_join, char **ret_request)
{
	struct cd_join *join = join_new(fd, GNUTLS_SERVER);
	int rc;

	if (!join)
		return -ENOMEM;
	gnutls_certificate_server_set_request(join->session, GNUTLS_CERT_IGNORE);
	rc = member_cert_set(join, tls_dir);
	if (rc == 0)
		rc = handshake(join);
	if (rc == 0)
		rc = message_receive(join, ret_request);
	if (rc < 0) {
		join_free(join);
		return rc;
	}
	*ret_join = join;
	return 0;
}

int cd_join_answer(struct cd_join *join, const char *answer)
{
	int rc = answer ? message_send(join, answer) : 0;

	if (answer)
		gnutls_bye(join->session, GNUTLS_SHUT_WR);
	join_free(join);
	return rc;
}

static bool role_is_join(gnutls_x509_crt_t crt)
{
	char role[CL_TLS_ROLE_MAX];
	size_t len = sizeof(role);

	return gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, 0, 0,
					     role, &len) >= 0 &&
	       len == strlen(CL_TLS_ROLE_JOIN) && memcmp(role, CL_TLS_ROLE_JOIN, len) == 0;
}

/*
 * The peer's chain must end in the CA whose fingerprint we hold, and verify under it, whatever the clock of
 * this machine says; and the peer must be what answers at the join port.
 */
static int peer_verify(gnutls_session_t session)
{
	const struct cd_token *token = gnutls_session_get_ptr(session);
	gnutls_x509_crt_t leaf = NULL, ca = NULL;
	uint8_t fingerprint[CD_FINGERPRINT_BYTES];
	size_t len = sizeof(fingerprint);
	const gnutls_datum_t *chain;
	unsigned n = 0, status = ~0u;
	int rc = GNUTLS_E_CERTIFICATE_ERROR;

	chain = gnutls_certificate_get_peers(session, &n);
	if (!chain || n < 2 || gnutls_x509_crt_init(&leaf) < 0)
		return rc;
	if (gnutls_x509_crt_init(&ca) < 0) {
		gnutls_x509_crt_deinit(leaf);
		return rc;
	}
	if (gnutls_x509_crt_import(leaf, &chain[0], GNUTLS_X509_FMT_DER) == 0 &&
	    gnutls_x509_crt_import(ca, &chain[n - 1], GNUTLS_X509_FMT_DER) == 0 &&
	    gnutls_x509_crt_get_fingerprint(ca, GNUTLS_DIG_SHA256, fingerprint, &len) == 0 &&
	    len == sizeof(token->fingerprint) &&
	    gnutls_memcmp(fingerprint, token->fingerprint, len) == 0 &&
	    gnutls_x509_crt_list_verify(&leaf, 1, &ca, 1, NULL, 0,
					GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status) == 0 &&
	    !status && role_is_join(leaf))
		rc = 0;
	gnutls_x509_crt_deinit(leaf);
	gnutls_x509_crt_deinit(ca);
	return rc;
}

static int fail(char **ret_error, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(char **ret_error, int rc, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (vasprintf(ret_error, format, ap) < 0)
		*ret_error = NULL;
	va_end(ap);
	return rc;
}

int cd_join_ask(const char *address, const struct cd_token *token, const char *request,
		char **ret_answer, char **ret_error)
{
	struct cd_join *join;
	int fd, rc;

	*ret_error = NULL;
	fd = cl_tcp_connect(address, token->port, CD_JOIN_TIMEOUT_MS);
	if (fd < 0)
		return fail(ret_error, fd, "%s port %u: %s", address, token->port, strerror(-fd));
	join = join_new(fd, GNUTLS_CLIENT);
	if (!join)
		return fail(ret_error, -ENOMEM, "out of memory");
	gnutls_session_set_ptr(join->session, (void *)token);
	gnutls_certificate_set_verify_function(join->cred, peer_verify);
	rc = handshake(join);
	if (rc == -EKEYREJECTED)
		fail(ret_error, rc,
		     "%s port %u: its certificate is not of the cluster that the token names, or not for"
		     " its join port",
		     address, token->port);
	else if (rc < 0)
		fail(ret_error, rc, "%s port %u: TLS: %s", address, token->port, strerror(-rc));
	if (rc == 0)
		rc = message_send(join, request);
	timeout_set(fd, CD_JOIN_ANSWER_MS);
	if (rc == 0)
		rc = message_receive(join, ret_answer);
	if (rc < 0 && !*ret_error)
		fail(ret_error, rc, "%s port %u: no answer to the request to join: %s", address,
		     token->port, strerror(-rc));
	join_free(join);
	return rc;
}
