/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Volumes: which nodes have them, who owns them.
 *
 *   ADDING --format--> OFFLINE --own--> OPENING --> ACTIVE --move--> RELEASING --released--> OFFLINE
 *                         ^                            |
 *                         +---- proof --- RECOVERING <-+ owner lost
 *
 * At most one node is owner, from the entry that issues VOL_OWN to the entry
 * that says released, failed or proves its end.  Nobody owns while a node that is not in good standing
 * may still write: core_volume_unproven().
 */
#include "clusterd/core/internal.h"

#include <string.h>

void core_volume_set(struct core_state *st, struct core_volume *v, uint8_t state,
		     enum core_reason why, uint8_t node, uint64_t n1, uint64_t n2)
{
	if (v->state == state && v->cause.reason == why)
		return;
	core_trace_add(st, CORE_OBJECT_VOLUME, v->name, v->state, state, why, node, n1, n2);
	if (v->state != state)
		v->since_ms = st->now_ms;
	v->state = state;
	v->cause = core_cause(why, node, n1, n2);
	core_cause_tell(st, &v->cause);
}

core_nodes core_volume_unproven(const struct core_state *st, const struct core_volume *v)
{
	core_nodes set = v->stale;
	uint8_t id;

	if (CORE_MUTANT(4))
		return 0; /* planted: own without asking who may still write */
	for (id = 1; id <= CL_NODES_MAX; id++) {
		const struct core_node *n = &st->nodes[id];

		if (((v->registered | v->maybe) & CORE_NODE_BIT(id)) && n->doomed && !n->over)
			set |= CORE_NODE_BIT(id);
	}
	return set;
}

void core_volume_node_over(struct core_state *st, uint16_t index, const struct core_node *n,
			   enum core_proof proof)
{
	struct core_volume *v = &st->volumes[index];
	core_nodes bit = CORE_NODE_BIT(n->id);
	bool had = ((v->registered | v->maybe) & bit) != 0;

	if (v->state == CORE_VOLUME_UNUSED)
		return;
	if (had && proof == CORE_PROOF_REBOOT)
		v->stale |= bit;
	else if (proof != CORE_PROOF_REBOOT)
		v->stale &= (core_nodes)~bit;
	if ((v->attached & bit) && v->owner != n->id && v->owner)
		v->gone |= bit;
	v->attached &= (core_nodes)~bit;
	v->registered &= (core_nodes)~bit;
	v->maybe &= (core_nodes)~bit;
	v->failed &= (core_nodes)~bit;
	v->fenced &= (core_nodes)~bit;
	v->mute &= (core_nodes)~bit;
	if (v->want == n->id)
		v->want = 0;
	if (v->owner == n->id) {
		v->owner = 0;
		v->fresh = v->undo = false;
		v->retry_ms = 0;
		core_volume_set(st, v, CORE_VOLUME_RECOVERING, CORE_WHY_OWNER_LOST, n->id, 0, 0);
	}
}

/* ---- results -------------------------------------------------------------------------------- */

static void format_result(struct core_state *st, struct core_volume *v, const struct core_effect *fx,
			  const struct core_result *result)
{
	core_nodes bit = CORE_NODE_BIT(fx->node);
	char text[CORE_TEXT_MAX];

	if (v->state != CORE_VOLUME_ADDING)
		return;
	switch (result->outcome) {
	case CL_DONE:
		v->size_bytes = result->values[0];
		v->fresh = true;
		core_volume_set(st, v, CORE_VOLUME_OFFLINE, CORE_WHY_FORMATTED, fx->node,
				v->size_bytes, 0);
		break;
	case CL_FAILED:
		core_trace_add(st, CORE_OBJECT_VOLUME, v->name, v->state, CORE_VOLUME_FAILED,
			       CORE_WHY_FORMAT_FAILED, fx->node, result->code, 0);
		core_text_join(text, sizeof(text), "node ", st->nodes[fx->node].name, ": ",
			       result->text[0] ? result->text : "formatting failed", NULL);
		core_job_end(st, &v->job, false, text);
		memset(v, 0, sizeof(*v));
		break;
	default:
		v->maybe |= bit;
		v->retry_ms = core_retry_at(st, v->since_ms);
		break;
	}
}

/* One node reached the LUN: those that wait because they could not need not wait longer. */
static void others_again(struct core_state *st, const struct core_volume *v)
{
	uint8_t id;

	for (id = 1; id <= CL_NODES_MAX && st->level >= CORE_LEVEL_CALM; id++)
		if ((v->failed & CORE_NODE_BIT(id)) &&
		    (st->nodes[id].state == CORE_NODE_JOINING || core_node_ok(st, id)))
			st->nodes[id].retry_ms = 0;
}

static void join_result(struct core_state *st, struct core_volume *v, const struct core_effect *fx,
			const struct core_result *result)
{
	struct core_node *n = &st->nodes[fx->node];
	core_nodes bit = CORE_NODE_BIT(fx->node);

	if (n->incarnation != fx->incarnation)
		return;
	if (result->outcome == CL_DONE) {
		core_node_csvd_is(st, n, result->values[0]);
		v->attached |= bit;
		v->registered |= bit;
		v->maybe &= (core_nodes)~bit;
		v->stale &= (core_nodes)~bit;
		v->failed &= (core_nodes)~bit;
		v->mute &= (core_nodes)~bit;
		core_trace_add(st, CORE_OBJECT_VOLUME, v->name, v->state, v->state,
			       CORE_WHY_ATTACHED, fx->node, 0, 0);
		others_again(st, v);
		return;
	}
	if (!(v->failed & bit))
		core_trace_add(st, CORE_OBJECT_VOLUME, v->name, v->state, v->state,
			       CORE_WHY_ATTACH_FAILED, fx->node, result->code, 0);
	v->failed |= bit;
	if (st->level < CORE_LEVEL_CALM)
		v->retry_ms = st->now_ms + st->timing.retry_ms;
	else /* of the node, not of the volume: another node may own it meanwhile */
		n->retry_ms = core_retry_at(st, n->since_ms > v->since_ms ? n->since_ms : v->since_ms);
}

static void own_result(struct core_state *st, struct core_volume *v, const struct core_effect *fx,
		       const struct core_result *result)
{
	if (v->state != CORE_VOLUME_OPENING || v->owner != fx->node || v->term != fx->term)
		return;
	switch (result->outcome) {
	case CL_DONE:
		v->tries = 0;
		core_volume_set(st, v, CORE_VOLUME_ACTIVE, CORE_WHY_OWNER_ACTIVE, v->owner, v->term,
				0);
		if (v->job && v->want && v->want != v->owner)
			core_job_end_reason(st, &v->job, false, CORE_WHY_OWNER_ACTIVE, v->owner,
					    v->term, 0);
		core_job_end_reason(st, &v->job, true, CORE_WHY_OWNER_ACTIVE, v->owner, v->term, 0);
		v->want = 0;
		break;
	case CL_FAILED:
		/* An earlier try may have lost its answer: it is owner until it says that it is not. */
		v->tries++;
		v->undo = true;
		core_volume_set(st, v, CORE_VOLUME_RELEASING, CORE_WHY_OWN_FAILED, fx->node,
				result->code, 0);
		if (CORE_MUTANT(36)) { /* planted: as if it had never been asked */
			v->owner = 0;
			v->state = CORE_VOLUME_OFFLINE;
		}
		if (v->want == fx->node) {
			v->want = 0;
			core_job_end_reason(st, &v->job, false, CORE_WHY_OWN_FAILED, fx->node,
					    result->code, 0);
		}
		break;
	default: /* it may be mounted there: only the same node may be asked again */
		v->retry_ms = core_retry_at(st, v->since_ms);
		if (CORE_MUTANT(5)) {
			v->owner = 0; /* planted: an unknown outcome counts as a failure */
			v->tries++;
			v->state = CORE_VOLUME_OFFLINE;
		}
		break;
	}
}

static void release_result(struct core_state *st, struct core_volume *v,
			   const struct core_effect *fx, const struct core_result *result)
{
	if (v->state != CORE_VOLUME_RELEASING || v->owner != fx->node)
		return;
	switch (result->outcome) {
	case CL_DONE:
		v->owner = 0;
		v->fresh = !v->undo;
		v->retry_ms = v->undo ? st->now_ms + st->timing.retry_ms : 0;
		v->undo = false;
		core_volume_set(st, v, CORE_VOLUME_OFFLINE, CORE_WHY_OWNER_LEFT, fx->node, v->term, 0);
		break;
	case CL_FAILED:
		if (v->undo) {
			v->retry_ms = st->now_ms + st->timing.retry_ms;
			break;
		}
		/* It keeps it: asked to own once more with its own term, which changes nothing there. */
		v->want = 0;
		v->retry_ms = 0;
		core_job_end(st, &v->job, false,
			     result->text[0] ? result->text : "the owner could not release it");
		core_volume_set(st, v, CORE_VOLUME_OPENING, CORE_WHY_OWN_FAILED, fx->node,
				result->code, 0);
		break;
	default:
		v->retry_ms = core_retry_at(st, v->since_ms);
		break;
	}
}

void core_volume_result(struct core_state *st, const struct core_effect *fx,
			const struct core_result *result)
{
	struct core_volume *v = &st->volumes[fx->volume];

	if (v->state == CORE_VOLUME_UNUSED)
		return;
	switch (fx->kind) {
	case CORE_FX_VOL_FORMAT:
		format_result(st, v, fx, result);
		break;
	case CORE_FX_VOL_JOIN:
		join_result(st, v, fx, result);
		break;
	case CORE_FX_VOL_OWN:
		own_result(st, v, fx, result);
		break;
	case CORE_FX_VOL_RELEASE:
		release_result(st, v, fx, result);
		break;
	case CORE_FX_VOL_GONE:
		if (result->outcome == CL_DONE && v->owner == fx->node)
			v->gone &= (core_nodes)~CORE_NODE_BIT(fx->peer);
		else
			v->retry_ms = st->now_ms + st->timing.retry_ms;
		break;
	}
}

/* ---- reconcile ------------------------------------------------------------------------------ */

static unsigned owned_by(const struct core_state *st, uint8_t node)
{
	unsigned count = 0;
	uint16_t i;

	for (i = 0; i < st->volume_count; i++)
		if (st->volumes[i].state != CORE_VOLUME_UNUSED && st->volumes[i].owner == node)
			count++;
	return count;
}

/* The wanted node, else of those that are up (or else paused) the one that owns least, in turn. */
static uint8_t owner_choose(const struct core_state *st, const struct core_volume *v)
{
	uint8_t pass, id, best = 0, tried = 0;

	if (v->want && core_node_ok(st, v->want) &&
	    ((v->attached & ~v->mute) & CORE_NODE_BIT(v->want)))
		return v->want;
	for (pass = 0; pass < 2 && !best; pass++) {
		core_nodes skip = 0;

		for (tried = 0; tried <= v->tries % 4; tried++) {
			uint8_t pick = 0;

			for (id = 1; id <= CL_NODES_MAX; id++) {
				if (!((v->attached & ~v->mute) & CORE_NODE_BIT(id)) ||
				    (skip & CORE_NODE_BIT(id)) ||
				    !(pass ? core_node_ok(st, id) : core_node_up(st, id)))
					continue;
				if (!pick || owned_by(st, id) < owned_by(st, pick))
					pick = id;
			}
			if (!pick)
				break;
			best = pick;
			skip |= CORE_NODE_BIT(pick);
		}
	}
	return best;
}

static void own_start(struct core_state *st, uint16_t index, uint8_t node)
{
	struct core_volume *v = &st->volumes[index];
	struct core_effect *fx = core_effect_new(st, CORE_FX_VOL_OWN, node, index, CORE_NONE);
	uint8_t id;

	if (!fx)
		return;
	fx->term = v->term;
	/*
	 * Whoever may have it attached may hold layouts, whether its answer arrived or not; so does a node that
	 * was given up and not proven dead, when the same owner is asked again.
	 */
	fx->members = v->attached | v->registered | v->maybe;
	for (id = 1; id <= CL_NODES_MAX; id++)
		if (CORE_MUTANT(4) ? st->nodes[id].doomed : st->nodes[id].over)
			fx->members &= (core_nodes)~CORE_NODE_BIT(id);
	fx->flags = v->fresh ? CORE_FLAG_FRESH : 0;
	fx->pr_key = st->nodes[node].pr_key;
}

static void owner_reconcile(struct core_state *st, uint16_t index)
{
	struct core_volume *v = &st->volumes[index];
	core_nodes unproven;
	uint8_t node;

	if (st->now_ms < v->retry_ms)
		return;
	unproven = core_volume_unproven(st, v);
	if (unproven) {
		core_volume_set(st, v, v->state, CORE_WHY_WAIT_PROOF,
				(uint8_t)(__builtin_ctz(unproven) + 1), 0, 0);
		return;
	}
	node = owner_choose(st, v);
	if (!node) {
		core_volume_set(st, v, v->state, CORE_WHY_NO_OWNER, 0, 0, 0);
		return;
	}
	v->owner = node;
	v->undo = false;
	v->term++;
	v->gone = 0; /* members names who may reclaim: everybody else is over, with proof */
	core_volume_set(st, v, CORE_VOLUME_OPENING, CORE_WHY_OWNER_CHOSEN, node, v->term, 0);
	own_start(st, index, node);
	v->fresh = false;
}

static void join_reconcile(struct core_state *st, uint16_t index)
{
	struct core_volume *v = &st->volumes[index];
	uint8_t id;

	for (id = 1; id <= CL_NODES_MAX; id++) {
		struct core_node *n = &st->nodes[id];
		core_nodes bit = CORE_NODE_BIT(id);
		struct core_effect *fx;

		if ((v->attached & bit) || !n->seen || n->doomed || !(st->members & bit) ||
		    (n->state != CORE_NODE_JOINING && !core_node_ok(st, id)))
			continue;
		if ((v->failed & bit) &&
		    st->now_ms < (st->level < CORE_LEVEL_CALM ? v->retry_ms : n->retry_ms))
			continue;
		if (core_effect_find(st, CORE_FX_VOL_JOIN, id, index, CORE_NONE))
			continue;
		fx = core_effect_new(st, CORE_FX_VOL_JOIN, id, index, CORE_NONE);
		if (!fx)
			return;
		fx->pr_key = n->pr_key;
		fx->pr_key_old = n->pr_key_old;
		v->maybe |= bit;
	}
	/* A rebooted node that cannot reach the LUN: somebody else removes its old key. */
	for (id = 1; id <= CL_NODES_MAX; id++) {
		struct core_node *n = &st->nodes[id];
		core_nodes bit = CORE_NODE_BIT(id);
		struct core_effect *fx;
		uint8_t executor;

		if (st->disarmed || !(v->stale & bit) || n->doomed || !(v->failed & bit) ||
		    st->now_ms < (st->level < CORE_LEVEL_CALM ? v->retry_ms : n->retry_ms) ||
		    core_effect_find(st, CORE_FX_FENCE, 0, index, CORE_NONE))
			continue;
		executor = core_fence_executor(st, v, n);
		fx = executor ? core_effect_new(st, CORE_FX_FENCE, executor, index, CORE_NONE) : NULL;
		if (!fx)
			continue;
		fx->peer = id;
		fx->pr_key = n->pr_key_old;
	}
}

static void gone_reconcile(struct core_state *st, uint16_t index)
{
	struct core_volume *v = &st->volumes[index];
	struct core_effect *fx;

	if (!v->gone || st->now_ms < v->retry_ms || !core_node_ok(st, v->owner) ||
	    core_effect_find(st, CORE_FX_VOL_GONE, 0, index, CORE_NONE))
		return;
	fx = core_effect_new(st, CORE_FX_VOL_GONE, v->owner, index, CORE_NONE);
	if (!fx)
		return;
	fx->peer = (uint8_t)(__builtin_ctz(v->gone) + 1);
	fx->term = v->term;
}

void core_volume_reconcile(struct core_state *st, uint16_t index)
{
	struct core_volume *v = &st->volumes[index];
	struct core_effect *fx;
	uint8_t id;

	if (v->state == CORE_VOLUME_UNUSED || v->state == CORE_VOLUME_FAILED)
		return;
	core_storage_reconcile(st, index);
	if (v->owner && st->nodes[v->owner].doomed && !st->nodes[v->owner].over &&
	    v->state != CORE_VOLUME_RECOVERING)
		core_volume_set(st, v, CORE_VOLUME_RECOVERING, CORE_WHY_OWNER_LOST, v->owner, 0, 0);
	if (v->state == CORE_VOLUME_ADDING) {
		if (st->now_ms < v->retry_ms ||
		    core_effect_find(st, CORE_FX_VOL_FORMAT, 0, index, CORE_NONE))
			return;
		/* Only the node that may have begun may go on, unless it is over. */
		for (id = 1; id <= CL_NODES_MAX; id++) {
			if (!core_node_ok(st, id) || (v->maybe && !(v->maybe & CORE_NODE_BIT(id))))
				continue;
			fx = core_effect_new(st, CORE_FX_VOL_FORMAT, id, index, CORE_NONE);
			if (!fx)
				return;
			fx->pr_key = st->nodes[id].pr_key;
			fx->flags = v->force ? CORE_FLAG_FORCE : 0;
			v->maybe |= CORE_NODE_BIT(id);
			return;
		}
		return;
	}
	join_reconcile(st, index);
	switch (v->state) {
	case CORE_VOLUME_OFFLINE:
		owner_reconcile(st, index);
		break;
	case CORE_VOLUME_RECOVERING:
		if (!v->owner)
			owner_reconcile(st, index);
		break;
	case CORE_VOLUME_OPENING:
		if (core_node_ok(st, v->owner) && st->now_ms >= v->retry_ms &&
		    !core_effect_find(st, CORE_FX_VOL_OWN, v->owner, index, CORE_NONE))
			own_start(st, index, v->owner);
		break;
	case CORE_VOLUME_RELEASING:
		if (core_node_ok(st, v->owner) && st->now_ms >= v->retry_ms &&
		    !core_effect_find(st, CORE_FX_VOL_RELEASE, v->owner, index, CORE_NONE)) {
			fx = core_effect_new(st, CORE_FX_VOL_RELEASE, v->owner, index, CORE_NONE);
			if (fx)
				fx->term = v->term;
		}
		break;
	case CORE_VOLUME_ACTIVE:
		if (v->want == v->owner)
			v->want = 0;
		if (v->want && core_node_ok(st, v->want) && (v->attached & CORE_NODE_BIT(v->want)) &&
		    core_node_ok(st, v->owner)) {
			core_volume_set(st, v, CORE_VOLUME_RELEASING, CORE_WHY_MOVE_ASKED, v->want, 0,
					0);
			core_volume_reconcile(st, index);
			return;
		}
		gone_reconcile(st, index);
		break;
	}
}
