/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Effects on this node: told to the daemon once each, and their results proposed until they are
 * committed.
 *
 * Assumes: only called while the log is open and this node is safe, but for replica_result().
 */
#include "clusterd/core/internal.h"
#include "clusterd/core/replica_int.h"

#include <string.h>

static struct replica_issue *issue_find(struct replica *r, uint64_t id)
{
	uint16_t i;

	for (i = 0; i < r->issue_count; i++)
		if (r->issues[i].id == id)
			return &r->issues[i];
	return NULL;
}

static const struct core_effect *effect_by_id(const struct core_state *st, uint64_t id)
{
	uint16_t i;

	for (i = 0; i < st->effect_count; i++)
		if (st->effects[i].kind && st->effects[i].id == id)
			return &st->effects[i];
	return NULL;
}

void replica_issues_forget(struct replica *r)
{
	uint16_t i;

	for (i = 0; i < r->issue_count; i++) {
		struct replica_issue *issue = &r->issues[i];

		if (!issue->id || effect_by_id(&r->st, issue->id))
			continue;
		if (!issue->have_result) {
			struct core_effect gone = { .id = issue->id };
			struct replica_out out = { .kind = REPLICA_EFFECT_VOID, .effect = &gone };

			replica_emit(r, &out);
		}
		issue->id = 0;
		issue->cookie = 0;
	}
	while (r->issue_count && !r->issues[r->issue_count - 1].id)
		r->issue_count--;
}

void replica_effects_issue(struct replica *r)
{
	bool doomed = r->st.nodes[r->self].doomed;
	uint16_t i, k;

	for (i = 0; i < r->st.effect_count; i++) {
		const struct core_effect *fx = &r->st.effects[i];
		struct replica_out out = { .kind = REPLICA_EFFECT, .effect = fx };

		if (!fx->kind || fx->node != r->self || issue_find(r, fx->id))
			continue;
		if (doomed && fx->kind != CORE_FX_NODE_RESET)
			continue; /* this incarnation was given up: nothing more of it */
		if (r->st.disarmed && fx->kind == CORE_FX_FENCE && !CORE_MUTANT(52))
			continue; /* asked for before somebody disarmed the cluster: not now */
		for (k = 0; k < r->issue_count && r->issues[k].id; k++)
			;
		if (k == CORE_EFFECTS_MAX)
			return;
		if (k == r->issue_count)
			r->issue_count++;
		memset(&r->issues[k], 0, sizeof(r->issues[k]));
		r->issues[k].id = fx->id;
		replica_emit(r, &out);
	}
}

void replica_results_propose(struct replica *r)
{
	uint16_t i;

	for (i = 0; i < r->issue_count; i++) {
		struct replica_issue *issue = &r->issues[i];
		struct core_command *cmd;

		if (!issue->id || !issue->have_result || issue->cookie)
			continue;
		cmd = replica_fresh(r);
		cmd->kind = CORE_CMD_RESULT;
		cmd->result = issue->result;
		issue->cookie = replica_propose(r, cmd, 0);
		if (!issue->cookie)
			return;
	}
}

void replica_result(struct replica *r, uint64_t now_ms, const struct core_result *result)
{
	struct replica_issue *issue = issue_find(r, result->id);

	r->now_ms = now_ms;
	if (!issue || issue->have_result)
		return;
	issue->have_result = true;
	issue->result = *result;
	issue->result.text[sizeof(issue->result.text) - 1] = '\0';
	if (log_is_open(&r->log))
		replica_results_propose(r);
}
