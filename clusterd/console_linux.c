/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Consoles across nodes; see console_linux.h.  Every console has threads of its own, since it lasts as long
 * as somebody looks at it and must not hold a worker of the pool.  Decides nothing about the cluster.
 *
 *   clusterctl -- socketpair -- TLS ---- port 7402 ---- TLS -- serial.sock of the vmm
 */
#include "clusterd/console_linux.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clusterd/paths_linux.h"
#include "common/cl_cleanup.h"
#include "common/cl_gate.h"
#include "common/cl_log.h"
#include "common/cl_tls.h"
#include "common/cl_types.h"
#include "common/cl_wire.h"

#define CONSOLE_VERSION 1
#define ERROR_MAX	256u

static atomic_uint consoles;
static struct cl_gate knocks;
static pthread_once_t knocks_once = PTHREAD_ONCE_INIT;

/* ---- messages: u16 length and so many bytes ------------------------------------------------- */

static int message_send(struct cl_tls *tls, const void *data, size_t len_bytes)
{
	uint8_t buf[2 + CD_CONSOLE_CHUNK];
	struct cl_writer w;
	long len;

	cl_writer_init(&w, buf, sizeof(buf));
	cl_write_u16(&w, (uint16_t)len_bytes);
	cl_write_bytes(&w, data, len_bytes);
	len = cl_writer_done(&w);
	return len < 0 ? (int)len : cl_tls_write(tls, buf, (size_t)len);
}

/* Length, or -EBADMSG for more than cap_bytes. */
static int message_receive(struct cl_tls *tls, void *data, size_t cap_bytes)
{
	uint8_t head[2];
	struct cl_reader r;
	size_t len;
	int rc = cl_tls_read(tls, head, sizeof(head));

	if (rc < 0)
		return rc;
	cl_reader_init(&r, head, sizeof(head));
	len = cl_read_u16(&r);
	if (len > cap_bytes)
		return -EBADMSG;
	rc = cl_tls_read(tls, data, len);
	return rc < 0 ? rc : (int)len;
}

/* ---- bytes both ways ------------------------------------------------------------------------ */

struct relay {
	struct cl_tls_creds *creds; /* as long as the session lives */
	struct cl_tls *tls;
	int fd;
	int knock;   /* ticket of the gate, or -1 */
	bool counts; /* in consoles */
};

static int write_all(int fd, const uint8_t *data, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t n = send(fd, data, len_bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EPIPE;
		data += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

static void *from_peer(void *arg)
{
	const struct relay *relay = arg;
	uint8_t buf[CD_CONSOLE_CHUNK];
	int n;

	while ((n = message_receive(relay->tls, buf, sizeof(buf))) >= 0)
		if (write_all(relay->fd, buf, (size_t)n) < 0)
			break;
	shutdown(relay->fd, SHUT_RDWR);
	return NULL;
}

/* Until either side ends; all that relay holds is closed then. */
static void relay_run(struct relay *relay)
{
	struct cl_tls *tls = relay->tls;
	int fd = relay->fd;
	uint8_t buf[CD_CONSOLE_CHUNK];
	pthread_t thread;
	ssize_t n;

	cl_tls_timeout_set(tls, 0);
	if (pthread_create(&thread, NULL, from_peer, relay) == 0) {
		while ((n = read(fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR))
			if (n > 0 && message_send(tls, buf, (size_t)n) < 0)
				break;
		cl_tls_shutdown(tls);
		shutdown(fd, SHUT_RDWR);
		pthread_join(thread, NULL);
	}
	cl_tls_free(tls);
	cl_tls_creds_free(relay->creds);
	close(fd);
}

static int thread_detached(void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	return -rc;
}

static int creds_load(struct cl_tls_creds **ret_creds, char *error, size_t cap_bytes)
{
	CL_CLEANUP_FREE char *text = NULL;
	char dir[CD_PATH_MAX];
	int rc;

	cd_path(dir, sizeof(dir), CD_DIR_STATE, "tls");
	rc = cl_tls_creds_load(dir, CL_TLS_ROLE_CONSOLE, ret_creds, &text);
	if (rc < 0)
		snprintf(error, cap_bytes, "%s", text ? text : strerror(-rc));
	return rc;
}

/* ---- the VM's node -------------------------------------------------------------------------- */

int cd_console_local(const char *vm)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	CL_CLEANUP_CLOSE int fd = -1;
	char path[CD_PATH_MAX];

	cd_path(path, sizeof(path), CD_DIR_RUN, "vm/%s/serial.sock", vm);
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return cl_steal_fd(&fd);
}

/* Request: u8 version, string VM.  Answer: string error, empty when the bytes follow. */
static int request_take(struct relay *relay, char vm[CL_NAME_MAX], char *error, size_t cap_bytes)
{
	struct cl_tls *tls = relay->tls;
	uint8_t buf[128];
	struct cl_reader r;
	uint8_t version;
	int len = message_receive(tls, buf, sizeof(buf));
	int fd;

	if (len < 0)
		return len;
	cl_reader_init(&r, buf, (size_t)len);
	version = cl_read_u8(&r);
	cl_read_str(&r, vm, CL_NAME_MAX);
	if (cl_reader_done(&r) < 0 || version != CONSOLE_VERSION || !cl_name_valid(vm)) {
		snprintf(error, cap_bytes, "the request for a console is not understood");
		return -EBADMSG;
	}
	relay->counts = true;
	if (atomic_fetch_add(&consoles, 1) >= CD_CONSOLES_MAX) {
		snprintf(error, cap_bytes, "%u consoles are open on that node: allowed are no more",
			 CD_CONSOLES_MAX);
		return -EAGAIN;
	}
	fd = cd_console_local(vm);
	if (fd < 0)
		snprintf(error, cap_bytes, "VM %s has no console here: %s", vm, strerror(-fd));
	return fd;
}

static int answer_send(struct cl_tls *tls, const char *error)
{
	uint8_t buf[2 + ERROR_MAX];
	struct cl_writer w;

	cl_writer_init(&w, buf, sizeof(buf));
	cl_write_str(&w, error);
	return message_send(tls, buf, (size_t)cl_writer_done(&w));
}

/* The connection at relay->fd becomes a session that asked for a console that is there; or an error. */
static int serve_begin(struct relay *relay, int *ret_serial)
{
	char vm[CL_NAME_MAX] = "", error[ERROR_MAX] = "";
	int serial, rc = creds_load(&relay->creds, error, sizeof(error));

	if (rc == 0)
		rc = cl_tls_accept(relay->creds, relay->fd, CD_CONSOLE_TIMEOUT_MS, &relay->tls);
	if (rc < 0) {
		unsigned more;

		if (cl_gate_say(&knocks, &more))
			cl_warning("a connection to the console port was refused: %s (%u more since the"
				   " last line)",
				   error[0] ? error : cl_tls_refusal(), more);
		return rc;
	}
	relay->fd = -1; /* the session's now */
	cl_tls_timeout_set(relay->tls, CD_CONSOLE_TIMEOUT_MS);
	serial = request_take(relay, vm, error, sizeof(error));
	rc = answer_send(relay->tls, serial < 0 && !error[0] ? strerror(-serial) : error);
	if (serial < 0 || rc < 0) {
		if (serial >= 0)
			close(serial);
		return serial < 0 ? serial : rc;
	}
	cl_notice("VM %s: node %s looks at its console", vm, cl_tls_peer_name(relay->tls));
	*ret_serial = serial;
	return 0;
}

static void *serve(void *arg)
{
	struct relay relay = *(struct relay *)arg;
	int serial, rc;

	free(arg);
	rc = serve_begin(&relay, &serial);
	cl_gate_leave(&knocks, relay.knock);
	if (rc == 0) {
		relay.fd = serial;
		relay_run(&relay);
	} else {
		cl_tls_free(relay.tls);
		cl_tls_creds_free(relay.creds);
		if (relay.fd >= 0)
			close(relay.fd);
	}
	if (relay.counts)
		atomic_fetch_sub(&consoles, 1);
	return NULL;
}

static void knocks_init(void)
{
	if (cl_gate_init(&knocks, CD_CONSOLE_KNOCKS, CD_CONSOLE_KNOCKS_ONE, CD_CONSOLE_GRACE_MS) < 0)
		abort();
}

int cd_console_serve(int fd)
{
	struct relay *relay = calloc(1, sizeof(*relay));
	char address[64];
	unsigned more;
	int rc = -ENOMEM;

	pthread_once(&knocks_once, knocks_init);
	if (relay) {
		*relay = (struct relay){ .fd = fd };
		relay->knock = cl_gate_enter(
			&knocks, cl_gate_address(fd, address, sizeof(address)), fd);
		rc = relay->knock < 0 ? relay->knock : thread_detached(serve, relay);
	}
	if (rc == 0)
		return 0;
	if (rc == -EAGAIN && cl_gate_say(&knocks, &more))
		cl_warning("console port: a connection from %s was refused: too many that have not said"
			   " who they are (%u more since the last line)",
			   address, more);
	if (relay)
		cl_gate_leave(&knocks, relay->knock);
	free(relay);
	close(fd);
	return rc;
}

/* ---- the node that looks -------------------------------------------------------------------- */

static int ask(struct cl_tls *tls, const char *vm, char *error, size_t cap_bytes)
{
	uint8_t buf[2 + ERROR_MAX];
	struct cl_writer w;
	struct cl_reader r;
	int rc;

	cl_writer_init(&w, buf, sizeof(buf));
	cl_write_u8(&w, CONSOLE_VERSION);
	cl_write_str(&w, vm);
	rc = message_send(tls, buf, (size_t)cl_writer_done(&w));
	if (rc == 0)
		rc = message_receive(tls, buf, sizeof(buf));
	if (rc < 0)
		return rc;
	cl_reader_init(&r, buf, (size_t)rc);
	cl_read_str(&r, error, cap_bytes);
	if (cl_reader_done(&r) < 0)
		return -EBADMSG;
	return error[0] ? -ENOTCONN : 0;
}

static void *carry(void *arg)
{
	relay_run(arg);
	free(arg);
	return NULL;
}

static int session_open(struct relay *relay, const char *address, const char *node,
			const char *vm, char *error, size_t cap_bytes)
{
	int fd, rc = creds_load(&relay->creds, error, cap_bytes);

	if (rc < 0)
		return rc;
	fd = cl_tcp_connect(address, CD_CONSOLE_PORT, CD_CONSOLE_TIMEOUT_MS);
	if (fd < 0)
		return fd;
	rc = cl_tls_connect(relay->creds, fd, CD_CONSOLE_TIMEOUT_MS, &relay->tls);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	if (strcmp(cl_tls_peer_name(relay->tls), node) != 0)
		return -EKEYREJECTED;
	cl_tls_timeout_set(relay->tls, CD_CONSOLE_TIMEOUT_MS);
	return ask(relay->tls, vm, error, cap_bytes);
}

int cd_console_remote(const char *address, const char *node, const char *vm, char *error,
		      size_t cap_bytes)
{
	struct relay *relay = calloc(1, sizeof(*relay));
	int pair[2] = { -1, -1 }, rc;

	if (!relay)
		return -ENOMEM;
	error[0] = '\0';
	rc = session_open(relay, address, node, vm, error, cap_bytes);
	if (rc == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		rc = -errno;
	relay->fd = pair[1];
	if (rc == 0)
		rc = thread_detached(carry, relay);
	if (rc == 0)
		return pair[0];
	if (!error[0])
		snprintf(error, cap_bytes, "node %s, %s port %u: %s", node, address,
			 CD_CONSOLE_PORT, strerror(-rc));
	cl_tls_free(relay->tls);
	cl_tls_creds_free(relay->creds);
	free(relay);
	for (unsigned i = 0; i < 2; i++)
		if (pair[i] >= 0)
			close(pair[i]);
	return rc;
}
