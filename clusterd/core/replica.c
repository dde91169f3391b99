/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log and core put together.
 *
 * Decides: when this node proposes what (its HELLO, results, ticks and membership where it is the lowest member
 * that speaks).  The effects that it carries out are in issue.c, what it does about its own VMs in local.c, who is
 * heard in beat.c.  Everything that all nodes must agree on is in core_apply().
 *
 * An effect is carried out only while the log is open here, after our HELLO
 * of this process is committed: a restarted or cut-off clusterd acts on nothing old.
 */
#include "clusterd/core/replica.h"

#include <errno.h>
#include <string.h>

#include "clusterd/core/internal.h"
#include "clusterd/core/replica_int.h"

void replica_emit(struct replica *r, const struct replica_out *out)
{
	r->sink(r->sink_arg, out);
}

void replica_emit_local(struct replica *r, const struct replica_local *local)
{
	struct replica_out out = { .kind = REPLICA_LOCAL, .local = local };

	replica_emit(r, &out);
}

static void emit_local(struct replica *r, enum replica_local_kind kind, const char *why)
{
	struct replica_local local = { .kind = kind, .volume = CORE_NONE, .why = why };

	replica_emit_local(r, &local);
}

static void emit_answer(struct replica *r, uint64_t cookie, const struct core_answer *answer)
{
	struct replica_out out = { .kind = REPLICA_ANSWER, .cookie = cookie, .answer = answer };

	replica_emit(r, &out);
}

/* ---- from the log --------------------------------------------------------------------------- */

static struct replica_client *client_find(struct replica *r, uint64_t log_cookie)
{
	uint16_t i;

	for (i = 0; i < LOG_PENDING_MAX; i++)
		if (log_cookie && r->clients[i].log_cookie == log_cookie)
			return &r->clients[i];
	return NULL;
}

/* An own proposal has met its fate: committed, or nobody knows (lost). */
static void proposal_over(struct replica *r, uint64_t cookie, bool lost)
{
	uint16_t i;

	if (r->tick_cookie == cookie)
		r->tick_cookie = 0;
	if (r->members_cookie == cookie)
		r->members_cookie = 0;
	if (r->vote_cookie == cookie)
		r->vote_cookie = 0;
	if (r->hello_cookie == cookie) {
		r->hello_cookie = 0;
		r->hello_stale = false;
		r->hello_have = r->hello_asked = false;
	}
	for (i = 0; i < REPLICA_NOTES_MAX; i++) {
		if (!r->notes[i].used || r->notes[i].cookie != cookie)
			continue;
		r->notes[i].cookie = 0;
		r->notes[i].used = lost;
	}
	for (i = 0; i < r->issue_count; i++)
		if (r->issues[i].cookie == cookie)
			r->issues[i].cookie = 0; /* asked again if the effect still stands */
}

static void on_commit(struct replica *r, const struct log_entry *entry)
{
	struct core_answer answer;
	struct replica_client *client;

	core_apply(&r->st, entry->mark.seq, entry->bytes, entry->len_bytes, &r->scratch, &answer);
	if (entry->origin != r->self || !r->started)
		return;
	if (r->hello_cookie == entry->cookie && r->st.nodes[r->self].seen && !r->hello_stale)
		r->hello_done = true;
	proposal_over(r, entry->cookie, false);
	client = client_find(r, entry->cookie);
	if (client) {
		client->log_cookie = 0;
		emit_answer(r, client->cookie, &answer);
	}
}

static void on_lost(struct replica *r, uint64_t cookie)
{
	struct replica_client *client = client_find(r, cookie);
	struct core_answer answer = { .err = -EINPROGRESS };

	proposal_over(r, cookie, true);
	if (!client)
		return;
	client->log_cookie = 0;
	core_str_copy(answer.text, sizeof(answer.text),
		      "this node was cut off meanwhile: whether it was done is not known; look");
	emit_answer(r, client->cookie, &answer);
}

static void on_log(void *arg, const struct log_out *lo)
{
	struct replica *r = arg;
	struct replica_out out = { .log = lo, .data = lo->data, .len_bytes = lo->len_bytes };
	long len;

	switch (lo->kind) {
	case LOG_OUT_MULTICAST:
		out.kind = REPLICA_MULTICAST;
		replica_emit(r, &out);
		break;
	case LOG_OUT_STORE:
		out.kind = REPLICA_STORE;
		replica_emit(r, &out);
		break;
	case LOG_OUT_COMMIT:
		on_commit(r, lo->entry);
		break;
	case LOG_OUT_SNAPSHOT_TAKE:
		len = core_snapshot_encode(&r->st, r->snapshot, sizeof(r->snapshot));
		if (len > 0)
			log_snapshot_give(&r->log, r->snapshot, (size_t)len);
		break;
	case LOG_OUT_INSTALL:
		if (core_snapshot_decode(&r->st, lo->data, lo->len_bytes)) {
			r->damaged = true;
			r->log.halted = true;
		}
		r->traced = r->st.trace_total;
		break;
	case LOG_OUT_LOST:
		on_lost(r, lo->cookie);
		break;
	}
}

/* ---- proposing ------------------------------------------------------------------------------ */

uint64_t replica_propose(struct replica *r, struct core_command *cmd, uint8_t voter_add)
{
	uint8_t bytes[LOG_ENTRY_MAX];
	uint64_t cookie = r->next_cookie;
	long len;

	cmd->wall_ms = r->wall_ms;
	len = core_command_encode(cmd, bytes, sizeof(bytes));
	if (len < 0 || log_propose(&r->log, r->now_ms, cookie, voter_add, bytes, (size_t)len))
		return 0;
	r->next_cookie++;
	return cookie;
}

/* One command at a time, cleared but for its report. */
struct core_command *replica_fresh(struct replica *r)
{
	memset(&r->scratch, 0, offsetof(struct core_command, report));
	return &r->scratch;
}

static bool lowest(const struct replica *r)
{
	return r->present && r->self == (uint8_t)(__builtin_ctz(r->present) + 1);
}

static void withdraw(struct replica *r, uint64_t *cookie)
{
	if (*cookie)
		log_withdraw(&r->log, *cookie);
	*cookie = 0;
}

static void drive_members(struct replica *r)
{
	core_nodes alive = (core_nodes)(r->alive | r->members);
	struct core_command *cmd;

	if (!lowest(r) || r->members_cookie || (r->st.members == r->present && r->st.alive == alive))
		return;
	cmd = replica_fresh(r);
	cmd->kind = CORE_CMD_MEMBERS;
	cmd->members = r->present;
	cmd->alive = alive;
	r->members_cookie = replica_propose(r, cmd, 0);
}

static void drive_votes(struct replica *r)
{
	uint8_t id;

	if (!lowest(r) || r->vote_cookie)
		return;
	for (id = 1; id <= CL_NODES_MAX; id++) {
		const struct core_node *n = &r->st.nodes[id];
		struct core_command *cmd;

		if (n->state == CORE_NODE_UNUSED || n->voter || !n->seen ||
		    !(r->present & CORE_NODE_BIT(id)))
			continue;
		cmd = replica_fresh(r);
		cmd->kind = CORE_CMD_VOTE;
		cmd->node = id;
		r->vote_cookie = replica_propose(r, cmd, id);
		return;
	}
}

static void drive_ticks(struct replica *r)
{
	uint64_t now_ms = CORE_MUTANT(29) ? r->wall_ms : r->now_ms; /* planted: the clock that people set */
	struct core_command *cmd;

	if (r->tick_base_seq < r->st.tick_seq || r->tick_base_seq < r->st.fast_seq ||
	    !r->st.tick_ms || !r->tick_armed) {
		r->tick_armed = r->st.tick_ms != 0;
		r->tick_base_ms = now_ms;
		r->tick_base_seq = r->st.applied_seq;
		return;
	}
	if (!lowest(r) || r->tick_cookie || now_ms - r->tick_base_ms < r->st.tick_ms)
		return;
	cmd = replica_fresh(r);
	cmd->kind = CORE_CMD_TICK;
	cmd->delta_ms = (uint32_t)(now_ms - r->tick_base_ms);
	cmd->seen_seq = r->tick_base_seq;
	r->tick_cookie = replica_propose(r, cmd, 0);
}

static void drive_hello(struct replica *r)
{
	if (!r->st.nodes[r->self].seen && !r->hello_cookie)
		r->hello_done = false;
	/* The others wait to hear that this node goes by the new deadline. */
	if (r->hello_done && r->hello_seq < r->st.timing_seq && !r->hello_cookie)
		r->hello_done = r->hello_have = r->hello_asked = false;
	if (r->hello_done || r->hello_cookie || r->st.nodes[r->self].state == CORE_NODE_UNUSED ||
	    !(r->st.members & CORE_NODE_BIT(r->self)))
		return;
	if (r->hello_have) {
		uint64_t cookie = r->next_cookie;

		if (log_propose(&r->log, r->now_ms, cookie, 0, r->hello, r->hello_len) == 0) {
			r->hello_cookie = cookie;
			r->next_cookie++;
		}
		return;
	}
	if (r->hello_asked && r->now_ms - r->hello_asked_ms < REPLICA_AGAIN_MS)
		return;
	r->hello_asked = true;
	r->hello_asked_ms = r->now_ms;
	r->hello_seq = r->st.applied_seq;
	emit_local(r, REPLICA_LIST, "the cluster asks what runs here");
}

void replica_hello(struct replica *r, uint64_t now_ms, const struct core_seen *seen, uint16_t count,
		   uint32_t memory_mib, uint16_t cpus, uint64_t csvd)
{
	struct core_command *cmd = replica_fresh(r);
	uint16_t i;
	long len;

	r->now_ms = now_ms;
	if (!r->hello_asked || r->hello_cookie || count > CORE_REPORT_MAX)
		return;
	cmd->kind = CORE_CMD_HELLO;
	cmd->node = r->self;
	memcpy(cmd->uuid, r->boot_id, sizeof(cmd->uuid));
	cmd->memory_mib = memory_mib;
	cmd->cpus = cpus;
	cmd->csvd = csvd;
	cmd->level = CORE_LEVEL;
	cmd->seen_seq = r->hello_seq;
	cmd->wall_ms = r->wall_ms;
	cmd->report_count = count;
	for (i = 0; i < count; i++) {
		cmd->report[i] = seen[i];
		cmd->report[i].name_hash = core_name_hash(seen[i].name);
	}
	len = core_command_encode(cmd, r->hello, sizeof(r->hello));
	if (len <= 0)
		return;
	r->hello_len = (uint32_t)len;
	r->hello_have = true;
}

static void drive_notes(struct replica *r)
{
	uint16_t i;

	for (i = 0; i < REPLICA_NOTES_MAX; i++) {
		struct replica_note *note = &r->notes[i];

		if (!note->used || note->cookie)
			continue;
		if (log_propose(&r->log, r->now_ms, r->next_cookie, 0, note->bytes, note->len_bytes))
			return;
		note->cookie = r->next_cookie++;
	}
}

static void note_add(struct replica *r, struct core_command *cmd)
{
	uint16_t i;
	long len;

	for (i = 0; i < REPLICA_NOTES_MAX; i++) {
		struct replica_note *note = &r->notes[i];

		if (note->used)
			continue;
		cmd->wall_ms = r->wall_ms;
		len = core_command_encode(cmd, note->bytes, sizeof(note->bytes));
		if (len <= 0)
			return;
		note->len_bytes = (uint32_t)len;
		note->cookie = 0;
		note->used = true;
		return;
	}
	/* Full: the next HELLO's report tells it all. */
	r->hello_done = r->hello_have = r->hello_asked = false;
}

/* ---- this node alone ------------------------------------------------------------------------ */

static void volumes_tell(struct replica *r)
{
	uint16_t i;

	for (i = 0; i < CORE_VOLUMES_MAX; i++) {
		const struct core_volume *v = &r->st.volumes[i];
		struct replica_local local = { .kind = REPLICA_VOLUME_OWNER, .volume = i };
		struct replica_out out = { .kind = REPLICA_LOCAL, .local = &local };
		uint8_t owner;

		if (i >= r->st.volume_count || v->state == CORE_VOLUME_UNUSED ||
		    !(v->attached & CORE_NODE_BIT(r->self))) {
			r->told[i] = false;
			continue;
		}
		owner = v->state == CORE_VOLUME_ACTIVE ? v->owner : 0;
		if (r->told[i] && r->told_owner[i] == owner && r->told_term[i] == v->term)
			continue;
		r->told[i] = true;
		r->told_owner[i] = owner;
		r->told_term[i] = v->term;
		local.owner = owner;
		local.term = v->term;
		local.why = owner ? "the volume has an owner" : "the volume has no owner now";
		replica_emit(r, &out);
	}
}

static void nodes_tell(struct replica *r)
{
	uint64_t digest = 1;
	uint8_t id;

	if (r->told_nodes && r->told_nodes_seq == r->st.applied_seq)
		return;
	r->told_nodes_seq = r->st.applied_seq;
	for (id = 1; id <= CL_NODES_MAX; id++) {
		const struct core_node *n = &r->st.nodes[id];

		if (n->state == CORE_NODE_UNUSED)
			continue;
		digest = cl_hash64(digest, &n->id, 1);
		digest = cl_hash64(digest, n->name, strlen(n->name));
		digest = cl_hash64(digest, n->address, strlen(n->address));
	}
	digest = cl_hash64(digest, &r->st.level, sizeof(r->st.level));
	if (digest == r->told_nodes)
		return;
	r->told_nodes = digest;
	emit_local(r, REPLICA_CONFIGURE, "the nodes changed");
}

void replica_hello_anew(struct replica *r)
{
	if (CORE_MUTANT(32))
		return;
	r->hello_done = r->hello_have = r->hello_asked = false;
	r->hello_stale = r->hello_cookie != 0;
}

static void traces_emit(struct replica *r)
{
	if (r->st.trace_total - r->traced > CORE_TRACE_MAX)
		r->traced = r->st.trace_total - CORE_TRACE_MAX;
	while (r->traced < r->st.trace_total) {
		uint64_t back = r->st.trace_total - r->traced;
		struct replica_out out = { .kind = REPLICA_TRACE };

		out.trace = &r->st.trace[(r->st.trace_next + CORE_TRACE_MAX - back) % CORE_TRACE_MAX];
		r->traced++;
		replica_emit(r, &out);
	}
}

/* After every event: whatever has become possible. */
static void drive(struct replica *r)
{
	struct replica_out changed = { .kind = REPLICA_CHANGED };

	bool cut = replica_is_cut(r);
	core_nodes present = replica_beat_present(r);

	if (!r->started)
		return;
	if (present != r->present)
		withdraw(r, &r->members_cookie);
	r->present = present;
	if (cut && !r->cut)
		r->cut_since_ms = r->now_ms;
	r->cut = cut;
	r->safe = !cut && log_has_majority(&r->log, r->members);
	traces_emit(r);
	if (r->changed_seq != r->st.applied_seq) {
		r->changed_seq = r->st.applied_seq;
		replica_emit(r, &changed);
	}
	nodes_tell(r);
	replica_local_rules(r);
	if (!log_is_open(&r->log) || !r->safe)
		return;
	replica_issues_forget(r);
	drive_members(r);
	drive_votes(r);
	drive_ticks(r);
	drive_hello(r);
	drive_notes(r);
	if (r->hello_done && (r->st.members & CORE_NODE_BIT(r->self))) {
		volumes_tell(r);
		replica_effects_issue(r);
	}
	replica_results_propose(r);
}

/* ---- life and events ------------------------------------------------------------------------ */

void replica_init(struct replica *r, uint8_t self, const uint8_t boot_id[CL_UUID_BYTES],
		  uint64_t instance, replica_sink sink, void *sink_arg)
{
	memset(r, 0, offsetof(struct replica, issues));
	memset(r->notes, 0, sizeof(r->notes));
	r->sink = sink;
	r->sink_arg = sink_arg;
	r->self = self;
	memcpy(r->boot_id, boot_id, sizeof(r->boot_id));
	r->next_cookie = instance | 1;
	r->beat_number = cl_hash64(instance, r->boot_id, sizeof(r->boot_id));
	core_state_init(&r->st);
	log_init(&r->log, self, instance, on_log, r);
}

int replica_restore_promise(struct replica *r, uint64_t epoch, const void *data, size_t len_bytes)
{
	return log_restore_promise(&r->log, epoch, data, len_bytes);
}

int replica_restore_snapshot(struct replica *r, struct log_mark mark, log_nodes voters,
			     const void *data, size_t len_bytes)
{
	int err = log_restore_snapshot(&r->log, mark, voters, data, len_bytes);

	return err ? err : r->damaged ? -EBADMSG : 0;
}

int replica_restore_entry(struct replica *r, const struct log_entry *entry)
{
	return log_restore_entry(&r->log, entry);
}

int replica_start(struct replica *r, uint64_t now_ms, uint64_t commit_hint)
{
	int err = log_restore_done(&r->log, commit_hint);

	if (err)
		return err;
	r->now_ms = now_ms;
	r->cut = true;
	r->cut_since_ms = now_ms;
	r->traced = r->st.trace_total;
	r->started = true;
	return 0;
}

int replica_bootstrap(struct replica *r, const struct core_command *cmd)
{
	uint8_t bytes[LOG_ENTRY_MAX];
	long len = core_command_encode(cmd, bytes, sizeof(bytes));

	if (len < 0 || cmd->kind != CORE_CMD_INIT || cmd->node != r->self)
		return -EINVAL;
	return log_bootstrap(&r->log, bytes, (size_t)len);
}

void replica_config(struct replica *r, uint64_t now_ms, core_nodes members, core_nodes alive,
		    bool quorate)
{
	r->now_ms = now_ms;
	if (members != r->members) {
		/* What was measured or seen under the old configuration is not said under the new. */
		withdraw(r, &r->members_cookie);
		withdraw(r, &r->tick_cookie);
		r->tick_armed = false;
		replica_beat_config(r, members);
	}
	r->members = members;
	r->alive = alive;
	r->quorate = quorate;
	log_config(&r->log, now_ms, members, quorate);
	drive(r);
}

int replica_message(struct replica *r, uint64_t now_ms, uint8_t node, const void *data,
		    size_t len_bytes)
{
	int err;

	r->now_ms = now_ms;
	if (node >= 1 && node <= CL_NODES_MAX)
		r->heard_ms[node] = now_ms;
	if (!replica_beat_is(data, len_bytes)) {
		err = log_message(&r->log, now_ms, node, data, len_bytes);
	} else {
		err = replica_beat_take(r, node, data, len_bytes);
		if (err == -EBADMSG)
			r->log.counters.malformed++;
	}
	drive(r);
	return err;
}

void replica_durable(struct replica *r, uint64_t now_ms, uint64_t op)
{
	r->now_ms = now_ms;
	log_durable(&r->log, now_ms, op);
	drive(r);
}

void replica_timer(struct replica *r, uint64_t now_ms, uint64_t wall_ms)
{
	r->now_ms = now_ms;
	r->wall_ms = wall_ms;
	log_timer(&r->log, now_ms);
	if (r->started)
		replica_beat_timer(r);
	drive(r);
}

void replica_vm_exit(struct replica *r, uint64_t now_ms, const char *name, uint64_t generation,
		     enum core_exit exit, const char *text)
{
	struct core_command *cmd = replica_fresh(r);

	r->now_ms = now_ms;
	cmd->kind = CORE_CMD_VM_EXIT;
	cmd->node = r->self;
	cmd->incarnation = r->st.nodes[r->self].incarnation;
	cmd->generation = generation;
	cmd->exit = (uint8_t)exit;
	if (r->st.level >= CORE_LEVEL_CAUSES)
		core_str_copy(cmd->text, CORE_CAUSE_MAX, text);
	core_str_copy(cmd->name, sizeof(cmd->name), name);
	note_add(r, cmd);
	if (log_is_open(&r->log))
		drive_notes(r);
}

void replica_vm_trouble(struct replica *r, uint64_t now_ms, const char *name, uint64_t generation,
			enum core_trouble trouble, const char *text)
{
	struct core_command *cmd = replica_fresh(r);

	r->now_ms = now_ms;
	if (r->st.level < CORE_LEVEL_CAUSES)
		return;
	cmd->kind = CORE_CMD_VM_TROUBLE;
	cmd->node = r->self;
	cmd->incarnation = r->st.nodes[r->self].incarnation;
	cmd->generation = generation;
	cmd->trouble = (uint8_t)trouble;
	core_str_copy(cmd->name, sizeof(cmd->name), name);
	core_str_copy(cmd->text, CORE_CAUSE_MAX, text);
	note_add(r, cmd);
	if (log_is_open(&r->log))
		drive_notes(r);
}

void replica_key_lost(struct replica *r, uint64_t now_ms, const char *volume)
{
	struct core_command *cmd = replica_fresh(r);

	r->now_ms = now_ms;
	replica_freeze(r, "this node's registration or the reservation is gone");
	cmd->kind = CORE_CMD_KEY_LOST;
	cmd->node = r->self;
	cmd->incarnation = r->st.nodes[r->self].incarnation;
	core_str_copy(cmd->name, sizeof(cmd->name), volume);
	note_add(r, cmd);
	if (log_is_open(&r->log))
		drive_notes(r);
}

/* What the log says of it is not what the node sees. */
static void storage_say(struct replica *r, const char *volume, bool mute)
{
	struct core_command *cmd;
	const struct core_volume *v;
	uint16_t index;

	v = core_volume_find(&r->st, volume, &index);
	if (!v || r->st.level < CORE_LEVEL_STORAGE ||
	    !((v->attached | v->registered) & CORE_NODE_BIT(r->self)) ||
	    !!(v->mute & CORE_NODE_BIT(r->self)) == mute || !log_is_open(&r->log) ||
	    (r->storage_ms[index] && r->now_ms - r->storage_ms[index] < REPLICA_AGAIN_MS))
		return;
	r->storage_ms[index] = r->now_ms;
	cmd = replica_fresh(r);
	cmd->kind = CORE_CMD_STORAGE;
	cmd->node = r->self;
	cmd->incarnation = r->st.nodes[r->self].incarnation;
	cmd->force = mute;
	core_str_copy(cmd->name, sizeof(cmd->name), volume);
	note_add(r, cmd);
	drive_notes(r);
}

void replica_key_seen(struct replica *r, uint64_t now_ms, const char *volume, uint64_t looked_ms)
{
	uint16_t index;

	r->now_ms = now_ms;
	if (core_volume_find(&r->st, volume, &index) && looked_ms > r->key_seen_ms[index])
		r->key_seen_ms[index] = looked_ms;
	storage_say(r, volume, false);
}

void replica_storage_mute(struct replica *r, uint64_t now_ms, const char *volume, uint64_t for_ms)
{
	r->now_ms = now_ms;
	if (for_ms >= r->st.settings.storage_ms)
		storage_say(r, volume, true);
}

void replica_csvd_lost(struct replica *r, uint64_t now_ms)
{
	struct core_command *cmd = replica_fresh(r);

	r->now_ms = now_ms;
	memset(r->told, 0, sizeof(r->told));
	r->told_nodes = 0;
	cmd->kind = CORE_CMD_CSVD_LOST;
	cmd->node = r->self;
	cmd->incarnation = r->st.nodes[r->self].incarnation;
	note_add(r, cmd);
	if (log_is_open(&r->log))
		drive_notes(r);
}

int replica_command(struct replica *r, uint64_t now_ms, uint64_t cookie,
		    const struct core_command *cmd)
{
	struct replica_client *client = NULL;
	uint8_t bytes[LOG_ENTRY_MAX];
	uint16_t i;
	long len;
	int err;

	r->now_ms = now_ms;
	if (cmd->kind == 0 || cmd->kind > CORE_CMD_LAST)
		return -EINVAL;
	for (i = 0; i < LOG_PENDING_MAX && !client; i++)
		if (!r->clients[i].log_cookie)
			client = &r->clients[i];
	if (!client)
		return -EAGAIN;
	memcpy(&r->scratch, cmd, offsetof(struct core_command, report));
	r->scratch.wall_ms = r->wall_ms;
	len = core_command_encode(&r->scratch, bytes, sizeof(bytes));
	if (len < 0)
		return -EMSGSIZE;
	client->log_cookie = r->next_cookie;
	client->cookie = cookie;
	err = log_propose(&r->log, now_ms, r->next_cookie, 0, bytes, (size_t)len);
	if (err) {
		client->log_cookie = 0;
		return err;
	}
	r->next_cookie++;
	return 0;
}

void replica_withdraw(struct replica *r, uint64_t cookie)
{
	uint16_t i;

	for (i = 0; i < LOG_PENDING_MAX; i++) {
		if (!r->clients[i].log_cookie || r->clients[i].cookie != cookie)
			continue;
		log_withdraw(&r->log, r->clients[i].log_cookie);
		r->clients[i].log_cookie = 0;
	}
}
