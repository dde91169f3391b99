/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One committed entry changes the state; then everything that the change made
 * possible is decided (reconcile), until nothing changes any more.
 */
#include "clusterd/core/internal.h"

#include <errno.h>
#include <string.h>

#define ROUNDS_MAX 8

static void reconcile(struct core_state *st)
{
	unsigned round;

	/* Decisions enable each other (proof, then owner, then start); new effects or traces say so. */
	for (round = 0; round < ROUNDS_MAX; round++) {
		uint64_t effects = st->next_effect, traces = st->trace_total;
		uint16_t i;
		uint8_t id;

		for (id = 1; id <= CL_NODES_MAX; id++)
			core_node_reconcile(st, &st->nodes[id]);
		for (i = 0; i < st->volume_count; i++)
			core_volume_reconcile(st, i);
		for (i = 0; i < st->vm_count; i++)
			core_vm_reconcile(st, i);
		if (effects == st->next_effect && traces == st->trace_total)
			break;
	}
}

static void vote(struct core_state *st, const struct core_command *cmd)
{
	if (st->nodes[cmd->node].state != CORE_NODE_UNUSED)
		st->nodes[cmd->node].voter = true;
}

/*
 * Cluster time never runs ahead of a real clock: the proposer measured delta_ms by its own clock
 * after it had applied entry seen_seq, and no other TICK counted any of that.
 */
static void tick(struct core_state *st, const struct core_command *cmd)
{
	/* What passed at the slow pace does not count for deadlines that were set since. */
	if (cmd->seen_seq < st->tick_seq || cmd->seen_seq < st->fast_seq)
		return;
	st->tick_seq = st->applied_seq;
	st->now_ms += CORE_MUTANT(14) ? 4 * cmd->delta_ms : cmd->delta_ms;
}

void core_apply(struct core_state *st, uint64_t seq, const void *data, size_t len_bytes,
		struct core_command *scratch, struct core_answer *ret_answer)
{
	struct core_command *cmd = scratch;
	uint32_t pace;

	memset(ret_answer, 0, sizeof(*ret_answer));
	st->applied_seq = seq;
	if (core_command_decode(cmd, data, len_bytes)) {
		/* Every node refuses it alike. */
		ret_answer->err = -EBADMSG;
		core_str_copy(ret_answer->text, sizeof(ret_answer->text), "malformed entry");
		return;
	}
	if (cmd->wall_ms > st->wall_ms)
		st->wall_ms = cmd->wall_ms;
	st->clock_ms = cmd->wall_ms;
	switch (cmd->kind) {
	case CORE_CMD_MEMBERS:
		core_node_members(st, cmd->members, cmd->alive);
		break;
	case CORE_CMD_HELLO:
		core_node_hello(st, cmd);
		break;
	case CORE_CMD_VOTE:
		vote(st, cmd);
		break;
	case CORE_CMD_TICK:
		tick(st, cmd);
		break;
	case CORE_CMD_RESULT:
		core_effect_result(st, &cmd->result);
		break;
	case CORE_CMD_VM_EXIT:
		st->told = cmd->text;
		core_vm_exit(st, cmd);
		st->told = NULL;
		break;
	case CORE_CMD_VM_TROUBLE:
		st->told = cmd->text;
		core_vm_trouble(st, cmd);
		st->told = NULL;
		break;
	case CORE_CMD_KEY_LOST:
		core_node_key_lost(st, cmd);
		break;
	case CORE_CMD_CSVD_LOST:
		core_node_csvd_lost(st, cmd);
		break;
	case CORE_CMD_STORAGE:
		core_storage_said(st, cmd);
		break;
	default:
		core_operator(st, cmd, ret_answer);
		break;
	}
	reconcile(st);
	pace = core_timer_ms(st);
	/* A deadline was set: time that passed before it does not count. */
	if (pace == CORE_TICK_MS && st->tick_ms != CORE_TICK_MS)
		st->fast_seq = seq;
	st->tick_ms = pace;
}

static bool vm_near(const struct core_state *st, const struct core_vm *vm)
{
	return vm->retry_ms > st->now_ms || vm->hold_until_ms > st->now_ms ||
	       (vm->doubt && vm->doubt_ms > st->now_ms) ||
	       (vm->avoid && vm->state == CORE_VM_RUNNING) ||
	       (vm->state == CORE_VM_WAITING && vm->cause.reason == CORE_WHY_VM_WAIT_CLASS);
}

/* A retry that is waited for with fast ticks. */
static bool retry_near(const struct core_state *st, uint64_t retry_ms)
{
	return retry_ms > st->now_ms &&
	       (st->level < CORE_LEVEL_CALM || retry_ms - st->now_ms < CORE_NEAR_MS);
}

/* One that is further away. */
static bool retry_far(const struct core_state *st)
{
	for (uint8_t id = 1; id <= CL_NODES_MAX; id++)
		if (st->nodes[id].state != CORE_NODE_UNUSED && st->nodes[id].retry_ms > st->now_ms)
			return true;
	for (uint16_t i = 0; i < st->volume_count; i++)
		if (st->volumes[i].state != CORE_VOLUME_UNUSED && st->volumes[i].retry_ms > st->now_ms)
			return true;
	return false;
}

/* Something is near. */
static bool timer_near(const struct core_state *st)
{
	uint16_t i;
	uint8_t id;

	for (id = 1; id <= CL_NODES_MAX; id++) {
		const struct core_node *n = &st->nodes[id];

		switch (n->state) {
		case CORE_NODE_SILENT:
		case CORE_NODE_LOST:
		case CORE_NODE_FENCING:
			if (!st->disarmed)
				return true;
			break;
		case CORE_NODE_FENCED:
			return true;
		case CORE_NODE_UNUSED:
			break;
		default:
			if (retry_near(st, n->retry_ms))
				return true;
		}
	}
	for (i = 0; i < st->volume_count; i++)
		if (st->volumes[i].state != CORE_VOLUME_UNUSED &&
		    (retry_near(st, st->volumes[i].retry_ms) ||
		     (st->volumes[i].failed && (st->level < CORE_LEVEL_CALM)) ||
		     core_storage_waits(st, &st->volumes[i])))
			return true;
	for (i = 0; i < st->vm_count; i++)
		if (st->vms[i].state != CORE_VM_UNUSED && vm_near(st, &st->vms[i]))
			return true;
	return false;
}

uint32_t core_timer_ms(const struct core_state *st)
{
	uint16_t i;
	uint8_t id;

	if (timer_near(st))
		return CORE_TICK_MS;
	if (st->level >= CORE_LEVEL_CALM && retry_far(st))
		return CORE_TICK_SLOW_MS;
	for (id = 1; id <= CL_NODES_MAX; id++)
		if (core_node_waits_long(st, &st->nodes[id]))
			return CORE_TICK_SLOW_MS;
	for (i = 0; i < st->vm_count; i++)
		if (core_failback_waits(st, &st->vms[i]) || core_restart_counts(st, &st->vms[i]))
			return CORE_TICK_SLOW_MS;
	return 0;
}
