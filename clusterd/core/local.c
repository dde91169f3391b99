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

static void lease_renew(struct replica *r, const struct core_node *n)
{
	uint64_t proof_ms = replica_beat_proof_ms(r), until_ms;

	if (r->frozen || !proof_ms || n->state == CORE_NODE_UNUSED || n->doomed || n->over ||
	    !n->incarnation || memcmp(n->boot_id, r->boot_id, sizeof(n->boot_id)) != 0)
		return;
	until_ms = proof_ms + CORE_LEASE_MS(&r->st.timing);
	if (CORE_MUTANT(22))
		until_ms = r->now_ms + CORE_LEASE_MS(&r->st.timing); /* planted: from when it is given */
	if (until_ms > r->lease_ms)
		lease_set(r, until_ms, proof_ms, "a majority hears this node");
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
	lease_renew(r, n);
}
