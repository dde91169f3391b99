/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The certificate authority; see pki_gnutls.h.  Certificates begin a day in
 * the past and last as long as a cluster does, for tools that look: nothing of ours asks the wall clock
 * for them, since a node with a wrong one is a node all the same.
 */
#include "clusterd/pki_gnutls.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#define DAY_S	       (24 * 60 * 60)
#define LIFE_S	       (20LL * 365 * DAY_S)
#define SERIAL_BYTES   16u
#define PKI_SIGN_DIGEST GNUTLS_DIG_SHA256

static void privkey_put(gnutls_x509_privkey_t *key)
{
	if (*key)
		gnutls_x509_privkey_deinit(*key);
}

static void crt_put(gnutls_x509_crt_t *crt)
{
	if (*crt)
		gnutls_x509_crt_deinit(*crt);
}

static void crq_put(gnutls_x509_crq_t *crq)
{
	if (*crq)
		gnutls_x509_crq_deinit(*crq);
}

#define PRIVKEY __attribute__((cleanup(privkey_put))) gnutls_x509_privkey_t
#define CRT	__attribute__((cleanup(crt_put))) gnutls_x509_crt_t
#define CRQ	__attribute__((cleanup(crq_put))) gnutls_x509_crq_t

static int text_take(gnutls_datum_t *datum, char **ret_text)
{
	char *text = malloc(datum->size + 1u);

	if (text) {
		memcpy(text, datum->data, datum->size);
		text[datum->size] = '\0';
	}
	gnutls_memset(datum->data, 0, datum->size);
	gnutls_free(datum->data);
	if (!text)
		return -ENOMEM;
	*ret_text = text;
	return 0;
}

static gnutls_datum_t datum_of(const char *text)
{
	return (gnutls_datum_t){ .data = (unsigned char *)text, .size = (unsigned)strlen(text) };
}

static int key_load(const char *pem, gnutls_x509_privkey_t *key)
{
	gnutls_datum_t datum = datum_of(pem);

	if (gnutls_x509_privkey_init(key) < 0)
		return -ENOMEM;
	return gnutls_x509_privkey_import(*key, &datum, GNUTLS_X509_FMT_PEM) < 0 ? -EBADMSG : 0;
}

static int crt_load(const char *pem, gnutls_x509_crt_t *crt)
{
	gnutls_datum_t datum = datum_of(pem);

	if (gnutls_x509_crt_init(crt) < 0)
		return -ENOMEM;
	return gnutls_x509_crt_import(*crt, &datum, GNUTLS_X509_FMT_PEM) < 0 ? -EBADMSG : 0;
}

static int key_generate(gnutls_x509_privkey_t *key)
{
	if (gnutls_x509_privkey_init(key) < 0)
		return -ENOMEM;
	return gnutls_x509_privkey_generate(*key, GNUTLS_PK_ECDSA,
					    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) < 0 ?
		       -EIO :
		       0;
}

static int key_export(gnutls_x509_privkey_t key, char **ret_pem)
{
	gnutls_datum_t datum;

	if (gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
					      &datum) < 0)
		return -EIO;
	return text_take(&datum, ret_pem);
}

static int crt_export(gnutls_x509_crt_t crt, char **ret_pem)
{
	gnutls_datum_t datum;

	if (gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &datum) < 0)
		return -EIO;
	return text_take(&datum, ret_pem);
}

/* Version, serial and times that both kinds of certificate have. */
static int crt_common(gnutls_x509_crt_t crt, const char *name)
{
	uint8_t serial[SERIAL_BYTES];
	time_t now = time(NULL);

	cd_pki_random(serial, sizeof(serial));
	serial[0] = (serial[0] & 0x7f) | 0x40; /* positive and of full length */
	/* A clock that was never set says 1970: there is no date before. */
	if (gnutls_x509_crt_set_version(crt, 3) < 0 ||
	    gnutls_x509_crt_set_serial(crt, serial, sizeof(serial)) < 0 ||
	    gnutls_x509_crt_set_activation_time(crt, now > DAY_S ? now - DAY_S : 0) < 0 ||
	    gnutls_x509_crt_set_expiration_time(crt, now + LIFE_S) < 0 ||
	    gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
					  (unsigned)strlen(name)) < 0)
		return -EIO;
	return 0;
}

static int key_id_set(gnutls_x509_crt_t crt, gnutls_x509_crt_t of, bool authority)
{
	uint8_t id[64];
	size_t len = sizeof(id);

	if (gnutls_x509_crt_get_key_id(of, GNUTLS_KEYID_USE_SHA1, id, &len) < 0)
		return -EIO;
	return (authority ? gnutls_x509_crt_set_authority_key_id(crt, id, len) :
			    gnutls_x509_crt_set_subject_key_id(crt, id, len)) < 0 ?
		       -EIO :
		       0;
}

int cd_pki_ca_create(const char *cluster, char **ret_key, char **ret_cert)
{
	PRIVKEY key = NULL;
	CRT crt = NULL;
	char name[128] = "Holdfast cluster ";
	char *key_pem = NULL;
	int rc;

	strncat(name, cluster, 63);
	rc = key_generate(&key);
	if (rc < 0)
		return rc;
	if (gnutls_x509_crt_init(&crt) < 0)
		return -ENOMEM;
	rc = crt_common(crt, name);
	if (rc < 0)
		return rc;
	if (gnutls_x509_crt_set_key(crt, key) < 0 ||
	    gnutls_x509_crt_set_basic_constraints(crt, 1, 0) < 0 ||
	    gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN) < 0 ||
	    key_id_set(crt, crt, false) < 0 ||
	    gnutls_x509_crt_sign2(crt, crt, key, PKI_SIGN_DIGEST, 0) < 0)
		return -EIO;
	rc = key_export(key, &key_pem);
	if (rc < 0)
		return rc;
	rc = crt_export(crt, ret_cert);
	if (rc < 0) {
		free(key_pem);
		return rc;
	}
	*ret_key = key_pem;
	return 0;
}

int cd_pki_key_create(char **ret_key)
{
	PRIVKEY key = NULL;
	int rc = key_generate(&key);

	return rc < 0 ? rc : key_export(key, ret_key);
}

int cd_pki_csr_create(const char *key_pem, const char *node, char **ret_csr)
{
	PRIVKEY key = NULL;
	CRQ crq = NULL;
	gnutls_datum_t datum;
	int rc = key_load(key_pem, &key);

	if (rc < 0)
		return rc;
	if (gnutls_x509_crq_init(&crq) < 0)
		return -ENOMEM;
	if (gnutls_x509_crq_set_version(crq, 1) < 0 ||
	    gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, node,
					  (unsigned)strlen(node)) < 0 ||
	    gnutls_x509_crq_set_key(crq, key) < 0 ||
	    gnutls_x509_crq_sign2(crq, key, PKI_SIGN_DIGEST, 0) < 0 ||
	    gnutls_x509_crq_export2(crq, GNUTLS_X509_FMT_PEM, &datum) < 0)
		return -EIO;
	return text_take(&datum, ret_csr);
}

static int csr_check(const char *pem, const char *node, gnutls_x509_crq_t *crq)
{
	gnutls_datum_t datum = datum_of(pem);
	char name[128];
	size_t len = sizeof(name);
	unsigned bits = 0;

	if (datum.size > CD_PEM_MAX)
		return -EBADMSG;
	if (gnutls_x509_crq_init(crq) < 0)
		return -ENOMEM;
	if (gnutls_x509_crq_import(*crq, &datum, GNUTLS_X509_FMT_PEM) < 0 ||
	    gnutls_x509_crq_verify(*crq, 0) < 0 ||
	    gnutls_x509_crq_get_pk_algorithm(*crq, &bits) != GNUTLS_PK_ECDSA || bits != 256 ||
	    gnutls_x509_crq_get_dn_by_oid(*crq, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &len) < 0 ||
	    len != strlen(node) || memcmp(name, node, len) != 0)
		return -EBADMSG;
	return 0;
}

/* Only the public key comes from the request: no name, no extension. */
static int public_key_take(gnutls_x509_crt_t crt, gnutls_x509_crq_t crq)
{
	gnutls_pubkey_t key;
	int rc;

	if (gnutls_pubkey_init(&key) < 0)
		return -ENOMEM;
	rc = gnutls_pubkey_import_x509_crq(key, crq, 0);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_pubkey(crt, key);
	gnutls_pubkey_deinit(key);
	return rc < 0 ? -EBADMSG : 0;
}

int cd_pki_csr_sign(const char *ca_key_pem, const char *ca_cert_pem, const char *csr,
		    const char *node, const char *role, char **ret_cert)
{
	PRIVKEY ca_key = NULL;
	CRT ca = NULL, crt = NULL;
	CRQ crq = NULL;
	int rc;

	rc = csr_check(csr, node, &crq);
	if (rc == 0)
		rc = key_load(ca_key_pem, &ca_key);
	if (rc == 0)
		rc = crt_load(ca_cert_pem, &ca);
	if (rc < 0)
		return rc;
	if (gnutls_x509_crt_init(&crt) < 0)
		return -ENOMEM;
	rc = public_key_take(crt, crq);
	if (rc == 0)
		rc = crt_common(crt, node);
	if (rc < 0)
		return rc;
	if (gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, 0, role,
					  (unsigned)strlen(role)) < 0 ||
	    gnutls_x509_crt_set_basic_constraints(crt, 0, -1) < 0 ||
	    gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE) < 0 ||
	    gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0) < 0 ||
	    gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0) < 0 ||
	    key_id_set(crt, crt, false) < 0 || key_id_set(crt, ca, true) < 0 ||
	    gnutls_x509_crt_sign2(crt, ca, ca_key, PKI_SIGN_DIGEST, 0) < 0)
		return -EIO;
	return crt_export(crt, ret_cert);
}

int cd_pki_fingerprint(const char *cert, uint8_t out[CD_FINGERPRINT_BYTES])
{
	CRT crt = NULL;
	size_t len = CD_FINGERPRINT_BYTES;
	int rc = crt_load(cert, &crt);

	if (rc < 0)
		return rc;
	return gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, out, &len) < 0 ? -EIO : 0;
}

static bool named(gnutls_x509_crt_t crt, const char *oid, const char *name)
{
	char text[128];
	size_t len = sizeof(text);

	return gnutls_x509_crt_get_dn_by_oid(crt, oid, 0, 0, text, &len) >= 0 &&
	       len == strlen(name) && memcmp(text, name, len) == 0;
}

int cd_pki_check(const char *ca_cert, const char *cert, const char *key_pem, const char *node,
		 const char *role)
{
	CRT ca = NULL, crt = NULL;
	PRIVKEY key = NULL;
	unsigned status = ~0u;
	uint8_t a[64], b[64];
	size_t len_a = sizeof(a), len_b = sizeof(b);
	int rc = crt_load(ca_cert, &ca);

	if (rc == 0)
		rc = crt_load(cert, &crt);
	if (rc == 0)
		rc = key_load(key_pem, &key);
	if (rc < 0)
		return rc;
	if (gnutls_x509_crt_list_verify(&crt, 1, &ca, 1, NULL, 0, GNUTLS_VERIFY_DISABLE_TIME_CHECKS,
					&status) < 0 ||
	    status ||
	    gnutls_x509_crt_get_key_id(crt, 0, a, &len_a) < 0 ||
	    gnutls_x509_privkey_get_key_id(key, 0, b, &len_b) < 0 || len_a != len_b ||
	    memcmp(a, b, len_a) != 0 || !named(crt, GNUTLS_OID_X520_COMMON_NAME, node) ||
	    !named(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, role))
		return -EBADMSG;
	return 0;
}

void cd_pki_sha256(const void *data, size_t len_bytes, uint8_t out[32])
{
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len_bytes, out) < 0)
		abort();
}

void cd_pki_random(void *out, size_t len_bytes)
{
	if (gnutls_rnd(GNUTLS_RND_KEY, out, len_bytes) < 0)
		abort();
}
