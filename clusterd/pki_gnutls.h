/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cluster's own certificate authority: ECDSA P-256, PEM in and out.  A
 * node's private key is made on that node and never leaves it; the CA signs a
 * request whose common name is the node's name.  Blocking but short; any thread.
 */
#ifndef CD_PKI_GNUTLS_H
#define CD_PKI_GNUTLS_H

#include <stddef.h>
#include <stdint.h>

#define CD_FINGERPRINT_BYTES 32u
#define CD_PEM_MAX	     8192u

/* PEM texts, malloc'ed with a NUL.  0 or -errno. */
int cd_pki_ca_create(const char *cluster, char **ret_key, char **ret_cert);
int cd_pki_key_create(char **ret_key);
int cd_pki_csr_create(const char *key, const char *node, char **ret_csr);
/*
 * Signs csr for a role (CL_TLS_ROLE_*) if its self-signature holds, its key is EC P-256 and its common name
 * is node.  -EBADMSG otherwise; nothing but the public key of the request is taken over.
 */
int cd_pki_csr_sign(const char *ca_key, const char *ca_cert, const char *csr, const char *node,
		    const char *role, char **ret_cert);
/* SHA-256 over the certificate's DER.  -EBADMSG if it does not parse. */
int cd_pki_fingerprint(const char *cert, uint8_t out[CD_FINGERPRINT_BYTES]);
/* 0 if cert was signed by ca_cert for node and role, and belongs to key; else -EBADMSG. */
int cd_pki_check(const char *ca_cert, const char *cert, const char *key, const char *node,
		 const char *role);

void cd_pki_sha256(const void *data, size_t len_bytes, uint8_t out[32]);
/* Bytes for keys and tokens; aborts if the system has none. */
void cd_pki_random(void *out, size_t len_bytes);

#endif
