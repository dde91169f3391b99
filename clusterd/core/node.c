/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes: who is a member, who is lost, and what proves it.
 *
 * An *incarnation* is what a node is from its admission until a proof says that it
 * can neither write nor run any more.  It is given up (doomed) when corosync loses
 * the node, when its clusterd stays silent too long or when its own key is gone; from then on the
 * only ways are PREEMPT AND ABORT answered GOOD for a key that was present on each
 * LUN, the node's own reboot, its own word that it has stopped everything, or an operator's word.
 * Unknown outcomes and missing keys are no proof.
 *
 * core_node_over() is the one place where what an incarnation held becomes free.
 */
#include "clusterd/core/internal.h"

#include <errno.h>
#include <string.h>

void core_node_set(struct core_state *st, struct core_node *n, uint8_t state, enum core_reason why,
		   uint8_t node, uint64_t n1, uint64_t n2)
{
	if (n->state == state && n->cause.reason == why)
		return;
	core_trace_add(st, CORE_OBJECT_NODE, n->name, n->state, state, why, node, n1, n2);
	if (n->state != state)
		n->since_ms = st->now_ms;
	n->state = state;
	n->cause = core_cause(why, node, n1, n2);
	core_cause_tell(st, &n->cause);
}

/* ---- quarantine: a node that is lost again and again does more harm than good ---------------- */

static bool loss_counts(const struct core_state *st, uint64_t lost_ms)
{
	return st->now_ms - lost_ms < (uint64_t)st->quarantine.period_s * 1000;
}

static unsigned losses_recent(const struct core_state *st, const struct core_node *n)
{
	unsigned count = 0;
	uint8_t i;

	for (i = 0; i < n->losses; i++)
		count += loss_counts(st, n->lost_ms[i]);
	return count;
}

static void loss_note(struct core_state *st, struct core_node *n)
{
	if (n->losses == CORE_LOSSES_MAX) {
		memmove(n->lost_ms, n->lost_ms + 1, sizeof(n->lost_ms) - sizeof(n->lost_ms[0]));
		n->losses--;
	}
	n->lost_ms[n->losses++] = st->now_ms;
}

/*
 * Never the last one: another node must be up.  And never many at once (a quarter of the nodes, at
 * least one): when all of them flap, the fault is not theirs.
 */
static bool quarantine_due(const struct core_state *st, const struct core_node *n)
{
	unsigned nodes = 0, out = 0;
	bool other = false;
	uint8_t id;

	if (!st->quarantine.losses || st->level < CORE_LEVEL_QUARANTINE || CORE_MUTANT(51) ||
	    losses_recent(st, n) < st->quarantine.losses)
		return false;
	for (id = 1; id <= CL_NODES_MAX; id++) {
		nodes += st->nodes[id].state != CORE_NODE_UNUSED;
		out += st->nodes[id].state == CORE_NODE_QUARANTINED;
		other |= id != n->id && core_node_up(st, id);
	}
	return other && out < (nodes / 4 ? nodes / 4 : 1);
}

static bool quarantine_over(const struct core_state *st, const struct core_node *n)
{
	uint8_t id;

	if (st->now_ms >= n->quarantine_until_ms)
		return true;
	for (id = 1; id <= CL_NODES_MAX; id++)
		if (id != n->id &&
		    (core_node_ok(st, id) || st->nodes[id].state == CORE_NODE_JOINING ||
		     st->nodes[id].state == CORE_NODE_SILENT))
			return false;
	return true; /* better a node that flaps than none */
}

bool core_node_waits_long(const struct core_state *st, const struct core_node *n)
{
	return n->state != CORE_NODE_UNUSED &&
	       (n->state == CORE_NODE_QUARANTINED || losses_recent(st, n));
}

/* What was shortened counts only when the node has said that it goes by it. */
static uint64_t takeover_ms(const struct core_state *st, const struct core_node *n)
{
	return n->takeover_ms > st->timing.takeover_ms ? n->takeover_ms : st->timing.takeover_ms;
}

void core_node_timing_changed(struct core_state *st, uint32_t before_ms)
{
	uint8_t id;

	if (st->timing.takeover_ms == before_ms)
		return;
	st->timing_seq = st->applied_seq;
	for (id = 1; id <= CL_NODES_MAX; id++)
		if (st->nodes[id].takeover_ms < before_ms)
			st->nodes[id].takeover_ms = before_ms;
}

/* Given up: from here on only a proof helps. */
static void node_lost(struct core_state *st, struct core_node *n, enum core_reason why, uint64_t n1)
{
	uint16_t i;

	if (!n->pause)
		loss_note(st, n); /* a paused node is being worked on: that it goes away is no fault */
	n->doomed = true;
	n->seen = false;
	n->fence_tries = 0;
	n->retry_ms = 0;
	n->hold_until_ms = st->now_ms + takeover_ms(st, n);
	core_node_set(st, n, CORE_NODE_LOST, why, 0, n1, 0);
	for (i = 0; i < st->volume_count; i++)
		st->volumes[i].fenced &= (core_nodes)~CORE_NODE_BIT(n->id);
	for (i = 0; i < st->vm_count; i++)
		core_vm_node_lost(st, i, n->id);
}

void core_node_over(struct core_state *st, struct core_node *n, enum core_proof proof,
		    enum core_reason why, uint64_t n1, uint64_t n2)
{
	struct core_effect *fx;
	uint16_t i;

	if (n->over)
		return;
	n->over = true;
	n->doomed = true;
	n->proof = (uint8_t)proof;
	if (proof != CORE_PROOF_PR && proof != CORE_PROOF_OPERATOR)
		n->hold_until_ms = st->now_ms; /* nothing of it runs any more: no hold */
	else if (n->loose)
		n->hold_until_ms = st->now_ms + takeover_ms(st, n);
	if (CORE_MUTANT(6))
		n->hold_until_ms = st->now_ms;
	core_node_set(st, n, CORE_NODE_FENCED, why, n->fence_last, n1, n2);
	while ((fx = core_effect_find(st, 0, n->id, CORE_NONE, CORE_NONE)) != NULL)
		core_effect_drop(st, fx);
	for (i = 0; i < st->effect_count; i++)
		if (st->effects[i].kind == CORE_FX_FENCE && st->effects[i].peer == n->id)
			core_effect_drop(st, &st->effects[i]);
	for (i = 0; i < st->volume_count; i++)
		core_volume_node_over(st, i, n, proof);
	for (i = 0; i < st->vm_count; i++)
		core_vm_node_over(st, i, n);
	n->pr_key_old = n->pr_key;
}

/* A new incarnation: its key is registered, then its volumes are attached, then it is up. */
static void node_admit(struct core_state *st, struct core_node *n)
{
	n->incarnation = st->next_incarnation++;
	n->pr_key = core_pr_key(st, n->id, n->incarnation);
	n->doomed = n->reset = n->over = false;
	n->csvd = 0;
	n->loose |= st->disarmed;
	n->quarantine_until_ms = 0;
	n->fence_tries = 0;
	n->retry_ms = 0;
	n->hold_until_ms = 0;
	/* Asked of the boot before, and done by its end: now it would tear down what is being joined. */
	if (!CORE_MUTANT(54))
		core_effect_drop(st, core_effect_find(st, CORE_FX_NODE_RESET, n->id, CORE_NONE, CORE_NONE));
	core_node_set(st, n, CORE_NODE_JOINING, CORE_WHY_HELLO_NEW_BOOT, 0, n->incarnation, 0);
}

static uint8_t state_wanted(const struct core_node *n)
{
	if (n->pause && n->drain)
		return n->state == CORE_NODE_PAUSED ? CORE_NODE_PAUSED : CORE_NODE_DRAINING;
	return n->pause ? CORE_NODE_PAUSED : CORE_NODE_UP;
}

static void node_silent(struct core_state *st, struct core_node *n)
{
	n->hold_until_ms = st->now_ms + (CORE_MUTANT(33) ? 0 : st->timing.silent_ms);
	core_node_set(st, n, CORE_NODE_SILENT, CORE_WHY_DAEMON_GONE, 0, st->timing.silent_ms, 0);
}

/* corosync does not see it any more. */
static void node_gone(struct core_state *st, struct core_node *n)
{
	if (!st->disarmed) {
		node_lost(st, n, CORE_WHY_NODE_GONE, 0);
		return;
	}
	core_node_set(st, n, CORE_NODE_ISOLATED, CORE_WHY_ISOLATED, 0, 0, 0);
}

void core_node_members(struct core_state *st, core_nodes members, core_nodes alive)
{
	uint8_t id;

	/* Who collected it may be gone; who is there begins anew. */
	st->batch.id = 0;
	st->batch.len_bytes = 0;
	st->members = members;
	st->alive = alive | members;
	for (id = 1; id <= CL_NODES_MAX; id++) {
		struct core_node *n = &st->nodes[id];

		if (members & CORE_NODE_BIT(id))
			continue;
		n->seen = false;
		switch (n->state) {
		case CORE_NODE_JOINING:
		case CORE_NODE_UP:
		case CORE_NODE_DRAINING:
		case CORE_NODE_PAUSED:
			if (st->alive & CORE_NODE_BIT(id))
				node_silent(st, n);
			else
				node_gone(st, n);
			break;
		case CORE_NODE_SILENT:
			if (!(st->alive & CORE_NODE_BIT(id)))
				node_gone(st, n);
			break;
		case CORE_NODE_ISOLATED:
			if (st->alive & CORE_NODE_BIT(id))
				node_silent(st, n);
			break;
		}
	}
}

void core_node_hello(struct core_state *st, const struct core_command *cmd)
{
	struct core_node *n = &st->nodes[cmd->node];
	bool same = memcmp(n->boot_id, cmd->uuid, sizeof(n->boot_id)) == 0;

	if (n->state == CORE_NODE_UNUSED || !(st->members & CORE_NODE_BIT(cmd->node)))
		return;
	n->seen = true;
	n->memory_mib = cmd->memory_mib;
	n->cpus = cmd->cpus;
	n->level = cmd->level;
	if (cmd->seen_seq >= st->timing_seq) {
		n->takeover_ms = st->timing.takeover_ms;
		n->loose = st->disarmed;
	}
	if (!same) {
		memcpy(n->boot_id, cmd->uuid, sizeof(n->boot_id));
		if (n->state != CORE_NODE_NEW && !n->over)
			core_node_over(st, n, CORE_PROOF_REBOOT, CORE_WHY_PROOF_REBOOT,
				       n->incarnation, 0);
		/* A fresh boot runs nothing of ours; if it says it does, it has to stop that first. */
		n->over = true;
		n->doomed = true;
		n->reset = cmd->report_count != 0;
		return;
	}
	if (n->doomed) {
		n->reset = true;
		core_node_set(st, n, n->state, CORE_WHY_HELLO_DOOMED, 0, n->incarnation, 0);
		return;
	}
	if (n->state == CORE_NODE_SILENT)
		n->hold_until_ms = 0;
	if (n->state == CORE_NODE_SILENT || n->state == CORE_NODE_ISOLATED ||
	    n->state == CORE_NODE_JOINING) {
		/* JOINING again: VOL_JOINs that are out are simply asked again. */
		core_node_set(st, n, CORE_NODE_JOINING, CORE_WHY_HELLO_SAME_BOOT, 0,
			      n->incarnation, 0);
	}
	core_node_csvd_is(st, n, cmd->csvd);
	core_vm_reported(st, n->id, cmd);
}

void core_node_give_up(struct core_state *st, struct core_node *n, enum core_reason why,
		       uint64_t n1)
{
	node_lost(st, n, why, n1);
	n->seen = (st->members & CORE_NODE_BIT(n->id)) != 0;
	n->reset = true;
}

void core_node_key_lost(struct core_state *st, const struct core_command *cmd)
{
	struct core_node *n = &st->nodes[cmd->node];

	if (n->state == CORE_NODE_UNUSED || n->incarnation != cmd->incarnation || n->doomed)
		return;
	core_node_give_up(st, n, CORE_WHY_KEY_LOST, 0);
}

static void csvd_gone(struct core_state *st, struct core_node *n)
{
	uint16_t i;

	n->csvd = 0;
	core_trace_add(st, CORE_OBJECT_NODE, n->name, n->state, n->state, CORE_WHY_CSVD_LOST, n->id,
		       0, 0);
	for (i = 0; i < st->volume_count; i++) {
		struct core_volume *v = &st->volumes[i];

		if (v->state == CORE_VOLUME_UNUSED)
			continue;
		v->attached &= (core_nodes)~CORE_NODE_BIT(n->id);
		/* An answer of the csvd that died says nothing of the one that runs now. */
		core_effect_drop(st, core_effect_find(st, CORE_FX_VOL_JOIN, n->id, i, CORE_NONE));
		if (v->owner != n->id)
			continue;
		core_effect_drop(st, core_effect_find(st, CORE_FX_VOL_OWN, n->id, i, CORE_NONE));
		core_effect_drop(st, core_effect_find(st, CORE_FX_VOL_RELEASE, n->id, i, CORE_NONE));
		/* Released for form's sake: an own that is still on its way must come to nothing. */
		v->undo = true;
		v->retry_ms = 0;
		core_volume_set(st, v, CORE_VOLUME_RELEASING, CORE_WHY_CSVD_LOST, n->id, 0, 0);
	}
}

void core_node_csvd_lost(struct core_state *st, const struct core_command *cmd)
{
	struct core_node *n = &st->nodes[cmd->node];

	/* Also of one that is silent or isolated: it says so before it says that it is back. */
	if (n->state == CORE_NODE_UNUSED || n->doomed || n->incarnation != cmd->incarnation)
		return;
	csvd_gone(st, n);
}

void core_node_csvd_is(struct core_state *st, struct core_node *n, uint64_t instance)
{
	if (!instance || instance == n->csvd)
		return;
	/* The one before died, and so did the clusterd that saw it, before it could say so. */
	if (n->csvd && !CORE_MUTANT(55))
		csvd_gone(st, n);
	n->csvd = instance;
}

/* ---- fencing -------------------------------------------------------------------------------- */

/* True if the incarnation was given something that could write or run. */
static bool node_held(const struct core_state *st, const struct core_node *n)
{
	uint16_t i;

	for (i = 0; i < st->vm_count; i++)
		if (st->vms[i].state != CORE_VM_UNUSED && (st->vms[i].copies & CORE_NODE_BIT(n->id)))
			return true;
	for (i = 0; i < st->volume_count; i++)
		if (st->volumes[i].state != CORE_VOLUME_UNUSED && st->volumes[i].owner == n->id)
			return true;
	return false;
}

/* Another node that is registered on the volume, in turn. */
uint8_t core_fence_executor(const struct core_state *st, const struct core_volume *v,
			    const struct core_node *victim)
{
	uint8_t id, first = 0;

	for (id = 1; id <= CL_NODES_MAX; id++) {
		if (id == victim->id || !(v->registered & CORE_NODE_BIT(id)) ||
		    !core_node_ok(st, id))
			continue;
		if (!first)
			first = id;
		if (id > victim->fence_last)
			return id;
	}
	return first;
}

static struct core_effect *fence_find(struct core_state *st, uint16_t volume, uint8_t victim)
{
	uint16_t i;

	for (i = 0; i < st->effect_count; i++) {
		struct core_effect *fx = &st->effects[i];

		if (fx->kind == CORE_FX_FENCE && fx->volume == volume && fx->peer == victim)
			return fx;
	}
	return NULL;
}

static void fence_reconcile(struct core_state *st, struct core_node *n)
{
	core_nodes bit = CORE_NODE_BIT(n->id);
	unsigned open = 0, confirmed = 0;
	bool executor_missing = false;
	uint8_t executor = 0;
	uint16_t i;

	if (st->disarmed && !CORE_MUTANT(52)) {
		core_node_set(st, n, n->state, CORE_WHY_DISARMED_NO_FENCE, 0, 0, 0);
		return;
	}
	for (i = 0; i < st->volume_count; i++) {
		struct core_volume *v = &st->volumes[i];
		struct core_effect *fx;

		if (v->state == CORE_VOLUME_UNUSED || !((v->registered | v->maybe | v->stale) & bit))
			continue;
		if (v->registered & bit)
			confirmed++;
		if (v->fenced & bit)
			continue;
		open++;
		fx = fence_find(st, i, n->id);
		if (fx) {
			if (core_node_ok(st, fx->node))
				continue;
			/* Its executor is gone: whether it was done nobody knows; another one tries. */
			core_effect_drop(st, fx);
		}
		if (st->now_ms < n->retry_ms)
			continue;
		executor = core_fence_executor(st, v, n);
		if (!executor) {
			executor_missing = true;
			continue;
		}
		fx = core_effect_new(st, CORE_FX_FENCE, executor, i, CORE_NONE);
		if (!fx)
			return;
		fx->peer = n->id;
		fx->pr_key = n->pr_key;
		fx->pr_key_old = (v->stale & bit) ? n->pr_key_old : 0;
		n->fence_tries++;
	}
	if (CORE_MUTANT(1))
		open = 0, confirmed = 1; /* planted: takes over without waiting for the proof */
	if ((n->state == CORE_NODE_LOST || n->cause.reason == CORE_WHY_DISARMED_NO_FENCE) &&
	    (open || confirmed))
		core_node_set(st, n, CORE_NODE_FENCING, CORE_WHY_FENCE_STARTED, 0, n->pr_key, 0);
	if (open) {
		if (executor_missing && !core_effect_find(st, CORE_FX_FENCE, 0, CORE_NONE, CORE_NONE))
			core_node_set(st, n, n->state, CORE_WHY_FENCE_NO_EXECUTOR, 0, 0, 0);
		return;
	}
	if (confirmed)
		core_node_over(st, n, CORE_PROOF_PR, CORE_WHY_PROOF_PR, confirmed,
			       n->hold_until_ms > st->now_ms ? n->hold_until_ms - st->now_ms : 0);
	else if (!node_held(st, n))
		core_node_over(st, n, CORE_PROOF_EMPTY, CORE_WHY_PROOF_EMPTY, 0, 0);
	else
		core_node_set(st, n, n->state, CORE_WHY_FENCE_NOTHING, 0, 0, 0);
}

/* Result of a FENCE effect: one LUN, one try. */
static void fence_result(struct core_state *st, const struct core_effect *fx,
			 const struct core_result *result)
{
	struct core_node *n = &st->nodes[fx->peer];
	struct core_volume *v = &st->volumes[fx->volume];
	core_nodes bit = CORE_NODE_BIT(fx->peer);
	enum core_reason why = CORE_WHY_FENCE_FAILED;

	if (v->stale & bit && fx->pr_key == n->pr_key_old && !n->doomed) {
		/* The key of the boot before: the reboot was the proof, the key need not be there. */
		if (result->outcome == CL_DONE ||
		    (result->outcome == CL_FAILED && result->code == ENOKEY))
			v->stale &= (core_nodes)~bit;
		else if (st->level < CORE_LEVEL_CALM)
			v->retry_ms = st->now_ms + st->timing.retry_ms;
		else
			n->retry_ms = core_retry_at(st, n->since_ms);
		return;
	}
	if (n->state != CORE_NODE_FENCING && n->state != CORE_NODE_LOST)
		return;
	n->fence_last = fx->node;
	if (result->outcome == CL_DONE || (CORE_MUTANT(2) && result->outcome == CL_UNKNOWN)) {
		v->fenced |= bit;
		core_trace_add(st, CORE_OBJECT_NODE, n->name, n->state, n->state,
			       CORE_WHY_FENCE_LUN_DONE, fx->node, fx->pr_key, fx->volume);
		return;
	}
	/*
	 * A key that was never confirmed need not be there; but its registration may be on its way still, so it
	 * is looked for as long as its VMs would be held (seed 381089).  One that was confirmed and is
	 * missing may have been removed by a target that forgets, or by a preemption
	 * whose abort is still under way.
	 */
	if (result->outcome == CL_FAILED && result->code == ENOKEY &&
	    ((!(v->registered & bit) && st->now_ms - n->since_ms >= takeover_ms(st, n)) || CORE_MUTANT(3))) {
		v->fenced |= bit;
		return;
	}
	if (result->outcome == CL_UNKNOWN)
		why = CORE_WHY_FENCE_UNKNOWN;
	else if (result->code == ENOKEY)
		why = CORE_WHY_FENCE_NO_KEY;
	n->retry_ms = st->now_ms + st->timing.retry_ms;
	core_node_set(st, n, n->state, why, fx->node,
		      why == CORE_WHY_FENCE_NO_KEY ? fx->pr_key : result->code, 0);
}

void core_node_result(struct core_state *st, const struct core_effect *fx,
		      const struct core_result *result)
{
	struct core_node *n = &st->nodes[fx->node];

	if (fx->kind == CORE_FX_FENCE) {
		fence_result(st, fx, result);
		return;
	}
	/* NODE_RESET */
	if (!n->reset || n->incarnation != fx->incarnation)
		return;
	if (result->outcome != CL_DONE) {
		n->retry_ms = core_retry_at(st, n->since_ms);
		core_node_set(st, n, n->state, CORE_WHY_RESET_FAILED, 0, result->code, 0);
		return;
	}
	n->reset = false;
	if (!n->over)
		core_node_over(st, n, CORE_PROOF_SELF, CORE_WHY_PROOF_SELF, n->incarnation, 0);
	else
		core_node_set(st, n, n->state, CORE_WHY_RESET, 0, n->incarnation, 0);
}

/* ---- reconcile ------------------------------------------------------------------------------ */

/* What could not be attached there: how many, and the first. */
static unsigned volumes_missing(const struct core_state *st, const struct core_node *n,
				const struct core_volume **ret_first)
{
	unsigned count = 0;

	*ret_first = NULL;
	for (uint16_t i = 0; i < st->volume_count; i++) {
		const struct core_volume *v = &st->volumes[i];

		if (v->state == CORE_VOLUME_UNUSED || v->state == CORE_VOLUME_ADDING ||
		    !(v->failed & ~v->attached & CORE_NODE_BIT(n->id)))
			continue;
		if (!count++)
			*ret_first = v;
	}
	return count;
}

/* It takes part: with all its volumes, or without those that it names. */
static void joined_tell(struct core_state *st, struct core_node *n, uint8_t state)
{
	const struct core_volume *first;
	unsigned missing = volumes_missing(st, n, &first);

	if (!missing || st->level < CORE_LEVEL_CALM) {
		core_node_set(st, n, state, CORE_WHY_JOINED, 0, n->incarnation, 0);
		return;
	}
	if (n->cause.reason == CORE_WHY_JOINED_WITHOUT &&
	    (n->cause.n1 != missing || !core_str_equal(n->cause.text, first->name)))
		n->cause.reason = CORE_WHY_NONE; /* another sentence, though of the same reason */
	st->told = first->name;
	core_node_set(st, n, state, CORE_WHY_JOINED_WITHOUT, 0, missing, 0);
	st->told = NULL;
}

static void joining_reconcile(struct core_state *st, struct core_node *n)
{
	core_nodes bit = CORE_NODE_BIT(n->id);
	uint16_t i;

	for (i = 0; i < st->volume_count; i++) {
		const struct core_volume *v = &st->volumes[i];

		/* ADDING is not there yet; a volume that refuses (failed) does not keep the node out. */
		if (v->state == CORE_VOLUME_UNUSED || v->state == CORE_VOLUME_ADDING ||
		    v->state == CORE_VOLUME_FAILED)
			continue;
		if (!((v->attached | v->failed) & bit))
			return;
	}
	joined_tell(st, n, state_wanted(n));
}

/* Has everything that it held found a new place, or rest? */
static bool taken_over(const struct core_state *st, const struct core_node *n)
{
	uint16_t i;

	if (st->now_ms < n->hold_until_ms)
		return false;
	for (i = 0; i < st->volume_count; i++)
		if (st->volumes[i].state != CORE_VOLUME_UNUSED &&
		    (st->volumes[i].gone & CORE_NODE_BIT(n->id)))
			return false;
	return true;
}

/* It is back and holds nothing. */
static void back_reconcile(struct core_state *st, struct core_node *n)
{
	if (n->state != CORE_NODE_QUARANTINED && quarantine_due(st, n))
		n->quarantine_until_ms = st->now_ms + (uint64_t)st->quarantine.time_s * 1000;
	if (n->quarantine_until_ms && !quarantine_over(st, n)) {
		core_node_set(st, n, CORE_NODE_QUARANTINED, CORE_WHY_QUARANTINED, 0, n->losses,
			      st->quarantine.time_s / 60);
		return;
	}
	if (n->state == CORE_NODE_QUARANTINED) {
		n->losses = 0;
		core_node_set(st, n, CORE_NODE_QUARANTINED, CORE_WHY_QUARANTINE_OVER, 0, 0, 0);
	}
	node_admit(st, n);
}

void core_node_reconcile(struct core_state *st, struct core_node *n)
{
	core_nodes bit;

	if (n->state == CORE_NODE_UNUSED)
		return;
	bit = CORE_NODE_BIT(n->id);
	if (n->seen && n->doomed && n->reset && (st->members & bit) && st->now_ms >= n->retry_ms &&
	    !core_effect_find(st, CORE_FX_NODE_RESET, n->id, CORE_NONE, CORE_NONE))
		core_effect_new(st, CORE_FX_NODE_RESET, n->id, CORE_NONE, CORE_NONE);
	if (n->seen && n->over && !n->reset && (st->members & bit)) {
		back_reconcile(st, n);
		return;
	}
	switch (n->state) {
	case CORE_NODE_JOINING:
		if (n->seen)
			joining_reconcile(st, n);
		break;
	case CORE_NODE_SILENT:
		if (st->now_ms >= n->hold_until_ms && !st->disarmed)
			node_lost(st, n, CORE_WHY_DAEMON_HOLD_OVER, st->timing.silent_ms);
		break;
	case CORE_NODE_ISOLATED:
		if (!st->disarmed)
			node_gone(st, n);
		break;
	case CORE_NODE_LOST:
	case CORE_NODE_FENCING:
		fence_reconcile(st, n);
		break;
	case CORE_NODE_FENCED:
		if (taken_over(st, n))
			core_node_set(st, n, CORE_NODE_DOWN, CORE_WHY_TAKEN_OVER, 0, 0, 0);
		break;
	case CORE_NODE_UP:
	case CORE_NODE_PAUSED:
	case CORE_NODE_DRAINING:
		if (n->pause != (n->state != CORE_NODE_UP))
			core_node_set(st, n, state_wanted(n),
				      n->pause ? CORE_WHY_PAUSED : CORE_WHY_RESUMED, 0, 0, 0);
		if (n->cause.reason == CORE_WHY_JOINED || n->cause.reason == CORE_WHY_JOINED_WITHOUT)
			joined_tell(st, n, n->state);
		core_drain_reconcile(st, n);
		break;
	}
}
