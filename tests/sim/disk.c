/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model of a node's store: operations in order, some of them a transaction, an fsync covers a transaction.
 *
 * A crash keeps whole transactions (SQLite with a WAL and synchronous=FULL: frames with checksums, a
 * commit record), or, in the harder half of the seeds, any prefix of the operations.  A disk may also break
 * its promise: an old one is put back, or a record is missing or rotten.  The first must be noticed by the
 * others, the second by the node itself.
 */
#include "tests/sim/sim.h"

#include "clusterd/log/internal.h"

#include <string.h>

static void fsync_later(uint8_t node, unsigned more_ms)
{
	uint64_t stuck = sim.nodes[node].fsync_stuck_until;

	sim_push((stuck > sim.now ? stuck : sim.now) + 1 + sim_below(8) + more_ms, SIM_EV_FSYNC, node,
		 0, 0);
}

void sim_disk_op(uint8_t node, const struct log_out *out)
{
	struct sim_node *n = &sim.nodes[node];
	struct sim_op *op;

	if (n->op_count == CL_ARRAY_LEN(n->ops)) {
		sim_fail("node %u: 512 store operations wait", node);
		return;
	}
	op = &n->ops[(n->op_head + n->op_count++) % CL_ARRAY_LEN(n->ops)];
	memset(op, 0, sizeof(*op));
	op->op = out->op;
	op->kind = (uint8_t)out->store;
	op->epoch = out->epoch;
	op->commit = out->commit;
	op->mark = out->mark;
	op->voters = out->voters;
	op->reset = out->reset;
	if (out->store == LOG_STORE_APPEND) {
		op->len = offsetof(struct log_entry, bytes) + out->entry->len_bytes;
		op->data = memcpy(sim_alloc(op->len), out->entry, op->len);
	} else if (out->store == LOG_STORE_SNAPSHOT || out->store == LOG_STORE_PROMISE) {
		op->len = out->len_bytes;
		op->data = memcpy(sim_alloc(op->len), out->data, op->len);
	}
	if (!n->fsync_armed) {
		n->fsync_armed = true;
		n->op_fsync = n->op_count;
		fsync_later(node, sim_chance(2) ? sim_below(400) : 0);
	}
}

static void apply(struct sim_node *n, const struct sim_op *op)
{
	struct sim_store *s = &n->store;
	uint64_t seq;

	if (op->commit > s->hint)
		s->hint = op->commit;
	switch (op->kind) {
	case LOG_STORE_APPEND: {
		const struct log_entry *entry = op->data;

		if (s->last < s->first)
			s->first = s->last + 1;
		if (entry->mark.seq != s->last + 1) {
			sim_fail("store: entry %llu after %llu",
				 (unsigned long long)entry->mark.seq, (unsigned long long)s->last);
			return;
		}
		s->last = entry->mark.seq;
		s->entry[entry->mark.seq % SIM_ENTRIES] = entry;
		break;
	}
	case LOG_STORE_TRUNCATE:
		for (seq = op->mark.seq + 1; seq <= s->last; seq++)
			if (seq >= s->first &&
			    sim.commit_hash[seq] == s->entry[seq % SIM_ENTRIES]->mark.hash)
				sim_fail("I2: node %u cuts the committed entry %llu off its disk",
					 (unsigned)(n - sim.nodes), (unsigned long long)seq);
		if (s->last > op->mark.seq)
			s->last = op->mark.seq;
		break;
	case LOG_STORE_PROMISE:
		s->promise = op->epoch;
		s->vouched = op->data;
		s->vouched_len = op->len;
		break;
	case LOG_STORE_SNAPSHOT:
		s->has_snapshot = true;
		s->snap_mark = op->mark;
		s->snap_voters = op->voters;
		s->snap = op->data;
		s->snap_len = op->len;
		s->first = op->mark.seq + 1;
		if (op->reset || s->last < op->mark.seq)
			s->last = op->mark.seq;
		break;
	}
}

static void take(struct sim_node *n)
{
	apply(n, &n->ops[n->op_head]);
	n->op_head = (n->op_head + 1) % CL_ARRAY_LEN(n->ops);
	n->op_count--;
}

void sim_disk_fsync(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	uint64_t op = 0;
	uint32_t i, batch = n->op_fsync;
	bool told = true;

	if (n->durable_op) {
		op = n->durable_op;
		n->durable_op = 0;
		replica_durable(n->r, sim_now(node), op);
		sim_after(node);
		return;
	}
	if (n->fsync_stuck_until > sim.now) {
		fsync_later(node, 0);
		return;
	}
	for (i = 0; i < batch && n->op_count; i++) {
		uint8_t kind = n->ops[n->op_head].kind;

		op = n->ops[n->op_head].op;
		take(n);
		if (sim.armed[PLAN_DURABLE] && sim_hook(PLAN_DURABLE, kind, node, 0))
			told = false;
	}
	n->fsync_armed = false;
	if (n->op_count) {
		n->fsync_armed = true;
		n->op_fsync = n->op_count;
		fsync_later(node, 0);
	}
	if (op && !told) {
		n->durable_op = op; /* a step is due between the flush and the word of it */
		sim_push(sim.now + 1, SIM_EV_FSYNC, node, 0, 0);
		return;
	}
	if (op) {
		replica_durable(n->r, sim_now(node), op);
		sim_after(node);
	}
}

/* What was written and not flushed is there, or not: whole transactions or, if the plan says so, a part. */
void sim_disk_crash(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	uint32_t keep = sim.plan.store				? sim_below(n->op_count + 1) :
			n->fsync_armed && sim_chance(50) ? n->op_fsync :
								  0;

	if (keep > n->op_count)
		keep = n->op_count;

	while (keep--)
		take(n);
	n->op_head = n->op_count = n->op_fsync = 0;
	n->durable_op = 0;
	n->fsync_armed = false;
}

int sim_disk_restore(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	struct sim_store *s = &n->store;
	uint64_t seq;
	int err;

	err = replica_restore_promise(n->r, s->promise, s->vouched, s->vouched_len);
	if (!err && s->has_snapshot)
		err = replica_restore_snapshot(n->r, s->snap_mark, s->snap_voters, s->snap,
					       s->snap_len);
	for (seq = s->first; !err && seq <= s->last; seq++)
		err = replica_restore_entry(n->r, s->entry[seq % SIM_ENTRIES]);
	return err ? err : replica_start(n->r, sim_now(node), s->hint);
}

/* ---- broken promises ------------------------------------------------------------------------ */

static struct sim_store *store_dup(const struct sim_store *s)
{
	struct sim_store *copy = sim_alloc(sizeof(*copy));
	uint64_t seq;

	memcpy(copy, s, offsetof(struct sim_store, entry));
	for (seq = s->first; seq <= s->last; seq++)
		copy->entry[seq % SIM_ENTRIES] = s->entry[seq % SIM_ENTRIES];
	return copy;
}

void sim_disk_copy(uint8_t node)
{
	sim.nodes[node].copy = store_dup(&sim.nodes[node].store);
}

/* What node id knows of the other's acknowledgements, and will after a crash of its own: what its last promise kept. */
static bool knows_more(uint8_t id, uint8_t node, const struct log_mark *end)
{
	static struct log scratch;
	const struct sim_node *n = &sim.nodes[id];

	memset(&scratch, 0, offsetof(struct log, pending));
	if (log_vouched_decode(&scratch, n->store.vouched ? n->store.vouched : "", n->store.vouched_len))
		sim_fail("node %u: its table of what the nodes have is malformed", id);
	return log_vouch_broken(&scratch, node, end);
}

/*
 * The promise: an old disk is recognised by each member that took part since, and made a promise after that.  So it is put back here only
 * when every other node is one of those; of one that nobody can know anything of nothing is promised.
 */
bool sim_disk_old(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	const struct sim_store *old = n->copy;
	struct log_mark end;
	uint8_t id;

	if (!old)
		return false;
	end = old->last >= old->first ? old->entry[old->last % SIM_ENTRIES]->mark : old->snap_mark;
	for (id = 1; id <= sim.count; id++)
		if (id != node && !knows_more(id, node, &end))
			return false;
	memcpy(&n->store, old, offsetof(struct sim_store, entry));
	for (uint64_t seq = old->first; seq <= old->last; seq++)
		n->store.entry[seq % SIM_ENTRIES] = old->entry[seq % SIM_ENTRIES];
	return true;
}

/* A record of the middle is gone, or a byte of one has changed. */
bool sim_disk_damage(uint8_t node, bool byte)
{
	struct sim_node *n = &sim.nodes[node];
	struct sim_store *s = &n->store;
	const struct log_entry **slot;
	struct log_entry *entry;
	size_t len;

	if (s->last < s->first + 2)
		return false;
	slot = &s->entry[(s->first + 1 + sim_below((unsigned)(s->last - s->first - 1))) % SIM_ENTRIES];
	if (!byte) {
		*slot = s->entry[s->last % SIM_ENTRIES];
	} else {
		len = offsetof(struct log_entry, bytes) + (*slot)->len_bytes;
		entry = memcpy(sim_alloc(len), *slot, len);
		if (entry->len_bytes)
			entry->bytes[sim_below(entry->len_bytes)] ^= (uint8_t)(1u << sim_below(8));
		else
			entry->mark.hash ^= 1;
		*slot = entry;
	}
	n->damaged = true;
	return true;
}

void sim_disk_wipe(uint8_t node)
{
	struct sim_store *s = &sim.nodes[node].store;

	memset(s, 0, offsetof(struct sim_store, entry));
	s->first = 1;
}
