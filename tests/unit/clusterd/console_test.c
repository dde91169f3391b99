/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/console_linux.c: a console over the wire is the console; who asks for another gets a reason. */
#include "clusterd/console_linux.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clusterd/paths_linux.h"
#include "clusterd/pki_gnutls.h"
#include "common/cl_tls.h"

#define ADDRESS "127.74.0.2" /* of this test alone */

static char top[] = "/tmp/console_test.XXXXXX";
static int port_fd = -1, serial_fd = -1;

static void put(const char *name, const char *text)
{
	char path[CD_PATH_MAX];

	cd_path(path, sizeof(path), CD_DIR_STATE, "tls/%s", name);
	CU_ASSERT_EQUAL_FATAL(cd_file_write(path, 0600, text, strlen(text)), 0);
}

/* Node n1 with its certificate, its port, and a VM "web" whose serial line we are. */
static void node_make(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char *ca_key, *ca, *key, *csr, *cert, path[CD_PATH_MAX];

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(top));
	setenv("HOLDFAST_STATE_DIR", top, 1);
	setenv("HOLDFAST_RUN_DIR", top, 1);
	cd_path(path, sizeof(path), CD_DIR_STATE, "tls");
	CU_ASSERT_EQUAL_FATAL(cd_path_mkdirs(path, 0700), 0);
	CU_ASSERT_EQUAL_FATAL(cd_pki_ca_create("lab", &ca_key, &ca), 0);
	CU_ASSERT_EQUAL_FATAL(cd_pki_key_create(&key), 0);
	CU_ASSERT_EQUAL_FATAL(cd_pki_csr_create(key, "n1", &csr), 0);
	CU_ASSERT_EQUAL_FATAL(cd_pki_csr_sign(ca_key, ca, csr, "n1", "console", &cert), 0);
	put("ca.pem", ca);
	put("console.pem", cert);
	put("console.key", key);
	free(ca_key);
	free(ca);
	free(key);
	free(csr);
	free(cert);
	cd_path(path, sizeof(path), CD_DIR_RUN, "vm/web");
	CU_ASSERT_EQUAL_FATAL(cd_path_mkdirs(path, 0700), 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/vm/web/serial.sock", top);
	serial_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CU_ASSERT_EQUAL_FATAL(bind(serial_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	CU_ASSERT_EQUAL_FATAL(listen(serial_fd, 4), 0);
	port_fd = cl_tcp_listen(ADDRESS, CD_CONSOLE_PORT);
	CU_ASSERT_TRUE_FATAL(port_fd >= 0);
}

static void *serve_one(void *arg)
{
	*(int *)arg = cd_console_serve(accept(port_fd, NULL, NULL));
	return NULL;
}

static int ask(const char *node, const char *vm, char *error, size_t cap_bytes)
{
	pthread_t thread;
	int served = -1, fd;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, serve_one, &served), 0);
	fd = cd_console_remote(ADDRESS, node, vm, error, cap_bytes);
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(served, 0);
	return fd;
}

static void read_all(int fd, char *buf, size_t len)
{
	for (size_t n = 0; n < len;) {
		ssize_t got = read(fd, buf + n, len - n);

		CU_ASSERT_TRUE_FATAL(got > 0);
		n += (size_t)got;
	}
}

static void *fill(void *arg)
{
	static char much[200000];

	memset(much, 'x', sizeof(much));
	CU_ASSERT_EQUAL(write((int)(intptr_t)arg, much, sizeof(much)), (ssize_t)sizeof(much));
	return NULL;
}

static void test_both_ways(void)
{
	static char much[200000];
	char error[200], buf[16];
	pthread_t thread;
	int fd, guest;

	node_make();
	fd = ask("n1", "web", error, sizeof(error));
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	guest = accept(serial_fd, NULL, NULL);
	CU_ASSERT_EQUAL(write(guest, "login: ", 7), 7);
	read_all(fd, buf, 7);
	CU_ASSERT_EQUAL(memcmp(buf, "login: ", 7), 0);
	CU_ASSERT_EQUAL(write(fd, "root\n", 5), 5);
	read_all(guest, buf, 5);
	CU_ASSERT_EQUAL(memcmp(buf, "root\n", 5), 0);
	pthread_create(&thread, NULL, fill, (void *)(intptr_t)guest);
	read_all(fd, much, sizeof(much));
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(much[0], 'x');
	CU_ASSERT_EQUAL(much[sizeof(much) - 1], 'x');
	/* Whoever leaves, the other side hears of it. */
	close(fd);
	CU_ASSERT_EQUAL(read(guest, buf, 1), 0);
	close(guest);
	fd = ask("n1", "web", error, sizeof(error));
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	close(accept(serial_fd, NULL, NULL));
	CU_ASSERT_TRUE(read(fd, buf, 1) <= 0);
	close(fd);
}

static void tidy(void)
{
	static const char *const names[] = { "tls/ca.pem", "tls/console.pem", "tls/console.key", "tls",
					     "vm/web/serial.sock", "vm/web", "vm", "." };
	char path[CD_PATH_MAX];

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cd_path(path, sizeof(path), CD_DIR_STATE, "%s", names[i]);
		CU_ASSERT_EQUAL(remove(strcmp(names[i], ".") ? path : top), 0);
	}
}

static void test_refused(void)
{
	char error[200];

	CU_ASSERT_EQUAL(ask("n1", "mail", error, sizeof(error)), -ENOTCONN);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "VM mail has no console here"));
	CU_ASSERT_EQUAL(ask("n1", "../../etc", error, sizeof(error)), -ENOTCONN);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "not understood"));
	/* The certificate of n1 is not that of n2. */
	CU_ASSERT_EQUAL(ask("n2", "web", error, sizeof(error)), -EKEYREJECTED);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "node n2"));
	close(port_fd);
	close(serial_fd);
	CU_ASSERT_EQUAL(cd_console_remote(ADDRESS, "n1", "web", error, sizeof(error)), -ECONNREFUSED);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "port 7402"));
	tidy();
}

UNIT_MAIN("console", { "both ways", test_both_ways }, { "refused", test_refused })
