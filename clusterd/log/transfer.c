/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bringing a laggard up: snapshot and tail.
 *
 * The laggard multicasts WANT.  WANT is delivered at the same point of the total
 * order everywhere: what the donor has then is what it feeds; what is delivered
 * later the laggard keeps by itself, behind the hole.  The donor answers with the
 * entries after the laggard's end, or after its commit position if the rest
 * is a dropped tail, or with its core's state and the entries after that.
 *
 *        last        hole         ahead_first      seen
 *   ------|.......................|----------------|      the laggard's window
 *           <-- TAIL fills this -->
 */
#include "clusterd/log/internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define WANT_AGAIN_MS 2000u
#define WINDOW_SPARE  32u /* entries that may come while a tail is on its way */
#define NOBODYS_SEQ   (UINT64_MAX / 4)

/* A member that is in step: it has acknowledged in this epoch.  Rotates, so a deaf donor is left. */
static uint8_t donor_choose(const struct log *log)
{
	uint8_t id, first = 0;

	for (id = 1; id <= CL_NODES_MAX; id++) {
		if (id == log->self || !(log->members & LOG_NODE_BIT(id)))
			continue;
		if (!log->peers[id].acked &&
		    !(log->peers[id].status && log_mark_equal(&log->peers[id].last, &log->epoch_base)))
			continue;
		if (!first)
			first = id;
		if (id > log->want_donor)
			return id;
	}
	return first;
}

void log_want(struct log *log)
{
	struct log_message msg = { .type = LOG_MSG_WANT, .epoch = log->epoch };

	/* What comes is committed only when all of it is there: the window must have room for it. */
	if (log->seen.seq - log->base.seq >= LOG_WINDOW / 2)
		log_snapshot_own(log);
	log->want_ms = log->now_ms;
	log->want_donor = donor_choose(log);
	log->wanted = false;
	log->ahead_first = 0;
	log->recv_have = 0;
	msg.donor = log->want_donor;
	msg.mark = log->last;
	msg.commit = log->commit;
	/* More than the window holds: a mark that nobody can go on from asks for the state itself. */
	if (log->seen.seq - log->commit.seq >= LOG_WINDOW - WINDOW_SPARE)
		msg.mark.seq = msg.commit.seq = NOBODYS_SEQ;
	log_send(log, &msg);
}

void log_transfer_timer(struct log *log)
{
	if ((log->state != LOG_STATE_OPENING && log->state != LOG_STATE_OPEN) || !log->hole)
		return;
	if (log->now_ms - log->want_ms >= WANT_AGAIN_MS)
		log_want(log);
}

/* True if the entries after mark are all in the window. */
static bool tail_possible(struct log *log, const struct log_mark *mark)
{
	struct log_mark own;
	uint64_t seq;

	if (mark->seq == 0) {
		if (!log_entry_at(log, 1) && log->last.seq)
			return false;
	} else if (log_mark_at(log, mark->seq, &own) || !log_mark_equal(&own, mark)) {
		return false;
	}
	for (seq = mark->seq + 1; seq <= log->last.seq; seq++)
		if (!log_entry_at(log, seq))
			return false;
	return true;
}

static void tail_send(struct log *log, uint8_t to, struct log_mark from)
{
	uint8_t data[LOG_CHUNK_MAX];
	uint64_t seq = from.seq + 1;

	log->counters.tails_sent++;
	do {
		struct log_message msg = { .type = LOG_MSG_TAIL, .epoch = log->epoch };
		struct cl_writer w;

		cl_writer_init(&w, data, sizeof(data));
		msg.to = LOG_NODE_BIT(to);
		msg.mark = from;
		while (seq <= log->last.seq &&
		       w.pos + sizeof(struct log_entry) <= sizeof(data) && msg.count < 64) {
			const struct log_entry *entry = log_entry_at(log, seq);

			log_entry_write(&w, entry);
			from = entry->mark;
			msg.count++;
			seq++;
		}
		msg.data = data;
		msg.len_bytes = w.pos;
		log_send(log, &msg);
	} while (seq <= log->last.seq);
}

static void snapshot_send(struct log *log, uint8_t to)
{
	const uint8_t *data;
	size_t len, offset = 0;

	if (!log_snapshot_take(log))
		return;
	data = log->snap_data;
	len = log->snap_len;
	log->counters.snapshots_sent++;
	do {
		struct log_message msg = { .type = LOG_MSG_SNAPSHOT, .epoch = log->epoch };

		msg.to = LOG_NODE_BIT(to);
		msg.mark = log->commit;
		/* Voters after the commit position: the tail brings the rest. */
		msg.voters = log->base_voters;
		for (uint64_t seq = log->base.seq + 1; seq <= log->commit.seq; seq++) {
			const struct log_entry *entry = log_entry_at(log, seq);

			if (entry && entry->voter_add)
				msg.voters |= LOG_NODE_BIT(entry->voter_add);
		}
		msg.total = (uint32_t)len;
		msg.offset = (uint32_t)offset;
		msg.data = data + offset;
		msg.len_bytes = len - offset < LOG_CHUNK_MAX ? len - offset : LOG_CHUNK_MAX;
		log_send(log, &msg);
		offset += msg.len_bytes;
	} while (offset < len);
	log->snap_data = NULL;
	tail_send(log, to, log->commit);
}

void log_on_want(struct log *log, const struct log_message *msg)
{
	if ((log->state != LOG_STATE_OPENING && log->state != LOG_STATE_OPEN) ||
	    msg->epoch != log->epoch)
		return;
	if (msg->sender == log->self) {
		if (log->hole)
			log->wanted = true;
		return;
	}
	if (msg->donor != log->self || log->hole)
		return;
	if (tail_possible(log, &msg->mark))
		tail_send(log, msg->sender, msg->mark);
	else if (tail_possible(log, &msg->commit))
		tail_send(log, msg->sender, msg->commit);
	else
		snapshot_send(log, msg->sender);
}

/* Own proposals that turn up in what we are fed were accepted after all. */
static void pending_match(struct log *log, const struct log_entry *entry)
{
	uint32_t i;

	if (entry->origin != log->self)
		return;
	for (i = 0; i < log->pending_count; i++) {
		if (log->pending[i].cookie == entry->cookie) {
			log->pending[i].accepted = true;
			log->pending[i].sent = false;
			log->pending[i].seq = entry->mark.seq;
		}
	}
}

/* The hole is filled up to last: if that meets what we kept or have seen, we are in step. */
static void hole_close(struct log *log)
{
	uint64_t until = log->ahead_first ? log->ahead_first - 1 : log->seen.seq;
	uint64_t seq;
	uint32_t i;

	if (!log->wanted || log->last.seq != until)
		return;
	for (seq = until + 1; seq <= log->seen.seq; seq++) {
		struct log_entry *entry = log_entry_at(log, seq);

		if (!entry || log_entry_hash(log->last.hash, entry) != entry->mark.hash) {
			log->counters.diverged++;
			log_want(log);
			return;
		}
		log_append(log, entry);
	}
	if (!log_mark_equal(&log->last, &log->seen)) {
		log->counters.diverged++;
		log_want(log);
		return;
	}
	log->hole = log->wanted = false;
	log->ahead_first = 0;
	for (i = 0; i < log->pending_count; i++)
		if (!log->pending[i].accepted)
			log->pending[i].sent = false; /* not in the log: propose again */
	log_advance(log);
	log_acknowledge(log);
}

void log_on_tail(struct log *log, const struct log_message *msg)
{
	struct log_entry entry;
	struct log_mark own, have;
	struct cl_reader r;
	uint16_t i;

	if (!log->hole || !log->wanted || msg->epoch != log->epoch ||
	    msg->sender != log->want_donor || !(msg->to & LOG_NODE_BIT(log->self)))
		return;
	if (msg->mark.seq == 0) {
		memset(&own, 0, sizeof(own));
	} else if (log_mark_at(log, msg->mark.seq, &own) || !log_mark_equal(&own, &msg->mark)) {
		return; /* the timer asks again */
	}
	if (own.seq < log->commit.seq)
		return;
	cl_reader_init(&r, msg->data, msg->len_bytes);
	/* First all of it is read, then any of it is used. */
	for (i = 0; i < msg->count; i++)
		log_entry_read(&r, &entry);
	if (cl_reader_done(&r)) {
		log->counters.malformed++;
		return;
	}
	log->want_ms = log->now_ms;
	cl_reader_init(&r, msg->data, msg->len_bytes);
	for (i = 0; i < msg->count; i++) {
		struct log_entry *slot;

		log_entry_read(&r, &entry);
		if (log_mark_at(log, entry.mark.seq, &have) == 0 &&
		    log_mark_equal(&have, &entry.mark)) {
			/* Not even for a moment is an entry gone that we have acknowledged. */
			own = have;
			pending_match(log, &entry);
			continue;
		}
		log_truncate(log, &own);
		if (entry.mark.seq != log->last.seq + 1 ||
		    log_entry_hash(log->last.hash, &entry) != entry.mark.hash ||
		    (log->ahead_first && entry.mark.seq >= log->ahead_first)) {
			log->counters.diverged++;
			return;
		}
		if (entry.mark.seq - log->base.seq >= LOG_WINDOW)
			return; /* the timer asks again, for the state */
		slot = &log->window[entry.mark.seq % LOG_WINDOW];
		memcpy(slot, &entry, offsetof(struct log_entry, bytes) + entry.len_bytes);
		log_append(log, slot);
		own = slot->mark;
		pending_match(log, slot);
	}
	if (own.seq == (log->ahead_first ? log->ahead_first - 1 : log->seen.seq))
		log_truncate(log, &own); /* that is all of it: what we have beyond was dropped */
	hole_close(log);
}

void log_on_snapshot(struct log *log, const struct log_message *msg)
{
	struct log_out out = { .kind = LOG_OUT_INSTALL };
	uint32_t i;

	if (!log->hole || !log->wanted || msg->epoch != log->epoch ||
	    msg->sender != log->want_donor || !(msg->to & LOG_NODE_BIT(log->self)))
		return;
	if (msg->offset == 0) {
		log->recv_have = 0;
		log->recv_mark = msg->mark;
	}
	if (msg->offset != log->recv_have || !log_mark_equal(&msg->mark, &log->recv_mark) ||
	    msg->mark.seq <= log->commit.seq)
		return;
	memcpy(log->recv_data + msg->offset, msg->data, msg->len_bytes);
	log->recv_have += msg->len_bytes;
	log->want_ms = log->now_ms;
	if (log->recv_have < msg->total)
		return;

	/* All there: it replaces everything we had. */
	log->counters.snapshots_received++;
	log->base = log->last = log->commit = msg->mark;
	log->base_voters = log->voters = msg->voters;
	log->commits_since_snapshot = 0;
	for (i = 0; i < LOG_WINDOW; i++)
		if (!log->ahead_first || log->window[i].mark.seq < log->ahead_first)
			log->window[i].mark.seq = 0;
	if (log->durable.seq > log->base.seq || log->durable.epoch != log->base.epoch)
		memset(&log->durable, 0, sizeof(log->durable));
	out.mark = msg->mark;
	out.voters = msg->voters;
	out.data = log->recv_data;
	out.len_bytes = msg->total;
	log->sink(log->sink_arg, &out);
	out.reset = true;
	log->op_base = log_store(log, LOG_STORE_SNAPSHOT, &out);
	for (i = log->pending_count; i-- > 0;) {
		struct log_out lost = { .kind = LOG_OUT_LOST, .cookie = log->pending[i].cookie };

		if (!log->pending[i].sent && !log->pending[i].accepted)
			continue;
		memmove(&log->pending[i], &log->pending[i + 1],
			(log->pending_count - i - 1) * sizeof(log->pending[0]));
		log->pending_count--;
		log->sink(log->sink_arg, &lost);
	}
	hole_close(log);
}
