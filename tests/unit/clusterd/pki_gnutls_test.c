/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CA signs what it should and nothing else. */
#include "clusterd/pki_gnutls.h"
#include "tests/unit/unit.h"

#include <errno.h>
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
	CU_ASSERT_EQUAL_FATAL(cd_pki_csr_sign(ca_key, ca, csr, "n1", &cert), 0);
	CU_ASSERT_EQUAL(cd_pki_check(ca, cert, key, "n1"), 0);
	/* Another CA, another name, another key. */
	CU_ASSERT_EQUAL(cd_pki_check(other, cert, key, "n1"), -EBADMSG);
	CU_ASSERT_EQUAL(cd_pki_check(ca, cert, key, "n2"), -EBADMSG);
	CU_ASSERT_EQUAL_FATAL(cd_pki_key_create(&key2), 0);
	CU_ASSERT_EQUAL(cd_pki_check(ca, cert, key2, "n1"), -EBADMSG);
	/* A node is no CA: what it signs is not believed even by who trusts that node. */
	CU_ASSERT_EQUAL_FATAL(cd_pki_csr_create(key2, "n3", &csr2), 0);
	CU_ASSERT_EQUAL_FATAL(cd_pki_csr_sign(key, cert, csr2, "n3", &cert2), 0);
	CU_ASSERT_EQUAL(cd_pki_check(cert, cert2, key2, "n3"), -EBADMSG);
	CU_ASSERT_EQUAL(cd_pki_check(ca, cert2, key2, "n3"), -EBADMSG);
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
	CU_ASSERT_EQUAL(cd_pki_csr_sign(ca_key, ca, csr, "n2", &cert), -EBADMSG);
	CU_ASSERT_EQUAL(cd_pki_csr_sign(ca_key, ca, "", "n1", &cert), -EBADMSG);
	CU_ASSERT_EQUAL(cd_pki_csr_sign(ca_key, ca, "hello", "n1", &cert), -EBADMSG);
	CU_ASSERT_EQUAL(cd_pki_csr_sign(ca_key, ca, ca, "n1", &cert), -EBADMSG);
	/* Bytes changed in the middle: the self-signature no longer holds. */
	bad = strdup(csr);
	len = strlen(bad);
	for (size_t i = len / 2; i < len / 2 + 8; i++)
		bad[i] = bad[i] == 'A' ? 'B' : 'A';
	CU_ASSERT_EQUAL(cd_pki_csr_sign(ca_key, ca, bad, "n1", &cert), -EBADMSG);
	CU_ASSERT_PTR_NULL(cert);
	free(bad);
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

UNIT_MAIN("pki", { "sign", test_sign }, { "csr refused", test_csr_refused }, { "fingerprint", test_fingerprint })
