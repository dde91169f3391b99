/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The admission of a new node: one request and one answer over TLS 1.3 (port
 * CD_JOIN_PORT, docs/formats/join.md).  The member shows its certificate and the
 * CA's; the joiner has no certificate yet and trusts only the CA fingerprint in
 * its token.  The joiner proves itself by the token's secret, which it sends
 * only after that check.  Blocking: workers only.
 */
#ifndef CD_JOIN_GNUTLS_H
#define CD_JOIN_GNUTLS_H

#include <stddef.h>

#include "clusterd/token.h"

#define CD_JOIN_PORT	    7400u
#define CD_JOIN_VERSION	    2 /* of the request: one for a certificate of each role */
#define CD_JOIN_MESSAGE_MAX 65536u
#define CD_JOIN_TIMEOUT_MS  20000
/* The member may have to replicate the admission first. */
#define CD_JOIN_ANSWER_MS 90000

struct cd_join;

/*
 * Member: TLS handshake on fd (taken over) with tls_dir's join.pem, join.key and
 * ca.pem, then reads the request (malloc'ed text).  0 or -errno.
 */
int cd_join_accept(int fd, const char *tls_dir, struct cd_join **ret_join, char **ret_request);
/* Sends the answer; closes and frees join in any case. NULL answer: only closes. */
int cd_join_answer(struct cd_join *join, const char *answer);

/*
 * Joiner: connects, checks that the peer's chain ends in the CA of the token and
 * sends request; waits for the answer.  -EKEYREJECTED: another CA, or not the role join. *ret_error says what and where.
 */
int cd_join_ask(const char *address, const struct cd_token *token, const char *request,
		char **ret_answer, char **ret_error);

#endif
