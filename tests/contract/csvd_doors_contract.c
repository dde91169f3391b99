/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The doors of a real csvd, in folders of its own: who has not proved who he is holds few of its places, for
 * a short time, and keeps nobody out; a certificate of another role is good for nothing.
 * Needs root (csvd does); else it is skipped.  usage: csvd_doors_contract PATH-OF-CSVD
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "clusterd/paths_linux.h"
#include "clusterd/pki_gnutls.h"
#include "clusterd/roles_linux.h"
#include "common/cl_cleanup.h"
#include "common/cl_ctl.h"
#include "common/cl_tls.h"
#include "csv/localio.h"
#include "csv/proto.h"

#define OWNER	 "127.74.1.1" /* addresses of this test alone */
#define MEMBER	 "127.74.1.2"
#define STRANGER "127.74.1.9"
#define FLOOD	 400
#define WAIT_MS	 60000
#define NOBODY	 65534

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #x);                             \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static char top[] = "/tmp/csvd_doors.XXXXXX";
static pid_t csvd;
static char sock_path[100], log_path[128];

static unsigned threads(void)
{
	char path[64], line[256];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", csvd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Threads: %u", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

static bool log_says(const char *text)
{
	CL_CLEANUP_FREE char *log = NULL;

	for (int i = 0; i < WAIT_MS / 100; i++) {
		free(log);
		log = NULL;
		if (cd_file_read(log_path, 1 << 20, &log, NULL) == 0 && strstr(log, text))
			return true;
		usleep(100000);
	}
	printf("csvd's log does not say '%s':\n%s\n", text, log ? log : "");
	return false;
}

/* A node's folder, or ours, with certificates of the one CA. */
static int certificates(const char *dir, const char *node, const char *ca_key, const char *ca)
{
	struct cd_role_pair pairs[CD_ROLES] = {0};
	json_t *csrs = NULL, *certs = NULL;
	char path[CD_PATH_MAX];

	setenv("HOLDFAST_STATE_DIR", dir, 1);
	cd_path(path, sizeof(path), CD_DIR_STATE, "tls");
	CHECK(cd_path_mkdirs(path, 0700) == 0);
	CHECK(cd_roles_ask(pairs, node, &csrs) == 0);
	CHECK(cd_roles_sign(csrs, ca_key, ca, node, &certs) == 0);
	CHECK(cd_roles_take(pairs, certs, ca, node) == 0 && cd_roles_write(pairs) == 0);
	cd_path(path, sizeof(path), CD_DIR_STATE, "tls/ca.pem");
	CHECK(cd_file_write(path, 0600, ca, strlen(ca)) == 0);
	json_decref(csrs);
	json_decref(certs);
	cd_roles_free(pairs);
	return 0;
}

static int csvd_start(const char *program)
{
	struct cl_ctl_client *client;
	char *ca_key, *ca, *error = NULL, n2[64], run[64];
	json_t *result = NULL;
	int rc = -1;

	CHECK(mkdtemp(top) && chmod(top, 0755) == 0);
	snprintf(n2, sizeof(n2), "%s/n2", top);
	snprintf(run, sizeof(run), "%s/run", top);
	CHECK(mkdir(run, 0755) == 0);
	CHECK(cd_pki_ca_create("lab", &ca_key, &ca) == 0);
	CHECK(certificates(n2, "n2", ca_key, ca) == 0 && certificates(top, "n1", ca_key, ca) == 0);
	free(ca_key);
	free(ca);
	setenv("HOLDFAST_RUN_DIR", run, 1);
	setenv("HOLDFAST_STORAGE_DIR", run, 1);
	snprintf(sock_path, sizeof(sock_path), "%s/csv.sock", run);
	snprintf(log_path, sizeof(log_path), "%s/log", top);
	csvd = fork();
	if (csvd == 0) {
		int fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);

		dup2(fd, 1);
		dup2(fd, 2);
		execl(program, program, NULL);
		_exit(127);
	}
	snprintf(run, sizeof(run), "%s/run/csvd.sock", top);
	for (int i = 0; i < WAIT_MS / 100 && rc; i++) {
		rc = cl_ctl_client_connect(run, &client);
		if (rc)
			usleep(100000);
	}
	CHECK(rc == 0);
	rc = cl_ctl_client_call(client, "configure",
				json_pack("{s:i s:s s:s s:i s:[{s:i s:s s:s} {s:i s:s s:s}]}", "node",
					  1, "name", "n1", "address", OWNER, "epoch", 1, "nodes", "id",
					  1, "name", "n1", "address", OWNER, "id", 2, "name", "n2",
					  "address", MEMBER),
				WAIT_MS, &result, &error);
	if (rc)
		printf("configure: %s\n", error);
	json_decref(result);
	cl_ctl_client_free(client);
	CHECK(rc == 0);
	return 0;
}

/* ---- csv.sock ---- */

static int local_connect(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", sock_path);
	return fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a)) ? fd : -1;
}

/* How many of fds the other side has not closed. */
static unsigned still_open(const int *fds, unsigned n)
{
	unsigned open_n = 0;

	for (unsigned i = 0; i < n; i++) {
		struct pollfd p = {.fd = fds[i], .events = POLLIN};

		open_n += fds[i] >= 0 && poll(&p, 1, 0) == 0;
	}
	return open_n;
}

/* As a user who is nobody: few stay, and those only for a while. */
static int nobody_floods(int told)
{
	static int fds[FLOOD];
	unsigned n = FLOOD;

	CHECK(!setgid(NOBODY) && !setuid(NOBODY));
	for (unsigned i = 0; i < FLOOD; i++)
		fds[i] = local_connect();
	for (int i = 0; i < WAIT_MS / 100 && n > 4; i++) {
		n = still_open(fds, FLOOD);
		usleep(100000);
	}
	CHECK(n <= 4);
	CHECK(write(told, "f", 1) == 1);
	for (int i = 0; i < WAIT_MS / 100 && n; i++) {
		n = still_open(fds, FLOOD);
		usleep(100000);
	}
	CHECK(n == 0);
	return 0;
}

static int root_is_served(void)
{
	struct csv_local_msg *m = calloc(1, sizeof(*m));
	int fd = local_connect(), in = -1;

	CHECK(m && fd >= 0);
	m->type = CSV_LOCAL_HELLO;
	snprintf(m->vm, sizeof(m->vm), "web");
	CHECK(csv_local_send(fd, m, -1, 0) == 0);
	CHECK(csv_local_recv(fd, m, &in, 0) == 0 && m->rc == 0 && m->secret[0]);
	/* Who is greeted may be silent as long as he likes. */
	close(fd);
	free(m);
	return 0;
}

static int csv_sock_is_bounded(void)
{
	unsigned before = threads();
	int told[2], status;
	char byte;
	pid_t pid;

	CHECK(pipe(told) == 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		exit(nobody_floods(told[1]));
	close(told[1]);
	CHECK(read(told[0], &byte, 1) == 1);
	CHECK(threads() <= before + 4);
	CHECK(root_is_served() == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(log_says("uid 65534"));
	close(told[0]);
	return 0;
}

/* ---- port 7401 ---- */

static int tcp_from(const char *address)
{
	struct sockaddr_in a = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, address, &a.sin_addr);
	inet_pton(AF_INET, OWNER, &to.sin_addr);
	to.sin_port = htons(CSV_RPC_PORT);
	return fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)) &&
			       !connect(fd, (struct sockaddr *)&to, sizeof(to)) ?
		       fd :
		       -1;
}

/* 0 and the status of a HELLO for a volume that is not there, or how it failed. */
static int hello(const char *role, int32_t *ret_status)
{
	struct csv_rpc_hdr h = {.kind = CSV_RPC_REQUEST, .op = CSV_OP_HELLO, .term = 1, .seq = 1};
	struct csv_rpc_msg *m = calloc(1, sizeof(*m));
	uint8_t buf[65536];
	struct cl_tls_creds *creds = NULL;
	struct cl_tls *tls = NULL;
	char dir[64], *error = NULL;
	long n;
	int fd, rc;

	snprintf(dir, sizeof(dir), "%s/n2/tls", top);
	CHECK(m && cl_tls_creds_load(dir, role, &creds, &error) == 0);
	cl_tls_creds_roleless_set(creds, true);
	fd = tcp_from(MEMBER);
	CHECK(fd >= 0);
	m->node = 2;
	m->generation = 5;
	snprintf(m->text, sizeof(m->text), "v1");
	n = csv_rpc_encode(&h, m, buf, sizeof(buf));
	CHECK(n > 0);
	rc = cl_tls_connect(creds, fd, WAIT_MS, &tls);
	if (rc)
		close(fd);
	else
		rc = cl_tls_write(tls, buf, (size_t)n);
	if (!rc)
		rc = cl_tls_read(tls, buf, CSV_RPC_HEADER_BYTES);
	if (!rc)
		rc = csv_rpc_header_decode(buf, &h);
	*ret_status = h.status;
	cl_tls_free(tls);
	cl_tls_creds_free(creds);
	free(m);
	return rc;
}

static int port_is_bounded(void)
{
	static int fds[FLOOD];
	unsigned before = threads(), n = FLOOD;
	int32_t status = 0;

	for (unsigned i = 0; i < FLOOD; i++) {
		fds[i] = tcp_from(STRANGER);
		CHECK(fds[i] >= 0);
	}
	for (int i = 0; i < WAIT_MS / 100 && n > 8; i++) {
		n = still_open(fds, FLOOD);
		usleep(100000);
	}
	CHECK(n <= 8);
	CHECK(threads() <= before + 8);
	/* A member is let in beside them. */
	CHECK(hello("csvd", &status) == 0 && status == CSV_STATUS_MOVED);
	for (int i = 0; i < WAIT_MS / 100 && n; i++) {
		n = still_open(fds, FLOOD);
		usleep(100000);
	}
	CHECK(n == 0);
	for (unsigned i = 0; i < FLOOD; i++)
		close(fds[i]);
	CHECK(log_says("a connection from " STRANGER " was refused"));
	return 0;
}

static int roles_are_demanded(void)
{
	static const char *const wrong[] = {"console", "join", "node"};
	int32_t status = 0;
	char text[64];

	for (unsigned i = 0; i < 3; i++)
		CHECK(hello(wrong[i], &status) != 0);
	usleep(6000000); /* a line is due again */
	CHECK(hello("console", &status) != 0);
	snprintf(text, sizeof(text), "of n2 has the role 'console', allowed here is 'csvd'");
	CHECK(log_says(text));
	CHECK(hello("csvd", &status) == 0 && status == CSV_STATUS_MOVED);
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit files = {4096, 4096};
	int rc;

	if (argc < 2)
		return 2;
	if (geteuid()) {
		printf("skipped: csvd needs root\n");
		return 77;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	rc = csvd_start(argv[1]);
	if (!rc)
		rc = csv_sock_is_bounded();
	if (!rc)
		rc = port_is_bounded();
	if (!rc)
		rc = roles_are_demanded();
	if (csvd > 0) {
		kill(csvd, SIGTERM);
		waitpid(csvd, NULL, 0);
	}
	if (rc) {
		printf("left: %s\n", top);
		return 1;
	}
	if (!rc) {
		char cmd[64];

		snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
		rc = system(cmd);
	}
	printf("ok\n");
	return 0;
}
