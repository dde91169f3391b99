/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policies as values: defaults, what a command may change, their bytes, and the command `vm-set`.
 * Acts on nothing itself: a new policy counts from the next decision on, and no VM that runs is
 * moved or stopped because of it.
 */
#include "clusterd/core/coder.h"
#include "clusterd/core/internal.h"
#include "clusterd/core/place.h"

#include <errno.h>
#include <string.h>

void core_policy_default(struct core_vm_policy *policy)
{
	memset(policy, 0, sizeof(*policy));
	policy->priority = CORE_PRIORITY_MEDIUM;
	policy->failback = CORE_FAILBACK_NEVER;
	policy->drain = CORE_RUNG_QUICK;
	policy->failover_limit = CORE_LIMIT_AUTO;
	policy->failover_period_s = CORE_PERIOD_S;
	policy->restart_wait_s = CORE_RESTART_WAIT_S;
	policy->max_pause_ms = CORE_MAX_PAUSE_MS;
}

static void policy_merge(struct core_vm_policy *to, const struct core_vm_policy *from, uint32_t set)
{
	if (set & CORE_SET_PRIORITY)
		to->priority = from->priority;
	if (set & CORE_SET_FAILBACK) {
		to->failback = from->failback;
		to->failback_from = from->failback_from;
		to->failback_to = from->failback_to;
	}
	if (set & CORE_SET_DRAIN)
		to->drain = from->drain;
	if (set & CORE_SET_LIMIT) {
		to->failover_limit = from->failover_limit;
		to->failover_period_s = from->failover_period_s;
	}
	if (set & CORE_SET_APART) {
		core_str_copy(to->apart, sizeof(to->apart), from->apart);
		to->apart_hard = from->apart_hard && from->apart[0];
	}
	if (set & CORE_SET_POSSIBLE)
		to->possible = from->possible;
	if (set & CORE_SET_PREFERRED)
		memcpy(to->preferred, from->preferred, sizeof(to->preferred));
	if (set & CORE_SET_RESTART_WAIT)
		to->restart_wait_s = from->restart_wait_s;
	if (set & CORE_SET_MAX_PAUSE)
		to->max_pause_ms = from->max_pause_ms;
}

static bool node_exists(const struct core_state *st, unsigned id)
{
	return id >= 1 && id <= CL_NODES_MAX && st->nodes[id].state != CORE_NODE_UNUSED;
}

/* NULL, or what is wrong. */
static const char *policy_wrong(const struct core_state *st, const struct core_vm_policy *p)
{
	core_nodes seen = 0;
	unsigned i;

	for (i = 0; i < CL_NODES_MAX; i++)
		if ((p->possible & CORE_NODE_BIT(i + 1)) && !node_exists(st, i + 1))
			return ": possible owners: there is no node of one of these ids";
	for (i = 0; i < CL_NODES_MAX && p->preferred[i]; i++) {
		if (!node_exists(st, p->preferred[i]))
			return ": preferred owners: there is no node of one of these ids";
		if (seen & CORE_NODE_BIT(p->preferred[i]))
			return ": preferred owners: a node is named twice";
		seen |= CORE_NODE_BIT(p->preferred[i]);
	}
	if (p->possible && (seen & ~p->possible))
		return ": a preferred owner is not among the possible owners";
	if (p->apart[0] && !cl_name_valid(p->apart))
		return ": anti-affinity: that is no name: 1 to 63 of A-Z a-z 0-9 . _ -";
	if (p->failover_limit != CORE_LIMIT_AUTO && p->failover_limit > CORE_LIMIT_MAX)
		return ": failover limit: allowed 0 to 100 failures";
	if (!p->failover_period_s || p->failover_period_s > CORE_PERIOD_MAX_S)
		return ": failover period: allowed 1 second to 30 days";
	if (p->failback == CORE_FAILBACK_WINDOW &&
	    (p->failback_from > 23 || p->failback_to > 23 || p->failback_from == p->failback_to))
		return ": failback window: two different hours from 00 to 23 are needed";
	if (p->restart_wait_s > CORE_RESTART_WAIT_MAX_S)
		return ": restart wait: allowed 0 to 3600 seconds";
	if (p->max_pause_ms > CORE_MAX_PAUSE_MAX_MS)
		return ": longest pause: allowed 0 to 600000 ms";
	return NULL;
}

int core_policy_take(const struct core_state *st, struct core_vm_policy *policy,
		     const struct core_command *cmd, const char *name, struct core_answer *ans)
{
	struct core_vm_policy merged = *policy;
	const char *wrong;

	policy_merge(&merged, &cmd->policy, cmd->set);
	wrong = policy_wrong(st, &merged);
	if (wrong) {
		ans->err = -EINVAL;
		core_text_join(ans->text, sizeof(ans->text), "vm ", name, wrong, NULL);
		return -EINVAL;
	}
	*policy = merged;
	return 0;
}

void core_op_vm_set(struct core_state *st, struct core_vm *vm, const struct core_command *cmd,
		    struct core_answer *ans)
{
	if (core_policy_take(st, &vm->policy, cmd, vm->config.name, ans))
		return;
	core_trace_add(st, CORE_OBJECT_VM, vm->config.name, vm->state, vm->state,
		       CORE_WHY_POLICY_SET, 0, cmd->set, 0);
	if (cmd->set & CORE_SET_LIMIT)
		vm->failures = 0;
	if ((cmd->set & CORE_SET_FAILBACK) && vm->policy.failback == CORE_FAILBACK_NEVER)
		vm->home = 0;
	if (cmd->set & (CORE_SET_DRAIN | CORE_SET_MAX_PAUSE) && vm->state == CORE_VM_RUNNING) {
		/* A drain that was stuck tries what it may do now. */
		vm->migration.rung = CORE_RUNG_LIVE;
		vm->retry_ms = 0;
	}
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static void code_max(struct coder *c, uint8_t *v, uint8_t max)
{
	code_u8(c, v);
	if (c->r && *v > max) {
		c->r->bad = true;
		*v = 0;
	}
}

void core_policy_code(struct coder *c, struct core_vm_policy *p, uint32_t set)
{
	unsigned i;

	if (set & CORE_SET_PRIORITY)
		code_max(c, &p->priority, CORE_PRIORITY_HIGH);
	if (set & CORE_SET_FAILBACK) {
		code_max(c, &p->failback, CORE_FAILBACK_WINDOW);
		code_max(c, &p->failback_from, 23);
		code_max(c, &p->failback_to, 23);
	}
	if (set & CORE_SET_DRAIN) {
		code_max(c, &p->drain, CORE_RUNG_SHUTDOWN);
		if (c->r && (p->drain == CORE_RUNG_THROTTLED || p->drain == CORE_RUNG_PAUSE))
			c->r->bad = true;
	}
	if (set & CORE_SET_LIMIT) {
		code_u8(c, &p->failover_limit);
		code_u32(c, &p->failover_period_s);
	}
	if (set & CORE_SET_APART) {
		CODE_STR(c, p->apart);
		code_bool(c, &p->apart_hard);
	}
	if (set & CORE_SET_POSSIBLE)
		code_u16(c, &p->possible);
	for (i = 0; (set & CORE_SET_PREFERRED) && i < CL_NODES_MAX; i++)
		code_max(c, &p->preferred[i], CL_NODES_MAX);
	if (set & CORE_SET_RESTART_WAIT)
		code_u16(c, &p->restart_wait_s);
	if (set & CORE_SET_MAX_PAUSE)
		code_u32(c, &p->max_pause_ms);
}

const char *core_priority_name(uint8_t priority)
{
	static const char *const names[] = { "none", "low", "medium", "high" };

	return priority < CL_ARRAY_LEN(names) ? names[priority] : "?";
}

const char *core_rung_name(uint8_t rung)
{
	static const char *const names[] = { "live", "throttled", "longer-pause", "quick", "shutdown",
					     "none-left" };

	return rung < CL_ARRAY_LEN(names) ? names[rung] : "?";
}
