/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A joiner's certificate request: refused, or signed into a certificate that belongs to our CA and to nobody else's name.
 *
 * fuzz-sources: clusterd/pki_gnutls.c common/cl_types.c common/cl_log.c common/cl_errno.c
 * fuzz-flags: -lgnutls
 */
#include "clusterd/pki_gnutls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *ca_key, *ca_cert;
	uint8_t print[CD_FINGERPRINT_BYTES];
	char *text, *cert = NULL;
	int rc;

	if (size >= CD_PEM_MAX)
		return 0;
	if (!ca_key && cd_pki_ca_create("fuzz", &ca_key, &ca_cert) < 0)
		abort();
	text = malloc(size + 1);
	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	rc = cd_pki_csr_sign(ca_key, ca_cert, text, "n2", "csvd", &cert);
	if (rc != 0 && rc != -EBADMSG)
		abort();
	if (rc == 0 && (cd_pki_fingerprint(cert, print) || strstr(cert, "BEGIN CERTIFICATE") == NULL))
		abort();
	free(cert);
	free(text);
	return 0;
}
