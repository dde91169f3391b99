/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Beats: each clusterd multicasts one a second, beside the log (nothing of it is stored), and each
 * names the epoch that its sender's log is open in and the last beat that it had from every other.
 *
 *   node 1                              node 2
 *   second 0.0  sends beat 7            ...
 *   0.0         .                       delivers 1's beat 7
 *   0.6         .                       sends its own beat: "epoch 4, of node 1 I have 7"
 *   0.6         delivers that: at second 0.0 or later node 2 was with us in epoch 4
 *
 * Decides two things.  (1) proof: the latest moment at which a beat was *sent* that a majority (we
 * count as one) has answered, each while we were in step in the epoch that it named.  Why it is worth
 * something: the entry that gives this node up is committed by a majority, which shares a node with
 * the majority that answered.
 *   entry of an older epoch     it is in what the epoch was built on: we know it
 *   entry of the same epoch     the shared node acknowledged it before it had our beat: then those
 *                               acknowledgements come before its answer in the one order, and we know it;
 *                               or afterwards: then it was committed later than the proof
 *   entry of a later epoch      the shared node promised that epoch after it had our beat: the same
 * So: while the log does not say that we are given up, it was not said before the proof.  Own clocks
 * only; a stale packet, a long stop, a queue in between make a proof older, never younger.
 * (2) present: a member that a majority's proof has outlived for CORE_UNHEARD_MS speaks no more, though
 * corosync says that its process is there (stopped, swapping, in D state).
 *
 * Assumes nothing of timing.  Never reads a clock.
 */
#include <errno.h>
#include <string.h>

#include "clusterd/core/internal.h"
#include "clusterd/core/replica_int.h"
#include "common/cl_wire.h"

#define BEAT_MAGIC   0x4248u /* "HB" */
#define BEAT_VERSION 1u

void replica_beat_config(struct replica *r, core_nodes members)
{
	uint8_t id;

	for (id = 1; id <= CL_NODES_MAX; id++) {
		if (!(members & CORE_NODE_BIT(id)))
			r->heard[id] = 0;
		r->heard_ms[id] = r->now_ms;
	}
}

void replica_beat_timer(struct replica *r)
{
	uint8_t bytes[BEAT_BYTES];
	struct replica_out out = { .kind = REPLICA_MULTICAST, .data = bytes };
	struct replica_beat *beat;
	struct cl_writer w;
	uint8_t id;

	if (!r->members || (r->beat_ms && r->now_ms - r->beat_ms < CORE_BEAT_MS))
		return;
	r->beat_ms = r->now_ms;
	beat = &r->beats[++r->beat_number % REPLICA_BEATS_MAX];
	beat->number = r->beat_number;
	beat->sent_ms = r->now_ms;
	cl_writer_init(&w, bytes, sizeof(bytes));
	cl_write_u16(&w, BEAT_MAGIC);
	cl_write_u8(&w, BEAT_VERSION);
	cl_write_u8(&w, r->self);
	cl_write_u64(&w, log_is_open(&r->log) ? r->log.epoch : 0);
	cl_write_u64(&w, beat->number);
	for (id = 1; id <= CL_NODES_MAX; id++)
		cl_write_u64(&w, r->heard[id]);
	out.len_bytes = sizeof(bytes);
	replica_emit(r, &out);
}

bool replica_beat_is(const void *data, size_t len_bytes)
{
	const uint8_t *bytes = data;

	return len_bytes >= 2 && (bytes[0] | (unsigned)bytes[1] << 8) == BEAT_MAGIC;
}

int replica_beat_take(struct replica *r, uint8_t node, const void *data, size_t len_bytes)
{
	uint64_t epoch, number, answered = 0;
	struct cl_reader rd;
	uint8_t sender, id;
	const struct replica_beat *beat;
	unsigned version;

	cl_reader_init(&rd, data, len_bytes);
	(void)cl_read_u16(&rd);
	version = cl_read_u8(&rd);
	sender = cl_read_u8(&rd);
	epoch = cl_read_u64(&rd);
	number = cl_read_u64(&rd);
	for (id = 1; id <= CL_NODES_MAX; id++) {
		uint64_t had = cl_read_u64(&rd);

		if (id == r->self)
			answered = had;
	}
	if (cl_reader_done(&rd) || version != BEAT_VERSION || sender != node)
		return -EBADMSG;
	if (node == 0 || node > CL_NODES_MAX || !(r->members & CORE_NODE_BIT(node)))
		return 0;
	r->heard[node] = number;
	if (!log_is_open(&r->log) || epoch != r->log.epoch)
		return 0;
	if (node == r->self)
		answered = number;
	/* The numbers begin at random in each process: nobody answers one that we did not send. */
	beat = &r->beats[answered % REPLICA_BEATS_MAX];
	if (beat->number == answered && beat->sent_ms > r->answered_ms[node])
		r->answered_ms[node] = beat->sent_ms;
	return 0;
}

uint64_t replica_beat_proof_ms(const struct replica *r)
{
	uint64_t best = 0;
	uint8_t id, other;

	for (id = 1; id <= CL_NODES_MAX; id++) {
		core_nodes who = CORE_NODE_BIT(r->self);

		if (r->answered_ms[id] <= best)
			continue;
		for (other = 1; other <= CL_NODES_MAX; other++)
			if (r->answered_ms[other] >= r->answered_ms[id])
				who |= CORE_NODE_BIT(other);
		if (log_has_majority(&r->log, who))
			best = r->answered_ms[id];
	}
	return best;
}

core_nodes replica_beat_present(const struct replica *r)
{
	uint64_t proof_ms = replica_beat_proof_ms(r);
	core_nodes present = r->members;
	uint8_t id;

	for (id = 1; id <= CL_NODES_MAX; id++)
		if (id != r->self && proof_ms > r->heard_ms[id] &&
		    proof_ms - r->heard_ms[id] >= CORE_UNHEARD_MS)
			present &= (core_nodes)~CORE_NODE_BIT(id);
	return present;
}
