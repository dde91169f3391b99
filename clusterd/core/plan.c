/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The core on a copy, with executors who always succeed.  See plan.h.
 *
 * Assumes nothing of how the core decides: it feeds commands, ticks and results, and looks what
 * becomes of the VMs and volumes.  So it cannot differ from what then happens, if nothing else does.
 */
#include <errno.h>
#include <string.h>

#include "clusterd/core/internal.h"
#include "clusterd/core/plan.h"
#include "clusterd/log/log.h"

#define STEPS_MAX 200000u
#define STUCK_MS  600000u /* nothing but time passes any more */

struct run {
	struct core_state *st;
	struct core_command *cmd, *scratch;
	struct core_plan *plan;
	struct core_answer answer;
	uint64_t t_ms, tick_at_ms;
	uint64_t clock_ms; /* hour of the day when it is asked: VMs go home by it */
};

static void apply(struct run *run, const struct core_command *cmd)
{
	uint8_t bytes[LOG_ENTRY_MAX];
	long len = core_command_encode(cmd, bytes, sizeof(bytes));

	if (len < 0) {
		run->answer.err = (int)len;
		return;
	}
	core_apply(run->st, run->st->applied_seq + 1, bytes, (size_t)len, run->scratch, &run->answer);
}

static struct core_command *fresh(struct run *run, uint8_t kind)
{
	memset(run->cmd, 0, offsetof(struct core_command, report));
	run->cmd->kind = kind;
	run->cmd->wall_ms = run->clock_ms + run->t_ms;
	return run->cmd;
}

/* ---- what becomes of each ------------------------------------------------------------------- */

static struct core_plan_item *item_of(struct core_plan *plan, uint8_t object, uint16_t index)
{
	/* All VMs come first while it runs, each at its index. */
	return &plan->items[object == CORE_OBJECT_VM ? index : CORE_VMS_MAX + index];
}

static void items_begin(struct run *run)
{
	struct core_state *st = run->st;
	uint16_t i;

	memset(run->plan->items, 0, sizeof(run->plan->items));
	for (i = 0; i < CORE_VMS_MAX; i++) {
		struct core_plan_item *item = item_of(run->plan, CORE_OBJECT_VM, i);

		item->object = CORE_OBJECT_VM;
		item->index = i;
		if (i >= st->vm_count || st->vms[i].state == CORE_VM_UNUSED)
			continue;
		item->before = item->after = st->vms[i].state;
		item->from = st->vms[i].copies ? st->vms[i].node : 0;
		item->to = item->from;
	}
	for (i = 0; i < CORE_VOLUMES_MAX; i++) {
		struct core_plan_item *item = item_of(run->plan, CORE_OBJECT_VOLUME, i);

		item->object = CORE_OBJECT_VOLUME;
		item->index = i;
		if (i >= st->volume_count || st->volumes[i].state == CORE_VOLUME_UNUSED)
			continue;
		item->before = item->after = st->volumes[i].state;
		item->from = item->to = st->volumes[i].owner;
	}
}

static void touch(struct core_plan_item *item, uint64_t t_ms)
{
	if (!item->touched)
		item->begin_ms = t_ms;
	item->touched = true;
	item->end_ms = t_ms;
}

/* True if anything has changed. */
static bool look(struct run *run)
{
	struct core_state *st = run->st;
	bool changed = false;
	uint16_t i;

	for (i = 0; i < CORE_VMS_MAX; i++) {
		struct core_plan_item *item = item_of(run->plan, CORE_OBJECT_VM, i);
		const struct core_vm *vm = &st->vms[i];
		uint8_t state = i < st->vm_count ? vm->state : CORE_VM_UNUSED;
		uint8_t node = state && vm->copies ? vm->node : 0;

		if (state == item->after && node == item->to)
			continue;
		if (!item->before && !state)
			continue;
		changed = true;
		touch(item, run->t_ms);
		if (state == CORE_VM_LIVE)
			item->method = CORE_PLAN_LIVE;
		else if (state == CORE_VM_QUICK)
			item->method = CORE_PLAN_QUICK;
		else if (state == CORE_VM_STARTING)
			item->method = CORE_PLAN_RESTART;
		else if (state == CORE_VM_STOPPED)
			item->method = CORE_PLAN_STOP;
		else if (state == CORE_VM_UNUSED)
			item->method = CORE_PLAN_DELETE;
		item->after = state;
		item->to = node;
	}
	for (i = 0; i < CORE_VOLUMES_MAX; i++) {
		struct core_plan_item *item = item_of(run->plan, CORE_OBJECT_VOLUME, i);
		const struct core_volume *v = &st->volumes[i];
		uint8_t state = i < st->volume_count ? v->state : CORE_VOLUME_UNUSED;

		if (!state || (state == item->after && v->owner == item->to))
			continue;
		changed = true;
		touch(item, run->t_ms);
		item->after = state;
		item->to = v->owner;
		item->method = CORE_PLAN_OWNER;
	}
	return changed;
}

/* ---- executors ------------------------------------------------------------------------------ */

/* The effect that is answered next, and when; NULL: none that anybody would carry out. */
static const struct core_effect *effect_next(struct run *run, uint64_t *ret_due_ms)
{
	struct core_plan *plan = run->plan;
	const struct core_state *st = run->st;
	const struct core_effect *best = NULL;
	uint16_t i;

	for (i = 0; i < st->effect_count; i++) {
		const struct core_effect *fx = &st->effects[i];
		unsigned kind;

		if (!fx->kind || !(st->members & CORE_NODE_BIT(fx->node)))
			continue;
		if (plan->due_id[i] != fx->id) {
			plan->due_id[i] = fx->id;
			plan->due_ms[i] = run->t_ms +
					  core_pace_effect_ms(st, &plan->pace, fx, &kind);
			if (kind < CORE_PACE_KINDS && fx->vm != CORE_NONE && plan->pace.samples[kind])
				item_of(plan, CORE_OBJECT_VM, fx->vm)->measured = true;
			if (kind < CORE_PACE_KINDS && fx->vm == CORE_NONE &&
			    fx->volume != CORE_NONE && plan->pace.samples[kind])
				item_of(plan, CORE_OBJECT_VOLUME, fx->volume)->measured = true;
		}
		if (!best || plan->due_ms[i] < *ret_due_ms ||
		    (plan->due_ms[i] == *ret_due_ms && fx->id < best->id)) {
			best = fx;
			*ret_due_ms = plan->due_ms[i];
		}
	}
	return best;
}

static void effect_answer(struct run *run, const struct core_effect *fx)
{
	struct core_command *cmd = fresh(run, CORE_CMD_RESULT);
	const struct core_vm *vm = fx->vm < run->st->vm_count ? &run->st->vms[fx->vm] : NULL;

	cmd->result.id = fx->id;
	cmd->result.outcome = CL_DONE;
	switch (fx->kind) {
	case CORE_FX_VOL_FORMAT:
	case CORE_FX_VM_INCOMING:
		cmd->result.values[0] = 1;
		break;
	case CORE_FX_VM_QUERY:
		if (vm && (vm->copies & CORE_NODE_BIT(fx->node))) {
			cmd->result.values[0] = CORE_SEEN_RUNNING;
			cmd->result.values[1] = vm->generation;
		}
		break;
	}
	apply(run, cmd);
}

static void tick(struct run *run)
{
	struct core_command *cmd = fresh(run, CORE_CMD_TICK);

	cmd->delta_ms = (uint32_t)(run->t_ms - run->tick_at_ms);
	cmd->seen_seq = run->st->applied_seq;
	run->tick_at_ms = run->t_ms;
	apply(run, cmd);
}

/* Until nothing is under way any more, or nothing comes of it. */
static void go_on(struct run *run)
{
	uint64_t changed_ms = run->t_ms, traces = run->st->trace_total;

	for (uint32_t step = 0; step < STEPS_MAX; step++) {
		uint64_t due_ms = 0, tick_ms = run->tick_at_ms + CORE_TICK_MS;
		const struct core_effect *fx = effect_next(run, &due_ms);
		bool ticks = run->st->tick_ms == CORE_TICK_MS;

		if ((!fx && !ticks) || run->t_ms - changed_ms > STUCK_MS)
			return;
		if (fx && (!ticks || due_ms <= tick_ms)) {
			if (due_ms > run->t_ms)
				run->t_ms = due_ms;
			effect_answer(run, fx);
		} else {
			if (tick_ms > run->t_ms)
				run->t_ms = tick_ms;
			tick(run);
		}
		if (!ticks)
			run->tick_at_ms = run->t_ms; /* counted from when they are wanted */
		if (look(run) || traces != run->st->trace_total)
			changed_ms = run->t_ms;
		traces = run->st->trace_total;
	}
}

/* ---- the outcome ---------------------------------------------------------------------------- */

static bool vm_rests(uint8_t state)
{
	return state == CORE_VM_RUNNING || state == CORE_VM_STOPPED || state == CORE_VM_UNUSED ||
	       state == CORE_VM_FAILED;
}

/* What keeps a VM: its cause, and where no node takes it, why each does not. */
static void vm_text(const struct core_state *st, const struct core_vm *vm, uint8_t from,
		    struct core_plan_item *item)
{
	char nodes[CORE_PLAN_TEXT_MAX];
	struct core_text t;

	core_cause_render(st, &vm->cause, item->text, sizeof(item->text));
	if (vm->cause.reason != CORE_WHY_VM_NO_ROOM && vm->cause.reason != CORE_WHY_DRAIN_NO_TARGET)
		return;
	core_explain_nowhere(st, vm, from ? CORE_NODE_BIT(from) : 0, nodes, sizeof(nodes));
	t = (struct core_text){ item->text, sizeof(item->text), strlen(item->text) };
	core_text_add(&t, "; ");
	core_text_add(&t, nodes);
}

/* from: the node that is emptied, or 0. */
static void items_end(struct run *run, uint8_t from)
{
	struct core_plan *plan = run->plan;
	const struct core_state *st = run->st;

	plan->finished = true;
	plan->count = 0;
	for (uint16_t i = 0; i < CORE_VMS_MAX + CORE_VOLUMES_MAX; i++) {
		struct core_plan_item *item = &plan->items[i];
		const struct core_vm *vm = &st->vms[item->index];
		bool is_vm = item->object == CORE_OBJECT_VM;

		if (!item->touched && !(item->before && from && item->from == from))
			continue;
		if (item->end_ms > plan->end_ms)
			plan->end_ms = item->end_ms;
		if (is_vm && item->after && (!vm_rests(item->after) ||
					     (from && vm->copies & CORE_NODE_BIT(from)))) {
			plan->finished = false;
			item->method = item->to == item->from && item->after == item->before ?
					       CORE_PLAN_STAYS :
					       CORE_PLAN_WAITS;
			vm_text(st, vm, from, item);
		} else if (is_vm && item->after == CORE_VM_FAILED) {
			core_cause_render(st, &vm->cause, item->text, sizeof(item->text));
		} else if (!is_vm && (item->after != CORE_VOLUME_ACTIVE || (from && item->to == from))) {
			plan->finished = false;
			item->method = item->to == item->from ? CORE_PLAN_STAYS : CORE_PLAN_WAITS;
			core_cause_render(st, &st->volumes[item->index].cause, item->text,
					  sizeof(item->text));
		}
		if (item != &plan->items[plan->count])
			plan->items[plan->count] = *item;
		plan->count++;
	}
}

/* A majority of those who vote is left. */
static bool majority_left(const struct core_state *st, core_nodes members)
{
	unsigned all = 0, left = 0;

	for (uint8_t id = 1; id <= CL_NODES_MAX; id++) {
		if (st->nodes[id].state == CORE_NODE_UNUSED || !st->nodes[id].voter)
			continue;
		all++;
		left += (members & CORE_NODE_BIT(id)) != 0;
	}
	return left * 2 > all;
}

static void fail(struct run *run, const struct core_plan_ask *ask)
{
	struct core_command *cmd = fresh(run, CORE_CMD_MEMBERS);
	core_nodes bit = CORE_NODE_BIT(ask->fail);
	const struct core_node *n = &run->st->nodes[ask->fail];

	cmd->members = run->st->members & (core_nodes)~bit;
	cmd->alive = run->st->alive & (core_nodes)~bit;
	if (!(run->st->members & bit)) {
		run->plan->err = -EALREADY;
		core_text_join(run->plan->text, sizeof(run->plan->text), "node ", n->name, " is ",
			       core_node_state_name(n->state), ": it is not a member now", NULL);
		return;
	}
	if (!majority_left(run->st, cmd->members)) {
		run->plan->err = -ENOLINK;
		core_text_join(run->plan->text, sizeof(run->plan->text), "without node ", n->name,
			       " no majority of the votes would be left: the other nodes would freeze and"
			       " end their VMs, nothing would restart",
			       NULL);
		return;
	}
	run->t_ms = run->tick_at_ms = ask->detect_ms;
	apply(run, cmd);
}

void core_plan_run(struct core_state *copy, struct core_command scratch[2],
		   const struct core_plan_ask *ask, struct core_plan *ret_plan)
{
	struct run run = { .st = copy, .cmd = &scratch[0], .scratch = &scratch[1], .plan = ret_plan,
			   .clock_ms = copy->clock_ms };
	uint8_t from = ask->fail;
	uint64_t job;

	memset(ret_plan, 0, offsetof(struct core_plan, items));
	memset(ret_plan->due_id, 0, sizeof(ret_plan->due_id));
	core_pace_read(copy, &ret_plan->pace);
	if (CORE_MUTANT(53)) /* planted: the plan is made for other nodes than there are */
		for (uint8_t id = 1; id <= CL_NODES_MAX; id++)
			copy->nodes[id].memory_mib += 1000u * id;
	items_begin(&run);
	if (!ask->cmd) {
		fail(&run, ask);
		if (ret_plan->err)
			return;
	} else {
		const struct core_node *n = core_node_find(copy, ask->cmd->name);

		if (ask->cmd->kind == CORE_CMD_NODE_PAUSE && ask->cmd->drain && n)
			from = n->id;
		*run.cmd = *ask->cmd;
		run.cmd->wall_ms = run.clock_ms;
		apply(&run, run.cmd);
		if (run.answer.err) {
			ret_plan->err = run.answer.err;
			core_str_copy(ret_plan->text, sizeof(ret_plan->text), run.answer.text);
			return;
		}
	}
	job = run.answer.job;
	look(&run);
	go_on(&run);
	items_end(&run, from);
	if (job) {
		const struct core_job *j = core_job_find(copy, job);

		if (j && j->state != CORE_JOB_DONE)
			ret_plan->finished = false;
		if (j)
			core_str_copy(ret_plan->text, sizeof(ret_plan->text), j->text);
	}
}

const char *core_plan_method_name(uint8_t method)
{
	static const char *const names[] = { "stays", "live",	"quick", "restart",
					     "stop",  "delete", "waits", "owner" };

	return method < CL_ARRAY_LEN(names) ? names[method] : "?";
}
