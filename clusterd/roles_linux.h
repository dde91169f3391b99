/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * This node's certificates: a key and a certificate for each role, so that what one service holds
 * is good at no other (docs/decisions/admission.md).  Keys are made on the node that uses them.
 * Blocking; any thread.
 */
#ifndef CD_ROLES_LINUX_H
#define CD_ROLES_LINUX_H

#include <jansson.h>
#include <stddef.h>

#define CD_ROLES 4u

/* CL_TLS_ROLE_*: the names of the files, and the OU in the certificate. */
extern const char *const cd_role_names[CD_ROLES];

/* PEM texts, malloc'ed. */
struct cd_role_pair {
	char *cert, *key;
};

void cd_roles_free(struct cd_role_pair pairs[CD_ROLES]);
/* Makes the keys; *ret_csrs is {role: request}. 0 or -errno. */
int cd_roles_ask(struct cd_role_pair pairs[CD_ROLES], const char *node, json_t **ret_csrs);
/* The member's side: {role: certificate}.  -EBADMSG: not a request for each role, and for nothing
 * else. */
int cd_roles_sign(const json_t *csrs, const char *ca_key, const char *ca_cert, const char *node,
		  json_t **ret_certs);
/* What came back, checked against the keys. -EBADMSG: not what was asked for. */
int cd_roles_take(struct cd_role_pair pairs[CD_ROLES], const json_t *certs, const char *ca_cert,
		  const char *node);
/* Into the state folder's tls/, which is there; and away again. */
int cd_roles_write(const struct cd_role_pair pairs[CD_ROLES]);
void cd_roles_unlink(void);
/*
 * A member of a release from before roles has one certificate for all: makes those that are missing
 * or not in order.  Needs the CA's key for that: -ENOKEY, and error says what to do.  Returns how
 * many were made.
 */
int cd_roles_ensure(const char *node, char *error, size_t cap_bytes);

#endif
