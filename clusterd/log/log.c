/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log's life, its proposals, acknowledgements and commits.
 *
 * Decides: whether a delivered proposal is accepted (alike on every member,
 * because all the facts it asks are the same at that point of the total order), and what is
 * committed.  sync.c decides epochs, transfer.c brings laggards up.
 */
#include "clusterd/log/internal.h"
#include "clusterd/log/mutant.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

const char *log_state_name(enum log_state state)
{
	static const char *const names[] = { "down", "sync", "opening", "open" };

	return (unsigned)state < CL_ARRAY_LEN(names) ? names[state] : "?";
}

bool log_mark_equal(const struct log_mark *a, const struct log_mark *b)
{
	return a->seq == b->seq && a->hash == b->hash && a->epoch == b->epoch;
}

bool log_mark_less(const struct log_mark *a, const struct log_mark *b)
{
	return a->epoch != b->epoch ? a->epoch < b->epoch : a->seq < b->seq;
}

unsigned log_nodes_count(log_nodes nodes)
{
	unsigned count = 0;

	for (; nodes; nodes &= (log_nodes)(nodes - 1u))
		count++;
	return count;
}

log_nodes log_nodes_majority(log_nodes voters, log_nodes yes)
{
	log_nodes both = voters & yes;

	return log_nodes_count(both) * 2 > log_nodes_count(voters) ? both : 0;
}

bool log_has_majority(const struct log *log, log_nodes members)
{
	return log_nodes_majority(log->voters, members) != 0;
}

bool log_is_open(const struct log *log)
{
	return log->state == LOG_STATE_OPEN && !log->hole && !log->halted;
}

/* ---- out ------------------------------------------------------------------------------------ */

void log_send(struct log *log, const struct log_message *msg)
{
	struct log_message copy = *msg;
	struct log_out out = { .kind = LOG_OUT_MULTICAST };
	long len;

	copy.sender = log->self;
	len = log_message_encode(&copy, log->out, sizeof(log->out));
	assert(len > 0);
	out.data = log->out;
	out.len_bytes = (size_t)len;
	log->sink(log->sink_arg, &out);
}

uint64_t log_store(struct log *log, enum log_store_kind kind, struct log_out *out)
{
	out->kind = LOG_OUT_STORE;
	out->store = kind;
	out->op = ++log->op;
	out->commit = log->commit.seq;
	log->sink(log->sink_arg, out);
	return out->op;
}

/* ---- the window ----------------------------------------------------------------------------- */

struct log_entry *log_entry_at(struct log *log, uint64_t seq)
{
	struct log_entry *entry = &log->window[seq % LOG_WINDOW];

	return seq && entry->mark.seq == seq ? entry : NULL;
}

int log_mark_at(struct log *log, uint64_t seq, struct log_mark *ret_mark)
{
	struct log_entry *entry;

	if (seq == log->base.seq) {
		*ret_mark = log->base;
		return 0;
	}
	if (seq == log->last.seq) {
		*ret_mark = log->last;
		return 0;
	}
	entry = seq < log->last.seq ? log_entry_at(log, seq) : NULL;
	if (!entry)
		return -ENOENT;
	*ret_mark = entry->mark;
	return 0;
}

void log_append(struct log *log, struct log_entry *entry)
{
	struct log_out out = { .entry = entry };

	assert(entry->mark.seq == log->last.seq + 1);
	if (entry->mark.seq - log->base.seq >= LOG_WINDOW)
		log->halted = true; /* epochs without end and no commit: stop rather than forget */
	log->last = entry->mark;
	if (entry->voter_add)
		log->voters |= LOG_NODE_BIT(entry->voter_add);
	log->op_of[entry->mark.seq % LOG_WINDOW] = log_store(log, LOG_STORE_APPEND, &out);
}

static void pending_remove(struct log *log, uint32_t i)
{
	memmove(&log->pending[i], &log->pending[i + 1],
		(log->pending_count - i - 1) * sizeof(log->pending[0]));
	log->pending_count--;
}

void log_truncate(struct log *log, const struct log_mark *mark)
{
	struct log_out out = { .mark = *mark };
	uint64_t seq;
	uint32_t i;

	assert(mark->seq >= log->commit.seq);
	if (mark->seq >= log->last.seq)
		return;
	log->voters = log->base_voters;
	for (seq = log->base.seq + 1; seq <= mark->seq; seq++) {
		struct log_entry *entry = log_entry_at(log, seq);

		if (entry && entry->voter_add)
			log->voters |= LOG_NODE_BIT(entry->voter_add);
	}
	for (seq = mark->seq + 1; seq <= log->last.seq; seq++) {
		struct log_entry *entry = log_entry_at(log, seq);

		if (entry)
			entry->mark.seq = 0;
	}
	log->last = *mark;
	if (log->durable.seq > mark->seq)
		log->durable = *mark;
	for (i = 0; i < log->pending_count; i++)
		if (log->pending[i].accepted && log->pending[i].seq > mark->seq)
			log->pending[i].accepted = log->pending[i].sent = false;
	log_store(log, LOG_STORE_TRUNCATE, &out);
}

/* ---- life ----------------------------------------------------------------------------------- */

void log_init(struct log *log, uint8_t self, uint64_t instance, log_sink sink, void *sink_arg)
{
	uint32_t i;

	/* The big arrays need no clearing: a window slot is valid only by its seq. */
	memset(log, 0, offsetof(struct log, pending));
	for (i = 0; i < LOG_WINDOW; i++)
		log->window[i].mark.seq = 0;
	log->pending_count = 0;
	log->self = self;
	log->instance = instance;
	log->sink = sink;
	log->sink_arg = sink_arg;
	log->snapshot_every = LOG_SNAPSHOT_EVERY;
}

int log_restore_promise(struct log *log, uint64_t epoch, const void *data, size_t len_bytes)
{
	log->promised = epoch;
	return log_vouched_decode(log, data, len_bytes);
}

int log_restore_snapshot(struct log *log, struct log_mark mark, log_nodes voters, const void *data,
			 size_t len_bytes)
{
	struct log_out out = { .kind = LOG_OUT_INSTALL, .mark = mark, .voters = voters };

	if (log->last.seq || !mark.seq || len_bytes > LOG_SNAPSHOT_MAX)
		return -EBADMSG;
	log->base = log->last = log->commit = mark;
	log->voters = log->base_voters = voters;
	out.data = data;
	out.len_bytes = len_bytes;
	log->sink(log->sink_arg, &out);
	return 0;
}

int log_restore_entry(struct log *log, const struct log_entry *entry)
{
	struct log_entry *slot = &log->window[entry->mark.seq % LOG_WINDOW];

	if (entry->mark.seq <= log->base.seq)
		return 0; /* the snapshot has it */
	if (entry->mark.seq != log->last.seq + 1 || entry->mark.epoch < log->last.epoch ||
	    entry->len_bytes > LOG_ENTRY_MAX || entry->voter_add > CL_NODES_MAX ||
	    log_entry_hash(log->last.hash, entry) != entry->mark.hash ||
	    entry->mark.seq - log->base.seq > LOG_WINDOW)
		return -EBADMSG;
	memcpy(slot, entry, offsetof(struct log_entry, bytes) + entry->len_bytes);
	log->last = entry->mark;
	if (entry->voter_add)
		log->voters |= LOG_NODE_BIT(entry->voter_add);
	return 0;
}

static void commit_up_to(struct log *log, uint64_t seq);

int log_restore_done(struct log *log, uint64_t commit_hint)
{
	log->durable = log->last;
	if (log->promised < log->last.epoch)
		log->promised = log->last.epoch;
	if (commit_hint > log->last.seq)
		commit_hint = log->last.seq;
	commit_up_to(log, commit_hint);
	return 0;
}

int log_bootstrap(struct log *log, const void *bytes, size_t len_bytes)
{
	struct log_entry *entry = &log->window[1];
	struct log_out out = { .epoch = 1 };

	if (log->last.seq || len_bytes > LOG_ENTRY_MAX)
		return -EINVAL;
	log->promised = 1;
	out.data = "";
	log_store(log, LOG_STORE_PROMISE, &out);
	memset(entry, 0, offsetof(struct log_entry, bytes));
	entry->mark.epoch = 1;
	entry->mark.seq = 1;
	entry->kind = LOG_ENTRY_DATA;
	entry->origin = log->self;
	entry->voter_add = log->self;
	entry->len_bytes = (uint32_t)len_bytes;
	memcpy(entry->bytes, bytes, len_bytes);
	entry->mark.hash = log_entry_hash(0, entry);
	log_append(log, entry);
	return 0;
}

void log_snapshot_give(struct log *log, const void *data, size_t len_bytes)
{
	log->snap_data = data;
	log->snap_len = len_bytes;
}

bool log_snapshot_take(struct log *log)
{
	struct log_out out = { .kind = LOG_OUT_SNAPSHOT_TAKE };

	log->snap_data = NULL;
	log->snap_len = 0;
	log->sink(log->sink_arg, &out);
	return log->snap_data && log->snap_len <= LOG_SNAPSHOT_MAX;
}

/* ---- commit --------------------------------------------------------------------------------- */

static log_nodes voters_at_commit(struct log *log)
{
	log_nodes voters = log->base_voters;
	uint64_t seq;

	for (seq = log->base.seq + 1; seq <= log->commit.seq; seq++) {
		struct log_entry *entry = log_entry_at(log, seq);

		if (entry && entry->voter_add)
			voters |= LOG_NODE_BIT(entry->voter_add);
	}
	return voters;
}

void log_snapshot_own(struct log *log)
{
	struct log_out out = { .mark = log->commit };

	if (!log->commits_since_snapshot || !log_snapshot_take(log))
		return;
	log->base_voters = voters_at_commit(log);
	log->base = log->commit;
	log->commits_since_snapshot = 0;
	out.voters = log->base_voters;
	out.data = log->snap_data;
	out.len_bytes = log->snap_len;
	log->op_base = log_store(log, LOG_STORE_SNAPSHOT, &out);
	log->snap_data = NULL;
}

static void commit_up_to(struct log *log, uint64_t seq)
{
	while (log->commit.seq < seq) {
		struct log_entry *entry = log_entry_at(log, log->commit.seq + 1);
		struct log_out out = { .kind = LOG_OUT_COMMIT, .entry = entry };
		uint32_t i;

		assert(entry);
		log->commit = entry->mark;
		log->counters.committed++;
		log->commits_since_snapshot++;
		for (i = 0; i < log->pending_count; i++) {
			if (log->pending[i].accepted && log->pending[i].seq == entry->mark.seq) {
				pending_remove(log, i);
				break;
			}
		}
		if (entry->kind == LOG_ENTRY_DATA)
			log->sink(log->sink_arg, &out);
		/* Now and then: the store forgets the entries below it. */
		if (log->commits_since_snapshot >= log->snapshot_every)
			log_snapshot_own(log);
	}
}

/* Remembers who has what of what is committed. */
static void vouch(struct log *log)
{
	uint8_t id;

	for (id = 1; id <= CL_NODES_MAX; id++) {
		uint64_t acked = log->peers[id].acked;

		if (!(log->members & LOG_NODE_BIT(id)) || acked <= log->epoch_base.seq)
			continue;
		log->forgetful &= (log_nodes)~LOG_NODE_BIT(id);
		log_vouch(log, id, log->epoch, acked < log->agreed ? acked : log->agreed);
	}
}

/* The highest entry that a majority has is one that somebody acknowledged last. */
static uint64_t agreed(const struct log *log)
{
	uint64_t best = log->agreed;
	uint8_t id, other;

	for (id = 1; id <= CL_NODES_MAX; id++) {
		uint64_t seq = log->peers[id].acked;
		log_nodes yes = 0;

		if (!(log->members & LOG_NODE_BIT(id)))
			continue;
		if (seq > log->seen.seq)
			seq = log->seen.seq;
		if (seq <= best)
			continue;
		for (other = 1; other <= CL_NODES_MAX; other++)
			if ((log->members & LOG_NODE_BIT(other)) && log->peers[other].acked >= seq)
				yes |= LOG_NODE_BIT(other);
		if (log_nodes_majority(log->seen_voters, yes))
			best = seq;
	}
	return best;
}

void log_advance(struct log *log)
{
	if (log->state != LOG_STATE_OPENING && log->state != LOG_STATE_OPEN)
		return;
	log->agreed = agreed(log);
	if (log->agreed <= log->epoch_base.seq)
		return; /* the epoch's own first entry is not there yet */
	if (log->state == LOG_STATE_OPENING) {
		log->state = LOG_STATE_OPEN;
		log->patience_ms = 0;
		log->counters.epochs++;
	}
	log->progress_ms = log->now_ms;
	vouch(log);
	if (log->hole)
		return;
	commit_up_to(log, log->agreed);
	log_pending_send(log);
}

void log_acknowledge(struct log *log)
{
	struct log_message msg = { .type = LOG_MSG_ACK, .epoch = log->epoch };

	if (LOG_MUTANT(18) && !log->hole)
		log->durable = log->last;
	if ((log->state != LOG_STATE_OPENING && log->state != LOG_STATE_OPEN) || log->hole ||
	    log->durable.epoch != log->epoch || log->durable.seq <= log->acked_seq)
		return;
	log->acked_seq = log->durable.seq;
	msg.mark = log->durable;
	log_send(log, &msg);
}

void log_durable(struct log *log, uint64_t now_ms, uint64_t op)
{
	log->now_ms = now_ms;
	if (op > log->op)
		return;
	log->op_durable = op;
	if (log->durable.seq < log->base.seq && log->op_base <= op)
		log->durable = log->base;
	while (log->durable.seq < log->last.seq &&
	       log->op_of[(log->durable.seq + 1) % LOG_WINDOW] <= op) {
		struct log_entry *entry = log_entry_at(log, log->durable.seq + 1);

		if (!entry)
			break;
		log->durable = entry->mark;
	}
	log_sync_durable(log);
	log_acknowledge(log);
}

static void on_ack(struct log *log, const struct log_message *msg)
{
	struct log_peer *peer = &log->peers[msg->sender];
	struct log_mark mark;

	if (msg->epoch != log->epoch || msg->mark.seq > log->seen.seq)
		return;
	if (!log->hole && (log_mark_at(log, msg->mark.seq, &mark) == 0) &&
	    !log_mark_equal(&mark, &msg->mark)) {
		log->counters.diverged++;
		return;
	}
	if (msg->mark.seq <= peer->acked)
		return;
	peer->acked = msg->mark.seq;
	log_advance(log);
}

/* ---- proposals ------------------------------------------------------------------------------ */

int log_propose(struct log *log, uint64_t now_ms, uint64_t cookie, uint8_t voter_add,
		const void *bytes, size_t len_bytes)
{
	struct log_pending *p;

	log->now_ms = now_ms;
	if (len_bytes > LOG_ENTRY_MAX)
		return -EMSGSIZE;
	if (log->pending_count >= LOG_PENDING_MAX)
		return -EAGAIN;
	p = &log->pending[log->pending_count++];
	p->sent = p->accepted = false;
	p->cookie = cookie;
	p->seq = 0;
	p->voter_add = voter_add;
	p->len_bytes = (uint32_t)len_bytes;
	memcpy(p->bytes, bytes, len_bytes);
	log_pending_send(log);
	return 0;
}

void log_withdraw(struct log *log, uint64_t cookie)
{
	uint32_t i;

	for (i = 0; i < log->pending_count; i++) {
		if (log->pending[i].cookie == cookie && !log->pending[i].accepted) {
			pending_remove(log, i);
			return;
		}
	}
}

void log_pending_send(struct log *log)
{
	uint32_t i, flying = 0;

	if (!log_is_open(log))
		return;
	for (i = 0; i < log->pending_count && flying < LOG_UNCOMMITTED / 4; i++) {
		struct log_pending *p = &log->pending[i];
		struct log_message msg = { .type = LOG_MSG_PROPOSE, .epoch = log->epoch };

		flying++;
		if (p->sent || p->accepted)
			continue;
		p->sent = true;
		msg.cookie = p->cookie;
		msg.voter_add = p->voter_add;
		msg.data = p->bytes;
		msg.len_bytes = p->len_bytes;
		log_send(log, &msg);
	}
}

static struct log_pending *pending_find(struct log *log, uint64_t cookie)
{
	uint32_t i;

	for (i = 0; i < log->pending_count; i++)
		if (log->pending[i].cookie == cookie)
			return &log->pending[i];
	return NULL;
}

/*
 * A proposal is delivered.  Every member, in step or not, comes to the same answer: epoch,
 * state, seen, agreed and seen_voters_seq change only with deliveries.
 */
static void on_propose(struct log *log, const struct log_message *msg)
{
	struct log_pending *p = msg->sender == log->self ? pending_find(log, msg->cookie) : NULL;
	struct log_entry *entry;
	bool ok = log->state == LOG_STATE_OPEN && msg->epoch == log->epoch &&
		  log->seen.seq - log->agreed < LOG_UNCOMMITTED &&
		  (!msg->voter_add || log->seen_voters_seq <= log->agreed);

	if (!ok) {
		/* Goes again with the timer.  One of an older epoch was dealt with when that ended. */
		if (p && msg->epoch == log->epoch) {
			log->counters.refused++;
			p->sent = false;
		}
		return;
	}
	log->seen.epoch = log->epoch;
	log->seen.seq++;
	if (log->hole && log->wanted && log->seen.seq - log->base.seq >= LOG_WINDOW) {
		/* Too far behind to keep what comes: the timer asks again from where we are. */
		log->wanted = false;
		log->ahead_first = 0;
	}
	/* What is not kept goes into a spare slot: the chain must go on, to check what follows. */
	entry = log->hole && !log->wanted ? &log->spare :
					    &log->window[log->seen.seq % LOG_WINDOW];
	entry->mark = log->seen;
	entry->kind = LOG_ENTRY_DATA;
	entry->origin = msg->sender;
	entry->voter_add = msg->voter_add;
	entry->cookie = msg->cookie;
	entry->len_bytes = (uint32_t)msg->len_bytes;
	memcpy(entry->bytes, msg->data, msg->len_bytes);
	entry->mark.hash = log_entry_hash(log->seen.hash, entry);
	log->seen.hash = entry->mark.hash;
	if (msg->voter_add) {
		log->seen_voters |= LOG_NODE_BIT(msg->voter_add);
		log->seen_voters_seq = log->seen.seq;
	}
	if (p) {
		p->accepted = true;
		p->sent = false;
		p->seq = log->seen.seq;
	}
	if (LOG_MUTANT(16))
		log->agreed = log->seen.seq;
	if (!log->hole)
		log_append(log, entry);
	else if (log->wanted && !log->ahead_first)
		log->ahead_first = log->seen.seq;
}

/* ---- events --------------------------------------------------------------------------------- */

int log_message(struct log *log, uint64_t now_ms, uint8_t node, const void *data, size_t len_bytes)
{
	struct log_message msg;

	log->now_ms = now_ms;
	log->counters.messages++;
	if (log_message_decode(&msg, data, len_bytes) || msg.sender != node) {
		log->counters.malformed++;
		return -EBADMSG;
	}
	if (log->halted || !(log->members & LOG_NODE_BIT(node)))
		return 0;
	/*
	 * While we wait for a SYNC the traffic of an epoch is no progress: it may be one that the
	 * others opened without us, because their SYNC came before our first configuration.
	 */
	if (msg.type >= LOG_MSG_ACK && log->state != LOG_STATE_SYNC)
		log->progress_ms = now_ms;
	switch (msg.type) {
	case LOG_MSG_SYNC:
		log_on_sync(log, &msg);
		break;
	case LOG_MSG_STATUS:
		log_on_status(log, &msg);
		break;
	case LOG_MSG_EPOCH:
		log_on_epoch(log, &msg);
		break;
	case LOG_MSG_PROPOSE:
		on_propose(log, &msg);
		break;
	case LOG_MSG_ACK:
		if (log->state == LOG_STATE_OPENING || log->state == LOG_STATE_OPEN)
			on_ack(log, &msg);
		break;
	case LOG_MSG_WANT:
		log_on_want(log, &msg);
		break;
	case LOG_MSG_TAIL:
		log_on_tail(log, &msg);
		break;
	case LOG_MSG_SNAPSHOT:
		log_on_snapshot(log, &msg);
		break;
	}
	return 0;
}

void log_timer(struct log *log, uint64_t now_ms)
{
	log->now_ms = now_ms;
	if (log->halted)
		return;
	if (LOG_MUTANT(34) && log->pending_count)
		log->pending[0].sent = log->pending[0].accepted = false;
	log_sync_timer(log);
	log_transfer_timer(log);
	log_pending_send(log);
}
