/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vmm-tunnel: carries one migration between a vmm and the other node.
 *
 *   vmm -- Unix stream -- vmm-tunnel ==== TLS 1.3, this node's certificate ==== vmm-tunnel -- vmm
 *
 * It has what a vmm must not have, for a guest may be the vmm's master: the node's key and a way to
 * the network.  It looks at nothing that it carries.  It opens the credentials as root, then
 * becomes a user of its own and opens nothing more.
 *
 * It ends when either side does; what the vmm wrote before its end is carried first.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "common/cl_tls.h"
#include "common/cl_types.h"
#include "config.h"
#include "vmm/migration/accept.h"
#include "vmm/sandbox.h"

#define EXIT_USAGE   2
#define CHUNK_BYTES  (256u << 10)
#define CONNECT_MS   10000
#define HANDSHAKE_MS 30000
#define DRAIN_MS     5000

struct options {
	const char *tls_dir, *peer, *address;
	unsigned port;
	uid_t uid;
	int stream_fd, report_fd, listen_fd; /* -1: not given */
};

struct tunnel {
	struct cl_tls *tls;
	int stream_fd;
	int over_fd; /* eventfd: one direction has ended */
};

static int usage(FILE *to, int status)
{
	(void)fprintf(to, "usage: vmm-tunnel --tls DIR --peer NODE --uid UID --stream FD"
			  " {--listen FD | --connect ADDRESS:PORT [--report FD]}\n");
	return status;
}

/* ---- options -------------------------------------------------------------------------------- */

static int number(const char *text, unsigned long max, unsigned long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(text, &end, 10);
	return errno || end == text || *end || *ret > max ? -EINVAL : 0;
}

static int fd_parse(const char *text, int *ret_fd)
{
	unsigned long n;

	if (number(text, 1024, &n) < 0)
		return -EINVAL;
	*ret_fd = (int)n;
	return 0;
}

/* "ADDRESS:PORT" or "[ADDRESS]:PORT", split in place. */
static int address_parse(char *text, struct options *o)
{
	char *colon = strrchr(text, ':');
	unsigned long port;

	if (!colon || colon == text || number(colon + 1, 65535, &port) < 0 || !port)
		return -EINVAL;
	*colon = '\0';
	if (text[0] == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		text++;
	}
	o->address = text;
	o->port = (unsigned)port;
	return 0;
}

static int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "tls", required_argument, NULL, 't' },
					       { "peer", required_argument, NULL, 'p' },
					       { "uid", required_argument, NULL, 'u' },
					       { "stream", required_argument, NULL, 's' },
					       { "report", required_argument, NULL, 'r' },
					       { "listen", required_argument, NULL, 'l' },
					       { "connect", required_argument, NULL, 'c' },
					       { "help", no_argument, NULL, 'h' },
					       { "version", no_argument, NULL, 'V' },
					       { 0 } };
	unsigned long uid = 0;
	int c, r = 0;

	while (r == 0 && (c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 't':
			o->tls_dir = optarg;
			break;
		case 'p':
			o->peer = optarg;
			break;
		case 'u':
			r = number(optarg, UINT32_MAX - 1, &uid);
			break;
		case 's':
			r = fd_parse(optarg, &o->stream_fd);
			break;
		case 'r':
			r = fd_parse(optarg, &o->report_fd);
			break;
		case 'l':
			r = fd_parse(optarg, &o->listen_fd);
			break;
		case 'c':
			r = address_parse(optarg, o);
			break;
		case 'h':
			exit(usage(stdout, EXIT_SUCCESS));
		case 'V':
			(void)printf("vmm-tunnel (holdfast) " PACKAGE_VERSION "\n");
			exit(EXIT_SUCCESS);
		default:
			return -EINVAL;
		}
	}
	o->uid = (uid_t)uid;
	if (r < 0 || optind != argc || !o->tls_dir || !o->peer || !cl_name_valid(o->peer) || !uid ||
	    o->stream_fd < 0 || (o->listen_fd >= 0) == (o->address != NULL))
		return -EINVAL;
	return 0;
}

/* ---- the connection ------------------------------------------------------------------------- */

/* One line to who started us: empty when the peer is there, else why it is not. */
static void report(const struct options *o, const char *text)
{
	if (text[0])
		cl_error("%s", text);
	if (o->report_fd >= 0)
		(void)dprintf(o->report_fd, "%s\n", text);
	if (o->report_fd >= 0)
		close(o->report_fd);
}

static struct cl_tls *connect_peer(const struct options *o, struct cl_tls_creds *creds)
{
	struct cl_tls *tls = NULL;
	char text[256], *error = NULL;
	int fd = cl_tcp_connect(o->address, o->port, CONNECT_MS), r;

	if (fd < 0) {
		snprintf(text, sizeof(text), "cannot connect to %s port %u: %s", o->address,
			 o->port, strerror(-fd));
		report(o, text);
		return NULL;
	}
	/* Not a byte of the other side before that. */
	if (vmm_sandbox_filter(VMM_THREAD_TUNNEL, &error) < 0) {
		close(fd);
		report(o, error ? error : "out of memory");
		free(error);
		return NULL;
	}
	r = cl_tls_connect(creds, fd, HANDSHAKE_MS, &tls);
	if (r) {
		close(fd);
		snprintf(text, sizeof(text), "TLS with %s port %u: %s", o->address, o->port,
			 r == -EKEYREJECTED ? "its certificate is not of this cluster"
			 : r == -EPROTO	    ? "the handshake failed"
					    : strerror(-r));
		report(o, text);
		return NULL;
	}
	if (strcmp(cl_tls_peer_name(tls), o->peer) != 0) {
		snprintf(text, sizeof(text), "%s port %u is node %s, expected is node %s",
			 o->address, o->port, cl_tls_peer_name(tls), o->peer);
		report(o, text);
		cl_tls_free(tls);
		return NULL;
	}
	report(o, "");
	return tls;
}

static void on_refused(void *arg, const char *text)
{
	cl_warning("a migration is awaited: %s", text);
}

static struct cl_tls *accept_peer(const struct options *o, struct cl_tls_creds *creds)
{
	const struct vmm_door door = { .creds = creds,
				       .listen_fd = o->listen_fd,
				       .stop_fd = o->stream_fd,
				       .peer = o->peer,
				       .timeout_ms = HANDSHAKE_MS,
				       .refused = on_refused };
	struct cl_tls *tls;
	char *error = NULL;

	if (vmm_sandbox_filter(VMM_THREAD_TUNNEL, &error) < 0) {
		report(o, error ? error : "out of memory");
		free(error);
		return NULL;
	}
	tls = vmm_accept(&door);
	close(o->listen_fd);
	if (tls)
		cl_notice("a migration comes from node %s", cl_tls_peer_name(tls));
	return tls;
}

/* No delay; and a peer whose node lost power is missed after half a minute, where nothing is being
 * sent. */
static void tune(int fd)
{
	int one = 1, idle_s = 10, every_s = 5, times = 4;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
}

/* ---- carrying ------------------------------------------------------------------------------- */

static void over(const struct tunnel *t)
{
	uint64_t one = 1;

	(void)!write(t->over_fd, &one, sizeof(one));
}

/* From the vmm; its end is the tunnel's, once all is on its way. */
static void *up_main(void *arg)
{
	const struct tunnel *t = arg;
	char *buf = malloc(CHUNK_BYTES);

	for (;;) {
		ssize_t n = buf ? read(t->stream_fd, buf, CHUNK_BYTES) : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || cl_tls_write(t->tls, buf, (size_t)n) < 0)
			break;
	}
	free(buf);
	cl_tls_shutdown(t->tls);
	over(t);
	return NULL;
}

static bool all_sent(int fd, const char *p, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t n = send(fd, p, len_bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len_bytes -= (size_t)n;
	}
	return true;
}

/* From the other node; what it sent before its end stays in the vmm's socket to be read. */
static void *down_main(void *arg)
{
	const struct tunnel *t = arg;
	char *buf = malloc(CHUNK_BYTES);

	for (;;) {
		ssize_t n = buf ? cl_tls_read_some(t->tls, buf, CHUNK_BYTES) : -EPIPE;

		if (n <= 0 || !all_sent(t->stream_fd, buf, (size_t)n))
			break;
	}
	free(buf);
	(void)shutdown(t->stream_fd, SHUT_RDWR);
	over(t);
	return NULL;
}

static void carry(struct tunnel *t)
{
	/* Both ends of a stream that is closed say so, whatever is still to be read. */
	struct pollfd p[2] = { { .fd = t->stream_fd }, { .fd = t->over_fd, .events = POLLIN } };
	pthread_t up, down;
	uint64_t n, ended = 0;

	if (pthread_create(&up, NULL, up_main, t) || pthread_create(&down, NULL, down_main, t)) {
		cl_error("no thread: %s", strerror(EAGAIN));
		return;
	}
	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	/* One side is gone.  The other has a while: a network that takes nothing holds nobody up.
	 */
	while (ended < 2 && poll(&p[1], 1, DRAIN_MS) > 0)
		if (read(t->over_fd, &n, sizeof(n)) == sizeof(n))
			ended += n;
}

int main(int argc, char **argv)
{
	struct options o = { .stream_fd = -1, .report_fd = -1, .listen_fd = -1 };
	struct tunnel t = { 0 };
	struct cl_tls_creds *creds;
	char *error = NULL;

	cl_log_init("vmm-tunnel", CL_LOG_INFO);
	(void)signal(SIGPIPE, SIG_IGN);
	if (options_parse(argc, argv, &o) < 0)
		return usage(stderr, EXIT_USAGE);
	if (cl_tls_creds_load(o.tls_dir, CL_TLS_ROLE_NODE, &creds, &error) < 0 ||
	    vmm_sandbox_namespaces(NULL, true, &error) < 0 ||
	    vmm_sandbox_user(o.uid, (gid_t)o.uid, &error) < 0) {
		report(&o, error ? error : "out of memory");
		return EXIT_FAILURE;
	}
	/* Nodes of a release from before roles take part in migrations, too. */
	cl_tls_creds_roleless_set(creds, true);
	t.stream_fd = o.stream_fd;
	t.over_fd = eventfd(0, EFD_CLOEXEC);
	t.tls = o.address ? connect_peer(&o, creds) : accept_peer(&o, creds);
	if (!t.tls || t.over_fd < 0)
		return EXIT_FAILURE;
	tune(cl_tls_fd(t.tls));
	carry(&t);
	return EXIT_SUCCESS;
}
