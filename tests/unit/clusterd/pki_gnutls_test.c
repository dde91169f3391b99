/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CA signs what it should and nothing else. */
#include "clusterd/pki_gnutls.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

static char *ca_key, *ca, *other_key, *other, *key, *csr;

static void setup(void)
{
	if (ca_key)
		return;
	CU_ASSERT_EQUAL_FATAL(cd_pki_ca_create("prod", &ca_key, &ca), 0);
	CU_ASSERT_EQUAL_FATAL(cd_pki_ca_create("prod", &other_key, &other), 0);
	CU_ASSERT_EQUAL_FATAL(cd_pki_key_create(&key), 0);
	CU_ASSERT_EQUAL_FATAL(cd_pki_csr_create(key, "n1", &csr), 0);
}

static void test_sign(void)
{
	char *cert = NULL, *key2, *csr2, *cert2 = NULL;

	setup();
	CU_ASSERT_EQUAL_FATAL(cd_pki_csr_sign(ca_key, ca, csr, "n1", "csvd", &cert), 0);
	CU_ASSERT_EQUAL(cd_pki_check(ca, cert, key, "n1", "csvd"), 0);
	/* Another CA, another name, another role, another key. */
	CU_ASSERT_EQUAL(cd_pki_check(ca, cert, key, "n1", "console"), -EBADMSG);
	CU_ASSERT_EQUAL(cd_pki_check(other, cert, key, "n1", "csvd"), -EBADMSG);
	CU_ASSERT_EQUAL(cd_pki_check(ca, cert, key, "n2", "csvd"), -EBADMSG);
	CU_ASSERT_EQUAL_FATAL(cd_pki_key_create(&key2), 0);
	CU_ASSERT_EQUAL(cd_pki_check(ca, cert, key2, "n1", "csvd"), -EBADMSG);
	/* A node is no CA: what it signs is not believed even by who trusts that node. */
	CU_ASSERT_EQUAL_FATAL(cd_pki_csr_create(key2, "n3", &csr2), 0);
	CU_ASSERT_EQUAL_FATAL(cd_pki_csr_sign(key, cert, csr2, "n3", "csvd", &cert2), 0);
	CU_ASSERT_EQUAL(cd_pki_check(cert, cert2, key2, "n3", "csvd"), -EBADMSG);
	CU_ASSERT_EQUAL(cd_pki_check(ca, cert2, key2, "n3", "csvd"), -EBADMSG);
	free(csr2);
	free(cert2);
	CU_ASSERT_PTR_NULL(strstr(csr, "PRIVATE"));
	free(cert);
	free(key2);
}

static void test_csr_refused(void)
{
	char *cert = NULL, *bad;
	size_t len;

	setup();
	CU_ASSERT_EQUAL(cd_pki_csr_sign(ca_key, ca, csr, "n2", "csvd", &cert), -EBADMSG);
	CU_ASSERT_EQUAL(cd_pki_csr_sign(ca_key, ca, "", "n1", "csvd", &cert), -EBADMSG);
	CU_ASSERT_EQUAL(cd_pki_csr_sign(ca_key, ca, "hello", "n1", "csvd", &cert), -EBADMSG);
	CU_ASSERT_EQUAL(cd_pki_csr_sign(ca_key, ca, ca, "n1", "csvd", &cert), -EBADMSG);
	/* Bytes changed in the middle: the self-signature no longer holds. */
	bad = strdup(csr);
	len = strlen(bad);
	for (size_t i = len / 2; i < len / 2 + 8; i++)
		bad[i] = bad[i] == 'A' ? 'B' : 'A';
	CU_ASSERT_EQUAL(cd_pki_csr_sign(ca_key, ca, bad, "n1", "csvd", &cert), -EBADMSG);
	CU_ASSERT_PTR_NULL(cert);
	free(bad);
}

static char *text_of(gnutls_x509_crq_t crq)
{
	gnutls_datum_t out;
	char *text;

	CU_ASSERT_EQUAL_FATAL(gnutls_x509_crq_export2(crq, GNUTLS_X509_FMT_PEM, &out), 0);
	text = strndup((char *)out.data, out.size);
	gnutls_free(out.data);
	return text;
}

/* Nothing but the public key comes from the request: no role, no right to sign. */
static void test_csr_wishes(void)
{
	gnutls_x509_privkey_t mine;
	gnutls_x509_crq_t crq;
	gnutls_x509_crt_t crt;
	gnutls_datum_t pem;
	char *cert = NULL, *wish, text[64];
	size_t len = sizeof(text);

	setup();
	pem = (gnutls_datum_t){ (unsigned char *)key, (unsigned)strlen(key) };
	CU_ASSERT_EQUAL_FATAL(gnutls_x509_privkey_init(&mine), 0);
	CU_ASSERT_EQUAL_FATAL(gnutls_x509_privkey_import(mine, &pem, GNUTLS_X509_FMT_PEM), 0);
	CU_ASSERT_EQUAL_FATAL(gnutls_x509_crq_init(&crq), 0);
	gnutls_x509_crq_set_version(crq, 1);
	gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, "n1", 2);
	gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, 0, "csvd", 4);
	gnutls_x509_crq_set_basic_constraints(crq, 1, 3);
	gnutls_x509_crq_set_key(crq, mine);
	CU_ASSERT_EQUAL_FATAL(gnutls_x509_crq_sign2(crq, mine, GNUTLS_DIG_SHA256, 0), 0);
	wish = text_of(crq);
	CU_ASSERT_EQUAL_FATAL(cd_pki_csr_sign(ca_key, ca, wish, "n1", "console", &cert), 0);
	CU_ASSERT_EQUAL(cd_pki_check(ca, cert, key, "n1", "console"), 0);
	CU_ASSERT_EQUAL(cd_pki_check(ca, cert, key, "n1", "csvd"), -EBADMSG);
	pem = (gnutls_datum_t){ (unsigned char *)cert, (unsigned)strlen(cert) };
	CU_ASSERT_EQUAL_FATAL(gnutls_x509_crt_init(&crt), 0);
	CU_ASSERT_EQUAL_FATAL(gnutls_x509_crt_import(crt, &pem, GNUTLS_X509_FMT_PEM), 0);
	CU_ASSERT_EQUAL(gnutls_x509_crt_get_ca_status(crt, NULL), 0);
	CU_ASSERT_EQUAL(gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME,
						      1, 0, text, &len),
			GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_crq_deinit(crq);
	gnutls_x509_privkey_deinit(mine);
	free(cert);
	free(wish);
}

static void test_fingerprint(void)
{
	uint8_t a[CD_FINGERPRINT_BYTES], b[CD_FINGERPRINT_BYTES];

	setup();
	CU_ASSERT_EQUAL(cd_pki_fingerprint(ca, a), 0);
	CU_ASSERT_EQUAL(cd_pki_fingerprint(other, b), 0);
	CU_ASSERT_NOT_EQUAL(memcmp(a, b, sizeof(a)), 0);
	CU_ASSERT_EQUAL(cd_pki_fingerprint("no certificate", a), -EBADMSG);
}

UNIT_MAIN("pki", { "sign", test_sign }, { "csr refused", test_csr_refused },
	  { "what a csr wishes for", test_csr_wishes }, { "fingerprint", test_fingerprint })
