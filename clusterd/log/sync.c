/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a new configuration to an open epoch.
 *
 *   lowest member   SYNC(e)     multicast; the SYNC delivered last is in force
 *   every member    promise e, durably; then STATUS(how far my log reaches)
 *                   or STATUS(refused) if it has promised e or more before
 *   SYNC's sender   all answered, or a majority and a second passed: EPOCH(e, base) where base is the
 *                   end of the longest log by (epoch, seq)
 *   every member    has base: cut the log back to it, append the epoch's first entry, fsync, ACK
 *                   else: WANT (transfer.c)
 *   majority ACKed  OPEN
 *
 * Why it is safe: an entry of epoch e is appended only after a majority has
 * durably promised e, so no later epoch can be chosen below e; and a committed
 * entry is durable on a majority, of which at least one answers any later SYNC
 * that succeeds, after it has stopped acknowledging in the older epoch.
 *
 * Assumes nothing of timing: a member that sees no progress sends a SYNC of its own.
 */
#include "clusterd/log/internal.h"
#include "clusterd/log/mutant.h"

#include <errno.h>
#include <string.h>

#define PATIENCE_MS	2000u
#define PATIENCE_MAX_MS 30000u
#define STRAGGLER_MS	1000u /* how long the leader waits for members beyond a majority */

static unsigned rank(const struct log *log)
{
	return log_nodes_count(log->members & (log_nodes)(LOG_NODE_BIT(log->self) - 1u));
}

static void patience_reset(struct log *log)
{
	log->progress_ms = log->now_ms;
	log->patience_ms = PATIENCE_MS + rank(log) * 1000u;
}

/* Stops everything of the epoch that was. */
static void epoch_leave(struct log *log, enum log_state state)
{
	log->state = state;
	log->hole = log->wanted = false;
	log->ahead_first = 0;
	log->recv_have = 0;
	log->sync_instance = log->sync_counter = 0;
	log->sync_leader = 0;
	log->sync_op = 0;
	log->sync_answered = log->sync_decided = false;
}

void log_sync_start(struct log *log)
{
	struct log_message msg = { .type = LOG_MSG_SYNC, .instance = log->instance };
	uint64_t epoch = log->promised;
	uint8_t id;

	for (id = 1; id <= CL_NODES_MAX; id++)
		if (log->peers[id].promised > epoch)
			epoch = log->peers[id].promised;
	msg.epoch = epoch + 1;
	msg.counter = ++log->counter;
	log_send(log, &msg);
}

void log_config(struct log *log, uint64_t now_ms, log_nodes members, bool quorate)
{
	bool changed = members != log->members;
	bool gained = quorate && !log->quorate;

	log->now_ms = now_ms;
	log->members = members;
	log->quorate = quorate;
	if (log->halted)
		return;
	if (changed) {
		epoch_leave(log, log_has_majority(log, members) || !log->voters ? LOG_STATE_SYNC :
										  LOG_STATE_DOWN);
		patience_reset(log);
	}
	/* votequorum may speak after CPG: a SYNC that came before stays in force. */
	if ((changed || gained) && log->state == LOG_STATE_SYNC && !log->sync_leader && quorate &&
	    log->voters && rank(log) == 0)
		log_sync_start(log);
}

void log_sync_timer(struct log *log)
{
	if (log->state == LOG_STATE_OPEN || !log->quorate || !log_has_majority(log, log->members))
		return;
	if (log->sync_leader == log->self && log->sync_answered && !log->sync_decided &&
	    log->now_ms - log->sync_since_ms >= STRAGGLER_MS) {
		/* One more look: a majority may do now. */
		struct log_message none = { .type = LOG_MSG_STATUS };

		log_on_status(log, &none);
	}
	if (log->now_ms - log->progress_ms < log->patience_ms)
		return;
	log->progress_ms = log->now_ms;
	log->patience_ms = log->patience_ms * 2 < PATIENCE_MAX_MS ? log->patience_ms * 2 :
								    PATIENCE_MAX_MS;
	log_sync_start(log);
}

/* Our promise is durable: everything appended before it is, too. */
static void status_send(struct log *log, bool refused)
{
	uint8_t vouched[LOG_VOUCHED_MAX];
	struct log_message msg = { .type = LOG_MSG_STATUS, .data = vouched };

	msg.instance = log->sync_instance;
	msg.counter = log->sync_counter;
	msg.epoch = log->sync_epoch;
	msg.refused = refused;
	msg.promised = log->promised;
	msg.mark = log->last;
	msg.voters = log->voters;
	msg.len_bytes = log_vouched_encode(log, vouched);
	log->sync_answered = true;
	log_send(log, &msg);
}

void log_sync_durable(struct log *log)
{
	if (log->sync_op && log->op_durable >= log->sync_op && !log->sync_answered) {
		log->sync_op = 0;
		status_send(log, false);
	}
}

void log_on_sync(struct log *log, const struct log_message *msg)
{
	uint8_t vouched[LOG_VOUCHED_MAX];
	struct log_out out = { .epoch = msg->epoch, .data = vouched };
	uint8_t id;

	epoch_leave(log, LOG_STATE_SYNC);
	log->sync_instance = msg->instance;
	log->sync_counter = msg->counter;
	log->sync_leader = msg->sender;
	log->sync_epoch = msg->epoch;
	log->sync_since_ms = log->now_ms;
	log->progress_ms = log->now_ms;
	if (!log->patience_ms)
		patience_reset(log);
	for (id = 1; id <= CL_NODES_MAX; id++)
		log->peers[id].status = log->peers[id].refused = false;
	if (msg->epoch <= log->promised) {
		status_send(log, true);
		return;
	}
	log->promised = msg->epoch;
	out.len_bytes = log_vouched_encode(log, vouched);
	log->sync_op = log_store(log, LOG_STORE_PROMISE, &out);
	if (LOG_MUTANT(17)) {
		log->promised = 0; /* planted: the promise is forgotten as soon as it is given */
		status_send(log, false);
	}
}

/* Leader: has everybody answered, or enough after the wait?  Then the longest log wins. */
static void decide(struct log *log)
{
	struct log_message msg = { .type = LOG_MSG_EPOCH, .epoch = log->sync_epoch };
	const struct log_peer *best = NULL;
	log_nodes yes = 0, refused = 0, answered = 0;
	uint8_t id;

	for (id = 1; id <= CL_NODES_MAX; id++) {
		const struct log_peer *peer = &log->peers[id];

		if (!(log->members & LOG_NODE_BIT(id)) || !peer->status)
			continue;
		answered |= LOG_NODE_BIT(id);
		if (peer->refused) {
			refused |= LOG_NODE_BIT(id);
			continue;
		}
		if (!best || (LOG_MUTANT(20) ? log_mark_less(&peer->last, &best->last) :
					       log_mark_less(&best->last, &peer->last)))
			best = peer;
		/*
		 * A vote counts only from a node that still has what it said it had: an empty
		 * or rolled-back disk has forgotten acknowledgements and promises.
		 */
		if (!peer->last.seq)
			continue;
		if (!log_vouch_broken(log, id, &peer->last) || LOG_MUTANT(23)) {
			yes |= LOG_NODE_BIT(id);
		} else if (!(log->forgetful & LOG_NODE_BIT(id))) {
			log->forgetful |= LOG_NODE_BIT(id);
			log->counters.forgetful++;
		}
	}
	if (refused) {
		/* peers[].promised is known now: once more, above it. */
		log->sync_decided = true;
		log_sync_start(log);
		return;
	}
	if (!best || !best->last.seq || !log_nodes_majority(best->voters, yes))
		return;
	if (answered != log->members && log->now_ms - log->sync_since_ms < STRAGGLER_MS)
		return;
	log->sync_decided = true;
	msg.instance = log->sync_instance;
	msg.counter = log->sync_counter;
	msg.mark = best->last;
	msg.voters = best->voters;
	log_send(log, &msg);
}

void log_on_status(struct log *log, const struct log_message *msg)
{
	if (msg->sender) {
		struct log_peer *peer = &log->peers[msg->sender];

		if (log->state != LOG_STATE_SYNC || msg->instance != log->sync_instance ||
		    msg->counter != log->sync_counter)
			return;
		if (log_vouched_decode(log, msg->data, msg->len_bytes)) {
			log->counters.malformed++;
			return;
		}
		log->progress_ms = log->now_ms;
		peer->status = true;
		peer->refused = msg->refused;
		peer->promised = msg->promised;
		peer->last = msg->mark;
		peer->voters = msg->voters;
	}
	if (log->state == LOG_STATE_SYNC && log->sync_leader == log->self && !log->sync_decided &&
	    log->quorate)
		decide(log);
}

void log_on_epoch(struct log *log, const struct log_message *msg)
{
	struct log_mark mark;
	struct log_entry first, *entry = &first;
	uint32_t i;
	uint8_t id;

	if (log->state != LOG_STATE_SYNC || msg->sender != log->sync_leader ||
	    msg->instance != log->sync_instance || msg->counter != log->sync_counter ||
	    msg->epoch != log->sync_epoch || log->promised != msg->epoch)
		return;
	log->state = LOG_STATE_OPENING;
	log->progress_ms = log->now_ms;
	log->epoch = msg->epoch;
	log->epoch_base = msg->mark;
	log->seen_voters = msg->voters;
	log->seen_voters_seq = 0;
	log->agreed = 0;
	log->acked_seq = 0;
	for (id = 1; id <= CL_NODES_MAX; id++)
		log->peers[id].acked = 0;
	if (log_mark_at(log, msg->mark.seq, &mark) == 0 && log_mark_equal(&mark, &msg->mark) &&
	    mark.seq >= log->commit.seq) {
		log_truncate(log, &mark);
	} else if (LOG_MUTANT(19)) {
		log->last = log->commit = log->durable = log->base = msg->mark;
	} else if (msg->mark.seq <= log->commit.seq) {
		/* The cluster's history ends before, or differs from, what we have committed. */
		log->counters.diverged++;
		log->halted = true;
		log->state = LOG_STATE_DOWN;
		return;
	} else {
		log->hole = true;
	}

	/* Everybody knows the epoch's first entry; those in step append it. */
	if (!log->hole)
		entry = &log->window[(msg->mark.seq + 1) % LOG_WINDOW];
	memset(entry, 0, offsetof(struct log_entry, bytes));
	entry->mark.epoch = msg->epoch;
	entry->mark.seq = msg->mark.seq + 1;
	entry->kind = LOG_ENTRY_EPOCH;
	entry->origin = msg->sender;
	entry->mark.hash = log_entry_hash(msg->mark.hash, entry);
	log->seen = entry->mark;
	for (i = 0; i < log->pending_count; i++)
		if (!log->hole && !log->pending[i].accepted)
			log->pending[i].sent = false; /* in step, and it is not there: propose again */
	if (log->hole)
		log_want(log);
	else
		log_append(log, entry);
}
