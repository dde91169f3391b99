/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is let in and who is not: two CAs, nodes with and without a role, clocks that are wrong. */
#include "common/cl_tls.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 30000

static char top[] = "/tmp/cl_tls_test.XXXXXX";

struct authority {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
};

static gnutls_x509_privkey_t key_new(void)
{
	gnutls_x509_privkey_t key;

	CU_ASSERT_EQUAL_FATAL(gnutls_x509_privkey_init(&key), 0);
	CU_ASSERT_EQUAL_FATAL(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
			      GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), 0);
	return key;
}

/* role "": none.  more: a second OU, or NULL. */
static gnutls_x509_crt_t crt_new(const char *name, const char *role, const char *more,
				 gnutls_x509_privkey_t key, const struct authority *ca, time_t begins,
				 time_t expires)
{
	gnutls_x509_crt_t crt;

	CU_ASSERT_EQUAL_FATAL(gnutls_x509_crt_init(&crt), 0);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_serial(crt, "\x01", 1);
	gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name, strlen(name));
	if (role[0])
		gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, 0, role,
					      (unsigned)strlen(role));
	if (more)
		gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, 0, more,
					      (unsigned)strlen(more));
	gnutls_x509_crt_set_activation_time(crt, begins);
	gnutls_x509_crt_set_expiration_time(crt, expires);
	gnutls_x509_crt_set_key(crt, key);
	if (!ca)
		gnutls_x509_crt_set_ca_status(crt, 1);
	CU_ASSERT_EQUAL_FATAL(gnutls_x509_crt_sign2(crt, ca ? ca->crt : crt, ca ? ca->key : key,
						    GNUTLS_DIG_SHA256, 0), 0);
	return crt;
}

static void put(const char *dir, const char *file, const gnutls_datum_t *pem)
{
	char path[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s/%s", top, dir, file);
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_EQUAL(fwrite(pem->data, pem->size, 1, f), 1);
	fclose(f);
	(void)chmod(path, 0600);
}

static struct authority authority_new(const char *name)
{
	struct authority ca = { .key = key_new() };

	ca.crt = crt_new(name, "", NULL, ca.key, NULL, time(NULL) - 86400, time(NULL) + 86400);
	return ca;
}

static void node_new(const char *name, const char *role, const char *more,
		     const struct authority *ca, time_t begins, time_t expires)
{
	gnutls_x509_privkey_t key = key_new();
	gnutls_x509_crt_t crt = crt_new(name, role, more, key, ca, begins, expires);
	gnutls_datum_t pem;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", top, name);
	CU_ASSERT_EQUAL_FATAL(mkdir(path, 0700), 0);
	gnutls_x509_crt_export2(ca->crt, GNUTLS_X509_FMT_PEM, &pem);
	put(name, "ca.pem", &pem);
	gnutls_free(pem.data);
	gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);
	put(name, "csvd.pem", &pem);
	gnutls_free(pem.data);
	gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem);
	put(name, "csvd.key", &pem);
	gnutls_free(pem.data);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
}

static struct cl_tls_creds *load(const char *name)
{
	struct cl_tls_creds *creds = NULL;
	char path[256], *error = NULL;

	(void)snprintf(path, sizeof(path), "%s/%s", top, name);
	CU_ASSERT_EQUAL_FATAL(cl_tls_creds_load(path, "csvd", &creds, &error), 0);
	return creds;
}

static void make_world(void)
{
	struct authority ours, theirs;
	time_t now = time(NULL);

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(top));
	ours = authority_new("ours");
	theirs = authority_new("theirs");
	node_new("n1", "csvd", NULL, &ours, now - 86400, now + 86400);
	node_new("n2", "csvd", NULL, &ours, now - 86400, now + 86400);
	/* What certificates look like to a node whose clock says 2100, or 1970. */
	node_new("late", "csvd", NULL, &ours, now - 86400, now - 3600);
	node_new("early", "csvd", NULL, &ours, now + 3600, now + 86400);
	node_new("console", "console", NULL, &ours, now - 86400, now + 86400);
	node_new("roleless", "", NULL, &ours, now - 86400, now + 86400);
	node_new("both", "csvd", "console", &ours, now - 86400, now + 86400);
	node_new("stranger", "csvd", NULL, &theirs, now - 86400, now + 86400);
	gnutls_x509_crt_deinit(ours.crt);
	gnutls_x509_privkey_deinit(ours.key);
	gnutls_x509_crt_deinit(theirs.crt);
	gnutls_x509_privkey_deinit(theirs.key);
}

struct side {
	const char *name;
	int fd, rc;
	bool roleless;
	char peer[64], got[6], refusal[512];
};

static void *server_side(void *arg)
{
	struct side *side = arg;
	struct cl_tls_creds *creds = load(side->name);
	struct cl_tls *tls = NULL;

	cl_tls_creds_roleless_set(creds, side->roleless);
	side->rc = cl_tls_accept(creds, side->fd, WAIT_MS, &tls);
	if (side->rc) {
		(void)snprintf(side->refusal, sizeof(side->refusal), "%s", cl_tls_refusal());
		close(side->fd);
	} else {
		(void)snprintf(side->peer, sizeof(side->peer), "%s", cl_tls_peer_name(tls));
		side->rc = cl_tls_read(tls, side->got, sizeof(side->got));
		if (!side->rc)
			side->rc = cl_tls_write(tls, "world", 6);
	}
	cl_tls_free(tls);
	cl_tls_creds_free(creds);
	return NULL;
}

/* 0 if both sides talked, else the client's error or what its first read said. */
static int talk(const char *client, const char *server, struct side *side)
{
	struct cl_tls_creds *creds = load(client);
	struct cl_tls *tls = NULL;
	pthread_t thread;
	char got[6] = "";
	int fds[2], rc;

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	*side = (struct side){ .name = server, .fd = fds[1], .roleless = side->roleless };
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, server_side, side), 0);
	rc = cl_tls_connect(creds, fds[0], WAIT_MS, &tls);
	if (rc)
		close(fds[0]);
	else if (!(rc = cl_tls_write(tls, "hello", 6)))
		rc = cl_tls_read(tls, got, sizeof(got));
	if (!rc)
		CU_ASSERT_STRING_EQUAL(got, "world");
	cl_tls_free(tls);
	pthread_join(thread, NULL);
	cl_tls_creds_free(creds);
	return rc;
}

static void friends_talk(void)
{
	struct side side = { 0 };

	make_world();
	CU_ASSERT_EQUAL(talk("n1", "n2", &side), 0);
	CU_ASSERT_EQUAL(side.rc, 0);
	CU_ASSERT_STRING_EQUAL(side.peer, "n1");
	CU_ASSERT_STRING_EQUAL(side.got, "hello");
}

static void strangers_do_not(void)
{
	struct side side = { 0 };

	CU_ASSERT_NOT_EQUAL(talk("stranger", "n1", &side), 0);
	CU_ASSERT_NOT_EQUAL(side.rc, 0);
	CU_ASSERT_EQUAL(talk("n1", "stranger", &side), -EKEYREJECTED);
	CU_ASSERT_NOT_EQUAL(side.rc, 0);
}

static void clocks_may_be_wrong(void)
{
	struct side side = { 0 };

	CU_ASSERT_EQUAL(talk("late", "n1", &side), 0);
	CU_ASSERT_EQUAL(talk("n1", "late", &side), 0);
	CU_ASSERT_EQUAL(talk("early", "n1", &side), 0);
	CU_ASSERT_EQUAL(talk("n1", "early", &side), 0);
}

static void another_role_is_refused(void)
{
	struct side side = { 0 };

	CU_ASSERT_NOT_EQUAL(talk("console", "n1", &side), 0);
	CU_ASSERT_EQUAL(side.rc, -EKEYREJECTED);
	CU_ASSERT_STRING_EQUAL(side.refusal, "the certificate of console has the role 'console',"
					     " allowed here is 'csvd'");
	CU_ASSERT_EQUAL(talk("n1", "console", &side), -EKEYREJECTED);
	CU_ASSERT_NOT_EQUAL(talk("both", "n1", &side), 0);
	CU_ASSERT_EQUAL(side.rc, -EKEYREJECTED);
	CU_ASSERT_NOT_EQUAL(talk("roleless", "n1", &side), 0);
	CU_ASSERT_EQUAL(side.rc, -EKEYREJECTED);
	/* A cluster with an older release in it: no role will do, another one will not. */
	side.roleless = true;
	CU_ASSERT_EQUAL(talk("roleless", "n1", &side), 0);
	CU_ASSERT_EQUAL(side.rc, 0);
	CU_ASSERT_NOT_EQUAL(talk("console", "n1", &side), 0);
	CU_ASSERT_EQUAL(side.rc, -EKEYREJECTED);
}

static void a_readable_key_is_refused(void)
{
	struct cl_tls_creds *creds = NULL;
	char path[256], dir[256], *error = NULL;

	(void)snprintf(dir, sizeof(dir), "%s/n1", top);
	(void)snprintf(path, sizeof(path), "%s/n1/csvd.key", top);
	CU_ASSERT_EQUAL(chmod(path, 0644), 0);
	CU_ASSERT_EQUAL(cl_tls_creds_load(dir, "csvd", &creds, &error), -EACCES);
	CU_ASSERT_PTR_NOT_NULL_FATAL(error);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "allowed is 0600"));
	free(error);
	CU_ASSERT_EQUAL(chmod(path, 0600), 0);
}

static void clean_up(void)
{
	static const char *const dirs[] = { "n1", "n2", "late", "early", "console", "roleless",
					    "both", "stranger" };
	static const char *const files[] = { "ca.pem", "csvd.pem", "csvd.key" };
	char path[256];

	for (size_t d = 0; d < sizeof(dirs) / sizeof(dirs[0]); d++) {
		for (size_t f = 0; f < 3; f++) {
			(void)snprintf(path, sizeof(path), "%s/%s/%s", top, dirs[d], files[f]);
			(void)unlink(path);
		}
		(void)snprintf(path, sizeof(path), "%s/%s", top, dirs[d]);
		(void)rmdir(path);
	}
	CU_ASSERT_EQUAL(rmdir(top), 0);
}

UNIT_MAIN("cl_tls", { "friends talk", friends_talk }, { "strangers do not", strangers_do_not },
	  { "clocks may be wrong", clocks_may_be_wrong },
	  { "another role is refused", another_role_is_refused },
	  { "a readable key is refused", a_readable_key_is_refused }, { "clean up", clean_up })
