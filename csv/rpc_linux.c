/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The RPC over TLS: messages on a connection, and the owner's server.  A thread a connection; a
 * connection does one operation at a time, so that a client opens one for each of its slots and one more for
 * recalls, which therefore never wait behind an operation (rule G3).
 *
 * Never trusts what the peer says it is: the node of a HELLO must bear the name of its certificate.
 */
#include "csv/vol.h"

#include "common/cl_log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDSHAKE_MS 10000
#define HELLO_MS     10000
#define GRACE_MS     3000u /* a silent peer's, when others wait */
#define BUFS	     3u

static __thread void *bufs[BUFS];
static pthread_key_t bufs_key;
static pthread_once_t bufs_once = PTHREAD_ONCE_INIT;

static void bufs_free(void *arg __attribute__((unused)))
{
	for (unsigned i = 0; i < BUFS; i++) {
		free(bufs[i]);
		bufs[i] = NULL;
	}
}

static void bufs_init(void)
{
	if (pthread_key_create(&bufs_key, bufs_free))
		abort();
}

void *csv_thread_buf(unsigned which)
{
	if (!bufs[which]) {
		pthread_once(&bufs_once, bufs_init);
		if (posix_memalign(&bufs[which], 4096, CSV_OWNER_BUF + CSV_RPC_HEADER_BYTES))
			abort();
		pthread_setspecific(bufs_key, bufs);
	}
	return bufs[which];
}

int csv_rpc_send(struct cl_tls *tls, struct csv_rpc_hdr *hdr, const struct csv_rpc_msg *msg)
{
	void *buf = csv_thread_buf(0);
	long n = csv_rpc_encode(hdr, msg, buf, CSV_OWNER_BUF);

	return n < 0 ? (int)n : cl_tls_write(tls, buf, (size_t)n);
}

int csv_rpc_recv(struct cl_tls *tls, struct csv_rpc_hdr *ret_hdr, struct csv_rpc_msg *ret_msg)
{
	uint8_t head[CSV_RPC_HEADER_BYTES];
	void *buf = csv_thread_buf(1);
	int rc = cl_tls_read(tls, head, sizeof(head));

	if (!rc)
		rc = csv_rpc_header_decode(head, ret_hdr);
	if (!rc && ret_hdr->body_bytes)
		rc = cl_tls_read(tls, buf, ret_hdr->body_bytes);
	return rc ? rc : csv_rpc_body_decode(ret_hdr, buf, ret_msg);
}

/* A peer that lost its power says nothing: the kernel finds out. */
void csv_rpc_keepalive(int fd)
{
	int on = 1, idle_s = 10, every_s = 5, count = 4;

	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* ---- the owner's server ---- */

struct conn {
	struct csvd *d;
	struct cl_gate *gate; /* NULL: greeted */
	int ticket;
	struct cl_tls *tls;
	struct csv_vol *vol;
	struct csv_peer peer;
	uint64_t term;
	pthread_mutex_t send_lock; /* recall connection: any thread sends */
	uint64_t last_seq;
};

/* Called with the session's send lock held. */
static int conn_recall(void *arg, struct csv_fh fh, uint64_t seq, uint32_t flags)
{
	struct conn *c = arg;
	struct csv_rpc_hdr h = {.kind = CSV_RPC_REQUEST, .op = CSV_OP_RECALL, .term = c->term};
	struct csv_rpc_msg *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return -ENOMEM;
	m->fh = fh;
	m->seq = seq;
	m->flags = flags;
	pthread_mutex_lock(&c->send_lock);
	h.seq = ++c->last_seq;
	rc = csv_rpc_send(c->tls, &h, m);
	pthread_mutex_unlock(&c->send_lock);
	free(m);
	return rc;
}

/* The peer is who it says, or goes: others may come. */
static void gate_leave(struct conn *c)
{
	if (c->gate)
		cl_gate_leave(c->gate, c->ticket);
	c->gate = NULL;
}

static int32_t hello(struct conn *c, const struct csv_rpc_hdr *h, const struct csv_rpc_msg *m,
		     bool *ret_recall, struct csv_rpc_msg *r)
{
	struct csv_recall_sink sink = {conn_recall, c};
	const char *peer = cl_tls_peer_name(c->tls);
	int32_t status = CSV_STATUS_MOVED;
	bool known, active = false;

	*ret_recall = m->flags & CSV_HELLO_RECALL;
	pthread_mutex_lock(&c->d->lock);
	known = m->node >= 1 && m->node <= CL_NODES_MAX && peer &&
		!strcmp(c->d->members[m->node - 1].name, peer);
	pthread_mutex_unlock(&c->d->lock);
	if (!known) {
		unsigned more;

		if (cl_gate_say(&c->d->rpc_others, &more))
			cl_warning("refused: a peer with the certificate of %s says that it is node %u"
				   " (%u more since the last line)",
				   peer ? peer : "?", m->node, more);
		return -EACCES;
	}
	c->vol = csvd_vol_find(c->d, m->text);
	if (!c->vol)
		return CSV_STATUS_MOVED;
	c->peer = (struct csv_peer){m->node, m->generation};
	c->term = h->term;
	pthread_rwlock_rdlock(&c->vol->owner_lock);
	if (c->vol->owner)
		status = csv_owner_hello(c->vol->owner, m->node, m->generation, h->key, h->term,
					 *ret_recall ? &sink : NULL, &active);
	pthread_rwlock_unlock(&c->vol->owner_lock);
	r->flags = active;
	return status;
}

static int reply(struct conn *c, const struct csv_rpc_hdr *req, int32_t status,
		 const struct csv_rpc_msg *r)
{
	struct csv_rpc_hdr h = *req;
	int rc;

	h.kind = CSV_RPC_REPLY;
	h.status = status;
	h.flags = 0;
	pthread_mutex_lock(&c->send_lock);
	rc = csv_rpc_send(c->tls, &h, r);
	pthread_mutex_unlock(&c->send_lock);
	return rc;
}

/* The client answers recalls here, in its own time. */
static void recall_replies(struct conn *c, struct csv_rpc_msg *m)
{
	struct csv_rpc_hdr h;

	while (!csv_rpc_recv(c->tls, &h, m)) {
		if (h.kind != CSV_RPC_REPLY || h.op != CSV_OP_RECALL || h.status)
			return;
		pthread_rwlock_rdlock(&c->vol->owner_lock);
		if (c->vol->owner)
			csv_owner_returned(c->vol->owner, c->peer.node, m->fh, m->seq, m->flags);
		pthread_rwlock_unlock(&c->vol->owner_lock);
	}
}

static void serve(struct conn *c, struct csv_rpc_msg *m, struct csv_rpc_msg *r)
{
	bool recall = false, greeted = false;
	struct csv_rpc_hdr h;

	cl_tls_timeout_set(c->tls, HELLO_MS);
	while (!csv_rpc_recv(c->tls, &h, m)) {
		int32_t status = CSV_STATUS_MOVED;

		if (h.kind != CSV_RPC_REQUEST || greeted == (h.op == CSV_OP_HELLO))
			return;
		if (!greeted) {
			status = hello(c, &h, m, &recall, r);
			greeted = true;
			if (reply(c, &h, status, r) || status)
				break;
			gate_leave(c);
			cl_tls_timeout_set(c->tls, 0);
			if (recall) {
				recall_replies(c, m);
				break;
			}
			continue;
		}
		pthread_rwlock_rdlock(&c->vol->owner_lock);
		if (c->vol->owner)
			status = csv_owner_serve(c->vol->owner, &c->peer, &h, m, r,
						 csv_thread_buf(2));
		pthread_rwlock_unlock(&c->vol->owner_lock);
		if (reply(c, &h, status, r))
			return;
	}
	if (recall && c->vol) {
		pthread_rwlock_rdlock(&c->vol->owner_lock);
		if (c->vol->owner)
			csv_owner_goodbye(c->vol->owner, c->peer.node, c);
		pthread_rwlock_unlock(&c->vol->owner_lock);
	}
}

struct accepted {
	struct csvd *d;
	int fd;
	struct cl_gate *gate;
	int ticket;
	char address[INET6_ADDRSTRLEN];
};

static void refused(struct cl_gate *gate, const char *address, const char *why)
{
	unsigned more;

	if (cl_gate_say(gate, &more))
		cl_warning("port %u: a connection from %s was refused: %s (%u more since the last line)",
			   CSV_RPC_PORT, address, why, more);
}

static void *conn_thread(void *arg)
{
	struct accepted a = *(struct accepted *)arg;
	struct csv_rpc_msg *m = calloc(1, sizeof(*m)), *r = calloc(1, sizeof(*r));
	struct conn c = {.d = a.d, .gate = a.gate, .ticket = a.ticket};
	int rc;

	free(arg);
	pthread_mutex_init(&c.send_lock, NULL);
	rc = m && r ? cl_tls_accept(a.d->creds, a.fd, HANDSHAKE_MS, &c.tls) : -ENOMEM;
	if (rc) {
		refused(a.gate, a.address, cl_tls_refusal());
		gate_leave(&c);
		close(a.fd);
	} else {
		serve(&c, m, r);
		gate_leave(&c);
		cl_tls_free(c.tls);
	}
	pthread_mutex_destroy(&c.send_lock);
	free(m);
	free(r);
	return NULL;
}

/* Texts of one address may differ: IPv6 has many for each. */
static bool same_address(const char *seen, const char *configured)
{
	uint8_t a[sizeof(struct in6_addr)], b[sizeof(struct in6_addr)];

	if (strchr(seen, ':'))
		return inet_pton(AF_INET6, seen, a) == 1 && inet_pton(AF_INET6, configured, b) == 1 &&
		       !memcmp(a, b, sizeof(struct in6_addr));
	return !strcmp(seen, configured);
}

static bool is_member(struct csvd *d, const char *address)
{
	bool yes = false;

	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < CL_NODES_MAX; i++)
		yes |= d->members[i].name[0] && same_address(address, d->members[i].address);
	pthread_mutex_unlock(&d->lock);
	return yes;
}

/* Before a thread is made. Members have places of their own: no stranger keeps a node out. */
static struct accepted *admit(struct csvd *d, int fd)
{
	struct accepted *a = calloc(1, sizeof(*a));
	uint64_t who;

	if (!a)
		return NULL;
	who = cl_gate_address(fd, a->address, sizeof(a->address));
	a->d = d;
	a->fd = fd;
	a->gate = is_member(d, a->address) ? &d->rpc_members : &d->rpc_others;
	a->ticket = cl_gate_enter(a->gate, who, fd);
	if (a->ticket >= 0)
		return a;
	refused(a->gate, a->address, "too many that have not said who they are");
	free(a);
	return NULL;
}

static void *accept_thread(void *arg)
{
	struct csvd *d = arg;

	for (;;) {
		int fd = accept4(d->rpc_fd, NULL, NULL, SOCK_CLOEXEC);
		struct accepted *a;
		pthread_t t;

		if (fd < 0) {
			if (errno != EINTR && errno != ECONNABORTED)
				usleep(100000);
			continue;
		}
		csv_rpc_keepalive(fd);
		a = admit(d, fd);
		if (!a || pthread_create(&t, NULL, conn_thread, a)) {
			if (a)
				cl_gate_leave(a->gate, a->ticket);
			free(a);
			close(fd);
			continue;
		}
		pthread_detach(t);
	}
	return NULL;
}

int csv_rpc_start(struct csvd *d, char *error)
{
	char dir[CSVD_PATH + 8];
	char *why = NULL;
	pthread_t t;
	int rc;

	snprintf(dir, sizeof(dir), "%s/tls", d->state_dir);
	if (!d->creds) {
		rc = cl_tls_creds_load(dir, CL_TLS_ROLE_CSVD, &d->creds, &why);
		if (rc) {
			snprintf(error, CSVD_TEXT, "%s", why ? why : strerror(-rc));
			free(why);
			return rc;
		}
	}
	rc = d->rpc_others.places ? 0 :
				    cl_gate_init(&d->rpc_others, CSV_HANDSHAKES, CSV_HANDSHAKES_ONE,
						 GRACE_MS);
	if (!rc && !d->rpc_members.places)
		rc = cl_gate_init(&d->rpc_members, CSV_HANDSHAKES_MEMBER * 4u,
				  CSV_HANDSHAKES_MEMBER, GRACE_MS);
	if (rc)
		return rc;
	d->rpc_fd = cl_tcp_listen(d->address, CSV_RPC_PORT);
	if (d->rpc_fd < 0) {
		snprintf(error, CSVD_TEXT, "port %u of %s: %s", CSV_RPC_PORT, d->address,
			 strerror(-d->rpc_fd));
		return d->rpc_fd;
	}
	rc = pthread_create(&t, NULL, accept_thread, d);
	if (rc)
		return -rc;
	pthread_detach(t);
	return 0;
}
