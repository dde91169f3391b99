/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mutual TLS 1.3 between nodes of one cluster, blocking, over a connected
 * stream socket.  Both sides hold a certificate of the cluster's own CA; the
 * peer's common name is its node name, checked by the caller.  Nothing but TLS
 * 1.3 is offered.  The only file that includes GnuTLS for connections is
 * cl_tls_gnutls.c.
 *
 * Threads: credentials may be shared; a session may be read by one thread and
 * written by another at once, no more.
 */
#ifndef CL_TLS_H
#define CL_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct cl_tls_creds;
struct cl_tls;

/*
 * What a certificate is good for: the OU of its subject.  A service loads the pair of its role, demands
 * the same role of its peer, and nothing else is taken.
 */
#define CL_TLS_ROLE_CSVD    "csvd"    /* csvd's port */
#define CL_TLS_ROLE_CONSOLE "console" /* clusterd's console port */
#define CL_TLS_ROLE_JOIN    "join"    /* what a member shows at the join port */
#define CL_TLS_ROLE_NODE    "node"    /* no service of a node takes it */
#define CL_TLS_ROLE_MAX	    16u

/*
 * Loads dir/ca.pem, dir/ROLE.pem, dir/ROLE.key.  -EACCES if the key may be read
 * by others (mode beyond 0600); -EBADMSG if a file does not parse.  ret_error
 * (malloc'ed) says which file and why.
 */
int cl_tls_creds_load(const char *dir, const char *role, struct cl_tls_creds **ret_creds,
		      char **ret_error);
void cl_tls_creds_free(struct cl_tls_creds *creds);
/*
 * True: a certificate that has no role at all is taken, too.  For a cluster in which a node may run a release
 * from before roles.  Any thread; for handshakes that begin afterwards.
 */
void cl_tls_creds_roleless_set(struct cl_tls_creds *creds, bool taken);

/*
 * Handshake over fd within timeout_ms; the session takes over fd on success
 * only.  -EPROTO: the handshake failed, -EKEYREJECTED: the peer's certificate is
 * not of our CA or not of the role, -ETIMEDOUT.  Dates of certificates are not looked at: a node
 * whose clock is wrong is a node all the same, and nothing in a cluster expires.
 */
int cl_tls_connect(struct cl_tls_creds *creds, int fd, int timeout_ms, struct cl_tls **ret_tls);
int cl_tls_accept(struct cl_tls_creds *creds, int fd, int timeout_ms, struct cl_tls **ret_tls);
/* Why this thread's last handshake was refused, in words; valid until its next. */
const char *cl_tls_refusal(void);
/* Common name of the peer's certificate: the node name; lives as long as the session. */
const char *cl_tls_peer_name(const struct cl_tls *tls);
int cl_tls_fd(const struct cl_tls *tls);

/* All of buf or an error: 0, -ETIMEDOUT (per call, from cl_tls_timeout_set), -EPIPE on end. */
int cl_tls_write(struct cl_tls *tls, const void *buf, size_t len_bytes);
int cl_tls_read(struct cl_tls *tls, void *buf, size_t len_bytes);
/* What has come, at least one byte: how many, or -EPIPE on end, -ETIMEDOUT. */
ssize_t cl_tls_read_some(struct cl_tls *tls, void *buf, size_t cap_bytes);
/* 0 = for ever (the default). */
void cl_tls_timeout_set(struct cl_tls *tls, int timeout_ms);
/* Wakes both directions with -EPIPE; safe from any thread. */
void cl_tls_shutdown(struct cl_tls *tls);
void cl_tls_free(struct cl_tls *tls);

/* TCP helpers with close-on-exec sockets: fd or -errno. address is numeric IPv4 or IPv6. */
int cl_tcp_listen(const char *address, unsigned port);
int cl_tcp_connect(const char *address, unsigned port, int timeout_ms);

#endif
