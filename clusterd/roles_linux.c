/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Certificates of this node's roles; see roles_linux.h. */
#include "clusterd/roles_linux.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clusterd/field_jansson.h"
#include "clusterd/paths_linux.h"
#include "clusterd/pki_gnutls.h"
#include "common/cl_cleanup.h"
#include "common/cl_tls.h"

const char *const cd_role_names[CD_ROLES] = { CL_TLS_ROLE_CSVD, CL_TLS_ROLE_CONSOLE,
					      CL_TLS_ROLE_JOIN, CL_TLS_ROLE_NODE };

static void secret_free(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

void cd_roles_free(struct cd_role_pair pairs[CD_ROLES])
{
	for (unsigned i = 0; i < CD_ROLES; i++) {
		free(pairs[i].cert);
		secret_free(pairs[i].key);
		pairs[i] = (struct cd_role_pair){ 0 };
	}
}

int cd_roles_ask(struct cd_role_pair pairs[CD_ROLES], const char *node, json_t **ret_csrs)
{
	json_t *csrs = json_object();
	int rc = csrs ? 0 : -ENOMEM;

	for (unsigned i = 0; i < CD_ROLES && rc == 0; i++) {
		CL_CLEANUP_FREE char *csr = NULL;

		rc = cd_pki_key_create(&pairs[i].key);
		if (rc == 0)
			rc = cd_pki_csr_create(pairs[i].key, node, &csr);
		if (rc == 0 && json_object_set_new(csrs, cd_role_names[i], json_string(csr)) < 0)
			rc = -ENOMEM;
	}
	if (rc < 0) {
		json_decref(csrs);
		return rc;
	}
	*ret_csrs = csrs;
	return 0;
}

int cd_roles_sign(const json_t *csrs, const char *ca_key, const char *ca_cert, const char *node,
		  json_t **ret_certs)
{
	json_t *certs;
	int rc = 0;

	if (json_object_size(csrs) != CD_ROLES)
		return -EBADMSG;
	certs = json_object();
	for (unsigned i = 0; i < CD_ROLES && rc == 0; i++) {
		CL_CLEANUP_FREE char *cert = NULL;

		rc = cd_pki_csr_sign(ca_key, ca_cert, cd_field_text(csrs, cd_role_names[i]), node,
				     cd_role_names[i], &cert);
		if (rc == 0 && json_object_set_new(certs, cd_role_names[i], json_string(cert)) < 0)
			rc = -ENOMEM;
	}
	if (rc < 0) {
		json_decref(certs);
		return rc;
	}
	*ret_certs = certs;
	return 0;
}

int cd_roles_take(struct cd_role_pair pairs[CD_ROLES], const json_t *certs, const char *ca_cert,
		  const char *node)
{
	for (unsigned i = 0; i < CD_ROLES; i++) {
		int rc;

		pairs[i].cert = strdup(cd_field_text(certs, cd_role_names[i]));
		if (!pairs[i].cert)
			return -ENOMEM;
		rc = cd_pki_check(ca_cert, pairs[i].cert, pairs[i].key, node, cd_role_names[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void file_path(char path[CD_PATH_MAX], unsigned role, const char *suffix)
{
	cd_path(path, CD_PATH_MAX, CD_DIR_STATE, "tls/%s.%s", cd_role_names[role], suffix);
}

/* The certificate last: half a pair is found by cd_roles_ensure() and made anew. */
static int pair_write(unsigned role, const struct cd_role_pair *pair)
{
	char path[CD_PATH_MAX];
	int rc;

	file_path(path, role, "key");
	rc = cd_file_write(path, 0600, pair->key, strlen(pair->key));
	if (rc < 0)
		return rc;
	file_path(path, role, "pem");
	return cd_file_write(path, 0600, pair->cert, strlen(pair->cert));
}

int cd_roles_write(const struct cd_role_pair pairs[CD_ROLES])
{
	int rc = 0;

	for (unsigned i = 0; i < CD_ROLES && rc == 0; i++)
		rc = pair_write(i, &pairs[i]);
	return rc;
}

void cd_roles_unlink(void)
{
	char path[CD_PATH_MAX];

	for (unsigned i = 0; i < CD_ROLES; i++) {
		file_path(path, i, "pem");
		unlink(path);
		file_path(path, i, "key");
		unlink(path);
	}
}

static bool pair_good(unsigned role, const char *ca_cert, const char *node)
{
	CL_CLEANUP_FREE char *cert = NULL;
	char path[CD_PATH_MAX], *key = NULL;
	int rc;

	file_path(path, role, "pem");
	rc = cd_file_read(path, CD_PEM_MAX, &cert, NULL);
	if (rc == 0) {
		file_path(path, role, "key");
		rc = cd_file_read(path, CD_PEM_MAX, &key, NULL);
	}
	if (rc == 0)
		rc = cd_pki_check(ca_cert, cert, key, node, cd_role_names[role]);
	secret_free(key);
	return rc == 0;
}

static int pair_make(unsigned role, const char *ca_key, const char *ca_cert, const char *node)
{
	CL_CLEANUP_FREE char *csr = NULL;
	struct cd_role_pair pair = { 0 };
	int rc = cd_pki_key_create(&pair.key);

	if (rc == 0)
		rc = cd_pki_csr_create(pair.key, node, &csr);
	if (rc == 0)
		rc = cd_pki_csr_sign(ca_key, ca_cert, csr, node, cd_role_names[role], &pair.cert);
	if (rc == 0)
		rc = pair_write(role, &pair);
	free(pair.cert);
	secret_free(pair.key);
	return rc;
}

int cd_roles_ensure(const char *node, char *error, size_t cap_bytes)
{
	CL_CLEANUP_FREE char *ca_cert = NULL;
	char path[CD_PATH_MAX], *ca_key = NULL;
	int made = 0, rc;

	cd_path(path, sizeof(path), CD_DIR_STATE, "tls/ca.pem");
	rc = cd_file_read(path, CD_PEM_MAX, &ca_cert, NULL);
	for (unsigned i = 0; i < CD_ROLES && rc == 0; i++) {
		if (pair_good(i, ca_cert, node))
			continue;
		cd_path(path, sizeof(path), CD_DIR_STATE, "tls/ca.key");
		if (!ca_key && cd_file_read(path, CD_PEM_MAX, &ca_key, NULL) < 0) {
			snprintf(
				error, cap_bytes,
				"the certificate for the role '%s' is missing and this node has no"
				" %s to make it: copy that file from another member (mode 0600) and"
				" start clusterd again",
				cd_role_names[i], path);
			return -ENOKEY;
		}
		file_path(path, i, "pem");
		rc = pair_make(i, ca_key, ca_cert, node);
		made += rc == 0;
	}
	secret_free(ca_key);
	if (rc < 0) {
		snprintf(error, cap_bytes, "%s: %s", path, strerror(-rc));
		return rc;
	}
	return made;
}
