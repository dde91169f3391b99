/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The model of a node's store: ordered operations, an fsync covers those before it, a crash keeps a prefix. */
#include "tests/sim/sim.h"

#include <string.h>

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
		sim_push(sim.now + 1 + sim_below(8) + (sim_chance(2) ? sim_below(400) : 0),
			 SIM_EV_FSYNC, node, 0, 0);
	}
}

static void apply(struct sim_node *n, const struct sim_op *op)
{
	struct sim_store *s = &n->store;

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

	for (i = 0; i < batch && n->op_count; i++) {
		op = n->ops[n->op_head].op;
		take(n);
	}
	n->fsync_armed = false;
	if (n->op_count) {
		n->fsync_armed = true;
		n->op_fsync = n->op_count;
		sim_push(sim.now + 1 + sim_below(8), SIM_EV_FSYNC, node, 0, 0);
	}
	if (op) {
		replica_durable(n->r, sim.now, op);
		sim_after(node);
	}
}

/* What was written and not flushed is there up to some point, or not at all. */
void sim_disk_crash(uint8_t node)
{
	struct sim_node *n = &sim.nodes[node];
	uint32_t keep = sim_below(n->op_count + 1);

	while (keep--)
		take(n);
	n->op_head = n->op_count = n->op_fsync = 0;
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
	return err ? err : replica_start(n->r, sim.now, s->hint);
}
