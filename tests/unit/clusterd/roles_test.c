/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/roles_linux.c: a pair for each role, by a member or by ourselves, and never with
 * another's. */
#include "clusterd/roles_linux.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clusterd/paths_linux.h"
#include "clusterd/pki_gnutls.h"
#include "common/cl_tls.h"

static char top[] = "/tmp/roles_test.XXXXXX";
static char *ca_key, *ca;

static void path_of(char path[CD_PATH_MAX], const char *name)
{
	cd_path(path, CD_PATH_MAX, CD_DIR_STATE, "tls/%s", name);
}

static void put(const char *name, const char *text)
{
	char path[CD_PATH_MAX];

	path_of(path, name);
	CU_ASSERT_EQUAL_FATAL(cd_file_write(path, 0600, text, strlen(text)), 0);
}

static void make(void)
{
	char path[CD_PATH_MAX];

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(top));
	setenv("HOLDFAST_STATE_DIR", top, 1);
	path_of(path, "");
	CU_ASSERT_EQUAL_FATAL(cd_path_mkdirs(path, 0700), 0);
	CU_ASSERT_EQUAL_FATAL(cd_pki_ca_create("lab", &ca_key, &ca), 0);
}

static void asked_of_a_member(void)
{
	struct cd_role_pair pairs[CD_ROLES] = { 0 }, other[CD_ROLES] = { 0 };
	json_t *csrs, *more, *certs = NULL;

	make();
	CU_ASSERT_EQUAL_FATAL(cd_roles_ask(pairs, "n2", &csrs), 0);
	CU_ASSERT_EQUAL(cd_roles_sign(csrs, ca_key, ca, "n1", &certs), -EBADMSG);
	CU_ASSERT_EQUAL_FATAL(cd_roles_sign(csrs, ca_key, ca, "n2", &certs), 0);
	CU_ASSERT_EQUAL(cd_roles_take(pairs, certs, ca, "n2"), 0);
	/* Certificates of two roles exchanged, or for keys of somebody else, are not what was asked
	 * for. */
	CU_ASSERT_EQUAL_FATAL(cd_roles_ask(other, "n2", &more), 0);
	CU_ASSERT_EQUAL(cd_roles_take(other, certs, ca, "n2"), -EBADMSG);
	for (unsigned i = 0; i < CD_ROLES; i++) {
		free(pairs[i].cert);
		pairs[i].cert = NULL;
	}
	json_object_set(certs, cd_role_names[0], json_object_get(certs, cd_role_names[1]));
	CU_ASSERT_EQUAL(cd_roles_take(pairs, certs, ca, "n2"), -EBADMSG);
	json_object_set_new(csrs, "admin", json_incref(json_object_get(csrs, "csvd")));
	CU_ASSERT_EQUAL(cd_roles_sign(csrs, ca_key, ca, "n2", &certs), -EBADMSG);
	json_object_del(csrs, "admin");
	json_object_del(csrs, "csvd");
	CU_ASSERT_EQUAL(cd_roles_sign(csrs, ca_key, ca, "n2", &certs), -EBADMSG);
	json_decref(csrs);
	json_decref(more);
	json_decref(certs);
	cd_roles_free(pairs);
	cd_roles_free(other);
}

static bool loads(const char *role)
{
	struct cl_tls_creds *creds = NULL;
	char dir[CD_PATH_MAX], *error = NULL;
	int rc;

	path_of(dir, "");
	rc = cl_tls_creds_load(dir, role, &creds, &error);
	cl_tls_creds_free(creds);
	free(error);
	return rc == 0;
}

/* A node of a release from before roles: one certificate for everything, and the CA's key or not.
 */
static void made_at_start(void)
{
	char error[512] = "", path[CD_PATH_MAX];

	put("ca.pem", ca);
	CU_ASSERT_EQUAL(cd_roles_ensure("n1", error, sizeof(error)), -ENOKEY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "copy that file from another member"));
	CU_ASSERT_FALSE(loads("csvd"));
	put("ca.key", ca_key);
	CU_ASSERT_EQUAL(cd_roles_ensure("n1", error, sizeof(error)), (int)CD_ROLES);
	for (unsigned i = 0; i < CD_ROLES; i++)
		CU_ASSERT_TRUE(loads(cd_role_names[i]));
	CU_ASSERT_EQUAL(cd_roles_ensure("n1", error, sizeof(error)), 0);
	/* Half a pair (the power went), one that is damaged, the name of another node. */
	path_of(path, "console.pem");
	CU_ASSERT_EQUAL(unlink(path), 0);
	put("join.pem", "-----BEGIN");
	CU_ASSERT_EQUAL(cd_roles_ensure("n1", error, sizeof(error)), 2);
	CU_ASSERT_EQUAL(cd_roles_ensure("n2", error, sizeof(error)), (int)CD_ROLES);
	cd_roles_unlink();
	CU_ASSERT_FALSE(loads("csvd"));
	path_of(path, "ca.pem");
	(void)unlink(path);
	path_of(path, "ca.key");
	(void)unlink(path);
	path_of(path, "");
	CU_ASSERT_EQUAL(rmdir(path), 0);
	CU_ASSERT_EQUAL(rmdir(top), 0);
	free(ca);
	free(ca_key);
}

UNIT_MAIN("roles", { "asked of a member", asked_of_a_member }, { "made at start", made_at_start })
