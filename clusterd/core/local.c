/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a node does about its own VMs without asking anybody (core/timing.h has the deadlines).
 *
 *   lease   each vmm runs only up to a moment that stands in a page that clusterd writes; past it
 *           the vmm freezes itself.  It is put off with every proof (beat.c) while the log does not say that
 *           this incarnation was given up.  It needs no clusterd to end, and ends before anybody else
 *           may start the VMs.
 *   FREEZE  a majority was there and may now be without this node, or a registration is gone: the
 *           lease ends now
 *   KILL    no majority until the deadline, or the cluster has given this incarnation up
 *   THAW    a member in good standing: the lease goes on
 *
 * While the cluster is disarmed, being cut off ends nothing: the lease is put off with every look that finds
 * the own keys on the LUNs (keys_proof_ms()).
 *
 * A clusterd that has just started neither freezes nor kills for want of a majority: the lease of the
 * one before it stands, and ends by itself.  It kills when it learns that the incarnation was given up.
 */
#include <string.h>

#include "clusterd/core/internal.h"
#include "clusterd/core/mutant.h"
#include "clusterd/core/replica_int.h"

static void tell(struct replica *r, enum replica_local_kind kind, const char *why)
{
	struct replica_local local = { .kind = kind, .volume = CORE_NONE, .why = why };

	replica_emit_local(r, &local);
}

static void lease_set(struct replica *r, uint64_t until_ms, uint64_t proof_ms, const char *why)
{
	struct replica_local local = { .kind = REPLICA_LEASE,
				       .volume = CORE_NONE,
				       .until_ms = until_ms,
				       .proof_ms = proof_ms,
				       .why = why };

	r->lease_ms = until_ms;
	replica_emit_local(r, &local);
}

void replica_freeze(struct replica *r, const char *why)
{
	if (r->frozen)
		return;
	r->frozen = true;
	replica_hello_anew(r);
	lease_set(r, 0, 0, why);
	tell(r, REPLICA_FREEZE, why);
}

static void kill_all(struct replica *r, const char *why)
{
	if (r->killed)
		return;
	r->killed = true;
	replica_hello_anew(r);
	if (CORE_MUTANT(15))
		return; /* planted: the isolated node's VMs live on */
	tell(r, REPLICA_KILL, why);
}

/*
 * Disarmed, nothing is taken over without a fence, and a fence takes our keys: what was not fenced when
 * a look at all of our LUNs began may run for one lease from there.  0: no such proof.
 */
static uint64_t keys_proof_ms(const struct replica *r)
{
	uint64_t proof_ms = 0;
	uint16_t i;

	for (i = 0; i < r->st.volume_count; i++) {
		const struct core_volume *v = &r->st.volumes[i];

		if (v->state == CORE_VOLUME_UNUSED || !(v->registered & CORE_NODE_BIT(r->self)))
			continue;
		if (!r->key_seen_ms[i])
			return 0;
		if (!proof_ms || r->key_seen_ms[i] < proof_ms)
			proof_ms = r->key_seen_ms[i];
	}
	return proof_ms;
}

static void lease_renew(struct replica *r, const struct core_node *n, uint64_t proof_ms,
			const char *why)
{
	uint32_t takeover_ms = r->st.timing.takeover_ms;
	uint64_t until_ms;

	if (r->frozen || !proof_ms || n->state == CORE_NODE_UNUSED || n->doomed || n->over ||
	    !n->incarnation || memcmp(n->boot_id, r->boot_id, sizeof(n->boot_id)) != 0)
		return;
	until_ms = proof_ms + CORE_LEASE_MS(&r->st.timing);
	if (CORE_MUTANT(22))
		until_ms = r->now_ms + CORE_LEASE_MS(&r->st.timing); /* planted: from when it is given */
	/* A shorter takeover_ms shortens what was given, before the others hear that we go by it. */
	if (until_ms <= r->lease_ms && r->lease_takeover_ms == takeover_ms)
		return;
	r->lease_takeover_ms = takeover_ms;
	lease_set(r, until_ms, proof_ms, why);
}

/*
 * Without quorum others may decide without us.  With it they may only if clusterds that corosync has
 * beside us, but that are not in our group, make a majority: when one clusterd of two is killed nobody
 * can decide anything, so nothing is taken over and nothing has to stop.
 */
bool replica_is_cut(const struct replica *r)
{
	return !r->quorate || log_has_majority(&r->log, (core_nodes)(r->alive & ~r->members));
}

void replica_local_rules(struct replica *r)
{
	const struct core_node *n = &r->st.nodes[r->self];
	uint32_t kill_ms = r->st.timing.freeze_kill_ms ? r->st.timing.freeze_kill_ms :
							 CORE_FREEZE_KILL_MS;

	if (r->cut) {
		if (!r->standing)
			return;
		if (r->st.disarmed && !r->frozen) {
			lease_renew(r, n, keys_proof_ms(r),
				    "cut off, but the cluster is disarmed and nobody took its keys");
			return;
		}
		replica_freeze(r, "this node is not part of a majority");
		if (r->now_ms - r->cut_since_ms >= kill_ms)
			kill_all(r, "no majority until the deadline");
		return;
	}
	if (!r->safe || !log_is_open(&r->log))
		return;
	/* Also when it is over already: its VMs may be elsewhere. */
	if (n->state != CORE_NODE_UNUSED && n->doomed && n->incarnation &&
	    memcmp(n->boot_id, r->boot_id, sizeof(n->boot_id)) == 0) {
		replica_freeze(r, "the cluster has given this incarnation up");
		kill_all(r, "the cluster has given this incarnation up");
		return;
	}
	if (!(r->st.members & CORE_NODE_BIT(r->self)))
		return;
	/* At first also: to be known as a member, and what an earlier clusterd closed is opened. */
	if (r->hello_done && core_node_ok(&r->st, r->self) && (r->frozen || !r->standing)) {
		r->frozen = r->killed = false;
		r->standing = true;
		tell(r, REPLICA_THAW, "this node is a member in good standing");
	}
	lease_renew(r, n, replica_beat_proof_ms(r), "a majority hears this node");
}
