/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The client side of a volume: finds the owner, keeps a connection, sends operations, answers
 * recalls.  The owner on this node is called directly, by the same entry and under the same rules.
 *
 * An operation waits while there is no owner and is sent again when its reply was lost; slot and number make the owner
 * do it once.  Nothing is failed because an owner died.
 */
#include "csv/vol.h"

#include "common/cl_cleanup.h"
#include "common/cl_log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_MS   5000
#define HANDSHAKE_MS 20000
#define RETRY_MS     200
#define GRACE_NAP_US 20000
#define LINK_SLOT    0u

static __thread bool (*interrupt_fn)(void *arg);
static __thread void *interrupt_arg;

void csv_call_interrupt_set(bool (*fn)(void *arg), void *arg)
{
	interrupt_fn = fn;
	interrupt_arg = arg;
}

static void until_ms(struct timespec *t, int ms)
{
	clock_gettime(CLOCK_MONOTONIC, t);
	t->tv_sec += ms / 1000;
	t->tv_nsec += ms % 1000 * 1000000l;
	if (t->tv_nsec >= 1000000000l) {
		t->tv_sec++;
		t->tv_nsec -= 1000000000l;
	}
}

/* Under vol->lock: what hangs on the former connection wakes up. */
static void link_cut(struct csv_vol *v)
{
	v->link++;
	for (unsigned i = 0; i < CSV_RPC_SLOTS; i++)
		if (v->slots[i].tls)
			cl_tls_shutdown(v->slots[i].tls);
	if (v->recall_tls)
		cl_tls_shutdown(v->recall_tls);
}

/* Under vol->lock. True: changed, tell clusterd after unlocking. */
static bool input_locked(struct csv_vol *v, enum csv_input in, uint64_t n, uint64_t term,
			 const char *text)
{
	bool was = v->state.connected, changed;

	changed = csv_state_input(&v->state, in, n, term, text, csvd_now_ms());
	if (was && !v->state.connected)
		link_cut(v);
	pthread_cond_broadcast(&v->cond);
	return changed;
}

static void tell(struct csv_vol *v)
{
	struct csv_volume_state s;

	pthread_mutex_lock(&v->lock);
	s = v->state;
	pthread_mutex_unlock(&v->lock);
	cl_notice("volume %s: %s: %s (owner %u, term %llu)", v->name, csv_state_name(s.state),
		  s.reason, s.owner, (unsigned long long)s.term);
	if (v->d->ctl)
		cl_ctl_event(v->d->ctl, json_pack("{s:s,s:s,s:s,s:s}", "event", "volume-state",
						  "volume", v->name, "state",
						  csv_state_name(s.state), "reason", s.reason));
}

void csv_vol_input(struct csv_vol *v, enum csv_input in, uint64_t n, uint64_t term,
		   const char *text)
{
	bool changed;

	pthread_mutex_lock(&v->lock);
	changed = input_locked(v, in, n, term, text);
	pthread_mutex_unlock(&v->lock);
	if (changed)
		tell(v);
}

void csv_vol_owner_set(struct csv_vol *v, uint32_t owner, uint64_t term, const char *address)
{
	bool changed;

	pthread_mutex_lock(&v->lock);
	changed = input_locked(v, CSV_IN_OWNER, owner, term, NULL);
	if (v->state.owner == owner && v->state.term == term)
		snprintf(v->owner_address, sizeof(v->owner_address), "%s", address);
	pthread_mutex_unlock(&v->lock);
	if (changed)
		tell(v);
}

static void link_fail(struct csv_vol *v, uint64_t link, const char *why)
{
	bool changed = false;

	pthread_mutex_lock(&v->lock);
	if (v->link == link && v->state.connected)
		changed = input_locked(v, CSV_IN_DISCONNECTED, 0, 0, why);
	pthread_mutex_unlock(&v->lock);
	if (changed)
		tell(v);
}

/* ---- connections ---- */

struct target {
	uint32_t owner;
	uint64_t term;
	uint64_t link;
	char address[CSVD_ADDRESS];
	char name[CL_NAME_MAX];
};

static void target_get(struct csv_vol *v, struct target *t)
{
	t->owner = v->state.owner;
	t->term = v->state.term;
	t->link = v->link;
	memcpy(t->address, v->owner_address, sizeof(t->address));
}

static int remote_connect(struct csv_vol *v, const struct target *t, uint32_t flags,
			  struct cl_tls **ret_tls, const char **ret_why)
{
	struct csv_rpc_hdr h = {.kind = CSV_RPC_REQUEST, .op = CSV_OP_HELLO, .key = v->prkey,
				.term = t->term};
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(1, sizeof(*m));
	struct cl_tls *tls = NULL;
	char name[CL_NAME_MAX];
	int fd, rc;

	*ret_why = "the owner cannot be reached";
	pthread_mutex_lock(&v->d->lock);
	memcpy(name, v->d->members[t->owner - 1].name, sizeof(name));
	m->node = v->d->node;
	pthread_mutex_unlock(&v->d->lock);
	fd = cl_tcp_connect(t->address, CSV_RPC_PORT, CONNECT_MS);
	if (fd < 0)
		return fd;
	csv_rpc_keepalive(fd);
	rc = cl_tls_connect(v->d->creds, fd, HANDSHAKE_MS, &tls);
	if (rc) {
		close(fd);
		*ret_why = cl_tls_refusal();
		return rc;
	}
	if (!cl_tls_peer_name(tls) || strcmp(cl_tls_peer_name(tls), name)) {
		*ret_why = "another node answers at the owner's address";
		rc = -EACCES;
		goto fail;
	}
	snprintf(m->text, sizeof(m->text), "%s", v->name);
	m->flags = flags;
	m->generation = v->d->instance;
	/* Nobody could cut this connection off yet: it has a bound of its own. */
	cl_tls_timeout_set(tls, HANDSHAKE_MS);
	rc = csv_rpc_send(tls, &h, m);
	if (!rc)
		rc = csv_rpc_recv(tls, &h, m);
	if (!rc && (h.kind != CSV_RPC_REPLY || h.op != CSV_OP_HELLO))
		rc = -EPROTO;
	if (!rc && h.status) {
		*ret_why = h.status == -EACCES ? "the owner refuses this node"
					       : "the owner does not own it yet";
		rc = -EAGAIN;
	}
	if (rc)
		goto fail;
	cl_tls_timeout_set(tls, 0);
	*ret_tls = tls;
	return 0;
fail:
	cl_tls_free(tls);
	return rc;
}

/* Transport errors are -errno; the answer of the owner is *ret_status. */
static int slot_call_remote(struct csv_vol *v, struct csv_slot *s, const struct target *t,
			    struct csv_rpc_hdr *h, const struct csv_rpc_msg *m,
			    struct csv_rpc_msg *r, int32_t *ret_status)
{
	struct cl_tls *old = NULL, *tls;
	uint64_t seq = h->seq;
	enum csv_rpc_op op = h->op;
	const char *why;
	int rc;

	if (!s->tls || s->link != t->link) {
		pthread_mutex_lock(&v->lock);
		old = s->tls;
		s->tls = NULL;
		pthread_mutex_unlock(&v->lock);
		cl_tls_free(old);
		rc = remote_connect(v, t, 0, &tls, &why);
		if (rc)
			return rc;
		pthread_mutex_lock(&v->lock);
		s->tls = tls;
		s->link = t->link;
		if (v->link != t->link)
			cl_tls_shutdown(tls);
		pthread_mutex_unlock(&v->lock);
	}
	rc = csv_rpc_send(s->tls, h, m);
	if (!rc)
		rc = csv_rpc_recv(s->tls, h, r);
	if (!rc && (h->kind != CSV_RPC_REPLY || h->op != op || h->seq != seq))
		rc = -EPROTO;
	*ret_status = h->status;
	return rc;
}

static int slot_call(struct csv_vol *v, unsigned slot, const struct target *t, enum csv_rpc_op op,
		     uint32_t flags, const struct csv_rpc_msg *m, struct csv_rpc_msg *r,
		     int32_t *ret_status)
{
	struct csv_slot *s = &v->slots[slot];
	struct csv_rpc_hdr h = {.kind = CSV_RPC_REQUEST,
				.op = op,
				.term = t->term,
				.key = v->prkey,
				.slot = slot,
				.flags = flags,
				.seq = s->seq};
	struct csv_peer self = {v->d->node, v->d->instance};

	if (t->owner != v->d->node)
		return slot_call_remote(v, s, t, &h, m, r, ret_status);
	*ret_status = CSV_STATUS_MOVED;
	pthread_rwlock_rdlock(&v->owner_lock);
	if (v->owner)
		*ret_status = csv_owner_serve(v->owner, &self, &h, m, r, csv_thread_buf(2));
	pthread_rwlock_unlock(&v->owner_lock);
	return 0;
}

/* ---- operations ---- */

/* One that is connected rather than one that needs a handshake first. */
static int slot_take(struct csv_vol *v)
{
	unsigned best = 0;

	pthread_mutex_lock(&v->lock);
	for (;;) {
		for (unsigned i = 1; i < CSV_RPC_SLOTS; i++) {
			bool connected = v->slots[i].tls && v->slots[i].link == v->link;

			if (!v->slots[i].busy && (!best || connected))
				best = i;
			if (best == i && connected)
				break;
		}
		if (best)
			break;
		pthread_cond_wait(&v->cond, &v->lock);
	}
	v->slots[best].busy = true;
	v->slots[best].seq++;
	pthread_mutex_unlock(&v->lock);
	return (int)best;
}

static void slot_put(struct csv_vol *v, int slot)
{
	pthread_mutex_lock(&v->lock);
	v->slots[slot].busy = false;
	pthread_cond_broadcast(&v->cond);
	pthread_mutex_unlock(&v->lock);
}

/* Waits until the owner can be asked. 0 with the target, or an error. */
static int active_wait(struct csv_vol *v, uint64_t deadline_ms, struct target *t)
{
	int rc = 0;

	pthread_mutex_lock(&v->lock);
	while (!csv_state_active(&v->state)) {
		struct timespec nap;

		if (v->state.down)
			rc = -EIO;
		else if (v->stopping)
			rc = -ENODEV;
		else if (deadline_ms && csvd_now_ms() >= deadline_ms)
			rc = -EAGAIN;
		else if (interrupt_fn && interrupt_fn(interrupt_arg))
			rc = -EINTR;
		if (rc)
			break;
		until_ms(&nap, 200);
		pthread_cond_timedwait(&v->cond, &v->lock, &nap);
	}
	target_get(v, t);
	pthread_mutex_unlock(&v->lock);
	return rc;
}

int csv_call_timeout(struct csv_vol *v, enum csv_rpc_op op, const struct csv_rpc_msg *msg,
		     struct csv_rpc_msg *ret_reply, int timeout_ms)
{
	uint64_t deadline = timeout_ms > 0 ? csvd_now_ms() + (uint64_t)timeout_ms : 0;
	uint64_t first_term = 0;
	int slot = slot_take(v);
	int32_t status;
	struct target t;
	int rc;

	for (;;) {
		rc = active_wait(v, deadline, &t);
		if (rc)
			break;
		/* The same owner knows what it did by slot and number; a new one has to infer it. */
		rc = slot_call(v, (unsigned)slot, &t, op,
			       first_term && first_term != t.term ? CSV_HDR_RETRY : 0, msg,
			       ret_reply, &status);
		if (!first_term)
			first_term = t.term;
		if (rc == -EMSGSIZE || rc == -EINVAL)
			break; /* never left this node */
		if (rc) {
			link_fail(v, t.link, "the connection to the owner was lost");
			continue;
		}
		if (status == CSV_STATUS_MOVED) {
			link_fail(v, t.link, "the volume is moving to another owner");
			continue;
		}
		if (status == CSV_STATUS_GRACE) {
			usleep(GRACE_NAP_US);
			continue;
		}
		rc = status;
		break;
	}
	slot_put(v, slot);
	return rc;
}

int csv_call(struct csv_vol *v, enum csv_rpc_op op, const struct csv_rpc_msg *msg,
	     struct csv_rpc_msg *ret_reply)
{
	return csv_call_timeout(v, op, msg, ret_reply, 0);
}

/* ---- the link ---- */

/* The link thread's own call, before the volume is active. */
static int link_call(struct csv_vol *v, enum csv_rpc_op op, const struct csv_rpc_msg *m,
		     struct csv_rpc_msg *r)
{
	struct target t;
	int32_t status;
	int rc;

	pthread_mutex_lock(&v->lock);
	target_get(v, &t);
	rc = v->state.connected ? 0 : -ENOTCONN;
	v->slots[LINK_SLOT].seq++;
	pthread_mutex_unlock(&v->lock);
	if (!rc)
		rc = slot_call(v, LINK_SLOT, &t, op, 0, m, r, &status);
	if (rc)
		return -ENOTCONN;
	return status > 0 ? -ENOTCONN : status;
}

/* 0 and the reply's flags; -errno: something of it may still be written, and the owner gets no answer. */
static int recall_handle(struct csv_vol *v, struct csv_fh fh, uint64_t seq, uint32_t *ret_flags)
{
	bool wrote = csv_node_recall(v, fh, seq);
	int rc = csv_disks_recall(v, fh, seq);

	*ret_flags = wrote || rc > 0 ? CSV_IO_WROTE : 0;
	return rc < 0 ? rc : 0;
}

/* A recall is sent once a connection: after the next reclaim the owner sends it again. */
static void recall_unanswered(struct csv_vol *v)
{
	uint64_t link;

	pthread_mutex_lock(&v->lock);
	link = v->link;
	pthread_mutex_unlock(&v->lock);
	link_fail(v, link, "a device could not be suspended for the owner");
}

struct local_recall {
	struct csv_vol *v;
	struct csv_fh fh;
	uint64_t seq;
};

static void *local_recall_thread(void *arg)
{
	struct local_recall *l = arg;
	uint32_t flags;

	if (recall_handle(l->v, l->fh, l->seq, &flags) < 0) {
		recall_unanswered(l->v);
		free(l);
		return NULL;
	}
	pthread_rwlock_rdlock(&l->v->owner_lock);
	if (l->v->owner)
		csv_owner_returned(l->v->owner, l->v->d->node, l->fh, l->seq, flags);
	pthread_rwlock_unlock(&l->v->owner_lock);
	free(l);
	return NULL;
}

static int local_recall(void *arg, struct csv_fh fh, uint64_t seq, uint32_t flags)
{
	struct local_recall *l = malloc(sizeof(*l));
	pthread_t t;

	if (l) {
		*l = (struct local_recall){arg, fh, seq};
		if (!pthread_create(&t, NULL, local_recall_thread, l)) {
			pthread_detach(t);
			return 0;
		}
		free(l);
	}
	/* Sent once a connection, like any other: it comes again with the next one. */
	recall_unanswered(arg);
	return -ENOMEM;
}

static int link_connect(struct csv_vol *v, const struct target *t, const char **ret_why)
{
	struct csv_recall_sink sink = {local_recall, v};
	int32_t status = CSV_STATUS_MOVED;
	struct cl_tls *tls, *old;
	bool active;
	int rc;

	if (t->owner == v->d->node) {
		*ret_why = "this node does not own it yet";
		pthread_rwlock_rdlock(&v->owner_lock);
		if (v->owner)
			status = csv_owner_hello(v->owner, v->d->node, v->d->instance, v->prkey,
						 t->term, &sink, &active);
		pthread_rwlock_unlock(&v->owner_lock);
		return status ? -EAGAIN : 0;
	}
	rc = remote_connect(v, t, CSV_HELLO_RECALL, &tls, ret_why);
	if (rc)
		return rc;
	pthread_mutex_lock(&v->lock);
	old = v->recall_tls;
	v->recall_tls = tls;
	pthread_mutex_unlock(&v->lock);
	cl_tls_free(old);
	return 0;
}

static int link_reclaim(struct csv_vol *v)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(1, sizeof(*m));
	CL_CLEANUP_FREE struct csv_rpc_msg *r = calloc(1, sizeof(*r));
	int rc;

	if (!m || !r)
		return -ENOMEM;
	csv_nodes_layouts_drop(v, true);
	rc = csv_disks_reclaim(v, link_call);
	if (!rc)
		rc = csv_nodes_reclaim(v, link_call);
	if (!rc)
		rc = link_call(v, CSV_OP_RECLAIM_DONE, m, r);
	while (!rc && !r->flags) {
		usleep(GRACE_NAP_US);
		rc = link_call(v, CSV_OP_PING, m, r);
	}
	return rc;
}

static void recalls_serve(struct csv_vol *v)
{
	CL_CLEANUP_FREE struct csv_rpc_msg *m = calloc(1, sizeof(*m));
	struct csv_rpc_hdr h;

	while (m && !csv_rpc_recv(v->recall_tls, &h, m)) {
		if (h.kind != CSV_RPC_REQUEST || h.op != CSV_OP_RECALL)
			return;
		if (recall_handle(v, m->fh, m->seq, &m->flags) < 0)
			return; /* the connection ends, and with the next one the owner asks again */
		h.kind = CSV_RPC_REPLY;
		if (csv_rpc_send(v->recall_tls, &h, m))
			return;
	}
}

/* Recalls of a grace that waits for others come before the reclaim is answered: none are sent then. */
static void link_up(struct csv_vol *v, const struct target *t)
{
	uint64_t link;
	int rc;

	pthread_mutex_lock(&v->lock);
	if (v->state.owner != t->owner || v->state.term != t->term) {
		pthread_mutex_unlock(&v->lock);
		return;
	}
	link = ++v->link;
	(void)input_locked(v, CSV_IN_CONNECTED, 0, 0, NULL);
	pthread_mutex_unlock(&v->lock);
	tell(v);
	rc = link_reclaim(v);
	if (rc) {
		link_fail(v, link, "the owner did not take what is open here");
		return;
	}
	pthread_mutex_lock(&v->lock);
	if (v->link == link)
		(void)input_locked(v, CSV_IN_RECLAIMED, 0, 0, NULL);
	pthread_mutex_unlock(&v->lock);
	tell(v);
	if (t->owner != v->d->node) {
		recalls_serve(v);
		link_fail(v, link, "the connection to the owner was lost");
		return;
	}
	pthread_mutex_lock(&v->lock);
	while (v->link == link && !v->stopping)
		pthread_cond_wait(&v->cond, &v->lock);
	pthread_mutex_unlock(&v->lock);
}

static void *link_main(void *arg)
{
	struct csv_vol *v = arg;

	for (;;) {
		const char *why;
		struct target t;
		int rc;

		pthread_mutex_lock(&v->lock);
		while (!v->stopping && (!v->state.owner || v->state.down || v->state.connected))
			pthread_cond_wait(&v->cond, &v->lock);
		target_get(v, &t);
		pthread_mutex_unlock(&v->lock);
		if (v->stopping)
			return NULL;
		rc = link_connect(v, &t, &why);
		if (!rc) {
			link_up(v, &t);
			continue;
		}
		pthread_mutex_lock(&v->lock);
		if (v->state.owner == t.owner && v->state.term == t.term) {
			struct timespec nap;
			bool changed = input_locked(v, CSV_IN_DISCONNECTED, 0, 0, why);

			pthread_mutex_unlock(&v->lock);
			if (changed)
				tell(v);
			pthread_mutex_lock(&v->lock);
			until_ms(&nap, RETRY_MS);
			if (!v->stopping && v->state.term == t.term)
				pthread_cond_timedwait(&v->cond, &v->lock, &nap);
		}
		pthread_mutex_unlock(&v->lock);
	}
}

int csv_link_start(struct csv_vol *v)
{
	return -pthread_create(&v->link_thread, NULL, link_main, v);
}

void csv_link_stop(struct csv_vol *v)
{
	pthread_mutex_lock(&v->lock);
	v->stopping = true;
	link_cut(v);
	pthread_cond_broadcast(&v->cond);
	pthread_mutex_unlock(&v->lock);
	pthread_join(v->link_thread, NULL);
	cl_tls_free(v->recall_tls);
	v->recall_tls = NULL;
	for (unsigned i = 0; i < CSV_RPC_SLOTS; i++) {
		cl_tls_free(v->slots[i].tls);
		v->slots[i].tls = NULL;
	}
}
